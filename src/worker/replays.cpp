#include "worker/replays.h"

#include <algorithm>
#include <chrono>

#include "worker/store.h"

namespace webhook {
namespace {

using std::chrono::seconds;

constexpr Duration kPollInterval = seconds(5);
constexpr Duration kWaitInterval = seconds(1);  // if a replay cannot go on now
constexpr std::size_t kPollStep = 1'000;
constexpr int kShare = 5;  // steps take a fifth of the time at most

// Whether the error says nothing about the replay: it is tried again. Transaction rollback (deadlocks), operator intervention,
// and lock_not_available: somebody writes webhook_deliveries by hand.
bool may_pass(const Error& error) {
  const std::string& state = error.sqlstate();
  return state.starts_with("40") || state.starts_with("57") || state == "55P03";
}

}  // namespace

void Replays::turn(bool delivers) {
  const Time begun = process_.now();
  if (!delivers) {
    deadlines_.set(Deadline::kPoll, begun + kPollInterval);
    jobs_.clear();
    return;
  }
  if (deadlines_.has_passed(Deadline::kPoll, begun)) poll(begun);
  if (jobs_.empty() || !deadlines_.has_passed(Deadline::kStep, begun)) return;
  step();
  const Time end = process_.now();
  deadlines_.set(Deadline::kStep, end + (end - begun) * (kShare - 1));
}

// --- Which there are ------------------------------------------------------------------------------------------------------

void Replays::poll(Time now) {
  deadlines_.set(Deadline::kPoll, now + kPollInterval);
  const UnfinishedReplays found = store_.unfinished_replays(polled_to_, kPollStep);
  for (const UnfinishedReplay& replay : found.replays) {
    if (share_.owns(replay.webhook)) note({.id = replay.id, .webhook = replay.webhook}, replay.organization_id);
  }
  polled_to_ = found.is_all ? 0 : found.replays.back().id;
  if (!found.is_all) deadlines_.set(Deadline::kPoll, now);
  poll_takeovers(now);
}

void Replays::poll_takeovers(Time now) {
  const std::vector<UnfinishedTakeover> found = store_.unfinished_takeovers(takeovers_polled_to_, kPollStep);
  for (const UnfinishedTakeover& takeover : found) {
    if (share_.owns(takeover.webhook)) note({.webhook = takeover.webhook}, takeover.organization_id);
  }
  takeovers_polled_to_.reset();
  if (found.size() < kPollStep) return;
  takeovers_polled_to_ = found.back().webhook;
  deadlines_.set(Deadline::kPoll, now);
}

void Replays::note(const Job& found, const std::optional<std::string>& organization) {
  std::deque<Job>& jobs = jobs_[organization];
  const auto is_same = [&](const Job& job) { return job.id == found.id && job.webhook == found.webhook; };
  if (std::none_of(jobs.begin(), jobs.end(), is_same)) jobs.push_back(found);
}

void Replays::poll_soon(Time now) { deadlines_.bring_forward(Deadline::kPoll, now); }

// --- Steps ----------------------------------------------------------------------------------------------------------------

void Replays::step() {
  auto turn = jobs_.upper_bound(last_turn_);
  if (turn == jobs_.end()) turn = jobs_.begin();
  last_turn_ = turn->first;
  Job job = turn->second.front();
  turn->second.pop_front();
  if (turn->second.empty()) jobs_.erase(turn);
  const ReplayStep taken = take_step(job, last_turn_);
  filters_.charge(last_turn_, taken.filter_cost);
  if (taken.outcome == ReplayStep::Outcome::kMore) {
    job.room = taken.room;
    jobs_[last_turn_].push_back(job);
  } else if (taken.outcome == ReplayStep::Outcome::kWaits) {
    deadlines_.bring_forward(Deadline::kPoll, process_.now() + kWaitInterval);
  }
  if (!taken.failure.empty()) report_failure(job, taken.failure);
}

void Replays::report_failure(const Job& job, const std::string& failure) {
  if (job.id > 0) {
    process_.log_about(last_turn_, LogLevel::kLog, "replay " + std::to_string(job.id) + " has failed: " + failure);
  } else {
    process_.log_about(last_turn_, LogLevel::kWarning,
                       "deliveries of a node that is gone cannot be taken over for webhook " + to_string(job.webhook),
                       failure, "It is tried again.");
  }
}

ReplayStep Replays::take_step(const Job& job, const std::optional<std::string>& organization) {
  if (!may_filter(job, organization)) return {.outcome = ReplayStep::Outcome::kWaits};
  std::optional<Error> failure;
  try {
    if (job.id == 0) return store_.takeover_step(job.webhook, bounds_of(job));
    return store_.replay_step(job.id, job.webhook, bounds_of(job));
  } catch (const ExtensionGone&) {
    throw;
  } catch (const Error& error) {
    failure = error;
  }
  return end_after(*failure, job);
}

// The replay, not the database, if the database can store that it has failed. What the database said may quote data, which
// not everybody may see who sees the replay.
ReplayStep Replays::end_after(const Error& error, const Job& job) {
  if (may_pass(error)) return {.outcome = ReplayStep::Outcome::kWaits};
  if (job.id == 0) return {.outcome = ReplayStep::Outcome::kWaits, .failure = error.message()};
  store_.fail_replay(job.id, "an error of the database (SQLSTATE " + error.sqlstate() + ")");
  return {.outcome = ReplayStep::Outcome::kEnded, .failure = error.message()};
}

ReplayBounds Replays::bounds_of(const Job& job) const {
  const std::size_t quota = std::max<std::size_t>(process_.settings().deliveries_max / 2, 1);
  return {.events_max = kEventsPerStep,
          .queued_max = kQueuedPerStep,
          .bytes_max = budget_.read_max(),
          .pending_max = std::min(kPendingMax, quota),
          .room = job.room};
}

// Whether its filter, if it has one, may take time now.
bool Replays::may_filter(const Job& job, const std::optional<std::string>& organization) {
  const Subscriber* const subscriber = subscribers_.find(job.webhook);
  return subscriber == nullptr || subscriber->webhook().filter.empty() || filters_.may_ask(organization);
}

// --- Time -----------------------------------------------------------------------------------------------------------------

std::optional<Time> Replays::next_at(Time /*now*/) const {
  Earliest next;
  next.add(deadlines_[Deadline::kPoll]);
  if (!jobs_.empty()) next.add(deadlines_[Deadline::kStep]);
  return next.time();
}

void Replays::clock_set_back(Time now) { deadlines_.clock_set_back(now); }

}  // namespace webhook
