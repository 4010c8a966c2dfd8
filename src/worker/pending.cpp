#include "worker/pending.h"

#include <algorithm>
#include <chrono>
#include <unordered_set>

#include "worker/in_flight.h"

namespace webhook {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kRefillTime = milliseconds(1);        // then the network gets its turn
constexpr Duration kLoadTime = milliseconds(5);          // the same for loading ordering keys
constexpr Duration kReliefInterval = milliseconds(100);  // between two rounds of relieving lanes
constexpr int kReliefStep = 8;                           // lanes of a round
constexpr int kStarvedMisses = 4;                        // lanes without room, after which no more are asked
constexpr std::size_t kFanOutStep = 200;                 // rows that are written at once
constexpr std::size_t kGiveUpStep = 500;                 // old deliveries that are given up at once
constexpr std::size_t kDeferralTries = 200;              // webhooks with deferred changes that are tried at once
constexpr std::size_t kDeferredStep = 200;               // changes of one webhook that are applied at once
constexpr Duration kDeferralPatience = seconds(2);       // a deferral that is over by then is not worth a warning
constexpr Duration kWarningInterval = minutes(1);        // before the same warning is given again

constexpr const char* kTooOld = "older than webhook.max_age";
constexpr const char* kNotStored = "the event is no longer stored";

Delivery delivery_of(const Subscriber& subscriber, const std::shared_ptr<const Outgoing>& event, Ledger::Entry entry) {
  return {.webhook = subscriber.id(),
          .webhook_created_at = subscriber.created_at(),
          .event = event,
          .pending_since = event->captured_at,
          .entry = entry};
}

// What a row needs to know of the event.
std::shared_ptr<const Outgoing> without_body(const Outgoing& event) {
  auto head = std::make_shared<Outgoing>();
  head->event_id = event.event_id;
  head->segment = event.segment;
  head->created_at = event.created_at;
  head->captured_at = event.captured_at;
  head->event_name = event.event_name;
  head->organization_id = event.organization_id;
  head->key = event.key;
  return head;
}

}  // namespace

Pending::Pending(Process& process, Store& store, Subscribers& subscribers, ByteBudget& budget, ReadBarrier& barrier,
                 Recorder& recorder, Recording& recording, OutgoingFactory& outgoings, const Recovery& recovery)
    : process_(process),
      store_(store),
      subscribers_(subscribers),
      budget_(budget),
      barrier_(barrier),
      recorder_(recorder),
      recording_(recording),
      outgoings_(outgoings),
      recovery_(recovery),
      fan_outs_(budget),
      ordering_keys_(process, store, subscribers, lanes_, backlog_, deferrals_) {}

void Pending::apply_settings() {
  lanes_.set_slots(SlotLimits::of(static_cast<std::size_t>(process_.settings().max_in_flight)));
  lanes_.set_bytes_max(budget_.deliveries_max());
}

// --- Recording ------------------------------------------------------------------------------------------------------------

void Pending::record() {
  if (const std::optional<Recorder::Result> recorded = recording_.record(lanes_)) take_recorded(*recorded);
}

void Pending::flush() {
  if (!recorder_.empty()) record();
}

void Pending::take_recorded(const Recorder::Result& recorded) {
  for (const DeliveryKey& key : recorded.released) {
    if (!backlog_.let_go(key.webhook, key.event_id)) continue;
    if (const Subscriber* subscriber = subscribers_.find(key.webhook)) schedule_refill(*subscriber);
  }
  for (const Uuid& id : recorded.stored.deferred) {
    if (deferrals_.add(id, process_.now())) backlog_.unschedule(id);
  }
}

void Pending::note_deferred(const Uuid& webhook) { deferrals_.add(webhook, process_.now()); }

void Pending::apply_deferred() {
  const Time begin = process_.now();
  if (deferrals_.next_try_at().value_or(Time::max()) > begin) return;
  std::optional<Uuid> waiting;
  for (const Applied& applied : store_.apply_deferred(deferrals_.due(begin, kDeferralTries), kDeferredStep)) {
    const Time now = process_.now();
    switch (applied.state) {
      case Applied::State::kBusy:
        deferrals_.note_busy(applied.webhook, now);
        waiting = applied.webhook;
        break;
      case Applied::State::kFailed:
        deferrals_.note_failed(applied.webhook, now);
        if (applied.problem.empty()) waiting = applied.webhook;
        break;
      case Applied::State::kMore:
        deferrals_.note_progress(applied.webhook, now);
        break;
      case Applied::State::kDone:
        end_deferral(applied);
        break;
    }
    if (!applied.problem.empty()) recording_.warn_of_refusal(applied.problem);
  }
  if (waiting) warn_of_deferral(*waiting);
}

