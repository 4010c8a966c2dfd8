# What somebody changes at times that are known to within an interval: the values that may have been in force at a moment,
# or in a span of time.
package WebhookModel::Timeline;

use strict;
use warnings;

sub new { my ($class, $value) = @_; return bless { changes => [ { from => 0, to => 0, value => $value } ] }, $class; }

sub latest { my ($self) = @_; return $self->{changes}[-1]{value}; }

# The value is new from some moment between $from and $to on; both ascend from one change to the next.
sub change
{
	my ($self, $from, $to, $value) = @_;
	push @{ $self->{changes} }, { from => $from, to => $to, value => $value };
	return;
}

# All values that may have been in force at some moment between these.
sub during
{
	my ($self, $from, $to) = @_;
	my $changes = $self->{changes};
	my @values;
	foreach my $n (reverse 0 .. $#$changes)
	{
		next if $changes->[$n]{from} > $to;
		push @values, $changes->[$n]{value};
		last if $changes->[$n]{to} < $from;
	}
	return @values;
}

# Whether some value that a condition holds for was given after that moment.
sub has_since
{
	my ($self, $moment, $condition) = @_;
	return scalar(grep { $_->{to} >= $moment && $condition->($_->{value}) } @{ $self->{changes} });
}

1;
