# A home whose event log is small: what is pending at a node, or what a lost node has left, stays stored until it is delivered,
# also while deliveries are paused. A node that is down is cut off before the home's disk is full. And what is cancelled at the
# home is what was pending then.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Nodes;

my $receiver = start_receiver();
my $home = new_member('home', 'webhook.max_event_size' => '1MB', 'webhook.workers' => 2, max_slot_wal_keep_size => '64MB');
my $east = new_member('east');
query($home, q{
	CREATE FUNCTION noise() RETURNS text LANGUAGE sql AS $$SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 125)$$;
	CREATE TABLE things (id bigserial PRIMARY KEY, note text DEFAULT noise())});
query($home, q{SELECT webhook_watch('things', 'thing.created', organization_column => NULL)});
my @webhooks = 1 .. 4;
my %webhook = map { $_ => create_webhook($home, name => "w$_", url => $receiver->url("/body/w$_"), events => ['thing.created']) } @webhooks;
run_written($home, 'webhook_home()');
join_home($home, 'east', $east);
query($home, q{SELECT webhook_share('{east}')});

sub insert { my ($rows) = @_; query($home, "INSERT INTO things SELECT FROM generate_series(1, $rows)"); return; }
sub pending_at_node { my ($webhook) = @_; return query($home, "SELECT count(*) FROM webhook_internal.node_deliveries WHERE configuration_id = '$webhook{$webhook}' AND state = 'pending'"); }

# --- A cancellation is of what was pending --------------------------------------------------------------------------------

$receiver->set('/body/w1', '/status/503');
insert(10);
wait_until { pending_at_node(1) == 10 } 'ten are pending at the node';
is(query($home, "SELECT webhook_cancel('$webhook{1}')"), 10, 'all that is pending is cancelled');
insert(3);
eventually { query($east, qq{SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$webhook{1}' AND state = 'dead'}) == 10 } 'at the node';
eventually { pending_at_node(1) == 3 } 'what comes after it is not';

# --- The log turns while deliveries are pending at the node ---------------------------------------------------------------

insert(200) foreach 1 .. 4;
eventually { query($home, q{SELECT last_id FROM webhook_internal.emptied_events}) ne '' } 'the home has emptied a segment';
eventually { query($home, q{SELECT count(*) FROM webhook_internal.saved_events}) >= 3 } 'and has saved what is pending at the node';
my $oldest = query($home, "SELECT min(event_id) FROM webhook_internal.node_deliveries WHERE state = 'pending'");
is(query($home, "SELECT count(*) FROM webhook_events WHERE id = $oldest"), 0, 'which is not stored otherwise');

# --- The node is lost while deliveries are paused -----------------------------------------------------------------------

# Up to a mark by which nothing was under way: what is emptied later is not taken for unsettled.
eventually { query($home, q{SELECT m.lowest_id > (SELECT last_value FROM webhook_events_id_seq) FROM webhook_internal.node_marks m, webhook_internal.nodes n
	WHERE m.id = n.settled AND n.settled = (SELECT max(l.id) FROM webhook_internal.node_marks l)}) eq 't' } 'all else is settled';
$east->stop('immediate');
insert(60);
wait_until { query($home, q{SELECT count(*) FROM webhook_events e, webhook_checkpoint c WHERE NOT pg_visible_in_snapshot(e.xid, c.snapshot_from)}) == 0 }
	'the checkpoints of the home are past them';
query($home, 'SELECT pg_logical_emit_message(true, \'\', \'\'), pg_switch_wal()') foreach 1 .. 10;
query($home, 'CHECKPOINT');
eventually { query($home, q{SELECT wal_status FROM webhook_nodes WHERE node = 'east'}) eq 'lost' } 'no more WAL is kept for it than may be';
is(query($home, q{SELECT status || ': ' || reason FROM webhook_health() WHERE component = 'subscriptions' AND status = 'failing'}),
	'failing: too much WAL was to be kept for nodes that share the webhooks, and they are cut off: east', 'webhook_health() says so');
query($home, q{SELECT webhook_pause('for a test')});
my (undef, undef, $warnings) = $home->psql('postgres', q{SELECT webhook_take_over('east')});
is($warnings, '', 'nothing that it had not settled is gone');
insert(200) foreach 1 .. 3;
eventually { slurp_file($home->logfile) =~ /the oldest segment of webhook_events is kept beyond its retention or size/ } 'the log would turn, and does not';
is(query($home, "SELECT webhook_cancel('$webhook{1}', $oldest)"), 1, 'what is about to be inherited can be cancelled');
query($home, 'SELECT webhook_resume()');
$receiver->set('/body/w1', undef);
my $rows = query($home, 'SELECT count(*) FROM things');
foreach my $webhook (2 .. 4)
{
	eventually { keys %{ row_counts($receiver, "/body/w$webhook") } == $rows } "all arrive at webhook $webhook";
}
eventually { keys %{ row_counts($receiver, '/body/w1') } == $rows - 11 } 'and what was not cancelled';
eventually { query($home, q{SELECT count(*) FROM webhook_deliveries WHERE state = 'dead'}) == 11 } 'which is dead';
is(query($home, 'SELECT count(*) FROM webhook_internal.given_up'), 0, 'nothing was given up');
run_written($home, q{webhook_detach_node('east')});
is(query($home, q{SELECT status FROM webhook_health() WHERE component = 'subscriptions'}), 'ok', 'without the node all is well');

is_log_clean($home, expected => [ qr/ERROR:  .*could not (?:connect|receive)/, qr/ERROR:  replication origin with ID \d+ is already active/, qr/FATAL: .*terminating/, qr/WARNING:  .*segment/, qr/LOG: / ]);
done_testing();
