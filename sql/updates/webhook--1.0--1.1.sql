\echo Use "ALTER EXTENSION webhook UPDATE" to load this file. \quit

-- Several nodes share one set of webhooks (sql/parts/sharing.sql).

SELECT webhook_internal.require_library();
SET LOCAL search_path = pg_catalog, pg_temp;

-- --- Who this is ----------------------------------------------------------------------------------------------------

CREATE TABLE webhook_internal.this_node (
    name       text NOT NULL,
    settled    bigint NOT NULL DEFAULT 0,
    is_retired boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX this_node_singleton_idx ON webhook_internal.this_node ((true));
COMMENT ON INDEX webhook_internal.this_node_singleton_idx IS 'Allows one row only.';
COMMENT ON TABLE webhook_internal.this_node IS
    'One row if this database is a node of a home, none if it is a home or has no nodes. Not dumped.';
COMMENT ON COLUMN webhook_internal.this_node.name IS 'Its name, as in webhook_node_shares.nodes.';
COMMENT ON COLUMN webhook_internal.this_node.settled IS 'The last mark (node_marks.id) that it has reported to the home.';
COMMENT ON COLUMN webhook_internal.this_node.is_retired IS
    'Whether the home has taken over what it had to deliver. Then it stays paused.';

CREATE TABLE webhook_internal.nodes (
    name        text PRIMARY KEY,
    identity    text NOT NULL,
    state       text NOT NULL DEFAULT 'attached' CHECK (state IN ('attached', 'lost', 'gone')),
    attached_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    settled     bigint NOT NULL DEFAULT 0,
    reported_at timestamptz,
    asked_on    integer NOT NULL DEFAULT 0,
    known_on    integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE webhook_internal.nodes IS 'The nodes of this home, besides itself. Not dumped.';
COMMENT ON COLUMN webhook_internal.nodes.name IS
    'The name of the node. Its subscription here is webhook_node_ and the name.';
COMMENT ON COLUMN webhook_internal.nodes.identity IS
    'The system identifier of its server, which a standby shares, and the oid of its publication, which it has from joining. '
    'Another database that joins under the name has another one.';
COMMENT ON COLUMN webhook_internal.nodes.state IS
    'attached: it delivers, or may. lost: webhook_take_over() was called for it. gone: it is detached, and the row '
    'stays until the home has what was pending and dead there.';
COMMENT ON COLUMN webhook_internal.nodes.attached_at IS 'When the statements of webhook_attach_node() were run.';
COMMENT ON COLUMN webhook_internal.nodes.settled IS
    'All events before this mark (node_marks.id) that fell to the node are settled there, as it has reported. 0: it has '
    'not reported yet that it has the webhooks.';
COMMENT ON COLUMN webhook_internal.nodes.reported_at IS 'When the node reported that, by its own clock.';
COMMENT ON COLUMN webhook_internal.nodes.asked_on IS
    'The timeline of this server on which the node was asked for all deliveries. Reports that a server before a failover had '
    'received, and this one has not, do not come again.';
COMMENT ON COLUMN webhook_internal.nodes.known_on IS 'The timeline on which it has reported them all.';

CREATE FUNCTION webhook_internal.timeline() RETURNS integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
$$;
COMMENT ON FUNCTION webhook_internal.timeline() IS 'The timeline of this server, which a failover changes.';

CREATE FUNCTION webhook_internal.own_subscription(name text) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.oid FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE s.subname = own_subscription.name AND d.datname = current_database()
$$;
COMMENT ON FUNCTION webhook_internal.own_subscription(text) IS 'A subscription of this database. Null: there is none of that name.';

-- SECURITY DEFINER, because a policy asks it for tenants.
CREATE FUNCTION webhook_internal.is_node() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM webhook_internal.this_node)
$$;
COMMENT ON FUNCTION webhook_internal.is_node() IS 'Whether this database is the node of a home.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'EXECUTE ON FUNCTION webhook_internal.is_node()');

CREATE FUNCTION webhook_internal.require_home() RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_internal.this_node) THEN
        RAISE EXCEPTION 'this database is node "%", not the home', (SELECT n.name FROM webhook_internal.this_node n)
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Do this at the home.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.require_home() IS 'Raises 55000 if this database is the node of a home.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.require_home()');

-- A row lock on a webhook would stop the node's apply worker, and with it all deliveries. SELECT ... FOR SHARE needs the
-- policies of UPDATE. On a node nobody edits webhooks anyway.
CREATE POLICY webhook_node ON @extschema@.webhook_configurations AS RESTRICTIVE FOR UPDATE
    USING ((SELECT NOT webhook_internal.is_node()));
COMMENT ON POLICY webhook_node ON @extschema@.webhook_configurations IS 'On a node, nobody locks the webhooks of the home.';
CREATE POLICY webhook_node ON @extschema@.webhook_instance AS RESTRICTIVE FOR UPDATE
    USING ((SELECT NOT webhook_internal.is_node()));
COMMENT ON POLICY webhook_node ON @extschema@.webhook_instance IS 'On a node, nobody locks the row by which the home pauses it.';

CREATE FUNCTION webhook_internal.refuse_edit() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'this database is node "%": what it delivers is changed at its home',
                    (SELECT n.name FROM webhook_internal.this_node n)
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Make the change at the home. It arrives here in a moment.';
END
$$;
COMMENT ON FUNCTION webhook_internal.refuse_edit() IS 'Trigger function on a node: raises 55000.';

CREATE FUNCTION webhook_internal.applied_subscription() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_applied_subscription';
COMMENT ON FUNCTION webhook_internal.applied_subscription() IS
    'The subscription whose changes this process applies. Null: it is no process of a subscription.';

-- --- Who delivers what ------------------------------------------------------------------------------------------------

CREATE TABLE @extschema@.webhook_node_shares (
    since      integer PRIMARY KEY,
    nodes      text[] NOT NULL CHECK (cardinality(nodes) > 0),
    instance   uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE @extschema@.webhook_node_shares IS
    'How the webhooks have been divided among nodes, written by webhook_share() at the home, and replicated to the others. '
    'Without a row, this database delivers everything. Not dumped: a restored copy delivers on its own.';
COMMENT ON COLUMN @extschema@.webhook_node_shares.since IS
    'A number of webhook_switches_seq. Events with this known_switch or a higher one are divided in this way, up to the '
    'next row.';
COMMENT ON COLUMN @extschema@.webhook_node_shares.nodes IS
    'The names of the nodes; home is the home. webhook_internal.node_number() tells whose a webhook is. A node that is '
    'gone has a hyphen and a number behind its name, so that another may have the name.';
COMMENT ON COLUMN @extschema@.webhook_node_shares.instance IS
    'webhook_instance.instance of the home. A row of another instance does not count: this database is a copy.';
COMMENT ON COLUMN @extschema@.webhook_node_shares.created_at IS 'When the webhooks were divided in this way.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'SELECT ON @extschema@.webhook_node_shares');
ALTER TABLE @extschema@.webhook_node_shares ENABLE ROW LEVEL SECURITY;
CREATE POLICY webhook_operators ON @extschema@.webhook_node_shares FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_node_shares IS 'Operators see how webhooks are divided.';

CREATE FUNCTION webhook_internal.node_number(webhook uuid, nodes integer) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_node_number';
COMMENT ON FUNCTION webhook_internal.node_number(uuid, integer) IS
    'Which of so many nodes a webhook falls to, from 1. Raises 22023 if nodes is not positive.';

CREATE FUNCTION webhook_internal.last_division() RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.nodes FROM @extschema@.webhook_node_shares s JOIN @extschema@.webhook_instance i USING (instance)
    ORDER BY s.since DESC LIMIT 1
$$;
COMMENT ON FUNCTION webhook_internal.last_division() IS
    'The nodes that the webhooks are divided among. Null: this database delivers everything.';

-- Sessions cache the last division, and workers all of them. Logical replication fires triggers for rows only.
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_node_shares
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_node_shares ENABLE ALWAYS TRIGGER webhook_invalidate;
CREATE TRIGGER webhook_invalidate_replicated AFTER INSERT OR UPDATE OR DELETE ON @extschema@.webhook_node_shares
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_node_shares ENABLE REPLICA TRIGGER webhook_invalidate_replicated;

-- A node takes the home's instance, so that webhook-ids are the same everywhere. Any other subscriber keeps its rows. What
-- the trigger changes is a change of the node's own, and not a replicated one.
CREATE FUNCTION webhook_internal.take_share() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $$
BEGIN
    IF NOT webhook_internal.is_node() OR webhook_internal.applied_subscription() IS DISTINCT FROM 'webhook_home' THEN
        RETURN NULL;
    END IF;
    UPDATE @extschema@.webhook_instance i SET instance = NEW.instance WHERE i.instance <> NEW.instance;
    UPDATE @extschema@.webhook_checkpoint c SET instance = NEW.instance WHERE c.instance <> NEW.instance;
    -- retire_node() has renamed it. From now on the home sends what is pending here.
    IF TG_OP = 'UPDATE' THEN
        UPDATE webhook_internal.this_node n SET is_retired = true WHERE n.name = ANY (OLD.nodes) AND n.name <> ALL (NEW.nodes);
        IF FOUND THEN
            PERFORM webhook_internal.set_paused(true, 'the home has taken over what this node had to deliver');
        END IF;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.take_share() IS
    'Trigger function of webhook_node_shares: on a node, takes over the instance of the home, and pauses a node that the home '
    'has taken over from.';

CREATE TRIGGER webhook_take_share BEFORE INSERT OR UPDATE ON @extschema@.webhook_node_shares
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.take_share();
ALTER TABLE @extschema@.webhook_node_shares ENABLE REPLICA TRIGGER webhook_take_share;

-- --- Events on their way to a node --------------------------------------------------------------------------------------

-- By its name it fires before webhook_keep_local, and suppresses the row.
CREATE FUNCTION webhook_internal.receive() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_receive';
COMMENT ON FUNCTION webhook_internal.receive() IS
    'Trigger function of the segments of webhook_events on a node: takes over an event of the home with its id and its '
    'times.';

-- A home that subscribes to a source learns the time of a transaction at its end. Events that it had written before, as those
-- of a large transaction, have gone to the nodes with a provisional time.
CREATE TABLE webhook_internal.shifted_events (
    first_id bigint NOT NULL,
    limit_id bigint NOT NULL,
    shift_us bigint NOT NULL
);
COMMENT ON TABLE webhook_internal.shifted_events IS
    'By how much the time of events of the same transaction has been corrected, on its way to the nodes. Deleted soon.';
COMMENT ON COLUMN webhook_internal.shifted_events.first_id IS 'The events from this id on,';
COMMENT ON COLUMN webhook_internal.shifted_events.limit_id IS 'and before this id, that the transaction has captured.';
COMMENT ON COLUMN webhook_internal.shifted_events.shift_us IS 'What is added to created_at, in microseconds.';

CREATE FUNCTION webhook_internal.receive_shift() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_receive_shift';
COMMENT ON FUNCTION webhook_internal.receive_shift() IS
    'Trigger function of shifted_events on a node: corrects the times of events of the same transaction.';
CREATE TRIGGER webhook_receive_shift BEFORE INSERT ON webhook_internal.shifted_events
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.receive_shift();
ALTER TABLE webhook_internal.shifted_events ENABLE REPLICA TRIGGER webhook_receive_shift;

CREATE FUNCTION webhook_internal.renew_ids() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_renew_ids';
COMMENT ON FUNCTION webhook_internal.renew_ids() IS
    'Draws the next ids of webhook_events_id_seq for all processes, in place of those that they still have.';

-- --- Logical replication of all tables ----------------------------------------------------------------------------------

-- As in replication.sql: a subscriber to all tables keeps its own rows. Without a primary key, a publication of all tables
-- would make changes an error.
CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON webhook_internal.this_node
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.keep_local();
ALTER TABLE webhook_internal.this_node ENABLE REPLICA TRIGGER webhook_keep_local;
CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON webhook_internal.nodes
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.keep_local();
ALTER TABLE webhook_internal.nodes ENABLE REPLICA TRIGGER webhook_keep_local;
ALTER TABLE webhook_internal.this_node REPLICA IDENTITY FULL;
ALTER TABLE webhook_internal.shifted_events REPLICA IDENTITY FULL;

-- --- What nodes report --------------------------------------------------------------------------------------------------

CREATE TABLE @extschema@.webhook_node_reports (
    node                     text NOT NULL,
    kind                     text NOT NULL CHECK (kind IN ('disable', 'event', 'settled', 'rows', 'all_rows')),
    reported_at              timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    configuration_id         uuid,
    configuration_created_at timestamptz,
    organization_id          text,
    url                      text,
    reason                   text,
    event                    text,
    data                     json,
    mark                     bigint
);
COMMENT ON TABLE @extschema@.webhook_node_reports IS
    'What a node asks its home to do, on its way there. Empty at the home, which acts on each row and stores none. A node '
    'deletes its rows soon.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.node IS 'The name of the node.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.kind IS
    'disable: a webhook is to be switched off, and the event published if it was. event: publish the event. settled: all '
    'events before a mark are settled at the node. rows: how rows of its tables are now. all_rows: the rows of '
    'webhook_deliveries that follow are all that there are.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.reported_at IS 'When the node reported it.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.configuration_id IS 'disable: the webhook.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.configuration_created_at IS 'disable: its created_at.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.organization_id IS 'The organization of the webhook and of the event.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.url IS 'disable: its URL. A webhook with another URL by now is left on.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.reason IS 'disable: webhook_configurations.disabled_reason.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.data IS
    'Its data. rows: {"table": ..., "put": [row, ...], "gone": [row, ...]}.';
COMMENT ON COLUMN @extschema@.webhook_node_reports.mark IS 'settled: node_marks.id.';
ALTER TABLE @extschema@.webhook_node_reports ENABLE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.webhook_node_reports REPLICA IDENTITY FULL;

CREATE FUNCTION webhook_internal.forgotten() RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'the home sends it'
$$;
COMMENT ON FUNCTION webhook_internal.forgotten() IS
    'webhook_deliveries.last_error of a dead delivery that a node is to forget, and does when no attempt can be in flight any more.';

-- In groups, so that no report is large.
CREATE FUNCTION webhook_internal.report_rows() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := (SELECT n.name FROM webhook_internal.this_node n);
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO @extschema@.webhook_node_reports (node, kind, data)
        SELECT name, 'rows', json_build_object('table', TG_TABLE_NAME, 'put', '[]'::json, 'gone', json_agg(g.r))
        FROM (SELECT to_json(b) AS r, row_number() OVER () / 500 AS part FROM before b) g GROUP BY g.part;
    ELSE
        INSERT INTO @extschema@.webhook_node_reports (node, kind, data)
        SELECT name, 'rows', json_build_object('table', TG_TABLE_NAME,
                                               'put', coalesce(json_agg(g.r) FILTER (WHERE NOT g.is_gone), '[]'),
                                               'gone', coalesce(json_agg(g.r) FILTER (WHERE g.is_gone), '[]'))
        FROM (SELECT t.r, t.r->>'state' IS NOT DISTINCT FROM 'dead' AND t.r->>'last_error' = webhook_internal.forgotten() AS is_gone,
                     row_number() OVER () / 500 AS part
              FROM (SELECT to_json(n) AS r FROM now n) t) g GROUP BY g.part;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.report_rows() IS
    'Trigger function on a node: tells the home how rows of a table are now. For deliveries, in case that the node is '
    'lost.';

-- Other workers write for moments. Waiting in the lock's queue would hold them up behind whoever has it.
CREATE FUNCTION webhook_internal.try_lock_all_deliveries() RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR attempt IN 1 .. 20 LOOP
        BEGIN
            LOCK TABLE ONLY @extschema@.webhook_deliveries IN SHARE MODE NOWAIT;
            RETURN true;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.005);
        END;
    END LOOP;
    RETURN false;
