-- The deliveries that are pending or dead, and what the worker has still to write of them.

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
    owed_since       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    next_attempt_at  timestamptz,
    last_error       text,
    ordering_key     text,
    request          bigint NOT NULL DEFAULT 0,
    slot             smallint,
    updated_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (event_id, configuration_id)
);
COMMENT ON TABLE @extschema@.webhook_deliveries IS
    'What is still owed to a webhook, and what was given up. A delivery that succeeds at once never has a row here. '
    'Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.event_id IS 'The event (webhook_events.id).';
COMMENT ON COLUMN @extschema@.webhook_deliveries.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_deliveries.configuration_created_at IS
    'The created_at of the webhook, which tells it from one that had the id before or has it now.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.key IS 'The key of the event.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.created_at IS 'When the event was captured.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.state IS
    'pending: it will be tried at next_attempt_at. dead: it was given up.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.attempts IS 'How many attempts were made.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.probes IS
    'How many of the attempts were probes of an open circuit, which the retry schedule does not count.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.owed_since IS
    'The event''s time, or that of its redelivery: webhook.max_age counts from here.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.next_attempt_at IS
    'When it is due: as soon as its webhook may be sent to, if that is in the past. Null when it is dead.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.ordering_key IS
    'Of the pending deliveries of a webhook with the same one, only the oldest is sent. Null: it waits for no other.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.last_error IS 'Why the last attempt failed, or why it was given up.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.request IS
    'The transaction of the last webhook_redeliver() or webhook_replay() that asked for it; 0: it was not asked for. What an '
    'attempt brings that began before is not written over it.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.slot IS
    'Which segment of webhook_events holds the event. Null: none does any more, it was saved when its segment was emptied.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.updated_at IS 'When the row was last changed.';

CREATE INDEX webhook_deliveries_due_idx ON @extschema@.webhook_deliveries
    (configuration_id, configuration_created_at, next_attempt_at, event_id) WHERE state = 'pending';
COMMENT ON INDEX @extschema@.webhook_deliveries_due_idx IS 'Finds what is due for a webhook.';
CREATE INDEX webhook_deliveries_dead_idx ON @extschema@.webhook_deliveries
    (configuration_id, event_id) WHERE state = 'dead';
COMMENT ON INDEX @extschema@.webhook_deliveries_dead_idx IS 'Finds what was given up for a webhook.';
CREATE INDEX webhook_deliveries_order_idx ON @extschema@.webhook_deliveries
    (configuration_id, event_id) WHERE state = 'pending' AND ordering_key IS NOT NULL;
COMMENT ON INDEX @extschema@.webhook_deliveries_order_idx IS
    'Walks what is owed to a webhook with an ordering, the oldest event first.';
CREATE INDEX webhook_deliveries_expiry_idx ON @extschema@.webhook_deliveries
    (created_at, event_id, configuration_id) WHERE state = 'dead';
COMMENT ON INDEX @extschema@.webhook_deliveries_expiry_idx IS 'Finds what was given up and has expired.';
CREATE INDEX webhook_deliveries_ordering_key_idx ON @extschema@.webhook_deliveries
    (configuration_id, ordering_key, event_id) WHERE state = 'pending' AND ordering_key IS NOT NULL;
COMMENT ON INDEX @extschema@.webhook_deliveries_ordering_key_idx IS 'Finds the oldest delivery of an ordering key.';
CREATE INDEX webhook_deliveries_body_idx ON @extschema@.webhook_deliveries
    (slot, event_id, configuration_id) WHERE slot IS NOT NULL;
COMMENT ON INDEX @extschema@.webhook_deliveries_body_idx IS
    'Finds the deliveries whose event is to be saved before its segment is emptied.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_deliveries');
CREATE POLICY webhook_tenants ON @extschema@.webhook_deliveries FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_deliveries IS 'An organization reads its own deliveries.';
CREATE POLICY webhook_operators ON @extschema@.webhook_deliveries FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_deliveries IS 'Operators read all deliveries.';

-- What was given up because its organization had more than its share, which is too much for a row each in webhook_logs.
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
    'Deliveries that were given up because their organization had more than its share of the storage, by webhook and '
    'minute. Kept for webhook.event_retention. Not dumped.';
