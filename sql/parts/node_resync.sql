-- A delivery node whose replication slot is lost copies its tables again. What changed in between is no event, so it is told:
-- the rows that the node had are kept, and compared with the copy while that is made (docs/nodes.md).

-- Fires in the transaction that copies the table, for all rows at once, so nothing that is streamed later is mixed in. Its
-- arguments: the two tables of webhook_node_keep(), and the key. Whoever owns the table runs it.
CREATE FUNCTION webhook_internal.note_missed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_noted boolean := true;
    same_key text;
BEGIN
    IF to_regclass(TG_ARGV[0]) IS NULL OR to_regclass(TG_ARGV[1]) IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', TG_ARGV[1]::regclass) INTO is_noted;
    IF is_noted THEN
        RETURN NULL;
    END IF;
    -- By the operators of the primary key, wherever they are, and by the values as they are stored: not each of them can be
    -- compared, or be jsonb.
    SELECT string_agg(format('webhook_before.%1$I OPERATOR(%2$I.%3$s) webhook_after.%1$I', a.attname, n.nspname, o.oprname), ' AND ')
    INTO same_key
    FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) k (attnum, opclass)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    JOIN pg_opclass c ON c.oid = k.opclass
    JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
    JOIN pg_operator o ON o.oid = m.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE i.indrelid = TG_ARGV[0]::regclass AND i.indisprimary;
    EXECUTE format(
        'INSERT INTO %2$s (change, key, before, after) '
        'SELECT CASE WHEN webhook_before.%5$I IS NULL THEN ''created'' WHEN webhook_after.%5$I IS NULL THEN ''deleted'' '
        '            ELSE ''updated'' END, jsonb_build_object(%3$s), '
        '       CASE WHEN webhook_before.%5$I IS NOT NULL THEN row_to_json(webhook_before) END, '
        '       CASE WHEN webhook_after.%5$I IS NOT NULL THEN row_to_json(webhook_after) END '
        'FROM %1$s webhook_before FULL JOIN copied webhook_after ON %4$s '
        'WHERE webhook_before *<> webhook_after OR webhook_before.%5$I IS NULL OR webhook_after.%5$I IS NULL',
        TG_ARGV[0]::regclass, TG_ARGV[1]::regclass,
        (SELECT string_agg(format('%L, coalesce(webhook_after.%2$I, webhook_before.%2$I)', k.name, k.name), ', ')
         FROM unnest(TG_ARGV[2]::name[]) k (name)),
        same_key, (TG_ARGV[2]::name[])[1]);
    EXECUTE format('INSERT INTO %s (change) VALUES (''copied'')', TG_ARGV[1]::regclass);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.note_missed() IS
    'Trigger function: when a table is copied, notes how the copy differs from the rows that webhook_node_keep() kept.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.note_missed()');

-- A name has up to 63 bytes. What is cut off of a longer one has a digest in its place, so that it is neither the name of
-- another table nor that of the source.
CREATE FUNCTION webhook_internal.beside(source regclass, suffix text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I.%I', n.nspname, CASE WHEN octet_length(c.relname || suffix) <= 63 THEN c.relname::text
                                           ELSE (SELECT max(left(c.relname::text, k) COLLATE "C") FROM generate_series(1, 48) k
                                                 WHERE octet_length(left(c.relname::text, k)) <= 48)
                                                || '_' || left(md5(c.relname::text), 6) END || suffix)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source
$$;
COMMENT ON FUNCTION webhook_internal.beside(regclass, text) IS 'The name of a table beside another one.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.beside(regclass, text)');

CREATE FUNCTION @extschema@.webhook_node_keep(source regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' SET jit = off
AS $$
DECLARE
    qualified text := webhook_internal.beside(source, '');
    kept text := webhook_internal.beside(source, '_kept');
    missed text := webhook_internal.beside(source, '_missed');
    key name[] := webhook_internal.watch_key(source);
    owner regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = source);
BEGIN
    PERFORM webhook_internal.check_source(source);
    IF key IS NULL THEN
        RAISE EXCEPTION 'table % has no primary key to compare rows by', source
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('TRUNCATE %s; its rows are then copied anew.', source);
    ELSIF webhook_internal.subscriptions_of(source) IS NOT NULL THEN
        RAISE EXCEPTION 'table % is still subscribed', source
            USING ERRCODE = 'object_in_use',
                  HINT = format('DROP SUBSCRIPTION %I;', (webhook_internal.subscriptions_of(source))[1]);
    ELSIF coalesce(to_regclass(kept), to_regclass(missed)) IS NOT NULL THEN
        RAISE EXCEPTION '% exists: what it tells of an earlier copy would be lost', coalesce(to_regclass(kept), to_regclass(missed))
            USING ERRCODE = 'duplicate_table',
                  HINT = format('Once it has been used: DROP TABLE IF EXISTS %s, %s;', kept, missed);
    END IF;
    EXECUTE format('CREATE TABLE %s AS TABLE %s', kept, qualified);
    EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s)', kept, webhook_internal.column_list(to_jsonb(key)));
    EXECUTE format('CREATE TABLE %s (change text NOT NULL, key jsonb, before json, after json)', missed);
    EXECUTE format('ALTER TABLE %s OWNER TO %s; ALTER TABLE %s OWNER TO %2$s', kept, owner, missed);
    EXECUTE format('TRUNCATE %s', qualified);
    EXECUTE format('DROP TRIGGER IF EXISTS webhook_note_missed ON %s', qualified);
    EXECUTE format('CREATE TRIGGER webhook_note_missed AFTER INSERT ON %s REFERENCING NEW TABLE AS copied '
                   'FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.note_missed(%L, %L, %L)', qualified, kept, missed, key);
    EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER webhook_note_missed', qualified);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_keep(regclass) IS
    'Before a table is copied from its source again: moves its rows to TABLE_kept and empties it, without an event. When it '
    'is copied, TABLE_missed gets the differences: see webhook_node_missed(). For the owner of the table. Errors: 55000 '
    'without primary key, 55006 while it is subscribed, 42P07.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_node_keep(regclass)');

