-- webhook_health(), webhook_metrics() and webhook_progress: what they find, what they show to members of pg_monitor, and how
-- much they read. What workers tell is made up here; test/t/090_monitoring.pl asks real ones. In one transaction, rolled back.
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
SELECT plan(73);

CREATE ROLE regress_webhook_monitor IN ROLE pg_monitor;
CREATE ROLE regress_webhook_none;
CREATE ROLE regress_webhook_manage;
GRANT USAGE ON SCHEMA hooks, tap TO regress_webhook_monitor, regress_webhook_none;
SELECT hooks.webhook_grant('regress_webhook_manage', 'manage') \g /dev/null

-- --- without a worker ------------------------------------------------------------------------------------------------

SELECT is(array_agg(component), ARRAY['overall', 'server', 'switches', 'workers', 'database', 'lag', 'deliveries', 'storage',
                                      'secrets', 'endpoints', 'subscriptions'], 'the rows are the same in each answer')
FROM hooks.webhook_health();
SELECT is(array_agg(component || ' ' || status ORDER BY component), ARRAY['overall failing', 'workers failing'],
          'without a worker a database is failing, and everything else is ok')
FROM hooks.webhook_health() WHERE status <> 'ok';
SELECT matches(reason, '^no worker runs for this database', 'it says why'), matches(remedy, '.', 'and what to do') FROM hooks.webhook_health() WHERE component = 'workers';
SELECT is_empty($$SELECT * FROM hooks.webhook_health() WHERE status = 'ok' AND (reason IS NOT NULL OR remedy IS NOT NULL)$$,
                'what is ok has neither reason nor remedy');
SELECT is((SELECT m::text FROM hooks.webhook_metrics() m),
          '(' || current_database() || ',2,0,0,0,' || current_setting('webhook.workers')
              || ',0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,NaN,NaN,0,10737418240,0,10737418240,0,0)',
          'figures without a worker are 0, or not a number');
SELECT is_empty('SELECT * FROM hooks.webhook_progress', 'and nothing is under way');

-- --- with workers ----------------------------------------------------------------------------------------------------

-- What a worker writes into shared memory, here a table.
CREATE TABLE slots AS SELECT s.* FROM webhook_internal.worker_slots() s WITH NO DATA;
CREATE OR REPLACE FUNCTION webhook_internal.worker_slots(
    OUT database oid, OUT worker integer, OUT workers integer, OUT pid integer, OUT started_at timestamptz,
    OUT in_flight bigint, OUT queued bigint, OUT events_ahead bigint, OUT sent bigint, OUT failed bigint,
    OUT logged bigint, OUT oldest_event_at timestamptz, OUT last_error_at timestamptz, OUT state text,
    OUT reported_at timestamptz, OUT given_up bigint, OUT read_to timestamptz, OUT read_position bigint,
    OUT failing_since timestamptz, OUT overdue_since timestamptz, OUT webhooks bigint, OUT undecryptable bigint,
    OUT open_circuits bigint, OUT organizations bigint, OUT failing_organizations bigint, OUT pending bigint,
    OUT dead bigint, OUT counted_at timestamptz, OUT event_bytes bigint, OUT events_kept_since timestamptz,
    OUT log_bytes bigint, OUT logs_kept_since timestamptz)
    RETURNS SETOF record LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS 'SELECT * FROM public.slots';
-- The row of webhook_health() about a component when a worker tells this, and all else is well; undone.
CREATE FUNCTION pg_temp.found(asked text, told text DEFAULT '', statement text DEFAULT '',
                              OUT status text, OUT reason text, OUT remedy text, OUT others text)
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO slots (database, worker, workers, pid, started_at, in_flight, queued, events_ahead, sent, failed, logged, state,
                       reported_at, given_up, read_position, webhooks, undecryptable, open_circuits, organizations,
                       failing_organizations, event_bytes, log_bytes)
    SELECT oid, n, 2, 1, now(), 1, 2, 3, 40, 5, 39, 'delivering', clock_timestamp(), 1, 0, 10, 0, 0, 3, 0, 1000, 1000
    FROM pg_database, generate_series(1, 2) n WHERE datname = current_database();
    IF told <> '' THEN
        EXECUTE 'UPDATE slots SET ' || told || ' WHERE worker = 1';
    END IF;
    IF statement <> '' THEN
        EXECUTE statement;
    END IF;
    SELECT h.status, h.reason, h.remedy INTO status, reason, remedy FROM hooks.webhook_health() h WHERE h.component = asked;
    SELECT string_agg(h.component, ' ') INTO others FROM hooks.webhook_health() h
    WHERE h.component NOT IN (asked, 'overall') AND h.status <> 'ok';
    IF (SELECT h.status FROM hooks.webhook_health() h WHERE h.component = 'overall') IS DISTINCT FROM status THEN
        others := concat_ws(' ', others, 'and overall says otherwise');
    END IF;
    RAISE EXCEPTION 'undone' USING ERRCODE = 'UNDNE';
