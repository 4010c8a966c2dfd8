-- A node is lost, or leaves. The home delivers what it has not: its pending deliveries, as it had reported them, and the
-- events since the last mark that it had settled.

CREATE TABLE webhook_internal.takeovers (
    node         text PRIMARY KEY,
    since        integer NOT NULL,
    queued       pg_snapshot NOT NULL DEFAULT pg_catalog.pg_current_snapshot(),
    settled      pg_snapshot NOT NULL,
    lowest_id    bigint NOT NULL,
    log_floor    bigint NOT NULL,
    known_by     xid8[] NOT NULL DEFAULT '{}',
    read_to      pg_snapshot[],
    position     bigint,
    last_id      bigint,
    is_collected boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE webhook_internal.takeovers IS
    'The nodes that are gone, and how far this home has found out what they have not delivered. Not dumped.';
COMMENT ON COLUMN webhook_internal.takeovers.node IS 'The node, as webhook_node_shares.nodes names it now.';
COMMENT ON COLUMN webhook_internal.takeovers.since IS
    'The last division then (webhook_node_shares.since), without the node.';
COMMENT ON COLUMN webhook_internal.takeovers.queued IS
    'Events that fell to the node and that this sees are looked for here. Workers deliver later ones as they read them.';
COMMENT ON COLUMN webhook_internal.takeovers.settled IS 'Events that this sees, the node had settled: node_marks.snapshot.';
COMMENT ON COLUMN webhook_internal.takeovers.lowest_id IS 'As in node_marks.';
COMMENT ON COLUMN webhook_internal.takeovers.log_floor IS 'As in node_marks.';
COMMENT ON COLUMN webhook_internal.takeovers.known_by IS
    'By the number of the worker: the transaction in which it said that it knows of the takeover.';
COMMENT ON COLUMN webhook_internal.takeovers.read_to IS
    'Of each worker: what it has settled, knowing or not knowing of the takeover. Null: one may not know of it yet.';
COMMENT ON COLUMN webhook_internal.takeovers.position IS 'Events up to this one have been looked at.';
COMMENT ON COLUMN webhook_internal.takeovers.last_id IS 'The last event to be looked at.';
COMMENT ON COLUMN webhook_internal.takeovers.is_collected IS 'Whether all have been.';

CREATE TABLE webhook_internal.emptied_events (
    last_id bigint NOT NULL
);
CREATE UNIQUE INDEX emptied_events_singleton_idx ON webhook_internal.emptied_events ((true));
COMMENT ON INDEX webhook_internal.emptied_events_singleton_idx IS 'Allows one row only.';
COMMENT ON TABLE webhook_internal.emptied_events IS
    'What has been in segments of webhook_events that were emptied. One row, or none before the first one was. Not dumped.';
COMMENT ON COLUMN webhook_internal.emptied_events.last_id IS 'The highest id of an event.';
ALTER TABLE webhook_internal.emptied_events REPLICA IDENTITY FULL;

CREATE FUNCTION webhook_internal.note_emptied(segment integer) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO webhook_internal.emptied_events AS n
    SELECT m.id FROM (SELECT max(e.id) AS id FROM @extschema@.webhook_events e WHERE e.slot = segment) m WHERE m.id IS NOT NULL
    ON CONFLICT ((true)) DO UPDATE SET last_id = greatest(n.last_id, excluded.last_id)
$$;
COMMENT ON FUNCTION webhook_internal.note_emptied(integer) IS 'Called before a segment is emptied.';

CREATE TABLE webhook_internal.to_take_over (
    configuration_id uuid NOT NULL,
    event_id         bigint NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    log_floor        bigint NOT NULL,
    PRIMARY KEY (configuration_id, event_id)
);
COMMENT ON TABLE webhook_internal.to_take_over IS
    'What this home has yet to make pending, because a node that is gone may not have delivered it. The worker of the '
    'webhook does so, in steps, as it carries out replays. Not dumped.';
COMMENT ON COLUMN webhook_internal.to_take_over.configuration_id IS 'The webhook.';
COMMENT ON COLUMN webhook_internal.to_take_over.event_id IS 'The event.';
COMMENT ON COLUMN webhook_internal.to_take_over.configuration_created_at IS
    'The webhook''s created_at: what was left to it is not for a later one with the same id.';
COMMENT ON COLUMN webhook_internal.to_take_over.log_floor IS
    'If webhook_logs has a success with a higher id, the node had delivered it.';

DO $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY['webhook_internal.takeovers', 'webhook_internal.emptied_events',
                                    'webhook_internal.to_take_over']::regclass[] LOOP
        EXECUTE format(
            'CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s '
            'FOR EACH ROW EXECUTE FUNCTION webhook_internal.keep_local()', relation);
        EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_keep_local', relation);
    END LOOP;
END
$$;

-- Workers learn of it by the change of webhook_node_shares. Whatever they read before they do is looked for here, too.
CREATE FUNCTION webhook_internal.retire_node(name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mark webhook_internal.node_marks;
    last integer := (SELECT max(s.since) FROM @extschema@.webhook_node_shares s);
BEGIN
    UPDATE @extschema@.webhook_node_shares s SET nodes = array_replace(s.nodes, name, name || '-' || last)
    WHERE name = ANY (s.nodes);
    IF NOT FOUND THEN
        RETURN;  -- it has never had a share
    END IF;
    SELECT m.* INTO mark FROM webhook_internal.nodes n JOIN webhook_internal.node_marks m ON m.id <= n.settled
    WHERE n.name = retire_node.name ORDER BY m.id DESC LIMIT 1;
    IF (SELECT e.last_id FROM webhook_internal.emptied_events e) >= mark.lowest_id THEN
        RAISE WARNING 'events that node "%" had not settled are not stored here any more', name
            USING DETAIL = format('It was last known to have settled all before %s. Since then a segment of events was emptied.',
                                  mark.made_at),
                  HINT = 'What it had not delivered of them is lost. Raise webhook.event_retention for the next time.';
    END IF;
    INSERT INTO webhook_internal.takeovers (node, since, settled, lowest_id, log_floor)
    VALUES (name || '-' || last, last, coalesce(mark.snapshot, '1:1:'), coalesce(mark.lowest_id, 0), coalesce(mark.log_floor, 0));
END
$$;
COMMENT ON FUNCTION webhook_internal.retire_node(text) IS
    'Has this home deliver what falls to a node and is not settled there. Warns if events are not stored any more. The '
    'name is free then.';

-- As NodeShares::owns() in src/core/node_shares.h decides. A session that could not find out which division it knew knew one of
-- the last.
CREATE FUNCTION webhook_internal.divisions_of(known_switch integer, last integer) RETURNS TABLE (nodes text[])
    LANGUAGE sql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.nodes FROM @extschema@.webhook_node_shares s WHERE s.since <= least(known_switch, last) ORDER BY s.since DESC
    LIMIT CASE known_switch WHEN 2147483647 THEN 3 ELSE 1 END
$$;
COMMENT ON FUNCTION webhook_internal.divisions_of(integer, integer) IS
    'The divisions that an event with this known_switch may belong to, among those up to the one called last.';

-- Windows that a worker reads after the transaction in which it said so are read with that knowledge. An earlier snapshot may see
-- the takeover, too, but not the worker.
CREATE FUNCTION webhook_internal.knows_takeover(takeover webhook_internal.takeovers, worker integer) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT bool_and(coalesce(pg_visible_in_snapshot(takeover.known_by[c.worker], c.snapshot_from), false))
    FROM @extschema@.webhook_checkpoint c WHERE knows_takeover.worker IS NULL OR c.worker = knows_takeover.worker
$$;
COMMENT ON FUNCTION webhook_internal.knows_takeover(webhook_internal.takeovers, integer) IS
    'Whether what the worker has not settled by its checkpoint was read knowing of the takeover, or what any worker has '
    'not (null). Null: there is no checkpoint.';

CREATE FUNCTION webhook_internal.begin_collecting(takeover webhook_internal.takeovers) RETURNS webhook_internal.takeovers
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    takeover.read_to := ARRAY(SELECT c.snapshot_from FROM @extschema@.webhook_checkpoint c);
    IF webhook_internal.knows_takeover(takeover, NULL) IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    takeover.position := least(takeover.lowest_id, (SELECT min(b.id) FROM @extschema@.webhook_events b
        WHERE b.id_count IS NOT NULL AND b.xid >= pg_snapshot_xmin(takeover.settled))) - 1;
    takeover.last_id := (SELECT max(e.id) FROM @extschema@.webhook_events e);
    RETURN takeover;
END
$$;
COMMENT ON FUNCTION webhook_internal.begin_collecting(webhook_internal.takeovers) IS
    'The row with the events to be looked at, once all workers know of the takeover; before that null.';

CREATE FUNCTION webhook_internal.collect_takeover(events_max bigint) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    takeover webhook_internal.takeovers;
    step_to bigint;
BEGIN
    SELECT t.* INTO takeover FROM webhook_internal.takeovers t WHERE NOT t.is_collected ORDER BY t.since, t.node LIMIT 1;
    IF FOUND AND takeover.read_to IS NULL THEN
        takeover := webhook_internal.begin_collecting(takeover);
    END IF;
    IF takeover.node IS NULL THEN
        RETURN false;
    END IF;
    -- However many webhooks the organizations of these events have, a step notes some 10,000 deliveries.
    WITH next AS MATERIALIZED (
        SELECT e.id, e.organization_id FROM @extschema@.webhook_events e
        WHERE e.id > takeover.position AND e.id <= takeover.last_id ORDER BY e.id LIMIT events_max
    ), size AS MATERIALIZED (
        SELECT o.key, count(c.id) AS webhooks
        FROM (SELECT DISTINCT coalesce(n.organization_id, '') AS key FROM next n) o
        LEFT JOIN @extschema@.webhook_configurations c ON coalesce(c.organization_id, '') = o.key
        GROUP BY o.key
    )
    SELECT max(s.id) INTO step_to
    FROM (SELECT n.id, sum(z.webhooks) OVER (ORDER BY n.id) AS noted, row_number() OVER (ORDER BY n.id) AS place
          FROM next n JOIN size z ON z.key = coalesce(n.organization_id, '')) s
    WHERE s.place = 1 OR s.noted <= 10000;
    -- What one worker has settled, another may not have read. Then it delivers it, and the log or webhook_deliveries says so.
    WITH step AS MATERIALIZED (
        SELECT e.id, e.organization_id, e.event, e.known_switch FROM @extschema@.webhook_events e
        WHERE e.id > takeover.position AND e.id <= step_to AND e.data IS NOT NULL
          AND NOT pg_visible_in_snapshot(e.xid, takeover.settled)
          AND (SELECT bool_or(pg_visible_in_snapshot(e.xid, r)) FROM unnest(takeover.read_to) r)
    ), subscribed AS MATERIALIZED (
        SELECT c.id, c.created_at, c.organization_id, c.is_active, c.switches, n.event
        FROM (SELECT DISTINCT s.organization_id, s.event FROM step s) n
        JOIN @extschema@.webhook_configurations c ON coalesce(c.organization_id, '') = coalesce(n.organization_id, '')
        WHERE c.organization_id IS NOT DISTINCT FROM n.organization_id AND EXISTS (SELECT FROM unnest(c.events) p WHERE @extschema@.webhook_event_matches(p, n.event))
    )
    INSERT INTO webhook_internal.to_take_over
    SELECT u.id, s.id, u.created_at, takeover.log_floor
    FROM step s
    CROSS JOIN LATERAL webhook_internal.divisions_of(s.known_switch, takeover.since) d
    JOIN subscribed u ON u.event = s.event AND u.organization_id IS NOT DISTINCT FROM s.organization_id
    WHERE d.nodes[webhook_internal.node_number(u.id, cardinality(d.nodes))] = takeover.node
      AND webhook_internal.was_active(u.is_active, u.switches, s.known_switch)
    ON CONFLICT DO NOTHING;
    UPDATE webhook_internal.takeovers t
    SET read_to = takeover.read_to, position = coalesce(step_to, takeover.position), last_id = takeover.last_id,
        is_collected = step_to IS NULL
    WHERE t.node = takeover.node;
    RETURN true;
END
$$;
COMMENT ON FUNCTION webhook_internal.collect_takeover(bigint) IS
    'Looks at the next events for what a node that is gone has left, at most events_max, and notes it in to_take_over. '
    'Returns whether there may be more to do now.';

-- --- What workers take over ---------------------------------------------------------------------------------------------

-- One index lookup for each webhook.
CREATE FUNCTION webhook_internal.webhooks_to_take_over(after uuid, webhooks_max integer)
    RETURNS TABLE (configuration_id uuid, organization_id text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone text[] := ARRAY(SELECT n.name FROM webhook_internal.nodes n WHERE n.state <> 'attached');
BEGIN
    configuration_id := coalesce(after, '00000000-0000-0000-0000-000000000000');
    IF after IS NULL
       AND (EXISTS (SELECT FROM webhook_internal.to_take_over t
                    WHERE t.configuration_id = webhooks_to_take_over.configuration_id)
            OR EXISTS (SELECT FROM webhook_internal.node_deliveries d
                       WHERE d.node = ANY (gone) AND d.configuration_id = webhooks_to_take_over.configuration_id)) THEN
        RETURN NEXT;
    END IF;
    FOR step IN 1 .. webhooks_max LOOP
        configuration_id := least(
            (SELECT t.configuration_id FROM webhook_internal.to_take_over t
             WHERE t.configuration_id > webhooks_to_take_over.configuration_id ORDER BY t.configuration_id LIMIT 1),
            (SELECT f.first FROM unnest(gone) g (name)
             CROSS JOIN LATERAL (SELECT d.configuration_id AS first FROM webhook_internal.node_deliveries d
                                 WHERE d.node = g.name AND d.configuration_id > webhooks_to_take_over.configuration_id
                                 ORDER BY d.configuration_id LIMIT 1) f
             ORDER BY f.first LIMIT 1));
        EXIT WHEN configuration_id IS NULL;
        organization_id := (SELECT c.organization_id FROM @extschema@.webhook_configurations c
                            WHERE c.id = webhooks_to_take_over.configuration_id);
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.webhooks_to_take_over(uuid, integer) IS
    'The next webhooks for which this home has something to take over, by id. Null: the first ones.';

-- What is not stored here any more is given up, and counted.
CREATE FUNCTION webhook_internal.note_given_up(webhook uuid, organization text, events bigint[], reason text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO webhook_internal.given_up AS g
        (configuration_id, minute, organization_id, deliveries, first_event_id, last_event_id, reason)
    SELECT webhook, date_trunc('minute', clock_timestamp()), organization, count(*), min(u.id), max(u.id), note_given_up.reason
    FROM unnest(events) u (id) HAVING count(*) > 0
    ON CONFLICT (configuration_id, minute) DO UPDATE
        SET deliveries = g.deliveries + excluded.deliveries, first_event_id = least(g.first_event_id, excluded.first_event_id),
            last_event_id = greatest(g.last_event_id, excluded.last_event_id), reason = excluded.reason
$$;
COMMENT ON FUNCTION webhook_internal.note_given_up(uuid, text, bigint[], text) IS
    'Counts deliveries of a webhook in given_up.';

-- Attempts, schedule and order stay as they were at the node. Needs lock_deliveries().
CREATE FUNCTION webhook_internal.inherit(held @extschema@.webhook_configurations, rows_max bigint) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken webhook_internal.node_deliveries[];
    missing bigint[];
BEGIN
    WITH first AS (
        SELECT d.node, d.event_id FROM webhook_internal.nodes n
        JOIN webhook_internal.node_deliveries d ON d.node = n.name AND d.configuration_id = held.id
        WHERE n.state <> 'attached' ORDER BY d.event_id LIMIT rows_max
    ), removed AS (
        DELETE FROM webhook_internal.node_deliveries d USING first f
        WHERE d.node = f.node AND d.configuration_id = held.id AND d.event_id = f.event_id
        RETURNING d
    )
    SELECT array_agg(r.d) INTO taken FROM removed r;
    IF taken IS NULL THEN
        RETURN 0;
    END IF;
    missing := ARRAY(SELECT t.event_id FROM unnest(taken) t
                     WHERE t.configuration_created_at = held.created_at AND t.state = 'pending' AND t.slot IS NULL
                       AND NOT EXISTS (SELECT FROM webhook_internal.saved_events s WHERE s.event_id = t.event_id));
    INSERT INTO @extschema@.webhook_deliveries
        (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, attempts, probes,
         pending_since, next_attempt_at, last_error, ordering_key, request, slot, updated_at)
    SELECT t.event_id, held.id, held.created_at, held.organization_id, t.event, t.key, t.created_at, t.state, t.attempts, t.probes,
           t.pending_since, t.next_attempt_at, t.last_error, t.ordering_key, pg_current_xact_id()::text::bigint, t.slot,
           t.updated_at
    FROM unnest(taken) t
    WHERE t.configuration_created_at = held.created_at AND t.organization_id IS NOT DISTINCT FROM held.organization_id
      AND t.event_id <> ALL (missing)
    ON CONFLICT DO NOTHING;
    PERFORM webhook_internal.note_given_up(held.id, held.organization_id, missing,
                                           'a node that is gone had it pending, and the event is not stored here');
    PERFORM webhook_internal.announce_pending(held.id);
    RETURN cardinality(taken);
END
$$;
COMMENT ON FUNCTION webhook_internal.inherit(@extschema@.webhook_configurations, bigint) IS
    'Makes deliveries of a webhook this home''s own that were pending or dead at a node that is gone, and returns how '
    'many.';

CREATE FUNCTION webhook_internal.advance_takeover(webhook uuid, event bigint) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH seen AS (
        DELETE FROM webhook_internal.to_take_over t WHERE t.configuration_id = webhook AND t.event_id <= event RETURNING t.event_id
    )
    SELECT webhook_internal.note_given_up(c.id, c.organization_id, ARRAY(
        SELECT s.event_id FROM seen s WHERE NOT EXISTS (SELECT FROM @extschema@.webhook_events e WHERE e.id = s.event_id)
    ), 'a node that is gone may not have delivered it, and the event is not stored here')
    FROM @extschema@.webhook_configurations c WHERE c.id = webhook
$$;
COMMENT ON FUNCTION webhook_internal.advance_takeover(uuid, bigint) IS
    'Forgets what has been taken over for a webhook, up to an event, and counts in given_up what could not be.';

CREATE FUNCTION webhook_internal.drop_takeover(webhook uuid) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM webhook_internal.to_take_over t WHERE t.configuration_id = webhook;
    DELETE FROM webhook_internal.node_deliveries d USING webhook_internal.nodes n
    WHERE n.state <> 'attached' AND d.node = n.name AND d.configuration_id = webhook
$$;
COMMENT ON FUNCTION webhook_internal.drop_takeover(uuid) IS 'Forgets what was to be taken over for a webhook.';

-- --- The worker's step ---------------------------------------------------------------------------------------------------

CREATE FUNCTION webhook_internal.is_checkpoint_wanted(worker integer) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM @extschema@.webhook_checkpoint c
                   WHERE c.worker = is_checkpoint_wanted.worker
                     AND (EXISTS (SELECT FROM webhook_internal.node_marks m
                                  WHERE m.applied_by IS NOT NULL AND NOT pg_visible_in_snapshot(m.applied_by, c.snapshot_from))
                          OR EXISTS (SELECT FROM webhook_internal.takeovers t
                                     WHERE NOT t.is_collected AND NOT webhook_internal.knows_takeover(t, c.worker))))
$$;
COMMENT ON FUNCTION webhook_internal.is_checkpoint_wanted(integer) IS
    'Whether a later checkpoint of this worker is of use to others, though it delivers nothing: the home waits to hear '
    'how far a node is, or a takeover for all workers to know of it.';

CREATE FUNCTION webhook_internal.ask_after_failover() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    timeline integer := webhook_internal.timeline();
BEGIN
    -- Not before the subscription is there: what is reported earlier does not arrive.
    UPDATE webhook_internal.nodes n SET asked_on = timeline
    WHERE n.state = 'attached' AND n.asked_on <> timeline AND webhook_internal.is_heard(n.name);
    IF FOUND THEN
        PERFORM webhook_internal.command_nodes('report', NULL, NULL, NULL);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.ask_after_failover() IS
    'Has nodes report all deliveries if they have not been asked to since this server became a primary, or since they '
    'were attached.';

CREATE FUNCTION webhook_internal.serve_nodes(
    worker integer, known text[], rows_max bigint, OUT has_more boolean, OUT is_checkpoint_wanted boolean, OUT is_waiting boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    has_more := false;
    UPDATE webhook_internal.takeovers t SET known_by[serve_nodes.worker] = pg_current_xact_id()
    WHERE NOT t.is_collected AND t.node = ANY (known) AND t.known_by[serve_nodes.worker] IS NULL;
    IF worker = 1 AND webhook_internal.is_node() THEN
        PERFORM webhook_internal.report_progress();
        has_more := webhook_internal.carry_out_commands(rows_max);
    ELSIF worker = 1 AND EXISTS (SELECT FROM webhook_internal.nodes) THEN
        PERFORM webhook_internal.make_mark();
        PERFORM webhook_internal.ask_after_failover();
        has_more := webhook_internal.carry_out_commands(rows_max);
        DELETE FROM webhook_internal.nodes n
        WHERE n.state = 'gone' AND NOT EXISTS (SELECT FROM webhook_internal.node_deliveries d WHERE d.node = n.name);
    END IF;
    IF worker = 1 THEN
        has_more := webhook_internal.collect_takeover(10 * rows_max) OR has_more;
    END IF;
    is_checkpoint_wanted := webhook_internal.is_checkpoint_wanted(worker);
    is_waiting := EXISTS (SELECT FROM webhook_internal.nodes n
                          WHERE n.state = 'gone' OR n.state = 'attached' AND (n.settled = 0 OR n.known_on <> n.asked_on))
        OR EXISTS (SELECT FROM webhook_internal.takeovers t WHERE NOT t.is_collected)
        OR EXISTS (SELECT FROM webhook_internal.this_node n WHERE n.settled = 0
                   OR EXISTS (SELECT FROM webhook_internal.node_marks m WHERE m.id > n.settled))
        OR EXISTS (SELECT FROM webhook_internal.pending_commands);
END
$$;
COMMENT ON FUNCTION webhook_internal.serve_nodes(integer, text[], bigint) IS
    'A worker''s step for what several nodes have to do with each other. known: the nodes of takeovers that it knows of. '
    'Returns whether there may be more to do now, is_checkpoint_wanted(), and whether the worker has to stay for what '
    'comes soon.';
