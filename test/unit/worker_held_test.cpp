// An open transaction of somebody else holds a webhook's deliveries.
#include "worker_test.h"

namespace webhook {
namespace {

class HeldWebhookTest : public WorkerTest {
 protected:
  HeldWebhookTest() {
    process_.settings_in_force.retry_schedule.assign(50, 1s);
    store_.held.insert(store_.add_webhook(1));
    store_.add_webhook(2);
    http_.answer = [this](const Received& request) {
      return Answer{.status = request.url == FakeStore::url(1) && is_failing_ ? 503 : 200};
    };
  }

  void release() {
    is_failing_ = false;
    store_.held.clear();
    process_.wake();
  }
  bool is_all_delivered() const {
    return store_.required().empty() && store_.count_pending() == 0 && store_.deferred.empty();
  }

  bool is_failing_ = true;
};

TEST_F(HeldWebhookTest, HoldsUpNeitherOthersNorTheCheckpoint) {
  static constexpr std::size_t kEvents = 60'000;  // more than are read ahead of the checkpoint
  store_.emit_many(kEvents);
  run_for(60s);
  EXPECT_EQ(received_by(2).size(), kEvents);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
  EXPECT_EQ(store_.count_pending(), 0U) << "what the other writes is left alone";
  EXPECT_EQ(process_.count_log("wait to be recorded"), 1U);
}

TEST_F(HeldWebhookTest, LosesNothingIfTheWorkerDiesMeanwhile) {
  store_.emit_many(3'000);
  crash_after(5s);
  EXPECT_FALSE(store_.deferred.empty());
  plan(1s, [this] { store_.emit_many(100); });
  crash_after(10s);
  plan(5s, [this] { release(); });
  run_until([this] { return is_all_delivered(); });
}

TEST_F(HeldWebhookTest, IsSwitchedOffAndOnMeanwhile) {
  store_.emit_many(100);
  plan(5s, [this] { store_.set_active(FakeStore::uuid(1), false); });
  plan(10s, [this] { store_.set_active(FakeStore::uuid(1), true); });
  plan(15s, [this] { release(); });
  run_until([this] { return is_all_delivered(); });
}

TEST_F(HeldWebhookTest, IsDeletedMeanwhile) {
  store_.emit_many(100);
  plan(5s, [this] { store_.delete_webhook(FakeStore::uuid(1)); });
  plan(10s, [this] { release(); });
  run_until([this] { return is_all_delivered(); });
}

class HeldOrderedWebhookTest : public HeldWebhookTest {
 protected:
  HeldOrderedWebhookTest() {
    store_.change_webhook(FakeStore::uuid(1), [](Webhook& w) { w.limits.ordering = Ordering::kEndpoint; });
  }

  void expect_order() const {
    std::int64_t last = 0;
    for (const FakeStore::Log& log : store_.logs) {
      if (log.row.webhook != FakeStore::uuid(1) || !log.row.success) continue;
      EXPECT_GT(log.row.event_id, last);
      last = log.row.event_id;
    }
  }
};

TEST_F(HeldOrderedWebhookTest, KeepsItsOrder) {
  store_.emit_many(50);
  plan(5s, [this] { store_.emit_many(50); });
  plan(10s, [this] { release(); });
  plan(10'500ms, [this] { store_.emit_many(50); });
  run_until([this] { return is_all_delivered(); });
  expect_order();
}

TEST_F(HeldOrderedWebhookTest, KeepsItsOrderIfTheWorkerDiesMeanwhile) {
  store_.emit_many(50);
  crash_after(5s);
  store_.emit_many(50);
  plan(5s, [this] { release(); });
  run_until([this] { return is_all_delivered(); });
  expect_order();
}

TEST_F(WorkerTest, OrderingThatChangesIsWrittenIntoWhatIsPendingStepByStep) {
  const Uuid webhook = store_.add_webhook(1);
  store_.add_webhook(2);
  bool is_dead = true;
  http_.answer = [&is_dead](const Received& request) {
    return Answer{.status = request.url == FakeStore::url(1) && is_dead ? 503 : 200};
  };
  store_.emit_many(2'000);
  std::size_t others = 0;
  store_.before = [&](const std::string& call) {
    if (call == "write_ordering_keys" && others++ == 0) store_.emit();
  };
  plan(5s, [&] {
    store_.held.insert(webhook);
    store_.change_webhook(webhook, [](Webhook& w) { w.limits.ordering = Ordering::kEndpoint; });
    process_.wake();
  });
  plan(10s, [&] {
    EXPECT_EQ(received_by(2).size(), 2'001U) << "others go on while somebody holds it";
    is_dead = false;
    store_.held.clear();
  });
  run_until([this] { return store_.required().empty() && store_.count_pending() == 0; });
  EXPECT_GE(others, 2'000U / 200);
}

TEST_F(WorkerTest, WhatWasPendingWhileAWebhookWasOffComesBeforeWhatFollows) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 20ms}; };
  store_.emit_many(100);
  plan(100ms, [this, webhook] {
    store_.set_active(webhook, false);
    process_.wake();
  });
  plan(5s, [this, webhook] {
    EXPECT_GT(store_.count_pending(), 50U);
    store_.set_active(webhook, true);
    store_.emit_many(100);
    process_.wake();
  });
  run_until([this] { return store_.required().empty() && store_.count_pending() == 0; });
  const std::vector<std::int64_t> received = received_by(1);
  EXPECT_TRUE(std::is_sorted(received.begin(), received.end()));
}

TEST_F(WorkerTest, OperationalEventsCauseNone) {
  process_.settings_in_force.retry_schedule = {};
  store_.add_webhook(1, [](Webhook& w) { w.events = {"webhook.*"}; });
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  store_.emit([](Event& event) { event.name = "webhook.delivery.failed"; });
  run_for(5s);
  EXPECT_EQ(store_.count_pending(), 0U);
  EXPECT_TRUE(store_.events_emitted.empty());
}

TEST_F(WorkerTest, RecoveryFromFailuresOfOperationalEventsIsNoNews) {
  process_.settings_in_force.retry_schedule.assign(20, 1s);
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.events = {"*", "webhook.*"}; });
  std::map<std::string, int> requests;  // by webhook-id
  http_.answer = [&](const Received& request) {
    return Answer{.status = ++requests[request.public_event_id] <= 5 ? 503 : 200};
  };
  store_.emit([](Event& event) { event.name = "webhook.recovered"; });
  plan(6s, [this, webhook] {
    EXPECT_EQ(process_.count_log("has opened"), 1U);
    EXPECT_EQ(process_.count_log("has closed"), 0U);
    store_.change_webhook(webhook, [](Webhook& w) { w.name = "renamed"; });
    process_.wake();
  });
  plan(1min, [this] {
    EXPECT_EQ(process_.count_log("has closed"), 1U);
    EXPECT_TRUE(store_.events_emitted.empty());
    store_.emit();
  });
  run_for(2min);
  EXPECT_EQ(process_.count_log("has closed"), 2U);
  ASSERT_EQ(store_.events_emitted.size(), 1U) << "that from failures of others is";
  EXPECT_EQ(store_.events_emitted[0].name, "webhook.recovered");
}

// Also where most failures are those of an operational event.

}  // namespace
}  // namespace webhook
