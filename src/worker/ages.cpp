#include "worker/ages.h"

#include <chrono>

namespace webhook {
namespace {

constexpr Duration kInterval = std::chrono::seconds(10);    // between two rounds
constexpr Duration kTime = std::chrono::milliseconds(1);    // of a step
constexpr Duration kPause = std::chrono::milliseconds(50);  // between two steps of a round

}  // namespace

void Ages::check(bool delivers) {
  const Time begin = process_.now();
  if (!deadlines_.has_passed(Deadline::kCheck, begin)) return;
  if (to_check_.empty()) {
    for (const auto& [id, subscriber] : subscribers_) {
      if (pending_.is_left_alone(id, delivers)) to_check_.push_back(id);
    }
  }
  const Time end = process_.now() + kTime;
  while (!to_check_.empty() && process_.now() < end) {
    const Uuid id = to_check_.back();
    const Subscriber* const subscriber = subscribers_.find(id);
    const bool has_more =
        subscriber != nullptr && pending_.is_left_alone(id, delivers) && pending_.give_up_old(*subscriber);
    if (!has_more) to_check_.pop_back();
  }
  deadlines_.set(Deadline::kCheck, process_.now() + (to_check_.empty() ? kInterval : kPause));
}

}  // namespace webhook
