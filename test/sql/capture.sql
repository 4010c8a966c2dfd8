\unset ECHO
-- Capture: which row changes become rows in webhook_events, and what is in them.
\set QUIET 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = error;
-- A worker that waits behind DROP EXTENSION is to give way first.
SET deadlock_timeout = '10s';

DROP EXTENSION IF EXISTS webhook CASCADE;
DROP SCHEMA IF EXISTS capture_test CASCADE;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION webhook;
CREATE SCHEMA capture_test;
SET search_path = capture_test, public;

SELECT plan(72);

-- Nothing is sent: the address is not public.
CREATE FUNCTION add_webhook(organization_id text, events text[], is_active boolean DEFAULT true) RETURNS void LANGUAGE sql
    AS $$ INSERT INTO public.webhook_configurations (organization_id, name, url, events, is_active)
          VALUES ($1, 'capture ' || pg_catalog.gen_random_uuid(), 'https://127.0.0.1:9999/', $2, $3) $$;

-- What was captured since the last forget(), as text, in the order of the changes.
CREATE TABLE seen (until bigint NOT NULL);
INSERT INTO seen VALUES (0);
CREATE FUNCTION forget() RETURNS void LANGUAGE sql
    AS $$ UPDATE capture_test.seen SET until = coalesce((SELECT max(id) FROM public.webhook_events), 0) $$;
CREATE VIEW captured AS
    SELECT id, xid, created_at, event, organization_id, key, data, previous, oversized_bytes
    FROM public.webhook_events WHERE id > (SELECT until FROM seen) ORDER BY id;
CREATE FUNCTION names() RETURNS text LANGUAGE sql
    AS $$ SELECT coalesce(string_agg(data->>'name', ' ' ORDER BY id), '') FROM capture_test.captured $$;

INSERT INTO webhook_event_types (name, category) VALUES ('deal.deleted', 'deal');
CREATE TABLE contacts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id text,
    name text,
    profile json,
    updated_at timestamptz DEFAULT now()
);
CREATE TRIGGER created AFTER INSERT ON contacts FOR EACH ROW
    EXECUTE FUNCTION webhook_capture('contact.created', 'organization_column=organization_id', 'key_columns={id}');
CREATE TRIGGER updated AFTER UPDATE ON contacts FOR EACH ROW
    EXECUTE FUNCTION webhook_capture('contact.updated', 'organization_column=organization_id', 'key_columns={id}',
                                     'ignore_columns={updated_at}');

-- --- Who asks ---------------------------------------------------------------------------------------------------------

INSERT INTO contacts (organization_id, name) VALUES ('acme', 'nobody asks');
SELECT is(count(*), 0::bigint, 'an event that no webhook asks for is not recorded') FROM captured;

SELECT add_webhook('acme', '{contact.*}');
INSERT INTO contacts (organization_id, name) VALUES ('acme', 'first'), ('globex', 'not theirs'), (NULL, 'nobody''s');
SELECT is(names(), 'first', 'a webhook gets the events of its organization, from the next statement on');

SELECT add_webhook('globex', '{contact.created}', is_active => false);
SELECT forget();
INSERT INTO contacts (organization_id, name) VALUES ('globex', 'while it is off');
UPDATE contacts SET name = 'other event' WHERE organization_id = 'globex';
SELECT is(names(), 'while it is off', 'a webhook that is off counts, and only for the events that it names');

SELECT forget();
SELECT add_webhook(NULL, '{*}');
INSERT INTO contacts (organization_id, name) VALUES (NULL, 'without organization'), ('initech', 'unknown organization');
SELECT is(names(), 'without organization', 'a webhook without organization gets the events without one, and only those');

SELECT forget();
BEGIN;
SELECT add_webhook('hooli', '{*}');
INSERT INTO contacts (organization_id, name) VALUES ('hooli', 'in the same transaction');
SELECT webhook_flush();
SELECT is(names(), 'in the same transaction', 'a webhook counts in the transaction that creates it');
ROLLBACK;
INSERT INTO contacts (organization_id, name) VALUES ('hooli', 'after the rollback');
SELECT is(names(), '', 'a webhook that was rolled back counts no more');

