#include "pg/bulk_insert.h"

extern "C" {
#include "postgres.h"

#include "access/brin_internal.h"
#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/primnodes.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/relcache.h"
}

#include <algorithm>
#include <optional>

namespace webhook::pg {
namespace {

// Whether the row is the first or the last of a page.
bool is_at_an_edge(TupleTableSlot** slots, std::size_t count, std::size_t i) {
  const auto page = [slots](std::size_t row) { return ItemPointerGetBlockNumber(&slots[row]->tts_tid); };
  return i == 0 || i + 1 == count || page(i - 1) != page(i) || page(i + 1) != page(i);
}

// --- Simple indexes --------------------------------------------------------------------------------------------------

// What the executor prepares takes longer than one entry. A simple index needs none of it. It is of columns alone, and
// either a B-tree that allows duplicates, or the BRIN index that bulk_insert() describes.
struct SimpleIndex {
  Relation relation;
  IndexInfo* info;
  int not_null;  // only rows in which this column is not null; 0: all rows
  bool needs_edges_only;
};

bool is_of_columns(const FormData_pg_index* form) {
  return std::all_of(form->indkey.values, form->indkey.values + form->indnatts,
                     [](AttrNumber column) { return column > 0; });
}

// Whether it stores the lowest and the highest value of this column, and nothing else, per page.
bool is_minmax(Relation index, int column) {
  const Form_pg_index form = index->rd_index;
  return column > 0 && index->rd_rel->relam == BRIN_AM_OID && form->indnatts == 1 && form->indkey.values[0] == column &&
         index_getprocid(index, 1, BRIN_PROCNUM_OPCINFO) == F_BRIN_MINMAX_OPCINFO;
}

// nullopt: the executor must make the entries.
std::optional<SimpleIndex> as_simple(Relation index, int ascending) {
  const Form_pg_index form = index->rd_index;
  const bool needs_edges_only = is_minmax(index, ascending);
  if (index->rd_rel->relam != BTREE_AM_OID && !needs_edges_only) return std::nullopt;
  if (form->indisunique || form->indisexclusion || !form->indisready || !is_of_columns(form)) return std::nullopt;
  const std::optional<int> not_null = column_not_null(index);
  if (!not_null || (needs_edges_only && *not_null > 0)) return std::nullopt;
  return SimpleIndex{
      .relation = index, .info = BuildIndexInfo(index), .not_null = *not_null, .needs_edges_only = needs_edges_only};
}

void insert_entry(const SimpleIndex& index, Relation table, TupleTableSlot* slot) {
  const auto is_null = [slot](AttrNumber column) { return slot->tts_isnull[column - 1]; };
  if (index.not_null > 0 && is_null(index.not_null)) return;
  Datum values[INDEX_MAX_KEYS];
  bool nulls[INDEX_MAX_KEYS];
  const Form_pg_index form = index.relation->rd_index;
  for (int i = 0; i < form->indnatts; ++i) {
    const AttrNumber column = form->indkey.values[i];
    values[i] = slot->tts_values[column - 1];
    nulls[i] = is_null(column);
  }
  index_insert(index.relation, values, nulls, &slot->tts_tid, table, UNIQUE_CHECK_NO, false, index.info);
}

// The open simple indexes of a table.
struct SimpleIndexes {
  SimpleIndex* indexes;
  int count;
  bool are_all;  // the table has no others
};

SimpleIndexes open_simple_indexes(Relation table, int ascending) {
  List* const all = RelationGetIndexList(table);
  SimpleIndexes simple{.indexes = nullptr, .count = 0, .are_all = true};
  if (all == NIL) return simple;
  simple.indexes = static_cast<SimpleIndex*>(palloc(sizeof(SimpleIndex) * static_cast<std::size_t>(list_length(all))));
  ListCell* cell;
  foreach (cell, all) {
    Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
    if (const std::optional<SimpleIndex> found = as_simple(index, ascending)) {
      simple.indexes[simple.count++] = *found;
    } else {
      simple.are_all = false;
      index_close(index, NoLock);
    }
  }
  return simple;
}

void close(const SimpleIndexes& simple) {
  for (int i = 0; i < simple.count; ++i) {
#if PG_VERSION_NUM >= 170000
    index_insert_cleanup(simple.indexes[i].relation, simple.indexes[i].info);
#endif
    index_close(simple.indexes[i].relation, NoLock);
  }
}

// --- Other indexes, and constraints ----------------------------------------------------------------------------------

struct Executor {
  EState* state = nullptr;  // nullptr: not needed
  ResultRelInfo* target = nullptr;
  Relation* opened = nullptr;  // all indexes; nullptr: none has been opened
};

Executor start_executor(Relation table) {
  Executor executor{.state = CreateExecutorState(), .target = makeNode(ResultRelInfo), .opened = nullptr};
  InitResultRelInfo(executor.target, table, 0, nullptr, 0);  // 0: error messages have no range table to read
  return executor;
}

// ExecInsertIndexTuples() skips an index that is null, as the simple ones are until close_other_indexes().
void open_other_indexes(Executor* executor, const SimpleIndexes& simple) {
  ExecOpenIndices(executor->target, false);
  Relation* const indexes = executor->target->ri_IndexRelationDescs;
  const auto count = static_cast<std::size_t>(executor->target->ri_NumIndices);
  executor->opened = static_cast<Relation*>(palloc(sizeof(Relation) * count));
  std::copy(indexes, indexes + count, executor->opened);
  std::replace_if(
      indexes, indexes + count,
      [&simple](Relation index) {
        return std::any_of(simple.indexes, simple.indexes + simple.count, [index](const SimpleIndex& each) {
          return RelationGetRelid(each.relation) == RelationGetRelid(index);
        });
      },
      nullptr);
}

void close_other_indexes(const Executor& executor) {
  std::copy(executor.opened, executor.opened + executor.target->ri_NumIndices, executor.target->ri_IndexRelationDescs);
  ExecCloseIndices(executor.target);
}

void insert_other_entries(const Executor& executor, TupleTableSlot* slot) {
  // Constraints that an administrator has deferred are not checked. The returned list names them.
#if PG_VERSION_NUM >= 160000
  list_free(ExecInsertIndexTuples(executor.target, slot, executor.state, false, false, nullptr, NIL, false));
#else
  list_free(ExecInsertIndexTuples(executor.target, slot, executor.state, false, false, nullptr, NIL));
#endif
  ResetPerTupleExprContext(executor.state);
}

void check_constraints(const Executor& executor, TupleTableSlot** slots, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    ExecConstraints(executor.target, slots[i], executor.state);
  }
}

void insert_tuples(Relation table, TupleTableSlot** slots, std::size_t count) {
  if (count == 1) {
    table_tuple_insert(table, slots[0], GetCurrentCommandId(true), 0, nullptr);
  } else {
    table_multi_insert(table, slots, static_cast<int>(count), GetCurrentCommandId(true), 0, nullptr);
  }
}

}  // namespace

