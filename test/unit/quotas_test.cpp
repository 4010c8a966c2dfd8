#include "worker/quotas.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "fake_process.h"
#include "fake_store.h"

namespace webhook {
namespace {

using namespace std::chrono_literals;

class QuotasTest : public ::testing::Test {
 protected:
  void add_rows(int webhook, const std::optional<std::string>& organization, int rows, bool is_dead = false) {
    for (int i = 0; i < rows; ++i) {
      const DeliveryKey key{++events_, FakeStore::uuid(webhook)};
      DeliveryRow row{.key = key, .organization_id = organization, .created_at = process_.now()};
      if (!is_dead) row.next_attempt_at = process_.now() + std::chrono::milliseconds(events_);
      store_.deliveries.emplace(key, row);
    }
  }
  auto count_of(int webhook) const {
    return std::count_if(store_.deliveries.begin(), store_.deliveries.end(),
                         [webhook](const auto& entry) { return entry.first.webhook == FakeStore::uuid(webhook); });
  }
  // Until all phases of a round have been gone through, and more.
  void run_a_round() {
    for (int i = 0; i < 200; ++i) {
      process_.pass(1s);
      quotas_.turn();
    }
  }

  FakeProcess process_;
  FakeStore store_{process_};
  Quotas quotas_{process_, store_};
  std::int64_t events_ = 0;
};

TEST_F(QuotasTest, ARoundCountsWhatIsPendingAndWhatIsDead) {
  add_rows(1, "acme", 1'500);
  add_rows(2, "acme", 700, true);
  add_rows(3, std::nullopt, 20);
  EXPECT_FALSE(quotas_.totals());
  run_a_round();
  ASSERT_TRUE(quotas_.totals());
  EXPECT_EQ(quotas_.totals()->pending, 1'520U);
  EXPECT_EQ(quotas_.totals()->dead, 700U);
  const Time counted_at = quotas_.totals()->counted_at;
  store_.deliveries.clear();
  run_a_round();
  EXPECT_EQ(quotas_.totals()->pending, 0U);
  EXPECT_EQ(quotas_.totals()->dead, 0U);
  EXPECT_GT(quotas_.totals()->counted_at, counted_at);
}

TEST_F(QuotasTest, WithinTheQuotaNothingIsGivenUp) {
  process_.settings_in_force.deliveries_max = 100;
  add_rows(1, "acme", 60);
  add_rows(2, "acme", 40);
  add_rows(3, "globex", 100);
  run_a_round();
  EXPECT_EQ(store_.deliveries.size(), 200U);
  EXPECT_TRUE(store_.logs.empty());
}

TEST_F(QuotasTest, BeyondItTheWebhookThatHasTheMostGivesUpDownToAMargin) {
  process_.settings_in_force.deliveries_max = 100;
  add_rows(1, "acme", 5'000);
  add_rows(2, "acme", 10);
  add_rows(3, "globex", 100);
  add_rows(4, std::nullopt, 5'000);
  run_a_round();
  EXPECT_EQ(count_of(1), 80);
  EXPECT_EQ(count_of(2), 10) << "another webhook of the organization";
  EXPECT_EQ(count_of(3), 100) << "another organization";
  EXPECT_EQ(count_of(4), 5'000) << "none";
}

TEST_F(QuotasTest, WhatIsGivenUpIsLoggedInFewRowsThatCountIt) {
  process_.settings_in_force.deliveries_max = 1'000;
  add_rows(1, "acme", 5'900);
  run_a_round();
  EXPECT_EQ(count_of(1), 900);
  ASSERT_EQ(store_.logs.size(), 25U);
  int logged = 0;
  for (const FakeStore::Log& log : store_.logs) {
    EXPECT_EQ(log.row.attempt, 0);
    EXPECT_FALSE(log.row.success);
    EXPECT_NE(log.row.error.find("webhook.max_deliveries_per_organization"), std::string::npos);
    logged += std::stoi(log.row.error);
  }
  EXPECT_EQ(logged, 5'000);
}

TEST_F(QuotasTest, TheDeadGoFirstAndWhatIsDueLastNext) {
  process_.settings_in_force.deliveries_max = 100;
  add_rows(1, "acme", 50);
  add_rows(1, "acme", 50, true);
  add_rows(1, "acme", 50);
  const std::int64_t last_of_the_rest = events_ - 10;
  run_a_round();
  ASSERT_EQ(count_of(1), 90);
  for (const auto& [key, row] : store_.deliveries) {
    EXPECT_TRUE(row.next_attempt_at);
    EXPECT_LE(key.event_id, last_of_the_rest);
  }
  ASSERT_EQ(store_.logs.size(), 1U) << "the dead have their rows already";
  EXPECT_EQ(std::stoi(store_.logs[0].row.error), 10);
}

TEST_F(QuotasTest, AWebhookWhoseRowsAreLockedDoesNotHoldUpTheRound) {
  process_.settings_in_force.deliveries_max = 10;
  add_rows(1, "acme", 100);
  store_.before = [this](const std::string& call) {
    // As if somebody had them locked: nothing is found to delete.
    if (call == "give_up_excess") store_.deliveries.clear();
  };
  run_a_round();
  add_rows(2, "globex", 100);
  store_.before = {};
  run_a_round();
  EXPECT_EQ(count_of(2), 9);
}

TEST_F(QuotasTest, SavedEventsBeyondTheQuotaGoTheOldestFirst) {
  process_.settings_in_force.saved_bytes_max = 1'000;
  store_.saved["acme"] = {400, 500, 300, 200};
  store_.saved["globex"] = {1'000};
  run_a_round();
  EXPECT_EQ(store_.saved["acme"], (std::vector<std::uint64_t>{300, 200}));
  EXPECT_EQ(store_.saved["globex"], (std::vector<std::uint64_t>{1'000}));
}

TEST_F(QuotasTest, AFailedStepIsDoneAgain) {
  process_.settings_in_force.deliveries_max = 10;
  add_rows(1, "acme", 100);
  int failures = 0;
  store_.before = [&failures](const std::string& call) {
    if (call == "give_up_excess" && ++failures == 1) FakeStore::fail();
  };
  for (int i = 0; i < 200; ++i) {
    process_.pass(1s);
    try {
      quotas_.turn();
    } catch (const Error&) {
    }
  }
  EXPECT_EQ(count_of(1), 9);
}

TEST_F(QuotasTest, RoundsRest) {
  int rounds = 0;
  store_.before = [&rounds](const std::string& call) { rounds += call == "tidy_saved" ? 1 : 0; };
  for (int i = 0; i < 100; ++i) {
    process_.pass(1s);
    quotas_.turn();
  }
  EXPECT_LE(rounds, 21);
  EXPECT_GE(rounds, 10);
}

}  // namespace
}  // namespace webhook
