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
