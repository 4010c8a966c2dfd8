# Several nodes share one set of webhooks, as docs/nodes.md describes: a home, which captures, and two nodes. Each event is sent
# once, by the node that the webhook falls to, whatever is divided anew, edited, killed or lost meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Nodes;

my $receiver = start_receiver();
my %server = map { $_ => new_member($_) } qw(home east west);
my $home = $server{home};
my @nodes = qw(east west);

# Who delivers the webhook, by the last division.
sub owner
{
	my ($webhook) = @_;
	return query($home, qq{SELECT nodes[webhook_internal.node_number('$webhook', cardinality(nodes))]
		FROM webhook_node_shares ORDER BY since DESC LIMIT 1});
}

# --- Set up -------------------------------------------------------------------------------------------------------------

query($home, 'CREATE TABLE things (id bigserial PRIMARY KEY, webhook int)');
query($home, q{SELECT webhook_watch('things', 'thing.created', organization_column => NULL)});
my %webhook = map { $_ => create_webhook($home, name => "w$_", url => $receiver->url("/body/w$_"), events => ['thing.created'],
	ordering => 'endpoint') } 1 .. 12;
run_written($home, 'webhook_home()');
join_home($home, $_, $server{$_}) foreach @nodes;
is(query($server{east}, 'SELECT count(*) FROM webhook_configurations'), 12, 'a node has the webhooks of its home');
query($home, 'INSERT INTO things SELECT FROM generate_series(1, 10)');
eventually { $receiver->count == 120 } 'before the webhooks are divided, the home delivers';
is(query($server{$_}, 'SELECT count(*) FROM webhook_events'), 10, "$_ has the events") foreach @nodes;
is(query($server{$_}, 'SELECT count(*) FROM webhook_logs'), 0, 'and delivers nothing') foreach @nodes;

query($home, q{SELECT webhook_share('{home,east,west}')});
my %owned;
push @{ $owned{ owner($_) } }, $_ foreach values %webhook;
is(scalar(keys %owned), 3, 'each node has webhooks');
query($home, 'INSERT INTO things SELECT FROM generate_series(1, 100)');
eventually { $receiver->count == 1320 } 'all is delivered';
foreach my $name (sort keys %server)
{
	wait_until { query($home, 'SELECT count(*) FROM webhook_logs') == 1320 } 'the log rows of the nodes' if $name eq 'home';
	is(query($server{$name}, 'SELECT count(DISTINCT configuration_id) FROM webhook_logs l JOIN webhook_events e ON e.id = l.event_id WHERE l.event_id > (SELECT id FROM webhook_events ORDER BY id OFFSET 9 LIMIT 1)'),
		$name eq 'home' ? 12 : scalar(@{ $owned{$name} }), $name eq 'home' ? 'the home has the log of all' : "$name delivers to its webhooks alone");
}
is(scalar(grep { $_ != 1 } values %{ tally(map { join ' ', @$_ } received_rows($receiver, '/body/w1')) }), 0, 'each event once');
is(scalar(keys %{ tally(map { $_->[0] } received_rows($receiver)) }), 110, 'each under one webhook-id, whichever node sends it');
foreach my $webhook (1 .. 12)
{
	my @ids = map { $_->[1] } received_rows($receiver, "/body/w$webhook");
	is(join(' ', @ids), join(' ', 1 .. 110), "webhook $webhook gets them in order");
}

# --- Edits --------------------------------------------------------------------------------------------------------------

foreach my $edit (q{UPDATE webhook_configurations SET name = 'x'}, q{DELETE FROM webhook_configurations},
	q{INSERT INTO webhook_configurations (name, url, events) VALUES ('n', 'http://127.0.0.1/', '{*}')}, 'TRUNCATE webhook_configurations',
	q{INSERT INTO webhook_event_types (name) VALUES ('thing.changed')}, q{SELECT webhook_share('{home}')})
{
	my (undef, undef, $error) = $server{east}->psql('postgres', $edit);
	like($error, qr/ERROR:  this database is node "east".*HINT:  /s, "refused on a node: $edit") or diag($error);
}

# What was answered with 200, as [webhook-id, row].
sub delivered
{
	my ($path) = @_;
	my @all = received_rows($receiver, $path);
	my @lines = grep { /"path":"\Q$path\E"/ } split /\n/, slurp_file($receiver->record_file);
	return map { $lines[$_] =~ /"status":200\b/ ? $all[$_] : () } 0 .. $#all;
}

# The rows that a webhook has not been sent, and how often a row came again.
sub missing_rows
{
	my ($up_to) = @_;
	my @missing;
	foreach my $webhook (1 .. 12)
	{
		my %got = map { $_->[1] => 1 } delivered("/body/w$webhook");
		push @missing, map { "$webhook:$_" } grep { !$got{$_} } 1 .. $up_to;
	}
	return @missing;
}

