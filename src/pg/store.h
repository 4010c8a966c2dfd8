// The worker's view of the database. Each call is one transaction of its own, so that none is open while the worker
// waits for the network. spi_store.h implements it by SPI, the unit tests in memory.
//
// A call that fails throws Error, with its transaction rolled back; ExtensionGone if the extension was dropped.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/backlog.h"
#include "core/event.h"
#include "core/identity.h"
#include "core/lanes.h"
#include "core/ledger.h"
#include "core/ring.h"
#include "core/share.h"
#include "core/snapshot.h"
#include "core/statistics.h"
#include "core/time.h"
#include "core/uuid.h"
#include "pg/error.h"

namespace webhook::pg {

class ExtensionGone : public Error {
 public:
  ExtensionGone() : Error("42704", "extension \"webhook\" is not installed in this database") {}
};

// How a webhook's endpoint was found, for whoever reads webhook_stats, and for the next worker.
struct EndpointState {
  Uuid webhook;
  Time webhook_created_at{};              // tells which webhook of that id
  std::optional<Time> circuit_opened_at;  // nothing: it is closed
  std::optional<Time> next_probe_at;
  std::optional<Time> failing_since;  // the first failure since the last success
  std::optional<Time> last_success_at;
  std::optional<Time> last_failure_at;
  std::string last_error;
  std::optional<Time> filter_failed_at;  // when its filter last could not judge an event,
  std::string filter_error;              // and why
};

// Which webhook: an id may be given again once its webhook is deleted.
struct WebhookIdentity {
  Uuid id;
  Time created_at{};
  std::optional<std::string> organization_id;

  bool operator==(const WebhookIdentity&) const = default;
};

// A row of webhook_configurations with its secrets, and what stands elsewhere about it.
struct Webhook {
  Uuid id;
  std::optional<std::string> organization_id;
  std::string name;
  std::string url;
  std::vector<std::string> events;   // names and patterns
  std::string filter;                // jsonpath over the data; empty: none
  std::vector<std::string> headers;  // "Name: value"
  std::vector<std::string> secrets;  // newest first; those that expired left out
  bool is_active = false;
  Time created_at{};
  Time active_since{};  // if it is active
  // Ascending: the number of its creation, and of each time that it was switched on or off since. Empty: not known.
  std::vector<std::int64_t> switches;
  Duration timeout{};
  std::vector<Duration> retry_schedule;  // empty: the setting's
  LaneLimits limits;
  std::string secret_problem;             // why it cannot sign by its secrets; empty: it can
  std::optional<Time> secrets_change_at;  // when the next of its secrets expires
  std::optional<Time> next_due;           // of what it is owed; nothing: nothing is pending
  std::optional<EndpointState> endpoint;  // as a worker left it
  bool is_owed_changed = false;           // others than the worker have changed what it is owed

  WebhookIdentity identity() const { return {id, created_at, organization_id}; }

  // When an event was captured by a session that knew of no later switch, however late it is routed.
  bool was_active(std::int32_t known_switch) const {
    if (switches.empty()) return is_active;
    const auto later = std::ranges::upper_bound(switches, known_switch);
    if (later == switches.begin()) return false;  // it was created later
    return is_active == ((switches.end() - later) % 2 == 0);
  }

