#include "worker/read_barrier.h"

#include <algorithm>
#include <chrono>

namespace webhook {
namespace {

constexpr std::size_t kStep = 64;                                    // webhooks that one release() examines
constexpr Duration kFilterInterval = std::chrono::milliseconds(10);  // between two calls while filters are evaluated

}  // namespace

void ReadBarrier::add(const Uuid& webhook) {
  const auto [held, is_new] = held_.try_emplace(webhook);
  wanted_ = heads_ + 1;
  held->second = {.head = wanted_};
  if (is_new) turns_.push_back(webhook);
}

void ReadBarrier::note_read(Ledger::Entry next_entry) {
  read_ = heads_;
  end_entry_ = next_entry;
  unseen_ = turns_.size();
}

std::vector<Uuid> ReadBarrier::release() {
  std::vector<Uuid> released;
  waits_for_filters_ = false;
  for (std::size_t left = std::min(turns_.size(), kStep); left > 0; --left) {
    const Uuid id = turns_.front();
    turns_.pop_front();
    unseen_ -= std::min<std::size_t>(unseen_, 1);
    const auto held = held_.find(id);
    if (held == held_.end()) continue;
    if (may_go(id, held->second)) {
      held_.erase(held);
      released.push_back(id);
    } else {
      turns_.push_back(id);
      if (held->second.entry) waits_for_filters_ = true;
    }
  }
  return released;
}

bool ReadBarrier::may_go(const Uuid& webhook, Held& held) const {
  if (read_ < held.head) return false;
  if (!held.entry) held.entry = end_entry_;
  const Subscriber* const subscriber = subscribers_.find(webhook);
  return subscriber == nullptr || !filters_.has_older_than(*held.entry, subscriber->organization_id());
}

std::optional<Time> ReadBarrier::next_at(Time now) const {
  if (unseen_ > 0) return now;
  return waits_for_filters_ ? std::optional<Time>(now + kFilterInterval) : std::nullopt;
}

}  // namespace webhook
