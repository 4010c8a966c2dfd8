-- What the nodes of sharing.sql and their home tell each other, by logical replication of tables that exist for it.

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
