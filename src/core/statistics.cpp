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

namespace {

void add(AttemptCounts& counts, bool is_success) {
  ++counts.attempts;
  if (is_success) ++counts.successes;
}

AttemptCounts& counts_of_event(MinuteOfWebhook& row, std::string_view event) {
  const auto found = row.events.find(event);
  if (found != row.events.end()) return found->second;
  return row.events[row.events.size() < MinuteOfWebhook::kEventsMax ? std::string(event) : std::string()];
}

}  // namespace

void Statistics::count(const Uuid& webhook, Time webhook_created_at, const CountedAttempt& attempt) {
  add_to(webhook, webhook_created_at, attempt.ended_at, [&attempt](MinuteOfWebhook& row) {
    ++row.attempts;
    if (attempt.is_success) ++row.successes;
    row.durations.add(attempt.elapsed);
    add(counts_of_event(row, attempt.event), attempt.is_success);
    add(row.statuses[attempt.response_status], attempt.is_success);
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
  MinuteOfWebhook row = std::move(oldest->second.begin()->second);
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
