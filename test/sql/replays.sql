-- webhook_replays: replays that are started, listed and cancelled by webhook_api, by whom, of whose webhooks, and how many.
-- test/t/025_replays.pl has what the worker makes of them. In one transaction, rolled back.
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
SELECT plan(78);

CREATE ROLE regress_webhook_none;
CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage'),
       hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier)
VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, 1);
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events)
VALUES ('00000000-0000-0000-0000-00000000000a', 'acme', 'a', 'https://acme.example/', '{contact.*}'),
       ('00000000-0000-0000-0000-00000000000b', 'acme', 'b', 'https://acme.example/b', '{*}'),
       ('00000000-0000-0000-0000-000000000010', 'globex', 'g', 'https://globex.example/', '{*}'),
       ('00000000-0000-0000-0000-000000000020', NULL, 'n', 'https://example.com/', '{*}');
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
SELECT 0, i, '3', now() - interval '1 h', 'contact.created', CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END, '{}'
FROM generate_series(11, 30) i;

-- As a role that acts for an organization: the result, or the SQLSTATE and what is said.
CREATE FUNCTION pg_temp.call(role text, organization text, call text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    result json;
BEGIN
    PERFORM set_config('request.jwt.claims', json_build_object('organization_id', organization, 'sub', 'ada')::text, true),
            set_config('role', 'regress_webhook_' || role, true);
    EXECUTE 'SELECT to_json(c) FROM ' || call || ' c' INTO result;
    PERFORM set_config('role', 'none', true), set_config('request.jwt.claims', '', true);
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN to_jsonb(SQLSTATE || ': ' || SQLERRM);
END
$$;
CREATE FUNCTION pg_temp.start(role text, organization text, webhook text, rest text DEFAULT '') RETURNS jsonb LANGUAGE sql AS $$
    SELECT pg_temp.call(role, organization, format('webhook_api.replay(%L, %s)', '00000000-0000-0000-0000-0000000000' || webhook,
        CASE WHEN rest LIKE '%since%' THEN rest ELSE '''-infinity''' || rest END))
$$;
CREATE FUNCTION pg_temp.listed(role text, organization text, webhook text, rest text DEFAULT '') RETURNS jsonb LANGUAGE sql AS $$
    SELECT pg_temp.call(role, organization, format('webhook_api.replays(%L%s)', '00000000-0000-0000-0000-0000000000' || webhook, rest))
$$;

-- --- started ---------------------------------------------------------------------------------------------------------

SELECT is(pg_temp.start('manage', 'acme', '0a', ', dry_run => true'), '{"count": 10, "is_complete": true, "counted_to": null}',
          'a dry run counts');
SELECT is_empty('SELECT FROM hooks.webhook_replays', 'and starts nothing');
SELECT pg_temp.start('manage', 'acme', '0a', $$, events => '{contact.*}', only_failed => true$$) ->> 'job' AS job \gset
SELECT is((SELECT (configuration_id, configuration_created_at, organization_id, since, events, only_failed, state, reason, progress,
                   examined, queued, role, session_role, subject, started_at, ended_at, place)::text FROM hooks.webhook_replays),
          (SELECT (id, created_at, organization_id, '-infinity'::timestamptz, '{contact.*}'::text[], true, 'waiting', NULL::text, 0, 0, 0,
                   'regress_webhook_manage', session_user, 'ada', NULL::text, NULL::text, 1)::text
           FROM hooks.webhook_configurations WHERE name = 'a'), 'a replay is a row that says who asked for what');
SELECT is((SELECT (first_event_id, last_event_id, position)::text FROM hooks.webhook_replays), '(11,30,10)',
          'with the events that are stored');
SELECT ok((SELECT pg_visible_in_snapshot('3', snapshot) FROM hooks.webhook_replays), 'and the snapshot in which it was asked for');
SELECT is_empty('SELECT FROM hooks.webhook_deliveries', 'it makes nothing pending itself');
SELECT isnt_empty($$SELECT FROM hooks.webhook_changes WHERE configuration_id = '00000000-0000-0000-0000-00000000000a' AND NOT is_deleted$$,
                  'and tells the worker');
SELECT is((pg_temp.listed('manage', 'acme', '0a') #> '{replays,0}') - '{until,requested_at}'::text[], jsonb_build_object(
              'id', :'job', 'webhook', '00000000-0000-0000-0000-00000000000a', 'state', 'waiting', 'reason', NULL, 'since', '-infinity',
              'events', '["contact.*"]'::jsonb, 'only_failed', true, 'progress_percent', 0, 'examined', 0, 'queued', 0,
              'oldest_event_at', NULL, 'newest_event_at', NULL, 'user', 'regress_webhook_manage', 'subject', 'ada', 'started_at', NULL,
              'ended_at', NULL), 'replays() shows it');
SELECT is(pg_temp.listed('manage', 'acme', '0b'), '{"replays": [], "next": null}', 'of each webhook its own');

-- --- who may ---------------------------------------------------------------------------------------------------------

SELECT is(left(pg_temp.start(role, 'acme', '0a') #>> '{}', 5), '42501', role || ' may not start one')
FROM unnest(ARRAY['none', 'read']) role;
SELECT is(left(pg_temp.call(role, 'acme', format('webhook_api.cancel_replay(%s)', :'job')) #>> '{}', 5), '42501', 'or cancel one')
FROM unnest(ARRAY['none', 'read']) role;
SELECT is(jsonb_array_length(pg_temp.listed('read', 'acme', '0a') -> 'replays'), 1, 'read lists them');
SELECT is(left(pg_temp.listed(role, 'globex', '0a') #>> '{}', 5), 'PT404', format('%s of another organization does not', role)),
       is(left(pg_temp.call(role, 'globex', 'webhook_internal.describe_replays(ARRAY[' || :'job' || '])') #>> '{}', 9), '[]', 'in no way')
FROM unnest(ARRAY['read', 'manage']) role;
SELECT is(left(pg_temp.start('manage', 'globex', '0a') #>> '{}', 5), 'PT404', 'another organization starts none');
SELECT is(pg_temp.call('manage', 'globex', format('webhook_api.cancel_replay(%s)', :'job')) #>> '{}',
          format('PT404: replay %s does not exist, or belongs to another organization', :'job'), 'and cancels none');
SELECT is(pg_temp.call('manage', 'globex', format('webhook_internal.cancel_replay_tenant(%s)', :'job')) #>> '{}',
          format('42704: replay %s does not exist, or belongs to another organization', :'job'), 'nor by the function behind');
SELECT is(left(pg_temp.call('manage', 'globex', $$webhook_internal.start_replay_tenant('00000000-0000-0000-0000-00000000000a',
          '-infinity', 'infinity', NULL, false)$$) #>> '{}', 5), '42704', 'or starts one');
SELECT is(left(pg_temp.call('manage', 'acme', $$webhook_internal.start_replay_operator('00000000-0000-0000-0000-00000000000a',
          '-infinity', 'infinity', NULL, false)$$) #>> '{}', 5), '42501', 'what is for operators'),
       is(left(pg_temp.call('manage', 'acme', format('webhook_internal.cancel_replay_operator(%s)', :'job')) #>> '{}', 5), '42501', 'is for them');
SELECT is(left(pg_temp.call(role, 'acme', '(SELECT ' || name || ' FROM hooks.webhook_replays)') #>> '{}', 5), '42501',
          format('%s does not see %s, by which it could count the events of others', role, name))
FROM unnest(ARRAY['read', 'manage']) role, unnest(ARRAY['position', 'snapshot', 'last_event_id']) name;
SELECT is(pg_temp.call('operate', NULL, format('webhook_api.cancel_replay(%s)', pg_temp.start('operate', NULL, '20') ->> 'job')) -> 'cancelled',
          'true', 'an operator replays what is nobody''s, and cancels it');
SELECT is((SELECT role::text FROM hooks.webhook_replays WHERE organization_id IS NULL), 'regress_webhook_operate', 'as the row says');

-- --- cancelled -------------------------------------------------------------------------------------------------------

SELECT is(c -> 'cancelled', 'true', 'a tenant cancels its own'), is(c #>> '{replay,state}', 'cancelled', 'it is cancelled at once'),
       ok(c #>> '{replay,ended_at}' IS NOT NULL, 'and has ended')
FROM pg_temp.call('manage', 'acme', format('webhook_api.cancel_replay(%s)', :'job')) c;
SELECT is(pg_temp.call('manage', 'acme', format('webhook_api.cancel_replay(%s)', :'job')) -> 'cancelled', 'false', 'once');
SELECT is(left(pg_temp.call('manage', 'acme', 'webhook_api.cancel_replay(' || id || ')') #>> '{}', 5), state, 'not ' || id)
FROM (VALUES ('NULL', '22004'), ('0', 'PT404'), ('9223372036854775807', 'PT404')) c (id, state);

-- --- limits ----------------------------------------------------------------------------------------------------------

SELECT is_empty($$SELECT FROM generate_series(1, 10) i WHERE pg_temp.start('manage', 'acme', CASE WHEN i % 2 = 0 THEN '0a' ELSE '0b' END)
                  ->> 'job' IS NULL$$, 'an organization has ten');
SELECT is(pg_temp.start('manage', 'acme', '0a') #>> '{}', 'PT409: organization "acme" cannot have more than 10 replays that are not ended',
          'not eleven');
SELECT isnt(pg_temp.start('manage', 'globex', '10') ->> 'job', NULL, 'another organization may start one');
SELECT pg_temp.call('manage', 'acme', 'webhook_api.cancel_replay(' || (SELECT max(id) FROM hooks.webhook_replays
    WHERE organization_id = 'acme') || ')') \g /dev/null
SELECT isnt(pg_temp.start('manage', 'acme', '0a') ->> 'job', NULL, 'where one is cancelled another finds its place');
SELECT is(pg_temp.start('operate', NULL, '0a') #>> '{}', 'PT409: organization "acme" cannot have more than 10 replays that are not ended',
          'operators are counted as well');
SELECT is(jsonb_array_length(pg_temp.listed('manage', 'acme', '0a', ', page_size => 3') -> 'replays'), 3, 'a page has as many as are asked for');
SELECT ok((pg_temp.listed('manage', 'acme', '0a', format(', before => %L, page_size => 3', l ->> 'next')) #>> '{replays,0,id}')::bigint
          < (l ->> 'next')::bigint, 'the next one goes on')
FROM pg_temp.listed('manage', 'acme', '0a', ', page_size => 3') l;
UPDATE hooks.webhook_replays SET state = 'done', ended_at = now() WHERE ended_at IS NULL;
INSERT INTO hooks.webhook_replays (configuration_id, configuration_created_at, organization_id, since, until, only_failed, state, role,
                                   session_role, ended_at, place, snapshot, first_event_id, last_event_id, position)
SELECT id, created_at, organization_id, now(), now(), false, 'done', 'r', 'r', now(), 1, pg_current_snapshot(), 1, 1, 1
FROM hooks.webhook_configurations, generate_series(1, 250) WHERE name IN ('a', 'g');
SELECT pg_temp.start('manage', 'acme', '0a') ->> 'job' AS job \gset
SELECT is((SELECT count(*) FROM hooks.webhook_replays WHERE organization_id = 'acme' AND ended_at IS NOT NULL), 200::bigint,
          'of an organization''s ended replays the newest 200 stay');
SELECT cmp_ok((SELECT count(*) FROM hooks.webhook_replays WHERE organization_id = 'globex'), '>', 250::bigint, 'and all of another''s');

-- --- refused ---------------------------------------------------------------------------------------------------------

UPDATE hooks.webhook_configurations SET is_active = false WHERE name = 'b';
SELECT is(pg_temp.start('manage', 'acme', '0b') #>> '{}', 'PT409: webhook "b" is switched off', 'an inactive webhook has none');
SELECT is(left(pg_temp.start('manage', 'acme', '0a', rest) #>> '{}', 5), '22023', 'nor is there one with' || rest)
FROM (VALUES ('since => NULL'), ('since => now(), until => now() - interval ''1 s'''), (', events => ''{}'''), (', events => ''{Not.A.Name}''')) r (rest);
CREATE OR REPLACE FUNCTION webhook_internal.deliveries_max() RETURNS integer LANGUAGE sql AS 'SELECT 1000';
SELECT hooks.webhook_replay('00000000-0000-0000-0000-00000000000a', '-infinity') \g /dev/null
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at, state)
SELECT 1000 + i, id, created_at, 'acme', 'contact.created', now(), 'dead' FROM hooks.webhook_configurations, generate_series(1, 990) i
WHERE name = 'a';
SELECT is(pg_temp.start('manage', 'acme', '0a') #>> '{}',
          'PT409: organization "acme" cannot have more than 1000 deliveries that are pending or dead', 'or where there is no room');
DELETE FROM hooks.webhook_configurations WHERE name = 'a';
SELECT is(pg_temp.listed('manage', 'acme', '0a') #>> '{replays,0,id}', :'job', 'a deleted webhook''s replays are still shown');
SELECT throws_ok($$UPDATE hooks.webhook_replays SET state = 'failed' WHERE ended_at IS NULL$$, '23514', NULL,
                 'what has not ended has no end');

-- --- counted ---------------------------------------------------------------------------------------------------------

-- What a dry run says: how many, and whether that is all. Of b, which takes all events.
CREATE FUNCTION pg_temp.counted(rest text DEFAULT '', role text DEFAULT 'manage') RETURNS text LANGUAGE sql AS $$
    SELECT coalesce((c.of ->> 'count') || CASE WHEN (c.of ->> 'is_complete')::boolean THEN '' ELSE ' or more' END, c.of #>> '{}')
    FROM (SELECT pg_temp.start(role, 'acme', '0b', rest || ', dry_run => true')) c (of)
$$;
SELECT is(pg_temp.counted(rest), expected, 'counted: ' || ltrim(rest, ', '))
FROM (VALUES ('', '10'), (', events => ''{deal.*}''', '0'), (', events => ''{contact.*}''', '10'), (', only_failed => true', '0'),
             (', until => now() - interval ''1 h''', '0'), ('since => now() - interval ''1 h''', '10'),
             ('since => now() - interval ''59 min''', '0'), (', until => ''-infinity''', '0'), (', until => ''infinity''', '10'),
             (', until => ''294276-12-31 23:59:59.5Z''', '10')) r (rest, expected);
SELECT is(pg_temp.counted('', 'operate'), '10', 'an operator counts the events of the webhook''s organization, too');
INSERT INTO webhook_internal.saved_events (event_id, xid, created_at, event, organization_id, data, bytes)
VALUES (1, '3', now() - interval '2 days', 'contact.created', 'acme', '{"id": 1}', 10),
       (2, '3', now() - interval '2 days', 'contact.created', 'globex', '{}', 10),
       (12, '3', now() - interval '1 h', 'contact.created', 'acme', '{}', 10);
SELECT is(pg_temp.counted(), '11', 'with what is saved, each event once');
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at, state, slot)
SELECT i, id, created_at, 'acme', 'contact.created', now() - interval '1 h', state, slot
FROM hooks.webhook_configurations, (VALUES (1, 'dead', NULL), (14, 'dead', 0), (16, 'pending', 0), (5, 'dead', 0)) d (i, state, slot)
WHERE name = 'b';
SELECT is(pg_temp.counted(', only_failed => true'), '2', 'of what was given up, that whose event is stored');
UPDATE hooks.webhook_configurations SET filter = '$.id > 0' WHERE name = 'b';
SELECT is(pg_temp.counted(), '1', 'what the filter lets pass');
UPDATE hooks.webhook_configurations SET filter = NULL WHERE name = 'b';
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
SELECT 0, 100 + i, '3', now() - interval '10 min', 'contact.created', 'globex', '{}' FROM generate_series(1, 30000) i;
SELECT is(pg_temp.counted(), '0 or more', 'the newest 30,000 events are read, whoever they belong to'),
       is((pg_temp.start('manage', 'acme', '0b', ', dry_run => true') ->> 'counted_to')::timestamptz, now() - interval '10 min',
          'with the time that it got to');
SELECT is(pg_temp.counted(', until => now() - interval ''30 min'''), '11', 'the newest of the time that was asked for'),
       is(pg_temp.counted('since => now() - interval ''5 min'''), '0', 'beyond which nothing is missing');
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
SELECT 0, 50000 + i, '3', now() - interval '1 min', 'contact.created', 'acme', '{"id": 1}' FROM generate_series(1, 1100) i;
SELECT is(pg_temp.counted(), '1100 or more', 'without a filter all that was read counts');
UPDATE hooks.webhook_configurations SET filter = '$.id > 0' WHERE name = 'b';
SELECT is(pg_temp.counted(), '1000 or more', 'with a filter 1,000');
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at, state)
SELECT 100000 + i, id, created_at, 'acme', 'contact.created', now(), 'dead' FROM hooks.webhook_configurations, generate_series(1, 10000) i
WHERE name = 'b';
SELECT is(pg_temp.counted(', only_failed => true'), '0 or more', 'of dead deliveries 10,000'),
       is((SELECT dead FROM hooks.webhook_stats WHERE name = 'b'), 10000::bigint, 'and webhook_stats counts 10,000 of them');

SELECT * FROM finish();
ROLLBACK;
