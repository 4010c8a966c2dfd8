-- webhook_api: one attempt, pending and dead deliveries, figures over time, and sending again. api_logs.sql has the log.
--
-- Functions that look for ids set enable_seqscan to off, and all set jit to off: api_logs.sql says why.

-- Follows the attempts from one to the next: the first is recorded soon after its event, and each tells when the next one
-- is due. From each time on a bounded number of the webhook's rows is read. Attempts that were made much later, such as
-- after a pause, may be missing; their numbers show it.
CREATE FUNCTION webhook_internal.attempts_of(webhook uuid, event_id bigint, since timestamptz)
    RETURNS SETOF @extschema@.webhook_logs
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attempt @extschema@.webhook_logs;
    first_id bigint := webhook_internal.log_id_at(webhook, since - interval '5 s');
BEGIN
    FOR i IN 1 .. 30 LOOP
        SELECT l.* INTO attempt
        FROM (SELECT r.* FROM @extschema@.webhook_logs r
              WHERE r.configuration_id = webhook AND r.id >= first_id ORDER BY r.id LIMIT 10000) l
        WHERE l.event_id = attempts_of.event_id ORDER BY l.id LIMIT 1;
        EXIT WHEN NOT FOUND;
        RETURN NEXT attempt;
        EXIT WHEN attempt.next_attempt_at > now();
        first_id := greatest(attempt.id + 1,
                             webhook_internal.log_id_at(webhook, attempt.next_attempt_at - interval '5 s'));
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.attempts_of(uuid, bigint, timestamptz) IS
    'The attempts to deliver an event to a webhook from a time on, the oldest first, at most 30.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.attempts_of(uuid, bigint, timestamptz)');

CREATE FUNCTION webhook_internal.describe_delivery(delivery @extschema@.webhook_deliveries) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'event_id', delivery.event_id::text, 'webhook', delivery.configuration_id, 'event', delivery.event,
        'key', delivery.key, 'state', delivery.state, 'attempts', delivery.attempts, 'created_at', delivery.created_at,
        'next_attempt_at', delivery.next_attempt_at, 'last_error', delivery.last_error, 'updated_at', delivery.updated_at)
$$;
COMMENT ON FUNCTION webhook_internal.describe_delivery(@extschema@.webhook_deliveries) IS
    'A pending or dead delivery as webhook_api shows it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_delivery(@extschema@.webhook_deliveries)');

-- An id may be reused once its webhook is deleted, and log rows carry no more of a webhook than its id.
CREATE FUNCTION webhook_internal.is_deleted_since(log @extschema@.webhook_logs) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM @extschema@.webhook_history h
                   WHERE h.configuration_id = log.configuration_id AND h.operation = 'DELETE'
                     AND h.organization_id IS NOT DISTINCT FROM log.organization_id AND h.changed_at >= log.created_at)
$$;
COMMENT ON FUNCTION webhook_internal.is_deleted_since(@extschema@.webhook_logs) IS
    'Whether webhook_history tells that the webhook of a log row was deleted after the attempt. Another one may have its '
    'id.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_deleted_since(@extschema@.webhook_logs)');

-- What a change left as it was is found in the changes that follow, or else in the webhook. That takes all later versions:
-- webhook_history lacks old ones, and those that logical replication has brought.
CREATE FUNCTION webhook_internal.sent_configuration(
    log @extschema@.webhook_logs, OUT version integer, OUT url text, OUT header_names text[], OUT secret_change text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changes_max CONSTANT integer := 1000;
    webhook record;
    first_id bigint;  -- of the changes since; null if there are none, or not all are known
    versions bigint;
BEGIN
    SELECT c.version, c.url, ARRAY(SELECT jsonb_object_keys(c.headers)) AS header_names INTO webhook
    FROM @extschema@.webhook_configurations c
    WHERE c.id = log.configuration_id AND c.organization_id IS NOT DISTINCT FROM log.organization_id;
    IF NOT FOUND OR webhook_internal.is_deleted_since(log) THEN
        RETURN;
    END IF;
    SELECT min(h.id), count(DISTINCT h.version) INTO first_id, versions
    FROM @extschema@.webhook_history h
    WHERE webhook.version - log.configuration_version <= changes_max
      AND h.configuration_id = log.configuration_id AND h.organization_id IS NOT DISTINCT FROM log.organization_id
      AND h.operation = 'UPDATE' AND h.version > log.configuration_version AND h.version <= webhook.version
      AND h.id > coalesce((SELECT max(b.id) FROM @extschema@.webhook_history b
                           WHERE b.configuration_id = log.configuration_id AND b.operation <> 'UPDATE'), 0);
    IF versions = webhook.version - log.configuration_version THEN
        version := log.configuration_version;
    ELSE
        version := webhook.version;
        first_id := NULL;
    END IF;
    url := coalesce((SELECT h.old_values ->> 'url' FROM @extschema@.webhook_history h
                     WHERE h.configuration_id = log.configuration_id AND h.id >= first_id AND h.old_values ? 'url'
                     ORDER BY h.id LIMIT 1), webhook.url);
    WITH changed AS (
        SELECT DISTINCT ON (n.name) n.name, n.name = ANY (h.old_headers) AS was_there
        FROM @extschema@.webhook_history h CROSS JOIN LATERAL unnest(h.old_headers || h.new_headers) n (name)
        WHERE h.configuration_id = log.configuration_id AND h.id >= first_id ORDER BY n.name, h.id)
    SELECT array_agg(s.name ORDER BY s.name) INTO header_names
    FROM (SELECT c.name FROM changed c WHERE c.was_there
          UNION ALL
          SELECT k.name FROM unnest(webhook.header_names) k (name) WHERE k.name NOT IN (SELECT c.name FROM changed c)) s;
    secret_change := (SELECT h.new_values ->> 'secret' FROM @extschema@.webhook_history h
                      WHERE h.configuration_id = log.configuration_id AND h.id >= first_id AND h.new_values ? 'secret'
                      ORDER BY h.id LIMIT 1);
END
$$;
COMMENT ON FUNCTION webhook_internal.sent_configuration(@extschema@.webhook_logs) IS
    'What an attempt was made with: the URL, the names of the webhook''s own headers, and the first change of the secret '
    'since then, as in webhook_history. version: that of the attempt, or the current one if webhook_history does not '
    'reach back to it or there were more than 1000 changes; null if the webhook is gone.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sent_configuration(@extschema@.webhook_logs)');

