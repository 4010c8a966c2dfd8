\unset ECHO
-- A webhook that another session creates counts from the next statement on, in whatever the transaction is doing.
\set QUIET 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = error;

DROP EXTENSION IF EXISTS webhook CASCADE;
DROP SCHEMA IF EXISTS subscriptions_test CASCADE;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS dblink;
CREATE EXTENSION webhook;
CREATE SCHEMA subscriptions_test;
SET search_path = subscriptions_test, public;

SELECT plan(8);

CREATE TABLE contacts (name text);
CREATE TRIGGER created AFTER INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION webhook_capture('contact.created');

-- The other session. Nothing is sent: the address is not public.
SELECT dblink_connect('other', format('dbname=%s host=%s port=%s', quote_literal(current_database()),
                                      quote_literal(split_part(current_setting('unix_socket_directories'), ',', 1)),
                                      current_setting('port'))) \g /dev/null
CREATE FUNCTION subscribe() RETURNS text LANGUAGE sql AS $$
    SELECT dblink_exec('other', $other$INSERT INTO public.webhook_configurations (name, url, events)
                                       VALUES ('other', 'https://127.0.0.1:9999/', '{contact.*}')$other$) $$;
CREATE FUNCTION unsubscribe() RETURNS text LANGUAGE sql AS $$
    SELECT dblink_exec('other', 'DELETE FROM public.webhook_configurations') $$;

-- What the transactions since the last call captured.
CREATE TABLE seen (id bigint);
CREATE FUNCTION names() RETURNS text LANGUAGE sql AS $$
    WITH fresh AS (SELECT id, data->>'name' AS name FROM public.webhook_events WHERE id NOT IN (SELECT id FROM seen)),
         noted AS (INSERT INTO seen SELECT id FROM fresh)
    SELECT coalesce(string_agg(name, ' ' ORDER BY id), '') FROM fresh $$;

BEGIN ISOLATION LEVEL READ COMMITTED;
INSERT INTO contacts VALUES ('before');
SELECT subscribe() \g /dev/null
INSERT INTO contacts VALUES ('after');
COMMIT;
SELECT is(names(), 'after', 'READ COMMITTED: noticed by the next statement');
BEGIN ISOLATION LEVEL READ COMMITTED;
INSERT INTO contacts VALUES ('before');
SELECT unsubscribe() \g /dev/null
INSERT INTO contacts VALUES ('after');
COMMIT;
SELECT is(names(), 'before', 'and so is the end of a subscription');

BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO contacts VALUES ('before');
SELECT subscribe() \g /dev/null
INSERT INTO contacts VALUES ('after');
SELECT is((SELECT count(*) FROM webhook_configurations), 0::bigint, 'REPEATABLE READ: the transaction does not see it');
COMMIT;
SELECT is(names(), 'after', 'but it counts');
SELECT unsubscribe() \g /dev/null

BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO contacts VALUES ('before');
SELECT subscribe() \g /dev/null
INSERT INTO contacts VALUES ('after');
COMMIT;
SELECT is(names(), 'after', 'SERIALIZABLE: it counts');
SELECT unsubscribe() \g /dev/null

DO $$
BEGIN
    FOR i IN 1..6 LOOP
        IF i = 3 THEN PERFORM subscribe(); END IF;
        IF i = 5 THEN PERFORM unsubscribe(); END IF;
        INSERT INTO contacts VALUES ('turn' || i);
    END LOOP;
END
$$;
SELECT is(names(), 'turn3 turn4', 'a DO loop: noticed by the next turn''s statement');

PREPARE insert_contact (text) AS INSERT INTO contacts VALUES ($1);
BEGIN;
EXECUTE insert_contact('before');
SELECT subscribe() \g /dev/null
EXECUTE insert_contact('after');
SELECT unsubscribe() \g /dev/null
EXECUTE insert_contact('gone');
COMMIT;
SELECT is(names(), 'after', 'a prepared statement: noticed by its next execution');

INSERT INTO contacts VALUES ('never');
SELECT is(names(), '', 'without a subscription there is no event');

SELECT * FROM finish();
SELECT dblink_disconnect('other') \g /dev/null
DROP EXTENSION webhook CASCADE;
DROP SCHEMA subscriptions_test CASCADE;
DROP EXTENSION dblink;
RESET search_path;
DROP EXTENSION IF EXISTS pgtap;
