-- The webhooks, when each was active, and how the worker and sessions hear of a change.

-- Numbers tell which webhooks were active when an event was captured: a webhook gets the next one when it is created and
-- whenever it is switched on or off, and an event bears the last that was committed when its session looked. Times cannot
-- tell it: clocks go back, and transactions commit late.
CREATE SEQUENCE @extschema@.webhook_switches_seq;
COMMENT ON SEQUENCE @extschema@.webhook_switches_seq IS
    'Numbers each creation of a webhook, and each time that one is switched on or off.';

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
    changed_xid     xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    switches        integer[] NOT NULL DEFAULT '{}',
    last_switch     integer NOT NULL DEFAULT 0,
    UNIQUE NULLS NOT DISTINCT (organization_id, name)
);
COMMENT ON TABLE @extschema@.webhook_configurations IS 'The webhooks: who is told about what, where.';
COMMENT ON COLUMN @extschema@.webhook_configurations.id IS
    'Identifies the webhook in logs and deliveries. Cannot be changed.';
COMMENT ON COLUMN @extschema@.webhook_configurations.organization_id IS
    'Whose it is: it receives that organization''s events only. Null: events without an organization, and only those. '
    'Cannot be changed.';
COMMENT ON COLUMN @extschema@.webhook_configurations.name IS
    'What people call it: at most 200 characters, unique within the organization.';
COMMENT ON COLUMN @extschema@.webhook_configurations.url IS
    'Where the POST goes: https, without credentials, at most 2048 bytes.';
COMMENT ON COLUMN @extschema@.webhook_configurations.events IS
    'What it wants: names (contact.created), patterns (contact.*), or * for all; at most 200.';
COMMENT ON COLUMN @extschema@.webhook_configurations.secret IS
    'Write the secret that requests are signed with (12 characters to 512 bytes; webhook_generate_secret() makes one), '
    'read its mask: the secret itself is kept in webhook_secrets. Null: requests are not signed. Writing the mask '
    'back changes nothing.';
COMMENT ON COLUMN @extschema@.webhook_configurations.is_active IS
    'Whether it receives anything. While it does not, what it is owed waits, for webhook.max_age.';
COMMENT ON COLUMN @extschema@.webhook_configurations.headers IS
    'Further headers of each request, an object of strings: at most 32, of 8192 bytes in all. Those that the delivery '
    'itself sets cannot be given.';
COMMENT ON COLUMN @extschema@.webhook_configurations.filter IS
    'Of the events that it wants, those alone for whose data this yields anything but false or null: '
    '$.amount > 5, or $ ? (@.amount > 5). At most 1024 bytes. Where it cannot be evaluated, or takes too long, it does '
    'not match. Nor does it match data of more than 256 kB, 10000 values, 1000 levels, 2000 keys in one object (or 100 in '
    'each of 400), or with a number of more than 100 digits or an exponent above 308. Null: all.';
COMMENT ON COLUMN @extschema@.webhook_configurations.rate_limit_per_s IS
    'How many requests a second it gets at most, on average; at once no more than a second''s worth. 0.001 to 100000. '
    'Null: no limit.';
COMMENT ON COLUMN @extschema@.webhook_configurations.ordering IS
    'relaxed: first attempts of the same key go one after the other, and a retry holds nothing back. key: the '
    'deliveries of a key go one after the other to the last retry; keys are independent. endpoint: all of them do.';
COMMENT ON COLUMN @extschema@.webhook_configurations.timeout_ms IS
    'How long an attempt may take, in milliseconds: 100 to 60000.';
COMMENT ON COLUMN @extschema@.webhook_configurations.retry_schedule IS
    'How long to wait before each further attempt: 1 to 20 positive intervals of at most 30 days '
    'each. Null: the setting webhook.retry_schedule.';
COMMENT ON COLUMN @extschema@.webhook_configurations.max_in_flight IS
    'How many requests may be under way to it at once: 1 to 1000.';
COMMENT ON COLUMN @extschema@.webhook_configurations.test_event IS
    'The event whose example webhook_test() sends; null: webhook.test. As a reference it also makes pg_dump restore the types first.';
