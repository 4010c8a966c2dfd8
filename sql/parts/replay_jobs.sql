-- Starts and cancels replays that a worker carries out: webhook_api.replay() and webhook_api.cancel_replay().

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
