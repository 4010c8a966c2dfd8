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
        FROM webhook w CROSS JOIN shown s
        LEFT JOIN (SELECT h.id, h.hour, sum(h.attempts) AS attempts, sum(h.successes) AS successes FROM hour h GROUP BY h.id, h.hour) h
               ON h.id = w.id AND h.hour = s.hour
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
