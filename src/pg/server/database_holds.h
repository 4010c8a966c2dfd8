// Holding a database. DROP DATABASE and similar statements need the database without sessions. A process that is about
// to run one holds the database: its workers are told to end, and none starts until the hold is released. The end of the
// transaction releases it, because nobody sees the statement's effect earlier; so does release_hold(). A process has at
// most one hold.
#pragma once

#include <cstdint>

namespace webhook::pg {

// May raise an error.
void hold_database(std::uint32_t database);
void release_hold() noexcept;
bool is_held(std::uint32_t database) noexcept;
// Whether no worker of the database runs or is starting.
bool is_vacated(std::uint32_t database) noexcept;

}  // namespace webhook::pg
