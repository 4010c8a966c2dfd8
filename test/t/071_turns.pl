# Workers with nothing to do leave and come back; with more databases than background worker slots they take turns.
# Nothing is lost or sent twice by it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $node = new_node(
	extension => 0,
	max_worker_processes => 5,    # the launcher, that of logical replication, and three workers
	max_logical_replication_workers => 1,
	max_prepared_transactions => 10,
	'webhook.retry_schedule' => '5s, 1h',
	'webhook.idle_timeout' => '500ms');
my @databases = map { "tenant_$_" } 1 .. 12;
my %webhook;

# Each with an endpoint of its own.
sub prepare
{
	my ($database, $path) = @_;
	$node->safe_psql($database, q{
		CREATE EXTENSION webhook;
		CREATE TABLE items (id bigint PRIMARY KEY);
		SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	});
	return create_webhook($node, dbname => $database, url => $receiver->url($path), events => ['item.created'],
		organization_id => undef, max_in_flight => 1);
}

query($node, join("\n", map { "CREATE DATABASE $_;" } @databases));
$webhook{$_} = prepare($_, "/ok?$_") foreach @databases;

# The databases with workers that run.
sub workers
{
	return query($node, q{SELECT coalesce(string_agg(DISTINCT datname, ' ' ORDER BY datname), '') FROM pg_stat_activity
		WHERE backend_type = 'webhook worker'});
}

sub insert
{
	my ($database, $from, $to) = @_;
	$node->safe_psql($database, "INSERT INTO items SELECT generate_series($from, $to)");
	return;
}

sub state_of { return $node->safe_psql($_[0], 'SELECT workers, workers_asleep, workers_waiting FROM webhook_server_state()'); }

sub all_asleep { return workers() eq '' && !grep { state_of($_) ne '0|1|0' } @databases; }

# --- idle -------------------------------------------------------------------------------------------------------------

eventually { all_asleep() } 'workers with nothing to do leave';
is($node->safe_psql('tenant_1', "SELECT finding FROM webhook_check('$webhook{tenant_1}') WHERE severity <> 'info'"),
	'', 'webhook_check() finds nothing wrong with that');

is($node->safe_psql('tenant_1', q{SELECT status FROM webhook_health() WHERE component = 'overall'}), 'ok', 'nor does webhook_health()');

insert($_, 1, 3) foreach @databases;
eventually { $receiver->count == 36 } 'commits bring them back';
eventually { all_asleep() } 'and they leave again';
is(join(' ', map { $node->safe_psql($_, 'SELECT count(*) FROM webhook_logs') } @databases), join(' ', (3) x 12),
	'with everything recorded');

$node->safe_psql('tenant_2', q{BEGIN; INSERT INTO items VALUES (10); PREPARE TRANSACTION 'p'});
is(workers(), '', 'PREPARE TRANSACTION brings none back');
$node->safe_psql('tenant_2', q{COMMIT PREPARED 'p'});
eventually { $receiver->count('/ok?tenant_2') == 4 } 'COMMIT PREPARED does';

my $late = create_webhook($node, dbname => 'tenant_3', url => $receiver->url('/times/1/status/503?late'),
	events => ['item.created'], organization_id => undef);
insert('tenant_3', 10, 10);
eventually { $receiver->count('/times/1/status/503?late') == 1 } 'a new webhook is known when its database wakes up';
eventually { workers() eq '' } 'its worker leaves though a retry is to come';
eventually { $receiver->count('/times/1/status/503?late') == 2 } 'the retry brings it back';
eventually { all_asleep() } 'and when there is none it leaves';

is($node->safe_psql('tenant_4', "SELECT status FROM webhook_test('$webhook{tenant_4}')"), 'success',
	'webhook_test() brings one back');
eventually { all_asleep() } 'it leaves';
$node->safe_psql('tenant_4', q{SELECT webhook_redeliver(min(id)) FROM webhook_logs WHERE event_id > 0});
eventually { $receiver->count('/ok?tenant_4') == 5 } 'webhook_redeliver() brings one back';
eventually { all_asleep() } 'it leaves';
$node->safe_psql('tenant_4', "SELECT webhook_api.replay('$webhook{tenant_4}', '-infinity')");
eventually { $receiver->count('/ok?tenant_4') == 8 } 'a replay that is started brings one back';
eventually { all_asleep() } 'it leaves';

$node->safe_psql('tenant_5', 'SELECT webhook_pause()');
eventually { workers() eq 'tenant_5' } 'that of a paused database stays';
insert('tenant_5', 10, 10);
$node->safe_psql('tenant_5', 'SELECT webhook_resume()');
eventually { $receiver->count('/ok?tenant_5') == 4 } 'once it is resumed it delivers';
eventually { all_asleep() } 'and leaves';