EXCEPTION WHEN SQLSTATE 'UNDNE' THEN NULL;
END
$$;
CREATE TABLE cases (component text, told text, statement text, status text, reason text, what text, place serial);
INSERT INTO cases (component, told, statement, status, reason, what) VALUES
    ('workers', '', '', 'ok', NULL, 'workers that run'),
    ('workers', 'reported_at = clock_timestamp() - interval ''40 s''', '', 'degraded', '^a worker has not come back from the database since ',
     'a worker that waits for the database'),
    ('workers', 'reported_at = clock_timestamp() - interval ''3 min''', '', 'failing', '^a worker has not come back', 'one that waits for long'),
    ('database', 'failing_since = clock_timestamp() - interval ''1 min'', last_error_at = clock_timestamp()', '', 'failing',
     '^the transactions of a worker have failed since', 'transactions that fail'),
    ('database', 'failing_since = clock_timestamp(), last_error_at = clock_timestamp()', '', 'degraded',
     '^a transaction of a worker failed at', 'one that has just failed'),
    ('database', 'last_error_at = clock_timestamp() - interval ''1 min''', '', 'degraded', '^a transaction of a worker failed at',
     'one that failed a minute ago'),
    ('database', 'last_error_at = clock_timestamp() - interval ''10 min''', '', 'ok', NULL, 'one that failed long ago'),
    ('switches', '', 'INSERT INTO hooks.webhook_instance VALUES (gen_random_uuid(), 1, 1, true, ''the receiver moves'')', 'degraded',
     '^this database is paused: the receiver moves$', 'a paused database'),
    ('lag', 'oldest_event_at = clock_timestamp() - interval ''1 min''', '', 'ok', NULL, 'an event that has waited for a minute'),
    ('lag', 'oldest_event_at = clock_timestamp() - interval ''3 min''', '', 'degraded', '^the oldest event that is neither', 'for three'),
    ('lag', 'oldest_event_at = clock_timestamp() - interval ''11 min''', '', 'failing', '^the oldest event that is neither', 'for eleven'),
    ('deliveries', 'overdue_since = clock_timestamp() - interval ''1 min''', '', 'ok', NULL, 'a backlog that is being fetched'),
    ('deliveries', 'overdue_since = clock_timestamp() - interval ''6 min''', '', 'degraded', '^since .* more pending deliveries are due',
     'one that the workers cannot fetch'),
    ('deliveries', 'pending = 1000000, dead = 1000000, given_up = 1000000, counted_at = now()', '', 'ok', NULL,
     'deliveries of dead endpoints'),
    ('storage', 'events_kept_since = clock_timestamp() - interval ''2 min''', '', 'degraded', '^the oldest segment of webhook_events cannot',
     'a ring of events that cannot turn'),
    ('storage', 'logs_kept_since = clock_timestamp() - interval ''2 min''', '', 'degraded', '^the oldest segment of webhook_logs cannot',
     'one of logs'),
    ('storage', 'logs_kept_since = clock_timestamp() - interval ''2 min'', events_kept_since = clock_timestamp()', '', 'degraded',
     'of webhook_events and of webhook_logs cannot', 'both'),
    ('storage', 'events_kept_since = clock_timestamp() - interval ''10 s''', '', 'ok', NULL, 'one that turns in a moment'),
    ('storage', 'event_bytes = 14 * 1024^3', '', 'degraded', '^webhook_events has 14 GB, and webhook.max_event_size is 10 GB$', 'events beyond their size'),
    ('storage', 'event_bytes = 21 * 1024^3', '', 'failing', '^webhook_events has 21 GB', 'twice their size'),
    ('storage', 'log_bytes = 14 * 1024^3', '', 'degraded', '^webhook_logs has 14 GB, and webhook.max_log_size is 10 GB$', 'logs beyond theirs'),
    ('secrets', 'undecryptable = 4', '', 'degraded', '^the secrets of 4 of 20 webhooks cannot be decrypted', 'secrets without their key'),
    ('endpoints', 'open_circuits = 10, failing_organizations = 1', '', 'ok', NULL, 'the endpoints of one organization of several'),
    ('endpoints', 'open_circuits = 4, failing_organizations = 4, organizations = 4', '', 'degraded',
     '^the endpoints of 4 of 20 webhooks fail, in 4 of 7 organizations$', 'those of most'),
    ('endpoints', 'open_circuits = 8, webhooks = 5, organizations = 0', 'UPDATE slots SET organizations = 1, webhooks = 5', 'degraded',
     '^the endpoints of 8 of 10 webhooks fail', 'most of a database with few organizations'),
    ('endpoints', 'open_circuits = 2, webhooks = 1', 'UPDATE slots SET organizations = 1, webhooks = 1', 'ok', NULL, 'two of two');
