# The order in which a webhook gets its events, as its column ordering promises, while a tenth of the requests fails and
# the server crashes in the middle: with key each key's events one after the other to the last retry, with endpoint all,
# with relaxed the first attempts of each key. A long transaction does not slow them down.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use MIME::Base64 qw(decode_base64);
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $keys = 200;
my $versions = 30;
my $total = $keys * $versions;
my $fifo_total = 400;
my $path = '/percent/10/status/503/delay-up-to/10';
my $fifo_path = '/percent/10/status/503/delay-up-to/5';
my @schedule = ('100 milliseconds') x 20;    # that a delivery fails 20 times is not to be expected

my $receiver = start_receiver();
my $node = new_node();
query($node, q{
	CREATE TABLE docs (id bigint PRIMARY KEY, version int NOT NULL);
	CREATE TABLE lines (id bigint PRIMARY KEY, version int NOT NULL);
	SELECT webhook_watch('docs', 'doc.created', organization_column => NULL);
	SELECT webhook_watch('docs', 'doc.updated', organization_column => NULL);
	SELECT webhook_watch('lines', 'line.created', organization_column => NULL);
});
my %webhook = map {
	$_->[0] => create_webhook($node, name => $_->[0], url => $receiver->url("$_->[1]?$_->[0]"), events => [ $_->[3] ],
		organization_id => undef, ordering => $_->[2], retry_schedule => \@schedule)
} ([ 'key', $path, 'key', 'doc.*' ], [ 'relaxed', $path, 'relaxed', 'doc.*' ], [ 'toggled', $path, 'relaxed', 'doc.*' ],
	[ 'endpoint', $fifo_path, 'endpoint', 'line.*' ]);

# The requests to a webhook as they came: [ id, version, status of the answer ]
sub requests
{
	my ($name) = @_;
	my @requests;
	open(my $record, '<:raw', $receiver->record_file) or die $receiver->record_file . ": $!";
	while (my $line = <$record>)
	{
		my ($status) = $line =~ /"path":"[^"]*\?$name",.*?"status":(\d+)/ or next;
		my ($body) = $line =~ /"body_base64":"([^"]*)"\}$/ or next;
		my ($id, $version) = decode_base64($body) =~ /"data":\{"id":(\d+),"version":(\d+)/ or die "no row in $line";
		push @requests, [ $id, $version, $status ];
	}
	close($record);
	return @requests;
}

