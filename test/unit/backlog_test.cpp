#include "core/backlog.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using namespace std::chrono_literals;

const Uuid kWebhook{};
constexpr Time kNow = std::chrono::sys_days(std::chrono::year(2024) / 1 / 15);

using Position = Backlog::Position;

TEST(BacklogTest, LookBeginsBeforeTheFirstThatIsDue) {
  Backlog backlog;
  backlog.reset(kWebhook, kNow);
  EXPECT_EQ(backlog.next_due(kWebhook), kNow);
  EXPECT_LT(backlog.position(kWebhook), (Position{kNow, -1}));
  EXPECT_GT(backlog.position(kWebhook), (Position{kNow - 1us, 1'000'000}));
}

TEST(BacklogTest, LookGoesOnBehindWhatTheLastOneFound) {
  Backlog backlog;
  backlog.reset(kWebhook, kNow);
  backlog.advance(kWebhook, {kNow, 500}, kNow);
  EXPECT_EQ(backlog.position(kWebhook), (Position{kNow, 500}));
  backlog.advance(kWebhook, {kNow + 1s, 7}, std::nullopt);
  EXPECT_EQ(backlog.position(kWebhook), (Position{kNow + 1s, 7}));
  EXPECT_EQ(backlog.next_due(kWebhook), std::nullopt);
}

TEST(BacklogTest, RowBeforeThePositionIsNotPassedOver) {
  Backlog backlog;
  backlog.reset(kWebhook, kNow);
  backlog.advance(kWebhook, {kNow, 500}, kNow + 1h);
  backlog.add(kWebhook, {kNow, 30});
  EXPECT_LT(backlog.position(kWebhook), (Position{kNow, 30}));
  EXPECT_EQ(backlog.next_due(kWebhook), kNow);
  backlog.add(kWebhook, {kNow + 1min, 40});
  EXPECT_LT(backlog.position(kWebhook), (Position{kNow, 30})) << "a later one changes nothing";
}

TEST(BacklogTest, FirstRowOfAnEmptyBacklogIsWhereTheLookBegins) {
  Backlog backlog;
  backlog.reset(kWebhook, kNow);
  backlog.advance(kWebhook, {kNow, 500}, std::nullopt);
  backlog.add(kWebhook, {kNow + 1h, 600});
  EXPECT_EQ(backlog.position(kWebhook), (Position{kNow + 1h, 599}));
}

TEST(BacklogTest, RowInMemoryIsHeldUntilItIsLetGo) {
  Backlog backlog;
  backlog.hold(kWebhook, {kNow, 3});
  EXPECT_TRUE(backlog.is_held(kWebhook, 3));
  EXPECT_EQ(backlog.held(kWebhook), 1U);
  backlog.reset(kWebhook, std::nullopt);
  EXPECT_TRUE(backlog.is_held(kWebhook, 3)) << "what is in memory is in memory";
  backlog.let_go(kWebhook, 3);
  EXPECT_FALSE(backlog.is_held(kWebhook, 3));
}

TEST(BacklogTest, RowThatIsPutBackIsFoundAgain) {
  Backlog backlog;
  backlog.reset(kWebhook, kNow);
  backlog.hold(kWebhook, {kNow, 3});
  backlog.advance(kWebhook, {kNow, 500}, std::nullopt);
  backlog.put_back(kWebhook, 3);
  EXPECT_FALSE(backlog.is_held(kWebhook, 3));
  EXPECT_LT(backlog.position(kWebhook), (Position{kNow, 3}));
  EXPECT_EQ(backlog.next_due(kWebhook), kNow);
}

TEST(BacklogTest, WebhookThatIsGoneLeavesNothing) {
  Backlog backlog;
  backlog.reset(kWebhook, kNow);
  backlog.hold(kWebhook, {kNow, 3});
  backlog.schedule(kWebhook, 1, kNow);
  backlog.forget(kWebhook);
  EXPECT_FALSE(backlog.is_held(kWebhook, 3));
  EXPECT_EQ(backlog.next_due(kWebhook), std::nullopt);
  EXPECT_EQ(backlog.first_scheduled(), std::nullopt);
}

TEST(BacklogTest, ScheduleGoesByTimeAndHoldsAWebhookOnce) {
  Backlog backlog;
  Uuid other;
  other.bytes[0] = 1;
  backlog.schedule(kWebhook, 1, kNow + 2s);
  backlog.schedule(other, 1, kNow + 1s);
  backlog.schedule(kWebhook, 1, kNow + 3s);
  EXPECT_EQ(backlog.first_scheduled(), kNow + 1s);
  EXPECT_EQ(backlog.take_scheduled(kNow), std::nullopt);
  EXPECT_EQ(backlog.take_scheduled(kNow + 5s), other);
  EXPECT_EQ(backlog.take_scheduled(kNow + 5s), kWebhook);
  EXPECT_EQ(backlog.take_scheduled(kNow + 5s), std::nullopt);
  backlog.schedule(other, 1, kNow);
  backlog.unschedule(other);
  EXPECT_EQ(backlog.first_scheduled(), std::nullopt);
}

TEST(BacklogTest, OrganizationsTakeTurnsHoweverManyWebhooksTheyHave) {
  Backlog backlog;
  const auto webhook = [](int number) {
    Uuid id;
    id.bytes[15] = static_cast<std::uint8_t>(number);
    return id;
  };
  for (int number = 10; number < 110; ++number) backlog.schedule(webhook(number), 1, kNow - 1h);
  for (int number = 1; number <= 3; ++number) backlog.schedule(webhook(number), 2, kNow - 1s * number);
  backlog.schedule(webhook(4), 3, kNow + 1s);
  std::vector<Uuid> taken;
  const auto take = [&](int count, Time now) {
    for (int i = 0; i < count; ++i) taken.push_back(backlog.take_scheduled(now).value());
  };
  take(4, kNow);
  backlog.schedule(webhook(10), 1, kNow - 2h);  // again
  backlog.unschedule(webhook(2));
  take(1, kNow);
  take(2, kNow + 1s);
  EXPECT_EQ(taken, (std::vector<Uuid>{webhook(10), webhook(3), webhook(11), webhook(2), webhook(10), webhook(1),
                                      webhook(12)}));
  EXPECT_EQ(backlog.take_scheduled(kNow + 1s), webhook(4));
  take(97, kNow + 1s);
  EXPECT_EQ(backlog.take_scheduled(kNow + 1h), std::nullopt);
  EXPECT_EQ(backlog.first_scheduled(), std::nullopt);
}

TEST(BacklogTest, WhatIsUnscheduledInTurnIsScheduledAnew) {
  Backlog backlog;
  Uuid other;
  other.bytes[0] = 1;
  backlog.schedule(kWebhook, 1, kNow);
  backlog.schedule(other, 1, kNow);
  EXPECT_EQ(backlog.take_scheduled(kNow), kWebhook);
  backlog.unschedule(other);  // its organization stands in line
  EXPECT_EQ(backlog.first_scheduled(), std::nullopt);
  backlog.schedule(other, 1, kNow + 1s);
  EXPECT_EQ(backlog.first_scheduled(), kNow + 1s);
  EXPECT_EQ(backlog.take_scheduled(kNow), std::nullopt);
  EXPECT_EQ(backlog.first_scheduled(), kNow + 1s);
  EXPECT_EQ(backlog.take_scheduled(kNow + 1s), other);
}

}  // namespace
}  // namespace webhook
