// When results are recorded, and what is recorded together with them: the checkpoint, the statistics, and the state of
// endpoints.
//
// Results wait a moment for each other in the Recorder. If somebody has locked the rows of statistics or endpoints,
// these wait here until they are tried again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/byte_budget.h"
#include "core/lanes.h"
#include "core/ledger.h"
#include "core/statistics.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/deadlines.h"
#include "worker/maintenance.h"
#include "worker/process.h"
#include "worker/recorder.h"
#include "worker/store.h"
#include "worker/subscribers.h"

namespace webhook {

class Recording {
 public:
  // All of these outlive it.
  Recording(Process& process, Recorder& recorder, const ByteBudget& budget, Ledger& ledger, Statistics& statistics,
            Subscribers& subscribers, Maintenance& maintenance);

  // Whether more may be sent. Results pile up while the database takes none.
  bool has_room_for_results() const { return recorder_.bytes() < budget_.results_max(); }
  // Whether too many results wait to admit another event before they are recorded.
  bool is_full() const;
  // Whether enough results wait to record them now.
  bool is_batch_full() const;

  // The ledger has changed, so there may be a new checkpoint.
  void note_ledger_change() { has_ledger_changed_ = true; }
  // Writes the state of the webhook's endpoint with the next results.
  void write_endpoint(const Uuid& webhook) { endpoints_.insert(webhook); }
  // The webhook is gone.
  void forget(const Uuid& webhook);

  // Whether record() has something to do now. is_idle: no more results will come, so it is useless to wait for them.
  bool is_due(bool is_idle) const;
  // Records the results that wait and what is due together with them, and settles the ledger. Returns nullopt if there
  // was nothing to record. The caller must take over what was released and deferred. If it throws Error, all of it
  // still waits.
  [[nodiscard]] std::optional<Recorder::Result> record(const Lanes& lanes);

  // The worker ends. The next record() writes statistics, or the checkpoint, whatever their deadline.
  void hasten_statistics();
  void hasten_checkpoint();

  // The database has refused a row.
  void warn_of_refusal(const std::string& problem);

  // Log rows since the worker's start.
  std::int64_t logged() const { return logged_; }

  // Whether nothing is left but what the end of the worker writes: statistics and the checkpoint.
  bool is_idle() const { return recorder_.empty() && endpoints_.empty() && !has_locked_rows(); }

  std::optional<Time> next_at(Time now) const;
  void clock_set_back(Time now) { deadlines_.clock_set_back(now); }

 private:
  enum class Deadline : std::uint8_t { kCheckpoint, kStatistics, kLockedRows, kRefusalWarning, kCount };

  bool has_new_checkpoint() const;
  bool is_checkpoint_due(Time now) const;
  bool has_locked_rows() const { return !locked_endpoints_.empty() || !locked_minutes_.empty(); }
  Recorder::WorkerState state_to_record(const Lanes& lanes);
  void add_locked_rows(Recorder::WorkerState* state);
  void note_cost(const Recorder::WorkerState& state, Time begun, Duration cost);
  void keep_locked_rows(const Recorded& recorded);

  Process& process_;
  Recorder& recorder_;
  const ByteBudget& budget_;
  Ledger& ledger_;
  Statistics& statistics_;
  Subscribers& subscribers_;
  Maintenance& maintenance_;
  Deadlines<Deadline> deadlines_;
  Time last_recorded_{};             // log rows
  Duration delay_;                   // how long results wait to be recorded together
  Duration statistics_cost_{};       // of writing this round of them, so far
  bool has_ledger_changed_ = false;  // since the last checkpoint
  std::optional<Checkpoint> recorded_checkpoint_;
  std::unordered_set<Uuid> endpoints_;  // to be written now; the others are written with the statistics
  std::unordered_set<Uuid> locked_endpoints_;
  std::vector<MinuteOfWebhook> locked_minutes_;
  std::int64_t logged_ = 0;
};

}  // namespace webhook
