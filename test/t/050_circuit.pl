# An endpoint that fails for a while is left alone but for a probe from time to time, whatever is pending to it: the worker's
# memory stays flat, other webhooks do not notice, and when it answers again everything arrives, the oldest first.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use HTTP::Tiny;
use JSON::PP qw(decode_json);
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $backlog = 200_000;
my $healthy_total = 2_000;
my $in_flight_max = 16;         # webhook_configurations.max_in_flight, by default
my $step_s = 5;                 # from the opening to the first probe; doubles; both ±20 %
my $memory_max_kb = 128 * 1024;

my $receiver = start_receiver();
my $failing = start_receiver();
my $node = new_node(log_min_messages => 'debug1');    # which tells of circuits
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	CREATE TABLE notes (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	SELECT webhook_watch('notes', 'note.created', organization_column => NULL);
});
my $dead = create_webhook($node, name => 'dead', url => $failing->url('/ok'), events => ['item.created'],
	organization_id => undef);
my $healthy = create_webhook($node, name => 'healthy', url => $receiver->url('/ok?healthy'), events => ['note.created'],
	organization_id => undef);

sub stats
{
	my ($webhook, $columns) = @_;
	return query($node, "SELECT $columns FROM webhook_stats WHERE configuration_id = '$webhook'");
}

sub pending
{
	my ($webhook) = @_;
	return query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$webhook' AND state = 'pending'");
}

# Attempts that began after the circuit had opened, by their distance from what was before them, in s.
sub probe_gaps
{
	return split /\n/, query($node, qq{
		SELECT extract(epoch FROM l.created_at - lag(l.created_at, 1, e.circuit_opened_at) OVER (ORDER BY l.created_at))
		FROM webhook_logs l JOIN webhook_endpoints e USING (configuration_id)
		WHERE configuration_id = '$dead' AND l.created_at > e.circuit_opened_at ORDER BY l.created_at});
}

sub log_lines
{
	my ($pattern) = @_;
	return scalar(() = slurp_file($node->logfile) =~ /$pattern/g);
}

# What the receiver has counted; its record is too long to be read for that.
sub arrivals
{
	my ($counted) = @_;
	return decode_json(HTTP::Tiny->new->get("http://127.0.0.1:$counted->{control_port}/count")->{content})->{requests};
}

query($node, 'INSERT INTO items SELECT generate_series(-9, 0)');
eventually { stats($dead, 'successes') == 10 } 'at first it receives';
my $memory_before = worker_memory_kb($node);

# --- It fails -----------------------------------------------------------------------------------------------------------

$failing->set('/ok', '/status/500');
my $notes = start_session($node, join('',
	map { "INSERT INTO notes SELECT generate_series($_, $_ + 19); SELECT pg_sleep(0.1);\n" }
	  map { 20 * $_ + 1 } 0 .. $healthy_total / 20 - 1));
query($node, "INSERT INTO items SELECT generate_series($_ + 1, $_ + $backlog / 4)")
  foreach map { $_ * $backlog / 4 } 0 .. 3;
eventually { stats($dead, 'circuit') eq 'open' } 'its circuit opens';
is(stats($dead, 'failing_since IS NOT NULL AND next_probe_at > circuit_opened_at AND is_active'), 't',
	'webhook_stats says since when it fails, and when it is probed');
eventually { pending($dead) == $backlog } 'all of its events become pending';
is(stats($dead, 'pending'), 10_000, 'of which webhook_stats counts 10,000');
cmp_ok(worker_memory_kb($node), '<', $memory_max_kb, "the worker's memory stays below 128 MB: $memory_before kB before, then "
	  . worker_memory_kb($node));
my $check = query($node, "SELECT severity, finding FROM webhook_check('$dead')");
like($check, qr/^warning\|its endpoint has failed since .*: the circuit is open, and one delivery is tried at .*HTTP status 500/m,
	'webhook_check says that the circuit is open');
like($check, qr/^info\|more than 1000 deliveries are pending/m, 'and how much is pending, of which it counts 1,000');

