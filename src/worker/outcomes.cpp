#include "worker/outcomes.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/lanes.h"
#include "core/retry.h"
#include "core/utf8.h"
#include "worker/operational_events.h"

namespace webhook {
namespace {

constexpr double kEventsPerSecond = 1;  // operational events about an organization's webhooks, on average
constexpr double kEventsAtOnce = 60;
constexpr Duration kDisableRetry = std::chrono::seconds(5);
constexpr std::size_t kReasonBytesMax = 1000;  // of webhook_configurations.disabled_reason

LogRow log_row(const OpenRequest& request, const HttpResponse& response, const AttemptResult& judgement,
               LoggedBodies logged) {
  const Delivery& delivery = request.delivery;
  const bool is_success = judgement.verdict == Lanes::Health::kSuccess;
  return {.created_at = request.started_at,
          .webhook = delivery.webhook,
          .organization_id = delivery.event->organization_id,
          .event_id = delivery.event->event_id,
          .event = delivery.event->event_name,
          .attempt = delivery.attempt,
          .configuration_version = request.configuration_version,
          .success = is_success,
          .response_status = response.status,
          .response_body = logs_body(logged, is_success) ? stored_response(response) : std::string(),
          .response_headers = response.headers,
          .error = judgement.error,
          .elapsed = response.elapsed,
          .remote_ip = response.remote_ip};
}

}  // namespace

// --- The delivery ---------------------------------------------------------------------------------------------------------

bool Outcomes::conclude(const OpenRequest& request, const HttpResponse& response) {
  const Delivery& delivery = request.delivery;
  const Time now = process_.now();
  Subscriber* const subscriber = subscribers_.find(delivery);
  const AttemptResult judgement = judge(response, now);
  LogRow row = log_row(request, response, judgement, process_.settings().logged_bodies);
  const bool is_success = row.success;
  const std::optional<Time> not_before = judgement.wait ? std::optional(now + *judgement.wait) : std::nullopt;
  const Circuit::Change change = pending_.finish(delivery, judgement.verdict, not_before);
  if (subscriber == nullptr) {  // the webhook is gone: nothing but the attempt is told
    if (!is_success) row.error += "; the webhook has been deleted";
    recorder_.log(std::move(row), now);
    pending_.drop({delivery});
    return is_success;
  }
  if (is_success) {
    pending_.remove_row(delivery);
    // Its row is deleted, and recovery may not have reached its event yet.
    if (delivery.has_row && recovery_.is_under_way()) recovery_.note_logged(key_of(delivery));
  } else {
    retry_or_give_up(request, *subscriber, judgement, &row);
  }
  statistics_.count(delivery.webhook, delivery.webhook_created_at,
                    {.ended_at = now,
                     .elapsed = row.elapsed,
                     .is_success = is_success,
                     .event = row.event,
                     .response_status = row.response_status});
  note_endpoint(*subscriber, row, change);
  recorder_.log(std::move(row), now);
  pending_.let_go(delivery, *subscriber);
  return is_success;
}

// row: gets the time of the next attempt, or why there is none.
void Outcomes::retry_or_give_up(const OpenRequest& request, const Subscriber& subscriber,
                                const AttemptResult& judgement, LogRow* row) {
  Delivery delivery = request.delivery;
  if (request.is_probe) ++delivery.probes;
  const std::optional<Time> next = next_attempt_at(request, subscriber, judgement, &row->error);
  row->next_attempt_at = next;
  // Deliveries that the circuit holds back are due when it closes, the oldest first.
  const Circuit* const circuit = pending_.circuit(subscriber.id());
  const bool is_held = circuit != nullptr && circuit->is_open();
  pending_.add(delivery, delivery.attempt, next && is_held ? std::optional(pending_.due_since(delivery)) : next,
               row->error);
  if (next) {
    pending_.hold_back_behind(delivery);
  } else if (!is_operational(delivery.event->event_name)) {
    emit(subscriber, delivery_failed(subscriber.webhook(), *delivery.event, delivery.attempt, row->error));
  }
  if (judgement.is_gone) disable(subscriber, row->error);
}

// Nothing: there is none, and the error says why.
std::optional<Time> Outcomes::next_attempt_at(const OpenRequest& request, const Subscriber& subscriber,
                                              const AttemptResult& judgement, std::string* error) {
  const WorkerSettings& settings = process_.settings();
  const Time now = process_.now();
  const Delivery& delivery = request.delivery;
  const RetrySchedule& schedule =
      subscriber.webhook().retry_schedule.empty() ? settings.retry_schedule : subscriber.webhook().retry_schedule;
  std::optional<Time> next;
  if (judgement.is_gone) {
    *error += "; the webhook is switched off";
  } else if (request.is_probe) {
    const Circuit* const circuit = pending_.circuit(subscriber.id());
    next = circuit != nullptr && circuit->is_open() ? circuit->next_probe_at() : now;
  } else {
    next = next_retry_at(now, delivery.attempt - delivery.probes, schedule, process_.random());
    if (next && judgement.wait) next = std::max(*next, now + *judgement.wait);
    if (!next) *error += "; the last attempt of its schedule";
  }
  if (next && *next - delivery.pending_since > settings.max_age) {
    next.reset();
    *error += "; another attempt would come after webhook.max_age";
  }
  return next;
}

// If a tenant has a thousand failing webhooks that all subscribe to operational events, one event would make a million
// deliveries. So the number of these events is limited for each organization. Webhooks without an organization are not
// limited, because no tenant creates them.
void Outcomes::emit(const Subscriber& subscriber, OperationalEvent event) {
  const Time now = process_.now();
  if (const std::optional<std::string>& organization = subscriber.organization_id()) {
    const auto [limit, is_new] = event_limits_.try_emplace(*organization);
    if (is_new) limit->second.set_rate(kEventsPerSecond, now, kEventsAtOnce);
    if (!limit->second.has_token(now)) return;
    limit->second.take();
  }
  recorder_.emit(std::move(event), now);
}

void Outcomes::forget_idle() {
  const Time now = process_.now();
  std::erase_if(event_limits_, [now](const auto& limit) { return limit.second.is_full(now); });
}

// --- The endpoint ---------------------------------------------------------------------------------------------------------

void Outcomes::note_endpoint(Subscriber& subscriber, const LogRow& row, Circuit::Change change) {
  if (row.success) {
    subscriber.endpoint().last_success_at = process_.now();
  } else {
    note_failure(subscriber, row);
  }
  if (change == Circuit::Change::kOpened) note_opened(subscriber, row.error);
  if (change == Circuit::Change::kClosed) note_closed(subscriber);
  if (change != Circuit::Change::kNone) recording_.write_endpoint(subscriber.id());
  if (row.success) subscriber.endpoint().failing_since.reset();
}

void Outcomes::note_failure(Subscriber& subscriber, const LogRow& row) {
  const Time now = process_.now();
  Subscriber::Details& known = subscriber.details();
  EndpointState& endpoint = known.endpoint;
  endpoint.last_failure_at = now;
  endpoint.last_error = row.error;
  if (!endpoint.failing_since) {
    endpoint.failing_since = now;
    known.has_failed_events = false;
    known.told_percent = 0;
  }
  known.has_failed_events |= !is_operational(row.event);
  if (now - *endpoint.failing_since >= process_.settings().disable_after) {
    disable(subscriber, "failing since " + format_timestamp(*endpoint.failing_since) + ": " + row.error);
  } else {
    tell_that_it_fails(subscriber, *endpoint.failing_since, row.error);
  }
}

// Tells the organization's other webhooks before this one is switched off. The endpoint is written in the same transaction:
// by its last failure a worker that starts knows what was told.
void Outcomes::tell_that_it_fails(Subscriber& subscriber, Time failing_since, const std::string& error) {
  const Duration disable_after = process_.settings().disable_after;
  const int percent = failing_percent(process_.now() - failing_since, disable_after);
  Subscriber::Details& known = subscriber.details();
  if (percent <= known.told_percent || !known.has_failed_events) return;
  known.told_percent = percent;
  emit(subscriber, endpoint_failing(known.webhook, failing_since, disable_after, percent, error));
  recording_.write_endpoint(subscriber.id());
}

void Outcomes::note_opened(const Subscriber& subscriber, const std::string& error) {
  pending_.hold_back(subscriber);
  process_.log_about(subscriber.organization_id(), LogLevel::kDebug,
                     "the circuit of " + described(subscriber.webhook()) + " has opened: " + error,
                     "Its endpoint failed " + std::to_string(Circuit::kFailuresToOpen) +
                         " times in a row. Its pending deliveries wait, and one delivery is tried from time to time.");
}

void Outcomes::note_closed(const Subscriber& subscriber) {
  pending_.schedule_refill(subscriber);
  process_.log_about(subscriber.organization_id(), LogLevel::kDebug,
                     "the circuit of " + described(subscriber.webhook()) + " has closed",
                     "Its endpoint answers again. Its pending deliveries are sent.");
  // Otherwise the failure of an operational event would cause the next one, and so on for ever.
  if (subscriber.details().has_failed_events) {
    emit(subscriber,
         webhook_recovered(subscriber.webhook(), subscriber.endpoint().failing_since.value_or(process_.now())));
  }
}

void Outcomes::note_test(const Tester::Outcome& test) {
  Subscriber* const subscriber = subscribers_.find(test.webhook);
  if (subscriber == nullptr || subscriber->created_at() != test.webhook_created_at ||
      subscriber->webhook().url != test.url)
    return;
  if (test.verdict == Lanes::Health::kFailed) return;
  const bool has_lane = pending_.circuit(test.webhook) != nullptr;
  const bool has_closed = has_lane && pending_.close_circuit(test.webhook) == Circuit::Change::kClosed;
  if (has_closed && subscriber->is_deliverable()) note_closed(*subscriber);
  if (test.verdict == Lanes::Health::kSuccess) {
    subscriber->endpoint().last_success_at = process_.now();
    subscriber->endpoint().failing_since.reset();
  }
  recording_.write_endpoint(test.webhook);
}

// --- Webhooks that are switched off -----------------------------------------------------------------------------------------

// In a transaction of its own. Somebody may have locked the webhook's row, and other webhooks must not wait for that.
void Outcomes::disable(const Subscriber& subscriber, const std::string& reason) {
  to_disable_.emplace(subscriber.id(), std::string(utf8_prefix(reason, kReasonBytesMax)));
  deadlines_.set(Deadline::kDisable, process_.now());
}

void Outcomes::disable_webhooks() {
  const Time now = process_.now();
  if (to_disable_.empty() || !deadlines_.has_passed(Deadline::kDisable, now)) return;
  deadlines_.set(Deadline::kDisable, now + kDisableRetry);
  for (auto entry = to_disable_.begin(); entry != to_disable_.end();) {
    entry = try_to_disable(entry->first, entry->second) ? to_disable_.erase(entry) : std::next(entry);
  }
}

// Returns false if it must be tried again.
bool Outcomes::try_to_disable(const Uuid& webhook, const std::string& reason) {
  const Subscriber* const subscriber = subscribers_.find(webhook);
  if (subscriber == nullptr || !subscriber->webhook().is_active) return true;
  const DisableResult result = store_.disable(subscriber->identity(), subscriber->webhook().url, reason,
                                              webhook_disabled(subscriber->webhook(), reason));
  if (result == DisableResult::kDisabled) {
    process_.log_about(subscriber->organization_id(), LogLevel::kLog,
                       described(subscriber->webhook()) + " is switched off: " + reason, "Its events are recorded.",
                       "UPDATE webhook_configurations SET is_active = true switches it on again, and webhook_replay() "
                       "sends what it has missed.");
  }
  return result != DisableResult::kLocked;
}

std::optional<Time> Outcomes::next_at(Time /*now*/) const {
  return to_disable_.empty() ? std::nullopt : std::optional(deadlines_[Deadline::kDisable]);
}

}  // namespace webhook
