# What management functions make the running worker do: send again, send what was missed, give up, sign with two
# secrets. And a curl command that a receiver takes for the original.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $receiver = start_receiver();
my $node = new_node();
$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/../../examples/crm.sql"));

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

sub insert_contact
{
	my ($name) = @_;
	return sql("INSERT INTO contacts (organization_id, name) VALUES ('acme', '$name')");
}

# The rows of webhook_deliveries, event by event.
sub pending
{
	my ($webhook) = @_;
	return sql(
		"SELECT string_agg(concat_ws(':', state, attempts, last_error), ' ' ORDER BY event_id) "
		  . "FROM webhook_deliveries WHERE configuration_id = '$webhook'");
}

sub logged
{
	my ($webhook, $more) = @_;
	return sql("SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook' AND " . ($more // 'true'));
}

# --- webhook_watch_crm, from the change to the body ---

like(sql('SELECT count(DISTINCT event) FROM webhook_watch_crm()'), qr/^17$/, 'all 17 events are declared');
my $crm = create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?crm'), events => ['*'],
	max_in_flight => 1);
sql(q{
	INSERT INTO contacts (organization_id, name, assigned_to) VALUES ('acme', 'Ada', 'Bob');
	UPDATE contacts SET phone = '1';
	INSERT INTO deals (organization_id, title, assigned_to) VALUES ('acme', 'engine', 'Bob');
	UPDATE deals SET stage = 'won';
	INSERT INTO conversations (organization_id, channel, assigned_to) VALUES ('acme', 'sms', 'Bob');
	UPDATE conversations SET status = 'closed';
	INSERT INTO messages (organization_id, direction, status, body)
		VALUES ('acme', 'inbound', 'received', 'in'), ('acme', 'outbound', 'queued', 'out');
	UPDATE messages SET status = 'sent' WHERE direction = 'outbound';
	UPDATE messages SET status = 'delivered' WHERE direction = 'outbound';
	UPDATE messages SET status = 'read' WHERE direction = 'outbound';
	UPDATE messages SET status = 'failed' WHERE direction = 'outbound';
	INSERT INTO broadcast_responses (organization_id, broadcast, response) VALUES ('acme', 'news', 'yes');
	INSERT INTO zoom_recordings (organization_id, meeting_id) VALUES ('acme', '1');
	UPDATE zoom_recordings SET status = 'completed';
});
eventually { $receiver->count('/ok?crm') >= 17 } 'each of them arrives';
my %body_of = map { $_->{event} => $_ } $receiver->bodies('/ok?crm');
is( join("\n", sort keys %body_of),
	sql(q{SELECT string_agg(name, E'\n' ORDER BY name COLLATE "C") FROM webhook_event_types WHERE category <> 'webhook'}),
	'once by name');
is(scalar($receiver->count('/ok?crm')), 17, 'and nothing else');
is($body_of{'deal.stage.changed'}{data}{stage}, 'won', 'with its row');
is($body_of{'message.delivered'}{data}{status}, 'delivered', 'as it was then');
is($body_of{'zoom.recording.completed'}{data}{meeting_id}, '1', 'of its own table');
eventually { logged($crm) >= 17 } 'each is logged';
sql("DELETE FROM webhook_configurations WHERE id = '$crm'");

# --- webhook_redeliver ---

my $webhook = create_webhook(
	$node,
	organization_id => 'acme',
	url => $receiver->url('/ok?managed'),
	events => ['contact.created'],
	secret => 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
	headers => q({"X-Key": "it's $HOME"}),
	retry_schedule => ['100 milliseconds']);
insert_contact('first');
eventually { logged($webhook) == 1 } 'an event is delivered';
my $log = sql("SELECT id FROM webhook_logs WHERE configuration_id = '$webhook'");
sql("SELECT webhook_redeliver($log)");
eventually { $receiver->count('/ok?managed') == 2 } 'webhook_redeliver sends it again';
my @twice = $receiver->received('/ok?managed');
is($twice[1]{webhook_id}, $twice[0]{webhook_id}, 'with the same webhook-id');
is($twice[1]{body}, $twice[0]{body}, 'and the same body');
is($twice[1]{headers}{'x-webhook-attempt'}, 1, 'as its first attempt');
eventually { logged($webhook) == 2 && pending($webhook) eq '' } 'it is logged, and pending no more';

is( sql("SELECT event_id = (SELECT event_id FROM webhook_logs WHERE id = $log) FROM webhook_find('$twice[0]{webhook_id}')"),
	't', 'webhook_find knows the id that was sent');
is(sql("SELECT outcome FROM webhook_logs l, webhook_explain(l.event_id) WHERE l.id = $log"), 'delivered', 'and webhook_explain its fate');
is(sql("SELECT count(*) FROM webhook_check('$webhook') WHERE severity <> 'info'"), 0, 'webhook_check finds nothing wrong');

# --- webhook_curl ---

my ($output, $errors) = run_command([ '/bin/sh', '-c', sql("SELECT webhook_curl($log)") ]);
is($receiver->count('/ok?managed'), 3, 'webhook_curl is a command that sends the request') or diag($errors);
my $by_hand = ($receiver->received('/ok?managed'))[2];
is($by_hand->{body}, $twice[0]{body}, 'with the body');
delete @{ $_->{headers} }{qw(accept connection host content-length user-agent)} foreach $by_hand, $twice[0];
is_deeply($by_hand->{headers}, $twice[0]{headers}, 'and all headers, signatures too, as they were');

# --- webhook_rotate_secret ---

my $fresh = sql("SELECT webhook_rotate_secret('$webhook')");
insert_contact('signed twice');
eventually { $receiver->count('/ok?managed') == 4 } 'an event after webhook_rotate_secret arrives';
my $rotated = ($receiver->received('/ok?managed'))[3];

sub verified
{
	my ($request, $secret) = @_;
	my ($id, $time, $signature) = @{ $request->{headers} }{qw(webhook-id webhook-timestamp webhook-signature)};
	my $github = $request->{headers}{'x-webhook-signature'};
	return sql("SELECT webhook_verify('$id', '$time', \$body\$$request->{body}\$body\$, '$signature', '$secret') AS standard, "
		  . "webhook_verify(\$body\$$request->{body}\$body\$, '$github', '$secret') AS github");
}
is(scalar(split / /, $rotated->{headers}{'webhook-signature'}), 2, 'it bears two signatures');
is(verified($rotated, $fresh), 't|t', 'the new secret verifies it');
is(verified($rotated, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), 't|f', 'the old one by webhook-signature');
sql("SELECT webhook_rotate_secret('$webhook', '0')");
insert_contact('signed once');
eventually { $receiver->count('/ok?managed') == 5 } 'without overlap';
is(verified(($receiver->received('/ok?managed'))[4], $fresh), 'f|f', 'the old secret ends at once');
eventually { logged($webhook) == 4 } 'all of it is logged';

# --- webhook_replay ---

is(sql("SELECT webhook_replay('$webhook', '-infinity', dry_run => true)"), 4, 'a dry run counts what was missed before, too');
is(sql("SELECT webhook_replay('$webhook', '-infinity')"), 4, 'webhook_replay makes them pending again');
eventually { $receiver->count('/ok?managed') == 9 } 'and they are sent';
my %times = %{ $receiver->counts_by_webhook_id('/ok?managed') };
is(scalar(keys %times), 4, 'with the ids that they had') or diag(explain(\%times));
eventually { pending($webhook) eq '' } 'nothing is pending any more';

# What came while it was switched off.
sql("UPDATE webhook_configurations SET is_active = false WHERE id = '$webhook'");
insert_contact('missed');
sql("UPDATE webhook_configurations SET is_active = true WHERE id = '$webhook'");
insert_contact('not missed');
eventually { $receiver->count('/ok?managed') == 10 } 'a webhook that is switched on again gets what follows';
is(sql("SELECT webhook_replay(id, disabled_at, active_since) FROM webhook_configurations WHERE id = '$webhook'"),
	1, 'what came meanwhile can be sent');
eventually { $receiver->count('/ok?managed') == 11 } 'and is';
is_deeply(
	[ map { $_->{data}{name} } ($receiver->bodies('/ok?managed'))[ 9, 10 ] ],
	[ 'not missed', 'missed' ],
	'that and nothing else');
eventually { logged($webhook) == 10 } 'and logged';

# What was given up, and only that.
$receiver->set('/ok', '/status/500');
insert_contact('failing');
eventually { pending($webhook) =~ /^dead:2:/ } 'an event is given up after its schedule';
$receiver->set('/ok', undef);
my $before = $receiver->count('/ok?managed');
is(sql("SELECT webhook_replay('$webhook', '-infinity', only_failed => true)"), 1, 'webhook_replay takes only that');
eventually { pending($webhook) eq '' } 'and it is delivered';
is($receiver->count('/ok?managed'), $before + 1, 'by one request');

# --- webhook_cancel ---

sql("UPDATE webhook_configurations SET is_active = false WHERE id = '$webhook'");
my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT webhook_replay('$webhook', '-infinity')");
is($stdout, 7, 'to a webhook that is switched off everything can be pending');
like($stderr, qr/NOTICE:  webhook ".*" is inactive: its pending deliveries wait/, 'which are said to wait');
is(sql("SELECT webhook_cancel('$webhook')"), 7, 'webhook_cancel gives it up');
my $pending = create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?pending'),
	events => ['contact.created']);
