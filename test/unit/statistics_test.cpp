#include "core/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <cmath>
#include <numeric>
#include <string>
#include <string_view>

namespace webhook {
namespace {

using namespace std::chrono_literals;

constexpr Time kMinute = std::chrono::sys_days(std::chrono::year(2024) / 1 / 15);

void count(Statistics& statistics, const Uuid& webhook, Time at, bool is_success, Duration elapsed,
           std::string_view event = "contact.created") {
  statistics.count(webhook, {},
                   {.ended_at = at,
                    .elapsed = elapsed,
                    .is_success = is_success,
                    .event = event,
                    .response_status = is_success ? 200 : 0});
}

TEST(DurationCountsTest, BucketsGrowByTheSquareRootOfTwo) {
  EXPECT_EQ(DurationCounts::bucket_of(0us), 0U);
  EXPECT_EQ(DurationCounts::bucket_of(249us), 0U);
  EXPECT_EQ(DurationCounts::bucket_of(250us), 1U);
  EXPECT_EQ(DurationCounts::bucket_of(500us), 3U);
  EXPECT_EQ(DurationCounts::bucket_of(5s), static_cast<std::size_t>(std::floor(2 * std::log2(5000 / 0.25))) + 1);
  EXPECT_EQ(DurationCounts::bucket_of(1h), DurationCounts::kBuckets - 1);
}

TEST(StatisticsTest, CountsByWebhookAndMinute) {
  Statistics statistics;
  count(statistics, {}, kMinute + 1s, true, 3ms);
  count(statistics, {}, kMinute + 59s, false, 5s);
  count(statistics, {}, kMinute + 60s, true, 3ms);
  const auto minutes = statistics.take(10);
  ASSERT_EQ(minutes.size(), 2U);
  EXPECT_EQ(minutes[0].minute, kMinute);
  EXPECT_EQ(minutes[0].attempts, 2);
  EXPECT_EQ(minutes[0].successes, 1);
  const auto& counts = minutes[0].durations.counts();
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), 2);
  EXPECT_EQ(minutes[1].attempts, 1);
  EXPECT_TRUE(statistics.empty());
}

TEST(StatisticsTest, CountsByEventAndStatus) {
  Statistics statistics;
  count(statistics, {}, kMinute, true, 3ms);
  count(statistics, {}, kMinute, false, 3ms, "contact.updated");
  count(statistics, {}, kMinute, false, 3ms);
  const auto minutes = statistics.take(10);
  ASSERT_EQ(minutes.size(), 1U);
  ASSERT_EQ(minutes[0].events.size(), 2U);
  EXPECT_EQ(minutes[0].events.at("contact.created").attempts, 2);
  EXPECT_EQ(minutes[0].events.at("contact.created").successes, 1);
  EXPECT_EQ(minutes[0].events.at("contact.updated").successes, 0);
  EXPECT_EQ(minutes[0].statuses.at(200).attempts, 1);
  EXPECT_EQ(minutes[0].statuses.at(0).attempts, 2);
}

TEST(StatisticsTest, ManyEventsOfAMinuteShareOneName) {
  Statistics statistics;
  constexpr std::size_t kMore = MinuteOfWebhook::kEventsMax + 10;
  for (std::size_t i = 0; i < kMore; ++i) count(statistics, {}, kMinute, true, 3ms, "event" + std::to_string(i));
  const auto minutes = statistics.take(10);
  ASSERT_EQ(minutes.size(), 1U);
  EXPECT_EQ(minutes[0].events.size(), MinuteOfWebhook::kEventsMax + 1);
  EXPECT_EQ(minutes[0].events.at("").attempts, 10);
}

TEST(StatisticsTest, WhatCouldNotBeWrittenIsGivenBack) {
  Statistics statistics;
  count(statistics, {}, kMinute, true, 3ms);
  count(statistics, {}, kMinute + 1min, true, 3ms);
  statistics.give_back(statistics.take(1));
  EXPECT_EQ(statistics.take(10).size(), 2U);
}

TEST(StatisticsTest, ARoundEndsThoughCountingGoesOn) {
  Statistics statistics;
  Uuid other{};
  other.bytes[0] = 1;
  const auto count_both = [&] {
    count(statistics, {}, kMinute, true, 3ms);
    count(statistics, other, kMinute, true, 3ms);
  };
  count_both();
  EXPECT_EQ(statistics.take(1).size(), 1U);
  count_both();
  EXPECT_TRUE(statistics.has_round());
  EXPECT_EQ(statistics.take(10).size(), 1U);
  EXPECT_FALSE(statistics.has_round());
  EXPECT_EQ(statistics.size(), 2U);
  EXPECT_EQ(statistics.take(10).size(), 2U);
}

TEST(StatisticsTest, MemoryIsBounded) {
  Statistics statistics;
  for (std::size_t i = 0; i < Statistics::kRowsMax + 10; ++i) {
    count(statistics, {}, kMinute + std::chrono::minutes(i), true, 3ms);
  }
  EXPECT_EQ(statistics.size(), Statistics::kRowsMax);
}

TEST(StatisticsTest, WebhookThatIsGoneIsForgotten) {
  Statistics statistics;
  Uuid other;
  other.bytes[0] = 1;
  for (const std::chrono::minutes at : {0min, 1min}) {
    count(statistics, {}, kMinute + at, true, 3ms);
    count(statistics, other, kMinute + at, true, 3ms);
  }
  EXPECT_EQ(statistics.take(1).size(), 1U);
  count(statistics, {}, kMinute + 2min, true, 3ms);
  statistics.forget({});
  const auto left = statistics.take(10);
  EXPECT_TRUE(std::all_of(left.begin(), left.end(), [&](const auto& row) { return row.webhook == other; }));
  EXPECT_TRUE(statistics.empty());
}

}  // namespace
}  // namespace webhook
