#include "worker/subscribers.h"

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

// With another value than the default in each field that is packed.
Webhook webhook_with_everything() {
  return {.id = kFirst,
          .organization_id = "acme",
          .name = std::string("na\0me", 5),
          .url = "https://receiver.example/" + std::string(300, 'p'),
          .events = {"contact.*", "deal.created"},
          .filter = "$.stage == \"won\"",
          .headers = {"X-A: 1", "X-B: " + std::string(20'000, 'b')},
          .secrets = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "old"},
          .is_active = true,
          .version = 7,
          .created_at = Time(Duration(11)),
          .active_since = Time(Duration(12)),
          .switches = {1, 1LL << 40, 5},
          .timeout = Duration(13),
          .retry_schedule = {Duration(14), Duration(15)},
          .limits = {.max_in_flight = 16, .rate_per_s = 0.5, .ordering = Ordering::kKey},
          .secret_problem = "none of its secrets",
          .is_undecryptable = true,
          .secrets_change_at = Time(Duration(17))};
}

EndpointState endpoint_with_everything(const Webhook& webhook) {
  return {.webhook = webhook.id,
          .webhook_created_at = webhook.created_at,
          .failing_since = Time(Duration(-1)),
          .last_success_at = Time(Duration(2)),
          .last_failure_at = Time(Duration(3)),
          .last_error = "HTTP status 500",
          .filter_failed_at = Time(Duration(4)),
          .filter_error = "division by zero"};
}

Event event(std::string name, std::optional<std::string> organization_id = std::nullopt) {
  return {.id = 1, .name = std::move(name), .organization_id = std::move(organization_id)};
}

std::vector<Uuid> routes(Subscribers& subscribers, const Event& event) {
  std::vector<Uuid> ids;
  for (const Subscriber* const subscriber : subscribers.routes(event)) ids.push_back(subscriber->id());
  return ids;
}

void put(Subscribers& subscribers, std::vector<Webhook> webhooks) {
  for (Webhook& each : webhooks) subscribers.put(std::move(each));
}

TEST(SubscribersTest, EventGoesToWhoNamesItOrAPatternOfIt) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"deal.created", "contact.*"}), webhook(kSecond, {"deal.updated"})});
  EXPECT_EQ(routes(subscribers, event("contact.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(subscribers, event("deal.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(subscribers, event("deal.updated")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(subscribers, event("message.sent")).empty());
}

TEST(SubscribersTest, WebhookWithTwoMatchesGetsTheEventOnce) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"contact.*", "contact.created", "*"})});
  EXPECT_EQ(routes(subscribers, event("contact.created")), std::vector<Uuid>{kFirst});
}

TEST(SubscribersTest, EventStaysInItsOrganization) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"*"}, "acme"), webhook(kSecond, {"*"}, "umbrella")});
  EXPECT_EQ(routes(subscribers, event("deal.created", "acme")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(subscribers, event("deal.created", "umbrella")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(subscribers, event("deal.created", "other")).empty());
}

TEST(SubscribersTest, NoOrganizationIsOneOfItsOwn) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"*"}), webhook(kSecond, {"*"}, "")});
  EXPECT_EQ(routes(subscribers, event("deal.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(subscribers, event("deal.created", "")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(subscribers, event("deal.created", "acme")).empty());
}

TEST(SubscribersTest, InactiveWebhookIsAskedToo) {
  Subscribers subscribers;
  Webhook inactive = webhook(kFirst, {"*"});
  inactive.is_active = false;
  put(subscribers, {inactive});
  EXPECT_NE(subscribers.find(kFirst), nullptr);
  EXPECT_EQ(routes(subscribers, event("deal.created")), std::vector<Uuid>{kFirst})
      << "it may have been active at the time";
}

TEST(SubscribersTest, RememberedRoutesFollowEachChange) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"*"})});
  EXPECT_EQ(routes(subscribers, event("deal.created")), std::vector<Uuid>{kFirst});
  subscribers.put(webhook(kSecond, {"*"}));
  EXPECT_EQ(routes(subscribers, event("deal.created")), (std::vector<Uuid>{kFirst, kSecond})) << "a new one";
  subscribers.put(webhook(kSecond, {"contact.*"}));
  EXPECT_EQ(routes(subscribers, event("deal.created")), std::vector<Uuid>{kFirst}) << "one with another pattern";
  subscribers.remove(kFirst);
  EXPECT_TRUE(routes(subscribers, event("deal.created")).empty()) << "one that is gone";
  EXPECT_EQ(subscribers.find(kFirst), nullptr);
}

