# Nobody but the owner locks or changes the extension's relations: a statement that would is refused before it waits for a lock,
# since what waits holds up those who come later. Capture itself waits for no such lock, not even the owner's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Session;

my $receiver = start_receiver();
my $node = new_node();
my @levels = qw(nobody read manage operate);
$node->safe_psql('postgres', q{
	CREATE TABLE contacts (id serial PRIMARY KEY, organization_id text, name text);
	SELECT webhook_watch('contacts', 'contact.created');
	CREATE FOREIGN DATA WRAPPER far;
	CREATE SERVER far FOREIGN DATA WRAPPER far;
});
foreach my $level (@levels)
{
	# With all that a role may have for itself.
	$node->safe_psql('postgres', qq{
		CREATE ROLE "$level" LOGIN;
		GRANT CREATE ON DATABASE postgres TO "$level";
		GRANT ALL ON contacts, contacts_id_seq TO "$level";
		GRANT USAGE ON FOREIGN SERVER far TO "$level";
		CREATE SCHEMA "of_$level" AUTHORIZATION "$level";
	});
	$node->safe_psql('postgres', "SELECT webhook_grant('$level', '$level')") if $level ne 'nobody';
	$node->safe_psql('postgres', qq{
		SET ROLE "$level";
		SET search_path = of_$level;
		CREATE TABLE mine (id uuid PRIMARY KEY, slot smallint, name text, number bigint);
		CREATE TABLE part_of (slot smallint) PARTITION BY LIST (slot);
		CREATE INDEX part_of_slot_idx ON part_of (slot);
		CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE PUBLICATION pub_$level;
	});
}
my $id = create_webhook($node, url => $receiver->url('/ok'), events => ['contact.created'], organization_id => 'acme');

# --- each statement by each level, of each relation --------------------------------------------------------------------

