# docs/nodes.md, followed step by step: its statements set up a delivery node, and its recipes help when a column is added,
# the source restarts, the node's slot is lost, or the source fails over to its standby.

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
my $node = new_node(name => 'node', extension => 0, wal_retrieve_retry_interval => '1s');

# The SQL of docs/nodes.md, by block.
my @blocks = slurp_file("$FindBin::RealBin/../../docs/nodes.md") =~ /^```sql\n(.*?)^```/msg;
is(scalar(@blocks), 7, 'docs/nodes.md has seven blocks of SQL');
my ($create_tables, $declare_events, $ask_for_publication, $prepare_source, $subscribe, $show_slots, $emit_missed) = @blocks;

sub conninfo { my ($server) = @_; return $server->connstr('postgres') =~ s/'/''/gr . ' user=webhook_node'; }

sub subscription
{
	my ($server) = @_;
	return $subscribe =~ s/CONNECTION '(?:[^']|'')*'/"CONNECTION '" . conninfo($server) . "'"/er;
}

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
sub findings { return query($node, "SELECT finding FROM webhook_check('$webhook') WHERE finding LIKE 'subscription%'"); }

# --- Set up -------------------------------------------------------------------------------------------------------------

query($source, q{
	CREATE TABLE contacts (id bigint PRIMARY KEY, organization_id text NOT NULL, name text, assigned_to bigint);
	CREATE TABLE deals (id bigint PRIMARY KEY, organization_id text NOT NULL, title text, stage text);
	INSERT INTO contacts VALUES (1, 'acme', 'Ada', NULL);
});
query($node, $create_tables);
my (undef, undef, $warning) = $node->psql('postgres', q{
	BEGIN;
	CREATE TABLE notes (id int);
	SELECT webhook_watch('notes', 'note.created', organization_column => NULL, on_replicated => true);
	SELECT webhook_publication();
	ROLLBACK});
like($warning, qr/WARNING:  table public\.notes has no primary key: .*\nHINT:  .* ALTER TABLE public\.notes REPLICA IDENTITY FULL;/,
	'the node warns of a table whose updates would fail on the source');
query($node, $declare_events);
is(query($node, $ask_for_publication) . "\n", $prepare_source, 'the node writes what docs/nodes.md shows for the source');
query($source, $prepare_source);
$webhook = create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?contacts'), events => ['contact.created']);
create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?deals'), events => ['deal.*']);
query($node, subscription($source));
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
is(findings(), '', 'and webhook_check() finds nothing');
is(health_shown(), 'ok', 'nor does webhook_health()');
like(query($source, $show_slots), qr/^webhook\|t\|reserved\|/, 'the source shows the slot of the node');

# --- A column is added --------------------------------------------------------------------------------------------------

query($source, q{ALTER TABLE contacts ADD COLUMN email text; INSERT INTO contacts VALUES (3, 'acme', 'Cy', NULL, 'c@example.com')});
eventually { slurp_file($node->logfile) =~ /is missing replicated column: "email"/ } 'a column that only the source has is told in the log';
eventually { state_shown() =~ /^stopped/ } 'and stops the subscription';
eventually { findings() eq 'subscription webhook, which brings events of it, has no worker' } 'webhook_check() says so';
eventually { query($node, 'SELECT apply_errors FROM webhook_subscriptions') > 0 } 'and how often a change could not be applied';
query($node, 'ALTER TABLE contacts ADD COLUMN email text');
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

# --- The slot is lost ---------------------------------------------------------------------------------------------------

query($node, 'ALTER SUBSCRIPTION webhook DISABLE');
is(findings(), 'subscription webhook, which brings events of it, is disabled', 'webhook_check() says that it is disabled');
is(health_shown(), 'degraded: 1 of 1 subscriptions that bring events are disabled or have no worker', 'and webhook_health()');
wait_until { query($source, q{SELECT active FROM pg_replication_slots WHERE slot_name = 'webhook'}) eq 'f' } 'the node is gone';
$source->append_conf('postgresql.conf', "max_slot_wal_keep_size = '16MB'");
$source->reload;
query($source, q{INSERT INTO contacts SELECT i, 'acme' FROM generate_series(10001, 10010) i});
query($source, $_) foreach (('CREATE TABLE filler AS SELECT 1', 'SELECT pg_switch_wal()', 'DROP TABLE filler') x 5, 'CHECKPOINT');
like(query($source, $show_slots), qr/^webhook\|f\|lost\|/, 'the source shows that the slot is lost');
query($node, 'ALTER SUBSCRIPTION webhook ENABLE');
eventually { slurp_file($node->logfile) =~ /This (?:replication )?slot has been invalidated/ } 'the node says so';
query($node, 'ALTER SUBSCRIPTION webhook DISABLE');
query($node, 'ALTER SUBSCRIPTION webhook SET (slot_name = NONE)');
query($node, 'DROP SUBSCRIPTION webhook');
query($source, q{SELECT pg_drop_replication_slot('webhook')});
query($node, 'ALTER TABLE contacts RENAME TO contacts_before');
query($node, 'CREATE TABLE contacts (LIKE contacts_before INCLUDING ALL)');
query($node, 'TRUNCATE deals');
query($node, $declare_events);
my $count = scalar(ids_arrived());
query($node, subscription($source));
wait_for_copies();
query($source, q{INSERT INTO contacts VALUES (10011, 'acme')});
eventually { ids_arrived() == $count + 1 } 'after a new copy, what is new is delivered again';
query($node, $emit_missed);
eventually { ids_arrived() == $count + 11 } 'and what was missed, once it is asked for';
is(join(' ', grep { $_ > 10000 } ids_arrived()), join(' ', 10001 .. 10011), 'exactly that');
@rows = received_rows($receiver, '/ok?contacts');
is(scalar(keys %{ tally(map { $_->[0] } @rows) }), scalar(ids_arrived()), 'once');

# --- The source fails over ----------------------------------------------------------------------------------------------

SKIP:
{
	skip 'failover slots came with PostgreSQL 17', 4 if query($node, 'SHOW server_version_num') < 170000;
	query($node, 'ALTER SUBSCRIPTION webhook DISABLE');
	wait_until { query($source, q{SELECT active FROM pg_replication_slots WHERE slot_name = 'webhook'}) eq 'f' } 'the node pauses';
	query($node, 'ALTER SUBSCRIPTION webhook SET (failover = true)');
	query($source, q{SELECT pg_create_physical_replication_slot('standby')});
	$source->append_conf('postgresql.conf', "synchronized_standby_slots = 'standby'");
	$source->reload;
	$source->backup('backup');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
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
	query($node, q{ALTER SUBSCRIPTION webhook CONNECTION '} . conninfo($standby) . q{'});
	@committed = split /\n/, query($standby, 'SELECT id FROM contacts WHERE id > 20000');
	cmp_ok(scalar(@committed), '>=', 300, @committed . ' rows had reached it');
	eventually { missing(\@committed, [ ids_arrived() ]) eq '' } 'all of them are delivered';
	@rows = received_rows($receiver, '/ok?contacts');
	is(scalar(keys %{ tally(map { $_->[0] } @rows) }), scalar(ids_arrived()), 'once');
}

done_testing();
