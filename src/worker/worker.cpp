#include "worker/worker.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/wire.h"

namespace webhook {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t kReadMax = 500;                      // events by one read
constexpr Duration kCrowdedPauseMax = milliseconds(500);   // how long reading waits for lanes before they overflow:
constexpr Duration kPausePerDelivery = microseconds(100);  // what it has waited it gets back with what is delivered
constexpr Duration kLookIntervalMin = microseconds(100);   // between two looks at the log while requests are in flight:
constexpr Duration kLookIntervalMax = milliseconds(1);     // within these, looks take
constexpr int kLookShare = 4;                              // a fourth of the time at most
constexpr Duration kAdmitTime = milliseconds(2);           // likewise of admitting events, looked at
constexpr std::size_t kAdmitStep = 200;                    // after so many deliveries
constexpr Duration kFilterTime = milliseconds(2);          // likewise of filters
constexpr Duration kSafetyInterval = seconds(5);           // looks at the log though nobody called
constexpr Duration kWarningInterval = minutes(1);          // the same warning again
constexpr Duration kStoreBackoffMin = milliseconds(100);   // between tries of a failing database
constexpr Duration kStoreBackoffMax = seconds(10);         //
constexpr Duration kStepAsideTime = seconds(1);       // for what is in flight, while somebody waits for the database
constexpr Duration kLastStatisticsTime = seconds(1);  // or at the end what can be written in so long:

}  // namespace

Worker::Worker(pg::Process& process, pg::Store& store, HttpClient& http, pg::TestRequests& tests,
               const WorkerShare& share)
    : process_(process),
      store_(store),
      http_(http),
      share_(share),
      recorder_(store, budget_),
      tester_(process, store, http, tests, recorder_, share),
      configuration_(store),
      maintenance_(process, store, configuration_, share),
      recording_(process, recorder_, budget_, ledger_, statistics_, targets_, maintenance_),
      outgoings_(budget_),
      pending_(process, store, targets_, budget_, recorder_, recording_, outgoings_, recovery_),
      filters_(process, store, targets_, budget_, statistics_),
      outcomes_(process, store, targets_, statistics_, recorder_, recording_, recovery_, pending_),
      ages_(process, targets_, pending_),
      spill_(process, ledger_, recorder_, pending_),
      crowded_pause_(kCrowdedPauseMax) {}

void Worker::run() {
  start();
  while (!process_.shutdown_requested()) {
    std::optional<pg::Error> failure;
    try {
      turn();
    } catch (const pg::ExtensionGone&) {
      throw;
    } catch (const pg::Error& error) {
      failure = error;
    }
    if (failure) back_off(*failure);
    if (delivers()) send();  // what is in memory, though the database failed
    report();
    if (process_.shutdown_requested()) break;
    if (process_.wait(http_.fd(), time_to_wait())) look_at_log_ = was_called_ = true;
  }
  end();
}

// An error is no reason not to end: what could not be recorded will be sent again.
void Worker::end() {
  std::optional<pg::Error> failure;
  try {
    drain();
  } catch (const pg::Error& error) {
    failure = error;
  }
  if (!failure) return;
  process_.log(pg::LogLevel::kWarning, "the last results could not be recorded: " + failure->message(),
               failure->detail(), "Their webhooks will be sent again, with the same webhook-id.");
}

void Worker::start() {
  apply_settings();
  pg::StartState state = store_.start(share_);
  take_instance(state.instance, state.verdict == IdentityVerdict::kCopy);
  ledger_ = Ledger(state.checkpoint);
  log_floor_ = next_log_floor_ = state.checkpoint.log_floor;
  for (const pg::DeliveryKey& key : store_.logged_since(log_floor_)) {
    if (share_.owns(key.webhook)) recovery_.note_logged(key);
  }
  for (const Uuid& webhook : state.deferred) {
    if (share_.owns(webhook)) pending_.note_deferred(webhook);
  }
  spill_.start();
}

// --- The loop -----------------------------------------------------------------------------------------------------------

