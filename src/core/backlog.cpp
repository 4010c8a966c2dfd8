#include "core/backlog.h"

#include <algorithm>
#include <limits>

namespace webhook {
namespace {

// The last position before the row.
Backlog::Position before(const Backlog::Position& row) { return {row.next_attempt_at, row.event_id - 1}; }

}  // namespace

void Backlog::reset(const Uuid& webhook, std::optional<Time> first_due) {
  unschedule(webhook);
  const auto found = rows_.find(webhook);
  if (!first_due && (found == rows_.end() || found->second.held.empty())) {
    if (found != rows_.end()) rows_.erase(found);
    return;
  }
  Rows& rows = rows_[webhook];
  rows.next_due = first_due;
  rows.position = first_due ? Position{*first_due, std::numeric_limits<std::int64_t>::min()} : Position{};
}

void Backlog::forget(const Uuid& webhook) {
  unschedule(webhook);
  rows_.erase(webhook);
}

void Backlog::add(const Uuid& webhook, const Position& row) {
  Rows& rows = rows_[webhook];
  // If no row is pending or held, moving the position forward skips none.
  rows.position = rows.next_due || !rows.held.empty() ? std::min(rows.position, before(row)) : before(row);
  rows.next_due = std::min(rows.next_due.value_or(Time::max()), row.next_attempt_at);
}

void Backlog::hold(const Uuid& webhook, const Position& row, std::int64_t request) {
  rows_[webhook].held.insert_or_assign(row.event_id, Held{.next_attempt_at = row.next_attempt_at, .request = request});
}

bool Backlog::note_found(const Uuid& webhook, const Position& row, std::int64_t request) {
  const auto rows = rows_.find(webhook);
  if (rows == rows_.end()) return false;
  const auto held = rows->second.held.find(row.event_id);
  if (held == rows->second.held.end() || held->second.request == request) return false;
  held->second.again = row;
  return true;
}

bool Backlog::is_held(const Uuid& webhook, std::int64_t event_id) const {
  const auto rows = rows_.find(webhook);
  return rows != rows_.end() && rows->second.held.contains(event_id);
}

std::size_t Backlog::held(const Uuid& webhook) const {
  const auto rows = rows_.find(webhook);
  return rows == rows_.end() ? 0 : rows->second.held.size();
}

void Backlog::put_back(const Uuid& webhook, std::int64_t event_id) {
  Rows& rows = rows_[webhook];
  const auto held = rows.held.find(event_id);
  if (held == rows.held.end()) return;
  const Position row = held->second.again.value_or(Position{held->second.next_attempt_at, event_id});
  rows.held.erase(held);
  add(webhook, row);
}

bool Backlog::let_go(const Uuid& webhook, std::int64_t event_id) {
  const auto rows = rows_.find(webhook);
  if (rows == rows_.end()) return false;
  const auto held = rows->second.held.find(event_id);
  if (held == rows->second.held.end()) return false;
  const std::optional<Position> again = held->second.again;
  rows->second.held.erase(held);
  if (again) add(webhook, *again);
  return again.has_value();
}

Backlog::Position Backlog::position(const Uuid& webhook) const {
  const auto rows = rows_.find(webhook);
  return rows == rows_.end() ? Position{} : rows->second.position;
}

void Backlog::advance(const Uuid& webhook, const Position& to, std::optional<Time> next_due) {
  Rows& rows = rows_[webhook];
  rows.position = std::max(rows.position, to);
  rows.next_due = next_due;
}

std::optional<Time> Backlog::next_due(const Uuid& webhook) const {
  const auto rows = rows_.find(webhook);
  return rows == rows_.end() ? std::nullopt : rows->second.next_due;
}

void Backlog::schedule(const Uuid& webhook, std::uint64_t organization, Time at) {
  unschedule(webhook);
  Rows& rows = rows_[webhook];
  rows.scheduled = at;
  rows.organization = organization;
  const auto [found, is_new] = organizations_.try_emplace(organization);
  found->second.schedule.emplace(at, webhook);
  if (is_new || found->second.listed_at) list_anew(organization, found->second);
}

void Backlog::unschedule(const Uuid& webhook) {
  const auto rows = rows_.find(webhook);
  if (rows == rows_.end() || !rows->second.scheduled) return;
  const auto organization = organizations_.find(rows->second.organization);
  organization->second.schedule.erase({*rows->second.scheduled, webhook});
  rows->second.scheduled.reset();
  if (organization->second.listed_at) list_anew(organization->first, organization->second);
}

// Puts the organization at its place in upcoming_, or forgets it if nothing of it is scheduled.
void Backlog::list_anew(std::uint64_t number, Organization& organization) {
  if (organization.listed_at) upcoming_.erase({*organization.listed_at, number});
  if (organization.schedule.empty()) {
    organizations_.erase(number);
    return;
  }
  organization.listed_at = organization.schedule.begin()->first;
  upcoming_.emplace(*organization.listed_at, number);
}

std::optional<Time> Backlog::first_scheduled() const {
  std::optional<Time> first;
  if (!upcoming_.empty()) first = upcoming_.begin()->first;
  for (const std::uint64_t number : due_) {
    const Schedule& schedule = organizations_.at(number).schedule;
    if (schedule.empty()) continue;
    first = std::min(first.value_or(Time::max()), schedule.begin()->first);
    break;  // it is due, and it does not matter since when
  }
  return first;
}

std::optional<Uuid> Backlog::take_scheduled(Time now) {
  while (!upcoming_.empty() && upcoming_.begin()->first <= now) {
    const std::uint64_t number = upcoming_.begin()->second;
    upcoming_.erase(upcoming_.begin());
    organizations_.at(number).listed_at.reset();
    due_.push_back(number);
  }
  while (!due_.empty()) {
    const std::uint64_t number = due_.front();
    due_.pop_front();
    Organization& organization = organizations_.at(number);
    Schedule& schedule = organization.schedule;
    if (schedule.empty() || schedule.begin()->first > now) {
      list_anew(number, organization);
      continue;
    }
    const Uuid webhook = schedule.begin()->second;
    schedule.erase(schedule.begin());
    rows_[webhook].scheduled.reset();
    if (!schedule.empty() && schedule.begin()->first <= now) {
      due_.push_back(number);
    } else {
      list_anew(number, organization);
    }
    return webhook;
  }
  return std::nullopt;
}

}  // namespace webhook
