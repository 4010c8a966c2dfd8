// The webhooks, and what is news about them.
#include "pg/store/spi_store.h"

extern "C" {
#include "postgres.h"

#include "miscadmin.h"
#include "utils/inval.h"
}

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/ordering.h"
#include "pg/guard.h"
#include "pg/secret_store.h"
#include "pg/server/wakes.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {

// --- News ------------------------------------------------------------------------------------------------------------

namespace {

// Set by invalidation messages. Process-wide, because the callback has no other access to the store.
struct Watched {
  Oid changes = InvalidOid;   // invalidated by triggers and functions
  Oid instance = InvalidOid;  // read in each step
  // Invalidated by changes that fire no trigger, above all ALTER TABLE … DISABLE TRIGGER.
  Oid configurations = InvalidOid;
  Oid secrets = InvalidOid;
  ConfigurationNews news = ConfigurationNews::kAnything;
};
Watched watched;

void note_invalidation(Datum /*argument*/, Oid relation) noexcept {
  if (relation == InvalidOid || relation == watched.configurations || relation == watched.secrets) {
    watched.news = ConfigurationNews::kAnything;
  } else if (relation == watched.changes || relation == watched.instance) {
    watched.news = std::max(watched.news, ConfigurationNews::kChanges);
  }
}

}  // namespace

void watch_configuration(const Query& relations) {
  const auto oid = [&relations](const char* name) { return relations.get_oid(0, relations.column(name)); };
  watched.changes = oid("changes");
  watched.instance = oid("instance");
  watched.configurations = oid("configurations");
  watched.secrets = oid("secrets");
  guarded([] { CacheRegisterRelcacheCallback(note_invalidation, 0); });
}

void note_changes_in_snapshot() {
  // A transaction that is no longer committing has been announced, so check for committing ones first.
  if (is_committing() && watched.news == ConfigurationNews::kNone) watched.news = ConfigurationNews::kChanges;
  guarded([] { AcceptInvalidationMessages(); });
}

ConfigurationNews SpiStore::take_news() { return std::exchange(watched.news, ConfigurationNews::kNone); }

bool SpiStore::has_news() const { return watched.news != ConfigurationNews::kNone; }

// --- The webhooks ----------------------------------------------------------------------------------------------------

namespace {

Ordering ordering_of(const std::string& name) {
  if (name == "key") return Ordering::kKey;
  if (name == "endpoint") return Ordering::kEndpoint;
  return Ordering::kRelaxed;
}

// rows: "KEY_ID SECRET", from read_webhooks. A row is empty if the webhook shows a secret that is missing.
void open_secrets(const SecretStore& store, const std::vector<std::string>& rows, Webhook* webhook) {
  for (const std::string& row : rows) {
    const std::string_view text = row;
    if (text.empty()) {
      webhook->secret_problem = "it shows the mask of a secret, but it has none";
      continue;
    }
    const std::size_t blank = text.find(' ');
    const auto key_id = blank == 0 ? std::nullopt : std::optional<std::string_view>(text.substr(0, blank));
    std::string problem;
    if (auto secret = store.open(webhook->id, key_id, text.substr(blank + 1), &problem)) {
      webhook->secrets.push_back(std::move(*secret));
    } else {
      webhook->secret_problem = "the secret cannot be decrypted: " + problem;
      webhook->is_undecryptable = true;
    }
  }
}

// The rows of read_webhooks.
class WebhookRows {
 public:
  WebhookRows(const Query& query, const SecretStore& secrets) : query_(query), secrets_(secrets) {}

