#include "worker/worker.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/retry.h"
#include "core/wire.h"
#include "worker/operational_events.h"

namespace webhook {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t kReadMax = 500;                      // events by one read
constexpr std::size_t kAheadMax = 50'000;                  // events ahead of the checkpoint above which nothing is read
constexpr Duration kCrowdedPauseMax = milliseconds(500);   // how long reading waits for lanes before they overflow:
constexpr Duration kPausePerDelivery = microseconds(100);  // what it has waited it gets back with what is delivered
constexpr Duration kLookIntervalMin = microseconds(100);   // between two looks at the log while requests are in flight:
constexpr Duration kLookIntervalMax = milliseconds(1);     // within these, looks take
constexpr int kLookShare = 4;                              // a fourth of the time at most
constexpr Duration kRefillTime = milliseconds(1);          // of refilling, after which the network is looked after
constexpr Duration kReliefInterval = milliseconds(100);    // of lanes that hold too many bytes, unless few are left,
constexpr int kReliefStep = 8;                             // so many at once
constexpr int kStarvedMisses = 4;                          // lanes without room, after which no more are asked
constexpr Duration kAdmitTime = milliseconds(2);           // likewise of admitting events, looked at
constexpr std::size_t kAdmitStep = 200;                    // after so many deliveries
constexpr std::size_t kFanOutStep = 200;                   // deliveries that are written down at once
constexpr Duration kFilterTime = milliseconds(2);          // likewise of filters
constexpr Duration kSafetyInterval = seconds(5);           // looks at the log though nobody called
constexpr Duration kMarkInterval = seconds(2);             // after one or two of them,
constexpr std::size_t kMarkEvents = kAheadMax / 3;         // or so many events, an unsettled delivery gets a row,
constexpr std::size_t kMarkStep = 50;                      // so many at once, or as many as there are results beside
constexpr Duration kWarningInterval = minutes(1);          // the same warning again
constexpr Duration kStoreBackoffMin = milliseconds(100);   // between tries of a failing database
constexpr Duration kStoreBackoffMax = seconds(10);         //
constexpr Duration kStepAsideTime = seconds(1);        // for what is in flight, while somebody waits for the database
constexpr Duration kAgeCheckInterval = seconds(10);    // of what is owed to webhooks that nothing is sent to
constexpr Duration kAgeCheckTime = milliseconds(1);    // at once,
constexpr Duration kAgeCheckPause = milliseconds(50);  // and the rest then
constexpr std::size_t kGiveUpStep = 500;               // old deliveries given up at once
constexpr double kAnnouncementsPerSecond = 1;          // operational events about an organization's webhooks,
constexpr double kAnnouncementsAtOnce = 60;            // and so many before that
constexpr Duration kLastStatisticsTime = seconds(1);   // or at the end what can be written in so long:
constexpr std::size_t kDeferralTries = 200;         // webhooks that are tried at once, of which something is deferred,
constexpr std::size_t kDeferredStep = 200;          // and changes of one that are applied
constexpr Duration kDeferralPatience = seconds(2);  // what is over by then is not worth a warning
constexpr std::size_t kOrderingStep = 200;          // rows that get their ordering keys at once
constexpr Duration kDisablingRetry = seconds(5);    // where somebody has the webhook's row locked
constexpr Duration kOrderingsTime = milliseconds(5);  // of loading orderings, after which the network is looked after
constexpr std::size_t kReasonBytesMax = 1000;         // of webhook_configurations.disabled_reason

constexpr const char* kTooOld = "older than webhook.max_age";
constexpr const char* kNotStored = "the event is no longer stored";

pg::DeliveryKey key_of(const Delivery& delivery) { return {delivery.event->event_id, delivery.webhook}; }

bool is_ordered(const Target& target) {
  return target.webhook.is_deliverable() && target.webhook.limits.ordering != Ordering::kRelaxed;
}

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
      filters_(process, store, targets_, budget_, statistics_),
      fan_outs_(budget_),
      recording_(process, recorder_, budget_, ledger_, statistics_, targets_, maintenance_),
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
  const Time now = process_.now();
  apply_settings();
  pg::StartState state = store_.start(share_);
  take_instance(state.instance, state.verdict == IdentityVerdict::kCopy);
  ledger_ = Ledger(state.checkpoint);
  log_floor_ = next_log_floor_ = state.checkpoint.log_floor;
  for (const pg::DeliveryKey& key : store_.logged_since(log_floor_)) {
    if (share_.owns(key.webhook)) logged_before_.insert(key);
  }
  for (const Uuid& webhook : state.deferred) {
    if (share_.owns(webhook)) deferrals_.add(webhook, now);
  }
  next_mark_ = now + kMarkInterval;
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
  if (!orderings_to_load_.empty()) load_orderings();
  if (tester_.has_work()) tester_.turn(*event_ids_);
  bool is_due = recording_.is_due(in_flight_.empty() && lanes_.queued() == 0);
  // With what is recorded anyway: results that wait for company are not to be flushed without it.
  if (is_mark_due() && (is_due || recorder_.empty())) {
    is_marking_ = write_down_the_oldest();
    is_due = true;
  }
  if (!fan_outs_.empty()) is_due |= fan_out();
  if (is_due) record();
  if (deferrals_.next_try_at().value_or(Time::max()) <= process_.now()) apply_deferred();
  if (!ordering_jobs_.empty()) write_ordering_keys();
  if (!disabling_.empty() && process_.now() >= next_disabling_) disable_again();
  if (process_.now() >= next_age_check_) check_ages();
  if (maintenance_.is_due(process_.now())) maintain();
  relieve_lanes();
  maintenance_.clean_up();
  if (delivers()) refill();
  // Nothing was sent meanwhile: it is not the lanes that took this time.
  if (reading_pauses_since_) *reading_pauses_since_ += process_.now() - begin;
}

