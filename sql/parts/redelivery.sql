-- Sending again: webhook_redeliver() and webhook_replay(). Giving up: webhook_cancel().

-- Keeps others from deleting the webhook, and from writing its deliveries, until the transaction ends: a deletion must
-- see the new deliveries. The row is locked first, as by DELETE.
CREATE FUNCTION webhook_internal.hold(webhook uuid) RETURNS @extschema@.webhook_configurations
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held @extschema@.webhook_configurations;
BEGIN
    -- A lock on the row would stop the node's apply worker.
    PERFORM webhook_internal.require_home();
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
    'A webhook that cannot be deleted before the transaction ends. Raises 42704 if it does not exist, and 55000 on a node.';

-- The same as ordering_key() in src/core/lanes.h.
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
    'webhook_deliveries.ordering_key for a webhook with this ordering and an event with this key and id.';

-- Two scans, so that each finds its index.
CREATE FUNCTION webhook_internal.count_deliveries(organization text, rows_max bigint) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*)
    FROM (SELECT FROM @extschema@.webhook_configurations c
          CROSS JOIN LATERAL (SELECT FROM ONLY @extschema@.webhook_deliveries d
                              WHERE d.configuration_id = c.id AND d.state = 'pending'
                              UNION ALL
                              SELECT FROM ONLY @extschema@.webhook_deliveries d
                              WHERE d.configuration_id = c.id AND d.state = 'dead') o
          WHERE c.organization_id = organization LIMIT rows_max + 1) n
$$;
COMMENT ON FUNCTION webhook_internal.count_deliveries(text, bigint) IS
    'How many rows of webhook_deliveries an organization has, counted to rows_max + 1 at most.';