BEGIN;
SAVEPOINT s;
SELECT add_webhook('hooli', '{*}');
INSERT INTO contacts (organization_id, name) VALUES ('hooli', 'inside');
ROLLBACK TO s;
INSERT INTO contacts (organization_id, name) VALUES ('hooli', 'after');
COMMIT;
SELECT is(names(), '', 'nor does one whose savepoint was rolled back');

BEGIN;
INSERT INTO contacts (organization_id, name) VALUES ('acme', 'before');
DELETE FROM webhook_configurations;
INSERT INTO contacts (organization_id, name) VALUES ('acme', 'after');
SELECT webhook_flush();
SELECT is(names(), 'before', 'a deleted webhook counts no more');
ROLLBACK;
BEGIN;
INSERT INTO contacts (organization_id, name) VALUES ('acme', 'before');
TRUNCATE webhook_configurations CASCADE;
INSERT INTO contacts (organization_id, name) VALUES ('acme', 'after');
SELECT webhook_flush();
SELECT is(names(), 'before', 'nor does a truncated one');
ROLLBACK;

SET webhook.capture = 'all';
INSERT INTO contacts (organization_id, name) VALUES ('initech', 'all');
SET webhook.capture = 'off';
INSERT INTO contacts (organization_id, name) VALUES ('acme', 'off');
RESET webhook.capture;
SELECT is(names(), 'all', 'webhook.capture = all records what nobody asks for, off records nothing');

-- --- What is an event -------------------------------------------------------------------------------------------------

SELECT forget();
INSERT INTO contacts (organization_id, name, profile) VALUES ('acme', 'ann', '{"a": 1}');
SELECT results_eq('SELECT event, organization_id, data->>''id'' = key FROM captured',
                  $$ VALUES ('contact.created', 'acme', true) $$, 'an event bears its name, organization and key');
SELECT ok(abs(extract(epoch FROM clock_timestamp() - created_at)) < 60, 'and the time of the change') FROM captured;

SELECT forget();
UPDATE contacts SET updated_at = updated_at + '1 hour' WHERE name = 'ann';
UPDATE contacts SET name = name, profile = profile WHERE name = 'ann';
SELECT is(count(*), 0::bigint, 'an UPDATE that changes nothing but ignored columns is no event') FROM captured;
UPDATE contacts SET profile = '{"a":1}' WHERE name = 'ann';
SELECT is(count(*), 1::bigint, 'a change of a json column is, byte by byte') FROM captured;

CREATE TABLE deals (
    organization_id text, region text, number int, stage text, amount numeric, "odd name" text, note text,
    previous int,
    PRIMARY KEY (region, number)
);
CREATE TRIGGER stage AFTER UPDATE ON deals FOR EACH ROW
    EXECUTE FUNCTION webhook_capture('deal.stage.changed', 'organization_column=organization_id',
                                     'key_columns={region,number}', 'changed_columns={stage,"odd name"}');
CREATE TRIGGER deleted AFTER DELETE ON deals FOR EACH ROW
    EXECUTE FUNCTION webhook_capture('deal.deleted', 'organization_column=organization_id', 'key_columns={region,number}',
                                     'include_columns={number,stage,note}', 'exclude_columns={note}');
CREATE TRIGGER updated AFTER INSERT OR UPDATE ON deals FOR EACH ROW
    EXECUTE FUNCTION webhook_capture('deal.updated', 'organization_column=organization_id',
                                     'include_columns={number,stage,"odd name",previous}', 'include_previous=true');
SELECT add_webhook('acme', '{deal.stage.changed}');
INSERT INTO deals VALUES ('acme', 'north', 7, 'new', 10, 'x', NULL);
SELECT forget();
UPDATE deals SET amount = 20;
SELECT is(count(*), 0::bigint, 'changed_columns: a change of another column is no event') FROM captured;
UPDATE deals SET stage = 'won';
UPDATE deals SET "odd name" = NULL;
SELECT is(string_agg(key, ' '), 'north,7 north,7', 'a change of one of them is; several key columns are joined')
FROM captured;

