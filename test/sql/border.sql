-- Nothing crosses from one organization to another: every table, view, segment, sequence and function of the extension,
-- as the catalog lists them, is tried by each level, in both directions. In one transaction, rolled back.
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
SELECT plan(28);

CREATE ROLE regress_webhook_none;
CREATE ROLE regress_webhook_monitor IN ROLE pg_monitor;
CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage'),
       hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null
GRANT USAGE ON SCHEMA hooks TO regress_webhook_none, regress_webhook_monitor;

CREATE VIEW relations AS
    SELECT c.oid, c.relname, c.relkind, c.relispartition FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
    WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'webhook') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S');
CREATE VIEW functions AS
    SELECT p.oid, p.oid::regprocedure::text AS signature, p.prorettype
    FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'webhook');

-- What each organization has: its name stands in every text of it. Its numbers are too long to occur in a time by chance.
CREATE TABLE tenants AS
    SELECT * FROM (VALUES
        ('umbrella', '00000000-0000-0000-0000-00000000000a'::uuid, 730000101::bigint, 820000011::bigint),
        ('globex', '00000000-0000-0000-0000-00000000000b', 730000102, 820000012)) t (organization, webhook, log_id, event_id);
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier)
VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, 1);
-- An earlier webhook had the same id.
INSERT INTO hooks.webhook_history (changed_at, configuration_id, organization_id, operation, version)
SELECT now() - interval '1 d', webhook, organization, 'DELETE', 1 FROM tenants;
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, secret, headers)
SELECT webhook, organization, 'webhook of ' || organization, 'https://' || organization || '.example/', '{contact.*}',
       'the secret of ' || organization, jsonb_build_object('X-Key', organization) FROM tenants;
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, key, data, previous)
SELECT 0, event_id, pg_current_xact_id(), now() - interval '1 h', 'contact.created', organization, organization,
       json_build_object('of', organization), json_build_object('was of', organization) FROM tenants;
INSERT INTO hooks.webhook_logs (id, slot, created_at, configuration_id, organization_id, event_id, event, attempt, status,
                                response_status, response_body, error)
SELECT log_id, 0, now(), webhook, organization, event_id, 'contact.created', 1, 'failed', 500, organization, organization
FROM tenants;
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, key,
                                      created_at, state, attempts, next_attempt_at, last_error, slot)
SELECT event_id, webhook, now(), organization, 'contact.created', organization, now() - interval '1 h', 'pending', 1, now(),
       organization, 0 FROM tenants;
INSERT INTO hooks.webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute, attempts,
                                   successes, durations)
SELECT webhook, 0, now(), organization, date_trunc('minute', now()), 1, 0, array_fill(0, ARRAY[47]) || 1 FROM tenants;
INSERT INTO hooks.webhook_hours (configuration_id, slot, configuration_created_at, organization_id, hour, attempts,
                                 successes, durations, unjudged, events, statuses)
SELECT webhook, webhook_internal.hour_slot(now()), now(), organization, date_trunc('hour', now()), 1, 0,
       array_fill(0, ARRAY[47]) || 1, 0, jsonb_build_object(organization, '[1, 0]'::jsonb), '{"0": [1, 0]}' FROM tenants;
INSERT INTO hooks.webhook_endpoints (configuration_id, configuration_created_at, organization_id, circuit_opened_at,
                                     last_error)
SELECT webhook, now(), organization, now(), organization FROM tenants;
INSERT INTO hooks.webhook_replays (id, configuration_id, configuration_created_at, organization_id, since, until, only_failed, role,
                                   session_role, subject, place, snapshot, first_event_id, last_event_id, position)
SELECT log_id, webhook, now(), organization, '-infinity', now(), false, 'r', 'r', organization, 1, pg_current_snapshot(), event_id,
       event_id, 0 FROM tenants;
-- No worker sees what this transaction makes: its answer to a test.
CREATE OR REPLACE FUNCTION webhook_internal.send_test(
    webhook uuid, created_at timestamptz, organization text, event text, data json, timeout_ms integer, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint,
    OUT url text, OUT headers text, OUT body text)
    LANGUAGE sql AS $$SELECT 'success', 200, webhook::text, NULL, 12.5::double precision, 43::bigint,
        'https://example.com/hook', E'Content-Type: application/json\r\nX-Own: ***', data::text$$;

CREATE TABLE borders AS
    SELECT mine.organization AS mine, theirs.organization AS theirs, theirs.webhook, theirs.log_id, theirs.event_id,
           webhook_internal.encode_id(i.instance, theirs.event_id, e.created_at) AS webhook_id
    FROM tenants mine JOIN tenants theirs ON theirs.organization <> mine.organization
    JOIN hooks.webhook_events e ON e.id = theirs.event_id, hooks.webhook_instance i;

-- Runs a query as a role, acting for an organization: by the setting, or by a claim as PostgREST does. Returns its rows
-- as text, or all that its error says. It is undone if undo is true.
CREATE FUNCTION answer(role text, organization text, query text, undo boolean DEFAULT true, by_claim boolean DEFAULT false)
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    result text := '';
    state text; message text; detail text; hint text;
BEGIN
    IF by_claim THEN
        PERFORM set_config('request.jwt.claims', json_build_object('organization_id', organization)::text, true);
    ELSE
        PERFORM set_config('webhook.organization_id', organization, true);
    END IF;
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    IF query LIKE 'TRUNCATE %' THEN
        EXECUTE query;
    ELSE
        FOR line IN EXECUTE query LOOP
            result := result || coalesce(line, 'null') || E'\n';
        END LOOP;
    END IF;
    PERFORM set_config('role', 'none', true);
    PERFORM set_config('request.jwt.claims', '', true);
    PERFORM set_config('webhook.organization_id', '', true);
    IF undo THEN
        RAISE EXCEPTION 'undone' USING ERRCODE = 'UNDNE';
    END IF;
    RETURN result;
