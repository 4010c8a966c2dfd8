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
    RETURN QUERY SELECT n.severity, n.finding, n.hint FROM webhook_internal.check_node(webhook.id) n;
    -- What waits there without an attempt, and with an error, lacks something on the node.
    RETURN QUERY SELECT 'error', 'the node that delivers it cannot send it: ' || f.last_error,
                        'Its deliveries wait there until that is mended.'
    FROM (SELECT d.attempts, d.last_error FROM @extschema@.webhook_deliveries d
          WHERE d.configuration_id = webhook.id AND d.configuration_created_at = webhook.created_at AND d.state = 'pending'
            AND d.tableoid = 'webhook_internal.node_deliveries'::regclass
          ORDER BY d.next_attempt_at LIMIT 1) f
    WHERE f.attempts = 0 AND f.last_error IS NOT NULL;
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