SELECT add_webhook('acme', '{deal.deleted}');
SELECT forget();
DELETE FROM deals;
SELECT is(data::text, '{"number":7,"stage":"won"}', 'a DELETE shows the old row; columns are included and excluded')
FROM captured;

SELECT add_webhook('acme', '{deal.updated}');
SELECT forget();
INSERT INTO deals VALUES ('acme', 'south', 8, 'new');
UPDATE deals SET stage = 'won', "odd name" = 'x', note = 'not sent';
UPDATE deals SET stage = 'lost', "odd name" = NULL, previous = 1;
UPDATE deals SET note = 'a change that is not sent';
SELECT results_eq($$ SELECT data::text, previous::text FROM captured WHERE event = 'deal.updated' $$,
                  $$ VALUES ('{"number":8,"stage":"new","odd name":null,"previous":null}', NULL),
                            ('{"number":8,"stage":"won","odd name":"x","previous":null}', '{"stage":"new","odd name":null}'),
                            ('{"number":8,"stage":"lost","odd name":null,"previous":1}',
                             '{"stage":"won","odd name":"x","previous":null}'),
                            ('{"number":8,"stage":"lost","odd name":null,"previous":1}', '{}') $$,
                  'include_previous shows the old values of the columns sent that an UPDATE changed');
SELECT is(count(*), 1::bigint, 'without it there are none')
FROM captured WHERE event = 'deal.stage.changed' AND data->>'stage' = 'won' AND previous IS NULL;
SELECT ok(bool_and(key ~ '^[a-z]+,8$'), 'without key columns the key is the primary key') FROM captured WHERE event = 'deal.updated';

CREATE TABLE big (id int PRIMARY KEY, organization_id text, body text, n int);
ALTER TABLE big ALTER body SET STORAGE EXTERNAL;
CREATE TRIGGER changed AFTER INSERT OR UPDATE ON big FOR EACH ROW
    EXECUTE FUNCTION webhook_capture('contact.big', 'organization_column=organization_id', 'ignore_columns={n}');
INSERT INTO big VALUES (1, 'acme', repeat('x', 500000), 1);
SELECT forget();
UPDATE big SET n = 2;
SELECT is(count(*), 0::bigint, 'a large value that was not touched has not changed') FROM captured;
UPDATE big SET body = repeat('y', 500000);
SELECT is(length(data->>'body'), 500000, 'one of the same size that was is a change') FROM captured;
CREATE TRIGGER compared AFTER UPDATE ON big FOR EACH ROW
    EXECUTE FUNCTION webhook_capture('contact.compared', 'organization_column=organization_id', 'include_previous=true');
SELECT forget();
UPDATE big SET n = 3;
SELECT is(previous::text, '{"n":2}', 'one that was not touched is not among the previous values')
FROM captured WHERE previous IS NOT NULL;

-- --- The row as JSON --------------------------------------------------------------------------------------------------

CREATE TYPE mood AS ENUM ('sad', 'so "so"');
CREATE TYPE pair AS (a int, b timestamptz);
CREATE DOMAIN score AS numeric(8, 2);
CREATE TYPE fancy;
CREATE FUNCTION fancy_in(cstring) RETURNS fancy LANGUAGE internal STRICT IMMUTABLE AS 'textin';
CREATE FUNCTION fancy_out(fancy) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'textout';
CREATE TYPE fancy (INPUT = fancy_in, OUTPUT = fancy_out, LIKE = text);
CREATE FUNCTION fancy_json(fancy) RETURNS json LANGUAGE sql IMMUTABLE
    AS $$ SELECT pg_catalog.json_build_object('fancy', $1::text) $$;
CREATE CAST (fancy AS text) WITHOUT FUNCTION;
CREATE CAST (fancy AS json) WITH FUNCTION fancy_json(fancy);

