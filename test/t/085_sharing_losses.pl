# Nodes that share webhooks come and go at the worst moments: one leaves while transactions that it would have delivered are
# open or prepared, two are lost at once, one comes back under its old name, the home is itself a delivery node. Committed rows
# are counted against what arrived.

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
my $home = new_member('home', max_prepared_transactions => 10);
my %node = (east => new_member('east', 'webhook.workers' => 2), west => new_member('west'));

query($home, 'CREATE TABLE things (id bigserial PRIMARY KEY, size int DEFAULT 1)');
query($home, q{SELECT webhook_watch('things', 'thing.created', organization_column => NULL)});
my @webhooks = 1 .. 12;
my %webhook = map { $_ => create_webhook($home, name => "w$_", url => $receiver->url("/body/w$_"), events => ['thing.created']) } @webhooks;
run_written($home, 'webhook_home()');
# The home's subscription to a node waits for transactions that are open there. What the node reports before is not heard.
my $long = start_session($node{east}, 'BEGIN; SELECT pg_current_xact_id(); SELECT pg_sleep(8); COMMIT');
wait_until { query($node{east}, q{SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL}) > 0 } 'an open transaction';
join_home($home, $_, $node{$_}) foreach sort keys %node;
$long->finish;

sub insert { my ($rows, $size) = @_; query($home, "INSERT INTO things (size) SELECT @{[$size // 1]} FROM generate_series(1, $rows)"); return; }
sub share { my ($nodes) = @_; query($home, "SELECT webhook_share('{$nodes}')"); return; }

# The webhooks that fall to a node.
sub owned_by
{
	my ($name) = @_;
	my %number = reverse %webhook;
	return map { $number{$_} } split /\n/, query($home, qq{SELECT c.id FROM webhook_configurations c, webhook_internal.last_division() d
		WHERE d[webhook_internal.node_number(c.id, cardinality(d))] = '$name'});
}

# Each committed row reaches each webhook, and most of them once.
sub all_arrive
{
	my ($name, $repeats_max) = @_;
	my @rows = split /\n/, query($home, 'SELECT id FROM things ORDER BY id');
	my @missing;
	my $repeats = 0;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eventually {
		@missing = ();
		$repeats = 0;
		foreach my $webhook (@webhooks)
		{
			my $counts = row_counts($receiver, "/body/w$webhook");
			push @missing, map { "$webhook:$_" } grep { !$counts->{$_} } @rows;
			$repeats += $_ - 1 foreach values %$counts;
		}
		!@missing;
	} $name or diag('missing: ' . join ' ', splice(@missing, 0, 20));
	cmp_ok($repeats, '<=', $repeats_max, "and little comes again: $repeats");
	return;
}

# --- A node that has nothing to do reports ------------------------------------------------------------------------------

cmp_ok(query($node{east}, 'SELECT min(lowest_id) FROM webhook_checkpoint'), '>=', 1,
	'a node has checkpoints');
query($node{east}, 'CREATE DATABASE other');
my $other = start_session($node{east}, "\\c other\nBEGIN; SELECT pg_current_xact_id(); SELECT pg_sleep(3600)");
share('home,east,west');
insert(10);
all_arrive('a first division', 0);
eventually { is_settled_at_home($home, $_) } "$_ is settled, though nothing more comes" foreach sort keys %node;
eventually { query($node{east}, 'SELECT min(lowest_id) > 4e18 FROM webhook_checkpoint') eq 't' } 'a node does not look for events among the ids before its own';
query($node{east}, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'other'});
$other->finish;

# --- The home is itself a delivery node ----------------------------------------------------------------------------------