EXCEPTION
    WHEN SQLSTATE 'UNDNE' THEN
        RETURN result;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                                hint = PG_EXCEPTION_HINT;
        RETURN format('ERROR %s: %s %s %s', state, message, detail, hint);
END
$$;

-- --- relations -------------------------------------------------------------------------------------------------------

-- The columns of a relation that a role may use so, as one expression or list; null if there are none.
CREATE FUNCTION usable_columns(role text, relation oid, privilege text) RETURNS name[] LANGUAGE sql AS $$
    SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
      AND has_column_privilege('regress_webhook_' || role, relation, a.attnum, privilege)
$$;
-- The rows that a role sees of an organization, by its name in any column; -1 if it may read none.
CREATE FUNCTION seen(role text, organization text, relation oid, sought text, by_claim boolean DEFAULT false)
    RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    answered text;
BEGIN
    IF usable_columns(role, relation, 'SELECT') IS NULL THEN
        answered := answer(role, organization, format('SELECT count(*) FROM %s', relation::regclass), true, by_claim);
        IF answered NOT LIKE 'ERROR 42501:%' THEN
            RAISE EXCEPTION '% has no right on % and still is told %', role, relation::regclass, answered;
        END IF;
        RETURN -1;
    END IF;
    answered := answer(role, organization, format('SELECT count(*) FROM %s WHERE concat_ws('' '', %s) LIKE %L',
        relation::regclass, (SELECT string_agg(quote_ident(c), ', ') FROM unnest(usable_columns(role, relation, 'SELECT')) c),
        '%' || sought || '%'), true, by_claim);
    RETURN answered::bigint;
END
$$;
CREATE TABLE sights AS
    SELECT l.role, b.mine, b.theirs, c.by_claim, r.oid::regclass AS relation, r.relkind, r.relispartition,
           seen(l.role, b.mine, r.oid, b.theirs, c.by_claim) AS of_theirs, seen(l.role, b.mine, r.oid, b.mine, c.by_claim) AS of_mine
    FROM unnest(ARRAY['none', 'monitor', 'read', 'manage', 'operate']) l (role), borders b, relations r,
         (VALUES (false), (true)) c (by_claim);

SELECT is_empty('SELECT role, mine, relation, by_claim, of_theirs FROM sights WHERE role <> ''operate'' AND of_theirs > 0',
                'nobody but an operator sees a row of another organization, in any table or view');
SELECT is_empty('SELECT role, relation, of_mine FROM sights WHERE role = ''none'' AND of_mine >= 0',
                'who has no level sees nothing at all');
SELECT is_empty('SELECT relation, of_mine FROM sights WHERE role = ''monitor'' AND of_mine > 0',
                'a member of pg_monitor sees no row of any organization');
SELECT set_eq('SELECT DISTINCT relation::text FROM sights WHERE role = ''monitor'' AND of_mine >= 0',
              ARRAY['hooks.webhook_workers', 'hooks.webhook_rings', 'hooks.webhook_progress', 'hooks.webhook_nodes'], 'it may read these views and tables');
SELECT is_empty('SELECT role, relation, of_mine FROM sights WHERE (relkind = ''S'' OR relispartition) AND of_mine >= 0',
                'segments and sequences are nobody''s to read, not even an operator''s');
SELECT set_eq('SELECT DISTINCT role, relation::text FROM sights WHERE of_mine > 0 AND role IN (''read'', ''manage'')', $$
    VALUES ('read', 'hooks.webhook_configurations'), ('read', 'hooks.webhook_deliveries'), ('read', 'hooks.webhook_logs'),
           ('read', 'hooks.webhook_own_events'), ('read', 'hooks.webhook_minutes'), ('read', 'hooks.webhook_endpoints'),
           ('read', 'hooks.webhook_hours'), ('manage', 'hooks.webhook_hours'),
           ('read', 'hooks.webhook_stats'), ('read', 'hooks.webhook_history'), ('manage', 'hooks.webhook_history'),
           ('read', 'hooks.webhook_replays'), ('manage', 'hooks.webhook_replays'), ('manage', 'hooks.webhook_configurations'),
           ('manage', 'hooks.webhook_deliveries'), ('manage', 'hooks.webhook_logs'), ('manage', 'hooks.webhook_own_events'),
           ('manage', 'hooks.webhook_minutes'), ('manage', 'hooks.webhook_endpoints'), ('manage', 'hooks.webhook_stats')
$$, 'what is one''s own is seen (a new relation with rows of organizations belongs into this list)');
SELECT is_empty($$
    SELECT relation FROM sights WHERE role = 'operate' AND relation::text IN (SELECT relation::text FROM sights
        WHERE role = 'manage' AND of_mine > 0) AND of_theirs <= 0
$$, 'an operator sees both');
SELECT is_empty($$
    SELECT role, relation, mine FROM sights GROUP BY role, relation, mine
    HAVING min(of_mine) <> max(of_mine) OR min(of_theirs) <> max(of_theirs)
$$, 'a claim in request.jwt.claims shows the same as the setting');
SELECT is_empty($$
    SELECT l.role, r.relname, seen(l.role, '', r.oid, t.organization)
    FROM unnest(ARRAY['none', 'monitor', 'read', 'manage']) l (role), relations r, tenants t
    WHERE seen(l.role, '', r.oid, t.organization) > 0
$$, 'without an organization nothing of one is seen');