void Worker::turn() {
  const Time now = process_.now();
  if (now < last_turn_) forget_deadlines(now);  // the clock was set back
  last_turn_ = now;
  if (process_.reload_settings()) {
    apply_settings();
    configuration_.read_all_again();  // webhook.secret_key_file may have changed
    look_at_log_ = true;
  }
  http_.drive();
  collect();
  if (process_.now() >= next_store_call_) {
    keep_books();
    read();
    store_failures_ = 0;
  }
}

// What the database is to be told and asked, but for new events.
void Worker::keep_books() {
  const Time begin = process_.now();
  configuration_.take_news();
  if (configuration_.due_at().value_or(Time::max()) <= begin) read_configuration();
  if (!backlogs_to_load_.empty()) load_backlogs();
  pending_.load_ordering_keys();
  if (tester_.has_work()) tester_.turn(outgoings_.event_ids());
  bool is_due = recording_.is_due(in_flight_.empty() && pending_.queued() == 0);
  // With what is recorded anyway: results that wait for company are not to be flushed without it.
  if (spill_.is_due(process_.now()) && (is_due || recorder_.empty())) {
    spill_.step(in_flight_);
    is_due = true;
  }
  if (pending_.has_fan_outs()) is_due |= pending_.write_fan_outs();
  if (is_due) pending_.record();
  pending_.apply_deferred();
  pending_.write_ordering_keys();
  outcomes_.disable_webhooks();
  ages_.check(delivers());
  if (maintenance_.is_due(process_.now())) maintain();
  pending_.relieve_lanes();
  maintenance_.clean_up();
  if (delivers()) pending_.refill();
  // Nothing was sent meanwhile: it is not the lanes that took this time.
  if (reading_pauses_since_) *reading_pauses_since_ += process_.now() - begin;
}

std::optional<Duration> Worker::time_to_wait() {
  const Time now = process_.now();
  Time wake = Time::max();
  const auto at = [&wake](std::optional<Time> time) {
    if (time) wake = std::min(wake, *time);
  };
  at(maintenance_.next_at(now));
  at(recording_.next_at(now));
  at(pending_.next_at(now));
  at(ages_.next_at(now));
  at(spill_.next_at(now));
  at(outcomes_.next_at(now));
  at(configuration_.due_at());
  if (store_.has_news() || !backlogs_to_load_.empty()) at(now);
  if (delivers()) {
    at(pending_.next_refill_at());
    at(next_look_);
    const bool has_some = !unadmitted_.events.empty();
    if (configuration_.is_loaded() && may_read() && (has_some || look_at_log_)) {
      at(std::max(has_some ? now : looks_open_at(), admission_opens_at(now)));
    }
    if (const std::optional<Time> next = filters_.next_at(now); next && may_filter()) {
      at(std::max(*next, admission_opens_at(now)));
    }
  } else {
    at(next_look_);
  }
  if (tester_.has_work()) at(now);
  wake = std::max(wake, next_store_call_);
  // Not a matter of the database.
  if (delivers() && may_send()) at(pending_.next_send_at());
  Duration wait = std::max(wake - now, Duration::zero());
  if (const auto network = http_.timeout()) wait = std::min(wait, *network);
  return wait;
}

// All but what webhook_deliveries says is due now, rather than when an old clock said.
void Worker::forget_deadlines(Time now) {
  for (Time* deadline : {&next_look_, &next_poll_, &looks_pause_until_, &next_store_call_, &next_failure_warning_}) {
    *deadline = std::min(*deadline, now);
  }
  reading_pauses_since_.reset();
  pending_.clock_set_back(now);
  ages_.clock_set_back(now);
  spill_.clock_set_back(now);
  outcomes_.clock_set_back(now);
  filters_.clock_set_back(now);
  maintenance_.clock_set_back(now);
  recording_.clock_set_back(now);
  configuration_.clock_set_back(now);
  configuration_.read_all_again();
  is_backlog_stale_ = true;
}

// Keeps the network going, and tries the database again later, with all that it should have been told.
void Worker::back_off(const pg::Error& error) {
  const Time now = process_.now();
  next_store_call_ = now + std::min(kStoreBackoffMin * (1 << std::min(store_failures_, 10)), kStoreBackoffMax);
  ++store_failures_;
  figures_.last_error_at = now;
  look_at_log_ = true;
  filters_.hold(now);
  if (now < next_failure_warning_) return;
  next_failure_warning_ = now + kWarningInterval;
  process_.log(pg::LogLevel::kWarning, "the worker's transaction failed and will be repeated: " + error.message(),
               error.detail(), error.hint(), error.origin().context_in_a_line());
}

