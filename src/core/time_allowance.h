// Limits an activity to a share of the time. The allowance grows by that share of the time that passes, up to kMost,
// and may be overdrawn.
#pragma once

#include <algorithm>

#include "core/time.h"

namespace webhook {

class TimeAllowance {
 public:
  static constexpr Duration kMost = std::chrono::seconds(2);
  static constexpr int kShare = 10;  // a tenth of the time

  explicit TimeAllowance(Time now) : as_of_(now) {}

  bool is_full(Time now) const { return left_ + (now - as_of_) / kShare >= kMost; }

  // What is left now. The caller spends it by subtracting. A clock that was set back takes nothing away.
  Duration& left(Time now) {
    if (now > as_of_) left_ = std::min<Duration>(kMost, left_ + (now - as_of_) / kShare);
    as_of_ = now;
    return left_;
  }

  // The earliest time, now or later, when something is left.
  Time next(Time now) { return left(now) > Duration::zero() ? now : now + (Duration(1) - left_) * kShare; }

 private:
  Duration left_ = kMost;
  Time as_of_;
};

}  // namespace webhook
