-- Sending again, by webhook_redeliver() and webhook_replay(), and giving up, by webhook_cancel().

-- The row, which stays until the transaction ends: its deletion would have to see what is owed to it. Nobody else writes
-- that until then. The row is locked first, as by DELETE.
CREATE FUNCTION webhook_internal.hold(webhook uuid) RETURNS @extschema@.webhook_configurations
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held @extschema@.webhook_configurations;
BEGIN
    SELECT c.* INTO held FROM @extschema@.webhook_configurations c WHERE c.id = webhook FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook
            USING ERRCODE = 'undefined_object', HINT = 'It may have been deleted.';
    END IF;
    PERFORM webhook_internal.lock_deliveries(webhook);
    RETURN held;
END
$$;
COMMENT ON FUNCTION webhook_internal.hold(uuid) IS
    'A webhook, which cannot be deleted before the transaction ends. An error (42704) if there is none.';

-- As ordering_key() in src/core/lanes.h.
CREATE FUNCTION webhook_internal.ordering_key(ordering text, key text, event_id bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE ordering
           WHEN 'key' THEN CASE WHEN key IS NULL THEN '#' || event_id
                                WHEN octet_length(convert_to(key, 'UTF8')) <= 128 THEN '=' || key
                                ELSE '~' || encode(sha256(convert_to(key, 'UTF8')), 'hex') END
           WHEN 'endpoint' THEN '*' END
$$;
COMMENT ON FUNCTION webhook_internal.ordering_key(text, text, bigint) IS
    'What webhook_deliveries.ordering_key is for a webhook of that ordering and an event of that key and id.';

-- How many rows of webhook_deliveries the organization has; of more than the limit, one beyond it. Two scans, so that each
-- finds its index.
CREATE FUNCTION webhook_internal.count_owed(organization text, rows_max bigint) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*)
    FROM (SELECT FROM @extschema@.webhook_configurations c
          CROSS JOIN LATERAL (SELECT FROM @extschema@.webhook_deliveries d
                              WHERE d.configuration_id = c.id AND d.state = 'pending'
                              UNION ALL
                              SELECT FROM @extschema@.webhook_deliveries d
                              WHERE d.configuration_id = c.id AND d.state = 'dead') o
          WHERE c.organization_id = organization LIMIT rows_max + 1) n
$$;
COMMENT ON FUNCTION webhook_internal.count_owed(text, bigint) IS
    'How many rows of webhook_deliveries an organization has, at most one more than the second argument.';

