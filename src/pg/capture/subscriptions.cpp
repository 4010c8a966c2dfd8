#include "pg/capture/subscriptions.h"

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
}

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <unordered_map>

#include "core/event_pattern.h"
#include "pg/catalog.h"
#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/server/wakes.h"

namespace webhook::pg {
namespace {

constexpr std::size_t kAnswersMax = 10'000;
constexpr std::size_t kKeyBytesMax = 1000;

enum class Answer : std::uint8_t { kNo, kYes, kUnknown };

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
};

struct Cache {
  std::unordered_map<std::string, bool, TextHash, std::equal_to<>> answers;
  std::string key;  // of the current question
  std::uint64_t generation = 0;
};

// Never destroyed, so that no code of ours runs at the process's exit.
Cache& cache() {
  static auto* const instance = new Cache;
  return *instance;
}

// generation counts the changes of webhook_configurations that this process knows of. The OIDs are those of the last
// lookup. webhook_changes announces changes to rows of webhook_configurations, because invalidating
// webhook_configurations itself would make every session replan its statements on it.
std::uint64_t generation = 1;
Oid configurations = InvalidOid;
Oid changes = InvalidOid;

// The result of known_switch(), and the generation that it is valid for; 0: none.
std::int32_t last_switch = 0;
std::uint64_t last_switch_generation = 0;

constexpr std::int32_t kAllSwitches = std::numeric_limits<std::int32_t>::max();

std::string_view text_of(Datum datum) { return view_of(DatumGetTextPP(datum)); }

// Opens and locks the relation for reading. nullptr if it is gone, or if locking would mean waiting, which the
// application must not do.
Relation open_without_waiting(Oid oid) {
  if (!OidIsValid(oid) || !ConditionalLockRelationOid(oid, AccessShareLock)) return nullptr;
  Relation relation = try_relation_open(oid, NoLock);
  if (relation == nullptr) UnlockRelationOid(oid, AccessShareLock);
  return relation;
}

// The index with organization_id as its first column, locked. InvalidOid if there is none, or if it cannot be locked
// without waiting.
Oid lock_organization_index(Relation table, AttrNumber organization) {
  if (IgnoreSystemIndexes) return InvalidOid;  // systable_beginscan() would not use it
  Oid found = InvalidOid;
  List* const indexes = RelationGetIndexList(table);
  ListCell* cell;
  foreach (cell, indexes) {
    const Oid candidate = lfirst_oid(cell);
    if (!ConditionalLockRelationOid(candidate, AccessShareLock)) continue;
    Relation index = index_open(candidate, NoLock);
    const bool fits = index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid &&
                      index->rd_index->indkey.values[0] == organization && RelationGetIndexPredicate(index) == NIL;
    index_close(index, NoLock);
    if (fits) {
      found = candidate;
      break;
    }
    UnlockRelationOid(candidate, AccessShareLock);
  }
  list_free(indexes);
  return found;
}

// The scan key for organization_id = text, or for organization_id IS NULL.
void init_key(ScanKey key, AttrNumber attribute, Oid collation,
              const std::optional<std::string_view>* organization_id) {
  if (*organization_id) {
    const Datum value = PointerGetDatum(
        cstring_to_text_with_len((*organization_id)->data(), static_cast<int>((*organization_id)->size())));
    ScanKeyEntryInitialize(key, 0, attribute, BTEqualStrategyNumber, InvalidOid, collation, F_TEXTEQ, value);
  } else {
    ScanKeyEntryInitialize(key, SK_ISNULL | SK_SEARCHNULL, attribute, InvalidStrategy, InvalidOid, InvalidOid,
                           InvalidOid, 0);
  }
}

bool matches_any(Datum patterns, std::string_view event) {
  Datum* elements;
  bool* nulls;
  int count;
  deconstruct_array(DatumGetArrayTypeP(patterns), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
  for (int i = 0; i < count; ++i) {
    if (!nulls[i] && event_matches(text_of(elements[i]), event)) return true;
  }
  return false;
}

AttrNumber attribute_named(Relation table, const char* name) {
  const AttrNumber attribute = get_attnum(RelationGetRelid(table), name);
  if (attribute == InvalidAttrNumber) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("column \"%s\" of relation \"%s\" does not exist", name, RelationGetRelationName(table))));
  }
  return attribute;
}

