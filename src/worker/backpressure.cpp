#include "worker/backpressure.h"

#include <algorithm>
#include <chrono>

namespace webhook {
namespace {

constexpr Duration kAllowanceMax = std::chrono::milliseconds(500);
constexpr Duration kPerAttempt = std::chrono::microseconds(100);  // that an attempt gives back

}  // namespace

Backpressure::Backpressure(Process& process, const Pending& pending)
    : process_(process), pending_(pending), allowance_(kAllowanceMax) {}

Time Backpressure::opens_at(Time now) const {
  return pending_.are_lanes_crowded() ? waits_since_.value_or(now) + allowance_ : now;
}

void Backpressure::want(Time now) {
  if (pending_.are_lanes_crowded() && !waits_since_) waits_since_ = now;
}

void Backpressure::leave_out(Duration time) {
  if (waits_since_) *waits_since_ += time;
}

Backpressure::Room Backpressure::open() {
  const Room room{.is_overdue = pending_.are_lanes_crowded(), .has_waited = waits_since_.has_value()};
  if (waits_since_) {
    allowance_ -= std::clamp<Duration>(process_.now() - *waits_since_, Duration::zero(), allowance_);
    waits_since_.reset();
  }
  return room;
}

bool Backpressure::has_room(const Room& room) const {
  return room.is_overdue || !(room.has_waited ? pending_.are_lanes_full() : pending_.are_lanes_crowded());
}

void Backpressure::note_attempt() { allowance_ = std::min<Duration>(allowance_ + kPerAttempt, kAllowanceMax); }

}  // namespace webhook
