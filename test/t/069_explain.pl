# webhook_explain() says what is known of an event, and no more: also when the log rows of its deliveries are gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash qw(query);

my $receiver = start_receiver();
my $node = new_node('webhook.workers' => 2);
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
	CREATE ROLE reader;
	SELECT webhook_grant('reader', 'read');
	GRANT USAGE ON SCHEMA public TO reader;
});
# As many as are sure to be served by both workers.
create_webhook($node, organization_id => 'acme', name => $_, url => $receiver->url('/ok'), events => ['item.created'])
	foreach 1 .. 8;
create_webhook($node, organization_id => 'acme', name => 'failing', url => $receiver->url('/status/500'),
	events => ['item.created'], retry_schedule => ['10ms']);

my ($last_event, $last) = (0, 0);
sub insert
{
	query($node, "INSERT INTO items VALUES (@{[++$last]}, 'acme')");
	wait_until { query($node, "SELECT count(*) FROM webhook_events WHERE id > $last_event") > 0 } 'it is recorded';
	return $last_event = query($node, 'SELECT max(id) FROM webhook_events');
}
sub outcomes
{
	my ($event, $role) = @_;
	return query($node, ($role ? "SET ROLE $role; SET webhook.organization_id = 'acme';" : '') . qq{
		SELECT string_agg(DISTINCT outcome || CASE WHEN name = 'failing' THEN '!' ELSE '' END, ' ' ORDER BY outcome ||
			CASE WHEN name = 'failing' THEN '!' ELSE '' END) FROM webhook_explain($event)});
}

my $sent = insert();
eventually { outcomes($sent) eq 'dead! delivered' } 'delivered to some, given up by one';
query($node, q{SELECT webhook_pause('for the test')});
my $waiting = insert();
is(outcomes($waiting), 'waiting waiting!', 'while deliveries are paused it waits');
is(outcomes($waiting, 'reader'), 'waiting waiting!', 'as whoever may read is told');
query($node, q{SELECT webhook_resume()});
eventually { outcomes($waiting) eq 'dead! delivered' } 'no longer than that';

query($node, q{TRUNCATE webhook_logs; DELETE FROM webhook_deliveries});
eventually { outcomes($sent) eq 'settled settled!' } 'of what is done with and has no log rows, that is all that is known';
is(outcomes($sent, 'reader'), 'settled settled!', 'as whoever may read is told');
eventually { outcomes($waiting) eq 'settled settled!' } 'of the newest, too';
my $next = insert();
eventually { outcomes($next) =~ /^(?:dead! delivered|delivered pending!)$/ } 'what comes next is explained as ever';

is_log_clean($node);
$node->stop;
done_testing();
