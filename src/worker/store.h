// The worker's view of the database. Each call is one transaction, so none is open while the worker waits for the
// network. spi_store.h implements it with SPI, the unit tests in memory.
//
// A call that fails rolls back its transaction and throws Error, or ExtensionGone if the extension was dropped.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/backlog.h"
#include "core/error.h"
#include "core/event.h"
#include "core/identity.h"
#include "core/lanes.h"
#include "core/ledger.h"
#include "core/node_shares.h"
#include "core/ring.h"
#include "core/share.h"
#include "core/snapshot.h"
#include "core/statistics.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/replay_store.h"

namespace webhook {

class ExtensionGone : public Error {
 public:
  ExtensionGone() : Error("42704", "extension \"webhook\" is not installed in this database") {}
};

// The state of a webhook's endpoint, for readers of webhook_stats and for the next worker.
struct EndpointState {
  Uuid webhook;
  Time webhook_created_at{};              // with the id, identifies the webhook
  std::optional<Time> circuit_opened_at;  // nullopt: the circuit is closed
  std::optional<Time> next_probe_at;
  std::optional<Time> failing_since;  // the first failure since the last success
  std::optional<Time> last_success_at;
  std::optional<Time> last_failure_at;
  std::string last_error;
  std::optional<Time> filter_failed_at;  // when the filter last failed to judge an event
  std::string filter_error;              // why the filter failed then

  bool operator==(const EndpointState&) const = default;
};

// Identifies a webhook. An id alone does not, because a new webhook may reuse the id of a deleted one.
struct WebhookIdentity {
  Uuid id;
  Time created_at{};
  std::optional<std::string> organization_id;

  bool operator==(const WebhookIdentity&) const = default;
};

// A row of webhook_configurations, with its secrets and what other tables hold about the webhook.
struct Webhook {
  Uuid id;
  std::optional<std::string> organization_id;
  std::string name;
  std::string url;
  std::vector<std::string> events;   // names and patterns
  std::string filter;                // jsonpath over the event's data; empty: none
  std::vector<std::string> headers;  // "Name: value"
  std::vector<std::string> secrets;  // newest first, without expired ones
  bool is_active = false;
  int version = 0;  // webhook_configurations.version
  Time created_at{};
  Time active_since{};  // meaningful only if is_active
  // Ascending: the number of the webhook's creation, then of each time it was switched on or off. Empty: unknown.
  std::vector<std::int64_t> switches;
  Duration timeout{};
  std::vector<Duration> retry_schedule;  // empty: use the setting
  LaneLimits limits;
  std::string secret_problem;             // why its secrets cannot sign; empty: they can
  bool is_undecryptable = false;          // it has a secret that cannot be decrypted
  std::optional<Time> secrets_change_at;  // when the next secret expires
  std::optional<Time> next_due;           // of its pending deliveries; nullopt: none
  std::optional<EndpointState> endpoint;  // as a worker last saved it
  bool is_pending_changed = false;        // somebody other than a worker changed its pending deliveries

  bool operator==(const Webhook&) const = default;

  WebhookIdentity identity() const { return {id, created_at, organization_id}; }

  // Whether the webhook was active for an event that a session captured while it knew of no switch after known_switch.
  // The time of routing does not matter.
  bool was_active(std::int32_t known_switch) const {
    if (switches.empty()) return is_active;
    const auto later = std::ranges::upper_bound(switches, known_switch);
    if (later == switches.begin()) return false;  // the webhook was created later
    return is_active == ((switches.end() - later) % 2 == 0);
  }