# RELATION is a relation's name, MINE the schema of the role. By relkind; indexes of partitioned tables are kind I.
my %statements = (
	rp => [
		(map { ("LOCK TABLE RELATION IN $_ MODE", "LOCK TABLE ONLY RELATION, MINE.mine IN $_ MODE NOWAIT") }
		  'SHARE UPDATE EXCLUSIVE', 'SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE'),
		'LOCK TABLE MINE.mine, RELATION',
		'CREATE RULE a AS ON INSERT TO RELATION DO INSTEAD NOTHING', 'CREATE OR REPLACE RULE a AS ON DELETE TO RELATION DO ALSO NOTHING',
		'CREATE TRIGGER a AFTER INSERT ON RELATION FOR EACH ROW EXECUTE FUNCTION MINE.fired()',
		'CREATE OR REPLACE TRIGGER a BEFORE INSERT ON RELATION FOR EACH STATEMENT EXECUTE FUNCTION MINE.fired()',
		'CREATE CONSTRAINT TRIGGER a AFTER INSERT ON RELATION FOR EACH ROW EXECUTE FUNCTION MINE.fired()',
		'CREATE INDEX ON RELATION ((1))', 'CREATE INDEX CONCURRENTLY ON RELATION ((1))', 'CREATE UNIQUE INDEX ON ONLY RELATION ((1))',
		(map { "ALTER TABLE RELATION $_" } 'ADD COLUMN a int', 'DROP COLUMN IF EXISTS a', 'ALTER COLUMN slot SET STATISTICS 5',
			'DISABLE TRIGGER ALL', 'ENABLE ROW LEVEL SECURITY', 'FORCE ROW LEVEL SECURITY', 'OWNER TO CURRENT_USER', 'SET (fillfactor = 50)',
			'SET SCHEMA MINE', 'RENAME TO a', 'RENAME COLUMN slot TO a', 'RENAME CONSTRAINT a TO b', 'REPLICA IDENTITY FULL', 'INHERIT MINE.mine',
			'NO INHERIT MINE.mine', 'ADD CONSTRAINT a CHECK (true)', 'ADD FOREIGN KEY (id) REFERENCES MINE.mine', 'VALIDATE CONSTRAINT a',
			'SET UNLOGGED', 'SET TABLESPACE pg_default', 'ATTACH PARTITION MINE.mine DEFAULT', 'DETACH PARTITION MINE.mine',
			'DETACH PARTITION MINE.mine CONCURRENTLY'),
		'ALTER TABLE MINE.part_of ATTACH PARTITION RELATION FOR VALUES IN (1)', 'ALTER TABLE MINE.part_of DETACH PARTITION RELATION',
		'ALTER TABLE MINE.part_of DETACH PARTITION RELATION CONCURRENTLY', 'ALTER TABLE MINE.mine INHERIT RELATION',
		'ALTER TABLE MINE.mine NO INHERIT RELATION', 'ALTER TABLE MINE.mine ADD FOREIGN KEY (id) REFERENCES RELATION',
		'ALTER TABLE MINE.mine ADD COLUMN a uuid REFERENCES RELATION (id)', 'ALTER TABLE MINE.mine ADD CONSTRAINT a FOREIGN KEY (id) '
		  . 'REFERENCES RELATION NOT VALID', 'CREATE TABLE MINE.a (id uuid REFERENCES RELATION)',
		'CREATE TABLE MINE.a (id uuid, FOREIGN KEY (id) REFERENCES RELATION)', 'CREATE TABLE MINE.a () INHERITS (RELATION)',
		'CREATE TEMPORARY TABLE a () INHERITS (MINE.mine, RELATION)', 'CREATE TABLE MINE.a PARTITION OF RELATION DEFAULT',
		'CREATE FOREIGN TABLE MINE.a () INHERITS (RELATION) SERVER far', 'CREATE FOREIGN TABLE MINE.a PARTITION OF RELATION DEFAULT SERVER far',
		'CREATE POLICY a ON RELATION', 'ALTER POLICY a ON RELATION USING (true)', 'ALTER POLICY a ON RELATION RENAME TO b',
		'DROP POLICY a ON RELATION', 'DROP POLICY IF EXISTS a ON RELATION', 'DROP RULE a ON RELATION', 'DROP TRIGGER a ON RELATION',
		'DROP TRIGGER IF EXISTS a ON RELATION', 'ALTER TRIGGER a ON RELATION RENAME TO b', 'ALTER RULE a ON RELATION RENAME TO b',
		'ALTER TRIGGER a ON RELATION DEPENDS ON EXTENSION plpgsql', (map { "COMMENT ON $_ IS ''" } 'TABLE RELATION', 'COLUMN RELATION.slot',
			'TRIGGER a ON RELATION', 'RULE a ON RELATION', 'POLICY a ON RELATION', 'CONSTRAINT a ON RELATION'),
		"SECURITY LABEL ON TABLE RELATION IS ''", "SECURITY LABEL ON COLUMN RELATION.slot IS ''", 'DROP TABLE RELATION',
		'DROP TABLE IF EXISTS MINE.mine, RELATION CASCADE', 'TRUNCATE RELATION', 'TRUNCATE MINE.mine, RELATION CASCADE', 'VACUUM FULL RELATION',
		'VACUUM (FULL, ANALYZE) MINE.mine, RELATION', 'CLUSTER RELATION', 'REINDEX TABLE RELATION', 'REINDEX (CONCURRENTLY) TABLE RELATION',
		'CREATE STATISTICS MINE.a ON slot, id FROM RELATION', 'CREATE PUBLICATION a FOR TABLE RELATION',
		'CREATE PUBLICATION a FOR TABLE MINE.mine, TABLE RELATION', 'ALTER PUBLICATION SET_OF_TABLES ADD TABLE RELATION',
		'ALTER PUBLICATION SET_OF_TABLES SET TABLE RELATION', 'ALTER PUBLICATION PUB DROP TABLE RELATION', 'ALTER EXTENSION plpgsql ADD TABLE RELATION',
		'ALTER EXTENSION webhook DROP TABLE RELATION', 'ALTER TYPE RELATION ADD ATTRIBUTE a int'
	],
	v => [
		'LOCK TABLE RELATION', 'LOCK TABLE RELATION IN EXCLUSIVE MODE NOWAIT', 'CREATE OR REPLACE VIEW RELATION AS SELECT 1 AS a',
		'ALTER VIEW RELATION RENAME TO a', 'ALTER VIEW RELATION SET (security_barrier = false)', 'ALTER VIEW RELATION OWNER TO CURRENT_USER',
		'ALTER VIEW RELATION SET SCHEMA MINE', 'ALTER TABLE RELATION RENAME TO a', 'DROP VIEW RELATION', "COMMENT ON VIEW RELATION IS ''",
		'CREATE RULE a AS ON INSERT TO RELATION DO INSTEAD NOTHING', "SECURITY LABEL ON VIEW RELATION IS ''",
		'CREATE TRIGGER a INSTEAD OF INSERT ON RELATION FOR EACH ROW EXECUTE FUNCTION MINE.fired()', 'ALTER EXTENSION plpgsql ADD VIEW RELATION'
	],
	S => [
		'ALTER SEQUENCE RELATION RESTART', 'ALTER SEQUENCE RELATION OWNED BY MINE.mine.number', 'ALTER SEQUENCE RELATION RENAME TO a',
		'ALTER SEQUENCE RELATION SET SCHEMA MINE', 'ALTER SEQUENCE RELATION OWNER TO CURRENT_USER', 'DROP SEQUENCE RELATION',
		"COMMENT ON SEQUENCE RELATION IS ''", 'ALTER EXTENSION plpgsql ADD SEQUENCE RELATION'
	],
	iI => [
		'DROP INDEX RELATION', 'DROP INDEX CONCURRENTLY RELATION', 'REINDEX INDEX RELATION', 'REINDEX INDEX CONCURRENTLY RELATION',
		'ALTER INDEX RELATION RENAME TO a', 'ALTER INDEX RELATION SET (fillfactor = 50)', 'ALTER INDEX RELATION SET TABLESPACE pg_default',
		'ALTER INDEX MINE.part_of_slot_idx ATTACH PARTITION RELATION', 'ALTER INDEX RELATION DEPENDS ON EXTENSION plpgsql',
		"COMMENT ON INDEX RELATION IS ''"
	]);
