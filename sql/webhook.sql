\echo Use "CREATE EXTENSION webhook" to load this file. \quit

-- What the extension is in SQL. In this order: functions in C, tenancy, tables, the built-in events, row-level
-- security, the triggers that keep webhook_configurations right, declaring events, publishing, administration,
-- comments, and privileges last.
--
-- Every name of ours is qualified, and what is not is looked up in pg_catalog alone: here by the next statement, in
-- each function by its own SET. Only the functions that must touch webhook_secrets, or what else no application role
-- may see, are SECURITY DEFINER; each says why. The text is plain ASCII, so that it loads in a database of any
-- encoding.

SET LOCAL search_path = pg_catalog, pg_temp;

-- === Functions in C (src/module.cpp) =================================================================================

-- Without a SET: they look no name up by the search_path, it would cost every captured row, and the casts of a user's
-- own types, which capture calls, are entitled to the session's.
CREATE FUNCTION @extschema@.webhook_capture() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_capture';

CREATE FUNCTION @extschema@.webhook_invalidate_subscriptions() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_invalidate_subscriptions';

CREATE FUNCTION @extschema@.webhook_append(event text, data json, organization_id text, key text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_append';

CREATE FUNCTION @extschema@.webhook_flush() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_flush';

CREATE FUNCTION @extschema@.webhook_wake() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_wake';

CREATE FUNCTION @extschema@.webhook_is_preloaded() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_is_preloaded';

CREATE FUNCTION @extschema@.webhook_generate_secret() RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_generate_secret';

-- STABLE: it depends on the setting webhook.allow_http.
CREATE FUNCTION @extschema@.webhook_url_problem(url text) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_url_problem';

CREATE FUNCTION @extschema@.webhook_header_problem(name text, value text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_header_problem';

CREATE FUNCTION @extschema@.webhook_event_pattern_problem(pattern text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_event_pattern_problem';

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
    timeout_ms      integer NOT NULL DEFAULT 5000,
    retry_schedule  interval[],
    max_in_flight   integer NOT NULL DEFAULT 16,
    test_event      text REFERENCES @extschema@.webhook_event_types,
    active_since    timestamptz,
    disabled_at     timestamptz,
    disabled_reason text,
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    UNIQUE NULLS NOT DISTINCT (organization_id, name)
);

CREATE TABLE @extschema@.webhook_secrets (
    configuration_id uuid NOT NULL,
    secret           text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at       timestamptz,
    created_xid      xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id()
);
CREATE INDEX webhook_secrets_configuration_id_idx ON @extschema@.webhook_secrets (configuration_id);
CREATE UNIQUE INDEX webhook_secrets_newest_idx ON @extschema@.webhook_secrets (configuration_id)
    WHERE expires_at IS NULL;
CREATE INDEX webhook_secrets_created_xid_idx ON @extschema@.webhook_secrets (created_xid);
-- Without a primary key, a publication FOR ALL TABLES would make every UPDATE and DELETE here an error.
ALTER TABLE @extschema@.webhook_secrets REPLICA IDENTITY FULL;

-- The event log, a ring of 8 segments. Column order and types are known to src/pg/event_writer.cpp.
-- Ids are drawn a million at a time and shared out in memory: see src/pg/shared_state.h.
CREATE SEQUENCE @extschema@.webhook_events_id_seq INCREMENT 1000000 CACHE 1;
CREATE TABLE @extschema@.webhook_events (
    slot            smallint NOT NULL,
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
CREATE INDEX webhook_events_id_idx ON @extschema@.webhook_events (id);
CREATE INDEX webhook_events_xid_idx ON @extschema@.webhook_events (xid);

CREATE TABLE @extschema@.webhook_deliveries (
    event_id         bigint NOT NULL,
    configuration_id uuid NOT NULL,
    organization_id  text,
    event            text NOT NULL,
    key              text,
    created_at       timestamptz NOT NULL,
    state            text NOT NULL CHECK (state IN ('pending', 'dead')),
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz,
    last_error       text,
    data             json,
    previous         json,
    updated_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (event_id, configuration_id)
);
CREATE INDEX webhook_deliveries_due_idx ON @extschema@.webhook_deliveries
    (configuration_id, next_attempt_at, event_id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_dead_idx ON @extschema@.webhook_deliveries
    (configuration_id, event_id) WHERE state = 'dead';

-- A ring of 8 segments too.
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
CREATE INDEX webhook_logs_id_idx ON @extschema@.webhook_logs USING brin (id) WITH (pages_per_range = 16);
CREATE INDEX webhook_logs_configuration_id_idx ON @extschema@.webhook_logs (configuration_id, id);

CREATE TABLE @extschema@.webhook_rings (
    ring      text PRIMARY KEY CHECK (ring IN ('events', 'logs')),
    slot      smallint NOT NULL DEFAULT 0 CHECK (slot BETWEEN 0 AND 7),
    opened_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
INSERT INTO @extschema@.webhook_rings (ring) VALUES ('events'), ('logs');

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
 '{"id":26,"organization_id":"acme","meeting_id":"85746065432","contact_id":4711,"topic":"Analytical engine: demonstration","duration_s":1860,"recording_url":"https://zoom.example.com/rec/85746065432","status":"completed","created_at":"2024-01-19T15:35:00+00:00","updated_at":"2024-01-19T15:52:30+00:00"}');

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
CREATE POLICY webhook_tenants ON @extschema@.webhook_events FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
CREATE POLICY webhook_readers ON @extschema@.webhook_event_types FOR SELECT USING (true);

CREATE POLICY webhook_operators ON @extschema@.webhook_configurations
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_deliveries FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_logs FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
CREATE POLICY webhook_operators ON @extschema@.webhook_events FOR SELECT
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

-- === Names of events =================================================================================================

-- The known events, those first that share the most pairs of letters with the text.
CREATE FUNCTION @extschema@.webhook_known_events(near text) RETURNS text
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
                  SELECT substr(near, i, 2) FROM generate_series(1, length(near) - 1) i) pairs
        ) s
    )
    SELECT 'Known events, nearest first: ' || string_agg(k.name, ', ' ORDER BY k.place)
           || CASE WHEN (SELECT count(*) FROM known) > 20 THEN ', ...' ELSE '' END || '.'
    FROM known k WHERE k.place <= 20
$$;

CREATE FUNCTION @extschema@.webhook_check_event(event text) RETURNS void
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

CREATE FUNCTION @extschema@.webhook_check_known_event(event text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.webhook_check_event(event);
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE t.name = event) THEN
        RAISE EXCEPTION 'unknown event "%"', event
            USING ERRCODE = 'undefined_object',
                  DETAIL = @extschema@.webhook_known_events(event),
                  HINT = format('If it is a new event, declare where it comes from with @extschema@.webhook_watch(), '
                                'or register it: INSERT INTO @extschema@.webhook_event_types (name, category) '
                                'VALUES (%L, %L);', event, split_part(event, '.', 1));
    END IF;
END
$$;

-- The rules of src/core/event_pattern.h: "*" leaves out the events about webhooks themselves.
CREATE FUNCTION @extschema@.webhook_check_event_pattern(pattern text) RETURNS void
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
        PERFORM @extschema@.webhook_check_known_event(pattern);
    ELSIF pattern <> '*'
          AND NOT EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE starts_with(t.name, prefix)) THEN
        RAISE EXCEPTION 'no known event matches "%"', pattern
            USING ERRCODE = 'undefined_object', TABLE = 'webhook_configurations', COLUMN = 'events',
                  DETAIL = @extschema@.webhook_known_events(pattern),
                  HINT = 'Declare the events first with @extschema@.webhook_watch(), or register them: '
                         'INSERT INTO @extschema@.webhook_event_types (name, category) VALUES (...);';
    END IF;
