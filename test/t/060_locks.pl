# Every lock on a row, and every advisory lock, that a role of any level can take, by itself, by a trigger, a function, a
# foreign key or a prepared transaction, each on webhooks of an organization of its own, while the worker runs every
# statement that it has: another organization's deliveries go on, and so does the checkpoint; and when the locks are
# released, what they were on comes to its end, with nothing lost and nothing delivered twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

# --- what the worker runs, and what here makes it do so ------------------------------------------------------------------

# The situations below that run each statement of src/pg/store/statements.h. A new statement needs a line, and, if there is none
# yet that runs it, a situation.
my %situation_of = (
	(map { $_ => 'start' } qw(find_extension find_relations read_identity create_identity read_checkpoints delete_checkpoints
		create_checkpoints read_logged read_pending_of read_deferred_webhooks)),
	(map { $_ => 'configuration' } qw(find_webhooks_from read_webhooks current_snapshot find_changes find_changed_webhooks
		find_changed_secrets has_outdated_secrets reencrypt_secrets)),
	(map { $_ => 'cleaning up' } qw(find_left_over delete_change delete_left_pending delete_left_dead delete_left_minutes
		delete_left_hours delete_left_endpoint has_left_over)),
	(map { $_ => 'reading' } qw(current_head find_batches find_events read_events_by_id walk_events)),
	(map { $_ => 'recording' } qw(current_log_segments insert_logs upsert_deliveries delete_finished upsert_minutes upsert_endpoints
		update_checkpoint defer_deliveries defer_finished apply_deferred has_deferred find_holder)),
	(map { $_ => 'refusal' } qw(find_locked give_up_deferred drop_deferred)),    # 061_refused_rows.pl, 054_toggle.pl
	(map { $_ => 'disabling' } qw(read_disabling disable_webhook)),
	(map { $_ => 'pending' } qw(read_due read_due_in_order read_due_next give_up_old)),
	(map { $_ => 'ordering' } qw(write_ordering_keys count_ordering_keys)),
	(map { $_ => 'rings' } qw(read_ring turn_ring save_events has_unsaved_events has_unsettled_events has_needed_logs
		delete_expired_dead draw_ids)),
	# Of what webhook_deliveries refers to; these skip what somebody has locked (062_storage.pl, 068_clock.pl).
	(map { $_ => 'shares' } qw(count_deliveries redate_pending delete_oldest_dead delete_last_due delete_deliveries_of log_given_up walk_saved
		lock_saved delete_saved oldest_saved delete_old_given_up delete_old_history delete_old_replays)),
	(map { $_ => 'replays' } qw(find_unfinished_replays take_replay count_pending walk_replay queue_events advance_replay let_replay_wait
		fail_replay)),
	(map { $_ => 'test' } qw(read_testable last_log_id_drawn)),
	# These wait for nobody but the worker of a subscription: 083_sharing.pl to 085_sharing_losses.pl.
	(map { $_ => 'nodes' } qw(read_nodes read_gone_nodes report_disabling report_event serve_nodes delete_reports delete_shifts
		delete_old_minutes delete_old_hours note_emptied
		find_takeovers read_heir inherit walk_takeover advance_takeover drop_takeover)),
	# Only in a copy or an upgraded cluster, where nothing is delivered before.
	(map { $_ => 'identity' } qw(create_paused_identity delete_identity update_system_identifier update_checkpoint_instance)));
