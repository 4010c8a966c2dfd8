#include "worker/recording.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace webhook {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t kBatch = 512;                   // results that are recorded at once
constexpr std::size_t kBatchShare = 4;                // or a quarter of the bytes that results may take
constexpr std::size_t kResultsMax = 10'000;           // above it nothing is admitted
constexpr Duration kDelayMin = milliseconds(20);      // for which a result waits for others under load
constexpr Duration kDelayMax = milliseconds(50);      // in between it is as long as the last recording took
constexpr Duration kCheckpointInterval = seconds(1);  // between two checkpoints
constexpr Duration kStatisticsInterval = seconds(5);  // between two rounds, at least
constexpr int kStatisticsShare = 100;                 // writing statistics takes a hundredth of the time at most
constexpr std::size_t kStatisticsStep = 20;           // rows that are written at once, at least
constexpr std::size_t kResultsPerStatistic = 8;       // or one row for so many results
constexpr Duration kLockedRetry = seconds(5);         // before rows are tried again that somebody has locked
constexpr std::size_t kLockedMinutesMax = 1000;       // rows that are kept for it
constexpr Duration kWarningInterval = minutes(1);     // before the same warning is given again

}  // namespace

Recording::Recording(Process& process, Recorder& recorder, const ByteBudget& budget, Ledger& ledger,
                     Statistics& statistics, Subscribers& subscribers, Maintenance& maintenance)
    : process_(process),
      recorder_(recorder),
      budget_(budget),
      ledger_(ledger),
      statistics_(statistics),
      subscribers_(subscribers),
      maintenance_(maintenance),
      delay_(kDelayMin) {}

bool Recording::is_full() const { return recorder_.count() >= kResultsMax; }

bool Recording::is_batch_full() const { return recorder_.count() >= kBatch; }

void Recording::forget(const Uuid& webhook) {
  endpoints_.erase(webhook);
  locked_endpoints_.erase(webhook);
  std::erase_if(locked_minutes_, [&webhook](const MinuteOfWebhook& minute) { return minute.webhook == webhook; });
}

// --- When -----------------------------------------------------------------------------------------------------------------

bool Recording::has_new_checkpoint() const {
  const bool is_of_use = has_ledger_changed_ || maintenance_.is_checkpoint_wanted();
  return is_of_use && ledger_.checkpoint() != recorded_checkpoint_;
}

bool Recording::is_checkpoint_due(Time now) const {
  return deadlines_.has_passed(Deadline::kCheckpoint, now) && has_new_checkpoint();
}

bool Recording::is_due(bool is_idle) const {
  const Time now = process_.now();
  if (is_checkpoint_due(now) || !endpoints_.empty()) return true;
  if (has_locked_rows() && deadlines_.has_passed(Deadline::kLockedRows, now)) return true;
  if (recorder_.empty()) return deadlines_.has_passed(Deadline::kStatistics, now) && !statistics_.empty();
  const auto is_past = [&](Time time) { return now < time || now - time >= delay_; };
  if (is_batch_full() || recorder_.bytes() >= budget_.results_max() / kBatchShare) return true;
  return is_past(recorder_.oldest()) || (is_idle && is_past(last_recorded_));
}

std::optional<Time> Recording::next_at(Time /*now*/) const {
  Earliest next;
  if (!recorder_.empty()) next.add(recorder_.oldest() + delay_);
  if (has_locked_rows()) next.add(deadlines_[Deadline::kLockedRows]);
  if (has_new_checkpoint()) next.add(deadlines_[Deadline::kCheckpoint]);
  if (!statistics_.empty() && recorder_.empty()) next.add(deadlines_[Deadline::kStatistics]);
  return next.time();
}

void Recording::hasten_statistics() { deadlines_.set(Deadline::kStatistics, process_.now()); }

void Recording::hasten_checkpoint() {
  has_ledger_changed_ = true;
  deadlines_.set(Deadline::kCheckpoint, process_.now());
}

// --- What -----------------------------------------------------------------------------------------------------------------