  Webhook read(std::size_t row) const {
    Webhook webhook;
    webhook.id = query_.get_uuid(row, id_);
    webhook.organization_id = query_.get_organization(row, organization_id_);
    webhook.name = query_.get_text(row, name_);
    webhook.url = query_.get_text(row, url_);
    webhook.events = query_.get_texts(row, events_);
    webhook.headers = query_.get_texts(row, headers_);
    open_secrets(secrets_, query_.get_texts(row, secret_texts_), &webhook);
    webhook.is_active = query_.get_boolean(row, is_active_);
    webhook.active_since = query_.get_time(row, active_since_);
    webhook.timeout = std::chrono::milliseconds(query_.get_int32(row, timeout_ms_));
    for (const std::int64_t delay_us : query_.get_int64s(row, retry_schedule_us_)) {
      webhook.retry_schedule.emplace_back(delay_us);
    }
    webhook.limits = {.max_in_flight = query_.get_int32(row, max_in_flight_),
                      .rate_per_s = query_.get_double(row, rate_limit_per_s_),
                      .ordering = ordering_of(query_.get_text(row, ordering_))};
    webhook.filter = query_.get_text(row, filter_);
    webhook.version = query_.get_int32(row, version_);
    webhook.created_at = query_.get_time(row, created_at_);
    webhook.switches = query_.get_int64s(row, switches_);
    webhook.secrets_change_at = query_.get_optional_time(row, secrets_change_at_);
    webhook.next_due = query_.get_optional_time(row, next_due_);
    if (query_.get_boolean(row, has_endpoint_)) webhook.endpoint = endpoint_of(row, webhook);
    return webhook;
  }

 private:
  EndpointState endpoint_of(std::size_t row, const Webhook& webhook) const {
    return {.webhook = webhook.id,
            .webhook_created_at = webhook.created_at,
            .circuit_opened_at = query_.get_optional_time(row, circuit_opened_at_),
            .next_probe_at = query_.get_optional_time(row, next_probe_at_),
            .failing_since = query_.get_optional_time(row, failing_since_),
            .last_success_at = query_.get_optional_time(row, last_success_at_),
            .last_failure_at = query_.get_optional_time(row, last_failure_at_),
            .last_error = query_.get_text(row, last_error_),
            .filter_failed_at = query_.get_optional_time(row, filter_failed_at_),
            .filter_error = query_.get_text(row, filter_error_)};
  }

  const Query& query_;
  const SecretStore& secrets_;
  Column id_ = query_.column("id");
  Column organization_id_ = query_.column("organization_id");
  Column name_ = query_.column("name");
  Column url_ = query_.column("url");
  Column events_ = query_.column("events");
  Column headers_ = query_.column("headers");
  Column secret_texts_ = query_.column("secrets");
  Column is_active_ = query_.column("is_active");
  Column active_since_ = query_.column("active_since");
  Column timeout_ms_ = query_.column("timeout_ms");
  Column retry_schedule_us_ = query_.column("retry_schedule_us");
  Column max_in_flight_ = query_.column("max_in_flight");
  Column filter_ = query_.column("filter");
  Column rate_limit_per_s_ = query_.column("rate_limit_per_s");
  Column ordering_ = query_.column("ordering");
  Column version_ = query_.column("version");
  Column created_at_ = query_.column("created_at");
  Column switches_ = query_.column("switches");
  Column secrets_change_at_ = query_.column("secrets_change_at");
  Column next_due_ = query_.column("next_due");
  Column has_endpoint_ = query_.column("has_endpoint");
  Column circuit_opened_at_ = query_.column("circuit_opened_at");
  Column next_probe_at_ = query_.column("next_probe_at");
  Column failing_since_ = query_.column("failing_since");
  Column last_success_at_ = query_.column("last_success_at");
  Column last_failure_at_ = query_.column("last_failure_at");
  Column last_error_ = query_.column("last_error");
  Column filter_failed_at_ = query_.column("filter_failed_at");
  Column filter_error_ = query_.column("filter_error");
};

void read_nodes(Configuration* configuration) {
  Query query(statements::read_nodes);
  query.run();
  const std::vector<std::int64_t> since = query.get_int64s(0, query.column("since"));
  const std::vector<std::int64_t> counts = query.get_int64s(0, query.column("counts"));
  const std::vector<std::int64_t> numbers = query.get_int64s(0, query.column("numbers"));
  std::vector<NodeShares::Division> divisions;
  for (std::size_t i = 0; i < since.size(); ++i) {
    divisions.push_back({.since = static_cast<std::int32_t>(since[i]),
                         .count = static_cast<int>(counts[i]),
                         .number = static_cast<int>(numbers[i])});
  }
  Query gone(statements::read_gone_nodes);
  const std::size_t rows = gone.run();
  for (std::size_t row = 0; row < rows; ++row) {
    const auto found =
        std::ranges::find(divisions, gone.get_int32(row, gone.column("since")), &NodeShares::Division::since);
    const std::optional<Snapshot> queued = parse_snapshot(gone.get_text(row, gone.column("queued")));
    if (!queued) throw Error("XX001", "webhook_internal.takeovers holds a malformed snapshot");
    if (found == divisions.end()) continue;
    found->gone.push_back({.number = gone.get_int32(row, gone.column("number")),
                           .queued = *queued,
                           .node = std::string(gone.get_text(row, gone.column("node")))});
  }
  configuration->nodes = {query.get_boolean(0, query.column("is_home")), std::move(divisions)};
}

// Reads the webhooks that exist, and what every step returns in addition.
void read_webhooks(const std::vector<Uuid>& ids, Configuration* configuration) {
  Query identity(statements::read_identity);
  if (identity.run() > 0) {
    configuration->instance = identity.get_uuid(0, identity.column("instance"));
    configuration->is_paused = identity.get_boolean(0, identity.column("is_paused"));
    configuration->paused_reason = identity.get_text(0, identity.column("paused_reason"));
  }
  read_nodes(configuration);
  const SecretStore secrets;
  if (!secrets.file_problem().empty()) {
    configuration->key_file_problem = "webhook.secret_key_file cannot be used: " + secrets.file_problem();
  }
  if (ids.empty()) return;
  Query query(statements::read_webhooks);
  const std::size_t rows = query.bind(ids).run();
  configuration->webhooks.reserve(rows);
  const WebhookRows webhooks(query, secrets);
  for (std::size_t row = 0; row < rows; ++row) configuration->webhooks.push_back(webhooks.read(row));
}

Snapshot read_snapshot() {
  Query query(statements::current_snapshot);
  query.run();
  return snapshot_of(query);
}

// nullopt if id is the highest possible.
std::optional<Uuid> successor(Uuid id) {
  for (std::size_t i = id.bytes.size(); i-- > 0;) {
    if (++id.bytes[i] != 0) return id;
  }
  return std::nullopt;
}

}  // namespace

