#include "pg/capture/webhook_limit.h"

extern "C" {
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
}

#include "pg/catalog.h"
#include "pg/guard.h"
#include "pg/keyed_lock.h"

namespace webhook::pg {
namespace {

// Uses the index on (organization_id, name).
std::int64_t count_webhooks(Oid table, std::string_view organization_id) {
  const char* const sql =
      psprintf("SELECT pg_catalog.count(*) FROM %s WHERE organization_id OPERATOR(pg_catalog.=) $1",
               quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), get_rel_name(table)));
  Oid type = TEXTOID;
  Datum value =
      PointerGetDatum(cstring_to_text_with_len(organization_id.data(), static_cast<int>(organization_id.size())));
  if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
  SPIPlanPtr const plan = SPI_prepare(sql, 1, &type);
  if (plan == nullptr) elog(ERROR, "SPI_prepare failed");
  CommandCounterIncrement();  // makes rows visible that the current statement inserted
  Snapshot const snapshot = RegisterSnapshot(GetLatestSnapshot());
  if (SPI_execute_snapshot(plan, &value, nullptr, snapshot, InvalidSnapshot, true, false, 1) != SPI_OK_SELECT) {
    elog(ERROR, "could not count the webhooks");
  }
  bool is_null;
  const Datum count = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  UnregisterSnapshot(snapshot);
  SPI_finish();
  return DatumGetInt64(count);
}

}  // namespace

std::int64_t lock_and_count_webhooks(std::string_view organization_id) {
  const Catalog* const catalog = find_catalog();
  if (catalog == nullptr) throw Error("42704", "extension \"webhook\" is not installed in this database");
  const Oid table = catalog->configurations;
  lock_keyed(KeyedLock::kOrganization, organization_id);
  return guarded([table, organization_id] { return count_webhooks(table, organization_id); });
}

}  // namespace webhook::pg
