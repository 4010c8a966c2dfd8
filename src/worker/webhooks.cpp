#include "worker/webhooks.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "worker/operational_events.h"

namespace webhook {
namespace {

// Between two looks for webhooks that stand still. Each covers a 60th of them, so one rests after 5 to 10 minutes.
constexpr Duration kRestInterval = std::chrono::seconds(5);

}  // namespace

Webhooks::Webhooks(Process& process, Store& store, const WorkerShare& share, const Rooms& rooms)
    : process_(process),
      store_(store),
      share_(share),
      configuration_(rooms.configuration),
      subscribers_(rooms.subscribers),
      statistics_(rooms.statistics),
      outgoings_(rooms.outgoings),
      maintenance_(rooms.maintenance),
      recording_(rooms.recording),
      pending_(rooms.pending),
      admission_(rooms.admission),
      unadmitted_(rooms.unadmitted),
      outcomes_(rooms.outcomes),
      replays_(rooms.replays),
      secret_problems_(process) {}

// --- Steps ----------------------------------------------------------------------------------------------------------------

bool Webhooks::take_step() {
  const Time begun = process_.now();
  bool is_poll_wanted = false;
  configuration_.take_news();
  if (configuration_.due_at().value_or(Time::max()) <= begun) {
    // What is read of backlogs must not lack the results that wait.
    if (are_backlogs_stale_) pending_.flush();
    is_poll_wanted = take_over(configuration_.read_next(begun), begun);
  }
  if (!backlogs_to_load_.empty()) load_backlogs();
  if (begun >= next_rest_) {
    next_rest_ = begun + kRestInterval;
    subscribers_.rest_unused([this, begun](Subscriber& subscriber) { let_rest(subscriber, begun); });
  }
  return is_poll_wanted;
}

// Not while something of it is in memory: deliveries, or what its endpoint has done that a later one depends on.
void Webhooks::let_rest(Subscriber& subscriber, Time now) {
  if (subscriber.may_rest(now) && pending_.let_rest(subscriber)) subscriber.rest();
}

void Webhooks::read_changes() {
  const Time begun = process_.now();
  take_over(configuration_.read_changes(), begun);
}

std::optional<Time> Webhooks::catch_up() {
  configuration_.take_news();
  if (configuration_.has_changes() && process_.now() >= configuration_.changes_due_at()) read_changes();
  if (!configuration_.has_changes() && backlogs_to_load_.empty()) return std::nullopt;
  return configuration_.changes_due_at();
}

// Returns whether there may be something in the log that could not be read before.
bool Webhooks::take_over(ConfigurationReader::Step step, Time begun) {
  const bool has_changed_pause = take_instance(step.read);
  std::vector<std::string> gone = step.read.nodes.gone();
  if (subscribers_.set_nodes(std::move(step.read.nodes))) maintenance_.take_gone_nodes(std::move(gone), begun);
  secret_problems_.set_key_file_problem(step.read.key_file_problem);
  for (const WebhookIdentity& deleted : step.read.deleted) take_deleted(deleted, begun);
  for (Webhook& webhook : step.read.webhooks) {
    if (!share_.owns(webhook.id)) continue;
    if (webhook.is_pending_changed) backlogs_to_load_.insert(webhook.id);
    take_webhook(std::move(webhook), are_backlogs_stale_ && step.is_of_round);
  }
  if (step.has_ended_round) {
    for (const Uuid& id : subscribers_.not_seen_since(configuration_.round())) forget(id);
    are_backlogs_stale_ = false;
  }
  if (configuration_.is_loaded()) secret_problems_.report();
  if (!backlogs_to_load_.empty()) load_backlogs();
  configuration_.note_cost(step, begun, process_.now());
  return has_changed_pause || step.has_ended_round;
}

// Others have changed webhooks' pending deliveries.
void Webhooks::load_backlogs() {
  maintenance_.clean_up_soon(process_.now());  // of the notes that have told of it
  replays_.poll_soon(process_.now());          // one may have begun
  pending_.flush();                            // or the backlogs would lack the results that wait
  const std::vector<Uuid> ids(backlogs_to_load_.begin(), backlogs_to_load_.end());
  for (Webhook& webhook : store_.webhooks(ids).webhooks) take_webhook(std::move(webhook), true);
  backlogs_to_load_.clear();
}

bool Webhooks::is_idle() const {
  return are_loaded() && configuration_.is_idle() && !store_.has_news() && backlogs_to_load_.empty();
}

std::optional<Time> Webhooks::next_at(Time now) const {
  if (store_.has_news() || !backlogs_to_load_.empty()) return now;
  return configuration_.due_at();
}

void Webhooks::report(WorkerFigures* figures) const {
  figures->webhooks = subscribers_.size();
  figures->undecryptable = secret_problems_.undecryptable();
}

void Webhooks::clock_set_back(Time now) {
  configuration_.clock_set_back(now);
  configuration_.read_all_again();
  are_backlogs_stale_ = true;
  next_rest_ = std::min(next_rest_, now);
}

// --- The database -----------------------------------------------------------------------------------------------------------

void Webhooks::set_instance(const Uuid& instance, bool is_copy) {
  instance_ = instance;
  outgoings_.set_instance(instance);
  if (!is_copy) return;
  process_.log(LogLevel::kWarning, "this database is a copy of another, or was restored: deliveries are paused",
               "Events are recorded and kept.", "Call webhook_resume() if this database is to deliver.");
}

// Returns whether deliveries are paused or resumed.
bool Webhooks::take_instance(const Configuration& read) {
  if (read.instance && *read.instance != instance_) set_instance(*read.instance, read.is_paused);
  if (read.is_paused == is_paused_) return false;
  is_paused_ = read.is_paused;
  process_.log(LogLevel::kLog, is_paused_ ? "deliveries are paused" : "deliveries are resumed",
               is_paused_ ? read.paused_reason : std::string());
  return true;
}

// --- One webhook ------------------------------------------------------------------------------------------------------------

// is_backlog_new: what was known of its backlog is old.
void Webhooks::take_webhook(Webhook webhook, bool is_backlog_new) {
  const Uuid id = webhook.id;
  const Subscriber* const known = subscribers_.find(id);
  const bool has_rested = known == nullptr || known->is_resting();
  if (known != nullptr && known->identity() != webhook.identity()) forget(id);
  configuration_.set_expiry(id, webhook.secrets_change_at);
  secret_problems_.set(webhook);
  std::optional<EndpointState> endpoint = std::exchange(webhook.endpoint, std::nullopt);
  const Subscribers::Change change = subscribers_.put(std::move(webhook), configuration_.round());
  pending_.count_organizations();
  Subscriber& subscriber = *subscribers_.find(id);
  std::optional<Time> circuit_opened_at;
  if (change.is_new && endpoint) circuit_opened_at = take_endpoint(subscriber, std::move(*endpoint));
  pending_.take_webhook(subscriber, change, is_backlog_new, circuit_opened_at);
  if (change.url || change.switched_on) outcomes_.forget(id);
  if (change.filter) recording_.write_endpoint(id);
  if (subscriber.webhook().filter.empty() && (change.is_new || change.filter)) admission_.filter_removed(subscriber);
  pending_.schedule_refill(subscriber);
  if (has_rested) let_rest(subscriber, process_.now());
}

// Takes over how the worker before this one found the endpoint. Returns since when its circuit is open; nothing: it is
// not.
std::optional<Time> Webhooks::take_endpoint(Subscriber& subscriber, EndpointState endpoint) const {
  const std::optional<Time> opened_at = endpoint.circuit_opened_at;
  Subscriber::Details& known = subscriber.details();
  known.endpoint = std::move(endpoint);
  std::optional<Time>& failing_since = known.endpoint.failing_since;
  if (failing_since && *failing_since < known.webhook.active_since) failing_since.reset();
  if (const std::optional<Time> last = known.endpoint.last_failure_at; failing_since && last) {
    known.told_percent = failing_percent(*last - *failing_since, process_.settings().disable_after);
  }
  const bool counts = subscriber.is_deliverable() && opened_at && *opened_at >= known.webhook.active_since;
  return counts ? opened_at : std::nullopt;
}

void Webhooks::take_deleted(const WebhookIdentity& deleted, Time now) {
  if (!share_.owns(deleted.id)) return;
  const Subscriber* const subscriber = subscribers_.find(deleted.id);
  if (subscriber != nullptr && subscriber->identity() == deleted) forget(deleted.id);
  maintenance_.clean_up_soon(now);
}

// Requests in flight go on; only their attempts are logged. Maintenance deletes the rows that the webhook leaves.
void Webhooks::forget(const Uuid& webhook) {
  const Uuid id = webhook;  // which may be the subscriber's own
  unadmitted_.forget(subscribers_.find(id));
  pending_.forget(id);
  statistics_.forget(id);
  recording_.forget(id);
  outcomes_.forget(id);
  secret_problems_.forget(id);
  configuration_.set_expiry(id, std::nullopt);
  backlogs_to_load_.erase(id);
  subscribers_.remove(id);
  pending_.count_organizations();
}

}  // namespace webhook
