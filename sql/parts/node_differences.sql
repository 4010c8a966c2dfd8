-- How the tables of a delivery node differ from those that its source publishes, and what mends that (docs/nodes.md). The
-- JSON comes from webhook_internal.source_tables(). Another server wrote it, so its names are quoted, its types are those
-- of this server, and its expressions are checked.

CREATE FUNCTION webhook_internal.node_type(source_column jsonb) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN to_regtype(source_column->>'type') IS NOT NULL
                THEN format_type(to_regtype(source_column->>'type'), (source_column->>'typmod')::integer)
                ELSE format_type(to_regtype(source_column->>'plain'), (source_column->>'plain_typmod')::integer) END
$$;
COMMENT ON FUNCTION webhook_internal.node_type(jsonb) IS
    'The type that a column of the source has on this server: the same, or what stands for it. Null: there is none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.node_type(jsonb)');

CREATE FUNCTION webhook_internal.node_table(source_table jsonb) RETURNS text
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    qualified text := format('%I.%I', source_table->>'schema', source_table->>'name');
    sent jsonb := (SELECT coalesce(jsonb_agg(c->'name'), '[]') FROM jsonb_array_elements(source_table->'columns') c
                   WHERE (c->>'is_published')::boolean);
    identity_key jsonb := nullif(source_table->'identity_key', 'null');
    columns text := '';
    source_column jsonb;
BEGIN
    FOR source_column IN SELECT c FROM jsonb_array_elements(source_table->'columns') c LOOP
        IF (source_column->>'is_published')::boolean THEN
            -- Null if this node has no such type.
            columns := columns || format(E',\n    %I ', source_column->>'name') || webhook_internal.node_type(source_column)
                || CASE WHEN (source_column->>'not_null')::boolean THEN ' NOT NULL' ELSE '' END;
        ELSIF (source_column->>'is_generated')::boolean
              AND sent @> coalesce(nullif(source_column->'needs', 'null'), '[]') THEN
            PERFORM webhook_internal.check_condition(source_column->>'expression');
            columns := columns || format(E',\n    %I %s GENERATED ALWAYS AS (%s\n) STORED', source_column->>'name',
                webhook_internal.node_type(source_column), source_column->>'expression');
        END IF;
    END LOOP;
    IF jsonb_typeof(source_table->'key') = 'array' AND sent @> (source_table->'key') THEN
        columns := columns || format(E',\n    PRIMARY KEY (%s)', webhook_internal.column_list(source_table->'key'));
    END IF;
    RETURN format('CREATE TABLE %s (', qualified) || substr(columns, 2) || E'\n);'
        || CASE WHEN source_table->>'identity' = 'i' AND identity_key <> source_table->'key' THEN
                format(E'\nCREATE UNIQUE INDEX %I ON %s (%s);\nALTER TABLE %s REPLICA IDENTITY USING INDEX %1$I;',
                       left(source_table->>'name', 50) || '_identity', qualified,
                       webhook_internal.column_list(identity_key), qualified)
                ELSE '' END;
END
$$;
COMMENT ON FUNCTION webhook_internal.node_table(jsonb) IS
    'The statements that create a table of the source on this node: published columns, generated columns and keys; no '
    'foreign keys, triggers, defaults or other constraints. Null: this node lacks a type. Raises 42601 if a generated column is not one expression.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.node_table(jsonb)');

-- What is wrong with a published table already at the source.
CREATE FUNCTION webhook_internal.source_findings(source_table jsonb, source_role text, publication name, updates boolean)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH named AS (
        SELECT format('%I.%I', source_table->>'schema', source_table->>'name') AS name
    ), hidden AS (
        SELECT format('%I', c->>'name') AS name FROM jsonb_array_elements(source_table->'columns') c
        WHERE (c->>'is_published')::boolean AND NOT (c->>'is_readable')::boolean
    ), unsent AS (
        SELECT format('%I', c->>'name') AS name FROM jsonb_array_elements(source_table->'columns') c
        WHERE NOT (c->>'is_published')::boolean
          AND CASE source_table->>'identity' WHEN 'd' THEN source_table->'key' @> (c->'name')
                                             WHEN 'i' THEN source_table->'identity_key' @> (c->'name')
                                             WHEN 'f' THEN NOT (c->>'is_generated')::boolean END
    )
    SELECT f.severity, f.finding, f.run_on, f.statement FROM named n, LATERAL (VALUES
        (NOT (source_table->>'schema_usable')::boolean, 'error',
         format('role %I may not use schema %I of the source', source_role, source_table->>'schema'), 'source',
         format('GRANT USAGE ON SCHEMA %I TO %I;', source_table->>'schema', source_role)),
        (EXISTS (SELECT FROM hidden), 'error',
         format('role %I may not read table %s of the source', source_role, n.name), 'source',
         format('GRANT SELECT (%s) ON %s TO %I;', (SELECT string_agg(h.name, ', ') FROM hidden h), n.name, source_role)),
        (updates AND (source_table->>'identity' = 'n'
                      OR source_table->>'identity' = 'd' AND jsonb_typeof(source_table->'key') IS DISTINCT FROM 'array'),
         'error', format('table %s has no primary key and no replica identity: updates and deletes fail at the source',
                         n.name), 'source', format('ALTER TABLE %s REPLICA IDENTITY FULL;', n.name)),
        (updates AND EXISTS (SELECT FROM unsent), 'error',
         format('the publication of table %s lacks columns of its replica identity (%s): updates and deletes fail at the source',
                n.name, (SELECT string_agg(u.name, ', ') FROM unsent u)), 'source',
         format('ALTER PUBLICATION %I DROP TABLE %s; -- then add it with these columns', publication, n.name)),
        ((source_table->>'is_partition')::boolean AND to_regclass(n.name) IS NULL, 'error',
         format('%s is a partition, and published as a table of its own', n.name), 'source',
         format('ALTER PUBLICATION %I SET (publish_via_partition_root = true);', publication)),
        ((source_table->>'has_policies')::boolean, 'warning',
         format('row-level security keeps rows of %s from role %I: the first copy lacks them', n.name, source_role), 'source',
         format('ALTER ROLE %I BYPASSRLS;', source_role)),
        (source_table->>'filter' IS NOT NULL, 'info',
         format('of table %s, only these rows are published: %s', n.name, source_table->>'filter'), NULL, NULL)
    ) f (applies, severity, finding, run_on, statement)
    WHERE f.applies