END
$$;

-- === webhook_configurations: what may be stored ======================================================================

CREATE FUNCTION @extschema@.webhook_check_range(parameter text, value integer, lowest integer, highest integer)
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

CREATE FUNCTION @extschema@.webhook_check_events(events text[]) RETURNS void
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
    FOREACH pattern IN ARRAY events LOOP
        PERFORM @extschema@.webhook_check_event_pattern(pattern);
    END LOOP;
END
$$;

CREATE FUNCTION @extschema@.webhook_check_headers(headers jsonb) RETURNS void
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    header record;
    problem text;
BEGIN
    IF jsonb_typeof(headers) <> 'object' THEN
        RAISE EXCEPTION 'headers must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers',
                  HINT = 'An example: {"X-Api-Key": "..."}';
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

CREATE FUNCTION @extschema@.webhook_check_retry_schedule(retry_schedule interval[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(retry_schedule) NOT BETWEEN 1 AND 20 OR array_ndims(retry_schedule) > 1
       OR EXISTS (SELECT FROM unnest(retry_schedule) step WHERE step IS NULL OR step <= interval '0') THEN
        RAISE EXCEPTION 'retry_schedule must be a list of 1 to 20 positive intervals'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'retry_schedule',
                  HINT = 'An example: {5s,30s,5min}. Null means the setting webhook.retry_schedule.';
    END IF;
END
$$;

-- Checks what is new in the row, so that a webhook stored under another policy (webhook.allow_http) can still be
-- switched off. Runs as the caller, who must be able to read webhook_event_types.
CREATE FUNCTION @extschema@.webhook_configurations_check() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
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
    IF TG_OP = 'INSERT' OR NEW.url <> OLD.url THEN
        problem := @extschema@.webhook_url_problem(NEW.url);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'invalid URL: %', problem
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'url',
                      HINT = 'Give a URL such as https://example.com/hooks.';
        END IF;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.events <> OLD.events THEN
        PERFORM @extschema@.webhook_check_events(NEW.events);
    END IF;
    IF TG_OP = 'INSERT' OR NEW.headers <> OLD.headers THEN
        PERFORM @extschema@.webhook_check_headers(NEW.headers);
    END IF;
    PERFORM @extschema@.webhook_check_range('timeout_ms', NEW.timeout_ms, 100, 60000);
    PERFORM @extschema@.webhook_check_range('max_in_flight', NEW.max_in_flight, 1, 1000);
    PERFORM @extschema@.webhook_check_retry_schedule(NEW.retry_schedule);

    IF TG_OP = 'UPDATE' THEN
        NEW.created_at := OLD.created_at;
        NEW.updated_at := clock_timestamp();
    END IF;
    IF NOT NEW.is_active THEN
        NEW.active_since := NULL;
        IF TG_OP = 'UPDATE' AND OLD.is_active THEN
            NEW.disabled_at := clock_timestamp();
        END IF;
    ELSIF TG_OP = 'UPDATE' AND OLD.is_active THEN
        NEW.active_since := OLD.active_since;
    ELSIF TG_OP = 'UPDATE' OR NEW.active_since IS NULL THEN  -- an INSERT that gives it is a restore
        NEW.active_since := clock_timestamp();
    END IF;
    IF NEW.is_active THEN
        NEW.disabled_at := NULL;
        NEW.disabled_reason := NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER webhook_configurations_1_check BEFORE INSERT OR UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION @extschema@.webhook_configurations_check();

-- === webhook_configurations: where secrets go ========================================================================
--
-- Whoever may write webhook_configurations may not read webhook_secrets: the functions that move a secret there are
-- SECURITY DEFINER. None of them may be called, or attached to another table, by anybody.
--
-- A BEFORE INSERT trigger does not know what becomes of its row: ON CONFLICT may drop it, or turn it into an UPDATE of
-- another one, and the id it proposes may be that of somebody else's webhook. So it only stages the secret, as one that
-- expired at -infinity, which nobody signs with; the row's AFTER INSERT or BEFORE UPDATE trigger takes it from there,
-- and what nobody took is removed at the end of the statement.

-- 'whsec_', if the secret has it, an ellipsis, and the last four characters. The mask of a mask is the mask.
CREATE FUNCTION @extschema@.webhook_mask(secret text) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ellipsis text := '...';
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        ellipsis := chr(8230);
    END IF;
    RETURN CASE WHEN starts_with(secret, 'whsec_') THEN 'whsec_' ELSE '' END || ellipsis || right(secret, 4);
END
$$;

-- Whether the text is a mask, by this database or by one of another encoding.
CREATE FUNCTION @extschema@.webhook_is_mask(secret text) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT secret = @extschema@.webhook_mask(secret) OR secret ~ '^(whsec_)?[.]{3}.{4}$'
$$;

CREATE FUNCTION @extschema@.webhook_check_secret(secret text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF length(secret) < 12 THEN
        RAISE EXCEPTION 'the secret is shorter than 12 characters'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                  HINT = 'Use @extschema@.webhook_generate_secret(), or null for no signature.';
    END IF;
    IF secret LIKE 'whsec\_%' AND (length(secret) - 6) % 4 <> 0
       OR secret LIKE 'whsec\_%' AND secret !~ '^whsec_[A-Za-z0-9+/]+={0,2}$' THEN
        RAISE EXCEPTION 'the secret begins with whsec_, but the rest is not base64'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                  DETAIL = 'Receivers decode the rest to get the key (Standard Webhooks).',
                  HINT = 'Use @extschema@.webhook_generate_secret(), or a text without that prefix.';
    END IF;
END
$$;

CREATE FUNCTION @extschema@.webhook_replace_secret(webhook uuid, plain text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM @extschema@.webhook_secrets s
               WHERE s.configuration_id = webhook AND s.expires_at IS NULL AND s.secret = plain) THEN
        RETURN;
    END IF;
    DELETE FROM @extschema@.webhook_secrets s WHERE s.configuration_id = webhook;
    IF plain IS NOT NULL THEN
        INSERT INTO @extschema@.webhook_secrets (configuration_id, secret) VALUES (webhook, plain);
    END IF;
END
$$;

CREATE FUNCTION @extschema@.webhook_configurations_stage_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    IF @extschema@.webhook_is_mask(plain) THEN  -- a restore: the secret comes with webhook_secrets
        RETURN NEW;
    END IF;
    PERFORM @extschema@.webhook_check_secret(plain);
    NEW.secret := @extschema@.webhook_mask(plain);
    -- A null id fails at once, and the message for it must not come from webhook_secrets, whose row it would show.
    IF NEW.id IS NOT NULL THEN
        INSERT INTO @extschema@.webhook_secrets (configuration_id, secret, expires_at)
        VALUES (NEW.id, plain, '-infinity');
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION @extschema@.webhook_configurations_adopt_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plain text;
BEGIN
    -- The first of a kind: with ON CONFLICT DO NOTHING, the first row of a key is the one that is inserted.
    SELECT s.secret INTO plain FROM @extschema@.webhook_secrets s
    WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity'
      AND s.configuration_id = NEW.id AND @extschema@.webhook_mask(s.secret) = NEW.secret
    ORDER BY s.created_at, s.ctid LIMIT 1;
    IF FOUND THEN
        PERFORM @extschema@.webhook_replace_secret(NEW.id, plain);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION @extschema@.webhook_configurations_change_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    IF @extschema@.webhook_is_mask(plain) THEN
        -- INSERT ... ON CONFLICT DO UPDATE SET secret = EXCLUDED.secret: the last one staged is this row's.
        DELETE FROM @extschema@.webhook_secrets d
        WHERE d.ctid = (SELECT s.ctid FROM @extschema@.webhook_secrets s
                        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity'
                          AND @extschema@.webhook_mask(s.secret) = NEW.secret
                        ORDER BY s.created_at DESC, s.ctid DESC LIMIT 1)
        RETURNING d.secret INTO plain;
        IF NOT FOUND AND NEW.secret IS NOT DISTINCT FROM OLD.secret THEN
            RETURN NEW;
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the secret is the mask of another one'
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                      HINT = 'The secret itself is shown by @extschema@.webhook_reveal_secret(id).';
        END IF;
    END IF;
    PERFORM @extschema@.webhook_check_secret(plain);
    PERFORM @extschema@.webhook_replace_secret(NEW.id, plain);
    NEW.secret := @extschema@.webhook_mask(plain);
    RETURN NEW;
END
$$;

-- SECURITY DEFINER for webhook_secrets, and for webhook_wake().
CREATE FUNCTION @extschema@.webhook_configurations_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM @extschema@.webhook_secrets s
    WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity';
    PERFORM @extschema@.webhook_wake();
    RETURN NULL;
END
$$;

-- SECURITY DEFINER for webhook_secrets, and for webhook_deliveries, which tenants may only read.
CREATE FUNCTION @extschema@.webhook_configurations_forget() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM @extschema@.webhook_secrets;
        DELETE FROM @extschema@.webhook_deliveries;
        RETURN NULL;
    END IF;
    DELETE FROM @extschema@.webhook_secrets s WHERE s.configuration_id = OLD.id;
    -- Two statements, so that each finds its index.
    DELETE FROM @extschema@.webhook_deliveries d WHERE d.configuration_id = OLD.id AND d.state = 'pending';
    DELETE FROM @extschema@.webhook_deliveries d WHERE d.configuration_id = OLD.id AND d.state = 'dead';
    RETURN NULL;
END
$$;

CREATE TRIGGER webhook_configurations_2_stage_secret BEFORE INSERT ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL)
    EXECUTE FUNCTION @extschema@.webhook_configurations_stage_secret();
CREATE TRIGGER webhook_configurations_2_change_secret BEFORE UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL OR OLD.secret IS NOT NULL)
    EXECUTE FUNCTION @extschema@.webhook_configurations_change_secret();
CREATE TRIGGER webhook_configurations_3_adopt_secret AFTER INSERT ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL)
    EXECUTE FUNCTION @extschema@.webhook_configurations_adopt_secret();
