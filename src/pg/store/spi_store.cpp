#include "pg/store/spi_store.h"

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/identity.h"
#include "core/version.h"
#include "pg/guard.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

constexpr const char* kCopyReason = "this database is a copy or was restored: webhook_resume() lets it deliver";

// Settings that the worker relies on and postgresql.conf may change. For ALTER DATABASE and ALTER ROLE see session.h.
void override_session_settings() {
  static constexpr const char* kSettings[][2] = {
      {"search_path", "pg_catalog, pg_temp"},
      {"default_transaction_isolation", "read committed"},
      {"default_transaction_read_only", "off"},
      {"default_transaction_deferrable", "off"},
      {"session_replication_role", "origin"},
      {"statement_timeout", "0"},
      {"lock_timeout",
       "500ms"},  // below deadlock_timeout: where DROP EXTENSION and the worker meet, the worker gives way
      {"idle_in_transaction_session_timeout", "0"},
      {"synchronous_commit", "local"},
      {"timezone", "UTC"},
      {"enable_seqscan", "off"},  // the segments are truncated more often than analyzed
      {"jit", "off"},
      {"max_parallel_workers_per_gather", "0"},
      {"plan_cache_mode", "force_generic_plan"},
  };
  for (const auto& [name, value] : kSettings) SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
#if PG_VERSION_NUM >= 170000
  SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
#endif
}

struct Installed {
  Oid extension;  // InvalidOid: none
  bool has_version;
};

// Compares the extension's row of pg_extension with a version. Raises PostgreSQL errors.
Installed find_installed(const char* version) {
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("webhook"));
  Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(extensions, ExtensionNameIndexId, true, nullptr, 1, &key);
  Installed installed{InvalidOid, false};
  HeapTuple row = systable_getnext(scan);
  if (HeapTupleIsValid(row)) {
    bool is_null = false;
    const Datum found = heap_getattr(row, Anum_pg_extension_extversion, RelationGetDescr(extensions), &is_null);
    installed.extension = reinterpret_cast<Form_pg_extension>(GETSTRUCT(row))->oid;
    installed.has_version = !is_null && std::strcmp(TextDatumGetCString(found), version) == 0;
  }
  systable_endscan(scan);
  table_close(extensions, AccessShareLock);
  return installed;
}

// The rows of webhook_checkpoint.
struct Checkpoints {
  std::vector<Checkpoint> of;  // by worker: 1, 2, …
  bool are_of_this_count = true;
};

Checkpoints read_checkpoints(int count) {
  Query query(statements::read_checkpoints);
  const std::size_t rows = query.run();
  Checkpoints checkpoints;
  checkpoints.are_of_this_count = rows == static_cast<std::size_t>(count);
  const Column snapshot_from = query.column("snapshot_from");
  const Column snapshot_to = query.column("snapshot_to");
  const Column position = query.column("position");
  const Column log_floor = query.column("log_floor");
  const Column lowest_id = query.column("lowest_id");
  const Column workers = query.column("workers");
  for (std::size_t row = 0; row < rows; ++row) {
    auto from = parse_snapshot(query.get_text(row, snapshot_from));
    auto to = parse_snapshot(query.get_text(row, snapshot_to));
    if (!from || !to) throw Error("XX001", "webhook_checkpoint holds a malformed snapshot");
    // What had not finished in the later snapshot had not in the earlier one, or came after it.
    from->ids = to->ids = {.next = query.get_int64(row, lowest_id), .committing = {}};
    checkpoints.of.push_back({{*from, *to}, query.get_int64(row, position), query.get_int64(row, log_floor)});
    checkpoints.are_of_this_count &= query.get_int32(row, workers) == count;
  }
  return checkpoints;
}

void replace_checkpoints(int count, const Uuid& instance, const Checkpoint& checkpoint) {
  Query drop(statements::delete_checkpoints);
  drop.run();
  Query create(statements::create_checkpoints);
  create.bind(static_cast<std::int32_t>(count)).bind(instance);
  create.bind(to_string(checkpoint.window.from)).bind(to_string(checkpoint.window.to));
  create.bind(checkpoint.position).bind(checkpoint.log_floor).bind(checkpoint.window.from.ids.lowest()).run();
}

std::optional<StoredIdentity> read_stored_identity() {
  Query identity(statements::read_identity);
  if (identity.run() == 0) return std::nullopt;
  return StoredIdentity{
      .instance = identity.get_uuid(0, identity.column("instance")),
      .database = identity.get_oid(0, identity.column("database_oid")),
      .system_identifier = static_cast<std::uint64_t>(identity.get_int64(0, identity.column("system_identifier")))};
}

