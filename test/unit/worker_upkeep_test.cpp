// What a worker does besides delivering.
#include "worker_test.h"

namespace webhook {
namespace {

// --- Statistics -----------------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, AttemptsAreCountedByTheMinuteAcrossWorkers) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.status = request.event_id % 4 == 0 ? 404 : 200}; };
  process_.settings_in_force.retry_schedule = {};
  store_.emit_many(100);
  run_for(10s);
  store_.emit_many(100);
  run_for(70s);
  int attempts = 0;
  int successes = 0;
  for (const auto& [key, minute] : store_.minutes) {
    attempts += minute.attempts;
    successes += minute.successes;
  }
  EXPECT_EQ(attempts, 200);
  EXPECT_EQ(successes, 150);
  EXPECT_TRUE(store_.endpoints.at(webhook).last_success_at);
  EXPECT_TRUE(store_.endpoints.at(webhook).last_failure_at);
}

TEST_F(WorkerTest, StatisticsOfBusyWebhooksAreWrittenEveryFewSeconds) {
  for (int number = 1; number <= 60; ++number) store_.add_webhook(number);
  for (int i = 0; i < 800; ++i) plan(i * 10ms, [this] { store_.emit(); });
  run_for(9s);
  EXPECT_EQ(store_.logs.size(), 48'000U);
  EXPECT_LE(store_.minutes_written, 4U * 60U);
}

TEST_F(WorkerTest, AttemptsOfManyWebhooksAreCountedWhenTheWorkerEnds) {
  for (int number = 1; number <= 300; ++number) store_.add_webhook(number);
  store_.emit();
  run_for(2s);
  EXPECT_EQ(store_.minutes.size(), 300U);
}

TEST_F(WorkerTest, AttemptsThatEndWithinARoundOfStatisticsAreCountedWhenTheWorkerEnds) {
  for (int number = 1; number <= 300; ++number) store_.add_webhook(number);
  http_.answer = [](const Received& request) { return Answer{.delay = request.event_id == 1 ? 1ms : 1s}; };
  store_.emit_many(2);
  std::size_t logged = 0;  // when the worker was told to end
  process_.after_turn = [&] {
    if (logged > 0 || store_.minutes_written == 0) return;
    ASSERT_LT(store_.minutes_written, 300U) << "the first round is over already";
    logged = store_.logs.size();
    process_.request_shutdown();
  };
  run_for(10s);
  process_.after_turn = nullptr;
  EXPECT_GT(store_.logs.size(), logged);
  std::size_t attempts = 0;
  for (const auto& [key, minute] : store_.minutes) attempts += static_cast<std::size_t>(minute.attempts);
  EXPECT_EQ(attempts, store_.logs.size());
}

// --- Rest -------------------------------------------------------------------------------------------------------------

// Turns in a minute: one every five seconds for the rings, one every five for a look at the log.
TEST_F(WorkerTest, RestsWhenThereIsNothingToDo) {
  store_.add_webhook(1);
  store_.emit();
  run_for(5s);
  EXPECT_LE(turns_in(1min), 30);
}

TEST_F(WorkerTest, RestsWhenPaused) {
  store_.add_webhook(1);
  store_.set_paused(true);
  store_.emit_many(10);
  EXPECT_LE(turns_in(1min), 30);
}

TEST_F(WorkerTest, RestsWhenPausedWithWorkInItsLanes) {
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.status = 500, .delay = 1s}; };
  store_.emit_many(100);
  plan(1500ms, [this] { store_.set_paused(true); });
  EXPECT_LE(turns_in(1min), 120);
}

