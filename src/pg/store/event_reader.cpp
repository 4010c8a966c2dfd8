#include "pg/store/event_reader.h"

extern "C" {
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "pg/catalog.h"
#include "pg/encoding.h"
#include "pg/event_table.h"
#include "pg/guard.h"
#include "pg/timestamps.h"
#include "worker/store.h"

namespace webhook::pg {
namespace {

// A row. Its texts are in the database's encoding and in the Transaction's memory; nullptr is null.
struct RawEvent {
  int64 id;
  FullXid xid;
  TimestampTz created_at;
  int64 oversized_bytes;
  const varlena* event;
  const varlena* organization_id;
  const varlena* key;
  const varlena* data;
  const varlena* previous;
  int32 known_switch;
  int16 segment;
  std::optional<TimestampTz> applied_at;
  bool is_backfill;
};

// How many events outside the window are passed over. After a crash there can be millions.
constexpr std::size_t kOthersMax = 1000;

struct Reading {
  const IdRange* ids;  // ascending, disjoint
  std::size_t range_count;
  const Window* window;  // other transactions' events are left out; nullptr: none are
  RawEvent* events;      // room for events_max
  std::size_t events_max;
  std::size_t bytes_max;  // limit on the expanded texts; the first event is returned in any case
  std::size_t others;     // events outside the window so far
  std::size_t count;
  std::size_t bytes;
};

struct ReadingBatches {
  const FullXid* low;  // of ranges [low, high) of transactions
  const FullXid* high;
  std::size_t range_count;
  IdRange* batches;  // room for batches_max
  std::size_t batches_max;
  std::size_t count;
};

// The size of a row's texts when expanded, computed without expanding them.
std::size_t expanded_bytes(TupleTableSlot* slot, const int* places) {
  slot_getallattrs(slot);
  std::size_t bytes = 0;
  for (const EventColumn column : {kEvent, kOrganizationId, kKey, kData, kPrevious}) {
    if (!slot->tts_isnull[places[column]]) bytes += toast_raw_datum_size(slot->tts_values[places[column]]);
  }
  return bytes;
}

RawEvent copy_row(TupleTableSlot* slot, const int* places) {
  slot_getallattrs(slot);
  const auto value = [&](EventColumn column) { return slot->tts_values[places[column]]; };
  const auto is_null = [&](EventColumn column) { return slot->tts_isnull[places[column]]; };
  const auto text = [&](EventColumn column) -> const varlena* {
    if (is_null(column)) return nullptr;
    return PG_DETOAST_DATUM_COPY(value(column));
  };
  return {.id = DatumGetInt64(value(kId)),
          .xid = DatumGetUInt64(value(kXid)),
          .created_at = DatumGetTimestampTz(value(kCreatedAt)),
          .oversized_bytes = is_null(kOversizedBytes) ? 0 : DatumGetInt64(value(kOversizedBytes)),
          .event = text(kEvent),
          .organization_id = text(kOrganizationId),
          .key = text(kKey),
          .data = text(kData),
          .previous = text(kPrevious),
          .known_switch = DatumGetInt32(value(kKnownSwitch)),
          .segment = DatumGetInt16(value(kSlot)),
          .applied_at = is_null(kAppliedAt) ? std::nullopt : std::optional(DatumGetTimestampTz(value(kAppliedAt))),
          .is_backfill = !is_null(kBackfill) && DatumGetBool(value(kBackfill))};
}

// --- Scans of a segment ------------------------------------------------------------------------------------------------

constexpr int kKeys = 2;

// An open index scan of a segment that is not empty.
struct Scan {
  Relation segment;
  Relation index;  // nullptr: there is none
  IndexScanDesc rows;
  TupleTableSlot* slot;
  int places[kEventColumns];
};

Scan open_scan(Relation segment, EventColumn column) {
  Scan scan{.segment = segment, .index = nullptr, .rows = nullptr, .slot = nullptr, .places = {}};
  find_event_columns(RelationGetDescr(segment), RelationGetRelationName(segment), scan.places);
  scan.index = open_event_index(segment, column, scan.places);
  if (scan.index == nullptr) return scan;
  scan.slot = table_slot_create(segment, nullptr);
#if PG_VERSION_NUM >= 180000
  scan.rows = index_beginscan(segment, scan.index, GetActiveSnapshot(), nullptr, kKeys, 0);
#else
  scan.rows = index_beginscan(segment, scan.index, GetActiveSnapshot(), kKeys, 0);
#endif
  return scan;
}

void close_scan(const Scan& scan) {
  if (scan.index == nullptr) return;
  index_endscan(scan.rows);
  ExecDropSingleTupleTableSlot(scan.slot);
  index_close(scan.index, NoLock);
}

// The rows from low to below high come next.
void seek(const Scan& scan, Datum low, RegProcedure at_least, Datum high, RegProcedure below) {
  CHECK_FOR_INTERRUPTS();
  ScanKeyData keys[kKeys];
  ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, at_least, low);
  ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, below, high);
  index_rescan(scan.rows, keys, kKeys, nullptr, 0);
}

bool next_row(const Scan& scan) { return index_getnext_slot(scan.rows, ForwardScanDirection, scan.slot); }

Datum value_of(const Scan& scan, EventColumn column) {
  bool is_null;
  return slot_getattr(scan.slot, scan.places[column] + 1, &is_null);
}

// Returns false if there is no room for more, or too many events are outside the window.
bool read_range(const Scan& scan, const IdRange& ids, Reading* reading) {
  seek(scan, Int64GetDatum(ids.first), F_INT8GE, Int64GetDatum(ids.limit), F_INT8LT);
  while (next_row(scan)) {
    if (reading->window != nullptr && !reading->window->contains(DatumGetUInt64(value_of(scan, kXid)))) {
      if (++reading->others > kOthersMax) return false;
      continue;
    }
    if (reading->count == reading->events_max) return false;
    reading->bytes += expanded_bytes(scan.slot, scan.places);
    if (reading->count > 0 && reading->bytes > reading->bytes_max) return false;
    reading->events[reading->count++] = copy_row(scan.slot, scan.places);
  }
  return true;
}

// Likewise.
bool read_batches(const Scan& scan, FullXid low, FullXid high, ReadingBatches* reading) {
  seek(scan, UInt64GetDatum(low), F_XID8GE, UInt64GetDatum(high), F_XID8LT);
  while (next_row(scan)) {
    if (reading->count == reading->batches_max) return false;
    const std::int64_t first = DatumGetInt64(value_of(scan, kId));
    reading->batches[reading->count++] = {first, first + DatumGetInt32(value_of(scan, kIdCount))};
  }
  return true;
}

// Calls read(scan, i, reading) for each i below reading->range_count, until it returns false. Returns false then, or if
// there is no index on the column.
template <typename Wanted, typename Read>
bool read_segment(Oid relation, EventColumn column, Wanted* reading, Read read) {
  Relation segment = table_open(relation, AccessShareLock);
  bool is_read = true;
  if (RelationGetNumberOfBlocks(segment) > 0) {
    const Scan scan = open_scan(segment, column);
    is_read = scan.index != nullptr;
    for (std::size_t i = 0; is_read && i < reading->range_count; ++i) is_read = read(scan, i, reading);
    close_scan(scan);
  }
  table_close(segment, NoLock);
  return is_read;
}

std::string text_of(const varlena* text) { return text == nullptr ? std::string() : to_utf8(view_of(text)); }

std::optional<std::string> optional_text_of(const varlena* text, std::string (*convert)(std::string_view)) {
  if (text == nullptr) return std::nullopt;
  return convert(view_of(text));
}

Event event_of(const RawEvent& raw) {
  return {.id = raw.id,
          .segment = raw.segment,
          .known_switch = raw.known_switch,
          .xid = raw.xid,
          .created_at = from_timestamptz(raw.created_at),
          .applied_at = raw.applied_at ? from_timestamptz(*raw.applied_at) : Time{},
          .name = text_of(raw.event),
          .organization_id = optional_text_of(raw.organization_id, identifier_to_utf8),
          .key = optional_text_of(raw.key, to_utf8),
          .data = text_of(raw.data),
          .previous = text_of(raw.previous),
          .oversized_bytes = raw.oversized_bytes,
          .is_backfill = raw.is_backfill};
}

struct Read {
  std::vector<Event> events;
  bool is_whole = false;  // false: there was no room for more, or no index
};

// segments: in the order of their numbers.
Read read(const Oid* segments, std::size_t segment_count, const std::vector<IdRange>& ids, const Window* window,
          std::size_t events_max, std::size_t bytes_max) {
  Reading reading{.ids = ids.data(),
                  .range_count = ids.size(),
                  .window = window,
                  .events = nullptr,
                  .events_max = events_max,
                  .bytes_max = bytes_max,
                  .others = 0,
                  .count = 0,
                  .bytes = 0};
  const bool is_whole = guarded([&reading, segments, segment_count] {
    reading.events = static_cast<RawEvent*>(palloc(sizeof(RawEvent) * reading.events_max));
    const auto read_ids = [](const Scan& scan, std::size_t i, Reading* of) { return read_range(scan, of->ids[i], of); };
    for (std::size_t i = 0; i < segment_count; ++i) {
      if (!read_segment(segments[i], kId, &reading, read_ids)) return false;
    }
    return true;
  });
  Read found{.events = {}, .is_whole = is_whole};
  found.events.reserve(reading.count);
  for (std::size_t i = 0; i < reading.count; ++i) found.events.push_back(event_of(reading.events[i]));
  return found;
}

// Returns a copy, because waiting for a lock may invalidate the catalog.
std::array<Oid, kAllSegments> segments() {
  const Catalog* const catalog = find_catalog();
  if (catalog == nullptr) throw ExtensionGone();
  return catalog->event_segments;
}

}  // namespace

