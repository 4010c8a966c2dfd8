# What docs/operations.md says of the disk that an event takes is measured here.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $events = 20_000;
my $receiver = start_receiver();
my $node = new_node(autovacuum => 'off', full_page_writes => 'off', 'webhook.max_in_flight' => 64);
query($node, q{
	CREATE TABLE contacts (id bigint PRIMARY KEY, organization_id text NOT NULL, name text, email text, note text);
	SELECT webhook_watch('contacts', 'contact.created');
});
my $webhook = create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok'), events => ['contact.created'],
	max_in_flight => 64);

sub size_of { my ($table) = @_; return query($node, "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('$table')"); }
sub wal { return query($node, q{SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')}); }

# Rows of 300 bytes as JSON, one a transaction. Without webhooks first, for the WAL of the rows themselves.
sub insert_contacts
{
	my ($from, $to) = @_;
	$node->safe_psql('postgres', qq{
		DO \$\$ BEGIN
			FOR n IN $from .. $to LOOP
				INSERT INTO contacts VALUES (n, 'acme', 'contact number ' || n, 'contact' || n || '\@example.com', repeat('x', 190));
				COMMIT;
			END LOOP;
		END \$\$});
	return;
}

wait_until { query($node, 'SELECT count(*) FROM webhook_workers') == 1 } 'a worker runs';
my $memory_mb = worker_memory_kb($node) / 1024;
my ($said_mb) = slurp_file("$FindBin::RealBin/../../docs/operations.md") =~ /A worker takes (\d+) MB/;
cmp_ok($memory_mb, '<=', $said_mb, sprintf('a worker takes %.1f MB, at most %d as docs/operations.md says', $memory_mb, $said_mb));
query($node, 'ALTER TABLE contacts DISABLE TRIGGER USER');
my $begin = wal();
insert_contacts(1, $events);
my $wal_of_rows = wal() - $begin;
query($node, 'ALTER TABLE contacts ENABLE TRIGGER USER');
my ($events_before, $logs_before) = (size_of('webhook_events'), size_of('webhook_logs'));
$begin = wal();
insert_contacts($events + 1, 2 * $events);
eventually { query($node, q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}) == $events } 'all events are delivered';
my %measured = (
	'`webhook_events`' => (size_of('webhook_events') - $events_before) / $events,
	'`webhook_logs`' => (size_of('webhook_logs') - $logs_before) / $events,
	'WAL' => (wal() - $begin - $wal_of_rows) / $events);
my $size = query($node, 'SELECT avg(octet_length(data::text))::int FROM webhook_events');

my $docs = slurp_file("$FindBin::RealBin/../../docs/operations.md");
my ($said_size) = $docs =~ /an event of (\d+) bytes/;
cmp_ok(abs($size - $said_size), '<', 30, "docs/operations.md speaks of events of $said_size bytes; these have $size");
foreach my $what (sort keys %measured)
{
	my ($said) = $docs =~ /^\| \Q$what\E \| (\d+) bytes \|/m;
	my $is = sprintf('%.0f', $measured{$what});
	ok($said && abs($is - $said) <= 0.15 * $said, "$what: docs/operations.md says $said bytes an event, it is $is");
}
$node->stop;

done_testing();
