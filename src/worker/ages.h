// Gives up pending deliveries that grow too old while nobody fetches them: if their webhook is switched off, if its
// circuit is open, or if deliveries are paused. Pending::refill() gives up the old ones among those that it fetches.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/time.h"
#include "core/uuid.h"
#include "worker/deadlines.h"
#include "worker/pending.h"
#include "worker/process.h"
#include "worker/subscribers.h"

namespace webhook {

class Ages {
 public:
  // All of these outlive it.
  Ages(Process& process, Subscribers& subscribers, Pending& pending)
      : process_(process), subscribers_(subscribers), pending_(pending) {}

  // Takes a step, if it is time. delivers: deliveries are switched on. If it throws Error, the rest is for the next
  // step.
  void check(bool delivers);

  std::optional<Time> next_at(Time /*now*/) const { return deadlines_[Deadline::kCheck]; }
  void clock_set_back(Time now) { deadlines_.clock_set_back(now); }

 private:
  enum class Deadline : std::uint8_t { kCheck, kCount };

  Process& process_;
  Subscribers& subscribers_;
  Pending& pending_;
  Deadlines<Deadline> deadlines_;
  std::vector<Uuid> to_check_;  // in this round
};

}  // namespace webhook
