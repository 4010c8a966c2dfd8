// Holds each organization to its share of webhook_deliveries, and of the events that are saved for what is in it.
//
// The first worker of a database counts in rounds: all rows are walked in small steps, so that neither the application
// nor whoever sends pays for a counter. So an organization may have more than its share until the next round ends. A round
// takes a fiftieth of the time; giving up, as much as is left for the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/time.h"
#include "core/uuid.h"
#include "worker/process.h"
#include "worker/store.h"

namespace webhook {

class Quotas {
 public:
  Quotas(Process& process, Store& store) : process_(process), store_(store) {}

  // Goes on for about a millisecond, if it is time. Throws Error; the step that failed is done again.
  void turn();
  Time next_turn() const { return next_turn_; }
  void clock_set_back(Time now);

 private:
  enum class Phase : std::uint8_t {
    kCount,       // the rows of webhook_deliveries → kGiveUp
    kGiveUp,      // what is beyond the quota → kTidySaved
    kTidySaved,   // saved events that nothing refers to go, the others are measured → kGiveUpSaved
    kGiveUpSaved  // what is beyond the quota → kCount, with a rest
  };
  struct Excess {
    Uuid webhook;
    std::uint64_t rows = 0;
  };
  struct SavedExcess {
    std::string organization;
    std::uint64_t bytes = 0;
  };

  bool step();
  void count();
  void find_excess();
  void give_up();
  void tidy_saved();
  void give_up_saved();

  Process& process_;
  Store& store_;
  Phase phase_ = Phase::kCount;
  Time next_turn_{};
  Duration round_cost_{};
  std::optional<DeliveryKey> counted_to_;
  std::unordered_map<std::string, std::unordered_map<Uuid, std::uint64_t>> pending_;  // by organization
  std::vector<Excess> excess_;
  std::int64_t tidied_to_ = 0;
  std::unordered_map<std::string, std::uint64_t> saved_bytes_;  // by organization
  std::vector<SavedExcess> saved_excess_;
};

}  // namespace webhook
