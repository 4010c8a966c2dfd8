# A server with many databases and few slots for workers: after a start each database is looked at once, few at a time, and
# the one with the extension delivers. What others do in their databases starts no worker there. What a database or a role
# sets for its sessions is not for the worker.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $databases = 40;
my $receiver = start_receiver();
my $node = new_node(
	extension => 0,
	fsync => 'off',    # nothing here crashes, and many databases are many files
	max_prepared_transactions => 10,
	log_min_messages => 'debug1');    # the postmaster says there which workers it starts
query($node, join("\n", map { "CREATE DATABASE other_$_;" } 1 .. $databases));
query($node, 'CREATE DATABASE busy');
$node->safe_psql('busy', q{
	CREATE EXTENSION webhook;
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});
create_webhook($node, dbname => 'busy', url => $receiver->url('/ok'), events => ['item.created'], organization_id => undef);

# How many workers have been started since a position in the log.
sub started
{
	my ($position) = @_;
	my $log = slurp_file($node->logfile, $position);
	return scalar(() = $log =~ /starting background worker process "webhook worker"/g);
}

sub workers
{
	return query($node, q{SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_stat_activity
		WHERE backend_type = 'webhook worker'});
}

eventually { workers() eq 'busy' } 'one database has a worker';
$node->stop('fast');
my $begin = -s $node->logfile;
$node->start;
$node->safe_psql('busy', 'INSERT INTO items VALUES (1)');
eventually { $receiver->count == 1 } "after a restart it delivers, beside $databases databases that have nothing to do";
# postgres and the others; the worker that delivers is the probe of its database.
eventually { started($begin) >= $databases + 2 && workers() eq 'busy' } 'each database is looked at';
is(started($begin), $databases + 2, 'once');
my $log = slurp_file($node->logfile, $begin);
unlike($log, qr/out of background worker slots/, 'no slot was missing');
my ($running, $most) = (0, 0);
while ($log =~ /(starting background worker process "webhook worker")|(background worker "webhook worker" \(PID \d+\) exited)/g)
{
	$running += $1 ? 1 : -1;
	$most = $running if $running > $most;
}
cmp_ok($most, '<=', 8, "at most $most ran at once");

# --- what is none of ours ---

my $quiet = -s $node->logfile;
$node->safe_psql('other_1', q{
	CREATE TABLE t (i int);
	BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'a';
	COMMIT PREPARED 'a';
	DROP EXTENSION IF EXISTS nosuch;
	DROP EXTENSION IF EXISTS webhook;
	CREATE EXTENSION file_fdw;
	DROP EXTENSION file_fdw;
	BEGIN; CREATE EXTENSION webhook; ROLLBACK;
	ALTER DATABASE other_2 RENAME TO other_2b;
});
query($node, 'CREATE DATABASE new');
eventually { started($quiet) >= 1 } 'a new database is looked at';
$node->safe_psql('other_1', 'CREATE EXTENSION webhook');
eventually { workers() eq 'busy other_1' } 'a database that gets the extension gets a worker';
is(started($quiet), 2, 'and nothing else starts one');
$node->safe_psql('other_1', 'DROP EXTENSION webhook');
eventually { workers() eq 'busy' } 'it leaves with the extension';
$node->safe_psql('other_3', q{BEGIN; CREATE EXTENSION webhook; PREPARE TRANSACTION 'b'});
is(started($quiet), 2, 'a prepared CREATE EXTENSION is none yet');
$node->safe_psql('other_3', q{COMMIT PREPARED 'b'});
eventually { workers() eq 'busy other_3' } 'once it is committed, it is';
$node->safe_psql('busy', 'INSERT INTO items VALUES (2)');
eventually { $receiver->count == 2 } 'the other one has delivered all the time';

# --- settings of a database or a role ---

# Each setting that ALTER DATABASE or ALTER ROLE can give to a session, with a value that is not its default.
my $unusual = q{
	SELECT name, CASE vartype
		WHEN 'bool' THEN CASE boot_val WHEN 'on' THEN 'off' ELSE 'on' END
		WHEN 'enum' THEN (SELECT v FROM unnest(enumvals) v WHERE v IS DISTINCT FROM boot_val LIMIT 1)
		WHEN 'string' THEN CASE name WHEN 'role' THEN 'nobody' WHEN 'search_path' THEN 'nowhere' WHEN 'TimeZone' THEN 'Asia/Tokyo'
			WHEN 'DateStyle' THEN 'SQL, DMY' WHEN 'default_table_access_method' THEN 'heap' ELSE NULL END
		ELSE CASE WHEN min_val::float8 > 0 OR boot_val = '0' THEN greatest(min_val::float8, 1)::text ELSE min_val END END AS value
	FROM pg_settings
	WHERE context IN ('user', 'superuser') AND name NOT LIKE 'webhook.%'
		-- of the server's own making: every session would end, be logged beyond all measure, or wait for itself
		AND name NOT IN ('post_auth_delay', 'ignore_checksum_failure', 'zero_damaged_pages', 'trace_sort', 'wal_debug')
		AND name NOT LIKE 'debug\_%' AND name NOT LIKE 'log\_%' AND name NOT LIKE 'trace\_%'
	ORDER BY name};
# For the sessions of this test.
my $unaffected = join(' ', map { "-c $_" } 'role=none', 'search_path=public', 'default_transaction_read_only=off',
	'client_min_messages=notice', map { "$_=0" } 'statement_timeout', 'lock_timeout', 'idle_session_timeout',
	'idle_in_transaction_session_timeout', $node->pg_version >= 17 ? 'transaction_timeout' : ());
query($node, 'CREATE ROLE nobody');
$node->append_conf('postgresql.conf', "webhook.enabled = off\nlog_min_messages = warning");
$node->restart;
$node->safe_psql('busy', 'INSERT INTO items SELECT generate_series(3, 12)');
my $superuser = query($node, 'SELECT current_user');
my %owners = (busy => 'ALTER DATABASE busy', all => 'ALTER ROLE ALL', role => qq{ALTER ROLE "$superuser" IN DATABASE busy});
my $set = 0;
foreach my $owner (sort keys %owners)
{
	# Of its own, so that it is not yet under what was set before.
	local $ENV{PGOPTIONS} = $unaffected;
	foreach my $line (split /\n/, query($node, "SELECT concat_ws(' ', name, quote_literal(value)) FROM ($unusual) u WHERE value IS NOT NULL"))
	{
		my ($name, $value) = split / /, $line, 2;
		my ($status) = $node->psql('postgres', "$owners{$owner} SET $name = $value");
		$set++ if $status == 0;
	}
}
cmp_ok($set, '>', 300, "$set settings are given unusual values");
$node->append_conf('postgresql.conf', 'webhook.enabled = on');
{
	local $ENV{PGOPTIONS} = $unaffected;
	$node->restart;
}
eventually { $receiver->count == 12 } 'a worker goes by postgresql.conf and its own settings alone';
foreach my $reset ('ALTER DATABASE busy RESET ALL', 'ALTER ROLE ALL RESET ALL', "$owners{role} RESET ALL")
{
	local $ENV{PGOPTIONS} = $unaffected;
	$node->safe_psql('postgres', $reset);
}
eventually { $node->safe_psql('busy', q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}) eq '12' } 'and records it';
$node->stop;

done_testing();
