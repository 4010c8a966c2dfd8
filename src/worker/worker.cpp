#include "worker/worker.h"

#include <algorithm>
#include <utility>

#include "core/retry.h"
#include "core/utf8.h"
#include "core/wire.h"

namespace webhook {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t kReadMax = 500;                     // events by one read
constexpr std::size_t kQueuedMax = 4'000;                 // deliveries in all lanes above which nothing is read
constexpr std::size_t kQueuedBytesMax = 32ULL << 20;      // likewise their bodies
constexpr std::size_t kAheadMax = 50'000;                 // events ahead of the checkpoint, likewise
constexpr std::size_t kRecordBatch = 256;                 // results that are recorded at once
constexpr Duration kRecordDelayMin = milliseconds(5);     // under load a result waits for others: so long,
constexpr Duration kRecordDelayMax = milliseconds(50);    // or as long as the last recording took, up to this
constexpr Duration kPollInterval = milliseconds(1);       // between two looks at the log while there is work
constexpr Duration kRefillRetry = seconds(1);             // after a failure to read what is owed
constexpr Duration kSafetyInterval = seconds(5);          // looks at the log though nobody called
constexpr Duration kCheckpointInterval = seconds(1);      // at most one in so long
constexpr Duration kMarkInterval = seconds(2);            // after one or two of them, an unsettled delivery gets a row
constexpr Duration kMaintenanceInterval = seconds(5);     // rings
constexpr Duration kBusyMaintenance = seconds(1);         // likewise, while they grow
constexpr Duration kExpiryInterval = minutes(10);         // dead deliveries beyond their retention
constexpr Duration kWarningInterval = minutes(1);         // the same warning again
constexpr Duration kStoreBackoffMin = milliseconds(100);  // between tries of a failing database
constexpr Duration kStoreBackoffMax = seconds(10);        //
constexpr Duration kDrainTime = seconds(5);               // for what is in flight at the end
constexpr Duration kRetryAfterMax = std::chrono::hours(24);
constexpr std::size_t kResponseBytesMax = 4096;  // stored

pg::DeliveryKey key_of(const Delivery& delivery) { return {delivery.event->event_id, delivery.webhook}; }

// attempts: those made. next_attempt_at: nothing when it is dead.
pg::OwedRow owed_row(const Delivery& delivery, int attempts, std::optional<Time> next_attempt_at, std::string error) {
  const Outgoing& event = *delivery.event;
  return {.key = key_of(delivery),
          .organization_id = event.organization_id,
          .event = event.event_name,
          .event_key = event.key,
          .created_at = event.created_at,
          .attempts = attempts,
          .next_attempt_at = next_attempt_at,
          .last_error = std::move(error)};
}

std::string stored_response(const std::string& body) {
  return std::string(utf8_prefix(to_valid_utf8(body), kResponseBytesMax));
}

bool is_success(const HttpResponse& response) {
  return response.outcome == HttpOutcome::kResponse && response.status >= 200 && response.status <= 299;
}

std::string failure_text(const HttpResponse& response) {
  if (response.outcome != HttpOutcome::kResponse) return to_valid_utf8(response.error);
  return "HTTP status " + std::to_string(response.status);
}

}  // namespace

Worker::Worker(pg::Process& process, pg::Store& store, HttpClient& http)
    : process_(process), store_(store), http_(http), recorder_(store), record_delay_(kRecordDelayMin) {}

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
    if (process_.shutdown_requested()) break;
    if (process_.wait(http_.fd(), time_to_wait())) look_at_log_ = true;
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
  http_.configure(process_.settings().http);
  note_whether_enabled();
  const pg::StartState state = store_.start();
  take_instance(state.instance, state.verdict == IdentityVerdict::kCopy);
  ledger_.emplace(state.checkpoint);
  recovery_log_floor_ = state.checkpoint.log_floor;
  pg::Logged logged = store_.logged_since(recovery_log_floor_);
  logged_before_.insert(logged.keys.begin(), logged.keys.end());
  last_log_id_ = logged.last_log_id;
  load_configuration();
  next_mark_ = now + kMarkInterval;
}

// --- The loop -----------------------------------------------------------------------------------------------------------

