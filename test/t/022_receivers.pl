# The programs of docs/receivers.md, as a reader would copy them: each is started as it stands there, gets deliveries
# from the extension, and is sent forgeries.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Digest::SHA qw(hmac_sha256 hmac_sha256_hex);
use Encode qw(encode_utf8);
use HTTP::Tiny;
use IO::Socket::INET ();
use IPC::Run ();
use MIME::Base64 qw(decode_base64 encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $page = slurp_file("$FindBin::RealBin/../../docs/receivers.md");
my $tmp_dir = PostgreSQL::Test::Utils::tempdir();

# By the language that the page names behind the backticks. needs: a command that succeeds where the language is at hand.
my %language = (
	js => { file => 'receiver.mjs', run => [qw(node receiver.mjs)], needs => [qw(node --version)] },
	python => { file => 'receiver.py', run => [qw(python3 receiver.py)], needs => [qw(python3 --version)] },
	go => { file => 'receiver.go', build => [qw(go build -o receiver receiver.go)], run => ['DIR/receiver'], needs => [qw(go version)] },
	ruby => { file => 'receiver.rb', run => [qw(ruby receiver.rb)], needs => [qw(ruby -rwebrick -e 1)] },
	php => { file => 'receiver.php', run => [qw(php -S 127.0.0.1:PORT receiver.php)], needs => [qw(php --version)] });

sub blocks_of { my ($name) = @_; return $page =~ /^```\Q$name\E\n(.*?)^```$/msg; }

sub works
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	return eval { IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err) };
}

# --- what a sender signs, written here from the specifications --------------------------------------------------------

my $body = encode_utf8('{"event":"thing.created","timestamp":"2024-01-15T10:30:00.000000Z","data":{"name":"Zo' . "\x{eb}" . '"}}');
my $request_count = 0;

# A genuine request as ({ headers }, body); id, time, secret and body may be given.
sub genuine
{
	my (%with) = @_;
	my $content = $with{body} // $body;
	my $id = $with{id} // 'evt_forged' . ++$request_count;
	my $time = $with{time} // time();
	my $key = $with{secret} =~ /^whsec_(.*)/ ? decode_base64($1) : $with{secret};
	return ({
			'Content-Type' => 'application/json',
			'webhook-id' => $id,
			'webhook-timestamp' => $time,
			'webhook-signature' => 'v1,' . encode_base64(hmac_sha256("$id.$time.$content", $key), ''),
			'X-Webhook-Signature' => 'sha256=' . hmac_sha256_hex($content, $with{secret}),
		}, $content);
}

# The status of the answer to a POST.
sub status
{
	my ($url, $headers, $content) = @_;
	return HTTP::Tiny->new(timeout => default_timeout_s())->post($url, { headers => $headers, content => $content })->{status};
}

# The same where a header holds bytes that HTTP::Tiny does not send.
sub raw_status
{
	my ($url, $headers, $content) = @_;
	my ($port) = $url =~ /:(\d+)/;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or return "no connection: $!";
	print $socket join("\r\n", 'POST /hooks HTTP/1.1', 'Host: localhost', 'Connection: close',
		'Content-Length: ' . length $content, (map { "$_: $headers->{$_}" } sort keys %$headers), '', $content);
	my ($status) = (<$socket> // '') =~ m{^HTTP/1\.[01] (\d+)};
	return $status // 'no answer';
}

# --- a receiver that runs ---------------------------------------------------------------------------------------------

my $receiver_count = 0;

# The program with the one or the other way to verify, listening.
sub start_program
{
	my ($name, $program, $verifies, $secret) = @_;
	my $dir = "$tmp_dir/receiver" . ++$receiver_count;
	mkdir $dir or die "mkdir $dir: $!";
	BAIL_OUT("the program in $name does not say where to choose")
	  unless (my $chosen = $program) =~ s/\bstandard\b(?=.* or github$)/$verifies/m;
	append_to_file("$dir/$language{$name}{file}", $chosen);
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	local %ENV = (
		%ENV,
		WEBHOOK_SECRET => $secret, PORT => $port, WEBHOOK_SPOOL => "$dir/spool",
		HOME => $dir, GOCACHE => "$tmp_dir/gocache", GOFLAGS => '-mod=mod', GO111MODULE => 'off', GOTOOLCHAIN => 'local');
	my $self = { url => "http://127.0.0.1:$port/hooks", output => '' };
	my @in_dir = (init => sub { chdir $dir or die "chdir $dir: $!" });
	if ($language{$name}{build})
	{
		my $errors = '';
		IPC::Run::run($language{$name}{build}, '>&', \$errors, @in_dir) or BAIL_OUT("$name: $errors");
	}
	my @run = map { s/PORT/$port/r =~ s/DIR/$dir/r } @{ $language{$name}{run} };
	$self->{harness} = IPC::Run::start(\@run, '<', \undef, '>&', \$self->{output}, @in_dir);
	wait_until { status($self->{url}, {}, '') != 599 } "the receiver in $name listens"
	  or BAIL_OUT("the receiver in $name: $self->{output}");
	return $self;
}

# What it has printed: the ids that it has worked on.
sub ids_received
{
	my ($self) = @_;
	$self->{harness}->pump_nb;
	return $self->{output} =~ /received (\S+) thing\.created/g;
}

sub count_received { my ($self) = @_; return scalar(my @ids = ids_received($self)); }

sub works_on
{
	my ($self, $count, $what) = @_;
	return eventually { count_received($self) >= $count } "$what, $count in all";
}

sub stop_program { my ($self) = @_; $self->{harness}->kill_kill(grace => 5); return; }

# --- the sender -------------------------------------------------------------------------------------------------------

my $node = new_node();
$node->safe_psql('postgres', q{
	CREATE TABLE things (id int, name text);
	SELECT webhook_watch('things', 'thing.created', organization_column => NULL);
});

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }
sub insert_thing { return sql(q{INSERT INTO things VALUES (1, 'Zoë')}); }

