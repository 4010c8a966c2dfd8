// What replays, and takeovers from nodes that are gone, need of the database: a part of Store (store.h). Each call is
// one short transaction that waits for no lock of a session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/time.h"
#include "core/uuid.h"

namespace webhook {

// A row of webhook_replays that has not ended.
struct UnfinishedReplay {
  std::int64_t id = 0;
  Uuid webhook;
  std::optional<std::string> organization_id;
};

struct UnfinishedReplays {
  std::vector<UnfinishedReplay> replays;  // by id
  bool is_all = true;                     // false: there are more behind the last one
};

// A webhook for which this home has something to take over from a node that is gone.
struct UnfinishedTakeover {
  Uuid webhook;
  std::optional<std::string> organization_id;
};

// The bounds of one step.
struct ReplayBounds {
  std::size_t events_max = 0;   // to examine
  std::size_t queued_max = 0;   // to make pending
  std::size_t bytes_max = 0;    // of data that the filter sees, expanded in memory. One event is read in any case
  std::size_t pending_max = 0;  // pending deliveries of the webhook
  // How many deliveries the replay may still make pending before those of the webhook are counted again.
  std::size_t room = 0;
};

struct ReplayStep {
  enum class Outcome : std::uint8_t {
    kMore,    // the step is taken, and there are more
    kWaits,   // nothing was done: too much is pending, or another transaction writes the webhook's deliveries
    kEnded,   // all events are examined, or it has failed
    kUnknown  // it had ended before, or another transaction holds the row
  };
  Outcome outcome = Outcome::kUnknown;
  std::size_t room = 0;    // as in ReplayBounds, after the step
  Duration filter_cost{};  // processor time that the filter took
  std::string failure;     // kEnded: why it has failed. Empty: it has not
};

class ReplayStore {
 public:
  virtual ~ReplayStore() = default;

  // At most rows_max replays with an id after `after`, of all workers.
  virtual UnfinishedReplays unfinished_replays(std::int64_t after, std::size_t rows_max) = 0;
  // Takes the next step: examines events, makes those that the replay is for pending, and stores how far it is. Either
  // all of it or nothing is done. Durable.
  virtual ReplayStep replay_step(std::int64_t id, const Uuid& webhook, const ReplayBounds& bounds) = 0;
  // At most webhooks_max webhooks after `after`, by id; nullopt: from the first one on. Of all workers.
  virtual std::vector<UnfinishedTakeover> unfinished_takeovers(const std::optional<Uuid>& after,
                                                               std::size_t webhooks_max) = 0;
  // Takes the next step of taking over for a webhook. Either all of it or nothing is done. Durable.
  virtual ReplayStep takeover_step(const Uuid& webhook, const ReplayBounds& bounds) = 0;
  // Ends a replay for this reason, unless another transaction holds the row.
  virtual void fail_replay(std::int64_t id, const std::string& reason) = 0;
};

}  // namespace webhook
