#include "core/deferrals.h"

#include <algorithm>

namespace webhook {

bool Deferrals::add(const Uuid& webhook, Time now) {
  const auto [entry, is_new] = waiting_.try_emplace(webhook);
  if (!is_new) return false;
  entry->second = {.since = now, .next_try = now};
  tries_.emplace(now, webhook);
  return true;
}

std::optional<Time> Deferrals::next_try_at() const {
  if (tries_.empty()) return std::nullopt;
  return tries_.begin()->first;
}

std::vector<Uuid> Deferrals::due(Time now, std::size_t count_max) const {
  std::vector<Uuid> webhooks;
  for (const auto& [at, webhook] : tries_) {
    if (at > now || webhooks.size() == count_max) break;
    webhooks.push_back(webhook);
  }
  return webhooks;
}

void Deferrals::try_at(const Uuid& webhook, Waiting& waiting, Time at) {
  tries_.erase({waiting.next_try, webhook});
  waiting.next_try = at;
  tries_.emplace(at, webhook);
}

void Deferrals::note_busy(const Uuid& webhook, Time now) {
  const auto found = waiting_.find(webhook);
  if (found != waiting_.end()) try_at(webhook, found->second, now + kRetry);
}

void Deferrals::note_failed(const Uuid& webhook, Time now) {
  const auto found = waiting_.find(webhook);
  if (found == waiting_.end()) return;
  try_at(webhook, found->second, now + found->second.retry);
  found->second.retry = std::min(found->second.retry * 2, kRetryMax);
}

void Deferrals::note_progress(const Uuid& webhook, Time now) {
  const auto found = waiting_.find(webhook);
  if (found == waiting_.end()) return;
  found->second.retry = kRetry;
  try_at(webhook, found->second, now);
}

void Deferrals::remove(const Uuid& webhook) {
  const auto found = waiting_.find(webhook);
  if (found == waiting_.end()) return;
  tries_.erase({found->second.next_try, webhook});
  waiting_.erase(found);
}

void Deferrals::clock_set_back(Time now) {
  for (auto& [webhook, waiting] : waiting_) {
    waiting.since = std::min(waiting.since, now);
    if (waiting.next_try > now) try_at(webhook, waiting, now);
  }
}

std::optional<Time> Deferrals::since(const Uuid& webhook) const {
  const auto found = waiting_.find(webhook);
  if (found == waiting_.end()) return std::nullopt;
  return found->second.since;
}

}  // namespace webhook
