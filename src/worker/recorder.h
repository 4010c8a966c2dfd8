// Results on their way into the database, in batches. If a batch fails, it is kept and tried again together with newer
// results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/byte_budget.h"
#include "core/ledger.h"
#include "core/time.h"
#include "worker/store.h"

namespace webhook {

class Recorder {
 public:
  // What became durable.
  struct Result {
    std::vector<Ledger::Entry> settled;
    std::vector<DeliveryKey> released;
    std::size_t logged = 0;  // log rows
    Recorded stored;         // what the database took
  };

  // What the worker knows of itself and of endpoints, to be recorded together with the results.
  struct WorkerState {
    std::vector<EndpointState> endpoints;
    std::vector<MinuteOfWebhook> minutes;
    std::optional<Checkpoint> checkpoint;

    bool empty() const { return endpoints.empty() && minutes.empty() && !checkpoint; }
  };

  // The budget outlives it.
  Recorder(Store& store, ByteBudget& budget) : store_(store), budget_(budget) {}

  void log(LogRow row, Time now);
  // The delivery is pending, or dead, as the row says; a later row for the same delivery replaces an earlier one.
  void store(DeliveryRow row, Time now);
  // The delivery is no longer pending, if it was.
  void finish(const Finished& delivery, Time now);
  // The webhook is gone. Changes of its pending deliveries that wait here are dropped.
  void forget(const Uuid& webhook);
  void emit(OperationalEvent event, Time now);
  // Settles a delivery of the event in the ledger when all of the above is durable.
  void settle(Ledger::Entry entry) { settled_.push_back(entry); }
  // The worker no longer has this row of webhook_deliveries in memory, once all of the above is durable.
  void release(const DeliveryKey& key) { released_.push_back(key); }

  // Whether there is nothing to record now.
  bool empty() const { return count_ == 0 && settled_.empty() && released_.empty(); }
  // Calls of log(), store(), finish() and emit() that wait.
  std::size_t count() const { return count_; }
  // What those take in memory, roughly.
  std::size_t bytes() const { return bytes_; }
  // How many deliveries store() has made dead.
  std::int64_t given_up() const { return given_up_; }
  // Since when the oldest of those has waited; in the past if there is none.
  Time oldest() const { return oldest_; }

  // Writes everything that waits, and the state, in one transaction. If it throws Error, everything still waits.
  Result record(const WorkerState& state);

 private:
  void note(std::size_t bytes, Time now);
  Batch take_batch();

  Store& store_;
  ByteBudget& budget_;
  ByteBudget::Charge charge_;  // for these
  std::size_t bytes_ = 0;
  std::vector<LogRow> logs_;
  std::unordered_map<DeliveryKey, DeliveryRow> deliveries_;
  std::unordered_map<DeliveryKey, std::int64_t> finished_;  // and by which request
  std::vector<OperationalEvent> events_;
  std::vector<Ledger::Entry> settled_;
  std::vector<DeliveryKey> released_;
  std::size_t count_ = 0;
  std::int64_t given_up_ = 0;
  Time oldest_{};
};

}  // namespace webhook
