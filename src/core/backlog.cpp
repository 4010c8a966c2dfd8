#include "core/backlog.h"

#include <algorithm>
#include <limits>

namespace webhook {
namespace {

// The last position before that of the row.
Backlog::Position before(const Backlog::Position& row) { return {row.next_attempt_at, row.event_id - 1}; }

}  // namespace

void Backlog::reset(const std::vector<std::pair<Uuid, Time>>& first_due) {
  schedule_.clear();
  std::erase_if(owed_, [](const auto& entry) { return entry.second.held.empty(); });
  for (auto& [webhook, owed] : owed_) {
    Owed anew;
    anew.held = std::move(owed.held);
    owed = std::move(anew);
  }
  for (const auto& [webhook, at] : first_due) {
    Owed& owed = owed_[webhook];
    owed.next_due = at;
    owed.position = {at, std::numeric_limits<std::int64_t>::min()};
  }
}

void Backlog::owe(const Uuid& webhook, const Position& row) {
  Owed& owed = owed_[webhook];
  // With nothing pending there is nothing to pass over.
  owed.position = owed.next_due || !owed.held.empty() ? std::min(owed.position, before(row)) : before(row);
  owed.next_due = std::min(owed.next_due.value_or(Time::max()), row.next_attempt_at);
}

void Backlog::hold(const Uuid& webhook, const Position& row) {
  owed_[webhook].held.insert_or_assign(row.event_id, row.next_attempt_at);
}

bool Backlog::is_held(const Uuid& webhook, std::int64_t event_id) const {
  const auto owed = owed_.find(webhook);
  return owed != owed_.end() && owed->second.held.contains(event_id);
}

std::size_t Backlog::held(const Uuid& webhook) const {
  const auto owed = owed_.find(webhook);
  return owed == owed_.end() ? 0 : owed->second.held.size();
}

void Backlog::put_back(const Uuid& webhook, std::int64_t event_id) {
  Owed& owed = owed_[webhook];
  const auto held = owed.held.find(event_id);
  if (held == owed.held.end()) return;
  const Position row{held->second, event_id};
  owed.held.erase(held);
  owe(webhook, row);
}

void Backlog::let_go(const Uuid& webhook, std::int64_t event_id) {
  const auto owed = owed_.find(webhook);
  if (owed != owed_.end()) owed->second.held.erase(event_id);
}

Backlog::Position Backlog::position(const Uuid& webhook) const {
  const auto owed = owed_.find(webhook);
  return owed == owed_.end() ? Position{} : owed->second.position;
}

void Backlog::advance(const Uuid& webhook, const Position& to, std::optional<Time> next_due) {
  Owed& owed = owed_[webhook];
  owed.position = std::max(owed.position, to);
  owed.next_due = next_due;
}

std::optional<Time> Backlog::next_due(const Uuid& webhook) const {
  const auto owed = owed_.find(webhook);
  return owed == owed_.end() ? std::nullopt : owed->second.next_due;
}

void Backlog::schedule(const Uuid& webhook, Time at) {
  unschedule(webhook);
  owed_[webhook].scheduled = at;
  schedule_.emplace(at, webhook);
}

void Backlog::unschedule(const Uuid& webhook) {
  const auto owed = owed_.find(webhook);
  if (owed == owed_.end() || !owed->second.scheduled) return;
  schedule_.erase({*owed->second.scheduled, webhook});
  owed->second.scheduled.reset();
}

std::optional<Time> Backlog::first_scheduled() const {
  if (schedule_.empty()) return std::nullopt;
  return schedule_.begin()->first;
}

std::optional<Uuid> Backlog::take_scheduled(Time now) {
  if (schedule_.empty() || schedule_.begin()->first > now) return std::nullopt;
  const Uuid webhook = schedule_.begin()->second;
  schedule_.erase(schedule_.begin());
  owed_[webhook].scheduled.reset();
  return webhook;
}

}  // namespace webhook
