// A rate limit: rate_per_s on average, and at once at most a second's worth or the burst, whichever is more. Pure: the
// caller supplies the time.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/time.h"

namespace webhook {

class TokenBucket {
 public:
  // No limit.
  TokenBucket() = default;

  // rate_per_s 0: no limit. A bucket that had no limit starts full. Otherwise it keeps its tokens, up to the new
  // capacity.
  void set_rate(double rate_per_s, Time now, double burst = 1) {
    refill(now);
    const bool had_none = rate_per_s_ == 0;
    rate_per_s_ = rate_per_s;
    capacity_ = std::max(burst, rate_per_s);
    tokens_ = had_none ? capacity_ : std::min(tokens_, capacity_);
  }

  bool is_full(Time now) const { return tokens_at(now) >= capacity_; }

  bool has_token(Time now) {
    if (rate_per_s_ == 0) return true;
    refill(now);
    return tokens_ >= 1;
  }

  // Call only if has_token().
  void take() {
    if (rate_per_s_ > 0) tokens_ -= 1;
  }

  // The earliest time, now or later, when there is a token.
  Time next_token_at(Time now) {
    if (has_token(now)) return now;
    const double seconds = (1 - tokens_) / rate_per_s_;
    return now + Duration(static_cast<Duration::rep>(std::ceil(seconds * Duration::period::den)) + 1);
  }

 private:
  // A clock that was set back adds nothing.
  double tokens_at(Time now) const {
    const double seconds = std::chrono::duration<double>(now - refilled_at_).count();
    return std::min(tokens_ + std::max(0.0, seconds) * rate_per_s_, capacity_);
  }

  void refill(Time now) {
    tokens_ = tokens_at(now);
    refilled_at_ = now;
  }

  double rate_per_s_ = 0;
  double capacity_ = 1;
  double tokens_ = 1;
  Time refilled_at_{};
};

}  // namespace webhook