sub repeats
{
	my $repeats = 0;
	$repeats += $_ - 1 foreach map { values %{ tally(map { join ' ', @$_ } delivered("/body/w$_")) } } 1 .. 12;
	return $repeats;
}

sub last_row { return query($home, 'SELECT max(id) FROM things'); }
sub all_arrive
{
	my ($name) = @_;
	my @missing;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $is_all = eventually { @missing = missing_rows(last_row()); !@missing } $name;
	diag('missing: ' . join ' ', splice(@missing, 0, 20)) unless $is_all;
	return $is_all;
}

# --- Divided anew, under load -------------------------------------------------------------------------------------------

my $load = start_session($home, join('', map { "INSERT INTO things DEFAULT VALUES; SELECT pg_sleep(0.002);\n" } 1 .. 1500));
foreach my $nodes ('{home,west}', '{east}', '{east,west,home}')
{
	await_rows($home, 100);
	query($home, "SELECT webhook_share('$nodes')");
}
$load->finish;
all_arrive('nothing is lost when webhooks are divided anew');
is(repeats(), 0, 'and nothing comes twice');

# --- A node is killed ---------------------------------------------------------------------------------------------------

my $before = last_row();
$load = start_session($home, join('', map { "INSERT INTO things DEFAULT VALUES; SELECT pg_sleep(0.002);\n" } 1 .. 1000));
wait_until { last_row() > $before + 300 } 'some rows';
crash_server($server{east});
$load->finish;
all_arrive('nothing is lost when a node is killed');
cmp_ok(repeats(), '<', 500, 'what comes again was in flight');
diag(repeats() . ' came again');

# --- A node is lost -----------------------------------------------------------------------------------------------------

my ($dead) = grep { owner($webhook{$_}) eq 'east' } 1 .. 12;
$receiver->set("/body/w$dead", '/status/500');
query($home, 'INSERT INTO things SELECT FROM generate_series(1, 20)');
wait_until { query($server{east}, q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'}) >= 20 } 'deliveries of a dead endpoint are pending';
wait_until { query($home, q{SELECT count(*) FROM webhook_internal.node_deliveries}) >= 20 } 'the home knows of them';
my $came_again = repeats();
$load = start_session($home, join('', map { "INSERT INTO things DEFAULT VALUES; SELECT pg_sleep(0.002);\n" } 1 .. 1000));
await_rows($home, 300);
$server{east}->stop('immediate');
await_rows($home, 100);
cmp_ok(query($home, q{SELECT webhook_take_over('east')}), '>=', 20, 'the home knows what was pending');
$load->finish;
is(query($home, q{SELECT nodes FROM webhook_node_shares ORDER BY since DESC LIMIT 1}), '{west,home}', 'the others share its webhooks');
$receiver->set("/body/w$dead", undef);
all_arrive('nothing is lost when a node is lost');
diag((repeats() - $came_again) . ' came again');

# --- All is seen at the home --------------------------------------------------------------------------------------------

# Each attempt is a row at the home, whoever made it. What a lost node had not reported yet is not among them.
my $attempts = sub { my ($condition) = @_; return query($home, "SELECT count(*) FROM webhook_logs WHERE status = 'success' AND $condition"); };
eventually { $attempts->("configuration_id = '$webhook{$dead}'") >= last_row() - 50 } 'the log of a webhook that has moved is at the home';
eventually { query($home, 'SELECT sum(attempts) FROM webhook_minutes') > 0.8 * query($home, 'SELECT count(*) FROM webhook_logs WHERE attempt > 0') } 'and so are the figures';
is(query($home, q{SELECT sum(attempts) FROM webhook_hours}), query($home, q{SELECT sum(attempts) FROM webhook_minutes}), 'by minute and by hour');
is(query($home, q{SELECT string_agg(node || ' ' || coalesce(share, 'none') || ' ' || webhooks, ', ' ORDER BY node) FROM webhook_nodes}),
	join(', ', 'east none 0', 'home 2 of 2 ' . scalar(grep { owner($webhook{$_}) eq 'home' } 1 .. 12),
		'west 1 of 2 ' . scalar(grep { owner($webhook{$_}) eq 'west' } 1 .. 12)), 'webhook_nodes shows the shares');
is(query($home, q{SELECT is_connected FROM webhook_nodes WHERE node = 'east'}), 'f', 'and who is down');

run_written($home, q{webhook_detach_node('east')});
is(query($home, q{SELECT count(*) FROM webhook_nodes}), 2, 'the lost node is forgotten');
is(query($home, q{SELECT count(*) FROM pg_replication_slots}), 1, 'and no WAL is kept for it');

is_log_clean($server{$_}, expected => [ crash_lines(), qr/FATAL: .*could not (?:connect|receive)/, qr/ERROR:  .*could not (?:connect|receive)/, qr/ERROR:  replication origin with ID \d+ is already active/, qr/terminating/, qr/this database is node "east"/ ]) foreach sort keys %server;
done_testing();
