// Carries out the replays of this worker's webhooks (webhook_replays), each in many small steps. In the same way it
// takes over what nodes that are gone have left to this home (sql/parts/sharing_takeover.sql): for each webhook, that
// is a job, too.
//
// A step is one transaction of the store, which also stores how far the replay is: whatever happens in between, the
// next step goes on there, and no event is queued twice. The rows that a step makes pending are announced like those of
// a session that calls webhook_replay(), so no other part of the worker needs to know.
//
// Organizations take turns, and so do the replays of each. All steps together take a fifth of the time at most. A
// replay that cannot go on now is forgotten here: the next poll of the table finds it again. So only those that can go
// on are in memory.
//
//                 poll() finds it                    step() takes a step
//   webhook_replays ───────────────▶ jobs_, in turns ───────────────────▶ jobs_, at the end of its turn   (kMore)
//                                                                     ──▶ forgotten      (kWaits, kEnded, kUnknown)
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "core/byte_budget.h"
#include "core/share.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/deadlines.h"
#include "worker/filters.h"
#include "worker/process.h"
#include "worker/replay_store.h"
#include "worker/subscribers.h"

namespace webhook {

class Replays {
 public:
  static constexpr std::size_t kEventsPerStep = 1'000;
  static constexpr std::size_t kQueuedPerStep = 200;
  static constexpr std::size_t kPendingMax = 10'000;  // of a webhook, or half of its organization's quota

  // All of these outlive it.
  Replays(Process& process, ReplayStore& store, Subscribers& subscribers, Filters& filters, const ByteBudget& budget,
          const WorkerShare& share)
      : process_(process),
        store_(store),
        subscribers_(subscribers),
        filters_(filters),
        budget_(budget),
        share_(share) {}

  // Polls for replays, or takes a step of one, if it is time. delivers: deliveries are neither switched off nor paused;
  // otherwise replays wait. Throws Error if the database failed; a replay that failed has ended, and is none.
  void turn(bool delivers);
  // A session has changed what is pending: it may have started a replay.
  void poll_soon(Time now);

  // Whether the last poll has found one that is unfinished.
  bool has_jobs() const { return !jobs_.empty(); }
  // Whether it has found none, and nobody has started one since.
  bool is_idle(Time now) const {
    return jobs_.empty() && polled_to_ == 0 && !takeovers_polled_to_ && !deadlines_.has_passed(Deadline::kPoll, now);
  }

  std::optional<Time> next_at(Time now) const;
  void clock_set_back(Time now);

 private:
  enum class Deadline : std::uint8_t { kPoll, kStep, kCount };
  struct Job {
    std::int64_t id = 0;  // of the replay; 0: taking over for the webhook
    Uuid webhook;
    std::size_t room = 0;  // see ReplayBounds
  };

  void poll(Time now);
  void poll_takeovers(Time now);
  void note(const Job& found, const std::optional<std::string>& organization);
  void step();
  ReplayStep take_step(const Job& job, const std::optional<std::string>& organization);
  void report_failure(const Job& job, const std::string& failure);
  ReplayStep end_after(const Error& error, const Job& job);
  ReplayBounds bounds_of(const Job& job) const;
  bool may_filter(const Job& job, const std::optional<std::string>& organization);

  Process& process_;
  ReplayStore& store_;
  Subscribers& subscribers_;
  Filters& filters_;
  const ByteBudget& budget_;
  const WorkerShare share_;
  std::map<std::optional<std::string>, std::deque<Job>> jobs_;  // by organization
  std::optional<std::string> last_turn_;                        // the organization that had it
  std::int64_t polled_to_ = 0;                                  // in the poll that is under way; 0: none is
  std::optional<Uuid> takeovers_polled_to_;                     // likewise
  Deadlines<Deadline> deadlines_;
};

}  // namespace webhook
