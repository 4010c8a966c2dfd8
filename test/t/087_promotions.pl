# Standbys of servers that share webhooks are promoted. That of the home lacks the last that nodes had reported. From PostgreSQL
# 17 on the nodes' slots are there, and the nodes go on; before, the new home takes over from them, and they join it anew. That of
# a node goes on, and the home hears it once it is attached again. What is committed at the home arrives, and the home knows what
# is pending at its nodes.

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
my %settings = ('webhook.retry_schedule' => join(',', ('1s') x 200));
my $old_home = new_member('home', %settings, wal_receiver_status_interval => '1s');
my %node = map { $_ => new_member($_, %settings) } qw(east west);
my $has_failover_slots = query($old_home, 'SHOW server_version_num') >= 170000;

query($old_home, 'CREATE TABLE things (id bigserial PRIMARY KEY)');
query($old_home, q{SELECT webhook_watch('things', 'thing.created', organization_column => NULL)});
my @webhooks = 1 .. 9;
my %webhook = map { $_ => create_webhook($old_home, name => "w$_", url => $receiver->url("/body/w$_"), events => ['thing.created']) } @webhooks;
run_written($old_home, 'webhook_home()');
join_home($old_home, $_, $node{$_}) foreach sort keys %node;
query($old_home, q{SELECT webhook_share('{home,east,west}')});

my $standby = PostgreSQL::Test::Cluster->new('standby');
if ($has_failover_slots)
{
	foreach my $name (sort keys %node)
	{
		query($node{$name}, 'ALTER SUBSCRIPTION webhook_home DISABLE');
		wait_until { query($old_home, qq{SELECT count(*) FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid
			WHERE r.application_name = 'webhook_home'}) < 2 } 'the node pauses';
		wait_until { $node{$name}->psql('postgres', 'ALTER SUBSCRIPTION webhook_home SET (failover = true)') == 0 } 'its slot is free';
		query($node{$name}, 'ALTER SUBSCRIPTION webhook_home ENABLE');
	}
}
query($old_home, q{SELECT pg_create_physical_replication_slot('standby')});
$old_home->backup('backup');
$standby->init_from_backup($old_home, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\nprimary_slot_name = 'standby'\n"
	. "primary_conninfo = '" . $old_home->connstr('postgres') =~ s/'/''/gr . "'\n" . ($has_failover_slots ? "sync_replication_slots = on\n" : ''));
$standby->start;
if ($has_failover_slots)
{
	$old_home->append_conf('postgresql.conf', "synchronized_standby_slots = 'standby'");
	$old_home->reload;
	eventually { query($standby, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'webhook_%' AND synced AND NOT temporary}) == 2 }
		'the standby has the slots of the nodes';
}

sub owned_by
{
	my ($home, $name) = @_;
	my %number = reverse %webhook;
	return map { $number{$_} } split /\n/, query($home, qq{SELECT c.id FROM webhook_configurations c, webhook_internal.last_division() d
		WHERE d[webhook_internal.node_number(c.id, cardinality(d))] = '$name' ORDER BY c.id});
}

# Each row that is committed at the home reaches each webhook, and most of them once.
sub all_arrive
{
	my ($home, $name, $repeats_max) = @_;
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
	cmp_ok($repeats, '<=', $repeats_max, @rows . " rows; come again: $repeats");
	return;
}

# What is pending at the nodes, as they say themselves, and as the home says. Not their attempts, of which one may be on its way.
sub pending_at
{
	my ($server) = @_;
	return query($server, q{SELECT string_agg(configuration_id || ' ' || event_id, ',' ORDER BY configuration_id, event_id)
		FROM webhook_deliveries WHERE state = 'pending'});
}
sub pending_at_home
{
	my ($home, $name) = @_;
	return query($home, qq{SELECT string_agg(configuration_id || ' ' || event_id, ',' ORDER BY configuration_id, event_id)
		FROM webhook_internal.node_deliveries WHERE node = '$name' AND state = 'pending'});
}

# --- The standby lags, and the home dies ----------------------------------------------------------------------------------

my ($failing) = owned_by($old_home, 'east');
my ($healing) = owned_by($old_home, 'west');
$receiver->set("/body/w$_", '/status/503') foreach $failing, $healing;
query($old_home, 'INSERT INTO things SELECT FROM generate_series(1, 50)');
eventually { query($old_home, q{SELECT count(DISTINCT node) FROM webhook_internal.node_deliveries WHERE attempts > 1}) == 2 }
	'the home knows what is pending at both';
$old_home->wait_for_catchup($standby, 'replay');
$standby->stop;
# What the standby still has as pending is sent, which only the old home hears.
$receiver->set("/body/w$healing", undef);
eventually { pending_at_home($old_home, 'west') eq '' } 'the home hears that it was delivered';
my $reported = query($node{west}, 'SELECT pg_current_wal_lsn()');
eventually { query($node{west}, "SELECT confirmed_flush_lsn >= '$reported' FROM pg_replication_slots WHERE slot_name = 'webhook_home_west'") eq 't' }
	'which the node need not say again';
# No node gets these before the standby has them.
query($old_home, 'INSERT INTO things SELECT FROM generate_series(1, 20)') if $has_failover_slots;
$old_home->stop('immediate');

