-- The event log, and how events get there: through the triggers of webhook_watch(), or through webhook_emit().

-- The event log: a ring of 8 segments, and one of 4 for what organizations write beyond their shares.
-- Ids are drawn a million at a time and shared out in memory: see src/pg/server/event_ids.h.
CREATE SEQUENCE @extschema@.webhook_events_id_seq INCREMENT 1000000 CACHE 1;
COMMENT ON SEQUENCE @extschema@.webhook_events_id_seq IS 'The ids of events, drawn a million at a time.';

-- src/pg/event_table.h has the columns in the same order. known_switch fills what would be padding.
CREATE TABLE @extschema@.webhook_events (
    slot            smallint NOT NULL,
    known_switch    integer NOT NULL DEFAULT 2147483647,
    id              bigint NOT NULL,
    xid             xid8 NOT NULL,
    created_at      timestamptz NOT NULL,
    event           text NOT NULL,
    organization_id text,
    key             text,
    data            json,
    previous        json,
    oversized_bytes bigint,
    applied_at      timestamptz,
    backfill        boolean,
    id_count        integer
) PARTITION BY LIST (slot);
COMMENT ON TABLE @extschema@.webhook_events IS
    'The captured events, append-only, in a ring of 8 segments and a second ring of 4 for what organizations write '
    'beyond their shares (webhook.organization_share). A segment is emptied before it is written to again. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_events.slot IS 'The segment: 0 to 7, or 8 to 11 in the second ring.';
COMMENT ON COLUMN @extschema@.webhook_events.known_switch IS
    'The last number of webhook_switches_seq that the session knew when it captured the event. It decides which '
    'webhooks were active (webhook_configurations.switches).';
COMMENT ON COLUMN @extschema@.webhook_events.id IS
    'Unique. Of two changes of the same row, the later one has the higher id.';
COMMENT ON COLUMN @extschema@.webhook_events.xid IS 'The top-level transaction that made the change.';
COMMENT ON COLUMN @extschema@.webhook_events.created_at IS
    'When the change was captured. For a change that logical replication applied: when its source committed it.';
COMMENT ON COLUMN @extschema@.webhook_events.event IS 'The name of the event (webhook_event_types.name).';
COMMENT ON COLUMN @extschema@.webhook_events.organization_id IS
    'The organization that the event belongs to; null in a database without tenants.';
COMMENT ON COLUMN @extschema@.webhook_events.key IS
    'What the event is about, by default the primary key of the row. Events with the same key are delivered in order. '
    'Null: there is no key.';
COMMENT ON COLUMN @extschema@.webhook_events.data IS 'The row as JSON. Null if it was larger than webhook.max_payload.';
COMMENT ON COLUMN @extschema@.webhook_events.previous IS
    'The old values of the changed columns of data, as JSON. Null unless the watch has include_previous and the change '
    'is an UPDATE.';
COMMENT ON COLUMN @extschema@.webhook_events.oversized_bytes IS
    'The size of data and previous in bytes, if it exceeded webhook.max_payload; otherwise null.';
COMMENT ON COLUMN @extschema@.webhook_events.applied_at IS
    'When logical replication applied the change to this database. Null: the change was made here.';
COMMENT ON COLUMN @extschema@.webhook_events.backfill IS
    'True: the row existed before its table was subscribed, and was copied then (webhook_watch(backfill => true)). '
    'Otherwise null.';
COMMENT ON COLUMN @extschema@.webhook_events.id_count IS
    'Of the first event of a batch in each of the rings: up to which id the batch goes there, as a number of consecutive '
    'ids from its own on. Null: the event is not the first.';

CREATE TABLE @extschema@.webhook_events_0 PARTITION OF @extschema@.webhook_events FOR VALUES IN (0);
CREATE TABLE @extschema@.webhook_events_1 PARTITION OF @extschema@.webhook_events FOR VALUES IN (1);
CREATE TABLE @extschema@.webhook_events_2 PARTITION OF @extschema@.webhook_events FOR VALUES IN (2);
CREATE TABLE @extschema@.webhook_events_3 PARTITION OF @extschema@.webhook_events FOR VALUES IN (3);
CREATE TABLE @extschema@.webhook_events_4 PARTITION OF @extschema@.webhook_events FOR VALUES IN (4);
CREATE TABLE @extschema@.webhook_events_5 PARTITION OF @extschema@.webhook_events FOR VALUES IN (5);
CREATE TABLE @extschema@.webhook_events_6 PARTITION OF @extschema@.webhook_events FOR VALUES IN (6);
CREATE TABLE @extschema@.webhook_events_7 PARTITION OF @extschema@.webhook_events FOR VALUES IN (7);
CREATE TABLE @extschema@.webhook_events_8 PARTITION OF @extschema@.webhook_events FOR VALUES IN (8);
CREATE TABLE @extschema@.webhook_events_9 PARTITION OF @extschema@.webhook_events FOR VALUES IN (9);
CREATE TABLE @extschema@.webhook_events_10 PARTITION OF @extschema@.webhook_events FOR VALUES IN (10);
CREATE TABLE @extschema@.webhook_events_11 PARTITION OF @extschema@.webhook_events FOR VALUES IN (11);
DO $$
BEGIN
    FOR slot IN 0 .. 11 LOOP
        EXECUTE format('COMMENT ON TABLE @extschema@.webhook_events_%s IS %L', slot,
                       'A segment of webhook_events. Read webhook_events instead.');
    END LOOP;