void Worker::report() {
  figures_.in_flight = in_flight_.size();
  figures_.queued = pending_.queued();
  figures_.logged = recording_.logged();
  figures_.events_ahead = ledger_.events_ahead();
  figures_.oldest_event_at = ledger_.oldest_created_at();
  process_.report(figures_);
  process_.report_left_out();
}

void Worker::drain() {
  const Time begun = process_.now();
  const auto is_done = [this] { return in_flight_.empty() && tester_.in_flight() == 0; };
  while (!is_done()) {
    http_.drive();
    collect();
    report();
    if (is_done()) break;
    const auto network = http_.timeout();
    Duration limit = process_.settings().shutdown_timeout;
    // Whoever waits gives up after a few seconds, and recording takes some of them too.
    if (process_.is_database_wanted()) limit = std::min(limit, kStepAsideTime);
    const Duration left = begun + limit - process_.now();
    if (left <= Duration::zero()) break;
    process_.wait(http_.fd(), std::clamp(network.value_or(left), Duration::zero(), std::max(left, Duration::zero())));
  }
  tester_.end();
  recording_.hasten_statistics();
  pending_.record();  // settles
  recording_.hasten_checkpoint();
  pending_.record();  // the checkpoint behind what was settled
  const Time end = process_.now() + kLastStatisticsTime;
  while (!statistics_.empty() && process_.now() < end) {
    recording_.hasten_statistics();  // the end of a round has put them off
    pending_.record();
  }
}

// --- Configuration --------------------------------------------------------------------------------------------------------

void Worker::apply_settings() {
  http_.configure(process_.settings().http);
  budget_.set_max(process_.settings().memory_bytes_max);
  pending_.apply_settings();
  note_whether_enabled();
}

void Worker::note_whether_enabled() {
  if (process_.settings().enabled == is_enabled_) return;
  is_enabled_ = process_.settings().enabled;
  process_.log(pg::LogLevel::kLog, is_enabled_ ? "deliveries are switched on" : "deliveries are switched off",
               is_enabled_ ? std::string() : "The setting webhook.enabled is off.");
}

void Worker::take_instance(const Uuid& instance, bool is_copy) {
  instance_ = instance;
  outgoings_.set_instance(instance);
  if (!is_copy) return;
  process_.log(pg::LogLevel::kWarning, "this database is a copy of another, or was restored: deliveries are paused",
               "Events are recorded and kept.", "Call webhook_resume() if this database is to deliver.");
}

void Worker::take_instance(const pg::Configuration& read) {
  if (read.instance && *read.instance != instance_) take_instance(*read.instance, true);
  if (read.is_paused == is_paused_) return;
  is_paused_ = read.is_paused;
  look_at_log_ = true;
  process_.log(pg::LogLevel::kLog, is_paused_ ? "deliveries are paused" : "deliveries are resumed",
               is_paused_ ? read.paused_reason : std::string());
}

void Worker::read_configuration() {
  const Time begun = process_.now();
  // What the pages say of what is owed must not be without it.
  if (is_backlog_stale_ && !recorder_.empty()) pending_.record();
  take_over(configuration_.read_next(begun), begun);
}

void Worker::read_changes() {
  const Time begun = process_.now();
  take_over(configuration_.read_changes(), begun);
}