CREATE TABLE wide (
    dropped text,
    t text, v varchar(20), c char(5), n name, ch "char",
    b boolean, i2 smallint, i4 int, i8 bigint, o oid,
    f4 real, f8 double precision, num numeric, sc score,
    d date, ts timestamp, tz timestamptz, tm time, ttz timetz, iv interval,
    u uuid, j json, jb jsonb, by bytea, m mood, p pair, fa fancy,
    ta text[], ia int[], tza timestamptz[], pa pair[], m2 int[][],
    r tstzrange, ip inet, bits bit(3), pt point, x xml,
    g text GENERATED ALWAYS AS (upper(t)) STORED,
    "a ""quoted"" \ name" int
);
ALTER TABLE wide DROP COLUMN dropped;
CREATE TRIGGER created AFTER INSERT ON wide FOR EACH ROW EXECUTE FUNCTION webhook_capture('wide.created');

SELECT forget();
SET TimeZone = 'Asia/Kolkata';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'iso_8601';
SET bytea_output = 'escape';
SET extra_float_digits = -5;
INSERT INTO wide VALUES (
    E'tab\t"quote" back\\slash\nline \u00e4\u20ac \x01\x1f', 'var', 'ch', 'na"me', 'q',
    true, -32768, 2147483647, -9223372036854775808, 4294967295,
    0.1, 1e-7, 12345678901234567890.0123456789, 1.5,
    '2024-02-29'::date, '2024-01-15 10:30:00.123456', '2024-01-15 10:30:00.5+02', '23:59:59.9', '12:00+05:30', '1 year 2 mons -3 days 04:05:06.7',
    '6ba7b810-9dad-11d1-80b4-00c04fd430c8', E'{ "a" :\n 1 }', '{"b": [1, 2.50, null, "\u00e4"], "a": {}}', '\xdeadbeef', 'so "so"',
    (1, '2024-01-15 10:30+02'), 'f"x',
    '{a,NULL,"b \"c"}', '{1,2}', '{2024-01-15 10:30+02}', ARRAY[(1, '2024-01-15 10:30+02')::pair, NULL], '{{1,2},{3,4}}',
    '[2024-01-15 10:30+02,2024-01-16 10:30+02)', '10.0.0.0/8', B'101', '(1.5,2)', '<a b="1"/>', DEFAULT, 7);
INSERT INTO wide (f4, f8, num, d, ts, tz) VALUES
    ('NaN', 'Infinity', 'NaN', 'infinity', '-infinity', 'infinity'),
    ('-Infinity', '-Infinity', '-Infinity', '-infinity', '4713-01-01 00:00:00 BC', '0001-12-31 00:00:00+00 BC'),
    (1e30, 1e300, 0.00, '5874897-12-31', '294276-12-31 23:59:59.999999', '1900-01-01 00:00+00'),
    (-0.0, 123456789.123456789, 1e40, '0001-01-01', '2000-01-01', '2000-06-15 12:00:00.000001+00'),
    (NULL, 1, -5, NULL, NULL, NULL);
SELECT is(current_setting('TimeZone') || ' ' || '2024-01-15 10:30+00'::timestamptz::text || ' ' || '\xff'::bytea::text,
          'Asia/Kolkata 15.01.2024 16:00:00 IST \377', 'the session''s settings stay as they were');
RESET TimeZone;
RESET DateStyle;
RESET IntervalStyle;
RESET bytea_output;
RESET extra_float_digits;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SELECT is(c.data::text, w.json, 'a row is written as to_json() does in UTC with default settings: ' || w.row_number)
FROM (SELECT data, row_number() OVER (ORDER BY id) FROM captured) AS c
JOIN (SELECT to_json(wide)::text AS json, row_number() OVER () FROM wide) AS w USING (row_number);

-- An output function or a cast may do anything, even change a row that is captured, or fail.
SELECT forget();
CREATE TABLE nested (name text, fa fancy);
CREATE TRIGGER created AFTER INSERT ON nested FOR EACH ROW EXECUTE FUNCTION webhook_capture('nested.created');
CREATE OR REPLACE FUNCTION fancy_json(fancy) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    IF $1::text = 'fail' THEN RAISE EXCEPTION 'no json today'; END IF;
    INSERT INTO capture_test.contacts (name) VALUES ('inner');
    RETURN '"outer"';
