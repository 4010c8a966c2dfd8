-- Every SQL example in README.md and docs runs, docs/sql.md mentions everything that the extension makes, and docs/operations.md
-- every setting. test/t/024_first_steps.pl runs docs/quick-start.md and docs/testing.md, which need a worker, and
-- test/t/081_nodes.pl runs docs/nodes.md, which needs a second server, and test/t/072_recipes.pl docs/recipes.md.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
\getenv inputdir PG_ABS_SRCDIR
\getenv outputdir PG_ABS_BUILDDIR
\setenv SOURCE :inputdir/..
\setenv RESULTS :outputdir/results
\set tables :outputdir/results/docs_tables.sql
\set examples :outputdir/results/docs_examples.sql
\! grep -vxE '(BEGIN|COMMIT);' "$SOURCE/examples/crm.sql" > "$RESULTS/docs_tables.sql"
\set readme_examples :outputdir/results/docs_readme.sql
\set other_examples :outputdir/results/docs_others.sql
\setenv SQL '/^```sql$/ { inside = 1; next } /^```$/ { inside = 0 } inside'
\! awk "$SQL" "$SOURCE/docs/sql.md" > "$RESULTS/docs_examples.sql"
\! awk "$SQL" "$SOURCE/README.md" > "$RESULTS/docs_readme.sql"
\! cd "$SOURCE/docs" && ls ./*.md | grep -vxF -e ./sql.md -e ./quick-start.md -e ./testing.md -e ./nodes.md -e ./recipes.md | xargs awk "$SQL" > "$RESULTS/docs_others.sql"
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA docs;
SET search_path = docs, tap;
CREATE EXTENSION webhook SCHEMA docs;
SELECT plan(8);

-- What the examples suppose.
\i :tables
INSERT INTO webhook_instance (instance, database_oid, system_identifier) VALUES (gen_random_uuid(), 1, 1);

-- Those of README.md suppose no more.
SAVEPOINT readme;
\o :outputdir/results/docs_readme.out
\i :readme_examples
SELECT webhook_flush();
\o
SELECT pass('every example of README.md runs');
SELECT results_eq($$SELECT event, organization_id, data ->> 'name' FROM webhook_events$$,
                  $$VALUES ('contact.created', 'acme', 'Ada')$$, 'and makes the event that it says');
ROLLBACK TO readme;

INSERT INTO webhook_configurations (organization_id, name, url, events, secret)
VALUES ('acme', 'crm', 'https://example.com/', '{contact.*}', webhook_generate_secret());
INSERT INTO webhook_events (slot, id, xid, created_at, event, organization_id, data)
VALUES (0, 1, pg_current_xact_id(), now() - interval '1 h', 'contact.created', 'acme', '{"id": 1}');
INSERT INTO webhook_logs (id, slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
SELECT 42, 0, now(), id, 'acme', 1, 'contact.created', 1, 'failed', 'HTTP status 500' FROM webhook_configurations;

-- No worker sees what this transaction makes: its answer to a test.
CREATE OR REPLACE FUNCTION webhook_internal.send_test(
    webhook uuid, created_at timestamptz, organization text, event text, data json, timeout_ms integer, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint,
    OUT url text, OUT headers text, OUT body text)
    LANGUAGE sql AS $$SELECT 'success', 200, 'ok', NULL, 12.5::double precision, 43::bigint,
        'https://example.com/hook', E'Content-Type: application/json\r\nX-Own: ***', data::text$$;

\o :outputdir/results/docs_examples.out
\i :examples
\o
SELECT pass('every example of docs/sql.md runs');
\o :outputdir/results/docs_others.out
\i :other_examples
\o
SELECT pass('every example of the other pages runs');

CREATE TEMPORARY TABLE lines (place serial, line text);
\copy lines (line) FROM PROGRAM 'cat "$SOURCE/docs/sql.md"' WITH (DELIMITER E'\x01', FORMAT csv, QUOTE E'\x02')
SELECT cmp_ok((SELECT count(*) FROM lines WHERE line = '```sql'), '>', 20::bigint, 'there are examples');
CREATE VIEW pg_temp.words AS
    SELECT DISTINCT (regexp_matches(line, '\mwebhook_\w+', 'g'))[1] AS word FROM lines;
SELECT is_empty($$
    SELECT p.proname::text AS name FROM pg_proc p WHERE p.pronamespace = 'docs'::regnamespace
    UNION
    SELECT c.relname::text FROM pg_class c
    WHERE c.relnamespace = 'docs'::regnamespace AND c.relname LIKE 'webhook\_%' AND c.relkind IN ('r', 'p', 'v', 'S')
      AND NOT c.relispartition
    EXCEPT SELECT word FROM pg_temp.words
$$, 'every function, table, view and sequence is mentioned');
SELECT is_empty($$
    SELECT word FROM pg_temp.words
    EXCEPT SELECT nspname::text FROM pg_namespace
    EXCEPT SELECT proname::text FROM pg_proc WHERE pronamespace = 'docs'::regnamespace
    EXCEPT SELECT relname::text FROM pg_class WHERE relnamespace = 'docs'::regnamespace
    EXCEPT SELECT attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
           WHERE c.relnamespace = 'docs'::regnamespace
$$, 'and nothing that there is not');

CREATE TEMPORARY TABLE settings (place serial, line text);
\copy settings (line) FROM PROGRAM 'cat "$SOURCE/docs/operations.md"' WITH (DELIMITER E'\x01', FORMAT csv, QUOTE E'\x02')
SELECT set_eq($$SELECT (regexp_matches(split_part(line, '|', 2), 'webhook\.\w+', 'g'))[1] FROM settings WHERE line ~ '^\| `webhook\.'$$,
              $$SELECT name FROM pg_settings WHERE name LIKE 'webhook.%'$$,
              'docs/operations.md has a row for each setting');

SELECT * FROM finish();
ROLLBACK;
