# docs/operations.md, followed section by section on fresh clusters, as it is written there: a server is installed and looked
# at, dumped and restored, taken back to a point in time from a base backup, and replaced by its standby. What arrives is
# counted each time. A block of the page that nothing here runs is named at the end, with the reason.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run ();
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash qw(crash_lines received_rows tally missing);

my $docs = "$FindBin::RealBin/../../docs";
my $dir = PostgreSQL::Test::Utils::tempdir();
mkdir "$dir/$_" or BAIL_OUT("mkdir: $!") foreach qw(backup archive);
my $receiver = start_receiver();
my $key_file = "$dir/keys";
append_to_file($key_file, 'k1 ' . encode_base64('k' x 32));
chmod 0600, $key_file;

# The blocks of each section, by its heading, in their order: [kind, text].
my %blocks;
my @titles;
foreach my $section (split /^(?=##+ )/m, slurp_file("$docs/operations.md"))
{
	my ($title) = $section =~ /^##+ (.*)/ or next;
	push @titles, $title;
	$blocks{$title} = [ blocks_of($section) ];
}

sub blocks_of
{
	my ($text) = @_;
	my @found;
	push @found, [ $1, $2 ] while $text =~ /^```(\w*)\n(.*?)^```$/msg;
	return @found;
}

# The next block of a section, which must be of this kind, with the folders of this test in place of the page's.
my %folders = ('/var/lib/postgresql/backup' => "$dir/backup", '/var/lib/postgresql/archive' => "$dir/archive");

sub block
{
	my ($title, $kind) = @_;
	my $block = shift @{ $blocks{$title} } or BAIL_OUT("no more blocks in: $title");
	BAIL_OUT("a block of \"$kind\" was expected in: $title") if $block->[0] ne $kind;
	my $text = $block->[1];
	foreach my $folder (keys %folders) { $text =~ s/\Q$folder\E\b/$folders{$folder}/g; }
	return $text;
}

# Runs SQL in the database of the page. What may be repeated is repeated until it answers as expected.
sub sql { my ($node, $sql) = @_; return $node->safe_psql('app', $sql); }

sub run_sql { my ($node, $title) = @_; return sql($node, block($title, 'sql')); }

sub run_sql_until
{
	my ($node, $title, $pattern, $name) = @_;
	my $block = block($title, 'sql');
	my $answer;
	eventually { ($answer = sql($node, $block)) =~ $pattern } $name or diag("it answers: $answer");
	return;
}

# Runs a block of commands as an administrator of the server would.
sub run_sh
{
	my ($node, $title, $name) = @_;
	my $text = block($title, 'sh');
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');
	my $output = '';
	my $ok = IPC::Run::run([ 'bash', '-ec', $text ], '>', \$output, '2>&1');
	ok($ok, $name) or diag("$text\nshowed\n$output");
	return $output;
}

# Settings of the tests beside what the page says: a receiver on loopback.
my $loopback = "webhook.allow_http = on\nwebhook.allowed_networks = '127.0.0.0/8'\nwebhook.secret_key_file = '$key_file'\n";

# The webhook-ids of the requests to a path, by the row that they are about.
sub ids_by_row
{
	my ($path) = @_;
	my %ids;
	push @{ $ids{ $_->[1] } }, $_->[0] foreach received_rows($receiver, $path);
	return \%ids;
}

sub is_each_logged
{
	my ($node, $count, $name) = @_;
	return eventually { sql($node, "SELECT count(*) FROM webhook_logs WHERE status = 'success' AND event = 'order.created'") == $count }
	$name;
}

# --- install, as README.md says ---------------------------------------------------------------------------------------

# The packages themselves are installed by dev/test-packages.
my ($installation) = slurp_file("$docs/../README.md") =~ /^## Install\n(.*?)^## /ms;
my ($preload) = map { $_->[1] } grep { $_->[0] eq '' } blocks_of($installation);
my $node = new_node(name => 'original', preload => 0, extension => 0, init => [ allows_streaming => 1 ]);
$node->append_conf('postgresql.conf', $preload . $loopback);
$node->restart;
my ($create) = $installation =~ /`(CREATE EXTENSION [^`]*)`/;
$node->safe_psql('postgres', 'CREATE DATABASE app');
my ($status, undef, $stderr) = $node->psql('app', $create);
is("$status$stderr", '0', 'README.md, Install: the extension can be created, without a warning');

sql($node, q{
	CREATE TABLE orders (id bigint PRIMARY KEY, organization_id text NOT NULL, total numeric);
	SELECT webhook_watch('orders', 'order.created');
	CREATE ROLE app_admin;
	SELECT webhook_grant('app_admin', 'manage');
});
my %webhook = (dbname => 'app', organization_id => 'acme', events => ['order.created'], secret => 'a secret that is long enough');
$receiver->set('/later', '/status/404');
create_webhook($node, %webhook, name => 'ok', url => $receiver->url('/ok'));
create_webhook($node, %webhook, name => 'later', url => $receiver->url('/later'), retry_schedule => [ ('15 seconds') x 20 ]);

sub insert_orders
{
	my ($server, $from, $to) = @_;
	sql($server, "INSERT INTO orders SELECT n, 'acme', 1 FROM generate_series($from, $to) n");
	return;
}

insert_orders($node, 1, 10);
is_each_logged($node, 10, 'and delivers');

# --- where to look ----------------------------------------------------------------------------------------------------

my @looks = (
	[ qr/^$/, 'all is well' ],
	[ qr/^\d{4}-.*\|order\.created\|\d+\|failed\|404\|HTTP status 404$/m, 'the last attempts' ],
	[ qr/^pending\|10\|\d{4}-.*\|HTTP status 404$/, 'pending deliveries, with a reason' ],
	[ qr/^app\|1\|1\|\d+\|[a-z ]+\|\d+\|\d+\|\d+\|\S*$/, 'the workers' ],
	[ qr/^$/, 'nothing takes a while' ],
	[ qr/^ok\|10\|100\S*\|.*\|0\|0\|closed\|\|$/m, 'each webhook' ],
	[ qr/^1\|1\|.*\|\d\d:\d\d:\d\d/, 'the checkpoint' ],
	[ qr/^f\|$/, 'nothing is paused' ],
	[ qr/orders.*\|order\.created\|/, 'which changes are events' ]);
my @statements = split /;\n/, block('Where to look', 'sql');
is(scalar @statements, scalar @looks, 'where to look: each statement is known here');
foreach my $i (0 .. $#statements)
{
	my ($pattern, $name) = @{ $looks[$i] };
	my $answer;
	eventually { ($answer = sql($node, $statements[$i])) =~ $pattern } "where to look: $name" or diag("$statements[$i]\n$answer");
}

# --- what the settings and the upgrade say ----------------------------------------------------------------------------

my ($kilobytes) = slurp_file("$docs/operations.md") =~ /^\| `webhook\.max_databases` .* Each takes (\d+) kB of shared memory/m;
cmp_ok(
	sql($node, q{SELECT sum(allocated_size) / current_setting('webhook.max_databases')::int / 1024
		FROM pg_shmem_allocations WHERE name ILIKE 'webhook%'}),
	'<=', $kilobytes, 'a database takes no more shared memory than the table of settings says');
my ($version) = slurp_file($node->config_data('--sharedir') =~ s/\n//r . '/extension/webhook.control') =~ /^default_version = '(.*)'/m;
is(run_sh($node, 'Upgrade', 'the databases with the extension can be listed'), "app|$version\n", 'there is one');

# --- a dump, and its restore ------------------------------------------------------------------------------------------

my $by_dump = 'With pg_dump';
run_sh($node, $by_dump, 'the database can be dumped');
unlike(slurp_file("$dir/backup/app.dump"), qr/a secret that is long enough/, 'the dump has no secret in clear text');
my $restored = new_node(name => 'restored', extension => 0);
$restored->append_conf('postgresql.conf', $loopback);
$restored->restart;
my $before = $receiver->count('/ok');
run_sh($restored, $by_dump, 'and restored elsewhere');
run_sql_until($restored, $by_dump, qr/^t\|this database is a copy or was restored/, 'the copy is paused');
is(sql($restored, 'SELECT count(*) FROM webhook_configurations'), 2, 'all webhooks are there');
is(sql($restored, q{SELECT has_table_privilege('app_admin', 'webhook_configurations', 'INSERT')}), 't', 'and what roles may do');
is(sql($restored, 'SELECT count(*) FROM webhook_events'), 0, 'the restore made no events');
sql($restored, "DELETE FROM webhook_configurations WHERE name = 'later'");
insert_orders($restored, 101, 105);
eventually { sql($restored, 'SELECT state FROM webhook_workers') eq 'paused' } 'its worker is paused';
is($receiver->count('/ok'), $before, 'the copy sends nothing');
run_sql($restored, $by_dump);
is_each_logged($restored, 5, 'until it is resumed');
is($receiver->count('/ok'), $before + 5, 'each of 5 events arrives once');
my ($signed) = grep { $_->{body} =~ /"id":105\b/ } $receiver->received('/ok');
is(
	sql($restored, 'SELECT webhook_verify('
		  . join(', ', map { sql_literal($_) } @{ $signed->{headers} }{qw(webhook-id webhook-timestamp)}, $signed->{body},
			$signed->{headers}{'webhook-signature'}, $webhook{secret}) . ')'),
	't', 'signed by the secret that was dumped');
sql($restored, 'DELETE FROM orders WHERE id <= 4');
sql($restored, 'CREATE TABLE kept AS SELECT * FROM orders; TRUNCATE orders');
run_sh($restored, $by_dump, 'rows alone can be restored');
is(sql($restored, 'SELECT count(*) FROM orders'), 10, 'they are back');
is(sql($restored, 'SELECT count(*) FROM webhook_events'), 5, 'without making events');
is_log_clean($restored, expected => [ qr/role "\w+" already exists/, qr/this database is a copy of another, or was restored/ ]);
$restored->stop;

# --- a base backup, and the way back to a point in time ---------------------------------------------------------------

my $by_backup = 'With a base backup, to a point in time';
$node->append_conf('postgresql.conf', block($by_backup, ''));
$node->restart;
run_sh($node, $by_backup, 'a base backup can be made');
insert_orders($node, 11, 20);
is_each_logged($node, 20, '10 events are delivered before the point in time');
eventually { sql($node, q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND attempts > 0}) == 20 } '20 deliveries are pending';
$node->append_conf('postgresql.conf', "webhook.enabled = off\n");
$node->reload;
eventually { sql($node, 'SELECT state FROM webhook_workers') eq 'switched off' } 'deliveries are switched off';
insert_orders($node, 21, 25);
my $point_in_time = sql($node, 'SELECT clock_timestamp()');
$node->append_conf('postgresql.conf', "webhook.enabled = on\n");
$receiver->set('/later', '/ok');
$node->reload;
insert_orders($node, 26, 30);
is_each_logged($node, 60, 'all 30 events are delivered to both webhooks after it');
my $segment = sql($node, 'SELECT pg_walfile_name(pg_switch_wal())');
eventually { sql($node, 'SELECT last_archived_wal FROM pg_stat_archiver') ge $segment } 'the WAL is archived';
is_log_clean($node);
$node->stop;

my $back = PostgreSQL::Test::Cluster->new('back');
$folders{'/var/lib/postgresql/15/main'} = $back->data_dir;
run_sh($back, $by_backup, 'the backup can be put in place');
delete $folders{'/var/lib/postgresql/15/main'};
my $recovery = block($by_backup, '');
ok($recovery =~ s/(?<=recovery_target_time = ')[^']*/$point_in_time/, 'the page sets the time');
$back->append_conf('postgresql.conf', $recovery . 'port = ' . $back->port . "\narchive_mode = off\n");
$before = $receiver->count;
$back->start;
eventually { sql($back, 'SELECT pg_is_in_recovery()') eq 'f' } 'the server has gone back';
is(sql($back, 'SELECT max(id) FROM orders'), 25, 'to that moment');
run_sql_until($back, $by_backup, qr/^deliveries\|20\|\d{4}-.*\nevents\|5\|\d{4}-.*$/, 'what waits is seen: 20 deliveries and 5 events');
is($receiver->count, $before, 'nothing is sent');
my $sent_before = ids_by_row('/ok');
$back->adjust_conf('postgresql.conf', 'webhook.enabled', undef);
run_sql($back, $by_backup);
insert_orders($back, 26, 30);
eventually { sql($back, q{SELECT count(DISTINCT (configuration_id, event_id)) FROM webhook_logs WHERE status = 'success'
	AND event = 'order.created'}) == 60 } 'then all that waits is delivered, and what is new';
my $sent = ids_by_row('/ok');
my $times_of = sub { my ($from, $to) = @_; return tally(map { scalar @{ $sent->{$_} } } $from .. $to); };
my $different_of = sub { my ($from, $to) = @_; return tally(map { scalar keys %{ tally(@{ $sent->{$_} }) } } $from .. $to); };
is_deeply($times_of->(11, 20), { 1 => 10 }, 'what was delivered before the moment is not sent again');
is_deeply($times_of->(21, 25), { 2 => 5 }, 'what was delivered after it is sent again');
is_deeply($different_of->(21, 25), { 1 => 5 }, 'with the same webhook-id');
is_deeply($different_of->(26, 30), { 2 => 5 }, 'rows that take the ids of rows that are gone have other webhook-ids');
my $later = ids_by_row('/later');
is_deeply(tally(map { scalar keys %{ tally(@{ $later->{$_} }) } } 1 .. 25), { 1 => 25 }, 'retries keep their webhook-id');
is_log_clean($back, expected => [ crash_lines() ]);
$back->stop;

# --- a failover, and a planned switchover -----------------------------------------------------------------------------

my $failover = 'Replication and failover';
my ($watch, $promote, $watch_end) = map { block($failover, 'sql') } 1 .. 3;
my ($unsettled, $pending) = split /(?<=;)\n/, $watch_end;

# Stops a primary under load in this mode, and promotes its standby. Returns the rows that had committed there, and the
# requests about them.
sub fail_over
{
	my ($mode, $what) = @_;
	my $primary = new_node(name => "primary_$mode", extension => 0, init => [ allows_streaming => 1 ]);
	$primary->append_conf('postgresql.conf', $loopback);
	$primary->reload;
	$primary->safe_psql('postgres', 'CREATE DATABASE app');
	sql($primary, q{
		CREATE EXTENSION webhook;
		CREATE TABLE orders (id bigint PRIMARY KEY, organization_id text NOT NULL, total numeric);
		SELECT webhook_watch('orders', 'order.created');
	});
	create_webhook($primary, %webhook, name => 'ok', url => $receiver->url("/ok?$mode"));
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new("standby_$mode");
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;
	eventually { sql($primary, $watch) =~ /^\S+\|streaming\|async\|0$/ } "$what: the standby follows";

	my $script = "$dir/load_$mode.sql";
	append_to_file($script, join('', map { "INSERT INTO orders VALUES ($_, 'acme', 1);\n" } 1 .. 100_000));
	my $load = IPC::Run::start([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $primary->connstr('app'), '-f', $script ], '&>', '/dev/null');
	wait_until { $receiver->count("/ok?$mode") >= 500 } 'the load is under way';
	$primary->stop($mode);
	ok(!$load->finish, "$what: the primary stops in the middle of the load");
	is(sql($standby, $promote), 't', 'the standby is promoted');
	my @committed = split /\n/, sql($standby, 'SELECT id FROM orders');
	cmp_ok(scalar @committed, '>=', 500, @committed . ' rows had committed on it');
	eventually { sql($standby, "SELECT count(DISTINCT event_id) FROM webhook_logs WHERE status = 'success'") == @committed }
	'it logs each as delivered';
	eventually { sql($standby, $unsettled) eq '0' } 'nothing is unsettled';
	is(sql($standby, $pending), '', 'nor pending');
	is(sql($standby, 'SELECT is_paused FROM webhook_instance'), 'f', 'and nobody had to resume');
	my @requests = received_rows($receiver, "/ok?$mode");
	is(missing(\@committed, [ map { $_->[1] } @requests ]), '', 'each has arrived');
	my %is_committed = map { $_ => 1 } @committed;
	@requests = grep { $is_committed{ $_->[1] } } @requests;
	is(scalar(keys %{ tally(map { $_->[0] } @requests) }), scalar @committed, 'with a webhook-id of its own, however often it is sent');
	is_log_clean($standby,
		expected => [ crash_lines(), qr/FATAL: .*(?:could not|replication terminated|streaming|terminating walreceiver)/ ]);
	$standby->stop;
	return (\@committed, \@requests);
}

fail_over('immediate', 'failover');
my ($committed, $requests) = fail_over('fast', 'planned switchover');
is(scalar @$requests, scalar @$committed, 'a planned switchover repeats nothing');

# --- what nothing here runs -------------------------------------------------------------------------------------------

my %elsewhere = ('Install' => 'dev/test-packages: the extension works from a folder of its own');
is(join(', ', grep { @{ $blocks{$_} } && !$elsewhere{$_} } @titles), '', 'each block of docs/operations.md was followed');
is(join(', ', grep { !@{ $blocks{$_} // [] } } sort keys %elsewhere), '', 'or is run elsewhere');

done_testing();