void Worker::turn() {
  const Time now = process_.now();
  if (now < last_turn_) forget_deadlines(now);  // the clock was set back
  last_turn_ = now;
  if (configuration_stale_at_ && now >= *configuration_stale_at_) is_configuration_stale_ = true;
  if (process_.reload_settings()) {
    http_.configure(process_.settings().http);
    note_whether_enabled();
    is_configuration_stale_ = true;  // webhook.secret_key_file may have changed
    look_at_log_ = true;
  }
  http_.drive();
  collect();
  if (process_.now() >= next_store_call_) {
    if (is_configuration_stale_ || store_.configuration_changed()) load_configuration();
    if (process_.now() >= next_mark_) write_down_the_oldest();
    if (is_record_due()) record();
    if (process_.now() >= next_maintenance_) maintain();
    if (delivers() && process_.now() >= next_refill_) refill();
    read();
    store_failures_ = 0;
  }
  if (delivers()) send();
}

std::optional<Duration> Worker::time_to_wait() {
  const Time now = process_.now();
  Time wake = next_maintenance_;
  if (!recorder_.empty()) wake = std::min(wake, recorder_.oldest() + record_delay_);
  if (is_checkpoint_stale_ && ledger_->checkpoint() != recorded_checkpoint_) wake = std::min(wake, next_checkpoint_);
  if (delivers()) wake = std::min(wake, next_refill_);
  if (configuration_stale_at_) wake = std::min(wake, *configuration_stale_at_);
  if (may_read()) wake = std::min(wake, look_at_log_ ? next_poll_ : next_look_);
  if (ledger_->events_ahead() > 0) wake = std::min(wake, next_mark_);
  wake = std::max(wake, next_store_call_);
  Duration wait = std::max(wake - now, Duration::zero());
  if (const auto network = http_.timeout()) wait = std::min(wait, *network);
  return wait;
}

// All but what webhook_deliveries says is due now, rather than when an old clock said.
void Worker::forget_deadlines(Time now) {
  for (Time* deadline : {&next_look_, &next_poll_, &next_refill_, &next_checkpoint_, &next_maintenance_, &next_mark_,
                         &next_store_call_, &next_failure_warning_, &next_expiry_}) {
    *deadline = std::min(*deadline, now);
  }
}

// Keeps the network going, and tries the database again later, with all that it should have been told.
void Worker::back_off(const pg::Error& error) {
  const Time now = process_.now();
  next_store_call_ = now + std::min(kStoreBackoffMin * (1 << std::min(store_failures_, 10)), kStoreBackoffMax);
  ++store_failures_;
  look_at_log_ = true;
  if (now < next_failure_warning_) return;
  next_failure_warning_ = now + kWarningInterval;
  process_.log(pg::LogLevel::kWarning, "the worker's transaction failed and will be repeated: " + error.message(),
               error.detail(), error.hint());
}

void Worker::drain() {
  const Time deadline = process_.now() + kDrainTime;
  while (!in_flight_.empty() && process_.now() < deadline) {
    http_.drive();
    collect();
    if (in_flight_.empty()) break;
    const auto network = http_.timeout();
    const Duration left = deadline - process_.now();
    process_.wait(http_.fd(), std::clamp(network.value_or(left), Duration::zero(), std::max(left, Duration::zero())));
  }
  record();  // settles
  is_checkpoint_stale_ = true;
  next_checkpoint_ = process_.now();
  record();  // the checkpoint behind what was settled
}

// --- Configuration --------------------------------------------------------------------------------------------------------

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

void Worker::load_configuration() {
  is_configuration_stale_ = true;
  pg::Configuration configuration = store_.configuration();
  if (configuration.instance && *configuration.instance != instance_) take_instance(*configuration.instance, true);
  if (configuration.is_paused != is_paused_) {
    is_paused_ = configuration.is_paused;
    process_.log(pg::LogLevel::kLog, is_paused_ ? "deliveries are paused" : "deliveries are resumed",
                 is_paused_ ? configuration.paused_reason : std::string());
  }
  configuration_stale_at_ = configuration.stale_at;
  note_secret_problem(configuration.secret_problem);
  targets_.replace(std::move(configuration.webhooks));
  set_up_lanes();
  load_next_due();
  is_configuration_stale_ = false;
  look_at_log_ = true;
}

void Worker::note_secret_problem(const std::string& problem) {
  if (problem == secret_problem_) return;
  secret_problem_ = problem;
  if (problem.empty()) {
    process_.log(pg::LogLevel::kLog, "all secrets can be decrypted");
  } else {
    process_.log(pg::LogLevel::kWarning, problem,
                 "What cannot be signed is not sent: webhook_deliveries keeps it until it can be.",
                 "Give webhook.secret_key_file the key again and reload, or give the webhook another secret.");
  }
}