  // Deliveries of a webhook that is not deliverable stay pending. Nothing is sent unsigned because a key is missing.
  bool is_deliverable() const { return is_active && secret_problem.empty(); }
};

// What one step of reading the configuration returns.
struct Configuration {
  Snapshot snapshot;  // that the configuration was read with
  // Differs from the known instance if the database was restored while the worker ran. nullopt: none is stored.
  std::optional<Uuid> instance;
  bool is_paused = false;
  std::string paused_reason;
  std::string key_file_problem;  // what is wrong with webhook.secret_key_file; empty: nothing
  NodeShares nodes;
  // Apply deleted before webhooks: a new webhook may have the id of a deleted one.
  std::vector<WebhookIdentity> deleted;
  std::vector<Webhook> webhooks;
  bool is_all = true;  // false: there is more to read
};

// What may have changed, as far as the worker was told.
enum class ConfigurationNews : std::uint8_t {
  kNone,
  kChanges,   // changes() returns them
  kAnything,  // the tables may have changed in a way that changes() does not find
};

struct StartState {
  IdentityChange verdict = IdentityChange::kSame;
  Uuid instance;
  Checkpoint checkpoint;
  std::vector<Uuid> deferred;  // webhooks of any worker with deferred changes that are not applied yet
};

struct DeliveryKey {
  std::int64_t event_id = 0;
  Uuid webhook;

  bool operator==(const DeliveryKey&) const = default;
};

// A row of webhook_logs.
struct LogRow {
  Time created_at{};
  Uuid webhook;
  std::optional<std::string> organization_id;
  std::int64_t event_id = 0;
  std::string event;
  int attempt = 0;
  int configuration_version = 0;  // 0: null
  bool success = false;
  int response_status = 0;       // 0: null
  std::string response_body;     // valid UTF-8
  std::string response_headers;  // empty: null; valid UTF-8
  std::string error;             // empty: null; valid UTF-8
  Duration elapsed{};
  std::string remote_ip;  // empty: null
  std::optional<Time> next_attempt_at;
};

// A delivery that has succeeded. request: see DeliveryRow.
struct Finished {
  DeliveryKey key;
  std::int64_t request = 0;
};

// A row of webhook_deliveries. It is dead if next_attempt_at is nullopt, otherwise pending.
struct DeliveryRow {
  DeliveryKey key;
  // The webhook_redeliver() or webhook_replay() call that the delivery was fetched with; 0: none. A stored row with
  // another request was asked for later, so it stays.
  std::int64_t request = 0;
  Time webhook_created_at{};
  std::optional<std::string> organization_id;
  std::string event;
  std::optional<std::string> event_key;
  int segment = 0;    // of the event
  Time created_at{};  // of the event
  int attempts = 0;
  int probes = 0;  // how many of the attempts were probes
  Time pending_since{};
  std::optional<Time> next_attempt_at;
  Time decided_at{};       // when next_attempt_at was computed, by the same clock
  std::string last_error;  // empty: null
  std::optional<std::string> ordering_key;
};

// An event about a webhook itself, sent to the other webhooks of its organization.
struct OperationalEvent {
  std::string name;
  std::optional<std::string> organization_id;
  std::string data;  // JSON
};

// What one transaction records.
struct Batch {
  std::vector<LogRow> logs;
  std::vector<DeliveryRow> deliveries;  // to insert or update
  std::vector<Finished> finished;       // no longer pending: to delete
  std::vector<OperationalEvent> events;
  std::vector<EndpointState> endpoints;
  std::vector<MinuteOfWebhook> minutes;
  std::optional<Checkpoint> checkpoint;

