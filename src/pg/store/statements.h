// All SQL that the worker runs, by name. Times, ids and counts are parameters or rows of an InputTable. No statement is
// assembled from pieces. Each column that is read has a name, by which Query::column() finds it.
#pragma once

#include <string_view>

#include "pg/spi.h"

namespace webhook::pg::statements {

// --- Start -----------------------------------------------------------------------------------------------------------

inline constinit Statement find_extension(R"(
  SELECT e.oid AS extension, n.oid AS schema, quote_ident(n.nspname) AS quoted_schema, e.extversion
    FROM pg_catalog.pg_extension AS e
         JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
   WHERE e.extname = 'webhook')");

inline constinit Statement find_relations(R"(
  SELECT '@extschema@.webhook_events_id_seq'::regclass::oid AS events_sequence,
         '@extschema@.webhook_changes'::regclass::oid AS changes,
         '@extschema@.webhook_instance'::regclass::oid AS instance,
         '@extschema@.webhook_configurations'::regclass::oid AS configurations,
         '@extschema@.webhook_secrets'::regclass::oid AS secrets)");

inline constinit Statement read_identity(R"(
  SELECT instance, database_oid, system_identifier, is_paused, coalesce(paused_reason, '') AS paused_reason
    FROM @extschema@.webhook_instance)");

// since, counts and numbers are parallel: see NodeShares::Division.
inline constinit Statement read_nodes(R"(
  SELECT n.name IS NULL AS is_home, d.since, d.counts, d.numbers
    FROM (SELECT array_agg(s.since::bigint ORDER BY s.since) AS since,
                 array_agg(cardinality(s.nodes)::bigint ORDER BY s.since) AS counts,
                 array_agg(coalesce(array_position(s.nodes, coalesce(n.name, 'home')), 0)::bigint ORDER BY s.since) AS numbers
            FROM @extschema@.webhook_node_shares AS s
                 JOIN @extschema@.webhook_instance AS i ON i.instance = s.instance
                 LEFT JOIN webhook_internal.this_node AS n ON true) AS d
         LEFT JOIN webhook_internal.this_node AS n ON true)");

// The nodes of each division that are gone. Nobody delivers for them but the home.
inline constinit Statement read_gone_nodes(R"(
  SELECT s.since, p.number::integer AS number, t.node, t.queued::text AS queued
    FROM @extschema@.webhook_node_shares AS s
         CROSS JOIN LATERAL unnest(s.nodes) WITH ORDINALITY AS p (name, number)
         JOIN webhook_internal.takeovers AS t ON t.node = p.name)");

inline constinit Statement create_identity(R"(
  INSERT INTO @extschema@.webhook_instance (instance, database_oid, system_identifier)
  VALUES (gen_random_uuid(), $1::bigint::oid, $2)
  RETURNING instance)");

inline constinit Statement create_paused_identity(R"(
  INSERT INTO @extschema@.webhook_instance (instance, database_oid, system_identifier, is_paused, paused_reason)
  VALUES (gen_random_uuid(), $1::bigint::oid, $2, true, $3)
  RETURNING instance)");

inline constinit Statement delete_identity("DELETE FROM @extschema@.webhook_instance");

inline constinit Statement update_system_identifier(R"(
  UPDATE @extschema@.webhook_instance SET system_identifier = $1)");

inline constinit Statement read_checkpoints(R"(
  SELECT snapshot_from::text AS snapshot_from, snapshot_to::text AS snapshot_to, position, log_floor, lowest_id, worker,
         workers
    FROM @extschema@.webhook_checkpoint
   ORDER BY worker)");

inline constinit Statement delete_checkpoints("DELETE FROM @extschema@.webhook_checkpoint");

// One row for each of $1 workers.
inline constinit Statement create_checkpoints(R"(
  INSERT INTO @extschema@.webhook_checkpoint
         (worker, workers, instance, snapshot_from, snapshot_to, position, log_floor, lowest_id)
  SELECT n, $1, $2, $3::pg_snapshot, $4::pg_snapshot, $5, $6, $7 FROM generate_series(1, $1) AS n)");

inline constinit Statement update_checkpoint_instance(R"(
  UPDATE @extschema@.webhook_checkpoint SET instance = $1)");

// --- Configuration ---------------------------------------------------------------------------------------------------

inline constinit Statement current_snapshot("SELECT pg_current_snapshot()::text AS snapshot");

inline constinit Statement find_webhooks_from(R"(
  SELECT id FROM @extschema@.webhook_configurations WHERE id >= $1 ORDER BY id LIMIT $2)");

// Other tables are only read for a webhook that has rows there.
inline constinit Statement read_webhooks(R"(
  SELECT c.id, c.organization_id, c.name, c.url, c.events,
         CASE WHEN c.headers <> '{}'
              THEN ARRAY(SELECT h.key || ': ' || h.value FROM jsonb_each_text(c.headers) AS h ORDER BY h.key) END AS headers,
         s.secrets || CASE WHEN c.secret IS NOT NULL AND s.has_current IS NOT TRUE THEN ARRAY[''] END AS secrets, c.is_active,
         coalesce(c.active_since, c.created_at) AS active_since, c.timeout_ms,
         CASE WHEN c.retry_schedule IS NOT NULL
              THEN ARRAY(SELECT (least(extract(epoch FROM r.delay), 315360000) * 1000000)::bigint
                           FROM unnest(c.retry_schedule) WITH ORDINALITY AS r (delay, n)
                          ORDER BY r.n) END AS retry_schedule_us,
         c.max_in_flight, coalesce(c.filter::text, '') AS filter, coalesce(c.rate_limit_per_s, 0) AS rate_limit_per_s,
         c.ordering,
         c.version, c.created_at,
         -- After a restore without triggers, numbers from another database are meaningless.
         CASE WHEN c.switches[cardinality(c.switches)] <= (SELECT last_value FROM @extschema@.webhook_switches_seq)
              THEN c.switches::bigint[] ELSE '{}' END AS switches,
         s.expires_at AS secrets_change_at,
         (SELECT d.next_attempt_at
            FROM ONLY @extschema@.webhook_deliveries AS d
           WHERE d.configuration_id = c.id AND d.configuration_created_at = c.created_at AND d.state = 'pending'
             AND d.organization_id IS NOT DISTINCT FROM c.organization_id
           ORDER BY d.next_attempt_at
           LIMIT 1) AS next_due,
         e.configuration_id IS NOT NULL AS has_endpoint, e.circuit_opened_at, e.next_probe_at, e.failing_since,
         e.last_success_at, e.last_failure_at, coalesce(e.last_error, '') AS last_error, e.filter_failed_at,
         coalesce(e.filter_error, '') AS filter_error
    FROM unnest($1::uuid[]) AS wanted (id)
         JOIN @extschema@.webhook_configurations AS c ON c.id = wanted.id
         CROSS JOIN LATERAL (SELECT array_agg(coalesce(s.key_id, '') || ' ' || s.secret ORDER BY s.created_at DESC)
                                      AS secrets,
                                    min(s.expires_at) AS expires_at, bool_or(s.expires_at IS NULL) AS has_current
                               FROM @extschema@.webhook_secrets AS s
                              WHERE s.configuration_id = c.id AND (s.expires_at IS NULL OR s.expires_at > now())) AS s
         LEFT JOIN @extschema@.webhook_endpoints AS e
                ON e.configuration_id = c.id AND e.configuration_created_at = c.created_at
                   AND e.organization_id IS NOT DISTINCT FROM c.organization_id)");

// Changes to webhooks by transactions in [low, high), pair by pair, from ($3, $4) on in that order.
inline constinit Statement find_changed_webhooks(R"(
  SELECT c.changed_xid AS xid, c.id AS configuration_id
    FROM unnest($1::xid8[], $2::xid8[]) AS range (low, high)
         CROSS JOIN LATERAL (SELECT changed_xid, id
                               FROM @extschema@.webhook_configurations
                              WHERE changed_xid >= range.low AND changed_xid < range.high AND (changed_xid, id) >= ($3, $4)
                              ORDER BY changed_xid, id
                              LIMIT $5) AS c
   ORDER BY c.changed_xid, c.id
   LIMIT $5)");

// The same for changes to the webhooks' secrets.
inline constinit Statement find_changed_secrets(R"(
  SELECT s.created_xid AS xid, s.configuration_id
    FROM unnest($1::xid8[], $2::xid8[]) AS range (low, high)
         CROSS JOIN LATERAL (SELECT created_xid, configuration_id
                               FROM @extschema@.webhook_secrets
                              WHERE created_xid >= range.low AND created_xid < range.high
                                AND (created_xid, configuration_id) >= ($3, $4)
                              ORDER BY created_xid, configuration_id
                              LIMIT $5) AS s
   ORDER BY s.created_xid, s.configuration_id
   LIMIT $5)");

// The same for the rows of webhook_changes, after ($3, $4, $5, $6): a transaction may have many of one webhook.
inline constinit Statement find_changes(R"(
  SELECT c.xid, c.configuration_id, c.configuration_created_at, c.organization_id, c.is_deleted
    FROM unnest($1::xid8[], $2::xid8[]) AS range (low, high)
         CROSS JOIN LATERAL (SELECT *
                               FROM @extschema@.webhook_changes
                              WHERE xid >= range.low AND xid < range.high
                                AND (xid, configuration_id, configuration_created_at, is_deleted) > ($3, $4, $5, $6)
                              ORDER BY xid, configuration_id, configuration_created_at, is_deleted
                              LIMIT $7) AS c
   ORDER BY c.xid, c.configuration_id, c.configuration_created_at, c.is_deleted
   LIMIT $7)");

// --- Deleted webhooks ------------------------------------------------------------------------------------------------

// Rows after ($1, $2, $3, $4) that are visible in the snapshot $5, and whether the webhook exists (again).
inline constinit Statement find_left_over(R"(
  SELECT g.xid, g.configuration_id, g.configuration_created_at, g.organization_id, g.is_deleted,
         EXISTS (SELECT FROM @extschema@.webhook_configurations AS c
                  WHERE c.id = g.configuration_id AND c.created_at = g.configuration_created_at
                    AND c.organization_id IS NOT DISTINCT FROM g.organization_id) AS webhook_exists
    FROM @extschema@.webhook_changes AS g
   WHERE (g.xid, g.configuration_id, g.configuration_created_at, g.is_deleted) > ($1, $2, $3, $4)
     AND pg_visible_in_snapshot(g.xid, $5::pg_snapshot)
   ORDER BY g.xid, g.configuration_id, g.configuration_created_at, g.is_deleted
   LIMIT $6)");

inline constinit Statement delete_change(R"(
  DELETE FROM @extschema@.webhook_changes
   WHERE xid = $1 AND configuration_id = $2 AND configuration_created_at = $3 AND is_deleted = $4)");

// Deletes what is left of a webhook, except for locked rows. Starts after ($4, $5), so that deleted rows that an old
// snapshot still needs are not visited again.
inline constinit Statement delete_left_pending(R"(
  WITH left_over AS (
    SELECT ctid, next_attempt_at, event_id
      FROM ONLY @extschema@.webhook_deliveries
     WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'pending'
       AND organization_id IS NOT DISTINCT FROM $3 AND (next_attempt_at, event_id) > ($4, $5)
     ORDER BY next_attempt_at, event_id
     LIMIT $6
       FOR UPDATE SKIP LOCKED)
  DELETE FROM ONLY @extschema@.webhook_deliveries AS d
   USING left_over AS l
   WHERE d.ctid = l.ctid
  RETURNING l.next_attempt_at, l.event_id)");

inline constinit Statement delete_left_dead(R"(
  WITH left_over AS (
    SELECT ctid, event_id
      FROM ONLY @extschema@.webhook_deliveries
     WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'dead'
       AND organization_id IS NOT DISTINCT FROM $3 AND event_id > $4
     ORDER BY event_id
     LIMIT $5
       FOR UPDATE SKIP LOCKED)
  DELETE FROM ONLY @extschema@.webhook_deliveries AS d
   USING left_over AS l
   WHERE d.ctid = l.ctid
  RETURNING l.event_id)");

inline constinit Statement delete_left_minutes(R"(
  DELETE FROM ONLY @extschema@.webhook_minutes
   WHERE ctid = ANY (ARRAY(SELECT ctid
                             FROM ONLY @extschema@.webhook_minutes
                            WHERE configuration_id = $1 AND configuration_created_at = $2
                              AND organization_id IS NOT DISTINCT FROM $3
                              FOR UPDATE SKIP LOCKED)))");

inline constinit Statement delete_left_hours(R"(
  DELETE FROM ONLY @extschema@.webhook_hours
   WHERE ctid = ANY (ARRAY(SELECT ctid
                             FROM ONLY @extschema@.webhook_hours
                            WHERE configuration_id = $1 AND configuration_created_at = $2
                              AND organization_id IS NOT DISTINCT FROM $3
                              FOR UPDATE SKIP LOCKED)))");

inline constinit Statement delete_left_endpoint(R"(
  DELETE FROM @extschema@.webhook_endpoints
   WHERE ctid = ANY (ARRAY(SELECT ctid
                             FROM @extschema@.webhook_endpoints
                            WHERE configuration_id = $1 AND configuration_created_at = $2
                              AND organization_id IS NOT DISTINCT FROM $3
                              FOR UPDATE SKIP LOCKED)))");

inline constinit Statement has_left_over(R"(
  SELECT EXISTS (SELECT FROM ONLY @extschema@.webhook_deliveries
                  WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'pending'
                    AND organization_id IS NOT DISTINCT FROM $3)
      OR EXISTS (SELECT FROM ONLY @extschema@.webhook_deliveries
                  WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'dead'
                    AND organization_id IS NOT DISTINCT FROM $3)
      OR EXISTS (SELECT FROM ONLY @extschema@.webhook_minutes
                  WHERE configuration_id = $1 AND configuration_created_at = $2
                    AND organization_id IS NOT DISTINCT FROM $3)
      OR EXISTS (SELECT FROM ONLY @extschema@.webhook_hours
                  WHERE configuration_id = $1 AND configuration_created_at = $2
                    AND organization_id IS NOT DISTINCT FROM $3)
      OR EXISTS (SELECT FROM @extschema@.webhook_endpoints
                  WHERE configuration_id = $1 AND configuration_created_at = $2
                    AND organization_id IS NOT DISTINCT FROM $3) AS has_left_over)");

// Always returns one row.
inline constinit Statement read_testable(R"(
  SELECT coalesce(i.is_paused, false) AS is_paused, coalesce(i.paused_reason, '') AS paused_reason,
         c.id IS NOT NULL AS has_webhook, c.organization_id, coalesce(c.version, 0) AS version, coalesce(c.url, '') AS url,
         ARRAY(SELECT h.key || ': ' || h.value FROM jsonb_each_text(c.headers) AS h ORDER BY h.key) AS headers,
         ARRAY(SELECT coalesce(s.key_id, '') || ' ' || s.secret
                 FROM @extschema@.webhook_secrets AS s
                WHERE s.configuration_id = c.id AND (s.expires_at IS NULL OR s.expires_at > now())
                ORDER BY s.created_at DESC)
         || CASE WHEN c.secret IS NOT NULL
                      AND NOT EXISTS (SELECT FROM @extschema@.webhook_secrets AS s
                                       WHERE s.configuration_id = c.id AND s.expires_at IS NULL)
                 THEN ARRAY[''] END AS secrets,
         coalesce(c.timeout_ms, 0) AS timeout_ms, t.name IS NOT NULL AS has_event
    FROM (SELECT) AS this
         LEFT JOIN @extschema@.webhook_instance AS i ON true
         LEFT JOIN @extschema@.webhook_configurations AS c ON c.id = $1 AND c.created_at = $2
         LEFT JOIN @extschema@.webhook_event_types AS t ON t.name = $3)");

inline constinit Statement has_outdated_secrets(R"(
  SELECT EXISTS (SELECT FROM @extschema@.webhook_secrets WHERE key_id IS DISTINCT FROM nullif($1, ''))
         -- The secrets of a node are its home's.
         AND NOT EXISTS (SELECT FROM webhook_internal.this_node) AS has_outdated)");

inline constinit Statement reencrypt_secrets("SELECT @extschema@.webhook_reencrypt_secrets()");

// --- The event log ---------------------------------------------------------------------------------------------------

// The statement's snapshot is taken before the sequence is read. Null: no id was ever drawn.
inline constinit Statement current_head(R"(
  SELECT pg_current_snapshot()::text AS snapshot,
         coalesce(pg_sequence_last_value('@extschema@.webhook_logs_id_seq'::regclass), 0) AS last_log_id)");

// The batches of transactions in [low, high), pair by pair, as ranges of ids. OFFSET 0 makes each pair an index scan of
// its own, here and below.
inline constinit Statement find_batches(R"(
  SELECT b.id AS first, b.id + b.id_count AS "limit"
    FROM unnest($1::xid8[], $2::xid8[]) AS range (low, high)
         CROSS JOIN LATERAL (SELECT id, id_count
                               FROM @extschema@.webhook_events
                              WHERE id_count IS NOT NULL AND xid >= range.low AND xid < range.high
                             OFFSET 0) AS b)");

// The events with ids in [low, high), pair by pair.
inline constinit Statement find_events(R"(
  SELECT e.slot, e.id, e.xid, e.stored_bytes
    FROM unnest($1::bigint[], $2::bigint[]) AS range (low, high)
         CROSS JOIN LATERAL (SELECT slot, id, xid,
                                    coalesce(pg_column_size(data), 0) + coalesce(pg_column_size(previous), 0)
                                      AS stored_bytes
                               FROM @extschema@.webhook_events
                              WHERE id >= range.low AND id < range.high
                             OFFSET 0) AS e
   LIMIT $3)");

inline constinit Statement read_events_by_id(R"(
  SELECT id, xid, created_at, event, organization_id, key, data, previous,
         coalesce(oversized_bytes, 0) AS oversized_bytes, slot, known_switch, applied_at,
         coalesce(backfill, false) AS backfill
    FROM @extschema@.webhook_events
   WHERE slot = $1::smallint AND id = ANY($2)
   ORDER BY id)");

// The next events in id order, whatever their transaction, so that the number of visited rows is limited.
inline constinit Statement walk_events(R"(
  SELECT slot, id, xid, coalesce(pg_column_size(data), 0) + coalesce(pg_column_size(previous), 0) AS stored_bytes
    FROM @extschema@.webhook_events
   WHERE id >= $1 AND id < $2
   ORDER BY id
   LIMIT $3)");

// --- Recovery --------------------------------------------------------------------------------------------------------

inline constinit Statement read_logged(R"(
  SELECT event_id, configuration_id FROM @extschema@.webhook_logs WHERE id > $1)");

// $2 and $3: the lowest and the highest of the events. Mostly nothing lies between them, which one look into each index
// tells. Otherwise each event takes a look of its own.
inline constinit Statement read_pending_of(R"(
  SELECT event_id, configuration_id
    FROM ONLY @extschema@.webhook_deliveries
   WHERE event_id = ANY($1)
     AND EXISTS (SELECT FROM ONLY @extschema@.webhook_deliveries WHERE event_id BETWEEN $2 AND $3)
  UNION ALL
  SELECT event_id, configuration_id
    FROM webhook_internal.deferred_changes
   WHERE event_id = ANY($1)
     AND EXISTS (SELECT FROM webhook_internal.deferred_changes WHERE event_id BETWEEN $2 AND $3))");

// The webhooks with deferred changes, one index lookup each.
inline constinit Statement read_deferred_webhooks(R"(
  WITH RECURSIVE webhooks (id) AS (
    (SELECT configuration_id FROM webhook_internal.deferred_changes ORDER BY configuration_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.configuration_id
              FROM webhook_internal.deferred_changes AS d
             WHERE d.configuration_id > w.id
             ORDER BY d.configuration_id
             LIMIT 1)
      FROM webhooks AS w
     WHERE w.id IS NOT NULL)
  SELECT id FROM webhooks WHERE id IS NOT NULL)");

// --- Recording -------------------------------------------------------------------------------------------------------

// The current segments of the main ring and the excess ring.
inline constinit Statement current_log_segments(R"(
  SELECT max(slot) FILTER (WHERE ring = 'logs') AS main, max(slot) FILTER (WHERE ring = 'excess_logs') AS excess
    FROM @extschema@.webhook_rings)");

// new_logs: an InputTable. log_writer.cpp checks that the columns are those of its table.
inline constexpr std::string_view kInsertLogs = R"(
  INSERT INTO @extschema@.webhook_logs
         (slot, created_at, configuration_id, organization_id, event_id, event, attempt, configuration_version, status,
          response_status, response_body, response_headers, error, duration_ms, remote_ip, next_attempt_at)
  SELECT l.slot::smallint, l.created_at, l.configuration_id, l.organization_id, l.event_id, l.event, l.attempt,
         l.configuration_version, l.status, l.response_status, l.response_body, l.response_headers, l.error,
         l.duration_ms, l.remote_ip::inet, l.next_attempt_at
    FROM new_logs AS l)";
