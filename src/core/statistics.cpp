#include "core/statistics.h"

#include <algorithm>
#include <cmath>

namespace webhook {

std::size_t DurationCounts::bucket_of(Duration duration) {
  const double ms = std::chrono::duration<double, std::milli>(duration).count();
  if (ms < kFirstBoundMs) return 0;
  const double index = std::floor(2 * std::log2(ms / kFirstBoundMs)) + 1;
  return std::min(static_cast<std::size_t>(index), kBuckets - 1);
}

void Statistics::count(const Uuid& webhook, Time ended_at, bool success, Duration duration) {
  const Time begin = std::chrono::floor<std::chrono::minutes>(ended_at);
  const auto [found, is_new] = minutes_[begin].try_emplace(webhook);
  MinuteOfWebhook& row = found->second;
  if (is_new) {
    row.webhook = webhook;
    row.minute = begin;
    ++rows_;
  }
  ++row.attempts;
  if (success) ++row.successes;
  row.durations.add(duration);
  if (rows_ > kRowsMax) pop();
}

MinuteOfWebhook Statistics::pop() {
  const auto oldest = minutes_.begin();
  const MinuteOfWebhook row = oldest->second.begin()->second;
  oldest->second.erase(oldest->second.begin());
  if (oldest->second.empty()) minutes_.erase(oldest);
  --rows_;
  return row;
}

std::vector<MinuteOfWebhook> Statistics::take(std::size_t rows_max) {
  std::vector<MinuteOfWebhook> taken;
  taken.reserve(std::min(rows_max, rows_));
  while (taken.size() < rows_max && rows_ > 0) taken.push_back(pop());
  return taken;
}

// Nothing was counted in between: the same keys are not there.
void Statistics::give_back(const std::vector<MinuteOfWebhook>& minutes) {
  for (const MinuteOfWebhook& row : minutes) {
    if (minutes_[row.minute].insert_or_assign(row.webhook, row).second) ++rows_;
  }
}

}  // namespace webhook
