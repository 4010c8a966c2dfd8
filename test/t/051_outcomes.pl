# What the ends of attempts lead to: webhooks that are switched off, with the reason; the operational events that tell of
# it; errors that tell one failure from another; when the next attempt comes, and when none does any more.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $receiver = start_receiver();
my $untrusted = start_receiver(tls => 1, certificate => 'untrusted');
my $node = new_node('webhook.retry_schedule' => '100ms', 'webhook.ca_file' => certificates_dir() . '/ca.crt',
	log_min_messages => 'debug1');    # which tells of circuits
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
});

# A webhook of an organization, which the URL's query names, to this path.
sub webhook_of
{
	my ($organization, $path, %columns) = @_;
	return create_webhook($node, organization_id => $organization, url => $receiver->url("$path?$organization"),
		events => ['item.created'], %columns);
}

sub insert_items
{
	my ($organization, $count) = @_;
	query($node, "INSERT INTO items (organization_id) SELECT '$organization' FROM generate_series(1, @{[$count // 1]})");
	return;
}

# Somebody of the organization who is told what becomes of its webhooks.
sub observe { my ($organization) = @_; return webhook_of($organization, '/body/seen', events => ['webhook.*']); }

# What that one was told: [event, data]
sub observed
{
	my ($organization) = @_;
	return map { [ $_->{event}, $_->{data} ] } $receiver->bodies("/body/seen?$organization");
}

sub observed_names { return join(' ', sort map { $_->[0] } observed(@_)); }

sub configuration
{
	my ($webhook, $columns) = @_;
	return query($node, "SELECT $columns FROM webhook_configurations WHERE id = '$webhook'");
}