void Pending::end_deferral(const Applied& applied) {
  const Uuid& id = applied.webhook;
  deferrals_.remove(id);
  const Subscriber* subscriber = subscribers_.find(id);
  if (subscriber == nullptr) return;
  if (applied.next_due) backlog_.add(id, {*applied.next_due, 0});
  if (is_ordered(*subscriber)) load_ordering_keys(*subscriber);
  schedule_refill(*subscriber);
}

void Pending::warn_of_deferral(const Uuid& webhook) {
  const Time now = process_.now();
  const std::optional<Time> since = deferrals_.since(webhook);
  if (!deadlines_.has_passed(Deadline::kDeferralWarning, now) || !since || now - *since < kDeferralPatience) return;
  deadlines_.set(Deadline::kDeferralWarning, now + kWarningInterval);
  const Subscriber* subscriber = subscribers_.find(webhook);
  std::string whose = subscriber == nullptr ? "a deleted webhook" : described(subscriber->webhook());
  if (deferrals_.size() > 1) whose += " and of " + std::to_string(deferrals_.size() - 1) + " more";
  process_.log(LogLevel::kWarning, "deliveries of " + whose + " wait to be recorded since " + format_timestamp(*since),
               "They are held by " + store_.holder(webhook) + ". Deliveries of other webhooks go on.",
               "End the transaction. webhook_cancel(), webhook_replay() and webhook_redeliver() hold a webhook's "
               "deliveries until then.");
}

// --- Webhooks -------------------------------------------------------------------------------------------------------------

void Pending::take_webhook(const Subscriber& subscriber, const Subscribers::Change& change, bool is_backlog_new,
                           std::optional<Time> circuit_opened_at) {
  const Uuid& id = subscriber.id();
  const std::optional<Time> next_due = subscriber.webhook().next_due;
  if (change.is_new || is_backlog_new) {
    backlog_.reset(id, next_due);
  } else if (next_due && *next_due < backlog_.next_due(id).value_or(Time::max())) {
    backlog_.add(id, {*next_due, 0});  // changed by hand, or in memory and passed over later
  }
  // The old ordering passed over rows that the new ordering delivers first.
  if (change.ordering && (next_due || backlog_.next_due(id))) backlog_.add(id, {});
  if (is_ordered(subscriber) && (is_backlog_new || change.ordering)) barrier_.add(id);
  set_up_lane(subscriber, change);
  if (circuit_opened_at) {
    make_lane(subscriber);
    lanes_.reopen_circuit(id, *circuit_opened_at, process_.now());
    lanes_.begin_overflow(id);
  }
  // Pending rows may be older or newer than the events that are read now. That is known only once they are fetched. The
  // same holds for deliveries that became pending while nothing could be delivered to the webhook.
  const std::optional<Time> first_due = backlog_.next_due(id);
  const bool is_due = first_due && *first_due <= process_.now();
  const bool begins = recovery_.is_under_way() || change.became_deliverable || change.ordering;
  if (begins && subscriber.is_deliverable() && (is_due || deferrals_.contains(id))) lanes_.begin_overflow(id);
  set_up_ordering(subscriber, change, is_backlog_new);
}

// A webhook that is deliverable gets its lane once there is something for it. If a webhook no longer is, the deliveries
// in its lane become pending.
void Pending::set_up_lane(const Subscriber& subscriber, const Subscribers::Change& change) {
  const Time now = process_.now();
  const Uuid& id = subscriber.id();
  const bool has_lane = lanes_.has_lane(id);
  if (has_lane && change.ordering) take_back(lanes_.evict(id));
  if (has_lane && change.url) lanes_.close_circuit(id, now);  // perhaps it is a better endpoint
  if (has_lane && (change.ordering || change.url)) recording_.write_endpoint(id);
  if (!subscriber.is_deliverable()) {
    if (has_lane) take_back(lanes_.remove_lane(id));
  } else if (has_lane) {
    lanes_.set_lane(id, subscriber.webhook().limits, now, subscriber.organization_id());
  } else if (backlog_.next_due(id) || backlog_.held(id) > 0 || deferrals_.contains(id)) {
    make_lane(subscriber);
  }
}

