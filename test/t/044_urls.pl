# What URLs a webhook may have, as a tenant would try them, and that a secret in a URL stands in no log and no error.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Encode qw(encode_utf8);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash qw(query);

# The user's own statements are the user's to keep out of the log.
my $node = new_node(
	log_statement => 'none',
	log_min_messages => 'debug5',
	log_min_error_statement => 'panic',
	log_error_verbosity => 'verbose',
	'webhook.retry_schedule' => '200ms, 1h',
	'webhook.ca_file' => certificates_dir() . '/ca.crt');
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});

my $token = 't0k3nInTheQuery';
my $path_secret = 's3cr3tInThePath';

# --- what is refused ----------------------------------------------------------------------------------------------------

# What the server says to a webhook with that URL; empty if it takes it.
sub refusal
{
	my ($url) = @_;
	my ($stdout, $stderr) = ('', '');
	$node->psql('postgres', 'INSERT INTO webhook_configurations (name, url, events) VALUES (' . sql_literal($url) . ', '
		  . sql_literal($url) . ", '{item.created}')", stdout => \$stdout, stderr => \$stderr);
	return $stderr;
}

# Names and addresses that only normalisation would make of them; a parser that did would be of another opinion than one
# that does not.
my $not_ascii = qr/invalid URL: it contains a character that is not ASCII \(write the host as xn--…, the rest as %XX\)/;
my $backslash = qr/invalid URL: it contains a backslash/;
my $credentials = qr/invalid URL: it contains a user name or a password/;
my @refused = (
	[ 'a Unicode name', 'https://bücher.example/', $not_ascii ],
	[ 'a name of Cyrillic letters that look Latin', "https://\x{430}\x{440}\x{440}le.example/", $not_ascii ],
	[ 'full-width digits', "https://\x{ff11}\x{ff12}\x{ff17}.0.0.1/", $not_ascii ],
	[ 'enclosed digits', "https://\x{2460}\x{2461}\x{2466}.0.0.1/", $not_ascii ],
	[ 'ideographic full stops', "https://127\x{3002}0\x{3002}0\x{3002}1/", $not_ascii ],
	[ 'a full-width slash', "https://example.com\x{ff0f}.evil.example/", $not_ascii ],
	[ 'a soft hyphen', "https://local\x{ad}host/", $not_ascii ],
	[ 'a zero-width space', "https://local\x{200b}host/", $not_ascii ],
	[ 'a right-to-left override', "https://moc.elpmaxe\x{202e}.evil.example/", $not_ascii ],
	[ 'a percent-encoded Unicode name', 'https://b%C3%BCcher.example/', qr/invalid URL: its host contains a "%"/ ],
	[ 'a percent-encoded dot', 'https://127%2e0.0.1/', qr/invalid URL: its host contains a "%"/ ],
	[ 'a user and a password', "https://user:$token\@example.com/", $credentials ],
	[ 'a password alone', "https://:$token\@example.com/", $credentials ],
	[ 'a user alone', "https://$token\@example.com/", $credentials ],
	[ 'an empty user', "https://\@example.com/?$token", $credentials ],
	[ 'an empty user and password', "https://:\@example.com/?$token", $credentials ],
	[ 'a user that looks like a host', 'https://example.com:443@evil.example/', $credentials ],
	[ 'two users', 'https://example.com@evil.example@127.0.0.1/', $credentials ],
	[ 'a backslash before an at sign', 'https://example.com\\@evil.example/', $backslash ],
	[ 'a backslash in the host', 'https://example.com\\.evil.example/', $backslash ],
	[ 'a backslash that ends the host', 'https://example.com\\evil.example/', $backslash ],
	[ 'a backslash in the path', 'https://example.com/\\evil.example/', $backslash ],
	[ 'a fragment', "https://example.com/#$token", qr/invalid URL: it contains a fragment/ ]);
foreach my $refused (@refused)
{
	my ($name, $url, $reason) = @$refused;
	my $said = refusal(encode_utf8($url));
	like($said, qr/^(?:psql:.*)?ERROR:  .*@{[encode_utf8("$reason")]}/m, "refused: $name");
	unlike($said, qr/\Q$token\E/, 'without repeating it');
}
is(refusal('https://xn--bcher-kva.invalid/?taken'), '', 'a punycode name is taken');
query($node, q{DELETE FROM webhook_configurations});

