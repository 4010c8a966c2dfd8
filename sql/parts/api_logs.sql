-- webhook_api: the log.
--
-- webhook_logs is found by webhook and id, and by id. Across the webhooks of an organization the newest rows of each are
-- merged. Across all organizations a range of ids is read. Every search reads a bounded number of rows, and says how far
-- it looked. Without statistics the planner takes the BRIN index for useless, so functions that look for ids set
-- enable_seqscan to off. Compiling a plan (jit) takes longer than any of these functions, and so does planning: functions
-- that read webhook_logs are in PL/pgSQL with generic plans, which a session makes once.

CREATE FUNCTION webhook_internal.describe_log(log @extschema@.webhook_logs, webhook_name text) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'id', log.id::text, 'created_at', log.created_at, 'webhook', log.configuration_id, 'webhook_name', webhook_name,
        'event', log.event, 'event_id', CASE WHEN log.event_id >= 0 THEN log.event_id::text END,
        'is_test', log.event_id < 0, 'attempt', log.attempt, 'status', log.status,
        'response_status', log.response_status, 'error', log.error, 'duration_ms', log.duration_ms,
        'next_attempt_at', log.next_attempt_at)
$$;
COMMENT ON FUNCTION webhook_internal.describe_log(@extschema@.webhook_logs, text) IS
    'A log row as webhook_api shows it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_log(@extschema@.webhook_logs, text)');

-- By bisection. Rows are recorded in the order of id when their attempts have ended, so that created_at ascends but for
-- the time that a request takes.
CREATE FUNCTION webhook_internal.log_id_at(webhook uuid, at timestamptz) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    low bigint;
    high bigint;
    middle record;
BEGIN
    SELECT l.id, l.created_at INTO middle FROM @extschema@.webhook_logs l
    WHERE l.configuration_id = webhook ORDER BY l.id DESC LIMIT 1;
    IF NOT FOUND OR middle.created_at < at THEN
        RETURN NULL;
    END IF;
    high := middle.id;
    SELECT l.id INTO low FROM @extschema@.webhook_logs l WHERE l.configuration_id = webhook ORDER BY l.id LIMIT 1;
    WHILE low < high LOOP
        SELECT l.id, l.created_at INTO middle FROM @extschema@.webhook_logs l
        WHERE l.configuration_id = webhook AND l.id >= low + (high - low) / 2 ORDER BY l.id LIMIT 1;
        IF middle.created_at >= at THEN
            high := low + (high - low) / 2;
        ELSE
            low := middle.id + 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_id_at(uuid, timestamptz) IS
    'The id from which on the log rows of a webhook are of this time or later, but for the duration of a request; null if '
    'there are none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_id_at(uuid, timestamptz)');

-- The webhooks that a call with these arguments is about.
CREATE FUNCTION webhook_internal.webhooks_in_scope(webhook uuid, organization text, rows_max integer) RETURNS uuid[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
BEGIN
    IF webhook IS NOT NULL THEN
        PERFORM webhook_internal.require_webhook(webhook);
        RETURN ARRAY[webhook];
    END IF;
    IF scope IS NOT NULL THEN
        RETURN ARRAY(SELECT c.id FROM @extschema@.webhook_configurations c WHERE c.organization_id = scope
                     ORDER BY c.organization_id, c.name LIMIT rows_max);
    END IF;
    IF webhook_internal.caller_level() = 'operate' THEN
        RETURN ARRAY(SELECT c.id FROM @extschema@.webhook_configurations c
                     ORDER BY c.organization_id, c.name LIMIT rows_max);
    END IF;
    RETURN '{}';
END
$$;
COMMENT ON FUNCTION webhook_internal.webhooks_in_scope(uuid, text, integer) IS
    'The webhook, or the webhooks of the organization (of all, for operators who give none), at most rows_max. Raises '
    'PT404 if the caller does not see the webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.webhooks_in_scope(uuid, text, integer)');

