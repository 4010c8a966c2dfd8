-- Delivery nodes (docs/nodes.md): webhook_node_create() writes what sets one up, webhook_node_check() tells what stops it or
-- soon will. Both ask the source, change nothing, and are for the DBA of the node.

-- What is wrong with the source as a whole. Of its slot, only if the subscription exists.
CREATE FUNCTION webhook_internal.server_findings(server jsonb, publications name[])
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH missing AS (
        SELECT string_agg(format('%I', p.name), ', ') AS names FROM unnest(publications) p (name)
        WHERE NOT coalesce(server->'publications' @> to_jsonb(p.name), false)
    )
    SELECT f.severity, f.finding, f.run_on, f.statement FROM missing m, LATERAL (VALUES
        (abs((server->>'started_at')::numeric - extract(epoch FROM pg_postmaster_start_time())) < 0.000001, 'error',
         'the connection string leads to this server itself: a node subscribes to another server', 'node',
         'Name the source in the connection string.'),
        ((server->>'version')::integer < 120000, 'error',
         format('the source is PostgreSQL %s: its definitions can be read from 12 on', server->>'version_shown'), 'node',
         'Create the tables by hand, and CREATE SUBSCRIPTION.'),
        ((server->>'is_standby')::boolean AND (server->>'version')::integer < 160000, 'error',
         format('the source is a standby of PostgreSQL %s, which can be subscribed to from 16 on',
                server->>'version_shown'), 'node', 'Name its primary in the connection string.'),
        (server->>'wal_level' <> 'logical', 'error', format('wal_level of the source is %s', server->>'wal_level'), 'source',
         'ALTER SYSTEM SET wal_level = logical; -- then restart it'),
        (NOT (server->>'may_replicate')::boolean, 'error', format('role %I of the source may not replicate', server->>'role'),
         'source', format('ALTER ROLE %I REPLICATION;', server->>'role')),
        (m.names IS NOT NULL, 'error',
         format('the source has no publication %s', m.names), 'source', 'SELECT webhook_publication(...), on the node, writes it.')
    ) f (applies, severity, finding, run_on, statement)
    WHERE f.applies
$$;
COMMENT ON FUNCTION webhook_internal.server_findings(jsonb, name[]) IS
    'What keeps a server from being the source of a node.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.server_findings(jsonb, name[])');

-- The first finding is the ERROR, with the statement that mends it; the rest is its detail.
CREATE FUNCTION webhook_internal.raise_findings(findings text[], run_on text[], statements text[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- An option of RAISE cannot be null, and an empty one would be shown.
    IF cardinality(findings) = 1 THEN
        RAISE EXCEPTION '%', findings[1]
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('On the %s: %s', run_on[1], statements[1]);
    ELSIF cardinality(findings) > 1 THEN
        RAISE EXCEPTION '%', findings[1]
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = array_to_string(findings[2:], E'\n'),
                  HINT = format('On the %s: %s', run_on[1], statements[1]);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.raise_findings(text[], text[], text[]) IS
    'Raises findings as one error (55000). Does nothing if there are none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.raise_findings(text[], text[], text[])');

-- The tables of the source, once it is certain that they can be subscribed to.
CREATE FUNCTION webhook_internal.ready_tables(conninfo text, publications name[], slot name, OUT server jsonb, OUT tables jsonb)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF conninfo IS NULL OR conninfo !~ '=|://' THEN
        RAISE EXCEPTION 'conninfo is not a connection string'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example: host=source.example dbname=crm user=webhook_node';
    END IF;
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
       AND NOT coalesce(pg_has_role(to_regrole('pg_create_subscription'), 'MEMBER'), false) THEN
        RAISE EXCEPTION 'permission denied to create a subscription'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Up to PostgreSQL 15, be a superuser. From 16 on, be a member of pg_create_subscription.';
    END IF;
    server := webhook_internal.source_server(conninfo, publications, slot);
    PERFORM webhook_internal.raise_findings(array_agg(f.finding), array_agg(f.run_on), array_agg(f.statement))
    FROM webhook_internal.server_findings(server, publications) f WHERE f.severity = 'error';
    tables := webhook_internal.source_tables(conninfo, publications, (server->>'version')::integer);
    IF jsonb_array_length(tables) = 0 THEN
        RAISE EXCEPTION 'publication % has no tables', array_to_string(publications, ', ')
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'On the source: ALTER PUBLICATION ... ADD TABLE ...;';
    END IF;
    PERFORM webhook_internal.raise_findings(array_agg(f.finding), array_agg(f.run_on), array_agg(f.statement))
    FROM jsonb_array_elements(tables) t, webhook_internal.table_findings(
        t, server->>'role', publications[1], (server->>'updates')::boolean) f WHERE f.severity = 'error';
END
$$;
COMMENT ON FUNCTION webhook_internal.ready_tables(text, name[], name) IS
    'The published tables of a source. Raises an error (22023, 42501, 08001, 55000) that says what to do if this node could not '
    'subscribe to them.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.ready_tables(text, name[], name)');

