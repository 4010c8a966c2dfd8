# A restore brings all webhooks back, whatever the settings of the new server and the form of the dump. What the settings
# refuse is not sent, and webhook_check() says so. Whoever enters a webhook still gets the error.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $receiver = start_receiver();
my $node = new_node('webhook.allowed_ports' => '1-65535', 'webhook.max_webhooks_per_organization' => 100);

my %urls = (
	'https' => 'https://example.com/',
	'http' => $receiver->url('/ok'),
	'port' => 'https://127.0.0.1:8443/',
	'inactive' => 'http://example.com:8080/');
$node->safe_psql('postgres', q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});
$node->safe_psql('postgres', "INSERT INTO webhook_configurations (name, url, events, is_active)
	VALUES ('$_', '$urls{$_}', '{item.created}', '$_' <> 'inactive')")
	foreach sort keys %urls;

my @forms = ([], ['--inserts'], [ '--column-inserts', '--rows-per-insert=2' ], ['--format=custom']);
my $path = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->run_log([ 'pg_dump', @{ $forms[$_] }, '-f', "$path.$_", '-d', $node->connstr('postgres') ]) or BAIL_OUT('pg_dump failed')
	foreach 0 .. $#forms;

$node->append_conf('postgresql.conf', join("\n", 'webhook.allow_http = off', "webhook.allowed_ports = '443'",
	"webhook.max_webhooks_per_organization = 1", "webhook.capture = 'off'", "datestyle = 'SQL, DMY'", ''));
$node->restart;

my $rows = q{SELECT name, url, is_active, active_since, disabled_at FROM webhook_configurations ORDER BY name};
my $expected = $node->safe_psql('postgres', $rows);
is(scalar(split /\n/, $expected), 4, 'the webhooks to restore');
foreach my $i (0 .. $#forms)
{
	my $name = join(' ', 'pg_dump', @{ $forms[$i] });
	my $database = "restored_$i";
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	my $target = $node->connstr($database);
	my @restore = $name =~ /custom/ ? ('pg_restore', '-d', $target, "$path.$i")
		: ('psql', '-Xqb', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $target, '-f', "$path.$i");
	ok($node->run_log(\@restore), "$name: can be restored");
	is($node->safe_psql($database, $rows), $expected, "$name: all webhooks are there");
}

my $check = sub {
	my ($name) = @_;
	return $node->safe_psql('restored_0', "SELECT c.severity, c.finding, c.hint FROM webhook_configurations w, webhook_check(w.id) c
		WHERE w.name = '$name' AND c.finding LIKE 'its URL%'");
};
is($check->('https'), '', 'webhook_check() has nothing against a URL that is allowed');
is($check->('http'), 'error|its URL is refused: its scheme must be https (http is for development: webhook.allow_http)|'
	. 'Correct the URL, or the setting that refuses it.', 'it tells of a scheme that is not');
is($check->('port'), 'error|its URL is refused: its port 8443 is not one that webhooks may be sent to (webhook.allowed_ports)|'
	. 'Correct the URL, or the setting that refuses it.', 'and of a port');

$node->append_conf('postgresql.conf', "webhook.capture = 'subscribed'");
$node->reload;
$node->poll_query_until('restored_0', q{SELECT current_setting('webhook.capture') = 'subscribed'}) or BAIL_OUT('no reload');
$node->safe_psql('restored_0', q{DELETE FROM webhook_configurations WHERE name NOT IN ('http', 'port')});
wait_until { $node->safe_psql('restored_0', 'SELECT is_paused FROM webhook_instance') eq 't' } 'the restored copy is paused';
$node->safe_psql('restored_0', 'SELECT webhook_resume()');
$node->safe_psql('restored_0', 'INSERT INTO items VALUES (1)');
eventually { $node->safe_psql('restored_0', q{SELECT count(DISTINCT configuration_id) FROM webhook_logs WHERE status = 'failed'
	AND error ~ 'webhook.allow'}) == 2 } 'what the settings refuse is not sent, and the log says why';
is($receiver->count, 0, 'no request was made');

foreach my $url (@urls{ 'http', 'port' })
{
	my ($status, undef, $stderr) = $node->psql('restored_0',
		"INSERT INTO webhook_configurations (name, url, events) VALUES ('form', '$url', '{*}')");
	like($stderr, qr/invalid URL: its (?:scheme|port)/, "$url: who enters it gets the error");
	($status, undef, $stderr) = $node->psql('restored_0',
		"UPDATE webhook_configurations SET url = '$url?x' WHERE name = 'http'");
	like($stderr, qr/invalid URL: its (?:scheme|port)/, 'and who changes it');
}
my (undef, undef, $stderr) = $node->psql('restored_0',
	q{INSERT INTO webhook_configurations (name, url, events, active_since) VALUES ('form', 'https://user@example.com/', '{*}', now())});
like($stderr, qr/invalid URL: it contains a user name/, 'what no setting allows is never stored');

is_log_clean($node, expected => [ qr{deliveries are paused}, qr{invalid URL: } ]);
$node->stop;
done_testing();