END
$$;
COMMENT ON FUNCTION webhook_internal.try_lock_all_deliveries() IS
    'Keeps others from writing webhook_deliveries until the transaction ends. Tries for 0.1 s.';

CREATE FUNCTION webhook_internal.report_all() RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := (SELECT n.name FROM webhook_internal.this_node n);
BEGIN
    IF NOT webhook_internal.try_lock_all_deliveries() THEN
        RETURN false;
    END IF;
    INSERT INTO @extschema@.webhook_node_reports (node, kind) VALUES (name, 'all_rows');
    -- What it has reported as settled counts only from now on.
    UPDATE webhook_internal.this_node SET settled = 0;
    INSERT INTO @extschema@.webhook_node_reports (node, kind, data)
    SELECT name, 'rows', json_build_object('table', 'webhook_deliveries', 'put', json_agg(g.r), 'gone', '[]'::json)
    FROM (SELECT to_json(d) AS r, row_number() OVER () / 500 AS part FROM ONLY @extschema@.webhook_deliveries d
          WHERE d.state <> 'dead' OR d.last_error IS DISTINCT FROM webhook_internal.forgotten()) g GROUP BY g.part;
    RETURN true;
END
$$;
COMMENT ON FUNCTION webhook_internal.report_all() IS
    'On a node: tells the home all deliveries, or returns false if somebody is changing them.';

-- Children of webhook_deliveries, webhook_minutes and webhook_hours: who reads these at the home sees what the nodes have, too,
-- and the events of pending deliveries are saved when their segment is emptied. What the worker sends and counts are its own
-- rows alone: FROM ONLY.
CREATE TABLE webhook_internal.node_deliveries (
    node text NOT NULL,
    PRIMARY KEY (node, configuration_id, event_id)
) INHERITS (@extschema@.webhook_deliveries);
COMMENT ON TABLE webhook_internal.node_deliveries IS
    'At the home: the pending and dead deliveries of its nodes, as they have reported. Not dumped.';
CREATE INDEX node_deliveries_event_id_idx ON webhook_internal.node_deliveries (event_id, configuration_id);
COMMENT ON INDEX webhook_internal.node_deliveries_event_id_idx IS 'As the primary key of webhook_deliveries.';
CREATE INDEX node_deliveries_due_idx ON webhook_internal.node_deliveries
    (configuration_id, configuration_created_at, next_attempt_at, event_id) WHERE state = 'pending';
COMMENT ON INDEX webhook_internal.node_deliveries_due_idx IS 'As webhook_deliveries_due_idx.';
CREATE INDEX node_deliveries_dead_idx ON webhook_internal.node_deliveries (configuration_id, event_id) WHERE state = 'dead';
COMMENT ON INDEX webhook_internal.node_deliveries_dead_idx IS 'As webhook_deliveries_dead_idx.';
CREATE INDEX node_deliveries_body_idx ON webhook_internal.node_deliveries
    (slot, event_id, configuration_id) WHERE slot IS NOT NULL;
COMMENT ON INDEX webhook_internal.node_deliveries_body_idx IS 'As webhook_deliveries_body_idx.';

CREATE TABLE webhook_internal.node_minutes (
    node text NOT NULL,
    PRIMARY KEY (configuration_id, slot, node)
) INHERITS (@extschema@.webhook_minutes) WITH (fillfactor = 70);
CREATE INDEX node_minutes_minute_idx ON webhook_internal.node_minutes (minute);
COMMENT ON INDEX webhook_internal.node_minutes_minute_idx IS 'Finds the rows that are out of date.';
COMMENT ON TABLE webhook_internal.node_minutes IS
    'At the home: the results of its nodes, as they have reported. Not dumped.';
CREATE TABLE webhook_internal.node_hours (
    node text NOT NULL,
    PRIMARY KEY (configuration_id, slot, node)
) INHERITS (@extschema@.webhook_hours) WITH (fillfactor = 70);
CREATE INDEX node_hours_hour_idx ON webhook_internal.node_hours (hour);
COMMENT ON INDEX webhook_internal.node_hours_hour_idx IS 'Finds the rows that are out of date.';
COMMENT ON TABLE webhook_internal.node_hours IS
    'At the home: the results of its nodes, as they have reported. Not dumped.';
DO $$
DECLARE
    described record;
    relation regclass;
BEGIN
    FOR described IN
        SELECT i.inhrelid::regclass AS child, a.attname, col_description(i.inhparent, p.attnum) AS comment
        FROM pg_inherits i JOIN pg_attribute a ON a.attrelid = i.inhrelid AND a.attnum > 0
        LEFT JOIN pg_attribute p ON p.attrelid = i.inhparent AND p.attname = a.attname
        WHERE i.inhrelid IN ('webhook_internal.node_deliveries'::regclass, 'webhook_internal.node_minutes'::regclass,
                             'webhook_internal.node_hours'::regclass)
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', described.child, described.attname, coalesce(described.comment, 'The node.'));
        -- As in closing.sql.
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', described.child, described.attname);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['webhook_internal.node_deliveries', 'webhook_internal.node_minutes',
                                    'webhook_internal.node_hours']::regclass[] LOOP
        EXECUTE format(
            'CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s '
            'FOR EACH ROW EXECUTE FUNCTION webhook_internal.keep_local()', relation);
        EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_keep_local', relation);
    END LOOP;
END
$$;

-- Rows of webhooks that are gone meanwhile are left out. A circuit is that of the last node that had the webhook.
CREATE FUNCTION webhook_internal.take_rows(node text, report json) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place text := CASE report->>'table' WHEN 'webhook_deliveries' THEN 'webhook_internal.node_deliveries'
                                        WHEN 'webhook_minutes' THEN 'webhook_internal.node_minutes'
                                        WHEN 'webhook_hours' THEN 'webhook_internal.node_hours'
                                        WHEN 'webhook_endpoints' THEN '@extschema@.webhook_endpoints' END;
    keys text[] := CASE report->>'table' WHEN 'webhook_deliveries' THEN '{node,configuration_id,event_id}'
                                         WHEN 'webhook_endpoints' THEN '{configuration_id}'
                                         ELSE '{configuration_id,slot,node}' END;
    -- The segment of an event is this database's.
    own text := CASE report->>'table' WHEN 'webhook_deliveries' THEN
        'jsonb_build_object(''node'', $2, ''slot'', (SELECT e.slot FROM @extschema@.webhook_events e '
        'WHERE e.id = (p->>''event_id'')::bigint AND e.data IS NOT NULL LIMIT 1))' ELSE 'jsonb_build_object(''node'', $2)' END;
    sets text := (SELECT string_agg(format('%1$I = excluded.%1$I', a.attname), ', ') FROM pg_attribute a
                  WHERE a.attrelid = place::regclass AND a.attnum > 0 AND NOT a.attisdropped);
BEGIN
    IF 'node' = ANY (keys) THEN
        EXECUTE format('DELETE FROM %1$s d USING json_populate_recordset(NULL::%1$s, $1->''gone'') g WHERE d.node = $2 AND %2$s', place,
                       (SELECT string_agg(format('d.%1$I = g.%1$I', k), ' AND ') FROM unnest(keys) k WHERE k <> 'node'))
        USING report, node;
    END IF;
    EXECUTE format('INSERT INTO %1$s SELECT r.* FROM json_array_elements($1->''put'') p '
                   'JOIN @extschema@.webhook_configurations c ON c.id = (p->>''configuration_id'')::uuid '
                   'AND c.created_at = (p->>''configuration_created_at'')::timestamptz '
                   'CROSS JOIN LATERAL jsonb_populate_record(NULL::%1$s, to_jsonb(p) || %4$s) r '
                   'ON CONFLICT (%2$s) DO UPDATE SET %3$s', place, array_to_string(keys, ', '), sets, own)
    USING report, node;
END
$$;
COMMENT ON FUNCTION webhook_internal.take_rows(text, json) IS
    'Takes over a report of the kind rows. Used by act_on_report().';

-- The session of the subscription applies changes as a replica. What the report causes is a change of the home's own:
-- its triggers count switches and record the history. A row that somebody has locked is left for the next report.
CREATE FUNCTION webhook_internal.act_on_report() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $$
BEGIN
    IF webhook_internal.is_node() OR webhook_internal.applied_subscription() IS DISTINCT FROM 'webhook_node_' || NEW.node
       OR NOT EXISTS (SELECT FROM webhook_internal.nodes n WHERE n.name = NEW.node AND n.state = 'attached') THEN
        RETURN NULL;
    END IF;
    CASE NEW.kind
    WHEN 'settled' THEN
        -- After a failover it may be a mark that is not known here, or what was pending before it may not be.
        UPDATE webhook_internal.nodes n SET settled = greatest(n.settled, NEW.mark), reported_at = NEW.reported_at
        WHERE n.name = NEW.node AND n.known_on = webhook_internal.timeline()
          AND EXISTS (SELECT FROM webhook_internal.node_marks m WHERE m.id = NEW.mark);
        RETURN NULL;
    WHEN 'rows' THEN
        PERFORM webhook_internal.take_rows(NEW.node, NEW.data);
        RETURN NULL;
    WHEN 'all_rows' THEN
        DELETE FROM webhook_internal.node_deliveries d WHERE d.node = NEW.node;
        UPDATE webhook_internal.nodes n SET known_on = webhook_internal.timeline() WHERE n.name = NEW.node;
        RETURN NULL;
    WHEN 'disable' THEN
        UPDATE @extschema@.webhook_configurations c SET is_active = false, disabled_reason = NEW.reason
        FROM (SELECT l.id FROM @extschema@.webhook_configurations l
              WHERE l.id = NEW.configuration_id AND l.created_at = NEW.configuration_created_at
                AND l.organization_id IS NOT DISTINCT FROM NEW.organization_id AND l.is_active AND l.url = NEW.url
              FOR NO KEY UPDATE SKIP LOCKED) held
        WHERE c.id = held.id;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    ELSE NULL;
    END CASE;
    PERFORM webhook_internal.append(NEW.event, NEW.data, NEW.organization_id, NULL);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.act_on_report() IS
    'Trigger function of webhook_node_reports: does at the home what a node asks for.';

CREATE TRIGGER webhook_act_on_report BEFORE INSERT ON @extschema@.webhook_node_reports
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.act_on_report();
ALTER TABLE @extschema@.webhook_node_reports ENABLE REPLICA TRIGGER webhook_act_on_report;

-- By their names the triggers fire before webhook_keep_local, and suppress the row. An INSERT here does not fire them.
CREATE FUNCTION webhook_internal.receive_log() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_receive_log';
COMMENT ON FUNCTION webhook_internal.receive_log() IS
    'Trigger function of the segments of webhook_logs at a home: takes over a log row of a node, with an id of this '
    'database.';

-- --- How far each node is -----------------------------------------------------------------------------------------------

