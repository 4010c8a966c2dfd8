#include "pg/capture/event_writer.h"

extern "C" {
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"
}

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "pg/bulk_insert.h"
#include "pg/catalog.h"
#include "pg/encoding.h"
#include "pg/event_table.h"
#include "pg/guard.h"
#include "pg/rings.h"
#include "pg/server/event_ids.h"
#include "pg/server/organization_shares.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

// How many ids one nextval of webhook_events_id_seq stands for: its INCREMENT.
constexpr std::int64_t kIdsPerBlock = 1'000'000;

// Only administrators lock what capture needs, and usually only for an instant.
constexpr int kLockAttempts = 100;
constexpr long kLockPause_us = 1000;

struct EventValues {
  Datum values[kEventColumns];
  bool nulls[kEventColumns];
};

Datum text_datum(std::string_view text) {
  return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
}

void set_text(EventValues* row, EventColumn column, const std::optional<std::string_view>& text) {
  row->nulls[column] = !text.has_value();
  row->values[column] = text ? text_datum(*text) : 0;
}

// JSON in which every byte is valid text in the database's encoding, or in UTF-8 if that is SQL_ASCII. An invalid byte
// can come from the type "char", or from any text in SQL_ASCII. It can only be inside a string, and becomes an escaped
// U+FFFD.
Datum json_datum(std::string_view json) {
  const int encoding = GetDatabaseEncoding() == PG_SQL_ASCII ? PG_UTF8 : GetDatabaseEncoding();
  auto valid_bytes = [encoding](std::string_view text) {
    return static_cast<std::size_t>(pg_encoding_verifymbstr(encoding, text.data(), static_cast<int>(text.size())));
  };
  std::size_t valid = valid_bytes(json);
  if (valid == json.size()) return text_datum(json);

  StringInfoData repaired;
  initStringInfo(&repaired);
  for (; valid < json.size(); valid = valid_bytes(json)) {
    appendBinaryStringInfo(&repaired, json.data(), static_cast<int>(valid));
    appendStringInfoString(&repaired, "\\ufffd");
    json.remove_prefix(valid + 1);
  }
  appendBinaryStringInfo(&repaired, json.data(), static_cast<int>(json.size()));
  return text_datum({repaired.data, static_cast<std::size_t>(repaired.len)});
}

// Fills all columns except slot and id. The event is not the first of a batch.
void fill_row(EventValues* row, const BufferedEvent& event, FullTransactionId xid) {
  std::memset(row, 0, sizeof *row);
  row->values[kKnownSwitch] = Int32GetDatum(event.known_switch);
  row->values[kXid] = FullTransactionIdGetDatum(xid);
  row->values[kCreatedAt] = TimestampTzGetDatum(to_timestamptz(event.created_at));
  set_text(row, kEvent, event.name);
  set_text(row, kOrganizationId, event.organization_id);
  set_text(row, kKey, event.key);
  const bool is_oversized = event.oversized_bytes > 0;
  row->nulls[kData] = is_oversized;
  if (!is_oversized) row->values[kData] = json_datum(event.data);
  row->nulls[kPrevious] = event.previous.empty();
  if (!event.previous.empty()) row->values[kPrevious] = json_datum(event.previous);
  row->nulls[kOversizedBytes] = !is_oversized;
  row->values[kOversizedBytes] = Int64GetDatum(event.oversized_bytes);
  row->nulls[kAppliedAt] = !event.applied_at;
  if (event.applied_at) row->values[kAppliedAt] = TimestampTzGetDatum(to_timestamptz(*event.applied_at));
  row->nulls[kBackfill] = !event.is_backfill;
  row->values[kBackfill] = BoolGetDatum(event.is_backfill);
  row->nulls[kIdCount] = true;
}

// --- Ids -------------------------------------------------------------------------------------------------------------

// Draws a block from the sequence, even in a transaction that has become read-only.
IdRange draw_block(Oid sequence) {
  const bool was_read_only = XactReadOnly;
  IdRange block;
  PG_TRY();
  {
    XactReadOnly = false;
    block.first = nextval_internal(sequence, false);
    block.limit = block.first + kIdsPerBlock;
  }
  PG_FINALLY();
  { XactReadOnly = was_read_only; }
  PG_END_TRY();
  return block;
}

