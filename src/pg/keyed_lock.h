// Heavyweight locks on things named by a text, held until the transaction ends, prepared transactions included. A
// lock's tag is a MAC of the text, keyed with webhook_internal.lock_key, which is drawn when the extension is created.
// So no SQL statement can take such a lock directly, pg_locks does not reveal what is locked, and nobody can find two
// texts with the same tag.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/uuid.h"

namespace webhook::pg {

// The kind of thing that the text names.
enum class KeyedLock : std::uint16_t {
  kDeliveries = 1,    // a webhook's id, 16 bytes: needed to write the webhook's rows of webhook_deliveries
  kOrganization = 2,  // an organization's id
  kInstance = 3,      // an empty text: needed to write the row of webhook_instance
};

// The text that names a webhook in a lock. Valid as long as the webhook's id lives.
inline std::string_view name_of(const Uuid& webhook) {
  return {reinterpret_cast<const char*>(webhook.bytes.data()), webhook.bytes.size()};
}
std::string_view name_of(Uuid&&) = delete;

// The tag as pg_locks shows it, with locktype advisory. PostgreSQL's own advisory functions use objsubid 1 and 2.
struct KeyedLockTag {
  std::uint32_t classid = 0;
  std::uint32_t objid = 0;
  std::uint16_t objsubid = 0;
};
KeyedLockTag keyed_lock_tag(KeyedLock kind, std::string_view text);

// Takes the lock in the current transaction, and waits for a holder. All of these throw Error.
void lock_keyed(KeyedLock kind, std::string_view text);
// The same without waiting. Returns false if another transaction holds the lock.
bool try_lock_keyed(KeyedLock kind, std::string_view text);

}  // namespace webhook::pg
