#include "core/statistics.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace webhook {

std::size_t DurationCounts::bucket_of(Duration duration) {
  const double ms = std::chrono::duration<double, std::milli>(duration).count();
  if (ms < kFirstBoundMs) return 0;
  const double index = std::floor(2 * std::log2(ms / kFirstBoundMs)) + 1;
  return std::min(static_cast<std::size_t>(index), kBuckets - 1);
}

template <class Add>
void Statistics::add_to(const Uuid& webhook, Time webhook_created_at, Time at, Add add) {
  const Time begin = std::chrono::floor<std::chrono::minutes>(at);
  const auto [found, is_new] = counted_.minutes[begin].try_emplace(webhook);
  MinuteOfWebhook& row = found->second;
  if (is_new) {
    row.webhook = webhook;
    row.webhook_created_at = webhook_created_at;
    row.minute = begin;
    ++counted_.rows;
  }
  add(row);
  if (counted_.rows > kRowsMax) counted_.pop();
}

void Statistics::count(const Uuid& webhook, Time webhook_created_at, Time ended_at, bool success, Duration duration) {
  add_to(webhook, webhook_created_at, ended_at, [success, duration](MinuteOfWebhook& row) {
    ++row.attempts;
    if (success) ++row.successes;
    row.durations.add(duration);
  });
}

void Statistics::count_unjudged(const Uuid& webhook, Time webhook_created_at, Time at) {
  add_to(webhook, webhook_created_at, at, [](MinuteOfWebhook& row) { ++row.unjudged; });
}

void Statistics::forget(const Uuid& webhook) {
  for (Counts* const counts : {&counted_, &round_}) {
    for (auto minute = counts->minutes.begin(); minute != counts->minutes.end();) {
      counts->rows -= minute->second.erase(webhook);
      minute = minute->second.empty() ? counts->minutes.erase(minute) : std::next(minute);
    }
  }
}

MinuteOfWebhook Statistics::Counts::pop() {
  const auto oldest = minutes.begin();
  const MinuteOfWebhook row = oldest->second.begin()->second;
  oldest->second.erase(oldest->second.begin());
  if (oldest->second.empty()) minutes.erase(oldest);
  --rows;
  return row;
}

std::vector<MinuteOfWebhook> Statistics::take(std::size_t rows_max) {
  if (!has_round()) std::swap(round_, counted_);
  std::vector<MinuteOfWebhook> taken;
  taken.reserve(std::min(rows_max, round_.rows));
  while (taken.size() < rows_max && has_round()) taken.push_back(round_.pop());
  return taken;
}

// take() removed these rows from the round, so their keys are not in it.
void Statistics::give_back(const std::vector<MinuteOfWebhook>& minutes) {
  for (const MinuteOfWebhook& row : minutes) {
    if (round_.minutes[row.minute].insert_or_assign(row.webhook, row).second) ++round_.rows;
  }
}

}  // namespace webhook
