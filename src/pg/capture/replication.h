// Logical replication, seen from the process that applies it. None of these functions raises an error.
#pragma once

#include <optional>

#include "core/time.h"

namespace webhook::pg {

// Whether this process applies what another server has committed: it has set up a replication origin.
bool is_applying() noexcept;

// Whether this process copies the rows that a table had when it was subscribed.
bool is_copying_table() noexcept;

// When the source committed the transaction. Known only once the transaction has been applied in whole, just before it
// commits or is prepared here.
std::optional<Time> source_commit_time() noexcept;

// To be called at the end of each transaction: whether it has committed a prepared one here because the source did. There
// is no statement then that a hook could see.
bool has_applied_commit_prepared() noexcept;

}  // namespace webhook::pg
