-- What stops a delivery node or soon will, asked of its source (docs/nodes.md).

CREATE FUNCTION webhook_internal.slot_row(server jsonb)
    RETURNS TABLE (slot_name name, is_active boolean, wal_status text, invalidation_reason text, retained_bytes numeric,
                   limit_bytes numeric, safe_bytes numeric, behind_bytes numeric, lag_seconds double precision)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s->>'slot_name', (s->>'active')::boolean, s->>'wal_status', s->>'invalidation_reason',
           (s->>'retained_bytes')::numeric, (server->>'limit_bytes')::numeric, (s->>'safe_wal_size')::numeric,
           (s->>'behind_bytes')::numeric, (server->>'replay_lag')::double precision
    FROM jsonb_path_query(server, '$.slot ? (@.type() == "object")') s
$$;
COMMENT ON FUNCTION webhook_internal.slot_row(jsonb) IS 'The row of webhook_node_slot(), from what the source says.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.slot_row(jsonb)');

CREATE FUNCTION @extschema@.webhook_node_slot(subscription name DEFAULT 'webhook', conninfo text DEFAULT NULL)
    RETURNS TABLE (slot_name name, is_active boolean, wal_status text, invalidation_reason text, retained_bytes numeric,
                   limit_bytes numeric, safe_bytes numeric, behind_bytes numeric, lag_seconds double precision)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT r.* FROM webhook_internal.subscription_source(subscription, conninfo) s,
                    webhook_internal.slot_row(webhook_internal.source_server(s.conninfo, s.publications, s.slot)) r
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_slot(name, text) IS
    'The replication slot of a subscription, as its source shows it: wal_status and, from PostgreSQL 17 on, why it is '
    'invalid; the WAL that it retains, max_slot_wal_keep_size (null: no limit) and what may still be written before it is '
    'lost; how far behind the node is, in bytes and, while it is connected, in seconds. No row: there is no such slot. '
    'Connects to the source through dblink. conninfo: default is that of the subscription, which superusers may read. '
    'Errors: 42704, 42501, 55000, 08001.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_node_slot(name, text)');

CREATE FUNCTION webhook_internal.slot_findings(server jsonb, subscription name, slot name, is_enabled boolean)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.severity, f.finding, f.run_on, f.statement
    FROM (SELECT) this LEFT JOIN webhook_internal.slot_row(server) s ON true, LATERAL (VALUES
        (s.slot_name IS NULL, 'error', format('the source has no replication slot %I: its changes no longer come', slot), 'node',
         format(E'SELECT webhook_node_resync(%L) \\gexec', subscription)),
        (s.wal_status = 'lost' OR s.invalidation_reason IS NOT NULL, 'error',
         format('the replication slot %I is lost (%s): changes since then do not come', slot,
                coalesce(s.invalidation_reason, 'wal_removed')), 'node',
         format(E'SELECT webhook_node_resync(%L) \\gexec', subscription)),
        (s.wal_status = 'unreserved' OR s.safe_bytes < 0.2 * s.limit_bytes, 'error',
         format('the replication slot %I retains %s, and is lost at %s', slot, pg_size_pretty(s.retained_bytes),
                pg_size_pretty(s.limit_bytes)), 'source', 'ALTER SYSTEM SET max_slot_wal_keep_size = ...; -- and reload'),
        (s.limit_bytes IS NULL AND s.wal_status <> 'lost', 'info',
         format('the replication slot %I retains %s, and nothing limits it: while the node is down, the disk of the source '
                'fills', slot, pg_size_pretty(s.retained_bytes)), 'source',
         'ALTER SYSTEM SET max_slot_wal_keep_size = ''...''; -- and reload'),
        (is_enabled AND NOT s.is_active AND s.wal_status <> 'lost', 'warning',
         format('nobody reads the replication slot %I: the subscription has no worker', slot), 'node',
         'The findings above, or the server log, say why.'),
        (NOT is_enabled, 'warning', format('subscription %I is disabled', subscription), 'node',
         format('ALTER SUBSCRIPTION %I ENABLE;', subscription))
    ) f (applies, severity, finding, run_on, statement)
    WHERE f.applies
