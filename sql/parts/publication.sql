-- webhook_publication(): what the source of a delivery node must run (docs/nodes.md).

-- A watch needs the columns that it sends, those in its arguments, and those in its condition, which pg_depend knows.
CREATE FUNCTION webhook_internal.needed_columns(source regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    WITH watch AS (
        SELECT t.oid, w.* FROM @extschema@.webhook_watches w
        JOIN pg_trigger t ON t.tgrelid = w.source AND t.tgname = w.trigger_name
        WHERE w.source = needed_columns.source AND w.on_replicated
    ), present AS (
        -- A generated column cannot be listed. The node computes its own.
        SELECT a.attname, a.attnum FROM pg_attribute a
        WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ), needed AS (
        SELECT p.attname, p.attnum FROM present p
        WHERE p.attname = ANY (coalesce(webhook_internal.watch_key(source), '{}'))
           OR EXISTS (SELECT FROM watch w
                      WHERE CASE WHEN w.include_columns IS NULL THEN p.attname <> ALL (coalesce(w.exclude_columns, '{}'))
                                 ELSE p.attname = ANY (w.include_columns) END
                         OR p.attname = ANY (w.organization_column || w.key_columns || w.changed_columns)
                         OR EXISTS (SELECT FROM pg_depend d
                                    WHERE d.classid = 'pg_trigger'::regclass AND d.objid = w.oid
                                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = source
                                      AND d.refobjsubid = p.attnum))
    )
    -- Without a list, columns that are added later are published too.
    SELECT array_agg(n.attname ORDER BY n.attnum) FROM needed n
    HAVING count(*) < (SELECT count(*) FROM present)
$$;
COMMENT ON FUNCTION webhook_internal.needed_columns(regclass) IS
    'The columns that the events of a table need, with its primary key; null if they need all.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.needed_columns(regclass)');

CREATE FUNCTION @extschema@.webhook_publication(
    publication name DEFAULT 'webhook', role name DEFAULT 'webhook_node', tables text[] DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    script text;
    keyless regclass;
BEGIN
    FOR keyless IN
        SELECT DISTINCT w.source FROM @extschema@.webhook_watches w
        WHERE w.on_replicated AND webhook_internal.watch_key(w.source) IS NULL
    LOOP
        RAISE WARNING 'table % has no primary key: once the source publishes it, updates and deletes of its rows fail there',
                      keyless
            USING HINT = format('Give it a primary key, or first run this on the source: ALTER TABLE %s REPLICA IDENTITY '
                                'FULL;', keyless);
    END LOOP;
    WITH watched AS (
        SELECT DISTINCT c.relkind = 'p' AS is_partitioned, n.nspname, c.relname, c.oid AS node_table
        FROM @extschema@.webhook_watches w JOIN pg_class c ON c.oid = w.source JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE w.on_replicated
    ), wanted AS (
        SELECT DISTINCT CASE cardinality(i.name) WHEN 1 THEN 'public' ELSE i.name[1] END AS nspname,
               i.name[cardinality(i.name)] AS relname
        FROM unnest(tables) t (name), LATERAL (SELECT parse_ident(t.name)) i (name)
    ), part AS (
        -- Whether a table of the source is partitioned is not known here.
        SELECT coalesce(w.is_partitioned, true) AS is_partitioned, format('%I', s.nspname) AS schema_name,
               format('%I.%I', s.nspname, s.relname) AS table_name,
               (SELECT ' (' || string_agg(format('%I', u.name), ', ' ORDER BY u.place) || ')'
                FROM unnest(webhook_internal.needed_columns(w.node_table)) WITH ORDINALITY u (name, place)) AS columns
        FROM (SELECT nspname, relname FROM watched WHERE tables IS NULL UNION SELECT nspname, relname FROM wanted) s
        LEFT JOIN watched w USING (nspname, relname)
    )
    SELECT format(E'CREATE ROLE %I LOGIN REPLICATION;\n', role)
           || format(E'GRANT USAGE ON SCHEMA %s TO %I;\n', string_agg(DISTINCT p.schema_name, ', '), role)
           || string_agg(format(E'GRANT SELECT%s ON %s TO %I;\n', p.columns, p.table_name, role), ''
                         ORDER BY p.table_name)
           || format('CREATE PUBLICATION %I FOR TABLE ', publication)
           || string_agg(p.table_name || coalesce(p.columns, ''), ', ' ORDER BY p.table_name)
           || CASE WHEN bool_or(p.is_partitioned) THEN ' WITH (publish_via_partition_root = true);' ELSE ';' END
    INTO script FROM part p HAVING count(*) > 0;
    IF script IS NULL THEN
        RAISE EXCEPTION 'no event is declared for changes that logical replication applies'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Name the tables of the source with tables => ''{...}''. Or first create them on this node, and '
                         'declare events on them with webhook_watch(..., on_replicated => true).';
    END IF;
    RETURN script;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_publication(name, name, text[]) IS
    'The statements that prepare the source of a delivery node: a role that may replicate and read what the events need, '
    'and a publication of the tables with on_replicated events, or of those that are named. Lists columns if the events do '
    'not need all. Runs nothing. Raises 55000 if there are no such tables, and a WARNING for one without primary key.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_publication(name, name, text[])');
