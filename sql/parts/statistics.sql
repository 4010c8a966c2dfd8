-- How deliveries go: by the minute, by the endpoint, and summed up.

-- A minute's row is written over a day later: without a DELETE there is never more than a day.
CREATE TABLE @extschema@.webhook_minutes (
    configuration_id uuid NOT NULL,
    slot             smallint NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    organization_id  text,
    minute           timestamptz NOT NULL,
    attempts         integer NOT NULL,
    successes        integer NOT NULL,
    durations        integer[] NOT NULL,
    unjudged         integer NOT NULL DEFAULT 0,
    PRIMARY KEY (configuration_id, slot)
) WITH (fillfactor = 70);
COMMENT ON TABLE @extschema@.webhook_minutes IS
    'How the deliveries of the last 24 hours went, webhook by webhook and minute by minute. What webhook_stats sums up. '
    'Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_minutes.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_minutes.configuration_created_at IS
    'The created_at of the webhook, which tells it from one that had the id before or has it now.';
COMMENT ON COLUMN @extschema@.webhook_minutes.slot IS 'The minute of the day (UTC), 0 to 1439.';
COMMENT ON COLUMN @extschema@.webhook_minutes.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_minutes.minute IS 'The beginning of the minute. One of another day is out of date.';
COMMENT ON COLUMN @extschema@.webhook_minutes.attempts IS 'How many attempts ended in it.';
COMMENT ON COLUMN @extschema@.webhook_minutes.successes IS 'How many of them were successful.';
COMMENT ON COLUMN @extschema@.webhook_minutes.unjudged IS
    'How many events the filter could not judge: an error, or beyond its bounds. They were not delivered.';
COMMENT ON COLUMN @extschema@.webhook_minutes.durations IS
    'How many took how long: element i (from 1) counts those below 0.25 ms * 2^((i - 1) / 2) and not below the one '
    'before it; 48 elements.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_minutes');
CREATE POLICY webhook_tenants ON @extschema@.webhook_minutes FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_minutes IS 'An organization reads its own statistics.';
CREATE POLICY webhook_operators ON @extschema@.webhook_minutes FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_minutes IS 'Operators read all statistics.';

CREATE TABLE @extschema@.webhook_endpoints (
    configuration_id  uuid PRIMARY KEY,
    configuration_created_at timestamptz NOT NULL,
    organization_id   text,
    circuit_opened_at timestamptz,
    next_probe_at     timestamptz,
    failing_since     timestamptz,
    last_success_at   timestamptz,
    last_failure_at   timestamptz,
    last_error        text,
    filter_failed_at  timestamptz,
    filter_error      text,
    updated_at        timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (fillfactor = 70);
COMMENT ON TABLE @extschema@.webhook_endpoints IS
    'How the worker found each webhook''s endpoint. Written when the circuit opens or closes, and otherwise every few '
    'seconds. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.configuration_created_at IS
    'The created_at of the webhook, which tells it from one that had the id before or has it now.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.circuit_opened_at IS 'Since when the circuit is open. Null: it is closed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.next_probe_at IS 'When one delivery is tried, while the circuit is open.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.failing_since IS
    'The first failed attempt since the last success. After webhook.disable_after the webhook is switched off.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_success_at IS 'When an attempt or a test was last successful.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_error IS 'Why it did.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.filter_failed_at IS
    'When the filter last could not judge an event. Null: never since a worker saw it given, or changed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.filter_error IS 'Why it could not.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.updated_at IS 'When the row was last written.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_endpoints');
CREATE POLICY webhook_tenants ON @extschema@.webhook_endpoints FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_endpoints IS 'An organization reads its own state of endpoints.';
CREATE POLICY webhook_operators ON @extschema@.webhook_endpoints FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_endpoints IS 'Operators read all state of endpoints.';

-- Bucket i (from 1) of webhook_minutes.durations counts attempts below 0.25 ms * 2^((i - 1) / 2): see
-- src/core/statistics.h. The middle of the bucket that the quantile lies in, by the logarithm.
CREATE FUNCTION webhook_internal.duration_quantile(durations bigint[], quantile double precision)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT round((0.25 * power(2, (c.bucket - 1.5) / 2))::numeric, 3)::double precision
    FROM (SELECT u.bucket, sum(u.count) OVER (ORDER BY u.bucket) AS below, sum(u.count) OVER () AS total
          FROM unnest(durations) WITH ORDINALITY u (count, bucket)) c
    WHERE c.total > 0 AND c.below >= quantile * c.total
    ORDER BY c.bucket LIMIT 1
$$;
COMMENT ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision) IS
    'A quantile (0 to 1) of counts as in webhook_minutes.durations, in milliseconds, to within 20 %; null without any.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision)');