$standby->start;
isnt(pending_at_home($standby, 'west'), '', 'the standby does not');
$standby->promote;
my $home = $standby;
if ($has_failover_slots)
{
	$home->append_conf('postgresql.conf', "synchronized_standby_slots = ''");
	$home->reload;
	query($node{$_}, 'ALTER SUBSCRIPTION webhook_home CONNECTION ' . sql_literal($home->connstr('postgres'))) foreach sort keys %node;
}
else
{
	like(query($home, q{SELECT webhook_take_over('east', '{home}') >= 0 AND webhook_take_over('west', '{home}') >= 0}), qr/^t$/,
		'without their slots, the new home takes over from its nodes');
	foreach my $name (sort keys %node)
	{
		query($node{$name}, "ALTER SUBSCRIPTION webhook_home DISABLE");
		query($node{$name}, "ALTER SUBSCRIPTION webhook_home SET (slot_name = NONE); DROP SUBSCRIPTION webhook_home");
		run_written($home, "webhook_detach_node('$name')");
		query($node{$name}, 'DROP EXTENSION webhook CASCADE');
	}
	eventually { query($home, 'SELECT count(*) FROM webhook_internal.nodes') == 0 } 'they are forgotten';
	foreach my $name (sort keys %node)
	{
		# That of the old home, which webhook_attach_node() would name.
		query($node{$name}, "SELECT pg_drop_replication_slot('webhook_home_$name')");
		query($node{$name}, 'DROP PUBLICATION IF EXISTS webhook_node; CREATE EXTENSION webhook');
		wait_until { query($node{$name}, 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker';
		join_home($home, $name, $node{$name});
	}
	query($home, q{SELECT webhook_share('{home,east,west}')});
}
query($home, 'INSERT INTO things SELECT FROM generate_series(1, 50)');
$receiver->set("/body/w$failing", undef) unless $has_failover_slots;
eventually { my $is_equal = 1; $is_equal &&= pending_at($node{$_}) eq pending_at_home($home, $_) foreach sort keys %node; $is_equal }
	'the new home knows what is pending at its nodes';
eventually { query($home, q{SELECT count(*) FROM webhook_nodes WHERE reports AND is_connected AND state = 'attached' AND node <> 'home'}) == 2 } 'and hears them';
eventually { query($home, q{SELECT status FROM webhook_health() WHERE component = 'subscriptions'}) eq 'ok' } 'as webhook_health() says';

# --- A node is lost right after that --------------------------------------------------------------------------------------

my $load = start_session($home, join('', map { "INSERT INTO things DEFAULT VALUES; SELECT pg_sleep(0.002);\n" } 1 .. 500));
wait_until { query($home, 'SELECT count(*) FROM things') > 200 } 'a load';
$node{east}->stop('immediate');
cmp_ok(query($home, q{SELECT webhook_take_over('east')}), '>=', 0, 'a node that the old home knew better is taken over');
$load->finish;
$receiver->set("/body/w$failing", undef);
all_arrive($home, 'all that is committed at the new home arrives', $has_failover_slots ? 1500 : 2500);
run_written($home, q{webhook_detach_node('east')});
eventually { is_settled_at_home($home, 'west') } 'the other node reports';
eventually { query($home, q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'}) == 0 } 'nothing is pending any more';
is(query($home, q{SELECT count(*) FROM webhook_deliveries}), 0, 'and nothing was given up');

# --- The standby of a node is promoted --------------------------------------------------------------------------------------

# A synchronous standby: the home drops nothing that it has not.
my $west = PostgreSQL::Test::Cluster->new('west2');
$node{west}->backup('backup');
$west->init_from_backup($node{west}, 'backup', has_streaming => 1);
$west->start;
$node{west}->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$node{west}->reload;
query($node{west}, 'ALTER SUBSCRIPTION webhook_home SET (synchronous_commit = on)');
($healing) = owned_by($home, 'west');
$receiver->set("/body/w$healing", '/status/503');
$load = start_session($home, join('', map { "INSERT INTO things DEFAULT VALUES; SELECT pg_sleep(0.002);\n" } 1 .. 500));
my $before = query($home, 'SELECT count(*) FROM things');
wait_until { query($home, 'SELECT count(*) FROM things') > $before + 200 } 'a load';
$node{west}->stop('immediate');
$west->promote;
$west->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$west->reload;
$load->finish;
eventually { query($home, q{SELECT reports FROM webhook_nodes WHERE node = 'west'}) eq 'f' } 'the home does not hear the promoted node';
eventually { query($home, q{SELECT remedy FROM webhook_health() WHERE component = 'subscriptions'}) =~ /webhook_attach_node/ } 'as webhook_health() says';
query($home, $_) foreach 'ALTER SUBSCRIPTION webhook_node_west DISABLE', 'ALTER SUBSCRIPTION webhook_node_west SET (slot_name = NONE)',
	'DROP SUBSCRIPTION webhook_node_west';
run_written($home, q{webhook_attach_node('west', } . sql_literal($west->connstr('postgres')) . ')');
eventually { pending_at($west) ne '' && pending_at($west) eq pending_at_home($home, 'west') } 'attached once more, it reports everything';
$receiver->set("/body/w$healing", undef);
all_arrive($home, 'all that is committed arrives', 3500);
eventually { is_settled_at_home($home, 'west') } 'and the home knows';
eventually { query($home, q{SELECT status FROM webhook_health() WHERE component = 'subscriptions'}) eq 'ok' } 'and all is well';
is_log_clean($west, expected => [ crash_lines(), qr/(?:ERROR|FATAL): .*(?:could not|terminating|walreceiver|the database system|pipeline)/ ]);

is_log_clean($home, expected => [ crash_lines(), qr/(?:ERROR|FATAL): .*(?:could not|terminating|does not exist|replication slot|walreceiver|the database system)/ ]);
$_->stop foreach $west, $home;

done_testing();