$$;
COMMENT ON FUNCTION webhook_internal.source_findings(jsonb, text, name, boolean) IS
    'What is wrong with a published table at its source. updates: whether updates or deletes are published.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.source_findings(jsonb, text, name, boolean)');

-- The apply worker turns the text of a value into the node's type, so a wider type takes it, too.
CREATE FUNCTION webhook_internal.takes_type(node_type text, source_type text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT node_type = source_type
        OR node_type IN ('text', 'character varying') AND source_type ~ '^(text|character|character varying|bpchar)([(][0-9]+[)])?$'
        OR node_type ~ '^character varying[(]' AND source_type ~ '^character( varying)?[(]'
           AND substring(node_type FROM '[0-9]+')::integer >= substring(source_type FROM '[0-9]+')::integer
        OR node_type IN ('integer', 'bigint') AND source_type = 'smallint' OR node_type = 'bigint' AND source_type = 'integer'
        OR node_type = 'numeric' AND source_type ~ '^(numeric[(]|smallint$|integer$|bigint$)'
        OR node_type = 'double precision' AND source_type = 'real'
$$;
COMMENT ON FUNCTION webhook_internal.takes_type(text, text) IS
    'Whether a column of one type takes each value of the other. Both are written as format_type() does.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.takes_type(text, text)');

CREATE FUNCTION webhook_internal.column_list(names jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('%I', n.name), ', ' ORDER BY n.place)
    FROM jsonb_array_elements_text(names) WITH ORDINALITY n (name, place)
$$;
COMMENT ON FUNCTION webhook_internal.column_list(jsonb) IS 'A JSON array of names, quoted and with commas.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.column_list(jsonb)');

-- Columns of the source beside those of the node. A table that the node lacks has none.
CREATE FUNCTION webhook_internal.column_findings(source_table jsonb, node_table regclass)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH source AS (
        SELECT c->>'name' AS name, (c->>'is_published')::boolean AS is_published, (c->>'not_null')::boolean AS not_null,
               c->'labels' AS labels, c->>'type' AS type, webhook_internal.node_type(c) AS wanted,
               format_type(to_regtype(c->>'plain'), (c->>'plain_typmod')::integer) AS plain
        FROM jsonb_array_elements(source_table->'columns') c
    ), node AS (
        SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.atttypid, a.attnotnull AS not_null,
               a.attgenerated <> '' AS is_generated, a.atthasdef OR a.attidentity <> '' AS has_default
        FROM pg_attribute a WHERE a.attrelid = node_table AND a.attnum > 0 AND NOT a.attisdropped
    ), paired AS (
        SELECT coalesce(s.name, n.name) AS name, s.name IS NOT NULL AS at_source, n.name IS NOT NULL AS on_node,
               coalesce(s.is_published, false) AS is_published, s.not_null AS source_not_null, s.type AS source_type,
               s.wanted, s.plain, s.labels, n.type, n.atttypid, n.not_null, n.is_generated, n.has_default
        FROM source s FULL JOIN node n ON n.name = s.name
    )
    SELECT f.severity, f.finding, 'node', f.statement
    FROM paired p, LATERAL (SELECT format('%I.%I', source_table->>'schema', source_table->>'name')) t (name), LATERAL (VALUES
        (p.is_published AND NOT p.on_node AND p.wanted IS NULL, 'error',
         format('column %I of table %s has type %s, which this node does not have', p.name, t.name, p.source_type),
         'CREATE EXTENSION or CREATE TYPE, whichever it comes from'),
        (node_table IS NOT NULL AND p.is_published AND NOT p.on_node AND p.wanted IS NOT NULL, 'error',
         format('column %I of table %s is missing on this node', p.name, t.name),
         format('ALTER TABLE %s ADD COLUMN %I %s;', t.name, p.name, p.wanted)),
        (p.is_published AND p.on_node AND NOT p.is_generated
         AND NOT coalesce(webhook_internal.takes_type(p.type, p.wanted) OR webhook_internal.takes_type(p.type, p.plain), false),
         'error', format('column %I of table %s has type %s at the source and %s on this node', p.name, t.name,
                         p.source_type, p.type),
         format('ALTER TABLE %s ALTER COLUMN %I TYPE %s USING %2$I::%3$s;', t.name, p.name, p.wanted)),
        (p.is_published AND p.on_node AND p.is_generated, 'error',
         format('column %I of table %s is published, and generated on this node', p.name, t.name),
         format('ALTER TABLE %s ALTER COLUMN %I DROP EXPRESSION;', t.name, p.name)),
        (p.on_node AND p.not_null AND CASE WHEN p.is_published THEN NOT p.source_not_null
                                           ELSE NOT p.has_default AND NOT p.is_generated END, 'error',
         format('column %I of table %s takes no null on this node, and the source sends some', p.name, t.name),
         format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL;', t.name, p.name)),
        (p.on_node AND NOT p.at_source, 'info',
         format('column %I of table %s is not at the source', p.name, t.name),
         format('ALTER TABLE %s DROP COLUMN %I;', t.name, p.name))
    ) f (applies, severity, finding, statement)
    WHERE f.applies
    UNION ALL
    SELECT 'error', format('the type %s of this node lacks the label %L', p.type, l.label), 'node',
           format('ALTER TYPE %s ADD VALUE %L;', p.type, l.label)
    FROM paired p, jsonb_array_elements_text(nullif(p.labels, 'null')) l (label)
    WHERE p.is_published AND p.on_node
      AND EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = p.atttypid)
      AND NOT EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = p.atttypid AND e.enumlabel = l.label)
