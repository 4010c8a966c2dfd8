# Monitoring: webhook_health() and webhook_metrics() of real workers, pg_stat_activity, and the files of monitoring/ with the
# programs that they are for. A member of pg_monitor asks, and sees nothing of tenants.

use strict;
use warnings;

use File::Spec;
use FindBin;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP qw(decode_json);
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Session;

my $monitoring = File::Spec->rel2abs("$FindBin::RealBin/../../monitoring");
foreach my $program (qw(prometheus promtool prometheus-sql-exporter prometheus-postgres-exporter))
{
	BAIL_OUT("$program is missing: dev/setup test installs it")
	  unless grep { -x "$_/$program" } File::Spec->path;
}

my $receiver = start_receiver();
my $node = new_node(
	name => 'primary',
	init => [ allows_streaming => 1 ],
	'webhook.retry_schedule' => '1h');

sub query { my ($sql, $dbname) = @_; return $node->safe_psql($dbname // 'postgres', $sql); }

# As the exporters' role, a member of pg_monitor without any other right.
sub monitor
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', 'prometheus' ]);
}
sub status_of { my ($component) = @_; return monitor("SELECT status FROM webhook_health() WHERE component = '$component'"); }
sub activity { return query(q{SELECT query FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = 'postgres'}); }

query(q{
	CREATE ROLE prometheus LOGIN IN ROLE pg_monitor;
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text, note text);
	SELECT webhook_watch('items', 'item.created');
});

# --- what there is to see ---------------------------------------------------------------------------------------------------

# Names, URLs and payloads that no figure may show.
my $tenant = 'umbrella-corporation';
my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
my %webhooks = (
	good => create_webhook($node, name => "$tenant crm", organization_id => $tenant, url => $receiver->url("/ok?$tenant"),
		events => ['item.created'], secret => $secret),
	bad => create_webhook($node, name => "$tenant erp", organization_id => $tenant, url => $receiver->url("/status/500?$tenant"),
		events => ['item.created'], secret => $secret),
	dead => create_webhook($node, name => "$tenant bi", organization_id => $tenant, url => $receiver->url("/status/410?$tenant"),
		events => ['item.created'], secret => $secret));
query("INSERT INTO items SELECT i, '$tenant', '$tenant' FROM generate_series(1, 20) i");
eventually { query(q{SELECT count(*) FROM webhook_stats WHERE circuit = 'open'}) == 1 } 'an endpoint fails';
eventually { query(q{SELECT count(*) FROM webhook_configurations WHERE NOT is_active}) == 1 } 'a webhook is switched off';
eventually { $receiver->count("/ok?$tenant") == 20 } 'another is delivered to';

is(monitor(q{SELECT string_agg(component || ' ' || status, ', ') FROM webhook_health() WHERE component IN ('overall', 'endpoints')}),
	'overall ok, endpoints ok', 'endpoints of one organization make no database sick');

# --- the exporters ----------------------------------------------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir();
my @programs;

# start_program($name, \@command, %environment): it ends with the test.
sub start_program
{
	my ($name, $command, %environment) = @_;
	local %ENV = (%ENV, %environment);
	push @programs, IPC::Run::start($command, '<', \undef, '>', "$PostgreSQL::Test::Utils::log_path/$name.log", '2>&1');
	return;
}

END
{
	local $?;
	$_->kill_kill(grace => 5) foreach @programs;
}

sub page
{
	my ($url) = @_;
	my $response = HTTP::Tiny->new(timeout => 30)->get($url);
	return $response->{success} ? $response->{content} : '';
}

# A file of monitoring/ with some of it replaced, as whoever sets it up would. Each pattern must be there.
sub adapted
{
	my ($name, %replacements) = @_;
	my $text = slurp_file("$monitoring/$name");
	foreach my $pattern (sort keys %replacements)
	{
		BAIL_OUT("$name has no $pattern") unless $text =~ s/$pattern/$replacements{$pattern}/gm;
	}
	append_to_file("$dir/$name", $text);
	return "$dir/$name";
}

my ($host, $port) = ($node->host, $node->port);
my %ports = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(sql postgres prometheus);
start_program('sql_exporter', [ 'prometheus-sql-exporter', '--web.listen-address', "127.0.0.1:$ports{sql}" ],
	CONFIG => adapted('prometheus-sql-exporter.yml',
		'interval: 15s' => 'interval: 1s',
		'host=/var/run/postgresql&' => "host=$host&port=$port&"));
