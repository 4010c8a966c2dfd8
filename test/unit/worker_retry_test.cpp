// Retries, circuits, redelivery.
#include "worker_test.h"

namespace webhook {
namespace {

// --- Failures and retries ---------------------------------------------------------------------------------------------

TEST_F(WorkerTest, FailureIsPendingWithTheSchedulesDelayThenRetriedAndFinished) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.status = request.attempt == 1 ? 500 : 200}; };
  const std::int64_t id = store_.emit();
  plan(5s, [&] {
    const DeliveryRow* pending = store_.pending({id, webhook});
    ASSERT_NE(pending, nullptr);
    EXPECT_EQ(pending->attempts, 1);
    EXPECT_EQ(pending->last_error, "HTTP status 500");
    ASSERT_EQ(store_.logs.size(), 1U);
    EXPECT_EQ(pending->next_attempt_at, store_.logs[0].row.next_attempt_at);
  });
  run_for(30s);
  ASSERT_EQ(http_.received().size(), 2U);
  const Duration waited = http_.received()[1].at - http_.received()[0].at;
  EXPECT_GE(waited, 10s);
  EXPECT_LT(waited, 10s + 10ms);
  EXPECT_EQ(http_.received()[1].attempt, 2);
  EXPECT_EQ(http_.received()[1].public_event_id, http_.received()[0].public_event_id);
  EXPECT_EQ(http_.received()[1].body, http_.received()[0].body);
  EXPECT_EQ(store_.logs.size(), 2U);
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, LastFailureIsDeadWithItsReason) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) {
    return Answer{.outcome = HttpOutcome::kConnect, .error = "connection refused"};
  };
  const std::int64_t id = store_.emit();
  run_for(1h);
  EXPECT_EQ(http_.received().size(), 3U);  // at once, and the schedule's two
  const DeliveryRow* dead = store_.pending({id, webhook});
  ASSERT_NE(dead, nullptr);
  EXPECT_FALSE(dead->next_attempt_at);
  EXPECT_EQ(dead->attempts, 3);
  EXPECT_EQ(dead->last_error, "connection refused; the last attempt of its schedule");
  ASSERT_EQ(store_.logs.size(), 3U);
  EXPECT_EQ(store_.logs[2].row.error, dead->last_error);
}

TEST_F(WorkerTest, WebhooksOwnScheduleGoesBeforeTheSetting) {
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.retry_schedule = {1s}; });
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  const std::int64_t id = store_.emit();
  run_for(5s);
  EXPECT_EQ(http_.received().size(), 2U);
  ASSERT_NE(store_.pending({id, webhook}), nullptr);
  EXPECT_FALSE(store_.pending({id, webhook})->next_attempt_at);
}

TEST_F(WorkerTest, DeliveryThatWouldComeAfterMaxAgeIsDead) {
  process_.settings_in_force.max_age = 60s;
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  const std::int64_t id = store_.emit();
  run_for(1h);
  EXPECT_EQ(http_.received().size(), 2U);
  const DeliveryRow* dead = store_.pending({id, webhook});
  ASSERT_NE(dead, nullptr);
  EXPECT_FALSE(dead->next_attempt_at);
  EXPECT_EQ(dead->last_error, "HTTP status 500; another attempt would come after webhook.max_age");
}

// A delivery node that was down for long has old events, all of which are new to it.
TEST_F(WorkerTest, MaxAgeCountsFromWhenLogicalReplicationAppliedTheChange) {
  process_.settings_in_force.max_age = 60s;
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  const Time applied_at = process_.now();
  const std::int64_t id = store_.emit([applied_at](Event& event) {
    event.created_at = applied_at - 24h;
    event.applied_at = applied_at;
  });
  run_for(5s);
  EXPECT_EQ(http_.received().size(), 1U);
  const DeliveryRow* row = store_.pending({id, webhook});
  ASSERT_NE(row, nullptr);
  EXPECT_TRUE(row->next_attempt_at);
  EXPECT_EQ(row->created_at, applied_at - 24h);
}

TEST_F(WorkerTest, RetryAfterIsHonouredOn429And503Only) {
  const std::map<int, Duration> waits = {{429, 120s}, {503, 120s}, {500, 10s}, {404, 10s}, {301, 10s}};
  for (const auto& [status, wait] : waits) store_.add_webhook(status);
  http_.answer = [](const Received& request) {
    return Answer{.status = std::stoi(request.url.substr(8)), .delay = 0s, .retry_after = "120"};
  };
  store_.emit();
  run_for(5s);
  ASSERT_EQ(store_.logs.size(), waits.size());
  for (const FakeStore::Log& log : store_.logs) {
    ASSERT_TRUE(log.row.next_attempt_at);
    EXPECT_NEAR(static_cast<double>((*log.row.next_attempt_at - log.row.created_at).count()),
                static_cast<double>(waits.at(log.row.response_status).count()), 1e4)
        << log.row.response_status;
  }
}