-- A node applies transactions in the order in which the home committed them. So what is settled there before a mark covers
-- all that the mark's snapshot sees at the home.
CREATE TABLE webhook_internal.node_marks (
    id         bigint PRIMARY KEY,
    checkpoint text NOT NULL,
    snapshot   pg_snapshot NOT NULL,
    lowest_id  bigint NOT NULL,
    log_floor  bigint NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    applied_by xid8
);
COMMENT ON TABLE webhook_internal.node_marks IS
    'Marks in the order of the home''s commits, by which nodes tell how far they are. Made by the home''s first worker '
    'some seconds apart while events are captured, and replicated. Not dumped.';
COMMENT ON COLUMN webhook_internal.node_marks.id IS 'From 1.';
COMMENT ON COLUMN webhook_internal.node_marks.checkpoint IS 'The first worker''s checkpoint. The next mark is for another.';
COMMENT ON COLUMN webhook_internal.node_marks.snapshot IS 'What was committed before the mark, at the home.';
COMMENT ON COLUMN webhook_internal.node_marks.lowest_id IS
    'Events that are not before the mark have this id or higher ones, except for batches.';
COMMENT ON COLUMN webhook_internal.node_marks.log_floor IS 'The last id of webhook_logs of the home then.';
COMMENT ON COLUMN webhook_internal.node_marks.made_at IS 'When the home made it.';
COMMENT ON COLUMN webhook_internal.node_marks.applied_by IS 'On a node: the transaction that has applied it.';

-- After a failover of the home to a standby that lacked some, marks come again. A node deletes its own.
CREATE FUNCTION webhook_internal.take_mark() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $$
BEGIN
    IF NOT webhook_internal.is_node() OR webhook_internal.applied_subscription() IS DISTINCT FROM 'webhook_home'
       OR TG_OP <> 'INSERT' THEN
        RETURN NULL;
    END IF;
    DELETE FROM webhook_internal.node_marks m WHERE m.id >= NEW.id;
    UPDATE webhook_internal.this_node n SET settled = NEW.id - 1 WHERE n.settled >= NEW.id;
    NEW.applied_by := pg_current_xact_id();
    PERFORM webhook_internal.wake();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.take_mark() IS
    'Trigger function of node_marks: notes by which transaction the node has applied a mark of the home.';
CREATE TRIGGER webhook_take_mark BEFORE INSERT OR UPDATE OR DELETE ON webhook_internal.node_marks
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.take_mark();
ALTER TABLE webhook_internal.node_marks ENABLE REPLICA TRIGGER webhook_take_mark;

CREATE FUNCTION webhook_internal.make_mark() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last webhook_internal.node_marks;
    own @extschema@.webhook_checkpoint;
BEGIN
    SELECT c.* INTO own FROM @extschema@.webhook_checkpoint c WHERE c.worker = 1;
    SELECT m.* INTO last FROM webhook_internal.node_marks m ORDER BY m.id DESC LIMIT 1;
    IF own IS NULL OR last.checkpoint = format('%s %s', own.snapshot_from, own.position) THEN
        RETURN;
    END IF;
    INSERT INTO webhook_internal.node_marks (id, checkpoint, snapshot, lowest_id, log_floor)
    VALUES (greatest(last.id, (SELECT max(n.settled) FROM webhook_internal.nodes n), 0) + 1,
            format('%s %s', own.snapshot_from, own.position), pg_current_snapshot(), own.lowest_id,
            coalesce(pg_sequence_last_value('@extschema@.webhook_logs_id_seq'), 0));
    DELETE FROM webhook_internal.node_marks m
    WHERE m.id < least(last.id, (SELECT min(n.settled) FROM webhook_internal.nodes n WHERE n.state = 'attached'));
END
$$;
COMMENT ON FUNCTION webhook_internal.make_mark() IS
    'Makes a mark if the first worker has written another checkpoint since the last one. Only that worker calls it.';

-- What is deferred is not settled. Before the webhooks have been copied, events find no subscriber here.
CREATE FUNCTION webhook_internal.report_progress() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own webhook_internal.this_node;
    last bigint;
BEGIN
    SELECT n.* INTO own FROM webhook_internal.this_node n;
    last := (SELECT max(m.id) FROM webhook_internal.node_marks m
             WHERE m.id > own.settled AND m.applied_by IS NOT NULL
               AND (SELECT bool_and(pg_visible_in_snapshot(m.applied_by, c.snapshot_from)) FROM @extschema@.webhook_checkpoint c));
    IF last IS NULL OR EXISTS (SELECT FROM webhook_internal.deferred_changes)
       OR EXISTS (SELECT FROM pg_subscription_rel r
                  WHERE r.srsubid = webhook_internal.own_subscription('webhook_home') AND r.srsubstate <> 'r') THEN
        RETURN;
    END IF;
    UPDATE webhook_internal.this_node n SET settled = last;
    INSERT INTO @extschema@.webhook_node_reports (node, kind, mark) VALUES (own.name, 'settled', last);
    DELETE FROM webhook_internal.node_marks m WHERE m.id < last;
END
$$;
COMMENT ON FUNCTION webhook_internal.report_progress() IS
    'On a node: reports the last mark before which all is settled here. Only the first worker calls it.';

-- --- What the home asks nodes to do ------------------------------------------------------------------------------------

CREATE SEQUENCE webhook_internal.node_commands_id_seq;
COMMENT ON SEQUENCE webhook_internal.node_commands_id_seq IS 'The ids of commands.';
CREATE TABLE webhook_internal.node_commands (
    id               bigint PRIMARY KEY DEFAULT pg_catalog.nextval('webhook_internal.node_commands_id_seq'),
    command          text NOT NULL CHECK (command IN ('cancel', 'forget', 'report', 'pause', 'resume')),
    configuration_id uuid,
    events           bigint[],
    reason           text
);
COMMENT ON TABLE webhook_internal.node_commands IS
    'What the nodes are to do, on its way there. Empty outside of transactions.';
COMMENT ON COLUMN webhook_internal.node_commands.id IS 'Tells commands apart.';
COMMENT ON COLUMN webhook_internal.node_commands.command IS
    'cancel: pending deliveries. forget: deliveries that the home sends again. report: all deliveries, once more. pause or '
    'resume: as webhook_pause() and webhook_resume() do.';
COMMENT ON COLUMN webhook_internal.node_commands.configuration_id IS 'cancel, forget: the webhook.';
COMMENT ON COLUMN webhook_internal.node_commands.events IS 'cancel, forget: the events. Null: all.';
COMMENT ON COLUMN webhook_internal.node_commands.reason IS 'pause: why.';

CREATE TABLE webhook_internal.pending_commands (
    command          text NOT NULL,
    configuration_id uuid,
    event_id         bigint,
    before           pg_snapshot,
    due              timestamptz
);
CREATE UNIQUE INDEX pending_commands_idx ON webhook_internal.pending_commands (command, configuration_id, event_id)
    NULLS NOT DISTINCT;
COMMENT ON INDEX webhook_internal.pending_commands_idx IS 'Once is enough.';
COMMENT ON TABLE webhook_internal.pending_commands IS
    'What the first worker has yet to do: on a node, what the home wants; at the home, what it is to forget itself. Not '
    'dumped.';
COMMENT ON COLUMN webhook_internal.pending_commands.command IS 'cancel, forget or report, as in node_commands.';
COMMENT ON COLUMN webhook_internal.pending_commands.configuration_id IS 'The webhook.';
COMMENT ON COLUMN webhook_internal.pending_commands.event_id IS 'The event. Null: all that before sees.';
COMMENT ON COLUMN webhook_internal.pending_commands.before IS 'What had arrived here when the command did.';
COMMENT ON COLUMN webhook_internal.pending_commands.due IS
    'forget, on a node: when the row is deleted, which is only marked as forgotten before. Null: nothing was done yet.';
CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON webhook_internal.pending_commands
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.keep_local();
ALTER TABLE webhook_internal.pending_commands ENABLE REPLICA TRIGGER webhook_keep_local;
ALTER TABLE webhook_internal.pending_commands REPLICA IDENTITY FULL;

CREATE FUNCTION webhook_internal.command_nodes(command text, webhook uuid, events bigint[], reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_internal.nodes) THEN
        INSERT INTO webhook_internal.node_commands (command, configuration_id, events, reason)
        VALUES (command_nodes.command, webhook, command_nodes.events, command_nodes.reason);
        DELETE FROM webhook_internal.node_commands;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.command_nodes(text, uuid, bigint[], text) IS
    'Has all nodes of this home do something. The arguments are columns of node_commands.';

CREATE FUNCTION webhook_internal.take_command() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $$
BEGIN
    IF NOT webhook_internal.is_node() OR webhook_internal.applied_subscription() IS DISTINCT FROM 'webhook_home' THEN
        RETURN NULL;
    ELSIF NEW.command IN ('pause', 'resume') THEN
        PERFORM webhook_internal.set_paused(NEW.command = 'pause', NEW.reason)
        FROM webhook_internal.this_node n WHERE NOT n.is_retired;
    ELSE
        INSERT INTO webhook_internal.pending_commands
        SELECT NEW.command, NEW.configuration_id, e, pg_current_snapshot() FROM unnest(coalesce(NEW.events, '{NULL}')) e
        ON CONFLICT (command, configuration_id, event_id) DO UPDATE SET before = excluded.before;
        PERFORM webhook_internal.wake();
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.take_command() IS
    'Trigger function of node_commands on a node: carries out a command, or keeps it for the worker.';
CREATE TRIGGER webhook_take_command BEFORE INSERT ON webhook_internal.node_commands
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.take_command();
ALTER TABLE webhook_internal.node_commands ENABLE REPLICA TRIGGER webhook_take_command;

CREATE FUNCTION webhook_internal.cancel_at_nodes(webhook uuid, cancelled bigint) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pending bigint;
    inherited bigint;
BEGIN
    -- Of a node that is gone they are this home's, which inherits them under the same lock.
    UPDATE webhook_internal.node_deliveries d SET state = 'dead', next_attempt_at = NULL, last_error = 'cancelled'
    FROM webhook_internal.nodes n, @extschema@.webhook_configurations c
    WHERE n.name = d.node AND n.state <> 'attached'
      AND c.id = webhook AND d.configuration_id = c.id AND d.configuration_created_at = c.created_at AND d.state = 'pending' AND (cancelled IS NULL OR d.event_id = cancelled);
    GET DIAGNOSTICS inherited = ROW_COUNT;
    SELECT count(*) INTO pending FROM webhook_internal.node_deliveries d
    JOIN @extschema@.webhook_configurations c ON c.id = d.configuration_id AND c.created_at = d.configuration_created_at
    WHERE d.configuration_id = webhook AND d.state = 'pending' AND (cancelled IS NULL OR d.event_id = cancelled);
    IF pending > 0 THEN
        PERFORM webhook_internal.command_nodes('cancel', webhook, ARRAY[cancelled], NULL);
    END IF;
    RETURN inherited + pending;
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_at_nodes(uuid, bigint) IS
    'Has the nodes of this home cancel deliveries of a webhook, and returns how many are pending there. Used by '
    'webhook_cancel().';