END
$$;

CREATE INDEX webhook_events_id_idx ON @extschema@.webhook_events (id);
COMMENT ON INDEX @extschema@.webhook_events_id_idx IS 'Reads the events in order.';
CREATE INDEX webhook_events_xid_idx ON @extschema@.webhook_events (xid) WHERE id_count IS NOT NULL;
COMMENT ON INDEX @extschema@.webhook_events_xid_idx IS
    'Finds the batches of events of the transactions that finished between two snapshots. Other events are found by id.';

INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'SELECT ON @extschema@.webhook_events');
CREATE POLICY webhook_tenants ON @extschema@.webhook_events FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_events IS
    'An organization reads its own events, if its role may read the table.';
CREATE POLICY webhook_operators ON @extschema@.webhook_events FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_events IS 'Operators read all events.';

-- Events that outlived their segment, because deliveries refer to them.
CREATE TABLE webhook_internal.saved_events (
    event_id        bigint PRIMARY KEY,
    xid             xid8 NOT NULL,
    created_at      timestamptz NOT NULL,
    event           text NOT NULL,
    organization_id text,
    key             text,
    data            json NOT NULL,
    previous        json,
    backfill        boolean,
    bytes           bigint NOT NULL
);
COMMENT ON TABLE webhook_internal.saved_events IS
    'Events that deliveries still refer to after their segment of webhook_events was emptied. Each event is stored '
    'once, and is deleted with the last delivery that refers to it. Not dumped.';
COMMENT ON COLUMN webhook_internal.saved_events.event_id IS 'webhook_events.id.';
COMMENT ON COLUMN webhook_internal.saved_events.xid IS 'As in webhook_events.';
COMMENT ON COLUMN webhook_internal.saved_events.created_at IS 'As in webhook_events.';
COMMENT ON COLUMN webhook_internal.saved_events.event IS 'The name of the event.';
COMMENT ON COLUMN webhook_internal.saved_events.organization_id IS 'The organization that the event belongs to.';
COMMENT ON COLUMN webhook_internal.saved_events.key IS 'The key of the event.';
COMMENT ON COLUMN webhook_internal.saved_events.data IS 'The row as JSON.';
COMMENT ON COLUMN webhook_internal.saved_events.previous IS 'As in webhook_events.';
COMMENT ON COLUMN webhook_internal.saved_events.backfill IS 'As in webhook_events.';
COMMENT ON COLUMN webhook_internal.saved_events.bytes IS
    'How much of webhook.max_saved_size the event uses: the stored size of data and previous, in bytes.';

CREATE INDEX saved_events_organization_id_idx ON webhook_internal.saved_events (organization_id, event_id);
COMMENT ON INDEX webhook_internal.saved_events_organization_id_idx IS 'Finds the oldest events of an organization.';