$$;
COMMENT ON FUNCTION webhook_internal.slot_findings(jsonb, name, name, boolean) IS
    'What is wrong with the replication slot of a subscription.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.slot_findings(jsonb, name, name, boolean)');

-- Tables that only one of publication and subscription has.
CREATE FUNCTION webhook_internal.membership_findings(source_tables jsonb, subscription name, subscription_oid oid)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'error', format('table %s is published, and missing on this node', n.name), 'node', webhook_internal.node_table(t)
    FROM jsonb_array_elements(source_tables) t, LATERAL (SELECT format('%I.%I', t->>'schema', t->>'name')) n (name)
    WHERE to_regclass(n.name) IS NULL
    UNION ALL
    SELECT 'error', format('table %s is published, and the subscription does not know it', n.name), 'node',
           format('ALTER SUBSCRIPTION %I REFRESH PUBLICATION;', subscription)
    FROM jsonb_array_elements(source_tables) t, LATERAL (SELECT format('%I.%I', t->>'schema', t->>'name')) n (name)
    WHERE NOT webhook_internal.is_subscribed(t, subscription_oid)
    UNION ALL
    SELECT 'warning', format('table %s is no longer published', r.srrelid::regclass), 'node',
           format('ALTER SUBSCRIPTION %I REFRESH PUBLICATION;', subscription)
    FROM pg_subscription_rel r
    WHERE r.srsubid = subscription_oid
      AND NOT EXISTS (SELECT FROM jsonb_array_elements(source_tables) t
                      WHERE to_regclass(format('%I.%I', t->>'schema', t->>'name')) = r.srrelid)
$$;
COMMENT ON FUNCTION webhook_internal.membership_findings(jsonb, name, oid) IS
    'Published tables that the subscription does not know, and those that it knows and nobody publishes.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.membership_findings(jsonb, name, oid)');

CREATE FUNCTION @extschema@.webhook_node_check(subscription name DEFAULT 'webhook', conninfo text DEFAULT NULL)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    known record;
    server jsonb;
    tables jsonb;
    problem text;
    detail text;
BEGIN
    PERFORM webhook_internal.hide_statement();
    SELECT * INTO known FROM webhook_internal.subscription_source(subscription, conninfo);
    BEGIN
        server := webhook_internal.source_server(known.conninfo, known.publications, known.slot);
    EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
        GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
        RETURN QUERY SELECT 'error', problem || ': ' || detail, 'source',
                            'Nothing on the node: it goes on by itself when the source is back.';
        RETURN;
    END;
    RETURN QUERY SELECT f.* FROM webhook_internal.server_findings(server, known.publications) f;
    IF EXISTS (SELECT FROM webhook_internal.server_findings(server, NULL)) THEN
        RETURN;
    END IF;
    tables := webhook_internal.source_tables(known.conninfo, known.publications, (server->>'version')::integer);
    RETURN QUERY
    SELECT f.* FROM jsonb_array_elements(tables) t, webhook_internal.table_findings(
        t, server->>'role', known.publications[1], (server->>'updates')::boolean) f;
    RETURN QUERY SELECT f.* FROM webhook_internal.membership_findings(tables, subscription, known.oid) f;
    RETURN QUERY SELECT f.* FROM webhook_internal.slot_findings(server, subscription, known.slot, known.is_enabled) f;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_check(name, text) IS
    'What stops a subscription or soon will: how the published tables differ from those of this node, tables that were added '
    'or removed, the settings of the source, and its replication slot. Each with the statement that mends it and the server '
    'to run it on. severity: error, warning or info. Connects to the source through dblink. conninfo: as for '
    'webhook_node_slot(). Errors: 42704, 42501, 55000.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_node_check(name, text)');
