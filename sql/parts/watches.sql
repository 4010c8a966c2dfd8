-- The declared events: the triggers of webhook_watch(), read from the catalog.

-- pg_trigger.tgargs holds texts in the encoding of the database, each followed by a zero byte.
CREATE FUNCTION webhook_internal.trigger_arguments(tgargs bytea) RETURNS text[]
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    -- In this format a backslash is doubled, so a zero byte (a backslash and 000) is unambiguous.
    SELECT trim_array(array_agg(convert_from(decode(a.part, 'escape'), getdatabaseencoding()) ORDER BY a.place), 1)
    FROM regexp_split_to_table(replace(encode(tgargs, 'escape'), E'\\\\', E'\\134'), E'\\\\000')
         WITH ORDINALITY a (part, place)
$$;
COMMENT ON FUNCTION webhook_internal.trigger_arguments(bytea) IS
    'The arguments of a trigger, from pg_trigger.tgargs.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.trigger_arguments(bytea)');

CREATE FUNCTION webhook_internal.trigger_option(arguments text[], option text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substr(a, length(option) + 2) FROM unnest(arguments[2:]) a WHERE starts_with(a, option || '=')
$$;
COMMENT ON FUNCTION webhook_internal.trigger_option(text[], text) IS
    'The value of an option among the arguments of webhook_capture(); null if it is not set.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.trigger_option(text[], text)');

CREATE FUNCTION webhook_internal.trigger_condition(trigger_oid oid) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substring(pg_get_triggerdef(trigger_oid) FROM ' FOR EACH ROW WHEN [(](.*)[)] EXECUTE FUNCTION ')
$$;
COMMENT ON FUNCTION webhook_internal.trigger_condition(oid) IS
    'The WHEN condition of a trigger; null if it has none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.trigger_condition(oid)');

CREATE FUNCTION webhook_internal.watch_key(source regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(a.attname ORDER BY k.place)
    FROM pg_constraint c
    CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
    WHERE c.conrelid = source AND c.contype = 'p'
$$;
COMMENT ON FUNCTION webhook_internal.watch_key(regclass) IS
    'The columns of the primary key of the table; null if it has none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.watch_key(regclass)');

CREATE VIEW @extschema@.webhook_watches WITH (security_invoker) AS
    SELECT t.tgrelid::regclass AS source,
           a.arguments[1] AS event,
           concat_ws(' OR ', CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END,
                             CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END,
                             CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END) AS operation,
           webhook_internal.trigger_condition(t.oid) AS condition,
           webhook_internal.trigger_option(a.arguments, 'changed_columns')::name[] AS changed_columns,
           webhook_internal.trigger_option(a.arguments, 'ignore_columns')::name[] AS ignore_columns,
           webhook_internal.trigger_option(a.arguments, 'organization_column')::name AS organization_column,
           nullif(coalesce(webhook_internal.trigger_option(a.arguments, 'key_columns')::name[],
                           webhook_internal.watch_key(t.tgrelid)), '{}') AS key_columns,
           webhook_internal.trigger_option(a.arguments, 'include_columns')::name[] AS include_columns,
           webhook_internal.trigger_option(a.arguments, 'exclude_columns')::name[] AS exclude_columns,
           coalesce(webhook_internal.trigger_option(a.arguments, 'include_previous')::boolean, false)
               AS include_previous,
           coalesce(webhook_internal.trigger_option(a.arguments, 'large_numbers_as_text')::boolean, false)
               AS large_numbers_as_text,
           t.tgenabled IN ('R', 'A') AS on_replicated,
           coalesce(webhook_internal.trigger_option(a.arguments, 'backfill')::boolean, false) AS backfill,
           t.tgname AS trigger_name,
           t.tgenabled IN ('O', 'A') AS is_enabled
    FROM pg_trigger t
    CROSS JOIN LATERAL (SELECT webhook_internal.trigger_arguments(t.tgargs) AS arguments) a
    WHERE t.tgfoid = '@extschema@.webhook_capture()'::regprocedure
      AND t.tgparentid = 0;
COMMENT ON VIEW @extschema@.webhook_watches IS
    'Which changes of which tables are events: one row per trigger that calls webhook_capture(), created by '
    'webhook_watch() or by hand.';
COMMENT ON COLUMN @extschema@.webhook_watches.source IS 'The table.';
COMMENT ON COLUMN @extschema@.webhook_watches.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_watches.operation IS 'INSERT, UPDATE, DELETE, or several of them with OR.';
COMMENT ON COLUMN @extschema@.webhook_watches.condition IS
    'The condition that the change must meet, with NEW and OLD. Null: none.';
