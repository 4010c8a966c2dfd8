-- Declaring events: webhook_watch() and webhook_unwatch().

-- For example webhook_contact_created. The operation follows, unless the event's name ends with it. A digest replaces
-- what does not fit into 63 bytes, and distinguishes names that differ only in ".", "_" or "-".
CREATE FUNCTION webhook_internal.watch_trigger_name(source regclass, event text, operation text) RETURNS name
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    digest text := '_' || left(md5(event), 8);
    suffix text := CASE WHEN operation = 'INSERT' AND event LIKE '%.created'
                          OR operation = 'UPDATE' AND event LIKE '%.updated'
                          OR operation = 'DELETE' AND event LIKE '%.deleted' THEN ''
                        ELSE '_' || replace(lower(operation), ' ', '_') END;
    plain text := 'webhook_' || translate(event, '.-', '__');
BEGIN
    IF length(plain || suffix) <= 63
       AND NOT EXISTS (SELECT FROM pg_trigger t
                       WHERE t.tgrelid = source AND t.tgname = plain || suffix
                         AND (t.tgfoid <> '@extschema@.webhook_capture()'::regprocedure
                              OR (webhook_internal.trigger_arguments(t.tgargs))[1] IS DISTINCT FROM event)) THEN
        RETURN plain || suffix;
    END IF;
    RETURN left(plain, 63 - length(digest || suffix)) || digest || suffix;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_trigger_name(regclass, text, text) IS
    'The name of the trigger that webhook_watch() creates.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_trigger_name(regclass, text, text)');

-- STABLE, because it depends on the setting standard_conforming_strings.
CREATE FUNCTION webhook_internal.check_condition(condition text) RETURNS void
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'webhook_check_condition';
COMMENT ON FUNCTION webhook_internal.check_condition(text) IS
    'Raises an error (42601) unless PostgreSQL''s parser reads the text as exactly one expression.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_condition(text)');

-- The only place where texts become a statement. The operation comes from a list, the condition is one expression, and
-- everything else is quoted. The caller that executes the result sets standard_conforming_strings as this function
-- does, so that both read the same.
CREATE FUNCTION webhook_internal.trigger_declaration(
    trigger_name name, source regclass, operation text, condition text, arguments text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
BEGIN
    operation := webhook_internal.watch_operation(NULL, operation);
    PERFORM webhook_internal.check_condition(condition);
    -- The table is qualified, because its name is read with the caller's search_path. The line end closes a comment in
    -- the condition.
    RETURN (SELECT format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %I.%I FOR EACH ROW %s '
                          'EXECUTE FUNCTION @extschema@.webhook_capture(%s)',
                          trigger_name, operation, n.nspname, c.relname, E'WHEN (' || condition || E'\n)',
                          (SELECT string_agg(quote_literal(a.argument), ', ' ORDER BY a.place)
                           FROM unnest(arguments) WITH ORDINALITY a (argument, place)))
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source);
END
$$;
COMMENT ON FUNCTION webhook_internal.trigger_declaration(name, regclass, text, text, text[]) IS
    'The statement that creates a trigger of webhook_watch(). Errors: 22023, 42601.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.trigger_declaration(name, regclass, text, text, text[])');

-- Tries the condition on an empty copy of the source and rolls that back. On the source it would lock out writers,
-- often only to find that nothing has to change.
CREATE FUNCTION webhook_internal.normal_condition(source regclass, operation text, condition text, search_path text)
    RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    normal text;
    declaration text;
BEGIN
    EXECUTE format('CREATE TEMPORARY TABLE webhook_condition_probe (LIKE %s)', source);
    declaration := webhook_internal.trigger_declaration(
        'webhook_probe', 'pg_temp.webhook_condition_probe', operation, condition, '{webhook.probe}');
    -- Until it is set back, unqualified names are looked up in the caller's search_path.
    PERFORM pg_catalog.set_config('search_path', normal_condition.search_path, true);
    EXECUTE declaration;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT webhook_internal.trigger_condition(t.oid) INTO normal FROM pg_trigger t
    WHERE t.tgrelid = 'pg_temp.webhook_condition_probe'::regclass AND t.tgname = 'webhook_probe';
    RAISE EXCEPTION 'undo the probe' USING ERRCODE = 'triggered_action_exception';
