# The rings of webhook_events and webhook_logs: they turn under load, nobody waits for them, and nothing that is still
# needed goes with a segment.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run ();
use MIME::Base64 qw(decode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Session;

my $mb = 1024 * 1024;
my $cap = 1 * $mb;
my $segment = $cap / 8;
my $empty_ring = $mb / 2;    # eight segments, each with the first pages of its indexes

my $node = new_node(
	'webhook.max_event_size' => '1MB',
	'webhook.max_log_size' => '1MB',
	'deadlock_timeout' => '200ms',    # whoever waits longer for a lock says so
	'log_lock_waits' => 'on');
my $receiver = start_receiver();

sub query { return $node->safe_psql('postgres', $_[0]); }

# About 1.6 kB that hardly compress.
my $random_text = q{(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 50) WHERE n > 0)};

sub insert_items
{
	my ($count) = @_;
	return "INSERT INTO items (body) SELECT $random_text FROM generate_series(1, $count) AS n";
}

# How many items there are, and how many events of theirs have arrived.
sub inserted { return query('SELECT count(*) FROM items'); }
sub arrived { return scalar keys %{ $receiver->counts_by_webhook_id }; }

# The ids of the items that have arrived. Thousands of large bodies: they are not decoded as JSON.
sub arrived_ids
{
	my @bodies = map { decode_base64($_) } slurp_file($receiver->record_file) =~ /"body_base64":"([^"]*)"/g;
	return sort { $a <=> $b } map { /"id":(\d+)/ } @bodies;
}

# Whether a dump stands in the middle of the table ballast.
sub is_dumping
{
	return query(q{SELECT count(*) FROM pg_stat_activity
	               WHERE query LIKE 'COPY public.ballast%' AND wait_event = 'ClientWrite'}) == 1;
}

sub ring_bytes
{
	my ($ring) = @_;
	return query("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('webhook_$ring')");
}

# Whether the events up to this one, and the log rows up to that, have gone with their segments.
sub are_gone
{
	my ($event_id, $log_id) = @_;
	return query("SELECT NOT EXISTS (SELECT FROM webhook_events WHERE id <= $event_id)
	                 AND NOT EXISTS (SELECT FROM webhook_logs WHERE id <= $log_id)") eq 't';
}

sub newest_event { return query('SELECT max(id) FROM webhook_events'); }
sub newest_log { return query('SELECT max(id) FROM webhook_logs'); }

# Whether the server has said since an offset in its log why a segment of webhook_events is kept.
sub is_kept_because
{
	my ($from, $reason) = @_;
	my $log = substr(slurp_file($node->logfile), $from);
	return $log =~ /WARNING: .*the oldest segment of webhook_events is kept.*\n[^\n]*DETAIL: [^\n]*$reason/;
}

query(qq{
	CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text);
	CREATE TABLE debts (id bigint PRIMARY KEY, body text);
	CREATE TABLE ballast AS SELECT repeat('x', 1000) AS body FROM generate_series(1, 3000);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	SELECT webhook_watch('debts', 'debt.created', organization_column => NULL);
});
create_webhook($node,
	url => $receiver->url('/body/' . 'y' x 1000), events => ['item.created'], organization_id => undef);

# --- under load, with a dump and a long reader ------------------------------------------------------------------------

# A transaction that has read the application's tables, with a snapshot from before all that follows.
my $reader = WebhookTest::Session->new($node, 'postgres');
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($reader->query('SELECT count(*) FROM items'), 0, 'a long reader begins');

# A dump that stands in the middle of a table, because nobody takes what it prints.
pipe(my $dump_output, my $dump_input) or BAIL_OUT("pipe: $!");
my $dump_errors = '';
my $dump = IPC::Run::start([ 'pg_dump', '-d', $node->connstr('postgres') ], '>', $dump_input, '2>', \$dump_errors);
close($dump_input);
eventually { is_dumping() } 'a dump begins';

