#include "worker/recorder.h"

#include <algorithm>
#include <utility>

namespace webhook {
namespace {

std::size_t bytes_of(const std::optional<std::string>& text) { return text ? text->size() : 0; }

std::size_t bytes_of(const pg::LogRow& row) {
  return sizeof row + bytes_of(row.organization_id) + row.event.size() + row.response_body.size() + row.error.size();
}

std::size_t bytes_of(const pg::OwedRow& row) {
  return sizeof row + bytes_of(row.organization_id) + row.event.size() + bytes_of(row.event_key) +
         row.last_error.size() + bytes_of(row.ordering_key);
}

}  // namespace

void Recorder::log(pg::LogRow row, Time now) {
  const std::size_t bytes = bytes_of(row);
  logs_.push_back(std::move(row));
  note(bytes, now);
}

void Recorder::owe(pg::OwedRow row, Time now) {
  finished_.erase(row.key);
  const pg::DeliveryKey key = row.key;
  const std::size_t bytes = bytes_of(row);
  owed_.insert_or_assign(key, std::move(row));
  note(bytes, now);
}

void Recorder::finish(const pg::DeliveryKey& key, Time now) {
  owed_.erase(key);
  finished_.insert(key);
  note(sizeof key, now);
}

void Recorder::emit(pg::OperationalEvent event, Time now) {
  const std::size_t bytes = sizeof event + event.data.size();
  events_.push_back(std::move(event));
  note(bytes, now);
}

void Recorder::note(std::size_t bytes, Time now) {
  if (count_++ == 0) oldest_ = now;
  bytes_ += bytes;
  charge_ = budget_.charge(bytes_ + locked_bytes_);
}

std::optional<Time> Recorder::next_try_at() const {
  if (locked_.empty()) return std::nullopt;
  return next_try_at_;
}

Recorder::Recorded Recorder::record(const Beside& beside, Time now) {
  const bool with_locked = now >= next_try_at_;
  pg::Batch batch = take_batch(with_locked);
  batch.endpoints = beside.endpoints;
  batch.minutes = beside.minutes;
  batch.checkpoint = beside.checkpoint;
  pg::Recorded written;
  try {
    if (!batch.empty()) written = store_.record(batch);
  } catch (...) {
    logs_ = std::move(batch.logs);
    events_ = std::move(batch.events);
    throw;
  }
  keep_locked(batch, written.locked, with_locked);
  if (with_locked && !locked_.empty()) next_try_at_ = now + kLockedRetry;

  Recorded recorded{.settled = {}, .released = {}, .logged = batch.logs.size(), .locked = locked_.size()};
  std::erase_if(settled_, [&](const auto& settled) {
    if (locked_.contains(settled.second)) return false;
    recorded.settled.push_back(settled.first);
    return true;
  });
  std::erase_if(released_, [&](const pg::DeliveryKey& key) {
    if (locked_.contains(key)) return false;
    recorded.released.push_back(key);
    return true;
  });
  waiting_for_locks_ = settled_.size() + released_.size();
  count_ = 0;
  bytes_ = 0;
  locked_bytes_ = finished_.size() * sizeof(pg::DeliveryKey);
  for (const auto& [key, row] : owed_) locked_bytes_ += bytes_of(row);
  charge_ = budget_.charge(locked_bytes_);
  return recorded;
}

// The log rows and events are moved, the rest is copied: it is known only afterwards what of it was written.
pg::Batch Recorder::take_batch(bool with_locked) {
  const auto is_tried = [&](const pg::DeliveryKey& key) { return with_locked || !locked_.contains(key); };
  pg::Batch batch;
  batch.logs = std::exchange(logs_, {});
  batch.events = std::exchange(events_, {});
  batch.owed.reserve(owed_.size());
  for (const auto& [key, row] : owed_) {
    if (is_tried(key)) batch.owed.push_back(row);
  }
  std::copy_if(finished_.begin(), finished_.end(), std::back_inserter(batch.finished), is_tried);
  return batch;
}

void Recorder::keep_locked(const pg::Batch& batch, const std::vector<pg::DeliveryKey>& locked, bool with_locked) {
  if (with_locked) locked_.clear();
  locked_.insert(locked.begin(), locked.end());
  for (const pg::OwedRow& row : batch.owed) {
    if (!locked_.contains(row.key)) owed_.erase(row.key);
  }
  for (const pg::DeliveryKey& key : batch.finished) {
    if (!locked_.contains(key)) finished_.erase(key);
  }
}

}  // namespace webhook
