-- The functions for administrators: a home, its nodes, and how they share the webhooks. Publications and subscriptions are
-- the owner's to create, so the functions that write them are, too.

-- --- The home -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION webhook_internal.check_node_name(name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name IS NULL OR name !~ '^[a-z0-9_]{1,40}$' OR name = 'home' THEN
        RAISE EXCEPTION 'invalid name of a node "%"', name
            USING ERRCODE = 'invalid_name', DETAIL = 'Replication slots are named after it. "home" is the home.',
                  HINT = 'Use 1 to 40 lower-case letters, digits and underscores.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_node_name(text) IS 'Raises 42602 if no node can have the name.';

-- The tables that a node subscribes to, by publication. It gets copies of those of webhook_home.
CREATE FUNCTION webhook_internal.home_tables(publication name) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('@extschema@.webhook_events_%s', s) FROM generate_series(0, 11) s WHERE publication = 'webhook_home_events'
    UNION ALL
    SELECT t FROM unnest(ARRAY['webhook_internal.shifted_events', 'webhook_internal.node_commands']) t
    WHERE publication = 'webhook_home_events'
    UNION ALL
    SELECT t FROM unnest(ARRAY[
        '@extschema@.webhook_event_types', '@extschema@.webhook_configurations', '@extschema@.webhook_secrets',
        '@extschema@.webhook_node_shares', 'webhook_internal.node_marks']) t WHERE publication = 'webhook_home'
$$;
COMMENT ON FUNCTION webhook_internal.home_tables(name) IS 'The tables of a publication of the home.';

-- A publication stays when the extension is dropped, without its tables.
CREATE FUNCTION webhook_internal.is_published(publication name) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT EXISTS (SELECT FROM webhook_internal.home_tables(publication) t
                       WHERE NOT EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
                                         WHERE p.pubname = publication AND r.prrelid = t::regclass))
$$;
COMMENT ON FUNCTION webhook_internal.is_published(name) IS
    'Whether a publication of the home exists with all of its tables.';

CREATE FUNCTION webhook_internal.become_home() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR segment IN 0 .. 11 LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = 'webhook_0_receive_log'
                                AND t.tgrelid = format('@extschema@.webhook_logs_%s', segment)::regclass);
        EXECUTE format('CREATE TRIGGER webhook_0_receive_log BEFORE INSERT ON @extschema@.webhook_logs_%s '
                       'FOR EACH ROW EXECUTE FUNCTION webhook_internal.receive_log()', segment);
        EXECUTE format('ALTER TABLE @extschema@.webhook_logs_%s ENABLE REPLICA TRIGGER webhook_0_receive_log', segment);
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.become_home() IS 'Used by the statements of webhook_home().';

