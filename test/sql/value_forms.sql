-- Each value of the table in docs/wire-format.md is captured in the form that the table shows, whatever the session's settings.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
\getenv inputdir PG_ABS_SRCDIR
\setenv SOURCE :inputdir/..
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA forms;
SET search_path = forms, tap;
CREATE EXTENSION webhook SCHEMA forms;

-- The page is UTF-8, whatever the database's encoding.
SET client_encoding = 'UTF8';
CREATE TEMPORARY TABLE lines (place serial, line text);
\copy lines (line) FROM PROGRAM 'cat "$SOURCE/docs/wire-format.md"' WITH (DELIMITER E'\x01', FORMAT csv, QUOTE E'\x02')
CREATE TEMPORARY TABLE documented AS
    SELECT row_number() OVER (ORDER BY l.place) AS place, m[1] AS type, m[2] AS value, m[3] AS form
    FROM lines l CROSS JOIN LATERAL regexp_matches(l.line, '^\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \| [^|]+ \|$') m;
SELECT plan(2 + (SELECT count(*) FROM documented)::integer);
SELECT cmp_ok(count(*), '>=', 35::bigint, 'the table is found') FROM documented;
SELECT set_eq($$SELECT DISTINCT type FROM documented$$,
    '{boolean,integer,bigint,numeric,real,"double precision",text,char(4),bytea,uuid,date,timestamp,timestamptz,time,timetz,interval,
      int4range,daterange,tstzrange,json,jsonb,timestamptz[],inet}'::text[], 'of these types');

INSERT INTO webhook_instance (instance, database_oid, system_identifier) VALUES (gen_random_uuid(), 1, 1);
DO $$
DECLARE
    documented record;
BEGIN
    FOR documented IN SELECT * FROM pg_temp.documented LOOP
        EXECUTE format('CREATE TABLE form_%s (value %s)', documented.place, documented.type);
        PERFORM webhook_watch(format('form_%s', documented.place)::regclass, 'form.created', organization_column => NULL);
    END LOOP;
END $$;
INSERT INTO webhook_configurations (name, url, events) VALUES ('forms', 'https://example.com/', '{form.*}');

-- Unlike PostgreSQL's defaults, all that the text of a value depends on.
SET TimeZone = 'Asia/Kolkata';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'iso_8601';
SET bytea_output = 'escape';
SET extra_float_digits = -15;
DO $$
DECLARE
    documented record;
BEGIN
    FOR documented IN SELECT * FROM pg_temp.documented ORDER BY place LOOP
        EXECUTE format('INSERT INTO form_%s VALUES (%L)', documented.place, documented.value);
    END LOOP;
END $$;
SELECT webhook_flush() \g /dev/null

SELECT is(e.data::text, '{"value":' || d.form || '}', d.type || ' ' || d.value)
FROM documented d
LEFT JOIN (SELECT data, row_number() OVER (ORDER BY id) AS place FROM webhook_events) e USING (place) ORDER BY d.place;

SELECT * FROM finish();
ROLLBACK;
