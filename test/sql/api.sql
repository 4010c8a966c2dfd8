-- The schema webhook_api: each function that the catalog lists is called by each level, and answers in the shape and with
-- the errors that docs/api.md promises. test/sql/border.sql tries the same functions across the border between tenants.
-- In one transaction, rolled back.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
\getenv inputdir PG_ABS_SRCDIR
\setenv SOURCE :inputdir/..
BEGIN;
SET client_min_messages = error;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
SET search_path = public, tap;
SELECT plan(276);

CREATE ROLE regress_webhook_none;
CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage'),
       hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null

-- What the call returns to the role, or the error: {"state", "message", "detail", "hint"}. What it did is undone, unless it
-- is kept.
CREATE FUNCTION pg_temp.call(role text, organization text, call text, keep boolean DEFAULT false) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    result json;
    state text; message text; detail text; hint text;
BEGIN
    PERFORM set_config('request.jwt.claims', json_build_object('organization_id', organization)::text, true);
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    EXECUTE 'SELECT webhook_api.' || call INTO result;
    PERFORM set_config('role', 'none', true);
    PERFORM set_config('request.jwt.claims', '', true);
    IF NOT keep THEN
        RAISE EXCEPTION 'undone' USING ERRCODE = 'UNDNE';
    END IF;
    RETURN result;
EXCEPTION
    WHEN SQLSTATE 'UNDNE' THEN
        RETURN result;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                                hint = PG_EXCEPTION_HINT;
        RETURN jsonb_build_object('state', state, 'message', message, 'detail', detail, 'hint', hint);
END
$$;

-- a and b of acme, g of globex, n of none. Events 2, 4, ... 20 of acme, 1, 3, ... 19 of globex; each was tried twice.
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier)
VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, 1);
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, secret, headers) VALUES
    ('00000000-0000-0000-0000-00000000000a', 'acme', 'a', 'https://example.com:8443/a?token=path', '{contact.*}',
     'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', '{"X-Key": "a hidden value"}'),
    ('00000000-0000-0000-0000-00000000000b', 'acme', 'b', 'https://other.example/b', '{deal.created}', NULL, '{}'),
    ('00000000-0000-0000-0000-000000000010', 'globex', 'g', 'https://globex.example/', '{*}', 'the secret of globex', '{}'),
    ('00000000-0000-0000-0000-000000000020', NULL, 'n', 'https://example.com/n', '{*}', NULL, '{}');
UPDATE hooks.webhook_configurations SET is_active = false, disabled_reason = 'as it was asked' WHERE name = 'b';
SELECT setval('hooks.webhook_logs_id_seq', 500) \g /dev/null
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, key, data)
SELECT 0, i, pg_current_xact_id(), now() - interval '1 h' + i * interval '1 s', 'contact.created',
       CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END, 'key ' || i, json_build_object('amount', i, 'of', 'a hidden datum')
FROM generate_series(1, 20) i;
INSERT INTO hooks.webhook_logs (id, slot, created_at, configuration_id, organization_id, event_id, event, attempt, status,
                                response_status, response_body, error, duration_ms, remote_ip, next_attempt_at)
SELECT n * 100 + i, 0, now() - interval '1 h' + i * interval '1 s' + n * interval '30 s',
       CASE WHEN i % 2 = 0 THEN '00000000-0000-0000-0000-00000000000a' ELSE '00000000-0000-0000-0000-000000000010' END::uuid,
       CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END, i, 'contact.created', n,
       CASE n WHEN 1 THEN 'failed' ELSE 'success' END, CASE n WHEN 1 THEN 500 ELSE 200 END, '<script>alert(1)</script>',
       CASE n WHEN 1 THEN 'HTTP status 500' END, 12.5, '203.0.113.7',
       CASE n WHEN 1 THEN now() - interval '1 h' + i * interval '1 s' + 2 * interval '30 s' END
FROM generate_series(1, 2) n, generate_series(1, 20) i;
INSERT INTO hooks.webhook_logs (id, slot, created_at, configuration_id, organization_id, event_id, event, attempt, status)
VALUES (300, 0, now(), '00000000-0000-0000-0000-00000000000a', 'acme', -7, 'webhook.test', 1, 'success');
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, key,
                                      created_at, state, attempts, next_attempt_at, last_error, slot)
SELECT i, '00000000-0000-0000-0000-00000000000a', now(), 'acme', 'contact.created', 'key ' || i, now() - interval '1 h',
       CASE WHEN i % 4 = 0 THEN 'dead' ELSE 'pending' END, 2, CASE WHEN i % 4 <> 0 THEN now() + i * interval '1 s' END,
       'HTTP status 500', 0 FROM generate_series(2, 20, 2) i;
INSERT INTO hooks.webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute, attempts,
                                   successes, durations)
SELECT '00000000-0000-0000-0000-00000000000a',
       extract(epoch FROM date_trunc('minute', now()) - date_trunc('day', now(), 'UTC')) / 60, now(), 'acme',
       date_trunc('minute', now()), 10, 5, array_fill(0, ARRAY[20]) || 10 || array_fill(0, ARRAY[27]);
-- This hour, one of 80 days ago, and one that is out of date.
INSERT INTO hooks.webhook_hours (configuration_id, slot, configuration_created_at, organization_id, hour, attempts,
                                 successes, durations, unjudged, events, statuses)
SELECT '00000000-0000-0000-0000-00000000000a', webhook_internal.hour_slot(h.hour + h.turn), now(), 'acme', h.hour, 10, 5,
       array_fill(0, ARRAY[20]) || 10 || array_fill(0, ARRAY[27]), 0, h.events, h.statuses
FROM (VALUES (date_trunc('hour', now(), 'UTC'), interval '0', '{"contact.created": [10, 5]}'::jsonb, '{"200": [5, 5], "500": [5, 0]}'::jsonb),
             (date_trunc('hour', now(), 'UTC') - interval '80 days', '0', '{"contact.created": [4, 4], "contact.updated": [6, 1]}', '{"200": [5, 5], "0": [5, 0]}'),
             (date_trunc('hour', now(), 'UTC') - interval '100 days', '7 days', '{"deal.created": [10, 5]}', '{"404": [10, 5]}')) h (hour, turn, events, statuses);
INSERT INTO hooks.webhook_endpoints (configuration_id, configuration_created_at, organization_id, circuit_opened_at,
                                     next_probe_at, failing_since, last_failure_at, last_error)
VALUES ('00000000-0000-0000-0000-00000000000a', now(), 'acme', now(), now() + interval '40 s', now(), now(), 'HTTP status 500');
INSERT INTO hooks.webhook_replays (id, configuration_id, configuration_created_at, organization_id, since, until, only_failed, role,
                                   session_role, place, snapshot, first_event_id, last_event_id, position)
SELECT CASE organization_id WHEN 'acme' THEN 902 ELSE 903 END, id, created_at, organization_id, '-infinity', now(), false,
       organization_id, organization_id, 1, pg_current_snapshot(), 1, 20, 0
FROM hooks.webhook_configurations WHERE name IN ('a', 'g');
CREATE TABLE contacts (id int PRIMARY KEY, organization_id text);
SELECT hooks.webhook_watch('contacts', 'contact.created') \g /dev/null

-- --- every function, at every level ----------------------------------------------------------------------------------

-- A call by acme that succeeds, and the members of its answer.
CREATE TABLE calls (name text PRIMARY KEY, call text NOT NULL, members text[] NOT NULL);
INSERT INTO calls VALUES
    ('session', 'session()', '{now,user,organization,level,can,organizations,database,version,server,defaults,limits}'),
    ('check', 'check()', '{findings,is_complete}'),
    ('webhooks', 'webhooks()', '{now,webhooks,next}'),
    ('webhook', 'webhook(''00000000-0000-0000-0000-00000000000a'')', '{now,webhook,summary,findings}'),
    ('save', 'save(''{"name": "new", "url": "https://example.com/", "events": ["contact.*"]}'')', '{webhook,secret}'),
    ('delete', 'delete(''00000000-0000-0000-0000-00000000000a'')', '{deleted,pending}'),
    ('validate', 'validate(''{"name": "a"}'')', '{problems}'),
    ('reveal', 'reveal(''00000000-0000-0000-0000-00000000000a'')', '{secret}'),
    ('rotate', 'rotate(''00000000-0000-0000-0000-00000000000a'')', '{secret,old_secret_until}'),
    ('history', 'history(''00000000-0000-0000-0000-00000000000a'')', '{changes,next}'),
    ('event_types', 'event_types()', '{categories}'),
    ('watches', 'watches()', '{watches}'),
    ('match_count', 'match_count(''{contact.*}'')', '{since,searched,is_complete,matched,by_event,unjudged}'),
    ('try_filter', 'try_filter(''$.amount > 15'')', '{tried,matched,events}'),
    ('logs', 'logs()', '{now,logs,next,searched_to}'),
    ('attempt', 'attempt(104)', '{now,attempt,changed_since,attempts,attempts_max,delivery,request,curl}'),
    ('pending', 'pending(''00000000-0000-0000-0000-00000000000a'')', '{now,deliveries,next}'),
    ('series', 'series()', '{step_s,points,searched_to,is_complete}'),
    ('breakdown', 'breakdown()', '{by_event,by_status,searched_to}'),
    ('redeliver', 'redeliver(''{104}'')', '{redelivered,problems}'),
    ('replay', 'replay(''00000000-0000-0000-0000-00000000000a'', ''-infinity'')', '{job}'),
    ('replays', 'replays(''00000000-0000-0000-0000-00000000000a'')', '{replays,next}'),
    ('cancel_replay', 'cancel_replay(902)', '{cancelled,replay}'),
    -- No worker runs here: test/t/021_test_function.pl.
    ('test', 'test(''00000000-0000-0000-0000-00000000000a'')', '{state,message,detail,hint}'),
    ('cancel', 'cancel(''00000000-0000-0000-0000-00000000000a'')', '{cancelled}'),
    ('pause', 'pause(''for the test'')', '{server}'),
    ('resume', 'resume()', '{server}'),
    ('explain', 'explain(4)', '{event,webhooks,is_complete}'),
    ('find', 'find(key => ''key 4'')', '{events,searched_to}'),
    ('verify', 'verify(''body'', ''a long secret'', ''{}'')', '{is_valid,steps}');

