-- Checks of the arguments of webhook_watch().

CREATE FUNCTION webhook_internal.check_source(source regclass) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation record;
BEGIN
    SELECT c.relkind, n.nspname,
           EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                     AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'webhook') AS is_ours
    INTO relation
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the source must be a table' USING ERRCODE = 'undefined_table';
    END IF;
    IF relation.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') THEN
        RAISE EXCEPTION '% is a system catalog', source
            USING ERRCODE = 'wrong_object_type', HINT = 'Name a table that holds your own rows.';
    END IF;
    IF relation.is_ours THEN
        RAISE EXCEPTION '% belongs to the extension webhook', source
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Its rows are no events: each would cause the next.',
                  HINT = 'Name a table that holds your own rows.';
    END IF;
    IF relation.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table but a %', source,
                        CASE relation.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                             WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'relation of another kind' END
            USING ERRCODE = 'wrong_object_type',
                  HINT = CASE WHEN relation.relkind IN ('v', 'm') THEN 'Declare the events on its underlying tables.'
                              WHEN relation.relkind = 'f' THEN 'Declare the events where its rows are written.'
                              ELSE 'Events come from the rows of tables.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_source(regclass) IS
    'Raises an error (42809, 42P01) unless events can be declared on the relation.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_source(regclass)');

CREATE FUNCTION webhook_internal.check_columns(source regclass, parameter text, columns name[], hint text)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing name;
BEGIN
    SELECT u.name INTO missing FROM unnest(columns) WITH ORDINALITY u (name, place)
    WHERE NOT EXISTS (SELECT FROM pg_attribute a
                      WHERE a.attrelid = source AND a.attname = u.name AND a.attnum > 0 AND NOT a.attisdropped)
    ORDER BY u.place LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column "%" of table % does not exist', missing, source
            USING ERRCODE = 'undefined_column',
                  DETAIL = format('It was given as %s. The columns are: %s.', parameter,
                                  (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
                                   WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped)),
                  HINT = hint;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_columns(regclass, text, name[], text) IS
    'Raises an error (42703) unless the table has these columns.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_columns(regclass, text, name[], text)');

-- Organizations and keys are compared as texts. src/pg/capture/row_json.cpp makes these the same for equal values.
CREATE FUNCTION webhook_internal.check_comparison(source regclass, columns name[], is_organization boolean)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    compared record;
BEGIN
    FOR compared IN
        WITH RECURSIVE base AS (
            SELECT a.attname, a.atttypid AS type, format_type(a.atttypid, a.atttypmod) AS shown, a.attcollation AS collation_oid
            FROM pg_attribute a
            WHERE a.attrelid = source AND a.attname = ANY (columns) AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL
            SELECT b.attname, t.typbasetype, b.shown, b.collation_oid
            FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
        )
        SELECT b.attname, b.shown, t.typtype = 'e' AS is_enum, t.oid < 16384 AS is_builtin,
               b.type = '"char"'::regtype
                   OR b.type = ANY ('{text,varchar,bpchar,name,int2,int4,int8,numeric,uuid,oid}'::regtype[]) AS is_plain,
               b.type = ANY ('{interval,timetz,jsonb,record}'::regtype[]) OR t.typcategory IN ('A', 'C', 'R') AS is_loose,
               coalesce(NOT c.collisdeterministic, false) AS is_folded
        FROM base b JOIN pg_type t ON t.oid = b.type LEFT JOIN pg_collation c ON c.oid = b.collation_oid
        WHERE t.typtype <> 'd'
    LOOP
        IF is_organization AND NOT (compared.is_plain OR compared.is_enum) AND (compared.is_builtin OR compared.is_loose) THEN
            RAISE EXCEPTION 'column "%" of table % cannot hold an organization: its type is %',
                            compared.attname, source, compared.shown
                USING ERRCODE = 'datatype_mismatch',
                      HINT = 'Name a column of type text, uuid, integer or the like, or, in a database without tenants, pass '
                             'organization_column => NULL.';
        END IF;
        IF compared.is_folded OR compared.is_loose OR NOT (compared.is_plain OR compared.is_enum OR compared.is_builtin) THEN
            RAISE WARNING 'column "%" of table % is compared as text, byte by byte, and not as its % compares',
                          compared.attname, source,
                          CASE WHEN compared.is_folded THEN 'collation' ELSE 'type ' || compared.shown END
                USING DETAIL = CASE WHEN is_organization
                                    THEN 'Values that are equal but written differently are different organizations.'
                                    ELSE 'Values that are equal but written differently are different keys, so their '
                                         'events are not ordered among each other.' END;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_comparison(regclass, name[], boolean) IS
    'Raises a WARNING for each column with a type or a collation that compares values otherwise than as text, and an '
    'error (42804) if the type cannot hold an organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_comparison(regclass, name[], boolean)');