// Encrypts secrets that are stored in clear text, or with a key that is no longer the first.
void SpiStore::reencrypt_secrets() {
  const SecretStore secrets;
  if (!secrets.file_problem().empty()) return;
  Work work(*this, "webhook: encrypting secrets");
  Query outdated(statements::has_outdated_secrets);
  outdated.bind(secrets.current_key_id().value_or("")).run();
  if (outdated.get_boolean(0, outdated.column("has_outdated"))) {
    Query reencrypt(statements::reencrypt_secrets);
    reencrypt.run();
  }
  work.commit();
}

Configuration SpiStore::webhooks(const std::optional<Uuid>& after, std::size_t webhooks_max) {
  if (!after) reencrypt_secrets();
  Work work(*this, "webhook: reading the webhooks", Isolation::kRepeatableRead);
  Configuration configuration{.snapshot = read_snapshot()};
  std::vector<Uuid> ids;
  const std::optional<Uuid> first = after ? successor(*after) : Uuid();
  if (first) {
    Query query(statements::find_webhooks_from);
    const std::size_t rows = query.bind(*first).bind(static_cast<std::int64_t>(webhooks_max)).run();
    const Column id = query.column("id");
    for (std::size_t row = 0; row < rows; ++row) ids.push_back(query.get_uuid(row, id));
  }
  configuration.is_all = ids.size() < webhooks_max;
  read_webhooks(ids, &configuration);
  std::sort(configuration.webhooks.begin(), configuration.webhooks.end(),
            [](const Webhook& one, const Webhook& other) { return one.id < other.id; });
  work.commit();
  return configuration;
}

Configuration SpiStore::webhooks(const std::vector<Uuid>& ids) {
  Work work(*this, "webhook: reading some webhooks", Isolation::kRepeatableRead);
  Configuration configuration{.snapshot = read_snapshot()};
  read_webhooks(ids, &configuration);
  work.commit();
  return configuration;
}

