#include "core/fan_outs.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/byte_budget.h"

namespace webhook {
namespace {

Uuid webhook_number(int number) {
  Uuid uuid;
  uuid.bytes[14] = static_cast<std::uint8_t>(number >> 8);
  uuid.bytes[15] = static_cast<std::uint8_t>(number);
  return uuid;
}

class FanOutsTest : public testing::Test {
 protected:
  void add(std::int64_t event_id, const std::string& organization, int first, int count,
           const std::string& name = "contact.created") {
    auto event = std::make_shared<Outgoing>();
    event->event_id = event_id;
    event->event_name = name;
    if (!organization.empty()) event->organization_id = organization;
    std::vector<FanOuts::Subscriber> subscribers;
    for (int number = first; number < first + count; ++number) subscribers.push_back({webhook_number(number), {}});
    fan_outs_.add(std::move(event), static_cast<Ledger::Entry>(event_id), std::move(subscribers));
  }
  std::vector<FanOuts::Taken> take_all() {
    std::vector<FanOuts::Taken> all;
    while (const auto taken = fan_outs_.take()) all.push_back(*taken);
    return all;
  }

  ByteBudget budget_;
  FanOuts fan_outs_{budget_};
};

TEST_F(FanOutsTest, AnEventComesToEachReceiverInTheOrderOfEvents) {
  add(1, "acme", 0, 3);
  add(2, "acme", 1, 2);
  std::vector<std::pair<std::int64_t, Uuid>> taken;
  for (const FanOuts::Taken& each : take_all()) {
    EXPECT_EQ(each.entry, static_cast<Ledger::Entry>(each.event->event_id));
    taken.emplace_back(each.event->event_id, each.subscriber.webhook);
  }
  EXPECT_EQ(taken, (std::vector<std::pair<std::int64_t, Uuid>>{{1, webhook_number(0)},
                                                               {1, webhook_number(1)},
                                                               {1, webhook_number(2)},
                                                               {2, webhook_number(1)},
                                                               {2, webhook_number(2)}}));
  EXPECT_TRUE(fan_outs_.empty());
}

TEST_F(FanOutsTest, KnowsOfEachWebhookWhetherSomethingWaits) {
  add(1, "acme", 0, 2);
  add(2, "acme", 0, 1);
  fan_outs_.take();
  EXPECT_TRUE(fan_outs_.contains(webhook_number(0))) << "of the second event";
  fan_outs_.take();
  EXPECT_FALSE(fan_outs_.contains(webhook_number(1)));
  fan_outs_.take();
  EXPECT_FALSE(fan_outs_.contains(webhook_number(0)));
  EXPECT_TRUE(fan_outs_.empty());
}

TEST_F(FanOutsTest, KnowsWhetherSomethingOlderWaits) {
  EXPECT_FALSE(fan_outs_.has_older_than(100));
  add(5, "acme", 0, 1);
  add(3, "globex", 0, 1);
  EXPECT_FALSE(fan_outs_.has_older_than(3));
  EXPECT_TRUE(fan_outs_.has_older_than(4));
  take_all();
  EXPECT_FALSE(fan_outs_.has_older_than(100));
}

TEST_F(FanOutsTest, OrganizationsTakeTurnsHoweverMuchWaitsForOne) {
  for (std::int64_t id = 1; id <= 100; ++id) add(id, "acme", 0, 1'000);
  add(101, "globex", 2'000, 30);
  add(102, "", 3'000, 30);
  std::map<std::string, std::size_t> last;
  std::size_t taken = 0;
  while (const auto each = fan_outs_.take()) last[each->event->organization_id.value_or("")] = ++taken;
  EXPECT_EQ(taken, 100'060U);
  EXPECT_LE(last["globex"], 2 * FanOuts::kTurn + 60);
  EXPECT_LE(last[""], 2 * FanOuts::kTurn + 60);
}

TEST_F(FanOutsTest, WhatWaitsIsCountedAndBounded) {
  std::int64_t id = 0;
  while (!fan_outs_.is_full()) add(++id, "acme", 0, 1'000);
  EXPECT_GT(id, 10'000) << "their subscribers are the same, and counted once";
  EXPECT_GE(budget_.used(), budget_.fan_outs_max());
  EXPECT_LE(budget_.used(), budget_.fan_outs_max() + 100'000);
  take_all();
  EXPECT_EQ(budget_.used(), 0U);
  EXPECT_FALSE(fan_outs_.is_full());

  for (id = 0; !fan_outs_.is_full(); ++id) add(id, "acme", 0, 1'000, "name " + std::to_string(id));
  EXPECT_LT(id, 500) << "their names are not";
}

}  // namespace
}  // namespace webhook