// Gives each buffered event its id, including events that outer subtransactions captured earlier and write later.
void assign_batch_ids(EventBuffer* buffer, Oid sequence) {
  auto missing = static_cast<std::int64_t>(buffer->count_without_id());
  if (missing == 0) return;  // it received them, or they were early
  IdRange ids = take_ids(sequence, missing);
  for (; missing > 0; --missing) {
    if (ids.empty()) {
      ids = draw_block(sequence);
      // Published at once, so that later draws get higher ids than these events.
      const IdRange rest{ids.first + missing, ids.limit};
      publish_ids(sequence, rest);
    }
    buffer->give_id(ids.first++);
  }
}

// Whether the events of the transaction, which is about to commit, are announced by their ids. If some have an id
// already, they are a batch.
bool announce_ids(EventBuffer* buffer, SubtransactionId sub, Oid sequence) {
  const std::size_t count = buffer->count_of(sub);
  if (buffer->count_without_id() != count) return false;
  std::optional<IdRange> ids = take_announced_ids(sequence, static_cast<std::int64_t>(count));
  if (!ids) return false;
  while (!ids->empty()) buffer->give_id(ids->first++);
  return true;
}

// Returns whether the ids are announced.
bool assign_ids(EventBuffer* buffer, SubtransactionId sub, Oid sequence, Flush flush) {
  static Oid drawn_from = InvalidOid;
  // The extension may have been dropped and created again.
  if (OidIsValid(drawn_from) && drawn_from != sequence) buffer->forget_ids();
  drawn_from = sequence;
  if (flush == Flush::kAtCommit && announce_ids(buffer, sub, sequence)) return true;
  assign_batch_ids(buffer, sequence);
  return false;
}

// The batches among the rows of one flush. A run of consecutive ids is a batch in each ring that it is in, because a
// segment's rows are looked for without those of other segments. The first row of a batch has the number of ids from its
// own to that of the last; those between may be in the other ring.
class Batches {
 public:
  // Rows come in the order of their ids. part: the ring.
  void add(EventValues* row, int part, std::int64_t id) {
    if (id != next_id_) first_[0] = first_[1] = nullptr;
    next_id_ = id + 1;
    if (first_[part] == nullptr) first_[part] = row;
    EventValues* const first = first_[part];
    first->values[kIdCount] = Int32GetDatum(static_cast<std::int32_t>(next_id_ - DatumGetInt64(first->values[kId])));
    first->nulls[kIdCount] = false;
  }

 private:
  EventValues* first_[2] = {};
  std::int64_t next_id_ = 0;
};

// --- The segment -----------------------------------------------------------------------------------------------------

// Takes the lock. Waits in the lock's queue only after many tries without waiting have failed.
void lock_soon(Oid relation, LOCKMODE mode) {
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    if (ConditionalLockRelationOid(relation, mode)) return;
    CHECK_FOR_INTERRUPTS();
    pg_usleep(kLockPause_us);
  }
  LockRelationOid(relation, mode);
}

int read_event_ring(Oid rings, bool excess) {
  lock_soon(rings, AccessShareLock);
  const int found = read_ring(rings, excess ? "excess_events" : "events");
  UnlockRelationOid(rings, AccessShareLock);
  if (found < 0 || found >= kAllSegments || is_excess_segment(found) != excess) {
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("table \"webhook_rings\" does not name the current segment of webhook_events"),
                    errhint("Drop the extension \"webhook\" and create it again.")));
  }
  return found;
}

int current_segment(const Catalog& catalog, bool excess) {
  const std::optional<int> shared = current_event_segment(catalog.event_sequence, excess);
  return shared ? *shared : read_event_ring(catalog.rings, excess);
}

struct Target {
  Oid relation = InvalidOid;  // invalid: the extension is gone
  Oid sequence = InvalidOid;
  int segment = 0;  // its number
};