// Unless it has one.
void Pending::make_lane(const Subscriber& subscriber) {
  if (lanes_.has_lane(subscriber.id())) return;
  lanes_.set_lane(subscriber.id(), subscriber.webhook().limits, process_.now(), subscriber.organization_id());
}

void Pending::count_organizations() { lanes_.set_organizations(subscribers_.deliverable_organizations()); }

bool Pending::let_rest(const Subscriber& subscriber) {
  const Uuid& id = subscriber.id();
  const bool is_pending = backlog_.next_due(id) || backlog_.held(id) > 0 || deferrals_.contains(id) ||
                          fan_outs_.contains(id) || starved_.contains(id) || barrier_.holds(id) ||
                          ordering_keys_.are_incomplete(id);
  if (is_pending || !lanes_.remove_if_idle(id, process_.now())) return false;
  backlog_.reset(id, std::nullopt);
  return true;
}

void Pending::set_up_ordering(const Subscriber& subscriber, const Subscribers::Change& change, bool is_backlog_new) {
  const Uuid& id = subscriber.id();
  if (subscriber.webhook().limits.ordering == Ordering::kRelaxed) ordering_keys_.drop(id);
  const bool begins = change.is_new || change.ordering || change.became_deliverable || is_backlog_new;
  if (!begins || !is_ordered(subscriber)) return;
  if (backlog_.next_due(id) || backlog_.held(id) > 0 || deferrals_.contains(id)) {
    lanes_.begin_overflow(id);  // new events wait behind the pending ones, whatever their keys are
    ordering_keys_.load(id);
  } else {
    ordering_keys_.note_nothing_pending(subscriber);
  }
}

void Pending::load_ordering_keys() {
  const Time end = process_.now() + kLoadTime;
  for (auto next = ordering_keys_.next_to_load(); next && process_.now() < end; next = ordering_keys_.next_to_load()) {
    const Uuid id = *next;
    const Subscriber* const subscriber = subscribers_.find(id);
    if (subscriber != nullptr && is_ordered(*subscriber)) load_ordering_keys(*subscriber);
    ordering_keys_.note_loaded(id);
    if (subscriber == nullptr) continue;
    // If there is nothing to fetch, no fetch ends the overflow.
    const bool is_all = !backlog_.next_due(id) && !deferrals_.contains(id) && !fan_outs_.contains(id);
    const Circuit* const circuit = lanes_.circuit(id);
    if (is_all && circuit != nullptr && !circuit->is_open()) lanes_.end_overflow(id);
    schedule_refill(*subscriber);
  }
}

void Pending::load_ordering_keys(const Subscriber& subscriber) {
  flush();  // otherwise results that wait would not be counted
  ordering_keys_.set_up(subscriber);
}

void Pending::write_ordering_keys() {
  if (!ordering_keys_.has_step()) return;
  flush();  // otherwise rows that are on their way would be left out
  if (const Subscriber* const subscriber = ordering_keys_.write_step()) schedule_refill(*subscriber);
}

void Pending::forget(const Uuid& webhook) {
  drop(lanes_.forget_lane(webhook));
  recorder_.forget(webhook);
  backlog_.forget(webhook);
  ordering_keys_.forget(webhook);
  barrier_.forget(webhook);
}

// While the circuit is open, nothing is fetched before the next probe.
void Pending::schedule_refill(const Subscriber& subscriber) {
  const Uuid& id = subscriber.id();
  const std::optional<Time> due = backlog_.next_due(id);
  if (due && subscriber.is_deliverable()) make_lane(subscriber);
  const Circuit* circuit = lanes_.circuit(id);
  // Pending deliveries are read only after all of them are written.
  const bool is_incomplete = deferrals_.contains(id) || ordering_keys_.are_incomplete(id) || barrier_.holds(id);
  if (!subscriber.is_deliverable() || !due || circuit == nullptr || is_incomplete) {
    backlog_.unschedule(id);
  } else {
    backlog_.schedule(id, lanes_.organization_number(id),
                      circuit->is_open() ? std::max(*due, circuit->next_probe_at()) : *due);
  }
}

// --- Events ---------------------------------------------------------------------------------------------------------------