-- As webhook_curl() writes it, but for what has been changed since, and that the values of the webhook's own headers are
-- not shown. Signatures with an earlier secret are not shown either: nobody can compute them any more.
CREATE FUNCTION webhook_internal.describe_request(log @extschema@.webhook_logs) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    sent record;
    happened record;
    secret text;
    mask text;
    sent_s bigint := floor(extract(epoch FROM log.created_at));
BEGIN
    IF log.attempt = 0 OR log.event_id < 0 THEN
        RETURN NULL;
    END IF;
    SELECT e.webhook_id, webhook_internal.body(e.event, e.created_at, e.data, e.previous, e.backfill) AS body INTO happened
    FROM @extschema@.webhook_own_events e WHERE e.id = log.event_id AND e.data IS NOT NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    sent := webhook_internal.sent_configuration(log);
    IF sent.version IS NULL THEN
        RETURN NULL;
    END IF;
    IF sent.secret_change IS NULL THEN
        BEGIN
            secret := @extschema@.webhook_reveal_secret(log.configuration_id);
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            secret := NULL;  -- it cannot be decrypted: the request is shown without signatures
        END;
    ELSIF sent.secret_change <> 'set' THEN
        mask := '***';
    END IF;
    RETURN json_build_object('url', sent.url, 'version', sent.version, 'headers', (
        SELECT json_object_agg(h.name, h.value ORDER BY h.place, h.name)
        FROM (SELECT f.* FROM (VALUES
                  (1, 'Content-Type', 'application/json'),
                  (2, 'User-Agent', 'webhook/' || (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook')
                                    || ' (PostgreSQL ' || current_setting('server_version_num')::integer / 10000 || ')'),
                  (3, 'X-Webhook-Event', log.event), (4, 'X-Webhook-Id', happened.webhook_id),
                  (5, 'webhook-id', happened.webhook_id), (6, 'X-Webhook-Attempt', log.attempt::text),
                  (7, 'X-Webhook-Timestamp',
                   to_char(log.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
                  (8, 'X-Webhook-Signature', coalesce(mask, @extschema@.webhook_sign(happened.body, secret))),
                  (9, 'webhook-timestamp', sent_s::text),
                  (10, 'webhook-signature',
                   coalesce(mask, @extschema@.webhook_sign(happened.webhook_id, sent_s, happened.body, secret)))
              ) f (place, name, value)
              WHERE f.value IS NOT NULL
              UNION ALL
              SELECT 11, k, '***' FROM unnest(sent.header_names) k) h),
        'body', happened.body);
END
$$;
COMMENT ON FUNCTION webhook_internal.describe_request(@extschema@.webhook_logs) IS
    'The request of an attempt as webhook_api shows it: {"url", "version", "headers", "body"}; null if its event or its '
    'webhook is gone, and if there was none. version: of which version URL and headers are. Signatures with a secret that '
    'has been changed since are ***.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_request(@extschema@.webhook_logs)');

CREATE FUNCTION webhook_api.attempt(id bigint) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
    SET enable_seqscan = off
AS $$
DECLARE
    log @extschema@.webhook_logs;
    webhook record;
    happened_at timestamptz;
    request json;
    curl text;
    delivery @extschema@.webhook_deliveries;
BEGIN
    SELECT l.* INTO log FROM @extschema@.webhook_logs l WHERE l.id = attempt.id;
    IF NOT FOUND THEN
        PERFORM webhook_internal.raise_unknown('attempt ' || coalesce(id::text, 'null'));
    END IF;
    SELECT c.name, c.created_at, c.version, coalesce(c.retry_schedule, webhook_internal.default_schedule()) AS schedule INTO webhook
    FROM @extschema@.webhook_configurations c
    WHERE c.id = log.configuration_id AND c.organization_id IS NOT DISTINCT FROM log.organization_id;
    SELECT d.* INTO delivery FROM @extschema@.webhook_deliveries d
    WHERE d.event_id = log.event_id AND d.configuration_id = log.configuration_id
      AND d.configuration_created_at = webhook.created_at;
    SELECT e.created_at INTO happened_at FROM @extschema@.webhook_own_events e WHERE e.id = log.event_id;
    IF webhook_internal.caller_level() <> 'read' THEN
        request := webhook_internal.describe_request(log);
        IF request IS NOT NULL THEN
            BEGIN
                curl := @extschema@.webhook_curl(id);
            EXCEPTION WHEN object_not_in_prerequisite_state OR undefined_object THEN
                curl := NULL;
            END;
        END IF;
    END IF;
    RETURN json_build_object(
        'now', now(),
        'attempt', (webhook_internal.describe_log(log, webhook.name)::jsonb
                    || jsonb_build_object(
                           'response_headers', log.response_headers, 'response_body', log.response_body,
                           'remote_ip', host(log.remote_ip), 'configuration_version', log.configuration_version))::json,
        'changed_since', CASE WHEN webhook.version IS NOT NULL
                              THEN webhook.version <> log.configuration_version OR webhook_internal.is_deleted_since(log) END,
        'attempts', (
            SELECT json_agg(webhook_internal.describe_log(a, webhook.name) ORDER BY a.id)
            FROM (SELECT log.*
                  UNION
                  SELECT b.* FROM webhook_internal.attempts_of(
                      log.configuration_id, log.event_id, coalesce(happened_at, delivery.created_at, log.created_at)) b
                  WHERE log.event_id >= 0
                  UNION
                  SELECT f.* FROM webhook_internal.attempts_of(
                      log.configuration_id, log.event_id, coalesce(log.next_attempt_at, log.created_at)) f
                  WHERE log.event_id >= 0) a),
        'attempts_max', cardinality(webhook.schedule) + 1,
        'delivery', CASE WHEN delivery.event_id IS NOT NULL THEN webhook_internal.describe_delivery(delivery) END,
        'request', request, 'curl', curl);
END
$$;
COMMENT ON FUNCTION webhook_api.attempt(bigint) IS
    'An attempt (webhook_logs.id) with its response, all attempts of its event to its webhook, and for level manage the '
    'request: {"now", "attempt", "changed_since", "attempts", "attempts_max", "delivery", "request", "curl"}. '
    'changed_since: whether the webhook was changed after the attempt; null if that is not known. Raises PT404 if there '
    'is no such log row.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.attempt(bigint)');

CREATE FUNCTION webhook_api.pending(
    webhook uuid DEFAULT NULL, state text DEFAULT 'pending', event_id bigint DEFAULT NULL, after text DEFAULT NULL,
    page_size integer DEFAULT 50) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    hook record;
    last_at timestamptz;
    last_event bigint;
    found @extschema@.webhook_deliveries[];
    next text;
BEGIN
    PERFORM webhook_internal.check_page_size(page_size, 200);
    IF state IS NULL OR state NOT IN ('pending', 'dead') THEN
        PERFORM webhook_internal.raise_argument('state', 'invalid_parameter_value',
            'invalid state "' || left(coalesce(state, 'null'), 100) || '"', 'The state is pending or dead.');
    END IF;
    IF webhook IS NULL AND event_id IS NULL THEN
        PERFORM webhook_internal.raise_argument('webhook', 'null_value_not_allowed', 'webhook or event_id must be given');
    END IF;
    IF webhook IS NOT NULL THEN
        PERFORM webhook_internal.require_webhook(webhook);
    END IF;
    IF after IS NOT NULL THEN
        BEGIN
            IF json_array_length(after::json) <> 2 THEN
                RAISE data_exception;
            END IF;
            last_at := coalesce((after::json ->> 0)::timestamptz, '-infinity');
            last_event := (after::json ->> 1)::bigint;
        EXCEPTION WHEN OTHERS THEN
            PERFORM webhook_internal.raise_argument('after', 'invalid_parameter_value', 'invalid value for after',
                'Give the next of the page before.');
        END;
    END IF;
    SELECT c.created_at, c.organization_id INTO hook FROM @extschema@.webhook_configurations c WHERE c.id = webhook;
    IF event_id IS NOT NULL THEN
        found := ARRAY(
            SELECT d FROM @extschema@.webhook_deliveries d
            JOIN @extschema@.webhook_configurations c
              ON c.id = d.configuration_id AND c.created_at = d.configuration_created_at
                 AND c.organization_id IS NOT DISTINCT FROM d.organization_id
            WHERE d.event_id = pending.event_id AND d.state = pending.state
              AND (webhook IS NULL OR d.configuration_id = webhook)
            ORDER BY d.configuration_id LIMIT page_size);
    ELSIF state = 'pending' THEN
        found := ARRAY(
            SELECT d FROM @extschema@.webhook_deliveries d
            WHERE d.configuration_id = webhook AND d.configuration_created_at = hook.created_at
              AND d.organization_id IS NOT DISTINCT FROM hook.organization_id AND d.state = 'pending'
              AND (d.next_attempt_at, d.event_id) > (coalesce(last_at, '-infinity'), coalesce(last_event, -1))
            ORDER BY d.next_attempt_at, d.event_id LIMIT page_size + 1);
    ELSE
        found := ARRAY(
            SELECT d FROM @extschema@.webhook_deliveries d
            WHERE d.configuration_id = webhook AND d.configuration_created_at = hook.created_at
              AND d.organization_id IS NOT DISTINCT FROM hook.organization_id AND d.state = 'dead'
              AND d.event_id < coalesce(last_event, 9223372036854775807)
            ORDER BY d.event_id DESC LIMIT page_size + 1);
    END IF;
    IF cardinality(found) > page_size THEN
        next := json_build_array(found[page_size].next_attempt_at, found[page_size].event_id::text);
    END IF;
    RETURN json_build_object(
        'now', now(),
        'deliveries', (SELECT coalesce(json_agg(webhook_internal.describe_delivery(f.delivery) ORDER BY f.place), '[]')
                       FROM (SELECT found[i] AS delivery, i AS place
                             FROM generate_series(1, least(cardinality(found), page_size)) i) f),
        'next', next);
END
$$;
COMMENT ON FUNCTION webhook_api.pending(uuid, text, bigint, text, integer) IS
    'The deliveries of a webhook, or of an event, in a state: {"now", "deliveries", "next"}. state: pending (those that '
    'are due first come first) or dead (the newest event first). Errors: 22003, 22004 and 22023 with {"field": ...}, '
    'PT404.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.pending(uuid, text, bigint, text, integer)');

