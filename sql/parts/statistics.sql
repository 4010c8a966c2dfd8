-- Results of deliveries: per minute, per endpoint, and as a summary.

-- A row is overwritten a day later. So the table never has more than a day, without a DELETE.
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
    'The results of the last 24 hours, per webhook and minute. webhook_stats sums them up. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_minutes.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_minutes.configuration_created_at IS
    'The webhook''s created_at, which distinguishes it from earlier and later webhooks with the same id.';
COMMENT ON COLUMN @extschema@.webhook_minutes.slot IS 'The minute of the day (UTC), 0 to 1439.';
COMMENT ON COLUMN @extschema@.webhook_minutes.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_minutes.minute IS
    'The beginning of the minute. A row of another day is out of date.';
COMMENT ON COLUMN @extschema@.webhook_minutes.attempts IS 'How many attempts ended in the minute.';
COMMENT ON COLUMN @extschema@.webhook_minutes.successes IS 'How many of them succeeded.';
COMMENT ON COLUMN @extschema@.webhook_minutes.unjudged IS
    'How many events the filter could not judge, because of an error or a limit. They were not delivered.';
COMMENT ON COLUMN @extschema@.webhook_minutes.durations IS
    'How many attempts took how long: 48 counts. Element i (from 1) counts the durations below 0.25 ms * 2^((i - 1) / '
    '2) that are not in the elements before it.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_minutes');
CREATE POLICY webhook_tenants ON @extschema@.webhook_minutes FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_minutes IS 'An organization reads its own statistics.';
CREATE POLICY webhook_operators ON @extschema@.webhook_minutes FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_minutes IS 'Operators read all statistics.';

-- Like webhook_minutes, for 90 days.
CREATE TABLE @extschema@.webhook_hours (
    configuration_id uuid NOT NULL,
    slot             smallint NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    organization_id  text,
    hour             timestamptz NOT NULL,
    attempts         integer NOT NULL,
    successes        integer NOT NULL,
    durations        integer[] NOT NULL,
    unjudged         integer NOT NULL,
    events           jsonb NOT NULL,
    statuses         jsonb NOT NULL,
    PRIMARY KEY (configuration_id, slot)
) WITH (fillfactor = 70);
COMMENT ON TABLE @extschema@.webhook_hours IS
    'The results of the last 90 days, per webhook and hour. webhook_api.series() and breakdown() sum them up. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_hours.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_hours.configuration_created_at IS
    'The webhook''s created_at, which distinguishes it from earlier and later webhooks with the same id.';
COMMENT ON COLUMN @extschema@.webhook_hours.slot IS
    'webhook_internal.hour_slot(hour), 0 to 2159. A row is overwritten 90 days later.';
COMMENT ON COLUMN @extschema@.webhook_hours.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_hours.hour IS
    'The beginning of the hour. A row that is older than 90 days is out of date.';
COMMENT ON COLUMN @extschema@.webhook_hours.attempts IS 'How many attempts ended in the hour.';
COMMENT ON COLUMN @extschema@.webhook_hours.successes IS 'How many of them succeeded.';
COMMENT ON COLUMN @extschema@.webhook_hours.unjudged IS
    'How many events the filter could not judge, because of an error or a limit. They were not delivered.';
COMMENT ON COLUMN @extschema@.webhook_hours.durations IS
    'How many attempts took how long, as in webhook_minutes.durations.';
COMMENT ON COLUMN @extschema@.webhook_hours.events IS
    'The attempts and successes by event: {"contact.created": [10, 9]}. From about 100 names on, others are counted under '
    'the name "".';
COMMENT ON COLUMN @extschema@.webhook_hours.statuses IS
    'The attempts and successes by response_status: {"200": [9, 9], "0": [1, 0]}. 0: there was no response.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_hours');
CREATE POLICY webhook_tenants ON @extschema@.webhook_hours FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_hours IS 'An organization reads its own statistics.';
CREATE POLICY webhook_operators ON @extschema@.webhook_hours FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_hours IS 'Operators read all statistics.';

CREATE FUNCTION webhook_internal.hour_slot(at timestamptz) RETURNS smallint
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (extract(epoch FROM at)::bigint / 3600 % 2160)::smallint
$$;
COMMENT ON FUNCTION webhook_internal.hour_slot(timestamptz) IS
    'The slot of webhook_hours that has this time: the hour, counted from 1970 (UTC), modulo those of 90 days.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.hour_slot(timestamptz)');