// Lanes for the webhooks that can be delivered to. What waited in the lane of one that no longer can becomes owed.
void Worker::set_up_lanes() {
  const Time now = process_.now();
  for (auto& [id, target] : targets_) {
    if (target.webhook.is_deliverable()) lanes_.set_lane(id, target.webhook.max_in_flight);
  }
  for (const Uuid& id : lanes_.lanes()) {
    const Target* target = targets_.find(id);
    if (target != nullptr && target->webhook.is_deliverable()) continue;
    for (Delivery& delivery : lanes_.remove_lane(id)) {
      if (target != nullptr && !delivery.has_row) {
        recorder_.owe(owed_row(delivery, delivery.attempt - 1, now, target->webhook.secret_problem), now);
      }
      if (delivery.has_row) recorder_.release(key_of(delivery));
      if (delivery.entry) recorder_.settle(*delivery.entry);
    }
  }
}

void Worker::load_next_due() {
  const std::vector<pg::NextDue> all = store_.next_due();
  for (auto& [id, target] : targets_) target.next_due.reset();
  std::vector<Uuid> deleted;
  next_refill_ = Time::max();
  for (const pg::NextDue& due : all) {
    Target* target = targets_.find(due.webhook);
    if (target == nullptr) {
      deleted.push_back(due.webhook);
      continue;
    }
    target->next_due = due.at;
    if (target->webhook.is_deliverable()) next_refill_ = std::min(next_refill_, due.at);
  }
  if (!deleted.empty()) store_.forget(deleted);
}

// --- The log --------------------------------------------------------------------------------------------------------------

bool Worker::may_read() {
  return delivers() && lanes_.queued() < kQueuedMax && lanes_.queued_bytes() < kQueuedBytesMax &&
         ledger_->events_ahead() < kAheadMax;
}

void Worker::read() {
  const Time now = process_.now();
  if (!delivers()) {
    // Whoever resumes deliveries wakes the worker; an invalidation is only seen in a transaction.
    if (look_at_log_ || now >= next_look_) load_configuration();
    next_look_ = now + kSafetyInterval;
    // If they have just been resumed, the log is looked at by the next turn.
    look_at_log_ = delivers();
    return;
  }
  if (now >= next_look_) look_at_log_ = true;
  if (!look_at_log_ || !may_read() || now < next_poll_) return;
  next_look_ = now + kSafetyInterval;
  if (!in_flight_.empty()) next_poll_ = now + kPollInterval;

  store_.refill_ids();
  look_at_log_ = false;
  if (ledger_->window_is_read() && !open_next_window()) return;
  look_at_log_ = true;
  pg::Chunk chunk = store_.read(ledger_->window(), ledger_->read_position(), kReadMax);
  const auto recorded = recovering_ ? recorded_before(chunk.events) : std::unordered_set<pg::DeliveryKey>();
  for (Event& event : chunk.events) admit(std::move(event), recorded);
  if (!chunk.window_is_read) return;
  ledger_->finish_window();
  if (recovering_ && recovered_at_ && ledger_->window().to == *recovered_at_) end_recovery();
  // While recovering nobody has called for what was committed before this process began.
  look_at_log_ = recovering_;
}

void Worker::end_recovery() {
  recovering_ = false;
  logged_before_ = {};
}

// False: nothing has finished since the last window.
bool Worker::open_next_window() {
  const Snapshot now = store_.current_snapshot();
  // Whoever subscribed before the snapshot must be known before its events are routed.
  if (store_.configuration_changed()) load_configuration();
  // Only now: if the call above fails, the window that ends here is never opened.
  if (recovering_ && !recovered_at_) recovered_at_ = now;
  Window window{ledger_->window().to, now};
  if (window.empty()) {
    if (recovering_) end_recovery();
    return false;
  }
  ledger_->open_window(std::move(window), recovering_ ? recovery_log_floor_ : last_log_id_);
  return true;
}

std::unordered_set<pg::DeliveryKey> Worker::recorded_before(const std::vector<Event>& events) {
  std::vector<std::int64_t> ids;
  ids.reserve(events.size());
  for (const Event& event : events) ids.push_back(event.id);
  const std::vector<pg::DeliveryKey> owed = store_.owed_of(ids);
  return {owed.begin(), owed.end()};
}

