// The current segments of the rings, as the table webhook_rings has them.
#pragma once

#include <cstdint>

namespace webhook::pg {

// The segment of the ring with this name (webhook_rings.ring) that the latest snapshot sees; below 0: there is no such
// ring. The table must be locked. Raises PostgreSQL errors.
int read_ring(std::uint32_t rings, const char* name);

}  // namespace webhook::pg