-- All that the extension stores of an organization, each row with its place, so that an UPDATE to the same shows.
CREATE FUNCTION holdings(sought text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    relation regclass;
    rows text;
    result text := '';
BEGIN
    FOR relation IN SELECT oid FROM relations WHERE relkind = 'r' ORDER BY relname LOOP
        EXECUTE format('SELECT string_agg(r.ctid || r::text, '' '' ORDER BY r.ctid) FROM %s r WHERE r::text LIKE %L',
                       relation, '%' || sought || '%') INTO rows;
        result := result || coalesce(relation || ': ' || rows || E'\n', '');
    END LOOP;
    RETURN result;
END
$$;
SELECT cmp_ok(length(holdings('globex')), '>', 500, 'there is something to damage');

-- Whether a statement of a role left alone what the other organization has; what it did is undone.
CREATE FUNCTION damage(role text, mine text, theirs text, statement text, OUT answered text, OUT is_damaged boolean)
    LANGUAGE plpgsql AS $$
DECLARE
    before text := holdings(theirs);
BEGIN
    answered := answer(role, mine, statement, false);
    is_damaged := holdings(theirs) IS DISTINCT FROM before;
    RAISE EXCEPTION 'undone' USING ERRCODE = 'UNDNE';
EXCEPTION WHEN SQLSTATE 'UNDNE' THEN NULL;
END
$$;
CREATE TABLE blows AS
    SELECT l.role, b.mine, r.relname, s.statement, d.answered, d.is_damaged
    FROM unnest(ARRAY['none', 'monitor', 'read', 'manage', 'operate']) l (role), borders b, relations r
    CROSS JOIN LATERAL (
        SELECT format('DELETE FROM %s RETURNING 1', r.oid::regclass)
        UNION ALL SELECT format('TRUNCATE %s', r.oid::regclass)
        UNION ALL SELECT format('UPDATE %s SET %s RETURNING 1', r.oid::regclass,
            (SELECT string_agg(format('%1$I = %1$I', c), ', ')
             FROM unnest(coalesce(usable_columns(l.role, r.oid, 'UPDATE'), ARRAY[(
                 SELECT attname FROM pg_attribute WHERE attrelid = r.oid AND attnum = 1)])) c))) s (statement)
    CROSS JOIN LATERAL damage(l.role, b.mine, b.theirs, s.statement) d
    WHERE r.relkind IN ('r', 'p', 'v') AND (s.statement NOT LIKE 'TRUNCATE%' OR r.relkind <> 'v');
SELECT is_empty('SELECT role, mine, statement, answered FROM blows WHERE role <> ''operate'' AND is_damaged',
                'no DELETE, UPDATE or TRUNCATE of any relation touches another organization''s rows');
SELECT set_eq($$SELECT DISTINCT role, relname::text FROM blows WHERE answered LIKE '1%' AND role <> 'operate'$$,
              $$VALUES ('manage', 'webhook_configurations')$$, 'one''s own webhooks are all that can be changed');
SELECT isnt_empty('SELECT 1 FROM blows WHERE role = ''operate'' AND is_damaged', 'an operator changes any');
SELECT is_empty($$
    SELECT DISTINCT role, relname, answered FROM blows WHERE answered LIKE 'ERROR%' AND answered !~ '^ERROR (42501|55000)'
$$, 'the rest is denied, and says so');

-- --- functions -------------------------------------------------------------------------------------------------------

-- How a function is tried: from mine, with what is the other's. WEBHOOK, LOG, EVENT, PUBLIC_ID and ORGANIZATION stand for
-- the other's. NULL: it takes and tells nothing of an organization, reads no table of ours, or of webhook_event_types only.
CREATE TABLE tried (signature text PRIMARY KEY, call text);
INSERT INTO tried VALUES
    ('hooks.webhook_server_state()', NULL), ('webhook_internal.check_node(uuid)', NULL),
    ('webhook_internal.is_node()', NULL), ('webhook_internal.node_states()', NULL),
    ('hooks.webhook_health()', NULL), ('hooks.webhook_metrics()', NULL),  -- of all together: test/sql/health.sql
    ('webhook_internal.worker_slots()', NULL), ('webhook_internal.progress()', NULL),
    ('hooks.webhook_check(uuid)', 'SELECT c FROM hooks.webhook_check(WEBHOOK) c'),
    ('webhook_internal.check_sources(uuid)', 'SELECT c FROM webhook_internal.check_sources(WEBHOOK) c'),
    ('webhook_internal.check_subscriptions(uuid)', 'SELECT c FROM webhook_internal.check_subscriptions(WEBHOOK) c'),
    ('webhook_internal.check_deferred_tenant(uuid)', 'SELECT webhook_internal.check_deferred_tenant(WEBHOOK)'),
    ('webhook_internal.check_secrets_tenant(uuid)', 'SELECT webhook_internal.check_secrets_tenant(WEBHOOK)'),
    ('webhook_internal.check_shares_tenant(uuid)', 'SELECT webhook_internal.check_shares_tenant(WEBHOOK)'),
    ('hooks.webhook_explain(bigint)', 'SELECT e FROM hooks.webhook_explain(EVENT) e'),
    ('hooks.webhook_find(text)', 'SELECT f FROM hooks.webhook_find(PUBLIC_ID) f'),
    ('webhook_internal.find_tenant(text)', 'SELECT f FROM webhook_internal.find_tenant(PUBLIC_ID) f'),
    ('hooks.webhook_reveal_secret(uuid)', 'SELECT hooks.webhook_reveal_secret(WEBHOOK)'),
    ('webhook_internal.reveal_secret_tenant(uuid)', 'SELECT webhook_internal.reveal_secret_tenant(WEBHOOK)'),
    ('webhook_internal.check_limit(text)', 'SELECT webhook_internal.check_limit(ORGANIZATION)'),
    ('hooks.webhook_redeliver(bigint)', 'SELECT r FROM hooks.webhook_redeliver(LOG) r'),
    ('webhook_internal.redeliver_tenant(uuid,bigint[])', 'SELECT webhook_internal.redeliver_tenant(WEBHOOK, ARRAY[EVENT]::bigint[])'),
    ('webhook_internal.attempts(bigint[])', 'SELECT webhook_internal.attempts(ARRAY[LOG]::bigint[])'),
    ('webhook_internal.redeliver_events(uuid,bigint[])', 'SELECT webhook_internal.redeliver_events(WEBHOOK, ARRAY[EVENT]::bigint[])'),
    ('hooks.webhook_replay(uuid,timestamp with time zone,timestamp with time zone,text[],boolean,boolean)',
     'SELECT hooks.webhook_replay(WEBHOOK, ''-infinity'')'),
    ('webhook_internal.replay_tenant(uuid,timestamp with time zone,timestamp with time zone,text[],boolean,boolean)',
     'SELECT webhook_internal.replay_tenant(WEBHOOK, ''-infinity'', ''infinity'', NULL, false, false)'),
    ('hooks.webhook_cancel(uuid,bigint)', 'SELECT hooks.webhook_cancel(WEBHOOK, EVENT)'),
    ('webhook_internal.cancel_tenant(uuid,bigint)', 'SELECT webhook_internal.cancel_tenant(WEBHOOK, EVENT)'),
    ('hooks.webhook_rotate_secret(uuid,interval)', 'SELECT hooks.webhook_rotate_secret(WEBHOOK)'),
    ('webhook_internal.rotate_secret_tenant(uuid,interval)', 'SELECT webhook_internal.rotate_secret_tenant(WEBHOOK, ''1 h'')'),
    ('hooks.webhook_curl(bigint)', 'SELECT hooks.webhook_curl(LOG)'),
    ('hooks.webhook_test(uuid,text,json)', 'SELECT t FROM hooks.webhook_test(WEBHOOK) t'),
    ('webhook_internal.test_tenant(uuid,text,json)', 'SELECT t FROM webhook_internal.test_tenant(WEBHOOK, ''contact.created'', ''{}'') t'),
    ('webhook_api.test(uuid,text,json)', 'SELECT webhook_api.test(WEBHOOK)'),
    ('webhook_api.replay(uuid,timestamp with time zone,timestamp with time zone,text[],boolean,boolean)',
     'SELECT webhook_api.replay(WEBHOOK, ''-infinity'')'),
    ('webhook_api.history(uuid,bigint,integer)', 'SELECT webhook_api.history(WEBHOOK)'),
    ('hooks.webhook_emit(text,json,text,text)',
     'SELECT hooks.webhook_emit(''contact.created'', ''{}'', ORGANIZATION) FROM hooks.webhook_flush()'),
    ('webhook_internal.emit_tenant(text,json,text)', NULL),  -- takes no organization: test/sql/tenancy.sql
    -- Without digits, so that no time is taken for an id.
    ('webhook_api."check"(text)', 'SELECT translate(webhook_api.check(ORGANIZATION)::text, ''0123456789'', '''')'),
    ('webhook_api.webhooks(text,text,text,text,integer)',
     'SELECT translate(webhook_api.webhooks(ORGANIZATION)::text, ''0123456789'', '''')'),
    ('webhook_api.webhook(uuid)', 'SELECT webhook_api.webhook(WEBHOOK)'),
    ('webhook_api.save(jsonb,uuid,timestamp with time zone)', 'SELECT webhook_api.save(''{"name": "x", "secret": "a new secret"}'', WEBHOOK)'),
    ('webhook_api.delete(uuid,timestamp with time zone)', 'SELECT webhook_api.delete(WEBHOOK)'),
    ('webhook_api.validate(jsonb,uuid)', 'SELECT webhook_api.validate(''{"name": "x"}'', WEBHOOK)'),
    ('webhook_api.reveal(uuid)', 'SELECT webhook_api.reveal(WEBHOOK)'),
    ('webhook_api.rotate(uuid,double precision)', 'SELECT webhook_api.rotate(WEBHOOK)'),
    ('webhook_api.match_count(text[],text,text)',
     'SELECT translate(webhook_api.match_count(organization => ORGANIZATION)::text, ''0123456789'', '''')'),
    ('webhook_api.try_filter(text,text[],text,integer)',
     'SELECT translate(webhook_api.try_filter(''$'', organization => ORGANIZATION)::text, ''0123456789'', '''')'),
    ('webhook_api.logs(uuid,text,text,text,text,bigint,timestamp with time zone,timestamp with time zone,bigint,bigint,integer)',
     'SELECT webhook_api.logs(WEBHOOK)'),
    ('webhook_api.attempt(bigint)', 'SELECT webhook_api.attempt(LOG)'),
    ('webhook_api.pending(uuid,text,bigint,text,integer)', 'SELECT webhook_api.pending(WEBHOOK)'),
    ('webhook_api.series(uuid,text,timestamp with time zone,timestamp with time zone)', 'SELECT webhook_api.series(WEBHOOK)'),
    ('webhook_api.breakdown(uuid,text,timestamp with time zone,timestamp with time zone)', 'SELECT webhook_api.breakdown(WEBHOOK)'),
    ('webhook_api.redeliver(bigint[])', 'SELECT webhook_api.redeliver(ARRAY[LOG])'),
    ('webhook_api.cancel(uuid,bigint)', 'SELECT webhook_api.cancel(WEBHOOK)'),
    ('webhook_api.explain(bigint)', 'SELECT webhook_api.explain(EVENT)'),
    ('webhook_api.find(text,text,text,text)', 'SELECT webhook_api.find(PUBLIC_ID)'),
    ('webhook_internal.attempts_of(uuid,bigint,timestamp with time zone)',
     'SELECT a FROM webhook_internal.attempts_of(WEBHOOK, EVENT, ''-infinity'') a'),
    ('webhook_api.replays(uuid,bigint,integer)', 'SELECT webhook_api.replays(WEBHOOK)'),
    ('webhook_api.cancel_replay(bigint)', 'SELECT webhook_api.cancel_replay(LOG)'),
    ('webhook_internal.count_replay(uuid,timestamp with time zone,timestamp with time zone,text[],boolean)',
     'SELECT c FROM webhook_internal.count_replay(WEBHOOK, ''-infinity'', ''infinity'', NULL, false) c'),
    ('webhook_internal.count_replay_tenant(uuid,timestamp with time zone,timestamp with time zone,text[],boolean)',
     'SELECT c FROM webhook_internal.count_replay_tenant(WEBHOOK, ''-infinity'', ''infinity'', NULL, false) c'),
    ('webhook_internal.start_replay(uuid,timestamp with time zone,timestamp with time zone,text[],boolean)',
     'SELECT webhook_internal.start_replay(WEBHOOK, ''-infinity'', ''infinity'', NULL, false)'),
    ('webhook_internal.start_replay_tenant(uuid,timestamp with time zone,timestamp with time zone,text[],boolean)',
     'SELECT webhook_internal.start_replay_tenant(WEBHOOK, ''-infinity'', ''infinity'', NULL, false)'),
    ('webhook_internal.cancel_replay_tenant(bigint)', 'SELECT webhook_internal.cancel_replay_tenant(LOG)'),
    ('webhook_internal.describe_replays(bigint[])', 'SELECT webhook_internal.describe_replays(ARRAY[LOG]::bigint[])'),
    ('webhook_internal.check_webhook(uuid)', 'SELECT c FROM webhook_internal.check_webhook(WEBHOOK) c'),
    ('webhook_internal.check_settings(hooks.webhook_configurations)', 'SELECT c FROM webhook_internal.check_settings(jsonb_populate_record(NULL::hooks.webhook_configurations, jsonb_build_object(''id'', WEBHOOK, ''organization_id'', ORGANIZATION, ''is_active'', true))) c'),
    ('webhook_internal.check_attempts(hooks.webhook_configurations)', 'SELECT c FROM webhook_internal.check_attempts(jsonb_populate_record(NULL::hooks.webhook_configurations, jsonb_build_object(''id'', WEBHOOK, ''organization_id'', ORGANIZATION, ''is_active'', true))) c'),
    ('webhook_internal.check_deliveries(hooks.webhook_configurations)', 'SELECT c FROM webhook_internal.check_deliveries(jsonb_populate_record(NULL::hooks.webhook_configurations, jsonb_build_object(''id'', WEBHOOK, ''organization_id'', ORGANIZATION, ''created_at'', now()))) c'),
    ('webhook_internal.find_webhooks(text,text,text,text,text,integer)',
     'SELECT f.ids FROM webhook_internal.find_webhooks(ORGANIZATION, NULL, NULL, NULL, NULL, 10) f'),
    ('webhook_internal.conspicuous_webhooks(text,integer)', 'SELECT webhook_internal.conspicuous_webhooks(ORGANIZATION, 10)'),
    ('webhook_internal.count_deliveries(uuid,timestamp with time zone,text,integer)',
     'SELECT c.pending + c.dead FROM hooks.webhook_configurations w, webhook_internal.count_deliveries(WEBHOOK, w.created_at, ORGANIZATION, 10) c'),
    ('webhook_internal.sum_minutes(uuid,timestamp with time zone,text)',
     'SELECT c.attempts FROM hooks.webhook_configurations w, webhook_internal.sum_minutes(WEBHOOK, w.created_at, ORGANIZATION) c'),
    ('webhook_internal.count_passing(bigint[],jsonpath)', 'SELECT c FROM webhook_internal.count_passing(ARRAY[EVENT], ''$'') c'),
    ('webhook_internal.describe_request(hooks.webhook_logs)', 'SELECT webhook_internal.describe_request(jsonb_populate_record(NULL::hooks.webhook_logs, jsonb_build_object(''configuration_id'', WEBHOOK, ''organization_id'', ORGANIZATION,
     ''event_id'', EVENT, ''event'', ''contact.created'', ''attempt'', 1, ''created_at'', now())))'),
    ('webhook_internal.sent_configuration(hooks.webhook_logs)', 'SELECT s FROM webhook_internal.sent_configuration(jsonb_populate_record(NULL::hooks.webhook_logs, jsonb_build_object(''configuration_id'', WEBHOOK,
     ''organization_id'', ORGANIZATION, ''configuration_version'', 1, ''created_at'', now()))) s'),
    ('webhook_internal.is_deleted_since(hooks.webhook_logs)', 'SELECT webhook_internal.is_deleted_since(jsonb_populate_record(NULL::hooks.webhook_logs, jsonb_build_object(''configuration_id'', WEBHOOK,
     ''organization_id'', ORGANIZATION, ''created_at'', ''-infinity'')))'),
    ('webhook_internal.hold_webhook(uuid,timestamp with time zone)', 'SELECT webhook_internal.hold_webhook(WEBHOOK, NULL)'),
    ('webhook_internal.hours_of_day(uuid[],timestamp with time zone,timestamp with time zone,timestamp with time zone)',
     'SELECT h FROM webhook_internal.hours_of_day(ARRAY[WEBHOOK]::uuid[], date_trunc(''day'', now(), ''UTC''), ''-infinity'', ''infinity'') h'),
    ('webhook_internal.breakdown_by_hour(uuid[],timestamp with time zone,timestamp with time zone,integer)',
     'SELECT b FROM webhook_internal.breakdown_by_hour(ARRAY[WEBHOOK]::uuid[], now() - interval ''1 day'', now(), 1000) b'),
    ('webhook_internal.breakdown_of_log(uuid[],bigint,timestamp with time zone,timestamp with time zone)',
     'SELECT webhook_internal.breakdown_of_log(ARRAY[WEBHOOK]::uuid[], 1000000000, ''-infinity'', ''infinity'')'),
    ('webhook_internal.hour_of_series(uuid[],timestamp with time zone,timestamp with time zone,timestamp with time zone,integer)',
     'SELECT h FROM webhook_internal.hour_of_series(ARRAY[WEBHOOK]::uuid[], date_trunc(''day'', now(), ''UTC''), ''-infinity'', ''infinity'', 60) h'),
    ('webhook_internal.log_id_at(uuid,timestamp with time zone)', 'SELECT webhook_internal.log_id_at(WEBHOOK, ''-infinity'')'),
    ('webhook_internal.log_range(bigint,bigint,boolean,bigint)', 'SELECT l FROM webhook_internal.log_range(LOG + 1, 1, false, NULL) l'),
    ('webhook_internal.log_start(uuid[],bigint,timestamp with time zone)',
     'SELECT nullif(webhook_internal.log_start(ARRAY[WEBHOOK]::uuid[], NULL, ''-infinity''), 9223372036854775807)'),
    ('webhook_internal.log_step(uuid[],bigint,integer,integer,integer)',
     'SELECT l FROM webhook_internal.log_step(ARRAY[WEBHOOK]::uuid[], 1000000000, 10, 10, 0) l'),
    ('webhook_internal.log_after(uuid[],bigint,integer,integer,integer)',
     'SELECT l FROM webhook_internal.log_after(ARRAY[WEBHOOK]::uuid[], 0, 10, 10, 0) l'),
    ('webhook_internal.newest_logs(uuid[],bigint,timestamp with time zone)',
     'SELECT n FROM webhook_internal.newest_logs(ARRAY[WEBHOOK]::uuid[], 1000000000, ''-infinity'') n WHERE (n.log).id IS NOT NULL'),
    ('webhook_internal.search_logs(uuid[],bigint,text,text,text,bigint,timestamp with time zone,timestamp with time zone,bigint,boolean,integer)',
     'SELECT s.matching FROM webhook_internal.search_logs(ARRAY[WEBHOOK]::uuid[], NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1000000000, false, 10) s'),
    ('webhook_internal.explain_event(bigint,timestamp with time zone,text,text,integer,bigint,integer)',
     'SELECT e FROM webhook_internal.explain_event(EVENT, now(), ''contact.created'', ORGANIZATION, NULL, NULL, NULL) e'),
    ('webhook_internal.organizations(integer)', 'SELECT webhook_internal.organizations(10)'),
    ('webhook_internal.recent_events(text,integer)', 'SELECT r FROM webhook_internal.recent_events(ORGANIZATION, 10) r'),
    ('webhook_internal.recent_events_tenant(integer)', 'SELECT r FROM webhook_internal.recent_events_tenant(10) r'),
    ('webhook_internal.save_problem(jsonb,uuid)', 'SELECT webhook_internal.save_problem(''{"name": ""}'', WEBHOOK)'),
    ('webhook_internal.summarize(uuid[])', 'SELECT webhook_internal.summarize(ARRAY[WEBHOOK]::uuid[])'),
    ('webhook_internal.webhooks_in_scope(uuid,text,integer)', 'SELECT webhook_internal.webhooks_in_scope(WEBHOOK, NULL, 10)'),
    ('webhook_internal.require_webhook(uuid)', 'SELECT webhook_internal.require_webhook(WEBHOOK)'),
    ('webhook_internal.describe_webhook(uuid)', 'SELECT webhook_internal.describe_webhook(WEBHOOK)'),
    ('hooks.webhook_current_organization()', 'SELECT hooks.webhook_current_organization()');
