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
  const Time minute = std::chrono::floor<std::chrono::minutes>(ended_at);
  MinuteOfWebhook& row = minutes_[{minute, webhook}];
  row.webhook = webhook;
  row.minute = minute;
  ++row.attempts;
  if (success) ++row.successes;
  row.durations.add(duration);
  if (minutes_.size() > kRowsMax) minutes_.erase(minutes_.begin());
}

std::vector<MinuteOfWebhook> Statistics::take(std::size_t rows_max) {
  std::vector<MinuteOfWebhook> taken;
  taken.reserve(std::min(rows_max, minutes_.size()));
  while (taken.size() < rows_max && !minutes_.empty()) {
    taken.push_back(minutes_.begin()->second);
    minutes_.erase(minutes_.begin());
  }
  return taken;
}

// Nothing was counted in between: the same keys are not there.
void Statistics::give_back(const std::vector<MinuteOfWebhook>& minutes) {
  for (const MinuteOfWebhook& row : minutes) minutes_.insert_or_assign({row.minute, row.webhook}, row);
}

}  // namespace webhook
