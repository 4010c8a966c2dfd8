# What requests are sent over, and what they never take up: TLS of today alone, no cookies, no passwords of the server's
# user, no proxy of its environment, no other address that a receiver names, no decompression; and webhook.proxy.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IO::Compress::Gzip qw(gzip $GzipError);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash qw(query);

my $plain = start_receiver();
my $secure = start_receiver(tls => 1);
my $other = start_receiver(tls => 1);
my $untrusted = start_receiver(tls => 1, certificate => 'untrusted');
my $environment_proxy = start_receiver(program => 'proxy.mjs');
my $proxy = start_receiver(program => 'proxy.mjs');

# --- the environment of the server ------------------------------------------------------------------------------------

my $home = PostgreSQL::Test::Utils::tempdir();
append_to_file("$home/.netrc", "machine 127.0.0.1 login netrc-user password netrc-password\ndefault login netrc-user password netrc-password\n");
append_to_file("$home/openssl.cnf", <<'END');
openssl_conf = settings
[settings]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
MinProtocol = TLSv1
CipherString = DEFAULT:@SECLEVEL=0
END
chmod 0600, "$home/.netrc";

my $node;
{
	local %ENV = (
		%ENV,
		HOME => $home, NETRC => "$home/.netrc",
		OPENSSL_CONF => "$home/openssl.cnf",
		map({ ($_ => $environment_proxy->url('')) } qw(http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY)));
	$node = new_node('webhook.ca_file' => certificates_dir() . '/ca.crt', 'webhook.retry_schedule' => '1h');
}
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
});

my $delivery_count = 0;

# What becomes of one delivery to that URL: { status, response_status, response_body, error, remote_ip }
sub delivered
{
	my ($url, %columns) = @_;
	my $organization = 'delivery ' . ++$delivery_count;
	my $webhook = create_webhook($node, organization_id => $organization, url => $url, events => ['item.created'], %columns);
	return next_of($webhook, 1);
}

# The same of the nth event of a webhook.
sub next_of
{
	my ($webhook, $nth) = @_;
	query($node, "INSERT INTO items (organization_id) SELECT organization_id FROM webhook_configurations WHERE id = '$webhook'");
	my $rows = "FROM webhook_logs WHERE configuration_id = '$webhook'";
	wait_until { query($node, "SELECT count(*) $rows") == $nth } "attempt $nth of webhook $webhook";
	my %outcome;
	$outcome{$_} = query($node, "SELECT $_ $rows ORDER BY id DESC LIMIT 1")
	  foreach qw(status response_status response_body error remote_ip);
	return \%outcome;
}