INSERT INTO tried
SELECT CASE WHEN f LIKE 'webhook\_internal.%' THEN f ELSE 'hooks.' || f END, NULL FROM unnest(ARRAY['webhook_internal.library_version()', 'webhook_internal.series(text)', 'webhook_flush()', 'webhook_is_preloaded()', 'webhook_generate_secret()',
    'webhook_url_problem(text)', 'webhook_header_problem(text,text)', 'webhook_event_pattern_problem(text)',
    'webhook_event_matches(text,text)', 'webhook_sign(text,text)', 'webhook_sign(text,bigint,text,text)',
    'webhook_verify(text,text,text)', 'webhook_verify(text,bigint,text,text,text)',
    'webhook_internal.body(text,timestamp with time zone,json,json,boolean)', 'webhook_internal.encode_id(uuid,bigint,timestamp with time zone)',
    'webhook_internal.decode_id(uuid,text)', 'webhook_internal.shell_quote(text)', 'webhook_internal.was_active(boolean,integer[],integer)',
    'webhook_internal.is_settled(bigint)',  -- how far the workers are, not whose the event is
    'webhook_internal.known_events(text)', 'webhook_internal.check_event(text)',
    'webhook_internal.check_known_event(text)', 'webhook_internal.check_own_event(text)', 'webhook_internal.check_filter(jsonpath)',
    'webhook_filter_matches(jsonpath,json)', 'webhook_filter_problem(jsonpath,json)', 'webhook_filter_data_problem(text)',
    'webhook_internal.hour_slot(timestamp with time zone)', 'webhook_internal.is_by_hour(timestamp with time zone,uuid[])',
    'webhook_internal.step_of_series(interval,boolean)', 'webhook_internal.add_counts(jsonb,jsonb)', 'webhook_internal.sum_counts(jsonb)',
    'webhook_internal.duration_quantile(bigint[],double precision)', 'webhook_internal.check_event_pattern(text)', 'webhook_internal.check_range(text,integer,integer,integer)',
    'webhook_internal.check_events(text[])',
    'webhook_internal.check_replay(timestamp with time zone,timestamp with time zone,text[],boolean)', 'webhook_internal.check_headers(jsonb)', 'webhook_internal.check_retry_schedule(interval[])',
    'webhook_internal.trigger_arguments(bytea)', 'webhook_internal.trigger_option(text[],text)', 'webhook_internal.trigger_condition(oid)',
    'webhook_internal.check_source(regclass)', 'webhook_internal.check_columns(regclass,text,name[],text)', 'webhook_internal.check_comparison(regclass,name[],boolean)',
    'webhook_internal.check_restorable(regclass,name)', 'webhook_internal.condition_meaning(regclass,name)',
    'webhook_internal.condition_of_change(regclass,name)', 'webhook_internal.condition_of_value(regclass,name,text)',
    'webhook_internal.foreign_equality(regclass,name)', 'webhook_internal.unwatched_children(regclass,text)',
    'webhook_internal.watch_operation(text,text)', 'webhook_internal.watch_trigger_name(regclass,text,text)', 'webhook_internal.watch_key(regclass)',
    'webhook_internal.watch_arguments(regclass,text,text,name[],name[],name,name[],name[],name[],boolean,boolean,boolean,boolean)',
    'webhook_internal.subscriptions_of(regclass)', 'webhook_internal.needed_columns(regclass)', 'webhook_publication(name,name,text[])', 'webhook_internal.has_lost_slot(oid)', 'webhook_internal.fire_on_replicated(regclass,name)', 'webhook_internal.watch_notices(regclass,text,boolean)',
    'webhook_internal.watch_conflicts(regclass,text,text,name)', 'webhook_internal.normal_condition(regclass,text,text,text)',
    'webhook_internal.caller_level()', 'webhook_internal.caller_scope(text)', 'webhook_internal.check_page_size(integer,integer)',
    'webhook_internal.raise_again(text,text,text,text,text)', 'webhook_internal.raise_argument(text,text,text,text)',
    'webhook_internal.raise_unknown(text)', 'webhook_internal.apply_members(hooks.webhook_configurations,jsonb)',
    'webhook_internal.check_log_arguments(text,text,timestamp with time zone,timestamp with time zone,bigint,bigint)',
    'webhook_internal.check_members(jsonb)', 'webhook_internal.check_patterns(text,text[])', 'webhook_internal.check_secret(text)',
    'webhook_internal.check_server()', 'webhook_internal.log_slots(bigint,boolean)', 'webhook_internal.log_quota(integer,integer)', 'webhook_internal.column_default(text)', 'webhook_internal.verify_headers(jsonb)', 'webhook_internal.verify_timestamp(bigint)', 'webhook_internal.default_schedule()', 'webhook_internal.describe_delivery(hooks.webhook_deliveries)',
    'webhook_internal.describe_log(hooks.webhook_logs,text)', 'webhook_internal.describe_server()',
    'webhook_internal.is_signature(text,bigint,text,text,text)', 'webhook_internal.matches_any(text[],text)',
    'webhook_internal.merge_headers(jsonb,jsonb)', 'webhook_internal.read_filter(text)', 'webhook_internal.remedy(text)',
    'webhook_internal.sum_durations(integer[])', 'webhook_internal.sum_durations(bigint[])',
    'webhook_internal.verification_step(text,boolean,text)', 'webhook_internal.why_not_signed(text,bigint,text,text,text,boolean)']) f;
