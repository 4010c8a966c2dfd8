-- Several nodes that share one set of webhooks (docs/nodes.md). The home captures events and has the webhooks. The other
-- nodes get both by logical replication. Each delivers what falls to it. What a node that is lost, or that leaves, has not
-- delivered falls to the home.
--
-- This file has who delivers what. sharing_reports.sql has what nodes and their home tell each other, sharing_takeover.sql
-- what happens when a node goes, and sharing_setup.sql the functions for administrators.

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
