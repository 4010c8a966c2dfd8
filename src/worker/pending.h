// The owner of all deliveries that wait. A delivery waits in its webhook's lane or as a row of webhook_deliveries. The
// deliveries of an event for many webhooks may also wait on their way there.
//
//   deliver() ──▶ lane ──▶ take() ──▶ the network
//      │          ▲  │
//      │  refill()│  │ overflow, eviction, retry, spill
//      ▼          │  ▼
//   fan-outs ──▶ webhook_deliveries
//
// If the lane does not take a delivery, it gets a row in webhook_deliveries, which says when it is due. refill()
// fetches due rows into lanes that have room. core/lanes.h and worker/ordering_keys.h keep the order.
//
// Rows reach webhook_deliveries through the Recorder. record() writes them and takes over the result. Reads of
// webhook_deliveries come after that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/backlog.h"
#include "core/byte_budget.h"
#include "core/circuit.h"
#include "core/deferrals.h"
#include "core/delivery.h"
#include "core/event.h"
#include "core/fan_outs.h"
#include "core/lanes.h"
#include "core/ledger.h"
#include "core/outgoing.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/deadlines.h"
#include "worker/ordering_keys.h"
#include "worker/outgoing_factory.h"
#include "worker/process.h"
#include "worker/read_barrier.h"
#include "worker/recorder.h"
#include "worker/recording.h"
#include "worker/recovery.h"
#include "worker/store.h"
#include "worker/subscribers.h"

namespace webhook {

class Pending {
 public:
  // All of these outlive it.
  Pending(Process& process, Store& store, Subscribers& subscribers, ByteBudget& budget, ReadBarrier& barrier,
          Recorder& recorder, Recording& recording, OutgoingFactory& outgoings, const Recovery& recovery);

  // Takes over webhook.max_in_flight and the budget.
  void apply_settings();

  // --- Recording

  // Records the results that wait, and what is due together with them. If it throws Error, all of it still waits.
  void record();
  // The same, but only if results wait.
  void flush();
  // The worker before this one has left changes of the webhook that are not applied yet.
  void note_deferred(const Uuid& webhook);
  // Applies some of the changes that could not be written to webhook_deliveries at the time, if it is time for that.
  void apply_deferred();

  // --- Webhooks

  // The webhook is new or has changed. If is_backlog_new is set, its next_due replaces what was known of its backlog.
  // circuit_opened_at is set for a new webhook whose circuit an earlier worker left open. Call schedule_refill() next.
  void take_webhook(const Subscriber& subscriber, const Subscribers::Change& change, bool is_backlog_new,
                    std::optional<Time> circuit_opened_at);
  // Takes over how many organizations have a webhook that can be delivered to.
  void count_organizations();
  // Whether nothing of the webhook is in memory, or will soon be. Then its lane is gone, until there is something for it.
  bool let_rest(const Subscriber& subscriber);
  // Decides when the webhook's backlog is read next.
  void schedule_refill(const Subscriber& subscriber);
  // The webhook is gone. Its requests in flight go on. Maintenance deletes its rows.
  void forget(const Uuid& webhook);
  // Loads the ordering keys that have pending deliveries, as far as there is time.
  void load_ordering_keys();
  // A step of writing ordering keys.
  void write_ordering_keys();

  // --- Events

  // Puts a delivery into each subscriber's lane. If the lane does not take it, it becomes a pending row.
  void deliver(const std::vector<Subscriber*>& subscribers, const std::shared_ptr<const Outgoing>& event,
               Ledger::Entry entry);
  // A delivery is dead without another attempt. The log says so.
  void give_up(const Event& event, const Webhook& webhook, int attempts, const std::string& error,
               std::int64_t request = 0);
  bool has_fan_outs() const { return !fan_outs_.empty(); }
  // Whether too many deliveries wait for their rows to admit another event.
  bool are_fan_outs_full() const { return fan_outs_.is_full(); }
  // Writes some of the rows of events that go to many webhooks. Returns whether the caller should record them now.
  bool write_fan_outs();

  // --- Attempts

  // The next delivery that may be sent, now in flight.
  std::optional<Delivery> take(Time now) { return lanes_.take(now); }
  // It is not sent, because its webhook is gone.
  void discard(const Delivery& delivery);
  // An attempt has ended. not_before: the endpoint asked for no probe before then.
  Circuit::Change finish(const Delivery& delivery, Lanes::Health verdict, std::optional<Time> not_before);
  // The delivery has succeeded: its row goes, if it has one.
  void remove_row(const Delivery& delivery);
  // When a delivery is due that waits for its turn only: since it began to be pending, or now if the clock has been set
  // back to before that.
  Time due_since(const Delivery& delivery) const;
  // The delivery becomes pending after so many attempts. It is dead if next_attempt_at is nullopt.
  void add(const Delivery& delivery, int attempts, std::optional<Time> next_attempt_at, std::string error);
  // Deliveries behind a failed one in its lane that must not overtake it become pending too.
  void hold_back_behind(const Delivery& failed);
  // The recorder has the results of the delivery's attempt. Its lane may need a refill.
  void let_go(const Delivery& delivery, const Subscriber& subscriber);
  // The deliveries of a webhook that is gone are settled.
  void drop(const std::vector<Delivery>& deliveries);

