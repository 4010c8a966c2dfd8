// Heavyweight locks on what a text names, until the transaction ends, prepared ones included. No SQL statement can take one
// by itself, pg_locks tells nothing of what it is on, and nobody can find two texts that share one: its tag is a MAC of the
// text by a key that is drawn when the extension is created (webhook_internal.lock_key).
#pragma once

#include <cstdint>
#include <string_view>

#include "core/uuid.h"

namespace webhook::pg {

// What the text names.
enum class KeyedLock : std::uint16_t {
  kDeliveries = 1,    // a webhook's id, 16 bytes: whoever has it alone writes the webhook's rows of webhook_deliveries
  kOrganization = 2,  // an organization's id
  kInstance = 3,      // nothing: whoever has it alone writes the row of webhook_instance
};

// What names a webhook there, as long as it lives.
inline std::string_view name_of(const Uuid& webhook) {
  return {reinterpret_cast<const char*>(webhook.bytes.data()), webhook.bytes.size()};
}
std::string_view name_of(Uuid&&) = delete;

// The tag as pg_locks shows it, with locktype advisory. PostgreSQL's own functions use objsubid 1 and 2.
struct KeyedLockTag {
  std::uint32_t classid = 0;
  std::uint32_t objid = 0;
  std::uint16_t objsubid = 0;
};
KeyedLockTag keyed_lock_tag(KeyedLock kind, std::string_view text);

// In a transaction. Waits for whoever has it. All throw Error.
void lock_keyed(KeyedLock kind, std::string_view text);
// The same without waiting. False: somebody else has it.
bool try_lock_keyed(KeyedLock kind, std::string_view text);

}  // namespace webhook::pg