  bool has_results() const { return !logs.empty() || !deliveries.empty() || !finished.empty() || !events.empty(); }
  bool empty() const { return !has_results() && endpoints.empty() && minutes.empty() && !checkpoint; }
};

// The outcome of disable().
enum class DisableResult : std::uint8_t {
  kDisabled,
  kNothingToDo,  // it is inactive already, deleted, or has another URL
  kLocked,       // the row is locked, or the change was refused
};

// The outcome of record(). All results are durable.
struct Recorded {
  // Webhooks for which another transaction writes rows of webhook_deliveries, or for which a row could not be written.
  // Their part of the batch is stored as changes for apply_deferred(). These changes count as written, except that
  // due(), next_due, give_up_old(), write_ordering_keys() and pending_by_key() must wait until they are applied.
  std::vector<Uuid> deferred;
  // Rows not written, because they are locked.
  std::vector<MinuteOfWebhook> minutes;
  std::vector<Uuid> endpoints;
  // Why a row of webhook_logs lacks the attempt's response and error, or why statistics were dropped. Empty: neither
  // happened.
  std::string problem;
};

// The outcome of serve_nodes().
struct NodesServed {
  bool has_more = false;              // that can be done now
  bool is_checkpoint_wanted = false;  // others wait for a later checkpoint of this worker, though it delivers nothing
  bool is_waiting = false;            // something is to be done soon
};

// The outcome of apply_deferred() for a webhook.
struct Applied {
  enum class State : std::uint8_t {
    kBusy,    // another transaction is still writing its rows
    kFailed,  // time was spent in vain: a row is locked, or refused for a reason that may pass
    kMore,    // some of the changes are applied
    kDone,    // all changes are applied
  };
  Uuid webhook;
  State state = State::kBusy;
  std::optional<Time> next_due;  // kDone: of its pending deliveries
  std::string problem;           // why it failed, unless because of a lock; or why a delivery was given up
};

// The outcome of write_ordering_keys().
struct OrderingStep {
  bool is_busy = false;  // another transaction is writing the webhook's rows, or a row is refused: nothing was done
  bool is_all = false;
  Backlog::Position position;  // of the last row
};

struct Chunk {
  std::vector<Event> events;  // in id order
  bool window_is_read = false;
};

// The state of the event log and the delivery log at one moment.
struct LogHead {
  Snapshot snapshot;
  // No worker draws an id up to this one for webhook_logs any more. It is read after the snapshot was taken, so a log
  // row about an event that is not finished in a later snapshot has a higher id.
  std::int64_t last_log_id = 0;
};

// A pending row of webhook_deliveries with its event. The event's data is empty if it is stored nowhere any more.
struct PendingDelivery {
  Event event;
  int attempts = 0;          // already made
  int probes = 0;            // how many of the attempts were probes
  std::int64_t request = 0;  // see DeliveryRow
  Time pending_since{};
  Time next_attempt_at{};
};

// The arguments of due().
struct DueQuery {
  WebhookIdentity webhook;
  Time now{};
  // true: oldest events first, and those of an ordering_key only if its oldest pending delivery is due.
  // false: by next_attempt_at, starting after `after`.
  bool in_order = false;
  Backlog::Position after;
  std::size_t rows_max = 0;
  // The limit on the events' size when expanded in memory. One event is returned in any case.
  std::size_t bytes_max = 0;
};

struct Due {
  std::vector<PendingDelivery> deliveries;  // the longest due first; in_order: the oldest events first
  bool is_all = true;                       // false: more are due
  std::optional<Time> next;                 // when the next delivery becomes due, among those that are not due yet
};

// What webhook_test() sends, from committed data.
struct Testable {
  bool is_paused = false;
  std::string paused_reason;
  bool has_webhook = false;
  bool has_event = false;
  std::optional<std::string> organization_id;
  int version = 0;  // as in Webhook
  std::string url;
  std::vector<std::string> headers;  // as in Webhook
  std::vector<std::string> secrets;  // as in Webhook
  std::string secret_problem;        // why a secret cannot be decrypted; empty: all can
  Duration timeout{};                // as in Webhook
};

enum class FilterAnswer : std::uint8_t {
  kNotAsked,  // the call ran out of time: ask again
  kMatch,
  kNoMatch,
  kError,    // the filter cannot be evaluated on this data
  kBeyond,   // the data exceeds the bounds for filters
  kOverrun,  // the evaluation took too long
};

// How many rows a webhook has in a part of webhook_deliveries.
struct DeliveryCount {
  Uuid webhook;
  std::optional<std::string> organization_id;
  std::uint64_t rows = 0;
  std::uint64_t dead = 0;  // of these
};

struct DeliveryCounts {
  std::vector<DeliveryCount> counts;
  std::optional<DeliveryKey> last;  // nullopt: there are no more
};

// How many bytes organizations have in a part of the saved events.
struct SavedStep {
  std::unordered_map<std::string, std::uint64_t> bytes;
  std::optional<std::int64_t> last;  // nullopt: there are no more
};

struct SavedGivenUp {
  std::uint64_t bytes = 0;  // of the deleted events
  bool more = false;        // something was deleted, and there may be more
};

// What filter() prepares from an event's data, or from a filter, on first use. The caller keeps it for later calls, so
// that nothing is prepared twice. Only filter() interprets it.
struct FilterData {
  bool is_made = false;
  std::string jsonb;
  FilterAnswer problem = FilterAnswer::kNotAsked;  // why jsonb is missing, if it is
  std::string error;                               // for kError: the reason in words
  bool has_long_number_text = false;               // see JsonBounds
};
struct CompiledFilter {
  std::string text;  // the filter that jsonpath was compiled from
  std::string jsonpath;
};

// The question whether an event's data passes a webhook's filter. The pointers must be valid during the call.
struct FilterQuestion {
  const std::string* filter = nullptr;
  CompiledFilter* compiled = nullptr;
  const std::string* data = nullptr;
  FilterData* made = nullptr;
  FilterAnswer answer = FilterAnswer::kNotAsked;
  std::string error;  // for kError: why
};

// The questions of one organization. Questions about the same event are adjacent.
struct FilterGroup {
  std::vector<FilterQuestion> questions;
  Duration cost{};  // processor time that they took
};

// Excess rings hold what organizations write beyond their shares.
enum class Ring : std::uint8_t { kEvents, kExcessEvents, kLogs, kExcessLogs };
inline constexpr std::size_t kRings = 4;
constexpr bool holds_events(Ring ring) { return ring == Ring::kEvents || ring == Ring::kExcessEvents; }

// The outcome of maintain_ring().
struct RingReport {
  bool more = false;         // call it again at once
  std::string kept_because;  // not empty: why a ring that should have turned could not
  std::uint64_t bytes = 0;   // of the whole ring, with indexes
};

class Store : public ReplayStore {
 public:
  // Whether a call has found the extension's SQL objects in another version than at the start. They still serve this
  // worker, which is to end, so that the next one makes use of all that they have.
  virtual bool is_updated() const = 0;

