// Webhooks and settings that change while a worker runs.
#include "worker_test.h"

namespace webhook {
namespace {

TEST_F(WorkerTest, PausedDeliversNothingAndResumedDeliversAllAtOnce) {
  store_.add_webhook(1);
  store_.set_paused(true);
  store_.emit_many(100);
  Time resumed{};
  plan(1min, [&] {
    EXPECT_TRUE(http_.received().empty());
    resumed = process_.now();
    store_.set_paused(false);
  });
  run_for(2min);
  EXPECT_EQ(received_by(1).size(), 100U);
  ASSERT_FALSE(http_.received().empty());
  EXPECT_LT(http_.received().back().at - resumed, 100ms);
  EXPECT_EQ(process_.count_log("deliveries are paused"), 1U);
  EXPECT_EQ(process_.count_log("deliveries are resumed"), 1U);
}

TEST_F(WorkerTest, WhoeverChangesWebhooksInALoopGetsAPartOfTheTime) {
  const Uuid toggled = store_.add_webhook(1);
  store_.add_webhook(2);
  store_.reading_takes = 300ms;
  Time changed_at{};
  for (int tick = 0; tick < 6000; ++tick) {
    plan(tick * 10ms, [this, &changed_at, toggled, tick] {
      changed_at = process_.now();
      store_.change_webhook(toggled, [tick](Webhook& w) { w.timeout = 1s + tick * 1ms; });
      if (tick % 100 == 0) store_.emit();
      process_.wake();
    });
  }
  run_for(70s);
  EXPECT_EQ(received_by(2).size(), 60U);
  EXPECT_GE(store_.changes_read, 10);
  EXPECT_LE(store_.changes_read, 70s / 350ms + 2);
  EXPECT_GE(store_.read_at[toggled], changed_at) << "the last change too is read";
}

TEST_F(WorkerTest, EditsOfOneOfManyWebhooksCostTheOthersNothing) {
  constexpr int kWebhooks = 1'000;
  constexpr int kEdits = 300;
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [&](Webhook& w) { w.organization_id = std::to_string(number); });
  }
  store_.reading_takes = 500us;
  std::map<std::int64_t, Time> emitted;
  for (int tick = 0; tick < kEdits; ++tick) {
    plan(1s + tick * 100ms, [this, tick] {
      store_.change_webhook(FakeStore::uuid(1), [tick](Webhook& w) { w.timeout = 1s + tick * 1ms; });
      process_.wake();
    });
    // Not before, with, and behind the edits alone.
    plan(1s + tick * 97ms, [this, &emitted] {
      emitted.emplace(store_.emit([](Event& event) { event.organization_id = "2"; }), process_.now());
    });
  }
  run_for(1min);
  EXPECT_EQ(received_by(2).size(), emitted.size());
  for (const Received& request : http_.received()) EXPECT_LT(request.at - emitted[request.event_id], 5ms);
  EXPECT_LE(store_.webhooks_read, static_cast<std::size_t>(kWebhooks + kEdits));
  EXPECT_LE(store_.webhooks_read_at_once, ConfigurationReader::kWebhooksPerStep);
}