// Deliveries that lanes do not take get their rows at once, unless there are many.
void Pending::deliver(const std::vector<Subscriber*>& subscribers, const std::shared_ptr<const Outgoing>& event,
                      Ledger::Entry entry) {
  std::vector<const Subscriber*> rejected;
  bool must_wait = false;
  for (const Subscriber* const subscriber : subscribers) {
    if (fan_outs_.contains(subscriber->id())) {
      must_wait = true;
    } else if (subscriber->is_deliverable()) {
      make_lane(*subscriber);
      if (lanes_.offer(delivery_of(*subscriber, event, entry))) continue;
    }
    rejected.push_back(subscriber);
  }
  if (rejected.empty()) return;
  if (must_wait || rejected.size() > FanOuts::kDirectMax) {
    wait_for_rows(rejected, *event, entry);
    return;
  }
  for (const Subscriber* const subscriber : rejected) {
    add_due(delivery_of(*subscriber, event, entry));
    recorder_.settle(entry);
  }
}

// Nothing may overtake these deliveries until they have their rows.
void Pending::wait_for_rows(const std::vector<const Subscriber*>& subscribers, const Outgoing& event,
                            Ledger::Entry entry) {
  std::vector<FanOuts::Subscriber> waiting;
  waiting.reserve(subscribers.size());
  for (const Subscriber* const subscriber : subscribers) {
    waiting.push_back({subscriber->id(), subscriber->created_at()});
    if (!subscriber->is_deliverable()) continue;
    make_lane(*subscriber);
    lanes_.begin_overflow(subscriber->id());
  }
  fan_outs_.add(without_body(event), entry, std::move(waiting));
}

bool Pending::write_fan_outs() {
  for (std::size_t n = 0; n < kFanOutStep && !recording_.is_full(); ++n) {
    const std::optional<FanOuts::Taken> taken = fan_outs_.take();
    if (!taken) return true;
    add_due({.webhook = taken->subscriber.webhook,
             .webhook_created_at = taken->subscriber.created_at,
             .event = taken->event,
             .pending_since = taken->event->captured_at,
             .entry = taken->entry});
    recorder_.settle(taken->entry);
  }
  return recording_.is_batch_full();
}

void Pending::give_up(const Event& event, const Webhook& webhook, int attempts, const std::string& error,
                      std::int64_t request) {
  const Time now = process_.now();
  recorder_.log({.created_at = now,
                 .webhook = webhook.id,
                 .organization_id = event.organization_id,
                 .event_id = event.id,
                 .event = event.name,
                 .error = error},
                now);
  recorder_.store({.key = {event.id, webhook.id},
                   .request = request,
                   .webhook_created_at = webhook.created_at,
                   .organization_id = event.organization_id,
                   .event = event.name,
                   .event_key = event.key,
                   .segment = event.segment,
                   .created_at = event.created_at,
                   .attempts = attempts,
                   .pending_since = event.captured_at(),
                   .last_error = error},
                  now);
}

// --- Rows -----------------------------------------------------------------------------------------------------------------

void Pending::add(const Delivery& delivery, int attempts, std::optional<Time> next_attempt_at, std::string error) {
  const Subscriber* subscriber = subscribers_.find(delivery);
  if (subscriber == nullptr || is_asked_again(delivery)) return;
  add_row(delivery, *subscriber, attempts, next_attempt_at, std::move(error));
  if (next_attempt_at) backlog_.add(delivery.webhook, {*next_attempt_at, delivery.event->event_id});
  schedule_refill(*subscriber);
}

// Whether the event is in memory a second time, because somebody asked for it again. webhook_deliveries has one row for
// both, that of the request, and what becomes of the request decides about the row.
bool Pending::is_asked_again(const Delivery& delivery) const {
  return !delivery.has_row && backlog_.is_held(delivery.webhook, delivery.event->event_id);
}

void Pending::add_row(const Delivery& delivery, const Subscriber& subscriber, int attempts,
                      std::optional<Time> next_attempt_at, std::string error) {
  const Outgoing& event = *delivery.event;
  recorder_.store({.key = key_of(delivery),
                   .request = delivery.request,
                   .webhook_created_at = subscriber.created_at(),
                   .organization_id = event.organization_id,
                   .event = event.event_name,
                   .event_key = event.key,
                   .segment = event.segment,
                   .created_at = event.created_at,
                   .attempts = attempts,
                   .probes = delivery.probes,
                   .pending_since = due_since(delivery),
                   .next_attempt_at = next_attempt_at,
                   .last_error = std::move(error),
                   .ordering_key = ordering_key(subscriber.webhook().limits.ordering, event.key, event.event_id)},
                  process_.now());
  if (next_attempt_at && !delivery.has_row) lanes_.note_pending(delivery.webhook, event.key, event.event_id);
  if (!next_attempt_at && delivery.has_row) lanes_.note_settled(delivery.webhook, event.key, event.event_id);
}