eventually { probe_gaps() >= 2 } 'it is probed';
my @gaps = probe_gaps();
cmp_ok($gaps[0], '>=', 0.8 * $step_s, 'first a step after it has opened');
cmp_ok($gaps[1], '>=', 2 * 0.8 * $step_s, 'then two steps later');
is(scalar @gaps, 2, 'with one request a step');
my $attempts = query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$dead'");
is(arrivals($failing), $attempts, 'nothing else has been sent to it');
cmp_ok($attempts, '<=', 10 + 4 + $in_flight_max + 2, 'to open took five failures, and what was in flight with the fifth');

$notes->finish;
eventually { stats($healthy, 'successes') == $healthy_total } 'the other webhook gets everything meanwhile';
is($receiver->count('/ok?healthy'), $healthy_total, 'once');
is(stats($healthy, 'attempts - successes'), 0, 'without a failed attempt');

# --- The worker restarts ------------------------------------------------------------------------------------------------

my $opened_at = stats($dead, 'circuit_opened_at');
my $pid = query($node, 'SELECT pid FROM webhook_workers');
query($node, "SELECT pg_terminate_backend($pid)");
eventually { query($node, "SELECT count(*) FROM webhook_workers WHERE pid <> $pid") == 1 } 'another worker';
eventually { probe_gaps() >= 4 } 'it goes on probing';
is(stats($dead, 'circuit, circuit_opened_at'), "open|$opened_at", 'the circuit has stayed open');
is(pending($dead), $backlog, 'with all that is pending');
my @later_gaps = (probe_gaps())[ 2, 3 ];
is(scalar(probe_gaps()), 4, 'the restart caused no burst of requests');
cmp_ok($later_gaps[1], '>=', 0.8 * $step_s, 'a step lies between them');
cmp_ok(worker_memory_kb($node), '<', $memory_max_kb, 'the new worker is no larger: ' . worker_memory_kb($node));

# --- It answers again ---------------------------------------------------------------------------------------------------

$failing->set('/ok', undef);
my $sent_before = arrivals($failing);
wait_until { arrivals($failing) >= $sent_before + 1_000 } 'it catches up';
query($node, 'INSERT INTO notes SELECT generate_series(5001, 5100)');
eventually { $receiver->count('/ok?healthy') == $healthy_total + 100 } 'the other webhook gets everything meanwhile too';
cmp_ok(stats($dead, 'pending'), '>', 0, 'long before this one has caught up');
eventually { stats($dead, 'pending') == 0 } 'when it answers again, it gets what is pending for it';
eventually { stats($dead, 'circuit') eq 'closed' } 'the circuit is closed';
is(stats($dead, 'failing_since IS NULL AND circuit_opened_at IS NULL AND next_probe_at IS NULL'), 't',
	'and nothing fails any more');
