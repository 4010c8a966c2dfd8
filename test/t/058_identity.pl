# A delivery belongs to the webhook that it was made for, not to its id: where an operator deletes a webhook and gives its
# id to another organization's, that one gets nothing of what was on its way, whatever state it was in. And whoever is no
# operator chooses no ids.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $receiver = start_receiver();
my $node = new_node('webhook.retry_schedule' => '1s, 1s, 1s, 1s');
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
	CREATE ROLE tenant LOGIN;
	SELECT webhook_grant('tenant');
});

my $next_id = 1;

sub insert_items
{
	my ($organization, $count) = @_;
	my $first = $next_id;
	$next_id += $count;
	query($node, "INSERT INTO items SELECT n, '$organization' FROM generate_series($first, $next_id - 1) n");
	return [ $first .. $next_id - 1 ];
}

sub received_ids { my ($path) = @_; return [ sort { $a <=> $b } map { $_->[1] } received_rows($receiver, $path) ]; }

my $number = 0;

sub insert_webhook
{
	my ($id, $organization, $path) = @_;
	return "INSERT INTO webhook_configurations (id, organization_id, name, url, events, max_in_flight, secret)
		VALUES ('$id', '$organization', 'hook', @{[sql_literal($receiver->url($path))]}, '{item.created}', 4,
			webhook_generate_secret())";
}

# --- Replaced while deliveries are on their way -----------------------------------------------------------------------------