# --- what stands in logs ------------------------------------------------------------------------------------------------

my $receiver = start_receiver();
my $hostile = start_receiver(program => 'hostile.mjs');
my $untrusted = start_receiver(tls => 1, certificate => 'untrusted');
my $gone = start_receiver();
$gone->kill;
my %error_of = (
	"https://xn--bcher-kva.invalid/$path_secret" => qr/^could not resolve host xn--bcher-kva\.invalid$/,
	"https://10.0.0.1/$path_secret" => qr/^address refused: private address/,
	$gone->url("/$path_secret") => qr/^connection refused by/,
	$untrusted->url("/body/$path_secret") => qr/^TLS: /,
	$receiver->url("/hang/body/$path_secret") => qr/^no response within/,
	$receiver->url("/close/body/$path_secret") => qr/^the connection was closed/,
	$receiver->url("/status/503/body/$path_secret") => qr/^HTTP status 503/,
	$receiver->url("/status/410/body/$path_secret") => qr/^HTTP status 410/,
	$receiver->url("/status/302/location/%2F$path_secret%3F$token") => qr/^HTTP status 302: redirects are not followed \(it leads to host 127\.0\.0\.1\)$/,
	map({ ($hostile->url("/$_/$path_secret") => qr/^(?:the response is not HTTP|a line of the response's headers is too long)/) }
		qw(no-http length-negative nul-in-header chunk-of-no-number endless-header-line)),
	$receiver->url("/ok?$path_secret") => qr/^$/);
my %webhook_of;
$webhook_of{$_} = create_webhook($node, organization_id => undef, name => 'webhook ' . keys(%webhook_of), url => $_ . (/\?/ ? '&' : '?') . "token=$token",
	events => ['item.created'], timeout_ms => 1000) foreach sort keys %error_of;
create_webhook($node, organization_id => undef, name => 'observer', url => $receiver->url('/ok?observer'), events => ['webhook.*']);
query($node, 'INSERT INTO items SELECT FROM generate_series(1, 6)');
foreach my $url (sort keys %error_of)
{
	my $rows = "FROM webhook_logs WHERE configuration_id = '$webhook_of{$url}'";
	wait_until { query($node, "SELECT count(*) $rows") > 0 } "an attempt at $url";
	like(query($node, "SELECT error $rows ORDER BY id LIMIT 1"), $error_of{$url}, "$url: an attempt ends");
}
my $failing = $webhook_of{ $receiver->url("/status/503/body/$path_secret") };
eventually { query($node, "SELECT circuit FROM webhook_stats WHERE configuration_id = '$failing'") eq 'open' } 'a circuit opens';
eventually { $receiver->count('/ok?observer') > 0 } 'a webhook is switched off, which is told';
# Its request has the URL, which who may test the webhook may read.
my $test = query($node, "SELECT status, error FROM webhook_test('$webhook_of{$untrusted->url(qq(/body/$path_secret))}')");
like($test, qr/TLS: /, 'webhook_test() says what fails');

# Under another policy what is stored is judged anew.
$node->append_conf('postgresql.conf', 'webhook.allow_http = off');
$node->reload;
eventually
{
	query($node, 'INSERT INTO items DEFAULT VALUES');
	query($node, q{SELECT count(*) FROM webhook_logs WHERE error LIKE 'invalid URL: %'}) > 0;
}
'a URL that was good is none any more';
$node->stop;
$node->start;

my $log = slurp_file($node->logfile);
like($log, qr/LOG: .*is switched off: HTTP status 410/, 'the log says which webhook is switched off');
my @leaks = grep { /\Q$token\E|\Q$path_secret\E/ } split /\n/, $log;
is(join("\n", splice(@leaks, 0, 5)), '', 'and of no URL a path or a query, at debug5');
is(query($node, "SELECT count(*) FROM webhook_logs WHERE error ~ '$token|$path_secret'"), 0, 'nor does webhook_logs.error');
is(query($node, "SELECT count(*) FROM webhook_deliveries WHERE last_error ~ '$token|$path_secret'"), 0, 'webhook_deliveries.last_error');
is(query($node, "SELECT count(*) FROM webhook_events WHERE event LIKE 'webhook.%' AND data::text ~ '$token|$path_secret'"), 0,
	'an operational event');
unlike($test, qr/\Q$token\E|\Q$path_secret\E/, 'or the error of webhook_test()');
$node->stop;

done_testing();
