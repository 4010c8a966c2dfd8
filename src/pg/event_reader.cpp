#include "pg/event_reader.h"

extern "C" {
#include "postgres.h"

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

#include <string>
#include <string_view>

#include "pg/catalog.h"
#include "pg/encoding.h"
#include "pg/event_table.h"
#include "pg/guard.h"
#include "pg/store.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

// A row, its texts in the database's encoding and in the Transaction's memory; null is null.
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
  int16 slot;
};

struct Reading {
  const FullXid* low;
  const FullXid* high;
  std::size_t ranges;
  RawEvent* events;  // room for events_max
  std::size_t events_max;
  std::size_t count;
};

// The segment's index with xid as its first column, to be closed by whoever gets it.
Relation open_xid_index(Relation segment, AttrNumber xid) {
  List* const indexes = RelationGetIndexList(segment);
  ListCell* cell;
  foreach (cell, indexes) {
    Relation index = index_open(lfirst_oid(cell), AccessShareLock);
    const Form_pg_index form = index->rd_index;
    if (form->indisvalid && form->indkey.values[0] == xid && index->rd_rel->relam == BTREE_AM_OID &&
        RelationGetIndexPredicate(index) == NIL) {
      return index;
    }
    index_close(index, AccessShareLock);
  }
  return nullptr;
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
          .slot = DatumGetInt16(value(kSlot))};
}

// False: there is more than there is room for.
bool read_range(IndexScanDesc scan, TupleTableSlot* slot, const int* places, FullXid low, FullXid high,
                Reading* reading) {
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_XID8GE, UInt64GetDatum(low));
  ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, F_XID8LT, UInt64GetDatum(high));
  index_rescan(scan, keys, 2, nullptr, 0);
  while (index_getnext_slot(scan, ForwardScanDirection, slot)) {
    if (reading->count == reading->events_max) return false;
    reading->events[reading->count++] = copy_row(slot, places);
  }
  return true;
}

// False: there is more than there is room for, or no index.
bool read_segment(Oid relation, Reading* reading) {
  Relation segment = table_open(relation, AccessShareLock);
  bool is_read = true;
  if (RelationGetNumberOfBlocks(segment) > 0) {
    int places[kEventColumns];
    find_event_columns(RelationGetDescr(segment), RelationGetRelationName(segment), places);
    Relation index = open_xid_index(segment, static_cast<AttrNumber>(places[kXid] + 1));
    is_read = index != nullptr;
    if (index != nullptr) {
      TupleTableSlot* slot = table_slot_create(segment, nullptr);
#if PG_VERSION_NUM >= 180000
      IndexScanDesc scan = index_beginscan(segment, index, GetActiveSnapshot(), nullptr, 2, 0);
#else
      IndexScanDesc scan = index_beginscan(segment, index, GetActiveSnapshot(), 2, 0);
#endif
      for (std::size_t i = 0; is_read && i < reading->ranges; ++i) {
        CHECK_FOR_INTERRUPTS();
        is_read = read_range(scan, slot, places, reading->low[i], reading->high[i], reading);
      }
      index_endscan(scan);
      ExecDropSingleTupleTableSlot(slot);
      index_close(index, NoLock);
    }
  }
  table_close(segment, NoLock);
  return is_read;
}

std::string_view view_of(const varlena* text) {
  return {VARDATA_ANY(text), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(text))};
}

std::string text_of(const varlena* text) { return text == nullptr ? std::string() : to_utf8(view_of(text)); }

std::optional<std::string> optional_text_of(const varlena* text) {
  if (text == nullptr) return std::nullopt;
  return to_utf8(view_of(text));
}

Event event_of(const RawEvent& raw) {
  return {.id = raw.id,
          .slot = raw.slot,
          .xid = raw.xid,
          .created_at = from_timestamptz(raw.created_at),
          .name = text_of(raw.event),
          .organization_id = optional_text_of(raw.organization_id),
          .key = optional_text_of(raw.key),
          .data = text_of(raw.data),
          .previous = text_of(raw.previous),
          .oversized_bytes = raw.oversized_bytes};
}

}  // namespace

std::optional<std::vector<Event>> read_few_events(const Window::Ranges& ranges, std::size_t events_max) {
  const Catalog* const catalog = find_catalog();
  if (catalog == nullptr) throw ExtensionGone();
  // A lock that is waited for may bring an invalidation of the catalog.
  const auto segments = catalog->event_segments;
  Reading reading{.low = ranges.low.data(),
                  .high = ranges.high.data(),
                  .ranges = ranges.low.size(),
                  .events = nullptr,
                  .events_max = events_max,
                  .count = 0};
  const bool is_read = guarded([&reading, &segments] {
    reading.events = static_cast<RawEvent*>(palloc(sizeof(RawEvent) * reading.events_max));
    for (const Oid segment : segments) {
      if (!read_segment(segment, &reading)) return false;
    }
    return true;
  });
  if (!is_read) return std::nullopt;
  std::vector<Event> events;
  events.reserve(reading.count);
  for (std::size_t i = 0; i < reading.count; ++i) events.push_back(event_of(reading.events[i]));
  return events;
}

}  // namespace webhook::pg