-- Looking into all segments for the newest row of each webhook costs several times what looking into one does. Ids ascend
-- from segment to segment of a ring, but for transactions that were recording while a worker moved on: the end of a segment
-- and the beginning of the next one overlap, by less than slack ids. Rows are appended, so the first page of a segment tells
-- where it begins. It does not if all rows of that page are of transactions that have failed or are still open: null. Away
-- from an overlap one segment is enough. The second ring is small.
-- SECURITY DEFINER, because tenants cannot read webhook_rings, the sequence, and where the rows of others begin.
CREATE FUNCTION webhook_internal.log_slots(
    place bigint, is_ascending boolean, OUT slots smallint[], OUT bound bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    slack CONSTANT bigint := 100000;
    newest_id bigint := (SELECT q.last_value FROM @extschema@.webhook_logs_id_seq q);
    below bigint := CASE WHEN is_ascending THEN place ELSE least(place, newest_id + 1) - 1 END;
    used smallint[];   -- the segments with rows, the oldest first
    begins bigint[];   -- the id with which each of them begins
    here integer := 1; -- the last one that begins at below or before
    first integer;
    last integer;
BEGIN
    SELECT array_agg(u.slot ORDER BY u.age DESC), array_agg(u.first_id ORDER BY u.age DESC) INTO used, begins
    FROM (SELECT s.slot::smallint AS slot, (r.slot + 8 - s.slot) % 8 AS age,
                 (SELECT min(l.id) FROM @extschema@.webhook_logs l WHERE l.slot = s.slot AND l.ctid < '(1,0)') AS first_id
          FROM @extschema@.webhook_rings r, generate_series(0, 7) s (slot)
          WHERE r.ring = 'logs' AND pg_relation_size(('@extschema@.webhook_logs_' || s.slot)::regclass) > 0) u;
    FOR i IN 2 .. coalesce(cardinality(used), 0) LOOP
        here := CASE WHEN begins[i] <= below THEN i ELSE here END;
    END LOOP;
    first := here;
    last := here;
    IF begins[here] + slack <= below AND NOT is_ascending AND here > 1 THEN
        bound := begins[here] + slack;
    ELSIF begins[here] + slack > below OR begins[here] IS NULL THEN
        first := greatest(here - 1, 1);
        bound := CASE WHEN here > 2 AND NOT is_ascending THEN begins[here] END;
    END IF;
    IF is_ascending AND begins[here + 1] - slack - 1 > place THEN
        bound := begins[here + 1] - slack - 1;
    ELSIF is_ascending AND begins[here + 1] IS NULL THEN
        last := cardinality(used);
    ELSIF is_ascending THEN
        last := here + 1;
        bound := CASE WHEN last < cardinality(used) THEN begins[last] END;
    ELSIF here < cardinality(used) AND begins[here + 1] - slack > place IS NOT TRUE THEN
        last := here + 1;
    END IF;
    slots := coalesce(used[first : last], '{}')
             || ARRAY(SELECT s.slot::smallint FROM generate_series(8, 11) s (slot)
                      WHERE pg_relation_size(('@extschema@.webhook_logs_' || s.slot)::regclass) > 0);
END
$$;
COMMENT ON FUNCTION webhook_internal.log_slots(bigint, boolean) IS
    'The segments of webhook_logs that have the rows next to an id. Descending: all rows from bound on that are below place. '
    'Ascending: all rows up to bound that are above it. bound: null if there is no further segment.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_slots(bigint, boolean)');

-- How to spend a number of rows on some webhooks. Where a few webhooks have most of the rows, those with the newest rows
-- must be read far. Where all have as many, each must be read a little.
CREATE FUNCTION webhook_internal.log_quota(
    webhooks integer, rows integer, OUT heads_max integer, OUT rows_max integer, OUT rest_max integer)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    heads_max := greatest(1, least(webhooks, 30));
    rows_max := greatest(2, CASE WHEN webhooks <= 30 THEN rows ELSE rows * 3 / 8 END / heads_max);
    rest_max := CASE WHEN webhooks > 30 THEN greatest(2, rows * 5 / 8 / (webhooks - 30)) ELSE 0 END;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_quota(integer, integer) IS
    'The arguments of log_step() and log_after() to read about that many rows.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_quota(integer, integer)');