void Worker::take_over(ConfigurationReader::Step step, Time begun) {
  take_instance(step.read);
  key_file_problem_ = step.read.key_file_problem;
  for (const pg::WebhookIdentity& deleted : step.read.deleted) {
    if (!share_.owns(deleted.id)) continue;
    const Target* target = targets_.find(deleted.id);
    if (target != nullptr && target->webhook.identity() == deleted) forget_webhook(deleted.id);
    maintenance_.clean_up_soon(begun);
  }
  for (pg::Webhook& webhook : step.read.webhooks) {
    if (!share_.owns(webhook.id)) continue;
    if (webhook.is_owed_changed) backlogs_to_load_.insert(webhook.id);
    take_webhook(std::move(webhook), is_backlog_stale_ && step.is_of_round);
  }
  if (step.has_ended_round) {
    for (const Uuid& id : targets_.not_seen_since(configuration_.round())) forget_webhook(id);
    is_backlog_stale_ = false;
    look_at_log_ = true;
  }
  if (configuration_.is_loaded()) note_secret_problem();
  if (!backlogs_to_load_.empty()) load_backlogs();
  configuration_.note_cost(step, begun, process_.now());
}

// What others have changed of what webhooks are owed.
void Worker::load_backlogs() {
  maintenance_.clean_up_soon(process_.now());  // of what has told of it
  if (!recorder_.empty()) pending_.record();   // or it would be read without it
  const std::vector<Uuid> ids(backlogs_to_load_.begin(), backlogs_to_load_.end());
  for (pg::Webhook& webhook : store_.webhooks(ids).webhooks) take_webhook(std::move(webhook), true);
  backlogs_to_load_.clear();
}

// with_backlog: what is known of what it is owed is old.
void Worker::take_webhook(pg::Webhook webhook, bool with_backlog) {
  const Uuid id = webhook.id;
  const Target* const known = targets_.find(id);
  if (known != nullptr && known->webhook.identity() != webhook.identity()) forget_webhook(id);
  configuration_.set_expiry(id, webhook.secrets_change_at);
  if (webhook.secret_problem.empty()) {
    secret_problems_.erase(id);
  } else {
    secret_problems_.insert_or_assign(id, "webhook \"" + webhook.name + "\": " + webhook.secret_problem);
  }
  std::optional<pg::EndpointState> endpoint = std::exchange(webhook.endpoint, std::nullopt);
  const Targets::Change change = targets_.put(std::move(webhook), configuration_.round());
  Target& target = *targets_.find(id);
  std::optional<Time> circuit_opened_at;
  if (change.is_new && endpoint) circuit_opened_at = take_endpoint(target, std::move(*endpoint));
  pending_.take_webhook(target, change, with_backlog, circuit_opened_at);
  if (change.filter) recording_.write_endpoint(id);
  if (target.webhook.filter.empty() && (change.is_new || change.filter)) {
    filters_.filter_removed(target, [this](auto& waiting, Target* receiver) { conclude_filter(waiting, receiver); });
  }
  pending_.schedule_refill(target);
}

// Takes over how the worker before this one found the endpoint. Returns since when its circuit is open; nothing: it is not.
std::optional<Time> Worker::take_endpoint(Target& target, pg::EndpointState endpoint) {
  const std::optional<Time> opened_at = endpoint.circuit_opened_at;
  target.endpoint = std::move(endpoint);
  std::optional<Time>& failing_since = target.endpoint.failing_since;
  if (failing_since && *failing_since < target.webhook.active_since) failing_since.reset();
  const bool counts = target.webhook.is_deliverable() && opened_at && *opened_at >= target.webhook.active_since;
  return counts ? opened_at : std::nullopt;
}

// What is in flight comes back to nobody. The rows that it leaves are deleted by clean_up().
void Worker::forget_webhook(const Uuid& id) {
  const Target* const target = targets_.find(id);
  for (std::vector<Target*>& receivers : routed_) std::erase(receivers, target);
  pending_.forget(id);
  statistics_.forget(id);
  backlogs_to_load_.erase(id);
  recording_.forget(id);
  outcomes_.forget(id);
  secret_problems_.erase(id);
  configuration_.set_expiry(id, std::nullopt);
  targets_.remove(id);
}

void Worker::note_secret_problem() {
  const std::string first = secret_problems_.empty() ? std::string() : secret_problems_.begin()->second;
  const std::string& problem = key_file_problem_.empty() ? first : key_file_problem_;
  // Of the webhooks' problems the first is told for all.
  const bool is_told = key_file_problem_ == told_key_file_problem_ && problem.empty() == !has_told_secret_problem_;
  if (is_told) return;
  told_key_file_problem_ = key_file_problem_;
  has_told_secret_problem_ = !problem.empty();
  if (problem.empty()) {
    process_.log(pg::LogLevel::kLog, "all secrets can be decrypted");
    return;
  }
  process_.log(pg::LogLevel::kWarning, problem,
               "What cannot be signed is not sent: webhook_deliveries keeps it until it can be.",
               "Give webhook.secret_key_file the key again and reload, or give the webhook another secret.");
}

