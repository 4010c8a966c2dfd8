// Every call of the database may fail.
#include "worker_test.h"

namespace webhook {
namespace {

TEST_F(WorkerTest, FailingStoreLosesNothingIsTriedAgainLessAndLessAndWarnsOnceAMinute) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 500ms}; };
  store_.emit_many(200);
  bool failing = false;
  std::int64_t tries = 0;
  store_.before = [&](const std::string&) {
    if (!failing) return;
    ++tries;
    FakeStore::fail();
  };
  plan(700ms, [&] { failing = true; });
  plan(700ms + 170s, [&] { failing = false; });
  run_for(5min);
  // 0.1, 0.2, 0.4 … 6.4 s and then every 10 s, of 170 s.
  EXPECT_LE(tries, 30);
  EXPECT_GE(tries, 20);
  EXPECT_EQ(process_.count_log("will be repeated: simulated failure"), 3U);
  std::vector<std::int64_t> ids = received_by(1);
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, ids_from(1, 200)) << "each once";
  EXPECT_EQ(store_.logs.size(), 200U);
}

TEST_F(WorkerTest, DatabaseThatIsBackIsBelievedAfterTheBackOff) {
  store_.add_webhook(1);
  bool failing = false;
  store_.before = [&](const std::string&) {
    if (failing) FakeStore::fail();
  };
  plan(1s, [&] {
    failing = true;
    process_.wake();
  });
  plan(2min, [&] {
    failing = false;
    store_.emit();
  });
  plan(2min + 11s, [&] { EXPECT_EQ(received_by(1).size(), 1U); });
  run_for(3min);
}

TEST_F(WorkerTest, ChangesThatCouldNotBeReadAreReadAgain) {
  store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.status = request.attempt == 1 ? 500 : 200}; };
  store_.emit();
  int failures = 0;
  plan(2s, [&] {
    store_.add_webhook(2);
    store_.before = [&failures](const std::string& call) {
      if (call == "changes" && ++failures == 1) FakeStore::fail();
    };
    process_.wake();
  });
  plan(3s, [this] { store_.emit(); });
  run_for(20s);
  EXPECT_GE(failures, 2);
  EXPECT_EQ(received_by(1), (std::vector<std::int64_t>{1, 2, 1, 2}));
  EXPECT_EQ(received_by(2), (std::vector<std::int64_t>{2, 2}));
}

class EveryCallTest : public WorkerTest, public testing::WithParamInterface<const char*> {};

// The n-th call of one kind fails, for many n: whatever the worker had half done then, all comes out right.
TEST_P(EveryCallTest, FailureOfTheCallAtAnyTimeLosesNothing) {
  std::map<std::string, int> count;
  store_.before = [&](const std::string& call) {
    if (call == GetParam() && ++count[call] % 3 == 2) FakeStore::fail();
  };
  http_.answer = [](const Received& request) {
    return Answer{.status = request.attempt == 1 && request.event_id % 5 == 0 ? 500 : 200, .delay = 20ms};
  };
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 2; });
  store_.set_paused(true);
  store_.emit_many(1'500);
  plan(1s, [this] { store_.set_paused(false); });
  for (int i = 2; i < 8; ++i) {
    plan(i * 1s, [this, i] {
      store_.add_webhook(i);
      store_.emit_many(20);
      plan(500ms, [this, i] { store_.replay(i, FakeStore::uuid(i)); });  // of which it has not heard yet
    });
  }
  plan(8s, [this] {
    store_.delete_webhook(FakeStore::uuid(7));
    store_.emit();
  });
  crash_after(10s);
  const auto all_done = [this] { return store_.required().empty() && store_.count_pending() == 0; };
  // Lives, for a worker that can't begin ends.
  for (int life = 0; life < 5 && !all_done(); ++life) run_for(1min);
  EXPECT_TRUE(all_done()) << store_.required().size() << " unknown, " << store_.count_pending() << " pending";
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

INSTANTIATE_TEST_SUITE_P(Calls, EveryCallTest,
                         testing::Values("start", "webhooks", "some_webhooks", "changes", "current_head", "read",
                                         "logged_since", "pending_of", "record", "due", "clean_up", "maintain_ring",
                                         "delete_expired", "refill_ids", "apply_deferred"));

TEST_F(WorkerTest, DroppedExtensionEndsTheWorker) {
  store_.add_webhook(1);
  plan(1s, [this] {
    store_.before = [](const std::string&) { throw ExtensionGone(); };
    process_.wake();
  });
  Worker worker(process_, store_, http_, tests_);
  EXPECT_THROW(worker.run(), ExtensionGone);
}

}  // namespace
}  // namespace webhook