-- The figures of one hour. A row's slot is its minute of the day, so that the hour is a range of the primary key.
CREATE FUNCTION webhook_internal.hour_of_series(
    webhooks uuid[], hour timestamptz, from_at timestamptz, to_at timestamptz, step_s integer)
    RETURNS TABLE (at timestamptz, attempts bigint, successes bigint, durations bigint[], rows bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_timestamp(floor(extract(epoch FROM m.minute) / step_s) * step_s), sum(m.attempts), sum(m.successes),
           webhook_internal.sum_durations(m.durations), count(*)
    FROM unnest(webhooks) u (id)
    JOIN @extschema@.webhook_configurations c ON c.id = u.id
    CROSS JOIN LATERAL (
        SELECT x.minute, x.attempts, x.successes, x.durations FROM @extschema@.webhook_minutes x
        WHERE x.configuration_id = c.id AND x.configuration_created_at = c.created_at
          AND x.organization_id IS NOT DISTINCT FROM c.organization_id
          AND x.slot >= (extract(hour FROM hour AT TIME ZONE 'UTC') * 60)::smallint
          AND x.slot < (extract(hour FROM hour AT TIME ZONE 'UTC') * 60 + 60)::smallint
          AND x.minute >= greatest(hour, from_at) AND x.minute < to_at) m
    GROUP BY 1
$$;
COMMENT ON FUNCTION webhook_internal.hour_of_series(uuid[], timestamptz, timestamptz, timestamptz, integer) IS
    'The results of some webhooks in the part of an hour that lies in [from_at, to_at), by steps, and how many rows of '
    'webhook_minutes were summed.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.hour_of_series(uuid[], timestamptz, timestamptz, timestamptz, integer)');