void Worker::admit(Event event, const std::unordered_set<pg::DeliveryKey>& recorded_before) {
  std::vector<Uuid> receivers;
  for (const Uuid& id : targets_.routes(event)) {
    if (event.created_at < targets_.find(id)->webhook.active_since) continue;
    const pg::DeliveryKey key{event.id, id};
    if (recovering_ && (recorded_before.contains(key) || logged_before_.contains(key))) continue;
    receivers.push_back(id);
  }
  const Ledger::Entry entry = ledger_->admit(event.id, static_cast<std::uint32_t>(receivers.size()));
  is_checkpoint_stale_ = true;
  if (receivers.empty()) return;
  if (event.oversized_bytes > 0) {
    const std::string error = "the payload of " + std::to_string(event.oversized_bytes) +
                              " bytes was larger than webhook.max_payload and was not kept";
    for (const Uuid& id : receivers) {
      give_up(event, id, 0, error);
      recorder_.settle(entry);
    }
    return;
  }
  const std::shared_ptr<const Outgoing> shared = outgoing(std::move(event));
  for (const Uuid& id : receivers) deliver({.webhook = id, .event = shared, .attempt = 1, .entry = entry});
}

std::shared_ptr<const Outgoing> Worker::outgoing(Event event) {
  auto made = std::make_shared<Outgoing>();
  made->event_id = event.id;
  made->created_at = event.created_at;
  made->webhook_id = event_ids_->encode(event.id, event.created_at);
  made->body = build_body(event);
  made->event_name = std::move(event.name);
  made->organization_id = std::move(event.organization_id);
  made->key = std::move(event.key);
  return made;
}

// Into its lane, or, if that is full or the webhook cannot be signed for, among what is owed.
void Worker::deliver(Delivery delivery) {
  const std::string& problem = targets_.find(delivery.webhook)->webhook.secret_problem;
  if (problem.empty() && lanes_.offer(delivery)) return;
  const Time now = process_.now();
  recorder_.owe(owed_row(delivery, delivery.attempt - 1, now, problem), now);
  recorder_.settle(*delivery.entry);
}

// Dead without another attempt, and said so in the log.
void Worker::give_up(const Event& event, const Uuid& webhook, int attempts, const std::string& error) {
  const Time now = process_.now();
  recorder_.log({.created_at = now,
                 .webhook = webhook,
                 .organization_id = event.organization_id,
                 .event_id = event.id,
                 .event = event.name,
                 .error = error},
                now);
  recorder_.owe({.key = {event.id, webhook},
                 .organization_id = event.organization_id,
                 .event = event.name,
                 .event_key = event.key,
                 .created_at = event.created_at,
                 .attempts = attempts,
                 .last_error = error},
                now);
}

// --- What is owed ---------------------------------------------------------------------------------------------------------

void Worker::refill() {
  // First what overflowed a moment ago: or refill_lane() would not see it and let new events pass it.
  if (!recorder_.empty()) record();
  const Time now = process_.now();
  next_refill_ = now + kRefillRetry;  // should it fail: new events must not wait for it
  Time next = Time::max();
  for (auto& [id, target] : targets_) {
    if (!target.webhook.is_deliverable() || !target.next_due) continue;
    bool go_on = false;
    // A lane without much room asks again when it has: see conclude().
    if (*target.next_due <= now && lanes_.room(id) >= Lanes::kQueuedMax / 2) go_on = refill_lane(target);
    if (target.next_due && (go_on || *target.next_due > now)) next = std::min(next, std::max(*target.next_due, now));
  }
  next_refill_ = next;
}

// Whether there is more to fetch and room for it.
bool Worker::refill_lane(Target& target) {
  const Uuid id = target.webhook.id;
  const std::size_t limit = lanes_.room(id) + target.held;
  pg::Due due = store_.due(id, process_.now(), limit);
  bool all_taken = true;
  bool any_taken = false;
  for (pg::OwedDelivery& owed : due.deliveries) {
    const pg::DeliveryKey key{owed.event.id, id};
    if (held_.contains(key)) continue;
    if (owed.event.data.empty()) {
      give_up(owed.event, id, owed.attempts, "the event is no longer stored");
      any_taken = true;
      continue;
    }
    const int attempt = owed.attempts + 1;
    all_taken =
        lanes_.refill({.webhook = id, .event = outgoing(std::move(owed.event)), .attempt = attempt, .has_row = true});
    if (!all_taken) break;
    any_taken = true;
    held_.insert(key);
    ++target.held;
  }
  if (!due.is_all || !all_taken) {  // next_due stands: there is more
    lanes_.begin_overflow(id);
    return any_taken && all_taken && lanes_.room(id) >= Lanes::kQueuedMax / 2;
  }
  target.next_due = due.next;
  lanes_.end_overflow(id);
  return false;
}