std::optional<std::vector<IdRange>> read_few_batches(const Window::Ranges& xids, std::size_t batches_max) {
  const auto all = segments();
  std::vector<IdRange> batches(batches_max);
  ReadingBatches reading{.low = xids.low.data(),
                         .high = xids.high.data(),
                         .range_count = xids.low.size(),
                         .batches = batches.data(),
                         .batches_max = batches_max,
                         .count = 0};
  const bool is_whole = guarded([&reading, &all] {
    const auto read_xids = [](const Scan& scan, std::size_t i, ReadingBatches* of) {
      return read_batches(scan, of->low[i], of->high[i], of);
    };
    for (const Oid segment : all) {
      if (!read_segment(segment, kXid, &reading, read_xids)) return false;
    }
    return true;
  });
  if (!is_whole) return std::nullopt;
  batches.resize(reading.count);
  return batches;
}

std::optional<std::vector<Event>> read_few_events(const Window& window, const std::vector<IdRange>& ids,
                                                  std::size_t events_max, std::size_t bytes_max) {
  const auto all = segments();
  Read found = read(all.data(), all.size(), ids, &window, events_max, bytes_max);
  if (!found.is_whole) return std::nullopt;
  return std::move(found.events);
}

std::optional<FoundEvents> read_events(int segment, const std::vector<std::int64_t>& ids, std::size_t bytes_max) {
  const Oid relation = segments().at(static_cast<std::size_t>(segment));
  // One range for consecutive ids, because an index search takes as long as several rows.
  std::vector<IdRange> ranges;
  ranges.reserve(ids.size());
  for (const std::int64_t id : ids) ranges.push_back({id, id + 1});
  // Every id is one of an existing row, so the read is incomplete only because of bytes_max or a missing index.
  Read found = read(&relation, 1, merge(std::move(ranges)), nullptr, ids.size(), bytes_max);
  if (!found.is_whole && found.events.empty()) return std::nullopt;
  return FoundEvents{.events = std::move(found.events), .is_cut = !found.is_whole};
}

}  // namespace webhook::pg