-- The rows of a day (UTC), which are a range of slots.
CREATE FUNCTION webhook_internal.hours_of_day(
    webhooks uuid[], day timestamptz, from_at timestamptz, to_at timestamptz) RETURNS SETOF @extschema@.webhook_hours
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT x.*
    FROM unnest(webhooks) u (id)
    JOIN @extschema@.webhook_configurations c ON c.id = u.id
    JOIN @extschema@.webhook_hours x
      ON x.configuration_id = c.id AND x.configuration_created_at = c.created_at
         AND x.organization_id IS NOT DISTINCT FROM c.organization_id
    WHERE x.slot >= webhook_internal.hour_slot(day) AND x.slot < webhook_internal.hour_slot(day) + 24
      AND x.hour >= greatest(day, from_at) AND x.hour < least(day + interval '24 hours', to_at)
$$;
COMMENT ON FUNCTION webhook_internal.hours_of_day(uuid[], timestamptz, timestamptz, timestamptz) IS
    'The results of some webhooks in the hours of a day (UTC) that begin in [from_at, to_at).';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.hours_of_day(uuid[], timestamptz, timestamptz, timestamptz)');

-- Minutes are kept for 24 hours, and hours for 90 days. A client's clock may be late by an hour.
CREATE FUNCTION webhook_internal.is_by_hour(since timestamptz, webhooks uuid[]) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(since < now() - interval '25 hours', false) OR coalesce(cardinality(webhooks), 0) > 40
$$;
COMMENT ON FUNCTION webhook_internal.is_by_hour(timestamptz, uuid[]) IS
    'Whether webhook_api.series() sums webhook_hours instead of webhook_minutes: for more than a day or 40 webhooks.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_by_hour(timestamptz, uuid[])');

