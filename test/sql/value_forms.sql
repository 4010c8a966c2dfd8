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
SELECT plan(28 + (SELECT count(*) FROM documented)::integer);
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

-- --- large_numbers_as_text ---------------------------------------------------------------------------------------------

CREATE DOMAIN amount AS numeric(20, 2);
CREATE DOMAIN amounts AS amount[];
CREATE TYPE pair AS (one bigint, other numeric);
CREATE TABLE large (
    id bigint PRIMARY KEY, n numeric, a amount, ids bigint[], ns numeric[], amounts amounts,
    i integer, f double precision, s integer[], p pair, j jsonb, t text, r int8range);
SELECT webhook_watch('large', e.event, organization_column => NULL, large_numbers_as_text => true,
                     include_previous => e.event = 'large.updated')
FROM (VALUES ('large.created'), ('large.updated'), ('large.deleted')) e (event) \g /dev/null
INSERT INTO webhook_configurations (name, url, events) VALUES ('large', 'https://example.com/', '{large.*}');
INSERT INTO large VALUES (-9223372036854775808, 1.50, 7, '{9007199254740993,NULL}', '{{1.0,NaN},{NULL,-0.50}}', '{1,2.5}',
                          1, 0.5, '{1}', (1, 1.5), '{"a": 9007199254740993}', '1', '[1,2]');
INSERT INTO large (id, n, ids) VALUES (2, 'NaN', '{}');
UPDATE large SET n = NULL, ids = '[3:4]={1,2}', i = 2 WHERE id < 0;
DELETE FROM large WHERE id = 2;
SELECT webhook_flush() \g /dev/null
CREATE TEMPORARY VIEW sent AS SELECT row_number() OVER (ORDER BY id) AS place, * FROM webhook_events WHERE event LIKE 'large.%';
SELECT is(data::text,
    '{"id":"-9223372036854775808","n":"1.50","a":"7.00","ids":["9007199254740993",null],"ns":[["1.0","NaN"],[null,"-0.50"]],'
    '"amounts":["1.00","2.50"],"i":1,"f":0.5,"s":[1],"p":{"one":1,"other":1.5},"j":{"a": 9007199254740993},"t":"1","r":"[1,3)"}',
    'bigint and numeric, and arrays of them, are strings; what else there is stays as it is') FROM sent WHERE place = 1;
SELECT is(data::text,
    '{"id":"2","n":"NaN","a":null,"ids":[],"ns":null,"amounts":null,"i":null,"f":null,"s":null,"p":null,"j":null,"t":null,"r":null}',
    'null stays null') FROM sent WHERE place = 2;
SELECT is(data ->> 'ids', '["1","2"]', 'whatever the bounds of an array') FROM sent WHERE place = 3;
SELECT is(previous::text, '{"n":"1.50","ids":["9007199254740993",null],"i":1}', 'so in the previous values') FROM sent WHERE place = 3;
SELECT is(data ->> 'id', '2', 'and in a deleted row') FROM sent WHERE place = 4;
SELECT results_eq('SELECT key FROM sent ORDER BY place', ARRAY['-9223372036854775808', '2', '-9223372036854775808', '2'],
                  'the key is what it is without the option');

-- --- jsonb -------------------------------------------------------------------------------------------------------------

CREATE TABLE docs (id serial PRIMARY KEY, d jsonb);
SELECT webhook_watch('docs', 'doc.created', organization_column => NULL) \g /dev/null
INSERT INTO webhook_configurations (name, url, events) VALUES ('docs', 'https://example.com/', '{doc.*}');
INSERT INTO docs (d) VALUES
    ('null'), ('true'), ('1.50'), ('"a\"b\\\u00e9\n\u0001/"'), ('[]'), ('{}'), ('[[]]'), ('[{}]'), ('{"a": {}}'), ('{"a": []}'), ('[1, [2, [3, null], {}], "x"]'),
    ('{"a": {"b": [1, {"c": false}], "d": null}, "e": [[], {}], "f\t": "g"}'), ('[{"a": 1}, {"b": 2}]'), ('{"a": [1], "b": {"c": {}}, "d": []}');
SELECT webhook_flush() \g /dev/null
SELECT is(e.data::text, format('{"id":%s,"d":%s}', d.id, d.d), 'as jsonb writes it: ' || d.d::text)
FROM docs d LEFT JOIN webhook_events e ON e.event = 'doc.created' AND e.key = d.id::text ORDER BY d.id;