// --- The log --------------------------------------------------------------------------------------------------------------

// Whether there is room for more events among the results and ahead of the checkpoint.
bool Worker::may_read() {
  return may_send() && delivers() && !pending_.are_fan_outs_full() && ledger_.events_ahead() < Spill::kEventsAheadMax &&
         !recording_.is_full() && budget_.has_room_to_read();
}

// Results come of what is sent: while the database takes none, they pile up.
bool Worker::may_send() const { return recording_.has_room_for_results(); }

// When the next events may be admitted: a lane that moves has some time to make room, rather than that all of it goes
// through webhook_deliveries. One that takes 10,000 a second always has, but for the moment in which it connects. Slower
// ones are not waited for, however much there is for them.
Time Worker::admission_opens_at(Time now) const {
  if (!pending_.are_lanes_crowded()) return now;
  return reading_pauses_since_.value_or(now) + crowded_pause_;
}

void Worker::read() {
  if (!configuration_.is_loaded()) return;
  const Time now = process_.now();
  if (!delivers()) {
    reading_pauses_since_.reset();
    filters_.hold(now);
    // Whoever resumes deliveries wakes the worker; an invalidation is only seen in a transaction.
    if (look_at_log_ || now >= next_look_) read_changes();
    next_look_ = now + kSafetyInterval;
    // If they have just been resumed, the log is looked at by the next turn.
    look_at_log_ = delivers();
    return;
  }
  if (now >= next_look_) {
    look_at_log_ = true;
    next_look_ = now + kSafetyInterval;
  }
  const bool has_some = !unadmitted_.events.empty();
  const bool has_events = may_read() && (has_some || (look_at_log_ && now >= looks_open_at()));
  if (!has_events && !(may_filter() && filters_.is_due(now))) {
    reading_pauses_since_.reset();  // it is not for the lanes
    return;
  }
  if (pending_.are_lanes_crowded() && !reading_pauses_since_) reading_pauses_since_ = now;
  if (now < admission_opens_at(now)) return;
  const AdmissionRoom room = open_admission();
  filter(room);  // those that have waited go first
  if (has_events && !has_some) {
    const Time begin = process_.now();
    read_chunk();
    pause_looks(begin);
  }
  if (has_events && !unadmitted_.events.empty()) {
    admit_chunk(room);
    filter(room);
  }
}

// While requests are in flight, lest their answers wait for looks that find one event each. Those that hang have no
// answers.
Time Worker::looks_open_at() const {
  return pending_.has_fast_requests() ? std::max(next_poll_, looks_pause_until_) : next_poll_;
}

void Worker::pause_looks(Time look_began) {
  const Duration cost = process_.now() - look_began;
  looks_pause_until_ = look_began + std::clamp<Duration>(cost * kLookShare, kLookIntervalMin, kLookIntervalMax);
}

void Worker::read_chunk() {
  const Time now = process_.now();
  next_look_ = now + kSafetyInterval;
  if (share_.number == 1) store_.refill_ids();
  look_at_log_ = false;
  if (ledger_.window_is_read() && !open_next_window()) return;
  look_at_log_ = true;
  pg::Chunk chunk = store_.read(ledger_.window(), ledger_.read_position(), kReadMax, budget_.read_max());
  if (recovery_.is_under_way()) recovery_.set_rows(rows_of(chunk.events));
  std::size_t bytes = 0;
  for (const Event& event : chunk.events) bytes += event.bytes();
  unadmitted_ = std::move(chunk);
  unadmitted_charge_ = budget_.charge(bytes);
  if (unadmitted_.events.empty()) finish_chunk();
}

