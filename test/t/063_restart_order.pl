# The order of a webhook's events across starts of the worker: however it ended, and whatever of them had a row in
# webhook_deliveries by then and whatever had none, nothing is tried before what is older and has the same key. What was in
# flight may come again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use MIME::Base64 qw(decode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $node = new_node('webhook.shutdown_timeout' => '100ms', 'webhook.worker_memory' => '8MB');
query($node, q{
	CREATE TABLE docs (id bigint, version int, organization_id text, body text);
	SELECT webhook_watch('docs', 'doc.created', key_columns => '{id}');
});

sub worker_pids { return [ sort split /\n/, query($node, 'SELECT pid FROM webhook_workers') ]; }

# How a worker ends, so that another begins.
my %ending = (
	terminated => sub { query($node, 'SELECT pg_terminate_backend(pid) FROM webhook_workers') },
	killed => sub { crash_server($node) },
	shared => sub {
		my $workers = query($node, 'SHOW webhook.workers') == 1 ? 2 : 1;
		$node->append_conf('postgresql.conf', "webhook.workers = $workers");
		$node->reload;
	});

# The versions of the document as they arrived.
sub versions
{
	my ($name) = @_;
	my @versions;
	open(my $record, '<:raw', $receiver->record_file) or die $receiver->record_file . ": $!";
	while (my $line = <$record>)
	{
		$line =~ /"path":"[^"]*\?$name"/ or next;
		my ($body) = $line =~ /"body_base64":"([^"]*)"\}$/ or next;
		push @versions, decode_base64($body) =~ /"version":(\d+)/;
	}
	close($record);
	return @versions;
}

# Versions that came for the first time after one that is newer.
sub late
{
	my ($newest, @late, %seen) = (0);
	foreach my $version (@_)
	{
		push @late, $version if $version < $newest && !$seen{$version};
		$seen{$version} = 1;
		$newest = $version if $version > $newest;
	}
	return "@late";
}

# A document that is changed, large or small, before and after the worker ends. The large ones find no bytes in memory and
# get rows; what was in memory has none.
my %changes = (
	one_large => [ [ 1, 10 ], [ 1, 900_000 ], [ 6, 10 ] ],
	many_large => [ [ 3, 10 ], [ 8, 600_000 ], [ 5, 10 ] ],
	many => [ [ 1_300, 10 ] ]);
my $organization = 0;
my @names;
foreach my $ordering (qw(relaxed key endpoint))
{
	foreach my $changes (sort keys %changes)
	{
		push @names, "$ordering-$changes";
		create_webhook($node, name => $names[-1], organization_id => $names[-1], ordering => $ordering,
			url => $receiver->url($changes eq 'many' ? "/delay/5?$names[-1]" : "/delay/200?$names[-1]"), events => ['doc.created']);
	}
}
my %last;

sub change
{
	my ($name, @changes) = @_;
	foreach my $change (@changes)
	{
		my ($count, $size) = @$change;
		my $first = ($last{$name} // 0) + 1;
		$last{$name} = $first + $count - 1;
		query($node, "INSERT INTO docs SELECT 1, v, '$name', repeat('x', $size) FROM generate_series($first, $last{$name}) v ORDER BY v");
	}
	return;
}

foreach my $ending (qw(terminated killed shared terminated))
{
	my %arrived = map { $_ => scalar(() = versions($_)) } @names;
	change($_, @{ $changes{ s/.*-//r } }) foreach @names;
	wait_until { grep { versions($_) > $arrived{$_} } @names } 'the first requests';
	my $before = join(' ', @{ worker_pids() });
	$ending{$ending}->();
	change($_, [ 2, 10 ]) foreach @names;
	eventually { my $now = join(' ', @{ worker_pids() }); $now && $now ne $before } "$ending: another worker begins";
	change($_, [ 2, 10 ]) foreach @names;
	foreach my $name (@names)
	{
		eventually { query($node, "SELECT count(DISTINCT event_id) FROM webhook_logs WHERE organization_id = '$name'
			AND status = 'success'") == $last{$name} } "$ending: $name: all versions are delivered";
	}
}
is(late(versions($_)), '', "$_: none came before an older one") foreach @names;

is_log_clean($node, expected => [ crash_lines(), qr/FATAL:  terminating background worker/, qr/WARNING: .*could not be recorded/ ]);
$node->stop;

done_testing();
