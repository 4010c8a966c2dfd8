-- The identity of this database among its copies, how far its workers are, and whether they deliver.

CREATE TABLE @extschema@.webhook_instance (
    instance          uuid NOT NULL,
    database_oid      oid NOT NULL,
    system_identifier bigint NOT NULL,
    is_paused         boolean NOT NULL DEFAULT false,
    paused_reason     text,
    created_at        timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE @extschema@.webhook_instance IS
    'The identity of this database: one row, which its first worker creates. Dumped, so that a restored copy '
    'recognizes itself as a copy and sends nothing.';
COMMENT ON COLUMN @extschema@.webhook_instance.instance IS
    'Part of the public id of each event, which makes it unique across databases.';
COMMENT ON COLUMN @extschema@.webhook_instance.database_oid IS
    'pg_database.oid when the row was created. If it has changed, this is a copy.';
COMMENT ON COLUMN @extschema@.webhook_instance.system_identifier IS
    'pg_control_system().system_identifier when the row was created.';
COMMENT ON COLUMN @extschema@.webhook_instance.is_paused IS
    'Whether deliveries are paused: see webhook_pause() and webhook_resume().';
COMMENT ON COLUMN @extschema@.webhook_instance.paused_reason IS 'Why deliveries are paused.';
COMMENT ON COLUMN @extschema@.webhook_instance.created_at IS 'When the instance was generated.';

CREATE UNIQUE INDEX webhook_instance_singleton_idx ON @extschema@.webhook_instance ((true));
COMMENT ON INDEX @extschema@.webhook_instance_singleton_idx IS 'Allows one row only.';

ALTER TABLE @extschema@.webhook_instance REPLICA IDENTITY FULL;

SELECT pg_extension_config_dump('@extschema@.webhook_instance', '');

INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'SELECT, UPDATE (is_paused, paused_reason) ON @extschema@.webhook_instance');
CREATE POLICY webhook_operators ON @extschema@.webhook_instance
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_instance IS 'Operators pause and resume.';

-- For the owner only, because it blocks others.
CREATE FUNCTION webhook_internal.lock_instance() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_instance';
COMMENT ON FUNCTION webhook_internal.lock_instance() IS
    'Keeps others from creating the row of webhook_instance until the transaction ends. Waits for those who are '
    'creating it.';

-- A second row comes from a dump, after the worker has created its own: this database was restored, and must send
-- nothing before webhook_resume(). By its name the trigger fires after webhook_keep_local. The lock is for two rows
-- that come at once.
CREATE FUNCTION webhook_internal.instance_restored() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.lock_instance();
    UPDATE @extschema@.webhook_instance
    SET instance = gen_random_uuid(), is_paused = true, created_at = now(),
        paused_reason = 'this database was restored: webhook_resume() lets it deliver';
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.instance_restored() IS
    'Trigger function of webhook_instance: a second row means that the database was restored. It then starts paused.';

CREATE TRIGGER webhook_restored BEFORE INSERT ON @extschema@.webhook_instance
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.instance_restored();

-- The worker caches the row.
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_instance
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
-- Also fires in pg_restore --data-only --disable-triggers, and in a session that has set session_replication_role.
ALTER TABLE @extschema@.webhook_instance ENABLE ALWAYS TRIGGER webhook_invalidate;

CREATE TABLE @extschema@.webhook_checkpoint (
    worker        integer PRIMARY KEY,
    workers       integer NOT NULL,
    instance      uuid NOT NULL,
    snapshot_from pg_snapshot NOT NULL,
    snapshot_to   pg_snapshot NOT NULL,
    position      bigint NOT NULL,
    log_floor     bigint NOT NULL,
    lowest_id     bigint NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE @extschema@.webhook_checkpoint IS
    'How far each worker is: all events before its checkpoint are settled, that is, delivered or in '
    'webhook_deliveries. After a crash the worker continues from here. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.worker IS 'The number of the worker, from 1.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.workers IS 'How many workers there were.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.instance IS 'webhook_instance.instance at the time.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.snapshot_from IS
    'The beginning of the window. All transactions that this snapshot sees are settled.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.snapshot_to IS 'The end of the window.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.position IS 'Within the window, events up to this id are settled.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.log_floor IS
    'Log rows, of any worker, about events that finished after snapshot_from have higher ids.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.lowest_id IS
    'Events that had not finished in snapshot_from have this id or higher ones, except for batches.';
COMMENT ON COLUMN @extschema@.webhook_checkpoint.updated_at IS 'When the row was last written.';

INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'SELECT ON @extschema@.webhook_checkpoint');
CREATE POLICY webhook_operators ON @extschema@.webhook_checkpoint FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_checkpoint IS 'Operators see how far the worker is.';