-- The shortest step with at most 100 points, or the longest there is.
CREATE FUNCTION webhook_internal.step_of_series(span interval, by_hour boolean) RETURNS integer
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(min(s.s) FILTER (WHERE s.s * 100 >= extract(epoch FROM span)), max(s.s))
    FROM unnest(CASE WHEN by_hour THEN ARRAY[3600, 10800, 21600, 43200, 86400] ELSE ARRAY[60, 300, 900, 1800] END) s (s)
$$;
COMMENT ON FUNCTION webhook_internal.step_of_series(interval, boolean) IS
    'How many seconds a point of webhook_api.series() stands for. by_hour: at least an hour.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.step_of_series(interval, boolean)');

CREATE FUNCTION webhook_api.series(
    webhook uuid DEFAULT NULL, organization text DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    webhooks_max CONSTANT integer := 1000;
    webhooks uuid[] := webhook_internal.webhooks_in_scope(webhook, organization, webhooks_max + 1);
    by_hour boolean := webhook_internal.is_by_hour(since, webhooks);
    rows_max integer := CASE WHEN by_hour THEN 30000 ELSE 60000 END;
    from_at timestamptz := greatest(CASE WHEN since > now() THEN now() ELSE since END,
                                    now() - CASE WHEN by_hour AND since IS NOT NULL THEN interval '90 days'
                                                 ELSE interval '24 hours' END);
    to_at timestamptz := CASE WHEN until < '1970-01-01Z' THEN '1970-01-01Z' ELSE least(until, now()) END;
    step_s integer := webhook_internal.step_of_series(to_at - from_at, by_hour);
    part_length interval := CASE WHEN by_hour THEN interval '24 hours' ELSE interval '1 hour' END;
    part timestamptz := date_trunc(CASE WHEN by_hour THEN 'day' ELSE 'hour' END, to_at, 'UTC');
    figures record;
    read bigint := 0;
    ats timestamptz[] := '{}';
    attempts bigint[] := '{}';
    successes bigint[] := '{}';
    p50_ms double precision[] := '{}';
    p95_ms double precision[] := '{}';
    searched_to timestamptz;
BEGIN
    IF since > until THEN
        PERFORM webhook_internal.raise_argument('since', 'invalid_parameter_value', 'since is later than until');
    END IF;
    from_at := to_timestamp(floor(extract(epoch FROM from_at) / step_s) * step_s);
    WHILE part > from_at - part_length LOOP
        IF read >= rows_max THEN
            searched_to := part + part_length;
            EXIT;
        END IF;
        FOR figures IN
            SELECT h.* FROM webhook_internal.hour_of_series(webhooks[: webhooks_max], part, from_at, to_at, step_s) h
            WHERE NOT by_hour
            UNION ALL
            SELECT to_timestamp(floor(extract(epoch FROM h.hour) / step_s) * step_s), sum(h.attempts), sum(h.successes),
                   webhook_internal.sum_durations(h.durations), count(*)
            FROM webhook_internal.hours_of_day(webhooks[: webhooks_max], part, from_at, to_at) h
            WHERE by_hour GROUP BY 1
        LOOP
            read := read + figures.rows;
            ats := ats || figures.at;
            attempts := attempts || figures.attempts;
            successes := successes || figures.successes;
            p50_ms := p50_ms || webhook_internal.duration_quantile(figures.durations, 0.5);
            p95_ms := p95_ms || webhook_internal.duration_quantile(figures.durations, 0.95);
        END LOOP;
        part := part - part_length;
    END LOOP;
    RETURN json_build_object(
        'step_s', step_s, 'points', (
            SELECT coalesce(json_agg(json_build_object(
                       'at', p.at, 'attempts', coalesce(f.attempts, 0), 'successes', coalesce(f.successes, 0),
                       'p50_ms', f.p50_ms, 'p95_ms', f.p95_ms) ORDER BY p.at), '[]')
            FROM generate_series(greatest(from_at, searched_to), to_at, make_interval(secs => step_s)) p (at)
            LEFT JOIN unnest(ats, attempts, successes, p50_ms, p95_ms) f (at, attempts, successes, p50_ms, p95_ms)
                   ON f.at = p.at),
        'searched_to', searched_to, 'is_complete', coalesce(cardinality(webhooks), 0) <= webhooks_max);
END
$$;
COMMENT ON FUNCTION webhook_api.series(uuid, text, timestamptz, timestamptz) IS
    'Attempts, successes and durations over time, by default of the last 24 hours: {"step_s", "points": [{"at", '
    '"attempts", "successes", "p50_ms", "p95_ms"}], "searched_to", "is_complete"}. At most 90 days back. Steps are at '
    'least an hour for more than 25 hours back and for more than 40 webhooks. searched_to: the points begin there, '
    'because so many webhooks have so many hours; otherwise null. is_complete: false if there are more than 1000 '
    'webhooks, of which the first 1000 were counted. Errors: 22023, PT404.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.series(uuid, text, timestamptz, timestamptz)');

