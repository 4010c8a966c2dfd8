#include "worker/reader.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include "worker/spill.h"

namespace webhook {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kReadMax = 500;  // events that are read at once
constexpr Duration kSafetyInterval = seconds(5);
// While requests are in flight, polling takes a quarter of the time at most.
constexpr int kPollShare = 4;
constexpr Duration kPollIntervalMin = microseconds(100);  // between two polls while requests are in flight
constexpr Duration kPollIntervalMax = milliseconds(1);    // likewise
constexpr Duration kAdmitTime = milliseconds(2);          // of admitting, after which the network is looked after
constexpr std::size_t kAdmitStep = 200;                   // deliveries after which the clock is read
constexpr Duration kFilterTime = milliseconds(2);         // of asking filters, after which the network is looked after

}  // namespace

Reader::Reader(Process& process, Store& store, const WorkerShare& share, const ByteBudget& budget, Ledger& ledger,
               ReadBarrier& barrier, Subscribers& subscribers, Recording& recording, Recovery& recovery,
               Pending& pending, Filters& filters, Admission& admission, Webhooks& webhooks, Unadmitted& unadmitted)
    : process_(process),
      store_(store),
      share_(share),
      budget_(budget),
      ledger_(ledger),
      barrier_(barrier),
      subscribers_(subscribers),
      recording_(recording),
      recovery_(recovery),
      pending_(pending),
      filters_(filters),
      admission_(admission),
      webhooks_(webhooks),
      unadmitted_(unadmitted),
      backpressure_(process, pending) {}

// --- When -----------------------------------------------------------------------------------------------------------------

// Whether there is room for more events in memory, among the results, and ahead of the checkpoint.
bool Reader::may_read() const {
  return may_filter() && !pending_.are_fan_outs_full() && ledger_.events_ahead() < Spill::kEventsAheadMax &&
         budget_.has_room_to_read();
}

// An event that waits for its filters holds up the checkpoint, so only room among the results counts.
bool Reader::may_filter() const {
  return recording_.has_room_for_results() && webhooks_.delivers() && !recording_.is_full();
}

// While requests are in flight, polls that find one event each must not delay the responses. Requests that hang have no
// responses.
Time Reader::polls_open_at() const {
  const Time poll = deadlines_[Deadline::kPoll];
  return pending_.has_fast_requests() ? std::max(poll, deadlines_[Deadline::kPollPause]) : poll;
}

void Reader::note_failure(Time now) {
  is_poll_wanted_ = true;
  filters_.hold(now);
}

std::optional<Time> Reader::next_at(Time now) {
  Earliest next;
  next.add(deadlines_[Deadline::kSafetyPoll]);
  if (!webhooks_.delivers()) return next.time();
  const bool has_some = !unadmitted_.empty();
  if (webhooks_.are_loaded() && may_read() && (has_some || is_poll_wanted_)) {
    next.add(std::max(has_some ? now : polls_open_at(), backpressure_.opens_at(now)));
  }
  if (const std::optional<Time> filter = filters_.next_at(now); filter && may_filter()) {
    next.add(std::max(*filter, backpressure_.opens_at(now)));
  }
  return next.time();
}

void Reader::clock_set_back(Time now) {
  deadlines_.clock_set_back(now);
  backpressure_.reset();
  filters_.clock_set_back(now);
}

void Reader::report(WorkerFigures* figures) const {
  figures->read_to = read_to_;
  figures->read_position = ledger_.read_position();
  figures->oldest_event_at = ledger_.oldest_created_at();
  if (const std::optional<Time> next = unadmitted_.next_created_at()) {
    figures->oldest_event_at = std::min(figures->oldest_event_at.value_or(*next), *next);
  }
}

// --- Reading --------------------------------------------------------------------------------------------------------------

void Reader::read() {
  if (!webhooks_.are_loaded()) return;
  const Time now = process_.now();
  if (!webhooks_.delivers()) {
    read_while_off(now);
    return;
  }
  if (deadlines_.has_passed(Deadline::kSafetyPoll, now)) {
    is_poll_wanted_ = true;
    deadlines_.set(Deadline::kSafetyPoll, now + kSafetyInterval);
  }
  const bool has_some = !unadmitted_.empty();
  const bool has_events = may_read() && (has_some || (is_poll_wanted_ && now >= polls_open_at()));
  if (!has_events && !(may_filter() && filters_.is_due(now))) {
    backpressure_.reset();
    return;
  }
  backpressure_.want(now);
  if (now < backpressure_.opens_at(now)) return;
  const Backpressure::Room room = backpressure_.open();
  filter(room);  // those that have waited go first
  if (has_events && !has_some) poll();
  if (has_events && !unadmitted_.empty()) {
    admit_chunk(room);
    filter(room);
  }
}