-- Makes the tags of src/pg/keyed_lock.h secret.
CREATE TABLE webhook_internal.lock_key (key uuid PRIMARY KEY);
COMMENT ON TABLE webhook_internal.lock_key IS
    'One row, which CREATE EXTENSION generates. Without the key, the tags of the extension''s locks in pg_locks reveal '
    'nothing.';
COMMENT ON COLUMN webhook_internal.lock_key.key IS 'The key.';

INSERT INTO webhook_internal.lock_key VALUES (gen_random_uuid());

CREATE FUNCTION webhook_internal.wake() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'webhook_wake';
COMMENT ON FUNCTION webhook_internal.wake() IS
    'Wakes this database''s workers when the current transaction commits: they read changes of webhooks.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION webhook_internal.wake()');

CREATE FUNCTION webhook_internal.set_paused(paused boolean, reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE @extschema@.webhook_instance SET is_paused = paused, paused_reason = reason;
    IF NOT FOUND THEN
        PERFORM webhook_internal.require_home();
        RAISE EXCEPTION 'no worker has started in this database yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Nothing is delivered before that. The first worker creates the row of webhook_instance.',
                  HINT = CASE WHEN @extschema@.webhook_is_preloaded()
                              THEN 'Try again in a moment. If that fails, the server log says why no worker starts.'
                              ELSE 'Add webhook to shared_preload_libraries and restart the server.' END;
    END IF;
    PERFORM webhook_internal.wake();
END
$$;
COMMENT ON FUNCTION webhook_internal.set_paused(boolean, text) IS 'Used by webhook_pause() and webhook_resume().';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.set_paused(boolean, text)');

-- SECURITY DEFINER, because operators may not read the internal tables. The privilege to execute it is theirs alone.
CREATE FUNCTION webhook_internal.pause_nodes(command text, reason text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- take_command() changes the same row on a node. An open transaction would stop the apply worker.
    PERFORM webhook_internal.require_home();
    PERFORM webhook_internal.command_nodes(command, NULL, NULL, reason);
END
$$;
COMMENT ON FUNCTION webhook_internal.pause_nodes(text, text) IS 'Pauses the nodes of this home, or has them resume.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.pause_nodes(text, text)');

CREATE FUNCTION @extschema@.webhook_pause(reason text DEFAULT NULL) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.pause_nodes('pause', coalesce(reason, 'paused by ' || session_user));
    SELECT webhook_internal.set_paused(true, coalesce(reason, 'paused by ' || session_user))
$$;
COMMENT ON FUNCTION @extschema@.webhook_pause(text) IS
    'Pauses all deliveries of this database, and of its nodes, until webhook_resume(). Events are captured as usual. Raises '
    '55000 if no worker has started yet.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_pause(text)');

CREATE FUNCTION @extschema@.webhook_resume() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.pause_nodes('resume', NULL);
    SELECT webhook_internal.set_paused(false, NULL)
$$;
COMMENT ON FUNCTION @extschema@.webhook_resume() IS
    'Ends webhook_pause(), also at the nodes, and confirms that a restored copy of a database may deliver. Raises 55000 if no '
    'worker has started yet.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_resume()');

CREATE FUNCTION @extschema@.webhook_is_preloaded() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_is_preloaded';
COMMENT ON FUNCTION @extschema@.webhook_is_preloaded() IS
    'Whether the server was started with webhook in shared_preload_libraries. Otherwise nothing is delivered.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_is_preloaded()');

