# Replays that a worker carries out (webhook_api.replay()): across kills of the worker and changes of webhook.workers, of two
# tenants at once, each event is queued exactly once and keeps its webhook-id. They wait for what is pending and for locks, and
# end when they are cancelled, when their webhook is deleted or switched off, and when its filter takes too long.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP qw(decode_json);
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $events = 12_000;    # of each organization: more than a replay keeps pending
my $receiver = start_receiver();
my $node = new_node('max_prepared_transactions' => 5, 'webhook.max_event_size' => '1GB');
query($node, q{
	CREATE TABLE items (id bigint, organization_id text);
	SELECT webhook_watch('items', 'item.created');
	CREATE ROLE manage;
	SELECT webhook_grant('manage');
});

# Calls of webhook_api, by a tenant.
sub call
{
	my ($organization, $call) = @_;
	my $answer = query($node, qq{BEGIN; SET LOCAL ROLE manage; SET LOCAL webhook.organization_id = '$organization';
		SELECT webhook_api.$call; COMMIT});
	return decode_json($answer);
}
sub start { my ($organization, $webhook, $rest) = @_; return call($organization, "replay('$webhook', '-infinity'" . ($rest // '') . ')')->{job}; }
sub column { my ($job, $column) = @_; return query($node, "SELECT $column FROM webhook_replays WHERE id = $job"); }
sub logged { my ($webhook) = @_; return query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook' AND status = 'success'"); }
sub comes_to
{
	my ($job, $state, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eventually { column($job, 'state') eq $state } $name or diag(query($node, "SELECT to_json(r) FROM webhook_replays r WHERE id = $job"));
}

my %first = map { $_ => create_webhook($node, name => 'first', url => $receiver->url("/ok?first-$_"), organization_id => $_,
	events => ['item.created']) } qw(acme globex);
query($node, "INSERT INTO items SELECT i, o FROM generate_series(1, $events) i, unnest('{acme,globex}'::text[]) o");
eventually { logged($first{acme}) == $events && logged($first{globex}) == $events } 'both organizations have events';
my %ids = map { $_ => { map { split /\|/ } split /\n/, query($node, "SELECT id, webhook_id FROM webhook_own_events WHERE organization_id = '$_'") } } qw(acme globex);

# --- crashes ---------------------------------------------------------------------------------------------------------------

my %again = map { $_ => create_webhook($node, name => 'again', url => $receiver->url("/ok?again-$_"), organization_id => $_,
	events => ['item.*']) } qw(acme globex);
# Captured before the replay is asked for, committed after it, with ids in between.
my $late = WebhookTest::Session->new($node, 'postgres');
$late->query(q{BEGIN; INSERT INTO items VALUES (-1, 'acme'); SELECT webhook_flush()});
query($node, q{INSERT INTO items VALUES (-2, 'acme')});
is(call('acme', "replay('$again{acme}', '-infinity', dry_run => true)")->{count}, $events + 1, 'a dry run counts');
my %job = map { $_ => start($_, $again{$_}) } qw(acme globex);
$late->query('COMMIT');
query($node, q{INSERT INTO items VALUES (-3, 'acme')});

sub queued { return try_query($node, 'SELECT sum(queued) FROM webhook_replays') || 0; }
sub workers { return try_query($node, 'SELECT count(*) FROM webhook_workers') || 0; }

# One of several.
sub kill_some_worker
{
	my $pid = query($node, 'SELECT max(pid) FROM webhook_workers');
	kill 'KILL', $pid or die "kill -9 $pid: $!\n";
	wait_until { (try_query($node, 'SELECT max(pid) FROM webhook_workers') || $pid) ne $pid } 'another worker';
	return;
}
my $crashed_within = 0;
foreach my $crash (1 .. 6)
{
	my $before = queued();
	wait_until { queued() >= $before + 1500 || queued() >= 2 * $events } 'some steps';
	$crash == 4 ? crash_server($node) : kill_some_worker();
	$crashed_within++ if queued() < 2 * $events;
	if ($crash == 2)
	{
		$node->append_conf('postgresql.conf', 'webhook.workers = 3');
		$node->reload;
		eventually { workers() == 3 } 'there are three workers';
	}
}
cmp_ok($crashed_within, '>=', 3, "workers were killed within the replays ($crashed_within times)");
$node->append_conf('postgresql.conf', 'webhook.workers = 1');
$node->reload;
comes_to($job{$_}, 'done', "$_: the replay comes to its end") foreach qw(acme globex);
is(column($job{acme}, 'queued'), $events + 1, 'it has queued each event once');
is(column($job{globex}, 'queued'), $events, 'and no event of the other organization');
is(column($job{acme}, 'progress'), 100, 'all is examined');
is(column($job{acme}, 'oldest_event_at <= newest_event_at AND started_at <= ended_at'), 't', 'from the oldest to the newest');
eventually { query($node, q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'}) == 0 } 'all is delivered';
is(query($node, qq{SELECT count(*), count(DISTINCT event_id) FROM webhook_logs WHERE configuration_id = '$again{globex}' AND status = 'success'}),
	"$events|$events", 'each event once');
# -2 by itself and by the replay; -1 and -3 by themselves.
is(query($node, qq{SELECT count(*), count(DISTINCT event_id) FROM webhook_logs WHERE configuration_id = '$again{acme}' AND status = 'success'}),
	($events + 4) . '|' . ($events + 3), 'those that were committed later only because they are new');
foreach my $organization (qw(acme globex))
{
	my $received = $receiver->counts_by_webhook_id("/ok?again-$organization");
	is(scalar(grep { !$received->{$_} } values %{ $ids{$organization} }), 0, "$organization: each has come with its webhook-id");
	is(scalar(keys %$received), $events + ($organization eq 'acme' ? 3 : 0), "$organization: and nothing else");
}

# --- what it waits for -------------------------------------------------------------------------------------------------------

my $pending = q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND configuration_id = };
sub hanging
{
	my ($name) = @_;
	return create_webhook($node, name => $name, url => $receiver->url("/hang?$name"), organization_id => 'globex', events => ['item.*'],
		timeout_ms => 60000, max_in_flight => 1);
}
my $hangs = hanging('hangs');
my $waits = start('globex', $hangs);
eventually { column($waits, 'state') eq 'waiting' && column($waits, 'reason') eq 'the webhook has many pending deliveries' }
'a replay waits while much is pending, and says so';
cmp_ok(query($node, "$pending '$hangs'"), '<=', 10_000, 'it has a bound');
is(column($waits, 'queued <= 10000 AND progress < 100'), 't', 'for which it has stopped');
my $other = start('globex', $first{globex}, q{, events => '{item.created}'});
comes_to($other, 'done', 'others of the organization go on');
ok(call('globex', "cancel_replay($waits)")->{cancelled}, 'it can be cancelled');
is(column($waits, 'state'), 'cancelled', 'at once');
my $left = query($node, "$pending '$hangs'");
cmp_ok($left, '>', 5000, 'what was pending stays so');
is(call('globex', "cancel('$hangs')")->{cancelled}, $left, 'until it is given up');

# While deliveries are paused, so that it does not begin before the session holds what it needs.
query($node, 'SELECT webhook_pause()');
my $held = start('acme', $again{acme});
my $session = WebhookTest::Session->new($node, 'postgres');
$session->query("BEGIN; SELECT webhook_cancel('$again{acme}')");
is($session->errors, '', 'another session holds the deliveries');
query($node, 'SELECT webhook_resume()');
eventually { column($held, 'reason') eq q{another transaction writes the webhook's deliveries} } 'the replay waits for it';
my $running = start('globex', $again{globex});
comes_to($running, 'done', 'another organization\'s does not');
$session->query('ROLLBACK');
comes_to($held, 'done', 'then it goes on');
is(column($held, 'queued'), $events + 3, 'with all events');
query($node, 'SELECT webhook_pause()');
my $kept = start('acme', $again{acme});
$session->query("BEGIN; SELECT webhook_internal.cancel_replay_operator($kept)");
query($node, 'SELECT webhook_resume()');
$running = start('globex', $again{globex});
comes_to($running, 'done', 'a session that holds a row of a replay holds up no other');
is(column($kept, 'state'), 'waiting', 'it is where it was');
$session->query('ROLLBACK');
$session->finish;
comes_to($kept, 'done', 'and after it that replay goes on');

# --- how it ends early -------------------------------------------------------------------------------------------------------

my %early = (deleted => [ 'DELETE FROM webhook_configurations WHERE id =', 'the webhook was deleted' ],
	inactive => [ 'UPDATE webhook_configurations SET is_active = false WHERE id =', 'the webhook is switched off' ]);
foreach my $how (sort keys %early)
{
	my $webhook = hanging($how);
	my $job = start('globex', $webhook);
	eventually { column($job, 'queued') > 0 } "$how: it has begun";
	query($node, "$early{$how}[0] '$webhook'");
	comes_to($job, 'failed', "$how: it ends");
	is(column($job, 'reason'), $early{$how}[1], "$how: for that reason");
	eventually { query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$webhook'") == 0 } 'and nothing of it is left'
	  if $how eq 'deleted';
}
my $picky = create_webhook($node, name => 'picky', url => $receiver->url('/ok?picky'), organization_id => 'acme', events => ['item.*'],
	filter => '$.id > 0 && $.id <= 100');
my $job = start('acme', $picky);
comes_to($job, 'done', 'a filter is asked');
is(column($job, 'queued'), 100, 'and passes what it should');
eventually { logged($picky) == 100 } 'which arrives';
my $nested = '[' x 200 . '1' . ']' x 200;
my $subscriber = create_webhook($node, name => 'all', url => $receiver->url('/ok?all'), organization_id => 'evil', events => ['*']);
query($node, qq{SELECT webhook_emit('contact.created', '{"id":1,"nested":$nested}', 'evil')});
eventually { logged($subscriber) == 1 } 'there is data that takes long to search';
my $slow = create_webhook($node, name => 'slow', url => $receiver->url('/ok?slow'), organization_id => 'evil', events => ['*'],
	filter => '$.**.**.**.** ? (@ == 2)');
$job = start('evil', $slow);
comes_to($job, 'failed', 'a filter that takes too long ends the replay');
is(column($job, 'reason'), q{the webhook's filter took too long}, 'and that is the reason');

# --- only what failed ----------------------------------------------------------------------------------------------------------

$receiver->set('/mends', '/status/404');
my $mends = create_webhook($node, name => 'mends', url => $receiver->url('/mends'), organization_id => 'initech', events => ['item.*'],
	retry_schedule => ['100 milliseconds']);
query($node, q{INSERT INTO items SELECT i, 'initech' FROM generate_series(1, 20) i});
eventually { query($node, q{SELECT count(*) FROM webhook_deliveries WHERE state = 'dead' AND organization_id = 'initech'}) == 20 } 'deliveries have died';
$receiver->set('/mends', '/ok');
query($node, q{INSERT INTO items SELECT i, 'initech' FROM generate_series(21, 30) i});
eventually { logged($mends) == 10 } 'others have not';
$job = start('initech', $mends, ', only_failed => true');
comes_to($job, 'done', 'what failed is replayed');
is(column($job, 'examined || $$ $$ || queued'), '20 20', 'and nothing else');
eventually { logged($mends) == 30 } 'it arrives';

is_log_clean($node, expected => [ crash_lines(), qr/WARNING: .*deliveries of .* wait to be recorded since/ ]);
$node->stop;

done_testing();
