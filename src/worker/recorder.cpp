#include "worker/recorder.h"

#include <utility>

namespace webhook {
namespace {

std::size_t bytes_of(const std::optional<std::string>& text) { return text ? text->size() : 0; }

std::size_t bytes_of(const LogRow& row) {
  return sizeof row + bytes_of(row.organization_id) + row.event.size() + row.response_body.size() +
         row.response_headers.size() + row.error.size();
}

std::size_t bytes_of(const DeliveryRow& row) {
  return sizeof row + bytes_of(row.organization_id) + row.event.size() + bytes_of(row.event_key) +
         row.last_error.size() + bytes_of(row.ordering_key);
}

}  // namespace

void Recorder::log(LogRow row, Time now) {
  const std::size_t bytes = bytes_of(row);
  logs_.push_back(std::move(row));
  note(bytes, now);
}

void Recorder::store(DeliveryRow row, Time now) {
  finished_.erase(row.key);
  if (!row.next_attempt_at) ++given_up_;
  row.decided_at = now;
  const DeliveryKey key = row.key;
  const std::size_t bytes = bytes_of(row);
  deliveries_.insert_or_assign(key, std::move(row));
  note(bytes, now);
}

void Recorder::finish(const Finished& delivery, Time now) {
  deliveries_.erase(delivery.key);
  finished_.insert_or_assign(delivery.key, delivery.request);
  note(sizeof delivery, now);
}

void Recorder::forget(const Uuid& webhook) {
  const auto is_of_it = [&webhook](const DeliveryKey& key) { return key.webhook == webhook; };
  std::erase_if(deliveries_, [&](const auto& entry) { return is_of_it(entry.first); });
  std::erase_if(finished_, [&](const auto& entry) { return is_of_it(entry.first); });
  std::erase_if(released_, is_of_it);
}

void Recorder::emit(OperationalEvent event, Time now) {
  const std::size_t bytes = sizeof event + event.data.size();
  events_.push_back(std::move(event));
  note(bytes, now);
}

void Recorder::note(std::size_t bytes, Time now) {
  if (count_++ == 0) oldest_ = now;
  bytes_ += bytes;
  charge_ = budget_.charge(bytes_);
}

Recorder::Result Recorder::record(const WorkerState& state) {
  Batch batch = take_batch();
  batch.endpoints = state.endpoints;
  batch.minutes = state.minutes;
  batch.checkpoint = state.checkpoint;
  Result recorded;
  try {
    if (!batch.empty()) recorded.stored = store_.record(batch);
  } catch (...) {
    logs_ = std::move(batch.logs);
    events_ = std::move(batch.events);
    throw;
  }
  recorded.logged = batch.logs.size();
  recorded.settled = std::exchange(settled_, {});
  recorded.released = std::exchange(released_, {});
  deliveries_.clear();
  finished_.clear();
  count_ = 0;
  bytes_ = 0;
  charge_ = budget_.charge(0);
  return recorded;
}

// The log rows and events are moved, the rest is copied: it is wanted again if the batch fails.
Batch Recorder::take_batch() {
  Batch batch;
  batch.logs = std::exchange(logs_, {});
  batch.events = std::exchange(events_, {});
  batch.deliveries.reserve(deliveries_.size());
  for (const auto& [key, row] : deliveries_) batch.deliveries.push_back(row);
  batch.finished.reserve(finished_.size());
  for (const auto& [key, request] : finished_) batch.finished.push_back({key, request});
  return batch;
}

}  // namespace webhook
