#include "pg/bulk_insert.h"

extern "C" {
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"
}

namespace webhook::pg {
namespace {

void insert_index_entries(ResultRelInfo* target, TupleTableSlot* slot, EState* state) {
  // Constraints that an administrator has deferred are not checked: the list that comes back is of those.
#if PG_VERSION_NUM >= 160000
  list_free(ExecInsertIndexTuples(target, slot, state, false, false, nullptr, NIL, false));
#else
  list_free(ExecInsertIndexTuples(target, slot, state, false, false, nullptr, NIL));
#endif
  ResetPerTupleExprContext(state);
}

}  // namespace

void bulk_insert(Relation table, TupleTableSlot** slots, std::size_t count, Constraints constraints) {
  EState* state = CreateExecutorState();
  ResultRelInfo* target = makeNode(ResultRelInfo);
  InitResultRelInfo(target, table, 0, nullptr, 0);  // of no range table, to which an error message would look
  ExecOpenIndices(target, false);
  if (constraints == Constraints::kChecked && RelationGetDescr(table)->constr != nullptr) {
    for (std::size_t i = 0; i < count; ++i) ExecConstraints(target, slots[i], state);
  }
  table_multi_insert(table, slots, static_cast<int>(count), GetCurrentCommandId(true), 0, nullptr);
  for (std::size_t i = 0; i < count; ++i) insert_index_entries(target, slots[i], state);
  ExecCloseIndices(target);
  FreeExecutorState(state);
}

}  // namespace webhook::pg