inline constinit Statement insert_logs(kInsertLogs.data());

// The last id that this session drew.
inline constinit Statement last_log_id_drawn("SELECT currval('@extschema@.webhook_logs_id_seq') AS id");

// new_deliveries: an InputTable. A delivery that webhook_cancel() gave up while its request was in flight stays given
// up. A row that belongs to an earlier webhook with the same id is overwritten.
inline constinit Statement upsert_deliveries(R"(
  INSERT INTO @extschema@.webhook_deliveries AS d
         (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, attempts,
          probes, pending_since, next_attempt_at, last_error, ordering_key, slot, request, updated_at)
  SELECT o.event_id, o.configuration_id, o.configuration_created_at, o.organization_id, o.event, o.key, o.created_at,
         CASE WHEN o.next_attempt_at IS NULL THEN 'dead' ELSE 'pending' END, o.attempts, o.probes, o.pending_since,
         o.next_attempt_at, o.last_error, o.ordering_key, o.slot::smallint, o.request, o.decided_at
    FROM new_deliveries AS o
   WHERE EXISTS (SELECT FROM @extschema@.webhook_configurations AS c
                  WHERE c.id = o.configuration_id AND c.created_at = o.configuration_created_at
                    AND c.organization_id IS NOT DISTINCT FROM o.organization_id)
  ON CONFLICT (event_id, configuration_id) DO UPDATE
     SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
         state = excluded.state, attempts = excluded.attempts, probes = excluded.probes,
         pending_since = excluded.pending_since, next_attempt_at = excluded.next_attempt_at,
         last_error = excluded.last_error, ordering_key = excluded.ordering_key, request = excluded.request,
         updated_at = excluded.updated_at
   WHERE (d.request = excluded.request AND (d.state <> 'dead' OR d.last_error IS DISTINCT FROM 'cancelled'))
      OR d.configuration_created_at <> excluded.configuration_created_at
      OR d.organization_id IS DISTINCT FROM excluded.organization_id)");

