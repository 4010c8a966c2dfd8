-- What EXPLAIN tells a tenant of others' rows: nothing of what is in them. In one transaction, rolled back.
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
SET search_path = tap, pg_catalog;
SELECT plan(6);

CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage') \g /dev/null
GRANT USAGE ON SCHEMA tap TO PUBLIC;

-- Rows of two organizations: globex has 300 webhooks of ten names that are common, and what goes with them.
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, created_at, active_since, updated_at)
SELECT md5(i::text)::uuid, CASE i WHEN 0 THEN 'acme' ELSE 'globex ' || i / 10 END, 'hook ' || i % 10, 'https://globex.example/' || i % 10, '{*}',
       '2024-01-01'::timestamptz + i % 10 * interval '1 day', '2024-01-01'::timestamptz + i % 10 * interval '1 day', '2024-01-01'
FROM generate_series(0, 300) i;
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, key, data)
SELECT 0, 1000 + i % 30, '5', '2024-01-01', 'deal.created', organization_id, 'key ' || i % 10, '{}'
FROM hooks.webhook_configurations, generate_series(1, 5) i WHERE organization_id <> 'acme';
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state,
                                      last_error, attempts)
SELECT i, id, created_at, organization_id, 'deal.created', 'key ' || i, '2024-01-01', 'dead', 'HTTP status 503', 7
FROM hooks.webhook_configurations, generate_series(1, 5) i WHERE organization_id <> 'acme';
INSERT INTO hooks.webhook_logs (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, response_status, error,
                                remote_ip, response_body)
SELECT 0, '2024-01-01', id, organization_id, i, 'deal.created', 7, 'failed', 503, 'HTTP status 503', '192.0.2.1', 'no'
FROM hooks.webhook_configurations, generate_series(1, 5) i WHERE organization_id <> 'acme';
INSERT INTO hooks.webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute, attempts, successes, durations)
SELECT id, i, created_at, organization_id, '2024-01-01', 77, 76, '{1}' FROM hooks.webhook_configurations, generate_series(1, 5) i WHERE organization_id <> 'acme';
INSERT INTO hooks.webhook_hours (configuration_id, slot, configuration_created_at, organization_id, hour, attempts, successes, durations, unjudged,
                                 events, statuses)
SELECT id, i, created_at, organization_id, '2024-01-01', 77, 76, '{1}', 75, '{"a": 1}', '{"b": 2}' FROM hooks.webhook_configurations, generate_series(1, 5) i WHERE organization_id <> 'acme';
INSERT INTO hooks.webhook_endpoints (configuration_id, configuration_created_at, organization_id, failing_since, last_error)
SELECT id, created_at, organization_id, '2024-01-01', 'HTTP status 503' FROM hooks.webhook_configurations WHERE organization_id <> 'acme';
INSERT INTO webhook_internal.given_up (configuration_id, minute, organization_id, deliveries, first_event_id, last_event_id, reason)
SELECT id, '2024-01-01', organization_id, 77, 1, 2, 'too many' FROM hooks.webhook_configurations WHERE organization_id <> 'acme';
INSERT INTO hooks.webhook_replays (configuration_id, configuration_created_at, organization_id, since, until, only_failed, role, session_role,
                                   ended_at, state, progress, examined, queued, place, snapshot, first_event_id, last_event_id, position)
SELECT id, created_at, organization_id, '2024-01-01', '2024-01-01', true, 'r', 'r', '2024-01-01', 'done', 77, 77, 76, 1,
       pg_current_snapshot(), 1, 2, 2 FROM hooks.webhook_configurations, generate_series(1, 5) i WHERE organization_id <> 'acme';
ANALYZE webhook_internal.given_up, hooks.webhook_configurations, hooks.webhook_events, hooks.webhook_deliveries, hooks.webhook_logs, hooks.webhook_minutes, hooks.webhook_hours,
        hooks.webhook_endpoints, hooks.webhook_history, hooks.webhook_replays;

-- The columns that a level may read, with a value that is in others' rows, a value that is in none, and all operators that the
-- planner may take there: those of functions that are leakproof, with statistics.
CREATE FUNCTION tap.some_value(relation regclass, name name) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    value text;
BEGIN
    EXECUTE format('SELECT %1$I::text FROM %2$s WHERE organization_id <> ''acme'' AND %1$I IS NOT NULL LIMIT 1', name, relation) INTO value;
    RETURN value;