my @statements = slurp_file("$FindBin::RealBin/../../src/pg/store/statements.h") =~ /^inline constinit Statement (\w+)\(/mg;
is_deeply([ sort @statements ], [ sort keys %situation_of ], 'every statement of the worker has a situation');

# --- the locks -----------------------------------------------------------------------------------------------------------

# Each in a session of its own, of a role of that level and of an organization that bears the lock's name. HOOK is the
# organization's webhook that fails, LOG a log row of it. How it ends: by COMMIT unless rollback is set.
my @locks = (
	{ name => 'advisory', level => 'application', sql => q{
		SELECT pg_advisory_lock(c.oid::bigint), pg_advisory_lock(c.oid::int, 0), pg_advisory_lock(0, c.oid::int)
		FROM pg_class c WHERE c.relname LIKE 'webhook%'} },
	{ name => 'writer', level => 'application', sql => q{INSERT INTO items VALUES (-1, 'writer'); SELECT webhook_flush()}, flush => 1 },
	{ name => 'reader', level => 'read', sql => q{
		SELECT count(*) FROM webhook_logs; SELECT count(*) FROM webhook_stats; SELECT count(event_id) FROM webhook_deliveries} },
	{ name => 'updates', level => 'manage', sql => q{UPDATE webhook_configurations SET timeout_ms = timeout_ms} },
	{ name => 'toggles', level => 'manage', sql => q{UPDATE webhook_configurations SET is_active = false}, rollback => 1 },
	{ name => 'secrets', level => 'manage', sql => q{UPDATE webhook_configurations SET secret = 'another long secret'} },
	{ name => 'selects', level => 'manage', sql => q{SELECT count(*) FROM (SELECT id FROM webhook_configurations FOR UPDATE) c} },
	{ name => 'shares', level => 'manage', sql => q{SELECT count(*) FROM (SELECT id FROM webhook_configurations FOR SHARE) c} },
	{ name => 'deletes', level => 'manage', sql => q{DELETE FROM webhook_configurations} },
	{ name => 'undeletes', level => 'manage', sql => q{DELETE FROM webhook_configurations}, rollback => 1 },
	{ name => 'inserts', level => 'manage', sql => q{
		INSERT INTO webhook_configurations (name, url, events, test_event)
		VALUES ('one more', 'http://127.0.0.1:9999/', '{item.created}', 'contact.created')}, rollback => 1 },
	{ name => 'cancels', level => 'manage', sql => q{SELECT webhook_cancel(id) FROM webhook_configurations} },
	{ name => 'uncancels', level => 'manage', sql => q{SELECT webhook_cancel(id) FROM webhook_configurations}, rollback => 1 },
	{ name => 'replays', level => 'manage', sql => q{SELECT webhook_replay(id, '-infinity') FROM webhook_configurations},
		repeats => 1 },
	{ name => 'unreplays', level => 'manage', sql => q{SELECT webhook_replay(id, '-infinity') FROM webhook_configurations},
		rollback => 1 },
	{ name => 'replayjobs', level => 'manage', repeats => 1, sql => q{
		SELECT webhook_api.cancel_replay((webhook_api.replay(id, '-infinity') ->> 'job')::bigint) FROM webhook_configurations LIMIT 1;
		SELECT webhook_api.replay(id, '-infinity') FROM webhook_configurations} },
	{ name => 'redelivers', level => 'manage', sql => q{SELECT webhook_redeliver(LOG)}, repeats => 1 },
	{ name => 'rotates', level => 'manage', sql => q{SELECT webhook_rotate_secret(id) FROM webhook_configurations} },
	{ name => 'emits', level => 'manage', sql => q{SELECT webhook_emit('item.created', '{"id":-2}'); SELECT webhook_flush()} },
	{ name => 'pauses', level => 'operate', sql => q{SELECT webhook_pause()}, rollback => 1 },
	{ name => 'types', level => 'operate', sql => q{
		SELECT count(*) FROM (SELECT name FROM webhook_event_types FOR UPDATE) t;
		INSERT INTO webhook_event_types (name, category) VALUES ('item.removed', 'item')} },
	{ name => 'operators', level => 'operate', sql => q{
		SELECT count(*) FROM (SELECT id FROM webhook_configurations WHERE organization_id = 'operators' FOR UPDATE) c;
		SELECT webhook_cancel(id) FROM webhook_configurations WHERE organization_id = 'operators'} },
	{ name => 'preparedcancels', level => 'manage', prepared => 1, sql => q{SELECT webhook_cancel(id) FROM webhook_configurations} },
	{ name => 'preparedreplays', level => 'manage', prepared => 1, repeats => 1,
		sql => q{SELECT webhook_replay(id, '-infinity') FROM webhook_configurations} },
	{ name => 'prepareddeletes', level => 'manage', prepared => 1, rollback => 1, sql => q{DELETE FROM webhook_configurations} },
	{ name => 'preparedupdates', level => 'manage', prepared => 1, sql => q{UPDATE webhook_configurations SET timeout_ms = timeout_ms} });

my $receiver = start_receiver();
my $node = new_node(
	'max_prepared_transactions' => 20,
	'webhook.max_event_size' => '1MB',    # so that the ring of events wants to turn
	'webhook.max_webhooks_per_organization' => 100);
query($node, q{
	CREATE TABLE items (id bigint, organization_id text, key text DEFAULT 'k', body text);
	SELECT webhook_watch('items', 'item.created', key_columns => '{key}');
	CREATE ROLE application; CREATE ROLE read; CREATE ROLE manage; CREATE ROLE operate;
	SELECT webhook_grant(level::regrole, level) FROM unnest('{read,manage,operate}'::text[]) level;
	GRANT INSERT ON items TO application;
	GRANT EXECUTE ON FUNCTION webhook_flush() TO application;
});

# What each organization has: an endpoint that answers, one that fails, one that refuses, one that hangs, and two with an
# order.
$receiver->set('/fails', '/status/500');
$receiver->set('/hangs', '/hang');
my @kinds = (
	{ name => 'ok', path => '/ok' },
	{ name => 'fails', path => '/fails' },
	{ name => 'refuses', path => '/status/404', retry_schedule => [ '1 second' ] },
	{ name => 'hangs', path => '/hangs', timeout_ms => 3000 },
	{ name => 'ordered', path => '/fails', ordering => 'key' },
	{ name => 'reordered', path => '/fails' });
foreach my $organization ((map { $_->{name} } @locks), 'others')
{
	foreach my $kind ($organization eq 'others' ? $kinds[0] : @kinds)
	{
		my %columns = (retry_schedule => [ ('1 second') x 20 ], %$kind);
		my $path = delete $columns{path};
		create_webhook($node, %columns, url => $receiver->url("$path?$organization-$columns{name}"), secret => 'a long secret',
			organization_id => $organization, events => ['item.created']);
	}
}
my $organizations = "unnest('{" . join(',', map { $_->{name} } @locks) . "}'::text[])";
my $last_id = 0;

# So many items for each organization that is locked.
sub insert_items
{
	my ($count) = @_;
	my $first = $last_id + 1;
	$last_id += $count;
	query($node, "INSERT INTO items SELECT id, o, 'k' || id % 3 FROM $organizations o, generate_series($first, $last_id) id");
	return;
}

my $others_last = 0;
sub others_receive
{
	my ($count, $what) = @_;
	my $first = $others_last + 1;
	$others_last += $count;
	query($node, "INSERT INTO items SELECT id, 'others' FROM generate_series($first, $others_last) id");
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eventually { $receiver->count('/ok?others-ok') >= $others_last } "others receive: $what" or diag(query($node, q{
		SELECT string_agg(format('%s %s %s waits for %s', a.pid, a.backend_type, a.query, pg_blocking_pids(a.pid)), E'\n')
		FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock'}));
	return;
}

sub checkpoint_passes
{
	my ($what) = @_;
	my $here = query($node, 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
	others_receive(1, $what);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return eventually
	{
		query($node, "SELECT pg_snapshot_xmax(snapshot_to)::text::bigint >= '$here' FROM webhook_checkpoint") eq 't'
	}
	"the checkpoint passes: $what";
}

# Before the locks: rows of every kind are there.
insert_items(6);
eventually
{
	query($node, "SELECT count(*) FROM $organizations o WHERE
		(SELECT count(DISTINCT configuration_id) FROM webhook_deliveries WHERE organization_id = o AND state = 'pending') < 4
		OR (SELECT count(*) FROM webhook_deliveries WHERE organization_id = o AND state = 'dead') < 6
		OR (SELECT count(DISTINCT configuration_id) FROM webhook_minutes WHERE organization_id = o) < 5
		OR (SELECT count(*) FROM webhook_endpoints WHERE organization_id = o) < 5") == 0
}
'each organization has deliveries that are pending and dead, and figures';

my @held;
foreach my $lock (@locks)
{
	my $session = WebhookTest::Session->new($node, 'postgres');
	my $log = query($node, "SELECT max(id) FROM webhook_logs WHERE organization_id = '$lock->{name}' AND status = 'failed'");
	my $sql = $lock->{sql} =~ s/\bLOG\b/$log/gr;
	$session->query("SET ROLE $lock->{level}; SET webhook.organization_id = '$lock->{name}'; BEGIN; $sql");
	is($session->errors, '', "$lock->{name}: the lock is taken");
	$session->query("PREPARE TRANSACTION '$lock->{name}'") if $lock->{prepared};
	is($session->errors, '', "$lock->{name}: it is prepared") if $lock->{prepared};
	push @held, { %$lock, session => $session };
}

# --- the situations ------------------------------------------------------------------------------------------------------

sub situations
{
	my ($when) = @_;

	# recording: successes, failures, retries, deaths, what hangs, and statistics of all of these
	my $minutes = query($node, q{SELECT coalesce(sum(attempts), 0) FROM webhook_minutes WHERE organization_id = 'others'});
	insert_items(6);
	others_receive(100, "$when, while results of all kinds are recorded");
	eventually
	{
		query($node, q{SELECT coalesce(sum(attempts), 0) FROM webhook_minutes WHERE organization_id = 'others'}) >= $minutes + 100
	}
	"$when: others' statistics are written";
	checkpoint_passes("$when, results");

	# ordering, configuration: by whoever may, unless he waits
	run_command([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SET lock_timeout = '100ms'", '-c',
		"UPDATE webhook_configurations SET ordering = 'key' WHERE name = 'reordered' AND organization_id = '$_->{name}'" ])
	  foreach @locks;
	others_receive(10, "$when, while an ordering changes");

	# cleaning up
	my $gone = create_webhook($node, name => "gone $when", url => $receiver->url('/fails?gone'), organization_id => 'others',
		retry_schedule => ['1 hour'], events => ['item.created']);
	others_receive(3, "$when, with a webhook that fails");
	eventually { query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$gone'") == 3 }
	"$when: it has something pending";
	query($node, "DELETE FROM webhook_configurations WHERE id = '$gone'");
	eventually
	{
		query($node, "SELECT (SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$gone')
			+ (SELECT count(*) FROM webhook_minutes WHERE configuration_id = '$gone')
			+ (SELECT count(*) FROM webhook_hours WHERE configuration_id = '$gone')
			+ (SELECT count(*) FROM webhook_endpoints WHERE configuration_id = '$gone')") == 0
	}
	"$when: what is left of a deleted webhook goes";
	others_receive(3, "$when, while that is cleaned up");

	# replays: of the others, and of some who hold locks; who holds rows of webhook_replays is in 025_replays.pl
	my $job = query($node, q{SELECT webhook_api.replay(id, '-infinity', now() - interval '1 year') ->> 'job' FROM webhook_configurations
		WHERE organization_id = 'others'});
	my @jobs = map { query($node, "SELECT webhook_api.replay(id, '-infinity', now() - interval '1 year') ->> 'job' FROM webhook_configurations
		WHERE organization_id = '$_' AND name = 'ok'") } qw(reader updates cancels preparedcancels);
	eventually { query($node, "SELECT state FROM webhook_replays WHERE id = $job") eq 'done' } "$when: others' replays go on";
	others_receive(3, "$when, with replays of those who hold locks");
	query($node, "SELECT webhook_api.cancel_replay($_)") foreach @jobs;

	# rings: more than they may hold
	query($node, q{INSERT INTO items SELECT n, 'others', 'k', string_agg(md5(n::text || i), '') FROM generate_series(1, 50) n,
		generate_series(1, 1000) i GROUP BY n});
	$others_last += 50;    # 1.6 MB
	others_receive(10, "$when, while the ring wants to turn");

	# disabling, test, start
	my $answer = query($node, q{SELECT status FROM webhook_test((SELECT id FROM webhook_configurations
		WHERE organization_id = 'others'))});
	is($answer, 'success', "$when: others' webhooks can be tested");
	my $worker = query($node, 'SELECT pid FROM webhook_workers');
	query($node, "SELECT pg_terminate_backend($worker)");
	eventually { query($node, "SELECT count(*) FROM webhook_workers WHERE pid <> $worker") == 1 } "$when: another worker starts";
	others_receive(10, "$when, by the next worker");
	checkpoint_passes("$when, the next worker");
	return;
}

situations('all locks held');
my $cancelled_hook = query($node, q{SELECT id FROM webhook_configurations WHERE organization_id = 'cancels' AND name = 'fails'});
eventually { query($node, "SELECT count(*) FROM webhook_internal.deferred_changes WHERE configuration_id = '$cancelled_hook'") > 0 }
'what is held waits to be recorded';
eventually
{
	query($node, "SELECT count(*) FROM webhook_check('$cancelled_hook') WHERE finding LIKE '%wait to be recorded since%'") == 1
}
'webhook_check() says so';
eventually { slurp_file($node->logfile) =~ /WARNING: .*deliveries of webhook .* wait to be recorded since/ } 'and so does the log';
cmp_ok(scalar(() = slurp_file($node->logfile) =~ /wait to be recorded since/g), '<=', 4, 'not for each try');
like(slurp_file($node->logfile), qr/They are held by (?:the transaction of process \d+|a prepared transaction)/,
	'with who holds them');

# The sessions end with the server; what was prepared stays.
crash_server($node);
foreach my $lock (@held)
{
	delete $lock->{session};
	next if $lock->{prepared};
	# As if it had been rolled back: what it would have done is done now, and held again.
	my $session = WebhookTest::Session->new($node, 'postgres');
	my $log = query($node, "SELECT max(id) FROM webhook_logs WHERE organization_id = '$lock->{name}' AND status = 'failed'");
	my $sql = $lock->{sql} =~ s/\bLOG\b/$log/gr;
	$session->query("SET ROLE $lock->{level}; SET webhook.organization_id = '$lock->{name}'; BEGIN; $sql");
	is($session->errors, '', "$lock->{name}: the lock is taken again");
	$lock->{session} = $session;
}
situations('after a crash');

# --- released ------------------------------------------------------------------------------------------------------------

$receiver->set('/fails', '/ok');
$receiver->set('/hangs', '/ok');
foreach my $lock (@held)
{
	if ($lock->{prepared})
	{
		query($node, ($lock->{rollback} ? 'ROLLBACK' : 'COMMIT') . " PREPARED '$lock->{name}'");
		next;
	}
	$lock->{session}->query($lock->{rollback} ? 'ROLLBACK' : 'COMMIT');
	is($lock->{session}->errors, '', "$lock->{name}: it ends");
	$lock->{session}->finish;
}
query($node, q{UPDATE webhook_configurations SET url = url || '&again' WHERE url LIKE '%/fails?%' OR url LIKE '%/hangs?%'});
others_receive(10, 'when all is released');
eventually { query($node, q{SELECT count(*) FROM webhook_internal.deferred_changes}) == 0 } 'nothing waits to be recorded';
eventually
{
	query($node, q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'}) == 0
}
'and nothing is pending' or diag(query($node, q{
	SELECT string_agg(format('%s %s: %s', c.organization_id, c.name, d), E'\n')
	FROM webhook_deliveries d JOIN webhook_configurations c ON c.id = d.configuration_id WHERE d.state = 'pending'}));

# Each event of an organization that is there came to one end at each of its webhooks.
my $ends = q{
	SELECT c.organization_id, c.name, l.event_id, count(*) FILTER (WHERE l.status = 'success') AS delivered,
	       (SELECT count(*) FROM webhook_deliveries d WHERE d.event_id = l.event_id AND d.configuration_id = c.id) AS dead
	FROM webhook_configurations c JOIN webhook_logs l ON l.configuration_id = c.id
	WHERE c.organization_id <> 'others' AND c.name <> 'one more'
	GROUP BY c.id, l.event_id};
foreach my $lock (@locks)
{
	next if $lock->{name} eq 'deletes';
	my $repeats = $lock->{repeats} ? 'true' : 'false';
	my $events = $last_id + ($lock->{name} =~ /^(?:writer|emits)$/ ? 1 : 0);
	is(query($node, "SELECT string_agg(format('%s %s: %s, %s', name, event_id, delivered, dead), '; ') FROM ($ends) e
		WHERE organization_id = '$lock->{name}' AND delivered + dead <> 1 AND NOT ($repeats AND delivered + dead >= 1)"), '',
		"$lock->{name}: every delivery came to one end");
	is(query($node, "SELECT count(*) FROM ($ends) e WHERE organization_id = '$lock->{name}'"), 6 * $events,
		"$lock->{name}: and each that should be is there");
	is(query($node, "SELECT string_agg(DISTINCT name, ' ' ORDER BY name) FROM ($ends) e
		WHERE organization_id = '$lock->{name}' AND delivered > 0"), 'fails hangs ok ordered reordered',
		"$lock->{name}: by all endpoints but the one that refuses");
}
is(query($node, q{SELECT count(*) FROM webhook_configurations WHERE organization_id = 'deletes'}), 0, 'what was deleted is gone');
is(query($node, q{SELECT count(*) FROM webhook_deliveries d
	WHERE NOT EXISTS (SELECT FROM webhook_configurations c WHERE c.id = d.configuration_id) AND d.state = 'pending'}), 0,
	'with what is pending for it');
is(query($node, q{SELECT count(*) FROM webhook_logs l JOIN webhook_configurations c ON c.id = l.configuration_id
	WHERE c.organization_id = 'others' AND l.status = 'success' AND l.event_id > 0}), $others_last, "others' are logged, each once");

is_log_clean($node, expected => [
	crash_lines(),
	qr/WARNING: .*webhook\.max_in_flight is lowered/,    # the sessions' pipes are open in a server that is started here
	qr/WARNING: .*deliveries of .* wait to be recorded since/,
	qr/WARNING: .*the oldest segment of webhook_(?:events|logs) is kept beyond/,
	qr/ERROR:  canceling statement due to lock timeout/,    # of whoever changes an ordering
	qr/FATAL:  terminating background worker/ ]);
$node->stop;

done_testing();
