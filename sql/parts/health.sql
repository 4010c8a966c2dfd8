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
    SELECT p.component, p.status, p.reason, p.remedy FROM (SELECT webhook_internal.nodes_behind() AS behind) b, LATERAL (VALUES
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
         'webhook_subscriptions shows which, with the last error. webhook_node_check() tells what mends it.'),
        ((SELECT n.cut_off IS NOT NULL FROM webhook_internal.nodes_down() n), 'subscriptions', 'failing',
         format('too much WAL was to be kept for nodes that share the webhooks, and they are cut off: %s',
                (SELECT n.cut_off FROM webhook_internal.nodes_down() n)),
         'webhook_take_over() has the home deliver what they have left.'),
        (b.behind IS NOT NULL, 'subscriptions', 'degraded',
         format('nodes that share the webhooks are connected, and have not finished what was captured more than a minute ago: %s',
                b.behind),
         'They are behind, paused or switched off: webhook_health() there says why. webhook_nodes has the lag.'),
        ((SELECT n.down IS NOT NULL FROM webhook_internal.nodes_down() n), 'subscriptions', 'degraded',
         format('nodes that share the webhooks are not connected, or do not report: %s',
                (SELECT n.down FROM webhook_internal.nodes_down() n)),
         'webhook_nodes shows which. What falls to one that is not connected waits, and is kept here as WAL. If it is lost, '
         'webhook_take_over() has the home deliver what it has left, and webhook_detach_node() forgets it. One that is '
         'connected delivers: webhook_attach_node() attaches it once more.')
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