# Requests that came before their predecessor had been answered by 200; one that is repeated comes in its order again.
sub out_of_order
{
	my ($place_of, @requests) = @_;
	my (%delivered, @wrong);
	foreach my $request (@requests)
	{
		my ($key, $place) = $place_of->($request);
		my $next = ($delivered{$key} // 0) + 1;
		push @wrong, "@$request" if $place > $next;
		$delivered{$key} = $place if $request->[2] == 200 && $place == $next;
	}
	return join(', ', splice(@wrong, 0, 10));
}

sub delivered
{
	my ($name) = @_;
	return query($node, "SELECT count(DISTINCT event_id) FROM webhook_logs
		WHERE configuration_id = '$webhook{$name}' AND status = 'success'");
}

sub arrived { my ($name) = @_; return scalar(keys %{ tally(map { "$_->[0] $_->[1]" } grep { $_->[2] == 200 } requests($name)) }); }

sub set_ordering
{
	my ($name, $ordering) = @_;
	query($node, "UPDATE webhook_configurations SET ordering = '$ordering' WHERE id = '$webhook{$name}'");
	return;
}

sub wait_for_arrivals
{
	my ($count) = @_;
	wait_until { $receiver->count >= $count } "$count requests";
	return;
}

my $documents = "INSERT INTO docs SELECT i, 1 FROM generate_series(1, $keys) i;\n"
  . "UPDATE docs SET version = version + 1;\n" x ($versions - 1);
my $lines = "INSERT INTO lines SELECT i, 1 FROM generate_series(1, $fifo_total) i;\n";
my $writer = start_session($node, $documents . $lines);
ok($writer->finish, 'everything has committed');
wait_for_arrivals($total / 2);
set_ordering('toggled', 'key');
wait_for_arrivals($total);
crash_server($node);
wait_for_arrivals(3 * $total / 2);
set_ordering('toggled', 'relaxed');
wait_for_arrivals(2 * $total);
set_ordering('toggled', 'key');

foreach my $name (qw(key relaxed toggled endpoint))
{
	my $expected = $name eq 'endpoint' ? $fifo_total : $total;
	eventually { delivered($name) == $expected } "$name: every event is delivered";
	is(arrived($name), $expected, "$name: and has arrived");
}
is(query($node, 'SELECT count(*) FROM webhook_deliveries'), 0, 'nothing is pending or dead');
cmp_ok(query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook{$_}' AND status = 'failed'"), '>', 10,
	"$_: there were failures on the way") foreach qw(key relaxed toggled endpoint);

is(out_of_order(sub { return ($_[0][0], $_[0][1]) }, requests('key')), '',
	'key: nothing is sent before what came before it, with the same key, has been delivered');
is(out_of_order(sub { return ('all', $_[0][0]) }, requests('endpoint')), '',
	'endpoint: nothing is sent before all that came before it has been delivered');
my %first;
my @early;
foreach my $request (requests('relaxed'))
{
	my ($id, $version) = @$request;
	push @early, "@$request" if $version > ($first{$id} // 0) + 1;
	$first{$id} = $version if $version > ($first{$id} // 0);
}
is(join(', ', splice(@early, 0, 10)), '', 'relaxed: nothing is tried before what came before it, with the same key, was');

sub overlapping
{
	my ($name) = @_;
	return query($node, qq{
		SELECT count(*) FROM (SELECT created_at + duration_ms * interval '1 ms' AS ended_at,
			lead(created_at) OVER (ORDER BY created_at) AS next_at
			FROM webhook_logs WHERE configuration_id = '$webhook{$name}') AS attempts
		WHERE next_at < ended_at});
}
cmp_ok(overlapping('key'), '>', $total / 4, 'key: keys go side by side');
is(overlapping('endpoint'), 0, 'endpoint: one request at a time');

# --- a long transaction ----------------------------------------------------------------------------------------------------

# It keeps the rows of what has been delivered, in the table and in its indexes. Reading the next ones does not pass all of
# them again for each delivery.
my $pending = 3000;
$webhook{late} = create_webhook($node, name => 'late', url => $receiver->url('/ok?late'), events => ['line.*'], organization_id => undef,
	ordering => 'endpoint', is_active => 'f');
query($node, "INSERT INTO lines SELECT 10000 + n, 1 FROM generate_series(1, $pending) n");
query($node, "SELECT webhook_replay('$webhook{late}', now() - interval '1 day')");
my $rows = query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$webhook{late}'");
cmp_ok($rows, '>=', $pending, "$rows deliveries are pending");
my $reader = WebhookTest::Session->new($node, 'postgres');
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM webhook_deliveries');
my $entries = q{SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'webhook_deliveries'};
my $before = query($node, $entries);
query($node, "UPDATE webhook_configurations SET is_active = true WHERE id = '$webhook{late}'");
eventually { query($node, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$webhook{late}'") == 0 } 'all of them are delivered';
my @ids = map { $_->[0] } requests('late');
is("@ids", join(' ', sort { $a <=> $b } @ids), 'in their order');
# The worker reports its figures when it has nothing to do.
my $read;
eventually { $read = query($node, $entries) - $before; $read > $rows } 'reading is counted';
cmp_ok($read, '<', 1000 * $rows, "$read entries of indexes are read for $rows deliveries");
$reader->query('COMMIT');

is_log_clean($node, expected => [crash_lines]);
$node->stop;

done_testing();