-- The newest days first, until rows_max rows have been read.
CREATE FUNCTION webhook_internal.breakdown_by_hour(
    webhooks uuid[], from_at timestamptz, to_at timestamptz, rows_max integer,
    OUT events jsonb, OUT statuses jsonb, OUT searched_to timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    day timestamptz := date_trunc('day', least(to_at, now()), 'UTC');
    summed record;
    read bigint := 0;
BEGIN
    from_at := greatest(from_at, now() - interval '90 days');
    WHILE day > from_at - interval '24 hours' AND searched_to IS NULL LOOP
        WITH hour AS MATERIALIZED (
            SELECT h.events, h.statuses FROM webhook_internal.hours_of_day(webhooks, day, from_at, to_at) h
        ), total AS (
            SELECT k.is_event, x.key AS name,
                   jsonb_build_array(sum((x.value ->> 0)::bigint), sum((x.value ->> 1)::bigint)) AS pair
            FROM hour h
            CROSS JOIN LATERAL (VALUES (true, h.events), (false, h.statuses)) k (is_event, counts)
            CROSS JOIN LATERAL jsonb_each(k.counts) x
            GROUP BY k.is_event, x.key
        )
        SELECT jsonb_object_agg(t.name, t.pair) FILTER (WHERE t.is_event) AS events,
               jsonb_object_agg(t.name, t.pair) FILTER (WHERE NOT t.is_event) AS statuses,
               (SELECT count(*) FROM hour) AS rows
        INTO summed FROM total t;
        events := webhook_internal.add_counts(events, summed.events);
        statuses := webhook_internal.add_counts(statuses, summed.statuses);
        read := read + summed.rows;
        IF read >= rows_max AND day > from_at THEN
            searched_to := day;
        END IF;
        day := day - interval '24 hours';
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.breakdown_by_hour(uuid[], timestamptz, timestamptz, integer) IS
    'The sums of webhook_hours.events and statuses of some webhooks, of those of the last 90 days'' hours that begin in '
    '[from_at, to_at). '
    'searched_to: the day down to which it looked, if rows_max kept it from looking further.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.breakdown_by_hour(uuid[], timestamptz, timestamptz, integer)');

-- The rows that breakdown() counts: those of some webhooks (null: of all) below an id, as many as one call may read.
CREATE FUNCTION webhook_internal.newest_logs(webhooks uuid[], place bigint, since timestamptz)
    RETURNS TABLE (log @extschema@.webhook_logs, searched_to timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    rows_max CONSTANT integer := 10000;
    quota record := webhook_internal.log_quota(cardinality(webhooks), rows_max);
    worked bigint := 0;
    step record;
    next bigint;
BEGIN
    FOR i IN 1 .. 10 LOOP
        next := NULL;
        FOR step IN
            SELECT b.* FROM webhook_internal.log_step(webhooks, place, quota.heads_max, quota.rows_max, quota.rest_max) b
            WHERE webhooks IS NOT NULL
            UNION ALL
            SELECT r.* FROM webhook_internal.log_range(place, rows_max, false, NULL) r WHERE webhooks IS NULL
        LOOP
            IF step.bound IS NULL THEN
                log := step.log;
                RETURN NEXT;
            ELSE
                next := step.bound;
                searched_to := coalesce(step.bound_at, searched_to);
                worked := worked + step.work;
            END IF;
        END LOOP;
        EXIT WHEN next IS NULL OR searched_to < since;
        IF worked >= rows_max OR i = 10 THEN
            log := NULL;
            searched_to := coalesce(searched_to, now());
            RETURN NEXT;
            EXIT;
        END IF;
        place := next;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.newest_logs(uuid[], bigint, timestamptz) IS
    'About 10000 log rows of some webhooks (null: of all) below an id, down to a time. If there are more, a last row without '
    'a log has the time to which they are complete.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.newest_logs(uuid[], bigint, timestamptz)');

