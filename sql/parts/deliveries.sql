-- Pending and dead deliveries, and the changes to them that the worker has deferred.

CREATE TABLE @extschema@.webhook_deliveries (
    event_id         bigint NOT NULL,
    configuration_id uuid NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    organization_id  text,
    event            text NOT NULL,
    key              text,
    created_at       timestamptz NOT NULL,
    state            text NOT NULL CHECK (state IN ('pending', 'dead')),
    attempts         integer NOT NULL DEFAULT 0,
    probes           integer NOT NULL DEFAULT 0,
    pending_since    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    next_attempt_at  timestamptz,
    last_error       text,
    ordering_key     text,
    request          bigint NOT NULL DEFAULT 0,
    slot             smallint,
    updated_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (event_id, configuration_id)
);
COMMENT ON TABLE @extschema@.webhook_deliveries IS
    'Deliveries that are pending, and deliveries that were given up (dead). A delivery that succeeds at once never has '
    'a row here. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.event_id IS 'The event (webhook_events.id).';
COMMENT ON COLUMN @extschema@.webhook_deliveries.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_deliveries.configuration_created_at IS
    'The webhook''s created_at, which distinguishes it from earlier and later webhooks with the same id.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.key IS 'The key of the event.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.created_at IS 'When the event was captured.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.state IS
    'pending: it is sent at next_attempt_at or later. dead: it was given up.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.attempts IS 'How many attempts were made, including probes.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.probes IS
    'How many of the attempts only probed an open circuit. The retry schedule does not count them.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.pending_since IS
    'The time of the event, or of its redelivery or replay. webhook.max_age counts from it.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.next_attempt_at IS
    'When the delivery is due. If that is in the past, it is sent as soon as the webhook can be sent to. Null if it is '
    'dead.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.ordering_key IS
    'Of the pending deliveries of a webhook with the same value, only the oldest is sent. Null: the delivery waits for '
    'no other.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.last_error IS
    'Why the last attempt failed, or why the delivery was given up.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.request IS
    'The transaction of the last webhook_redeliver() or webhook_replay() that requested the delivery; 0 if there was '
    'none. The result of an attempt that began earlier does not overwrite the row.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.slot IS
    'The segment of webhook_events with the event. Null: the event was saved when its segment was emptied.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.updated_at IS
    'When the row was last changed, by the clock that next_attempt_at goes by.';

CREATE INDEX webhook_deliveries_due_idx ON @extschema@.webhook_deliveries
    (configuration_id, configuration_created_at, next_attempt_at, event_id) WHERE state = 'pending';
COMMENT ON INDEX @extschema@.webhook_deliveries_due_idx IS 'Finds the due deliveries of a webhook.';
CREATE INDEX webhook_deliveries_dead_idx ON @extschema@.webhook_deliveries
    (configuration_id, event_id) WHERE state = 'dead';
COMMENT ON INDEX @extschema@.webhook_deliveries_dead_idx IS 'Finds the dead deliveries of a webhook.';
CREATE INDEX webhook_deliveries_order_idx ON @extschema@.webhook_deliveries
    (configuration_id, event_id) WHERE state = 'pending' AND ordering_key IS NOT NULL;
COMMENT ON INDEX @extschema@.webhook_deliveries_order_idx IS
    'Reads the pending deliveries of a webhook with an ordering, the oldest event first.';
CREATE INDEX webhook_deliveries_expiry_idx ON @extschema@.webhook_deliveries
    (created_at, event_id, configuration_id) WHERE state = 'dead';
COMMENT ON INDEX @extschema@.webhook_deliveries_expiry_idx IS 'Finds dead deliveries that have expired.';
CREATE INDEX webhook_deliveries_body_idx ON @extschema@.webhook_deliveries
    (slot, event_id, configuration_id) WHERE slot IS NOT NULL;
COMMENT ON INDEX @extschema@.webhook_deliveries_body_idx IS
    'Finds the deliveries with an event that must be saved before its segment is emptied.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_deliveries');
CREATE POLICY webhook_tenants ON @extschema@.webhook_deliveries FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_deliveries IS 'An organization reads its own deliveries.';
CREATE POLICY webhook_operators ON @extschema@.webhook_deliveries FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_deliveries IS 'Operators read all deliveries.';

-- By the indexes, in their order: what comes after the limit is not read. Neither a sequential nor a bitmap scan stops there.
CREATE FUNCTION webhook_internal.count_deliveries(
    webhook uuid, webhook_created_at timestamptz, organization text, count_max integer,
    OUT pending bigint, OUT next_attempt_at timestamptz, OUT dead bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    SELECT count(*), min(p.next_attempt_at) INTO pending, next_attempt_at
    FROM (SELECT d.next_attempt_at FROM @extschema@.webhook_deliveries d
          WHERE d.configuration_id = webhook AND d.configuration_created_at = webhook_created_at
            AND d.organization_id IS NOT DISTINCT FROM organization AND d.state = 'pending'
          ORDER BY d.next_attempt_at, d.event_id LIMIT count_max) p;
    SELECT count(*) INTO dead
    FROM (SELECT FROM @extschema@.webhook_deliveries d
          WHERE d.configuration_id = webhook AND d.configuration_created_at = webhook_created_at
            AND d.organization_id IS NOT DISTINCT FROM organization AND d.state = 'dead'
          ORDER BY d.event_id LIMIT count_max) x;
END
$$;
COMMENT ON FUNCTION webhook_internal.count_deliveries(uuid, timestamptz, text, integer) IS
    'How many deliveries of a webhook are pending and dead, counted to count_max, and when the first pending one is due.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_deliveries(uuid, timestamptz, text, integer)');

