# While results cannot be recorded, because a trigger raises, a lock is held or a file cannot grow, they are kept and
# recorded later: nothing is lost, nothing is sent twice, no more is read, and one warning a minute says so. And what a DBA
# has added to webhook_logs has the effect that it has on an INSERT.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $receiver = start_receiver();
# auto_explain tells of the statements of the worker, too.
my $node = new_node('shared_preload_libraries' => 'webhook, auto_explain', 'auto_explain.log_min_duration' => '0');
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	CREATE SEQUENCE refusals;    -- a rollback does not take back what it counts
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM nextval('public.refusals'); RAISE 'refused by the DBA'; END $$;
});
create_webhook($node, url => $receiver->url('/ok'), events => ['item.created'], organization_id => undef);
my $next_id = 1;

sub insert_items
{
	my ($count) = @_;
	my $first = $next_id;
	$next_id += $count;
	query($node, "INSERT INTO items SELECT generate_series($first, $next_id - 1)");
	return;
}

sub all_is_recorded
{
	my ($what) = @_;
	my $total = $next_id - 1;
	eventually { query($node, 'SELECT count(*), count(DISTINCT event_id) FROM webhook_logs') eq "$total|$total" } $what;
	is(scalar(grep { $_ != 1 } values %{ $receiver->counts_by_webhook_id }), 0, 'nothing was sent twice');
	is($receiver->count, $total, 'and nothing is missing');
	return;
}