TEST_F(WorkerTest, RestsWhileRequestsHang) {
  store_.add_webhook(1, [](Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(10);
  EXPECT_LE(turns_in(1min), 80);
}

TEST_F(WorkerTest, RestsWhileSomethingIsPendingFarInTheFuture) {
  process_.settings_in_force.retry_schedule = {10h};
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  store_.emit();
  run_for(5s);
  EXPECT_LE(turns_in(1min), 30);
}

TEST_F(WorkerTest, RestsWhenALaneIsFull) {
  store_.add_webhook(1, [](Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(5'000);
  EXPECT_LE(turns_in(1min), 120);
  EXPECT_GE(store_.count_pending(), 3'900U);
}

TEST_F(WorkerTest, RestsWhenManyLanesAreFull) {
  for (int number = 1; number <= 6; ++number) {
    store_.add_webhook(number, [](Webhook& w) { w.timeout = 1h; });
  }
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(3'000);
  EXPECT_LE(turns_in(1min), 200);
}

TEST_F(WorkerTest, RestsWhileALaneIsFullOfBytes) {
  store_.add_webhook(1, [](Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(40, [](Event& event) {
    event.data = "{\"id\":" + std::to_string(event.id) + ",\"x\":\"" + std::string(900'000, 'x') + "\"}";
  });
  EXPECT_LE(turns_in(1min), 120);
}

// In order, a look begins at the oldest, where those in memory are: here more of them than it sees.
TEST_F(WorkerTest, RestsWhileMoreIsInMemoryThanALookInOrderSees) {
  process_.settings_in_force.memory_bytes_max = 8 << 20;
  store_.add_webhook(1, [](Webhook& w) {
    w.timeout = 1h;
    w.limits.ordering = Ordering::kKey;
  });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(100, [](Event& event) {
    event.key = std::to_string(event.id);
    event.data = "{\"id\":" + std::to_string(event.id) + ",\"x\":\"" + std::string(10'000, 'x') + "\"}";
  });
  crash_after(10s);  // they have rows by now
  EXPECT_LE(turns_in(1min), 300);
}

TEST_F(WorkerTest, RestsWhileADeletedWebhooksRequestHangs) {
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(100);
  plan(1s, [&] {
    store_.delete_webhook(webhook);
    process_.wake();
  });
  EXPECT_LE(turns_in(1min), 80);
}

// --- Rings ------------------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, RingThatCannotTurnIsReportedOnceAMinute) {
  store_.ring = [](Ring ring) {
    return RingReport{.kept_because = ring == Ring::kEvents ? "a transaction holds a lock on it" : ""};
  };
  run_for(150s);
  EXPECT_EQ(process_.count_log("webhook_events is kept beyond"), 3U);
  EXPECT_EQ(process_.count_log("webhook_logs is kept beyond"), 0U);
}

TEST_F(WorkerTest, FiguresSaySinceWhenARingCannotTurnAndHowLargeItIs) {
  std::string reason;
  store_.ring = [&reason](Ring ring) {
    if (holds_events(ring)) return RingReport{.kept_because = ring == Ring::kExcessEvents ? reason : "", .bytes = 30};
    return RingReport{.bytes = 500};
  };
  Time kept_since{};
  plan(10s, [&] { reason = "a transaction holds a lock on it"; });
  plan(30s, [&] {
    ASSERT_TRUE(process_.figures.events.kept_since);
    kept_since = *process_.figures.events.kept_since;
    reason = "it holds events that are not settled yet";
  });
  plan(60s, [&] {
    EXPECT_EQ(process_.figures.events.kept_since, kept_since);
    EXPECT_FALSE(process_.figures.logs.kept_since);
    reason.clear();
  });
  run_for(90s);
  EXPECT_FALSE(process_.figures.events.kept_since);
  EXPECT_EQ(process_.figures.events.bytes, 60U);
  EXPECT_EQ(process_.figures.logs.bytes, 1'000U);
}

TEST_F(WorkerTest, RingThatHasMoreToDoGoesOnAtOnce) {
  int steps = 20;
  store_.ring = [&steps](Ring ring) { return RingReport{.more = ring == Ring::kEvents && --steps > 0}; };
  run_for(1s);
  EXPECT_LE(steps, 0);
}

TEST_F(WorkerTest, DeadDeliveriesAreDeletedAfterTheirRetention) {
  const Time begun = process_.now();
  run_for(25min);
  ASSERT_GE(store_.expired_before.size(), 3U);
  EXPECT_LE(store_.expired_before.size(), 4U);
  EXPECT_NEAR(static_cast<double>((begun - store_.expired_before[0]).count()),
              static_cast<double>(Duration(process_.settings_in_force.event_retention).count()), 1e6);
}

// --- Other nodes with the same webhooks -----------------------------------------------------------------------------------

TEST_F(WorkerTest, AWorkerThatDeliversNothingWritesCheckpointsForOthers) {
  store_.add_webhook(1);
  store_.emit();
  std::optional<Checkpoint> before;
  plan(10s, [&] {
    before = store_.checkpoint;
    store_.run_foreign_transaction();
  });
  plan(30s, [&] {
    EXPECT_EQ(store_.checkpoint, before) << "nobody wants another";
    store_.nodes_served.is_checkpoint_wanted = true;
  });
  plan(50s, [&] { EXPECT_NE(store_.checkpoint, before); });
  run_for(60s);
}

TEST_F(WorkerTest, ItSaysWhichNodesItKnowsToBeGone) {
  store_.add_webhook(1);
  run_for(10s);
  EXPECT_TRUE(store_.known_takeovers.empty());
  plan(0s, [&] { store_.set_nodes(NodeShares(true, {{10, 2, 1, {{.number = 2, .queued = {}, .node = "east-20"}}}})); });
  run_for(2s);
  EXPECT_EQ(store_.known_takeovers, std::vector<std::string>{"east-20"});
}

}  // namespace
}  // namespace webhook