-- Deliveries that were given up because their organization exceeded its share: too many for a row each in webhook_logs.
CREATE TABLE webhook_internal.given_up (
    configuration_id uuid NOT NULL,
    minute           timestamptz NOT NULL,
    organization_id  text,
    deliveries       bigint NOT NULL,
    first_event_id   bigint NOT NULL,
    last_event_id    bigint NOT NULL,
    reason           text NOT NULL,
    PRIMARY KEY (configuration_id, minute)
);
COMMENT ON TABLE webhook_internal.given_up IS
    'Deliveries that were given up because their organization exceeded its share of the storage: counts by webhook and '
    'minute. Kept for webhook.event_retention. Not dumped.';
COMMENT ON COLUMN webhook_internal.given_up.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN webhook_internal.given_up.minute IS 'The minute in which they were given up.';
COMMENT ON COLUMN webhook_internal.given_up.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN webhook_internal.given_up.deliveries IS
    'How many. None of them has a row of its own in webhook_logs.';
COMMENT ON COLUMN webhook_internal.given_up.first_event_id IS 'The lowest id of their events.';
COMMENT ON COLUMN webhook_internal.given_up.last_event_id IS 'The highest id of their events.';
COMMENT ON COLUMN webhook_internal.given_up.reason IS 'The setting that was exceeded.';

CREATE INDEX given_up_minute_idx ON webhook_internal.given_up (minute);
COMMENT ON INDEX webhook_internal.given_up_minute_idx IS 'Finds expired rows.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON webhook_internal.given_up');
CREATE POLICY webhook_tenants ON webhook_internal.given_up FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON webhook_internal.given_up IS 'An organization reads its own rows.';
CREATE POLICY webhook_operators ON webhook_internal.given_up FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON webhook_internal.given_up IS 'Operators read all rows.';

-- Changes that the worker has yet to make to webhook_deliveries, in the order of id. Only the worker inserts and
-- deletes rows. Nothing can refuse a row: there is no constraint, and no index on a column with a user's values.
CREATE SEQUENCE webhook_internal.deferred_changes_id_seq;
COMMENT ON SEQUENCE webhook_internal.deferred_changes_id_seq IS 'Orders webhook_internal.deferred_changes.';

CREATE TABLE webhook_internal.deferred_changes (
    id               bigint PRIMARY KEY DEFAULT pg_catalog.nextval('webhook_internal.deferred_changes_id_seq'),
    configuration_id uuid NOT NULL,
    configuration_created_at timestamptz,
    event_id         bigint NOT NULL,
    deferred_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    is_finished      boolean NOT NULL,
    organization_id  text,
    event            text,
    key              text,
    created_at       timestamptz,
    attempts         integer,
    probes           integer,
    pending_since    timestamptz,
    next_attempt_at  timestamptz,
    last_error       text,
    ordering_key     text,
    request          bigint NOT NULL DEFAULT 0,
    slot             smallint
);
COMMENT ON TABLE webhook_internal.deferred_changes IS
    'Changes to webhook_deliveries that wait, because another transaction is writing rows of the same webhook. A '
    'deferred change counts as recorded.';
COMMENT ON COLUMN webhook_internal.deferred_changes.id IS 'The order in which the changes are made.';
COMMENT ON COLUMN webhook_internal.deferred_changes.configuration_id IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.configuration_created_at IS
    'As in webhook_deliveries. Null if is_finished.';
COMMENT ON COLUMN webhook_internal.deferred_changes.event_id IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.deferred_at IS
    'Since when the change waits. It does not overwrite what others write to the row after this time.';
COMMENT ON COLUMN webhook_internal.deferred_changes.is_finished IS
    'True: the delivery is no longer pending, and its row is to be deleted. False: its row is to get the values of the '
    'columns below.';
COMMENT ON COLUMN webhook_internal.deferred_changes.organization_id IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.event IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.key IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.created_at IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.attempts IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.probes IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.pending_since IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.next_attempt_at IS
    'As in webhook_deliveries. Null: the delivery is dead.';
COMMENT ON COLUMN webhook_internal.deferred_changes.last_error IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.ordering_key IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.request IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.slot IS 'As in webhook_deliveries.';

CREATE INDEX deferred_changes_configuration_id_idx ON webhook_internal.deferred_changes (configuration_id, id);
COMMENT ON INDEX webhook_internal.deferred_changes_configuration_id_idx IS 'Finds the deferred changes of a webhook.';
CREATE INDEX deferred_changes_event_id_idx ON webhook_internal.deferred_changes (event_id);
COMMENT ON INDEX webhook_internal.deferred_changes_event_id_idx IS 'Finds the deferred changes of an event.';
CREATE INDEX deferred_changes_slot_idx ON webhook_internal.deferred_changes (slot) WHERE slot IS NOT NULL;
COMMENT ON INDEX webhook_internal.deferred_changes_slot_idx IS
    'Finds out whether a segment of webhook_events is still needed.';

CREATE FUNCTION webhook_internal.deliveries_max() RETURNS integer
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_deliveries_limit';
COMMENT ON FUNCTION webhook_internal.deliveries_max() IS 'The setting webhook.max_deliveries_per_organization.';

-- For the owner only, because it blocks the worker.
CREATE FUNCTION webhook_internal.lock_deliveries(webhook uuid) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_lock_deliveries';
COMMENT ON FUNCTION webhook_internal.lock_deliveries(uuid) IS
    'Keeps all others, including the worker, from writing the webhook''s deliveries until the transaction ends. Waits '
    'for those who are writing them.';
