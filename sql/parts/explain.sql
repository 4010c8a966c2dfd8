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