COMMENT ON COLUMN webhook_internal.given_up.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN webhook_internal.given_up.minute IS 'When they were given up.';
COMMENT ON COLUMN webhook_internal.given_up.organization_id IS 'Whose they were.';
COMMENT ON COLUMN webhook_internal.given_up.deliveries IS 'How many: none of them had another row in webhook_logs.';
COMMENT ON COLUMN webhook_internal.given_up.first_event_id IS 'The lowest id of their events.';
COMMENT ON COLUMN webhook_internal.given_up.last_event_id IS 'The highest id of their events.';
COMMENT ON COLUMN webhook_internal.given_up.reason IS 'Which setting they were beyond.';

CREATE INDEX given_up_minute_idx ON webhook_internal.given_up (minute);
COMMENT ON INDEX webhook_internal.given_up_minute_idx IS 'Finds what is to be deleted.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON webhook_internal.given_up');
CREATE POLICY webhook_tenants ON webhook_internal.given_up FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON webhook_internal.given_up IS
    'An organization reads what was given up of its own.';
CREATE POLICY webhook_operators ON webhook_internal.given_up FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON webhook_internal.given_up IS 'Operators read all of it.';

-- What the worker has still to write into webhook_deliveries, in the order of id. Rows are inserted and deleted by the
-- worker alone, and nothing refuses one: no constraint, no index on a column that is a user's.
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
    owed_since       timestamptz,
    next_attempt_at  timestamptz,
    last_error       text,
    ordering_key     text,
    request          bigint NOT NULL DEFAULT 0,
    slot             smallint
);
COMMENT ON TABLE webhook_internal.deferred_changes IS
    'What is still to be written into webhook_deliveries, of webhooks whose rows somebody else is writing. It counts as '
    'written.';
COMMENT ON COLUMN webhook_internal.deferred_changes.id IS 'In which order they are to be written.';
COMMENT ON COLUMN webhook_internal.deferred_changes.configuration_id IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.configuration_created_at IS
    'As in webhook_deliveries. Null: is_finished.';
COMMENT ON COLUMN webhook_internal.deferred_changes.event_id IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.deferred_at IS
    'Since when it waits. What somebody has written into the row after that stays.';
COMMENT ON COLUMN webhook_internal.deferred_changes.is_finished IS
    'The delivery is no longer owed: its row is to be deleted. Otherwise it is to be as the columns below say.';
COMMENT ON COLUMN webhook_internal.deferred_changes.organization_id IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.event IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.key IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.created_at IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.attempts IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.probes IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.owed_since IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.next_attempt_at IS 'As in webhook_deliveries. Null: it is dead.';
COMMENT ON COLUMN webhook_internal.deferred_changes.last_error IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.ordering_key IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.request IS 'As in webhook_deliveries.';
COMMENT ON COLUMN webhook_internal.deferred_changes.slot IS 'As in webhook_deliveries.';

CREATE INDEX deferred_changes_configuration_id_idx ON webhook_internal.deferred_changes (configuration_id, id);
COMMENT ON INDEX webhook_internal.deferred_changes_configuration_id_idx IS 'Finds what is to be written of a webhook.';
CREATE INDEX deferred_changes_event_id_idx ON webhook_internal.deferred_changes (event_id);
COMMENT ON INDEX webhook_internal.deferred_changes_event_id_idx IS 'Finds what of an event is to be written.';
CREATE INDEX deferred_changes_slot_idx ON webhook_internal.deferred_changes (slot) WHERE slot IS NOT NULL;
COMMENT ON INDEX webhook_internal.deferred_changes_slot_idx IS 'Finds out whether a segment of webhook_events is needed.';

CREATE FUNCTION webhook_internal.owed_max() RETURNS integer
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_owed_limit';
COMMENT ON FUNCTION webhook_internal.owed_max() IS 'The setting webhook.max_owed_per_organization.';

-- For the owner alone: until the transaction ends, nobody else, nor the worker, writes what is owed to the webhook.
CREATE FUNCTION webhook_internal.lock_deliveries(webhook uuid) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_lock_deliveries';
COMMENT ON FUNCTION webhook_internal.lock_deliveries(uuid) IS
    'Until the transaction ends, nobody else writes what is owed to the webhook. Waits for whoever does.';
