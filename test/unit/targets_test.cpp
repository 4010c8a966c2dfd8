#include "worker/targets.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace webhook {
namespace {

Uuid webhook_number(std::uint8_t number) {
  Uuid id;
  id.bytes[15] = number;
  return id;
}

const Uuid kFirst = webhook_number(1);
const Uuid kSecond = webhook_number(2);

Webhook webhook(const Uuid& id, std::vector<std::string> events,
                std::optional<std::string> organization_id = std::nullopt) {
  return {.id = id,
          .organization_id = std::move(organization_id),
          .events = std::move(events),
          .secrets = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "old"},
          .is_active = true};
}

Event event(std::string name, std::optional<std::string> organization_id = std::nullopt) {
  return {.id = 1, .name = std::move(name), .organization_id = std::move(organization_id)};
}

std::vector<Uuid> routes(Targets& targets, const Event& event) {
  std::vector<Uuid> ids;
  for (const Target* const target : targets.routes(event)) ids.push_back(target->webhook.id);
  return ids;
}

void put(Targets& targets, std::vector<Webhook> webhooks) {
  for (Webhook& each : webhooks) targets.put(std::move(each));
}

TEST(TargetsTest, EventGoesToWhoNamesItOrAPatternOfIt) {
  Targets targets;
  put(targets, {webhook(kFirst, {"deal.created", "contact.*"}), webhook(kSecond, {"deal.updated"})});
  EXPECT_EQ(routes(targets, event("contact.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(targets, event("deal.updated")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(targets, event("message.sent")).empty());
}

TEST(TargetsTest, WebhookWithTwoMatchesGetsTheEventOnce) {
  Targets targets;
  put(targets, {webhook(kFirst, {"contact.*", "contact.created", "*"})});
  EXPECT_EQ(routes(targets, event("contact.created")), std::vector<Uuid>{kFirst});
}

TEST(TargetsTest, EventStaysInItsOrganization) {
  Targets targets;
  put(targets, {webhook(kFirst, {"*"}, "acme"), webhook(kSecond, {"*"}, "umbrella")});
  EXPECT_EQ(routes(targets, event("deal.created", "acme")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(targets, event("deal.created", "umbrella")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(targets, event("deal.created", "other")).empty());
}

TEST(TargetsTest, NoOrganizationIsOneOfItsOwn) {
  Targets targets;
  put(targets, {webhook(kFirst, {"*"}), webhook(kSecond, {"*"}, "")});
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(targets, event("deal.created", "")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(targets, event("deal.created", "acme")).empty());
}

TEST(TargetsTest, InactiveWebhookIsAskedToo) {
  Targets targets;
  Webhook inactive = webhook(kFirst, {"*"});
  inactive.is_active = false;
  put(targets, {inactive});
  EXPECT_NE(targets.find(kFirst), nullptr);
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst}) << "it may have been active at the time";
}

TEST(TargetsTest, RememberedRoutesFollowEachChange) {
  Targets targets;
  put(targets, {webhook(kFirst, {"*"})});
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst});
  targets.put(webhook(kSecond, {"*"}));
  EXPECT_EQ(routes(targets, event("deal.created")), (std::vector<Uuid>{kFirst, kSecond})) << "a new one";
  targets.put(webhook(kSecond, {"contact.*"}));
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst}) << "one with another pattern";
  targets.remove(kFirst);
  EXPECT_TRUE(routes(targets, event("deal.created")).empty()) << "one that is gone";
  EXPECT_EQ(targets.find(kFirst), nullptr);
}

TEST(TargetsTest, RoutesAreRightForAnyNumberOfOrganizations) {
  Targets targets;
  put(targets, {webhook(kFirst, {"*"}, "5")});
  for (int round = 0; round < 2; ++round) {
    for (int organization = 0; organization < 15'000; ++organization) {
      const bool found = !routes(targets, event("deal.created", std::to_string(organization))).empty();
      ASSERT_EQ(found, organization == 5) << organization;
    }
  }
}

TEST(TargetsTest, WebhookThatStaysKeepsWhatWasFoundOutAboutItsEndpoint) {
  Targets targets;
  put(targets, {webhook(kFirst, {"*"}), webhook(kSecond, {"*"})});
  targets.find(kFirst)->endpoint.failing_since = Time(Duration(5));
  const Targets::Change change = targets.put(webhook(kFirst, {"deal.*"}));
  EXPECT_FALSE(change.is_new || change.ordering || change.url || change.became_deliverable);
  EXPECT_EQ(targets.find(kFirst)->endpoint.failing_since, Time(Duration(5)));
  EXPECT_EQ(targets.find(kFirst)->webhook.events, std::vector<std::string>{"deal.*"});
}

