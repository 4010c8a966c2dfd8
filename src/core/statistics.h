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
  Time webhook_created_at{};  // tells which webhook of that id
  Time minute{};              // its beginning
  std::int32_t attempts = 0;
  std::int32_t successes = 0;
  std::int32_t unjudged = 0;  // events that its filter could not judge, so that no delivery was made
  DurationCounts durations;
};

class Statistics {
 public:
  static constexpr std::size_t kRowsMax = 20'000;  // above it the oldest are forgotten: the database fails for long

  void count(const Uuid& webhook, Time webhook_created_at, Time ended_at, bool success, Duration duration);
  void count_unjudged(const Uuid& webhook, Time webhook_created_at, Time at);
  bool empty() const { return size() == 0; }
  std::size_t size() const { return counted_.rows + round_.rows; }
  // Takes out at most so many, the oldest first, of a round: of what had been counted when its first were taken. What is
  // counted meanwhile is for the next: or a round of many webhooks would never end. What could not be written is given
  // back.
  std::vector<MinuteOfWebhook> take(std::size_t rows_max);
  void give_back(const std::vector<MinuteOfWebhook>& minutes);
  bool has_round() const { return round_.rows > 0; }
  // The webhook is gone.
  void forget(const Uuid& webhook);

 private:
  using Minute = std::unordered_map<Uuid, MinuteOfWebhook>;

  template <class Add>
  void add_to(const Uuid& webhook, Time webhook_created_at, Time at, Add add);

  struct Counts {
    // Takes one of the oldest minute's out.
    MinuteOfWebhook pop();

    std::map<Time, Minute> minutes;  // by when they begin: one or two. None is empty.
    std::size_t rows = 0;
  };

  Counts counted_;
  Counts round_;
};

}  // namespace webhook
