// Counts attempts and successes per webhook and minute, for webhook_stats and the figures of webhook_api. The counts stay
// here until the worker writes them to the database, a bounded number at a time. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/time.h"
#include "core/uuid.h"

namespace webhook {

// A histogram of how long attempts took. The bucket bounds grow by a factor of the square root of two, so quantiles are
// accurate to 20 %. webhook_minutes.durations holds the counts. src/pg/functions/statistics.cpp reads them.
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

struct AttemptCounts {
  std::int32_t attempts = 0;
  std::int32_t successes = 0;
};

// What the statistics need to know of an attempt.
struct CountedAttempt {
  Time ended_at{};
  Duration elapsed{};
  bool is_success = false;
  std::string_view event;
  int response_status = 0;  // 0: there was no response
};

struct MinuteOfWebhook {
  static constexpr std::size_t kEventsMax = 50;  // further events are counted under the name ""

  Uuid webhook;
  Time webhook_created_at{};  // distinguishes webhooks that reuse an id
  Time minute{};              // when it begins
  std::int32_t attempts = 0;
  std::int32_t successes = 0;
  std::int32_t unjudged = 0;  // events that the webhook's filter could not judge, so that no delivery was made
  DurationCounts durations;
  // The attempts by event and by response_status. webhook_hours has them, webhook_minutes does not.
  std::map<std::string, AttemptCounts, std::less<>> events;
  std::map<int, AttemptCounts> statuses;
};

class Statistics {
 public:
  static constexpr std::size_t kRowsMax = 20'000;  // while the database fails, the oldest rows above it are dropped

  void count(const Uuid& webhook, Time webhook_created_at, const CountedAttempt& attempt);
  void count_unjudged(const Uuid& webhook, Time webhook_created_at, Time at);
  bool empty() const { return size() == 0; }
  std::size_t size() const { return counted_.rows + round_.rows; }
  // Takes out at most rows_max rows of the current round, oldest first. A round has the rows counted before its first
  // take(). Later counts go into the next round, or a round of many webhooks would never end. The caller gives back the
  // rows that it could not write.
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
    // Takes out a row of the oldest minute.
    MinuteOfWebhook pop();

    std::map<Time, Minute> minutes;  // by when they begin, usually one or two; none is empty
    std::size_t rows = 0;
  };

  Counts counted_;
  Counts round_;
};

}  // namespace webhook
