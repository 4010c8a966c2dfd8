# Random choices that depend on a name alone: the same on every Perl and every machine. Each operation has a name of its
# own, so that what one draws does not change what the next one does.
package WebhookModel::Random;

use strict;
use warnings;

use Digest::MD5 qw(md5 md5_hex);

sub new { my ($class, $name) = @_; return bless { name => $name, drawn => 0 }, $class; }

# 0 to $count - 1
sub below
{
	my ($self, $count) = @_;
	return unpack('N', md5("$self->{name} " . $self->{drawn}++)) % $count;
}

sub between { my ($self, $low, $high) = @_; return $low + $self->below($high - $low + 1); }

sub chance { my ($self, $percent) = @_; return $self->below(100) < $percent; }

# One of them, undef of none.
sub pick { my ($self, @choices) = @_; return @choices ? $choices[ $self->below(scalar @choices) ] : undef; }

# Up to that many of them, in an order of its own.
sub some
{
	my ($self, $count, @choices) = @_;
	my @some;
	push @some, splice(@choices, $self->below(scalar @choices), 1) while @choices && @some < $count;
	return @some;
}

# One of what stands behind the weights: weighted(3 => 'a', 1 => 'b') is 'a' three times of four.
sub weighted
{
	my ($self, @choices) = @_;
	my $total = 0;
	$total += $choices[ 2 * $_ ] foreach 0 .. @choices / 2 - 1;
	my $drawn = $self->below($total);
	while (my ($weight, $choice) = splice(@choices, 0, 2))
	{
		return $choice if $drawn < $weight;
		$drawn -= $weight;
	}
	die 'unreachable';
}

sub uuid
{
	my ($self) = @_;
	my $hex = md5_hex("$self->{name} " . $self->{drawn}++);
	return join('-', unpack('A8 A4 A4 A4 A12', $hex));
}

1;