// What has been on its way for long gets a row, so that it does not hold up the checkpoint.
void Worker::write_down_the_oldest() {
  next_mark_ = process_.now() + kMarkInterval;
  if (ledger_->events_ahead() > 0 && ledger_->oldest() < mark_) {
    for (auto& [token, attempt] : in_flight_) write_down(attempt.delivery);
    lanes_.for_each_queued([this](Delivery& delivery) { write_down(delivery); });
  }
  mark_ = ledger_->oldest() + ledger_->events_ahead();
}

void Worker::write_down(Delivery& delivery) {
  if (!delivery.entry || *delivery.entry >= mark_) return;
  const Time now = process_.now();
  const pg::DeliveryKey key = key_of(delivery);
  recorder_.owe(owed_row(delivery, delivery.attempt - 1, now, {}), now);
  recorder_.settle(*delivery.entry);
  delivery.entry.reset();
  delivery.has_row = true;
  held_.insert(key);
  if (Target* target = targets_.find(delivery.webhook)) ++target->held;
}

// --- The network ----------------------------------------------------------------------------------------------------------

void Worker::send() {
  const auto in_flight_max = static_cast<std::size_t>(process_.settings().max_in_flight);
  bool started = false;
  while (in_flight_.size() < in_flight_max) {
    std::optional<Delivery> delivery = lanes_.take();
    if (!delivery) break;
    Target& target = *targets_.find(delivery->webhook);
    const Time now = process_.now();
    HttpRequest request{.token = next_token_++,
                        .url = target.webhook.url,
                        .headers = build_headers({.webhook_id = delivery->event->webhook_id,
                                                  .event_name = delivery->event->event_name,
                                                  .number = delivery->attempt,
                                                  .time = now},
                                                 delivery->event->body, target.keys, target.webhook.headers),
                        .body = delivery->event->body,
                        .timeout = target.webhook.timeout};
    in_flight_.emplace(request.token, InFlight{std::move(*delivery), now});
    http_.start(std::move(request));
    started = true;
  }
  if (started) http_.drive();
}

