// How deliveries go, webhook by webhook, rolled up by the minute: what webhook_stats is made of. Counts gather here until
// the worker writes them down, a bounded number at a time. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "core/time.h"
#include "core/uuid.h"

namespace webhook {

// How long attempts took: counts by duration, the bounds growing by the square root of two, so that a quantile is known
// to within 20 %. webhook_minutes.durations holds the counts, webhook_duration_quantile() reads them.
class DurationCounts {
 public:
  static constexpr std::size_t kBuckets = 48;
  static constexpr double kFirstBoundMs = 0.25;  // bucket i holds durations below kFirstBoundMs × 2^(i/2)

  static std::size_t bucket_of(Duration duration);

  void add(Duration duration) { ++counts_[bucket_of(duration)]; }
  const std::array<std::int32_t, kBuckets>& counts() const { return counts_; }

 private:
  std::array<std::int32_t, kBuckets> counts_{};
};

struct MinuteOfWebhook {
  Uuid webhook;
  Time minute{};  // its beginning
  std::int32_t attempts = 0;
  std::int32_t successes = 0;
  DurationCounts durations;
};

class Statistics {
 public:
  static constexpr std::size_t kRowsMax = 20'000;  // above it the oldest are forgotten: the database fails for long

  void count(const Uuid& webhook, Time ended_at, bool success, Duration duration);
  bool empty() const { return minutes_.empty(); }
  std::size_t size() const { return minutes_.size(); }
  // Takes out at most so many. What could not be written is given back.
  std::vector<MinuteOfWebhook> take(std::size_t rows_max);
  void give_back(const std::vector<MinuteOfWebhook>& minutes);

 private:
  std::map<std::pair<Time, Uuid>, MinuteOfWebhook> minutes_;
};

}  // namespace webhook