  // What is not, is owed: nothing goes out unsigned because a key is missing.
  bool is_deliverable() const { return is_active && secret_problem.empty(); }
};

// What one step of reading says is to be delivered.
struct Configuration {
  Snapshot snapshot;  // with which it was read
  // Another one than before: the database was restored while the worker ran. Nothing: none is stored.
  std::optional<Uuid> instance;
  bool is_paused = false;
  std::string paused_reason;
  std::string key_file_problem;  // what is wrong with webhook.secret_key_file; empty: nothing
  // To be taken over in this order: an id may be another webhook's by now.
  std::vector<WebhookIdentity> deleted;
  std::vector<Webhook> webhooks;
  bool is_all = true;  // there is nothing more to read
};

// What may have changed, as far as the worker has been told.
enum class ConfigurationNews : std::uint8_t {
  kNone,
  kChanges,   // changes() tells them
  kAnything,  // the tables may have been changed in a way that changes() does not find
};

struct StartState {
  IdentityVerdict verdict = IdentityVerdict::kSame;
  Uuid instance;
  Checkpoint checkpoint;
  std::vector<Uuid> deferred;  // webhooks, of whichever worker, with changes that are not applied yet
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
  bool success = false;
  int response_status = 0;    // 0: null
  std::string response_body;  // valid UTF-8
  std::string error;          // empty: null; valid UTF-8
  Duration elapsed{};
  std::string remote_ip;  // empty: null
  std::optional<Time> next_attempt_at;
};

// A delivery that has succeeded. request: as in OwedRow.
struct Finished {
  DeliveryKey key;
  std::int64_t request = 0;
};

// A row of webhook_deliveries; dead if next_attempt_at is nothing.
struct OwedRow {
  DeliveryKey key;
  // Which webhook_redeliver() or webhook_replay() the delivery was fetched with; 0: none. A row with another one says what
  // was asked for last, and stays.
  std::int64_t request = 0;
  Time webhook_created_at{};
  std::optional<std::string> organization_id;
  std::string event;
  std::optional<std::string> event_key;
  int slot = 0;       // of the event
  Time created_at{};  // likewise
  int attempts = 0;
  int probes = 0;  // of the attempts
  Time owed_since{};
  std::optional<Time> next_attempt_at;
  std::string last_error;  // empty: null
  std::optional<std::string> ordering_key;
};

// An event about a webhook itself, for the other webhooks of its organization.
struct OperationalEvent {
  std::string name;
  std::optional<std::string> organization_id;
  std::string data;  // JSON
};

// What one transaction records.
struct Batch {
  std::vector<LogRow> logs;
  std::vector<OwedRow> owed;       // inserted, or updated
  std::vector<Finished> finished;  // no longer owed: deleted
  std::vector<OperationalEvent> events;
  std::vector<EndpointState> endpoints;
  std::vector<MinuteOfWebhook> minutes;
  std::optional<Checkpoint> checkpoint;

