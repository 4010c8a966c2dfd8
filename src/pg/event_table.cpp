#include "pg/event_table.h"

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/tupdesc.h"
#include "catalog/pg_am.h"
#include "utils/rel.h"
#include "utils/relcache.h"
}

#include <cstring>

#include "pg/bulk_insert.h"

namespace webhook::pg {
namespace {

constexpr const char* kNames[kEventColumns] = {
    "slot",     "known_switch",    "id",         "xid",      "created_at", "event", "organization_id", "key", "data",
    "previous", "oversized_bytes", "applied_at", "backfill", "id_count"};

// Whether the index has just the rows that it is to have: those with an id_count if it is on kXid, otherwise all.
bool has_right_rows(Relation index, EventColumn column, const int* places) {
  return column_not_null(index) == (column == kXid ? places[kIdCount] + 1 : 0);
}

}  // namespace

void find_event_columns(TupleDescData* shape, const char* table, int* places) {
  for (int column = 0; column < kEventColumns; ++column) {
    places[column] = -1;
    for (int i = 0; i < shape->natts && places[column] < 0; ++i) {
      // Nearly always found in the first iteration.
      const int candidate = (column + i) % shape->natts;
      const Form_pg_attribute attribute = TupleDescAttr(shape, candidate);
      if (!attribute->attisdropped && std::strcmp(NameStr(attribute->attname), kNames[column]) == 0) {
        places[column] = candidate;
      }
    }
    if (places[column] < 0) {
      ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                      errmsg("column \"%s\" of relation \"%s\" does not exist", kNames[column], table)));
    }
  }
}

Relation open_event_index(Relation segment, EventColumn column, const int* places) {
  List* const indexes = RelationGetIndexList(segment);
  ListCell* cell;
  foreach (cell, indexes) {
    Relation index = index_open(lfirst_oid(cell), AccessShareLock);
    const Form_pg_index form = index->rd_index;
    if (form->indisvalid && form->indkey.values[0] == places[column] + 1 && index->rd_rel->relam == BTREE_AM_OID &&
        has_right_rows(index, column, places)) {
      return index;
    }
    index_close(index, AccessShareLock);
  }
  return nullptr;
}

}  // namespace webhook::pg