$node->safe_psql('postgres', 'CREATE TABLE statements (kinds text, statement text); GRANT ALL ON statements TO PUBLIC');
foreach my $kinds (sort keys %statements)
{
	$node->safe_psql('postgres',
		'INSERT INTO statements VALUES ' . join(', ', map { '(' . sql_literal($kinds) . ', ' . sql_literal($_) . ')' } @{ $statements{$kinds} }));
}
$node->safe_psql('postgres', q{
	CREATE VIEW relations AS
		WITH members AS (
			SELECT d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
			WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND e.extname = 'webhook')
		SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) AS name
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid IN (TABLE members) OR c.oid IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid IN (TABLE members));
	GRANT SELECT ON relations TO PUBLIC;
	-- What each statement ends with; each is undone.
	CREATE FUNCTION outcomes(level text) RETURNS TABLE (statement text, state text, message text) LANGUAGE plpgsql AS $$
	BEGIN
		FOR statement IN
			SELECT replace(replace(replace(s.statement, 'RELATION', r.name), 'MINE', 'of_' || level), 'SET_OF_TABLES', 'pub_' || level)
			FROM relations r JOIN statements s ON position(r.relkind IN s.kinds) > 0
		LOOP
			BEGIN
				EXECUTE statement;
				RAISE EXCEPTION 'undone' USING ERRCODE = 'UNDNE';
			EXCEPTION WHEN OTHERS THEN
				state := SQLSTATE;
				message := SQLERRM;
			END;
			RETURN NEXT;
		END LOOP;
	END $$;
});
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM relations WHERE relkind IN ('r', 'p')"), '>', 20, 'there are relations to try');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT relkind::text, '' ORDER BY relkind::text) FROM relations}), 'ISiprv',
	'of kinds that the statements are for');

# While somebody holds all of our tables alone, whoever waits for one, in any mode, fails at lock_timeout with another error.
my $holder = WebhookTest::Session->new($node, 'postgres');
sub hold_all
{
	$holder->query("BEGIN; SELECT format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', string_agg(name, ', ')) "
		  . "FROM relations WHERE relkind IN ('r', 'p') \\gexec");
	return;
}
hold_all();
foreach my $level (@levels)
{
	my $outcomes = $node->safe_psql('postgres', qq{
		SET ROLE "$level"; SET lock_timeout = '20ms';
		SELECT count(*) FROM outcomes('$level') o
		WHERE o.state <> '42501' OR o.message NOT LIKE 'permission denied to lock or change "%", which belongs to the extension webhook'
		  AND (o.message, '$level') IS DISTINCT FROM ('permission denied for schema webhook_internal', 'nobody')
	});
	is($outcomes, 0, "$level: each statement is refused at once, for each relation")
	  or diag($node->safe_psql('postgres', qq{
		SET ROLE "$level"; SET lock_timeout = '20ms';
		SELECT state || ' ' || message || ': ' || statement FROM outcomes('$level') WHERE message NOT LIKE 'permission denied to lock%' LIMIT 50}));
}
$holder->query('ROLLBACK');

# --- LOCK TABLE of views, and names -------------------------------------------------------------------------------------