// --- Changes that cannot be written to webhook_deliveries now --------------------------------------------------------
//
// Only workers write webhook_internal.deferred_changes, each for its own webhooks. So these statements wait for nobody.

// new_deliveries: an InputTable.
inline constinit Statement defer_deliveries(R"(
  INSERT INTO webhook_internal.deferred_changes
         (configuration_id, configuration_created_at, event_id, is_finished, organization_id, event, key, created_at,
          attempts, probes, pending_since, next_attempt_at, last_error, ordering_key, slot, request, deferred_at)
  SELECT o.configuration_id, o.configuration_created_at, o.event_id, false, o.organization_id, o.event, o.key,
         o.created_at, o.attempts, o.probes, o.pending_since, o.next_attempt_at, o.last_error, o.ordering_key, o.slot::smallint, o.request,
         o.decided_at
    FROM new_deliveries AS o)");

inline constinit Statement defer_finished(R"(
  INSERT INTO webhook_internal.deferred_changes (configuration_id, event_id, is_finished, request)
  SELECT f.configuration_id, f.event_id, true, f.request
    FROM unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS f (event_id, configuration_id, request))");

// Applies the oldest deferred changes of a webhook, at most $2, and returns their number. A row that somebody has
// written since its change was deferred stays as it is.
inline constinit Statement apply_deferred(R"(
  WITH taken AS (
    DELETE FROM webhook_internal.deferred_changes
     WHERE id = ANY(ARRAY(SELECT id
                            FROM webhook_internal.deferred_changes
                           WHERE configuration_id = $1
                           ORDER BY id
                           LIMIT $2))
    RETURNING *),
  last AS (SELECT DISTINCT ON (event_id) * FROM taken ORDER BY event_id, id DESC),
  finished AS (
    DELETE FROM ONLY @extschema@.webhook_deliveries AS d
     USING last AS l
     WHERE l.is_finished AND d.event_id = l.event_id AND d.configuration_id = l.configuration_id
       AND d.request = l.request),
  pending AS (
    INSERT INTO @extschema@.webhook_deliveries AS d
           (event_id, configuration_id, configuration_created_at, organization_id, event, key, created_at, state, attempts,
            probes, pending_since, next_attempt_at, last_error, ordering_key, slot, request, updated_at)
    SELECT l.event_id, l.configuration_id, l.configuration_created_at, l.organization_id, l.event, l.key, l.created_at,
           CASE WHEN l.next_attempt_at IS NULL THEN 'dead' ELSE 'pending' END, l.attempts, l.probes, l.pending_since,
           l.next_attempt_at, l.last_error, l.ordering_key, l.slot, l.request, l.deferred_at
      FROM last AS l
     WHERE NOT l.is_finished
       AND EXISTS (SELECT FROM @extschema@.webhook_configurations AS c
                    WHERE c.id = l.configuration_id AND c.created_at = l.configuration_created_at
                      AND c.organization_id IS NOT DISTINCT FROM l.organization_id)
    ON CONFLICT (event_id, configuration_id) DO UPDATE
       SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
           state = excluded.state, attempts = excluded.attempts, probes = excluded.probes,
           pending_since = excluded.pending_since, next_attempt_at = excluded.next_attempt_at,
           last_error = excluded.last_error, ordering_key = excluded.ordering_key, request = excluded.request,
           updated_at = excluded.updated_at
     WHERE (d.request = excluded.request AND (d.state <> 'dead' OR d.last_error IS DISTINCT FROM 'cancelled'))
        OR d.configuration_created_at <> excluded.configuration_created_at
        OR d.organization_id IS DISTINCT FROM excluded.organization_id)
  SELECT count(*) FROM taken)");

