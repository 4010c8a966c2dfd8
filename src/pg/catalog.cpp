#include "pg/catalog.h"

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include <algorithm>

#include "pg/guard.h"

namespace webhook::pg {
namespace {

Catalog cached;
bool cached_is_valid = false;

Oid relation_named(const char* name, Oid schema) {
  const Oid relation = get_relname_relid(name, schema);
  if (!OidIsValid(relation)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                    errmsg("table or sequence \"%s\" of the extension \"webhook\" is missing", name),
                    errhint("Restore it, or drop the extension and create it again.")));
  }
  return relation;
}

// Reads pg_extension. Returns false if the extension is not installed.
bool find_extension(Catalog* catalog) {
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("webhook"));
  Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(extensions, ExtensionNameIndexId, true, nullptr, 1, &key);
  HeapTuple tuple = systable_getnext(scan);
  const bool found = HeapTupleIsValid(tuple);
  if (found) {
    auto* row = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple));
    catalog->extension = row->oid;
    catalog->schema = row->extnamespace;
  }
  systable_endscan(scan);
  table_close(extensions, AccessShareLock);
  return found;
}

bool look_up(Catalog* catalog) {
  if (!find_extension(catalog)) return false;
  catalog->configurations = relation_named("webhook_configurations", catalog->schema);
  catalog->changes = relation_named("webhook_changes", catalog->schema);
  catalog->rings = relation_named("webhook_rings", catalog->schema);
  catalog->event_sequence = relation_named("webhook_events_id_seq", catalog->schema);
  catalog->switch_sequence = relation_named("webhook_switches_seq", catalog->schema);
  catalog->switch_index = relation_named("webhook_configurations_last_switch_idx", catalog->schema);
  for (int segment = 0; segment < kAllSegments; ++segment) {
    char name[NAMEDATALEN];
    snprintf(name, sizeof name, "webhook_events_%d", segment);
    catalog->event_segments[static_cast<std::size_t>(segment)] = relation_named(name, catalog->schema);
  }
  return true;
}

}  // namespace

const Catalog* find_catalog() {
  if (cached_is_valid) return &cached;
  // Set first: an invalidation that arrives during the lookup clears it, and the next call looks up again.
  cached_is_valid = true;
  bool installed = false;
  try {
    installed = guarded([] { return look_up(&cached); });
  } catch (...) {
    cached_is_valid = false;
    throw;
  }
  if (!installed) {
    cached_is_valid = false;
    return nullptr;
  }
  return &cached;
}

void invalidate_catalog(std::uint32_t relation) noexcept {
  if (!OidIsValid(relation) || relation == cached.configurations || relation == cached.rings ||
      relation == cached.event_sequence || relation == cached.switch_sequence || relation == cached.switch_index ||
      std::ranges::find(cached.event_segments, relation) != cached.event_segments.end()) {
    cached_is_valid = false;
  }
}

}  // namespace webhook::pg
