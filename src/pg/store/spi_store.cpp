#include "pg/store/spi_store.h"

extern "C" {
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
}

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "pg/capture/capture.h"
#include "pg/guard.h"
#include "pg/keyed_lock.h"
#include "pg/secret_store.h"
#include "pg/server/event_ids.h"
#include "pg/server/wakes.h"
#include "pg/store/event_reader.h"
#include "pg/store/filter_evaluation.h"
#include "pg/store/results.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

// A window with at most this many events is read at once, to keep latency low.
constexpr std::size_t kFewEvents = 32;
// A window with at most this many events is found by transaction and sorted in memory, at 16 bytes per event.
constexpr std::size_t kFoundMax = 200'000;
// How many index entries one step through a larger window visits.
constexpr std::size_t kWalkStep = 5'000;
// How many deliveries' events one step of save_events() saves.
constexpr std::int32_t kSaveStep = 200;
// How many saved events one step gives up.
constexpr std::int32_t kSavedEventsPerStep = 200;
// How many dead deliveries one step deletes.
constexpr std::int64_t kExpiredPerStep = 500;
// Capture finds at least half of a block in memory.
constexpr std::int64_t kIdBlock = 1'000'000;  // the sequence's INCREMENT

constexpr const char* kCopyReason = "this database is a copy or was restored: webhook_resume() lets it deliver";

// Below the id of every event.
constexpr std::int64_t kFirstEvent = std::numeric_limits<std::int64_t>::min();
constexpr DeliveryKey kBeforeAllDeliveries{kFirstEvent, {}};
// How many rows of webhook_changes one step of clean_up() visits, and how many rows it deletes.
constexpr std::size_t kChangesPerStep = 20;
constexpr std::size_t kLeftOverPerStep = 500;

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

// Settings that the worker relies on and postgresql.conf may change. For ALTER DATABASE and ALTER ROLE see session.h.
void override_session_settings() {
  static constexpr const char* kSettings[][2] = {
      {"search_path", "pg_catalog, pg_temp"},
      {"default_transaction_isolation", "read committed"},
      {"default_transaction_read_only", "off"},
      {"default_transaction_deferrable", "off"},
      {"session_replication_role", "origin"},
      {"statement_timeout", "0"},
      {"lock_timeout",
       "500ms"},  // below deadlock_timeout: where DROP EXTENSION and the worker meet, the worker gives way
      {"idle_in_transaction_session_timeout", "0"},
      {"synchronous_commit", "local"},
      {"timezone", "UTC"},
      {"enable_seqscan", "off"},  // the segments are truncated more often than analyzed
      {"jit", "off"},
      {"max_parallel_workers_per_gather", "0"},
      {"plan_cache_mode", "force_generic_plan"},
  };
  for (const auto& [name, value] : kSettings) SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
#if PG_VERSION_NUM >= 170000
  SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
#endif
}

// Makes the commits of these transactions durable. With synchronous_commit off, a transaction may be visible before it
// is durable. Does nothing for durable ones.
void flush_commits(const std::vector<FullXid>& xids) {
  if (xids.empty()) return;
  const FullXid* begin = xids.data();
  const FullXid* end = begin + xids.size();
  guarded([begin, end] {
    XLogRecPtr newest = InvalidXLogRecPtr;
    const FullXid next = U64FromFullTransactionId(ReadNextFullTransactionId());
    LWLockAcquire(XactTruncationLock, LW_SHARED);
#if PG_VERSION_NUM >= 170000
    const TransactionId oldest_known = TransamVariables->oldestClogXid;
#else
    const TransactionId oldest_known = ShmemVariableCache->oldestClogXid;
#endif
    // Compares all 64 bits, because the lower 32 may have wrapped around while the event waited.
    const FullXid oldest = next - static_cast<TransactionId>(static_cast<TransactionId>(next) - oldest_known);
    FullXid last = 0;
    for (const FullXid* full = begin; full != end; ++full) {
      // A transaction that is no longer in the commit log was flushed long ago.
      if (*full == last || *full < oldest) continue;
      last = *full;
      newest = std::max(newest, TransactionIdGetCommitLSN(static_cast<TransactionId>(*full)));
    }
    LWLockRelease(XactTruncationLock);
    if (!XLogRecPtrIsInvalid(newest)) XLogFlush(newest);
  });
}

// The ring's name in webhook_rings, and the name of its table without the prefix.
const char* ring_name(Ring ring) {
  switch (ring) {
    case Ring::kEvents:
      return "events";
    case Ring::kExcessEvents:
      return "excess_events";
    case Ring::kLogs:
      return "logs";
    case Ring::kExcessLogs:
      break;
  }
  return "excess_logs";
}
const char* table_name(Ring ring) { return holds_events(ring) ? "events" : "logs"; }

void read_ring(Query* query, Ring ring) {
  const bool is_excess = ring == Ring::kExcessEvents || ring == Ring::kExcessLogs;
  const std::int32_t first = is_excess ? kRingSegments : 0;
  const std::int32_t segments = is_excess ? kExcessSegments : kRingSegments;
  query->bind(ring_name(ring)).bind(table_name(ring)).bind(first).bind(segments).run();
}

// The columns of an event that its texts are in. They have the same names in read_events_by_id and in read_due.
class EventTexts {
 public:
  explicit EventTexts(const Query& query) : query_(query) {}

  // What the texts take in memory, computed without expanding them.
  std::size_t expanded_bytes(std::size_t row) const {
    std::size_t bytes = 0;
    for (const Column& column : {event_, organization_id_, key_, data_, previous_}) {
      bytes += query_.expanded_bytes(row, column);
    }
    return bytes;
  }

  void read(std::size_t row, Event* event) const {
    event->name = query_.get_text(row, event_);
    event->organization_id = query_.get_optional_text(row, organization_id_);
    event->key = query_.get_optional_text(row, key_);
    event->data = query_.get_optional_text(row, data_).value_or(std::string());
    event->previous = query_.get_optional_text(row, previous_).value_or(std::string());
  }

 private:
  const Query& query_;
  Column event_ = query_.column("event");
  Column organization_id_ = query_.column("organization_id");
  Column key_ = query_.column("key");
  Column data_ = query_.column("data");
  Column previous_ = query_.column("previous");
};

Snapshot snapshot_of(const Query& query) {
  const auto snapshot = parse_snapshot(query.get_text(0, query.column("snapshot")));
  if (!snapshot) throw Error("XX000", "could not read pg_current_snapshot()");
  return *snapshot;
}