TEST(TargetsTest, FailuresBeforeItWasSwitchedOnOrGotAnotherUrlCountNoMore) {
  Targets targets;
  put(targets, {webhook(kFirst, {"*"}), webhook(kSecond, {"*"})});
  for (const Uuid& id : {kFirst, kSecond}) targets.find(id)->endpoint.failing_since = Time(Duration(5));
  Webhook switched_on = webhook(kFirst, {"*"});
  switched_on.active_since = Time(Duration(6));
  Webhook moved = webhook(kSecond, {"*"});
  moved.url = "https://elsewhere.example/";
  targets.put(switched_on);
  const Targets::Change change = targets.put(moved);
  EXPECT_EQ(targets.find(kFirst)->endpoint.failing_since, std::nullopt);
  EXPECT_EQ(targets.find(kSecond)->endpoint.failing_since, std::nullopt);
  EXPECT_TRUE(change.url);
  EXPECT_FALSE(change.ordering);
}

TEST(TargetsTest, EverySecretBecomesAKeyNewestFirst) {
  Targets targets;
  put(targets, {webhook(kFirst, {"*"})});
  SigningKeys& keys = targets.find(kFirst)->keys();
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(standard_signature(keys[0].standard, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(TargetsTest, NewSecretsMakeNewKeys) {
  Targets targets;
  targets.put(webhook(kFirst, {"*"}));
  EXPECT_EQ(targets.find(kFirst)->keys().size(), 2U);
  Webhook rotated = webhook(kFirst, {"*"});
  rotated.secrets = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"};
  targets.put(rotated);
  EXPECT_EQ(targets.find(kFirst)->keys().size(), 1U);
}

TEST(TargetsTest, DeliveryFindsTheWebhookThatItWasMadeFor) {
  Targets targets;
  Webhook of_acme = webhook(kFirst, {"*"}, "acme");
  of_acme.created_at = Time(Duration(5));
  auto of = [](std::optional<std::string> organization_id) {
    auto event = std::make_shared<Outgoing>();
    event->organization_id = std::move(organization_id);
    return event;
  };
  const Delivery delivery{.webhook = kFirst, .webhook_created_at = of_acme.created_at, .event = of("acme")};
  EXPECT_EQ(targets.find(delivery), nullptr);
  targets.put(of_acme);
  EXPECT_EQ(targets.find(delivery), targets.find(kFirst));
  EXPECT_EQ(targets.find({.webhook = kFirst, .webhook_created_at = Time(Duration(6)), .event = of("acme")}), nullptr);
  EXPECT_EQ(targets.find({.webhook = kFirst, .webhook_created_at = of_acme.created_at, .event = of("other")}), nullptr);
  EXPECT_EQ(targets.find({.webhook = kFirst, .webhook_created_at = of_acme.created_at, .event = of(std::nullopt)}),
            nullptr);
  EXPECT_EQ(targets.find({.webhook = kSecond, .webhook_created_at = of_acme.created_at, .event = of("acme")}), nullptr);
}

TEST(TargetsTest, RemovedWebhookLeavesTheOthersOfItsOrganization) {
  Targets targets;
  std::vector<Uuid> left;
  for (std::uint8_t number = 1; number <= 9; ++number) targets.put(webhook(webhook_number(number), {"*"}, "acme"));
  for (const std::uint8_t number : {9, 1, 5, 2}) targets.remove(webhook_number(number));
  std::vector<Uuid> found = routes(targets, event("deal.created", "acme"));
  std::sort(found.begin(), found.end());
  for (const std::uint8_t number : {3, 4, 6, 7, 8}) left.push_back(webhook_number(number));
  EXPECT_EQ(found, left);
  targets.remove(webhook_number(9));
  EXPECT_EQ(targets.size(), 5U);
}

TEST(TargetsTest, WhatARoundHasNotSeenIsKnown) {
  Targets targets;
  targets.put(webhook(kFirst, {"*"}), 1);
  targets.put(webhook(kSecond, {"*"}), 1);
  targets.put(webhook(kFirst, {"*"}), 2);
  EXPECT_TRUE(targets.not_seen_since(1).empty());
  EXPECT_EQ(targets.not_seen_since(2), std::vector<Uuid>{kSecond});
}

}  // namespace
}  // namespace webhook
