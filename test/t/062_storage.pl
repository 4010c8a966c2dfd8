# What an organization keeps in the database: each has its share, and whatever one does, the others' events, deliveries and
# log rows stay.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $node = new_node(
	'webhook.max_event_size' => '4MB',
	'webhook.max_log_size' => '4MB',
	'webhook.organization_share' => 100,
	'webhook.max_deliveries_per_organization' => 1000,
	'webhook.max_saved_size' => '2MB');
my $receiver = start_receiver();

sub query { return $node->safe_psql('postgres', $_[0]); }

sub as
{
	my ($organization, $sql) = @_;
	my ($status, $out, $errors) =
	  $node->psql('postgres', "SET ROLE tenant; SET webhook.organization_id = '$organization'; $sql");
	return ($out, $errors);
}

# So many events of the organization, of about so many bytes that do not compress.
sub emit
{
	my ($organization, $count, $bytes, $event) = @_;
	$event //= 'thing.made';
	my $lines = int($bytes / 32) + 1;
	query("SELECT webhook_emit('$event',
	         json_build_object('n', n, 'text', (SELECT string_agg(md5(random()::text), '')
	                                            FROM generate_series(1, $lines) WHERE n > 0)), '$organization')
	       FROM generate_series(1, $count) n");
	return;
}

sub hook
{
	my ($organization, $name, %more) = @_;
	return create_webhook($node,
		organization_id => $organization, name => $name, url => $receiver->url("/ok?$name"), events => ['thing.*'], %more);
}

sub pending
{
	my ($organization) = @_;
	return query("SELECT count(*) FROM webhook_deliveries WHERE organization_id = '$organization'");
}
sub saved { return query("SELECT count(*) FROM webhook_internal.saved_events WHERE organization_id = '$_[0]'"); }
sub newest_event { return query('SELECT coalesce(max(id), 0) FROM webhook_events'); }
sub is_gone { return query("SELECT NOT EXISTS (SELECT FROM webhook_events WHERE id <= $_[0])") eq 't'; }

query(q{
	CREATE ROLE tenant LOGIN;
	SELECT webhook_grant('tenant');
	INSERT INTO webhook_event_types (name, category) VALUES ('thing.made', 'thing'), ('thing.moved', 'thing'),
		('ballast.made', 'ballast');
});

# --- a body is stored once, whatever the number of deliveries that need it --------------------------------------------

hook('flood', 'flood');
my @idle = map { hook('flood', "idle$_", is_active => 'false') } 1 .. 20;
emit('flood', 40, 20_000);
eventually { $receiver->count("/ok?flood") == 40 } 'events are delivered';
my ($replayed) = as('flood', join '', map { "SELECT webhook_replay('$_', '-infinity');" } @idle);
is($replayed, join("\n", (40) x 20), 'and replayed to twenty webhooks that are inactive');
my $last = newest_event();
create_webhook($node, organization_id => undef, name => 'ballast', url => $receiver->url('/ok'), events => ['ballast.*']);
eventually
{
	query(q{SELECT webhook_emit('ballast.made', to_json((SELECT string_agg(md5(random()::text), '')
	                                            FROM generate_series(1, 300) WHERE n > 0)))
	        FROM generate_series(1, 20) n});
	is_gone($last)
}
'the segment of their events goes';
is(pending('flood'), 800, 'the deliveries stay');
is(saved('flood'), 40, 'each event is saved once');
cmp_ok(query(q{SELECT pg_total_relation_size('webhook_internal.saved_events')}), '<', 2 * 40 * 20_000,
	'and takes the room of one');
cmp_ok(query(q{SELECT pg_total_relation_size('webhook_deliveries')}), '<', 1_000_000, 'a delivery takes little');
is(query(q{SELECT count(*) FROM webhook_own_events WHERE organization_id = 'flood' AND data IS NOT NULL}), 40,
	'they can still be seen');

is((as('flood', "SELECT webhook_replay('$idle[0]', '-infinity')"))[0], 40, 'what is saved can be replayed again');
query("UPDATE webhook_configurations SET is_active = true WHERE id = '$idle[0]'");
eventually { $receiver->count("/ok?idle1") == 40 } 'and is delivered when the webhook is switched on';
query(qq{SELECT webhook_cancel(id) FROM webhook_configurations WHERE name = 'idle2'});
query(q{DELETE FROM webhook_configurations WHERE name LIKE 'idle%' AND name <> 'idle2'});
is(saved('flood'), 40, 'what was given up keeps its event');
query(q{DELETE FROM webhook_configurations WHERE name = 'idle2'});
eventually { saved('flood') == 0 } 'an event goes with the last delivery that needs it';

