# A smart and a fast stop wait for what is in flight, record it and the checkpoint: after the next start nothing is
# missing and nothing is sent twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $node = new_node();
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});
my %webhooks = ('/ok' => 32, '/delay/300?w=slow' => 32);
create_webhook($node, url => $receiver->url($_), events => ['item.created'], organization_id => undef,
	max_in_flight => $webhooks{$_})
  foreach sort keys %webhooks;

my $first = 1;
foreach my $mode (qw(fast smart fast smart))
{
	my $last = $first + 499;
	my $slow_before = $receiver->count('/delay/300?w=slow');
	# A smart stop waits for the sessions, so this one must end by itself.
	my $session = start_session($node, join('', map { "INSERT INTO items VALUES ($_);\n" } $first .. $last));
	wait_until { $receiver->count('/delay/300?w=slow') > $slow_before + 20 } 'slow requests are in flight';
	$node->stop($mode);
	$session->finish;
	$node->start;
	$first = $last + 1;
	my $expected = query($node, 'SELECT 2 * count(*) FROM items');
	eventually { query($node, 'SELECT count(*) FROM webhook_logs') >= $expected } "$mode stop: everything arrives";
}
my @committed = split /\n/, query($node, 'SELECT id FROM items');
foreach my $path (sort keys %webhooks)
{
	my @received = map { $_->[1] } received_rows($receiver, $path);
	is(missing(\@committed, \@received), '', "$path: nothing is lost");
	is(scalar(grep { $_ > 1 } values %{ tally(@received) }), 0, "$path: nothing is sent twice");
}
is_log_clean($node, expected => [crash_lines()]);
$node->stop;

done_testing();