// So that pending deliveries are sent in the order of their age.
Time Pending::due_since(const Delivery& delivery) const { return std::min(delivery.pending_since, process_.now()); }

void Pending::add_due(const Delivery& delivery) {
  const Subscriber* subscriber = subscribers_.find(delivery);
  add(delivery, delivery.attempt - 1, due_since(delivery),
      subscriber == nullptr ? std::string() : subscriber->webhook().secret_problem);
}

void Pending::remove_row(const Delivery& delivery) {
  if (!delivery.has_row) return;
  recorder_.finish({key_of(delivery), delivery.request}, process_.now());
  lanes_.note_settled(delivery.webhook, delivery.event->key, delivery.event->event_id);
}

// Deliveries that must not be sent now become or stay pending.
void Pending::take_back(std::vector<Delivery> deliveries) {
  for (Delivery& delivery : deliveries) {
    if (delivery.has_row) {
      backlog_.put_back(delivery.webhook, delivery.event->event_id);
      if (const Subscriber* subscriber = subscribers_.find(delivery)) schedule_refill(*subscriber);
    } else {
      add_due(delivery);
    }
    if (delivery.entry) recorder_.settle(*delivery.entry);
  }
}

void Pending::drop(const std::vector<Delivery>& deliveries) {
  for (const Delivery& delivery : deliveries) {
    if (delivery.entry) recorder_.settle(*delivery.entry);
  }
}

// The delivery stays in memory, so refill() does not fetch the row. A delivery to a deleted webhook gets no row.
void Pending::spill(Delivery& delivery) {
  const Subscriber* subscriber = subscribers_.find(delivery);
  if (subscriber != nullptr && !is_asked_again(delivery)) {
    const Time due = due_since(delivery);
    backlog_.hold(delivery.webhook, {due, delivery.event->event_id});
    add_row(delivery, *subscriber, delivery.attempt - 1, due, std::string());
    delivery.has_row = true;
  }
  recorder_.settle(*delivery.entry);
  delivery.entry.reset();
}

// --- Attempts -------------------------------------------------------------------------------------------------------------

void Pending::discard(const Delivery& delivery) {
  lanes_.finish(delivery, Lanes::Health::kAnswered, process_.now(), 0);
  if (delivery.entry) recorder_.settle(*delivery.entry);
}

Circuit::Change Pending::finish(const Delivery& delivery, Lanes::Health verdict, std::optional<Time> not_before) {
  return lanes_.finish(delivery, verdict, process_.now(), process_.random(), not_before);
}

void Pending::hold_back_behind(const Delivery& failed) { take_back(lanes_.withdraw_behind(failed)); }

void Pending::let_go(const Delivery& delivery, const Subscriber& subscriber) {
  if (delivery.entry) recorder_.settle(*delivery.entry);
  if (delivery.has_row) recorder_.release(key_of(delivery));
  const Uuid& id = delivery.webhook;
  if (backlog_.next_due(id) && lanes_.wants_refill(id, process_.now())) schedule_refill(subscriber);
}

void Pending::hold_back(const Subscriber& subscriber) {
  const Uuid& id = subscriber.id();
  take_back(lanes_.evict(id));
  lanes_.begin_overflow(id);
  schedule_refill(subscriber);
}

// --- Refill ---------------------------------------------------------------------------------------------------------------

