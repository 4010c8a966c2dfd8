// The steps of replays and of takeovers: see worker/replays.h.
//
// A step locks the row of webhook_replays, and the webhook's deliveries, only if they are free (pg/keyed_lock.h). It needs no
// lock on the webhook: if it is deleted at the same time, its worker deletes what the step has made pending, as it does with
// its own rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/store.h"

namespace webhook::pg {

// All of these need a Transaction, and throw Error. For the rest see ReplayStore (worker/replay_store.h).
UnfinishedReplays read_unfinished_replays(std::int64_t after, std::size_t rows_max);
// is_deferred: changes of the webhook's deliveries are not applied yet, so it waits.
ReplayStep take_replay_step(std::int64_t id, const ReplayBounds& bounds, bool is_deferred);
std::vector<UnfinishedTakeover> read_unfinished_takeovers(const std::optional<Uuid>& after, std::size_t webhooks_max);
ReplayStep take_takeover_step(const Uuid& webhook, const ReplayBounds& bounds, bool is_deferred);
void end_replay(std::int64_t id, const std::string& reason);

}  // namespace webhook::pg