// The rows of webhook_checkpoint.
struct Checkpoints {
  std::vector<Checkpoint> of;  // by worker: 1, 2, …
  bool are_of_this_count = true;
};

Checkpoints read_checkpoints(int count) {
  Query query(statements::read_checkpoints);
  const std::size_t rows = query.run();
  Checkpoints checkpoints;
  checkpoints.are_of_this_count = rows == static_cast<std::size_t>(count);
  const Column snapshot_from = query.column("snapshot_from");
  const Column snapshot_to = query.column("snapshot_to");
  const Column position = query.column("position");
  const Column log_floor = query.column("log_floor");
  const Column workers = query.column("workers");
  for (std::size_t row = 0; row < rows; ++row) {
    const auto from = parse_snapshot(query.get_text(row, snapshot_from));
    const auto to = parse_snapshot(query.get_text(row, snapshot_to));
    if (!from || !to) throw Error("XX001", "webhook_checkpoint holds a malformed snapshot");
    checkpoints.of.push_back({{*from, *to}, query.get_int64(row, position), query.get_int64(row, log_floor)});
    checkpoints.are_of_this_count &= query.get_int32(row, workers) == count;
  }
  return checkpoints;
}

void replace_checkpoints(int count, const Uuid& instance, const Checkpoint& checkpoint) {
  Query drop(statements::delete_checkpoints);
  drop.run();
  Query create(statements::create_checkpoints);
  create.bind(static_cast<std::int32_t>(count)).bind(instance);
  create.bind(to_string(checkpoint.window.from)).bind(to_string(checkpoint.window.to));
  create.bind(checkpoint.position).bind(checkpoint.log_floor).run();
}

Ordering ordering_of(const std::string& name) {
  if (name == "key") return Ordering::kKey;
  if (name == "endpoint") return Ordering::kEndpoint;
  return Ordering::kRelaxed;
}

const char* ordering_name(Ordering ordering) {
  switch (ordering) {
    case Ordering::kKey:
      return "key";
    case Ordering::kEndpoint:
      return "endpoint";
    case Ordering::kRelaxed:
      break;
  }
  return "relaxed";
}

// Binds $1, $2 and $3.
Query& bind(Query& query, const WebhookIdentity& webhook) {
  return query.bind(webhook.id).bind(webhook.created_at).bind_optional(webhook.organization_id);
}

void redate_pending(const DeliveryKey& after, const DeliveryKey& last) {
  limit_waits_for_rows();
  // A refused change is tried again in the next round.
  (void)try_to([&] {
    Query redate(statements::redate_pending);
    redate.bind(after.event_id).bind(after.webhook).bind(last.event_id).bind(last.webhook).run();
  });
}

}  // namespace

// A transaction in which the extension stays installed. Between transactions it may be dropped and created again, but
// not during one. DROP and ALTER EXTENSION lock the extension before its tables, as the worker does, so they do not
// deadlock with the worker.
class SpiStore::Work : public Transaction {
 public:
  Work(const SpiStore& store, const char* activity, Isolation isolation = Isolation::kReadCommitted)
      : Transaction(activity, isolation) {
    const Oid installed = guarded([extension = store.extension_] {
      LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
      return get_extension_oid("webhook", true);
    });
    if (installed != store.extension_) throw ExtensionGone();
  }
};

SpiStore::SpiStore() {
  Transaction transaction("webhook: starting");
  guarded([] { override_session_settings(); });
  Query installed(statements::find_extension);
  if (installed.run() == 0) throw ExtensionGone();
  extension_ = installed.get_oid(0, installed.column("extension"));
  schema_ = installed.get_oid(0, installed.column("schema"));
  set_extension_schema(installed.get_text(0, installed.column("quoted_schema")));
  installed_version_ = installed.get_text(0, installed.column("extversion"));

  Query relations(statements::find_relations);
  relations.run();
  const auto oid = [&relations](const char* name) { return relations.get_oid(0, relations.column(name)); };
  events_sequence_ = oid("events_sequence");
  watched.changes = oid("changes");
  watched.instance = oid("instance");
  watched.configurations = oid("configurations");
  watched.secrets = oid("secrets");
  transaction.commit();
  guarded([] { CacheRegisterRelcacheCallback(note_invalidation, 0); });
}

// --- Start and configuration -----------------------------------------------------------------------------------------

StartState SpiStore::start(const WorkerShare& share) {
  Work work(*this, "webhook: starting");
  // Workers start one after the other. The first finds the state that the previous workers left, the others what the
  // first made of it. The lock blocks nobody else.
  guarded([schema = schema_] {
    LockRelationOid(get_relname_relid("webhook_checkpoint", schema), ShareUpdateExclusiveLock);
  });
  const auto database = static_cast<std::uint32_t>(MyDatabaseId);
  const std::uint64_t system_identifier = GetSystemIdentifier();
  StartState state;

  Query identity(statements::read_identity);
  std::optional<StoredIdentity> stored;
  if (identity.run() > 0) {
    stored = {
        .instance = identity.get_uuid(0, identity.column("instance")),
        .database = identity.get_oid(0, identity.column("database_oid")),
        .system_identifier = static_cast<std::uint64_t>(identity.get_int64(0, identity.column("system_identifier")))};
    state.instance = stored->instance;
  }
  const Checkpoints checkpoints = read_checkpoints(share.count);
  const bool has_checkpoint = !checkpoints.of.empty();

  state.verdict = compare_identity(stored, has_checkpoint, database, system_identifier);
  const auto oid = static_cast<std::int64_t>(database);
  const auto identifier = static_cast<std::int64_t>(system_identifier);
  switch (state.verdict) {
    case IdentityChange::kSame:
      break;
    case IdentityChange::kUpgraded: {
      Query update(statements::update_system_identifier);
      update.bind(identifier).run();
      break;
    }
    case IdentityChange::kFresh: {
      Query create(statements::create_identity);
      if (create.bind(oid).bind(identifier).run() == 0) {
        // The row of a dump was restored at the same moment. webhook_internal.instance_restored() has marked it.
        work.commit();
        return start(share);
      }
      state.instance = create.get_uuid(0, create.column("instance"));
      break;
    }
    case IdentityChange::kCopy: {
      Query drop(statements::delete_identity);
      drop.run();
      Query create(statements::create_paused_identity);
      create.bind(oid).bind(identifier).bind(kCopyReason).run();
      state.instance = create.get_uuid(0, create.column("instance"));
      break;
    }
  }
  Query deferred(statements::read_deferred_webhooks);
  const std::size_t deferred_count = deferred.run();
  const Column deferred_id = deferred.column("id");
  for (std::size_t row = 0; row < deferred_count; ++row) state.deferred.push_back(deferred.get_uuid(row, deferred_id));
  if (checkpoints.are_of_this_count) {
    state.checkpoint = checkpoints.of[static_cast<std::size_t>(share.number - 1)];
  } else {
    if (has_checkpoint)
      state.checkpoint = oldest(checkpoints.of);
    else
      state.checkpoint = {{Snapshot::beginning(), Snapshot::beginning()}, 0, 0};
    replace_checkpoints(share.count, state.instance, state.checkpoint);
  }
  if (has_checkpoint && state.verdict == IdentityChange::kCopy) {
    Query update(statements::update_checkpoint_instance);
    update.bind(state.instance).run();
  }
  work.commit();
  share_ = share;
  deferred_ = {state.deferred.begin(), state.deferred.end()};
  return state;
}

