# Receivers that fail in the middle of deliveries: killed and gone for 30 s, stopped by SIGSTOP, closing in the middle of
# a response, answering a byte at a time. Healthy webhooks get all of theirs meanwhile, and in the end everything arrives.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;
use Time::HiRes qw(time);
use WebhookTest;
use WebhookTest::Crash;

my $away_s = 30;
my $healthy = start_receiver();
my $killed = start_receiver();
my $stopped = start_receiver();
my $wrong = start_receiver();
my $node = new_node();
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});
my @healthy_paths = map { "/ok?healthy=$_" } 1 .. 3;
my @failing = ([ $killed, '/ok' ], [ $stopped, '/ok' ], [ $wrong, '/closes' ], [ $wrong, '/drips' ]);
create_webhook($node, url => $healthy->url($_), events => ['item.*'], organization_id => undef) foreach @healthy_paths;
create_webhook($node, url => $_->[0]->url($_->[1]), events => ['item.*'], organization_id => undef,
	timeout_ms => 1000, retry_schedule => [ ('4 seconds') x 20 ])
  foreach @failing;

my $next_id = 1;

sub insert_items
{
	my ($count) = @_;
	query($node, join(' ', map { "INSERT INTO items VALUES (@{[$next_id++]});" } 1 .. $count));
	return;
}

sub arrived
{
	my ($receiver, $path) = @_;
	return scalar(keys %{ tally(map { $_->[1] } received_rows($receiver, $path)) });
}

sub successes { return query($node, q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}); }

$wrong->set($_, '/ok') foreach '/closes', '/drips';
insert_items(50);
eventually { successes() == 50 * (@healthy_paths + @failing) } 'at first all receive';

$killed->kill;
$stopped->pause;
$wrong->set('/closes', '/close-mid-response');
$wrong->set('/drips', '/drip');
my $began = time();
my $rounds = 0;
while (time() - $began < $away_s)
{
	++$rounds;
	insert_items(20);
	wait_until { (grep { arrived($healthy, $_) == $next_id - 1 } @healthy_paths) == @healthy_paths }
	"the healthy ones, round $rounds"
	  or last;
}
is(scalar(grep { arrived($healthy, $_) == $next_id - 1 } @healthy_paths), @healthy_paths,
	"the healthy ones got all of $rounds rounds while the others failed");
is(query($node, q{SELECT count(DISTINCT configuration_id) FROM webhook_logs WHERE status = 'failed'}),
	@failing, 'each of the others failed');
$killed->start;
$stopped->resume;
$wrong->set($_, '/ok') foreach '/closes', '/drips';

my $total = $next_id - 1;
eventually { successes() == $total * (@healthy_paths + @failing) } 'in the end everything is delivered';
is(arrived(@$_), $total, "$_->[1]: everything has arrived") foreach @failing;
is(query($node, q{SELECT count(*) FROM (SELECT FROM webhook_logs WHERE status = 'success'
	GROUP BY configuration_id, event_id HAVING count(*) > 1) AS twice}), 0, 'each was delivered once');
foreach my $path (@healthy_paths)
{
	is($healthy->count($path), $total, "$path: and sent once");
}
my @pairs = keys %{ tally(map { "@$_" } map { received_rows(@$_) } @failing) };
is(scalar @pairs, $total, 'a repeat bears the same webhook-id');
is(query($node, 'SELECT count(*) FROM webhook_deliveries'), 0, 'nothing is pending');
is_log_clean($node);
$node->stop;

done_testing();