-- One step of a search from the newest row down: rows below the id before, complete down to the bound. A last row without
-- a log has the bound, and the time of the oldest row above it; there is none at the end of the log. rest_max 0: webhooks
-- whose newest row is older than those of heads_max others are not read, and end what is complete.
CREATE FUNCTION webhook_internal.log_step(
    webhooks uuid[], before bigint, heads_max integer, rows_max integer, rest_max integer)
    RETURNS TABLE (log @extschema@.webhook_logs, bound bigint, bound_at timestamptz, work bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    near record;
BEGIN
    SELECT s.slots, coalesce(s.bound, 0) AS low INTO near FROM webhook_internal.log_slots(before, false) s;
    RETURN QUERY
    WITH head AS MATERIALIZED (
        SELECT u.id AS webhook, n.id, row_number() OVER (ORDER BY n.id DESC) AS place
        FROM unnest(webhooks) u (id)
        CROSS JOIN LATERAL (
            SELECT max(h.id) AS id FROM unnest(near.slots) s (slot)
            CROSS JOIN LATERAL (
                SELECT l.id FROM @extschema@.webhook_logs l
                WHERE l.slot = s.slot AND l.configuration_id = u.id AND l.id >= near.low AND l.id < before
                ORDER BY l.id DESC LIMIT 1) h) n
        WHERE n.id IS NOT NULL
    ), lowest AS MATERIALIZED (
        SELECT coalesce((SELECT h.id + 1 FROM head h WHERE h.place = heads_max + 1 AND rest_max = 0), near.low) AS id
    ), read AS MATERIALIZED (
        SELECT h.webhook, q.rows, r.entry FROM lowest f, head h
        CROSS JOIN LATERAL (SELECT CASE WHEN h.place <= heads_max THEN rows_max ELSE rest_max END AS rows) q
        CROSS JOIN LATERAL (
            SELECT e.entry FROM unnest(near.slots) s (slot)
            CROSS JOIN LATERAL (
                SELECT l.id, l AS entry FROM @extschema@.webhook_logs l
                WHERE l.slot = s.slot AND l.configuration_id = h.webhook AND l.id >= f.id AND l.id < before
                ORDER BY l.id DESC LIMIT q.rows) e
            ORDER BY e.id DESC LIMIT q.rows) r
        WHERE q.rows > 0
    ), complete AS MATERIALIZED (
        SELECT greatest(f.id, (SELECT max(m.id) FROM (SELECT min((r.entry).id) AS id FROM read r
                                                      GROUP BY r.webhook, r.rows HAVING count(*) = r.rows) m)) AS id
        FROM lowest f
    )
    (SELECT r.entry, NULL::bigint, NULL::timestamptz, NULL::bigint FROM read r, complete c
     WHERE (r.entry).id >= c.id ORDER BY (r.entry).id DESC)
    UNION ALL
    SELECT NULL, c.id, (SELECT min((r.entry).created_at) FROM read r WHERE (r.entry).id >= c.id),
           cardinality(webhooks) * cardinality(near.slots) + (SELECT count(*) FROM read)
    FROM complete c WHERE c.id > 0;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_step(uuid[], bigint, integer, integer, integer) IS
    'The newest log rows of some webhooks with ids below before, newest first, and last a row with the id down to which '
    'they are complete, if there may be older rows. Of the heads_max webhooks with the newest rows at most rows_max are '
    'read, of each other one rest_max. work: how many index searches and rows it took.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_step(uuid[], bigint, integer, integer, integer)');

-- The other way round, for following.
CREATE FUNCTION webhook_internal.log_after(
    webhooks uuid[], after bigint, heads_max integer, rows_max integer, rest_max integer)
    RETURNS TABLE (log @extschema@.webhook_logs, bound bigint, bound_at timestamptz, work bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    last_id CONSTANT bigint := 9223372036854775807;
    near record;
BEGIN
    SELECT s.slots, coalesce(s.bound, last_id) AS high INTO near FROM webhook_internal.log_slots(after, true) s;
    RETURN QUERY
    WITH head AS MATERIALIZED (
        SELECT u.id AS webhook, n.id, row_number() OVER (ORDER BY n.id) AS place
        FROM unnest(webhooks) u (id)
        CROSS JOIN LATERAL (
            SELECT min(h.id) AS id FROM unnest(near.slots) s (slot)
            CROSS JOIN LATERAL (
                SELECT l.id FROM @extschema@.webhook_logs l
                WHERE l.slot = s.slot AND l.configuration_id = u.id AND l.id > after AND l.id <= near.high
                ORDER BY l.id LIMIT 1) h) n
        WHERE n.id IS NOT NULL
    ), highest AS MATERIALIZED (
        SELECT coalesce((SELECT h.id - 1 FROM head h WHERE h.place = heads_max + 1 AND rest_max = 0), near.high) AS id
    ), read AS MATERIALIZED (
        SELECT h.webhook, q.rows, r.entry FROM highest f, head h
        CROSS JOIN LATERAL (SELECT CASE WHEN h.place <= heads_max THEN rows_max ELSE rest_max END AS rows) q
        CROSS JOIN LATERAL (
            SELECT e.entry FROM unnest(near.slots) s (slot)
            CROSS JOIN LATERAL (
                SELECT l.id, l AS entry FROM @extschema@.webhook_logs l
                WHERE l.slot = s.slot AND l.configuration_id = h.webhook AND l.id > after AND l.id <= f.id
                ORDER BY l.id LIMIT q.rows) e
            ORDER BY e.id LIMIT q.rows) r
        WHERE q.rows > 0
    ), complete AS MATERIALIZED (
        SELECT least(f.id, (SELECT min(m.id) FROM (SELECT max((r.entry).id) AS id FROM read r
                                                   GROUP BY r.webhook, r.rows HAVING count(*) = r.rows) m)) AS id
        FROM highest f
    )
    (SELECT r.entry, NULL::bigint, NULL::timestamptz, NULL::bigint FROM read r, complete c
     WHERE (r.entry).id <= c.id ORDER BY (r.entry).id)
    UNION ALL
    -- Where nothing ends what is complete, later rows can have any id above the last one.
    SELECT NULL, b.id, NULL, cardinality(webhooks) * cardinality(near.slots) + (SELECT count(*) FROM read)
    FROM (SELECT CASE WHEN c.id < last_id THEN c.id ELSE (SELECT max((r.entry).id) FROM read r) END AS id
          FROM complete c) b
    WHERE b.id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_after(uuid[], bigint, integer, integer, integer) IS
    'The oldest log rows of some webhooks that are newer than a log id, the oldest first, and last a row with the id up to '
    'which they are complete; nothing if there are none. The other arguments are as in log_step().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_after(uuid[], bigint, integer, integer, integer)');