END
$$;
CREATE TABLE tap.asked AS
    SELECT c.oid::regclass AS relation, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, o.oprname AS operator, v.value,
           CASE a.atttypid WHEN 'text'::regtype THEN '~ of nobody' WHEN 'uuid'::regtype THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff'
                WHEN 'timestamptz'::regtype THEN '2030-01-01' WHEN 'boolean'::regtype THEN (NOT v.value::boolean)::text
                WHEN 'inet'::regtype THEN '203.0.113.99' ELSE '12321' END AS absent
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_operator o ON o.oprleft = a.atttypid AND o.oprright = a.atttypid JOIN pg_proc p ON p.oid = o.oprcode AND p.proleakproof
    CROSS JOIN LATERAL tap.some_value(c.oid, a.attname) v (value)
    WHERE c.relnamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace) AND a.attnum > 0 AND v.value IS NOT NULL
      AND a.attname NOT IN ('slot', 'state', 'status')  -- told apart by partitions, constraints and partial indexes
      AND c.relname IN ('webhook_configurations', 'webhook_deliveries', 'webhook_logs', 'webhook_minutes', 'webhook_hours', 'webhook_endpoints',
                        'webhook_own_events', 'webhook_history', 'webhook_replays', 'given_up');
GRANT SELECT ON tap.asked TO PUBLIC;
SELECT cmp_ok(count(DISTINCT (relation, name)), '>', 40::bigint, 'there is something to ask') FROM tap.asked;
SELECT set_eq('SELECT DISTINCT relation::text FROM tap.asked', $$
    SELECT polrelid::regclass::text FROM pg_policy WHERE polname = 'webhook_tenants' AND polrelid <> 'hooks.webhook_events'::regclass
    UNION SELECT 'hooks.webhook_own_events'$$, 'of all that tenants may read');

CREATE FUNCTION tap.expected_rows(relation regclass, name name, operator name, type text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE format('EXPLAIN (FORMAT json) SELECT 1 FROM %s WHERE %I OPERATOR(pg_catalog.%s) %L::%s', relation, name, operator, value, type)
    INTO plan;
    RETURN concat_ws(' ', plan -> 0 -> 'Plan' ->> 'Plan Rows', plan -> 0 -> 'Plan' ->> 'Total Cost');
EXCEPTION WHEN insufficient_privilege THEN
    RETURN 'denied';
END
$$;
SET webhook.organization_id = 'acme';
CREATE FUNCTION tap.differences(role text) RETURNS TABLE (asked text, of_others text, of_nobody text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', role, true);
    RETURN QUERY SELECT format('%s.%s %s %s', d.relation, d.name, d.operator, d.value), d.with_present, d.with_absent
    FROM (SELECT a.*, tap.expected_rows(a.relation, a.name, a.operator, a.type, a.value) AS with_present,
                 tap.expected_rows(a.relation, a.name, a.operator, a.type, a.absent) AS with_absent FROM tap.asked a) d
    WHERE d.with_present <> d.with_absent;
    PERFORM set_config('role', 'none', true);
END
$$;
SELECT is_empty('SELECT * FROM tap.differences(''regress_webhook_read'')', 'read: EXPLAIN expects as many rows of what others have as of what nobody has');
SELECT is_empty('SELECT * FROM tap.differences(''regress_webhook_manage'')', 'manage: nor with the columns that it may read');

-- Why.
SELECT is_empty($$
    SELECT a.attrelid::regclass, a.attname FROM pg_attribute a
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget IS DISTINCT FROM 0
      AND (a.attrelid IN (SELECT polrelid FROM pg_policy WHERE polname = 'webhook_tenants')
           OR a.attrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent IN (SELECT polrelid FROM pg_policy WHERE polname = 'webhook_tenants')
                             AND inhrelid IN (SELECT oid FROM pg_class WHERE relkind = 'r')))
$$, 'no statistics are kept of what is in a column of an organization''s rows');
SELECT is_empty($$
    SELECT i.indexrelid::regclass FROM pg_index i
    WHERE i.indrelid IN (SELECT polrelid FROM pg_policy WHERE polname = 'webhook_tenants') AND i.indexprs IS NOT NULL
    UNION ALL SELECT stxrelid::regclass FROM pg_statistic_ext
$$, 'nor of an expression, or of columns together');

SELECT * FROM finish();
ROLLBACK;