namespace {

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
    }
  }
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

namespace {

// The rows of read_webhooks.
class WebhookRows {
 public:
  WebhookRows(const Query& query, const SecretStore& secrets) : query_(query), secrets_(secrets) {}

  Webhook read(std::size_t row) const {
    Webhook webhook;
    webhook.id = query_.get_uuid(row, id_);
    webhook.organization_id = query_.get_optional_text(row, organization_id_);
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

// Reads the webhooks that exist, and what every step returns in addition.
void read_webhooks(const std::vector<Uuid>& ids, Configuration* configuration) {
  Query identity(statements::read_identity);
  if (identity.run() > 0) {
    configuration->instance = identity.get_uuid(0, identity.column("instance"));
    configuration->is_paused = identity.get_boolean(0, identity.column("is_paused"));
    configuration->paused_reason = identity.get_text(0, identity.column("paused_reason"));
  }
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
      deleted->push_back({id, query.get_time(row, created_at), query.get_optional_text(row, organization_id)});
    } else {
      pending_changed->insert(id);
    }
  }
}

}  // namespace

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

ConfigurationNews SpiStore::take_news() { return std::exchange(watched.news, ConfigurationNews::kNone); }

bool SpiStore::has_news() const { return watched.news != ConfigurationNews::kNone; }

// --- The event log ---------------------------------------------------------------------------------------------------

LogHead SpiStore::current_head() {
  // Taken before this transaction has an xid, because a snapshot leaves out its own transaction.
  Work work(*this, "webhook: looking for events");
  Query query(statements::current_head);
  query.run();
  LogHead head{snapshot_of(query), query.get_int64(0, query.column("last_log_id"))};
  // A webhook must be known before events are routed that are in the same snapshot as its creation. A transaction that
  // is no longer committing has been announced, so check for committing ones first.
  if (is_committing() && watched.news == ConfigurationNews::kNone) watched.news = ConfigurationNews::kChanges;
  guarded([] { AcceptInvalidationMessages(); });
  work.commit();
  return head;
}

Chunk SpiStore::read(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max) {
  Work work(*this, "webhook: reading events");
  Chunk chunk;
  if (reading_.window != window && !read_few(window, after_id, bytes_max, &chunk)) find(window, after_id);
  if (!chunk.window_is_read) read_found(window, after_id, events_max, bytes_max, &chunk);
  work.commit();
  if (chunk.window_is_read) reading_ = {};
  return chunk;
}

// Reads the next of the events that find() found. Removes none of them, so that the call can be repeated.
void SpiStore::read_found(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max,
                          Chunk* chunk) {
  const auto first_behind = [this, after_id] {
    return std::upper_bound(reading_.found.begin(), reading_.found.end(), after_id,
                            [](std::int64_t id, const Found& found) { return id < found.id; });
  };
  auto first = first_behind();
  if (first == reading_.found.end() && reading_.too_large) {
    walk(window, after_id, events_max);
    first = first_behind();
  }
  auto last = first;
  for (std::size_t bytes = 0; last != reading_.found.end(); ++last) {
    bytes += static_cast<std::size_t>(last->stored_bytes);
    const auto count = static_cast<std::size_t>(last - first);
    // The expanded size is at least the stored size.
    if (count == events_max || (count > 0 && bytes > bytes_max)) break;
  }
  FoundEvents fetched = fetch({first, last}, bytes_max);
  chunk->events = std::move(fetched.events);
  chunk->window_is_read = last == reading_.found.end() && !reading_.too_large && !fetched.is_cut;
}

bool SpiStore::read_few(const Window& window, std::int64_t after_id, std::size_t bytes_max, Chunk* chunk) {
  std::optional<std::vector<Event>> events = read_few_events(window.ranges(), kFewEvents, bytes_max);
  if (!events) return false;
  std::erase_if(*events, [&](const Event& event) { return event.id <= after_id || !window.contains(event.xid); });
  std::sort(events->begin(), events->end(), [](const Event& a, const Event& b) { return a.id < b.id; });
  std::vector<FullXid> xids;
  for (const Event& event : *events) xids.push_back(event.xid);
  flush_commits(xids);
  chunk->events = std::move(*events);
  chunk->window_is_read = true;
  return true;
}

void SpiStore::find(const Window& window, std::int64_t after_id) {
  reading_ = {};
  const Window::Ranges ranges = window.ranges();
  Query query(statements::find_events);
  query.bind_xids(ranges.low).bind_xids(ranges.high).bind(static_cast<std::int64_t>(kFoundMax + 1));
  const std::size_t rows = query.run();
  if (rows > kFoundMax) {
    Query lowest(statements::find_lowest_event);
    lowest.bind_xids(ranges.low).bind_xids(ranges.high).run();
    reading_.walked_to = std::max(after_id, lowest.get_int64(0, lowest.column("lowest")) - 1);
    reading_.too_large = true;
  } else {
    note_found(query, rows, window);
    std::sort(reading_.found.begin(), reading_.found.end(), [](const Found& a, const Found& b) { return a.id < b.id; });
  }
  reading_.window = window;
}

