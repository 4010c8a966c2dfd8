-- webhook_api: replays.

CREATE FUNCTION webhook_internal.start_replay(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.start_replay_operator(webhook, since, until, patterns, only_failed);
    END IF;
    RETURN webhook_internal.start_replay_tenant(webhook, since, until, patterns, only_failed);
END
$$;
COMMENT ON FUNCTION webhook_internal.start_replay(uuid, timestamptz, timestamptz, text[], boolean) IS
    'Starts a replay as the caller may. Used by webhook_api.replay().';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.start_replay(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_internal.count_replay(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
DECLARE
    counted record;
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        SELECT * INTO counted FROM webhook_internal.count_replay_operator(webhook, since, until, patterns, only_failed);
    ELSE
        SELECT * INTO counted FROM webhook_internal.count_replay_tenant(webhook, since, until, patterns, only_failed);
    END IF;
    RETURN json_build_object('count', counted.matched, 'is_complete', counted.counted_to IS NULL,
                             'counted_to', counted.counted_to);
END
$$;
COMMENT ON FUNCTION webhook_internal.count_replay(uuid, timestamptz, timestamptz, text[], boolean) IS
    'Counts what a replay would send, as the caller may. Used by webhook_api.replay().';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_replay(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_api.replay(
    id uuid, since timestamptz, until timestamptz DEFAULT pg_catalog.now(), events text[] DEFAULT NULL,
    only_failed boolean DEFAULT false, dry_run boolean DEFAULT false) RETURNS json
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    up_to timestamptz := coalesce(until, now());
    is_limited boolean := coalesce(only_failed, false);
    result json;
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    PERFORM webhook_internal.require_webhook(id);
    BEGIN
        IF dry_run THEN
            result := webhook_internal.count_replay(replay.id, since, up_to, events, is_limited);
        ELSE
            result := json_build_object(
                'job', webhook_internal.start_replay(replay.id, since, up_to, events, is_limited)::text);
        END IF;
    EXCEPTION WHEN null_value_not_allowed OR invalid_parameter_value OR configuration_limit_exceeded
                   OR object_not_in_prerequisite_state THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        IF state IN ('22004', '22023') THEN
            PERFORM webhook_internal.raise_again('22023', message, detail, hint, 'since');
        END IF;
        PERFORM webhook_internal.raise_again('PT409', message, detail, hint);
    END;
    RETURN result;
END
$$;
COMMENT ON FUNCTION webhook_api.replay(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'Starts a replay of the stored events in [since, until), which a worker carries out in steps: {"job": id}. With '
    'dry_run it counts the newest: {"count": n, "is_complete", "counted_to"}. docs/api.md. Errors: PT404, 22023 if the '
    'range is wrong, and PT409 if the webhook is switched off, 10 replays of the organization are not ended, or it has as '
    'many deliveries as webhook.max_deliveries_per_organization permits.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.replay(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

-- Names the columns that tenants may read.
CREATE FUNCTION webhook_internal.describe_replays(ids bigint[]) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
    SELECT coalesce(json_agg(json_build_object(
        'id', r.id::text, 'webhook', r.configuration_id, 'state', r.state, 'reason', r.reason, 'since', r.since,
        'until', r.until, 'events', r.events, 'only_failed', r.only_failed, 'progress_percent', r.progress,
        'examined', r.examined, 'queued', r.queued, 'oldest_event_at', r.oldest_event_at,
        'newest_event_at', r.newest_event_at, 'user', r.role, 'subject', r.subject, 'requested_at', r.requested_at,
        'started_at', r.started_at, 'ended_at', r.ended_at) ORDER BY r.id DESC), '[]')
    FROM @extschema@.webhook_replays r WHERE r.id = ANY (ids)
$$;
COMMENT ON FUNCTION webhook_internal.describe_replays(bigint[]) IS
    'Replays as webhook_api shows them, the newest first: those that the caller sees.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_replays(bigint[])');

CREATE FUNCTION webhook_api.replays(id uuid, before bigint DEFAULT NULL, page_size integer DEFAULT 20) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    rows_max integer := webhook_internal.check_page_size(page_size, 200);
    ids bigint[];
BEGIN
    ids := ARRAY(SELECT r.id FROM @extschema@.webhook_replays r
                 WHERE r.configuration_id = replays.id AND (before IS NULL OR r.id < before)
                 ORDER BY r.id DESC LIMIT rows_max + 1);
    -- A deleted webhook has replays, too.
    IF cardinality(ids) = 0 THEN
        PERFORM webhook_internal.require_webhook(id);
    END IF;
    RETURN json_build_object('replays', webhook_internal.describe_replays(ids[:rows_max]),
                             'next', CASE WHEN cardinality(ids) > rows_max THEN ids[rows_max]::text END);
END
$$;
COMMENT ON FUNCTION webhook_api.replays(uuid, bigint, integer) IS
    'The replays of a webhook with their progress, the newest first: docs/api.md. Also of a webhook that has been deleted. '
    'before: the next of the page before. Raises PT404 if the caller sees neither the webhook nor a replay of it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.replays(uuid, bigint, integer)');

CREATE FUNCTION webhook_api.cancel_replay(job bigint) RETURNS json
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    was_cancelled boolean;
BEGIN
    IF job IS NULL THEN
        PERFORM webhook_internal.raise_argument('job', 'null_value_not_allowed', 'the id of a replay is missing');
    END IF;
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_replays r WHERE r.id = job) THEN
        PERFORM webhook_internal.raise_unknown('replay ' || job);
    END IF;
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        was_cancelled := webhook_internal.cancel_replay_operator(job);
    ELSE
        was_cancelled := webhook_internal.cancel_replay_tenant(job);
    END IF;
    RETURN json_build_object('cancelled', was_cancelled, 'replay', webhook_internal.describe_replays(ARRAY[job]) -> 0);
END
$$;
COMMENT ON FUNCTION webhook_api.cancel_replay(bigint) IS
    'Ends a replay: {"cancelled", "replay"}. cancelled is false if it had ended before. What it has made pending stays '
    'pending: webhook_api.cancel(). Raises PT404 if the caller sees no such replay.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.cancel_replay(bigint)');
