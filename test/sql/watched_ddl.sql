-- DDL on a table whose changes are events: its writes go on, renamed columns are followed, and a column that a trigger
-- names goes with the trigger or not at all.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
SET search_path = public, tap;
SET webhook.capture = 'all';
SELECT plan(91);

CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE TYPE shape AS (id int, organization_id text, name text, hidden text, touched_at int);
CREATE TABLE c (id int PRIMARY KEY, organization_id text, name text, hidden text, mood mood, touched_at int,
                updated_at timestamptz);
CREATE TABLE typed OF shape (PRIMARY KEY (id));
CREATE TABLE parts (id int PRIMARY KEY, organization_id text, name text, hidden text, touched_at int)
    PARTITION BY LIST (id);
CREATE TABLE part_1 (touched_at int, hidden text, name text, organization_id text, id int NOT NULL);
ALTER TABLE parts ATTACH PARTITION part_1 FOR VALUES IN (1);
CREATE TABLE parent (id int, organization_id text, name text, hidden text, touched_at int);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);

CREATE FUNCTION pg_temp.watch(source regclass) RETURNS void LANGUAGE sql AS $$
    SELECT hooks.webhook_watch(source, 'c.created', exclude_columns => '{hidden}');
    SELECT hooks.webhook_watch(source, 'c.updated', ignore_columns => '{touched_at}', exclude_columns => '{hidden}');
$$;
SELECT pg_temp.watch(t) FROM unnest('{c,typed,parts,child}'::regclass[]) t \g /dev/null