-- Not security_invoker, so that the view may read webhook_events and webhook_instance. In a view, current_user is still
-- the caller, which a SECURITY DEFINER function could not know.
CREATE VIEW @extschema@.webhook_own_events WITH (security_barrier) AS
    SELECT s.id, webhook_internal.encode_id(i.instance, s.id, s.created_at) AS webhook_id, s.created_at, s.event,
           s.organization_id, s.key, s.data, s.previous, s.oversized_bytes, s.known_switch, s.applied_at, s.backfill
    FROM (SELECT e.id, e.created_at, e.event, e.organization_id, e.key, e.data, e.previous, e.oversized_bytes,
                 e.known_switch, e.applied_at, e.backfill
          FROM @extschema@.webhook_events e
          UNION ALL
          SELECT k.event_id, k.created_at, k.event, k.organization_id, k.key, k.data, k.previous, NULL, NULL, NULL,
                 k.backfill
          FROM webhook_internal.saved_events k
          WHERE NOT EXISTS (SELECT FROM @extschema@.webhook_events e WHERE e.id = k.event_id)) s
    LEFT JOIN @extschema@.webhook_instance i ON true
    WHERE s.organization_id = (SELECT @extschema@.webhook_current_organization())
       OR (SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE'));
COMMENT ON VIEW @extschema@.webhook_own_events IS
    'The stored events of the caller''s organization, or of all organizations for operators. Only roles that may '
    'manage webhooks read data and previous.';
COMMENT ON COLUMN @extschema@.webhook_own_events.known_switch IS
    'As in webhook_events. Null after the segment of the event was emptied.';
COMMENT ON COLUMN @extschema@.webhook_own_events.id IS 'As in webhook_events.';
COMMENT ON COLUMN @extschema@.webhook_own_events.webhook_id IS
    'The webhook-id that receivers get; null before the first worker has started.';
COMMENT ON COLUMN @extschema@.webhook_own_events.created_at IS 'As in webhook_events.';
COMMENT ON COLUMN @extschema@.webhook_own_events.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_own_events.organization_id IS 'The organization that the event belongs to.';
COMMENT ON COLUMN @extschema@.webhook_own_events.key IS 'What the event is about.';
COMMENT ON COLUMN @extschema@.webhook_own_events.data IS 'The row as JSON; null if it was too large.';
COMMENT ON COLUMN @extschema@.webhook_own_events.previous IS 'As in webhook_events.';
COMMENT ON COLUMN @extschema@.webhook_own_events.oversized_bytes IS
    'Its size in bytes if it was too large; otherwise null.';
COMMENT ON COLUMN @extschema@.webhook_own_events.applied_at IS
    'As in webhook_events. Null after the segment of the event was emptied.';
COMMENT ON COLUMN @extschema@.webhook_own_events.backfill IS 'As in webhook_events.';
INSERT INTO webhook_internal.privileges VALUES ('{read}',
    'SELECT (id, webhook_id, created_at, event, organization_id, key, oversized_bytes, known_switch, '
    'applied_at, backfill) ON '
    '@extschema@.webhook_own_events');
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}', 'SELECT ON @extschema@.webhook_own_events');

-- About the missing SET clause see schema.sql.
CREATE FUNCTION @extschema@.webhook_capture() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_capture';
COMMENT ON FUNCTION @extschema@.webhook_capture() IS
    'Trigger function, AFTER ... FOR EACH ROW: records the change as an event. Arguments: the event''s name, then '
    'options such as ''key_columns={id}''. webhook_watch() creates such triggers. A role that may execute it can forge '
    'events of any organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_capture()');

CREATE FUNCTION @extschema@.webhook_flush() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_flush';
COMMENT ON FUNCTION @extschema@.webhook_flush() IS
    'Writes the events that the transaction has captured so far to webhook_events, instead of at its end. For tests '
    'that check the events and then roll back.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_flush()');

CREATE FUNCTION webhook_internal.append(event text, data json, organization_id text, key text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_append';
COMMENT ON FUNCTION webhook_internal.append(text, json, text, text) IS
    'Appends an event of any organization, without checks. Used by webhook_emit().';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.append(text, json, text, text)');

-- SECURITY DEFINER, because a role that may call append() can forge events of any organization. This function prevents
-- that for every caller.
CREATE FUNCTION webhook_internal.emit_tenant(event text, data json, key text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    organization text := @extschema@.webhook_current_organization();
BEGIN
    IF organization IS NULL THEN
        RAISE EXCEPTION 'no organization is set'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Set webhook.organization_id, or send a claim in request.jwt.claims. '
                         'Events without an organization are for operators.';
    END IF;
    PERFORM webhook_internal.check_known_event(event);
    PERFORM webhook_internal.check_own_event(event);
    PERFORM webhook_internal.append(event, data, organization, key);
END
$$;
COMMENT ON FUNCTION webhook_internal.emit_tenant(text, json, text) IS
    'Publishes an event of the session''s organization. Used by webhook_emit().';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.emit_tenant(text, json, text)');

CREATE FUNCTION @extschema@.webhook_emit(
    event text,
    data json,
    organization_id text DEFAULT @extschema@.webhook_current_organization(),
    key text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    own text := @extschema@.webhook_current_organization();
BEGIN
    IF data IS NULL THEN
        RAISE EXCEPTION 'the data of event "%" must not be null', event
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass ''{}'' for an event without data.';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        PERFORM webhook_internal.check_known_event(event);
        PERFORM webhook_internal.check_own_event(event);
        PERFORM webhook_internal.append(event, data, organization_id, key);
    ELSIF organization_id IS DISTINCT FROM own THEN
        RAISE EXCEPTION 'permission denied to publish an event of another organization'
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('The event is for %s; the current organization is %s.',
                                  coalesce(quote_literal(organization_id), 'none'),
                                  coalesce(quote_literal(own), 'not set')),
                  HINT = 'Only operators may do this: @extschema@.webhook_grant(role, ''operate'').';
    ELSE
        PERFORM webhook_internal.emit_tenant(event, data, key);
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_emit(text, json, text, text) IS
    'Publishes an event without a row change. It is delivered if the transaction commits. Errors: 22004 if data is '
    'null, 42704 if the event is not in webhook_event_types, 42939 if its name is reserved, and 42501 if another '
    'organization than the session''s is given by a role that is not an operator.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_emit(text, json, text, text)');