-- Tells the worker that others have changed what the webhook is owed.
CREATE FUNCTION webhook_internal.announce_owed(webhook uuid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO @extschema@.webhook_changes (configuration_id, configuration_created_at, organization_id, is_deleted)
    SELECT c.id, c.created_at, c.organization_id, false FROM @extschema@.webhook_configurations c WHERE c.id = webhook
    ON CONFLICT DO NOTHING;
    PERFORM webhook_internal.wake();
END
$$;
COMMENT ON FUNCTION webhook_internal.announce_owed(uuid) IS
    'Tells the worker that a session has changed what the webhook is owed.';

-- Owes the events to the webhook again, from the first attempt on, and returns how many. Left out are those that are of
-- another organization or no longer stored. An error, if the organization had more rows than it may have then.
CREATE FUNCTION webhook_internal.owe(webhook uuid, events bigint[]) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held @extschema@.webhook_configurations := webhook_internal.hold(webhook);
    due timestamptz := clock_timestamp();  -- one for all: they go in the order of their ids
    request bigint := pg_current_xact_id()::text::bigint;  -- an attempt under way that ends now says nothing of it
    rows_max bigint := webhook_internal.owed_max();
    stored bigint;
    kept bigint;
BEGIN
    INSERT INTO @extschema@.webhook_deliveries AS d
        (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, owed_since,
         next_attempt_at, ordering_key, request, slot)
    SELECT e.id, held.id, held.created_at, held.organization_id, e.event, e.key, e.created_at, 'pending', due, due,
           webhook_internal.ordering_key(held.ordering, e.key, e.id), request, e.slot
    FROM unnest(events) u (id) JOIN @extschema@.webhook_events e ON e.id = u.id
    WHERE e.data IS NOT NULL AND e.organization_id IS NOT DISTINCT FROM held.organization_id
    ON CONFLICT ON CONSTRAINT webhook_deliveries_pkey DO UPDATE
        SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
            state = 'pending', attempts = 0, probes = 0, owed_since = due, next_attempt_at = due, last_error = NULL,
            ordering_key = excluded.ordering_key, request = excluded.request, updated_at = clock_timestamp();
    GET DIAGNOSTICS stored = ROW_COUNT;
    -- Those that outlived their segment: locked first, lest the worker delete one that nothing refers to.
    PERFORM FROM webhook_internal.saved_events s
    WHERE s.event_id = ANY (events) AND s.organization_id IS NOT DISTINCT FROM held.organization_id FOR KEY SHARE;
    INSERT INTO @extschema@.webhook_deliveries AS d
        (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, owed_since,
         next_attempt_at, ordering_key, request)
    SELECT s.event_id, held.id, held.created_at, held.organization_id, s.event, s.key, s.created_at, 'pending', due, due,
           webhook_internal.ordering_key(held.ordering, s.key, s.event_id), request
    FROM webhook_internal.saved_events s
    WHERE s.event_id = ANY (events) AND s.organization_id IS NOT DISTINCT FROM held.organization_id
      AND NOT EXISTS (SELECT FROM @extschema@.webhook_events e WHERE e.id = s.event_id AND e.data IS NOT NULL)
    ON CONFLICT ON CONSTRAINT webhook_deliveries_pkey DO UPDATE
        SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
            state = 'pending', attempts = 0, probes = 0, owed_since = due, next_attempt_at = due, last_error = NULL,
            ordering_key = excluded.ordering_key, request = excluded.request, updated_at = clock_timestamp();
    GET DIAGNOSTICS kept = ROW_COUNT;
    IF webhook_internal.count_owed(held.organization_id, rows_max) > rows_max THEN
        RAISE EXCEPTION 'organization "%" cannot have more than % deliveries that are pending or dead',
            held.organization_id, rows_max
            USING ERRCODE = 'configuration_limit_exceeded',
                  DETAIL = format('%s were to be owed to webhook "%s".', stored + kept, held.name),
                  HINT = 'Replay less at once, give up what is not needed by @extschema@.webhook_cancel(), or have the '
                         'administrator raise webhook.max_owed_per_organization.';
    END IF;
    PERFORM webhook_internal.announce_owed(held.id);
    IF NOT held.is_active AND stored + kept > 0 THEN
        RAISE NOTICE 'webhook "%" is inactive: what it is owed waits until it is active again', held.name;
    END IF;
    RETURN stored + kept;
END
$$;
COMMENT ON FUNCTION webhook_internal.owe(uuid, bigint[]) IS
    'Owes events to a webhook again. Behind webhook_redeliver() and webhook_replay().';

CREATE FUNCTION webhook_internal.redeliver_operator(webhook uuid, redelivered bigint) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF webhook_internal.owe(webhook, ARRAY[redelivered]) = 0 THEN
        RAISE EXCEPTION 'event % is not stored', redelivered
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = coalesce((SELECT format('Its %s bytes were more than webhook.max_payload, and were not '
                                                   'kept.', e.oversized_bytes)
                                     FROM @extschema@.webhook_events e
                                     WHERE e.id = redelivered AND e.oversized_bytes IS NOT NULL
                                       AND e.organization_id IS NOT DISTINCT FROM
                                           (SELECT c.organization_id FROM @extschema@.webhook_configurations c
                                            WHERE c.id = webhook)),
                                    'Events are kept for webhook.event_retention; log rows may outlive them.'),
                  HINT = 'To send its like again, change the row again, or publish it by @extschema@.webhook_emit().';
    END IF;
    -- In REPEATABLE READ a row that has been delivered since the snapshot is seen beside the new one.
    RETURN (SELECT d.next_attempt_at FROM @extschema@.webhook_deliveries d
            WHERE d.configuration_id = webhook AND d.event_id = redelivered ORDER BY d.owed_since DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_operator(uuid, bigint) IS 'webhook_redeliver() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.redeliver_operator(uuid, bigint)');

CREATE FUNCTION webhook_internal.redeliver_tenant(webhook uuid, redelivered bigint) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.redeliver_operator(webhook, redelivered);
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_tenant(uuid, bigint) IS
    'webhook_redeliver() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.redeliver_tenant(uuid, bigint)');

