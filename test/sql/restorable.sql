-- The condition of an event comes back from a dump as it was, or webhook_watch() refuses it. What pg_dump writes is the
-- trigger's definition as it reads with an empty search_path.
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
CREATE SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
SET search_path = public, ext, tap;
SET webhook.capture = 'all';
SELECT plan(67);

CREATE FUNCTION is_vip(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$SELECT $1 LIKE '%VIP%'$$;
CREATE TYPE stage AS ENUM ('open', 'won');
CREATE DOMAIN any_case AS citext;
CREATE TABLE t (id int PRIMARY KEY, name text, short varchar(10), padded char(10), n numeric, folded citext, domained any_case,
                attrs hstore, stage stage, tags text[], doc jsonb, at timestamptz);

-- "refused: " and why; else whether an UPDATE that changes all columns, and one that changes but the case of the letters, are
-- events: of the trigger as it was declared, and as a dump restores it.
CREATE FUNCTION pg_temp.fate(condition text, changed_columns name[] DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    detail text;
    definition text;
BEGIN
    PERFORM hooks.webhook_watch('t', 't.updated', condition => condition, organization_column => NULL,
                                changed_columns => changed_columns);
    FOR i IN 1 .. 2 LOOP
        INSERT INTO t VALUES (1, 'a', 'a', 'a', 1, 'a', 'a', 'a=>1', 'open', '{a}', '{"a":1}', now());
        UPDATE t SET name = 'A', short = 'A', padded = 'A', folded = 'A', domained = 'A';
        UPDATE t SET name = 'VIP', short = 'b', padded = 'b', n = 7, folded = 'b', domained = 'b', attrs = 'a=>2', stage = 'won',
                     tags = '{b}', doc = '{"a":2}', at = at + '1 h';
        DELETE FROM t;
        PERFORM hooks.webhook_flush();
        result := concat_ws(', then ', result, (SELECT coalesce(string_agg(e.data ->> 'name', ' ' ORDER BY e.id), 'nothing')
                                               FROM hooks.webhook_events e));
        DELETE FROM hooks.webhook_events;
        PERFORM set_config('search_path', '', true);
        SELECT pg_catalog.pg_get_triggerdef(g.oid) INTO definition FROM pg_catalog.pg_trigger g
        WHERE g.tgrelid = 'public.t'::regclass AND g.tgname = 'webhook_t_updated';
        DROP TRIGGER webhook_t_updated ON public.t;
        EXECUTE definition;
        PERFORM set_config('search_path', 'public, ext, tap', true);
    END LOOP;
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDNE';
EXCEPTION
    WHEN SQLSTATE 'UNDNE' THEN RETURN result;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        RETURN format('%s: %s: %s', SQLSTATE, SQLERRM, detail);
END
$$;

-- Of PostgreSQL's own types everything survives.
SELECT is(pg_temp.fate(condition), fate || ', then ' || fate, condition)
FROM (VALUES
    ('OLD.name IS DISTINCT FROM NEW.name', 'A VIP'), ('OLD.* IS DISTINCT FROM NEW.*', 'A VIP'),
    ('OLD.n IS DISTINCT FROM NEW.n', 'VIP'), ('NEW.n > 5', 'VIP'), ('NEW.n IN (5, 7)', 'VIP'), ('NEW.n BETWEEN 5 AND 9', 'VIP'),
    ('NEW.short = ''b''', 'VIP'), ('NEW.short IN (''b'', ''c'')', 'VIP'), ('NEW.short NOT IN (''b'', ''c'')', 'A'),
    ('NEW.padded = ''b''', 'VIP'), ('NEW.padded IN (''b'', ''c'')', 'VIP'), ('NEW.padded::text = ''b''', 'VIP'),
    ('NULLIF(NEW.name, ''A'') IS NULL', 'A'), ('CASE NEW.name WHEN ''A'' THEN true ELSE false END', 'A'),
    ('coalesce(NEW.short, ''x'') <> ''A''', 'VIP'), ('greatest(OLD.n, NEW.n) > 5', 'VIP'), ('NEW.name LIKE ''V%''', 'VIP'),
    ('NEW.name ILIKE ''a''', 'A'), ('NEW.name SIMILAR TO ''V(I|P)+''', 'VIP'), ('NEW.name COLLATE "C" > ''B''', 'VIP'),
    ('(OLD.n, OLD.name) < (NEW.n, NEW.name)', 'VIP'), ('(OLD.n, OLD.name) <> (NEW.n, NEW.name)', 'A VIP'),
    ('is_vip(NEW.name)', 'VIP'), ('OLD.stage IS DISTINCT FROM NEW.stage', 'VIP'), ('NEW.stage = ''won''', 'VIP'),
    ('NEW.stage IN (''won'')', 'VIP'), ('NEW.stage::text = ''won''', 'VIP'), ('OLD.tags IS DISTINCT FROM NEW.tags', 'VIP'),
    ('''b'' = ANY (NEW.tags)', 'VIP'), ('NEW.tags && ARRAY[''b'']', 'VIP'), ('OLD.doc IS DISTINCT FROM NEW.doc', 'VIP'),
    ('NEW.doc @> ''{"a":2}''', 'VIP'), ('(NEW.doc ->> ''a'')::int = 2', 'VIP'), ('NEW.at > OLD.at + interval ''1 minute''', 'VIP'),
    ('extract(epoch FROM NEW.at - OLD.at) > 0', 'VIP'), ('NEW.at AT TIME ZONE ''UTC'' > ''2000-01-01''', 'A VIP'),
    ('NEW.name IS NOT NULL AND NOT (NEW.n = 7)', 'A'), ('true', 'A VIP'),
    -- Of an extension's: what names its operator.
    ('OLD.folded <> NEW.folded', 'VIP'), ('NEW.folded = ''B''', 'VIP'), ('NEW.folded IN (''B'')', 'VIP'),
    ('NEW.folded LIKE ''B''', 'VIP'), ('OLD.folded::text IS DISTINCT FROM NEW.folded::text', 'A VIP'),
    ('OLD.folded OPERATOR(ext.<>) NEW.folded', 'VIP'), ('NEW.domained = ''B''', 'VIP'), ('lower(NEW.folded) = ''b''', 'VIP'),
    ('OLD.attrs <> NEW.attrs', 'VIP'), ('NEW.attrs -> ''a'' = ''2''', 'VIP'), ('NEW.attrs @> ''a=>2''', 'VIP'),
    ('OLD.attrs::text IS DISTINCT FROM NEW.attrs::text', 'VIP')) c (condition, fate);
SELECT is(pg_temp.fate('true', '{attrs}'), 'VIP, then VIP', 'changed_columns survives');

-- What names none.
SELECT matches(pg_temp.fate(condition), '^42P17: pg_dump could not restore the condition: ' || detail, condition)
FROM (VALUES
    ('OLD.attrs IS DISTINCT FROM NEW.attrs', 'PostgreSQL would say: operator does not exist: ext.hstore = ext.hstore'),
    ('NOT (OLD.attrs IS NOT DISTINCT FROM NEW.attrs)', 'PostgreSQL would say: '),
    ('NEW.n > 0 AND (NEW.n > 1 OR OLD.attrs IS DISTINCT FROM NEW.attrs)', 'PostgreSQL would say: '),
    ('NULLIF(NEW.attrs, ''a=>1'') IS NULL', 'PostgreSQL would say: '),
    ('CASE NEW.attrs WHEN ''a=>1'' THEN true ELSE false END', 'PostgreSQL would say: '),
    ('OLD.folded IS DISTINCT FROM NEW.folded', 'It would come back with other operators'),
    ('OLD.domained IS DISTINCT FROM NEW.domained', 'It would come back with other operators'),
    ('NULLIF(NEW.folded, ''A'') IS NULL', 'It would come back with other operators'),
    ('CASE NEW.folded WHEN ''B'' THEN true ELSE false END', 'It would come back with other operators')) c (condition, detail);
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass), 0::bigint, 'what is refused leaves nothing behind');
SELECT is(current_setting('search_path'), 'public, ext, tap', 'nor another search_path');

