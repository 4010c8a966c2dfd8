# Several workers for one database: each event arrives once, however often their number changes; databases can be copied,
# renamed and dropped under them; a crash of all of them repeats little; what they do is to be seen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Session;

my $webhook_count = 12;
my $session_count = 4;
my $in_flight_max = 16;
my $batch_max = 256;    # results that a worker records at once

my $receiver = start_receiver();
my $node = new_node(
	max_worker_processes => 20,
	'webhook.workers' => 1,
	'webhook.max_in_flight' => $in_flight_max,
	'webhook.shutdown_timeout' => '30s');

sub query { my ($sql, $dbname) = @_; return $node->safe_psql($dbname // 'postgres', $sql); }

sub prepare_database
{
	my ($dbname, $path) = @_;
	query(
		q{CREATE EXTENSION IF NOT EXISTS webhook;
		  CREATE TABLE items (id bigint PRIMARY KEY);
		  SELECT webhook_watch('items', 'item.created', organization_column => NULL)}, $dbname);
	# With these ids, each of 2, 3 and 4 workers owns some.
	create_webhook(
		$node,
		dbname => $dbname,
		id => sprintf('00000000-0000-4000-8000-%012d', $_),
		url => $receiver->url("$path?w=$_"),
		events => ['item.created'],
		organization_id => undef) foreach 1 .. $webhook_count;
	return;
}

sub set_workers
{
	my ($count) = @_;
	$node->append_conf('postgresql.conf', "webhook.workers = $count");
	$node->reload;
	return;
}

# The workers of a database as [1/3, 2/3, 3/3], by webhook_workers and pg_stat_activity alike.
sub workers
{
	my ($dbname) = @_;
	return query(
		qq{SELECT string_agg(w.worker || '/' || w.workers, ' ' ORDER BY w.worker)
		     FROM webhook_workers AS w JOIN pg_stat_activity AS a USING (pid)
		    WHERE database = '$dbname' AND a.datname = '$dbname' AND a.backend_type = 'webhook worker'
		      AND a.application_name = format('webhook worker %s of %s', w.worker, w.workers)});
}

sub all_of { my ($count) = @_; return join(' ', map { "$_/$count" } 1 .. $count); }

sub has_workers
{
	my ($dbname, $count) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return eventually { workers($dbname) eq all_of($count) } "database $dbname has $count workers";
}

# How many deliveries of $count items are missing, and how many came more than once, over all webhooks.
sub missing_and_repeated
{
	my ($path, $count) = @_;
	my ($missing, $repeated) = (0, 0);
	foreach my $w (1 .. $webhook_count)
	{
		my $counts = $receiver->counts_by_webhook_id("$path?w=$w");
		$missing += $count - keys %$counts;
		$repeated += $_ - 1 foreach values %$counts;
	}
	return ($missing, $repeated);
}

sub successes { return query(q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}); }

# Sessions that insert $count items together, 10 a transaction, from $first on.
sub start_inserting
{
	my ($first, $count) = @_;
	my @sessions;
	foreach my $n (0 .. $session_count - 1)
	{
		my $each = $count / $session_count;
		my $begin = $first + $n * $each;
		my $session = WebhookTest::Session->new($node, 'postgres');
		$session->send("INSERT INTO items SELECT generate_series($_, $_ + 9)")
		  foreach map { $begin + 10 * $_ } 0 .. $each / 10 - 1;
		push @sessions, $session;
	}
	return @sessions;
}

# --- their number changes under load ----------------------------------------------------------------------------------

my $total = 20_000;
prepare_database('postgres', '/ok');
has_workers('postgres', 1);

my @sessions;
my $inserted = 0;
foreach my $count (3, 2, 1, 3)
{
	push @sessions, start_inserting($inserted + 1, $total / 4);
	$inserted += $total / 4;
	my $arrived = $receiver->count;
	wait_until { $receiver->count > $arrived + 2_000 } 'deliveries';
	set_workers($count);
	has_workers('postgres', $count);
}
ok($_->finish, 'a session comes to its end') foreach @sessions;
is(query('SELECT count(*) FROM items'), $total, 'all items have committed');
my $deliveries = $total * $webhook_count;
eventually { successes() == $deliveries } 'every delivery is logged as a success'
  or diag(successes() . " of $deliveries");
my ($missing, $repeated) = missing_and_repeated('/ok', $total);
is($missing, 0, 'nothing is lost when the number of workers changes');
is($repeated, 0, 'and nothing is repeated');
is(query('SELECT count(*) FROM webhook_deliveries'), 0, 'nothing is pending');

# --- what is to be seen -----------------------------------------------------------------------------------------------

eventually
{
	query('SELECT bool_and(in_flight = 0 AND queued = 0 AND events_ahead = 0 AND lag IS NULL) FROM webhook_workers') eq
	  't';
}
'workers without work say so';
is(query('SELECT count(DISTINCT pid) FROM webhook_workers'), 3, 'each is a process of its own');
is( query('SELECT sum(sent) - sum(logged), min(sent) > 0, max(failed) FROM webhook_workers'),
	'0|t|0', 'each has sent something, and all of that is logged');
is(query('SELECT bool_and(started_at < now() AND last_error_at IS NULL) FROM webhook_workers'),
	't', 'each says when it started');
is(query('SELECT workers FROM webhook_server_state()'), 3, 'webhook_server_state() counts them');
is(query('SELECT count(*), min(workers), max(workers) FROM webhook_checkpoint'), '3|3|3', 'each has a checkpoint');
$receiver->set('/ok', '/hang');
query('INSERT INTO items VALUES (0)');
eventually { query("SELECT sum(in_flight), bool_and(lag > '0') FROM webhook_workers") eq "$webhook_count|t" }
'what is in flight is to be seen, and how old it is';
$receiver->set('/ok', undef);
eventually { successes() == $deliveries + $webhook_count } 'it comes to be delivered';

# --- all crash --------------------------------------------------------------------------------------------------------

my $before = $receiver->count;
@sessions = start_inserting($total + 1, 4_000);
wait_until { $receiver->count > $before + 5_000 } 'deliveries';
kill 'KILL', query('SELECT pid FROM webhook_workers WHERE worker = 2');
$_->finish foreach @sessions;
wait_until
{
	my ($answer) = run_command([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT 1' ]);
	$answer eq '1';
}
'the server is back';
has_workers('postgres', 3);
my $committed = query('SELECT count(*) FROM items');
eventually { successes() == $committed * $webhook_count } 'after a crash every delivery is logged as a success, once';
($missing, my $repeated_after) = missing_and_repeated('/ok', $committed);
is($missing, 0, 'nothing is lost by a crash');
my $repeats_max = $webhook_count + 3 * (2 * $in_flight_max + $batch_max);
cmp_ok($repeated_after, '<=', $repeats_max, "no more was repeated than $repeats_max: $repeated_after");

# --- databases come and go under busy workers -------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE busy');
prepare_database('busy', '/delay/50');
has_workers('busy', 3);
query('INSERT INTO items SELECT generate_series(1, 300)', 'busy');
eventually { query(q{SELECT min(in_flight) > 0 FROM webhook_workers WHERE database = 'busy'}) eq 't' } 'three are busy';
$node->safe_psql('postgres', 'ALTER DATABASE busy RENAME TO renamed');
pass('their database can be renamed');
has_workers('renamed', 3);
eventually { query(q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}, 'renamed') == 300 * $webhook_count }
'they deliver the rest';
is(join(' ', missing_and_repeated('/delay/50', 300)), '0 0', 'nothing is lost or repeated by that');
query('INSERT INTO items SELECT generate_series(301, 600)', 'renamed');
eventually { query(q{SELECT min(in_flight) > 0 FROM webhook_workers WHERE database = 'renamed'}) eq 't' } 'busy again';
$node->safe_psql('postgres', 'DROP DATABASE renamed');
pass('it can be dropped');
is(workers('renamed'), '', 'its workers are gone');

is_log_clean(
	$node,
	expected => [
		qr/LOG:  background worker "webhook worker" \(PID \d+\) was terminated by signal 9/,
		qr/FATAL:  the database system is (?:in recovery mode|starting up|not yet accepting connections)/ ]);
$node->stop;

# --- too few slots ----------------------------------------------------------------------------------------------------

my $small = new_node(
	max_worker_processes => 3,
	max_logical_replication_workers => 0,
	max_parallel_workers => 0,
	'webhook.workers' => 4);
# A paused database has a worker's whole attention.
eventually { $small->psql('postgres', 'SELECT webhook_pause()') == 0 } 'the first worker has started';
eventually
{
	slurp_file($small->logfile) =~
	  /WARNING: .*out of background worker slots.*\n(?:.*\n)*?.*HINT: .*"max_worker_processes".*"webhook.workers"/;
}
'too few slots give a warning that names both settings';
my $webhook = create_webhook($small, url => $receiver->url('/ok'), events => ['contact.created'], organization_id => undef);
my $finding;
eventually
{
	$finding = $small->safe_psql('postgres', "SELECT severity, finding FROM webhook_check('$webhook') WHERE finding ~ 'slot'");
	return $finding ne '';
}
'webhook_check() says so';
like($finding, qr/^warning\|[23] of 4 workers of this database wait for a background worker slot$/, 'and how many wait');
my @warnings = slurp_file($small->logfile) =~ /out of background worker slots/g;
is(scalar @warnings, 1, 'the log says it once');
$small->safe_psql('postgres', q{
	SELECT webhook_resume();
	CREATE TABLE turned (id bigint PRIMARY KEY);
	SELECT webhook_watch('turned', 'item.turned', 'INSERT', organization_column => NULL)});
# Each of the four owns some of these.
create_webhook($small, url => $receiver->url("/ok?turn-$_"), events => ['item.turned'], organization_id => undef) foreach 1 .. 20;
$small->safe_psql('postgres', 'INSERT INTO turned VALUES (1)');
eventually { !grep { $receiver->count("/ok?turn-$_") != 1 } 1 .. 20 } 'they take turns: all webhooks get their event';
is_log_clean($small, expected => [qr/WARNING: .*out of background worker slots/, qr/ERROR:  no worker has started/]);
$small->stop;

done_testing();