-- What becomes of the statements: the error, or the events of an INSERT, of an UPDATE of what is ignored alone, and of one
-- of something else. The columns are found by their places; hidden columns hold "hush". All is undone.
CREATE FUNCTION pg_temp.outcome(source regclass, VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    hint text;
    statement text;
    places int[] := (SELECT array_agg(a.attnum ORDER BY array_position(
                         '{id,organization_id,name,hidden,touched_at}', a.attname::text))
                     FROM pg_attribute a WHERE a.attrelid = source
                       AND a.attname IN ('id', 'organization_id', 'name', 'hidden', 'touched_at'));
    columns text[];
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
    END LOOP;
    SELECT array_agg(CASE WHEN NOT a.attisdropped THEN quote_ident(a.attname) END ORDER BY p.place) INTO columns
    FROM unnest(places) WITH ORDINALITY p (number, place)
    JOIN pg_attribute a ON a.attrelid = source AND a.attnum = p.number;
    EXECUTE format('INSERT INTO %s (%s) VALUES (%s)', source, array_to_string(columns, ', '), concat_ws(', ',
        CASE WHEN columns[1] IS NOT NULL THEN '1' END, CASE WHEN columns[2] IS NOT NULL THEN '''acme''' END,
        CASE WHEN columns[3] IS NOT NULL THEN '''Ada''' END, CASE WHEN columns[4] IS NOT NULL THEN '''hush''' END,
        CASE WHEN columns[5] IS NOT NULL THEN '1' END));
    IF columns[5] IS NOT NULL THEN
        EXECUTE format('UPDATE %s SET %s = 2', source, columns[5]);
    END IF;
    IF columns[3] IS NOT NULL THEN
        EXECUTE format('UPDATE %s SET %s = ''Eve''', source, columns[3]);
    END IF;
    PERFORM hooks.webhook_flush();
    SELECT string_agg(format('%s %s/%s%s', e.event, e.organization_id, e.key,
                             CASE WHEN strpos(e.data::text, 'hush') > 0 THEN ' hush' END), ', ' ORDER BY e.id)
    INTO result FROM hooks.webhook_events e;
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDNE';
EXCEPTION
    WHEN SQLSTATE 'UNDNE' THEN RETURN coalesce(result, 'no events');
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
        RETURN concat_ws(' ', SQLSTATE, SQLERRM, '/', hint);
END
$$;

\set goes_on '\'c.created acme/1, c.updated acme/1\''
\set refused '\'2BP01 cannot drop column \"%s\" of table \"%s\" because an event is declared with it / Declare the event without it, by webhook_watch() or webhook_unwatch(); or use DROP ... CASCADE to drop the trigger too.\''

-- What changes nothing.
SELECT is(pg_temp.outcome('c', statement), :goes_on, 'the writes go on after ' || statement)
FROM unnest(ARRAY[
    'SELECT 1',
    'ALTER TABLE c ADD COLUMN more int DEFAULT 1',
    'ALTER TABLE c ALTER COLUMN hidden TYPE varchar(10)',
    'ALTER TABLE c ALTER COLUMN organization_id TYPE varchar(10)',
    'ALTER TABLE c ALTER COLUMN id TYPE bigint',
    'ALTER TABLE c ALTER COLUMN touched_at TYPE bigint',
    'ALTER TABLE c ALTER COLUMN touched_at SET DEFAULT 7',
    'ALTER TABLE c ALTER COLUMN hidden SET STORAGE EXTERNAL',
    'ALTER TABLE c RENAME TO d',
    'ALTER TABLE c SET SCHEMA hooks',
    'ALTER TABLE c SET UNLOGGED',
    'ALTER TABLE c REPLICA IDENTITY FULL',
    'ALTER TABLE c RENAME CONSTRAINT c_pkey TO d_pkey',
    'ALTER TRIGGER webhook_c_updated ON c RENAME TO mine',
    'ALTER TYPE mood RENAME TO temper',
    'DROP TYPE mood CASCADE']) statement;

-- Renamed.
SELECT is(pg_temp.outcome('c', format('ALTER TABLE c RENAME COLUMN %I TO %I', a, b)), :goes_on,
          format('a renamed column is followed: %s to %s', a, b))
FROM unnest('{id,organization_id,name,hidden,touched_at,mood,updated_at}'::text[]) a,
     unnest(ARRAY['other', 'odd "name", {\}']) b;
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c RENAME hidden TO x', 'ALTER TABLE c RENAME name TO hidden',
                               'ALTER TABLE c RENAME x TO name'), :goes_on, 'also where two change names');
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c RENAME touched_at TO x',
                               'ALTER TABLE c ADD COLUMN touched_at int DEFAULT 1', 'ALTER TABLE c RENAME x TO y'), :goes_on,
          'or another takes the name');
SELECT is(pg_temp.outcome(source, format(statement, column_name, 'x')), :goes_on, format(statement, column_name, 'x'))
FROM unnest('{id,organization_id,name,hidden,touched_at}'::text[]) column_name,
     (VALUES ('parts'::regclass, 'ALTER TABLE parts RENAME %I TO %I'),
             ('child', 'ALTER TABLE parent RENAME %I TO %I'),
             ('typed', 'ALTER TYPE shape RENAME ATTRIBUTE %I TO %I CASCADE')) s (source, statement);