is(query($node, "SELECT count(*), count(DISTINCT event_id) FROM webhook_logs
	WHERE configuration_id = '$dead' AND status = 'success'"), ($backlog + 10) . '|' . ($backlog + 10),
	'every event was delivered, once');
cmp_ok(worker_memory_kb($node), '<', $memory_max_kb, 'memory is still flat: ' . worker_memory_kb($node));

# What failed before the circuit opened waits for its schedule; everything else goes by age. Ids are drawn by one session
# after another, so they are as old as they are small. What began in the same microsecond has no order.
my $early = "SELECT event_id FROM webhook_logs WHERE configuration_id = '$dead' AND created_at <= '$opened_at'";
my $overtaken = query($node, qq{
	SELECT event_id FROM (SELECT event_id, lag(event_id) OVER (ORDER BY created_at, event_id) AS before
		FROM webhook_logs WHERE configuration_id = '$dead' AND status = 'success' AND event_id NOT IN ($early)) AS sent
	WHERE event_id < before LIMIT 20});
is($overtaken, '', 'they were sent in the order of their age')
  or diag(query($node, "SELECT l.*, e.created_at AS captured_at FROM webhook_logs l LEFT JOIN webhook_events e ON e.id = event_id
		WHERE event_id IN (@{[join(', ', split /\n/, $overtaken)]}) ORDER BY event_id, l.id"));
my @arrived = map { $_->[1] } received_rows($failing);
is(scalar @arrived, arrivals($failing), 'what has arrived is on record');
splice(@arrived, 0, $sent_before);
is(scalar @arrived, scalar(keys %{ tally(@arrived) }), 'none arrived twice');
my %is_early = map { $_ => 1 } split /\n/,
  query($node, "SELECT (data ->> 'id')::bigint FROM webhook_events WHERE id IN ($early)");
my @late = grep { !$is_early{$_} } @arrived;
my $rank = 0;
my %rank = map { $_ => $rank++ } sort { $a <=> $b } @late;
my $ahead_max = max(map { $rank{ $late[$_] } - $_ } 0 .. $#late);
cmp_ok($ahead_max, '<', $in_flight_max, "none overtook more than was in flight with it: $ahead_max");
is(log_lines(qr/DEBUG:  .*the circuit of webhook "dead" \($dead\) has opened: HTTP status 500/), 1, 'the opening is logged once');
is(log_lines(qr/DEBUG:  .*the circuit of webhook "dead" \($dead\) has closed/), 1, 'so is the closing');
is(log_lines(qr/DEBUG:  .*the circuit of/), 2, 'and no other circuit opened');

# --- Another beginning --------------------------------------------------------------------------------------------------

query($node, 'UPDATE webhook_configurations SET is_active = false');
my $moved = create_webhook($node, name => 'moved', url => $receiver->url('/status/500?moved'), events => ['note.created'],
	organization_id => undef, retry_schedule => [ ('100 milliseconds') x 20 ]);
query($node, 'INSERT INTO notes SELECT generate_series(10001, 10010)');
eventually { stats($moved, 'circuit, pending') eq 'open|10' } 'the circuit of another webhook opens';
query($node, "UPDATE webhook_configurations SET url = '@{[$receiver->url('/ok?moved')]}' WHERE id = '$moved'");
eventually { stats($moved, 'circuit, pending') eq 'closed|0' } 'a new URL closes it';
is($receiver->count('/ok?moved'), 10, 'all that is pending goes there');
is(log_lines(qr/DEBUG:  .*the circuit of webhook "moved" \($moved\) has closed/), 0, 'no probe was waited for');

my $switched = create_webhook($node, name => 'switched', url => $receiver->url('/status/500?switched'),
	events => ['note.created'], organization_id => undef, retry_schedule => [ ('100 milliseconds') x 20 ]);
query($node, 'INSERT INTO notes SELECT generate_series(20001, 20010)');
eventually { stats($switched, 'circuit, pending') eq 'open|10' } 'so does that of a third';
$opened_at = stats($switched, 'circuit_opened_at');
query($node, "UPDATE webhook_configurations SET is_active = $_ WHERE id = '$switched'") foreach qw(false true);
eventually { log_lines(qr/the circuit of webhook "switched" \($switched\) has opened/) == 2 }
'switched off and on, it starts afresh, and has to fail again to open';
eventually { stats($switched, "circuit_opened_at > '$opened_at'") eq 't' } 'which is to be seen';
cmp_ok(query($node, "SELECT count(*) FROM webhook_logs l JOIN webhook_stats s USING (configuration_id),
	webhook_configurations c WHERE c.id = '$switched' AND configuration_id = c.id
	AND l.created_at > c.active_since AND l.created_at < s.circuit_opened_at"), '>=', 5, 'five times');
query($node, "UPDATE webhook_configurations SET is_active = false WHERE id = '$switched'");
$receiver->set('/status/500', '/ok');
query($node, "UPDATE webhook_configurations SET is_active = true WHERE id = '$switched'");
eventually { stats($switched, 'pending') == 0 } 'switched off and on once more, it gets what is pending for it';
eventually { stats($switched, 'circuit, circuit_opened_at IS NULL, failing_since IS NULL') eq 'closed|t|t' }
'webhook_stats shows no circuit open';
is(log_lines(qr/DEBUG:  .*the circuit of webhook "switched" \($switched\) has closed/), 0, 'without having closed one');

is_log_clean($node);
$node->stop;

done_testing();
