-- Counts, starts and cancels replays that a worker carries out: webhook_api.replay() and webhook_api.cancel_replay().

-- Waits for nobody, like prune_history().
CREATE FUNCTION webhook_internal.prune_replays(organization text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept CONSTANT integer := 200;
    deleted_max CONSTANT integer := 100;
    excess bigint[];
BEGIN
    IF organization IS NULL THEN
        excess := ARRAY(SELECT r.id FROM @extschema@.webhook_replays r
                        WHERE r.organization_id IS NULL AND r.ended_at IS NOT NULL
                        ORDER BY r.id DESC OFFSET kept LIMIT deleted_max);
    ELSE
        excess := ARRAY(SELECT r.id FROM @extschema@.webhook_replays r
                        WHERE r.organization_id = organization AND r.ended_at IS NOT NULL
                        ORDER BY r.id DESC OFFSET kept LIMIT deleted_max);
    END IF;
    DELETE FROM @extschema@.webhook_replays d
    WHERE d.id = ANY (ARRAY(SELECT r.id FROM @extschema@.webhook_replays r WHERE r.id = ANY (excess)
                            FOR UPDATE SKIP LOCKED));
EXCEPTION WHEN serialization_failure THEN
    NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.prune_replays(text) IS
    'Deletes the oldest ended rows of webhook_replays beyond the newest 200 of an organization (null: none). At most 100 '
    'at once. Does nothing if another transaction has deleted some since this one''s snapshot.';

-- Bisects the ids, because the time has no index. Ids ascend with time, but for sessions that capture at the same time.
CREATE FUNCTION webhook_internal.event_id_at(at timestamptz) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low bigint;
    high bigint;
    middle record;
BEGIN
    SELECT e.id, e.created_at INTO middle FROM @extschema@.webhook_events e ORDER BY e.id DESC LIMIT 1;
    IF NOT FOUND OR middle.created_at < at THEN
        RETURN NULL;
    END IF;
    high := middle.id;
    SELECT e.id INTO low FROM @extschema@.webhook_events e ORDER BY e.id LIMIT 1;
    WHILE low < high LOOP
        SELECT e.id, e.created_at INTO middle FROM @extschema@.webhook_events e
        WHERE e.id >= low + (high - low) / 2 ORDER BY e.id LIMIT 1;
        IF middle.created_at >= at THEN
            high := low + (high - low) / 2;
        ELSE
            low := middle.id + 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
COMMENT ON FUNCTION webhook_internal.event_id_at(timestamptz) IS
    'The id from which on stored events are of this time or later, but for sessions that capture at the same time. Null '
    'if there are none.';

-- The events that a replay would examine first if it went back in time. What it reads is bounded, whoever owns the
-- events, because webhook_events has no index by organization. The last row has no id if there may be older events.
CREATE FUNCTION webhook_internal.events_before(
    c @extschema@.webhook_configurations, since timestamptz, until timestamptz, only_failed boolean)
    RETURNS TABLE (id bigint, created_at timestamptz, event text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    read_max CONSTANT integer := 30000;
    -- Sessions that capture at the same time differ by less than a minute.
    up_to bigint := coalesce(CASE WHEN until < now() THEN webhook_internal.event_id_at(until + interval '1 minute') END,
                             9223372036854775807);
BEGIN
    RETURN QUERY
    WITH newest AS MATERIALIZED (
        (SELECT e.id, e.created_at, e.event, e.organization_id, e.data IS NOT NULL AS is_stored
         FROM @extschema@.webhook_events e WHERE NOT only_failed AND e.id <= up_to ORDER BY e.id DESC LIMIT read_max)
        UNION ALL
        (SELECT d.event_id, d.created_at, d.event, d.organization_id,
                EXISTS (SELECT FROM @extschema@.webhook_events e
                        WHERE e.slot = d.slot AND e.id = d.event_id AND e.data IS NOT NULL)
                OR EXISTS (SELECT FROM webhook_internal.saved_events k WHERE k.event_id = d.event_id)
         FROM @extschema@.webhook_deliveries d
         WHERE only_failed AND d.configuration_id = c.id AND d.configuration_created_at = c.created_at
           AND d.state = 'dead' AND d.event_id <= up_to
         ORDER BY d.event_id DESC LIMIT read_max / 3)
    ), saved AS MATERIALIZED (
        SELECT k.event_id AS id, k.created_at, k.event FROM webhook_internal.saved_events k
        WHERE NOT only_failed AND k.organization_id IS NOT DISTINCT FROM c.organization_id AND k.event_id <= up_to
        ORDER BY k.event_id DESC LIMIT read_max
    ), reached AS (
        SELECT max(r.created_at) AS at FROM (
            SELECT min(n.created_at) FROM newest n
            HAVING count(*) = CASE WHEN only_failed THEN read_max / 3 ELSE read_max END
            UNION ALL
            SELECT min(s.created_at) FROM saved s HAVING count(*) = read_max) r (created_at)
    ), own AS (
        SELECT n.id, n.created_at, n.event FROM newest n
        WHERE n.is_stored AND n.organization_id IS NOT DISTINCT FROM c.organization_id
        UNION ALL
        SELECT s.* FROM saved s WHERE s.id NOT IN (SELECT n.id FROM newest n)
    )
    (SELECT o.* FROM own o
     WHERE o.created_at >= since AND o.created_at < until
       AND o.created_at >= coalesce((SELECT r.at FROM reached r), '-infinity')
     ORDER BY o.id DESC)
    UNION ALL
    SELECT NULL, r.at, NULL FROM reached r WHERE r.at > since;
END
$$;
COMMENT ON FUNCTION
    webhook_internal.events_before(@extschema@.webhook_configurations, timestamptz, timestamptz, boolean) IS
    'The newest stored events of the webhook''s organization in [since, until), or those of its dead deliveries, among '
    '30000 events of all organizations, or 10000 dead deliveries, at most. If there may be older ones, a last row without '
    'id has the time to which it has looked back.';

CREATE FUNCTION webhook_internal.count_replay_operator(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean,
    OUT matched bigint, OUT counted_to timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    judged_max CONSTANT integer := 1000;
    c @extschema@.webhook_configurations;
    ids bigint[];
    judged_to timestamptz;
BEGIN
    PERFORM webhook_internal.check_replay(since, until, patterns, only_failed);
    SELECT w.* INTO c FROM @extschema@.webhook_configurations w WHERE w.id = webhook;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    WITH read AS MATERIALIZED (
        SELECT e.id, e.created_at, e.event FROM webhook_internal.events_before(c, since, until, only_failed) e
    ), named AS (  -- so that each name is compared once, and not with each event
        SELECT DISTINCT r.event FROM read r
    ), selected AS MATERIALIZED (
        SELECT n.event FROM named n
        WHERE webhook_internal.matches_any(c.events, n.event)
          AND (patterns IS NULL OR webhook_internal.matches_any(patterns, n.event))
    ), wanted AS MATERIALIZED (
        SELECT r.id, r.created_at, row_number() OVER (ORDER BY r.id DESC) AS place FROM read r
        WHERE r.id IS NOT NULL AND r.event IN (SELECT s.event FROM selected s)
    )
    SELECT count(*), (SELECT r.created_at FROM read r WHERE r.id IS NULL),
           CASE WHEN c.filter IS NOT NULL THEN array_agg(w.id) FILTER (WHERE w.place <= judged_max) END,
           min(w.created_at) FILTER (WHERE w.place = judged_max)
    INTO matched, counted_to, ids, judged_to FROM wanted w;
    IF c.filter IS NOT NULL THEN
        IF matched > judged_max THEN
            counted_to := judged_to;
        END IF;
        SELECT count(*) INTO matched FROM unnest(ids) i (id)
        JOIN LATERAL (
            SELECT e.data FROM @extschema@.webhook_events e WHERE e.id = i.id
            UNION ALL
            SELECT k.data FROM webhook_internal.saved_events k WHERE k.event_id = i.id LIMIT 1) d ON true
        WHERE @extschema@.webhook_filter_problem(c.filter, d.data) IS NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.count_replay_operator(uuid, timestamptz, timestamptz, text[], boolean) IS
    'How many events a replay would send: all of them if counted_to is null, otherwise those since then. Looks at the '
    'newest as events_before() does, and at 1000 at most if the webhook has a filter. Errors: 22004, 22023, 42704 if '
    'there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_replay_operator(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_internal.count_replay_tenant(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean,
    OUT matched bigint, OUT counted_to timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    SELECT n.matched, n.counted_to INTO matched, counted_to
    FROM webhook_internal.count_replay_operator(webhook, since, until, patterns, only_failed) n;
END
$$;
COMMENT ON FUNCTION webhook_internal.count_replay_tenant(uuid, timestamptz, timestamptz, text[], boolean) IS
    'count_replay_operator() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_replay_tenant(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_internal.start_replay_operator(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unfinished_max CONSTANT integer := 10;
    rows_max bigint := webhook_internal.deliveries_max();
    c @extschema@.webhook_configurations;
    log record;
    job bigint;
BEGIN
    PERFORM webhook_internal.require_home();
    PERFORM webhook_internal.check_replay(since, until, patterns, only_failed);
    SELECT w.* INTO c FROM @extschema@.webhook_configurations w WHERE w.id = webhook;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    IF NOT c.is_active THEN
        RAISE EXCEPTION 'webhook "%" is switched off', c.name USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Switch it on, then replay what it has missed.';
    END IF;
    IF webhook_internal.count_deliveries(c.organization_id, rows_max) >= rows_max THEN
        PERFORM webhook_internal.raise_deliveries_exceeded(
            c.organization_id, rows_max, format('A replay was requested for webhook "%s".', c.name));
    END IF;
    PERFORM webhook_internal.prune_replays(c.organization_id);
    -- One statement: the snapshot is that in which the ids are read.
    SELECT pg_current_snapshot() AS snapshot,
           least((SELECT min(e.id) FROM @extschema@.webhook_events e),
                 (SELECT min(s.event_id) FROM webhook_internal.saved_events s)) AS first,
           greatest((SELECT max(e.id) FROM @extschema@.webhook_events e),
                    (SELECT max(s.event_id) FROM webhook_internal.saved_events s)) AS last INTO log;
    FOR free IN 1 .. unfinished_max LOOP
        INSERT INTO @extschema@.webhook_replays
            (configuration_id, configuration_created_at, organization_id, since, until, events, only_failed, role,
             session_role, subject, place, snapshot, first_event_id, last_event_id, position)
        VALUES (c.id, c.created_at, c.organization_id, since, until, patterns, only_failed,
                coalesce(nullif(current_setting('role'), 'none'), session_user), session_user,
                webhook_internal.claimed_subject(), free, log.snapshot, coalesce(log.first, 0), coalesce(log.last, 0),
                coalesce(log.first, 0) - 1)
        ON CONFLICT DO NOTHING RETURNING id INTO job;
        EXIT WHEN job IS NOT NULL;
    END LOOP;
    IF job IS NULL THEN
        RAISE EXCEPTION 'organization "%" cannot have more than % replays that are not ended', c.organization_id,
            unfinished_max
            USING ERRCODE = 'configuration_limit_exceeded', HINT = 'Wait until one of them has ended, or cancel one.';
    END IF;
    PERFORM webhook_internal.announce_pending(c.id);
    RETURN job;
END
$$;
COMMENT ON FUNCTION webhook_internal.start_replay_operator(uuid, timestamptz, timestamptz, text[], boolean) IS
    'Adds a row to webhook_replays and wakes the worker. Returns its id. Errors: 22004, 22023, 42704 if there is no such webhook, 55000 '
    'if it is switched off, 53400 if 10 replays of its organization are not ended or it has as many rows as '
    'webhook.max_deliveries_per_organization permits.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.start_replay_operator(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_internal.start_replay_tenant(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.start_replay_operator(webhook, since, until, patterns, only_failed);
END
$$;
COMMENT ON FUNCTION webhook_internal.start_replay_tenant(uuid, timestamptz, timestamptz, text[], boolean) IS
    'start_replay_operator() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.start_replay_tenant(uuid, timestamptz, timestamptz, text[], boolean)');

-- Whoever sees the row may cancel it: the policies of webhook_replays and check_tenant() judge alike.
CREATE FUNCTION webhook_internal.cancel_replay_operator(job bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE @extschema@.webhook_replays r
    SET state = 'cancelled', reason = NULL, ended_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE r.id = job AND r.ended_at IS NULL;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_replay_operator(bigint) IS
    'Ends a replay, and returns whether it had not ended yet. Waits for a step that the worker is taking.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.cancel_replay_operator(bigint)');

CREATE FUNCTION webhook_internal.cancel_replay_tenant(job bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_replays r
                   WHERE r.id = job AND r.organization_id = (SELECT @extschema@.webhook_current_organization())) THEN
        RAISE EXCEPTION 'replay % does not exist, or belongs to another organization', job
            USING ERRCODE = 'undefined_object';
    END IF;
    RETURN webhook_internal.cancel_replay_operator(job);
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_replay_tenant(bigint) IS
    'cancel_replay_operator() for the session''s organization. Raises 42704 if it has no such replay.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.cancel_replay_tenant(bigint)');
