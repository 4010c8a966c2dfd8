// The OIDs of the extension's own tables in this database. They are looked up through the extension, not by
// search_path, and kept until PostgreSQL reports that one of the tables has changed.
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

// Null if the extension is not, or no longer, installed in this database. Any call that processes invalidations may
// change what the pointer refers to, above all taking a lock. Throws Error. Needs a transaction.
const Catalog* find_catalog();

// For the relcache callback. relation 0: any.
void invalidate_catalog(std::uint32_t relation) noexcept;

}  // namespace webhook::pg