CREATE TRIGGER webhook_configurations_4_forget AFTER DELETE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION @extschema@.webhook_configurations_forget();
CREATE TRIGGER webhook_configurations_4_forget_all AFTER TRUNCATE ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.webhook_configurations_forget();
CREATE TRIGGER webhook_configurations_5_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.webhook_configurations_changed();

-- Sessions remember who subscribes to what. A change that replication applies counts too: logical replication fires
-- triggers for rows and for TRUNCATE, but not for other statements.
CREATE TRIGGER webhook_configurations_6_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.webhook_invalidate_subscriptions();
CREATE TRIGGER webhook_configurations_6_invalidate_replicated AFTER INSERT OR UPDATE OR DELETE
    ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION @extschema@.webhook_invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_configurations ENABLE ALWAYS TRIGGER webhook_configurations_6_invalidate;
ALTER TABLE @extschema@.webhook_configurations ENABLE REPLICA TRIGGER webhook_configurations_6_invalidate_replicated;

-- The secrets of the caller's webhooks. Not security_invoker, so that it may read webhook_secrets; in a view,
-- current_user is still the caller, which a SECURITY DEFINER function could not tell.
CREATE VIEW @extschema@.webhook_own_secrets WITH (security_barrier) AS
    SELECT c.id AS configuration_id, s.secret
    FROM @extschema@.webhook_configurations c
    JOIN @extschema@.webhook_secrets s ON s.configuration_id = c.id AND s.expires_at IS NULL
    WHERE c.organization_id = (SELECT @extschema@.webhook_current_organization())
       OR (SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE'));

CREATE FUNCTION @extschema@.webhook_reveal_secret(configuration_id uuid) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c
                   WHERE c.id = webhook_reveal_secret.configuration_id) THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', configuration_id
            USING ERRCODE = 'undefined_object';
    END IF;
    RETURN (SELECT s.secret FROM @extschema@.webhook_own_secrets s
            WHERE s.configuration_id = webhook_reveal_secret.configuration_id);
END
$$;

-- === Replication =====================================================================================================

