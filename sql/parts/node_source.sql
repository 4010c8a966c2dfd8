-- What a delivery node asks of its source (docs/nodes.md): its settings, the slot, the published tables. A DBA's call alone
-- opens these connections, through the extension dblink. The workers and the application never do.

-- An ERROR also writes the caller's statement to the server log, and that may hold a password.
CREATE FUNCTION webhook_internal.hide_statement() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('log_min_error_statement', 'panic', true);
END
$$;
COMMENT ON FUNCTION webhook_internal.hide_statement() IS
    'Until the transaction ends, its errors are logged without the statement.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.hide_statement()');

-- libpq quotes parts of a connection string that it cannot read, so only what it says of a server is passed on.
CREATE FUNCTION webhook_internal.ask_source(conninfo text, question text) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dblink_schema name := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                           WHERE e.extname = 'dblink');
    is_server boolean := EXISTS (SELECT FROM pg_foreign_server s WHERE s.srvname = conninfo);
    reason text;
    answer jsonb;
BEGIN
    IF dblink_schema IS NULL THEN
        RAISE EXCEPTION 'the extension dblink is missing, which asks the source'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'CREATE EXTENSION dblink;';
    END IF;
    PERFORM webhook_internal.hide_statement();
    IF conninfo ~ '^postgres(ql)?://' THEN
        conninfo := conninfo || CASE WHEN conninfo LIKE '%?%' THEN '&' ELSE '?' END || 'connect_timeout=10';
    ELSIF NOT is_server THEN
        conninfo := 'connect_timeout=10 ' || conninfo;
    END IF;
    EXECUTE format('SELECT a.answer FROM %I.dblink($1, $2) a (answer jsonb)', dblink_schema)
    INTO answer USING conninfo, 'SET search_path = pg_catalog; SET statement_timeout = 60000; ' || question;
    RETURN answer;
EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
    GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'the source cannot be reached'
        USING ERRCODE = 'sqlclient_unable_to_establish_sqlconnection',
              DETAIL = CASE WHEN reason LIKE 'connection to server %' THEN reason
                            WHEN reason LIKE 'could not translate host name %' AND conninfo !~ '^postgres(ql)?://' THEN reason
                            ELSE 'The reason is withheld, because it may quote a password.' END,
              HINT = 'Check the connection string with psql on this machine, as the user that runs the server.';
END
$$;
COMMENT ON FUNCTION webhook_internal.ask_source(text, text) IS
    'Asks another server one question, whose answer is one JSON value. conninfo: a connection string, or the name of a '
    'foreign server. Errors: 55000 without dblink, 08001 if it cannot be reached. Shows no part of a password.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.ask_source(text, text)');

CREATE FUNCTION webhook_internal.source_server(conninfo text, publications name[], slot name) RETURNS jsonb
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.ask_source(conninfo, format($question$
        SELECT json_build_object(
            'version', current_setting('server_version_num')::int,
            'version_shown', current_setting('server_version'),
            'started_at', extract(epoch FROM pg_postmaster_start_time())::text,
            'is_standby', pg_is_in_recovery(),
            'wal_level', current_setting('wal_level'),
            'role', current_user,
            'may_replicate', (SELECT r.rolreplication OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
                OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname IN ('rds_replication', 'rds_superuser')
                                                    AND pg_has_role(r.oid, 'MEMBER')),
            'free_slots', current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
            'limit_bytes', (SELECT nullif(s.setting::numeric, -1) * 1048576 FROM pg_settings s
                            WHERE s.name = 'max_slot_wal_keep_size'),
            'publications', (SELECT json_agg(p.pubname) FROM pg_publication p WHERE p.pubname = ANY (%1$L::name[])),
            'updates', (SELECT bool_or(p.pubupdate OR p.pubdelete) FROM pg_publication p
                        WHERE p.pubname = ANY (%1$L::name[])),
            'replay_lag', (SELECT extract(epoch FROM max(r.replay_lag)) FROM pg_stat_replication r
                           JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = %2$L),
            'slot', (SELECT to_jsonb(s) || jsonb_build_object(
                         'retained_bytes', pg_wal_lsn_diff(w.lsn, s.restart_lsn),
                         'behind_bytes', pg_wal_lsn_diff(w.lsn, s.confirmed_flush_lsn))
                     FROM pg_replication_slots s,
                          (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                                       ELSE pg_current_wal_lsn() END) w (lsn)
                     WHERE s.slot_name = %2$L))
    $question$, publications, slot))