COMMENT ON COLUMN @extschema@.webhook_configurations.active_since IS
    'When it last became active. Null while it is inactive. Kept by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.switches IS
    'What decides which events it receives: the numbers of its creation and of each time it was switched on or off since, '
    'from webhook_switches_seq, ascending. An event belongs to it if it was active after as many of them as the event''s '
    'known_switch reaches. Empty: restored without triggers, and active now is active then. Kept by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.disabled_at IS
    'When it was last switched off, by a person or by the worker. It stays when the webhook is switched on again: '
    'webhook_replay(id, disabled_at, active_since) sends what it has missed. Kept by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.disabled_reason IS
    'Why it was switched off, by the worker or by a person who says so: at most 1000 characters. Removed when it is '
    'switched on.';
COMMENT ON COLUMN @extschema@.webhook_configurations.created_at IS 'When it was created. Cannot be changed.';
COMMENT ON COLUMN @extschema@.webhook_configurations.updated_at IS 'When it was last changed. Kept by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.changed_xid IS
    'The top-level transaction that changed it last. Kept by a trigger, for the worker.';
COMMENT ON COLUMN @extschema@.webhook_configurations.last_switch IS 'The last of switches; 0: it is empty. Kept by a trigger.';

-- The worker reads what has changed from snapshot to snapshot, as it reads events.
CREATE INDEX webhook_configurations_changed_xid_idx ON @extschema@.webhook_configurations (changed_xid, id);
-- Capture reads the last switch that is committed.
CREATE INDEX webhook_configurations_last_switch_idx ON @extschema@.webhook_configurations (last_switch);
COMMENT ON INDEX @extschema@.webhook_configurations_last_switch_idx IS 'Finds the last switch of all.';

SELECT pg_extension_config_dump('@extschema@.webhook_configurations', '');

INSERT INTO webhook_internal.privileges VALUES ('{read}',
    'SELECT (id, organization_id, name, url, events, secret, is_active, filter, timeout_ms, retry_schedule, '
    'rate_limit_per_s, max_in_flight, ordering, test_event, active_since, disabled_at, disabled_reason, '
    'created_at, updated_at, switches) ON @extschema@.webhook_configurations');
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

-- An id may be given again once its webhook is deleted. What belongs to a webhook bears its id, its organization and its
-- created_at, which together tell it from any other; a row of webhook_logs, which is history, the first two.

-- What the row of a webhook does not tell the worker: that it is deleted, or that its secrets, or what it is owed, have
-- changed. Sessions only append to it, so nobody waits for a lock. The worker that the webhook falls to deletes the row,
-- once nothing of a deleted webhook is left.
CREATE TABLE @extschema@.webhook_changes (
    xid                      xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    configuration_id         uuid NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    organization_id          text,
    is_deleted               boolean NOT NULL,
    PRIMARY KEY (xid, configuration_id, configuration_created_at, is_deleted)
);
COMMENT ON TABLE @extschema@.webhook_changes IS
    'What the worker is to learn of a webhook and the webhook''s row does not tell. Appended to by triggers and functions.';
COMMENT ON COLUMN @extschema@.webhook_changes.xid IS 'The top-level transaction that changed it.';
COMMENT ON COLUMN @extschema@.webhook_changes.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_changes.configuration_created_at IS 'Its created_at.';
COMMENT ON COLUMN @extschema@.webhook_changes.organization_id IS 'Its organization.';
COMMENT ON COLUMN @extschema@.webhook_changes.is_deleted IS
    'Whether it was deleted. Otherwise its secrets, or what it is owed, have changed.';

-- Ids and times of creation are the server's to give: operators alone choose them, who restore dumps. An id that is that
-- of a webhook of the row's own organization stays, for INSERT ... ON CONFLICT (id). SECURITY DEFINER, so that whoever may
-- insert need not be able to read.
CREATE FUNCTION webhook_internal.configurations_draw_identity() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c
                   WHERE c.id = NEW.id AND c.organization_id = NEW.organization_id) THEN
        NEW.id := gen_random_uuid();
    END IF;
    NEW.created_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_draw_identity() IS
    'Trigger function of webhook_configurations: gives a row of whoever is not an operator its id and created_at.';

