# Host names whose name server never answers: the worker neither waits for them nor counts them against others, and ends
# though look-ups are still under way. silent_names.c makes names silent: a look-up that is waited for would hang the test.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $library = $ENV{WEBHOOK_SILENT_NAMES};
plan skip_all => 'WEBHOOK_SILENT_NAMES does not name the library' unless $library;

my $receiver = start_receiver();
my $node;
{
	local $ENV{LD_PRELOAD} = join(' ', $library, $ENV{LD_PRELOAD} // ());
	$node = new_node();
}
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});
my @silent = map {
	create_webhook($node, organization_id => undef, url => "http://silent$_.example/", events => ['item.created'],
		timeout_ms => 500, retry_schedule => [ ('300 milliseconds') x 20 ])
} 1 .. 10;
my $healthy = create_webhook($node, organization_id => undef, url => $receiver->url('/ok'), events => ['item.created']);

sub logged { return query($node, "SELECT count(*) FROM webhook_logs WHERE $_[0]"); }

query($node, 'INSERT INTO items SELECT generate_series(1, 5)');
eventually { $receiver->count('/ok') == 5 } 'a webhook receives though the hosts of others are not found';
eventually
{
	query($node, q{SELECT count(DISTINCT configuration_id) FROM webhook_logs
		WHERE error ~ '^could not resolve host silent\d+\.example within 500 ms'}) == 10
}
'the others fail when their time is up, with the reason';
query($node, 'INSERT INTO items SELECT generate_series(6, 505)');
eventually { $receiver->count('/ok') == 505 } 'with their look-ups still under way, the healthy webhook gets everything';
is(logged("configuration_id = '$healthy' AND status <> 'success'"), 0, 'without a failed attempt');
eventually { logged(q{error ~ '^too many look-ups of host silent'}) > 0 } 'a host of which nothing comes is not looked up for ever';
my $worker = query($node, 'SELECT pid FROM webhook_workers');
my ($threads) = slurp_file("/proc/$worker/status") =~ /^Threads:\s+(\d+)/m;
cmp_ok($threads, '<=', 140, "the number of threads is bounded: $threads");

query($node, "SELECT pg_terminate_backend($worker)");
eventually { query($node, "SELECT count(*) FROM webhook_workers WHERE pid <> $worker") == 1 }
'the worker can end, and another begins';
$node->stop('fast');
ok(!-e $node->data_dir . '/postmaster.pid', 'the server stops');
is_log_clean($node);

done_testing();