$$;
COMMENT ON FUNCTION webhook_internal.column_findings(jsonb, regclass) IS
    'How the columns of a published table differ from those of the node''s. node_table: null if the node has none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.column_findings(jsonb, regclass)');

-- All that is wrong with one published table. The apply worker finds a row by a key of the node's whose columns it is sent.
CREATE FUNCTION webhook_internal.table_findings(source_table jsonb, source_role text, publication name, updates boolean)
    RETURNS TABLE (severity text, finding text, run_on text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    qualified text := format('%I.%I', source_table->>'schema', source_table->>'name');
    node_table regclass := to_regclass(qualified);
    sent_key jsonb := CASE source_table->>'identity' WHEN 'd' THEN source_table->'key' WHEN 'i' THEN source_table->'identity_key'
                           WHEN 'f' THEN (SELECT jsonb_agg(c->'name') FROM jsonb_array_elements(source_table->'columns') c) END;
    node_key jsonb;
BEGIN
    RETURN QUERY SELECT s.* FROM webhook_internal.source_findings(source_table, source_role, publication, updates) s;
    IF (SELECT c.relkind FROM pg_class c WHERE c.oid = node_table) NOT IN ('r', 'p') THEN
        RETURN QUERY SELECT 'error', format('%s is not a table on this node', qualified), 'node',
                            format('Rename or drop %s.', qualified);
        RETURN;
    END IF;
    RETURN QUERY SELECT c.* FROM webhook_internal.column_findings(source_table, node_table) c;
    SELECT jsonb_agg(a.attname) INTO node_key
    FROM (SELECT i.indkey::int2[] AS attnums, i.indnkeyatts FROM pg_index i
          WHERE i.indrelid = node_table AND (i.indisreplident OR i.indisprimary)
          ORDER BY i.indisreplident DESC LIMIT 1) i
    JOIN pg_attribute a ON a.attrelid = node_table AND a.attnum = ANY (i.attnums[0:i.indnkeyatts - 1]);
    IF node_table IS NOT NULL AND updates AND jsonb_typeof(sent_key) = 'array'
       AND NOT coalesce(sent_key @> node_key, source_table->>'identity' = 'f') THEN
        RETURN QUERY SELECT 'error',
            format('table %s has %s on this node, and the source sends %s: its updates and deletes cannot be applied', qualified,
                   coalesce('the key (' || webhook_internal.column_list(node_key) || ')', 'no primary key'),
                   webhook_internal.column_list(sent_key)), 'node',
            CASE WHEN node_key IS NULL THEN format('ALTER TABLE %s ADD PRIMARY KEY (%s);', qualified,
                                                   webhook_internal.column_list(sent_key))
                 ELSE format('CREATE UNIQUE INDEX %I ON %s (%s); ALTER TABLE %2$s REPLICA IDENTITY USING INDEX %1$I;',
                             left(source_table->>'name', 50) || '_identity', qualified,
                             webhook_internal.column_list(sent_key)) END;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.table_findings(jsonb, text, name, boolean) IS
    'All that is wrong with a published table, at the source and on this node, with the statements that mend it.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.table_findings(jsonb, text, name, boolean)');