COMMENT ON COLUMN @extschema@.webhook_watches.changed_columns IS
    'An update is an event only if one of these columns changed. Null: any column.';
COMMENT ON COLUMN @extschema@.webhook_watches.ignore_columns IS
    'An update that changes only these columns is not an event.';
COMMENT ON COLUMN @extschema@.webhook_watches.organization_column IS
    'The column with the organization of the event. Null: events have no organization.';
COMMENT ON COLUMN @extschema@.webhook_watches.key_columns IS
    'The columns that form the key of the event. Null: there is no key.';
COMMENT ON COLUMN @extschema@.webhook_watches.include_columns IS
    'The columns that are sent. Null: all except exclude_columns.';
COMMENT ON COLUMN @extschema@.webhook_watches.exclude_columns IS 'The columns that are not sent.';
COMMENT ON COLUMN @extschema@.webhook_watches.include_previous IS
    'Whether an update also sends the old values of the columns that it changed.';
COMMENT ON COLUMN @extschema@.webhook_watches.large_numbers_as_text IS
    'Whether bigint and numeric values, and arrays of them, are sent as strings.';
COMMENT ON COLUMN @extschema@.webhook_watches.on_replicated IS
    'Whether changes that logical replication applies are events.';
COMMENT ON COLUMN @extschema@.webhook_watches.backfill IS
    'Whether the rows that are copied when the table is subscribed are events. They are marked as backfill.';
COMMENT ON COLUMN @extschema@.webhook_watches.trigger_name IS 'The name of the trigger.';
COMMENT ON COLUMN @extschema@.webhook_watches.is_enabled IS 'Whether the trigger fires in an ordinary session.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_watches');

-- A subscription names the table itself, the partitioned table that it belongs to, or partitions of it.
CREATE FUNCTION webhook_internal.subscriptions_of(source regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(DISTINCT s.subname ORDER BY s.subname)
    FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
    WHERE r.srrelid = source
       OR r.srrelid IN (SELECT a.relid FROM pg_partition_ancestors(source) a)
       OR r.srrelid IN (SELECT p.relid FROM pg_partition_tree(source) p)
$$;
COMMENT ON FUNCTION webhook_internal.subscriptions_of(regclass) IS
    'The subscriptions of logical replication that apply changes to the table; null if there are none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.subscriptions_of(regclass)');

CREATE FUNCTION webhook_internal.apply_error(
    subscription oid, OUT at timestamptz, OUT sqlstate text, OUT message text, OUT detail text)
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_apply_error';
COMMENT ON FUNCTION webhook_internal.apply_error(oid) IS
    'The last error of a subscription since the server started: of applying, of connecting, or of copying a table. Null: '
    'there was none, or the server does not preload the library.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.apply_error(oid)');

-- The text comes from the source. Once a message has come after it, it is of the past. SECURITY DEFINER, because the text may
-- quote rows.
CREATE FUNCTION webhook_internal.has_lost_slot(subscription oid) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' ', e.message, e.detail) ~ 'has been invalidated|replication slot ".*" does not exist'
           AND coalesce(w.received_at < e.at, true)
    FROM webhook_internal.apply_error(subscription) e,
         (SELECT max(s.last_msg_receipt_time) FROM pg_stat_subscription s WHERE s.subid = subscription) w (received_at)
$$;
COMMENT ON FUNCTION webhook_internal.has_lost_slot(oid) IS
    'Whether the source has last answered the subscription that its replication slot is invalid or gone.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.has_lost_slot(oid)');