-- SECURITY DEFINER, because no role may read the sequence.
CREATE FUNCTION webhook_internal.newest_log_id() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT last_value FROM @extschema@.webhook_logs_id_seq
$$;
COMMENT ON FUNCTION webhook_internal.newest_log_id() IS
    'The last id drawn for a log row. For operators, who read the log of all organizations from there down.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.newest_log_id()');

-- The same for the log of all organizations: by a range of ids, which the BRIN index finds. Of the newest ids some may be
-- of transactions that are not committed yet. So who follows does not pass an id without a row before many later ones were
-- drawn.
CREATE FUNCTION webhook_internal.log_range(place bigint, ids_max bigint, is_ascending boolean, newest_id bigint)
    RETURNS TABLE (log @extschema@.webhook_logs, bound bigint, bound_at timestamptz, work bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    slack CONSTANT bigint := 100000;
    low bigint := CASE WHEN is_ascending THEN place + 1 ELSE place - ids_max END;
    high bigint := CASE WHEN is_ascending THEN place + ids_max ELSE place - 1 END;
BEGIN
    RETURN QUERY
    WITH read AS MATERIALIZED (
        SELECT l AS entry FROM @extschema@.webhook_logs l WHERE l.id >= low AND l.id <= high
    )
    (SELECT r.entry, NULL::bigint, NULL::timestamptz, NULL::bigint FROM read r
     ORDER BY (r.entry).id * CASE WHEN is_ascending THEN 1 ELSE -1 END)
    UNION ALL
    SELECT NULL, b.id, (SELECT min((r.entry).created_at) FROM read r), (SELECT count(*) FROM read)
    FROM (SELECT CASE WHEN NOT is_ascending THEN nullif(greatest(low, 1), 1)
                      WHEN high + slack < newest_id THEN high
                      ELSE (SELECT max((r.entry).id) FROM read r) END AS id) b
    WHERE b.id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_range(bigint, bigint, boolean, bigint) IS
    'log_step() and log_after() for all webhooks, deleted ones too: the log rows with the ids_max ids next to place. '
    'newest_id: the last id drawn.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_range(bigint, bigint, boolean, bigint)');

CREATE FUNCTION webhook_internal.check_log_arguments(
    status text, event text, since timestamptz, until timestamptz, before bigint, after bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF status NOT IN ('success', 'failed', 'test') THEN
        PERFORM webhook_internal.raise_argument('status', 'invalid_parameter_value',
            'invalid status "' || left(status, 100) || '"', 'The status is success, failed or test.');
    END IF;
    IF event IS NOT NULL THEN
        PERFORM webhook_internal.check_patterns('event', ARRAY[event]);
    END IF;
    IF since > until THEN
        PERFORM webhook_internal.raise_argument('since', 'invalid_parameter_value', 'since is later than until');
    END IF;
    IF before IS NOT NULL AND after IS NOT NULL THEN
        PERFORM webhook_internal.raise_argument('after', 'invalid_parameter_value',
                                                'before and after cannot be given together');
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_log_arguments(text, text, timestamptz, timestamptz, bigint, bigint) IS
    'Raises an error (22023) unless these can be arguments of webhook_api.logs().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_log_arguments(text, text, timestamptz, timestamptz, bigint, bigint)');