// Takes one step through the id index. It may find no event of the window.
void SpiStore::walk(const Window& window, std::int64_t after_id, std::size_t events_max) {
  const std::size_t step = std::max(kWalkStep, events_max);
  Query query(statements::walk_events);
  query.bind(std::max(reading_.walked_to, after_id)).bind(static_cast<std::int64_t>(step));
  const std::size_t rows = query.run();
  reading_.found.clear();
  note_found(query, rows, window);
  if (rows > 0) reading_.walked_to = query.get_int64(rows - 1, query.column("id"));
  if (rows < step) reading_.too_large = false;
}

// Adds the window's events among the rows of find_events or walk_events, and makes their commits durable.
void SpiStore::note_found(const Query& query, std::size_t rows, const Window& window) {
  std::vector<FullXid> xids;
  reading_.found.reserve(rows);
  const Column id = query.column("id");
  const Column xid_column = query.column("xid");
  const Column stored_bytes = query.column("stored_bytes");
  const Column slot = query.column("slot");
  for (std::size_t row = 0; row < rows; ++row) {
    const FullXid xid = query.get_xid(row, xid_column);
    if (!window.contains(xid)) continue;
    if (xids.empty() || xids.back() != xid) xids.push_back(xid);
    reading_.found.push_back(
        {query.get_int64(row, id), query.get_int32(row, stored_bytes), query.get_int16(row, slot)});
  }
  flush_commits(xids);
}

namespace {

FoundEvents fetch_from(int slot, const std::vector<std::int64_t>& ids, std::size_t bytes_max) {
  if (std::optional<FoundEvents> found = read_events(slot, ids, bytes_max)) return std::move(*found);
  Query query(statements::read_events_by_id);
  const std::size_t rows = query.bind(slot).bind(ids).run();
  const EventTexts texts(query);
  const Column id = query.column("id");
  const Column xid = query.column("xid");
  const Column created_at = query.column("created_at");
  const Column oversized_bytes = query.column("oversized_bytes");
  const Column slot_column = query.column("slot");
  const Column known_switch = query.column("known_switch");
  FoundEvents found;
  std::size_t bytes = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    bytes += texts.expanded_bytes(row);
    found.is_cut = row > 0 && bytes > bytes_max;
    if (found.is_cut) break;
    Event& event = found.events.emplace_back();
    event.id = query.get_int64(row, id);
    event.xid = query.get_xid(row, xid);
    event.created_at = query.get_time(row, created_at);
    texts.read(row, &event);
    event.oversized_bytes = query.get_int64(row, oversized_bytes);
    event.slot = query.get_int16(row, slot_column);
    event.known_switch = query.get_int32(row, known_switch);
  }
  return found;
}

}  // namespace

// Returns the events in the order of found, which ascends by id across segments.
FoundEvents SpiStore::fetch(const std::vector<Found>& found, std::size_t bytes_max) {
  FoundEvents fetched;
  std::size_t bytes = 0;
  for (auto first = found.begin(); first != found.end() && !fetched.is_cut;) {
    std::vector<std::int64_t> ids;
    const int slot = first->slot;
    for (; first != found.end() && first->slot == slot; ++first) ids.push_back(first->id);
    FoundEvents of_segment = fetch_from(slot, ids, bytes_max - std::min(bytes, bytes_max));
    for (Event& event : of_segment.events) {
      bytes += event.bytes();
      fetched.events.push_back(std::move(event));
    }
    fetched.is_cut = of_segment.is_cut;
  }
  return fetched;
}

void SpiStore::filter(std::vector<FilterGroup>* groups) {
  const Duration begin = processor_time();
  Work work(*this, "webhook: evaluating filters");
  evaluate_filters(groups);
  work.commit();
  share_cost(groups, processor_time() - begin);
}

// --- Recovery --------------------------------------------------------------------------------------------------------

std::vector<DeliveryKey> SpiStore::logged_since(std::int64_t log_floor) {
  Work work(*this, "webhook: recovering");
  Query query(statements::read_logged);
  std::vector<DeliveryKey> keys = keys_of(query, query.bind(log_floor).run());
  work.commit();
  return keys;
}

std::vector<DeliveryKey> SpiStore::pending_of(const std::vector<std::int64_t>& event_ids) {
  Work work(*this, "webhook: recovering");
  Query query(statements::read_pending_of);
  std::vector<DeliveryKey> keys = keys_of(query, query.bind(event_ids).run());
  work.commit();
  return keys;
}

// --- Recording -------------------------------------------------------------------------------------------------------

Recorded SpiStore::record(const Batch& batch) {
  std::optional<Error> error;
  try {
    return record(batch, Care::kNone);
  } catch (const ExtensionGone&) {
    throw;
  } catch (const Error& raised) {
    if (!may_be_of_a_row(raised)) throw;
    error = raised;
  }
  return record(batch, Care::kEachRow);
}

Recorded SpiStore::record(const Batch& batch, Care care) {
  Work work(*this, "webhook: recording results");
  Recorded recorded = write_batch(batch, share_.number, deferred_, care);
  work.commit();
  deferred_.insert(recorded.deferred.begin(), recorded.deferred.end());
  return recorded;
}

std::vector<Applied> SpiStore::apply_deferred(const std::vector<Uuid>& webhooks, std::size_t rows_max) {
  std::vector<Applied> all;
  Work work(*this, "webhook: recording what was deferred");
  for (const Uuid& webhook : webhooks) {
    if (!try_lock_keyed(KeyedLock::kDeliveries, name_of(webhook))) {
      all.push_back({.webhook = webhook});
      continue;
    }
    all.push_back(apply_deferred_changes(webhook, rows_max));
    break;
  }
  work.commit();
  for (const Applied& applied : all) {
    if (applied.state == Applied::State::kDone) deferred_.erase(applied.webhook);
  }
  return all;
}

std::string SpiStore::holder(const Uuid& webhook) {
  Work work(*this, "webhook: looking for who holds deliveries");
  const KeyedLockTag tag = keyed_lock_tag(KeyedLock::kDeliveries, name_of(webhook));
  Query query(statements::find_holder);
  query.bind(static_cast<std::int64_t>(tag.classid)).bind(static_cast<std::int64_t>(tag.objid));
  std::string holder = "somebody who has locked its rows of webhook_deliveries";
  if (query.bind(static_cast<std::int32_t>(tag.objsubid)).run() > 0) {
    const Column pid = query.column("pid");
    holder = query.is_null(0, pid) ? "a prepared transaction"
                                   : "the transaction of process " + std::to_string(query.get_int32(0, pid));
  }
  work.commit();
  return holder;
}

