// Replays in the worker's loop: in steps, in turns, across crashes, and what stands in their way.
#include "worker_test.h"

namespace webhook {
namespace {

class WorkerReplaysTest : public WorkerTest {
 protected:
  // Delivered events of a webhook, which may then be sent again.
  void deliver(int webhook, int count, const std::function<void(Webhook&)>& change = {}) {
    store_.add_webhook(webhook, change);
    const std::optional<std::string> organization = change ? std::optional("acme") : std::nullopt;
    const std::int64_t first = store_.emit_many(count, [&](Event& event) { event.organization_id = organization; });
    run_until([&] { return received_by(webhook).size() == static_cast<std::size_t>(count); });
    for (const std::int64_t id : ids_from(first, static_cast<std::size_t>(count))) {
      asked_again_.insert({id, FakeStore::uuid(webhook)});
    }
  }
  bool has_ended(std::int64_t replay) { return store_.replays.at(replay).has_ended(); }
  std::function<bool()> all_sent(int webhook, std::size_t requests) {
    return [this, webhook, requests] { return received_by(webhook).size() == requests && store_.count_pending() == 0; };
  }
};

TEST_F(WorkerReplaysTest, EachEventIsQueuedOnceInBoundedSteps) {
  deliver(1, 1'000);
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  run_until(all_sent(1, 2'000));
  EXPECT_EQ(store_.replays.at(replay).state, "done");
  EXPECT_EQ(store_.replay_queued_at_once, Replays::kQueuedPerStep);
  std::map<std::int64_t, int> times;
  for (const std::int64_t id : received_by(1)) ++times[id];
  EXPECT_EQ(times.size(), 1'000U);
  EXPECT_TRUE(std::all_of(times.begin(), times.end(), [](const auto& entry) { return entry.second == 2; }));
}

TEST_F(WorkerReplaysTest, AReplayThatIsAnnouncedBeginsAtOnce) {
  deliver(1, 10);
  Time begun{};
  plan(2s, [&] {
    store_.start_replay(FakeStore::uuid(1));
    begun = process_.now();
  });
  run_until([&] { return !store_.replay_steps.empty(); });
  EXPECT_LT(process_.now() - begun, 1s);
}

TEST_F(WorkerReplaysTest, AfterACrashItGoesOnWhereItWas) {
  deliver(1, 2'000);
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  int steps = 0;
  store_.after = [&](const std::string& call) {
    if (call == "replay_step" && ++steps == 3) throw Crash();
  };
  live();
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(store_.replays.at(replay).position, 600);
  store_.after = nullptr;
  run_until([&] { return has_ended(replay) && store_.count_pending() == 0; });
  EXPECT_EQ(store_.replay_steps.size(), 11U);  // the last one finds nothing
  const std::vector<std::int64_t> received = received_by(1);
  EXPECT_EQ(std::set<std::int64_t>(received.begin() + 2'000, received.end()).size(), 2'000U);
}

TEST_F(WorkerReplaysTest, OrganizationsTakeTurns) {
  store_.add_webhook(1, [](Webhook& webhook) { webhook.organization_id = "many"; });
  store_.add_webhook(2, [](Webhook& webhook) { webhook.organization_id = "one"; });
  store_.emit_many(1'000);
  run_for(1s);
  for (const int webhook : {1, 2}) {
    for (const std::int64_t id : ids_from(1, 1'000)) asked_again_.insert({id, FakeStore::uuid(webhook)});
  }
  for (int i = 0; i < 10; ++i) store_.start_replay(FakeStore::uuid(1));
  const std::int64_t of_one = store_.start_replay(FakeStore::uuid(2));
  run_until([&] { return has_ended(of_one); });
  const auto of_many = std::count_if(store_.replay_steps.begin(), store_.replay_steps.end(),
                                     [&](std::int64_t id) { return id != of_one; });
  EXPECT_LE(of_many, 7) << "in the 6 steps of the other";
}

TEST_F(WorkerReplaysTest, StepsTakeAFifthOfTheTime) {
  deliver(1, 2'000);
  store_.replay_step_takes = 20ms;
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  const Time begun = process_.now();
  run_until([&] { return has_ended(replay); });
  EXPECT_GE(process_.now() - begun, 10 * 100ms);
}

TEST_F(WorkerReplaysTest, ItWaitsWhileMuchIsPending) {
  process_.settings_in_force.deliveries_max = 1'000;
  deliver(1, 2'000);
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  run_for(60s);
  EXPECT_FALSE(has_ended(replay));
  EXPECT_LE(store_.count_pending(), 500U);
  EXPECT_GE(store_.count_pending(), 450U);
}

TEST_F(WorkerReplaysTest, ItWaitsForAnotherTransactionAndHoldsUpNobody) {
  deliver(1, 100);
  store_.held.insert(FakeStore::uuid(1));
  const std::int64_t held = store_.start_replay(FakeStore::uuid(1));
  const std::int64_t locked = store_.start_replay(FakeStore::uuid(1));
  store_.replays.at(locked).is_locked = true;
  plan(20s, [&] { EXPECT_FALSE(has_ended(held)); });
  plan(20s, [&] { EXPECT_LE(store_.replay_steps.size(), 50U) << "once a second"; });
  plan(21s, [&] { store_.held.clear(); });
  plan(30s, [&] { EXPECT_TRUE(has_ended(held)); });
  plan(30s, [&] { store_.replays.at(locked).is_locked = false; });
  run_until([&] { return has_ended(locked) && store_.count_pending() == 0; });
}

TEST_F(WorkerReplaysTest, AnErrorEndsTheReplayAndNotTheWorker) {
  deliver(1, 100);
  const std::int64_t failing = store_.start_replay(FakeStore::uuid(1));
  store_.replays.at(failing).error = "XX001";
  const std::int64_t other = store_.start_replay(FakeStore::uuid(1));
  run_until([&] { return has_ended(other) && store_.count_pending() == 0; });
  EXPECT_EQ(store_.replays.at(failing).state, "failed");
  EXPECT_EQ(store_.replays.at(failing).reason, "an error of the database (SQLSTATE XX001)");
  EXPECT_EQ(store_.replays.at(other).state, "done");
}

TEST_F(WorkerReplaysTest, AnErrorThatMayPassDoesNot) {
  deliver(1, 100);
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  store_.replays.at(replay).error = "55P03";
  plan(20s, [&] { EXPECT_FALSE(has_ended(replay)); });
  plan(21s, [&] { store_.replays.at(replay).error.reset(); });
  run_until([&] { return has_ended(replay) && store_.count_pending() == 0; });
  EXPECT_EQ(store_.replays.at(replay).state, "done");
}

TEST_F(WorkerReplaysTest, WhereTheDatabaseFailsItGoesOnWhenItWorks) {
  deliver(1, 100);
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  bool fails = true;
  store_.before = [&](const std::string& call) {
    if (fails && (call == "replay_step" || call == "fail_replay")) FakeStore::fail();
  };
  plan(20s, [&] { fails = false; });
  run_until([&] { return has_ended(replay) && store_.count_pending() == 0; });
  EXPECT_EQ(store_.replays.at(replay).state, "done");
}

TEST_F(WorkerReplaysTest, WhilePausedItWaits) {
  deliver(1, 100);
  store_.set_paused(true);
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  plan(30s, [&] { EXPECT_TRUE(store_.replay_steps.empty()); });
  plan(31s, [&] { store_.set_paused(false); });
  run_until([&] { return has_ended(replay) && store_.count_pending() == 0; });
}

TEST_F(WorkerReplaysTest, OfADeletedWebhookItEnds) {
  deliver(1, 100);
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  store_.delete_webhook(FakeStore::uuid(1));
  run_until([&] { return has_ended(replay); });
  EXPECT_EQ(store_.replays.at(replay).state, "failed");
}

TEST_F(WorkerReplaysTest, EachWorkerTakesItsOwn) {
  deliver(1, 100);
  store_.start_replay(FakeStore::uuid(1));
  for (int number = 1; number <= 2; ++number) {
    share_ = {.number = number, .count = 2};
    run_for(10s);
  }
  EXPECT_EQ(store_.replays.at(1).state, "done");
  EXPECT_EQ(store_.replay_steps.size(), 1U);
}

TEST_F(WorkerReplaysTest, AFilterHasTheAllowanceOfItsOrganization) {
  store_.add_webhook(1, [](Webhook& webhook) {
    webhook.organization_id = "acme";
    webhook.filter = "$.a";
  });
  store_.emit_many(20'000);
  run_for(1s);
  const std::int64_t replay = store_.start_replay(FakeStore::uuid(1));
  store_.replays.at(replay).filter_takes = 1s;
  run_for(100s);
  EXPECT_GE(store_.replay_steps.size(), 5U);
  EXPECT_LE(store_.replay_steps.size(), 15U) << "2 s, and a tenth of 100 s";
}

TEST_F(WorkerReplaysTest, AClockThatIsSetBackDelaysNothing) {
  deliver(1, 100);
  plan(1s, [&] { process_.pass(-24h); });
  plan(2s, [&] { store_.start_replay(FakeStore::uuid(1)); });
  run_until([&] { return !store_.replays.empty() && has_ended(1) && store_.count_pending() == 0; }, 10min);
}

TEST_F(WorkerReplaysTest, WithoutReplaysTheWorkerRests) {
  store_.add_webhook(1);
  run_for(10s);
  EXPECT_LT(turns_in(100s), 200);
}

// --- What nodes that are gone have left --------------------------------------------------------------------------------

TEST_F(WorkerReplaysTest, ATakeoverGoesOnInStepsUntilNothingIsLeft) {
  deliver(1, 1);
  deliver(2, 1);
  store_.takeovers[FakeStore::uuid(1)] = {.left = 1'001};
  store_.takeovers[FakeStore::uuid(2)] = {.left = 1};
  run_until(
      [&] { return store_.takeovers[FakeStore::uuid(1)].left == 0 && store_.takeovers[FakeStore::uuid(2)].left == 0; });
  EXPECT_EQ(store_.takeovers[FakeStore::uuid(1)].steps, 6);
  EXPECT_EQ(store_.takeovers[FakeStore::uuid(2)].steps, 1);
}

TEST_F(WorkerReplaysTest, AWebhookThatIsHeldHoldsUpNoOtherTakeover) {
  deliver(1, 1);
  deliver(2, 1);
  store_.takeovers[FakeStore::uuid(1)] = {.left = 1, .is_held = true};
  store_.takeovers[FakeStore::uuid(2)] = {.left = 1'000};
  run_until([&] { return store_.takeovers[FakeStore::uuid(2)].left == 0; });
  EXPECT_EQ(store_.takeovers[FakeStore::uuid(1)].left, 1U);
  store_.takeovers[FakeStore::uuid(1)].is_held = false;
  run_until([&] { return store_.takeovers[FakeStore::uuid(1)].left == 0; });
}

TEST_F(WorkerReplaysTest, ATakeoverThatIsRefusedIsToldAndTriedAgain) {
  deliver(1, 1);
  store_.takeovers[FakeStore::uuid(1)] = {.left = 1, .error = "23514"};
  run_until([&] { return store_.takeovers[FakeStore::uuid(1)].steps >= 3; });
  EXPECT_GE(process_.count_log("cannot be taken over"), 1U);
  store_.takeovers[FakeStore::uuid(1)].error.reset();
  run_until([&] { return store_.takeovers[FakeStore::uuid(1)].left == 0; });
}

TEST_F(WorkerReplaysTest, WhileDeliveriesArePausedNothingIsTakenOver) {
  deliver(1, 1);
  store_.set_paused(true);
  run_for(10s);
  store_.takeovers[FakeStore::uuid(1)] = {.left = 1};
  run_for(1min);
  EXPECT_EQ(store_.takeovers[FakeStore::uuid(1)].steps, 0);
  store_.set_paused(false);
  run_until([&] { return store_.takeovers[FakeStore::uuid(1)].left == 0; });
}

}  // namespace
}  // namespace webhook