start_program('postgres_exporter',
	[ 'prometheus-postgres-exporter', '--web.listen-address', "127.0.0.1:$ports{postgres}", '--disable-default-metrics',
		'--extend.query-path', "$monitoring/prometheus-postgres-exporter.yml" ],
	DATA_SOURCE_NAME => "user=prometheus host=$host port=$port dbname=postgres");
adapted('alerts.yml', 'for: \d+[mh]' => 'for: 0s');
start_program('prometheus',
	[ 'prometheus', '--config.file', adapted('prometheus.yml',
			'localhost:9237' => "127.0.0.1:$ports{sql}",
			'localhost:9187' => "127.0.0.1:$ports{postgres}",
			'scrape_interval: 15s' => 'scrape_interval: 1s',
			'^rule_files' => "global:\n  evaluation_interval: 1s\nrule_files"),
		'--storage.tsdb.path', "$dir/tsdb", '--web.listen-address', "127.0.0.1:$ports{prometheus}" ]);

# What an exporter shows: { 'name{label="value"}' => number }, without the labels that are the exporter's own.
sub figures
{
	my ($text) = @_;
	my %figures;
	foreach my $line (split /\n/, $text)
	{
		my ($name, $labels, $value) = $line =~ /^((?:sql_)?webhook\w*)\{(.*)\} (\S+)$/ or next;
		my %labels = $labels =~ /(\w+)="([^"]*)"/g;
		$name =~ s/^sql_(.*)/$1_$labels{col}/;
		delete @labels{qw(col database driver host sql_job user server)};
		$figures{ $name . '{' . join(',', map { qq($_="$labels{$_}") } sort keys %labels) . '}' } = $value;
	}
	return \%figures;
}