CREATE VIEW @extschema@.webhook_subscriptions WITH (security_invoker) AS
    WITH watched AS (
        SELECT DISTINCT n.name, w.source
        FROM @extschema@.webhook_watches w, unnest(webhook_internal.subscriptions_of(w.source)) n (name)
    ), worker AS (
        SELECT w.subid, bool_or(w.pid IS NOT NULL AND w.relid IS NULL) AS is_running,
               max(w.last_msg_receipt_time) AS received_at,
               max(w.received_lsn) FILTER (WHERE w.relid IS NULL) AS received_lsn,
               max(w.latest_end_lsn) FILTER (WHERE w.relid IS NULL) AS confirmed_lsn
        FROM pg_stat_subscription w GROUP BY w.subid
    )
    SELECT s.subname AS subscription,
           CASE WHEN NOT s.subenabled THEN 'disabled'
                WHEN webhook_internal.has_lost_slot(s.oid) THEN 'lost'
                WHEN w.is_running IS NOT TRUE THEN 'stopped'
                WHEN c.copying IS NOT NULL THEN 'copying'
                ELSE 'applying' END AS state,
           (SELECT array_agg(t.source ORDER BY t.source::text) FROM watched t WHERE t.name = s.subname) AS watched,
           c.copying, w.received_at, w.received_lsn, w.confirmed_lsn,
           pg_wal_lsn_diff(w.received_lsn, w.confirmed_lsn) AS unconfirmed_bytes,
           (SELECT extract(epoch FROM e.applied_at - e.created_at)::double precision
            FROM (SELECT e.event, e.applied_at, e.created_at, e.backfill FROM @extschema@.webhook_events e
                  ORDER BY e.id DESC LIMIT 1000) e
            WHERE e.applied_at IS NOT NULL AND e.backfill IS NOT TRUE
              AND e.event IN (SELECT x.event FROM watched t JOIN @extschema@.webhook_watches x ON x.source = t.source
                              WHERE t.name = s.subname) LIMIT 1) AS lag_seconds,
           e.apply_error_count AS apply_errors, e.sync_error_count AS copy_errors,
           (SELECT concat_ws(': ', l.message, l.detail) FROM webhook_internal.apply_error(s.oid) l WHERE l.at IS NOT NULL)
               AS last_error,
           (SELECT l.at FROM webhook_internal.apply_error(s.oid) l) AS last_error_at
    FROM pg_subscription s
    LEFT JOIN worker w ON w.subid = s.oid
    LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid
    LEFT JOIN LATERAL (SELECT array_agg(r.srrelid::regclass ORDER BY r.srrelid::regclass::text) AS copying
                       FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r') c ON true
    WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
COMMENT ON VIEW @extschema@.webhook_subscriptions IS
    'The subscriptions of this database, through which logical replication brings the changes of other servers, and the '
    'watched tables that they apply to.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.subscription IS 'The name (pg_subscription.subname).';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.state IS
    'applying: all is well. copying: tables are still being copied. stopped: no worker applies it at the moment, because of '
    'an error or because max_logical_replication_workers is too low: see last_error. lost: the source says that its '
    'replication slot is invalid or gone, see webhook_node_resync(). disabled: by ALTER SUBSCRIPTION, or by an error '
    '(disable_on_error).';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.watched IS
    'The tables with events that it applies changes to. Null: none.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.copying IS 'The tables that are still being copied. Null: none.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.received_at IS
    'When the last message of the source came. Null: no worker is running.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.received_lsn IS
    'To where the WAL of the source has been received. Null: no worker is running.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.confirmed_lsn IS
    'To where the worker has last confirmed, about every wal_receiver_status_interval, that it is applied.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.unconfirmed_bytes IS
    'How much WAL has been received, and not been confirmed as applied.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.lag_seconds IS
    'How long after the commit at the source its newest change was applied, among the newest 1000 events. Right as far as '
    'the clocks agree. Null: none of them is of its tables.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.apply_errors IS
    'How often a change could not be applied (pg_stat_subscription_stats).';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.copy_errors IS 'How often the copy of a table failed.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.last_error IS
    'The last error since the server started, of applying, connecting or copying. It may quote rows. Null: there was none.';
COMMENT ON COLUMN @extschema@.webhook_subscriptions.last_error_at IS 'When that was.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'SELECT ON @extschema@.webhook_subscriptions');

-- Triggers are not inherited. Tables that inherit at any level count; partitions do not, because they have the trigger
-- of their table.
CREATE FUNCTION webhook_internal.unwatched_children(source regclass, event text) RETURNS regclass[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE child AS (
        SELECT i.inhrelid AS oid FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent AND p.relkind = 'r'
        WHERE i.inhparent = source
        UNION
        SELECT i.inhrelid FROM child c JOIN pg_inherits i ON i.inhparent = c.oid
    )
    SELECT array_agg(c.oid::regclass ORDER BY c.oid) FROM child c
    WHERE NOT EXISTS (SELECT FROM @extschema@.webhook_watches w
                      WHERE w.source = c.oid AND w.event = unwatched_children.event)
$$;
COMMENT ON FUNCTION webhook_internal.unwatched_children(regclass, text) IS
    'The tables that inherit from a watched table and do not have the event; null if there are none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.unwatched_children(regclass, text)');
