\unset ECHO
-- Capture in prepared transactions. prepared_1.out is for a server with max_prepared_transactions = 0.
\set QUIET 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = error;
-- A worker that waits behind DROP EXTENSION is to give way first.
SET deadlock_timeout = '10s';

DROP EXTENSION IF EXISTS webhook CASCADE;
DROP SCHEMA IF EXISTS prepared_test CASCADE;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION webhook;
CREATE SCHEMA prepared_test;
SET search_path = prepared_test, public;

SELECT current_setting('max_prepared_transactions')::int > 0 AS can_prepare \gset
\if :can_prepare
SELECT plan(4);
INSERT INTO webhook_configurations (name, url, events) VALUES ('prepared', 'https://127.0.0.1:9999/', '{*}');
CREATE FUNCTION names() RETURNS text LANGUAGE sql
    AS $$ SELECT coalesce(string_agg(data->>'name', ' ' ORDER BY id), '') FROM public.webhook_events $$;
CREATE TABLE contacts (name text);
CREATE TRIGGER created AFTER INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION webhook_capture('contact.created');

BEGIN;
INSERT INTO contacts VALUES ('prepared');
SAVEPOINT s;
INSERT INTO contacts VALUES ('lost');
ROLLBACK TO s;
PREPARE TRANSACTION 'webhook prepared test';
SELECT is(names(), '', 'a prepared transaction shows no event');
INSERT INTO contacts VALUES ('other');
COMMIT PREPARED 'webhook prepared test';
SELECT is(names(), 'prepared other', 'until it is committed');

BEGIN;
INSERT INTO contacts VALUES ('lost');
PREPARE TRANSACTION 'webhook prepared test';
ROLLBACK PREPARED 'webhook prepared test';
SELECT is(names(), 'prepared other', 'one that is rolled back causes none');

BEGIN;
INSERT INTO contacts VALUES ('lost');
CREATE TEMPORARY TABLE prevents_it ();
PREPARE TRANSACTION 'webhook prepared test';
ROLLBACK;
INSERT INTO contacts VALUES ('next');
SELECT is(names(), 'prepared other next', 'nor does one that could not be prepared');
\else
SELECT plan(1);
SELECT skip('max_prepared_transactions is 0', 1);
\endif
SELECT finish();

RESET search_path;
DROP EXTENSION webhook CASCADE;
DROP SCHEMA prepared_test CASCADE;
DROP EXTENSION IF EXISTS pgtap;
