# While results cannot be recorded, because a trigger raises or a lock is held, they are kept and recorded later: nothing
# is lost, nothing is sent twice, and one warning a minute says so.

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
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	CREATE SEQUENCE refusals;    -- a rollback does not take back what it counts
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM nextval('public.refusals'); RAISE 'refused by the DBA'; END $$;
});
create_webhook($node, url => $receiver->url('/ok'), events => ['item.created'], organization_id => undef);
my $next_id = 1;

sub insert_items
{
	my ($count) = @_;
	my $first = $next_id;
	$next_id += $count;
	query($node, "INSERT INTO items SELECT generate_series($first, $next_id - 1)");
	return;
}

sub all_is_recorded
{
	my ($what) = @_;
	my $total = $next_id - 1;
	eventually { query($node, 'SELECT count(*), count(DISTINCT event_id) FROM webhook_logs') eq "$total|$total" } $what;
	is(scalar(grep { $_ != 1 } values %{ $receiver->counts_by_webhook_id }), 0, 'nothing was sent twice');
	is($receiver->count, $total, 'and nothing is missing');
	return;
}

sub warnings
{
	return scalar(() = slurp_file($node->logfile) =~ /WARNING: .*the worker's transaction failed and will be repeated/g);
}

insert_items(10);
all_is_recorded('results are recorded');

query($node, 'CREATE TRIGGER refuse BEFORE INSERT ON webhook_logs FOR EACH ROW EXECUTE FUNCTION refuse()');
insert_items(3000);
eventually { $receiver->count > 10 } 'requests go out while recording fails';
eventually { query($node, 'SELECT last_value FROM refusals') >= 6 } 'recording is tried again and again';
is(warnings(), 1, 'with one warning');
is(query($node, 'SELECT count(*) FROM webhook_logs'), 10, 'nothing is recorded');
query($node, 'DROP TRIGGER refuse ON webhook_logs');
all_is_recorded('when the trigger is gone everything is recorded');

my $slot = query($node, q{SELECT slot FROM webhook_rings WHERE ring = 'logs'});
my $locker = WebhookTest::Session->new($node, 'postgres');
$locker->query("BEGIN; LOCK TABLE webhook_logs_$slot IN SHARE MODE");
my $before = $receiver->count;
insert_items(300);
wait_until { $receiver->count > $before } 'requests go out';
my $waits = "SELECT count(*) FROM pg_locks WHERE relation = 'webhook_logs_$slot'::regclass AND NOT granted";
eventually { query($node, $waits) > 0 } 'the worker waits for a lock on webhook_logs';
eventually { query($node, $waits) == 0 } 'not for ever';
eventually { query($node, $waits) > 0 } 'and tries again';
cmp_ok(warnings(), '<=', 2, 'without a warning for each try');
$locker->query('COMMIT');
$locker->finish;
all_is_recorded('when the lock is released everything is recorded');
is_log_clean($node, expected => [qr/WARNING: .*the worker's transaction failed and will be repeated: (?:refused by the DBA|canceling statement due to lock timeout)/]);
$node->stop;

done_testing();