# Sessions that insert a row a transaction, and take it ill to wait.
my $script = "$PostgreSQL::Test::Utils::tmp_check/insert_item.sql";
append_to_file($script, insert_items(1) . ";\n");
my ($load_output, $load_errors) = ('', '');
my $load;
{
	local %ENV = (%ENV, PGOPTIONS => '-c lock_timeout=500ms');
	$load = IPC::Run::start(
		[   'pgbench', '-n', '-c', 3, '-R', 150, '-T', 3600, '-f', $script,
			'-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \undef, '>', \$load_output, '2>', \$load_errors);
}

eventually { newest_log() ne '' } 'the first events are delivered';
my ($first_event, $first_log) = (newest_event(), newest_log());
my $dumps = 0;
eventually
{
	if ($dumps < 3)
	{
		++$dumps;
		ok(run_log([ 'pg_dump', '-f', '/dev/null', '-d', $node->connstr('postgres') ]), 'another dump succeeds');
	}
	are_gone($first_event, $first_log) && inserted() >= 2500
}
'both rings turn full circle under load';

ok(is_dumping(), 'the dump is still under way');
is($reader->query('SELECT count(*) FROM items'), 0, 'the long reader still sees what it saw');
$reader->query('COMMIT');
{
	local $/;
	my $dumped = <$dump_output>;
	ok($dump->finish, 'the dump ends well') or diag($dump_errors);
	like($dumped, qr/CREATE EXTENSION.* webhook/, 'and carries the extension');
	unlike($dumped, qr/webhook_events/, 'without its events');
}

$load->signal('TERM');
$load->finish;
unlike($load_errors, qr/ERROR|aborted|lock timeout/, 'no INSERT failed');
eventually { arrived() == inserted() } 'every event has arrived';
cmp_ok(query('SELECT sum(length(body)) FROM items'), '>', 3 * $cap, 'much more was written than a ring may hold');
foreach my $ring (qw(events logs))
{
	eventually { ring_bytes($ring) <= $cap + $segment + $empty_ring } "webhook_$ring takes no more room than it may"
	  or diag(ring_bytes($ring));
}

# --- a reader that holds locks on the segments ------------------------------------------------------------------------

my $application = WebhookTest::Session->new($node, 'postgres', PGOPTIONS => '-c lock_timeout=500ms');
my $log_offset = -s $node->logfile;
my $oldest_event = '';
eventually
{
	$application->query(insert_items(20));
	$reader->query('BEGIN');
	$reader->query('SELECT count(*) FROM webhook_events');
	$oldest_event = query('SELECT min(id) FROM webhook_events');
	$reader->query('COMMIT') if $oldest_event eq '';    # on a slow machine the ring may have turned since
	$oldest_event ne ''
}
'a transaction reads stored events';
eventually
{
	$application->query(insert_items(20));
	is_kept_because($log_offset, 'a transaction holds a lock on it')
}
'a segment that a transaction has locked is kept, with a warning';
is(query('SELECT min(id) FROM webhook_events'), $oldest_event, 'the oldest event is still there');
$application->query(insert_items(100));
is($application->errors, '', 'inserts go on without waiting');

$reader->query('COMMIT');
my $newest_event = newest_event();
eventually { $application->query(insert_items(20)); are_gone($newest_event, 0) } 'when it has ended the ring turns';
is($application->errors, '', 'and no INSERT has waited');

# --- deliveries that are pending when their segment goes -----------------------------------------------------------------

my $debtor = start_receiver();
create_webhook($node,
	url => $debtor->url('/ok'), events => ['debt.created'], organization_id => undef, retry_schedule => ['1 hour']);
$debtor->kill;
query(q{INSERT INTO debts SELECT n, 'debt ' || n FROM generate_series(1, 3) AS n});
eventually { query(q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND attempts = 1}) == 3 }
'deliveries whose receiver is down are pending';
$newest_event = newest_event();
eventually { $application->query(insert_items(20)); are_gone($newest_event, 0) } 'the segment of their events goes';
is(query('SELECT count(*) FROM webhook_deliveries d JOIN webhook_internal.saved_events s USING (event_id) WHERE slot IS NULL'),
	3, 'their events are saved');

$debtor->start;
# A change of the webhooks has the worker read anew when what is due.
query(q{UPDATE webhook_deliveries SET next_attempt_at = now();
	UPDATE webhook_configurations SET timeout_ms = 4000});
eventually { $debtor->count == 3 } 'they are delivered when the receiver is back';
is_deeply(
	[ sort { $a->{id} <=> $b->{id} } map { $_->{data} } $debtor->bodies ],
	[ map { { id => $_, body => "debt $_" } } 1 .. 3 ],
	'with their bodies');
eventually { query('SELECT count(*) FROM webhook_deliveries') == 0 } 'and nothing is pending any more';

# --- a backlog --------------------------------------------------------------------------------------------------------

eventually { arrived() == inserted() } 'everything has arrived so far';
$node->append_conf('postgresql.conf', 'webhook.enabled = off');
$node->reload;
$log_offset = -s $node->logfile;
eventually
{
	$application->query(insert_items(20));
	is_kept_because($log_offset, 'it holds events that are not settled yet')
}
'while nothing is delivered, events that are not settled are kept, with a warning';
$application->query(insert_items(1000));
is($application->errors, '', 'inserts go on');
cmp_ok(ring_bytes('events'), '>', $cap, 'the ring grows beyond its size');

$node->append_conf('postgresql.conf', 'webhook.enabled = on');
$node->reload;
eventually { arrived() == inserted() } 'every event of the backlog is delivered';
is_deeply([ grep { $_ != 1 } values %{ $receiver->counts_by_webhook_id } ], [], 'nothing was sent twice');
is(
	join(' ', arrived_ids()),
	join(' ', split /\n/, query('SELECT id FROM items ORDER BY id')),
	'what has arrived is what was inserted');
eventually { ring_bytes('events') <= $cap + $segment + $empty_ring } 'and the ring shrinks again'
  or diag(ring_bytes('events'));

# --- a transaction that writes to both rings --------------------------------------------------------------------------

# It writes events of an organization within its share and of one beyond it, and commits after the second ring has moved
# on. That ring then comes to its segment again before these events have been read. The first ring has room for all that
# follows.
$node->append_conf('postgresql.conf', "webhook.max_event_size = '4MB'");
$node->reload;
query(q{
	CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, organization_id text, body text);
	SELECT webhook_watch('things', 'thing.created');
});
my $things = start_receiver();
create_webhook($node, url => $things->url, events => ['thing.created'], organization_id => $_) foreach qw(flood quiet);

