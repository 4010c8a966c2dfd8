# What is scarce is shared by organization first: with a thousand webhooks that answer late, or never, one takes nothing
# that another needs, neither for deliveries nor for tests.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $events = 20;  # for each of the thousand webhooks
my $modest_events = 80;

my $greedy_receiver = start_receiver();
my $receiver = start_receiver();
my $node = new_node();
query($node, q{
	CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
});

# Webhooks of an organization that all have the same endpoint.
sub create_webhooks
{
	my ($organization, $count, $url) = @_;
	query($node, qq{INSERT INTO webhook_configurations (organization_id, name, url, events, timeout_ms)
		SELECT '$organization', 'webhook ' || i, '$url', '{item.created}', 60000 FROM generate_series(1, $count) i});
	return;
}

sub change
{
	my ($organization, $count) = @_;
	query($node, "INSERT INTO items (organization_id) SELECT '$organization' FROM generate_series(1, $count)");
	return;
}

sub answered
{
	my ($organization) = @_;
	return query($node, "SELECT count(*) FROM webhook_logs WHERE organization_id = '$organization' AND status = 'success'");
}

create_webhook($node, organization_id => 'modest', url => $receiver->url('/ok?modest'), events => ['item.created']);
change('modest', 1);
eventually { answered('modest') == 1 } 'an organization receives';

# --- Endpoints that answer just before they count as slow ---------------------------------------------------------------

create_webhooks('late', 1000, $greedy_receiver->url('/delay/900?late'));
change('late', $events);
eventually { answered('late') > 200 } 'another has a thousand webhooks that answer after 0.9 s';
change('modest', $modest_events);
eventually { answered('modest') == 1 + $modest_events } 'the first gets its events meanwhile';
my $late = answered('late');
cmp_ok($late, '<', 1000 * $events / 2, "long before the other has its own: $late");
query($node, "UPDATE webhook_configurations SET is_active = false WHERE organization_id = 'late'");

# --- Endpoints that answer very late, which are alive for all that ------------------------------------------------------

create_webhooks('very late', 300, $greedy_receiver->url('/delay/50000?verylate'));
change('very late', 3);
eventually { $greedy_receiver->count('/delay/50000?verylate') >= 48 } 'requests to many endpoints wait for their answers';
create_webhook($node, organization_id => 'new', url => $receiver->url('/ok?new'), events => ['item.created']);
create_webhook($node, organization_id => 'modest', url => $receiver->url('/times/1/status/500?once'),
	events => ['item.created'], retry_schedule => ['1 second']);
change($_, 3) foreach qw(new modest);
eventually { $receiver->count('/ok?new') == 3 } 'an organization whose endpoint nobody knows gets its events';
eventually { $receiver->count('/times/1/status/500?once') == 6 } 'so does one whose endpoint fails at first';
is(answered('very late'), 0, 'before any of those has answered');

# --- Tests --------------------------------------------------------------------------------------------------------------

my @callers;
foreach my $organization (1 .. 5)
{
	my $webhook = create_webhook($node, organization_id => "tester $organization", events => ['item.created'],
		url => $greedy_receiver->url("/hang?tester$organization"), timeout_ms => 60000);
	foreach (1 .. 4)
	{
		push @callers, WebhookTest::Session->new($node, 'postgres');
		$callers[-1]->send("SELECT status FROM webhook_test('$webhook')");
	}
	eventually { $greedy_receiver->count("/hang?tester$organization") == 4 } "four tests of organization $organization hang";
}
my $tested = query($node, "SELECT id FROM webhook_configurations WHERE organization_id = 'new'");
is(query($node, "SELECT status FROM webhook_test('$tested')"), 'success', 'another can test');

is_log_clean($node);
done_testing();
