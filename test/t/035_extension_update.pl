# ALTER EXTENSION webhook UPDATE, from each released version, and from two that this test makes up: under load, in several
# databases, with transactions that stay open. Between the installation of the new version and the update everything is
# captured, and afterwards everything arrives, with one webhook-id. The catalogs are then those of a fresh installation,
# object by object; an update script that forgets something is found out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::ExtensionCatalog;
use WebhookTest::Installation;
use WebhookTest::Session;

my $libraries = $ENV{WEBHOOK_LIBRARIES} or plan skip_all => 'dev/test has the libraries of other versions in WEBHOOK_LIBRARIES';

# The launcher looks at waiting databases once a minute. What it does sooner, it was told to do.
my $soon_s = 30;

# What the made-up version has otherwise, as statements at the end of the current script, and what an update script needs for
# it: a statement, or the part of the current script that matches.
my @changes = (
	{   name => 'a function',
		old => q{DROP FUNCTION @extschema@.webhook_curl;
			DELETE FROM webhook_internal.privileges WHERE privilege ~ 'webhook_curl\('},
		update => qr/^CREATE FUNCTION \@extschema\@\.webhook_curl\(.*?^\$\$;\n.*?(?=^\n)/ms },
	{   name => 'the body of a function',
		old => q{CREATE OR REPLACE FUNCTION webhook_internal.series(version text) RETURNS integer[] LANGUAGE sql IMMUTABLE STRICT
			SET search_path = pg_catalog, pg_temp AS $$ SELECT (string_to_array(version, '.')::integer[])[1:2] $$},
		update => qr/^CREATE FUNCTION webhook_internal\.series\(.*?^\$\$;\n/ms },
	{   name => 'the cost of a function',
		old => 'ALTER FUNCTION @extschema@.webhook_is_preloaded() COST 77',
		update => 'ALTER FUNCTION @extschema@.webhook_is_preloaded() COST 1' },
	{   name => 'who may run a function',
		old => 'GRANT EXECUTE ON FUNCTION webhook_internal.require_library() TO PUBLIC',
		update => 'REVOKE EXECUTE ON FUNCTION webhook_internal.require_library() FROM PUBLIC' },
	{   name => 'a column too many',
		old => 'ALTER TABLE @extschema@.webhook_instance ADD COLUMN obsolete text',
		update => 'ALTER TABLE @extschema@.webhook_instance DROP COLUMN obsolete' },
	{   name => 'a default',
		old => q{ALTER TABLE @extschema@.webhook_event_types ALTER COLUMN description SET DEFAULT 'to be described'},
		update => q{ALTER TABLE @extschema@.webhook_event_types ALTER COLUMN description SET DEFAULT ''} },
	{   name => 'whether a column may be null',
		old => 'ALTER TABLE @extschema@.webhook_event_types ALTER COLUMN category DROP NOT NULL',
		update => 'ALTER TABLE @extschema@.webhook_event_types ALTER COLUMN category SET NOT NULL' },
	{   name => 'statistics of a column',
		old => 'ALTER TABLE @extschema@.webhook_history ALTER COLUMN id SET STATISTICS 10',
		update => 'ALTER TABLE @extschema@.webhook_history ALTER COLUMN id SET STATISTICS 0' },
	{   name => 'a check',
		old => q{ALTER TABLE @extschema@.webhook_event_types ADD CONSTRAINT obsolete CHECK (name <> '')},
		update => 'ALTER TABLE @extschema@.webhook_event_types DROP CONSTRAINT obsolete' },
	{   name => 'an index',
		old => 'DROP INDEX @extschema@.webhook_history_changed_at_idx',
		update => qr/^CREATE INDEX webhook_history_changed_at_idx .*?;\nCOMMENT .*?;\n/ms },
	{   name => 'a trigger',
		old => 'DROP TRIGGER webhook_skip_known_type ON @extschema@.webhook_event_types',
		update => qr/^CREATE TRIGGER webhook_skip_known_type .*?;\nALTER TABLE .*?;\n/ms },
	{   name => 'whether a trigger fires',
		old => 'ALTER TABLE @extschema@.webhook_configurations DISABLE TRIGGER webhook_configurations_7_record_truncate',
		update => 'ALTER TABLE @extschema@.webhook_configurations ENABLE TRIGGER webhook_configurations_7_record_truncate' },
	{   name => 'a policy',
		old => 'ALTER POLICY webhook_readers ON @extschema@.webhook_event_types USING (name IS NOT NULL)',
		update => 'ALTER POLICY webhook_readers ON @extschema@.webhook_event_types USING (true)' },
	{   name => 'row-level security',
		old => 'ALTER TABLE @extschema@.webhook_history DISABLE ROW LEVEL SECURITY',
		update => 'ALTER TABLE @extschema@.webhook_history ENABLE ROW LEVEL SECURITY' },
	{   name => 'a view',
		old => 'CREATE VIEW @extschema@.webhook_obsolete AS SELECT 1 AS one',
		update => 'DROP VIEW @extschema@.webhook_obsolete' },
	{   name => 'what pg_dump dumps',
		old => q{SELECT pg_extension_config_dump('@extschema@.webhook_event_types', 'WHERE false')},
		update => q{SELECT pg_extension_config_dump('@extschema@.webhook_event_types', 'WHERE NOT is_builtin')} },
	{   name => 'the comment on a column',
		old => q{COMMENT ON COLUMN @extschema@.webhook_event_types.category IS 'The group.'},
		update => qr/^COMMENT ON COLUMN \@extschema\@\.webhook_event_types\.category .*?;\n/ms },
	{   name => 'the privileges of a level',
		old => q{DELETE FROM webhook_internal.privileges WHERE privilege = 'SELECT ON @extschema@.webhook_workers'},
		update => qr/^INSERT INTO webhook_internal\.privileges VALUES \([^\n]*'SELECT ON \@extschema\@\.webhook_workers'\);\n/m },
	{   name => 'a built-in event type',
		old => q{INSERT INTO @extschema@.webhook_event_types (name, category, is_builtin) VALUES ('obsolete.event', 'obsolete', true)},
		update => q{DELETE FROM @extschema@.webhook_event_types WHERE name = 'obsolete.event'} },
);

my $installation = WebhookTest::Installation->new;
my $current = $installation->script('webhook.control') =~ /^default_version = '(.*)'/m ? $1 : die 'no default_version';
my $script = $installation->script("webhook--$current.sql");

# The update script that makes up for all changes, or for all but one.
sub update_script
{
	my ($forgotten) = @_;
	my @statements = ('SELECT webhook_internal.require_library()', 'SET LOCAL search_path = pg_catalog, pg_temp');
	foreach my $change (grep { $_ != ($forgotten // 0) } @changes)
	{
		my $update = $change->{update};
		if (ref $update)
		{
			($update) = $script =~ /($update)/ or die "the script of $current has no $change->{name}";
			$update =~ s/^CREATE FUNCTION/CREATE OR REPLACE FUNCTION/;
		}
		push @statements, $update;
	}
	push @statements, 'REVOKE ALL ON FUNCTION @extschema@.webhook_curl FROM PUBLIC'
	  unless $forgotten && $forgotten == $changes[0];
	return join '', map { /;\s*\z/ ? "$_\n" : "$_;\n" } @statements;
}

sub series { my ($version) = @_; return $version =~ /^(\d+\.\d+)/ ? $1 : die "no version: $version"; }

# version => its script. One made-up version is of an older series, and one of the series that the current version is of.
my @made_up = ('0.9', series($current) . '.99');
my %versions = map { $_ => join ";\n", $script, (map { $_->{old} } @changes), '' } @made_up;
$installation->install_script("webhook--$_--$current.sql", update_script()) foreach @made_up;
foreach my $file (glob "$FindBin::RealBin/../../releases/webhook--*.sql")
{
	my ($version) = $file =~ /--(.*)\.sql/;
	$versions{$version} = slurp_file($file) unless $version eq $current;
}
$installation->install_script("webhook--$_.sql", $versions{$_}) foreach keys %versions;

my $receiver = start_receiver();
my $node;
my $extversion = q{SELECT extversion FROM pg_extension WHERE extname = 'webhook'};
my %schema = (one => 'public', two => 'hooks', three => 'public');
my @databases = sort keys %schema;

sub sql { my ($dbname, $statements) = @_; return $node->safe_psql($dbname, $statements); }

# One whose extension is of this version.
sub make_database
{
	my ($dbname, $schema, $version) = @_;
	sql('postgres', "DROP DATABASE IF EXISTS $dbname");
	sql('postgres', "CREATE DATABASE $dbname");
	sql($dbname, qq{
		CREATE SCHEMA IF NOT EXISTS $schema;
		CREATE EXTENSION webhook SCHEMA $schema VERSION '$version';
		SELECT $schema.webhook_grant(r::regrole, r) FROM unnest(ARRAY['read', 'manage', 'operate']) r;
		REVOKE EXECUTE ON FUNCTION $schema.webhook_reveal_secret(uuid) FROM manage;});
	return;
}

sub make_source
{
	my ($dbname, $path) = @_;
	my $schema = $schema{$dbname};
	sql($dbname, qq{
		CREATE TABLE things (id bigserial PRIMARY KEY);
		SELECT $schema.webhook_watch('things', 'thing.created', organization_column => NULL);
		INSERT INTO $schema.webhook_configurations (organization_id, name, url, events)
		VALUES (NULL, 'hook', '@{[$receiver->url($path)]}', '{thing.created}')});
	return;
}

# Inserts rows one by one, whatever happens to the server, as long as a file exists.
sub start_load
{
	my ($dbname) = @_;
	my $flag = PostgreSQL::Test::Utils::tempdir() . '/goes_on';
	append_to_file($flag, '');
	my $loop = 'while [ -e "$1" ]; do psql -XAtq -d "$2" -c "INSERT INTO things DEFAULT VALUES"; sleep 0.02; done';
	my $harness = IPC::Run::start([ 'sh', '-c', $loop, 'sh', $flag, $node->connstr($dbname) ], '&>', '/dev/null');
	return { flag => $flag, harness => $harness };
}

sub stop_load { my ($load) = @_; unlink $load->{flag}; $load->{harness}->finish; return; }

sub count_things { my ($dbname) = @_; return sql($dbname, 'SELECT count(*) FROM things'); }

# That what is inserted from now on is captured.
sub goes_on
{
	my ($dbname, $name) = @_;
	my $before = count_things($dbname);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return eventually { count_things($dbname) > $before + 5 } $name;
}

sub workers { return sql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker'}); }
sub log_since { my ($offset) = @_; return substr(slurp_file($node->logfile), $offset); }
sub count_matches { my ($text, $pattern) = @_; my @found = $text =~ /$pattern/g; return scalar @found; }

# [severity, finding, hint] of webhook_check() that is about versions.
sub version_findings
{
	my ($dbname) = @_;
	return sql($dbname, qq{
		SELECT c.severity, c.hint FROM $schema{$dbname}.webhook_configurations w, $schema{$dbname}.webhook_check(w.id) c
		WHERE c.finding LIKE 'the library is of version %'});
}

foreach my $old (sort keys %versions)
{
	my $is_served = series($old) eq series($current);
	my %path = map { $_ => "/ok?version=$old&db=$_" } @databases;

	# --- the old version ------------------------------------------------------------------------------------------------
	$installation->install_library("$libraries/@{[-d qq($libraries/$old) ? $old : 'current']}/webhook.so");
	$node = new_node(name => "from_$old", install_path => $installation->path, extension => 0,
		max_prepared_transactions => 5, log_min_messages => 'debug1');
	sql('postgres', 'CREATE ROLE read; CREATE ROLE manage; CREATE ROLE operate');
	make_database($_, $schema{$_}, $old) foreach @databases;
	make_source($_, $path{$_}) foreach @databases;
	my %load = map { $_ => start_load($_) } @databases;
	foreach my $dbname (@databases)
	{
		eventually { $receiver->count($path{$dbname}) > 5 } "$old: $dbname delivers";
	}
	sql('three', q{BEGIN; INSERT INTO things SELECT FROM generate_series(1, 10); PREPARE TRANSACTION 'held'});

	# --- SQL first: the files of the new version are there, and the server still runs the old library ---------------------
	$installation->install_library("$libraries/current/webhook.so");
	my $log_offset = -s $node->logfile;
	if (!$is_served)
	{
		my ($status, $output, $errors) = $node->psql('one', 'ALTER EXTENSION webhook UPDATE');
		like($errors, qr/ERROR:  extension "webhook" in version \Q$current\E needs the library of that version, but the server runs version \Q$old\E/,
			"$old: SQL first is refused");
		like($errors, qr/HINT:  Restart the server, so that it loads the library that is installed/, 'with what to do');
		is(sql('one', $extversion), $old, 'nothing has changed');
		($status, $output, $errors) = $node->psql('postgres', 'CREATE EXTENSION webhook');
		like($errors, qr/needs the library of that version, but the server runs version \Q$old\E/, 'nor is it created');
	}
	my $sent = $receiver->count($path{one});
	eventually { $receiver->count($path{one}) > $sent + 5 } 'deliveries go on';

	# --- library first ------------------------------------------------------------------------------------------------------
	my $restart_offset = -s $node->logfile;
	$node->restart;
	my $reader = WebhookTest::Session->new($node, 'one');
	$reader->query('SELECT count(*) FROM webhook_configurations; INSERT INTO things DEFAULT VALUES');
	my $waiting = qr/WARNING:  webhook: extension "webhook" is installed in version \Q$old\E, but the library is of version \Q$current\E\n/;
	if ($is_served)
	{
		is(version_findings($_), 'info|ALTER EXTENSION webhook UPDATE;', "$old: $_ may be updated") foreach @databases;
		$sent = $receiver->count($path{one});
		eventually { $receiver->count($path{one}) > $sent + 5 } 'deliveries go on';
	}
	else
	{
		eventually { count_matches(log_since($restart_offset), $waiting) == @databases } "$old: each database waits for its update";
		like(log_since($restart_offset), qr/HINT:  Run ALTER EXTENSION webhook UPDATE in this database\./, 'with what to do');
		eventually { workers() == 0 } 'no worker takes a slot meanwhile';
		is(version_findings($_), 'error|ALTER EXTENSION webhook UPDATE;', "webhook_check() says so in $_") foreach @databases;
		# The launcher looks again, and finds what it knows.
		my $starts = qr/DEBUG:  starting background worker process "webhook worker"/;
		my $started = count_matches(log_since($restart_offset), $starts);
		sql($_, "ALTER EXTENSION webhook UPDATE TO '$old'") foreach @databases;
		eventually { count_matches(log_since($restart_offset), $starts) >= $started + @databases } 'it is looked at again';
		eventually { workers() == 0 } 'the workers leave again';
		is(count_matches(log_since($restart_offset), $waiting), scalar @databases, 'which the log says once');
		$sent = $receiver->count;
	}
	goes_on($_, "$_ captures") foreach @databases;
	is($receiver->count, $sent, 'nothing is sent') unless $is_served;

	# Back to where it was.
	if (!$is_served && $old eq '0.9')
	{
		$installation->install_library("$libraries/$old/webhook.so");
		$node->restart;
		$sent = $receiver->count($path{one});
		eventually { $receiver->count($path{one}) > $sent + 5 } 'the old library delivers again, as if nothing had been';
		$installation->install_library("$libraries/current/webhook.so");
		$node->restart;
		$reader = WebhookTest::Session->new($node, 'one');
		$reader->query('SELECT count(*) FROM webhook_configurations; INSERT INTO things DEFAULT VALUES');
	}

	# --- the update ---------------------------------------------------------------------------------------------------------
	my $writer = WebhookTest::Session->new($node, 'two');
	$writer->query('BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO things SELECT FROM generate_series(1, 10)');
	my $worker_of = sub { sql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = '$_[0]'") };
	my %worker = map { $_ => $worker_of->($_) } @databases;
	# In a session that has used the old version.
	$reader->query('ALTER EXTENSION webhook UPDATE; INSERT INTO things DEFAULT VALUES');
	is($reader->errors, '', "$old: the first database is updated");
	sql($_, 'ALTER EXTENSION webhook UPDATE') foreach 'two', 'three';
	is(sql($_, $extversion), $current, "$_ has version $current") foreach @databases;
	foreach my $dbname (@databases)
	{
		$sent = $receiver->count($path{$dbname});
		ok(wait_until(sub { $receiver->count($path{$dbname}) > $sent + 5 }, 'deliveries', $soon_s), "$dbname delivers at once");
	}
	foreach my $dbname (@databases)
	{
		eventually { my $pid = $worker_of->($dbname); $pid && $pid ne $worker{$dbname} } "a new worker is at work in $dbname";
	}
	is(version_findings($_), '', "webhook_check() is content with $_") foreach @databases;
	$writer->query('INSERT INTO things SELECT FROM generate_series(1, 10); COMMIT');
	is($writer->errors, '', 'a transaction that was open all the time commits');
	sql('three', q{COMMIT PREPARED 'held'});
	stop_load($_) foreach values %load;
	$_->finish foreach $writer, $reader;

	foreach my $dbname (@databases)
	{
		my @ids = split /\n/, sql($dbname, 'SELECT id FROM things ORDER BY id');
		my %webhook_ids_of;
		my $is_all = sub {
			%webhook_ids_of = ();
			$webhook_ids_of{ $_->[1] }{ $_->[0] } = 1 foreach received_rows($receiver, $path{$dbname});
			return missing(\@ids, [ keys %webhook_ids_of ]) eq '';
		};
		eventually { $is_all->() } "$old: all @{[scalar @ids]} rows of $dbname arrive"
		  or diag('missing: ' . missing(\@ids, [ keys %webhook_ids_of ]));
		is(scalar(grep { keys %$_ > 1 } values %webhook_ids_of), 0, 'each under one webhook-id');
		is(missing([ keys %webhook_ids_of ], \@ids), '', 'and nothing else');
	}

	# --- the catalogs -------------------------------------------------------------------------------------------------------
	my %fresh;
	foreach my $schema ('public', 'hooks')
	{
		make_database("fresh_$schema", $schema, $current);
		$fresh{$schema} = extension_catalog($node, "fresh_$schema");
		cmp_ok(scalar keys %{ $fresh{$schema} }, '>', 1000, 'the catalog of a fresh installation has been read');
	}
	foreach my $dbname (@databases)
	{
		my @differences = catalog_differences($fresh{ $schema{$dbname} }, extension_catalog($node, $dbname));
		is(join("\n", splice(@differences, 0, 20)), '', "$old: $dbname is as a fresh installation");
	}
	if ($old eq '0.9')
	{
		foreach my $change (@changes)
		{
			make_database('forgetful', 'public', $old);
			$installation->install_script("webhook--$old--$current.sql", update_script($change));
			sql('forgetful', 'ALTER EXTENSION webhook UPDATE');
			my @differences = catalog_differences($fresh{public}, extension_catalog($node, 'forgetful'));
			cmp_ok(scalar @differences, '>', 0, "a script that forgets $change->{name} is found out");
		}
	}

	# --- a library that is older than the SQL --------------------------------------------------------------------------------
	if ($old eq '0.9')
	{
		$installation->install_library("$libraries/$old/webhook.so");
		$node->restart;
		eventually
		{
			log_since($restart_offset) =~ /WARNING:  webhook: extension "webhook" is installed in version \Q$current\E, but the library is of version \Q$old\E\n/
		}
		'an older library waits';
		like(log_since($restart_offset), qr/HINT:  Install that version of the library and restart the server\./, 'for the newer one');
		is(version_findings('one'), 'error|Install that version of the library and restart the server.', 'webhook_check() says so');
		$sent = $receiver->count;
		sql('one', 'INSERT INTO things DEFAULT VALUES');
		my $last = sql('one', 'SELECT max(id) FROM things');
		is($receiver->count, $sent, 'nothing is sent');
		$installation->install_library("$libraries/current/webhook.so");
		$node->restart;
		eventually { grep { $_->[1] == $last } received_rows($receiver, $path{one}) } 'what it captured is sent by the newer one';
	}
	is_log_clean($node, expected => [
			qr/WARNING:  webhook: extension "webhook" is installed in version/,
			qr/ERROR:  extension "webhook" in version \S+ needs the library/,
			qr/FATAL:  the database system is/ ]);
	$node->stop;
}

done_testing();