Worker::AdmissionRoom Worker::open_admission() {
  const AdmissionRoom room{.is_overdue = pending_.are_lanes_crowded(), .has_waited = reading_pauses_since_.has_value()};
  if (room.has_waited) {
    crowded_pause_ -= std::clamp<Duration>(process_.now() - *reading_pauses_since_, Duration::zero(), crowded_pause_);
    reading_pauses_since_.reset();
  }
  return room;
}

bool Worker::has_room(const AdmissionRoom& room) const {
  return room.is_overdue || !(room.has_waited ? pending_.are_lanes_full() : pending_.are_lanes_crowded());
}

// As many of the events that were read as there is room for; all, if lanes had their time to make some and made none.
void Worker::admit_chunk(const AdmissionRoom& room) {
  if (routed_.empty()) routed_ = route(unadmitted_.events);
  const Time end = process_.now() + kAdmitTime;
  std::size_t admitted = 0;
  std::size_t deliveries = 0;  // since the last look at the clock
  while (admitted < unadmitted_.events.size() && may_read() && has_room(room)) {
    if (deliveries >= kAdmitStep && process_.now() >= end) break;
    deliveries = (deliveries >= kAdmitStep ? 0 : deliveries) + routed_[admitted].size();
    admit(std::move(unadmitted_.events[admitted]), routed_[admitted]);
    ++admitted;
  }
  const auto count = static_cast<std::ptrdiff_t>(admitted);
  unadmitted_.events.erase(unadmitted_.events.begin(), unadmitted_.events.begin() + count);
  routed_.erase(routed_.begin(), routed_.begin() + count);
  if (unadmitted_.events.empty()) finish_chunk();
}

void Worker::finish_chunk() {
  unadmitted_ = {.events = {}, .window_is_read = unadmitted_.window_is_read};  // and what it took in memory
  unadmitted_charge_.release();
  if (!unadmitted_.window_is_read) return;
  ledger_.finish_window();
  if (recovery_.is_under_way() && recovery_.ends_at(ledger_.window().to)) recovery_.end(ledger_.next_entry());
  // While recovering nobody has called for what was committed before this process began.
  look_at_log_ = recovery_.is_under_way() || was_called_;
}

// False: nothing has finished since the last window.
bool Worker::open_next_window() {
  was_called_ = false;
  process_.listen_for_events();
  const pg::LogHead now = store_.current_head();
  // What changed before the snapshot must be known before its events are routed.
  configuration_.take_news();
  if (configuration_.has_changes() && process_.now() >= configuration_.changes_due_at()) read_changes();
  if (configuration_.has_changes() || !backlogs_to_load_.empty()) {
    look_at_log_ = true;
    next_poll_ = configuration_.changes_due_at();
    return false;
  }
  // Only now: if the call above fails, the window that ends here is never opened.
  recovery_.set_end(now.snapshot);
  Window window{ledger_.window().to, now.snapshot};
  const std::int64_t window_floor = std::exchange(log_floor_, next_log_floor_);
  next_log_floor_ = now.last_log_id;
  if (window.empty()) {
    if (recovery_.is_under_way()) recovery_.end(ledger_.next_entry());
    return false;
  }
  ledger_.open_window(std::move(window), window_floor);
  return true;
}

std::vector<pg::DeliveryKey> Worker::rows_of(const std::vector<Event>& events) {
  std::vector<std::int64_t> ids;
  ids.reserve(events.size());
  for (const Event& event : events) ids.push_back(event.id);
  return store_.owed_of(ids);
}

// Who gets each of the events.
std::vector<std::vector<Target*>> Worker::route(const std::vector<Event>& events) {
  std::vector<std::vector<Target*>> receivers(events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    for (Target* const target : targets_.routes(event)) {
      if (!target->webhook.was_active(event.known_switch)) continue;
      if (recovery_.is_under_way() && recovery_.knows({event.id, target->webhook.id})) continue;
      receivers[i].push_back(target);
    }
  }
  return receivers;
}

