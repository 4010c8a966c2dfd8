// That every event comes, once, to whom it is for.
#include "worker_test.h"

namespace webhook {
namespace {

// --- Delivery ---------------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, DeliversInIdOrderInEachLane) {
  for (const int number : {1, 2}) store_.add_webhook(number, [](Webhook& w) { w.limits.max_in_flight = 1; });
  std::vector<FullXid> xids = {store_.begin(), store_.begin(), store_.begin()};
  for (int i = 0; i < 1'200; ++i) store_.append(xids[static_cast<std::size_t>(i) % 3]);
  for (const std::size_t i : {2, 0, 1}) store_.commit(xids[i]);
  run_until([this] { return store_.logs.size() == 2'400; });
  EXPECT_EQ(received_by(1), ids_from(1, 1'200));
  EXPECT_EQ(received_by(2), ids_from(1, 1'200));
}

TEST_F(WorkerTest, SuccessWritesOneLogRowAndNoDeliveryRow) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) {
    return Answer{.status = 204, .delay = 30ms, .body = "done", .headers = "Server: s"};
  };
  const std::int64_t id = store_.emit();
  run_for(10s);
  ASSERT_EQ(store_.logs.size(), 1U);
  const LogRow& row = store_.logs[0].row;
  EXPECT_TRUE(row.success);
  EXPECT_EQ(row.webhook, webhook);
  EXPECT_EQ(row.event_id, id);
  EXPECT_EQ(row.event, "contact.created");
  EXPECT_EQ(row.attempt, 1);
  EXPECT_EQ(row.response_status, 204);
  EXPECT_EQ(row.configuration_version, 1);
  EXPECT_EQ(row.response_body, "done");
  EXPECT_EQ(row.response_headers, "");
  EXPECT_EQ(row.error, "");
  EXPECT_EQ(row.elapsed, 30ms);
  EXPECT_EQ(row.remote_ip, "192.0.2.1");
  EXPECT_FALSE(row.next_attempt_at);
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

TEST_F(WorkerTest, FailureIsLoggedWithTheHeadersOfItsResponse) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500, .headers = "Server: s"}; };
  store_.emit();
  run_until([this] { return !store_.logs.empty(); });
  EXPECT_EQ(store_.logs[0].row.response_headers, "Server: s");
}

TEST_F(WorkerTest, AttemptIsLoggedWithTheVersionThatItWasMadeFrom) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.delay = request.event_id == 1 ? Duration(2s) : 1ms}; };
  plan(1s, [&] { store_.emit(); });
  plan(2s, [&] { store_.change_webhook(webhook, [](Webhook& w) { w.url = FakeStore::url(2); }); });
  plan(5s, [&] { store_.emit(); });
  run_until([this] { return store_.logs.size() == 2; });
  EXPECT_EQ(http_.received()[0].url, FakeStore::url(1));
  EXPECT_EQ(store_.logs[0].row.configuration_version, 1) << "changed while the request was open";
  EXPECT_EQ(http_.received()[1].url, FakeStore::url(2));
  EXPECT_EQ(store_.logs[1].row.configuration_version, 2);
}

TEST_F(WorkerTest, CommitIsDeliveredAtOnce) {
  store_.add_webhook(1);
  Time committed{};
  plan(3s, [&] {
    committed = process_.now();
    store_.emit();
  });
  run_for(10s);
  ASSERT_EQ(http_.received().size(), 1U);
  EXPECT_LT(http_.received()[0].at - committed, 1ms);
}

TEST_F(WorkerTest, CommitInTheMiddleOfALargeWindowIsDeliveredAtOnce) {
  store_.add_webhook(1);
  store_.emit_many(1'200);
  bool has_committed = false;
  store_.after = [&](const std::string& call) {
    if (call != "read" || std::exchange(has_committed, true)) return;
    store_.emit();
  };
  run_for(3s);
  EXPECT_EQ(received_by(1).size(), 1'201U);
}

TEST_F(WorkerTest, CommitsWakeTheWorkerNoMoreOftenThanItLooks) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 50ms}; };
  for (int i = 0; i < 1'000; ++i) plan(i * 10us, [this] { store_.emit(); });
  int looks = 0;
  store_.before = [&looks](const std::string& call) {
    looks += call == "current_snapshot" || call == "current_head" ? 1 : 0;
  };
  run_until([this] { return store_.logs.size() == 1'000; });
  EXPECT_LT(looks, 200);
}

// A look takes 200 µs here, so that while something is in flight the next would come 800 µs after it began.
TEST_F(WorkerTest, LooksAtOnceWhereNothingIsInFlightAnyMore) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 50us}; };
  store_.before = [this](const std::string& call) {
    if (call == "current_head") process_.pass(200us);
  };
  std::vector<Time> committed;
  for (int i = 0; i < 10; ++i) {
    plan(100ms + i * 500us, [&] {
      committed.push_back(process_.now());
      store_.emit();
    });
  }
  run_for(1s);
  ASSERT_EQ(http_.received().size(), committed.size());
  for (std::size_t i = 0; i < committed.size(); ++i) {
    EXPECT_LT(http_.received()[i].at - committed[i], 300us) << "event " << i;
  }
}

