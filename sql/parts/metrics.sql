-- webhook_metrics() and webhook_progress: what the workers do, in numbers.

-- One row, because that is what exporters take best. All are double precision, so that what is not known is NaN.
-- SECURITY DEFINER for the same reason as webhook_health().
CREATE FUNCTION @extschema@.webhook_metrics(
    OUT datname text, OUT status double precision, OUT workers double precision, OUT workers_asleep double precision,
    OUT workers_waiting double precision, OUT workers_wanted double precision,
    OUT standby double precision, OUT paused double precision, OUT webhooks double precision,
    OUT undecryptable_webhooks double precision, OUT open_circuits double precision, OUT organizations double precision,
    OUT failing_organizations double precision, OUT requests_in_flight double precision,
    OUT queued_deliveries double precision, OUT events_ahead double precision, OUT lag_seconds double precision,
    OUT overdue_seconds double precision, OUT report_age_seconds double precision, OUT requests_total double precision,
    OUT failures_total double precision, OUT attempts_total double precision, OUT given_up_total double precision,
    OUT pending_deliveries double precision, OUT dead_deliveries double precision, OUT events_bytes double precision,
    OUT events_max_bytes double precision, OUT logs_bytes double precision, OUT logs_max_bytes double precision,
    OUT subscriptions double precision, OUT stopped_subscriptions double precision)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT current_database(),
           (SELECT array_position(ARRAY['ok', 'degraded', 'failing'], h.status) - 1
            FROM webhook_internal.health_of(f) h WHERE h.component = 'overall'),
           f.workers, f.workers_asleep, f.workers_waiting, f.workers_wanted, f.is_standby::integer,
           (f.is_paused OR NOT f.is_enabled)::integer, f.webhooks,
           f.undecryptable, f.open_circuits, f.organizations, f.failing_organizations, f.in_flight, f.queued,
           f.events_ahead,
           greatest(coalesce(extract(epoch FROM clock_timestamp() - f.oldest_event_at), 0), 0),
           greatest(coalesce(extract(epoch FROM clock_timestamp() - f.overdue_since), 0), 0),
           greatest(coalesce(extract(epoch FROM clock_timestamp() - f.oldest_report_at), 0), 0),
           f.sent, f.failed, f.logged, f.given_up, coalesce(f.pending, 'NaN'::double precision),
           coalesce(f.dead, 'NaN'::double precision), f.event_bytes, f.event_bytes_max, f.log_bytes, f.log_bytes_max,
           f.subscriptions, f.subscriptions_stopped
    FROM webhook_internal.health_facts() f
$$;
COMMENT ON FUNCTION @extschema@.webhook_metrics() IS
    'The figures of this database for exporters: one row of numbers. docs/monitoring.md explains each. As cheap as '
    'webhook_health(), and shows nothing of organizations.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_metrics()');

-- How many events a worker has yet to read, counted to a bound, by the indexes in their order.
CREATE FUNCTION webhook_internal.events_behind(read_position bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' SET jit = off
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
BEGIN
    RETURN (SELECT count(*) FROM (SELECT FROM @extschema@.webhook_events e WHERE e.id > read_position
                                  ORDER BY e.id LIMIT 10000) e);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.events_behind(bigint) IS
    'How many stored events have a higher id. 10000: so many or more. Null: a segment is locked.';

-- SECURITY DEFINER, because it reads tables of which monitoring sees numbers only.
CREATE FUNCTION webhook_internal.progress()
    RETURNS TABLE (activity text, worker integer, replay_id bigint, done bigint, remaining bigint,
                   percent integer, since timestamptz, read_to timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms'
    SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT s.state, s.worker, NULL::bigint, s.webhooks, t.total - s.webhooks,
           (100 * s.webhooks / nullif(t.total, 0))::integer, s.started_at, NULL::timestamptz
    FROM webhook_internal.worker_slots() s JOIN pg_database d ON d.oid = s.database AND d.datname = current_database(),
         LATERAL (SELECT greatest(c.reltuples::bigint / s.workers, s.webhooks) AS total FROM pg_class c
                  WHERE c.oid = '@extschema@.webhook_configurations'::regclass) t
    WHERE s.state = 'loading webhooks'
    UNION ALL
    SELECT s.state, s.worker, NULL, NULL, webhook_internal.events_behind(s.read_position), NULL, s.started_at, s.read_to
    FROM webhook_internal.worker_slots() s JOIN pg_database d ON d.oid = s.database AND d.datname = current_database()
    WHERE s.state = 'catching up';
    RETURN QUERY
    SELECT CASE r.state WHEN 'running' THEN 'replaying' ELSE 'waiting to replay' END, NULL::integer, r.id, r.examined,
           NULL::bigint, r.progress::integer, coalesce(r.started_at, r.requested_at), r.newest_event_at
    FROM @extschema@.webhook_replays r WHERE r.ended_at IS NULL ORDER BY r.id LIMIT 1000;
EXCEPTION WHEN lock_not_available THEN
    RETURN;
END
$$;
COMMENT ON FUNCTION webhook_internal.progress() IS 'The rows of the view webhook_progress.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'EXECUTE ON FUNCTION webhook_internal.progress()');

CREATE VIEW @extschema@.webhook_progress WITH (security_invoker) AS
    SELECT p.activity, p.worker, p.replay_id, p.done, p.remaining, p.percent, p.since, p.read_to
    FROM webhook_internal.progress() p;
COMMENT ON VIEW @extschema@.webhook_progress IS
    'What takes a while in this database: workers that load webhooks or catch up, and replays that have not ended (the '
    'first 1000).';
COMMENT ON COLUMN @extschema@.webhook_progress.activity IS
    'loading webhooks, catching up, replaying or waiting to replay.';
COMMENT ON COLUMN @extschema@.webhook_progress.worker IS 'The number of the worker. Null for a replay.';
COMMENT ON COLUMN @extschema@.webhook_progress.replay_id IS 'webhook_replays.id. Null for a worker.';
COMMENT ON COLUMN @extschema@.webhook_progress.done IS
    'The webhooks that are loaded, or the events that the replay has examined. Null while catching up.';
COMMENT ON COLUMN @extschema@.webhook_progress.remaining IS
    'The webhooks that are not loaded yet, as estimated by pg_class.reltuples, or the stored events that the worker has not '
    'read. 10000: so many or more. Null for a replay.';
COMMENT ON COLUMN @extschema@.webhook_progress.percent IS 'How much is done, from 0 to 100. Null while catching up.';
COMMENT ON COLUMN @extschema@.webhook_progress.since IS 'When the worker or the replay started.';
COMMENT ON COLUMN @extschema@.webhook_progress.read_to IS
    'When the newest event that was read was captured. Null while loading webhooks.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'SELECT ON @extschema@.webhook_progress');