CREATE TRIGGER webhook_configurations_0_draw_identity BEFORE INSERT ON @extschema@.webhook_configurations
    FOR EACH ROW
    WHEN (NOT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE'))
    EXECUTE FUNCTION webhook_internal.configurations_draw_identity();

-- What replication or pg_restore --disable-triggers brings is of another cluster: for the rest see
-- configurations_check().
CREATE FUNCTION webhook_internal.configurations_stamp() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.changed_xid := pg_current_xact_id();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_stamp() IS
    'Trigger function of webhook_configurations: changed_xid of what replication brings is that of this cluster.';

CREATE TRIGGER webhook_configurations_0_stamp_replicated BEFORE INSERT OR UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_stamp();
ALTER TABLE @extschema@.webhook_configurations ENABLE REPLICA TRIGGER webhook_configurations_0_stamp_replicated;

-- After two billion numbers all events know all that follow: what is_active says then holds.
CREATE FUNCTION webhook_internal.draw_switch() RETURNS integer
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT least(nextval('@extschema@.webhook_switches_seq'), 2147483647)::integer
$$;
COMMENT ON FUNCTION webhook_internal.draw_switch() IS 'The next number of webhook_switches_seq.';

-- If another database drew the numbers, all that is known is that the webhook was not what it is now. Beyond a hundred
-- switches, the oldest pause is forgotten: the webhook counts as active then.
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
    -- The first number is that of the creation. Switches change by turns, so the second ends or begins a pause.
    pause := CASE WHEN is_active = (cardinality(all_switches) % 2 = 0) THEN 3 ELSE 2 END;
    RETURN all_switches[: pause - 1] || all_switches[pause + 2 :];
END
$$;
COMMENT ON FUNCTION webhook_internal.add_switch(integer[], boolean) IS
    'webhook_configurations.switches with one more, by which it has become is_active: at most 101.';

-- Numbers beyond the sequence's come from another database. SECURITY DEFINER: no tenant reads the sequence.
CREATE FUNCTION webhook_internal.was_active(is_active boolean, switches integer[], known_switch integer) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN switches = '{}' OR known_switch IS NULL THEN is_active
                WHEN switches[cardinality(switches)] > (SELECT last_value FROM @extschema@.webhook_switches_seq) THEN is_active
                WHEN known_switch < switches[1] THEN false
                ELSE is_active = ((cardinality(switches) - width_bucket(known_switch, switches)) % 2 = 0) END
$$;
COMMENT ON FUNCTION webhook_internal.was_active(boolean, integer[], integer) IS
    'Whether a webhook with these is_active and switches was active when an event was captured that knew that switch; '
    'null: it is not known, and what is now counts.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.was_active(boolean, integer[], integer)');

-- The worker deletes the rest of what belonged to the webhook, step by step: see webhook_changes. So the session
-- holds no row that the worker writes. SECURITY DEFINER for both tables.
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
    'Trigger function of webhook_configurations: removes the secrets of a deleted webhook, and tells the worker of it.';

CREATE TRIGGER webhook_configurations_4_forget AFTER DELETE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_forget();
-- Of a deletion that replication applies something is left here, too.
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_4_forget;

CREATE TRIGGER webhook_configurations_4_forget_all BEFORE TRUNCATE ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_forget();
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_4_forget_all;

CREATE FUNCTION webhook_internal.invalidate_subscriptions() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_invalidate_subscriptions';
COMMENT ON FUNCTION webhook_internal.invalidate_subscriptions() IS
    'Trigger function of webhook_configurations: sessions forget what they remember of it.';

-- Sessions remember who subscribes to what. A change that replication applies counts too: logical replication fires
-- triggers for rows and for TRUNCATE, but not for other statements.
CREATE TRIGGER webhook_configurations_6_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_6_invalidate;

CREATE TRIGGER webhook_configurations_6_invalidate_replicated AFTER INSERT OR UPDATE OR DELETE
    ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_configurations ENABLE REPLICA TRIGGER webhook_configurations_6_invalidate_replicated;