EXCEPTION WHEN OTHERS THEN
    RETURN normal;
END
$$;
COMMENT ON FUNCTION webhook_internal.normal_condition(regclass, text, text, text) IS
    'A condition as PostgreSQL shows it for a trigger on the source; null if it is not valid.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.normal_condition(regclass, text, text, text)');

-- What a condition means, independent of how it is written.
CREATE FUNCTION webhook_internal.condition_meaning(source regclass, trigger_name name) RETURNS text[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(DISTINCT m.found[1] ORDER BY m.found[1])
    FROM pg_trigger t
    CROSS JOIN LATERAL regexp_matches(t.tgqual::text, ':((?:opno|opnos|funcid|inputcollid|minmaxtype) [^:}]*)', 'g') m (found)
    WHERE t.tgrelid = source AND t.tgname = trigger_name
$$;
COMMENT ON FUNCTION webhook_internal.condition_meaning(regclass, name) IS
    'The operators, functions and collations of a trigger''s condition; null if it has none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.condition_meaning(regclass, name)');

-- A dump writes the condition for an empty search_path. IS DISTINCT FROM, NULLIF and CASE name no operator. When a dump
-- is read, they find none for a type of another schema, or another one. This function reads the trigger back in the
-- same way. An error undoes all of it.
CREATE FUNCTION webhook_internal.check_restorable(source regclass, trigger_name name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    meant text[] := webhook_internal.condition_meaning(source, trigger_name);
    trigger_oid oid := (SELECT t.oid FROM pg_trigger t WHERE t.tgrelid = source AND t.tgname = trigger_name);
    problem text;
BEGIN
    BEGIN
        PERFORM pg_catalog.set_config('search_path', '', true);
        EXECUTE 'CREATE OR REPLACE' || pg_catalog.substr(pg_catalog.pg_get_triggerdef(trigger_oid), 7);
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        IF webhook_internal.condition_meaning(source, trigger_name) IS DISTINCT FROM meant THEN
            problem := 'It would come back with other operators';
        END IF;
    EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
        problem := 'PostgreSQL would say: ' || SQLERRM;
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'pg_dump could not restore the condition'
            USING ERRCODE = 'invalid_object_definition', DETAIL = problem || '.',
                  HINT = 'For a type of an extension, name the operator with its schema, as in OLD.x OPERATOR(public.<>) NEW.x, '
                         'compare OLD.x::text with NEW.x::text, or use changed_columns instead.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_restorable(regclass, name) IS
    'Raises an error (42P17) unless a dump restores the trigger with the same condition.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_restorable(regclass, name)');

CREATE FUNCTION webhook_internal.register_event(event text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE t.name = event) THEN
        RETURN;
    END IF;
    INSERT INTO @extschema@.webhook_event_types (name, category) VALUES (event, split_part(event, '.', 1))
    ON CONFLICT DO NOTHING;
    RAISE NOTICE 'event "%" is new and has been registered', event
        USING HINT = 'Describe it in @extschema@.webhook_event_types: description, example.';
END
$$;
COMMENT ON FUNCTION webhook_internal.register_event(text) IS
    'Adds the event to webhook_event_types, with a NOTICE, unless it is there already.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.register_event(text)');

-- CREATE OR REPLACE TRIGGER has set the trigger back to what fires in ordinary sessions alone.
CREATE FUNCTION webhook_internal.fire_on_replicated(source regclass, trigger_name name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', source, trigger_name);
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'only the owner of table % can declare an event on_replicated', source
        USING ERRCODE = 'insufficient_privilege', DETAIL = SQLERRM || '.',
              HINT = 'Call webhook_watch() as the owner of the table, or leave on_replicated out.';
END
$$;
COMMENT ON FUNCTION webhook_internal.fire_on_replicated(regclass, name) IS
    'Makes a trigger fire for changes that logical replication applies, too. Raises an error (42501) unless the caller '
    'owns the table.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.fire_on_replicated(regclass, name)');

