-- The webhooks, when each was active, and how workers and sessions learn of changes.

-- Numbers decide which webhooks were active when an event was captured. A webhook takes the next number when it is
-- created and whenever it is switched on or off. An event carries the last committed number that its session saw. Times
-- could not decide it: clocks go back, and transactions commit late.
CREATE SEQUENCE @extschema@.webhook_switches_seq;
COMMENT ON SEQUENCE @extschema@.webhook_switches_seq IS
    'Numbers the creation of each webhook, and each time one is switched on or off.';

CREATE TABLE @extschema@.webhook_configurations (
    id              uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    organization_id text DEFAULT @extschema@.webhook_current_organization(),
    name            text NOT NULL,
    url             text NOT NULL,
    events          text[] NOT NULL,
    secret          text,
    is_active       boolean NOT NULL DEFAULT true,
    headers         jsonb NOT NULL DEFAULT '{}',
    filter          jsonpath,
    timeout_ms      integer NOT NULL DEFAULT 5000,
    retry_schedule  interval[],
    rate_limit_per_s double precision,
    max_in_flight   integer NOT NULL DEFAULT 16,
    ordering        text NOT NULL DEFAULT 'relaxed',
    test_event      text REFERENCES @extschema@.webhook_event_types,
    active_since    timestamptz,
    disabled_at     timestamptz,
    disabled_reason text,
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    version         integer NOT NULL DEFAULT 1 CHECK (version > 0),
    changed_xid     xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    switches        integer[] NOT NULL DEFAULT '{}',
    last_switch     integer NOT NULL DEFAULT 0,
    UNIQUE NULLS NOT DISTINCT (organization_id, name)
);
COMMENT ON TABLE @extschema@.webhook_configurations IS
    'The webhooks: for each one a URL, the events that it receives, and how they are delivered.';
COMMENT ON COLUMN @extschema@.webhook_configurations.id IS
    'Identifies the webhook in logs and deliveries. Cannot be changed.';
COMMENT ON COLUMN @extschema@.webhook_configurations.organization_id IS
    'The organization that the webhook belongs to: it receives only that organization''s events. Null: it receives '
    'only events without an organization. At most 1000 bytes. Cannot be changed.';
COMMENT ON COLUMN @extschema@.webhook_configurations.name IS
    'The webhook''s name: at most 200 characters, unique within the organization.';
COMMENT ON COLUMN @extschema@.webhook_configurations.url IS
    'The URL that requests are posted to: https (http if webhook.allow_http is on), without credentials, at most 2048 '
    'bytes.';
COMMENT ON COLUMN @extschema@.webhook_configurations.events IS
    'The events that the webhook receives: names (contact.created), patterns (contact.*), or * for all but those about '
    'webhooks. 1 to 200.';
COMMENT ON COLUMN @extschema@.webhook_configurations.secret IS
    'The secret that requests are signed with: 12 characters to 512 bytes (webhook_generate_secret() makes one). '
    'Reading the column shows a mask; the secret itself is in webhook_secrets. Writing the mask back changes nothing. '
    'Null: requests are not signed.';
COMMENT ON COLUMN @extschema@.webhook_configurations.is_active IS
    'Whether the webhook receives events. While it is inactive, its pending deliveries wait, for at most '
    'webhook.max_age.';
COMMENT ON COLUMN @extschema@.webhook_configurations.headers IS
    'Additional request headers: an object of strings, at most 32, 8192 bytes in total. The headers that every request '
    'has cannot be given.';
COMMENT ON COLUMN @extschema@.webhook_configurations.filter IS
    'Delivers only the events for which this jsonpath returns something other than false or null: $.amount > 5, or $ ? '
    '(@.amount > 5). At most 1024 bytes. A filter that fails or takes too long does not match. No filter matches data '
    'of more than 256 kB, 10000 values, 1000 levels, 2000 keys in one object (or 100 in each of 400), or with a number '
    'of more than 100 digits or an exponent above 308. Null: all events.';
