# What comes and goes around a worker: the extension, databases, copies, processes, servers, settings, webhooks.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;
use WebhookTest::Session;

# The launcher looks at all databases once a minute. What it does sooner, it was told to do.
my $soon_s = 30;

my $receiver = start_receiver();

sub processes
{
	my ($node, $type, $dbname) = @_;
	my $where = defined $dbname ? " AND datname = '$dbname'" : '';
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook $type'$where");
}

sub has_worker { my ($node, $dbname) = @_; return processes($node, 'worker', $dbname) ne ''; }

# A table whose new rows are events.
my $create_things = 'CREATE TABLE things (id int, origin text)';
my $watch_things = q{webhook_watch('things', 'thing.created', organization_column => NULL)};

sub prepare_database
{
	my ($node, $dbname) = @_;
	$node->safe_psql($dbname, "CREATE EXTENSION IF NOT EXISTS webhook; $create_things; SELECT $watch_things");
	return;
}

sub create_thing_webhook
{
	my ($node, $dbname, $path, %columns) = @_;
	return create_webhook($node, dbname => $dbname, url => $receiver->url($path), events => ['thing.created'],
		organization_id => undef, %columns);
}

sub insert_things
{
	my ($node, $dbname, $origin, $count) = @_;
	$node->safe_psql($dbname, "INSERT INTO things SELECT n, '$origin' FROM generate_series(1, @{[$count // 1]}) AS n");
	return;
}

# The requests to a path for things of this origin.
sub requests_of
{
	my ($path, $origin) = @_;
	return grep { $_->{body} =~ /"origin":"\Q$origin\E"/ } $receiver->received($path);
}

# How many of them came before a time.
sub requests_before
{
	my ($at, $path, $origin) = @_;
	return scalar(grep { $_->{received_us} / 1e6 < $at } requests_of($path, $origin));
}

sub log_since { my ($node, $offset) = @_; return substr(slurp_file($node->logfile), $offset); }
sub log_size { my ($node) = @_; return -s $node->logfile; }

my $node = new_node(extension => 0, max_worker_processes => 20);

# t or f; empty as long as no worker has been there.
sub is_paused { my ($dbname) = @_; return $node->safe_psql($dbname, 'SELECT is_paused FROM webhook_instance'); }

# --- the extension is created, dropped and created again --------------------------------------------------------------

my %schema = (one => 'public', two => 'hooks');
my %session;
foreach my $dbname (sort keys %schema)
{
	$node->safe_psql('postgres', "CREATE DATABASE $dbname");
	$node->safe_psql($dbname, "CREATE SCHEMA IF NOT EXISTS $schema{$dbname}; $create_things");
	$session{$dbname} = WebhookTest::Session->new($node, $dbname, PGOPTIONS => '-c client_min_messages=warning');
}

# The same in both databases at the same time; %s is the schema.
sub in_both
{
	my ($statements) = @_;
	$session{$_}->send(sprintf($statements, ($schema{$_}) x 5)) foreach sort keys %session;
	$session{$_}->query('') foreach sort keys %session;
	return;
}