std::optional<Recorder::Result> Recording::record(const Lanes& lanes) {
  const Time now = process_.now();
  Recorder::WorkerState state = state_to_record(lanes);
  if (recorder_.empty() && state.empty()) return std::nullopt;
  Recorder::Result recorded;
  try {
    recorded = recorder_.record(state);
  } catch (...) {
    statistics_.give_back(state.minutes);
    for (const EndpointState& endpoint : state.endpoints) endpoints_.insert(endpoint.webhook);
    throw;
  }
  const Duration cost = process_.now() - now;
  if (recorded.logged > 0) last_recorded_ = now + cost;
  logged_ += static_cast<std::int64_t>(recorded.logged);
  note_cost(state, now, cost);
  if (state.checkpoint) {
    deadlines_.set(Deadline::kCheckpoint, now + kCheckpointInterval);
    maintenance_.note_growth(now);
    recorded_checkpoint_ = std::move(state.checkpoint);
    has_ledger_changed_ = false;
  }
  for (const Ledger::Entry entry : recorded.settled) ledger_.settle(entry);
  if (!recorded.settled.empty()) has_ledger_changed_ = true;
  keep_locked_rows(recorded.stored);
  if (!recorded.stored.problem.empty()) warn_of_refusal(recorded.stored.problem);
  return recorded;
}

// Rows that are written together with the results when they are due.
Recorder::WorkerState Recording::state_to_record(const Lanes& lanes) {
  const Time now = process_.now();
  Recorder::WorkerState state;
  if (is_checkpoint_due(now)) state.checkpoint = ledger_.checkpoint();
  if (deadlines_.has_passed(Deadline::kStatistics, now) && !statistics_.empty()) {
    state.minutes = statistics_.take(std::max(kStatisticsStep, recorder_.count() / kResultsPerStatistic));
    for (const MinuteOfWebhook& minute : state.minutes) endpoints_.insert(minute.webhook);
  }
  if (deadlines_.has_passed(Deadline::kLockedRows, now)) {
    add_locked_rows(&state);
    deadlines_.set(Deadline::kLockedRows, now + kLockedRetry);
  }
  for (const Uuid& id : endpoints_) {
    const Subscriber* subscriber = subscribers_.find(id);
    if (subscriber == nullptr) continue;
    EndpointState endpoint = subscriber->endpoint();
    const Circuit* circuit = lanes.circuit(id);
    const bool is_open = circuit != nullptr && circuit->is_open();
    endpoint.circuit_opened_at = is_open ? circuit->opened_at() : std::nullopt;
    endpoint.next_probe_at = is_open ? std::optional(circuit->next_probe_at()) : std::nullopt;
    state.endpoints.push_back(std::move(endpoint));
  }
  endpoints_.clear();
  return state;
}

// One statement writes a row only once. A locked minute waits if the same minute is written now anyway.
void Recording::add_locked_rows(Recorder::WorkerState* state) {
  endpoints_.insert(locked_endpoints_.begin(), locked_endpoints_.end());
  locked_endpoints_.clear();
  const auto is_among = [&](const MinuteOfWebhook& row) {
    return std::any_of(state->minutes.begin(), state->minutes.end(), [&row](const MinuteOfWebhook& other) {
      return other.webhook == row.webhook && other.minute == row.minute;
    });
  };
  const auto rest = std::partition(locked_minutes_.begin(), locked_minutes_.end(), is_among);
  state->minutes.insert(state->minutes.end(), rest, locked_minutes_.end());
  locked_minutes_.erase(rest, locked_minutes_.end());
}

void Recording::note_cost(const Recorder::WorkerState& state, Time begun, Duration cost) {
  delay_ = std::clamp<Duration>(cost, kDelayMin, kDelayMax);
  if (state.minutes.empty()) return;
  statistics_cost_ += cost;
  if (statistics_.has_round()) return;
  const Duration pause = std::max<Duration>(kStatisticsInterval, statistics_cost_ * kStatisticsShare);
  deadlines_.set(Deadline::kStatistics, begun + pause);
  statistics_cost_ = {};
}

// Rows that were not written because somebody has locked them.
void Recording::keep_locked_rows(const Recorded& recorded) {
  if (recorded.minutes.empty() && recorded.endpoints.empty()) return;
  locked_minutes_.insert(locked_minutes_.end(), recorded.minutes.begin(), recorded.minutes.end());
  if (locked_minutes_.size() > kLockedMinutesMax) {
    locked_minutes_.erase(locked_minutes_.begin(), locked_minutes_.end() - kLockedMinutesMax);
  }
  locked_endpoints_.insert(recorded.endpoints.begin(), recorded.endpoints.end());
  deadlines_.set(Deadline::kLockedRows, process_.now() + kLockedRetry);
}

void Recording::warn_of_refusal(const std::string& problem) {
  const Time now = process_.now();
  if (!deadlines_.has_passed(Deadline::kRefusalWarning, now)) return;
  deadlines_.set(Deadline::kRefusalWarning, now + kWarningInterval);
  process_.log(LogLevel::kWarning, "a row of the worker's was refused: " + problem,
               "It was recorded in part, or waits. Deliveries of other webhooks go on.",
               "Look for constraints, indexes and triggers that were added to the extension's tables.");
}

}  // namespace webhook
