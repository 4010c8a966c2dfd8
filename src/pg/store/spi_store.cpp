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
#include "pg/server/shared_state.h"
#include "pg/store/event_reader.h"
#include "pg/store/filter_evaluation.h"
#include "pg/store/replay_steps.h"
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

constexpr DeliveryKey kBeforeAllDeliveries{std::numeric_limits<std::int64_t>::min(), {}};
// How many rows of webhook_changes one step of clean_up() visits, and how many rows it deletes.
constexpr std::size_t kChangesPerStep = 20;
constexpr std::size_t kLeftOverPerStep = 500;

// Set by invalidation messages. Process-wide, because the callback has no other access to the store.
struct Watched {
  Oid announced[2] = {};  // [0]: invalidated by triggers and functions; [1]: webhook_instance, read in each step
  Oid tables[2] = {};     // invalidated by changes that fire no trigger, above all ALTER TABLE … DISABLE TRIGGER
  ConfigurationNews news = ConfigurationNews::kAnything;
};
Watched watched;

void note_invalidation(Datum /*argument*/, Oid relation) noexcept {
  const auto is_in = [relation](const Oid(&relations)[2]) {
    return relation == relations[0] || relation == relations[1];
  };
  if (relation == InvalidOid || is_in(watched.tables)) {
    watched.news = ConfigurationNews::kAnything;
  } else if (is_in(watched.announced)) {
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

Event event_of(const Query& query, std::size_t row) {
  Event event;
  event.id = query.get_int64(row, 0);
  event.xid = query.get_xid(row, 1);
  event.created_at = query.get_time(row, 2);
  event.name = query.get_text(row, 3);
  event.organization_id = query.get_optional_text(row, 4);
  event.key = query.get_optional_text(row, 5);
  event.data = query.get_optional_text(row, 6).value_or(std::string());
  event.previous = query.get_optional_text(row, 7).value_or(std::string());
  event.oversized_bytes = query.get_int64(row, 8);
  event.slot = query.get_int16(row, 9);
  event.known_switch = query.get_int32(row, 10);
  return event;
}

Checkpoint checkpoint_of(const Query& query, std::size_t row) {
  const auto from = parse_snapshot(query.get_text(row, 0));
  const auto to = parse_snapshot(query.get_text(row, 1));
  if (!from || !to) throw Error("XX001", "webhook_checkpoint holds a malformed snapshot");
  return {{*from, *to}, query.get_int64(row, 2), query.get_int64(row, 3)};
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
  for (std::size_t row = 0; row < rows; ++row) {
    checkpoints.of.push_back(checkpoint_of(query, row));
    checkpoints.are_of_this_count &= query.get_int32(row, 5) == count;
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
  extension_ = installed.get_oid(0, 0);
  schema_ = installed.get_oid(0, 1);
  set_extension_schema(installed.get_text(0, 2));
  installed_version_ = installed.get_text(0, 3);

  Query relations(statements::find_relations);
  relations.run();
  events_sequence_ = relations.get_oid(0, 0);
  for (int i = 0; i < 2; ++i) watched.announced[i] = relations.get_oid(0, i + 1);
  for (int i = 0; i < 2; ++i) watched.tables[i] = relations.get_oid(0, i + 3);
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
    stored = {.instance = identity.get_uuid(0, 0),
              .database = identity.get_oid(0, 1),
              .system_identifier = static_cast<std::uint64_t>(identity.get_int64(0, 2))};
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
      state.instance = create.get_uuid(0, 0);
      break;
    }
    case IdentityChange::kCopy: {
      Query drop(statements::delete_identity);
      drop.run();
      Query create(statements::create_paused_identity);
      create.bind(oid).bind(identifier).bind(kCopyReason).run();
      state.instance = create.get_uuid(0, 0);
      break;
    }
  }
  Query deferred(statements::read_deferred_webhooks);
  const std::size_t deferred_count = deferred.run();
  for (std::size_t row = 0; row < deferred_count; ++row) state.deferred.push_back(deferred.get_uuid(row, 0));
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
  if (outdated.get_boolean(0, 0)) {
    Query reencrypt(statements::reencrypt_secrets);
    reencrypt.run();
  }
  work.commit();
}

namespace {

// Reads the webhooks that exist, and what every step returns in addition.
void read_webhooks(const std::vector<Uuid>& ids, Configuration* configuration) {
  Query identity(statements::read_identity);
  if (identity.run() > 0) {
    configuration->instance = identity.get_uuid(0, 0);
    configuration->is_paused = identity.get_boolean(0, 3);
    configuration->paused_reason = identity.get_text(0, 4);
  }
  const SecretStore secrets;
  if (!secrets.file_problem().empty()) {
    configuration->key_file_problem = "webhook.secret_key_file cannot be used: " + secrets.file_problem();
  }
  if (ids.empty()) return;
  Query query(statements::read_webhooks);
  const std::size_t rows = query.bind(ids).run();
  configuration->webhooks.reserve(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    Webhook& webhook = configuration->webhooks.emplace_back();
    webhook.id = query.get_uuid(row, 0);
    webhook.organization_id = query.get_optional_text(row, 1);
    webhook.name = query.get_text(row, 2);
    webhook.url = query.get_text(row, 3);
    webhook.events = query.get_texts(row, 4);
    if (!query.is_null(row, 5)) webhook.headers = query.get_texts(row, 5);
    if (!query.is_null(row, 6)) open_secrets(secrets, query.get_texts(row, 6), &webhook);
    webhook.is_active = query.get_boolean(row, 7);
    webhook.active_since = query.get_time(row, 8);
    webhook.timeout = std::chrono::milliseconds(query.get_int32(row, 9));
    if (!query.is_null(row, 10)) {
      for (const std::int64_t delay_us : query.get_int64s(row, 10)) webhook.retry_schedule.emplace_back(delay_us);
    }
    webhook.limits = {.max_in_flight = query.get_int32(row, 11),
                      .rate_per_s = query.get_double(row, 13),
                      .ordering = ordering_of(query.get_text(row, 14))};
    webhook.filter = query.get_text(row, 12);
    webhook.created_at = query.get_time(row, 15);
    webhook.switches = query.get_int64s(row, 16);
    webhook.secrets_change_at = query.get_optional_time(row, 17);
    webhook.next_due = query.get_optional_time(row, 18);
    if (!query.get_boolean(row, 19)) continue;
    webhook.endpoint = EndpointState{.webhook = webhook.id,
                                     .webhook_created_at = webhook.created_at,
                                     .circuit_opened_at = query.get_optional_time(row, 20),
                                     .next_probe_at = query.get_optional_time(row, 21),
                                     .failing_since = query.get_optional_time(row, 22),
                                     .last_success_at = query.get_optional_time(row, 23),
                                     .last_failure_at = query.get_optional_time(row, 24),
                                     .last_error = query.get_text(row, 25),
                                     .filter_failed_at = query.get_optional_time(row, 26),
                                     .filter_error = query.get_text(row, 27)};
  }
}

Snapshot read_snapshot() {
  Query query(statements::current_snapshot);
  query.run();
  const auto snapshot = parse_snapshot(query.get_text(0, 0));
  if (!snapshot) throw Error("XX000", "could not read pg_current_snapshot()");
  return *snapshot;
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
    for (std::size_t row = 0; row < rows; ++row) ids.push_back(query.get_uuid(row, 0));
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
    for (std::size_t row = 0; row < rows; ++row) {
      const Uuid id = query.get_uuid(row, 1);
      const bool is_of_changes = next.source == 0;
      if (is_of_changes && query.get_boolean(row, 4)) {
        configuration.deleted.push_back({id, query.get_time(row, 2), query.get_optional_text(row, 3)});
        continue;
      }
      changed.insert(id);
      if (is_of_changes) pending_changed.insert(id);
    }
    if (rows == room) {
      next.xid = query.get_xid(rows - 1, 0);
      next.webhook = query.get_uuid(rows - 1, 1);
      configuration.is_all = false;
      break;
    }
    ++next.source;
    next.xid = 0;
    next.webhook = {};
    room = std::max<std::size_t>(room - rows, 2);
  }
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
  const auto snapshot = parse_snapshot(query.get_text(0, 0));
  if (!snapshot) throw Error("XX000", "could not read pg_current_snapshot()");
  // A webhook must be known before events are routed that are in the same snapshot as its creation. A transaction that
  // is no longer committing has been announced, so check for committing ones first.
  if (is_committing() && watched.news == ConfigurationNews::kNone) watched.news = ConfigurationNews::kChanges;
  guarded([] { AcceptInvalidationMessages(); });
  const std::int64_t last_log_id = query.get_int64(0, 1);
  work.commit();
  return {*snapshot, last_log_id};
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
    reading_.walked_to = std::max(after_id, lowest.get_int64(0, 0) - 1);
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
  if (rows > 0) reading_.walked_to = query.get_int64(rows - 1, 1);
  if (rows < step) reading_.too_large = false;
}

// Adds the window's events among the rows of find_events or walk_events, and makes their commits durable.
void SpiStore::note_found(const Query& query, std::size_t rows, const Window& window) {
  std::vector<FullXid> xids;
  reading_.found.reserve(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    const FullXid xid = query.get_xid(row, 2);
    if (!window.contains(xid)) continue;
    if (xids.empty() || xids.back() != xid) xids.push_back(xid);
    reading_.found.push_back({query.get_int64(row, 1), query.get_int32(row, 3), query.get_int16(row, 0)});
  }
  flush_commits(xids);
}

namespace {

std::size_t expanded_bytes(const Query& query, std::size_t row, int first_column, int last_column) {
  std::size_t bytes = 0;
  for (int column = first_column; column <= last_column; ++column) bytes += query.expanded_bytes(row, column);
  return bytes;
}

FoundEvents fetch_from(int slot, const std::vector<std::int64_t>& ids, std::size_t bytes_max) {
  if (std::optional<FoundEvents> found = read_events(slot, ids, bytes_max)) return std::move(*found);
  Query query(statements::read_events_by_id);
  const std::size_t rows = query.bind(slot).bind(ids).run();
  FoundEvents found;
  std::size_t bytes = 0;
  for (std::size_t row = 0; row < rows && !found.is_cut; ++row) {
    bytes += expanded_bytes(query, row, 3, 7);
    found.is_cut = row > 0 && bytes > bytes_max;
    if (!found.is_cut) found.events.push_back(event_of(query, row));
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
    holder = query.is_null(0, 0) ? "a prepared transaction"
                                 : "the transaction of process " + std::to_string(query.get_int32(0, 0));
  }
  work.commit();
  return holder;
}

std::int64_t SpiStore::log_test(const LogRow& row) {
  Work work(*this, "webhook: recording a test");
  write_logs_each({row});
  Query drawn(statements::last_log_id_drawn);
  drawn.run();
  const std::int64_t id = drawn.get_int64(0, 0);
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
  testable.is_paused = query.get_boolean(0, 0);
  testable.paused_reason = query.get_text(0, 1);
  testable.has_webhook = query.get_boolean(0, 2);
  testable.organization_id = query.get_optional_text(0, 3);
  testable.url = query.get_text(0, 4);
  testable.headers = query.get_texts(0, 5);
  Webhook signed_for{.id = webhook};
  open_secrets(SecretStore(), query.get_texts(0, 6), &signed_for);
  testable.secrets = std::move(signed_for.secrets);
  testable.secret_problem = std::move(signed_for.secret_problem);
  testable.timeout = std::chrono::milliseconds(query.get_int32(0, 7));
  testable.has_event = query.get_boolean(0, 8);
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
  due.is_all = rows == 0 || (static_cast<std::int64_t>(rows) == query.get_int64(0, 11) && rows < wanted.rows_max);
  due.deliveries.reserve(rows);
  std::size_t bytes = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    // The statement knows only the stored size. Expanded events may be larger.
    bytes += expanded_bytes(query, row, 2, 6);
    if (row > 0 && bytes > wanted.bytes_max) {
      due.is_all = false;
      break;
    }
    PendingDelivery& pending = due.deliveries.emplace_back();
    pending.event.id = query.get_int64(row, 0);
    pending.event.created_at = query.get_time(row, 1);
    pending.event.name = query.get_text(row, 2);
    pending.event.organization_id = query.get_optional_text(row, 3);
    pending.event.key = query.get_optional_text(row, 4);
    pending.event.data = query.get_optional_text(row, 5).value_or(std::string());
    pending.event.previous = query.get_optional_text(row, 6).value_or(std::string());
    pending.attempts = query.get_int32(row, 7);
    pending.probes = query.get_int32(row, 8);
    pending.pending_since = query.get_time(row, 9);
    pending.next_attempt_at = query.get_time(row, 10);
    pending.event.slot = query.get_int16(row, 12);
    pending.request = query.get_int64(row, 13);
  }
  Query next(statements::read_due_next);
  bind(next, wanted.webhook).bind(wanted.now).run();
  due.next = next.get_optional_time(0, 0);
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
    for (std::size_t row = 0; row < rows; ++row) ids.push_back(query.get_int64(row, 0));
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
    if (has_some) step.position = {write.get_time(0, 0), write.get_int64(0, 1)};
    step.is_all = !has_some || write.get_int64(0, 2) < static_cast<std::int64_t>(rows_max);
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
  for (std::size_t row = 0; row < keys; ++row) {
    const std::string key = count.get_text(row, 0);
    // A delivery without a key holds nothing back.
    if (!key.starts_with('#')) counts->emplace(key, count.get_int64(row, 1));
  }
  if (keys > 0 && count.get_int64(0, 2) > static_cast<std::int64_t>(rows_max)) counts.reset();
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
  for (std::size_t row = 0; row < rows; ++row) {
    std::tie(at.next_attempt_at, at.event_id) = std::max(
        std::tuple(at.next_attempt_at, at.event_id), std::tuple(pending.get_time(row, 0), pending.get_int64(row, 1)));
  }
  deleted += rows;
  if (deleted >= rows_max) return deleted;
  Query dead(statements::delete_left_dead);
  bind(dead, change.webhook).bind(at.dead_event_id);
  rows = dead.bind(static_cast<std::int64_t>(rows_max - deleted)).run();
  for (std::size_t row = 0; row < rows; ++row) at.dead_event_id = std::max(at.dead_event_id, dead.get_int64(row, 0));
  return deleted + rows;
}

bool SpiStore::clean_up(const Snapshot& known) {
  Work work(*this, "webhook: cleaning up after deleted webhooks");
  constexpr std::int64_t kFirst = std::numeric_limits<std::int64_t>::min();
  if (!cleaning_up_) {
    cleaning_up_.emplace(known);
    cleaning_up_->after.xid = cleaned_up_to_;
    cleaning_up_->event_id = cleaning_up_->dead_event_id = kFirst;
  }
  // The state to return to if the transaction fails.
  const CleaningUp next = *cleaning_up_;
  Query query(statements::find_left_over);
  query.bind_xid(next.after.xid).bind(next.after.webhook.id).bind(next.after.webhook.created_at);
  query.bind(next.after.is_deleted).bind(to_string(next.known));
  const std::size_t rows = query.bind(static_cast<std::int64_t>(kChangesPerStep)).run();
  std::size_t room = kLeftOverPerStep;
  bool is_over = rows < kChangesPerStep;
  try {
    for (std::size_t row = 0; row < rows; ++row) {
      const Change change{.xid = query.get_xid(row, 0),
                          .webhook = {query.get_uuid(row, 1), query.get_time(row, 2), query.get_optional_text(row, 3)},
                          .is_deleted = query.get_boolean(row, 4),
                          .webhook_exists = query.get_boolean(row, 5)};
      bool is_done = share_.owns(change.webhook.id);
      if (is_done && change.is_deleted && !change.webhook_exists) {
        // If a deletion is refused, the rows stay. Other webhooks go on.
        std::size_t deleted = 0;
        is_done = false;
        try_to([&] {
          deleted = delete_left_over(change, room);
          if (deleted >= room) return;
          Query left(statements::has_left_over);
          bind(left, change.webhook).run();
          is_done = !left.get_boolean(0, 0);
        });
        if (deleted >= room) {
          is_over = false;
          break;
        }
        room -= deleted;
        cleaning_up_->has_left |= !is_done;
      }
      if (is_done) {
        Query done(statements::delete_change);
        done.bind_xid(change.xid).bind(change.webhook.id).bind(change.webhook.created_at).bind(change.is_deleted).run();
      }
      cleaning_up_->after = change;
      cleaning_up_->next_attempt_at = {};
      cleaning_up_->event_id = cleaning_up_->dead_event_id = kFirst;
    }
    work.commit();
  } catch (...) {
    cleaning_up_ = next;
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
    current = query.get_int16(0, 0);
    full = is_segment_full(limits, query.get_time(0, 1), query.get_time(0, 2),
                           static_cast<std::uint64_t>(query.get_int64(0, 3)), query.get_int64(0, 4) == 0);
    too_large = static_cast<std::uint64_t>(query.get_int64(0, 5)) > limits.bytes_max;
    if (!query.is_null(0, 6)) oldest = query.get_int16(0, 6);
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
    is_all = save.run() == 0 || save.get_int64(0, 2) < kSaveStep;
    if (!is_all) last = {save.get_int64(0, 0), save.get_uuid(0, 1)};
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
  if (needed.get_boolean(0, 0)) {
    report->kept_because = holds_events(ring) ? "it holds events that are not settled yet"
                                              : "it holds attempts of events that are not settled yet";
    return false;
  }
  if (holds_events(ring)) {
    // Deliveries that became pending since the last step, or are locked.
    Query unsaved(statements::has_unsaved_events);
    unsaved.bind(slot).run();
    if (unsaved.get_boolean(0, 1)) {
      report->kept_because = "it holds events of pending deliveries that a transaction holds";
      return false;
    }
    if (unsaved.get_boolean(0, 0)) {
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
  const bool has_more = has_some && query.get_int64(0, 3) == kExpiredPerStep;
  const Expired last =
      has_more ? Expired{query.get_time(0, 0), query.get_int64(0, 1), query.get_uuid(0, 2)} : Expired{};
  Query given_up(statements::delete_old_given_up);
  given_up.bind(before).run();
  Query history(statements::delete_old_history);
  history.bind(kExpiredPerStep).run();
  Query replays(statements::delete_old_replays);
  replays.bind(kExpiredPerStep).run();
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
  for (std::size_t row = 0; row < locked; ++row) free.push_back(lock.get_int64(row, 0));
  Query remove(statements::delete_saved);
  const std::size_t removed = remove.bind(free).run();
  std::uint64_t bytes = 0;
  for (std::size_t row = 0; row < removed; ++row) bytes += static_cast<std::uint64_t>(remove.get_int64(row, 0));
  return bytes;
}

// Collects deliveries that were given up, to write one row to webhook_logs per webhook.
class GivenUp {
 public:
  // Adds a row of the deleting statement: event id, webhook, organization, event.
  void add(const Query& query, std::size_t row) {
    event_ids_.push_back(query.get_int64(row, 0));
    webhooks_.push_back(query.get_uuid(row, 1));
    organizations_.push_back(query.get_optional_text(row, 2));
    events_.emplace_back(query.get_text(row, 3));
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
  for (std::size_t row = 0; row < rows; ++row) {
    step.counts.push_back({.webhook = query.get_uuid(row, 0),
                           .organization_id = query.get_optional_text(row, 1),
                           .rows = static_cast<std::uint64_t>(query.get_int64(row, 2))});
  }
  if (rows > 0) {
    const DeliveryKey last{query.get_int64(0, 3), query.get_uuid(0, 4)};
    if (query.get_int64(0, 5) == static_cast<std::int64_t>(rows_max)) step.last = last;
    if (query.get_boolean(0, 6)) redate_pending(from, last);
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
    for (std::size_t row = 0; row < rows; ++row) given_up.add(pending, row);
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
  for (std::size_t row = 0; row < rows; ++row) {
    if (!walk.get_boolean(row, 3)) {
      unneeded.push_back(walk.get_int64(row, 0));
    } else if (const auto organization = walk.get_optional_text(row, 1)) {
      step.bytes[*organization] += static_cast<std::uint64_t>(walk.get_int64(row, 2));
    }
  }
  if (rows == events_max) step.last = walk.get_int64(rows - 1, 0);
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
  for (std::size_t row = 0; row < rows; ++row) ids.push_back(oldest.get_int64(row, 0));
  if (ids.empty()) return {};
  Query deliveries(statements::delete_deliveries_of);
  const std::size_t deleted = deliveries.bind(ids).bind(static_cast<std::int64_t>(rows_max)).run();
  GivenUp given_up;
  for (std::size_t row = 0; row < deleted; ++row) {
    if (deliveries.get_boolean(row, 4)) given_up.add(deliveries, row);
  }
  given_up.log(reason);
  const std::uint64_t freed = delete_saved(ids);
  work.commit();
  return {.bytes = freed, .more = freed > 0 || deleted > 0};
}

// --- Replays ---------------------------------------------------------------------------------------------------------

UnfinishedReplays SpiStore::unfinished_replays(std::int64_t after, std::size_t rows_max) {
  Work work(*this, "webhook: looking for replays");
  UnfinishedReplays found = read_unfinished_replays(after, rows_max);
  work.commit();
  return found;
}

ReplayStep SpiStore::replay_step(std::int64_t id, const Uuid& webhook, const ReplayBounds& bounds) {
  Work work(*this, "webhook: replaying events");
  const ReplayStep step = take_replay_step(id, bounds, deferred_.contains(webhook));
  work.commit();
  return step;
}

void SpiStore::fail_replay(std::int64_t id, const std::string& reason) {
  Work work(*this, "webhook: ending a replay");
  end_replay(id, reason);
  work.commit();
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
      publish_event_segment(events_sequence_, query.get_int16(0, 0));
    }
    work.commit();
    has_published_segment_ = true;
  }
  if (ids_left(events_sequence_) >= kIdBlock / 2) return;
  Work work(*this, "webhook: drawing event ids");
  Query query(statements::draw_ids);
  query.run();
  const std::int64_t first = query.get_int64(0, 0);
  work.commit();
  publish_ids(events_sequence_, {first, first + kIdBlock});
}

}  // namespace webhook::pg