sql("UPDATE webhook_configurations SET is_active = true WHERE id = '$webhook'");
insert_contact('marker');
eventually { $receiver->count('/ok?pending') == 1 && $receiver->count('/ok?managed') == $before + 2 }
	'switched on, it gets what follows';
is(pending($webhook), join(' ', ('dead:0:cancelled') x 7), 'and nothing of what was cancelled');
is(logged($webhook, "attempt = 0 AND error = 'cancelled'"), 7, 'which is logged');

# One that is on its way and fails stays cancelled.
my $slow = create_webhook($node, organization_id => 'acme', url => $receiver->url('/status/500/delay/1000?slow'),
	events => ['contact.created'], retry_schedule => ['1 hour']);
insert_contact('cancelled on its way');
eventually { pending($slow) =~ /^pending:1:/ } 'a delivery waits for its second attempt';
sql("SELECT webhook_redeliver(id) FROM webhook_logs WHERE configuration_id = '$slow'");
eventually { $receiver->count('/status/500/delay/1000?slow') == 2 } 'it is on its way again';
is(sql("SELECT webhook_cancel('$slow', (SELECT event_id FROM webhook_deliveries WHERE configuration_id = '$slow'))"),
	1, 'and is cancelled, by its event');
eventually { logged($slow) == 3 } 'the attempt ends';
like(pending($slow), qr/^dead:\d:cancelled$/, 'and it stays cancelled');

is_log_clean($node);
$node->stop;

done_testing();