# Of bytes.
sub percent_encoded { my ($text) = @_; return join('', map { sprintf('%%%02X', ord) } split //, $text); }

sub set
{
	my ($name, $value) = @_;
	$node->append_conf('postgresql.conf', "$name = '$value'");
	$node->reload;
	eventually { query($node, "SHOW $name") eq $value } "$name is '$value'";
	return;
}

sub is_success
{
	my ($outcome, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is("$outcome->{status} $outcome->{response_status} $outcome->{error}", 'success 200 ', $name);
}

# --- TLS --------------------------------------------------------------------------------------------------------------

# The server's OpenSSL would speak them all: it is webhook that does not.
foreach my $version (qw(TLSv1 TLSv1.1 TLSv1.2 TLSv1.3))
{
	my $receiver = start_receiver(tls => 1, tls_version => $version);
	my $outcome = delivered($receiver->url('/ok'));
	if ($version =~ /^TLSv1(?:\.1)?$/)
	{
		like("$outcome->{status} $outcome->{error}",
			qr/^failed TLS: the receiver speaks no TLS of version 1\.2 or newer \(/, "$version is refused, in words");
		is($receiver->count, 0, 'and nothing sent by it');
	}
	else
	{
		is_success($outcome, "$version is spoken");
		is(($receiver->received)[0]{tls}, $version, 'with a receiver that has no other');
	}
}

my $mistaken = delivered("https://127.0.0.1:$plain->{port}/ok");
like("$mistaken->{status} $mistaken->{error}", qr/^failed TLS: the receiver does not speak TLS \(/, 'a receiver without any is told apart');

# --- what the server's user and environment have ----------------------------------------------------------------------

foreach my $receiver ($plain, $secure)
{
	my $url = $receiver->url('/ok?environment');
	is_success(delivered($url), "$url is reached without the proxies of the environment");
	my ($request) = $receiver->received('/ok?environment');
	is($request->{headers}{authorization}, undef, 'no password of ~/.netrc is sent');
}
is($environment_proxy->count, 0, 'the proxy of the environment has seen nothing');

# --- what a receiver asks for -----------------------------------------------------------------------------------------

my %taken_up = (
	'Set-Cookie' => 'session=1; Path=/; Secure',
	'Alt-Svc' => qq(h1=":$other->{port}"; ma=3600, http/1.1=":$other->{port}"; ma=3600));
foreach my $path (map { "/header/$_/" . percent_encoded($taken_up{$_}) } sort keys %taken_up)
{
	my ($name) = $path =~ m{^/header/([^/]+)};
	my $webhook = create_webhook($node, organization_id => $name, url => $secure->url("$path?$name"), events => ['item.created']);
	is_success(next_of($webhook, $_), "$name: delivery $_") foreach 1 .. 3;
	my @requests = $secure->received("$path?$name");
	is(scalar @requests, 3, 'all to the same receiver');
	is(scalar(grep { exists $_->{headers}{cookie} } @requests), 0, 'none with a cookie');
}
is($other->count, 0, 'and none to the one that Alt-Svc named');

foreach my $status (301, 302, 303, 307, 308)
{
	my $target = percent_encoded($plain->url('/ok?redirected'));
	my $outcome = delivered($plain->url("/status/$status/location/$target"));
	is("$outcome->{status} $outcome->{error}",
		"failed HTTP status $status: redirects are not followed (it leads to host 127.0.0.1)", "$status is a failure");
}
my $outcome = delivered($plain->url('/status/401/header/WWW-Authenticate/Basic%20realm=x'));
is("$outcome->{status} $outcome->{error}", 'failed HTTP status 401', 'a request for a password is one, too');
is($plain->count('/ok?redirected'), 0, 'nothing was sent to where they led');

# --- decompression ----------------------------------------------------------------------------------------------------

my $text = 'inflated ' x 1000;
gzip(\$text => \my $compressed) or die $GzipError;
my $path = '/header/Content-Encoding/gzip/body/' . percent_encoded($compressed);
$outcome = delivered($plain->url($path));
is_success($outcome, 'a compressed body is taken');
like($outcome->{response_body}, qr/^\(compressed by gzip, which was not asked for\) /, 'and said to be one');
unlike($outcome->{response_body}, qr/inflated inflated/, 'and not inflated');
cmp_ok(length $outcome->{response_body}, '>', 10, 'but stored as it came');
is(($plain->received($path))[0]{headers}{'accept-encoding'}, undef, 'and nobody had asked for one');

# --- webhook.proxy ----------------------------------------------------------------------------------------------------

set('webhook.proxy', $proxy->url(''));
is_success($outcome = delivered($secure->url('/ok?proxied'), headers => '{"X-Mine": "mine"}', secret => 'a secret in plain text'),
	'HTTPS is delivered through webhook.proxy');
is($outcome->{remote_ip}, '', 'whose address is not logged');
my ($tunnel) = $proxy->received;
is("$tunnel->{method} $tunnel->{path}", "CONNECT 127.0.0.1:$secure->{port}", 'by CONNECT');
is(join(' ', sort keys %{ $tunnel->{headers} }), 'host proxy-connection user-agent', 'with no header of the request');
my ($request) = $secure->received('/ok?proxied');
is($request->{headers}{'x-mine'}, 'mine', 'which the receiver gets');
like($request->{headers}{'x-webhook-signature'}, qr/^sha256=\w+$/, 'and the signature');

is_success(delivered($plain->url('/ok?proxied')), 'so is HTTP');
is(scalar(grep { $_->{method} eq 'POST' } $proxy->received), 1, 'by a request for the whole URL');
is($environment_proxy->count, 0, 'the proxy of the environment has seen nothing still');

$outcome = delivered($untrusted->url('/ok'));
like("$outcome->{status} $outcome->{error}", qr/^failed TLS: .*certificate/, 'certificates are verified through the proxy');
is($untrusted->count, 0, 'and nothing sent to a receiver without a good one');

$outcome = delivered('https://closed.example/');
is("$outcome->{status} $outcome->{error}",
	'failed the proxy did not connect to the host: it closed the connection, or did not answer in HTTP',
	'a proxy that closes on CONNECT is named');
$outcome = delivered('https://silent.example/', timeout_ms => 300);
is("$outcome->{status} $outcome->{error}", 'failed the proxy has not connected to the host within 300 ms',
	'and so is one that does not answer it');

my $reachable = create_webhook($node, organization_id => 'ports', url => $secure->url('/ok?port'), events => ['item.created']);
is_success(next_of($reachable, 1), 'a port is allowed');
my $asked = $proxy->count;
set('webhook.allowed_ports', '1-1000');
$outcome = next_of($reachable, 2);
is("$outcome->{status} $outcome->{error}",
	"failed invalid URL: its port $secure->{port} is not one that webhooks may be sent to (webhook.allowed_ports)",
	'when it is none any more, no proxy helps');
is($proxy->count, $asked, 'nor is it asked');

is_log_clean($node);
$node->stop;

done_testing();