// Gives up the oldest deferred change, because its row cannot be written, for the reason $2. Drops the parts of the row
// that come from a user.
inline constinit Statement give_up_deferred(R"(
  WITH taken AS (
    DELETE FROM webhook_internal.deferred_changes
     WHERE id = (SELECT min(id) FROM webhook_internal.deferred_changes WHERE configuration_id = $1)
    RETURNING *),
  pending AS (
    INSERT INTO @extschema@.webhook_deliveries AS d
           (event_id, configuration_id, configuration_created_at, organization_id, event, created_at, state, attempts,
            probes, pending_since, last_error, request)
    SELECT t.event_id, t.configuration_id, t.configuration_created_at, t.organization_id, t.event, t.created_at, 'dead',
           t.attempts, t.probes, t.pending_since, $2, t.request
      FROM taken AS t
     WHERE NOT t.is_finished
       AND EXISTS (SELECT FROM @extschema@.webhook_configurations AS c
                    WHERE c.id = t.configuration_id AND c.created_at = t.configuration_created_at
                      AND c.organization_id IS NOT DISTINCT FROM t.organization_id)
    ON CONFLICT (event_id, configuration_id) DO UPDATE
       SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
           state = excluded.state, key = NULL, attempts = excluded.attempts, probes = excluded.probes,
           pending_since = excluded.pending_since, next_attempt_at = NULL, last_error = excluded.last_error,
           ordering_key = NULL, updated_at = clock_timestamp()
     WHERE d.request = excluded.request OR d.configuration_created_at <> excluded.configuration_created_at),
  logged AS (
    INSERT INTO @extschema@.webhook_logs
           (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
    SELECT ring.slot, clock_timestamp(), t.configuration_id, t.organization_id, t.event_id, t.event, 0, 'failed', $2
      FROM taken AS t, @extschema@.webhook_rings AS ring
     WHERE NOT t.is_finished AND ring.ring = 'logs')
  SELECT count(*) FROM taken)");

// The same if even that row cannot be written: deletes the row instead.
inline constinit Statement drop_deferred(R"(
  WITH taken AS (
    DELETE FROM webhook_internal.deferred_changes
     WHERE id = (SELECT min(id) FROM webhook_internal.deferred_changes WHERE configuration_id = $1)
    RETURNING *),
  dropped AS (
    DELETE FROM ONLY @extschema@.webhook_deliveries AS d
     USING taken AS t
     WHERE d.event_id = t.event_id AND d.configuration_id = t.configuration_id
       AND d.request = t.request AND (t.is_finished OR d.configuration_created_at = t.configuration_created_at)),
  logged AS (
    INSERT INTO @extschema@.webhook_logs
           (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
    SELECT ring.slot, clock_timestamp(), t.configuration_id, t.organization_id, t.event_id, t.event, 0, 'failed', $2
      FROM taken AS t, @extschema@.webhook_rings AS ring
     WHERE NOT t.is_finished AND ring.ring = 'logs')
  SELECT count(*) FROM taken)");

inline constinit Statement has_deferred(R"(
  SELECT EXISTS (SELECT FROM webhook_internal.deferred_changes WHERE configuration_id = $1) AS has_deferred,
         (SELECT d.next_attempt_at
            FROM @extschema@.webhook_configurations AS c
                 JOIN ONLY @extschema@.webhook_deliveries AS d
                   ON d.configuration_id = c.id AND d.configuration_created_at = c.created_at AND d.state = 'pending'
                      AND d.organization_id IS NOT DISTINCT FROM c.organization_id
           WHERE c.id = $1
           ORDER BY d.next_attempt_at
           LIMIT 1) AS next_due)");

// The holder of a lock: a process, or null for a prepared transaction.
inline constinit Statement find_holder(R"(
  SELECT l.pid
    FROM pg_catalog.pg_locks AS l
   WHERE l.locktype = 'advisory' AND l.granted
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
     AND l.classid::bigint = $1 AND l.objid::bigint = $2 AND l.objsubid = $3
   LIMIT 1)");

// The webhooks of these rows with rows that somebody else has locked.
inline constinit Statement find_locked(R"(
  WITH free AS (
    SELECT d.event_id, d.configuration_id
      FROM ONLY @extschema@.webhook_deliveries AS d
           JOIN unnest($1::bigint[], $2::uuid[]) AS w (event_id, configuration_id)
             ON w.event_id = d.event_id AND w.configuration_id = d.configuration_id
       FOR UPDATE OF d SKIP LOCKED)
  SELECT DISTINCT d.configuration_id
    FROM ONLY @extschema@.webhook_deliveries AS d
         JOIN unnest($1::bigint[], $2::uuid[]) AS w (event_id, configuration_id)
           ON w.event_id = d.event_id AND w.configuration_id = d.configuration_id
   WHERE NOT EXISTS (SELECT FROM free AS f
                      WHERE f.event_id = d.event_id AND f.configuration_id = d.configuration_id))");

inline constinit Statement delete_finished(R"(
  DELETE FROM ONLY @extschema@.webhook_deliveries AS d
   USING unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS f (event_id, configuration_id, request)
   WHERE d.event_id = f.event_id AND d.configuration_id = f.configuration_id AND d.request = f.request)");

// Writes the minutes, and adds them to their hours. A row of the same minute of the day before is overwritten, and so
// is a row of the same hour of 90 days before. Otherwise the counts are added up. Leaves minutes out whose row or whose
// hour's row is locked, and returns their places, from 1.
inline constinit Statement upsert_minutes(R"(
  WITH new AS (
    SELECT n.place, c.id, (extract(epoch FROM n.minute)::bigint / 60 % 1440)::smallint AS slot, c.created_at,
           c.organization_id, n.minute, n.attempts, n.successes, n.durations::integer[] AS durations,
           n.unjudged, date_trunc('hour', n.minute, 'UTC') AS hour, webhook_internal.hour_slot(n.minute) AS hour_slot,
           n.events::jsonb AS events, n.statuses::jsonb AS statuses
      FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::integer[], $5::integer[], $6::text[],
                  $7::integer[], $8::text[], $9::text[])
             WITH ORDINALITY AS n (configuration_id, configuration_created_at, minute, attempts, successes, durations,
                                   unjudged, events, statuses, place)
           JOIN @extschema@.webhook_configurations AS c
             ON c.id = n.configuration_id AND c.created_at = n.configuration_created_at),
  stored AS (
    SELECT n.place
      FROM ONLY @extschema@.webhook_minutes AS m JOIN new AS n ON n.id = m.configuration_id AND n.slot = m.slot),
  free AS (
    SELECT n.place
      FROM ONLY @extschema@.webhook_minutes AS m JOIN new AS n ON n.id = m.configuration_id AND n.slot = m.slot
       FOR NO KEY UPDATE OF m SKIP LOCKED),
  stored_hours AS (
    SELECT n.place
      FROM ONLY @extschema@.webhook_hours AS h JOIN new AS n ON n.id = h.configuration_id AND n.hour_slot = h.slot),
  free_hours AS (
    SELECT n.place
      FROM ONLY @extschema@.webhook_hours AS h JOIN new AS n ON n.id = h.configuration_id AND n.hour_slot = h.slot
       FOR NO KEY UPDATE OF h SKIP LOCKED),
  locked AS (
    (SELECT place FROM stored EXCEPT SELECT place FROM free)
    UNION
    (SELECT place FROM stored_hours EXCEPT SELECT place FROM free_hours)),
  unlocked AS (SELECT * FROM new WHERE place NOT IN (SELECT place FROM locked)),
  written AS (
  INSERT INTO @extschema@.webhook_minutes AS m
         (configuration_id, slot, configuration_created_at, organization_id, minute, attempts, successes, durations,
          unjudged)
  SELECT n.id, n.slot, n.created_at, n.organization_id, n.minute, n.attempts, n.successes, n.durations, n.unjudged
    FROM unlocked AS n
  ON CONFLICT (configuration_id, slot) DO UPDATE
     SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
         minute = excluded.minute,
         attempts = excluded.attempts
                    + CASE WHEN m.minute = excluded.minute AND m.configuration_created_at = excluded.configuration_created_at
                           THEN m.attempts ELSE 0 END,
         successes = excluded.successes
                     + CASE WHEN m.minute = excluded.minute
                                 AND m.configuration_created_at = excluded.configuration_created_at
                            THEN m.successes ELSE 0 END,
         unjudged = excluded.unjudged
                    + CASE WHEN m.minute = excluded.minute AND m.configuration_created_at = excluded.configuration_created_at
                           THEN m.unjudged ELSE 0 END,
         durations = CASE WHEN m.minute = excluded.minute
                               AND m.configuration_created_at = excluded.configuration_created_at
                          THEN webhook_internal.added_durations(m.durations, excluded.durations)
                          ELSE excluded.durations END
   WHERE m.minute <= excluded.minute OR m.configuration_created_at <> excluded.configuration_created_at),
  written_hours AS (
  INSERT INTO @extschema@.webhook_hours AS h
         (configuration_id, slot, configuration_created_at, organization_id, hour, attempts, successes, durations,
          unjudged, events, statuses)
  SELECT n.id, n.hour_slot, n.created_at, n.organization_id, n.hour, sum(n.attempts)::integer,
         sum(n.successes)::integer, webhook_internal.sum_durations(n.durations)::integer[], sum(n.unjudged)::integer,
         webhook_internal.sum_counts(n.events), webhook_internal.sum_counts(n.statuses)
    FROM unlocked AS n
   GROUP BY n.id, n.hour_slot, n.created_at, n.organization_id, n.hour
  ON CONFLICT (configuration_id, slot) DO UPDATE
     SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
         hour = excluded.hour,
         (attempts, successes, unjudged, durations, events, statuses) = (
           SELECT excluded.attempts + h.attempts, excluded.successes + h.successes, excluded.unjudged + h.unjudged,
                  webhook_internal.added_durations(h.durations, excluded.durations),
                  webhook_internal.add_counts(h.events, excluded.events),
                  webhook_internal.add_counts(h.statuses, excluded.statuses)
            WHERE h.hour = excluded.hour AND h.configuration_created_at = excluded.configuration_created_at
           UNION ALL
           SELECT excluded.attempts, excluded.successes, excluded.unjudged, excluded.durations, excluded.events,
                  excluded.statuses
            WHERE h.hour <> excluded.hour OR h.configuration_created_at <> excluded.configuration_created_at)
   WHERE h.hour <= excluded.hour OR h.configuration_created_at <> excluded.configuration_created_at)
  SELECT place FROM locked)");

// Leaves locked rows out and returns their places, like upsert_minutes.
inline constinit Statement upsert_endpoints(R"(
  WITH new AS (
    SELECT n.place, c.id, c.created_at, c.organization_id, n.circuit_opened_at, n.next_probe_at, n.failing_since,
           n.last_success_at, n.last_failure_at, n.last_error, n.filter_failed_at, n.filter_error
      FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[],
                  $6::timestamptz[], $7::timestamptz[], $8::text[], $9::timestamptz[], $10::text[]) WITH ORDINALITY
             AS n (configuration_id, configuration_created_at, circuit_opened_at, next_probe_at, failing_since,
                   last_success_at, last_failure_at, last_error, filter_failed_at, filter_error, place)
           JOIN @extschema@.webhook_configurations AS c
             ON c.id = n.configuration_id AND c.created_at = n.configuration_created_at),
  stored AS (
    SELECT e.configuration_id
      FROM @extschema@.webhook_endpoints AS e JOIN new AS n ON n.id = e.configuration_id),
  free AS (
    SELECT e.configuration_id
      FROM @extschema@.webhook_endpoints AS e JOIN new AS n ON n.id = e.configuration_id
       FOR NO KEY UPDATE OF e SKIP LOCKED),
  locked AS (SELECT configuration_id FROM stored EXCEPT SELECT configuration_id FROM free),
  written AS (
  INSERT INTO @extschema@.webhook_endpoints AS e
         (configuration_id, configuration_created_at, organization_id, circuit_opened_at, next_probe_at, failing_since,
          last_success_at, last_failure_at, last_error, filter_failed_at, filter_error)
  SELECT n.id, n.created_at, n.organization_id, n.circuit_opened_at, n.next_probe_at, n.failing_since,
         n.last_success_at, n.last_failure_at, n.last_error, n.filter_failed_at, n.filter_error
    FROM new AS n
   WHERE n.id NOT IN (SELECT configuration_id FROM locked)
  ON CONFLICT (configuration_id) DO UPDATE
     SET configuration_created_at = excluded.configuration_created_at, organization_id = excluded.organization_id,
         circuit_opened_at = excluded.circuit_opened_at, next_probe_at = excluded.next_probe_at,
         failing_since = excluded.failing_since, last_success_at = excluded.last_success_at,
         last_failure_at = excluded.last_failure_at, last_error = excluded.last_error,
         filter_failed_at = excluded.filter_failed_at, filter_error = excluded.filter_error,
         updated_at = clock_timestamp())
  SELECT n.place FROM new AS n JOIN locked AS l ON l.configuration_id = n.id)");