-- Returns the operation in the spelling that the other functions use.
CREATE FUNCTION webhook_internal.watch_operation(event text, operation text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked text := upper(regexp_replace(btrim(operation), '[[:space:]]+', ' ', 'g'));
BEGIN
    IF asked IS NULL THEN
        asked := CASE WHEN event LIKE '%.created' THEN 'INSERT' WHEN event LIKE '%.updated' THEN 'UPDATE'
                      WHEN event LIKE '%.deleted' THEN 'DELETE' END;
        IF asked IS NULL THEN
            RAISE EXCEPTION 'the operation is required for event "%"', event
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'Only the endings .created, .updated and .deleted of an event''s name imply it.',
                      HINT = 'Add operation => ''INSERT'', ''UPDATE'', ''DELETE'' or ''INSERT OR UPDATE''.';
        END IF;
    END IF;
    IF asked = 'UPDATE OR INSERT' THEN
        asked := 'INSERT OR UPDATE';
    END IF;
    IF asked NOT IN ('INSERT', 'UPDATE', 'DELETE', 'INSERT OR UPDATE') THEN
        RAISE EXCEPTION 'invalid operation "%"', operation
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The operation is ''INSERT'', ''UPDATE'', ''DELETE'' or ''INSERT OR UPDATE''.';
    END IF;
    RETURN asked;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_operation(text, text) IS
    'The operation of a webhook_watch(): the given one, or by default the one that the end of the event''s name '
    'implies. Raises an error (22023) if there is none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_operation(text, text)');

CREATE FUNCTION webhook_internal.watch_conflicts(source regclass, event text, operation text, trigger_name name)
    RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    other record;
BEGIN
    SELECT w.trigger_name, w.operation INTO other FROM @extschema@.webhook_watches w
    WHERE w.source = watch_conflicts.source AND w.event = watch_conflicts.event
      AND w.trigger_name <> watch_conflicts.trigger_name
      AND string_to_array(w.operation, ' OR ') && string_to_array(watch_conflicts.operation, ' OR ')
    ORDER BY w.trigger_name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'event "%" is already declared on table % for %', event, source, other.operation
            USING ERRCODE = 'duplicate_object',
                  DETAIL = format('Trigger %I captures it; with another one, each change would cause two events.',
                                  other.trigger_name),
                  HINT = format('To declare it differently, first SELECT @extschema@.webhook_unwatch(%L, %L);',
                                source, event);
    END IF;
    SELECT t.tgname, p.tgrelid::regclass AS parent INTO other
    FROM pg_trigger t JOIN pg_trigger p ON p.oid = t.tgparentid
    WHERE t.tgrelid = source AND t.tgfoid = '@extschema@.webhook_capture()'::regprocedure
      AND (webhook_internal.trigger_arguments(t.tgargs))[1] = event
    ORDER BY t.tgname LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'event "%" is already declared on the partitioned table %', event, other.parent
            USING ERRCODE = 'duplicate_object', DETAIL = format('%s is a partition of it.', source),
                  HINT = 'Declare an event on the partitioned table or on its partitions, not on both.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_conflicts(regclass, text, text, name) IS
    'Raises an error (42710) if another trigger already captures the same change as the same event.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_conflicts(regclass, text, text, name)');