CREATE FUNCTION @extschema@.webhook_redeliver(log_id bigint, OUT configuration_id uuid, OUT event_id bigint,
                                              OUT event text, OUT next_attempt_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT l.configuration_id, l.event_id, l.event INTO configuration_id, event_id, event
    FROM @extschema@.webhook_logs l WHERE l.id = log_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'log row % does not exist, or belongs to another organization', log_id
            USING ERRCODE = 'undefined_object', HINT = 'Give an id of @extschema@.webhook_logs.';
    END IF;
    IF event_id < 0 THEN
        RAISE EXCEPTION 'log row % is of a test', log_id
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'No event is behind it.',
                  HINT = 'Call @extschema@.webhook_test() again.';
    END IF;
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_logs l
                   JOIN @extschema@.webhook_configurations c
                        ON c.id = l.configuration_id AND c.organization_id IS NOT DISTINCT FROM l.organization_id
                   WHERE l.id = log_id) THEN
        RAISE EXCEPTION 'the webhook of log row % has been deleted', log_id
            USING ERRCODE = 'undefined_object', DETAIL = format('It was %s.', configuration_id);
    END IF;
    -- Not in one expression: PostgreSQL would ask for the right to both.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        next_attempt_at := webhook_internal.redeliver_operator(configuration_id, event_id);
    ELSE
        next_attempt_at := webhook_internal.redeliver_tenant(configuration_id, event_id);
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_redeliver(bigint) IS
    'Owes the event of an attempt (webhook_logs.id) to its webhook again, with the same webhook-id and the full '
    'schedule, and returns what is owed. To an inactive webhook it goes once that is active again. 55000 if the event '
    'is not stored any more, 42704 if the webhook or the log row is gone.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_redeliver(bigint)');

-- The stored events in [since, until) that the webhook's patterns match, and, unless they are null, the given ones too.
CREATE FUNCTION webhook_internal.replayable(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS SETOF bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.id
    FROM @extschema@.webhook_configurations c
    JOIN @extschema@.webhook_own_events e ON e.organization_id IS NOT DISTINCT FROM c.organization_id
    WHERE c.id = webhook AND e.created_at >= since AND e.created_at < until AND e.data IS NOT NULL
      AND EXISTS (SELECT FROM unnest(c.events) p WHERE @extschema@.webhook_event_matches(p, e.event))
      AND (patterns IS NULL
           OR EXISTS (SELECT FROM unnest(patterns) p WHERE @extschema@.webhook_event_matches(p, e.event)))
      AND (c.filter IS NULL OR @extschema@.webhook_filter_problem(c.filter, e.data) IS NULL)
      AND (NOT only_failed
           OR e.id IN (SELECT d.event_id FROM @extschema@.webhook_deliveries d
                       WHERE d.configuration_id = webhook AND d.configuration_created_at = c.created_at
                         AND d.organization_id IS NOT DISTINCT FROM c.organization_id AND d.state = 'dead'))
$$;
COMMENT ON FUNCTION webhook_internal.replayable(uuid, timestamptz, timestamptz, text[], boolean) IS
    'The events that webhook_replay() would send.';

CREATE FUNCTION webhook_internal.replay_operator(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean, dry_run boolean)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c WHERE c.id = webhook) THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    IF dry_run THEN
        RETURN (SELECT count(*) FROM webhook_internal.replayable(webhook, since, until, patterns, only_failed));
    END IF;
    RETURN webhook_internal.owe(webhook, ARRAY(
        SELECT r FROM webhook_internal.replayable(webhook, since, until, patterns, only_failed) r));
