// The rings of segments, and the ids of events.
#include "pg/store/spi_store.h"

extern "C" {
#include "postgres.h"

#include "catalog/pg_class.h"
#include "commands/tablecmds.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
}

#include <cstdint>
#include <optional>
#include <string>

#include "core/error.h"
#include "core/ring.h"
#include "pg/guard.h"
#include "pg/server/event_ids.h"
#include "pg/store/results.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

// How many deliveries' events one step of save_events() saves.
constexpr std::int32_t kSaveStep = 200;
// Capture finds at least half of a block in memory.
constexpr std::int64_t kIdBlock = 1'000'000;  // the sequence's INCREMENT

// The ring's name in webhook_rings, and the name of its table without the prefix.
const char* ring_name(Ring ring) {
  switch (ring) {
    case Ring::kEvents:
      return "events";
    case Ring::kExcessEvents:
      return "excess_events";
    case Ring::kLogs:
      return "logs";
    case Ring::kExcessLogs:
      break;
  }
  return "excess_logs";
}

const char* table_name(Ring ring) { return holds_events(ring) ? "events" : "logs"; }

void read_ring(Query* query, Ring ring) {
  const bool is_excess = ring == Ring::kExcessEvents || ring == Ring::kExcessLogs;
  const std::int32_t first = is_excess ? kRingSegments : 0;
  const std::int32_t segments = is_excess ? kExcessSegments : kRingSegments;
  query->bind(ring_name(ring)).bind(table_name(ring)).bind(first).bind(segments).run();
}

}  // namespace

RingReport SpiStore::maintain_ring(Ring ring, const RingLimits& limits) {
  RingReport report;
  int current = 0;
  bool full = false;
  bool too_large = false;
  std::optional<int> oldest;  // not empty, and not the current one
  {
    Work work(*this, "webhook: looking after the rings");
    Query query(statements::read_ring);
    read_ring(&query, ring);
    const auto bytes = [&query](const char* name) {
      return static_cast<std::uint64_t>(query.get_int64(0, query.column(name)));
    };
    current = query.get_int16(0, query.column("current"));
    full = is_segment_full(limits, query.get_time(0, query.column("opened_at")), query.get_time(0, query.column("now")),
                           bytes("bytes"), bytes("row_bytes") == 0);
    report.bytes = bytes("ring_bytes");
    too_large = report.bytes > limits.bytes_max;
    const Column oldest_other = query.column("oldest");
    if (!query.is_null(0, oldest_other)) oldest = query.get_int16(0, oldest_other);
    work.commit();
  }
  const int next = next_segment(current);
  const bool next_is_empty = oldest != next;
  if (oldest && (too_large || (full && !next_is_empty))) {
    // In a separate transaction, so that nobody sees the segment as the current one while it is locked.
    const bool emptied = make_room(ring, *oldest, &report);
    if (emptied) report.more = too_large;
    if (!emptied && !next_is_empty) return report;
  }
  if (!full) return report;
  Work work(*this, "webhook: turning a ring");
  Query turn(statements::turn_ring);
  turn.bind(ring_name(ring)).bind(static_cast<std::int32_t>(next)).run();
  work.commit();
  if (holds_events(ring)) {
    has_published_segment_ = false;
    refill_ids();
  }
  return report;
}

// One step of saving the events of a segment that deliveries refer to. Returns whether all are saved, except those with
// locked deliveries. If a row was refused, returns true and sets kept_because.
bool SpiStore::save_events(int segment, RingReport* report) {
  if (saving_segment_ != segment) {
    saving_segment_ = segment;
    saved_to_ = kBeforeAllDeliveries;
  }
  Work work(*this, "webhook: saving events");
  bool is_all = true;
  DeliveryKey last;
  limit_waits_for_rows();
  const std::optional<Error> refused = try_to([&] {
    Query save(statements::save_events);
    save.bind(static_cast<std::int32_t>(segment)).bind(saved_to_.event_id).bind(saved_to_.webhook).bind(kSaveStep);
    is_all = save.run() == 0 || save.get_int64(0, save.column("visited")) < kSaveStep;
    if (!is_all) last = {save.get_int64(0, save.column("event_id")), save.get_uuid(0, save.column("configuration_id"))};
  });
  if (refused) report->kept_because = "a delivery of its events cannot be changed: " + refused->message();
  work.commit();
  if (refused) return true;
  if (is_all) {
    saving_segment_ = -1;
  } else {
    saved_to_ = last;
  }
  return is_all;
}

