# webhook-console: who gets in, as which role and organization a call runs, and what bad clients and a database that comes
# and goes do to it. dev/test builds it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Digest::SHA qw(hmac_sha256);
use IO::Socket::INET;
use IO::Socket::UNIX;
use IO::Uncompress::Gunzip qw(gunzip $GunzipError);
use IPC::Run ();
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Session;

my $program = $ENV{WEBHOOK_CONSOLE};
plan skip_all => 'dev/test names the program in WEBHOOK_CONSOLE' unless $program;

my $json = JSON::PP->new->canonical->allow_nonref;
my $node = new_node(max_connections => 30);
my $dir = PostgreSQL::Test::Utils::tempdir();

# Two tenants' webhooks and two roles. In the database standin, functions of the same names answer with what the test asks
# for: who calls, and errors of each kind.
create_webhook($node, organization_id => $_, name => "of $_", url => "https://$_.example/", events => ['contact.created'])
	foreach 'acme', 'globex';
$node->safe_psql('postgres', q{
	CREATE ROLE crm_admin; CREATE ROLE crm_reader; CREATE ROLE outsider;
	SELECT webhook_grant('crm_admin', 'manage'); SELECT webhook_grant('crm_reader', 'read');
	CREATE DATABASE standin; CREATE DATABASE without});
$node->safe_psql('standin', q{
	CREATE SCHEMA webhook_api;
	GRANT USAGE ON SCHEMA webhook_api TO public;
	CREATE TABLE webhook_api.calls (what text);
	GRANT INSERT ON webhook_api.calls TO public;
	CREATE FUNCTION webhook_api.session() RETURNS json LANGUAGE sql AS $$
		SELECT json_build_object('user', current_user, 'claims', current_setting('request.jwt.claims', true),
			'organization', current_setting('webhook.organization_id', true),
			'timeout', current_setting('statement_timeout'), 'pid', pg_backend_pid()) $$;
	CREATE FUNCTION webhook_api.find(webhook_id text DEFAULT NULL, key text DEFAULT NULL) RETURNS json LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION '%', key USING ERRCODE = webhook_id, DETAIL = 'a detail', HINT = 'a hint';
	END $$;
	CREATE FUNCTION webhook_api.check(organization text DEFAULT NULL) RETURNS json LANGUAGE sql AS $$
		SELECT to_json(repeat('x', organization::int)) $$;
	CREATE FUNCTION webhook_api.explain(event_id bigint) RETURNS json LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(60);
		RETURN 'null';
	END $$;
	CREATE FUNCTION webhook_api.watches() RETURNS json LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_xact_lock_shared(1);
		RETURN 'null';
	END $$;
	CREATE FUNCTION webhook_api.pause(reason text DEFAULT NULL) RETURNS json LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO webhook_api.calls VALUES (reason);
		IF reason = 'sleep' THEN PERFORM pg_sleep(60); END IF;
		RETURN to_json(reason);
	END $$;
	CREATE FUNCTION webhook_api.resume() RETURNS json LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO webhook_api.calls VALUES ('not to be kept');
		RAISE EXCEPTION 'after the insert' USING ERRCODE = 'PT409';
	END $$});

# --- the program, and a client that sends what it is told ---

# start_console(@options): { port, link, stdout, stderr, … }. What a test starts ends with it.
my @started;