// Stores what makes this database's identity the same as the stored one. Sets *instance if it is a new one. Returns
// false if there is a row that was not there before.
bool write_identity(IdentityChange change, std::uint32_t database, std::uint64_t system_identifier, Uuid* instance) {
  const auto oid = static_cast<std::int64_t>(database);
  const auto identifier = static_cast<std::int64_t>(system_identifier);
  switch (change) {
    case IdentityChange::kSame:
      break;
    case IdentityChange::kUpgraded: {
      Query update(statements::update_system_identifier);
      update.bind(identifier).run();
      break;
    }
    case IdentityChange::kFresh: {
      Query create(statements::create_identity);
      if (create.bind(oid).bind(identifier).run() == 0) return false;
      *instance = create.get_uuid(0, create.column("instance"));
      break;
    }
    case IdentityChange::kCopy: {
      Query drop(statements::delete_identity);
      drop.run();
      Query create(statements::create_paused_identity);
      create.bind(oid).bind(identifier).bind(kCopyReason).run();
      *instance = create.get_uuid(0, create.column("instance"));
      break;
    }
  }
  return true;
}

}  // namespace

OtherVersion::OtherVersion(std::string installed)
    : Error("55000", "extension \"webhook\" is installed in version " + installed + ", but the library is of version " +
                         library_version()),
      installed_(std::move(installed)) {}

SpiStore::Work::Work(SpiStore& store, const char* activity, Isolation isolation) : Transaction(activity, isolation) {
  const Installed installed = guarded([extension = store.extension_, version = store.installed_version_.c_str()] {
    LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
    return find_installed(version);
  });
  if (installed.extension != store.extension_) throw ExtensionGone();
  store.is_updated_ |= !installed.has_version;
}

Snapshot snapshot_of(const Query& query) {
  const auto snapshot = parse_snapshot(query.get_text(0, query.column("snapshot")));
  if (!snapshot) throw Error("XX000", "could not read pg_current_snapshot()");
  return *snapshot;
}

SpiStore::SpiStore() {
  Transaction transaction("webhook: starting");
  guarded([] { override_session_settings(); });
  Query installed(statements::find_extension);
  if (installed.run() == 0) throw ExtensionGone();
  extension_ = installed.get_oid(0, installed.column("extension"));
  schema_ = installed.get_oid(0, installed.column("schema"));
  set_extension_schema(installed.get_text(0, installed.column("quoted_schema")));
  installed_version_ = installed.get_text(0, installed.column("extversion"));
  if (compare_sql_version(installed_version_, library_version()) != SqlVersion::kSameSeries) {
    throw OtherVersion(installed_version_);
  }

  Query relations(statements::find_relations);
  relations.run();
  events_sequence_ = relations.get_oid(0, relations.column("events_sequence"));
  watch_configuration(relations);
  transaction.commit();
}

StartState SpiStore::start(const WorkerShare& share) {
  Work work(*this, "webhook: starting");
  // Workers start one after the other. The first finds the state that the previous workers left, the others what the
  // first made of it. The lock blocks nobody else.
  guarded([schema = schema_] {
    LockRelationOid(get_relname_relid("webhook_checkpoint", schema), ShareUpdateExclusiveLock);
  });
  const auto database = static_cast<std::uint32_t>(MyDatabaseId);
  const std::uint64_t system_identifier = GetSystemIdentifier();
  StartState state;

  const std::optional<StoredIdentity> stored = read_stored_identity();
  if (stored) state.instance = stored->instance;
  const Checkpoints checkpoints = read_checkpoints(share.count);
  const bool has_checkpoint = !checkpoints.of.empty();

  state.verdict = compare_identity(stored, has_checkpoint, database, system_identifier);
  if (!write_identity(state.verdict, database, system_identifier, &state.instance)) {
    // The row of a dump was restored at the same moment. webhook_internal.instance_restored() has marked it.
    work.commit();
    return start(share);
  }
  Query deferred(statements::read_deferred_webhooks);
  const std::size_t deferred_count = deferred.run();
  const Column deferred_id = deferred.column("id");
  for (std::size_t row = 0; row < deferred_count; ++row) state.deferred.push_back(deferred.get_uuid(row, deferred_id));
  if (checkpoints.are_of_this_count) {
    state.checkpoint = checkpoints.of[static_cast<std::size_t>(share.number - 1)];
  } else {
    if (has_checkpoint)
      state.checkpoint = oldest(checkpoints.of);
    else
      state.checkpoint = {{Snapshot::beginning(), Snapshot::beginning()}, 0, 0};
    replace_checkpoints(share.count, state.instance, state.checkpoint);
  }
  if (has_checkpoint && state.verdict == IdentityChange::kCopy) {
    Query update(statements::update_checkpoint_instance);
    update.bind(state.instance).run();
  }
  work.commit();
  share_ = share;
  deferred_ = {state.deferred.begin(), state.deferred.end()};
  return state;
}

}  // namespace webhook::pg
