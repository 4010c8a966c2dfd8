\echo Use "CREATE EXTENSION webhook" to load this file. \quit

-- What the extension is in SQL. In this order: functions in C, tenancy, tables, the built-in events, row-level
-- security, the triggers that keep webhook_configurations right, declaring events, publishing, managing webhooks,
-- finding out, administration, comments, and privileges last.
--
-- Every name of ours is qualified, and what is not is looked up in pg_catalog alone: here by the next statement, in
-- each function by its own SET. Backslashes stand in E'' alone, which standard_conforming_strings does not change.
-- Only the functions that must touch webhook_secrets, or what else no application role may see, are SECURITY DEFINER;
-- each says why. The text is plain ASCII, so that it loads in a database of any encoding.
--
-- The schema that the extension is created in holds what people use. Functions that only these need are in
-- webhook_internal.

SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA webhook_internal;
COMMENT ON SCHEMA webhook_internal IS
    'What the extension webhook is made of. Nothing in it is for users, and any of it may change with the next version.';

-- === Functions in C (src/module.cpp) =================================================================================

-- Without a SET: they look no name up by the search_path, it would cost every captured row, and the casts of a user's
-- own types, which capture calls, are entitled to the session's.
CREATE FUNCTION @extschema@.webhook_capture() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_capture';

CREATE FUNCTION webhook_internal.invalidate_subscriptions() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_invalidate_subscriptions';

