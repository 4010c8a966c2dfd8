// What a worker tells the server about itself: plain numbers that monitoring reads from shared memory. None of them
// shows anything of a tenant.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/time.h"

namespace webhook {

// What the worker does as a whole. webhook_workers.state and pg_stat_activity have it in words.
enum class WorkerState : std::uint8_t {
  kStarting,    // → kLoading, kSwitchedOff
  kLoading,     // reading the webhooks for the first time → kCatchingUp
  kCatchingUp,  // reading events that were captured a while ago → kDelivering
  kDelivering,
  kPaused,       // by webhook_pause(), or in a copy of a database
  kSwitchedOff,  // by webhook.enabled
  kStopping
};

// Rows of webhook_deliveries, as the first worker counts them in rounds.
struct DeliveryTotals {
  std::uint64_t pending = 0;
  std::uint64_t dead = 0;
  Time counted_at{};
};

// The rings of webhook_events or of webhook_logs, as the first worker maintains them.
struct StorageFigures {
  std::uint64_t bytes = 0;
  std::optional<Time> kept_since;  // since when a ring cannot turn; nothing: they can
};

struct WorkerFigures {
  WorkerState state = WorkerState::kStarting;
  Time reported_at{};
  std::size_t in_flight = 0;
  std::size_t queued = 0;               // deliveries in the worker's lanes
  std::size_t events_ahead = 0;         // events ahead of the checkpoint
  std::int64_t sent = 0;                // requests since the worker's start
  std::int64_t failed = 0;              // failed attempts since the worker's start
  std::int64_t logged = 0;              // rows written to webhook_logs since the worker's start
  std::int64_t given_up = 0;            // deliveries that died since the worker's start
  std::optional<Time> oldest_event_at;  // capture time of the oldest event that is read and not settled
  std::optional<Time> read_to;          // capture time of the newest event that was read
  std::int64_t read_position = 0;       // its id
  std::optional<Time> last_error_at;    // the last database error
  std::optional<Time> failing_since;    // the first of the database errors in a row; nothing: the last call succeeded
  std::optional<Time> overdue_since;    // since when there have always been due deliveries to be fetched
  std::size_t webhooks = 0;             // known, active or not
  std::size_t undecryptable = 0;        // webhooks with a secret that cannot be decrypted
  std::size_t open_circuits = 0;
  std::size_t organizations = 0;          // with webhooks that can be delivered to
  std::size_t failing_organizations = 0;  // of those, the ones with an open circuit
  std::optional<DeliveryTotals> deliveries;
  StorageFigures events;
  StorageFigures logs;
};

}  // namespace webhook
