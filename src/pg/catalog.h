// The extension's own tables in this database, by OID. Looked up by the extension, not by search_path, and kept until
// PostgreSQL says that one of them has changed.
#pragma once

#include <array>
#include <cstdint>

#include "core/ring.h"

namespace webhook::pg {

struct Catalog {
  std::uint32_t extension = 0;
  std::uint32_t schema = 0;
  std::uint32_t configurations = 0;                          // webhook_configurations
  std::uint32_t changes = 0;                                 // webhook_changes
  std::uint32_t rings = 0;                                   // webhook_rings
  std::uint32_t event_sequence = 0;                          // webhook_events_id_seq
  std::uint32_t switch_sequence = 0;                         // webhook_switches_seq
  std::uint32_t switch_index = 0;                            // webhook_configurations_last_switch_idx
  std::array<std::uint32_t, kAllSegments> event_segments{};  // webhook_events_0 …
};

// Null: the extension is not installed in this database, perhaps no longer. What it points to changes with any call
// that processes invalidations: a lock taken, above all. Throws Error; needs a transaction.
const Catalog* find_catalog();

// From the relcache callback. relation 0: any.
void invalidate_catalog(std::uint32_t relation) noexcept;

}  // namespace webhook::pg
