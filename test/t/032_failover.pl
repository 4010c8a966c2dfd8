# A standby promoted after its primary was stopped at once under load delivers what had committed on it, sends nothing
# before, and repeats little. With synchronous replication, all that was acknowledged arrives. A standby with undelivered
# events, or with a replay that was asked for, sends none of them before it is promoted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my ($in_flight_max, $batch_max, $session_count) = (32, 256, 4);

foreach my $mode (qw(asynchronous synchronous))
{
	my $receiver = start_receiver();
	my $primary = new_node(
		name => "primary_$mode",
		init => [ allows_streaming => 1 ],
		'webhook.max_in_flight' => $in_flight_max);
	query($primary, q{
		CREATE TABLE items (id bigint PRIMARY KEY);
		SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	});
	create_webhook($primary, url => $receiver->url('/ok'), events => ['item.created'], organization_id => undef);
	$primary->backup('backup');
	my $standby = PostgreSQL::Test::Cluster->new("standby_$mode");
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	# With so few the launcher and the worker wait for the disk, and whoever calls them finds them at it.
	$standby->append_conf('postgresql.conf', "shared_buffers = '1MB'") if $mode eq 'asynchronous';
	$standby->start;
	if ($mode eq 'synchronous')
	{
		$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
		$primary->reload;
	}
	$primary->wait_for_catchup($standby);
	wait_until { query($primary, 'SELECT sync_state FROM pg_stat_replication') eq ($mode eq 'synchronous' ? 'sync' : 'async') }
	'the standby follows';

	# Each session prints what has been acknowledged.
	my $acknowledged_dir = PostgreSQL::Test::Utils::tempdir();
	my @sessions = map {
		my $first = $_ * 100_000;
		start_session($primary, "\\o $acknowledged_dir/$_\n" . join('',
			map { "INSERT INTO items VALUES (@{[$first + $_]}) RETURNING id;\n" } 1 .. 20_000));
	} 1 .. $session_count;
	wait_until { $receiver->count >= 1000 } 'the load is under way';
	my $is_standby_quiet = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'webhook%'};
	is(query($standby, $is_standby_quiet), 0, "$mode: the standby has no worker while the primary sends");
	$primary->stop('immediate');
	is(scalar(grep { $_->finish } @sessions), 0, 'the primary stops in the middle of the load');

	# All connections of the primary are closed: what has reached the receiver is all that it sent.
	my $count = $receiver->count;
	wait_until { query($standby, q{SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'}) == 0 }
	'the standby notices';
	is(query($standby, 'SELECT pg_is_in_recovery()'), 't', 'the standby is one still');
	is(query($standby, $is_standby_quiet), 0, 'and has no worker');
	cmp_ok($receiver->count - $count, '<=', $in_flight_max, 'nothing is sent but what was in flight');
	my $before_promotion = $receiver->count;
	my $logged = query($standby, 'SELECT count(*) FROM webhook_logs');
	$standby->promote;

	my @committed = split /\n/, query($standby, 'SELECT id FROM items');
	cmp_ok(scalar @committed, '>', 0, @committed . ' rows had committed on it');
	eventually { query($standby, q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}) >= @committed }
	'the promoted standby comes to log each as delivered';
	my @rows = received_rows($receiver, '/ok');
	my @received = map { $_->[1] } @rows;
	is(missing(\@committed, \@received), '', 'each has arrived');
	my %is_committed = map { $_ => 1 } @committed;
	my @of_committed = grep { $is_committed{ $_->[1] } } @rows;
	is(scalar(keys %{ tally(map { "@$_" } @of_committed) }), @committed, 'repeats bear the same webhook-id');
	# What the primary had sent and its standby did not know to be recorded.
	my $unrecorded = $before_promotion - $logged;
	cmp_ok(@of_committed - @committed, '<=', $unrecorded, "no more is repeated than the $unrecorded not recorded");
	if ($mode eq 'synchronous')
	{
		my @acknowledged = map { split /\n/, PostgreSQL::Test::Utils::slurp_file("$acknowledged_dir/$_") } 1 .. $session_count;
		cmp_ok(scalar @acknowledged, '>', 100, @acknowledged . ' rows had been acknowledged');
		is(missing(\@acknowledged, \@received), '', 'all that was acknowledged arrives');
		# Nor is a recording unknown that has been acknowledged.
		cmp_ok($unrecorded, '<=', 2 * $in_flight_max + $batch_max, 'only what was in flight was not recorded');
	}
	is_log_clean(
		$standby,
		expected => [ crash_lines(), qr/FATAL: .*(?:could not|replication terminated|streaming|terminating walreceiver)/ ]);
	$standby->stop;
}

# --- a standby with undelivered events, whose primary is gone ---------------------------------------------------------

# The primary delivers nothing, so that whatever arrives comes from the standby, where deliveries are on.
my $events = 500;
my $receiver = start_receiver();
my $primary = new_node(name => 'primary_silent', init => [ allows_streaming => 1 ], 'webhook.enabled' => 'off');
query($primary, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});
create_webhook($primary, url => $receiver->url('/ok'), events => ['item.created'], organization_id => undef);
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby_silent');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "webhook.enabled = on\nwal_retrieve_retry_interval = '1s'");
$standby->start;
query($primary, "INSERT INTO items SELECT generate_series(1, $events)");
my $replayed = create_webhook($primary, url => $receiver->url('/ok?replayed'), events => ['item.created'], organization_id => undef);
query($primary, "SELECT webhook_api.replay('$replayed', '-infinity')");
$primary->wait_for_catchup($standby);
$primary->stop('fast');
is(query($standby, q{SELECT count(*) FROM webhook_events}), $events, "a standby has $events events that nobody has delivered");
my $retries = sub { return scalar(() = slurp_file($standby->logfile) =~ /could not connect to the primary server/g); };
eventually { $retries->() >= 5 } 'it goes on without its primary';
is(query($standby, 'SELECT pg_is_in_recovery()'), 't', 'as a standby');
is(query($standby, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'webhook%'}), 0,
	'without a launcher or worker');
is($receiver->count, 0, 'it sends nothing');
$standby->promote;
eventually { query($standby, q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}) == 2 * $events }
'promoted, it delivers all of them';
for my $path ('/ok', '/ok?replayed')
{
	is(join(' ', sort { $a <=> $b } map { $_->[1] } received_rows($receiver, $path)), join(' ', 1 .. $events), "once to $path");
}
is(query($standby, 'SELECT state, queued FROM webhook_replays'), "done|$events", 'and the replay is done');
is_log_clean($standby,
	expected => [ crash_lines(), qr/FATAL: .*(?:could not|replication terminated|streaming|terminating walreceiver)/ ]);
$standby->stop;

done_testing();
