#include "pg/rings.h"

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <string_view>

#include "pg/encoding.h"

namespace webhook::pg {

int read_ring(Oid rings, const char* name) {
  Relation table = table_open(rings, NoLock);
  TupleDesc const shape = RelationGetDescr(table);
  const AttrNumber ring = get_attnum(rings, "ring");
  const AttrNumber slot = get_attnum(rings, "slot");
  Snapshot const snapshot = RegisterSnapshot(GetLatestSnapshot());
  SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, nullptr);
  int found = -1;
  for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));) {
    bool is_null;
    if (view_of(DatumGetTextPP(heap_getattr(tuple, ring, shape, &is_null))) != std::string_view(name)) continue;
    found = DatumGetInt16(heap_getattr(tuple, slot, shape, &is_null));
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  table_close(table, NoLock);
  return found;
}

}  // namespace webhook::pg