-- What docs/api.md says of each: | `name(parameters)` | level | ... |
CREATE TEMPORARY TABLE lines (place serial, line text);
\copy lines (line) FROM PROGRAM 'cat "$SOURCE/docs/api.md"' WITH (DELIMITER E'\x01', FORMAT csv, QUOTE E'\x02')
CREATE TABLE documented AS
    SELECT f[1] AS name, regexp_replace(f[2], ' = [^,)]+', '', 'g') AS parameters, m[2] AS level
    FROM lines, regexp_match(line, '^\| (`[a-z_]+\([^`]*\)`(?:, `[a-z_]+\([^`]*\)`)*) \| (read|manage|operate) \|') m,
         regexp_matches(m[1], '`([a-z_]+)\(([^`]*)\)`', 'g') f;
CREATE TABLE functions AS
    SELECT p.proname::text AS name, coalesce(array_to_string(p.proargnames, ', '), '') AS parameters, p.oid, p.prosecdef,
           p.prorettype
    FROM pg_proc p WHERE p.pronamespace = 'webhook_api'::regnamespace;
SELECT is_empty('SELECT name FROM functions WHERE name NOT IN (SELECT name FROM calls)',
                'every function of webhook_api is called (add a new one to the table "calls")');
SELECT is_empty('SELECT name FROM calls WHERE name NOT IN (SELECT name FROM functions)', 'and each that is called exists');
SELECT is_empty($$SELECT name, parameters FROM functions EXCEPT SELECT name, parameters FROM documented$$,
                'docs/api.md has each function with its parameters');
SELECT is_empty($$SELECT f.name FROM functions f JOIN pg_proc p ON p.oid = f.oid
                  WHERE p.prolang <> 12 AND NOT coalesce(p.proconfig @> '{jit=off}', false)$$,
                'compiling a plan would take longer than any of them');
SELECT is_empty($$SELECT name FROM functions WHERE prosecdef OR prorettype <> 'json'::regtype$$,
                'each runs as its caller and returns json');
CREATE TABLE answers AS
    SELECT c.name, c.members, d.level, r.role, r.place >= array_position('{read,manage,operate}', d.level) AS is_permitted,
           pg_temp.call(r.role, 'acme', c.call) AS answer
    FROM calls c JOIN documented d USING (name),
         unnest(ARRAY['none', 'read', 'manage', 'operate']) WITH ORDINALITY o (role, ordinal),
         LATERAL (SELECT o.role, o.ordinal - 1 AS place) r;
SELECT is_empty($$
    SELECT name, role, answer FROM answers WHERE (answer ->> 'state' IS NOT DISTINCT FROM '42501') = is_permitted
$$, 'each level may call what docs/api.md says, and nothing else');
SELECT is_empty($$
    SELECT name, role, answer FROM answers
    WHERE is_permitted AND (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(answer) k)
                           IS DISTINCT FROM (SELECT array_agg(m ORDER BY m) FROM unnest(members) m)
$$, 'and gets an answer with the members that it says');
SELECT is_empty($$
    SELECT name, role FROM answers
    WHERE role = 'read' AND answer::text ~ 'a hidden|MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw|X-Key'
$$, 'level read sees no data, no header and no secret');
SELECT is_empty($$
    SELECT name, role FROM answers
    WHERE name NOT IN ('reveal', 'try_filter', 'attempt') AND answer::text ~ 'a hidden|MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
$$, 'others see them only where they ask for them');
SELECT is_empty($$
    SELECT name, role FROM answers WHERE role IN ('read', 'manage') AND answer::text LIKE '%globex%'
$$, 'nobody but an operator sees another organization');

-- --- ids of another organization -------------------------------------------------------------------------------------

CREATE TABLE foreign_ids AS
    SELECT c.call, replace(replace(replace(replace(c.call, 'HOOK', '''00000000-0000-0000-0000-000000000010'''), 'LOG', '103'),
                           'EVENT', '3'), 'JOB', '903') AS of_globex,
           replace(replace(replace(replace(c.call, 'HOOK', '''00000000-0000-0000-0000-0000000000ff'''), 'LOG', '9999'),
                   'EVENT', '9999'), 'JOB', '9999') AS of_nobody
    FROM unnest(ARRAY['webhook(HOOK)', 'save(''{"name": "x"}'', HOOK)', 'delete(HOOK)', 'validate(''{}'', HOOK)', 'reveal(HOOK)',
                      'rotate(HOOK)', 'history(HOOK)', 'replay(HOOK, ''-infinity'')', 'replays(HOOK)', 'cancel_replay(JOB)', 'test(HOOK)', 'logs(HOOK)', 'logs(HOOK, after => 1)', 'attempt(LOG)', 'pending(HOOK)',
                      'pending(HOOK, event_id => EVENT)', 'series(HOOK)', 'breakdown(HOOK)', 'cancel(HOOK)',
                      'cancel(HOOK, EVENT)', 'explain(EVENT)']) c (call);
CREATE TABLE foreign_answers AS
    SELECT call, pg_temp.call('manage', 'acme', of_globex) AS of_globex, pg_temp.call('manage', 'acme', of_nobody) AS of_nobody FROM foreign_ids;
SELECT is_empty($$SELECT call, of_globex FROM foreign_answers WHERE of_globex ->> 'state' IS DISTINCT FROM 'PT404'$$,
                'ids of another organization do not exist');
SELECT is_empty($$
    SELECT call FROM foreign_answers
    WHERE regexp_replace(of_globex::text, '[0-9a-f-]{36}|\m[0-9]+\M', '', 'g')
          IS DISTINCT FROM regexp_replace(of_nobody::text, '[0-9a-f-]{36}|\m[0-9]+\M', '', 'g')
$$, 'and are told from ids of nobody by nothing');
SELECT is_empty($$
    SELECT call, pg_temp.call('operate', NULL, of_globex) FROM foreign_ids
    WHERE call <> 'test(HOOK)' AND pg_temp.call('operate', NULL, of_globex) ? 'state'
$$, 'an operator may give them');
SELECT is(pg_temp.call('manage', 'acme', 'pending(event_id => 3)') -> 'deliveries', '[]', 'nor is there a delivery of their event');
SELECT is(pg_temp.call('manage', 'acme', 'redeliver(''{103, 104}'')'),
          '{"redelivered": 1, "problems": [{"log_id": "103", "message": "log row 103 does not exist, or belongs to another organization"}]}',
          'redeliver says which ids are none, and sends the others');
SELECT is(pg_temp.call('manage', 'acme', 'redeliver(''{104, 204, 106}'')'), '{"redelivered": 3, "problems": []}',
          'several attempts of a webhook are asked for at once, also two of one event');
SAVEPOINT gone;
UPDATE hooks.webhook_events SET data = NULL WHERE id = 8;
SELECT is(pg_temp.call('manage', 'acme', 'redeliver(''{104, 108, 300}'')') #- '{problems,1,message}', '{"redelivered": 1,
          "problems": [{"log_id": "108", "message": "event 8 is not stored"}, {"log_id": "300"}]}',
          'one event that is not stored does not keep the others of its webhook from being sent');