void Pending::refill() {
  // Events without rows that are older than rows come first, so that they get rows too.
  if (recovery_.is_under_way() || fan_outs_.has_older_than(recovery_.end_entry())) return;
  const Time end = process_.now() + kRefillTime;
  bool is_recorded = false;
  wake_starved();
  wake_read();
  while (process_.now() < end) {
    const std::optional<Uuid> id = backlog_.take_scheduled(process_.now());
    if (!id) break;
    const Subscriber* const subscriber = subscribers_.find(*id);
    // A lane without much room is scheduled again by let_go().
    if (subscriber == nullptr) continue;
    if (!lanes_.wants_refill(*id, process_.now())) {
      if (!lanes_.has_bytes_for(*id, 1)) starve(*id, 1);
      continue;
    }
    try {
      // Deliveries that overflowed a moment ago are recorded first. Otherwise refill_lane() would not see them, and new
      // events would overtake them.
      if (!std::exchange(is_recorded, true)) flush();
      if (!deferrals_.contains(*id)) refill_lane(*subscriber);
    } catch (...) {
      schedule_refill(*subscriber);
      throw;
    }
  }
}

void Pending::refill_lane(const Subscriber& subscriber) {
  const Uuid id = subscriber.id();
  const Time now = process_.now();
  const bool in_order = subscriber.webhook().limits.ordering != Ordering::kRelaxed;
  const std::size_t room = lanes_.room(id, now);
  // For an ordered webhook the store begins at the oldest rows. These are in memory already.
  Due due = store_.due({.webhook = subscriber.identity(),
                        .now = now,
                        .in_order = in_order,
                        .after = backlog_.position(id),
                        .rows_max = in_order ? room + backlog_.held(id) : room,
                        .bytes_max = budget_.read_max()});
  bool all_taken = true;
  bool has_found = false;  // a row that is not in memory yet
  // Ordering keys of deliveries that are in memory and that somebody asked for again. Later rows with these keys wait
  // too.
  std::unordered_set<std::string> asked_again;
  Backlog::Position position = backlog_.position(id);
  for (PendingDelivery& row : due.deliveries) {
    const Backlog::Position at{row.next_attempt_at, row.event.id};
    const std::int64_t request = row.request;
    const std::optional<std::string> key =
        ordering_key(subscriber.webhook().limits.ordering, row.event.key, row.event.id);
    if (backlog_.is_held(id, row.event.id)) {
      if (backlog_.note_found(id, at, request) && key) asked_again.insert(*key);
    } else if (!key || !asked_again.contains(*key)) {
      has_found = true;
      all_taken = give_up_if_dead(subscriber, row, now) || offer_row(subscriber, std::move(row));
      if (!all_taken) break;
      backlog_.hold(id, at, request);
    }
    if (asked_again.empty()) position = at;
  }
  // Deliveries in fan_outs_ are pending and have no row yet.
  const bool is_all = due.is_all && all_taken && asked_again.empty();
  const bool has_more = !is_all || fan_outs_.contains(id);
  backlog_.advance(id, position, is_all ? due.next : std::optional(std::min(now, backlog_.next_due(id).value_or(now))));
  if (has_more) {
    lanes_.begin_overflow(id);
  } else {
    end_overflow(subscriber, !due.next);
  }
  // Otherwise let_go() schedules the webhook when the lane has room. For an ordered webhook it does so when a delivery
  // in memory has ended, because the store returns the rows in memory first.
  if (all_taken && (has_found || is_all || !in_order)) schedule_refill(subscriber);
}

// Returns whether the row is not to be delivered, because it is too old or its event is gone.
bool Pending::give_up_if_dead(const Subscriber& subscriber, const PendingDelivery& row, Time now) {
  const bool is_old = row.pending_since < now - process_.settings().max_age;
  if (!is_old && !row.event.data.empty()) return false;
  const Uuid& id = subscriber.id();
  give_up(row.event, subscriber.webhook(), row.attempts, is_old ? kTooOld : kNotStored, row.request);
  lanes_.note_settled(id, row.event.key, row.event.id);
  recorder_.release({row.event.id, id});
  return true;
}

// Returns whether the lane has taken it.
bool Pending::offer_row(const Subscriber& subscriber, PendingDelivery row) {
  const Uuid& id = subscriber.id();
  const std::shared_ptr<const Outgoing> event = outgoings_.make(std::move(row.event));
  const bool is_taken = lanes_.refill({.webhook = id,
                                       .webhook_created_at = subscriber.created_at(),
                                       .event = event,
                                       .attempt = row.attempts + 1,
                                       .probes = row.probes,
                                       .pending_since = row.pending_since,
                                       .has_row = true,
                                       .request = row.request});
  if (!is_taken && !lanes_.has_bytes_for(id, event->bytes())) starve(id, event->bytes());
  return is_taken;
}