-- Where a search begins: at before, or where the rows of until end. A row with a higher id was recorded after a request that
-- began later.
CREATE FUNCTION webhook_internal.log_start(webhooks uuid[], before bigint, until timestamptz) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT least(coalesce(before, 9223372036854775807), min(b.id))
    FROM (SELECT webhook_internal.log_id_at(u.id, least(until, '10000-01-01Z') + interval '5 min') AS id
          FROM unnest(webhooks[: 5]) u (id) WHERE until IS NOT NULL) b
$$;
COMMENT ON FUNCTION webhook_internal.log_start(uuid[], bigint, timestamptz) IS
    'The id below which the log rows of some webhooks before a time are, as far as five of them tell.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_start(uuid[], bigint, timestamptz)');

-- Steps down from place, or up from it, until rows_max rows are found, the log ends, or as much was read as one call may.
-- Without a filter the first rows that are read are those that are wanted. With one, as many are read as allowed.
CREATE FUNCTION webhook_internal.search_logs(
    webhooks uuid[], newest_id bigint, status text, event text, key text, event_id bigint, since timestamptz,
    until timestamptz, place bigint, is_ascending boolean, rows_max integer,
    OUT matching @extschema@.webhook_logs[], OUT searched_to_id bigint, OUT searched_to timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    is_filtered CONSTANT boolean := num_nonnulls(status, event, key, event_id, since, until) > 0;
    -- The key is the event's, which may be gone; then the row does not match. To find it costs as much as several rows.
    work_max CONSTANT integer := CASE WHEN key IS NULL THEN 8000 ELSE 1000 END;
    quota record;
    ids_max bigint := CASE WHEN is_filtered THEN work_max ELSE 1000 END;
    worked bigint := 0;
    step record;
BEGIN
    IF is_filtered THEN
        quota := webhook_internal.log_quota(cardinality(webhooks), work_max);
    ELSE
        SELECT rows_max AS heads_max, rows_max, 0 AS rest_max INTO quota;
    END IF;
    matching := '{}';
    FOR i IN 1 .. 10 LOOP
        searched_to_id := NULL;
        FOR step IN
            SELECT s.log, s.bound, s.bound_at, s.work
            FROM (SELECT b.* FROM webhook_internal.log_step(webhooks, place, quota.heads_max, quota.rows_max, quota.rest_max) b
                  WHERE webhooks IS NOT NULL AND NOT is_ascending
                  UNION ALL
                  SELECT a.* FROM webhook_internal.log_after(webhooks, place, quota.heads_max, quota.rows_max, quota.rest_max) a
                  WHERE webhooks IS NOT NULL AND is_ascending
                  UNION ALL
                  SELECT r.* FROM webhook_internal.log_range(place, ids_max, is_ascending, newest_id) r
                  WHERE webhooks IS NULL) s
            WHERE s.bound IS NOT NULL
               OR (CASE search_logs.status WHEN 'test' THEN (s.log).event_id < 0
                                           WHEN 'success' THEN (s.log).event_id >= 0 AND (s.log).status = 'success'
                                           WHEN 'failed' THEN (s.log).event_id >= 0 AND (s.log).status = 'failed'
                                           ELSE true END
                   AND (search_logs.event_id IS NULL OR (s.log).event_id = search_logs.event_id)
                   AND (since IS NULL OR (s.log).created_at >= since)
                   AND (until IS NULL OR (s.log).created_at < until)
                   AND (search_logs.event IS NULL OR @extschema@.webhook_event_matches(search_logs.event, (s.log).event))
                   AND CASE WHEN search_logs.key IS NULL THEN true
                            ELSE (SELECT e.key = search_logs.key FROM @extschema@.webhook_own_events e
                                  WHERE e.id = (s.log).event_id LIMIT 1) END)
        LOOP
            IF step.bound IS NULL THEN
                matching := matching || step.log;
                EXIT WHEN cardinality(matching) >= rows_max;
            ELSE
                searched_to_id := step.bound;
                searched_to := coalesce(step.bound_at, searched_to);
                worked := worked + step.work;
            END IF;
        END LOOP;
        EXIT WHEN cardinality(matching) >= rows_max OR worked >= work_max
               OR searched_to_id IS NULL AND (NOT is_ascending OR webhooks IS NOT NULL OR place + ids_max >= newest_id)
               OR is_ascending AND matching <> '{}' OR NOT is_ascending AND searched_to + interval '5 min' < since;
        -- A range without rows that may yet get some is not passed, but looked beyond.
        place := coalesce(searched_to_id, place);
        ids_max := least(ids_max * 2, CASE WHEN is_ascending THEN 200000 ELSE 50000 END);
    END LOOP;
    IF is_ascending THEN
        searched_to_id := coalesce(searched_to_id, place);
    ELSIF searched_to + interval '5 min' < since THEN
        searched_to_id := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.search_logs(
    uuid[], bigint, text, text, text, bigint, timestamptz, timestamptz, bigint, boolean, integer) IS
    'What webhook_api.logs() finds next to an id, at most rows_max rows; the id to which it looked, null at the end of the '
    'log; and the time of the oldest row that was read. webhooks: null for all.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.search_logs(uuid[], bigint, text, text, text, bigint, timestamptz, timestamptz, '
    'bigint, boolean, integer)');