END $$;
INSERT INTO nested VALUES ('outer', 'x');
SELECT is(names(), 'inner outer', 'a cast to json that changes a captured row');
SET IntervalStyle = 'iso_8601';
SELECT throws_ok($$ INSERT INTO nested VALUES ('outer', 'fail') $$, 'P0001', 'no json today', 'an error of a cast is kept');
SELECT is('1 day'::interval::text, 'P1D', 'and the settings are put back after it');
RESET IntervalStyle;

SELECT forget();
DROP CAST (fancy AS json);
INSERT INTO nested VALUES ('no cast', 'x');
CREATE CAST (fancy AS json) WITH FUNCTION fancy_json(fancy);
INSERT INTO nested VALUES ('cast again', 'x');
SELECT is(string_agg(data->>'fa', ' '), 'x outer', 'a cast that comes or goes is noticed')
FROM captured WHERE event = 'nested.created';

SELECT forget();
ALTER TABLE nested ADD COLUMN added int DEFAULT 5;
INSERT INTO nested (name) VALUES ('a');
ALTER TABLE nested DROP COLUMN fa;
INSERT INTO nested (name) VALUES ('b');
SELECT is(string_agg(data::text, ' ' ORDER BY id), '{"name":"a","fa":null,"added":5} {"name":"b","added":5}',
          'a column that comes or goes is noticed')
FROM captured;

SELECT forget();
CREATE TABLE bytes (c "char");
CREATE TRIGGER created AFTER INSERT ON bytes FOR EACH ROW EXECUTE FUNCTION webhook_capture('bytes.created');
INSERT INTO bytes VALUES ((-56)::"char");
SELECT is(convert_from(convert_to(data::text, 'UTF8'), 'UTF8'), data::text, 'a byte that is not UTF-8 does no harm')
FROM captured;

SELECT forget();
INSERT INTO big VALUES (2, 'acme', repeat('z', 2 * 1024 * 1024));
INSERT INTO big VALUES (3, 'acme', repeat(chr(1), 200 * 1024));
SELECT results_eq('SELECT data IS NULL, oversized_bytes > 1024 * 1024 FROM captured', 'VALUES (true, true), (true, true)',
                  'a row above webhook.max_payload is recorded without its text');

SELECT forget();
UPDATE big SET body = repeat('v', 600000) WHERE id = 1;
SELECT results_eq('SELECT event, data IS NULL, previous IS NULL, oversized_bytes > 1024 * 1024 FROM captured ORDER BY event',
                  $$ VALUES ('contact.big', false, true, NULL), ('contact.compared', true, true, true) $$,
                  'the previous values count towards it too');
DROP TRIGGER compared ON big;

-- --- Transactions -----------------------------------------------------------------------------------------------------

SELECT forget();
BEGIN;
INSERT INTO contacts (name) VALUES ('lost');
ROLLBACK;
SELECT is(names(), '', 'a rolled-back change is no event');

BEGIN;
INSERT INTO contacts (name) VALUES ('a');
SAVEPOINT s;
INSERT INTO contacts (name) VALUES ('lost');
ROLLBACK TO s;
INSERT INTO contacts (name) VALUES ('b');
SAVEPOINT t;
INSERT INTO contacts (name) VALUES ('c');
RELEASE t;
SAVEPOINT u;
SAVEPOINT v;
INSERT INTO contacts (name) VALUES ('lost too');
RELEASE v;
ROLLBACK TO u;
COMMIT;
SELECT is(names(), 'a b c', 'a rolled-back savepoint takes its events along, and no others');
SELECT is(count(DISTINCT xid), 1::bigint, 'all events of a transaction bear its xid') FROM captured;