  // Nothing: the webhook has no lane.
  const Circuit* circuit(const Uuid& webhook) const { return lanes_.circuit(webhook); }
  // The circuit has opened. The deliveries in the lane become pending rows, and the backlog waits for the next probe.
  void hold_back(const Subscriber& subscriber);
  // A test has shown that the endpoint answers.
  Circuit::Change close_circuit(const Uuid& webhook) { return lanes_.close_circuit(webhook, process_.now()); }

  // --- What waits

  // Fetches due rows into lanes that have room, for about a millisecond.
  void refill();
  // If the lanes of endpoints without a recent success hold too many bytes, evicts deliveries from them.
  void relieve_lanes();
  // Whether the webhook has pending rows that refill() does not fetch. delivers: deliveries are switched on.
  bool is_left_alone(const Uuid& webhook, bool delivers) const;
  // Gives up some of the webhook's pending deliveries that are older than webhook.max_age. Returns whether there may be
  // more.
  bool give_up_old(const Subscriber& subscriber);
  // Visits the deliveries in lanes until a visit returns false. Returns whether all were visited.
  template <class Visit>
  bool for_each_queued(Visit visit) {
    return lanes_.for_each_queued(visit);
  }
  // Stores a delivery that is in memory as a row. From then on the row stands for it instead of the event log.
  void spill(Delivery& delivery);

  // How many deliveries wait in lanes.
  std::size_t queued() const { return lanes_.queued(); }
  // Whether admission should wait for the lanes, and whether it should go on waiting for them (core/lanes.h).
  bool are_lanes_crowded() const { return lanes_.is_crowded(); }
  bool are_lanes_full() const { return lanes_.is_full(); }
  // Whether requests are in flight that are not slow.
  bool has_fast_requests() const { return lanes_.fast() > 0; }
  // Its part of the figures.
  void report(WorkerFigures* figures) const;

  // --- Time

  // Whether no delivery is in memory and nothing is to be written or read. Rows may be due later: next_refill_at().
  bool is_idle() const;
  // The next time that this class has something for the database.
  std::optional<Time> next_at(Time now) const;
  std::optional<Time> next_refill_at() const;
  // When take() may return a delivery that it does not return now.
  std::optional<Time> next_send_at() const { return lanes_.next_turn_at(); }
  void clock_set_back(Time now);

 private:
  enum class Deadline : std::uint8_t { kRelief, kDeferralWarning, kCount };

  void take_recorded(const Recorder::Result& recorded);
  void end_deferral(const Applied& applied);
  void warn_of_deferral(const Uuid& webhook);
  void set_up_lane(const Subscriber& subscriber, const Subscribers::Change& change);
  void make_lane(const Subscriber& subscriber);
  void set_up_ordering(const Subscriber& subscriber, const Subscribers::Change& change, bool is_backlog_new);
  void load_ordering_keys(const Subscriber& subscriber);
  void wait_for_rows(const std::vector<const Subscriber*>& subscribers, const Outgoing& event, Ledger::Entry entry);
  bool is_asked_again(const Delivery& delivery) const;
  void add_row(const Delivery& delivery, const Subscriber& subscriber, int attempts,
               std::optional<Time> next_attempt_at, std::string error);
  void add_due(const Delivery& delivery);
  void take_back(std::vector<Delivery> deliveries);
  void refill_lane(const Subscriber& subscriber);
  bool give_up_if_dead(const Subscriber& subscriber, const PendingDelivery& row, Time now);
  bool offer_row(const Subscriber& subscriber, PendingDelivery row);
  void end_overflow(const Subscriber& subscriber, bool is_all);
  void starve(const Uuid& webhook, std::size_t bytes);
  void wake_starved();
  void wake_read();

  Process& process_;
  Store& store_;
  Subscribers& subscribers_;
  ByteBudget& budget_;
  ReadBarrier& barrier_;
  Recorder& recorder_;
  Recording& recording_;
  OutgoingFactory& outgoings_;
  const Recovery& recovery_;
  FanOuts fan_outs_;
  Lanes lanes_;
  Backlog backlog_;
  Deferrals deferrals_;  // of webhooks whose rows somebody else is writing
  OrderingKeys ordering_keys_;
  Deadlines<Deadline> deadlines_;
  // Webhooks for whose next pending delivery other lanes left no bytes: how many bytes it takes, and in which order
  // they came.
  std::unordered_map<Uuid, std::size_t> starved_;
  std::deque<Uuid> starved_turns_;
};

}  // namespace webhook
