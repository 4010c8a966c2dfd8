// The worker's view of the database. Each call is one transaction of its own, so that none is open while the worker
// waits for the network. spi_store.h implements it by SPI, the unit tests in memory.
//
// A call that fails throws Error, with its transaction rolled back; ExtensionGone if the extension was dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/event.h"
#include "core/identity.h"
#include "core/ledger.h"
#include "core/ring.h"
#include "core/snapshot.h"
#include "core/time.h"
#include "core/uuid.h"
#include "pg/error.h"

namespace webhook::pg {

class ExtensionGone : public Error {
 public:
  ExtensionGone() : Error("42704", "extension \"webhook\" is not installed in this database") {}
};

// A row of webhook_configurations with its secrets.
struct Webhook {
  Uuid id;
  std::optional<std::string> organization_id;
  std::string name;
  std::string url;
  std::vector<std::string> events;   // names and patterns
  std::vector<std::string> headers;  // "Name: value"
  std::vector<std::string> secrets;  // newest first; those that expired left out
  bool is_active = false;
  Time active_since{};  // events from before it are not its
  Duration timeout{};
  std::vector<Duration> retry_schedule;  // empty: the setting's
  int max_in_flight = 1;
  std::string secret_problem;  // why a secret cannot be decrypted; empty: they all can

  // What is not, is owed: nothing goes out unsigned because a key is missing.
  bool is_deliverable() const { return is_active && secret_problem.empty(); }
};

// What the database says is to be delivered.
struct Configuration {
  // Another one than before: the database was restored while the worker ran. Nothing: none is stored.
  std::optional<Uuid> instance;
  std::vector<Webhook> webhooks;
  bool is_paused = false;
  std::string paused_reason;
  std::optional<Time> stale_at;  // when it changes by itself: a secret expires
  std::string secret_problem;    // what is wrong with webhook.secret_key_file, or with the secrets of some webhooks
};

struct StartState {
  IdentityVerdict verdict = IdentityVerdict::kSame;
  Uuid instance;
  Checkpoint checkpoint;
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

// A row of webhook_deliveries; dead if next_attempt_at is nothing.
struct OwedRow {
  DeliveryKey key;
  std::optional<std::string> organization_id;
  std::string event;
  std::optional<std::string> event_key;
  Time created_at{};  // of the event
  int attempts = 0;
  std::optional<Time> next_attempt_at;
  std::string last_error;  // empty: null
};

// What one transaction records.
struct Batch {
  std::vector<LogRow> logs;
  std::vector<OwedRow> owed;          // inserted, or updated
  std::vector<DeliveryKey> finished;  // no longer owed: deleted
  std::optional<Checkpoint> checkpoint;

  bool empty() const { return logs.empty() && owed.empty() && finished.empty() && !checkpoint; }
};

struct Chunk {
  std::vector<Event> events;  // in id order
  bool window_is_read = false;
};

// What was logged above a floor.
struct Logged {
  std::vector<DeliveryKey> keys;
  std::int64_t last_log_id = 0;  // the highest drawn; the floor if there is none above it
};

// A pending row of webhook_deliveries with its event, whose data is empty if nothing holds it any more.
struct OwedDelivery {
  Event event;
  int attempts = 0;  // already made
};

struct Due {
  std::vector<OwedDelivery> deliveries;  // the longest due first
  bool is_all = true;                    // no more are due
  std::optional<Time> next;              // when the next one is, of those that are not due yet
};

struct NextDue {
  Uuid webhook;
  Time at{};
};

enum class Ring : std::uint8_t { kEvents, kLogs };

// What maintain_ring() did.
struct RingReport {
  bool more = false;         // there is more to do at once
  std::string kept_because;  // not empty: the ring should have turned and could not
};

class Store {
 public:
  virtual ~Store() = default;

  // Reads, or on the first start and in a copy writes, who this database is and how far it got.
  virtual StartState start() = 0;

  // Clears configuration_changed().
  virtual Configuration configuration() = 0;
  // Whether it may have changed since. No transaction; up to date after any call.
  virtual bool configuration_changed() const = 0;

  virtual Snapshot current_snapshot() = 0;
  // The window's events behind after_id, at most events_max. Returns only what is durable, even if it was committed
  // with synchronous_commit off.
  virtual Chunk read(const Window& window, std::int64_t after_id, std::size_t events_max) = 0;

  // Logged above the floor.
  virtual Logged logged_since(std::int64_t log_floor) = 0;
  // Those of these events that webhook_deliveries holds.
  virtual std::vector<DeliveryKey> owed_of(const std::vector<std::int64_t>& event_ids) = 0;

  // Records a batch, durably. Returns the highest log id drawn, 0 for none.
  virtual std::int64_t record(const Batch& batch) = 0;

  // For each webhook with pending deliveries, when the first is due.
  virtual std::vector<NextDue> next_due() = 0;
  // The pending deliveries of a webhook that are due, at most rows_max, and fewer if they are large.
  virtual Due due(const Uuid& webhook, Time now, std::size_t rows_max) = 0;
  // Deletes what is owed to webhooks that no longer exist.
  virtual void forget(const std::vector<Uuid>& webhooks) = 0;

  // Takes the ring one step further, if the current segment is full, and empties the oldest segment, if the ring is too
  // large.
  virtual RingReport maintain_ring(Ring ring, const RingLimits& limits) = 0;
  // Deletes the dead deliveries of events from before.
  virtual void delete_expired(Time before) = 0;
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
