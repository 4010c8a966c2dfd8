# What tests that crash servers share: ways to crash, statements beside them, and counting what arrived against what
# committed.
package WebhookTest::Crash;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use MIME::Base64 qw(decode_base64);

use PostgreSQL::Test::Utils;
use WebhookTest;

our @EXPORT = qw(crash_lines received_rows tally missing start_session query try_query kill_worker crash_server);

# Lines that a crash leaves in the log, and sessions that call while the server recovers from it.
sub crash_lines
{
	return (
		qr/LOG:  background worker "webhook worker" \(PID \d+\) was terminated by signal 9/,
		qr/FATAL:  the database system is (?:in recovery mode|starting up|shutting down|not yet accepting connections)/);
}

# The requests to a path, or to any, in the order in which they came, each as [webhook-id, id of the row in its body].
sub received_rows
{
	my ($receiver, $path) = @_;
	my $wanted = defined $path ? quotemeta($path) : '[^"]*';
	my @rows;
	open(my $record, '<:raw', $receiver->record_file) or die $receiver->record_file . ": $!";
	while (my $line = <$record>)
	{
		my ($webhook_id) = $line =~ /"webhook_id":"([^"]*)","path":"$wanted"/ or next;
		my ($body) = $line =~ /"body_base64":"([^"]*)"\}$/ or next;
		my ($id) = decode_base64($body) =~ /"data":\{"id":(-?\d+)/ or die "no id in $line";
		push @rows, [ $webhook_id, $id ];
	}
	close($record);
	return @rows;
}

# { key => how often } of a list.
sub tally { my %count; $count{$_}++ foreach @_; return \%count; }

# What is in the first list and not in the second, the first few.
sub missing
{
	my ($wanted, $found) = @_;
	my %found = map { $_ => 1 } @$found;
	my @missing = grep { !$found{$_} } @$wanted;
	return join(' ', splice(@missing, 0, 10));
}

# A psql that runs statements in the background. finish() is true if it came to its end, false if the server left it.
my $scripts_dir;
my $script_count = 0;

sub start_session
{
	my ($node, $statements) = @_;
	$scripts_dir //= PostgreSQL::Test::Utils::tempdir();
	my $script = "$scripts_dir/" . ++$script_count . '.sql';
	append_to_file($script, $statements);
	return IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $script ],
		'&>', '/dev/null');
}

sub query { my ($node, $sql) = @_; return $node->safe_psql('postgres', $sql); }

# The answer of a server that may be down at the moment, then empty.
sub try_query
{
	my ($node, $sql) = @_;
	my ($answer) = run_command([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ]);
	return $answer;
}

my $worker_pid = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook worker'};

# kill -9 of the worker, which makes the postmaster end all others and recover; returns when the next one is at work.
sub kill_worker
{
	my ($node) = @_;
	my $pid;
	wait_until { $pid = try_query($node, $worker_pid) } 'a worker';
	kill 'KILL', $pid or die "kill -9 $pid: $!\n";
	wait_until { my $next = try_query($node, $worker_pid); $next && $next ne $pid } 'another worker';
	return;
}

sub crash_server
{
	my ($node) = @_;
	$node->stop('immediate');
	$node->start;
	return;
}

1;