-- src/pg/capture/capture.h describes the arguments: the event, then the options that are set.
CREATE FUNCTION webhook_internal.watch_arguments(
    source regclass, event text, operation text, changed_columns name[], ignore_columns name[],
    organization_column name, key_columns name[], include_columns name[], exclude_columns name[],
    include_previous boolean, large_numbers_as_text boolean, on_replicated boolean, backfill boolean) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    updates boolean := operation LIKE '%UPDATE';
    arguments text[] := ARRAY[event];
    option record;
BEGIN
    IF NOT updates AND (changed_columns <> '{}' OR include_previous) THEN
        RAISE EXCEPTION '% is for updates only', CASE WHEN changed_columns <> '{}' THEN 'changed_columns'
                                                      ELSE 'include_previous' END
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Event "%s" is declared for %s.', event, operation);
    END IF;
    IF backfill AND NOT (on_replicated AND operation LIKE 'INSERT%') THEN
        RAISE EXCEPTION 'backfill is for inserts that logical replication applies'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Event "%s" is declared for %s%s.', event, operation,
                                  CASE WHEN on_replicated THEN '' ELSE ', without on_replicated' END),
                  HINT = 'Add on_replicated => true to a declaration for INSERT, or leave backfill out.';
    END IF;
    IF include_columns <> '{}' AND exclude_columns <> '{}' THEN
        RAISE EXCEPTION 'include_columns and exclude_columns cannot be combined'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the columns to send, or those to leave out.';
    END IF;
    PERFORM webhook_internal.check_columns(source, 'organization_column', ARRAY[organization_column],
        'Name the column that holds the organization, or, in a database without tenants, pass '
        'organization_column => NULL.') WHERE organization_column IS NOT NULL;
    PERFORM webhook_internal.check_comparison(source, ARRAY[organization_column], true);
    -- The default names a column that a table may lack.
    IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = source AND a.attname = 'updated_at') THEN
        ignore_columns := array_remove(ignore_columns, 'updated_at');
    END IF;
    IF NOT updates THEN
        ignore_columns := NULL;
    END IF;
    IF organization_column IS NOT NULL THEN
        arguments := arguments || ('organization_column=' || organization_column);
    END IF;
    FOR option IN
        SELECT * FROM (VALUES ('key_columns', key_columns),
                              ('ignore_columns', ignore_columns), ('changed_columns', changed_columns),
                              ('include_columns', include_columns),
                              ('exclude_columns', exclude_columns)) o (name, columns)
        -- Without the option, the key is the primary key. With an empty list, there is no key.
        WHERE o.columns <> '{}' OR o.name = 'key_columns' AND o.columns = '{}'
    LOOP
        PERFORM webhook_internal.check_columns(source, option.name, option.columns,
            'Name columns of the table, or leave the parameter out.');
        arguments := arguments || (option.name || '=' || option.columns::text);
    END LOOP;
    PERFORM webhook_internal.check_comparison(source, coalesce(key_columns, webhook_internal.watch_key(source)), false);
    IF include_previous THEN
        arguments := arguments || 'include_previous=true'::text;
    END IF;
    IF large_numbers_as_text THEN
        arguments := arguments || 'large_numbers_as_text=true'::text;
    END IF;
    IF backfill THEN
        arguments := arguments || 'backfill=true'::text;
    END IF;
    RETURN arguments;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_arguments(regclass, text, text, name[], name[], name, name[], 
    name[], name[], boolean, boolean, boolean, boolean) IS
    'The arguments of the trigger that webhook_watch() creates. Errors: 22023, 42703, 42804.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_arguments(regclass, text, text, name[], name[], name, name[], '
    'name[], name[], boolean, boolean, boolean, boolean)');