-- The number of names in a sum is bounded.
CREATE FUNCTION webhook_internal.add_counts(sum jsonb, counts jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN sum IS NULL THEN counts WHEN counts IS NULL THEN sum ELSE (
        SELECT coalesce(jsonb_object_agg(n.name, jsonb_build_array(n.attempts, n.successes)), '{}')
        FROM (SELECT b.name, sum((b.pair ->> 0)::bigint) AS attempts, sum((b.pair ->> 1)::bigint) AS successes
              FROM (SELECT s.key AS name, s.value AS pair FROM jsonb_each(sum) s
                    UNION ALL
                    SELECT CASE WHEN sum ? c.key OR (SELECT count(*) FROM jsonb_object_keys(sum)) < 100
                                THEN c.key ELSE '' END, c.value
                    FROM jsonb_each(counts) c) b
              GROUP BY b.name) n) END
$$;
COMMENT ON FUNCTION webhook_internal.add_counts(jsonb, jsonb) IS
    'The sums of two values of webhook_hours.events or statuses. The transition function of '
    'webhook_internal.sum_counts(jsonb).';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.add_counts(jsonb, jsonb)');

CREATE AGGREGATE webhook_internal.sum_counts(jsonb) (SFUNC = webhook_internal.add_counts, STYPE = jsonb);
COMMENT ON AGGREGATE webhook_internal.sum_counts(jsonb) IS 'The sums of webhook_hours.events or of statuses.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sum_counts(jsonb)');

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
    'The state of each webhook''s endpoint. Written when the circuit opens or closes, and otherwise every few seconds. '
    'Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_endpoints.configuration_created_at IS
    'The webhook''s created_at, which distinguishes it from earlier and later webhooks with the same id.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.circuit_opened_at IS
    'Since when the circuit is open; null if it is closed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.next_probe_at IS
    'When the next delivery is tried, while the circuit is open.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.failing_since IS
    'When the first attempt after the last success failed. The webhook is switched off webhook.disable_after later.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_success_at IS 'When an attempt or a test last succeeded.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_error IS 'Why it failed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.filter_failed_at IS
    'When the filter last could not judge an event. Null: not since a worker saw the filter set or changed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.filter_error IS 'Why it could not judge the event.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.updated_at IS 'When the row was last written.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_endpoints');
CREATE POLICY webhook_tenants ON @extschema@.webhook_endpoints FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_endpoints IS
    'An organization reads the state of its own endpoints.';
CREATE POLICY webhook_operators ON @extschema@.webhook_endpoints FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_endpoints IS 'Operators read the state of all endpoints.';

-- The middle, on a logarithmic scale, of the bucket with the quantile. src/core/statistics.h has the bounds of the
-- buckets.
CREATE FUNCTION webhook_internal.duration_quantile(durations bigint[], quantile double precision)
    RETURNS double precision
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_duration_quantile';
COMMENT ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision) IS
    'A quantile (0 to 1) of counts as in webhook_minutes.durations, in milliseconds, accurate to 20 %; null if there '
    'are no counts.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision)');

-- The transition functions change the sum in place. They are for the owner only: the aggregates call them.
CREATE FUNCTION webhook_internal.add_durations(sum bigint[], durations integer[]) RETURNS bigint[]
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_add_durations';
COMMENT ON FUNCTION webhook_internal.add_durations(bigint[], integer[]) IS
    'The transition function of webhook_internal.sum_durations(integer[]).';
CREATE FUNCTION webhook_internal.add_durations(sum bigint[], durations bigint[]) RETURNS bigint[]
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_add_durations';
COMMENT ON FUNCTION webhook_internal.add_durations(bigint[], bigint[]) IS
    'The transition function of webhook_internal.sum_durations(bigint[]).';

CREATE AGGREGATE webhook_internal.sum_durations(integer[]) (
    SFUNC = webhook_internal.add_durations, STYPE = bigint[], PARALLEL = SAFE);
COMMENT ON AGGREGATE webhook_internal.sum_durations(integer[]) IS
    'The sums of the elements of webhook_minutes.durations.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sum_durations(integer[])');
CREATE AGGREGATE webhook_internal.sum_durations(bigint[]) (
    SFUNC = webhook_internal.add_durations, STYPE = bigint[], PARALLEL = SAFE);
COMMENT ON AGGREGATE webhook_internal.sum_durations(bigint[]) IS
    'The sums of the elements of sums of webhook_minutes.durations.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sum_durations(bigint[])');