  // Reads the identity of this database and this worker's checkpoint. On the first start, and in a copy of a database,
  // writes them instead. If the number of workers has changed, every new worker starts from the oldest checkpoint of
  // the old workers. The old workers must have ended.
  virtual StartState start(const WorkerShare& share) = 0;

  // The first webhooks_max existing webhooks with an id after `after`, in the order of their ids.
  virtual Configuration webhooks(const std::optional<Uuid>& after, std::size_t webhooks_max) = 0;
  // The webhooks with these ids that exist.
  virtual Configuration webhooks(const std::vector<Uuid>& ids) = 0;
  // The next step through the changes since the snapshot `known`. If is_all, the worker now knows all changes that had
  // finished in the returned snapshot. Otherwise call again with the same `known`. After the last step, the next
  // `known` is the snapshot that the first step returned.
  virtual Configuration changes(const Snapshot& known, std::size_t changes_max) = 0;
  // What may have changed since the last call of this function. Opens no transaction. Up to date after any other call.
  virtual ConfigurationNews take_news() = 0;
  virtual bool has_news() const = 0;

  virtual LogHead current_head() = 0;
  // The window's events after after_id: at most events_max, and at most bytes_max when expanded in memory, but one in
  // any case. Returns only what is durable, even if it was committed with synchronous_commit off.
  virtual Chunk read(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max) = 0;

  // The deliveries that any worker logged above the floor.
  virtual std::vector<DeliveryKey> logged_since(std::int64_t log_floor) = 0;
  // The deliveries of these events that webhook_deliveries holds.
  virtual std::vector<DeliveryKey> pending_of(const std::vector<std::int64_t>& event_ids) = 0;

  // Evaluates filters. Answers at least the first question of each group, and more of them in order as the group's time
  // limit allows. When the time for the whole call is over, the remaining groups get no answer. A failure or overrun in
  // one group does not affect another.
  virtual void filter(std::vector<FilterGroup>* groups) = 0;