foreach my $round (1 .. 4)
{
	in_both("CREATE EXTENSION webhook SCHEMA %s; SELECT %s.$watch_things;");
	foreach my $dbname (sort keys %schema)
	{
		my $url = $receiver->url("/ok?db=$dbname&round=$round");
		$session{$dbname}->query(
			"INSERT INTO $schema{$dbname}.webhook_configurations (organization_id, name, url, events)
			 VALUES (NULL, 'hook', '$url', '{thing.created}')");
	}
	in_both(join ' ', map { "INSERT INTO things VALUES ($_, 'round $round');" } 1 .. 5);
	foreach my $dbname (sort keys %schema)
	{
		eventually { $receiver->count("/ok?db=$dbname&round=$round") == 5 }
		"round $round: what happens in database $dbname is delivered"
		  or diag($session{$dbname}->errors);
		is( $session{$dbname}->query(
				"SELECT count(DISTINCT e.id), min(e.id) > 0, max(e.id) < max(s.last_value) + 1000000
				   FROM $schema{$dbname}.webhook_events AS e, $schema{$dbname}.webhook_events_id_seq AS s"),
			'5|t|t',
			'with ids of the new sequence');
	}
	# The worker is not left alone with what it has to do.
	in_both("INSERT INTO things SELECT n, 'late' FROM generate_series(1, 20) AS n; DROP EXTENSION webhook CASCADE;");
}
eventually { processes($node, 'worker') eq '' } 'without the extension the workers leave';
is($session{$_}->errors, '', "no statement failed in database $_") foreach sort keys %schema;

$session{one}->query('CREATE EXTENSION webhook');
eventually { has_worker($node, 'one') } 'with it a worker comes at once', $soon_s;
$session{one}->query('DROP EXTENSION webhook');
eventually { !has_worker($node, 'one') } 'and leaves at once', $soon_s;
$session{$_}->finish foreach keys %session;
is_log_clean($node);

# --- databases are copied, renamed and dropped ------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE busy');
prepare_database($node, 'busy');
create_thing_webhook($node, 'busy', '/delay/20?db=busy', max_in_flight => 4);
create_thing_webhook($node, 'busy', '/held', timeout_ms => 10000, retry_schedule => [ ('1 second') x 20 ]);
$receiver->set('/held', '/hang');
insert_things($node, 'busy', 'original', 200);
eventually { $receiver->count('/held') > 0 && $receiver->count('/delay/20?db=busy') > 0 } 'a worker is busy';

my $copy_warning = qr/WARNING: .*this database is a copy of another, or was restored: deliveries are paused/;
my $log_offset = log_size($node);
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE busy');
pass('its database can be copied');
eventually { is_paused('copy') eq 't' } 'the copy is paused', $soon_s;
eventually
{
	log_since($node, $log_offset) =~ $copy_warning;
}
'with a warning';
eventually { $receiver->count('/delay/20?db=busy') >= 200 } 'the worker of the original has come back';

$node->safe_psql('postgres', 'ALTER DATABASE busy RENAME TO renamed');
pass('a database with a worker can be renamed');
insert_things($node, 'renamed', 'renamed');
eventually { requests_of('/delay/20?db=busy', 'renamed') == 1 } 'and has its worker again', $soon_s;

$node->safe_psql('postgres', 'CREATE DATABASE plain');
{
	my $dropping = WebhookTest::Session->new($node, 'postgres', PGOPTIONS => "-c statement_timeout=${soon_s}s");
	$dropping->query('DROP DATABASE plain');
	is($dropping->errors, '', 'another database can be dropped meanwhile');
	$dropping->finish;
}

# The copy knows what the original had still to deliver, and gets something of its own.
insert_things($node, 'copy', 'copy', 3);
is(requests_of('/delay/20?db=busy', 'copy'), 0, 'the copy sends nothing');
$receiver->set('/held', '/ok');
my $resumed_at = time();
$node->safe_psql('copy', 'SELECT webhook_resume()');
eventually { requests_of('/delay/20?db=busy', 'copy') == 3 } 'until it is told to', $soon_s;
is(requests_before($resumed_at, '/delay/20?db=busy', 'copy'), 0, 'and not before');
# The original may have sent again what hung when its worker was sent away; an id that both used would be one less.
eventually { keys %{ $receiver->counts_by_webhook_id('/held') } == 200 + 1 + 200 + 3 }
'what is pending in both, each sends under an id of its own'
  or diag(scalar keys %{ $receiver->counts_by_webhook_id('/held') });

$node->safe_psql('postgres', 'DROP DATABASE copy');
pass('a database with a worker can be dropped');

# --- restored from a dump ---------------------------------------------------------------------------------------------

$node->safe_psql('renamed', q{
	CREATE ROLE lifecycle_reader; CREATE ROLE lifecycle_tenant; CREATE ROLE lifecycle_operator;
	SELECT webhook_grant('lifecycle_reader', 'read'), webhook_grant('lifecycle_tenant'),
		webhook_grant('lifecycle_operator', 'operate')});
# Every right on an object of the extension that its owner does not have by himself.
my $all_grants = q{
	SELECT o.object, acl.grantee::regrole, acl.privilege_type
	FROM (SELECT c.oid::regclass::text AS object, 'pg_class'::regclass AS catalog, c.oid, c.relacl AS acl, c.relowner AS owner
		  FROM pg_class c
		  UNION ALL
		  SELECT c.oid::regclass || '.' || a.attname, 'pg_class'::regclass, c.oid, a.attacl, c.relowner
		  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		  UNION ALL
		  SELECT n.nspname, 'pg_namespace'::regclass, n.oid, n.nspacl, n.nspowner FROM pg_namespace n
		  UNION ALL
		  SELECT p.oid::regprocedure::text, 'pg_proc'::regclass, p.oid, p.proacl, p.proowner FROM pg_proc p) o
	JOIN pg_depend d ON d.classid = o.catalog AND d.objid = o.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'webhook',
	aclexplode(o.acl) acl
	WHERE acl.grantee <> o.owner ORDER BY 1, acl.grantee::regrole::text, 3};

my $dump = "$PostgreSQL::Test::Utils::tmp_check/renamed.sql";
$node->run_log([ 'pg_dump', '-f', $dump, '-d', $node->connstr('renamed') ]) or BAIL_OUT('pg_dump failed');

# Restores it, and tests that the restored database does not deliver before it is told to.
sub restored_copy_is_paused
{
	my ($dbname, $what, @options) = @_;
	my $offset = log_size($node);
	my @psql = ('psql', '-Xqb', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr($dbname));
	ok($node->run_log([ @psql, @options, '-f', $dump ]), "$what: a dump can be restored");
	is($node->safe_psql($dbname, 'SELECT count(*) FROM webhook_configurations'), 2, 'the webhooks are there');
	eventually { is_paused($dbname) eq 't' } 'deliveries are paused', $soon_s;
	eventually { log_since($node, $offset) =~ $copy_warning } 'with a warning';
	isnt(
		$node->safe_psql($dbname, 'SELECT instance FROM webhook_instance'),
		$node->safe_psql('renamed', 'SELECT instance FROM webhook_instance'),
		'it is another instance');
	like(
		$node->safe_psql($dbname, 'SELECT c.severity, c.finding, c.hint FROM webhook_configurations w, webhook_check(w.id) c'),
		qr/^error\|this database is paused: .*restored.*\|SELECT webhook_resume\(\);$/m,
		'webhook_check() says so');
	is($node->safe_psql($dbname, q{SELECT has_table_privilege('lifecycle_tenant', 'webhook_configurations', 'UPDATE'),
			has_table_privilege('lifecycle_tenant', 'webhook_logs', 'SELECT'),
			has_function_privilege('lifecycle_tenant', 'webhook_redeliver(bigint)', 'EXECUTE'),
			has_column_privilege('lifecycle_reader', 'webhook_deliveries', 'last_error', 'SELECT'),
			has_column_privilege('lifecycle_reader', 'webhook_own_events', 'data', 'SELECT'),
			has_function_privilege('lifecycle_operator', 'webhook_is_operator()', 'EXECUTE')}),
		't|t|t|t|f|t', 'what webhook_grant() gave is there');
	is($node->safe_psql($dbname, $all_grants), $node->safe_psql('renamed', $all_grants), 'all of it, and nothing else');
	# What a function calls is in webhook_internal.
	is($node->safe_psql($dbname, q{
			SET webhook.organization_id = 'restored'; SET ROLE lifecycle_tenant;
			INSERT INTO webhook_configurations (name, url, events, secret)
			VALUES ('restored', 'https://example.com/', '{*}', 'a long secret') RETURNING id AS hook \gset
			SELECT webhook_reveal_secret(:'hook'), webhook_replay(:'hook', '-infinity', dry_run => true), webhook_emit('contact.created', '{}') IS NULL;
			SET ROLE lifecycle_reader;
			SELECT count(*) > 0 FROM webhook_check(:'hook');
			SELECT count(*) FROM webhook_stats;
			SET ROLE lifecycle_operator;
			SELECT webhook_event_types.name FROM webhook_event_types, webhook_cancel(:'hook') WHERE name = 'webhook.test';
			DELETE FROM webhook_configurations WHERE id = :'hook'}),
		"a long secret|0|f\nt\n1\nwebhook.test", 'and it suffices to use the functions');
	insert_things($node, $dbname, $dbname, 3);
	my $at = time();
	$node->safe_psql($dbname, 'SELECT webhook_resume()');
	eventually { requests_of('/delay/20?db=busy', $dbname) == 3 } 'after webhook_resume() it delivers', $soon_s;
	is(requests_before($at, '/delay/20?db=busy', $dbname), 0, 'and not before');
	$node->safe_psql('postgres', "DROP DATABASE $dbname");
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE restored_at_once');
restored_copy_is_paused('restored_at_once', 'in one transaction', '-1');

$node->safe_psql('postgres', 'CREATE DATABASE restored_late');
$node->safe_psql('restored_late', 'CREATE EXTENSION webhook');
eventually { is_paused('restored_late') eq 'f' }
'a worker has made itself at home', $soon_s;
restored_copy_is_paused('restored_late', 'under a running worker');

# --- processes end ----------------------------------------------------------------------------------------------------

my $worker = processes($node, 'worker', 'renamed');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
eventually { processes($node, 'worker', 'renamed') !~ /^(?:$worker)?$/ }
'a worker that is terminated comes back', $soon_s;
my $launcher = processes($node, 'launcher');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
eventually { processes($node, 'launcher') !~ /^(?:$launcher)?$/ } 'so does the launcher', $soon_s;
$node->safe_psql('postgres', 'CREATE DATABASE newer');
prepare_database($node, 'newer');
eventually { has_worker($node, 'newer') } 'which does its work', $soon_s;

# --- deliveries are switched off and on -------------------------------------------------------------------------------

sub does_not_deliver_between
{
	my ($what, $off, $off_is_logged, $on) = @_;
	my $offset = log_size($node);
	$off->();
	eventually { log_since($node, $offset) =~ $off_is_logged } "$what: deliveries stop", $soon_s;
	insert_things($node, 'renamed', $what);
	my $captured = $node->safe_psql('renamed', "SELECT count(*) FROM webhook_events WHERE data->>'origin' = '$what'");
	is($captured, 1, 'events are captured');
	my $at = time();
	$on->();
	eventually { requests_of('/held', $what) == 1 } 'and sent when deliveries go on', $soon_s;
	is(requests_before($at, '/held', $what), 0, 'and not before');
	return;
}

sub set_enabled
{
	my ($value) = @_;
	$node->append_conf('postgresql.conf', "webhook.enabled = $value");
	$node->reload;
	return;
}

does_not_deliver_between('webhook.enabled', sub { set_enabled('off') },
	qr/webhook: deliveries are switched off/, sub { set_enabled('on') });
does_not_deliver_between(
	'webhook_pause',
	sub { $node->safe_psql('renamed', q{SELECT webhook_pause('maintenance')}) },
	qr/webhook: deliveries are paused\n.*DETAIL:  maintenance/,
	sub { $node->safe_psql('renamed', 'SELECT webhook_resume()') });

# --- a trigger on webhook_logs that raises ----------------------------------------------------------------------------

$node->safe_psql('renamed', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not in this table'; END $$;
	CREATE TRIGGER refuse BEFORE INSERT ON webhook_logs FOR EACH ROW EXECUTE FUNCTION refuse();
});
$log_offset = log_size($node);
my $logged_before = $node->safe_psql('renamed', 'SELECT count(*) FROM webhook_logs');
insert_things($node, 'renamed', 'refused', 10);
eventually { requests_of('/held', 'refused') == 10 } 'things are sent whose log rows are refused';
eventually { log_since($node, $log_offset) =~ /WARNING: .*not in this table/ } 'which gives a warning';
is($node->safe_psql('renamed', 'SELECT count(*) FROM webhook_logs'), $logged_before, 'nothing is recorded');
$node->safe_psql('renamed', 'DROP TRIGGER refuse ON webhook_logs');
eventually { $node->safe_psql('renamed', 'SELECT count(*) FROM webhook_logs') == $logged_before + 20 }
'afterwards all is recorded', $soon_s;
insert_things($node, 'renamed', 'after the refusal');
eventually { requests_of('/held', 'after the refusal') == 1 } 'the worker goes on';
is(scalar(requests_of('/held', 'refused')), 10, 'and nothing was sent twice');

# --- the life of a webhook --------------------------------------------------------------------------------------------

my $webhook = create_thing_webhook($node, 'renamed', '/gate', retry_schedule => ['1 hour']);
$receiver->set('/gate', '/status/503');
insert_things($node, 'renamed', 'while active');
my $pending = "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$webhook' AND attempts = 1";
eventually { $node->safe_psql('renamed', $pending) == 1 } 'a delivery is pending';
$node->safe_psql('renamed', "UPDATE webhook_configurations SET is_active = false WHERE id = '$webhook'");
insert_things($node, 'renamed', 'while inactive');
eventually { requests_of('/held', 'while inactive') == 1 } 'an event comes while the webhook is inactive';
$receiver->set('/gate', '/ok');
$node->safe_psql('renamed', "UPDATE webhook_deliveries SET next_attempt_at = now() WHERE configuration_id = '$webhook';
	UPDATE webhook_configurations SET is_active = true WHERE id = '$webhook'");
eventually { requests_of('/gate', 'while active') == 2 } 'active again, it gets what is pending for it', $soon_s;
insert_things($node, 'renamed', 'active again');
eventually { requests_of('/gate', 'active again') == 1 } 'and what is new';
is(scalar(requests_of('/gate', 'while inactive')), 0, 'but not what happened while it was inactive');

$receiver->set('/gate', '/status/503');
insert_things($node, 'renamed', 'before the deletion');
eventually { $node->safe_psql('renamed', $pending) == 1 } 'something is pending again';
$node->safe_psql('renamed', "DELETE FROM webhook_configurations WHERE id = '$webhook'");
eventually { $node->safe_psql('renamed', $pending) == 0 } 'what is pending to a webhook goes with it';
insert_things($node, 'renamed', 'after the deletion');
eventually { requests_of('/held', 'after the deletion') == 1 } 'the others get what is new';
is(scalar(requests_of('/gate', 'after the deletion')), 0, 'it does not');

# --- the application's session ----------------------------------------------------------------------------------------

is( $node->safe_psql(
		'renamed', q{CREATE SEQUENCE mine START 4711; SELECT nextval('mine');
			INSERT INTO things VALUES (1, 'lastval'); SELECT lastval()}),
	"4711\n4711",
	'capture does not change lastval()');
my $captured = $node->safe_psql('renamed', q{SELECT count(*) FROM webhook_events WHERE data->>'origin' = 'lastval'});
is($captured, 1, 'though it captured an event');

# --- the server stops while a receiver hangs --------------------------------------------------------------------------

foreach my $mode (qw(fast smart))
{
	$receiver->set('/held', '/hang');
	insert_things($node, 'renamed', "stop $mode");
	eventually { requests_of('/held', "stop $mode") == 1 } 'a request hangs';
	my $began = time();
	$node->stop($mode);
	cmp_ok(time() - $began, '<', 30, "a $mode stop does not wait for it");
	$receiver->set('/held', '/ok');
	$node->start;
	eventually { requests_of('/held', "stop $mode") == 2 } 'after the start it is sent again';
	my %ids = map { $_->{webhook_id} => 1 } requests_of('/held', "stop $mode");
	is(scalar(keys %ids), 1, 'under the same id');
}

is_log_clean(
	$node,
	expected => [
		qr/WARNING: .*this database is a copy of another, or was restored: deliveries are paused/,
		qr/WARNING: .*the worker's transaction failed and will be repeated: not in this table/,
		qr/FATAL: .*terminating background worker "webhook (?:worker|launcher)" due to administrator command/,
	]);
$node->stop;

# --- too few background workers ---------------------------------------------------------------------------------------

my $small = new_node(max_worker_processes => 2, max_logical_replication_workers => 1);
prepare_database($small, 'postgres');
create_thing_webhook($small, 'postgres', '/ok?small');
insert_things($small, 'postgres', 'small', 3);
eventually
{
	slurp_file($small->logfile) =~
	  /WARNING: .*out of background worker slots.*\n(?:.*\n)*?.*HINT: .*"max_worker_processes"/;
}
'too few background workers give a warning that names the setting';
$small->append_conf('postgresql.conf', 'max_worker_processes = 8');
$small->restart;
eventually { $receiver->count('/ok?small') == 3 } 'with enough of them what has waited is delivered';
is_log_clean($small, expected => [qr/WARNING: .*out of background worker slots/]);
$small->stop;

# --- a schema that is renamed -----------------------------------------------------------------------------------------

my $renamed = new_node(name => 'renamed');
query_renamed('CREATE SCHEMA other');
sub query_renamed { my ($sql) = @_; my (undef, undef, $error) = $renamed->psql('postgres', $sql); return $error; }
like(query_renamed("ALTER SCHEMA $_ RENAME TO elsewhere"),
	qr/ERROR:  schema "$_" cannot be renamed, because the extension webhook is in it\nDETAIL:  .*\nHINT:  /, "$_ cannot be renamed")
	foreach qw(public webhook_internal webhook_api);
is(query_renamed('ALTER SCHEMA other RENAME TO elsewhere'), '', 'another one can');
is(query_renamed('DROP EXTENSION webhook CASCADE; ALTER SCHEMA public RENAME TO former'), '', 'and so can these without the extension');
$renamed->stop;

# --- a standby --------------------------------------------------------------------------------------------------------

my $primary = new_node(init => [ allows_streaming => 1 ], 'webhook.enabled' => 'off');
prepare_database($primary, 'postgres');
create_thing_webhook($primary, 'postgres', '/ok?standby');
eventually { has_worker($primary, 'postgres') } 'the primary has a worker';
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'webhook.enabled = on');
$standby->start;
insert_things($primary, 'postgres', 'primary', 20);
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT count(*) FROM webhook_events'), 20, 'the events are on the standby');
is(processes($standby, 'worker') . processes($standby, 'launcher'), '', 'which has no worker');
is($receiver->count('/ok?standby'), 0, 'and has sent nothing');
$primary->stop('immediate');
$standby->promote;
eventually { $receiver->count('/ok?standby') == 20 } 'promoted, it delivers what had committed';
insert_things($standby, 'postgres', 'promoted', 5);
eventually { $receiver->count('/ok?standby') == 25 } 'and what is new';
is(scalar(keys %{ $receiver->counts_by_webhook_id('/ok?standby') }), 25, 'each under an id of its own');
is_log_clean(
	$standby,
	expected => [qr/FATAL: .*(?:could not|replication terminated|streaming|terminating walreceiver)/]);
$standby->stop;

done_testing();