  bool has_results() const { return !logs.empty() || !owed.empty() || !finished.empty() || !events.empty(); }
  bool empty() const { return !has_results() && endpoints.empty() && minutes.empty() && !checkpoint; }
};

// What disable() did.
enum class DisableResult : std::uint8_t {
  kDisabled,
  kNothingToDo,  // it is off already, gone, or has another URL
  kLocked,       // somebody has the row locked, or its change is refused
};

// What record() did. All results are durable.
struct Recorded {
  // Webhooks of which somebody else is writing rows of webhook_deliveries, or of which a row could not be written: what the
  // batch says of these is stored as a change for apply_deferred(), and counts as written but for due(), next_due(),
  // give_up_old(), write_ordering_keys() and owed_by_key(), which must wait for it.
  std::vector<Uuid> deferred;
  // Not written, because somebody has the rows locked.
  std::vector<MinuteOfWebhook> minutes;
  std::vector<Uuid> endpoints;
  // Why a row of webhook_logs lacks what the attempt brought, or statistics were dropped. Empty: nothing of that kind.
  std::string problem;
};

// What apply_deferred() did for a webhook.
struct Applied {
  enum class State : std::uint8_t {
    kBusy,    // somebody else is writing its rows still
    kFailed,  // it took time and was in vain: a row is locked, or refused for a reason that may pass
    kMore,    // some of the changes are applied
    kDone,    // all are
  };
  Uuid webhook;
  State state = State::kBusy;
  std::optional<Time> next_due;  // kDone: of what is owed to it
  std::string problem;           // why it failed, if nobody has locked it; or why a delivery was given up
};

// What write_ordering_keys() did.
struct OrderingStep {
  bool is_busy = false;  // somebody else is writing the webhook's rows, or one is refused: nothing is done
  bool is_all = false;
  Backlog::Position position;  // of the last row
};

struct Chunk {
  std::vector<Event> events;  // in id order
  bool window_is_read = false;
};

// What had happened at one moment.
struct LogHead {
  Snapshot snapshot;
  // No lower id is drawn for webhook_logs any more, by whichever worker. Read after the snapshot was taken: a row about an
  // event that has not finished in a later snapshot has an id above it.
  std::int64_t last_log_id = 0;
};

// A pending row of webhook_deliveries with its event, whose data is empty if nothing holds it any more.
struct OwedDelivery {
  Event event;
  int attempts = 0;          // already made
  int probes = 0;            // of those
  std::int64_t request = 0;  // as in OwedRow
  Time owed_since{};
  Time next_attempt_at{};
};

// What due() looks for.
struct DueQuery {
  WebhookIdentity webhook;
  Time now{};
  // With ordering: the oldest deliveries, of each ordering_key only if the oldest of all with it is due. Else by
  // next_attempt_at, behind `after`.
  bool in_order = false;
  Backlog::Position after;
  std::size_t rows_max = 0;
  // Of the events, as they are expanded in memory; one comes in any case.
  std::size_t bytes_max = 0;
};

struct Due {
  std::vector<OwedDelivery> deliveries;  // the longest due first; in_order: the oldest events first
  bool is_all = true;                    // no more are due
  std::optional<Time> next;              // when the next one is, of those that are not due yet
};

// What webhook_test() sends, as far as it is committed.
struct Testable {
  bool is_paused = false;
  std::string paused_reason;
  bool has_webhook = false;
  bool has_event = false;
  std::optional<std::string> organization_id;
  std::string url;
  std::vector<std::string> headers;  // these as in Webhook
  std::vector<std::string> secrets;  //
  std::string secret_problem;        // why one cannot be decrypted; empty: they all can
  Duration timeout{};                //
  std::string example;               // the event's, JSON in UTF-8
};

enum class FilterAnswer : std::uint8_t {
  kNotAsked,  // the call had no time for it: to be asked again
  kMatch,
  kNoMatch,
  kError,    // it cannot be evaluated on this data
  kBeyond,   // the data is beyond the bounds within which filters see it
  kOverrun,  // it took too long
};

// How many rows a webhook has in a part of webhook_deliveries.
struct OwedCount {
  Uuid webhook;
  std::optional<std::string> organization_id;
  std::uint64_t rows = 0;
};

struct OwedStep {
  std::vector<OwedCount> counts;
  std::optional<DeliveryKey> last;  // nothing: there are no more
};

// How many bytes organizations have in a part of the saved events.
struct SavedStep {
  std::unordered_map<std::string, std::uint64_t> bytes;
  std::optional<std::int64_t> last;  // nothing: there are no more
};

struct SavedGivenUp {
  std::uint64_t bytes = 0;  // of the events that went
  bool more = false;        // something went, and there may be more
};

// What filter() makes of an event's data and of a filter when it first sees them. The caller keeps it for the next call,
// so that nothing is made twice; only filter() knows what is in it.
struct FilterData {
  bool is_made = false;
  std::string jsonb;
  FilterAnswer problem = FilterAnswer::kNotAsked;  // or why there is none,
  std::string error;                               // if that is kError, in words
  bool has_long_number_text = false;               // see JsonBounds
};
struct CompiledFilter {
  std::string text;  // what it was made of
  std::string jsonpath;
};

// Whether an event's data passes a webhook's filter. The pointers are good as long as the call lasts.
struct FilterQuestion {
  const std::string* filter = nullptr;
  CompiledFilter* compiled = nullptr;
  const std::string* data = nullptr;
  FilterData* made = nullptr;
  FilterAnswer answer = FilterAnswer::kNotAsked;
  std::string error;  // for kError: why
};

// The questions of one organization: those about an event stand together.
struct FilterGroup {
  std::vector<FilterQuestion> questions;
  Duration cost{};  // what they took of the worker's time
};

// The excess: what organizations write beyond their shares.
enum class Ring : std::uint8_t { kEvents, kExcessEvents, kLogs, kExcessLogs };
inline constexpr std::size_t kRings = 4;
constexpr bool holds_events(Ring ring) { return ring == Ring::kEvents || ring == Ring::kExcessEvents; }

// What maintain_ring() did.
struct RingReport {
  bool more = false;         // there is more to do at once
  std::string kept_because;  // not empty: the ring should have turned and could not
};

class Store {
 public:
  virtual ~Store() = default;

  // Reads, or on the first start and in a copy writes, who this database is and how far this worker of it got. If there
  // were another number of workers before, all of the new ones go on from the oldest checkpoint of the old ones, none of
  // which may run any more.
  virtual StartState start(const WorkerShare& share) = 0;

  // The first webhooks_max behind that id, in the order of their ids, of those that exist now.
  virtual Configuration webhooks(const std::optional<Uuid>& after, std::size_t webhooks_max) = 0;
  // These, if they exist.
  virtual Configuration webhooks(const std::vector<Uuid>& ids) = 0;
  // The next step through what has changed between two snapshots: from known, until now. If it was the last one, the
  // changes are known of all that had finished in its snapshot. Else the next call, with the same `known`, goes on; after
  // its last step, known is what the first step returned as its snapshot.
  virtual Configuration changes(const Snapshot& known, std::size_t changes_max) = 0;
  // What there may be to read since the last call of this. No transaction; up to date after any call.
  virtual ConfigurationNews take_news() = 0;
  virtual bool has_news() const = 0;

  virtual LogHead current_head() = 0;
  // The window's events behind after_id, at most events_max, and no more of them than bytes_max once they are expanded in
  // memory; one comes in any case. Returns only what is durable, even if it was committed with synchronous_commit off.
  virtual Chunk read(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max) = 0;

