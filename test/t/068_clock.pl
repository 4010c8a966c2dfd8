# Nothing waits for a clock: the server's is set forth and back by hours, with the worker, the launcher or the server
# going on or starting in between, and what was captured, retried, overflowed or begun meanwhile arrives at its own time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $library = $ENV{WEBHOOK_MOVED_CLOCK};
plan skip_all => 'WEBHOOK_MOVED_CLOCK does not name the library' unless $library;

my $clock = PostgreSQL::Test::Utils::tempdir() . '/clock';
sub set_clock
{
	my ($hours) = @_;
	open my $file, (-e $clock ? '+<' : '>'), $clock or die "$clock: $!\n";
	syswrite $file, pack('q', $hours * 3_600_000_000) or die "$clock: $!\n";
	close $file or die "$clock: $!\n";
	return;
}
set_clock(0);

my $receiver = start_receiver();
my $node;

# The server's processes have the moved clock; those of the test have not.
sub with_clock(&)
{
	my ($start) = @_;
	local $ENV{WEBHOOK_CLOCK} = $clock;
	local $ENV{LD_PRELOAD} = join(' ', $library, $ENV{LD_PRELOAD} // ());
	return $start->();
}
with_clock { $node = new_node('webhook.retry_schedule' => '100ms, 100ms, 100ms, 100ms, 100ms, 100ms') };
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
});
set_clock(3);
is(query($node, 'SELECT round((extract(epoch FROM clock_timestamp()) - ' . time() . ') / 3600)'), '3',
	'the server goes by the clock that the test sets');
set_clock(0);

my $last = 0;
sub insert
{
	my ($organization, $count) = @_;
	query($node, "INSERT INTO items SELECT $last + i, '$organization' FROM generate_series(1, $count) i");
	$last += $count;
	return;
}
my %expected;
sub webhook_of
{
	my ($organization, $script, %columns) = @_;
	return create_webhook($node, organization_id => $organization, name => $organization,
		url => $receiver->url("$script?$organization"), events => ['item.created'], %columns);
}
sub arrived { return scalar keys %{ { map { $_->[1] => 1 } received_rows($receiver, $_[0]) } }; }
sub is_pending { return query($node, "SELECT count(*) FROM webhook_deliveries WHERE organization_id = '$_[0]' AND state = 'pending'"); }
sub is_delivered
{
	my ($organization, $count, $name) = @_;
	return eventually { query($node, qq{SELECT count(DISTINCT event_id) FROM webhook_logs
		WHERE organization_id = '$organization' AND status = 'success' AND event_id > 0}) == $count } $name;
}

# --- Back, from where it was right ----------------------------------------------------------------------------------------

webhook_of('back', '/times/2/status/503');
insert('back', 3);
is_delivered('back', 3, 'with a clock that is right');
set_clock(-5);
insert('back', 3);
is_delivered('back', 6, 'captured and retried after the clock was set back');
create_webhook($node, organization_id => 'back', name => 'new', url => $receiver->url('/ok?new'), events => ['item.created']);
insert('back', 1);
is_delivered('back', 7, 'and by a webhook of before and one of after');
eventually { arrived('/ok?new') == 1 } 'each';

# --- Forth and back -------------------------------------------------------------------------------------------------------

# What happens between the two: the worker goes on, is sent away, the launcher too, or the server starts again.
my %between = (
	'goes on' => sub { },
	'worker ends' => sub { query($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'webhook worker'}) },
	'launcher ends' => sub {
		query($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ~ 'webhook' ORDER BY backend_type});
	},
	'server starts' => sub { with_clock { $node->start } },
);
foreach my $between (sort keys %between)
{
	(my $name = $between) =~ tr/ /-/;
	set_clock(0);
	# One is retried, one has a circuit that opens, one has more than fits into memory, one is switched off, and one waits
	# for what another transaction holds.
	$receiver->set("/$name", '/status/503');
	my @kinds = map { "$name-$_" } qw(retried crowded ordered off late);
	webhook_of($_, "/$name", max_in_flight => 1, ($_ =~ /ordered/ ? (ordering => 'endpoint') : ())) foreach @kinds;
	set_clock(4);
	my $late = WebhookTest::Session->new($node, 'postgres');
	$late->query('BEGIN');
	$late->query("INSERT INTO items VALUES (@{[++$last]}, '$name-late')");
	my %count = ("$name-retried" => 3, "$name-crowded" => 1500, "$name-ordered" => 20, "$name-off" => 2, "$name-late" => 1);
	insert($_, $count{$_}) foreach grep { !/late/ } sort keys %count;
	foreach my $kind (grep { !/late/ } @kinds)
	{
		wait_until { is_pending($kind) > 0 } "$kind is pending";
	}
	query($node, "UPDATE webhook_configurations SET is_active = false WHERE name = '$name-off'");
	$late->query('COMMIT');
	$node->stop('fast') if $between eq 'server starts';
	set_clock(0);
	$between{$between}->();
	$receiver->set("/$name", "/ok");
	query($node, "UPDATE webhook_configurations SET is_active = true WHERE name = '$name-off'");
	# A circuit that has opened would be tried after minutes only.
	wait_until { try_query($node, qq{SELECT webhook_test(id) FROM webhook_configurations WHERE name LIKE '$name-%'}) } 'a worker tests';
	is_delivered($_, $count{$_}, "$_: all of it") foreach @kinds;
}

