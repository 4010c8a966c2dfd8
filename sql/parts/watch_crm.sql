-- webhook_watch_crm(): declares the built-in events on the tables of a CRM.

-- For types of an extension, such as citext: the operator of the default operator class.
CREATE FUNCTION webhook_internal.foreign_equality(source regclass, column_name name) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE base AS (
        SELECT a.atttypid AS type FROM pg_attribute a
        WHERE a.attrelid = source AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
    )
    SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
    FROM base b
    JOIN pg_opclass c ON c.opcintype = b.type AND c.opcdefault
    JOIN pg_am m ON m.oid = c.opcmethod AND m.amname IN ('btree', 'hash')
    JOIN pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = b.type AND p.amoprighttype = b.type
                  AND p.amopstrategy = CASE m.amname WHEN 'btree' THEN 3 ELSE 1 END
    JOIN pg_operator o ON o.oid = p.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE n.nspname <> 'pg_catalog'
    ORDER BY m.amname LIMIT 1
$$;
COMMENT ON FUNCTION webhook_internal.foreign_equality(regclass, name) IS
    'The equality operator of a column''s type, as an expression names it, if it is not in pg_catalog; otherwise null.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.foreign_equality(regclass, name)');

-- IS DISTINCT FROM does not survive pg_dump if the operator is not in pg_catalog: see check_restorable().
CREATE FUNCTION webhook_internal.condition_of_change(source regclass, column_name name) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN e.operator IS NULL THEN format('OLD.%1$I IS DISTINCT FROM NEW.%1$I', column_name)
                ELSE format('(OLD.%1$I %2$s NEW.%1$I) IS NOT TRUE AND (OLD.%1$I IS NOT NULL OR NEW.%1$I IS NOT NULL)',
                            column_name, e.operator) END
    FROM (SELECT webhook_internal.foreign_equality(source, column_name)) e (operator)
$$;
COMMENT ON FUNCTION webhook_internal.condition_of_change(regclass, name) IS
    'The condition that an UPDATE has changed the column, in a form that a dump restores.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.condition_of_change(regclass, name)');

-- Compares as text, so that an enum need not have the value.
CREATE FUNCTION webhook_internal.condition_of_value(source regclass, column_name name, value text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN e.operator IS NULL THEN format('NEW.%I::text = %L', column_name, value)
                ELSE format('NEW.%I %s %L', column_name, e.operator, value) END
    FROM (SELECT webhook_internal.foreign_equality(source, column_name)) e (operator)
$$;
COMMENT ON FUNCTION webhook_internal.condition_of_value(regclass, name, text) IS
    'The condition that the column has the value, in a form that a dump restores.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.condition_of_value(regclass, name, text)');

-- The defaults look the tables up, so that the caller's search_path applies.
CREATE FUNCTION @extschema@.webhook_watch_crm(
    contacts regclass DEFAULT pg_catalog.to_regclass('contacts'),
    deals regclass DEFAULT coalesce(pg_catalog.to_regclass('deals'), pg_catalog.to_regclass('leads')),
    conversations regclass DEFAULT pg_catalog.to_regclass('conversations'),
    messages regclass DEFAULT pg_catalog.to_regclass('messages'),
    broadcast_responses regclass DEFAULT pg_catalog.to_regclass('broadcast_responses'),
    zoom_recordings regclass DEFAULT pg_catalog.to_regclass('zoom_recordings'),
    organization_column name DEFAULT 'organization_id',
    contact_assigned_column name DEFAULT 'assigned_to',
    deal_assigned_column name DEFAULT 'assigned_to',
    deal_stage_column name DEFAULT 'stage',
    conversation_assigned_column name DEFAULT 'assigned_to',
    conversation_status_column name DEFAULT 'status',
    message_direction_column name DEFAULT 'direction',
    message_status_column name DEFAULT 'status',
    recording_status_column name DEFAULT 'status',
    updated_column name DEFAULT 'updated_at',
    on_replicated boolean DEFAULT false,
    backfill boolean DEFAULT false)
    RETURNS TABLE (event text, source regclass, trigger_name name)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_set text := 'NEW.%1$I IS NOT NULL';  -- for format()
    missing text;
    used record;
    declared record;