// Locks the current segment. If it is locked or somebody waits for such a lock, locks the newest free segment before it
// in its ring, except the one after the current one, which the worker empties. nullopt if none is free.
std::optional<int> lock_free_segment(const Catalog& catalog, int current) {
  for (int segment = current; segment != next_segment(current); segment = previous_segment(segment)) {
    if (ConditionalLockRelationOid(catalog.event_segments[static_cast<std::size_t>(segment)], RowExclusiveLock)) {
      return segment;
    }
  }
  return std::nullopt;
}

// The same, but always succeeds in the end. Only if an administrator keeps all segments locked for long does the
// transaction wait in the lock's queue, where deadlocks are detected.
int lock_segment(const Catalog& catalog, int current) {
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    if (const std::optional<int> segment = lock_free_segment(catalog, current)) return *segment;
    CHECK_FOR_INTERRUPTS();
    pg_usleep(kLockPause_us);
  }
  LockRelationOid(catalog.event_segments[static_cast<std::size_t>(current)], RowExclusiveLock);
  return current;
}

// Locks a segment until the end of the transaction, for rows within or beyond their organization's share. The worker
// empties only the segment after the current one. If the current segment is the same before and after locking, the
// locked segment was not emptied in between, and the lock keeps the worker from emptying it now.
Target lock_some_segment(bool excess) {
  for (;;) {
    const Catalog* catalog = find_catalog();
    if (catalog == nullptr) return {};
    Catalog const before = *catalog;
    const int current = current_segment(before, excess);
    const int segment = lock_segment(before, current);
    const Oid relation = before.event_segments[static_cast<std::size_t>(segment)];
    catalog = find_catalog();
    if (catalog == nullptr) return {};
    if (catalog->event_segments == before.event_segments && current_segment(*catalog, excess) == current) {
      return {.relation = relation, .sequence = catalog->event_sequence, .segment = segment};
    }
    UnlockRelationOid(relation, RowExclusiveLock);
    CHECK_FOR_INTERRUPTS();
  }
}

// --- The rows --------------------------------------------------------------------------------------------------------

TupleTableSlot** make_slots(Relation segment, const EventValues* rows, std::size_t count) {
  TupleDesc const shape = RelationGetDescr(segment);
  int places[kEventColumns];
  find_event_columns(shape, RelationGetRelationName(segment), places);
  // A copy of the descriptor has no reference count that each slot would have to track.
  TupleDesc const slots_shape = count > 1 ? CreateTupleDescCopy(shape) : shape;
  auto** slots = static_cast<TupleTableSlot**>(palloc(sizeof(TupleTableSlot*) * count));
  for (std::size_t i = 0; i < count; ++i) {
    TupleTableSlot* slot = MakeSingleTupleTableSlot(slots_shape, &TTSOpsVirtual);
    for (int attribute = 0; attribute < shape->natts; ++attribute) slot->tts_isnull[attribute] = true;
    for (int column = 0; column < kEventColumns; ++column) {
      slot->tts_values[places[column]] = rows[i].values[column];
      slot->tts_isnull[places[column]] = rows[i].nulls[column];
    }
    slots[i] = ExecStoreVirtualTuple(slot);
  }
  return slots;
}

void insert_rows(Relation segment, const EventValues* rows, std::size_t count) {
  TupleTableSlot** slots = make_slots(segment, rows, count);
  bulk_insert(segment, slots, count, Constraints::kUnchecked);
  for (std::size_t i = 0; i < count; ++i) ExecDropSingleTupleTableSlot(slots[i]);
}

// What a row takes besides its texts: the tuple and its index entries.
constexpr std::uint64_t kRowBytes = 150;

// Consecutive events of an organization are checked against its share together, up to about this many bytes. So a large
// transaction can fill up a share.
constexpr std::uint64_t kJudgedTogether = 32 * 1024;

