#include "pg/store/results.h"

extern "C" {
#include "postgres.h"

#include "utils/guc.h"
}

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/wire.h"
#include "pg/capture/capture.h"
#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/input_table.h"
#include "pg/keyed_lock.h"
#include "pg/spi.h"
#include "pg/store/log_writer.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

// Only sessions that write webhook_deliveries by hand, without the webhook's lock, are ever waited for.
constexpr const char* kRowLockTimeout = "50ms";
// How many locks one transaction takes. The rest of the batch is deferred, so that it does not fill the server's lock
// table.
constexpr std::size_t kLocksMax = 1'000;
// After this many failures the search for the failing rows ends, and the remaining rows are deferred, or reduced, too.
constexpr int kFailuresMax = 64;

std::optional<std::string> null_if_empty(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

// What a batch changes in webhook_deliveries.
struct Changes {
  std::vector<const DeliveryRow*> deliveries;
  std::vector<const Finished*> finished;

  bool empty() const { return deliveries.empty() && finished.empty(); }
  void add(const Changes& other) {
    deliveries.insert(deliveries.end(), other.deliveries.begin(), other.deliveries.end());
    finished.insert(finished.end(), other.finished.begin(), other.finished.end());
  }
};

void write_rows(const std::vector<const DeliveryRow*>& rows, Statement& statement) {
  if (rows.empty()) return;
  using enum InputTable::Type;
  InputTable table("new_deliveries", {{"event_id", kBigint},
                                      {"configuration_id", kUuid},
                                      {"configuration_created_at", kTimestamp},
                                      {"organization_id", kText},
                                      {"event", kText},
                                      {"key", kText},
                                      {"created_at", kTimestamp},
                                      {"attempts", kInteger},
                                      {"probes", kInteger},
                                      {"pending_since", kTimestamp},
                                      {"next_attempt_at", kTimestamp},
                                      {"last_error", kText},
                                      {"ordering_key", kText},
                                      {"slot", kInteger},
                                      {"request", kBigint},
                                      {"decided_at", kTimestamp}});
  for (const DeliveryRow* row : rows) {
    table.put(row->key.event_id).put(row->key.webhook).put(row->webhook_created_at).put(row->organization_id);
    table.put(row->event)
        .put(row->event_key)
        .put(row->created_at)
        .put(row->attempts)
        .put(row->probes)
        .put(row->pending_since)
        .put(row->next_attempt_at);
    table.put_or_null(row->last_error)
        .put(row->ordering_key)
        .put(row->segment)
        .put(row->request)
        .put(row->decided_at)
        .end_row();
  }
  Query(statement).run();
}

void write_finished(const std::vector<const Finished*>& finished, Statement& statement) {
  if (finished.empty()) return;
  std::vector<std::int64_t> event_ids;
  std::vector<Uuid> webhooks;
  std::vector<std::int64_t> requests;
  for (const Finished* delivery : finished) {
    event_ids.push_back(delivery->key.event_id);
    webhooks.push_back(delivery->key.webhook);
    requests.push_back(delivery->request);
  }
  Query query(statement);
  query.bind(event_ids).bind(webhooks).bind(requests).run();
}

void write_changes(const Changes& changes) {
  write_rows(changes.deliveries, statements::upsert_deliveries);
  write_finished(changes.finished, statements::delete_finished);
}

void defer_changes(const Changes& changes) {
  write_rows(changes.deliveries, statements::defer_deliveries);
  write_finished(changes.finished, statements::defer_finished);
}

std::vector<Uuid> find_locked(const Changes& changes) {
  std::vector<std::int64_t> event_ids;
  std::vector<Uuid> webhooks;
  const auto add = [&](const DeliveryKey& key) {
    event_ids.push_back(key.event_id);
    webhooks.push_back(key.webhook);
  };
  for (const DeliveryRow* row : changes.deliveries) add(row->key);
  for (const Finished* delivery : changes.finished) add(delivery->key);
  Query query(statements::find_locked);
  const std::size_t rows = query.bind(event_ids).bind(webhooks).run();
  std::vector<Uuid> locked;
  const Column webhook = query.column("configuration_id");
  for (std::size_t row = 0; row < rows; ++row) locked.push_back(query.get_uuid(row, webhook));
  return locked;
}

// Another transaction was faster, or holds a lock.
bool is_lock_error(const Error& error) {
  const std::string& state = error.sqlstate();
  return state == "55P03" || state == "40P01" || state == "40001";
}

// Until the transaction ends.
void set_local(const char* setting, const char* value) {
  guarded([setting, value] {
    set_config_option(setting, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
  });
}

// The changes of a batch, by webhook.
std::vector<std::pair<Uuid, Changes>> by_webhook(const Batch& batch) {
  std::vector<std::pair<Uuid, Changes>> webhooks;
  std::unordered_map<Uuid, std::size_t> places;
  const auto changes_of = [&](const Uuid& webhook) -> Changes& {
    const auto [place, is_new] = places.try_emplace(webhook, webhooks.size());
    if (is_new) webhooks.emplace_back(webhook, Changes());
    return webhooks[place->second].second;
  };
  for (const DeliveryRow& row : batch.deliveries) changes_of(row.key.webhook).deliveries.push_back(&row);
  for (const Finished& delivery : batch.finished) changes_of(delivery.key.webhook).finished.push_back(&delivery);
  return webhooks;
}

using WebhookChanges = std::pair<Uuid, Changes>;

Changes all_of(std::span<const WebhookChanges> webhooks) {
  Changes all;
  for (const auto& [webhook, changes] : webhooks) all.add(changes);
  return all;
}

// Writes changes in halves to find the failing ones, so that a row of one webhook does not affect another. Defers the
// rest.
class HalvingWriter {
 public:
  explicit HalvingWriter(std::vector<WebhookChanges>* deferred) : deferred_(deferred) {}

  void write(std::span<const WebhookChanges> webhooks) {
    if (webhooks.empty()) return;
    if (failures_ >= kFailuresMax) return defer(webhooks);
    const Changes changes = all_of(webhooks);
    const std::optional<Error> error = try_to([&changes] { write_changes(changes); });
    if (!error) return;
    ++failures_;
    // find_locked cannot see a row that another transaction has inserted and not committed. Each further try would wait
    // for it.
    if (webhooks.size() == 1 || is_lock_error(*error)) return defer(webhooks);
    write(webhooks.first(webhooks.size() / 2));
    write(webhooks.subspan(webhooks.size() / 2));
  }

 private:
  void defer(std::span<const WebhookChanges> webhooks) {
    deferred_->insert(deferred_->end(), webhooks.begin(), webhooks.end());
  }

  std::vector<WebhookChanges>* deferred_;
  int failures_ = 0;
};

// Returns the webhooks with deferred changes. A transaction that writes one webhook's deliveries must not delay the
// other webhooks.
std::vector<Uuid> write_deliveries(const Batch& batch, const std::unordered_set<Uuid>& deferred_before, Care care) {
  std::vector<WebhookChanges> writable;
  std::vector<WebhookChanges> deferred;
  for (WebhookChanges& changes : by_webhook(batch)) {
    const bool is_free = writable.size() < kLocksMax && !deferred_before.contains(changes.first) &&
                         try_lock_keyed(KeyedLock::kDeliveries, name_of(changes.first));
    (is_free ? writable : deferred).push_back(std::move(changes));
  }
  limit_waits_for_rows();
  if (care == Care::kNone) {
    write_changes(all_of(writable));
  } else if (!writable.empty()) {
    const std::vector<Uuid> locked = find_locked(all_of(writable));
    const auto rest = std::stable_partition(writable.begin(), writable.end(), [&](const WebhookChanges& changes) {
      return std::find(locked.begin(), locked.end(), changes.first) == locked.end();
    });
    deferred.insert(deferred.end(), rest, writable.end());
    writable.erase(rest, writable.end());
    HalvingWriter(&deferred).write(writable);
  }
  defer_changes(all_of(deferred));
  std::vector<Uuid> webhooks;
  webhooks.reserve(deferred.size());
  for (const auto& [webhook, changes] : deferred) webhooks.push_back(webhook);
  return webhooks;
}

// Replaces a refused log row by one with only the parts that are certain to fit.
LogRow reduced(const LogRow& row, const Error& error) {
  return {.created_at = row.created_at,
          .webhook = row.webhook,
          .organization_id = row.organization_id,
          .event_id = row.event_id,
          .event = row.event,
          .attempt = row.attempt,
          .configuration_version = row.configuration_version,
          .success = row.success,
          .error = "what this attempt brought could not be stored: " + error.message(),
          .elapsed = row.elapsed,
          .next_attempt_at = row.next_attempt_at};
}

// Writes log rows in halves. A refused row is reduced. If the reduced row is refused too, the row is not at fault.
class HalvingLogWriter {
 public:
  explicit HalvingLogWriter(std::string* problem) : problem_(problem) {}

  void write(std::vector<LogRow> rows) {
    if (rows.empty()) return;
    const std::optional<Error> error = try_to([&rows] { write_logs(rows); });
    if (!error) return;
    if (is_lock_error(*error)) throw *error;
    ++failures_;
    if (rows.size() == 1 || failures_ >= kFailuresMax) return write_reduced(rows, *error);
    const auto middle = rows.begin() + static_cast<std::ptrdiff_t>(rows.size() / 2);
    write({rows.begin(), middle});
    write({middle, rows.end()});
  }

 private:
  void write_reduced(const std::vector<LogRow>& rows, const Error& error) {
    std::vector<LogRow> all;
    all.reserve(rows.size());
    for (const LogRow& row : rows) all.push_back(reduced(row, error));
    if (try_to([&all] { write_logs(all); })) throw error;
    *problem_ = error.message();
  }

  std::string* problem_;
  int failures_ = 0;
};

// The rows at the places, counted from 1, that the query returned.
template <class Row>
std::vector<Row> at_places(const Query& query, std::size_t places, const std::vector<Row>& rows) {
  std::vector<Row> found;
  const Column place = query.column("place");
  for (std::size_t n = 0; n < places; ++n)
    found.push_back(rows.at(static_cast<std::size_t>(query.get_int64(n, place) - 1)));
  return found;
}

// {"name": [attempts, successes]…}
template <class Counts, class NameOf>
std::string json_of(const Counts& counts, NameOf name_of) {
  std::string json = "{";
  for (const auto& [key, count] : counts) {
    if (json.size() > 1) json += ',';
    append_json_string(json, name_of(key));
    json += ":[" + std::to_string(count.attempts) + ',' + std::to_string(count.successes) + ']';
  }
  return json + '}';
}

// These return the rows that are locked.
std::vector<MinuteOfWebhook> upsert_minutes(const std::vector<MinuteOfWebhook>& minutes) {
  std::vector<Uuid> webhooks;
  std::vector<Time> created_at;
  std::vector<Time> begins;
  std::vector<std::int32_t> attempts;
  std::vector<std::int32_t> successes;
  std::vector<std::int32_t> unjudged;
  std::vector<std::optional<std::string>> durations;
  std::vector<std::optional<std::string>> events;
  std::vector<std::optional<std::string>> statuses;
  for (const MinuteOfWebhook& minute : minutes) {
    webhooks.push_back(minute.webhook);
    created_at.push_back(minute.webhook_created_at);
    begins.push_back(minute.minute);
    attempts.push_back(minute.attempts);
    successes.push_back(minute.successes);
    unjudged.push_back(minute.unjudged);
    std::string counts = "{";
    for (const std::int32_t count : minute.durations.counts()) {
      if (counts.size() > 1) counts += ',';
      counts += std::to_string(count);
    }
    durations.emplace_back(counts + '}');
    events.emplace_back(json_of(minute.events, [](const std::string& event) { return event; }));
    statuses.emplace_back(json_of(minute.statuses, [](int status) { return std::to_string(status); }));
  }
  Query query(statements::upsert_minutes);
  const std::size_t locked = query.bind(webhooks)
                                 .bind(created_at)
                                 .bind(begins)
                                 .bind(attempts)
                                 .bind(successes)
                                 .bind(durations)
                                 .bind(unjudged)
                                 .bind(events)
                                 .bind(statuses)
                                 .run();
  return at_places(query, locked, minutes);
}

std::vector<EndpointState> upsert_endpoints(const std::vector<EndpointState>& endpoints) {
  std::vector<Uuid> webhooks;
  std::vector<Time> created_at;
  std::vector<std::optional<Time>> opened_at;
  std::vector<std::optional<Time>> next_probe_at;
  std::vector<std::optional<Time>> failing_since;
  std::vector<std::optional<Time>> last_success_at;
  std::vector<std::optional<Time>> last_failure_at;
  std::vector<std::optional<std::string>> last_errors;
  std::vector<std::optional<Time>> filter_failed_at;
  std::vector<std::optional<std::string>> filter_errors;
  for (const EndpointState& endpoint : endpoints) {
    webhooks.push_back(endpoint.webhook);
    created_at.push_back(endpoint.webhook_created_at);
    opened_at.push_back(endpoint.circuit_opened_at);
    next_probe_at.push_back(endpoint.next_probe_at);
    failing_since.push_back(endpoint.failing_since);
    last_success_at.push_back(endpoint.last_success_at);
    last_failure_at.push_back(endpoint.last_failure_at);
    last_errors.push_back(null_if_empty(endpoint.last_error));
    filter_failed_at.push_back(endpoint.filter_failed_at);
    filter_errors.push_back(null_if_empty(endpoint.filter_error));
  }
  Query query(statements::upsert_endpoints);
  query.bind(webhooks).bind(created_at).bind(opened_at).bind(next_probe_at).bind(failing_since).bind(last_success_at);
  query.bind(last_failure_at).bind(last_errors).bind(filter_failed_at);
  const std::size_t locked = query.bind(filter_errors).run();
  return at_places(query, locked, endpoints);
}

// Writes rows of statistics and adds the locked ones to locked. If rows are refused, tries each one alone and leaves
// out those that are refused again.
template <class Row, class Upsert>
void write_statistics(const std::vector<Row>& rows, Upsert upsert, Care care, std::vector<Row>* locked,
                      std::string* problem) {
  if (rows.empty()) return;
  if (care == Care::kNone) {
    *locked = upsert(rows);
    return;
  }
  const std::optional<Error> error = try_to([&] { *locked = upsert(rows); });
  if (!error) return;
  if (is_lock_error(*error)) {
    *locked = rows;
    return;
  }
  *problem = error->message();
  for (const Row& row : rows) {
    try_to([&] {
      const std::vector<Row> one = upsert({row});
      locked->insert(locked->end(), one.begin(), one.end());
    });
  }
}

void update_checkpoint(const Checkpoint& checkpoint, int worker) {
  Query query(statements::update_checkpoint);
  query.bind(to_string(checkpoint.window.from)).bind(to_string(checkpoint.window.to));
  query.bind(checkpoint.position).bind(checkpoint.log_floor).bind(checkpoint.window.from.ids.lowest());
  query.bind(static_cast<std::int32_t>(worker)).run();
}

}  // namespace

bool may_be_of_a_row(const Error& error) {
  // Connection, transaction state, resources, operator intervention, system error, configuration file, internal error.
  static constexpr std::string_view kClasses[] = {"08", "25", "53", "57", "58", "F0", "XX"};
  const std::string_view state = error.sqlstate();
  return std::find(std::begin(kClasses), std::end(kClasses), state.substr(0, 2)) == std::end(kClasses);
}

void limit_waits_for_rows() { set_local("lock_timeout", kRowLockTimeout); }

std::string write_logs_each(const std::vector<LogRow>& rows) {
  std::string problem;
  HalvingLogWriter(&problem).write(rows);
  return problem;
}

Recorded write_batch(const Batch& batch, int worker, const std::unordered_set<Uuid>& deferred, Care care) {
  Recorded recorded;
  // A checkpoint alone need not be flushed: a worker that starts from the one before finds in webhook_logs what was
  // delivered since.
  if (!batch.has_results()) set_local("synchronous_commit", "off");
  if (care == Care::kNone) {
    if (!batch.logs.empty()) write_logs(batch.logs);
  } else {
    recorded.problem = write_logs_each(batch.logs);
  }
  if (!batch.deliveries.empty() || !batch.finished.empty()) recorded.deferred = write_deliveries(batch, deferred, care);
  write_statistics(batch.minutes, upsert_minutes, care, &recorded.minutes, &recorded.problem);
  std::vector<EndpointState> locked;
  write_statistics(batch.endpoints, upsert_endpoints, care, &locked, &recorded.problem);
  for (const EndpointState& endpoint : locked) recorded.endpoints.push_back(endpoint.webhook);
  for (const OperationalEvent& event : batch.events) publish(event);
  if (batch.checkpoint) update_checkpoint(*batch.checkpoint, worker);
  return recorded;
}

void publish(const OperationalEvent& event) {
  Query report(statements::report_event);
  report.bind_optional(event.organization_id).bind(event.name).bind(event.data);
  if (report.run() > 0) return;
  std::optional<std::string> organization;
  if (event.organization_id) organization = from_utf8(*event.organization_id);
  capture_event(from_utf8(event.name), from_utf8(event.data), organization, std::nullopt);
}

// --- Deferred changes ------------------------------------------------------------------------------------------------

namespace {

// Values that a column, a constraint or an index never accepts. An error that a trigger raises may pass.
bool is_final(const Error& error) {
  const std::string_view type = std::string_view(error.sqlstate()).substr(0, 2);
  return type == "22" || type == "23" || type == "54";
}

// The row of the webhook's oldest change is refused. Gives up the delivery, or drops the change.
Applied give_up_oldest(const Uuid& webhook, const Error& error) {
  Applied applied{.webhook = webhook,
                  .state = Applied::State::kMore,
                  .problem = "pending deliveries could not be stored: " + error.message()};
  for (Statement* const statement : {&statements::give_up_deferred, &statements::drop_deferred}) {
    const std::optional<Error> refused = try_to([&] {
      Query query(*statement);
      query.bind(webhook).bind(applied.problem).run();
    });
    if (!refused) return applied;
    if (!is_final(*refused)) break;
  }
  applied.state = Applied::State::kFailed;
  return applied;
}

}  // namespace

Applied apply_deferred_changes(const Uuid& webhook, std::size_t rows_max) {
  limit_waits_for_rows();
  for (std::size_t rows = rows_max;; rows = std::max<std::size_t>(rows / 8, 1)) {
    const std::optional<Error> error = try_to([&] {
      Query query(statements::apply_deferred);
      query.bind(webhook).bind(static_cast<std::int64_t>(rows)).run();
    });
    if (!error) break;
    if (is_lock_error(*error)) {
      return {.webhook = webhook, .state = Applied::State::kFailed};
    }
    if (rows > 1) continue;
    if (is_final(*error)) return give_up_oldest(webhook, *error);
    return {.webhook = webhook, .state = Applied::State::kFailed, .problem = error->message()};
  }
  Query rest(statements::has_deferred);
  rest.bind(webhook).run();
  if (rest.get_boolean(0, rest.column("has_deferred"))) return {.webhook = webhook, .state = Applied::State::kMore};
  return {.webhook = webhook,
          .state = Applied::State::kDone,
          .next_due = rest.get_optional_time(0, rest.column("next_due"))};
}

}  // namespace webhook::pg