  // Logs the attempt of a test in its own transaction, and returns the row's id.
  virtual std::int64_t log_test(const LogRow& row) = 0;
  // Records a batch durably. Does not wait for transactions that write a webhook's deliveries.
  virtual Recorded record(const Batch& batch) = 0;
  // Applies deferred changes of these webhooks, in this order: at most rows_max changes, all of one webhook. Returns
  // the outcome for each webhook that it reached.
  virtual std::vector<Applied> apply_deferred(const std::vector<Uuid>& webhooks, std::size_t rows_max) = 0;
  // Describes, for the log, who keeps the webhook's deliveries from being recorded.
  virtual std::string holder(const Uuid& webhook) = 0;
  // Deactivates the webhook and emits the event, unless the webhook's URL has changed.
  virtual DisableResult disable(const WebhookIdentity& webhook, const std::string& url, const std::string& reason,
                                const OperationalEvent& event) = 0;

  virtual Testable testable(const Uuid& webhook, Time created_at, const std::string& event) = 0;

  // The due pending deliveries of a webhook.
  virtual Due due(const DueQuery& query) = 0;
  // Gives up the oldest due deliveries of a webhook that have been pending since before `before`: at most rows_max,
  // each with a row in webhook_logs. Returns the ids of their events.
  virtual std::vector<std::int64_t> give_up_old(const WebhookIdentity& webhook, Time before, const std::string& reason,
                                                std::size_t rows_max) = 0;
  // Writes the webhook's ordering into its next pending rows after `after`, at most rows_max.
  virtual OrderingStep write_ordering_keys(const WebhookIdentity& webhook, Ordering ordering,
                                           const Backlog::Position& after, std::size_t rows_max) = 0;
  // How many deliveries are pending, by ordering_key. nullopt: more than rows_max rows.
  virtual std::optional<std::unordered_map<std::string, std::int64_t>> pending_by_key(const WebhookIdentity& webhook,
                                                                                      std::size_t rows_max) = 0;
  // Takes one step in deleting what remains of deleted webhooks in this worker's share. known: the worker knows all
  // changes that had finished in this snapshot. Returns whether there is more to do now. Locked rows are left for
  // later.
  virtual bool clean_up(const Snapshot& known) = 0;

  // Turns the ring to the next segment if the current one is full. Empties the oldest segment if the ring is too large.
  virtual RingReport maintain_ring(Ring ring, const RingLimits& limits) = 0;
  // Deletes some of the dead deliveries of events from before `before`, and of the history and the ended replays of more
  // than 90 days ago. Returns whether there may be more dead deliveries.
  virtual bool delete_expired(Time before) = 0;

  // Does some of what this database has to do for other nodes with the same webhooks. Each worker calls it. known: the
  // nodes that are gone, as the worker knows them in all that it does from now on.
  virtual NodesServed serve_nodes(const std::vector<std::string>& known) = 0;

  // One step of counting the rows of webhook_deliveries, pending and dead: at most rows_max rows after `after`. Also
  // corrects the dates of rows that were written while the clock was ahead of the present one.
  virtual DeliveryCounts count_deliveries(const std::optional<DeliveryKey>& after, std::size_t rows_max) = 0;
  // Deletes at most rows_max deliveries of a webhook: dead ones first, oldest first, then the pending ones that are due
  // last. Writes one row to webhook_logs for all pending ones. Returns how many were deleted.
  virtual std::size_t give_up_excess(const Uuid& webhook, const std::string& reason, std::size_t rows_max) = 0;
  // One step through the events that outlived their segment: at most events_max after `after`. Deletes events that no
  // delivery refers to any more.
  virtual SavedStep tidy_saved(std::int64_t after, std::size_t events_max) = 0;
  // Deletes about this many bytes of an organization's oldest saved events, and at most rows_max deliveries that refer
  // to them. Writes one row to webhook_logs for each webhook that loses pending deliveries.
  virtual SavedGivenUp give_up_saved(const std::string& organization, std::uint64_t bytes, const std::string& reason,
                                     std::size_t rows_max) = 0;

  // Makes sure that capture has ids in memory.
  virtual void refill_ids() = 0;
};

}  // namespace webhook

template <>
struct std::hash<webhook::DeliveryKey> {
  std::size_t operator()(const webhook::DeliveryKey& key) const noexcept {
    return std::hash<webhook::Uuid>()(key.webhook) ^ (static_cast<std::size_t>(key.event_id) * 0x9e3779b97f4a7c15ULL);
  }
};
