// What a trigger that calls webhook_capture() is to do with a row of its table: its arguments, checked against the
// table's columns. Made once per trigger and process, and again when the table, a type or a cast changes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pg/capture/row_json.h"

struct TriggerData;

namespace webhook::pg {

struct CapturePlan {
  std::uint64_t serial = 0;  // no two plans of this process share one
  std::string event;
  bool captures = false;  // false: a column that the trigger names is not there, and the rest below is not set
  std::vector<Column> payload;
  std::optional<Column> organization;
  std::vector<Column> key;
  std::vector<Column> compared;         // an UPDATE is an event if one of them has changed
  std::vector<Column> virtual_columns;  // of the table: to be computed before anything else
  bool include_previous = false;
  bool reads_settings = false;  // IsoSettings is needed

  // Kept by the relcache and syscache callbacks.
  bool is_valid = true;
  std::vector<std::uint32_t> type_hashes;
};

// The plan of the trigger that fires. It stays usable while it is held, even when it has become invalid meanwhile.
// Throws Error: an argument is wrong.
std::shared_ptr<const CapturePlan> plan_of(const TriggerData& trigger);

// From the callbacks. relation 0, hash 0: any.
void invalidate_plans(std::uint32_t relation) noexcept;
void invalidate_plans_of_type(std::uint32_t type_hash) noexcept;

}  // namespace webhook::pg