TEST(SubscribersTest, RoutesAreRightForAnyNumberOfOrganizations) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"*"}, "5")});
  for (int round = 0; round < 2; ++round) {
    for (int organization = 0; organization < 15'000; ++organization) {
      const bool found = !routes(subscribers, event("deal.created", std::to_string(organization))).empty();
      ASSERT_EQ(found, organization == 5) << organization;
    }
  }
}

TEST(SubscribersTest, WebhookThatStaysKeepsWhatWasFoundOutAboutItsEndpoint) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"*"}), webhook(kSecond, {"*"})});
  subscribers.find(kFirst)->endpoint().failing_since = Time(Duration(5));
  const Subscribers::Change change = subscribers.put(webhook(kFirst, {"deal.*"}));
  EXPECT_FALSE(change.is_new || change.ordering || change.url || change.became_deliverable);
  EXPECT_EQ(subscribers.find(kFirst)->endpoint().failing_since, Time(Duration(5)));
  EXPECT_EQ(subscribers.find(kFirst)->webhook().events, std::vector<std::string>{"deal.*"});
}

TEST(SubscribersTest, FailuresBeforeItWasSwitchedOnOrGotAnotherUrlCountNoMore) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"*"}), webhook(kSecond, {"*"})});
  for (const Uuid& id : {kFirst, kSecond}) subscribers.find(id)->endpoint().failing_since = Time(Duration(5));
  Webhook switched_on = webhook(kFirst, {"*"});
  switched_on.active_since = Time(Duration(6));
  Webhook moved = webhook(kSecond, {"*"});
  moved.url = "https://elsewhere.example/";
  subscribers.put(switched_on);
  const Subscribers::Change change = subscribers.put(moved);
  EXPECT_EQ(subscribers.find(kFirst)->endpoint().failing_since, std::nullopt);
  EXPECT_EQ(subscribers.find(kSecond)->endpoint().failing_since, std::nullopt);
  EXPECT_TRUE(change.url);
  EXPECT_FALSE(change.ordering);
}

