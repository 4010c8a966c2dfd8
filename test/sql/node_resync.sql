-- What webhook_node_keep() and webhook_node_missed() tell of rows, whatever their types, and of tables, whatever their names. The
-- copy is an INSERT of a session that applies replicated changes. In one transaction, rolled back.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE EXTENSION webhook;
CREATE EXTENSION citext SCHEMA tap;
CREATE EXTENSION ltree SCHEMA tap;
SET search_path = public, tap;
SELECT plan(10);

-- --- Rows ---------------------------------------------------------------------------------------------------------------

CREATE TABLE items (name citext, place ltree, doc json, number numeric, label char(4), docs jsonb, PRIMARY KEY (name, place));
INSERT INTO items VALUES
    ('same', 'a', '{"note": "\u0000"}', 1, 'x', '{}'), ('Case', 'a', '1', 1, 'x', '{}'), ('gone', 'a.b', '"\ud800"', 1, 'x', NULL),
    ('double', 'a', '{"a":1,"a":2}', 1, 'x', '{}'), ('scale', 'a', NULL, 1, 'x', '{}'), ('spaces', 'a', '{"a":1}', 1, 'x', '{}'),
    ('huge', 'a', NULL, 1e131000, 'x', '[1e131071]');
CREATE TABLE source AS TABLE items;
DELETE FROM source WHERE name = 'gone';
INSERT INTO source VALUES ('new', 'c', '{"note": "\u0000"}', 'NaN', NULL, NULL);
UPDATE source SET name = 'CASE', number = 2 WHERE name = 'case';
UPDATE source SET doc = '{"a":3,"a":2}' WHERE name = 'double';
UPDATE source SET number = 1.00 WHERE name = 'scale';
UPDATE source SET doc = '{"a": 1}' WHERE name = 'spaces';
SELECT lives_ok($$ SELECT webhook_node_keep('items') $$, 'a table is kept');
SELECT is((SELECT count(*) FROM items), 0::bigint, 'and empty');
SET LOCAL session_replication_role = replica;
SELECT lives_ok('INSERT INTO items TABLE source', 'it is copied, though it has what is no jsonb, and keys with operators of their own');
SET LOCAL session_replication_role = origin;
SELECT results_eq($$SELECT change, key->>'name', substring(before::text, '"number":"?(\w+\.?\d*)'), substring(after::text, '"number":"?(\w+\.?\d*)')
      FROM webhook_node_missed('items') ORDER BY lower(key->>'name')$$,
    $$VALUES ('updated', 'CASE', '1', '2'), ('updated', 'double', '1', '1'), ('deleted', 'gone', '1', NULL), ('created', 'new', NULL, 'NaN'),
             ('updated', 'scale', '1', '1.00'), ('updated', 'spaces', '1', '1')$$, 'and each row that differs is told');

-- --- Names --------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[repeat('a', 63), repeat('a', 62) || 'b', repeat(U&'\8868', 21), repeat(U&'\8868', 20), 'short'] LOOP
        EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY)', name);
    END LOOP;
END $$;
CREATE TEMPORARY VIEW named AS SELECT oid::regclass AS source, relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND (relname LIKE 'aaa%' OR relname LIKE U&'\8868%' OR relname = 'short') AND relname !~ '(kept|missed)$';
SELECT is((SELECT count(DISTINCT b) FROM named n, unnest(ARRAY['_kept', '_missed', '']) s, webhook_internal.beside(n.source, s) b), 15::bigint,
          'tables with long names have names of their own beside them');
SELECT is((SELECT count(*) FROM named n, unnest(ARRAY['_kept', '_missed']) s, webhook_internal.beside(n.source, s) b WHERE to_regclass(b) IS NOT NULL),
          0::bigint, 'which are not theirs');
SELECT is((SELECT max(octet_length((parse_ident(b))[2])) FROM (SELECT webhook_internal.beside(n.source, s) FROM named n, unnest(ARRAY['_kept', '_missed']) s) x (b)) <= 63, true, 'and fit');
SELECT is(webhook_internal.beside('short', '_kept'), 'public.short_kept', 'a short name says whose it is');
SELECT lives_ok(format('SELECT webhook_node_keep(%L)', source), 'all can be kept at once') FROM (SELECT max(source::text) AS source FROM named) n;
SELECT throws_like(format('SELECT webhook_node_keep(%L)', source), '%exists: what it tells of an earlier copy would be lost', 'once') FROM (SELECT max(source::text) AS source FROM named) n;

SELECT * FROM finish();
ROLLBACK;
