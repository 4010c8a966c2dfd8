# docs/nodes.md, followed step by step: its statements set up a delivery node, and its recipes help when a column or a table is
# added, the source restarts, the node's slot passes its limit, the node is lost, or the source fails over to its standby.

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
$source->start;
my $node = new_node(name => 'node', extension => 0, wal_retrieve_retry_interval => '1s', wal_level => 'replica', max_wal_senders => 4);

# The SQL of docs/nodes.md, by block.
my @blocks = slurp_file("$FindBin::RealBin/../../docs/nodes.md") =~ /^```sql\n(.*?)^```/msg;
is(scalar(@blocks), 20, 'docs/nodes.md has twenty blocks of SQL, of which the last seven are about several nodes');
my ($ask_for_publication, $prepare_source, $create_node, $declare_events, $start, $ask_for_less, $publish_less, $set_tables, $check,
	$show_slot, $resync, $emit_missed, $resync_restored) = @blocks;

# As in a string of SQL.
sub conninfo { my ($server) = @_; return $server->connstr('postgres') =~ s/'/''/gr . ' user=webhook_node'; }
$create_node =~ s/'host=[^']*'/"'" . conninfo($source) . "'"/e;

sub wait_for_copies
{
	wait_until { query($node, q{SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'}) == 0 } 'the tables are copied';
	return;
}

# The rows that arrived, in ascending order, each as often as it came.
sub arrived { return join(' ', sort { $a <=> $b } map { $_->[1] } received_rows($receiver, '/ok?contacts')); }

# The same, each once.
sub ids_arrived
{
	my %ids = map { $_->[1] => 1 } received_rows($receiver, '/ok?contacts');
	my @ids = sort { $a <=> $b } keys %ids;
	return @ids;
}

# What the node says of its subscription, and webhook_check() of the webhook.
my $webhook;

sub health_shown { return query($node, q{SELECT status || coalesce(': ' || reason, '') FROM webhook_health() WHERE component = 'subscriptions'}); }
sub state_shown { return query($node, 'SELECT state, watched, copying FROM webhook_subscriptions'); }
sub findings { return query($node, "SELECT finding FROM webhook_check('$webhook') WHERE finding LIKE '%subscription %'"); }

# --- Set up -------------------------------------------------------------------------------------------------------------

query($source, q{
	CREATE TABLE contacts (id bigint PRIMARY KEY, organization_id text NOT NULL, name text, assigned_to bigint);
	CREATE TABLE deals (id bigint PRIMARY KEY, organization_id text NOT NULL, title text, stage text);
	INSERT INTO contacts VALUES (1, 'acme', 'Ada', NULL);
});
is(query($node, $ask_for_publication) . "\n", $prepare_source, 'the node writes what docs/nodes.md shows for the source');
query($source, $prepare_source);
query($node, $create_node);
my (undef, undef, $warning) = $node->psql('postgres', q{
	BEGIN;
	CREATE TABLE notes (id int);
	SELECT webhook_watch('notes', 'note.created', organization_column => NULL, on_replicated => true);
	SELECT webhook_publication();
	ROLLBACK});
like($warning, qr/WARNING:  table public\.notes has no primary key: .*\nHINT:  .* ALTER TABLE public\.notes REPLICA IDENTITY FULL;/,
	'the node warns of a table whose updates would fail on the source');
query($node, $declare_events);
is(query($node, $ask_for_less) . "\n", $publish_less, 'of events that are declared it lists the columns that they need');
query($source, $set_tables);
$webhook = create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?contacts'), events => ['contact.created']);
create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?deals'), events => ['deal.*']);
is(state_shown(), 'disabled|{contacts,deals}|{contacts,deals}', 'the subscription waits for the events');
query($source, q{INSERT INTO contacts VALUES (0, 'acme', 'Zoe', NULL)});
query($node, $start);
wait_for_copies();
query($source, q{
	INSERT INTO contacts VALUES (2, 'acme', 'Bob', NULL);
	INSERT INTO deals VALUES (1, 'acme', 'Big', 'new');
	UPDATE deals SET title = 'Bigger';
	UPDATE deals SET stage = 'won';
});
eventually { arrived() eq '2' } 'a node that is set up as docs/nodes.md says delivers what is new';
eventually { $receiver->count('/ok?deals') == 1 } 'also from updates';
is(state_shown(), 'applying|{contacts,deals}|', 'webhook_subscriptions shows that all is well');
is(query($node, q{SELECT received_lsn >= confirmed_lsn, unconfirmed_bytes >= 0, lag_seconds IS NOT NULL, last_error FROM webhook_subscriptions}),
	't|t|t|', 'how far it is, and no error');
is(findings(), '', 'and webhook_check() finds nothing');
is(health_shown(), 'ok', 'nor does webhook_health()');
like(query($node, $show_slot), qr/^t\|reserved\|/, 'the node is told of its slot');
is(query($node, "$check WHERE severity <> 'info'" =~ s/;//r), '', 'and that nothing differs');
is(query($node, $create_node), '', 'created again, it changes nothing');

# --- A column is added --------------------------------------------------------------------------------------------------

query($source, q{ALTER TABLE contacts ADD COLUMN email text; INSERT INTO contacts VALUES (3, 'acme', 'Cy', NULL, 'c@example.com')});
eventually { slurp_file($node->logfile) =~ /is missing replicated column: "email"/ } 'a column that only the source has is told in the log';
eventually { state_shown() =~ /^stopped/ } 'and stops the subscription';
eventually { findings() eq 'subscription webhook, which brings events of it, has no worker' } 'webhook_check() says so';
like(query($node, 'SELECT last_error FROM webhook_subscriptions'), qr/is missing replicated column: "email"/, 'webhook_subscriptions has the error');
eventually { query($node, 'SELECT apply_errors FROM webhook_subscriptions') > 0 } 'and how often a change could not be applied';
my ($mend) = query($node, $check) =~ /^error\|column email of table public\.contacts is missing on this node\|node\|(.*)$/m;
is($mend, 'ALTER TABLE public.contacts ADD COLUMN email text;', 'webhook_node_check() gives the statement that mends it');
query($node, $mend);
eventually { arrived() eq '2 3' } 'once the node has it, too, nothing is lost';
is(($receiver->bodies('/ok?contacts'))[-1]{data}{email}, 'c@example.com', 'and the column is sent');
query($node, 'ALTER TABLE contacts ADD COLUMN phone text');
query($source, q{ALTER TABLE contacts ADD COLUMN phone text; ALTER TABLE deals ADD COLUMN amount numeric;
	UPDATE deals SET stage = 'lost'; INSERT INTO contacts VALUES (4, 'acme', 'Di', NULL, NULL, '1')});
eventually { arrived() eq '2 3 4' } 'a column that the node had first stops nothing';
eventually { $receiver->count('/ok?deals') == 2 } 'nor one that is not published';
is(query($node, q{SELECT count(title), count(stage) FROM deals}), '0|1', 'which never leaves the source');

# --- The source restarts ------------------------------------------------------------------------------------------------

my $session = start_session($source, join('', map { "INSERT INTO contacts VALUES ($_, 'acme');\n" } 1001 .. 9000));
wait_until { $receiver->count('/ok?contacts') > 300 } 'the load is under way';
$source->stop('immediate');
$session->finish;
eventually { state_shown() =~ /^stopped/ } 'without its source, a subscription has no worker';
$source->start;
my @committed = split /\n/, query($source, 'SELECT id FROM contacts WHERE id > 1000');
eventually { query($node, 'SELECT count(*) FROM contacts WHERE id > 1000') >= @committed } 'the node follows a source that crashed';
eventually { ids_arrived() >= @committed + 3 } 'and delivers what had been committed there';
is(missing(\@committed, [ ids_arrived() ]), '', 'each row');
my @rows = received_rows($receiver, '/ok?contacts');
is(scalar(keys %{ tally(map { $_->[0] } @rows) }), scalar(ids_arrived()), 'once');

# --- A table is added ---------------------------------------------------------------------------------------------------

query($source, q{
	CREATE TABLE calls (id int PRIMARY KEY, organization_id text);
	INSERT INTO calls SELECT i, 'acme' FROM generate_series(1, 20) i;
	GRANT SELECT ON calls TO webhook_node;
	ALTER PUBLICATION webhook ADD TABLE calls;
});
is(query($node, $check) =~ /^error\|table public\.calls is published, and missing on this node\|node\|CREATE TABLE/m, 1,
	'a table that was added is told');
query($node, $create_node =~ s/'\)/', events => true)/r);
create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?calls'), events => ['calls.*']);
wait_for_copies();
query($source, q{INSERT INTO calls SELECT i, 'acme' FROM generate_series(21, 30) i; DELETE FROM calls WHERE id = 1});
eventually { $receiver->count('/ok?calls') == 11 } 'once it is created, its 11 changes arrive';
is(query($node, 'SELECT count(*) FROM calls'), 29, 'and the rows that it had are copied, without events');
is($receiver->count('/ok?calls'), 11, 'each change once');

# --- The limit of the slot is passed ------------------------------------------------------------------------------------

# Writes more WAL than the slot may keep.
sub lose_slot
{
	wait_until { query($source, q{SELECT active FROM pg_replication_slots WHERE slot_name = 'webhook'}) eq 'f' } 'the node is gone';
	query($source, $_) foreach (('CREATE TABLE filler AS SELECT 1', 'SELECT pg_switch_wal()', 'DROP TABLE filler') x 5, 'CHECKPOINT');
	return;
}

query($node, 'ALTER SUBSCRIPTION webhook DISABLE');
is(findings(), 'subscription webhook, which brings events of it, is disabled', 'webhook_check() says that it is disabled');
is(health_shown(), 'degraded: 1 of 1 subscriptions that bring events are disabled or have no worker', 'and webhook_health()');
$source->append_conf('postgresql.conf', "max_slot_wal_keep_size = '16MB'");
$source->reload;
# Rows that come, change, go, and come and go while the node is away.
my $before_loss = query($source, 'SELECT count(*) FROM contacts');
query($source, q{
	INSERT INTO contacts SELECT i, 'acme' FROM generate_series(10001, 10010) i;
	UPDATE contacts SET name = 'renamed' WHERE id = 2;
	DELETE FROM contacts WHERE id = 3;
	INSERT INTO contacts VALUES (10999, 'acme'); DELETE FROM contacts WHERE id = 10999;
});
lose_slot();
is((split /\|/, query($node, $show_slot))[1], 'lost', 'the node is told that the slot is lost');
like(query($node, $check), qr/^error\|the replication slot webhook is lost \(\w+\): changes since then do not come\|node\|SELECT webhook_node_resync\('webhook'\)/m,
	'with its remedy');
query($node, 'ALTER SUBSCRIPTION webhook ENABLE');
eventually { slurp_file($node->logfile) =~ /This (?:replication )?slot has been invalidated/ } 'the node\'s log says so';
eventually { state_shown() =~ /^lost/ } 'and webhook_subscriptions';
eventually { findings() eq 'the replication slot of subscription webhook, which brings events of it, is lost: nothing comes any more' }
	'webhook_check() gives the alarm';
eventually { health_shown() eq 'failing: the replication slots of 1 of 1 subscriptions that bring events are lost: nothing comes any more' }
	'so does webhook_health()';
my $count = scalar(ids_arrived());
query($node, $resync);
wait_for_copies();
query($source, q{INSERT INTO contacts VALUES (10011, 'acme'); UPDATE contacts SET name = 'later' WHERE id = 10001});
eventually { ids_arrived() == $count + 1 } 'after a new copy, what is new is delivered again';
eventually { query($node, q{SELECT name FROM contacts WHERE id = 10001}) eq 'later' } 'and applied';
my $missed = q{SELECT change, key->>'id', before->>'name', after->>'name' FROM webhook_node_missed('contacts') ORDER BY (key->>'id')::int};
is(query($node, $missed), join("\n", 'updated|2|Bob|renamed', 'deleted|3|Cy|', map { "created|$_||" } 10001 .. 10010),
	'what was missed is told, without what came later');
is(query($node, q{SELECT count(*) FROM webhook_node_missed('deals')}), 0, 'and nothing of a table that did not change');
query($node, $emit_missed);
eventually { ids_arrived() == $count + 11 } 'what was missed is sent once it is asked for';
is(join(' ', grep { $_ > 10000 } ids_arrived()), join(' ', 10001 .. 10011), 'exactly that');
is(query($source, 'SELECT count(*) FROM contacts'), $before_loss + 10, '11 rows were created and one deleted');
@rows = received_rows($receiver, '/ok?contacts');
is(scalar(keys %{ tally(map { $_->[0] } @rows) }), scalar(ids_arrived()), 'each once');
is(query($node, "$check WHERE severity = 'error'" =~ s/;//r), '', 'nothing is left to mend');
is(health_shown(), 'ok', 'and the alarm is over');
my (undef, undef, $refusal) = $node->psql('postgres', $resync, on_error_stop => 0);
like($refusal, qr/ERROR:  the replication slot "webhook" is not lost/, 'a slot that is not lost is not dropped');

# --- The node is lost, and replaced from a backup -----------------------------------------------------------------------

query($node, 'DROP TABLE contacts_kept, contacts_missed, deals_kept, deals_missed, calls_kept, calls_missed');
$source->wait_for_catchup('webhook');
$node->backup('backup');
$session = start_session($source, join('', map { "INSERT INTO contacts VALUES ($_, 'acme');\n" } 11_001 .. 12_000));
wait_until { ids_arrived() > $count + 200 } 'the node delivers what the backup does not have';
$session->finish;
$node->stop('immediate');
query($source, q{INSERT INTO contacts SELECT i, 'acme' FROM generate_series(12001, 12050) i});
my $lost_node = $node;
$node = PostgreSQL::Test::Cluster->new('replacement');
$node->init_from_backup($lost_node, 'backup');
$node->append_conf('postgresql.conf', "max_logical_replication_workers = 0\n");
$node->start;
query($node, $resync_restored);
$node->append_conf('postgresql.conf', "max_logical_replication_workers = 4\n");
$node->restart;
wait_for_copies();
query($source, q{INSERT INTO contacts VALUES (12051, 'acme')});
eventually { grep { $_ == 12051 } ids_arrived() } 'a node from a backup delivers what is new';
@committed = split /\n/, query($source, 'SELECT id FROM contacts WHERE id BETWEEN 11001 AND 12050 ORDER BY id');
is(query($node, q{SELECT key->>'id' FROM webhook_node_missed('contacts') ORDER BY (key->>'id')::int}), join("\n", @committed),
	'it tells ' . @committed . ' rows that are newer than the backup');
query($node, $emit_missed);
eventually { missing(\@committed, [ ids_arrived() ]) eq '' } 'so all of them arrive';

# --- The source fails over ----------------------------------------------------------------------------------------------

my $standby = PostgreSQL::Test::Cluster->new('standby');
query($node, 'DROP TABLE contacts_kept, contacts_missed, deals_kept, deals_missed, calls_kept, calls_missed');
if (query($node, 'SHOW server_version_num') >= 170000)
{
	query($node, 'ALTER SUBSCRIPTION webhook DISABLE');
	wait_until { query($source, q{SELECT active FROM pg_replication_slots WHERE slot_name = 'webhook'}) eq 'f' } 'the node pauses';
	query($node, 'ALTER SUBSCRIPTION webhook SET (failover = true)');
	query($source, q{SELECT pg_create_physical_replication_slot('standby')});
	$source->append_conf('postgresql.conf', "synchronized_standby_slots = 'standby'");
	$source->reload;
	$source->backup('backup');
	$standby->init_from_backup($source, 'backup', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "sync_replication_slots = on\nhot_standby_feedback = on\nprimary_slot_name = 'standby'\n"
		. "primary_conninfo = '" . $source->connstr('postgres') =~ s/'/''/gr . "'\n");
	$standby->start;
	query($node, 'ALTER SUBSCRIPTION webhook ENABLE');
	my $is_ready = q{SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'webhook' AND synced AND NOT temporary};
	eventually { query($standby, $is_ready) == 1 } 'the standby has the slot';
	my $before = scalar(ids_arrived());
	$session = start_session($source, join('', map { "INSERT INTO contacts VALUES ($_, 'acme');\n" } 20_001 .. 28_000));
	wait_until { ids_arrived() > $before + 300 } 'the load is under way';
	$source->stop('immediate');
	$session->finish;
	$standby->promote;
	# The setting came with the backup, and the slot that it names did not: logical replication would wait for it.
	$standby->append_conf('postgresql.conf', "synchronized_standby_slots = ''");
	$standby->reload;
	query($node, q{ALTER SUBSCRIPTION webhook CONNECTION '} . conninfo($standby) . q{'});
	@committed = split /\n/, query($standby, 'SELECT id FROM contacts WHERE id > 20000');
	cmp_ok(scalar(@committed), '>=', 300, @committed . ' rows had reached it');
	eventually { missing(\@committed, [ ids_arrived() ]) eq '' } 'all of them are delivered';
	@rows = grep { $_->[1] > 20_000 } received_rows($receiver, '/ok?contacts');
	is(scalar(keys %{ tally(map { $_->[0] } @rows) }), scalar(grep { $_ > 20_000 } ids_arrived()), 'once');
}
else
{
	# Without failover slots, the new primary has no slot.
	query($node, 'ALTER SUBSCRIPTION webhook DISABLE');
	$source->backup('backup');
	$standby->init_from_backup($source, 'backup', has_streaming => 1);
	$standby->start;
	query($source, q{INSERT INTO contacts SELECT i, 'acme' FROM generate_series(20001, 20050) i});
	$source->wait_for_catchup($standby);
	$source->stop('immediate');
	$standby->promote;
	query($standby, q{INSERT INTO contacts VALUES (20051, 'acme')});
	query($node, $resync =~ s/'webhook'/"'webhook', '" . conninfo($standby) . "'"/er);
	wait_for_copies();
	query($standby, q{INSERT INTO contacts VALUES (20052, 'acme')});
	eventually { grep { $_ == 20052 } ids_arrived() } 'the node follows the new primary';
	is(query($node, q{SELECT change, key->>'id' FROM webhook_node_missed('contacts') ORDER BY (key->>'id')::int}),
		join("\n", map { "created|$_" } 20001 .. 20051), 'and tells what it missed');
	query($node, $emit_missed);
	@committed = split /\n/, query($standby, 'SELECT id FROM contacts WHERE id > 20000');
	eventually { missing(\@committed, [ ids_arrived() ]) eq '' } 'so all that is committed there arrives';
	is(join(' ', grep { $_ > 20_000 } map { $_->[1] } received_rows($receiver, '/ok?contacts')) =~ tr/ //, 51, 'once');
}

done_testing();
