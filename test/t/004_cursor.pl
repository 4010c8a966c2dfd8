# The log is read from snapshot to snapshot: nothing that commits late is missed, nothing that is open holds others up,
# and what is read comes in order and once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run ();
use List::Util qw(min);
use MIME::Base64 qw(decode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $receiver = start_receiver();
my $node = new_node(
	'max_prepared_transactions' => 5,
	'max_connections' => 150,
	'autovacuum' => 'off',
	'synchronous_commit' => 'local',
	'wal_level' => 'replica',
	'max_wal_senders' => 1);

sub query { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

query(q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	CREATE TABLE counters (id int PRIMARY KEY, n int);
	CREATE TABLE bulk (id bigint, organization_id text);
	INSERT INTO counters VALUES (1, 0);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	SELECT webhook_watch('counters', 'counter.updated', organization_column => NULL);
	SELECT webhook_watch('bulk', 'bulk.created');
});
my ($items_path, $counters_path, $bulk_path) = map { "/ok?$_" } qw(items counters bulk);
create_webhook($node, url => $receiver->url($items_path), events => ['item.created'], organization_id => undef);
# One at a time, so that they arrive in the order in which they are sent.
create_webhook(
	$node,
	url => $receiver->url($counters_path),
	events => ['counter.updated'],
	organization_id => undef,
	max_in_flight => 1);
create_webhook(
	$node,
	url => $receiver->url($bulk_path),
	events => ['bulk.created'],
	organization_id => 'subscribed',
	max_in_flight => 1);

# What a field of the rows that a path received was, in the order of their arrival. The record is long: each call reads
# only what has come since the last one.
my %values_of = ($items_path => [], $counters_path => [], $bulk_path => []);
my %field_of = ($items_path => 'id', $counters_path => 'n', $bulk_path => 'id');
my $read_to = 0;

sub received_values
{
	my ($path) = @_;
	open(my $record, '<', $receiver->record_file) or die $receiver->record_file . ": $!";
	seek($record, $read_to, 0);
	while (my $line = <$record>)
	{
		last unless $line =~ /\n\z/;    # the rest of it is still to come
		$read_to += length $line;
		my ($to) = $line =~ /"path":"([^"]*)"/ or die "no path in $line";
		my ($body) = substr($line, rindex($line, '"body_base64":')) =~ /:"([^"]*)"/ or die "no body in $line";
		my ($value) = decode_base64($body) =~ /"data":\{.*"$field_of{$to}":(-?\d+)/ or die "no $field_of{$to} in $line";
		push @{ $values_of{$to} }, $value;
	}
	close($record);
	return @{ $values_of{$path} };
}

sub received_items { return received_values($items_path); }

# Numbers as text, with runs of them shortened: 1-5 7.
sub ranges_of
{
	my @ranges;
	foreach my $n (@_)
	{
		if (@ranges && $ranges[-1][1] + 1 == $n) { $ranges[-1][1] = $n; }
		else { push @ranges, [ $n, $n ]; }
	}
	my $more = @ranges > 20 ? sprintf(' and %d more', @ranges - 20) : '';
	return join(' ', map { $_->[0] == $_->[1] ? $_->[0] : "$_->[0]-$_->[1]" } splice(@ranges, 0, 20)) . $more;
}

sub sorted_ranges_of { return ranges_of(sort { $a <=> $b } @_); }

# Commits one by one.
sub insert_items
{
	my ($first, $last) = @_;
	return query(join(' ', map { "INSERT INTO items VALUES ($_);" } $first .. $last));
}

sub items_come
{
	my ($first, $last, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $expected = ranges_of($first .. $last);
	return eventually { sorted_ranges_of(grep { $_ >= $first && $_ <= $last } received_items()) eq $expected } $what;
}

# A session that the test talks to.
sub open_session { return $node->background_psql('postgres', on_error_stop => 1); }

# A psql that runs statements in the background.
my $scripts_dir = PostgreSQL::Test::Utils::tempdir();
my $script_count = 0;

sub start_session
{
	my ($statements) = @_;
	my $script = "$scripts_dir/" . ++$script_count . '.sql';
	append_to_file($script, $statements);
	return IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $script ],
		'>', '/dev/null');
}

# Statements that leave rows behind which must not be seen: written, then rolled back, whole and in part.
sub rolled_back
{
	my ($table, $values) = @_;
	my $write = "INSERT INTO $table SELECT $values FROM generate_series(1, 1500); SELECT webhook_flush();";
	return "BEGIN; $write ROLLBACK; BEGIN; SAVEPOINT a; SAVEPOINT b; $write RELEASE b; ROLLBACK TO a; COMMIT;";
}