TEST_F(WorkerTest, RetryAfterNeitherShortensAWaitNorExceedsADay) {
  store_.add_webhook(1);
  store_.add_webhook(2);
  http_.answer = [](const Received& request) {
    return Answer{.status = 503, .delay = 0s, .retry_after = request.url == FakeStore::url(1) ? "1" : "9999999"};
  };
  const std::int64_t id = store_.emit();
  run_for(5s);
  const Time now = process_.now();
  ASSERT_NE(store_.pending({id, FakeStore::uuid(1)}), nullptr);
  ASSERT_NE(store_.pending({id, FakeStore::uuid(2)}), nullptr);
  EXPECT_GT(*store_.pending({id, FakeStore::uuid(1)})->next_attempt_at, now + 4s);
  EXPECT_LT(*store_.pending({id, FakeStore::uuid(2)})->next_attempt_at, now + 24h);
  EXPECT_GT(*store_.pending({id, FakeStore::uuid(2)})->next_attempt_at, now + 23h);
}

TEST_F(WorkerTest, PendingDeliveryWhoseEventIsGoneIsDeadAndSaysSo) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  const std::int64_t id = store_.emit();
  plan(5s, [this, id] { store_.forget_event(id); });
  run_for(20s);
  const DeliveryRow* dead = store_.pending({id, webhook});
  ASSERT_NE(dead, nullptr);
  EXPECT_FALSE(dead->next_attempt_at);
  EXPECT_EQ(dead->attempts, 1);
  ASSERT_EQ(store_.logs.size(), 2U);
  EXPECT_EQ(store_.logs[1].row.attempt, 0);
  EXPECT_EQ(store_.logs[1].row.error, "the event is no longer stored");
}

TEST_F(WorkerTest, ManyPendingDeliveriesWithoutTheirEventsHoldUpNothing) {
  const Uuid webhook = store_.add_webhook(1);
  for (std::int64_t id = -3'000; id < 0; ++id) {
    store_.add_pending(id, webhook, process_.now());
  }
  const std::int64_t id = store_.emit();
  store_.add_pending(id, webhook, process_.now() + 1us);
  run_until([this] { return store_.count_pending() == 0; }, 10s);
  EXPECT_EQ(received_by(1), std::vector<std::int64_t>{id});
}

// --- Endpoints that fail ------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, DeadEndpointGetsAProbeForEachStepAndCatchesUpInOrderOfAge) {
  const Uuid webhook = store_.add_webhook(1);
  bool is_dead = true;
  http_.answer = [&is_dead](const Received&) { return Answer{.status = is_dead ? 503 : 200}; };
  store_.emit_many(3'000);
  std::size_t sent_while_open = 0;
  plan(1s, [&] {
    EXPECT_TRUE(store_.endpoints.at(webhook).circuit_opened_at);
    sent_while_open = http_.received().size();
    EXPECT_LE(sent_while_open, 20U);
    EXPECT_EQ(store_.count_pending(), 3'000U);
  });
  plan(60s, [&] {
    EXPECT_LE(http_.received().size() - sent_while_open, 5U) << "after 5, 10, 20 and 40 s, each 20 % earlier at most";
    EXPECT_GE(http_.received().size() - sent_while_open, 3U);
    is_dead = false;
  });
  run_until([this] { return store_.required().empty() && store_.count_pending() == 0; });
  std::vector<std::int64_t> arrived;
  std::size_t retried = 0;
  for (const FakeStore::Log& log : store_.logs) {
    if (!log.row.success) continue;
    if (log.row.attempt == 1) arrived.push_back(log.row.event_id);
    if (log.row.attempt > 1) ++retried;
  }
  EXPECT_EQ(arrived.size() + retried, 3'000U);
  EXPECT_LE(retried, 25U) << "those that were tried in vain may come out of turn";
  // One lane, up to 16 at once: what came back at the same moment is logged in any order.
  for (std::size_t i = 16; i < arrived.size(); ++i) EXPECT_GT(arrived[i], arrived[i - 16]);
  EXPECT_FALSE(store_.endpoints.at(webhook).circuit_opened_at);
  EXPECT_EQ(process_.count_log("the circuit of webhook"), 2U) << "opened, closed";
}

TEST_F(WorkerTest, ProbesDoNotUseUpTheSchedule) {
  process_.settings_in_force.retry_schedule = {1s};
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  bool is_dead = true;
  http_.answer = [&is_dead](const Received&) { return Answer{.status = is_dead ? 503 : 200}; };
  store_.emit_many(20);
  plan(10min, [&is_dead] { is_dead = false; });
  run_until([this] { return store_.required().empty() && store_.count_pending() == 0; });
  EXPECT_EQ(std::count_if(store_.logs.begin(), store_.logs.end(), [](const auto& log) { return log.row.success; }), 20);
  EXPECT_TRUE(store_.deliveries.empty()) << "none died";
  const auto most = std::max_element(store_.logs.begin(), store_.logs.end(),
                                     [](const auto& a, const auto& b) { return a.row.attempt < b.row.attempt; });
  EXPECT_GT(most->row.attempt, 5) << "but each attempt has its number";
}

TEST_F(WorkerTest, OpenCircuitOutlivesTheWorker) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  store_.emit_many(100);
  run_for(2s);
  const std::size_t before = http_.received().size();
  run_for(2s);
  EXPECT_LE(http_.received().size() - before, 1U) << "a probe";
}

TEST_F(WorkerTest, AnotherUrlIsTriedAtOnce) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.status = request.url.ends_with("new") ? 200 : 500}; };
  store_.emit_many(100);
  plan(1s, [&] {
    store_.change_webhook(webhook, [](Webhook& w) { w.url += "new"; });
    process_.wake();
  });
  plan(3s, [this] { EXPECT_LT(store_.count_pending(), 5U) << "all but the first, which wait for their retry"; });
  plan(20s, [this] { EXPECT_EQ(store_.count_pending(), 0U); });
  run_for(21s);
}

