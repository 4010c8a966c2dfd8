// The replays that workers carry out. Their steps are in replay_steps.h.
#include "pg/store/replay_steps.h"
#include "pg/store/spi_store.h"
#include "pg/store/spi_work.h"

namespace webhook::pg {

UnfinishedReplays SpiStore::unfinished_replays(std::int64_t after, std::size_t rows_max) {
  Work work(*this, "webhook: looking for replays");
  UnfinishedReplays found = read_unfinished_replays(after, rows_max);
  work.commit();
  return found;
}

ReplayStep SpiStore::replay_step(std::int64_t id, const Uuid& webhook, const ReplayBounds& bounds) {
  Work work(*this, "webhook: replaying events");
  ReplayStep step = take_replay_step(id, bounds, deferred_.contains(webhook));
  work.commit();
  return step;
}

std::vector<UnfinishedTakeover> SpiStore::unfinished_takeovers(const std::optional<Uuid>& after,
                                                               std::size_t webhooks_max) {
  Work work(*this, "webhook: looking for what nodes have left");
  std::vector<UnfinishedTakeover> found = read_unfinished_takeovers(after, webhooks_max);
  work.commit();
  return found;
}

ReplayStep SpiStore::takeover_step(const Uuid& webhook, const ReplayBounds& bounds) {
  Work work(*this, "webhook: taking over from a node");
  ReplayStep step = take_takeover_step(webhook, bounds, deferred_.contains(webhook));
  work.commit();
  return step;
}

void SpiStore::fail_replay(std::int64_t id, const std::string& reason) {
  Work work(*this, "webhook: ending a replay");
  end_replay(id, reason);
  work.commit();
}

}  // namespace webhook::pg
