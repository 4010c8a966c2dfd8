-- webhook_watch_crm(): for each of the 17 events the changes that cause it, and near misses that do not.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
\getenv inputdir PG_ABS_SRCDIR
\getenv outputdir PG_ABS_BUILDDIR
\setenv CRM_FROM :inputdir/../examples/crm.sql
\setenv CRM_TO :outputdir/results/crm_tables.sql
\set tables :outputdir/results/crm_tables.sql
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
CREATE SCHEMA crm;
SET search_path = crm, tap;
-- Without its own BEGIN and COMMIT.
\! grep -vxE '(BEGIN|COMMIT);' "$CRM_FROM" > "$CRM_TO"
\i :tables
SELECT plan(67);

CREATE FUNCTION pg_temp.refusal(statement text, OUT state text, OUT message text, OUT detail text, OUT hint text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                            hint = PG_EXCEPTION_HINT;
END
$$;

-- What it refuses, and that nothing is left of the attempt.
SELECT is((refusal).message, 'column "priority" of table crm.deals does not exist', 'an unknown column is an error'),
       alike((refusal).detail, 'It was given as deal_stage_column. The columns are: id, %', 'that names it'),
       is((refusal).state, '42703', 'and has its SQLSTATE')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch_crm(deal_stage_column => 'priority')$$) refusal;
SELECT is((pg_temp.refusal($$SELECT hooks.webhook_watch_crm(organization_column => 'tenant')$$)).message,
          'column "tenant" of table crm.contacts does not exist', 'so is an unknown organization column');
SELECT is((pg_temp.refusal($$SELECT hooks.webhook_watch_crm(message_status_column => NULL)$$)).message,
          'message_status_column must not be null', 'a column must be named');
SELECT is((pg_temp.refusal($$SELECT hooks.webhook_watch_crm(contacts => 'crm.people')$$)).state, '42P01',
          'a table that is given must be there');
CREATE VIEW people AS SELECT * FROM contacts;
SELECT is((pg_temp.refusal($$SELECT hooks.webhook_watch_crm(contacts => 'people')$$)).state, '42809',
          'and be a table');
DROP VIEW people;
-- The last table of all lacks a column: what was written before goes with it.
ALTER TABLE zoom_recordings RENAME organization_id TO tenant_id;
SELECT is((pg_temp.refusal('SELECT hooks.webhook_watch_crm()')).message,
          'column "organization_id" of table crm.zoom_recordings does not exist', 'each table needs its columns');
ALTER TABLE zoom_recordings RENAME tenant_id TO organization_id;
SELECT is((SELECT count(*) FROM hooks.webhook_watches), 0::bigint, 'nothing is half-created');

-- What it declares.
CREATE TEMPORARY TABLE declared AS SELECT * FROM hooks.webhook_watch_crm();
SELECT set_eq('SELECT DISTINCT event FROM declared', 'SELECT name FROM hooks.webhook_event_types WHERE is_builtin AND category <> ''webhook''',
              'all 17 events are declared');
SELECT set_eq('SELECT source, event, trigger_name FROM declared',
              'SELECT source, event, trigger_name FROM hooks.webhook_watches', 'it returns the triggers');
CREATE FUNCTION pg_temp.versions() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', oid, ctid), ' ' ORDER BY oid) FROM pg_trigger
    WHERE tgfoid = 'hooks.webhook_capture()'::regprocedure
$$;
SELECT pg_temp.versions() AS versions \gset
SELECT set_eq('SELECT * FROM hooks.webhook_watch_crm()', 'SELECT * FROM declared', 'calling it again returns the same');
SELECT is(pg_temp.versions(), :'versions', 'and does nothing');