# What the last log row of a webhook, which must be the nth, says.
sub outcome_of
{
	my ($webhook, $nth) = @_;
	wait_until { sql("SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook'") >= $nth } "attempt $nth";
	return sql("SELECT concat_ws(' ', status, response_status, error) FROM webhook_logs "
		  . "WHERE configuration_id = '$webhook' ORDER BY id DESC LIMIT 1");
}

sub refuses_forgeries
{
	my ($receiver, $verifies, $secret) = @_;
	my $signature = $verifies eq 'standard' ? 'webhook-signature' : 'X-Webhook-Signature';
	is(status($receiver->{url}, genuine(secret => $secret)), 204, 'a genuine request is accepted');

	my ($headers) = genuine(secret => $secret);
	is(status($receiver->{url}, $headers, $body =~ s/created/deleted/r), 401, 'a changed body is refused');
	is(status($receiver->{url}, $headers, "$body\n"), 401, 'and a longer one');
	is(status($receiver->{url}, $headers, ''), 401, 'and none');
	is(status($receiver->{url}, genuine(secret => 'whsec_' . encode_base64('x' x 24, ''))), 401, 'another secret is refused');
	is(status($receiver->{url}, genuine(secret => 'another secret')), 401, 'one that is text too');
	foreach my $wrong ('', 'v1,', 'sha256=', 'x', $headers->{$signature} . 'x', substr($headers->{$signature}, 0, -1))
	{
		is(status($receiver->{url}, { %$headers, $signature => $wrong }, $body), 401, "a signature is refused: '$wrong'");
	}
	my $of_other_bytes = { %$headers, $signature => "\xff" x length $headers->{$signature} };
	is(raw_status($receiver->{url}, $of_other_bytes, $body), 401, 'so is one that is not ASCII');
	delete $headers->{$signature};
	is(status($receiver->{url}, $headers, $body), 401, 'without a signature it is refused');
	is(status($receiver->{url}, {}, $body), 401, 'also without any header');
	my $got = HTTP::Tiny->new(timeout => default_timeout_s())->get($receiver->{url});
	cmp_ok($got->{status}, '>=', 400, 'GET is refused');
	return unless $verifies eq 'standard';

	foreach my $time (time() - 400, time() + 400, 0, '', 'now', 1e300, '9' x 19)
	{
		is(status($receiver->{url}, genuine(secret => $secret, time => $time)), 401, "a timestamp is refused: '$time'");
	}
	is(status($receiver->{url}, genuine(secret => $secret, time => time() - 200)), 204, 'one of the last minutes is not');
	foreach my $missing ('webhook-id', 'webhook-timestamp')
	{
		my ($most, $content) = genuine(secret => $secret);
		delete $most->{$missing};
		is(status($receiver->{url}, $most, $content), 401, "without $missing it is refused");
	}
	my ($several, $content) = genuine(secret => $secret);
	$several->{'webhook-signature'} = "v1,AAAA $several->{'webhook-signature'} v2,BBBB";
	is(status($receiver->{url}, $several, $content), 204, 'one of several signatures is enough');
	$several->{'webhook-signature'} = 'v1,AAAA v1,BBBB';
	is(status($receiver->{url}, $several, $content), 401, 'if one is right');
	return;
}