-- These tables say what this database has captured, owes and sent. A subscriber to all tables keeps its own.
CREATE FUNCTION @extschema@.webhook_keep_local() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN NULL;
END
$$;

-- Both sides have the built-in types already.
CREATE FUNCTION @extschema@.webhook_skip_known_type() RETURNS trigger
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
    FOR EACH ROW EXECUTE FUNCTION @extschema@.webhook_skip_known_type();
ALTER TABLE @extschema@.webhook_event_types ENABLE REPLICA TRIGGER webhook_skip_known_type;

DO $$
DECLARE
    relation regclass;
    segment regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        '@extschema@.webhook_events', '@extschema@.webhook_deliveries', '@extschema@.webhook_logs',
        '@extschema@.webhook_checkpoint', '@extschema@.webhook_rings', '@extschema@.webhook_instance'
    ]::regclass[] LOOP
        EXECUTE format(
            'CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s '
            'FOR EACH ROW EXECUTE FUNCTION @extschema@.webhook_keep_local()', relation);
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

-- === Copies ==========================================================================================================

-- A dump's row that comes after the worker has written one of its own: this database was restored, and must not call
-- anybody before webhook_resume(). Later than webhook_keep_local, by name. The lock is for two who come at once.
CREATE FUNCTION @extschema@.webhook_instance_restored() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(TG_RELID::bigint);
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
    FOR EACH ROW EXECUTE FUNCTION @extschema@.webhook_instance_restored();

-- What the worker keeps in memory, beside webhook_configurations.
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_instance
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.webhook_invalidate_subscriptions();
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.webhook_invalidate_subscriptions();
-- pg_restore --data-only --disable-triggers, or a session that has set session_replication_role.
ALTER TABLE @extschema@.webhook_instance ENABLE ALWAYS TRIGGER webhook_invalidate;
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_invalidate;

-- === Declaring events ================================================================================================

-- pg_trigger.tgargs: texts in the database's encoding, each ended by a zero byte.
CREATE FUNCTION @extschema@.webhook_trigger_arguments(tgargs bytea) RETURNS text[]
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    -- In this format a backslash is doubled: a zero byte, "\000", cannot be mistaken.
    SELECT trim_array(array_agg(convert_from(decode(a.part, 'escape'), getdatabaseencoding()) ORDER BY a.place), 1)
    FROM regexp_split_to_table(replace(encode(tgargs, 'escape'), '\\', '\134'), '\\000') WITH ORDINALITY a (part, place)
$$;

CREATE FUNCTION @extschema@.webhook_trigger_option(arguments text[], option text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substr(a, length(option) + 2) FROM unnest(arguments[2:]) a WHERE starts_with(a, option || '=')
$$;

CREATE FUNCTION @extschema@.webhook_trigger_condition(trigger_oid oid) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substring(pg_get_triggerdef(trigger_oid) FROM ' FOR EACH ROW WHEN \((.*)\) EXECUTE FUNCTION ')
$$;

CREATE VIEW @extschema@.webhook_watches WITH (security_invoker) AS
    SELECT t.tgrelid::regclass AS source,
           a.arguments[1] AS event,
           concat_ws(' OR ', CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END,
                             CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END,
                             CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END) AS operation,
           @extschema@.webhook_trigger_condition(t.oid) AS condition,
           @extschema@.webhook_trigger_option(a.arguments, 'changed_columns')::name[] AS changed_columns,
           @extschema@.webhook_trigger_option(a.arguments, 'ignore_columns')::name[] AS ignore_columns,
           @extschema@.webhook_trigger_option(a.arguments, 'organization_column')::name AS organization_column,
           @extschema@.webhook_trigger_option(a.arguments, 'key_columns')::name[] AS key_columns,
           @extschema@.webhook_trigger_option(a.arguments, 'include_columns')::name[] AS include_columns,
           @extschema@.webhook_trigger_option(a.arguments, 'exclude_columns')::name[] AS exclude_columns,
           coalesce(@extschema@.webhook_trigger_option(a.arguments, 'include_previous')::boolean, false)
               AS include_previous,
           t.tgname AS trigger_name,
           t.tgenabled IN ('O', 'A') AS is_enabled
    FROM pg_trigger t
    CROSS JOIN LATERAL (SELECT @extschema@.webhook_trigger_arguments(t.tgargs) AS arguments) a
    WHERE t.tgfoid = '@extschema@.webhook_capture()'::regprocedure
      AND t.tgparentid = 0;

CREATE FUNCTION @extschema@.webhook_check_source(source regclass) RETURNS void
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
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Its rows are no events: each would cause the next.';
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

CREATE FUNCTION @extschema@.webhook_check_columns(source regclass, parameter text, columns name[], hint text)
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

-- The operation in the one spelling that the rest uses. By default what the event's last part says.
CREATE FUNCTION @extschema@.webhook_watch_operation(event text, operation text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked text := upper(regexp_replace(btrim(operation), '\s+', ' ', 'g'));
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
CREATE FUNCTION @extschema@.webhook_watch_trigger_name(source regclass, event text, operation text) RETURNS name
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
                              OR (@extschema@.webhook_trigger_arguments(t.tgargs))[1] IS DISTINCT FROM event)) THEN
        RETURN plain || suffix;
    END IF;
    RETURN left(plain, 63 - length(digest || suffix)) || digest || suffix;
END
$$;