# --- Between an attempt and its row ------------------------------------------------------------------------------------------

# The result of an attempt waits to be recorded when the clock is set back.
foreach my $between ('goes on', 'worker ends')
{
	(my $name = "unrecorded $between") =~ tr/ /-/;
	set_clock(0);
	$receiver->set("/$name", '/status/503');
	webhook_of($name, "/$name");
	set_clock(4);
	my $holder = WebhookTest::Session->new($node, 'postgres');
	$holder->query('BEGIN');
	$holder->query('LOCK TABLE webhook_deliveries IN EXCLUSIVE MODE');
	insert($name, 1);
	eventually { arrived("/$name?$name") == 1 } "it is tried: $name";
	eventually { query($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'webhook_deliveries'::regclass AND NOT granted}) > 0 }
		'and the worker waits to record that';
	set_clock(0);
	$between{$between}->();
	$holder->query('COMMIT');
	$receiver->set("/$name", '/ok');
	is_delivered($name, 1, "the next attempt does not wait for hours: $name");
}

# --- In memory --------------------------------------------------------------------------------------------------------------

# Deliveries wait in memory when the clock is set back, and become rows then.
$receiver->set('/memory', '/delay/2000/status/503');
webhook_of('memory', '/memory', max_in_flight => 1);
set_clock(4);
insert('memory', 5);
eventually { arrived('/memory?memory') == 1 } 'one is sent, the others wait for it';
set_clock(0);
query($node, q{UPDATE webhook_configurations SET is_active = false WHERE name = 'memory'});
wait_until { is_pending('memory') == 5 } 'all are pending';
is(query($node, q{SELECT count(*) FROM webhook_deliveries WHERE organization_id = 'memory' AND pending_since > now() + interval '1 hour'}), 0,
	'since now, and not since hours ahead');
$receiver->set('/memory', '/ok');
query($node, q{UPDATE webhook_configurations SET is_active = true WHERE name = 'memory'});
is_delivered('memory', 5, 'what became pending after the clock was set back is not due in hours');

# --- Rows that somebody holds ---------------------------------------------------------------------------------------------

$receiver->set('/held', '/status/503');
# The next attempt comes so late that none is under way when the row is locked.
my $held = webhook_of('held', '/held', retry_schedule => [ ('30 s') x 6 ]);
set_clock(4);
insert('held', 2);
wait_until { is_pending('held') == 2 } 'both are pending';
my $holder = WebhookTest::Session->new($node, 'postgres');
$holder->query(q{BEGIN; SELECT FROM webhook_deliveries WHERE organization_id = 'held' ORDER BY event_id LIMIT 1 FOR UPDATE});
set_clock(0);
$receiver->set('/held', '/ok');
wait_until { try_query($node, "SELECT webhook_test('$held')") } 'a worker tests';
is_delivered('held', 1, 'a row that is held does not hold up the others');
$holder->query('COMMIT');
is_delivered('held', 2, 'and is delivered when it is released');

# --- The rings ------------------------------------------------------------------------------------------------------------

set_clock(24 * 60);
query($node, q{UPDATE webhook_rings SET opened_at = now()});
set_clock(0);
insert('back', 1);
eventually { query($node, q{SELECT count(*) FROM webhook_rings WHERE ring = 'events' AND opened_at > now() + interval '1 hour'}) == 0 }
	'a segment that was opened in two months is left';

$node->stop;
done_testing();