void Worker::collect() {
  for (HttpResponse& response : http_.take_finished()) {
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
  Target* target = targets_.find(delivery.webhook);
  pg::LogRow row{.created_at = attempt.started_at,
                 .webhook = delivery.webhook,
                 .organization_id = delivery.event->organization_id,
                 .event_id = delivery.event->event_id,
                 .event = delivery.event->event_name,
                 .attempt = delivery.attempt,
                 .success = is_success(response),
                 .response_status = response.status,
                 .response_body = stored_response(response.body),
                 .elapsed = response.elapsed,
                 .remote_ip = response.remote_ip};
  if (row.success) {
    if (delivery.has_row) recorder_.finish(key, now);
    // Its row goes, and recovery may not have come to its event yet.
    if (delivery.has_row && recovering_) logged_before_.insert(key);
  } else if (target != nullptr) {
    retry_or_give_up(delivery, *target, response, &row);
  } else {
    row.error = failure_text(response);
  }
  recorder_.log(std::move(row), now);
  if (delivery.entry) recorder_.settle(*delivery.entry);
  if (delivery.has_row) recorder_.release(key);
  lanes_.finish(delivery.webhook);
  if (target != nullptr && target->next_due && *target->next_due <= now &&
      lanes_.room(delivery.webhook) >= Lanes::kQueuedMax / 2) {
    next_refill_ = now;
  }
}

void Worker::retry_or_give_up(const Delivery& delivery, const Target& target, const HttpResponse& response,
                              pg::LogRow* row) {
  const pg::WorkerSettings& settings = process_.settings();
  const Time now = process_.now();
  const RetrySchedule& schedule =
      target.webhook.retry_schedule.empty() ? settings.retry_schedule : target.webhook.retry_schedule;
  row->error = failure_text(response);
  row->next_attempt_at = next_retry_at(now, delivery.attempt, schedule, process_.random());
  if (row->next_attempt_at && (response.status == 429 || response.status == 503)) {
    const auto asked = parse_retry_after(response.retry_after, now);
    if (asked) row->next_attempt_at = std::max(*row->next_attempt_at, now + std::min(*asked, kRetryAfterMax));
  }
  if (!row->next_attempt_at) {
    row->error += "; the last attempt of its schedule";
  } else if (*row->next_attempt_at - delivery.event->created_at > settings.max_age) {
    row->next_attempt_at.reset();
    row->error += "; another attempt would come after webhook.max_age";
  }
  recorder_.owe(owed_row(delivery, delivery.attempt, row->next_attempt_at, row->error), now);
}

// --- Recording ------------------------------------------------------------------------------------------------------------

bool Worker::is_checkpoint_due() {
  return is_checkpoint_stale_ && process_.now() >= next_checkpoint_ && ledger_->checkpoint() != recorded_checkpoint_;
}

bool Worker::is_record_due() {
  const Time now = process_.now();
  if (is_checkpoint_due()) return true;
  if (recorder_.empty()) return false;
  const bool idle = in_flight_.empty() && lanes_.queued() == 0;
  return idle || recorder_.count() >= kRecordBatch || now < recorder_.oldest() ||
         now - recorder_.oldest() >= record_delay_;
}

void Worker::record() {
  const Time now = process_.now();
  std::optional<Checkpoint> checkpoint;
  if (is_checkpoint_due()) checkpoint = ledger_->checkpoint();
  if (recorder_.empty() && !checkpoint) return;
  const Recorder::Recorded recorded = recorder_.record(checkpoint);
  record_delay_ = std::clamp<Duration>(process_.now() - now, kRecordDelayMin, kRecordDelayMax);
  if (checkpoint) {
    next_checkpoint_ = now + kCheckpointInterval;
    next_maintenance_ = std::min(next_maintenance_, now + kBusyMaintenance);
    recorded_checkpoint_ = std::move(checkpoint);
    is_checkpoint_stale_ = false;
  }
  if (recorded.last_log_id > 0) last_log_id_ = recorded.last_log_id;
  for (const Ledger::Entry entry : recorded.settled) ledger_->settle(entry);
  if (!recorded.settled.empty()) is_checkpoint_stale_ = true;
  for (const pg::DeliveryKey& key : recorded.released) {
    held_.erase(key);
    Target* target = targets_.find(key.webhook);
    if (target != nullptr && target->held > 0) --target->held;
  }
  for (const pg::OwedRow& row : recorded.owed) {
    Target* target = targets_.find(row.key.webhook);
    if (target == nullptr || !row.next_attempt_at) continue;
    target->next_due = std::min(target->next_due.value_or(Time::max()), *row.next_attempt_at);
    if (target->webhook.is_deliverable()) next_refill_ = std::min(next_refill_, *target->next_due);
  }
}

void Worker::maintain() {
  const Time now = process_.now();
  const pg::WorkerSettings& settings = process_.settings();
  next_maintenance_ = now + kMaintenanceInterval;
  store_.refill_ids();
  maintain_ring(pg::Ring::kEvents, {settings.event_retention, settings.event_bytes_max}, &kept_events_);
  maintain_ring(pg::Ring::kLogs, {settings.log_retention, settings.log_bytes_max}, &kept_logs_);
  if (now < next_expiry_) return;
  next_expiry_ = now + kExpiryInterval;
  store_.delete_expired(now - settings.event_retention);
}

void Worker::maintain_ring(pg::Ring ring, const RingLimits& limits, KeptSegment* kept) {
  const pg::RingReport report = store_.maintain_ring(ring, limits);
  const Time now = process_.now();
  if (report.more) next_maintenance_ = now;
  if (report.kept_because != kept->reason) *kept = {report.kept_because, now + kMaintenanceInterval};
  if (kept->reason.empty() || now < kept->next_warning) return;
  kept->next_warning = now + kWarningInterval;
  const bool events = ring == pg::Ring::kEvents;
  process_.log(pg::LogLevel::kWarning,
               std::string("the oldest segment of ") + (events ? "webhook_events" : "webhook_logs") +
                   " is kept beyond its retention or size",
               "The reason: " + report.kept_because + ". The current segment grows meanwhile.",
               events ? "Look for webhooks that are behind, for a paused database, and for long transactions that "
                        "have read webhook_events."
                      : "Look for long transactions that have read webhook_logs.");
}

}  // namespace webhook