ROLLBACK TO gone;
SELECT is_empty($$
    SELECT c FROM unnest(ARRAY['webhooks', 'check', 'logs', 'series', 'breakdown', 'match_count', 'try_filter', 'find']) c
    WHERE replace(pg_temp.call('manage', 'acme', CASE c WHEN 'try_filter' THEN 'try_filter(''$'', organization => ''globex'')'
              WHEN 'find' THEN 'find(key => ''key 4'', organization => ''globex'')' ELSE c || '(organization => ''globex'')' END)::text, 'x', 'x')
       <> pg_temp.call('manage', 'acme', CASE c WHEN 'try_filter' THEN 'try_filter(''$'')'
              WHEN 'find' THEN 'find(key => ''key 4'')' ELSE c || '()' END)::text
$$, 'a tenant gets its own organization, whichever it gives');
SELECT is(pg_temp.call('manage', 'acme', 'save(''{"name": "mine", "url": "https://example.com/", "events": ["*"], "organization": "globex"}'')')
          #>> '{webhook,organization}', 'acme', 'also for a new webhook');
SELECT is(pg_temp.call('operate', 'acme', 'save(''{"name": "mine", "url": "https://example.com/", "events": ["*"], "organization": "globex"}'')')
          #>> '{webhook,organization}', 'globex', 'an operator chooses it');
SELECT is(pg_temp.call('manage', NULL, 'webhooks()') -> 'webhooks', '[]', 'without an organization there is no webhook');
SELECT is(pg_temp.call('manage', NULL, 'save(''{"name": "mine", "url": "https://example.com/", "events": ["*"]}'')') ->> 'state',
          '42501', 'and none can be made');
SELECT is((SELECT array_agg(w ->> 'name' ORDER BY w ->> 'name') FROM jsonb_array_elements(pg_temp.call('operate', NULL, 'webhooks()') -> 'webhooks') w),
          '{a,b,g,n}', 'an operator sees all');
SELECT is(jsonb_array_length(pg_temp.call('operate', NULL, 'logs()') -> 'logs'), 41, 'and the log of all');
SELECT is(pg_temp.call('operate', NULL, 'session()') -> 'organizations', '["acme", "globex"]', 'and the organizations');

-- --- session and check -----------------------------------------------------------------------------------------------

SELECT is(pg_temp.call(role, 'acme', 'session()') - '{now,database,version,server,limits,defaults}'::text[], format(
          '{"user": "regress_webhook_%s", "organization": "acme", "level": "%1$s", "organizations": %s, "can": %s}', role, others, can)::jsonb,
          format('session() tells %s its level', role))
FROM (VALUES ('read', '[]', '{"write": false, "see_data": false, "choose_organization": false}'),
             ('manage', '[]', '{"write": true, "see_data": true, "choose_organization": false}'),
             ('operate', '["acme", "globex"]', '{"write": true, "see_data": true, "choose_organization": true}')) r (role, others, can);
SELECT is((s -> 'defaults') - 'retry_schedule_s'::text, jsonb_build_object('timeout_ms', c.timeout_ms, 'max_in_flight', c.max_in_flight,
          'ordering', c.ordering), 'its defaults are those of the table')
FROM pg_temp.call('read', 'acme', 'session()') s, hooks.webhook_configurations c WHERE c.name = 'n';
SELECT is(s #> '{defaults,retry_schedule_s}', (SELECT jsonb_agg(trim_scale(extract(epoch FROM step::interval)) ORDER BY place)
           FROM string_to_table(current_setting('webhook.retry_schedule'), ',') WITH ORDINALITY x (step, place)), 'or of the setting')
FROM pg_temp.call('read', 'acme', 'session()') s;
SELECT is(pg_temp.call('manage', 'acme', 'session()') #>> '{limits,max_payload_bytes}',
          pg_size_bytes(current_setting('webhook.max_payload'))::text, 'limits have their numbers');
-- Each limit of session() against what save() takes: a value as large, and the next one; of a range both ends.
INSERT INTO hooks.webhook_event_types (name, category) SELECT 'sized.e' || i, 'sized' FROM generate_series(1, 201) i;
CREATE FUNCTION pg_temp.of_size(member text, size numeric) RETURNS jsonb LANGUAGE sql AS $$
    SELECT CASE member
        WHEN 'name_characters' THEN jsonb_build_object('name', repeat('é', size::integer))
        WHEN 'url_bytes' THEN jsonb_build_object('url', rpad('https://example.com/', size::integer, 'a'))
        WHEN 'events' THEN jsonb_build_object('events', (SELECT jsonb_agg('sized.e' || i) FROM generate_series(1, size) i))
        WHEN 'filter_bytes' THEN jsonb_build_object('filter', rpad('($."a" == "', size::integer - 2, 'b') || '")')
        WHEN 'secret_bytes' THEN jsonb_build_object('secret', repeat('s', size::integer))
        WHEN 'headers' THEN jsonb_build_object('headers', (SELECT jsonb_object_agg('X-' || i, 'v') FROM generate_series(1, size) i))
        WHEN 'header_bytes' THEN jsonb_build_object('headers', (
            SELECT jsonb_object_agg('X-' || i, repeat('v', CASE i WHEN 8 THEN size::integer - 7024 ELSE 1000 END)) FROM generate_series(1, 8) i))
        WHEN 'retry_steps' THEN jsonb_build_object('retry_schedule_s', (SELECT jsonb_agg(1) FROM generate_series(1, size)))
        WHEN 'timeout_ms' THEN jsonb_build_object('timeout_ms', size)
        WHEN 'max_in_flight' THEN jsonb_build_object('max_in_flight', size)
        WHEN 'rate_limit_per_s' THEN jsonb_build_object('rate_limit_per_s', size) END
$$;
CREATE FUNCTION pg_temp.takes(member text, size numeric) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(a.answer ->> 'state', 'taken')
    FROM (SELECT pg_temp.call('manage', 'acme', format('save(%L)', '{"name": "sized", "url": "https://example.com/", "events": ["*"]}'::jsonb
                                                                   || pg_temp.of_size(member, size)))) a (answer)
$$;
SELECT is_empty($$
    WITH told AS (
        SELECT l.key, CASE jsonb_typeof(l.value) WHEN 'array' THEN (l.value ->> 0)::numeric END AS least,
               CASE jsonb_typeof(l.value) WHEN 'array' THEN l.value ->> 1 ELSE l.value #>> '{}' END::numeric AS most
        FROM jsonb_each(pg_temp.call('manage', 'acme', 'session()') -> 'limits') l
        WHERE l.key NOT IN ('max_payload_bytes', 'allow_http', 'allowed_ports')
    )
    SELECT t.key, s.size, pg_temp.takes(t.key, s.size) FROM told t, LATERAL (VALUES
        (t.most, true), (t.most + 1, false), (t.least, true), (t.least - least(t.least / 2, 1), false)) s (size, is_taken)
    WHERE s.size IS NOT NULL AND (pg_temp.takes(t.key, s.size) = 'taken') <> s.is_taken
$$, 'what session() tells as a limit is taken, and nothing beyond');
DELETE FROM hooks.webhook_event_types WHERE category = 'sized';
SELECT is((SELECT jsonb_agg(DISTINCT f -> 'webhook') FROM jsonb_array_elements(pg_temp.call('read', 'acme', 'check()') -> 'findings') f
           WHERE f ->> 'webhook' IS NOT NULL),
          '["00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"]', 'check() looks at webhooks that fail or are off');
SELECT is_empty($$
    SELECT f FROM jsonb_array_elements(pg_temp.call('read', 'acme', 'check()') -> 'findings') f WHERE f ->> 'action' IS NOT NULL
$$, 'level read is offered no remedy');
-- The texts of webhook_check(), so that a change of one is noticed here.
CREATE FUNCTION pg_temp.remedies(role text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT DISTINCT f ->> 'action' FROM jsonb_array_elements(
        (pg_temp.call(role, 'acme', 'webhook(''00000000-0000-0000-0000-00000000000a'')') -> 'findings')
        || (pg_temp.call(role, 'acme', 'webhook(''00000000-0000-0000-0000-00000000000b'')') -> 'findings')) f
    WHERE f ->> 'action' IS NOT NULL
$$;
UPDATE hooks.webhook_instance SET is_paused = true, paused_reason = 'for the test';
INSERT INTO hooks.webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute, attempts,
                                   successes, durations, unjudged)
SELECT '00000000-0000-0000-0000-00000000000b',
       extract(epoch FROM date_trunc('minute', now()) - date_trunc('day', now(), 'UTC')) / 60, now(), 'acme',
       date_trunc('minute', now()), 0, 0, array_fill(0, ARRAY[48]), 3;
INSERT INTO hooks.webhook_hours (configuration_id, slot, configuration_created_at, organization_id, hour, attempts,
                                 successes, durations, unjudged, events, statuses)
SELECT '00000000-0000-0000-0000-00000000000b', webhook_internal.hour_slot(now()), now(), 'acme',
       date_trunc('hour', now(), 'UTC'), 0, 0, array_fill(0, ARRAY[48]), 3, '{}', '{}';
INSERT INTO hooks.webhook_endpoints (configuration_id, configuration_created_at, organization_id, filter_failed_at, filter_error)
VALUES ('00000000-0000-0000-0000-00000000000b', now(), 'acme', now(), 'it took too long');
UPDATE hooks.webhook_secrets SET key_id = 'gone', secret = 'v1.AAAA' WHERE configuration_id = '00000000-0000-0000-0000-00000000000a';
SELECT set_eq('SELECT pg_temp.remedies(''manage'')', ARRAY['test', 'replay_failed', 'activate', 'edit', 'rotate'],
              'each finding that can be helped has its remedy');
SELECT set_eq('SELECT pg_temp.remedies(''operate'')', ARRAY['test', 'replay_failed', 'activate', 'edit', 'rotate', 'resume'],
              'operators resume, too');
DELETE FROM hooks.webhook_secrets WHERE configuration_id = '00000000-0000-0000-0000-00000000000a';
UPDATE hooks.webhook_configurations SET secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' WHERE name = 'a';
SELECT is(pg_temp.call('operate', NULL, 'resume()') #> '{server,is_paused}', 'false', 'resume() answers with the server as it then is');
SELECT is(pg_temp.call('operate', NULL, 'pause(''why'')') #>> '{server,paused_reason}', 'why', 'pause() as well');
SAVEPOINT no_instance;
DELETE FROM hooks.webhook_instance;
SELECT is(pg_temp.call('operate', NULL, 'pause()') ->> 'state', 'PT503', 'before the first worker there is nothing to pause');
ROLLBACK TO no_instance;
UPDATE hooks.webhook_instance SET is_paused = false, paused_reason = NULL;

-- --- webhooks --------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.names(call text, role text DEFAULT 'manage', organization text DEFAULT 'acme') RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(w ->> 'name', ' ') FROM jsonb_array_elements(pg_temp.call(role, organization, call) -> 'webhooks') w$$;
SELECT is(pg_temp.names(call), expected, format('%s finds %s', call, coalesce(expected, 'nothing')))
FROM (VALUES ('webhooks()', 'a b'), ('webhooks(search => ''OTHER.EX'')', 'b'), ('webhooks(search => ''token'')', NULL),
             ('webhooks(search => ''%'')', NULL), ('webhooks(status => ''active'')', 'a'),
             ('webhooks(status => ''inactive'')', 'b'), ('webhooks(status => ''failing'')', 'a'),
             ('webhooks(page_size => 1)', 'a')) c (call, expected);
SELECT is(pg_temp.names(format('webhooks(page_size => 1, after => %L)', pg_temp.call('manage', 'acme', 'webhooks(page_size => 1)') ->> 'next')),
          'b', 'next continues the list');
SELECT is(pg_temp.call('manage', 'acme', format('webhooks(page_size => 1, after => %L)',
          pg_temp.call('manage', 'acme', 'webhooks(page_size => 1)') ->> 'next')) -> 'next', 'null', 'and is null at its end');
SELECT is((WITH RECURSIVE page AS (
               SELECT pg_temp.call('operate', NULL, 'webhooks(page_size => 1)') AS answer
               UNION ALL
               SELECT pg_temp.call('operate', NULL, format('webhooks(page_size => 1, after => %L)', p.answer ->> 'next'))
               FROM page p WHERE p.answer ->> 'next' IS NOT NULL)
           SELECT string_agg(answer #>> '{webhooks,0,name}', ' ') FROM page), 'a b g n', 'also across organizations, and those without one');
SELECT is(s - '{hours,updated_at,circuit,last_failure_at}'::text[], '{"id": "00000000-0000-0000-0000-00000000000a", "organization": "acme",
          "name": "a", "host": "example.com:8443", "events": ["contact.*"], "is_active": true, "attempts": 10, "successes": 5,
          "success_percent": 50.0, "p50_ms": 215.269, "p95_ms": 215.269, "pending": {"count": 5, "is_more": false},
          "dead": {"count": 5, "is_more": false}, "last_success_at": null, "last_error": "HTTP status 500", "unjudged": 0,
          "filter_error": null, "disabled_reason": null}'::jsonb, 'a summary has the last 24 hours, without the path of the URL')
FROM (SELECT pg_temp.call('read', 'acme', 'webhooks()') #> '{webhooks,0}' AS s) x;
SELECT is(jsonb_array_length(s -> 'hours'), 24, 'it has 24 hours'), is(s #> '{hours,23,attempts}', '10', 'the newest last'),
       is(s #>> '{circuit,state}', 'open', 'and the circuit')
FROM (SELECT pg_temp.call('read', 'acme', 'webhooks()') #> '{webhooks,0}' AS s) x;
SAVEPOINT many;
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at,
                                      state, next_attempt_at)
SELECT 1000 + i, '00000000-0000-0000-0000-00000000000a', now(), 'acme', 'contact.created', now(), 'pending', now()
FROM generate_series(1, 1500) i;
SELECT is(pg_temp.call('read', 'acme', 'webhooks()') #> '{webhooks,0,pending}', '{"count": 100, "is_more": true}', 'the counts of several stop at 100');
ROLLBACK TO many;

SELECT is(pg_temp.call('manage', 'acme', 'webhook(''00000000-0000-0000-0000-00000000000a'')') #> '{webhook,header_names}', '["X-Key"]',
          'level manage sees the names of headers'),
       is(pg_temp.call('read', 'acme', 'webhook(''00000000-0000-0000-0000-00000000000a'')') #> '{webhook,header_names}', 'null',
          'level read does not know them');

-- --- save, validate, delete ------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.saved(webhook jsonb, id text DEFAULT NULL, role text DEFAULT 'manage') RETURNS jsonb LANGUAGE sql AS
    $$SELECT pg_temp.call(role, 'acme', format('save(%L, %L)', webhook, id))$$;
SELECT is(w - '{id,created_at,updated_at}'::text[], '{"organization": "acme", "name": "n", "url": "https://example.com/x", "events": ["contact.*"],
          "filter": "($.\"a\" > 5)", "is_active": false, "has_secret": true, "header_names": ["A"], "timeout_ms": 700,
          "retry_schedule_s": [0.5, 5, 86400], "rate_limit_per_s": 2.5, "max_in_flight": 3, "ordering": "key",
          "test_event": "contact.created", "disabled_reason": null}'::jsonb || jsonb_build_object('disabled_at', w -> 'disabled_at'),
          'save() creates a webhook with all its members')
FROM (SELECT pg_temp.saved('{"name": "n", "url": "https://example.com/x", "events": ["contact.*"], "filter": "$.a > 5", "is_active": false,
    "headers": {"A": "b", "C": null}, "timeout_ms": 700, "retry_schedule_s": [0.5, 5, 86400], "rate_limit_per_s": 2.5, "max_in_flight": 3,
    "ordering": "key", "test_event": "contact.created"}') -> 'webhook' AS w) x;
SELECT ok(pg_temp.saved('{"name": "n", "url": "https://example.com/x", "events": ["*"]}') ->> 'secret' ~ '^whsec_[A-Za-z0-9+/]{32}$',
          'a new webhook gets a secret, which is shown once'),
       is(pg_temp.saved('{"name": "n", "url": "https://example.com/x", "events": ["*"], "secret": null}') -> 'secret', 'null', 'or none'),
       is(pg_temp.saved('{"is_active": false}', '00000000-0000-0000-0000-00000000000a') -> 'secret', 'null', 'a change shows none');
SELECT is(pg_temp.saved(w, '00000000-0000-0000-0000-00000000000a') -> 'webhook' #- '{updated_at}', w #- '{updated_at}',
          'what webhook() returned can be given back as it is, and changes nothing')
FROM (SELECT pg_temp.call('manage', 'acme', 'webhook(''00000000-0000-0000-0000-00000000000a'')') -> 'webhook' AS w) x;
SELECT is(pg_temp.saved(h, '00000000-0000-0000-0000-00000000000a') #> '{webhook,header_names}', names, what)
FROM (VALUES ('{"headers": {"x-key": null}}'::jsonb, '[]'::jsonb, 'null removes a header, in any case'),
             ('{"headers": {"x-KEY": "new", "B": "1"}}', '["B", "x-KEY"]', 'a text sets one'),
             ('{"headers": {}}', '["X-Key"]', 'others stay')) h (h, names, what);
CREATE TABLE refused AS
SELECT w, state, field, pg_temp.saved(w, id) AS answer
FROM (VALUES
    ('{}'::jsonb, NULL, '22004', 'name'), ('{"name": "x", "url": "https://example.com/"}', NULL, '22004', 'events'),
    ('[]', NULL, '22023', 'webhook'), ('{"nmae": "x"}', NULL, '22023', 'nmae'), ('{"name": 5}', NULL, '22023', 'name'),
    ('{"name": ""}', 'a', '22023', 'name'), ('{"name": "b"}', 'a', '23505', 'name'), ('{"url": "ftp://x"}', 'a', '22023', 'url'),
    ('{"name": null}', 'a', '22023', 'name'),
    ('{"url": "https://u:p@example.com/"}', 'a', '22023', 'url'), ('{"events": []}', 'a', '22023', 'events'),
    ('{"events": [5]}', 'a', '22023', 'events'), ('{"events": ["contact.creatd"]}', 'a', '42704', 'events'),
    ('{"events": ["nothing.*"]}', 'a', '42704', 'events'), ('{"events": ["Con Tact"]}', 'a', '22023', 'events'),
    ('{"filter": "$.a >"}', 'a', '42601', 'filter'), ('{"filter": "$x > 1"}', 'a', '22023', 'filter'),
    ('{"timeout_ms": 99}', 'a', '22003', 'timeout_ms'), ('{"timeout_ms": 1e99}', 'a', '22003', 'timeout_ms'),
    ('{"timeout_ms": 5.5}', 'a', '22P02', 'timeout_ms'), ('{"timeout_ms": "5000"}', 'a', '22023', 'timeout_ms'),
    ('{"max_in_flight": 0}', 'a', '22003', 'max_in_flight'), ('{"rate_limit_per_s": 0}', 'a', '22003', 'rate_limit_per_s'),
    ('{"ordering": "random"}', 'a', '22023', 'ordering'), ('{"retry_schedule_s": []}', 'a', '22023', 'retry_schedule_s'),
    ('{"retry_schedule_s": [-1]}', 'a', '22023', 'retry_schedule_s'), ('{"retry_schedule_s": [1e300]}', 'a', '22023', 'retry_schedule_s'),
    ('{"secret": "short"}', 'a', '22023', 'secret'), ('{"headers": {"Host": "x"}}', 'a', '22023', 'headers'),
    ('{"headers": {"A": 5}}', 'a', '22023', 'headers'), ('{"test_event": "no.such"}', 'a', '42704', 'test_event'),
    ('{"organization": "globex"}', 'a', '22023', 'organization')) c (w, hook, state, field),
    LATERAL (SELECT CASE hook WHEN 'a' THEN '00000000-0000-0000-0000-00000000000a' END) i (id);
SELECT is((answer ->> 'state') || ' ' || ((answer ->> 'detail')::jsonb ->> 'field'), state || ' ' || field,
          format('%s names %s', left(w::text, 60), field)) FROM refused;
SELECT ok(pg_temp.saved('{"headers": {"A": "a credential\n"}, "secret": "a secret credential"}', '00000000-0000-0000-0000-00000000000a')::text
          !~ 'credential', 'no error repeats a header or a secret');
SELECT is(pg_temp.call('manage', 'acme', format('save(''{"name": "late"}'', ''00000000-0000-0000-0000-00000000000a'', %L)', at)) ->> 'state',
          state, what)
FROM (SELECT (pg_temp.call('manage', 'acme', 'webhook(''00000000-0000-0000-0000-00000000000a'')') #>> '{webhook,updated_at}') AS now) w,
     LATERAL (VALUES (w.now, NULL, 'with the updated_at that was read, it is saved'),
                     ('2020-01-01', 'PT409', 'with another one, it is a conflict')) c (at, state, what);
SELECT is((pg_temp.call('manage', 'acme', 'save(''{"name": "late"}'', ''00000000-0000-0000-0000-00000000000a'', ''2020-01-01'')') ->> 'detail')::jsonb
          #>> '{current,name}', 'a', 'which shows the webhook as it is');
SELECT is(pg_temp.call('manage', 'acme', 'delete(''00000000-0000-0000-0000-00000000000a'', ''2020-01-01'')') ->> 'state', 'PT409',
          'delete() knows the conflict, too'),
       is(pg_temp.call('manage', 'acme', 'delete(''00000000-0000-0000-0000-00000000000a'')'),
          '{"deleted": "00000000-0000-0000-0000-00000000000a", "pending": 5}', 'and says what is lost');
CREATE FUNCTION pg_temp.limit_reached() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'cannot have more' USING ERRCODE = '53400'; END$$;
CREATE TRIGGER regress_limit BEFORE INSERT ON hooks.webhook_configurations EXECUTE FUNCTION pg_temp.limit_reached();
SELECT is(pg_temp.saved('{"name": "x", "url": "https://example.com/", "events": ["*"]}') ->> 'state', 'PT409', 'a limit is a conflict');
DROP TRIGGER regress_limit ON hooks.webhook_configurations;

SELECT is(pg_temp.call('manage', 'acme', 'validate(''{"name": "fine", "url": "https://example.com/", "events": ["*"]}'')'), '{"problems": []}',
          'validate() finds nothing wrong with what save() accepts'),
       is(pg_temp.names('webhooks()'), 'a b', 'and saves nothing'),
       is((SELECT array_agg(p ->> 'field' ORDER BY p ->> 'field') FROM jsonb_array_elements(pg_temp.call('manage', 'acme',
           'validate(''{"name": "a", "url": "ftp://x", "events": ["no.such"], "filter": "((", "timeout_ms": 1}'')') -> 'problems') p),
          '{events,filter,name,timeout_ms,url}', 'it finds all that is wrong at once'),
       is(pg_temp.call('manage', 'acme', 'validate(''{}'')') #>> '{problems,0,field}', 'name', 'and what is missing'),
       is(pg_temp.call('manage', 'acme', 'validate(''{"name": "b"}'', ''00000000-0000-0000-0000-00000000000a'')') #>> '{problems,0,field}',
          'name', 'also of a change'),
       is(jsonb_array_length(pg_temp.call('manage', 'acme', format('validate(%L)', (
           SELECT jsonb_object_agg('member ' || i, i) FROM generate_series(1, 1000) i))) -> 'problems'), 100, 'but a hundred problems at most');

-- --- secrets ---------------------------------------------------------------------------------------------------------

SELECT is(pg_temp.call('manage', 'acme', 'reveal(''00000000-0000-0000-0000-00000000000a'')'),
          '{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}', 'reveal() shows the secret'),
       is(pg_temp.call('manage', 'acme', 'rotate(''00000000-0000-0000-0000-00000000000a'', 0)') -> 'old_secret_until', 'null',
          'without an overlap the old secret is gone'),
       ok((pg_temp.call('manage', 'acme', 'rotate(''00000000-0000-0000-0000-00000000000a'', 3600)') ->> 'old_secret_until')::timestamptz
          > clock_timestamp() + interval '59 min', 'with one it signs until then'),
       is(pg_temp.call('manage', 'acme', 'rotate(''00000000-0000-0000-0000-00000000000a'', -1)') ->> 'detail', '{"field": "overlap_s"}',
          'it cannot end before it begins');

-- --- events ----------------------------------------------------------------------------------------------------------

SELECT is(e, (SELECT jsonb_build_object('name', name, 'description', description, 'example', example::jsonb, 'is_builtin', true,
                                        'is_watched', true) FROM hooks.webhook_event_types WHERE name = 'contact.created'),
          'event_types() has the example, and whether a table causes the event')
FROM jsonb_array_elements(pg_temp.call('read', 'acme', 'event_types()') -> 'categories') c, jsonb_array_elements(c -> 'events') e
WHERE e ->> 'name' = 'contact.created';
SELECT is(pg_temp.call('read', 'acme', 'watches()') -> 'watches', '[{"source": "public.contacts", "event": "contact.created",
          "operation": "INSERT", "condition": null, "changed_columns": null, "is_enabled": true}]', 'watches() has the tables');
SELECT is(pg_temp.call(role, 'acme', call) - 'since'::text, expected::jsonb, format('%s of %s', call, role))
FROM (VALUES
    ('read', 'match_count()', '{"searched": 10, "is_complete": true, "matched": 10, "by_event": {"contact.created": 10}, "unjudged": 0}'),
    ('read', 'match_count(''{deal.*}'')', '{"searched": 10, "is_complete": true, "matched": 0, "by_event": {}, "unjudged": 0}'),
    ('read', 'match_count(NULL, ''$.amount > 15'')',
     '{"searched": 10, "is_complete": true, "matched": 10, "by_event": {"contact.created": 10}, "unjudged": 0, "filter_ignored": true}'),
    ('manage', 'match_count(NULL, ''$.amount > 15'')',
     '{"searched": 10, "is_complete": true, "matched": 3, "by_event": {"contact.created": 3}, "unjudged": 0}'),
    ('manage', 'match_count(NULL, ''strict $.nothing > 15'')',
     '{"searched": 10, "is_complete": true, "matched": 0, "by_event": {}, "unjudged": 0}'),
    ('operate', 'match_count(organization => ''globex'')',
     '{"searched": 10, "is_complete": true, "matched": 10, "by_event": {"contact.created": 10}, "unjudged": 0}'),
    ('operate', 'match_count()',
     '{"searched": 20, "is_complete": true, "matched": 20, "by_event": {"contact.created": 20}, "unjudged": 0}')) c (role, call, expected);
SELECT is(pg_temp.call('manage', 'acme', 'try_filter(''$.amount > 15'', page_size => 4)') #- '{events,1}' #- '{events,1}',
          jsonb_build_object('tried', 4, 'matched', 3, 'events', jsonb_build_array(
              jsonb_build_object('event_id', '20', 'event', 'contact.created', 'created_at', e -> 'created_at', 'key', 'key 20',
                                 'matches', true, 'reason', NULL, 'data', jsonb_build_object('of', 'a hidden datum', 'amount', 20)),
              jsonb_build_object('event_id', '14', 'event', 'contact.created', 'created_at', f -> 'created_at', 'key', 'key 14', 'matches', false,
                                 'reason', 'filter: ($."amount" > 15) does not match', 'data', jsonb_build_object('of', 'a hidden datum', 'amount', 14)))),
          'try_filter() says of each event whether it passes, and why not')
FROM (SELECT a #> '{events,0}' AS e, a #> '{events,3}' AS f FROM pg_temp.call('manage', 'acme', 'try_filter(''$.amount > 15'', page_size => 4)') a) x;

-- --- the log ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.ids(call text, role text DEFAULT 'read', organization text DEFAULT 'acme') RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(l ->> 'id', ' ') FROM jsonb_array_elements(pg_temp.call(role, organization, call) -> 'logs') l$$;
SELECT is(pg_temp.ids(call), expected, regexp_replace(call, '=> ''[^'']*[0-9]{4}[^'']*''', '=> TIME', 'g'))
FROM (VALUES
    ('logs(page_size => 3)', '300 220 218'), ('logs(before => 218, page_size => 2)', '216 214'), ('logs(status => ''test'')', '300'),
    ('logs(status => ''failed'', page_size => 2)', '120 118'), ('logs(status => ''success'', page_size => 2)', '220 218'),
    ('logs(event_id => 4)', '204 104'), ('logs(key => ''key 6'')', '206 106'), ('logs(key => ''key 5'')', NULL),
    ('logs(event => ''deal.*'')', NULL), ('logs(event => ''contact.*'', page_size => 1)', '220'),
    ('logs(''00000000-0000-0000-0000-00000000000b'')', NULL), ('logs(after => 216)', '218 220 300'),
    ('logs(after => 216, page_size => 1)', '218'), ('logs(after => 300)', NULL),
    (format('logs(until => %L)', now() - interval '3590 s'), NULL),
    (format('logs(since => %L, until => %L)', now() - interval '1 h' + interval '60 s' + interval '4 s', now() - interval '1 h' + interval '60 s' + interval '9 s'),
     '208 206 204')) c (call, expected);
SELECT is((WITH RECURSIVE page AS (
               SELECT pg_temp.call('read', 'acme', 'logs(page_size => 4)') AS answer
               UNION ALL
               SELECT pg_temp.call('read', 'acme', format('logs(page_size => 4, before => %s)', p.answer ->> 'next'))
               FROM page p WHERE p.answer ->> 'next' IS NOT NULL)
           SELECT count(DISTINCT l ->> 'id') || ' of ' || count(*) FROM page, jsonb_array_elements(answer -> 'logs') l), '21 of 21',
          'next leads through the whole log, each row once');
SELECT is(pg_temp.call('read', 'acme', 'logs(after => 300)') ->> 'next', '300', 'who follows goes on from where it was');
SELECT is(l - '{created_at,next_attempt_at}'::text[], '{"id": "104", "webhook": "00000000-0000-0000-0000-00000000000a", "webhook_name": "a",
          "event": "contact.created", "event_id": "4", "is_test": false, "attempt": 1, "status": "failed", "response_status": 500,
          "error": "HTTP status 500", "duration_ms": 12.5}', 'a row of the log has these members')
FROM (SELECT pg_temp.call('read', 'acme', 'logs(event_id => 4)') #> '{logs,1}' AS l) x;
SELECT is(pg_temp.call('read', 'acme', 'logs(page_size => 1)') #> '{logs,0,event_id}', 'null', 'a test has no event');
SELECT is(pg_temp.call('read', 'acme', call) ->> 'state', '22023', format('%s is refused', call))
FROM unnest(ARRAY['logs(status => ''x'')', 'logs(event => ''A B'')', 'logs(before => 1, after => 1)',
                  'logs(since => now(), until => now() - interval ''1 s'')']) call;
SELECT is(pg_temp.call('read', 'acme', call) ->> 'state', '22003', format('%s is refused', call))
FROM unnest(ARRAY['logs(page_size => 0)', 'logs(page_size => 100000)', 'webhooks(page_size => NULL)', 'pending(''00000000-0000-0000-0000-00000000000a'', page_size => -1)']) call;

SELECT is((SELECT jsonb_agg(x ->> 'id') FROM jsonb_array_elements(a -> 'attempts') x), '["104", "204"]', 'attempt() has all attempts of the event'),
       is(a #>> '{attempt,response_body}', '<script>alert(1)</script>', 'the response is as it came'),
       is(a #>> '{attempt,remote_ip}', '203.0.113.7', 'and where from'),
       is(a #>> '{delivery,state}', 'dead', 'and what became of the delivery'),
       is(a #>> '{request,headers,X-Key}', '***', 'the webhook''s own headers are not shown'),
       is(a #>> '{request,headers,X-Webhook-Attempt}', '1', 'others are'),
       ok(hooks.webhook_verify(a #>> '{request,headers,webhook-id}', (a #>> '{request,headers,webhook-timestamp}')::bigint, a #>> '{request,body}',
                               a #>> '{request,headers,webhook-signature}', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), 'and verify'),
       ok(a ->> 'curl' LIKE 'curl %', 'with the command')
FROM pg_temp.call('manage', 'acme', 'attempt(104)') a;
SELECT is(a - '{now,attempt,attempts,delivery,attempts_max}'::text[], '{"request": null, "curl": null, "changed_since": null}', 'level read gets neither request nor command')
FROM pg_temp.call('read', 'acme', 'attempt(104)') a;
SELECT is(pg_temp.call('manage', 'acme', 'attempt(300)') -> 'request', 'null', 'nor does anybody for a test');

SELECT is((SELECT string_agg(d ->> 'event_id', ' ') FROM jsonb_array_elements(pg_temp.call('read', 'acme', call) -> 'deliveries') d), expected, call)
FROM (VALUES ('pending(''00000000-0000-0000-0000-00000000000a'')', '2 6 10 14 18'),
             ('pending(''00000000-0000-0000-0000-00000000000a'', ''dead'')', '20 16 12 8 4'),
             ('pending(event_id => 4, state => ''dead'')', '4'), ('pending(event_id => 4)', NULL)) c (call, expected);
SELECT is((WITH RECURSIVE page AS (
               SELECT pg_temp.call('read', 'acme', format('pending(''00000000-0000-0000-0000-00000000000a'', %L, page_size => 2)', state)) AS answer
               UNION ALL
               SELECT pg_temp.call('read', 'acme', format('pending(''00000000-0000-0000-0000-00000000000a'', %L, after => %L, page_size => 2)', state, p.answer ->> 'next'))
               FROM page p WHERE p.answer ->> 'next' IS NOT NULL)
           SELECT string_agg(d ->> 'event_id', ' ') FROM page, jsonb_array_elements(answer -> 'deliveries') d), expected, format('next leads through the %s', state))
FROM (VALUES ('pending', '2 6 10 14 18'), ('dead', '20 16 12 8 4')) s (state, expected);
SELECT is(pg_temp.call('read', 'acme', call) ->> 'detail', detail, format('%s is refused', call))
FROM (VALUES ('pending()', '{"field": "webhook"}'), ('pending(event_id => 1, state => ''x'')', '{"field": "state"}'),
             ('pending(event_id => 1, after => ''x'')', '{"field": "after"}'), ('webhooks(after => ''x'')', '{"field": "after"}'),
             ('webhooks(status => ''x'')', '{"field": "status"}'), ('redeliver(''{}'')', NULL), ('find()', '{"field": "webhook_id"}'),
             ('find(''evt_x'')', '{"field": "webhook_id"}'), ('find(source => ''x'', key => ''1'')', '{"field": "source"}'),
             ('match_count(''{A B}'')', '{"field": "events"}'),
             ('series(since => now(), until => now() - interval ''1 h'')', '{"field": "since"}'),
             ('verify(NULL, ''x'', ''{}'')', '{"field": "body"}')) c (call, detail)
WHERE detail IS NOT NULL;
SELECT is_empty($$
    SELECT call FROM unnest(ARRAY['x', '5', 'null', '[]', '[1]', '[1,2,3]', '{"0":1,"1":2}', '"a"']) cursor,
         unnest(ARRAY['webhooks(after => %L)', 'pending(''00000000-0000-0000-0000-00000000000a'', after => %L)']) f,
         format(f, cursor) call
    WHERE pg_temp.call('read', 'acme', call) ->> 'detail' IS DISTINCT FROM '{"field": "after"}'
$$, 'what is no next of a page does not lead to the first page again');

SELECT is((SELECT jsonb_agg(p) FROM jsonb_array_elements(pg_temp.call('read', 'acme', 'series(since => now() - interval ''30 min'')') -> 'points') p
           WHERE p -> 'attempts' <> '0') #> '{0}' #- '{at}', '{"attempts": 10, "successes": 5, "p50_ms": 215.269, "p95_ms": 215.269}', 'series() has the minutes'),
       is(pg_temp.call('read', 'acme', 'series()') -> 'step_s', '900', 'of a day in quarters of an hour'),
       is(pg_temp.call('read', 'acme', 'series(since => now() - interval ''90 days'')') -> 'step_s', '86400', 'of 90 days in days'),
       is((SELECT jsonb_agg(p #- '{at}') FROM jsonb_array_elements(pg_temp.call('read', 'acme', 'series(since => now() - interval ''90 days'')') -> 'points') p
           WHERE p -> 'attempts' <> '0'), '[{"attempts": 10, "successes": 5, "p50_ms": 215.269, "p95_ms": 215.269},
           {"attempts": 10, "successes": 5, "p50_ms": 215.269, "p95_ms": 215.269}]', 'with the hours of 80 days ago, but none that are older'),
       is(pg_temp.call('read', 'acme', 'series(since => now() - interval ''7 days'')') -> 'step_s', '10800', 'of a week in three hours'),
       is((SELECT jsonb_agg(p #- '{at}') FROM jsonb_array_elements(pg_temp.call('read', 'acme', 'series(since => now() - interval ''7 days'')') -> 'points') p
           WHERE p -> 'attempts' <> '0'), '[{"attempts": 10, "successes": 5, "p50_ms": 215.269, "p95_ms": 215.269}]', 'with this hour'),
       is(pg_temp.call('read', 'acme', 'breakdown(since => now() - interval ''90 days'')'), '{"by_event": [
          {"event": "contact.created", "attempts": 14, "successes": 9}, {"event": "contact.updated", "attempts": 6, "successes": 1}],
          "by_status": [{"response_status": 200, "error": null, "attempts": 10}, {"response_status": null, "error": null, "attempts": 5},
          {"response_status": 500, "error": null, "attempts": 5}], "searched_to": null}', 'breakdown() of 90 days sums the hours'),
       is(pg_temp.call('read', 'globex', 'breakdown(since => now() - interval ''90 days'')') -> 'by_event', '[]', 'of the own organization'),
       is(pg_temp.call('read', 'acme', 'breakdown(since => now() - interval ''90 days'', until => now() - interval ''70 days'')') #> '{by_event,0}',
          '{"event": "contact.updated", "attempts": 6, "successes": 1}', 'and of the time that is asked for'),
       is(pg_temp.call('read', 'acme', 'breakdown()') #> '{by_status}', '[{"response_status": 200, "error": null, "attempts": 10},
          {"response_status": 500, "error": "HTTP status 500", "attempts": 10}]', 'breakdown() counts by result'),
       is(pg_temp.call('read', 'acme', 'breakdown()') #> '{by_event}', '[{"event": "contact.created", "attempts": 20, "successes": 10}]', 'and by event, without tests');
SAVEPOINT crowded;
INSERT INTO hooks.webhook_hours (configuration_id, slot, configuration_created_at, organization_id, hour, attempts,
                                 successes, durations, unjudged, events, statuses)
SELECT '00000000-0000-0000-0000-00000000000a', webhook_internal.hour_slot(h), now(), 'acme', h, 3, 1, array_fill(0, ARRAY[48]), 0,
       '{"": [3, 1]}', '{"": [2, 1], "0": [1, 0]}' FROM (SELECT date_trunc('hour', now(), 'UTC') - interval '85 days' AS h) x;
SELECT is(pg_temp.call('read', 'acme', 'breakdown(since => now() - interval ''86 days'', until => now() - interval ''84 days'')'),
          '{"by_event": [{"event": null, "attempts": 3, "successes": 1}], "by_status": [
          {"response_status": null, "error": "other responses", "attempts": 2}, {"response_status": null, "error": null, "attempts": 1}],
          "searched_to": null}', 'events and statuses beyond those that an hour keeps are others');
ROLLBACK TO crowded;
SELECT is(pg_temp.call('manage', 'acme', 'cancel(''00000000-0000-0000-0000-00000000000a'', 6)'), '{"cancelled": 1}', 'cancel() gives up one delivery'),
       is(pg_temp.call('manage', 'acme', 'cancel(''00000000-0000-0000-0000-00000000000a'')'), '{"cancelled": 5}', 'or all of a webhook');

-- --- why -------------------------------------------------------------------------------------------------------------

SELECT is(x #> '{webhooks,0}' #- '{last_attempt_at}', '{"webhook": "00000000-0000-0000-0000-00000000000a", "name": "a", "matched": true, "reason": null,
          "outcome": "dead", "attempts": 2, "last_error": "HTTP status 500", "next_attempt_at": null}', 'explain() tells what became of an event'),
       is(x #>> '{webhooks,1,reason}', 'pattern: {deal.created} does not match contact.created', 'and why a webhook did not get it'),
       is(x #>> '{event,key}', 'key 4', 'and which event it is')
FROM pg_temp.call('read', 'acme', 'explain(4)') x;
SELECT is(pg_temp.call('read', 'acme', format('find(%L)', e.webhook_id)) #>> '{events,0,id}', '4', 'find() knows a webhook-id'),
       is(pg_temp.call('read', 'globex', format('find(%L)', e.webhook_id)) -> 'events', '[]', 'but not for another organization'),
       is(pg_temp.call('read', 'acme', 'find(source => ''contacts'', key => ''key 4'')') #>> '{events,0,webhook_id}', e.webhook_id, 'and the key of a row'),
       is(pg_temp.call('read', 'acme', 'find(key => ''key 3'')') -> 'events', '[]', 'and no row of another organization')
FROM hooks.webhook_own_events e WHERE e.id = 4;

-- The vector of docs/wire-format.md, now.
CREATE FUNCTION pg_temp.verified(change text, OUT is_valid boolean, OUT step text, OUT message text) LANGUAGE plpgsql AS $$
DECLARE
    secret text := 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    body text := '{"event":"contact.created","data":{"id":1,"text":"a  b"}}';
    at bigint := floor(extract(epoch FROM clock_timestamp())) - CASE change WHEN 'old' THEN 4000 WHEN 'future' THEN -4000 ELSE 0 END;
    headers jsonb;
    answer jsonb;
BEGIN
    headers := jsonb_build_object('Webhook-ID', 'evt_1', 'webhook-timestamp', at, 'webhook-signature', hooks.webhook_sign('evt_1', at, body, secret),
                                  'X-Webhook-Signature', hooks.webhook_sign(body, secret));
    CASE change
        WHEN 'no id' THEN headers := headers - 'Webhook-ID';
        WHEN 'no signature' THEN headers := headers - 'webhook-signature' - 'X-Webhook-Signature';
        WHEN 'malformed' THEN headers := headers || '{"webhook-signature": "v1=abc"}';
        WHEN 'bad time' THEN headers := headers || '{"webhook-timestamp": "yesterday"}';
        WHEN 'bad hex' THEN headers := headers || '{"X-Webhook-Signature": "sha256=abc"}';
        WHEN 'line end' THEN body := body || E'\n';
        WHEN 'formatted' THEN body := '{ "event": "contact.created",' || E'\n' || '  "data": {"id": 1, "text": "a  b"} }';
        WHEN 'body' THEN body := replace(body, '1', '2');
        WHEN 'cut' THEN body := left(body, -3);
        WHEN 'secret' THEN secret := 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
        WHEN 'no prefix' THEN secret := substr(secret, 7);
        WHEN 'quotes' THEN secret := '"' || secret || '"';
        WHEN 'raw key' THEN
            headers := headers || jsonb_build_object('webhook-signature', 'v1,' || encode(decode(substr(
                hooks.webhook_sign('evt_1.' || at || '.' || body, secret), 8), 'hex'), 'base64'));
        WHEN 'other id' THEN headers := headers || '{"Webhook-ID": "evt_2"}';
        WHEN 'no secret' THEN secret := 'short';
        ELSE NULL;
    END CASE;
    answer := pg_temp.call('read', 'acme', format('verify(%L, %L, %L)', body, secret, headers));
    is_valid := answer -> 'is_valid';
    SELECT s ->> 'step', s ->> 'message' INTO step, message FROM jsonb_array_elements(answer -> 'steps') WITH ORDINALITY x (s, place)
    WHERE s -> 'is_ok' = 'false' ORDER BY place LIMIT 1;
    IF answer::text LIKE '%MfKQ9r8%' THEN
        RAISE EXCEPTION 'the answer repeats the secret';
    END IF;
END
$$;
SELECT is(v.is_valid, false, format('%s is refused', c.change)), is(v.step, c.step, format('... at the step %s', c.step)),
       alike(v.message, c.message, format('... saying %s', c.message))
FROM (VALUES ('no id', 'headers', '%webhook-id%'), ('no signature', 'headers', '%webhook-signature%'), ('malformed', 'form', '%v1,%'),
             ('bad time', 'form', '%webhook-timestamp%'), ('bad hex', 'form', '%sha256=%'), ('old', 'timestamp', '%old%'),
             ('future', 'timestamp', '%clock%'), ('line end', 'webhook-signature', '%line end%'),
             ('formatted', 'webhook-signature', '%serialized again%'), ('body', 'webhook-signature', '%body was changed%'),
             ('cut', 'webhook-signature', '%not JSON%'), ('secret', 'webhook-signature', '%secret is another%'),
             ('no prefix', 'webhook-signature', '%lacks its beginning whsec_%'), ('quotes', 'secret', '%before whsec_%'),
             ('raw key', 'webhook-signature', '%decoded from base64%'), ('other id', 'webhook-signature', '%of another request%'),
             ('no secret', 'secret', '%shorter%')) c (change, step, message),
     LATERAL pg_temp.verified(c.change) v;
SELECT is(v, '(t,,)', 'what was sent is accepted') FROM (SELECT pg_temp.verified('nothing')::text AS v) x;
-- If each quotation mark were tried as the beginning of a string, this would take an hour.
SET LOCAL statement_timeout = '2min';
SELECT is(pg_temp.call('read', 'acme', format('verify(%L, ''a long secret'', ''{"X-Webhook-Signature": "sha256=%s"}'')',
                                              '{"' || repeat(E'\\"', 500000) || ' ' || s.ending, repeat('0', 64))) -> 'is_valid',
          'false', 'a string without an end costs little: ' || s.ending)
FROM (VALUES ('}'), (E'\\')) s (ending);
RESET statement_timeout;

-- --- what an attempt was made with -----------------------------------------------------------------------------------

-- Webhook v of initech has had five versions, and w got its secret later. Attempts 401 to 405 of v were made with versions
-- 1 to 5, 411 of w with version 1.
CREATE FUNCTION pg_temp.attempted(log_id bigint, webhook uuid) RETURNS void LANGUAGE sql AS $$
    INSERT INTO hooks.webhook_logs (id, slot, created_at, configuration_id, organization_id, event_id, event, attempt,
                                    configuration_version, status, response_status, response_headers)
    SELECT log_id, 0, clock_timestamp(), c.id, c.organization_id, 30, 'contact.created', 1, c.version, 'failed', 500, 'Server: s'
    FROM hooks.webhook_configurations c WHERE c.id = webhook
$$;
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, key, data)
VALUES (0, 30, pg_current_xact_id(), now() - interval '1 h', 'contact.created', 'initech', 'k', '{}');
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, secret, headers) VALUES
    ('00000000-0000-0000-0000-000000000030', 'initech', 'v', 'https://first.example/', '{*}', 'the first secret', '{"X-One": "1", "X-Two": "2"}'),
    ('00000000-0000-0000-0000-000000000031', 'initech', 'w', 'https://other.example/', '{*}', NULL, '{}');
SELECT pg_temp.attempted(401, '00000000-0000-0000-0000-000000000030'), pg_temp.attempted(411, '00000000-0000-0000-0000-000000000031') \g /dev/null
UPDATE hooks.webhook_configurations SET url = 'https://second.example/' WHERE name = 'v';
SELECT pg_temp.attempted(402, '00000000-0000-0000-0000-000000000030') \g /dev/null
UPDATE hooks.webhook_configurations SET headers = '{"X-Two": "changed", "X-Three": "3"}' WHERE name = 'v';
SELECT pg_temp.attempted(403, '00000000-0000-0000-0000-000000000030') \g /dev/null
UPDATE hooks.webhook_configurations SET secret = 'another secret' WHERE name = 'v';
SELECT pg_temp.attempted(404, '00000000-0000-0000-0000-000000000030') \g /dev/null
UPDATE hooks.webhook_configurations SET url = 'https://third.example/', headers = '{"X-One": "1", "X-Four": "4"}' WHERE name = 'v';
SELECT pg_temp.attempted(405, '00000000-0000-0000-0000-000000000030') \g /dev/null
UPDATE hooks.webhook_configurations SET secret = 'a secret at last' WHERE name = 'w';

CREATE FUNCTION pg_temp.made_with(log_id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', a #>> '{request,version}', substring(a #>> '{request,url}' FROM '//(\w+)'),
                     (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(a #> '{request,headers}') k
                      WHERE k ~ '^X-(One|Two|Three|Four)$' AND a #>> ARRAY['request', 'headers', k] = '***'),
                     CASE WHEN a #>> '{request,headers,X-Webhook-Signature}' = '***'
                               AND a #>> '{request,headers,webhook-signature}' = '***' THEN 'masked'
                          WHEN hooks.webhook_verify(a #>> '{request,body}', a #>> '{request,headers,X-Webhook-Signature}', 'another secret')
                          THEN 'signed'
                          WHEN NOT a #> '{request,headers}' ?| '{X-Webhook-Signature,webhook-signature}' THEN 'unsigned' END,
                     a ->> 'changed_since')
    FROM pg_temp.call('manage', 'initech', format('attempt(%s)', log_id)) a
$$;
SELECT is(pg_temp.made_with(log_id), expected, format('attempt(%s) has the URL and the names of headers that it was made with', log_id))
FROM (VALUES (401, '1 first X-One,X-Two masked true'), (402, '2 second X-One,X-Two masked true'),
             (403, '3 second X-Three,X-Two masked true'), (404, '4 second X-Three,X-Two signed true'),
             (405, '5 third X-Four,X-One signed false'), (411, '1 other unsigned true')) a (log_id, expected);
SELECT is((a -> 'attempt') - '{id,created_at}'::text[] - (SELECT array_agg(k) FROM jsonb_object_keys(pg_temp.call('read', 'acme', 'logs(page_size => 1)') #> '{logs,0}') k),
          '{"response_body": null, "response_headers": "Server: s", "remote_ip": null, "configuration_version": 2}',
          'level read sees the response''s headers and the version'),
       is(a - '{now,attempt,attempts,delivery,attempts_max}'::text[], '{"request": null, "curl": null, "changed_since": true}',
          'and whether the webhook was changed, but no names of headers')
FROM pg_temp.call('read', 'initech', 'attempt(402)') a;
SELECT is(pg_temp.call('manage', 'acme', 'attempt(402)') ->> 'state', 'PT404', 'others see nothing of it');
SELECT is(pg_temp.call('operate', NULL, 'attempt(401)') #>> '{request,url}', 'https://first.example/', 'operators do');

DELETE FROM hooks.webhook_history WHERE configuration_id = '00000000-0000-0000-0000-000000000030' AND version = 3;
SELECT is(pg_temp.made_with(log_id), expected, format('attempt(%s) shows the current version if the history does not reach back', log_id))
FROM (VALUES (401, '5 third X-Four,X-One signed true'), (402, '5 third X-Four,X-One signed true'),
             (403, '3 second X-Three,X-Two masked true')) a (log_id, expected);
DELETE FROM hooks.webhook_configurations WHERE name = 'v';
SELECT is(a -> 'changed_since', 'null', 'of a deleted webhook it is not known'), is(a -> 'request', 'null', 'and no request is shown')
FROM pg_temp.call('manage', 'initech', 'attempt(404)') a;
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, version)
VALUES ('00000000-0000-0000-0000-000000000030', 'initech', 'another', 'https://another.example/', '{*}', 4);
SELECT is(a -> 'changed_since', 'true', 'another webhook with its id is not the one'), is(a -> 'request', 'null', 'that the request was of')
FROM pg_temp.call('manage', 'initech', 'attempt(404)') a;

-- --- hostile strings -------------------------------------------------------------------------------------------------

CREATE TABLE hostile AS SELECT * FROM unnest(ARRAY[$x$'; DROP TABLE contacts; --"\%s$1<script>$x$ || U&'\202E', '{', '\u0000', repeat('x', 100000),
                                                   E'%\n']) text;
SELECT is_empty($$
    SELECT c.call, left(h.text, 40), a
    FROM hostile h, unnest(ARRAY['webhooks(search => %L)', 'webhooks(%L)', 'webhooks(after => %L)', 'webhooks(status => %L)', 'logs(event => %L)',
        'logs(key => %L)', 'logs(status => %L)', 'match_count(ARRAY[%L])', 'match_count(NULL, %L)', 'try_filter(%L)', 'find(%L)', 'find(key => %L)',
        'find(source => %1$L, key => %1$L)', 'verify(%1$L, %1$L, ''{}'')',
        'verify(%1$L, %1$L, ''{"webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}'')',
        'pending(event_id => 1, after => %L)', 'pending(event_id => 1, state => %L)', 'check(%L)']) c (call),
        LATERAL (SELECT pg_temp.call('manage', 'acme', format(c.call, h.text)) AS a OFFSET 0) x
    WHERE a ->> 'state' !~ '^(22|42601|42704|54)'
$$, 'hostile texts are searched for, or refused as arguments');
SELECT is_empty($$
    SELECT f.member, left(h.text, 40), a FROM hostile h, unnest(ARRAY['name', 'url', 'filter', 'secret', 'ordering', 'test_event', 'organization']) f (member),
        LATERAL (SELECT pg_temp.saved(jsonb_build_object('name', 'x', 'url', 'https://example.com/', 'events', '["*"]'::jsonb)
                                      || jsonb_build_object(f.member, h.text)) AS a OFFSET 0) x
    WHERE a ? 'state' AND (a ->> 'state' !~ '^(22|23505|42601|42704|54)' OR (a ->> 'detail')::jsonb ->> 'field' IS DISTINCT FROM f.member)
$$, 'in each member of a webhook they are stored, or refused by the name of the member');
SELECT is_empty($$
    SELECT left(h.text, 40) FROM hostile h, LATERAL pg_temp.saved(jsonb_build_object('name', h.text, 'url', 'https://example.com/', 'events', '["*"]'::jsonb)) a
    WHERE length(h.text) <= 200 AND btrim(h.text) <> '' AND a #>> '{webhook,name}' IS DISTINCT FROM h.text
$$, 'and a name is as it was given');
SELECT is(count(*), 1::bigint, 'no text was executed') FROM pg_class WHERE oid = to_regclass('contacts');

SELECT * FROM finish();
ROLLBACK;