// Marks the events that are beyond their organization's share, and returns their number.
std::size_t find_excess(const EventBuffer& buffer, SubtransactionId sub, bool* is_excess) {
  const std::size_t count = buffer.count_of(sub);
  std::size_t found = 0;
  for (std::size_t begin = 0, end = 0; begin < count; begin = end) {
    const std::optional<std::string_view> organization = buffer.event_of(sub, begin).organization_id;
    std::uint64_t bytes = 0;
    for (; end < count && bytes < kJudgedTogether; ++end) {
      const BufferedEvent event = buffer.event_of(sub, end);
      if (event.organization_id != organization) break;
      bytes += kRowBytes + event.name.size() + event.data.size() + event.previous.size();
    }
    // Events without an organization have no share.
    const bool is_beyond = organization && !take_share(Storage::kEvents, *organization, bytes);
    std::fill(is_excess + begin, is_excess + end, is_beyond);
    if (is_beyond) found += end - begin;
  }
  return found;
}

struct Flushed {
  SegmentSet segments;
  IdRange ids;  // from the lowest to the highest
};

Flushed write_own(EventBuffer* buffer, SubtransactionId sub, Flush flush) {
  const std::size_t count = buffer->count_of(sub);
  auto* rows = static_cast<EventValues*>(palloc_extended(sizeof(EventValues) * count, MCXT_ALLOC_HUGE));
  auto* is_excess = static_cast<bool*>(palloc(sizeof(bool) * count));
  const std::size_t excess_count = find_excess(*buffer, sub, is_excess);
  const std::size_t counts[2] = {count - excess_count, excess_count};
  Target targets[2];
  for (int part = 0; part < 2; ++part) {
    if (counts[part] == 0) continue;
    targets[part] = lock_some_segment(part == 1);
    if (!OidIsValid(targets[part].relation)) {
      buffer->discard(sub);
      return {};
    }
  }
  const FullTransactionId xid = GetTopFullTransactionId();
  // Just before a commit there is no snapshot, and an index may need one.
  PushActiveSnapshot(GetTransactionSnapshot());
  const bool are_announced = assign_ids(buffer, sub, targets[counts[0] == 0 ? 1 : 0].sequence, flush);
  Batches batches;
  Flushed flushed{.segments = {}, .ids = {buffer->id_of(sub, 0), buffer->id_of(sub, count - 1) + 1}};
  EventValues* ends[2] = {rows, rows + counts[0]};
  for (std::size_t i = 0; i < count; ++i) {
    const int part = is_excess[i] ? 1 : 0;
    EventValues* row = ends[part]++;
    fill_row(row, buffer->event_of(sub, i), xid);
    row->values[kSlot] = Int16GetDatum(static_cast<int16>(targets[part].segment));
    const std::int64_t id = buffer->id_of(sub, i);
    row->values[kId] = Int64GetDatum(id);
    if (!are_announced) batches.add(row, part, id);
  }
  // Discarded before the rows are written, because an index's function may itself capture events.
  buffer->discard(sub);
  for (int part = 0; part < 2; ++part) {
    if (counts[part] == 0) continue;
    Relation segment = table_open(targets[part].relation, NoLock);
    insert_rows(segment, ends[part] - counts[part], counts[part]);
    table_close(segment, NoLock);
    flushed.segments.set(static_cast<std::size_t>(targets[part].segment));
  }
  PopActiveSnapshot();
  return flushed;
}

}  // namespace

void write_events(EventBuffer& buffer, SubtransactionId sub, Flush flush, WrittenEvents* written) {
  if (buffer.count_of(sub) == 0) return;
  const Flushed flushed = guarded([&] {
    MemoryContext const context = AllocSetContextCreate(CurrentMemoryContext, "webhook events", ALLOCSET_DEFAULT_SIZES);
    MemoryContext const previous = MemoryContextSwitchTo(context);
    const Flushed result = write_own(&buffer, sub, flush);
    MemoryContextSwitchTo(previous);
    MemoryContextDelete(context);
    return result;
  });
  written->segments |= flushed.segments;
  if (flush == Flush::kAtCommit || flushed.segments.none()) return;
  std::vector<IdRange>& early = written->early;
  if (!early.empty() && early.back().limit == flushed.ids.first) {
    early.back().limit = flushed.ids.limit;
  } else {
    early.push_back(flushed.ids);
  }
}

void renew_ids() {
  const Catalog* const catalog = find_catalog();
  if (catalog == nullptr) return;
  guarded([sequence = catalog->event_sequence] { publish_ids(sequence, draw_block(sequence)); });
}

}  // namespace webhook::pg
