\echo Use "CREATE EXTENSION webhook" to load this file. \quit

-- The extension's SQL. The Makefile lists the parts in the order in which they run and concatenates them into one
-- script. Each part has one topic. An object, its comment and its privileges stand together.
--
-- All names of the extension are schema-qualified. Unqualified names resolve in pg_catalog only: in this script because
-- of the next statement, in each function because of its own SET clause. Backslashes appear only in E'' strings, which
-- standard_conforming_strings does not affect. A function is SECURITY DEFINER only if it needs webhook_secrets or
-- another object that application roles may not access. Its comment gives the reason. The text is plain ASCII, so that
-- it loads in a database of any encoding.
-- The functions in C are in src/pg/functions. Those that run for each captured row have no SET clause, which would slow
-- them down. They look up no names by search_path, and the casts of a user's types, which capture calls, must see the
-- session's.
--
-- The schema of the extension holds what users call and read. Internal objects are in webhook_internal.

SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA webhook_internal;
COMMENT ON SCHEMA webhook_internal IS
    'Internal objects of the extension webhook. They are not for users, and any of them may change in the next '
    'version.';

-- pg_dump dumps the tables that call pg_extension_config_dump(): webhooks, their secrets, the user's event types and
-- the instance. It does not dump events, deliveries, logs and checkpoints, because a copy must not deliver them again.

-- Each part inserts the privileges on its objects here: for the levels of webhook_grant(), and for PUBLIC. Objects
-- without a row are for the owner only.
CREATE TABLE webhook_internal.privileges (
    levels    text[] NOT NULL CHECK (levels <@ '{public,monitor,read,manage,operate}'),
    privilege text NOT NULL,
    PRIMARY KEY (privilege, levels)
);
COMMENT ON TABLE webhook_internal.privileges IS 'The privileges that webhook_grant() grants.';
COMMENT ON COLUMN webhook_internal.privileges.levels IS
    'The levels that have the privilege: monitor, read, manage, operate. CREATE EXTENSION grants the level monitor to '
    'pg_monitor. public: it grants the privilege to PUBLIC.';
COMMENT ON COLUMN webhook_internal.privileges.privilege IS 'The privilege and its object, as between GRANT and TO.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,read,manage,operate}', 'USAGE ON SCHEMA @extschema@');
-- Functions that run with their caller's rights call functions of that schema by name.
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'USAGE ON SCHEMA webhook_internal');

-- The library that the server has loaded. Between the installation of a new version and ALTER EXTENSION UPDATE, its
-- version and that of these objects differ: docs/operations.md, Upgrade.

CREATE FUNCTION webhook_internal.library_version() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_library_version';
COMMENT ON FUNCTION webhook_internal.library_version() IS
    'The version of the library that this session runs. If the server preloads it, that is the library that was installed '
    'when the server started.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.library_version()');

CREATE FUNCTION webhook_internal.series(version text) RETURNS integer[]
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[coalesce(substring(version FROM '^([0-9]{1,9})'), '0')::integer,
                 coalesce(substring(version FROM '^[^.]*[.]([0-9]{1,9})'), '0')::integer]
$$;
COMMENT ON FUNCTION webhook_internal.series(text) IS
    'The first two numbers of a version: {1,0} of 1.0.3. The library delivers for objects of its own series.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.series(text)');

-- The scripts of CREATE EXTENSION and of each ALTER EXTENSION UPDATE call it before anything else. By then pg_extension
-- has the version that the script makes. An older library might lack functions in C that the script declares.
CREATE FUNCTION webhook_internal.require_library() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook');
    loaded text := webhook_internal.library_version();
BEGIN
    IF webhook_internal.series(loaded) < webhook_internal.series(wanted) THEN
        RAISE EXCEPTION 'extension "webhook" in version % needs the library of that version, but the server runs version %',
                        wanted, loaded
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Nothing has changed.',
                  HINT = 'Restart the server, so that it loads the library that is installed. Then repeat the statement.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.require_library() IS
    'For the scripts of the extension. Raises 55000 if the library is older than the version that the script makes.';

SELECT webhook_internal.require_library();

-- The organization of the session, and who is an operator.

-- Policies call it in a sub-select, so that it runs once per statement. Malformed claims are an error and do not count
-- as no claims.
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
    -- A claim may have dots in its own name (https://example.com/organization). Otherwise the dots separate the parts
    -- of a path.
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
COMMENT ON FUNCTION @extschema@.webhook_current_organization() IS
    'The organization that the session acts for: the claim in request.jwt.claims that webhook.organization_claim '
    'names, or else the setting webhook.organization_id. Null if neither is set, or if both are set and differ. Raises '
    'an error (22023, 22P02) if the claims are malformed.';
-- The policies call it with the rights of the role that reads the table. It only reveals the organization of the
-- session itself.
INSERT INTO webhook_internal.privileges VALUES ('{public}',
    'EXECUTE ON FUNCTION @extschema@.webhook_current_organization()');

-- A role that may execute it is an operator. The policies only check the privilege.
CREATE FUNCTION @extschema@.webhook_is_operator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'SELECT true';
COMMENT ON FUNCTION @extschema@.webhook_is_operator() IS
    'A marker: roles that may execute it see and manage all organizations. webhook_grant(role, ''operate'') grants it.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_is_operator()');

-- A function that changes tables that no role may write consists of three. The one to call checks the role. The one
-- with _tenant works for the webhooks of the session's organization. The one with _operator works for all webhooks, and
-- only operators may execute it. The last two are SECURITY DEFINER. _tenant checks the organization itself, for every
-- caller.

CREATE FUNCTION webhook_internal.check_tenant(webhook uuid) RETURNS void
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
COMMENT ON FUNCTION webhook_internal.check_tenant(uuid) IS
    'Raises an error (42704) unless the webhook belongs to the session''s organization.';

-- Event types, and the names and patterns that select them.

CREATE FUNCTION @extschema@.webhook_event_pattern_problem(pattern text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_event_pattern_problem';
COMMENT ON FUNCTION @extschema@.webhook_event_pattern_problem(text) IS
    'What is wrong with an event name or pattern; null if nothing is.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_event_pattern_problem(text)');

-- The rules for "prefix.*", "*" and names are in src/core/event_pattern.h.
CREATE FUNCTION @extschema@.webhook_event_matches(pattern text, event text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_event_matches';
COMMENT ON FUNCTION @extschema@.webhook_event_matches(text, text) IS
    'Whether a pattern (as in webhook_configurations.events: contact.created, contact.*, *) matches an event.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_event_matches(text, text)');

CREATE TABLE @extschema@.webhook_event_types (
    name        text PRIMARY KEY,
    category    text NOT NULL,
    description text NOT NULL DEFAULT '',
    example     json NOT NULL DEFAULT '{}',
    is_builtin  boolean NOT NULL DEFAULT false,
    CONSTRAINT webhook_event_types_name_check
        CHECK (@extschema@.webhook_event_pattern_problem(name) IS NULL AND name NOT LIKE '%*')
);
COMMENT ON TABLE @extschema@.webhook_event_types IS
    'The event types: the 17 built-in ones, four about webhooks, and your own. webhook_watch() adds events that are '
    'not here.';
COMMENT ON COLUMN @extschema@.webhook_event_types.name IS
    'The name of the event: lower-case parts separated by dots, at most 100 characters.';
COMMENT ON COLUMN @extschema@.webhook_event_types.category IS
    'The group of the event, by convention the first part of its name.';
COMMENT ON COLUMN @extschema@.webhook_event_types.description IS 'When the event happens, in one sentence.';
COMMENT ON COLUMN @extschema@.webhook_event_types.example IS
    'An example of the data of the event. webhook_test() sends it.';
COMMENT ON COLUMN @extschema@.webhook_event_types.is_builtin IS
    'Whether the extension created the row. Do not change such rows: they are not dumped.';

SELECT pg_extension_config_dump('@extschema@.webhook_event_types', 'WHERE NOT is_builtin');

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_event_types');
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'INSERT (name, category, description, example), UPDATE (category, description, example), DELETE ON '
    '@extschema@.webhook_event_types');
CREATE POLICY webhook_readers ON @extschema@.webhook_event_types FOR SELECT USING (true);
COMMENT ON POLICY webhook_readers ON @extschema@.webhook_event_types IS 'Roles that may read the table see all types.';
-- pg_dump leaves the built-in types out, so changes to them would be lost.
CREATE POLICY webhook_operators ON @extschema@.webhook_event_types
    USING (NOT is_builtin
           AND (SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_event_types IS
    'Operators manage all types except the built-in ones.';

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
('webhook.endpoint.failing', 'webhook', true, 'An endpoint has been failing for half, or 90 %, of the time after which its webhook is switched off.',
 '{"configuration_id":"6f1c1a52-3f5e-4f0b-9d53-0a4c8f0e7a11","name":"crm","failing_since":"2024-01-20T18:00:12.000Z","percent":50,"switched_off_at":"2024-01-25T18:00:12.000Z","error":"HTTP status 500"}'),
('webhook.recovered', 'webhook', true, 'An endpoint that kept failing answers again.',
 '{"configuration_id":"6f1c1a52-3f5e-4f0b-9d53-0a4c8f0e7a11","name":"crm","failing_since":"2024-01-20T18:00:12.000Z"}');

-- The default event of webhook_test(). No row change causes it.
INSERT INTO @extschema@.webhook_event_types (name, category, is_builtin, description, example) VALUES
('webhook.test', 'webhook', true, 'A webhook was tested by webhook_test().',
 '{"message":"This is a test of your webhook."}');

-- Publisher and subscriber have the built-in types already.
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
COMMENT ON FUNCTION webhook_internal.skip_known_type() IS
    'Trigger function of webhook_event_types: skips replicated types that are already here.';

CREATE TRIGGER webhook_skip_known_type BEFORE INSERT ON @extschema@.webhook_event_types
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.skip_known_type();
ALTER TABLE @extschema@.webhook_event_types ENABLE REPLICA TRIGGER webhook_skip_known_type;

-- Sorts the known events by the pairs of letters that they share with the text. The first 100 letters of the text
-- count, because no event name is longer.
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
COMMENT ON FUNCTION webhook_internal.known_events(text) IS
    'The DETAIL of an error about an unknown event: at most 20 known events, the most similar first.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.known_events(text)');

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
COMMENT ON FUNCTION webhook_internal.check_event(text) IS
    'Raises an error (22004, 22023) unless the text can be the name of an event.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_event(text)');

-- Only the worker publishes events about webhooks.
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
COMMENT ON FUNCTION webhook_internal.check_own_event(text) IS
    'Raises an error (42939) if the name is reserved for events about webhooks.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_own_event(text)');

CREATE FUNCTION webhook_internal.check_known_event(event text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_event(event);
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE t.name = event) THEN
        RAISE EXCEPTION 'unknown event "%"', event
            USING ERRCODE = 'undefined_object',
                  DETAIL = webhook_internal.known_events(event),
                  HINT = format('If the event is new, declare its source with @extschema@.webhook_watch(), '
                                'or register it: INSERT INTO @extschema@.webhook_event_types (name, category) '
                                'VALUES (%L, %L);', event, split_part(event, '.', 1));
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_known_event(text) IS
    'Raises an error (22004, 22023, 42704) unless the event is in webhook_event_types.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_known_event(text)');

-- "*" does not include the events about webhooks: see src/core/event_pattern.h.
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
COMMENT ON FUNCTION webhook_internal.check_event_pattern(text) IS
    'Raises an error (22023, 42704) unless a webhook may subscribe to the name or pattern.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_event_pattern(text)');

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

-- Checks of what is written to webhook_configurations.

-- STABLE, because it depends on the settings webhook.allow_http and webhook.allowed_ports.
CREATE FUNCTION @extschema@.webhook_url_problem(url text) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_url_problem';
COMMENT ON FUNCTION @extschema@.webhook_url_problem(text) IS
    'Why a webhook cannot have this URL, without repeating the URL; null if it can. Depends on webhook.allow_http and '
    'webhook.allowed_ports.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_url_problem(text)');

CREATE FUNCTION webhook_internal.url_form_problem(url text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_url_form_problem';
COMMENT ON FUNCTION webhook_internal.url_form_problem(text) IS
    'What is wrong with a URL under any settings; null if nothing is. Checks the webhooks of a dump.';

CREATE FUNCTION @extschema@.webhook_header_problem(name text, value text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_header_problem';
COMMENT ON FUNCTION @extschema@.webhook_header_problem(text, text) IS
    'Why the header cannot be sent (RFC 9110, section 5), without repeating its value; null if it can.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_header_problem(text, text)');

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
COMMENT ON FUNCTION webhook_internal.check_range(text, integer, integer, integer) IS
    'Raises an error (22003) unless the value is in the range.';

CREATE FUNCTION webhook_internal.check_events(events text[]) RETURNS void
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pattern text;
BEGIN
    IF cardinality(events) = 0 OR array_ndims(events) > 1 OR array_position(events, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'events must be a non-empty list of event names'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'events',
                  HINT = 'Give names such as contact.created, patterns such as contact.*, or * for all. '
                         'To switch a webhook off, set is_active = false.';
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
COMMENT ON FUNCTION webhook_internal.check_events(text[]) IS
    'Raises an error (22023, 42704) unless a webhook can have these events.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_events(text[])');

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
    -- Messages contain neither values nor malformed names, because both may hold a credential.
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
COMMENT ON FUNCTION webhook_internal.check_headers(jsonb) IS
    'Raises an error (22023) unless a webhook can have these headers.';

-- Checks the length in seconds, which the worker reads. Comparing intervals counts a year as 360 days, so that years
-- minus days could compare as one day and be centuries long.
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
COMMENT ON FUNCTION webhook_internal.check_retry_schedule(interval[]) IS
    'Raises an error (22023) unless a webhook can have this retry schedule.';

-- The worker evaluates the filter for every event, so its length is bounded. It has no variables to pass.
CREATE FUNCTION webhook_internal.check_filter(filter jsonpath) RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(filter::text) > 1024 THEN
        RAISE EXCEPTION 'the filter is longer than 1024 bytes'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'filter',
                  DETAIL = format('It has %s.', octet_length(filter::text)),
                  HINT = 'Use a shorter filter, and let the receiver do the rest.';
    END IF;
    -- In normal form a variable is a dollar sign before a quoted name. The replacement empties quoted names and
    -- strings.
    IF position('$"' IN regexp_replace(filter::text, E'([$]?)"([^"\\\\]|\\\\.)*"', E'\\1"', 'g')) > 0 THEN
        RAISE EXCEPTION 'the filter uses a variable, but filters have none'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'filter',
                  HINT = '$ is the data of the event: $.amount > 5, or $ ? (@.amount > 5).';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_filter(jsonpath) IS
    'Raises an error (22023) unless a webhook can have this filter.';

CREATE FUNCTION webhook_internal.check_texts(name text, organization_id text, disabled_reason text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF btrim(name) = '' THEN
        RAISE EXCEPTION 'the name of a webhook must not be empty'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'name';
    END IF;
    IF length(name) > 200 THEN
        RAISE EXCEPTION 'the name of a webhook can have at most 200 characters'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'name',
                  DETAIL = format('It has %s.', length(name));
    END IF;
    IF octet_length(organization_id) > 1000 THEN
        -- Capture shortens longer ones.
        RAISE EXCEPTION 'the organization_id of a webhook can have at most 1000 bytes'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'organization_id',
                  DETAIL = format('It has %s.', octet_length(organization_id));
    END IF;
    IF length(disabled_reason) > 1000 THEN
        RAISE EXCEPTION 'the disabled_reason of a webhook can have at most 1000 characters'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'disabled_reason',
                  DETAIL = format('It has %s.', length(disabled_reason)), HINT = 'Shorten it.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_texts(text, text, text) IS
    'Raises an error (22023) unless a webhook can have these texts.';

CREATE FUNCTION webhook_internal.check_limits(
    timeout_ms integer, max_in_flight integer, rate_limit_per_s double precision, ordering text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_range('timeout_ms', timeout_ms, 100, 60000);
    PERFORM webhook_internal.check_range('max_in_flight', max_in_flight, 1, 1000);
    IF rate_limit_per_s NOT BETWEEN 0.001 AND 100000 THEN
        RAISE EXCEPTION '% is outside the valid range for rate_limit_per_s (0.001 .. 100000)', rate_limit_per_s
            USING ERRCODE = 'numeric_value_out_of_range', TABLE = 'webhook_configurations',
                  COLUMN = 'rate_limit_per_s', HINT = 'Null means no limit.';
    END IF;
    IF ordering NOT IN ('relaxed', 'key', 'endpoint') THEN
        RAISE EXCEPTION 'invalid ordering "%"', left(ordering, 100)
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'ordering',
                  HINT = 'The ordering is ''relaxed'', ''key'' or ''endpoint''.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_limits(integer, integer, double precision, text) IS
    'Raises an error (22003, 22023) unless a webhook can be delivered to in this way.';

-- Checks the URL, the events and the headers only when they change, so that a webhook stored under other settings
-- (webhook.allow_http) can still be switched off. The rows of a dump are accepted under any settings, because one
-- refused row would make all others fail. SECURITY DEFINER, so that a role that may write the table needs no rights on
-- the checks.
CREATE FUNCTION webhook_internal.configurations_check() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.organization_id) IS DISTINCT FROM (OLD.id, OLD.organization_id) THEN
        -- Its deliveries and logs carry both.
        RAISE EXCEPTION 'neither the id nor the organization of a webhook can be changed'
            USING ERRCODE = 'feature_not_supported', HINT = 'Create a new webhook and delete this one.';
    END IF;
    -- Most rows pass the conditions without a call, which costs more than the rest of this function.
    IF btrim(NEW.name) = '' OR length(NEW.name) > 200 OR octet_length(NEW.organization_id) > 1000
       OR length(NEW.disabled_reason) > 1000 THEN
        PERFORM webhook_internal.check_texts(NEW.name, NEW.organization_id, NEW.disabled_reason);
    END IF;
    IF TG_OP = 'INSERT' OR NEW.url <> OLD.url THEN
        -- In a dump each row has one of these two times. Its URL is checked again when a request is made.
        problem := CASE WHEN TG_OP = 'INSERT' AND coalesce(NEW.active_since, NEW.disabled_at) IS NOT NULL
                        THEN webhook_internal.url_form_problem(NEW.url)
                        ELSE @extschema@.webhook_url_problem(NEW.url) END;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'invalid URL: %', problem
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'url',
                      HINT = 'Give a URL such as https://example.com/hooks.';
        END IF;
    END IF;
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
    IF NEW.timeout_ms NOT BETWEEN 100 AND 60000 OR NEW.max_in_flight NOT BETWEEN 1 AND 1000
       OR NEW.rate_limit_per_s NOT BETWEEN 0.001 AND 100000 OR NEW.ordering NOT IN ('relaxed', 'key', 'endpoint') THEN
        PERFORM webhook_internal.check_limits(NEW.timeout_ms, NEW.max_in_flight, NEW.rate_limit_per_s, NEW.ordering);
    END IF;
    PERFORM webhook_internal.check_filter(NEW.filter);
    PERFORM webhook_internal.check_retry_schedule(NEW.retry_schedule);
    -- The worker does arithmetic with these times.
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
    -- An INSERT may give these times, for the sake of restores. An UPDATE cannot change them. disabled_at outlives the
    -- reactivation: the webhook has missed the events between disabled_at and active_since.
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
COMMENT ON FUNCTION webhook_internal.configurations_check() IS
    'Trigger function of webhook_configurations: checks the new values, and sets the times, changed_xid and the '
    'switches.';

CREATE TRIGGER webhook_configurations_1_check BEFORE INSERT OR UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_check();

CREATE FUNCTION webhook_internal.webhooks_max() RETURNS integer
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_limit';
COMMENT ON FUNCTION webhook_internal.webhooks_max() IS 'The setting webhook.max_webhooks_per_organization.';

-- For the owner only: until the transaction ends, nobody else can add a webhook to the organization.
CREATE FUNCTION webhook_internal.count_webhooks(organization_id text) RETURNS bigint
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_count_webhooks';
COMMENT ON FUNCTION webhook_internal.count_webhooks(text) IS
    'How many webhooks the organization has, including those that others have just committed. Until the transaction '
    'ends, others who count them wait.';

-- SECURITY DEFINER, in order to count and to lock. A caller may do so only for the session's organization.
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
COMMENT ON FUNCTION webhook_internal.check_limit(text) IS
    'Raises an error (53400) if the session''s organization has more webhooks than '
    'webhook.max_webhooks_per_organization, and 42501 for another organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_limit(text)');

-- Operators are not limited. The check runs once per statement, on the inserted rows: the session's organization may
-- have changed since each row was checked.
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
COMMENT ON FUNCTION webhook_internal.configurations_limit() IS
    'Trigger function of webhook_configurations: enforces webhook.max_webhooks_per_organization.';

CREATE TRIGGER webhook_configurations_4_limit AFTER INSERT ON @extschema@.webhook_configurations
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_limit();

-- Filters: which events they let pass.

-- The limits are in src/core/json_bounds.h.
CREATE FUNCTION @extschema@.webhook_filter_data_problem(data text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_filter_data_problem';
COMMENT ON FUNCTION @extschema@.webhook_filter_data_problem(text) IS
    'Why no filter may see this data, which is given as text: the limit that it exceeds. Null if filters may see it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_filter_data_problem(text)');

-- webhook_explain() calls this, and src/pg/store/filter_evaluation.cpp follows the same rule. Any result other than
-- false and null is a match, so that a predicate ($.amount > 5) and a filter expression ($ ? (@.amount > 5)) both work.
-- Errors are raised. The worker treats them as no match.
CREATE FUNCTION @extschema@.webhook_filter_matches(filter jsonpath, data json) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT filter IS NULL
           OR EXISTS (SELECT FROM jsonb_path_query(data::jsonb, filter) v WHERE v NOT IN ('false', 'null'))
$$;
COMMENT ON FUNCTION @extschema@.webhook_filter_matches(jsonpath, json) IS
    'Whether an event with this data passes the filter (webhook_configurations.filter). A null filter passes all. '
    'Raises the errors of jsonb_path_query().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_filter_matches(jsonpath, json)');

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
COMMENT ON FUNCTION @extschema@.webhook_filter_problem(jsonpath, json) IS
    'Why an event with this data does not pass the filter, in words; null if it passes.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_filter_problem(jsonpath, json)');

-- The secrets that requests are signed with: storage, encryption, masks and checks.

CREATE TABLE @extschema@.webhook_secrets (
    configuration_id uuid NOT NULL,
    key_id           text,
    secret           text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at       timestamptz,
    created_xid      xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id()
);
COMMENT ON TABLE @extschema@.webhook_secrets IS
    'The secrets that requests are signed with. No application role may access it: triggers of webhook_configurations '
    'write it, the worker and webhook_reveal_secret() read it.';
COMMENT ON COLUMN @extschema@.webhook_secrets.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_secrets.key_id IS
    'The key of webhook.secret_key_file that the secret is encrypted with. Null: it is stored in clear text.';
COMMENT ON COLUMN @extschema@.webhook_secrets.secret IS
    'The secret, encrypted if it has a key_id. The base64 after whsec_ is the key (Standard Webhooks); any other text is '
    'the key itself.';
COMMENT ON COLUMN @extschema@.webhook_secrets.created_at IS
    'When the secret was stored. X-Webhook-Signature uses the newest one.';
COMMENT ON COLUMN @extschema@.webhook_secrets.expires_at IS
    'Until when an old secret signs along with newer ones. Null: the newest secret, which does not expire. -infinity: '
    'staged by an INSERT that has not finished.';
COMMENT ON COLUMN @extschema@.webhook_secrets.created_xid IS 'The top-level transaction that last wrote the row.';

CREATE INDEX webhook_secrets_configuration_id_idx ON @extschema@.webhook_secrets (configuration_id);
COMMENT ON INDEX @extschema@.webhook_secrets_configuration_id_idx IS 'Finds the secrets of a webhook.';
CREATE UNIQUE INDEX webhook_secrets_newest_idx ON @extschema@.webhook_secrets (configuration_id)
    WHERE expires_at IS NULL;
COMMENT ON INDEX @extschema@.webhook_secrets_newest_idx IS 'Allows each webhook one secret that does not expire.';
CREATE INDEX webhook_secrets_created_xid_idx ON @extschema@.webhook_secrets (created_xid, configuration_id);
COMMENT ON INDEX @extschema@.webhook_secrets_created_xid_idx IS
    'Finds the secrets that the current transaction has staged.';

-- The table has no primary key. So a publication FOR ALL TABLES would make every UPDATE and DELETE here an error
-- without this.
ALTER TABLE @extschema@.webhook_secrets REPLICA IDENTITY FULL;

SELECT pg_extension_config_dump('@extschema@.webhook_secrets', '');

CREATE FUNCTION @extschema@.webhook_generate_secret() RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_generate_secret';
COMMENT ON FUNCTION @extschema@.webhook_generate_secret() IS
    'A new secret: whsec_ and 24 random bytes in base64 (Standard Webhooks).';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_generate_secret()');

-- Encryption at rest, by the setting webhook.secret_key_file: see src/core/secret_box.h. For the owner only: a role
-- with a dump that may call these functions needs no key.
CREATE FUNCTION webhook_internal.secret_key_id() RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_secret_key_id';
COMMENT ON FUNCTION webhook_internal.secret_key_id() IS
    'The id of the key that secrets are encrypted with: the first in webhook.secret_key_file. Null if that is not set. '
    'Raises F0000 if the file cannot be used.';

CREATE FUNCTION webhook_internal.seal_secret(configuration_id uuid, secret text, OUT key_id text, OUT sealed text)
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_seal_secret';
COMMENT ON FUNCTION webhook_internal.seal_secret(uuid, text) IS
    'key_id and secret for the row of webhook_secrets with this secret of the webhook. Raises F0000 if '
    'webhook.secret_key_file cannot be used.';

CREATE FUNCTION webhook_internal.open_secret(configuration_id uuid, key_id text, sealed text) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_open_secret';
COMMENT ON FUNCTION webhook_internal.open_secret(uuid, text, text) IS
    'The clear text of the secret in a row of webhook_secrets. Raises 55000 if it cannot be decrypted.';

CREATE FUNCTION webhook_internal.secret_problem(configuration_id uuid, key_id text, sealed text) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_secret_problem';
COMMENT ON FUNCTION webhook_internal.secret_problem(uuid, text, text) IS
    'Why the secret in a row of webhook_secrets cannot be decrypted; null if it can.';

CREATE FUNCTION webhook_internal.is_secret(configuration_id uuid, key_id text, sealed text, secret text)
    RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_is_secret';
COMMENT ON FUNCTION webhook_internal.is_secret(uuid, text, text, text) IS
    'Whether a row of webhook_secrets holds this secret, the last argument. False if the row cannot be decrypted.';

-- The prefix whsec_, if the secret has it, an ellipsis, and the last four characters. The mask of a mask is that mask.
CREATE FUNCTION webhook_internal.mask(secret text) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_mask_secret';
COMMENT ON FUNCTION webhook_internal.mask(text) IS 'The mask that is shown instead of a secret.';

-- Recognizes masks of this database and of databases with another encoding.
CREATE FUNCTION webhook_internal.is_mask(secret text) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT secret = webhook_internal.mask(secret) OR secret ~ '^(whsec_)?[.]{3}.{4}$'
$$;
COMMENT ON FUNCTION webhook_internal.is_mask(text) IS 'Whether the text is the mask of a secret.';

-- Refuses secrets that were pasted badly, because the receiver would have another one.
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
        explanation := 'Receivers recognize a secret in base64 by its prefix whsec_ (Standard Webhooks).';
        hint := 'Begin with whsec_, without quotes, names and versions before it.';
    ELSIF lower(secret) ~ '^wh[sp]k_' THEN
        problem := 'the secret is an asymmetric key';
        explanation := 'Requests are signed with HMAC-SHA256, which needs the same secret on both sides.';
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
            USING DETAIL = 'The key is its UTF-8 encoding. Standard Webhooks libraries that get it as text compute '
                           'another key and refuse the signatures.',
                  HINT = 'Use @extschema@.webhook_generate_secret().';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_secret(text) IS
    'Raises an error (22023) unless the text can be a secret, and a WARNING if it is not ASCII. Messages do not repeat '
    'it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_secret(text)');

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
COMMENT ON FUNCTION webhook_internal.replace_secret(uuid, text) IS
    'Makes the text the webhook''s only secret. Null: the webhook has none.';

-- The worker finds a written secret by its created_xid, and a dump brings that of another cluster. It finds a deleted
-- secret in webhook_changes. Only the owner can delete a secret and keep its webhook.
CREATE FUNCTION webhook_internal.secrets_stamp() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.created_xid := pg_current_xact_id();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.secrets_stamp() IS
    'Trigger function of webhook_secrets: sets created_xid to the transaction that writes the row.';

CREATE TRIGGER webhook_stamp BEFORE INSERT OR UPDATE ON @extschema@.webhook_secrets
    FOR EACH ROW WHEN (NEW.created_xid IS DISTINCT FROM pg_current_xact_id())
    EXECUTE FUNCTION webhook_internal.secrets_stamp();
-- Also fires in pg_restore --data-only --disable-triggers, and in a session that has set session_replication_role.
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_stamp;

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
COMMENT ON FUNCTION webhook_internal.secrets_forget() IS
    'Trigger function of webhook_secrets: tells the worker that a secret was deleted.';

CREATE TRIGGER webhook_forget AFTER DELETE ON @extschema@.webhook_secrets
    FOR EACH ROW WHEN (OLD.expires_at IS DISTINCT FROM '-infinity')
    EXECUTE FUNCTION webhook_internal.secrets_forget();
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_forget;

-- The worker caches secrets.
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_invalidate;

-- SKIP LOCKED: a session with a lock on the row is changing the secret, or is a worker that encrypts it. Secrets that
-- cannot be decrypted stay as they are.
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
COMMENT ON FUNCTION @extschema@.webhook_reencrypt_secrets() IS
    'Encrypts the secrets that are not encrypted with the first key of webhook.secret_key_file, and returns how many '
    'there were. The worker calls it when it starts and on reload. Raises F0000 if the file cannot be used.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_reencrypt_secrets()');

-- How a secret that is written to webhook_configurations gets into webhook_secrets, and who may see it.
--
-- Roles that may write webhook_configurations may not read webhook_secrets. So the functions that move a secret there
-- are SECURITY DEFINER. No role may call them or attach them to another table.
--
-- A BEFORE INSERT trigger does not know what happens to its row. ON CONFLICT may drop it or turn it into an UPDATE of
-- another row, and its id may be that of another organization's webhook. So the trigger only stages the secret, with
-- expires_at = -infinity: no request is signed with it. The AFTER INSERT trigger, or the BEFORE UPDATE trigger of the
-- updated row, adopts the staged secret. The end of the statement deletes the staged secrets that no row adopted.
--
-- The functions use generic plans, so that plans contain no secrets, even in the log of a server with debug_print_plan.

CREATE FUNCTION webhook_internal.configurations_stage_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    -- No mask is longer than whsec_...1234. A mask stays as it is: the row may be an upsert of a row that was read.
    IF length(plain) <= 13 AND webhook_internal.is_mask(plain) THEN
        RETURN NEW;
    END IF;
    -- Secrets of webhook_generate_secret() are valid, and matching them here costs less than the call.
    IF plain !~ '^whsec_([A-Za-z0-9+/]{4}){4,100}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN
        PERFORM webhook_internal.check_secret(plain);
    END IF;
    NEW.secret := webhook_internal.mask(plain);
    -- A null id fails anyway. An error of webhook_secrets would show the row in its message.
    IF NEW.id IS NOT NULL THEN
        INSERT INTO @extschema@.webhook_secrets (configuration_id, key_id, secret, expires_at)
        SELECT NEW.id, n.key_id, n.sealed, '-infinity' FROM webhook_internal.seal_secret(NEW.id, plain) n;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_stage_secret() IS
    'Trigger function of webhook_configurations: stages the secret of a row to be inserted and puts its mask in its '
    'place.';

CREATE TRIGGER webhook_configurations_2_stage_secret BEFORE INSERT ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL)
    EXECUTE FUNCTION webhook_internal.configurations_stage_secret();

CREATE FUNCTION webhook_internal.configurations_adopt_secrets() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    adopted tid[];
BEGIN
    -- The first one per webhook and mask: with ON CONFLICT DO NOTHING, the first row of a key is the one that is
    -- inserted.
    adopted := ARRAY(
        SELECT DISTINCT ON (i.id) s.ctid
        FROM inserted i
        JOIN @extschema@.webhook_secrets s ON s.configuration_id = i.id
        CROSS JOIN LATERAL webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret) o (secret)
        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity'
          AND webhook_internal.mask(o.secret) = i.secret
        ORDER BY i.id, s.created_at, s.ctid);
    -- A row with a mask but no secret. Only in a restore does the secret follow, with webhook_secrets. The scripts of
    -- pg_dump and pg_restore turn check_function_bodies off.
    IF cardinality(adopted) < (SELECT count(*) FROM inserted i WHERE i.secret IS NOT NULL)
       AND current_setting('check_function_bodies')::boolean THEN
        RAISE EXCEPTION 'the secret is the mask of a secret'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                  DETAIL = 'Reading webhook_configurations shows only masks, so a copy of a row has no secret.',
                  HINT = '@extschema@.webhook_reveal_secret(id) shows the secret itself; '
                         '@extschema@.webhook_generate_secret() makes a new one.';
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
COMMENT ON FUNCTION webhook_internal.configurations_adopt_secrets() IS
    'Trigger function of webhook_configurations: makes the staged secrets of inserted rows valid.';

CREATE TRIGGER webhook_configurations_3_adopt_secrets AFTER INSERT ON @extschema@.webhook_configurations
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_adopt_secrets();

CREATE FUNCTION webhook_internal.configurations_change_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    IF webhook_internal.is_mask(plain) THEN
        -- INSERT ... ON CONFLICT DO UPDATE SET secret = EXCLUDED.secret: the last staged secret is this row's.
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
            RAISE EXCEPTION 'the secret is the mask of another secret'
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                      HINT = '@extschema@.webhook_reveal_secret(id) shows the secret itself.';
        END IF;
    END IF;
    PERFORM webhook_internal.check_secret(plain);
    PERFORM webhook_internal.replace_secret(NEW.id, plain);
    NEW.secret := webhook_internal.mask(plain);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_change_secret() IS
    'Trigger function of webhook_configurations: replaces the secret of an updated row, unless the row has the mask of '
    'the current one.';

CREATE TRIGGER webhook_configurations_2_change_secret BEFORE UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL OR OLD.secret IS NOT NULL)
    EXECUTE FUNCTION webhook_internal.configurations_change_secret();

-- SECURITY DEFINER, for webhook_secrets and wake().
CREATE FUNCTION webhook_internal.configurations_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- INSERT ... ON CONFLICT DO UPDATE fires the trigger for UPDATE first, before the inserted rows have adopted their
    -- secrets.
    IF TG_OP = 'INSERT' THEN
        DELETE FROM @extschema@.webhook_secrets s
        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity';
    END IF;
    PERFORM webhook_internal.wake();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_changed() IS
    'Trigger function of webhook_configurations: deletes staged secrets that no row adopted, and wakes the worker.';

CREATE TRIGGER webhook_configurations_5_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_changed();

-- tenancy.sql explains _tenant and _operator.
CREATE FUNCTION webhook_internal.reveal_secret_operator(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret) FROM @extschema@.webhook_secrets s
    WHERE s.configuration_id = webhook AND s.expires_at IS NULL
$$;
COMMENT ON FUNCTION webhook_internal.reveal_secret_operator(uuid) IS
    'webhook_reveal_secret() for operators: webhooks of any organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.reveal_secret_operator(uuid)');

CREATE FUNCTION webhook_internal.reveal_secret_tenant(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.reveal_secret_operator(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;
COMMENT ON FUNCTION webhook_internal.reveal_secret_tenant(uuid) IS
    'webhook_reveal_secret() for webhooks of the session''s organization; null for others.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.reveal_secret_tenant(uuid)');

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
        RETURN webhook_internal.reveal_secret_operator(configuration_id);
    END IF;
    RETURN webhook_internal.reveal_secret_tenant(configuration_id);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_reveal_secret(uuid) IS
    'The secret of a webhook; null if it has none. Errors: 42704 if the webhook does not exist or belongs to another '
    'organization, 55000 if the secret cannot be decrypted.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_reveal_secret(uuid)');

-- The trigger of the UPDATE deletes the old secrets. The newest that have not expired are put back, at most kept_max:
-- each one adds a signature to the webhook-signature header.
CREATE FUNCTION webhook_internal.rotate_secret_operator(webhook uuid, overlap interval) RETURNS text
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
COMMENT ON FUNCTION webhook_internal.rotate_secret_operator(uuid, interval) IS
    'webhook_rotate_secret() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.rotate_secret_operator(uuid, interval)');

CREATE FUNCTION webhook_internal.rotate_secret_tenant(webhook uuid, overlap interval) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.rotate_secret_operator(webhook, overlap);
END
$$;
COMMENT ON FUNCTION webhook_internal.rotate_secret_tenant(uuid, interval) IS
    'webhook_rotate_secret() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.rotate_secret_tenant(uuid, interval)');

CREATE FUNCTION @extschema@.webhook_rotate_secret(configuration_id uuid, overlap interval DEFAULT '24 hours')
    RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF overlap IS NULL OR overlap NOT BETWEEN interval '0' AND interval '1 year' THEN
        RAISE EXCEPTION 'invalid overlap %', coalesce(overlap::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The overlap is at least 0 and at most 1 year.',
                  HINT = 'Give the time that receivers need to learn the new secret. Until then both secrets sign.';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.rotate_secret_operator(configuration_id, overlap);
    END IF;
    RETURN webhook_internal.rotate_secret_tenant(configuration_id, overlap);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval) IS
    'Gives the webhook a new secret and returns it. During the overlap (0 to 1 year) webhook-signature has a signature '
    'with each secret: the new one and at most the 3 newest old ones. X-Webhook-Signature uses the new secret at once. '
    'Errors: 22023 if the overlap is out of range, 42704 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval)');

-- Functions for the wire format, which docs/wire-format.md describes.

CREATE FUNCTION @extschema@.webhook_sign(body text, secret text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_sign';
COMMENT ON FUNCTION @extschema@.webhook_sign(text, text) IS
    'The header X-Webhook-Signature of a body: sha256= and the HMAC-SHA256 in hex. The key is the text of the secret.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, text)');

CREATE FUNCTION @extschema@.webhook_sign(id text, "timestamp" bigint, body text, secret text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_sign_message';
COMMENT ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text) IS
    'The header webhook-signature of a message (Standard Webhooks): v1, and the HMAC-SHA256 of id.timestamp.body in '
    'base64. timestamp: Unix seconds. The key of a whsec_ secret is decoded from base64.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text)');

CREATE FUNCTION @extschema@.webhook_verify(body text, signature text, secret text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_verify';
COMMENT ON FUNCTION @extschema@.webhook_verify(text, text, text) IS
    'Whether the value of X-Webhook-Signature matches the body. Compares in constant time.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, text, text)');

CREATE FUNCTION @extschema@.webhook_verify(id text, "timestamp" bigint, body text, signature text, secret text)
    RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_verify_message';
COMMENT ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text) IS
    'Whether the value of webhook-signature (Standard Webhooks), which may hold several signatures, matches the '
    'message. Compares in constant time. Does not check the age of the timestamp (Unix seconds): refuse messages older '
    'than 5 minutes.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text)');

CREATE FUNCTION webhook_internal.body(event text, created_at timestamptz, data json, previous json,
                                      backfill boolean DEFAULT NULL) RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_body';
COMMENT ON FUNCTION webhook_internal.body(text, timestamptz, json, json, boolean) IS 'The body of a request for an event.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.body(text, timestamptz, json, json, boolean)');

CREATE FUNCTION webhook_internal.encode_id(instance uuid, event_id bigint, created_at timestamptz) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_encode_id';
COMMENT ON FUNCTION webhook_internal.encode_id(uuid, bigint, timestamptz) IS
    'The public id (evt_...) of an event of an instance.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.encode_id(uuid, bigint, timestamptz)');

CREATE FUNCTION webhook_internal.decode_id(instance uuid, webhook_id text, OUT event_id bigint,
                                              OUT created_at timestamptz)
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_decode_id';
COMMENT ON FUNCTION webhook_internal.decode_id(uuid, text) IS
    'The event with this public id, if the id is of this instance. Any well-formed text decodes to some event. Nulls '
    'if the text is malformed.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.decode_id(uuid, text)');

-- The identity of this database among its copies, how far its workers are, and whether they deliver.

CREATE TABLE @extschema@.webhook_instance (
    instance          uuid NOT NULL,
    database_oid      oid NOT NULL,
    system_identifier bigint NOT NULL,
    is_paused         boolean NOT NULL DEFAULT false,
    paused_reason     text,
    created_at        timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE @extschema@.webhook_instance IS
    'The identity of this database: one row, which its first worker creates. Dumped, so that a restored copy '
    'recognizes itself as a copy and sends nothing.';
COMMENT ON COLUMN @extschema@.webhook_instance.instance IS
    'Part of the public id of each event, which makes it unique across databases.';
COMMENT ON COLUMN @extschema@.webhook_instance.database_oid IS
    'pg_database.oid when the row was created. If it has changed, this is a copy.';
COMMENT ON COLUMN @extschema@.webhook_instance.system_identifier IS
    'pg_control_system().system_identifier when the row was created.';
COMMENT ON COLUMN @extschema@.webhook_instance.is_paused IS
    'Whether deliveries are paused: see webhook_pause() and webhook_resume().';
COMMENT ON COLUMN @extschema@.webhook_instance.paused_reason IS 'Why deliveries are paused.';
COMMENT ON COLUMN @extschema@.webhook_instance.created_at IS 'When the instance was generated.';

CREATE UNIQUE INDEX webhook_instance_singleton_idx ON @extschema@.webhook_instance ((true));
COMMENT ON INDEX @extschema@.webhook_instance_singleton_idx IS 'Allows one row only.';

ALTER TABLE @extschema@.webhook_instance REPLICA IDENTITY FULL;

SELECT pg_extension_config_dump('@extschema@.webhook_instance', '');

INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'SELECT, UPDATE (is_paused, paused_reason) ON @extschema@.webhook_instance');
CREATE POLICY webhook_operators ON @extschema@.webhook_instance
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_instance IS 'Operators pause and resume.';

-- For the owner only, because it blocks others.
CREATE FUNCTION webhook_internal.lock_instance() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_instance';
COMMENT ON FUNCTION webhook_internal.lock_instance() IS
    'Keeps others from creating the row of webhook_instance until the transaction ends. Waits for those who are '
    'creating it.';

-- A second row comes from a dump, after the worker has created its own: this database was restored, and must send
-- nothing before webhook_resume(). By its name the trigger fires after webhook_keep_local. The lock is for two rows
-- that come at once.
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
COMMENT ON FUNCTION webhook_internal.instance_restored() IS
    'Trigger function of webhook_instance: a second row means that the database was restored. It then starts paused.';

CREATE TRIGGER webhook_restored BEFORE INSERT ON @extschema@.webhook_instance
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.instance_restored();

-- The worker caches the row.
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_instance
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
-- Also fires in pg_restore --data-only --disable-triggers, and in a session that has set session_replication_role.
ALTER TABLE @extschema@.webhook_instance ENABLE ALWAYS TRIGGER webhook_invalidate;

CREATE TABLE @extschema@.webhook_checkpoint (
    worker        integer PRIMARY KEY,
    workers       integer NOT NULL,
    instance      uuid NOT NULL,
    snapshot_from pg_snapshot NOT NULL,
    snapshot_to   pg_snapshot NOT NULL,
    position      bigint NOT NULL,
    log_floor     bigint NOT NULL,
    lowest_id     bigint NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE @extschema@.webhook_checkpoint IS
    'How far each worker is: all events before its checkpoint are settled, that is, delivered or in '
    'webhook_deliveries. After a crash the worker continues from here. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.worker IS 'The number of the worker, from 1.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.workers IS 'How many workers there were.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.instance IS 'webhook_instance.instance at the time.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.snapshot_from IS
    'The beginning of the window. All transactions that this snapshot sees are settled.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.snapshot_to IS 'The end of the window.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.position IS 'Within the window, events up to this id are settled.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.log_floor IS
    'Log rows, of any worker, about events that finished after snapshot_from have higher ids.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.lowest_id IS
    'Events that had not finished in snapshot_from have this id or higher ones, except for batches.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.updated_at IS 'When the row was last written.';

INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'SELECT ON @extschema@.webhook_checkpoint');
CREATE POLICY webhook_operators ON @extschema@.webhook_checkpoint FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_checkpoint IS 'Operators see how far the worker is.';

-- Makes the tags of src/pg/keyed_lock.h secret.
CREATE TABLE webhook_internal.lock_key (key uuid PRIMARY KEY);
COMMENT ON TABLE webhook_internal.lock_key IS
    'One row, which CREATE EXTENSION generates. Without the key, the tags of the extension''s locks in pg_locks reveal '
    'nothing.';
COMMENT ON COLUMN webhook_internal.lock_key.key IS 'The key.';

INSERT INTO webhook_internal.lock_key VALUES (gen_random_uuid());

CREATE FUNCTION webhook_internal.wake() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_wake';
COMMENT ON FUNCTION webhook_internal.wake() IS
    'Wakes this database''s workers when the current transaction commits: they read changes of webhooks.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.wake()');

CREATE FUNCTION webhook_internal.set_paused(paused boolean, reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE @extschema@.webhook_instance SET is_paused = paused, paused_reason = reason;
    IF NOT FOUND THEN
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
COMMENT ON FUNCTION webhook_internal.set_paused(boolean, text) IS 'Used by webhook_pause() and webhook_resume().';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.set_paused(boolean, text)');

CREATE FUNCTION @extschema@.webhook_pause(reason text DEFAULT NULL) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.set_paused(true, coalesce(reason, 'paused by ' || session_user))
$$;
COMMENT ON FUNCTION @extschema@.webhook_pause(text) IS
    'Pauses all deliveries of this database until webhook_resume(). Events are captured as usual. Raises 55000 if no '
    'worker has started yet.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_pause(text)');

CREATE FUNCTION @extschema@.webhook_resume() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.set_paused(false, NULL)
$$;
COMMENT ON FUNCTION @extschema@.webhook_resume() IS
    'Ends webhook_pause(), and confirms that a restored copy of a database may deliver. Raises 55000 if no worker has '
    'started yet.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_resume()');

CREATE FUNCTION @extschema@.webhook_is_preloaded() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_is_preloaded';
COMMENT ON FUNCTION @extschema@.webhook_is_preloaded() IS
    'Whether the server was started with webhook in shared_preload_libraries. Otherwise nothing is delivered.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_is_preloaded()');

-- Reads shared memory, and keeps no worker waiting.
CREATE FUNCTION webhook_internal.worker_slots(
    OUT database oid, OUT worker integer, OUT workers integer, OUT pid integer, OUT started_at timestamptz,
    OUT in_flight bigint, OUT queued bigint, OUT events_ahead bigint, OUT sent bigint, OUT failed bigint,
    OUT logged bigint, OUT oldest_event_at timestamptz, OUT last_error_at timestamptz, OUT state text,
    OUT reported_at timestamptz, OUT given_up bigint, OUT read_to timestamptz, OUT read_position bigint,
    OUT failing_since timestamptz, OUT overdue_since timestamptz, OUT webhooks bigint, OUT undecryptable bigint,
    OUT open_circuits bigint, OUT organizations bigint, OUT failing_organizations bigint, OUT pending bigint,
    OUT dead bigint, OUT counted_at timestamptz, OUT event_bytes bigint, OUT events_kept_since timestamptz,
    OUT log_bytes bigint, OUT logs_kept_since timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_worker_slots';
COMMENT ON FUNCTION webhook_internal.worker_slots() IS
    'The workers of the server that run, from shared memory, and those that have left because there is nothing to do (pid '
    'is null), with what they said last. webhook_workers shows the former with names. src/worker/figures.h explains the '
    'columns.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'EXECUTE ON FUNCTION webhook_internal.worker_slots()');

CREATE VIEW @extschema@.webhook_workers WITH (security_invoker) AS
    SELECT d.datname AS database, s.worker, s.workers, s.pid, s.started_at, s.state, s.webhooks, s.in_flight, s.queued,
           s.events_ahead, s.sent, s.failed, s.given_up, s.logged,
           pg_catalog.clock_timestamp() - s.oldest_event_at AS lag, s.last_error_at
    FROM webhook_internal.worker_slots() s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.database
    WHERE s.pid IS NOT NULL;
COMMENT ON VIEW @extschema@.webhook_workers IS
    'The running workers of all databases of the server. Counts begin at the start of the worker.';
COMMENT ON COLUMN @extschema@.webhook_workers.database IS 'The database that the worker delivers for.';
COMMENT ON COLUMN @extschema@.webhook_workers.worker IS 'The number of the worker in its database, from 1.';
COMMENT ON COLUMN @extschema@.webhook_workers.workers IS
    'How many workers the database has, by webhook.workers. Each owns the webhooks with a hash that falls to it.';
COMMENT ON COLUMN @extschema@.webhook_workers.pid IS 'The process id, as in pg_stat_activity.';
COMMENT ON COLUMN @extschema@.webhook_workers.started_at IS 'When the worker started.';
COMMENT ON COLUMN @extschema@.webhook_workers.state IS
    'What the worker does: starting, loading webhooks, catching up (it reads events that are older than 10 s), delivering, '
    'paused (webhook_pause()), switched off (webhook.enabled) or stopping.';
COMMENT ON COLUMN @extschema@.webhook_workers.webhooks IS 'The webhooks that the worker has loaded.';
COMMENT ON COLUMN @extschema@.webhook_workers.in_flight IS 'Requests that wait for their response.';
COMMENT ON COLUMN @extschema@.webhook_workers.queued IS 'Deliveries that wait in the worker''s memory.';
COMMENT ON COLUMN @extschema@.webhook_workers.events_ahead IS 'Events that the worker has read beyond its checkpoint.';
COMMENT ON COLUMN @extschema@.webhook_workers.sent IS 'Requests started.';
COMMENT ON COLUMN @extschema@.webhook_workers.failed IS 'Attempts that failed.';
COMMENT ON COLUMN @extschema@.webhook_workers.given_up IS 'Deliveries that died.';
COMMENT ON COLUMN @extschema@.webhook_workers.logged IS 'Rows written to webhook_logs.';
COMMENT ON COLUMN @extschema@.webhook_workers.lag IS
    'The age of the oldest event that the worker has read and that is not settled; null if there is none.';
COMMENT ON COLUMN @extschema@.webhook_workers.last_error_at IS
    'When a transaction of the worker last failed (the server log says why); null if none has.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'SELECT ON @extschema@.webhook_workers');

-- Reads shared memory, and keeps no worker waiting.
CREATE FUNCTION webhook_internal.workers_waiting() RETURNS integer
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_workers_waiting';
COMMENT ON FUNCTION webhook_internal.workers_waiting() IS
    'How many workers of this database wait for a background worker slot.';

-- SECURITY DEFINER, because tenants cannot read worker_slots() and webhook_instance but should know this.
CREATE FUNCTION @extschema@.webhook_server_state(OUT workers integer, OUT is_paused boolean, OUT paused_reason text,
                                                 OUT workers_asleep integer, OUT workers_waiting integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT w.running, coalesce(i.is_paused, false), i.paused_reason, w.asleep, webhook_internal.workers_waiting()
    FROM (SELECT count(s.pid)::integer AS running, (count(*) - count(s.pid))::integer AS asleep
          FROM webhook_internal.worker_slots() s JOIN pg_database d ON d.oid = s.database
          WHERE d.datname = current_database()) w
    LEFT JOIN @extschema@.webhook_instance i ON true
$$;
COMMENT ON FUNCTION @extschema@.webhook_server_state() IS
    'How many workers run for this database, whether its deliveries are paused, and why. workers_asleep: how many have left '
    'because there is nothing to do; the next commit with events starts them again. workers_waiting: how many wait for a '
    'background worker slot.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_server_state()');

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

-- The log of attempts, and the current segments of this log and of the event log.

-- Two rings, like the event log.
CREATE SEQUENCE @extschema@.webhook_logs_id_seq;
COMMENT ON SEQUENCE @extschema@.webhook_logs_id_seq IS 'The ids of log rows.';

CREATE TABLE @extschema@.webhook_logs (
    slot             smallint NOT NULL,
    id               bigint NOT NULL DEFAULT pg_catalog.nextval('@extschema@.webhook_logs_id_seq'),
    created_at       timestamptz NOT NULL,
    configuration_id uuid NOT NULL,
    organization_id  text,
    event_id         bigint NOT NULL,
    event            text NOT NULL,
    attempt          integer NOT NULL,
    configuration_version integer,
    status           text NOT NULL CHECK (status IN ('success', 'failed')),
    response_status  integer,
    response_body    text,
    response_headers text,
    error            text,
    duration_ms      double precision,
    remote_ip        inet,
    next_attempt_at  timestamptz
) PARTITION BY LIST (slot);
COMMENT ON TABLE @extschema@.webhook_logs IS
    'One row per attempt, and one with attempt 0 for each delivery that was given up without an attempt or cancelled; '
    'in two rings of segments, like webhook_events. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_logs.slot IS 'The segment: 0 to 7, or 8 to 11 in the second ring.';
COMMENT ON COLUMN @extschema@.webhook_logs.id IS 'Unique, ascending in the order of recording.';
COMMENT ON COLUMN @extschema@.webhook_logs.created_at IS 'When the attempt began, or when the delivery was given up.';
COMMENT ON COLUMN @extschema@.webhook_logs.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_logs.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_logs.event_id IS
    'The event (webhook_events.id). Negative: a test by webhook_test(), which has no event.';
COMMENT ON COLUMN @extschema@.webhook_logs.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_logs.attempt IS 'The number of the attempt: 1, 2, ...; 0 if there was none.';
COMMENT ON COLUMN @extschema@.webhook_logs.configuration_version IS
    'The version of the webhook that the attempt was made with (webhook_configurations.version); null for attempt 0.';
COMMENT ON COLUMN @extschema@.webhook_logs.status IS 'success: a 2xx response came in time. failed: anything else.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_status IS 'The HTTP status; null if there was no response.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_body IS 'The first 4 kB of the response''s body, made valid text.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_headers IS
    'The first 1 kB of the response''s headers, made valid text: a line "Name: value" for each. Values that may be '
    'credentials are ***. Null for a success, unless it is a test, and if there was no response.';
COMMENT ON COLUMN @extschema@.webhook_logs.error IS
    'Why the attempt failed, or why the delivery was given up; null on success.';
COMMENT ON COLUMN @extschema@.webhook_logs.duration_ms IS 'How long the attempt took, in milliseconds.';
COMMENT ON COLUMN @extschema@.webhook_logs.remote_ip IS 'The address of the receiver; null if no connection was made.';
COMMENT ON COLUMN @extschema@.webhook_logs.next_attempt_at IS 'When the next attempt is due; null if there is none.';

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
DO $$
BEGIN
    FOR slot IN 0 .. 11 LOOP
        EXECUTE format('COMMENT ON TABLE @extschema@.webhook_logs_%s IS %L', slot,
                       'A segment of webhook_logs. Read webhook_logs instead.');
    END LOOP;
END
$$;

CREATE INDEX webhook_logs_id_idx ON @extschema@.webhook_logs USING brin (id) WITH (pages_per_range = 16);
COMMENT ON INDEX @extschema@.webhook_logs_id_idx IS 'Finds the rows recorded since a checkpoint.';
CREATE INDEX webhook_logs_configuration_id_idx ON @extschema@.webhook_logs (configuration_id, id);
COMMENT ON INDEX @extschema@.webhook_logs_configuration_id_idx IS 'Finds the attempts of a webhook, the latest first.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_logs');
CREATE POLICY webhook_tenants ON @extschema@.webhook_logs FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_logs IS 'An organization reads its own logs.';
CREATE POLICY webhook_operators ON @extschema@.webhook_logs FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_logs IS 'Operators read all logs.';

CREATE TABLE @extschema@.webhook_rings (
    ring      text PRIMARY KEY,
    slot      smallint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CHECK (CASE ring WHEN 'events' THEN slot BETWEEN 0 AND 7 WHEN 'excess_events' THEN slot BETWEEN 8 AND 11
                     WHEN 'logs' THEN slot BETWEEN 0 AND 7 WHEN 'excess_logs' THEN slot BETWEEN 8 AND 11 ELSE false END)
);
COMMENT ON TABLE @extschema@.webhook_rings IS
    'The current segment of each ring of webhook_events and webhook_logs. The worker moves on to the next one.';
COMMENT ON COLUMN @extschema@.webhook_rings.ring IS
    'events or logs; excess_events or excess_logs for what organizations write beyond their shares.';
COMMENT ON COLUMN @extschema@.webhook_rings.slot IS
    'The segment that is written to: 0 to 7, or 8 to 11 in the second rings.';
COMMENT ON COLUMN @extschema@.webhook_rings.opened_at IS 'Since when it is written to.';

INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'SELECT ON @extschema@.webhook_rings');
CREATE POLICY webhook_readers ON @extschema@.webhook_rings FOR SELECT USING (true);
COMMENT ON POLICY webhook_readers ON @extschema@.webhook_rings IS
    'Who may read the table sees which segments are written to: no row belongs to an organization.';

INSERT INTO @extschema@.webhook_rings (ring, slot) VALUES ('events', 0), ('excess_events', 8), ('logs', 0), ('excess_logs', 8);

-- For the owner only, because it counts the rows.
CREATE FUNCTION webhook_internal.log_ring(organization text, rows bigint) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_log_ring';
COMMENT ON FUNCTION webhook_internal.log_ring(text, bigint) IS
    'The ring of webhook_logs for this many rows of an organization: logs while it is within its share, otherwise '
    'excess_logs. Counts the rows against the share.';

CREATE FUNCTION webhook_internal.used_share(organization text, storage text) RETURNS double precision
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_used_share';
COMMENT ON FUNCTION webhook_internal.used_share(text, text) IS
    'How much of its share of webhook_events (storage: events) or webhook_logs (logs) the organization has used, from '
    '0 to 1.';

-- Results of deliveries: per minute, per endpoint, and as a summary.

-- A row is overwritten a day later. So the table never has more than a day, without a DELETE.
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
COMMENT ON TABLE @extschema@.webhook_minutes IS
    'The results of the last 24 hours, per webhook and minute. webhook_stats sums them up. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_minutes.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_minutes.configuration_created_at IS
    'The webhook''s created_at, which distinguishes it from earlier and later webhooks with the same id.';
COMMENT ON COLUMN @extschema@.webhook_minutes.slot IS 'The minute of the day (UTC), 0 to 1439.';
COMMENT ON COLUMN @extschema@.webhook_minutes.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_minutes.minute IS
    'The beginning of the minute. A row of another day is out of date.';
COMMENT ON COLUMN @extschema@.webhook_minutes.attempts IS 'How many attempts ended in the minute.';
COMMENT ON COLUMN @extschema@.webhook_minutes.successes IS 'How many of them succeeded.';
COMMENT ON COLUMN @extschema@.webhook_minutes.unjudged IS
    'How many events the filter could not judge, because of an error or a limit. They were not delivered.';
COMMENT ON COLUMN @extschema@.webhook_minutes.durations IS
    'How many attempts took how long: 48 counts. Element i (from 1) counts the durations below 0.25 ms * 2^((i - 1) / '
    '2) that are not in the elements before it.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_minutes');
CREATE POLICY webhook_tenants ON @extschema@.webhook_minutes FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_minutes IS 'An organization reads its own statistics.';
CREATE POLICY webhook_operators ON @extschema@.webhook_minutes FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_minutes IS 'Operators read all statistics.';

-- Like webhook_minutes, for 90 days.
CREATE TABLE @extschema@.webhook_hours (
    configuration_id uuid NOT NULL,
    slot             smallint NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    organization_id  text,
    hour             timestamptz NOT NULL,
    attempts         integer NOT NULL,
    successes        integer NOT NULL,
    durations        integer[] NOT NULL,
    unjudged         integer NOT NULL,
    events           jsonb NOT NULL,
    statuses         jsonb NOT NULL,
    PRIMARY KEY (configuration_id, slot)
) WITH (fillfactor = 70);
COMMENT ON TABLE @extschema@.webhook_hours IS
    'The results of the last 90 days, per webhook and hour. webhook_api.series() and breakdown() sum them up. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_hours.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_hours.configuration_created_at IS
    'The webhook''s created_at, which distinguishes it from earlier and later webhooks with the same id.';
COMMENT ON COLUMN @extschema@.webhook_hours.slot IS
    'webhook_internal.hour_slot(hour), 0 to 2159. A row is overwritten 90 days later.';
COMMENT ON COLUMN @extschema@.webhook_hours.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_hours.hour IS
    'The beginning of the hour. A row that is older than 90 days is out of date.';
COMMENT ON COLUMN @extschema@.webhook_hours.attempts IS 'How many attempts ended in the hour.';
COMMENT ON COLUMN @extschema@.webhook_hours.successes IS 'How many of them succeeded.';
COMMENT ON COLUMN @extschema@.webhook_hours.unjudged IS
    'How many events the filter could not judge, because of an error or a limit. They were not delivered.';
COMMENT ON COLUMN @extschema@.webhook_hours.durations IS
    'How many attempts took how long, as in webhook_minutes.durations.';
COMMENT ON COLUMN @extschema@.webhook_hours.events IS
    'The attempts and successes by event: {"contact.created": [10, 9]}. From about 100 names on, others are counted under '
    'the name "".';
COMMENT ON COLUMN @extschema@.webhook_hours.statuses IS
    'The attempts and successes by response_status: {"200": [9, 9], "0": [1, 0]}. 0: there was no response.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_hours');
CREATE POLICY webhook_tenants ON @extschema@.webhook_hours FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_hours IS 'An organization reads its own statistics.';
CREATE POLICY webhook_operators ON @extschema@.webhook_hours FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_hours IS 'Operators read all statistics.';

CREATE FUNCTION webhook_internal.hour_slot(at timestamptz) RETURNS smallint
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (extract(epoch FROM at)::bigint / 3600 % 2160)::smallint
$$;
COMMENT ON FUNCTION webhook_internal.hour_slot(timestamptz) IS
    'The slot of webhook_hours that has this time: the hour, counted from 1970 (UTC), modulo those of 90 days.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.hour_slot(timestamptz)');

-- The number of names in a sum is bounded.
CREATE FUNCTION webhook_internal.add_counts(sum jsonb, counts jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN sum IS NULL THEN counts WHEN counts IS NULL THEN sum ELSE (
        SELECT coalesce(jsonb_object_agg(n.name, jsonb_build_array(n.attempts, n.successes)), '{}')
        FROM (SELECT b.name, sum((b.pair ->> 0)::bigint) AS attempts, sum((b.pair ->> 1)::bigint) AS successes
              FROM (SELECT s.key AS name, s.value AS pair FROM jsonb_each(sum) s
                    UNION ALL
                    SELECT CASE WHEN sum ? c.key OR (SELECT count(*) FROM jsonb_object_keys(sum)) < 100
                                THEN c.key ELSE '' END, c.value
                    FROM jsonb_each(counts) c) b
              GROUP BY b.name) n) END
$$;
COMMENT ON FUNCTION webhook_internal.add_counts(jsonb, jsonb) IS
    'The sums of two values of webhook_hours.events or statuses. The transition function of '
    'webhook_internal.sum_counts(jsonb).';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.add_counts(jsonb, jsonb)');

CREATE AGGREGATE webhook_internal.sum_counts(jsonb) (SFUNC = webhook_internal.add_counts, STYPE = jsonb);
COMMENT ON AGGREGATE webhook_internal.sum_counts(jsonb) IS 'The sums of webhook_hours.events or of statuses.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sum_counts(jsonb)');

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
COMMENT ON TABLE @extschema@.webhook_endpoints IS
    'The state of each webhook''s endpoint. Written when the circuit opens or closes, and otherwise every few seconds. '
    'Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_endpoints.configuration_created_at IS
    'The webhook''s created_at, which distinguishes it from earlier and later webhooks with the same id.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.circuit_opened_at IS
    'Since when the circuit is open; null if it is closed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.next_probe_at IS
    'When the next delivery is tried, while the circuit is open.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.failing_since IS
    'When the first attempt after the last success failed. The webhook is switched off webhook.disable_after later.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_success_at IS 'When an attempt or a test last succeeded.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.last_error IS 'Why it failed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.filter_failed_at IS
    'When the filter last could not judge an event. Null: not since a worker saw the filter set or changed.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.filter_error IS 'Why it could not judge the event.';
COMMENT ON COLUMN @extschema@.webhook_endpoints.updated_at IS 'When the row was last written.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_endpoints');
CREATE POLICY webhook_tenants ON @extschema@.webhook_endpoints FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_endpoints IS
    'An organization reads the state of its own endpoints.';
CREATE POLICY webhook_operators ON @extschema@.webhook_endpoints FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_endpoints IS 'Operators read the state of all endpoints.';

-- The middle, on a logarithmic scale, of the bucket with the quantile. src/core/statistics.h has the bounds of the
-- buckets.
CREATE FUNCTION webhook_internal.duration_quantile(durations bigint[], quantile double precision)
    RETURNS double precision
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_duration_quantile';
COMMENT ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision) IS
    'A quantile (0 to 1) of counts as in webhook_minutes.durations, in milliseconds, accurate to 20 %; null if there '
    'are no counts.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision)');

-- The transition functions change the sum in place. They are for the owner only: the aggregates call them.
CREATE FUNCTION webhook_internal.add_durations(sum bigint[], durations integer[]) RETURNS bigint[]
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_add_durations';
COMMENT ON FUNCTION webhook_internal.add_durations(bigint[], integer[]) IS
    'The transition function of webhook_internal.sum_durations(integer[]).';
CREATE FUNCTION webhook_internal.add_durations(sum bigint[], durations bigint[]) RETURNS bigint[]
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_add_durations';
COMMENT ON FUNCTION webhook_internal.add_durations(bigint[], bigint[]) IS
    'The transition function of webhook_internal.sum_durations(bigint[]).';

CREATE AGGREGATE webhook_internal.sum_durations(integer[]) (
    SFUNC = webhook_internal.add_durations, STYPE = bigint[], PARALLEL = SAFE);
COMMENT ON AGGREGATE webhook_internal.sum_durations(integer[]) IS
    'The sums of the elements of webhook_minutes.durations.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sum_durations(integer[])');
CREATE AGGREGATE webhook_internal.sum_durations(bigint[]) (
    SFUNC = webhook_internal.add_durations, STYPE = bigint[], PARALLEL = SAFE);
COMMENT ON AGGREGATE webhook_internal.sum_durations(bigint[]) IS
    'The sums of the elements of sums of webhook_minutes.durations.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sum_durations(bigint[])');

CREATE FUNCTION webhook_internal.added_durations(one integer[], other integer[]) RETURNS integer[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.sum_durations(d.durations)::integer[] FROM (VALUES (one), (other)) d (durations)
$$;
COMMENT ON FUNCTION webhook_internal.added_durations(integer[], integer[]) IS
    'The sums of the elements of two values of webhook_minutes.durations.';

CREATE FUNCTION webhook_internal.sum_minutes(
    webhook uuid, webhook_created_at timestamptz, organization text,
    OUT attempts numeric, OUT successes numeric, OUT unjudged numeric, OUT durations bigint[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    SELECT sum(m.attempts), sum(m.successes), sum(m.unjudged), webhook_internal.sum_durations(m.durations)
    INTO attempts, successes, unjudged, durations
    FROM @extschema@.webhook_minutes m
    WHERE m.configuration_id = webhook AND m.configuration_created_at = webhook_created_at
      AND m.organization_id IS NOT DISTINCT FROM organization AND m.minute > now() - interval '24 hours';
END
$$;
COMMENT ON FUNCTION webhook_internal.sum_minutes(uuid, timestamptz, text) IS
    'The sums of the last 24 hours of webhook_minutes, for a webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sum_minutes(uuid, timestamptz, text)');

-- Functions read the minutes and the deliveries of each webhook. Subqueries in their place would be estimated so high that
-- PostgreSQL compiles the query (jit), which takes longer than the answer for all that a tenant has. They also keep the
-- count of deliveries, of which a webhook can have millions, to its bound: a bitmap scan would visit all.
CREATE VIEW @extschema@.webhook_stats WITH (security_invoker) AS
    SELECT c.id AS configuration_id, c.organization_id, c.name, c.is_active,
           coalesce(m.attempts, 0) AS attempts, coalesce(m.successes, 0) AS successes,
           round(100.0 * m.successes / nullif(m.attempts, 0), 1) AS success_percent,
           webhook_internal.duration_quantile(m.durations, 0.5) AS p50_ms,
           webhook_internal.duration_quantile(m.durations, 0.95) AS p95_ms,
           e.last_success_at, e.last_failure_at, e.last_error,
           d.pending, d.dead,
           CASE WHEN e.circuit_opened_at IS NULL THEN 'closed' ELSE 'open' END AS circuit,
           e.circuit_opened_at, e.next_probe_at, e.failing_since,
           coalesce(m.unjudged, 0) AS unjudged, e.filter_failed_at, e.filter_error
    FROM @extschema@.webhook_configurations c
    LEFT JOIN @extschema@.webhook_endpoints e
           ON e.configuration_id = c.id AND e.configuration_created_at = c.created_at
              AND e.organization_id IS NOT DISTINCT FROM c.organization_id
    CROSS JOIN LATERAL webhook_internal.sum_minutes(c.id, c.created_at, c.organization_id) m
    CROSS JOIN LATERAL webhook_internal.count_deliveries(c.id, c.created_at, c.organization_id, 10000) d;
COMMENT ON VIEW @extschema@.webhook_stats IS
    'One row per webhook: the results of the last 24 hours, a few seconds old at most, its pending and dead '
    'deliveries, and its circuit.';
COMMENT ON COLUMN @extschema@.webhook_stats.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_stats.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_stats.name IS 'The webhook''s name.';
COMMENT ON COLUMN @extschema@.webhook_stats.is_active IS 'Whether the webhook receives events.';
COMMENT ON COLUMN @extschema@.webhook_stats.attempts IS 'How many attempts ended in the last 24 hours.';
COMMENT ON COLUMN @extschema@.webhook_stats.successes IS 'How many of them succeeded.';
COMMENT ON COLUMN @extschema@.webhook_stats.success_percent IS
    'The percentage of attempts that succeeded; null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_stats.p50_ms IS
    'Half of the attempts took at most this many milliseconds, accurate to 20 %; null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_stats.p95_ms IS
    '95 % of the attempts took at most this many milliseconds, accurate to 20 %; null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_success_at IS 'When an attempt or a test last succeeded.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_failure_at IS 'When an attempt last failed.';
COMMENT ON COLUMN @extschema@.webhook_stats.last_error IS 'Why it failed.';
COMMENT ON COLUMN @extschema@.webhook_stats.pending IS
    'How many deliveries are pending in webhook_deliveries. 10000: so many or more.';
COMMENT ON COLUMN @extschema@.webhook_stats.dead IS
    'How many deliveries are dead in webhook_deliveries. 10000: so many or more.';
COMMENT ON COLUMN @extschema@.webhook_stats.circuit IS
    'closed: deliveries are sent. open: the endpoint failed 5 times in a row, and one delivery is tried from time to '
    'time.';
COMMENT ON COLUMN @extschema@.webhook_stats.circuit_opened_at IS
    'Since when the circuit is open; null if it is closed.';
COMMENT ON COLUMN @extschema@.webhook_stats.next_probe_at IS
    'When the next delivery is tried, while the circuit is open.';
COMMENT ON COLUMN @extschema@.webhook_stats.failing_since IS 'When the first attempt after the last success failed.';
COMMENT ON COLUMN @extschema@.webhook_stats.unjudged IS
    'How many events of the last 24 hours the filter could not judge, because of an error or a limit. They were not '
    'delivered.';
COMMENT ON COLUMN @extschema@.webhook_stats.filter_failed_at IS 'When the filter last could not judge an event.';
COMMENT ON COLUMN @extschema@.webhook_stats.filter_error IS 'Why it could not judge the event.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_stats');

-- Who changed which webhook, and when.
--
-- Not dumped, like the log: it tells what was done in this database. Changes that logical replication applies are in the
-- history of the database that they were made in.

CREATE TABLE @extschema@.webhook_history (
    id               bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    changed_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    configuration_id uuid NOT NULL,
    organization_id  text,
    operation        text NOT NULL CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')),
    version          integer NOT NULL,
    role             name,
    session_role     name,
    subject          text,
    old_values       jsonb NOT NULL DEFAULT '{}',
    new_values       jsonb NOT NULL DEFAULT '{}',
    old_headers      text[] NOT NULL DEFAULT '{}',
    new_headers      text[] NOT NULL DEFAULT '{}'
);
COMMENT ON SEQUENCE @extschema@.webhook_history_id_seq IS 'Draws the ids of webhook_history.';
COMMENT ON TABLE @extschema@.webhook_history IS
    'Who changed which webhook, and when. A trigger of webhook_configurations adds a row in the transaction that makes '
    'the change. Kept for 90 days, and about 5000 rows for one organization. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_history.id IS 'Identifies the change. A later change of a webhook has a higher id.';
COMMENT ON COLUMN @extschema@.webhook_history.changed_at IS 'When the change was made.';
COMMENT ON COLUMN @extschema@.webhook_history.configuration_id IS
    'The webhook (webhook_configurations.id), which may have been deleted since.';
COMMENT ON COLUMN @extschema@.webhook_history.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_history.operation IS 'INSERT, UPDATE or DELETE.';
COMMENT ON COLUMN @extschema@.webhook_history.version IS
    'The version of the webhook that the change made; of a DELETE, the version that was deleted.';
COMMENT ON COLUMN @extschema@.webhook_history.role IS
    'The role that made the change, as SET ROLE had set it. Null: a worker made it, because of a 410 or of '
    'webhook.disable_after.';
COMMENT ON COLUMN @extschema@.webhook_history.session_role IS 'The role that had logged in. Null: a worker.';
COMMENT ON COLUMN @extschema@.webhook_history.subject IS
    'The claim sub in request.jwt.claims, at most 200 characters. Null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_history.old_values IS
    'The values before the change, of the columns that it changed: name, url, events, filter, is_active, timeout_ms, '
    'retry_schedule_s (seconds), rate_limit_per_s, max_in_flight, ordering, test_event, disabled_reason. Of more than 50 '
    'events the first 50. Empty for an INSERT.';
COMMENT ON COLUMN @extschema@.webhook_history.new_values IS
    'The values after the change, likewise. Of the secret only that it was set, changed or removed. Empty for a DELETE.';
COMMENT ON COLUMN @extschema@.webhook_history.old_headers IS
    'The names of the headers that the change removed or gave another value. Values are not kept.';
COMMENT ON COLUMN @extschema@.webhook_history.new_headers IS
    'The names of the headers that the change added or gave another value.';

CREATE INDEX webhook_history_configuration_id_idx ON @extschema@.webhook_history (configuration_id, id);
COMMENT ON INDEX @extschema@.webhook_history_configuration_id_idx IS 'Finds the changes of a webhook, the newest first.';
CREATE INDEX webhook_history_organization_id_idx ON @extschema@.webhook_history (organization_id, id);
COMMENT ON INDEX @extschema@.webhook_history_organization_id_idx IS
    'Finds the changes of an organization, the newest first.';
CREATE INDEX webhook_history_changed_at_idx ON @extschema@.webhook_history (changed_at);
COMMENT ON INDEX @extschema@.webhook_history_changed_at_idx IS 'Finds the changes that have expired.';

-- A role that may not read the headers of webhooks reads no names of headers here.
INSERT INTO webhook_internal.privileges VALUES ('{read}',
    'SELECT (id, changed_at, configuration_id, organization_id, operation, version, role, session_role, subject, '
    'old_values, new_values) ON @extschema@.webhook_history');
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}', 'SELECT ON @extschema@.webhook_history');
CREATE POLICY webhook_tenants ON @extschema@.webhook_history FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_history IS
    'An organization reads the history of its own webhooks.';
CREATE POLICY webhook_operators ON @extschema@.webhook_history FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_history IS 'Operators read the history of all webhooks.';

CREATE FUNCTION webhook_internal.is_worker() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_is_worker';
COMMENT ON FUNCTION webhook_internal.is_worker() IS 'Whether this process is a worker of the extension.';

-- Claims that are malformed are no reason to refuse a change: policies judge them.
CREATE FUNCTION webhook_internal.claimed_subject() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    claims text := nullif(current_setting('request.jwt.claims', true), '');
BEGIN
    IF claims IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN left(claims::json ->> 'sub', 200);
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.claimed_subject() IS
    'The claim sub in request.jwt.claims; null if there is none or the claims are malformed.';

CREATE FUNCTION webhook_internal.history_values(c @extschema@.webhook_configurations) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'name', c.name, 'url', c.url, 'events', c.events, 'filter', c.filter::text, 'is_active', c.is_active,
        'timeout_ms', c.timeout_ms,
        'retry_schedule_s', (SELECT jsonb_agg(trim_scale(extract(epoch FROM s.step)) ORDER BY s.place)
                             FROM unnest(c.retry_schedule) WITH ORDINALITY s (step, place)),
        'rate_limit_per_s', c.rate_limit_per_s, 'max_in_flight', c.max_in_flight, 'ordering', c.ordering,
        'test_event', c.test_event, 'disabled_reason', c.disabled_reason)
$$;
COMMENT ON FUNCTION webhook_internal.history_values(@extschema@.webhook_configurations) IS
    'What webhook_history keeps of a webhook, without its secret and headers.';

-- Two secrets may have the same mask, so that the row does not tell.
CREATE FUNCTION webhook_internal.has_new_secret(webhook uuid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM @extschema@.webhook_secrets s
                   WHERE s.configuration_id = webhook AND s.expires_at IS NULL
                     AND s.created_xid = pg_current_xact_id() AND s.created_at >= statement_timestamp())
$$;
COMMENT ON FUNCTION webhook_internal.has_new_secret(uuid) IS
    'Whether the statement that runs has given the webhook a secret.';

-- By its name the trigger fires after the one that stores the secret. An UPDATE cannot set the version. At the highest
-- integer the count ends. SECURITY DEFINER, because no role may read webhook_secrets.
CREATE FUNCTION webhook_internal.configurations_count_version() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.version := OLD.version;
    IF NEW.headers <> OLD.headers OR NEW.secret IS DISTINCT FROM OLD.secret
       OR webhook_internal.history_values(NEW) <> webhook_internal.history_values(OLD)
       OR NEW.secret IS NOT NULL AND webhook_internal.has_new_secret(NEW.id) THEN
        NEW.version := least(OLD.version, 2147483646) + 1;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_count_version() IS
    'Trigger function of webhook_configurations: gives a row that a statement changes the next version, if '
    'webhook_history records the change.';

CREATE TRIGGER webhook_configurations_3_count_version BEFORE UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_count_version();

-- Bounds what one change may take.
CREATE FUNCTION webhook_internal.history_cut(kept jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_array_length(kept -> 'events') > 50
                THEN kept || jsonb_build_object('events', jsonb_path_query_array(kept, '$.events[0 to 49]'))
                ELSE kept END
$$;
COMMENT ON FUNCTION webhook_internal.history_cut(jsonb) IS 'The values with the first 50 events at most.';

CREATE FUNCTION webhook_internal.history_difference(these jsonb, others jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(t.key, t.value), '{}') FROM jsonb_each(these) t
    WHERE others -> t.key IS DISTINCT FROM t.value
$$;
COMMENT ON FUNCTION webhook_internal.history_difference(jsonb, jsonb) IS
    'The members of the first object that are not the same in the second.';

-- Waits for nobody: a row that another transaction is deleting is left to it. With a snapshot of the whole transaction, a
-- row that another one has deleted since is an error. Then that one has made room.
CREATE FUNCTION webhook_internal.prune_history(organization text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept CONSTANT integer := 5000;
    deleted_max CONSTANT integer := 10000;
    excess bigint[];
BEGIN
    IF organization IS NULL THEN
        excess := ARRAY(SELECT h.id FROM @extschema@.webhook_history h WHERE h.organization_id IS NULL
                        ORDER BY h.id DESC OFFSET kept LIMIT deleted_max);
    ELSE
        excess := ARRAY(SELECT h.id FROM @extschema@.webhook_history h WHERE h.organization_id = organization
                        ORDER BY h.id DESC OFFSET kept LIMIT deleted_max);
    END IF;
    DELETE FROM @extschema@.webhook_history d
    WHERE d.id = ANY (ARRAY(SELECT h.id FROM @extschema@.webhook_history h WHERE h.id = ANY (excess)
                            FOR UPDATE SKIP LOCKED));
EXCEPTION WHEN serialization_failure THEN
    NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.prune_history(text) IS
    'Deletes the oldest rows of webhook_history beyond the newest 5000 of an organization (null: none). At most 10000 at '
    'once. Does nothing if another transaction has deleted some since this one''s snapshot.';

CREATE FUNCTION webhook_internal.history_change(
    o @extschema@.webhook_configurations, n @extschema@.webhook_configurations,
    OUT old_values jsonb, OUT new_values jsonb, OUT old_headers text[], OUT new_headers text[])
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.history_difference(v.before, v.after),
           webhook_internal.history_difference(v.after, v.before)
           || CASE WHEN o.secret IS NULL AND n.secret IS NULL THEN '{}'::jsonb
                   WHEN n.secret IS NULL THEN '{"secret": "removed"}'
                   WHEN o.secret IS NULL THEN '{"secret": "set"}'
                   WHEN o.secret <> n.secret OR webhook_internal.has_new_secret(n.id) THEN '{"secret": "changed"}'
                   ELSE '{}' END,
           ARRAY(SELECT h.key FROM jsonb_each(o.headers) h WHERE n.headers -> h.key IS DISTINCT FROM h.value ORDER BY h.key),
           ARRAY(SELECT h.key FROM jsonb_each(n.headers) h WHERE o.headers -> h.key IS DISTINCT FROM h.value ORDER BY h.key)
    FROM (SELECT webhook_internal.history_values(o), webhook_internal.history_values(n)) v (before, after)
$$;
COMMENT ON FUNCTION webhook_internal.history_change(
    @extschema@.webhook_configurations, @extschema@.webhook_configurations) IS
    'What webhook_history keeps of an UPDATE: its columns of the same names. All empty: nothing of it has changed.';

-- SECURITY DEFINER, because no role may write the table. So current_user is not who made the change: the setting role is.
CREATE FUNCTION webhook_internal.configurations_record() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    by_worker boolean := webhook_internal.is_worker();
    by_role name := CASE WHEN NOT by_worker THEN coalesce(nullif(current_setting('role'), 'none'), session_user) END;
    by_login name := CASE WHEN NOT by_worker THEN session_user END;
    by_subject text := webhook_internal.claimed_subject();
    grown text[];
    organization text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO @extschema@.webhook_history
            (configuration_id, organization_id, operation, version, role, session_role, subject, old_values, old_headers)
        SELECT c.id, c.organization_id, 'DELETE', c.version, by_role, by_login, by_subject,
               webhook_internal.history_cut(webhook_internal.history_values(c)),
               ARRAY(SELECT k FROM jsonb_object_keys(c.headers) k ORDER BY k)
        FROM @extschema@.webhook_configurations c;
    ELSIF TG_OP = 'INSERT' THEN
        WITH recorded AS (
            INSERT INTO @extschema@.webhook_history
                (configuration_id, organization_id, operation, version, role, session_role, subject, new_values, new_headers)
            SELECT n.id, n.organization_id, TG_OP, n.version, by_role, by_login, by_subject,
                   webhook_internal.history_cut(webhook_internal.history_values(n))
                   || CASE WHEN n.secret IS NULL THEN '{}' ELSE '{"secret": "set"}'::jsonb END,
                   ARRAY(SELECT k FROM jsonb_object_keys(n.headers) k ORDER BY k)
            FROM new_rows n
            RETURNING id, organization_id)
        SELECT array_agg(DISTINCT r.organization_id) INTO grown FROM recorded r WHERE r.id % 64 = 0;
    ELSIF TG_OP = 'DELETE' THEN
        WITH recorded AS (
            INSERT INTO @extschema@.webhook_history
                (configuration_id, organization_id, operation, version, role, session_role, subject, old_values, old_headers)
            SELECT o.id, o.organization_id, TG_OP, o.version, by_role, by_login, by_subject,
                   webhook_internal.history_cut(webhook_internal.history_values(o)),
                   ARRAY(SELECT k FROM jsonb_object_keys(o.headers) k ORDER BY k)
            FROM old_rows o
            RETURNING id, organization_id)
        SELECT array_agg(DISTINCT r.organization_id) INTO grown FROM recorded r WHERE r.id % 64 = 0;
    ELSE
        WITH recorded AS (
            INSERT INTO @extschema@.webhook_history
                (configuration_id, organization_id, operation, version, role, session_role, subject, old_values,
                 new_values, old_headers, new_headers)
            SELECT n.id, n.organization_id, TG_OP, n.version, by_role, by_login, by_subject,
                   webhook_internal.history_cut(c.old_values), webhook_internal.history_cut(c.new_values), c.old_headers,
                   c.new_headers
            FROM old_rows o JOIN new_rows n ON n.id = o.id CROSS JOIN LATERAL webhook_internal.history_change(o, n) c
            WHERE c.old_values <> '{}' OR c.new_values <> '{}' OR c.old_headers <> '{}' OR c.new_headers <> '{}'
            RETURNING id, organization_id)
        SELECT array_agg(DISTINCT r.organization_id) INTO grown FROM recorded r WHERE r.id % 64 = 0;
    END IF;
    -- One change in 64 makes room for all of them.
    FOREACH organization IN ARRAY coalesce(grown, '{}') LOOP
        PERFORM webhook_internal.prune_history(organization);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_record() IS
    'Trigger function of webhook_configurations: adds the changes of a statement to webhook_history.';

CREATE TRIGGER webhook_configurations_7_record_insert AFTER INSERT ON @extschema@.webhook_configurations
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_record();
CREATE TRIGGER webhook_configurations_7_record_update AFTER UPDATE ON @extschema@.webhook_configurations
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_record();
CREATE TRIGGER webhook_configurations_7_record_delete AFTER DELETE ON @extschema@.webhook_configurations
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_record();
CREATE TRIGGER webhook_configurations_7_record_truncate BEFORE TRUNCATE ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_record();

-- Replays that a worker carries out in steps. replay_jobs.sql has what starts and cancels them.
--
-- Not dumped: a replay is about the events that this database stores.

CREATE TABLE @extschema@.webhook_replays (
    id               bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    configuration_id uuid NOT NULL,
    configuration_created_at timestamptz NOT NULL,
    organization_id  text,
    since            timestamptz NOT NULL,
    until            timestamptz NOT NULL,
    events           text[],
    only_failed      boolean NOT NULL,
    state            text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'cancelled', 'failed')),
    reason           text,
    progress         smallint NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    examined         bigint NOT NULL DEFAULT 0,
    queued           bigint NOT NULL DEFAULT 0,
    oldest_event_at  timestamptz,
    newest_event_at  timestamptz,
    requested_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    role             name NOT NULL,
    session_role     name NOT NULL,
    subject          text,
    started_at       timestamptz,
    ended_at         timestamptz CHECK ((ended_at IS NOT NULL) = (state IN ('done', 'cancelled', 'failed'))),
    updated_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    place            smallint NOT NULL,
    snapshot         pg_snapshot NOT NULL,
    first_event_id   bigint NOT NULL,
    last_event_id    bigint NOT NULL,
    position         bigint NOT NULL
);
COMMENT ON SEQUENCE @extschema@.webhook_replays_id_seq IS 'Draws the ids of webhook_replays.';
COMMENT ON TABLE @extschema@.webhook_replays IS
    'Replays that webhook_api.replay() has started. The worker of the webhook carries them out in steps. At most 10 of an '
    'organization are not ended. Ended ones are kept for 90 days, and the newest 200 of an organization. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_replays.id IS 'Identifies the replay.';
COMMENT ON COLUMN @extschema@.webhook_replays.configuration_id IS
    'The webhook (webhook_configurations.id), which may have been deleted since.';
COMMENT ON COLUMN @extschema@.webhook_replays.configuration_created_at IS
    'The webhook''s created_at, which distinguishes it from earlier and later webhooks with the same id.';
COMMENT ON COLUMN @extschema@.webhook_replays.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_replays.since IS 'Events that were captured at this time or later are replayed,';
COMMENT ON COLUMN @extschema@.webhook_replays.until IS 'and before this time.';
COMMENT ON COLUMN @extschema@.webhook_replays.events IS
    'Only events that match one of these names or patterns. Null: all that the webhook subscribes to.';
COMMENT ON COLUMN @extschema@.webhook_replays.only_failed IS 'Only events whose delivery was given up.';
COMMENT ON COLUMN @extschema@.webhook_replays.state IS
    'waiting: it has not begun, or waits for the reason. running: the worker takes steps. done: all events were examined. '
    'cancelled: by webhook_api.cancel_replay(). failed: it ended early for the reason.';
COMMENT ON COLUMN @extschema@.webhook_replays.reason IS 'Why it waits or has failed. Otherwise null.';
COMMENT ON COLUMN @extschema@.webhook_replays.progress IS
    'How much of the event log is examined, in percent of the event ids.';
COMMENT ON COLUMN @extschema@.webhook_replays.examined IS
    'How many stored events of the organization the worker has examined. With only_failed: how many dead deliveries.';
COMMENT ON COLUMN @extschema@.webhook_replays.queued IS 'How many deliveries it has made pending.';
COMMENT ON COLUMN @extschema@.webhook_replays.oldest_event_at IS 'When the first examined event was captured.';
COMMENT ON COLUMN @extschema@.webhook_replays.newest_event_at IS 'When the last examined event was captured.';
COMMENT ON COLUMN @extschema@.webhook_replays.requested_at IS 'When it was started.';
COMMENT ON COLUMN @extschema@.webhook_replays.role IS 'The role that started it, as SET ROLE had set it.';
COMMENT ON COLUMN @extschema@.webhook_replays.session_role IS 'The role that had logged in.';
COMMENT ON COLUMN @extschema@.webhook_replays.subject IS
    'The claim sub in request.jwt.claims, at most 200 characters. Null if there was none.';
COMMENT ON COLUMN @extschema@.webhook_replays.started_at IS 'When the worker took the first step.';
COMMENT ON COLUMN @extschema@.webhook_replays.ended_at IS 'When it ended. Null: it has not.';
COMMENT ON COLUMN @extschema@.webhook_replays.updated_at IS 'When the row was last changed.';
COMMENT ON COLUMN @extschema@.webhook_replays.place IS
    'One of the ten places that an organization has for replays that are not ended.';
COMMENT ON COLUMN @extschema@.webhook_replays.snapshot IS
    'The snapshot in which it was started. It covers the events of transactions that had committed in this snapshot.';
COMMENT ON COLUMN @extschema@.webhook_replays.first_event_id IS 'The first event that was stored then.';
COMMENT ON COLUMN @extschema@.webhook_replays.last_event_id IS 'The last event that was stored then.';
COMMENT ON COLUMN @extschema@.webhook_replays.position IS 'Events up to this one are examined.';

-- Bounds the replays of an organization whatever the isolation level of those who start them.
CREATE UNIQUE INDEX webhook_replays_place_idx ON @extschema@.webhook_replays (organization_id, place) NULLS NOT DISTINCT
    WHERE ended_at IS NULL;
COMMENT ON INDEX @extschema@.webhook_replays_place_idx IS 'Lets no two replays that are not ended have the same place.';
CREATE INDEX webhook_replays_unfinished_idx ON @extschema@.webhook_replays (id) WHERE ended_at IS NULL;
COMMENT ON INDEX @extschema@.webhook_replays_unfinished_idx IS 'Finds the replays that are not ended.';
CREATE INDEX webhook_replays_configuration_id_idx ON @extschema@.webhook_replays (configuration_id, id);
COMMENT ON INDEX @extschema@.webhook_replays_configuration_id_idx IS 'Finds the replays of a webhook, the newest first.';
CREATE INDEX webhook_replays_organization_id_idx ON @extschema@.webhook_replays (organization_id, id);
COMMENT ON INDEX @extschema@.webhook_replays_organization_id_idx IS
    'Finds the replays of an organization, the newest first.';
CREATE INDEX webhook_replays_ended_at_idx ON @extschema@.webhook_replays (ended_at);
COMMENT ON INDEX @extschema@.webhook_replays_ended_at_idx IS 'Finds the replays that have expired.';

-- The other columns would tell a tenant how many events all organizations have.
INSERT INTO webhook_internal.privileges VALUES ('{read,manage}',
    'SELECT (id, configuration_id, configuration_created_at, organization_id, since, until, events, only_failed, state, '
    'reason, progress, examined, queued, oldest_event_at, newest_event_at, requested_at, role, session_role, subject, '
    'started_at, ended_at, updated_at) ON @extschema@.webhook_replays');
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'SELECT ON @extschema@.webhook_replays');
CREATE POLICY webhook_tenants ON @extschema@.webhook_replays FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_replays IS
    'An organization reads the replays of its own webhooks.';
CREATE POLICY webhook_operators ON @extschema@.webhook_replays FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_replays IS 'Operators read all replays.';

-- Keeps logical replication of all tables from changing the tables about this database.

-- These tables describe what this database has captured, has pending and has sent. A subscriber to all tables keeps its
-- own rows.
CREATE FUNCTION webhook_internal.keep_local() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.keep_local() IS 'Trigger function: keeps replication from changing the table.';

DO $$
DECLARE
    relation regclass;
    segment regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        '@extschema@.webhook_events', '@extschema@.webhook_deliveries', '@extschema@.webhook_logs',
        '@extschema@.webhook_minutes', '@extschema@.webhook_hours', '@extschema@.webhook_endpoints',
        '@extschema@.webhook_history', '@extschema@.webhook_replays', '@extschema@.webhook_checkpoint',
        '@extschema@.webhook_rings', '@extschema@.webhook_instance',
        'webhook_internal.lock_key', 'webhook_internal.saved_events', 'webhook_internal.given_up',
        'webhook_internal.deferred_changes', 'webhook_internal.privileges'
    ]::regclass[] LOOP
        EXECUTE format(
            'CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s '
            'FOR EACH ROW EXECUTE FUNCTION webhook_internal.keep_local()', relation);
        -- Altered on each segment, because a cloned trigger does not always follow its parent.
        FOR segment IN
            SELECT relation UNION
            SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = relation
        LOOP
            EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_keep_local', segment);
        END LOOP;
    END LOOP;
END
$$;

-- A publisher's rows of webhook_changes are for the publisher's worker, so they are skipped. The rows about replicated
-- changes come from triggers here.
CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.webhook_changes
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION webhook_internal.keep_local();
ALTER TABLE @extschema@.webhook_changes ENABLE REPLICA TRIGGER webhook_keep_local;

-- The declared events: the triggers of webhook_watch(), read from the catalog.

-- pg_trigger.tgargs holds texts in the encoding of the database, each followed by a zero byte.
CREATE FUNCTION webhook_internal.trigger_arguments(tgargs bytea) RETURNS text[]
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    -- In this format a backslash is doubled, so a zero byte (a backslash and 000) is unambiguous.
    SELECT trim_array(array_agg(convert_from(decode(a.part, 'escape'), getdatabaseencoding()) ORDER BY a.place), 1)
    FROM regexp_split_to_table(replace(encode(tgargs, 'escape'), E'\\\\', E'\\134'), E'\\\\000')
         WITH ORDINALITY a (part, place)
$$;
COMMENT ON FUNCTION webhook_internal.trigger_arguments(bytea) IS
    'The arguments of a trigger, from pg_trigger.tgargs.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.trigger_arguments(bytea)');

CREATE FUNCTION webhook_internal.trigger_option(arguments text[], option text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substr(a, length(option) + 2) FROM unnest(arguments[2:]) a WHERE starts_with(a, option || '=')
$$;
COMMENT ON FUNCTION webhook_internal.trigger_option(text[], text) IS
    'The value of an option among the arguments of webhook_capture(); null if it is not set.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.trigger_option(text[], text)');

CREATE FUNCTION webhook_internal.trigger_condition(trigger_oid oid) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substring(pg_get_triggerdef(trigger_oid) FROM ' FOR EACH ROW WHEN [(](.*)[)] EXECUTE FUNCTION ')
$$;
COMMENT ON FUNCTION webhook_internal.trigger_condition(oid) IS
    'The WHEN condition of a trigger; null if it has none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.trigger_condition(oid)');

CREATE FUNCTION webhook_internal.watch_key(source regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(a.attname ORDER BY k.place)
    FROM pg_constraint c
    CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
    WHERE c.conrelid = source AND c.contype = 'p'
$$;
COMMENT ON FUNCTION webhook_internal.watch_key(regclass) IS
    'The columns of the primary key of the table; null if it has none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_key(regclass)');

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
           t.tgenabled IN ('R', 'A') AS on_replicated,
           coalesce(webhook_internal.trigger_option(a.arguments, 'backfill')::boolean, false) AS backfill,
           t.tgname AS trigger_name,
           t.tgenabled IN ('O', 'A') AS is_enabled
    FROM pg_trigger t
    CROSS JOIN LATERAL (SELECT webhook_internal.trigger_arguments(t.tgargs) AS arguments) a
    WHERE t.tgfoid = '@extschema@.webhook_capture()'::regprocedure
      AND t.tgparentid = 0;
COMMENT ON VIEW @extschema@.webhook_watches IS
    'Which changes of which tables are events: one row per trigger that calls webhook_capture(), created by '
    'webhook_watch() or by hand.';
COMMENT ON COLUMN @extschema@.webhook_watches.source IS 'The table.';
COMMENT ON COLUMN @extschema@.webhook_watches.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_watches.operation IS 'INSERT, UPDATE, DELETE, or several of them with OR.';
COMMENT ON COLUMN @extschema@.webhook_watches.condition IS
    'The condition that the change must meet, with NEW and OLD. Null: none.';
COMMENT ON COLUMN @extschema@.webhook_watches.changed_columns IS
    'An update is an event only if one of these columns changed. Null: any column.';
COMMENT ON COLUMN @extschema@.webhook_watches.ignore_columns IS
    'An update that changes only these columns is not an event.';
COMMENT ON COLUMN @extschema@.webhook_watches.organization_column IS
    'The column with the organization of the event. Null: events have no organization.';
COMMENT ON COLUMN @extschema@.webhook_watches.key_columns IS
    'The columns that form the key of the event. Null: there is no key.';
COMMENT ON COLUMN @extschema@.webhook_watches.include_columns IS
    'The columns that are sent. Null: all except exclude_columns.';
COMMENT ON COLUMN @extschema@.webhook_watches.exclude_columns IS 'The columns that are not sent.';
COMMENT ON COLUMN @extschema@.webhook_watches.include_previous IS
    'Whether an update also sends the old values of the columns that it changed.';
COMMENT ON COLUMN @extschema@.webhook_watches.large_numbers_as_text IS
    'Whether bigint and numeric values, and arrays of them, are sent as strings.';
COMMENT ON COLUMN @extschema@.webhook_watches.on_replicated IS
    'Whether changes that logical replication applies are events.';
COMMENT ON COLUMN @extschema@.webhook_watches.backfill IS
    'Whether the rows that are copied when the table is subscribed are events. They are marked as backfill.';
COMMENT ON COLUMN @extschema@.webhook_watches.trigger_name IS 'The name of the trigger.';
COMMENT ON COLUMN @extschema@.webhook_watches.is_enabled IS 'Whether the trigger fires in an ordinary session.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_watches');

-- A subscription names the table itself, the partitioned table that it belongs to, or partitions of it.
CREATE FUNCTION webhook_internal.subscriptions_of(source regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(DISTINCT s.subname ORDER BY s.subname)
    FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
    WHERE r.srrelid = source
       OR r.srrelid IN (SELECT a.relid FROM pg_partition_ancestors(source) a)
       OR r.srrelid IN (SELECT p.relid FROM pg_partition_tree(source) p)
$$;
COMMENT ON FUNCTION webhook_internal.subscriptions_of(regclass) IS
    'The subscriptions of logical replication that apply changes to the table; null if there are none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.subscriptions_of(regclass)');

CREATE FUNCTION webhook_internal.apply_error(
    subscription oid, OUT at timestamptz, OUT sqlstate text, OUT message text, OUT detail text)
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_apply_error';
COMMENT ON FUNCTION webhook_internal.apply_error(oid) IS
    'The last error of a subscription since the server started: of applying, of connecting, or of copying a table. Null: '
    'there was none, or the server does not preload the library.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.apply_error(oid)');

-- The text comes from the source. Once a message has come after it, it is of the past. SECURITY DEFINER, because the text may
-- quote rows.
CREATE FUNCTION webhook_internal.has_lost_slot(subscription oid) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' ', e.message, e.detail) ~ 'has been invalidated|replication slot ".*" does not exist'
           AND coalesce(w.received_at < e.at, true)
    FROM webhook_internal.apply_error(subscription) e,
         (SELECT max(s.last_msg_receipt_time) FROM pg_stat_subscription s WHERE s.subid = subscription) w (received_at)
$$;
COMMENT ON FUNCTION webhook_internal.has_lost_slot(oid) IS
    'Whether the source has last answered the subscription that its replication slot is invalid or gone.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.has_lost_slot(oid)');

CREATE VIEW @extschema@.webhook_subscriptions WITH (security_invoker) AS
    WITH watched AS (
        SELECT DISTINCT n.name, w.source
        FROM @extschema@.webhook_watches w, unnest(webhook_internal.subscriptions_of(w.source)) n (name)
    ), worker AS (
        SELECT w.subid, bool_or(w.pid IS NOT NULL AND w.relid IS NULL) AS is_running,
               max(w.last_msg_receipt_time) AS received_at,
               max(w.received_lsn) FILTER (WHERE w.relid IS NULL) AS received_lsn,
               max(w.latest_end_lsn) FILTER (WHERE w.relid IS NULL) AS confirmed_lsn
        FROM pg_stat_subscription w GROUP BY w.subid
    )
    SELECT s.subname AS subscription,
           CASE WHEN NOT s.subenabled THEN 'disabled'
                WHEN webhook_internal.has_lost_slot(s.oid) THEN 'lost'
                WHEN w.is_running IS NOT TRUE THEN 'stopped'
                WHEN c.copying IS NOT NULL THEN 'copying'
                ELSE 'applying' END AS state,
           (SELECT array_agg(t.source ORDER BY t.source::text) FROM watched t WHERE t.name = s.subname) AS watched,
           c.copying, w.received_at, w.received_lsn, w.confirmed_lsn,
           pg_wal_lsn_diff(w.received_lsn, w.confirmed_lsn) AS unconfirmed_bytes,
           (SELECT extract(epoch FROM e.applied_at - e.created_at)::double precision
            FROM (SELECT e.event, e.applied_at, e.created_at, e.backfill FROM @extschema@.webhook_events e
                  ORDER BY e.id DESC LIMIT 1000) e
            WHERE e.applied_at IS NOT NULL AND e.backfill IS NOT TRUE
              AND e.event IN (SELECT x.event FROM watched t JOIN @extschema@.webhook_watches x ON x.source = t.source
                              WHERE t.name = s.subname) LIMIT 1) AS lag_seconds,
           e.apply_error_count AS apply_errors, e.sync_error_count AS copy_errors,
           (SELECT concat_ws(': ', l.message, l.detail) FROM webhook_internal.apply_error(s.oid) l WHERE l.at IS NOT NULL)
               AS last_error,
           (SELECT l.at FROM webhook_internal.apply_error(s.oid) l) AS last_error_at
    FROM pg_subscription s
    LEFT JOIN worker w ON w.subid = s.oid
    LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid
    LEFT JOIN LATERAL (SELECT array_agg(r.srrelid::regclass ORDER BY r.srrelid::regclass::text) AS copying
                       FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r') c ON true
    WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
COMMENT ON VIEW @extschema@.webhook_subscriptions IS
    'The subscriptions of this database, through which logical replication brings the changes of other servers, and the '
    'watched tables that they apply to.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.subscription IS 'The name (pg_subscription.subname).';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.state IS
    'applying: all is well. copying: tables are still being copied. stopped: no worker applies it at the moment, because of '
    'an error or because max_logical_replication_workers is too low: see last_error. lost: the source says that its '
    'replication slot is invalid or gone, see webhook_node_resync(). disabled: by ALTER SUBSCRIPTION, or by an error '
    '(disable_on_error).';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.watched IS
    'The tables with events that it applies changes to. Null: none.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.copying IS 'The tables that are still being copied. Null: none.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.received_at IS
    'When the last message of the source came. Null: no worker is running.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.received_lsn IS
    'To where the WAL of the source has been received. Null: no worker is running.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.confirmed_lsn IS
    'To where the worker has last confirmed, about every wal_receiver_status_interval, that it is applied.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.unconfirmed_bytes IS
    'How much WAL has been received, and not been confirmed as applied.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.lag_seconds IS
    'How long after the commit at the source its newest change was applied, among the newest 1000 events. Right as far as '
    'the clocks agree. Null: none of them is of its tables.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.apply_errors IS
    'How often a change could not be applied (pg_stat_subscription_stats).';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.copy_errors IS 'How often the copy of a table failed.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.last_error IS
    'The last error since the server started, of applying, connecting or copying. It may quote rows. Null: there was none.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.last_error_at IS 'When that was.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'SELECT ON @extschema@.webhook_subscriptions');

-- Triggers are not inherited. Tables that inherit at any level count; partitions do not, because they have the trigger
-- of their table.
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
COMMENT ON FUNCTION webhook_internal.unwatched_children(regclass, text) IS
    'The tables that inherit from a watched table and do not have the event; null if there are none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.unwatched_children(regclass, text)');

-- Checks of the arguments of webhook_watch().

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
                  HINT = CASE WHEN relation.relkind IN ('v', 'm') THEN 'Declare the events on its underlying tables.'
                              WHEN relation.relkind = 'f' THEN 'Declare the events where its rows are written.'
                              ELSE 'Events come from the rows of tables.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_source(regclass) IS
    'Raises an error (42809, 42P01) unless events can be declared on the relation.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_source(regclass)');

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
COMMENT ON FUNCTION webhook_internal.check_columns(regclass, text, name[], text) IS
    'Raises an error (42703) unless the table has these columns.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_columns(regclass, text, name[], text)');

-- Organizations and keys are compared as texts. src/pg/capture/row_json.cpp makes these the same for equal values.
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
                                    ELSE 'Values that are equal but written differently are different keys, so their '
                                         'events are not ordered among each other.' END;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_comparison(regclass, name[], boolean) IS
    'Raises a WARNING for each column with a type or a collation that compares values otherwise than as text, and an '
    'error (42804) if the type cannot hold an organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_comparison(regclass, name[], boolean)');

-- Returns the operation in the spelling that the other functions use.
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
                      DETAIL = 'Only the endings .created, .updated and .deleted of an event''s name imply it.',
                      HINT = 'Add operation => ''INSERT'', ''UPDATE'', ''DELETE'' or ''INSERT OR UPDATE''.';
        END IF;
    END IF;
    IF asked = 'UPDATE OR INSERT' THEN
        asked := 'INSERT OR UPDATE';
    END IF;
    IF asked NOT IN ('INSERT', 'UPDATE', 'DELETE', 'INSERT OR UPDATE') THEN
        RAISE EXCEPTION 'invalid operation "%"', operation
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The operation is ''INSERT'', ''UPDATE'', ''DELETE'' or ''INSERT OR UPDATE''.';
    END IF;
    RETURN asked;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_operation(text, text) IS
    'The operation of a webhook_watch(): the given one, or by default the one that the end of the event''s name '
    'implies. Raises an error (22023) if there is none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_operation(text, text)');

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
                  DETAIL = format('Trigger %I captures it; with another one, each change would cause two events.',
                                  other.trigger_name),
                  HINT = format('To declare it differently, first SELECT @extschema@.webhook_unwatch(%L, %L);',
                                source, event);
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
COMMENT ON FUNCTION webhook_internal.watch_conflicts(regclass, text, text, name) IS
    'Raises an error (42710) if another trigger already captures the same change as the same event.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_conflicts(regclass, text, text, name)');

-- src/pg/capture/capture.h describes the arguments: the event, then the options that are set.
CREATE FUNCTION webhook_internal.watch_arguments(
    source regclass, event text, operation text, changed_columns name[], ignore_columns name[],
    organization_column name, key_columns name[], include_columns name[], exclude_columns name[],
    include_previous boolean, large_numbers_as_text boolean, on_replicated boolean, backfill boolean) RETURNS text[]
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
    IF backfill AND NOT (on_replicated AND operation LIKE 'INSERT%') THEN
        RAISE EXCEPTION 'backfill is for inserts that logical replication applies'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Event "%s" is declared for %s%s.', event, operation,
                                  CASE WHEN on_replicated THEN '' ELSE ', without on_replicated' END),
                  HINT = 'Add on_replicated => true to a declaration for INSERT, or leave backfill out.';
    END IF;
    IF include_columns <> '{}' AND exclude_columns <> '{}' THEN
        RAISE EXCEPTION 'include_columns and exclude_columns cannot be combined'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the columns to send, or those to leave out.';
    END IF;
    PERFORM webhook_internal.check_columns(source, 'organization_column', ARRAY[organization_column],
        'Name the column that holds the organization, or, in a database without tenants, pass '
        'organization_column => NULL.') WHERE organization_column IS NOT NULL;
    PERFORM webhook_internal.check_comparison(source, ARRAY[organization_column], true);
    -- The default names a column that a table may lack.
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
        -- Without the option, the key is the primary key. With an empty list, there is no key.
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
    IF backfill THEN
        arguments := arguments || 'backfill=true'::text;
    END IF;
    RETURN arguments;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_arguments(regclass, text, text, name[], name[], name, name[], 
    name[], name[], boolean, boolean, boolean, boolean) IS
    'The arguments of the trigger that webhook_watch() creates. Errors: 22023, 42703, 42804.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_arguments(regclass, text, text, name[], name[], name, name[], '
    'name[], name[], boolean, boolean, boolean, boolean)');

-- Declaring events: webhook_watch() and webhook_unwatch().

-- For example webhook_contact_created. The operation follows, unless the event's name ends with it. A digest replaces
-- what does not fit into 63 bytes, and distinguishes names that differ only in ".", "_" or "-".
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
COMMENT ON FUNCTION webhook_internal.watch_trigger_name(regclass, text, text) IS
    'The name of the trigger that webhook_watch() creates.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_trigger_name(regclass, text, text)');

-- STABLE, because it depends on the setting standard_conforming_strings.
CREATE FUNCTION webhook_internal.check_condition(condition text) RETURNS void
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'webhook_check_condition';
COMMENT ON FUNCTION webhook_internal.check_condition(text) IS
    'Raises an error (42601) unless PostgreSQL''s parser reads the text as exactly one expression.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_condition(text)');

-- The only place where texts become a statement. The operation comes from a list, the condition is one expression, and
-- everything else is quoted. The caller that executes the result sets standard_conforming_strings as this function
-- does, so that both read the same.
CREATE FUNCTION webhook_internal.trigger_declaration(
    trigger_name name, source regclass, operation text, condition text, arguments text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
BEGIN
    operation := webhook_internal.watch_operation(NULL, operation);
    PERFORM webhook_internal.check_condition(condition);
    -- The table is qualified, because its name is read with the caller's search_path. The line end closes a comment in
    -- the condition.
    RETURN (SELECT format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %I.%I FOR EACH ROW %s '
                          'EXECUTE FUNCTION @extschema@.webhook_capture(%s)',
                          trigger_name, operation, n.nspname, c.relname, E'WHEN (' || condition || E'\n)',
                          (SELECT string_agg(quote_literal(a.argument), ', ' ORDER BY a.place)
                           FROM unnest(arguments) WITH ORDINALITY a (argument, place)))
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source);
END
$$;
COMMENT ON FUNCTION webhook_internal.trigger_declaration(name, regclass, text, text, text[]) IS
    'The statement that creates a trigger of webhook_watch(). Errors: 22023, 42601.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.trigger_declaration(name, regclass, text, text, text[])');

-- Tries the condition on an empty copy of the source and rolls that back. On the source it would lock out writers,
-- often only to find that nothing has to change.
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
    -- Until it is set back, unqualified names are looked up in the caller's search_path.
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
COMMENT ON FUNCTION webhook_internal.normal_condition(regclass, text, text, text) IS
    'A condition as PostgreSQL shows it for a trigger on the source; null if it is not valid.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.normal_condition(regclass, text, text, text)');

-- What a condition means, independent of how it is written.
CREATE FUNCTION webhook_internal.condition_meaning(source regclass, trigger_name name) RETURNS text[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(DISTINCT m.found[1] ORDER BY m.found[1])
    FROM pg_trigger t
    CROSS JOIN LATERAL regexp_matches(t.tgqual::text, ':((?:opno|opnos|funcid|inputcollid|minmaxtype) [^:}]*)', 'g') m (found)
    WHERE t.tgrelid = source AND t.tgname = trigger_name
$$;
COMMENT ON FUNCTION webhook_internal.condition_meaning(regclass, name) IS
    'The operators, functions and collations of a trigger''s condition; null if it has none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.condition_meaning(regclass, name)');

-- A dump writes the condition for an empty search_path. IS DISTINCT FROM, NULLIF and CASE name no operator. When a dump
-- is read, they find none for a type of another schema, or another one. This function reads the trigger back in the
-- same way. An error undoes all of it.
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
                         'compare OLD.x::text with NEW.x::text, or use changed_columns instead.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_restorable(regclass, name) IS
    'Raises an error (42P17) unless a dump restores the trigger with the same condition.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_restorable(regclass, name)');

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
COMMENT ON FUNCTION webhook_internal.register_event(text) IS
    'Adds the event to webhook_event_types, with a NOTICE, unless it is there already.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.register_event(text)');

-- CREATE OR REPLACE TRIGGER has set the trigger back to what fires in ordinary sessions alone.
CREATE FUNCTION webhook_internal.fire_on_replicated(source regclass, trigger_name name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', source, trigger_name);
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'only the owner of table % can declare an event on_replicated', source
        USING ERRCODE = 'insufficient_privilege', DETAIL = SQLERRM || '.',
              HINT = 'Call webhook_watch() as the owner of the table, or leave on_replicated out.';
END
$$;
COMMENT ON FUNCTION webhook_internal.fire_on_replicated(regclass, name) IS
    'Makes a trigger fire for changes that logical replication applies, too. Raises an error (42501) unless the caller '
    'owns the table.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.fire_on_replicated(regclass, name)');

CREATE FUNCTION webhook_internal.watch_notices(source regclass, event text, on_replicated boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    children regclass[] := webhook_internal.unwatched_children(source, event);
    subscriptions name[] := webhook_internal.subscriptions_of(source);
BEGIN
    IF children IS NOT NULL THEN
        RAISE NOTICE 'rows of % do not cause "%": triggers are not inherited', array_to_string(children, ', '), event
            USING HINT = 'Declare the event for these tables too.';
    END IF;
    IF subscriptions IS NOT NULL AND NOT on_replicated THEN
        RAISE NOTICE 'changes of % that logical replication applies (%) do not cause "%"', source,
                     array_to_string(subscriptions, ', '), event
            USING HINT = 'Declare the event with on_replicated => true.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_notices(regclass, text, boolean) IS
    'Raises a NOTICE for changes that look as if they caused the event, and do not.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_notices(regclass, text, boolean)');

-- The function's search_path is fixed. The caller's, which is for the condition, comes in through a default, which is
-- evaluated before the call.
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
    on_replicated boolean DEFAULT false,
    backfill boolean DEFAULT false,
    search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS name[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET standard_conforming_strings = on
AS $$
DECLARE
    arguments text[];
    own_trigger name;
    is_declared boolean;
    declaration text;
    problem text;
BEGIN
    PERFORM webhook_internal.check_source(source);
    PERFORM webhook_internal.check_event(event);
    PERFORM webhook_internal.check_own_event(event);
    operation := webhook_internal.watch_operation(event, operation);
    condition := nullif(btrim(condition), '');
    PERFORM webhook_internal.check_condition(condition);
    on_replicated := coalesce(on_replicated, false);
    arguments := webhook_internal.watch_arguments(source, event, operation, changed_columns, ignore_columns,
        organization_column, key_columns, include_columns, exclude_columns, coalesce(include_previous, false),
        coalesce(large_numbers_as_text, false), on_replicated, coalesce(backfill, false));
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
      AND (t.tgenabled = 'D' OR w.on_replicated = webhook_watch.on_replicated)
      AND webhook_internal.trigger_arguments(t.tgargs) = arguments;
    IF is_declared THEN
        PERFORM webhook_internal.register_event(event);
        RETURN ARRAY[own_trigger];
    END IF;

    declaration := webhook_internal.trigger_declaration(own_trigger, source, operation, condition, arguments);
    BEGIN
        -- Until it is set back, unqualified names are looked up in the caller's search_path.
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
                      HINT = 'Declare the two separately: operation => ''UPDATE'' with this condition, and '
                             'operation => ''INSERT'' with one that mentions NEW only; or use changed_columns '
                             'instead.';
    END;
    IF condition IS NOT NULL THEN
        PERFORM webhook_internal.check_restorable(source, own_trigger);
    END IF;
    IF on_replicated THEN
        PERFORM webhook_internal.fire_on_replicated(source, own_trigger);
    END IF;
    PERFORM webhook_internal.register_event(event);
    PERFORM webhook_internal.watch_notices(source, event, on_replicated);
    RETURN ARRAY[own_trigger];
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, name[], 
    name[], name[], boolean, boolean, boolean, boolean, text) IS
    'Declares that changes of a table are an event, by creating a trigger, and returns the trigger''s name. The same '
    'declaration again does nothing. Another one for the same operation replaces it. operation: INSERT, UPDATE, DELETE '
    'or INSERT OR UPDATE; the default follows from the end of the event''s name (.created, .updated, .deleted). '
    'condition: one expression with NEW and OLD (42601), read in search_path (default: the session''s) with '
    'standard_conforming_strings on. key_columns: default is the primary key. on_replicated: changes that logical '
    'replication applies are events, too (42501 unless the caller owns the table). backfill: so are the rows that are '
    'copied when the table is subscribed. Requires the privilege TRIGGER on the table. Waits 2 s for the table''s lock, '
    'then raises 55P03.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, name[], '
    'name[], name[], boolean, boolean, boolean, boolean, text)');

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
COMMENT ON FUNCTION @extschema@.webhook_unwatch(regclass, text) IS
    'Takes back webhook_watch(): drops the triggers of the event on the table and returns their names. Raises 42704 if '
    'there are none. Waits 2 s for the table''s lock, then raises 55P03.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_unwatch(regclass, text)');

-- webhook_watch_crm(): declares the built-in events on the tables of a CRM.

-- For types of an extension, such as citext: the operator of the default operator class.
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
COMMENT ON FUNCTION webhook_internal.foreign_equality(regclass, name) IS
    'The equality operator of a column''s type, as an expression names it, if it is not in pg_catalog; otherwise null.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.foreign_equality(regclass, name)');

-- IS DISTINCT FROM does not survive pg_dump if the operator is not in pg_catalog: see check_restorable().
CREATE FUNCTION webhook_internal.condition_of_change(source regclass, column_name name) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN e.operator IS NULL THEN format('OLD.%1$I IS DISTINCT FROM NEW.%1$I', column_name)
                ELSE format('(OLD.%1$I %2$s NEW.%1$I) IS NOT TRUE AND (OLD.%1$I IS NOT NULL OR NEW.%1$I IS NOT NULL)',
                            column_name, e.operator) END
    FROM (SELECT webhook_internal.foreign_equality(source, column_name)) e (operator)
$$;
COMMENT ON FUNCTION webhook_internal.condition_of_change(regclass, name) IS
    'The condition that an UPDATE has changed the column, in a form that a dump restores.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.condition_of_change(regclass, name)');

-- Compares as text, so that an enum need not have the value.
CREATE FUNCTION webhook_internal.condition_of_value(source regclass, column_name name, value text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN e.operator IS NULL THEN format('NEW.%I::text = %L', column_name, value)
                ELSE format('NEW.%I %s %L', column_name, e.operator, value) END
    FROM (SELECT webhook_internal.foreign_equality(source, column_name)) e (operator)
$$;
COMMENT ON FUNCTION webhook_internal.condition_of_value(regclass, name, text) IS
    'The condition that the column has the value, in a form that a dump restores.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.condition_of_value(regclass, name, text)');

-- The defaults look the tables up, so that the caller's search_path applies.
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
    updated_column name DEFAULT 'updated_at',
    on_replicated boolean DEFAULT false,
    backfill boolean DEFAULT false)
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
            on_replicated => on_replicated, backfill => backfill AND declared.operation = 'INSERT',
            search_path => 'pg_catalog, pg_temp')
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_watch_crm(regclass, regclass, regclass, regclass, regclass, regclass, name, 
    name, name, name, name, name, name, name, name, name, boolean, boolean) IS
    'Declares the 17 built-in events on the tables of a CRM, with webhook_watch(), and returns one row per trigger. '
    'Tables that are not given are looked up in the search_path by these names (for deals also leads). A table that is '
    'null or not found is skipped with a NOTICE. organization_column null: no organizations. updated_column: an update '
    'that changes only this column is not an event. on_replicated and backfill: as for webhook_watch(). Raises 42703 if a table lacks one of the columns. The same call '
    'again does nothing.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_watch_crm(regclass, regclass, regclass, regclass, regclass, regclass, '
    'name, name, name, name, name, name, name, name, name, name, boolean, boolean)');

-- webhook_publication(): what the source of a delivery node must run (docs/nodes.md).

-- A watch needs the columns that it sends, those in its arguments, and those in its condition, which pg_depend knows.
CREATE FUNCTION webhook_internal.needed_columns(source regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    WITH watch AS (
        SELECT t.oid, w.* FROM @extschema@.webhook_watches w
        JOIN pg_trigger t ON t.tgrelid = w.source AND t.tgname = w.trigger_name
        WHERE w.source = needed_columns.source AND w.on_replicated
    ), present AS (
        -- A generated column cannot be listed. The node computes its own.
        SELECT a.attname, a.attnum FROM pg_attribute a
        WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ), needed AS (
        SELECT p.attname, p.attnum FROM present p
        WHERE p.attname = ANY (coalesce(webhook_internal.watch_key(source), '{}'))
           OR EXISTS (SELECT FROM watch w
                      WHERE CASE WHEN w.include_columns IS NULL THEN p.attname <> ALL (coalesce(w.exclude_columns, '{}'))
                                 ELSE p.attname = ANY (w.include_columns) END
                         OR p.attname = ANY (w.organization_column || w.key_columns || w.changed_columns)
                         OR EXISTS (SELECT FROM pg_depend d
                                    WHERE d.classid = 'pg_trigger'::regclass AND d.objid = w.oid
                                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = source
                                      AND d.refobjsubid = p.attnum))
    )
    -- Without a list, columns that are added later are published too.
    SELECT array_agg(n.attname ORDER BY n.attnum) FROM needed n
    HAVING count(*) < (SELECT count(*) FROM present)
$$;
COMMENT ON FUNCTION webhook_internal.needed_columns(regclass) IS
    'The columns that the events of a table need, with its primary key; null if they need all.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.needed_columns(regclass)');

CREATE FUNCTION @extschema@.webhook_publication(
    publication name DEFAULT 'webhook', role name DEFAULT 'webhook_node', tables text[] DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    script text;
    keyless regclass;
BEGIN
    FOR keyless IN
        SELECT DISTINCT w.source FROM @extschema@.webhook_watches w
        WHERE w.on_replicated AND webhook_internal.watch_key(w.source) IS NULL
    LOOP
        RAISE WARNING 'table % has no primary key: once the source publishes it, updates and deletes of its rows fail there',
                      keyless
            USING HINT = format('Give it a primary key, or first run this on the source: ALTER TABLE %s REPLICA IDENTITY '
                                'FULL;', keyless);
    END LOOP;
    WITH watched AS (
        SELECT DISTINCT c.relkind = 'p' AS is_partitioned, n.nspname, c.relname, c.oid AS node_table
        FROM @extschema@.webhook_watches w JOIN pg_class c ON c.oid = w.source JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE w.on_replicated
    ), wanted AS (
        SELECT DISTINCT CASE cardinality(i.name) WHEN 1 THEN 'public' ELSE i.name[1] END AS nspname,
               i.name[cardinality(i.name)] AS relname
        FROM unnest(tables) t (name), LATERAL (SELECT parse_ident(t.name)) i (name)
    ), part AS (
        -- Whether a table of the source is partitioned is not known here.
        SELECT coalesce(w.is_partitioned, true) AS is_partitioned, format('%I', s.nspname) AS schema_name,
               format('%I.%I', s.nspname, s.relname) AS table_name,
               (SELECT ' (' || string_agg(format('%I', u.name), ', ' ORDER BY u.place) || ')'
                FROM unnest(webhook_internal.needed_columns(w.node_table)) WITH ORDINALITY u (name, place)) AS columns
        FROM (SELECT nspname, relname FROM watched WHERE tables IS NULL UNION SELECT nspname, relname FROM wanted) s
        LEFT JOIN watched w USING (nspname, relname)
    )
    SELECT format(E'CREATE ROLE %I LOGIN REPLICATION;\n', role)
           || format(E'GRANT USAGE ON SCHEMA %s TO %I;\n', string_agg(DISTINCT p.schema_name, ', '), role)
           || string_agg(format(E'GRANT SELECT%s ON %s TO %I;\n', p.columns, p.table_name, role), ''
                         ORDER BY p.table_name)
           || format('CREATE PUBLICATION %I FOR TABLE ', publication)
           || string_agg(p.table_name || coalesce(p.columns, ''), ', ' ORDER BY p.table_name)
           || CASE WHEN bool_or(p.is_partitioned) THEN ' WITH (publish_via_partition_root = true);' ELSE ';' END
    INTO script FROM part p HAVING count(*) > 0;
    IF script IS NULL THEN
        RAISE EXCEPTION 'no event is declared for changes that logical replication applies'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Name the tables of the source with tables => ''{...}''. Or first create them on this node, and '
                         'declare events on them with webhook_watch(..., on_replicated => true).';
    END IF;
    RETURN script;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_publication(name, name, text[]) IS
    'The statements that prepare the source of a delivery node: a role that may replicate and read what the events need, '
    'and a publication of the tables with on_replicated events, or of those that are named. Lists columns if the events do '
    'not need all. Runs nothing. Raises 55000 if there are no such tables, and a WARNING for one without primary key.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_publication(name, name, text[])');

-- What a delivery node asks of its source (docs/nodes.md): its settings, the slot, the published tables. A DBA's call alone
-- opens these connections, through the extension dblink. The workers and the application never do.

-- An ERROR also writes the caller's statement to the server log, and that may hold a password.
CREATE FUNCTION webhook_internal.hide_statement() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('log_min_error_statement', 'panic', true);
END
$$;
COMMENT ON FUNCTION webhook_internal.hide_statement() IS
    'Until the transaction ends, its errors are logged without the statement.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.hide_statement()');

-- libpq quotes parts of a connection string that it cannot read, so only what it says of a server is passed on.
CREATE FUNCTION webhook_internal.ask_source(conninfo text, question text) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dblink_schema name := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                           WHERE e.extname = 'dblink');
    is_server boolean := EXISTS (SELECT FROM pg_foreign_server s WHERE s.srvname = conninfo);
    reason text;
    answer jsonb;
BEGIN
    IF dblink_schema IS NULL THEN
        RAISE EXCEPTION 'the extension dblink is missing, which asks the source'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'CREATE EXTENSION dblink;';
    END IF;
    PERFORM webhook_internal.hide_statement();
    IF conninfo ~ '^postgres(ql)?://' THEN
        conninfo := conninfo || CASE WHEN conninfo LIKE '%?%' THEN '&' ELSE '?' END || 'connect_timeout=10';
    ELSIF NOT is_server THEN
        conninfo := 'connect_timeout=10 ' || conninfo;
    END IF;
    EXECUTE format('SELECT a.answer FROM %I.dblink($1, $2) a (answer jsonb)', dblink_schema)
    INTO answer USING conninfo, 'SET search_path = pg_catalog; SET statement_timeout = 60000; ' || question;
    RETURN answer;
EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
    GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'the source cannot be reached'
        USING ERRCODE = 'sqlclient_unable_to_establish_sqlconnection',
              DETAIL = CASE WHEN reason LIKE 'connection to server %' THEN reason
                            WHEN reason LIKE 'could not translate host name %' AND conninfo !~ '^postgres(ql)?://' THEN reason
                            ELSE 'The reason is withheld, because it may quote a password.' END,
              HINT = 'Check the connection string with psql on this machine, as the user that runs the server.';
END
$$;
COMMENT ON FUNCTION webhook_internal.ask_source(text, text) IS
    'Asks another server one question, whose answer is one JSON value. conninfo: a connection string, or the name of a '
    'foreign server. Errors: 55000 without dblink, 08001 if it cannot be reached. Shows no part of a password.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.ask_source(text, text)');

CREATE FUNCTION webhook_internal.source_server(conninfo text, publications name[], slot name) RETURNS jsonb
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.ask_source(conninfo, format($question$
        SELECT json_build_object(
            'version', current_setting('server_version_num')::int,
            'version_shown', current_setting('server_version'),
            'started_at', extract(epoch FROM pg_postmaster_start_time())::text,
            'is_standby', pg_is_in_recovery(),
            'wal_level', current_setting('wal_level'),
            'role', current_user,
            'may_replicate', (SELECT r.rolreplication OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
                OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname IN ('rds_replication', 'rds_superuser')
                                                    AND pg_has_role(r.oid, 'MEMBER')),
            'free_slots', current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
            'limit_bytes', (SELECT nullif(s.setting::numeric, -1) * 1048576 FROM pg_settings s
                            WHERE s.name = 'max_slot_wal_keep_size'),
            'publications', (SELECT json_agg(p.pubname) FROM pg_publication p WHERE p.pubname = ANY (%1$L::name[])),
            'updates', (SELECT bool_or(p.pubupdate OR p.pubdelete) FROM pg_publication p
                        WHERE p.pubname = ANY (%1$L::name[])),
            'replay_lag', (SELECT extract(epoch FROM max(r.replay_lag)) FROM pg_stat_replication r
                           JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = %2$L),
            'slot', (SELECT to_jsonb(s) || jsonb_build_object(
                         'retained_bytes', pg_wal_lsn_diff(w.lsn, s.restart_lsn),
                         'behind_bytes', pg_wal_lsn_diff(w.lsn, s.confirmed_flush_lsn))
                     FROM pg_replication_slots s,
                          (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                                       ELSE pg_current_wal_lsn() END) w (lsn)
                     WHERE s.slot_name = %2$L))
    $question$, publications, slot))
$$;
COMMENT ON FUNCTION webhook_internal.source_server(text, name[], name) IS
    'What a source says of its version and settings, the role, the publications and the slot.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.source_server(text, name[], name)');

-- Names of types are those of format_type(). type: as declared. plain: without domains, and text for an enum, which the
-- node uses if it has no such type.
CREATE FUNCTION webhook_internal.source_tables(conninfo text, publications name[], version integer) RETURNS jsonb
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.ask_source(conninfo, format($question$
        SELECT coalesce(json_agg(t ORDER BY t.schema, t.name), '[]') FROM (
            SELECT DISTINCT ON (n.nspname, c.relname) n.nspname AS schema, c.relname AS name,
                c.relispartition AS is_partition, c.relreplident AS identity, p.filter,
                has_schema_privilege(n.oid, 'USAGE') AS schema_usable, row_security_active(c.oid) AS has_policies,
                (SELECT json_agg(a.attname ORDER BY k.place)
                 FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place), pg_attribute a
                 WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
                   AND a.attrelid = c.oid AND a.attnum = k.attnum) AS key,
                (SELECT json_agg(a.attname ORDER BY k.place)
                 FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place), pg_attribute a
                 WHERE i.indrelid = c.oid AND i.indisreplident AND k.place <= i.indnkeyatts
                   AND a.attrelid = c.oid AND a.attnum = k.attnum) AS identity_key,
                (SELECT json_agg(json_build_object(
                     'name', a.attname, 'type', format_type(a.atttypid, NULL), 'typmod', a.atttypmod,
                     'plain', CASE WHEN b.typtype = 'e' THEN 'text' ELSE format_type(b.oid, NULL) END
                              || CASE WHEN a.is_array THEN '[]' ELSE '' END,
                     'plain_typmod', b.typmod,
                     'labels', (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
                                WHERE e.enumtypid = b.oid),
                     'not_null', a.attnotnull, 'is_generated', a.attgenerated <> '',
                     'expression', pg_get_expr(d.adbin, d.adrelid),
                     'needs', (SELECT json_agg(DISTINCT r.attname) FROM pg_depend x JOIN pg_attribute r
                               ON r.attrelid = c.oid AND r.attnum = x.refobjsubid AND r.attnum <> a.attnum
                               WHERE a.attgenerated <> '' AND x.refclassid = 'pg_class'::regclass AND x.refobjid = c.oid
                                 AND (x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid
                                      OR x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.objsubid = a.attnum)),
                     'is_published', coalesce(a.attname = ANY (p.columns), true)
                                     AND (a.attgenerated = '' OR %2$L::int >= 180000 AND p.columns IS NOT NULL),
                     'is_readable', has_column_privilege(c.oid, a.attnum, 'SELECT')) ORDER BY a.attnum)
                 FROM (SELECT a.*, y.typelem <> 0 AND y.typlen = -1 AS is_array,
                              CASE WHEN y.typelem <> 0 AND y.typlen = -1 THEN y.typelem ELSE y.oid END AS element
                       FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid) a
                 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum AND a.attgenerated <> ''
                 CROSS JOIN LATERAL (
                     WITH RECURSIVE base AS (
                         SELECT y.oid, y.typtype, y.typbasetype, y.typtypmod, a.atttypmod AS typmod
                         FROM pg_type y WHERE y.oid = a.element
                         UNION ALL
                         SELECT y.oid, y.typtype, y.typbasetype, y.typtypmod, b.typtypmod
                         FROM base b JOIN pg_type y ON y.oid = b.typbasetype WHERE b.typtype = 'd')
                     SELECT b.oid, b.typtype, b.typmod FROM base b WHERE b.typtype <> 'd') b
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
            FROM (SELECT q.schemaname, q.tablename, %3$s AS columns, %4$s AS filter
                  FROM pg_publication_tables q WHERE q.pubname = ANY (%1$L::name[])) p
            JOIN pg_namespace n ON n.nspname = p.schemaname
            JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename) t
    $question$, publications, version,
        CASE WHEN version >= 150000 THEN 'q.attnames' ELSE 'NULL::name[]' END,
        CASE WHEN version >= 150000 THEN 'q.rowfilter' ELSE 'NULL::text' END))
$$;
COMMENT ON FUNCTION webhook_internal.source_tables(text, name[], integer) IS
    'The tables of publications, with columns, keys, row filters and what the role may read, as a source of this version '
    '(server_version_num) says.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.source_tables(text, name[], integer)');

-- How the tables of a delivery node differ from those that its source publishes, and what mends that (docs/nodes.md). The
-- JSON comes from webhook_internal.source_tables(). Another server wrote it, so its names are quoted, its types are those
-- of this server, and its expressions are checked.

CREATE FUNCTION webhook_internal.node_type(source_column jsonb) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN to_regtype(source_column->>'type') IS NOT NULL
                THEN format_type(to_regtype(source_column->>'type'), (source_column->>'typmod')::integer)
                ELSE format_type(to_regtype(source_column->>'plain'), (source_column->>'plain_typmod')::integer) END
$$;
COMMENT ON FUNCTION webhook_internal.node_type(jsonb) IS
    'The type that a column of the source has on this server: the same, or what stands for it. Null: there is none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.node_type(jsonb)');

CREATE FUNCTION webhook_internal.node_table(source_table jsonb) RETURNS text
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    qualified text := format('%I.%I', source_table->>'schema', source_table->>'name');
    sent jsonb := (SELECT coalesce(jsonb_agg(c->'name'), '[]') FROM jsonb_array_elements(source_table->'columns') c
                   WHERE (c->>'is_published')::boolean);
    identity_key jsonb := nullif(source_table->'identity_key', 'null');
    columns text := '';
    source_column jsonb;
BEGIN
    FOR source_column IN SELECT c FROM jsonb_array_elements(source_table->'columns') c LOOP
        IF (source_column->>'is_published')::boolean THEN
            -- Null if this node has no such type.
            columns := columns || format(E',\n    %I ', source_column->>'name') || webhook_internal.node_type(source_column)
                || CASE WHEN (source_column->>'not_null')::boolean THEN ' NOT NULL' ELSE '' END;
        ELSIF (source_column->>'is_generated')::boolean
              AND sent @> coalesce(nullif(source_column->'needs', 'null'), '[]') THEN
            PERFORM webhook_internal.check_condition(source_column->>'expression');
            columns := columns || format(E',\n    %I %s GENERATED ALWAYS AS (%s\n) STORED', source_column->>'name',
                webhook_internal.node_type(source_column), source_column->>'expression');
        END IF;
    END LOOP;
    IF jsonb_typeof(source_table->'key') = 'array' AND sent @> (source_table->'key') THEN
        columns := columns || format(E',\n    PRIMARY KEY (%s)', webhook_internal.column_list(source_table->'key'));
    END IF;
    RETURN format('CREATE TABLE %s (', qualified) || substr(columns, 2) || E'\n);'
        || CASE WHEN source_table->>'identity' = 'i' AND identity_key <> source_table->'key' THEN
                format(E'\nCREATE UNIQUE INDEX %I ON %s (%s);\nALTER TABLE %s REPLICA IDENTITY USING INDEX %1$I;',
                       left(source_table->>'name', 50) || '_identity', qualified,
                       webhook_internal.column_list(identity_key), qualified)
                ELSE '' END;
END
$$;
COMMENT ON FUNCTION webhook_internal.node_table(jsonb) IS
    'The statements that create a table of the source on this node: published columns, generated columns and keys; no '
    'foreign keys, triggers, defaults or other constraints. Null: this node lacks a type. Raises 42601 if a generated column is not one expression.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.node_table(jsonb)');

-- What is wrong with a published table already at the source.
CREATE FUNCTION webhook_internal.source_findings(source_table jsonb, source_role text, publication name, updates boolean)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH named AS (
        SELECT format('%I.%I', source_table->>'schema', source_table->>'name') AS name
    ), hidden AS (
        SELECT format('%I', c->>'name') AS name FROM jsonb_array_elements(source_table->'columns') c
        WHERE (c->>'is_published')::boolean AND NOT (c->>'is_readable')::boolean
    ), unsent AS (
        SELECT format('%I', c->>'name') AS name FROM jsonb_array_elements(source_table->'columns') c
        WHERE NOT (c->>'is_published')::boolean
          AND CASE source_table->>'identity' WHEN 'd' THEN source_table->'key' @> (c->'name')
                                             WHEN 'i' THEN source_table->'identity_key' @> (c->'name')
                                             WHEN 'f' THEN NOT (c->>'is_generated')::boolean END
    )
    SELECT f.severity, f.finding, f.run_on, f.statement FROM named n, LATERAL (VALUES
        (NOT (source_table->>'schema_usable')::boolean, 'error',
         format('role %I may not use schema %I of the source', source_role, source_table->>'schema'), 'source',
         format('GRANT USAGE ON SCHEMA %I TO %I;', source_table->>'schema', source_role)),
        (EXISTS (SELECT FROM hidden), 'error',
         format('role %I may not read table %s of the source', source_role, n.name), 'source',
         format('GRANT SELECT (%s) ON %s TO %I;', (SELECT string_agg(h.name, ', ') FROM hidden h), n.name, source_role)),
        (updates AND (source_table->>'identity' = 'n'
                      OR source_table->>'identity' = 'd' AND jsonb_typeof(source_table->'key') IS DISTINCT FROM 'array'),
         'error', format('table %s has no primary key and no replica identity: updates and deletes fail at the source',
                         n.name), 'source', format('ALTER TABLE %s REPLICA IDENTITY FULL;', n.name)),
        (updates AND EXISTS (SELECT FROM unsent), 'error',
         format('the publication of table %s lacks columns of its replica identity (%s): updates and deletes fail at the source',
                n.name, (SELECT string_agg(u.name, ', ') FROM unsent u)), 'source',
         format('ALTER PUBLICATION %I DROP TABLE %s; -- then add it with these columns', publication, n.name)),
        ((source_table->>'is_partition')::boolean AND to_regclass(n.name) IS NULL, 'error',
         format('%s is a partition, and published as a table of its own', n.name), 'source',
         format('ALTER PUBLICATION %I SET (publish_via_partition_root = true);', publication)),
        ((source_table->>'has_policies')::boolean, 'warning',
         format('row-level security keeps rows of %s from role %I: the first copy lacks them', n.name, source_role), 'source',
         format('ALTER ROLE %I BYPASSRLS;', source_role)),
        (source_table->>'filter' IS NOT NULL, 'info',
         format('of table %s, only these rows are published: %s', n.name, source_table->>'filter'), NULL, NULL)
    ) f (applies, severity, finding, run_on, statement)
    WHERE f.applies
$$;
COMMENT ON FUNCTION webhook_internal.source_findings(jsonb, text, name, boolean) IS
    'What is wrong with a published table at its source. updates: whether updates or deletes are published.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.source_findings(jsonb, text, name, boolean)');

-- The apply worker turns the text of a value into the node's type, so a wider type takes it, too.
CREATE FUNCTION webhook_internal.takes_type(node_type text, source_type text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT node_type = source_type
        OR node_type IN ('text', 'character varying') AND source_type ~ '^(text|character|character varying|bpchar)([(][0-9]+[)])?$'
        OR node_type ~ '^character varying[(]' AND source_type ~ '^character( varying)?[(]'
           AND substring(node_type FROM '[0-9]+')::integer >= substring(source_type FROM '[0-9]+')::integer
        OR node_type IN ('integer', 'bigint') AND source_type = 'smallint' OR node_type = 'bigint' AND source_type = 'integer'
        OR node_type = 'numeric' AND source_type ~ '^(numeric[(]|smallint$|integer$|bigint$)'
        OR node_type = 'double precision' AND source_type = 'real'
$$;
COMMENT ON FUNCTION webhook_internal.takes_type(text, text) IS
    'Whether a column of one type takes each value of the other. Both are written as format_type() does.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.takes_type(text, text)');

CREATE FUNCTION webhook_internal.column_list(names jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('%I', n.name), ', ' ORDER BY n.place)
    FROM jsonb_array_elements_text(names) WITH ORDINALITY n (name, place)
$$;
COMMENT ON FUNCTION webhook_internal.column_list(jsonb) IS 'A JSON array of names, quoted and with commas.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.column_list(jsonb)');

-- Columns of the source beside those of the node. A table that the node lacks has none.
CREATE FUNCTION webhook_internal.column_findings(source_table jsonb, node_table regclass)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH source AS (
        SELECT c->>'name' AS name, (c->>'is_published')::boolean AS is_published, (c->>'not_null')::boolean AS not_null,
               c->'labels' AS labels, c->>'type' AS type, webhook_internal.node_type(c) AS wanted,
               format_type(to_regtype(c->>'plain'), (c->>'plain_typmod')::integer) AS plain
        FROM jsonb_array_elements(source_table->'columns') c
    ), node AS (
        SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.atttypid, a.attnotnull AS not_null,
               a.attgenerated <> '' AS is_generated, a.atthasdef OR a.attidentity <> '' AS has_default
        FROM pg_attribute a WHERE a.attrelid = node_table AND a.attnum > 0 AND NOT a.attisdropped
    ), paired AS (
        SELECT coalesce(s.name, n.name) AS name, s.name IS NOT NULL AS at_source, n.name IS NOT NULL AS on_node,
               coalesce(s.is_published, false) AS is_published, s.not_null AS source_not_null, s.type AS source_type,
               s.wanted, s.plain, s.labels, n.type, n.atttypid, n.not_null, n.is_generated, n.has_default
        FROM source s FULL JOIN node n ON n.name = s.name
    )
    SELECT f.severity, f.finding, 'node', f.statement
    FROM paired p, LATERAL (SELECT format('%I.%I', source_table->>'schema', source_table->>'name')) t (name), LATERAL (VALUES
        (p.is_published AND NOT p.on_node AND p.wanted IS NULL, 'error',
         format('column %I of table %s has type %s, which this node does not have', p.name, t.name, p.source_type),
         'CREATE EXTENSION or CREATE TYPE, whichever it comes from'),
        (node_table IS NOT NULL AND p.is_published AND NOT p.on_node AND p.wanted IS NOT NULL, 'error',
         format('column %I of table %s is missing on this node', p.name, t.name),
         format('ALTER TABLE %s ADD COLUMN %I %s;', t.name, p.name, p.wanted)),
        (p.is_published AND p.on_node AND NOT p.is_generated
         AND NOT coalesce(webhook_internal.takes_type(p.type, p.wanted) OR webhook_internal.takes_type(p.type, p.plain), false),
         'error', format('column %I of table %s has type %s at the source and %s on this node', p.name, t.name,
                         p.source_type, p.type),
         format('ALTER TABLE %s ALTER COLUMN %I TYPE %s USING %2$I::%3$s;', t.name, p.name, p.wanted)),
        (p.is_published AND p.on_node AND p.is_generated, 'error',
         format('column %I of table %s is published, and generated on this node', p.name, t.name),
         format('ALTER TABLE %s ALTER COLUMN %I DROP EXPRESSION;', t.name, p.name)),
        (p.on_node AND p.not_null AND CASE WHEN p.is_published THEN NOT p.source_not_null
                                           ELSE NOT p.has_default AND NOT p.is_generated END, 'error',
         format('column %I of table %s takes no null on this node, and the source sends some', p.name, t.name),
         format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL;', t.name, p.name)),
        (p.on_node AND NOT p.at_source, 'info',
         format('column %I of table %s is not at the source', p.name, t.name),
         format('ALTER TABLE %s DROP COLUMN %I;', t.name, p.name))
    ) f (applies, severity, finding, statement)
    WHERE f.applies
    UNION ALL
    SELECT 'error', format('the type %s of this node lacks the label %L', p.type, l.label), 'node',
           format('ALTER TYPE %s ADD VALUE %L;', p.type, l.label)
    FROM paired p, jsonb_array_elements_text(nullif(p.labels, 'null')) l (label)
    WHERE p.is_published AND p.on_node
      AND EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = p.atttypid)
      AND NOT EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = p.atttypid AND e.enumlabel = l.label)
$$;
COMMENT ON FUNCTION webhook_internal.column_findings(jsonb, regclass) IS
    'How the columns of a published table differ from those of the node''s. node_table: null if the node has none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.column_findings(jsonb, regclass)');

-- All that is wrong with one published table. The apply worker finds a row by a key of the node's whose columns it is sent.
CREATE FUNCTION webhook_internal.table_findings(source_table jsonb, source_role text, publication name, updates boolean)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    qualified text := format('%I.%I', source_table->>'schema', source_table->>'name');
    node_table regclass := to_regclass(qualified);
    sent_key jsonb := CASE source_table->>'identity' WHEN 'd' THEN source_table->'key' WHEN 'i' THEN source_table->'identity_key'
                           WHEN 'f' THEN (SELECT jsonb_agg(c->'name') FROM jsonb_array_elements(source_table->'columns') c) END;
    node_key jsonb;
BEGIN
    RETURN QUERY SELECT s.* FROM webhook_internal.source_findings(source_table, source_role, publication, updates) s;
    IF (SELECT c.relkind FROM pg_class c WHERE c.oid = node_table) NOT IN ('r', 'p') THEN
        RETURN QUERY SELECT 'error', format('%s is not a table on this node', qualified), 'node',
                            format('Rename or drop %s.', qualified);
        RETURN;
    END IF;
    RETURN QUERY SELECT c.* FROM webhook_internal.column_findings(source_table, node_table) c;
    SELECT jsonb_agg(a.attname) INTO node_key
    FROM (SELECT i.indkey::int2[] AS attnums, i.indnkeyatts FROM pg_index i
          WHERE i.indrelid = node_table AND (i.indisreplident OR i.indisprimary)
          ORDER BY i.indisreplident DESC LIMIT 1) i
    JOIN pg_attribute a ON a.attrelid = node_table AND a.attnum = ANY (i.attnums[0:i.indnkeyatts - 1]);
    IF node_table IS NOT NULL AND updates AND jsonb_typeof(sent_key) = 'array'
       AND NOT coalesce(sent_key @> node_key, source_table->>'identity' = 'f') THEN
        RETURN QUERY SELECT 'error',
            format('table %s has %s on this node, and the source sends %s: its updates and deletes cannot be applied', qualified,
                   coalesce('the key (' || webhook_internal.column_list(node_key) || ')', 'no primary key'),
                   webhook_internal.column_list(sent_key)), 'node',
            CASE WHEN node_key IS NULL THEN format('ALTER TABLE %s ADD PRIMARY KEY (%s);', qualified,
                                                   webhook_internal.column_list(sent_key))
                 ELSE format('CREATE UNIQUE INDEX %I ON %s (%s); ALTER TABLE %2$s REPLICA IDENTITY USING INDEX %1$I;',
                             left(source_table->>'name', 50) || '_identity', qualified,
                             webhook_internal.column_list(sent_key)) END;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.table_findings(jsonb, text, name, boolean) IS
    'All that is wrong with a published table, at the source and on this node, with the statements that mend it.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.table_findings(jsonb, text, name, boolean)');

-- Delivery nodes (docs/nodes.md): webhook_node_create() writes what sets one up, webhook_node_check() tells what stops it or
-- soon will. Both ask the source, change nothing, and are for the DBA of the node.

-- What is wrong with the source as a whole. Of its slot, only if the subscription exists.
CREATE FUNCTION webhook_internal.server_findings(server jsonb, publications name[])
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH missing AS (
        SELECT string_agg(format('%I', p.name), ', ') AS names FROM unnest(publications) p (name)
        WHERE NOT coalesce(server->'publications' @> to_jsonb(p.name), false)
    )
    SELECT f.severity, f.finding, f.run_on, f.statement FROM missing m, LATERAL (VALUES
        (abs((server->>'started_at')::numeric - extract(epoch FROM pg_postmaster_start_time())) < 0.000001, 'error',
         'the connection string leads to this server itself: a node subscribes to another server', 'node',
         'Name the source in the connection string.'),
        ((server->>'version')::integer < 120000, 'error',
         format('the source is PostgreSQL %s: its definitions can be read from 12 on', server->>'version_shown'), 'node',
         'Create the tables by hand, and CREATE SUBSCRIPTION.'),
        ((server->>'is_standby')::boolean AND (server->>'version')::integer < 160000, 'error',
         format('the source is a standby of PostgreSQL %s, which can be subscribed to from 16 on',
                server->>'version_shown'), 'node', 'Name its primary in the connection string.'),
        (server->>'wal_level' <> 'logical', 'error', format('wal_level of the source is %s', server->>'wal_level'), 'source',
         'ALTER SYSTEM SET wal_level = logical; -- then restart it'),
        (NOT (server->>'may_replicate')::boolean, 'error', format('role %I of the source may not replicate', server->>'role'),
         'source', format('ALTER ROLE %I REPLICATION;', server->>'role')),
        (m.names IS NOT NULL, 'error',
         format('the source has no publication %s', m.names), 'source', 'SELECT webhook_publication(...), on the node, writes it.')
    ) f (applies, severity, finding, run_on, statement)
    WHERE f.applies
$$;
COMMENT ON FUNCTION webhook_internal.server_findings(jsonb, name[]) IS
    'What keeps a server from being the source of a node.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.server_findings(jsonb, name[])');

-- The first finding is the ERROR, with the statement that mends it; the rest is its detail.
CREATE FUNCTION webhook_internal.raise_findings(findings text[], run_on text[], statements text[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- An option of RAISE cannot be null, and an empty one would be shown.
    IF cardinality(findings) = 1 THEN
        RAISE EXCEPTION '%', findings[1]
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('On the %s: %s', run_on[1], statements[1]);
    ELSIF cardinality(findings) > 1 THEN
        RAISE EXCEPTION '%', findings[1]
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = array_to_string(findings[2:], E'\n'),
                  HINT = format('On the %s: %s', run_on[1], statements[1]);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.raise_findings(text[], text[], text[]) IS
    'Raises findings as one error (55000). Does nothing if there are none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.raise_findings(text[], text[], text[])');

-- The tables of the source, once it is certain that they can be subscribed to.
CREATE FUNCTION webhook_internal.ready_tables(conninfo text, publications name[], slot name, OUT server jsonb, OUT tables jsonb)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF conninfo IS NULL OR conninfo !~ '=|://' THEN
        RAISE EXCEPTION 'conninfo is not a connection string'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example: host=source.example dbname=crm user=webhook_node';
    END IF;
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
       AND NOT coalesce(pg_has_role(to_regrole('pg_create_subscription'), 'MEMBER'), false) THEN
        RAISE EXCEPTION 'permission denied to create a subscription'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Up to PostgreSQL 15, be a superuser. From 16 on, be a member of pg_create_subscription.';
    END IF;
    server := webhook_internal.source_server(conninfo, publications, slot);
    PERFORM webhook_internal.raise_findings(array_agg(f.finding), array_agg(f.run_on), array_agg(f.statement))
    FROM webhook_internal.server_findings(server, publications) f WHERE f.severity = 'error';
    tables := webhook_internal.source_tables(conninfo, publications, (server->>'version')::integer);
    IF jsonb_array_length(tables) = 0 THEN
        RAISE EXCEPTION 'publication % has no tables', array_to_string(publications, ', ')
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'On the source: ALTER PUBLICATION ... ADD TABLE ...;';
    END IF;
    PERFORM webhook_internal.raise_findings(array_agg(f.finding), array_agg(f.run_on), array_agg(f.statement))
    FROM jsonb_array_elements(tables) t, webhook_internal.table_findings(
        t, server->>'role', publications[1], (server->>'updates')::boolean) f WHERE f.severity = 'error';
END
$$;
COMMENT ON FUNCTION webhook_internal.ready_tables(text, name[], name) IS
    'The published tables of a source. Raises an error (22023, 42501, 08001, 55000) that says what to do if this node could not '
    'subscribe to them.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.ready_tables(text, name[], name)');

-- CREATE SUBSCRIPTION is logged without its text, because that holds the connection string.
CREATE FUNCTION webhook_internal.subscribe_statements(subscription name, conninfo text, publications name[])
    RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH may AS (SELECT r.rolsuper AS hide FROM pg_roles r WHERE r.rolname = current_user),
         setting (name, value) AS (VALUES ('log_statement', 'none'), ('log_min_error_statement', 'panic'),
                                          ('log_min_duration_statement', '-1'))
    SELECT s.statement FROM (
        SELECT 1, format('SET %s = %L;', n.name, n.value) FROM setting n, may WHERE may.hide
        UNION ALL
        SELECT 2, format('CREATE SUBSCRIPTION %I CONNECTION %L PUBLICATION %s WITH (enabled = false%s);', subscription, conninfo,
                         (SELECT string_agg(format('%I', p.name), ', ') FROM unnest(publications) p (name)),
                         -- parallel, the default from 18 on, gives up the order of ids.
                         CASE WHEN current_setting('server_version_num')::integer >= 180000 THEN ', streaming = on' ELSE '' END)
        UNION ALL
        SELECT 3, format('RESET %s;', n.name) FROM setting n, may WHERE may.hide
    ) s (place, statement) ORDER BY s.place
$$;
COMMENT ON FUNCTION webhook_internal.subscribe_statements(name, text, name[]) IS
    'The statements that create a subscription, disabled, without its password in the server log.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.subscribe_statements(name, text, name[])');

CREATE FUNCTION webhook_internal.declare_statement(source_table jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('SELECT @extschema@.webhook_watch(%L, %L, on_replicated => true%s);',
                             format('%I.%I', source_table->>'schema', source_table->>'name'),
                             trim('_' FROM regexp_replace(lower(source_table->>'name'), '[^a-z0-9_]+', '_', 'g')) || '.' || u.suffix,
                             CASE WHEN EXISTS (SELECT FROM jsonb_array_elements(source_table->'columns') c
                                               WHERE c->>'name' = 'organization_id' AND (c->>'is_published')::boolean)
                                  THEN '' ELSE ', organization_column => NULL' END), E'\n' ORDER BY u.place)
    FROM unnest(ARRAY['created', 'updated', 'deleted']) WITH ORDINALITY u (suffix, place)
$$;
COMMENT ON FUNCTION webhook_internal.declare_statement(jsonb) IS
    'The statements that declare created, updated and deleted events of a published table.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.declare_statement(jsonb)');

CREATE FUNCTION @extschema@.webhook_node_create(
    conninfo text, publication name DEFAULT 'webhook', subscription name DEFAULT 'webhook', events boolean DEFAULT false)
    RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    source record;
    existing record;
    missing jsonb;
BEGIN
    PERFORM webhook_internal.hide_statement();
    IF subscription IS NULL OR subscription !~ '^[a-z0-9_]+$' THEN
        RAISE EXCEPTION 'invalid name of a subscription "%"', subscription
            USING ERRCODE = 'invalid_name', DETAIL = 'Its replication slot has the same name.',
                  HINT = 'Use lower-case letters, digits and underscores.';
    END IF;
    SELECT * INTO source FROM webhook_internal.ready_tables(conninfo, ARRAY[publication], subscription);
    SELECT s.oid, s.subenabled, s.subpublications @> ARRAY[publication::text] AS is_same INTO existing
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE s.subname = subscription AND d.datname = current_database();
    PERFORM webhook_internal.check_subscribable(subscription, existing.oid, existing.is_same, existing.subenabled, source.server,
                                                source.tables);
    SELECT jsonb_agg(t) INTO missing FROM jsonb_array_elements(source.tables) t
    WHERE to_regclass(format('%I.%I', t->>'schema', t->>'name')) IS NULL;
    -- One string is one transaction.
    RETURN QUERY
    SELECT coalesce(string_agg(DISTINCT format('CREATE SCHEMA %I;', t->>'schema'), E'\n')
                        FILTER (WHERE to_regnamespace(format('%I', t->>'schema')) IS NULL) || E'\n', '')
           || string_agg(webhook_internal.node_table(t), E'\n')
    FROM jsonb_array_elements(missing) t HAVING count(*) > 0;
    RETURN QUERY
    SELECT string_agg(webhook_internal.declare_statement(t), E'\n') FROM jsonb_array_elements(source.tables) t
    WHERE events AND NOT EXISTS (SELECT FROM @extschema@.webhook_watches w
                                 WHERE w.source = to_regclass(format('%I.%I', t->>'schema', t->>'name')))
    HAVING count(*) > 0;
    IF existing.oid IS NULL THEN
        RETURN QUERY SELECT s FROM webhook_internal.subscribe_statements(subscription, conninfo, ARRAY[publication]) s;
    END IF;
    IF events AND existing.subenabled IS NOT TRUE THEN
        RETURN QUERY SELECT format('ALTER SUBSCRIPTION %I ENABLE;', subscription);
    END IF;
    IF existing.oid IS NOT NULL AND (missing IS NOT NULL OR EXISTS (
        SELECT FROM jsonb_array_elements(source.tables) t WHERE NOT webhook_internal.is_subscribed(t, existing.oid))) THEN
        RETURN QUERY SELECT format('ALTER SUBSCRIPTION %I REFRESH PUBLICATION;', subscription);
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_create(text, name, name, boolean) IS
    'The statements that make this database a delivery node, for gexec of psql: the tables that the source publishes and this '
    'database lacks, in one transaction, and a subscription. It is disabled until events are declared. events: also '
    'declares created, updated and deleted events of each table that has none, and enables it. What exists is left out. '
    'Asks the source through dblink, and runs nothing. Raises 55000, 08001, 42501, 22023 or 42602, and says what to do.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_node_create(text, name, name, boolean)');

CREATE FUNCTION webhook_internal.is_subscribed(source_table jsonb, subscription oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_subscription_rel r
                   WHERE r.srsubid = subscription
                     AND r.srrelid = to_regclass(format('%I.%I', source_table->>'schema', source_table->>'name')))
$$;
COMMENT ON FUNCTION webhook_internal.is_subscribed(jsonb, oid) IS 'Whether a published table is one of the subscription.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_subscribed(jsonb, oid)');

CREATE FUNCTION webhook_internal.check_subscribable(
    subscription name, existing oid, has_publication boolean, is_enabled boolean, server jsonb, source_tables jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    filled regclass;
    candidate regclass;
    has_rows boolean;
BEGIN
    IF existing IS NULL AND jsonb_typeof(server->'slot') = 'object' THEN
        RAISE EXCEPTION 'the source has a replication slot "%" already', subscription
            USING ERRCODE = 'duplicate_object', DETAIL = 'It belongs to another node, or to a subscription that is gone.',
                  HINT = 'Choose another name with subscription => ..., or, if no node uses it, run this on the source: '
                         || format('SELECT pg_drop_replication_slot(%L);', subscription);
    ELSIF existing IS NULL AND (server->>'free_slots')::integer < 1 THEN
        RAISE EXCEPTION 'the source has no free replication slot'
            USING ERRCODE = 'configuration_limit_exceeded', HINT = 'Raise max_replication_slots of the source, and restart it.';
    ELSIF NOT has_publication THEN
        RAISE EXCEPTION 'subscription "%" exists, and is to other publications', subscription
            USING ERRCODE = 'duplicate_object',
                  HINT = 'Choose another name with subscription => ..., or ALTER SUBSCRIPTION ... ADD PUBLICATION.';
    ELSIF NOT is_enabled AND EXISTS (SELECT FROM jsonb_array_elements(source_tables) t
                                     WHERE NOT webhook_internal.is_subscribed(t, existing)) THEN
        RAISE EXCEPTION 'subscription "%" lacks a published table, and is disabled', subscription
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('ALTER SUBSCRIPTION %I ENABLE; then call this again.', subscription);
    END IF;
    FOR candidate IN
        SELECT to_regclass(format('%I.%I', t->>'schema', t->>'name')) FROM jsonb_array_elements(source_tables) t
        WHERE NOT webhook_internal.is_subscribed(t, existing)
    LOOP
        CONTINUE WHEN candidate IS NULL;
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', candidate) INTO has_rows;
        filled := CASE WHEN has_rows THEN candidate ELSE filled END;
    END LOOP;
    IF filled IS NOT NULL THEN
        RAISE EXCEPTION 'table % has rows on this node, and the first copy would add the same', filled
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('TRUNCATE %s; or, to be told how it differs from the source: SELECT webhook_node_keep(%L);',
                                filled, filled);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_subscribable(name, oid, boolean, boolean, jsonb, jsonb) IS
    'Raises an error (55000, 42710, 53400) if the subscription cannot be created, or extended if it exists.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_subscribable(name, oid, boolean, boolean, jsonb, jsonb)');

-- The connection string that the subscription has, unless one is given. Superusers alone may read it.
CREATE FUNCTION webhook_internal.subscription_source(
    subscription name, INOUT conninfo text, OUT oid oid, OUT publications name[], OUT slot name, OUT is_enabled boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT s.oid, s.subpublications::name[], s.subslotname, s.subenabled INTO oid, publications, slot, is_enabled
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE s.subname = subscription AND d.datname = current_database();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription "%" does not exist in this database', subscription
            USING ERRCODE = 'undefined_object',
                  HINT = 'webhook_subscriptions shows those that do. webhook_node_create() writes one.';
    END IF;
    IF conninfo IS NULL THEN
        IF NOT has_column_privilege('pg_subscription', 'subconninfo', 'SELECT') THEN
            RAISE EXCEPTION 'permission denied for the connection string of subscription "%"', subscription
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'Pass conninfo, or the name of a foreign server for dblink.';
        END IF;
        SELECT s.subconninfo INTO conninfo FROM pg_subscription s WHERE s.oid = subscription_source.oid;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.subscription_source(name, text) IS
    'Where a subscription of this database connects to, and what it subscribes to. Errors: 42704, 42501.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.subscription_source(name, text)');

-- What stops a delivery node or soon will, asked of its source (docs/nodes.md).

CREATE FUNCTION webhook_internal.slot_row(server jsonb)
    RETURNS TABLE (slot_name name, is_active boolean, wal_status text, invalidation_reason text, retained_bytes numeric,
                   limit_bytes numeric, safe_bytes numeric, behind_bytes numeric, lag_seconds double precision)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s->>'slot_name', (s->>'active')::boolean, s->>'wal_status', s->>'invalidation_reason',
           (s->>'retained_bytes')::numeric, (server->>'limit_bytes')::numeric, (s->>'safe_wal_size')::numeric,
           (s->>'behind_bytes')::numeric, (server->>'replay_lag')::double precision
    FROM jsonb_path_query(server, '$.slot ? (@.type() == "object")') s
$$;
COMMENT ON FUNCTION webhook_internal.slot_row(jsonb) IS 'The row of webhook_node_slot(), from what the source says.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.slot_row(jsonb)');

CREATE FUNCTION @extschema@.webhook_node_slot(subscription name DEFAULT 'webhook', conninfo text DEFAULT NULL)
    RETURNS TABLE (slot_name name, is_active boolean, wal_status text, invalidation_reason text, retained_bytes numeric,
                   limit_bytes numeric, safe_bytes numeric, behind_bytes numeric, lag_seconds double precision)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT r.* FROM webhook_internal.subscription_source(subscription, conninfo) s,
                    webhook_internal.slot_row(webhook_internal.source_server(s.conninfo, s.publications, s.slot)) r
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_slot(name, text) IS
    'The replication slot of a subscription, as its source shows it: wal_status and, from PostgreSQL 17 on, why it is '
    'invalid; the WAL that it retains, max_slot_wal_keep_size (null: no limit) and what may still be written before it is '
    'lost; how far behind the node is, in bytes and, while it is connected, in seconds. No row: there is no such slot. '
    'Connects to the source through dblink. conninfo: default is that of the subscription, which superusers may read. '
    'Errors: 42704, 42501, 55000, 08001.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_node_slot(name, text)');

CREATE FUNCTION webhook_internal.slot_findings(server jsonb, subscription name, slot name, is_enabled boolean)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.severity, f.finding, f.run_on, f.statement
    FROM (SELECT) this LEFT JOIN webhook_internal.slot_row(server) s ON true, LATERAL (VALUES
        (s.slot_name IS NULL, 'error', format('the source has no replication slot %I: its changes no longer come', slot), 'node',
         format(E'SELECT webhook_node_resync(%L) \\gexec', subscription)),
        (s.wal_status = 'lost' OR s.invalidation_reason IS NOT NULL, 'error',
         format('the replication slot %I is lost (%s): changes since then do not come', slot,
                coalesce(s.invalidation_reason, 'wal_removed')), 'node',
         format(E'SELECT webhook_node_resync(%L) \\gexec', subscription)),
        (s.wal_status = 'unreserved' OR s.safe_bytes < 0.2 * s.limit_bytes, 'error',
         format('the replication slot %I retains %s, and is lost at %s', slot, pg_size_pretty(s.retained_bytes),
                pg_size_pretty(s.limit_bytes)), 'source', 'ALTER SYSTEM SET max_slot_wal_keep_size = ...; -- and reload'),
        (s.limit_bytes IS NULL AND s.wal_status <> 'lost', 'info',
         format('the replication slot %I retains %s, and nothing limits it: while the node is down, the disk of the source '
                'fills', slot, pg_size_pretty(s.retained_bytes)), 'source',
         'ALTER SYSTEM SET max_slot_wal_keep_size = ''...''; -- and reload'),
        (is_enabled AND NOT s.is_active AND s.wal_status <> 'lost', 'warning',
         format('nobody reads the replication slot %I: the subscription has no worker', slot), 'node',
         'The findings above, or the server log, say why.'),
        (NOT is_enabled, 'warning', format('subscription %I is disabled', subscription), 'node',
         format('ALTER SUBSCRIPTION %I ENABLE;', subscription))
    ) f (applies, severity, finding, run_on, statement)
    WHERE f.applies
$$;
COMMENT ON FUNCTION webhook_internal.slot_findings(jsonb, name, name, boolean) IS
    'What is wrong with the replication slot of a subscription.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.slot_findings(jsonb, name, name, boolean)');

-- Tables that only one of publication and subscription has.
CREATE FUNCTION webhook_internal.membership_findings(source_tables jsonb, subscription name, subscription_oid oid)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'error', format('table %s is published, and missing on this node', n.name), 'node', webhook_internal.node_table(t)
    FROM jsonb_array_elements(source_tables) t, LATERAL (SELECT format('%I.%I', t->>'schema', t->>'name')) n (name)
    WHERE to_regclass(n.name) IS NULL
    UNION ALL
    SELECT 'error', format('table %s is published, and the subscription does not know it', n.name), 'node',
           format('ALTER SUBSCRIPTION %I REFRESH PUBLICATION;', subscription)
    FROM jsonb_array_elements(source_tables) t, LATERAL (SELECT format('%I.%I', t->>'schema', t->>'name')) n (name)
    WHERE NOT webhook_internal.is_subscribed(t, subscription_oid)
    UNION ALL
    SELECT 'warning', format('table %s is no longer published', r.srrelid::regclass), 'node',
           format('ALTER SUBSCRIPTION %I REFRESH PUBLICATION;', subscription)
    FROM pg_subscription_rel r
    WHERE r.srsubid = subscription_oid
      AND NOT EXISTS (SELECT FROM jsonb_array_elements(source_tables) t
                      WHERE to_regclass(format('%I.%I', t->>'schema', t->>'name')) = r.srrelid)
$$;
COMMENT ON FUNCTION webhook_internal.membership_findings(jsonb, name, oid) IS
    'Published tables that the subscription does not know, and those that it knows and nobody publishes.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.membership_findings(jsonb, name, oid)');

CREATE FUNCTION @extschema@.webhook_node_check(subscription name DEFAULT 'webhook', conninfo text DEFAULT NULL)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    known record;
    server jsonb;
    tables jsonb;
    problem text;
    detail text;
BEGIN
    PERFORM webhook_internal.hide_statement();
    SELECT * INTO known FROM webhook_internal.subscription_source(subscription, conninfo);
    BEGIN
        server := webhook_internal.source_server(known.conninfo, known.publications, known.slot);
    EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
        GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
        RETURN QUERY SELECT 'error', problem || ': ' || detail, 'source',
                            'Nothing on the node: it goes on by itself when the source is back.';
        RETURN;
    END;
    RETURN QUERY SELECT f.* FROM webhook_internal.server_findings(server, known.publications) f;
    IF EXISTS (SELECT FROM webhook_internal.server_findings(server, NULL)) THEN
        RETURN;
    END IF;
    tables := webhook_internal.source_tables(known.conninfo, known.publications, (server->>'version')::integer);
    RETURN QUERY
    SELECT f.* FROM jsonb_array_elements(tables) t, webhook_internal.table_findings(
        t, server->>'role', known.publications[1], (server->>'updates')::boolean) f;
    RETURN QUERY SELECT f.* FROM webhook_internal.membership_findings(tables, subscription, known.oid) f;
    RETURN QUERY SELECT f.* FROM webhook_internal.slot_findings(server, subscription, known.slot, known.is_enabled) f;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_check(name, text) IS
    'What stops a subscription or soon will: how the published tables differ from those of this node, tables that were added '
    'or removed, the settings of the source, and its replication slot. Each with the statement that mends it and the server '
    'to run it on. severity: error, warning or info. Connects to the source through dblink. conninfo: as for '
    'webhook_node_slot(). Errors: 42704, 42501, 55000.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_node_check(name, text)');

-- A delivery node whose replication slot is lost copies its tables again. What changed in between is no event, so it is told:
-- the rows that the node had are kept, and compared with the copy while that is made (docs/nodes.md).

-- Fires in the transaction that copies the table, for all rows at once, so nothing that is streamed later is mixed in. Its
-- arguments: the two tables of webhook_node_keep(), and the key. Whoever owns the table runs it.
CREATE FUNCTION webhook_internal.note_missed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_noted boolean := true;
BEGIN
    IF to_regclass(TG_ARGV[0]) IS NULL OR to_regclass(TG_ARGV[1]) IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', TG_ARGV[1]::regclass) INTO is_noted;
    IF is_noted THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'INSERT INTO %2$s (change, key, before, after) '
        'SELECT CASE WHEN webhook_before.%5$I IS NULL THEN ''created'' WHEN webhook_after.%5$I IS NULL THEN ''deleted'' '
        '            ELSE ''updated'' END, jsonb_build_object(%3$s), '
        '       CASE WHEN webhook_before.%5$I IS NOT NULL THEN row_to_json(webhook_before) END, '
        '       CASE WHEN webhook_after.%5$I IS NOT NULL THEN row_to_json(webhook_after) END '
        'FROM %1$s webhook_before FULL JOIN copied webhook_after ON %4$s '
        'WHERE to_jsonb(webhook_before) IS DISTINCT FROM to_jsonb(webhook_after)',
        TG_ARGV[0]::regclass, TG_ARGV[1]::regclass,
        (SELECT string_agg(format('%L, coalesce(webhook_after.%2$I, webhook_before.%2$I)', k.name, k.name), ', ')
         FROM unnest(TG_ARGV[2]::name[]) k (name)),
        (SELECT string_agg(format('webhook_before.%1$I = webhook_after.%1$I', k.name), ' AND ')
         FROM unnest(TG_ARGV[2]::name[]) k (name)), (TG_ARGV[2]::name[])[1]);
    EXECUTE format('INSERT INTO %s (change) VALUES (''copied'')', TG_ARGV[1]::regclass);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.note_missed() IS
    'Trigger function: when a table is copied, notes how the copy differs from the rows that webhook_node_keep() kept.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.note_missed()');

CREATE FUNCTION webhook_internal.beside(source regclass, suffix text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I.%I', n.nspname, left(c.relname, 56) || suffix)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source
$$;
COMMENT ON FUNCTION webhook_internal.beside(regclass, text) IS 'The name of a table beside another one.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.beside(regclass, text)');

CREATE FUNCTION @extschema@.webhook_node_keep(source regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' SET jit = off
AS $$
DECLARE
    qualified text := webhook_internal.beside(source, '');
    kept text := webhook_internal.beside(source, '_kept');
    missed text := webhook_internal.beside(source, '_missed');
    key name[] := webhook_internal.watch_key(source);
    owner regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = source);
BEGIN
    PERFORM webhook_internal.check_source(source);
    IF key IS NULL THEN
        RAISE EXCEPTION 'table % has no primary key to compare rows by', source
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('TRUNCATE %s; its rows are then copied anew.', source);
    ELSIF webhook_internal.subscriptions_of(source) IS NOT NULL THEN
        RAISE EXCEPTION 'table % is still subscribed', source
            USING ERRCODE = 'object_in_use',
                  HINT = format('DROP SUBSCRIPTION %I;', (webhook_internal.subscriptions_of(source))[1]);
    ELSIF coalesce(to_regclass(kept), to_regclass(missed)) IS NOT NULL THEN
        RAISE EXCEPTION '% exists: what it tells of an earlier copy would be lost', coalesce(to_regclass(kept), to_regclass(missed))
            USING ERRCODE = 'duplicate_table',
                  HINT = format('Once it has been used: DROP TABLE IF EXISTS %s, %s;', kept, missed);
    END IF;
    EXECUTE format('CREATE TABLE %s AS TABLE %s', kept, qualified);
    EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s)', kept, webhook_internal.column_list(to_jsonb(key)));
    EXECUTE format('CREATE TABLE %s (change text NOT NULL, key jsonb, before json, after json)', missed);
    EXECUTE format('ALTER TABLE %s OWNER TO %s; ALTER TABLE %s OWNER TO %2$s', kept, owner, missed);
    EXECUTE format('TRUNCATE %s', qualified);
    EXECUTE format('DROP TRIGGER IF EXISTS webhook_note_missed ON %s', qualified);
    EXECUTE format('CREATE TRIGGER webhook_note_missed AFTER INSERT ON %s REFERENCING NEW TABLE AS copied '
                   'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.note_missed(%L, %L, %L)', qualified, kept, missed, key);
    EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_note_missed', qualified);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_keep(regclass) IS
    'Before a table is copied from its source again: moves its rows to TABLE_kept and empties it, without an event. When it '
    'is copied, TABLE_missed gets the differences: see webhook_node_missed(). For the owner of the table. Errors: 55000 '
    'without primary key, 55006 while it is subscribed, 42P07.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_node_keep(regclass)');

CREATE FUNCTION @extschema@.webhook_node_missed(source regclass)
    RETURNS TABLE (change text, key jsonb, before json, after json)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    missed regclass := to_regclass(webhook_internal.beside(source, '_missed'));
    is_copied boolean;
BEGIN
    IF missed IS NULL THEN
        RAISE EXCEPTION 'nothing was kept of table %', source
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'webhook_node_resync() keeps the rows and copies the table again.';
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s m WHERE m.change = ''copied'')', missed) INTO is_copied;
    IF NOT is_copied THEN
        RAISE EXCEPTION 'table % has not been copied yet', source
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'webhook_subscriptions shows the copy, and its errors.';
    END IF;
    RETURN QUERY EXECUTE format('SELECT m.change, m.key, m.before, m.after FROM %s m WHERE m.change <> ''copied''', missed);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_missed(regclass) IS
    'What a node missed before its table was copied again: a row for each row of the table that was created, updated or '
    'deleted since webhook_node_keep() kept it, with its key, and as it was before and after. Several changes of a row are '
    'one, and a row that was created and deleted is none. Raises 55000 if nothing was kept, or the copy has not ended.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_node_missed(regclass)');

CREATE FUNCTION webhook_internal.start_resynchronized(subscription name) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source regclass;
    has_rows boolean;
BEGIN
    FOR source IN
        SELECT r.srrelid FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
        JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database()
        WHERE s.subname = subscription
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', source) INTO has_rows;
        IF has_rows THEN
            RAISE EXCEPTION 'table % has rows: the copy would add the same', source
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = format('DROP SUBSCRIPTION %I; SELECT webhook_node_keep(%L); then webhook_node_create().',
                                    subscription, source);
        END IF;
    END LOOP;
    EXECUTE format('ALTER SUBSCRIPTION %I ENABLE', subscription);
END
$$;
COMMENT ON FUNCTION webhook_internal.start_resynchronized(name) IS
    'Enables a subscription if all its tables are empty; otherwise raises 55000.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.start_resynchronized(name)');

CREATE FUNCTION @extschema@.webhook_node_resync(
    subscription name DEFAULT 'webhook', conninfo text DEFAULT NULL, force boolean DEFAULT false) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    known record;
    source record;
    slot record;
    kept regclass;
BEGIN
    PERFORM webhook_internal.hide_statement();
    SELECT * INTO known FROM webhook_internal.subscription_source(subscription, conninfo);
    SELECT * INTO source FROM webhook_internal.ready_tables(known.conninfo, known.publications, known.slot);
    SELECT s.* INTO slot FROM (SELECT) this LEFT JOIN webhook_internal.slot_row(source.server) s ON true;
    IF slot.slot_name IS NOT NULL AND NOT (slot.wal_status = 'lost' OR slot.invalidation_reason IS NOT NULL) AND NOT force THEN
        RAISE EXCEPTION 'the replication slot "%" is not lost: changes since then would be dropped with it', known.slot
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'If this node was restored from a backup and is older than the slot, call it with force => true.';
    END IF;
    SELECT to_regclass(webhook_internal.beside(n.node_table, s.suffix)) INTO kept
    FROM jsonb_array_elements(source.tables) t,
         LATERAL (SELECT to_regclass(format('%I.%I', t->>'schema', t->>'name'))) n (node_table),
         unnest(ARRAY['_kept', '_missed']) s (suffix)
    WHERE to_regclass(webhook_internal.beside(n.node_table, s.suffix)) IS NOT NULL LIMIT 1;
    IF kept IS NOT NULL THEN
        RAISE EXCEPTION '% exists: what it tells of an earlier copy would be lost', kept
            USING ERRCODE = 'duplicate_table', HINT = format('Once it has been used: DROP TABLE %s;', kept);
    END IF;
    RETURN NEXT format('ALTER SUBSCRIPTION %I DISABLE;', subscription);
    IF slot.slot_name IS NULL THEN
        RETURN NEXT format('ALTER SUBSCRIPTION %I SET (slot_name = NONE);', subscription);
    END IF;
    RETURN NEXT format('DROP SUBSCRIPTION %I;', subscription);
    -- One string is one transaction.
    RETURN QUERY
    SELECT string_agg(CASE WHEN webhook_internal.watch_key(n.node_table) IS NULL THEN format('TRUNCATE %s;', n.node_table)
                           ELSE format('SELECT @extschema@.webhook_node_keep(%L);', n.node_table) END, E'\n')
    FROM jsonb_array_elements(source.tables) t,
         LATERAL (SELECT to_regclass(format('%I.%I', t->>'schema', t->>'name'))) n (node_table);
    RETURN QUERY SELECT s FROM webhook_internal.subscribe_statements(subscription, known.conninfo, known.publications) s;
    RETURN NEXT format('SELECT webhook_internal.start_resynchronized(%L);', subscription);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_resync(name, text, boolean) IS
    'The statements that copy the tables of a node again after its replication slot was lost, for gexec of psql: they keep the rows '
    'that it had, create the subscription anew, and let webhook_node_missed() tell the difference. force: even if the slot '
    'is not lost. Asks the source through dblink, and runs nothing. conninfo: as for webhook_node_slot(). Errors: 55000, '
    '42P07, 42704, 42501, 08001.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_node_resync(name, text, boolean)');

-- Sending again: webhook_redeliver() and webhook_replay(). Giving up: webhook_cancel().

-- Keeps others from deleting the webhook, and from writing its deliveries, until the transaction ends: a deletion must
-- see the new deliveries. The row is locked first, as by DELETE.
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
COMMENT ON FUNCTION webhook_internal.hold(uuid) IS
    'A webhook that cannot be deleted before the transaction ends. Raises 42704 if it does not exist.';

-- The same as ordering_key() in src/core/lanes.h.
CREATE FUNCTION webhook_internal.ordering_key(ordering text, key text, event_id bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE ordering
           WHEN 'key' THEN CASE WHEN key IS NULL THEN '#' || event_id
                                WHEN octet_length(convert_to(key, 'UTF8')) <= 128 THEN '=' || key
                                ELSE '~' || encode(sha256(convert_to(key, 'UTF8')), 'hex') END
           WHEN 'endpoint' THEN '*' END
$$;
COMMENT ON FUNCTION webhook_internal.ordering_key(text, text, bigint) IS
    'webhook_deliveries.ordering_key for a webhook with this ordering and an event with this key and id.';

-- Two scans, so that each finds its index.
CREATE FUNCTION webhook_internal.count_deliveries(organization text, rows_max bigint) RETURNS bigint
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
COMMENT ON FUNCTION webhook_internal.count_deliveries(text, bigint) IS
    'How many rows of webhook_deliveries an organization has, counted to rows_max + 1 at most.';

CREATE FUNCTION webhook_internal.raise_deliveries_exceeded(organization text, rows_max bigint, requested text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'organization "%" cannot have more than % deliveries that are pending or dead', organization, rows_max
        USING ERRCODE = 'configuration_limit_exceeded', DETAIL = requested,
              HINT = 'Replay fewer events at once, cancel deliveries with @extschema@.webhook_cancel(), or have '
                     'the administrator raise webhook.max_deliveries_per_organization.';
END
$$;
COMMENT ON FUNCTION webhook_internal.raise_deliveries_exceeded(text, bigint, text) IS
    'Raises 53400: the organization has more rows than webhook.max_deliveries_per_organization.';

CREATE FUNCTION webhook_internal.announce_pending(webhook uuid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO @extschema@.webhook_changes (configuration_id, configuration_created_at, organization_id, is_deleted)
    SELECT c.id, c.created_at, c.organization_id, false FROM @extschema@.webhook_configurations c WHERE c.id = webhook
    ON CONFLICT DO NOTHING;
    PERFORM webhook_internal.wake();
END
$$;
COMMENT ON FUNCTION webhook_internal.announce_pending(uuid) IS
    'Tells the worker that a session has changed the webhook''s pending deliveries.';

-- The caller holds the webhook's deliveries: lock_deliveries().
CREATE FUNCTION webhook_internal.queue_events(held @extschema@.webhook_configurations, events bigint[]) RETURNS bigint
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
    PERFORM webhook_internal.announce_pending(held.id);
    RETURN stored + kept;
END
$$;
COMMENT ON FUNCTION webhook_internal.queue_events(@extschema@.webhook_configurations, bigint[]) IS
    'Makes the events pending for the webhook again, from the first attempt on, and returns how many. Leaves out events '
    'of other organizations and events that are not stored. Needs lock_deliveries(). Used by make_pending() and by the '
    'worker for webhook_replays.';

CREATE FUNCTION webhook_internal.make_pending(webhook uuid, events bigint[]) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held @extschema@.webhook_configurations := webhook_internal.hold(webhook);
    rows_max bigint := webhook_internal.deliveries_max();
    queued bigint := webhook_internal.queue_events(held, events);
BEGIN
    -- Counting takes longer than queuing a few. The worker gives up what is too many.
    IF cardinality(events) > 100 AND webhook_internal.count_deliveries(held.organization_id, rows_max) > rows_max THEN
        PERFORM webhook_internal.raise_deliveries_exceeded(
            held.organization_id, rows_max, format('%s were requested for webhook "%s".', queued, held.name));
    END IF;
    IF NOT held.is_active AND queued > 0 THEN
        RAISE NOTICE 'webhook "%" is inactive: its pending deliveries wait until it is active again', held.name;
    END IF;
    RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook_internal.make_pending(uuid, bigint[]) IS
    'Makes the events pending for the webhook again, as queue_events() does. Raises 53400 for more than 100 events if '
    'the organization then has more rows than webhook.max_deliveries_per_organization. Used by webhook_redeliver() and '
    'webhook_replay().';

CREATE FUNCTION webhook_internal.redeliver_operator(webhook uuid, events bigint[]) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing bigint;
BEGIN
    events := ARRAY(SELECT DISTINCT u.id FROM unnest(events) u (id) WHERE u.id IS NOT NULL);
    IF webhook_internal.make_pending(webhook, events) < cardinality(events) THEN
        SELECT u.id INTO missing FROM unnest(events) u (id)
        WHERE NOT EXISTS (SELECT FROM @extschema@.webhook_deliveries d
                          WHERE d.configuration_id = webhook AND d.event_id = u.id
                            AND d.request = pg_current_xact_id()::text::bigint)
        LIMIT 1;
        RAISE EXCEPTION 'event % is not stored', missing
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = coalesce((SELECT format('Its %s bytes exceeded webhook.max_payload and were not kept.',
                                                   e.oversized_bytes)
                                     FROM @extschema@.webhook_events e
                                     WHERE e.id = missing AND e.oversized_bytes IS NOT NULL
                                       AND e.organization_id IS NOT DISTINCT FROM
                                           (SELECT c.organization_id FROM @extschema@.webhook_configurations c
                                            WHERE c.id = webhook)),
                                    'Events are kept for webhook.event_retention; log rows may outlive them.'),
                  HINT = 'To send a similar event, change the row again, or publish one with '
                         '@extschema@.webhook_emit().';
    END IF;
    -- In REPEATABLE READ, the old row of an event that was delivered after the snapshot is still visible next to the
    -- new one.
    RETURN (SELECT d.next_attempt_at FROM @extschema@.webhook_deliveries d
            WHERE d.configuration_id = webhook AND d.event_id = events[1] ORDER BY d.pending_since DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_operator(uuid, bigint[]) IS
    'webhook_redeliver() for operators, of one or more events: all of them, or 55000 for one that is not stored. Returns '
    'when they are due.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.redeliver_operator(uuid, bigint[])');

CREATE FUNCTION webhook_internal.redeliver_tenant(webhook uuid, events bigint[]) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.redeliver_operator(webhook, events);
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_tenant(uuid, bigint[]) IS
    'redeliver_operator() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.redeliver_tenant(uuid, bigint[])');

CREATE FUNCTION webhook_internal.redeliver_events(webhook uuid, events bigint[]) RETURNS timestamptz
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.redeliver_operator(webhook, events);
    END IF;
    RETURN webhook_internal.redeliver_tenant(webhook, events);
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_events(uuid, bigint[]) IS
    'redeliver_operator() or redeliver_tenant(), as the caller may.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.redeliver_events(uuid, bigint[])');

CREATE FUNCTION @extschema@.webhook_redeliver(log_id bigint, OUT configuration_id uuid, OUT event_id bigint,
                                              OUT event text, OUT next_attempt_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
    SET enable_seqscan = off  -- without statistics the planner does not find the BRIN index
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
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'A test has no event.',
                  HINT = 'Call @extschema@.webhook_test() again.';
    END IF;
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_logs l
                   JOIN @extschema@.webhook_configurations c
                        ON c.id = l.configuration_id AND c.organization_id IS NOT DISTINCT FROM l.organization_id
                   WHERE l.id = log_id) THEN
        RAISE EXCEPTION 'the webhook of log row % has been deleted', log_id
            USING ERRCODE = 'undefined_object', DETAIL = format('It was %s.', configuration_id);
    END IF;
    next_attempt_at := webhook_internal.redeliver_events(configuration_id, ARRAY[event_id]);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_redeliver(bigint) IS
    'Makes the event of an attempt (webhook_logs.id) pending for its webhook again, with the same webhook-id and the '
    'full schedule, and returns the delivery. If the webhook is inactive, the delivery waits. Errors: 42704 if the log '
    'row or its webhook does not exist, 55000 if the event is not stored or the row is of a test.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_redeliver(bigint)');

-- The stored events in [since, until) that match the patterns and the filter of the webhook, and the given patterns
-- unless they are null.
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
COMMENT ON FUNCTION webhook_internal.replayable(uuid, timestamptz, timestamptz, text[], boolean) IS
    'The ids of the events that webhook_replay() would send.';

CREATE FUNCTION webhook_internal.replay_operator(
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
    RETURN webhook_internal.make_pending(webhook, ARRAY(
        SELECT r FROM webhook_internal.replayable(webhook, since, until, patterns, only_failed) r));
END
$$;
COMMENT ON FUNCTION webhook_internal.replay_operator(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'webhook_replay() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.replay_operator(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

CREATE FUNCTION webhook_internal.replay_tenant(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean, dry_run boolean)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.replay_operator(webhook, since, until, patterns, only_failed, dry_run);
END
$$;
COMMENT ON FUNCTION webhook_internal.replay_tenant(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'webhook_replay() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.replay_tenant(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

CREATE FUNCTION webhook_internal.check_replay(
    since timestamptz, until timestamptz, events text[], only_failed boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF since IS NULL OR until IS NULL OR only_failed IS NULL THEN
        RAISE EXCEPTION '% must not be null', CASE WHEN since IS NULL THEN 'since' WHEN until IS NULL THEN 'until'
                                                   ELSE 'only_failed' END
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'To replay all stored events, pass since => ''-infinity''. disabled_at is null until a webhook '
                         'has been switched off.';
    END IF;
    IF since > until THEN
        RAISE EXCEPTION 'since is later than until' USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('since is %s, until is %s.', since, until);
    END IF;
    PERFORM webhook_internal.check_events(events);
END
$$;
COMMENT ON FUNCTION webhook_internal.check_replay(timestamptz, timestamptz, text[], boolean) IS
    'Raises an error (22004, 22023) unless a replay can have these arguments.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_replay(timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION @extschema@.webhook_replay(
    configuration_id uuid,
    since timestamptz,
    until timestamptz DEFAULT pg_catalog.now(),
    events text[] DEFAULT NULL,
    only_failed boolean DEFAULT false,
    dry_run boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM webhook_internal.check_replay(since, until, events, only_failed);
    IF dry_run IS NULL THEN
        RAISE EXCEPTION 'dry_run must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.replay_operator(configuration_id, since, until, events, only_failed, dry_run);
    END IF;
    RETURN webhook_internal.replay_tenant(configuration_id, since, until, events, only_failed, dry_run);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'Makes the stored events in [since, until) that the webhook subscribes to pending again, delivered or not, with '
    'the same webhook-id and the full schedule. Returns how many. events: only those that match these names or '
    'patterns. only_failed: only those that were given up. dry_run: only counts. webhook_replay(id, disabled_at, '
    'active_since) sends what an inactive webhook missed. Errors: 22004, 22023, 42704, and 53400 beyond '
    'webhook.max_deliveries_per_organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

-- A delivery that is given up gets a log row with attempt 0.
CREATE FUNCTION webhook_internal.cancel_operator(webhook uuid, cancelled bigint) RETURNS bigint
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
    PERFORM webhook_internal.announce_pending(webhook);
    RETURN total;
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_operator(uuid, bigint) IS 'webhook_cancel() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.cancel_operator(uuid, bigint)');

CREATE FUNCTION webhook_internal.cancel_tenant(webhook uuid, cancelled bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.cancel_operator(webhook, cancelled);
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_tenant(uuid, bigint) IS 'webhook_cancel() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.cancel_tenant(uuid, bigint)');

CREATE FUNCTION @extschema@.webhook_cancel(configuration_id uuid, event_id bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.cancel_operator(configuration_id, event_id);
    END IF;
    RETURN webhook_internal.cancel_tenant(configuration_id, event_id);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_cancel(uuid, bigint) IS
    'Gives up the pending deliveries of a webhook, or that of one event, and returns how many. They stay in '
    'webhook_deliveries as dead, with last_error cancelled, for webhook_replay(). A delivery that the worker has in '
    'memory may still arrive. Raises 42704 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_cancel(uuid, bigint)');

-- Counts, starts and cancels replays that a worker carries out: webhook_api.replay() and webhook_api.cancel_replay().

-- Waits for nobody, like prune_history().
CREATE FUNCTION webhook_internal.prune_replays(organization text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept CONSTANT integer := 200;
    deleted_max CONSTANT integer := 100;
    excess bigint[];
BEGIN
    IF organization IS NULL THEN
        excess := ARRAY(SELECT r.id FROM @extschema@.webhook_replays r
                        WHERE r.organization_id IS NULL AND r.ended_at IS NOT NULL
                        ORDER BY r.id DESC OFFSET kept LIMIT deleted_max);
    ELSE
        excess := ARRAY(SELECT r.id FROM @extschema@.webhook_replays r
                        WHERE r.organization_id = organization AND r.ended_at IS NOT NULL
                        ORDER BY r.id DESC OFFSET kept LIMIT deleted_max);
    END IF;
    DELETE FROM @extschema@.webhook_replays d
    WHERE d.id = ANY (ARRAY(SELECT r.id FROM @extschema@.webhook_replays r WHERE r.id = ANY (excess)
                            FOR UPDATE SKIP LOCKED));
EXCEPTION WHEN serialization_failure THEN
    NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.prune_replays(text) IS
    'Deletes the oldest ended rows of webhook_replays beyond the newest 200 of an organization (null: none). At most 100 '
    'at once. Does nothing if another transaction has deleted some since this one''s snapshot.';

-- Bisects the ids, because the time has no index. Ids ascend with time, but for sessions that capture at the same time.
CREATE FUNCTION webhook_internal.event_id_at(at timestamptz) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low bigint;
    high bigint;
    middle record;
BEGIN
    SELECT e.id, e.created_at INTO middle FROM @extschema@.webhook_events e ORDER BY e.id DESC LIMIT 1;
    IF NOT FOUND OR middle.created_at < at THEN
        RETURN NULL;
    END IF;
    high := middle.id;
    SELECT e.id INTO low FROM @extschema@.webhook_events e ORDER BY e.id LIMIT 1;
    WHILE low < high LOOP
        SELECT e.id, e.created_at INTO middle FROM @extschema@.webhook_events e
        WHERE e.id >= low + (high - low) / 2 ORDER BY e.id LIMIT 1;
        IF middle.created_at >= at THEN
            high := low + (high - low) / 2;
        ELSE
            low := middle.id + 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
COMMENT ON FUNCTION webhook_internal.event_id_at(timestamptz) IS
    'The id from which on stored events are of this time or later, but for sessions that capture at the same time. Null '
    'if there are none.';

-- The events that a replay would examine first if it went back in time. What it reads is bounded, whoever owns the
-- events, because webhook_events has no index by organization. The last row has no id if there may be older events.
CREATE FUNCTION webhook_internal.events_before(
    c @extschema@.webhook_configurations, since timestamptz, until timestamptz, only_failed boolean)
    RETURNS TABLE (id bigint, created_at timestamptz, event text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    read_max CONSTANT integer := 30000;
    -- Sessions that capture at the same time differ by less than a minute.
    up_to bigint := coalesce(CASE WHEN until < now() THEN webhook_internal.event_id_at(until + interval '1 minute') END,
                             9223372036854775807);
BEGIN
    RETURN QUERY
    WITH newest AS MATERIALIZED (
        (SELECT e.id, e.created_at, e.event, e.organization_id, e.data IS NOT NULL AS is_stored
         FROM @extschema@.webhook_events e WHERE NOT only_failed AND e.id <= up_to ORDER BY e.id DESC LIMIT read_max)
        UNION ALL
        (SELECT d.event_id, d.created_at, d.event, d.organization_id,
                EXISTS (SELECT FROM @extschema@.webhook_events e
                        WHERE e.slot = d.slot AND e.id = d.event_id AND e.data IS NOT NULL)
                OR EXISTS (SELECT FROM webhook_internal.saved_events k WHERE k.event_id = d.event_id)
         FROM @extschema@.webhook_deliveries d
         WHERE only_failed AND d.configuration_id = c.id AND d.configuration_created_at = c.created_at
           AND d.state = 'dead' AND d.event_id <= up_to
         ORDER BY d.event_id DESC LIMIT read_max / 3)
    ), saved AS MATERIALIZED (
        SELECT k.event_id AS id, k.created_at, k.event FROM webhook_internal.saved_events k
        WHERE NOT only_failed AND k.organization_id IS NOT DISTINCT FROM c.organization_id AND k.event_id <= up_to
        ORDER BY k.event_id DESC LIMIT read_max
    ), reached AS (
        SELECT max(r.created_at) AS at FROM (
            SELECT min(n.created_at) FROM newest n
            HAVING count(*) = CASE WHEN only_failed THEN read_max / 3 ELSE read_max END
            UNION ALL
            SELECT min(s.created_at) FROM saved s HAVING count(*) = read_max) r (created_at)
    ), own AS (
        SELECT n.id, n.created_at, n.event FROM newest n
        WHERE n.is_stored AND n.organization_id IS NOT DISTINCT FROM c.organization_id
        UNION ALL
        SELECT s.* FROM saved s WHERE s.id NOT IN (SELECT n.id FROM newest n)
    )
    (SELECT o.* FROM own o
     WHERE o.created_at >= since AND o.created_at < until
       AND o.created_at >= coalesce((SELECT r.at FROM reached r), '-infinity')
     ORDER BY o.id DESC)
    UNION ALL
    SELECT NULL, r.at, NULL FROM reached r WHERE r.at > since;
END
$$;
COMMENT ON FUNCTION
    webhook_internal.events_before(@extschema@.webhook_configurations, timestamptz, timestamptz, boolean) IS
    'The newest stored events of the webhook''s organization in [since, until), or those of its dead deliveries, among '
    '30000 events of all organizations, or 10000 dead deliveries, at most. If there may be older ones, a last row without '
    'id has the time to which it has looked back.';

CREATE FUNCTION webhook_internal.count_replay_operator(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean,
    OUT matched bigint, OUT counted_to timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    judged_max CONSTANT integer := 1000;
    c @extschema@.webhook_configurations;
    ids bigint[];
    judged_to timestamptz;
BEGIN
    PERFORM webhook_internal.check_replay(since, until, patterns, only_failed);
    SELECT w.* INTO c FROM @extschema@.webhook_configurations w WHERE w.id = webhook;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    WITH read AS MATERIALIZED (
        SELECT e.id, e.created_at, e.event FROM webhook_internal.events_before(c, since, until, only_failed) e
    ), named AS (  -- so that each name is compared once, and not with each event
        SELECT DISTINCT r.event FROM read r
    ), selected AS MATERIALIZED (
        SELECT n.event FROM named n
        WHERE webhook_internal.matches_any(c.events, n.event)
          AND (patterns IS NULL OR webhook_internal.matches_any(patterns, n.event))
    ), wanted AS MATERIALIZED (
        SELECT r.id, r.created_at, row_number() OVER (ORDER BY r.id DESC) AS place FROM read r
        WHERE r.id IS NOT NULL AND r.event IN (SELECT s.event FROM selected s)
    )
    SELECT count(*), (SELECT r.created_at FROM read r WHERE r.id IS NULL),
           CASE WHEN c.filter IS NOT NULL THEN array_agg(w.id) FILTER (WHERE w.place <= judged_max) END,
           min(w.created_at) FILTER (WHERE w.place = judged_max)
    INTO matched, counted_to, ids, judged_to FROM wanted w;
    IF c.filter IS NOT NULL THEN
        IF matched > judged_max THEN
            counted_to := judged_to;
        END IF;
        SELECT count(*) INTO matched FROM unnest(ids) i (id)
        JOIN LATERAL (
            SELECT e.data FROM @extschema@.webhook_events e WHERE e.id = i.id
            UNION ALL
            SELECT k.data FROM webhook_internal.saved_events k WHERE k.event_id = i.id LIMIT 1) d ON true
        WHERE @extschema@.webhook_filter_problem(c.filter, d.data) IS NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.count_replay_operator(uuid, timestamptz, timestamptz, text[], boolean) IS
    'How many events a replay would send: all of them if counted_to is null, otherwise those since then. Looks at the '
    'newest as events_before() does, and at 1000 at most if the webhook has a filter. Errors: 22004, 22023, 42704 if '
    'there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_replay_operator(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_internal.count_replay_tenant(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean,
    OUT matched bigint, OUT counted_to timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    SELECT n.matched, n.counted_to INTO matched, counted_to
    FROM webhook_internal.count_replay_operator(webhook, since, until, patterns, only_failed) n;
END
$$;
COMMENT ON FUNCTION webhook_internal.count_replay_tenant(uuid, timestamptz, timestamptz, text[], boolean) IS
    'count_replay_operator() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_replay_tenant(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_internal.start_replay_operator(
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
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.start_replay_operator(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_internal.start_replay_tenant(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.start_replay_operator(webhook, since, until, patterns, only_failed);
END
$$;
COMMENT ON FUNCTION webhook_internal.start_replay_tenant(uuid, timestamptz, timestamptz, text[], boolean) IS
    'start_replay_operator() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.start_replay_tenant(uuid, timestamptz, timestamptz, text[], boolean)');

-- Whoever sees the row may cancel it: the policies of webhook_replays and check_tenant() judge alike.
CREATE FUNCTION webhook_internal.cancel_replay_operator(job bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE @extschema@.webhook_replays r
    SET state = 'cancelled', reason = NULL, ended_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE r.id = job AND r.ended_at IS NULL;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_replay_operator(bigint) IS
    'Ends a replay, and returns whether it had not ended yet. Waits for a step that the worker is taking.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.cancel_replay_operator(bigint)');

CREATE FUNCTION webhook_internal.cancel_replay_tenant(job bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_replays r
                   WHERE r.id = job AND r.organization_id = (SELECT @extschema@.webhook_current_organization())) THEN
        RAISE EXCEPTION 'replay % does not exist, or belongs to another organization', job
            USING ERRCODE = 'undefined_object';
    END IF;
    RETURN webhook_internal.cancel_replay_operator(job);
END
$$;
COMMENT ON FUNCTION webhook_internal.cancel_replay_tenant(bigint) IS
    'cancel_replay_operator() for the session''s organization. Raises 42704 if it has no such replay.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.cancel_replay_tenant(bigint)');

-- webhook_test(): sends an event to a webhook, with its example or with other data.

CREATE FUNCTION webhook_internal.send_test(
    webhook uuid, created_at timestamptz, organization text, event text, data json, timeout_ms integer, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint,
    OUT url text, OUT headers text, OUT body text)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'webhook_send_test';
COMMENT ON FUNCTION webhook_internal.send_test(uuid, timestamptz, text, text, json, integer) IS
    'Asks a worker to send an event with this data to the webhook with this created_at, waits at most timeout_ms and 10 s '
    'more, and returns the result and the request. organization ('''' if there is none) is for the limit on its running '
    'tests. headers: lines separated by CR LF; the webhook''s own have *** as their values. Used by webhook_test().';

-- SECURITY DEFINER, because a role that may call send_test() can test any webhook.
CREATE FUNCTION webhook_internal.test_operator(
    webhook uuid, event text, payload json, OUT status text, OUT response_status integer, OUT response_body text,
    OUT error text, OUT duration_ms double precision, OUT log_id bigint, OUT request json)
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
    -- The example is the one that this session sees, so that request shows what was sent.
    payload := coalesce(payload, (SELECT t.example FROM @extschema@.webhook_event_types t WHERE t.name = event));
    SELECT t.status, t.response_status, t.response_body, t.error, t.duration_ms, t.log_id,
           json_build_object(
               'url', t.url,
               'headers', (SELECT json_object_agg(h.name, substr(l.line, length(h.name) + 3) ORDER BY l.place)
                           FROM string_to_table(t.headers, E'\r\n') WITH ORDINALITY l (line, place)
                           CROSS JOIN LATERAL split_part(l.line, ':', 1) h (name)),
               'body', t.body)
        INTO status, response_status, response_body, error, duration_ms, log_id, request
    FROM webhook_internal.send_test(webhook, tested.created_at, tested.organization, event, payload, tested.timeout_ms) t;
END
$$;
COMMENT ON FUNCTION webhook_internal.test_operator(uuid, text, json) IS 'webhook_test() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.test_operator(uuid, text, json)');

CREATE FUNCTION webhook_internal.test_tenant(
    webhook uuid, event text, payload json, OUT status text, OUT response_status integer, OUT response_body text,
    OUT error text, OUT duration_ms double precision, OUT log_id bigint, OUT request json)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id, request
    FROM webhook_internal.test_operator(webhook, event, payload) t;
END
$$;
COMMENT ON FUNCTION webhook_internal.test_tenant(uuid, text, json) IS 'webhook_test() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.test_tenant(uuid, text, json)');

CREATE FUNCTION @extschema@.webhook_test(
    configuration_id uuid, event text DEFAULT NULL, payload json DEFAULT NULL, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision,
    OUT log_id bigint, OUT request json)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
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
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id, request
        FROM webhook_internal.test_operator(configuration_id, tested, payload) t;
    ELSE
        SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id, request
        FROM webhook_internal.test_tenant(configuration_id, tested, payload) t;
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_test(uuid, text, json) IS
    'Sends an event to the webhook now and returns the result, as in webhook_logs, and the request (url, headers, body; '
    'values of the webhook''s own headers are ***). The default event is the webhook''s test_event, or else webhook.test. '
    'payload is the data of the event; null: the event''s example. A worker sends it once, also to an inactive webhook, '
    'and uses the committed row. Its log row stays if the transaction is rolled back. Raises an error if nothing was '
    'sent: 54000 if the payload exceeds webhook.max_payload, 53000 if too many tests run, 55000 if no worker runs, the '
    'database is paused or the webhook is not committed.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_test(uuid, text, json)');

-- What happened to an event (webhook_explain(), webhook_find()), and how to repeat a request by hand (webhook_curl()).

-- An event is settled when each of its deliveries was made or has a row that says what happened to it. Segments are
-- emptied only when their events are settled. SECURITY DEFINER, because tenants cannot read webhook_checkpoint.
CREATE FUNCTION webhook_internal.is_settled(event_id bigint) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM @extschema@.webhook_checkpoint)
       AND NOT EXISTS (SELECT FROM @extschema@.webhook_events e, @extschema@.webhook_checkpoint c
                       WHERE e.id = event_id AND NOT pg_visible_in_snapshot(e.xid, c.snapshot_from)
                         AND NOT (pg_visible_in_snapshot(e.xid, c.snapshot_to) AND e.id <= c.position))
$$;
COMMENT ON FUNCTION webhook_internal.is_settled(bigint) IS
    'Whether an event (webhook_events.id) is settled, as of the last checkpoint; false before the first one.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_settled(bigint)');

-- A missing organization may be the mistake. So a webhook without one is shown for every event that it subscribes to,
-- and an event without one shows every webhook that subscribes to it.
CREATE FUNCTION webhook_internal.explain_event(
    event_id bigint, happened_at timestamptz, event text, organization text, known_switch integer, log_from bigint,
    webhooks_max integer)
    RETURNS TABLE (configuration_id uuid, name text, matched boolean, reason text, outcome text, attempts integer,
                   last_attempt_at timestamptz, last_error text, next_attempt_at timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    payload json;
    is_settled CONSTANT boolean := webhook_internal.is_settled(event_id);
BEGIN
    IF has_column_privilege('@extschema@.webhook_own_events', 'data', 'SELECT') THEN
        SELECT e.data INTO payload FROM @extschema@.webhook_own_events e WHERE e.id = explain_event.event_id;
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
    FROM (SELECT w.* FROM (
              SELECT k.id, k.name, k.organization_id, k.events, k.filter, k.is_active, k.active_since, k.disabled_at,
                     k.disabled_reason, k.created_at, k.switches,
                     EXISTS (SELECT FROM unnest(k.events) p
                             WHERE @extschema@.webhook_event_matches(p, explain_event.event)) AS wants
              FROM @extschema@.webhook_configurations k
              WHERE k.organization_id = organization
                 OR organization IS NULL OR k.organization_id IS NULL) w
          WHERE w.organization_id IS NOT DISTINCT FROM organization
             OR w.wants AND (w.organization_id IS NULL OR organization IS NULL)
          ORDER BY NOT w.wants, w.name, w.id LIMIT webhooks_max) c
    LEFT JOIN @extschema@.webhook_deliveries d
           ON d.configuration_id = c.id AND d.event_id = explain_event.event_id
              AND d.configuration_created_at = c.created_at
              AND d.organization_id IS NOT DISTINCT FROM c.organization_id
    LEFT JOIN LATERAL (
        (SELECT a.status, a.attempt, a.created_at, a.error FROM @extschema@.webhook_logs a
         WHERE log_from IS NULL AND a.configuration_id = c.id AND a.event_id = explain_event.event_id
           AND a.organization_id IS NOT DISTINCT FROM c.organization_id
         ORDER BY a.id DESC LIMIT 1)
        UNION ALL
        (SELECT a.status, a.attempt, a.created_at, a.error
         FROM (SELECT r.id, r.event_id, r.organization_id, r.status, r.attempt, r.created_at, r.error
               FROM @extschema@.webhook_logs r
               WHERE r.configuration_id = c.id AND r.id >= log_from AND (c.wants OR d.state IS NOT NULL)
               ORDER BY r.id LIMIT 1000) a
         WHERE a.event_id = explain_event.event_id AND a.organization_id IS NOT DISTINCT FROM c.organization_id
         ORDER BY a.id DESC LIMIT 1)) l ON true
    LEFT JOIN LATERAL (SELECT u.reason FROM webhook_internal.given_up u
                       WHERE u.configuration_id = c.id
                         AND explain_event.event_id BETWEEN u.first_event_id AND u.last_event_id
                       ORDER BY u.minute LIMIT 1) g ON true
    CROSS JOIN LATERAL (SELECT CASE
        WHEN d.state IS NOT NULL OR l.status IS NOT NULL THEN NULL
        WHEN c.organization_id IS DISTINCT FROM organization THEN
            format('organization: the webhook is of %s, the event of %s', coalesce(c.organization_id, 'none'),
                   coalesce(organization, 'none'))
        WHEN NOT c.wants THEN format('pattern: %s does not match %s', c.events, explain_event.event)
        WHEN g.reason IS NOT NULL THEN NULL
        WHEN NOT c.is_active THEN concat_ws(': ', 'inactive: since ' || c.disabled_at, c.disabled_reason)
        WHEN NOT webhook_internal.was_active(c.is_active, c.switches, known_switch) THEN
            format('active since %s, the event is of %s', c.active_since, happened_at)
        WHEN payload IS NOT NULL THEN @extschema@.webhook_filter_problem(c.filter, payload)
        WHEN c.filter IS NOT NULL THEN format('filter: %s may not match', c.filter) END AS obstacle) m
    ORDER BY m.obstacle IS NOT NULL, c.name, c.id;
END
$$;
COMMENT ON FUNCTION webhook_internal.explain_event(bigint, timestamptz, text, text, integer, bigint, integer) IS
    'The rows of webhook_explain() for an event that was found. log_from: looks only at 1000 log rows of each webhook from '
    'this id on; null looks at all. webhooks_max: at most so many webhooks, those that subscribe to it first; null: all.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.explain_event(bigint, timestamptz, text, text, integer, bigint, integer)');

CREATE FUNCTION @extschema@.webhook_explain(event_id bigint)
    RETURNS TABLE (configuration_id uuid, name text, matched boolean, reason text, outcome text, attempts integer,
                   last_attempt_at timestamptz, last_error text, next_attempt_at timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    happened record;
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
                         'webhook.event_retention. webhook_find() finds the id of an evt_... .';
    END IF;
    RETURN QUERY
    SELECT x.* FROM webhook_internal.explain_event(
        webhook_explain.event_id, happened.created_at, happened.event, happened.organization_id, happened.known_switch,
        NULL, NULL) x;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_explain(bigint) IS
    'For an event (webhook_events.id) and each webhook of its organization: whether it matched, or the reason why not '
    '(organization, pattern, filter, inactive, active since later), and the outcome: delivered, pending, dead, failed '
    '(and nothing is pending), waiting (not tried yet), settled (nothing is pending, and its log rows are gone). '
    'Raises 42704 if the event is not stored or belongs to another organization.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_explain(bigint)');

-- Runs with the rights of its caller: an operator, or the owner in find_tenant(). A log row may outlive its event.
CREATE FUNCTION webhook_internal.find_operator(webhook_id text)
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
COMMENT ON FUNCTION webhook_internal.find_operator(text) IS 'webhook_find() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.find_operator(text)');

CREATE FUNCTION webhook_internal.find_tenant(webhook_id text)
    RETURNS TABLE (event_id bigint, created_at timestamptz, event text, organization_id text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.* FROM webhook_internal.find_operator(webhook_id) f
    WHERE f.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;
COMMENT ON FUNCTION webhook_internal.find_tenant(text) IS 'webhook_find() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.find_tenant(text)');

CREATE FUNCTION @extschema@.webhook_find(webhook_id text)
    RETURNS TABLE (event_id bigint, created_at timestamptz, event text, organization_id text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    IF webhook_id !~ '^evt_[0-9a-z]{26}$' THEN
        RAISE EXCEPTION 'invalid webhook-id "%"', webhook_id
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'A webhook-id is evt_ and 26 characters, as in the header webhook-id.';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN QUERY SELECT f.* FROM webhook_internal.find_operator(webhook_id) f;
    ELSE
        RETURN QUERY SELECT f.* FROM webhook_internal.find_tenant(webhook_id) f;
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_find(text) IS
    'The event with this webhook-id (evt_...), if it belongs to the caller''s organization and is stored or logged; '
    'otherwise no row. Raises 22023 if the text is not such an id.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_find(text)');

-- A shell takes everything within single quotes literally, except a single quote.
CREATE FUNCTION webhook_internal.shell_quote(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '''' || replace(value, '''', E'''\\''''') || ''''
$$;
COMMENT ON FUNCTION webhook_internal.shell_quote(text) IS 'The text as one word for a POSIX shell.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.shell_quote(text)');

-- The timestamp is that of the log row, so that the signatures are those that were sent.
CREATE FUNCTION @extschema@.webhook_curl(log_id bigint) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET enable_seqscan = off  -- without statistics the planner does not find the BRIN index
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
        RAISE EXCEPTION 'log row % is not of an attempt', log_id
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
    SELECT e.webhook_id, webhook_internal.body(e.event, e.created_at, e.data, e.previous, e.backfill) AS body INTO happened
    FROM @extschema@.webhook_own_events e WHERE e.id = attempt.event_id AND e.data IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'event % is no longer stored', attempt.event_id
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
COMMENT ON FUNCTION @extschema@.webhook_curl(bigint) IS
    'An attempt (webhook_logs.id) as a curl command for a POSIX shell. The URL and the headers are the webhook''s '
    'current ones. The time and the signatures are those of the attempt, unless the secret has changed. Errors: 42704 '
    'if the log row or its webhook does not exist, 55000 if the event is not stored or the row is not of an attempt '
    'with an event.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_curl(bigint)');

-- webhook_check(): what is wrong with a webhook.

-- The part of webhook_check() about the sources of the webhook's events. In PL/pgSQL with a generic plan, because planning it
-- takes many times what running it does.
CREATE FUNCTION webhook_internal.check_sources(configuration_id uuid)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
    WITH webhook AS (
        SELECT c.organization_id, c.events FROM @extschema@.webhook_configurations c
        WHERE c.id = check_sources.configuration_id
    ), wanted AS (
        SELECT t.name FROM @extschema@.webhook_event_types t, webhook w
        WHERE EXISTS (SELECT FROM unnest(w.events) p WHERE @extschema@.webhook_event_matches(p, t.name))
    ), watch AS (
        SELECT s.source, s.event, s.trigger_name, s.is_enabled, s.organization_column, s.on_replicated,
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
    SELECT 'warning', format('changes of table %s that logical replication applies (%s) do not cause %s', s.source,
                             array_to_string(n.names, ', '), s.event),
           'Declare the event again with webhook_watch(..., on_replicated => true).'
    FROM watch s CROSS JOIN LATERAL webhook_internal.subscriptions_of(s.source) n (names)
    WHERE s.is_enabled AND NOT s.on_replicated AND n.names IS NOT NULL
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
    SELECT 'warning', format('rows of %s do not cause %s: %s from %s, but triggers are not inherited',
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
           'Declare the events again, or create another webhook.'
    FROM webhook w
    WHERE EXISTS (SELECT FROM watch)
      AND NOT EXISTS (SELECT FROM watch s WHERE (s.organization_column IS NULL) = (w.organization_id IS NULL));
END
$$;
COMMENT ON FUNCTION webhook_internal.check_sources(uuid) IS
    'The findings of webhook_check() about the sources of the webhook''s events.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_sources(uuid)');

-- The part of webhook_check() about subscriptions of logical replication that bring the webhook's events. In PL/pgSQL for
-- the same reason.
CREATE FUNCTION webhook_internal.check_subscriptions(configuration_id uuid)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
    WITH bringing AS (
        SELECT DISTINCT n.name
        FROM @extschema@.webhook_configurations c, unnest(c.events) p, @extschema@.webhook_watches w,
             unnest(webhook_internal.subscriptions_of(w.source)) n (name)
        WHERE c.id = check_subscriptions.configuration_id AND w.on_replicated
          AND @extschema@.webhook_event_matches(p, w.event)
    )
    SELECT f.severity, f.finding, f.hint
    FROM bringing b
    JOIN pg_subscription s ON s.subname = b.name
     AND s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    CROSS JOIN LATERAL (SELECT coalesce(webhook_internal.has_lost_slot(s.oid), false)) l (is_lost)
    CROSS JOIN LATERAL (VALUES
        (NOT s.subenabled, 'error', format('subscription %I, which brings events of it, is disabled', b.name),
         format('The server log says why, if an error has disabled it. Then: ALTER SUBSCRIPTION %I ENABLE;', b.name)),
        (s.subenabled AND l.is_lost, 'error',
         format('the replication slot of subscription %I, which brings events of it, is lost: nothing comes any more', b.name),
         format(E'An operator copies the tables again, and is told what was missed: SELECT webhook_node_resync(%L) \\gexec', b.name)),
        (s.subenabled AND NOT l.is_lost
         AND NOT EXISTS (SELECT FROM pg_stat_subscription w
                         WHERE w.subid = s.oid AND w.pid IS NOT NULL AND w.relid IS NULL),
         'error', format('subscription %I, which brings events of it, has no worker', b.name),
         format('The source cannot be reached, a change cannot be applied, or max_logical_replication_workers is too low. '
                'Operators: webhook_subscriptions.last_error says which, and webhook_node_check(%L) what mends it.', b.name)),
        (EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r'), 'info',
         format('subscription %I is still copying tables', b.name),
         'Rows that are copied are events only with webhook_watch(..., backfill => true).')
    ) f (applies, severity, finding, hint)
    WHERE f.applies;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_subscriptions(uuid) IS
    'The findings of webhook_check() about subscriptions of logical replication that bring events of the webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_subscriptions(uuid)');

-- The part of webhook_check() about the secrets that sign requests. tenancy.sql explains _tenant and _operator. Here
-- both only read.
CREATE FUNCTION webhook_internal.check_secrets_operator(webhook uuid) RETURNS text
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
COMMENT ON FUNCTION webhook_internal.check_secrets_operator(uuid) IS
    'check_secrets_tenant() for operators: webhooks of any organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_secrets_operator(uuid)');

CREATE FUNCTION webhook_internal.check_secrets_tenant(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.check_secrets_operator(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;
COMMENT ON FUNCTION webhook_internal.check_secrets_tenant(uuid) IS
    'Why the secrets of a webhook of the session''s organization cannot sign; null if they can, and for other '
    'webhooks. Used by webhook_check().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_secrets_tenant(uuid)');

-- The part of webhook_check() about the shares of the webhook's organization.
CREATE FUNCTION webhook_internal.check_shares_operator(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg('webhook_' || s.storage, ' and ' ORDER BY s.storage)
    FROM @extschema@.webhook_configurations c, unnest(ARRAY['events', 'logs']) s (storage)
    WHERE c.id = webhook AND webhook_internal.used_share(c.organization_id, s.storage) > 0.9
$$;
COMMENT ON FUNCTION webhook_internal.check_shares_operator(uuid) IS
    'check_shares_tenant() for operators: webhooks of any organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_shares_operator(uuid)');

CREATE FUNCTION webhook_internal.check_shares_tenant(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.check_shares_operator(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;
COMMENT ON FUNCTION webhook_internal.check_shares_tenant(uuid) IS
    'The tables (webhook_events, webhook_logs) in which the session''s organization has used more than 90 % of its '
    'share; null if none, and for webhooks of other organizations.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_shares_tenant(uuid)');

-- The part of webhook_check() about deliveries that have waited more than 2 s for another transaction.
CREATE FUNCTION webhook_internal.check_deferred_operator(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s deliveries wait to be recorded since %s: an open or prepared transaction has called '
                  'webhook_cancel(), webhook_replay() or webhook_redeliver(), or a row is refused (the server log '
                  'says why)',
                  CASE WHEN w.waiting > 1000 THEN 'more than 1000' ELSE w.waiting::text END, w.since)
    FROM (SELECT count(*) AS waiting, min(d.deferred_at) AS since
          FROM (SELECT c.deferred_at FROM webhook_internal.deferred_changes c WHERE c.configuration_id = webhook
                ORDER BY c.id LIMIT 1001) d) w
    WHERE w.since < clock_timestamp() - interval '2 s'
$$;
COMMENT ON FUNCTION webhook_internal.check_deferred_operator(uuid) IS
    'check_deferred_tenant() for operators: webhooks of any organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_deferred_operator(uuid)');

CREATE FUNCTION webhook_internal.check_deferred_tenant(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.check_deferred_operator(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;
COMMENT ON FUNCTION webhook_internal.check_deferred_tenant(uuid) IS
    'A finding about deliveries of a webhook of the session''s organization that wait to be recorded; null if there '
    'are none, and for other webhooks.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_deferred_tenant(uuid)');

-- The part of webhook_check() about the server.
CREATE FUNCTION webhook_internal.check_server() RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    server record;
    preloaded boolean := @extschema@.webhook_is_preloaded();
    library text := webhook_internal.library_version();
    installed text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook');
    is_served boolean := webhook_internal.series(library) = webhook_internal.series(installed);
BEGIN
    SELECT * INTO server FROM @extschema@.webhook_server_state();
    RETURN QUERY
    SELECT f.severity, f.finding, f.hint FROM (VALUES
        (NOT preloaded, 'error', 'the server does not preload the library: events are recorded, but not delivered',
         'Add webhook to shared_preload_libraries in postgresql.conf and restart the server.'),
        (NOT is_served, 'error',
         format('the library is of version %s, and the extension of version %s: events are recorded, but not delivered',
                library, installed),
         CASE WHEN webhook_internal.series(library) > webhook_internal.series(installed)
              THEN 'ALTER EXTENSION webhook UPDATE;'
              ELSE 'Install that version of the library and restart the server.' END),
        (is_served AND library <> installed, 'info',
         format('the library is of version %s, and the extension of version %s: this version is served too', library,
                installed),
         'ALTER EXTENSION webhook UPDATE;'),
        (preloaded AND is_served AND server.workers + server.workers_asleep + server.workers_waiting = 0, 'error',
         'no worker runs for this database',
         'One starts within moments. If none does, the server log says why: too few max_worker_processes, or more '
         'databases than webhook.max_databases.'),
        (server.workers_waiting > 0, 'warning',
         format('%s of %s workers of this database wait for a background worker slot', server.workers_waiting,
                current_setting('webhook.workers', true)),
         format('Workers of all databases take turns, because there are fewer slots than have something to do: increase '
                'max_worker_processes (now %s) and restart the server, or decrease webhook.workers.',
                current_setting('max_worker_processes'))),
        (server.workers_waiting = 0 AND server.workers + server.workers_asleep
             BETWEEN 1 AND current_setting('webhook.workers', true)::integer - 1, 'warning',
         format('only %s of %s workers run for this database: the webhooks of the others wait',
                server.workers + server.workers_asleep, current_setting('webhook.workers', true)),
         'They start within moments. If they do not, the server log says why.'),
        (current_setting('webhook.enabled', true) = 'off', 'error', 'webhook.enabled is off for the server',
         'Set it to on in postgresql.conf and reload. Until then, events are recorded and wait.'),
        (server.is_paused, 'error', 'this database is paused' || coalesce(': ' || server.paused_reason, ''),
         'SELECT webhook_resume();'),
        (current_setting('webhook.capture', true) = 'off', 'error', 'webhook.capture is off: no events are recorded',
         'Set it to subscribed.')
    ) f (applies, severity, finding, hint) WHERE f.applies;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_server() IS 'The findings of webhook_check() that all webhooks share.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_server()');

-- The part of webhook_check() about what the webhook is set to.
CREATE FUNCTION webhook_internal.check_settings(webhook @extschema@.webhook_configurations)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    secret_problem text;
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        secret_problem := webhook_internal.check_secrets_operator(webhook.id);
    ELSE
        secret_problem := webhook_internal.check_secrets_tenant(webhook.id);
    END IF;
    RETURN QUERY
    SELECT f.severity, f.finding, f.hint FROM (VALUES
        (NOT webhook.is_active, 'error',
         'the webhook is inactive' || coalesce(' since ' || webhook.disabled_at, '')
         || coalesce(': ' || webhook.disabled_reason, ''),
         'UPDATE webhook_configurations SET is_active = true ...; webhook_replay() sends the events that it missed.'),
        (@extschema@.webhook_url_problem(webhook.url) IS NOT NULL, 'error',
         'its URL is refused: ' || @extschema@.webhook_url_problem(webhook.url),
         'Correct the URL, or the setting that refuses it.'),
        (secret_problem IS NOT NULL, 'error', secret_problem,
         'Nothing is sent unsigned. Put the key back into webhook.secret_key_file and reload, or give the webhook '
         'another secret.')
    ) f (applies, severity, finding, hint) WHERE f.applies;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_settings(@extschema@.webhook_configurations) IS
    'The findings of webhook_check() about the settings of a webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_settings(@extschema@.webhook_configurations)');

-- The part of webhook_check() about the attempts of the webhook and its endpoint.
CREATE FUNCTION webhook_internal.check_attempts(webhook @extschema@.webhook_configurations)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    latest record;
    endpoint record;
    unjudged bigint;
BEGIN
    SELECT e.circuit_opened_at, e.next_probe_at, e.failing_since, e.last_error, e.filter_failed_at, e.filter_error
    INTO endpoint
    FROM @extschema@.webhook_endpoints e
    WHERE e.configuration_id = webhook.id AND e.configuration_created_at = webhook.created_at
      AND e.organization_id IS NOT DISTINCT FROM webhook.organization_id;
    IF endpoint.filter_failed_at > now() - interval '24 hours' THEN
        SELECT sum(m.unjudged) INTO unjudged
        FROM @extschema@.webhook_minutes m
        WHERE m.configuration_id = webhook.id AND m.configuration_created_at = webhook.created_at
          AND m.organization_id IS NOT DISTINCT FROM webhook.organization_id AND m.minute > now() - interval '24 hours';
    END IF;
    SELECT l.created_at, l.status, l.error INTO latest FROM @extschema@.webhook_logs l
    WHERE l.configuration_id = webhook.id
      AND l.organization_id IS NOT DISTINCT FROM webhook.organization_id
    ORDER BY l.id DESC LIMIT 1;

    RETURN QUERY
    SELECT f.severity, f.finding, f.hint FROM (VALUES
        (latest.created_at IS NULL, 'info', 'nothing has been sent yet',
         'It receives events that were captured after it became active. webhook_explain() shows what happened to one.'),
        (latest.status = 'success', 'info', format('the last attempt, at %s, was successful', latest.created_at),
         NULL),
        (latest.status = 'failed', 'warning',
         format('the last attempt, at %s, failed: %s', latest.created_at, latest.error),
         'webhook_logs has the response; webhook_curl() repeats the request by hand.'),
        (endpoint.circuit_opened_at IS NOT NULL, 'warning',
         format('its endpoint has failed since %s: the circuit is open, and one delivery is tried at %s: %s',
                endpoint.failing_since, endpoint.next_probe_at, endpoint.last_error),
         'Pending deliveries wait. When the endpoint answers again, all of them are sent, the oldest first.'),
        (unjudged > 0 AND endpoint.filter_failed_at IS NOT NULL, 'warning',
         format('its filter could not judge %s events in the last 24 hours, which were not delivered; the last at %s: '
                '%s', unjudged, endpoint.filter_failed_at, endpoint.filter_error),
         'webhook_explain() says why for each event. Correct the filter. webhook_replay() then sends the events that '
         'match.')
    ) f (applies, severity, finding, hint) WHERE f.applies;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_attempts(@extschema@.webhook_configurations) IS
    'The findings of webhook_check() about the attempts of a webhook and its endpoint.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_attempts(@extschema@.webhook_configurations)');

-- The part of webhook_check() about deliveries that wait or were given up.
CREATE FUNCTION webhook_internal.check_deliveries(webhook @extschema@.webhook_configurations)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    backlog record;
    dropped record;
    used_up text;
    deferred text;
BEGIN
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        used_up := webhook_internal.check_shares_operator(webhook.id);
        deferred := webhook_internal.check_deferred_operator(webhook.id);
    ELSE
        used_up := webhook_internal.check_shares_tenant(webhook.id);
        deferred := webhook_internal.check_deferred_tenant(webhook.id);
    END IF;
    SELECT b.* INTO backlog FROM webhook_internal.count_deliveries(
        webhook.id, webhook.created_at, webhook.organization_id, 1001) b;
    SELECT sum(g.deliveries) AS deliveries, max(g.minute) AS latest,
           (array_agg(g.reason ORDER BY g.minute DESC))[1] AS reason INTO dropped
    FROM webhook_internal.given_up g
    WHERE g.configuration_id = webhook.id
      AND g.organization_id IS NOT DISTINCT FROM webhook.organization_id;

    RETURN QUERY
    SELECT f.severity, f.finding, f.hint FROM (VALUES
        (deferred IS NOT NULL, 'warning', deferred,
         'Until then, failed deliveries are not retried. pg_stat_activity and pg_prepared_xacts show open '
         'transactions.'),
        (backlog.pending > 0, 'info',
         format('%s deliveries are pending, the next is due at %s',
                CASE WHEN backlog.pending > 1000 THEN 'more than 1000' ELSE backlog.pending::text END,
                backlog.next_attempt_at),
         'webhook_cancel() gives them up.'),
        (backlog.dead > 0, 'warning',
         format('%s deliveries were given up',
                CASE WHEN backlog.dead > 1000 THEN 'more than 1000' ELSE backlog.dead::text END),
         'webhook_deliveries.last_error says why; webhook_replay(..., only_failed => true) sends them again.'),
        (used_up IS NOT NULL, 'warning',
         format('its organization has used up its share of %s: what it writes beyond that is kept for a shorter time',
                used_up),
         'Send fewer or smaller events, or raise webhook.organization_share.'),
        (dropped.deliveries > 0, 'warning',
         format('%s deliveries were given up, the last at %s: %s', dropped.deliveries, dropped.latest, dropped.reason),
         'In webhook_logs one row with attempt 0 stands for many of them. webhook_replay() sends those again that have '
         'a stored event.')
    ) f (applies, severity, finding, hint) WHERE f.applies;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_deliveries(@extschema@.webhook_configurations) IS
    'The findings of webhook_check() about deliveries of a webhook that wait or were given up.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_deliveries(@extschema@.webhook_configurations)');

CREATE FUNCTION webhook_internal.check_webhook(configuration_id uuid)
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
    RETURN QUERY SELECT a.severity, a.finding, a.hint FROM webhook_internal.check_attempts(webhook) a;
    RETURN QUERY SELECT d.severity, d.finding, d.hint FROM webhook_internal.check_deliveries(webhook) d;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_webhook(uuid) IS
    'The findings of webhook_check() about the webhook itself. Raises 42704 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_webhook(uuid)');

CREATE FUNCTION @extschema@.webhook_check(configuration_id uuid)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c WHERE c.id = webhook_check.configuration_id) THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', configuration_id
            USING ERRCODE = 'undefined_object';
    END IF;
    RETURN QUERY SELECT s.severity, s.finding, s.hint FROM webhook_internal.check_server() s;
    RETURN QUERY SELECT w.severity, w.finding, w.hint FROM webhook_internal.check_webhook(configuration_id) w;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_check(uuid) IS
    'Why nothing arrives: the findings about a webhook and its surroundings, each with a hint. severity: error and '
    'warning for what is wrong, info for the state. Raises 42704 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_check(uuid)');

-- webhook_health(): whether this database delivers, for monitoring that asks every few seconds.
--
-- It reads what the workers write into shared memory, the one row of webhook_instance, and the catalog: no table that
-- grows. It waits for no lock: lock_timeout is 1 ms, and a locked table is a finding. What it returns has no names,
-- URLs or payloads of tenants. One organization's dead endpoints, floods and missing secrets do not change it.

CREATE FUNCTION webhook_internal.without_slots_since() RETURNS timestamptz
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_without_slots_since';
COMMENT ON FUNCTION webhook_internal.without_slots_since() IS
    'Since when the server has had too few background worker slots to start all workers. Null: it has enough.';

CREATE TYPE webhook_internal.health_facts AS (
    is_standby boolean, is_preloaded boolean, is_template boolean, is_enabled boolean, captures boolean,
    sql_version text, library_version text, without_slots_since timestamptz,
    locked text, is_paused boolean, paused_reason text, subscriptions bigint, subscriptions_stopped bigint,
    subscriptions_lost bigint, workers bigint, workers_asleep bigint, workers_waiting bigint, workers_wanted bigint, webhooks bigint,
    undecryptable bigint, open_circuits bigint,
    organizations bigint, failing_organizations bigint, in_flight bigint, queued bigint, events_ahead bigint,
    sent bigint, failed bigint, logged bigint, given_up bigint, oldest_event_at timestamptz,
    oldest_report_at timestamptz, last_error_at timestamptz, failing_since timestamptz, overdue_since timestamptz,
    pending bigint, dead bigint, event_bytes bigint, events_kept_since timestamptz, log_bytes bigint,
    logs_kept_since timestamptz, event_bytes_max bigint, log_bytes_max bigint);
COMMENT ON TYPE webhook_internal.health_facts IS
    'What webhook_health() and webhook_metrics() go by. locked: the table that could not be read without waiting.';

-- What could wait for a lock: each part is left out if it would. For the owner only, because it counts all watches.
CREATE FUNCTION webhook_internal.health_of_tables(
    OUT locked text, OUT is_paused boolean, OUT paused_reason text, OUT subscriptions bigint,
    OUT subscriptions_stopped bigint, OUT subscriptions_lost bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' SET jit = off
AS $$
BEGIN
    is_paused := false;
    BEGIN
        SELECT coalesce(i.is_paused, false), i.paused_reason INTO is_paused, paused_reason
        FROM (SELECT) this LEFT JOIN @extschema@.webhook_instance i ON true;
    EXCEPTION WHEN lock_not_available THEN
        locked := 'webhook_instance';
    END;
    subscriptions := 0;
    subscriptions_stopped := 0;
    subscriptions_lost := 0;
    IF EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
               WHERE d.datname = current_database()) THEN
        BEGIN
            SELECT count(*), count(*) FILTER (WHERE s.state IN ('disabled', 'stopped', 'lost')),
                   count(*) FILTER (WHERE s.state = 'lost')
            INTO subscriptions, subscriptions_stopped, subscriptions_lost
            FROM @extschema@.webhook_subscriptions s WHERE s.watched IS NOT NULL;
        EXCEPTION WHEN lock_not_available THEN
            locked := concat_ws(' and ', locked, 'a watched table');
        END;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.health_of_tables() IS
    'Whether deliveries are paused, and the subscriptions of this database that bring changes of watched tables. Waits '
    'for no lock.';

CREATE FUNCTION webhook_internal.health_facts() RETURNS webhook_internal.health_facts
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT ROW(
        pg_is_in_recovery(), @extschema@.webhook_is_preloaded(), d.datistemplate,
        current_setting('webhook.enabled', true) IS DISTINCT FROM 'off',
        current_setting('webhook.capture', true) IS DISTINCT FROM 'off',
        (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook'), webhook_internal.library_version(),
        webhook_internal.without_slots_since(),
        t.locked, t.is_paused, t.paused_reason, t.subscriptions, t.subscriptions_stopped,
        t.subscriptions_lost, w.workers, w.workers_asleep, webhook_internal.workers_waiting(),
        coalesce(current_setting('webhook.workers', true), '1')::bigint, w.webhooks, w.undecryptable,
        w.open_circuits, w.organizations, w.failing_organizations, w.in_flight, w.queued, w.events_ahead, w.sent,
        w.failed, w.logged, w.given_up, w.oldest_event_at, w.oldest_report_at, w.last_error_at, w.failing_since,
        w.overdue_since, w.pending, w.dead, w.event_bytes, w.events_kept_since, w.log_bytes, w.logs_kept_since,
        pg_size_bytes(current_setting('webhook.max_event_size', true)),
        pg_size_bytes(current_setting('webhook.max_log_size', true)))::webhook_internal.health_facts
    FROM pg_database d, webhook_internal.health_of_tables() t, LATERAL (
        SELECT count(s.pid) AS workers, count(*) - count(s.pid) AS workers_asleep,
               coalesce(sum(s.webhooks), 0)::bigint AS webhooks,
               coalesce(sum(s.undecryptable), 0)::bigint AS undecryptable,
               coalesce(sum(s.open_circuits), 0)::bigint AS open_circuits,
               coalesce(sum(s.organizations), 0)::bigint AS organizations,
               coalesce(sum(s.failing_organizations), 0)::bigint AS failing_organizations,
               coalesce(sum(s.in_flight), 0)::bigint AS in_flight, coalesce(sum(s.queued), 0)::bigint AS queued,
               coalesce(sum(s.events_ahead), 0)::bigint AS events_ahead, coalesce(sum(s.sent), 0)::bigint AS sent,
               coalesce(sum(s.failed), 0)::bigint AS failed, coalesce(sum(s.logged), 0)::bigint AS logged,
               coalesce(sum(s.given_up), 0)::bigint AS given_up, min(s.oldest_event_at) AS oldest_event_at,
               min(s.reported_at) FILTER (WHERE s.pid IS NOT NULL) AS oldest_report_at,
               max(s.last_error_at) AS last_error_at,
               min(s.failing_since) AS failing_since, min(s.overdue_since) AS overdue_since,
               max(s.pending) AS pending, max(s.dead) AS dead, coalesce(max(s.event_bytes), 0) AS event_bytes,
               min(s.events_kept_since) AS events_kept_since, coalesce(max(s.log_bytes), 0) AS log_bytes,
               min(s.logs_kept_since) AS logs_kept_since
        FROM webhook_internal.worker_slots() s WHERE s.database = d.oid) w
    WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION webhook_internal.health_facts() IS
    'The sums of what the workers of this database tell, and the state of the server.';

-- The findings about the server and the processes. What is paused or switched off is deliberate, so it is degraded.
CREATE FUNCTION webhook_internal.health_of_processes(f webhook_internal.health_facts)
    RETURNS TABLE (component text, status text, reason text, remedy text)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.component, p.status, p.reason, p.remedy FROM (VALUES
        (NOT f.is_preloaded, 'server', 'failing',
         'the server does not preload the library: events are recorded, but not delivered',
         'Add webhook to shared_preload_libraries in postgresql.conf and restart the server.'),
        (NOT f.captures, 'server', 'failing', 'webhook.capture is off: changes cause no events, and cannot be caught up on',
         'Set webhook.capture to subscribed in postgresql.conf and reload.'),
        (webhook_internal.series(f.sql_version) <> webhook_internal.series(f.library_version), 'server', 'failing',
         format('extension "webhook" is of version %s, and the library of version %s: nothing is delivered',
                f.sql_version, f.library_version),
         'If the package was upgraded, restart the server. Then ALTER EXTENSION webhook UPDATE in each database.'),
        (f.locked IS NOT NULL, 'server', 'degraded',
         format('%s is locked by another session and was not read', f.locked),
         'pg_locks and pg_blocking_pids() show who holds the lock.'),
        (NOT f.is_enabled, 'switches', 'degraded', 'webhook.enabled is off: nothing is delivered',
         'Set it to on in postgresql.conf and reload. Until then, events are recorded and wait.'),
        (f.is_paused, 'switches', 'degraded',
         'this database is paused' || coalesce(': ' || f.paused_reason, ''), 'SELECT webhook_resume();'),
        (f.is_preloaded AND f.workers + f.workers_asleep = 0 AND f.is_template, 'workers', 'degraded',
         'this database is a template: it has no worker', 'ALTER DATABASE ... IS_TEMPLATE false, if it is to deliver.'),
        (f.is_preloaded AND f.workers + f.workers_asleep + f.workers_waiting = 0 AND NOT f.is_template, 'workers',
         'failing', 'no worker runs for this database'
         || coalesce(': the server is out of background worker slots since ' || f.without_slots_since, ''),
         CASE WHEN f.without_slots_since IS NOT NULL
              THEN format('Increase max_worker_processes (now %s) and restart, or decrease webhook.workers (now %s).',
                          current_setting('max_worker_processes'), f.workers_wanted)
              ELSE 'One starts within a minute. If none does, the server log says why.' END),
        (f.workers_waiting > 0, 'workers', 'degraded',
         format('%s of %s workers wait for a background worker slot', f.workers_waiting, f.workers_wanted)
         || coalesce(', and the server has had too few since ' || f.without_slots_since, ''),
         format('Workers of all databases take turns. Increase max_worker_processes (now %s) and restart, or decrease '
                'webhook.workers (now %s).', current_setting('max_worker_processes'), f.workers_wanted)),
        (f.workers_waiting = 0 AND f.workers + f.workers_asleep BETWEEN 1 AND f.workers_wanted - 1, 'workers',
         'degraded', format('only %s of %s workers run: the webhooks of the others wait', f.workers + f.workers_asleep,
                f.workers_wanted),
         'They start within a minute. If they do not, the server log says why.'),
        (f.oldest_report_at < clock_timestamp() - interval '30 s', 'workers',
         CASE WHEN f.oldest_report_at < clock_timestamp() - interval '2 min' THEN 'failing' ELSE 'degraded' END,
         format('a worker has not come back from the database since %s', f.oldest_report_at),
         'pg_stat_activity shows what it waits for, and pg_blocking_pids(pid) for whom.'),
        (f.failing_since < clock_timestamp() - interval '10 s', 'database', 'failing',
         format('the transactions of a worker have failed since %s: results are not recorded', f.failing_since),
         'The server log has the error: "the worker''s transaction failed". Nothing is lost. Remove the cause.'),
        (f.last_error_at > clock_timestamp() - interval '5 min'
         AND f.failing_since >= clock_timestamp() - interval '10 s' IS NOT FALSE, 'database', 'degraded',
         format('a transaction of a worker failed at %s', f.last_error_at),
         'It was repeated. The server log has the error.')
    ) p (applies, component, status, reason, remedy) WHERE p.applies
$$;
COMMENT ON FUNCTION webhook_internal.health_of_processes(webhook_internal.health_facts) IS
    'The findings of webhook_health() about the server, the switches, the workers and their transactions.';

-- The findings about what is delivered. The filters of an organization may hold up its events for a minute, so lag begins
-- beyond that.
CREATE FUNCTION webhook_internal.health_of_deliveries(f webhook_internal.health_facts)
    RETURNS TABLE (component text, status text, reason text, remedy text)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.component, p.status, p.reason, p.remedy FROM (VALUES
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
         'webhook_subscriptions shows which, with the last error. webhook_node_check() tells what mends it.')
    ) p (applies, component, status, reason, remedy) WHERE p.applies
$$;
COMMENT ON FUNCTION webhook_internal.health_of_deliveries(webhook_internal.health_facts) IS
    'The findings of webhook_health() about deliveries, storage, secrets, endpoints and subscriptions.';

-- The same rows in each answer, so that each is a time series. On a standby nothing is to be delivered.
CREATE FUNCTION webhook_internal.health_of(f webhook_internal.health_facts)
    RETURNS TABLE (component text, status text, reason text, remedy text)
    LANGUAGE sql VOLATILE ROWS 11 SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH finding AS MATERIALIZED (
        SELECT p.* FROM webhook_internal.health_of_processes(f) p WHERE NOT f.is_standby
        UNION ALL
        SELECT d.* FROM webhook_internal.health_of_deliveries(f) d WHERE NOT f.is_standby
    ), of_component AS (
        SELECT c.place, c.component, max(CASE p.status WHEN 'failing' THEN 2 WHEN 'degraded' THEN 1 ELSE 0 END) AS level,
               string_agg(p.reason, '; ') AS reason, string_agg(DISTINCT p.remedy, ' ') AS remedy
        FROM unnest(ARRAY['server', 'switches', 'workers', 'database', 'lag', 'deliveries', 'storage', 'secrets',
                          'endpoints', 'subscriptions']) WITH ORDINALITY c (component, place)
        LEFT JOIN finding p ON p.component = c.component
        GROUP BY c.place, c.component
    )
    SELECT o.component, (ARRAY['ok', 'degraded', 'failing'])[o.level + 1], o.reason, o.remedy
    FROM (SELECT 0 AS place, 'overall' AS component, max(c.level) AS level,
                 CASE WHEN f.is_standby THEN 'a standby delivers nothing before it is promoted'
                      ELSE string_agg(c.reason, '; ' ORDER BY c.level DESC, c.place) END AS reason,
                 NULL AS remedy
          FROM of_component c
          UNION ALL
          SELECT c.place, c.component, c.level, c.reason, c.remedy FROM of_component c) o
    ORDER BY o.place
$$;
COMMENT ON FUNCTION webhook_internal.health_of(webhook_internal.health_facts) IS 'The rows of webhook_health().';

-- SECURITY DEFINER, because it reads webhook_instance and shared memory, of which monitoring sees sums only.
CREATE FUNCTION @extschema@.webhook_health()
    RETURNS TABLE (component text, status text, reason text, remedy text)
    LANGUAGE sql VOLATILE SECURITY DEFINER ROWS 11 SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT h.component, h.status, h.reason, h.remedy
    FROM webhook_internal.health_facts() f, webhook_internal.health_of(f) h
$$;
COMMENT ON FUNCTION @extschema@.webhook_health() IS
    'Whether this database delivers: a row for the whole (component overall), and one for each component. status: ok, '
    'degraded (something waits, comes late, or is switched off) or failing (nothing is delivered, or something will be '
    'lost). reason and remedy: null if it is ok. Reads a few rows whatever the backlog, and waits for no lock. Shows '
    'nothing of organizations.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_health()');

-- webhook_metrics() and webhook_progress: what the workers do, in numbers.

-- One row, because that is what exporters take best. All are double precision, so that what is not known is NaN.
-- SECURITY DEFINER for the same reason as webhook_health().
CREATE FUNCTION @extschema@.webhook_metrics(
    OUT datname text, OUT status double precision, OUT workers double precision, OUT workers_asleep double precision,
    OUT workers_waiting double precision, OUT workers_wanted double precision,
    OUT standby double precision, OUT paused double precision, OUT webhooks double precision,
    OUT undecryptable_webhooks double precision, OUT open_circuits double precision, OUT organizations double precision,
    OUT failing_organizations double precision, OUT requests_in_flight double precision,
    OUT queued_deliveries double precision, OUT events_ahead double precision, OUT lag_seconds double precision,
    OUT overdue_seconds double precision, OUT report_age_seconds double precision, OUT requests_total double precision,
    OUT failures_total double precision, OUT attempts_total double precision, OUT given_up_total double precision,
    OUT pending_deliveries double precision, OUT dead_deliveries double precision, OUT events_bytes double precision,
    OUT events_max_bytes double precision, OUT logs_bytes double precision, OUT logs_max_bytes double precision,
    OUT subscriptions double precision, OUT stopped_subscriptions double precision)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT current_database(),
           (SELECT array_position(ARRAY['ok', 'degraded', 'failing'], h.status) - 1
            FROM webhook_internal.health_of(f) h WHERE h.component = 'overall'),
           f.workers, f.workers_asleep, f.workers_waiting, f.workers_wanted, f.is_standby::integer,
           (f.is_paused OR NOT f.is_enabled)::integer, f.webhooks,
           f.undecryptable, f.open_circuits, f.organizations, f.failing_organizations, f.in_flight, f.queued,
           f.events_ahead,
           greatest(coalesce(extract(epoch FROM clock_timestamp() - f.oldest_event_at), 0), 0),
           greatest(coalesce(extract(epoch FROM clock_timestamp() - f.overdue_since), 0), 0),
           greatest(coalesce(extract(epoch FROM clock_timestamp() - f.oldest_report_at), 0), 0),
           f.sent, f.failed, f.logged, f.given_up, coalesce(f.pending, 'NaN'::double precision),
           coalesce(f.dead, 'NaN'::double precision), f.event_bytes, f.event_bytes_max, f.log_bytes, f.log_bytes_max,
           f.subscriptions, f.subscriptions_stopped
    FROM webhook_internal.health_facts() f
$$;
COMMENT ON FUNCTION @extschema@.webhook_metrics() IS
    'The figures of this database for exporters: one row of numbers. docs/monitoring.md explains each. As cheap as '
    'webhook_health(), and shows nothing of organizations.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_metrics()');

-- How many events a worker has yet to read, counted to a bound, by the indexes in their order.
CREATE FUNCTION webhook_internal.events_behind(read_position bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' SET jit = off
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
BEGIN
    RETURN (SELECT count(*) FROM (SELECT FROM @extschema@.webhook_events e WHERE e.id > read_position
                                  ORDER BY e.id LIMIT 10000) e);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.events_behind(bigint) IS
    'How many stored events have a higher id. 10000: so many or more. Null: a segment is locked.';

-- SECURITY DEFINER, because it reads tables of which monitoring sees numbers only.
CREATE FUNCTION webhook_internal.progress()
    RETURNS TABLE (activity text, worker integer, replay_id bigint, done bigint, remaining bigint,
                   percent integer, since timestamptz, read_to timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms'
    SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT s.state, s.worker, NULL::bigint, s.webhooks, t.total - s.webhooks,
           (100 * s.webhooks / nullif(t.total, 0))::integer, s.started_at, NULL::timestamptz
    FROM webhook_internal.worker_slots() s JOIN pg_database d ON d.oid = s.database AND d.datname = current_database(),
         LATERAL (SELECT greatest(c.reltuples::bigint / s.workers, s.webhooks) AS total FROM pg_class c
                  WHERE c.oid = '@extschema@.webhook_configurations'::regclass) t
    WHERE s.state = 'loading webhooks'
    UNION ALL
    SELECT s.state, s.worker, NULL, NULL, webhook_internal.events_behind(s.read_position), NULL, s.started_at, s.read_to
    FROM webhook_internal.worker_slots() s JOIN pg_database d ON d.oid = s.database AND d.datname = current_database()
    WHERE s.state = 'catching up';
    RETURN QUERY
    SELECT CASE r.state WHEN 'running' THEN 'replaying' ELSE 'waiting to replay' END, NULL::integer, r.id, r.examined,
           NULL::bigint, r.progress::integer, coalesce(r.started_at, r.requested_at), r.newest_event_at
    FROM @extschema@.webhook_replays r WHERE r.ended_at IS NULL ORDER BY r.id LIMIT 1000;
EXCEPTION WHEN lock_not_available THEN
    RETURN;
END
$$;
COMMENT ON FUNCTION webhook_internal.progress() IS 'The rows of the view webhook_progress.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'EXECUTE ON FUNCTION webhook_internal.progress()');

CREATE VIEW @extschema@.webhook_progress WITH (security_invoker) AS
    SELECT p.activity, p.worker, p.replay_id, p.done, p.remaining, p.percent, p.since, p.read_to
    FROM webhook_internal.progress() p;
COMMENT ON VIEW @extschema@.webhook_progress IS
    'What takes a while in this database: workers that load webhooks or catch up, and replays that have not ended (the '
    'first 1000).';
COMMENT ON COLUMN @extschema@.webhook_progress.activity IS
    'loading webhooks, catching up, replaying or waiting to replay.';
COMMENT ON COLUMN @extschema@.webhook_progress.worker IS 'The number of the worker. Null for a replay.';
COMMENT ON COLUMN @extschema@.webhook_progress.replay_id IS 'webhook_replays.id. Null for a worker.';
COMMENT ON COLUMN @extschema@.webhook_progress.done IS
    'The webhooks that are loaded, or the events that the replay has examined. Null while catching up.';
COMMENT ON COLUMN @extschema@.webhook_progress.remaining IS
    'The webhooks that are not loaded yet, as estimated by pg_class.reltuples, or the stored events that the worker has not '
    'read. 10000: so many or more. Null for a replay.';
COMMENT ON COLUMN @extschema@.webhook_progress.percent IS 'How much is done, from 0 to 100. Null while catching up.';
COMMENT ON COLUMN @extschema@.webhook_progress.since IS 'When the worker or the replay started.';
COMMENT ON COLUMN @extschema@.webhook_progress.read_to IS
    'When the newest event that was read was captured. Null while loading webhooks.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'SELECT ON @extschema@.webhook_progress');

-- The schema webhook_api: what its functions have in common. docs/api.md describes the functions.
--
-- Each function runs with the rights of its caller. Privileges decide what a level may do, and row-level security which
-- organization it sees. A result is one JSON value of the type json, which keeps the order of members and the digits of
-- numbers. SET TimeZone makes to_json() write all times in UTC. Errors have SQLSTATEs that PostgREST turns into the HTTP
-- status: PT404, PT409 and PT503 into their numbers.

CREATE SCHEMA webhook_api;
COMMENT ON SCHEMA webhook_api IS
    'The API of the settings page, as functions that take and return JSON. The only schema of the extension that a '
    'server such as PostgREST has to expose.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'USAGE ON SCHEMA webhook_api');

-- Judges by privileges, so that it also holds for roles that have them from other roles or from the owner.
CREATE FUNCTION webhook_internal.caller_level() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN 'operate'
                WHEN has_table_privilege('@extschema@.webhook_configurations'::regclass, 'INSERT') THEN 'manage'
                ELSE 'read' END
$$;
COMMENT ON FUNCTION webhook_internal.caller_level() IS
    'The level of the current role: read, manage or operate. It tells, and permits nothing.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.caller_level()');

CREATE FUNCTION webhook_internal.caller_scope(organization text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')
                THEN organization ELSE @extschema@.webhook_current_organization() END
$$;
COMMENT ON FUNCTION webhook_internal.caller_scope(text) IS
    'The organization that a call is about: an operator''s is the one that it gives (null: all), anybody else''s is the '
    'session''s.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.caller_scope(text)');

CREATE FUNCTION webhook_internal.raise_unknown(what text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% does not exist, or belongs to another organization', what USING ERRCODE = 'PT404';
END
$$;
COMMENT ON FUNCTION webhook_internal.raise_unknown(text) IS
    'Raises PT404 for what the caller does not see, such as "webhook 6f1c...". It says the same of what does not exist '
    'and of what is another organization''s.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.raise_unknown(text)');

CREATE FUNCTION webhook_internal.require_webhook(webhook uuid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF webhook IS NULL THEN
        PERFORM webhook_internal.raise_argument('id', 'null_value_not_allowed', 'the id of a webhook is missing');
    END IF;
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c WHERE c.id = webhook) THEN
        PERFORM webhook_internal.raise_unknown('webhook ' || webhook);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.require_webhook(uuid) IS
    'Raises PT404 unless the caller sees the webhook, and 22004 if it is null.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.require_webhook(uuid)');

CREATE FUNCTION webhook_internal.raise_argument(field text, state text, message text, hint text DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.raise_again(state, message, NULL, hint, field);
END
$$;
COMMENT ON FUNCTION webhook_internal.raise_argument(text, text, text, text) IS
    'Raises an error about an argument. Its DETAIL names the argument: {"field": ...}.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.raise_argument(text, text, text, text)');

-- What GET STACKED DIAGNOSTICS gave. States that PostgREST would take for a fault of the server, though the caller can
-- do something about them, become PT409 and PT503.
CREATE FUNCTION webhook_internal.raise_again(state text, message text, detail text, hint text, field text DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    raised text := CASE WHEN state IN ('53400', '55000') THEN 'PT409' WHEN state = '25006' THEN 'PT503' ELSE state END;
    told text := nullif(detail, '');
BEGIN
    IF field <> '' THEN
        told := (jsonb_build_object('field', CASE field WHEN 'retry_schedule' THEN 'retry_schedule_s'
                                                        WHEN 'organization_id' THEN 'organization' ELSE field END)
                 || CASE WHEN told IS NULL THEN '{}' ELSE jsonb_build_object('detail', told) END)::text;
    END IF;
    -- An option of RAISE cannot be null, and an empty one would be shown.
    IF told IS NULL AND coalesce(hint, '') = '' THEN
        RAISE EXCEPTION '%', message USING ERRCODE = raised;
    ELSIF told IS NULL THEN
        RAISE EXCEPTION '%', message USING ERRCODE = raised, HINT = hint;
    ELSIF coalesce(hint, '') = '' THEN
        RAISE EXCEPTION '%', message USING ERRCODE = raised, DETAIL = told;
    END IF;
    RAISE EXCEPTION '%', message USING ERRCODE = raised, DETAIL = told, HINT = hint;
END
$$;
COMMENT ON FUNCTION webhook_internal.raise_again(text, text, text, text, text) IS
    'Raises an error that was caught in the form of webhook_api. field: the argument or the column of '
    'webhook_configurations that it is about, which DETAIL then names: {"field": ..., "detail": ...}. 53400 and 55000 '
    'become PT409, 25006 becomes PT503.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.raise_again(text, text, text, text, text)');

CREATE FUNCTION webhook_internal.check_page_size(page_size integer, rows_max integer) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF page_size IS NULL OR page_size NOT BETWEEN 1 AND rows_max THEN
        PERFORM webhook_internal.raise_argument('page_size', 'numeric_value_out_of_range',
            coalesce(page_size::text, 'null') || ' is outside the valid range for page_size (1 .. ' || rows_max || ')');
    END IF;
    RETURN page_size;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_page_size(integer, integer) IS
    'The page size. Raises 22003 unless it is in the range from 1 to rows_max.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_page_size(integer, integer)');

-- Header names are shown to roles that may read the headers. Values never are.
CREATE FUNCTION webhook_internal.describe_webhook(webhook uuid) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
DECLARE
    header_names json;
BEGIN
    IF has_column_privilege('@extschema@.webhook_configurations'::regclass, 'headers', 'SELECT') THEN
        SELECT coalesce(json_agg(k.name ORDER BY k.name), '[]') INTO header_names
        FROM @extschema@.webhook_configurations c, jsonb_object_keys(c.headers) k (name) WHERE c.id = webhook;
    END IF;
    RETURN (
        SELECT json_build_object(
            'id', c.id, 'organization', c.organization_id, 'name', c.name, 'url', c.url, 'events', c.events,
            'filter', c.filter::text, 'is_active', c.is_active, 'has_secret', c.secret IS NOT NULL,
            'header_names', header_names, 'timeout_ms', c.timeout_ms,
            'retry_schedule_s', (SELECT json_agg(trim_scale(extract(epoch FROM s.step)) ORDER BY s.place)
                                 FROM unnest(c.retry_schedule) WITH ORDINALITY s (step, place)),
            'rate_limit_per_s', c.rate_limit_per_s, 'max_in_flight', c.max_in_flight, 'ordering', c.ordering,
            'test_event', c.test_event, 'disabled_at', c.disabled_at, 'disabled_reason', c.disabled_reason,
            'created_at', c.created_at, 'updated_at', c.updated_at)
        FROM @extschema@.webhook_configurations c WHERE c.id = webhook);
END
$$;
COMMENT ON FUNCTION webhook_internal.describe_webhook(uuid) IS
    'A webhook as webhook_api shows it, without its secret and the values of its headers; null if the caller does not '
    'see it. header_names is null for roles that may not read the headers.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_webhook(uuid)');

-- webhook_api: who calls, what is wrong on the whole, and pausing.

CREATE FUNCTION webhook_internal.describe_server() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'workers', s.workers + s.workers_asleep, 'is_preloaded', @extschema@.webhook_is_preloaded(), 'is_paused', s.is_paused,
        'paused_reason', s.paused_reason, 'is_standby', pg_is_in_recovery(),
        'is_enabled', current_setting('webhook.enabled', true) IS DISTINCT FROM 'off')
    FROM @extschema@.webhook_server_state() s
$$;
COMMENT ON FUNCTION webhook_internal.describe_server() IS 'The member server of webhook_api.session().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_server()');

CREATE FUNCTION webhook_internal.default_schedule() RETURNS interval[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(btrim(s.step, ' "')::interval ORDER BY s.place)
    FROM string_to_table(nullif(current_setting('webhook.retry_schedule', true), ''), ',')
         WITH ORDINALITY s (step, place)
$$;
COMMENT ON FUNCTION webhook_internal.default_schedule() IS
    'The setting webhook.retry_schedule; null if the library is not loaded.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.default_schedule()');

-- Of columns whose default is a constant, such as 16 or 'relaxed'::text.
CREATE FUNCTION webhook_internal.column_default(name text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT btrim(split_part(pg_get_expr(d.adbin, d.adrelid), '::', 1), '''')
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = '@extschema@.webhook_configurations'::regclass AND a.attname = name
$$;
COMMENT ON FUNCTION webhook_internal.column_default(text) IS
    'The default of a column of webhook_configurations, which is a constant, as a text.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.column_default(text)');

-- Reads the index of names, one organization at a time.
CREATE FUNCTION webhook_internal.organizations(rows_max integer) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE organization AS (
        (SELECT c.organization_id AS id FROM @extschema@.webhook_configurations c
         WHERE c.organization_id IS NOT NULL ORDER BY c.organization_id LIMIT 1)
        UNION ALL
        SELECT (SELECT c.organization_id FROM @extschema@.webhook_configurations c
                WHERE c.organization_id > o.id ORDER BY c.organization_id LIMIT 1)
        FROM organization o WHERE o.id IS NOT NULL
    )
    SELECT coalesce(json_agg(o.id), '[]')
    FROM (SELECT id FROM organization WHERE id IS NOT NULL LIMIT rows_max) o
$$;
COMMENT ON FUNCTION webhook_internal.organizations(integer) IS
    'The organizations with webhooks that the caller sees, at most rows_max.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.organizations(integer)');

CREATE FUNCTION webhook_api.session() RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    level text := webhook_internal.caller_level();
    server json := webhook_internal.describe_server();  -- loads the library, which defines its settings
BEGIN
    RETURN json_build_object(
        'now', now(), 'user', current_user,
        'organization', @extschema@.webhook_current_organization(), 'level', level,
        'can', json_build_object(
            'write', level <> 'read',
            'see_data', has_column_privilege('@extschema@.webhook_own_events'::regclass, 'data', 'SELECT'),
            'choose_organization', level = 'operate'),
        'organizations', CASE WHEN level = 'operate' THEN webhook_internal.organizations(1000) ELSE '[]' END,
        'database', current_database(),
        'version', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook'),
        'server', server,
        'defaults', json_build_object(
            'timeout_ms', webhook_internal.column_default('timeout_ms')::integer,
            'retry_schedule_s', (SELECT json_agg(trim_scale(extract(epoch FROM s.step)) ORDER BY s.place)
                                 FROM unnest(webhook_internal.default_schedule()) WITH ORDINALITY s (step, place)),
            'max_in_flight', webhook_internal.column_default('max_in_flight')::integer,
            'ordering', webhook_internal.column_default('ordering')),
        'limits', json_build_object(
            'name_characters', 200, 'url_bytes', 2048, 'events', 200, 'filter_bytes', 1024, 'secret_bytes', 512,
            'headers', 32, 'header_bytes', 8192, 'retry_steps', 20, 'timeout_ms', json_build_array(100, 60000),
            'max_in_flight', json_build_array(1, 1000), 'rate_limit_per_s', json_build_array(0.001, 100000),
            'max_payload_bytes', pg_size_bytes(current_setting('webhook.max_payload', true)),
            'allow_http', coalesce(current_setting('webhook.allow_http', true) = 'on', false),
            'allowed_ports', current_setting('webhook.allowed_ports', true)));
END
$$;
COMMENT ON FUNCTION webhook_api.session() IS
    'Who the caller is, what the level permits, the state of the server, and the defaults and limits of webhooks. '
    'Raises 22023 if request.jwt.claims is malformed.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'EXECUTE ON FUNCTION webhook_api.session()');

-- By the texts of webhook_check(). test/sql/api.sql has each of them. What the caller's level does not permit is no
-- remedy.
CREATE FUNCTION webhook_internal.remedy(finding text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN r.level = 'operate' AND p.action = 'resume' OR r.level <> 'read' AND p.action <> 'resume'
                THEN p.action END
    FROM (SELECT webhook_internal.caller_level() AS level) r,
         (SELECT CASE
              WHEN finding LIKE 'this database is paused%' THEN 'resume'
              WHEN finding LIKE 'the webhook is inactive%' THEN 'activate'
              WHEN finding LIKE 'its URL is refused:%' OR finding LIKE 'its filter could not judge %' THEN 'edit'
              WHEN finding LIKE 'the secret cannot be decrypted:%'
                OR finding LIKE 'it shows the mask of a secret, but it has none%' THEN 'rotate'
              WHEN finding LIKE 'nothing has been sent yet%' OR finding LIKE 'the last attempt, at %, failed:%'
                OR finding LIKE 'its endpoint has failed since %' THEN 'test'
              WHEN finding LIKE '% deliveries were given up%' THEN 'replay_failed' END AS action) p
$$;
COMMENT ON FUNCTION webhook_internal.remedy(text) IS
    'What the caller can do about a finding of webhook_check(): activate, test, replay_failed, rotate, edit, resume, or '
    'null.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.remedy(text)');

-- The webhooks for which check() looks closely: those that fail, are off, or have pending or dead deliveries. Among an
-- organization's own they are asked in the order of names, until enough are found. Among those of all organizations each of
-- three indexes or tables gives some.
CREATE FUNCTION webhook_internal.conspicuous_webhooks(organization text, rows_max integer) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
BEGIN
    IF organization IS NOT NULL THEN
        -- In the order of the index, so that the search ends with the last one that is wanted. EXISTS could become a hash
        -- of a whole table.
        RETURN QUERY
        SELECT o.id
        FROM (SELECT c.id, c.organization_id, c.name, c.is_active FROM @extschema@.webhook_configurations c
              WHERE c.organization_id = organization ORDER BY c.organization_id, c.name LIMIT 10000) o
        WHERE NOT o.is_active
           OR (SELECT e.circuit_opened_at IS NOT NULL OR e.filter_error IS NOT NULL
               FROM @extschema@.webhook_endpoints e WHERE e.configuration_id = o.id)
           OR (SELECT true FROM @extschema@.webhook_deliveries d
               WHERE d.configuration_id = o.id AND d.state = 'pending' LIMIT 1)
           OR (SELECT true FROM @extschema@.webhook_deliveries d
               WHERE d.configuration_id = o.id AND d.state = 'dead' LIMIT 1)
        ORDER BY o.organization_id, o.name LIMIT rows_max;
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE pending AS (
        (SELECT d.configuration_id AS id FROM @extschema@.webhook_deliveries d WHERE d.state = 'pending'
         ORDER BY d.configuration_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.configuration_id FROM @extschema@.webhook_deliveries d
                WHERE d.state = 'pending' AND d.configuration_id > p.id ORDER BY d.configuration_id LIMIT 1)
        FROM pending p WHERE p.id IS NOT NULL
    ), dead AS (
        (SELECT d.configuration_id AS id FROM @extschema@.webhook_deliveries d WHERE d.state = 'dead'
         ORDER BY d.configuration_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.configuration_id FROM @extschema@.webhook_deliveries d
                WHERE d.state = 'dead' AND d.configuration_id > x.id ORDER BY d.configuration_id LIMIT 1)
        FROM dead x WHERE x.id IS NOT NULL
    ), candidate AS (
        (SELECT e.configuration_id AS id FROM @extschema@.webhook_endpoints e
         WHERE e.circuit_opened_at IS NOT NULL OR e.filter_error IS NOT NULL LIMIT rows_max)
        UNION
        (SELECT p.id FROM pending p WHERE p.id IS NOT NULL LIMIT rows_max)
        UNION
        (SELECT x.id FROM dead x WHERE x.id IS NOT NULL LIMIT rows_max)
    )
    SELECT w.id FROM candidate k
    CROSS JOIN LATERAL (SELECT c.id, c.organization_id, c.name FROM @extschema@.webhook_configurations c
                        WHERE c.id = k.id LIMIT 1) w
    ORDER BY w.organization_id, w.name LIMIT rows_max;
END
$$;
COMMENT ON FUNCTION webhook_internal.conspicuous_webhooks(text, integer) IS
    'The webhooks of an organization (null: of all) that fail, are off, or have pending or dead deliveries; at most '
    'rows_max.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.conspicuous_webhooks(text, integer)');

CREATE FUNCTION webhook_api.check(organization text DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off SET DateStyle = 'ISO'
AS $$
DECLARE
    webhooks_max CONSTANT integer := 20;
    scope text := webhook_internal.caller_scope(organization);
    webhooks uuid[] := '{}';
BEGIN
    IF scope IS NOT NULL OR webhook_internal.caller_level() = 'operate' THEN
        webhooks := ARRAY(SELECT webhook_internal.conspicuous_webhooks(scope, webhooks_max + 1));
    END IF;
    RETURN json_build_object('is_complete', cardinality(webhooks) <= webhooks_max, 'findings', (
        SELECT coalesce(json_agg(json_build_object(
                   'severity', f.severity, 'finding', f.finding, 'hint', f.hint, 'webhook', f.webhook,
                   'action', webhook_internal.remedy(f.finding))
                   ORDER BY array_position('{error,warning,info}', f.severity), f.webhook NULLS FIRST), '[]')
        FROM (SELECT s.severity, s.finding, s.hint, NULL::uuid AS webhook FROM webhook_internal.check_server() s
              UNION ALL
              SELECT w.severity, w.finding, w.hint, i.id
              FROM unnest(webhooks[: webhooks_max]) i (id)
              CROSS JOIN LATERAL webhook_internal.check_webhook(i.id) w
              WHERE w.severity <> 'info') f));
END
$$;
COMMENT ON FUNCTION webhook_api.check(text) IS
    'What webhook_check() finds wrong with the server and with the webhooks that fail, are off, or have pending or dead '
    'deliveries: {"findings": [...], "is_complete"}. Looks at 20 such webhooks; is_complete is false if there are more. '
    'organization: for operators; null is all.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'EXECUTE ON FUNCTION webhook_api.check(text)');

CREATE FUNCTION webhook_internal.set_paused_json(paused boolean, reason text) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    IF paused THEN
        PERFORM @extschema@.webhook_pause(reason);
    ELSE
        PERFORM @extschema@.webhook_resume();
    END IF;
    RETURN json_build_object('server', webhook_internal.describe_server());
EXCEPTION WHEN object_not_in_prerequisite_state OR read_only_sql_transaction THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    PERFORM webhook_internal.raise_again('PT503', message, detail, hint);
END
$$;
COMMENT ON FUNCTION webhook_internal.set_paused_json(boolean, text) IS
    'webhook_api.pause() and resume(). Raises PT503 if no worker has started yet, or on a standby.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.set_paused_json(boolean, text)');

CREATE FUNCTION webhook_api.pause(reason text DEFAULT NULL) RETURNS json
    LANGUAGE sql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT webhook_internal.set_paused_json(true, reason)
$$;
COMMENT ON FUNCTION webhook_api.pause(text) IS
    'Pauses all deliveries of the database, as webhook_pause() does: {"server": ...} as in session(). Raises PT503 if no '
    'worker has started yet, and 42501 unless the caller is an operator.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_api.pause(text)');

CREATE FUNCTION webhook_api.resume() RETURNS json
    LANGUAGE sql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT webhook_internal.set_paused_json(false, NULL)
$$;
COMMENT ON FUNCTION webhook_api.resume() IS
    'Ends a pause, as webhook_resume() does: {"server": ...} as in session(). Raises PT503 if no worker has started yet, '
    'and 42501 unless the caller is an operator.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_api.resume()');

-- webhook_api: webhooks with their summaries, and changing them.

-- Counts of deliveries stop at 1000 for one webhook, and at 100 for several. The figures are those of this hour and of the 23
-- before.
CREATE FUNCTION webhook_internal.summarize(webhooks uuid[]) RETURNS SETOF json
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
        FROM webhook w CROSS JOIN shown s LEFT JOIN hour h ON h.id = w.id AND h.hour = s.hour
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
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.summarize(uuid[])');

-- Reads the names in order, at most 10000 of them, so that a search that finds nothing ends soon, too.
CREATE FUNCTION webhook_internal.find_webhooks(
    scope text, search text, status text, last_organization text, last_name text, rows_max integer,
    OUT ids uuid[], OUT next text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    read_max CONSTANT integer := 10000;
    last_read record;
    found_names text[];
    found_organizations text[];
BEGIN
    WITH read AS MATERIALIZED (
        SELECT c.* FROM (
            SELECT c.id, c.organization_id, c.name, c.url, c.is_active, c.created_at
            FROM @extschema@.webhook_configurations c
            WHERE c.organization_id = scope AND (last_name IS NULL OR c.name > last_name)
            ORDER BY c.organization_id, c.name LIMIT read_max) c
        WHERE scope IS NOT NULL
        UNION ALL
        SELECT c.* FROM (
            SELECT c.id, c.organization_id, c.name, c.url, c.is_active, c.created_at
            FROM @extschema@.webhook_configurations c
            WHERE last_name IS NULL OR c.organization_id > last_organization
               OR (c.organization_id IS NOT DISTINCT FROM last_organization AND c.name > last_name)
               OR (c.organization_id IS NULL AND last_organization IS NOT NULL)
            ORDER BY c.organization_id, c.name LIMIT read_max) c
        WHERE scope IS NULL
    ), found AS (
        SELECT r.id, r.organization_id, r.name FROM read r
        WHERE (search IS NULL OR position(lower(search) IN lower(r.name)) > 0
               OR position(lower(search) IN lower(substring(r.url FROM '^[a-zA-Z]+://([^/?#]+)'))) > 0)
          AND CASE status
                  WHEN 'active' THEN r.is_active
                  WHEN 'inactive' THEN NOT r.is_active
                  WHEN 'failing' THEN EXISTS (
                      SELECT FROM @extschema@.webhook_endpoints e
                      WHERE e.configuration_id = r.id AND e.configuration_created_at = r.created_at
                        AND e.circuit_opened_at IS NOT NULL)
                  ELSE true END
        ORDER BY r.organization_id, r.name LIMIT rows_max + 1
    )
    SELECT (SELECT array_agg(f.id ORDER BY f.organization_id, f.name) FROM found f),
           (SELECT array_agg(f.name ORDER BY f.organization_id, f.name) FROM found f),
           (SELECT array_agg(f.organization_id ORDER BY f.organization_id, f.name) FROM found f)
    INTO ids, found_names, found_organizations;
    IF cardinality(ids) > rows_max THEN
        next := json_build_array(found_organizations[rows_max], found_names[rows_max]);
    ELSE
        SELECT c.organization_id, c.name INTO last_read FROM @extschema@.webhook_configurations c
        WHERE (scope IS NULL OR c.organization_id = scope)
          AND (last_name IS NULL OR c.organization_id > last_organization
               OR (c.organization_id IS NOT DISTINCT FROM last_organization AND c.name > last_name)
               OR (c.organization_id IS NULL AND last_organization IS NOT NULL))
        ORDER BY c.organization_id, c.name OFFSET read_max - 1 LIMIT 1;
        IF FOUND THEN
            next := json_build_array(last_read.organization_id, last_read.name);
        END IF;
    END IF;
    ids := ids[: rows_max];
END
$$;
COMMENT ON FUNCTION webhook_internal.find_webhooks(text, text, text, text, text, integer) IS
    'The webhooks that webhook_api.webhooks() lists, of an organization (scope null: of all that the caller sees), after the '
    'one with these names (last_name null: from the first on); and next as it tells it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.find_webhooks(text, text, text, text, text, integer)');

CREATE FUNCTION webhook_api.webhooks(
    organization text DEFAULT NULL, search text DEFAULT NULL, status text DEFAULT NULL, after text DEFAULT NULL,
    page_size integer DEFAULT 50) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
    last_organization text;
    last_name text;
    ids uuid[];
    next text;
BEGIN
    PERFORM webhook_internal.check_page_size(page_size, 200);
    IF status NOT IN ('active', 'inactive', 'failing') THEN
        PERFORM webhook_internal.raise_argument('status', 'invalid_parameter_value',
            'invalid status "' || left(status, 100) || '"', 'The status is active, inactive or failing.');
    END IF;
    IF after IS NOT NULL THEN
        BEGIN
            IF json_array_length(after::json) <> 2 THEN
                RAISE data_exception;
            END IF;
            last_organization := after::json ->> 0;
            last_name := coalesce(after::json ->> 1, '');
        EXCEPTION WHEN OTHERS THEN
            PERFORM webhook_internal.raise_argument('after', 'invalid_parameter_value', 'invalid value for after',
                'Give the next of the page before.');
        END;
    END IF;
    -- Without an organization there is nothing for a tenant.
    IF scope IS NOT NULL OR webhook_internal.caller_level() = 'operate' THEN
        SELECT f.ids, f.next INTO ids, next
        FROM webhook_internal.find_webhooks(scope, search, status, last_organization, last_name, page_size) f;
    END IF;
    RETURN json_build_object(
        'now', now(),
        'webhooks', (SELECT coalesce(json_agg(s), '[]') FROM webhook_internal.summarize(ids) s),
        'next', next);
END
$$;
COMMENT ON FUNCTION webhook_api.webhooks(text, text, text, text, integer) IS
    'The webhooks by organization and name, each with a summary of the last 24 hours: {"now", "webhooks", "next"}. '
    'search: a part of the name or the host, in any case. status: active, inactive, failing. A call reads at most 10000 '
    'webhooks; next continues. Errors: 22003, 22023.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.webhooks(text, text, text, text, integer)');

CREATE FUNCTION webhook_api.webhook(id uuid) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off SET DateStyle = 'ISO'
AS $$
BEGIN
    PERFORM webhook_internal.require_webhook(id);
    RETURN json_build_object(
        'now', now(), 'webhook', webhook_internal.describe_webhook(id),
        'summary', (SELECT s FROM webhook_internal.summarize(ARRAY[id]) s),
        'findings', (SELECT coalesce(json_agg(json_build_object(
                                'severity', f.severity, 'finding', f.finding, 'hint', f.hint, 'webhook', webhook.id,
                                'action', webhook_internal.remedy(f.finding))), '[]')
                     FROM @extschema@.webhook_check(webhook.id) f));
END
$$;
COMMENT ON FUNCTION webhook_api.webhook(uuid) IS
    'A webhook, its summary, and what webhook_check() finds: {"now", "webhook", "summary", "findings"}. Raises PT404 if '
    'there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.webhook(uuid)');

-- Which members there are, and of which types.
CREATE FUNCTION webhook_internal.check_members(webhook jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    IF webhook IS NULL OR jsonb_typeof(webhook) <> 'object' THEN
        PERFORM webhook_internal.raise_argument('webhook', 'invalid_parameter_value', 'webhook must be a JSON object');
    END IF;
    SELECT m.key AS name, e.type INTO wrong
    FROM jsonb_each(webhook) m
    LEFT JOIN (VALUES
        ('name', 'string'), ('url', 'string'), ('events', 'array'), ('filter', 'string'), ('is_active', 'boolean'),
        ('headers', 'object'), ('secret', 'string'), ('timeout_ms', 'number'), ('retry_schedule_s', 'array'),
        ('rate_limit_per_s', 'number'), ('max_in_flight', 'number'), ('ordering', 'string'), ('test_event', 'string'),
        ('organization', 'string'),
        -- What is read along with these may be given back. It changes nothing.
        ('id', NULL), ('has_secret', NULL), ('header_names', NULL), ('disabled_at', NULL), ('disabled_reason', NULL),
        ('created_at', NULL), ('updated_at', NULL)) e (name, type) ON e.name = m.key
    WHERE e.name IS NULL
       OR jsonb_typeof(m.value) <> e.type
          AND NOT (m.value = 'null'
                   AND m.key IN ('filter', 'secret', 'retry_schedule_s', 'rate_limit_per_s', 'test_event', 'organization'))
       OR m.key = 'events' AND jsonb_path_exists(m.value, '$[*] ? (@.type() != "string")')
       OR m.key = 'retry_schedule_s' AND m.value <> 'null'
          AND jsonb_path_exists(m.value, '$[*] ? (@.type() != "number")')
       OR m.key = 'headers' AND jsonb_path_exists(m.value, '$.* ? (@.type() != "string" && @.type() != "null")')
    ORDER BY m.key LIMIT 1;
    IF FOUND THEN
        PERFORM webhook_internal.raise_argument(wrong.name, 'invalid_parameter_value',
            CASE WHEN wrong.type IS NULL THEN 'unknown member "' || left(wrong.name, 100) || '" of webhook'
                 WHEN wrong.name = 'events' THEN 'events must be an array of strings'
                 WHEN wrong.name = 'retry_schedule_s' THEN 'retry_schedule_s must be an array of numbers, or null'
                 WHEN wrong.name = 'headers' THEN 'headers must be an object of strings and nulls'
                 ELSE wrong.name || ' must be a JSON ' || wrong.type END);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_members(jsonb) IS
    'Raises an error (22023) unless the argument of webhook_api.save() is an object of known members with the right '
    'types.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_members(jsonb)');

-- Names of headers are the same in any case.
CREATE FUNCTION webhook_internal.merge_headers(headers jsonb, changes jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(h.key, h.value), '{}')
    FROM (SELECT o.key, o.value FROM jsonb_each(headers) o
          WHERE NOT EXISTS (SELECT FROM jsonb_object_keys(changes) n WHERE lower(n) = lower(o.key))
          UNION ALL
          SELECT n.key, n.value FROM jsonb_each(changes) n WHERE n.value <> 'null') h
$$;
COMMENT ON FUNCTION webhook_internal.merge_headers(jsonb, jsonb) IS
    'The headers after changes: a string sets a header, null removes it.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.merge_headers(jsonb, jsonb)');

-- The row with the members of webhook in it. field follows what is read, for the error of a cast.
CREATE FUNCTION webhook_internal.apply_members(stored @extschema@.webhook_configurations, webhook jsonb)
    RETURNS @extschema@.webhook_configurations
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    row @extschema@.webhook_configurations := stored;
    field text;
    state text; message text; detail text; hint text;
BEGIN
    FOR field IN SELECT k FROM jsonb_object_keys(webhook) k LOOP
        CASE field
            WHEN 'name' THEN row.name := webhook ->> 'name';
            WHEN 'url' THEN row.url := webhook ->> 'url';
            WHEN 'events' THEN
                row.events := ARRAY(SELECT jsonb_array_elements_text(webhook -> 'events'));
                IF row.events IS DISTINCT FROM stored.events THEN
                    PERFORM webhook_internal.check_events(row.events);
                END IF;
            WHEN 'filter' THEN row.filter := (webhook ->> 'filter')::jsonpath;
            WHEN 'is_active' THEN row.is_active := (webhook ->> 'is_active')::boolean;
            WHEN 'headers' THEN
                row.headers := webhook_internal.merge_headers(coalesce(stored.headers, '{}'), webhook -> 'headers');
            WHEN 'secret' THEN row.secret := webhook ->> 'secret';
            WHEN 'timeout_ms' THEN row.timeout_ms := (webhook ->> 'timeout_ms')::integer;
            WHEN 'retry_schedule_s' THEN
                row.retry_schedule := CASE WHEN webhook -> 'retry_schedule_s' <> 'null' THEN ARRAY(
                    -- Beyond these bounds PostgreSQL 18 has an error of its own. The check of the schedule refuses both.
                    SELECT make_interval(secs => least(greatest(s.step::double precision, -1e9), 1e9))
                    FROM jsonb_array_elements_text(webhook -> 'retry_schedule_s') WITH ORDINALITY s (step, place)
                    ORDER BY s.place) END;
            WHEN 'rate_limit_per_s' THEN row.rate_limit_per_s := (webhook ->> 'rate_limit_per_s')::double precision;
            WHEN 'max_in_flight' THEN row.max_in_flight := (webhook ->> 'max_in_flight')::integer;
            WHEN 'ordering' THEN row.ordering := webhook ->> 'ordering';
            WHEN 'test_event' THEN
                row.test_event := webhook ->> 'test_event';
                IF row.test_event IS DISTINCT FROM stored.test_event AND row.test_event IS NOT NULL THEN
                    PERFORM webhook_internal.check_known_event(row.test_event);
                END IF;
            ELSE NULL;
        END CASE;
    END LOOP;
    RETURN row;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                            hint = PG_EXCEPTION_HINT;
    PERFORM webhook_internal.raise_again(state, message, detail, hint, field);
END
$$;
COMMENT ON FUNCTION webhook_internal.apply_members(@extschema@.webhook_configurations, jsonb) IS
    'The row of a webhook with the members that webhook_api.save() was given. Raises the errors of the casts, of unknown '
    'events and of event patterns, with {"field": ...} as DETAIL.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.apply_members(@extschema@.webhook_configurations, jsonb)');

-- The webhook to change, locked, or a new one.
CREATE FUNCTION webhook_internal.hold_webhook(webhook uuid, if_updated_at timestamptz)
    RETURNS @extschema@.webhook_configurations
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held @extschema@.webhook_configurations;
BEGIN
    SELECT c.* INTO held FROM @extschema@.webhook_configurations c WHERE c.id = webhook FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM webhook_internal.raise_unknown('webhook ' || webhook);
    END IF;
    IF held.updated_at <> if_updated_at THEN
        RAISE EXCEPTION 'somebody else has changed webhook "%"', held.name
            USING ERRCODE = 'PT409',
                  DETAIL = json_build_object('current', webhook_internal.describe_webhook(webhook)),
                  HINT = 'Compare it with your changes, and save again with its updated_at.';
    END IF;
    RETURN held;
END
$$;
COMMENT ON FUNCTION webhook_internal.hold_webhook(uuid, timestamptz) IS
    'A webhook, locked until the transaction ends. Raises PT404 if the caller does not see it, and PT409 if it was not '
    'last changed at if_updated_at, unless that is null.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.hold_webhook(uuid, timestamptz)');

-- Generic plans contain no secrets: see configuration_secrets.sql.
CREATE FUNCTION webhook_api.save(webhook jsonb, id uuid DEFAULT NULL, if_updated_at timestamptz DEFAULT NULL)
    RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET TimeZone = 'UTC'
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    row @extschema@.webhook_configurations;
    fresh text;
    missing text;
    state text; message text; detail text; hint text; field text; constraint_name text;
BEGIN
    PERFORM webhook_internal.check_members(webhook);
    IF id IS NULL THEN
        SELECT m.name INTO missing FROM unnest(ARRAY['name', 'url', 'events']) m (name) WHERE NOT webhook ? m.name LIMIT 1;
        IF FOUND THEN
            PERFORM webhook_internal.raise_argument(missing, 'null_value_not_allowed',
                                                    'a new webhook needs the member ' || missing);
        END IF;
        row.headers := '{}';
        row.is_active := true;
        row.timeout_ms := 5000;
        row.max_in_flight := 16;
        row.ordering := 'relaxed';
        row.secret := @extschema@.webhook_generate_secret();
        row.organization_id := CASE WHEN webhook ? 'organization'
                                    THEN webhook_internal.caller_scope(webhook ->> 'organization')
                                    ELSE @extschema@.webhook_current_organization() END;
        row := webhook_internal.apply_members(row, webhook);
        fresh := row.secret;
        INSERT INTO @extschema@.webhook_configurations AS c
            (organization_id, name, url, events, filter, is_active, headers, secret, timeout_ms, retry_schedule,
             rate_limit_per_s, max_in_flight, ordering, test_event)
        VALUES (row.organization_id, row.name, row.url, row.events, row.filter, row.is_active, row.headers, row.secret,
                row.timeout_ms, row.retry_schedule, row.rate_limit_per_s, row.max_in_flight, row.ordering, row.test_event)
        RETURNING c.id INTO id;
    ELSE
        row := webhook_internal.hold_webhook(id, if_updated_at);
        IF webhook ? 'organization' AND webhook ->> 'organization' IS DISTINCT FROM row.organization_id THEN
            PERFORM webhook_internal.raise_argument('organization', 'invalid_parameter_value',
                'the organization of a webhook cannot be changed', 'Create a new webhook and delete this one.');
        END IF;
        row := webhook_internal.apply_members(row, webhook);
        UPDATE @extschema@.webhook_configurations AS c
        SET name = row.name, url = row.url, events = row.events, filter = row.filter, is_active = row.is_active,
            headers = row.headers, secret = row.secret, timeout_ms = row.timeout_ms, retry_schedule = row.retry_schedule,
            rate_limit_per_s = row.rate_limit_per_s, max_in_flight = row.max_in_flight, ordering = row.ordering,
            test_event = row.test_event
        WHERE c.id = save.id;
    END IF;
    RETURN json_build_object('webhook', webhook_internal.describe_webhook(id), 'secret', fresh);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                            hint = PG_EXCEPTION_HINT, field = COLUMN_NAME, constraint_name = CONSTRAINT_NAME;
    IF state = '23505' AND constraint_name = 'webhook_configurations_organization_id_name_key' THEN
        PERFORM webhook_internal.raise_argument('name', state, 'a webhook "' || row.name || '" exists already',
                                                'Choose another name.');
    END IF;
    PERFORM webhook_internal.raise_again(state, message, detail, hint, field);
END
$$;
COMMENT ON FUNCTION webhook_api.save(jsonb, uuid, timestamptz) IS
    'Changes the given members of a webhook, or creates one if id is null: {"webhook", "secret"}. secret: that of a new '
    'webhook, otherwise null. Errors with {"field": ...} as DETAIL: 22023 and others of class 22, 42601 (filter), 42704 '
    '(unknown event), 23505 (the name is taken). PT404 if there is no such webhook; PT409 with {"current": webhook} if it '
    'was changed since if_updated_at, or beyond webhook.max_webhooks_per_organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.save(jsonb, uuid, timestamptz)');

CREATE FUNCTION webhook_api.delete(id uuid, if_updated_at timestamptz DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET TimeZone = 'UTC'
AS $$
DECLARE
    held @extschema@.webhook_configurations;
    pending bigint;
BEGIN
    held := webhook_internal.hold_webhook(id, if_updated_at);
    SELECT d.pending INTO pending
    FROM webhook_internal.count_deliveries(held.id, held.created_at, held.organization_id, 1000) d;
    DELETE FROM @extschema@.webhook_configurations c WHERE c.id = held.id;
    RETURN json_build_object('deleted', held.id, 'pending', pending);
END
$$;
COMMENT ON FUNCTION webhook_api.delete(uuid, timestamptz) IS
    'Deletes a webhook: {"deleted": id, "pending": n}, the pending deliveries that are lost with it, counted to 1000. '
    'Errors: PT404 if there is no such webhook, PT409 with {"current": webhook} if it was changed since if_updated_at.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.delete(uuid, timestamptz)');

CREATE FUNCTION webhook_internal.save_problem(webhook jsonb, id uuid) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    PERFORM webhook_api.save(webhook, id);
    RAISE EXCEPTION 'undone' USING ERRCODE = 'WHTRY';
EXCEPTION
    WHEN SQLSTATE 'WHTRY' THEN
        RETURN NULL;
    WHEN insufficient_privilege OR SQLSTATE 'PT404' OR SQLSTATE 'PT503' THEN
        RAISE;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RETURN jsonb_build_object(
            'field', CASE WHEN starts_with(detail, '{"field"') THEN detail::jsonb ->> 'field' END,
            'message', message, 'hint', nullif(hint, ''));
END
$$;
COMMENT ON FUNCTION webhook_internal.save_problem(jsonb, uuid) IS
    'Why webhook_api.save() would refuse: {"field", "message", "hint"}; null if it would not. What it does is undone.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.save_problem(jsonb, uuid)');

-- Each member is tried by itself, in an otherwise sound webhook, so that one call tells all that is wrong.
CREATE FUNCTION webhook_api.validate(webhook jsonb, id uuid DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    sound CONSTANT jsonb := jsonb_build_object('name', gen_random_uuid(), 'url', 'https://example.com/',
                                               'events', '["*"]'::jsonb, 'is_active', false);
    members_max CONSTANT integer := 100;
    member record;
    problem jsonb := webhook_internal.save_problem(webhook, id);
    problems jsonb := '[]';
BEGIN
    IF problem IS NULL THEN
        RETURN json_build_object('problems', '[]'::json);
    END IF;
    IF jsonb_typeof(webhook) = 'object' THEN
        FOR member IN SELECT m.key, m.value FROM jsonb_each(webhook) m ORDER BY m.key LIMIT members_max LOOP
            problem := webhook_internal.save_problem(
                CASE WHEN id IS NULL THEN sound ELSE '{}' END || jsonb_build_object(member.key, member.value), id);
            IF problem ->> 'field' = member.key THEN
                problems := problems || problem;
            END IF;
        END LOOP;
    END IF;
    -- What is missing, or wrong with the whole.
    problem := webhook_internal.save_problem(webhook, id);
    IF NOT EXISTS (SELECT FROM jsonb_array_elements(problems) p WHERE p -> 'field' = problem -> 'field') THEN
        problems := problems || problem;
    END IF;
    RETURN json_build_object('problems', problems);
END
$$;
COMMENT ON FUNCTION webhook_api.validate(jsonb, uuid) IS
    'What save() would refuse: {"problems": [{"field", "message", "hint"}]}, empty if it would accept the webhook. Saves '
    'nothing. Raises PT404 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.validate(jsonb, uuid)');

CREATE FUNCTION webhook_api.reveal(id uuid) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM webhook_internal.require_webhook(id);
    RETURN json_build_object('secret', @extschema@.webhook_reveal_secret(id));
END
$$;
COMMENT ON FUNCTION webhook_api.reveal(uuid) IS
    'The secret of a webhook: {"secret": text}; null if it has none. Errors: PT404 if there is no such webhook, 55000 if '
    'the secret cannot be decrypted.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}', 'EXECUTE ON FUNCTION webhook_api.reveal(uuid)');

CREATE FUNCTION webhook_api.rotate(id uuid, overlap_s double precision DEFAULT 86400) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET TimeZone = 'UTC'
AS $$
DECLARE
    had_secret boolean;
    rotated_at timestamptz := clock_timestamp();
    fresh text;
BEGIN
    PERFORM webhook_internal.require_webhook(id);
    IF overlap_s IS NULL OR overlap_s NOT BETWEEN 0 AND 365 * 86400 THEN
        PERFORM webhook_internal.raise_argument('overlap_s', 'numeric_value_out_of_range',
            coalesce(overlap_s::text, 'null') || ' is outside the valid range for overlap_s (0 .. 31536000)',
            'Give the time that receivers need to learn the new secret. Until then both secrets sign.');
    END IF;
    SELECT c.secret IS NOT NULL INTO had_secret FROM @extschema@.webhook_configurations c WHERE c.id = rotate.id;
    fresh := @extschema@.webhook_rotate_secret(id, make_interval(secs => overlap_s));
    RETURN json_build_object(
        'secret', fresh,
        'old_secret_until', CASE WHEN had_secret AND overlap_s > 0 THEN rotated_at + make_interval(secs => overlap_s) END);
END
$$;
COMMENT ON FUNCTION webhook_api.rotate(uuid, double precision) IS
    'Gives a webhook a new secret: {"secret", "old_secret_until"}. Until then the old one signs, too; null if none does. '
    'Errors: 22003 if the overlap is out of range, PT404 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.rotate(uuid, double precision)');

-- webhook_api: the events that there are, where they come from, and trying patterns and filters on recent ones.

CREATE FUNCTION webhook_api.event_types() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH watched AS (SELECT DISTINCT w.event FROM @extschema@.webhook_watches w)
    SELECT json_build_object('categories', coalesce(json_agg(json_build_object('category', c.category, 'events', c.events)
                                                             ORDER BY c.category), '[]'))
    FROM (SELECT t.category,
                 json_agg(json_build_object('name', t.name, 'description', t.description, 'example', t.example,
                                            'is_builtin', t.is_builtin, 'is_watched', w.event IS NOT NULL)
                          ORDER BY t.name) AS events
          FROM @extschema@.webhook_event_types t LEFT JOIN watched w ON w.event = t.name
          GROUP BY t.category) c
$$;
COMMENT ON FUNCTION webhook_api.event_types() IS
    'The event types by category: {"categories": [{"category", "events": [{"name", "description", "example", '
    '"is_builtin", "is_watched"}]}]}.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.event_types()');

CREATE FUNCTION webhook_api.watches() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT json_build_object('watches', coalesce(json_agg(json_build_object(
        'source', w.source::text, 'event', w.event, 'operation', w.operation, 'condition', w.condition,
        'changed_columns', w.changed_columns, 'is_enabled', w.is_enabled)
        ORDER BY w.event, w.source::text, w.operation), '[]'))
    FROM (SELECT * FROM @extschema@.webhook_watches w LIMIT 1000) w
$$;
COMMENT ON FUNCTION webhook_api.watches() IS
    'Which changes of which tables cause which events, as in webhook_watches; at most 1000: {"watches": [{"source", '
    '"event", "operation", "condition", "changed_columns", "is_enabled"}]}.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'EXECUTE ON FUNCTION webhook_api.watches()');

-- The newest events by the index of ids. webhook_events has no index by organization, so the number of rows that are
-- read is what bounds the search. The last row tells how far it got: its event is null.
CREATE FUNCTION webhook_internal.recent_events_operator(organization text, read_max integer)
    RETURNS TABLE (id bigint, created_at timestamptz, event text, organization_id text, key text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH newest AS MATERIALIZED (
        SELECT e.id, e.created_at, e.event, e.organization_id, e.key FROM @extschema@.webhook_events e
        ORDER BY e.id DESC LIMIT read_max
    )
    (SELECT n.id, n.created_at, n.event, n.organization_id, n.key FROM newest n
     WHERE organization IS NULL OR n.organization_id = organization
     ORDER BY n.id DESC)
    UNION ALL
    SELECT NULL, min(n.created_at), NULL, NULL, NULL FROM newest n HAVING count(*) = read_max
$$;
COMMENT ON FUNCTION webhook_internal.recent_events_operator(text, integer) IS
    'Of the newest read_max events those of an organization (null: all), the newest first. If there are older ones, a '
    'last row without an event has the time of the oldest that was read.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.recent_events_operator(text, integer)');

-- SECURITY DEFINER, because a query by webhook_own_events reads all events to find those of a small organization.
CREATE FUNCTION webhook_internal.recent_events_tenant(read_max integer)
    RETURNS TABLE (id bigint, created_at timestamptz, event text, organization_id text, key text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.id, r.created_at, r.event, r.organization_id, r.key
    FROM webhook_internal.recent_events_operator((SELECT @extschema@.webhook_current_organization()),
                                                 least(read_max, 100000)) r
    WHERE (SELECT @extschema@.webhook_current_organization()) IS NOT NULL
$$;
COMMENT ON FUNCTION webhook_internal.recent_events_tenant(integer) IS
    'recent_events_operator() for the session''s organization, without the data of the events. Reads at most 100000.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.recent_events_tenant(integer)');

CREATE FUNCTION webhook_internal.recent_events(organization text, read_max integer)
    RETURNS TABLE (id bigint, created_at timestamptz, event text, organization_id text, key text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN QUERY SELECT r.* FROM webhook_internal.recent_events_operator(organization, read_max) r;
    ELSE
        RETURN QUERY SELECT r.* FROM webhook_internal.recent_events_tenant(read_max) r;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.recent_events(text, integer) IS
    'The newest events that the caller may see, as by recent_events_operator().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.recent_events(text, integer)');

CREATE FUNCTION webhook_internal.check_patterns(field text, patterns text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    IF cardinality(patterns) > 200 THEN
        PERFORM webhook_internal.raise_argument(field, 'invalid_parameter_value',
                                                field || ' can be at most 200 names and patterns');
    END IF;
    SELECT p.pattern, @extschema@.webhook_event_pattern_problem(p.pattern) AS problem INTO wrong
    FROM unnest(patterns) p (pattern)
    WHERE p.pattern IS NULL OR @extschema@.webhook_event_pattern_problem(p.pattern) IS NOT NULL LIMIT 1;
    IF FOUND THEN
        PERFORM webhook_internal.raise_argument(field, 'invalid_parameter_value',
            'invalid event "' || left(coalesce(wrong.pattern, 'null'), 100) || '": '
            || coalesce(wrong.problem, 'it is null'),
            'Give names such as contact.created, patterns such as contact.*, or * for all.');
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_patterns(text, text[]) IS
    'Raises an error (22023) unless the argument is at most 200 names and patterns of events. They need not be known.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_patterns(text, text[])');

CREATE FUNCTION webhook_internal.matches_any(patterns text[], event text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM unnest(patterns) p WHERE @extschema@.webhook_event_matches(p, event))
$$;
COMMENT ON FUNCTION webhook_internal.matches_any(text[], text) IS 'Whether one of the patterns matches the event.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.matches_any(text[], text)');

CREATE FUNCTION webhook_internal.read_filter(filter text) RETURNS jsonpath
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text; message text; detail text; hint text;
BEGIN
    IF octet_length(filter) > 1024 THEN
        PERFORM webhook_internal.raise_argument('filter', 'invalid_parameter_value',
                                                'the filter is longer than 1024 bytes');
    END IF;
    RETURN filter::jsonpath;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                            hint = PG_EXCEPTION_HINT;
    PERFORM webhook_internal.raise_argument('filter', state, message, hint);
END
$$;
COMMENT ON FUNCTION webhook_internal.read_filter(text) IS
    'A filter. Raises an error with {"field": "filter"} as DETAIL unless it is a jsonpath of at most 1024 bytes.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.read_filter(text)');

-- How many of some events a filter passes, and which it cannot judge. Each event has to be fetched and parsed. One query
-- fetches all, because beginning one costs more than finding an event.
CREATE FUNCTION webhook_internal.count_passing(ids bigint[], path jsonpath, OUT passing jsonb, OUT unjudged bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    happened record;
    names text[] := '{}';
BEGIN
    unjudged := 0;
    FOR happened IN
        SELECT e.event, e.data FROM unnest(ids) i (id)
        LEFT JOIN LATERAL (SELECT o.event, o.data FROM @extschema@.webhook_own_events o WHERE o.id = i.id LIMIT 1) e ON true
    LOOP
        IF happened.data IS NULL OR @extschema@.webhook_filter_data_problem(happened.data::text) IS NOT NULL THEN
            unjudged := unjudged + 1;
            CONTINUE;
        END IF;
        BEGIN
            IF @extschema@.webhook_filter_matches(path, happened.data) THEN
                names := names || happened.event;
            END IF;
        EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
            unjudged := unjudged + 1;
        END;
    END LOOP;
    passing := (SELECT coalesce(jsonb_object_agg(n.name, n.count), '{}')
                FROM (SELECT u.name, count(*) FROM unnest(names) u (name) GROUP BY u.name) n);
END
$$;
COMMENT ON FUNCTION webhook_internal.count_passing(bigint[], jsonpath) IS
    'How many of the events a filter passes, by name of event, and how many it cannot judge.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_passing(bigint[], jsonpath)');

CREATE FUNCTION webhook_api.match_count(
    events text[] DEFAULT NULL, filter text DEFAULT NULL, organization text DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
    day CONSTANT timestamptz := now() - interval '24 hours';
    sees_data boolean := has_column_privilege('@extschema@.webhook_own_events'::regclass, 'data', 'SELECT');
    path jsonpath;
    rows_max integer := 10000;
    recent record;
    by_event jsonb;
    unjudged bigint := 0;
BEGIN
    PERFORM webhook_internal.check_patterns('events', events);
    IF filter IS NOT NULL AND sees_data THEN
        path := webhook_internal.read_filter(filter);
        rows_max := 1000;
    END IF;
    WITH read AS MATERIALIZED (
        SELECT r.id, r.created_at, r.event FROM webhook_internal.recent_events(scope, 30000) r
    ), searched AS MATERIALIZED (
        SELECT r.id, r.created_at, r.event FROM read r
        WHERE r.id IS NOT NULL AND r.created_at >= day ORDER BY r.id DESC LIMIT rows_max
    ), named AS MATERIALIZED (  -- so that each name is compared once, and not with each event
        SELECT s.event, count(*) FROM searched s GROUP BY s.event
    ), selected AS MATERIALIZED (
        SELECT n.event, n.count FROM named n WHERE webhook_internal.matches_any(coalesce(events, '{*}'), n.event)
    )
    SELECT count(*) AS searched, count(*) = rows_max AS is_full, min(s.created_at) AS oldest,
           (SELECT r.created_at FROM read r WHERE r.id IS NULL AND r.created_at >= day) AS read_to,
           (SELECT coalesce(jsonb_object_agg(l.event, l.count), '{}') FROM selected l) AS by_event,
           CASE WHEN path IS NOT NULL
                THEN array_agg(s.id) FILTER (WHERE s.event IN (SELECT l.event FROM selected l)) END AS ids
    INTO recent FROM searched s;
    by_event := recent.by_event;
    IF path IS NOT NULL THEN
        SELECT p.passing, p.unjudged INTO by_event, unjudged FROM webhook_internal.count_passing(recent.ids, path) p;
    END IF;
    RETURN (jsonb_build_object(
        'since', CASE WHEN recent.is_full THEN recent.oldest ELSE coalesce(recent.read_to, day) END,
        'searched', recent.searched, 'is_complete', NOT recent.is_full AND recent.read_to IS NULL,
        'matched', (SELECT coalesce(sum(c.value::bigint), 0) FROM jsonb_each(by_event) c), 'by_event', by_event,
        'unjudged', unjudged)
        || CASE WHEN filter IS NOT NULL AND NOT sees_data THEN '{"filter_ignored": true}' ELSE '{}' END::jsonb)::json;
END
$$;
COMMENT ON FUNCTION webhook_api.match_count(text[], text, text) IS
    'How many of the newest events the patterns and the filter match: {"since", "searched", "is_complete", "matched", '
    '"by_event", "unjudged"}. Looks back 24 hours, and at 10000 events of the organization (1000 with a filter) among '
    'the newest 30000 of all at most. Roles that may not see data get "filter_ignored". Errors with {"field": ...}: '
    '22023, 42601.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.match_count(text[], text, text)');

CREATE FUNCTION webhook_api.try_filter(
    filter text, events text[] DEFAULT NULL, organization text DEFAULT NULL, page_size integer DEFAULT 20) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
    patterns text[] := coalesce(events, '{*}');
    path jsonpath := webhook_internal.read_filter(filter);
    recent record;
    payload json;
    reason text;
    tried json[] := '{}';
    matched integer := 0;
BEGIN
    PERFORM webhook_internal.check_page_size(page_size, 100);
    PERFORM webhook_internal.check_patterns('events', events);
    FOR recent IN
        WITH read AS MATERIALIZED (
            SELECT r.id, r.created_at, r.event, r.key FROM webhook_internal.recent_events(scope, 30000) r WHERE r.id IS NOT NULL
        ), named AS MATERIALIZED (
            SELECT DISTINCT r.event FROM read r
        ), selected AS MATERIALIZED (
            SELECT n.event FROM named n WHERE webhook_internal.matches_any(patterns, n.event)
        )
        SELECT r.* FROM read r WHERE r.event IN (SELECT s.event FROM selected s) ORDER BY r.id DESC LIMIT page_size
    LOOP
        SELECT e.data INTO payload FROM @extschema@.webhook_own_events e WHERE e.id = recent.id;
        reason := CASE WHEN payload IS NULL AND path IS NOT NULL
                       THEN 'its data was too large to be kept, and matches no filter'
                       ELSE @extschema@.webhook_filter_problem(path, payload) END;
        matched := matched + (reason IS NULL)::integer;
        tried := tried || json_build_object(
            'event_id', recent.id::text, 'event', recent.event, 'created_at', recent.created_at, 'key', recent.key,
            'matches', reason IS NULL, 'reason', reason, 'data', payload);
    END LOOP;
    RETURN json_build_object('tried', cardinality(tried), 'matched', matched, 'events', array_to_json(tried));
END
$$;
COMMENT ON FUNCTION webhook_api.try_filter(text, text[], text, integer) IS
    'Tries a filter on the newest events that the patterns select, among the newest 30000 of all: {"tried", "matched", '
    '"events": [{"event_id", "event", "created_at", "key", "matches", "reason", "data"}]}. Errors with {"field": ...}: '
    '22003, 22023, 42601.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.try_filter(text, text[], text, integer)');

-- webhook_api: the log.
--
-- webhook_logs is found by webhook and id, and by id. Across the webhooks of an organization the newest rows of each are
-- merged. Across all organizations a range of ids is read. Every search reads a bounded number of rows, and says how far
-- it looked. Without statistics the planner takes the BRIN index for useless, so functions that look for ids set
-- enable_seqscan to off. Compiling a plan (jit) takes longer than any of these functions, and so does planning: functions
-- that read webhook_logs are in PL/pgSQL with generic plans, which a session makes once.

CREATE FUNCTION webhook_internal.describe_log(log @extschema@.webhook_logs, webhook_name text) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'id', log.id::text, 'created_at', log.created_at, 'webhook', log.configuration_id, 'webhook_name', webhook_name,
        'event', log.event, 'event_id', CASE WHEN log.event_id >= 0 THEN log.event_id::text END,
        'is_test', log.event_id < 0, 'attempt', log.attempt, 'status', log.status,
        'response_status', log.response_status, 'error', log.error, 'duration_ms', log.duration_ms,
        'next_attempt_at', log.next_attempt_at)
$$;
COMMENT ON FUNCTION webhook_internal.describe_log(@extschema@.webhook_logs, text) IS
    'A log row as webhook_api shows it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_log(@extschema@.webhook_logs, text)');

-- By bisection. Rows are recorded in the order of id when their attempts have ended, so that created_at ascends but for
-- the time that a request takes.
CREATE FUNCTION webhook_internal.log_id_at(webhook uuid, at timestamptz) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    low bigint;
    high bigint;
    middle record;
BEGIN
    SELECT l.id, l.created_at INTO middle FROM @extschema@.webhook_logs l
    WHERE l.configuration_id = webhook ORDER BY l.id DESC LIMIT 1;
    IF NOT FOUND OR middle.created_at < at THEN
        RETURN NULL;
    END IF;
    high := middle.id;
    SELECT l.id INTO low FROM @extschema@.webhook_logs l WHERE l.configuration_id = webhook ORDER BY l.id LIMIT 1;
    WHILE low < high LOOP
        SELECT l.id, l.created_at INTO middle FROM @extschema@.webhook_logs l
        WHERE l.configuration_id = webhook AND l.id >= low + (high - low) / 2 ORDER BY l.id LIMIT 1;
        IF middle.created_at >= at THEN
            high := low + (high - low) / 2;
        ELSE
            low := middle.id + 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_id_at(uuid, timestamptz) IS
    'The id from which on the log rows of a webhook are of this time or later, but for the duration of a request; null if '
    'there are none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_id_at(uuid, timestamptz)');

-- The webhooks that a call with these arguments is about.
CREATE FUNCTION webhook_internal.webhooks_in_scope(webhook uuid, organization text, rows_max integer) RETURNS uuid[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
BEGIN
    IF webhook IS NOT NULL THEN
        PERFORM webhook_internal.require_webhook(webhook);
        RETURN ARRAY[webhook];
    END IF;
    IF scope IS NOT NULL THEN
        RETURN ARRAY(SELECT c.id FROM @extschema@.webhook_configurations c WHERE c.organization_id = scope
                     ORDER BY c.organization_id, c.name LIMIT rows_max);
    END IF;
    IF webhook_internal.caller_level() = 'operate' THEN
        RETURN ARRAY(SELECT c.id FROM @extschema@.webhook_configurations c
                     ORDER BY c.organization_id, c.name LIMIT rows_max);
    END IF;
    RETURN '{}';
END
$$;
COMMENT ON FUNCTION webhook_internal.webhooks_in_scope(uuid, text, integer) IS
    'The webhook, or the webhooks of the organization (of all, for operators who give none), at most rows_max. Raises '
    'PT404 if the caller does not see the webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.webhooks_in_scope(uuid, text, integer)');

-- Looking into all segments for the newest row of each webhook costs several times what looking into one does. Ids ascend
-- from segment to segment of a ring, but for transactions that were recording while a worker moved on: the end of a segment
-- and the beginning of the next one overlap, by less than slack ids. Rows are appended, so the first page of a segment tells
-- where it begins. It does not if all rows of that page are of transactions that have failed or are still open: null. Away
-- from an overlap one segment is enough. The second ring is small.
-- SECURITY DEFINER, because tenants cannot read webhook_rings, the sequence, and where the rows of others begin.
CREATE FUNCTION webhook_internal.log_slots(
    place bigint, is_ascending boolean, OUT slots smallint[], OUT bound bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    slack CONSTANT bigint := 100000;
    newest_id bigint := (SELECT q.last_value FROM @extschema@.webhook_logs_id_seq q);
    below bigint := CASE WHEN is_ascending THEN place ELSE least(place, newest_id + 1) - 1 END;
    used smallint[];   -- the segments with rows, the oldest first
    begins bigint[];   -- the id with which each of them begins
    here integer := 1; -- the last one that begins at below or before
    first integer;
    last integer;
BEGIN
    SELECT array_agg(u.slot ORDER BY u.age DESC), array_agg(u.first_id ORDER BY u.age DESC) INTO used, begins
    FROM (SELECT s.slot::smallint AS slot, (r.slot + 8 - s.slot) % 8 AS age,
                 (SELECT min(l.id) FROM @extschema@.webhook_logs l WHERE l.slot = s.slot AND l.ctid < '(1,0)') AS first_id
          FROM @extschema@.webhook_rings r, generate_series(0, 7) s (slot)
          WHERE r.ring = 'logs' AND pg_relation_size(('@extschema@.webhook_logs_' || s.slot)::regclass) > 0) u;
    FOR i IN 2 .. coalesce(cardinality(used), 0) LOOP
        here := CASE WHEN begins[i] <= below THEN i ELSE here END;
    END LOOP;
    first := here;
    last := here;
    IF begins[here] + slack <= below AND NOT is_ascending AND here > 1 THEN
        bound := begins[here] + slack;
    ELSIF begins[here] + slack > below OR begins[here] IS NULL THEN
        first := greatest(here - 1, 1);
        bound := CASE WHEN here > 2 AND NOT is_ascending THEN begins[here] END;
    END IF;
    IF is_ascending AND begins[here + 1] - slack - 1 > place THEN
        bound := begins[here + 1] - slack - 1;
    ELSIF is_ascending AND begins[here + 1] IS NULL THEN
        last := cardinality(used);
    ELSIF is_ascending THEN
        last := here + 1;
        bound := CASE WHEN last < cardinality(used) THEN begins[last] END;
    ELSIF here < cardinality(used) AND begins[here + 1] - slack > place IS NOT TRUE THEN
        last := here + 1;
    END IF;
    slots := coalesce(used[first : last], '{}')
             || ARRAY(SELECT s.slot::smallint FROM generate_series(8, 11) s (slot)
                      WHERE pg_relation_size(('@extschema@.webhook_logs_' || s.slot)::regclass) > 0);
END
$$;
COMMENT ON FUNCTION webhook_internal.log_slots(bigint, boolean) IS
    'The segments of webhook_logs that have the rows next to an id. Descending: all rows from bound on that are below place. '
    'Ascending: all rows up to bound that are above it. bound: null if there is no further segment.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_slots(bigint, boolean)');

-- How to spend a number of rows on some webhooks. Where a few webhooks have most of the rows, those with the newest rows
-- must be read far. Where all have as many, each must be read a little.
CREATE FUNCTION webhook_internal.log_quota(
    webhooks integer, rows integer, OUT heads_max integer, OUT rows_max integer, OUT rest_max integer)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    heads_max := greatest(1, least(webhooks, 30));
    rows_max := greatest(2, CASE WHEN webhooks <= 30 THEN rows ELSE rows * 3 / 8 END / heads_max);
    rest_max := CASE WHEN webhooks > 30 THEN greatest(2, rows * 5 / 8 / (webhooks - 30)) ELSE 0 END;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_quota(integer, integer) IS
    'The arguments of log_step() and log_after() to read about that many rows.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_quota(integer, integer)');

-- One step of a search from the newest row down: rows below the id before, complete down to the bound. A last row without
-- a log has the bound, and the time of the oldest row above it; there is none at the end of the log. rest_max 0: webhooks
-- whose newest row is older than those of heads_max others are not read, and end what is complete.
CREATE FUNCTION webhook_internal.log_step(
    webhooks uuid[], before bigint, heads_max integer, rows_max integer, rest_max integer)
    RETURNS TABLE (log @extschema@.webhook_logs, bound bigint, bound_at timestamptz, work bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    near record;
BEGIN
    SELECT s.slots, coalesce(s.bound, 0) AS low INTO near FROM webhook_internal.log_slots(before, false) s;
    RETURN QUERY
    WITH head AS MATERIALIZED (
        SELECT u.id AS webhook, n.id, row_number() OVER (ORDER BY n.id DESC) AS place
        FROM unnest(webhooks) u (id)
        CROSS JOIN LATERAL (
            SELECT max(h.id) AS id FROM unnest(near.slots) s (slot)
            CROSS JOIN LATERAL (
                SELECT l.id FROM @extschema@.webhook_logs l
                WHERE l.slot = s.slot AND l.configuration_id = u.id AND l.id >= near.low AND l.id < before
                ORDER BY l.id DESC LIMIT 1) h) n
        WHERE n.id IS NOT NULL
    ), lowest AS MATERIALIZED (
        SELECT coalesce((SELECT h.id + 1 FROM head h WHERE h.place = heads_max + 1 AND rest_max = 0), near.low) AS id
    ), read AS MATERIALIZED (
        SELECT h.webhook, q.rows, r.entry FROM lowest f, head h
        CROSS JOIN LATERAL (SELECT CASE WHEN h.place <= heads_max THEN rows_max ELSE rest_max END AS rows) q
        CROSS JOIN LATERAL (
            SELECT e.entry FROM unnest(near.slots) s (slot)
            CROSS JOIN LATERAL (
                SELECT l.id, l AS entry FROM @extschema@.webhook_logs l
                WHERE l.slot = s.slot AND l.configuration_id = h.webhook AND l.id >= f.id AND l.id < before
                ORDER BY l.id DESC LIMIT q.rows) e
            ORDER BY e.id DESC LIMIT q.rows) r
        WHERE q.rows > 0
    ), complete AS MATERIALIZED (
        SELECT greatest(f.id, (SELECT max(m.id) FROM (SELECT min((r.entry).id) AS id FROM read r
                                                      GROUP BY r.webhook, r.rows HAVING count(*) = r.rows) m)) AS id
        FROM lowest f
    )
    (SELECT r.entry, NULL::bigint, NULL::timestamptz, NULL::bigint FROM read r, complete c
     WHERE (r.entry).id >= c.id ORDER BY (r.entry).id DESC)
    UNION ALL
    SELECT NULL, c.id, (SELECT min((r.entry).created_at) FROM read r WHERE (r.entry).id >= c.id),
           cardinality(webhooks) * cardinality(near.slots) + (SELECT count(*) FROM read)
    FROM complete c WHERE c.id > 0;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_step(uuid[], bigint, integer, integer, integer) IS
    'The newest log rows of some webhooks with ids below before, newest first, and last a row with the id down to which '
    'they are complete, if there may be older rows. Of the heads_max webhooks with the newest rows at most rows_max are '
    'read, of each other one rest_max. work: how many index searches and rows it took.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_step(uuid[], bigint, integer, integer, integer)');

-- The other way round, for following.
CREATE FUNCTION webhook_internal.log_after(
    webhooks uuid[], after bigint, heads_max integer, rows_max integer, rest_max integer)
    RETURNS TABLE (log @extschema@.webhook_logs, bound bigint, bound_at timestamptz, work bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    last_id CONSTANT bigint := 9223372036854775807;
    near record;
BEGIN
    SELECT s.slots, coalesce(s.bound, last_id) AS high INTO near FROM webhook_internal.log_slots(after, true) s;
    RETURN QUERY
    WITH head AS MATERIALIZED (
        SELECT u.id AS webhook, n.id, row_number() OVER (ORDER BY n.id) AS place
        FROM unnest(webhooks) u (id)
        CROSS JOIN LATERAL (
            SELECT min(h.id) AS id FROM unnest(near.slots) s (slot)
            CROSS JOIN LATERAL (
                SELECT l.id FROM @extschema@.webhook_logs l
                WHERE l.slot = s.slot AND l.configuration_id = u.id AND l.id > after AND l.id <= near.high
                ORDER BY l.id LIMIT 1) h) n
        WHERE n.id IS NOT NULL
    ), highest AS MATERIALIZED (
        SELECT coalesce((SELECT h.id - 1 FROM head h WHERE h.place = heads_max + 1 AND rest_max = 0), near.high) AS id
    ), read AS MATERIALIZED (
        SELECT h.webhook, q.rows, r.entry FROM highest f, head h
        CROSS JOIN LATERAL (SELECT CASE WHEN h.place <= heads_max THEN rows_max ELSE rest_max END AS rows) q
        CROSS JOIN LATERAL (
            SELECT e.entry FROM unnest(near.slots) s (slot)
            CROSS JOIN LATERAL (
                SELECT l.id, l AS entry FROM @extschema@.webhook_logs l
                WHERE l.slot = s.slot AND l.configuration_id = h.webhook AND l.id > after AND l.id <= f.id
                ORDER BY l.id LIMIT q.rows) e
            ORDER BY e.id LIMIT q.rows) r
        WHERE q.rows > 0
    ), complete AS MATERIALIZED (
        SELECT least(f.id, (SELECT min(m.id) FROM (SELECT max((r.entry).id) AS id FROM read r
                                                   GROUP BY r.webhook, r.rows HAVING count(*) = r.rows) m)) AS id
        FROM highest f
    )
    (SELECT r.entry, NULL::bigint, NULL::timestamptz, NULL::bigint FROM read r, complete c
     WHERE (r.entry).id <= c.id ORDER BY (r.entry).id)
    UNION ALL
    -- Where nothing ends what is complete, later rows can have any id above the last one.
    SELECT NULL, b.id, NULL, cardinality(webhooks) * cardinality(near.slots) + (SELECT count(*) FROM read)
    FROM (SELECT CASE WHEN c.id < last_id THEN c.id ELSE (SELECT max((r.entry).id) FROM read r) END AS id
          FROM complete c) b
    WHERE b.id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_after(uuid[], bigint, integer, integer, integer) IS
    'The oldest log rows of some webhooks that are newer than a log id, the oldest first, and last a row with the id up to '
    'which they are complete; nothing if there are none. The other arguments are as in log_step().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_after(uuid[], bigint, integer, integer, integer)');

-- SECURITY DEFINER, because no role may read the sequence.
CREATE FUNCTION webhook_internal.newest_log_id() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT last_value FROM @extschema@.webhook_logs_id_seq
$$;
COMMENT ON FUNCTION webhook_internal.newest_log_id() IS
    'The last id drawn for a log row. For operators, who read the log of all organizations from there down.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.newest_log_id()');

-- The same for the log of all organizations: by a range of ids, which the BRIN index finds. Of the newest ids some may be
-- of transactions that are not committed yet. So who follows does not pass an id without a row before many later ones were
-- drawn.
CREATE FUNCTION webhook_internal.log_range(place bigint, ids_max bigint, is_ascending boolean, newest_id bigint)
    RETURNS TABLE (log @extschema@.webhook_logs, bound bigint, bound_at timestamptz, work bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    slack CONSTANT bigint := 100000;
    low bigint := CASE WHEN is_ascending THEN place + 1 ELSE place - ids_max END;
    high bigint := CASE WHEN is_ascending THEN place + ids_max ELSE place - 1 END;
BEGIN
    RETURN QUERY
    WITH read AS MATERIALIZED (
        SELECT l AS entry FROM @extschema@.webhook_logs l WHERE l.id >= low AND l.id <= high
    )
    (SELECT r.entry, NULL::bigint, NULL::timestamptz, NULL::bigint FROM read r
     ORDER BY (r.entry).id * CASE WHEN is_ascending THEN 1 ELSE -1 END)
    UNION ALL
    SELECT NULL, b.id, (SELECT min((r.entry).created_at) FROM read r), (SELECT count(*) FROM read)
    FROM (SELECT CASE WHEN NOT is_ascending THEN nullif(greatest(low, 1), 1)
                      WHEN high + slack < newest_id THEN high
                      ELSE (SELECT max((r.entry).id) FROM read r) END AS id) b
    WHERE b.id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.log_range(bigint, bigint, boolean, bigint) IS
    'log_step() and log_after() for all webhooks, deleted ones too: the log rows with the ids_max ids next to place. '
    'newest_id: the last id drawn.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_range(bigint, bigint, boolean, bigint)');

CREATE FUNCTION webhook_internal.check_log_arguments(
    status text, event text, since timestamptz, until timestamptz, before bigint, after bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF status NOT IN ('success', 'failed', 'test') THEN
        PERFORM webhook_internal.raise_argument('status', 'invalid_parameter_value',
            'invalid status "' || left(status, 100) || '"', 'The status is success, failed or test.');
    END IF;
    IF event IS NOT NULL THEN
        PERFORM webhook_internal.check_patterns('event', ARRAY[event]);
    END IF;
    IF since > until THEN
        PERFORM webhook_internal.raise_argument('since', 'invalid_parameter_value', 'since is later than until');
    END IF;
    IF before IS NOT NULL AND after IS NOT NULL THEN
        PERFORM webhook_internal.raise_argument('after', 'invalid_parameter_value',
                                                'before and after cannot be given together');
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_log_arguments(text, text, timestamptz, timestamptz, bigint, bigint) IS
    'Raises an error (22023) unless these can be arguments of webhook_api.logs().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_log_arguments(text, text, timestamptz, timestamptz, bigint, bigint)');

-- Where a search begins: at before, or where the rows of until end. A row with a higher id was recorded after a request that
-- began later.
CREATE FUNCTION webhook_internal.log_start(webhooks uuid[], before bigint, until timestamptz) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT least(coalesce(before, 9223372036854775807), min(b.id))
    FROM (SELECT webhook_internal.log_id_at(u.id, least(until, '10000-01-01Z') + interval '5 min') AS id
          FROM unnest(webhooks[: 5]) u (id) WHERE until IS NOT NULL) b
$$;
COMMENT ON FUNCTION webhook_internal.log_start(uuid[], bigint, timestamptz) IS
    'The id below which the log rows of some webhooks before a time are, as far as five of them tell.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.log_start(uuid[], bigint, timestamptz)');

-- Steps down from place, or up from it, until rows_max rows are found, the log ends, or as much was read as one call may.
-- Without a filter the first rows that are read are those that are wanted. With one, as many are read as allowed.
CREATE FUNCTION webhook_internal.search_logs(
    webhooks uuid[], newest_id bigint, status text, event text, key text, event_id bigint, since timestamptz,
    until timestamptz, place bigint, is_ascending boolean, rows_max integer,
    OUT matching @extschema@.webhook_logs[], OUT searched_to_id bigint, OUT searched_to timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    is_filtered CONSTANT boolean := num_nonnulls(status, event, key, event_id, since, until) > 0;
    -- The key is the event's, which may be gone; then the row does not match. To find it costs as much as several rows.
    work_max CONSTANT integer := CASE WHEN key IS NULL THEN 8000 ELSE 1000 END;
    quota record;
    ids_max bigint := CASE WHEN is_filtered THEN work_max ELSE 1000 END;
    worked bigint := 0;
    step record;
BEGIN
    IF is_filtered THEN
        quota := webhook_internal.log_quota(cardinality(webhooks), work_max);
    ELSE
        SELECT rows_max AS heads_max, rows_max, 0 AS rest_max INTO quota;
    END IF;
    matching := '{}';
    FOR i IN 1 .. 10 LOOP
        searched_to_id := NULL;
        FOR step IN
            SELECT s.log, s.bound, s.bound_at, s.work
            FROM (SELECT b.* FROM webhook_internal.log_step(webhooks, place, quota.heads_max, quota.rows_max, quota.rest_max) b
                  WHERE webhooks IS NOT NULL AND NOT is_ascending
                  UNION ALL
                  SELECT a.* FROM webhook_internal.log_after(webhooks, place, quota.heads_max, quota.rows_max, quota.rest_max) a
                  WHERE webhooks IS NOT NULL AND is_ascending
                  UNION ALL
                  SELECT r.* FROM webhook_internal.log_range(place, ids_max, is_ascending, newest_id) r
                  WHERE webhooks IS NULL) s
            WHERE s.bound IS NOT NULL
               OR (CASE search_logs.status WHEN 'test' THEN (s.log).event_id < 0
                                           WHEN 'success' THEN (s.log).event_id >= 0 AND (s.log).status = 'success'
                                           WHEN 'failed' THEN (s.log).event_id >= 0 AND (s.log).status = 'failed'
                                           ELSE true END
                   AND (search_logs.event_id IS NULL OR (s.log).event_id = search_logs.event_id)
                   AND (since IS NULL OR (s.log).created_at >= since)
                   AND (until IS NULL OR (s.log).created_at < until)
                   AND (search_logs.event IS NULL OR @extschema@.webhook_event_matches(search_logs.event, (s.log).event))
                   AND CASE WHEN search_logs.key IS NULL THEN true
                            ELSE (SELECT e.key = search_logs.key FROM @extschema@.webhook_own_events e
                                  WHERE e.id = (s.log).event_id LIMIT 1) END)
        LOOP
            IF step.bound IS NULL THEN
                matching := matching || step.log;
                EXIT WHEN cardinality(matching) >= rows_max;
            ELSE
                searched_to_id := step.bound;
                searched_to := coalesce(step.bound_at, searched_to);
                worked := worked + step.work;
            END IF;
        END LOOP;
        EXIT WHEN cardinality(matching) >= rows_max OR worked >= work_max
               OR searched_to_id IS NULL AND (NOT is_ascending OR webhooks IS NOT NULL OR place + ids_max >= newest_id)
               OR is_ascending AND matching <> '{}' OR NOT is_ascending AND searched_to + interval '5 min' < since;
        -- A range without rows that may yet get some is not passed, but looked beyond.
        place := coalesce(searched_to_id, place);
        ids_max := least(ids_max * 2, CASE WHEN is_ascending THEN 200000 ELSE 50000 END);
    END LOOP;
    IF is_ascending THEN
        searched_to_id := coalesce(searched_to_id, place);
    ELSIF searched_to + interval '5 min' < since THEN
        searched_to_id := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.search_logs(
    uuid[], bigint, text, text, text, bigint, timestamptz, timestamptz, bigint, boolean, integer) IS
    'What webhook_api.logs() finds next to an id, at most rows_max rows; the id to which it looked, null at the end of the '
    'log; and the time of the oldest row that was read. webhooks: null for all.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.search_logs(uuid[], bigint, text, text, text, bigint, timestamptz, timestamptz, '
    'bigint, boolean, integer)');

CREATE FUNCTION webhook_api.logs(
    webhook uuid DEFAULT NULL, organization text DEFAULT NULL, status text DEFAULT NULL, event text DEFAULT NULL,
    key text DEFAULT NULL, event_id bigint DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    before bigint DEFAULT NULL, after bigint DEFAULT NULL, page_size integer DEFAULT 50) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    webhooks uuid[] := webhook_internal.webhooks_in_scope(webhook, organization, 10000);
    newest_id bigint;
    place bigint;
    result record;
    next bigint;
    searched_to timestamptz;
BEGIN
    PERFORM webhook_internal.check_page_size(page_size, 200);
    PERFORM webhook_internal.check_log_arguments(status, event, since, until, before, after);
    -- Ids begin at 1. The bounds leave room to compute with them.
    before := CASE WHEN before < 1 THEN 1 ELSE before END;
    after := CASE WHEN after < 0 THEN 0 WHEN after > 9000000000000000000 THEN 9000000000000000000 ELSE after END;
    place := CASE WHEN after IS NULL THEN webhook_internal.log_start(webhooks, before, until) ELSE after END;
    IF webhook IS NULL AND webhook_internal.caller_level() = 'operate'
       AND webhook_internal.caller_scope(organization) IS NULL THEN
        webhooks := NULL;  -- all, also what deleted ones have left
        newest_id := webhook_internal.newest_log_id();
        place := CASE WHEN after IS NULL THEN least(place, newest_id + 1) ELSE place END;
    END IF;
    result := webhook_internal.search_logs(webhooks, newest_id, status, event, key, event_id, since, until, place,
                                           after IS NOT NULL, page_size + 1);
    IF cardinality(result.matching) > page_size THEN
        next := result.matching[page_size].id;
    ELSE
        next := result.searched_to_id;
        searched_to := CASE WHEN after IS NULL AND next IS NOT NULL THEN coalesce(result.searched_to, until, now()) END;
    END IF;
    RETURN json_build_object(
        'now', now(),
        'logs', (SELECT coalesce(json_agg(webhook_internal.describe_log(l.log, c.name) ORDER BY l.place), '[]')
                 FROM (SELECT result.matching[i] AS log, i AS place
                       FROM generate_series(1, least(cardinality(result.matching), page_size)) i) l
                 LEFT JOIN @extschema@.webhook_configurations c
                        ON c.id = (l.log).configuration_id
                           AND c.organization_id IS NOT DISTINCT FROM (l.log).organization_id),
        'next', next::text, 'searched_to', searched_to);
END
$$;
COMMENT ON FUNCTION webhook_api.logs(
    uuid, text, text, text, text, bigint, timestamptz, timestamptz, bigint, bigint, integer) IS
    'Attempts, the newest first: {"now", "logs", "next", "searched_to"}. status: success, failed, test. event: a name or '
    'a pattern. before: continues with older rows. after: rows newer than a log id, the oldest first. A call reads a '
    'bounded number of rows: searched_to is the time to which it looked if there may be more. Errors: 22003 and 22023 '
    'with {"field": ...}, PT404.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.logs(uuid, text, text, text, text, bigint, timestamptz, timestamptz, bigint, bigint, '
    'integer)');

-- webhook_api: one attempt, pending and dead deliveries, figures over time, and sending again. api_logs.sql has the log.
--
-- Functions that look for ids set enable_seqscan to off, and all set jit to off: api_logs.sql says why.

-- Follows the attempts from one to the next: the first is recorded soon after its event, and each tells when the next one
-- is due. From each time on a bounded number of the webhook's rows is read. Attempts that were made much later, such as
-- after a pause, may be missing; their numbers show it.
CREATE FUNCTION webhook_internal.attempts_of(webhook uuid, event_id bigint, since timestamptz)
    RETURNS SETOF @extschema@.webhook_logs
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attempt @extschema@.webhook_logs;
    first_id bigint := webhook_internal.log_id_at(webhook, since - interval '5 s');
BEGIN
    FOR i IN 1 .. 30 LOOP
        SELECT l.* INTO attempt
        FROM (SELECT r.* FROM @extschema@.webhook_logs r
              WHERE r.configuration_id = webhook AND r.id >= first_id ORDER BY r.id LIMIT 10000) l
        WHERE l.event_id = attempts_of.event_id ORDER BY l.id LIMIT 1;
        EXIT WHEN NOT FOUND;
        RETURN NEXT attempt;
        EXIT WHEN attempt.next_attempt_at > now();
        first_id := greatest(attempt.id + 1,
                             webhook_internal.log_id_at(webhook, attempt.next_attempt_at - interval '5 s'));
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.attempts_of(uuid, bigint, timestamptz) IS
    'The attempts to deliver an event to a webhook from a time on, the oldest first, at most 30.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.attempts_of(uuid, bigint, timestamptz)');

CREATE FUNCTION webhook_internal.describe_delivery(delivery @extschema@.webhook_deliveries) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'event_id', delivery.event_id::text, 'webhook', delivery.configuration_id, 'event', delivery.event,
        'key', delivery.key, 'state', delivery.state, 'attempts', delivery.attempts, 'created_at', delivery.created_at,
        'next_attempt_at', delivery.next_attempt_at, 'last_error', delivery.last_error, 'updated_at', delivery.updated_at)
$$;
COMMENT ON FUNCTION webhook_internal.describe_delivery(@extschema@.webhook_deliveries) IS
    'A pending or dead delivery as webhook_api shows it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_delivery(@extschema@.webhook_deliveries)');

-- An id may be reused once its webhook is deleted, and log rows carry no more of a webhook than its id.
CREATE FUNCTION webhook_internal.is_deleted_since(log @extschema@.webhook_logs) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM @extschema@.webhook_history h
                   WHERE h.configuration_id = log.configuration_id AND h.operation = 'DELETE'
                     AND h.organization_id IS NOT DISTINCT FROM log.organization_id AND h.changed_at >= log.created_at)
$$;
COMMENT ON FUNCTION webhook_internal.is_deleted_since(@extschema@.webhook_logs) IS
    'Whether webhook_history tells that the webhook of a log row was deleted after the attempt. Another one may have its '
    'id.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_deleted_since(@extschema@.webhook_logs)');

-- What a change left as it was is found in the changes that follow, or else in the webhook. That takes all later versions:
-- webhook_history lacks old ones, and those that logical replication has brought.
CREATE FUNCTION webhook_internal.sent_configuration(
    log @extschema@.webhook_logs, OUT version integer, OUT url text, OUT header_names text[], OUT secret_change text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changes_max CONSTANT integer := 1000;
    webhook record;
    first_id bigint;  -- of the changes since; null if there are none, or not all are known
    versions bigint;
BEGIN
    SELECT c.version, c.url, ARRAY(SELECT jsonb_object_keys(c.headers)) AS header_names INTO webhook
    FROM @extschema@.webhook_configurations c
    WHERE c.id = log.configuration_id AND c.organization_id IS NOT DISTINCT FROM log.organization_id;
    IF NOT FOUND OR webhook_internal.is_deleted_since(log) THEN
        RETURN;
    END IF;
    SELECT min(h.id), count(DISTINCT h.version) INTO first_id, versions
    FROM @extschema@.webhook_history h
    WHERE webhook.version - log.configuration_version <= changes_max
      AND h.configuration_id = log.configuration_id AND h.organization_id IS NOT DISTINCT FROM log.organization_id
      AND h.operation = 'UPDATE' AND h.version > log.configuration_version AND h.version <= webhook.version
      AND h.id > coalesce((SELECT max(b.id) FROM @extschema@.webhook_history b
                           WHERE b.configuration_id = log.configuration_id AND b.operation <> 'UPDATE'), 0);
    IF versions = webhook.version - log.configuration_version THEN
        version := log.configuration_version;
    ELSE
        version := webhook.version;
        first_id := NULL;
    END IF;
    url := coalesce((SELECT h.old_values ->> 'url' FROM @extschema@.webhook_history h
                     WHERE h.configuration_id = log.configuration_id AND h.id >= first_id AND h.old_values ? 'url'
                     ORDER BY h.id LIMIT 1), webhook.url);
    WITH changed AS (
        SELECT DISTINCT ON (n.name) n.name, n.name = ANY (h.old_headers) AS was_there
        FROM @extschema@.webhook_history h CROSS JOIN LATERAL unnest(h.old_headers || h.new_headers) n (name)
        WHERE h.configuration_id = log.configuration_id AND h.id >= first_id ORDER BY n.name, h.id)
    SELECT array_agg(s.name ORDER BY s.name) INTO header_names
    FROM (SELECT c.name FROM changed c WHERE c.was_there
          UNION ALL
          SELECT k.name FROM unnest(webhook.header_names) k (name) WHERE k.name NOT IN (SELECT c.name FROM changed c)) s;
    secret_change := (SELECT h.new_values ->> 'secret' FROM @extschema@.webhook_history h
                      WHERE h.configuration_id = log.configuration_id AND h.id >= first_id AND h.new_values ? 'secret'
                      ORDER BY h.id LIMIT 1);
END
$$;
COMMENT ON FUNCTION webhook_internal.sent_configuration(@extschema@.webhook_logs) IS
    'What an attempt was made with: the URL, the names of the webhook''s own headers, and the first change of the secret '
    'since then, as in webhook_history. version: that of the attempt, or the current one if webhook_history does not '
    'reach back to it or there were more than 1000 changes; null if the webhook is gone.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.sent_configuration(@extschema@.webhook_logs)');

-- As webhook_curl() writes it, but for what has been changed since, and that the values of the webhook's own headers are
-- not shown. Signatures with an earlier secret are not shown either: nobody can compute them any more.
CREATE FUNCTION webhook_internal.describe_request(log @extschema@.webhook_logs) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    sent record;
    happened record;
    secret text;
    mask text;
    sent_s bigint := floor(extract(epoch FROM log.created_at));
BEGIN
    IF log.attempt = 0 OR log.event_id < 0 THEN
        RETURN NULL;
    END IF;
    SELECT e.webhook_id, webhook_internal.body(e.event, e.created_at, e.data, e.previous, e.backfill) AS body INTO happened
    FROM @extschema@.webhook_own_events e WHERE e.id = log.event_id AND e.data IS NOT NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    sent := webhook_internal.sent_configuration(log);
    IF sent.version IS NULL THEN
        RETURN NULL;
    END IF;
    IF sent.secret_change IS NULL THEN
        BEGIN
            secret := @extschema@.webhook_reveal_secret(log.configuration_id);
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            secret := NULL;  -- it cannot be decrypted: the request is shown without signatures
        END;
    ELSIF sent.secret_change <> 'set' THEN
        mask := '***';
    END IF;
    RETURN json_build_object('url', sent.url, 'version', sent.version, 'headers', (
        SELECT json_object_agg(h.name, h.value ORDER BY h.place, h.name)
        FROM (SELECT f.* FROM (VALUES
                  (1, 'Content-Type', 'application/json'),
                  (2, 'User-Agent', 'webhook/' || (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook')
                                    || ' (PostgreSQL ' || current_setting('server_version_num')::integer / 10000 || ')'),
                  (3, 'X-Webhook-Event', log.event), (4, 'X-Webhook-Id', happened.webhook_id),
                  (5, 'webhook-id', happened.webhook_id), (6, 'X-Webhook-Attempt', log.attempt::text),
                  (7, 'X-Webhook-Timestamp',
                   to_char(log.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
                  (8, 'X-Webhook-Signature', coalesce(mask, @extschema@.webhook_sign(happened.body, secret))),
                  (9, 'webhook-timestamp', sent_s::text),
                  (10, 'webhook-signature',
                   coalesce(mask, @extschema@.webhook_sign(happened.webhook_id, sent_s, happened.body, secret)))
              ) f (place, name, value)
              WHERE f.value IS NOT NULL
              UNION ALL
              SELECT 11, k, '***' FROM unnest(sent.header_names) k) h),
        'body', happened.body);
END
$$;
COMMENT ON FUNCTION webhook_internal.describe_request(@extschema@.webhook_logs) IS
    'The request of an attempt as webhook_api shows it: {"url", "version", "headers", "body"}; null if its event or its '
    'webhook is gone, and if there was none. version: of which version URL and headers are. Signatures with a secret that '
    'has been changed since are ***.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_request(@extschema@.webhook_logs)');

CREATE FUNCTION webhook_api.attempt(id bigint) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
    SET enable_seqscan = off
AS $$
DECLARE
    log @extschema@.webhook_logs;
    webhook record;
    happened_at timestamptz;
    request json;
    curl text;
    delivery @extschema@.webhook_deliveries;
BEGIN
    SELECT l.* INTO log FROM @extschema@.webhook_logs l WHERE l.id = attempt.id;
    IF NOT FOUND THEN
        PERFORM webhook_internal.raise_unknown('attempt ' || coalesce(id::text, 'null'));
    END IF;
    SELECT c.name, c.created_at, c.version, coalesce(c.retry_schedule, webhook_internal.default_schedule()) AS schedule INTO webhook
    FROM @extschema@.webhook_configurations c
    WHERE c.id = log.configuration_id AND c.organization_id IS NOT DISTINCT FROM log.organization_id;
    SELECT d.* INTO delivery FROM @extschema@.webhook_deliveries d
    WHERE d.event_id = log.event_id AND d.configuration_id = log.configuration_id
      AND d.configuration_created_at = webhook.created_at;
    SELECT e.created_at INTO happened_at FROM @extschema@.webhook_own_events e WHERE e.id = log.event_id;
    IF webhook_internal.caller_level() <> 'read' THEN
        request := webhook_internal.describe_request(log);
        IF request IS NOT NULL THEN
            BEGIN
                curl := @extschema@.webhook_curl(id);
            EXCEPTION WHEN object_not_in_prerequisite_state OR undefined_object THEN
                curl := NULL;
            END;
        END IF;
    END IF;
    RETURN json_build_object(
        'now', now(),
        'attempt', (webhook_internal.describe_log(log, webhook.name)::jsonb
                    || jsonb_build_object(
                           'response_headers', log.response_headers, 'response_body', log.response_body,
                           'remote_ip', host(log.remote_ip), 'configuration_version', log.configuration_version))::json,
        'changed_since', CASE WHEN webhook.version IS NOT NULL
                              THEN webhook.version <> log.configuration_version OR webhook_internal.is_deleted_since(log) END,
        'attempts', (
            SELECT json_agg(webhook_internal.describe_log(a, webhook.name) ORDER BY a.id)
            FROM (SELECT log.*
                  UNION
                  SELECT b.* FROM webhook_internal.attempts_of(
                      log.configuration_id, log.event_id, coalesce(happened_at, delivery.created_at, log.created_at)) b
                  WHERE log.event_id >= 0
                  UNION
                  SELECT f.* FROM webhook_internal.attempts_of(
                      log.configuration_id, log.event_id, coalesce(log.next_attempt_at, log.created_at)) f
                  WHERE log.event_id >= 0) a),
        'attempts_max', cardinality(webhook.schedule) + 1,
        'delivery', CASE WHEN delivery.event_id IS NOT NULL THEN webhook_internal.describe_delivery(delivery) END,
        'request', request, 'curl', curl);
END
$$;
COMMENT ON FUNCTION webhook_api.attempt(bigint) IS
    'An attempt (webhook_logs.id) with its response, all attempts of its event to its webhook, and for level manage the '
    'request: {"now", "attempt", "changed_since", "attempts", "attempts_max", "delivery", "request", "curl"}. '
    'changed_since: whether the webhook was changed after the attempt; null if that is not known. Raises PT404 if there '
    'is no such log row.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.attempt(bigint)');

CREATE FUNCTION webhook_api.pending(
    webhook uuid DEFAULT NULL, state text DEFAULT 'pending', event_id bigint DEFAULT NULL, after text DEFAULT NULL,
    page_size integer DEFAULT 50) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    hook record;
    last_at timestamptz;
    last_event bigint;
    found @extschema@.webhook_deliveries[];
    next text;
BEGIN
    PERFORM webhook_internal.check_page_size(page_size, 200);
    IF state IS NULL OR state NOT IN ('pending', 'dead') THEN
        PERFORM webhook_internal.raise_argument('state', 'invalid_parameter_value',
            'invalid state "' || left(coalesce(state, 'null'), 100) || '"', 'The state is pending or dead.');
    END IF;
    IF webhook IS NULL AND event_id IS NULL THEN
        PERFORM webhook_internal.raise_argument('webhook', 'null_value_not_allowed', 'webhook or event_id must be given');
    END IF;
    IF webhook IS NOT NULL THEN
        PERFORM webhook_internal.require_webhook(webhook);
    END IF;
    IF after IS NOT NULL THEN
        BEGIN
            IF json_array_length(after::json) <> 2 THEN
                RAISE data_exception;
            END IF;
            last_at := coalesce((after::json ->> 0)::timestamptz, '-infinity');
            last_event := (after::json ->> 1)::bigint;
        EXCEPTION WHEN OTHERS THEN
            PERFORM webhook_internal.raise_argument('after', 'invalid_parameter_value', 'invalid value for after',
                'Give the next of the page before.');
        END;
    END IF;
    SELECT c.created_at, c.organization_id INTO hook FROM @extschema@.webhook_configurations c WHERE c.id = webhook;
    IF event_id IS NOT NULL THEN
        found := ARRAY(
            SELECT d FROM @extschema@.webhook_deliveries d
            JOIN @extschema@.webhook_configurations c
              ON c.id = d.configuration_id AND c.created_at = d.configuration_created_at
                 AND c.organization_id IS NOT DISTINCT FROM d.organization_id
            WHERE d.event_id = pending.event_id AND d.state = pending.state
              AND (webhook IS NULL OR d.configuration_id = webhook)
            ORDER BY d.configuration_id LIMIT page_size);
    ELSIF state = 'pending' THEN
        found := ARRAY(
            SELECT d FROM @extschema@.webhook_deliveries d
            WHERE d.configuration_id = webhook AND d.configuration_created_at = hook.created_at
              AND d.organization_id IS NOT DISTINCT FROM hook.organization_id AND d.state = 'pending'
              AND (d.next_attempt_at, d.event_id) > (coalesce(last_at, '-infinity'), coalesce(last_event, -1))
            ORDER BY d.next_attempt_at, d.event_id LIMIT page_size + 1);
    ELSE
        found := ARRAY(
            SELECT d FROM @extschema@.webhook_deliveries d
            WHERE d.configuration_id = webhook AND d.configuration_created_at = hook.created_at
              AND d.organization_id IS NOT DISTINCT FROM hook.organization_id AND d.state = 'dead'
              AND d.event_id < coalesce(last_event, 9223372036854775807)
            ORDER BY d.event_id DESC LIMIT page_size + 1);
    END IF;
    IF cardinality(found) > page_size THEN
        next := json_build_array(found[page_size].next_attempt_at, found[page_size].event_id::text);
    END IF;
    RETURN json_build_object(
        'now', now(),
        'deliveries', (SELECT coalesce(json_agg(webhook_internal.describe_delivery(f.delivery) ORDER BY f.place), '[]')
                       FROM (SELECT found[i] AS delivery, i AS place
                             FROM generate_series(1, least(cardinality(found), page_size)) i) f),
        'next', next);
END
$$;
COMMENT ON FUNCTION webhook_api.pending(uuid, text, bigint, text, integer) IS
    'The deliveries of a webhook, or of an event, in a state: {"now", "deliveries", "next"}. state: pending (those that '
    'are due first come first) or dead (the newest event first). Errors: 22003, 22004 and 22023 with {"field": ...}, '
    'PT404.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.pending(uuid, text, bigint, text, integer)');

-- The figures of one hour. A row's slot is its minute of the day, so that the hour is a range of the primary key.
CREATE FUNCTION webhook_internal.hour_of_series(
    webhooks uuid[], hour timestamptz, from_at timestamptz, to_at timestamptz, step_s integer)
    RETURNS TABLE (at timestamptz, attempts bigint, successes bigint, durations bigint[], rows bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_timestamp(floor(extract(epoch FROM m.minute) / step_s) * step_s), sum(m.attempts), sum(m.successes),
           webhook_internal.sum_durations(m.durations), count(*)
    FROM unnest(webhooks) u (id)
    JOIN @extschema@.webhook_configurations c ON c.id = u.id
    CROSS JOIN LATERAL (
        SELECT x.minute, x.attempts, x.successes, x.durations FROM @extschema@.webhook_minutes x
        WHERE x.configuration_id = c.id AND x.configuration_created_at = c.created_at
          AND x.organization_id IS NOT DISTINCT FROM c.organization_id
          AND x.slot >= (extract(hour FROM hour AT TIME ZONE 'UTC') * 60)::smallint
          AND x.slot < (extract(hour FROM hour AT TIME ZONE 'UTC') * 60 + 60)::smallint
          AND x.minute >= greatest(hour, from_at) AND x.minute < to_at) m
    GROUP BY 1
$$;
COMMENT ON FUNCTION webhook_internal.hour_of_series(uuid[], timestamptz, timestamptz, timestamptz, integer) IS
    'The results of some webhooks in the part of an hour that lies in [from_at, to_at), by steps, and how many rows of '
    'webhook_minutes were summed.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.hour_of_series(uuid[], timestamptz, timestamptz, timestamptz, integer)');

-- The rows of a day (UTC), which are a range of slots.
CREATE FUNCTION webhook_internal.hours_of_day(
    webhooks uuid[], day timestamptz, from_at timestamptz, to_at timestamptz) RETURNS SETOF @extschema@.webhook_hours
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT x.*
    FROM unnest(webhooks) u (id)
    JOIN @extschema@.webhook_configurations c ON c.id = u.id
    JOIN @extschema@.webhook_hours x
      ON x.configuration_id = c.id AND x.configuration_created_at = c.created_at
         AND x.organization_id IS NOT DISTINCT FROM c.organization_id
    WHERE x.slot >= webhook_internal.hour_slot(day) AND x.slot < webhook_internal.hour_slot(day) + 24
      AND x.hour >= greatest(day, from_at) AND x.hour < least(day + interval '24 hours', to_at)
$$;
COMMENT ON FUNCTION webhook_internal.hours_of_day(uuid[], timestamptz, timestamptz, timestamptz) IS
    'The results of some webhooks in the hours of a day (UTC) that begin in [from_at, to_at).';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.hours_of_day(uuid[], timestamptz, timestamptz, timestamptz)');

-- Minutes are kept for 24 hours, and hours for 90 days. A client's clock may be late by an hour.
CREATE FUNCTION webhook_internal.is_by_hour(since timestamptz, webhooks uuid[]) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(since < now() - interval '25 hours', false) OR coalesce(cardinality(webhooks), 0) > 40
$$;
COMMENT ON FUNCTION webhook_internal.is_by_hour(timestamptz, uuid[]) IS
    'Whether webhook_api.series() sums webhook_hours instead of webhook_minutes: for more than a day or 40 webhooks.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_by_hour(timestamptz, uuid[])');

-- The shortest step with at most 100 points, or the longest there is.
CREATE FUNCTION webhook_internal.step_of_series(span interval, by_hour boolean) RETURNS integer
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(min(s.s) FILTER (WHERE s.s * 100 >= extract(epoch FROM span)), max(s.s))
    FROM unnest(CASE WHEN by_hour THEN ARRAY[3600, 10800, 21600, 43200, 86400] ELSE ARRAY[60, 300, 900, 1800] END) s (s)
$$;
COMMENT ON FUNCTION webhook_internal.step_of_series(interval, boolean) IS
    'How many seconds a point of webhook_api.series() stands for. by_hour: at least an hour.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.step_of_series(interval, boolean)');

CREATE FUNCTION webhook_api.series(
    webhook uuid DEFAULT NULL, organization text DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    webhooks_max CONSTANT integer := 1000;
    webhooks uuid[] := webhook_internal.webhooks_in_scope(webhook, organization, webhooks_max + 1);
    by_hour boolean := webhook_internal.is_by_hour(since, webhooks);
    rows_max integer := CASE WHEN by_hour THEN 30000 ELSE 60000 END;
    from_at timestamptz := greatest(CASE WHEN since > now() THEN now() ELSE since END,
                                    now() - CASE WHEN by_hour AND since IS NOT NULL THEN interval '90 days'
                                                 ELSE interval '24 hours' END);
    to_at timestamptz := CASE WHEN until < '1970-01-01Z' THEN '1970-01-01Z' ELSE least(until, now()) END;
    step_s integer := webhook_internal.step_of_series(to_at - from_at, by_hour);
    part_length interval := CASE WHEN by_hour THEN interval '24 hours' ELSE interval '1 hour' END;
    part timestamptz := date_trunc(CASE WHEN by_hour THEN 'day' ELSE 'hour' END, to_at, 'UTC');
    figures record;
    read bigint := 0;
    ats timestamptz[] := '{}';
    attempts bigint[] := '{}';
    successes bigint[] := '{}';
    p50_ms double precision[] := '{}';
    p95_ms double precision[] := '{}';
    searched_to timestamptz;
BEGIN
    IF since > until THEN
        PERFORM webhook_internal.raise_argument('since', 'invalid_parameter_value', 'since is later than until');
    END IF;
    from_at := to_timestamp(floor(extract(epoch FROM from_at) / step_s) * step_s);
    WHILE part > from_at - part_length LOOP
        IF read >= rows_max THEN
            searched_to := part + part_length;
            EXIT;
        END IF;
        FOR figures IN
            SELECT h.* FROM webhook_internal.hour_of_series(webhooks[: webhooks_max], part, from_at, to_at, step_s) h
            WHERE NOT by_hour
            UNION ALL
            SELECT to_timestamp(floor(extract(epoch FROM h.hour) / step_s) * step_s), sum(h.attempts), sum(h.successes),
                   webhook_internal.sum_durations(h.durations), count(*)
            FROM webhook_internal.hours_of_day(webhooks[: webhooks_max], part, from_at, to_at) h
            WHERE by_hour GROUP BY 1
        LOOP
            read := read + figures.rows;
            ats := ats || figures.at;
            attempts := attempts || figures.attempts;
            successes := successes || figures.successes;
            p50_ms := p50_ms || webhook_internal.duration_quantile(figures.durations, 0.5);
            p95_ms := p95_ms || webhook_internal.duration_quantile(figures.durations, 0.95);
        END LOOP;
        part := part - part_length;
    END LOOP;
    RETURN json_build_object(
        'step_s', step_s, 'points', (
            SELECT coalesce(json_agg(json_build_object(
                       'at', p.at, 'attempts', coalesce(f.attempts, 0), 'successes', coalesce(f.successes, 0),
                       'p50_ms', f.p50_ms, 'p95_ms', f.p95_ms) ORDER BY p.at), '[]')
            FROM generate_series(greatest(from_at, searched_to), to_at, make_interval(secs => step_s)) p (at)
            LEFT JOIN unnest(ats, attempts, successes, p50_ms, p95_ms) f (at, attempts, successes, p50_ms, p95_ms)
                   ON f.at = p.at),
        'searched_to', searched_to, 'is_complete', coalesce(cardinality(webhooks), 0) <= webhooks_max);
END
$$;
COMMENT ON FUNCTION webhook_api.series(uuid, text, timestamptz, timestamptz) IS
    'Attempts, successes and durations over time, by default of the last 24 hours: {"step_s", "points": [{"at", '
    '"attempts", "successes", "p50_ms", "p95_ms"}], "searched_to", "is_complete"}. At most 90 days back. Steps are at '
    'least an hour for more than 25 hours back and for more than 40 webhooks. searched_to: the points begin there, '
    'because so many webhooks have so many hours; otherwise null. is_complete: false if there are more than 1000 '
    'webhooks, of which the first 1000 were counted. Errors: 22023, PT404.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.series(uuid, text, timestamptz, timestamptz)');

-- The newest days first, until rows_max rows have been read.
CREATE FUNCTION webhook_internal.breakdown_by_hour(
    webhooks uuid[], from_at timestamptz, to_at timestamptz, rows_max integer,
    OUT events jsonb, OUT statuses jsonb, OUT searched_to timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    day timestamptz := date_trunc('day', least(to_at, now()), 'UTC');
    summed record;
    read bigint := 0;
BEGIN
    from_at := greatest(from_at, now() - interval '90 days');
    WHILE day > from_at - interval '24 hours' AND searched_to IS NULL LOOP
        WITH hour AS MATERIALIZED (
            SELECT h.events, h.statuses FROM webhook_internal.hours_of_day(webhooks, day, from_at, to_at) h
        ), total AS (
            SELECT k.is_event, x.key AS name,
                   jsonb_build_array(sum((x.value ->> 0)::bigint), sum((x.value ->> 1)::bigint)) AS pair
            FROM hour h
            CROSS JOIN LATERAL (VALUES (true, h.events), (false, h.statuses)) k (is_event, counts)
            CROSS JOIN LATERAL jsonb_each(k.counts) x
            GROUP BY k.is_event, x.key
        )
        SELECT jsonb_object_agg(t.name, t.pair) FILTER (WHERE t.is_event) AS events,
               jsonb_object_agg(t.name, t.pair) FILTER (WHERE NOT t.is_event) AS statuses,
               (SELECT count(*) FROM hour) AS rows
        INTO summed FROM total t;
        events := webhook_internal.add_counts(events, summed.events);
        statuses := webhook_internal.add_counts(statuses, summed.statuses);
        read := read + summed.rows;
        IF read >= rows_max AND day > from_at THEN
            searched_to := day;
        END IF;
        day := day - interval '24 hours';
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.breakdown_by_hour(uuid[], timestamptz, timestamptz, integer) IS
    'The sums of webhook_hours.events and statuses of some webhooks, of those of the last 90 days'' hours that begin in '
    '[from_at, to_at). '
    'searched_to: the day down to which it looked, if rows_max kept it from looking further.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.breakdown_by_hour(uuid[], timestamptz, timestamptz, integer)');

-- The rows that breakdown() counts: those of some webhooks (null: of all) below an id, as many as one call may read.
CREATE FUNCTION webhook_internal.newest_logs(webhooks uuid[], place bigint, since timestamptz)
    RETURNS TABLE (log @extschema@.webhook_logs, searched_to timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    rows_max CONSTANT integer := 10000;
    quota record := webhook_internal.log_quota(cardinality(webhooks), rows_max);
    worked bigint := 0;
    step record;
    next bigint;
BEGIN
    FOR i IN 1 .. 10 LOOP
        next := NULL;
        FOR step IN
            SELECT b.* FROM webhook_internal.log_step(webhooks, place, quota.heads_max, quota.rows_max, quota.rest_max) b
            WHERE webhooks IS NOT NULL
            UNION ALL
            SELECT r.* FROM webhook_internal.log_range(place, rows_max, false, NULL) r WHERE webhooks IS NULL
        LOOP
            IF step.bound IS NULL THEN
                log := step.log;
                RETURN NEXT;
            ELSE
                next := step.bound;
                searched_to := coalesce(step.bound_at, searched_to);
                worked := worked + step.work;
            END IF;
        END LOOP;
        EXIT WHEN next IS NULL OR searched_to < since;
        IF worked >= rows_max OR i = 10 THEN
            log := NULL;
            searched_to := coalesce(searched_to, now());
            RETURN NEXT;
            EXIT;
        END IF;
        place := next;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.newest_logs(uuid[], bigint, timestamptz) IS
    'About 10000 log rows of some webhooks (null: of all) below an id, down to a time. If there are more, a last row without '
    'a log has the time to which they are complete.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.newest_logs(uuid[], bigint, timestamptz)');

-- place: where the search begins.
CREATE FUNCTION webhook_internal.breakdown_of_log(
    webhooks uuid[], place bigint, from_at timestamptz, to_at timestamptz) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    result json;
BEGIN
    WITH read AS MATERIALIZED (
        SELECT (n.log).event, (n.log).status, (n.log).response_status, (n.log).error, (n.log).event_id,
               (n.log).created_at, n.searched_to
        FROM webhook_internal.newest_logs(webhooks, place, from_at) n
    ), counted AS MATERIALIZED (
        SELECT r.event, r.status, r.response_status, r.error FROM read r
        WHERE r.event_id >= 0 AND r.created_at >= from_at AND r.created_at < to_at
    )
    SELECT json_build_object(
        'by_event', (SELECT coalesce(json_agg(json_build_object('event', e.event, 'attempts', e.attempts,
                                                                'successes', e.successes)
                                              ORDER BY e.attempts DESC, e.event), '[]')
                     FROM (SELECT c.event, count(*) AS attempts, count(*) FILTER (WHERE c.status = 'success') AS successes
                           FROM counted c GROUP BY c.event ORDER BY 2 DESC LIMIT 100) e),
        'by_status', (SELECT coalesce(json_agg(json_build_object('response_status', s.response_status, 'error', s.error,
                                                                 'attempts', s.attempts)
                                               ORDER BY s.attempts DESC, s.response_status, s.error), '[]')
                      FROM (SELECT c.response_status, left(c.error, 200) AS error, count(*) AS attempts
                            FROM counted c GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 100) s),
        'searched_to', (SELECT r.searched_to FROM read r WHERE r.event IS NULL AND r.searched_to >= from_at))
    INTO result;
    RETURN result;
END
$$;
COMMENT ON FUNCTION webhook_internal.breakdown_of_log(uuid[], bigint, timestamptz, timestamptz) IS
    'webhook_api.breakdown() of about the newest 10000 log rows below an id. webhooks: null for all.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.breakdown_of_log(uuid[], bigint, timestamptz, timestamptz)');

CREATE FUNCTION webhook_api.breakdown(
    webhook uuid DEFAULT NULL, organization text DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    webhooks uuid[] := webhook_internal.webhooks_in_scope(webhook, organization, 1000);
    place bigint;
    summed record;
BEGIN
    IF since > until THEN
        PERFORM webhook_internal.raise_argument('since', 'invalid_parameter_value', 'since is later than until');
    END IF;
    IF since IS NULL OR NOT webhook_internal.is_by_hour(since, NULL) THEN
        place := webhook_internal.log_start(webhooks, NULL, until);
        IF webhook IS NULL AND webhook_internal.caller_level() = 'operate'
           AND webhook_internal.caller_scope(organization) IS NULL THEN
            webhooks := NULL;
            place := least(place, webhook_internal.newest_log_id() + 1);
        END IF;
        RETURN webhook_internal.breakdown_of_log(webhooks, place, coalesce(since, now() - interval '24 hours'),
                                                 coalesce(until, 'infinity'));
    END IF;
    SELECT b.* INTO summed
    FROM webhook_internal.breakdown_by_hour(webhooks, date_trunc('hour', since, 'UTC'), least(until, now()), 20000) b;
    RETURN json_build_object(
        'by_event', (SELECT coalesce(json_agg(json_build_object('event', nullif(e.key, ''), 'attempts', (e.value ->> 0)::bigint,
                                                                'successes', (e.value ->> 1)::bigint)
                                              ORDER BY (e.value ->> 0)::bigint DESC, e.key), '[]')
                     FROM jsonb_each(summed.events) e),
        'by_status', (SELECT coalesce(json_agg(json_build_object('response_status',
                                                                 CASE WHEN s.key NOT IN ('', '0') THEN s.key::integer END,
                                                                 'error', CASE s.key WHEN '' THEN 'other responses' END,
                                                                 'attempts', (s.value ->> 0)::bigint)
                                               ORDER BY (s.value ->> 0)::bigint DESC, s.key), '[]')
                      FROM jsonb_each(summed.statuses) s),
        'searched_to', summed.searched_to);
END
$$;
COMMENT ON FUNCTION webhook_api.breakdown(uuid, text, timestamptz, timestamptz) IS
    'Attempts by event and by result, by default of the last 24 hours, without tests: {"by_event": [{"event", '
    '"attempts", "successes"}], "by_status": [{"response_status", "error", "attempts"}], "searched_to"}. Up to 25 hours '
    'back it reads about the newest 10000 log rows. Further back, at most 90 days, it sums whole hours, whose error is '
    'null. searched_to is the time to which it looked if there is more. Errors: 22023, PT404.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.breakdown(uuid, text, timestamptz, timestamptz)');

-- The events of a webhook at once, because each time all deliveries of its organization are counted. Then one by one those
-- of which one could not be sent, to say which.
-- Searching webhook_logs by id alone takes milliseconds, by webhook and id microseconds. So the first id found by itself
-- tells the webhook of most others.
CREATE FUNCTION webhook_internal.attempts(log_ids bigint[])
    RETURNS TABLE (webhook uuid, organization text, log_id bigint, event_id bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
DECLARE
    alone_max CONSTANT integer := 5;
    rest bigint[] := ARRAY(SELECT DISTINCT u.i FROM unnest(log_ids) u (i) WHERE u.i IS NOT NULL ORDER BY u.i);
    found_ids bigint[];
BEGIN
    FOR n IN 1 .. alone_max LOOP
        EXIT WHEN cardinality(rest) = 0;
        webhook := (SELECT l.configuration_id FROM @extschema@.webhook_logs l WHERE l.id = rest[1] LIMIT 1);
        found_ids := rest[1 : 1];
        FOR organization, log_id, event_id IN
            SELECT l.organization_id, l.id, l.event_id
            FROM unnest(rest) u (i)
            CROSS JOIN LATERAL (SELECT o.organization_id, o.id, o.event_id FROM @extschema@.webhook_logs o
                                WHERE o.configuration_id = webhook AND o.id = u.i LIMIT 1) l LOOP
            found_ids := found_ids || log_id;
            RETURN NEXT;
        END LOOP;
        rest := ARRAY(SELECT u.i FROM unnest(rest) u (i) WHERE u.i <> ALL (found_ids) ORDER BY u.i);
    END LOOP;
    IF cardinality(rest) > 0 THEN
        RETURN QUERY SELECT l.configuration_id, l.organization_id, l.id, l.event_id
                     FROM @extschema@.webhook_logs l WHERE l.id = ANY (rest);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.attempts(bigint[]) IS 'The attempts with these ids (webhook_logs.id).';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.attempts(bigint[])');

CREATE FUNCTION webhook_api.redeliver(log_ids bigint[]) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
    SET enable_seqscan = off
AS $$
DECLARE
    batch record;
    log_id bigint;
    done bigint[] := '{}';
    redelivered integer := 0;
    problems json[] := '{}';
    state text;
    message text;
BEGIN
    IF coalesce(cardinality(log_ids), 0) NOT BETWEEN 1 AND 100 THEN
        PERFORM webhook_internal.raise_argument('log_ids', 'invalid_parameter_value', 'log_ids must have 1 to 100 ids');
    END IF;
    FOR batch IN SELECT a.webhook, array_agg(DISTINCT a.event_id) AS events, array_agg(a.log_id) AS ids
                 FROM webhook_internal.attempts(log_ids) a
                 JOIN @extschema@.webhook_configurations c
                      ON c.id = a.webhook AND c.organization_id IS NOT DISTINCT FROM a.organization
                 WHERE a.event_id >= 0
                 GROUP BY a.webhook ORDER BY a.webhook LOOP
        BEGIN
            PERFORM webhook_internal.redeliver_events(batch.webhook, batch.events);
            done := done || batch.ids;
            redelivered := redelivered + cardinality(batch.ids);
        EXCEPTION WHEN undefined_object OR object_not_in_prerequisite_state OR configuration_limit_exceeded THEN
            CONTINUE;
        END;
    END LOOP;
    FOR log_id IN SELECT DISTINCT i FROM unnest(log_ids) i WHERE i <> ALL (done) ORDER BY i LOOP
        BEGIN
            PERFORM @extschema@.webhook_redeliver(log_id);
            redelivered := redelivered + 1;
        EXCEPTION WHEN undefined_object OR object_not_in_prerequisite_state OR configuration_limit_exceeded THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
            problems := problems || json_build_object('log_id', log_id::text, 'message', message);
        END;
    END LOOP;
    RETURN json_build_object('redelivered', redelivered, 'problems', array_to_json(problems));
EXCEPTION WHEN read_only_sql_transaction THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
    PERFORM webhook_internal.raise_again(state, message, NULL, NULL);
END
$$;
COMMENT ON FUNCTION webhook_api.redeliver(bigint[]) IS
    'Sends the events of attempts (webhook_logs.id, at most 100) again, as webhook_redeliver() does: {"redelivered", '
    '"problems": [{"log_id", "message"}]}. One that fails does not keep the others from being sent. Raises 22023.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.redeliver(bigint[])');

CREATE FUNCTION webhook_api.cancel(id uuid, event_id bigint DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM webhook_internal.require_webhook(id);
    RETURN json_build_object('cancelled', @extschema@.webhook_cancel(id, event_id));
END
$$;
COMMENT ON FUNCTION webhook_api.cancel(uuid, bigint) IS
    'Gives up the pending deliveries of a webhook, or that of one event, as webhook_cancel() does: {"cancelled": n}. '
    'Raises PT404 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.cancel(uuid, bigint)');

-- webhook_api: what became of an event, finding an event, and why a receiver refuses a signature.

-- The log rows are looked for from the time of the event on, which one of the webhooks that subscribe to it tells.
CREATE FUNCTION webhook_api.explain(event_id bigint) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off SET DateStyle = 'ISO'
AS $$
DECLARE
    webhooks_max CONSTANT integer := 100;
    happened record;
    is_stored boolean := true;
    log_from bigint;
    webhooks json[];
BEGIN
    SELECT e.created_at, e.event, e.organization_id, e.known_switch, e.webhook_id, e.key INTO happened
    FROM @extschema@.webhook_own_events e WHERE e.id = explain.event_id;
    IF NOT FOUND THEN
        is_stored := false;
        SELECT d.created_at, d.event, d.organization_id, NULL::integer AS known_switch, NULL::text AS webhook_id, d.key
        INTO happened FROM @extschema@.webhook_deliveries d WHERE d.event_id = explain.event_id LIMIT 1;
    END IF;
    IF happened.event IS NULL THEN
        PERFORM webhook_internal.raise_unknown('event ' || coalesce(explain.event_id::text, 'null'));
    END IF;
    SELECT min(webhook_internal.log_id_at(c.id, happened.created_at - interval '5 s')) INTO log_from
    FROM (SELECT k.id FROM @extschema@.webhook_configurations k
          WHERE k.organization_id IS NOT DISTINCT FROM happened.organization_id
            AND webhook_internal.matches_any(k.events, happened.event)
          ORDER BY k.name LIMIT 5) c;
    webhooks := ARRAY(
        SELECT json_build_object(
                   'webhook', x.configuration_id, 'name', x.name, 'matched', x.matched, 'reason', x.reason,
                   'outcome', x.outcome, 'attempts', x.attempts, 'last_attempt_at', x.last_attempt_at,
                   'last_error', x.last_error, 'next_attempt_at', x.next_attempt_at)
        FROM webhook_internal.explain_event(
            explain.event_id, happened.created_at, happened.event, happened.organization_id, happened.known_switch,
            coalesce(log_from, 9223372036854775807), webhooks_max + 1) x);
    RETURN json_build_object(
        'event', CASE WHEN is_stored THEN json_build_object(
            'id', explain.event_id::text, 'webhook_id', happened.webhook_id, 'event', happened.event,
            'created_at', happened.created_at, 'key', happened.key) END,
        'webhooks', array_to_json(webhooks[: webhooks_max]), 'is_complete', cardinality(webhooks) <= webhooks_max);
END
$$;
COMMENT ON FUNCTION webhook_api.explain(bigint) IS
    'What became of an event, by webhook, as webhook_explain() says it: {"event", "webhooks": [{"webhook", "name", '
    '"matched", "reason", "outcome", "attempts", "last_attempt_at", "last_error", "next_attempt_at"}], "is_complete"}. At '
    'most 100 webhooks, and of each the 1000 log rows from the time of the event on. event is null if only deliveries of '
    'it are left. Raises PT404 if there is no such event.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.explain(bigint)');

CREATE FUNCTION webhook_api.find(
    webhook_id text DEFAULT NULL, source text DEFAULT NULL, key text DEFAULT NULL, organization text DEFAULT NULL)
    RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
    found json;
    searched_to timestamptz;
    names text[];
    ids bigint[];
BEGIN
    IF num_nonnulls(webhook_id, key) <> 1 THEN
        PERFORM webhook_internal.raise_argument('webhook_id', 'invalid_parameter_value',
                                                'either webhook_id or key must be given');
    END IF;
    IF webhook_id IS NOT NULL THEN
        IF btrim(webhook_id) !~ '^evt_[0-9a-z]{26}$' THEN
            PERFORM webhook_internal.raise_argument('webhook_id', 'invalid_parameter_value', 'invalid webhook-id',
                'A webhook-id is evt_ and 26 characters, as in the header webhook-id.');
        END IF;
        SELECT coalesce(json_agg(json_build_object(
                   'id', f.event_id::text, 'webhook_id', btrim(webhook_id), 'event', f.event, 'created_at', f.created_at,
                   'key', (SELECT e.key FROM @extschema@.webhook_own_events e WHERE e.id = f.event_id),
                   'organization', f.organization_id)), '[]') INTO found
        FROM @extschema@.webhook_find(btrim(webhook_id)) f
        WHERE scope IS NULL OR f.organization_id = scope;
        RETURN json_build_object('events', found, 'searched_to', NULL);
    END IF;
    IF source IS NOT NULL THEN
        names := ARRAY(SELECT DISTINCT w.event FROM @extschema@.webhook_watches w
                       WHERE find.source IN (w.source::text, (SELECT c.relname FROM pg_class c WHERE c.oid = w.source)));
        IF names = '{}' THEN
            PERFORM webhook_internal.raise_argument('source', 'undefined_object',
                'no event is declared on table "' || left(source, 200) || '"', 'webhook_api.watches() has the tables.');
        END IF;
    END IF;
    SELECT array_agg(r.id ORDER BY r.id DESC) FILTER (WHERE r.id IS NOT NULL), min(r.created_at) FILTER (WHERE r.id IS NULL)
    INTO ids, searched_to
    FROM webhook_internal.recent_events(scope, 30000) r
    WHERE r.id IS NULL OR r.key = find.key AND (names IS NULL OR r.event = ANY (names));
    SELECT coalesce(json_agg(json_build_object(
               'id', e.id::text, 'webhook_id', e.webhook_id, 'event', e.event, 'created_at', e.created_at, 'key', e.key,
               'organization', e.organization_id) ORDER BY e.id DESC), '[]') INTO found
    FROM unnest(ids[: 100]) i (id)
    CROSS JOIN LATERAL (SELECT o.id, o.webhook_id, o.event, o.created_at, o.key, o.organization_id
                        FROM @extschema@.webhook_own_events o WHERE o.id = i.id LIMIT 1) e;
    RETURN json_build_object('events', found, 'searched_to', searched_to);
END
$$;
COMMENT ON FUNCTION webhook_api.find(text, text, text, text) IS
    'Events by the webhook-id that a receiver got, or by the key of a row, optionally only those that the table source '
    'causes: {"events": [{"id", "webhook_id", "event", "created_at", "key", "organization"}], "searched_to"}. A search by '
    'key looks at the newest 30000 events of all and returns at most 100; searched_to is the time of the oldest that it '
    'looked at if there are older ones. Errors with {"field": ...}: 22023, 42704.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.find(text, text, text, text)');

CREATE FUNCTION webhook_internal.is_signature(id text, sent_s bigint, body text, signature text, secret text)
    RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN coalesce(CASE WHEN id IS NULL THEN @extschema@.webhook_verify(body, signature, secret)
                         ELSE @extschema@.webhook_verify(id, sent_s, body, signature, secret) END, false);
EXCEPTION WHEN data_exception THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION webhook_internal.is_signature(text, bigint, text, text, text) IS
    'Whether the signature is one of the message, or of the body if id is null; false if the secret is none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_signature(text, bigint, text, text, text)');

-- What a receiver may have done to the body or to the secret, tried in turn.
CREATE FUNCTION webhook_internal.why_not_signed(
    id text, sent_s bigint, body text, signature text, secret text, other_is_right boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    minified text;
    signed text := CASE WHEN id IS NULL THEN body ELSE id || '.' || sent_s || '.' || body END;
    tried record;
BEGIN
    IF octet_length(body) <= 1048576 THEN
        -- Blanks between tokens; within strings they stay. A string may lack its end, as otherwise each quotation mark in it
        -- would be tried as the beginning of one.
        minified := regexp_replace(body, E'("(?:[^"\\\\]|\\\\.)*(?:"|\\\\?$))|[[:space:]]+', E'\\1', 'g');
    END IF;
    FOR tried IN
        SELECT v.* FROM (VALUES
            (rtrim(body, E'\r\n'), secret, 'the body has a line end at its end that was not sent'),
            (btrim(body, E' \t\r\n'), secret, 'the body has blanks around it that were not sent'),
            (body || E'\n', secret, 'the body lacks a line end at its end'),
            (replace(body, E'\r\n', E'\n'), secret, 'the line ends of the body were changed'),
            (minified, secret,
             'the body was parsed and serialized again, or formatted: the signature is of the bytes as they arrived'),
            (body, btrim(secret, E' \t\r\n"'''), 'the secret has blanks or quotes around it'),
            (body, 'whsec_' || secret, 'the secret lacks its beginning whsec_'),
            (minified, 'whsec_' || secret, 'the secret lacks its beginning whsec_, and the body was formatted')
        ) v (body, secret, finding)
    LOOP
        IF (tried.body, tried.secret) IS DISTINCT FROM (body, secret)
           AND webhook_internal.is_signature(id, sent_s, tried.body, signature, tried.secret) THEN
            RETURN tried.finding;
        END IF;
    END LOOP;
    IF id IS NOT NULL AND signature LIKE '%v1,' || encode(decode(substr(
           @extschema@.webhook_sign(signed, secret), 8), 'hex'), 'base64') || '%' THEN
        RETURN 'it was made with the text of the secret as the key: what follows whsec_ must be decoded from base64';
    END IF;
    IF other_is_right THEN
        RETURN CASE WHEN id IS NULL THEN 'webhook-signature is right, so that the body and the secret are: '
                                         'X-Webhook-Signature is of another request'
                    ELSE 'X-Webhook-Signature is right, so that the body and the secret are: webhook-id, '
                         'webhook-timestamp or webhook-signature is of another request' END;
    END IF;
    BEGIN
        PERFORM body::json;
    EXCEPTION WHEN OTHERS THEN
        RETURN 'the body is not JSON: a part of it is missing, or it was decoded wrongly';
    END;
    IF minified <> body THEN
        RETURN 'the body is not as it was sent: it has blanks between its members, so it was parsed and serialized again, '
               'or formatted. Verify the bytes as they arrived';
    END IF;
    RETURN 'the secret is another one, or the body was changed';
END
$$;
COMMENT ON FUNCTION webhook_internal.why_not_signed(text, bigint, text, text, text, boolean) IS
    'Why a signature is not one of a message (of the body if id is null), in words. other_is_right: whether the other '
    'signature of the request is right. It repeats nothing of the secret.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.why_not_signed(text, bigint, text, text, text, boolean)');

CREATE FUNCTION webhook_internal.verification_step(step text, is_ok boolean, message text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('step', step, 'is_ok', is_ok, 'message', message)
$$;
COMMENT ON FUNCTION webhook_internal.verification_step(text, boolean, text) IS 'A step of webhook_api.verify().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.verification_step(text, boolean, text)');

CREATE FUNCTION webhook_internal.verify_headers(given jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    signature text := given ->> 'webhook-signature';
    body_signature text := given ->> 'x-webhook-signature';
    missing text;
    malformed text;
    there jsonb := webhook_internal.verification_step('headers', true, 'the headers are there');
BEGIN
    IF signature IS NOT NULL OR body_signature IS NULL THEN
        missing := concat_ws(', ', CASE WHEN coalesce(given ->> 'webhook-id', given ->> 'x-webhook-id') IS NULL
                                        THEN 'webhook-id' END,
                             CASE WHEN given ->> 'webhook-timestamp' IS NULL THEN 'webhook-timestamp' END,
                             CASE WHEN signature IS NULL THEN 'webhook-signature' END);
    END IF;
    IF missing <> '' THEN
        RETURN jsonb_build_array(webhook_internal.verification_step('headers', false,
            'missing: ' || missing || '. A webhook without a secret sends no signature; a proxy may remove headers'));
    END IF;
    malformed := CASE
        WHEN signature IS NOT NULL AND given ->> 'webhook-timestamp' !~ '^[0-9]{1,12}$'
        THEN 'webhook-timestamp is not a number of seconds since 1970'
        WHEN signature IS NOT NULL AND NOT signature ~ '^v1,[A-Za-z0-9+/]{43}=( +v[0-9a-z]+,[A-Za-z0-9+/=]+)*$'
        THEN 'webhook-signature is not v1, and 44 characters of base64, or several of these with blanks between them'
        WHEN body_signature IS NOT NULL AND body_signature !~ '^sha256=[0-9a-f]{64}$'
        THEN 'X-Webhook-Signature is not sha256= and 64 hexadecimal digits' END;
    RETURN jsonb_build_array(there, webhook_internal.verification_step('form', malformed IS NULL,
                                                                       coalesce(malformed, 'the headers are well-formed')));
END
$$;
COMMENT ON FUNCTION webhook_internal.verify_headers(jsonb) IS
    'The steps headers and form of webhook_api.verify(), the second only if the first did not fail. given: the headers by '
    'names in lower case.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.verify_headers(jsonb)');

CREATE FUNCTION webhook_internal.verify_timestamp(sent_s bigint) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    age_s numeric := round(extract(epoch FROM clock_timestamp()) - sent_s);
BEGIN
    IF sent_s IS NULL THEN
        RETURN webhook_internal.verification_step('timestamp', NULL, 'without webhook-timestamp it is not known');
    END IF;
    RETURN webhook_internal.verification_step('timestamp', abs(age_s) <= 300,
        CASE WHEN abs(age_s) <= 300 THEN 'the request is ' || age_s || ' s old'
             WHEN age_s > 0 THEN 'the request is ' || age_s || ' s old: receivers refuse it after 300 s. That is as it '
                                 'should be for an old request; otherwise the clock of the receiver is wrong'
             ELSE 'the request is of ' || -age_s || ' s in the future: the clock of the receiver is wrong' END);
END
$$;
COMMENT ON FUNCTION webhook_internal.verify_timestamp(bigint) IS
    'The step timestamp of webhook_api.verify(). sent_s: seconds since 1970; null if there is no timestamp.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.verify_timestamp(bigint)');

CREATE FUNCTION webhook_api.verify(body text, secret text, headers jsonb) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    given jsonb;
    message_id text;
    signature text;
    body_signature text;
    sent_s bigint;
    secret_problem text;
    is_message boolean;
    is_body boolean;
    steps jsonb;
BEGIN
    IF body IS NULL OR secret IS NULL OR headers IS NULL OR jsonb_typeof(headers) <> 'object' THEN
        PERFORM webhook_internal.raise_argument(
            CASE WHEN body IS NULL THEN 'body' WHEN secret IS NULL THEN 'secret' ELSE 'headers' END,
            'invalid_parameter_value', 'body and secret must be texts, and headers a JSON object');
    END IF;
    SELECT coalesce(jsonb_object_agg(lower(btrim(h.key)), btrim(h.value)), '{}') INTO given FROM jsonb_each_text(headers) h;
    steps := webhook_internal.verify_headers(given);
    IF steps -> -1 -> 'is_ok' = 'false' THEN
        RETURN json_build_object('is_valid', false, 'steps', steps);
    END IF;
    message_id := coalesce(given ->> 'webhook-id', given ->> 'x-webhook-id');
    signature := given ->> 'webhook-signature';
    body_signature := given ->> 'x-webhook-signature';
    sent_s := (given ->> 'webhook-timestamp')::bigint;
    steps := steps || webhook_internal.verify_timestamp(sent_s);
    BEGIN
        PERFORM webhook_internal.check_secret(secret);
    EXCEPTION WHEN invalid_parameter_value THEN
        GET STACKED DIAGNOSTICS secret_problem = MESSAGE_TEXT;
    END;
    steps := steps || webhook_internal.verification_step('secret', secret_problem IS NULL, coalesce(secret_problem,
        CASE WHEN starts_with(secret, 'whsec_')
             THEN 'its key for webhook-signature is what follows whsec_, decoded from base64'
             ELSE 'its key is its text' END));

    is_message := signature IS NOT NULL
                  AND webhook_internal.is_signature(message_id, sent_s, body, signature, secret);
    is_body := body_signature IS NOT NULL AND webhook_internal.is_signature(NULL, NULL, body, body_signature, secret);
    IF signature IS NOT NULL THEN
        steps := steps || webhook_internal.verification_step('webhook-signature', is_message,
            CASE WHEN is_message THEN 'the signature is one of this id, timestamp and body'
                 ELSE webhook_internal.why_not_signed(message_id, sent_s, body, signature, secret, is_body) END);
    END IF;
    IF body_signature IS NOT NULL THEN
        steps := steps || webhook_internal.verification_step('X-Webhook-Signature', is_body,
            CASE WHEN is_body THEN 'the signature is one of this body'
                 ELSE webhook_internal.why_not_signed(NULL, NULL, body, body_signature, secret, is_message) END);
    END IF;
    RETURN json_build_object(
        'is_valid', NOT EXISTS (SELECT FROM jsonb_array_elements(steps) s WHERE s -> 'is_ok' = 'false'), 'steps', steps);
END
$$;
COMMENT ON FUNCTION webhook_api.verify(text, text, jsonb) IS
    'Why a receiver accepts or refuses a request: {"is_valid", "steps": [{"step", "is_ok", "message"}]}. Steps: headers, '
    'form, timestamp, secret, webhook-signature, X-Webhook-Signature; headers and form end it if they fail. headers: an '
    'object of names, in any case, and values. Raises 22023 with {"field": ...}.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.verify(text, text, jsonb)');

-- webhook_api: tests.

-- The waits for a worker and for a free place are not the caller's fault: PT503. What the caller gave amiss is named.
CREATE FUNCTION webhook_api.test(id uuid, event text DEFAULT NULL, payload json DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    tested record;
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    PERFORM webhook_internal.require_webhook(id);
    BEGIN
        SELECT t.* INTO tested FROM @extschema@.webhook_test(test.id, test.event, test.payload) t;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        PERFORM webhook_internal.raise_again(
            CASE WHEN state IN ('53000', '53100', '53200', '55000') THEN 'PT503'
                 WHEN state IN ('54000', '42704') THEN '22023' ELSE state END,
            message, detail, hint,
            CASE WHEN state = '54000' THEN 'payload' WHEN state IN ('42704', '22023') THEN 'event' END);
    END;
    RETURN json_build_object(
        'status', tested.status, 'response_status', tested.response_status, 'response_headers', (
            SELECT l.response_headers FROM @extschema@.webhook_logs l
            WHERE l.configuration_id = test.id AND l.id = tested.log_id),
        'response_body', tested.response_body, 'error', tested.error, 'duration_ms', tested.duration_ms,
        'log_id', tested.log_id::text, 'request', tested.request);
END
$$;
COMMENT ON FUNCTION webhook_api.test(uuid, text, json) IS
    'Sends the example of an event, or the payload as its data, to a webhook, and returns the request and the result: '
    'docs/api.md. response_headers is null in a transaction with one snapshot. Errors: PT404, 22023 if the event or the '
    'payload is wrong, and PT503 if no worker runs, the database is paused or too many tests run.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.test(uuid, text, json)');

-- webhook_api: replays.

CREATE FUNCTION webhook_internal.start_replay(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.start_replay_operator(webhook, since, until, patterns, only_failed);
    END IF;
    RETURN webhook_internal.start_replay_tenant(webhook, since, until, patterns, only_failed);
END
$$;
COMMENT ON FUNCTION webhook_internal.start_replay(uuid, timestamptz, timestamptz, text[], boolean) IS
    'Starts a replay as the caller may. Used by webhook_api.replay().';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.start_replay(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_internal.count_replay(
    webhook uuid, since timestamptz, until timestamptz, patterns text[], only_failed boolean) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
DECLARE
    counted record;
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        SELECT * INTO counted FROM webhook_internal.count_replay_operator(webhook, since, until, patterns, only_failed);
    ELSE
        SELECT * INTO counted FROM webhook_internal.count_replay_tenant(webhook, since, until, patterns, only_failed);
    END IF;
    RETURN json_build_object('count', counted.matched, 'is_complete', counted.counted_to IS NULL,
                             'counted_to', counted.counted_to);
END
$$;
COMMENT ON FUNCTION webhook_internal.count_replay(uuid, timestamptz, timestamptz, text[], boolean) IS
    'Counts what a replay would send, as the caller may. Used by webhook_api.replay().';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_replay(uuid, timestamptz, timestamptz, text[], boolean)');

CREATE FUNCTION webhook_api.replay(
    id uuid, since timestamptz, until timestamptz DEFAULT pg_catalog.now(), events text[] DEFAULT NULL,
    only_failed boolean DEFAULT false, dry_run boolean DEFAULT false) RETURNS json
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    up_to timestamptz := coalesce(until, now());
    is_limited boolean := coalesce(only_failed, false);
    result json;
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    PERFORM webhook_internal.require_webhook(id);
    BEGIN
        IF dry_run THEN
            result := webhook_internal.count_replay(replay.id, since, up_to, events, is_limited);
        ELSE
            result := json_build_object(
                'job', webhook_internal.start_replay(replay.id, since, up_to, events, is_limited)::text);
        END IF;
    EXCEPTION WHEN null_value_not_allowed OR invalid_parameter_value OR configuration_limit_exceeded
                   OR object_not_in_prerequisite_state THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        IF state IN ('22004', '22023') THEN
            PERFORM webhook_internal.raise_again('22023', message, detail, hint, 'since');
        END IF;
        PERFORM webhook_internal.raise_again('PT409', message, detail, hint);
    END;
    RETURN result;
END
$$;
COMMENT ON FUNCTION webhook_api.replay(uuid, timestamptz, timestamptz, text[], boolean, boolean) IS
    'Starts a replay of the stored events in [since, until), which a worker carries out in steps: {"job": id}. With '
    'dry_run it counts the newest: {"count": n, "is_complete", "counted_to"}. docs/api.md. Errors: PT404, 22023 if the '
    'range is wrong, and PT409 if the webhook is switched off, 10 replays of the organization are not ended, or it has as '
    'many deliveries as webhook.max_deliveries_per_organization permits.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.replay(uuid, timestamptz, timestamptz, text[], boolean, boolean)');

-- Names the columns that tenants may read.
CREATE FUNCTION webhook_internal.describe_replays(ids bigint[]) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
    SELECT coalesce(json_agg(json_build_object(
        'id', r.id::text, 'webhook', r.configuration_id, 'state', r.state, 'reason', r.reason, 'since', r.since,
        'until', r.until, 'events', r.events, 'only_failed', r.only_failed, 'progress_percent', r.progress,
        'examined', r.examined, 'queued', r.queued, 'oldest_event_at', r.oldest_event_at,
        'newest_event_at', r.newest_event_at, 'user', r.role, 'subject', r.subject, 'requested_at', r.requested_at,
        'started_at', r.started_at, 'ended_at', r.ended_at) ORDER BY r.id DESC), '[]')
    FROM @extschema@.webhook_replays r WHERE r.id = ANY (ids)
$$;
COMMENT ON FUNCTION webhook_internal.describe_replays(bigint[]) IS
    'Replays as webhook_api shows them, the newest first: those that the caller sees.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.describe_replays(bigint[])');

CREATE FUNCTION webhook_api.replays(id uuid, before bigint DEFAULT NULL, page_size integer DEFAULT 20) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    rows_max integer := webhook_internal.check_page_size(page_size, 200);
    ids bigint[];
BEGIN
    ids := ARRAY(SELECT r.id FROM @extschema@.webhook_replays r
                 WHERE r.configuration_id = replays.id AND (before IS NULL OR r.id < before)
                 ORDER BY r.id DESC LIMIT rows_max + 1);
    -- A deleted webhook has replays, too.
    IF cardinality(ids) = 0 THEN
        PERFORM webhook_internal.require_webhook(id);
    END IF;
    RETURN json_build_object('replays', webhook_internal.describe_replays(ids[:rows_max]),
                             'next', CASE WHEN cardinality(ids) > rows_max THEN ids[rows_max]::text END);
END
$$;
COMMENT ON FUNCTION webhook_api.replays(uuid, bigint, integer) IS
    'The replays of a webhook with their progress, the newest first: docs/api.md. Also of a webhook that has been deleted. '
    'before: the next of the page before. Raises PT404 if the caller sees neither the webhook nor a replay of it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.replays(uuid, bigint, integer)');

CREATE FUNCTION webhook_api.cancel_replay(job bigint) RETURNS json
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    was_cancelled boolean;
BEGIN
    IF job IS NULL THEN
        PERFORM webhook_internal.raise_argument('job', 'null_value_not_allowed', 'the id of a replay is missing');
    END IF;
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_replays r WHERE r.id = job) THEN
        PERFORM webhook_internal.raise_unknown('replay ' || job);
    END IF;
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        was_cancelled := webhook_internal.cancel_replay_operator(job);
    ELSE
        was_cancelled := webhook_internal.cancel_replay_tenant(job);
    END IF;
    RETURN json_build_object('cancelled', was_cancelled, 'replay', webhook_internal.describe_replays(ARRAY[job]) -> 0);
END
$$;
COMMENT ON FUNCTION webhook_api.cancel_replay(bigint) IS
    'Ends a replay: {"cancelled", "replay"}. cancelled is false if it had ended before. What it has made pending stays '
    'pending: webhook_api.cancel(). Raises PT404 if the caller sees no such replay.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.cancel_replay(bigint)');

-- webhook_api: who changed a webhook.

CREATE FUNCTION webhook_api.history(id uuid, before bigint DEFAULT NULL, page_size integer DEFAULT 50) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET TimeZone = 'UTC'
AS $$
DECLARE
    rows_max integer := webhook_internal.check_page_size(page_size, 200);
    changes json[];
    header_names jsonb := '{}';
    ids bigint[];
BEGIN
    -- A deleted webhook has a history, too.
    IF id IS NULL OR NOT EXISTS (SELECT FROM @extschema@.webhook_history h WHERE h.configuration_id = history.id) THEN
        PERFORM webhook_internal.require_webhook(id);
    END IF;
    ids := ARRAY(SELECT h.id FROM @extschema@.webhook_history h
                 WHERE h.configuration_id = history.id AND (before IS NULL OR h.id < before)
                 ORDER BY h.id DESC LIMIT rows_max + 1);
    -- Not one query: PostgreSQL would require the privilege on the columns.
    IF has_column_privilege('@extschema@.webhook_history'::regclass, 'old_headers', 'SELECT') THEN
        SELECT jsonb_object_agg(h.id, jsonb_build_object(
                   'old', CASE WHEN h.old_headers = '{}' THEN '{}' ELSE jsonb_build_object('header_names', h.old_headers) END,
                   'new', CASE WHEN h.new_headers = '{}' THEN '{}' ELSE jsonb_build_object('header_names', h.new_headers) END))
            INTO header_names
        FROM @extschema@.webhook_history h WHERE h.id = ANY (ids);
    END IF;
    SELECT array_agg(json_build_object(
               'id', h.id::text, 'changed_at', h.changed_at, 'operation', h.operation, 'version', h.version,
               'user', h.role, 'subject', h.subject,
               'old', h.old_values || coalesce(header_names #> ARRAY[h.id::text, 'old'], '{}'),
               'new', h.new_values || coalesce(header_names #> ARRAY[h.id::text, 'new'], '{}')) ORDER BY h.id DESC)
        INTO changes
    FROM @extschema@.webhook_history h WHERE h.id = ANY (ids[:rows_max]);
    RETURN json_build_object('changes', coalesce(to_json(changes), '[]'),
                             'next', CASE WHEN cardinality(ids) > rows_max THEN ids[rows_max]::text END);
END
$$;
COMMENT ON FUNCTION webhook_api.history(uuid, bigint, integer) IS
    'Who changed a webhook and how, the newest change first: docs/api.md. Also of a webhook that has been deleted. before: '
    'the next of the page before. Raises PT404 if the caller sees neither the webhook nor a change of it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.history(uuid, bigint, integer)');

-- webhook_grant() and webhook_revoke(): the privileges of a role, by its level.

-- Revokes all privileges of the role on the extension's own objects. USAGE on the schema of the extension stays,
-- because the schema may hold other objects.
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
COMMENT ON FUNCTION @extschema@.webhook_revoke(regrole) IS
    'Takes back webhook_grant(), except USAGE on the extension''s schema.';

-- Only uses GRANT, which pg_dump dumps. It does not dump policies on the tables of an extension.
CREATE FUNCTION @extschema@.webhook_grant(role regrole, level text DEFAULT 'manage') RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    privilege text;
BEGIN
    IF level IS NULL OR level NOT IN ('monitor', 'read', 'manage', 'operate') THEN
        RAISE EXCEPTION 'invalid level "%"', level
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The level is ''monitor'', ''read'', ''manage'' or ''operate''.';
    END IF;
    PERFORM @extschema@.webhook_revoke(role);
    FOR privilege IN SELECT p.privilege FROM webhook_internal.privileges p WHERE level = ANY (p.levels) LOOP
        EXECUTE format('GRANT %s TO %s', privilege, role);
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_grant(regrole, text) IS
    'Gives the role a level, in place of the one it has. monitor: health, figures and progress of the workers, and '
    'nothing of organizations; pg_monitor has it. read: logs, deliveries without their data, webhooks without their '
    'headers, and functions that explain them. manage: also data and headers, changing webhooks, revealing secrets, '
    'redelivering, cancelling, publishing events. operate: monitor and manage for all organizations, declaring events, '
    'pausing. Only uses GRANT. Raises 22023 if there is no such level.';

-- The library calls it after ALTER EXTENSION UPDATE, in its transaction. Not the script itself: PostgreSQL would take what
-- that grants for privileges that CREATE EXTENSION brings, and pg_dump would leave them out. Rows that this transaction has
-- inserted are new. Privileges from before stay as they are, because an administrator may have revoked some of them.
CREATE FUNCTION webhook_internal.grant_new_privileges() RETURNS void
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
            FROM (VALUES (1, 'read', 'webhook_internal.library_version()'::regprocedure),
                         (2, 'manage', 'webhook_internal.redeliver_tenant(uuid, bigint[])'::regprocedure),
                         (3, 'operate', '@extschema@.webhook_is_operator()'::regprocedure)) m (rank, level, function)
            JOIN pg_proc f ON f.oid = m.function, aclexplode(f.proacl) acl
            WHERE acl.privilege_type = 'EXECUTE' AND acl.grantee NOT IN (0, f.proowner)
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

-- Applies to all objects, so it comes last: row-level security, statistics, privileges. Then a warning if nothing will
-- be delivered.

-- Row-level security is on for every table and every segment. Tables without a policy are for the owner only, such as
-- webhook_secrets and the segments, which are read through their parents. GRANT decides whether a role may use a table
-- at all: webhook_grant().
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

-- The planner applies a leakproof operator to the rows of other organizations before the policy, and EXPLAIN shows the
-- expected number of rows: how often one of the most common values occurs. So tables with a policy for tenants keep no
-- statistics about their columns. On a partitioned table this covers the segments. Frequent queries find their index
-- without statistics.
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

-- Default privileges may have granted rights on the objects above, to a role or to PUBLIC. They are revoked.
DO $$
DECLARE
    extension oid := (SELECT e.oid FROM pg_extension e WHERE e.extname = 'webhook');
    object text;
    privilege text;
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
        WHERE n.nspname IN ('webhook_internal', 'webhook_api') AND acl.grantee NOT IN (0, n.nspowner)
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
    REVOKE ALL ON SCHEMA webhook_internal, webhook_api FROM PUBLIC;
    FOR privilege IN SELECT p.privilege FROM webhook_internal.privileges p WHERE 'public' = ANY (p.levels) LOOP
        EXECUTE format('GRANT %s TO PUBLIC', privilege);
    END LOOP;
    -- Not USAGE on the schema of the extension: pg_dump would take all privileges that the schema has now for the
    -- extension's, and leave them out.
    FOR privilege IN
        SELECT p.privilege FROM webhook_internal.privileges p
        WHERE 'monitor' = ANY (p.levels) AND p.privilege NOT LIKE 'USAGE ON SCHEMA %'
    LOOP
        EXECUTE format('GRANT %s TO pg_monitor', privilege);
    END LOOP;
END
$$;

DO $$
BEGIN
    IF NOT @extschema@.webhook_is_preloaded() THEN
        RAISE WARNING 'webhook is not preloaded: events are captured, but not delivered'
            USING DETAIL = 'Nothing is lost: once it is preloaded, the events captured until then are delivered.',
                  HINT = format('Set shared_preload_libraries = %L in postgresql.conf and restart the server.',
                                concat_ws(',', nullif(current_setting('shared_preload_libraries'), ''), 'webhook'));
    END IF;
END
$$;