-- Partitioned tables.
CREATE TABLE parts (id int, attrs hstore) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
SELECT throws_ok($$SELECT hooks.webhook_watch('parts', 'p.updated', condition => 'OLD.attrs IS DISTINCT FROM NEW.attrs',
                                              organization_column => NULL)$$, '42P17', NULL, 'of partitioned tables too');
SELECT lives_ok($$SELECT hooks.webhook_watch('parts', 'p.updated', condition => 'OLD.attrs <> NEW.attrs',
                                             organization_column => NULL)$$, 'and what survives is declared');

-- webhook_watch_crm() declares what survives, and compares as the types do.
CREATE TABLE deals (id int PRIMARY KEY, organization_id text, assigned_to hstore, stage citext, updated_at timestamptz);
CREATE TABLE messages (id int PRIMARY KEY, organization_id text, direction citext, status any_case);
SELECT lives_ok('SELECT hooks.webhook_watch_crm()', 'webhook_watch_crm() takes columns of any type');
INSERT INTO deals VALUES (1, 'acme', NULL, 'Open'), (2, 'acme', 'a=>1', NULL);
INSERT INTO messages VALUES (1, 'acme', 'Inbound', NULL), (2, 'acme', 'OUTBOUND', 'Sent');
DELETE FROM hooks.webhook_events;
SELECT hooks.webhook_flush() \g /dev/null
SELECT bag_eq($$SELECT event, key FROM hooks.webhook_events WHERE event !~ '(created|updated)$'$$,
              $$VALUES ('deal.assigned', '2'), ('message.received', '1'), ('message.sent', '2')$$, 'values are compared as citext');
DELETE FROM hooks.webhook_events;
UPDATE deals SET stage = 'OPEN' WHERE id = 1;
UPDATE deals SET stage = 'new', assigned_to = 'a=>1' WHERE id = 2;
UPDATE deals SET stage = NULL, assigned_to = 'a=>2' WHERE id = 2;
UPDATE messages SET status = 'SENT' WHERE id = 2;
UPDATE messages SET status = 'READ' WHERE id = 2;
SELECT hooks.webhook_flush() \g /dev/null
SELECT bag_eq($$SELECT event, key FROM hooks.webhook_events WHERE event !~ '(created|updated)$'$$,
              $$VALUES ('deal.stage.changed', '2'), ('deal.stage.changed', '2'), ('deal.assigned', '2'), ('message.read', '2')$$,
              'and so are changes');

SELECT * FROM finish();
ROLLBACK;
