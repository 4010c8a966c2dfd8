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
    PERFORM webhook_internal.require_home();
    IF starts_with(event, 'webhook.') THEN
        RAISE EXCEPTION 'event name "%" is reserved', event
            USING ERRCODE = 'reserved_name',
                  DETAIL = 'Names that begin with "webhook." are for events about webhooks themselves.',
                  HINT = 'Choose another name.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_own_event(text) IS
    'Raises an error if the name is reserved for events about webhooks (42939), or if this database is a node, whose '
    'events are its home''s (55000).';
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