SELECT forget();
BEGIN;
INSERT INTO contacts (name) SELECT 'before' FROM generate_series(1, 10);
SAVEPOINT s;
INSERT INTO contacts (name) SELECT 'inside' FROM generate_series(1, 5000);
ROLLBACK TO s;
COMMIT;
SELECT results_eq($$ SELECT data->>'name', count(*) FROM captured GROUP BY 1 $$, $$ VALUES ('before', 10::bigint) $$,
                  'events from before a savepoint survive its rollback though the buffer was full inside');

SELECT forget();
BEGIN;
INSERT INTO contacts (name) SELECT 'before' FROM generate_series(1, 10);
SAVEPOINT s;
INSERT INTO contacts (name) SELECT 'inside' FROM generate_series(1, 5000);
RELEASE s;
INSERT INTO contacts (name) VALUES ('after');
COMMIT;
SELECT results_eq($$ SELECT data->>'name', count(*), count(DISTINCT xid) FROM captured GROUP BY 1 ORDER BY 1 $$,
                  $$ VALUES ('after', 1::bigint, 1::bigint), ('before', 10, 1), ('inside', 5000, 1) $$,
                  'and all of them exist when it was released');

SELECT forget();
DO $$
BEGIN
    INSERT INTO capture_test.contacts (name) VALUES ('before');
    FOR i IN 1..10000 LOOP
        BEGIN
            INSERT INTO capture_test.contacts (name) VALUES ('block');
            IF i % 2 = 0 THEN RAISE EXCEPTION 'undo'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END $$;
SELECT results_eq($$ SELECT data->>'name', count(*) FROM captured GROUP BY 1 ORDER BY 1 $$,
                  $$ VALUES ('before', 1::bigint), ('block', 5000) $$, '10,000 exception blocks, half of them undone');

SELECT forget();
DO $$
DECLARE
    contact bigint;
BEGIN
    INSERT INTO capture_test.contacts (name) VALUES ('0') RETURNING id INTO contact;
    FOR i IN 1..1500 LOOP
        BEGIN
            UPDATE capture_test.contacts SET name = i WHERE id = contact;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
    UPDATE capture_test.contacts SET name = '1501' WHERE id = contact;
END $$;
SELECT results_eq($$ SELECT (data->>'name')::int FROM captured $$, 'SELECT generate_series(0, 1501)',
                  'ids ascend in the order of the changes, though the blocks beyond the bound write first');

SELECT forget();
BEGIN;
INSERT INTO contacts (name) VALUES ('outer');
SELECT webhook_flush();
SELECT is(names(), 'outer', 'webhook_flush() shows the events before the commit');
SAVEPOINT s;
INSERT INTO contacts (name) VALUES ('inner');
SELECT webhook_flush();
ROLLBACK TO s;
COMMIT;
SELECT is(names(), 'outer', 'and what it has written rolls back with its savepoint');

SELECT forget();
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO contacts (name) VALUES ('serializable');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO contacts (name) VALUES ('repeatable read');
COMMIT;
BEGIN;
INSERT INTO contacts (name) VALUES ('then read only');
SET TRANSACTION READ ONLY;
COMMIT;
SELECT is(names(), 'serializable repeatable read then read only', 'every kind of transaction commits its events');

SELECT forget();
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO capture_test.contacts (name) VALUES ('one');
    COMMIT;
    INSERT INTO capture_test.contacts (name) VALUES ('lost');
    ROLLBACK;
    INSERT INTO capture_test.contacts (name) VALUES ('two');
END $$;
CALL commits();
SELECT is(names(), 'one two', 'a procedure that commits');

SELECT forget();
CREATE TABLE late (name text);
CREATE CONSTRAINT TRIGGER created AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION webhook_capture('late.created');
BEGIN;
INSERT INTO late VALUES ('deferred');
COMMIT;
SELECT is(names(), 'deferred', 'a deferred trigger captures at commit');

-- --- Ways into a table ------------------------------------------------------------------------------------------------

SELECT forget();
COPY contacts (organization_id, name) FROM stdin;
acme	copied
nobody	not asked for
acme	and copied
\.
SELECT is(names(), 'copied and copied', 'COPY');

