#include "core/circuit.h"

#include <algorithm>

namespace webhook {

Circuit::Change Circuit::answered() {
  failures_ = 0;
  if (!opened_at_) return Change::kNone;
  opened_at_.reset();
  return Change::kClosed;
}

Circuit::Change Circuit::failed(Time now, double random, std::optional<Time> not_before) {
  const bool was_open = is_open();
  ++failures_;
  if (!was_open && failures_ < kFailuresToOpen) return Change::kNone;
  // A request that was in flight when the circuit opened, and fails now, is not a probe.
  if (was_open && now < next_probe_at_) return Change::kNone;
  step_ = was_open ? std::min(step_ * 2, kStepMax) : kStepMin;
  const double factor = 0.8 + 0.4 * random;
  next_probe_at_ = now + std::chrono::round<Duration>(std::chrono::duration<double, Duration::period>(step_) * factor);
  if (not_before) next_probe_at_ = std::max(next_probe_at_, *not_before);
  if (was_open) return Change::kNone;
  opened_at_ = now;
  return Change::kOpened;
}

void Circuit::reopen(Time opened_at, Time now) {
  opened_at_ = opened_at;
  failures_ = kFailuresToOpen;
  step_ = kStepMin;
  next_probe_at_ = now;
}

void Circuit::clock_set_back(Time now) { next_probe_at_ = std::min(next_probe_at_, now + step_); }

}  // namespace webhook
