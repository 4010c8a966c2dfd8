#include "worker/targets.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

Uuid webhook_number(std::uint8_t number) {
  Uuid id;
  id.bytes[15] = number;
  return id;
}

const Uuid kFirst = webhook_number(1);
const Uuid kSecond = webhook_number(2);

pg::Webhook webhook(const Uuid& id, std::vector<std::string> events,
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

TEST(TargetsTest, EventGoesToWhoNamesItOrAPatternOfIt) {
  Targets targets;
  targets.replace({webhook(kFirst, {"deal.created", "contact.*"}), webhook(kSecond, {"deal.updated"})});
  EXPECT_EQ(routes(targets, event("contact.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(targets, event("deal.updated")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(targets, event("message.sent")).empty());
}

TEST(TargetsTest, WebhookWithTwoMatchesGetsTheEventOnce) {
  Targets targets;
  targets.replace({webhook(kFirst, {"contact.*", "contact.created", "*"})});
  EXPECT_EQ(routes(targets, event("contact.created")), std::vector<Uuid>{kFirst});
}

TEST(TargetsTest, EventStaysInItsOrganization) {
  Targets targets;
  targets.replace({webhook(kFirst, {"*"}, "acme"), webhook(kSecond, {"*"}, "umbrella")});
  EXPECT_EQ(routes(targets, event("deal.created", "acme")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(targets, event("deal.created", "umbrella")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(targets, event("deal.created", "other")).empty());
}

TEST(TargetsTest, NoOrganizationIsOneOfItsOwn) {
  Targets targets;
  targets.replace({webhook(kFirst, {"*"}), webhook(kSecond, {"*"}, "")});
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst});
  EXPECT_EQ(routes(targets, event("deal.created", "")), std::vector<Uuid>{kSecond});
  EXPECT_TRUE(routes(targets, event("deal.created", "acme")).empty());
}

TEST(TargetsTest, InactiveWebhookIsAskedToo) {
  Targets targets;
  pg::Webhook inactive = webhook(kFirst, {"*"});
  inactive.is_active = false;
  targets.replace({inactive});
  EXPECT_NE(targets.find(kFirst), nullptr);
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst}) << "it may have been active at the time";
}

TEST(TargetsTest, RememberedRoutesEndWithTheirConfiguration) {
  Targets targets;
  targets.replace({webhook(kFirst, {"*"})});
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kFirst});
  targets.replace({webhook(kSecond, {"*"})});
  EXPECT_EQ(routes(targets, event("deal.created")), std::vector<Uuid>{kSecond});
  EXPECT_EQ(targets.find(kFirst), nullptr);
}

TEST(TargetsTest, RoutesAreRightForAnyNumberOfOrganizations) {
  Targets targets;
  targets.replace({webhook(kFirst, {"*"}, "5")});
  for (int round = 0; round < 2; ++round) {
    for (int organization = 0; organization < 15'000; ++organization) {
      const bool found = !routes(targets, event("deal.created", std::to_string(organization))).empty();
      ASSERT_EQ(found, organization == 5) << organization;
    }
  }
}

TEST(TargetsTest, WebhookThatStaysKeepsWhatWasFoundOutAboutItsEndpoint) {
  Targets targets;
  targets.replace({webhook(kFirst, {"*"}), webhook(kSecond, {"*"})});
  targets.find(kFirst)->endpoint.failing_since = Time(Duration(5));
  EXPECT_TRUE(targets.replace({webhook(kFirst, {"deal.*"})}).empty());
  EXPECT_EQ(targets.find(kFirst)->endpoint.failing_since, Time(Duration(5)));
  EXPECT_EQ(targets.find(kSecond), nullptr);
  EXPECT_EQ(targets.find(kFirst)->webhook.events, std::vector<std::string>{"deal.*"});
}

TEST(TargetsTest, FailuresBeforeItWasSwitchedOnOrGotAnotherUrlCountNoMore) {
  Targets targets;
  targets.replace({webhook(kFirst, {"*"}), webhook(kSecond, {"*"})});
  for (const Uuid& id : {kFirst, kSecond}) targets.find(id)->endpoint.failing_since = Time(Duration(5));
  pg::Webhook switched_on = webhook(kFirst, {"*"});
  switched_on.active_since = Time(Duration(6));
  pg::Webhook moved = webhook(kSecond, {"*"});
  moved.url = "https://elsewhere.example/";
  const auto changed = targets.replace({switched_on, moved});
  EXPECT_EQ(targets.find(kFirst)->endpoint.failing_since, std::nullopt);
  EXPECT_EQ(targets.find(kSecond)->endpoint.failing_since, std::nullopt);
  ASSERT_EQ(changed.size(), 1U);
  EXPECT_EQ(changed[0].webhook, kSecond);
  EXPECT_TRUE(changed[0].url);
  EXPECT_FALSE(changed[0].ordering);
}

TEST(TargetsTest, EverySecretBecomesAKeyNewestFirst) {
  Targets targets;
  targets.replace({webhook(kFirst, {"*"})});
  SigningKeys& keys = targets.find(kFirst)->keys;
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(standard_signature(keys[0].standard, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

}  // namespace
}  // namespace webhook
