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
