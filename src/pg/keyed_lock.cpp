#include "pg/keyed_lock.h"

extern "C" {
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"
}

#include <cstring>
#include <memory>

#include "core/crypto.h"
#include "core/uuid.h"
#include "pg/guard.h"

namespace webhook::pg {
namespace {

// The objsubid of a lock is this number plus its kind.
constexpr std::uint16_t kFirstSubid = 0x5740;

// All zeros if the row is missing. The locks then still work, but their tags can be computed.
Uuid read_key(Oid table_id) {
  Uuid key{};
  guarded([table_id, to = key.bytes.data()] {
    Relation table = table_open(table_id, AccessShareLock);
    Snapshot const snapshot = RegisterSnapshot(GetLatestSnapshot());
    TableScanDesc scan = table_beginscan(table, snapshot, 0, nullptr);
    TupleTableSlot* const slot = table_slot_create(table, nullptr);
    if (table_scan_getnextslot(scan, ForwardScanDirection, slot)) {
      bool is_null;
      const Datum value = slot_getattr(slot, 1, &is_null);
      if (!is_null) std::memcpy(to, DatumGetUUIDP(value)->data, UUID_LEN);
    }
    ExecDropSingleTupleTableSlot(slot);
    table_endscan(scan);
    UnregisterSnapshot(snapshot);
    table_close(table, AccessShareLock);
  });
  return key;
}

// Made once for each time that the extension is created.
HmacKey& current_key() {
  static Oid key_of = InvalidOid;
  static std::unique_ptr<HmacKey>& key = *new std::unique_ptr<HmacKey>;  // never destroyed: FATAL runs exit()
  const Oid table_id = guarded([] {
    const Oid schema = get_namespace_oid("webhook_internal", true);
    return OidIsValid(schema) ? get_relname_relid("lock_key", schema) : InvalidOid;
  });
  if (!key || table_id != key_of) {
    const Uuid bytes = OidIsValid(table_id) ? read_key(table_id) : Uuid{};
    key = std::make_unique<HmacKey>(name_of(bytes));
    key_of = table_id;
  }
  return *key;
}

bool acquire(KeyedLock kind, std::string_view text, bool waits) {
  const KeyedLockTag tag = keyed_lock_tag(kind, text);
  return guarded([&tag, waits] {
    LOCKTAG lock;
    SET_LOCKTAG_ADVISORY(lock, MyDatabaseId, tag.classid, tag.objid, tag.objsubid);
    return LockAcquire(&lock, ExclusiveLock, false, !waits) != LOCKACQUIRE_NOT_AVAIL;
  });
}

}  // namespace

KeyedLockTag keyed_lock_tag(KeyedLock kind, std::string_view text) {
  const auto kind_byte = static_cast<char>(kind);
  const Sha256Mac mac = current_key().sign({std::string_view(&kind_byte, 1), text});
  KeyedLockTag tag;
  std::memcpy(&tag.classid, mac.data(), sizeof tag.classid);
  std::memcpy(&tag.objid, mac.data() + sizeof tag.classid, sizeof tag.objid);
  tag.objsubid = static_cast<std::uint16_t>(kFirstSubid + static_cast<std::uint16_t>(kind));
  return tag;
}

void lock_keyed(KeyedLock kind, std::string_view text) { acquire(kind, text, true); }

bool try_lock_keyed(KeyedLock kind, std::string_view text) { return acquire(kind, text, false); }

}  // namespace webhook::pg
