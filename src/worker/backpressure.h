// Makes admission wait while lanes are crowded, so that they drain instead of overflowing into webhook_deliveries.
//
// Waiting uses up an allowance, and each delivery gives some of it back. So a lane that takes 10,000 deliveries a second is
// waited for as often as it needs, but for the moment in which it connects. A slower one is not, however much there is for
// it.
#pragma once

#include <optional>

#include "core/time.h"
#include "worker/pending.h"
#include "worker/process.h"

namespace webhook {

class Backpressure {
 public:
  // For which deliveries lanes have room now.
  struct Room {
    bool is_overdue = false;  // for all: lanes had their time to make some
    bool has_waited = false;  // for a good many at once, not one for each that was sent
  };

  // Both outlive it.
  Backpressure(Process& process, const Pending& pending);

  // When more may be admitted, not before now.
  Time opens_at(Time now) const;
  // Something is to be admitted: if lanes are crowded, waiting begins.
  void want(Time now);
  // Nothing is to be admitted, or something else than the lanes prevents it.
  void reset() { waits_since_.reset(); }
  // The time was not the lanes', since nothing was sent in it.
  void leave_out(Duration time);
  // Waiting ends. Returns what may be admitted now.
  Room open();
  // Whether there still is that room.
  bool has_room(const Room& room) const;
  // A delivery's attempt has ended.
  void note_attempt();

 private:
  Process& process_;
  const Pending& pending_;
  std::optional<Time> waits_since_;
  Duration allowance_;
};

}  // namespace webhook