std::int64_t SpiStore::log_test(const LogRow& row) {
  Work work(*this, "webhook: recording a test");
  write_logs_each({row});
  Query drawn(statements::last_log_id_drawn);
  drawn.run();
  const std::int64_t id = drawn.get_int64(0, drawn.column("id"));
  work.commit();
  return id;
}

DisableResult SpiStore::disable(const WebhookIdentity& webhook, const std::string& url, const std::string& reason,
                                const OperationalEvent& event) {
  Work work(*this, "webhook: disabling a webhook");
  Query wanted(statements::read_disabling);
  if (bind(wanted, webhook).bind(url).run() == 0) return DisableResult::kNothingToDo;
  std::size_t rows = 0;
  try_to([&] {
    Query disable(statements::disable_webhook);
    rows = bind(disable, webhook).bind(url).bind(reason).run();
  });
  if (rows == 0) return DisableResult::kLocked;
  capture_event(event.name, event.data, event.organization_id, std::nullopt);
  work.commit();
  return DisableResult::kDisabled;
}

Testable SpiStore::testable(const Uuid& webhook, Time created_at, const std::string& event) {
  Work work(*this, "webhook: reading what is to be tested");
  Query query(statements::read_testable);
  query.bind(webhook).bind(created_at).bind(event).run();
  Testable testable;
  testable.is_paused = query.get_boolean(0, query.column("is_paused"));
  testable.paused_reason = query.get_text(0, query.column("paused_reason"));
  testable.has_webhook = query.get_boolean(0, query.column("has_webhook"));
  testable.organization_id = query.get_optional_text(0, query.column("organization_id"));
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

// --- Pending deliveries ----------------------------------------------------------------------------------------------

Due SpiStore::due(const DueQuery& wanted) {
  Work work(*this, "webhook: reading pending deliveries");
  Query query(wanted.in_order ? statements::read_due_in_order : statements::read_due);
  bind(query, wanted.webhook).bind(wanted.now);
  if (!wanted.in_order) query.bind(wanted.after.next_attempt_at).bind(wanted.after.event_id);
  query.bind(static_cast<std::int64_t>(wanted.rows_max));
  const std::size_t rows = query.bind(static_cast<std::int64_t>(wanted.bytes_max)).run();
  Due due;
  due.is_all = rows == 0 ||
               (static_cast<std::int64_t>(rows) == query.get_int64(0, query.column("found")) && rows < wanted.rows_max);
  due.deliveries.reserve(rows);
  const EventTexts texts(query);
  const Column event_id = query.column("event_id");
  const Column created_at = query.column("created_at");
  const Column slot = query.column("slot");
  const Column attempts = query.column("attempts");
  const Column probes = query.column("probes");
  const Column pending_since = query.column("pending_since");
  const Column next_attempt_at = query.column("next_attempt_at");
  const Column request = query.column("request");
  std::size_t bytes = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    // The statement knows only the stored size. Expanded events may be larger.
    bytes += texts.expanded_bytes(row);
    if (row > 0 && bytes > wanted.bytes_max) {
      due.is_all = false;
      break;
    }
    PendingDelivery& pending = due.deliveries.emplace_back();
    pending.event.id = query.get_int64(row, event_id);
    pending.event.created_at = query.get_time(row, created_at);
    texts.read(row, &pending.event);
    pending.event.slot = query.get_int16(row, slot);
    pending.attempts = query.get_int32(row, attempts);
    pending.probes = query.get_int32(row, probes);
    pending.pending_since = query.get_time(row, pending_since);
    pending.next_attempt_at = query.get_time(row, next_attempt_at);
    pending.request = query.get_int64(row, request);
  }
  Query next(statements::read_due_next);
  bind(next, wanted.webhook).bind(wanted.now).run();
  due.next = next.get_optional_time(0, next.column("next"));
  work.commit();
  return due;
}

std::vector<std::int64_t> SpiStore::give_up_old(const WebhookIdentity& webhook, Time before, const std::string& reason,
                                                std::size_t rows_max) {
  Work work(*this, "webhook: giving up old deliveries");
  std::vector<std::int64_t> ids;
  // If a row is refused, it stays, and so do the rows after it. That affects only this webhook.
  try_to([&] {
    Query query(statements::give_up_old);
    const std::size_t rows =
        bind(query, webhook).bind(before).bind(reason).bind(static_cast<std::int64_t>(rows_max)).run();
    const Column event_id = query.column("event_id");
    for (std::size_t row = 0; row < rows; ++row) ids.push_back(query.get_int64(row, event_id));
  });
  work.commit();
  return ids;
}

OrderingStep SpiStore::write_ordering_keys(const WebhookIdentity& webhook, Ordering ordering,
                                           const Backlog::Position& after, std::size_t rows_max) {
  Work work(*this, "webhook: ordering pending deliveries");
  OrderingStep step{.position = after};
  if (!try_lock_keyed(KeyedLock::kDeliveries, name_of(webhook.id))) {
    step.is_busy = true;
    return step;
  }
  limit_waits_for_rows();
  const auto refused = try_to([&] {
    Query write(statements::write_ordering_keys);
    bind(write, webhook).bind(ordering_name(ordering)).bind(after.next_attempt_at).bind(after.event_id);
    const bool has_some = write.bind(static_cast<std::int64_t>(rows_max)).run() > 0;
    if (has_some) {
      step.position = {write.get_time(0, write.column("next_attempt_at")),
                       write.get_int64(0, write.column("event_id"))};
    }
    step.is_all = !has_some || write.get_int64(0, write.column("visited")) < static_cast<std::int64_t>(rows_max);
  });
  step.is_busy = refused.has_value();
  work.commit();
  return step;
}

std::optional<std::unordered_map<std::string, std::int64_t>> SpiStore::pending_by_key(const WebhookIdentity& webhook,
                                                                                      std::size_t rows_max) {
  Work work(*this, "webhook: counting deliveries");
  Query count(statements::count_ordering_keys);
  const std::size_t keys = bind(count, webhook).bind(static_cast<std::int64_t>(rows_max + 1)).run();
  std::optional<std::unordered_map<std::string, std::int64_t>> counts(std::in_place);
  const Column ordering_key = count.column("ordering_key");
  const Column deliveries = count.column("deliveries");
  for (std::size_t row = 0; row < keys; ++row) {
    const std::string key = count.get_text(row, ordering_key);
    // A delivery without a key holds nothing back.
    if (!key.starts_with('#')) counts->emplace(key, count.get_int64(row, deliveries));
  }
  if (keys > 0 && count.get_int64(0, count.column("visited")) > static_cast<std::int64_t>(rows_max)) counts.reset();
  work.commit();
  return counts;
}