CREATE FUNCTION @extschema@.webhook_node_missed(source regclass)
    RETURNS TABLE (change text, key jsonb, before json, after json)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    missed regclass := to_regclass(webhook_internal.beside(source, '_missed'));
    is_copied boolean;
BEGIN
    IF missed IS NULL THEN
        RAISE EXCEPTION 'nothing was kept of table %', source
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'webhook_node_resync() keeps the rows and copies the table again.';
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s m WHERE m.change = ''copied'')', missed) INTO is_copied;
    IF NOT is_copied THEN
        RAISE EXCEPTION 'table % has not been copied yet', source
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'webhook_subscriptions shows the copy, and its errors.';
    END IF;
    RETURN QUERY EXECUTE format('SELECT m.change, m.key, m.before, m.after FROM %s m WHERE m.change <> ''copied''', missed);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_missed(regclass) IS
    'What a node missed before its table was copied again: a row for each row of the table that was created, updated or '
    'deleted since webhook_node_keep() kept it, with its key, and as it was before and after. Several changes of a row are '
    'one, and a row that was created and deleted is none. Raises 55000 if nothing was kept, or the copy has not ended.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_node_missed(regclass)');

CREATE FUNCTION webhook_internal.start_resynchronized(subscription name) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source regclass;
    has_rows boolean;
BEGIN
    FOR source IN
        SELECT r.srrelid FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
        JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database()
        WHERE s.subname = subscription
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', source) INTO has_rows;
        IF has_rows THEN
            RAISE EXCEPTION 'table % has rows: the copy would add the same', source
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = format('DROP SUBSCRIPTION %I; SELECT webhook_node_keep(%L); then webhook_node_create().',
                                    subscription, source);
        END IF;
    END LOOP;
    EXECUTE format('ALTER SUBSCRIPTION %I ENABLE', subscription);
END
$$;
COMMENT ON FUNCTION webhook_internal.start_resynchronized(name) IS
    'Enables a subscription if all its tables are empty; otherwise raises 55000.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.start_resynchronized(name)');

CREATE FUNCTION @extschema@.webhook_node_resync(
    subscription name DEFAULT 'webhook', conninfo text DEFAULT NULL, force boolean DEFAULT false) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    known record;
    source record;
    slot record;
    kept regclass;
BEGIN
    PERFORM webhook_internal.hide_statement();
    SELECT * INTO known FROM webhook_internal.subscription_source(subscription, conninfo);
    SELECT * INTO source FROM webhook_internal.ready_tables(known.conninfo, known.publications, known.slot);
    SELECT s.* INTO slot FROM (SELECT) this LEFT JOIN webhook_internal.slot_row(source.server) s ON true;
    IF slot.slot_name IS NOT NULL AND NOT (slot.wal_status = 'lost' OR slot.invalidation_reason IS NOT NULL) AND NOT force THEN
        RAISE EXCEPTION 'the replication slot "%" is not lost: changes since then would be dropped with it', known.slot
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'If this node was restored from a backup and is older than the slot, call it with force => true.';
    END IF;
    SELECT to_regclass(webhook_internal.beside(n.node_table, s.suffix)) INTO kept
    FROM jsonb_array_elements(source.tables) t,
         LATERAL (SELECT to_regclass(format('%I.%I', t->>'schema', t->>'name'))) n (node_table),
         unnest(ARRAY['_kept', '_missed']) s (suffix)
    WHERE to_regclass(webhook_internal.beside(n.node_table, s.suffix)) IS NOT NULL LIMIT 1;
    IF kept IS NOT NULL THEN
        RAISE EXCEPTION '% exists: what it tells of an earlier copy would be lost', kept
            USING ERRCODE = 'duplicate_table', HINT = format('Once it has been used: DROP TABLE %s;', kept);
    END IF;
    RETURN NEXT format('ALTER SUBSCRIPTION %I DISABLE;', subscription);
    IF slot.slot_name IS NULL THEN
        RETURN NEXT format('ALTER SUBSCRIPTION %I SET (slot_name = NONE);', subscription);
    END IF;
    RETURN NEXT format('DROP SUBSCRIPTION %I;', subscription);
    -- One string is one transaction.
    RETURN QUERY
    SELECT string_agg(CASE WHEN webhook_internal.watch_key(n.node_table) IS NULL THEN format('TRUNCATE %s;', n.node_table)
                           ELSE format('SELECT @extschema@.webhook_node_keep(%L);', n.node_table) END, E'\n')
    FROM jsonb_array_elements(source.tables) t,
         LATERAL (SELECT to_regclass(format('%I.%I', t->>'schema', t->>'name'))) n (node_table);
    RETURN QUERY SELECT s FROM webhook_internal.subscribe_statements(subscription, known.conninfo, known.publications) s;
    RETURN NEXT format('SELECT webhook_internal.start_resynchronized(%L);', subscription);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_node_resync(name, text, boolean) IS
    'The statements that copy the tables of a node again after its replication slot was lost, for gexec of psql: they keep the rows '
    'that it had, create the subscription anew, and let webhook_node_missed() tell the difference. force: even if the slot '
    'is not lost. Asks the source through dblink, and runs nothing. conninfo: as for webhook_node_slot(). Errors: 55000, '
    '42P07, 42704, 42501, 08001.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_node_resync(name, text, boolean)');
