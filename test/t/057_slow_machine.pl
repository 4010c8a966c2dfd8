# A machine that has no time for the worker: a filter is judged, and its organization charged, by the time in which it was
# evaluated, not by the time that passed. slow_numbers.c makes the worker stand still for 12 ms within a filter, and so for
# longer than the filter may take.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash qw(query);

my $library = $ENV{WEBHOOK_SLOW_NUMBERS};
plan skip_all => 'WEBHOOK_SLOW_NUMBERS does not name the library' unless $library;

my $receiver = start_receiver();
my $node;
{
	local $ENV{LD_PRELOAD} = join(' ', $library, $ENV{LD_PRELOAD} // ());
	$node = new_node();
}
query($node, q{
	CREATE TABLE readings (id bigint PRIMARY KEY, organization_id text DEFAULT 'acme', value text);
	SELECT webhook_watch('readings', 'reading.created');
});
my $webhook = create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok'), events => ['reading.created'],
	filter => '$.value.double() == 1');

# Of one organization, more than it may take of the worker's time if it were the clock's. A virtual machine may charge a
# process with time that it has given to others, so that a filter is rightly left alone for a while: then once more.
my $count = 100;
my $last_id = 0;
my ($matched, $complaints);
foreach my $round (1 .. 4)
{
	my $position = -s $node->logfile;
	my $unjudged = "SELECT coalesce(sum(unjudged), 0) FROM webhook_stats WHERE configuration_id = '$webhook'";
	my $matches = "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook' AND status = 'success'";
	my ($matched_before, $unjudged_before) = (query($node, $matches), query($node, $unjudged));
	query($node, "INSERT INTO readings (id, value) SELECT $last_id + i, '000000001' FROM generate_series(1, $count) i");
	$last_id += $count;
	eventually { query($node, 'SELECT count(*) FROM webhook_events') == $last_id } 'events are recorded';
	wait_until
	{
		$matched = query($node, $matches) - $matched_before;
		$matched + query($node, $unjudged) - $unjudged_before >= $count
	}
	'all events are judged, or given up';
	$complaints = join("\n", grep { /the filters? of/ } split /\n/, slurp_file($node->logfile, $position));
	last if $matched == $count && $complaints eq '';
	note("round $round: $matched of $count match. $complaints");
	sleep 2**$round;    # as long as the filter is left alone
}
is($matched, $count, 'a filter that has not had its time is tried again, and its organization not charged for the wait');
is($complaints, '', 'and nothing is said to take too long');
eventually { $receiver->count >= $count } 'all of it arrives';

# Charged with the time of others once: the library does that to the first such number that the worker reads.
my $charged = create_webhook($node, organization_id => 'globex', url => $receiver->url('/ok?charged'), events => ['reading.created'],
	filter => '$.value.double() == 99999999');
query($node, "INSERT INTO readings (id, organization_id, value) VALUES (" . ($last_id + 1) . ", 'globex', '99999999')");
wait_until { query($node, qq{SELECT count(*) > 0 FROM webhook_logs WHERE configuration_id = '$charged'}) eq 't'
		|| query($node, qq{SELECT coalesce(sum(unjudged), 0) FROM webhook_stats WHERE configuration_id = '$charged'}) > 0 }
	'it is judged, or given up';
is(query($node, qq{SELECT count(*) FROM webhook_logs WHERE configuration_id = '$charged' AND status = 'success'}), 1,
	'a filter that took too long once is asked once more');
is_log_clean($node);
$node->stop;

done_testing();
