#include "worker/ordering_keys.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace webhook {
namespace {

constexpr std::size_t kStep = 200;  // rows that get their keys at once

}  // namespace

std::optional<Uuid> OrderingKeys::next_to_load() const {
  return to_load_.empty() ? std::nullopt : std::optional(*to_load_.begin());
}

void OrderingKeys::set_up(const Subscriber& subscriber) {
  const Uuid& id = subscriber.id();
  const Ordering ordering = subscriber.webhook().limits.ordering;
  if (deferrals_.contains(id)) {  // again when that is over
    lanes_.set_pending(id, std::nullopt);
    return;
  }
  const auto written = written_.find(id);
  if (!backlog_.next_due(id) && backlog_.held(id) == 0) {
    note_nothing_pending(subscriber);
  } else if (written != written_.end() && written->second == ordering) {
    lanes_.set_pending(id, store_.pending_by_key(subscriber.identity(), Lanes::kBlockedKeysMax));
  } else {
    written_.erase(id);
    lanes_.set_pending(id, std::nullopt);
    Job& job = jobs_[id];
    if (job.ordering != ordering) job = {.ordering = ordering};
    backlog_.unschedule(id);
  }
}

void OrderingKeys::note_nothing_pending(const Subscriber& subscriber) {
  const Uuid& id = subscriber.id();
  written_.insert_or_assign(id, subscriber.webhook().limits.ordering);
  jobs_.erase(id);
  lanes_.set_pending(id, std::unordered_map<std::string, std::int64_t>());
}

OrderingKeys::Jobs::const_iterator OrderingKeys::next_job() const {
  return std::find_if(jobs_.begin(), jobs_.end(), [this](const auto& job) { return !deferrals_.contains(job.first); });
}

bool OrderingKeys::has_step() const { return next_job() != jobs_.end(); }

const Subscriber* OrderingKeys::write_step() {
  const auto next = next_job();
  if (next == jobs_.end()) return nullptr;
  const Uuid id = next->first;
  const Subscriber* const subscriber = subscribers_.find(id);
  if (subscriber == nullptr) {
    jobs_.erase(next);
    return nullptr;
  }
  Job& job = jobs_.at(id);
  const Ordering ordering = job.ordering;
  const OrderingStep step = store_.write_ordering_keys(subscriber->identity(), ordering, job.position, kStep);
  job.position = step.position;
  if (step.is_busy) deferrals_.add(id, process_.now());
  if (step.is_busy || !step.is_all) return nullptr;
  jobs_.erase(id);
  written_.insert_or_assign(id, ordering);
  set_up(*subscriber);
  return subscriber;
}

void OrderingKeys::drop(const Uuid& webhook) {
  written_.erase(webhook);
  jobs_.erase(webhook);
}

void OrderingKeys::forget(const Uuid& webhook) {
  drop(webhook);
  to_load_.erase(webhook);
}

}  // namespace webhook