CREATE FUNCTION webhook_internal.watch_notices(source regclass, event text, on_replicated boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    children regclass[] := webhook_internal.unwatched_children(source, event);
    subscriptions name[] := webhook_internal.subscriptions_of(source);
BEGIN
    IF children IS NOT NULL THEN
        RAISE NOTICE 'rows of % do not cause "%": triggers are not inherited', array_to_string(children, ', '), event
            USING HINT = 'Declare the event for these tables too.';
    END IF;
    IF subscriptions IS NOT NULL AND NOT on_replicated THEN
        RAISE NOTICE 'changes of % that logical replication applies (%) do not cause "%"', source,
                     array_to_string(subscriptions, ', '), event
            USING HINT = 'Declare the event with on_replicated => true.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_notices(regclass, text, boolean) IS
    'Raises a NOTICE for changes that look as if they caused the event, and do not.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_notices(regclass, text, boolean)');

-- The function's search_path is fixed. The caller's, which is for the condition, comes in through a default, which is
-- evaluated before the call.
CREATE FUNCTION @extschema@.webhook_watch(
    source regclass,
    event text,
    operation text DEFAULT NULL,
    condition text DEFAULT NULL,
    changed_columns name[] DEFAULT NULL,
    ignore_columns name[] DEFAULT '{updated_at}',
    organization_column name DEFAULT 'organization_id',
    key_columns name[] DEFAULT NULL,
    include_columns name[] DEFAULT NULL,
    exclude_columns name[] DEFAULT NULL,
    include_previous boolean DEFAULT false,
    large_numbers_as_text boolean DEFAULT false,
    on_replicated boolean DEFAULT false,
    backfill boolean DEFAULT false,
    search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS name[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET standard_conforming_strings = on
AS $$
DECLARE
    arguments text[];
    own_trigger name;
    is_declared boolean;
    declaration text;
    problem text;
BEGIN
    PERFORM webhook_internal.check_source(source);
    PERFORM webhook_internal.check_event(event);
    PERFORM webhook_internal.check_own_event(event);
    operation := webhook_internal.watch_operation(event, operation);
    condition := nullif(btrim(condition), '');
    PERFORM webhook_internal.check_condition(condition);
    on_replicated := coalesce(on_replicated, false);
    arguments := webhook_internal.watch_arguments(source, event, operation, changed_columns, ignore_columns,
        organization_column, key_columns, include_columns, exclude_columns, coalesce(include_previous, false),
        coalesce(large_numbers_as_text, false), on_replicated, coalesce(backfill, false));
    own_trigger := webhook_internal.watch_trigger_name(source, event, operation);
    PERFORM webhook_internal.watch_conflicts(source, event, operation, own_trigger);

    SELECT w.condition IS NOT DISTINCT FROM
           CASE WHEN w.condition IS NULL OR webhook_watch.condition IS NULL THEN webhook_watch.condition
                ELSE webhook_internal.normal_condition(w.source, w.operation, webhook_watch.condition,
                                                          search_path) END
    INTO is_declared
    FROM @extschema@.webhook_watches w
    JOIN pg_trigger t ON t.tgrelid = w.source AND t.tgname = w.trigger_name
    WHERE w.source = webhook_watch.source AND w.operation = webhook_watch.operation AND t.tgname = own_trigger
      AND (t.tgenabled = 'D' OR w.on_replicated = webhook_watch.on_replicated)
      AND webhook_internal.trigger_arguments(t.tgargs) = arguments;
    IF is_declared THEN
        PERFORM webhook_internal.register_event(event);
        RETURN ARRAY[own_trigger];
    END IF;

    declaration := webhook_internal.trigger_declaration(own_trigger, source, operation, condition, arguments);
    BEGIN
        -- Until it is set back, unqualified names are looked up in the caller's search_path.
        PERFORM pg_catalog.set_config('search_path', webhook_watch.search_path, true);
        EXECUTE declaration;
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    EXCEPTION
        WHEN lock_not_available THEN
            RAISE EXCEPTION 'could not lock table % within 2 seconds', source
                USING ERRCODE = 'lock_not_available', DETAIL = 'Nothing was changed.',
                      HINT = 'Try again when no long transaction writes to it; pg_stat_activity shows which does.';
        WHEN invalid_object_definition THEN
            IF operation <> 'INSERT OR UPDATE' THEN
                RAISE;
            END IF;
            GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
            RAISE EXCEPTION 'the condition of event "%" mentions OLD, which an INSERT does not have', event
                USING ERRCODE = 'invalid_object_definition', DETAIL = problem || '.',
                      HINT = 'Declare the two separately: operation => ''UPDATE'' with this condition, and '
                             'operation => ''INSERT'' with one that mentions NEW only; or use changed_columns '
                             'instead.';
    END;
    IF condition IS NOT NULL THEN
        PERFORM webhook_internal.check_restorable(source, own_trigger);
    END IF;
    IF on_replicated THEN
        PERFORM webhook_internal.fire_on_replicated(source, own_trigger);
    END IF;
    PERFORM webhook_internal.register_event(event);
    PERFORM webhook_internal.watch_notices(source, event, on_replicated);
    RETURN ARRAY[own_trigger];
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, name[], 
    name[], name[], boolean, boolean, boolean, boolean, text) IS
    'Declares that changes of a table are an event, by creating a trigger, and returns the trigger''s name. The same '
    'declaration again does nothing. Another one for the same operation replaces it. operation: INSERT, UPDATE, DELETE '
    'or INSERT OR UPDATE; the default follows from the end of the event''s name (.created, .updated, .deleted). '
    'condition: one expression with NEW and OLD (42601), read in search_path (default: the session''s) with '
    'standard_conforming_strings on. key_columns: default is the primary key. on_replicated: changes that logical '
    'replication applies are events, too (42501 unless the caller owns the table). backfill: so are the rows that are '
    'copied when the table is subscribed. Requires the privilege TRIGGER on the table. Waits 2 s for the table''s lock, '
    'then raises 55P03.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, name[], '
    'name[], name[], boolean, boolean, boolean, boolean, text)');