-- What fires. Nothing is sent: this transaction is rolled back.
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events)
VALUES ('acme', 'all', 'https://example.com/', '{*}');
CREATE FUNCTION pg_temp.events_of(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
BEGIN
    PERFORM hooks.webhook_flush();
    SELECT coalesce(max(id), 0) INTO last FROM hooks.webhook_events;
    EXECUTE change;
    PERFORM hooks.webhook_flush();
    RETURN coalesce((SELECT string_agg(event, ' ' ORDER BY event) FROM hooks.webhook_events WHERE id > last), '');
END
$$;
CREATE FUNCTION pg_temp.fires(change text, expected text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT is(pg_temp.events_of(change), expected, change)
$$;

SELECT pg_temp.fires($$INSERT INTO contacts (organization_id, name) VALUES ('acme', 'Ada')$$, 'contact.created');
SELECT pg_temp.fires($$INSERT INTO contacts (organization_id, name, assigned_to) VALUES ('acme', 'Eve', 'Bob')$$,
                     'contact.assigned contact.created');
SELECT pg_temp.fires($$INSERT INTO contacts (organization_id, name) VALUES ('globex', 'not ours')$$, '');
SELECT pg_temp.fires($$UPDATE contacts SET phone = '1' WHERE name = 'Ada'$$, 'contact.updated');
SELECT pg_temp.fires($$UPDATE contacts SET phone = '1' WHERE name = 'Ada'$$, '');
SELECT pg_temp.fires($$UPDATE contacts SET updated_at = now() + interval '1 s' WHERE name = 'Ada'$$, '');
SELECT pg_temp.fires($$UPDATE contacts SET assigned_to = 'Bob' WHERE name = 'Ada'$$, 'contact.assigned contact.updated');
SELECT pg_temp.fires($$UPDATE contacts SET assigned_to = 'Bob' WHERE name = 'Ada'$$, '');
SELECT pg_temp.fires($$UPDATE contacts SET assigned_to = 'Cy' WHERE name = 'Ada'$$, 'contact.assigned contact.updated');
SELECT pg_temp.fires($$UPDATE contacts SET assigned_to = NULL WHERE name = 'Ada'$$, 'contact.updated');
SELECT pg_temp.fires($$UPDATE contacts SET name = 'Ada King' WHERE name = 'Ada'$$, 'contact.updated');
SELECT pg_temp.fires($$DELETE FROM contacts WHERE name = 'Eve'$$, '');

SELECT pg_temp.fires($$INSERT INTO deals (organization_id, title) VALUES ('acme', 'engine')$$, 'deal.created');
SELECT pg_temp.fires($$INSERT INTO deals (organization_id, title, stage, assigned_to)
                       VALUES ('acme', 'loom', 'won', 'Bob')$$, 'deal.assigned deal.created');
SELECT pg_temp.fires($$UPDATE deals SET amount = 5 WHERE title = 'engine'$$, 'deal.updated');
SELECT pg_temp.fires($$UPDATE deals SET stage = 'won' WHERE title = 'engine'$$, 'deal.stage.changed deal.updated');
SELECT pg_temp.fires($$UPDATE deals SET stage = 'won' WHERE title = 'engine'$$, '');
SELECT pg_temp.fires($$UPDATE deals SET stage = 'lost', assigned_to = 'Cy'$$,
                     'deal.assigned deal.assigned deal.stage.changed deal.stage.changed deal.updated deal.updated');
SELECT pg_temp.fires($$UPDATE deals SET assigned_to = NULL WHERE title = 'engine'$$, 'deal.updated');

SELECT pg_temp.fires($$INSERT INTO conversations (organization_id, channel) VALUES ('acme', 'sms')$$,
                     'conversation.created');
SELECT pg_temp.fires($$INSERT INTO conversations (organization_id, channel, assigned_to) VALUES ('acme', 'chat', 'Bob')$$,
                     'conversation.assigned conversation.created');
SELECT pg_temp.fires($$UPDATE conversations SET assigned_to = 'Cy' WHERE channel = 'sms'$$, 'conversation.assigned');
SELECT pg_temp.fires($$UPDATE conversations SET assigned_to = NULL WHERE channel = 'sms'$$, '');
SELECT pg_temp.fires($$UPDATE conversations SET status = 'closed' WHERE channel = 'sms'$$,
                     'conversation.status.changed');
SELECT pg_temp.fires($$UPDATE conversations SET status = 'closed', updated_at = '2000-01-01' WHERE channel = 'sms'$$, '');
SELECT pg_temp.fires($$UPDATE conversations SET channel = 'email' WHERE channel = 'sms'$$, '');

SELECT pg_temp.fires($$INSERT INTO messages (organization_id, direction, status, body)
                       VALUES ('acme', 'inbound', 'received', 'in')$$, 'message.received');
SELECT pg_temp.fires($$INSERT INTO messages (organization_id, direction, status, body)
                       VALUES ('acme', 'outbound', 'queued', 'out')$$, '');
SELECT pg_temp.fires(format($$INSERT INTO messages (organization_id, direction, status, body)
                       VALUES ('acme', 'outbound', %L, 'at once')$$, s), 'message.' || s)
FROM unnest(ARRAY['sent', 'delivered', 'read', 'failed']) s;
SELECT pg_temp.fires(format($$UPDATE messages SET status = %L WHERE body = 'out'$$, s), 'message.' || s)
FROM unnest(ARRAY['sent', 'delivered', 'read', 'failed']) s;
SELECT pg_temp.fires($$UPDATE messages SET status = 'failed', error = 'again' WHERE body = 'out'$$, '');
SELECT pg_temp.fires($$UPDATE messages SET status = 'queued' WHERE body = 'out'$$, '');
SELECT pg_temp.fires($$UPDATE messages SET status = 'read' WHERE body = 'in'$$, '');
SELECT pg_temp.fires($$UPDATE messages SET direction = 'outbound' WHERE body = 'in'$$, '');
SELECT pg_temp.fires($$INSERT INTO messages (organization_id, direction, status, body)
                       VALUES ('acme', 'inbound', 'failed', 'odd')$$, 'message.received');

SELECT pg_temp.fires($$INSERT INTO broadcast_responses (organization_id, broadcast, response)
                       VALUES ('acme', 'news', 'yes')$$, 'broadcast.response');
SELECT pg_temp.fires($$UPDATE broadcast_responses SET response = 'no'$$, '');

SELECT pg_temp.fires($$INSERT INTO zoom_recordings (organization_id, meeting_id) VALUES ('acme', '1')$$, '');
SELECT pg_temp.fires($$INSERT INTO zoom_recordings (organization_id, meeting_id, status)
                       VALUES ('acme', '2', 'completed')$$, 'zoom.recording.completed');
SELECT pg_temp.fires($$UPDATE zoom_recordings SET status = 'completed' WHERE meeting_id = '1'$$,
                     'zoom.recording.completed');
SELECT pg_temp.fires($$UPDATE zoom_recordings SET duration_s = 5$$, '');
SELECT pg_temp.fires($$UPDATE zoom_recordings SET status = 'failed'$$, '');

-- Another CRM: leads for deals, other names, enums, no organizations, and tables that are missing.
CREATE SCHEMA other;
SET search_path = other, tap;
CREATE TYPE outcome AS ENUM ('queued', 'sent');
CREATE TABLE leads (id int PRIMARY KEY, "the Stage" int, owner int, touched_at timestamptz);
CREATE TABLE mail (id int PRIMARY KEY, direction text, outcome outcome);
-- The expected output has the NOTICE.
SET client_min_messages = notice;
SELECT FROM hooks.webhook_watch_crm(messages => 'mail', organization_column => NULL,
    deal_stage_column => 'the Stage', deal_assigned_column => 'owner', message_status_column => 'outcome',
    updated_column => 'touched_at', broadcast_responses => NULL) \g /dev/null
SET client_min_messages = error;
SELECT is((SELECT string_agg(DISTINCT event, ' ' ORDER BY event) FROM hooks.webhook_watches
           WHERE source IN ('leads'::regclass, 'mail'::regclass)),
          'deal.assigned deal.created deal.stage.changed deal.updated message.delivered message.failed message.read '
          'message.received message.sent', 'leads are taken for deals, what is missing is left out');
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events)
VALUES (NULL, 'none', 'https://example.com/', '{*}');
SELECT pg_temp.fires('INSERT INTO leads VALUES (1, 1, 1)', 'deal.assigned deal.created');
SELECT pg_temp.fires('UPDATE leads SET "the Stage" = NULL', 'deal.stage.changed deal.updated');
SELECT pg_temp.fires('UPDATE leads SET touched_at = now()', '');
SELECT pg_temp.fires($$INSERT INTO mail VALUES (1, 'outbound', 'sent')$$, 'message.sent');
SELECT is((SELECT array_agg(DISTINCT organization_column) FROM hooks.webhook_watches WHERE source = 'leads'::regclass),
          '{NULL}', 'without organizations');

SELECT * FROM finish();
ROLLBACK;