INSERT INTO tried VALUES ('webhook_api.session()', NULL), ('webhook_api.event_types()', NULL), ('webhook_api.watches()', NULL),
    ('webhook_api.verify(text,text,jsonb)', NULL);  -- session() tells the session's own organization: test/sql/api.sql

SELECT is_empty($$
    SELECT format('add to the table "tried" in test/sql/border.sql how %s is tried across the border', f.signature)
    FROM functions f, unnest(ARRAY['none', 'monitor', 'read', 'manage']) role
    WHERE has_function_privilege('regress_webhook_' || role, f.oid, 'EXECUTE')
      AND f.signature NOT IN (SELECT signature FROM tried)
$$, 'every function that a level below operate may execute is tried across the border');
SELECT is_empty($$
    SELECT f.signature FROM functions f, unnest(ARRAY['none', 'monitor', 'read', 'manage']) role
    WHERE f.prorettype = 'trigger'::regtype AND has_function_privilege('regress_webhook_' || role, f.oid, 'EXECUTE')
$$, 'none of them is a trigger function');

-- Once with what is the other's, once with what is nobody's: who calls cannot tell the two apart.
CREATE TABLE calls AS
    SELECT l.role, b.mine, b.theirs, t.signature, real.answered, real.is_damaged,
           replace(replace(replace(replace(replace(real.answered, b.webhook::text, 'WEBHOOK'), b.webhook_id, 'PUBLIC_ID'),
                   b.log_id::text, 'LOG'), b.event_id::text, 'EVENT'), b.theirs, 'ORGANIZATION') AS of_theirs,
           replace(replace(replace(replace(replace(none.answered, n.webhook::text, 'WEBHOOK'), n.webhook_id, 'PUBLIC_ID'),
                   n.log_id::text, 'LOG'), n.event_id::text, 'EVENT'), n.organization, 'ORGANIZATION') AS of_nobody
    FROM unnest(ARRAY['none', 'monitor', 'read', 'manage', 'operate']) l (role), borders b, tried t,
         (SELECT gen_random_uuid() AS webhook, 888888::bigint AS log_id, 777777::bigint AS event_id, 'initech' AS organization,
                 webhook_internal.encode_id(i.instance, 777777, now()) AS webhook_id FROM hooks.webhook_instance i) n
    CROSS JOIN LATERAL damage(l.role, b.mine, b.theirs, replace(replace(replace(replace(replace(t.call,
        'WEBHOOK', quote_literal(b.webhook)), 'LOG', b.log_id::text), 'EVENT', b.event_id::text),
        'PUBLIC_ID', quote_literal(b.webhook_id)), 'ORGANIZATION', quote_literal(b.theirs))) real
    CROSS JOIN LATERAL damage(l.role, b.mine, b.theirs, replace(replace(replace(replace(replace(t.call,
        'WEBHOOK', quote_literal(n.webhook)), 'LOG', n.log_id::text), 'EVENT', n.event_id::text),
        'PUBLIC_ID', quote_literal(n.webhook_id)), 'ORGANIZATION', quote_literal(n.organization))) none
    WHERE t.call IS NOT NULL AND to_regprocedure(t.signature) IS NOT NULL;