TEST_F(WorkerTest, AnswersThatSpeakOfOneDeliveryOpenNoCircuit) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  store_.emit_many(100);
  run_for(5s);
  EXPECT_EQ(http_.received().size(), 100U);
}

TEST_F(WorkerTest, DeadEndpointsCostTheOthersNothing) {
  process_.settings_in_force.max_in_flight = 256;
  for (int number = 1; number <= 100; ++number) store_.add_webhook(number);
  http_.answer = [](const Received& request) {
    return webhook_at(request.url).bytes[15] <= 10 ? FakeHttp::hangs() : Answer{};
  };
  store_.emit_many(500);
  plan(3s, [this] {
    for (int number = 11; number <= 100; ++number) EXPECT_EQ(received_by(number).size(), 500U) << number;
  });
  run_for(4s);
}

TEST_F(WorkerTest, GoneSwitchesTheWebhookOffAndSaysSo) {
  const Uuid webhook = store_.add_webhook(1);
  store_.add_webhook(2, [](Webhook& w) { w.events = {"webhook.*"}; });
  http_.answer = [](const Received&) { return Answer{.status = 410}; };
  store_.emit();
  run_for(5s);
  EXPECT_FALSE(store_.is_active(webhook));
  EXPECT_THAT(store_.disabled.at(webhook), testing::HasSubstr("HTTP status 410"));
  std::vector<std::string> emitted;
  for (const auto& event : store_.events_emitted) emitted.push_back(event.name);
  EXPECT_THAT(emitted, testing::UnorderedElementsAre("webhook.delivery.failed", "webhook.disabled"));
  EXPECT_EQ(process_.count_log("is switched off"), 1U);
}

TEST_F(WorkerTest, WebhookThatFailsForTooLongIsSwitchedOff) {
  process_.settings_in_force.disable_after = 1h;
  process_.settings_in_force.retry_schedule.assign(20, 10min);
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  store_.emit();
  plan(50min, [&] { EXPECT_TRUE(store_.is_active(webhook)); });
  run_for(2h);
  EXPECT_FALSE(store_.is_active(webhook));
  EXPECT_THAT(store_.disabled.at(webhook), testing::HasSubstr("failing since"));
}

// The percentages that the events of webhook.endpoint.failing tell, in their order.
std::vector<std::string> told(const FakeStore& store) {
  std::vector<std::string> percents;
  for (const OperationalEvent& event : store.events_emitted) {
    if (event.name != "webhook.endpoint.failing") continue;
    const std::size_t begin = event.data.find(R"("percent":)") + 10;
    percents.push_back(event.data.substr(begin, event.data.find(',', begin) - begin));
  }
  return percents;
}

