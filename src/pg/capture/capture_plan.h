// What a trigger that calls webhook_capture() does with a row of its table: its arguments, checked against the table's
// columns. Made once per trigger and process, and again after the table, a type or a cast changes.
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
  std::uint64_t serial = 0;  // unique in this process
  std::string event;
  bool captures = false;  // false: a column that the trigger names is missing, and the fields below are not set
  std::vector<Column> payload;
  std::optional<Column> organization;
  std::vector<Column> key;
  std::vector<Column> compared;         // an UPDATE is an event if one of them has changed
  std::vector<Column> virtual_columns;  // all of the table's; to be computed before anything else
  bool include_previous = false;
  bool backfill = false;        // rows that are copied when the table is subscribed are events too
  bool reads_settings = false;  // IsoSettings is needed

  // Maintained by the relcache and syscache callbacks.
  bool is_valid = true;
  std::vector<std::uint32_t> type_hashes;
};

// The plan of the trigger that fires. It stays usable while it is held, even after it becomes invalid. Throws Error if
// an argument is wrong.
std::shared_ptr<const CapturePlan> plan_of(const TriggerData& trigger);

// For the callbacks. relation 0, hash 0: any.
void invalidate_plans(std::uint32_t relation) noexcept;
void invalidate_plans_of_type(std::uint32_t type_hash) noexcept;

}  // namespace webhook::pg
