// How workers begin, end and share the webhooks out.
#include "worker_test.h"

namespace webhook {
namespace {

// --- Beginning and end ------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, ShutdownDrainsWhatIsInFlight) {
  store_.add_webhook(1);
  store_.emit_many(20);  // so that its endpoint is trusted with several at once
  plan(500ms, [this] {
    http_.answer = [](const Received&) { return Answer{.delay = 2s}; };
    store_.emit_many(10);
  });
  run_for(1s);
  EXPECT_EQ(store_.logs.size(), 30U);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

TEST_F(WorkerTest, ShutdownWritesTheLastCheckpointBehindWhatItSettles) {
  store_.add_webhook(1);
  store_.emit_many(20);
  plan(500ms, [this] {
    http_.answer = [](const Received& request) {
      if (request.event_id == 30) return Answer{.delay = 1900ms};
      return Answer{.delay = request.event_id == 29 ? 1500ms : 900ms};
    };
    store_.emit_many(10);
  });
  run_for(2200ms);
  EXPECT_EQ(store_.logs.size(), 30U);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

TEST_F(WorkerTest, ShutdownDoesNotWaitForEver) {
  store_.add_webhook(1, [](Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit();
  const Time begun = process_.now();
  run_for(1s);
  EXPECT_LT(process_.now() - begun, 7s);
  EXPECT_TRUE(ended_cleanly_);
  http_.answer = [](const Received&) { return Answer{}; };
  run_for(10s);
  EXPECT_EQ(received_by(1), (std::vector<std::int64_t>{1, 1}));
}

TEST_F(WorkerTest, ShutdownLeavesWhatWaitsToTheNextWorker) {
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.delay = 100ms}; };
  store_.emit_many(100);
  run_for(1s);
  EXPECT_LT(received_by(1).size(), 20U);
  run_until([this] { return store_.logs.size() == 100; });
  EXPECT_EQ(received_by(1), ids_from(1, 100));
}

TEST_F(WorkerTest, AnUpdateOfTheExtensionEndsTheWorkerAsAShutdownDoes) {
  store_.add_webhook(1);
  store_.emit_many(20);
  plan(500ms, [this] {
    http_.answer = [](const Received&) { return Answer{.delay = 1s}; };
    store_.emit_many(10);
  });
  plan(700ms, [this] { store_.update_extension(); });
  const Time begun = process_.now();
  run_for(1h);
  EXPECT_LT(process_.now() - begun, 10min);
  EXPECT_TRUE(ended_cleanly_);
  EXPECT_EQ(store_.logs.size(), 30U);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

TEST_F(WorkerTest, CopyWarnsAndDeliversNothing) {
  store_.identity = StoredIdentity{.instance = FakeStore::uuid(77), .database = 1, .system_identifier = 1};
  store_.add_webhook(1);
  store_.emit();
  run_for(1min);
  EXPECT_EQ(process_.count_log("is a copy of another, or was restored"), 1U);
  EXPECT_TRUE(http_.received().empty());
  store_.set_paused(false);
  run_for(1min);
  EXPECT_EQ(received_by(1).size(), 1U);
  EXPECT_EQ(process_.count_log("is a copy of another, or was restored"), 1U);
}

// The results are durable, the checkpoint behind them is not.
TEST_F(WorkerTest, RecoveryDoesNotSendAgainWhatWasLoggedOrPending) {
  process_.settings_in_force.retry_schedule = {1min};
  store_.add_webhook(1);
  http_.answer = [](const Received& request) {
    return Answer{.status = request.event_id % 2 == 0 && request.attempt == 1 ? 500 : 200};
  };
  plan(1100ms, [this] { store_.emit_many(100); });
  crash_after(1400ms);
  ASSERT_EQ(store_.logs.size(), 100U);
  ASSERT_EQ(store_.count_pending(), 50U);
  ASSERT_FALSE(store_.is_all_behind_checkpoint());
  run_for(10s);
  EXPECT_EQ(http_.received().size(), 100U);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
  run_for(2min);
  EXPECT_EQ(http_.received().size(), 150U);
}

TEST_F(WorkerTest, CrashInTheMiddleOfAWindowRepeatsOnlyWhatWasInFlight) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 100ms}; };
  store_.emit_many(3'000);
  crash_after(5050ms);
  const std::size_t sent = http_.received().size();
  const std::size_t logged = store_.logs.size();
  ASSERT_EQ(sent - logged, 16U) << "in flight";
  run_until([this] { return store_.logs.size() == 3'000; });
  EXPECT_EQ(http_.received().size(), 3'016U);
}

TEST_F(WorkerTest, AClockThatIsSetBackDuringATurnIsNoticedWithinSeconds) {
  store_.add_webhook(1);
  const Time begun = process_.now();
  plan(12s, [this] { store_.emit(); });
  std::optional<Time> set_back_at;
  store_.before = [&](const std::string& call) {
    if (call != "record" || set_back_at || process_.now() < begun + 12s) return;
    process_.pass(-4h);
    set_back_at = process_.now();
  };
  std::optional<Time> turn_ended_at;
  Duration waited{};
  run_until([&] {
    if (!set_back_at) return false;
    if (turn_ended_at) {
      waited = process_.now() - *turn_ended_at;
      return true;
    }
    turn_ended_at = process_.now();
    return false;
  });
  EXPECT_LE(waited, 6s);
}

// --- Several workers -------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, EachWorkerDeliversToItsOwnWebhooksAndEachHasItsCheckpoint) {
  for (int number = 1; number <= 20; ++number) store_.add_webhook(number);
  store_.emit_many(10);
  for (const int number : {1, 2, 3}) {
    const std::size_t before = http_.received().size();
    share_ = {number, 3};
    run_for(5s);
    EXPECT_TRUE(store_.is_all_behind_checkpoint());
    for (std::size_t i = before; i < http_.received().size(); ++i) {
      EXPECT_TRUE(share_.owns(webhook_at(http_.received()[i].url))) << http_.received()[i].url;
    }
  }
  for (int w = 1; w <= 20; ++w) EXPECT_EQ(received_by(w), ids_from(1, 10)) << w;
}

TEST_F(WorkerTest, OnlyTheFirstWorkerLooksAfterTheRings) {
  int calls = 0;
  store_.ring = [&calls](Ring) {
    ++calls;
    return RingReport{};
  };
  share_ = {2, 2};
  run_for(1min);
  EXPECT_EQ(calls, 0);
  share_ = {1, 2};
  run_for(1min);
  EXPECT_GT(calls, 0);
  EXPECT_GT(store_.expired_before.size(), 0U);
}

TEST_F(WorkerTest, WhatOthersOweToTheirWebhooksIsNotForgotten) {
  share_ = {1, 2};
  int other = 1;
  while (share_.owns(FakeStore::uuid(other))) ++other;
  const Uuid webhook = store_.add_webhook(other);
  store_.add_pending(store_.emit(), webhook, process_.now());
  store_.delete_webhook(webhook);
  run_for(10s);
  EXPECT_EQ(store_.count_pending(), 1U);
  share_ = {2, 2};
  run_for(10s);
  EXPECT_EQ(store_.count_pending(), 0U);
}

// The others log an event before this one reads it, and its own deliveries keep its checkpoint at that window: a floor
// from after the window's beginning would hide what the others did.
TEST_F(WorkerTest, WhatAnotherWorkerLoggedIsNotSentAgainByWhoTakesOver) {
  for (int number = 1; number <= 8; ++number) store_.add_webhook(number);
  share_ = {1, 2};
  plan(1500ms, [this] {
    http_.answer = [](const Received&) { return Answer{.delay = 3s}; };
    store_.emit();
    store_.let_others_work();
  });
  crash_after(2900ms);
  ASSERT_GT(store_.logs.size(), 0U);
  ASSERT_FALSE(store_.is_all_behind_checkpoint());
  share_ = {};
  run_until([this] { return store_.required().empty(); });  // watch_sending() sees what is sent again
}

TEST_F(WorkerTest, ShutdownWaitsAsLongAsItIsTold) {
  process_.settings_in_force.shutdown_timeout = 20s;
  store_.add_webhook(1, [](Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return Answer{.delay = 15s}; };
  store_.emit();
  run_for(1s);
  EXPECT_EQ(store_.logs.size(), 1U);
}

TEST_F(WorkerTest, ShutdownIsShortWhereSomebodyNeedsTheDatabase) {
  process_.settings_in_force.shutdown_timeout = 10min;
  store_.add_webhook(1, [](Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit();
  const Time begun = process_.now();
  plan(10s, [this] {  // while it waits
    process_.database_wanted = true;
    process_.wake();
  });
  run_for(1s);
  EXPECT_LT(process_.now() - begun, 12s);
  EXPECT_TRUE(ended_cleanly_);
}

TEST_F(WorkerTest, FiguresSayWhatTheWorkerDoes) {
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 4; });
  Time captured{};
  store_.emit_many(4);  // so that its endpoint is trusted with several at once
  plan(500ms, [&] {
    http_.answer = [](const Received& request) {
      return Answer{.status = request.event_id == 5 ? 404 : 200, .delay = 1500ms};
    };
    store_.emit_many(10, [&](Event& event) { captured = captured == Time{} ? event.created_at : captured; });
  });
  plan(1s, [&] {
    EXPECT_EQ(process_.figures.in_flight, 4U);
    EXPECT_EQ(process_.figures.queued, 6U);
    EXPECT_EQ(process_.figures.events_ahead, 10U);
    EXPECT_EQ(process_.figures.oldest_event_at, captured);
    EXPECT_EQ(process_.figures.sent, 8);
  });
  run_for(8s);
  EXPECT_EQ(process_.figures.sent, 14);
  EXPECT_EQ(process_.figures.failed, 1);
  EXPECT_EQ(process_.figures.logged, 14);
  EXPECT_FALSE(process_.figures.oldest_event_at);
  EXPECT_EQ(process_.figures.webhooks, 1U);
  EXPECT_EQ(process_.figures.read_position, 14);
  EXPECT_TRUE(process_.figures.read_to);
}

TEST_F(WorkerTest, FiguresSayInWhichStateTheWorkerIs) {
  store_.add_webhook(1);
  plan(1s, [this] {
    EXPECT_EQ(process_.figures.state, WorkerState::kDelivering);
    store_.set_paused(true);
    process_.wake();
  });
  plan(2s, [this] {
    EXPECT_EQ(process_.figures.state, WorkerState::kPaused);
    store_.emit();
    process_.change_settings([](WorkerSettings& settings) { settings.enabled = false; });
  });
  plan(10s, [this] {
    EXPECT_EQ(process_.figures.state, WorkerState::kSwitchedOff);
    store_.set_paused(false);
    process_.change_settings([](WorkerSettings& settings) { settings.enabled = true; });
  });
  plan(20s, [this] { EXPECT_EQ(process_.figures.state, WorkerState::kDelivering); });
  run_for(30s);
  EXPECT_EQ(process_.figures.state, WorkerState::kStopping);
}

TEST_F(WorkerTest, WorkerThatReadsOldEventsIsCatchingUp) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(20'000, [](Event& event) { event.created_at -= 1h; });
  bool was_catching_up = false;
  process_.after_turn = [&] { was_catching_up |= process_.figures.state == WorkerState::kCatchingUp; };
  run_for(1min);
  EXPECT_TRUE(was_catching_up);
}

TEST_F(WorkerTest, FiguresSaySinceWhenTheDatabaseFails) {
  store_.add_webhook(1);
  bool fails = false;
  store_.before = [&fails](const std::string&) {
    if (fails) FakeStore::fail();
  };
  plan(1s, [&] {
    EXPECT_FALSE(process_.figures.failing_since);
    fails = true;
    store_.emit();
  });
  Time failing_since{};
  plan(10s, [&] {
    ASSERT_TRUE(process_.figures.failing_since);
    failing_since = *process_.figures.failing_since;
  });
  plan(40s, [&] {
    EXPECT_EQ(process_.figures.failing_since, failing_since);
    EXPECT_GT(process_.figures.last_error_at, failing_since);
    fails = false;
  });
  run_for(1min);
  EXPECT_FALSE(process_.figures.failing_since);
  EXPECT_TRUE(process_.figures.last_error_at);
}

TEST_F(WorkerTest, FiguresCountDeliveriesThatDieAndSecretsThatCannotBeDecrypted) {
  store_.add_webhook(1, [](Webhook& w) { w.retry_schedule = {1s}; });
  const Uuid lost = store_.add_webhook(2, [](Webhook& w) {
    w.secret_problem = "no key";
    w.is_undecryptable = true;
  });
  store_.add_webhook(3, [](Webhook& w) { w.secret_problem = "none"; });
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  store_.emit_many(3);
  plan(20s, [&] {
    EXPECT_EQ(process_.figures.undecryptable, 1U);
    store_.delete_webhook(lost);
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(process_.figures.given_up, 3);
  EXPECT_EQ(process_.figures.undecryptable, 0U);
}

}  // namespace
}  // namespace webhook
