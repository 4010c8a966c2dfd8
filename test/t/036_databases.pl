# A database whose worker is busy, with requests in flight and a backlog, can be copied, renamed, moved and dropped: the
# worker steps aside and returns. Dropping another database does not wait for it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $node = new_node(extension => 0, max_worker_processes => 16);
my $path = '/delay/200';
my $next_id = 1;

sub workers
{
	my ($dbname) = @_;
	return query($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = '$dbname'");
}

# More than is sent while a statement runs; returns when requests are in flight.
sub make_busy
{
	my ($dbname) = @_;
	my $count = $receiver->count;
	my $last = $next_id + 199;
	$node->safe_psql($dbname, "INSERT INTO items SELECT generate_series($next_id, $last)");
	$next_id = $last + 1;
	wait_until { $receiver->count >= $count + 8 } 'requests are in flight';
	return;
}

sub all_arrive
{
	my ($dbname, $what) = @_;
	eventually
	{
		my %received = map { $_->[1] => 1 } received_rows($receiver, $path);
		keys %received == $next_id - 1;
	}
	$what;
	return;
}

query($node, 'CREATE DATABASE busy');
$node->safe_psql('busy', q{
	CREATE EXTENSION webhook;
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});
create_webhook($node, dbname => 'busy', url => $receiver->url($path), events => ['item.created'],
	organization_id => undef, max_in_flight => 8);
my $tablespace = PostgreSQL::Test::Utils::tempdir();
query($node, "CREATE TABLESPACE elsewhere LOCATION '$tablespace'");

make_busy('busy');
foreach my $n (1 .. 3)
{
	query($node, "CREATE DATABASE other_$n");
	query($node, "DROP DATABASE other_$n");
	is(workers('busy'), 1, "another database is dropped while the worker is at work ($n)");
}
my %statements = (
	'1 copied' => ['CREATE DATABASE copy TEMPLATE busy', 'busy'],
	'2 moved' => ['ALTER DATABASE busy SET TABLESPACE elsewhere', 'busy'],
	'3 renamed' => ['ALTER DATABASE busy RENAME TO renamed', 'renamed']);
my $dbname = 'busy';
foreach my $what (sort keys %statements)
{
	my ($statement, $name_after) = @{ $statements{$what} };
	make_busy($dbname);
	my ($status, undef, $errors) = $node->psql('postgres', $statement);
	is("$status $errors", '0 ', "$what: the statement succeeds while the worker is busy");
	$dbname = $name_after;
	eventually { workers($dbname) == 1 } 'the worker returns', 30;
	all_arrive($dbname, 'and delivers the rest');
}
eventually { workers('copy') == 1 } 'the copy has a worker';
is($node->safe_psql('copy', 'SELECT is_paused FROM webhook_instance'), 't', 'which is paused');
make_busy($dbname);
foreach my $name ($dbname, 'copy')
{
	my ($status, undef, $errors) = $node->psql('postgres', "DROP DATABASE $name");
	is("$status $errors", '0 ', "$name can be dropped while its worker runs");
}
eventually { query($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker'}) == 0 }
'nobody returns to what is gone';
my @pairs = keys %{ tally(map { "@$_" } received_rows($receiver, $path)) };
is(scalar @pairs, scalar(keys %{ tally(map { (split)[1] } @pairs) }), 'repeats bear the same webhook-id');
is_log_clean($node, expected => [qr/WARNING: .*this database is a copy of another/]);
$node->stop;

done_testing();
