-- Every SQL example in README.md and docs runs, docs/sql.md mentions everything that the extension makes, and docs/operations.md
-- every setting as it is. What needs a worker or a second server runs elsewhere: docs/quick-start.md and docs/testing.md in
-- test/t/024_first_steps.pl, docs/recipes.md in 072_recipes.pl, docs/operations.md in 074_operations.pl, and docs/nodes.md
-- in 081_nodes.pl.
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
\! cd "$SOURCE/docs" && ls ./*.md | grep -vxF -e ./sql.md -e ./quick-start.md -e ./testing.md -e ./nodes.md -e ./recipes.md -e ./operations.md | xargs awk "$SQL" > "$RESULTS/docs_others.sql"
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA docs;
SET search_path = docs, tap;
CREATE EXTENSION webhook SCHEMA docs;
SELECT plan(12);

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
CREATE VIEW pg_temp.documented AS
    SELECT trim(cells[2], ' `') AS name, trim(cells[3]) AS "default", trim(cells[4]) AS range, trim(cells[5]) AS takes_effect,
           trim(cells[7]) AS change_it
    FROM settings, string_to_array(line, '|') cells WHERE line ~ '^\| `webhook\.';
-- A value in the base unit of its kind: seconds or bytes.
CREATE FUNCTION pg_temp.measured(value text, unit text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN unit IN ('ms', 's') THEN extract(epoch FROM value::interval)::text
                WHEN unit IN ('B', 'MB') THEN pg_size_bytes(value)::text ELSE value END $$;
CREATE FUNCTION pg_temp.measured_raw(value text, unit text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.measured(value || CASE unit WHEN 'B' THEN '' ELSE coalesce(unit, '') END, unit) $$;
SELECT set_eq($$SELECT d.name, pg_temp.measured(d."default", s.unit) FROM pg_temp.documented d JOIN pg_settings s USING (name)$$,
              $$SELECT name, pg_temp.measured_raw(boot_val, unit) FROM pg_settings WHERE name LIKE 'webhook.%'$$,
              'with its default');
SELECT set_eq($$SELECT d.name, pg_temp.measured(regexp_replace(d.range, '^from (\S+)$|^(\S+) to .*$', '\1\2'), s.unit) AS low,
                       pg_temp.measured(substring(d.range FROM ' to (\S+)$'), s.unit) AS high
                FROM pg_temp.documented d JOIN pg_settings s USING (name) WHERE s.vartype IN ('integer', 'enum', 'bool')$$,
              $$SELECT name, CASE vartype WHEN 'integer' THEN pg_temp.measured_raw(min_val, unit)
                                          WHEN 'enum' THEN array_to_string(enumvals, ', ') ELSE 'on, off' END AS low,
                       CASE WHEN max_val::numeric < 2147483646 THEN pg_temp.measured_raw(max_val, unit) END AS high
                FROM pg_settings WHERE name LIKE 'webhook.%' AND vartype IN ('integer', 'enum', 'bool')$$,
              'with the values that it may have');
SELECT set_eq($$SELECT name, takes_effect FROM pg_temp.documented WHERE change_it <> ''$$,
              $$SELECT name, CASE context WHEN 'postmaster' THEN 'restart' WHEN 'sighup' THEN 'reload'
                                          WHEN 'superuser' THEN 'reload, session (superusers)' ELSE 'reload, session' END
                FROM pg_settings WHERE name LIKE 'webhook.%'$$,
              'with who may change it when, and a reason to');
-- What the page says of values without a unit.
SELECT results_eq($$SELECT unit, CASE WHEN unit IN ('B', 'ms') THEN string_agg(name, ' ' ORDER BY name) END
                    FROM pg_settings WHERE name LIKE 'webhook.%' AND unit IS NOT NULL GROUP BY unit ORDER BY unit COLLATE "C"$$,
                  $$VALUES ('B', 'webhook.max_payload'), ('MB', NULL), ('ms', 'webhook.idle_timeout webhook.shutdown_timeout'),
                           ('s', NULL)$$, 'with its unit');

SELECT * FROM finish();
ROLLBACK;
