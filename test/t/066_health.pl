# Good news is believed: an answer to webhook_test() closes the circuit, whichever worker has it, and what waited goes at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $webhook_count = 6;
my $event_count = 40;

my $receiver = start_receiver();
my $node = new_node(max_worker_processes => 20, 'webhook.workers' => 3);

sub query { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

query(q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text DEFAULT 'acme', note text);
	SELECT webhook_watch('items', 'item.created');
});

# --- webhook_test() and the circuit -------------------------------------------------------------------------------------

# With these ids, each of three workers owns some.
my @webhooks = map {
	create_webhook($node, id => sprintf('00000000-0000-4000-8000-%012d', $_), name => "hook $_", organization_id => 'acme',
		url => $receiver->url("/status/500?hook=$_"), events => ['item.created'], retry_schedule => ['1 hour'])
} 1 .. $webhook_count;
query("INSERT INTO items SELECT generate_series(1, $event_count)");
eventually { query("SELECT count(*) FROM webhook_stats WHERE circuit = 'open' AND owed = $event_count") == $webhook_count }
'all circuits open';
is(query("SELECT count(DISTINCT webhook_test) FROM (SELECT (webhook_test(id)).status AS webhook_test FROM webhook_configurations) t
	WHERE webhook_test = 'failed'"), 1, 'tests fail');
is(query("SELECT count(*) FROM webhook_stats WHERE circuit = 'open'"), $webhook_count, 'which changes nothing');
# So far that no probe closes them before the tests do.
eventually { query(q{SELECT count(*) FROM webhook_stats WHERE next_probe_at > now() + interval '25 s'}) == $webhook_count }
'probes become rare';
$receiver->set('/status/500', '/ok');
my $tested = query('SELECT clock_timestamp()');
is(query("SELECT DISTINCT (webhook_test(id)).status FROM webhook_configurations"), 'success', 'tests succeed');
eventually { query(q{SELECT count(*) FROM webhook_stats WHERE circuit = 'closed' AND failing_since IS NULL}) == $webhook_count }
'they close all circuits';
# What failed before the circuit opened, by which it did, keeps to its schedule.
eventually { query('SELECT max(owed) FROM webhook_stats') <= 5 } 'what the circuits held is sent';
is(query("SELECT count(*) FROM webhook_logs WHERE created_at > '$tested' AND status = 'failed'"), 0, 'no probe came first');

query('DELETE FROM webhook_configurations');
is_log_clean($node);
$node->stop;

done_testing();