SELECT forget();
INSERT INTO big VALUES (1, 'acme', 'upsert') ON CONFLICT (id) DO UPDATE SET body = EXCLUDED.body;
INSERT INTO big VALUES (1, 'acme', 'nothing') ON CONFLICT DO NOTHING;
SELECT is(string_agg(data->>'body', ' '), 'upsert', 'INSERT ... ON CONFLICT') FROM captured;

SELECT forget();
CREATE TABLE parts (region text, name text) PARTITION BY LIST (region);
CREATE TABLE parts_north PARTITION OF parts FOR VALUES IN ('north');
CREATE TABLE parts_south (name text, dropped int, region text);
ALTER TABLE parts_south DROP COLUMN dropped;
ALTER TABLE parts ATTACH PARTITION parts_south FOR VALUES IN ('south');
CREATE TRIGGER created AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION webhook_capture('part.created');
CREATE TRIGGER deleted AFTER DELETE ON parts FOR EACH ROW EXECUTE FUNCTION webhook_capture('part.deleted');
INSERT INTO parts VALUES ('north', 'n'), ('south', 's');
UPDATE parts SET region = 'south' WHERE region = 'north';
SELECT results_eq($$ SELECT event, data->>'region', data->>'name' FROM captured ORDER BY event, 2, 3 $$,
                  $$ VALUES ('part.created', 'north', 'n'), ('part.created', 'south', 'n'), ('part.created', 'south', 's'),
                            ('part.deleted', 'north', 'n') $$,
                  'partitions, and a row that moves between them is a DELETE and an INSERT');

SELECT forget();
SELECT webhook_internal.append('own.event', '{"name": "appended"}', NULL, 'k');
SELECT webhook_internal.append('own.event', NULL, NULL, NULL);
SELECT webhook_internal.append('own.event', '{"name": "not asked for"}', 'nobody', NULL);
SELECT results_eq('SELECT event, organization_id, key, data::text FROM captured',
                  $$ VALUES ('own.event', NULL, 'k', '{"name": "appended"}'), ('own.event', NULL, NULL, 'null') $$,
                  'webhook_internal.append() captures an event without a row');
SELECT throws_ok($$ SELECT webhook_internal.append(NULL, '{}', NULL, NULL) $$, '22004', NULL, 'which needs a name');

-- --- Rights -----------------------------------------------------------------------------------------------------------

SELECT forget();
CREATE ROLE webhook_capture_test_app;
GRANT USAGE ON SCHEMA capture_test TO webhook_capture_test_app;
GRANT SELECT, INSERT ON contacts TO webhook_capture_test_app;
SET SESSION AUTHORIZATION webhook_capture_test_app;
SET search_path = '';
INSERT INTO capture_test.contacts (organization_id, name) VALUES ('acme', 'without rights');
SET search_path = public;
SELECT throws_ok('TABLE webhook_events', '42501', NULL, 'the application may not read the events');
SELECT throws_ok('TABLE webhook_events_0', '42501', NULL, 'nor a segment of them');
RESET SESSION AUTHORIZATION;
SET search_path = capture_test, public;
SELECT is(names(), 'without rights', 'an application without any right on our tables has its changes captured');

-- --- Administrators ---------------------------------------------------------------------------------------------------