// --- Deleted webhooks ------------------------------------------------------------------------------------------------

// Deletes about rows_max rows at most and returns their number. If it is less than rows_max, the remaining rows are
// locked.
std::size_t SpiStore::delete_left_over(const Change& change, std::size_t rows_max) {
  std::size_t deleted = 0;
  for (Statement* const statement : {&statements::delete_left_endpoint, &statements::delete_left_minutes}) {
    Query query(*statement);
    deleted += bind(query, change.webhook).run();
    if (deleted >= rows_max) return deleted;
  }
  CleaningUp& at = *cleaning_up_;
  Query pending(statements::delete_left_pending);
  bind(pending, change.webhook).bind(at.next_attempt_at).bind(at.event_id);
  std::size_t rows = pending.bind(static_cast<std::int64_t>(rows_max - deleted)).run();
  const Column next_attempt_at = pending.column("next_attempt_at");
  const Column event_id = pending.column("event_id");
  for (std::size_t row = 0; row < rows; ++row) {
    std::tie(at.next_attempt_at, at.event_id) =
        std::max(std::tuple(at.next_attempt_at, at.event_id),
                 std::tuple(pending.get_time(row, next_attempt_at), pending.get_int64(row, event_id)));
  }
  deleted += rows;
  if (deleted >= rows_max) return deleted;
  Query dead(statements::delete_left_dead);
  bind(dead, change.webhook).bind(at.dead_event_id);
  rows = dead.bind(static_cast<std::int64_t>(rows_max - deleted)).run();
  const Column dead_event_id = dead.column("event_id");
  for (std::size_t row = 0; row < rows; ++row) {
    at.dead_event_id = std::max(at.dead_event_id, dead.get_int64(row, dead_event_id));
  }
  return deleted + rows;
}

std::vector<SpiStore::Change> SpiStore::find_left_over(const CleaningUp& from) {
  Query query(statements::find_left_over);
  query.bind_xid(from.after.xid).bind(from.after.webhook.id).bind(from.after.webhook.created_at);
  query.bind(from.after.is_deleted).bind(to_string(from.known));
  const std::size_t rows = query.bind(static_cast<std::int64_t>(kChangesPerStep)).run();
  const Column xid = query.column("xid");
  const Column webhook = query.column("configuration_id");
  const Column created_at = query.column("configuration_created_at");
  const Column organization_id = query.column("organization_id");
  const Column is_deleted = query.column("is_deleted");
  const Column webhook_exists = query.column("webhook_exists");
  std::vector<Change> changes;
  for (std::size_t row = 0; row < rows; ++row) {
    changes.push_back({.xid = query.get_xid(row, xid),
                       .webhook = {query.get_uuid(row, webhook), query.get_time(row, created_at),
                                   query.get_optional_text(row, organization_id)},
                       .is_deleted = query.get_boolean(row, is_deleted),
                       .webhook_exists = query.get_boolean(row, webhook_exists)});
  }
  return changes;
}

// Does what a row of webhook_changes asks for, in at most *room deletions. Returns false if there is more to delete.
bool SpiStore::clean_up_after(const Change& change, std::size_t* room) {
  bool is_done = share_.owns(change.webhook.id);
  if (is_done && change.is_deleted && !change.webhook_exists) {
    // If a deletion is refused, the rows stay. Other webhooks go on.
    std::size_t deleted = 0;
    is_done = false;
    try_to([&] {
      deleted = delete_left_over(change, *room);
      if (deleted >= *room) return;
      Query left(statements::has_left_over);
      bind(left, change.webhook).run();
      is_done = !left.get_boolean(0, left.column("has_left_over"));
    });
    if (deleted >= *room) return false;
    *room -= deleted;
    cleaning_up_->has_left |= !is_done;
  }
  if (is_done) {
    Query done(statements::delete_change);
    done.bind_xid(change.xid).bind(change.webhook.id).bind(change.webhook.created_at).bind(change.is_deleted).run();
  }
  cleaning_up_->after = change;
  cleaning_up_->next_attempt_at = {};
  cleaning_up_->event_id = cleaning_up_->dead_event_id = kFirstEvent;
  return true;
}

bool SpiStore::clean_up(const Snapshot& known) {
  Work work(*this, "webhook: cleaning up after deleted webhooks");
  if (!cleaning_up_) {
    cleaning_up_.emplace(known);
    cleaning_up_->after.xid = cleaned_up_to_;
    cleaning_up_->event_id = cleaning_up_->dead_event_id = kFirstEvent;
  }
  // The state to return to if the transaction fails.
  const CleaningUp before = *cleaning_up_;
  const std::vector<Change> changes = find_left_over(before);
  bool is_over = changes.size() < kChangesPerStep;
  std::size_t room = kLeftOverPerStep;
  try {
    for (const Change& change : changes) {
      if (clean_up_after(change, &room)) continue;
      is_over = false;
      break;
    }
    work.commit();
  } catch (...) {
    cleaning_up_ = before;
    throw;
  }
  if (!is_over) return true;
  if (!cleaning_up_->has_left) cleaned_up_to_ = cleaning_up_->known.xmin;
  cleaning_up_.reset();
  return false;
}

// --- Rings -----------------------------------------------------------------------------------------------------------