# Its source's commit tells the time of the changes of a large transaction when many of them are at the nodes already.
my $source = PostgreSQL::Test::Cluster->new('source');
$source->init(allows_streaming => 'logical');
$source->start;
query($source, 'CREATE TABLE large (id bigint PRIMARY KEY); CREATE PUBLICATION large FOR TABLE large');
query($home, 'CREATE TABLE large (id bigint PRIMARY KEY)');
query($home, q{SELECT webhook_watch('large', 'large.created', organization_column => NULL, on_replicated => true)});
my $large_hook = create_webhook($home, name => 'large', url => $receiver->url('/large'), events => ['large.created']);
query($home, 'CREATE SUBSCRIPTION large CONNECTION ' . sql_literal($source->connstr('postgres')) . ' PUBLICATION large');
wait_until { query($home, q{SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'}) == 0 } 'the copy';
query($source, q{BEGIN; INSERT INTO large SELECT generate_series(1, 4000); SELECT pg_sleep(1.5); INSERT INTO large VALUES (4001); COMMIT});
my $times = q{SELECT count(*), md5(string_agg(id || ' ' || created_at, ',' ORDER BY id)) FROM webhook_events WHERE event = 'large.created'};
eventually { query($home, $times) =~ /^4001/ && query($node{east}, $times) =~ /^4001/ && query($node{west}, $times) =~ /^4001/ } 'a large transaction of the source';
is(query($node{$_}, $times), query($home, $times), "has the same times on $_, so its events have the same webhook-ids") foreach sort keys %node;
cmp_ok(query($home, q{SELECT count(*) FROM webhook_internal.shifted_events}), '>=', 1, 'some were corrected after they had been written');
is(query($node{east}, q{SELECT count(*) FROM webhook_internal.shifted_events}), 0, 'which the nodes are told, and do not store');
eventually { $receiver->count('/large') >= 4001 } 'all arrive';
query($home, "DELETE FROM webhook_configurations WHERE id = '$large_hook'; DROP SUBSCRIPTION large; DROP TABLE large");
$source->stop;

# --- A node leaves, with transactions open --------------------------------------------------------------------------------

my $open = $home->background_psql('postgres');
$open->query_safe('BEGIN; INSERT INTO things SELECT FROM generate_series(1, 5)');
query($home, q{BEGIN; INSERT INTO things SELECT FROM generate_series(1, 5); PREPARE TRANSACTION 'prepared'});
share('home,west');
insert(5);
eventually { refusal($home, q{SELECT webhook_detach_node('east')}) =~ /still subscribed/ } 'a node that has finished may go, whatever is open';
query($node{east}, 'DROP SUBSCRIPTION webhook_home');
run_written($home, q{webhook_detach_node('east')});
$open->query_safe('COMMIT');
$open->quit;
query($home, q{COMMIT PREPARED 'prepared'});
all_arrive('what was open falls to the home', 0);

# --- It comes back under its old name -----------------------------------------------------------------------------------

query($node{east}, 'DROP EXTENSION webhook CASCADE; CREATE EXTENSION webhook');
wait_until { query($node{east}, 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker';
like(refusal($node{east}, q{SELECT webhook_internal.become_node(NULL)}), qr/null value/, 'a statement of joining that fails');
cmp_ok(query($node{east}, 'SELECT last_value FROM webhook_switches_seq'), '<', 1000, 'changes no sequence');
eventually { query($home, q{SELECT count(*) FROM webhook_internal.nodes}) == 1 } 'the name is free';
join_home($home, 'east', $node{east});
share('home,east,west');
insert(10);
all_arrive('a node that has come back has its share', 0);
is(query($node{east}, q{SELECT count(*) FROM webhook_logs}) > 0 ? 1 : 0, 1, 'and delivers');

# --- Two are lost at once -----------------------------------------------------------------------------------------------

my ($dead_east) = owned_by('east');
my ($dead_west) = owned_by('west');
$receiver->set("/body/w$_", '/status/500') foreach $dead_east, $dead_west;
query($home, "UPDATE webhook_configurations SET filter = '\$.size > 5' WHERE id = '$webhook{$dead_east}'");
@webhooks = grep { $_ != $dead_east } @webhooks;
query($home, q{SELECT setval('things_id_seq', 10000)});
insert(20, 3);
insert(20, 7);
foreach my $name (sort keys %node)
{
	wait_until { query($home, "SELECT count(*) >= 20 AND max(attempts) > 0 FROM webhook_internal.node_deliveries WHERE node = '$name'") eq 't' }
		'the home knows what is pending';
}
my $load = start_session($home, join('', map { "INSERT INTO things (size) VALUES ($_ % 2 * 9); SELECT pg_sleep(0.002);\n" } 1 .. 1000));
await_rows($home, 300);
$node{$_}->stop('immediate') foreach sort keys %node;
await_rows($home, 100);
like(refusal($home, q{SELECT webhook_take_over('east', '{west,east}')}), qr/^ERROR:  the nodes that take over must be others\n/, 'a lost node cannot take over');
cmp_ok(query($home, q{SELECT webhook_take_over('east')}), '>=', 20, 'one is taken over');
insert(30, 8);
cmp_ok(query($home, q{SELECT webhook_take_over('west')}), '>=', 20, 'and then the other');
like(refusal($home, q{SELECT webhook_take_over('west')}), qr/^ERROR:  node "west" is not attached, or was taken over from before\n/, 'once');
like(refusal($home, q{SELECT webhook_share('{home,east}')}), qr/^ERROR:  node "east" is not attached\n/, 'a lost node gets no share');
is(query($home, q{SELECT string_agg(node || ' ' || state || ' ' || coalesce(share, 'none'), ', ' ORDER BY node) FROM webhook_nodes}),
	'east lost none, home attached 1 of 1, west lost none', 'webhook_nodes says so');
$load->finish;
eventually { query($home, q{SELECT count(*) FROM webhook_deliveries d WHERE d.tableoid = 'webhook_deliveries'::regclass AND d.attempts > 0}) >= 2 }
	'what was pending there is pending here, with its attempts';
$receiver->set("/body/w$_", undef) foreach $dead_east, $dead_west;
all_arrive('nothing is lost when two are lost', 2000);
my $large = query($home, 'SELECT count(*) FROM things WHERE size > 5 AND id > 10000');
eventually { scalar(grep { $_ > 10000 } keys %{ row_counts($receiver, "/body/w$dead_east") }) == $large } 'a webhook with a filter gets what matches';
is(scalar(grep { $_ > 10000 } keys %{ row_counts($receiver, "/body/w$dead_east") }), $large, 'and nothing else');
push @webhooks, $dead_east;
run_written($home, "webhook_detach_node('$_')") foreach sort keys %node;
eventually { query($home, 'SELECT count(*) FROM webhook_internal.nodes') == 0 } 'they are forgotten';
is(query($home, 'SELECT count(*) FROM webhook_internal.to_take_over') + query($home, 'SELECT count(*) FROM webhook_internal.node_deliveries')
	+ query($home, 'SELECT count(*) FROM pg_replication_slots'), 0, 'and nothing is left of them');

is_log_clean($home, expected => [ qr/ERROR: /, qr/FATAL: .*(?:terminating|could not|does not exist|the database system is)/ ]);
done_testing();