SAVEPOINT renamed;
ALTER TABLE c RENAME id TO number;
ALTER TABLE c RENAME hidden TO "odd name";
ALTER TABLE c RENAME touched_at TO "NULL";
SELECT is(pg_get_triggerdef(oid, true), 'CREATE TRIGGER webhook_c_updated AFTER UPDATE ON c FOR EACH ROW EXECUTE FUNCTION '
          'hooks.webhook_capture(''c.updated'', ''organization_column=organization_id'', ''ignore_columns={"NULL"}'', '
          '''exclude_columns={"odd name"}'')', 'a dump has the new names')
FROM pg_trigger WHERE tgrelid = 'c'::regclass AND tgname = 'webhook_c_updated';
SELECT bag_eq($$SELECT key_columns, ignore_columns, exclude_columns FROM hooks.webhook_watches
                WHERE source = 'c'::regclass AND event = 'c.updated'$$,
              $$VALUES ('{number}'::name[], '{"NULL"}'::name[], '{"odd name"}'::name[])$$, 'and so has the view');
ROLLBACK TO renamed;

-- Dropped: what no argument needs.
SELECT is(pg_temp.outcome('c', format('ALTER TABLE c DROP COLUMN %I', a)), events, format('%s may be dropped', a))
FROM (VALUES ('updated_at', :goes_on), ('touched_at', :goes_on), ('mood', :goes_on), ('name', 'c.created acme/1'),
             ('id', 'c.created acme/, c.updated acme/')) d (a, events);
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c DROP CONSTRAINT c_pkey'), 'c.created acme/, c.updated acme/',
          'without a primary key there is no key');
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c DROP CONSTRAINT c_pkey', 'ALTER TABLE c ADD PRIMARY KEY (name, id)'),
          'c.created acme/Ada,1, c.updated acme/Eve,1', 'with another one, another');
SELECT is(pg_temp.outcome('parts', 'ALTER TABLE parts DROP COLUMN touched_at'), :goes_on,
          'also of a partitioned table');
SELECT is(pg_temp.outcome('child', 'ALTER TABLE parent DROP COLUMN touched_at'), :goes_on, 'of a parent');
SELECT is(pg_temp.outcome('typed', 'ALTER TYPE shape DROP ATTRIBUTE touched_at CASCADE'), :goes_on, 'and of a type');
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c DROP COLUMN touched_at',
                               'ALTER TABLE c ADD COLUMN touched_at int'), :goes_on,
          'a new column of the name of a dropped one');
SAVEPOINT again;
ALTER TABLE c DROP COLUMN touched_at;
SELECT is(ignore_columns, NULL, 'is not ignored') FROM hooks.webhook_watches
WHERE source = 'c'::regclass AND event = 'c.updated';
ROLLBACK TO again;

-- Dropped: what is named.
SELECT is(pg_temp.outcome(source, statement), format(:refused, column_name, source), statement || ' is refused')
FROM (VALUES ('c'::regclass, 'hidden', 'ALTER TABLE c DROP COLUMN hidden'),
             ('c', 'organization_id', 'ALTER TABLE c DROP COLUMN organization_id'),
             ('c', 'hidden', 'ALTER TABLE c ADD COLUMN a int, DROP COLUMN IF EXISTS hidden RESTRICT'),
             ('parts', 'hidden', 'ALTER TABLE parts DROP COLUMN hidden'),
             ('child', 'hidden', 'ALTER TABLE parent DROP COLUMN hidden')) d (source, column_name, statement);
SELECT is(pg_temp.outcome(source, statement), 'no events', statement || ' takes the triggers with it')
FROM (VALUES ('c'::regclass, 'ALTER TABLE c DROP COLUMN hidden CASCADE'),
             ('c', 'ALTER TABLE c DROP COLUMN organization_id CASCADE'),
             ('c', 'DO $_$ BEGIN ALTER TABLE c DROP COLUMN hidden CASCADE; END $_$'),
             ('parts', 'ALTER TABLE parts DROP COLUMN hidden CASCADE'),
             ('child', 'ALTER TABLE parent DROP COLUMN hidden CASCADE'),
             ('typed', 'ALTER TYPE shape DROP ATTRIBUTE hidden CASCADE')) d (source, statement);
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c ALTER COLUMN hidden TYPE mood USING NULL', 'DROP TYPE mood CASCADE'),
          'no events', 'and so does one that goes with its type');
SAVEPOINT named;
SELECT hooks.webhook_watch('c', 'c.named', 'UPDATE', changed_columns => '{name}', key_columns => '{mood}',
                           include_columns => '{updated_at}') \g /dev/null
SELECT is(pg_temp.outcome('c', format('ALTER TABLE c DROP COLUMN %I', a)), format(:refused, a, 'c'),
          format('%s is needed where it is named', a))
FROM unnest('{name,mood,updated_at}'::text[]) a;
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c DROP COLUMN mood CASCADE'), :goes_on, 'the other triggers stay');
ROLLBACK TO named;
SELECT is(pg_temp.outcome('c', 'DROP TABLE c', 'CREATE TABLE c (id int)', 'SELECT pg_temp.none()'),
          '42883 function pg_temp.none() does not exist / No function matches the given name and argument types. You might '
          'need to add explicit type casts.', 'the table itself may go');

-- A condition's columns are PostgreSQL's matter.
SAVEPOINT condition;
SELECT hooks.webhook_watch('c', 'c.updated', condition => 'OLD.name <> NEW.name', exclude_columns => '{hidden}',
                           ignore_columns => '{touched_at}') \g /dev/null
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c RENAME name TO other', 'ALTER TABLE c RENAME hidden TO covered'), :goes_on,
          'a condition and an argument are both followed');
SELECT matches(pg_temp.outcome('c', 'ALTER TABLE c DROP COLUMN name'), '^2BP01', 'and hold their columns');
SELECT is(pg_temp.outcome('c', 'ALTER TABLE c DROP COLUMN name CASCADE'), 'c.created acme/1', 'or go');
ROLLBACK TO condition;

-- Partitions that come and go.
SELECT is(pg_temp.outcome('parts', 'ALTER TABLE parts RENAME hidden TO x', 'ALTER TABLE parts DETACH PARTITION part_1',
                          'CREATE TABLE part_2 PARTITION OF parts FOR VALUES IN (1)'), :goes_on,
          'a partition made after a rename has the new names');

-- By hand.
SELECT is(pg_temp.outcome('c', format('CREATE TRIGGER hand AFTER INSERT ON c FOR EACH ROW '
              'EXECUTE FUNCTION hooks.webhook_capture(''c.made'', %L)', argument)),
          '42703 column "none" of relation "c" does not exist / Declare the event with webhook_watch(), which writes the '
          'arguments.', 'CREATE TRIGGER with ' || argument || ' is refused')
FROM unnest(ARRAY['organization_column=none', 'key_columns={id,none}', 'changed_columns={none}', 'include_columns={none}',
                  'exclude_columns={none}']) argument;
SELECT is(pg_temp.outcome('c', 'CREATE TRIGGER hand AFTER INSERT ON c FOR EACH ROW '
              'EXECUTE FUNCTION hooks.webhook_capture(''c.made'', ''ignore_columns={none}'')'),
          'c.made /1 hush, c.created acme/1, c.updated acme/1', 'one that ignores more than there is, is not');
SELECT is(pg_temp.outcome('c', 'CREATE TRIGGER hand AFTER INSERT ON c FOR EACH ROW '
              'EXECUTE FUNCTION hooks.webhook_capture(''c.made'', ''key_columns={}'')'),
          'c.made / hush, c.created acme/1, c.updated acme/1', 'an empty list makes no key');

SAVEPOINT unseen;
UPDATE pg_attribute SET attname = 'x' WHERE attrelid = 'c'::regclass AND attname = 'hidden';
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events)
VALUES ('acme', 'one', 'https://example.com/', '{c.created}');
SELECT is(c.severity || ' ' || c.finding, 'error trigger webhook_c_created on table public.c names column hidden, which does not exist: '
          'no c.created comes from there', 'webhook_check() says so')
FROM hooks.webhook_configurations w, hooks.webhook_check(w.id) c WHERE c.finding LIKE '%does not exist%';
ROLLBACK TO unseen;

-- Changed where the library was not loaded: nothing is sent that should not be.
SELECT is(pg_temp.outcome('c', 'UPDATE pg_attribute SET attname = ''x'' WHERE attrelid = ''c''::regclass AND attname = '
                               '''hidden''', 'ALTER TABLE c ADD COLUMN y int'), 'no events',
          'a trigger that names a column that is gone captures nothing, and the writes go on');

SELECT * FROM finish();
ROLLBACK;
