# The worker's memory in the worst cases that a tenant can make: large bodies that compress well, many endpoints that hang
# with large bodies, one large event for a thousand webhooks, endless keys, and many webhooks. It stays below 128 MB, all is
# delivered in the end, and others are served meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $memory_max_kb = 128 * 1024;
my $large = "repeat('x', 900000)";

my $receiver = start_receiver();
my $node = new_node(
	'shared_buffers' => '2MB',    # what the worker touches of them counts as its own here
	'webhook.max_payload' => '2MB',
	'webhook.max_webhooks_per_organization' => 2000);

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# The most that the worker has had since it began.
sub peak_kb
{
	my ($peak) = slurp_file('/proc/' . query('SELECT pid FROM webhook_workers') . '/status') =~ /^VmHWM:\s+(\d+) kB/m;
	return $peak;
}

# A new worker, after what is left of the case before is gone.
sub begin_case
{
	query('DELETE FROM webhook_configurations');
	$node->restart;
	create_webhook($node, name => 'well', organization_id => 'well', url => $receiver->url('/ok?well'), events => ['*']);
	is_served('before');
	note('the worker began with ' . peak_kb() . ' kB');
	return;
}

my $served = 0;

sub is_served
{
	my ($when) = @_;
	query("SELECT webhook_emit('contact.created', '{}', 'well')");
	++$served;
	eventually { $receiver->count('/ok?well') >= $served } "$when: another tenant's webhook is served";
	return;
}

sub is_within_bounds
{
	my ($what) = @_;
	my $peak = peak_kb();
	note("$what: $peak kB at most");
	cmp_ok($peak, '<', $memory_max_kb, "$what: the worker has had less than 128 MB");
	return;
}

# --- large bodies that compress well ---

begin_case();
create_webhook($node, name => 'large', organization_id => 'large', url => $receiver->url('/ok?large'), events => ['*']);
query("SELECT webhook_emit('contact.created', json_build_object('id', i, 'text', $large), 'large') FROM generate_series(1, 150) i");
is_served('150 events of 0.9 MB');
eventually { $receiver->count('/ok?large') >= 150 } 'all of them arrive';
is_within_bounds('150 events of 0.9 MB');
my $counts = $receiver->counts_by_webhook_id('/ok?large');
is(scalar(grep { $_ > 1 } values %$counts), 0, 'none of them twice');

# --- endpoints that hang ---

begin_case();
query(qq{
	INSERT INTO webhook_configurations (organization_id, name, url, events, timeout_ms)
	SELECT 'tenant ' || i, 'hangs', '@{[$receiver->url('/hang')]}', '{*}', 30000 FROM generate_series(1, 250) i});
query(qq{
	SELECT webhook_emit('contact.created', json_build_object('id', i, 'text', $large), 'tenant ' || i)
	  FROM generate_series(1, 250) i});
eventually { $receiver->count('/hang') >= 10 } 'requests hang';
is_served('250 endpoints that hang');
eventually { query(q{SELECT count(*) FROM webhook_deliveries WHERE organization_id LIKE 'tenant %'}) >= 250 }
'what is pending for them waits in the database';
is_served('all of it written down');
is_within_bounds('250 endpoints that hang, with bodies of 0.9 MB');

# --- one large event for a thousand webhooks ---

begin_case();
query(qq{
	INSERT INTO webhook_configurations (organization_id, name, url, events, timeout_ms)
	SELECT 'fan', 'hangs ' || i, '@{[$receiver->url('/hang?fan')]}', '{*}', 30000 FROM generate_series(1, 1000) i});
query("SELECT webhook_emit('contact.created', json_build_object('text', $large), 'fan') FROM generate_series(1, 3)");
eventually { query(q{SELECT count(*) FROM webhook_deliveries WHERE organization_id = 'fan'}) >= 3000 }
'three events for a thousand webhooks';
is_served('three events for a thousand webhooks');
is_within_bounds('three events of 0.9 MB for a thousand webhooks');

# --- keys without an end ---

begin_case();
create_webhook($node, name => 'keys', organization_id => 'keys', url => $receiver->url('/ok?keys'), events => ['*'], ordering => 'key');
query("SELECT webhook_emit('contact.created', '{}', 'keys', repeat('k', 50000000) || i % 4) FROM generate_series(1, 8) i");
query("SELECT webhook_emit('contact.created', '{}', 'keys', repeat('k', 1500) || i % 2) FROM generate_series(1, 4) i");
query("SELECT webhook_emit('contact.created', '{}', 'keys', repeat('k', 1000)) FROM generate_series(1, 2) i");
eventually { $receiver->count('/ok?keys') >= 6 } 'events whose keys are too long by less than webhook.max_payload are sent';
is( query(q{
	SELECT count(*), count(DISTINCT key), count(oversized_bytes), max(octet_length(key)),
	       min(left(key, 903)) = repeat('k', 900) || '...', min(substr(key, 904)) ~ '^[0-9a-f]{64}$'
	  FROM webhook_events WHERE organization_id = 'keys'}),
	'14|7|8|1000|t|t', 'a key is stored up to 1000 bytes; a longer one is cut, and equal ones stay equal');
eventually { query(q{SELECT count(*) FROM webhook_logs WHERE organization_id = 'keys' AND attempt = 0}) == 8 }
'beyond webhook.max_payload the delivery dies';
like(query(q{SELECT min(error) FROM webhook_logs WHERE organization_id = 'keys' AND attempt = 0}),
	qr/^the payload of 499\d{5} bytes was larger than webhook\.max_payload/, 'and says why');
is_served('keys of 50 MB');
is_within_bounds('keys of 50 MB');

# --- webhooks that stand still ---

begin_case();
my $webhooks = 20_000;
my $before_kb = worker_memory_kb($node);
query(qq{INSERT INTO webhook_configurations (organization_id, name, url, events)
	SELECT 'still ' || i, 'endpoint ' || i, '@{[$receiver->url('/ok?still')]}', '{contact.*,deal.created}'
	  FROM generate_series(1, $webhooks) i});
eventually { query('SELECT webhooks FROM webhook_workers') == $webhooks + 1 } "$webhooks webhooks";
my $each = (worker_memory_kb($node) - $before_kb) * 1024 / $webhooks;
note("a webhook that stands still takes $each bytes");
cmp_ok($each, '<', 1024, 'a webhook that stands still takes less than a kilobyte');
query(q{SELECT webhook_emit('deal.created', '{}', 'still ' || i * 100) FROM generate_series(1, 200) i});
eventually { $receiver->count('/ok?still') == 200 } 'those that get an event are served';
is_served('webhooks that stand still');

my ($code, $out, $err) = $node->psql('postgres',
	q{INSERT INTO webhook_configurations (organization_id, name, url, events) VALUES (repeat('o', 1001), 'a', 'https://example.com/', '{*}')});
like($err, qr/the organization_id of a webhook can have at most 1000 bytes/, 'nor may the id of an organization be longer');

is_log_clean($node, expected => [qr/ERROR:  the organization_id of a webhook can have at most/]);
$node->stop;
done_testing();
