// When a worker leaves its slot to others.
#include "worker_test.h"

namespace webhook {
namespace {

class WorkerLeavingTest : public WorkerTest {
 protected:
  WorkerLeavingTest() { process_.settings_in_force.idle_timeout = 1min; }

  // Runs until the worker ends by itself, or for that long. Returns how it ended, and when it did, from its start.
  WorkerEnd leave_within(Duration limit) {
    const Time begun = process_.now();
    run_for(limit);
    lived_ = process_.now() - begun - 100ms;
    return end_;
  }

  Duration lived_{};
};

TEST_F(WorkerLeavingTest, LeavesAfterItsTimeoutIfThereIsNothingToDo) {
  store_.add_webhook(1);
  store_.emit_many(10);
  const WorkerEnd end = leave_within(10min);
  EXPECT_EQ(end.reason, WorkerEnd::Reason::kIdle);
  EXPECT_EQ(end.nap, 1h);
  EXPECT_GT(lived_, 1min);
  EXPECT_LT(lived_, 80s);
  EXPECT_TRUE(process_.is_asleep);
  EXPECT_EQ(store_.logs.size(), 10U);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

// What recurs does not count as work, however long the timeout is, and even if some of it is due by the end of a turn.
TEST_F(WorkerLeavingTest, LeavesAfterALongTimeout) {
  int calls = 0;
  store_.after = [this, &calls](const std::string&) { process_.pass(++calls % 7 * 1ms); };
  for (const Duration timeout : {Duration(5min), Duration(2h), Duration(26h)}) {
    process_.settings_in_force.idle_timeout = timeout;
    store_.add_webhook(1);
    store_.emit();
    EXPECT_EQ(leave_within(2 * timeout).reason, WorkerEnd::Reason::kIdle) << timeout.count();
    EXPECT_LT(lived_, timeout + 1min) << timeout.count();
  }
}

TEST_F(WorkerLeavingTest, StaysWithoutATimeout) {
  process_.settings_in_force.idle_timeout = 0s;
  store_.add_webhook(1);
  EXPECT_EQ(leave_within(24h).reason, WorkerEnd::Reason::kAsked);
}

TEST_F(WorkerLeavingTest, ANapEndsWithinTheTimesForWhichAnythingIsKept) {
  process_.settings_in_force.log_retention = 80min;
  EXPECT_EQ(leave_within(1h).nap, 10min);
  process_.settings_in_force.event_retention = 1s;
  EXPECT_EQ(leave_within(1h).nap, 1s);
}

TEST_F(WorkerLeavingTest, WorkPutsItOff) {
  store_.add_webhook(1);
  for (int i = 1; i <= 5; ++i) plan(i * 50s, [this] { store_.emit(); });
  EXPECT_EQ(leave_within(10min).reason, WorkerEnd::Reason::kIdle);
  EXPECT_GT(lived_, 310s);
  EXPECT_EQ(received_by(1).size(), 5U);
}

TEST_F(WorkerLeavingTest, ARetryEndsTheNap) {
  process_.settings_in_force.retry_schedule = {30min};
  store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.status = request.attempt == 1 ? 500 : 200}; };
  store_.emit();
  const WorkerEnd end = leave_within(1h);
  EXPECT_EQ(end.reason, WorkerEnd::Reason::kIdle);
  EXPECT_GT(end.nap, 28min);
  EXPECT_LT(end.nap + lived_, 30min + 1s);
  process_.pass(end.nap);
  EXPECT_EQ(leave_within(1h).reason, WorkerEnd::Reason::kIdle);
  EXPECT_EQ(received_by(1).size(), 2U);
  EXPECT_EQ(store_.count_pending(), 0U);
}

TEST_F(WorkerLeavingTest, StaysForARetryThatIsDueSoon) {
  process_.settings_in_force.retry_schedule = {900ms, 900ms, 1h};
  process_.slot_wanted = true;
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  store_.emit();
  EXPECT_EQ(leave_within(1min).reason, WorkerEnd::Reason::kIdle);
  EXPECT_EQ(received_by(1).size(), 3U);
}

TEST_F(WorkerLeavingTest, LeavesAtOnceIfSlotsAreWantedAndItFoundNothing) {
  process_.slot_wanted = true;
  store_.add_webhook(1);
  EXPECT_EQ(leave_within(10min).reason, WorkerEnd::Reason::kIdle);
  EXPECT_LT(lived_, 100ms);
}

TEST_F(WorkerLeavingTest, LeavesASecondAfterItsWorkIfSlotsAreWanted) {
  process_.slot_wanted = true;
  store_.add_webhook(1);
  store_.emit_many(100);
  http_.answer = [](const Received&) { return Answer{.delay = 100ms}; };
  EXPECT_EQ(leave_within(10min).reason, WorkerEnd::Reason::kIdle);
  EXPECT_GT(lived_, 1s);
  EXPECT_LT(lived_, 5s);
  EXPECT_EQ(store_.logs.size(), 100U);
}

TEST_F(WorkerLeavingTest, LeavesSoonOnceSlotsAreWanted) {
  store_.add_webhook(1);
  plan(20s, [this] {
    process_.slot_wanted = true;
    process_.make_ready();  // the latch, though nothing was committed
  });
  EXPECT_EQ(leave_within(10min).reason, WorkerEnd::Reason::kIdle);
  EXPECT_LT(lived_, 21s);
}

// Whatever is committed between the decision to leave and the end: the worker finds it, or is started again.
TEST_F(WorkerLeavingTest, MissesNothingThatIsCommittedWhileItLeaves) {
  process_.slot_wanted = true;
  store_.add_webhook(1);
  for (int i = 1; i <= 400; ++i) {
    const std::size_t before = received_by(1).size();
    plan(Duration(i * 10), [this] { store_.emit(); });
    bool is_before = true;
    store_.before = [&, calls = 0](const std::string&) mutable {
      if (++calls == i % 40 + 1 && std::exchange(is_before, false)) store_.emit();
    };
    do {
      process_.is_asleep = false;
      leave_within(10s);
    } while (!process_.is_asleep);
    store_.before = nullptr;
    if (!is_before) {
      EXPECT_GE(received_by(1).size(), before + 1) << "round " << i;
    }
    EXPECT_TRUE(store_.is_all_behind_checkpoint()) << "round " << i;
  }
}

TEST_F(WorkerLeavingTest, ATestIsWork) {
  process_.slot_wanted = true;
  const Uuid webhook = store_.add_webhook(1);
  std::optional<TestTicket> ticket;
  process_.after_turn = [&] {
    if (!ticket) ticket = tests_.ask(webhook);
  };
  leave_within(10s);
  process_.after_turn = nullptr;
  EXPECT_TRUE(tests_.answer_to(*ticket));
}

TEST_F(WorkerLeavingTest, StaysWhileDeliveriesAreOff) {
  process_.slot_wanted = true;
  store_.set_paused(true);
  EXPECT_EQ(leave_within(1h).reason, WorkerEnd::Reason::kAsked);
  store_.set_paused(false);
  process_.settings_in_force.enabled = false;
  EXPECT_EQ(leave_within(1h).reason, WorkerEnd::Reason::kAsked);
}

TEST_F(WorkerLeavingTest, StaysWhileTheDatabaseFails) {
  process_.settings_in_force.idle_timeout = 1s;
  store_.add_webhook(1);
  store_.before = [](const std::string& call) {
    if (call == "current_head") throw Error("53100", "disk full");
  };
  EXPECT_EQ(leave_within(1h).reason, WorkerEnd::Reason::kAsked);
}

// With everything that it has sent recorded.
TEST_F(WorkerLeavingTest, EndsWhenItsTurnIsOver) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 100ms}; };
  store_.emit_many(10'000);
  plan(5s, [this] { process_.turn_over = true; });
  EXPECT_EQ(leave_within(10min).reason, WorkerEnd::Reason::kTurnOver);
  EXPECT_LT(lived_, 6s);
  EXPECT_EQ(store_.logs.size(), received_by(1).size());
  process_.turn_over = false;
  run_until([this] { return store_.logs.size() == 10'000; });
  EXPECT_EQ(received_by(1).size(), 10'000U);
}

// As one with so many webhooks that it takes a turn to load them.
TEST_F(WorkerLeavingTest, DeliversSomethingBeforeItsTurnIsOver) {
  process_.turn_over = true;
  store_.add_webhook(1);
  store_.emit_many(10);
  EXPECT_EQ(leave_within(10min).reason, WorkerEnd::Reason::kTurnOver);
  EXPECT_EQ(received_by(1).size(), 10U);
}

TEST_F(WorkerLeavingTest, GivesItsSlotToOthersThoughItCannotLoadItsWebhooks) {
  process_.turn_over = true;
  store_.before = [](const std::string& call) {
    if (call == "webhooks") throw Error("53100", "disk full");
  };
  EXPECT_EQ(leave_within(1h).reason, WorkerEnd::Reason::kTurnOver);
}

}  // namespace
}  // namespace webhook
