# Webhooks that are switched off and on, deleted, changed without end, and held locked by somebody: what is pending for them waits
# or goes, and others do not notice.

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
my $node = new_node();
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
});

my $next_id = 1;

# Inserts that many and returns their ids.
sub insert_items
{
	my ($session, $organization, $count) = @_;
	my $first = $next_id;
	$next_id += $count;
	$session->("INSERT INTO items SELECT n, '$organization' FROM generate_series($first, $next_id - 1) n");
	return [ $first .. $next_id - 1 ];
}

sub now { return query($node, $_[0]); }
sub received_ids { my ($path) = @_; return [ sort { $a <=> $b } map { $_->[1] } received_rows($receiver, $path) ]; }
sub webhook_of
{
	my ($organization, %columns) = @_;
	return create_webhook($node, organization_id => $organization, url => $receiver->url("/ok?$organization"),
		events => ['item.created'], %columns);
}
sub set_active
{
	my ($webhook, $is_active) = @_;
	query($node, "UPDATE webhook_configurations SET is_active = $is_active WHERE id = '$webhook'");
	return;
}
sub count_deliveries
{
	my ($webhook) = @_;
	return query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$webhook' AND state = 'pending'");
}
# A marker that arrives at another webhook says that the worker has come so far.
my $marker = webhook_of('marker');
sub pass_by
{
	my $ids = insert_items(\&now, 'marker', 1);
	eventually { grep { $_ == $ids->[0] } @{ received_ids('/ok?marker') } } 'an event of another webhook passes by';
	return;
}

# --- Off and on -----------------------------------------------------------------------------------------------------------

my $toggled = webhook_of('toggled');
my $late = WebhookTest::Session->new($node, 'postgres');
$late->query('BEGIN');
my $captured_before = insert_items(sub { $late->query(@_) }, 'toggled', 3);
set_active($toggled, 'false');
my $missed = insert_items(\&now, 'toggled', 5);
my $captured_off = insert_items(sub { $late->query(@_) }, 'toggled', 2);
$late->query('COMMIT');
pass_by();
is_deeply(received_ids('/ok?toggled'), [], 'a webhook that is off receives nothing');
is(count_deliveries($toggled), 3, 'what was captured before it was switched off is pending, though it committed afterwards');
set_active($toggled, 'true');
my $after = insert_items(\&now, 'toggled', 2);
eventually { @{ received_ids('/ok?toggled') } == 5 } 'switched on, it gets that, and what follows';
is_deeply(received_ids('/ok?toggled'), [ sort { $a <=> $b } @$captured_before, @$after ], 'and nothing from in between');
query($node, "SELECT webhook_replay(id, disabled_at, active_since) FROM webhook_configurations WHERE id = '$toggled'");
eventually { @{ received_ids('/ok?toggled') } == 12 } 'webhook_replay since disabled_at sends that';
is_deeply(received_ids('/ok?toggled'),
	[ sort { $a <=> $b } @$captured_before, @$after, @$missed, @$captured_off ], 'all of it, once');

# --- Deleted --------------------------------------------------------------------------------------------------------------

my $deleted = webhook_of('deleted', url => $receiver->url('/status/404?deleted'), retry_schedule => ['1 hour']);
insert_items(\&now, 'deleted', 20);
eventually { count_deliveries($deleted) == 20 } 'a webhook has something pending';
query($node, "DELETE FROM webhook_configurations WHERE id = '$deleted'");
eventually { query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$deleted'") == 0 } 'deleted, it has nothing pending';
eventually
{
	query($node, "SELECT (SELECT count(*) FROM webhook_minutes WHERE configuration_id = '$deleted')
		+ (SELECT count(*) FROM webhook_hours WHERE configuration_id = '$deleted')
		+ (SELECT count(*) FROM webhook_endpoints WHERE configuration_id = '$deleted')
		+ (SELECT count(*) FROM webhook_changes)") == 0
}
'and has no figures';

# --- Locked ---------------------------------------------------------------------------------------------------------------

my $locked = webhook_of('locked', url => $receiver->url('/status/404?locked'),
	retry_schedule => [ ('1 second') x 20 ]);
insert_items(\&now, 'locked', 50);
eventually { count_deliveries($locked) == 50 } 'another one has something pending';
my $locker = WebhookTest::Session->new($node, 'postgres');
my $held = $locker->query(
	"BEGIN; SELECT count(*) FROM (SELECT FROM webhook_deliveries WHERE configuration_id = '$locked' FOR UPDATE) d");
is($held, 50, 'somebody holds all of that locked');
my $attempts = "SELECT sum(attempts) FROM webhook_deliveries WHERE configuration_id = '$locked'";
my $attempts_before = query($node, $attempts);
eventually
{
	query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$locked' AND status = 'failed'") > $attempts_before
}
'attempts that are made are logged';
my $inserter = WebhookTest::Session->new($node, 'postgres');
$inserter->query('BEGIN');
insert_items(sub { $inserter->query(@_) }, 'marker', 500);
my $inserted = $inserter->query('SELECT pg_current_xact_id()');
$inserter->query('COMMIT');
$inserter->finish;
eventually { @{ received_ids('/ok?marker') } == 501 } 'other webhooks get theirs';
eventually { query($node, "SELECT pg_visible_in_snapshot('$inserted', snapshot_from) FROM webhook_checkpoint") eq 't' }
'and the checkpoint moves on';
is(query($node, $attempts), $attempts_before, 'though nothing could be written to the locked rows');
$locker->query('COMMIT');
$locker->finish;
eventually { query($node, "SELECT min(attempts) FROM webhook_deliveries WHERE configuration_id = '$locked'") >= 2 }
'what they should say is written when they are free';
query($node, "DELETE FROM webhook_configurations WHERE id = '$locked'");

# --- Changed without end ----------------------------------------------------------------------------------------------------

my $changer = start_session($node, join('',
	map { "UPDATE webhook_configurations SET timeout_ms = 1000 + $_ WHERE id = '$toggled';\n" } 1 .. 500));
my $meanwhile = insert_items(\&now, 'marker', 500);
eventually { @{ received_ids('/ok?marker') } == 1001 } 'a webhook that is changed in a loop holds up no other';
ok($changer->finish, 'all changes were made');
insert_items(\&now, 'toggled', 1);
eventually { @{ received_ids('/ok?toggled') } == 13 } 'nor itself';

is_log_clean($node, expected => [ qr/WARNING: .*deliveries of webhook .* wait to be recorded since/ ]);
$node->stop;

done_testing();
