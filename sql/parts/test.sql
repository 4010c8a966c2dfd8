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