# --- whoever began first and commits last ---

{
	my $wrote = open_session();
	$wrote->query_safe('BEGIN; INSERT INTO items VALUES (1); SELECT webhook_flush();');
	my $writes_later = open_session();
	$writes_later->query_safe('BEGIN; SELECT pg_current_xact_id();');
	query(q{BEGIN; INSERT INTO items VALUES (2); PREPARE TRANSACTION 'old'});

	insert_items(1001, 1500);
	items_come(1001, 1500, 'transactions that are open hold no other up');
	is(sorted_ranges_of(received_items()), '1001-1500', 'and are not sent');

	$writes_later->query_safe('INSERT INTO items VALUES (3); COMMIT;');
	eventually { grep { $_ == 3 } received_items() } 'whoever took its xid first and wrote last is delivered';
	$wrote->query_safe('COMMIT');
	eventually { grep { $_ == 1 } received_items() } 'and whoever wrote first and committed last';
	$_->quit foreach $wrote, $writes_later;

	# A prepared transaction outlives the server, so that the checkpoint has to know it.
	$node->restart;
	insert_items(1501, 1600);
	items_come(1501, 1600, 'a transaction prepared before a restart holds nobody up');
	query(q{COMMIT PREPARED 'old'});
	eventually { grep { $_ == 2 } received_items() } 'and is delivered when it commits after it';
	is(sorted_ranges_of(received_items()), '1-3 1001-1600', 'each once');
}

# --- COMMIT PREPARED ---

# The worker looks at the log every 5 s though nobody calls, the first time 5 s after it last looked. What comes sooner
# after an event that it has just found was called for.
{
	my $safety_interval_us = 5_000_000;
	my @delays_us;
	foreach my $n (1 .. 5)
	{
		query("BEGIN; INSERT INTO items VALUES (300$n); PREPARE TRANSACTION 'p'");
		query("INSERT INTO items VALUES (400$n)");
		wait_until { grep { $_ == "400$n" } received_items() } 'the event just before';
		query(q{COMMIT PREPARED 'p'});
		wait_until { grep { $_ == "300$n" } received_items() } 'the prepared event';
		my @requests = splice(@{ [ $receiver->received($items_path) ] }, -2);
		push @delays_us, $requests[1]{received_us} - $requests[0]{received_us};
	}
	cmp_ok(min(@delays_us), '<', $safety_interval_us - 500_000, 'COMMIT PREPARED by another session is delivered at once');
	note("after @delays_us us");
}

# --- commits that hang ---