-- CREATE SUBSCRIPTION is logged without its text, because that holds the connection string.
CREATE FUNCTION webhook_internal.subscribe_statements(subscription name, conninfo text, publications name[])
    RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH may AS (SELECT r.rolsuper AS hide FROM pg_roles r WHERE r.rolname = current_user),
         setting (name, value) AS (VALUES ('log_statement', 'none'), ('log_min_error_statement', 'panic'),
                                          ('log_min_duration_statement', '-1'))
    SELECT s.statement FROM (
        SELECT 1, format('SET %s = %L;', n.name, n.value) FROM setting n, may WHERE may.hide
        UNION ALL
        SELECT 2, format('CREATE SUBSCRIPTION %I CONNECTION %L PUBLICATION %s WITH (enabled = false%s);', subscription, conninfo,
                         (SELECT string_agg(format('%I', p.name), ', ') FROM unnest(publications) p (name)),
                         -- parallel, the default from 18 on, gives up the order of ids.
                         CASE WHEN current_setting('server_version_num')::integer >= 180000 THEN ', streaming = on' ELSE '' END)
        UNION ALL
        SELECT 3, format('RESET %s;', n.name) FROM setting n, may WHERE may.hide
    ) s (place, statement) ORDER BY s.place
$$;
COMMENT ON FUNCTION webhook_internal.subscribe_statements(name, text, name[]) IS
    'The statements that create a subscription, disabled, without its password in the server log.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.subscribe_statements(name, text, name[])');

CREATE FUNCTION webhook_internal.declare_statement(source_table jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('SELECT @extschema@.webhook_watch(%L, %L, on_replicated => true%s);',
                             format('%I.%I', source_table->>'schema', source_table->>'name'),
                             trim('_' FROM regexp_replace(lower(source_table->>'name'), '[^a-z0-9_]+', '_', 'g')) || '.' || u.suffix,
                             CASE WHEN EXISTS (SELECT FROM jsonb_array_elements(source_table->'columns') c
                                               WHERE c->>'name' = 'organization_id' AND (c->>'is_published')::boolean)
                                  THEN '' ELSE ', organization_column => NULL' END), E'\n' ORDER BY u.place)
    FROM unnest(ARRAY['created', 'updated', 'deleted']) WITH ORDINALITY u (suffix, place)
$$;
COMMENT ON FUNCTION webhook_internal.declare_statement(jsonb) IS
    'The statements that declare created, updated and deleted events of a published table.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.declare_statement(jsonb)');

CREATE FUNCTION @extschema@.webhook_node_create(
    conninfo text, publication name DEFAULT 'webhook', subscription name DEFAULT 'webhook', events boolean DEFAULT false)
    RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    source record;
    existing record;
    missing jsonb;
BEGIN
    PERFORM webhook_internal.hide_statement();
    IF subscription IS NULL OR subscription !~ '^[a-z0-9_]+$' THEN
        RAISE EXCEPTION 'invalid name of a subscription "%"', subscription
            USING ERRCODE = 'invalid_name', DETAIL = 'Its replication slot has the same name.',
                  HINT = 'Use lower-case letters, digits and underscores.';
    END IF;
    SELECT * INTO source FROM webhook_internal.ready_tables(conninfo, ARRAY[publication], subscription);
    SELECT s.oid, s.subenabled, s.subpublications @> ARRAY[publication::text] AS is_same INTO existing
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE s.subname = subscription AND d.datname = current_database();
    PERFORM webhook_internal.check_subscribable(subscription, existing.oid, existing.is_same, existing.subenabled, source.server,
                                                source.tables);
    SELECT jsonb_agg(t) INTO missing FROM jsonb_array_elements(source.tables) t
    WHERE to_regclass(format('%I.%I', t->>'schema', t->>'name')) IS NULL;
    -- One string is one transaction.
    RETURN QUERY
    SELECT coalesce(string_agg(DISTINCT format('CREATE SCHEMA %I;', t->>'schema'), E'\n')
                        FILTER (WHERE to_regnamespace(format('%I', t->>'schema')) IS NULL) || E'\n', '')
           || string_agg(webhook_internal.node_table(t), E'\n')
    FROM jsonb_array_elements(missing) t HAVING count(*) > 0;
    RETURN QUERY
    SELECT string_agg(webhook_internal.declare_statement(t), E'\n') FROM jsonb_array_elements(source.tables) t
    WHERE events AND NOT EXISTS (SELECT FROM @extschema@.webhook_watches w
                                 WHERE w.source = to_regclass(format('%I.%I', t->>'schema', t->>'name')))
    HAVING count(*) > 0;
    IF existing.oid IS NULL THEN
        RETURN QUERY SELECT s FROM webhook_internal.subscribe_statements(subscription, conninfo, ARRAY[publication]) s;
    END IF;
    IF events AND existing.subenabled IS NOT TRUE THEN
        RETURN QUERY SELECT format('ALTER SUBSCRIPTION %I ENABLE;', subscription);
    END IF;
    IF existing.oid IS NOT NULL AND (missing IS NOT NULL OR EXISTS (
        SELECT FROM jsonb_array_elements(source.tables) t WHERE NOT webhook_internal.is_subscribed(t, existing.oid))) THEN
        RETURN QUERY SELECT format('ALTER SUBSCRIPTION %I REFRESH PUBLICATION;', subscription);
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_create(text, name, name, boolean) IS
    'The statements that make this database a delivery node, for gexec of psql: the tables that the source publishes and this '
    'database lacks, in one transaction, and a subscription. It is disabled until events are declared. events: also '
    'declares created, updated and deleted events of each table that has none, and enables it. What exists is left out. '
    'Asks the source through dblink, and runs nothing. Raises 55000, 08001, 42501, 22023 or 42602, and says what to do.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_node_create(text, name, name, boolean)');