END
$$;
COMMENT ON FUNCTION webhook_internal.replay_operator(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'webhook_replay() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.replay_operator(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

CREATE FUNCTION webhook_internal.replay_tenant(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean, dry_run boolean)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.replay_operator(webhook, since, until, patterns, only_failed, dry_run);
END
$$;
COMMENT ON FUNCTION webhook_internal.replay_tenant(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'webhook_replay() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.replay_tenant(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

CREATE FUNCTION @extschema@.webhook_replay(
    configuration_id uuid,
    since timestamptz,
    until timestamptz DEFAULT pg_catalog.now(),
    events text[] DEFAULT NULL,
    only_failed boolean DEFAULT false,
    dry_run boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF since IS NULL OR until IS NULL OR only_failed IS NULL OR dry_run IS NULL THEN
        RAISE EXCEPTION '% must not be null', CASE WHEN since IS NULL THEN 'since' WHEN until IS NULL THEN 'until'
                                                   WHEN only_failed IS NULL THEN 'only_failed' ELSE 'dry_run' END
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'For all that is stored, pass since => ''-infinity''. disabled_at is null until a webhook has '
                         'been switched off.';
    END IF;
    IF since > until THEN
        RAISE EXCEPTION 'since is later than until' USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('since is %s, until is %s.', since, until);
    END IF;
    PERFORM webhook_internal.check_events(events);
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.replay_operator(configuration_id, since, until, events, only_failed, dry_run);
    END IF;
    RETURN webhook_internal.replay_tenant(configuration_id, since, until, events, only_failed, dry_run);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'Owes to a webhook again what is stored of its organization''s events since a time and before another, as far as '
    'it subscribes to them; delivered or not, with the same webhook-id and the full schedule. Returns how many. '
    'events: only those that these names or patterns match. only_failed: only what was given up. dry_run: only '
    'counts. Also what came while it was inactive: webhook_replay(id, disabled_at, active_since).';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

-- A delivery that dies without an attempt gets a log row with attempt 0, here too.
CREATE FUNCTION webhook_internal.cancel_operator(webhook uuid, cancelled bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    total bigint;
    log_ring text;
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c WHERE c.id = webhook) THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    PERFORM webhook_internal.lock_deliveries(webhook);
    SELECT webhook_internal.log_ring(max(d.organization_id), count(*)) INTO log_ring FROM @extschema@.webhook_deliveries d
    WHERE d.configuration_id = webhook AND d.state = 'pending' AND (cancelled IS NULL OR d.event_id = cancelled);
    WITH given_up AS (
        UPDATE @extschema@.webhook_deliveries d
        SET state = 'dead', next_attempt_at = NULL, last_error = 'cancelled', updated_at = clock_timestamp()
        FROM @extschema@.webhook_configurations c
        WHERE c.id = webhook AND d.configuration_id = c.id AND d.configuration_created_at = c.created_at
          AND d.organization_id IS NOT DISTINCT FROM c.organization_id
          AND d.state = 'pending' AND (cancelled IS NULL OR d.event_id = cancelled)
        RETURNING d.configuration_id, d.organization_id, d.event_id, d.event)
    INSERT INTO @extschema@.webhook_logs
        (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
    SELECT r.slot, clock_timestamp(), g.configuration_id, g.organization_id, g.event_id, g.event, 0, 'failed',
           'cancelled'
    FROM given_up g, @extschema@.webhook_rings r WHERE r.ring = log_ring;
    GET DIAGNOSTICS total = ROW_COUNT;
    PERFORM webhook_internal.announce_owed(webhook);
    RETURN total;
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_operator(uuid, bigint) IS 'webhook_cancel() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.cancel_operator(uuid, bigint)');

CREATE FUNCTION webhook_internal.cancel_tenant(webhook uuid, cancelled bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.cancel_operator(webhook, cancelled);
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_tenant(uuid, bigint) IS 'webhook_cancel() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.cancel_tenant(uuid, bigint)');

CREATE FUNCTION @extschema@.webhook_cancel(configuration_id uuid, event_id bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.cancel_operator(configuration_id, event_id);
    END IF;
    RETURN webhook_internal.cancel_tenant(configuration_id, event_id);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_cancel(uuid, bigint) IS
    'Gives up what is owed to a webhook, all or one event, and returns how much. It stays in webhook_deliveries, dead '
    'and cancelled, for webhook_replay(). What the worker has in its hands already may still arrive.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_cancel(uuid, bigint)');
