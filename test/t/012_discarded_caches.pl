# On a server that forgets its caches whenever it may (debug_discard_caches, which needs a server with assertions: see
# dev/test-assert), the same changes become the same events, and a worker delivers them. Whoever keeps a pointer into a
# cache beyond a call that may empty it, reads freed memory there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Session;

my $receiver = start_receiver();
my $node = new_node(max_prepared_transactions => 2);
if ($node->safe_psql('postgres', 'SHOW debug_assertions') eq 'off')
{
	$node->stop;
	plan skip_all => 'the server has no assertions, and forgets no cache on demand';
}

$node->safe_psql('postgres', q{
	CREATE TYPE mood AS ENUM ('glad', 'sad');
	CREATE TYPE address AS (street text, number integer);
	CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
	CREATE TABLE contacts (
		id bigint PRIMARY KEY, organization_id char(12), name text, mood mood, home address, mails email[], amount numeric,
		seen timestamptz, during tsrange, extra jsonb, secret text, updated_at timestamptz);
	CREATE TABLE deals (id integer, organization_id text, stage text, PRIMARY KEY (stage, id)) PARTITION BY LIST (stage);
	CREATE TABLE deals_open PARTITION OF deals FOR VALUES IN ('open');
	CREATE TABLE deals_won PARTITION OF deals FOR VALUES IN ('won');
	SELECT webhook_watch('contacts', 'contact.created', exclude_columns => '{secret}');
	SELECT webhook_watch('contacts', 'contact.updated', include_previous => true, exclude_columns => '{secret}');
	SELECT webhook_watch('contacts', 'contact.saddened', operation => 'update', large_numbers_as_text => true,
		condition => 'NEW.mood = ''sad'' AND OLD.mood IS DISTINCT FROM NEW.mood', exclude_columns => '{secret}');
	SELECT webhook_watch('contacts', 'contact.deleted', exclude_columns => '{secret}');
	SELECT webhook_watch('deals', 'deal.created');
	SELECT webhook_watch('deals', 'deal.updated', key_columns => '{id}');
	SELECT webhook_watch('deals', 'deal.deleted');
});
create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok'), events => ['*']);
create_webhook($node, organization_id => 'acme', url => $receiver->url('/some'), events => ['contact.*'],
	filter => '$.data.record.id > 2');

# What the application does, each time the same, on tables that are empty before and after.
my @statements = (
	q{INSERT INTO contacts VALUES (1, 'acme', 'Ann', 'glad', ('Main St', 5), '{a@x,b@x}', 12.50, '2026-01-02 03:04:05+00',
		'[2026-01-01,2026-02-01)', '{"a": [1, null]}', 'hush', NULL), (2, 'globex', 'Bob', NULL, NULL, NULL, NULL, NULL, NULL,
		NULL, NULL, NULL)},
	q{COPY contacts (id, organization_id, name, mood) FROM PROGRAM 'echo "3,acme,Cid,sad"' (FORMAT csv)},
	q{UPDATE contacts SET mood = 'sad', amount = 9007199254740993 WHERE id = 1},
	q{UPDATE contacts SET updated_at = '2026-01-01'},
	q{INSERT INTO contacts (id, organization_id, name) VALUES (3, 'acme', 'Dee')
		ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, secret = 'new'},
	q{BEGIN; INSERT INTO contacts (id, organization_id) VALUES (4, 'acme'); SAVEPOINT a;
		INSERT INTO contacts (id, organization_id) VALUES (5, 'acme'); ROLLBACK TO a;
		INSERT INTO contacts (id, organization_id) VALUES (6, 'acme'); RELEASE a; COMMIT},
	q{DO $$BEGIN
		BEGIN INSERT INTO contacts (id, organization_id, name) VALUES (7, 'acme', repeat('long ', 4000)); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN INSERT INTO contacts (id, organization_id) VALUES (7, 'acme'); EXCEPTION WHEN unique_violation THEN NULL; END;
	END$$},
	q{BEGIN; INSERT INTO contacts (id, organization_id) VALUES (8, 'acme'); PREPARE TRANSACTION 'eight'},
	q{COMMIT PREPARED 'eight'},
	q{ALTER TABLE contacts RENAME secret TO hidden; UPDATE contacts SET name = 'Renamed', hidden = 'still' WHERE id = 1;
		ALTER TABLE contacts RENAME hidden TO secret},
	q{ALTER TABLE contacts ADD added integer DEFAULT 3; UPDATE contacts SET name = 'Added' WHERE id = 1;
		ALTER TABLE contacts DROP added; UPDATE contacts SET name = 'Dropped' WHERE id = 1},
	q{INSERT INTO deals VALUES (1, 'acme', 'open'), (2, 'acme', 'open')},
	q{UPDATE deals SET stage = 'won' WHERE id = 1},
	q{BEGIN; ALTER TABLE deals DETACH PARTITION deals_won; DELETE FROM deals; ALTER TABLE deals ATTACH PARTITION deals_won FOR VALUES IN ('won'); COMMIT},
	q{SELECT webhook_internal.append('custom.event', '{"a": 1}', 'acme', 'a key')},
	q{DELETE FROM deals},
	q{DELETE FROM contacts});

sub events_of
{
	my ($discard) = @_;
	my $begin = $node->safe_psql('postgres', 'SELECT coalesce(max(id), 0) FROM webhook_events');
	my $session = WebhookTest::Session->new($node, 'postgres', PGOPTIONS => "-c debug_discard_caches=$discard");
	$session->query($_) foreach @statements;
	is($session->errors, '', "debug_discard_caches = $discard: no statement fails");
	ok($session->finish, 'and the session lives');
	return $node->safe_psql('postgres', "SELECT event, organization_id, key, data, previous FROM webhook_events WHERE id > $begin ORDER BY id");
}

my $expected = events_of(0);
my $rows = () = $expected =~ /^/mg;
cmp_ok($rows, '>', 20, "the application makes $rows events");
is(events_of(1), $expected, 'it makes the same where caches are forgotten');

# The worker, too, and what its processes read when they start.
my $delivered = q{SELECT count(*) FROM webhook_logs WHERE status = 'success'};
my $settled = q{SELECT count(*) FROM webhook_events e WHERE NOT EXISTS (SELECT FROM webhook_logs l WHERE l.event_id = e.id)};
eventually { $node->safe_psql('postgres', $settled) == 0 } 'all are delivered';
my $count = $node->safe_psql('postgres', $delivered);
$node->append_conf('postgresql.conf', 'debug_discard_caches = 1');
$node->reload;
my $worker = $node->safe_psql('postgres', 'SELECT pid FROM webhook_workers');
my $session = WebhookTest::Session->new($node, 'postgres', PGOPTIONS => '-c debug_discard_caches=0');
$session->query("SELECT pg_terminate_backend($worker)");
$session->query($statements[0]);
eventually { $session->query($delivered) == $count + 1 } 'a worker that forgets its caches starts and delivers';
is($session->query(q{SELECT count(*) FROM webhook_deliveries}), 0, 'and has nothing pending');
$session->finish;

is_log_clean($node, expected => [ qr/FATAL: .*terminating/ ]);
$node->stop;

done_testing();
