#include "worker/worker.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "core/wire.h"

namespace webhook {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kWarningInterval = minutes(1);         // before the same warning is given again
constexpr Duration kStoreBackoffMin = milliseconds(100);  // after the first failure of the database
constexpr Duration kStoreBackoffMax = seconds(10);
constexpr Duration kStepAsideTime = seconds(1);       // for requests in flight, while somebody waits for the database
constexpr Duration kWaitMax = seconds(5);             // or a clock set back during a turn would not be noticed
constexpr Duration kLate = seconds(10);               // the age of an event from which on the worker is catching up
constexpr Duration kLastStatisticsTime = seconds(1);  // for writing statistics at the end

}  // namespace

Worker::Worker(Process& process, Store& store, HttpClient& http, TestRequests& tests, const WorkerShare& share)
    : process_(process),
      store_(store),
      http_(http),
      share_(share),
      recorder_(store, budget_),
      configuration_(store),
      outgoings_(budget_),
      unadmitted_(budget_),
      maintenance_(process, store, configuration_, share),
      recording_(process, recorder_, budget_, ledger_, statistics_, subscribers_, maintenance_),
      filters_(process, store, subscribers_, budget_, statistics_),
      barrier_(subscribers_, filters_),
      pending_(process, store, subscribers_, budget_, barrier_, recorder_, recording_, outgoings_, recovery_),
      spill_(process, ledger_, recorder_, pending_),
      ages_(process, subscribers_, pending_),
      outcomes_(process, store, subscribers_, statistics_, recorder_, recording_, recovery_, pending_),
      admission_(ledger_, recorder_, recording_, outgoings_, pending_, filters_),
      replays_(process, store, subscribers_, filters_, budget_, share),
      webhooks_(process, store, share,
                {.configuration = configuration_,
                 .subscribers = subscribers_,
                 .statistics = statistics_,
                 .outgoings = outgoings_,
                 .maintenance = maintenance_,
                 .recording = recording_,
                 .pending = pending_,
                 .admission = admission_,
                 .unadmitted = unadmitted_,
                 .outcomes = outcomes_,
                 .replays = replays_}),
      reader_(process, store, share, budget_, ledger_, barrier_, subscribers_, recording_, recovery_, pending_,
              filters_, admission_, webhooks_, unadmitted_),
      tester_(process, store, http, tests, recorder_, share) {}

WorkerEnd Worker::run() {
  start();
  std::optional<WorkerEnd> end_of_turn;
  while (!is_to_end()) {
    std::optional<Error> failure;
    try {
      turn();
    } catch (const ExtensionGone&) {
      throw;
    } catch (const Error& error) {
      failure = error;
    }
    if (failure) back_off(*failure);
    if (webhooks_.delivers()) send();  // what is in memory, though the database failed
    report();
    if (is_to_end()) break;
    end_of_turn = leave();
    if (end_of_turn) break;
    if (process_.wait(http_.fd(), time_to_wait())) reader_.note_call();
  }
  end();
  return end_of_turn.value_or(WorkerEnd());
}

bool Worker::is_to_end() { return process_.shutdown_requested() || store_.is_updated(); }

void Worker::start() {
  apply_settings();
  const StartState state = store_.start(share_);
  webhooks_.set_instance(state.instance, state.verdict == IdentityChange::kCopy);
  ledger_ = Ledger(state.checkpoint);
  reader_.start(state.checkpoint.log_floor);
  for (const DeliveryKey& key : store_.logged_since(state.checkpoint.log_floor)) {
    if (share_.owns(key.webhook)) recovery_.note_logged(key);
  }
  for (const Uuid& webhook : state.deferred) {
    if (share_.owns(webhook)) pending_.note_deferred(webhook);
  }
  spill_.start();
  departure_.note_work(process_.now(), false);
  has_started_ = true;
}

// --- The loop -----------------------------------------------------------------------------------------------------------

void Worker::turn() {
  const Time now = process_.now();
  if (now < last_turn_) clock_set_back(now);
  last_turn_ = now;
  if (process_.reload_settings()) {
    apply_settings();
    webhooks_.read_all_again();  // webhook.secret_key_file may have changed
    reader_.poll_soon();
  }
  http_.drive();
  collect();
  if (deadlines_.has_passed(Deadline::kStoreCall, process_.now())) {
    work_on_database();
    reader_.read();
    store_failures_ = 0;
    figures_.failing_since.reset();
    note_overdue(process_.now());
  }
}

// Deliveries that are due are fetched within a moment, unless the worker has more of them than it can fetch.
void Worker::note_overdue(Time now) {
  const bool is_overdue = webhooks_.delivers() && pending_.next_refill_at().value_or(Time::max()) <= now;
  if (!is_overdue) {
    figures_.overdue_since.reset();
  } else if (!figures_.overdue_since) {
    figures_.overdue_since = now;
  }
}

