# A node subscribes to the tables of a source that does not have the extension. What the source commits is an event on the
# node: once, in the order of the source's commits, with the time of the source's commit. Rows that a table had when it was
# subscribed are no events, unless they are asked for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $source = PostgreSQL::Test::Cluster->new('source');
$source->init(allows_streaming => 'logical');
$source->append_conf('postgresql.conf', "track_commit_timestamp = on\nmax_prepared_transactions = 10\nmax_wal_senders = 20\nmax_replication_slots = 20\n"
	. "logical_decoding_work_mem = '64kB'\n");
$source->start;
my $node = new_node(name => 'node', max_prepared_transactions => 10, max_worker_processes => 20,
	max_logical_replication_workers => 12, wal_retrieve_retry_interval => '1s');

# --- Helpers ------------------------------------------------------------------------------------------------------------

# The same tables on both.
sub create_tables
{
	my ($definition) = @_;
	query($_, $definition) foreach $source, $node;
	return;
}

sub publish
{
	my ($name, $tables, $options) = @_;
	query($source, "CREATE PUBLICATION $name FOR TABLE $tables " . ($options // ''));
	return;
}

sub subscribe
{
	my ($name, $options) = @_;
	my $conninfo = sql_literal($source->connstr('postgres') . " application_name=$name");
	query($node, "CREATE SUBSCRIPTION $name CONNECTION $conninfo PUBLICATION $name" . ($options ? " WITH ($options)" : ''));
	wait_for_copies();
	return;
}

sub wait_for_copies
{
	wait_until { query($node, q{SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'}) == 0 } 'the tables are copied';
	return;
}

# Until the node has applied all that the source has committed, and each of its events has been sent.
sub catch_up
{
	my ($subscription) = @_;
	$source->wait_for_catchup($subscription);
	wait_until { query($node, q{SELECT (SELECT count(*) FROM webhook_logs WHERE status = 'success')
		>= (SELECT count(*) FROM webhook_events)}) eq 't' } 'all events are sent';
	return;
}

# The columns of the events of this name, in the order of their ids.
sub events
{
	my ($event, $columns) = @_;
	return query($node, "SELECT $columns FROM webhook_events WHERE event = '$event' ORDER BY id");
}

# psql's output and messages for a statement on the node.
sub messages
{
	my ($sql) = @_;
	my ($status, $out, $messages) = $node->psql('postgres', $sql);
	return $messages;
}

# --- What is an event ---------------------------------------------------------------------------------------------------

create_tables(q{
	CREATE TABLE items (id int PRIMARY KEY, name text, price int);
	CREATE TABLE notes (id int PRIMARY KEY, item int);
});
query($source, q{INSERT INTO items SELECT i, 'old', 1 FROM generate_series(1, 100) i});
publish('changes', 'items, notes');
query($node, q{
	SELECT webhook_watch('items', 'item.created', organization_column => NULL, on_replicated => true);
	SELECT webhook_watch('items', 'item.updated', include_previous => true, organization_column => NULL, on_replicated => true);
	SELECT webhook_watch('items', 'item.cheaper', 'UPDATE', 'NEW.price < OLD.price', organization_column => NULL, on_replicated => true);
	SELECT webhook_watch('items', 'item.deleted', organization_column => NULL, on_replicated => true);
	SELECT webhook_watch('notes', 'note.created', organization_column => NULL, on_replicated => true);
});
create_webhook($node, url => $receiver->url('/ok?all'), events => ['*'], ordering => 'endpoint');
subscribe('changes');
is(query($node, 'SELECT count(*) FROM items'), 100, 'the rows that the table had are copied');
is(query($node, 'SELECT count(*) FROM webhook_events'), 0, 'and are no events');

query($source, q{INSERT INTO items VALUES (101, 'new', 10)});
query($source, q{UPDATE items SET price = 20 WHERE id = 101; UPDATE items SET price = 5, name = 'sale' WHERE id = 101});
query($source, q{DELETE FROM items WHERE id IN (1, 101)});
query($source, q{BEGIN; INSERT INTO items VALUES (102, 'never', 1); ROLLBACK});
query($source, q{BEGIN; INSERT INTO items VALUES (103, 'kept', 1); SAVEPOINT s; INSERT INTO items VALUES (104, 'undone', 1);
	ROLLBACK TO s; INSERT INTO notes VALUES (1, 103); COMMIT});
catch_up('changes');
my @sent = map {
	my $body = $_;
	join(' ', $body->{event}, $body->{data}{id}, map { "$_=$body->{previous}{$_}" } sort keys %{ $body->{previous} // {} })
} $receiver->bodies('/ok?all');
is_deeply(\@sent, [ 'item.created 101', 'item.updated 101 price=10', 'item.cheaper 101', 'item.updated 101 name=new price=20',
	'item.deleted 1', 'item.deleted 101', 'item.created 103', 'note.created 1' ],
	'what the source commits is sent in that order, with conditions and previous values; what it rolls back is not');

# --- Its time -----------------------------------------------------------------------------------------------------------

# The time of the source's commit that wrote the row.
sub commit_time { my ($row) = @_; return query($source, "SELECT pg_xact_commit_timestamp(xmin) FROM $row"); }

my ($created_103) = (split /\n/, events('item.created', 'created_at'))[1];
is($created_103, commit_time('items WHERE id = 103'), 'an event has the time of the commit at the source');
is(events('note.created', "created_at - interval '1 microsecond'"), $created_103, 'the next of its transaction is a microsecond later');
is(query($node, 'SELECT count(*) FROM webhook_events WHERE applied_at >= created_at'), 8, 'and each when it was applied');
my ($last_body) = ($receiver->bodies('/ok?all'))[-2];
is(query($node, "SELECT '$last_body->{timestamp}'::timestamptz = '$created_103'"), 't', 'the body has the same time');
query($node, q{INSERT INTO items VALUES (1000, 'local', 1)});
is(query($node, q{SELECT applied_at IS NULL AND created_at > now() - interval '1 hour' FROM webhook_events ORDER BY id DESC LIMIT 1}),
	't', 'a change that is made on the node has its own time');

# Written to the log before the transaction is applied in whole.
foreach my $streaming (query($node, 'SHOW server_version_num') >= 160000 ? qw(off on parallel) : qw(off on))
{
	query($node, "ALTER SUBSCRIPTION changes SET (streaming = $streaming)");
	query($source, 'DELETE FROM notes');
	query($source, q{BEGIN; INSERT INTO notes SELECT i, i FROM generate_series(1, 4000) i;
		SAVEPOINT s; INSERT INTO notes SELECT i, i FROM generate_series(4001, 5500) i; ROLLBACK TO s;
		INSERT INTO notes VALUES (10000, 1); COMMIT});
	catch_up('changes');
	my $time = commit_time('notes WHERE id = 1');
	is(query($node, qq{SELECT count(*) || ' ' || min(created_at) || ' ' || (max(created_at) - min(created_at) < interval '6 ms')
		FROM webhook_events WHERE event = 'note.created' AND created_at >= '$time'}), "4001 $time true",
		"streaming = $streaming: so have all events of a large transaction");
	is(query($node, qq{SELECT count(*) FROM (SELECT data->>'id' AS id, lag(data->>'id') OVER (ORDER BY created_at) AS before
		FROM webhook_events WHERE event = 'note.created' AND created_at >= '$time') n WHERE before::int >= id::int}), 0,
		"streaming = $streaming: in the order of its changes");
}

# What savepoints wrote and rolled back stays out of it, and harms nobody. Any session with a replication origin applies.
create_tables('CREATE TABLE replayed (id int PRIMARY KEY)');
query($node, q{
	SELECT webhook_watch('replayed', 'replayed.created', organization_column => NULL, on_replicated => true);
	SELECT pg_replication_origin_create('replayed');
});
my $undo = q{SAVEPOINT s; INSERT INTO replayed SELECT i FROM generate_series(100001, 101100) i; ROLLBACK TO s;};
foreach my $kept ('', map { "INSERT INTO replayed SELECT i FROM generate_series($_, $_ + 1099) i;" } 1, 10001)
{
	query($node, qq{SELECT pg_replication_origin_session_setup('replayed'); TRUNCATE replayed; BEGIN;
		SELECT pg_replication_origin_xact_setup('0/1', '2026-01-01 00:00Z');
		$undo $kept $undo INSERT INTO replayed VALUES (20000); $undo COMMIT});
}
is(query($node, q{SELECT count(*) || ' ' || (min(created_at) >= '2026-01-01 00:00Z' AND max(created_at) < '2026-01-01 00:00:01Z')
	FROM webhook_events WHERE event = 'replayed.created'}), '2203 true',
	'what was rolled back is shifted with nothing, and the rest to the time of the source');

query($source, q{BEGIN; INSERT INTO items VALUES (200, 'prepared', 1); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'});
catch_up('changes');
is(query($node, q{SELECT count(*) FROM webhook_events WHERE data->>'name' = 'prepared'}), 1, 'a prepared transaction is sent');

# What is prepared here when the source prepares it, commits without a statement.
create_tables('CREATE TABLE transfers (id int PRIMARY KEY)');
query($node, q{SELECT webhook_watch('transfers', 'transfer.created', organization_column => NULL, on_replicated => true)});
publish('transfers', 'transfers');
subscribe('transfers', 'two_phase = true');
$node->append_conf('postgresql.conf', q{webhook.idle_timeout = '100ms'});
$node->reload;
query($source, q{BEGIN; INSERT INTO transfers VALUES (1); PREPARE TRANSACTION 'transfer'});
wait_until { query($node, 'SELECT count(*) FROM pg_prepared_xacts') == 1 } 'it is prepared on the node';
eventually { query($node, 'SELECT count(*) FROM webhook_workers') == 0 } 'a worker with nothing to do leaves';
query($source, q{COMMIT PREPARED 'transfer'});
eventually { grep { $_->{event} eq 'transfer.created' } $receiver->bodies('/ok?all') }
'when the source commits what it has prepared, a worker is started and sends it';
$node->append_conf('postgresql.conf', q{webhook.idle_timeout = '5min'});
$node->reload;

# --- Rows that a table had ----------------------------------------------------------------------------------------------

create_tables('CREATE TABLE orders (id int PRIMARY KEY, organization_id text); CREATE TABLE lines (id int PRIMARY KEY)');
query($source, q{INSERT INTO orders SELECT i, 'a' FROM generate_series(1, 3000) i; INSERT INTO lines VALUES (1)});
query($node, q{
	SELECT webhook_watch('orders', 'order.created', on_replicated => true, backfill => true);
	SELECT webhook_watch('lines', 'line.created', organization_column => NULL, on_replicated => true);
});
create_webhook($node, url => $receiver->url('/ok?orders'), events => ['order.created'], organization_id => 'a');
# While the table is copied, rows are committed that the copy holds, and others that follow it.
my $session = start_session($source, join('', map { "INSERT INTO orders VALUES ($_, 'a');\n" } 3001 .. 6000));
wait_until { query($source, 'SELECT count(*) FROM orders') > 3100 } 'the load is under way';
query($source, 'ALTER PUBLICATION changes ADD TABLE orders, lines');
query($node, 'ALTER SUBSCRIPTION changes REFRESH PUBLICATION');
wait_for_copies();
ok($session->finish, 'the load ends');
catch_up('changes');
is(query($node, q{SELECT count(*) || ' ' || count(DISTINCT data->>'id') FROM webhook_events WHERE event = 'order.created'}),
	'6000 6000', 'with backfill, each row of a table that is added is one event');
is(query($node, q{SELECT count(*) FILTER (WHERE (data->>'id')::int <= 3000) || ' ' || (count(*) >= 3100) || ' '
	|| (max((data->>'id')::int) = count(*)) FROM webhook_events WHERE event = 'order.created' AND backfill}),
	'3000 true true', 'those are marked that it had before');
my @orders = $receiver->bodies('/ok?orders');
is(scalar(@orders), 6000, 'all arrive');
is(scalar(grep { $_->{backfill} } @orders), query($node, 'SELECT count(*) FROM webhook_events WHERE backfill'),
	'with the mark in the body');
is(query($node, q{SELECT count(*) FROM webhook_events WHERE event = 'line.created'}), 0, 'without backfill, none is an event');
query($source, 'INSERT INTO lines VALUES (2)');
catch_up('changes');
is(events('line.created', q{data->>'id'}), 2, 'but those that follow are');

query($node, q{SELECT webhook_redeliver((SELECT min(l.id) FROM webhook_logs l JOIN webhook_events e ON e.id = l.event_id
	WHERE e.backfill))});
eventually { $receiver->count('/ok?orders') == 6001 } 'one is sent again';
is(($receiver->bodies('/ok?orders'))[-1]{backfill}, 1, 'marked as the first time');

# --- Partitioned tables -------------------------------------------------------------------------------------------------

foreach my $via_root (qw(false true))
{
	my $table = "parts_$via_root";
	my $definition = qq{
		CREATE TABLE $table (id int PRIMARY KEY) PARTITION BY RANGE (id);
		CREATE TABLE ${table}_1 PARTITION OF $table FOR VALUES FROM (0) TO (10);
		CREATE TABLE ${table}_2 PARTITION OF $table FOR VALUES FROM (10) TO (20);
	};
	query($source, $definition);
	# PostgreSQL 18 warns of relations that it did not close when it routes replicated rows to partitions with any trigger.
	my $is_routed = $via_root eq 'true' && query($node, 'SHOW server_version_num') >= 180000;
	query($node, $is_routed ? "CREATE TABLE $table (id int PRIMARY KEY)" : $definition);
	query($source, "INSERT INTO $table VALUES (1), (11)");
	publish($table, $table, "WITH (publish_via_partition_root = $via_root)");
	query($node, "SELECT webhook_watch('$table', '$table.created', organization_column => NULL, on_replicated => true)");
	subscribe($table);
	query($source, "INSERT INTO $table VALUES (2), (12)");
	catch_up($table);
	is(query($node, qq{SELECT string_agg(data->>'id', ' ' ORDER BY id) FROM webhook_events WHERE event = '$table.created'}), '2 12',
		"partitions, publish_via_partition_root = $via_root: what follows the copy is an event");
}

# --- Declarations -------------------------------------------------------------------------------------------------------

create_tables('CREATE TABLE plain (id int PRIMARY KEY)');
publish('plain', 'plain');
is(messages(q{SELECT webhook_watch('plain', 'plain.created', organization_column => NULL)}) =~ /replicat/ ? 1 : 0, 0,
	'a table that is not subscribed draws no notice');
subscribe('plain');
like(messages(q{SELECT webhook_watch('plain', 'plain.created', organization_column => NULL, condition => 'NEW.id > 0')}),
	qr/NOTICE:  changes of public\.plain that logical replication applies \(plain\) do not cause "plain.created"\nHINT:  Declare the event with on_replicated => true/,
	'a subscribed one does, unless it is declared for that');
query($source, 'INSERT INTO plain VALUES (1)');
catch_up('plain');
is(events('plain.created', 'id'), '', 'it causes no events');
my $webhook = create_webhook($node, url => $receiver->url('/ok?plain'), events => ['plain.created']);
my $finding = "SELECT finding || ': ' || hint FROM webhook_check('$webhook') WHERE finding LIKE '%logical%'";
is(query($node, $finding), 'changes of table public.plain that logical replication applies (plain) do not cause plain.created: '
	. 'Declare the event again with webhook_watch(..., on_replicated => true).', 'webhook_check() says why');
my $declare = q{SELECT webhook_watch('plain', 'plain.created', organization_column => NULL, condition => 'NEW.id > 0', on_replicated => true)};
is(messages($declare), '', 'declared for that');
is(query($node, $finding), '', 'it says so no more');
is(query($node, q{SELECT on_replicated, backfill, is_enabled FROM webhook_watches WHERE event = 'plain.created'}), 't|f|t',
	'webhook_watches shows it');
my $xmin = q{SELECT xmin FROM pg_trigger WHERE tgname = 'webhook_plain_created'};
my $before = query($node, $xmin);
query($node, $declare);
is(query($node, $xmin), $before, 'the same declaration again changes nothing');
query($source, 'INSERT INTO plain VALUES (2)');
catch_up('plain');
is(events('plain.created', q{data->>'id'}), 2, 'and its changes are events');

# --- A node that is killed under load -----------------------------------------------------------------------------------

create_tables('CREATE TABLE loads (id int PRIMARY KEY)');
publish('loads', 'loads');
query($node, q{SELECT webhook_watch('loads', 'load.created', organization_column => NULL, on_replicated => true)});
create_webhook($node, url => $receiver->url('/ok?loads'), events => ['load.created']);
subscribe('loads');
my @sessions = map {
	my $first = $_ * 10_000;
	start_session($source, join('', map { "INSERT INTO loads VALUES (@{[$first + $_]});\n" } 1 .. 1500))
} 1 .. 2;
foreach my $count (300, 1200)
{
	wait_until { $receiver->count('/ok?loads') >= $count } "$count requests";
	crash_server($node);
}
is(scalar(grep { !$_->finish } @sessions), 0, 'the source notices nothing');
eventually { keys %{ tally(map { $_->[1] } received_rows($receiver, '/ok?loads')) } == 3000 } 'all rows arrive';
my @rows = received_rows($receiver, '/ok?loads');
is(scalar(keys %{ tally(map { $_->[0] } @rows) }), 3000, 'those that are repeated with the same webhook-id');
is(query($node, q{SELECT count(*) FROM webhook_events WHERE event = 'load.created'}), 3000, 'each is one event');

is_log_clean($node, expected => [ crash_lines(), qr/terminating (?:logical replication|background) worker/,
	qr/ERROR:  could not receive data from WAL stream/, qr/ERROR:  replication origin with ID \d+ is already active/ ]);
done_testing();