sub takes_deliveries
{
	my ($receiver, $verifies, $secret) = @_;
	my $webhook = create_webhook(
		$node, url => $receiver->{url}, events => ['thing.created'], secret => $secret,
		organization_id => undef, retry_schedule => ['1 hour']);
	my $before = count_received($receiver);
	insert_thing();
	is(outcome_of($webhook, 1), 'success 204', 'a delivery is accepted');
	works_on($receiver, $before + 1, 'and worked on');
	my $id = (ids_received($receiver))[-1];
	is(sql("SELECT event FROM webhook_find('$id')"), 'thing.created', 'under its webhook-id');

	sql("SELECT webhook_redeliver(id) FROM webhook_logs WHERE configuration_id = '$webhook'");
	is(outcome_of($webhook, 2), 'success 204', 'the same delivery is accepted once more');

	sql("SELECT webhook_rotate_secret('$webhook')");
	insert_thing();
	if ($verifies eq 'standard')
	{
		is(outcome_of($webhook, 3), 'success 204', 'while the secret is replaced, the old one verifies');
		works_on($receiver, $before + 2, 'each event is worked on');
		is(scalar(grep { $_ eq $id } ids_received($receiver)), 1, 'once, though the first came twice');
	}
	else
	{
		like(outcome_of($webhook, 3), qr/^failed 401/, 'X-Webhook-Signature is by the new secret at once');
		is(scalar(grep { $_ eq $id } ids_received($receiver)), 1, 'what came twice was worked on once');
	}

	# With no overlap the old secret is worth nothing.
	sql("SELECT webhook_rotate_secret('$webhook', '0')");
	insert_thing();
	like(outcome_of($webhook, 4), qr/^failed 401/, 'when it has been replaced, the old one does not');
	sql("DELETE FROM webhook_configurations WHERE id = '$webhook'");
	return;
}

foreach my $name (sort keys %language)
{
	my @programs = blocks_of($name);
	is(scalar(@programs), 1, "the page has one program in $name");
  SKIP:
	{
		skip "@{ $language{$name}{needs} } does not succeed: $name is not at hand", 1 unless works(@{ $language{$name}{needs} });
		foreach my $verifies (qw(standard github))
		{
			foreach my $kind ('whsec', 'text')
			{
				my $secret = $kind eq 'text' ? 'a secret in plain text' : sql('SELECT webhook_generate_secret()');
				subtest "$name, $verifies, a secret of kind $kind" => sub {
					my $receiver = start_program($name, $programs[0], $verifies, $secret);
					refuses_forgeries($receiver, $verifies, $secret);
					takes_deliveries($receiver, $verifies, $secret);
					stop_program($receiver);
				};
			}
		}
	}
}

# --- the SQL of the page ----------------------------------------------------------------------------------------------

my ($verify, $inbox, $receive, $work, $copies, $apply) = blocks_of('sql');
is(sql($verify), 'f', 'the query that verifies runs');
sql($inbox);
is(sql($receive), 'evt_3k9m5r2xq8w7v1n4t6y0b3c5d7', 'the inbox takes an event');
is(sql($receive), '', 'once');
is(sql($work), '{"event":"contact.created"}', 'which is worked on');
is(sql($work), '', 'once');

# --- in which order changes were made, however they come --------------------------------------------------------------

my $orders = start_receiver();
my $retried = '/status/404/times/1?order';
sql(q{
	CREATE TABLE contacts (id int PRIMARY KEY, version int);
	SELECT webhook_watch('contacts', 'contact.created', organization_column => NULL);
	SELECT webhook_watch('contacts', 'contact.updated', organization_column => NULL);
	SELECT webhook_watch('contacts', 'contact.deleted', organization_column => NULL);
});
create_webhook($node, organization_id => undef, name => 'order', url => $orders->url($retried), events => ['contact.*'],
	retry_schedule => ['500 milliseconds']);
my $changes_of_one = 60;
sql(qq{
	DO \$\$
	BEGIN
		INSERT INTO contacts VALUES (1, 1), (2, 1);
		FOR n IN 2 .. $changes_of_one LOOP
			BEGIN  -- a subtransaction each
				UPDATE contacts SET version = n;
				IF n % 7 = 0 THEN RAISE EXCEPTION 'undone'; END IF;
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		END LOOP;
		DELETE FROM contacts WHERE id = 2;
	END \$\$});
my $last = sql('SELECT version FROM contacts WHERE id = 1');
my $captured = sql(q{SELECT count(*) FROM webhook_events WHERE event LIKE 'contact.%'});
eventually { $orders->count($retried) == 2 * $captured } 'each change comes twice, as its first attempt fails';
is(sql(q{SELECT bool_and(later) FROM (SELECT created_at > lag(created_at) OVER (ORDER BY id) AS later FROM webhook_events
	WHERE event LIKE 'contact.%') e}), 't', 'each change of a transaction has a later timestamp than the one before');
sql($copies);
my $inserted = 0;
foreach my $request (reverse $orders->received($retried))
{
	my ($id, $body) = ($request->{webhook_id}, sql_literal($request->{body}));
	sql("INSERT INTO inbox (webhook_id, body) VALUES ('$id', $body) ON CONFLICT DO NOTHING");
	sql($apply) if ++$inserted % 7 == 0;
}
sql($apply);
is(sql('SELECT id, is_deleted, data ->> \'version\' FROM contact_copies ORDER BY id'), "1|f|$last\n2|t|$last",
	'who orders by it has the last of each row, in whatever order they come');

is_log_clean($node);
$node->stop;

done_testing();