SELECT is_empty('SELECT role, mine, signature, answered FROM calls WHERE role <> ''operate'' AND is_damaged',
                'no function changes what another organization has');
SELECT is_empty($$
    SELECT role, mine, signature, of_theirs, of_nobody FROM calls WHERE role <> 'operate' AND of_theirs IS DISTINCT FROM of_nobody
$$, 'no function answers otherwise for what is another organization''s than for what is nobody''s');
SELECT is_empty($$
    SELECT role, mine, signature, answered FROM calls
    WHERE role <> 'operate' AND answered LIKE '%' || theirs || '%' AND signature NOT LIKE '%webhook_emit(%'
$$, 'no answer and no error shows a text of another organization');
SELECT set_eq($$
    SELECT DISTINCT signature FROM calls WHERE role = 'operate' AND of_theirs IS DISTINCT FROM of_nobody
$$, $$
    SELECT signature FROM tried
    WHERE call IS NOT NULL AND to_regprocedure(signature) IS NOT NULL
      AND signature !~ '_tenant\(|(webhook_emit|webhook_current_organization|check_limit|check_sources|check_subscriptions|check_settings)\('
$$, 'an operator is answered by all of them');

-- --- a session as PostgREST makes it ---------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA tap TO regress_webhook_manage;
SELECT format('GRANT ALL ON ALL TABLES IN SCHEMA %1$I TO regress_webhook_manage;
               GRANT ALL ON ALL SEQUENCES IN SCHEMA %1$I TO regress_webhook_manage', nspname)
FROM pg_namespace WHERE oid = pg_my_temp_schema() \gexec
SET LOCAL request.jwt.claims = '{"role": "regress_webhook_manage", "organization_id": "umbrella"}';
SET LOCAL role = 'regress_webhook_manage';
INSERT INTO hooks.webhook_configurations (name, url, events, secret)
VALUES ('by claim', 'https://example.com/', '{deal.*}', 'a secret by claim') RETURNING id \gset
SELECT is(organization_id, 'umbrella', 'a session with claims creates a webhook for its organization')
FROM hooks.webhook_configurations WHERE id = :'id';
SELECT is(hooks.webhook_reveal_secret(:'id'), 'a secret by claim', 'reveals its secret');
UPDATE hooks.webhook_configurations SET events = '{contact.*}', is_active = false WHERE id = :'id';
SELECT ok(events = '{contact.*}' AND NOT is_active AND disabled_at IS NOT NULL, 'edits it and switches it off')
FROM hooks.webhook_configurations WHERE id = :'id';
UPDATE hooks.webhook_configurations SET is_active = true WHERE id = :'id';
SELECT ok(is_active AND active_since IS NOT NULL, 'and on') FROM hooks.webhook_configurations WHERE id = :'id';
SELECT is(hooks.webhook_replay(:'id', '-infinity', dry_run => true), 1::bigint, 'can have what has happened sent to it');
SELECT ok(count(*) > 0, 'is told what is wrong with it') FROM hooks.webhook_check(:'id');
SELECT is(array_agg(error), '{umbrella}', 'reads the logs of its organization') FROM hooks.webhook_logs;
DELETE FROM hooks.webhook_configurations WHERE id = :'id';
SELECT is(array_agg(name), '{webhook of umbrella}', 'and deletes it') FROM hooks.webhook_configurations;
RESET role;

SELECT * FROM finish();
ROLLBACK;