-- Of the last 24 hours. The sums come before the join, so that each webhook's minutes are read once.
CREATE VIEW @extschema@.webhook_stats WITH (security_invoker) AS
    SELECT c.id AS configuration_id, c.organization_id, c.name, c.is_active,
           coalesce(m.attempts, 0) AS attempts, coalesce(m.successes, 0) AS successes,
           round(100.0 * m.successes / nullif(m.attempts, 0), 1) AS success_percent,
           webhook_internal.duration_quantile(m.durations, 0.5) AS p50_ms,
           webhook_internal.duration_quantile(m.durations, 0.95) AS p95_ms,
           e.last_success_at, e.last_failure_at, e.last_error,
           coalesce(p.owed, 0) AS owed, coalesce(x.dead, 0) AS dead,
           CASE WHEN e.circuit_opened_at IS NULL THEN 'closed' ELSE 'open' END AS circuit,
           e.circuit_opened_at, e.next_probe_at, e.failing_since,
           coalesce(m.unjudged, 0) AS unjudged, e.filter_failed_at, e.filter_error
    FROM @extschema@.webhook_configurations c
    LEFT JOIN @extschema@.webhook_endpoints e
           ON e.configuration_id = c.id AND e.configuration_created_at = c.created_at
              AND e.organization_id IS NOT DISTINCT FROM c.organization_id
    LEFT JOIN LATERAL (
        SELECT sum(b.attempts) AS attempts, sum(b.successes) AS successes, sum(b.unjudged) AS unjudged,
               array_agg(b.count ORDER BY b.bucket) AS durations
        FROM (SELECT u.bucket, sum(u.count)::bigint AS count,
                     sum(CASE WHEN u.bucket = 1 THEN r.attempts END)::bigint AS attempts,
                     sum(CASE WHEN u.bucket = 1 THEN r.successes END)::bigint AS successes,
                     sum(CASE WHEN u.bucket = 1 THEN r.unjudged END)::bigint AS unjudged
              FROM @extschema@.webhook_minutes r, unnest(r.durations) WITH ORDINALITY u (count, bucket)
              WHERE r.configuration_id = c.id AND r.configuration_created_at = c.created_at
                AND r.organization_id IS NOT DISTINCT FROM c.organization_id AND r.minute > now() - interval '24 hours'
              GROUP BY u.bucket) b) m ON true
    LEFT JOIN LATERAL (SELECT count(*) AS owed FROM @extschema@.webhook_deliveries d
                       WHERE d.configuration_id = c.id AND d.configuration_created_at = c.created_at
                         AND d.organization_id IS NOT DISTINCT FROM c.organization_id AND d.state = 'pending') p ON true
    LEFT JOIN LATERAL (SELECT count(*) AS dead FROM @extschema@.webhook_deliveries d
                       WHERE d.configuration_id = c.id AND d.configuration_created_at = c.created_at
                         AND d.organization_id IS NOT DISTINCT FROM c.organization_id AND d.state = 'dead') x ON true;
COMMENT ON VIEW @extschema@.webhook_stats IS
    'How each webhook does: the deliveries of the last 24 hours, up to a few seconds ago, what is owed, and the circuit.';
COMMENT ON COLUMN @extschema@.webhook_stats.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_stats.organization_id IS 'Whose it is.';
COMMENT ON COLUMN @extschema@.webhook_stats.name IS 'What it is called.';
COMMENT ON COLUMN @extschema@.webhook_stats.is_active IS 'Whether it receives anything.';
COMMENT ON COLUMN @extschema@.webhook_stats.attempts IS 'Attempts of the last 24 hours.';
COMMENT ON COLUMN @extschema@.webhook_stats.successes IS 'How many of them were successful.';
COMMENT ON COLUMN @extschema@.webhook_stats.success_percent IS 'The same in percent; null if there was no attempt.';
COMMENT ON COLUMN @extschema@.webhook_stats.p50_ms IS
    'Half of the attempts took at most so many milliseconds, to within 20 %. Null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_stats.p95_ms IS '95 of 100 did.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_success_at IS 'When an attempt was last successful.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_error IS 'Why it did.';
COMMENT ON COLUMN @extschema@.webhook_stats.owed IS 'How many deliveries are pending in webhook_deliveries.';
COMMENT ON COLUMN @extschema@.webhook_stats.dead IS 'How many deliveries there are dead.';
COMMENT ON COLUMN @extschema@.webhook_stats.circuit IS
    'closed: all is sent. open: the endpoint failed 5 times in a row, and one delivery is tried from time to time.';
COMMENT ON COLUMN @extschema@.webhook_stats.circuit_opened_at IS 'Since when the circuit is open.';
COMMENT ON COLUMN @extschema@.webhook_stats.next_probe_at IS 'When the next delivery is tried while it is.';
COMMENT ON COLUMN @extschema@.webhook_stats.failing_since IS 'The first failed attempt since the last success.';
COMMENT ON COLUMN @extschema@.webhook_stats.unjudged IS
    'How many events of the last 24 hours the filter could not judge: an error, or beyond its bounds. They were not delivered.';
COMMENT ON COLUMN @extschema@.webhook_stats.filter_failed_at IS 'When the filter last could not judge an event.';
COMMENT ON COLUMN @extschema@.webhook_stats.filter_error IS 'Why it could not.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_stats');