SELECT is(f.status, c.status, c.what || ' is ' || c.status),
       CASE WHEN c.reason IS NULL THEN is(f.reason, NULL, 'without a reason')
            ELSE ok(f.reason ~ c.reason AND f.remedy <> '' AND f.others IS NULL, 'with a reason, a remedy and no other finding')
                 || CASE WHEN f.reason ~ c.reason AND f.remedy <> '' AND f.others IS NULL THEN ''
                         ELSE E'\n' || diag(f) END END
FROM cases c, LATERAL pg_temp.found(c.component, c.told, c.statement) f ORDER BY c.place;

INSERT INTO slots (database, worker, workers, pid, started_at, in_flight, queued, events_ahead, sent, failed, logged, state,
                   reported_at, given_up, read_position, webhooks, undecryptable, open_circuits, organizations, failing_organizations,
                   event_bytes, log_bytes, pending, dead, counted_at, oldest_event_at, read_to)
SELECT oid, n, 2, 1, now(), 1, 2, 3, 40, 5, 39, CASE n WHEN 1 THEN 'loading webhooks' ELSE 'catching up' END, clock_timestamp(), 1, 4, 10, 0,
       1, 3, 1, 1000, 2000, CASE n WHEN 1 THEN 7 END, CASE n WHEN 1 THEN 8 END, now(), NULL, now()
FROM pg_database, generate_series(1, 2) n WHERE datname = current_database();
INSERT INTO slots SELECT 1, 1, 1, 1, now(), 100, 100, 100, 100, 100, 100, NULL, NULL, 'catching up', now(), 100, NULL, 0, NULL, NULL,
                         100, 100, 100, 100, 100, 100, 100, now(), 100, NULL, 100, NULL;
SELECT is((SELECT concat_ws(' ', workers, webhooks, open_circuits, organizations, failing_organizations, requests_in_flight,
                            queued_deliveries, events_ahead, requests_total, failures_total, attempts_total, given_up_total,
                            pending_deliveries, dead_deliveries, events_bytes, logs_bytes)
           FROM hooks.webhook_metrics()), '2 20 2 6 2 2 4 6 80 10 78 2 7 8 1000 2000',
          'figures are the sums of the workers of this database, and counts those of the first');

-- --- progress, and how much is read, with a long log ---------------------------------------------------------------------

INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, secret)
SELECT gen_random_uuid(), 'umbrella', 'webhook of umbrella ' || n, 'https://umbrella.example/', '{contact.*}', 'the secret of umbrella'
FROM generate_series(1, 200) n;
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
SELECT n % 8, n, pg_current_xact_id(), now(), 'contact.created', 'umbrella', '{}' FROM generate_series(1, 20000) n;
INSERT INTO hooks.webhook_logs (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status)
SELECT n % 8, now(), c.id, 'umbrella', n, 'contact.created', 1, 'success'
FROM generate_series(1, 500) n, hooks.webhook_configurations c;
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at, state,
                                      next_attempt_at)
SELECT n, c.id, c.created_at, 'umbrella', 'contact.created', now(), CASE n % 2 WHEN 0 THEN 'pending' ELSE 'dead' END, now()
FROM generate_series(1, 100) n, hooks.webhook_configurations c;
INSERT INTO hooks.webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute, attempts, successes, durations)
SELECT c.id, n, now(), 'umbrella', now(), 1, 0, '{}' FROM generate_series(1, 100) n, hooks.webhook_configurations c;
INSERT INTO hooks.webhook_replays (id, configuration_id, configuration_created_at, organization_id, since, until, only_failed, role,
                                   session_role, place, snapshot, first_event_id, last_event_id, position, state, progress, examined)