# --- more than its share of webhook_deliveries ------------------------------------------------------------------------

my $quiet = hook('quiet', 'quiet', is_active => 'false');
hook('quiet', 'listening');
emit('quiet', 50, 100);
eventually { $receiver->count("/ok?listening") == 50 } 'another organization has events';
as('quiet', "SELECT webhook_replay('$quiet', '-infinity')");
is(pending('quiet'), 50, 'and pending deliveries');

my $hoard = hook('flood', 'hoard', is_active => 'false');
emit('flood', 1100, 10);
my (undef, $errors) = as('flood', "SELECT webhook_replay('$hoard', '-infinity')");
like($errors, qr/organization "flood" cannot have more than 1000 deliveries that are pending or dead/,
	'who replays more than the organization may have is told so');
like($errors, qr/HINT: .*webhook_cancel\(\)/, 'and what to do');
is(query(qq{SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$hoard'}), 0, 'nothing of it is made');

# By events to an endpoint that does not answer, which no statement of anybody's is told of.
my $stuck = hook('flood', 'stuck', timeout_ms => 60000, url => $receiver->url('/hang'));
query(qq{UPDATE webhook_configurations SET is_active = false WHERE name = 'flood'});
my $hoarded = hook('flood', 'hoarded', is_active => 'false');
emit('flood', 3000, 10);
eventually { query(q{SELECT coalesce(sum(deliveries), 0) FROM webhook_internal.given_up}) > 0 && pending('flood') <= 1000 }
'what overflows beyond the share is given up';
is(pending('quiet'), 50, 'and nothing of another organization');
cmp_ok(
	query(qq{SELECT count(*) FROM webhook_logs WHERE configuration_id = '$stuck' AND attempt = 0}), '<=',
	query(qq{SELECT 1 + sum(deliveries) / 50 FROM webhook_internal.given_up}),
	'one log row stands for many deliveries');
like(
	query(qq{SELECT error FROM webhook_logs WHERE configuration_id = '$stuck' AND attempt = 0 ORDER BY error LIMIT 1}),
	qr/^\d+ deliveries, of events \d+ to \d+: its organization has more than webhook.max_deliveries_per_organization$/,
	'and says how many, which and why');
my ($finding) = as('flood', "SELECT finding FROM webhook_check('$stuck') WHERE finding LIKE '%were given up%'");
like($finding, qr/^\d+ deliveries were given up, the last at .*webhook.max_deliveries_per_organization/, 'webhook_check() finds it');
my ($outcome) = as('flood', "SELECT outcome, last_error FROM webhook_explain(
	(SELECT min(first_event_id) FROM webhook_internal.given_up WHERE configuration_id = '$stuck')) WHERE name = 'stuck'");
# It has failed, if it is the one that a log row stands for.
like($outcome, qr/^(?:dead|failed)\|.*webhook.max_deliveries_per_organization$/, 'webhook_explain() tells of one of them');
is((as('quiet', 'SELECT count(*) FROM webhook_internal.given_up'))[0], 0, 'others do not see it');
query(qq{DELETE FROM webhook_configurations WHERE organization_id = 'flood'});
eventually { pending('flood') == 0 } 'the webhooks are deleted';

# --- more than its share of saved events ------------------------------------------------------------------------------

hook('flood', 'flood');
my $keeper = hook('flood', 'keeper', is_active => 'false');
my $before = $receiver->count("/ok?flood");
for my $batch (1 .. 8)
{
	emit('flood', 20, 20_000, 'thing.moved');
	eventually { $receiver->count("/ok?flood") == $before + 20 * $batch } 'events are delivered';
	my ($pending) = as('flood', "SELECT webhook_replay('$keeper', '-infinity', events => '{thing.moved}')");
	cmp_ok($pending, '>=', 20, 'and replayed');
}
$last = newest_event();
eventually
{
	query(q{SELECT webhook_emit('ballast.made', to_json((SELECT string_agg(md5(random()::text), '')
	                                            FROM generate_series(1, 300) WHERE n > 0)))
	        FROM generate_series(1, 20) n});
	is_gone($last)
}
'the segments of all events go';
eventually
{
	query(q{SELECT sum(bytes) < 2 * 1024 * 1024 FROM webhook_internal.saved_events WHERE organization_id = 'flood'}) eq 't'
}
'an organization keeps no more events than its share'
  or diag(query(q{SELECT organization_id, count(*), sum(bytes) FROM webhook_internal.saved_events GROUP BY 1}));
is(saved('quiet'), 50, 'and nothing of another organization goes');
cmp_ok(saved('flood'), '>', 50, 'it keeps its share');
like(
	query(qq{SELECT reason FROM webhook_internal.given_up WHERE configuration_id = '$keeper'}),
	qr/webhook.max_saved_size/, 'what was given up for it is noted');
is(
	query(qq{SELECT count(*) FROM webhook_deliveries d WHERE configuration_id = '$keeper'
	           AND NOT EXISTS (SELECT FROM webhook_own_events e WHERE e.id = d.event_id)}),
	0, 'no delivery is without its event');

# --- more than its share of the rings ---------------------------------------------------------------------------------

query(q{DELETE FROM webhook_configurations WHERE organization_id = 'flood'});
my $flooded = hook('flood', 'flooded', url => $receiver->url('/body/' . 'y' x 1000));
hook('flood', "flooded$_", url => $receiver->url('/body/' . 'y' x 1000)) for 2 .. 3;

# Each event is delivered three times, with a response of 1 kB.
sub flood
{
	my $sent = $receiver->count;
	for my $batch (1 .. 10)
	{
		emit('flood', 100, 10_000);
		eventually { $receiver->count == $sent + 300 * $batch } "batch $batch of a flood is delivered";
	}
	return;
}
sub listened
{
	return query(q{SELECT count(DISTINCT e.id), count(l.event_id) FROM webhook_events e
	               LEFT JOIN webhook_logs l ON l.event_id = e.id AND l.status = 'success'
	               WHERE e.organization_id = 'quiet' AND e.event = 'thing.moved'});
}
sub bytes
{
	return query("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('webhook_$_[0]')");
}
$node->append_conf('postgresql.conf', "webhook.organization_share = 25");
$node->reload;
query(q{SELECT webhook_emit('thing.moved', '{}', 'quiet') FROM generate_series(1, 20)});
eventually { listened() eq '20|20' } 'another organization has events, and rows that tell of them';
my $oldest_flooded = query('SELECT max(id) FROM webhook_events') + 1;
flood();
is(listened(), '20|20', 'after the flood they are there');
eventually
{
	query("SELECT count(*) FROM webhook_events WHERE organization_id = 'flood' AND id >= $oldest_flooded") < 300
}
'of the flood only the end is';
foreach my $table (qw(events logs))
{
	eventually { emit('quiet', 1, 10); bytes($table) < (4 + 1) * 1024 * 1024 } "webhook_$table takes no more room than it may"
	  or diag(bytes($table));
}
like((as('flood', "SELECT finding FROM webhook_check('$flooded') WHERE finding LIKE '%share%'"))[0],
	qr/^its organization has used up its share of webhook_events and webhook_logs/, 'webhook_check() tells who floods');
is((as('quiet', "SELECT finding FROM webhook_check('$quiet') WHERE finding LIKE '%share%'"))[0], '',
	'and nobody else');
is(query(q{SELECT count(*) FROM webhook_events WHERE organization_id = 'quiet' AND slot > 7}), 0,
	'who is within its share writes where all do');

$node->append_conf('postgresql.conf', "webhook.organization_share = 100");
$node->reload;
flood();
eventually { listened() eq '0|0' } 'without shares the same flood pushes out what another has';

# --- what is pending to an inactive webhook expires ----------------------------------------------------------------------

$node->append_conf('postgresql.conf', "webhook.max_age = '1s'");
$node->reload;
eventually { query(q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'}) == 0 }
'what is pending to inactive webhooks is given up after webhook.max_age';
is(query(qq{SELECT string_agg(DISTINCT last_error, ', ') FROM webhook_deliveries WHERE configuration_id = '$quiet'}),
	'older than webhook.max_age', 'with the reason');
is(query(qq{SELECT count(*) FROM webhook_logs WHERE configuration_id = '$quiet' AND attempt = 0}), 50, 'which is logged');

is_log_clean($node, expected => [ qr/ERROR: .*cannot have more than 1000 deliveries/,
	qr/WARNING: .*the oldest segment of webhook_(?:events|logs) is kept/ ]);
$node->stop;

done_testing();