std::optional<Duration> Worker::time_to_wait() {
  const Time now = process_.now();
  Time wake = next_age_check_;
  const auto at = [&wake](std::optional<Time> time) {
    if (time) wake = std::min(wake, *time);
  };
  at(maintenance_.next_at(now));
  at(recording_.next_at(now));
  at(deferrals_.next_try_at());
  if (!fan_outs_.empty()) at(now);
  const auto is_free = [this](const auto& job) { return !deferrals_.contains(job.first); };
  if (std::any_of(ordering_jobs_.begin(), ordering_jobs_.end(), is_free)) at(now);
  if (!disabling_.empty()) at(next_disabling_);
  at(configuration_.due_at());
  if (store_.has_news() || !backlogs_to_load_.empty() || !orderings_to_load_.empty()) at(now);
  if (ledger_.events_ahead() > 0 && recorder_.empty()) at(is_mark_due() ? now : next_mark_);
  if (delivers()) {
    if (!recovering_) at(backlog_.first_scheduled());
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
  if (delivers() && may_send()) at(lanes_.next_turn_at());
  Duration wait = std::max(wake - now, Duration::zero());
  if (const auto network = http_.timeout()) wait = std::min(wait, *network);
  return wait;
}

// All but what webhook_deliveries says is due now, rather than when an old clock said.
void Worker::forget_deadlines(Time now) {
  for (Time* deadline :
       {&next_look_, &next_poll_, &looks_pause_until_, &next_mark_, &next_store_call_, &next_failure_warning_,
        &next_age_check_, &next_disabling_, &next_relief_, &next_deferral_warning_}) {
    *deadline = std::min(*deadline, now);
  }
  reading_pauses_since_.reset();
  lanes_.clock_set_back(now);
  filters_.clock_set_back(now);
  maintenance_.clock_set_back(now);
  recording_.clock_set_back(now);
  deferrals_.clock_set_back(now);
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
  figures_.queued = lanes_.queued();
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
  record();  // settles
  recording_.hasten_checkpoint();
  record();  // the checkpoint behind what was settled
  const Time end = process_.now() + kLastStatisticsTime;
  while (!statistics_.empty() && process_.now() < end) {
    recording_.hasten_statistics();  // the end of a round has put them off
    record();
  }
}

// --- Configuration --------------------------------------------------------------------------------------------------------

void Worker::apply_settings() {
  http_.configure(process_.settings().http);
  lanes_.set_slots(SlotLimits::of(static_cast<std::size_t>(process_.settings().max_in_flight)));
  budget_.set_max(process_.settings().memory_bytes_max);
  lanes_.set_bytes_max(budget_.deliveries_max());
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
  event_ids_.emplace(instance);
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
  if (is_backlog_stale_ && !recorder_.empty()) record();
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
  if (!recorder_.empty()) record();            // or it would be read without it
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
  const std::optional<Time> next_due = webhook.next_due;
  std::optional<pg::EndpointState> endpoint = std::exchange(webhook.endpoint, std::nullopt);
  const Targets::Change change = targets_.put(std::move(webhook), configuration_.round());
  Target& target = *targets_.find(id);
  if (change.is_new || with_backlog) {
    backlog_.reset(id, next_due);
  } else if (next_due && *next_due < backlog_.next_due(id).value_or(Time::max())) {
    backlog_.owe(id, {*next_due, 0});  // somebody has changed it by hand; or it is in memory, and will be passed over
  }
  set_up_lane(target, change);
  if (change.is_new && endpoint) take_endpoint(target, std::move(*endpoint));
  if (change.filter) recording_.write_endpoint(id);
  // What is owed may be older than what is read now, or newer: it is not known before it is fetched.
  // The same holds for what a webhook was owed while nothing could be delivered to it, or under another ordering.
  const std::optional<Time> first_due = backlog_.next_due(id);
  const bool is_due = first_due && *first_due <= process_.now();
  const bool begins = recovering_ || change.became_deliverable || change.ordering;
  if (begins && lanes_.circuit(id) != nullptr && (is_due || deferrals_.contains(id))) lanes_.begin_overflow(id);
  if (target.webhook.limits.ordering == Ordering::kRelaxed) {
    ordered_.erase(id);
    ordering_jobs_.erase(id);
  }
  if (is_ordered(target) && (change.is_new || change.ordering || change.became_deliverable || with_backlog)) {
    if (backlog_.next_due(id) || backlog_.held(id) > 0 || deferrals_.contains(id)) {
      lanes_.begin_overflow(id);  // new events wait behind it, whatever their keys are
      orderings_to_load_.insert(id);
    } else {
      note_nothing_owed(target);
    }
  }
  if (target.webhook.filter.empty() && (change.is_new || change.filter)) {
    filters_.filter_removed(target, [this](auto& waiting, Target* receiver) { conclude_filter(waiting, receiver); });
  }
  schedule_refill(target);
}

// A lane for a webhook that can be delivered to. What waited in the lane of one that no longer can becomes owed.
void Worker::set_up_lane(Target& target, const Targets::Change& change) {
  const Time now = process_.now();
  const Uuid& id = target.webhook.id;
  const bool has_lane = lanes_.circuit(id) != nullptr;
  if (has_lane && change.ordering) take_back(lanes_.evict(id));
  if (has_lane && change.url) lanes_.close_circuit(id, now);  // perhaps it is a better endpoint
  if (has_lane && (change.ordering || change.url)) recording_.write_endpoint(id);
  if (target.webhook.is_deliverable()) {
    lanes_.set_lane(id, target.webhook.limits, now, target.webhook.organization_id);
  } else if (has_lane) {
    take_back(lanes_.remove_lane(id));
  }
}

// How the endpoint was found by the worker before this one.
void Worker::take_endpoint(Target& target, pg::EndpointState endpoint) {
  const std::optional<Time> opened_at = endpoint.circuit_opened_at;
  target.endpoint = std::move(endpoint);
  std::optional<Time>& failing_since = target.endpoint.failing_since;
  if (failing_since && *failing_since < target.webhook.active_since) failing_since.reset();
  if (!target.webhook.is_deliverable() || !opened_at || *opened_at < target.webhook.active_since) return;
  lanes_.reopen_circuit(target.webhook.id, *opened_at, process_.now());
  lanes_.begin_overflow(target.webhook.id);
}

// What is in flight comes back to nobody. The rows that it leaves are deleted by clean_up().
void Worker::forget_webhook(const Uuid& id) {
  const Target* const target = targets_.find(id);
  for (std::vector<Target*>& receivers : routed_) std::erase(receivers, target);
  drop(lanes_.forget_lane(id));
  recorder_.forget(id);
  backlog_.forget(id);
  statistics_.forget(id);
  backlogs_to_load_.erase(id);
  orderings_to_load_.erase(id);
  ordered_.erase(id);
  ordering_jobs_.erase(id);
  recording_.forget(id);
  disabling_.erase(id);
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

// Which keys of webhooks with an ordering wait for something that is owed.
void Worker::load_orderings() {
  const Time end = process_.now() + kOrderingsTime;
  while (!orderings_to_load_.empty() && process_.now() < end) {
    const Uuid id = *orderings_to_load_.begin();
    const Target* const target = targets_.find(id);
    if (target != nullptr && is_ordered(*target)) set_up_order(*target);
    orderings_to_load_.erase(id);
    if (target == nullptr) continue;
    // If nothing is to be fetched, no look at it ends the overflow.
    const bool is_all = !backlog_.next_due(id) && !deferrals_.contains(id) && !fan_outs_.contains(id);
    if (is_all && lanes_.circuit(id) != nullptr && !lanes_.circuit(id)->is_open()) lanes_.end_overflow(id);
    schedule_refill(*target);
  }
}

void Worker::note_nothing_owed(const Target& target) {
  const Uuid& id = target.webhook.id;
  ordered_.insert_or_assign(id, target.webhook.limits.ordering);
  ordering_jobs_.erase(id);
  lanes_.set_owed(id, std::unordered_map<std::string, std::int64_t>());
}

// Rows that have no keys, or those of another ordering, get them first, step by step. Meanwhile nothing is fetched, and
// everything overflows.
void Worker::set_up_order(const Target& target) {
  const Uuid& id = target.webhook.id;
  const Ordering ordering = target.webhook.limits.ordering;
  if (!recorder_.empty()) record();  // or it would not be counted
  if (deferrals_.contains(id)) {     // again when that is over
    lanes_.set_owed(id, std::nullopt);
    return;
  }
  const auto known = ordered_.find(id);
  if (!backlog_.next_due(id) && backlog_.held(id) == 0) {
    note_nothing_owed(target);
  } else if (known != ordered_.end() && known->second == ordering) {
    lanes_.set_owed(id, store_.owed_by_key(target.webhook.identity(), Lanes::kBlockedKeysMax));
  } else {
    ordered_.erase(id);
    lanes_.set_owed(id, std::nullopt);
    OrderingJob& job = ordering_jobs_[id];
    if (job.ordering != ordering) job = {.ordering = ordering};
    backlog_.unschedule(id);
  }
}

// --- The log --------------------------------------------------------------------------------------------------------------

// Whether there is room for more events among the results and ahead of the checkpoint.
bool Worker::may_read() {
  return may_send() && delivers() && !fan_outs_.is_full() && ledger_.events_ahead() < kAheadMax &&
         !recording_.is_full() && budget_.has_room_to_read();
}

// Results come of what is sent: while the database takes none, they pile up.
bool Worker::may_send() const { return recording_.has_room_for_results(); }

// When the next events may be admitted: a lane that moves has some time to make room, rather than that all of it goes
// through webhook_deliveries. One that takes 10,000 a second always has, but for the moment in which it connects. Slower
// ones are not waited for, however much there is for them.
Time Worker::admission_opens_at(Time now) const {
  if (!lanes_.is_crowded()) return now;
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
  if (lanes_.is_crowded() && !reading_pauses_since_) reading_pauses_since_ = now;
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
  return lanes_.brisk() == 0 ? next_poll_ : std::max(next_poll_, looks_pause_until_);
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
  if (recovering_) recorded_before_ = recorded_before(chunk.events);
  std::size_t bytes = 0;
  for (const Event& event : chunk.events) bytes += event.bytes();
  unadmitted_ = std::move(chunk);
  unadmitted_charge_ = budget_.charge(bytes);
  if (unadmitted_.events.empty()) finish_chunk();
}

Worker::AdmissionRoom Worker::open_admission() {
  const AdmissionRoom room{.is_overdue = lanes_.is_crowded(), .has_waited = reading_pauses_since_.has_value()};
  if (room.has_waited) {
    crowded_pause_ -= std::clamp<Duration>(process_.now() - *reading_pauses_since_, Duration::zero(), crowded_pause_);
    reading_pauses_since_.reset();
  }
  return room;
}

bool Worker::has_room(const AdmissionRoom& room) const {
  return room.is_overdue || !(room.has_waited ? lanes_.is_full() : lanes_.is_crowded());
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
  if (recovering_ && recovered_at_ && ledger_.window().to == *recovered_at_) end_recovery();
  // While recovering nobody has called for what was committed before this process began.
  look_at_log_ = recovering_ || was_called_;
}

void Worker::end_recovery() {
  recovering_ = false;
  recovered_entry_ = ledger_.oldest() + ledger_.events_ahead();
  logged_before_ = {};
  recorded_before_ = {};
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
  if (recovering_ && !recovered_at_) recovered_at_ = now.snapshot;
  Window window{ledger_.window().to, now.snapshot};
  const std::int64_t window_floor = std::exchange(log_floor_, next_log_floor_);
  next_log_floor_ = now.last_log_id;
  if (window.empty()) {
    if (recovering_) end_recovery();
    return false;
  }
  ledger_.open_window(std::move(window), window_floor);
  return true;
}

std::unordered_set<pg::DeliveryKey> Worker::recorded_before(const std::vector<Event>& events) {
  std::vector<std::int64_t> ids;
  ids.reserve(events.size());
  for (const Event& event : events) ids.push_back(event.id);
  const std::vector<pg::DeliveryKey> owed = store_.owed_of(ids);
  return {owed.begin(), owed.end()};
}

// Who gets each of the events.
std::vector<std::vector<Target*>> Worker::route(const std::vector<Event>& events) {
  std::vector<std::vector<Target*>> receivers(events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    for (Target* const target : targets_.routes(event)) {
      if (!target->webhook.was_active(event.known_switch)) continue;
      const pg::DeliveryKey key{event.id, target->webhook.id};
      if (recovering_ && (recorded_before_.contains(key) || logged_before_.contains(key))) continue;
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
      give_up(event, target->webhook, 0, error);
      recorder_.settle(entry);
    }
    return;
  }
  std::shared_ptr<const Outgoing> shared;
  if (filtered.empty()) {
    shared = outgoing(std::move(event));
  } else {
    if (!receivers.empty()) shared = outgoing(event);
    filters_.ask(std::move(event), entry, shared, filtered);
  }
  deliver(receivers, shared, entry);
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
  filters_.refuse_old(ledger_.oldest() + ledger_.events_ahead(), conclude);
}

void Worker::conclude_filter(Filters::Waiting& waiting, Target* receiver) {
  if (receiver == nullptr) {
    ledger_.settle(waiting.entry);
    recording_.note_ledger_change();
    return;
  }
  if (waiting.outgoing == nullptr) waiting.outgoing = outgoing(waiting.event);
  deliver({receiver}, waiting.outgoing, waiting.entry);
}

// --- Deliveries -----------------------------------------------------------------------------------------------------------

std::shared_ptr<const Outgoing> Worker::outgoing(Event event) {
  auto made = std::make_shared<Outgoing>();
  made->event_id = event.id;
  made->slot = event.slot;
  made->created_at = event.created_at;
  made->webhook_id = event_ids_->encode(event.id, event.created_at);
  made->body = build_body(event);
  made->event_name = std::move(event.name);
  made->organization_id = std::move(event.organization_id);
  made->key = std::move(event.key);
  made->charge = budget_.charge(made->bytes());
  return made;
}

// Each into its lane, or, if there is none or it does not take it, among what is owed: at once, unless these are many.
void Worker::deliver(const std::vector<Target*>& receivers, const std::shared_ptr<const Outgoing>& event,
                     Ledger::Entry entry) {
  std::vector<const Target*> owed;
  bool must_wait = false;
  for (const Target* const target : receivers) {
    if (fan_outs_.contains(target->webhook.id)) {
      must_wait = true;
    } else if (target->webhook.is_deliverable() && lanes_.offer(delivery_of(*target, event, entry))) {
      continue;
    }
    owed.push_back(target);
  }
  if (owed.empty()) return;
  if (must_wait || owed.size() > FanOuts::kDirectMax) {
    let_wait(owed, *event, entry);
    return;
  }
  for (const Target* const target : owed) {
    owe_at_once(delivery_of(*target, event, entry));
    recorder_.settle(entry);
  }
}

Delivery Worker::delivery_of(const Target& target, const std::shared_ptr<const Outgoing>& event, Ledger::Entry entry) {
  return {.webhook = target.webhook.id,
          .webhook_created_at = target.webhook.created_at,
          .event = event,
          .owed_since = event->created_at,
          .entry = entry};
}

// They will be owed. Until then nothing is to pass them.
void Worker::let_wait(const std::vector<const Target*>& receivers, const Outgoing& event, Ledger::Entry entry) {
  auto head = std::make_shared<Outgoing>();
  head->event_id = event.event_id;
  head->slot = event.slot;
  head->created_at = event.created_at;
  head->event_name = event.event_name;
  head->organization_id = event.organization_id;
  head->key = event.key;
  std::vector<FanOuts::Receiver> waiting;
  waiting.reserve(receivers.size());
  for (const Target* const target : receivers) {
    waiting.push_back({target->webhook.id, target->webhook.created_at});
    if (lanes_.circuit(target->webhook.id) != nullptr) lanes_.begin_overflow(target->webhook.id);
  }
  fan_outs_.add(std::move(head), entry, std::move(waiting));
}

// A step of writing down what is owed to many webhooks. Returns whether it is to be recorded now.
bool Worker::fan_out() {
  for (std::size_t n = 0; n < kFanOutStep && !recording_.is_full(); ++n) {
    const std::optional<FanOuts::Taken> taken = fan_outs_.take();
    if (!taken) return true;
    owe_at_once({.webhook = taken->receiver.webhook,
                 .webhook_created_at = taken->receiver.created_at,
                 .event = taken->event,
                 .owed_since = taken->event->created_at,
                 .entry = taken->entry});
    recorder_.settle(taken->entry);
  }
  return recording_.is_batch_full();
}

// Dead without another attempt, and said so in the log.
void Worker::give_up(const Event& event, const pg::Webhook& webhook, int attempts, const std::string& error,
                     std::int64_t request) {
  const Time now = process_.now();
  recorder_.log({.created_at = now,
                 .webhook = webhook.id,
                 .organization_id = event.organization_id,
                 .event_id = event.id,
                 .event = event.name,
                 .error = error},
                now);
  recorder_.owe({.key = {event.id, webhook.id},
                 .request = request,
                 .webhook_created_at = webhook.created_at,
                 .organization_id = event.organization_id,
                 .event = event.name,
                 .event_key = event.key,
                 .slot = event.slot,
                 .created_at = event.created_at,
                 .attempts = attempts,
                 .owed_since = event.created_at,
                 .last_error = error},
                now);
}

// --- What is owed ---------------------------------------------------------------------------------------------------------

// Writes a row of webhook_deliveries. attempts: those made. next_attempt_at: nothing when it is dead.
void Worker::owe(const Delivery& delivery, int attempts, std::optional<Time> next_attempt_at, std::string error) {
  const Target* target = targets_.find(delivery);
  if (target == nullptr) return;
  record_owed(delivery, *target, attempts, next_attempt_at, std::move(error));
  if (next_attempt_at) backlog_.owe(delivery.webhook, {*next_attempt_at, delivery.event->event_id});
  schedule_refill(*target);
}

void Worker::record_owed(const Delivery& delivery, const Target& target, int attempts,
                         std::optional<Time> next_attempt_at, std::string error) {
  const Outgoing& event = *delivery.event;
  recorder_.owe({.key = key_of(delivery),
                 .request = delivery.request,
                 .webhook_created_at = target.webhook.created_at,
                 .organization_id = event.organization_id,
                 .event = event.event_name,
                 .event_key = event.key,
                 .slot = event.slot,
                 .created_at = event.created_at,
                 .attempts = attempts,
                 .probes = delivery.probes,
                 .owed_since = delivery.owed_since,
                 .next_attempt_at = next_attempt_at,
                 .last_error = std::move(error),
                 .ordering_key = ordering_key(target.webhook.limits.ordering, event.key, event.event_id)},
                process_.now());
  if (next_attempt_at && !delivery.has_row) lanes_.note_owed(delivery.webhook, event.key, event.event_id);
  if (!next_attempt_at && delivery.has_row) lanes_.note_settled(delivery.webhook, event.key, event.event_id);
}

// It is due since it came about: so what is owed goes in the order of its age.
void Worker::owe_at_once(const Delivery& delivery) {
  const Target* target = targets_.find(delivery);
  owe(delivery, delivery.attempt - 1, delivery.owed_since,
      target == nullptr ? std::string() : target->webhook.secret_problem);
}

// Deliveries that are not to be sent now: they go, or stay, among what is owed.
void Worker::take_back(std::vector<Delivery> deliveries) {
  for (Delivery& delivery : deliveries) {
    if (delivery.has_row) {
      backlog_.put_back(delivery.webhook, delivery.event->event_id);
      if (const Target* target = targets_.find(delivery)) schedule_refill(*target);
    } else {
      owe_at_once(delivery);
    }
    if (delivery.entry) recorder_.settle(*delivery.entry);
  }
}

// Deliveries of a webhook that is gone.
void Worker::drop(const std::vector<Delivery>& deliveries) {
  for (const Delivery& delivery : deliveries) {
    if (delivery.entry) recorder_.settle(*delivery.entry);
  }
}

// While the circuit is open nothing is fetched before the next probe.
void Worker::schedule_refill(const Target& target) {
  const Uuid& id = target.webhook.id;
  const std::optional<Time> due = backlog_.next_due(id);
  const Circuit* circuit = lanes_.circuit(id);
  // What is owed is not to be read before all of it is written.
  const bool is_incomplete = deferrals_.contains(id) || ordering_jobs_.contains(id) || orderings_to_load_.contains(id);
  if (!target.webhook.is_deliverable() || !due || circuit == nullptr || is_incomplete) {
    backlog_.unschedule(id);
  } else {
    backlog_.schedule(id, lanes_.organization_number(id),
                      circuit->is_open() ? std::max(*due, circuit->next_probe_at()) : *due);
  }
}

void Worker::refill() {
  // What has no row yet, and is older than some that have one, is read first, so that it gets one too.
  if (recovering_ || fan_outs_.has_older_than(recovered_entry_)) return;
  const Time end = process_.now() + kRefillTime;
  bool is_recorded = false;
  wake_starved();
  while (process_.now() < end) {
    const std::optional<Uuid> id = backlog_.take_scheduled(process_.now());
    if (!id) break;
    Target* target = targets_.find(*id);
    // A lane without much room asks again when it has: see conclude().
    if (target == nullptr) continue;
    if (!lanes_.wants_refill(*id, process_.now())) {
      if (!lanes_.has_bytes_for(*id, 1)) starve(*id, 1);
      continue;
    }
    try {
      // First what overflowed a moment ago: or refill_lane() would not see it and let new events pass it.
      if (!std::exchange(is_recorded, true) && !recorder_.empty()) record();
      if (!deferrals_.contains(*id)) refill_lane(*target);
    } catch (...) {
      schedule_refill(*target);
      throw;
    }
  }
}

void Worker::refill_lane(Target& target) {
  const Uuid id = target.webhook.id;
  const Time now = process_.now();
  const bool in_order = target.webhook.limits.ordering != Ordering::kRelaxed;
  const std::size_t room = lanes_.room(id, now);
  // In order, the look begins at the oldest, where those in memory are.
  const std::size_t limit = in_order ? room + backlog_.held(id) : room;
  const Time oldest = now - process_.settings().max_age;
  pg::Due due = store_.due({.webhook = target.webhook.identity(),
                            .now = now,
                            .in_order = in_order,
                            .after = backlog_.position(id),
                            .rows_max = limit,
                            .bytes_max = budget_.read_max()});
  bool all_taken = true;
  bool has_found = false;  // something that is not in memory yet
  Backlog::Position position = backlog_.position(id);
  for (pg::OwedDelivery& owed : due.deliveries) {
    const Backlog::Position row{owed.next_attempt_at, owed.event.id};
    if (backlog_.is_held(id, owed.event.id)) {
      backlog_.note_found(id, row, owed.request);
      position = row;
      continue;
    }
    has_found = true;
    const bool is_old = owed.owed_since < oldest;
    if (owed.event.data.empty() || is_old) {
      give_up(owed.event, target.webhook, owed.attempts, is_old ? kTooOld : kNotStored, owed.request);
      lanes_.note_settled(id, owed.event.key, owed.event.id);
      backlog_.hold(id, row, owed.request);
      recorder_.release({owed.event.id, id});
      position = row;
      continue;
    }
    const Time owed_since = owed.owed_since;
    const int attempts = owed.attempts;
    const int probes = owed.probes;
    const std::int64_t request = owed.request;
    const std::shared_ptr<const Outgoing> event = outgoing(std::move(owed.event));
    all_taken = lanes_.refill({.webhook = id,
                               .webhook_created_at = target.webhook.created_at,
                               .event = event,
                               .attempt = attempts + 1,
                               .probes = probes,
                               .owed_since = owed_since,
                               .has_row = true,
                               .request = request});
    if (!all_taken && !lanes_.has_bytes_for(id, event->bytes())) starve(id, event->bytes());
    if (!all_taken) break;
    backlog_.hold(id, row, request);
    position = row;
  }
  // What waits in fan_outs_ is owed, and has no row yet.
  const bool is_all = due.is_all && all_taken;
  const bool has_more = !is_all || fan_outs_.contains(id);
  backlog_.advance(id, position, is_all ? due.next : std::optional(std::min(now, backlog_.next_due(id).value_or(now))));
  if (has_more) {
    lanes_.begin_overflow(id);
  } else {
    end_overflow(target, !due.next);
  }
  // Else when it has room, or when some of what is in memory, beyond which a look in order does not see, is done with:
  // see conclude().
  if (all_taken && (has_found || is_all || !in_order)) schedule_refill(target);
}

// All that is due is in memory. is_all: and so is what is not due.
void Worker::end_overflow(const Target& target, bool is_all) {
  const Uuid& id = target.webhook.id;
  // There were too many keys to know which have something owed. Now there are few.
  if (is_all && !lanes_.knows_owed(id) && !ordering_jobs_.contains(id)) orderings_to_load_.insert(id);
  lanes_.end_overflow(id);
}

// What waits for endpoints of which nothing good is known goes back among what is owed, if such lanes hold more bytes than
// they may: they were trusted when they got them.
void Worker::relieve_lanes() {
  if (process_.now() < next_relief_) return;
  for (int relieved = 0; relieved < kReliefStep; ++relieved) {
    const std::optional<Uuid> id = lanes_.lane_to_relieve();
    if (!id) return;
    take_back(lanes_.evict(*id));
    lanes_.begin_overflow(*id);
  }
  next_relief_ = process_.now() + kReliefInterval;
}

// Until other lanes have let go of so many bytes.
void Worker::starve(const Uuid& webhook, std::size_t bytes) {
  if (starved_.insert_or_assign(webhook, bytes).second) starved_turns_.push_back(webhook);
}

// Those that come first, and for which there is room together.
void Worker::wake_starved() {
  std::size_t bytes = 0;
  int misses = 0;
  for (std::size_t left = starved_turns_.size(); left > 0 && misses < kStarvedMisses; --left) {
    const Uuid id = starved_turns_.front();
    starved_turns_.pop_front();
    const Target* target = targets_.find(id);
    const std::size_t wanted = starved_.at(id);
    if (target != nullptr && lanes_.circuit(id) != nullptr && !lanes_.has_bytes_for(id, bytes + wanted)) {
      starved_turns_.push_back(id);
      ++misses;
      continue;
    }
    starved_.erase(id);
    bytes += wanted;
    if (target != nullptr) schedule_refill(*target);
  }
}

// Of what is owed to a webhook that is not sent to, what has become too old. Returns whether there may be more.
bool Worker::give_up_old(const Target& target) {
  const Time before = process_.now() - process_.settings().max_age;
  const std::vector<std::int64_t> ids = store_.give_up_old(target.webhook.identity(), before, kTooOld, kGiveUpStep);
  if (!ids.empty() && is_ordered(target)) set_up_order(target);
  return ids.size() == kGiveUpStep;
}

// One step of one webhook's.
void Worker::write_ordering_keys() {
  const auto job = std::find_if(ordering_jobs_.begin(), ordering_jobs_.end(),
                                [this](const auto& entry) { return !deferrals_.contains(entry.first); });
  if (job == ordering_jobs_.end()) return;
  const Uuid id = job->first;
  const Target* target = targets_.find(id);
  if (target == nullptr) {
    ordering_jobs_.erase(job);
    return;
  }
  if (!recorder_.empty()) record();  // or rows that are on their way would be left out
  if (deferrals_.contains(id)) return;
  const Ordering ordering = job->second.ordering;
  const pg::OrderingStep step =
      store_.write_ordering_keys(target->webhook.identity(), ordering, job->second.position, kOrderingStep);
  job->second.position = step.position;
  if (step.is_busy) deferrals_.add(id, process_.now());
  if (step.is_busy || !step.is_all) return;
  ordering_jobs_.erase(job);
  ordered_.insert_or_assign(id, ordering);
  set_up_order(*target);
  schedule_refill(*target);
}

bool Worker::is_mark_due() {
  return is_marking_ || process_.now() >= next_mark_ ||
         ledger_.oldest() + ledger_.events_ahead() - mark_ >= kMarkEvents;
}

// What has been on its way for long gets a row, so that it holds up neither the checkpoint nor, with it, the reading.
// Step by step, since nothing is sent meanwhile. Returns whether there is more of it.
bool Worker::write_down_the_oldest() {
  std::size_t room = std::max(kMarkStep, recorder_.count());
  const auto write_down_if_old = [this, &room](Delivery& delivery) {
    if (!delivery.entry || *delivery.entry >= mark_) return true;
    if (room == 0) return false;
    --room;
    write_down(delivery);
    return true;
  };
  if (ledger_.events_ahead() > 0 && ledger_.oldest() < mark_) {
    for (auto& [ticket, attempt] : in_flight_) {
      if (!write_down_if_old(attempt.delivery)) return true;
    }
    if (!lanes_.for_each_queued(write_down_if_old)) return true;
  }
  next_mark_ = process_.now() + kMarkInterval;
  mark_ = ledger_.oldest() + ledger_.events_ahead();
  return false;
}

// It stays in memory, so the row is not one to be fetched. What is in flight to a webhook that is gone gets none.
void Worker::write_down(Delivery& delivery) {
  if (const Target* target = targets_.find(delivery)) {
    backlog_.hold(delivery.webhook, {delivery.owed_since, delivery.event->event_id});
    record_owed(delivery, *target, delivery.attempt - 1, delivery.owed_since, std::string());
    delivery.has_row = true;
  }
  recorder_.settle(*delivery.entry);
  delivery.entry.reset();
}

// --- The network ----------------------------------------------------------------------------------------------------------

void Worker::send() {
  bool started = false;
  while (may_send()) {
    const Time now = process_.now();
    std::optional<Delivery> delivery = lanes_.take(now);
    if (!delivery) break;
    Target* const found = targets_.find(*delivery);
    if (found == nullptr) {  // its lane went with its webhook; but nobody is ever to get what is another's
      lanes_.finish(*delivery, Lanes::Verdict::kAnswered, now, 0);
      drop({*delivery});
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
    const bool is_probe = lanes_.circuit(delivery->webhook)->is_open();
    in_flight_.emplace(delivery->ticket, InFlight{std::move(*delivery), now, is_probe});
    http_.start(std::move(request));
    ++figures_.sent;
    started = true;
  }
  if (started) http_.drive();
}

void Worker::collect() {
  for (HttpResponse& response : http_.take_finished()) {
    if (Tester::is_test(response.token)) {
      if (const auto test = tester_.conclude(response)) note_test(*test);
      continue;
    }
    const auto found = in_flight_.find(response.token);
    if (found == in_flight_.end()) continue;
    const InFlight attempt = std::move(found->second);
    in_flight_.erase(found);
    conclude(attempt, response);
  }
}

void Worker::conclude(const InFlight& attempt, const HttpResponse& response) {
  const Delivery& delivery = attempt.delivery;
  const Time now = process_.now();
  const pg::DeliveryKey key = key_of(delivery);
  Target* target = targets_.find(delivery);
  const Judgement judgement = judge(response, now);
  pg::LogRow row{.created_at = attempt.started_at,
                 .webhook = delivery.webhook,
                 .organization_id = delivery.event->organization_id,
                 .event_id = delivery.event->event_id,
                 .event = delivery.event->event_name,
                 .attempt = delivery.attempt,
                 .success = judgement.verdict == Lanes::Verdict::kSuccess,
                 .response_status = response.status,
                 .response_body = stored_response(response),
                 .error = judgement.error,
                 .elapsed = response.elapsed,
                 .remote_ip = response.remote_ip};
  const std::optional<Time> not_before = judgement.wait ? std::optional(now + *judgement.wait) : std::nullopt;
  const Circuit::Change change = lanes_.finish(delivery, judgement.verdict, now, process_.random(), not_before);
  crowded_pause_ = std::min<Duration>(crowded_pause_ + kPausePerDelivery, kCrowdedPauseMax);
  if (!row.success) ++figures_.failed;
  if (target == nullptr) {  // the webhook is gone: nothing but the attempt is told
    if (!row.success) row.error += "; the webhook has been deleted";
    recorder_.log(std::move(row), now);
    drop({delivery});
    return;
  }
  if (row.success) {
    if (delivery.has_row) {
      recorder_.finish({key, delivery.request}, now);
      lanes_.note_settled(delivery.webhook, delivery.event->key, delivery.event->event_id);
      // Its row goes, and recovery may not have come to its event yet.
      if (recovering_) logged_before_.insert(key);
    }
  } else {
    retry_or_give_up(attempt, *target, judgement, &row);
  }
  statistics_.count(delivery.webhook, delivery.webhook_created_at, now, row.success, row.elapsed);
  note_endpoint(*target, row, change);
  recorder_.log(std::move(row), now);
  if (delivery.entry) recorder_.settle(*delivery.entry);
  if (delivery.has_row) recorder_.release(key);
  if (backlog_.next_due(delivery.webhook) && lanes_.wants_refill(delivery.webhook, now)) {
    schedule_refill(*target);
  }
}

// row: gets the time of the next attempt, or why there is none.
void Worker::retry_or_give_up(const InFlight& attempt, Target& target, const Judgement& judgement, pg::LogRow* row) {
  const pg::WorkerSettings& settings = process_.settings();
  const Time now = process_.now();
  const Circuit* circuit = lanes_.circuit(target.webhook.id);
  const bool is_held = circuit != nullptr && circuit->is_open();
  Delivery delivery = attempt.delivery;
  if (attempt.is_probe) ++delivery.probes;
  const RetrySchedule& schedule =
      target.webhook.retry_schedule.empty() ? settings.retry_schedule : target.webhook.retry_schedule;
  std::optional<Time> next;
  if (judgement.is_gone) {
    row->error += "; the webhook is switched off";
  } else if (attempt.is_probe) {
    next = is_held ? circuit->next_probe_at() : now;
  } else {
    next = next_retry_at(now, delivery.attempt - delivery.probes, schedule, process_.random());
    if (next && judgement.wait) next = std::max(*next, now + *judgement.wait);
    if (!next) row->error += "; the last attempt of its schedule";
  }
  if (next && *next - delivery.owed_since > settings.max_age) {
    next.reset();
    row->error += "; another attempt would come after webhook.max_age";
  }
  row->next_attempt_at = next;
  // What the circuit holds is due as soon as it closes, the oldest first.
  owe(delivery, delivery.attempt, next && is_held ? std::optional(delivery.owed_since) : next, row->error);
  if (next) {
    take_back(lanes_.withdraw_behind(delivery));
  } else if (!is_operational(delivery.event->event_name)) {
    announce(target, delivery_failed(target.webhook, *delivery.event, delivery.attempt, row->error));
  }
  if (judgement.is_gone) disable(target, row->error);
}

// A tenant whose thousand webhooks all fail, and all want to hear of it, would make a million deliveries of one event: so
// an organization gets no more than so many. Who has none is not limited: no tenant creates such a webhook.
void Worker::announce(const Target& target, pg::OperationalEvent event) {
  const Time now = process_.now();
  if (const std::optional<std::string>& organization = target.webhook.organization_id) {
    const auto [bucket, is_new] = announcements_.try_emplace(*organization);
    if (is_new) bucket->second.set_rate(kAnnouncementsPerSecond, now, kAnnouncementsAtOnce);
    if (!bucket->second.has_token(now)) return;
    bucket->second.take();
  }
  recorder_.emit(std::move(event), now);
}

// What the attempt tells of the endpoint.
void Worker::note_endpoint(Target& target, const pg::LogRow& row, Circuit::Change change) {
  const Time now = process_.now();
  pg::EndpointState& endpoint = target.endpoint;
  const Uuid& id = target.webhook.id;
  if (row.success) {
    endpoint.last_success_at = now;
  } else {
    endpoint.last_failure_at = now;
    endpoint.last_error = row.error;
    if (!endpoint.failing_since) {
      endpoint.failing_since = now;
      target.has_failed_events = false;
    }
    target.has_failed_events |= !is_operational(row.event);
    if (now - *endpoint.failing_since >= process_.settings().disable_after) {
      disable(target, "failing since " + format_timestamp(*endpoint.failing_since) + ": " + row.error);
    }
  }
  if (change == Circuit::Change::kOpened) {
    take_back(lanes_.evict(id));
    lanes_.begin_overflow(id);
    schedule_refill(target);
    process_.log_about(target.webhook.organization_id, pg::LogLevel::kLog,
                       "the circuit of " + described(target.webhook) + " has opened: " + row.error,
                       "Its endpoint failed " + std::to_string(Circuit::kFailuresToOpen) +
                           " times in a row. What is owed to it waits, and one delivery is tried from time to time.");
  }
  if (change == Circuit::Change::kClosed) note_closed(target);
  if (change != Circuit::Change::kNone) recording_.write_endpoint(id);
  if (row.success) endpoint.failing_since.reset();
}

void Worker::note_closed(Target& target) {
  schedule_refill(target);
  process_.log_about(target.webhook.organization_id, pg::LogLevel::kLog,
                     "the circuit of " + described(target.webhook) + " has closed",
                     "Its endpoint answers again. What is owed to it is sent.");
  // From failures of such news alone the next news would come, and so on for ever.
  if (target.has_failed_events) {
    announce(target, webhook_recovered(target.webhook, target.endpoint.failing_since.value_or(process_.now())));
  }
}

// An answer to a test tells of the endpoint what one to a delivery does. A test that fails tells nothing: to test must do
// no harm.
void Worker::note_test(const Tester::Outcome& test) {
  Target* const target = targets_.find(test.webhook);
  if (target == nullptr || target->webhook.created_at != test.webhook_created_at || target->webhook.url != test.url)
    return;
  if (test.verdict == Lanes::Verdict::kFailed) return;
  const bool has_lane = lanes_.circuit(test.webhook) != nullptr;
  const bool has_closed = has_lane && lanes_.close_circuit(test.webhook, process_.now()) == Circuit::Change::kClosed;
  if (has_closed && target->webhook.is_deliverable()) note_closed(*target);
  if (test.verdict == Lanes::Verdict::kSuccess) {
    target->endpoint.last_success_at = process_.now();
    target->endpoint.failing_since.reset();
  }
  recording_.write_endpoint(test.webhook);
}

// By a transaction of its own: somebody may have the webhook's row locked, for whom nobody else is to wait.
void Worker::disable(Target& target, const std::string& reason) {
  disabling_.emplace(target.webhook.id, std::string(utf8_prefix(reason, kReasonBytesMax)));
  next_disabling_ = process_.now();
}

void Worker::disable_again() {
  next_disabling_ = process_.now() + kDisablingRetry;
  for (auto entry = disabling_.begin(); entry != disabling_.end();) {
    const Target* target = targets_.find(entry->first);
    pg::DisableResult result = pg::DisableResult::kNothingToDo;
    if (target != nullptr && target->webhook.is_active) {
      const pg::OperationalEvent event = webhook_disabled(target->webhook, entry->second);
      result = store_.disable(target->webhook.identity(), target->webhook.url, entry->second, event);
    }
    if (result == pg::DisableResult::kLocked) {
      ++entry;
      continue;
    }
    if (result == pg::DisableResult::kDisabled) {
      process_.log_about(
          target->webhook.organization_id, pg::LogLevel::kLog,
          described(target->webhook) + " is switched off: " + entry->second, "Its events are recorded.",
          "UPDATE webhook_configurations SET is_active = true switches it on again, and webhook_replay() sends "
          "what it has missed.");
    }
    entry = disabling_.erase(entry);
  }
}

// --- Recording ------------------------------------------------------------------------------------------------------------

void Worker::record() {
  const Time now = process_.now();
  const std::optional<Recorder::Recorded> recorded = recording_.record(lanes_);
  if (!recorded) return;
  for (const pg::DeliveryKey& key : recorded->released) {
    if (!backlog_.let_go(key.webhook, key.event_id)) continue;
    if (const Target* target = targets_.find(key.webhook)) schedule_refill(*target);
  }
  for (const Uuid& id : recorded->beside.deferred) {
    if (deferrals_.add(id, now)) backlog_.unschedule(id);
  }
}

// A step of what could not be written into webhook_deliveries when it came about.
void Worker::apply_deferred() {
  const Time begin = process_.now();
  std::optional<Uuid> waiting;
  for (const pg::Applied& applied : store_.apply_deferred(deferrals_.due(begin, kDeferralTries), kDeferredStep)) {
    const Time now = process_.now();
    switch (applied.state) {
      case pg::Applied::State::kBusy:
        deferrals_.note_busy(applied.webhook, now);
        waiting = applied.webhook;
        break;
      case pg::Applied::State::kFailed:
        deferrals_.note_failed(applied.webhook, now);
        if (applied.problem.empty()) waiting = applied.webhook;
        break;
      case pg::Applied::State::kMore:
        deferrals_.note_progress(applied.webhook, now);
        break;
      case pg::Applied::State::kDone:
        end_deferral(applied);
        break;
    }
    if (!applied.problem.empty()) recording_.warn_of_refusal(applied.problem);
  }
  if (waiting) warn_of_deferral(*waiting);
}

void Worker::end_deferral(const pg::Applied& applied) {
  const Uuid& id = applied.webhook;
  deferrals_.remove(id);
  const Target* target = targets_.find(id);
  if (target == nullptr) return;
  if (applied.next_due) backlog_.owe(id, {*applied.next_due, 0});
  if (is_ordered(*target)) set_up_order(*target);
  schedule_refill(*target);
}

void Worker::warn_of_deferral(const Uuid& webhook) {
  const Time now = process_.now();
  const std::optional<Time> since = deferrals_.since(webhook);
  if (now < next_deferral_warning_ || !since || now - *since < kDeferralPatience) return;
  next_deferral_warning_ = now + kWarningInterval;
  const Target* target = targets_.find(webhook);
  std::string whose = target == nullptr ? "a deleted webhook" : described(target->webhook);
  if (deferrals_.size() > 1) whose += " and of " + std::to_string(deferrals_.size() - 1) + " more";
  process_.log(pg::LogLevel::kWarning,
               "deliveries of " + whose + " wait to be recorded since " + format_timestamp(*since),
               "They are held by " + store_.holder(webhook) + ". Deliveries of other webhooks go on.",
               "End the transaction. webhook_cancel(), webhook_replay() and webhook_redeliver() hold a webhook's "
               "deliveries until "
               "then.");
}

void Worker::maintain() {
  const Time now = process_.now();
  filters_.forget_idle();
  std::erase_if(announcements_, [now](const auto& entry) { return entry.second.is_full(now); });
  maintenance_.maintain();
}

// What waits for an open circuit, for its webhook to be switched on, or for deliveries to be resumed grows old without
// being looked at.
bool Worker::is_left_alone(const Uuid& webhook) {
  if (!backlog_.next_due(webhook) || deferrals_.contains(webhook)) return false;
  const Circuit* circuit = lanes_.circuit(webhook);
  if (circuit == nullptr) return true;
  return (circuit->is_open() || !delivers()) && lanes_.queued(webhook) == 0;
}

void Worker::check_ages() {
  if (ages_to_check_.empty()) {
    for (const auto& [id, target] : targets_) {
      if (is_left_alone(id)) ages_to_check_.push_back(id);
    }
  }
  const Time end = process_.now() + kAgeCheckTime;
  while (!ages_to_check_.empty() && process_.now() < end) {
    const Uuid id = ages_to_check_.back();
    const Target* target = targets_.find(id);
    if (target == nullptr || !is_left_alone(id) || !give_up_old(*target)) ages_to_check_.pop_back();
  }
  next_age_check_ = process_.now() + (ages_to_check_.empty() ? kAgeCheckInterval : kAgeCheckPause);
}

}  // namespace webhook