sub start_console
{
	my @options = @_;
	my %console = (stdout => '', stderr => '', path => '');
	my $base = '';
	for my $i (0 .. $#options - 1)
	{
		$base = $options[ $i + 1 ] if $options[$i] eq '--base-path';
		$console{path} = substr($options[ $i + 1 ], 5) if $options[$i] eq '--listen' && $options[ $i + 1 ] =~ /^unix:/;
	}
	my @listen = $console{path} ? () : ('--listen', '127.0.0.1:0');
	my @command = ($program, $node->connstr('postgres'), '--database', 'standin=' . $node->connstr('standin'),
		'--database', 'without=' . $node->connstr('without'), @listen, @options);
	my $stdin = '';
	$console{run} = IPC::Run::start(\@command, '<', \$stdin, '>', \$console{stdout}, '2>', \$console{stderr});
	push @started, \%console;
	wait_until { $console{run}->pump_nb; $console{stdout} =~ /listens on .*\n/ || !$console{run}->pumpable } 'it listens';
	($console{port}) = $console{stdout} =~ m{listens on https?://127\.0\.0\.1:(\d+)};
	$console{base} = $base;
	$console{host} = $console{port} ? "127.0.0.1:$console{port}" : 'localhost';
	return \%console;
}

sub stop_console
{
	my ($console) = @_;
	kill 'TERM', map { $_->{PID} } @{ $console->{run}{KIDS} };
	wait_until { $console->{run}->pump_nb; !$console->{run}->pumpable } 'it ends';
	$console->{run}->finish;
	return;
}

END { my $status = $?; $_->{run}->kill_kill foreach grep { $_->{run}->pumpable } @started; $? = $status; }

sub code_of
{
	my ($console) = @_;
	wait_until { $console->{run}->pump_nb; $console->{stdout} =~ /#code=[\w-]+\n\z/ } 'it prints a link';
	return $console->{stdout} =~ /#code=([\w-]+)\n\z/ ? $1 : '';
}

sub connect_to
{
	my ($console) = @_;
	my $socket = $console->{path}
	  ? IO::Socket::UNIX->new(Peer => $console->{path})
	  : IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console->{port});
	die "cannot connect: $!" unless $socket;
	return $socket;
}

# Everything until the other side closes, or a whole response.
sub read_response
{
	my ($socket) = @_;
	my $text = '';
	while (1)
	{
		last if $text =~ /\r\n\r\n/ && $text =~ /^Content-Length: (\d+)\r\n/mi && length($') >= 0
		  && length(substr($text, index($text, "\r\n\r\n") + 4)) >= $1;
		my $ready = '';
		vec($ready, fileno($socket), 1) = 1;
		select($ready, undef, undef, default_timeout_s()) or last;
		last unless sysread($socket, my $more, 65536);
		$text .= $more;
	}
	my ($head, $body) = split /\r\n\r\n/, $text, 2;
	my ($status) = ($head // '') =~ m{^HTTP/1\.1 (\d+)};
	my %response = (status => $status // 0, head => $head // '', body => $body // '');
	$response{json} = eval { $json->decode($response{body}) };
	return \%response;
}

sub send_raw
{
	my ($console, $text) = @_;
	my $socket = connect_to($console);
	local $SIG{PIPE} = 'IGNORE';
	syswrite($socket, $text);
	return read_response($socket);
}

# request($console, $method, $path, headers => {…}, body => …): a header that is undef is left out, a list is repeated.
sub request
{
	my ($console, $method, $path, %given) = @_;
	my %headers = (Host => $console->{host}, Connection => 'close', %{ $given{headers} // {} });
	$headers{'Content-Length'} //= length($given{body}) if defined $given{body};
	my $text = "$method $path HTTP/1.1\r\n";
	foreach my $name (sort keys %headers)
	{
		$text .= "$name: $_\r\n" foreach grep { defined } ref $headers{$name} ? @{ $headers{$name} } : $headers{$name};
	}
	return send_raw($console, "$text\r\n" . ($given{body} // ''));
}

# As the page calls, signed in by $console->{cookie} or given headers.
sub call
{
	my ($console, $function, $arguments, %headers) = @_;
	return request($console, 'POST', "$console->{base}/$function", body => ref $arguments ? $json->encode($arguments) : $arguments,
		headers => { Origin => "http://$console->{host}", 'Content-Type' => 'application/json', Cookie => $console->{cookie}, %headers });
}

sub sign_in
{
	my ($console) = @_;
	my $response = call($console, 'session', { code => code_of($console) });
	($console->{cookie}) = $response->{head} =~ /^Set-Cookie: ([^;]+)/m;
	return $response;
}

# --- the operator's sign-in ---

my $console = start_console();
my $code = code_of($console);
is(call($console, 'rpc/session', {})->{status}, 401, 'nobody is signed in at first');
is(request($console, 'GET', '/config')->{json}{sign_in}, 'code', 'the page is told how to sign in');
is(call($console, 'session', { code => $_ })->{status}, 401, 'a wrong code is refused') foreach '', 'x' x 43, substr($code, 1);
my $signed_in = sign_in($console);
is($signed_in->{status}, 200, 'the code of the link signs in');
like($signed_in->{head}, qr/^Set-Cookie: \w+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+\r?$/m, 'by a cookie');
unlike($signed_in->{body}, qr/\Q@{[ ($console->{cookie} =~ m{=(.*)}) ]}\E/, 'that no script sees');
is(call($console, 'session', { code => $code })->{status}, 401, 'a code works once');
is(call($console, 'standin/rpc/session', {})->{status}, 200, 'who is signed in may call');
my $first_cookie = $console->{cookie};
kill 'USR1', map { $_->{PID} } @{ $console->{run}{KIDS} };
wait_until { $console->{run}->pump_nb; code_of($console) ne $code } 'a second link';
is(sign_in($console)->{status}, 200, 'SIGUSR1 prints another link');
is(request($console, 'DELETE', '/session', headers => { Origin => "http://$console->{host}", Cookie => $first_cookie })->{status}, 200, 'one signs out');
is(call($console, 'standin/rpc/session', {}, Cookie => $first_cookie)->{status}, 401, 'and is out');
is(call($console, 'standin/rpc/session', {})->{status}, 200, 'the other session goes on');

# --- where calls come from ---

my %refused = (
	'another host' => [ { Host => 'evil.example' }, 421 ],
	'another host that ends like ours' => [ { Host => "evil.example:$console->{port}" }, 421 ],
	'no host' => [ { Host => undef }, 421 ],
	'two hosts' => [ { Host => [ $console->{host}, 'evil.example' ] }, 421 ],
	'another origin' => [ { Origin => 'http://evil.example' }, 403 ],
	'a sandbox' => [ { Origin => 'null' }, 403 ],
	'another port of the same machine' => [ { Origin => 'http://127.0.0.1:1' }, 403 ],
	'no origin' => [ { Origin => undef }, 403 ],
	'a site that is only nearly the same' => [ { 'Sec-Fetch-Site' => 'same-site' }, 403 ],
	'a form' => [ { 'Content-Type' => 'text/plain' }, 415 ],
	'no type' => [ { 'Content-Type' => undef }, 415 ],
	'a bearer token where none signs in' => [ { Cookie => undef, Origin => undef, Authorization => 'Bearer x' }, 403 ]);
foreach my $what (sort keys %refused)
{
	my ($headers, $status) = @{ $refused{$what} };
	is(call($console, 'standin/rpc/pause', { reason => $what }, %$headers)->{status}, $status, "a call is refused from: $what");
}
is($node->safe_psql('standin', 'SELECT count(*) FROM webhook_api.calls'), 0, 'none of them reached the database');
is(request($console, 'GET', '/standin/rpc/session', headers => { Cookie => $console->{cookie} })->{status}, 405, 'nothing is called by GET');
is(call($console, 'standin/rpc/session?token=x', {})->{status}, 400, 'nor with a query');
unlike(request($console, 'OPTIONS', '/rpc/session', headers => { Origin => 'http://evil.example' })->{head}, qr/Access-Control/i, 'other sites are told nothing');

# --- the page's files ---

my $page = request($console, 'GET', '/');
is($page->{status}, 200, 'the page is there');
like($page->{head}, qr{^Content-Type: text/html; charset=utf-8\r?$}m, 'with its type');
like($page->{head}, qr/^Content-Security-Policy: default-src 'none'; .*require-trusted-types-for 'script'; .*frame-ancestors 'none'\r?$/m, 'under a strict policy');
like($page->{head}, qr/^$_\r?$/m, "with $_")
	foreach 'X-Content-Type-Options: nosniff', 'Referrer-Policy: no-referrer', 'X-Frame-Options: DENY', 'Cache-Control: no-cache';
my ($tag) = $page->{head} =~ /^ETag: (\S+)/m;
is(request($console, 'GET', '/', headers => { 'If-None-Match' => $tag })->{status}, 304, 'and is not sent twice');
unlike($page->{head}, qr/^Content-Encoding:/m, 'it is sent as it is to a client that takes no coding');
my $packed = request($console, 'GET', '/', headers => { 'Accept-Encoding' => 'br, gzip' });
like($packed->{head}, qr/^Content-Encoding: gzip\r?$/m, 'by gzip to one that takes it');
like($_->{head}, qr/^Vary: Accept-Encoding\r?$/m, 'as caches are told') foreach $page, $packed;
gunzip(\$packed->{body}, \my $unpacked) or BAIL_OUT($GunzipError);
is($unpacked, $page->{body}, 'with the same content');
my ($packed_tag) = $packed->{head} =~ /^ETag: (\S+)/m;
isnt($packed_tag, $tag, 'under a tag of its own');
is(request($console, 'GET', '/', headers => { 'Accept-Encoding' => 'gzip', 'If-None-Match' => $packed_tag })->{status},
	304, 'that is known again');
is(request($console, 'HEAD', '/')->{body}, '', 'HEAD has no body');
is(request($console, 'GET', '/standin')->{status}, 308, 'each database has a page');
is(request($console, 'GET', '/standin/')->{body}, $page->{body}, 'of its own');
is(request($console, 'GET', $_)->{status}, 404, "there is no $_")
	foreach '/../../etc/passwd', '/vendor/../../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/..%2fetc/passwd', '//etc/passwd', '/vendor', '/vendor/', '/.git/config';
is(send_raw($console, "GET http://evil.example/ HTTP/1.1\r\nHost: $console->{host}\r\nConnection: close\r\n\r\n")->{status}, 404, 'it is no proxy');

mkdir "$dir/page"; append_to_file("$dir/page/index.html", 'a page'); append_to_file("$dir/secret.js", 'secret');
symlink "$dir/secret.js", "$dir/page/link.js";
my $folder = start_console('--page', "$dir/page");
is(request($folder, 'GET', '/')->{body}, 'a page', 'a folder takes the place of the built-in files');
is(request($folder, 'GET', $_)->{status}, 404, "$_ is not in the folder") foreach '/link.js', '/../secret.js', '/webhook-settings.js';
stop_console($folder);

# --- calls ---

sub stood { my ($function, @rest) = @_; return call($console, "standin/rpc/$function", @rest); }

is(stood('drop_all', {})->{status}, 404, 'a function that is not in the API does not exist');
is(stood('session', { role => 'postgres' })->{status}, 400, 'an unknown argument is refused');
is(stood('explain', '{"event_id": 1, "event_id": 2}')->{status}, 400, 'an argument that comes twice is refused');
is(stood('explain', $_)->{status}, 400, "no arguments: $_") foreach '[]', '{', '{}', '{"event_id": "x"}', '{"event_id": 99999999999999999999}';
is(stood('pause', { reason => "'; DROP TABLE webhook_api.calls; --" })->{json}, "'; DROP TABLE webhook_api.calls; --", 'a value is no SQL');
is(stood('resume', {})->{status}, 409, 'a function that fails');
is($node->safe_psql('standin', 'SELECT count(*) FROM webhook_api.calls'), 1, 'leaves nothing behind');
is(stood('check', { organization => '17000000' })->{status}, 500, 'an answer of 17 MB is refused');
is(length(stood('check', { organization => '1000000' })->{json}), 1_000_000, 'one of 1 MB is not');
is(stood('session', '')->{json}{timeout}, '15s', 'a call has a time limit');

my %statuses = qw(08006 503 09000 500 0L000 403 0P000 403 22023 400 22P02 400 23502 400 23503 409 23505 409 23514 400
  25006 405 28000 403 2D000 500 38000 500 3F000 503 40001 500 40P01 500 42501 403 42601 400 42704 400 42883 404
  42P01 404 53300 503 53400 500 54000 500 55000 500 55P03 500 57014 500 57P01 503 58030 500 F0000 500 HV000 500
  P0001 400 P0002 500 XX000 500 PT404 404 PT409 409 PT503 503 PT200 500);
foreach my $sqlstate (sort keys %statuses)
{
	my $response = stood('find', { webhook_id => $sqlstate, key => "words of $sqlstate" });
	is("$response->{status} " . $json->encode($response->{json}),
		"$statuses{$sqlstate} " . $json->encode({ code => $sqlstate, message => "words of $sqlstate", details => 'a detail', hint => 'a hint' }),
		"SQLSTATE $sqlstate is HTTP $statuses{$sqlstate}");
}
my $without = call($console, 'without/rpc/session', {});
is("$without->{status} $without->{json}{code}", '503 3F000', 'a database without the extension');
like($without->{json}{hint}, qr/CREATE EXTENSION webhook/, 'says what to do');

# --- roles and organizations ---

my $secret = 'a secret that is at least 32 bytes long';
append_to_file("$dir/key", "$secret\n");
my $product = start_console('--jwt-key-file', "$dir/key", qw(--jwt-algorithm HS256 --jwt-audience webhooks --role crm_admin --role crm_reader
	  --role outsider --base-path /settings/hooks --public-host app.example.com --frame-ancestors https://app.example.com));

sub token
{
	my ($claims, $header, $key) = @_;
	my $text = encode_base64url($json->encode($header // { alg => 'HS256' })) . '.' . encode_base64url($json->encode($claims));
	return "$text." . encode_base64url(hmac_sha256($text, $key // $secret));
}

my %valid = (exp => time() + 600, aud => 'webhooks', sub => 'ann', role => 'crm_admin', organization_id => 'acme');
sub as
{
	my ($claims, $function, $arguments) = @_;
	return call($product, $function, $arguments // {}, Origin => undef, Authorization => 'Bearer ' . (ref $claims ? token({ %valid, %$claims }) : $claims));
}

my $who = as({}, 'standin/rpc/session')->{json};
is($who->{user}, 'crm_admin', 'the role of the token is the role of the call');
is($json->decode($who->{claims})->{sub}, 'ann', 'and its claims are in the database');
is(as({ role => 'crm_reader' }, 'standin/rpc/session')->{json}{user}, 'crm_reader', 'another token, another role');
is(as({ role => $_ }, 'standin/rpc/session')->{status}, 403, "role $_ is not allowed") foreach 'postgres', 'none', '';
my %tokens = (
	'the token has expired' => token({ %valid, exp => time() - 60 }),
	'the token has no time at which it expires (exp)' => token({ aud => 'webhooks' }),
	'the token is not valid yet' => token({ %valid, nbf => time() + 600 }),
	'the token is for another audience' => token({ %valid, aud => 'others' }),
	'the token is not signed with HS256' => encode_base64url('{"alg":"none"}') . '.' . encode_base64url($json->encode(\%valid)) . '.',
	'the signature of the token is wrong' => token(\%valid, { alg => 'HS256' }, 'another secret'),
	'the token is not a JWT of three parts' => 'nonsense');
foreach my $why (sort keys %tokens)
{
	my $response = as($tokens{$why}, 'standin/rpc/session');
	is("$response->{status} $response->{json}{message}", "401 $why", "refused: $why");
}
is(call($product, 'rpc/session', {}, Origin => 'https://evil.example', Authorization => 'Bearer ' . token(\%valid))->{status}, 403, 'a token does not make up for another origin');
is(call($product, 'session', { code => 'x' })->{status}, 404, 'there are no codes');
is(request($product, 'GET', '/')->{status}, 404, 'nothing is served outside the base path');
like(request($product, 'GET', '/settings/hooks/', headers => { Host => 'app.example.com' })->{head}, qr{frame-ancestors 'self' https://app\.example\.com\r?$}m, 'the product may show it in a frame');

sub names { my ($response) = @_; return join ' ', map { $_->{name} } @{ $response->{json}{webhooks} // [] }; }
is(names(as({}, 'rpc/webhooks')), 'of acme', 'a tenant sees its webhooks');
is(names(as({ organization_id => 'globex' }, 'rpc/webhooks')), 'of globex', 'the other its own');
is(names(as({}, 'rpc/webhooks', { organization => 'globex' })), 'of acme', 'whatever it asks for');
my $other = $node->safe_psql('postgres', q{SELECT id FROM webhook_configurations WHERE organization_id = 'globex'});
is(as({}, 'rpc/webhook', { id => $other })->{status}, 404, 'and does not find those of the other');
is(as({}, 'rpc/delete', { id => $other })->{status}, 404, 'nor deletes them');
my $mine = $node->safe_psql('postgres', q{SELECT id FROM webhook_configurations WHERE organization_id = 'acme'});
is(as({ role => 'crm_reader' }, 'rpc/save', { id => $mine, webhook => { name => 'x' } })->{status}, 403, 'a reader changes nothing');
is(as({}, 'rpc/save', { id => $mine, webhook => { name => 'renamed' } })->{status}, 200, 'a manager does');
is(as({ role => 'outsider' }, 'rpc/webhooks')->{status}, 403, 'a role without a level gets nothing');
is($node->safe_psql('postgres', q{SELECT string_agg(name, ' ' ORDER BY organization_id) FROM webhook_configurations}), 'renamed of globex', 'and that is what became of them');

# Whether there is something to read, without waiting for it.
sub is_readable
{
	my ($socket) = @_;
	my $ready = '';
	vec($ready, fileno($socket), 1) = 1;
	return select($ready, undef, undef, 0) > 0;
}

{
	# Of 60 calls 32 wait, and up to 4 run by then.
	my $holder = WebhookTest::Session->new($node, 'standin');
	$holder->query('SELECT pg_advisory_lock(1)');
	my @sockets = map { connect_to($product) } 1 .. 60;
	syswrite($_, "POST /settings/hooks/standin/rpc/watches HTTP/1.1\r\nHost: app.example.com\r\nContent-Type: application/json\r\n"
		. 'Authorization: Bearer ' . token({ %valid, sub => 'ann' }) . "\r\nContent-Length: 2\r\n\r\n{}") foreach @sockets;
	is(as({ sub => 'bob' }, 'standin/rpc/session')->{status}, 200, 'a user with many calls does not keep another out');
	my @refused;
	wait_until { @refused = grep { is_readable($_) } @sockets; @refused >= 24 } 'calls are refused';
	cmp_ok(scalar(@refused), '<=', 28, 'some of them wait, the others are refused');
	is(scalar(grep { read_response($_)->{status} != 503 } @refused), 0, 'as a server that is busy says it');
	$holder->query('SELECT pg_advisory_unlock(1)');
	my %is_refused = map { $_ => 1 } @refused;
	is(scalar(grep { !$is_refused{$_} && read_response($_)->{status} != 200 } @sockets), 0, 'those that wait are made');
	$holder->finish;
}
stop_console($product);

my $one = start_console('--role', 'crm_admin', '--organization', 'globex');
sign_in($one);
is(names(call($one, 'rpc/webhooks', {})), 'of globex', 'an operator can act as a role for an organization');
stop_console($one);

my $proxied = start_console('--listen', "unix:$dir/s", qw(--trusted-proxy unix --trusted-header X-Webhook-User --role crm_admin));
my %from_page = (Origin => 'http://localhost', Host => 'localhost');
is(call($proxied, 'standin/rpc/session', {}, %from_page)->{status}, 401, 'a proxy that names nobody');
is($json->decode(call($proxied, 'standin/rpc/session', {}, %from_page, 'X-Webhook-User' => 'ann')->{json}{claims})->{sub}, 'ann', 'a proxy names the user');
is(names(call($proxied, 'rpc/webhooks', {}, %from_page, 'X-Webhook-User' => '{"organization_id":"globex"}')), 'of globex', 'or gives the claims');
is(call($proxied, 'rpc/webhooks', {}, %from_page, 'X-Webhook-User' => [ 'ann', 'eve' ])->{status}, 403, 'a second header is refused');
ok((stat "$dir/s")[2] % 8 == 0, 'the socket is not for everybody');
stop_console($proxied);
ok(!-e "$dir/s", 'and is gone afterwards');
$proxied = start_console(qw(--trusted-proxy 192.0.2.1 --trusted-header X-Webhook-User --role crm_admin));
is(call($proxied, 'standin/rpc/session', {}, 'X-Webhook-User' => 'eve')->{status}, 403, 'nobody but the proxy is believed');
stop_console($proxied);

foreach my $arguments ([ '--listen', '0.0.0.0:0' ], [ '--role', 'none' ], [qw(--trusted-proxy 127.0.0.1 --trusted-header X)])
{
	my $result = IPC::Run::run([ $program, 'dbname=postgres', @$arguments ], '<', \undef, '>', \my $out, '2>', \my $why);
	ok(!$result && $why =~ /^webhook-console: ./, "it does not start with @$arguments");
}

# --- TLS ---

my $certificates = certificates_dir();
{
	my $tls = start_console('--tls-certificate', "$certificates/server.crt", '--tls-key', "$certificates/server.key");
	my @curl = ('curl', '-s', '-i', '--cacert', "$certificates/ca.crt", '-H', "Origin: https://$tls->{host}", '-H', 'Content-Type: application/json');
	IPC::Run::run([ @curl, '-d', $json->encode({ code => code_of($tls) }), "https://$tls->{host}/session" ], '>', \my $answer);
	like($answer, qr/^Set-Cookie: __Host-\w+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Secure;/m, 'with TLS the cookie is bound to the host');
	unlike(send_raw($tls, "GET / HTTP/1.1\r\nHost: $tls->{host}\r\n\r\n")->{head}, qr{^HTTP/1.1 200}, 'and nothing is served in the clear');
	stop_console($tls);
}

# --- bad clients ---

is(request($console, 'POST', '/standin/rpc/session', headers => { Origin => "http://$console->{host}", 'Content-Type' => 'application/json',
	Cookie => $console->{cookie}, 'Content-Length' => 1 << 30 })->{status}, 413, 'a body that says it has 1 GB is refused before it comes');
{
	my $socket = connect_to($console);
	local $SIG{PIPE} = 'IGNORE';
	syswrite($socket, "POST /standin/rpc/session HTTP/1.1\r\nHost: $console->{host}\r\nOrigin: http://$console->{host}\r\n"
		. "Content-Type: application/json\r\nCookie: $console->{cookie}\r\nTransfer-Encoding: chunked\r\n\r\n");
	my $sent = 0;
	my $chunk = sprintf("%x\r\n%s\r\n", 65536, ' ' x 65536);
	while ($sent < 1 << 30)
	{
		last unless syswrite($socket, $chunk);
		$sent += 65536;
	}
	cmp_ok($sent, '<', 64 << 20, 'a body that goes on for ever is cut off');
}
like(send_raw($console, "GET / HTTP/1.1\r\nHost: $console->{host}\r\nX: " . 'x' x 20_000 . "\r\n\r\n")->{status}, qr/^431$/, 'a header of 20 kB is refused');
is(send_raw($console, "\x16\x03\x01\x02 nonsense\r\n\r\n")->{status}, 400, 'what is no HTTP is refused');
is(send_raw($console, "POST /rpc/session HTTP/1.1\r\nHost: $console->{host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")->{status}, 400, 'two lengths are refused');
foreach my $coding ('gzip', 'chunked, gzip', 'gzip, chunked', 'identity', "chunked\r\nTransfer-Encoding: gzip")
{
	my $socket = connect_to($console);
	syswrite($socket, "POST /rpc/session HTTP/1.1\r\nHost: $console->{host}\r\nTransfer-Encoding: $coding\r\n\r\n"
		. "GET /config HTTP/1.1\r\nHost: $console->{host}\r\n\r\n");
	my $text = '';
	while (sysread($socket, $text, 65536, length $text)) { }
	is(join(' ', $text =~ m{^HTTP/1\.1 (\d+)}mg), 400, 'a body that comes in another coding is no request: ' . $coding =~ s/\r\n.*: /, /r);
}
{
	# The first of them sends a byte now and then for as long as it takes, the others send nothing.
	my @idle = map { connect_to($console) } 1 .. 300;
	is(stood('session', {})->{status}, 200, 'three hundred silent clients do not keep others out');
	my $slow = connect_to($console);
	syswrite($slow, "GET / HTTP/1.1\r\n");
	local $SIG{PIPE} = 'IGNORE';
	eventually { !defined syswrite($slow, "X-A: b\r\n") } 'a client that drips its header is cut off';
}
{
	# Anybody may be about to send a body.
	my @silent = map { connect_to($console) } 1 .. 255;
	syswrite($_, "POST /rpc/session HTTP/1.1\r\nHost: $console->{host}\r\nContent-Length: 2\r\n\r\n") foreach @silent;
	is(stood('session', {})->{status}, 200, 'clients that send a header and no body do not keep others out');
	local $SIG{PIPE} = 'IGNORE';
	syswrite($_, '{}') foreach @silent;
	cmp_ok(scalar(grep { read_response($_)->{status} == 403 } @silent), '>=', 250, 'those that were silent for longest made room');
}
{
	# Each answer has 15 MB: eight fit into what is kept of answers that nobody takes.
	my @readers;
	foreach (1 .. 20)
	{
		my $socket = connect_to($console);
		my $body = '{"organization":"15000000"}';
		syswrite($socket, "POST /standin/rpc/check HTTP/1.1\r\nHost: $console->{host}\r\nOrigin: http://$console->{host}\r\n"
			. "Content-Type: application/json\r\nCookie: $console->{cookie}\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
		sysread($socket, my $begin, 1);
		push @readers, [ $socket, $begin ];
	}
	my @lengths;
	foreach my $reader (reverse @readers)
	{
		my ($socket, $text) = @$reader;
		while (length($text) < 15_000_000) { sysread($socket, $text, 1 << 20, length $text) or last }
		unshift @lengths, length $text;
	}
	is(scalar(grep { $_ >= 15_000_000 } @lengths), 8, 'answers that are not taken are bounded');
	is(scalar(grep { $_ >= 15_000_000 } @lengths[ 12 .. 19 ]), 8, 'those that have waited for longest are cut off');
}

# --- a database that comes and goes ---

my $log_offset = -s $node->logfile;
my @underway = map { connect_to($console) } 1, 2;
sub send_call
{
	my ($socket, $function, $body) = @_;
	syswrite($socket, "POST /standin/rpc/$function HTTP/1.1\r\nHost: $console->{host}\r\nOrigin: http://$console->{host}\r\nConnection: close\r\n"
		. "Content-Type: application/json\r\nCookie: $console->{cookie}\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
	return;
}
send_call($underway[0], 'pause', '{"reason":"sleep"}');
wait_until { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}) == 1 } 'a call is underway';
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'});
my $lost = read_response($underway[0]);
is($lost->{status}, 503, 'a writing call whose connection is lost');
like($lost->{json}{hint}, qr/not known/, 'is not made again, and says so');
is($node->safe_psql('standin', q{SELECT count(*) FROM webhook_api.calls WHERE what = 'sleep'}), 0, 'it left nothing');
send_call($underway[1], 'explain', '{"event_id":1}');
my $sleeper = q{SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE wait_event = 'PgSleep'};
my ($first, $second) = (0, 0);
wait_until { $first = $node->safe_psql('postgres', $sleeper) } 'a reading call is underway';
$node->safe_psql('postgres', "SELECT pg_terminate_backend($first)");
eventually { $second = $node->safe_psql('postgres', $sleeper); $second != 0 && $second != $first } 'a reading call is made once more';
$node->safe_psql('postgres', "SELECT pg_terminate_backend($second)");
is(read_response($underway[1])->{status}, 503, 'but not a third time');

$node->stop('fast');
my $down = stood('session', {});
is("$down->{status} $down->{json}{code}", '503 08006', 'a database that is down is told as JSON');
is(request($console, 'GET', '/')->{status}, 200, 'the page is there all the same');
$node->start;
eventually { stood('session', {})->{status} == 200 } 'a database that is back is found';

my %pids = map { stood('session', {})->{json}{pid} => 1 } 1 .. 5;
is(scalar keys %pids, 1, 'a connection is used again');
$node->restart;
is(stood('pause', { reason => 'after the restart' })->{status}, 200, 'a restart while nobody calls costs no call, not even a writing one')
	if wait_until { $node->poll_query_until('postgres', 'SELECT true') } 'it is back';

$console->{run}->pump_nb;
unlike($console->{stderr}, qr/\Q$_\E/, 'the log does not tell secrets') foreach $code, ($console->{cookie} =~ /=(.*)/);
unlike($console->{stderr}, qr/words of|token=x/, 'nor bodies and queries');
like($console->{stderr}, qr{^webhook-console: POST /standin/rpc/find 409 23505$}m, 'but which calls failed');
stop_console($console);
is($console->{run}->result(0), 0, 'it ends as asked');
is_log_clean($node, expected => [ qr/ERROR:  (?:words of|after the insert|invalid input syntax|schema "webhook_api" does not exist|permission denied)/,
	qr/ERROR:  (?:value "\d+" is out of range|webhook .* does not exist)/, qr/FATAL:  (?:terminating connection|the database system)/ ]);

done_testing();
