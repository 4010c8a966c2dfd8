// The last error of each subscription of logical replication, as reported by the processes that apply its changes or copy
// its tables. PostgreSQL counts these errors, and writes their texts to the server log only.
//
// Like shared_memory.h, this exists only if the library was in shared_preload_libraries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/time.h"

namespace webhook::pg {

// Trivially copyable, because it lies in shared memory. Texts are in the encoding of the subscription's database.
struct ApplyError {
  static constexpr std::size_t kTextBytesMax = 512;

  Time at{};
  char sqlstate[6]{};
  char message[kTextBytesMax]{};
  char detail[kTextBytesMax]{};  // empty: there is none
};

// From _PG_init, while the server loads shared_preload_libraries: asks for the memory and sets the hooks.
void request_apply_errors();

// nullopt: there was none since the server started, or others have displaced it.
std::optional<ApplyError> last_apply_error(std::uint32_t subscription) noexcept;

}  // namespace webhook::pg