// In a SERIALIZABLE transaction, a scan by an MVCC snapshot enters what it reads into the checks for conflicts. A
// transaction of the application would then fail because somebody changes a webhook. So scans read all versions of rows
// there, and is_visible() judges each. Elsewhere the scan judges, and marks dead index entries for others.
Snapshot scan_by(Snapshot snapshot) { return IsolationIsSerializable() ? SnapshotAny : snapshot; }

// Whether the row that the scan is at is visible to the snapshot.
bool is_visible(Relation table, SysScanDesc scan, Snapshot snapshot) {
  return !IsolationIsSerializable() || table_tuple_satisfies_snapshot(table, scan->slot, snapshot);
}

// Compares the organization itself, so that the result is right without an index too.
bool scan_for(Relation table, Oid index, AttrNumber organization,
              const std::optional<std::string_view>* organization_id, std::string_view event) {
  const AttrNumber events = attribute_named(table, "events");
  TupleDesc const shape = RelationGetDescr(table);
  ScanKeyData key;
  init_key(&key, organization, TupleDescAttr(shape, organization - 1)->attcollation, organization_id);

  Snapshot const snapshot = RegisterSnapshot(GetLatestSnapshot());
  SysScanDesc scan =
      systable_beginscan(table, index, OidIsValid(index), scan_by(snapshot), OidIsValid(index) ? 1 : 0, &key);
  bool found = false;
  for (HeapTuple tuple; !found && HeapTupleIsValid(tuple = systable_getnext(scan));) {
    if (!is_visible(table, scan, snapshot)) continue;
    bool is_null;
    const Datum owner = heap_getattr(tuple, organization, shape, &is_null);
    if (is_null == organization_id->has_value() || (!is_null && text_of(owner) != **organization_id)) continue;
    const Datum patterns = heap_getattr(tuple, events, shape, &is_null);
    found = !is_null && matches_any(patterns, event);
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  return found;
}

// Reads webhook_configurations. Sets known_generation to the generation that the answer is valid for.
Answer look_up(const std::optional<std::string_view>* organization_id, std::string_view event,
               std::uint64_t* known_generation) {
  *known_generation = generation;
  // An administrator's ALTER TABLE, TRUNCATE or LOCK TABLE may hold the lock.
  Relation table = open_without_waiting(configurations);
  if (table == nullptr) return Answer::kUnknown;
  const AttrNumber organization = attribute_named(table, "organization_id");
  const Oid index = lock_organization_index(table, organization);
  const bool found = scan_for(table, index, organization, organization_id, event);
  if (OidIsValid(index)) UnlockRelationOid(index, AccessShareLock);
  relation_close(table, AccessShareLock);
  return found ? Answer::kYes : Answer::kNo;
}

// The last number drawn from the sequence; kAllSwitches if the sequence is locked. Its single row is changed in place,
// so every snapshot reads the same.
std::int32_t last_drawn_switch(Oid sequence) {
  Relation relation = open_without_waiting(sequence);
  if (relation == nullptr) return kAllSwitches;
  std::int32_t number = kAllSwitches;
  SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, SnapshotAny, 0, nullptr);
  HeapTuple tuple = systable_getnext(scan);
  if (HeapTupleIsValid(tuple)) {
    const auto* row = reinterpret_cast<Form_pg_sequence_data>(GETSTRUCT(tuple));
    number = static_cast<std::int32_t>(std::min<int64>(row->last_value - (row->is_called ? 0 : 1), kAllSwitches));
  }
  systable_endscan(scan);
  relation_close(relation, AccessShareLock);
  return number;
}

// The highest number of all webhooks that this transaction sees; kAllSwitches if finding out would mean waiting for a
// lock.
std::int32_t last_visible_switch(Oid index_oid) {
  if (IgnoreSystemIndexes) return kAllSwitches;  // systable_beginscan_ordered() would warn
  Relation table = open_without_waiting(configurations);
  if (table == nullptr) return kAllSwitches;
  std::int32_t number = kAllSwitches;
  Relation index = open_without_waiting(index_oid);
  if (index != nullptr) {
    if (index->rd_index->indisvalid) {
      number = 0;
      const AttrNumber last_switch_column = attribute_named(table, "last_switch");
      Snapshot const snapshot = RegisterSnapshot(GetLatestSnapshot());
      SysScanDesc scan = systable_beginscan_ordered(table, index, scan_by(snapshot), 0, nullptr);
      HeapTuple tuple;
      do tuple = systable_getnext_ordered(scan, BackwardScanDirection);
      while (HeapTupleIsValid(tuple) && !is_visible(table, scan, snapshot));
      if (HeapTupleIsValid(tuple)) {
        bool is_null;
        const Datum value = heap_getattr(tuple, last_switch_column, RelationGetDescr(table), &is_null);
        if (!is_null) number = DatumGetInt32(value);
      }
      systable_endscan_ordered(scan);
      UnregisterSnapshot(snapshot);
    }
    relation_close(index, AccessShareLock);
  }
  relation_close(table, AccessShareLock);
  return number;
}