std::optional<int> column_not_null(Relation index) {
  List* const predicate = RelationGetIndexPredicate(index);
  if (predicate == NIL) return 0;
  if (list_length(predicate) != 1 || !IsA(linitial(predicate), NullTest)) return std::nullopt;
  const auto* test = static_cast<const NullTest*>(linitial(predicate));
  const auto* tested = reinterpret_cast<const Var*>(test->arg);
  if (test->nulltesttype != IS_NOT_NULL || test->argisrow || !IsA(tested, Var) || tested->varattno <= 0) {
    return std::nullopt;
  }
  return tested->varattno;
}

void bulk_insert(Relation table, TupleTableSlot** slots, std::size_t count, Constraints constraints, int ascending) {
  const bool has_constraints = constraints == Constraints::kChecked && RelationGetDescr(table)->constr != nullptr;
  const SimpleIndexes simple = open_simple_indexes(table, ascending);
  Executor executor;
  if (has_constraints || !simple.are_all) executor = start_executor(table);
  if (!simple.are_all) open_other_indexes(&executor, simple);
  if (has_constraints) check_constraints(executor, slots, count);
  insert_tuples(table, slots, count);
  for (std::size_t i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    for (int n = 0; n < simple.count; ++n) {
      const SimpleIndex& index = simple.indexes[n];
      if (!index.needs_edges_only || is_at_an_edge(slots, count, i)) insert_entry(index, table, slots[i]);
    }
    if (!simple.are_all) insert_other_entries(executor, slots[i]);
  }
  close(simple);
  if (!simple.are_all) close_other_indexes(executor);
  if (executor.state != nullptr) FreeExecutorState(executor.state);
}

}  // namespace webhook::pg
