// What each of many owners has written lately, by which whoever writes more than its share is known. In shared memory:
// plain numbers, of a fixed number, and valid when all are zero.
//
// A share is so many bytes, and is free again after a time: it drains steadily. As many owners as there are counters are
// known; if more write, all are taken for a little less than they have written (Misra and Gries, "Finding repeated
// elements", 1982), by less than a counter's part of all that is written. So who writes little is never taken for more, and
// who writes more than that part is known.
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

  // The owner, a hash that is not 0, is about to write. Returns whether that is within its share; if not, it isn't counted.
  bool take(std::uint64_t owner, std::uint64_t bytes, const ShareLimit& limit, Time now) noexcept {
    const std::int64_t now_us = now.time_since_epoch().count();
    const std::int64_t limit_us = limit.drains_in.count();
    const std::int64_t cost_us = drain_time_us(bytes, limit);
    Counter* free = nullptr;
    for (Counter& counter : counters_) {
      // Full at most: a clock that was set back, or a limit that was lowered, makes nobody wait for longer.
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
    std::int64_t drained_at_us;  // since 1970; not later than now: the counter is free
  };

  static std::int64_t drain_time_us(std::uint64_t bytes, const ShareLimit& limit) noexcept {
    const double time_us = static_cast<double>(bytes) / static_cast<double>(std::max<std::uint64_t>(limit.bytes, 1)) *
                           static_cast<double>(limit.drains_in.count());
    return static_cast<std::int64_t>(std::min(time_us, 1e18));
  }

  // All give up what the least has. Returns a counter for the rest of the cost; nullptr: nothing is left of it.
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
