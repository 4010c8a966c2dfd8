// Spills deliveries that have waited or been in flight for long to webhook_deliveries, so that they do not stop the
// checkpoint, which would stop reading. They stay in memory.
//
// An entry of the ledger is old after 2 to 4 s, when a boundary has been drawn twice since it was admitted. Spilling
// goes in small steps, because nothing is sent meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/ledger.h"
#include "core/time.h"
#include "worker/deadlines.h"
#include "worker/in_flight.h"
#include "worker/pending.h"
#include "worker/process.h"
#include "worker/recorder.h"

namespace webhook {

class Spill {
 public:
  // How many events may be ahead of the checkpoint. If there are more, no events are read.
  static constexpr std::size_t kEventsAheadMax = 50'000;

  // All of these outlive it.
  Spill(Process& process, const Ledger& ledger, const Recorder& recorder, Pending& pending)
      : process_(process), ledger_(ledger), recorder_(recorder), pending_(pending) {}

  void start();

  // Whether step() has something to do.
  bool is_due(Time now) const;
  // Hands what is spilled to the recorder.
  void step(InFlight& in_flight);

  std::optional<Time> next_at(Time now) const;
  void clock_set_back(Time now) { deadlines_.clock_set_back(now); }

 private:
  enum class Deadline : std::uint8_t { kBoundary, kCount };

  bool spill_old(InFlight& in_flight);

  Process& process_;
  const Ledger& ledger_;
  const Recorder& recorder_;
  Pending& pending_;
  Deadlines<Deadline> deadlines_;
  Ledger::Entry boundary_ = 0;  // entries below it were admitted before the boundary was last drawn
  bool is_under_way_ = false;   // some of those are still to be spilled
};

}  // namespace webhook