$node->safe_psql('postgres', q{
	SET ROLE manage;
	SET search_path = of_manage, public;
	CREATE VIEW direct AS SELECT * FROM webhook_configurations;
	CREATE VIEW nested AS SELECT * FROM direct;
	CREATE VIEW hidden AS SELECT m.* FROM mine m WHERE EXISTS (SELECT FROM (SELECT FROM nested n WHERE n.name = m.name) n);
	CREATE VIEW invoker WITH (security_invoker) AS SELECT * FROM nested;
	CREATE VIEW other AS SELECT * FROM mine;
	CREATE VIEW further AS SELECT * FROM other;
	CREATE TABLE webhook_logs (LIKE mine);
	CREATE TABLE webhook_configurations (LIKE mine);
});
my $tenant = WebhookTest::Session->new($node, 'postgres');
$tenant->query("SET ROLE manage; SET webhook.organization_id = 'acme'; SET search_path = of_manage, public");
hold_all();
foreach my $view (qw(direct nested hidden invoker))
{
	$tenant->{errors} = '';
	$tenant->query("BEGIN; SET LOCAL lock_timeout = '20ms'; LOCK TABLE $view; ROLLBACK");
	like($tenant->errors, qr/permission denied to lock or change "webhook_configurations"/, "nor by a view that reads it: $view");
}
$tenant->{errors} = '';
foreach my $statement ('LOCK TABLE other', 'LOCK TABLE further, mine IN EXCLUSIVE MODE NOWAIT', 'LOCK TABLE webhook_logs',
	'ALTER TABLE webhook_logs ADD COLUMN a int', 'COMMENT ON COLUMN webhook_logs.name IS NULL', 'CREATE INDEX ON webhook_logs (name)',
	'CREATE TRIGGER a AFTER INSERT ON webhook_logs FOR EACH ROW EXECUTE FUNCTION fired()', 'DROP TRIGGER a ON webhook_logs',
	'CREATE STATISTICS st ON id, name FROM webhook_logs', 'ALTER TABLE mine INHERIT webhook_configurations', 'ALTER TABLE mine NO INHERIT webhook_configurations',
	'TRUNCATE webhook_logs', 'DROP TABLE webhook_logs', 'CREATE TEMPORARY TABLE webhook_events (a int)', 'CREATE INDEX ON webhook_events (a)',
	'DROP TABLE webhook_events', 'LOCK TABLE public.contacts')
{
	$tenant->query($statement =~ /^LOCK/ ? "BEGIN; $statement; COMMIT" : $statement);
	is($tenant->errors, '', "its own relations are its own, whatever their names: $statement");
	$tenant->{errors} = '';
}
$holder->query('ROLLBACK');

# The name means another relation than when the statement began.
my $shadow = WebhookTest::Session->new($node, 'postgres');
$shadow->query('SET ROLE manage; SET search_path = of_manage; BEGIN; DROP TABLE webhook_configurations');
$tenant->send('BEGIN; LOCK TABLE webhook_configurations; SELECT 1');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 'of_manage.webhook_configurations'::regclass}),
	'LOCK TABLE waits for a table of its own');
$shadow->query('COMMIT');
$tenant->query('SELECT 2');
like($tenant->errors, qr/relation "of_manage.webhook_configurations" does not exist/, 'and finds it dropped, instead of ours behind it');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE relation = 'public.webhook_configurations'::regclass AND mode = 'AccessExclusiveLock'}), 0,
	'which nobody has locked');
$tenant->{errors} = '';
$tenant->query('ROLLBACK');

# --- what stays allowed -------------------------------------------------------------------------------------------------

foreach my $statement ('LOCK TABLE webhook_configurations IN ROW EXCLUSIVE MODE', "UPDATE webhook_configurations SET name = 'renamed'",
	'SELECT id FROM webhook_configurations FOR UPDATE', "INSERT INTO webhook_configurations (name, url, events) VALUES ('second', 'http://127.0.0.1:8080/', '{*}')",
	"DELETE FROM webhook_configurations WHERE name = 'second'", 'CREATE TABLE copy (LIKE public.webhook_configurations)',
	'CREATE OR REPLACE VIEW other AS SELECT * FROM mine')
{
	$tenant->query("BEGIN; $statement; COMMIT");
	is($tenant->errors, '', "a tenant may: $statement");
	$tenant->{errors} = '';
}
is($node->psql('postgres', 'BEGIN; LOCK TABLE webhook_configurations; ALTER TABLE webhook_configurations ADD COLUMN a int; ROLLBACK'), 0,
	'the owner may');

# --- events and deliveries go on ----------------------------------------------------------------------------------------

