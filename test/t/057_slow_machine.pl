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

# Of one organization, more than it may take of the worker's time if it were the clock's.
my $count = 100;
query($node, "INSERT INTO readings (id, value) SELECT i, '000000001' FROM generate_series(1, $count) i");
eventually { query($node, 'SELECT count(*) FROM webhook_events') == $count } 'events are recorded';
eventually { query($node, q{SELECT events_ahead FROM webhook_workers}) == 0 && $receiver->count >= $count }
	'a filter that has not had its time is tried again, and its organization not charged for the wait';
is(query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook' AND status = 'success'"), $count, 'all match');
my @complaints = grep { /the filters? of/ } split /\n/, slurp_file($node->logfile);
is(join("\n", @complaints), '', 'and nothing is said to take too long');

is_log_clean($node);
$node->stop;

done_testing();