CREATE FUNCTION @extschema@.webhook_home(role name DEFAULT 'webhook_node') RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    publication name;
BEGIN
    PERFORM webhook_internal.require_home();
    IF current_setting('wal_level') <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is %', current_setting('wal_level')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SYSTEM SET wal_level = logical; then restart the server.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        -- To copy tables with row-level security, a role has to be exempt.
        RETURN NEXT format('CREATE ROLE %I LOGIN REPLICATION BYPASSRLS;', role);
    ELSIF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role AND r.rolcanlogin
                      AND (r.rolsuper OR r.rolreplication AND r.rolbypassrls)) THEN
        RETURN NEXT format('ALTER ROLE %I LOGIN REPLICATION BYPASSRLS;', role);
    END IF;
    RETURN NEXT format('GRANT USAGE ON SCHEMA @extschema@, webhook_internal TO %I;', role);
    RETURN QUERY SELECT format('GRANT SELECT ON %s TO %I;', t, role) FROM webhook_internal.home_tables('webhook_home') t;
    RETURN NEXT 'SELECT webhook_internal.become_home();';
    FOREACH publication IN ARRAY ARRAY['webhook_home_events', 'webhook_home'] LOOP
        CONTINUE WHEN webhook_internal.is_published(publication);
        IF EXISTS (SELECT FROM pg_publication p WHERE p.pubname = publication) THEN
            RETURN NEXT format('DROP PUBLICATION %I;', publication);
        END IF;
        RETURN NEXT format('CREATE PUBLICATION %I FOR TABLE %s%s;', publication,
                           (SELECT string_agg(t, ', ') FROM webhook_internal.home_tables(publication) t),
                           CASE publication WHEN 'webhook_home_events' THEN ' WITH (publish = ''insert'')' ELSE '' END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_home(name) IS
    'The statements that let nodes subscribe to this database, for gexec of psql: a role for them, with the attributes that '
    'it needs, and two publications. What exists is left out. Runs nothing. Raises 55000 on a node, or if wal_level is not '
    'logical.';

-- A database that joined while deliveries were paused has not heard of it.
CREATE FUNCTION webhook_internal.add_node(name text, identity text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pause record;
BEGIN
    -- If it is attached once more, it reports everything again.
    INSERT INTO webhook_internal.nodes AS n (name, identity) VALUES (add_node.name, add_node.identity)
    ON CONFLICT ON CONSTRAINT nodes_pkey DO UPDATE SET asked_on = 0, known_on = 0;
    SELECT i.is_paused, i.paused_reason INTO pause FROM @extschema@.webhook_instance i;
    PERFORM webhook_internal.command_nodes(
        CASE WHEN pause.is_paused THEN 'pause' ELSE 'resume' END, NULL, NULL, pause.paused_reason);
    PERFORM webhook_internal.wake();
END
$$;
COMMENT ON FUNCTION webhook_internal.add_node(text, text) IS 'Used by the statements of webhook_attach_node().';

-- What another database says of itself as a node or as a home, or of having the extension at all.
CREATE FUNCTION webhook_internal.ask_member(conninfo text) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    server jsonb;
BEGIN
    IF conninfo IS NULL OR conninfo !~ '=|://' THEN
        RAISE EXCEPTION 'conninfo is not a connection string'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example: host=home.example dbname=crm user=webhook_node';
    END IF;
    server := webhook_internal.ask_source(conninfo, $question$
        SELECT jsonb_build_object(
            'started_at', extract(epoch FROM pg_postmaster_start_time())::text, 'database', current_database(),
            'wal_level', current_setting('wal_level'), 'encoding', current_setting('server_encoding'),
            'may_replicate', (SELECT r.rolreplication OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user),
            'role', current_user, 'is_standby', pg_is_in_recovery(),
            'reads_all', (SELECT r.rolbypassrls OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user),
            'version', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook'),
            'schema', (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                       WHERE e.extname = 'webhook'),
            'publications', (SELECT jsonb_agg(p.pubname) FROM pg_publication p WHERE starts_with(p.pubname, 'webhook_')),
            'identity', (SELECT c.system_identifier || '/' || p.oid FROM pg_publication p, pg_control_system() c
                         WHERE p.pubname = 'webhook_node_reports'),
            'home_slot', (SELECT s.subslotname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
                          WHERE s.subname = 'webhook_home' AND d.datname = current_database()),
            'slots', (SELECT jsonb_agg(s.slot_name) FROM pg_replication_slots s))$question$);
    IF abs((server->>'started_at')::numeric - extract(epoch FROM pg_postmaster_start_time())) < 0.000001 THEN
        -- CREATE SUBSCRIPTION would wait for its own transaction.
        RAISE EXCEPTION 'the connection string leads to %', CASE server->>'database' WHEN current_database()
                        THEN 'this database itself' ELSE 'another database of this server' END
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Name the other server in the connection string.';
    ELSIF (server->>'is_standby')::boolean THEN
        RAISE EXCEPTION 'the server over there is a standby'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Name its primary in the connection string.';
    ELSIF server->>'version' IS NULL THEN
        RAISE EXCEPTION 'database "%" over there does not have the extension webhook', server->>'database'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Over there: CREATE EXTENSION webhook;';
    ELSIF server->>'version' <> (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook') THEN
        RAISE EXCEPTION 'the extension webhook has version % here and % over there',
                        (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook'), server->>'version'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'ALTER EXTENSION webhook UPDATE, where it is older.';
    ELSIF server->>'schema' <> '@extschema@' THEN
        RAISE EXCEPTION 'the extension webhook is in schema % here and in schema % over there', '@extschema@', server->>'schema'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Create it anew in the same schema on the node.';
    ELSIF server->>'encoding' <> current_setting('server_encoding') THEN
        RAISE EXCEPTION 'the encoding is % here and % over there', current_setting('server_encoding'), server->>'encoding'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Create the database of the node with the encoding of the home.';
    ELSIF server->>'wal_level' <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is % over there', server->>'wal_level'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Over there: ALTER SYSTEM SET wal_level = logical; then restart the server.';
    ELSIF NOT (server->>'may_replicate')::boolean THEN
        RAISE EXCEPTION 'role % may not replicate over there', server->>'role'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Over there: ALTER ROLE %s REPLICATION;', server->>'role');
    END IF;
    RETURN server;
END
$$;
COMMENT ON FUNCTION webhook_internal.ask_member(text) IS
    'Asks a home or a node for what a subscription to it takes. Raises 22023, 08001 or 55000, and says what to do.';

-- CREATE SUBSCRIPTION without its password in the server log.
CREATE FUNCTION webhook_internal.quiet_subscription(subscription name, conninfo text, publications text[], options text)
    RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH may AS (SELECT r.rolsuper AS hide FROM pg_roles r WHERE r.rolname = current_user),
         setting (name, value) AS (VALUES ('log_statement', 'none'), ('log_min_error_statement', 'panic'),
                                          ('log_min_duration_statement', '-1'))
    SELECT s.statement FROM (
        SELECT 1, format('SET %s = %L;', n.name, n.value) FROM setting n, may WHERE may.hide
        UNION ALL
        SELECT 2, format('CREATE SUBSCRIPTION %I CONNECTION %L PUBLICATION %s WITH (copy_data = false, streaming = on, %s);',
                         subscription, conninfo, array_to_string(publications, ', '), options)
        UNION ALL
        SELECT 3, format('RESET %s;', n.name) FROM setting n, may WHERE may.hide
    ) s (place, statement) ORDER BY s.place
$$;
COMMENT ON FUNCTION webhook_internal.quiet_subscription(name, text, text[], text) IS
    'The statements that create a subscription without a copy, and without its password in the server log.';

CREATE FUNCTION @extschema@.webhook_attach_node(name text, conninfo text, logs boolean DEFAULT true) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    subscription name := 'webhook_node_' || name;
    member jsonb;
BEGIN
    PERFORM webhook_internal.hide_statement();
    PERFORM webhook_internal.require_home();
    PERFORM webhook_internal.check_node_name(name);
    IF webhook_internal.own_subscription(subscription) IS NOT NULL THEN
        RAISE EXCEPTION 'node "%" is attached already', name
            USING ERRCODE = 'duplicate_object', HINT = 'Choose another name, or first webhook_detach_node().';
    ELSIF EXISTS (SELECT FROM webhook_internal.nodes n WHERE n.name = webhook_attach_node.name AND n.state <> 'attached') THEN
        RAISE EXCEPTION 'a node "%" has been lost or detached, and is not forgotten yet', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Choose another name, or webhook_detach_node(), and try again in a moment.';
    END IF;
    member := webhook_internal.ask_member(conninfo);
    IF NOT coalesce(member->'publications' @> '["webhook_node_reports"]', false) THEN
        RAISE EXCEPTION 'the database over there is not a node yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Over there: SELECT webhook_join_home(%L, ...)', name);
    ELSIF member->>'home_slot' IS DISTINCT FROM subscription THEN
        RAISE EXCEPTION 'the database over there has not joined as node "%"', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = CASE WHEN starts_with(member->>'home_slot', 'webhook_node_')
                                THEN format('It has joined as "%s".', substr(member->>'home_slot', length('webhook_node_') + 1))
                                ELSE 'Its subscription webhook_home has no replication slot of a node.' END,
                  HINT = 'Give the name and the connection string of the same node.';
    ELSIF NOT EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = subscription AND r.database = current_database()) THEN
        RAISE EXCEPTION 'node "%" has not joined this home', name
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('There is no replication slot "%s" here.', subscription),
                  HINT = 'Attach it at the home that it has joined.';
    ELSIF EXISTS (SELECT FROM webhook_internal.nodes n
                  WHERE n.name = webhook_attach_node.name AND n.identity <> member->>'identity') THEN
        RAISE EXCEPTION 'another database is attached as node "%"', name
            USING ERRCODE = 'duplicate_object', DETAIL = 'What it has not delivered would be forgotten.',
                  HINT = format('Choose another name. Or, if that node is lost: SELECT webhook_take_over(%1$L), then '
                                'webhook_detach_node(%1$L), and have this one join anew.', name);
    ELSIF coalesce(member->'slots' @> to_jsonb('webhook_home_' || name), false) THEN
        RAISE EXCEPTION 'the node has a replication slot "webhook_home_%" already', name
            USING ERRCODE = 'duplicate_object',
                  HINT = format('If no home uses it, over there: SELECT pg_drop_replication_slot(%L);', 'webhook_home_' || name);
    END IF;
    RETURN NEXT format('SELECT webhook_internal.add_node(%L, %L);', name, member->>'identity');
    RETURN QUERY SELECT s FROM webhook_internal.quiet_subscription(
        subscription, conninfo, CASE WHEN logs THEN '{webhook_node_reports,webhook_node_logs}' ELSE '{webhook_node_reports}' END::text[],
        format('slot_name = %I', 'webhook_home_' || name)) s;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_attach_node(text, text, boolean) IS
    'The statements, for gexec of psql, by which this home hears of a node that has joined it (webhook_join_home()): a '
    'subscription to what it reports, and to its log rows unless logs is false. Asks the node through dblink, and runs '
    'nothing. The node gets a share by webhook_share(). Raises 22023, 42602, 42710, 55000 or 08001, and says what to '
    'do.';

-- Nobody may draw or commit a number of webhook_switches_seq in between: then a session that knows of the division's
-- number, or of a later one, commits after it, so each node gets the division before the events that it applies to.
-- Edits queue behind a lock that is waited for. So it waits for moments only, though often: edits in a loop let it through,
-- and a transaction that stays open does not hold up the others.
CREATE FUNCTION webhook_internal.lock_switches() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms'
AS $$
DECLARE
    holders text;
BEGIN
    FOR attempt IN 1 .. 20 LOOP
        BEGIN
            LOCK TABLE @extschema@.webhook_configurations, @extschema@.webhook_node_shares IN SHARE ROW EXCLUSIVE MODE;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
    SELECT string_agg(DISTINCT CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE 'process ' || l.pid END, ', ')
    INTO holders
    FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.relation IN ('@extschema@.webhook_configurations'::regclass, '@extschema@.webhook_node_shares'::regclass)
      AND l.mode NOT IN ('AccessShareLock', 'RowShareLock');
    RAISE EXCEPTION 'webhooks are being edited'
        USING ERRCODE = 'lock_not_available',
              DETAIL = 'The transactions that have changed webhooks, and stay open: ' || coalesce(holders, 'none any more') || '.',
              HINT = 'Try again. pg_terminate_backend() ends the transaction of a process, ROLLBACK PREPARED one in '
                     'pg_prepared_xacts.';
END
$$;
COMMENT ON FUNCTION webhook_internal.lock_switches() IS
    'Keeps webhooks from being edited until the transaction ends. Tries for 2 s. Raises 55P03 if a transaction that has '
    'edited one stays open.';

CREATE FUNCTION @extschema@.webhook_share(nodes text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    number integer;
    unknown text := (SELECT n.name FROM unnest(webhook_share.nodes) n (name)
                     WHERE n.name <> 'home' AND NOT EXISTS (SELECT FROM webhook_internal.nodes k
                                                            WHERE k.name = n.name AND k.state = 'attached') LIMIT 1);
    copying text := (SELECT k.name FROM webhook_internal.nodes k
                     WHERE k.settled = 0 AND k.name = ANY (webhook_share.nodes) LIMIT 1);
    identity uuid := (SELECT i.instance FROM @extschema@.webhook_instance i);
BEGIN
    PERFORM webhook_internal.require_home();
    IF coalesce(cardinality(nodes), 0) = 0 OR array_position(nodes, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'webhook_share() takes the names of the nodes that deliver'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {home,east,west}, or {home} for this database alone.';
    ELSIF (SELECT count(DISTINCT n) FROM unnest(nodes) n) < cardinality(nodes) THEN
        RAISE EXCEPTION 'a node is named twice' USING ERRCODE = 'invalid_parameter_value', HINT = 'Name each node once.';
    ELSIF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'node "%" is not attached', unknown
            USING ERRCODE = 'undefined_object',
                  HINT = format('SELECT webhook_attach_node(%L, ...). webhook_nodes shows which are.', unknown);
    ELSIF copying IS NOT NULL THEN
        RAISE EXCEPTION 'node "%" has not reported yet that it has the webhooks', copying
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Try again in a moment. If that does not help, look at webhook_subscriptions, there and here.';
    ELSIF identity IS NULL THEN
        RAISE EXCEPTION 'no worker has started in this database yet'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Try again in a moment.';
    END IF;
    PERFORM webhook_internal.lock_switches();
    number := webhook_internal.draw_switch();
    IF number = 2147483647 THEN
        RAISE EXCEPTION 'the numbers of switches are used up'
            USING ERRCODE = 'sequence_generator_limit_exceeded', HINT = 'Webhooks can no longer be divided anew.';
    END IF;
    INSERT INTO @extschema@.webhook_node_shares (since, nodes, instance) VALUES (number, webhook_share.nodes, identity);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_share(text[]) IS
    'Divides the webhooks among these nodes, of which home is this database, from the next events on. Events that were '
    'captured before stay with the node that they fell to. Raises 22023, 42704 or 55000, and 55P03 while webhooks are '
    'being edited.';

CREATE FUNCTION @extschema@.webhook_take_over(node text, nodes text[] DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM webhook_internal.require_home();
    IF NOT EXISTS (SELECT FROM webhook_internal.nodes n WHERE n.name = node AND n.state = 'attached') THEN
        RAISE EXCEPTION 'node "%" is not attached, or was taken over from before', node
            USING ERRCODE = 'undefined_object', HINT = 'webhook_nodes shows the nodes of this home.';
    END IF;
    nodes := coalesce(nodes, nullif(array_remove(webhook_internal.last_division(), node), '{}'), '{home}');
    IF node = ANY (nodes) OR nodes = '{}' THEN
        RAISE EXCEPTION 'the nodes that take over must be others'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example nodes => {home}.';
    END IF;
    -- What it would still report is of no use any more.
    IF webhook_internal.own_subscription('webhook_node_' || node) IS NOT NULL THEN
        EXECUTE format('ALTER SUBSCRIPTION %I DISABLE', 'webhook_node_' || node);
    END IF;
    PERFORM @extschema@.webhook_share(nodes);
    PERFORM webhook_internal.retire_node(node);
    UPDATE webhook_internal.nodes n SET state = 'lost' WHERE n.name = node;
    RETURN (SELECT count(*) FROM webhook_internal.node_deliveries d WHERE d.node = webhook_take_over.node AND d.state = 'pending');
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_take_over(text, text[]) IS
    'Declares a node lost, and divides the webhooks among these nodes, by default those of the last division without '
    'it. This home sends what was pending at the node, as it had reported, and all events since its last mark, some '
    'seconds before it was lost, with the same webhook-ids. Returns how many were pending. A node that runs all the same '
    'pauses itself when it hears of it. Then webhook_detach_node(). Raises 42704, 22023, 55000 or 55P03.';

-- What transactions that are still open commit under an earlier division falls to the home.
CREATE FUNCTION webhook_internal.forget_node(name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF webhook_internal.own_subscription('webhook_node_' || forget_node.name) IS NOT NULL
       OR EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = 'webhook_node_' || forget_node.name) THEN
        RAISE EXCEPTION 'node "%" is not detached: its subscription or its replication slot is still here', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('SELECT webhook_detach_node(%L) returns what is to be done.', name);
    END IF;
    IF EXISTS (SELECT FROM webhook_internal.nodes n WHERE n.name = forget_node.name AND n.state = 'attached') THEN
        PERFORM webhook_internal.retire_node(name);
    END IF;
    UPDATE webhook_internal.nodes n SET state = 'gone' WHERE n.name = forget_node.name;
    PERFORM webhook_internal.wake();
END
$$;
COMMENT ON FUNCTION webhook_internal.forget_node(text) IS 'Used by the statements of webhook_detach_node().';

CREATE FUNCTION webhook_internal.is_behind(node text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT max(m.id) FROM webhook_internal.node_marks m)
                    > (SELECT n.settled FROM webhook_internal.nodes n WHERE n.name = is_behind.node), false)
$$;
COMMENT ON FUNCTION webhook_internal.is_behind(text) IS
    'Whether a node has not settled yet what the home had captured at its last mark.';

CREATE FUNCTION webhook_internal.check_may_detach(name text, is_lost boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pending bigint := (SELECT count(*) FROM webhook_internal.node_deliveries d
                       WHERE d.node = check_may_detach.name AND d.state = 'pending');
BEGIN
    PERFORM webhook_internal.require_home();
    IF is_lost IS NULL THEN
        RAISE EXCEPTION 'node "%" is not attached', name
            USING ERRCODE = 'undefined_object', HINT = 'webhook_nodes shows the nodes of this home.';
    ELSIF name = ANY (webhook_internal.last_division()) THEN
        RAISE EXCEPTION 'node "%" has a share of the webhooks', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'First webhook_share() without it, or webhook_take_over() if it is lost.';
    ELSIF NOT is_lost AND (pending > 0 OR webhook_internal.is_behind(name)) THEN
        RAISE EXCEPTION 'node "%" has not finished', name
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('%s deliveries are pending there.', pending),
                  HINT = format('Wait. If it is lost, the home takes them over: SELECT webhook_take_over(%L);', name);
    ELSIF EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = 'webhook_node_' || name AND r.active) THEN
        RAISE EXCEPTION 'node "%" is still subscribed to this home', name
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'On the node: DROP SUBSCRIPTION webhook_home;';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_may_detach(text, boolean) IS
    'Raises 42704 or 55000 if a node cannot be detached yet. is_lost: null if it is not attached.';

CREATE FUNCTION @extschema@.webhook_detach_node(name text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    is_lost boolean := (SELECT n.state = 'lost' FROM webhook_internal.nodes n
                        WHERE n.name = webhook_detach_node.name AND n.state <> 'gone');
    -- From an extension that was dropped, or from a dump.
    is_left_over boolean := is_lost IS NULL AND (
        webhook_internal.own_subscription('webhook_node_' || name) IS NOT NULL
        OR EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = 'webhook_node_' || name AND r.database = current_database()));
BEGIN
    is_lost := is_lost OR is_left_over;
    PERFORM webhook_internal.check_may_detach(name, is_lost);
    IF webhook_internal.own_subscription('webhook_node_' || name) IS NOT NULL THEN
        -- A lost node has the slot no more, or never will be asked for it.
        IF is_lost THEN
            RETURN NEXT format('ALTER SUBSCRIPTION %I DISABLE;', 'webhook_node_' || name);
            RETURN NEXT format('ALTER SUBSCRIPTION %I SET (slot_name = NONE);', 'webhook_node_' || name);
        END IF;
        RETURN NEXT format('DROP SUBSCRIPTION %I;', 'webhook_node_' || name);
    END IF;
    IF EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = 'webhook_node_' || name) THEN
        RETURN NEXT format('SELECT pg_drop_replication_slot(%L);', 'webhook_node_' || name);
    END IF;
    IF NOT is_left_over THEN
        RETURN NEXT format('SELECT webhook_internal.forget_node(%L);', name);
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_detach_node(text) IS
    'The statements, for gexec of psql, by which this home forgets a node that has no share any more and has finished, '
    'or that was taken over from. A node that runs first has to DROP SUBSCRIPTION webhook_home. They drop the slot that '
    'keeps WAL for a lost one. Runs nothing. Raises 42704 or 55000, and says what to do.';

-- --- What is seen of it ---------------------------------------------------------------------------------------------------

-- Asks nobody: what the nodes have reported. SECURITY DEFINER, because operators may not read the internal tables.
CREATE FUNCTION webhook_internal.node_states(
    OUT node text, OUT state text, OUT share text, OUT webhooks bigint, OUT is_connected boolean, OUT reports boolean, OUT lag interval,
    OUT pending bigint, OUT dead bigint, OUT retained_bytes bigint, OUT limit_bytes bigint, OUT wal_status text)
    RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH last (nodes) AS (
        SELECT d FROM webhook_internal.last_division() d WHERE d IS NOT NULL
    ), member (name) AS (
        SELECT 'home' UNION ALL SELECT n.name FROM webhook_internal.nodes n WHERE n.state <> 'gone'
    ), owned AS (
        SELECT l.nodes[webhook_internal.node_number(c.id, cardinality(l.nodes))] AS name, count(*) AS webhooks
        FROM last l, @extschema@.webhook_configurations c GROUP BY 1
    )
    SELECT m.name, coalesce(n.state, 'attached'),
           array_position(coalesce(l.nodes, '{home}'), m.name) || ' of ' || cardinality(coalesce(l.nodes, '{home}')),
           CASE WHEN l.nodes IS NULL THEN (SELECT count(*) FROM @extschema@.webhook_configurations WHERE m.name = 'home')
                ELSE coalesce(o.webhooks, 0) END,
           m.name = 'home' OR coalesce(r.active, false), m.name = 'home' OR webhook_internal.is_heard(m.name),
           CASE WHEN m.name <> 'home' THEN coalesce(
               (SELECT clock_timestamp() - min(k.made_at) FROM webhook_internal.node_marks k WHERE k.id > n.settled), '0') END,
           CASE WHEN m.name <> 'home' THEN (SELECT count(*) FROM webhook_internal.node_deliveries d
                                            WHERE d.node = m.name AND d.state = 'pending') END,
           CASE WHEN m.name <> 'home' THEN (SELECT count(*) FROM webhook_internal.node_deliveries d
                                            WHERE d.node = m.name AND d.state = 'dead') END,
           pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                           r.restart_lsn)::bigint,
           CASE WHEN m.name <> 'home' THEN
               (SELECT nullif(s.setting::numeric, -1) * 1048576 FROM pg_settings s WHERE s.name = 'max_slot_wal_keep_size') END::bigint,
           r.wal_status
    FROM member m
    LEFT JOIN last l ON true
    LEFT JOIN owned o ON o.name = m.name
    LEFT JOIN webhook_internal.nodes n ON n.name = m.name
    LEFT JOIN pg_replication_slots r ON r.slot_name = 'webhook_node_' || m.name
    WHERE NOT EXISTS (SELECT FROM webhook_internal.this_node)
$$;
COMMENT ON FUNCTION webhook_internal.node_states() IS 'The rows of webhook_nodes.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'EXECUTE ON FUNCTION webhook_internal.node_states()');

CREATE FUNCTION webhook_internal.is_heard(node text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_stat_subscription u
                   WHERE u.subid = webhook_internal.own_subscription('webhook_node_' || node) AND u.relid IS NULL AND u.pid IS NOT NULL)
$$;
COMMENT ON FUNCTION webhook_internal.is_heard(text) IS 'Whether this home receives what a node reports.';

-- By the catalog alone: webhook_health() waits for nobody who has locked a table.
CREATE FUNCTION webhook_internal.nodes_down(OUT down text, OUT cut_off text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(m.name, ', ' ORDER BY m.name) FILTER (WHERE r.wal_status IS DISTINCT FROM 'lost'),
           string_agg(m.name, ', ' ORDER BY m.name) FILTER (WHERE r.wal_status = 'lost')
    FROM (SELECT substr(n.slot_name, length('webhook_node_') + 1) AS name FROM pg_replication_slots n
          WHERE starts_with(n.slot_name, 'webhook_node_') AND n.database = current_database()
          UNION
          SELECT substr(s.subname, length('webhook_node_') + 1) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
          WHERE starts_with(s.subname, 'webhook_node_') AND d.datname = current_database()) m
    LEFT JOIN pg_replication_slots r ON r.slot_name = 'webhook_node_' || m.name
    WHERE r.active IS NOT TRUE OR NOT webhook_internal.is_heard(m.name)
$$;
COMMENT ON FUNCTION webhook_internal.nodes_down() IS
    'The nodes that receive or report nothing, and those for which WAL is no longer kept. A lost one is among them until it is '
    'detached.';

CREATE FUNCTION webhook_internal.behind_since(node text) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(m.made_at) FROM webhook_internal.nodes n JOIN webhook_internal.node_marks m ON m.id > n.settled
    WHERE n.name = behind_since.node HAVING min(m.made_at) < clock_timestamp() - interval '1 minute'
$$;
COMMENT ON FUNCTION webhook_internal.behind_since(text) IS
    'The time of the first mark that a node has not settled, if that is more than a minute ago.';

-- It has to wait for nobody, and is no alarm if somebody has locked these tables.
CREATE FUNCTION webhook_internal.nodes_behind() RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms'
AS $$
BEGIN
    RETURN (SELECT string_agg(n.name, ', ' ORDER BY n.name) FROM webhook_internal.nodes n
            JOIN pg_replication_slots r ON r.slot_name = 'webhook_node_' || n.name AND r.active
            WHERE n.state = 'attached' AND webhook_internal.is_heard(n.name)
              AND webhook_internal.behind_since(n.name) IS NOT NULL);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.nodes_behind() IS
    'The nodes that are connected and have not settled what was captured more than a minute ago.';

-- SECURITY DEFINER, because tenants cannot read how webhooks are divided.
CREATE FUNCTION webhook_internal.check_node(webhook uuid)
    RETURNS TABLE (severity text, finding text, hint text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.severity, f.finding, f.hint
    FROM (SELECT d[webhook_internal.node_number(webhook, cardinality(d))] AS node
          FROM webhook_internal.last_division() d WHERE d IS NOT NULL) o
    LEFT JOIN pg_replication_slots r ON r.slot_name = 'webhook_node_' || o.node
    CROSS JOIN LATERAL (SELECT webhook_internal.behind_since(o.node) AS since) b
    CROSS JOIN LATERAL (VALUES
        (o.node <> 'home' AND r.active IS NOT TRUE, 'error',
         format('node "%s", to which the webhook falls, is not connected', o.node),
         'Its deliveries wait. Start the node, or, if it is lost, webhook_take_over() at the home.'),
        (o.node <> 'home' AND r.active, 'info', format('node "%s" delivers it', o.node), NULL),
        (o.node <> 'home' AND r.active AND b.since IS NOT NULL, 'warning',
         format('node "%s" has not finished what was captured since %s', o.node, b.since),
         'It is behind, paused or switched off. webhook_health() there says why.')
    ) f (applies, severity, finding, hint)
    WHERE f.applies AND NOT EXISTS (SELECT FROM webhook_internal.this_node)
$$;
COMMENT ON FUNCTION webhook_internal.check_node(uuid) IS
    'The finding of webhook_check() about the node that a webhook falls to.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'EXECUTE ON FUNCTION webhook_internal.check_node(uuid)');

CREATE VIEW @extschema@.webhook_nodes WITH (security_invoker) AS
    SELECT s.node, s.state, s.share, s.webhooks, s.is_connected, s.reports, s.lag, s.pending, s.dead, s.retained_bytes, s.limit_bytes,
           s.wal_status
    FROM webhook_internal.node_states() s;
COMMENT ON VIEW @extschema@.webhook_nodes IS
    'At a home: itself and the nodes that share its webhooks, as they have reported. Empty on a node.';
COMMENT ON COLUMN @extschema@.webhook_nodes.node IS 'The name of the node; home is this database.';
COMMENT ON COLUMN @extschema@.webhook_nodes.state IS
    'attached, or lost: webhook_take_over() was called for it.';
COMMENT ON COLUMN @extschema@.webhook_nodes.share IS 'Which share it has, as "2 of 3"; null if it has none.';
COMMENT ON COLUMN @extschema@.webhook_nodes.webhooks IS 'How many webhooks fall to it.';
COMMENT ON COLUMN @extschema@.webhook_nodes.is_connected IS 'Whether it receives events from here.';
COMMENT ON COLUMN @extschema@.webhook_nodes.reports IS 'Whether its reports are received here.';
COMMENT ON COLUMN @extschema@.webhook_nodes.lag IS
    'The age of the oldest events that may not be settled there yet, as far as it has reported, in steps of some '
    'seconds; 0 if there are none. Null for the home.';
COMMENT ON COLUMN @extschema@.webhook_nodes.pending IS 'How many deliveries are pending there. Null for the home.';
COMMENT ON COLUMN @extschema@.webhook_nodes.dead IS 'How many deliveries are dead there. Null for the home.';
COMMENT ON COLUMN @extschema@.webhook_nodes.retained_bytes IS 'How much WAL is kept here for it.';
COMMENT ON COLUMN @extschema@.webhook_nodes.limit_bytes IS
    'max_slot_wal_keep_size: when more WAL is kept for it, it is cut off. Null: there is no limit.';
COMMENT ON COLUMN @extschema@.webhook_nodes.wal_status IS 'As in pg_replication_slots. lost: it has been cut off.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'SELECT ON @extschema@.webhook_nodes');

-- --- A node -------------------------------------------------------------------------------------------------------------

CREATE FUNCTION webhook_internal.become_node(name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation text;
BEGIN
    IF EXISTS (SELECT FROM webhook_internal.this_node) THEN
        RETURN;
    END IF;
    INSERT INTO webhook_internal.this_node VALUES (become_node.name);
    FOR segment IN 0 .. 11 LOOP
        relation := format('@extschema@.webhook_events_%s', segment);
        EXECUTE format('CREATE TRIGGER webhook_0_receive BEFORE INSERT ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION webhook_internal.receive()', relation);
        EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_0_receive', relation);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['webhook_event_types', 'webhook_configurations', 'webhook_secrets', 'webhook_node_shares'] LOOP
        EXECUTE format('CREATE TRIGGER webhook_0_refuse_edit BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.refuse_edit()', relation);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['webhook_deliveries', 'webhook_minutes', 'webhook_hours', 'webhook_endpoints'] LOOP
        EXECUTE format('CREATE TRIGGER webhook_report_new AFTER INSERT ON @extschema@.%I REFERENCING NEW TABLE AS now '
                       'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.report_rows()', relation);
        EXECUTE format('CREATE TRIGGER webhook_report_changed AFTER UPDATE ON @extschema@.%I REFERENCING NEW TABLE AS now '
                       'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.report_rows()', relation);
        EXECUTE format('CREATE TRIGGER webhook_report_gone AFTER DELETE ON @extschema@.%I REFERENCING OLD TABLE AS before '
                       'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.report_rows()', relation);
    END LOOP;
    -- From an extension that was dropped.
    DROP PUBLICATION IF EXISTS webhook_node_reports;
    DROP PUBLICATION IF EXISTS webhook_node_logs;
    CREATE PUBLICATION webhook_node_reports FOR TABLE @extschema@.webhook_node_reports WITH (publish = 'insert');
    EXECUTE format('CREATE PUBLICATION webhook_node_logs FOR TABLE %s WITH (publish = ''insert'')',
                   (SELECT string_agg(format('@extschema@.webhook_logs_%s', n), ', ') FROM generate_series(0, 11) n));
    -- Last, because a sequence does not roll back. Numbers come from the home: none is higher than what this sequence has drawn.
    PERFORM setval('@extschema@.webhook_switches_seq', 2147483647);
    -- So do ids. What should be captured here all the same must not get one of them.
    PERFORM setval('@extschema@.webhook_events_id_seq', 4611686018427387904);
    PERFORM webhook_internal.renew_ids();
END
$$;
COMMENT ON FUNCTION webhook_internal.become_node(text) IS 'Used by the statements of webhook_join_home().';

CREATE FUNCTION webhook_internal.check_may_join(name text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own text := (SELECT n.name FROM webhook_internal.this_node n);
    problem text;
BEGIN
    PERFORM webhook_internal.check_node_name(name);
    IF own <> name OR webhook_internal.own_subscription('webhook_home') IS NOT NULL THEN
        RAISE EXCEPTION 'this database is node "%" already', coalesce(own, name)
            USING ERRCODE = 'duplicate_object', HINT = 'A node keeps its name. To begin anew: DROP SUBSCRIPTION webhook_home; '
                                                       'DROP EXTENSION webhook CASCADE; CREATE EXTENSION webhook;';
    END IF;
    problem := CASE
        WHEN EXISTS (SELECT FROM @extschema@.webhook_node_shares) THEN 'it has been a node or a home before'
        WHEN EXISTS (SELECT FROM @extschema@.webhook_configurations) THEN 'it has webhooks'
        WHEN EXISTS (SELECT FROM @extschema@.webhook_watches) THEN 'events are declared on its tables'
        WHEN EXISTS (SELECT FROM @extschema@.webhook_events) THEN 'it has captured events'
        WHEN EXISTS (SELECT FROM webhook_internal.nodes) THEN 'it is a home' END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'this database cannot become a node: %', problem
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'A node gets its webhooks and its events from the home. Take another database, or DROP EXTENSION webhook '
                         'CASCADE; CREATE EXTENSION webhook;';
    ELSIF current_setting('wal_level') <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is %', current_setting('wal_level')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SYSTEM SET wal_level = logical; then restart the server. The home hears of the node through it.';
    ELSIF NOT EXISTS (SELECT FROM @extschema@.webhook_instance) THEN
        RAISE EXCEPTION 'no worker has started in this database yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = CASE WHEN @extschema@.webhook_is_preloaded() THEN 'Try again in a moment.'
                              ELSE 'Add webhook to shared_preload_libraries and restart the server.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_may_join(text) IS
    'Raises 42602, 42710 or 55000 if this database cannot become a node of that name.';

CREATE FUNCTION @extschema@.webhook_join_home(name text, conninfo text) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    member jsonb;
    held jsonb;
    problem text;
BEGIN
    PERFORM webhook_internal.hide_statement();
    PERFORM webhook_internal.check_may_join(name);
    member := webhook_internal.ask_member(conninfo);
    IF NOT coalesce(member->'publications' @> '["webhook_home", "webhook_home_events"]', false) THEN
        RAISE EXCEPTION 'the database over there is not a home yet'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Over there: SELECT webhook_home();';
    ELSIF NOT (member->>'reads_all')::boolean THEN
        -- The copy would lack all webhooks, without an error.
        RAISE EXCEPTION 'row-level security hides the webhooks from role % over there', member->>'role'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Over there: ALTER ROLE %s BYPASSRLS; as webhook_home() does.', member->>'role');
    END IF;
    held := webhook_internal.ask_source(conninfo, $question$
        SELECT jsonb_build_object(
            'nodes', (SELECT to_jsonb(s.nodes) FROM @extschema@.webhook_node_shares s ORDER BY s.since DESC LIMIT 1),
            'secrets', (SELECT jsonb_agg(k) FROM (SELECT DISTINCT ON (s.key_id) s.configuration_id, s.key_id, s.secret
                                                  FROM @extschema@.webhook_secrets s WHERE s.key_id IS NOT NULL
                                                  ORDER BY s.key_id) k))$question$);
    problem := (SELECT min(webhook_internal.secret_problem((k->>'configuration_id')::uuid, k->>'key_id', k->>'secret'))
                FROM jsonb_array_elements(nullif(held->'secrets', 'null')) k);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'the secrets of the home cannot be decrypted here'
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'One of them: ' || problem || '.',
                  HINT = 'Set webhook.secret_key_file to a copy of the home''s file, and reload.';
    ELSIF held->'nodes' @> to_jsonb(name) THEN
        -- It would deliver at once, and what the other has left would be forgotten.
        RAISE EXCEPTION 'another node "%" has a share at the home', name
            USING ERRCODE = 'duplicate_object',
                  HINT = format('Choose another name. Or, if that node is lost, over there: SELECT webhook_take_over(%1$L), then '
                                'webhook_detach_node(%1$L).', name);
    ELSIF coalesce(member->'slots' @> to_jsonb('webhook_node_' || name), false) THEN
        RAISE EXCEPTION 'the home has a replication slot "webhook_node_%" already', name
            USING ERRCODE = 'duplicate_object', DETAIL = 'It belongs to another node, or to one that is gone.',
                  HINT = format('Choose another name, or, if no node uses it, over there: SELECT pg_drop_replication_slot(%L);',
                                'webhook_node_' || name);
    END IF;
    RETURN NEXT format('SELECT webhook_internal.become_node(%L);', name);
    RETURN QUERY SELECT s FROM webhook_internal.quiet_subscription(
        'webhook_home', conninfo, '{webhook_home_events}', format('slot_name = %I', 'webhook_node_' || name)) s;
    -- The webhooks are copied. Events are not: those from before belong to others.
    RETURN NEXT 'ALTER SUBSCRIPTION webhook_home ADD PUBLICATION webhook_home;';
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_join_home(text, text) IS
    'The statements, for gexec of psql, that make this database a node of a home, under a name: it subscribes to the '
    'home''s webhooks and events. Asks the home through dblink, and runs nothing. Raises 22023, 42602, 42710, 55000 or '
    '08001, and says what to do.';