// However many are changed at once, and whichever of them it is.
TEST_F(WorkerTest, ChangeIsInForceForEventsThatAreCommittedAfterIt) {
  constexpr int kWebhooks = 1'000;
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [&](Webhook& w) { w.organization_id = std::to_string(number % 10); });
  }
  store_.add_webhook(2'000, [](Webhook& w) { w.events = {"nothing"}; });
  Time emitted{};
  plan(1s, [&] {
    store_.change_webhook(FakeStore::uuid(2'000), [](Webhook& w) { w.events = {"*"}; });
    for (int number = 1; number <= kWebhooks; ++number) {
      store_.change_webhook(FakeStore::uuid(number), [](Webhook& w) { w.events = {"nothing"}; });
    }
    store_.add_webhook(2'001);
    emitted = process_.now();
    store_.forget_required_of(FakeStore::uuid(1));
    store_.emit();
    store_.emit([](Event& event) { event.organization_id = "1"; });
  });
  // While that is read, more comes.
  int steps = 0;
  store_.after = [&](const std::string& call) {
    if (call != "changes" || ++steps != 3) return;
    store_.add_webhook(2'002, [](Webhook& w) { w.organization_id = "late"; });
    store_.change_webhook(FakeStore::uuid(500), [](Webhook& w) {
      w.url = FakeStore::url(2'003);
      w.events = {"*"};
    });
    store_.emit([](Event& event) { event.organization_id = "late"; });
    store_.emit([](Event& event) { event.organization_id = "0"; });
  };
  run_for(10s);
  EXPECT_EQ(received_by(2'000), std::vector<std::int64_t>{1});
  EXPECT_EQ(received_by(2'001), std::vector<std::int64_t>{1});
  EXPECT_EQ(received_by(2'002), std::vector<std::int64_t>{3});
  EXPECT_EQ(received_by(2'003), std::vector<std::int64_t>{4});
  EXPECT_EQ(http_.received().size(), 4U) << "nobody else";
  EXPECT_GE(steps, kWebhooks / static_cast<int>(ConfigurationReader::kWebhooksPerStep)) << "in steps";
  EXPECT_LE(store_.webhooks_read_at_once, ConfigurationReader::kWebhooksPerStep);
}

TEST_F(WorkerTest, ChangeThatNothingAnnouncedIsFoundWithOneOfTheTable) {
  for (int number = 1; number <= 500; ++number) store_.add_webhook(number);
  store_.emit();
  plan(1s, [&] {
    store_.change_unseen(FakeStore::uuid(400), [](Webhook& w) { w.url = FakeStore::url(600); });
    process_.wake();
  });
  plan(20s, [&] { store_.emit(); });
  run_for(30s);
  EXPECT_EQ(received_by(400), std::vector<std::int64_t>{1});
  EXPECT_EQ(received_by(600), std::vector<std::int64_t>{2});
}

TEST_F(WorkerTest, WhatASessionOwesToOneWebhookIsSentAndNoOtherIsRead) {
  store_.add_webhook(2);
  const std::int64_t id = store_.emit();
  process_.pass(1ms);
  store_.add_webhook(1);
  plan(5s, [&] {
    EXPECT_TRUE(received_by(1).empty());
    store_.replay(id, FakeStore::uuid(1));
  });
  plan(5s + 100ms, [&] { EXPECT_EQ(received_by(1), std::vector<std::int64_t>{id}); });
  run_for(20s);
  EXPECT_EQ(received_by(1).size(), 1U);
  EXPECT_EQ(received_by(2).size(), 1U);
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_LT(store_.read_at[FakeStore::uuid(2)], process_.now() - 15s);
}

TEST_F(WorkerTest, PauseHoldsBackRetriesAndWhatWaitsInLanes) {
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received& request) {
    return Answer{.status = request.event_id == 1 && request.attempt == 1 ? 500 : 200, .delay = 1s};
  };
  store_.emit_many(10);
  std::size_t received = 0;
  plan(3500ms, [this] { store_.set_paused(true); });
  plan(4s, [&] { received = http_.received().size(); });
  plan(1min, [&] {
    EXPECT_EQ(http_.received().size(), received);
    EXPECT_TRUE(store_.is_all_behind_checkpoint()) << "what waits has been written down";
    store_.set_paused(false);
  });
  run_for(2min);
  EXPECT_EQ(http_.received().size(), 11U);
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, DisabledByTheSettingDeliversNothing) {
  process_.settings_in_force.enabled = false;
  store_.add_webhook(1);
  store_.emit_many(10);
  Time enabled{};
  plan(1min, [&] {
    EXPECT_TRUE(http_.received().empty());
    enabled = process_.now();
    process_.change_settings([](WorkerSettings& settings) { settings.enabled = true; });
  });
  run_for(2min);
  ASSERT_EQ(received_by(1).size(), 10U);
  EXPECT_LT(http_.received().back().at - enabled, 100ms);
  EXPECT_EQ(http_.configured, 2) << "at the start and on the reload";
}

TEST_F(WorkerTest, WebhookIsKnownBeforeTheEventsThatFollowIt) {
  plan(1s, [this] {
    store_.add_webhook(1);
    store_.emit();
  });
  run_for(2s);
  EXPECT_EQ(received_by(1), std::vector<std::int64_t>{1});
}

TEST_F(WorkerTest, WhatWaitsForAWebhookThatIsSwitchedOffIsPendingAndDeliveredWhenItIsBack) {
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.delay = 500ms}; };
  store_.emit_many(10);
  plan(1200ms, [&] {
    store_.set_active(webhook, false);
    process_.wake();
  });
  plan(20s, [&] {
    EXPECT_EQ(received_by(1).size(), 3U);
    EXPECT_EQ(store_.count_pending(), 7U);
    store_.set_active(webhook, true);
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(received_by(1), ids_from(1, 10));
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, WhatCannotBeSignedIsPendingWithTheReasonAndDeliveredWhenItCanBe) {
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.secret_problem = "no key"; });
  store_.add_webhook(2);
  store_.emit_many(10);
  plan(20s, [&] {
    EXPECT_TRUE(received_by(1).empty());
    EXPECT_EQ(received_by(2).size(), 10U) << "others go on";
    EXPECT_EQ(store_.count_pending(), 10U);
    for (const auto& [key, row] : store_.deliveries) {
      EXPECT_EQ(row.last_error, "no key");
      EXPECT_EQ(row.attempts, 0);
    }
    store_.change_webhook(webhook, [](Webhook& w) { w.secret_problem.clear(); });
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(received_by(1), ids_from(1, 10));
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, WhatWaitsForAWebhookWhoseKeyIsLostIsPendingAndDeliveredWhenItIsBack) {
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.delay = 500ms}; };
  store_.emit_many(10);
  plan(1200ms, [&] {
    store_.change_webhook(webhook, [](Webhook& w) { w.secret_problem = "no key"; });
    process_.wake();
  });
  plan(20s, [&] {
    EXPECT_EQ(received_by(1).size(), 3U);
    EXPECT_EQ(store_.count_pending(), 7U);
    store_.change_webhook(webhook, [](Webhook& w) { w.secret_problem.clear(); });
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(received_by(1), ids_from(1, 10));
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, RetryThatWaitsForAWebhookThatIsSwitchedOffIsMadeWhenItIsBack) {
  process_.settings_in_force.retry_schedule = {1s};
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received& request) {
    return Answer{.status = request.attempt == 1 ? 404 : 200, .delay = request.attempt == 1 ? 1ms : 500ms};
  };
  store_.emit_many(10);
  plan(2s, [&] {
    EXPECT_EQ(received_by(1).size(), 12U) << "all failed, and two retries are made";
    store_.set_active(webhook, false);
    process_.wake();
  });
  plan(20s, [&] {
    store_.set_active(webhook, true);
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(received_by(1).size(), 20U);
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, DeletedWebhookIsForgottenAndDoesNotHoldTheCheckpoint) {
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.status = 500, .delay = 200ms}; };
  store_.emit_many(100);
  plan(100ms, [&] {
    store_.delete_webhook(webhook);
    process_.wake();
  });
  plan(1500ms, [&] { EXPECT_TRUE(store_.is_all_behind_checkpoint()); });
  run_for(10s);
  EXPECT_EQ(received_by(1).size(), 1U);
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_EQ(store_.logs.size(), 1U) << "what was in flight is logged all the same";
}

TEST_F(WorkerTest, WhatIsLeftOfAWebhookThatWasDeletedWhileNoWorkerRanIsForgotten) {
  const Uuid webhook = store_.add_webhook(9);
  store_.add_pending(1, webhook, process_.now());
  store_.delete_webhook(webhook);
  run_for(1s);
  EXPECT_TRUE(store_.deliveries.empty());
}

}  // namespace
}  // namespace webhook