SELECT 5, id, now(), 'umbrella', '-infinity', now(), false, 'umbrella', 'umbrella', 1, pg_current_snapshot(), 1, 2, 0, 'running', 40, 400
FROM hooks.webhook_configurations LIMIT 1;

-- The rows of the extension's tables that a statement reads in this transaction, by sequential scans or by indexes.
CREATE FUNCTION pg_temp.rows_read(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
    after bigint;
BEGIN
    SELECT sum(s.seq_tup_read + coalesce(s.idx_tup_fetch, 0)) INTO before FROM pg_stat_xact_user_tables s WHERE s.schemaname IN ('hooks', 'webhook_internal');
    EXECUTE statement;
    SELECT sum(s.seq_tup_read + coalesce(s.idx_tup_fetch, 0)) INTO after FROM pg_stat_xact_user_tables s WHERE s.schemaname IN ('hooks', 'webhook_internal');
    RETURN after - before;
END
$$;
SELECT cmp_ok(pg_temp.rows_read('SELECT count(*) FROM hooks.webhook_logs'), '>=', 100000::bigint, 'rows that are read are counted');
SELECT cmp_ok(pg_temp.rows_read('SELECT * FROM hooks.webhook_health()'), '<=', 1::bigint, 'webhook_health() reads one row, however long the log is');
SELECT cmp_ok(pg_temp.rows_read('SELECT * FROM hooks.webhook_metrics()'), '<=', 1::bigint, 'so does webhook_metrics()');
SELECT cmp_ok(pg_temp.rows_read('SELECT * FROM hooks.webhook_progress'), '<=', 10100::bigint, 'webhook_progress reads no more than it counts');

SELECT set_eq($$SELECT activity, worker, replay_id, done, percent FROM hooks.webhook_progress$$,
    $$VALUES ('loading webhooks', 1, NULL::bigint, 10::bigint, 100), ('catching up', 2, NULL, NULL, NULL),
             ('replaying', NULL::integer, 5, 400, 40)$$, 'webhook_progress shows workers that load or catch up, and replays');
SELECT is(remaining, 10000::bigint, 'events to be read are counted to a bound'), is(read_to, now(), 'and it says how far the worker is')
FROM hooks.webhook_progress WHERE activity = 'catching up';
UPDATE slots SET read_position = 19990 WHERE worker = 2;
SELECT is(remaining, 10::bigint, 'exactly below it') FROM hooks.webhook_progress WHERE activity = 'catching up';

-- --- who sees what ---------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.as_role(role text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    EXECUTE query INTO result;
    PERFORM set_config('role', 'none', true);
    RETURN result;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN SQLSTATE;
END
$$;
CREATE TABLE answers AS
    SELECT r.role, q.query, pg_temp.as_role(r.role, q.query) AS answer
    FROM unnest(ARRAY['none', 'monitor', 'manage']) r (role), unnest(ARRAY[
        'SELECT string_agg(h::text, '' '') FROM hooks.webhook_health() h', 'SELECT string_agg(m::text, '' '') FROM hooks.webhook_metrics() m',
        'SELECT string_agg(p::text, '' '') FROM hooks.webhook_progress p', 'SELECT string_agg(w::text, '' '') FROM hooks.webhook_workers w',
        'SELECT string_agg(r::text, '' '') FROM hooks.webhook_rings r']) q (query);
SELECT is_empty($$SELECT role, query FROM answers WHERE (role = 'monitor') <> (answer <> '42501')$$,
                'members of pg_monitor may ask, and others may not');
SELECT is_empty($$SELECT query, answer FROM answers WHERE answer ~* 'umbrella|https?:|contact\.created'$$,
                'no answer has a name, a URL or an event of an organization');
SELECT is(pg_temp.as_role('monitor', query), '42501', 'a member of pg_monitor may not: ' || query)
FROM unnest(ARRAY['SELECT webhook_internal.health_facts()', 'SELECT count(*) FROM webhook_internal.worker_slots()',
                  'SELECT count(*) FROM hooks.webhook_configurations']) query;

SELECT * FROM finish();
ROLLBACK;