my @expected = crash_lines();
foreach my $endpoint ('hang', 'status/500', 'delay/1500')
{
	foreach my $way ('in one transaction', 'in two', 'while no worker runs')
	{
		++$number;
		my $case = "$endpoint, $way";
		my $id = sprintf('00000000-0000-4000-8000-%012d', $number);
		my ($one, $other) = ("acme-$number", "globex-$number");
		query($node, insert_webhook($id, $one, "/$endpoint?$one"));
		insert_items($one, 30);
		eventually { $receiver->count("/$endpoint?$one") > 0 } "$case: the first webhook's deliveries are on their way";

		my $delete = "DELETE FROM webhook_configurations WHERE id = '$id'";
		my $insert = insert_webhook($id, $other, "/ok?$other");
		if ($way eq 'while no worker runs')
		{
			# It crashes, and comes back without the library for a while.
			$node->stop('immediate');
			$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
			$node->start;
		}
		if ($way eq 'in two')
		{
			query($node, $delete);
			query($node, $insert);
		}
		else
		{
			query($node, "BEGIN; $delete; $insert; COMMIT");
		}
		if ($way eq 'while no worker runs')
		{
			$node->stop;
			$node->append_conf('postgresql.conf', "shared_preload_libraries = 'webhook'");
			$node->start;
		}
		my $own = insert_items($other, 3);
		eventually { @{ received_ids("/ok?$other") } >= 3 } "$case: its successor gets its own events";
		eventually
		{
			query($node, "SELECT (SELECT count(*) FROM webhook_changes)
				+ (SELECT count(*) FROM webhook_deliveries WHERE organization_id = '$one')
				+ (SELECT count(*) FROM webhook_minutes WHERE organization_id = '$one')
				+ (SELECT count(*) FROM webhook_hours WHERE organization_id = '$one')
				+ (SELECT count(*) FROM webhook_endpoints WHERE organization_id = '$one')") == 0
		}
		"$case: what is left of the first is deleted";
		is(query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$id' AND organization_id = '$other'
				AND (status <> 'success' OR attempt <> 1)"), 0, "$case: none of its failures are its successor's");
		is(query($node, "SELECT circuit FROM webhook_stats WHERE configuration_id = '$id'"), 'closed',
			"$case: nor is its circuit");
		is_deeply(received_ids("/ok?$other"), $own, "$case: and none of its events");
	}
}

# --- Deleted while a result of it is recorded ----------------------------------------------------------------------------------

# The worker has an answer for a webhook that it knows, and finds nothing to record it for. The row says what it said before the
# attempt: the delivery is due.
query($node, q{
	CREATE FUNCTION wait_to_record() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN NULL; END$$;
	CREATE TRIGGER wait AFTER INSERT ON webhook_logs FOR EACH STATEMENT EXECUTE FUNCTION wait_to_record();
	ALTER TABLE webhook_logs ENABLE ALWAYS TRIGGER wait});
my $gate = WebhookTest::Session->new($node, 'postgres');
foreach my $ordering ('relaxed', 'key', 'endpoint')
{
	foreach my $is_replaced (0, 1)
	{
		my $case = "$ordering, " . ($is_replaced ? 'replaced' : 'deleted') . ' while a result is recorded';
		my ($one, $other) = ("$ordering-$is_replaced", "other-$ordering");
		my $path = "/status/500?$one";
		my $id = create_webhook($node, organization_id => $one, url => $receiver->url($path), events => ['item.created'],
			ordering => $ordering);
		# Two events of one key: the second is due as soon as the first is tried again.
		my ($item) = @{ insert_items($one, 1) };
		query($node, "DELETE FROM items WHERE id = $item; INSERT INTO items VALUES ($item, '$one')");
		eventually { query($node, "SELECT count(*) FILTER (WHERE attempts = 1) > 0 AND count(*) = 2 FROM webhook_deliveries
			WHERE configuration_id = '$id'") eq 't' } "$case: an attempt has failed";
		$gate->query('SELECT pg_advisory_lock(77)');
		eventually { query($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted}) == 1 }
			"$case: the next one is about to be recorded";
		query($node, "BEGIN; DELETE FROM webhook_configurations WHERE id = '$id';"
			. ($is_replaced ? insert_webhook($id, $other, "/ok?$other") . ';' : '') . 'COMMIT');
		$gate->query('SELECT pg_advisory_unlock(77)');
		eventually { query($node, 'SELECT count(*) FROM webhook_changes') == 0 } "$case: the worker knows";
		my @counts = sort values %{ $receiver->counts_by_webhook_id($path) };
		is($counts[-1], 2, "$case: it is not sent a third time");
	}
}
$gate->finish;
query($node, 'DROP FUNCTION wait_to_record CASCADE');

# --- By hand ----------------------------------------------------------------------------------------------------------------

my $first = create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?by-hand'), events => ['item.created'],
	id => '00000000-0000-4000-8000-00000000aaaa');
insert_items('acme', 1);
eventually { query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$first'") == 1 } 'a delivery is logged';
my $log = query($node, "SELECT id FROM webhook_logs WHERE configuration_id = '$first'");
query($node, "DELETE FROM webhook_configurations WHERE id = '$first';" . insert_webhook($first, 'globex', '/ok?by-hand-2'));
foreach my $function ('webhook_redeliver', 'webhook_curl')
{
	my ($code, $out, $err) = $node->psql('postgres', "SELECT $function($log)");
	like($err, qr/the webhook of log row $log has been deleted/, "$function() takes the other webhook for no successor");
	push @expected, qr/the webhook of log row $log has been deleted/;
}
is(query($node, "SELECT webhook_replay('$first', '-infinity')"), 0, 'nor is there anything for it to replay');
insert_items('globex', 1);
eventually { @{ received_ids('/ok?by-hand-2') } == 1 } 'it gets what is its own';

# A transaction that makes and deletes it more often than one step reads.
query($node, q{DO $$BEGIN FOR i IN 1 .. 350 LOOP
	INSERT INTO webhook_configurations (id, name, organization_id, url, events, created_at)
	VALUES ('00000000-0000-4000-8000-00000000cccc', 'again', 'again', 'https://example.com/', '{*}', now() - i * interval '1 min');
	DELETE FROM webhook_configurations WHERE id = '00000000-0000-4000-8000-00000000cccc'; END LOOP; END$$});
insert_items('globex', 1);
eventually { @{ received_ids('/ok?by-hand-2') } == 2 } 'others go on when a webhook was made and deleted 350 times at once';
eventually { query($node, 'SELECT count(*) FROM webhook_changes') == 0 } 'and nothing is left of it';

# --- Whoever is no operator -------------------------------------------------------------------------------------------------

sub as_tenant { my ($sql) = @_; return query($node, "SET ROLE tenant; SET webhook.organization_id = 'initech'; $sql"); }

my $wanted = '00000000-0000-4000-8000-00000000bbbb';
my $drawn = as_tenant(insert_webhook($wanted, 'initech', '/ok?initech') . ' RETURNING id');
isnt($drawn, $wanted, 'a tenant that gives an id gets another one');
is(as_tenant("INSERT INTO webhook_configurations (id, name, url, events, created_at)
		VALUES ('$drawn', 'hook', 'https://example.com/', '{*}', '2000-01-01')
		ON CONFLICT (id) DO UPDATE SET name = 'renamed' RETURNING id || ' ' || name || ' ' || (created_at > '2000-01-02')"),
	"$drawn renamed true", 'ON CONFLICT (id) finds the webhook all the same');
is(as_tenant("INSERT INTO webhook_configurations (name, url, events, created_at)
		VALUES ('old', 'https://example.com/', '{*}', '2000-01-01') RETURNING created_at = now()"),
	't', 'nor is it older than it is');
is(query($node, "INSERT INTO webhook_configurations (id, organization_id, name, url, events, created_at)
		VALUES ('$wanted', 'initech', 'restored', 'https://example.com/', '{*}', '2000-01-01')
		RETURNING id || ' ' || (created_at = '2000-01-01')"),
	"$wanted true", 'an operator restores both');

is_log_clean($node, expected => \@expected);
$node->stop;

done_testing();