CREATE FUNCTION webhook_internal.append(event text, data json, organization_id text, key text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_append';

CREATE FUNCTION @extschema@.webhook_flush() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_flush';

CREATE FUNCTION webhook_internal.wake() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_wake';

CREATE FUNCTION @extschema@.webhook_is_preloaded() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_is_preloaded';

CREATE FUNCTION @extschema@.webhook_generate_secret() RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_generate_secret';

-- Secrets at rest, as the setting webhook.secret_key_file says: src/core/secret_box.h. For the owner alone: whoever has
-- a dump and may call them needs no key.
CREATE FUNCTION webhook_internal.secret_key_id() RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_secret_key_id';
CREATE FUNCTION webhook_internal.seal_secret(configuration_id uuid, secret text, OUT key_id text, OUT sealed text)
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_seal_secret';
CREATE FUNCTION webhook_internal.open_secret(configuration_id uuid, key_id text, sealed text) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_open_secret';
CREATE FUNCTION webhook_internal.secret_problem(configuration_id uuid, key_id text, sealed text) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_secret_problem';
CREATE FUNCTION webhook_internal.is_secret(configuration_id uuid, key_id text, sealed text, secret text)
    RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_is_secret';

-- For the owner alone: until the transaction ends, nobody else can add a webhook to the organization.
CREATE FUNCTION webhook_internal.count_webhooks(organization_id text) RETURNS bigint
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_count_webhooks';
CREATE FUNCTION webhook_internal.webhooks_max() RETURNS integer
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_limit';
CREATE FUNCTION webhook_internal.owed_max() RETURNS integer
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_owed_limit';

-- The ring of webhook_logs into which the organization's rows go, which count. For the owner alone.
CREATE FUNCTION webhook_internal.log_ring(organization text, rows bigint) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_log_ring';
CREATE FUNCTION webhook_internal.used_share(organization text, storage text) RETURNS double precision
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_used_share';

-- For the owner alone: until the transaction ends, nobody else, nor the worker, writes what is owed to the webhook.
CREATE FUNCTION webhook_internal.lock_deliveries(webhook uuid) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_lock_deliveries';

-- For the owner alone: until the transaction ends, nobody else makes the row of webhook_instance.
CREATE FUNCTION webhook_internal.lock_instance() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_instance';

-- STABLE: it depends on the settings webhook.allow_http and webhook.allowed_ports.
CREATE FUNCTION @extschema@.webhook_url_problem(url text) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_url_problem';

-- What is wrong with it whatever the settings.
CREATE FUNCTION webhook_internal.url_form_problem(url text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_url_form_problem';

CREATE FUNCTION @extschema@.webhook_header_problem(name text, value text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_header_problem';

CREATE FUNCTION @extschema@.webhook_event_pattern_problem(pattern text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_event_pattern_problem';

-- The rules of src/core/json_bounds.h.
CREATE FUNCTION @extschema@.webhook_filter_data_problem(data text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_filter_data_problem';

-- "prefix.*", "*" or a name: the rules of src/core/event_pattern.h.
CREATE FUNCTION @extschema@.webhook_event_matches(pattern text, event text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_event_matches';

-- STABLE: it depends on the setting standard_conforming_strings.
CREATE FUNCTION webhook_internal.check_condition(condition text) RETURNS void
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'webhook_check_condition';

-- Has a worker send the event's example to the webhook that was created then, waits for it, and returns what became of
-- it. The organization, '' if it has none, is for the bound on how many tests it may have under way.
CREATE FUNCTION webhook_internal.send_test(
    webhook uuid, created_at timestamptz, organization text, event text, timeout_ms integer, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'webhook_send_test';

-- The wire format (docs/wire-format.md) for SQL.
CREATE FUNCTION @extschema@.webhook_sign(body text, secret text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_sign';
CREATE FUNCTION @extschema@.webhook_sign(id text, "timestamp" bigint, body text, secret text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_sign_message';
CREATE FUNCTION @extschema@.webhook_verify(body text, signature text, secret text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_verify';
CREATE FUNCTION @extschema@.webhook_verify(id text, "timestamp" bigint, body text, signature text, secret text)
    RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_verify_message';
CREATE FUNCTION webhook_internal.body(event text, created_at timestamptz, data json, previous json) RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_body';
CREATE FUNCTION webhook_internal.encode_id(instance uuid, event_id bigint, created_at timestamptz) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_encode_id';
CREATE FUNCTION webhook_internal.decode_id(instance uuid, webhook_id text, OUT event_id bigint,
                                              OUT created_at timestamptz)
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_decode_id';

-- === Tenancy =========================================================================================================

-- Runs once per statement: policies call it in a sub-select. Malformed claims are an error, never "no claims".
CREATE FUNCTION @extschema@.webhook_current_organization() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    by_setting text := nullif(current_setting('webhook.organization_id', true), '');
    claims jsonb := nullif(current_setting('request.jwt.claims', true), '');
    claim text := coalesce(nullif(current_setting('webhook.organization_claim', true), ''), 'organization_id');
    claimed jsonb;
    by_claim text;
BEGIN
    IF claims IS NULL OR claims = 'null' THEN
        RETURN by_setting;
    END IF;
    IF jsonb_typeof(claims) <> 'object' THEN
        RAISE EXCEPTION 'request.jwt.claims is not a JSON object'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A claim may have dots in its own name (https://example.com/organization); else they are a path.
    claimed := coalesce(claims -> claim, claims #> string_to_array(claim, '.'));
    IF jsonb_typeof(claimed) NOT IN ('string', 'number', 'null') THEN
        RAISE EXCEPTION 'claim "%" in request.jwt.claims is neither a string nor a number', claim
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The setting webhook.organization_claim names the claim that holds the organization.';
    END IF;
    by_claim := nullif(claimed #>> '{}', '');
    IF by_claim <> by_setting THEN
        RETURN NULL;
    END IF;
    RETURN coalesce(by_claim, by_setting);
END
$$;

-- Whoever may execute it is an operator. The policies only ask whether one may.
CREATE FUNCTION @extschema@.webhook_is_operator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'SELECT true';

-- === Tables ==========================================================================================================

CREATE TABLE @extschema@.webhook_event_types (
    name        text PRIMARY KEY,
    category    text NOT NULL,
    description text NOT NULL DEFAULT '',
    example     json NOT NULL DEFAULT '{}',
    is_builtin  boolean NOT NULL DEFAULT false,
    CONSTRAINT webhook_event_types_name_check
        CHECK (@extschema@.webhook_event_pattern_problem(name) IS NULL AND name NOT LIKE '%*')
);

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
-- The worker reads what has changed from snapshot to snapshot, as it reads events.
CREATE INDEX webhook_configurations_changed_xid_idx ON @extschema@.webhook_configurations (changed_xid, id);
-- Capture reads the last switch that is committed.
CREATE INDEX webhook_configurations_last_switch_idx ON @extschema@.webhook_configurations (last_switch);

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

CREATE TABLE @extschema@.webhook_secrets (
    configuration_id uuid NOT NULL,
    key_id           text,
    secret           text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at       timestamptz,
    created_xid      xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id()
);
CREATE INDEX webhook_secrets_configuration_id_idx ON @extschema@.webhook_secrets (configuration_id);
CREATE UNIQUE INDEX webhook_secrets_newest_idx ON @extschema@.webhook_secrets (configuration_id)
    WHERE expires_at IS NULL;
CREATE INDEX webhook_secrets_created_xid_idx ON @extschema@.webhook_secrets (created_xid, configuration_id);
-- Without a primary key, a publication FOR ALL TABLES would make every UPDATE and DELETE here an error.
ALTER TABLE @extschema@.webhook_secrets REPLICA IDENTITY FULL;

-- The event log: a ring of 8 segments, and one of 4 for what organizations write beyond their shares. Column order and
-- types are known to src/pg/event_writer.cpp.
-- Ids are drawn a million at a time and shared out in memory: see src/pg/shared_state.h.
CREATE SEQUENCE @extschema@.webhook_events_id_seq INCREMENT 1000000 CACHE 1;
-- Numbers tell which webhooks were active when an event was captured: a webhook gets the next one when it is created and
-- whenever it is switched on or off, and an event bears the last that was committed when its session looked. Times cannot
-- tell it: clocks go back, and transactions commit late.
CREATE SEQUENCE @extschema@.webhook_switches_seq;

-- known_switch fills what would be padding.
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
    oversized_bytes bigint
) PARTITION BY LIST (slot);
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
CREATE INDEX webhook_events_id_idx ON @extschema@.webhook_events (id);
CREATE INDEX webhook_events_xid_idx ON @extschema@.webhook_events (xid);

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
CREATE INDEX webhook_deliveries_due_idx ON @extschema@.webhook_deliveries
    (configuration_id, configuration_created_at, next_attempt_at, event_id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_dead_idx ON @extschema@.webhook_deliveries
    (configuration_id, event_id) WHERE state = 'dead';
CREATE INDEX webhook_deliveries_order_idx ON @extschema@.webhook_deliveries
    (configuration_id, event_id) WHERE state = 'pending' AND ordering_key IS NOT NULL;
CREATE INDEX webhook_deliveries_expiry_idx ON @extschema@.webhook_deliveries
    (created_at, event_id, configuration_id) WHERE state = 'dead';
CREATE INDEX webhook_deliveries_ordering_key_idx ON @extschema@.webhook_deliveries
    (configuration_id, ordering_key, event_id) WHERE state = 'pending' AND ordering_key IS NOT NULL;
CREATE INDEX webhook_deliveries_body_idx ON @extschema@.webhook_deliveries
    (slot, event_id, configuration_id) WHERE slot IS NOT NULL;

-- The events that outlived their segment, because deliveries refer to them: each once, however many these are.
CREATE TABLE webhook_internal.saved_events (
    event_id        bigint PRIMARY KEY,
    created_at      timestamptz NOT NULL,
    event           text NOT NULL,
    organization_id text,
    key             text,
    data            json NOT NULL,
    previous        json,
    bytes           bigint NOT NULL
);
CREATE INDEX saved_events_organization_id_idx ON webhook_internal.saved_events (organization_id, event_id);

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
CREATE INDEX given_up_minute_idx ON webhook_internal.given_up (minute);

-- What the worker has still to write into webhook_deliveries, in the order of id. Rows are inserted and deleted by the
-- worker alone, and nothing refuses one: no constraint, no index on a column that is a user's.
CREATE SEQUENCE webhook_internal.deferred_changes_id_seq;
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
CREATE INDEX deferred_changes_configuration_id_idx ON webhook_internal.deferred_changes (configuration_id, id);
CREATE INDEX deferred_changes_event_id_idx ON webhook_internal.deferred_changes (event_id);
CREATE INDEX deferred_changes_slot_idx ON webhook_internal.deferred_changes (slot) WHERE slot IS NOT NULL;

-- Two such rings too.
CREATE SEQUENCE @extschema@.webhook_logs_id_seq;
CREATE TABLE @extschema@.webhook_logs (
    slot             smallint NOT NULL,
    id               bigint NOT NULL DEFAULT pg_catalog.nextval('@extschema@.webhook_logs_id_seq'),
    created_at       timestamptz NOT NULL,
    configuration_id uuid NOT NULL,
    organization_id  text,
    event_id         bigint NOT NULL,
    event            text NOT NULL,
    attempt          integer NOT NULL,
    status           text NOT NULL CHECK (status IN ('success', 'failed')),
    response_status  integer,
    response_body    text,
    error            text,
    duration_ms      double precision,
    remote_ip        inet,
    next_attempt_at  timestamptz
) PARTITION BY LIST (slot);
CREATE TABLE @extschema@.webhook_logs_0 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (0);
CREATE TABLE @extschema@.webhook_logs_1 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (1);
CREATE TABLE @extschema@.webhook_logs_2 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (2);
CREATE TABLE @extschema@.webhook_logs_3 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (3);
CREATE TABLE @extschema@.webhook_logs_4 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (4);
CREATE TABLE @extschema@.webhook_logs_5 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (5);
CREATE TABLE @extschema@.webhook_logs_6 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (6);
CREATE TABLE @extschema@.webhook_logs_7 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (7);
CREATE TABLE @extschema@.webhook_logs_8 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (8);
CREATE TABLE @extschema@.webhook_logs_9 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (9);
CREATE TABLE @extschema@.webhook_logs_10 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (10);
CREATE TABLE @extschema@.webhook_logs_11 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (11);
CREATE INDEX webhook_logs_id_idx ON @extschema@.webhook_logs USING brin (id) WITH (pages_per_range = 16);
CREATE INDEX webhook_logs_configuration_id_idx ON @extschema@.webhook_logs (configuration_id, id);

-- How deliveries go. A minute's row is written over a day later: without a DELETE there is never more than a day.
CREATE TABLE @extschema@.webhook_minutes (
    configuration_id uuid NOT NULL,
    slot             smallint NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    organization_id  text,
    minute           timestamptz NOT NULL,
    attempts         integer NOT NULL,
    successes        integer NOT NULL,
    durations        integer[] NOT NULL,
    unjudged         integer NOT NULL DEFAULT 0,
    PRIMARY KEY (configuration_id, slot)
) WITH (fillfactor = 70);
CREATE TABLE @extschema@.webhook_endpoints (
    configuration_id  uuid PRIMARY KEY,
    configuration_created_at timestamptz NOT NULL,
    organization_id   text,
    circuit_opened_at timestamptz,
    next_probe_at     timestamptz,
    failing_since     timestamptz,
    last_success_at   timestamptz,
    last_failure_at   timestamptz,
    last_error        text,
    filter_failed_at  timestamptz,
    filter_error      text,
    updated_at        timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (fillfactor = 70);

CREATE TABLE @extschema@.webhook_rings (
    ring      text PRIMARY KEY,
    slot      smallint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CHECK (CASE ring WHEN 'events' THEN slot BETWEEN 0 AND 7 WHEN 'excess_events' THEN slot BETWEEN 8 AND 11
                     WHEN 'logs' THEN slot BETWEEN 0 AND 7 WHEN 'excess_logs' THEN slot BETWEEN 8 AND 11 ELSE false END)
);
INSERT INTO @extschema@.webhook_rings (ring, slot) VALUES ('events', 0), ('excess_events', 8), ('logs', 0), ('excess_logs', 8);

CREATE TABLE @extschema@.webhook_instance (
    instance          uuid NOT NULL,
    database_oid      oid NOT NULL,
    system_identifier bigint NOT NULL,
    is_paused         boolean NOT NULL DEFAULT false,
    paused_reason     text,
    created_at        timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE UNIQUE INDEX webhook_instance_singleton_idx ON @extschema@.webhook_instance ((true));
ALTER TABLE @extschema@.webhook_instance REPLICA IDENTITY FULL;

CREATE TABLE @extschema@.webhook_checkpoint (
    worker        integer PRIMARY KEY,
    workers       integer NOT NULL,
    instance      uuid NOT NULL,
    snapshot_from pg_snapshot NOT NULL,
    snapshot_to   pg_snapshot NOT NULL,
    position      bigint NOT NULL,
    log_floor     bigint NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- What makes the tags of src/pg/keyed_lock.h a secret.
CREATE TABLE webhook_internal.lock_key (key uuid PRIMARY KEY);
INSERT INTO webhook_internal.lock_key VALUES (gen_random_uuid());

-- What pg_dump carries. Events, deliveries, logs and checkpoint stay behind: a copy must not deliver them again.
SELECT pg_extension_config_dump('@extschema@.webhook_event_types', 'WHERE NOT is_builtin');
SELECT pg_extension_config_dump('@extschema@.webhook_configurations', '');
SELECT pg_extension_config_dump('@extschema@.webhook_secrets', '');
SELECT pg_extension_config_dump('@extschema@.webhook_instance', '');

-- === The built-in events =============================================================================================

INSERT INTO @extschema@.webhook_event_types (name, category, is_builtin, description, example) VALUES
('contact.created', 'contact', true, 'A contact was added.',
 '{"id":4711,"organization_id":"acme","name":"Ada Lovelace","email":"ada@example.com","phone":"+442079460958","assigned_to":null,"created_at":"2024-01-15T10:30:00+00:00","updated_at":"2024-01-15T10:30:00+00:00"}'),
('contact.updated', 'contact', true, 'A contact''s data changed.',
 '{"id":4711,"organization_id":"acme","name":"Ada King","email":"ada@example.com","phone":"+442079460958","assigned_to":null,"created_at":"2024-01-15T10:30:00+00:00","updated_at":"2024-01-16T08:02:11+00:00"}'),
('contact.assigned', 'contact', true, 'A contact was assigned to somebody.',
 '{"id":4711,"organization_id":"acme","name":"Ada King","email":"ada@example.com","phone":"+442079460958","assigned_to":17,"created_at":"2024-01-15T10:30:00+00:00","updated_at":"2024-01-16T08:05:40+00:00"}'),
('deal.created', 'deal', true, 'A deal was opened.',
 '{"id":93,"organization_id":"acme","contact_id":4711,"title":"Analytical engine","stage":"qualified","amount":12500.00,"currency":"EUR","assigned_to":null,"created_at":"2024-01-17T14:00:00+00:00","updated_at":"2024-01-17T14:00:00+00:00"}'),
('deal.updated', 'deal', true, 'A deal''s data changed.',
 '{"id":93,"organization_id":"acme","contact_id":4711,"title":"Analytical engine","stage":"qualified","amount":14000.00,"currency":"EUR","assigned_to":null,"created_at":"2024-01-17T14:00:00+00:00","updated_at":"2024-01-18T09:12:30+00:00"}'),
('deal.stage.changed', 'deal', true, 'A deal moved to another stage.',
 '{"id":93,"organization_id":"acme","contact_id":4711,"title":"Analytical engine","stage":"won","amount":14000.00,"currency":"EUR","assigned_to":17,"created_at":"2024-01-17T14:00:00+00:00","updated_at":"2024-01-22T16:45:00+00:00"}'),
('deal.assigned', 'deal', true, 'A deal was assigned to somebody.',
 '{"id":93,"organization_id":"acme","contact_id":4711,"title":"Analytical engine","stage":"qualified","amount":14000.00,"currency":"EUR","assigned_to":17,"created_at":"2024-01-17T14:00:00+00:00","updated_at":"2024-01-18T09:20:05+00:00"}'),
('conversation.created', 'conversation', true, 'A conversation was opened.',
 '{"id":801,"organization_id":"acme","contact_id":4711,"channel":"whatsapp","status":"open","assigned_to":null,"created_at":"2024-01-15T10:31:00+00:00","updated_at":"2024-01-15T10:31:00+00:00"}'),
('conversation.assigned', 'conversation', true, 'A conversation was assigned to somebody.',
 '{"id":801,"organization_id":"acme","contact_id":4711,"channel":"whatsapp","status":"open","assigned_to":17,"created_at":"2024-01-15T10:31:00+00:00","updated_at":"2024-01-15T10:33:20+00:00"}'),
('conversation.status.changed', 'conversation', true, 'A conversation''s status changed.',
 '{"id":801,"organization_id":"acme","contact_id":4711,"channel":"whatsapp","status":"resolved","assigned_to":17,"created_at":"2024-01-15T10:31:00+00:00","updated_at":"2024-01-15T11:02:00+00:00"}'),
('message.received', 'message', true, 'A message came in from a contact.',
 '{"id":55012,"organization_id":"acme","conversation_id":801,"direction":"inbound","status":"received","body":"Do you deliver on Saturdays?","created_at":"2024-01-15T10:31:00+00:00","updated_at":"2024-01-15T10:31:00+00:00"}'),
('message.sent', 'message', true, 'A message was handed to the channel.',
 '{"id":55013,"organization_id":"acme","conversation_id":801,"direction":"outbound","status":"sent","body":"We do, until noon.","created_at":"2024-01-15T10:34:00+00:00","updated_at":"2024-01-15T10:34:01+00:00"}'),
('message.delivered', 'message', true, 'A message reached the contact''s device.',
 '{"id":55013,"organization_id":"acme","conversation_id":801,"direction":"outbound","status":"delivered","body":"We do, until noon.","created_at":"2024-01-15T10:34:00+00:00","updated_at":"2024-01-15T10:34:03+00:00"}'),
('message.read', 'message', true, 'The contact read a message.',
 '{"id":55013,"organization_id":"acme","conversation_id":801,"direction":"outbound","status":"read","body":"We do, until noon.","created_at":"2024-01-15T10:34:00+00:00","updated_at":"2024-01-15T10:36:47+00:00"}'),
('message.failed', 'message', true, 'A message could not be delivered to the contact.',
 '{"id":55014,"organization_id":"acme","conversation_id":801,"direction":"outbound","status":"failed","body":"See you on Saturday.","error":"recipient unreachable","created_at":"2024-01-15T10:40:00+00:00","updated_at":"2024-01-15T10:40:09+00:00"}'),
('broadcast.response', 'broadcast', true, 'A contact answered a broadcast.',
 '{"id":312,"organization_id":"acme","broadcast_id":8,"contact_id":4711,"response":"yes","created_at":"2024-01-20T18:00:12+00:00"}'),
('zoom.recording.completed', 'zoom', true, 'The recording of a Zoom meeting is ready.',
 '{"id":26,"organization_id":"acme","meeting_id":"85746065432","contact_id":4711,"topic":"Analytical engine: demonstration","duration_s":1860,"recording_url":"https://zoom.example.com/rec/85746065432","status":"completed","created_at":"2024-01-19T15:35:00+00:00","updated_at":"2024-01-19T15:52:30+00:00"}'),
-- About webhooks themselves: see src/worker/operational_events.h.
('webhook.disabled', 'webhook', true, 'A webhook was switched off because its endpoint kept failing, or asked for it.',
 '{"configuration_id":"6f1c1a52-3f5e-4f0b-9d53-0a4c8f0e7a11","name":"crm","reason":"HTTP status 410: the endpoint is gone for good"}'),
('webhook.delivery.failed', 'webhook', true, 'A delivery was given up after its last attempt.',
 '{"configuration_id":"6f1c1a52-3f5e-4f0b-9d53-0a4c8f0e7a11","name":"crm","webhook_id":"evt_0123456789abcdefghijklmnop","event":"contact.created","attempts":9,"error":"HTTP status 500; the last attempt of its schedule"}'),
('webhook.recovered', 'webhook', true, 'An endpoint that kept failing answers again.',
 '{"configuration_id":"6f1c1a52-3f5e-4f0b-9d53-0a4c8f0e7a11","name":"crm","failing_since":"2024-01-20T18:00:12.000Z"}');

-- What webhook_test() sends unless told otherwise. No change of a row causes it.
INSERT INTO @extschema@.webhook_event_types (name, category, is_builtin, description, example) VALUES
('webhook.test', 'webhook', true, 'A webhook was tested by webhook_test().',
 '{"message":"This is a test of your webhook."}');

-- === Row-level security ==============================================================================================

-- On for every table and every segment. What has no policy below is for the owner alone: webhook_secrets, and the
-- segments, which are read through their parents. Whether a role may use a table at all is a matter of GRANT:
-- webhook_grant().
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT c.oid FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass
          AND d.refclassid = 'pg_extension'::regclass
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'webhook')
          AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    END LOOP;
END
$$;

CREATE POLICY webhook_tenants ON @extschema@.webhook_configurations
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()))
    WITH CHECK (organization_id = (SELECT @extschema@.webhook_current_organization()));
CREATE POLICY webhook_tenants ON @extschema@.webhook_deliveries FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
CREATE POLICY webhook_tenants ON @extschema@.webhook_logs FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
CREATE POLICY webhook_tenants ON @extschema@.webhook_minutes FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
CREATE POLICY webhook_tenants ON @extschema@.webhook_endpoints FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
CREATE POLICY webhook_tenants ON @extschema@.webhook_events FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
CREATE POLICY webhook_tenants ON webhook_internal.given_up FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
CREATE POLICY webhook_readers ON @extschema@.webhook_event_types FOR SELECT USING (true);

CREATE POLICY webhook_operators ON @extschema@.webhook_configurations
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_deliveries FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_logs FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_minutes FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_endpoints FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_events FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON webhook_internal.given_up FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_instance
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_checkpoint FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_rings FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
-- pg_dump leaves the built-in types out: a change of theirs would be lost.
CREATE POLICY webhook_operators ON @extschema@.webhook_event_types
    USING (NOT is_builtin
           AND (SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));

-- The planner takes a leakproof operator to another organization's rows before the policy, and EXPLAIN shows what it expects: of
-- a value among the most common ones, how many there are. So the tables that have a policy for tenants keep no statistics of
-- what is in their columns; on a partitioned table that goes for the segments too. What runs often finds its index without.
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        SELECT p.polrelid::regclass AS relation, a.attname AS name
        FROM pg_policy p JOIN pg_attribute a ON a.attrelid = p.polrelid
        WHERE p.polname = 'webhook_tenants' AND a.attnum > 0 AND NOT a.attisdropped
          AND p.polrelid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
                               AND e.extname = 'webhook')
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', kept.relation, kept.name);
    END LOOP;
END
$$;

-- === Names of events =================================================================================================

-- The known events, those first that share the most pairs of letters with the text, of which 100 letters count: no
-- event's name is longer.
CREATE FUNCTION webhook_internal.known_events(near text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT t.name,
               row_number() OVER (ORDER BY 2.0 * s.shared / (length(t.name) + length(near)) DESC, t.name) AS place
        FROM @extschema@.webhook_event_types t
        CROSS JOIN LATERAL (
            SELECT count(*) AS shared
            FROM (SELECT substr(t.name, i, 2) FROM generate_series(1, length(t.name) - 1) i
                  INTERSECT
                  SELECT substr(near, i, 2) FROM generate_series(1, least(length(near), 100) - 1) i) pairs
        ) s
    )
    SELECT 'Known events, nearest first: ' || string_agg(k.name, ', ' ORDER BY k.place)
           || CASE WHEN (SELECT count(*) FROM known) > 20 THEN ', ...' ELSE '' END || '.'
    FROM known k WHERE k.place <= 20
$$;

CREATE FUNCTION webhook_internal.check_event(event text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := CASE WHEN event LIKE '%*' THEN 'it is a pattern'
                         ELSE @extschema@.webhook_event_pattern_problem(event) END;
BEGIN
    IF event IS NULL THEN
        RAISE EXCEPTION 'the event''s name must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'invalid event name "%": %', event, problem
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Names are lower-case parts with dots between them, such as invoice.paid.';
    END IF;
END
$$;

-- Events about webhooks come from the worker alone.
CREATE FUNCTION webhook_internal.check_own_event(event text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF starts_with(event, 'webhook.') THEN
        RAISE EXCEPTION 'event name "%" is reserved', event
            USING ERRCODE = 'reserved_name',
                  DETAIL = 'Names that begin with "webhook." are for events about webhooks themselves.',
                  HINT = 'Choose another name.';
    END IF;
END
$$;

CREATE FUNCTION webhook_internal.check_known_event(event text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_event(event);
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE t.name = event) THEN
        RAISE EXCEPTION 'unknown event "%"', event
            USING ERRCODE = 'undefined_object',
                  DETAIL = webhook_internal.known_events(event),
                  HINT = format('If it is a new event, declare where it comes from with @extschema@.webhook_watch(), '
                                'or register it: INSERT INTO @extschema@.webhook_event_types (name, category) '
                                'VALUES (%L, %L);', event, split_part(event, '.', 1));
    END IF;
END
$$;

-- The rules of src/core/event_pattern.h: "*" leaves out the events about webhooks themselves.
CREATE FUNCTION webhook_internal.check_event_pattern(pattern text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := @extschema@.webhook_event_pattern_problem(pattern);
    prefix text := left(pattern, -1);
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'invalid event "%": %', pattern, problem
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'events',
                  HINT = 'Give names such as contact.created, patterns such as contact.*, or * for all.';
    END IF;
    IF pattern NOT LIKE '%*' THEN
        PERFORM webhook_internal.check_known_event(pattern);
    ELSIF pattern <> '*'
          AND NOT EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE starts_with(t.name, prefix)) THEN
        RAISE EXCEPTION 'no known event matches "%"', pattern
            USING ERRCODE = 'undefined_object', TABLE = 'webhook_configurations', COLUMN = 'events',
                  DETAIL = webhook_internal.known_events(pattern),
                  HINT = 'Declare the events first with @extschema@.webhook_watch(), or register them: '
                         'INSERT INTO @extschema@.webhook_event_types (name, category) VALUES (...);';
    END IF;
END
$$;

-- === webhook_configurations: what may be stored ======================================================================

CREATE FUNCTION webhook_internal.check_range(parameter text, value integer, lowest integer, highest integer)
    RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value NOT BETWEEN lowest AND highest THEN
        RAISE EXCEPTION '% is outside the valid range for % (% .. %)', value, parameter, lowest, highest
            USING ERRCODE = 'numeric_value_out_of_range', TABLE = 'webhook_configurations', COLUMN = parameter;
    END IF;
END
$$;

CREATE FUNCTION webhook_internal.check_events(events text[]) RETURNS void
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pattern text;
BEGIN
    IF cardinality(events) = 0 OR array_ndims(events) > 1 OR array_position(events, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'events must be a non-empty list of event names'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'events',
                  HINT = 'Give names such as contact.created, patterns such as contact.*, or * for all; '
                         'a webhook is switched off by is_active = false.';
    END IF;
    IF cardinality(events) > 200 THEN
        RAISE EXCEPTION 'events can be at most 200 names and patterns'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'events',
                  DETAIL = format('The list has %s.', cardinality(events)),
                  HINT = 'A pattern such as contact.* stands for many names.';
    END IF;
    FOREACH pattern IN ARRAY events LOOP
        PERFORM webhook_internal.check_event_pattern(pattern);
    END LOOP;
END
$$;

CREATE FUNCTION webhook_internal.check_headers(headers jsonb) RETURNS void
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    header record;
    problem text;
    size record;
BEGIN
    IF jsonb_typeof(headers) <> 'object' THEN
        RAISE EXCEPTION 'headers must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers',
                  HINT = 'An example: {"X-Api-Key": "..."}';
    END IF;
    SELECT count(*) AS headers, sum(octet_length(h.key) + octet_length(h.value)) AS bytes INTO size
    FROM jsonb_each_text(headers) h;
    IF size.headers > 32 THEN
        RAISE EXCEPTION 'a webhook can have at most 32 headers'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers',
                  DETAIL = format('There are %s.', size.headers);
    END IF;
    IF size.bytes > 8192 THEN
        RAISE EXCEPTION 'the headers of a webhook can have at most 8192 bytes, names and values together'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers',
                  DETAIL = format('They have %s.', size.bytes);
    END IF;
    -- Neither values nor ill-formed names go into a message: both may hold a credential.
    FOR header IN
        SELECT h.key AS name, jsonb_typeof(h.value) = 'string' AS is_text, h.value #>> '{}' AS value,
               count(*) OVER (PARTITION BY lower(h.key)) AS times
        FROM jsonb_each(headers) h ORDER BY h.key
    LOOP
        problem := CASE WHEN NOT header.is_text THEN 'the value of a header must be a string'
                        WHEN header.times > 1 THEN 'a header is given twice, in different cases'
                        ELSE @extschema@.webhook_header_problem(header.name, header.value) END;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'invalid header: %', problem
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers';
        END IF;
    END LOOP;
END
$$;

-- By the seconds, which the worker reads: comparing intervals takes a year for 360 days, so that years less days may
-- compare as one day and be centuries.
CREATE FUNCTION webhook_internal.check_retry_schedule(retry_schedule interval[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(retry_schedule) NOT BETWEEN 1 AND 20 OR array_ndims(retry_schedule) > 1
       OR EXISTS (SELECT FROM unnest(retry_schedule) step CROSS JOIN LATERAL extract(epoch FROM step) seconds
                  WHERE step IS NULL OR seconds <= 0 OR seconds > 30 * 86400) THEN
        RAISE EXCEPTION 'retry_schedule must be a list of 1 to 20 positive intervals of at most 30 days each'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'retry_schedule',
                  HINT = 'An example: {5s,30s,5min}. Null means the setting webhook.retry_schedule.';
    END IF;
END
$$;

-- What the worker evaluates for every event: bounded, and without what it cannot have.
CREATE FUNCTION webhook_internal.check_filter(filter jsonpath) RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(filter::text) > 1024 THEN
        RAISE EXCEPTION 'the filter is longer than 1024 bytes'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'filter',
                  DETAIL = format('It has %s.', octet_length(filter::text)),
                  HINT = 'Filter on less, or let the receiver do the rest.';
    END IF;
    -- In its normal form a variable is a dollar before a quoted name; names and strings are cut short.
    IF position('$"' IN regexp_replace(filter::text, E'([$]?)"([^"\\\\]|\\\\.)*"', E'\\1"', 'g')) > 0 THEN
        RAISE EXCEPTION 'the filter uses a variable, and there are none'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'filter',
                  HINT = '$ is the data of the event: $.amount > 5, or $ ? (@.amount > 5).';
    END IF;
END
$$;

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

CREATE TRIGGER webhook_configurations_0_stamp_replicated BEFORE INSERT OR UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_stamp();
ALTER TABLE @extschema@.webhook_configurations ENABLE REPLICA TRIGGER webhook_configurations_0_stamp_replicated;

-- After two billion numbers all events know all that follow: what is_active says then holds.
CREATE FUNCTION webhook_internal.draw_switch() RETURNS integer
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT least(nextval('@extschema@.webhook_switches_seq'), 2147483647)::integer
$$;

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

CREATE FUNCTION webhook_internal.was_active(is_active boolean, switches integer[], known_switch integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN switches = '{}' OR known_switch IS NULL THEN is_active
                WHEN known_switch < switches[1] THEN false
                ELSE is_active = ((cardinality(switches) - width_bucket(known_switch, switches)) % 2 = 0) END
$$;

-- Checks what is new in the row, so that a webhook stored under another policy (webhook.allow_http) can still be
-- switched off. A dump's rows come back whatever the settings: one that is refused would take all others with it.
-- SECURITY DEFINER, so that whoever may write the table needs no right on the functions that check.
CREATE FUNCTION webhook_internal.configurations_check() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.organization_id) IS DISTINCT FROM (OLD.id, OLD.organization_id) THEN
        -- Its deliveries and logs bear both.
        RAISE EXCEPTION 'neither the id nor the organization of a webhook can be changed'
            USING ERRCODE = 'feature_not_supported', HINT = 'Create a new webhook and delete this one.';
    END IF;
    IF btrim(NEW.name) = '' THEN
        RAISE EXCEPTION 'the name of a webhook must not be empty'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'name';
    END IF;
    IF length(NEW.name) > 200 THEN
        RAISE EXCEPTION 'the name of a webhook can have at most 200 characters'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'name',
                  DETAIL = format('It has %s.', length(NEW.name));
    END IF;
    IF octet_length(NEW.organization_id) > 1000 THEN
        -- Capture shortens what is longer.
        RAISE EXCEPTION 'the organization_id of a webhook can have at most 1000 bytes'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'organization_id',
                  DETAIL = format('It has %s.', octet_length(NEW.organization_id));
    END IF;
    IF length(NEW.disabled_reason) > 1000 THEN
        RAISE EXCEPTION 'the disabled_reason of a webhook can have at most 1000 characters'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'disabled_reason',
                  DETAIL = format('It has %s.', length(NEW.disabled_reason)), HINT = 'Shorten it.';
    END IF;
    IF TG_OP = 'INSERT' OR NEW.url <> OLD.url THEN
        -- A dump has one of the two times for each row. Its URLs are judged again when requests are made.
        problem := CASE WHEN TG_OP = 'INSERT' AND coalesce(NEW.active_since, NEW.disabled_at) IS NOT NULL
                        THEN webhook_internal.url_form_problem(NEW.url)
                        ELSE @extschema@.webhook_url_problem(NEW.url) END;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'invalid URL: %', problem
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'url',
                      HINT = 'Give a URL such as https://example.com/hooks.';
        END IF;
    END IF;
    -- What most rows hold is seen to be right without a call: a call costs more than the rest of this function.
    IF (TG_OP = 'INSERT' OR NEW.events <> OLD.events)
       AND (cardinality(NEW.events) NOT BETWEEN 1 AND 200 OR array_ndims(NEW.events) > 1
            OR EXISTS (SELECT FROM unnest(NEW.events) e (name)
                       WHERE e.name IS NULL
                          OR NOT EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE t.name = e.name))) THEN
        PERFORM webhook_internal.check_events(NEW.events);
    END IF;
    IF (TG_OP = 'INSERT' OR NEW.headers <> OLD.headers) AND NEW.headers <> '{}' THEN
        PERFORM webhook_internal.check_headers(NEW.headers);
    END IF;
    IF NEW.timeout_ms NOT BETWEEN 100 AND 60000 OR NEW.max_in_flight NOT BETWEEN 1 AND 1000 THEN
        PERFORM webhook_internal.check_range('timeout_ms', NEW.timeout_ms, 100, 60000);
        PERFORM webhook_internal.check_range('max_in_flight', NEW.max_in_flight, 1, 1000);
    END IF;
    IF NEW.rate_limit_per_s NOT BETWEEN 0.001 AND 100000 THEN
        RAISE EXCEPTION '% is outside the valid range for rate_limit_per_s (0.001 .. 100000)', NEW.rate_limit_per_s
            USING ERRCODE = 'numeric_value_out_of_range', TABLE = 'webhook_configurations',
                  COLUMN = 'rate_limit_per_s', HINT = 'Null means no limit.';
    END IF;
    IF NEW.ordering NOT IN ('relaxed', 'key', 'endpoint') THEN
        RAISE EXCEPTION 'invalid ordering "%"', left(NEW.ordering, 100)
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'ordering',
                  HINT = 'It is ''relaxed'', ''key'' or ''endpoint''.';
    END IF;
    PERFORM webhook_internal.check_filter(NEW.filter);
    PERFORM webhook_internal.check_retry_schedule(NEW.retry_schedule);
    -- The worker computes with them.
    IF least(NEW.active_since, NEW.disabled_at, NEW.created_at, NEW.updated_at) < '1970-01-01Z'
       OR greatest(NEW.active_since, NEW.disabled_at, NEW.created_at, NEW.updated_at) >= '10000-01-01Z' THEN
        RAISE EXCEPTION 'the times of a webhook must lie between the years 1970 and 9999'
            USING ERRCODE = 'datetime_field_overflow', TABLE = 'webhook_configurations';
    END IF;

    NEW.changed_xid := pg_current_xact_id();
    IF TG_OP = 'UPDATE' THEN
        NEW.created_at := OLD.created_at;
        NEW.updated_at := clock_timestamp();
    END IF;
    -- What an INSERT gives is a restore. disabled_at outlives the reactivation: what the webhook has missed lies
    -- between it and active_since.
    IF TG_OP = 'UPDATE' THEN
        NEW.active_since := OLD.active_since;
        NEW.disabled_at := OLD.disabled_at;
    END IF;
    IF NEW.is_active THEN
        NEW.disabled_reason := NULL;
        IF NEW.active_since IS NULL THEN
            NEW.active_since := clock_timestamp();
        END IF;
    ELSE
        NEW.active_since := NULL;
        IF NEW.disabled_at IS NULL OR TG_OP = 'UPDATE' AND OLD.is_active THEN
            NEW.disabled_at := clock_timestamp();
        END IF;
    END IF;
    NEW.switches := CASE WHEN TG_OP = 'INSERT' THEN ARRAY[webhook_internal.draw_switch()]
                         WHEN NEW.is_active <> OLD.is_active THEN webhook_internal.add_switch(OLD.switches, NEW.is_active)
                         ELSE OLD.switches END;
    NEW.last_switch := coalesce(NEW.switches[cardinality(NEW.switches)], 0);
    RETURN NEW;
END
$$;

CREATE TRIGGER webhook_configurations_1_check BEFORE INSERT OR UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_check();

-- SECURITY DEFINER to count, and to lock, which the caller may for the session's organization alone.
CREATE FUNCTION webhook_internal.check_limit(organization text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF organization IS DISTINCT FROM @extschema@.webhook_current_organization() THEN
        RAISE EXCEPTION 'permission denied to create a webhook of another organization'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF webhook_internal.count_webhooks(organization) > webhook_internal.webhooks_max() THEN
        RAISE EXCEPTION 'organization "%" cannot have more than % webhooks', organization, webhook_internal.webhooks_max()
            USING ERRCODE = 'configuration_limit_exceeded',
                  HINT = 'Delete webhooks that are not needed, or have the administrator raise '
                         'webhook.max_webhooks_per_organization.';
    END IF;
END
$$;

-- Operators are not limited. Once a statement, by the rows themselves: the session's organization may have changed since
-- they were checked.
CREATE FUNCTION webhook_internal.configurations_limit() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    organization text;
BEGIN
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN NULL;
    END IF;
    FOR organization IN SELECT DISTINCT i.organization_id FROM inserted i LOOP
        PERFORM webhook_internal.check_limit(organization);
    END LOOP;
    RETURN NULL;
END
$$;

CREATE TRIGGER webhook_configurations_4_limit AFTER INSERT ON @extschema@.webhook_configurations
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_limit();

-- === webhook_configurations: where secrets go ========================================================================
--
-- Whoever may write webhook_configurations may not read webhook_secrets: the functions that move a secret there are
-- SECURITY DEFINER. None of them may be called, or attached to another table, by anybody.
--
-- A BEFORE INSERT trigger does not know what becomes of its row: ON CONFLICT may drop it, or turn it into an UPDATE of
-- another one, and the id it proposes may be that of somebody else's webhook. So it only stages the secret, as one that
-- expired at -infinity, which nobody signs with; the AFTER INSERT or the row's BEFORE UPDATE trigger takes it from there,
-- and what nobody took is removed at the end of the statement.
--
-- They are planned without a look at the values of their variables, so that not even a server that logs its plans
-- (debug_print_plan) logs a secret.

-- 'whsec_', if the secret has it, an ellipsis, and the last four characters. The mask of a mask is the mask.
CREATE FUNCTION webhook_internal.mask(secret text) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_mask_secret';

-- Whether the text is a mask, by this database or by one of another encoding.
CREATE FUNCTION webhook_internal.is_mask(secret text) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT secret = webhook_internal.mask(secret) OR secret ~ '^(whsec_)?[.]{3}.{4}$'
$$;

-- What is wrong with a secret, and what to do. What is pasted badly is refused, for the receiver's copy would differ.
CREATE FUNCTION webhook_internal.check_secret(secret text) RETURNS void
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bytes text := encode(convert_to(secret, getdatabaseencoding()), 'hex');
    blanks text := chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || ' ';
    problem text;
    explanation text := '';
    hint text := 'Use @extschema@.webhook_generate_secret(), or null for no signature.';
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        -- Unicode's White_Space, and what has no width.
        SELECT blanks || string_agg(chr(c), '') INTO blanks
        FROM unnest(ARRAY[133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8203, 8204,
                          8205, 8206, 8207, 8232, 8233, 8239, 8287, 8288, 12288]) c;
    END IF;
    IF bytes ~ '^(..)*efbbbf' OR starts_with(bytes, 'c3afc2bbc2bf') THEN  -- as it is, and as Latin-1 taken for UTF-8
        problem := 'the secret contains a byte order mark';
        hint := 'Remove it: a text editor put it at the beginning of its file.';
    ELSIF right(secret, 1) IN (chr(10), chr(13)) THEN
        problem := 'the secret ends with a line end';
        hint := 'Remove it.';
    ELSIF btrim(secret, blanks) <> secret THEN
        problem := CASE WHEN ltrim(secret, blanks) <> secret THEN 'the secret begins with a blank'
                        ELSE 'the secret ends with a blank' END;
        explanation := 'Blanks of Unicode and characters without a width count too.';
        hint := 'Remove it.';
    ELSIF bytes ~ '^(..)*([01].|7f)' THEN
        problem := 'the secret contains a line end or another control character';
        hint := 'Remove it.';
    ELSIF lower(secret) ~ 'whsec_' AND NOT starts_with(secret, 'whsec_') THEN
        problem := CASE WHEN lower(secret) ~ '^whsec_' THEN 'the secret''s prefix whsec_ is not in lower case'
                        ELSE 'the secret has something before whsec_' END;
        explanation := 'Receivers know a secret in base64 by its beginning, whsec_ (Standard Webhooks).';
        hint := 'Begin with whsec_, without quotes, names and versions before it.';
    ELSIF lower(secret) ~ '^wh[sp]k_' THEN
        problem := 'the secret is an asymmetric key';
        explanation := 'Requests are signed by HMAC-SHA256, for which both sides have the same secret.';
    ELSIF length(secret) < 12 THEN
        problem := 'the secret is shorter than 12 characters';
    ELSIF octet_length(secret) > 512 THEN
        problem := 'the secret is longer than 512 bytes';
    ELSIF starts_with(secret, 'whsec_')
          AND ((length(secret) - 6) % 4 <> 0 OR secret !~ '^whsec_[A-Za-z0-9+/]+={0,2}$') THEN
        problem := 'the secret begins with whsec_, but the rest is not base64';
        explanation := 'Receivers decode the rest to get the key (Standard Webhooks).';
        hint := 'Use @extschema@.webhook_generate_secret(), or a text without that prefix.';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                  DETAIL = explanation, HINT = hint;
    END IF;
    IF bytes ~ '^(..)*[89a-f]' THEN
        RAISE WARNING 'the secret has characters beyond ASCII'
            USING DETAIL = 'Its UTF-8 is the key. Libraries of Standard Webhooks that are given it as a text compute another '
                           'one, and refuse what is signed.',
                  HINT = 'Use @extschema@.webhook_generate_secret().';
    END IF;
END
$$;

CREATE FUNCTION webhook_internal.replace_secret(webhook uuid, plain text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    IF EXISTS (SELECT FROM @extschema@.webhook_secrets s
               WHERE s.configuration_id = webhook AND s.expires_at IS NULL
                 AND webhook_internal.is_secret(s.configuration_id, s.key_id, s.secret, plain)) THEN
        RETURN;
    END IF;
    DELETE FROM @extschema@.webhook_secrets s WHERE s.configuration_id = webhook;
    IF plain IS NOT NULL THEN
        INSERT INTO @extschema@.webhook_secrets (configuration_id, key_id, secret)
        SELECT webhook, n.key_id, n.sealed FROM webhook_internal.seal_secret(webhook, plain) n;
    END IF;
END
$$;

CREATE FUNCTION webhook_internal.configurations_stage_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    -- No mask is longer than whsec_...1234. What becomes of the row decides: it may be an upsert of what was read.
    IF length(plain) <= 13 AND webhook_internal.is_mask(plain) THEN
        RETURN NEW;
    END IF;
    -- What webhook_generate_secret() makes is right: a call costs more.
    IF plain !~ '^whsec_([A-Za-z0-9+/]{4}){4,100}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN
        PERFORM webhook_internal.check_secret(plain);
    END IF;
    NEW.secret := webhook_internal.mask(plain);
    -- A null id fails at once, and the message for it must not come from webhook_secrets, whose row it would show.
    IF NEW.id IS NOT NULL THEN
        INSERT INTO @extschema@.webhook_secrets (configuration_id, key_id, secret, expires_at)
        SELECT NEW.id, n.key_id, n.sealed, '-infinity' FROM webhook_internal.seal_secret(NEW.id, plain) n;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION webhook_internal.configurations_adopt_secrets() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    adopted tid[];
BEGIN
    -- The first of a kind: with ON CONFLICT DO NOTHING, the first row of a key is the one that is inserted.
    adopted := ARRAY(
        SELECT DISTINCT ON (i.id) s.ctid
        FROM inserted i
        JOIN @extschema@.webhook_secrets s ON s.configuration_id = i.id
        CROSS JOIN LATERAL webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret) o (secret)
        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity'
          AND webhook_internal.mask(o.secret) = i.secret
        ORDER BY i.id, s.created_at, s.ctid);
    -- A mask. Only in a restore does its secret follow, with webhook_secrets: what pg_dump and pg_restore write sets this.
    IF cardinality(adopted) < (SELECT count(*) FROM inserted i WHERE i.secret IS NOT NULL)
       AND current_setting('check_function_bodies')::boolean THEN
        RAISE EXCEPTION 'the secret is the mask of a secret'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                  DETAIL = 'A copy of a row of webhook_configurations has no secret: reading shows the mask alone.',
                  HINT = 'The secret itself is shown by @extschema@.webhook_reveal_secret(id); '
                         '@extschema@.webhook_generate_secret() makes another one.';
    END IF;
    IF adopted = '{}' THEN
        RETURN NULL;
    END IF;
    DELETE FROM @extschema@.webhook_secrets d
    WHERE d.expires_at IS DISTINCT FROM '-infinity'
      AND d.configuration_id IN (SELECT s.configuration_id FROM @extschema@.webhook_secrets s
                                 WHERE s.ctid = ANY (adopted));
    UPDATE @extschema@.webhook_secrets s SET expires_at = NULL WHERE s.ctid = ANY (adopted);
    RETURN NULL;
END
$$;

CREATE FUNCTION webhook_internal.configurations_change_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    IF webhook_internal.is_mask(plain) THEN
        -- INSERT ... ON CONFLICT DO UPDATE SET secret = EXCLUDED.secret: the last one staged is this row's.
        DELETE FROM @extschema@.webhook_secrets d
        WHERE d.ctid = (SELECT s.ctid
                        FROM @extschema@.webhook_secrets s
                        CROSS JOIN LATERAL webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret)
                                           o (secret)
                        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity'
                          AND webhook_internal.mask(o.secret) = NEW.secret
                        ORDER BY s.created_at DESC, s.ctid DESC LIMIT 1)
        RETURNING webhook_internal.open_secret(d.configuration_id, d.key_id, d.secret) INTO plain;
        IF NOT FOUND AND NEW.secret IS NOT DISTINCT FROM OLD.secret THEN
            RETURN NEW;
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the secret is the mask of another one'
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                      HINT = 'The secret itself is shown by @extschema@.webhook_reveal_secret(id).';
        END IF;
    END IF;
    PERFORM webhook_internal.check_secret(plain);
    PERFORM webhook_internal.replace_secret(NEW.id, plain);
    NEW.secret := webhook_internal.mask(plain);
    RETURN NEW;
END
$$;

-- SECURITY DEFINER for webhook_secrets, and for wake().
CREATE FUNCTION webhook_internal.configurations_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- INSERT ... ON CONFLICT DO UPDATE fires for its updates first, before what it has inserted has taken what is staged.
    IF TG_OP = 'INSERT' THEN
        DELETE FROM @extschema@.webhook_secrets s
        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity';
    END IF;
    PERFORM webhook_internal.wake();
    RETURN NULL;
END
$$;

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

CREATE TRIGGER webhook_configurations_2_stage_secret BEFORE INSERT ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL)
    EXECUTE FUNCTION webhook_internal.configurations_stage_secret();
CREATE TRIGGER webhook_configurations_2_change_secret BEFORE UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL OR OLD.secret IS NOT NULL)
    EXECUTE FUNCTION webhook_internal.configurations_change_secret();
CREATE TRIGGER webhook_configurations_3_adopt_secrets AFTER INSERT ON @extschema@.webhook_configurations
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_adopt_secrets();
CREATE TRIGGER webhook_configurations_4_forget AFTER DELETE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_forget();
CREATE TRIGGER webhook_configurations_4_forget_all BEFORE TRUNCATE ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_forget();
CREATE TRIGGER webhook_configurations_5_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_changed();

-- Of a deletion that replication applies something is left here, too.
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_4_forget;
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_4_forget_all;

-- Sessions remember who subscribes to what. A change that replication applies counts too: logical replication fires
-- triggers for rows and for TRUNCATE, but not for other statements.
CREATE TRIGGER webhook_configurations_6_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
CREATE TRIGGER webhook_configurations_6_invalidate_replicated AFTER INSERT OR UPDATE OR DELETE
    ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_6_invalidate;
ALTER TABLE @extschema@.webhook_configurations ENABLE REPLICA TRIGGER webhook_configurations_6_invalidate_replicated;

-- See "Managing webhooks" below about _own and _any.
CREATE FUNCTION webhook_internal.reveal_secret_any(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret) FROM @extschema@.webhook_secrets s
    WHERE s.configuration_id = webhook AND s.expires_at IS NULL
$$;

CREATE FUNCTION webhook_internal.reveal_secret_own(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.reveal_secret_any(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;

CREATE FUNCTION @extschema@.webhook_reveal_secret(configuration_id uuid) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c
                   WHERE c.id = webhook_reveal_secret.configuration_id) THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', configuration_id
            USING ERRCODE = 'undefined_object';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.reveal_secret_any(configuration_id);
    END IF;
    RETURN webhook_internal.reveal_secret_own(configuration_id);
END
$$;

-- SKIP LOCKED: whoever holds the row is changing the secret, or is another worker at the same. What does not open stays
-- as it is.
CREATE FUNCTION @extschema@.webhook_reencrypt_secrets() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    current_key_id text := webhook_internal.secret_key_id();
    outdated tid[];
    total bigint := 0;
BEGIN
    outdated := ARRAY(
        SELECT s.ctid FROM @extschema@.webhook_secrets s
        WHERE s.key_id IS DISTINCT FROM current_key_id
          AND webhook_internal.secret_problem(s.configuration_id, s.key_id, s.secret) IS NULL
        FOR UPDATE SKIP LOCKED);
    IF outdated <> '{}' THEN
        UPDATE @extschema@.webhook_secrets s
        SET (key_id, secret) = (
            SELECT n.key_id, n.sealed
            FROM webhook_internal.seal_secret(
                s.configuration_id,
                webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret)) n)
        WHERE s.ctid = ANY (outdated);
        GET DIAGNOSTICS total = ROW_COUNT;
    END IF;
    RETURN total;
END
$$;

-- === Replication =====================================================================================================

-- These tables say what this database has captured, owes and sent. A subscriber to all tables keeps its own.
CREATE FUNCTION webhook_internal.keep_local() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN NULL;
END
$$;

-- Both sides have the built-in types already.
CREATE FUNCTION webhook_internal.skip_known_type() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE t.name = NEW.name) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER webhook_skip_known_type BEFORE INSERT ON @extschema@.webhook_event_types
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.skip_known_type();
ALTER TABLE @extschema@.webhook_event_types ENABLE REPLICA TRIGGER webhook_skip_known_type;

DO $$
DECLARE
    relation regclass;
    segment regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        '@extschema@.webhook_events', '@extschema@.webhook_deliveries', '@extschema@.webhook_logs',
        '@extschema@.webhook_minutes', '@extschema@.webhook_endpoints',
        '@extschema@.webhook_checkpoint', '@extschema@.webhook_rings', '@extschema@.webhook_instance',
        'webhook_internal.lock_key', 'webhook_internal.saved_events', 'webhook_internal.given_up',
        'webhook_internal.deferred_changes'
    ]::regclass[] LOOP
        EXECUTE format(
            'CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s '
            'FOR EACH ROW EXECUTE FUNCTION webhook_internal.keep_local()', relation);
        -- On the segments one by one: a clone does not follow its parent everywhere.
        FOR segment IN
            SELECT relation UNION
            SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = relation
        LOOP
            EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_keep_local', segment);
        END LOOP;
    END LOOP;
END
$$;

-- Nor what a publisher's sessions have told its worker. What is told here, of what replication brings, comes from a trigger.
CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.webhook_changes
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION webhook_internal.keep_local();
ALTER TABLE @extschema@.webhook_changes ENABLE REPLICA TRIGGER webhook_keep_local;

-- === Copies ==========================================================================================================

-- A dump's row that comes after the worker has written one of its own: this database was restored, and must not call
-- anybody before webhook_resume(). Later than webhook_keep_local, by name. The lock is for two who come at once.
CREATE FUNCTION webhook_internal.instance_restored() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.lock_instance();
    UPDATE @extschema@.webhook_instance
    SET instance = gen_random_uuid(), is_paused = true, created_at = now(),
        paused_reason = 'this database was restored: webhook_resume() lets it deliver';
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER webhook_restored BEFORE INSERT ON @extschema@.webhook_instance
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.instance_restored();

-- What the worker keeps in memory, beside webhook_configurations.
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_instance
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();

-- The worker finds a secret that was written by its created_xid, which a dump brings from another cluster, and one that
-- was deleted by itself, which only the owner can do, in webhook_changes.
CREATE FUNCTION webhook_internal.secrets_stamp() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.created_xid := pg_current_xact_id();
    RETURN NEW;
END
$$;
CREATE FUNCTION webhook_internal.secrets_forget() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO @extschema@.webhook_changes (configuration_id, configuration_created_at, organization_id, is_deleted)
    SELECT c.id, c.created_at, c.organization_id, false FROM @extschema@.webhook_configurations c
    WHERE c.id = OLD.configuration_id
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER webhook_stamp BEFORE INSERT OR UPDATE ON @extschema@.webhook_secrets
    FOR EACH ROW WHEN (NEW.created_xid IS DISTINCT FROM pg_current_xact_id())
    EXECUTE FUNCTION webhook_internal.secrets_stamp();
CREATE TRIGGER webhook_forget AFTER DELETE ON @extschema@.webhook_secrets
    FOR EACH ROW WHEN (OLD.expires_at IS DISTINCT FROM '-infinity')
    EXECUTE FUNCTION webhook_internal.secrets_forget();
-- pg_restore --data-only --disable-triggers, or a session that has set session_replication_role.
ALTER TABLE @extschema@.webhook_instance ENABLE ALWAYS TRIGGER webhook_invalidate;
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_invalidate;
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_stamp;
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_forget;

-- === Declaring events ================================================================================================

-- pg_trigger.tgargs: texts in the database's encoding, each ended by a zero byte.
CREATE FUNCTION webhook_internal.trigger_arguments(tgargs bytea) RETURNS text[]
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    -- In this format a backslash is doubled: a zero byte, one backslash and 000, cannot be mistaken.
    SELECT trim_array(array_agg(convert_from(decode(a.part, 'escape'), getdatabaseencoding()) ORDER BY a.place), 1)
    FROM regexp_split_to_table(replace(encode(tgargs, 'escape'), E'\\\\', E'\\134'), E'\\\\000')
         WITH ORDINALITY a (part, place)
$$;

CREATE FUNCTION webhook_internal.trigger_option(arguments text[], option text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substr(a, length(option) + 2) FROM unnest(arguments[2:]) a WHERE starts_with(a, option || '=')
$$;

CREATE FUNCTION webhook_internal.trigger_condition(trigger_oid oid) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substring(pg_get_triggerdef(trigger_oid) FROM ' FOR EACH ROW WHEN [(](.*)[)] EXECUTE FUNCTION ')
$$;

CREATE FUNCTION webhook_internal.watch_key(source regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(a.attname ORDER BY k.place)
    FROM pg_constraint c
    CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
    WHERE c.conrelid = source AND c.contype = 'p'
$$;

CREATE VIEW @extschema@.webhook_watches WITH (security_invoker) AS
    SELECT t.tgrelid::regclass AS source,
           a.arguments[1] AS event,
           concat_ws(' OR ', CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END,
                             CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END,
                             CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END) AS operation,
           webhook_internal.trigger_condition(t.oid) AS condition,
           webhook_internal.trigger_option(a.arguments, 'changed_columns')::name[] AS changed_columns,
           webhook_internal.trigger_option(a.arguments, 'ignore_columns')::name[] AS ignore_columns,
           webhook_internal.trigger_option(a.arguments, 'organization_column')::name AS organization_column,
           nullif(coalesce(webhook_internal.trigger_option(a.arguments, 'key_columns')::name[],
                           webhook_internal.watch_key(t.tgrelid)), '{}') AS key_columns,
           webhook_internal.trigger_option(a.arguments, 'include_columns')::name[] AS include_columns,
           webhook_internal.trigger_option(a.arguments, 'exclude_columns')::name[] AS exclude_columns,
           coalesce(webhook_internal.trigger_option(a.arguments, 'include_previous')::boolean, false)
               AS include_previous,
           coalesce(webhook_internal.trigger_option(a.arguments, 'large_numbers_as_text')::boolean, false)
               AS large_numbers_as_text,
           t.tgname AS trigger_name,
           t.tgenabled IN ('O', 'A') AS is_enabled
    FROM pg_trigger t
    CROSS JOIN LATERAL (SELECT webhook_internal.trigger_arguments(t.tgargs) AS arguments) a
    WHERE t.tgfoid = '@extschema@.webhook_capture()'::regprocedure
      AND t.tgparentid = 0;

-- The tables that inherit from a watched one, at any level, and do not have the event themselves: triggers are not inherited.
-- A partition has its table's.
CREATE FUNCTION webhook_internal.unwatched_children(source regclass, event text) RETURNS regclass[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE child AS (
        SELECT i.inhrelid AS oid FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent AND p.relkind = 'r'
        WHERE i.inhparent = source
        UNION
        SELECT i.inhrelid FROM child c JOIN pg_inherits i ON i.inhparent = c.oid
    )
    SELECT array_agg(c.oid::regclass ORDER BY c.oid) FROM child c
    WHERE NOT EXISTS (SELECT FROM @extschema@.webhook_watches w
                      WHERE w.source = c.oid AND w.event = unwatched_children.event)
$$;

CREATE FUNCTION webhook_internal.check_source(source regclass) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation record;
BEGIN
    SELECT c.relkind, n.nspname,
           EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                     AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'webhook') AS is_ours
    INTO relation
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the source must be a table' USING ERRCODE = 'undefined_table';
    END IF;
    IF relation.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') THEN
        RAISE EXCEPTION '% is a system catalog', source
            USING ERRCODE = 'wrong_object_type', HINT = 'Name a table that holds your own rows.';
    END IF;
    IF relation.is_ours THEN
        RAISE EXCEPTION '% belongs to the extension webhook', source
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Its rows are no events: each would cause the next.',
                  HINT = 'Name a table that holds your own rows.';
    END IF;
    IF relation.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table but a %', source,
                        CASE relation.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                             WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'relation of another kind' END
            USING ERRCODE = 'wrong_object_type',
                  HINT = CASE WHEN relation.relkind IN ('v', 'm') THEN 'Declare the events on the tables below it.'
                              WHEN relation.relkind = 'f' THEN 'Declare the events where its rows are written.'
                              ELSE 'Events come from the rows of tables.' END;
    END IF;
END
$$;

CREATE FUNCTION webhook_internal.check_columns(source regclass, parameter text, columns name[], hint text)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing name;
BEGIN
    SELECT u.name INTO missing FROM unnest(columns) WITH ORDINALITY u (name, place)
    WHERE NOT EXISTS (SELECT FROM pg_attribute a
                      WHERE a.attrelid = source AND a.attname = u.name AND a.attnum > 0 AND NOT a.attisdropped)
    ORDER BY u.place LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column "%" of table % does not exist', missing, source
            USING ERRCODE = 'undefined_column',
                  DETAIL = format('It was given as %s. The columns are: %s.', parameter,
                                  (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
                                   WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped)),
                  HINT = hint;
    END IF;
END
$$;

-- Organizations and keys are compared as texts, which src/pg/row_json.cpp makes the same for values that are equal.
CREATE FUNCTION webhook_internal.check_comparison(source regclass, columns name[], is_organization boolean)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    compared record;
BEGIN
    FOR compared IN
        WITH RECURSIVE base AS (
            SELECT a.attname, a.atttypid AS type, format_type(a.atttypid, a.atttypmod) AS shown, a.attcollation AS collation_oid
            FROM pg_attribute a
            WHERE a.attrelid = source AND a.attname = ANY (columns) AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL
            SELECT b.attname, t.typbasetype, b.shown, b.collation_oid
            FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
        )
        SELECT b.attname, b.shown, t.typtype = 'e' AS is_enum, t.oid < 16384 AS is_builtin,
               b.type = '"char"'::regtype
                   OR b.type = ANY ('{text,varchar,bpchar,name,int2,int4,int8,numeric,uuid,oid}'::regtype[]) AS is_plain,
               b.type = ANY ('{interval,timetz,jsonb,record}'::regtype[]) OR t.typcategory IN ('A', 'C', 'R') AS is_loose,
               coalesce(NOT c.collisdeterministic, false) AS is_folded
        FROM base b JOIN pg_type t ON t.oid = b.type LEFT JOIN pg_collation c ON c.oid = b.collation_oid
        WHERE t.typtype <> 'd'
    LOOP
        IF is_organization AND NOT (compared.is_plain OR compared.is_enum) AND (compared.is_builtin OR compared.is_loose) THEN
            RAISE EXCEPTION 'column "%" of table % cannot hold an organization: its type is %',
                            compared.attname, source, compared.shown
                USING ERRCODE = 'datatype_mismatch',
                      HINT = 'Name a column of type text, uuid, integer or the like, or, in a database without tenants, pass '
                             'organization_column => NULL.';
        END IF;
        IF compared.is_folded OR compared.is_loose OR NOT (compared.is_plain OR compared.is_enum OR compared.is_builtin) THEN
            RAISE WARNING 'column "%" of table % is compared as text, byte by byte, and not as its % compares',
                          compared.attname, source,
                          CASE WHEN compared.is_folded THEN 'collation' ELSE 'type ' || compared.shown END
                USING DETAIL = CASE WHEN is_organization
                                    THEN 'Values that are equal but written differently are different organizations.'
                                    ELSE 'Values that are equal but written differently are different keys, whose events '
                                         'are not ordered among each other.' END;
        END IF;
    END LOOP;
END
$$;

-- The operation in the one spelling that the rest uses. By default what the event's last part says.
CREATE FUNCTION webhook_internal.watch_operation(event text, operation text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked text := upper(regexp_replace(btrim(operation), '[[:space:]]+', ' ', 'g'));
BEGIN
    IF asked IS NULL THEN
        asked := CASE WHEN event LIKE '%.created' THEN 'INSERT' WHEN event LIKE '%.updated' THEN 'UPDATE'
                      WHEN event LIKE '%.deleted' THEN 'DELETE' END;
        IF asked IS NULL THEN
            RAISE EXCEPTION 'the operation is required for event "%"', event
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'It follows from names that end in .created, .updated or .deleted only.',
                      HINT = 'Add operation => ''INSERT'', ''UPDATE'', ''DELETE'' or ''INSERT OR UPDATE''.';
        END IF;
    END IF;
    IF asked = 'UPDATE OR INSERT' THEN
        asked := 'INSERT OR UPDATE';
    END IF;
    IF asked NOT IN ('INSERT', 'UPDATE', 'DELETE', 'INSERT OR UPDATE') THEN
        RAISE EXCEPTION 'invalid operation "%"', operation
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is ''INSERT'', ''UPDATE'', ''DELETE'' or ''INSERT OR UPDATE''.';
    END IF;
    RETURN asked;
END
$$;

-- webhook_contact_created, with the operation behind it where the event's name says another one or none. A digest
-- takes the place of what does not fit into 63 bytes, and tells apart names that differ by "." and "_" or "-" alone.
CREATE FUNCTION webhook_internal.watch_trigger_name(source regclass, event text, operation text) RETURNS name
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    digest text := '_' || left(md5(event), 8);
    suffix text := CASE WHEN operation = 'INSERT' AND event LIKE '%.created'
                          OR operation = 'UPDATE' AND event LIKE '%.updated'
                          OR operation = 'DELETE' AND event LIKE '%.deleted' THEN ''
                        ELSE '_' || replace(lower(operation), ' ', '_') END;
    plain text := 'webhook_' || translate(event, '.-', '__');
BEGIN
    IF length(plain || suffix) <= 63
       AND NOT EXISTS (SELECT FROM pg_trigger t
                       WHERE t.tgrelid = source AND t.tgname = plain || suffix
                         AND (t.tgfoid <> '@extschema@.webhook_capture()'::regprocedure
                              OR (webhook_internal.trigger_arguments(t.tgargs))[1] IS DISTINCT FROM event)) THEN
        RETURN plain || suffix;
    END IF;
    RETURN left(plain, 63 - length(digest || suffix)) || digest || suffix;
END
$$;

-- The one place where texts become a statement. The operation comes from a list, the condition is one expression, the rest
-- is quoted. Whoever executes the result pins standard_conforming_strings, as this does, so that both read the same.
CREATE FUNCTION webhook_internal.trigger_declaration(
    trigger_name name, source regclass, operation text, condition text, arguments text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
BEGIN
    operation := webhook_internal.watch_operation(NULL, operation);
    PERFORM webhook_internal.check_condition(condition);
    -- With the table's schema, for the name is read in the caller's search_path. A line's end ends a comment.
    RETURN (SELECT format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %I.%I FOR EACH ROW %s '
                          'EXECUTE FUNCTION @extschema@.webhook_capture(%s)',
                          trigger_name, operation, n.nspname, c.relname, E'WHEN (' || condition || E'\n)',
                          (SELECT string_agg(quote_literal(a.argument), ', ' ORDER BY a.place)
                           FROM unnest(arguments) WITH ORDINALITY a (argument, place)))
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source);
END
$$;

-- The condition as PostgreSQL would show it for a trigger on the source; null if that cannot be told. Tried out on an
-- empty copy, which is rolled back: on the source it would lock out writers only to find that nothing has to be done.
CREATE FUNCTION webhook_internal.normal_condition(source regclass, operation text, condition text, search_path text)
    RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    normal text;
    declaration text;
BEGIN
    EXECUTE format('CREATE TEMPORARY TABLE webhook_condition_probe (LIKE %s)', source);
    declaration := webhook_internal.trigger_declaration(
        'webhook_probe', 'pg_temp.webhook_condition_probe', operation, condition, '{webhook.probe}');
    -- From here to where it is set back, whatever is not qualified is the caller's search_path's.
    PERFORM pg_catalog.set_config('search_path', normal_condition.search_path, true);
    EXECUTE declaration;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT webhook_internal.trigger_condition(t.oid) INTO normal FROM pg_trigger t
    WHERE t.tgrelid = 'pg_temp.webhook_condition_probe'::regclass AND t.tgname = 'webhook_probe';
    RAISE EXCEPTION 'undo the probe' USING ERRCODE = 'triggered_action_exception';
EXCEPTION WHEN OTHERS THEN
    RETURN normal;
END
$$;

-- The operators, functions and collations of a trigger's condition: what it means, whatever its spelling.
CREATE FUNCTION webhook_internal.condition_meaning(source regclass, trigger_name name) RETURNS text[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(DISTINCT m.found[1] ORDER BY m.found[1])
    FROM pg_trigger t
    CROSS JOIN LATERAL regexp_matches(t.tgqual::text, ':((?:opno|opnos|funcid|inputcollid|minmaxtype) [^:}]*)', 'g') m (found)
    WHERE t.tgrelid = source AND t.tgname = trigger_name
$$;

-- A dump spells the condition for an empty search_path. IS DISTINCT FROM, NULLIF and CASE name no operator: read back, they
-- find none for a type of another schema, or another one. Reads the trigger back so; an error undoes all of it.
CREATE FUNCTION webhook_internal.check_restorable(source regclass, trigger_name name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    meant text[] := webhook_internal.condition_meaning(source, trigger_name);
    trigger_oid oid := (SELECT t.oid FROM pg_trigger t WHERE t.tgrelid = source AND t.tgname = trigger_name);
    problem text;
BEGIN
    BEGIN
        PERFORM pg_catalog.set_config('search_path', '', true);
        EXECUTE 'CREATE OR REPLACE' || pg_catalog.substr(pg_catalog.pg_get_triggerdef(trigger_oid), 7);
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        IF webhook_internal.condition_meaning(source, trigger_name) IS DISTINCT FROM meant THEN
            problem := 'It would come back with other operators';
        END IF;
    EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
        problem := 'PostgreSQL would say: ' || SQLERRM;
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'pg_dump could not restore the condition'
            USING ERRCODE = 'invalid_object_definition', DETAIL = problem || '.',
                  HINT = 'For a type of an extension, name the operator with its schema, as in OLD.x OPERATOR(public.<>) NEW.x, '
                         'compare OLD.x::text with NEW.x::text, or say by changed_columns what must have changed.';
    END IF;
END
$$;

CREATE FUNCTION webhook_internal.watch_conflicts(source regclass, event text, operation text, trigger_name name)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    other record;
BEGIN
    SELECT w.trigger_name, w.operation INTO other FROM @extschema@.webhook_watches w
    WHERE w.source = watch_conflicts.source AND w.event = watch_conflicts.event
      AND w.trigger_name <> watch_conflicts.trigger_name
      AND string_to_array(w.operation, ' OR ') && string_to_array(watch_conflicts.operation, ' OR ')
    ORDER BY w.trigger_name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'event "%" is already declared on table % for %', event, source, other.operation
            USING ERRCODE = 'duplicate_object',
                  DETAIL = format('Trigger %I does it; with another one, each change would be two events.',
                                  other.trigger_name),
                  HINT = format('To declare it anew, first SELECT @extschema@.webhook_unwatch(%L, %L);', source, event);
    END IF;
    SELECT t.tgname, p.tgrelid::regclass AS parent INTO other
    FROM pg_trigger t JOIN pg_trigger p ON p.oid = t.tgparentid
    WHERE t.tgrelid = source AND t.tgfoid = '@extschema@.webhook_capture()'::regprocedure
      AND (webhook_internal.trigger_arguments(t.tgargs))[1] = event
    ORDER BY t.tgname LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'event "%" is already declared on the partitioned table %', event, other.parent
            USING ERRCODE = 'duplicate_object', DETAIL = format('%s is a partition of it.', source),
                  HINT = 'Declare an event on the partitioned table or on its partitions, not on both.';
    END IF;
END
$$;

CREATE FUNCTION webhook_internal.register_event(event text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE t.name = event) THEN
        RETURN;
    END IF;
    INSERT INTO @extschema@.webhook_event_types (name, category) VALUES (event, split_part(event, '.', 1))
    ON CONFLICT DO NOTHING;
    RAISE NOTICE 'event "%" is new and has been registered', event
        USING HINT = 'Describe it in @extschema@.webhook_event_types: description, example.';
END
$$;

-- The trigger's arguments: the event, then the options that are set. See src/pg/capture.h.
CREATE FUNCTION webhook_internal.watch_arguments(
    source regclass, event text, operation text, changed_columns name[], ignore_columns name[],
    organization_column name, key_columns name[], include_columns name[], exclude_columns name[],
    include_previous boolean, large_numbers_as_text boolean) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    updates boolean := operation LIKE '%UPDATE';
    arguments text[] := ARRAY[event];
    option record;
BEGIN
    IF NOT updates AND (changed_columns <> '{}' OR include_previous) THEN
        RAISE EXCEPTION '% is for updates only', CASE WHEN changed_columns <> '{}' THEN 'changed_columns'
                                                      ELSE 'include_previous' END
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Event "%s" is declared for %s.', event, operation);
    END IF;
    IF include_columns <> '{}' AND exclude_columns <> '{}' THEN
        RAISE EXCEPTION 'include_columns and exclude_columns cannot be combined'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the columns to send, or those to leave out.';
    END IF;
    PERFORM webhook_internal.check_columns(source, 'organization_column', ARRAY[organization_column],
        'Name the column that holds the organization, or, in a database without tenants, pass '
        'organization_column => NULL.') WHERE organization_column IS NOT NULL;
    PERFORM webhook_internal.check_comparison(source, ARRAY[organization_column], true);
    -- The default names a column that a table need not have.
    IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = source AND a.attname = 'updated_at') THEN
        ignore_columns := array_remove(ignore_columns, 'updated_at');
    END IF;
    IF NOT updates THEN
        ignore_columns := NULL;
    END IF;
    IF organization_column IS NOT NULL THEN
        arguments := arguments || ('organization_column=' || organization_column);
    END IF;
    FOR option IN
        SELECT * FROM (VALUES ('key_columns', key_columns),
                              ('ignore_columns', ignore_columns), ('changed_columns', changed_columns),
                              ('include_columns', include_columns),
                              ('exclude_columns', exclude_columns)) o (name, columns)
        -- Without the option the key is the primary key; with an empty list there is none.
        WHERE o.columns <> '{}' OR o.name = 'key_columns' AND o.columns = '{}'
    LOOP
        PERFORM webhook_internal.check_columns(source, option.name, option.columns,
            'Name columns of the table, or leave the parameter out.');
        arguments := arguments || (option.name || '=' || option.columns::text);
    END LOOP;
    PERFORM webhook_internal.check_comparison(source, coalesce(key_columns, webhook_internal.watch_key(source)), false);
    IF include_previous THEN
        arguments := arguments || 'include_previous=true'::text;
    END IF;
    IF large_numbers_as_text THEN
        arguments := arguments || 'large_numbers_as_text=true'::text;
    END IF;
    RETURN arguments;
END
$$;

-- Its own search_path is pinned; the caller's, in which the condition is read, comes in by a default, which is
-- evaluated before.
CREATE FUNCTION @extschema@.webhook_watch(
    source regclass,
    event text,
    operation text DEFAULT NULL,
    condition text DEFAULT NULL,
    changed_columns name[] DEFAULT NULL,
    ignore_columns name[] DEFAULT '{updated_at}',
    organization_column name DEFAULT 'organization_id',
    key_columns name[] DEFAULT NULL,
    include_columns name[] DEFAULT NULL,
    exclude_columns name[] DEFAULT NULL,
    include_previous boolean DEFAULT false,
    large_numbers_as_text boolean DEFAULT false,
    search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS name[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET standard_conforming_strings = on
AS $$
DECLARE
    arguments text[];
    own_trigger name;
    is_declared boolean;
    declaration text;
    problem text;
    children regclass[];
BEGIN
    PERFORM webhook_internal.check_source(source);
    PERFORM webhook_internal.check_event(event);
    PERFORM webhook_internal.check_own_event(event);
    operation := webhook_internal.watch_operation(event, operation);
    condition := nullif(btrim(condition), '');
    PERFORM webhook_internal.check_condition(condition);
    arguments := webhook_internal.watch_arguments(source, event, operation, changed_columns, ignore_columns,
        organization_column, key_columns, include_columns, exclude_columns, coalesce(include_previous, false),
        coalesce(large_numbers_as_text, false));
    own_trigger := webhook_internal.watch_trigger_name(source, event, operation);
    PERFORM webhook_internal.watch_conflicts(source, event, operation, own_trigger);

    SELECT w.condition IS NOT DISTINCT FROM
           CASE WHEN w.condition IS NULL OR webhook_watch.condition IS NULL THEN webhook_watch.condition
                ELSE webhook_internal.normal_condition(w.source, w.operation, webhook_watch.condition,
                                                          search_path) END
    INTO is_declared
    FROM @extschema@.webhook_watches w
    JOIN pg_trigger t ON t.tgrelid = w.source AND t.tgname = w.trigger_name
    WHERE w.source = webhook_watch.source AND w.operation = webhook_watch.operation AND t.tgname = own_trigger
      AND webhook_internal.trigger_arguments(t.tgargs) = arguments;
    IF is_declared THEN
        PERFORM webhook_internal.register_event(event);
        RETURN ARRAY[own_trigger];
    END IF;

    declaration := webhook_internal.trigger_declaration(own_trigger, source, operation, condition, arguments);
    BEGIN
        -- From here to where it is set back, whatever is not qualified is the caller's search_path's.
        PERFORM pg_catalog.set_config('search_path', webhook_watch.search_path, true);
        EXECUTE declaration;
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    EXCEPTION
        WHEN lock_not_available THEN
            RAISE EXCEPTION 'could not lock table % within 2 seconds', source
                USING ERRCODE = 'lock_not_available', DETAIL = 'Nothing was changed.',
                      HINT = 'Try again when no long transaction writes to it; pg_stat_activity shows which does.';
        WHEN invalid_object_definition THEN
            IF operation <> 'INSERT OR UPDATE' THEN
                RAISE;
            END IF;
            GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
            RAISE EXCEPTION 'the condition of event "%" mentions OLD, which an INSERT does not have', event
                USING ERRCODE = 'invalid_object_definition', DETAIL = problem || '.',
                      HINT = 'Declare the two by themselves: operation => ''UPDATE'' with this condition, and '
                             'operation => ''INSERT'' with one that mentions NEW only; or say what must have '
                             'changed by changed_columns instead.';
    END;
    IF condition IS NOT NULL THEN
        PERFORM webhook_internal.check_restorable(source, own_trigger);
    END IF;
    PERFORM webhook_internal.register_event(event);
    children := webhook_internal.unwatched_children(source, event);
    IF children IS NOT NULL THEN
        RAISE NOTICE 'rows of % are no "%": triggers are not inherited', array_to_string(children, ', '), event
            USING HINT = 'Declare the event for these tables too.';
    END IF;
    RETURN ARRAY[own_trigger];
END
$$;

CREATE FUNCTION @extschema@.webhook_unwatch(source regclass, event text) RETURNS name[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    trigger_names name[];
    trigger_name name;
    declared text;
BEGIN
    SELECT array_agg(w.trigger_name ORDER BY w.trigger_name) INTO trigger_names FROM @extschema@.webhook_watches w
    WHERE w.source = webhook_unwatch.source AND w.event = webhook_unwatch.event;
    IF trigger_names IS NULL THEN
        SELECT string_agg(DISTINCT w.event, ', ') INTO declared FROM @extschema@.webhook_watches w
        WHERE w.source = webhook_unwatch.source;
        RAISE EXCEPTION 'event "%" is not declared on table %', event, source
            USING ERRCODE = 'undefined_object',
                  DETAIL = coalesce('Declared on it: ' || declared || '.', 'No event is declared on it.'),
                  HINT = 'The view @extschema@.webhook_watches lists what is declared.';
    END IF;
    FOREACH trigger_name IN ARRAY trigger_names LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, source);
    END LOOP;
    RETURN trigger_names;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'could not lock table % within 2 seconds', source
        USING ERRCODE = 'lock_not_available', DETAIL = 'Nothing was changed.',
              HINT = 'Try again when no long transaction uses it; pg_stat_activity shows which does.';
END
$$;

-- For types of an extension such as citext. By the type's default operator class.
CREATE FUNCTION webhook_internal.foreign_equality(source regclass, column_name name) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE base AS (
        SELECT a.atttypid AS type FROM pg_attribute a
        WHERE a.attrelid = source AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
    )
    SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
    FROM base b
    JOIN pg_opclass c ON c.opcintype = b.type AND c.opcdefault
    JOIN pg_am m ON m.oid = c.opcmethod AND m.amname IN ('btree', 'hash')
    JOIN pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = b.type AND p.amoprighttype = b.type
                  AND p.amopstrategy = CASE m.amname WHEN 'btree' THEN 3 ELSE 1 END
    JOIN pg_operator o ON o.oid = p.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE n.nspname <> 'pg_catalog'
    ORDER BY m.amname LIMIT 1
$$;

-- IS DISTINCT FROM would not survive pg_dump where the operator is not in pg_catalog: check_restorable().
CREATE FUNCTION webhook_internal.condition_of_change(source regclass, column_name name) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN e.operator IS NULL THEN format('OLD.%1$I IS DISTINCT FROM NEW.%1$I', column_name)
                ELSE format('(OLD.%1$I %2$s NEW.%1$I) IS NOT TRUE AND (OLD.%1$I IS NOT NULL OR NEW.%1$I IS NOT NULL)',
                            column_name, e.operator) END
    FROM (SELECT webhook_internal.foreign_equality(source, column_name)) e (operator)
$$;

-- Compared as text, so that an enum need not have the value.
CREATE FUNCTION webhook_internal.condition_of_value(source regclass, column_name name, value text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN e.operator IS NULL THEN format('NEW.%I::text = %L', column_name, value)
                ELSE format('NEW.%I %s %L', column_name, e.operator, value) END
    FROM (SELECT webhook_internal.foreign_equality(source, column_name)) e (operator)
$$;

-- The tables are looked up by the defaults, and so in the caller's search_path. One row for each trigger.
CREATE FUNCTION @extschema@.webhook_watch_crm(
    contacts regclass DEFAULT pg_catalog.to_regclass('contacts'),
    deals regclass DEFAULT coalesce(pg_catalog.to_regclass('deals'), pg_catalog.to_regclass('leads')),
    conversations regclass DEFAULT pg_catalog.to_regclass('conversations'),
    messages regclass DEFAULT pg_catalog.to_regclass('messages'),
    broadcast_responses regclass DEFAULT pg_catalog.to_regclass('broadcast_responses'),
    zoom_recordings regclass DEFAULT pg_catalog.to_regclass('zoom_recordings'),
    organization_column name DEFAULT 'organization_id',
    contact_assigned_column name DEFAULT 'assigned_to',
    deal_assigned_column name DEFAULT 'assigned_to',
    deal_stage_column name DEFAULT 'stage',
    conversation_assigned_column name DEFAULT 'assigned_to',
    conversation_status_column name DEFAULT 'status',
    message_direction_column name DEFAULT 'direction',
    message_status_column name DEFAULT 'status',
    recording_status_column name DEFAULT 'status',
    updated_column name DEFAULT 'updated_at')
    RETURNS TABLE (event text, source regclass, trigger_name name)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_set text := 'NEW.%1$I IS NOT NULL';  -- for format()
    missing text;
    used record;
    declared record;
BEGIN
    FOR used IN
        SELECT * FROM (VALUES
            (contacts, 'contact_assigned_column', contact_assigned_column),
            (deals, 'deal_assigned_column', deal_assigned_column),
            (deals, 'deal_stage_column', deal_stage_column),
            (conversations, 'conversation_assigned_column', conversation_assigned_column),
            (conversations, 'conversation_status_column', conversation_status_column),
            (messages, 'message_direction_column', message_direction_column),
            (messages, 'message_status_column', message_status_column),
            (zoom_recordings, 'recording_status_column', recording_status_column)) u (table_used, parameter, name)
        WHERE u.table_used IS NOT NULL
    LOOP
        IF used.name IS NULL THEN
            RAISE EXCEPTION '% must not be null', used.parameter
                USING ERRCODE = 'null_value_not_allowed',
                      HINT = 'A table that is null is skipped; one that is watched needs all its columns.';
        END IF;
        PERFORM webhook_internal.check_source(used.table_used);
        PERFORM webhook_internal.check_columns(used.table_used, used.parameter, ARRAY[used.name],
            format('Name the column that the table has instead: %s => ''...''.', used.parameter));
    END LOOP;
    SELECT string_agg(t.name, ', ' ORDER BY t.place) INTO missing
    FROM unnest(ARRAY[contacts, deals, conversations, messages, broadcast_responses, zoom_recordings],
                ARRAY['contacts', 'deals', 'conversations', 'messages', 'broadcast_responses', 'zoom_recordings'])
         WITH ORDINALITY t (table_used, name, place)
    WHERE t.table_used IS NULL;
    IF missing IS NOT NULL THEN
        RAISE NOTICE 'no table was found for %: skipped', missing
            USING HINT = 'If such a table has another name, pass it, such as contacts => ''crm.people''.';
    END IF;

    FOR declared IN
        SELECT * FROM (VALUES
            (contacts, 'contact.created', 'INSERT', NULL),
            (contacts, 'contact.updated', 'UPDATE', NULL),
            (contacts, 'contact.assigned', 'INSERT', format(is_set, contact_assigned_column)),
            (contacts, 'contact.assigned', 'UPDATE',
             format(is_set, contact_assigned_column) || ' AND '
             || webhook_internal.condition_of_change(contacts, contact_assigned_column)),
            (deals, 'deal.created', 'INSERT', NULL),
            (deals, 'deal.updated', 'UPDATE', NULL),
            (deals, 'deal.stage.changed', 'UPDATE', webhook_internal.condition_of_change(deals, deal_stage_column)),
            (deals, 'deal.assigned', 'INSERT', format(is_set, deal_assigned_column)),
            (deals, 'deal.assigned', 'UPDATE',
             format(is_set, deal_assigned_column) || ' AND '
             || webhook_internal.condition_of_change(deals, deal_assigned_column)),
            (conversations, 'conversation.created', 'INSERT', NULL),
            (conversations, 'conversation.assigned', 'INSERT', format(is_set, conversation_assigned_column)),
            (conversations, 'conversation.assigned', 'UPDATE',
             format(is_set, conversation_assigned_column) || ' AND '
             || webhook_internal.condition_of_change(conversations, conversation_assigned_column)),
            (conversations, 'conversation.status.changed', 'UPDATE',
             webhook_internal.condition_of_change(conversations, conversation_status_column)),
            (messages, 'message.received', 'INSERT',
             webhook_internal.condition_of_value(messages, message_direction_column, 'inbound')),
            (broadcast_responses, 'broadcast.response', 'INSERT', NULL),
            (zoom_recordings, 'zoom.recording.completed', 'INSERT',
             webhook_internal.condition_of_value(zoom_recordings, recording_status_column, 'completed')),
            (zoom_recordings, 'zoom.recording.completed', 'UPDATE',
             webhook_internal.condition_of_value(zoom_recordings, recording_status_column, 'completed') || ' AND '
             || webhook_internal.condition_of_change(zoom_recordings, recording_status_column))
        ) w (table_used, event, operation, condition)
        UNION ALL
        SELECT messages, 'message.' || status, o.operation,
               webhook_internal.condition_of_value(messages, message_direction_column, 'outbound') || ' AND '
               || webhook_internal.condition_of_value(messages, message_status_column, status) || o.further
        FROM unnest(ARRAY['sent', 'delivered', 'read', 'failed']) status,
             (VALUES ('INSERT', ''),
                     ('UPDATE', ' AND ' || webhook_internal.condition_of_change(messages, message_status_column))) o (operation, further)
    LOOP
        CONTINUE WHEN declared.table_used IS NULL;
        event := declared.event;
        source := declared.table_used;
        FOREACH trigger_name IN ARRAY @extschema@.webhook_watch(
            source, event, declared.operation, declared.condition, organization_column => organization_column,
            ignore_columns => CASE WHEN event LIKE '%.updated' THEN array_remove(ARRAY[updated_column], NULL) END,
            search_path => 'pg_catalog, pg_temp')
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

-- === Publishing from SQL =============================================================================================

-- SECURITY DEFINER, because whoever may call append() itself can forge any organization's events. That this one
-- cannot does not depend on who calls it.
CREATE FUNCTION webhook_internal.emit_own(event text, data json, key text) RETURNS void
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

CREATE FUNCTION @extschema@.webhook_emit(
    event text,
    data json,
    organization_id text DEFAULT @extschema@.webhook_current_organization(),
    key text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
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
                  HINT = 'Only operators may: @extschema@.webhook_grant(role, ''operate'').';
    ELSE
        PERFORM webhook_internal.emit_own(event, data, key);
    END IF;
END
$$;

-- === Managing webhooks ===============================================================================================
--
-- What changes webhook_deliveries or webhook_secrets, which no role may write, comes in threes: the function to call;
-- _own, which does it for the webhooks of the session's organization; _any, which does it for all and is granted to
-- operators alone. Both of these are SECURITY DEFINER. That _own crosses no border does not depend on who calls it.

-- The events of the caller's organization that are still stored. Not security_invoker, so that it may read webhook_events
-- and the instance; in a view, current_user is still the caller, which a SECURITY DEFINER function could not tell.
CREATE VIEW @extschema@.webhook_own_events WITH (security_barrier) AS
    SELECT s.id, webhook_internal.encode_id(i.instance, s.id, s.created_at) AS webhook_id, s.created_at, s.event,
           s.organization_id, s.key, s.data, s.previous, s.oversized_bytes, s.known_switch
    FROM (SELECT e.id, e.created_at, e.event, e.organization_id, e.key, e.data, e.previous, e.oversized_bytes, e.known_switch
          FROM @extschema@.webhook_events e
          UNION ALL
          SELECT k.event_id, k.created_at, k.event, k.organization_id, k.key, k.data, k.previous, NULL, NULL
          FROM webhook_internal.saved_events k
          WHERE NOT EXISTS (SELECT FROM @extschema@.webhook_events e WHERE e.id = k.event_id)) s
    LEFT JOIN @extschema@.webhook_instance i ON true
    WHERE s.organization_id = (SELECT @extschema@.webhook_current_organization())
       OR (SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE'));

CREATE FUNCTION webhook_internal.check_own(webhook uuid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c
                   WHERE c.id = webhook
                     AND c.organization_id = (SELECT @extschema@.webhook_current_organization())) THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', webhook
            USING ERRCODE = 'undefined_object';
    END IF;
END
$$;

-- The row, which stays until the transaction ends: its deletion would have to see what is owed to it. Nobody else writes
-- that until then. The row is locked first, as by DELETE.
CREATE FUNCTION webhook_internal.hold(webhook uuid) RETURNS @extschema@.webhook_configurations
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held @extschema@.webhook_configurations;
BEGIN
    SELECT c.* INTO held FROM @extschema@.webhook_configurations c WHERE c.id = webhook FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook
            USING ERRCODE = 'undefined_object', HINT = 'It may have been deleted.';
    END IF;
    PERFORM webhook_internal.lock_deliveries(webhook);
    RETURN held;
END
$$;

-- As ordering_key() in src/core/lanes.h.
CREATE FUNCTION webhook_internal.ordering_key(ordering text, key text, event_id bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE ordering
           WHEN 'key' THEN CASE WHEN key IS NULL THEN '#' || event_id
                                WHEN octet_length(convert_to(key, 'UTF8')) <= 128 THEN '=' || key
                                ELSE '~' || encode(sha256(convert_to(key, 'UTF8')), 'hex') END
           WHEN 'endpoint' THEN '*' END
$$;

-- How many rows of webhook_deliveries the organization has; of more than the limit, one beyond it. Two scans, so that each
-- finds its index.
CREATE FUNCTION webhook_internal.count_owed(organization text, rows_max bigint) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*)
    FROM (SELECT FROM @extschema@.webhook_configurations c
          CROSS JOIN LATERAL (SELECT FROM @extschema@.webhook_deliveries d
                              WHERE d.configuration_id = c.id AND d.state = 'pending'
                              UNION ALL
                              SELECT FROM @extschema@.webhook_deliveries d
                              WHERE d.configuration_id = c.id AND d.state = 'dead') o
          WHERE c.organization_id = organization LIMIT rows_max + 1) n
$$;

-- Tells the worker that others have changed what the webhook is owed.
CREATE FUNCTION webhook_internal.announce_owed(webhook uuid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO @extschema@.webhook_changes (configuration_id, configuration_created_at, organization_id, is_deleted)
    SELECT c.id, c.created_at, c.organization_id, false FROM @extschema@.webhook_configurations c WHERE c.id = webhook
    ON CONFLICT DO NOTHING;
    PERFORM webhook_internal.wake();
END
$$;

-- Owes the events to the webhook again, from the first attempt on, and returns how many. Left out are those that are of
-- another organization or no longer stored. An error, if the organization had more rows than it may have then.
CREATE FUNCTION webhook_internal.owe(webhook uuid, events bigint[]) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held @extschema@.webhook_configurations := webhook_internal.hold(webhook);
    due timestamptz := clock_timestamp();  -- one for all: they go in the order of their ids
    request bigint := pg_current_xact_id()::text::bigint;  -- an attempt under way that ends now says nothing of it
    rows_max bigint := webhook_internal.owed_max();
    stored bigint;
    kept bigint;
BEGIN
    INSERT INTO @extschema@.webhook_deliveries AS d
        (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, owed_since,
         next_attempt_at, ordering_key, request, slot)
    SELECT e.id, held.id, held.created_at, held.organization_id, e.event, e.key, e.created_at, 'pending', due, due,
           webhook_internal.ordering_key(held.ordering, e.key, e.id), request, e.slot
    FROM unnest(events) u (id) JOIN @extschema@.webhook_events e ON e.id = u.id
    WHERE e.data IS NOT NULL AND e.organization_id IS NOT DISTINCT FROM held.organization_id
    ON CONFLICT ON CONSTRAINT webhook_deliveries_pkey DO UPDATE
        SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
            state = 'pending', attempts = 0, probes = 0, owed_since = due, next_attempt_at = due, last_error = NULL,
            ordering_key = excluded.ordering_key, request = excluded.request, updated_at = clock_timestamp();
    GET DIAGNOSTICS stored = ROW_COUNT;
    -- Those that outlived their segment: locked first, lest the worker delete one that nothing refers to.
    PERFORM FROM webhook_internal.saved_events s
    WHERE s.event_id = ANY (events) AND s.organization_id IS NOT DISTINCT FROM held.organization_id FOR KEY SHARE;
    INSERT INTO @extschema@.webhook_deliveries AS d
        (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, owed_since,
         next_attempt_at, ordering_key, request)
    SELECT s.event_id, held.id, held.created_at, held.organization_id, s.event, s.key, s.created_at, 'pending', due, due,
           webhook_internal.ordering_key(held.ordering, s.key, s.event_id), request
    FROM webhook_internal.saved_events s
    WHERE s.event_id = ANY (events) AND s.organization_id IS NOT DISTINCT FROM held.organization_id
      AND NOT EXISTS (SELECT FROM @extschema@.webhook_events e WHERE e.id = s.event_id AND e.data IS NOT NULL)
    ON CONFLICT ON CONSTRAINT webhook_deliveries_pkey DO UPDATE
        SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
            state = 'pending', attempts = 0, probes = 0, owed_since = due, next_attempt_at = due, last_error = NULL,
            ordering_key = excluded.ordering_key, request = excluded.request, updated_at = clock_timestamp();
    GET DIAGNOSTICS kept = ROW_COUNT;
    IF webhook_internal.count_owed(held.organization_id, rows_max) > rows_max THEN
        RAISE EXCEPTION 'organization "%" cannot have more than % deliveries that are pending or dead',
            held.organization_id, rows_max
            USING ERRCODE = 'configuration_limit_exceeded',
                  DETAIL = format('%s were to be owed to webhook "%s".', stored + kept, held.name),
                  HINT = 'Replay less at once, give up what is not needed by @extschema@.webhook_cancel(), or have the '
                         'administrator raise webhook.max_owed_per_organization.';
    END IF;
    PERFORM webhook_internal.announce_owed(held.id);
    IF NOT held.is_active AND stored + kept > 0 THEN
        RAISE NOTICE 'webhook "%" is inactive: what it is owed waits until it is active again', held.name;
    END IF;
    RETURN stored + kept;
END
$$;

CREATE FUNCTION webhook_internal.redeliver_any(webhook uuid, redelivered bigint) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF webhook_internal.owe(webhook, ARRAY[redelivered]) = 0 THEN
        RAISE EXCEPTION 'event % is not stored', redelivered
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = coalesce((SELECT format('Its %s bytes were more than webhook.max_payload, and were not '
                                                   'kept.', e.oversized_bytes)
                                     FROM @extschema@.webhook_events e
                                     WHERE e.id = redelivered AND e.oversized_bytes IS NOT NULL
                                       AND e.organization_id IS NOT DISTINCT FROM
                                           (SELECT c.organization_id FROM @extschema@.webhook_configurations c
                                            WHERE c.id = webhook)),
                                    'Events are kept for webhook.event_retention; log rows may outlive them.'),
                  HINT = 'To send its like again, change the row again, or publish it by @extschema@.webhook_emit().';
    END IF;
    -- In REPEATABLE READ a row that has been delivered since the snapshot is seen beside the new one.
    RETURN (SELECT d.next_attempt_at FROM @extschema@.webhook_deliveries d
            WHERE d.configuration_id = webhook AND d.event_id = redelivered ORDER BY d.owed_since DESC LIMIT 1);
END
$$;

CREATE FUNCTION webhook_internal.redeliver_own(webhook uuid, redelivered bigint) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_own(webhook);
    RETURN webhook_internal.redeliver_any(webhook, redelivered);
END
$$;

CREATE FUNCTION @extschema@.webhook_redeliver(log_id bigint, OUT configuration_id uuid, OUT event_id bigint,
                                              OUT event text, OUT next_attempt_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT l.configuration_id, l.event_id, l.event INTO configuration_id, event_id, event
    FROM @extschema@.webhook_logs l WHERE l.id = log_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'log row % does not exist, or belongs to another organization', log_id
            USING ERRCODE = 'undefined_object', HINT = 'Give an id of @extschema@.webhook_logs.';
    END IF;
    IF event_id < 0 THEN
        RAISE EXCEPTION 'log row % is of a test', log_id
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'No event is behind it.',
                  HINT = 'Call @extschema@.webhook_test() again.';
    END IF;
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_logs l
                   JOIN @extschema@.webhook_configurations c
                        ON c.id = l.configuration_id AND c.organization_id IS NOT DISTINCT FROM l.organization_id
                   WHERE l.id = log_id) THEN
        RAISE EXCEPTION 'the webhook of log row % has been deleted', log_id
            USING ERRCODE = 'undefined_object', DETAIL = format('It was %s.', configuration_id);
    END IF;
    -- Not in one expression: PostgreSQL would ask for the right to both.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        next_attempt_at := webhook_internal.redeliver_any(configuration_id, event_id);
    ELSE
        next_attempt_at := webhook_internal.redeliver_own(configuration_id, event_id);
    END IF;
END
$$;

-- The stored events in [since, until) that the webhook's patterns match, and, unless they are null, the given ones too.
CREATE FUNCTION webhook_internal.replayable(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS SETOF bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.id
    FROM @extschema@.webhook_configurations c
    JOIN @extschema@.webhook_own_events e ON e.organization_id IS NOT DISTINCT FROM c.organization_id
    WHERE c.id = webhook AND e.created_at >= since AND e.created_at < until AND e.data IS NOT NULL
      AND EXISTS (SELECT FROM unnest(c.events) p WHERE @extschema@.webhook_event_matches(p, e.event))
      AND (patterns IS NULL
           OR EXISTS (SELECT FROM unnest(patterns) p WHERE @extschema@.webhook_event_matches(p, e.event)))
      AND (c.filter IS NULL OR @extschema@.webhook_filter_problem(c.filter, e.data) IS NULL)
      AND (NOT only_failed
           OR e.id IN (SELECT d.event_id FROM @extschema@.webhook_deliveries d
                       WHERE d.configuration_id = webhook AND d.configuration_created_at = c.created_at
                         AND d.organization_id IS NOT DISTINCT FROM c.organization_id AND d.state = 'dead'))
$$;

CREATE FUNCTION webhook_internal.replay_any(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean, dry_run boolean)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c WHERE c.id = webhook) THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    IF dry_run THEN
        RETURN (SELECT count(*) FROM webhook_internal.replayable(webhook, since, until, patterns, only_failed));
    END IF;
    RETURN webhook_internal.owe(webhook, ARRAY(
        SELECT r FROM webhook_internal.replayable(webhook, since, until, patterns, only_failed) r));
END
$$;

CREATE FUNCTION webhook_internal.replay_own(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean, dry_run boolean)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_own(webhook);
    RETURN webhook_internal.replay_any(webhook, since, until, patterns, only_failed, dry_run);
END
$$;

CREATE FUNCTION @extschema@.webhook_replay(
    configuration_id uuid,
    since timestamptz,
    until timestamptz DEFAULT pg_catalog.now(),
    events text[] DEFAULT NULL,
    only_failed boolean DEFAULT false,
    dry_run boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF since IS NULL OR until IS NULL OR only_failed IS NULL OR dry_run IS NULL THEN
        RAISE EXCEPTION '% must not be null', CASE WHEN since IS NULL THEN 'since' WHEN until IS NULL THEN 'until'
                                                   WHEN only_failed IS NULL THEN 'only_failed' ELSE 'dry_run' END
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'For all that is stored, pass since => ''-infinity''. disabled_at is null until a webhook has '
                         'been switched off.';
    END IF;
    IF since > until THEN
        RAISE EXCEPTION 'since is later than until' USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('since is %s, until is %s.', since, until);
    END IF;
    PERFORM webhook_internal.check_events(events);
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.replay_any(configuration_id, since, until, events, only_failed, dry_run);
    END IF;
    RETURN webhook_internal.replay_own(configuration_id, since, until, events, only_failed, dry_run);
END
$$;

-- A delivery that dies without an attempt gets a log row with attempt 0, here too.
CREATE FUNCTION webhook_internal.cancel_any(webhook uuid, cancelled bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    total bigint;
    log_ring text;
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c WHERE c.id = webhook) THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    PERFORM webhook_internal.lock_deliveries(webhook);
    SELECT webhook_internal.log_ring(max(d.organization_id), count(*)) INTO log_ring FROM @extschema@.webhook_deliveries d
    WHERE d.configuration_id = webhook AND d.state = 'pending' AND (cancelled IS NULL OR d.event_id = cancelled);
    WITH given_up AS (
        UPDATE @extschema@.webhook_deliveries d
        SET state = 'dead', next_attempt_at = NULL, last_error = 'cancelled', updated_at = clock_timestamp()
        FROM @extschema@.webhook_configurations c
        WHERE c.id = webhook AND d.configuration_id = c.id AND d.configuration_created_at = c.created_at
          AND d.organization_id IS NOT DISTINCT FROM c.organization_id
          AND d.state = 'pending' AND (cancelled IS NULL OR d.event_id = cancelled)
        RETURNING d.configuration_id, d.organization_id, d.event_id, d.event)
    INSERT INTO @extschema@.webhook_logs
        (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
    SELECT r.slot, clock_timestamp(), g.configuration_id, g.organization_id, g.event_id, g.event, 0, 'failed',
           'cancelled'
    FROM given_up g, @extschema@.webhook_rings r WHERE r.ring = log_ring;
    GET DIAGNOSTICS total = ROW_COUNT;
    PERFORM webhook_internal.announce_owed(webhook);
    RETURN total;
END
$$;

CREATE FUNCTION webhook_internal.cancel_own(webhook uuid, cancelled bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_own(webhook);
    RETURN webhook_internal.cancel_any(webhook, cancelled);
END
$$;

CREATE FUNCTION @extschema@.webhook_cancel(configuration_id uuid, event_id bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.cancel_any(configuration_id, event_id);
    END IF;
    RETURN webhook_internal.cancel_own(configuration_id, event_id);
END
$$;

-- The trigger of the UPDATE drops the old secrets. Back come the newest of them that have not expired: no more, or the
-- header with their signatures would grow.
CREATE FUNCTION webhook_internal.rotate_secret_any(webhook uuid, overlap interval) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    kept_max CONSTANT integer := 3;
    fresh text := @extschema@.webhook_generate_secret();
    expiry timestamptz := clock_timestamp() + overlap;
    kept @extschema@.webhook_secrets[];
BEGIN
    PERFORM FROM @extschema@.webhook_configurations c WHERE c.id = webhook FOR UPDATE;
    kept := ARRAY(SELECT s FROM @extschema@.webhook_secrets s
                  WHERE s.configuration_id = webhook AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
                  ORDER BY s.created_at DESC LIMIT kept_max);
    UPDATE @extschema@.webhook_configurations c SET secret = fresh WHERE c.id = webhook;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    INSERT INTO @extschema@.webhook_secrets (configuration_id, key_id, secret, created_at, expires_at)
    SELECT webhook, k.key_id, k.secret, k.created_at, least(k.expires_at, expiry) FROM unnest(kept) k
    WHERE expiry > clock_timestamp();
    RETURN fresh;
END
$$;

CREATE FUNCTION webhook_internal.rotate_secret_own(webhook uuid, overlap interval) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_own(webhook);
    RETURN webhook_internal.rotate_secret_any(webhook, overlap);
END
$$;

CREATE FUNCTION @extschema@.webhook_rotate_secret(configuration_id uuid, overlap interval DEFAULT '24 hours')
    RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF overlap IS NULL OR overlap NOT BETWEEN interval '0' AND interval '1 year' THEN
        RAISE EXCEPTION 'invalid overlap %', coalesce(overlap::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It is at least 0 and at most 1 year.',
                  HINT = 'It is how long the old secret signs beside the new one: the time that receivers need to '
                         'learn the new one.';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.rotate_secret_any(configuration_id, overlap);
    END IF;
    RETURN webhook_internal.rotate_secret_own(configuration_id, overlap);
END
$$;

-- === Filters =========================================================================================================

-- What the worker asks of each event, and what webhook_explain() says. Anything but false and null is a match, so that
-- both a predicate ($.amount > 5) and a filter expression ($ ? (@.amount > 5)) mean what they say. Errors pass: to the
-- worker they are no match.
CREATE FUNCTION @extschema@.webhook_filter_matches(filter jsonpath, data json) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT filter IS NULL
           OR EXISTS (SELECT FROM jsonb_path_query(data::jsonb, filter) v WHERE v NOT IN ('false', 'null'))
$$;

-- Why an event does not pass the filter; null if it does.
CREATE FUNCTION @extschema@.webhook_filter_problem(filter jsonpath, data json) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := @extschema@.webhook_filter_data_problem(data::text);
BEGIN
    IF filter IS NOT NULL AND problem IS NOT NULL THEN
        RETURN format('filter: %s cannot be evaluated: the data is beyond what filters may see: %s', filter, problem);
    END IF;
    IF @extschema@.webhook_filter_matches(filter, data) THEN
        RETURN NULL;
    END IF;
    RETURN format('filter: %s does not match', filter);
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN format('filter: %s cannot be evaluated: %s', filter, SQLERRM);
END
$$;

-- === Finding out =====================================================================================================

-- SECURITY DEFINER, because whoever may call send_test() itself could test any webhook.
CREATE FUNCTION webhook_internal.test_any(
    webhook uuid, event text, OUT status text, OUT response_status integer, OUT response_body text, OUT error text,
    OUT duration_ms double precision, OUT log_id bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tested record;
BEGIN
    SELECT c.timeout_ms, c.created_at, coalesce(c.organization_id, '') AS organization INTO tested
    FROM @extschema@.webhook_configurations c WHERE c.id = webhook;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id
    FROM webhook_internal.send_test(webhook, tested.created_at, tested.organization, event, tested.timeout_ms) t;
END
$$;

CREATE FUNCTION webhook_internal.test_own(
    webhook uuid, event text, OUT status text, OUT response_status integer, OUT response_body text, OUT error text,
    OUT duration_ms double precision, OUT log_id bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_own(webhook);
    SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id
    FROM webhook_internal.test_any(webhook, event) t;
END
$$;

CREATE FUNCTION @extschema@.webhook_test(
    configuration_id uuid, event text DEFAULT NULL, OUT status text, OUT response_status integer,
    OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tested text;
BEGIN
    SELECT coalesce(event, c.test_event, 'webhook.test') INTO tested
    FROM @extschema@.webhook_configurations c WHERE c.id = configuration_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', configuration_id
            USING ERRCODE = 'undefined_object', HINT = 'Give an id of @extschema@.webhook_configurations.';
    END IF;
    PERFORM webhook_internal.check_known_event(tested);
    -- Not in one expression: PostgreSQL would ask for the right to both.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id
        FROM webhook_internal.test_any(configuration_id, tested) t;
    ELSE
        SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id
        FROM webhook_internal.test_own(configuration_id, tested) t;
    END IF;
END
$$;

-- Runs as whoever calls it: an operator, or the owner for find_own(). A log row outlives its event.
CREATE FUNCTION webhook_internal.find_any(webhook_id text)
    RETURNS TABLE (event_id bigint, created_at timestamptz, event text, organization_id text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.*
    FROM @extschema@.webhook_instance i
    CROSS JOIN LATERAL webhook_internal.decode_id(i.instance, webhook_id) k
    CROSS JOIN LATERAL (
        SELECT e.id, e.created_at, e.event, e.organization_id FROM @extschema@.webhook_events e
        WHERE e.id = k.event_id AND e.created_at = k.created_at
        UNION ALL
        SELECT d.event_id, d.created_at, d.event, d.organization_id FROM @extschema@.webhook_deliveries d
        WHERE d.event_id = k.event_id AND d.created_at = k.created_at
        UNION ALL
        SELECT l.event_id, k.created_at, l.event, l.organization_id FROM @extschema@.webhook_logs l
        WHERE l.event_id = k.event_id
        LIMIT 1) f
$$;

CREATE FUNCTION webhook_internal.find_own(webhook_id text)
    RETURNS TABLE (event_id bigint, created_at timestamptz, event text, organization_id text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.* FROM webhook_internal.find_any(webhook_id) f
    WHERE f.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;

CREATE FUNCTION @extschema@.webhook_find(webhook_id text)
    RETURNS TABLE (event_id bigint, created_at timestamptz, event text, organization_id text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF webhook_id !~ '^evt_[0-9a-z]{26}$' THEN
        RAISE EXCEPTION 'invalid webhook-id "%"', webhook_id
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is evt_ and 26 characters, as in the header webhook-id.';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN QUERY SELECT f.* FROM webhook_internal.find_any(webhook_id) f;
    ELSE
        RETURN QUERY SELECT f.* FROM webhook_internal.find_own(webhook_id) f;
    END IF;
END
$$;

-- From shared memory: reading it keeps no worker waiting.
CREATE FUNCTION webhook_internal.worker_slots(
    OUT database oid, OUT worker integer, OUT workers integer, OUT pid integer, OUT started_at timestamptz,
    OUT in_flight bigint, OUT queued bigint, OUT events_ahead bigint, OUT sent bigint, OUT failed bigint,
    OUT logged bigint, OUT oldest_event_at timestamptz, OUT last_error_at timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_worker_slots';

CREATE VIEW @extschema@.webhook_workers WITH (security_invoker) AS
    SELECT d.datname AS database, s.worker, s.workers, s.pid, s.started_at, s.in_flight, s.queued, s.events_ahead,
           s.sent, s.failed, s.logged, pg_catalog.clock_timestamp() - s.oldest_event_at AS lag, s.last_error_at
    FROM webhook_internal.worker_slots() s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.database;

-- SECURITY DEFINER, because worker_slots() and webhook_instance hide this from tenants, who are to be told.
CREATE FUNCTION @extschema@.webhook_server_state(OUT workers integer, OUT is_paused boolean, OUT paused_reason text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT count(*)::integer FROM webhook_internal.worker_slots() s JOIN pg_database d ON d.oid = s.database
            WHERE d.datname = current_database()),
           coalesce(i.is_paused, false), i.paused_reason
    FROM (SELECT) this LEFT JOIN @extschema@.webhook_instance i ON true
$$;

-- Bucket i (from 1) of webhook_minutes.durations counts attempts below 0.25 ms * 2^((i - 1) / 2): see
-- src/core/statistics.h. The middle of the bucket that the quantile lies in, by the logarithm.
CREATE FUNCTION webhook_internal.duration_quantile(durations bigint[], quantile double precision)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT round((0.25 * power(2, (c.bucket - 1.5) / 2))::numeric, 3)::double precision
    FROM (SELECT u.bucket, sum(u.count) OVER (ORDER BY u.bucket) AS below, sum(u.count) OVER () AS total
          FROM unnest(durations) WITH ORDINALITY u (count, bucket)) c
    WHERE c.total > 0 AND c.below >= quantile * c.total
    ORDER BY c.bucket LIMIT 1
$$;

-- Of the last 24 hours. The sums come before the join, so that each webhook's minutes are read once.
CREATE VIEW @extschema@.webhook_stats WITH (security_invoker) AS
    SELECT c.id AS configuration_id, c.organization_id, c.name, c.is_active,
           coalesce(m.attempts, 0) AS attempts, coalesce(m.successes, 0) AS successes,
           round(100.0 * m.successes / nullif(m.attempts, 0), 1) AS success_percent,
           webhook_internal.duration_quantile(m.durations, 0.5) AS p50_ms,
           webhook_internal.duration_quantile(m.durations, 0.95) AS p95_ms,
           e.last_success_at, e.last_failure_at, e.last_error,
           coalesce(p.owed, 0) AS owed, coalesce(x.dead, 0) AS dead,
           CASE WHEN e.circuit_opened_at IS NULL THEN 'closed' ELSE 'open' END AS circuit,
           e.circuit_opened_at, e.next_probe_at, e.failing_since,
           coalesce(m.unjudged, 0) AS unjudged, e.filter_failed_at, e.filter_error
    FROM @extschema@.webhook_configurations c
    LEFT JOIN @extschema@.webhook_endpoints e
           ON e.configuration_id = c.id AND e.configuration_created_at = c.created_at
              AND e.organization_id IS NOT DISTINCT FROM c.organization_id
    LEFT JOIN LATERAL (
        SELECT sum(b.attempts) AS attempts, sum(b.successes) AS successes, sum(b.unjudged) AS unjudged,
               array_agg(b.count ORDER BY b.bucket) AS durations
        FROM (SELECT u.bucket, sum(u.count)::bigint AS count,
                     sum(CASE WHEN u.bucket = 1 THEN r.attempts END)::bigint AS attempts,
                     sum(CASE WHEN u.bucket = 1 THEN r.successes END)::bigint AS successes,
                     sum(CASE WHEN u.bucket = 1 THEN r.unjudged END)::bigint AS unjudged
              FROM @extschema@.webhook_minutes r, unnest(r.durations) WITH ORDINALITY u (count, bucket)
              WHERE r.configuration_id = c.id AND r.configuration_created_at = c.created_at
                AND r.organization_id IS NOT DISTINCT FROM c.organization_id AND r.minute > now() - interval '24 hours'
              GROUP BY u.bucket) b) m ON true
    LEFT JOIN LATERAL (SELECT count(*) AS owed FROM @extschema@.webhook_deliveries d
                       WHERE d.configuration_id = c.id AND d.configuration_created_at = c.created_at
                         AND d.organization_id IS NOT DISTINCT FROM c.organization_id AND d.state = 'pending') p ON true
    LEFT JOIN LATERAL (SELECT count(*) AS dead FROM @extschema@.webhook_deliveries d
                       WHERE d.configuration_id = c.id AND d.configuration_created_at = c.created_at
                         AND d.organization_id IS NOT DISTINCT FROM c.organization_id AND d.state = 'dead') x ON true;

-- What webhook_check() says of where the webhook's events come from.
CREATE FUNCTION webhook_internal.check_sources(configuration_id uuid)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH webhook AS (
        SELECT c.organization_id, c.events FROM @extschema@.webhook_configurations c
        WHERE c.id = check_sources.configuration_id
    ), wanted AS (
        SELECT t.name FROM @extschema@.webhook_event_types t, webhook w
        WHERE EXISTS (SELECT FROM unnest(w.events) p WHERE @extschema@.webhook_event_matches(p, t.name))
    ), watch AS (
        SELECT s.source, s.event, s.trigger_name, s.is_enabled, s.organization_column,
               s.organization_column || s.key_columns || s.changed_columns || s.include_columns || s.exclude_columns AS needed
        FROM @extschema@.webhook_watches s JOIN wanted ON wanted.name = s.event
    ), undeclared AS (
        SELECT string_agg(n.name, ', ' ORDER BY n.name) FILTER (WHERE n.place <= 20)
               || CASE WHEN count(*) > 20 THEN ', ...' ELSE '' END AS names
        FROM (SELECT wanted.name, row_number() OVER (ORDER BY wanted.name) AS place FROM wanted
              WHERE wanted.name NOT IN (SELECT watch.event FROM watch)) n
    )
    SELECT 'warning', 'no trigger of this database declares any of its events',
           'Declare them with webhook_watch() or webhook_watch_crm(), unless they come from webhook_emit() alone.'
    WHERE NOT EXISTS (SELECT FROM watch)
    UNION ALL
    SELECT 'info', 'no trigger declares ' || u.names, 'These come from webhook_emit() alone.'
    FROM undeclared u WHERE u.names IS NOT NULL AND EXISTS (SELECT FROM watch)
    UNION ALL
    SELECT 'warning', format('trigger %I on table %s is disabled: no %s comes from there', s.trigger_name, s.source,
                             s.event),
           format('ALTER TABLE %s ENABLE TRIGGER %I;', s.source, s.trigger_name)
    FROM watch s WHERE NOT s.is_enabled
    UNION ALL
    SELECT 'error', format('trigger %I on table %s names column %I, which does not exist: no %s comes from there',
                           s.trigger_name, s.source, n.name, s.event),
           'Declare the event again with webhook_watch().'
    FROM watch s CROSS JOIN LATERAL (
        SELECT min(u.name) AS name FROM unnest(s.needed) u (name)
        WHERE NOT EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = s.source AND a.attname = u.name AND a.attnum > 0 AND NOT a.attisdropped)) n
    WHERE n.name IS NOT NULL
    UNION ALL
    SELECT 'warning', format('rows of %s are no %s: %s from %s, but triggers are not inherited',
                             array_to_string(c.children, ', '), s.event,
                             CASE WHEN cardinality(c.children) = 1 THEN 'it inherits' ELSE 'they inherit' END, s.source),
           'SELECT webhook_watch(...) for the table' || CASE WHEN cardinality(c.children) = 1 THEN '' ELSE 's' END || ' too.'
    FROM watch s CROSS JOIN LATERAL webhook_internal.unwatched_children(s.source, s.event) c (children)
    WHERE c.children IS NOT NULL
    UNION ALL
    SELECT 'error', CASE WHEN w.organization_id IS NULL
                         THEN 'its events are declared with an organization, and the webhook has none'
                         ELSE 'its events are declared without an organization, and the webhook has one' END,
           'A webhook receives the events of its own organization; one without organization those without one. '
           'Declare them anew, or create the webhook anew.'
    FROM webhook w
    WHERE EXISTS (SELECT FROM watch)
      AND NOT EXISTS (SELECT FROM watch s WHERE (s.organization_column IS NULL) = (w.organization_id IS NULL))
$$;

-- What webhook_check() says of the secrets that a request is to be signed with. See "Managing webhooks" about _own and _any:
-- here both only read.
CREATE FUNCTION webhook_internal.check_secrets_any(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN s.problem IS NOT NULL THEN 'the secret cannot be decrypted: ' || s.problem
                WHEN c.secret IS NOT NULL AND NOT s.has_current
                THEN 'it shows the mask of a secret, but it has none' END
    FROM @extschema@.webhook_configurations c,
         (SELECT min(webhook_internal.secret_problem(s.configuration_id, s.key_id, s.secret)),
                 count(*) FILTER (WHERE s.expires_at IS NULL) > 0
          FROM @extschema@.webhook_secrets s
          WHERE s.configuration_id = webhook AND (s.expires_at IS NULL OR s.expires_at > now())) s (problem, has_current)
    WHERE c.id = webhook
$$;

CREATE FUNCTION webhook_internal.check_secrets_own(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.check_secrets_any(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;

-- What webhook_check() says of the shares of the webhook's organization.
CREATE FUNCTION webhook_internal.check_shares_any(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg('webhook_' || s.storage, ' and ' ORDER BY s.storage)
    FROM @extschema@.webhook_configurations c, unnest(ARRAY['events', 'logs']) s (storage)
    WHERE c.id = webhook AND webhook_internal.used_share(c.organization_id, s.storage) > 0.9
$$;
CREATE FUNCTION webhook_internal.check_shares_own(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.check_shares_any(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;

-- What is to be written of the webhook's deliveries, and for how long it has waited for somebody else's transaction; null:
-- nothing, or not for long.
CREATE FUNCTION webhook_internal.check_deferred_any(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s deliveries wait to be recorded since %s: a transaction that is open, or prepared, has called '
                  'webhook_cancel(), webhook_replay() or webhook_redeliver(); or a row is refused, and the '
                  'server''s log says why',
                  CASE WHEN w.waiting > 1000 THEN 'more than 1000' ELSE w.waiting::text END, w.since)
    FROM (SELECT count(*) AS waiting, min(d.deferred_at) AS since
          FROM (SELECT c.deferred_at FROM webhook_internal.deferred_changes c WHERE c.configuration_id = webhook
                ORDER BY c.id LIMIT 1001) d) w
    WHERE w.since < clock_timestamp() - interval '2 s'
$$;
CREATE FUNCTION webhook_internal.check_deferred_own(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.check_deferred_any(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;

CREATE FUNCTION @extschema@.webhook_check(configuration_id uuid)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    webhook record;
    server record;
    latest record;
    endpoint record;
    unjudged bigint;
    owed record;
    dropped record;
    secret_problem text;
    used_up text;
    deferred text;
    preloaded boolean := @extschema@.webhook_is_preloaded();
BEGIN
    SELECT c.url, c.is_active, c.disabled_at, c.disabled_reason, c.created_at, c.organization_id INTO webhook
    FROM @extschema@.webhook_configurations c WHERE c.id = webhook_check.configuration_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', configuration_id
            USING ERRCODE = 'undefined_object';
    END IF;
    -- Not in one expression: PostgreSQL would ask for the right to both.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        secret_problem := webhook_internal.check_secrets_any(configuration_id);
        used_up := webhook_internal.check_shares_any(configuration_id);
        deferred := webhook_internal.check_deferred_any(configuration_id);
    ELSE
        secret_problem := webhook_internal.check_secrets_own(configuration_id);
        used_up := webhook_internal.check_shares_own(configuration_id);
        deferred := webhook_internal.check_deferred_own(configuration_id);
    END IF;
    SELECT * INTO server FROM @extschema@.webhook_server_state();
    SELECT e.circuit_opened_at, e.next_probe_at, e.failing_since, e.last_error, e.filter_failed_at, e.filter_error
    INTO endpoint
    FROM @extschema@.webhook_endpoints e
    WHERE e.configuration_id = webhook_check.configuration_id AND e.configuration_created_at = webhook.created_at
      AND e.organization_id IS NOT DISTINCT FROM webhook.organization_id;
    SELECT sum(m.unjudged) INTO unjudged
    FROM @extschema@.webhook_minutes m
    WHERE m.configuration_id = webhook_check.configuration_id AND m.configuration_created_at = webhook.created_at
      AND m.organization_id IS NOT DISTINCT FROM webhook.organization_id AND m.minute > now() - interval '24 hours';
    SELECT count(*) FILTER (WHERE d.state = 'pending') AS pending, count(*) FILTER (WHERE d.state = 'dead') AS dead,
           min(d.next_attempt_at) AS next_attempt_at INTO owed
    FROM @extschema@.webhook_deliveries d
    WHERE d.configuration_id = webhook_check.configuration_id AND d.configuration_created_at = webhook.created_at
      AND d.organization_id IS NOT DISTINCT FROM webhook.organization_id;
    SELECT sum(g.deliveries) AS deliveries, max(g.minute) AS latest,
           (array_agg(g.reason ORDER BY g.minute DESC))[1] AS reason INTO dropped
    FROM webhook_internal.given_up g
    WHERE g.configuration_id = webhook_check.configuration_id
      AND g.organization_id IS NOT DISTINCT FROM webhook.organization_id;
    SELECT l.created_at, l.status, l.error INTO latest FROM @extschema@.webhook_logs l
    WHERE l.configuration_id = webhook_check.configuration_id
      AND l.organization_id IS NOT DISTINCT FROM webhook.organization_id
    ORDER BY l.id DESC LIMIT 1;

    RETURN QUERY
    SELECT f.severity, f.finding, f.hint FROM (VALUES
        (NOT preloaded, 'error', 'the server does not preload the library: events are recorded, but not delivered',
         'Add webhook to shared_preload_libraries in postgresql.conf and restart the server.'),
        (preloaded AND server.workers = 0, 'error', 'no worker runs for this database',
         'One starts within moments. If none does, the server log says why: too few max_worker_processes, or a '
         'library of another version than the extension.'),
        (server.workers BETWEEN 1 AND current_setting('webhook.workers', true)::integer - 1, 'warning',
         format('only %s of %s workers run for this database: the others'' webhooks wait', server.workers,
                current_setting('webhook.workers', true)),
         'They start within moments. If they do not, max_worker_processes is too low for webhook.workers.'),
        (current_setting('webhook.enabled', true) = 'off', 'error', 'webhook.enabled is off for the server',
         'Set it to on in postgresql.conf and reload. Meanwhile events are recorded and wait.'),
        (server.is_paused, 'error', 'this database is paused' || coalesce(': ' || server.paused_reason, ''),
         'SELECT webhook_resume();'),
        (current_setting('webhook.capture', true) = 'off', 'error', 'webhook.capture is off: no events are recorded',
         'Set it to subscribed.'),
        (NOT webhook.is_active, 'error',
         'the webhook is inactive' || coalesce(' since ' || webhook.disabled_at, '')
         || coalesce(': ' || webhook.disabled_reason, ''),
         'UPDATE webhook_configurations SET is_active = true ...; webhook_replay() sends what it has missed.'),
        (@extschema@.webhook_url_problem(webhook.url) IS NOT NULL, 'error',
         'its URL is refused: ' || @extschema@.webhook_url_problem(webhook.url),
         'Correct the URL, or the setting that refuses it.'),
        (secret_problem IS NOT NULL, 'error', secret_problem,
         'Nothing is sent unsigned. Give webhook.secret_key_file the key again and reload, or give the webhook another '
         'secret.')
    ) f (applies, severity, finding, hint) WHERE f.applies;
    RETURN QUERY SELECT s.severity, s.finding, s.hint FROM webhook_internal.check_sources(configuration_id) s;
    RETURN QUERY
    SELECT f.severity, f.finding, f.hint FROM (VALUES
        (latest.created_at IS NULL, 'info', 'nothing has been sent yet',
         'It receives what is captured after it became active; webhook_explain() tells of one event.'),
        (latest.status = 'success', 'info', format('the last attempt, at %s, was successful', latest.created_at),
         NULL),
        (latest.status = 'failed', 'warning',
         format('the last attempt, at %s, failed: %s', latest.created_at, latest.error),
         'webhook_logs has the response; webhook_curl() repeats the request by hand.'),
        (endpoint.circuit_opened_at IS NOT NULL, 'warning',
         format('its endpoint fails since %s: the circuit is open, and one delivery is tried at %s: %s',
                endpoint.failing_since, endpoint.next_probe_at, endpoint.last_error),
         'What is owed waits. When the endpoint answers again, all of it is sent, the oldest first.'),
        (deferred IS NOT NULL, 'warning', deferred,
         'Until it ends, what fails is not sent again. pg_stat_activity and pg_prepared_xacts show open transactions.'),
        (owed.pending > 0, 'info',
         format('%s deliveries are owed, the next is due at %s', owed.pending, owed.next_attempt_at),
         'webhook_cancel() gives them up.'),
        (unjudged > 0 AND endpoint.filter_failed_at IS NOT NULL, 'warning',
         format('its filter could not judge %s events in the last 24 hours, which were not delivered; the last at %s: %s',
                unjudged, endpoint.filter_failed_at, endpoint.filter_error),
         'webhook_explain() tells of each event. Correct the filter; webhook_replay() then sends what it lets pass.'),
        (owed.dead > 0, 'warning', format('%s deliveries were given up', owed.dead),
         'webhook_deliveries.last_error says why; webhook_replay(..., only_failed => true) sends them again.'),
        (used_up IS NOT NULL, 'warning',
         format('its organization has used up its share of %s: what it writes beyond that is kept for a shorter time',
                used_up),
         'Fewer or smaller events, or a higher webhook.organization_share.'),
        (dropped.deliveries > 0, 'warning',
         format('%s deliveries were given up, the last at %s: %s', dropped.deliveries, dropped.latest, dropped.reason),
         'webhook_logs has a row with attempt 0 for many of them at once; webhook_replay() sends them again, as far as '
         'their events are stored.')
    ) f (applies, severity, finding, hint) WHERE f.applies;
END
$$;

-- Whether the workers are done with an event: all that it asks for is delivered, or has a row that says what became of it. A
-- segment is only emptied when they are done with it. SECURITY DEFINER: no tenant reads webhook_checkpoint.
CREATE FUNCTION webhook_internal.is_settled(event_id bigint) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM @extschema@.webhook_checkpoint)
       AND NOT EXISTS (SELECT FROM @extschema@.webhook_events e, @extschema@.webhook_checkpoint c
                       WHERE e.id = event_id AND NOT pg_visible_in_snapshot(e.xid, c.snapshot_from)
                         AND NOT (pg_visible_in_snapshot(e.xid, c.snapshot_to) AND e.id <= c.position))
$$;

-- Of other organizations only the webhooks without one, or all if the event has none: where that is the mistake.
CREATE FUNCTION @extschema@.webhook_explain(event_id bigint)
    RETURNS TABLE (configuration_id uuid, name text, matched boolean, reason text, outcome text, attempts integer,
                   last_attempt_at timestamptz, last_error text, next_attempt_at timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    happened record;
    payload json;
    is_settled CONSTANT boolean := webhook_internal.is_settled(event_id);
BEGIN
    SELECT e.created_at, e.event, e.organization_id, e.known_switch INTO happened FROM @extschema@.webhook_own_events e
    WHERE e.id = webhook_explain.event_id;
    IF NOT FOUND THEN
        SELECT NULL::timestamptz AS created_at, l.event, l.organization_id, NULL::integer AS known_switch INTO happened
        FROM @extschema@.webhook_logs l WHERE l.event_id = webhook_explain.event_id LIMIT 1;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'event % is not stored, or belongs to another organization', event_id
            USING ERRCODE = 'undefined_object',
                  HINT = 'An event is recorded if a webhook of its organization subscribes to it, and kept for '
                         'webhook.event_retention. webhook_find() tells the id of an evt_... .';
    END IF;
    IF has_column_privilege('@extschema@.webhook_own_events', 'data', 'SELECT') THEN
        SELECT e.data INTO payload FROM @extschema@.webhook_own_events e WHERE e.id = webhook_explain.event_id;
    END IF;
    RETURN QUERY
    SELECT c.id, c.name, m.obstacle IS NULL, m.obstacle,
           coalesce(d.state, CASE l.status WHEN 'success' THEN 'delivered' WHEN 'failed' THEN 'failed' END,
                    CASE WHEN m.obstacle IS NULL THEN
                        CASE WHEN g.reason IS NOT NULL THEN 'dead'
                             WHEN is_settled THEN 'settled'
                             ELSE 'waiting' END END),
           coalesce(d.attempts, l.attempt), l.created_at,
           coalesce(d.last_error, l.error, CASE WHEN m.obstacle IS NULL THEN g.reason END), d.next_attempt_at
    FROM @extschema@.webhook_configurations c
    LEFT JOIN @extschema@.webhook_deliveries d
           ON d.configuration_id = c.id AND d.event_id = webhook_explain.event_id
              AND d.configuration_created_at = c.created_at
              AND d.organization_id IS NOT DISTINCT FROM c.organization_id
    LEFT JOIN LATERAL (SELECT a.status, a.attempt, a.created_at, a.error FROM @extschema@.webhook_logs a
                       WHERE a.configuration_id = c.id AND a.event_id = webhook_explain.event_id
                         AND a.organization_id IS NOT DISTINCT FROM c.organization_id
                       ORDER BY a.id DESC LIMIT 1) l ON true
    LEFT JOIN LATERAL (SELECT u.reason FROM webhook_internal.given_up u
                       WHERE u.configuration_id = c.id
                         AND webhook_explain.event_id BETWEEN u.first_event_id AND u.last_event_id
                       ORDER BY u.minute LIMIT 1) g ON true
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM unnest(c.events) p
                                       WHERE @extschema@.webhook_event_matches(p, happened.event)) AS wants) w
    CROSS JOIN LATERAL (SELECT CASE
        WHEN d.state IS NOT NULL OR l.status IS NOT NULL THEN NULL
        WHEN c.organization_id IS DISTINCT FROM happened.organization_id THEN
            format('organization: the webhook is of %s, the event of %s', coalesce(c.organization_id, 'none'),
                   coalesce(happened.organization_id, 'none'))
        WHEN NOT w.wants THEN format('pattern: %s does not match %s', c.events, happened.event)
        WHEN g.reason IS NOT NULL THEN NULL
        WHEN NOT c.is_active THEN concat_ws(': ', 'inactive: since ' || c.disabled_at, c.disabled_reason)
        WHEN NOT webhook_internal.was_active(c.is_active, c.switches, happened.known_switch) THEN
            format('active since %s, the event is of %s', c.active_since, happened.created_at)
        WHEN payload IS NOT NULL THEN @extschema@.webhook_filter_problem(c.filter, payload)
        WHEN c.filter IS NOT NULL THEN format('filter: %s may not match', c.filter) END AS obstacle) m
    WHERE c.organization_id IS NOT DISTINCT FROM happened.organization_id
       OR w.wants AND (c.organization_id IS NULL OR happened.organization_id IS NULL)
    ORDER BY m.obstacle IS NOT NULL, c.name, c.id;
END
$$;

-- Between single quotes a shell leaves everything as it is, but for a single quote.
CREATE FUNCTION webhook_internal.shell_quote(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '''' || replace(value, '''', E'''\\''''') || ''''
$$;

-- The time of an attempt is that of its log row, so that the signatures are those that were sent.
CREATE FUNCTION @extschema@.webhook_curl(log_id bigint) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attempt record;
    webhook record;
    happened record;
    body text;
    secret text;
    sent_s bigint;
    headers text[];
BEGIN
    SELECT l.* INTO attempt FROM @extschema@.webhook_logs l WHERE l.id = log_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'log row % does not exist, or belongs to another organization', log_id
            USING ERRCODE = 'undefined_object', HINT = 'Give an id of @extschema@.webhook_logs.';
    END IF;
    IF attempt.attempt = 0 THEN
        RAISE EXCEPTION 'log row % is of no attempt', log_id
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('The delivery was given up without one: %s.', attempt.error);
    END IF;
    IF attempt.event_id < 0 THEN
        RAISE EXCEPTION 'log row % is of a test', log_id
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'The body of a test is not stored.',
                  HINT = 'Call @extschema@.webhook_test() again.';
    END IF;
    SELECT c.url, c.headers, c.timeout_ms INTO webhook FROM @extschema@.webhook_configurations c
    WHERE c.id = attempt.configuration_id AND c.organization_id IS NOT DISTINCT FROM attempt.organization_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the webhook of log row % has been deleted', log_id USING ERRCODE = 'undefined_object';
    END IF;
    SELECT e.webhook_id, webhook_internal.body(e.event, e.created_at, e.data, e.previous) AS body INTO happened
    FROM @extschema@.webhook_own_events e WHERE e.id = attempt.event_id AND e.data IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'event % is not stored any more', attempt.event_id
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Events are kept for webhook.event_retention; log rows may outlive them.';
    END IF;
    secret := @extschema@.webhook_reveal_secret(attempt.configuration_id);
    body := happened.body;
    sent_s := floor(extract(epoch FROM attempt.created_at));
    headers := ARRAY[
        'Content-Type: application/json',
        format('User-Agent: webhook/%s (PostgreSQL %s)',
               (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook'),
               current_setting('server_version_num')::integer / 10000),
        'X-Webhook-Event: ' || attempt.event, 'X-Webhook-Id: ' || happened.webhook_id,
        'webhook-id: ' || happened.webhook_id, 'X-Webhook-Attempt: ' || attempt.attempt,
        'X-Webhook-Timestamp: '
            || to_char(attempt.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'X-Webhook-Signature: ' || @extschema@.webhook_sign(body, secret),
        'webhook-timestamp: ' || sent_s,
        'webhook-signature: ' || @extschema@.webhook_sign(happened.webhook_id, sent_s, body, secret)
    ] || ARRAY(SELECT h.key || ': ' || h.value FROM jsonb_each_text(webhook.headers) h ORDER BY h.key);
    RETURN format(E'curl --globoff --include --max-time %s --url %s \\\n%s  --data-raw %s',
                  round(webhook.timeout_ms / 1000.0, 3), webhook_internal.shell_quote(webhook.url),
                  (SELECT string_agg(format(E'  --header %s \\\n', webhook_internal.shell_quote(h.line)), ''
                                     ORDER BY h.place)
                   FROM unnest(headers) WITH ORDINALITY h (line, place) WHERE h.line IS NOT NULL),
                  webhook_internal.shell_quote(body));
END
$$;

-- === Administration ==================================================================================================

CREATE FUNCTION webhook_internal.set_paused(paused boolean, reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE @extschema@.webhook_instance SET is_paused = paused, paused_reason = reason;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no worker has started in this database yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Nothing is delivered before that. The first worker makes the row of webhook_instance.',
                  HINT = CASE WHEN @extschema@.webhook_is_preloaded()
                              THEN 'Try again in a moment. If it stays so, the server log says why no worker starts.'
                              ELSE 'Add webhook to shared_preload_libraries and restart the server.' END;
    END IF;
    PERFORM webhook_internal.wake();
END
$$;

CREATE FUNCTION @extschema@.webhook_pause(reason text DEFAULT NULL) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.set_paused(true, coalesce(reason, 'paused by ' || session_user))
$$;

CREATE FUNCTION @extschema@.webhook_resume() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.set_paused(false, NULL)
$$;

-- What each level gives: from the first of the two on, up to the second.
CREATE FUNCTION webhook_internal.privileges(level text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE STRICT ROWS 100 SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.privilege FROM (VALUES
        (1, 3, 'USAGE ON SCHEMA @extschema@'),
        -- Functions that run as their caller find there by its name what they may execute.
        (1, 3, 'USAGE ON SCHEMA webhook_internal'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_flush()'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_is_preloaded()'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_generate_secret()'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_url_problem(text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_header_problem(text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_event_pattern_problem(text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_event_matches(text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_filter_matches(jsonpath, json)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_filter_problem(jsonpath, json)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_filter_data_problem(text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text)'),
        -- Called by the views, as whoever reads them.
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.trigger_arguments(bytea)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.trigger_option(text[], text)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_key(regclass)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.unwatched_children(regclass, text)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.trigger_condition(oid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.encode_id(uuid, bigint, timestamptz)'),
        -- webhook_test(), webhook_emit() and webhook_replay() name the known events in their errors.
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.known_events(text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_event(text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_known_event(text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_event_pattern(text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_events(text[])'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.body(text, timestamptz, json, json)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.shell_quote(text)'),
        -- webhook_find() of an operator, webhook_emit() of an operator, and webhook_watch().
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.decode_id(uuid, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_own_event(text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_source(regclass)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_columns(regclass, text, name[], text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_comparison(regclass, name[], boolean)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_operation(text, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_trigger_name(regclass, text, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_arguments(regclass, text, text, name[], name[], name, '
            'name[], name[], name[], boolean, boolean)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_conflicts(regclass, text, text, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.condition_meaning(regclass, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_restorable(regclass, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.foreign_equality(regclass, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.condition_of_change(regclass, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.condition_of_value(regclass, name, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_condition(text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.trigger_declaration(name, regclass, text, text, text[])'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.normal_condition(regclass, text, text, text)'),
        (1, 3, 'SELECT ON @extschema@.webhook_event_types'),
        (1, 3, 'SELECT ON @extschema@.webhook_watches'),
        (1, 3, 'SELECT ON @extschema@.webhook_deliveries'),
        (1, 3, 'SELECT ON webhook_internal.given_up'),
        (1, 3, 'SELECT ON @extschema@.webhook_logs'),
        (1, 3, 'SELECT ON @extschema@.webhook_minutes'),
        (1, 3, 'SELECT ON @extschema@.webhook_endpoints'),
        (1, 3, 'SELECT ON @extschema@.webhook_stats'),
        (1, 1, 'SELECT (id, webhook_id, created_at, event, organization_id, key, oversized_bytes, known_switch) '
            'ON @extschema@.webhook_own_events'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_server_state()'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_check(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.check_sources(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.check_secrets_own(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.check_shares_own(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.check_deferred_own(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_explain(bigint)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_find(text)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.find_own(text)'),
        (1, 1, 'SELECT (id, organization_id, name, url, events, secret, is_active, filter, timeout_ms, '
            'retry_schedule, rate_limit_per_s, max_in_flight, ordering, test_event, active_since, disabled_at, disabled_reason, created_at, updated_at, switches) '
            'ON @extschema@.webhook_configurations'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.was_active(boolean, integer[], integer)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.is_settled(bigint)'),
        (2, 3, 'SELECT, INSERT, UPDATE, DELETE ON @extschema@.webhook_configurations'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_limit(text)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_reveal_secret(uuid)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.reveal_secret_own(uuid)'),
        (2, 3, 'SELECT ON @extschema@.webhook_own_events'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_redeliver(bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.redeliver_own(uuid, bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, '
            'boolean)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.replay_own(uuid, timestamptz, timestamptz, text[], boolean, '
            'boolean)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_cancel(uuid, bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.cancel_own(uuid, bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.rotate_secret_own(uuid, interval)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_test(uuid, text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.test_own(uuid, text)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_curl(bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_emit(text, json, text, text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.emit_own(text, json, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_is_operator()'),
        (3, 3, 'INSERT (name, category, description, example), UPDATE (category, description, example), DELETE '
            'ON @extschema@.webhook_event_types'),
        (3, 3, 'SELECT ON @extschema@.webhook_events'),
        (3, 3, 'SELECT, UPDATE (is_paused, paused_reason) ON @extschema@.webhook_instance'),
        (3, 3, 'SELECT ON @extschema@.webhook_checkpoint'),
        (3, 3, 'SELECT ON @extschema@.webhook_workers'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.worker_slots()'),
        (3, 3, 'SELECT ON @extschema@.webhook_rings'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_capture()'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.append(text, json, text, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.wake()'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.set_paused(boolean, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_pause(text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_resume()'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.register_event(text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, '
            'name[], name[], name[], boolean, boolean, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_unwatch(regclass, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_watch_crm(regclass, regclass, regclass, regclass, regclass, '
            'regclass, name, name, name, name, name, name, name, name, name, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.reveal_secret_any(uuid)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_secrets_any(uuid)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_shares_any(uuid)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_deferred_any(uuid)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_reencrypt_secrets()'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.redeliver_any(uuid, bigint)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.replay_any(uuid, timestamptz, timestamptz, text[], boolean, '
            'boolean)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.cancel_any(uuid, bigint)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.rotate_secret_any(uuid, interval)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.test_any(uuid, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.find_any(text)')
    ) p (lowest, highest, privilege)
    WHERE array_position(ARRAY['read', 'manage', 'operate'], level) BETWEEN p.lowest AND p.highest
$$;

-- Takes away what the role was given on the extension's own objects. USAGE on the schema stays: other things live
-- there.
CREATE FUNCTION @extschema@.webhook_revoke(role regrole) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    extension oid := (SELECT e.oid FROM pg_extension e WHERE e.extname = 'webhook');
    object text;
BEGIN
    FOR object IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
          AND d.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relowner <> role
          AND (EXISTS (SELECT FROM aclexplode(c.relacl) acl WHERE acl.grantee = role)
               OR EXISTS (SELECT FROM pg_attribute a, aclexplode(a.attacl) acl
                          WHERE a.attrelid = c.oid AND acl.grantee = role))
        UNION ALL
        SELECT format('FUNCTION %s', p.oid::regprocedure)
        FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
          AND d.classid = 'pg_proc'::regclass AND p.proowner <> role
          AND EXISTS (SELECT FROM aclexplode(p.proacl) acl WHERE acl.grantee = role)
        UNION ALL
        SELECT format('SCHEMA %I', n.nspname)
        FROM pg_depend d JOIN pg_namespace n ON n.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
          AND d.classid = 'pg_namespace'::regclass AND n.nspowner <> role
          AND EXISTS (SELECT FROM aclexplode(n.nspacl) acl WHERE acl.grantee = role)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', object, role);
    END LOOP;
END
$$;

-- GRANTs only, which pg_dump carries; policies on an extension's tables it does not.
CREATE FUNCTION @extschema@.webhook_grant(role regrole, level text DEFAULT 'manage') RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    privilege text;
BEGIN
    IF level IS NULL OR level NOT IN ('read', 'manage', 'operate') THEN
        RAISE EXCEPTION 'invalid level "%"', level
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''read'', ''manage'' or ''operate''.';
    END IF;
    PERFORM @extschema@.webhook_revoke(role);
    FOR privilege IN SELECT p FROM webhook_internal.privileges(level) p LOOP
        EXECUTE format('GRANT %s TO %s', privilege, role);
    END LOOP;
END
$$;

-- === Comments ========================================================================================================

COMMENT ON TABLE @extschema@.webhook_event_types IS
    'The kinds of events: the 17 built-in ones and your own. webhook_watch() adds what it does not find here.';
COMMENT ON COLUMN @extschema@.webhook_event_types.name IS
    'What the event is called: lower-case parts with dots between them, at most 100 characters.';
COMMENT ON COLUMN @extschema@.webhook_event_types.category IS
    'What it is about, to group by. By custom the first part of the name.';
COMMENT ON COLUMN @extschema@.webhook_event_types.description IS 'When it happens, in a sentence.';
COMMENT ON COLUMN @extschema@.webhook_event_types.example IS
    'What the data of such an event looks like; sent by tests.';
COMMENT ON COLUMN @extschema@.webhook_event_types.is_builtin IS
    'Whether the extension brought it along. Such rows are not dumped: do not change them.';

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

COMMENT ON TABLE @extschema@.webhook_changes IS
    'What the worker is to learn of a webhook and the webhook''s row does not tell. Appended to by triggers and functions.';
COMMENT ON COLUMN @extschema@.webhook_changes.xid IS 'The top-level transaction that changed it.';
COMMENT ON COLUMN @extschema@.webhook_changes.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_changes.configuration_created_at IS 'Its created_at.';
COMMENT ON COLUMN @extschema@.webhook_changes.organization_id IS 'Its organization.';
COMMENT ON COLUMN @extschema@.webhook_changes.is_deleted IS
    'Whether it was deleted. Otherwise its secrets, or what it is owed, have changed.';

COMMENT ON TABLE @extschema@.webhook_secrets IS
    'The secrets that requests are signed with. For no application role: triggers of webhook_configurations write it, '
    'the worker and webhook_reveal_secret() read it.';
COMMENT ON COLUMN @extschema@.webhook_secrets.configuration_id IS
    'The webhook that it belongs to (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_secrets.key_id IS
    'The key of webhook.secret_key_file that it is encrypted by. Null: it stands in clear text.';
COMMENT ON COLUMN @extschema@.webhook_secrets.secret IS
    'The secret, encrypted if it has a key_id. The base64 after whsec_ is the key (Standard Webhooks); any other text is '
    'the key itself.';
COMMENT ON COLUMN @extschema@.webhook_secrets.created_at IS 'When it was stored. The newest signs X-Webhook-Signature.';
COMMENT ON COLUMN @extschema@.webhook_secrets.expires_at IS
    'Until when it signs beside a newer one. Null: the newest, which does not expire. -infinity: only staged by an '
    'INSERT under way.';
COMMENT ON COLUMN @extschema@.webhook_secrets.created_xid IS 'The top-level transaction that stored it.';

COMMENT ON SEQUENCE @extschema@.webhook_switches_seq IS
    'Numbers each creation of a webhook, and each time that one is switched on or off.';
COMMENT ON COLUMN @extschema@.webhook_configurations.last_switch IS 'The last of switches; 0: it is empty. Kept by a trigger.';
COMMENT ON INDEX @extschema@.webhook_configurations_last_switch_idx IS 'Finds the last switch of all.';
COMMENT ON SEQUENCE @extschema@.webhook_events_id_seq IS 'The ids of events, drawn a million at a time.';
COMMENT ON TABLE @extschema@.webhook_events IS
    'The captured events, append-only, in a ring of 8 segments, and one of 4 for what organizations write beyond their '
    'shares (webhook.organization_share): the oldest segment is emptied when its turn to be written '
    'comes. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_events.slot IS 'The segment: 0 to 7; from 8 to 11 of the second ring.';
COMMENT ON COLUMN @extschema@.webhook_events.known_switch IS
    'The last number of webhook_switches_seq that its session knew of: what webhooks were active then.';
COMMENT ON COLUMN @extschema@.webhook_events.id IS 'Unique; of two changes of one row, the later has the higher one.';
COMMENT ON COLUMN @extschema@.webhook_events.xid IS 'The top-level transaction that caused it.';
COMMENT ON COLUMN @extschema@.webhook_events.created_at IS 'When the change was captured.';
COMMENT ON COLUMN @extschema@.webhook_events.event IS 'The name of the event (webhook_event_types.name).';
COMMENT ON COLUMN @extschema@.webhook_events.organization_id IS
    'Whose event it is; null in a database without tenants.';
COMMENT ON COLUMN @extschema@.webhook_events.key IS 'What it is about: events of one key are delivered in order.';
COMMENT ON COLUMN @extschema@.webhook_events.data IS 'The row as JSON. Null: it was larger than webhook.max_payload.';
COMMENT ON COLUMN @extschema@.webhook_events.previous IS
    'The old values of those columns of data that changed, as JSON. Null unless the watch has include_previous and the '
    'change is an UPDATE.';
COMMENT ON COLUMN @extschema@.webhook_events.oversized_bytes IS
    'How large data and previous were, in bytes, if that was too large; else null.';
COMMENT ON INDEX @extschema@.webhook_events_id_idx IS 'Walks the events in order.';
COMMENT ON INDEX @extschema@.webhook_events_xid_idx IS
    'Finds the events of the transactions that ended between two snapshots.';

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
COMMENT ON INDEX @extschema@.webhook_deliveries_due_idx IS 'Finds what is due for a webhook.';
COMMENT ON INDEX @extschema@.webhook_deliveries_dead_idx IS 'Finds what was given up for a webhook.';
COMMENT ON INDEX @extschema@.webhook_deliveries_expiry_idx IS 'Finds what was given up and has expired.';
COMMENT ON INDEX @extschema@.webhook_deliveries_order_idx IS
    'Walks what is owed to a webhook with an ordering, the oldest event first.';
COMMENT ON INDEX @extschema@.webhook_deliveries_ordering_key_idx IS 'Finds the oldest delivery of an ordering key.';
COMMENT ON INDEX @extschema@.webhook_deliveries_body_idx IS
    'Finds the deliveries whose event is to be saved before its segment is emptied.';

COMMENT ON TABLE webhook_internal.saved_events IS
    'Events that deliveries refer to and whose segment of webhook_events has been emptied: each once. An event goes with the '
    'last delivery that refers to it. Not dumped.';
COMMENT ON COLUMN webhook_internal.saved_events.event_id IS 'webhook_events.id.';
COMMENT ON COLUMN webhook_internal.saved_events.created_at IS 'When the change was captured.';
COMMENT ON COLUMN webhook_internal.saved_events.event IS 'The name of the event.';
COMMENT ON COLUMN webhook_internal.saved_events.organization_id IS 'Whose event it is.';
COMMENT ON COLUMN webhook_internal.saved_events.key IS 'The key of the event.';
COMMENT ON COLUMN webhook_internal.saved_events.data IS 'The row as JSON.';
COMMENT ON COLUMN webhook_internal.saved_events.previous IS 'The old values of what an UPDATE changed, if asked for.';
COMMENT ON COLUMN webhook_internal.saved_events.bytes IS
    'How much of webhook.max_saved_size it takes: data and previous as they are stored.';
COMMENT ON INDEX webhook_internal.saved_events_organization_id_idx IS 'Finds the oldest events of an organization.';
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
COMMENT ON INDEX webhook_internal.given_up_minute_idx IS 'Finds what is to be deleted.';

COMMENT ON SEQUENCE @extschema@.webhook_logs_id_seq IS 'The ids of log rows.';
COMMENT ON TABLE @extschema@.webhook_logs IS
    'One row for each attempt to deliver, and one with attempt 0 for what was given up without any; in a ring of 8 '
    'segments. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_logs.slot IS 'The segment: 0 to 7; from 8 to 11 of the second ring.';
COMMENT ON COLUMN @extschema@.webhook_logs.id IS 'Unique, ascending in the order of recording.';
COMMENT ON COLUMN @extschema@.webhook_logs.created_at IS 'When the attempt ended.';
COMMENT ON COLUMN @extschema@.webhook_logs.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_logs.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_logs.event_id IS
    'The event (webhook_events.id). Negative: there is none, webhook_test() sent it.';
COMMENT ON COLUMN @extschema@.webhook_logs.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_logs.attempt IS 'Which attempt it was: 1, 2, ...; 0: none was made.';
COMMENT ON COLUMN @extschema@.webhook_logs.status IS 'success: a 2xx response came in time. failed: anything else.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_status IS 'The HTTP status; null if no response came.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_body IS 'The response''s body, its first 4 kB, made valid text.';
COMMENT ON COLUMN @extschema@.webhook_logs.error IS 'Why it failed; null on success.';
COMMENT ON COLUMN @extschema@.webhook_logs.duration_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN @extschema@.webhook_logs.remote_ip IS 'The address that was connected to; null if none was.';
COMMENT ON COLUMN @extschema@.webhook_logs.next_attempt_at IS 'When the next attempt is due; null if there is none.';
COMMENT ON INDEX @extschema@.webhook_logs_id_idx IS 'Finds what was recorded since a checkpoint.';
COMMENT ON INDEX @extschema@.webhook_logs_configuration_id_idx IS 'Finds the attempts of a webhook, the latest first.';

DO $$
BEGIN
    FOR slot IN 0 .. 11 LOOP
        EXECUTE format('COMMENT ON TABLE @extschema@.webhook_events_%s IS %L', slot,
                       'A segment of webhook_events, which is the table to read.');
        EXECUTE format('COMMENT ON TABLE @extschema@.webhook_logs_%s IS %L', slot,
                       'A segment of webhook_logs, which is the table to read.');
    END LOOP;
END
$$;

COMMENT ON TABLE @extschema@.webhook_minutes IS
    'How the deliveries of the last 24 hours went, webhook by webhook and minute by minute. What webhook_stats sums up. '
    'Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_minutes.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_minutes.configuration_created_at IS
    'The created_at of the webhook, which tells it from one that had the id before or has it now.';
COMMENT ON COLUMN @extschema@.webhook_minutes.slot IS 'The minute of the day (UTC), 0 to 1439.';
COMMENT ON COLUMN @extschema@.webhook_minutes.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_minutes.minute IS 'The beginning of the minute. One of another day is out of date.';
COMMENT ON COLUMN @extschema@.webhook_minutes.attempts IS 'How many attempts ended in it.';
COMMENT ON COLUMN @extschema@.webhook_minutes.successes IS 'How many of them were successful.';
COMMENT ON COLUMN @extschema@.webhook_minutes.unjudged IS
    'How many events the filter could not judge: an error, or beyond its bounds. They were not delivered.';
COMMENT ON COLUMN @extschema@.webhook_minutes.durations IS
    'How many took how long: element i (from 1) counts those below 0.25 ms * 2^((i - 1) / 2) and not below the one '
    'before it; 48 elements.';

COMMENT ON SEQUENCE webhook_internal.deferred_changes_id_seq IS 'Orders webhook_internal.deferred_changes.';
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
COMMENT ON INDEX webhook_internal.deferred_changes_configuration_id_idx IS 'Finds what is to be written of a webhook.';
COMMENT ON INDEX webhook_internal.deferred_changes_event_id_idx IS 'Finds what of an event is to be written.';
COMMENT ON INDEX webhook_internal.deferred_changes_slot_idx IS 'Finds out whether a segment of webhook_events is needed.';
COMMENT ON TABLE webhook_internal.lock_key IS
    'One row, drawn by CREATE EXTENSION: whoever does not know it learns nothing from the tags of our locks in pg_locks.';
COMMENT ON COLUMN webhook_internal.lock_key.key IS 'The key.';
COMMENT ON TABLE @extschema@.webhook_endpoints IS
    'How the worker found each webhook''s endpoint. Written when the circuit opens or closes, and otherwise every few '
    'seconds. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.configuration_created_at IS
    'The created_at of the webhook, which tells it from one that had the id before or has it now.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.circuit_opened_at IS 'Since when the circuit is open. Null: it is closed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.next_probe_at IS 'When one delivery is tried, while the circuit is open.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.failing_since IS
    'The first failed attempt since the last success. After webhook.disable_after the webhook is switched off.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_success_at IS 'When an attempt or a test was last successful.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_error IS 'Why it did.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.filter_failed_at IS
    'When the filter last could not judge an event. Null: never since a worker saw it given, or changed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.filter_error IS 'Why it could not.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.updated_at IS 'When the row was last written.';

COMMENT ON VIEW @extschema@.webhook_stats IS
    'How each webhook does: the deliveries of the last 24 hours, up to a few seconds ago, what is owed, and the circuit.';
COMMENT ON COLUMN @extschema@.webhook_stats.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_stats.organization_id IS 'Whose it is.';
COMMENT ON COLUMN @extschema@.webhook_stats.name IS 'What it is called.';
COMMENT ON COLUMN @extschema@.webhook_stats.is_active IS 'Whether it receives anything.';
COMMENT ON COLUMN @extschema@.webhook_stats.attempts IS 'Attempts of the last 24 hours.';
COMMENT ON COLUMN @extschema@.webhook_stats.successes IS 'How many of them were successful.';
COMMENT ON COLUMN @extschema@.webhook_stats.success_percent IS 'The same in percent; null if there was no attempt.';
COMMENT ON COLUMN @extschema@.webhook_stats.p50_ms IS
    'Half of the attempts took at most so many milliseconds, to within 20 %. Null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_stats.p95_ms IS '95 of 100 did.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_success_at IS 'When an attempt was last successful.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_error IS 'Why it did.';
COMMENT ON COLUMN @extschema@.webhook_stats.owed IS 'How many deliveries are pending in webhook_deliveries.';
COMMENT ON COLUMN @extschema@.webhook_stats.dead IS 'How many deliveries there are dead.';
COMMENT ON COLUMN @extschema@.webhook_stats.circuit IS
    'closed: all is sent. open: the endpoint failed 5 times in a row, and one delivery is tried from time to time.';
COMMENT ON COLUMN @extschema@.webhook_stats.circuit_opened_at IS 'Since when the circuit is open.';
COMMENT ON COLUMN @extschema@.webhook_stats.next_probe_at IS 'When the next delivery is tried while it is.';
COMMENT ON COLUMN @extschema@.webhook_stats.failing_since IS 'The first failed attempt since the last success.';
COMMENT ON COLUMN @extschema@.webhook_stats.unjudged IS
    'How many events of the last 24 hours the filter could not judge: an error, or beyond its bounds. They were not delivered.';
COMMENT ON COLUMN @extschema@.webhook_stats.filter_failed_at IS 'When the filter last could not judge an event.';
COMMENT ON COLUMN @extschema@.webhook_stats.filter_error IS 'Why it could not.';

COMMENT ON TABLE @extschema@.webhook_rings IS
    'Which segment of webhook_events and of webhook_logs is written to. The worker turns them.';
COMMENT ON COLUMN @extschema@.webhook_rings.ring IS
    'events or logs; excess_events or excess_logs: of what organizations write beyond their shares.';
COMMENT ON COLUMN @extschema@.webhook_rings.slot IS 'The segment that is written to: 0 to 7, or 8 to 11.';
COMMENT ON COLUMN @extschema@.webhook_rings.opened_at IS 'Since when.';

COMMENT ON TABLE @extschema@.webhook_instance IS
    'Who this database is: one row, made by its first worker. Dumped, so that a restored copy notices that it is one '
    'and stays silent.';
COMMENT ON COLUMN @extschema@.webhook_instance.instance IS
    'Part of the public id of each event, which so is unique across databases.';
COMMENT ON COLUMN @extschema@.webhook_instance.database_oid IS
    'pg_database.oid at the time: another one tells that this is a copy.';
COMMENT ON COLUMN @extschema@.webhook_instance.system_identifier IS
    'pg_control_system().system_identifier at the time.';
COMMENT ON COLUMN @extschema@.webhook_instance.is_paused IS
    'Whether deliveries are held back: webhook_pause(), webhook_resume().';
COMMENT ON COLUMN @extschema@.webhook_instance.paused_reason IS 'Why.';
COMMENT ON COLUMN @extschema@.webhook_instance.created_at IS 'When the instance was drawn.';
COMMENT ON INDEX @extschema@.webhook_instance_singleton_idx IS 'Keeps it to one row.';

COMMENT ON TABLE @extschema@.webhook_checkpoint IS
    'Up to where the events are settled: delivered, or a row in webhook_deliveries. After a crash the worker reads on '
    'from here. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.worker IS 'Which worker, from 1.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.workers IS 'How many there were.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.instance IS 'webhook_instance.instance at the time.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.snapshot_from IS
    'The beginning of the window: all transactions that this snapshot sees are settled.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.snapshot_to IS 'The end of the window.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.position IS 'Within the window, events up to this id are settled.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.log_floor IS
    'What is logged, by any worker, of events that finished after snapshot_from has ids above it.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.updated_at IS 'When it was last written.';

COMMENT ON INDEX @extschema@.webhook_secrets_configuration_id_idx IS 'Finds the secrets of a webhook.';
COMMENT ON INDEX @extschema@.webhook_secrets_newest_idx IS 'Keeps each webhook to one secret that does not expire.';
COMMENT ON INDEX @extschema@.webhook_secrets_created_xid_idx IS 'Finds what the current transaction has staged.';

COMMENT ON VIEW @extschema@.webhook_watches IS
    'Which changes of which tables are events: the triggers that call webhook_capture(), made by webhook_watch() or '
    'by hand.';
COMMENT ON COLUMN @extschema@.webhook_watches.source IS 'The table.';
COMMENT ON COLUMN @extschema@.webhook_watches.event IS 'The event.';
COMMENT ON COLUMN @extschema@.webhook_watches.operation IS 'INSERT, UPDATE, DELETE, or several of them.';
COMMENT ON COLUMN @extschema@.webhook_watches.condition IS 'What must hold, in terms of NEW and OLD. Null: nothing.';
COMMENT ON COLUMN @extschema@.webhook_watches.changed_columns IS
    'An update is an event only if one of these changed. Null: any.';
COMMENT ON COLUMN @extschema@.webhook_watches.ignore_columns IS 'An update that changes nothing but these is no event.';
COMMENT ON COLUMN @extschema@.webhook_watches.organization_column IS
    'The column that says whose event it is. Null: nobody''s.';
COMMENT ON COLUMN @extschema@.webhook_watches.key_columns IS 'The columns that say what it is about.';
COMMENT ON COLUMN @extschema@.webhook_watches.include_columns IS
    'The columns that are sent. Null: all but exclude_columns.';
COMMENT ON COLUMN @extschema@.webhook_watches.exclude_columns IS 'The columns that are not sent.';
COMMENT ON COLUMN @extschema@.webhook_watches.include_previous IS
    'Whether an update also sends the old values of the columns that it changed.';
COMMENT ON COLUMN @extschema@.webhook_watches.large_numbers_as_text IS
    'Whether bigint and numeric, and arrays of them, are sent as strings.';
COMMENT ON COLUMN @extschema@.webhook_watches.trigger_name IS 'The trigger.';
COMMENT ON COLUMN @extschema@.webhook_watches.is_enabled IS 'Whether it fires in an ordinary session.';

COMMENT ON FUNCTION @extschema@.webhook_capture() IS
    'Trigger function, AFTER ... FOR EACH ROW: makes the change an event. Arguments: the event''s name, then options '
    'such as ''key_columns={id}''. webhook_watch() writes such triggers. Whoever may execute it can forge events of '
    'any organization.';
COMMENT ON FUNCTION webhook_internal.invalidate_subscriptions() IS
    'Trigger function of webhook_configurations: sessions forget what they remember of it.';
COMMENT ON FUNCTION webhook_internal.append(text, json, text, text) IS
    'Appends an event for any organization, unchecked. Behind webhook_emit().';
COMMENT ON FUNCTION @extschema@.webhook_flush() IS
    'Writes the events that this transaction has captured so far to webhook_events, which otherwise happens at its '
    'end. For tests that look before they roll back.';
COMMENT ON FUNCTION webhook_internal.wake() IS 'Has this database''s worker look for work when the current transaction commits.';
COMMENT ON FUNCTION @extschema@.webhook_is_preloaded() IS
    'Whether the server was started with webhook in shared_preload_libraries, without which nothing is delivered.';
COMMENT ON FUNCTION @extschema@.webhook_generate_secret() IS
    'A new secret: whsec_ and 24 random bytes in base64 (Standard Webhooks).';
COMMENT ON FUNCTION @extschema@.webhook_url_problem(text) IS
    'Why the URL cannot be a webhook''s, without repeating it; null if it can.';
COMMENT ON FUNCTION @extschema@.webhook_header_problem(text, text) IS
    'Why the header cannot be sent (RFC 9110, section 5), without repeating its value; null if it can.';
COMMENT ON FUNCTION @extschema@.webhook_event_pattern_problem(text) IS
    'What is wrong with a name or pattern of events; null if nothing is.';
COMMENT ON FUNCTION @extschema@.webhook_event_matches(text, text) IS
    'Whether a pattern as in webhook_configurations.events (contact.created, contact.*, *) matches the event.';
COMMENT ON FUNCTION @extschema@.webhook_sign(text, text) IS
    'The X-Webhook-Signature of a body: sha256= and the HMAC-SHA256 in hex, the key the secret''s text.';
COMMENT ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text) IS
    'The webhook-signature of a message (Standard Webhooks): v1, and the HMAC-SHA256 of id.timestamp.body in base64. '
    'timestamp: Unix seconds. A whsec_ secret is decoded to get the key.';
COMMENT ON FUNCTION @extschema@.webhook_verify(text, text, text) IS
    'Whether an X-Webhook-Signature is the body''s. Compares in constant time.';
COMMENT ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text) IS
    'Whether a webhook-signature, which may hold several, is the message''s (Standard Webhooks). Compares in constant '
    'time. It does not judge how old the timestamp (Unix seconds) is: refuse what is older than 5 minutes.';
COMMENT ON FUNCTION webhook_internal.body(text, timestamptz, json, json) IS 'The body of a request.';
COMMENT ON FUNCTION webhook_internal.encode_id(uuid, bigint, timestamptz) IS
    'The public id (evt_...) of an event of an instance.';
COMMENT ON FUNCTION webhook_internal.decode_id(uuid, text) IS
    'The event that a public id is of, if it is of that instance: any well-formed text is decoded to something. Nulls '
    'for what is none.';
COMMENT ON FUNCTION @extschema@.webhook_watch_crm(regclass, regclass, regclass, regclass, regclass, regclass, name, 
    name, name, name, name, name, name, name, name, name) IS
    'Declares the 17 built-in events on the tables of a CRM, by webhook_watch(), and returns the triggers. Tables that '
    'are not given are looked for in the search_path by these names (for deals also leads); one that is null or not '
    'found is skipped, with a NOTICE. organization_column null: no organizations. updated_column: a change of it alone '
    'is no update. A column that a table does not have is an error (42703). Calling it again does nothing.';
COMMENT ON COLUMN @extschema@.webhook_own_events.known_switch IS
    'As in webhook_events; null if that is no longer known.';
COMMENT ON VIEW @extschema@.webhook_own_events IS
    'The stored events of the caller''s organization, or all for operators. Bodies for those who may manage webhooks.';
COMMENT ON COLUMN @extschema@.webhook_own_events.id IS 'As in webhook_events.';
COMMENT ON COLUMN @extschema@.webhook_own_events.webhook_id IS
    'What receivers get as webhook-id; null before the first worker has started.';
COMMENT ON COLUMN @extschema@.webhook_own_events.created_at IS 'When the change was captured.';
COMMENT ON COLUMN @extschema@.webhook_own_events.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_own_events.organization_id IS 'Whose event it is.';
COMMENT ON COLUMN @extschema@.webhook_own_events.key IS 'What it is about.';
COMMENT ON COLUMN @extschema@.webhook_own_events.data IS 'The row as JSON; null if it was too large to be kept.';
COMMENT ON COLUMN @extschema@.webhook_own_events.previous IS 'The old values of what an UPDATE changed, if asked for.';
COMMENT ON COLUMN @extschema@.webhook_own_events.oversized_bytes IS 'How large it was, if it was too large.';
COMMENT ON FUNCTION webhook_internal.check_own(uuid) IS
    'An error (42704) unless the webhook is of the session''s organization.';
COMMENT ON FUNCTION webhook_internal.hold(uuid) IS
    'A webhook, which cannot be deleted before the transaction ends. An error (42704) if there is none.';
COMMENT ON FUNCTION webhook_internal.owe(uuid, bigint[]) IS
    'Owes events to a webhook again. Behind webhook_redeliver() and webhook_replay().';
COMMENT ON FUNCTION @extschema@.webhook_redeliver(bigint) IS
    'Owes the event of an attempt (webhook_logs.id) to its webhook again, with the same webhook-id and the full '
    'schedule, and returns what is owed. To an inactive webhook it goes once that is active again. 55000 if the event '
    'is not stored any more, 42704 if the webhook or the log row is gone.';
COMMENT ON FUNCTION webhook_internal.redeliver_own(uuid, bigint) IS
    'webhook_redeliver() for the session''s organization.';
COMMENT ON FUNCTION webhook_internal.redeliver_any(uuid, bigint) IS 'webhook_redeliver() for operators.';
COMMENT ON FUNCTION webhook_internal.replayable(uuid, timestamptz, timestamptz, text[], boolean) IS
    'The events that webhook_replay() would send.';
COMMENT ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'Owes to a webhook again what is stored of its organization''s events since a time and before another, as far as '
    'it subscribes to them; delivered or not, with the same webhook-id and the full schedule. Returns how many. '
    'events: only those that these names or patterns match. only_failed: only what was given up. dry_run: only '
    'counts. Also what came while it was inactive: webhook_replay(id, disabled_at, active_since).';
COMMENT ON FUNCTION webhook_internal.replay_own(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'webhook_replay() for the session''s organization.';
COMMENT ON FUNCTION webhook_internal.replay_any(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'webhook_replay() for operators.';
COMMENT ON FUNCTION @extschema@.webhook_cancel(uuid, bigint) IS
    'Gives up what is owed to a webhook, all or one event, and returns how much. It stays in webhook_deliveries, dead '
    'and cancelled, for webhook_replay(). What the worker has in its hands already may still arrive.';
COMMENT ON FUNCTION webhook_internal.cancel_own(uuid, bigint) IS 'webhook_cancel() for the session''s organization.';
COMMENT ON FUNCTION webhook_internal.cancel_any(uuid, bigint) IS 'webhook_cancel() for operators.';
COMMENT ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval) IS
    'Gives the webhook a new secret and returns it. For the overlap (at most 1 year) the old one signs beside it in '
    'webhook-signature; X-Webhook-Signature is by the new one at once. Of several older ones the newest 3 go on.';
COMMENT ON FUNCTION webhook_internal.rotate_secret_own(uuid, interval) IS
    'webhook_rotate_secret() for the session''s organization.';
COMMENT ON FUNCTION webhook_internal.rotate_secret_any(uuid, interval) IS
    'webhook_rotate_secret() for operators.';
COMMENT ON FUNCTION @extschema@.webhook_test(uuid, text) IS
    'Sends the webhook an event''s example now and returns what came back, as in webhook_logs. The event is its '
    'test_event, else webhook.test, unless given. A worker sends it, whether the webhook is active or not, as it is '
    'committed; it is logged, and stays so if the transaction is rolled back. Not retried. An error if nothing was sent: '
    'no worker, database paused, webhook not committed, too many tests at once.';
COMMENT ON FUNCTION webhook_internal.test_own(uuid, text) IS 'webhook_test() for the session''s organization.';
COMMENT ON FUNCTION webhook_internal.test_any(uuid, text) IS 'webhook_test() for operators.';
COMMENT ON FUNCTION webhook_internal.send_test(uuid, timestamptz, text, text, integer) IS
    'Behind webhook_test(): asks a worker, and waits at most for the webhook''s timeout_ms and 10 s more.';
COMMENT ON FUNCTION @extschema@.webhook_find(text) IS
    'The event that a webhook-id (evt_...) is of, among those of the caller''s organization that are stored or logged; '
    'no row if there is none. 22023 if the text is no such id.';
COMMENT ON FUNCTION webhook_internal.find_own(text) IS 'webhook_find() for the session''s organization.';
COMMENT ON FUNCTION webhook_internal.find_any(text) IS 'webhook_find() for operators.';
COMMENT ON FUNCTION @extschema@.webhook_server_state() IS
    'How many workers run for this database, and whether that is paused.';
COMMENT ON FUNCTION webhook_internal.worker_slots() IS
    'The workers of the server as shared memory shows them, what webhook_workers shows in words.';
COMMENT ON VIEW @extschema@.webhook_workers IS
    'The workers that run, of all databases of the server, from shared memory. Counts are since the worker''s start.';
COMMENT ON COLUMN @extschema@.webhook_workers.database IS 'The database that it delivers for.';
COMMENT ON COLUMN @extschema@.webhook_workers.worker IS 'Which worker of the database, from 1.';
COMMENT ON COLUMN @extschema@.webhook_workers.workers IS
    'How many there are, by webhook.workers; each owns the webhooks whose hash falls to it.';
COMMENT ON COLUMN @extschema@.webhook_workers.pid IS 'Its process, as in pg_stat_activity.';
COMMENT ON COLUMN @extschema@.webhook_workers.started_at IS 'When it started.';
COMMENT ON COLUMN @extschema@.webhook_workers.in_flight IS 'Requests that wait for their answer.';
COMMENT ON COLUMN @extschema@.webhook_workers.queued IS 'Deliveries in its memory that wait for their turn.';
COMMENT ON COLUMN @extschema@.webhook_workers.events_ahead IS 'Events that it has read ahead of its checkpoint.';
COMMENT ON COLUMN @extschema@.webhook_workers.sent IS 'Requests begun.';
COMMENT ON COLUMN @extschema@.webhook_workers.failed IS 'Attempts that failed.';
COMMENT ON COLUMN @extschema@.webhook_workers.logged IS 'Rows written to webhook_logs.';
COMMENT ON COLUMN @extschema@.webhook_workers.lag IS
    'The age of the oldest event that it has read and not settled; null if there is none.';
COMMENT ON COLUMN @extschema@.webhook_workers.last_error_at IS
    'When one of its transactions last failed, as the server log says; null: never.';
COMMENT ON FUNCTION @extschema@.webhook_check(uuid) IS
    'Why nothing arrives: what is wrong with a webhook or around it (error, warning), and how it stands (info), each '
    'with a hint. 42704 if there is no such webhook.';
COMMENT ON FUNCTION webhook_internal.check_deferred_own(uuid) IS
    'What of the deliveries of a webhook of the session''s organization waits to be recorded; null for any other.';
COMMENT ON FUNCTION webhook_internal.check_deferred_any(uuid) IS
    'check_deferred_own() for operators: a webhook of any organization.';
COMMENT ON FUNCTION webhook_internal.check_secrets_own(uuid) IS
    'Why a webhook of the session''s organization cannot sign by its secrets; null if it can, and for any other '
    'webhook. Behind webhook_check().';
COMMENT ON FUNCTION webhook_internal.check_secrets_any(uuid) IS
    'webhook_check_secrets_own() for operators: a webhook of any organization.';
COMMENT ON FUNCTION webhook_internal.check_sources(uuid) IS
    'The part of webhook_check() about where its events come from.';
COMMENT ON FUNCTION webhook_internal.is_settled(bigint) IS
    'Whether the workers are done with an event (webhook_events.id), as of the last checkpoint; false before the first.';
COMMENT ON FUNCTION @extschema@.webhook_explain(bigint) IS
    'For an event (webhook_events.id) and each webhook of its organization: whether it matched, or the reason why not '
    '(organization, pattern, inactive, active since later), and the outcome: delivered, pending, dead, failed (with '
    'nothing further owed), waiting (not tried yet), settled (nothing is owed, and the log rows that would say more are '
    'gone). 42704 if there is no such event.';
COMMENT ON FUNCTION @extschema@.webhook_curl(bigint) IS
    'An attempt (webhook_logs.id) as a curl command for a POSIX shell. URL and headers are the webhook''s of today; '
    'the time and the signatures are those of the attempt, if the secret still is.';
COMMENT ON FUNCTION webhook_internal.shell_quote(text) IS 'The text as one word of a POSIX shell.';
COMMENT ON FUNCTION @extschema@.webhook_current_organization() IS
    'The organization that the session acts for: the claim named by webhook.organization_claim in request.jwt.claims; '
    'if it has none, the setting webhook.organization_id; null if there is neither, or both and they differ. An error '
    'if the claims are malformed.';
COMMENT ON FUNCTION @extschema@.webhook_is_operator() IS
    'A marker: whoever may execute it sees and manages all organizations. Granted by webhook_grant(role, '
    '''operate'').';
COMMENT ON FUNCTION webhook_internal.known_events(text) IS
    'The detail of an error about an unknown event: the known ones, nearest first.';
COMMENT ON FUNCTION webhook_internal.check_own_event(text) IS
    'An error (42939) if the name is one of the events about webhooks themselves.';
COMMENT ON FUNCTION webhook_internal.check_filter(jsonpath) IS
    'An error (22023) unless it can be the filter of a webhook.';
COMMENT ON FUNCTION @extschema@.webhook_filter_matches(jsonpath, json) IS
    'Whether an event with that data passes a filter (webhook_configurations.filter). Errors as jsonb_path_query().';
COMMENT ON FUNCTION @extschema@.webhook_filter_data_problem(text) IS
    'Why no filter may see such data, of whatever event; null if one may.';
COMMENT ON FUNCTION @extschema@.webhook_filter_problem(jsonpath, json) IS
    'Why an event with that data does not pass a filter; null if it does.';
COMMENT ON FUNCTION webhook_internal.ordering_key(text, text, bigint) IS
    'What webhook_deliveries.ordering_key is for a webhook of that ordering and an event of that key and id.';
COMMENT ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision) IS
    'A quantile (0 to 1) of counts as in webhook_minutes.durations, in milliseconds, to within 20 %; null without any.';
COMMENT ON FUNCTION webhook_internal.check_event(text) IS
    'An error (22023) unless the text can be the name of an event.';
COMMENT ON FUNCTION webhook_internal.check_known_event(text) IS
    'An error (22023, 42704) unless the event is in webhook_event_types.';
COMMENT ON FUNCTION webhook_internal.check_event_pattern(text) IS
    'An error (22023, 42704) unless a webhook may subscribe to that.';
COMMENT ON FUNCTION webhook_internal.check_range(text, integer, integer, integer) IS
    'An error (22003) unless the value lies in the range.';
COMMENT ON FUNCTION webhook_internal.check_events(text[]) IS
    'An error (22023, 42704) unless it can be the events of a webhook.';
COMMENT ON FUNCTION webhook_internal.check_headers(jsonb) IS
    'An error (22023) unless it can be the headers of a webhook.';
COMMENT ON FUNCTION webhook_internal.check_retry_schedule(interval[]) IS
    'An error (22023) unless it can be the retry schedule of a webhook.';
COMMENT ON FUNCTION webhook_internal.check_secret(text) IS
    'An error (22023) unless it can be a secret. The message does not repeat it.';
COMMENT ON FUNCTION webhook_internal.count_webhooks(text) IS
    'How many webhooks the organization has, those that others have just committed included. Locks out others who count '
    'until the transaction ends.';
COMMENT ON FUNCTION webhook_internal.lock_deliveries(uuid) IS
    'Until the transaction ends, nobody else writes what is owed to the webhook. Waits for whoever does.';
COMMENT ON FUNCTION webhook_internal.lock_instance() IS
    'Until the transaction ends, nobody else makes the row of webhook_instance. Waits for whoever does.';
COMMENT ON FUNCTION webhook_internal.url_form_problem(text) IS
    'What is wrong with a URL whatever the settings; null: nothing. The webhooks of a dump are judged by it.';
COMMENT ON FUNCTION webhook_internal.webhooks_max() IS 'The setting webhook.max_webhooks_per_organization.';
COMMENT ON FUNCTION webhook_internal.owed_max() IS 'The setting webhook.max_owed_per_organization.';
COMMENT ON FUNCTION webhook_internal.log_ring(text, bigint) IS
    'The ring of webhook_logs for so many rows of an organization: logs while it is within its share, else excess_logs.';
COMMENT ON FUNCTION webhook_internal.used_share(text, text) IS
    'How much of its share of webhook_events (events) or webhook_logs (logs) an organization has used up, from 0 to 1.';
COMMENT ON FUNCTION webhook_internal.check_shares_any(uuid) IS
    'The tables of which the webhook''s organization has used up its share; null: none. For operators.';
COMMENT ON FUNCTION webhook_internal.check_shares_own(uuid) IS
    'The same for a webhook of the session''s organization.';
COMMENT ON FUNCTION webhook_internal.count_owed(text, bigint) IS
    'How many rows of webhook_deliveries an organization has, at most one more than the second argument.';
COMMENT ON FUNCTION webhook_internal.check_limit(text) IS
    'An error (53400) if the session''s organization has more webhooks than webhook.max_webhooks_per_organization.';
COMMENT ON FUNCTION webhook_internal.configurations_limit() IS
    'Trigger function of webhook_configurations: keeps organizations to webhook.max_webhooks_per_organization.';
COMMENT ON FUNCTION webhook_internal.draw_switch() IS 'The next number of webhook_switches_seq.';
COMMENT ON FUNCTION webhook_internal.add_switch(integer[], boolean) IS
    'webhook_configurations.switches with one more, by which it has become is_active: at most 101.';
COMMENT ON FUNCTION webhook_internal.was_active(boolean, integer[], integer) IS
    'Whether a webhook with these is_active and switches was active when an event was captured that knew that switch; '
    'null: it is not known, and what is now counts.';
COMMENT ON FUNCTION webhook_internal.configurations_check() IS
    'Trigger function of webhook_configurations: checks what is new in the row, and keeps its times.';
COMMENT ON FUNCTION webhook_internal.configurations_stage_secret() IS
    'Trigger function of webhook_configurations: takes the secret out of a row to be inserted and leaves its mask.';
COMMENT ON FUNCTION webhook_internal.configurations_adopt_secrets() IS
    'Trigger function of webhook_configurations: puts the staged secrets of inserted rows into force.';
COMMENT ON FUNCTION webhook_internal.configurations_change_secret() IS
    'Trigger function of webhook_configurations: replaces the secret of an updated row, unless it is written back as '
    'its mask.';
COMMENT ON FUNCTION webhook_internal.configurations_changed() IS
    'Trigger function of webhook_configurations: removes staged secrets that no row took, and wakes the worker.';
COMMENT ON FUNCTION webhook_internal.configurations_forget() IS
    'Trigger function of webhook_configurations: removes the secrets of a deleted webhook, and tells the worker of it.';
COMMENT ON FUNCTION webhook_internal.configurations_draw_identity() IS
    'Trigger function of webhook_configurations: gives a row of whoever is not an operator its id and created_at.';
COMMENT ON FUNCTION webhook_internal.configurations_stamp() IS
    'Trigger function of webhook_configurations: changed_xid of what replication brings is that of this cluster.';
COMMENT ON FUNCTION webhook_internal.secrets_stamp() IS
    'Trigger function of webhook_secrets: created_xid is that of the transaction that wrote the row last.';
COMMENT ON FUNCTION webhook_internal.secrets_forget() IS
    'Trigger function of webhook_secrets: tells the worker of a secret that was deleted.';
COMMENT ON FUNCTION webhook_internal.announce_owed(uuid) IS
    'Tells the worker that a session has changed what the webhook is owed.';
COMMENT ON FUNCTION webhook_internal.replace_secret(uuid, text) IS
    'Makes the text the webhook''s only secret; null: it has none.';
COMMENT ON FUNCTION webhook_internal.mask(text) IS 'What is shown of a secret.';
COMMENT ON FUNCTION webhook_internal.is_mask(text) IS 'Whether the text is what is shown of a secret.';
COMMENT ON FUNCTION @extschema@.webhook_reveal_secret(uuid) IS
    'The secret of a webhook of the caller''s organization; null if it has none. 42704 if there is no such webhook; '
    '55000 if it cannot be decrypted.';
COMMENT ON FUNCTION webhook_internal.reveal_secret_own(uuid) IS
    'webhook_reveal_secret() for a webhook of the session''s organization; null for any other.';
COMMENT ON FUNCTION webhook_internal.reveal_secret_any(uuid) IS
    'webhook_reveal_secret() for operators: a webhook of any organization.';
COMMENT ON FUNCTION @extschema@.webhook_reencrypt_secrets() IS
    'Encrypts all secrets by the first key of webhook.secret_key_file that are not yet, and returns how many these were. '
    'The worker calls it at its start and on reload. F0000 if the file cannot be used.';
COMMENT ON FUNCTION webhook_internal.secret_key_id() IS
    'The id of the key that secrets are encrypted by: the first of webhook.secret_key_file. Null if that is not set. F0000 '
    'if it cannot be used.';
COMMENT ON FUNCTION webhook_internal.seal_secret(uuid, text) IS
    'key_id and secret of the row of webhook_secrets for the webhook''s secret. F0000 if webhook.secret_key_file cannot be '
    'used.';
COMMENT ON FUNCTION webhook_internal.open_secret(uuid, text, text) IS
    'The secret of a row of webhook_secrets. 55000 if it cannot be decrypted.';
COMMENT ON FUNCTION webhook_internal.secret_problem(uuid, text, text) IS
    'Why the secret of a row of webhook_secrets cannot be decrypted; null if it can.';
COMMENT ON FUNCTION webhook_internal.is_secret(uuid, text, text, text) IS
    'Whether the last argument is the secret of the row of webhook_secrets. False if that cannot be decrypted.';
COMMENT ON FUNCTION webhook_internal.keep_local() IS 'Trigger function: replication does not change this table.';
COMMENT ON FUNCTION webhook_internal.instance_restored() IS
    'Trigger function: a second row means that the database was restored, and is to start paused.';
COMMENT ON FUNCTION webhook_internal.skip_known_type() IS
    'Trigger function of webhook_event_types: replication skips what is here already.';
COMMENT ON FUNCTION webhook_internal.trigger_arguments(bytea) IS
    'The arguments of a trigger, from pg_trigger.tgargs.';
COMMENT ON FUNCTION webhook_internal.trigger_option(text[], text) IS
    'The value of an option among the arguments of webhook_capture(); null if it is not set.';
COMMENT ON FUNCTION webhook_internal.trigger_condition(oid) IS
    'The WHEN condition of a trigger; null if it has none.';
COMMENT ON FUNCTION webhook_internal.unwatched_children(regclass, text) IS
    'The tables that inherit from a watched one and do not have the event; null: none.';
COMMENT ON FUNCTION webhook_internal.check_source(regclass) IS
    'An error (42809) unless events can be declared on the relation.';
COMMENT ON FUNCTION webhook_internal.check_columns(regclass, text, name[], text) IS
    'An error (42703) unless the table has these columns.';
COMMENT ON FUNCTION webhook_internal.check_comparison(regclass, name[], boolean) IS
    'A WARNING for each column that its type compares otherwise than as text. An error (42804) if an organization cannot be '
    'of the type.';
COMMENT ON FUNCTION webhook_internal.watch_operation(text, text) IS 'The operation that webhook_watch() means.';
COMMENT ON FUNCTION webhook_internal.watch_trigger_name(regclass, text, text) IS
    'The name of the trigger that webhook_watch() writes.';
COMMENT ON FUNCTION webhook_internal.watch_key(regclass) IS 'The columns of the primary key; null if there is none.';
COMMENT ON FUNCTION webhook_internal.watch_arguments(regclass, text, text, name[], name[], name, name[], 
    name[], name[], boolean, boolean) IS
    'The arguments of the trigger that webhook_watch() writes. Errors: 22023, 42703.';
COMMENT ON FUNCTION webhook_internal.watch_conflicts(regclass, text, text, name) IS
    'An error (42710) if another trigger already makes the same change the same event.';
COMMENT ON FUNCTION webhook_internal.condition_meaning(regclass, name) IS
    'The operators, functions and collations of a trigger''s condition; null if it has none.';
COMMENT ON FUNCTION webhook_internal.check_restorable(regclass, name) IS
    'An error (42P17) unless a dump restores the trigger with the condition that it has.';
COMMENT ON FUNCTION webhook_internal.foreign_equality(regclass, name) IS
    'The equality operator of a column''s type as an expression names it, if its schema is not pg_catalog; else null.';
COMMENT ON FUNCTION webhook_internal.condition_of_change(regclass, name) IS
    'The condition that an UPDATE has changed the column, in a form that a dump restores.';
COMMENT ON FUNCTION webhook_internal.condition_of_value(regclass, name, text) IS
    'The condition that the column has the value, in a form that a dump restores.';
COMMENT ON FUNCTION webhook_internal.check_condition(text) IS
    'An error (42601) unless PostgreSQL''s parser takes the text for one expression and nothing else.';
COMMENT ON FUNCTION webhook_internal.trigger_declaration(name, regclass, text, text, text[]) IS
    'The statement that declares a trigger of webhook_watch(). Errors: 22023, 42601.';
COMMENT ON FUNCTION webhook_internal.normal_condition(regclass, text, text, text) IS
    'A condition as PostgreSQL shows it; null if it is not valid.';
COMMENT ON FUNCTION webhook_internal.register_event(text) IS
    'Adds the event to webhook_event_types, with a NOTICE, unless it is there.';
COMMENT ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, name[], 
    name[], name[], boolean, boolean, text) IS
    'Declares that a change of a table is an event, by a trigger, and returns the trigger''s name. Declaring the same '
    'again does nothing, something else for the same operation replaces it. operation: INSERT, UPDATE, DELETE or '
    'INSERT OR UPDATE; by default what the event''s last part says. condition: one expression with NEW and OLD (42601), read '
    'in search_path (by default the session''s), with standard_conforming_strings on. key_columns: by default the primary key. Needs the right TRIGGER on '
    'the table. Waits 2 s for the table''s lock, then 55P03.';
COMMENT ON FUNCTION @extschema@.webhook_unwatch(regclass, text) IS
    'Takes back webhook_watch(): drops the triggers of the event on the table and returns their names. 42704 if there '
    'is none. Waits 2 s for the table''s lock, then 55P03.';
COMMENT ON FUNCTION @extschema@.webhook_emit(text, json, text, text) IS
    'Publishes an event that no row change shows. It is delivered if the transaction commits. The event must be in '
    'webhook_event_types (42704); another organization than the session''s is for operators only (42501).';
COMMENT ON FUNCTION webhook_internal.emit_own(text, json, text) IS
    'Publishes an event of the session''s organization. Behind webhook_emit().';
COMMENT ON FUNCTION @extschema@.webhook_pause(text) IS
    'Holds back all deliveries of this database until webhook_resume(). Events are captured as ever. 55000 before the '
    'first worker has started.';
COMMENT ON FUNCTION @extschema@.webhook_resume() IS
    'Takes back webhook_pause(), and confirms that a restored copy of a database may deliver. 55000 before the first '
    'worker has started.';
COMMENT ON FUNCTION webhook_internal.set_paused(boolean, text) IS 'Behind webhook_pause() and webhook_resume().';
COMMENT ON FUNCTION webhook_internal.privileges(text) IS 'What webhook_grant() grants for a level.';
COMMENT ON FUNCTION @extschema@.webhook_grant(regrole, text) IS
    'Gives the role a level instead of the one it has. read: logs, deliveries without their data, webhooks without '
    'their headers, and finding out about them. manage: also the data, and to create, change, delete and reveal '
    'webhooks, send again, cancel, publish events. operate: all organizations, declaring events, pausing. By GRANTs '
    'alone.';
COMMENT ON FUNCTION @extschema@.webhook_revoke(regrole) IS 'Takes back webhook_grant(), but for USAGE on the schema.';

COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_configurations IS 'An organization manages its own webhooks.';
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_deliveries IS 'An organization reads its own deliveries.';
COMMENT ON POLICY webhook_tenants ON webhook_internal.given_up IS
    'An organization reads what was given up of its own.';
COMMENT ON POLICY webhook_operators ON webhook_internal.given_up IS 'Operators read all of it.';
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_logs IS 'An organization reads its own logs.';
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_minutes IS 'An organization reads its own statistics.';
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_endpoints IS 'An organization reads its own state of endpoints.';
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_events IS
    'An organization reads its own events, if its role may read the table.';
COMMENT ON POLICY webhook_readers ON @extschema@.webhook_event_types IS 'Whoever may read the table sees all types.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_configurations IS
    'Operators manage the webhooks of all organizations.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_deliveries IS 'Operators read all deliveries.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_logs IS 'Operators read all logs.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_minutes IS 'Operators read all statistics.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_endpoints IS 'Operators read all state of endpoints.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_events IS 'Operators read all events.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_instance IS 'Operators pause and resume.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_checkpoint IS 'Operators see how far the worker is.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_rings IS 'Operators see which segments are written to.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_event_types IS
    'Operators manage all types but the built-in ones.';

-- === Privileges ======================================================================================================

-- Default privileges may have handed out rights on all of the above: to a role, or to PUBLIC.
DO $$
DECLARE
    extension oid := (SELECT e.oid FROM pg_extension e WHERE e.extname = 'webhook');
    object text;
    grantee regrole;
BEGIN
    FOR grantee IN
        SELECT acl.grantee FROM pg_depend d JOIN pg_class c ON c.oid = d.objid, aclexplode(c.relacl) acl
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.classid = 'pg_class'::regclass
          AND acl.grantee NOT IN (0, c.relowner)
        UNION
        SELECT acl.grantee FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid, aclexplode(p.proacl) acl
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.classid = 'pg_proc'::regclass
          AND acl.grantee NOT IN (0, p.proowner)
        UNION
        SELECT acl.grantee FROM pg_namespace n, aclexplode(n.nspacl) acl
        WHERE n.nspname = 'webhook_internal' AND acl.grantee NOT IN (0, n.nspowner)
    LOOP
        PERFORM @extschema@.webhook_revoke(grantee);
    END LOOP;
    FOR object IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.classid = 'pg_class'::regclass
          AND c.relkind IN ('r', 'p', 'v', 'S')
        UNION ALL
        SELECT format('FUNCTION %s', d.objid::regprocedure) FROM pg_depend d
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.classid = 'pg_proc'::regclass
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', object);
    END LOOP;
    REVOKE ALL ON SCHEMA webhook_internal FROM PUBLIC;
END
$$;

-- What the policies call, as whoever reads a table that was granted to them: it tells the session's own organization.
GRANT EXECUTE ON FUNCTION @extschema@.webhook_current_organization() TO PUBLIC;

-- === Ready? ==========================================================================================================

DO $$
BEGIN
    IF NOT @extschema@.webhook_is_preloaded() THEN
        RAISE WARNING 'webhook is not preloaded: events are captured, but not delivered'
            USING DETAIL = 'Nothing is lost: delivery starts with the events captured by then.',
                  HINT = format('Set shared_preload_libraries = %L in postgresql.conf and restart the server.',
                                concat_ws(',', nullif(current_setting('shared_preload_libraries'), ''), 'webhook'));
    END IF;
END
$$;