TEST_F(WorkerTest, ResultsThatFollowEachOtherShareATransaction) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 50us}; };
  int recordings = 0;
  store_.before = [&recordings](const std::string& call) { recordings += call == "record" ? 1 : 0; };
  for (int i = 0; i < 1'000; ++i) plan(i * 1ms, [this] { store_.emit(); });
  run_for(1100ms);
  EXPECT_EQ(store_.logs.size(), 1'000U);
  EXPECT_LT(recordings, 60);
  plan(1s, [this] { store_.emit(); });
  plan(1s + 1ms, [this] { EXPECT_EQ(store_.logs.size(), 1'001U) << "one by itself waits for no other"; });
  run_for(2s);
}

TEST_F(WorkerTest, HangingEndpointDelaysNoEventOfAnother) {
  store_.add_webhook(1, [](Webhook& w) { w.events = {"hangs"}; });
  store_.add_webhook(2, [](Webhook& w) { w.events = {"answers"}; });
  http_.answer = [](const Received& request) {
    return request.url == FakeStore::url(1) ? FakeHttp::hangs() : Answer{.delay = 50us};
  };
  store_.emit([](Event& event) { event.name = "hangs"; });
  std::vector<Time> committed;
  for (int i = 0; i < 10; ++i) {
    plan(100ms + i * 300us, [&] {
      committed.push_back(process_.now());
      store_.emit([](Event& event) { event.name = "answers"; });
    });
  }
  run_for(1s);
  std::vector<Time> arrived;
  for (const Received& request : http_.received()) {
    if (request.url == FakeStore::url(2)) arrived.push_back(request.at);
  }
  ASSERT_EQ(arrived.size(), committed.size());
  for (std::size_t i = 0; i < arrived.size(); ++i) EXPECT_LT(arrived[i] - committed[i], 200us) << "event " << i;
}

TEST_F(WorkerTest, TransactionThatCommitsLastIsDeliveredThoughOthersPassedIt) {
  store_.add_webhook(1);
  const FullXid slow = store_.begin();
  store_.append(slow);
  store_.emit_many(100);
  plan(10s, [this, slow] { store_.commit(slow); });
  run_for(20s);
  std::vector<std::int64_t> expected = ids_from(2, 100);
  expected.push_back(1);
  EXPECT_EQ(received_by(1), expected);
}

TEST_F(WorkerTest, RolledBackTransactionIsNeverDelivered) {
  store_.add_webhook(1);
  const FullXid xid = store_.begin();
  store_.append(xid);
  plan(1s, [this, xid] {
    store_.rollback(xid);
    store_.emit();
  });
  run_for(20s);
  EXPECT_EQ(received_by(1), std::vector<std::int64_t>{2});
}

TEST_F(WorkerTest, EventThatIsNotForAWebhookIsNotDeliveredToIt) {
  store_.add_webhook(1, [](Webhook& w) { w.organization_id = "acme"; });
  store_.add_webhook(2, [](Webhook& w) { w.switches.front() += 5; });
  store_.add_webhook(3, [](Webhook& w) { w.is_active = false; });
  store_.add_webhook(4, [](Webhook& w) { w.events = {"deal.*"}; });
  store_.add_webhook(5);
  store_.emit();
  run_for(10s);
  ASSERT_EQ(http_.received().size(), 1U);
  EXPECT_EQ(http_.received()[0].url, FakeStore::url(5));
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, EventThatNobodyAsksForIsBehindTheCheckpointSoon) {
  store_.emit_many(1'000);
  run_for(5s);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

TEST_F(WorkerTest, OversizedEventIsDeadWithALogRowOfAttemptZero) {
  const Uuid webhook = store_.add_webhook(1);
  const std::int64_t id = store_.emit([](Event& event) {
    event.data.clear();
    event.oversized_bytes = 2'000'000;
  });
  run_for(10s);
  EXPECT_TRUE(http_.received().empty());
  ASSERT_EQ(store_.logs.size(), 1U);
  EXPECT_EQ(store_.logs[0].row.attempt, 0);
  EXPECT_FALSE(store_.logs[0].row.success);
  EXPECT_NE(store_.logs[0].row.error.find("2000000 bytes"), std::string::npos) << store_.logs[0].row.error;
  const DeliveryRow* dead = store_.pending({id, webhook});
  ASSERT_NE(dead, nullptr);
  EXPECT_FALSE(dead->next_attempt_at);
  EXPECT_EQ(dead->last_error, store_.logs[0].row.error);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

// --- Keys -------------------------------------------------------------------------------------------------------------------

// More keys have something pending than a lane remembers, and get their changes while the endpoint comes back.
TEST_F(WorkerTest, ChangesOfMoreKeysThanAreRememberedPassNoneThatFailed) {
  static constexpr int kKeys = 12'000;
  process_.settings_in_force.retry_schedule.assign(20, 1s);
  store_.add_webhook(1, [](Webhook& w) { w.limits.ordering = Ordering::kKey; });
  bool is_up = false;
  int answers = 0;
  std::map<std::int64_t, std::int64_t> latest;  // by key, delivered
  http_.answer = [&](const Received& request) {
    const bool succeeds = is_up && ++answers % 10 != 0;
    if (succeeds) {
      std::int64_t& last = latest[request.event_id % kKeys];
      EXPECT_GE(request.event_id, last) << "one passes another that is older";
      last = request.event_id;
    } else {
      EXPECT_GE(request.event_id, latest[request.event_id % kKeys]);
    }
    return Answer{.status = succeeds ? 200 : 404, .delay = 1ms};
  };
  const auto change_all = [&] {
    store_.emit_many(kKeys, [](Event& event) { event.key = std::to_string(event.id % kKeys); });
  };
  plan(10ms, change_all);
  plan(3s, [&] { is_up = true; });
  for (int i = 1; i <= 8; ++i) {
    plan(3s + i * 500ms,
         [&] { store_.emit_many(500, [](Event& event) { event.key = std::to_string(event.id % kKeys); }); });
  }
  run_until([&] { return is_up && store_.required().empty() && store_.count_pending() == 0; }, 1h);
}

}  // namespace
}  // namespace webhook