// Whether there is still a webhook to disable. disable_webhook then disables it, unless its row is locked.
inline constinit Statement read_disabling(R"(
  SELECT FROM @extschema@.webhook_configurations
   WHERE id = $1 AND created_at = $2 AND organization_id IS NOT DISTINCT FROM $3 AND is_active AND url = $4)");

// What a node asks its home to do. No row: this database is no node.
inline constinit Statement report_disabling(R"(
  INSERT INTO @extschema@.webhook_node_reports
         (node, kind, configuration_id, configuration_created_at, organization_id, url, reason, event, data)
  SELECT n.name, 'disable', $1, $2, $3, $4, $5, $6, $7::json FROM webhook_internal.this_node AS n
  RETURNING node)");

inline constinit Statement report_event(R"(
  INSERT INTO @extschema@.webhook_node_reports (node, kind, organization_id, event, data)
  SELECT n.name, 'event', $1, $2, $3::json FROM webhook_internal.this_node AS n
  RETURNING node)");

// Of a while ago: they have been sent, or wait in WAL.
inline constinit Statement delete_reports(R"(
  DELETE FROM @extschema@.webhook_node_reports WHERE reported_at < clock_timestamp() - interval '1 minute')");

inline constinit Statement delete_shifts("DELETE FROM webhook_internal.shifted_events");

// Of nodes: at most $1 rows that nobody has overwritten.
inline constinit Statement delete_old_minutes(R"(
  DELETE FROM webhook_internal.node_minutes
   WHERE ctid = ANY (ARRAY(SELECT ctid
                             FROM webhook_internal.node_minutes
                            WHERE minute < now() - interval '25 hours'
                            ORDER BY minute
                            LIMIT $1)))");
inline constinit Statement delete_old_hours(R"(
  DELETE FROM webhook_internal.node_hours
   WHERE ctid = ANY (ARRAY(SELECT ctid
                             FROM webhook_internal.node_hours
                            WHERE hour < now() - interval '91 days'
                            ORDER BY hour
                            LIMIT $1)))");

inline constinit Statement disable_webhook(R"(
  UPDATE @extschema@.webhook_configurations AS c
     SET is_active = false, disabled_reason = $5
    FROM (SELECT id
            FROM @extschema@.webhook_configurations
           WHERE id = $1 AND created_at = $2 AND organization_id IS NOT DISTINCT FROM $3 AND is_active AND url = $4
             FOR NO KEY UPDATE SKIP LOCKED) AS held
   WHERE c.id = held.id)");

inline constinit Statement update_checkpoint(R"(
  UPDATE @extschema@.webhook_checkpoint
     SET snapshot_from = $1::pg_snapshot, snapshot_to = $2::pg_snapshot, position = $3, log_floor = $4,
         lowest_id = $5, updated_at = clock_timestamp()
   WHERE worker = $6)");

// What several nodes have to do with each other: see sql/parts/sharing_takeover.sql. $1: the worker's number. $2: about
// how many rows a step may change. $3: the nodes of takeovers that the worker knows of.
inline constinit Statement serve_nodes(R"(
  SELECT n.has_more, n.is_checkpoint_wanted, n.is_waiting FROM webhook_internal.serve_nodes($1, $3, $2) AS n)");

// --- Pending deliveries ----------------------------------------------------------------------------------------------

// $1, $2 and $3 are the webhook's id, created_at and organization, here and below.