  // What was logged, by any worker, above the floor.
  virtual std::vector<DeliveryKey> logged_since(std::int64_t log_floor) = 0;
  // Those of these events that webhook_deliveries holds.
  virtual std::vector<DeliveryKey> owed_of(const std::vector<std::int64_t>& event_ids) = 0;

  // Evaluates filters: of each group at least the first question, if it has any, and as many more, in their order, as a
  // bound of time lets it. When the whole has had its time, the groups that are left have no answer. No group's failure or
  // time is another's.
  virtual void filter(std::vector<FilterGroup>* groups) = 0;

  // Logs the attempt of a test by itself, and returns the id of its row.
  virtual std::int64_t log_test(const LogRow& row) = 0;
  // Records a batch, durably. Waits for nobody who writes what is owed to a webhook.
  virtual Recorded record(const Batch& batch) = 0;
  // Applies what is deferred of these webhooks, in this order: of one at most, and there rows_max changes at most. Returns
  // what became of those that it has come to.
  virtual std::vector<Applied> apply_deferred(const std::vector<Uuid>& webhooks, std::size_t rows_max) = 0;
  // Who keeps the webhook's deliveries from being recorded, for the log.
  virtual std::string holder(const Uuid& webhook) = 0;
  // Switches the webhook off, unless its URL is another one by now, and emits the event, if it did.
  virtual DisableResult disable(const WebhookIdentity& webhook, const std::string& url, const std::string& reason,
                                const OperationalEvent& event) = 0;

  virtual Testable testable(const Uuid& webhook, Time created_at, const std::string& event) = 0;

  // The pending deliveries of a webhook that are due.
  virtual Due due(const DueQuery& query) = 0;
  // Gives up the oldest pending deliveries of a webhook that are due and have been owed since before, at most rows_max,
  // each with a row in webhook_logs. Returns their events' ids.
  virtual std::vector<std::int64_t> give_up_old(const WebhookIdentity& webhook, Time before, const std::string& reason,
                                                std::size_t rows_max) = 0;
  // Writes the webhook's ordering into the next rows that it is owed, behind `after`, at most rows_max.
  virtual OrderingStep write_ordering_keys(const WebhookIdentity& webhook, Ordering ordering,
                                           const Backlog::Position& after, std::size_t rows_max) = 0;
  // How much is owed to it by ordering_key; nothing: more than rows_max rows.
  virtual std::optional<std::unordered_map<std::string, std::int64_t>> owed_by_key(const WebhookIdentity& webhook,
                                                                                   std::size_t rows_max) = 0;
  // Takes a step in deleting what is left of deleted webhooks of this worker's share. known: the worker knows of all
  // changes that had finished in it. Returns whether there is more to do now; what somebody has locked is for another time.
  virtual bool clean_up(const Snapshot& known) = 0;

  // Takes the ring one step further, if the current segment is full, and empties the oldest segment, if the ring is too
  // large.
  virtual RingReport maintain_ring(Ring ring, const RingLimits& limits) = 0;
  // Deletes dead deliveries of events from before, some at a time. Returns whether there may be more.
  virtual bool delete_expired(Time before) = 0;

  // One step of counting what webhook_deliveries holds, pending and dead: behind `after`, at most rows_max rows. What a
  // clock has dated that was ahead of the present one is given the date that it was to have.
  virtual OwedStep count_owed(const std::optional<DeliveryKey>& after, std::size_t rows_max) = 0;
  // Deletes at most rows_max deliveries of a webhook: the oldest that are dead, then those that are due last,
  // with one row in webhook_logs for all. Returns how many.
  virtual std::size_t give_up_excess(const Uuid& webhook, const std::string& reason, std::size_t rows_max) = 0;
  // One step through the events that outlived their segment: behind `after`, at most events_max. Deletes those that no
  // delivery refers to any more.
  virtual SavedStep tidy_saved(std::int64_t after, std::size_t events_max) = 0;
  // Deletes an organization's oldest saved events, of about so many bytes, with the deliveries that refer to them, at most
  // rows_max: the pending ones with a row in webhook_logs for each webhook.
  virtual SavedGivenUp give_up_saved(const std::string& organization, std::uint64_t bytes, const std::string& reason,
                                     std::size_t rows_max) = 0;

  // Makes sure that capture has ids in memory.
  virtual void refill_ids() = 0;
};

}  // namespace webhook::pg

template <>
struct std::hash<webhook::pg::DeliveryKey> {
  std::size_t operator()(const webhook::pg::DeliveryKey& key) const noexcept {
    return std::hash<webhook::Uuid>()(key.webhook) ^ (static_cast<std::size_t>(key.event_id) * 0x9e3779b97f4a7c15ULL);
  }
};
