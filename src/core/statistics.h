// How deliveries go, webhook by webhook, rolled up by the minute: what webhook_stats is made of. Counts gather here until
// the worker writes them down, a bounded number at a time. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
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
  bool empty() const { return rows_ == 0; }
  std::size_t size() const { return rows_; }
  // Takes out at most so many, the oldest first. What could not be written is given back.
  std::vector<MinuteOfWebhook> take(std::size_t rows_max);
  void give_back(const std::vector<MinuteOfWebhook>& minutes);

 private:
  using Minute = std::unordered_map<Uuid, MinuteOfWebhook>;

  // Takes one of the oldest minute's out.
  MinuteOfWebhook pop();

  // By when they begin: one or two. None is empty.
  std::map<Time, Minute> minutes_;
  std::size_t rows_ = 0;
};

}  // namespace webhook