# --- what happens to sleeping ones ------------------------------------------------------------------------------------

query($node, 'DROP DATABASE tenant_12');
$node->safe_psql('tenant_11', 'DROP EXTENSION webhook CASCADE; DROP TABLE items');
$webhook{tenant_11} = prepare('tenant_11', '/ok?again');
insert('tenant_11', 1, 1);
eventually { $receiver->count('/ok?again') == 1 } 'an extension that is created again in a sleeping database delivers';
query($node, 'ALTER DATABASE tenant_10 RENAME TO tenant_12');
insert('tenant_12', 10, 10);
eventually { $receiver->count('/ok?tenant_10') == 4 } 'so does a database with another name';
@databases = map { "tenant_$_" } 1 .. 9, 11, 12;
$webhook{tenant_12} = $webhook{tenant_10};
eventually { all_asleep() } 'all sleep';

query($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'webhook launcher'});
insert('tenant_6', 10, 10);
eventually { $receiver->count('/ok?tenant_6') == 4 } 'a launcher that was ended comes back, and has them back';

$node->append_conf('postgresql.conf', 'webhook.workers = 2');
$node->reload;
insert('tenant_7', 10, 19);
eventually { $receiver->count('/ok?tenant_7') == 13 } 'more workers are asked for while they sleep';
eventually { $node->safe_psql('tenant_7', 'SELECT workers + workers_asleep + workers_waiting FROM webhook_server_state()') == 2 }
'they come';
$node->append_conf('postgresql.conf', 'webhook.workers = 1');
$node->reload;

crash_server($node);
insert('tenant_8', 10, 10);
eventually { $receiver->count('/ok?tenant_8') == 4 } 'after a crash each is looked at';
eventually { all_asleep() } 'and sleeps';

# --- turns ------------------------------------------------------------------------------------------------------------

# Each has work for longer than a turn, one request at a time.
my $events = 60;
foreach my $database (@databases)
{
	$node->safe_psql($database, "UPDATE webhook_configurations SET url = '" . $receiver->url("/delay/150?turn-$database")
		  . "' WHERE id = '$webhook{$database}'");
}
my $begun = -s $node->logfile;
insert($_, 1001, 1000 + $events) foreach @databases;
my $waiting;
wait_until { ($waiting) = grep { state_of($_) =~ /^0\|0\|1$/ } @databases } 'one waits';
like($node->safe_psql($waiting, "SELECT finding, hint FROM webhook_check('$webhook{$waiting}') WHERE severity = 'warning'"),
	qr/^1 of 1 workers of this database wait for a background worker slot\|.*max_worker_processes \(now 5\)/m,
	'webhook_check() says that a worker waits, and names the setting');
my %first_done;
eventually
{
	my %count = map { $_ => $receiver->count("/delay/150?turn-$_") } @databases;
	my ($done) = grep { $count{$_} >= $events } @databases;
	%first_done = %count if $done && !%first_done;
	return !grep { $count{$_} < $events } @databases;
}
'all deliver all';
is(scalar(grep { $first_done{$_} == 0 } @databases), 0, 'each had its turn before the first was done');
eventually { all_asleep() } 'and all sleep';
foreach my $database (@databases)
{
	my @twice = grep { $_ > 1 } values %{ $receiver->counts_by_webhook_id("/delay/150?turn-$database") };
	is(scalar(@twice), 0, "$database sent nothing twice");
	is($node->safe_psql($database, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook{$database}' AND event_id IN "
		  . '(SELECT id FROM webhook_events WHERE key::bigint > 1000)'), $events, 'and recorded each');
}
like(
	slurp_file($node->logfile, $begun),
	qr/WARNING: .*out of background worker slots, \d+ workers wait\n(?:.*\n)*?.*HINT: .*"max_worker_processes" \(now 5\)/,
	'the log names the setting');

is_log_clean(
	$node,
	expected => [
		crash_lines(),
		qr/WARNING: .*out of background worker slots/,
		qr/FATAL:  terminating background worker "webhook launcher" due to administrator command/,
	]);
$node->stop;

# --- more databases than webhook.max_databases ------------------------------------------------------------------------

my $small = new_node('webhook.max_databases' => 1);
query($small, 'CREATE DATABASE other');
$small->safe_psql('other', 'CREATE EXTENSION webhook');
eventually
{
	slurp_file($small->logfile) =~ /WARNING: .*more than 1 databases have the extension.*\n(?:.*\n)*?.*HINT: .*"webhook.max_databases"/;
}
'more databases than have room give a warning that names the setting';
$small->stop;

done_testing();
