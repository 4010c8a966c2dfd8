-- Triggers are not inherited: rows of a table that inherits from a watched one are no events, until these are declared on it
-- too. CREATE TABLE, ALTER TABLE, webhook_watch() and webhook_check() say so.
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
SELECT plan(6);

CREATE TABLE parent (id int PRIMARY KEY);
SELECT hooks.webhook_watch('parent', 't.created', organization_column => NULL),
       hooks.webhook_watch('parent', 't.updated', organization_column => NULL) \g /dev/null
INSERT INTO hooks.webhook_configurations (name, url, events) VALUES ('all', 'https://example.com/', '{t.*}');
CREATE FUNCTION pg_temp.findings() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' / ', c.severity, c.finding, c.hint)
    FROM hooks.webhook_configurations w, hooks.webhook_check(w.id) c WHERE c.finding LIKE '%inherit%'
$$;
SELECT is_empty('SELECT pg_temp.findings()', 'without children there is nothing to say');

SET client_min_messages = notice;
\echo A child is told of.
CREATE TABLE child () INHERITS (parent);
\echo So is one that comes to inherit, and a child of a child.
CREATE TABLE adopted (id int NOT NULL);
ALTER TABLE adopted INHERIT parent;
CREATE TABLE grandchild () INHERITS (child);
DO $$ BEGIN CREATE TABLE "odd child" () INHERITS (child); END $$;
\echo Not if it was not made, nor with LIKE, nor of a table that is not watched, nor a partition.
CREATE TABLE IF NOT EXISTS parent () INHERITS (child);
CREATE TABLE alike (LIKE parent);
CREATE TABLE other (id int);
CREATE TABLE of_other () INHERITS (other);
CREATE TABLE parts (id int) PARTITION BY LIST (id);
SELECT hooks.webhook_watch('parts', 'p.created', organization_column => NULL) \g /dev/null
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
ALTER TABLE adopted NO INHERIT parent;

\echo Declared on the child.
SELECT hooks.webhook_watch('child', 't.created', organization_column => NULL) \g /dev/null
\echo What is declared on a parent.
SELECT hooks.webhook_watch('parent', 't.deleted', organization_column => NULL) \g /dev/null
\echo That of the grandchild that is missing.
ALTER TABLE grandchild NO INHERIT child;
SELECT hooks.webhook_watch('grandchild', 't.created', organization_column => NULL),
       hooks.webhook_watch('grandchild', 't.deleted', organization_column => NULL) \g /dev/null
ALTER TABLE grandchild INHERIT child;
SET client_min_messages = error;

SELECT bag_eq('SELECT pg_temp.findings()', $$VALUES
    ('warning / rows of public."odd child" do not cause t.created: it inherits from public.parent, but triggers are not '
     'inherited / SELECT webhook_watch(...) for the table too.'),
    ('warning / rows of public."odd child" do not cause t.created: it inherits from public.child, but triggers are not '
     'inherited / SELECT webhook_watch(...) for the table too.'),
    ('warning / rows of public.child, public.grandchild, public."odd child" do not cause t.updated: they inherit from '
     'public.parent, but triggers are not inherited / SELECT webhook_watch(...) for the tables too.'),
    ('warning / rows of public.child, public."odd child" do not cause t.deleted: they inherit from public.parent, but '
     'triggers are not inherited / SELECT webhook_watch(...) for the tables too.')$$, 'webhook_check() lists them');

INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (2);
INSERT INTO "odd child" VALUES (3);
INSERT INTO grandchild VALUES (4);
UPDATE parent SET id = id + 10;
SELECT hooks.webhook_flush() \g /dev/null
SELECT bag_eq('SELECT event, data ->> ''id'' FROM hooks.webhook_events',
              $$VALUES ('t.created', '1'), ('t.created', '2'), ('t.created', '4'), ('t.updated', '11')$$, 'and so it is');
SELECT hooks.webhook_unwatch('parent', e) FROM unnest('{t.created,t.updated,t.deleted}'::text[]) e \g /dev/null
SELECT is((SELECT count(*) FROM pg_temp.findings()), 1::bigint, 'a child may be a parent');
DROP TABLE "odd child";
SELECT is_empty('SELECT pg_temp.findings()', 'when all is declared there is nothing more to say');
SELECT lives_ok('CREATE TABLE later () INHERITS (child)', 'nothing is refused');

SELECT * FROM finish();
ROLLBACK;
