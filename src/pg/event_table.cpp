#include "pg/event_table.h"

extern "C" {
#include "postgres.h"

#include "access/tupdesc.h"
}

#include <cstring>

namespace webhook::pg {
namespace {

constexpr const char* kNames[kEventColumns] = {"slot",           "known_switch",    "id",  "xid",  "created_at",
                                               "event",          "organization_id", "key", "data", "previous",
                                               "oversized_bytes"};

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

}  // namespace webhook::pg