BEGIN
    FOR used IN
        SELECT * FROM (VALUES
            (contacts, 'contact_assigned_column', contact_assigned_column),
            (deals, 'deal_assigned_column', deal_assigned_column),
            (deals, 'deal_stage_column', deal_stage_column),
            (conversations, 'conversation_assigned_column', conversation_assigned_column),
            (conversations, 'conversation_status_column', conversation_status_column),
            (messages, 'message_direction_column', message_direction_column),
            (messages, 'message_status_column', message_status_column),
            (zoom_recordings, 'recording_status_column', recording_status_column)) u (table_used, parameter, name)
        WHERE u.table_used IS NOT NULL
    LOOP
        IF used.name IS NULL THEN
            RAISE EXCEPTION '% must not be null', used.parameter
                USING ERRCODE = 'null_value_not_allowed',
                      HINT = 'A table that is null is skipped; one that is watched needs all its columns.';
        END IF;
        PERFORM webhook_internal.check_source(used.table_used);
        PERFORM webhook_internal.check_columns(used.table_used, used.parameter, ARRAY[used.name],
            format('Name the column that the table has instead: %s => ''...''.', used.parameter));
    END LOOP;
    SELECT string_agg(t.name, ', ' ORDER BY t.place) INTO missing
    FROM unnest(ARRAY[contacts, deals, conversations, messages, broadcast_responses, zoom_recordings],
                ARRAY['contacts', 'deals', 'conversations', 'messages', 'broadcast_responses', 'zoom_recordings'])
         WITH ORDINALITY t (table_used, name, place)
    WHERE t.table_used IS NULL;
    IF missing IS NOT NULL THEN
        RAISE NOTICE 'no table was found for %: skipped', missing
            USING HINT = 'If such a table has another name, pass it, such as contacts => ''crm.people''.';
    END IF;

    FOR declared IN
        SELECT * FROM (VALUES
            (contacts, 'contact.created', 'INSERT', NULL),
            (contacts, 'contact.updated', 'UPDATE', NULL),
            (contacts, 'contact.assigned', 'INSERT', format(is_set, contact_assigned_column)),
            (contacts, 'contact.assigned', 'UPDATE',
             format(is_set, contact_assigned_column) || ' AND '
             || webhook_internal.condition_of_change(contacts, contact_assigned_column)),
            (deals, 'deal.created', 'INSERT', NULL),
            (deals, 'deal.updated', 'UPDATE', NULL),
            (deals, 'deal.stage.changed', 'UPDATE', webhook_internal.condition_of_change(deals, deal_stage_column)),
            (deals, 'deal.assigned', 'INSERT', format(is_set, deal_assigned_column)),
            (deals, 'deal.assigned', 'UPDATE',
             format(is_set, deal_assigned_column) || ' AND '
             || webhook_internal.condition_of_change(deals, deal_assigned_column)),
            (conversations, 'conversation.created', 'INSERT', NULL),
            (conversations, 'conversation.assigned', 'INSERT', format(is_set, conversation_assigned_column)),
            (conversations, 'conversation.assigned', 'UPDATE',
             format(is_set, conversation_assigned_column) || ' AND '
             || webhook_internal.condition_of_change(conversations, conversation_assigned_column)),
            (conversations, 'conversation.status.changed', 'UPDATE',
             webhook_internal.condition_of_change(conversations, conversation_status_column)),
            (messages, 'message.received', 'INSERT',
             webhook_internal.condition_of_value(messages, message_direction_column, 'inbound')),
            (broadcast_responses, 'broadcast.response', 'INSERT', NULL),
            (zoom_recordings, 'zoom.recording.completed', 'INSERT',
             webhook_internal.condition_of_value(zoom_recordings, recording_status_column, 'completed')),
            (zoom_recordings, 'zoom.recording.completed', 'UPDATE',
             webhook_internal.condition_of_value(zoom_recordings, recording_status_column, 'completed') || ' AND '
             || webhook_internal.condition_of_change(zoom_recordings, recording_status_column))
        ) w (table_used, event, operation, condition)
        UNION ALL
        SELECT messages, 'message.' || status, o.operation,
               webhook_internal.condition_of_value(messages, message_direction_column, 'outbound') || ' AND '
               || webhook_internal.condition_of_value(messages, message_status_column, status) || o.further
        FROM unnest(ARRAY['sent', 'delivered', 'read', 'failed']) status,
             (VALUES ('INSERT', ''),
                     ('UPDATE', ' AND ' || webhook_internal.condition_of_change(messages, message_status_column))) o (operation, further)
    LOOP
        CONTINUE WHEN declared.table_used IS NULL;
        event := declared.event;
        source := declared.table_used;
        FOREACH trigger_name IN ARRAY @extschema@.webhook_watch(
            source, event, declared.operation, declared.condition, organization_column => organization_column,
            ignore_columns => CASE WHEN event LIKE '%.updated' THEN array_remove(ARRAY[updated_column], NULL) END,
            on_replicated => on_replicated, backfill => backfill AND declared.operation = 'INSERT',
            search_path => 'pg_catalog, pg_temp')
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_watch_crm(regclass, regclass, regclass, regclass, regclass, regclass, name, 
    name, name, name, name, name, name, name, name, name, boolean, boolean) IS
    'Declares the 17 built-in events on the tables of a CRM, with webhook_watch(), and returns one row per trigger. '
    'Tables that are not given are looked up in the search_path by these names (for deals also leads). A table that is '
    'null or not found is skipped with a NOTICE. organization_column null: no organizations. updated_column: an update '
    'that changes only this column is not an event. on_replicated and backfill: as for webhook_watch(). Raises 42703 if a table lacks one of the columns. The same call '
    'again does nothing.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_watch_crm(regclass, regclass, regclass, regclass, regclass, regclass, '
    'name, name, name, name, name, name, name, name, name, name, boolean, boolean)');