COMMENT ON COLUMN @extschema@.webhook_configurations.rate_limit_per_s IS
    'The most requests per second, on average; a burst is at most one second''s worth. 0.001 to 100000. Null: no '
    'limit.';
COMMENT ON COLUMN @extschema@.webhook_configurations.ordering IS
    'relaxed: first attempts of events with the same key are sent one after the other, and a retry holds nothing back. '
    'key: an event is sent when the previous one with the same key was delivered or given up; keys are independent. '
    'endpoint: the same for all events of the webhook.';
COMMENT ON COLUMN @extschema@.webhook_configurations.timeout_ms IS
    'How long a request may take, in milliseconds: 100 to 60000.';
COMMENT ON COLUMN @extschema@.webhook_configurations.retry_schedule IS
    'The waits before the second and each further attempt: 1 to 20 positive intervals of at most 30 days each. Null: '
    'the setting webhook.retry_schedule.';
COMMENT ON COLUMN @extschema@.webhook_configurations.max_in_flight IS
    'The most requests that may be open at once: 1 to 1000.';
COMMENT ON COLUMN @extschema@.webhook_configurations.test_event IS
    'webhook_test() sends the example of this event. Null: webhook.test. The reference also makes pg_dump restore '
    'event types before webhooks.';
COMMENT ON COLUMN @extschema@.webhook_configurations.active_since IS
    'When the webhook last became active. Null while it is inactive. Set by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.switches IS
    'Decides which events the webhook receives: ascending numbers from webhook_switches_seq, one for its creation and '
    'one for each time it was switched on or off since; at most 101. The webhook receives an event if the switches up '
    'to the event''s known_switch left it active. Empty: it was restored without triggers, and is_active decides. Set '
    'by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.disabled_at IS
    'When the webhook was last switched off, by a person or by the worker. Switching it on keeps the time: '
    'webhook_replay(id, disabled_at, active_since) sends what it missed. Set by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.disabled_reason IS
    'Why the webhook was switched off, as the worker or a person wrote it: at most 1000 characters. Removed when it is '
    'switched on.';
COMMENT ON COLUMN @extschema@.webhook_configurations.created_at IS 'When the webhook was created. Cannot be changed.';
COMMENT ON COLUMN @extschema@.webhook_configurations.updated_at IS 'When the row was last changed. Set by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.version IS
    'Counts the changes of the webhook, as webhook_history records them. 1: it is as it was created. webhook_logs tells '
    'which version each attempt was made with. Set by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.changed_xid IS
    'The top-level transaction that last changed the row. Set by a trigger, for the worker.';
COMMENT ON COLUMN @extschema@.webhook_configurations.last_switch IS
    'The last element of switches; 0 if there is none. Set by a trigger.';

-- The worker reads the rows that changed between two snapshots, as it reads events.
CREATE INDEX webhook_configurations_changed_xid_idx ON @extschema@.webhook_configurations (changed_xid, id);
-- Capture reads the highest committed switch.
CREATE INDEX webhook_configurations_last_switch_idx ON @extschema@.webhook_configurations (last_switch);
COMMENT ON INDEX @extschema@.webhook_configurations_last_switch_idx IS 'Finds the highest switch of all webhooks.';

SELECT pg_extension_config_dump('@extschema@.webhook_configurations', '');

