// Whether an endpoint is worth trying. After several failures in a row the circuit opens. While it is open, one
// delivery at a time is sent as a probe, one per back-off step, until a probe is answered.
//
//   closed ── kFailuresToOpen failures in a row ──▶ open ── an answer ──▶ closed
//                                                   │  ▲
//                                                   └──┘ a failed probe: the next one is a step later
//
// The caller decides what counts as a failure: an error of the endpoint as a whole, not of a single delivery. Pure: the
// caller supplies the time and the random numbers.
#pragma once

#include <cstdint>
#include <optional>

#include "core/time.h"

namespace webhook {

class Circuit {
 public:
  static constexpr int kFailuresToOpen = 5;
  static constexpr Duration kStepMin = std::chrono::seconds(5);  // doubles with each failed probe
  static constexpr Duration kStepMax = std::chrono::minutes(5);

  enum class Change : std::uint8_t { kNone, kOpened, kClosed };

  bool is_open() const { return opened_at_.has_value(); }
  // Whether nothing has failed since the last answer.
  bool is_untouched() const { return !is_open() && failures_ == 0; }
  std::optional<Time> opened_at() const { return opened_at_; }
  // Only if it is open.
  Time next_probe_at() const { return next_probe_at_; }

  // The endpoint answered.
  Change answered();
  // The endpoint failed. random: from [0,1), spreads the probes of many webhooks by ±20 %. not_before: the earliest
  // time for the next probe (Retry-After).
  Change failed(Time now, double random, std::optional<Time> not_before = std::nullopt);

  // Restores an open circuit from another process. The next probe is due at once.
  void reopen(Time opened_at, Time now);
  // The clock was set back. The next probe is moved up so that it is never further away than its step.
  void clock_set_back(Time now);

 private:
  int failures_ = 0;  // in a row
  std::optional<Time> opened_at_;
  Duration step_ = kStepMin;
  Time next_probe_at_{};
};

}  // namespace webhook