my %pages;
foreach my $exporter (qw(sql postgres))
{
	eventually { $pages{$exporter} = page("http://127.0.0.1:$ports{$exporter}/metrics"); $pages{$exporter} =~ /^(?:sql_)?webhook_worker/m }
	"prometheus-$exporter-exporter shows figures";
	unlike($pages{$exporter}, qr/\Q$tenant\E|\Q$secret\E|127\.0\.0\.1:|item\.created|status\/500/, 'nothing of a tenant');
	unlike($pages{$exporter}, qr/\Q$_\E/, 'no id of a webhook') foreach values %webhooks;
}
my %shown = map { $_ => figures($pages{$_}) } qw(sql postgres);
is_deeply([ sort keys %{ $shown{sql} } ], [ sort keys %{ $shown{postgres} } ], 'both exporters show the same figures');
is_deeply(
	[ sort map { /^webhook_((?!worker_|component_)\w+)\{/ } keys %{ $shown{postgres} } ],
	[ sort split / /, query(q{SELECT string_agg(u.name, ' ') FROM pg_proc, unnest(proargnames) u (name)
		WHERE proname = 'webhook_metrics' AND u.name NOT IN ('datname') AND u.name NOT LIKE 'workers%'})
		  . ' workers workers_asleep workers_waiting workers_wanted' ],
	'all that webhook_metrics() has');
my @components = split / /, query(q{SELECT string_agg(component, ' ') FROM webhook_health()});
ok(exists $shown{postgres}{qq(webhook_component_status{component="$_",datname="postgres"})}, "the component $_") foreach @components;

# What the exporters show is what webhook_stats shows.
my %stats = (
	webhook_requests_total => 'sum(attempts)',
	webhook_attempts_total => 'sum(attempts)',
	webhook_failures_total => 'sum(attempts - successes)',
	webhook_pending_deliveries => 'sum(pending)',
	webhook_dead_deliveries => 'sum(dead)',
	webhook_given_up_total => 'sum(dead)',
	webhook_open_circuits => q{count(*) FILTER (WHERE circuit = 'open')},
	webhook_webhooks => 'count(*)');
foreach my $name (sort keys %stats)
{
	foreach my $exporter (qw(sql postgres))
	{
		my ($have, $want);
		eventually {
			$have = figures(page("http://127.0.0.1:$ports{$exporter}/metrics"))->{qq($name\{datname="postgres"\})} // 'nothing';
			$want = query("SELECT $stats{$name} FROM webhook_stats");
			$have eq $want
		}
		"$name of prometheus-$exporter-exporter is $stats{$name} of webhook_stats" or diag("have $have, want $want");
	}
}

# --- Prometheus -------------------------------------------------------------------------------------------------------------

sub ask_prometheus
{
	my ($path) = @_;
	my $answer = page("http://127.0.0.1:$ports{prometheus}/api/v1/$path");
	return $answer eq '' ? {} : decode_json($answer)->{data};
}

# { 'name of a figure' => { job => 1 } }
sub series
{
	my %series;
	foreach my $one (@{ ask_prometheus('query?query=%7B__name__%3D~%22webhook_.%2B%22%7D')->{result} // [] })
	{
		$series{ $one->{metric}{__name__} }{ $one->{metric}{job} } = 1;
	}
	return \%series;
}
my $series;
eventually { $series = series(); grep { keys %$_ == 2 } values %$series } 'Prometheus has the figures of both exporters';
my %names = map { /^(\w+)\{/ ? ($1 => 1) : () } keys %{ $shown{postgres} };
eventually { $series = series(); !grep { keys %{ $series->{$_} // {} } < 2 } keys %names } 'under the same names'
  or diag(join(' ', grep { keys %{ $series->{$_} // {} } < 2 } sort keys %names));

foreach my $command ([ 'check', 'rules', "$monitoring/alerts.yml" ], [ 'check', 'config', "$dir/prometheus.yml" ],
	[ 'test', 'rules', support_file('alerts_test.yml') ])
{
	my $output = '';
	my $ended = IPC::Run::run([ 'promtool', @$command ], '<', \undef, '>&', \$output);
	ok($ended, "promtool @$command[0, 1]") or diag($output);
}
my %rules = map { $_->{name} => $_ } map { @{ $_->{rules} } } @{ ask_prometheus('rules')->{groups} };
is_deeply([ sort keys %rules ],
	[ qw(WebhookAttemptsFail WebhookBacklog WebhookDegraded WebhookFailing WebhookMetricsMissing WebhookStorageGrows) ],
	'Prometheus has the alerts');
eventually { %rules = map { $_->{name} => $_ } map { @{ $_->{rules} } } @{ ask_prometheus('rules')->{groups} };
	!grep { $_->{health} ne 'ok' } values %rules }
'and can evaluate them';
# Names of figures, in an expression of PromQL.
sub names_in { my ($expression) = @_; return $expression =~ /\b(webhook_\w+)/g; }
my @unknown = grep { !$names{$_} } map { names_in($_->{query}) } values %rules;
is("@unknown", '', 'each alert is about figures that there are');

# --- the dashboard ----------------------------------------------------------------------------------------------------------

my $dashboard = decode_json(slurp_file("$monitoring/dashboard.json"));
my @panels = @{ $dashboard->{panels} };
cmp_ok(scalar @panels, '>', 10, 'the dashboard has panels');
my (%ids, %cells, @faults);
foreach my $panel (@panels)
{
	my $title = $panel->{title} // 'untitled';
	push @faults, "$title: id" if !defined $panel->{id} || $ids{ $panel->{id} }++;
	push @faults, "$title: type" unless $panel->{type} =~ /^(?:row|stat|timeseries|table|state-timeline)$/;
	my $at = $panel->{gridPos};
	push @faults, "$title: gridPos" if grep { !defined $at->{$_} || $at->{$_} !~ /^\d+$/ } qw(x y w h);
	push @faults, "$title: wider than the page" if $at->{x} + $at->{w} > 24;
	foreach my $x ($at->{x} .. $at->{x} + $at->{w} - 1)
	{
		push @faults, "$title: lies over $cells{$x}{$_}" foreach grep { $cells{$x}{$_} } $at->{y} .. $at->{y} + $at->{h} - 1;
		$cells{$x}{$_} = $title foreach $at->{y} .. $at->{y} + $at->{h} - 1;
	}
	next if $panel->{type} eq 'row';
	push @faults, "$title: no description" unless $panel->{description};
	push @faults, "$title: datasource" unless $panel->{datasource}{uid} eq '${datasource}' && $panel->{datasource}{type} eq 'prometheus';
	push @faults, "$title: no query" unless @{ $panel->{targets} };
	foreach my $target (@{ $panel->{targets} })
	{
		my @used = names_in($target->{expr});
		push @faults, "$title: no figure in $target->{expr}" unless @used;
		push @faults, "$title: unknown $_" foreach grep { !$names{$_} } @used;
		my $expression = $target->{expr};
		$expression =~ s/\$datname/postgres/g;
		$expression =~ s/\$__rate_interval/1m/g;
		push @faults, "$title: Prometheus takes no $expression"
		  unless ask_prometheus('query?query=' . $expression =~ s/([^\w.])/sprintf '%%%02X', ord $1/ger)->{resultType};
	}
}
is(join("\n", @faults), '', 'each panel asks for figures that there are');
is_deeply([ map { $_->{name} } @{ $dashboard->{templating}{list} } ], [ 'datasource', 'datname' ], 'by database');

# --- what pg_stat_activity says ----------------------------------------------------------------------------------------------

eventually { activity() eq 'webhook: idle' } 'a worker with nothing to do is idle';
my $has_wait_events = query('SHOW server_version_num') >= 170000;
sub wait_event { return monitor(q{SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity WHERE backend_type = 'webhook worker'}); }
eventually { wait_event() eq ($has_wait_events ? 'Extension WebhookIdle' : 'Extension Extension') } 'and waits for something to do';
my $hanging = create_webhook($node, name => 'hanging', organization_id => 'slow', url => $receiver->url('/hang'), events => ['item.created'],
	timeout_ms => 30000);
query("INSERT INTO items VALUES (100, 'slow', '')");
eventually { activity() eq 'webhook: waiting for 1 response' } 'one that waits for a receiver says so';
eventually { wait_event() eq ($has_wait_events ? 'Extension WebhookNetwork' : 'Extension Extension') } 'also in its wait event';
eventually { query('SELECT state FROM webhook_workers') eq 'delivering' } 'webhook_workers says that it delivers';
unlike(monitor(q{SELECT string_agg(query, chr(10)) FROM pg_stat_activity WHERE backend_type LIKE 'webhook%'}), qr/\Q$tenant\E|slow|hanging|127\.0/,
	'no name or URL is in pg_stat_activity');
query("DELETE FROM webhook_configurations WHERE id = '$hanging'");

# --- pausing, and what is alarmed ---------------------------------------------------------------------------------------------

query(q{SELECT webhook_pause('the receiver is being moved')});
eventually { status_of('switches') eq 'degraded' && query('SELECT state FROM webhook_workers') eq 'paused' } 'a paused database is degraded';
is(monitor(q{SELECT reason FROM webhook_health() WHERE component = 'overall'}), 'this database is paused: the receiver is being moved',
	'and says why');
eventually { activity() =~ /^webhook: paused/ } 'pg_stat_activity too';
sub alerts { return [ sort map { "$_->{labels}{alertname} $_->{labels}{component}" } grep { defined $_->{labels}{component} } @{ ask_prometheus('alerts')->{alerts} } ]; }
eventually { my %alerts = map { $_ => 1 } @{ alerts() }; join(',', sort keys %alerts) eq 'WebhookDegraded switches' } 'Prometheus alarms';
query('SELECT webhook_resume()');
eventually { status_of('overall') eq 'ok' } 'resumed, all is well';
eventually { !@{ alerts() } } 'and the alarm is over';

$node->append_conf('postgresql.conf', 'webhook.enabled = off');
$node->reload;
eventually { monitor(q{SELECT reason FROM webhook_health() WHERE component = 'switches'}) =~ /^webhook\.enabled is off/ } 'so is one that is switched off';
eventually { activity() =~ /^webhook: switched off/ } 'as pg_stat_activity says';
$node->append_conf('postgresql.conf', 'webhook.enabled = on');
$node->reload;
eventually { status_of('overall') eq 'ok' } 'switched on again, all is well';

# --- nothing waits for a lock -------------------------------------------------------------------------------------------------

my $holder = WebhookTest::Session->new($node, 'postgres');
$holder->query('BEGIN; LOCK TABLE webhook_instance, webhook_configurations, webhook_deliveries, webhook_logs, webhook_events, webhook_replays IN ACCESS EXCLUSIVE MODE');
# If one of them waited, the timeout would be an error.
is(monitor(q{SET statement_timeout = '60s'; SELECT count(*) FROM webhook_metrics(), webhook_workers, webhook_progress;
	SELECT reason FROM webhook_health() WHERE component = 'server'}) =~ s/^\d+\n//r,
	'webhook_instance is locked by another session and was not read', 'a lock is a finding, and nothing waits for it');
$holder->query('ROLLBACK');
$holder->finish;
eventually { status_of('server') eq 'ok' } 'until it is released';

# --- errors of the database ----------------------------------------------------------------------------------------------------

query(q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no room for %', NEW.slot USING ERRCODE = '53100'; END$$;
	CREATE TRIGGER refuse BEFORE UPDATE ON webhook_checkpoint FOR EACH STATEMENT EXECUTE FUNCTION refuse();
	ALTER TABLE webhook_checkpoint ENABLE ALWAYS TRIGGER refuse});
query("INSERT INTO items VALUES (101, '$tenant', '')");
eventually { status_of('database') ne 'ok' } 'failing transactions of a worker are found';
like(monitor(q{SELECT remedy FROM webhook_health() WHERE component = 'database'}), qr/server log/, 'with a remedy');
eventually { status_of('database') eq 'failing' } 'if they go on, nothing is recorded any more';
query('DROP FUNCTION refuse() CASCADE');
eventually { status_of('database') eq 'degraded' } 'when they succeed again, a while is left to look at the log';

# --- elsewhere ---------------------------------------------------------------------------------------------------------------

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', q{SELECT status || ': ' || reason FROM webhook_health() WHERE component = 'overall'},
		extra_params => [ '-U', 'prometheus' ]),
	'ok: a standby delivers nothing before it is promoted', 'a standby is ok');
is($standby->safe_psql('postgres', 'SELECT standby, workers FROM webhook_metrics()'), '1|0', 'and its figures say so');
$standby->stop;

# The rights survive a dump, and so does it if they are taken away.
$_->kill_kill(grace => 5) foreach splice @programs;
query('REVOKE EXECUTE ON FUNCTION webhook_metrics() FROM pg_monitor', 'postgres');
query('CREATE DATABASE restored');
my $dump = "$dir/dump.sql";
$node->command_ok([ 'pg_dump', '--file', $dump, $node->connstr('postgres') ], 'pg_dump');
my @grants = slurp_file($dump) =~ /^(?:GRANT|REVOKE).*pg_monitor.*$/mg;
like("@grants", qr/^REVOKE ALL ON FUNCTION public\.webhook_metrics\([^;]*\) FROM pg_monitor;$/,
	'a dump has only what was changed of the rights');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'it is restored');
is(query(q{SELECT has_function_privilege('prometheus', 'webhook_health()', 'EXECUTE'), has_function_privilege('prometheus', 'webhook_metrics()', 'EXECUTE'),
	has_table_privilege('prometheus', 'webhook_workers', 'SELECT')}, 'restored'), 't|f|t', 'with these rights');
query('GRANT EXECUTE ON FUNCTION webhook_metrics() TO pg_monitor');

# An exporter without rights says what is missing.
my ($stdout, $stderr);
query('CREATE ROLE outsider LOGIN');
$node->psql('postgres', 'SELECT * FROM webhook_health()', stderr => \$stderr, extra_params => [ '-U', 'outsider' ]);
like($stderr, qr/permission denied for function webhook_health/, 'who is no member of pg_monitor is refused');

is_log_clean($node, expected => [ qr/no room for/, qr/the worker's transaction failed/, qr/permission denied for function webhook_health/,
	qr/is a copy of another/, qr/it shows the mask of a secret, but it has none/ ]);
$node->stop;

# --- servers that cannot deliver -----------------------------------------------------------------------------------------------

my $unprepared = new_node(name => 'unprepared', preload => 0);
is($unprepared->safe_psql('postgres', q{SELECT string_agg(component || ' ' || status, ', ') FROM webhook_health() WHERE status <> 'ok'}),
	'overall failing, server failing', 'without the library in shared_preload_libraries nothing is delivered');
$unprepared->stop;

my $crowded = new_node(name => 'crowded', max_worker_processes => 2, max_logical_replication_workers => 1);
eventually { $crowded->safe_psql('postgres', q{SELECT reason FROM webhook_health() WHERE component = 'workers'}) =~ /out of background worker slots since/ }
'nor without slots for workers';
like($crowded->safe_psql('postgres', q{SELECT remedy FROM webhook_health() WHERE component = 'workers'}), qr/^Increase max_worker_processes \(now 2\)/,
	'and the remedy names the setting');
$crowded->stop;

done_testing();
