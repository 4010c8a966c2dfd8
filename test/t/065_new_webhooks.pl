# Webhooks that are created together with what is pending for them, by sessions that do so without end: nothing of that is taken
# for what a deleted webhook has left, however the worker reads webhooks and deliveries meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $events = 10;
my $webhooks = 150;
my $receiver = start_receiver();
my $node = new_node('webhook.max_webhooks_per_organization' => 1000);
create_webhook($node, url => $receiver->url('/ok?first'), organization_id => undef, events => ['contact.created']);    # or none is stored
query($node, "SELECT webhook_emit('contact.created', '{}') FROM generate_series(1, $events)");

# Every third is deleted again, every fifth was only tried.
my $url = $receiver->url('/ok');
my @sessions = map {
	my $session = $_;
	start_session($node, join('', map { qq{
		BEGIN;
		INSERT INTO webhook_configurations (name, url, events) VALUES ('$session-$_', '$url', '{contact.created}');
		SELECT webhook_replay(id, '-infinity') FROM webhook_configurations WHERE name = '$session-$_';
		} . ($_ % 5 == 0 ? "ROLLBACK;\n" : "COMMIT;\n") . ($_ % 3 == 0 ? "DELETE FROM webhook_configurations WHERE name = '$session-$_';\n" : '') }
		1 .. $webhooks))
} 1 .. 2;
ok($_->finish, 'all were created') foreach @sessions;

my $expected = grep { $_ % 5 != 0 && $_ % 3 != 0 } 1 .. $webhooks;
is(query($node, q{SELECT count(*) FROM webhook_configurations WHERE name ~ '^\d-'}), 2 * $expected, 'and those that are to be there are there');
eventually { query($node, "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'") == 0 } 'nothing is pending'
  or diag(query($node, q{SELECT string_agg(format('%s %s %s %s', c.name, d.event_id, d, (d.configuration_created_at = c.created_at)), E'\n')
	FROM (SELECT * FROM webhook_deliveries WHERE state = 'pending' LIMIT 20) d LEFT JOIN webhook_configurations c ON c.id = d.configuration_id}));
is(query($node, q{SELECT string_agg(c.name, ' ') FROM webhook_configurations c WHERE }
	. qq{(SELECT count(DISTINCT l.event_id) FROM webhook_logs l WHERE l.configuration_id = c.id AND l.status = 'success') <> $events}), '',
	'each got all that was replayed to it');
is(query($node, q{SELECT count(*) FROM webhook_deliveries d
	WHERE NOT EXISTS (SELECT FROM webhook_configurations c WHERE c.id = d.configuration_id)}), 0, 'those that were deleted left nothing');

is_log_clean($node);
$node->stop;

done_testing();