TEST_F(WorkerTest, OwnersAreToldBeforeAWebhookIsSwitchedOff) {
  process_.settings_in_force.disable_after = 10h;
  process_.settings_in_force.retry_schedule.assign(20, 1h);
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  store_.emit();
  const Time begun = process_.now();
  plan(4h + 50min, [&] { EXPECT_THAT(told(store_), testing::IsEmpty()); });
  plan(5h + 10min, [&] { EXPECT_THAT(told(store_), testing::ElementsAre("50")); });
  plan(8h + 50min, [&] { EXPECT_THAT(told(store_), testing::ElementsAre("50")); });
  plan(9h + 10min, [&] { EXPECT_THAT(told(store_), testing::ElementsAre("50", "90")); });
  run_for(11h);
  EXPECT_FALSE(store_.is_active(webhook));
  EXPECT_THAT(told(store_), testing::ElementsAre("50", "90"));
  const auto event = std::find_if(store_.events_emitted.begin(), store_.events_emitted.end(),
                                  [](const OperationalEvent& e) { return e.name == "webhook.endpoint.failing"; });
  const std::string off_at = format_timestamp(begun + 10h).substr(0, 16);
  EXPECT_THAT(event->data, testing::HasSubstr(R"("switched_off_at":")" + off_at));
  EXPECT_THAT(event->data, testing::EndsWith(R"("error":"HTTP status 404"})"));
}

TEST_F(WorkerTest, OwnersAreToldOnceThoughWorkersChange) {
  process_.settings_in_force.disable_after = 10h;
  process_.settings_in_force.retry_schedule.assign(100, 6min);
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  store_.emit();
  for (int i = 0; i < 60; ++i) run_for(10min);
  EXPECT_THAT(told(store_), testing::ElementsAre("50", "90"));
}

TEST_F(WorkerTest, OwnersAreToldAgainAfterASuccess) {
  process_.settings_in_force.disable_after = 10h;
  process_.settings_in_force.retry_schedule.assign(100, 6min);
  store_.add_webhook(1);
  bool is_up = false;
  http_.answer = [&is_up](const Received&) { return Answer{.status = is_up ? 200 : 404}; };
  store_.emit();
  plan(6h, [&is_up] { is_up = true; });
  plan(7h, [&] {
    is_up = false;
    store_.emit();
  });
  run_for(13h);
  EXPECT_THAT(told(store_), testing::ElementsAre("50", "50"));
}

// It would cause further ones, for ever.
TEST_F(WorkerTest, NobodyIsToldIfOnlyEventsAboutWebhooksFail) {
  process_.settings_in_force.disable_after = 10h;
  process_.settings_in_force.retry_schedule.assign(100, 6min);
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  store_.emit([](Event& event) { event.name = "webhook.recovered"; });
  run_for(9h + 30min);
  EXPECT_THAT(told(store_), testing::IsEmpty());
}

TEST_F(WorkerTest, LockedWebhookIsSwitchedOffLaterAndHoldsUpNothing) {
  const Uuid webhook = store_.add_webhook(1);
  store_.add_webhook(2);
  store_.locked_webhooks.insert(webhook);
  http_.answer = [](const Received& request) { return Answer{.status = request.url == FakeStore::url(1) ? 410 : 200}; };
  store_.emit();
  plan(10s, [&] {
    EXPECT_TRUE(store_.is_active(webhook));
    EXPECT_EQ(received_by(2).size(), 1U);
    EXPECT_TRUE(store_.is_all_behind_checkpoint());
    store_.locked_webhooks.clear();
  });
  run_for(30s);
  EXPECT_FALSE(store_.is_active(webhook));
}

// The session that had locked its row has given it a URL that works, or has switched it off and on.
TEST_F(WorkerTest, LockedWebhookThatWasMendedIsNotSwitchedOff) {
  for (const bool has_new_url : {true, false}) {
    const int number = has_new_url ? 1 : 2;
    const Uuid webhook = store_.add_webhook(number);
    store_.locked_webhooks.insert(webhook);
    http_.answer = [](const Received& request) { return Answer{.status = request.url.ends_with("/good") ? 200 : 410}; };
    store_.emit();
    plan(12s, [&] {
      EXPECT_TRUE(store_.is_active(webhook));
      if (has_new_url) {
        store_.change_webhook(webhook, [](Webhook& w) { w.url += "/good"; });
      } else {
        store_.set_active(webhook, false);
      }
    });
    plan(13s, [&] {
      if (!has_new_url) store_.set_active(webhook, true);
      store_.locked_webhooks.clear();
    });
    run_for(30s);
    EXPECT_TRUE(store_.is_active(webhook)) << has_new_url;
    store_.set_active(webhook, false);
  }
}

// --- What is asked for again ----------------------------------------------------------------------------------------------

// How the attempt ends that is on its way while somebody asks for the delivery again.
struct AskedAgain {
  int status = 200;
  std::vector<Duration> schedule;
  bool has_row = false;  // it was pending before
  bool is_held = false;  // somebody holds the webhook's rows when it ends
};
class WorkerAskedAgainTest : public WorkerTest, public testing::WithParamInterface<AskedAgain> {};

TEST_P(WorkerAskedAgainTest, WhatWasAskedForLastIsDone) {
  const AskedAgain& with = GetParam();
  process_.settings_in_force.retry_schedule = with.schedule;
  const Uuid webhook = store_.add_webhook(1);
  int requests = 0;
  http_.answer = [&](const Received& request) {
    ++requests;
    if (with.has_row && requests == 1) return Answer{.status = 404, .delay = 10ms};
    EXPECT_LE(request.attempt, 2);
    return Answer{.status = requests <= (with.has_row ? 2 : 1) ? with.status : 200, .delay = 2s};
  };
  if (with.has_row)
    process_.settings_in_force.retry_schedule.insert(process_.settings_in_force.retry_schedule.begin(), 1s);
  const std::int64_t id = store_.emit();
  plan(with.has_row ? 2s : 1s, [&] {
    EXPECT_EQ(http_.in_flight(), 1U);
    store_.replay(id, webhook);
    asked_again_.insert({id, webhook});
    if (with.is_held) store_.held.insert(webhook);
  });
  plan(8s, [&] { store_.held.clear(); });
  run_for(30s);
  EXPECT_EQ(requests, with.has_row ? 3 : 2) << "and it once";
  EXPECT_TRUE(store_.has_success({id, webhook}));
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_EQ(store_.logs.back().row.attempt, 1) << "from the first attempt on";
}

INSTANTIATE_TEST_SUITE_P(All, WorkerAskedAgainTest,
                         testing::Values(AskedAgain{}, AskedAgain{.status = 404},
                                         AskedAgain{.status = 404, .schedule = {5s}}, AskedAgain{.has_row = true},
                                         AskedAgain{.status = 404, .has_row = true},
                                         AskedAgain{.status = 404, .schedule = {5s}, .has_row = true},
                                         AskedAgain{.is_held = true}, AskedAgain{.has_row = true, .is_held = true},
                                         AskedAgain{.status = 404, .has_row = true, .is_held = true}));

// Events that are asked for again while they wait in the lane, and the row of the request joins them there.
class WorkerAskedAgainInLaneTest : public WorkerTest, public testing::WithParamInterface<int> {
 protected:
  static constexpr std::int64_t kEvents = 6;

  std::size_t requests_of(std::int64_t event_id) const {
    const std::vector<std::int64_t> received = received_by(1);
    return static_cast<std::size_t>(std::count(received.begin(), received.end(), event_id));
  }
};

TEST_P(WorkerAskedAgainInLaneTest, EachIsSentOnceForItselfAndOnceForTheRequest) {
  const int failing = GetParam();  // requests that fail, of each event
  process_.settings_in_force.retry_schedule = {1s, 1s, 1s};
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  std::map<std::int64_t, int> requests;
  http_.answer = [&](const Received& request) {
    return Answer{.status = ++requests[request.event_id] <= failing ? 500 : 200, .delay = 1500ms};
  };
  plan(1s, [this] {
    for (std::int64_t n = 0; n < kEvents; ++n) store_.emit();
  });
  plan(2s, [this, webhook] {
    for (std::int64_t id = 3; id <= kEvents; ++id) {
      store_.replay(id, webhook);
      asked_again_.insert({id, webhook});
    }
  });
  // The row is searched for from the start.
  for (int second = 5; second < 60; second += 4)
    plan(std::chrono::seconds(second), [this, webhook] { store_.touch_pending(webhook); });
  run_for(120s);
  for (std::int64_t id = 1; id <= kEvents; ++id) {
    EXPECT_TRUE(store_.has_success({id, webhook})) << "event " << id;
    EXPECT_LE(requests_of(id), static_cast<std::size_t>(failing + (id < 3 ? 1 : 2))) << "event " << id;
  }
  EXPECT_TRUE(store_.deliveries.empty());
}

INSTANTIATE_TEST_SUITE_P(All, WorkerAskedAgainInLaneTest, testing::Values(0, 1));

}  // namespace
}  // namespace webhook
