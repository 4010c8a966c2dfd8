// Logical replication, seen from the process that applies it. Functions that are noexcept raise no error.
#pragma once

#include <optional>
#include <string>

#include "core/time.h"

struct FunctionCallInfoBaseData;
struct TriggerData;

namespace webhook::pg {

// Whether this process applies what another server has committed: it has set up a replication origin.
bool is_applying() noexcept;

// The name of the subscription whose changes this process applies or whose tables it copies; empty if there is none.
// Throws Error.
const std::string& applied_subscription();

// What a function was called with that takes over replicated rows. Throws Error unless that is by a trigger BEFORE INSERT ...
// FOR EACH ROW. name: the function's, for the error.
const TriggerData& trigger_of_insert(const FunctionCallInfoBaseData* call, const char* name);

// Whether this process copies the rows that a table had when it was subscribed.
bool is_copying_table() noexcept;

// When the source committed the transaction. Known only once the transaction has been applied in whole, just before it
// commits or is prepared here.
std::optional<Time> source_commit_time() noexcept;

// To be called at the end of each transaction: whether it has committed a prepared one here because the source did. There
// is no statement then that a hook could see.
bool has_applied_commit_prepared() noexcept;

}  // namespace webhook::pg