sub pending
{
	my ($webhook) = @_;
	return query($node, "SELECT string_agg(concat_ws(':', state, attempts, last_error), ' ' ORDER BY event_id)
		FROM webhook_deliveries WHERE configuration_id = '$webhook'");
}

sub attempts { my ($webhook) = @_; return query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook' AND attempt > 0"); }

sub set
{
	my ($name, $value) = @_;
	$node->append_conf('postgresql.conf', "$name = '$value'");
	$node->reload;
	return;
}

sub log_lines
{
	my ($pattern) = @_;
	return scalar(() = slurp_file($node->logfile) =~ /$pattern/g);
}

# --- 410 ----------------------------------------------------------------------------------------------------------------

observe($_) foreach qw(gone elsewhere);
webhook_of('gone', '/ok', events => ['*']);
my $gone = webhook_of('gone', '/status/410');
insert_items('gone');
my $reason = 'HTTP status 410: the endpoint is gone for good; the webhook is switched off';
eventually { configuration($gone, 'is_active') eq 'f' } '410 switches a webhook off';
is(configuration($gone, 'disabled_reason, disabled_at IS NOT NULL'), "$reason|t", 'with the reason');
eventually { pending($gone) eq "dead:1:$reason" } 'its delivery is dead';
eventually { observed_names('gone') eq 'webhook.delivery.failed webhook.disabled' } 'another webhook is told of both';
my ($disabled) = grep { $_->[0] eq 'webhook.disabled' } observed('gone');
is($disabled->[1]{configuration_id}, $gone, 'of which webhook');
is($disabled->[1]{reason}, $reason, 'and why');
eventually { log_lines(qr/LOG:  .*webhook "[^"]*" \($gone\) is switched off: HTTP status 410/) == 1 } 'the log says it';
insert_items('gone');
eventually { $receiver->count('/ok?gone') == 2 } 'another webhook still receives';
is($receiver->count('/status/410?gone'), 1, 'the one switched off does not');
is(join(' ', map { $_->{event} } $receiver->bodies('/ok?gone')), 'item.created item.created',
	'and * does not include operational events');

# --- The last attempt ---------------------------------------------------------------------------------------------------

observe('last');
my $last = webhook_of('last', '/status/404');
insert_items('last');
$reason = 'HTTP status 404; the last attempt of its schedule';
eventually { pending($last) eq "dead:2:$reason" } 'after the last attempt a delivery is dead';
eventually { observed_names('last') eq 'webhook.delivery.failed' } 'which is told';
my (undef, $data) = @{ (observed('last'))[0] };
is_deeply([ @$data{qw(configuration_id event attempts error)} ], [ $last, 'item.created', 2, $reason ], 'with all there is to it');
is($data->{webhook_id}, ($receiver->received('/status/404?last'))[0]{webhook_id}, 'and its webhook-id');
is($receiver->count('/status/404?last'), 2, 'and no more attempts follow');

# --- They never cause themselves ----------------------------------------------------------------------------------------

my $loop = webhook_of('loop', '/status/404', events => [ 'item.created', 'webhook.*' ]);
insert_items('loop');
eventually { pending($loop) =~ /^dead:2:\S.* dead:2:/ } 'the news of a failed delivery fails, too';
observe('marker');
webhook_of('marker', '/status/404');
insert_items('marker');
eventually { observed_names('marker') eq 'webhook.delivery.failed' } 'which is told to nobody: later news has arrived';
is(query($node, q{SELECT string_agg(event, ' ' ORDER BY id) FROM webhook_events WHERE organization_id = 'loop'}),
	'item.created webhook.delivery.failed', 'and that was all');
is($receiver->count('/status/404?loop'), 4, 'by two attempts each');

# An endpoint that fails each news five times before it takes it: each opens the circuit and closes it again.
my $slow_to_believe = webhook_of('circle', '/status/503/times/5', events => [ 'item.created', 'webhook.*' ],
	retry_schedule => [ ('100 milliseconds') x 20 ]);
insert_items('circle');
my $taken = "FROM webhook_logs WHERE configuration_id = '$slow_to_believe' AND status = 'success'";
eventually { query($node, "SELECT string_agg(event, ' ' ORDER BY id) $taken") eq 'item.created webhook.recovered' }
	'a webhook is told that it has recovered itself';
is(log_lines(qr/DEBUG:  .*the circuit of webhook "[^"]*" \($slow_to_believe\) has closed/), 2, 'by which it recovers once more');
is(query($node, q{SELECT string_agg(event, ' ' ORDER BY id) FROM webhook_events WHERE organization_id = 'circle'}),
	'item.created webhook.recovered', 'which is told to nobody');

# --- A circuit that closes ----------------------------------------------------------------------------------------------

observe('back');
my $back = webhook_of('back', '/body/back', retry_schedule => [ ('100 milliseconds') x 20 ]);
$receiver->set('/body/back', '/status/503');
insert_items('back', 5);
eventually { query($node, "SELECT circuit FROM webhook_stats WHERE configuration_id = '$back'") eq 'open' } 'a circuit opens';
is(observed_names('back'), '', 'which alone is no news');
my ($first_attempt, $open) = split(/\|/, query($node,
	"SELECT date_trunc('milliseconds', min(created_at)), clock_timestamp() FROM webhook_logs WHERE configuration_id = '$back'"));
$receiver->set('/body/back', undef);
eventually { observed_names('back') eq 'webhook.recovered' } 'when it closes, another webhook is told';
(undef, $data) = @{ (observed('back'))[0] };
is($data->{configuration_id}, $back, 'of which webhook');
is(query($node, "SELECT '$data->{failing_since}'::timestamptz BETWEEN '$first_attempt' AND '$open'"), 't',
	'and since when it failed, in milliseconds');

# --- Failing for long ---------------------------------------------------------------------------------------------------

set('webhook.disable_after', '2s');
observe('bad');
my @schedule = ('300 milliseconds') x 20;
my $bad = webhook_of('bad', '/status/400', retry_schedule => \@schedule);
insert_items('bad');
eventually { configuration($bad, 'is_active') eq 'f' } 'webhook.disable_after switches off what keeps failing';
like(configuration($bad, 'disabled_reason'), qr/^failing since \d{4}-\S+: HTTP status 400$/, 'with the reason');
like(pending($bad), qr/^pending:/, 'what is pending for it waits');
# A slow machine may see no failure between one half and 90 % of 2 s.
eventually { observed_names('bad') =~ /^webhook.disabled(?: webhook.endpoint.failing){0,2}$/ } 'and another webhook is told';
my @failing = grep { $_->[0] eq 'webhook.endpoint.failing' } observed('bad');
cmp_ok(scalar(grep { $_->[1]{configuration_id} eq $bad && $_->[1]{percent} =~ /^(?:50|90)$/ } @failing), '==', scalar(@failing),
	'also before that');

my $locked = webhook_of('locked', '/status/400', retry_schedule => \@schedule);
webhook_of('locked', '/ok');
my $locker = WebhookTest::Session->new($node, 'postgres');
$locker->query("BEGIN; SELECT FROM webhook_configurations WHERE id = '$locked' FOR UPDATE");
insert_items('locked');
eventually
{
	query($node, "SELECT failing_since < clock_timestamp() - interval '3 seconds' FROM webhook_endpoints
		WHERE configuration_id = '$locked'") eq 't';
}
'a webhook whose row somebody has locked keeps failing';
my $sent = $receiver->count('/ok?locked');
insert_items('locked', 100);
eventually { $receiver->count('/ok?locked') == $sent + 100 } 'other webhooks receive';
is(configuration($locked, 'is_active'), 't', 'it cannot be switched off');
$locker->query('COMMIT');
$locker->finish;
eventually { configuration($locked, 'is_active') eq 'f' } 'once the row is free it is';
is(log_lines(qr/LOG:  .*webhook "[^"]*" \($locked\) is switched off/), 1, 'and the log says so once');
set('webhook.disable_after', '5d');

# --- What went wrong ----------------------------------------------------------------------------------------------------

my $refused = start_receiver();
$refused->kill;
my %error_of = (
	$receiver->url('/status/302/location/%2Fok') => qr/^HTTP status 302: redirects are not followed \(it leads to host 127\.0\.0\.1\)$/,
	$untrusted->url('/ok') => qr/^TLS: .*certificate/,
	'https://nothing.invalid/' => qr/^could not resolve host nothing\.invalid/,
	$refused->url('/ok') => qr/^connection refused by 127\.0\.0\.1 port $refused->{port}$/,
	$receiver->url('/hang') => qr/^no response within 500 ms$/,
	$receiver->url('/drip') => qr/^no complete response within 500 ms$/,
	$receiver->url('/close') => qr/^the connection was closed before a response came$/,
	$receiver->url('/close-mid-response') => qr/^the connection was closed within the response$/,
	$receiver->url('/endless-headers') => qr/header/,
	'https://192.168.0.1/' => qr/^address refused: /,
	$receiver->url('/status/503') => qr/^HTTP status 503$/);
my %errors_of;
create_webhook($node, organization_id => 'errors', name => $_, url => $_, events => ['item.created'], timeout_ms => 500,
	retry_schedule => ['1 hour']) foreach keys %error_of;
insert_items('errors');
my $errors = q{SELECT c.url, l.error FROM webhook_logs l JOIN webhook_configurations c ON c.id = l.configuration_id
	WHERE c.organization_id = 'errors'};
eventually { query($node, "SELECT count(*) FROM ($errors) AS e") == keys %error_of } 'every way to fail is logged';
$errors_of{$_->[0]} = $_->[1] foreach map { [ split /\|/, $_, 2 ] } split /\n/, query($node, $errors);
like($errors_of{$_}, $error_of{$_}, $_) foreach sort keys %error_of;

# --- When to try again --------------------------------------------------------------------------------------------------

my $date = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3600)) =~ s/([ ,:])/sprintf('%%%02X', ord $1)/ger;
my %wait_of = ('/status/503/retry-after/1800' => 1800, '/status/429/retry-after/2400' => 2400, "/status/503/retry-after/$date" => 3600);
my %waits = map { $_ => webhook_of('wait', $_) } keys %wait_of;
insert_items('wait');
foreach my $path (sort keys %wait_of)
{
	my $wait = "FROM webhook_deliveries d JOIN webhook_logs l USING (configuration_id, event_id) WHERE configuration_id = '$waits{$path}'";
	eventually { query($node, "SELECT count(*) $wait") == 1 } "$path: one attempt fails";
	is(query($node, "SELECT abs(extract(epoch FROM l.next_attempt_at - l.created_at) - $wait_of{$path}) < 30 AND l.next_attempt_at = d.next_attempt_at $wait"),
		't', 'the next comes when the endpoint asks for it')
	  or diag(query($node, "SELECT l.created_at, l.next_attempt_at, d.next_attempt_at $wait"));
}

# --- Too old ------------------------------------------------------------------------------------------------------------

my $replayed = webhook_of('old', '/status/404', retry_schedule => [ ('100 milliseconds') x 2 ]);
my $waiting = webhook_of('old', '/body/old');
my $writer = WebhookTest::Session->new($node, 'postgres');
$writer->query("BEGIN; INSERT INTO items (organization_id) VALUES ('old')");
$writer->query('SELECT webhook_flush()');
query($node, "UPDATE webhook_configurations SET is_active = false WHERE id = '$waiting'");
$writer->query('COMMIT');
$writer->finish;
eventually { pending($waiting) eq 'pending:0' } 'a webhook that is switched off has something pending';
eventually { pending($replayed) eq 'dead:3:HTTP status 404; the last attempt of its schedule' } 'and another has failed';
set('webhook.max_age', '2s');
eventually { query($node, "SELECT created_at < clock_timestamp() - interval '3 seconds' FROM webhook_deliveries
	WHERE configuration_id = '$waiting'") eq 't' } 'all that grows too old';
query($node, "UPDATE webhook_configurations SET is_active = true WHERE id = '$waiting'");
eventually { pending($waiting) eq 'dead:0:older than webhook.max_age' } 'switched on, it is not sent that any more';
is($receiver->count('/body/old?old'), 0, 'not once');
eventually { query($node, "SELECT attempt, error FROM webhook_logs WHERE configuration_id = '$waiting'") eq '0|older than webhook.max_age' }
'which is logged';
is(query($node, "SELECT webhook_replay('$replayed', '-infinity')"), 1, 'an old event is replayed');
eventually { attempts($replayed) == 6 && pending($replayed) eq 'dead:3:HTTP status 404; the last attempt of its schedule' }
'with its full schedule'
  or diag(attempts($replayed) . ' ' . pending($replayed));

# --- What the log keeps of responses ------------------------------------------------------------------------------------

my $answered = webhook_of('answered', '/ok');
my $refused_with_a_body = webhook_of('answered', '/status/404', retry_schedule => ['1 hour']);
foreach my $case ([ all => 't t t' ], [ failures => 'f t f' ], [ none => 'f f f' ])
{
	my ($setting, $kept) = @$case;
	$node->append_conf('postgresql.conf', "webhook.log_response_body = '$setting'");
	$node->restart;
	insert_items('answered');
	eventually { query($node, "SELECT count(*) FROM webhook_logs WHERE organization_id = 'answered' AND response_status > 0") == 2 }
	"$setting: an attempt succeeds, and one fails";
	is(query($node, "SELECT response_body FROM webhook_test('$answered')"), 'ok', "$setting: a test shows the body in any case");
	is( query($node, q{SELECT string_agg((response_body IS NOT NULL)::text::"char"::text, ' ' ORDER BY event_id < 0, status DESC)
		FROM webhook_logs WHERE organization_id = 'answered'}), $kept, "$setting: the bodies that the log keeps");
	query($node, "DELETE FROM webhook_logs WHERE organization_id = 'answered'");
}

is_log_clean($node);
$node->stop;

done_testing();