// The events are in webhook_events, or among the events that outlived their segment. Returns rows after ($5, $6): at
// most $7, and of those only as many as begin within $8 stored bytes. found counts all of the at most $7 rows. Of a webhook
// that is gone it returns none: what became of its deliveries is not written any more, so its rows may be outdated.
inline constinit Statement read_due(R"(
  SELECT b.event_id, b.created_at, b.event, b.organization_id, b.key, b.data, b.previous, b.backfill, b.attempts, b.probes,
         b.pending_since, b.next_attempt_at, b.found, coalesce(b.slot, 0::smallint) AS slot, b.request
    FROM (SELECT d.event_id, d.created_at, d.event, d.organization_id, d.key, d.attempts, d.probes, d.pending_since,
                 d.next_attempt_at, d.slot, d.request, coalesce(e.data, k.data) AS data,
                 coalesce(e.previous, k.previous) AS previous,
                 coalesce(e.backfill, k.backfill, false) AS backfill,
                 count(*) OVER () AS found,
                 coalesce(sum(pg_column_size(coalesce(e.data, k.data)))
                            OVER (ORDER BY d.next_attempt_at, d.event_id
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
            FROM (SELECT *
                    FROM ONLY @extschema@.webhook_deliveries
                   WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'pending'
                     AND organization_id IS NOT DISTINCT FROM $3 AND next_attempt_at <= $4
                     AND (next_attempt_at, event_id) > ($5, $6)
                     AND EXISTS (SELECT FROM @extschema@.webhook_configurations
                                  WHERE id = $1 AND created_at = $2 AND organization_id IS NOT DISTINCT FROM $3)
                   ORDER BY next_attempt_at, event_id
                   LIMIT $7) AS d
                 LEFT JOIN LATERAL (SELECT data, previous, backfill
                                      FROM @extschema@.webhook_events
                                     WHERE slot = d.slot AND id = d.event_id
                                    OFFSET 0) AS e ON true
                 LEFT JOIN LATERAL (SELECT data, previous, backfill
                                      FROM webhook_internal.saved_events
                                     WHERE event_id = d.event_id AND e.data IS NULL
                                    OFFSET 0) AS k ON true) AS b
   WHERE b.bytes_before < $8
   ORDER BY b.next_attempt_at, b.event_id)");

// The same for a webhook with an ordering: the oldest events, but for each ordering_key only if its oldest pending
// delivery is due. It looks at the $5 oldest pending deliveries, and returns how many there were as scanned, in a row
// without an event if none is due. The first of a key among them is the oldest of the key. Looking for that in the index
// for each row would pass all deleted rows of the key each time, which a long transaction keeps there.
inline constinit Statement read_due_in_order(R"(
  WITH scan AS MATERIALIZED (
    SELECT event_id, ordering_key, next_attempt_at
      FROM ONLY @extschema@.webhook_deliveries
     WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'pending'
       AND organization_id IS NOT DISTINCT FROM $3 AND ordering_key IS NOT NULL
       AND EXISTS (SELECT FROM @extschema@.webhook_configurations
                    WHERE id = $1 AND created_at = $2 AND organization_id IS NOT DISTINCT FROM $3)
     ORDER BY event_id
     LIMIT $5),
  due AS MATERIALIZED (
    SELECT event_id
      FROM (SELECT event_id, first_value(next_attempt_at) OVER (PARTITION BY ordering_key ORDER BY event_id) AS first_at
              FROM scan) AS s
     WHERE first_at <= $4
     ORDER BY event_id
     LIMIT $6)
  SELECT b.event_id, b.created_at, b.event, b.organization_id, b.key, b.data, b.previous, b.backfill, b.attempts, b.probes,
         b.pending_since, b.next_attempt_at, b.found, coalesce(b.slot, 0::smallint) AS slot, b.request, c.scanned
    FROM (SELECT count(*) AS scanned FROM scan) AS c
         LEFT JOIN (SELECT d.event_id, d.created_at, d.event, d.organization_id, d.key, d.attempts, d.probes,
                           d.pending_since, d.next_attempt_at, d.slot, d.request, coalesce(e.data, k.data) AS data,
                           coalesce(e.previous, k.previous) AS previous,
                           coalesce(e.backfill, k.backfill, false) AS backfill,
                           count(*) OVER () AS found,
                           coalesce(sum(pg_column_size(coalesce(e.data, k.data)))
                                      OVER (ORDER BY d.event_id
                                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
                      FROM due
                           JOIN ONLY @extschema@.webhook_deliveries AS d
                             ON d.event_id = due.event_id AND d.configuration_id = $1
                           LEFT JOIN LATERAL (SELECT data, previous, backfill
                                                FROM @extschema@.webhook_events
                                               WHERE slot = d.slot AND id = d.event_id
                                              OFFSET 0) AS e ON true
                           LEFT JOIN LATERAL (SELECT data, previous, backfill
                                                FROM webhook_internal.saved_events
                                               WHERE event_id = d.event_id AND e.data IS NULL
                                              OFFSET 0) AS k ON true) AS b ON b.bytes_before < $7
   ORDER BY b.event_id)");

inline constinit Statement read_due_next(R"(
  SELECT min(next_attempt_at) AS next
    FROM ONLY @extschema@.webhook_deliveries
   WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'pending'
     AND organization_id IS NOT DISTINCT FROM $3 AND next_attempt_at > $4)");

// Gives up deliveries that have been pending too long, among the first rows that are due.
inline constinit Statement give_up_old(R"(
  WITH old AS (
    SELECT event_id, configuration_id
      FROM (SELECT event_id, configuration_id, pending_since
              FROM ONLY @extschema@.webhook_deliveries
             WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'pending'
               AND organization_id IS NOT DISTINCT FROM $3 AND next_attempt_at <= clock_timestamp()
             ORDER BY next_attempt_at, event_id
             LIMIT $6
               FOR UPDATE SKIP LOCKED) AS first
     WHERE pending_since < $4),
  given_up AS (
    UPDATE ONLY @extschema@.webhook_deliveries AS d
       SET state = 'dead', next_attempt_at = NULL, last_error = $5, updated_at = clock_timestamp()
      FROM old
     WHERE d.event_id = old.event_id AND d.configuration_id = old.configuration_id
    RETURNING d.event_id, d.configuration_id, d.organization_id, d.event),
  logged AS (
    INSERT INTO @extschema@.webhook_logs
           (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
    SELECT ring.slot, clock_timestamp(), g.configuration_id, g.organization_id, g.event_id, g.event, 0, 'failed', $5
      FROM given_up AS g, @extschema@.webhook_rings AS ring
     WHERE ring.ring = (SELECT webhook_internal.log_ring(max(organization_id), count(*)) FROM given_up))
  SELECT event_id FROM given_up)");

// One step through the pending deliveries: at most $7 rows after ($5, $6). Returns the last row and the number of rows.
inline constinit Statement write_ordering_keys(R"(
  WITH step AS (
    SELECT event_id, configuration_id, next_attempt_at
      FROM ONLY @extschema@.webhook_deliveries
     WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'pending'
       AND organization_id IS NOT DISTINCT FROM $3 AND (next_attempt_at, event_id) > ($5, $6)
     ORDER BY next_attempt_at, event_id
     LIMIT $7),
  written AS (
    UPDATE ONLY @extschema@.webhook_deliveries AS d
       SET ordering_key = webhook_internal.ordering_key($4, d.key, d.event_id)
      FROM step AS s
     WHERE d.event_id = s.event_id AND d.configuration_id = s.configuration_id AND d.state = 'pending'
       AND d.ordering_key IS DISTINCT FROM webhook_internal.ordering_key($4, d.key, d.event_id))
  SELECT s.next_attempt_at, s.event_id, count(*) OVER () AS visited
    FROM step AS s
   ORDER BY s.next_attempt_at DESC, s.event_id DESC
   LIMIT 1)");

// Counts at most $4 rows. A delivery without a key (#) holds nothing back.
inline constinit Statement count_ordering_keys(R"(
  SELECT o.ordering_key, count(*) AS deliveries, sum(count(*)) OVER ()::bigint AS visited
    FROM (SELECT ordering_key
            FROM ONLY @extschema@.webhook_deliveries
           WHERE configuration_id = $1 AND configuration_created_at = $2 AND organization_id IS NOT DISTINCT FROM $3
             AND state = 'pending' AND ordering_key IS NOT NULL
           ORDER BY event_id
           LIMIT $4) AS o
   GROUP BY o.ordering_key)");

// --- Rings -----------------------------------------------------------------------------------------------------------

// The current segment, its size with and without indexes, the ring's size, and the oldest other segment that is not
// empty. $1: the ring. Its segments are $4 of table $2, starting at number $3.
inline constinit Statement read_ring(R"(
  WITH segments AS (
    SELECT r.slot AS current, r.opened_at, step, ($3 + (r.slot - $3 + step) % $4)::smallint AS slot,
           format('%s_%s', '@extschema@.webhook_' || $2, $3 + (r.slot - $3 + step) % $4)::regclass AS relation
      FROM @extschema@.webhook_rings AS r, generate_series(0, $4 - 1) AS step
     WHERE r.ring = $1)
  SELECT s.current, s.opened_at, now() AS now, pg_total_relation_size(s.relation) AS bytes,
         pg_relation_size(s.relation) AS row_bytes,
         (SELECT sum(pg_total_relation_size(a.relation))::bigint FROM segments AS a) AS ring_bytes,
         (SELECT o.slot FROM segments AS o WHERE o.step > 0 AND pg_relation_size(o.relation) > 0 ORDER BY o.step LIMIT 1)
           AS oldest
    FROM segments AS s
   WHERE s.step = 0)");

inline constinit Statement turn_ring(R"(
  UPDATE @extschema@.webhook_rings SET slot = $2, opened_at = now() WHERE ring = $1)");

// One step of saving the events that deliveries refer to, before their segment is emptied: at most $4 deliveries after
// ($2, $3). Leaves locked rows out. Returns the last row and the number of rows.
inline constinit Statement save_events(R"(
  WITH step AS (
    SELECT event_id, configuration_id
      FROM @extschema@.webhook_deliveries
     WHERE slot = $1::smallint AND (event_id, configuration_id) > ($2, $3)
     ORDER BY event_id, configuration_id
     LIMIT $4),
  free AS (
    SELECT d.event_id, d.configuration_id
      FROM @extschema@.webhook_deliveries AS d
           JOIN step AS s ON s.event_id = d.event_id AND s.configuration_id = d.configuration_id
       FOR NO KEY UPDATE OF d SKIP LOCKED),
  saved AS (
    INSERT INTO webhook_internal.saved_events
           (event_id, xid, created_at, event, organization_id, key, data, previous, backfill, bytes)
    SELECT e.id, e.xid, e.created_at, e.event, e.organization_id, e.key, e.data, e.previous, e.backfill,
           pg_column_size(e.data) + coalesce(pg_column_size(e.previous), 0)
      FROM (SELECT DISTINCT event_id FROM free) AS f
           CROSS JOIN LATERAL (SELECT *
                                 FROM @extschema@.webhook_events
                                WHERE slot = $1::smallint AND id = f.event_id
                               OFFSET 0) AS e
     WHERE e.data IS NOT NULL
    ON CONFLICT (event_id) DO NOTHING),
  moved AS (
    UPDATE @extschema@.webhook_deliveries AS d
       SET slot = NULL
      FROM free AS f
     WHERE d.event_id = f.event_id AND d.configuration_id = f.configuration_id)
  SELECT s.event_id, s.configuration_id, count(*) OVER () AS visited
    FROM step AS s
   ORDER BY s.event_id DESC, s.configuration_id DESC
   LIMIT 1)");

// Whether a delivery's event is only in this segment, or what a node has left, and whether the same holds for a
// deferred change.
inline constinit Statement has_unsaved_events(R"(
  SELECT EXISTS (SELECT FROM @extschema@.webhook_deliveries WHERE slot = $1::smallint)
           OR EXISTS (SELECT FROM webhook_internal.to_take_over AS t
                              JOIN @extschema@.webhook_events AS e ON e.slot = $1::smallint AND e.id = t.event_id)
           AS by_deliveries,
         EXISTS (SELECT FROM webhook_internal.deferred_changes WHERE slot = $1::smallint) AS by_deferred)");

// Whether the segment may have an event of a transaction that is not before every checkpoint, or that a node that is
// gone had not settled. That of a batch is found by its first event.
inline constinit Statement has_unsettled_events(R"(
  SELECT NOT EXISTS (SELECT FROM @extschema@.webhook_checkpoint)
      OR EXISTS (SELECT FROM @extschema@.webhook_checkpoint AS c
                         JOIN @extschema@.webhook_events AS e ON e.slot = $1 AND e.id >= c.lowest_id
                  WHERE NOT pg_visible_in_snapshot(e.xid, c.snapshot_from))
      OR EXISTS (SELECT FROM @extschema@.webhook_checkpoint AS c
                         JOIN @extschema@.webhook_events AS e ON e.slot = $1 AND e.id_count IS NOT NULL
                  WHERE e.xid >= pg_snapshot_xmin(c.snapshot_from)
                    AND NOT pg_visible_in_snapshot(e.xid, c.snapshot_from))
      OR EXISTS (SELECT FROM webhook_internal.takeovers AS t
                         JOIN @extschema@.webhook_events AS e ON e.slot = $1
                  WHERE NOT t.is_collected AND NOT pg_visible_in_snapshot(e.xid, t.settled)) AS is_needed)");

// For who asks later what is not stored any more.
inline constinit Statement note_emptied("SELECT webhook_internal.note_emptied($1)");

// Whether recovery after a crash could need a log row of the segment to know what was delivered.
inline constinit Statement has_needed_logs(R"(
  SELECT NOT EXISTS (SELECT FROM @extschema@.webhook_checkpoint)
      OR EXISTS (SELECT FROM @extschema@.webhook_checkpoint AS c
                         JOIN @extschema@.webhook_logs AS l ON l.slot = $1 AND l.id > c.log_floor) AS is_needed)");

// One step: at most $5 rows after ($2, $3, $4). Locked rows are left for later. Returns the last row and the number of
// rows.
inline constinit Statement delete_expired_dead(R"(
  WITH step AS (
    SELECT created_at, event_id, configuration_id
      FROM ONLY @extschema@.webhook_deliveries
     WHERE state = 'dead' AND created_at < $1 AND (created_at, event_id, configuration_id) > ($2, $3, $4)
     ORDER BY created_at, event_id, configuration_id
     LIMIT $5),
  free AS (
    SELECT d.event_id, d.configuration_id
      FROM ONLY @extschema@.webhook_deliveries AS d
           JOIN step AS s ON s.event_id = d.event_id AND s.configuration_id = d.configuration_id
     WHERE d.state = 'dead'
       FOR UPDATE OF d SKIP LOCKED),
  deleted AS (
    DELETE FROM ONLY @extschema@.webhook_deliveries AS d
     USING free AS f
     WHERE d.event_id = f.event_id AND d.configuration_id = f.configuration_id)
  SELECT s.created_at, s.event_id, s.configuration_id, count(*) OVER () AS visited
    FROM step AS s
   ORDER BY s.created_at DESC, s.event_id DESC, s.configuration_id DESC
   LIMIT 1)");

// --- Shares ----------------------------------------------------------------------------------------------------------

// One step of counting webhook_deliveries: at most $3 rows after ($1, $2). Returns a row for each webhook, with the
// step's last row.
inline constinit Statement count_deliveries(R"(
  WITH step AS MATERIALIZED (
    SELECT event_id, configuration_id, organization_id, state,
           state = 'pending' AND updated_at > clock_timestamp() + interval '10 seconds' AS is_ahead
      FROM ONLY @extschema@.webhook_deliveries
     WHERE (event_id, configuration_id) > ($1, $2)
     ORDER BY event_id, configuration_id
     LIMIT $3)
  SELECT s.configuration_id, s.organization_id, count(*) AS deliveries,
         count(*) FILTER (WHERE s.state = 'dead') AS dead, last.event_id AS last_event_id,
         last.configuration_id AS last_configuration_id, (SELECT count(*) FROM step) AS visited,
         (SELECT bool_or(is_ahead) FROM step) AS is_ahead
    FROM step AS s
         CROSS JOIN (SELECT event_id, configuration_id
                       FROM step
                      ORDER BY event_id DESC, configuration_id DESC
                      LIMIT 1) AS last
   GROUP BY s.configuration_id, s.organization_id, last.event_id, last.configuration_id)");

// Corrects rows after ($1, $2) up to ($3, $4) that were written while the clock was ahead of the present one. From now
// on they wait as long as they were meant to wait then.
inline constinit Statement redate_pending(R"(
  WITH ahead AS (
    SELECT event_id, configuration_id
      FROM ONLY @extschema@.webhook_deliveries
     WHERE (event_id, configuration_id) > ($1, $2) AND (event_id, configuration_id) <= ($3, $4)
       AND state = 'pending' AND updated_at > clock_timestamp() + interval '10 seconds'
     ORDER BY event_id, configuration_id
       FOR UPDATE SKIP LOCKED),
  redated AS (
    UPDATE ONLY @extschema@.webhook_deliveries AS d
       SET next_attempt_at = clock_timestamp() + greatest(d.next_attempt_at - d.updated_at, interval '0'),
           pending_since = least(d.pending_since, clock_timestamp()), updated_at = clock_timestamp()
      FROM ahead AS a
     WHERE d.event_id = a.event_id AND d.configuration_id = a.configuration_id
    RETURNING d.configuration_id)
  SELECT webhook_internal.announce_pending(r.configuration_id) FROM (SELECT DISTINCT configuration_id FROM redated) AS r)");

// Deletes at most $2 of a webhook's dead deliveries, the oldest first. webhook_logs says why they are dead.
inline constinit Statement delete_oldest_dead(R"(
  WITH first AS (
    SELECT event_id, configuration_id
      FROM ONLY @extschema@.webhook_deliveries
     WHERE configuration_id = $1 AND state = 'dead'
     ORDER BY event_id
     LIMIT $2
       FOR UPDATE SKIP LOCKED)
  DELETE FROM ONLY @extschema@.webhook_deliveries AS d
   USING first AS f
   WHERE d.event_id = f.event_id AND d.configuration_id = f.configuration_id)");

// Deletes at most $2 of a webhook's pending deliveries, those due last. The first ones are in the worker's memory.
inline constinit Statement delete_last_due(R"(
  WITH first AS (
    SELECT event_id, configuration_id
      FROM ONLY @extschema@.webhook_deliveries
     WHERE configuration_id = $1 AND state = 'pending'
     ORDER BY next_attempt_at DESC, event_id DESC
     LIMIT $2
       FOR UPDATE SKIP LOCKED)
  DELETE FROM ONLY @extschema@.webhook_deliveries AS d
   USING first AS f
   WHERE d.event_id = f.event_id AND d.configuration_id = f.configuration_id
  RETURNING d.event_id, d.configuration_id, d.organization_id, d.event)");

// Deletes at most $2 of the deliveries that refer to the saved events $1. Returns all of them and whether they were
// pending. For dead ones webhook_logs already says why. Those at other nodes are not this database's to give up.
inline constinit Statement delete_deliveries_of(R"(
  WITH old AS (
    SELECT event_id, configuration_id
      FROM ONLY @extschema@.webhook_deliveries
     WHERE event_id = ANY($1) AND slot IS NULL
     LIMIT $2
       FOR UPDATE SKIP LOCKED),
  deleted AS (
    DELETE FROM ONLY @extschema@.webhook_deliveries AS d
     USING old AS o
     WHERE d.event_id = o.event_id AND d.configuration_id = o.configuration_id
    RETURNING d.event_id, d.configuration_id, d.organization_id, d.event, d.state)
  SELECT event_id, configuration_id, organization_id, event, state = 'pending' AS was_pending FROM deleted)");

// Writes one row of webhook_logs for each webhook, whatever the number of deliveries. $1: why they were given up.
inline constinit Statement log_given_up(R"(
  WITH summary AS (
    SELECT g.configuration_id, g.organization_id, count(*) AS deliveries, min(g.event_id) AS first_event_id,
           max(g.event_id) AS last_event_id, (array_agg(g.event ORDER BY g.event_id DESC))[1] AS event
      FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[])
             AS g (event_id, configuration_id, organization_id, event)
     GROUP BY g.configuration_id, g.organization_id),
  noted AS (
    INSERT INTO webhook_internal.given_up AS g
           (configuration_id, minute, organization_id, deliveries, first_event_id, last_event_id, reason)
    SELECT s.configuration_id, date_trunc('minute', now()), s.organization_id, s.deliveries, s.first_event_id,
           s.last_event_id, $1
      FROM summary AS s
    ON CONFLICT (configuration_id, minute) DO UPDATE
       SET deliveries = g.deliveries + excluded.deliveries,
           first_event_id = least(g.first_event_id, excluded.first_event_id),
           last_event_id = greatest(g.last_event_id, excluded.last_event_id), reason = excluded.reason)
  INSERT INTO @extschema@.webhook_logs
         (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
  SELECT ring.slot, clock_timestamp(), s.configuration_id, s.organization_id, s.last_event_id, s.event, 0, 'failed',
         CASE WHEN s.deliveries = 1 THEN $1
              ELSE format('%s deliveries, of events %s to %s: %s', s.deliveries, s.first_event_id, s.last_event_id, $1) END
    FROM summary AS s
         CROSS JOIN @extschema@.webhook_rings AS ring
   WHERE ring.ring = (SELECT webhook_internal.log_ring(max(organization_id), count(*)) FROM summary))");

// One step through the saved events: at most $2 after $1, and whether a delivery refers to each.
inline constinit Statement walk_saved(R"(
  SELECT k.event_id, k.organization_id, k.bytes,
         EXISTS (SELECT FROM @extschema@.webhook_deliveries AS d WHERE d.event_id = k.event_id) AS is_needed
    FROM webhook_internal.saved_events AS k
   WHERE k.event_id > $1
   ORDER BY k.event_id
   LIMIT $2)");

// Locks the saved events that no other transaction is about to refer to. delete_saved, with a later snapshot, deletes
// those that no delivery refers to: here, and, unless $2, at other nodes. A node has its own copy of the event.
inline constinit Statement lock_saved(R"(
  SELECT event_id FROM webhook_internal.saved_events WHERE event_id = ANY($1) FOR UPDATE SKIP LOCKED)");

inline constinit Statement delete_saved(R"(
  DELETE FROM webhook_internal.saved_events AS k
   WHERE k.event_id = ANY($1)
     AND NOT EXISTS (SELECT FROM ONLY @extschema@.webhook_deliveries AS d WHERE d.event_id = k.event_id)
     AND ($2 OR NOT EXISTS (SELECT FROM webhook_internal.node_deliveries AS d WHERE d.event_id = k.event_id))
  RETURNING k.bytes)");

// At most $2 of an organization's saved events, the oldest, and of those as many as begin within $3 bytes.
inline constinit Statement oldest_saved(R"(
  SELECT b.event_id
    FROM (SELECT k.event_id,
                 coalesce(sum(k.bytes) OVER (ORDER BY k.event_id
                                             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
            FROM (SELECT event_id, bytes
                    FROM webhook_internal.saved_events
                   WHERE organization_id = $1
                   ORDER BY event_id
                   LIMIT $2) AS k) AS b
   WHERE b.bytes_before < $3
   ORDER BY b.event_id)");

inline constinit Statement delete_old_given_up(R"(
  DELETE FROM webhook_internal.given_up WHERE minute < $1)");

// At most $1 rows. Locked rows are left for later.
inline constinit Statement delete_old_history(R"(
  DELETE FROM @extschema@.webhook_history
   WHERE id = ANY (ARRAY(SELECT id
                           FROM @extschema@.webhook_history
                          WHERE changed_at < now() - interval '90 days'
                          ORDER BY changed_at
                          LIMIT $1
                            FOR UPDATE SKIP LOCKED)))");

// --- Replays ---------------------------------------------------------------------------------------------------------

inline constinit Statement find_unfinished_replays(R"(
  SELECT id, configuration_id, organization_id
    FROM @extschema@.webhook_replays
   WHERE ended_at IS NULL AND id > $1
   ORDER BY id
   LIMIT $2)");

// Webhooks for which the home has something to take over: at most $2 after $1. Null: from the first one on.
inline constinit Statement find_takeovers(R"(
  SELECT configuration_id, organization_id FROM webhook_internal.webhooks_to_take_over($1, $2))");

// Locks the row until the transaction ends, unless another transaction has locked it or the replay has ended.
inline constinit Statement take_replay(R"(
  SELECT r.configuration_id, r.configuration_created_at, r.organization_id, r.position, r.last_event_id, r.only_failed,
         c.id IS NOT NULL AS has_webhook, coalesce(c.is_active, false) AS is_active,
         coalesce(c.filter::text, '') AS filter
    FROM @extschema@.webhook_replays AS r
         LEFT JOIN @extschema@.webhook_configurations AS c
                ON c.id = r.configuration_id AND c.created_at = r.configuration_created_at
                   AND c.organization_id IS NOT DISTINCT FROM r.organization_id
   WHERE r.id = $1 AND r.ended_at IS NULL
     FOR NO KEY UPDATE OF r SKIP LOCKED)");

// Counts at most $4 rows of webhook ($1, $2, $3).
inline constinit Statement count_pending(R"(
  SELECT count(*) AS pending
    FROM (SELECT FROM ONLY @extschema@.webhook_deliveries
           WHERE configuration_id = $1 AND configuration_created_at = $2 AND state = 'pending'
             AND organization_id IS NOT DISTINCT FROM $3
           LIMIT $4) AS p)");

// The next events of replay $9, of webhook ($1, $2, $3): at most $6 after id $4 up to $5, in the order of their ids.
// Returns those of the webhook's organization, whether the replay is for each, and the last one. Returns the data only
// if $8. An event may occur twice, because it is saved before its segment is emptied. $7: only events whose delivery is
// dead.
inline constinit Statement walk_replay(R"(
  WITH step AS MATERIALIZED (
    SELECT *
      FROM ((SELECT id, xid, created_at, event, organization_id, data IS NOT NULL AS is_stored,
                    CASE WHEN $8 THEN data END AS data
               FROM @extschema@.webhook_events
              WHERE NOT $7 AND id > $4 AND id <= $5
              ORDER BY id
              LIMIT $6)
            UNION ALL
            (SELECT event_id, xid, created_at, event, organization_id, true, CASE WHEN $8 THEN data END
               FROM webhook_internal.saved_events
              WHERE NOT $7 AND event_id > $4 AND event_id <= $5
              ORDER BY event_id
              LIMIT $6)
            UNION ALL
            (SELECT d.event_id, coalesce(e.xid, k.xid), d.created_at, d.event, d.organization_id,
                    coalesce(e.data, k.data) IS NOT NULL, CASE WHEN $8 THEN coalesce(e.data, k.data) END
               FROM (SELECT event_id, slot, created_at, event, organization_id
                       FROM @extschema@.webhook_deliveries
                      WHERE $7 AND configuration_id = $1 AND configuration_created_at = $2
                        AND organization_id IS NOT DISTINCT FROM $3 AND state = 'dead'
                        AND event_id > $4 AND event_id <= $5
                      ORDER BY event_id
                      LIMIT $6) AS d
                    LEFT JOIN LATERAL (SELECT xid, data
                                         FROM @extschema@.webhook_events
                                        WHERE slot = d.slot AND id = d.event_id
                                       OFFSET 0) AS e ON true
                    LEFT JOIN LATERAL (SELECT xid, data
                                         FROM webhook_internal.saved_events
                                        WHERE event_id = d.event_id AND e.data IS NULL
                                       OFFSET 0) AS k ON true)) AS s
     ORDER BY id
     LIMIT $6),
  judged AS (
    SELECT s.id, s.created_at, s.data, s.organization_id IS NOT DISTINCT FROM $3 AS is_own,
           s.organization_id IS NOT DISTINCT FROM $3 AND s.is_stored
             AND s.created_at >= r.since AND s.created_at < r.until AND pg_visible_in_snapshot(s.xid, r.snapshot)
             AND EXISTS (SELECT FROM unnest(c.events) AS p WHERE @extschema@.webhook_event_matches(p, s.event))
             AND (r.events IS NULL
                  OR EXISTS (SELECT FROM unnest(r.events) AS p WHERE @extschema@.webhook_event_matches(p, s.event)))
             AS is_wanted
      FROM step AS s
           CROSS JOIN @extschema@.webhook_replays AS r
           JOIN @extschema@.webhook_configurations AS c
             ON c.id = $1 AND c.created_at = $2 AND c.organization_id IS NOT DISTINCT FROM $3
     WHERE r.id = $9)
  SELECT j.id, j.created_at, j.is_own, j.is_wanted, j.data, (SELECT count(*) FROM step) AS visited
    FROM judged AS j
   WHERE j.is_own OR j.id = (SELECT max(id) FROM step)
   ORDER BY j.id)");

// A webhook for which the home takes over.
inline constinit Statement read_heir(R"(
  SELECT created_at, organization_id, coalesce(filter::text, '') AS filter
    FROM @extschema@.webhook_configurations
   WHERE id = $1)");

// The caller holds the webhook's KeyedLock::kDeliveries.
inline constinit Statement inherit(R"(
  SELECT webhook_internal.inherit(c, $4) AS rows
    FROM @extschema@.webhook_configurations AS c
   WHERE c.id = $1 AND c.created_at = $2 AND c.organization_id IS NOT DISTINCT FROM $3)");

// The next events that the home has to take over for webhook ($1, $2, $3): at most $4, in the order of their ids. Those
// that the node has delivered, or that are pending or dead here, are not wanted. Returns the data only if $5.
inline constinit Statement walk_takeover(R"(
  WITH step AS MATERIALIZED (
    SELECT event_id, configuration_created_at, log_floor
      FROM webhook_internal.to_take_over
     WHERE configuration_id = $1
     ORDER BY event_id
     LIMIT $4),
  delivered AS MATERIALIZED (
    SELECT l.event_id
      FROM @extschema@.webhook_logs AS l
     WHERE l.configuration_id = $1 AND l.id > (SELECT min(log_floor) FROM step) AND l.status = 'success'
       AND l.event_id = ANY (ARRAY(SELECT event_id FROM step)))
  SELECT s.event_id AS id, coalesce(e.created_at, '-infinity') AS created_at, true AS is_own,
         e.data IS NOT NULL AND e.organization_id IS NOT DISTINCT FROM $3 AND s.configuration_created_at = $2
           AND s.event_id NOT IN (SELECT event_id FROM delivered)
           AND NOT EXISTS (SELECT FROM ONLY @extschema@.webhook_deliveries AS d
                            WHERE d.event_id = s.event_id AND d.configuration_id = $1 AND d.configuration_created_at = $2)
           AS is_wanted,
         CASE WHEN $5 THEN e.data END AS data, (SELECT count(*) FROM step) AS visited
    FROM step AS s
         LEFT JOIN @extschema@.webhook_events AS e ON e.id = s.event_id
   ORDER BY s.event_id)");

// What has been looked at: up to event $2. Notes what is not stored any more.
inline constinit Statement advance_takeover("SELECT webhook_internal.advance_takeover($1, $2)");

inline constinit Statement drop_takeover("SELECT webhook_internal.drop_takeover($1)");

// The caller holds the webhook's KeyedLock::kDeliveries.
inline constinit Statement queue_events(R"(
  SELECT webhook_internal.queue_events(c, $4) AS queued
    FROM @extschema@.webhook_configurations AS c
   WHERE c.id = $1 AND c.created_at = $2 AND c.organization_id IS NOT DISTINCT FROM $3)");

inline constinit Statement advance_replay(R"(
  UPDATE @extschema@.webhook_replays
     SET state = CASE WHEN $2 THEN 'done' ELSE 'running' END, reason = NULL, position = $3,
         examined = examined + $4, queued = queued + $5, oldest_event_at = coalesce(oldest_event_at, $6),
         newest_event_at = coalesce($7, newest_event_at),
         progress = CASE WHEN $2 THEN 100
                         ELSE greatest(floor(100 * ($3::numeric - first_event_id + 1)
                                             / (last_event_id - first_event_id + 1)), 0) END,
         started_at = coalesce(started_at, clock_timestamp()), ended_at = CASE WHEN $2 THEN clock_timestamp() END,
         updated_at = clock_timestamp()
   WHERE id = $1)");

// Written once, however often it is tried.
inline constinit Statement let_replay_wait(R"(
  UPDATE @extschema@.webhook_replays
     SET state = 'waiting', reason = $2, updated_at = clock_timestamp()
   WHERE id = $1 AND (state <> 'waiting' OR reason IS DISTINCT FROM $2))");

inline constinit Statement fail_replay(R"(
  UPDATE @extschema@.webhook_replays
     SET state = 'failed', reason = $2, ended_at = clock_timestamp(), updated_at = clock_timestamp()
   WHERE id = ANY (ARRAY(SELECT id
                           FROM @extschema@.webhook_replays
                          WHERE id = $1 AND ended_at IS NULL
                            FOR NO KEY UPDATE SKIP LOCKED)))");

// At most $1 rows. Locked rows are left for later.
inline constinit Statement delete_old_replays(R"(
  DELETE FROM @extschema@.webhook_replays
   WHERE id = ANY (ARRAY(SELECT id
                           FROM @extschema@.webhook_replays
                          WHERE ended_at < now() - interval '90 days'
                          ORDER BY ended_at
                          LIMIT $1
                            FOR UPDATE SKIP LOCKED)))");

// --- Ids -------------------------------------------------------------------------------------------------------------

inline constinit Statement draw_ids("SELECT nextval('@extschema@.webhook_events_id_seq') AS first");

}  // namespace webhook::pg::statements
