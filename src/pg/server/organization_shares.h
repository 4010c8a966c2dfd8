// What organizations have written recently in this database, since the server started (src/core/shares.h).
#pragma once

#include <cstdint>
#include <string_view>

namespace webhook::pg {

enum class Storage : std::uint8_t { kEvents, kLogs };

// An organization is about to write this many bytes. Returns whether that is within its share, and counts the bytes if
// it is. Always true if the database has no entry (database_entries.h).
bool take_share(Storage what, std::string_view organization_id, std::uint64_t bytes) noexcept;

// How much of its share an organization has used, from 0 to 1.
double used_share(Storage what, std::string_view organization_id) noexcept;

}  // namespace webhook::pg