void Worker::apply_settings() {
  const WorkerSettings& settings = process_.settings();
  http_.configure(settings.http);
  budget_.set_max(settings.memory_bytes_max);
  pending_.apply_settings();
  if (settings.enabled == is_enabled_) return;
  is_enabled_ = settings.enabled;
  process_.log(LogLevel::kLog, is_enabled_ ? "deliveries are switched on" : "deliveries are switched off",
               is_enabled_ ? std::string() : "The setting webhook.enabled is off.");
}

// All work with the database except reading new events.
void Worker::work_on_database() {
  const Time begin = process_.now();
  if (webhooks_.take_step() || (webhooks_.delivers() && barrier_.waits_for_reader())) reader_.poll_soon();
  pending_.load_ordering_keys();
  if (tester_.has_work()) tester_.turn(outgoings_.event_ids());
  record_results();
  pending_.apply_deferred();
  pending_.write_ordering_keys();
  outcomes_.disable_webhooks();
  maintain();
  pending_.relieve_lanes();
  if (webhooks_.delivers()) pending_.refill();
  reader_.leave_out(process_.now() - begin);
}

void Worker::record_results() {
  const bool is_idle = in_flight_.empty() && pending_.queued() == 0;
  bool is_due = recording_.is_due(is_idle);
  // Results that wait for others are not recorded early because something is to be spilled: that waits for them.
  if (spill_.is_due(process_.now()) && (is_due || recorder_.empty())) {
    spill_.step(in_flight_);
    is_due = true;
  }
  if (pending_.has_fan_outs() && pending_.write_fan_outs()) is_due = true;
  if (is_due) pending_.record();
}

void Worker::maintain() {
  ages_.check(webhooks_.delivers());
  if (maintenance_.is_due(process_.now())) {
    filters_.forget_idle();
    outcomes_.forget_idle();
    maintenance_.maintain();
  }
  maintenance_.clean_up();
  replays_.turn(webhooks_.delivers());
}

// Keeps the network going, and tries the database again later with everything that should have been written.
void Worker::back_off(const Error& error) {
  const Time now = process_.now();
  const Duration pause = std::min<Duration>(kStoreBackoffMin * (1 << std::min(store_failures_, 10)), kStoreBackoffMax);
  deadlines_.set(Deadline::kStoreCall, now + pause);
  ++store_failures_;
  figures_.last_error_at = now;
  if (!figures_.failing_since) figures_.failing_since = now;
  reader_.note_failure(now);
  if (!deadlines_.has_passed(Deadline::kFailureWarning, now)) return;
  deadlines_.set(Deadline::kFailureWarning, now + kWarningInterval);
  process_.log(LogLevel::kWarning, "the worker's transaction failed and will be repeated: " + error.message(),
               error.detail(), error.hint(), error.origin().context_in_a_line());
}

Duration Worker::time_to_wait() {
  const Time now = process_.now();
  Earliest store_call;
  for_each_room([&](auto& room) { store_call.add(room.next_at(now)); });
  if (webhooks_.delivers()) store_call.add(pending_.next_refill_at());
  if (tester_.has_work()) store_call.add(now);
  Earliest next;
  next.add(leaves_at_);
  if (store_call.time()) next.add(std::max(*store_call.time(), deadlines_[Deadline::kStoreCall]));
  if (webhooks_.delivers() && recording_.has_room_for_results()) next.add(pending_.next_send_at());
  const std::optional<Duration> network = http_.timeout();
  const Duration wait = std::clamp<Duration>(next.time().value_or(Time::max()) - now, Duration::zero(), kWaitMax);
  return network ? std::min(wait, *network) : wait;
}

// Everything except the rows of webhook_deliveries is due now. Otherwise nothing would happen until the clock has
// caught up.
void Worker::clock_set_back(Time now) {
  deadlines_.clock_set_back(now);
  departure_.clock_set_back(now);
  for_each_room([now](auto& room) { room.clock_set_back(now); });
}

// --- Leaving --------------------------------------------------------------------------------------------------------------