CREATE FUNCTION webhook_internal.raise_deliveries_exceeded(organization text, rows_max bigint, requested text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'organization "%" cannot have more than % deliveries that are pending or dead', organization, rows_max
        USING ERRCODE = 'configuration_limit_exceeded', DETAIL = requested,
              HINT = 'Replay fewer events at once, cancel deliveries with @extschema@.webhook_cancel(), or have '
                     'the administrator raise webhook.max_deliveries_per_organization.';
END
$$;
COMMENT ON FUNCTION webhook_internal.raise_deliveries_exceeded(text, bigint, text) IS
    'Raises 53400: the organization has more rows than webhook.max_deliveries_per_organization.';

CREATE FUNCTION webhook_internal.announce_pending(webhook uuid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO @extschema@.webhook_changes (configuration_id, configuration_created_at, organization_id, is_deleted)
    SELECT c.id, c.created_at, c.organization_id, false FROM @extschema@.webhook_configurations c WHERE c.id = webhook
    ON CONFLICT DO NOTHING;
    PERFORM webhook_internal.wake();
END
$$;
COMMENT ON FUNCTION webhook_internal.announce_pending(uuid) IS
    'Tells the worker that a session has changed the webhook''s pending deliveries.';

-- The caller holds the webhook's deliveries: lock_deliveries().
CREATE FUNCTION webhook_internal.queue_events(held @extschema@.webhook_configurations, events bigint[]) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due timestamptz := clock_timestamp();  -- the same for all: they are sent in the order of their ids
    request bigint := pg_current_xact_id()::text::bigint;  -- results of earlier attempts are ignored
    stored bigint;
    kept bigint;
BEGIN
    INSERT INTO @extschema@.webhook_deliveries AS d
        (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, pending_since,
         next_attempt_at, ordering_key, request, slot)
    SELECT e.id, held.id, held.created_at, held.organization_id, e.event, e.key, e.created_at, 'pending', due, due,
           webhook_internal.ordering_key(held.ordering, e.key, e.id), request, e.slot
    FROM unnest(events) u (id) JOIN @extschema@.webhook_events e ON e.id = u.id
    WHERE e.data IS NOT NULL AND e.organization_id IS NOT DISTINCT FROM held.organization_id
    ON CONFLICT ON CONSTRAINT webhook_deliveries_pkey DO UPDATE
        SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
            state = 'pending', attempts = 0, probes = 0, pending_since = due, next_attempt_at = due, last_error = NULL,
            ordering_key = excluded.ordering_key, request = excluded.request, updated_at = clock_timestamp();
    GET DIAGNOSTICS stored = ROW_COUNT;
    -- Events that outlived their segment. They are locked first, so that the worker does not delete one that nothing
    -- refers to.
    PERFORM FROM webhook_internal.saved_events s
    WHERE s.event_id = ANY (events) AND s.organization_id IS NOT DISTINCT FROM held.organization_id FOR KEY SHARE;
    INSERT INTO @extschema@.webhook_deliveries AS d
        (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, pending_since,
         next_attempt_at, ordering_key, request)
    SELECT s.event_id, held.id, held.created_at, held.organization_id, s.event, s.key, s.created_at, 'pending', due, due,
           webhook_internal.ordering_key(held.ordering, s.key, s.event_id), request
    FROM webhook_internal.saved_events s
    WHERE s.event_id = ANY (events) AND s.organization_id IS NOT DISTINCT FROM held.organization_id
      AND NOT EXISTS (SELECT FROM @extschema@.webhook_events e WHERE e.id = s.event_id AND e.data IS NOT NULL)
    ON CONFLICT ON CONSTRAINT webhook_deliveries_pkey DO UPDATE
        SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
            state = 'pending', attempts = 0, probes = 0, pending_since = due, next_attempt_at = due, last_error = NULL,
            ordering_key = excluded.ordering_key, request = excluded.request, updated_at = clock_timestamp();
    GET DIAGNOSTICS kept = ROW_COUNT;
    PERFORM webhook_internal.forget_at_nodes(held.id, events);
    PERFORM webhook_internal.announce_pending(held.id);
    RETURN stored + kept;
END
$$;
COMMENT ON FUNCTION webhook_internal.queue_events(@extschema@.webhook_configurations, bigint[]) IS
    'Makes the events pending for the webhook again, from the first attempt on, and returns how many. Leaves out events '
    'of other organizations and events that are not stored. Needs lock_deliveries(). Used by make_pending() and by the '
    'worker for webhook_replays.';

CREATE FUNCTION webhook_internal.make_pending(webhook uuid, events bigint[]) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held @extschema@.webhook_configurations := webhook_internal.hold(webhook);
    rows_max bigint := webhook_internal.deliveries_max();
    queued bigint := webhook_internal.queue_events(held, events);
BEGIN
    -- Counting takes longer than queuing a few. The worker gives up what is too many.
    IF cardinality(events) > 100 AND webhook_internal.count_deliveries(held.organization_id, rows_max) > rows_max THEN
        PERFORM webhook_internal.raise_deliveries_exceeded(
            held.organization_id, rows_max, format('%s were requested for webhook "%s".', queued, held.name));
    END IF;
    IF NOT held.is_active AND queued > 0 THEN
        RAISE NOTICE 'webhook "%" is inactive: its pending deliveries wait until it is active again', held.name;
    END IF;
    RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook_internal.make_pending(uuid, bigint[]) IS
    'Makes the events pending for the webhook again, as queue_events() does. Raises 53400 for more than 100 events if '
    'the organization then has more rows than webhook.max_deliveries_per_organization. Used by webhook_redeliver() and '
    'webhook_replay().';

CREATE FUNCTION webhook_internal.redeliver_operator(webhook uuid, events bigint[]) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing bigint;
BEGIN
    events := ARRAY(SELECT DISTINCT u.id FROM unnest(events) u (id) WHERE u.id IS NOT NULL);
    IF webhook_internal.make_pending(webhook, events) < cardinality(events) THEN
        SELECT u.id INTO missing FROM unnest(events) u (id)
        WHERE NOT EXISTS (SELECT FROM @extschema@.webhook_deliveries d
                          WHERE d.configuration_id = webhook AND d.event_id = u.id
                            AND d.request = pg_current_xact_id()::text::bigint)
        LIMIT 1;
        RAISE EXCEPTION 'event % is not stored', missing
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = coalesce((SELECT format('Its %s bytes exceeded webhook.max_payload and were not kept.',
                                                   e.oversized_bytes)
                                     FROM @extschema@.webhook_events e
                                     WHERE e.id = missing AND e.oversized_bytes IS NOT NULL
                                       AND e.organization_id IS NOT DISTINCT FROM
                                           (SELECT c.organization_id FROM @extschema@.webhook_configurations c
                                            WHERE c.id = webhook)),
                                    'Events are kept for webhook.event_retention; log rows may outlive them.'),
                  HINT = 'To send a similar event, change the row again, or publish one with '
                         '@extschema@.webhook_emit().';
    END IF;
    -- In REPEATABLE READ, the old row of an event that was delivered after the snapshot is still visible next to the
    -- new one.
    RETURN (SELECT d.next_attempt_at FROM @extschema@.webhook_deliveries d
            WHERE d.configuration_id = webhook AND d.event_id = events[1] ORDER BY d.pending_since DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_operator(uuid, bigint[]) IS
    'webhook_redeliver() for operators, of one or more events: all of them, or 55000 for one that is not stored. Returns '
    'when they are due.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.redeliver_operator(uuid, bigint[])');

CREATE FUNCTION webhook_internal.redeliver_tenant(webhook uuid, events bigint[]) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.redeliver_operator(webhook, events);
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_tenant(uuid, bigint[]) IS
    'redeliver_operator() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.redeliver_tenant(uuid, bigint[])');

CREATE FUNCTION webhook_internal.redeliver_events(webhook uuid, events bigint[]) RETURNS timestamptz
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.redeliver_operator(webhook, events);
    END IF;
    RETURN webhook_internal.redeliver_tenant(webhook, events);
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_events(uuid, bigint[]) IS
    'redeliver_operator() or redeliver_tenant(), as the caller may.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.redeliver_events(uuid, bigint[])');