// All due rows are in memory. is_all: there are no other rows.
void Pending::end_overflow(const Subscriber& subscriber, bool is_all) {
  const Uuid& id = subscriber.id();
  // There were too many keys with pending deliveries to know them all. Now there are few.
  if (is_all && !lanes_.knows_pending(id) && !ordering_keys_.are_being_written(id)) ordering_keys_.load(id);
  lanes_.end_overflow(id);
}

// The webhook is scheduled again when other lanes have let go of so many bytes.
void Pending::starve(const Uuid& webhook, std::size_t bytes) {
  if (starved_.insert_or_assign(webhook, bytes).second) starved_turns_.push_back(webhook);
}

// If others have changed a webhook's pending rows, schedules it once all events are read that may be older than these
// rows.
void Pending::wake_read() {
  for (const Uuid& id : barrier_.release()) {
    if (const Subscriber* subscriber = subscribers_.find(id)) schedule_refill(*subscriber);
  }
}

// Schedules those that came first and for which there is room together.
void Pending::wake_starved() {
  std::size_t bytes = 0;
  int misses = 0;
  for (std::size_t left = starved_turns_.size(); left > 0 && misses < kStarvedMisses; --left) {
    const Uuid id = starved_turns_.front();
    starved_turns_.pop_front();
    const Subscriber* subscriber = subscribers_.find(id);
    const std::size_t wanted = starved_.at(id);
    if (subscriber != nullptr && lanes_.circuit(id) != nullptr && !lanes_.has_bytes_for(id, bytes + wanted)) {
      starved_turns_.push_back(id);
      ++misses;
      continue;
    }
    starved_.erase(id);
    bytes += wanted;
    if (subscriber != nullptr) schedule_refill(*subscriber);
  }
}

// These lanes were trusted when they got their deliveries. Only a full round is followed by a pause.
void Pending::relieve_lanes() {
  if (!deadlines_.has_passed(Deadline::kRelief, process_.now())) return;
  for (int relieved = 0; relieved < kReliefStep; ++relieved) {
    const std::optional<Uuid> id = lanes_.lane_to_relieve();
    if (!id) return;
    take_back(lanes_.evict(*id));
    lanes_.begin_overflow(*id);
  }
  deadlines_.set(Deadline::kRelief, process_.now() + kReliefInterval);
}

// --- Ages -----------------------------------------------------------------------------------------------------------------

bool Pending::is_left_alone(const Uuid& webhook, bool delivers) const {
  if (!backlog_.next_due(webhook) || deferrals_.contains(webhook)) return false;
  const Circuit* circuit = lanes_.circuit(webhook);
  if (circuit == nullptr) return true;
  return (circuit->is_open() || !delivers) && lanes_.queued(webhook) == 0;
}

bool Pending::give_up_old(const Subscriber& subscriber) {
  const Time before = process_.now() - process_.settings().max_age;
  const std::vector<std::int64_t> ids = store_.give_up_old(subscriber.identity(), before, kTooOld, kGiveUpStep);
  if (!ids.empty() && is_ordered(subscriber)) load_ordering_keys(subscriber);
  return ids.size() == kGiveUpStep;
}

// --- Time -----------------------------------------------------------------------------------------------------------------

bool Pending::is_idle() const {
  return lanes_.queued() == 0 && fan_outs_.empty() && starved_.empty() && !ordering_keys_.has_step() &&
         !ordering_keys_.next_to_load() && !deferrals_.next_try_at();
}

std::optional<Time> Pending::next_at(Time now) const {
  if (!fan_outs_.empty() || ordering_keys_.has_step() || ordering_keys_.next_to_load()) return now;
  return deferrals_.next_try_at();
}

void Pending::report(WorkerFigures* figures) const {
  figures->queued = lanes_.queued();
  figures->open_circuits = lanes_.open_circuits();
  figures->organizations = subscribers_.deliverable_organizations();
  figures->failing_organizations = lanes_.failing_organizations();
}

std::optional<Time> Pending::next_refill_at() const {
  if (recovery_.is_under_way()) return std::nullopt;
  Earliest next;
  next.add(backlog_.first_scheduled());
  next.add(barrier_.next_at(process_.now()));
  return next.time();
}

void Pending::clock_set_back(Time now) {
  deadlines_.clock_set_back(now);
  lanes_.clock_set_back(now);
  deferrals_.clock_set_back(now);
}

}  // namespace webhook