RingReport SpiStore::maintain_ring(Ring ring, const RingLimits& limits) {
  RingReport report;
  int current = 0;
  bool full = false;
  bool too_large = false;
  std::optional<int> oldest;  // not empty, and not the current one
  {
    Work work(*this, "webhook: looking after the rings");
    Query query(statements::read_ring);
    read_ring(&query, ring);
    const auto bytes = [&query](const char* name) {
      return static_cast<std::uint64_t>(query.get_int64(0, query.column(name)));
    };
    current = query.get_int16(0, query.column("current"));
    full = is_segment_full(limits, query.get_time(0, query.column("opened_at")), query.get_time(0, query.column("now")),
                           bytes("bytes"), bytes("row_bytes") == 0);
    too_large = bytes("ring_bytes") > limits.bytes_max;
    const Column oldest_other = query.column("oldest");
    if (!query.is_null(0, oldest_other)) oldest = query.get_int16(0, oldest_other);
    work.commit();
  }
  const int next = next_segment(current);
  const bool next_is_empty = oldest != next;
  if (oldest && (too_large || (full && !next_is_empty))) {
    // In a separate transaction, so that nobody sees the segment as the current one while it is locked.
    const bool emptied = make_room(ring, *oldest, &report);
    if (emptied) report.more = too_large;
    if (!emptied && !next_is_empty) return report;
  }
  if (!full) return report;
  Work work(*this, "webhook: turning a ring");
  Query turn(statements::turn_ring);
  turn.bind(ring_name(ring)).bind(static_cast<std::int32_t>(next)).run();
  work.commit();
  if (holds_events(ring)) publish_event_segment(events_sequence_, next);
  return report;
}

// One step of saving the events of a segment that deliveries refer to. Returns whether all are saved, except those with
// locked deliveries. If a row was refused, returns true and sets kept_because.
bool SpiStore::save_events(int segment, RingReport* report) {
  if (saving_segment_ != segment) {
    saving_segment_ = segment;
    saved_to_ = kBeforeAllDeliveries;
  }
  Work work(*this, "webhook: saving events");
  bool is_all = true;
  DeliveryKey last;
  limit_waits_for_rows();
  const std::optional<Error> refused = try_to([&] {
    Query save(statements::save_events);
    save.bind(static_cast<std::int32_t>(segment)).bind(saved_to_.event_id).bind(saved_to_.webhook).bind(kSaveStep);
    is_all = save.run() == 0 || save.get_int64(0, save.column("visited")) < kSaveStep;
    if (!is_all) last = {save.get_int64(0, save.column("event_id")), save.get_uuid(0, save.column("configuration_id"))};
  });
  if (refused) report->kept_because = "a delivery of its events cannot be changed: " + refused->message();
  work.commit();
  if (refused) return true;
  if (is_all) {
    saving_segment_ = -1;
  } else {
    saved_to_ = last;
  }
  return is_all;
}

// Empties a segment that is no longer needed. Returns false if it is still needed, or if something must be done first.
bool SpiStore::make_room(Ring ring, int segment, RingReport* report) {
  if (holds_events(ring) && !save_events(segment, report)) {
    report->more = true;
    return false;
  }
  if (!report->kept_because.empty()) return false;
  Work work(*this, "webhook: emptying a segment");
  const auto slot = static_cast<std::int32_t>(segment);
  const std::string name = std::string("webhook_") + table_name(ring) + '_' + std::to_string(segment);
  const Oid schema = schema_;
  const Oid relation = guarded([schema, text = name.c_str()] { return get_relname_relid(text, schema); });
  // Does not wait, because everybody else would queue behind a waiting lock request.
  if (!guarded([relation] { return ConditionalLockRelationOid(relation, AccessExclusiveLock); })) {
    report->kept_because = "a transaction holds a lock on it";
    return false;
  }
  Query needed(holds_events(ring) ? statements::has_unsettled_events : statements::has_needed_logs);
  needed.bind(slot).run();
  if (needed.get_boolean(0, needed.column("is_needed"))) {
    report->kept_because = holds_events(ring) ? "it holds events that are not settled yet"
                                              : "it holds attempts of events that are not settled yet";
    return false;
  }
  if (holds_events(ring)) {
    // Deliveries that became pending since the last step, or are locked.
    Query unsaved(statements::has_unsaved_events);
    unsaved.bind(slot).run();
    if (unsaved.get_boolean(0, unsaved.column("by_deferred"))) {
      report->kept_because = "it holds events of pending deliveries that a transaction holds";
      return false;
    }
    if (unsaved.get_boolean(0, unsaved.column("by_deliveries"))) {
      report->kept_because = "deliveries refer to its events, and somebody writes them";
      return false;
    }
  }
  guarded([schema, text = name.c_str()] {
    RangeVar* range = makeRangeVar(get_namespace_name(schema), pstrdup(text), -1);
    range->inh = false;
    auto* truncate = makeNode(TruncateStmt);
    truncate->relations = list_make1(range);
    truncate->behavior = DROP_RESTRICT;
    ExecuteTruncate(truncate);
  });
  work.commit();
  return true;
}

bool SpiStore::delete_expired(Time before) {
  Work work(*this, "webhook: deleting expired deliveries");
  Query query(statements::delete_expired_dead);
  query.bind(before).bind(expired_.created_at).bind(expired_.event_id).bind(expired_.webhook);
  const bool has_some = query.bind(kExpiredPerStep).run() > 0;
  const bool has_more = has_some && query.get_int64(0, query.column("visited")) == kExpiredPerStep;
  Expired last;
  if (has_more) {
    last = {query.get_time(0, query.column("created_at")), query.get_int64(0, query.column("event_id")),
            query.get_uuid(0, query.column("configuration_id"))};
  }
  Query given_up(statements::delete_old_given_up);
  given_up.bind(before).run();
  Query history(statements::delete_old_history);
  history.bind(kExpiredPerStep).run();
  work.commit();
  expired_ = last;
  return has_more;
}

// --- Shares ----------------------------------------------------------------------------------------------------------

namespace {

// Deletes the saved events that no delivery refers to, and returns their bytes. Takes two statements: a transaction
// that adds a reference has locked the saved event, and the second statement sees its commit.
std::uint64_t delete_saved(const std::vector<std::int64_t>& ids) {
  Query lock(statements::lock_saved);
  const std::size_t locked = lock.bind(ids).run();
  std::vector<std::int64_t> free;
  const Column event_id = lock.column("event_id");
  for (std::size_t row = 0; row < locked; ++row) free.push_back(lock.get_int64(row, event_id));
  Query remove(statements::delete_saved);
  const std::size_t removed = remove.bind(free).run();
  std::uint64_t bytes = 0;
  const Column bytes_of_event = remove.column("bytes");
  for (std::size_t row = 0; row < removed; ++row) {
    bytes += static_cast<std::uint64_t>(remove.get_int64(row, bytes_of_event));
  }
  return bytes;
}

// Collects deliveries that were given up, to write one row to webhook_logs per webhook.
class GivenUp {
 public:
  // The rows that a statement deleted: each, or those that were pending.
  void add(const Query& query, std::size_t rows, const std::optional<Column>& was_pending = std::nullopt) {
    const Column event_id = query.column("event_id");
    const Column webhook = query.column("configuration_id");
    const Column organization_id = query.column("organization_id");
    const Column event = query.column("event");
    for (std::size_t row = 0; row < rows; ++row) {
      if (was_pending && !query.get_boolean(row, *was_pending)) continue;
      event_ids_.push_back(query.get_int64(row, event_id));
      webhooks_.push_back(query.get_uuid(row, webhook));
      organizations_.push_back(query.get_optional_text(row, organization_id));
      events_.emplace_back(query.get_text(row, event));
    }
  }
  void log(const std::string& reason) const {
    if (event_ids_.empty()) return;
    Query query(statements::log_given_up);
    query.bind(reason).bind(event_ids_).bind(webhooks_).bind(organizations_).bind(events_).run();
  }

