-- webhook_test(): sends an example of an event to a webhook.

CREATE FUNCTION webhook_internal.send_test(
    webhook uuid, created_at timestamptz, organization text, event text, timeout_ms integer, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'webhook_send_test';
COMMENT ON FUNCTION webhook_internal.send_test(uuid, timestamptz, text, text, integer) IS
    'Asks a worker to send the event''s example to the webhook with this created_at, waits at most timeout_ms and 10 s '
    'more, and returns the result. organization ('''' if there is none) is for the limit on its running tests. Used by '
    'webhook_test().';

-- SECURITY DEFINER, because a role that may call send_test() can test any webhook.
CREATE FUNCTION webhook_internal.test_operator(
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
COMMENT ON FUNCTION webhook_internal.test_operator(uuid, text) IS 'webhook_test() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.test_operator(uuid, text)');

CREATE FUNCTION webhook_internal.test_tenant(
    webhook uuid, event text, OUT status text, OUT response_status integer, OUT response_body text, OUT error text,
    OUT duration_ms double precision, OUT log_id bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id
    FROM webhook_internal.test_operator(webhook, event) t;
END
$$;
COMMENT ON FUNCTION webhook_internal.test_tenant(uuid, text) IS 'webhook_test() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.test_tenant(uuid, text)');

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
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id
        FROM webhook_internal.test_operator(configuration_id, tested) t;
    ELSE
        SELECT t.* INTO status, response_status, response_body, error, duration_ms, log_id
        FROM webhook_internal.test_tenant(configuration_id, tested) t;
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_test(uuid, text) IS
    'Sends an event''s example to the webhook now and returns the result, as in webhook_logs. The default event is the '
    'webhook''s test_event, or else webhook.test. A worker sends it once, also to an inactive webhook, and uses the '
    'committed row. Its log row stays if the transaction is rolled back. Raises an error if nothing was sent: no '
    'worker, paused, webhook not committed, too many tests at once.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_test(uuid, text)');
