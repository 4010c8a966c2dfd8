# Receivers that answer anything but a response, and without an end: each attempt is logged for what it was, the worker
# stays small, and a healthy webhook gets every one of its events meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use HTTP::Tiny;
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash qw(query received_rows tally);

my $rounds = 4;    # a circuit opens after five failures
my $timeout_ms = 4000;
my $grew_max_kb = 20 * 1024;
my $sent_min_bytes = 300_000_000;

my $healthy = start_receiver();
my $hostile = start_receiver(program => 'hostile.mjs');
my $hostile_tls = start_receiver(program => 'hostile.mjs', tls => 1);
my $node = new_node('webhook.retry_schedule' => '1h', 'webhook.ca_file' => certificates_dir() . '/ca.crt');
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	CREATE TABLE pings (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	SELECT webhook_watch('pings', 'ping.created', organization_column => NULL);
});

# --- what comes, and all that the log says of it ----------------------------------------------------------------------

my $late = "failed 200 no complete response within $timeout_ms ms";
my $no_answer = "failed no response within $timeout_ms ms";
my $oversized = q{the response's headers are longer than 65536 bytes};
my $line = q{a line of the response's headers is too long};
my $no_http = 'the response is not HTTP:';
my $no_length = "$no_http its Content-Length is not a length";
my $cut_short = 'failed 200 the connection was closed within the response';

# Where only the status is of use, it is what counts, however the body is framed.
my %said_of = (
	# without an end
	'endless-body' => 'success 200',
	'endless-chunks' => 'success 200',
	'endless-chunk-extension' => $late,
	'endless-trailers' => "failed 200 $oversized",
	'endless-headers' => "failed 200 $oversized",
	'endless-header-line' => "failed 200 $line",
	'endless-status-line' => "failed $line",
	'endless-1xx' => "failed $oversized",
	# slow
	'byte-a-second' => $late,
	'byte-a-second-of-headers' => $no_answer,
	'byte-a-second-of-1xx' => $no_answer,
	# compressed
	'bomb' => 'success 200',
	'bomb-of-bombs' => 'success 200',
	'bomb-in-transfer' => 'success 200',
	# bytes
	'nul' => 'success 200',
	'nul-in-header' => "failed 200 $no_http a header contains a NUL",
	'raw-bytes-in-header' => 'failed 503 HTTP status 503',
	'headers-of-all-kinds' => 'failed 500 HTTP status 500',
	# Newer versions of libcurl refuse it.
	'return-in-header' => qr/^failed 500 (?:HTTP status 500|\Q$no_http\E a header is malformed)$/,
	# lengths
	'length-too-long' => $cut_short,
	'length-too-short' => 'success 200',
	'length-negative' => "failed 200 $no_length",
	'length-beyond-numbers' => 'success 200',
	'length-twice' => "failed 200 $no_length",
	'length-and-chunks' => 'success 200',
	'chunk-of-no-number' => "failed 200 $no_http its chunks are broken",
	'chunk-beyond-numbers' => "failed 200 $no_http its chunks are broken",
	# no response
	'no-http' => "failed $no_http it does not begin with a status line",
	'close-before-response' => 'failed the connection was closed before a response came',
	'close-in-headers' => $cut_short,
	'reset' => 'failed the connection was reset before a response came');
my %said_of_tls = (
	'renegotiate-once' => 'success 200',
	'renegotiate-forever' => $no_answer);
my %said_of_certificate = (
	'expired' => 'failed TLS: certificate has expired',
	'wrong-host' => 'failed TLS: the certificate has another name than 127.0.0.1',
	'untrusted' => 'failed TLS: unable to get local issuer certificate',
	'self-signed' => 'failed TLS: self-signed certificate');

my %expected;

sub hostile_webhook
{
	my ($receiver, $manner, $said) = @_;
	create_webhook($node, organization_id => undef, name => $manner, url => $receiver->url("/$manner"),
		events => ['item.created'], timeout_ms => $timeout_ms);
	$expected{$manner} = ref $said ? $said : qr/^\Q$said\E$/;
	return;
}

hostile_webhook($hostile, $_, $said_of{$_}) foreach keys %said_of;
hostile_webhook($hostile_tls, $_, $said_of_tls{$_}) foreach keys %said_of_tls;
my %with_certificate = map { $_ => start_receiver(tls => 1, certificate => $_) } keys %said_of_certificate;
hostile_webhook($with_certificate{$_}, $_, $said_of_certificate{$_}) foreach keys %said_of_certificate;

# --- the worker, and others' webhooks ---------------------------------------------------------------------------------

my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook worker'};

sub memory_kb
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m or die "no RssAnon of $pid";
	return $kb;
}

sub sent_bytes
{
	my $bytes = 0;
	foreach my $receiver ($hostile, $hostile_tls)
	{
		my $response = HTTP::Tiny->new(timeout => default_timeout_s())->get("http://127.0.0.1:$receiver->{control_port}/sent");
		$bytes += decode_json($response->{content})->{bytes};
	}
	return $bytes;
}

create_webhook($node, organization_id => undef, name => 'healthy', url => $healthy->url('/ok'), events => ['ping.created']);
my $ping = 0;

# Twenty events of the healthy webhook, which arrive.
sub pings_arrive
{
	my ($name) = @_;
	my $first = $ping + 1;
	$ping += 20;
	query($node, "INSERT INTO pings SELECT generate_series($first, $ping)");
	return wait_until { keys %{ tally(map { $_->[1] } received_rows($healthy)) } == $ping } $name;
}

pings_arrive('before') foreach 1 .. 5;
my $pid = query($node, $worker);
my $before_kb = memory_kb($pid);
my $most_kb = $before_kb;
my $attempts = q{FROM webhook_logs WHERE event = 'item.created'};
my $wanted = $rounds * keys %expected;
my $rounds_of_pings = 0;
foreach my $round (1 .. $rounds)
{
	query($node, "INSERT INTO items VALUES ($round)");
	my $deadline = time() + default_timeout_s();
	do
	{
		++$rounds_of_pings;
		pings_arrive("pings in round $round") or BAIL_OUT('the healthy webhook does not receive');
		my $kb = memory_kb($pid);
		$most_kb = $kb if $kb > $most_kb;
	} until query($node, "SELECT count(*) $attempts") >= $round * keys %expected || time() > $deadline;
}

is(query($node, "SELECT count(*) $attempts"), $wanted, "all of $wanted attempts have ended");
my $said = query($node, q{
	SELECT DISTINCT c.name || ':' || concat_ws(' ', l.status, l.response_status, l.error)
	FROM webhook_configurations c JOIN webhook_logs l ON l.configuration_id = c.id WHERE l.event = 'item.created'});
my %said;
push @{ $said{$_->[0]} }, $_->[1] foreach map { [ split /:/, $_, 2 ] } split /\n/, $said;
foreach my $manner (sort keys %expected)
{
	is(scalar @{ $said{$manner} }, 1, "$manner: its attempts end alike") or diag(join("\n", @{ $said{$manner} }));
	like($said{$manner}[0], $expected{$manner}, 'and the log says how');
}

# --- what is kept -----------------------------------------------------------------------------------------------------

sub bodies
{
	my ($manner, $column) = @_;
	return query($node, "SELECT DISTINCT $column FROM webhook_logs l JOIN webhook_configurations c ON c.id = l.configuration_id
		WHERE c.name = '$manner'");
}

is(bodies($_, 'length(response_body)'), 4096, "$_: 4 kB are kept") foreach qw(endless-body endless-chunks);
is(bodies($_, q{octet_length(response_body) <= 4096 AND response_body !~ 'xxx' AND strpos(response_body, U&'\\FFFD') > 0}), 't',
	"$_: what came is kept, not what it inflates to") foreach qw(bomb bomb-of-bombs);
is(bodies($_, q{substring(response_body FROM '^\(compressed by .*, which was not asked for\)') IS NOT NULL}), 't', "$_: it is said that it came compressed")
  foreach qw(bomb bomb-of-bombs bomb-in-transfer);
is(bodies('nul', 'response_body'), "a\x{ef}\x{bf}\x{bd}b\x{ef}\x{bf}\x{bd}\x{ef}\x{bf}\x{bd}(c", 'bytes that are no text become U+FFFD');
my $headers = bodies('headers-of-all-kinds', 'response_headers');
my $bad = "\x{ef}\x{bf}\x{bd}";    # U+FFFD
like($headers, qr/^Content-Length: 2\nsET-cookie: \*\*\*\nSet-Cookie2: \*\*\*\nX-Raw/, 'of a cookie the name is kept, and 1xx responses are left out');
unlike($headers, qr/confidential|X-Early/, 'and not its value');
like($headers, qr/^X-Raw: $bad$bad$bad\[2J$/m, 'bytes and controls that are no text become U+FFFD');
like(bodies('return-in-header', 'response_headers'), qr/^Content-Length: 2(?:\nX-Return: a${bad}Set-Cookie: b\nX-After: a)?$/,
	'a carriage return does not begin another header');
like($headers, qr/^X-Long: l{248}\.\.\.\nX-0: $bad$/m, 'a long header leaves room for others');
is(query($node, 'SELECT max(octet_length(response_headers)) BETWEEN 1000 AND 1024 FROM webhook_logs'), 't', '1 kB is kept');
is(query($node, q{SELECT count(*) FROM webhook_logs WHERE status = 'success' AND response_headers IS NOT NULL}), 0, 'of a success nothing');
is(query($node, q{SELECT count(*) FROM webhook_logs WHERE response_status IS NULL AND response_headers IS NOT NULL}), 0, 'nor without a response');
is(bodies('length-too-short', 'response_body'), 'ok', 'what follows a body does not answer the next request');
foreach my $certificate (sort keys %with_certificate)
{
	is($with_certificate{$certificate}->count, 0, "$certificate: nothing is sent to who has that certificate");
}

# --- what it cost -----------------------------------------------------------------------------------------------------

cmp_ok(sent_bytes(), '>', $sent_min_bytes, 'hundreds of megabytes were sent at the worker');
is(query($node, $worker), $pid, 'which is the one it was');
cmp_ok($most_kb - $before_kb, '<', $grew_max_kb, "and has not grown, from $before_kb kB to $most_kb kB");
is($healthy->count, $ping, "the healthy webhook was sent all of its $ping events, once each");
eventually { query($node, q{SELECT count(*) FROM webhook_logs WHERE event = 'ping.created' AND status = 'success'}) == $ping }
'and the log has them';
note("$rounds_of_pings rounds of pings, ", sent_bytes(), ' bytes');

is_log_clean($node);
$node->stop;

done_testing();
