# A psql session that a test keeps open: for transactions that stay open, and for settings that last.
#
#   my $reader = WebhookTest::Session->new($node, 'postgres', PGOPTIONS => '-c lock_timeout=1s');
#   $reader->query('BEGIN'); my $count = $reader->query('SELECT count(*) FROM items');
#   $reader->send('DROP TABLE items');    # may take long
#   $reader->finish;                      # waits for it, ends the session, true if psql ended well
#
# PostgreSQL's own background_psql differs from one version to the next.
package WebhookTest::Session;

use strict;
use warnings;

use IPC::Run ();
use Test::More;
use WebhookTest ();

# The rest of the arguments are environment variables.
sub new
{
	my ($class, $node, $dbname, %environment) = @_;
	my $self = bless { input => '', output => '', errors => '', marker => 0 }, $class;
	local %ENV = (%ENV, %environment);
	$self->{timer} = IPC::Run::timer(WebhookTest::default_timeout_s());
	$self->{harness} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($dbname) ],
		'<', \$self->{input}, '>', \$self->{output}, '2>', \$self->{errors}, $self->{timer});
	return $self;
}

# Runs statements and returns what they print. What they raise is in errors().
sub query
{
	my ($self, $statements) = @_;
	my $marker = 'end of answer ' . ++$self->{marker};
	$self->send("$statements\n;\n\\echo $marker\n\\warn $marker");
	$self->{timer}->start;
	$self->_pump until $self->{output} =~ /^\Q$marker\E\n/m && $self->{errors} =~ /^\Q$marker\E\n/m;
	$self->{errors} =~ s/^\Q$marker\E\n//m;
	$self->{output} =~ s/(.*?)\n?^\Q$marker\E\n//ms;
	return $1;
}

# Sends statements without waiting for them.
sub send
{
	my ($self, $statements) = @_;
	$self->{input} .= "$statements\n;\n";
	$self->{harness}->pump_nb;
	return;
}

# What has been raised so far.
sub errors { my ($self) = @_; return $self->{errors}; }

sub finish
{
	my ($self) = @_;
	my $harness = delete $self->{harness} or return 1;
	$self->{timer}->start;
	return $harness->finish;
}

# Waits for more output.
sub _pump
{
	my ($self) = @_;
	return if $self->{harness}->pumpable && eval { $self->{harness}->pump };
	BAIL_OUT("psql ended or did not answer: $self->{output}$self->{errors}$@");
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	$self->{harness}->kill_kill(grace => 0) if $self->{harness};
	return;
}

1;
