#include "core/deferrals.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr Time kNow{};

Uuid webhook(std::uint8_t number) {
  Uuid id;
  id.bytes[0] = number;
  return id;
}

TEST(Deferrals, WebhookIsTriedAtOnceAndAgainWhileSomebodyIsAtIt) {
  Deferrals deferrals;
  EXPECT_FALSE(deferrals.next_try_at());
  EXPECT_TRUE(deferrals.add(webhook(1), kNow));
  EXPECT_EQ(deferrals.due(kNow, 10), std::vector<Uuid>{webhook(1)});
  deferrals.note_busy(webhook(1), kNow);
  EXPECT_TRUE(deferrals.due(kNow, 10).empty());
  EXPECT_EQ(deferrals.next_try_at(), kNow + Deferrals::kRetry);
  EXPECT_FALSE(deferrals.add(webhook(1), kNow + seconds(1))) << "something waits already";
  EXPECT_EQ(deferrals.since(webhook(1)), kNow);
  deferrals.remove(webhook(1));
  EXPECT_FALSE(deferrals.contains(webhook(1)));
  EXPECT_FALSE(deferrals.next_try_at());
}

TEST(Deferrals, WhatIsInVainIsTriedMoreAndMoreSeldom) {
  Deferrals deferrals;
  deferrals.add(webhook(1), kNow);
  Time now = kNow;
  for (int i = 0; i < 10; ++i) {
    deferrals.note_failed(webhook(1), now);
    now = *deferrals.next_try_at();
  }
  deferrals.note_failed(webhook(1), now);
  EXPECT_EQ(*deferrals.next_try_at() - now, Deferrals::kRetryMax);
  deferrals.note_progress(webhook(1), now);
  deferrals.note_failed(webhook(1), now);
  EXPECT_EQ(*deferrals.next_try_at() - now, Deferrals::kRetry) << "it begins anew";
}

TEST(Deferrals, ThoseThatAreDueLongestComeFirst) {
  Deferrals deferrals;
  for (std::uint8_t n = 1; n <= 5; ++n) deferrals.add(webhook(n), kNow + seconds(10 - n));
  EXPECT_EQ(deferrals.due(kNow + hours(1), 2), (std::vector<Uuid>{webhook(5), webhook(4)}));
  deferrals.note_busy(webhook(5), kNow + seconds(20));
  EXPECT_EQ(deferrals.due(kNow + hours(1), 1), std::vector<Uuid>{webhook(4)});
}

TEST(Deferrals, ClockThatIsSetBackDelaysNoTry) {
  Deferrals deferrals;
  deferrals.add(webhook(1), kNow + hours(2));
  deferrals.clock_set_back(kNow);
  EXPECT_EQ(deferrals.due(kNow, 1), std::vector<Uuid>{webhook(1)});
  EXPECT_EQ(deferrals.since(webhook(1)), kNow);
}

}  // namespace
}  // namespace webhook
