#include "worker/recorder.h"

#include <utility>

namespace webhook {

void Recorder::log(pg::LogRow row, Time now) {
  logs_.push_back(std::move(row));
  note(now);
}

void Recorder::owe(pg::OwedRow row, Time now) {
  finished_.erase(row.key);
  const pg::DeliveryKey key = row.key;
  owed_.insert_or_assign(key, std::move(row));
  note(now);
}

void Recorder::finish(const pg::DeliveryKey& key, Time now) {
  owed_.erase(key);
  finished_.insert(key);
  note(now);
}

void Recorder::note(Time now) {
  if (count_++ == 0) oldest_ = now;
}

Recorder::Recorded Recorder::record(const std::optional<Checkpoint>& checkpoint) {
  pg::Batch batch;
  batch.logs = std::move(logs_);
  batch.owed.reserve(owed_.size());
  for (const auto& [key, row] : owed_) batch.owed.push_back(row);
  batch.finished.assign(finished_.begin(), finished_.end());
  batch.checkpoint = checkpoint;

  Recorded recorded;
  try {
    if (!batch.empty()) store_.record(batch);
  } catch (...) {
    logs_ = std::move(batch.logs);
    throw;
  }
  recorded.logged = batch.logs.size();
  recorded.settled = std::exchange(settled_, {});
  recorded.owed = std::move(batch.owed);
  recorded.released = std::exchange(released_, {});
  logs_.clear();
  owed_.clear();
  finished_.clear();
  count_ = 0;
  return recorded;
}

}  // namespace webhook