$$;
COMMENT ON FUNCTION webhook_internal.source_server(text, name[], name) IS
    'What a source says of its version and settings, the role, the publications and the slot.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.source_server(text, name[], name)');

-- Names of types are those of format_type(). type: as declared. plain: without domains, and text for an enum, which the
-- node uses if it has no such type.
CREATE FUNCTION webhook_internal.source_tables(conninfo text, publications name[], version integer) RETURNS jsonb
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.ask_source(conninfo, format($question$
        SELECT coalesce(json_agg(t ORDER BY t.schema, t.name), '[]') FROM (
            SELECT DISTINCT ON (n.nspname, c.relname) n.nspname AS schema, c.relname AS name,
                c.relispartition AS is_partition, c.relreplident AS identity, p.filter,
                has_schema_privilege(n.oid, 'USAGE') AS schema_usable, row_security_active(c.oid) AS has_policies,
                (SELECT json_agg(a.attname ORDER BY k.place)
                 FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place), pg_attribute a
                 WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
                   AND a.attrelid = c.oid AND a.attnum = k.attnum) AS key,
                (SELECT json_agg(a.attname ORDER BY k.place)
                 FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place), pg_attribute a
                 WHERE i.indrelid = c.oid AND i.indisreplident AND k.place <= i.indnkeyatts
                   AND a.attrelid = c.oid AND a.attnum = k.attnum) AS identity_key,
                (SELECT json_agg(json_build_object(
                     'name', a.attname, 'type', format_type(a.atttypid, NULL), 'typmod', a.atttypmod,
                     'plain', CASE WHEN b.typtype = 'e' THEN 'text' ELSE format_type(b.oid, NULL) END
                              || CASE WHEN a.is_array THEN '[]' ELSE '' END,
                     'plain_typmod', b.typmod,
                     'labels', (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
                                WHERE e.enumtypid = b.oid),
                     'not_null', a.attnotnull, 'is_generated', a.attgenerated <> '',
                     'expression', pg_get_expr(d.adbin, d.adrelid),
                     'needs', (SELECT json_agg(DISTINCT r.attname) FROM pg_depend x JOIN pg_attribute r
                               ON r.attrelid = c.oid AND r.attnum = x.refobjsubid AND r.attnum <> a.attnum
                               WHERE a.attgenerated <> '' AND x.refclassid = 'pg_class'::regclass AND x.refobjid = c.oid
                                 AND (x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid
                                      OR x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.objsubid = a.attnum)),
                     'is_published', coalesce(a.attname = ANY (p.columns), true)
                                     AND (a.attgenerated = '' OR %2$L::int >= 180000 AND p.columns IS NOT NULL),
                     'is_readable', has_column_privilege(c.oid, a.attnum, 'SELECT')) ORDER BY a.attnum)
                 FROM (SELECT a.*, y.typelem <> 0 AND y.typlen = -1 AS is_array,
                              CASE WHEN y.typelem <> 0 AND y.typlen = -1 THEN y.typelem ELSE y.oid END AS element
                       FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid) a
                 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum AND a.attgenerated <> ''
                 CROSS JOIN LATERAL (
                     WITH RECURSIVE base AS (
                         SELECT y.oid, y.typtype, y.typbasetype, y.typtypmod, a.atttypmod AS typmod
                         FROM pg_type y WHERE y.oid = a.element
                         UNION ALL
                         SELECT y.oid, y.typtype, y.typbasetype, y.typtypmod, b.typtypmod
                         FROM base b JOIN pg_type y ON y.oid = b.typbasetype WHERE b.typtype = 'd')
                     SELECT b.oid, b.typtype, b.typmod FROM base b WHERE b.typtype <> 'd') b
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
            FROM (SELECT q.schemaname, q.tablename, %3$s AS columns, %4$s AS filter
                  FROM pg_publication_tables q WHERE q.pubname = ANY (%1$L::name[])) p
            JOIN pg_namespace n ON n.nspname = p.schemaname
            JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename) t
    $question$, publications, version,
        CASE WHEN version >= 150000 THEN 'q.attnames' ELSE 'NULL::name[]' END,
        CASE WHEN version >= 150000 THEN 'q.rowfilter' ELSE 'NULL::text' END))
$$;
COMMENT ON FUNCTION webhook_internal.source_tables(text, name[], integer) IS
    'The tables of publications, with columns, keys, row filters and what the role may read, as a source of this version '
    '(server_version_num) says.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.source_tables(text, name[], integer)');