CREATE FUNCTION webhook_internal.is_subscribed(source_table jsonb, subscription oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_subscription_rel r
                   WHERE r.srsubid = subscription
                     AND r.srrelid = to_regclass(format('%I.%I', source_table->>'schema', source_table->>'name')))
$$;
COMMENT ON FUNCTION webhook_internal.is_subscribed(jsonb, oid) IS 'Whether a published table is one of the subscription.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_subscribed(jsonb, oid)');

CREATE FUNCTION webhook_internal.check_subscribable(
    subscription name, existing oid, has_publication boolean, is_enabled boolean, server jsonb, source_tables jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    filled regclass;
    candidate regclass;
    has_rows boolean;
BEGIN
    IF existing IS NULL AND jsonb_typeof(server->'slot') = 'object' THEN
        RAISE EXCEPTION 'the source has a replication slot "%" already', subscription
            USING ERRCODE = 'duplicate_object', DETAIL = 'It belongs to another node, or to a subscription that is gone.',
                  HINT = 'Choose another name with subscription => ..., or, if no node uses it, run this on the source: '
                         || format('SELECT pg_drop_replication_slot(%L);', subscription);
    ELSIF existing IS NULL AND (server->>'free_slots')::integer < 1 THEN
        RAISE EXCEPTION 'the source has no free replication slot'
            USING ERRCODE = 'configuration_limit_exceeded', HINT = 'Raise max_replication_slots of the source, and restart it.';
    ELSIF NOT has_publication THEN
        RAISE EXCEPTION 'subscription "%" exists, and is to other publications', subscription
            USING ERRCODE = 'duplicate_object',
                  HINT = 'Choose another name with subscription => ..., or ALTER SUBSCRIPTION ... ADD PUBLICATION.';
    ELSIF NOT is_enabled AND EXISTS (SELECT FROM jsonb_array_elements(source_tables) t
                                     WHERE NOT webhook_internal.is_subscribed(t, existing)) THEN
        RAISE EXCEPTION 'subscription "%" lacks a published table, and is disabled', subscription
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('ALTER SUBSCRIPTION %I ENABLE; then call this again.', subscription);
    END IF;
    FOR candidate IN
        SELECT to_regclass(format('%I.%I', t->>'schema', t->>'name')) FROM jsonb_array_elements(source_tables) t
        WHERE NOT webhook_internal.is_subscribed(t, existing)
    LOOP
        CONTINUE WHEN candidate IS NULL;
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', candidate) INTO has_rows;
        filled := CASE WHEN has_rows THEN candidate ELSE filled END;
    END LOOP;
    IF filled IS NOT NULL THEN
        RAISE EXCEPTION 'table % has rows on this node, and the first copy would add the same', filled
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('TRUNCATE %s; or, to be told how it differs from the source: SELECT webhook_node_keep(%L);',
                                filled, filled);
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_subscribable(name, oid, boolean, boolean, jsonb, jsonb) IS
    'Raises an error (55000, 42710, 53400) if the subscription cannot be created, or extended if it exists.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_subscribable(name, oid, boolean, boolean, jsonb, jsonb)');

-- The connection string that the subscription has, unless one is given. Superusers alone may read it.
CREATE FUNCTION webhook_internal.subscription_source(
    subscription name, INOUT conninfo text, OUT oid oid, OUT publications name[], OUT slot name, OUT is_enabled boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT s.oid, s.subpublications::name[], s.subslotname, s.subenabled INTO oid, publications, slot, is_enabled
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE s.subname = subscription AND d.datname = current_database();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription "%" does not exist in this database', subscription
            USING ERRCODE = 'undefined_object',
                  HINT = 'webhook_subscriptions shows those that do. webhook_node_create() writes one.';
    END IF;
    IF conninfo IS NULL THEN
        IF NOT has_column_privilege('pg_subscription', 'subconninfo', 'SELECT') THEN
            RAISE EXCEPTION 'permission denied for the connection string of subscription "%"', subscription
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'Pass conninfo, or the name of a foreign server for dblink.';
        END IF;
        SELECT s.subconninfo INTO conninfo FROM pg_subscription s WHERE s.oid = subscription_source.oid;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.subscription_source(name, text) IS
    'Where a subscription of this database connects to, and what it subscribes to. Errors: 42704, 42501.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.subscription_source(name, text)');
