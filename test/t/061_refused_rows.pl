# A row of the worker's that PostgreSQL refuses, for whatever reason, is that delivery's matter alone: the others are
# recorded, the checkpoint moves on, and what could not be stored says why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $node = new_node();
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text);
	CREATE TABLE pairs (one text, other text, organization_id text, PRIMARY KEY (one, other));
	SELECT webhook_watch('items', 'item.created');
	SELECT webhook_watch('pairs', 'pair.created');
	INSERT INTO webhook_event_types (name, category) VALUES ('key.made', 'key');
	-- Text that does not compress.
	CREATE FUNCTION random_text(bytes int) RETURNS text LANGUAGE sql AS
		$$SELECT substr(string_agg(encode(sha256(convert_to(random()::text || n, 'UTF8')), 'base64'), ''), 1, bytes)
		  FROM generate_series(1, bytes / 40) n$$;
});
$receiver->set('/fails', '/status/500');
my %hook = map {
	$_->[0] => create_webhook($node, name => $_->[0], organization_id => $_->[1], url => $receiver->url("$_->[2]?$_->[0]"),
		events => $_->[3], ordering => $_->[4], retry_schedule => [ ('1 second') x 20 ])
} ([ 'poisoned', 'evil', '/fails', [ 'key.made', 'pair.created' ], 'key' ], [ 'good', 'good', '/ok', ['item.created'], 'relaxed' ],
	[ 'failing', 'good', '/fails', ['item.created'], 'relaxed' ]);
my $last_id = 0;

sub emit
{
	my ($key) = @_;
	query($node, "SELECT webhook_emit('key.made', '{}', 'evil', $key)");
	return;
}

sub count_logged
{
	my ($name, $error) = @_;
	return query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$hook{$name}' AND error ~ '$error'");
}

# Others' deliveries are recorded, those that succeed and those that fail, and the checkpoint moves on.
sub others_are_recorded
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $first = $last_id + 1;
	$last_id += 20;
	my $here = query($node, 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
	query($node, "INSERT INTO items SELECT id, 'good' FROM generate_series($first, $last_id) id");
	eventually
	{
		query($node, "SELECT count(DISTINCT event_id) FROM webhook_logs WHERE configuration_id = '$hook{good}'
			AND status = 'success'") == $last_id
	}
	"$what: others' successes are logged";
	eventually
	{
		query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$hook{failing}'") == $last_id
	}
	"$what: others' failures are pending";
	eventually
	{
		query($node, "SELECT pg_snapshot_xmax(snapshot_to)::text::bigint >= '$here' FROM webhook_checkpoint") eq 't'
	}
	"$what: the checkpoint moves on";
	return;
}

sub count_dead
{
	my ($hook, $reason) = @_;
	return query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$hook{$hook}' AND state = 'dead'
		AND last_error LIKE '%$reason%'");
}
sub count_given_up
{
	my ($hook, $reason) = @_;
	return query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$hook{$hook}' AND attempt = 0
		AND status = 'failed' AND error LIKE '%$reason%'");
}
sub count_pending
{
	my ($hook) = @_;
	return query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$hook{$hook}' AND state = 'pending'");
}
sub nothing_is_deferred
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return eventually { query($node, 'SELECT count(*) FROM webhook_internal.deferred_changes') == 0 } "$what: nothing waits";
}

# --- keys that no index takes --------------------------------------------------------------------------------------------

