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

// A range of ids or xids, from low to below high.
struct Range {
  std::uint64_t low;
  std::uint64_t high;
};

// The rows to find: those with this column, kId or kXid, in one of the ranges.
struct Wanted {
  EventColumn column;
  const Range* ranges;
  std::size_t count;
};

struct Reading {
  Wanted wanted;
  RawEvent* events;  // room for events_max
  std::size_t events_max;
  std::size_t bytes_max;  // limit on the expanded texts; the first event is returned in any case
  std::size_t count;
  std::size_t bytes;
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

constexpr int kKeys = 2;

void seek(IndexScanDesc scan, const Wanted& wanted, std::size_t i) {
  const bool by_id = wanted.column == kId;
  ScanKeyData keys[kKeys];
  ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, by_id ? F_INT8GE : F_XID8GE,
              UInt64GetDatum(wanted.ranges[i].low));
  ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, by_id ? F_INT8LT : F_XID8LT, UInt64GetDatum(wanted.ranges[i].high));
  index_rescan(scan, keys, kKeys, nullptr, 0);
}

// Returns false if there is no room for more.
bool read_next(IndexScanDesc scan, TupleTableSlot* slot, const int* places, Reading* reading) {
  while (index_getnext_slot(scan, ForwardScanDirection, slot)) {
    if (reading->count == reading->events_max) return false;
    reading->bytes += expanded_bytes(slot, places);
    if (reading->count > 0 && reading->bytes > reading->bytes_max) return false;
    reading->events[reading->count++] = copy_row(slot, places);
  }
  return true;
}

// Returns false if there is no room for more, or no index.
bool read_segment(Oid relation, Reading* reading) {
  Relation segment = table_open(relation, AccessShareLock);
  bool is_read = true;
  if (RelationGetNumberOfBlocks(segment) > 0) {
    int places[kEventColumns];
    find_event_columns(RelationGetDescr(segment), RelationGetRelationName(segment), places);
    Relation index = open_event_index(segment, reading->wanted.column, places);
    is_read = index != nullptr;
    if (index != nullptr) {
      TupleTableSlot* slot = table_slot_create(segment, nullptr);
#if PG_VERSION_NUM >= 180000
      IndexScanDesc scan = index_beginscan(segment, index, GetActiveSnapshot(), nullptr, kKeys, 0);
#else
      IndexScanDesc scan = index_beginscan(segment, index, GetActiveSnapshot(), kKeys, 0);
#endif
      for (std::size_t i = 0; is_read && i < reading->wanted.count; ++i) {
        CHECK_FOR_INTERRUPTS();
        seek(scan, reading->wanted, i);
        is_read = read_next(scan, slot, places, reading);
      }
      index_endscan(scan);
      ExecDropSingleTupleTableSlot(slot);
      index_close(index, NoLock);
    }
  }
  table_close(segment, NoLock);
  return is_read;
}

std::string text_of(const varlena* text) { return text == nullptr ? std::string() : to_utf8(view_of(text)); }

std::optional<std::string> optional_text_of(const varlena* text) {
  if (text == nullptr) return std::nullopt;
  return to_utf8(view_of(text));
}

Event event_of(const RawEvent& raw) {
  return {.id = raw.id,
          .segment = raw.segment,
          .known_switch = raw.known_switch,
          .xid = raw.xid,
          .created_at = from_timestamptz(raw.created_at),
          .applied_at = raw.applied_at ? from_timestamptz(*raw.applied_at) : Time{},
          .name = text_of(raw.event),
          .organization_id = optional_text_of(raw.organization_id),
          .key = optional_text_of(raw.key),
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
Read read(const Oid* segments, std::size_t segment_count, const Wanted& wanted, std::size_t events_max,
          std::size_t bytes_max) {
  Reading reading{
      .wanted = wanted, .events = nullptr, .events_max = events_max, .bytes_max = bytes_max, .count = 0, .bytes = 0};
  const bool is_whole = guarded([&reading, segments, segment_count] {
    reading.events = static_cast<RawEvent*>(palloc(sizeof(RawEvent) * reading.events_max));
    for (std::size_t i = 0; i < segment_count; ++i) {
      if (!read_segment(segments[i], &reading)) return false;
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

std::optional<std::vector<Event>> read_few_events(const Window::Ranges& ranges, std::size_t events_max,
                                                  std::size_t bytes_max) {
  const auto all = segments();
  std::vector<Range> xids;
  for (std::size_t i = 0; i < ranges.low.size(); ++i) xids.push_back({ranges.low[i], ranges.high[i]});
  Read found = read(all.data(), all.size(), {kXid, xids.data(), xids.size()}, events_max, bytes_max);
  if (!found.is_whole) return std::nullopt;
  return std::move(found.events);
}

std::optional<FoundEvents> read_events(int segment, const std::vector<std::int64_t>& ids, std::size_t bytes_max) {
  const Oid relation = segments().at(static_cast<std::size_t>(segment));
  std::vector<Range> ranges;  // one range for consecutive ids, because an index search takes as long as several rows
  for (const std::int64_t id : ids) {
    const auto low = static_cast<std::uint64_t>(id);
    if (ranges.empty() || ranges.back().high != low) ranges.push_back({low, low});
    ranges.back().high = low + 1;
  }
  // Every id is one of an existing row, so the read is incomplete only because of bytes_max or a missing index.
  Read found = read(&relation, 1, {kId, ranges.data(), ranges.size()}, ids.size(), bytes_max);
  if (!found.is_whole && found.events.empty()) return std::nullopt;
  return FoundEvents{.events = std::move(found.events), .is_cut = !found.is_whole};
}

}  // namespace webhook::pg