-- The worker does it, so that no transaction of a session holds up what a node reports.
CREATE FUNCTION webhook_internal.forget_at_nodes(webhook uuid, events bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    theirs bigint[];
BEGIN
    IF NOT EXISTS (SELECT FROM webhook_internal.nodes) THEN
        RETURN;
    END IF;
    theirs := ARRAY(SELECT DISTINCT d.event_id FROM webhook_internal.node_deliveries d
                    WHERE d.configuration_id = webhook AND d.event_id = ANY (events));
    IF theirs <> '{}' THEN
        INSERT INTO webhook_internal.pending_commands SELECT 'forget', webhook, e FROM unnest(theirs) e ON CONFLICT DO NOTHING;
        PERFORM webhook_internal.command_nodes('forget', webhook, theirs, NULL);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.forget_at_nodes(uuid, bigint[]) IS
    'Has the nodes of this home forget deliveries that are pending here from now on. Used by queue_events().';

CREATE FUNCTION webhook_internal.try_lock_deliveries(webhook uuid) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_try_lock_deliveries';
COMMENT ON FUNCTION webhook_internal.try_lock_deliveries(uuid) IS
    'lock_deliveries(), if nobody else writes the webhook''s deliveries. Otherwise false.';

-- Returns how many rows it has changed. If these are rows_max, there may be more.
CREATE FUNCTION webhook_internal.carry_out(command webhook_internal.pending_commands, rows_max bigint) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed bigint := 0;
BEGIN
    IF command.command = 'cancel' THEN
        IF EXISTS (SELECT FROM @extschema@.webhook_configurations c WHERE c.id = command.configuration_id) THEN
            changed := webhook_internal.cancel_deliveries(
                command.configuration_id, command.event_id, command.before, rows_max);
        END IF;
    ELSIF webhook_internal.is_node() THEN
        -- The result of an attempt that is in flight must find the row, with another request: then it changes nothing.
        DELETE FROM ONLY @extschema@.webhook_deliveries d
        WHERE d.configuration_id = command.configuration_id AND d.event_id = command.event_id AND command.due IS NOT NULL;
        UPDATE ONLY @extschema@.webhook_deliveries d
        SET state = 'dead', next_attempt_at = NULL, last_error = webhook_internal.forgotten(), updated_at = clock_timestamp(),
            request = pg_current_xact_id()::text::bigint
        WHERE d.configuration_id = command.configuration_id AND d.event_id = command.event_id;
        IF FOUND THEN
            UPDATE webhook_internal.pending_commands c SET due = clock_timestamp() + interval '2 minutes'
            WHERE c.command = 'forget' AND c.configuration_id = command.configuration_id AND c.event_id = command.event_id;
            PERFORM webhook_internal.announce_pending(command.configuration_id);
        END IF;
    ELSE
        DELETE FROM webhook_internal.node_deliveries d
        WHERE d.configuration_id = command.configuration_id AND d.event_id = command.event_id;
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION webhook_internal.carry_out(webhook_internal.pending_commands, bigint) IS
    'Cancels or forgets deliveries of a webhook that nobody else writes to, at most rows_max.';

CREATE FUNCTION webhook_internal.carry_out_commands(rows_max bigint) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    command webhook_internal.pending_commands;
    last uuid := NULL;
    is_free boolean := false;
    left_over bigint := rows_max;
BEGIN
    FOR command IN
        SELECT c.* FROM webhook_internal.pending_commands c WHERE c.due IS NULL OR c.due < clock_timestamp()
        ORDER BY c.configuration_id NULLS FIRST, c.command LIMIT rows_max
    LOOP
        EXIT WHEN left_over <= 0;
        IF command.command = 'report' THEN
            CONTINUE WHEN NOT webhook_internal.report_all();
        ELSE
            IF last IS DISTINCT FROM command.configuration_id THEN
                last := command.configuration_id;
                -- A home only forgets rows of node_deliveries. On a node no session writes a webhook's deliveries for long.
                is_free := NOT webhook_internal.is_node() OR webhook_internal.try_lock_deliveries(last);
            END IF;
            CONTINUE WHEN NOT is_free;
            left_over := left_over - 1 - webhook_internal.carry_out(command, left_over);
            CONTINUE WHEN left_over <= 0 AND command.command = 'cancel';
        END IF;
        DELETE FROM webhook_internal.pending_commands c
        WHERE c.command = command.command AND c.configuration_id IS NOT DISTINCT FROM command.configuration_id
          AND c.event_id IS NOT DISTINCT FROM command.event_id AND c.due IS NOT DISTINCT FROM command.due;
    END LOOP;
    RETURN left_over <= 0;
END
$$;
COMMENT ON FUNCTION webhook_internal.carry_out_commands(bigint) IS
    'Does what is in pending_commands, but for webhooks whose deliveries somebody else is writing: about rows_max rows '
    'at most. Returns whether there is more that can be done now.';

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

-- --- The home -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION webhook_internal.check_node_name(name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name IS NULL OR name !~ '^[a-z0-9_]{1,40}$' OR name = 'home' THEN
        RAISE EXCEPTION 'invalid name of a node "%"', name
            USING ERRCODE = 'invalid_name', DETAIL = 'Replication slots are named after it. "home" is the home.',
                  HINT = 'Use 1 to 40 lower-case letters, digits and underscores.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_node_name(text) IS 'Raises 42602 if no node can have the name.';

-- The tables that a node subscribes to, by publication. It gets copies of those of webhook_home.
CREATE FUNCTION webhook_internal.home_tables(publication name) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('@extschema@.webhook_events_%s', s) FROM generate_series(0, 11) s WHERE publication = 'webhook_home_events'
    UNION ALL
    SELECT t FROM unnest(ARRAY['webhook_internal.shifted_events', 'webhook_internal.node_commands']) t
    WHERE publication = 'webhook_home_events'
    UNION ALL
    SELECT t FROM unnest(ARRAY[
        '@extschema@.webhook_event_types', '@extschema@.webhook_configurations', '@extschema@.webhook_secrets',
        '@extschema@.webhook_node_shares', 'webhook_internal.node_marks']) t WHERE publication = 'webhook_home'
$$;
COMMENT ON FUNCTION webhook_internal.home_tables(name) IS 'The tables of a publication of the home.';

-- A publication stays when the extension is dropped, without its tables.
CREATE FUNCTION webhook_internal.is_published(publication name) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT EXISTS (SELECT FROM webhook_internal.home_tables(publication) t
                       WHERE NOT EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
                                         WHERE p.pubname = publication AND r.prrelid = t::regclass))
$$;
COMMENT ON FUNCTION webhook_internal.is_published(name) IS
    'Whether a publication of the home exists with all of its tables.';

CREATE FUNCTION webhook_internal.become_home() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR segment IN 0 .. 11 LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = 'webhook_0_receive_log'
                                AND t.tgrelid = format('@extschema@.webhook_logs_%s', segment)::regclass);
        EXECUTE format('CREATE TRIGGER webhook_0_receive_log BEFORE INSERT ON @extschema@.webhook_logs_%s '
                       'FOR EACH ROW EXECUTE FUNCTION webhook_internal.receive_log()', segment);
        EXECUTE format('ALTER TABLE @extschema@.webhook_logs_%s ENABLE REPLICA TRIGGER webhook_0_receive_log', segment);
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.become_home() IS 'Used by the statements of webhook_home().';

