-- Keeps logical replication of all tables from changing the tables about this database.

-- These tables describe what this database has captured, has pending and has sent. A subscriber to all tables keeps its
-- own rows.
CREATE FUNCTION webhook_internal.keep_local() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.keep_local() IS 'Trigger function: keeps replication from changing the table.';

DO $$
DECLARE
    relation regclass;
    segment regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        '@extschema@.webhook_events', '@extschema@.webhook_deliveries', '@extschema@.webhook_logs',
        '@extschema@.webhook_minutes', '@extschema@.webhook_hours', '@extschema@.webhook_endpoints',
        '@extschema@.webhook_history', '@extschema@.webhook_replays', '@extschema@.webhook_checkpoint',
        '@extschema@.webhook_rings', '@extschema@.webhook_instance',
        'webhook_internal.lock_key', 'webhook_internal.saved_events', 'webhook_internal.given_up',
        'webhook_internal.deferred_changes', 'webhook_internal.privileges'
    ]::regclass[] LOOP
        EXECUTE format(
            'CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s '
            'FOR EACH ROW EXECUTE FUNCTION webhook_internal.keep_local()', relation);
        -- Altered on each segment, because a cloned trigger does not always follow its parent.
        FOR segment IN
            SELECT relation UNION
            SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = relation
        LOOP
            EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_keep_local', segment);
        END LOOP;
    END LOOP;
END
$$;

-- A publisher's rows of webhook_changes are for the publisher's worker, so they are skipped. The rows about replicated
-- changes come from triggers here.
CREATE TRIGGER webhook_keep_local BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.webhook_changes
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION webhook_internal.keep_local();
ALTER TABLE @extschema@.webhook_changes ENABLE REPLICA TRIGGER webhook_keep_local;