// Empties a segment that is no longer needed. Returns false if it is still needed, or if something must be done first.
bool SpiStore::make_room(Ring ring, int segment, RingReport* report) {
  if (holds_events(ring) && !save_events(segment, report)) {
    report->more = true;
    return false;
  }
  if (!report->kept_because.empty()) return false;
  Work work(*this, "webhook: emptying a segment");
  const auto number = static_cast<std::int32_t>(segment);
  const std::string name = std::string("webhook_") + table_name(ring) + '_' + std::to_string(segment);
  const Oid schema = schema_;
  const Oid relation = guarded([schema, text = name.c_str()] { return get_relname_relid(text, schema); });
  // Does not wait, because everybody else would queue behind a waiting lock request.
  if (!guarded([relation] { return ConditionalLockRelationOid(relation, AccessExclusiveLock); })) {
    report->kept_because = "a transaction holds a lock on it";
    return false;
  }
  Query needed(holds_events(ring) ? statements::has_unsettled_events : statements::has_needed_logs);
  needed.bind(number).run();
  if (needed.get_boolean(0, needed.column("is_needed"))) {
    report->kept_because = holds_events(ring) ? "it holds events that are not settled yet"
                                              : "it holds attempts of events that are not settled yet";
    return false;
  }
  if (holds_events(ring)) {
    // Deliveries that became pending since the last step, or are locked.
    Query unsaved(statements::has_unsaved_events);
    unsaved.bind(number).run();
    if (unsaved.get_boolean(0, unsaved.column("by_deferred"))) {
      report->kept_because = "it holds events of pending deliveries that a transaction holds";
      return false;
    }
    if (unsaved.get_boolean(0, unsaved.column("by_deliveries"))) {
      report->kept_because = "deliveries refer to its events, and somebody writes them";
      return false;
    }
  }
  if (holds_events(ring)) {
    Query note(statements::note_emptied);
    note.bind(number).run();
  }
  guarded([schema, text = name.c_str()] {
    RangeVar* range = makeRangeVar(get_namespace_name(schema), pstrdup(text), -1);
    range->inh = false;
    auto* truncate = makeNode(TruncateStmt);
    truncate->relations = list_make1(range);
    truncate->behavior = DROP_RESTRICT;
    ExecuteTruncate(truncate);
  });
  work.commit();
  return true;
}

// Publishes within its transactions, whose lock keeps the extension from being dropped. Otherwise one created after it
// could have published already.
void SpiStore::refill_ids() {
  // Done at least once, because an earlier worker may have ended between turning the ring and publishing the segment. Only
  // by the worker that turns the rings: to another, one may turn between the two steps.
  const bool is_known = has_published_segment_ && current_event_segment(events_sequence_, false) &&
                        current_event_segment(events_sequence_, true);
  if (share_.number == 1 && !is_known) {
    Work work(*this, "webhook: looking after the rings");
    for (const Ring ring : {Ring::kEvents, Ring::kExcessEvents}) {
      Query query(statements::read_ring);
      read_ring(&query, ring);
      publish_event_segment(events_sequence_, query.get_int16(0, query.column("current")));
    }
    work.commit();
    has_published_segment_ = true;
  }
  if (ids_left(events_sequence_) >= kIdBlock / 2) return;
  Work work(*this, "webhook: drawing event ids");
  Query query(statements::draw_ids);
  query.run();
  const std::int64_t first = query.get_int64(0, query.column("first"));
  publish_ids(events_sequence_, {first, first + kIdBlock});
  work.commit();
}

}  // namespace webhook::pg