// Whether the worker ends now. Before one that is idle does, it polls the log once more: from that poll on, a commit makes
// the launcher start it again.
std::optional<WorkerEnd> Worker::leave() {
  const Time now = process_.now();
  if (webhooks_.are_loaded()) departure_.note_loaded(now);
  if (process_.is_turn_over() && (departure_.has_had_turn(now) || store_failures_ > 0)) {
    return WorkerEnd{WorkerEnd::Reason::kTurnOver, {}};
  }
  leaves_at_.reset();
  if (has_work()) {
    departure_.note_work(now, figures_.sent > 0 || ledger_.events_ahead() > 0);
  } else if (maintenance_.is_idle(now) && replays_.is_idle(now)) {
    leaves_at_ = departure_.leaves_at(now, next_work(), process_.is_slot_wanted(), process_.settings());
  }
  if (leaves_at_ && now >= *leaves_at_) {
    if (is_leaving_) return WorkerEnd{WorkerEnd::Reason::kIdle, Departure::nap(now, next_work(), process_.settings())};
    is_leaving_ = true;
    process_.prepare_to_leave();
    reader_.poll_soon();
  } else if (is_leaving_) {
    is_leaving_ = false;
    process_.stay();
  }
  return std::nullopt;
}

// Whether there is something to do before next_work(), other than what recurs.
bool Worker::has_work() {
  const bool holds_nothing = in_flight_.empty() && tester_.in_flight() == 0 && ledger_.events_ahead() == 0 &&
                             filters_.empty() && pending_.is_idle() && recording_.is_idle() && outcomes_.is_idle();
  return !holds_nothing || !webhooks_.delivers() || store_failures_ > 0 || recovery_.is_under_way() ||
         !webhooks_.is_idle() || !reader_.is_idle() || !maintenance_.is_clean() || replays_.has_jobs() ||
         tester_.has_work();
}

// When the next pending delivery is due.
Time Worker::next_work() const { return pending_.next_refill_at().value_or(Time::max()); }

void Worker::report() {
  figures_.in_flight = in_flight_.size();
  figures_.events_ahead = ledger_.events_ahead();
  figures_.logged = recording_.logged();
  figures_.given_up = recorder_.given_up();
  pending_.report(&figures_);
  reader_.report(&figures_);
  webhooks_.report(&figures_);
  maintenance_.report(&figures_);
  figures_.reported_at = process_.now();
  figures_.state = state(figures_.reported_at);
  process_.report(figures_);
  process_.report_left_out();
}

WorkerState Worker::state(Time now) const {
  if (is_ending_) return WorkerState::kStopping;
  if (!is_enabled_) return WorkerState::kSwitchedOff;
  if (!has_started_) return WorkerState::kStarting;
  if (!webhooks_.are_loaded()) return WorkerState::kLoading;
  if (webhooks_.is_paused()) return WorkerState::kPaused;
  const bool is_late = now - figures_.oldest_event_at.value_or(now) > kLate;
  return recovery_.is_under_way() || is_late ? WorkerState::kCatchingUp : WorkerState::kDelivering;
}

// --- The network ----------------------------------------------------------------------------------------------------------

void Worker::send() {
  bool started = false;
  while (recording_.has_room_for_results()) {
    const Time now = process_.now();
    std::optional<Delivery> delivery = pending_.take(now);
    if (!delivery) break;
    Subscriber* const subscriber = subscribers_.find(*delivery);
    if (subscriber == nullptr) {  // its lane went with its webhook; but nobody is ever to get what is another's
      pending_.discard(*delivery);
      continue;
    }
    start_request(std::move(*delivery), *subscriber, now);
    started = true;
  }
  if (started) http_.drive();
}

void Worker::start_request(Delivery delivery, Subscriber& subscriber, Time now) {
  HttpRequest request{.token = delivery.ticket,
                      .url = subscriber.url(),
                      .headers = build_headers({.public_event_id = delivery.event->public_event_id,
                                                .event_name = delivery.event->event_name,
                                                .number = delivery.attempt,
                                                .time = now},
                                               delivery.event->body, subscriber.keys()),
                      .custom_headers = subscriber.webhook().headers,
                      .body = {delivery.event, &delivery.event->body},
                      .timeout = subscriber.webhook().timeout};
  const bool is_probe = pending_.circuit(delivery.webhook)->is_open();
  const std::uint64_t ticket = delivery.ticket;
  in_flight_.emplace(ticket, OpenRequest{std::move(delivery), now, is_probe, subscriber.webhook().version});
  http_.start(std::move(request));
  ++figures_.sent;
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
    reader_.note_attempt();
  }
}

// --- The end --------------------------------------------------------------------------------------------------------------

// Ends in spite of an error. Deliveries that could not be recorded will be sent again.
void Worker::end() {
  is_ending_ = true;
  std::optional<Error> failure;
  try {
    drain();
  } catch (const Error& error) {
    failure = error;
  }
  if (!failure) return;
  process_.log(LogLevel::kWarning, "the last results could not be recorded: " + failure->message(), failure->detail(),
               "Their webhooks will be sent again, with the same webhook-id.");
}

void Worker::drain() {
  report();
  wait_for_answers();
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

void Worker::wait_for_answers() {
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
}

}  // namespace webhook
