// Counts what each owner has written lately, to find the owners that write more than their share. It lives in shared
// memory, so it is a fixed number of plain counters, and all zeros are a valid state.
//
// A share is a number of bytes that drains steadily to nothing within a time. The number of counters limits how many
// owners are tracked. If more owners write, each is counted for a little less than it wrote (Misra and Gries, "Finding
// repeated elements", 1982). The error is less than the total written divided by the number of counters. So an owner
// that writes little is never overestimated, and an owner that writes more than the error is found.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "core/time.h"

namespace webhook {

struct ShareLimit {
  std::uint64_t bytes = 0;
  Duration drains_in{};  // above 0
};

class Shares {
 public:
  static constexpr std::size_t kCounters = 64;

  // The owner is about to write bytes. owner: a hash other than 0. Returns whether the write is within the owner's
  // share. If not, it is not counted.
  bool take(std::uint64_t owner, std::uint64_t bytes, const ShareLimit& limit, Time now) noexcept {
    const std::int64_t now_us = now.time_since_epoch().count();
    const std::int64_t limit_us = limit.drains_in.count();
    const std::int64_t cost_us = drain_time_us(bytes, limit);
    Counter* free = nullptr;
    for (Counter& counter : counters_) {
      // Never more than full, so that nobody waits longer after the clock was set back or a limit was lowered.
      counter.drained_at_us = std::min(counter.drained_at_us, now_us + limit_us);
      if (counter.owner == owner && counter.drained_at_us > now_us) {
        if (counter.drained_at_us - now_us + cost_us > limit_us) return false;
        counter.drained_at_us += cost_us;
        return true;
      }
      if (counter.drained_at_us <= now_us) free = &counter;
    }
    if (cost_us > limit_us) return false;
    std::int64_t rest_us = cost_us;
    if (free == nullptr) free = make_room(now_us, &rest_us);
    if (free != nullptr) *free = {owner, now_us + rest_us};
    return true;
  }

  // How much of its share the owner has used up, from 0 to 1.
  double used(std::uint64_t owner, const ShareLimit& limit, Time now) const noexcept {
    const std::int64_t now_us = now.time_since_epoch().count();
    for (const Counter& counter : counters_) {
      if (counter.owner != owner || counter.drained_at_us <= now_us) continue;
      const auto left = static_cast<double>(counter.drained_at_us - now_us);
      return std::min(1.0, left / static_cast<double>(limit.drains_in.count()));
    }
    return 0;
  }

 private:
  struct Counter {
    std::uint64_t owner;
    std::int64_t drained_at_us;  // since 1970; the counter is free from then on
  };

  static std::int64_t drain_time_us(std::uint64_t bytes, const ShareLimit& limit) noexcept {
    const double time_us = static_cast<double>(bytes) / static_cast<double>(std::max<std::uint64_t>(limit.bytes, 1)) *
                           static_cast<double>(limit.drains_in.count());
    return static_cast<std::int64_t>(std::min(time_us, 1e18));
  }

  // Subtracts the smallest counter, or the cost if that is less, from the cost and from all counters. Returns a counter
  // for the rest of the cost, or nullptr if nothing is left of the cost.
  Counter* make_room(std::int64_t now_us, std::int64_t* rest_us) noexcept {
    Counter* least =
        &*std::min_element(std::begin(counters_), std::end(counters_),
                           [](const Counter& a, const Counter& b) { return a.drained_at_us < b.drained_at_us; });
    const std::int64_t given_us = std::min(least->drained_at_us - now_us, *rest_us);
    for (Counter& counter : counters_) counter.drained_at_us -= given_us;
    *rest_us -= given_us;
    return *rest_us > 0 ? least : nullptr;
  }

  Counter counters_[kCounters];
};

}  // namespace webhook