emit('random_text(9600)');
emit('random_text(9600)');
query($node, q{INSERT INTO pairs VALUES (random_text(1336), random_text(1336), 'evil')});
emit(q{repeat('ä', 64)});
emit(q{repeat('ä', 65)});
eventually { count_pending('poisoned') == 5 } 'deliveries with keys of any length are pending';
is(query($node, "SELECT count(DISTINCT ordering_key), max(length(ordering_key)) FROM webhook_deliveries
	WHERE configuration_id = '$hook{poisoned}'"), '5|65', 'each in the order of its own key');
is(query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$hook{poisoned}'
	AND ordering_key <> webhook_internal.ordering_key('key', key, event_id)"), 0, 'as SQL computes it');
others_are_recorded('long keys');

# --- constraints and indexes of the DBA's -------------------------------------------------------------------------------

query($node, q{ALTER TABLE webhook_deliveries ADD CONSTRAINT no_bad_key CHECK (key <> 'bad') NOT VALID});
emit(q{'bad'}), emit(q{'fine'}) foreach 1 .. 3;
eventually { count_dead('poisoned', 'no_bad_key') == 3 } 'what violates a constraint is given up, with its reason';
is(count_given_up('poisoned', 'no_bad_key'), 3, 'in the log, too');
eventually { count_pending('poisoned') == 8 } 'and the rest of the webhook goes on';
others_are_recorded('a constraint');
nothing_is_deferred('a constraint');

query($node, q{CREATE INDEX by_length ON webhook_deliveries ((1 / (length(key) - 3)))});
emit(q{'odd'}), emit(q{'even'}) foreach 1 .. 3;
eventually { count_given_up('poisoned', 'division by zero') == 3 } 'so is what an index on an expression fails on';
eventually { count_pending('poisoned') == 11 } 'and nothing else';
others_are_recorded('an index');
query($node, 'DROP INDEX by_length');

# Not even the reduced row fits.
query($node, q{ALTER TABLE webhook_deliveries ADD CONSTRAINT no_keys CHECK (event <> 'key.made') NOT VALID});
emit(q{'none'}) foreach 1 .. 3;
eventually { count_given_up('poisoned', 'no_keys') >= 3 } 'what no row can say is in the log alone';
others_are_recorded('a constraint that refuses all of a webhook');
nothing_is_deferred('a constraint that refuses all of a webhook');
query($node, 'ALTER TABLE webhook_deliveries DROP CONSTRAINT no_keys, DROP CONSTRAINT no_bad_key');

# What a trigger refuses is kept, as it may change its mind.
query($node, q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN IF NEW.key = 'later' THEN RAISE 'refused by the DBA'; END IF; RETURN NEW; END $$;
	CREATE TRIGGER refuse BEFORE INSERT ON webhook_deliveries FOR EACH ROW EXECUTE FUNCTION refuse()});
my $pending = count_pending('poisoned');
emit(q{'later'});
others_are_recorded('a trigger');
eventually { query($node, 'SELECT count(*) FROM webhook_internal.deferred_changes') > 0 } 'what a trigger refuses waits';
query($node, 'DROP TRIGGER refuse ON webhook_deliveries');
eventually { count_pending('poisoned') == $pending + 1 } 'and is stored when the trigger is gone';
nothing_is_deferred('a trigger');

# --- log rows and figures ------------------------------------------------------------------------------------------------

query($node, q{ALTER TABLE webhook_logs ADD CONSTRAINT no_answer CHECK (response_status <> 500) NOT VALID});
emit(q{'logged'});
others_are_recorded('a constraint on the log');
eventually { count_pending('poisoned') == $pending + 2 } 'the delivery whose log row is refused is pending';
# Another URL closes the circuit, if it is open by now.
query($node, "UPDATE webhook_configurations SET url = url || '&again' WHERE id = '$hook{poisoned}'");
eventually { count_logged('poisoned', 'could not be stored: .*no_answer') > 0 } 'and a log row, reduced, says why';
is(query($node, "SELECT status, log_id IS NOT NULL FROM webhook_test('$hook{poisoned}')"), 'failed|t', 'a test has its row, too');
query($node, 'ALTER TABLE webhook_logs DROP CONSTRAINT no_answer');

query($node, qq{
	ALTER TABLE webhook_minutes ADD CONSTRAINT no_minutes CHECK (configuration_id <> '$hook{poisoned}') NOT VALID;
	ALTER TABLE webhook_endpoints ADD CONSTRAINT no_endpoint CHECK (configuration_id <> '$hook{poisoned}') NOT VALID});
my $attempts = "SELECT coalesce(sum(attempts), 0) FROM webhook_minutes WHERE configuration_id = '$hook{good}'";
eventually { query($node, $attempts) == $last_id } 'others have figures up to now';
emit(q{'counted'});
others_are_recorded('constraints on the figures');
eventually { query($node, $attempts) == $last_id } "and others' figures are written";
query($node, q{ALTER TABLE webhook_minutes DROP CONSTRAINT no_minutes; ALTER TABLE webhook_endpoints DROP CONSTRAINT no_endpoint});

my $delivered = 'SELECT count(*) FROM webhook_deliveries WHERE state = \'pending\'';
$receiver->set('/fails', '/ok');
query($node, q{UPDATE webhook_configurations SET url = url || '&again' WHERE url LIKE '%/fails?%'});
eventually { query($node, $delivered) == 0 } 'what is pending is delivered in the end';
is(query($node, q{SELECT count(*) FROM (SELECT FROM webhook_logs WHERE status = 'success'
	GROUP BY configuration_id, event_id HAVING count(*) > 1) l}), 0, 'once');

is_log_clean($node, expected => [ qr/WARNING: .*a row of the worker's was refused: /, qr/WARNING: .*wait to be recorded since/ ]);
is(scalar(() = slurp_file($node->logfile) =~ /a row of the worker's was refused/g) > 0, 1, 'the log tells of refused rows');
$node->stop;

done_testing();
