// The order of a webhook's pending deliveries: whether its rows in webhook_deliveries have the keys of its present
// ordering, and which keys have pending deliveries.
//
// Rows without keys, or with the keys of another ordering, get new keys step by step. Until then none of the webhook's
// rows is fetched, and all its deliveries overflow. The class works on the lanes, the backlog and the deferrals of
// Pending. Pending schedules the fetches.
#pragma once

#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "core/backlog.h"
#include "core/deferrals.h"
#include "core/lanes.h"
#include "core/ordering.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/process.h"
#include "worker/store.h"
#include "worker/subscribers.h"

namespace webhook {

// Whether deliveries of the webhook have an order to keep.
inline bool is_ordered(const Subscriber& subscriber) {
  return subscriber.is_deliverable() && subscriber.webhook().limits.ordering != Ordering::kRelaxed;
}

class OrderingKeys {
 public:
  // All of these outlive it.
  OrderingKeys(Process& process, Store& store, Subscribers& subscribers, Lanes& lanes, Backlog& backlog,
               Deferrals& deferrals)
      : process_(process),
        store_(store),
        subscribers_(subscribers),
        lanes_(lanes),
        backlog_(backlog),
        deferrals_(deferrals) {}

  // Whether nothing of the webhook may be fetched, because the order of its rows is not known yet.
  bool are_incomplete(const Uuid& webhook) const { return jobs_.contains(webhook) || to_load_.contains(webhook); }
  // Whether its rows get keys.
  bool are_being_written(const Uuid& webhook) const { return jobs_.contains(webhook); }

  // Remembers to load the webhook's keys. The caller then calls set_up() for it, and note_loaded().
  void load(const Uuid& webhook) { to_load_.insert(webhook); }
  // Nothing: there is none to load.
  std::optional<Uuid> next_to_load() const;
  void note_loaded(const Uuid& webhook) { to_load_.erase(webhook); }

  // Loads which keys wait, or begins to write keys. All results must have been recorded, or they would not be counted.
  void set_up(const Subscriber& subscriber);
  // Nothing is pending to the webhook, so there is nothing to load.
  void note_nothing_pending(const Subscriber& subscriber);

  // Whether write_step() has something to do.
  bool has_step() const;
  // Writes the next keys of one webhook. All results must have been recorded. Returns the webhook if all its keys are
  // written now, otherwise nullptr.
  const Subscriber* write_step();

  // The webhook has no order any more.
  void drop(const Uuid& webhook);
  // The webhook is gone.
  void forget(const Uuid& webhook);

 private:
  // How far the rows of a webhook have the keys of an ordering.
  struct Job {
    Ordering ordering = Ordering::kRelaxed;
    Backlog::Position position;
  };
  using Jobs = std::unordered_map<Uuid, Job>;

  Jobs::const_iterator next_job() const;

  Process& process_;
  Store& store_;
  Subscribers& subscribers_;
  Lanes& lanes_;
  Backlog& backlog_;
  Deferrals& deferrals_;
  std::unordered_map<Uuid, Ordering> written_;  // all rows have the keys of that ordering
  Jobs jobs_;
  std::unordered_set<Uuid> to_load_;
};

}  // namespace webhook
