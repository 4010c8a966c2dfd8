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