CREATE FUNCTION @extschema@.webhook_home(role name DEFAULT 'webhook_node') RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    publication name;
BEGIN
    PERFORM webhook_internal.require_home();
    IF current_setting('wal_level') <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is %', current_setting('wal_level')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SYSTEM SET wal_level = logical; then restart the server.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        -- To copy tables with row-level security, a role has to be exempt.
        RETURN NEXT format('CREATE ROLE %I LOGIN REPLICATION BYPASSRLS;', role);
    ELSIF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role AND r.rolcanlogin
                      AND (r.rolsuper OR r.rolreplication AND r.rolbypassrls)) THEN
        RETURN NEXT format('ALTER ROLE %I LOGIN REPLICATION BYPASSRLS;', role);
    END IF;
    RETURN NEXT format('GRANT USAGE ON SCHEMA @extschema@, webhook_internal TO %I;', role);
    RETURN QUERY SELECT format('GRANT SELECT ON %s TO %I;', t, role) FROM webhook_internal.home_tables('webhook_home') t;
    RETURN NEXT 'SELECT webhook_internal.become_home();';
    FOREACH publication IN ARRAY ARRAY['webhook_home_events', 'webhook_home'] LOOP
        CONTINUE WHEN webhook_internal.is_published(publication);
        IF EXISTS (SELECT FROM pg_publication p WHERE p.pubname = publication) THEN
            RETURN NEXT format('DROP PUBLICATION %I;', publication);
        END IF;
        RETURN NEXT format('CREATE PUBLICATION %I FOR TABLE %s%s;', publication,
                           (SELECT string_agg(t, ', ') FROM webhook_internal.home_tables(publication) t),
                           CASE publication WHEN 'webhook_home_events' THEN ' WITH (publish = ''insert'')' ELSE '' END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_home(name) IS
    'The statements that let nodes subscribe to this database, for gexec of psql: a role for them, with the attributes that '
    'it needs, and two publications. What exists is left out. Runs nothing. Raises 55000 on a node, or if wal_level is not '
    'logical.';

-- A database that joined while deliveries were paused has not heard of it.
CREATE FUNCTION webhook_internal.add_node(name text, identity text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pause record;
BEGIN
    -- If it is attached once more, it reports everything again.
    INSERT INTO webhook_internal.nodes AS n (name, identity) VALUES (add_node.name, add_node.identity)
    ON CONFLICT ON CONSTRAINT nodes_pkey DO UPDATE SET asked_on = 0, known_on = 0;
    SELECT i.is_paused, i.paused_reason INTO pause FROM @extschema@.webhook_instance i;
    PERFORM webhook_internal.command_nodes(
        CASE WHEN pause.is_paused THEN 'pause' ELSE 'resume' END, NULL, NULL, pause.paused_reason);
    PERFORM webhook_internal.wake();
END
$$;
COMMENT ON FUNCTION webhook_internal.add_node(text, text) IS 'Used by the statements of webhook_attach_node().';

-- What another database says of itself as a node or as a home, or of having the extension at all.
CREATE FUNCTION webhook_internal.ask_member(conninfo text) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    server jsonb;
BEGIN
    IF conninfo IS NULL OR conninfo !~ '=|://' THEN
        RAISE EXCEPTION 'conninfo is not a connection string'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example: host=home.example dbname=crm user=webhook_node';
    END IF;
    server := webhook_internal.ask_source(conninfo, $question$
        SELECT jsonb_build_object(
            'started_at', extract(epoch FROM pg_postmaster_start_time())::text, 'database', current_database(),
            'wal_level', current_setting('wal_level'), 'encoding', current_setting('server_encoding'),
            'may_replicate', (SELECT r.rolreplication OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user),
            'role', current_user, 'is_standby', pg_is_in_recovery(),
            'reads_all', (SELECT r.rolbypassrls OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user),
            'version', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook'),
            'schema', (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                       WHERE e.extname = 'webhook'),
            'publications', (SELECT jsonb_agg(p.pubname) FROM pg_publication p WHERE starts_with(p.pubname, 'webhook_')),
            'identity', (SELECT c.system_identifier || '/' || p.oid FROM pg_publication p, pg_control_system() c
                         WHERE p.pubname = 'webhook_node_reports'),
            'home_slot', (SELECT s.subslotname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
                          WHERE s.subname = 'webhook_home' AND d.datname = current_database()),
            'slots', (SELECT jsonb_agg(s.slot_name) FROM pg_replication_slots s))$question$);
    IF abs((server->>'started_at')::numeric - extract(epoch FROM pg_postmaster_start_time())) < 0.000001 THEN
        -- CREATE SUBSCRIPTION would wait for its own transaction.
        RAISE EXCEPTION 'the connection string leads to %', CASE server->>'database' WHEN current_database()
                        THEN 'this database itself' ELSE 'another database of this server' END
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Name the other server in the connection string.';
    ELSIF (server->>'is_standby')::boolean THEN
        RAISE EXCEPTION 'the server over there is a standby'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Name its primary in the connection string.';
    ELSIF server->>'version' IS NULL THEN
        RAISE EXCEPTION 'database "%" over there does not have the extension webhook', server->>'database'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Over there: CREATE EXTENSION webhook;';
    ELSIF server->>'version' <> (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook') THEN
        RAISE EXCEPTION 'the extension webhook has version % here and % over there',
                        (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook'), server->>'version'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'ALTER EXTENSION webhook UPDATE, where it is older.';
    ELSIF server->>'schema' <> '@extschema@' THEN
        RAISE EXCEPTION 'the extension webhook is in schema % here and in schema % over there', '@extschema@', server->>'schema'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Create it anew in the same schema on the node.';
    ELSIF server->>'encoding' <> current_setting('server_encoding') THEN
        RAISE EXCEPTION 'the encoding is % here and % over there', current_setting('server_encoding'), server->>'encoding'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Create the database of the node with the encoding of the home.';
    ELSIF server->>'wal_level' <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is % over there', server->>'wal_level'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Over there: ALTER SYSTEM SET wal_level = logical; then restart the server.';
    ELSIF NOT (server->>'may_replicate')::boolean THEN
        RAISE EXCEPTION 'role % may not replicate over there', server->>'role'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Over there: ALTER ROLE %s REPLICATION;', server->>'role');
    END IF;
    RETURN server;
END
$$;
COMMENT ON FUNCTION webhook_internal.ask_member(text) IS
    'Asks a home or a node for what a subscription to it takes. Raises 22023, 08001 or 55000, and says what to do.';

-- CREATE SUBSCRIPTION without its password in the server log.
CREATE FUNCTION webhook_internal.quiet_subscription(subscription name, conninfo text, publications text[], options text)
    RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH may AS (SELECT r.rolsuper AS hide FROM pg_roles r WHERE r.rolname = current_user),
         setting (name, value) AS (VALUES ('log_statement', 'none'), ('log_min_error_statement', 'panic'),
                                          ('log_min_duration_statement', '-1'))
    SELECT s.statement FROM (
        SELECT 1, format('SET %s = %L;', n.name, n.value) FROM setting n, may WHERE may.hide
        UNION ALL
        SELECT 2, format('CREATE SUBSCRIPTION %I CONNECTION %L PUBLICATION %s WITH (copy_data = false, streaming = on, %s);',
                         subscription, conninfo, array_to_string(publications, ', '), options)
        UNION ALL
        SELECT 3, format('RESET %s;', n.name) FROM setting n, may WHERE may.hide
    ) s (place, statement) ORDER BY s.place
$$;
COMMENT ON FUNCTION webhook_internal.quiet_subscription(name, text, text[], text) IS
    'The statements that create a subscription without a copy, and without its password in the server log.';

CREATE FUNCTION @extschema@.webhook_attach_node(name text, conninfo text, logs boolean DEFAULT true) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    subscription name := 'webhook_node_' || name;
    member jsonb;
BEGIN
    PERFORM webhook_internal.hide_statement();
    PERFORM webhook_internal.require_home();
    PERFORM webhook_internal.check_node_name(name);
    IF webhook_internal.own_subscription(subscription) IS NOT NULL THEN
        RAISE EXCEPTION 'node "%" is attached already', name
            USING ERRCODE = 'duplicate_object', HINT = 'Choose another name, or first webhook_detach_node().';
    ELSIF EXISTS (SELECT FROM webhook_internal.nodes n WHERE n.name = webhook_attach_node.name AND n.state <> 'attached') THEN
        RAISE EXCEPTION 'a node "%" has been lost or detached, and is not forgotten yet', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Choose another name, or webhook_detach_node(), and try again in a moment.';
    END IF;
    member := webhook_internal.ask_member(conninfo);
    IF NOT coalesce(member->'publications' @> '["webhook_node_reports"]', false) THEN
        RAISE EXCEPTION 'the database over there is not a node yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Over there: SELECT webhook_join_home(%L, ...)', name);
    ELSIF member->>'home_slot' IS DISTINCT FROM subscription THEN
        RAISE EXCEPTION 'the database over there has not joined as node "%"', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = CASE WHEN starts_with(member->>'home_slot', 'webhook_node_')
                                THEN format('It has joined as "%s".', substr(member->>'home_slot', length('webhook_node_') + 1))
                                ELSE 'Its subscription webhook_home has no replication slot of a node.' END,
                  HINT = 'Give the name and the connection string of the same node.';
    ELSIF NOT EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = subscription AND r.database = current_database()) THEN
        RAISE EXCEPTION 'node "%" has not joined this home', name
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('There is no replication slot "%s" here.', subscription),
                  HINT = 'Attach it at the home that it has joined.';
    ELSIF EXISTS (SELECT FROM webhook_internal.nodes n
                  WHERE n.name = webhook_attach_node.name AND n.identity <> member->>'identity') THEN
        RAISE EXCEPTION 'another database is attached as node "%"', name
            USING ERRCODE = 'duplicate_object', DETAIL = 'What it has not delivered would be forgotten.',
                  HINT = format('Choose another name. Or, if that node is lost: SELECT webhook_take_over(%1$L), then '
                                'webhook_detach_node(%1$L), and have this one join anew.', name);
    ELSIF coalesce(member->'slots' @> to_jsonb('webhook_home_' || name), false) THEN
        RAISE EXCEPTION 'the node has a replication slot "webhook_home_%" already', name
            USING ERRCODE = 'duplicate_object',
                  HINT = format('If no home uses it, over there: SELECT pg_drop_replication_slot(%L);', 'webhook_home_' || name);
    END IF;
    RETURN NEXT format('SELECT webhook_internal.add_node(%L, %L);', name, member->>'identity');
    RETURN QUERY SELECT s FROM webhook_internal.quiet_subscription(
        subscription, conninfo, CASE WHEN logs THEN '{webhook_node_reports,webhook_node_logs}' ELSE '{webhook_node_reports}' END::text[],
        format('slot_name = %I', 'webhook_home_' || name)) s;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_attach_node(text, text, boolean) IS
    'The statements, for gexec of psql, by which this home hears of a node that has joined it (webhook_join_home()): a '
    'subscription to what it reports, and to its log rows unless logs is false. Asks the node through dblink, and runs '
    'nothing. The node gets a share by webhook_share(). Raises 22023, 42602, 42710, 55000 or 08001, and says what to '
    'do.';

-- Nobody may draw or commit a number of webhook_switches_seq in between: then a session that knows of the division's
-- number, or of a later one, commits after it, so each node gets the division before the events that it applies to.
-- Edits queue behind a lock that is waited for. So it waits for moments only, though often: edits in a loop let it through,
-- and a transaction that stays open does not hold up the others.
CREATE FUNCTION webhook_internal.lock_switches() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms'
AS $$
DECLARE
    holders text;
BEGIN
    FOR attempt IN 1 .. 20 LOOP
        BEGIN
            LOCK TABLE @extschema@.webhook_configurations, @extschema@.webhook_node_shares IN SHARE ROW EXCLUSIVE MODE;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
    SELECT string_agg(DISTINCT CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE 'process ' || l.pid END, ', ')
    INTO holders
    FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.relation IN ('@extschema@.webhook_configurations'::regclass, '@extschema@.webhook_node_shares'::regclass)
      AND l.mode NOT IN ('AccessShareLock', 'RowShareLock');
    RAISE EXCEPTION 'webhooks are being edited'
        USING ERRCODE = 'lock_not_available',
              DETAIL = 'The transactions that have changed webhooks, and stay open: ' || coalesce(holders, 'none any more') || '.',
              HINT = 'Try again. pg_terminate_backend() ends the transaction of a process, ROLLBACK PREPARED one in '
                     'pg_prepared_xacts.';
END
$$;
COMMENT ON FUNCTION webhook_internal.lock_switches() IS
    'Keeps webhooks from being edited until the transaction ends. Tries for 2 s. Raises 55P03 if a transaction that has '
    'edited one stays open.';

CREATE FUNCTION @extschema@.webhook_share(nodes text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    number integer;
    unknown text := (SELECT n.name FROM unnest(webhook_share.nodes) n (name)
                     WHERE n.name <> 'home' AND NOT EXISTS (SELECT FROM webhook_internal.nodes k
                                                            WHERE k.name = n.name AND k.state = 'attached') LIMIT 1);
    copying text := (SELECT k.name FROM webhook_internal.nodes k
                     WHERE k.settled = 0 AND k.name = ANY (webhook_share.nodes) LIMIT 1);
    identity uuid := (SELECT i.instance FROM @extschema@.webhook_instance i);
BEGIN
    PERFORM webhook_internal.require_home();
    IF coalesce(cardinality(nodes), 0) = 0 OR array_position(nodes, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'webhook_share() takes the names of the nodes that deliver'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {home,east,west}, or {home} for this database alone.';
    ELSIF (SELECT count(DISTINCT n) FROM unnest(nodes) n) < cardinality(nodes) THEN
        RAISE EXCEPTION 'a node is named twice' USING ERRCODE = 'invalid_parameter_value', HINT = 'Name each node once.';
    ELSIF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'node "%" is not attached', unknown
            USING ERRCODE = 'undefined_object',
                  HINT = format('SELECT webhook_attach_node(%L, ...). webhook_nodes shows which are.', unknown);
    ELSIF copying IS NOT NULL THEN
        RAISE EXCEPTION 'node "%" has not reported yet that it has the webhooks', copying
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Try again in a moment. If that does not help, look at webhook_subscriptions, there and here.';
    ELSIF identity IS NULL THEN
        RAISE EXCEPTION 'no worker has started in this database yet'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Try again in a moment.';
    END IF;
    PERFORM webhook_internal.lock_switches();
    number := webhook_internal.draw_switch();
    IF number = 2147483647 THEN
        RAISE EXCEPTION 'the numbers of switches are used up'
            USING ERRCODE = 'sequence_generator_limit_exceeded', HINT = 'Webhooks can no longer be divided anew.';
    END IF;
    INSERT INTO @extschema@.webhook_node_shares (since, nodes, instance) VALUES (number, webhook_share.nodes, identity);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_share(text[]) IS
    'Divides the webhooks among these nodes, of which home is this database, from the next events on. Events that were '
    'captured before stay with the node that they fell to. Raises 22023, 42704 or 55000, and 55P03 while webhooks are '
    'being edited.';

CREATE FUNCTION @extschema@.webhook_take_over(node text, nodes text[] DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM webhook_internal.require_home();
    IF NOT EXISTS (SELECT FROM webhook_internal.nodes n WHERE n.name = node AND n.state = 'attached') THEN
        RAISE EXCEPTION 'node "%" is not attached, or was taken over from before', node
            USING ERRCODE = 'undefined_object', HINT = 'webhook_nodes shows the nodes of this home.';
    END IF;
    nodes := coalesce(nodes, nullif(array_remove(webhook_internal.last_division(), node), '{}'), '{home}');
    IF node = ANY (nodes) OR nodes = '{}' THEN
        RAISE EXCEPTION 'the nodes that take over must be others'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example nodes => {home}.';
    END IF;
    -- What it would still report is of no use any more.
    IF webhook_internal.own_subscription('webhook_node_' || node) IS NOT NULL THEN
        EXECUTE format('ALTER SUBSCRIPTION %I DISABLE', 'webhook_node_' || node);
    END IF;
    PERFORM @extschema@.webhook_share(nodes);
    PERFORM webhook_internal.retire_node(node);
    UPDATE webhook_internal.nodes n SET state = 'lost' WHERE n.name = node;
    RETURN (SELECT count(*) FROM webhook_internal.node_deliveries d WHERE d.node = webhook_take_over.node AND d.state = 'pending');
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_take_over(text, text[]) IS
    'Declares a node lost, and divides the webhooks among these nodes, by default those of the last division without '
    'it. This home sends what was pending at the node, as it had reported, and all events since its last mark, some '
    'seconds before it was lost, with the same webhook-ids. Returns how many were pending. A node that runs all the same '
    'pauses itself when it hears of it. Then webhook_detach_node(). Raises 42704, 22023, 55000 or 55P03.';

-- What transactions that are still open commit under an earlier division falls to the home.
CREATE FUNCTION webhook_internal.forget_node(name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF webhook_internal.own_subscription('webhook_node_' || forget_node.name) IS NOT NULL
       OR EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = 'webhook_node_' || forget_node.name) THEN
        RAISE EXCEPTION 'node "%" is not detached: its subscription or its replication slot is still here', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('SELECT webhook_detach_node(%L) returns what is to be done.', name);
    END IF;
    IF EXISTS (SELECT FROM webhook_internal.nodes n WHERE n.name = forget_node.name AND n.state = 'attached') THEN
        PERFORM webhook_internal.retire_node(name);
    END IF;
    UPDATE webhook_internal.nodes n SET state = 'gone' WHERE n.name = forget_node.name;
    PERFORM webhook_internal.wake();
END
$$;
COMMENT ON FUNCTION webhook_internal.forget_node(text) IS 'Used by the statements of webhook_detach_node().';

CREATE FUNCTION webhook_internal.is_behind(node text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT max(m.id) FROM webhook_internal.node_marks m)
                    > (SELECT n.settled FROM webhook_internal.nodes n WHERE n.name = is_behind.node), false)
$$;
COMMENT ON FUNCTION webhook_internal.is_behind(text) IS
    'Whether a node has not settled yet what the home had captured at its last mark.';

CREATE FUNCTION webhook_internal.check_may_detach(name text, is_lost boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pending bigint := (SELECT count(*) FROM webhook_internal.node_deliveries d
                       WHERE d.node = check_may_detach.name AND d.state = 'pending');
BEGIN
    PERFORM webhook_internal.require_home();
    IF is_lost IS NULL THEN
        RAISE EXCEPTION 'node "%" is not attached', name
            USING ERRCODE = 'undefined_object', HINT = 'webhook_nodes shows the nodes of this home.';
    ELSIF name = ANY (webhook_internal.last_division()) THEN
        RAISE EXCEPTION 'node "%" has a share of the webhooks', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'First webhook_share() without it, or webhook_take_over() if it is lost.';
    ELSIF NOT is_lost AND (pending > 0 OR webhook_internal.is_behind(name)) THEN
        RAISE EXCEPTION 'node "%" has not finished', name
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('%s deliveries are pending there.', pending),
                  HINT = format('Wait. If it is lost, the home takes them over: SELECT webhook_take_over(%L);', name);
    ELSIF EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = 'webhook_node_' || name AND r.active) THEN
        RAISE EXCEPTION 'node "%" is still subscribed to this home', name
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'On the node: DROP SUBSCRIPTION webhook_home;';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_may_detach(text, boolean) IS
    'Raises 42704 or 55000 if a node cannot be detached yet. is_lost: null if it is not attached.';

CREATE FUNCTION @extschema@.webhook_detach_node(name text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    is_lost boolean := (SELECT n.state = 'lost' FROM webhook_internal.nodes n
                        WHERE n.name = webhook_detach_node.name AND n.state <> 'gone');
    -- From an extension that was dropped, or from a dump.
    is_left_over boolean := is_lost IS NULL AND (
        webhook_internal.own_subscription('webhook_node_' || name) IS NOT NULL
        OR EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = 'webhook_node_' || name AND r.database = current_database()));
BEGIN
    is_lost := is_lost OR is_left_over;
    PERFORM webhook_internal.check_may_detach(name, is_lost);
    IF webhook_internal.own_subscription('webhook_node_' || name) IS NOT NULL THEN
        -- A lost node has the slot no more, or never will be asked for it.
        IF is_lost THEN
            RETURN NEXT format('ALTER SUBSCRIPTION %I DISABLE;', 'webhook_node_' || name);
            RETURN NEXT format('ALTER SUBSCRIPTION %I SET (slot_name = NONE);', 'webhook_node_' || name);
        END IF;
        RETURN NEXT format('DROP SUBSCRIPTION %I;', 'webhook_node_' || name);
    END IF;
    IF EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = 'webhook_node_' || name) THEN
        RETURN NEXT format('SELECT pg_drop_replication_slot(%L);', 'webhook_node_' || name);
    END IF;
    IF NOT is_left_over THEN
        RETURN NEXT format('SELECT webhook_internal.forget_node(%L);', name);
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_detach_node(text) IS
    'The statements, for gexec of psql, by which this home forgets a node that has no share any more and has finished, '
    'or that was taken over from. A node that runs first has to DROP SUBSCRIPTION webhook_home. They drop the slot that '
    'keeps WAL for a lost one. Runs nothing. Raises 42704 or 55000, and says what to do.';

-- --- What is seen of it ---------------------------------------------------------------------------------------------------

-- Asks nobody: what the nodes have reported. SECURITY DEFINER, because operators may not read the internal tables.
CREATE FUNCTION webhook_internal.node_states(
    OUT node text, OUT state text, OUT share text, OUT webhooks bigint, OUT is_connected boolean, OUT reports boolean, OUT lag interval,
    OUT pending bigint, OUT dead bigint, OUT retained_bytes bigint, OUT limit_bytes bigint, OUT wal_status text)
    RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH last (nodes) AS (
        SELECT d FROM webhook_internal.last_division() d WHERE d IS NOT NULL
    ), member (name) AS (
        SELECT 'home' UNION ALL SELECT n.name FROM webhook_internal.nodes n WHERE n.state <> 'gone'
    ), owned AS (
        SELECT l.nodes[webhook_internal.node_number(c.id, cardinality(l.nodes))] AS name, count(*) AS webhooks
        FROM last l, @extschema@.webhook_configurations c GROUP BY 1
    )
    SELECT m.name, coalesce(n.state, 'attached'),
           array_position(coalesce(l.nodes, '{home}'), m.name) || ' of ' || cardinality(coalesce(l.nodes, '{home}')),
           CASE WHEN l.nodes IS NULL THEN (SELECT count(*) FROM @extschema@.webhook_configurations WHERE m.name = 'home')
                ELSE coalesce(o.webhooks, 0) END,
           m.name = 'home' OR coalesce(r.active, false), m.name = 'home' OR webhook_internal.is_heard(m.name),
           CASE WHEN m.name <> 'home' THEN coalesce(
               (SELECT clock_timestamp() - min(k.made_at) FROM webhook_internal.node_marks k WHERE k.id > n.settled), '0') END,
           CASE WHEN m.name <> 'home' THEN (SELECT count(*) FROM webhook_internal.node_deliveries d
                                            WHERE d.node = m.name AND d.state = 'pending') END,
           CASE WHEN m.name <> 'home' THEN (SELECT count(*) FROM webhook_internal.node_deliveries d
                                            WHERE d.node = m.name AND d.state = 'dead') END,
           pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                           r.restart_lsn)::bigint,
           CASE WHEN m.name <> 'home' THEN
               (SELECT nullif(s.setting::numeric, -1) * 1048576 FROM pg_settings s WHERE s.name = 'max_slot_wal_keep_size') END::bigint,
           r.wal_status
    FROM member m
    LEFT JOIN last l ON true
    LEFT JOIN owned o ON o.name = m.name
    LEFT JOIN webhook_internal.nodes n ON n.name = m.name
    LEFT JOIN pg_replication_slots r ON r.slot_name = 'webhook_node_' || m.name
    WHERE NOT EXISTS (SELECT FROM webhook_internal.this_node)
$$;
COMMENT ON FUNCTION webhook_internal.node_states() IS 'The rows of webhook_nodes.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'EXECUTE ON FUNCTION webhook_internal.node_states()');

CREATE FUNCTION webhook_internal.is_heard(node text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_stat_subscription u
                   WHERE u.subid = webhook_internal.own_subscription('webhook_node_' || node) AND u.relid IS NULL AND u.pid IS NOT NULL)
$$;
COMMENT ON FUNCTION webhook_internal.is_heard(text) IS 'Whether this home receives what a node reports.';

-- By the catalog alone: webhook_health() waits for nobody who has locked a table.
CREATE FUNCTION webhook_internal.nodes_down(OUT down text, OUT cut_off text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(m.name, ', ' ORDER BY m.name) FILTER (WHERE r.wal_status IS DISTINCT FROM 'lost'),
           string_agg(m.name, ', ' ORDER BY m.name) FILTER (WHERE r.wal_status = 'lost')
    FROM (SELECT substr(n.slot_name, length('webhook_node_') + 1) AS name FROM pg_replication_slots n
          WHERE starts_with(n.slot_name, 'webhook_node_') AND n.database = current_database()
          UNION
          SELECT substr(s.subname, length('webhook_node_') + 1) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
          WHERE starts_with(s.subname, 'webhook_node_') AND d.datname = current_database()) m
    LEFT JOIN pg_replication_slots r ON r.slot_name = 'webhook_node_' || m.name
    WHERE r.active IS NOT TRUE OR NOT webhook_internal.is_heard(m.name)
$$;
COMMENT ON FUNCTION webhook_internal.nodes_down() IS
    'The nodes that receive or report nothing, and those for which WAL is no longer kept. A lost one is among them until it is '
    'detached.';

CREATE FUNCTION webhook_internal.behind_since(node text) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(m.made_at) FROM webhook_internal.nodes n JOIN webhook_internal.node_marks m ON m.id > n.settled
    WHERE n.name = behind_since.node HAVING min(m.made_at) < clock_timestamp() - interval '1 minute'
$$;
COMMENT ON FUNCTION webhook_internal.behind_since(text) IS
    'The time of the first mark that a node has not settled, if that is more than a minute ago.';

-- It has to wait for nobody, and is no alarm if somebody has locked these tables.
CREATE FUNCTION webhook_internal.nodes_behind() RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms'
AS $$
BEGIN
    RETURN (SELECT string_agg(n.name, ', ' ORDER BY n.name) FROM webhook_internal.nodes n
            JOIN pg_replication_slots r ON r.slot_name = 'webhook_node_' || n.name AND r.active
            WHERE n.state = 'attached' AND webhook_internal.is_heard(n.name)
              AND webhook_internal.behind_since(n.name) IS NOT NULL);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.nodes_behind() IS
    'The nodes that are connected and have not settled what was captured more than a minute ago.';

-- SECURITY DEFINER, because tenants cannot read how webhooks are divided.
CREATE FUNCTION webhook_internal.check_node(webhook uuid)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.severity, f.finding, f.hint
    FROM (SELECT d[webhook_internal.node_number(webhook, cardinality(d))] AS node
          FROM webhook_internal.last_division() d WHERE d IS NOT NULL) o
    LEFT JOIN pg_replication_slots r ON r.slot_name = 'webhook_node_' || o.node
    CROSS JOIN LATERAL (SELECT webhook_internal.behind_since(o.node) AS since) b
    CROSS JOIN LATERAL (VALUES
        (o.node <> 'home' AND r.active IS NOT TRUE, 'error',
         format('node "%s", to which the webhook falls, is not connected', o.node),
         'Its deliveries wait. Start the node, or, if it is lost, webhook_take_over() at the home.'),
        (o.node <> 'home' AND r.active, 'info', format('node "%s" delivers it', o.node), NULL),
        (o.node <> 'home' AND r.active AND b.since IS NOT NULL, 'warning',
         format('node "%s" has not finished what was captured since %s', o.node, b.since),
         'It is behind, paused or switched off. webhook_health() there says why.')
    ) f (applies, severity, finding, hint)
    WHERE f.applies AND NOT EXISTS (SELECT FROM webhook_internal.this_node)
$$;
COMMENT ON FUNCTION webhook_internal.check_node(uuid) IS
    'The finding of webhook_check() about the node that a webhook falls to.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'EXECUTE ON FUNCTION webhook_internal.check_node(uuid)');

CREATE VIEW @extschema@.webhook_nodes WITH (security_invoker) AS
    SELECT s.node, s.state, s.share, s.webhooks, s.is_connected, s.reports, s.lag, s.pending, s.dead, s.retained_bytes, s.limit_bytes,
           s.wal_status
    FROM webhook_internal.node_states() s;
COMMENT ON VIEW @extschema@.webhook_nodes IS
    'At a home: itself and the nodes that share its webhooks, as they have reported. Empty on a node.';
COMMENT ON COLUMN @extschema@.webhook_nodes.node IS 'The name of the node; home is this database.';
COMMENT ON COLUMN @extschema@.webhook_nodes.state IS
    'attached, or lost: webhook_take_over() was called for it.';
COMMENT ON COLUMN @extschema@.webhook_nodes.share IS 'Which share it has, as "2 of 3"; null if it has none.';
COMMENT ON COLUMN @extschema@.webhook_nodes.webhooks IS 'How many webhooks fall to it.';
COMMENT ON COLUMN @extschema@.webhook_nodes.is_connected IS 'Whether it receives events from here.';
COMMENT ON COLUMN @extschema@.webhook_nodes.reports IS 'Whether its reports are received here.';
COMMENT ON COLUMN @extschema@.webhook_nodes.lag IS
    'The age of the oldest events that may not be settled there yet, as far as it has reported, in steps of some '
    'seconds; 0 if there are none. Null for the home.';
COMMENT ON COLUMN @extschema@.webhook_nodes.pending IS 'How many deliveries are pending there. Null for the home.';
COMMENT ON COLUMN @extschema@.webhook_nodes.dead IS 'How many deliveries are dead there. Null for the home.';
COMMENT ON COLUMN @extschema@.webhook_nodes.retained_bytes IS 'How much WAL is kept here for it.';
COMMENT ON COLUMN @extschema@.webhook_nodes.limit_bytes IS
    'max_slot_wal_keep_size: when more WAL is kept for it, it is cut off. Null: there is no limit.';
COMMENT ON COLUMN @extschema@.webhook_nodes.wal_status IS 'As in pg_replication_slots. lost: it has been cut off.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'SELECT ON @extschema@.webhook_nodes');

-- --- A node -------------------------------------------------------------------------------------------------------------

CREATE FUNCTION webhook_internal.become_node(name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation text;
BEGIN
    IF EXISTS (SELECT FROM webhook_internal.this_node) THEN
        RETURN;
    END IF;
    INSERT INTO webhook_internal.this_node VALUES (become_node.name);
    FOR segment IN 0 .. 11 LOOP
        relation := format('@extschema@.webhook_events_%s', segment);
        EXECUTE format('CREATE TRIGGER webhook_0_receive BEFORE INSERT ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION webhook_internal.receive()', relation);
        EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_0_receive', relation);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['webhook_event_types', 'webhook_configurations', 'webhook_secrets', 'webhook_node_shares'] LOOP
        EXECUTE format('CREATE TRIGGER webhook_0_refuse_edit BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.refuse_edit()', relation);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['webhook_deliveries', 'webhook_minutes', 'webhook_hours', 'webhook_endpoints'] LOOP
        EXECUTE format('CREATE TRIGGER webhook_report_new AFTER INSERT ON @extschema@.%I REFERENCING NEW TABLE AS now '
                       'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.report_rows()', relation);
        EXECUTE format('CREATE TRIGGER webhook_report_changed AFTER UPDATE ON @extschema@.%I REFERENCING NEW TABLE AS now '
                       'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.report_rows()', relation);
        EXECUTE format('CREATE TRIGGER webhook_report_gone AFTER DELETE ON @extschema@.%I REFERENCING OLD TABLE AS before '
                       'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.report_rows()', relation);
    END LOOP;
    -- From an extension that was dropped.
    DROP PUBLICATION IF EXISTS webhook_node_reports;
    DROP PUBLICATION IF EXISTS webhook_node_logs;
    CREATE PUBLICATION webhook_node_reports FOR TABLE @extschema@.webhook_node_reports WITH (publish = 'insert');
    EXECUTE format('CREATE PUBLICATION webhook_node_logs FOR TABLE %s WITH (publish = ''insert'')',
                   (SELECT string_agg(format('@extschema@.webhook_logs_%s', n), ', ') FROM generate_series(0, 11) n));
    -- Last, because a sequence does not roll back. Numbers come from the home: none is higher than what this sequence has drawn.
    PERFORM setval('@extschema@.webhook_switches_seq', 2147483647);
    -- So do ids. What should be captured here all the same must not get one of them.
    PERFORM setval('@extschema@.webhook_events_id_seq', 4611686018427387904);
    PERFORM webhook_internal.renew_ids();
END
$$;
COMMENT ON FUNCTION webhook_internal.become_node(text) IS 'Used by the statements of webhook_join_home().';

CREATE FUNCTION webhook_internal.check_may_join(name text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own text := (SELECT n.name FROM webhook_internal.this_node n);
    problem text;
BEGIN
    PERFORM webhook_internal.check_node_name(name);
    IF own <> name OR webhook_internal.own_subscription('webhook_home') IS NOT NULL THEN
        RAISE EXCEPTION 'this database is node "%" already', coalesce(own, name)
            USING ERRCODE = 'duplicate_object', HINT = 'A node keeps its name. To begin anew: DROP SUBSCRIPTION webhook_home; '
                                                       'DROP EXTENSION webhook CASCADE; CREATE EXTENSION webhook;';
    END IF;
    problem := CASE
        WHEN EXISTS (SELECT FROM @extschema@.webhook_node_shares) THEN 'it has been a node or a home before'
        WHEN EXISTS (SELECT FROM @extschema@.webhook_configurations) THEN 'it has webhooks'
        WHEN EXISTS (SELECT FROM @extschema@.webhook_watches) THEN 'events are declared on its tables'
        WHEN EXISTS (SELECT FROM @extschema@.webhook_events) THEN 'it has captured events'
        WHEN EXISTS (SELECT FROM webhook_internal.nodes) THEN 'it is a home' END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'this database cannot become a node: %', problem
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'A node gets its webhooks and its events from the home. Take another database, or DROP EXTENSION webhook '
                         'CASCADE; CREATE EXTENSION webhook;';
    ELSIF current_setting('wal_level') <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is %', current_setting('wal_level')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SYSTEM SET wal_level = logical; then restart the server. The home hears of the node through it.';
    ELSIF NOT EXISTS (SELECT FROM @extschema@.webhook_instance) THEN
        RAISE EXCEPTION 'no worker has started in this database yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = CASE WHEN @extschema@.webhook_is_preloaded() THEN 'Try again in a moment.'
                              ELSE 'Add webhook to shared_preload_libraries and restart the server.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_may_join(text) IS
    'Raises 42602, 42710 or 55000 if this database cannot become a node of that name.';

CREATE FUNCTION @extschema@.webhook_join_home(name text, conninfo text) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    member jsonb;
    held jsonb;
    problem text;
BEGIN
    PERFORM webhook_internal.hide_statement();
    PERFORM webhook_internal.check_may_join(name);
    member := webhook_internal.ask_member(conninfo);
    IF NOT coalesce(member->'publications' @> '["webhook_home", "webhook_home_events"]', false) THEN
        RAISE EXCEPTION 'the database over there is not a home yet'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Over there: SELECT webhook_home();';
    ELSIF NOT (member->>'reads_all')::boolean THEN
        -- The copy would lack all webhooks, without an error.
        RAISE EXCEPTION 'row-level security hides the webhooks from role % over there', member->>'role'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Over there: ALTER ROLE %s BYPASSRLS; as webhook_home() does.', member->>'role');
    END IF;
    held := webhook_internal.ask_source(conninfo, $question$
        SELECT jsonb_build_object(
            'nodes', (SELECT to_jsonb(s.nodes) FROM @extschema@.webhook_node_shares s ORDER BY s.since DESC LIMIT 1),
            'secrets', (SELECT jsonb_agg(k) FROM (SELECT DISTINCT ON (s.key_id) s.configuration_id, s.key_id, s.secret
                                                  FROM @extschema@.webhook_secrets s WHERE s.key_id IS NOT NULL
                                                  ORDER BY s.key_id) k))$question$);
    problem := (SELECT min(webhook_internal.secret_problem((k->>'configuration_id')::uuid, k->>'key_id', k->>'secret'))
                FROM jsonb_array_elements(nullif(held->'secrets', 'null')) k);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'the secrets of the home cannot be decrypted here'
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'One of them: ' || problem || '.',
                  HINT = 'Set webhook.secret_key_file to a copy of the home''s file, and reload.';
    ELSIF held->'nodes' @> to_jsonb(name) THEN
        -- It would deliver at once, and what the other has left would be forgotten.
        RAISE EXCEPTION 'another node "%" has a share at the home', name
            USING ERRCODE = 'duplicate_object',
                  HINT = format('Choose another name. Or, if that node is lost, over there: SELECT webhook_take_over(%1$L), then '
                                'webhook_detach_node(%1$L).', name);
    ELSIF coalesce(member->'slots' @> to_jsonb('webhook_node_' || name), false) THEN
        RAISE EXCEPTION 'the home has a replication slot "webhook_node_%" already', name
            USING ERRCODE = 'duplicate_object', DETAIL = 'It belongs to another node, or to one that is gone.',
                  HINT = format('Choose another name, or, if no node uses it, over there: SELECT pg_drop_replication_slot(%L);',
                                'webhook_node_' || name);
    END IF;
    RETURN NEXT format('SELECT webhook_internal.become_node(%L);', name);
    RETURN QUERY SELECT s FROM webhook_internal.quiet_subscription(
        'webhook_home', conninfo, '{webhook_home_events}', format('slot_name = %I', 'webhook_node_' || name)) s;
    -- The webhooks are copied. Events are not: those from before belong to others.
    RETURN NEXT 'ALTER SUBSCRIPTION webhook_home ADD PUBLICATION webhook_home;';
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_join_home(text, text) IS
    'The statements, for gexec of psql, that make this database a node of a home, under a name: it subscribes to the '
    'home''s webhooks and events. Asks the home through dblink, and runs nothing. Raises 22023, 42602, 42710, 55000 or '
    '08001, and says what to do.';

-- --- What has changed elsewhere ----------------------------------------------------------------------------------------

-- SECURITY DEFINER, because operators may not read the internal tables. The privilege to execute it is theirs alone.
CREATE FUNCTION webhook_internal.pause_nodes(command text, reason text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- take_command() changes the same row on a node. An open transaction would stop the apply worker.
    PERFORM webhook_internal.require_home();
    PERFORM webhook_internal.command_nodes(command, NULL, NULL, reason);
END
$$;
COMMENT ON FUNCTION webhook_internal.pause_nodes(text, text) IS 'Pauses the nodes of this home, or has them resume.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.pause_nodes(text, text)');

CREATE OR REPLACE FUNCTION webhook_internal.set_paused(paused boolean, reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE @extschema@.webhook_instance SET is_paused = paused, paused_reason = reason;
    IF NOT FOUND THEN
        PERFORM webhook_internal.require_home();
        RAISE EXCEPTION 'no worker has started in this database yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Nothing is delivered before that. The first worker creates the row of webhook_instance.',
                  HINT = CASE WHEN @extschema@.webhook_is_preloaded()
                              THEN 'Try again in a moment. If that fails, the server log says why no worker starts.'
                              ELSE 'Add webhook to shared_preload_libraries and restart the server.' END;
    END IF;
    PERFORM webhook_internal.wake();
END
$$;

CREATE OR REPLACE FUNCTION @extschema@.webhook_pause(reason text DEFAULT NULL) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.pause_nodes('pause', coalesce(reason, 'paused by ' || session_user));
    SELECT webhook_internal.set_paused(true, coalesce(reason, 'paused by ' || session_user))
$$;
COMMENT ON FUNCTION @extschema@.webhook_pause(text) IS
    'Pauses all deliveries of this database, and of its nodes, until webhook_resume(). Events are captured as usual. Raises '
    '55000 if no worker has started yet.';

CREATE OR REPLACE FUNCTION @extschema@.webhook_resume() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.pause_nodes('resume', NULL);
    SELECT webhook_internal.set_paused(false, NULL)
$$;
COMMENT ON FUNCTION @extschema@.webhook_resume() IS
    'Ends webhook_pause(), also at the nodes, and confirms that a restored copy of a database may deliver. Raises 55000 if no '
    'worker has started yet.';

ALTER TABLE @extschema@.webhook_secrets ADD COLUMN id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid();
ALTER TABLE @extschema@.webhook_secrets ADD CONSTRAINT webhook_secrets_pkey PRIMARY KEY (id);
ALTER TABLE @extschema@.webhook_secrets REPLICA IDENTITY DEFAULT;
COMMENT ON COLUMN @extschema@.webhook_secrets.id IS
    'By which logical replication finds the row on a node, where created_xid is another one.';
CREATE TRIGGER webhook_invalidate_replicated AFTER INSERT OR UPDATE OR DELETE ON @extschema@.webhook_secrets
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_secrets ENABLE REPLICA TRIGGER webhook_invalidate_replicated;

COMMENT ON FUNCTION webhook_internal.is_worker() IS
    'Whether this process is a worker of the extension, or applies what that of a node reports.';

CREATE OR REPLACE FUNCTION webhook_internal.note_missed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_noted boolean := true;
    same_key text;
BEGIN
    IF to_regclass(TG_ARGV[0]) IS NULL OR to_regclass(TG_ARGV[1]) IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', TG_ARGV[1]::regclass) INTO is_noted;
    IF is_noted THEN
        RETURN NULL;
    END IF;
    -- By the operators of the primary key, wherever they are, and by the values as they are stored: not each of them can be
    -- compared, or be jsonb.
    SELECT string_agg(format('webhook_before.%1$I OPERATOR(%2$I.%3$s) webhook_after.%1$I', a.attname, n.nspname, o.oprname), ' AND ')
    INTO same_key
    FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) k (attnum, opclass)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    JOIN pg_opclass c ON c.oid = k.opclass
    JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
    JOIN pg_operator o ON o.oid = m.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE i.indrelid = TG_ARGV[0]::regclass AND i.indisprimary;
    EXECUTE format(
        'INSERT INTO %2$s (change, key, before, after) '
        'SELECT CASE WHEN webhook_before.%5$I IS NULL THEN ''created'' WHEN webhook_after.%5$I IS NULL THEN ''deleted'' '
        '            ELSE ''updated'' END, jsonb_build_object(%3$s), '
        '       CASE WHEN webhook_before.%5$I IS NOT NULL THEN row_to_json(webhook_before) END, '
        '       CASE WHEN webhook_after.%5$I IS NOT NULL THEN row_to_json(webhook_after) END '
        'FROM %1$s webhook_before FULL JOIN copied webhook_after ON %4$s '
        'WHERE webhook_before *<> webhook_after OR webhook_before.%5$I IS NULL OR webhook_after.%5$I IS NULL',
        TG_ARGV[0]::regclass, TG_ARGV[1]::regclass,
        (SELECT string_agg(format('%L, coalesce(webhook_after.%2$I, webhook_before.%2$I)', k.name, k.name), ', ')
         FROM unnest(TG_ARGV[2]::name[]) k (name)),
        same_key, (TG_ARGV[2]::name[])[1]);
    EXECUTE format('INSERT INTO %s (change) VALUES (''copied'')', TG_ARGV[1]::regclass);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION webhook_internal.beside(source regclass, suffix text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I.%I', n.nspname, CASE WHEN octet_length(c.relname || suffix) <= 63 THEN c.relname::text
                                           ELSE (SELECT max(left(c.relname::text, k) COLLATE "C") FROM generate_series(1, 48) k
                                                 WHERE octet_length(left(c.relname::text, k)) <= 48)
                                                || '_' || left(md5(c.relname::text), 6) END || suffix)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source
$$;

CREATE OR REPLACE FUNCTION webhook_internal.check_own_event(event text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.require_home();
    IF starts_with(event, 'webhook.') THEN
        RAISE EXCEPTION 'event name "%" is reserved', event
            USING ERRCODE = 'reserved_name',
                  DETAIL = 'Names that begin with "webhook." are for events about webhooks themselves.',
                  HINT = 'Choose another name.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_own_event(text) IS
    'Raises an error if the name is reserved for events about webhooks (42939), or if this database is a node, whose '
    'events are its home''s (55000).';

CREATE OR REPLACE FUNCTION webhook_internal.count_deliveries(organization text, rows_max bigint) RETURNS bigint
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

CREATE OR REPLACE FUNCTION webhook_internal.queue_events(held @extschema@.webhook_configurations, events bigint[]) RETURNS bigint
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

CREATE OR REPLACE FUNCTION webhook_internal.hold(webhook uuid) RETURNS @extschema@.webhook_configurations
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

CREATE OR REPLACE FUNCTION webhook_internal.cancel_operator(webhook uuid, cancelled bigint) RETURNS bigint
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

CREATE OR REPLACE FUNCTION webhook_internal.check_webhook(configuration_id uuid)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    webhook @extschema@.webhook_configurations;
BEGIN
    -- These columns alone, because level read does not see all.
    SELECT c.id, c.url, c.is_active, c.disabled_at, c.disabled_reason, c.created_at, c.organization_id
    INTO webhook.id, webhook.url, webhook.is_active, webhook.disabled_at, webhook.disabled_reason, webhook.created_at,
         webhook.organization_id
    FROM @extschema@.webhook_configurations c WHERE c.id = check_webhook.configuration_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', configuration_id
            USING ERRCODE = 'undefined_object';
    END IF;
    RETURN QUERY SELECT s.severity, s.finding, s.hint FROM webhook_internal.check_settings(webhook) s;
    RETURN QUERY SELECT s.severity, s.finding, s.hint FROM webhook_internal.check_sources(webhook.id) s;
    RETURN QUERY SELECT s.severity, s.finding, s.hint FROM webhook_internal.check_subscriptions(webhook.id) s;
    RETURN QUERY SELECT n.severity, n.finding, n.hint FROM webhook_internal.check_node(webhook.id) n;
    -- What waits there without an attempt, and with an error, lacks something on the node.
    RETURN QUERY SELECT 'error', 'the node that delivers it cannot send it: ' || f.last_error,
                        'Its deliveries wait there until that is mended.'
    FROM (SELECT d.attempts, d.last_error FROM @extschema@.webhook_deliveries d
          WHERE d.configuration_id = webhook.id AND d.configuration_created_at = webhook.created_at AND d.state = 'pending'
            AND d.tableoid = 'webhook_internal.node_deliveries'::regclass
          ORDER BY d.next_attempt_at LIMIT 1) f
    WHERE f.attempts = 0 AND f.last_error IS NOT NULL;
    RETURN QUERY SELECT a.severity, a.finding, a.hint FROM webhook_internal.check_attempts(webhook) a;
    RETURN QUERY SELECT d.severity, d.finding, d.hint FROM webhook_internal.check_deliveries(webhook) d;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_webhook(uuid) IS
    'The findings of webhook_check() about the webhook itself. Raises 42704 if there is no such webhook.';

CREATE OR REPLACE FUNCTION webhook_internal.summarize(webhooks uuid[]) RETURNS SETOF json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH webhook AS (
        SELECT c.id, c.organization_id, c.name, c.url, c.events, c.is_active, c.updated_at, c.created_at,
               c.disabled_reason, u.place
        FROM unnest(webhooks) WITH ORDINALITY u (id, place) JOIN @extschema@.webhook_configurations c ON c.id = u.id
    ), shown AS MATERIALIZED (
        SELECT s.hour FROM generate_series(date_trunc('hour', now(), 'UTC') - interval '23 hours',
                                           date_trunc('hour', now(), 'UTC'), interval '1 hour') s (hour)
    ), hour AS (
        SELECT w.id, r.hour, r.attempts, r.successes, r.unjudged, r.durations
        FROM webhook w JOIN @extschema@.webhook_hours r
             ON r.configuration_id = w.id AND r.configuration_created_at = w.created_at
                AND r.organization_id IS NOT DISTINCT FROM w.organization_id
        WHERE r.slot = ANY (ARRAY(SELECT webhook_internal.hour_slot(s.hour) FROM shown s))
          AND r.hour >= date_trunc('hour', now(), 'UTC') - interval '23 hours'
    ), day AS (
        SELECT h.id, sum(h.attempts) AS attempts, sum(h.successes) AS successes, sum(h.unjudged) AS unjudged,
               webhook_internal.sum_durations(h.durations) AS durations
        FROM hour h GROUP BY h.id
    ), bars AS (
        SELECT w.id, json_agg(json_build_object('hour', s.hour, 'attempts', coalesce(h.attempts, 0),
                                                'successes', coalesce(h.successes, 0)) ORDER BY s.hour) AS hours
        FROM webhook w CROSS JOIN shown s
        LEFT JOIN (SELECT h.id, h.hour, sum(h.attempts) AS attempts, sum(h.successes) AS successes FROM hour h GROUP BY h.id, h.hour) h
               ON h.id = w.id AND h.hour = s.hour
        GROUP BY w.id
    )
    SELECT json_build_object(
        'id', w.id, 'organization', w.organization_id, 'name', w.name,
        'host', substring(w.url FROM '^[a-zA-Z]+://([^/?#]+)'), 'events', w.events, 'is_active', w.is_active,
        'updated_at', w.updated_at,
        'hours', b.hours,
        'attempts', coalesce(d.attempts, 0), 'successes', coalesce(d.successes, 0),
        'success_percent', round(100.0 * d.successes / nullif(d.attempts, 0), 1),
        'p50_ms', webhook_internal.duration_quantile(d.durations, 0.5),
        'p95_ms', webhook_internal.duration_quantile(d.durations, 0.95),
        'pending', json_build_object('count', least(p.pending, c.count_max), 'is_more', p.pending > c.count_max),
        'dead', json_build_object('count', least(p.dead, c.count_max), 'is_more', p.dead > c.count_max),
        'circuit', json_build_object(
            'state', CASE WHEN e.circuit_opened_at IS NULL THEN 'closed' ELSE 'open' END,
            'opened_at', e.circuit_opened_at, 'next_probe_at', e.next_probe_at, 'failing_since', e.failing_since),
        'last_success_at', e.last_success_at, 'last_failure_at', e.last_failure_at, 'last_error', e.last_error,
        'unjudged', coalesce(d.unjudged, 0), 'filter_error', e.filter_error, 'disabled_reason', w.disabled_reason)
    FROM (SELECT CASE WHEN cardinality(webhooks) > 1 THEN 100 ELSE 1000 END AS count_max) c
    CROSS JOIN webhook w
    JOIN bars b ON b.id = w.id
    LEFT JOIN day d ON d.id = w.id
    LEFT JOIN @extschema@.webhook_endpoints e
           ON e.configuration_id = w.id AND e.configuration_created_at = w.created_at
              AND e.organization_id IS NOT DISTINCT FROM w.organization_id
    CROSS JOIN LATERAL webhook_internal.count_deliveries(w.id, w.created_at, w.organization_id, c.count_max + 1) p
    ORDER BY w.place
$$;
COMMENT ON FUNCTION webhook_internal.summarize(uuid[]) IS
    'The summaries of webhook_api of those webhooks that the caller sees, in the given order.';

CREATE OR REPLACE FUNCTION webhook_internal.grant_new_privileges() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        WITH new AS (
            SELECT p.privilege, p.levels FROM webhook_internal.privileges p WHERE p.xmin = pg_current_xact_id()::xid
        ), marked AS (
            -- A privilege that the level has, and the one below it has not.
            SELECT m.rank, m.level, acl.grantee
            FROM (VALUES (0, 'monitor', 'webhook_internal.progress()'::regprocedure),
                         (1, 'read', 'webhook_internal.library_version()'::regprocedure),
                         (2, 'manage', 'webhook_internal.redeliver_tenant(uuid, bigint[])'::regprocedure),
                         (3, 'operate', '@extschema@.webhook_is_operator()'::regprocedure)) m (rank, level, function)
            JOIN pg_proc f ON f.oid = m.function, aclexplode(f.proacl) acl
            WHERE acl.privilege_type = 'EXECUTE' AND acl.grantee NOT IN (0, f.proowner, 'pg_monitor'::regrole)
        ), role AS (
            SELECT DISTINCT ON (m.grantee) m.grantee, m.level FROM marked m ORDER BY m.grantee, m.rank DESC
        )
        SELECT format('GRANT %s TO %s', new.privilege, role.grantee::regrole) FROM new JOIN role ON role.level = ANY (new.levels)
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.grant_new_privileges() IS
    'Grants the rows that this transaction has inserted into webhook_internal.privileges to the roles of their levels. A role '
    'has the level that webhook_grant() gave it last.';

CREATE OR REPLACE FUNCTION webhook_internal.start_replay_operator(
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

CREATE OR REPLACE FUNCTION webhook_internal.health_of_deliveries(f webhook_internal.health_facts)
    RETURNS TABLE (component text, status text, reason text, remedy text)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.component, p.status, p.reason, p.remedy FROM (SELECT webhook_internal.nodes_behind() AS behind) b, LATERAL (VALUES
        (f.is_enabled AND NOT f.is_paused AND f.oldest_event_at < clock_timestamp() - interval '2 min', 'lag',
         CASE WHEN f.oldest_event_at < clock_timestamp() - interval '10 min' THEN 'failing' ELSE 'degraded' END,
         format('the oldest event that is neither delivered nor in webhook_deliveries is of %s', f.oldest_event_at),
         'After a pause or an outage this passes: webhook_progress shows how fast. Otherwise raise webhook.workers, or look '
         'at what the workers wait for in pg_stat_activity.'),
        (f.overdue_since < clock_timestamp() - interval '5 min', 'deliveries', 'degraded',
         format('since %s more pending deliveries are due than the workers can fetch', f.overdue_since),
         'It passes when a backlog is worked off. Otherwise raise webhook.workers or webhook.max_in_flight.'),
        (least(f.events_kept_since, f.logs_kept_since) < clock_timestamp() - interval '1 min', 'storage', 'degraded',
         format('the oldest segment of %s cannot be emptied since %s: the current one grows',
                CASE WHEN f.events_kept_since IS NULL THEN 'webhook_logs'
                     WHEN f.logs_kept_since IS NULL THEN 'webhook_events' ELSE 'webhook_events and of webhook_logs' END,
                least(f.events_kept_since, f.logs_kept_since)),
         'The server log has the reason each minute. Often a long transaction has read the table, or the database is '
         'paused.'),
        (f.event_bytes > 1.25 * f.event_bytes_max, 'storage',
         CASE WHEN f.event_bytes > 2 * f.event_bytes_max THEN 'failing' ELSE 'degraded' END,
         format('webhook_events has %s, and webhook.max_event_size is %s', pg_size_pretty(f.event_bytes),
                pg_size_pretty(f.event_bytes_max)),
         'It shrinks when its oldest segment can be emptied. Watch the free space of the disk.'),
        (f.log_bytes > 1.25 * f.log_bytes_max, 'storage',
         CASE WHEN f.log_bytes > 2 * f.log_bytes_max THEN 'failing' ELSE 'degraded' END,
         format('webhook_logs has %s, and webhook.max_log_size is %s', pg_size_pretty(f.log_bytes),
                pg_size_pretty(f.log_bytes_max)),
         'It shrinks when its oldest segment can be emptied. Watch the free space of the disk.'),
        (f.undecryptable > 0, 'secrets', 'degraded',
         format('the secrets of %s of %s webhooks cannot be decrypted: their deliveries wait', f.undecryptable,
                f.webhooks),
         'Put the key back into webhook.secret_key_file and reload. The server log names a webhook.'),
        (CASE WHEN f.organizations >= 3 THEN 2 * f.failing_organizations > f.organizations
              ELSE f.open_circuits >= 3 AND 2 * f.open_circuits > f.webhooks END, 'endpoints', 'degraded',
         format('the endpoints of %s of %s webhooks fail, in %s of %s organizations', f.open_circuits, f.webhooks,
                f.failing_organizations, f.organizations),
         'So many at once have a common cause: the network, a firewall, name resolution, webhook.proxy or webhook.ca_file. '
         'webhook_stats has the error of each.'),
        (f.subscriptions_lost > 0, 'subscriptions', 'failing',
         format('the replication slots of %s of %s subscriptions that bring events are lost: nothing comes any more',
                f.subscriptions_lost, f.subscriptions),
         'webhook_subscriptions shows which. webhook_node_resync() copies the tables again, and tells what was missed.'),
        (f.subscriptions_stopped > f.subscriptions_lost, 'subscriptions', 'degraded',
         format('%s of %s subscriptions that bring events are disabled or have no worker',
                f.subscriptions_stopped - f.subscriptions_lost, f.subscriptions),
         'webhook_subscriptions shows which, with the last error. webhook_node_check() tells what mends it.'),
        ((SELECT n.cut_off IS NOT NULL FROM webhook_internal.nodes_down() n), 'subscriptions', 'failing',
         format('too much WAL was to be kept for nodes that share the webhooks, and they are cut off: %s',
                (SELECT n.cut_off FROM webhook_internal.nodes_down() n)),
         'webhook_take_over() has the home deliver what they have left.'),
        (b.behind IS NOT NULL, 'subscriptions', 'degraded',
         format('nodes that share the webhooks are connected, and have not finished what was captured more than a minute ago: %s',
                b.behind),
         'They are behind, paused or switched off: webhook_health() there says why. webhook_nodes has the lag.'),
        ((SELECT n.down IS NOT NULL FROM webhook_internal.nodes_down() n), 'subscriptions', 'degraded',
         format('nodes that share the webhooks are not connected, or do not report: %s',
                (SELECT n.down FROM webhook_internal.nodes_down() n)),
         'webhook_nodes shows which. What falls to one that is not connected waits, and is kept here as WAL. If it is lost, '
         'webhook_take_over() has the home deliver what it has left, and webhook_detach_node() forgets it. One that is '
         'connected delivers: webhook_attach_node() attaches it once more.')
    ) p (applies, component, status, reason, remedy) WHERE p.applies
$$;
COMMENT ON FUNCTION webhook_internal.health_of_deliveries(webhook_internal.health_facts) IS
    'The findings of webhook_health() about deliveries, storage, secrets, endpoints and subscriptions.';

-- --- As in closing.sql ------------------------------------------------------------------------------------------------

ALTER TABLE webhook_internal.this_node ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.nodes ENABLE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.webhook_node_shares ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.shifted_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.webhook_node_reports ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.node_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.node_minutes ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.node_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.node_marks ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.node_commands ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.pending_commands ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.takeovers ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.emptied_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_internal.to_take_over ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON TABLE webhook_internal.this_node FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.nodes FROM PUBLIC;
REVOKE ALL ON TABLE @extschema@.webhook_node_shares FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.shifted_events FROM PUBLIC;
REVOKE ALL ON TABLE @extschema@.webhook_node_reports FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.node_deliveries FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.node_minutes FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.node_hours FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.node_marks FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.node_commands FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.pending_commands FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.takeovers FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.emptied_events FROM PUBLIC;
REVOKE ALL ON TABLE webhook_internal.to_take_over FROM PUBLIC;
REVOKE ALL ON TABLE @extschema@.webhook_nodes FROM PUBLIC;
REVOKE ALL ON SEQUENCE webhook_internal.node_commands_id_seq FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.timeline() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.own_subscription(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.is_node() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.require_home() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.refuse_edit() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.applied_subscription() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.node_number(uuid, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.last_division() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.take_share() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.receive() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.receive_shift() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.renew_ids() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.forgotten() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.report_rows() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.try_lock_all_deliveries() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.report_all() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.take_rows(text, json) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.act_on_report() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.receive_log() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.take_mark() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.make_mark() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.report_progress() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.command_nodes(text, uuid, bigint[], text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.take_command() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.cancel_at_nodes(uuid, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.forget_at_nodes(uuid, bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.try_lock_deliveries(uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.carry_out(webhook_internal.pending_commands, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.carry_out_commands(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.note_emptied(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.retire_node(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.divisions_of(integer, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.knows_takeover(webhook_internal.takeovers, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.begin_collecting(webhook_internal.takeovers) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.collect_takeover(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.webhooks_to_take_over(uuid, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.note_given_up(uuid, text, bigint[], text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.inherit(@extschema@.webhook_configurations, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.advance_takeover(uuid, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.drop_takeover(uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.is_checkpoint_wanted(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.ask_after_failover() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.serve_nodes(integer, text[], bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.check_node_name(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.home_tables(name) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.is_published(name) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.become_home() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.webhook_home(name) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.add_node(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.ask_member(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.quiet_subscription(name, text, text[], text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.webhook_attach_node(text, text, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.lock_switches() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.webhook_share(text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.webhook_take_over(text, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.forget_node(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.is_behind(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.check_may_detach(text, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.webhook_detach_node(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.node_states() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.is_heard(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.nodes_down() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.behind_since(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.nodes_behind() FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.check_node(uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.become_node(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.check_may_join(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.webhook_join_home(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.pause_nodes(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION webhook_internal.cancel_deliveries(uuid, bigint, pg_snapshot, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION webhook_internal.node_states() TO pg_monitor;
GRANT SELECT ON @extschema@.webhook_nodes TO pg_monitor;
