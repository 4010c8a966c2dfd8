#include "pg/bulk_insert.h"

extern "C" {
#include "postgres.h"

#include "access/brin_internal.h"
#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/relcache.h"
}

namespace webhook::pg {
namespace {

void insert_index_entries(ResultRelInfo* target, TupleTableSlot* slot, EState* state) {
  // Constraints that an administrator has deferred are not checked. The returned list names them.
#if PG_VERSION_NUM >= 160000
  list_free(ExecInsertIndexTuples(target, slot, state, false, false, nullptr, NIL, false));
#else
  list_free(ExecInsertIndexTuples(target, slot, state, false, false, nullptr, NIL));
#endif
  ResetPerTupleExprContext(state);
}

// The position, among the target's indexes, of an index that stores the lowest and highest value of this column per
// page; −1 if there is none.
int find_minmax_index(const ResultRelInfo* target, int column) {
  for (int i = 0; column > 0 && i < target->ri_NumIndices; ++i) {
    Relation index = target->ri_IndexRelationDescs[i];
    const Form_pg_index form = index->rd_index;
    if (index->rd_rel->relam == BRIN_AM_OID &&
        index_getprocid(index, 1, BRIN_PROCNUM_OPCINFO) == F_BRIN_MINMAX_OPCINFO && form->indnatts == 1 &&
        form->indkey.values[0] == column && RelationGetIndexPredicate(index) == NIL) {
      return i;
    }
  }
  return -1;
}

// Whether the row is the first or the last of a page.
bool is_at_an_edge(TupleTableSlot** slots, std::size_t count, std::size_t i) {
  const auto page = [slots](std::size_t row) { return ItemPointerGetBlockNumber(&slots[row]->tts_tid); };
  return i == 0 || i + 1 == count || page(i - 1) != page(i) || page(i + 1) != page(i);
}

}  // namespace

void bulk_insert(Relation table, TupleTableSlot** slots, std::size_t count, Constraints constraints, int ascending) {
  EState* state = CreateExecutorState();
  ResultRelInfo* target = makeNode(ResultRelInfo);
  InitResultRelInfo(target, table, 0, nullptr, 0);  // 0: error messages have no range table to read
  ExecOpenIndices(target, false);
  if (constraints == Constraints::kChecked && RelationGetDescr(table)->constr != nullptr) {
    for (std::size_t i = 0; i < count; ++i) {
      CHECK_FOR_INTERRUPTS();
      ExecConstraints(target, slots[i], state);
    }
  }
  table_multi_insert(table, slots, static_cast<int>(count), GetCurrentCommandId(true), 0, nullptr);
  const int minmax = find_minmax_index(target, ascending);
  Relation const minmax_index = minmax < 0 ? nullptr : target->ri_IndexRelationDescs[minmax];
  for (std::size_t i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    // ExecInsertIndexTuples() skips an index that is null.
    if (minmax >= 0) target->ri_IndexRelationDescs[minmax] = is_at_an_edge(slots, count, i) ? minmax_index : nullptr;
    insert_index_entries(target, slots[i], state);
  }
  ExecCloseIndices(target);
  FreeExecutorState(state);
}

}  // namespace webhook::pg