-- Reads shared memory, and keeps no worker waiting.
CREATE FUNCTION webhook_internal.worker_slots(
    OUT database oid, OUT worker integer, OUT workers integer, OUT pid integer, OUT started_at timestamptz,
    OUT in_flight bigint, OUT queued bigint, OUT events_ahead bigint, OUT sent bigint, OUT failed bigint,
    OUT logged bigint, OUT oldest_event_at timestamptz, OUT last_error_at timestamptz, OUT state text,
    OUT reported_at timestamptz, OUT given_up bigint, OUT read_to timestamptz, OUT read_position bigint,
    OUT failing_since timestamptz, OUT overdue_since timestamptz, OUT webhooks bigint, OUT undecryptable bigint,
    OUT open_circuits bigint, OUT organizations bigint, OUT failing_organizations bigint, OUT pending bigint,
    OUT dead bigint, OUT counted_at timestamptz, OUT event_bytes bigint, OUT events_kept_since timestamptz,
    OUT log_bytes bigint, OUT logs_kept_since timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_worker_slots';
COMMENT ON FUNCTION webhook_internal.worker_slots() IS
    'The workers of the server that run, from shared memory, and those that have left because there is nothing to do (pid '
    'is null), with what they said last. webhook_workers shows the former with names. src/worker/figures.h explains the '
    'columns.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'EXECUTE ON FUNCTION webhook_internal.worker_slots()');

CREATE VIEW @extschema@.webhook_workers WITH (security_invoker) AS
    SELECT d.datname AS database, s.worker, s.workers, s.pid, s.started_at, s.state, s.webhooks, s.in_flight, s.queued,
           s.events_ahead, s.sent, s.failed, s.given_up, s.logged,
           pg_catalog.clock_timestamp() - s.oldest_event_at AS lag, s.last_error_at
    FROM webhook_internal.worker_slots() s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.database
    WHERE s.pid IS NOT NULL;
COMMENT ON VIEW @extschema@.webhook_workers IS
    'The running workers of all databases of the server. Counts begin at the start of the worker.';
COMMENT ON COLUMN @extschema@.webhook_workers.database IS 'The database that the worker delivers for.';
COMMENT ON COLUMN @extschema@.webhook_workers.worker IS 'The number of the worker in its database, from 1.';
COMMENT ON COLUMN @extschema@.webhook_workers.workers IS
    'How many workers the database has, by webhook.workers. Each owns the webhooks with a hash that falls to it.';
COMMENT ON COLUMN @extschema@.webhook_workers.pid IS 'The process id, as in pg_stat_activity.';
COMMENT ON COLUMN @extschema@.webhook_workers.started_at IS 'When the worker started.';
COMMENT ON COLUMN @extschema@.webhook_workers.state IS
    'What the worker does: starting, loading webhooks, catching up (it reads events that are older than 10 s), delivering, '
    'paused (webhook_pause()), switched off (webhook.enabled) or stopping.';
COMMENT ON COLUMN @extschema@.webhook_workers.webhooks IS 'The webhooks that the worker has loaded.';
COMMENT ON COLUMN @extschema@.webhook_workers.in_flight IS 'Requests that wait for their response.';
COMMENT ON COLUMN @extschema@.webhook_workers.queued IS 'Deliveries that wait in the worker''s memory.';
COMMENT ON COLUMN @extschema@.webhook_workers.events_ahead IS 'Events that the worker has read beyond its checkpoint.';
COMMENT ON COLUMN @extschema@.webhook_workers.sent IS 'Requests started.';
COMMENT ON COLUMN @extschema@.webhook_workers.failed IS 'Attempts that failed.';
COMMENT ON COLUMN @extschema@.webhook_workers.given_up IS 'Deliveries that died.';
COMMENT ON COLUMN @extschema@.webhook_workers.logged IS 'Rows written to webhook_logs.';
COMMENT ON COLUMN @extschema@.webhook_workers.lag IS
    'The age of the oldest event that the worker has read and that is not settled; null if there is none.';
COMMENT ON COLUMN @extschema@.webhook_workers.last_error_at IS
    'When a transaction of the worker last failed (the server log says why); null if none has.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'SELECT ON @extschema@.webhook_workers');

-- Reads shared memory, and keeps no worker waiting.
CREATE FUNCTION webhook_internal.workers_waiting() RETURNS integer
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_workers_waiting';
COMMENT ON FUNCTION webhook_internal.workers_waiting() IS
    'How many workers of this database wait for a background worker slot.';

-- SECURITY DEFINER, because tenants cannot read worker_slots() and webhook_instance but should know this.
CREATE FUNCTION @extschema@.webhook_server_state(OUT workers integer, OUT is_paused boolean, OUT paused_reason text,
                                                 OUT workers_asleep integer, OUT workers_waiting integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT w.running, coalesce(i.is_paused, false), i.paused_reason, w.asleep, webhook_internal.workers_waiting()
    FROM (SELECT count(s.pid)::integer AS running, (count(*) - count(s.pid))::integer AS asleep
          FROM webhook_internal.worker_slots() s JOIN pg_database d ON d.oid = s.database
          WHERE d.datname = current_database()) w
    LEFT JOIN @extschema@.webhook_instance i ON true
$$;
COMMENT ON FUNCTION @extschema@.webhook_server_state() IS
    'How many workers run for this database, whether its deliveries are paused, and why. workers_asleep: how many have left '
    'because there is nothing to do; the next commit with events starts them again. workers_waiting: how many wait for a '
    'background worker slot.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_server_state()');