TEST(SubscribersTest, EverySecretBecomesAKeyNewestFirst) {
  Subscribers subscribers;
  put(subscribers, {webhook(kFirst, {"*"})});
  SigningKeys& keys = subscribers.find(kFirst)->keys();
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(standard_signature(keys[0].standard, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(SubscribersTest, NewSecretsMakeNewKeys) {
  Subscribers subscribers;
  subscribers.put(webhook(kFirst, {"*"}));
  EXPECT_EQ(subscribers.find(kFirst)->keys().size(), 2U);
  Webhook rotated = webhook(kFirst, {"*"});
  rotated.secrets = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"};
  subscribers.put(rotated);
  EXPECT_EQ(subscribers.find(kFirst)->keys().size(), 1U);
}

TEST(SubscribersTest, RequestsGoToTheWebhooksUrlOfNow) {
  Subscribers subscribers;
  Webhook moved = webhook(kFirst, {"*"});
  moved.url = "https://example.com/hook";
  subscribers.put(moved);
  Subscriber& subscriber = *subscribers.find(kFirst);
  EXPECT_EQ(subscriber.url().text(), moved.url);
  EXPECT_NE(subscriber.url().parsed(), nullptr);
  const auto* const parsed = subscriber.url().parsed();
  subscribers.put(moved);
  EXPECT_EQ(subscriber.url().parsed(), parsed);
  moved.url = "https://example.com/elsewhere";
  subscribers.put(moved);
  EXPECT_EQ(subscriber.url().text(), moved.url);
  subscriber.rest();
  moved.url = "https://example.com/";
  subscribers.put(moved);
  EXPECT_EQ(subscriber.url().text(), moved.url);
}

TEST(SubscribersTest, DeliveryFindsTheWebhookThatItWasMadeFor) {
  Subscribers subscribers;
  Webhook of_acme = webhook(kFirst, {"*"}, "acme");
  of_acme.created_at = Time(Duration(5));
  auto of = [](std::optional<std::string> organization_id) {
    auto event = std::make_shared<Outgoing>();
    event->organization_id = std::move(organization_id);
    return event;
  };
  const Delivery delivery{.webhook = kFirst, .webhook_created_at = of_acme.created_at, .event = of("acme")};
  EXPECT_EQ(subscribers.find(delivery), nullptr);
  subscribers.put(of_acme);
  EXPECT_EQ(subscribers.find(delivery), subscribers.find(kFirst));
  EXPECT_EQ(subscribers.find({.webhook = kFirst, .webhook_created_at = Time(Duration(6)), .event = of("acme")}),
            nullptr);
  EXPECT_EQ(subscribers.find({.webhook = kFirst, .webhook_created_at = of_acme.created_at, .event = of("other")}),
            nullptr);
  EXPECT_EQ(subscribers.find({.webhook = kFirst, .webhook_created_at = of_acme.created_at, .event = of(std::nullopt)}),
            nullptr);
  EXPECT_EQ(subscribers.find({.webhook = kSecond, .webhook_created_at = of_acme.created_at, .event = of("acme")}),
            nullptr);
}

TEST(SubscribersTest, RemovedWebhookLeavesTheOthersOfItsOrganization) {
  Subscribers subscribers;
  std::vector<Uuid> left;
  for (std::uint8_t number = 1; number <= 9; ++number) subscribers.put(webhook(webhook_number(number), {"*"}, "acme"));
  for (const std::uint8_t number : {9, 1, 5, 2}) subscribers.remove(webhook_number(number));
  std::vector<Uuid> found = routes(subscribers, event("deal.created", "acme"));
  std::sort(found.begin(), found.end());
  for (const std::uint8_t number : {3, 4, 6, 7, 8}) left.push_back(webhook_number(number));
  EXPECT_EQ(found, left);
  subscribers.remove(webhook_number(9));
  EXPECT_EQ(subscribers.size(), 5U);
}

TEST(SubscribersTest, WhatARoundHasNotSeenIsKnown) {
  Subscribers subscribers;
  subscribers.put(webhook(kFirst, {"*"}), 1);
  subscribers.put(webhook(kSecond, {"*"}), 1);
  subscribers.put(webhook(kFirst, {"*"}), 2);
  EXPECT_TRUE(subscribers.not_seen_since(1).empty());
  EXPECT_EQ(subscribers.not_seen_since(2), std::vector<Uuid>{kSecond});
}

// --- Webhooks that rest -------------------------------------------------------------------------------------------------

void rest_all(Subscribers& subscribers) {
  for (int look = 0; look < 200; ++look) subscribers.rest_unused([](Subscriber& subscriber) { subscriber.rest(); });
}

TEST(SubscribersTest, RestingWebhookIsRoutedToAndFoundWithoutWakingUp) {
  Subscribers subscribers;
  Webhook of_acme = webhook(kFirst, {"contact.*", "deal.created"}, "acme");
  of_acme.created_at = Time(Duration(5));
  subscribers.put(of_acme);
  rest_all(subscribers);
  for (const char* name : {"contact.created", "deal.created"}) {
    EXPECT_EQ(routes(subscribers, event(name, "acme")), std::vector<Uuid>{kFirst});
  }
  EXPECT_TRUE(routes(subscribers, event("deal.updated", "acme")).empty());
  EXPECT_EQ(subscribers.find(kFirst)->identity(), of_acme.identity());
  EXPECT_TRUE(subscribers.find(kFirst)->is_deliverable());
  EXPECT_TRUE(subscribers.find(kFirst)->is_resting());
}

TEST(SubscribersTest, RestLosesNothing) {
  Subscribers subscribers;
  const Webhook all = webhook_with_everything();
  subscribers.put(all);
  Subscriber& subscriber = *subscribers.find(all.id);
  subscriber.endpoint() = endpoint_with_everything(all);
  EXPECT_EQ(subscriber.keys().size(), 2U);
  subscriber.rest();
  EXPECT_TRUE(subscriber.is_resting());
  EXPECT_EQ(subscriber.webhook(), all);
  EXPECT_FALSE(subscriber.is_resting());
  EXPECT_EQ(subscriber.endpoint(), endpoint_with_everything(all));
  EXPECT_EQ(subscriber.keys().size(), 2U);
}

TEST(SubscribersTest, OnlyWhatWasNotUsedSinceTheLastLookRests) {
  Subscribers subscribers;
  for (std::uint8_t number = 1; number <= 200; ++number) subscribers.put(webhook(webhook_number(number), {"*"}));
  rest_all(subscribers);
  const auto awake = [&] {
    return std::count_if(subscribers.begin(), subscribers.end(),
                         [](const auto& each) { return !each.second.is_resting(); });
  };
  EXPECT_EQ(awake(), 0);
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(subscribers.find(kFirst)->webhook().is_active);
    EXPECT_TRUE(subscribers.find(kSecond)->webhook().is_active);
    int looks = 0;
    while (!subscribers.find(kSecond)->is_resting() && looks++ < 1000) {
      (void)subscribers.find(kFirst)->endpoint();
      subscribers.rest_unused([](Subscriber& subscriber) { subscriber.rest(); });
    }
    EXPECT_EQ(awake(), 1) << "the one that was used again and again";
    EXPECT_FALSE(subscribers.find(kFirst)->is_resting());
  }
}

TEST(SubscribersTest, WebhookWhoseEndpointOrFilterFailsDoesNotRest) {
  Subscribers subscribers;
  subscribers.put(webhook(kFirst, {"*"}));
  Subscriber& subscriber = *subscribers.find(kFirst);
  const Time now(Duration(1000));
  EXPECT_TRUE(subscriber.may_rest(now));
  subscriber.endpoint().failing_since = now;
  EXPECT_FALSE(subscriber.may_rest(now));
  subscriber.endpoint().failing_since.reset();
  subscriber.details().filter_overruns = 1;
  EXPECT_FALSE(subscriber.may_rest(now));
  subscriber.details().filter_overruns = 0;
  subscriber.details().filter_rests_until = now + Duration(1);
  EXPECT_FALSE(subscriber.may_rest(now));
  EXPECT_TRUE(subscriber.may_rest(now + Duration(1)));
}

TEST(SubscribersTest, ChangeOfARestingWebhookIsSeen) {
  Subscribers subscribers;
  subscribers.put(webhook(kFirst, {"*"}));
  subscribers.find(kFirst)->rest();
  Webhook moved = webhook(kFirst, {"deal.*"});
  moved.url = "https://elsewhere.example/";
  const Subscribers::Change change = subscribers.put(moved);
  EXPECT_TRUE(change.url);
  EXPECT_FALSE(change.is_new || change.ordering || change.filter || change.became_deliverable);
  EXPECT_EQ(subscribers.find(kFirst)->webhook(), moved);
}

TEST(SubscribersTest, OrganizationsCountIfAWebhookOfThemIsDeliverable) {
  Subscribers subscribers;
  Webhook off = webhook(kFirst, {"*"}, "acme");
  off.is_active = false;
  subscribers.put(off);
  EXPECT_EQ(subscribers.deliverable_organizations(), 0U);
  subscribers.put(webhook(kFirst, {"*"}, "acme"));
  subscribers.put(webhook(kSecond, {"*"}, "acme"));
  subscribers.put(webhook(webhook_number(3), {"*"}));
  EXPECT_EQ(subscribers.deliverable_organizations(), 2U);
  subscribers.put(off);
  EXPECT_EQ(subscribers.deliverable_organizations(), 2U);
  subscribers.remove(kSecond);
  EXPECT_EQ(subscribers.deliverable_organizations(), 1U);
  subscribers.remove(kFirst);
  subscribers.remove(webhook_number(3));
  EXPECT_EQ(subscribers.deliverable_organizations(), 0U);
}

}  // namespace
}  // namespace webhook