namespace {

// The sources of changes(), in the order in which they are read.
Statement* const kChangeSources[] = {&statements::find_changes, &statements::find_changed_webhooks,
                                     &statements::find_changed_secrets};

// The rows of find_changes: webhooks that were deleted, and those whose pending deliveries changed.
void note_changes(const Query& query, std::size_t rows, std::vector<WebhookIdentity>* deleted,
                  std::set<Uuid>* pending_changed) {
  const Column webhook = query.column("configuration_id");
  const Column created_at = query.column("configuration_created_at");
  const Column organization_id = query.column("organization_id");
  const Column is_deleted = query.column("is_deleted");
  for (std::size_t row = 0; row < rows; ++row) {
    const Uuid id = query.get_uuid(row, webhook);
    if (query.get_boolean(row, is_deleted)) {
      deleted->push_back({id, query.get_time(row, created_at), query.get_organization(row, organization_id)});
    } else {
      pending_changed->insert(id);
    }
  }
}

}  // namespace

// Continues each source at the row where the previous step ended, that row included: the same transaction and webhook
// may have more rows.
Configuration SpiStore::changes(const Snapshot& known, std::size_t changes_max) {
  Work work(*this, "webhook: reading changed webhooks", Isolation::kRepeatableRead);
  ReadingChanges next;
  if (reading_changes_ && reading_changes_->known == known) {
    next = *reading_changes_;
  } else {
    next.known = known;
    next.until = read_snapshot();
  }
  Configuration configuration{.snapshot = next.until};
  const Window::Ranges ranges = Window{known, next.until}.ranges();
  std::set<Uuid> changed;
  std::set<Uuid> pending_changed;
  std::size_t room = changes_max;
  while (next.source < std::size(kChangeSources) && !ranges.low.empty()) {
    Query query(*kChangeSources[next.source]);
    query.bind_xids(ranges.low).bind_xids(ranges.high).bind_xid(next.xid).bind(next.webhook);
    if (next.source == 0) query.bind(next.created_at).bind(next.is_deleted);
    const std::size_t rows = query.bind(static_cast<std::int64_t>(room)).run();
    const Column webhook = query.column("configuration_id");
    if (next.source == 0) {
      note_changes(query, rows, &configuration.deleted, &pending_changed);
    } else {
      for (std::size_t row = 0; row < rows; ++row) changed.insert(query.get_uuid(row, webhook));
    }
    if (rows == room) {
      next.xid = query.get_xid(rows - 1, query.column("xid"));
      next.webhook = query.get_uuid(rows - 1, webhook);
      if (next.source == 0) {
        next.created_at = query.get_time(rows - 1, query.column("configuration_created_at"));
        next.is_deleted = query.get_boolean(rows - 1, query.column("is_deleted"));
      }
      configuration.is_all = false;
      break;
    }
    ++next.source;
    next.xid = 0;
    next.webhook = {};
    room = std::max<std::size_t>(room - rows, 2);
  }
  changed.insert(pending_changed.begin(), pending_changed.end());
  read_webhooks({changed.begin(), changed.end()}, &configuration);
  for (Webhook& webhook : configuration.webhooks) webhook.is_pending_changed = pending_changed.contains(webhook.id);
  work.commit();
  reading_changes_ = configuration.is_all ? std::nullopt : std::optional(next);
  return configuration;
}

Testable SpiStore::testable(const Uuid& webhook, Time created_at, const std::string& event) {
  Work work(*this, "webhook: reading what is to be tested");
  Query query(statements::read_testable);
  query.bind(webhook).bind(created_at).bind(event).run();
  Testable testable;
  testable.is_paused = query.get_boolean(0, query.column("is_paused"));
  testable.paused_reason = query.get_text(0, query.column("paused_reason"));
  testable.has_webhook = query.get_boolean(0, query.column("has_webhook"));
  testable.organization_id = query.get_organization(0, query.column("organization_id"));
  testable.version = query.get_int32(0, query.column("version"));
  testable.url = query.get_text(0, query.column("url"));
  testable.headers = query.get_texts(0, query.column("headers"));
  Webhook signed_for{.id = webhook};
  open_secrets(SecretStore(), query.get_texts(0, query.column("secrets")), &signed_for);
  testable.secrets = std::move(signed_for.secrets);
  testable.secret_problem = std::move(signed_for.secret_problem);
  testable.timeout = std::chrono::milliseconds(query.get_int32(0, query.column("timeout_ms")));
  testable.has_event = query.get_boolean(0, query.column("has_event"));
  work.commit();
  return testable;
}

}  // namespace webhook::pg
