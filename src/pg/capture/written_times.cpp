#include "pg/capture/written_times.h"

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"
}

#include "pg/bulk_insert.h"
#include "pg/catalog.h"
#include "pg/event_table.h"
#include "pg/guard.h"

namespace webhook::pg {
namespace {

struct Shifting {
  ResultRelInfo* target;
  EState* state;
  TupleTableSlot* slot;
  Snapshot snapshot;
  FullTransactionId xid;
  int created_at;  // the column's position, from 0
  int64 shift_us;
};

// The executor's update would check replica identities and fire triggers.
void update_row(const Shifting& shifting, ItemPointer place) {
  Relation const segment = shifting.target->ri_RelationDesc;
#if PG_VERSION_NUM >= 160000
  TU_UpdateIndexes indexes;
  simple_table_tuple_update(segment, place, shifting.slot, shifting.snapshot, &indexes);
  if (indexes == TU_None) return;
  list_free(ExecInsertIndexTuples(shifting.target, shifting.slot, shifting.state, true, false, nullptr, NIL,
                                  indexes == TU_Summarizing));
#else
  bool needs_entries;
  simple_table_tuple_update(segment, place, shifting.slot, shifting.snapshot, &needs_entries);
  if (!needs_entries) return;
  list_free(ExecInsertIndexTuples(shifting.target, shifting.slot, shifting.state, true, false, nullptr, NIL));
#endif
}

void shift_row(const Shifting& shifting, HeapTuple tuple) {
  TupleDesc const shape = RelationGetDescr(shifting.target->ri_RelationDesc);
  int column = shifting.created_at + 1;
  bool is_null;
  Datum shifted =
      TimestampTzGetDatum(DatumGetTimestampTz(heap_getattr(tuple, column, shape, &is_null)) + shifting.shift_us);
  ExecStoreHeapTuple(heap_modify_tuple_by_cols(tuple, shape, 1, &column, &shifted, &is_null), shifting.slot, false);
  update_row(shifting, &tuple->t_self);
  ExecClearTuple(shifting.slot);
}

// Shifts what the transaction has written with ids in the range.
void shift_range(const Shifting& shifting, Oid index, const int* places, const IdRange& ids) {
  Relation const segment = shifting.target->ri_RelationDesc;
  const auto id = static_cast<AttrNumber>(places[kId] + 1);
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], id, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(ids.first));
  ScanKeyInit(&keys[1], id, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(ids.limit));
  SysScanDesc scan = systable_beginscan(segment, index, OidIsValid(index), shifting.snapshot, 2, keys);
  for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));) {
    CHECK_FOR_INTERRUPTS();
    bool is_null;
    const Datum xid = heap_getattr(tuple, places[kXid] + 1, RelationGetDescr(segment), &is_null);
    if (DatumGetUInt64(xid) != U64FromFullTransactionId(shifting.xid)) continue;
    // Not for the scan: it keeps what it allocates.
    MemoryContext const previous = MemoryContextSwitchTo(GetPerTupleMemoryContext(shifting.state));
    shift_row(shifting, tuple);
    MemoryContextSwitchTo(previous);
    ResetPerTupleExprContext(shifting.state);
  }
  systable_endscan(scan);
}

void shift_segment(Oid relation, const std::vector<IdRange>& ids, int64 shift_us) {
  // A segment with rows of this transaction is locked by it. If a savepoint was rolled back, its locks went with its rows.
  if (!ConditionalLockRelationOid(relation, RowExclusiveLock)) return;
  Relation segment = try_table_open(relation, NoLock);
  if (segment == nullptr) return;
  int places[kEventColumns];
  find_event_columns(RelationGetDescr(segment), RelationGetRelationName(segment), places);
  Oid index = InvalidOid;
  if (Relation opened = open_event_index(segment, kId, places)) {
    index = RelationGetRelid(opened);
    index_close(opened, NoLock);
  }
  EState* state = CreateExecutorState();
  ResultRelInfo* target = makeNode(ResultRelInfo);
  InitResultRelInfo(target, segment, 0, nullptr, 0);
  ExecOpenIndices(target, false);
  const Shifting shifting{.target = target,
                          .state = state,
                          .slot = MakeSingleTupleTableSlot(RelationGetDescr(segment), &TTSOpsHeapTuple),
                          .snapshot = GetActiveSnapshot(),
                          .xid = GetTopFullTransactionId(),
                          .created_at = places[kCreatedAt],
                          .shift_us = shift_us};
  for (const IdRange& range : ids) shift_range(shifting, index, places, range);
  ExecDropSingleTupleTableSlot(shifting.slot);
  ExecCloseIndices(target);
  FreeExecutorState(state);
  table_close(segment, NoLock);
}

}  // namespace

void shift_written_times(const WrittenEvents& written, Duration shift) {
  const Catalog* const found = find_catalog();
  if (found == nullptr || written.early.empty()) return;
  const auto relations = found->event_segments;
  guarded([&] {
    CommandCounterIncrement();  // so that the snapshot sees what this transaction has written
    PushActiveSnapshot(GetLatestSnapshot());
    for (std::size_t i = 0; i < written.segments.size(); ++i) {
      if (written.segments.test(i)) shift_segment(relations[i], written.early, shift.count());
    }
    PopActiveSnapshot();
  });
}

void publish_shift(const WrittenEvents& written, Duration shift) {
  if (find_catalog() == nullptr) return;
  guarded([&] {
    const Oid schema = get_namespace_oid("webhook_internal", true);
    const Oid shifts = OidIsValid(schema) ? get_relname_relid("shifted_events", schema) : InvalidOid;
    // Before version 1.1 there is no such table. Who has locked it keeps nodes from learning the times.
    if (!OidIsValid(shifts) || !ConditionalLockRelationOid(shifts, RowExclusiveLock)) return;
    Relation table = try_table_open(shifts, NoLock);
    if (table == nullptr) return;
    PushActiveSnapshot(GetLatestSnapshot());
    for (const IdRange& ids : written.early) {
      TupleTableSlot* slot = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsVirtual);
      const int64 values[] = {ids.first, ids.limit, shift.count()};
      for (int i = 0; i < slot->tts_tupleDescriptor->natts; ++i) {
        slot->tts_isnull[i] = i >= 3;
        slot->tts_values[i] = i < 3 ? Int64GetDatum(values[i]) : 0;
      }
      ExecStoreVirtualTuple(slot);
      bulk_insert(table, &slot, 1, Constraints::kChecked);
      ExecDropSingleTupleTableSlot(slot);
    }
    PopActiveSnapshot();
    table_close(table, NoLock);
  });
}

}  // namespace webhook::pg