my $sent = 0;
sub insert_and_receive
{
	my ($what) = @_;
	++$sent;
	is($node->psql('postgres', "SET lock_timeout = '1min'; SET statement_timeout = '1min'; INSERT INTO contacts (organization_id, name) VALUES ('acme', 'a')"),
		0, "$what: the application's INSERT goes on");
	return;
}
my $reader = WebhookTest::Session->new($node, 'postgres');
$reader->query("SET ROLE read; SET webhook.organization_id = 'acme'; BEGIN; SELECT count(*) FROM webhook_logs; SELECT count(*) FROM webhook_stats; "
	  . 'SELECT count(*) FROM webhook_own_events e (a, b, c, d, e, f, g, h, i)');
$reader->query("SELECT count(id) FROM webhook_own_events; SELECT count(event_id) FROM webhook_deliveries");
my $segment = $node->safe_psql('postgres', q{SELECT 'public.webhook_events_' || slot FROM webhook_rings WHERE ring = 'events'});
foreach my $level (@levels)
{
	my $attacker = WebhookTest::Session->new($node, 'postgres');
	$attacker->query(qq{SET ROLE "$level"; SET webhook.organization_id = 'acme'});
	$attacker->send("BEGIN; LOCK TABLE webhook_configurations IN ACCESS EXCLUSIVE MODE; COMMIT; CREATE RULE a AS ON INSERT TO $segment DO INSTEAD NOTHING; "
		  . "CREATE TRIGGER a AFTER INSERT ON $segment FOR EACH ROW EXECUTE FUNCTION of_$level.fired()");
	insert_and_receive("$level tries, behind a reader");
	eventually { $receiver->count >= $sent } "$level tries, behind a reader: it is delivered";
	$attacker->finish;
}
$reader->query('ROLLBACK');

# --- the owner's own locks ----------------------------------------------------------------------------------------------

# Waiting, behind a reader; held; and both of another segment.
$reader->query('RESET ROLE');
$reader->query("BEGIN; SELECT count(*) FROM $segment");
$holder->send("BEGIN; LOCK TABLE $segment IN ACCESS EXCLUSIVE MODE; SELECT 1");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE relation = '$segment'::regclass AND NOT granted"),
	'the owner waits for a lock on the segment that is written to');
insert_and_receive('behind it');
$reader->query('ROLLBACK');
$holder->query('SELECT 2');
insert_and_receive('while the owner holds the segment');
$holder->query('COMMIT');
eventually { $receiver->count >= $sent } 'both are delivered when he has let go';
is($node->safe_psql('postgres', q{SELECT count(*) FROM webhook_events e, webhook_rings r WHERE r.ring = 'events' AND e.slot <> r.slot}), 2,
	'they stand in another segment');

# All segments: the transaction waits, and a deadlock is found.
my $application = WebhookTest::Session->new($node, 'postgres', PGOPTIONS => '-c deadlock_timeout=100ms');
$holder->query('BEGIN; LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE');
$application->query("BEGIN; UPDATE contacts SET name = 'b' WHERE id = 1; INSERT INTO contacts (organization_id, name) VALUES ('acme', 'c')");
$application->send('COMMIT; SELECT 1');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND wait_event_type = 'Lock'}),
	'if the owner has locked all segments, the transaction waits');
$holder->send('SELECT name FROM contacts WHERE id = 1 FOR UPDATE');
$application->query('SELECT 2');
$holder->query('ROLLBACK');
like($application->errors . $holder->errors, qr/deadlock detected/, 'and does not wait for him who waits for it');
eventually { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE NOT granted}) == 0 } 'nobody waits any more';

# Advisory locks are anybody's: none that a role can take is one of ours.
$tenant->{errors} = '';
$tenant->query("SELECT pg_advisory_lock(oid::bigint), pg_advisory_lock(oid::int, 0), pg_advisory_lock(0, oid::int), pg_advisory_lock(tableoid::int, oid::int) "
	  . 'FROM pg_class WHERE relnamespace = \'public\'::regnamespace');
is($tenant->errors, '', 'a tenant holds the advisory locks of all tables');
is($node->psql('postgres', q{
		SET lock_timeout = '1s'; BEGIN; CREATE TEMPORARY TABLE instance AS TABLE webhook_instance; DELETE FROM webhook_instance;
		INSERT INTO webhook_instance TABLE instance; ROLLBACK}), 0, 'which does not keep a worker from making its row of webhook_instance');

$_->finish foreach $holder, $tenant, $shadow, $reader, $application;
$node->stop;

done_testing();