CREATE FUNCTION @extschema@.webhook_unwatch(source regclass, event text) RETURNS name[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    trigger_names name[];
    trigger_name name;
    declared text;
BEGIN
    SELECT array_agg(w.trigger_name ORDER BY w.trigger_name) INTO trigger_names FROM @extschema@.webhook_watches w
    WHERE w.source = webhook_unwatch.source AND w.event = webhook_unwatch.event;
    IF trigger_names IS NULL THEN
        SELECT string_agg(DISTINCT w.event, ', ') INTO declared FROM @extschema@.webhook_watches w
        WHERE w.source = webhook_unwatch.source;
        RAISE EXCEPTION 'event "%" is not declared on table %', event, source
            USING ERRCODE = 'undefined_object',
                  DETAIL = coalesce('Declared on it: ' || declared || '.', 'No event is declared on it.'),
                  HINT = 'The view @extschema@.webhook_watches lists what is declared.';
    END IF;
    FOREACH trigger_name IN ARRAY trigger_names LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, source);
    END LOOP;
    RETURN trigger_names;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'could not lock table % within 2 seconds', source
        USING ERRCODE = 'lock_not_available', DETAIL = 'Nothing was changed.',
              HINT = 'Try again when no long transaction uses it; pg_stat_activity shows which does.';
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_unwatch(regclass, text) IS
    'Takes back webhook_watch(): drops the triggers of the event on the table and returns their names. Raises 42704 if '
    'there are none. Waits 2 s for the table''s lock, then raises 55P03.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_unwatch(regclass, text)');