 private:
  std::vector<std::int64_t> event_ids_;
  std::vector<Uuid> webhooks_;
  std::vector<std::optional<std::string>> organizations_;
  std::vector<std::optional<std::string>> events_;
};

}  // namespace

DeliveryCounts SpiStore::count_deliveries(const std::optional<DeliveryKey>& after, std::size_t rows_max) {
  const DeliveryKey from = after.value_or(kBeforeAllDeliveries);
  Work work(*this, "webhook: counting deliveries");
  Query query(statements::count_deliveries);
  const std::size_t rows = query.bind(from.event_id).bind(from.webhook).bind(static_cast<std::int64_t>(rows_max)).run();
  DeliveryCounts step;
  const Column webhook = query.column("configuration_id");
  const Column organization_id = query.column("organization_id");
  const Column deliveries = query.column("deliveries");
  for (std::size_t row = 0; row < rows; ++row) {
    step.counts.push_back({.webhook = query.get_uuid(row, webhook),
                           .organization_id = query.get_optional_text(row, organization_id),
                           .rows = static_cast<std::uint64_t>(query.get_int64(row, deliveries))});
  }
  if (rows > 0) {
    const DeliveryKey last{query.get_int64(0, query.column("last_event_id")),
                           query.get_uuid(0, query.column("last_configuration_id"))};
    if (query.get_int64(0, query.column("visited")) == static_cast<std::int64_t>(rows_max)) step.last = last;
    if (query.get_boolean(0, query.column("is_ahead"))) redate_pending(from, last);
  }
  work.commit();
  return step;
}

std::size_t SpiStore::give_up_excess(const Uuid& webhook, const std::string& reason, std::size_t rows_max) {
  Work work(*this, "webhook: giving up deliveries");
  Query dead(statements::delete_oldest_dead);
  std::size_t count = dead.bind(webhook).bind(static_cast<std::int64_t>(rows_max)).run();
  if (count < rows_max) {
    Query pending(statements::delete_last_due);
    const std::size_t rows = pending.bind(webhook).bind(static_cast<std::int64_t>(rows_max - count)).run();
    GivenUp given_up;
    given_up.add(pending, rows);
    given_up.log(reason);
    count += rows;
  }
  work.commit();
  return count;
}

SavedStep SpiStore::tidy_saved(std::int64_t after, std::size_t events_max) {
  Work work(*this, "webhook: looking after saved events");
  Query walk(statements::walk_saved);
  const std::size_t rows = walk.bind(after).bind(static_cast<std::int64_t>(events_max)).run();
  SavedStep step;
  std::vector<std::int64_t> unneeded;
  const Column event_id = walk.column("event_id");
  const Column organization_id = walk.column("organization_id");
  const Column bytes = walk.column("bytes");
  const Column is_needed = walk.column("is_needed");
  for (std::size_t row = 0; row < rows; ++row) {
    if (!walk.get_boolean(row, is_needed)) {
      unneeded.push_back(walk.get_int64(row, event_id));
    } else if (const auto organization = walk.get_optional_text(row, organization_id)) {
      step.bytes[*organization] += static_cast<std::uint64_t>(walk.get_int64(row, bytes));
    }
  }
  if (rows == events_max) step.last = walk.get_int64(rows - 1, event_id);
  if (!unneeded.empty()) delete_saved(unneeded);
  work.commit();
  return step;
}

SavedGivenUp SpiStore::give_up_saved(const std::string& organization, std::uint64_t bytes, const std::string& reason,
                                     std::size_t rows_max) {
  Work work(*this, "webhook: giving up saved events");
  Query oldest(statements::oldest_saved);
  const std::size_t rows =
      oldest.bind(organization).bind(kSavedEventsPerStep).bind(static_cast<std::int64_t>(bytes)).run();
  std::vector<std::int64_t> ids;
  const Column event_id = oldest.column("event_id");
  for (std::size_t row = 0; row < rows; ++row) ids.push_back(oldest.get_int64(row, event_id));
  if (ids.empty()) return {};
  Query deliveries(statements::delete_deliveries_of);
  const std::size_t deleted = deliveries.bind(ids).bind(static_cast<std::int64_t>(rows_max)).run();
  GivenUp given_up;
  given_up.add(deliveries, deleted, deliveries.column("was_pending"));
  given_up.log(reason);
  const std::uint64_t freed = delete_saved(ids);
  work.commit();
  return {.bytes = freed, .more = freed > 0 || deleted > 0};
}

// --- Ids -------------------------------------------------------------------------------------------------------------

void SpiStore::refill_ids() {
  // Done at least once, because an earlier worker may have ended between turning the ring and publishing the segment.
  if (!has_published_segment_ || !current_event_segment(events_sequence_, false) ||
      !current_event_segment(events_sequence_, true)) {
    Work work(*this, "webhook: looking after the rings");
    for (const Ring ring : {Ring::kEvents, Ring::kExcessEvents}) {
      Query query(statements::read_ring);
      read_ring(&query, ring);
      publish_event_segment(events_sequence_, query.get_int16(0, query.column("current")));
    }
    work.commit();
    has_published_segment_ = true;
  }
  if (ids_left(events_sequence_) >= kIdBlock / 2) return;
  Work work(*this, "webhook: drawing event ids");
  Query query(statements::draw_ids);
  query.run();
  const std::int64_t first = query.get_int64(0, query.column("first"));
  work.commit();
  publish_ids(events_sequence_, {first, first + kIdBlock});
}

}  // namespace webhook::pg