# What waits for a synchronous standby has written its events, and is not visible yet. There are more of them than can
# announce their ids.
sub hang_commits
{
	my ($first, $count) = @_;
	query(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
	$node->reload;
	wait_until { query('SHOW synchronous_standby_names') eq 'nobody' } 'commits that wait for a standby';
	my @sessions = map { start_session("SET synchronous_commit = on; INSERT INTO items VALUES ($_);") }
		$first .. $first + $count - 1;
	wait_until { query(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'}) == $count } "$count of them";
	return @sessions;
}

sub let_commit
{
	my (@sessions) = @_;
	query('ALTER SYSTEM RESET synchronous_standby_names');
	$node->reload;
	$_->finish foreach @sessions;
	return;
}

{
	my @sessions = hang_commits(50_001, 80);
	insert_items(51_001, 51_003);
	items_come(51_001, 51_003, 'while commits hang, others are delivered');
	index_reads();
	insert_items(51_004, 51_006);
	items_come(51_004, 51_006, 'and by another worker, too');
	query('INSERT INTO items SELECT n FROM generate_series(52001, 53100) AS n');
	items_come(52_001, 53_100, 'and a transaction of many rows');
	is(scalar(grep { $_ > 50_000 && $_ <= 50_080 } received_items()), 0, 'and none of those that hang');
	let_commit(@sessions);
	items_come(50_001, 50_080, 'which all are once their commits have ended');
}

# --- a writer with very many uncommitted events ---

# Entries that scans of the segments' indexes have returned. Statistics are complete once whoever made them has ended.
sub index_reads
{
	my $worker_pid = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook worker'};
	my $pid = query($worker_pid);
	query("SELECT pg_terminate_backend($pid)");
	wait_until { my $next = query($worker_pid); $next && $next ne $pid } 'another worker';
	return query(q{SELECT sum(idx_tup_read) FROM pg_stat_user_indexes
	                WHERE relname LIKE 'webhook\_events\__'});
}

sub write_many
{
	my ($first, $count) = @_;
	my $session = open_session();
	my $size = q{SELECT sum(pg_relation_size(relid)) FROM pg_stat_user_tables WHERE relname LIKE 'webhook\_events\__'};
	my $before = query($size);
	$session->query_safe(
		"BEGIN; INSERT INTO items SELECT n FROM generate_series($first, $first + $count - 1) AS n; SELECT webhook_flush();");
	cmp_ok(query($size) - $before, '>', $count * 50, "$count uncommitted events are in webhook_events");
	return $session;
}

{
	my $writer = write_many(1_000_001, 300_000);
	my $before = index_reads();
	insert_items(2001, 2100);
	items_come(2001, 2100, 'others are delivered meanwhile');
	my $reads = index_reads() - $before;
	cmp_ok($reads, '>=', 100, "events are found by indexes ($reads entries read)");
	cmp_ok($reads, '<', 3000, 'and the rows of the open transaction are not visited');
	$writer->query_safe('ROLLBACK');
	$writer->quit;
	insert_items(2101, 2102);
	items_come(2101, 2102, 'after its rollback others are delivered');
	is(scalar(grep { $_ > 1_000_000 } received_items()), 0, 'and nothing of it is');
}

{
	my $count = 30_000;
	my $writer = write_many(2_000_001, $count);
	insert_items(2103, 2104);
	items_come(2103, 2104, 'others are delivered while a second one writes');
	my $before = received_items();
	$writer->query_safe('COMMIT');
	$writer->quit;
	eventually { received_items() >= $before + $count } 'after its commit';
	is(sorted_ranges_of(grep { $_ > 1_000_000 } received_items()),
		'2000001-' . (2_000_000 + $count), 'all of it is, once');
}

# --- order ---

{
	my ($session_count, $update_count) = (4, 100);
	my $updates = "UPDATE counters SET n = n + 1 WHERE id = 1;\n" x $update_count;
	$_->finish foreach map { start_session($updates) } 1 .. $session_count;
	my $total = $session_count * $update_count;
	eventually { received_values($counters_path) >= $total } 'concurrent updates of one row are delivered';
	is(ranges_of(received_values($counters_path)), "1-$total", 'in the order in which they were made');
}

# --- what is rolled back within a window ---

sub switch_deliveries
{
	my ($to) = @_;
	$node->append_conf('postgresql.conf', "webhook.enabled = $to");
	$node->reload;
	wait_until { query('SHOW webhook.enabled') eq $to } "webhook.enabled = $to";
	return;
}

# What is written while deliveries are off is found in one window when they are on again.
{
	switch_deliveries('off');
	insert_items(5001, 5002);
	query(rolled_back('items', '-generate_series'));
	insert_items(5003, 5010);
	is(scalar(grep { $_ > 5000 && $_ < 6000 } received_items()), 0, 'while deliveries are off nothing is sent');
	switch_deliveries('on');
	items_come(5001, 5010, 'in a window, what committed is sent');
	is(scalar(grep { $_ < 0 } received_items()), 0, 'and what was rolled back is not');
}

# --- a window that is larger than what the worker finds at once ---
#
# So that not all of it must be sent, webhook.capture = all records the events of an organization without webhooks. Two
# sessions write at once, with some events that are asked for among the others, so that commits aren't in id order. A lane
# holds all that are asked for: what overflows comes back by the time of its capture, which two sessions may have in another
# order than their ids.

{
	my ($others, $asked_for, $transaction_count) = (4_400, 19, 25);
	my @sessions;
	switch_deliveries('off');
	foreach my $session (1 .. 2)
	{
		my $statements = 'SET webhook.capture = "all";';
		foreach my $n (1 .. $transaction_count)
		{
			my $first = $session * 1_000_000 + $n * 10_000;
			$statements .= "BEGIN;
				INSERT INTO bulk SELECT $first + n, 'subscribed' FROM generate_series(1, $asked_for) AS n;
				INSERT INTO bulk SELECT 0, 'other' FROM generate_series(1, $others);
				COMMIT;\n";
			$statements .= rolled_back('bulk', q{-1, 'subscribed'}) if $n % 10 == 0;
		}
		push @sessions, start_session($statements);
	}
	$_->finish foreach @sessions;
	my $captured = query(q{SELECT count(*) FROM webhook_events WHERE event = 'bulk.created'});
	cmp_ok($captured, '>', 200_000, "$captured events wait for one window");

	my $expected = 2 * $transaction_count * $asked_for;
	switch_deliveries('on');
	eventually { received_values($bulk_path) >= $expected } "the $expected of them that are asked for arrive";
	my $in_id_order = query(q{
		SELECT string_agg(data->>'id', ' ' ORDER BY id) FROM webhook_events
		 WHERE event = 'bulk.created' AND organization_id = 'subscribed'});
	is(join(' ', received_values($bulk_path)) eq $in_id_order ? 'in order' : 'not in order',
		'in order', 'once and in id order');
}

# --- what an administrator has done to the log ---

{
	query('ALTER TABLE webhook_events ADD COLUMN remark text');
	insert_items(6001, 6003);
	items_come(6001, 6003, 'a log with another column is read');
	query('DROP INDEX webhook_events_xid_idx');
	insert_items(6004, 6006);
	items_come(6004, 6006, 'and one without its index');
	# Before the whole one: of two, the older is looked at first.
	query('CREATE INDEX other_idx ON webhook_events (xid) WHERE id < 0');
	query('CREATE INDEX another_idx ON webhook_events (xid) WHERE id_count IS NULL');
	query('INSERT INTO items SELECT n FROM generate_series(7001, 9500) AS n');
	items_come(7001, 9500, 'and one with indexes on xid that have not all of the batches');
	insert_items(6007, 6009);
	items_come(6007, 6009, 'and what is no batch');
	query('CREATE INDEX webhook_events_xid_idx ON webhook_events (xid) WHERE id_count IS NOT NULL');
	query('DROP INDEX other_idx, another_idx');
	query('CREATE UNIQUE INDEX other_idx ON webhook_events (slot, id, (lower(event)))');
	insert_items(9501, 9505);
	items_come(9501, 9505, 'and one with an index whose entries take the executor');
	is(query(q{SET enable_seqscan = off; SELECT count(*) FROM webhook_events WHERE slot IN (0, 1) AND lower(event) = 'item.created'
	            AND id IN (SELECT id FROM webhook_events WHERE (data->>'id')::int BETWEEN 9501 AND 9505 AND event = 'item.created')}),
		5, 'which they have');
	query('DROP INDEX other_idx');
	query('DROP INDEX webhook_events_id_idx');
	insert_items(6010, 6109);
	items_come(6010, 6109, 'and many events without an index on id');
	query('CREATE INDEX webhook_events_id_idx ON webhook_events (id)');
	query('ALTER TABLE webhook_events DROP COLUMN remark');
}

# --- clean stops ---

sub is_settled
{
	return query(q{
		SELECT (SELECT count(*) FROM webhook_logs) >= (SELECT count(*) FROM webhook_events
		                                                WHERE organization_id IS DISTINCT FROM 'other')}) eq 't';
}

{
	my $before = received_items();
	query('INSERT INTO items SELECT n FROM generate_series(10001, 13000) AS n');
	wait_until { received_items() >= $before + 100 } 'the first of many';
	$node->restart;
	items_come(10001, 13000, 'after a clean stop in the middle of deliveries the rest arrives');
	wait_until { is_settled() } 'the log rows';

	my $count = $receiver->count;
	$node->restart;
	insert_items(13001, 13001);
	items_come(13001, 13001, 'after another one what is new arrives');
	wait_until { is_settled() } 'its log row';
	is($receiver->count, $count + 1, 'and nothing that was sent before');
	is_deeply([ grep { $_ != 1 } values %{ $receiver->counts_by_webhook_id } ], [], 'nothing was ever sent twice');
}

# --- a crash while commits hang ---

{
	my @sessions = hang_commits(54_001, 80);
	insert_items(55_001, 55_003);
	items_come(55_001, 55_003, 'commits hang again');
	$node->stop('immediate');
	eval { $_->finish } foreach @sessions;
	$node->append_conf('postgresql.auto.conf', q{synchronous_standby_names = ''});
	$node->start;
	items_come(54_001, 54_080, 'after a crash they have committed, and are delivered');
}

# index_reads() ends the worker.
is_log_clean(
	$node,
	expected => [
		qr/FATAL:  terminating background worker "webhook worker"/,
		qr/database system was (not properly shut down|interrupted)/
	]);
$node->stop;

done_testing();