-- place: where the search begins.
CREATE FUNCTION webhook_internal.breakdown_of_log(
    webhooks uuid[], place bigint, from_at timestamptz, to_at timestamptz) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    result json;
BEGIN
    WITH read AS MATERIALIZED (
        SELECT (n.log).event, (n.log).status, (n.log).response_status, (n.log).error, (n.log).event_id,
               (n.log).created_at, n.searched_to
        FROM webhook_internal.newest_logs(webhooks, place, from_at) n
    ), counted AS MATERIALIZED (
        SELECT r.event, r.status, r.response_status, r.error FROM read r
        WHERE r.event_id >= 0 AND r.created_at >= from_at AND r.created_at < to_at
    )
    SELECT json_build_object(
        'by_event', (SELECT coalesce(json_agg(json_build_object('event', e.event, 'attempts', e.attempts,
                                                                'successes', e.successes)
                                              ORDER BY e.attempts DESC, e.event), '[]')
                     FROM (SELECT c.event, count(*) AS attempts, count(*) FILTER (WHERE c.status = 'success') AS successes
                           FROM counted c GROUP BY c.event ORDER BY 2 DESC LIMIT 100) e),
        'by_status', (SELECT coalesce(json_agg(json_build_object('response_status', s.response_status, 'error', s.error,
                                                                 'attempts', s.attempts)
                                               ORDER BY s.attempts DESC, s.response_status, s.error), '[]')
                      FROM (SELECT c.response_status, left(c.error, 200) AS error, count(*) AS attempts
                            FROM counted c GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 100) s),
        'searched_to', (SELECT r.searched_to FROM read r WHERE r.event IS NULL AND r.searched_to >= from_at))
    INTO result;
    RETURN result;
END
$$;
COMMENT ON FUNCTION webhook_internal.breakdown_of_log(uuid[], bigint, timestamptz, timestamptz) IS
    'webhook_api.breakdown() of about the newest 10000 log rows below an id. webhooks: null for all.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.breakdown_of_log(uuid[], bigint, timestamptz, timestamptz)');

CREATE FUNCTION webhook_api.breakdown(
    webhook uuid DEFAULT NULL, organization text DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    webhooks uuid[] := webhook_internal.webhooks_in_scope(webhook, organization, 1000);
    place bigint;
    summed record;
BEGIN
    IF since > until THEN
        PERFORM webhook_internal.raise_argument('since', 'invalid_parameter_value', 'since is later than until');
    END IF;
    IF since IS NULL OR NOT webhook_internal.is_by_hour(since, NULL) THEN
        place := webhook_internal.log_start(webhooks, NULL, until);
        IF webhook IS NULL AND webhook_internal.caller_level() = 'operate'
           AND webhook_internal.caller_scope(organization) IS NULL THEN
            webhooks := NULL;
            place := least(place, webhook_internal.newest_log_id() + 1);
        END IF;
        RETURN webhook_internal.breakdown_of_log(webhooks, place, coalesce(since, now() - interval '24 hours'),
                                                 coalesce(until, 'infinity'));
    END IF;
    SELECT b.* INTO summed
    FROM webhook_internal.breakdown_by_hour(webhooks, date_trunc('hour', since, 'UTC'), least(until, now()), 20000) b;
    RETURN json_build_object(
        'by_event', (SELECT coalesce(json_agg(json_build_object('event', nullif(e.key, ''), 'attempts', (e.value ->> 0)::bigint,
                                                                'successes', (e.value ->> 1)::bigint)
                                              ORDER BY (e.value ->> 0)::bigint DESC, e.key), '[]')
                     FROM jsonb_each(summed.events) e),
        'by_status', (SELECT coalesce(json_agg(json_build_object('response_status',
                                                                 CASE WHEN s.key NOT IN ('', '0') THEN s.key::integer END,
                                                                 'error', CASE s.key WHEN '' THEN 'other responses' END,
                                                                 'attempts', (s.value ->> 0)::bigint)
                                               ORDER BY (s.value ->> 0)::bigint DESC, s.key), '[]')
                      FROM jsonb_each(summed.statuses) s),
        'searched_to', summed.searched_to);
END
$$;
COMMENT ON FUNCTION webhook_api.breakdown(uuid, text, timestamptz, timestamptz) IS
    'Attempts by event and by result, by default of the last 24 hours, without tests: {"by_event": [{"event", '
    '"attempts", "successes"}], "by_status": [{"response_status", "error", "attempts"}], "searched_to"}. Up to 25 hours '
    'back it reads about the newest 10000 log rows. Further back, at most 90 days, it sums whole hours, whose error is '
    'null. searched_to is the time to which it looked if there is more. Errors: 22023, PT404.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.breakdown(uuid, text, timestamptz, timestamptz)');

