# webhook_node_create() and webhook_node_check(): what they refuse, with what to do, and nothing half-made; what they make of
# the source's definitions; what differs later, and that the statements they give mend it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $source = PostgreSQL::Test::Cluster->new('source');
$source->init(allows_streaming => 'logical');
$source->append_conf('postgresql.conf', "max_replication_slots = 3\n");
$source->start;
my $node = new_node(name => 'node', wal_retrieve_retry_interval => '1s', log_statement => 'ddl');

sub conninfo { my ($server, $more) = @_; return $server->connstr('postgres') . ' ' . ($more // 'user=webhook_node password=hunter2'); }

sub create_statement { return 'SELECT webhook_node_create(' . join(', ', sql_literal($_[0]), @_[1 .. $#_]) . ')'; }

# The error of a statement on the node, with detail and hint.
sub refusal
{
	my ($sql) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $sql);
	return $error =~ s/^psql:<stdin>:\d+: //mgr =~ s/\nCONTEXT:.*//sr;
}

sub create_refusal { return refusal(create_statement(@_)); }

# What a node consists of, on both.
sub made
{
	return join(' ', query($node, q{SELECT (SELECT count(*) FROM pg_subscription), (SELECT count(*) FROM pg_namespace),
		(SELECT count(*) FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace)}),
		query($source, 'SELECT count(*) FROM pg_replication_slots'));
}

sub wait_for_copies
{
	wait_until { query($node, q{SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'}) == 0 } 'the tables are copied';
	return;
}

# --- What is refused ----------------------------------------------------------------------------------------------------

my $nothing = made();
like(create_refusal(conninfo($source)), qr/^ERROR:  the extension dblink is missing.*\nHINT:  CREATE EXTENSION dblink;/, 'without dblink');
query($node, 'CREATE EXTENSION dblink; CREATE ROLE operator LOGIN; SELECT webhook_grant(\'operator\', \'operate\')');
like(refusal('SET ROLE operator; ' . create_statement(conninfo($source))),
	qr/^ERROR:  permission denied to create a subscription\nHINT:  /, 'a role that may create no subscription');
is(create_refusal('source'), "ERROR:  conninfo is not a connection string\nHINT:  For example: host=source.example dbname=crm "
	. 'user=webhook_node', 'what is no connection string');
like(create_refusal(conninfo($source)), qr/^ERROR:  the source cannot be reached\nDETAIL:  connection to server .* role "webhook_node" does not exist\nHINT:  /,
	'a role that the source does not have');
foreach my $broken ('host=/tmp password=hunter2 rest', "host=/tmp password='hunter2", 'hunter2=password', 'postgresql://me:a@hunter2@/crm')
{
	my $error = create_refusal($broken);
	like($error, qr/^ERROR:  the source cannot be reached\nDETAIL:  The reason is withheld/, "a string that cannot be read: $broken");
	unlike($error, qr/hunter2/, 'no part of it is shown');
}
query($source, 'CREATE ROLE webhook_node LOGIN');
like(create_refusal(conninfo($node, '')), qr/^ERROR:  the connection string leads to this server itself/, 'the node itself');
like(create_refusal(conninfo($source)), qr/^ERROR:  role webhook_node of the source may not replicate\nDETAIL:  the source has no publication webhook\nHINT:  On the source: ALTER ROLE webhook_node REPLICATION;$/,
	'a role that may not replicate, and the rest as detail');
query($source, 'ALTER ROLE webhook_node REPLICATION; CREATE PUBLICATION webhook');
like(create_refusal(conninfo($source)), qr/^ERROR:  publication webhook has no tables\nHINT:  /, 'a publication without tables');
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init;
$plain->append_conf('postgresql.conf', "wal_level = replica\n");
$plain->start;
like(create_refusal(conninfo($plain, '')), qr/^ERROR:  wal_level of the source is replica\n.*HINT:  On the source: ALTER SYSTEM SET wal_level = logical;/s,
	'a source without logical decoding');
$plain->stop;

query($source, q{CREATE TABLE orders (id int, organization_id text); ALTER PUBLICATION webhook ADD TABLE orders});
like(create_refusal(conninfo($source)), qr/^ERROR:  role webhook_node may not read table public\.orders of the source\n.*HINT:  On the source: GRANT SELECT \(id, organization_id\) ON public\.orders TO webhook_node;$/s,
	'a table that the role may not read');
query($source, 'GRANT SELECT (id, organization_id) ON public.orders TO webhook_node');
like(create_refusal(conninfo($source)), qr/^ERROR:  table public\.orders has no primary key and no replica identity.*\nHINT:  On the source: ALTER TABLE public\.orders REPLICA IDENTITY FULL;$/s,
	'a table without a key');
query($source, q{ALTER TABLE orders ADD PRIMARY KEY (id); CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10); GRANT SELECT ON parts, parts_1 TO webhook_node;
	ALTER PUBLICATION webhook ADD TABLE parts});
like(create_refusal(conninfo($source)), qr/^ERROR:  public\.parts_1 is a partition, .*\nHINT:  On the source: ALTER PUBLICATION webhook SET \(publish_via_partition_root = true\);$/s,
	'partitions as tables of their own');
query($source, 'ALTER PUBLICATION webhook SET (publish_via_partition_root = true)');
query($source, q{CREATE TABLE narrow (id int PRIMARY KEY, a text); GRANT SELECT ON narrow TO webhook_node; ALTER PUBLICATION webhook ADD TABLE narrow (a)});
like(create_refusal(conninfo($source)), qr/^ERROR:  the publication of table public\.narrow lacks columns of its replica identity \(id\): .*\nHINT:  On the source: ALTER PUBLICATION webhook DROP TABLE public\.narrow;/s,
	'a list of columns without the key');
query($source, 'DROP TABLE narrow');
query($source, 'CREATE TYPE pair AS (a int, b int); ALTER TABLE orders ADD COLUMN pair pair; GRANT SELECT ON orders TO webhook_node');
like(create_refusal(conninfo($source)), qr/^ERROR:  column pair of table public\.orders has type public\.pair, which this node does not have\nHINT:  On the node: CREATE EXTENSION or CREATE TYPE/,
	'a type that the node lacks');
query($source, 'ALTER TABLE orders DROP COLUMN pair');
query($source, q{SELECT pg_create_logical_replication_slot('webhook', 'pgoutput')});
like(create_refusal(conninfo($source)), qr/^ERROR:  the source has a replication slot "webhook" already\n.*SELECT pg_drop_replication_slot\('webhook'\);$/s,
	'the slot of another node');
query($source, q{SELECT pg_create_logical_replication_slot(name, 'pgoutput') FROM unnest('{a,b}'::text[]) name});
like(create_refusal(conninfo($source), "subscription => 'other'"), qr/^ERROR:  the source has no free replication slot\nHINT:  Raise max_replication_slots/,
	'no slot is free');
query($source, 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
like(create_refusal(conninfo($source), "subscription => 'Other'"), qr/^ERROR:  invalid name of a subscription "Other"/, 'a name that no slot can have');
is(made(), $nothing, 'nothing of all that is half-made');
query($node, 'CREATE TABLE orders (id int PRIMARY KEY, organization_id varchar(3) NOT NULL, note text NOT NULL)');
my $different = create_refusal(conninfo($source));
like($different, qr/^column \S+ of table public\.orders takes no null on this node, and the source sends some$/m, 'a table that the node has with other columns');
like($different, qr/column organization_id of table public\.orders has type text at the source and character varying\(3\) on this node$/m, 'all of them are told');
like($different, qr/\nHINT:  On the node: ALTER TABLE public\.orders ALTER COLUMN \w+ /, 'with what to do');
query($node, 'DROP TABLE orders; CREATE TABLE orders (id int PRIMARY KEY, organization_id text); INSERT INTO orders VALUES (1)');
like(create_refusal(conninfo($source)), qr/^ERROR:  table public\.orders has rows on this node.*\nHINT:  TRUNCATE .*webhook_node_keep\('public\.orders'\);$/s, 'a table with rows');
query($node, 'DROP TABLE orders');
is(made(), $nothing, 'still nothing');
is(slurp_file($node->logfile) =~ /hunter2/ ? 1 : 0, 0, 'and no password is in the log of the node');

# --- What is made -------------------------------------------------------------------------------------------------------

query($source, q{
	CREATE SCHEMA "Odd";
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE DOMAIN email AS varchar(50);
	CREATE DOMAIN work_email AS email;
	CREATE TABLE "Odd"."My ""Deals" ("Id" int, "b c" text, mood mood, moods mood[], email work_email, amount numeric(10, 2),
		at timestamptz(3) NOT NULL DEFAULT now(), code char(4), label text GENERATED ALWAYS AS ("b c" || '!') STORED, tags varchar(20)[],
		PRIMARY KEY ("Id", "b c"));
	CREATE TABLE identified (id int PRIMARY KEY, code text NOT NULL, note text);
	CREATE UNIQUE INDEX ON identified (code);
	ALTER TABLE identified REPLICA IDENTITY USING INDEX identified_code_idx;
	CREATE TABLE keyless (id int, note text);
	ALTER TABLE keyless REPLICA IDENTITY FULL;
	CREATE TABLE listed (id int PRIMARY KEY, shown text, hidden text, hint text GENERATED ALWAYS AS (hidden || 'x') STORED);
	GRANT USAGE ON SCHEMA "Odd" TO webhook_node;
	GRANT SELECT ON "Odd"."My ""Deals", identified, keyless, listed TO webhook_node;
	ALTER PUBLICATION webhook ADD TABLE "Odd"."My ""Deals" WHERE ("Id" < 100), identified, keyless, listed (id, shown);
	INSERT INTO "Odd"."My ""Deals" VALUES (1, 'x', 'ok', '{sad,ok}', 'a@b', 1.50, now(), 'ab', DEFAULT, '{t}');
	INSERT INTO "Odd"."My ""Deals" VALUES (100, 'filtered');
	INSERT INTO listed VALUES (1, 'seen', 'secret');
	INSERT INTO parts VALUES (1);
});
query($node, create_statement(conninfo($source), 'events => true') . ' \gexec');
wait_for_copies();
is(query($node, q{SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
		|| CASE WHEN attgenerated <> '' THEN ' generated' ELSE '' END, ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = '"Odd"."My ""Deals"'::regclass AND attnum > 0}),
	'Id integer not null, b c text not null, mood text, moods text[], email character varying(50), amount numeric(10,2), '
	. 'at timestamp(3) with time zone not null, code character(4), label text generated, tags character varying(20)[]',
	'a table has the columns of the source, with enums as text and domains as what they are of');
is(query($node, q{SELECT "Id", mood, moods, email, amount, label, tags FROM "Odd"."My ""Deals"}), '1|ok|{sad,ok}|a@b|1.50|x!|{t}',
	'which take its rows, as far as the publication lets them pass');
is(query($node, 'SELECT * FROM listed'), '1|seen', 'a column that is not published is not there, nor what is generated from it');
is(query($node, q{SELECT relkind FROM pg_class WHERE relname = 'parts'}), 'r', 'a partitioned table is one table');
is(query($node, q{SELECT string_agg(event, ' ' ORDER BY event) FROM webhook_watches WHERE source::text ~ 'Deals|listed' AND on_replicated}),
	'listed.created listed.deleted listed.updated my_deals.created my_deals.deleted my_deals.updated', 'events are declared');
is(query($node, create_statement(conninfo($source), 'events => true')), '', 'once more, nothing is left to do');
like(create_refusal(conninfo($source), "subscription => 'other'"), qr/^ERROR:  table \S+ has rows on this node/, 'a second copy of the rows is refused');
is(slurp_file($node->logfile) =~ /hunter2/ ? 1 : 0, 0, 'and no password is in the log');
create_webhook($node, url => $receiver->url('/ok'), ordering => 'endpoint', events => [ map { ("$_.created", "$_.updated", "$_.deleted") } qw(my_deals identified keyless listed parts) ]);
query($source, q{
	UPDATE "Odd"."My ""Deals" SET mood = 'sad', "b c" = 'y' WHERE "Id" = 1;
	UPDATE "Odd"."My ""Deals" SET mood = 'sad' WHERE "Id" = 100;
	INSERT INTO identified VALUES (1, 'a'); UPDATE identified SET note = 'n', id = 2; DELETE FROM identified;
	INSERT INTO keyless VALUES (1); UPDATE keyless SET note = 'n'; DELETE FROM keyless;
	UPDATE listed SET shown = 'new', hidden = 'new'; DELETE FROM parts; INSERT INTO parts VALUES (2);
});
$source->wait_for_catchup('webhook');
eventually { $receiver->count('/ok') == 10 } 'ten changes of such tables arrive';
is_deeply([ map { "$_->{event}" } $receiver->bodies('/ok') ], [ qw(my_deals.updated identified.created identified.updated
	identified.deleted keyless.created keyless.updated keyless.deleted listed.updated parts.deleted parts.created) ], 'each once, in order');

# --- What differs later -------------------------------------------------------------------------------------------------

# Findings, and the statements among them for a server.
sub findings { return query($node, "SELECT finding FROM webhook_node_check('webhook', " . sql_literal(conninfo($source)) . ") WHERE severity IN ($_[0])"); }

sub mend
{
	my ($run_on) = @_;
	return query($node, "SELECT statement FROM webhook_node_check() WHERE severity = 'error' AND run_on = '$run_on'");
}

is(findings(q{'error', 'warning'}), '', 'nothing differs at first');
like(findings(q{'info'}), qr/^of table "Odd"\."My ""Deals", only these rows are published: \("Id" < 100\)$/m, 'a row filter is told');
like(findings(q{'info'}), qr/^the replication slot webhook retains \d+ \w+, and nothing limits it/m, 'and that nothing limits the slot');
query($node, q{ALTER SUBSCRIPTION webhook DISABLE; CREATE TYPE mood AS ENUM ('ok'); ALTER TABLE keyless ADD COLUMN mood mood;
	ALTER TABLE orders ADD COLUMN gone text, ADD COLUMN must text NOT NULL; ALTER TABLE listed ALTER COLUMN shown SET NOT NULL;
	ALTER TABLE identified DROP CONSTRAINT identified_pkey, REPLICA IDENTITY DEFAULT; DROP INDEX identified_identity});
query($source, q{ALTER TABLE orders ADD COLUMN paid boolean, ALTER COLUMN id TYPE bigint; ALTER TABLE keyless ADD COLUMN mood mood;
	CREATE TABLE later (id int PRIMARY KEY); ALTER PUBLICATION webhook ADD TABLE later; ALTER PUBLICATION webhook DROP TABLE parts});
is(join("\n", sort split /\n/, findings(q{'error', 'warning'})), join("\n", sort(
	'role webhook_node may not read table public.later of the source', 'table public.later is published, and missing on this node',
	'table public.later is published, and the subscription does not know it', 'table public.parts is no longer published',
	'the type public.mood of this node lacks the label \'sad\'', 'column paid of table public.orders is missing on this node',
	'column must of table public.orders takes no null on this node, and the source sends some',
	'column id of table public.orders has type bigint at the source and integer on this node',
	'column shown of table public.listed takes no null on this node, and the source sends some',
	'table public.identified has no primary key on this node, and the source sends code: its updates and deletes cannot be applied',
	'subscription webhook is disabled')), 'all that differs is told');
query($source, mend('source'));
# REFRESH PUBLICATION is for a subscription that is enabled.
query($node, mend('node') =~ s/^ALTER SUBSCRIPTION.*$/ALTER SUBSCRIPTION webhook ENABLE;/mr);
query($node, 'ALTER SUBSCRIPTION webhook REFRESH PUBLICATION');
wait_for_copies();
eventually { findings(q{'error', 'warning'}) eq '' } 'the statements mend it';
query($source, q{INSERT INTO orders VALUES (5000000000, 'acme', true); INSERT INTO later VALUES (1); INSERT INTO keyless VALUES (1, NULL, 'sad');
	INSERT INTO identified VALUES (1, 'b'); UPDATE identified SET note = 'm'; UPDATE listed SET shown = NULL});
$source->wait_for_catchup('webhook');
is(query($node, 'SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM later), (SELECT mood FROM keyless), (SELECT note FROM identified)'),
	'1|1|sad|m', 'and what comes then is applied');

# Sources before 15 have no column lists and row filters.
is(query($node, 'SELECT jsonb_array_length(webhook_internal.source_tables(' . sql_literal(conninfo($source)) . ", '{webhook}', 140000))"), 6,
	'the question for an older source is understood, too');
like(refusal(q{SELECT * FROM webhook_node_check('nobody')}), qr/^ERROR:  subscription "nobody" does not exist in this database\nHINT:  /, 'no such subscription');
like(refusal('SET ROLE operator; SELECT * FROM webhook_node_check()'), qr/^ERROR:  permission denied for the connection string of subscription "webhook"\nHINT:  Pass conninfo/,
	'operators who are no superusers pass a connection string');
like(refusal(q{SELECT webhook_node_keep('orders')}), qr/^ERROR:  table public\.orders is still subscribed\nHINT:  DROP SUBSCRIPTION webhook;/, 'rows are not moved under a subscription');
like(refusal(q{SELECT * FROM webhook_node_missed('orders')}), qr/^ERROR:  nothing was kept of table public\.orders\nHINT:  /, 'without a copy, nothing is missed');
$source->stop;
like(findings(q{'error'}), qr/^the source cannot be reached: connection to server/, 'a source that is down is a finding');
is(slurp_file($node->logfile) =~ /hunter2/ ? 1 : 0, 0, 'to the end, no password is in the log');

done_testing();