INSERT INTO webhook_internal.privileges VALUES ('{read}',
    'SELECT (id, organization_id, name, url, events, secret, is_active, filter, timeout_ms, retry_schedule, '
    'rate_limit_per_s, max_in_flight, ordering, test_event, active_since, disabled_at, disabled_reason, '
    'created_at, updated_at, version, switches) ON @extschema@.webhook_configurations');
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'SELECT, INSERT, UPDATE, DELETE ON @extschema@.webhook_configurations');
CREATE POLICY webhook_tenants ON @extschema@.webhook_configurations
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()))
    WITH CHECK (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_configurations IS 'An organization manages its own webhooks.';
CREATE POLICY webhook_operators ON @extschema@.webhook_configurations
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_configurations IS
    'Operators manage the webhooks of all organizations.';

-- An id may be reused once its webhook is deleted. Rows that belong to a webhook therefore carry its id, its
-- organization and its created_at, which together identify it. Rows of webhook_logs, which are history, carry the first
-- two only.

-- Tells the worker what a webhook's row does not show: that the webhook was deleted, or that its secrets or pending
-- deliveries changed. Sessions only append rows, so nobody waits for a lock. The worker that owns the webhook deletes
-- the row, once nothing of a deleted webhook is left.
CREATE TABLE @extschema@.webhook_changes (
    xid                      xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    configuration_id         uuid NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    organization_id          text,
    is_deleted               boolean NOT NULL,
    PRIMARY KEY (xid, configuration_id, configuration_created_at, is_deleted)
);
COMMENT ON TABLE @extschema@.webhook_changes IS
    'Changes that the worker must learn of and that the webhook''s row does not show. Triggers and functions append '
    'rows.';
COMMENT ON COLUMN @extschema@.webhook_changes.xid IS 'The top-level transaction that made the change.';
COMMENT ON COLUMN @extschema@.webhook_changes.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_changes.configuration_created_at IS 'The webhook''s created_at.';
COMMENT ON COLUMN @extschema@.webhook_changes.organization_id IS 'The webhook''s organization.';
COMMENT ON COLUMN @extschema@.webhook_changes.is_deleted IS
    'True: the webhook was deleted. False: its secrets or its pending deliveries changed.';

-- The server assigns ids, creation times and versions. Only operators may choose them, in order to restore dumps. An id
-- that a webhook of the row's own organization already has is kept, for INSERT ... ON CONFLICT (id). SECURITY DEFINER, so
-- that a role may insert without being able to read.
CREATE FUNCTION webhook_internal.configurations_draw_identity() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c
                   WHERE c.id = NEW.id AND c.organization_id = NEW.organization_id) THEN
        NEW.id := gen_random_uuid();
    END IF;
    NEW.created_at := now();
    NEW.version := 1;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_draw_identity() IS
    'Trigger function of webhook_configurations: assigns id, created_at and version to a row from a role that is not an '
    'operator.';