// The highest number of a division of the webhooks among nodes that this transaction sees; kAllSwitches if finding out
// would mean waiting for a lock. Before version 1.1 there is no such table.
std::int32_t last_visible_division(Oid schema) {
  const Oid shares = get_relname_relid("webhook_node_shares", schema);
  if (!OidIsValid(shares)) return 0;
  Relation table = open_without_waiting(shares);
  if (table == nullptr) return kAllSwitches;
  std::int32_t number = 0;
  const AttrNumber since = attribute_named(table, "since");
  Snapshot const snapshot = RegisterSnapshot(GetLatestSnapshot());
  SysScanDesc scan = systable_beginscan(table, InvalidOid, false, scan_by(snapshot), 0, nullptr);
  for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));) {
    if (!is_visible(table, scan, snapshot)) continue;
    bool is_null;
    const Datum value = heap_getattr(tuple, since, RelationGetDescr(table), &is_null);
    if (!is_null) number = std::max(number, DatumGetInt32(value));
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  relation_close(table, AccessShareLock);
  return number;
}

void make_key(std::string& key, std::optional<std::string_view> organization_id, std::string_view event) {
  key.assign(event);
  key += organization_id ? '=' : '!';  // no event name contains either
  if (organization_id) key += *organization_id;
}

}  // namespace

void accept_subscription_changes() {
  guarded([] { AcceptInvalidationMessages(); });
}

bool is_subscribed(std::optional<std::string_view> organization_id, std::string_view event) {
  Cache& known = cache();
  if (known.generation != generation || known.answers.size() >= kAnswersMax) {
    known.answers.clear();
    known.generation = generation;
  }
  make_key(known.key, organization_id, event);
  const auto answered = known.answers.find(std::string_view(known.key));
  if (answered != known.answers.end()) return answered->second;

  const Catalog* catalog = find_catalog();
  if (catalog == nullptr) return false;
  configurations = catalog->configurations;
  changes = catalog->changes;
  std::uint64_t known_generation = 0;
  const Answer answer = guarded([&] { return look_up(&organization_id, event, &known_generation); });
  // A change during the lookup may or may not be in the answer.
  if (answer != Answer::kUnknown && known_generation == generation && known.generation == generation &&
      known.key.size() <= kKeyBytesMax) {
    known.answers.emplace(known.key, answer == Answer::kYes);
  }
  return answer != Answer::kNo;
}

std::int32_t known_switch() {
  if (last_switch_generation == generation) return last_switch;
  const Catalog* catalog = find_catalog();
  if (catalog == nullptr) return kAllSwitches;
  configurations = catalog->configurations;
  changes = catalog->changes;
  const std::uint64_t known_generation = generation;
  // A webhook that was restored from another database may have a number that is not drawn here yet.
  const std::int32_t number = guarded([catalog] {
    // Read first: a lock taken later may change what catalog refers to.
    const Catalog known = *catalog;
    const std::int32_t visible = std::max(last_visible_switch(known.switch_index), last_visible_division(known.schema));
    return std::min(visible, last_drawn_switch(known.switch_sequence));
  });
  // A change during the lookup may or may not be in the answer.
  if (known_generation == generation) {
    last_switch = number;
    last_switch_generation = generation;
  }
  return number;
}

void announce_change_to_worker() {
  const Catalog* const catalog = find_catalog();
  if (catalog == nullptr) return;
  guarded([relation = catalog->changes] {
    CacheInvalidateRelcacheByRelid(relation);
    wake_at_commit(AtCommit::kWake);
  });
}

void announce_subscription_change(FunctionCallInfoBaseData* call) {
  if (!CALLED_AS_TRIGGER(call)) {
    throw Error("39P01", "webhook_invalidate_subscriptions() was not called by a trigger");
  }
  announce_change_to_worker();
}

void invalidate_subscriptions(std::uint32_t relation) noexcept {
  if (!OidIsValid(relation) || relation == configurations || relation == changes) ++generation;
}

}  // namespace webhook::pg
