# File descriptors: a limit that the process can't have is lowered, and said so, at the start as by a reload; a worker always
# starts; and the descriptors that it has open do not grow with reloads, whatever these change.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $reloads = 200;
my $lowered = qr/WARNING:  webhook: webhook\.max_in_flight is lowered from (\d+) to (\d+)/;

my $receiver = start_receiver();

sub worker_pid
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT pid FROM webhook_workers');
}

# But for the files of tables, which PostgreSQL opens and closes as it likes.
sub descriptors
{
	my ($pid) = @_;
	opendir(my $folder, "/proc/$pid/fd") or die "/proc/$pid/fd: $!";
	return scalar(grep { (readlink("/proc/$pid/fd/$_") // '') =~ /^(?:socket|anon_inode|pipe):/ } readdir($folder));
}

# [from, to] of each time that a limit was lowered, from an offset in the log on.
sub lowerings
{
	my ($node, $from) = @_;
	my $log = substr(slurp_file($node->logfile), $from // 0);
	my @found;
	push @found, [ $1, $2 ] while $log =~ /$lowered/g;
	return @found;
}

# Reloads, and waits until the worker has.
sub reload_with
{
	my ($node, %settings) = @_;
	$node->adjust_conf('postgresql.conf', $_, $settings{$_}) foreach sort keys %settings;
	$node->reload;
	return;
}

sub delivers
{
	my ($node, $what) = @_;
	my $before = $receiver->count;
	$node->safe_psql('postgres', "SELECT webhook_emit('contact.created', '{}')");
	eventually { $receiver->count > $before } $what;
	return;
}

# --- at the start ---

foreach my $case ([ 1000, 1000 ], [ 1000, 100 ], [ 300, 1000 ], [ 1, 100 ])
{
	my ($wanted, $files) = @$case;
	my $node = new_node('webhook.max_in_flight' => $wanted, 'max_files_per_process' => $files);
	create_webhook($node, url => $receiver->url('/ok'), events => ['*']);
	delivers($node, "max_in_flight $wanted with max_files_per_process $files: the worker starts and delivers");
	my @lowerings = lowerings($node);
	if ($wanted == 1)
	{
		is(scalar(@lowerings), 0, 'one request at a time is always there') or diag(explain(\@lowerings));
	}
	else
	{
		is(scalar(@lowerings), 1, 'it says once that the limit is lowered');
		is($lowerings[0][0], $wanted, 'from what it was');
		cmp_ok($lowerings[0][1], '>=', 1, 'to what can be had');
		cmp_ok($lowerings[0][1], '<', $files / 3, 'which is less than a third of the files');
		like(slurp_file($node->logfile), qr/HINT:  Increase "max_files_per_process" \(now $files\)/, 'and what to do');
	}
	is_log_clean($node, expected => [$lowered]);
	$node->stop;
}

# --- by reloads ---

my $node = new_node('max_files_per_process' => 1000, 'webhook.max_in_flight' => 256);
create_webhook($node, url => $receiver->url('/ok'), events => ['*']);
delivers($node, 'the worker delivers');
is(scalar(lowerings($node)), 0, 'the default can be had');
my $pid = worker_pid($node);

my $offset = -s $node->logfile;
reload_with($node, 'webhook.max_in_flight' => 1000);
eventually { lowerings($node, $offset) == 1 } 'a reload lowers it, too';
delivers($node, 'the worker delivers with it');
$node->restart;
delivers($node, 'and is there after a restart');
$pid = worker_pid($node);

# Requests that are open meanwhile keep what belongs to their settings.
create_webhook($node, url => $receiver->url('/hang'), events => ['contact.updated'], timeout_ms => 25000);
$node->safe_psql('postgres', "SELECT webhook_emit('contact.updated', '{}') FROM generate_series(1, 3)");
eventually { $receiver->count('/hang') >= 1 } 'a request hangs';
delivers($node, 'what does not is delivered');
my $before = descriptors($pid);
foreach my $i (1 .. $reloads)
{
	# A second later the configuration is the same again, but for the limit.
	reload_with($node, 'webhook.max_in_flight' => 1 + $i * 5 % 300);
	delivers($node, "after reload $i the worker delivers") if $i % 40 == 0;
}
my $after = descriptors($pid);
is(worker_pid($node), $pid, 'it is the same worker');
cmp_ok($after, '<=', $before + 8, "$reloads reloads open no more descriptors ($before before, $after after)");

# What they reserve follows the limit: else a limit that can be had would be lowered by now.
$offset = -s $node->logfile;
reload_with($node, 'webhook.max_in_flight' => 256);
delivers($node, 'at the end it delivers');
reload_with($node, 'webhook.max_in_flight' => 1000);
eventually { lowerings($node, $offset) == 1 } 'the reservation is still lowered to what can be had';
my ($lowering) = lowerings($node, $offset);
cmp_ok($lowering->[1], '>=', 256, 'which is at least the default: no reload has kept what it reserved');

is_log_clean($node, expected => [$lowered]);
$node->stop;
done_testing();
