# A delivery that an administrator asks for while an attempt of it is on its way: however that ends, the delivery is made
# once more, from the first attempt on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $receiver = start_receiver();
my $node = new_node();

# How the first attempt ends, long after it began: as the receiver was told when the request came.
my %ends = (success => '/delay/5000', failure => '/delay/5000/status/404', timeout => '/hang');
foreach my $name (sort keys %ends)
{
	my $path = "/$name";
	$receiver->set($path, $ends{$name});
	my $webhook = create_webhook($node, name => $name, organization_id => $name, url => $receiver->url($path),
		events => ['contact.created'], retry_schedule => ['1 hour'], timeout_ms => $name eq 'timeout' ? 5000 : 30000);
	query($node, "SELECT webhook_emit('contact.created', '{}', organization_id => '$name')");
	my $event = query($node, "SELECT id FROM webhook_events WHERE organization_id = '$name'");
	eventually { $receiver->count($path) == 1 } "$name: an attempt is on its way";
	$receiver->set($path, '/ok');
	query($node, "SELECT webhook_replay('$webhook', '-infinity')");
	my $logged = "SELECT count(*) FROM webhook_logs WHERE event_id = $event AND attempt = 1";
	eventually { query($node, $logged) == 2 } "$name: it ends, and the delivery is made again";
	is(query($node, "$logged AND status = 'success'"), $name eq 'success' ? 2 : 1, "$name: with success");
	eventually { query($node, "SELECT count(*) FROM webhook_deliveries WHERE event_id = $event AND (attempts = 0 OR request > 0)") == 0 }
	"$name: nothing that was asked for is left";
}

# The snapshot of a transaction may be older than the delivery's end.
$receiver->set('/old', '/times/1/status/503');
create_webhook($node, name => 'old', organization_id => 'old', url => $receiver->url('/old'), events => ['contact.created'],
	retry_schedule => ['3 seconds']);
query($node, q{SELECT webhook_emit('contact.created', '{}', organization_id => 'old')});
my $failed = q{SELECT id FROM webhook_logs WHERE organization_id = 'old' AND status = 'failed'};
my $pending = q{SELECT count(*) FROM webhook_deliveries WHERE organization_id = 'old'};
my $session = WebhookTest::Session->new($node, 'postgres');
eventually
{
	$session->query("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; $pending") == 1
}
'a transaction sees what is pending';
eventually { query($node, $pending) == 0 } 'which is delivered meanwhile';
like($session->query("SELECT next_attempt_at > now() FROM webhook_redeliver(($failed))"), qr/^t$/, 'and asked for once more in it');
$session->query('COMMIT');
$session->finish;
eventually { $receiver->count('/old') == 3 } 'it comes again';

is_log_clean($node);
$node->stop;

done_testing();
