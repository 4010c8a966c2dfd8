# webhook_stats and webhook_workers: they say what happened, over the lives of several workers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $node = new_node();
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	CREATE TABLE notes (id bigint PRIMARY KEY);
	SELECT webhook_watch('notes', 'note.created', organization_column => NULL);
});
my $good = create_webhook($node, name => 'good', organization_id => undef, url => $receiver->url('/delay/100?good'),
	events => ['item.created']);
my $bad = create_webhook($node, name => 'bad', organization_id => undef, url => $receiver->url('/status/404?bad'),
	events => ['note.created'], retry_schedule => ['1 hour']);

sub stats
{
	my ($name, $columns) = @_;
	return query($node, "SELECT $columns FROM webhook_stats WHERE name = '$name'");
}
# Its hours, added up, and whether they have the durations of its minutes.
sub hours
{
	my ($name) = @_;
	return query($node, "SELECT concat_ws(' ', sum(h.attempts), sum(h.successes), webhook_internal.sum_counts(h.events),
			webhook_internal.sum_counts(h.statuses), webhook_internal.sum_durations(h.durations) = (
				SELECT webhook_internal.sum_durations(m.durations) FROM webhook_minutes m WHERE m.configuration_id = c.id))
		FROM webhook_hours h JOIN webhook_configurations c ON c.id = h.configuration_id WHERE c.name = '$name' GROUP BY c.id");
}
sub worker { return query($node, 'SELECT pid FROM webhook_workers'); }

is(stats('good', 'attempts, success_percent, p50_ms, pending, dead, circuit'), '0|||0|0|closed', 'at first there is nothing to say');
query($node, 'INSERT INTO items SELECT generate_series(1, 150)');
query($node, 'INSERT INTO notes SELECT generate_series(1, 50)');
eventually { stats('good', 'attempts') == 150 && stats('bad', 'attempts') == 50 } 'attempts are counted within seconds';
is(stats('good', 'successes, success_percent, pending, dead'), '150|100.0|0|0', 'by their success');
is(stats('bad', 'successes, success_percent, pending, dead, circuit'), '0|0.0|50|0|closed', 'or failure');
is(hours('good'), '150 150 {"item.created": [150, 150]} {"200": [150, 150]} t', 'the hours have them by event and status');
is(hours('bad'), '50 0 {"note.created": [50, 0]} {"404": [50, 0]} t', 'failures too');
is(stats('bad', "last_success_at IS NULL AND failing_since <= last_failure_at"), 't', 'with their times');
is(stats('bad', 'last_error'), 'HTTP status 404', 'and the last error');
cmp_ok(stats('good', 'p50_ms'), '>=', 100 / 1.2, 'the median is not below what the endpoint takes, but for 20 %');
is(stats('good', 'p50_ms <= p95_ms'), 't', 'the 95th percentile not below the median');

my ($sent, $failed, $logged) = split /\|/, query($node, 'SELECT sent, failed, logged FROM webhook_workers');
is("$sent $failed $logged", '200 50 200', 'webhook_workers counts the same for the worker');
is(query($node, 'SELECT worker, workers, database, in_flight, queued FROM webhook_workers'), '1|1|postgres|0|0',
	'and says which it is, and that nothing is under way');

my $first = worker();
query($node, "SELECT pg_terminate_backend($first)");
eventually { my $next = worker(); $next ne '' && $next ne $first } 'another worker';
query($node, 'INSERT INTO items SELECT generate_series(151, 200)');
eventually { stats('good', 'attempts') == 200 } 'counts go on over its life';
is(hours('good'), '200 200 {"item.created": [200, 200]} {"200": [200, 200]} t', 'in the hours, too');
is(query($node, 'SELECT sent FROM webhook_workers'), 50, 'while those of the worker are its own');
query($node, "SELECT webhook_cancel('$bad')");
is(stats('bad', 'pending, dead'), '0|50', 'what is given up is dead');

$node->stop;
$node->start;
is(stats('good', 'attempts'), 200, 'and they outlive the server');

is_log_clean($node);
$node->stop;

done_testing();
