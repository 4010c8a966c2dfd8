#include "pg/results.h"

extern "C" {
#include "postgres.h"

#include "utils/guc.h"
}

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "pg/capture.h"
#include "pg/error.h"
#include "pg/guard.h"
#include "pg/input_table.h"
#include "pg/log_writer.h"
#include "pg/spi.h"
#include "pg/statements.h"

namespace webhook::pg {
namespace {

// For what a batch says of webhook_deliveries, and for one row by itself, where somebody holds some of it.
constexpr const char* kDeliveriesLockTimeout = "50ms";
constexpr const char* kOneRowsLockTimeout = "1ms";

std::optional<std::string> null_if_empty(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

void upsert_owed(const std::vector<const OwedRow*>& rows) {
  if (rows.empty()) return;
  using enum InputTable::Type;
  InputTable table("new_owed", {{"event_id", kBigint},
                                {"configuration_id", kUuid},
                                {"organization_id", kText},
                                {"event", kText},
                                {"key", kText},
                                {"created_at", kTimestamp},
                                {"attempts", kInteger},
                                {"probes", kInteger},
                                {"owed_since", kTimestamp},
                                {"next_attempt_at", kTimestamp},
                                {"last_error", kText},
                                {"ordering_key", kText},
                                {"slot", kInteger}});
  for (const OwedRow* row : rows) {
    table.put(row->key.event_id).put(row->key.webhook).put(row->organization_id).put(row->event).put(row->event_key);
    table.put(row->created_at).put(row->attempts).put(row->probes).put(row->owed_since).put(row->next_attempt_at);
    table.put_or_null(row->last_error).put(row->ordering_key).put(row->slot).end_row();
  }
  Query(statements::upsert_owed).run();
}

void delete_finished(const std::vector<const DeliveryKey*>& keys) {
  if (keys.empty()) return;
  std::vector<std::int64_t> event_ids;
  std::vector<Uuid> webhooks;
  for (const DeliveryKey* key : keys) {
    event_ids.push_back(key->event_id);
    webhooks.push_back(key->webhook);
  }
  Query query(statements::delete_finished);
  query.bind(event_ids).bind(webhooks).run();
}

// What a batch says of webhook_deliveries.
struct Changes {
  std::vector<const OwedRow*> owed;
  std::vector<const DeliveryKey*> finished;
};

// False, with nothing written: somebody holds a row locked, such as webhook_cancel() in a transaction that is open.
bool write_changes(const Changes& changes) {
  try {
    Subtransaction subtransaction;
    upsert_owed(changes.owed);
    delete_finished(changes.finished);
    subtransaction.release();
    return true;
  } catch (const Error& error) {
    if (error.sqlstate() != "55P03") throw;
    return false;
  }
}

std::vector<DeliveryKey> find_locked(const Changes& changes) {
  std::vector<std::int64_t> event_ids;
  std::vector<Uuid> webhooks;
  const auto add = [&](const DeliveryKey& key) {
    event_ids.push_back(key.event_id);
    webhooks.push_back(key.webhook);
  };
  for (const OwedRow* row : changes.owed) add(row->key);
  for (const DeliveryKey* key : changes.finished) add(*key);
  Query query(statements::find_locked);
  return keys_of(query, query.bind(event_ids).bind(webhooks).run());
}

// Until the transaction ends.
void set_local(const char* setting, const char* value) {
  guarded([setting, value] {
    set_config_option(setting, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
  });
}

// Returns the rows that are locked: whoever locks what is owed to one webhook must not hold up the others.
std::vector<DeliveryKey> write_deliveries(const Batch& batch) {
  Changes all;
  for (const OwedRow& row : batch.owed) all.owed.push_back(&row);
  for (const DeliveryKey& key : batch.finished) all.finished.push_back(&key);
  set_local("lock_timeout", kDeliveriesLockTimeout);
  if (write_changes(all)) return {};
  std::vector<DeliveryKey> locked = find_locked(all);
  const auto is_locked = [&locked](const DeliveryKey& key) {
    return std::find(locked.begin(), locked.end(), key) != locked.end();
  };
  std::erase_if(all.owed, [&](const OwedRow* row) { return is_locked(row->key); });
  std::erase_if(all.finished, [&](const DeliveryKey* key) { return is_locked(*key); });
  if (write_changes(all)) return locked;
  // A row that somebody has inserted and not committed is nowhere to be seen: one by one.
  set_local("lock_timeout", kOneRowsLockTimeout);
  for (const OwedRow* row : all.owed) {
    if (!write_changes({.owed = {row}, .finished = {}})) locked.push_back(row->key);
  }
  for (const DeliveryKey* key : all.finished) {
    if (!write_changes({.owed = {}, .finished = {key}})) locked.push_back(*key);
  }
  return locked;
}

void upsert_minutes(const std::vector<MinuteOfWebhook>& minutes) {
  std::vector<Uuid> webhooks;
  std::vector<Time> begins;
  std::vector<std::int32_t> attempts;
  std::vector<std::int32_t> successes;
  std::vector<std::optional<std::string>> durations;
  for (const MinuteOfWebhook& minute : minutes) {
    webhooks.push_back(minute.webhook);
    begins.push_back(minute.minute);
    attempts.push_back(minute.attempts);
    successes.push_back(minute.successes);
    std::string counts = "{";
    for (const std::int32_t count : minute.durations.counts()) {
      if (counts.size() > 1) counts += ',';
      counts += std::to_string(count);
    }
    durations.emplace_back(counts + '}');
  }
  Query query(statements::upsert_minutes);
  query.bind(webhooks).bind(begins).bind(attempts).bind(successes).bind(durations).run();
}

void upsert_endpoints(const std::vector<EndpointState>& endpoints) {
  std::vector<Uuid> webhooks;
  std::vector<std::optional<Time>> opened_at;
  std::vector<std::optional<Time>> next_probe_at;
  std::vector<std::optional<Time>> failing_since;
  std::vector<std::optional<Time>> last_success_at;
  std::vector<std::optional<Time>> last_failure_at;
  std::vector<std::optional<std::string>> last_errors;
  for (const EndpointState& endpoint : endpoints) {
    webhooks.push_back(endpoint.webhook);
    opened_at.push_back(endpoint.circuit_opened_at);
    next_probe_at.push_back(endpoint.next_probe_at);
    failing_since.push_back(endpoint.failing_since);
    last_success_at.push_back(endpoint.last_success_at);
    last_failure_at.push_back(endpoint.last_failure_at);
    last_errors.push_back(null_if_empty(endpoint.last_error));
  }
  Query query(statements::upsert_endpoints);
  query.bind(webhooks).bind(opened_at).bind(next_probe_at).bind(failing_since).bind(last_success_at);
  query.bind(last_failure_at).bind(last_errors).run();
}

void update_checkpoint(const Checkpoint& checkpoint, int worker) {
  Query query(statements::update_checkpoint);
  query.bind(to_string(checkpoint.window.from)).bind(to_string(checkpoint.window.to));
  query.bind(checkpoint.position).bind(checkpoint.log_floor).bind(static_cast<std::int32_t>(worker)).run();
}

}  // namespace

std::vector<DeliveryKey> keys_of(const Query& query, std::size_t rows) {
  std::vector<DeliveryKey> keys;
  keys.reserve(rows);
  for (std::size_t row = 0; row < rows; ++row) keys.push_back({query.get_int64(row, 0), query.get_uuid(row, 1)});
  return keys;
}

Recorded write_batch(const Batch& batch, int worker) {
  Recorded recorded;
  // A checkpoint alone need not be on disk: whoever begins at the one before it finds in webhook_logs what is behind it.
  if (!batch.has_results()) set_local("synchronous_commit", "off");
  if (!batch.logs.empty()) write_logs(batch.logs);
  if (!batch.owed.empty() || !batch.finished.empty()) recorded.locked = write_deliveries(batch);
  if (!batch.minutes.empty()) upsert_minutes(batch.minutes);
  if (!batch.endpoints.empty()) upsert_endpoints(batch.endpoints);
  for (const OperationalEvent& event : batch.events) {
    capture_event(event.name, event.data, event.organization_id, std::nullopt);
  }
  if (batch.checkpoint) update_checkpoint(*batch.checkpoint, worker);
  return recorded;
}

}  // namespace webhook::pg
