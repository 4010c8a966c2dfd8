// Makes admission wait while lanes are crowded, so that they drain instead of overflowing into webhook_deliveries.
//
// Waiting uses up an allowance, and each delivery gives some of it back. So admission waits for a lane that takes
// 10,000 deliveries a second as often as necessary, except while it connects. It does not wait for slower lanes,
// however many events they have.
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

  // When more events may be admitted; at the earliest now.
  Time opens_at(Time now) const;
  // There are events to admit. If lanes are crowded, waiting begins.
  void want(Time now);
  // There are no events to admit, or something other than the lanes prevents it.
  void reset() { waits_since_.reset(); }
  // Nothing was sent in this time, so it does not count as waiting for the lanes.
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
