#include "core/ledger.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace webhook {

Checkpoint oldest(const std::vector<Checkpoint>& checkpoints) {
  assert(!checkpoints.empty());
  Checkpoint oldest = checkpoints.front();
  for (const Checkpoint& other : checkpoints) {
    if (other.window.from.is_before(oldest.window.from)) oldest = other;
  }
  // Its position is valid for another checkpoint only if that one is past the whole window, or in the same window.
  for (const Checkpoint& other : checkpoints) {
    oldest.log_floor = std::min(oldest.log_floor, other.log_floor);
    if (!other.window.from.is_before(oldest.window.to)) continue;
    oldest.position = other.window == oldest.window ? std::min(oldest.position, other.position) : 0;
  }
  return oldest;
}

Ledger::Ledger(const Checkpoint& start) : read_position_(start.position), checkpoint_(start) {
  const bool nothing_open = start.window.empty();
  windows_.push_back({start.window, start.log_floor, 0, nothing_open});
}

void Ledger::finish_window() {
  OpenWindow& newest = windows_.back();
  assert(!newest.read);
  newest.read = true;
  newest.end = first_entry_ + events_.size();
  advance();
}

void Ledger::open_window(Window window, std::int64_t log_floor) {
  assert(windows_.back().read && windows_.back().window.to == window.from);
  windows_.push_back({std::move(window), log_floor, 0, false});
  read_position_ = 0;
  advance();
}

Ledger::Entry Ledger::admit(std::int64_t event_id, std::uint32_t deliveries, Time created_at) {
  assert(!windows_.back().read && event_id > read_position_);
  read_position_ = event_id;
  const Entry entry = first_entry_ + events_.size();
  events_.push_back({event_id, created_at, deliveries});
  if (deliveries == 0) advance();
  return entry;
}

void Ledger::settle(Entry entry) {
  assert(entry >= first_entry_ && entry - first_entry_ < events_.size());
  OpenEvent& event = events_[entry - first_entry_];
  assert(event.unsettled > 0);
  if (--event.unsettled == 0) advance();
}

// Drops settled events from the front, and finished windows.
void Ledger::advance() {
  while (true) {
    OpenWindow& oldest = windows_.front();
    const bool events_left = !events_.empty() && (!oldest.read || first_entry_ < oldest.end);
    if (events_left) {
      if (events_.front().unsettled > 0) return;
      checkpoint_.position = events_.front().id;
      events_.pop_front();
      ++first_entry_;
      continue;
    }
    if (!oldest.read) return;
    if (windows_.size() == 1) {
      checkpoint_ = {{oldest.window.to, oldest.window.to}, 0, oldest.log_floor};
      return;
    }
    windows_.pop_front();
    checkpoint_ = {windows_.front().window, 0, windows_.front().log_floor};
  }
}

}  // namespace webhook