CREATE FUNCTION @extschema@.webhook_redeliver(log_id bigint, OUT configuration_id uuid, OUT event_id bigint,
                                              OUT event text, OUT next_attempt_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
    SET enable_seqscan = off  -- without statistics the planner does not find the BRIN index
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
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'A test has no event.',
                  HINT = 'Call @extschema@.webhook_test() again.';
    END IF;
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_logs l
                   JOIN @extschema@.webhook_configurations c
                        ON c.id = l.configuration_id AND c.organization_id IS NOT DISTINCT FROM l.organization_id
                   WHERE l.id = log_id) THEN
        RAISE EXCEPTION 'the webhook of log row % has been deleted', log_id
            USING ERRCODE = 'undefined_object', DETAIL = format('It was %s.', configuration_id);
    END IF;
    next_attempt_at := webhook_internal.redeliver_events(configuration_id, ARRAY[event_id]);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_redeliver(bigint) IS
    'Makes the event of an attempt (webhook_logs.id) pending for its webhook again, with the same webhook-id and the '
    'full schedule, and returns the delivery. If the webhook is inactive, the delivery waits. Errors: 42704 if the log '
    'row or its webhook does not exist, 55000 if the event is not stored or the row is of a test.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_redeliver(bigint)');

-- The stored events in [since, until) that match the patterns and the filter of the webhook, and the given patterns
-- unless they are null.
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
    'The ids of the events that webhook_replay() would send.';

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
    RETURN webhook_internal.make_pending(webhook, ARRAY(
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

CREATE FUNCTION webhook_internal.check_replay(
    since timestamptz, until timestamptz, events text[], only_failed boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF since IS NULL OR until IS NULL OR only_failed IS NULL THEN
        RAISE EXCEPTION '% must not be null', CASE WHEN since IS NULL THEN 'since' WHEN until IS NULL THEN 'until'
                                                   ELSE 'only_failed' END
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'To replay all stored events, pass since => ''-infinity''. disabled_at is null until a webhook '
                         'has been switched off.';
    END IF;
    IF since > until THEN
        RAISE EXCEPTION 'since is later than until' USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('since is %s, until is %s.', since, until);
    END IF;
    PERFORM webhook_internal.check_events(events);
END
$$;
COMMENT ON FUNCTION webhook_internal.check_replay(timestamptz, timestamptz, text[], boolean) IS
    'Raises an error (22004, 22023) unless a replay can have these arguments.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_replay(timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION @extschema@.webhook_replay(
    configuration_id uuid,
    since timestamptz,
    until timestamptz DEFAULT pg_catalog.now(),
    events text[] DEFAULT NULL,
    only_failed boolean DEFAULT false,
    dry_run boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM webhook_internal.check_replay(since, until, events, only_failed);
    IF dry_run IS NULL THEN
        RAISE EXCEPTION 'dry_run must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.replay_operator(configuration_id, since, until, events, only_failed, dry_run);
    END IF;
    RETURN webhook_internal.replay_tenant(configuration_id, since, until, events, only_failed, dry_run);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'Makes the stored events in [since, until) that the webhook subscribes to pending again, delivered or not, with '
    'the same webhook-id and the full schedule. Returns how many. events: only those that match these names or '
    'patterns. only_failed: only those that were given up. dry_run: only counts. webhook_replay(id, disabled_at, '
    'active_since) sends what an inactive webhook missed. Errors: 22004, 22023, 42704, and 53400 beyond '
    'webhook.max_deliveries_per_organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

-- A delivery that is given up gets a log row with attempt 0.
CREATE FUNCTION webhook_internal.cancel_deliveries(webhook uuid, cancelled bigint, before pg_snapshot, rows_max bigint)
    RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    events bigint[] := ARRAY(
        SELECT d.event_id FROM ONLY @extschema@.webhook_deliveries d
        JOIN @extschema@.webhook_configurations c ON c.id = d.configuration_id AND c.created_at = d.configuration_created_at
                                                 AND c.organization_id IS NOT DISTINCT FROM d.organization_id
        WHERE d.configuration_id = webhook AND d.state = 'pending' AND (cancelled IS NULL OR d.event_id = cancelled)
          AND (before IS NULL OR pg_visible_in_snapshot(coalesce(
                  (SELECT e.xid FROM @extschema@.webhook_events e WHERE e.slot = d.slot AND e.id = d.event_id),
                  (SELECT s.xid FROM webhook_internal.saved_events s WHERE s.event_id = d.event_id)), before))
        LIMIT rows_max);
BEGIN
    WITH given_up AS (
        UPDATE ONLY @extschema@.webhook_deliveries d
        SET state = 'dead', next_attempt_at = NULL, last_error = 'cancelled', updated_at = clock_timestamp()
        WHERE d.configuration_id = webhook AND d.event_id = ANY (events) AND d.state = 'pending'
        RETURNING d.configuration_id, d.organization_id, d.event_id, d.event)
    INSERT INTO @extschema@.webhook_logs
        (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
    SELECT r.slot, clock_timestamp(), g.configuration_id, g.organization_id, g.event_id, g.event, 0, 'failed', 'cancelled'
    FROM given_up g, @extschema@.webhook_rings r
    WHERE r.ring = (SELECT webhook_internal.log_ring(max(o.organization_id), count(*)) FROM given_up o);
    PERFORM webhook_internal.announce_pending(webhook);
    RETURN cardinality(events);
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_deliveries(uuid, bigint, pg_snapshot, bigint) IS
    'Cancels pending deliveries of a webhook, that of one event or all, of events that before sees, at most rows_max, '
    'and returns how many. Null: no limit. Needs lock_deliveries().';

CREATE FUNCTION webhook_internal.cancel_operator(webhook uuid, cancelled bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.require_home();
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c WHERE c.id = webhook) THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    PERFORM webhook_internal.lock_deliveries(webhook);
    RETURN webhook_internal.cancel_deliveries(webhook, cancelled, NULL, NULL) + webhook_internal.cancel_at_nodes(webhook, cancelled);
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
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.cancel_operator(configuration_id, event_id);
    END IF;
    RETURN webhook_internal.cancel_tenant(configuration_id, event_id);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_cancel(uuid, bigint) IS
    'Gives up the pending deliveries of a webhook, or that of one event, and returns how many. They stay in '
    'webhook_deliveries as dead, with last_error cancelled, for webhook_replay(). A delivery that the worker has in '
    'memory may still arrive. Raises 42704 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_cancel(uuid, bigint)');