// While deliveries are off. Resuming them wakes the worker, but it sees an invalidation only in a transaction.
void Reader::read_while_off(Time now) {
  backpressure_.reset();
  filters_.hold(now);
  if (is_poll_wanted_ || deadlines_.has_passed(Deadline::kSafetyPoll, now)) webhooks_.read_changes();
  deadlines_.set(Deadline::kSafetyPoll, now + kSafetyInterval);
  // If they have just been resumed, the next turn polls the log.
  is_poll_wanted_ = webhooks_.delivers();
}

void Reader::filter(const Backpressure::Room& room) {
  const Time begin = process_.now();
  const Time end = begin + kFilterTime;
  for (Time now = begin; now < end && may_filter() && backpressure_.has_room(room); now = process_.now()) {
    if (!filters_.is_due(now)) break;
    admission_.ask_filters();
  }
  admission_.refuse_old_filters();
}

void Reader::poll() {
  const Time begin = process_.now();
  deadlines_.set(Deadline::kSafetyPoll, begin + kSafetyInterval);
  if (share_.number == 1) store_.refill_ids();
  is_poll_wanted_ = false;
  if (!ledger_.window_is_read() || open_next_window()) {
    is_poll_wanted_ = true;
    read_chunk();
  }
  const Duration cost = process_.now() - begin;
  deadlines_.set(Deadline::kPollPause,
                 begin + std::clamp<Duration>(cost * kPollShare, kPollIntervalMin, kPollIntervalMax));
}

// False: nothing has finished since the last window, or changes are to be read first.
bool Reader::open_next_window() {
  was_called_ = false;
  process_.listen_for_events();
  barrier_.note_head();
  const LogHead head = store_.current_head();
  // What changed before the snapshot must be known before its events are routed.
  if (const std::optional<Time> again = webhooks_.catch_up()) {
    is_poll_wanted_ = true;
    deadlines_.set(Deadline::kPoll, *again);
    return false;
  }
  // Only now: if the call above fails, the window that ends here is never opened.
  recovery_.set_end(head.snapshot);
  Window window{ledger_.window().to, head.snapshot};
  const std::int64_t window_floor = std::exchange(log_floor_, next_log_floor_);
  next_log_floor_ = head.last_log_id;
  if (window.empty()) {
    barrier_.note_read(ledger_.next_entry());
    if (recovery_.is_under_way()) recovery_.end(ledger_.next_entry());
    return false;
  }
  ledger_.open_window(std::move(window), window_floor);
  return true;
}

void Reader::read_chunk() {
  Chunk chunk = store_.read(ledger_.window(), ledger_.read_position(), kReadMax, budget_.read_max());
  if (recovery_.is_under_way()) recovery_.set_rows(rows_of(chunk.events));
  window_is_read_ = chunk.window_is_read;
  if (!chunk.events.empty()) read_to_ = chunk.events.back().created_at;
  unadmitted_.set(std::move(chunk.events));
  if (unadmitted_.empty()) finish_chunk();
}

std::vector<DeliveryKey> Reader::rows_of(const std::vector<Event>& events) {
  std::vector<std::int64_t> ids;
  ids.reserve(events.size());
  for (const Event& event : events) ids.push_back(event.id);
  return store_.pending_of(ids);
}

// --- Admitting ------------------------------------------------------------------------------------------------------------

// Finds the subscribers of the events.
std::vector<Unadmitted::Subscribers> Reader::route(const std::vector<Event>& events) {
  std::vector<Unadmitted::Subscribers> subscribers(events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    for (Subscriber* const subscriber : subscribers_.routes(event)) {
      if (!subscribers_.is_to_deliver(event, *subscriber)) continue;
      if (recovery_.is_under_way() && recovery_.knows({event.id, subscriber->id()})) continue;
      subscribers[i].push_back(subscriber);
    }
  }
  return subscribers;
}

// Admits as many events as there is room for. If lanes had time to make room and made none, admits all.
void Reader::admit_chunk(const Backpressure::Room& room) {
  if (!unadmitted_.are_routed()) unadmitted_.route(route(unadmitted_.events()));
  const Time end = process_.now() + kAdmitTime;
  std::size_t deliveries = 0;  // since the clock was read
  while (!unadmitted_.empty() && may_read() && backpressure_.has_room(room)) {
    if (deliveries >= kAdmitStep) {
      if (process_.now() >= end) break;
      deliveries = 0;
    }
    const Unadmitted::Subscribers& subscribers = unadmitted_.next_subscribers();
    deliveries += subscribers.size();
    admission_.admit(unadmitted_.take(), subscribers);
  }
  if (unadmitted_.empty()) finish_chunk();
}

void Reader::finish_chunk() {
  unadmitted_.clear();
  if (!window_is_read_) return;
  ledger_.finish_window();
  barrier_.note_read(ledger_.next_entry());
  if (recovery_.is_under_way() && recovery_.ends_at(ledger_.window().to)) recovery_.end(ledger_.next_entry());
  // While recovering nobody has called for what was committed before this process began.
  is_poll_wanted_ = recovery_.is_under_way() || was_called_;
}

}  // namespace webhook
