// Which ids the events of a window can have. Pure. docs/architecture.md, "The event log and its cursor", says why.
//
// Most transactions write their events just before they commit, with ids that they draw together and announce: workers
// find these events by their ids. Other events are written in *batches* of consecutive ids, which workers find by
// transaction, through the first event of each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace webhook {

// The ids first, first + 1, …, below limit.
struct IdRange {
  std::int64_t first = 0;
  std::int64_t limit = 0;

  bool operator==(const IdRange&) const = default;
  bool empty() const noexcept { return first >= limit; }
};

constexpr std::int64_t kNoIdLimit = std::numeric_limits<std::int64_t>::max();

// The ranges in ascending order, without those that are empty, and with those that touch or overlap as one.
std::vector<IdRange> merge(std::vector<IdRange> ranges);
// What of the ranges is in none of the holes. Both are as merge() returns them.
std::vector<IdRange> subtract(const std::vector<IdRange>& ranges, const std::vector<IdRange>& holes);

// The ids of events that had not finished in a snapshot, except for batches.
struct UnfinishedIds {
  std::int64_t next = 0;              // later transactions have this id or higher ones
  std::vector<IdRange> committing{};  // of transactions that had announced their ids, and may have finished

  bool operator==(const UnfinishedIds&) const = default;
  // No event that had not finished has a lower id.
  std::int64_t lowest() const;
  std::vector<IdRange> ranges() const;
};

}  // namespace webhook