-- The events of a webhook at once, because each time all deliveries of its organization are counted. Then one by one those
-- of which one could not be sent, to say which.
-- Searching webhook_logs by id alone takes milliseconds, by webhook and id microseconds. So the first id found by itself
-- tells the webhook of most others.
CREATE FUNCTION webhook_internal.attempts(log_ids bigint[])
    RETURNS TABLE (webhook uuid, organization text, log_id bigint, event_id bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
DECLARE
    alone_max CONSTANT integer := 5;
    rest bigint[] := ARRAY(SELECT DISTINCT u.i FROM unnest(log_ids) u (i) WHERE u.i IS NOT NULL ORDER BY u.i);
    found_ids bigint[];
BEGIN
    FOR n IN 1 .. alone_max LOOP
        EXIT WHEN cardinality(rest) = 0;
        webhook := (SELECT l.configuration_id FROM @extschema@.webhook_logs l WHERE l.id = rest[1] LIMIT 1);
        found_ids := rest[1 : 1];
        FOR organization, log_id, event_id IN
            SELECT l.organization_id, l.id, l.event_id
            FROM unnest(rest) u (i)
            CROSS JOIN LATERAL (SELECT o.organization_id, o.id, o.event_id FROM @extschema@.webhook_logs o
                                WHERE o.configuration_id = webhook AND o.id = u.i LIMIT 1) l LOOP
            found_ids := found_ids || log_id;
            RETURN NEXT;
        END LOOP;
        rest := ARRAY(SELECT u.i FROM unnest(rest) u (i) WHERE u.i <> ALL (found_ids) ORDER BY u.i);
    END LOOP;
    IF cardinality(rest) > 0 THEN
        RETURN QUERY SELECT l.configuration_id, l.organization_id, l.id, l.event_id
                     FROM @extschema@.webhook_logs l WHERE l.id = ANY (rest);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.attempts(bigint[]) IS 'The attempts with these ids (webhook_logs.id).';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.attempts(bigint[])');

CREATE FUNCTION webhook_api.redeliver(log_ids bigint[]) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
    SET enable_seqscan = off
AS $$
DECLARE
    batch record;
    log_id bigint;
    done bigint[] := '{}';
    redelivered integer := 0;
    problems json[] := '{}';
    state text;
    message text;
BEGIN
    IF coalesce(cardinality(log_ids), 0) NOT BETWEEN 1 AND 100 THEN
        PERFORM webhook_internal.raise_argument('log_ids', 'invalid_parameter_value', 'log_ids must have 1 to 100 ids');
    END IF;
    FOR batch IN SELECT a.webhook, array_agg(DISTINCT a.event_id) AS events, array_agg(a.log_id) AS ids
                 FROM webhook_internal.attempts(log_ids) a
                 JOIN @extschema@.webhook_configurations c
                      ON c.id = a.webhook AND c.organization_id IS NOT DISTINCT FROM a.organization
                 WHERE a.event_id >= 0
                 GROUP BY a.webhook ORDER BY a.webhook LOOP
        BEGIN
            PERFORM webhook_internal.redeliver_events(batch.webhook, batch.events);
            done := done || batch.ids;
            redelivered := redelivered + cardinality(batch.ids);
        EXCEPTION WHEN undefined_object OR object_not_in_prerequisite_state OR configuration_limit_exceeded THEN
            CONTINUE;
        END;
    END LOOP;
    FOR log_id IN SELECT DISTINCT i FROM unnest(log_ids) i WHERE i <> ALL (done) ORDER BY i LOOP
        BEGIN
            PERFORM @extschema@.webhook_redeliver(log_id);
            redelivered := redelivered + 1;
        EXCEPTION WHEN undefined_object OR object_not_in_prerequisite_state OR configuration_limit_exceeded THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
            problems := problems || json_build_object('log_id', log_id::text, 'message', message);
        END;
    END LOOP;
    RETURN json_build_object('redelivered', redelivered, 'problems', array_to_json(problems));
EXCEPTION WHEN read_only_sql_transaction THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
    PERFORM webhook_internal.raise_again(state, message, NULL, NULL);
END
$$;
COMMENT ON FUNCTION webhook_api.redeliver(bigint[]) IS
    'Sends the events of attempts (webhook_logs.id, at most 100) again, as webhook_redeliver() does: {"redelivered", '
    '"problems": [{"log_id", "message"}]}. One that fails does not keep the others from being sent. Raises 22023.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.redeliver(bigint[])');

CREATE FUNCTION webhook_api.cancel(id uuid, event_id bigint DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM webhook_internal.require_webhook(id);
    RETURN json_build_object('cancelled', @extschema@.webhook_cancel(id, event_id));
END
$$;
COMMENT ON FUNCTION webhook_api.cancel(uuid, bigint) IS
    'Gives up the pending deliveries of a webhook, or that of one event, as webhook_cancel() does: {"cancelled": n}. '
    'Raises PT404 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.cancel(uuid, bigint)');