-- --- A cast to json that returns null -----------------------------------------------------------------------------------------

CREATE TYPE span AS RANGE (subtype = integer);
CREATE FUNCTION span_json(span) RETURNS json LANGUAGE sql AS $$SELECT CASE WHEN NOT isempty($1) THEN to_json(lower($1)) END$$;
CREATE CAST (span AS json) WITH FUNCTION span_json(span);
CREATE TABLE spans (id int PRIMARY KEY, s span);
SELECT webhook_watch('spans', 'span.created', organization_column => NULL) \g /dev/null
INSERT INTO webhook_configurations (name, url, events) VALUES ('spans', 'https://example.com/', '{span.*}');
INSERT INTO spans VALUES (1, '[3,5)'), (2, 'empty'), (3, NULL);
SELECT webhook_flush() \g /dev/null
SELECT results_eq($$SELECT data::text FROM webhook_events WHERE event = 'span.created' ORDER BY id$$,
                  ARRAY['{"id":1,"s":3}', '{"id":2,"s":null}', '{"id":3,"s":null}'], 'is null');

-- --- A few bytes whose text would be huge ------------------------------------------------------------------------------------

CREATE TYPE amount_range AS RANGE (subtype = numeric, multirange_type_name = amount_ranges);
CREATE TYPE account AS (name text, amounts numeric[], doc jsonb);
CREATE TABLE huge (
    id int PRIMARY KEY, j jsonb, n numeric[], m nummultirange, r amount_ranges, c account, cs account[], js jsonb[]);
CREATE TABLE huge_text (LIKE huge INCLUDING INDEXES);
SELECT webhook_watch(t, t || e, organization_column => NULL, key_columns => '{id,j}', large_numbers_as_text => t = 'huge_text',
                     include_previous => e = '.updated')
FROM unnest('{huge,huge_text}'::text[]) t, unnest('{.created,.updated,.deleted}'::text[]) e \g /dev/null
INSERT INTO webhook_configurations (name, url, events) VALUES ('huge', 'https://example.com/', '{huge.*,huge_text.*}');
CREATE TEMPORARY VIEW number AS SELECT '1e131071'::numeric AS n;
INSERT INTO huge (id, j) SELECT 1, ('[' || repeat('1e131071,', 9999) || '1]')::jsonb;
INSERT INTO huge (id, n) SELECT 2, array_fill(n, '{9000}') FROM number;
INSERT INTO huge (id, m) SELECT 3, range_agg(numrange((i || 'e131060')::numeric, (i + 1 || 'e131060')::numeric)) FROM generate_series(1, 3000, 2) i;
INSERT INTO huge (id, r) SELECT 4, range_agg(amount_range((i || 'e131060')::numeric, (i + 1 || 'e131060')::numeric)) FROM generate_series(1, 3000, 2) i;
INSERT INTO huge (id, c) SELECT 5, ROW('a', array_fill(n, '{9000}'), NULL)::account FROM number;
INSERT INTO huge (id, cs) SELECT 6, array_fill(ROW('a', array_fill(n, '{100}'), to_jsonb(n))::account, '{100}') FROM number;
INSERT INTO huge (id, js) SELECT 7, array_fill(to_jsonb(n), '{9000}') FROM number;
INSERT INTO huge_text TABLE huge;
UPDATE huge SET j = '1', n = NULL, m = NULL, r = NULL, c = NULL, cs = NULL, js = NULL;
DELETE FROM huge_text;
SELECT webhook_flush() \g /dev/null
SELECT is(count(*) FILTER (WHERE oversized_bytes BETWEEN 1000000 AND 3000000 AND data IS NULL), 7::bigint, 'oversized, and not written: ' || event)
FROM webhook_events WHERE event IN ('huge.created', 'huge_text.created', 'huge_text.deleted') GROUP BY event ORDER BY event;
SELECT is(count(*) FILTER (WHERE data IS NOT NULL OR oversized_bytes < 3000000), 7::bigint, 'so are previous values') FROM webhook_events WHERE event = 'huge.updated';
SELECT ok(max(length(key)) < 100, 'and a key is a digest') FROM webhook_events WHERE event = 'huge.created';

SELECT * FROM finish();
ROLLBACK;