sub warnings
{
	return scalar(() = slurp_file($node->logfile) =~ /WARNING: .*the worker's transaction failed and will be repeated/g);
}

# How many statements of the worker have written log rows.
sub inserts
{
	return scalar(() = slurp_file($node->logfile) =~ /FROM new_logs/g);
}

insert_items(10);
all_is_recorded('results are recorded');
is(inserts(), 0, 'straight into the table');

query($node, 'CREATE TRIGGER refuse BEFORE INSERT ON webhook_logs FOR EACH ROW EXECUTE FUNCTION refuse()');
insert_items(3000);
eventually { $receiver->count > 10 } 'requests go out while recording fails';
eventually { query($node, 'SELECT last_value FROM refusals') >= 6 } 'recording is tried again and again';
is(warnings(), 1, 'with one warning');
is(query($node, 'SELECT count(*) FROM webhook_logs'), 10, 'nothing is recorded');
query($node, 'DROP TRIGGER refuse ON webhook_logs');
all_is_recorded('when the trigger is gone everything is recorded');

my $slot = query($node, q{SELECT slot FROM webhook_rings WHERE ring = 'logs'});
my $locker = WebhookTest::Session->new($node, 'postgres');
$locker->query("BEGIN; LOCK TABLE webhook_logs_$slot IN SHARE MODE");
my $before = $receiver->count;
insert_items(300);
wait_until { $receiver->count > $before } 'requests go out';
my $waits = "SELECT count(*) FROM pg_locks WHERE relation = 'webhook_logs_$slot'::regclass AND NOT granted";
eventually { query($node, $waits) > 0 } 'the worker waits for a lock on webhook_logs';
eventually { query($node, $waits) == 0 } 'not for ever';
eventually { query($node, $waits) > 0 } 'and tries again';
cmp_ok(warnings(), '<=', 2, 'without a warning for each try');
$locker->query('COMMIT');
$locker->finish;
all_is_recorded('when the lock is released everything is recorded');

query($node, q{ALTER TABLE webhook_logs ADD CONSTRAINT no_answer CHECK (response_status <> 200) NOT VALID});
$before = $receiver->count;
insert_items(10);
wait_until { $receiver->count == $before + 10 } 'requests go out';
all_is_recorded('what violates a constraint of the DBA is recorded');
is(query($node, q{SELECT count(*) FROM webhook_logs WHERE response_status IS NULL AND error LIKE '%violates%"no_answer"%'}), 10,
	'without what the attempt brought');
ok(slurp_file($node->logfile) =~ /WARNING: .*a row of the worker's was refused: .*"no_answer"/, 'and a warning says why');
query($node, 'ALTER TABLE webhook_logs DROP CONSTRAINT no_answer');

# A page range that the BRIN index on id has summarized, and that more rows go into.
query($node, "SELECT brin_summarize_new_values('webhook_logs_${slot}_id_idx')");
insert_items(300);
all_is_recorded('rows are added to pages that an index has summarized');
is(query($node, q{
	SET enable_seqscan = off;
	SELECT count(*) FROM generate_series((SELECT min(id) FROM webhook_logs), (SELECT max(id) FROM webhook_logs)) AS i
	                JOIN LATERAL (SELECT FROM webhook_logs WHERE id = i OFFSET 0) AS l ON true
}), $next_id - 1, 'and it finds each of them');

query($node, q{
	CREATE INDEX by_hour ON webhook_logs ((date_trunc('hour', created_at AT TIME ZONE 'UTC'))) WHERE status = 'success';
});
insert_items(10);
all_is_recorded('an index on an expression is no obstacle');
is(query($node, q{
	SET enable_seqscan = off;
	SELECT count(*) FROM webhook_logs WHERE status = 'success' AND date_trunc('hour', created_at AT TIME ZONE 'UTC') > '2000-01-01'
}), $next_id - 1, 'and has an entry for each row');

query($node, q{
	CREATE TABLE seen (event_id bigint);
	CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.seen VALUES (NEW.event_id); RETURN NULL; END $$;
	CREATE TRIGGER see AFTER INSERT ON webhook_logs FOR EACH ROW EXECUTE FUNCTION see();
});
insert_items(10);
all_is_recorded('a trigger is no obstacle');
is(query($node, 'SELECT count(*) FROM seen'), 10, 'and fires for each row');
cmp_ok(inserts(), '>', 0, 'by an INSERT');
query($node, 'DROP TRIGGER see ON webhook_logs');

query($node, q{ALTER TABLE webhook_logs ADD COLUMN region text DEFAULT 'north', ALTER COLUMN event TYPE varchar});
insert_items(10);
all_is_recorded('another column is no obstacle');
is(query($node, q{SELECT count(*) FROM webhook_logs WHERE region = 'north' AND event = 'item.created'}), $next_id - 1,
	'and has its default');

is_log_clean($node, expected => [qr/WARNING: .*the worker's transaction failed and will be repeated: (?:refused by the DBA|canceling statement due to lock timeout)/,
	qr/WARNING: .*a row of the worker's was refused: /]);
$node->stop;

# --- a file that cannot grow ------------------------------------------------------------------------------------------
#
# As on a full disk, the kernel refuses to extend the files that results go to, here by a limit on the size of files that
# the worker alone has. With WAL files of 1 MB, the limit meets no others.

my $webhook_count = 2;
my ($lane_max, $read_max, $batch_max) = (1000, 500, 256);    # the worker's bounds
my $full = new_node(init => [ extra => ['--wal-segsize=1'] ]);
my @paths = map { "/ok?full=$_" } 1 .. $webhook_count;
query($full, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	CREATE SEQUENCE refusals;
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM nextval('public.refusals'); RAISE 'refused by the DBA'; END $$;
});
create_webhook($full, url => $receiver->url($_), events => ['item.created'], organization_id => undef) foreach @paths;

sub sent { return query($full, 'SELECT sent FROM webhook_workers'); }

sub limit_files
{
	my ($bytes) = @_;
	my $worker = query($full, 'SELECT pid FROM webhook_workers');
	system_or_bail('prlimit', "--fsize=$bytes:", '--pid', $worker);
	return;
}

# Waits until all that is in memory has been sent, and no more comes; returns how much has been sent.
sub intake_pauses
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eventually { query($full, 'SELECT in_flight + queued = 0 AND last_error_at IS NOT NULL FROM webhook_workers') eq 't' } $what;
	return sent();
}

sub all_is_logged_once
{
	my ($items, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $total = $items * $webhook_count;
	eventually
	{
		query($full, q{SELECT count(*), count(DISTINCT (configuration_id, event_id)) FROM webhook_logs
			WHERE status = 'success'}) eq "$total|$total"
	}
	$what;
	foreach my $path (@paths)
	{
		my $counts = $receiver->counts_by_webhook_id($path);
		is(scalar(keys %$counts), $items, "$path: nothing is lost");
		is(scalar(grep { $_ != 1 } values %$counts), 0, "$path: nothing was sent twice");
	}
	return;
}

limit_files(1024 * 1024);
my $items = 10_000;
query($full, "INSERT INTO items SELECT generate_series(1, $items)");
my $sent = intake_pauses('reading pauses, and what was read is sent, while no file can grow');
my $logged = query($full, 'SELECT count(*) FROM webhook_logs');
cmp_ok($logged, '>', 0, "$logged results were recorded before");
cmp_ok($sent - $logged, '>', 0, ($sent - $logged) . ' wait for it');
my $held_max = $webhook_count * ($lane_max + $read_max + $batch_max);
cmp_ok($sent - $logged, '<=', $held_max, "which is no more than $held_max");
ok(slurp_file($full->logfile) =~ /WARNING: .*the worker's transaction failed and will be repeated: could not extend file/,
	'a warning says why');
limit_files('unlimited');
all_is_logged_once($items, 'when files can grow again, everything is recorded');

# --- a backlog that grows meanwhile -----------------------------------------------------------------------------------

query($full, 'CREATE TRIGGER refuse BEFORE INSERT ON webhook_logs FOR EACH ROW EXECUTE FUNCTION refuse()');
query($full, "INSERT INTO items SELECT generate_series($items + 1, $items + 10000)");
wait_until { query($full, 'SELECT last_value FROM refusals') >= 3 } 'refusals';
my $sent_before = $sent = intake_pauses('so it does while a trigger refuses results');
$sent -= $items * $webhook_count;
cmp_ok($sent, '<=', $held_max, "$sent results wait");
my $state = 'SELECT sent, queued, events_ahead FROM webhook_workers';
my ($state_before, $memory_before) = (query($full, $state), worker_memory_kb($full));
query($full, "INSERT INTO items SELECT generate_series($items + 10001, $items + 40000)");
my $refusals = query($full, 'SELECT last_value FROM refusals');
eventually { query($full, 'SELECT last_value FROM refusals') >= $refusals + 2 } 'recording is tried again';
is(query($full, $state), $state_before, 'a larger backlog changes nothing in the worker');
my $memory = worker_memory_kb($full);
cmp_ok(abs($memory - $memory_before), '<=', 2048, "nor in its memory: $memory_before kB, then $memory kB");
query($full, 'DROP TRIGGER refuse ON webhook_logs');
all_is_logged_once($items + 40_000, 'when the trigger is gone, everything is recorded');
is_log_clean($full, expected => [qr/WARNING: .*the worker's transaction failed and will be repeated: (?:could not extend file|refused by the DBA)/]);
$full->stop;

done_testing();
