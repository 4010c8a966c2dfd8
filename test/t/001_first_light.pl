# From a row to a signed POST and its row in webhook_logs, and only if the row committed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
my $receiver = start_receiver(tls => 1);
my $node = new_node(
	'webhook.ca_file' => certificates_dir() . '/ca.crt',
	'webhook.allow_http' => 'off',
	'max_prepared_transactions' => 5);

my $crm = slurp_file("$FindBin::RealBin/../../examples/crm.sql");
$node->safe_psql('postgres', $crm);
$node->safe_psql('postgres', q{SELECT webhook_watch('contacts', 'contact.created')});
my $webhook = create_webhook(
	$node,
	organization_id => 'acme',
	url => $receiver->url('/ok'),
	events => ['contact.created'],
	secret => $secret);

# Inserts a contact as the application's role.
sub insert_contact
{
	my ($name) = @_;
	return "SET ROLE crm_app; INSERT INTO contacts (organization_id, name) VALUES ('acme', '$name'); RESET ROLE;";
}

sub received_names { return join ' ', map { $_->{data}{name} } $receiver->bodies; }

sub captured_names
{
	return $node->safe_psql('postgres', q{SELECT string_agg(data->>'name', ' ' ORDER BY id) FROM webhook_events});
}

# --- an insert becomes a POST and a log row ---

$node->safe_psql('postgres', insert_contact('Ada'));
eventually { $receiver->count >= 1 } 'an inserted row is sent';

my ($request) = $receiver->received;
my $headers = $request->{headers};
is($request->{method}, 'POST', 'by POST');
is($request->{path}, '/ok', 'to the URL of the webhook');
like($request->{tls}, qr/^TLSv1\.[23]$/, 'over TLS');
is($headers->{'content-type'}, 'application/json', 'Content-Type');
like($headers->{'user-agent'}, qr{^webhook/\S+ \(PostgreSQL \d+\)$}, 'User-Agent');
is($headers->{'x-webhook-event'}, 'contact.created', 'X-Webhook-Event');
like($headers->{'x-webhook-id'}, qr/^evt_\w+$/, 'X-Webhook-Id');
is($headers->{'webhook-id'}, $headers->{'x-webhook-id'}, 'webhook-id is the same');
is($headers->{'x-webhook-attempt'}, 1, 'X-Webhook-Attempt');
like($headers->{'x-webhook-timestamp'}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'X-Webhook-Timestamp');
ok(abs($headers->{'webhook-timestamp'} - $request->{received_us} / 1e6) < 60, 'webhook-timestamp is the time of sending');
like($headers->{'x-webhook-signature'}, qr/^sha256=[0-9a-f]{64}$/, 'X-Webhook-Signature');
like($headers->{'webhook-signature'}, qr{^v1,[A-Za-z0-9+/]{43}=$}, 'webhook-signature');
like(
	$request->{body},
	qr/^\{"event":"contact\.created","timestamp":"[^"]+Z","data":\{"id":1,"organization_id":"acme","name":"Ada",/,
	'the body is event, timestamp and the row in column order');

eventually { $node->safe_psql('postgres', 'SELECT count(*) FROM webhook_logs') >= 1 } 'the attempt is logged';
is( $node->safe_psql(
		'postgres',
		q{SELECT configuration_id, organization_id, event, attempt, status, response_status, response_body, error,
		         duration_ms > 0, remote_ip, next_attempt_at FROM webhook_logs}),
	"$webhook|acme|contact.created|1|success|200|ok||t|127.0.0.1|",
	'with its outcome');

# --- what is rolled back is not sent; its twin that commits is ---
#
# Each case is followed by a marker, so that there is something to wait for where nothing is to come. When every event of
# the log has its log row, nothing is still to come.

sub is_received_after
{
	my ($expected, $statements, $what) = @_;
	my $before = $receiver->count;
	$node->safe_psql('postgres', $_) foreach @$statements, insert_contact('marker');
	my $count = 1 + split ' ', $expected;
	wait_until { $receiver->count >= $before + $count } "$count requests after $before";
	wait_until
	{
		$node->safe_psql('postgres',
			'SELECT (SELECT count(*) FROM webhook_logs) >= (SELECT count(*) FROM webhook_events)') eq 't'
	}
	'the log rows';
	my @names = map { $_->{data}{name} } $receiver->bodies;
	is(join(' ', sort splice(@names, $before)), join(' ', sort('marker', split(' ', $expected))), $what);
	return;
}