CREATE TRIGGER webhook_configurations_0_draw_identity BEFORE INSERT ON @extschema@.webhook_configurations
    FOR EACH ROW
    WHEN (NOT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE'))
    EXECUTE FUNCTION webhook_internal.configurations_draw_identity();

-- Rows from replication or from pg_restore --disable-triggers have a changed_xid of another cluster. For all other rows
-- see configurations_check().
CREATE FUNCTION webhook_internal.configurations_stamp() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.changed_xid := pg_current_xact_id();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_stamp() IS
    'Trigger function of webhook_configurations: gives a replicated row a changed_xid of this cluster.';

CREATE TRIGGER webhook_configurations_0_stamp_replicated BEFORE INSERT OR UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_stamp();
ALTER TABLE @extschema@.webhook_configurations ENABLE REPLICA TRIGGER webhook_configurations_0_stamp_replicated;

-- After two billion switches each event has seen every number, so that is_active decides.
CREATE FUNCTION webhook_internal.draw_switch() RETURNS integer
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT least(nextval('@extschema@.webhook_switches_seq'), 2147483647)::integer
$$;
COMMENT ON FUNCTION webhook_internal.draw_switch() IS 'The next number of webhook_switches_seq, at most 2147483647.';

-- If another database drew the numbers, only one thing is known: before this switch the webhook was in the opposite
-- state. Beyond 101 numbers the oldest pause is dropped. The webhook then counts as active during that pause.
CREATE FUNCTION webhook_internal.add_switch(switches integer[], is_active boolean) RETURNS integer[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number integer := webhook_internal.draw_switch();
    longest CONSTANT integer := 101;
    all_switches integer[] := CASE WHEN switches[cardinality(switches)] <= number THEN switches ELSE '{0}' END || number;
    pause integer;
BEGIN
    IF cardinality(all_switches) <= longest THEN
        RETURN all_switches;
    END IF;
    -- The first number is the creation. Switches alternate between on and off, so the second one ends or begins a
    -- pause.
    pause := CASE WHEN is_active = (cardinality(all_switches) % 2 = 0) THEN 3 ELSE 2 END;
    RETURN all_switches[: pause - 1] || all_switches[pause + 2 :];
END
$$;
COMMENT ON FUNCTION webhook_internal.add_switch(integer[], boolean) IS
    'webhook_configurations.switches with one more number, for the switch that set is_active. At most 101 numbers.';

-- A number above the sequence's last value comes from another database. SECURITY DEFINER, because tenants cannot read
-- the sequence.
CREATE FUNCTION webhook_internal.was_active(is_active boolean, switches integer[], known_switch integer) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN switches = '{}' OR known_switch IS NULL THEN is_active
                WHEN switches[cardinality(switches)] > (SELECT last_value FROM @extschema@.webhook_switches_seq) THEN is_active
                WHEN known_switch < switches[1] THEN false
                ELSE is_active = ((cardinality(switches) - width_bucket(known_switch, switches)) % 2 = 0) END
$$;
COMMENT ON FUNCTION webhook_internal.was_active(boolean, integer[], integer) IS
    'Whether a webhook with this is_active and these switches was active for an event with this known_switch. Null '
    'known_switch: unknown, so is_active decides.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.was_active(boolean, integer[], integer)');

-- The worker deletes everything else that belonged to the webhook, step by step (see webhook_changes), so that the
-- session locks no row that the worker writes. SECURITY DEFINER, in order to write both tables.
CREATE FUNCTION webhook_internal.configurations_forget() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO @extschema@.webhook_changes (configuration_id, configuration_created_at, organization_id, is_deleted)
        SELECT c.id, c.created_at, c.organization_id, true FROM @extschema@.webhook_configurations c
        ON CONFLICT DO NOTHING;
        DELETE FROM @extschema@.webhook_secrets;
        RETURN NULL;
    END IF;
    INSERT INTO @extschema@.webhook_changes (configuration_id, configuration_created_at, organization_id, is_deleted)
    VALUES (OLD.id, OLD.created_at, OLD.organization_id, true)
    ON CONFLICT DO NOTHING;
    DELETE FROM @extschema@.webhook_secrets s WHERE s.configuration_id = OLD.id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_forget() IS
    'Trigger function of webhook_configurations: deletes the secrets of a deleted webhook and tells the worker.';

CREATE TRIGGER webhook_configurations_4_forget AFTER DELETE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_forget();
-- A deletion that replication applies leaves rows behind here, too.
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_4_forget;

CREATE TRIGGER webhook_configurations_4_forget_all BEFORE TRUNCATE ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_forget();
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_4_forget_all;

CREATE FUNCTION webhook_internal.invalidate_subscriptions() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_invalidate_subscriptions';
COMMENT ON FUNCTION webhook_internal.invalidate_subscriptions() IS
    'Trigger function: makes sessions and workers drop what they have cached of the table.';

-- Sessions cache who subscribes to what. Changes that replication applies count, too: logical replication fires
-- triggers for rows and for TRUNCATE, but not for other statements.
CREATE TRIGGER webhook_configurations_6_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_6_invalidate;

CREATE TRIGGER webhook_configurations_6_invalidate_replicated AFTER INSERT OR UPDATE OR DELETE
    ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_configurations ENABLE REPLICA TRIGGER webhook_configurations_6_invalidate_replicated;
