-- The log of attempts, and the current segments of this log and of the event log.

-- Two rings, like the event log.
CREATE SEQUENCE @extschema@.webhook_logs_id_seq;
COMMENT ON SEQUENCE @extschema@.webhook_logs_id_seq IS 'The ids of log rows.';

CREATE TABLE @extschema@.webhook_logs (
    slot             smallint NOT NULL,
    id               bigint NOT NULL DEFAULT pg_catalog.nextval('@extschema@.webhook_logs_id_seq'),
    created_at       timestamptz NOT NULL,
    configuration_id uuid NOT NULL,
    organization_id  text,
    event_id         bigint NOT NULL,
    event            text NOT NULL,
    attempt          integer NOT NULL,
    configuration_version integer,
    status           text NOT NULL CHECK (status IN ('success', 'failed')),
    response_status  integer,
    response_body    text,
    response_headers text,
    error            text,
    duration_ms      double precision,
    remote_ip        inet,
    next_attempt_at  timestamptz
) PARTITION BY LIST (slot);
COMMENT ON TABLE @extschema@.webhook_logs IS
    'One row per attempt, and one with attempt 0 for each delivery that was given up without an attempt or cancelled; '
    'in two rings of segments, like webhook_events. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_logs.slot IS 'The segment: 0 to 7, or 8 to 11 in the second ring.';
COMMENT ON COLUMN @extschema@.webhook_logs.id IS 'Unique, ascending in the order of recording.';
COMMENT ON COLUMN @extschema@.webhook_logs.created_at IS 'When the attempt began, or when the delivery was given up.';
COMMENT ON COLUMN @extschema@.webhook_logs.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_logs.organization_id IS 'The organization that the webhook belongs to.';
COMMENT ON COLUMN @extschema@.webhook_logs.event_id IS
    'The event (webhook_events.id). Negative: a test by webhook_test(), which has no event.';
COMMENT ON COLUMN @extschema@.webhook_logs.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_logs.attempt IS 'The number of the attempt: 1, 2, ...; 0 if there was none.';
COMMENT ON COLUMN @extschema@.webhook_logs.configuration_version IS
    'The version of the webhook that the attempt was made with (webhook_configurations.version); null for attempt 0.';
COMMENT ON COLUMN @extschema@.webhook_logs.status IS 'success: a 2xx response came in time. failed: anything else.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_status IS 'The HTTP status; null if there was no response.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_body IS 'The first 4 kB of the response''s body, made valid text.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_headers IS
    'The first 1 kB of the response''s headers, made valid text: a line "Name: value" for each. Values that may be '
    'credentials are ***. Null for a success, unless it is a test, and if there was no response.';
COMMENT ON COLUMN @extschema@.webhook_logs.error IS
    'Why the attempt failed, or why the delivery was given up; null on success.';
COMMENT ON COLUMN @extschema@.webhook_logs.duration_ms IS 'How long the attempt took, in milliseconds.';
COMMENT ON COLUMN @extschema@.webhook_logs.remote_ip IS 'The address of the receiver; null if no connection was made.';
COMMENT ON COLUMN @extschema@.webhook_logs.next_attempt_at IS 'When the next attempt is due; null if there is none.';

CREATE TABLE @extschema@.webhook_logs_0 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (0);
CREATE TABLE @extschema@.webhook_logs_1 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (1);
CREATE TABLE @extschema@.webhook_logs_2 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (2);
CREATE TABLE @extschema@.webhook_logs_3 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (3);
CREATE TABLE @extschema@.webhook_logs_4 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (4);
CREATE TABLE @extschema@.webhook_logs_5 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (5);
CREATE TABLE @extschema@.webhook_logs_6 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (6);
CREATE TABLE @extschema@.webhook_logs_7 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (7);
CREATE TABLE @extschema@.webhook_logs_8 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (8);
CREATE TABLE @extschema@.webhook_logs_9 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (9);
CREATE TABLE @extschema@.webhook_logs_10 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (10);
CREATE TABLE @extschema@.webhook_logs_11 PARTITION OF @extschema@.webhook_logs FOR VALUES IN (11);
DO $$
BEGIN
    FOR slot IN 0 .. 11 LOOP
        EXECUTE format('COMMENT ON TABLE @extschema@.webhook_logs_%s IS %L', slot,
                       'A segment of webhook_logs. Read webhook_logs instead.');
    END LOOP;
END
$$;

CREATE INDEX webhook_logs_id_idx ON @extschema@.webhook_logs USING brin (id) WITH (pages_per_range = 16);
COMMENT ON INDEX @extschema@.webhook_logs_id_idx IS 'Finds the rows recorded since a checkpoint.';
CREATE INDEX webhook_logs_configuration_id_idx ON @extschema@.webhook_logs (configuration_id, id);
COMMENT ON INDEX @extschema@.webhook_logs_configuration_id_idx IS 'Finds the attempts of a webhook, the latest first.';

INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'SELECT ON @extschema@.webhook_logs');
CREATE POLICY webhook_tenants ON @extschema@.webhook_logs FOR SELECT
    USING (organization_id = (SELECT @extschema@.webhook_current_organization()));
COMMENT ON POLICY webhook_tenants ON @extschema@.webhook_logs IS 'An organization reads its own logs.';
CREATE POLICY webhook_operators ON @extschema@.webhook_logs FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_logs IS 'Operators read all logs.';

CREATE TABLE @extschema@.webhook_rings (
    ring      text PRIMARY KEY,
    slot      smallint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CHECK (CASE ring WHEN 'events' THEN slot BETWEEN 0 AND 7 WHEN 'excess_events' THEN slot BETWEEN 8 AND 11
                     WHEN 'logs' THEN slot BETWEEN 0 AND 7 WHEN 'excess_logs' THEN slot BETWEEN 8 AND 11 ELSE false END)
);
COMMENT ON TABLE @extschema@.webhook_rings IS
    'The current segment of each ring of webhook_events and webhook_logs. The worker moves on to the next one.';
COMMENT ON COLUMN @extschema@.webhook_rings.ring IS
    'events or logs; excess_events or excess_logs for what organizations write beyond their shares.';
COMMENT ON COLUMN @extschema@.webhook_rings.slot IS
    'The segment that is written to: 0 to 7, or 8 to 11 in the second rings.';
COMMENT ON COLUMN @extschema@.webhook_rings.opened_at IS 'Since when it is written to.';

INSERT INTO webhook_internal.privileges VALUES ('{monitor,operate}', 'SELECT ON @extschema@.webhook_rings');
CREATE POLICY webhook_readers ON @extschema@.webhook_rings FOR SELECT USING (true);
COMMENT ON POLICY webhook_readers ON @extschema@.webhook_rings IS
    'Who may read the table sees which segments are written to: no row belongs to an organization.';

INSERT INTO @extschema@.webhook_rings (ring, slot) VALUES ('events', 0), ('excess_events', 8), ('logs', 0), ('excess_logs', 8);

-- For the owner only, because it counts the rows.
CREATE FUNCTION webhook_internal.log_ring(organization text, rows bigint) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_log_ring';
COMMENT ON FUNCTION webhook_internal.log_ring(text, bigint) IS
    'The ring of webhook_logs for this many rows of an organization: logs while it is within its share, otherwise '
    'excess_logs. Counts the rows against the share.';

CREATE FUNCTION webhook_internal.used_share(organization text, storage text) RETURNS double precision
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_used_share';
COMMENT ON FUNCTION webhook_internal.used_share(text, text) IS
    'How much of its share of webhook_events (storage: events) or webhook_logs (logs) the organization has used, from '
    '0 to 1.';
