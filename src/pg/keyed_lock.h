// Heavyweight locks on what a text names, until the transaction ends, prepared ones included. No SQL statement can take one
// by itself, pg_locks tells nothing of what it is on, and nobody can find two texts that share one: its tag is a MAC of the
// text by a key that is drawn when the extension is created (webhook_internal.lock_key).
#pragma once

#include <cstdint>
#include <string_view>

namespace webhook::pg {

// What the text names.
enum class KeyedLock : std::uint16_t {
  kOrganization = 2,  // an organization's id
  kInstance = 3,      // nothing: whoever has it alone writes the row of webhook_instance
};

// In a transaction. Waits for whoever has it. pg_locks shows it with locktype advisory. Throws Error.
void lock_keyed(KeyedLock kind, std::string_view text);

}  // namespace webhook::pg
