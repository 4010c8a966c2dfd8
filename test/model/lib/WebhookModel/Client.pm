# A psql that may lose its server at any moment. Of each statement it tells when it was sent and when it had ended, or
# been lost: whatever the statement did happened in between.
package WebhookModel::Client;

use strict;
use warnings;

use IO::Select ();
use IPC::Open3 qw(open3);
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);
use WebhookTest ();

sub new
{
	my ($class, $node, $name) = @_;
	return bless { node => $node, name => $name, marker => 0, text => '', waiting => 0 }, $class;
}

sub _connect
{
	my ($self) = @_;
	my ($input, $output);
	$self->{pid} = open3($input, $output, undef, 'psql', '-XAtq', '-d', $self->{node}->connstr('postgres'));
	@$self{qw(input output text waiting)} = ($input, $output, '', 0);
	$input->autoflush(1);
	return;
}

sub is_connected { my ($self) = @_; return defined $self->{pid}; }

# Runs statements. The answer is a hash: text (what they printed), error (the first error, if any), is_lost (the server
# has left, so what they did is not known), from and to (seconds since 1970).
sub run
{
	my ($self, $statements) = @_;
	$self->send($statements);
	return $self->wait;
}

# Begins to run statements; wait() gives the answer.
sub send
{
	my ($self, $statements) = @_;
	$self->_connect unless $self->is_connected;
	local $SIG{PIPE} = 'IGNORE';
	$self->{from} = time();
	$self->{waiting} = ++$self->{marker};
	my $unsent = "$statements\n;\n\\echo end of answer $self->{marker}\n";
	my $deadline = time() + WebhookTest::default_timeout_s();
	# A script that is longer than the pipe takes while psql prints: read meanwhile.
	while (length $unsent)
	{
		my ($readable, $writable) = IO::Select::select(IO::Select->new($self->{output}), IO::Select->new($self->{input}),
			undef, max(0, $deadline - time()));
		BAIL_OUT("psql $self->{name} takes no statements") if time() > $deadline;
		next unless $readable;
		if (@$readable) { last unless $self->_read; }
		if (@$writable)
		{
			my $written = syswrite($self->{input}, $unsent, 4096);
			last unless $written;
			substr($unsent, 0, $written) = '';
		}
	}
	return;
}

sub is_busy { my ($self) = @_; return $self->{waiting} != 0; }

sub wait
{
	my ($self) = @_;
	my $deadline = time() + WebhookTest::default_timeout_s();
	my $end = "end of answer $self->{waiting}\n";
	my $is_lost = 0;
	until ($self->{text} =~ s/^\Q$end\E//m)
	{
		my $left_s = $deadline - time();
		BAIL_OUT("psql $self->{name} did not answer: $self->{text}") if $left_s < 0;
		# A signal may end the wait.
		next unless IO::Select->new($self->{output})->can_read($left_s);
		next if $self->_read;
		$is_lost = 1;
		last;
	}
	# Statements of a script go on behind the loss in a connection of their own.
	$is_lost = 1 if $self->{text} =~ /server closed the connection|terminating connection|connection to server/;
	my %answer = (text => $self->{text}, is_lost => $is_lost, from => $self->{from}, to => time());
	($answer{error}) = $answer{text} =~ /^(?:ERROR|FATAL):  (.*)/m;
	chomp $answer{text};
	@$self{qw(text waiting)} = ('', 0);
	$self->close if $is_lost;
	return \%answer;
}

sub _read
{
	my ($self) = @_;
	return sysread($self->{output}, $self->{text}, 65536, length $self->{text});
}

# Ends the session; an open transaction is rolled back.
sub close
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	local ($?, $!);
	CORE::close($self->{input});
	CORE::close($self->{output});
	waitpid($pid, 0);
	$self->{waiting} = 0;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	kill 'KILL', $self->{pid} if $self->{pid};
	$self->close;
	return;
}

1;