sub insert_things
{
	my ($organization, $count) = @_;
	return "INSERT INTO things (organization_id, body) SELECT '$organization', $random_text FROM generate_series(1, $count) AS n;";
}
sub second_segment { return query(q{SELECT slot FROM webhook_rings WHERE ring = 'excess_events'}); }

eventually
{
	query(insert_things('flood', 200)) unless query('SELECT count(*) FROM webhook_events WHERE slot > 7');
	query(insert_things('flood', 1));
	query('SELECT slot > 7 FROM webhook_events ORDER BY id DESC LIMIT 1') eq 't'
}
'an organization is beyond its share';
my $writer = WebhookTest::Session->new($node, 'postgres');
$writer->query('BEGIN;' . insert_things('quiet', 1) . insert_things('flood', 5) . 'SELECT webhook_flush()');
my @written = split /\|/,
  $writer->query(q{SELECT count(*) FILTER (WHERE slot < 8), max(slot), count(*) FROM webhook_events WHERE xid = pg_current_xact_id()});
is("$written[0] of $written[2]", '1 of 6', 'a transaction writes to both rings');
my $segment_of_writer = $written[1];
my $newest_there = "(SELECT max(id) FROM webhook_events WHERE slot = $segment_of_writer)";
eventually { query(insert_things('flood', 20)); second_segment() != $segment_of_writer } 'the second ring moves on';
eventually
{
	query(insert_things('quiet', 1));
	query("SELECT bool_and(lowest_id > $newest_there) FROM webhook_checkpoint") eq 't'
}
'and the checkpoint moves past all that its last segment holds';

$node->append_conf('postgresql.conf', 'webhook.enabled = off');
$node->reload;
wait_until { query(q{SELECT bool_and(state = 'switched off') FROM webhook_workers}) eq 't' } 'deliveries are switched off';
$writer->query('COMMIT');
is($writer->errors, '', 'the transaction commits');
$writer->finish;
$log_offset = -s $node->logfile;
eventually
{
	query(insert_things('flood', 20));
	is_kept_because($log_offset, 'it holds events that are not settled yet') || query("SELECT $newest_there IS NULL") eq 't'
}
'the second ring comes to its segment again';
$node->append_conf('postgresql.conf', 'webhook.enabled = on');
$node->reload;
eventually { keys %{ $things->counts_by_webhook_id } == query('SELECT count(*) FROM things') } 'every event arrives';

# The test's own readers meet a segment that is being emptied, which takes a loaded machine a while.
unlike(slurp_file($node->logfile), qr/still waiting for (?!AccessShareLock)/, 'no writer ever waited for a lock');
$application->finish;
$reader->finish;
is_log_clean($node, expected => [ qr/WARNING: .*the oldest segment of webhook_(?:events|logs) is kept/ ]);
$node->stop;

done_testing();
