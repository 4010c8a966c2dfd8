\echo Use "CREATE EXTENSION webhook" to load this file. \quit

-- The tables. Everything else in this file serves them.

CREATE TABLE @extschema@.webhook_event_types (
    name        text PRIMARY KEY,
    category    text NOT NULL,
    description text NOT NULL DEFAULT '',
    example     json NOT NULL DEFAULT '{}',   -- the data that webhook_test sends
    is_builtin  boolean NOT NULL DEFAULT false
);

CREATE TABLE @extschema@.webhook_configurations (
    id              uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    organization_id text DEFAULT @extschema@.webhook_current_organization(),
    name            text NOT NULL,
    url             text NOT NULL,
    events          text[] NOT NULL,
    secret          text,
    is_active       boolean NOT NULL DEFAULT true,
    headers         jsonb NOT NULL DEFAULT '{}',
    timeout_ms      integer NOT NULL DEFAULT 5000,
    retry_schedule  interval[],
    max_in_flight   integer NOT NULL DEFAULT 16,
    test_event      text REFERENCES @extschema@.webhook_event_types,
    active_since    timestamptz,
    disabled_at     timestamptz,
    disabled_reason text,
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    UNIQUE NULLS NOT DISTINCT (organization_id, name)
);

CREATE TABLE @extschema@.webhook_secrets (
    configuration_id uuid NOT NULL,
    secret           text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at       timestamptz,             -- null: the newest, which does not expire
    created_xid      xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id()
);
CREATE INDEX webhook_secrets_configuration_id_idx ON @extschema@.webhook_secrets (configuration_id);
CREATE INDEX webhook_secrets_created_xid_idx ON @extschema@.webhook_secrets (created_xid);

-- The event log, a ring of 8 segments. Column order and types are known to src/pg/event_writer.cpp.
-- Ids are drawn a million at a time and shared out in memory: see src/pg/shared_state.h.
CREATE SEQUENCE @extschema@.webhook_events_id_seq INCREMENT 1000000 CACHE 1;
CREATE TABLE @extschema@.webhook_events (
    slot            smallint NOT NULL,
    id              bigint NOT NULL,
    xid             xid8 NOT NULL,
    created_at      timestamptz NOT NULL,
    event           text NOT NULL,
    organization_id text,
    key             text,
    data            json,                     -- null: oversized
    oversized_bytes bigint
) PARTITION BY LIST (slot);
CREATE TABLE @extschema@.webhook_events_0 PARTITION OF @extschema@.webhook_events FOR VALUES IN (0);
CREATE TABLE @extschema@.webhook_events_1 PARTITION OF @extschema@.webhook_events FOR VALUES IN (1);
CREATE TABLE @extschema@.webhook_events_2 PARTITION OF @extschema@.webhook_events FOR VALUES IN (2);
CREATE TABLE @extschema@.webhook_events_3 PARTITION OF @extschema@.webhook_events FOR VALUES IN (3);
CREATE TABLE @extschema@.webhook_events_4 PARTITION OF @extschema@.webhook_events FOR VALUES IN (4);
CREATE TABLE @extschema@.webhook_events_5 PARTITION OF @extschema@.webhook_events FOR VALUES IN (5);
CREATE TABLE @extschema@.webhook_events_6 PARTITION OF @extschema@.webhook_events FOR VALUES IN (6);
CREATE TABLE @extschema@.webhook_events_7 PARTITION OF @extschema@.webhook_events FOR VALUES IN (7);
CREATE INDEX webhook_events_id_idx ON @extschema@.webhook_events (id);
CREATE INDEX webhook_events_xid_idx ON @extschema@.webhook_events (xid);

-- What is owed (pending) and what was given up (dead).
CREATE TABLE @extschema@.webhook_deliveries (
    event_id         bigint NOT NULL,
    configuration_id uuid NOT NULL,
    organization_id  text,
    event            text NOT NULL,
    key              text,
    created_at       timestamptz NOT NULL,    -- of the event
    state            text NOT NULL CHECK (state IN ('pending', 'dead')),
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz,             -- null when dead
    last_error       text,
    data             json,                    -- null while webhook_events still holds the event
    updated_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (event_id, configuration_id)
);
CREATE INDEX webhook_deliveries_due_idx ON @extschema@.webhook_deliveries
    (configuration_id, next_attempt_at, event_id) WHERE state = 'pending';

-- One row an attempt, a ring of 8 segments.
CREATE SEQUENCE @extschema@.webhook_logs_id_seq;
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
-- … 8 segments …
CREATE INDEX webhook_logs_id_idx ON @extschema@.webhook_logs USING brin (id) WITH (pages_per_range = 16);
CREATE INDEX webhook_logs_configuration_id_idx ON @extschema@.webhook_logs (configuration_id, id);

-- Which segment of each ring is written to.
CREATE TABLE @extschema@.webhook_rings (
    ring      text PRIMARY KEY CHECK (ring IN ('events', 'logs')),
    slot      smallint NOT NULL DEFAULT 0 CHECK (slot BETWEEN 0 AND 7),
    opened_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
INSERT INTO @extschema@.webhook_rings (ring) VALUES ('events'), ('logs');

-- Who this database is. Written by the worker.
CREATE TABLE @extschema@.webhook_instance (
    instance          uuid NOT NULL,
    database_oid      oid NOT NULL,
    system_identifier bigint NOT NULL,
    is_paused         boolean NOT NULL DEFAULT false,
    paused_reason     text,
    created_at        timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE UNIQUE INDEX webhook_instance_singleton_idx ON @extschema@.webhook_instance ((true));

-- Up to where the event log is settled. Written by the worker.
CREATE TABLE @extschema@.webhook_checkpoint (
    worker        integer PRIMARY KEY,
    workers       integer NOT NULL,
    instance      uuid NOT NULL,
    snapshot_from pg_snapshot NOT NULL,
    snapshot_to   pg_snapshot NOT NULL,
    position      bigint NOT NULL,            -- in (snapshot_from, snapshot_to): settled up to this event id
    log_floor     bigint NOT NULL,            -- log ids above it were drawn after the window's first send
    updated_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