CREATE FUNCTION webhook_api.logs(
    webhook uuid DEFAULT NULL, organization text DEFAULT NULL, status text DEFAULT NULL, event text DEFAULT NULL,
    key text DEFAULT NULL, event_id bigint DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    before bigint DEFAULT NULL, after bigint DEFAULT NULL, page_size integer DEFAULT 50) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    webhooks uuid[] := webhook_internal.webhooks_in_scope(webhook, organization, 10000);
    newest_id bigint;
    place bigint;
    result record;
    next bigint;
    searched_to timestamptz;
BEGIN
    PERFORM webhook_internal.check_page_size(page_size, 200);
    PERFORM webhook_internal.check_log_arguments(status, event, since, until, before, after);
    -- Ids begin at 1. The bounds leave room to compute with them.
    before := CASE WHEN before < 1 THEN 1 ELSE before END;
    after := CASE WHEN after < 0 THEN 0 WHEN after > 9000000000000000000 THEN 9000000000000000000 ELSE after END;
    place := CASE WHEN after IS NULL THEN webhook_internal.log_start(webhooks, before, until) ELSE after END;
    IF webhook IS NULL AND webhook_internal.caller_level() = 'operate'
       AND webhook_internal.caller_scope(organization) IS NULL THEN
        webhooks := NULL;  -- all, also what deleted ones have left
        newest_id := webhook_internal.newest_log_id();
        place := CASE WHEN after IS NULL THEN least(place, newest_id + 1) ELSE place END;
    END IF;
    result := webhook_internal.search_logs(webhooks, newest_id, status, event, key, event_id, since, until, place,
                                           after IS NOT NULL, page_size + 1);
    IF cardinality(result.matching) > page_size THEN
        next := result.matching[page_size].id;
    ELSE
        next := result.searched_to_id;
        searched_to := CASE WHEN after IS NULL AND next IS NOT NULL THEN coalesce(result.searched_to, until, now()) END;
    END IF;
    RETURN json_build_object(
        'now', now(),
        'logs', (SELECT coalesce(json_agg(webhook_internal.describe_log(l.log, c.name) ORDER BY l.place), '[]')
                 FROM (SELECT result.matching[i] AS log, i AS place
                       FROM generate_series(1, least(cardinality(result.matching), page_size)) i) l
                 LEFT JOIN @extschema@.webhook_configurations c
                        ON c.id = (l.log).configuration_id
                           AND c.organization_id IS NOT DISTINCT FROM (l.log).organization_id),
        'next', next::text, 'searched_to', searched_to);
END
$$;
COMMENT ON FUNCTION webhook_api.logs(
    uuid, text, text, text, text, bigint, timestamptz, timestamptz, bigint, bigint, integer) IS
    'Attempts, the newest first: {"now", "logs", "next", "searched_to"}. status: success, failed, test. event: a name or '
    'a pattern. before: continues with older rows. after: rows newer than a log id, the oldest first. A call reads a '
    'bounded number of rows: searched_to is the time to which it looked if there may be more. Errors: 22003 and 22023 '
    'with {"field": ...}, PT404.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.logs(uuid, text, text, text, text, bigint, timestamptz, timestamptz, bigint, bigint, '
    'integer)');