CREATE FUNCTION webhook_internal.added_durations(one integer[], other integer[]) RETURNS integer[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.sum_durations(d.durations)::integer[] FROM (VALUES (one), (other)) d (durations)
$$;
COMMENT ON FUNCTION webhook_internal.added_durations(integer[], integer[]) IS
    'The sums of the elements of two values of webhook_minutes.durations.';

CREATE FUNCTION webhook_internal.sum_minutes(
    webhook uuid, webhook_created_at timestamptz, organization text,
    OUT attempts numeric, OUT successes numeric, OUT unjudged numeric, OUT durations bigint[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    SELECT sum(m.attempts), sum(m.successes), sum(m.unjudged), webhook_internal.sum_durations(m.durations)
    INTO attempts, successes, unjudged, durations
    FROM @extschema@.webhook_minutes m
    WHERE m.configuration_id = webhook AND m.configuration_created_at = webhook_created_at
      AND m.organization_id IS NOT DISTINCT FROM organization AND m.minute > now() - interval '24 hours';
END
$$;
COMMENT ON FUNCTION webhook_internal.sum_minutes(uuid, timestamptz, text) IS
    'The sums of the last 24 hours of webhook_minutes, for a webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sum_minutes(uuid, timestamptz, text)');

-- Functions read the minutes and the deliveries of each webhook. Subqueries in their place would be estimated so high that
-- PostgreSQL compiles the query (jit), which takes longer than the answer for all that a tenant has. They also keep the
-- count of deliveries, of which a webhook can have millions, to its bound: a bitmap scan would visit all.
CREATE VIEW @extschema@.webhook_stats WITH (security_invoker) AS
    SELECT c.id AS configuration_id, c.organization_id, c.name, c.is_active,
           coalesce(m.attempts, 0) AS attempts, coalesce(m.successes, 0) AS successes,
           round(100.0 * m.successes / nullif(m.attempts, 0), 1) AS success_percent,
           webhook_internal.duration_quantile(m.durations, 0.5) AS p50_ms,
           webhook_internal.duration_quantile(m.durations, 0.95) AS p95_ms,
           e.last_success_at, e.last_failure_at, e.last_error,
           d.pending, d.dead,
           CASE WHEN e.circuit_opened_at IS NULL THEN 'closed' ELSE 'open' END AS circuit,
           e.circuit_opened_at, e.next_probe_at, e.failing_since,
           coalesce(m.unjudged, 0) AS unjudged, e.filter_failed_at, e.filter_error
    FROM @extschema@.webhook_configurations c
    LEFT JOIN @extschema@.webhook_endpoints e
           ON e.configuration_id = c.id AND e.configuration_created_at = c.created_at
              AND e.organization_id IS NOT DISTINCT FROM c.organization_id
    CROSS JOIN LATERAL webhook_internal.sum_minutes(c.id, c.created_at, c.organization_id) m
    CROSS JOIN LATERAL webhook_internal.count_deliveries(c.id, c.created_at, c.organization_id, 10000) d;
COMMENT ON VIEW @extschema@.webhook_stats IS
    'One row per webhook: the results of the last 24 hours, a few seconds old at most, its pending and dead '
    'deliveries, and its circuit.';
COMMENT ON COLUMN @extschema@.webhook_stats.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_stats.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_stats.name IS 'The webhook''s name.';
COMMENT ON COLUMN @extschema@.webhook_stats.is_active IS 'Whether the webhook receives events.';
COMMENT ON COLUMN @extschema@.webhook_stats.attempts IS 'How many attempts ended in the last 24 hours.';
COMMENT ON COLUMN @extschema@.webhook_stats.successes IS 'How many of them succeeded.';
COMMENT ON COLUMN @extschema@.webhook_stats.success_percent IS
    'The percentage of attempts that succeeded; null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_stats.p50_ms IS
    'Half of the attempts took at most this many milliseconds, accurate to 20 %; null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_stats.p95_ms IS
    '95 % of the attempts took at most this many milliseconds, accurate to 20 %; null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_success_at IS 'When an attempt or a test last succeeded.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_error IS 'Why it failed.';
COMMENT ON COLUMN @extschema@.webhook_stats.pending IS
    'How many deliveries are pending in webhook_deliveries. 10000: so many or more.';
COMMENT ON COLUMN @extschema@.webhook_stats.dead IS
    'How many deliveries are dead in webhook_deliveries. 10000: so many or more.';
COMMENT ON COLUMN @extschema@.webhook_stats.circuit IS
    'closed: deliveries are sent. open: the endpoint failed 5 times in a row, and one delivery is tried from time to '
    'time.';
COMMENT ON COLUMN @extschema@.webhook_stats.circuit_opened_at IS
    'Since when the circuit is open; null if it is closed.';
COMMENT ON COLUMN @extschema@.webhook_stats.next_probe_at IS
    'When the next delivery is tried, while the circuit is open.';
COMMENT ON COLUMN @extschema@.webhook_stats.failing_since IS 'When the first attempt after the last success failed.';
COMMENT ON COLUMN @extschema@.webhook_stats.unjudged IS
    'How many events of the last 24 hours the filter could not judge, because of an error or a limit. They were not '
    'delivered.';
COMMENT ON COLUMN @extschema@.webhook_stats.filter_failed_at IS 'When the filter last could not judge an event.';
COMMENT ON COLUMN @extschema@.webhook_stats.filter_error IS 'Why it could not judge the event.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_stats');
