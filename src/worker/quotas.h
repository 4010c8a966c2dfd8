// Holds each organization to its share of webhook_deliveries, and of the events that are saved for these rows.
//
// The first worker of a database counts in rounds: it walks through all rows in small steps, so that neither capture
// nor sending maintains a counter. So an organization may exceed its share until the next round ends. Counting takes at
// most a fiftieth of the time, giving up at most half.
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

  // Works for about a millisecond, if it is time. If it throws Error, the failed step is repeated.
  void turn();
  Time next_turn() const { return next_turn_; }
  // Whether no round is under way.
  bool is_idle() const { return phase_ == Phase::kCount && !counted_to_; }
  // By the last round that was counted to its end. Nothing: none was yet.
  const std::optional<DeliveryTotals>& totals() const { return totals_; }
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
  DeliveryTotals counting_;  // of the round that is under way
  std::optional<DeliveryTotals> totals_;
  std::unordered_map<std::string, std::unordered_map<Uuid, std::uint64_t>> pending_;  // by organization
  std::vector<Excess> excess_;
  std::int64_t tidied_to_ = 0;
  std::unordered_map<std::string, std::uint64_t> saved_bytes_;  // by organization
  std::vector<SavedExcess> saved_excess_;
};

}  // namespace webhook