SELECT forget();
CREATE FUNCTION shout(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN upper($1); END $$;
CREATE INDEX webhook_events_test_idx ON webhook_events (shout(event)) WHERE organization_id IS NOT NULL;
ALTER TABLE webhook_events ADD COLUMN test_column int;
INSERT INTO contacts (organization_id, name) VALUES ('acme', 'indexed');
SET enable_seqscan = off;
SELECT is(count(*), 1::bigint, 'indexes and columns that an administrator has added are filled')
FROM webhook_events WHERE shout(event) = 'CONTACT.CREATED' AND organization_id IS NOT NULL AND data->>'name' = 'indexed'
  AND test_column IS NULL;
SELECT is((SELECT count(*) FROM webhook_events WHERE id = (SELECT max(id) FROM captured)), 1::bigint,
          'as are our own indexes');
RESET enable_seqscan;
DROP INDEX webhook_events_test_idx;
ALTER TABLE webhook_events DROP COLUMN test_column;
INSERT INTO contacts (organization_id, name) VALUES ('acme', 'after the drop');
SELECT is(names(), 'indexed after the drop', 'and are dropped again without harm');

-- --- What is refused --------------------------------------------------------------------------------------------------

CREATE TABLE wrong (id int, name text);
CREATE FUNCTION attach(timing text, level text, VARIADIC arguments text[] DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DROP TRIGGER IF EXISTS wrong ON capture_test.wrong;
    EXECUTE format('CREATE TRIGGER wrong %s INSERT ON capture_test.wrong FOR EACH %s EXECUTE FUNCTION webhook_capture(%s)',
                   timing, level, coalesce((SELECT string_agg(quote_literal(a), ', ') FROM unnest(arguments) AS a), ''));
END $$;
CREATE FUNCTION refusal() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    INSERT INTO capture_test.wrong VALUES (1, 'x');
    RETURN 'nothing was refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || ' ' || message || ' | ' || detail || ' | ' || (hint <> '');
END $$;

SELECT attach('BEFORE', 'ROW', 'contact.created');
SELECT is(refusal(), '39P01 trigger "wrong" calls webhook_capture() otherwise than AFTER ... FOR EACH ROW |  | true',
          'a BEFORE trigger');
SELECT attach('AFTER', 'STATEMENT', 'contact.created');
SELECT is(refusal(), '39P01 trigger "wrong" calls webhook_capture() otherwise than AFTER ... FOR EACH ROW |  | true',
          'a statement trigger');
SELECT attach('AFTER', 'ROW', 'contact.created', 'colour=red');
SELECT matches(refusal(), '^22023 invalid argument of webhook_capture\(\) in trigger "wrong" \| "colour" is none of',
               'an unknown option');
SELECT attach('AFTER', 'ROW', 'contact.created', 'key_columns=id');
SELECT matches(refusal(), '^22023 .*"key_columns" needs a list', 'a list that is none');
SELECT attach('AFTER', 'ROW', 'contact.created', 'include_previous=yes');
SELECT matches(refusal(), '^22023 .*"include_previous" needs true or false', 'a boolean that is none');
SELECT attach('AFTER', 'ROW', 'Contact Created');
SELECT matches(refusal(), '^22023 .*"Contact Created" is no event''s name', 'an event''s name that is none');
SELECT attach('AFTER', 'ROW');
SELECT matches(refusal(), '^22023 .*the event''s name, is missing', 'no argument at all');
SELECT throws_ok('SELECT webhook_capture()', '39P01', NULL, 'a call that is no trigger''s');
SELECT is(count(*), 0::bigint, 'none of them changed the table') FROM wrong;

-- --- The extension goes -----------------------------------------------------------------------------------------------

SELECT add_webhook(NULL, '{*}');
BEGIN;
INSERT INTO contacts (name) VALUES ('goes with it');
DROP EXTENSION webhook CASCADE;
COMMIT;
SELECT hasnt_table('public', 'webhook_events', 'a transaction that captures and drops the extension commits');

CREATE EXTENSION webhook;
CREATE TRIGGER created AFTER INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION webhook_capture('contact.created');
INSERT INTO webhook_configurations (name, url, events) VALUES ('new', 'https://127.0.0.1:9999/', '{*}');
BEGIN;
INSERT INTO contacts (name) VALUES ('kept');
SAVEPOINT s;
DROP EXTENSION webhook CASCADE;
ROLLBACK TO s;
COMMIT;
SELECT is(data->>'name', 'kept', 'one that takes the drop back keeps its events; a new extension starts afresh')
FROM webhook_events;

SELECT finish();

SET client_min_messages = error;
RESET search_path;
DROP EXTENSION webhook CASCADE;
DROP SCHEMA capture_test CASCADE;
DROP ROLE webhook_capture_test_app;
DROP EXTENSION IF EXISTS pgtap;