is_received_after('', [ 'BEGIN; ' . insert_contact('gone') . ' ROLLBACK' ], 'a rolled-back transaction sends nothing');
is_received_after('kept', [ 'BEGIN; ' . insert_contact('kept') . ' COMMIT' ], 'a committed one does');

is_received_after(
	'before after',
	[       'BEGIN; '
		  . insert_contact('before')
		  . ' SAVEPOINT s; '
		  . insert_contact('gone')
		  . ' ROLLBACK TO s; '
		  . insert_contact('after')
		  . ' COMMIT' ],
	'a rolled-back savepoint sends nothing, what surrounds it is sent');
is_received_after(
	'before inside after',
	[       'BEGIN; '
		  . insert_contact('before')
		  . ' SAVEPOINT s; '
		  . insert_contact('inside')
		  . ' RELEASE s; '
		  . insert_contact('after')
		  . ' COMMIT' ],
	'a released savepoint is sent');
is_received_after(
	'kept',
	[       'BEGIN; SAVEPOINT a; SAVEPOINT b; '
		  . insert_contact('gone')
		  . ' RELEASE b; ROLLBACK TO a; '
		  . insert_contact('kept')
		  . ' COMMIT' ],
	'a savepoint released into a rolled-back one sends nothing');

is_received_after(
	'',
	[ 'BEGIN; ' . insert_contact('gone') . q{ PREPARE TRANSACTION 'p'}, q{ROLLBACK PREPARED 'p'} ],
	'a rolled-back prepared transaction sends nothing');
is_received_after(
	'kept',
	[ 'BEGIN; ' . insert_contact('kept') . q{ PREPARE TRANSACTION 'p'}, q{COMMIT PREPARED 'p'} ],
	'a committed one is sent');

my $before_prepare = $receiver->count;
$node->safe_psql('postgres', 'BEGIN; ' . insert_contact('pending') . q{ PREPARE TRANSACTION 'p'});
$node->safe_psql('postgres', insert_contact('overtaking'));
eventually { $receiver->count > $before_prepare } 'a prepared transaction holds no other up';
unlike(received_names(), qr/pending/, 'and is not sent before it commits');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
eventually { received_names() =~ /pending/ } 'but then it is';

is(
	join(' ', sort split ' ', received_names()),
	join(' ', sort split ' ', captured_names()),
	'the event log holds what was sent and nothing else');
is_deeply([ grep { $_ != 1 } values %{ $receiver->counts_by_webhook_id } ], [], 'nothing was sent twice');
is_log_clean($node);
$node->stop;

# --- created without shared_preload_libraries ---

my $late = new_node(preload => 0, extension => 0);
my $late_receiver = start_receiver();
my ($status, $stdout, $stderr) = $late->psql('postgres', 'CREATE EXTENSION webhook');
is($status, 0, 'the extension can be created without shared_preload_libraries');
like($stderr, qr/WARNING: .*shared_preload_libraries/s, 'which gives a warning that names the setting');
like($stderr, qr/shared_preload_libraries = 'webhook'/, 'and the line to add');

$late->safe_psql('postgres', $crm);
$late->safe_psql('postgres', q{SELECT webhook_watch('contacts', 'contact.created')});
# Without the library, webhook.allow_http is an unknown setting until a session loads it.
$late->safe_psql('postgres',
	q{INSERT INTO webhook_configurations (organization_id, name, url, events)
	  VALUES ('acme', 'late', '} . $late_receiver->url('/ok') . q{', '{contact.created}')});
$late->safe_psql('postgres', insert_contact("early$_")) foreach 1 .. 3;
is($late->safe_psql('postgres', 'SELECT count(*) FROM webhook_events'), 3, 'events are captured');
is($late_receiver->count, 0, 'and wait');

$late->append_conf('postgresql.conf', q{shared_preload_libraries = 'webhook'});
$late->restart;
eventually { $late_receiver->count >= 3 } 'after the restart they are sent';
$late->safe_psql('postgres', insert_contact('later'));
eventually { $late_receiver->count >= 4 } 'and those after it';
is(join(' ', sort map { $_->{data}{name} } $late_receiver->bodies), 'early1 early2 early3 later', 'each once');
# The restart may meet the sessions of psql before they have ended.
is_log_clean($late, expected => [ qr/WARNING: .*(?:preload|shared_preload_libraries)/, qr/FATAL: .*terminating connection/ ]);
$late->stop;

done_testing();
