-- The log of attempts, and which segments of it and of the event log are written to.

-- Two rings, as the event log is.
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
    status           text NOT NULL CHECK (status IN ('success', 'failed')),
    response_status  integer,
    response_body    text,
    error            text,
    duration_ms      double precision,
    remote_ip        inet,
    next_attempt_at  timestamptz
) PARTITION BY LIST (slot);
COMMENT ON TABLE @extschema@.webhook_logs IS
    'One row for each attempt to deliver, and one with attempt 0 for what was given up without any; in a ring of 8 '
    'segments. Not dumped.';
COMMENT ON COLUMN @extschema@.webhook_logs.slot IS 'The segment: 0 to 7; from 8 to 11 of the second ring.';
COMMENT ON COLUMN @extschema@.webhook_logs.id IS 'Unique, ascending in the order of recording.';
COMMENT ON COLUMN @extschema@.webhook_logs.created_at IS 'When the attempt ended.';
COMMENT ON COLUMN @extschema@.webhook_logs.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_logs.organization_id IS 'Whose it is, as in the webhook.';
COMMENT ON COLUMN @extschema@.webhook_logs.event_id IS
    'The event (webhook_events.id). Negative: there is none, webhook_test() sent it.';
COMMENT ON COLUMN @extschema@.webhook_logs.event IS 'The name of the event.';
COMMENT ON COLUMN @extschema@.webhook_logs.attempt IS 'Which attempt it was: 1, 2, ...; 0: none was made.';
COMMENT ON COLUMN @extschema@.webhook_logs.status IS 'success: a 2xx response came in time. failed: anything else.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_status IS 'The HTTP status; null if no response came.';
COMMENT ON COLUMN @extschema@.webhook_logs.response_body IS 'The response''s body, its first 4 kB, made valid text.';
COMMENT ON COLUMN @extschema@.webhook_logs.error IS 'Why it failed; null on success.';
COMMENT ON COLUMN @extschema@.webhook_logs.duration_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN @extschema@.webhook_logs.remote_ip IS 'The address that was connected to; null if none was.';
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
                       'A segment of webhook_logs, which is the table to read.');
    END LOOP;
END
$$;

CREATE INDEX webhook_logs_id_idx ON @extschema@.webhook_logs USING brin (id) WITH (pages_per_range = 16);
COMMENT ON INDEX @extschema@.webhook_logs_id_idx IS 'Finds what was recorded since a checkpoint.';
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
    'Which segment of webhook_events and of webhook_logs is written to. The worker turns them.';
COMMENT ON COLUMN @extschema@.webhook_rings.ring IS
    'events or logs; excess_events or excess_logs: of what organizations write beyond their shares.';
COMMENT ON COLUMN @extschema@.webhook_rings.slot IS 'The segment that is written to: 0 to 7, or 8 to 11.';
COMMENT ON COLUMN @extschema@.webhook_rings.opened_at IS 'Since when.';

INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'SELECT ON @extschema@.webhook_rings');
CREATE POLICY webhook_operators ON @extschema@.webhook_rings FOR SELECT
    USING ((SELECT has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE')));
COMMENT ON POLICY webhook_operators ON @extschema@.webhook_rings IS 'Operators see which segments are written to.';

INSERT INTO @extschema@.webhook_rings (ring, slot) VALUES ('events', 0), ('excess_events', 8), ('logs', 0), ('excess_logs', 8);

-- The ring of webhook_logs into which the organization's rows go, which count. For the owner alone.
CREATE FUNCTION webhook_internal.log_ring(organization text, rows bigint) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_log_ring';
COMMENT ON FUNCTION webhook_internal.log_ring(text, bigint) IS
    'The ring of webhook_logs for so many rows of an organization: logs while it is within its share, else excess_logs.';

CREATE FUNCTION webhook_internal.used_share(organization text, storage text) RETURNS double precision
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_used_share';
COMMENT ON FUNCTION webhook_internal.used_share(text, text) IS
    'How much of its share of webhook_events (events) or webhook_logs (logs) an organization has used up, from 0 to 1.';