void Worker::admit(Event event, const std::vector<Target*>& all_receivers) {
  std::vector<Target*> receivers;
  std::vector<Target*> filtered;
  for (Target* const target : all_receivers) (target->webhook.filter.empty() ? receivers : filtered).push_back(target);
  if (!filtered.empty() && !filters_.has_room(event, filtered)) filtered.clear();
  const auto deliveries = static_cast<std::uint32_t>(receivers.size() + filtered.size());
  const Ledger::Entry entry = ledger_.admit(event.id, deliveries, event.created_at);
  recording_.note_ledger_change();
  if (deliveries == 0) return;
  if (event.oversized_bytes > 0) {
    const std::string error = "the payload of " + std::to_string(event.oversized_bytes) +
                              " bytes was larger than webhook.max_payload and was not kept";
    for (const Target* const target : receivers) {
      pending_.give_up(event, target->webhook, 0, error);
      recorder_.settle(entry);
    }
    return;
  }
  std::shared_ptr<const Outgoing> shared;
  if (filtered.empty()) {
    shared = outgoings_.make(std::move(event));
  } else {
    if (!receivers.empty()) shared = outgoings_.make(event);
    filters_.ask(std::move(event), entry, shared, filtered);
  }
  pending_.deliver(receivers, shared, entry);
}

// --- Filters --------------------------------------------------------------------------------------------------------------

// Not as may_read(): what waits for its filters is what holds up the checkpoint.
bool Worker::may_filter() { return may_send() && delivers() && !recording_.is_full(); }

void Worker::filter(const AdmissionRoom& room) {
  const auto conclude = [this](Filters::Waiting& waiting, Target* receiver) { conclude_filter(waiting, receiver); };
  const Time end = process_.now() + kFilterTime;
  for (Time now = end - kFilterTime; now < end && may_filter() && has_room(room); now = process_.now()) {
    if (!filters_.is_due(now)) break;
    filters_.answer(conclude);
  }
  filters_.refuse_old(ledger_.next_entry(), conclude);
}

void Worker::conclude_filter(Filters::Waiting& waiting, Target* receiver) {
  if (receiver == nullptr) {
    ledger_.settle(waiting.entry);
    recording_.note_ledger_change();
    return;
  }
  if (waiting.outgoing == nullptr) waiting.outgoing = outgoings_.make(waiting.event);
  pending_.deliver({receiver}, waiting.outgoing, waiting.entry);
}

// --- The network ----------------------------------------------------------------------------------------------------------

void Worker::send() {
  bool started = false;
  while (may_send()) {
    const Time now = process_.now();
    std::optional<Delivery> delivery = pending_.take(now);
    if (!delivery) break;
    Target* const found = targets_.find(*delivery);
    if (found == nullptr) {  // its lane went with its webhook; but nobody is ever to get what is another's
      pending_.discard(*delivery);
      continue;
    }
    Target& target = *found;
    HttpRequest request{.token = delivery->ticket,
                        .url = target.webhook.url,
                        .headers = build_headers({.webhook_id = delivery->event->webhook_id,
                                                  .event_name = delivery->event->event_name,
                                                  .number = delivery->attempt,
                                                  .time = now},
                                                 delivery->event->body, target.keys()),
                        .custom_headers = target.webhook.headers,
                        .body = {delivery->event, &delivery->event->body},
                        .timeout = target.webhook.timeout};
    const bool is_probe = pending_.circuit(delivery->webhook)->is_open();
    in_flight_.emplace(delivery->ticket, OpenRequest{std::move(*delivery), now, is_probe});
    http_.start(std::move(request));
    ++figures_.sent;
    started = true;
  }
  if (started) http_.drive();
}

void Worker::collect() {
  for (HttpResponse& response : http_.take_finished()) {
    if (Tester::is_test(response.token)) {
      if (const auto test = tester_.conclude(response)) outcomes_.note_test(*test);
      continue;
    }
    const auto found = in_flight_.find(response.token);
    if (found == in_flight_.end()) continue;
    const OpenRequest request = std::move(found->second);
    in_flight_.erase(found);
    if (!outcomes_.conclude(request, response)) ++figures_.failed;
    crowded_pause_ = std::min<Duration>(crowded_pause_ + kPausePerDelivery, kCrowdedPauseMax);
  }
}

void Worker::maintain() {
  filters_.forget_idle();
  outcomes_.forget_idle();
  maintenance_.maintain();
}

}  // namespace webhook