CREATE FUNCTION @extschema@.webhook_watch_key(source regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(a.attname ORDER BY k.place)
    FROM pg_constraint c
    CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
    WHERE c.conrelid = source AND c.contype = 'p'
$$;

-- The condition as PostgreSQL would show it for a trigger on the source; null if that cannot be told. Tried out on an
-- empty copy, which is rolled back: on the source it would lock out writers only to find that nothing has to be done.
CREATE FUNCTION @extschema@.webhook_normal_condition(source regclass, operation text, condition text, search_path text)
    RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    normal text;
BEGIN
    EXECUTE format('CREATE TEMPORARY TABLE webhook_condition_probe (LIKE %s)', source);
    PERFORM set_config('search_path', webhook_normal_condition.search_path, true);
    EXECUTE format(E'CREATE TRIGGER webhook_probe AFTER %s ON pg_temp.webhook_condition_probe FOR EACH ROW '
                   'WHEN (%s\n) EXECUTE FUNCTION @extschema@.webhook_capture(''webhook.probe'')',
                   operation, condition);
    PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT @extschema@.webhook_trigger_condition(t.oid) INTO normal FROM pg_trigger t
    WHERE t.tgrelid = 'pg_temp.webhook_condition_probe'::regclass AND t.tgname = 'webhook_probe';
    RAISE EXCEPTION 'undo the probe' USING ERRCODE = 'triggered_action_exception';
EXCEPTION WHEN OTHERS THEN
    RETURN normal;
END
$$;

CREATE FUNCTION @extschema@.webhook_watch_conflicts(source regclass, event text, operation text, trigger_name name)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    other record;
BEGIN
    SELECT w.trigger_name, w.operation INTO other FROM @extschema@.webhook_watches w
    WHERE w.source = webhook_watch_conflicts.source AND w.event = webhook_watch_conflicts.event
      AND w.trigger_name <> webhook_watch_conflicts.trigger_name
      AND string_to_array(w.operation, ' OR ') && string_to_array(webhook_watch_conflicts.operation, ' OR ');
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
      AND (@extschema@.webhook_trigger_arguments(t.tgargs))[1] = event;
    IF FOUND THEN
        RAISE EXCEPTION 'event "%" is already declared on the partitioned table %', event, other.parent
            USING ERRCODE = 'duplicate_object', DETAIL = format('%s is a partition of it.', source),
                  HINT = 'Declare an event on the partitioned table or on its partitions, not on both.';
    END IF;
END
$$;

CREATE FUNCTION @extschema@.webhook_register_event(event text) RETURNS void
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
CREATE FUNCTION @extschema@.webhook_watch_arguments(
    source regclass, event text, operation text, changed_columns name[], ignore_columns name[],
    organization_column name, key_columns name[], include_columns name[], exclude_columns name[],
    include_previous boolean) RETURNS text[]
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
    PERFORM @extschema@.webhook_check_columns(source, 'organization_column', ARRAY[organization_column],
        'Name the column that holds the organization, or, in a database without tenants, pass '
        'organization_column => NULL.') WHERE organization_column IS NOT NULL;
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
        SELECT * FROM (VALUES ('key_columns', coalesce(key_columns, @extschema@.webhook_watch_key(source))),
                              ('ignore_columns', ignore_columns), ('changed_columns', changed_columns),
                              ('include_columns', include_columns),
                              ('exclude_columns', exclude_columns)) o (name, columns)
        WHERE o.columns <> '{}'
    LOOP
        PERFORM @extschema@.webhook_check_columns(source, option.name, option.columns,
            'Name columns of the table, or leave the parameter out.');
        arguments := arguments || (option.name || '=' || option.columns::text);
    END LOOP;
    IF include_previous THEN
        arguments := arguments || 'include_previous=true'::text;
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
    search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS name[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    arguments text[];
    own_trigger name;
    is_declared boolean;
    problem text;
BEGIN
    PERFORM @extschema@.webhook_check_source(source);
    PERFORM @extschema@.webhook_check_event(event);
    operation := @extschema@.webhook_watch_operation(event, operation);
    condition := nullif(btrim(condition), '');
    arguments := @extschema@.webhook_watch_arguments(source, event, operation, changed_columns, ignore_columns,
        organization_column, key_columns, include_columns, exclude_columns, coalesce(include_previous, false));
    own_trigger := @extschema@.webhook_watch_trigger_name(source, event, operation);
    PERFORM @extschema@.webhook_watch_conflicts(source, event, operation, own_trigger);

    SELECT w.condition IS NOT DISTINCT FROM
           CASE WHEN w.condition IS NULL OR webhook_watch.condition IS NULL THEN webhook_watch.condition
                ELSE @extschema@.webhook_normal_condition(w.source, w.operation, webhook_watch.condition,
                                                          search_path) END
    INTO is_declared
    FROM @extschema@.webhook_watches w
    JOIN pg_trigger t ON t.tgrelid = w.source AND t.tgname = w.trigger_name
    WHERE w.source = webhook_watch.source AND w.operation = webhook_watch.operation AND t.tgname = own_trigger
      AND @extschema@.webhook_trigger_arguments(t.tgargs) = arguments;
    IF is_declared THEN
        PERFORM @extschema@.webhook_register_event(event);
        RETURN ARRAY[own_trigger];
    END IF;

    BEGIN
        PERFORM set_config('search_path', webhook_watch.search_path, true);
        EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s FOR EACH ROW %s '
                       'EXECUTE FUNCTION @extschema@.webhook_capture(%s)',
                       own_trigger, operation, source, E'WHEN (' || condition || E'\n)',
                       (SELECT string_agg(quote_literal(a.argument), ', ' ORDER BY a.place)
                        FROM unnest(arguments) WITH ORDINALITY a (argument, place)));
        PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
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
    PERFORM @extschema@.webhook_register_event(event);
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

-- === Publishing from SQL =============================================================================================

-- SECURITY DEFINER, because whoever may call webhook_append() itself can forge any organization's events. That this one
-- cannot does not depend on who calls it.
CREATE FUNCTION @extschema@.webhook_emit_own(event text, data json, key text) RETURNS void
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
    PERFORM @extschema@.webhook_check_known_event(event);
    PERFORM @extschema@.webhook_append(event, data, organization, key);
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
        PERFORM @extschema@.webhook_check_known_event(event);
        PERFORM @extschema@.webhook_append(event, data, organization_id, key);
    ELSIF organization_id IS DISTINCT FROM own THEN
        RAISE EXCEPTION 'permission denied to publish an event of another organization'
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('The event is for %s; the current organization is %s.',
                                  coalesce(quote_literal(organization_id), 'none'),
                                  coalesce(quote_literal(own), 'not set')),
                  HINT = 'Only operators may: @extschema@.webhook_grant(role, ''operate'').';
    ELSE
        PERFORM @extschema@.webhook_emit_own(event, data, key);
    END IF;
END
$$;

-- === Administration ==================================================================================================

CREATE FUNCTION @extschema@.webhook_set_paused(paused boolean, reason text) RETURNS void
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
    PERFORM @extschema@.webhook_wake();
END
$$;

CREATE FUNCTION @extschema@.webhook_pause(reason text DEFAULT NULL) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.webhook_set_paused(true, coalesce(reason, 'paused by ' || session_user))
$$;

CREATE FUNCTION @extschema@.webhook_resume() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.webhook_set_paused(false, NULL)
$$;

-- What each level gives: from the first of the two on, up to the second.
CREATE FUNCTION @extschema@.webhook_privileges(level text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE STRICT ROWS 20 SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.privilege FROM (VALUES
        (1, 3, 'USAGE ON SCHEMA @extschema@'),
        (1, 3, 'SELECT ON @extschema@.webhook_event_types'),
        (1, 3, 'SELECT ON @extschema@.webhook_watches'),
        (1, 3, 'SELECT ON @extschema@.webhook_deliveries'),
        (1, 3, 'SELECT ON @extschema@.webhook_logs'),
        (1, 1, 'SELECT (id, organization_id, name, url, events, secret, is_active, timeout_ms, retry_schedule, '
            'max_in_flight, test_event, active_since, disabled_at, disabled_reason, created_at, updated_at) '
            'ON @extschema@.webhook_configurations'),
        (2, 3, 'SELECT, INSERT, UPDATE, DELETE ON @extschema@.webhook_configurations'),
        (2, 3, 'SELECT ON @extschema@.webhook_own_secrets'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_reveal_secret(uuid)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_emit(text, json, text, text)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_emit_own(text, json, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_is_operator()'),
        (3, 3, 'INSERT (name, category, description, example), UPDATE (category, description, example), DELETE '
            'ON @extschema@.webhook_event_types'),
        (3, 3, 'SELECT ON @extschema@.webhook_events'),
        (3, 3, 'SELECT, UPDATE (is_paused, paused_reason) ON @extschema@.webhook_instance'),
        (3, 3, 'SELECT ON @extschema@.webhook_checkpoint'),
        (3, 3, 'SELECT ON @extschema@.webhook_rings'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_capture()'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_append(text, json, text, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_wake()'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_set_paused(boolean, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_pause(text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_resume()'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_register_event(text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, '
            'name[], name[], name[], boolean, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_unwatch(regclass, text)')
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
    FOR privilege IN SELECT p FROM @extschema@.webhook_privileges(level) p LOOP
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
COMMENT ON COLUMN @extschema@.webhook_configurations.name IS 'What people call it; unique within the organization.';
COMMENT ON COLUMN @extschema@.webhook_configurations.url IS
    'Where the POST goes: https, without credentials, at most 2048 bytes.';
COMMENT ON COLUMN @extschema@.webhook_configurations.events IS
    'What it wants: names (contact.created), patterns (contact.*), or * for all.';
COMMENT ON COLUMN @extschema@.webhook_configurations.secret IS
    'Write the secret that requests are signed with (at least 12 characters; webhook_generate_secret() makes one), '
    'read its mask: the secret itself is kept in webhook_secrets. Null: requests are not signed. Writing the mask '
    'back changes nothing.';
COMMENT ON COLUMN @extschema@.webhook_configurations.is_active IS 'Whether it receives anything.';
COMMENT ON COLUMN @extschema@.webhook_configurations.headers IS
    'Further headers of each request, an object of strings. Those that the delivery itself sets cannot be given.';
COMMENT ON COLUMN @extschema@.webhook_configurations.timeout_ms IS
    'How long an attempt may take, in milliseconds: 100 to 60000.';
COMMENT ON COLUMN @extschema@.webhook_configurations.retry_schedule IS
    'How long to wait before each further attempt: 1 to 20 positive intervals. Null: the setting '
    'webhook.retry_schedule.';
COMMENT ON COLUMN @extschema@.webhook_configurations.max_in_flight IS
    'How many requests may be under way to it at once: 1 to 1000.';
COMMENT ON COLUMN @extschema@.webhook_configurations.test_event IS
    'The event whose example a test sends. As a reference it also makes pg_dump restore the types first.';
COMMENT ON COLUMN @extschema@.webhook_configurations.active_since IS
    'When it last became active: it receives only events captured since then. Null while it is inactive. Kept by a '
    'trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.disabled_at IS
    'When it was last switched off, by a person or by the worker. Kept by a trigger.';
COMMENT ON COLUMN @extschema@.webhook_configurations.disabled_reason IS
    'Why the worker switched it off; null if a person did.';
COMMENT ON COLUMN @extschema@.webhook_configurations.created_at IS 'When it was created. Cannot be changed.';
COMMENT ON COLUMN @extschema@.webhook_configurations.updated_at IS 'When it was last changed. Kept by a trigger.';

COMMENT ON TABLE @extschema@.webhook_secrets IS
    'The secrets that requests are signed with. For no application role: triggers of webhook_configurations write it, '
    'the worker and webhook_reveal_secret() read it.';
COMMENT ON COLUMN @extschema@.webhook_secrets.configuration_id IS
    'The webhook that it belongs to (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_secrets.secret IS
    'The secret. The base64 after whsec_ is the key (Standard Webhooks); any other text is the key itself.';
COMMENT ON COLUMN @extschema@.webhook_secrets.created_at IS 'When it was stored. The newest signs X-Webhook-Signature.';
COMMENT ON COLUMN @extschema@.webhook_secrets.expires_at IS
    'Until when it signs beside a newer one. Null: the newest, which does not expire. -infinity: only staged by an '
    'INSERT under way.';
COMMENT ON COLUMN @extschema@.webhook_secrets.created_xid IS 'The top-level transaction that stored it.';

COMMENT ON SEQUENCE @extschema@.webhook_events_id_seq IS 'The ids of events, drawn a million at a time.';
COMMENT ON TABLE @extschema@.webhook_events IS
    'The captured events, append-only, in a ring of 8 segments: the oldest is emptied when its turn to be written '
    'comes. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_events.slot IS 'The segment, 0 to 7.';
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
COMMENT ON COLUMN @extschema@.webhook_deliveries.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.key IS 'The key of the event.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.created_at IS 'When the event was captured.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.state IS
    'pending: it will be tried at next_attempt_at. dead: it was given up.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.attempts IS 'How many attempts were made.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.next_attempt_at IS 'When it is due; null when it is dead.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.last_error IS 'Why the last attempt failed, or why it was given up.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.data IS
    'The data of the event; null while webhook_events still holds it.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.previous IS 'webhook_events.previous, copied together with the data.';
COMMENT ON COLUMN @extschema@.webhook_deliveries.updated_at IS 'When the row was last changed.';
COMMENT ON INDEX @extschema@.webhook_deliveries_due_idx IS 'Finds what is due for a webhook.';
COMMENT ON INDEX @extschema@.webhook_deliveries_dead_idx IS 'Finds what was given up for a webhook.';

COMMENT ON SEQUENCE @extschema@.webhook_logs_id_seq IS 'The ids of log rows.';
COMMENT ON TABLE @extschema@.webhook_logs IS
    'One row for each attempt to deliver, and one with attempt 0 for what was given up without any; in a ring of 8 '
    'segments. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_logs.slot IS 'The segment, 0 to 7.';
COMMENT ON COLUMN @extschema@.webhook_logs.id IS 'Unique, ascending in the order of recording.';
COMMENT ON COLUMN @extschema@.webhook_logs.created_at IS 'When the attempt ended.';
COMMENT ON COLUMN @extschema@.webhook_logs.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_logs.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_logs.event_id IS 'The event (webhook_events.id).';
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
    FOR slot IN 0 .. 7 LOOP
        EXECUTE format('COMMENT ON TABLE @extschema@.webhook_events_%s IS %L', slot,
                       'A segment of webhook_events, which is the table to read.');
        EXECUTE format('COMMENT ON TABLE @extschema@.webhook_logs_%s IS %L', slot,
                       'A segment of webhook_logs, which is the table to read.');
    END LOOP;
END
$$;

COMMENT ON TABLE @extschema@.webhook_rings IS
    'Which segment of webhook_events and of webhook_logs is written to. The worker turns them.';
COMMENT ON COLUMN @extschema@.webhook_rings.ring IS 'events or logs.';
COMMENT ON COLUMN @extschema@.webhook_rings.slot IS 'The segment that is written to, 0 to 7.';
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
    'Log ids above it were drawn after the window''s first send.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.updated_at IS 'When it was last written.';

COMMENT ON INDEX @extschema@.webhook_secrets_configuration_id_idx IS 'Finds the secrets of a webhook.';
COMMENT ON INDEX @extschema@.webhook_secrets_newest_idx IS 'Keeps each webhook to one secret that does not expire.';
COMMENT ON INDEX @extschema@.webhook_secrets_created_xid_idx IS 'Finds what the current transaction has staged.';

COMMENT ON VIEW @extschema@.webhook_own_secrets IS
    'The newest secrets of the caller''s organization, or of all for an operator. What webhook_reveal_secret() reads.';
COMMENT ON COLUMN @extschema@.webhook_own_secrets.configuration_id IS 'The webhook.';
COMMENT ON COLUMN @extschema@.webhook_own_secrets.secret IS 'Its secret.';

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
COMMENT ON COLUMN @extschema@.webhook_watches.trigger_name IS 'The trigger.';
COMMENT ON COLUMN @extschema@.webhook_watches.is_enabled IS 'Whether it fires in an ordinary session.';

COMMENT ON FUNCTION @extschema@.webhook_capture() IS
    'Trigger function, AFTER ... FOR EACH ROW: makes the change an event. Arguments: the event''s name, then options '
    'such as ''key_columns={id}''. webhook_watch() writes such triggers. Whoever may execute it can forge events of '
    'any organization.';
COMMENT ON FUNCTION @extschema@.webhook_invalidate_subscriptions() IS
    'Trigger function of webhook_configurations: sessions forget what they remember of it.';
COMMENT ON FUNCTION @extschema@.webhook_append(text, json, text, text) IS
    'Appends an event for any organization, unchecked. Behind webhook_emit().';
COMMENT ON FUNCTION @extschema@.webhook_flush() IS
    'Writes the events that this transaction has captured so far to webhook_events, which otherwise happens at its '
    'end. For tests that look before they roll back.';
COMMENT ON FUNCTION @extschema@.webhook_wake() IS 'Has this database''s worker look for work when the current transaction commits.';
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
COMMENT ON FUNCTION @extschema@.webhook_current_organization() IS
    'The organization that the session acts for: the claim named by webhook.organization_claim in request.jwt.claims; '
    'if it has none, the setting webhook.organization_id; null if there is neither, or both and they differ. An error '
    'if the claims are malformed.';
COMMENT ON FUNCTION @extschema@.webhook_is_operator() IS
    'A marker: whoever may execute it sees and manages all organizations. Granted by webhook_grant(role, '
    '''operate'').';
COMMENT ON FUNCTION @extschema@.webhook_known_events(text) IS
    'The detail of an error about an unknown event: the known ones, nearest first.';
COMMENT ON FUNCTION @extschema@.webhook_check_event(text) IS
    'An error (22023) unless the text can be the name of an event.';
COMMENT ON FUNCTION @extschema@.webhook_check_known_event(text) IS
    'An error (22023, 42704) unless the event is in webhook_event_types.';
COMMENT ON FUNCTION @extschema@.webhook_check_event_pattern(text) IS
    'An error (22023, 42704) unless a webhook may subscribe to that.';
COMMENT ON FUNCTION @extschema@.webhook_check_range(text, integer, integer, integer) IS
    'An error (22003) unless the value lies in the range.';
COMMENT ON FUNCTION @extschema@.webhook_check_events(text[]) IS
    'An error (22023, 42704) unless it can be the events of a webhook.';
COMMENT ON FUNCTION @extschema@.webhook_check_headers(jsonb) IS
    'An error (22023) unless it can be the headers of a webhook.';
COMMENT ON FUNCTION @extschema@.webhook_check_retry_schedule(interval[]) IS
    'An error (22023) unless it can be the retry schedule of a webhook.';
COMMENT ON FUNCTION @extschema@.webhook_check_secret(text) IS
    'An error (22023) unless it can be a secret. The message does not repeat it.';
COMMENT ON FUNCTION @extschema@.webhook_configurations_check() IS
    'Trigger function of webhook_configurations: checks what is new in the row, and keeps its times.';
COMMENT ON FUNCTION @extschema@.webhook_configurations_stage_secret() IS
    'Trigger function of webhook_configurations: takes the secret out of a row to be inserted and leaves its mask.';
COMMENT ON FUNCTION @extschema@.webhook_configurations_adopt_secret() IS
    'Trigger function of webhook_configurations: puts the staged secret of an inserted row into force.';
COMMENT ON FUNCTION @extschema@.webhook_configurations_change_secret() IS
    'Trigger function of webhook_configurations: replaces the secret of an updated row, unless it is written back as '
    'its mask.';
COMMENT ON FUNCTION @extschema@.webhook_configurations_changed() IS
    'Trigger function of webhook_configurations: removes staged secrets that no row took, and wakes the worker.';
COMMENT ON FUNCTION @extschema@.webhook_configurations_forget() IS
    'Trigger function of webhook_configurations: removes the secrets and deliveries of a deleted webhook.';
COMMENT ON FUNCTION @extschema@.webhook_replace_secret(uuid, text) IS
    'Makes the text the webhook''s only secret; null: it has none.';
COMMENT ON FUNCTION @extschema@.webhook_mask(text) IS 'What is shown of a secret.';
COMMENT ON FUNCTION @extschema@.webhook_is_mask(text) IS 'Whether the text is what is shown of a secret.';
COMMENT ON FUNCTION @extschema@.webhook_reveal_secret(uuid) IS
    'The secret of a webhook of the caller''s organization; null if it has none. 42704 if there is no such webhook.';
COMMENT ON FUNCTION @extschema@.webhook_keep_local() IS 'Trigger function: replication does not change this table.';
COMMENT ON FUNCTION @extschema@.webhook_instance_restored() IS
    'Trigger function: a second row means that the database was restored, and is to start paused.';
COMMENT ON FUNCTION @extschema@.webhook_skip_known_type() IS
    'Trigger function of webhook_event_types: replication skips what is here already.';
COMMENT ON FUNCTION @extschema@.webhook_trigger_arguments(bytea) IS
    'The arguments of a trigger, from pg_trigger.tgargs.';
COMMENT ON FUNCTION @extschema@.webhook_trigger_option(text[], text) IS
    'The value of an option among the arguments of webhook_capture(); null if it is not set.';
COMMENT ON FUNCTION @extschema@.webhook_trigger_condition(oid) IS
    'The WHEN condition of a trigger; null if it has none.';
COMMENT ON FUNCTION @extschema@.webhook_check_source(regclass) IS
    'An error (42809) unless events can be declared on the relation.';
COMMENT ON FUNCTION @extschema@.webhook_check_columns(regclass, text, name[], text) IS
    'An error (42703) unless the table has these columns.';
COMMENT ON FUNCTION @extschema@.webhook_watch_operation(text, text) IS 'The operation that webhook_watch() means.';
COMMENT ON FUNCTION @extschema@.webhook_watch_trigger_name(regclass, text, text) IS
    'The name of the trigger that webhook_watch() writes.';
COMMENT ON FUNCTION @extschema@.webhook_watch_key(regclass) IS 'The columns of the primary key; null if there is none.';
COMMENT ON FUNCTION @extschema@.webhook_watch_arguments(regclass, text, text, name[], name[], name, name[], 
    name[], name[], boolean) IS
    'The arguments of the trigger that webhook_watch() writes. Errors: 22023, 42703.';
COMMENT ON FUNCTION @extschema@.webhook_watch_conflicts(regclass, text, text, name) IS
    'An error (42710) if another trigger already makes the same change the same event.';
COMMENT ON FUNCTION @extschema@.webhook_normal_condition(regclass, text, text, text) IS
    'A condition as PostgreSQL shows it; null if it is not valid.';
COMMENT ON FUNCTION @extschema@.webhook_register_event(text) IS
    'Adds the event to webhook_event_types, with a NOTICE, unless it is there.';
COMMENT ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, name[], 
    name[], name[], boolean, text) IS
    'Declares that a change of a table is an event, by a trigger, and returns the trigger''s name. Declaring the same '
    'again does nothing, something else for the same operation replaces it. operation: INSERT, UPDATE, DELETE or '
    'INSERT OR UPDATE; by default what the event''s last part says. condition: an expression with NEW and OLD, read '
    'in search_path (by default the session''s). key_columns: by default the primary key. Needs the right TRIGGER on '
    'the table. Waits 2 s for the table''s lock, then 55P03.';
COMMENT ON FUNCTION @extschema@.webhook_unwatch(regclass, text) IS
    'Takes back webhook_watch(): drops the triggers of the event on the table and returns their names. 42704 if there '
    'is none. Waits 2 s for the table''s lock, then 55P03.';
COMMENT ON FUNCTION @extschema@.webhook_emit(text, json, text, text) IS
    'Publishes an event that no row change shows. It is delivered if the transaction commits. The event must be in '
    'webhook_event_types (42704); another organization than the session''s is for operators only (42501).';
COMMENT ON FUNCTION @extschema@.webhook_emit_own(text, json, text) IS
    'Publishes an event of the session''s organization. Behind webhook_emit().';
COMMENT ON FUNCTION @extschema@.webhook_pause(text) IS
    'Holds back all deliveries of this database until webhook_resume(). Events are captured as ever. 55000 before the '
    'first worker has started.';
COMMENT ON FUNCTION @extschema@.webhook_resume() IS
    'Takes back webhook_pause(), and confirms that a restored copy of a database may deliver. 55000 before the first '
    'worker has started.';
COMMENT ON FUNCTION @extschema@.webhook_set_paused(boolean, text) IS 'Behind webhook_pause() and webhook_resume().';
COMMENT ON FUNCTION @extschema@.webhook_privileges(text) IS 'What webhook_grant() grants for a level.';
COMMENT ON FUNCTION @extschema@.webhook_grant(regrole, text) IS
    'Gives the role a level instead of the one it has. read: logs, deliveries, webhooks without their headers. '
    'manage: also create, change, delete and reveal webhooks, and publish events. operate: all organizations, '
    'declaring events, pausing. By GRANTs alone.';
COMMENT ON FUNCTION @extschema@.webhook_revoke(regrole) IS 'Takes back webhook_grant(), but for USAGE on the schema.';

COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_configurations IS 'An organization manages its own webhooks.';
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_deliveries IS 'An organization reads its own deliveries.';
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_logs IS 'An organization reads its own logs.';
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_events IS
    'An organization reads its own events, if its role may read the table.';
COMMENT ON POLICY webhook_readers ON @extschema@.webhook_event_types IS 'Whoever may read the table sees all types.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_configurations IS
    'Operators manage the webhooks of all organizations.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_deliveries IS 'Operators read all deliveries.';
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_logs IS 'Operators read all logs.';
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
END
$$;

-- What anybody may call: it tells nothing and does nothing beyond the caller's own rights. Policies, defaults and
-- the functions that run as their caller call it too.
GRANT EXECUTE ON FUNCTION
    @extschema@.webhook_current_organization(),
    @extschema@.webhook_flush(),
    @extschema@.webhook_is_preloaded(),
    @extschema@.webhook_generate_secret(),
    @extschema@.webhook_url_problem(text),
    @extschema@.webhook_header_problem(text, text),
    @extschema@.webhook_event_pattern_problem(text),
    @extschema@.webhook_known_events(text),
    @extschema@.webhook_check_event(text),
    @extschema@.webhook_check_known_event(text),
    @extschema@.webhook_check_event_pattern(text),
    @extschema@.webhook_check_range(text, integer, integer, integer),
    @extschema@.webhook_check_events(text[]),
    @extschema@.webhook_check_headers(jsonb),
    @extschema@.webhook_check_retry_schedule(interval[]),
    @extschema@.webhook_trigger_arguments(bytea),
    @extschema@.webhook_trigger_option(text[], text),
    @extschema@.webhook_trigger_condition(oid),
    @extschema@.webhook_check_source(regclass),
    @extschema@.webhook_check_columns(regclass, text, name[], text),
    @extschema@.webhook_watch_operation(text, text),
    @extschema@.webhook_watch_trigger_name(regclass, text, text),
    @extschema@.webhook_watch_key(regclass),
    @extschema@.webhook_watch_arguments(regclass, text, text, name[], name[], name, name[], name[], name[], boolean),
    @extschema@.webhook_watch_conflicts(regclass, text, text, name),
    @extschema@.webhook_normal_condition(regclass, text, text, text)
TO PUBLIC;

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
