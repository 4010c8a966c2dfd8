// Events that many webhooks get, and restarts among them.
#include "worker_test.h"

namespace webhook {
namespace {

// Its deliveries are written down a few at a time, and what was committed after it is read meanwhile.
TEST_F(WorkerTest, OneStatementForManyWebhooksHoldsUpNoOther) {
  constexpr int kWebhooks = 100;
  constexpr int kEvents = 400;
  const auto of = [](const char* organization) { return [=](Event& event) { event.organization_id = organization; }; };
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [](Webhook& w) {
      w.organization_id = "greedy";
      w.timeout = 1h;
    });
  }
  store_.add_webhook(kWebhooks + 1, [](Webhook& w) { w.organization_id = "modest"; });
  std::map<std::int64_t, std::size_t> written;  // when the other's were emitted
  std::size_t most_meanwhile = 0;
  http_.answer = [&](const Received& request) {
    if (request.url != FakeStore::url(kWebhooks + 1)) return FakeHttp::hangs();
    most_meanwhile = std::max(most_meanwhile, store_.count_pending() - written.at(request.event_id));
    return Answer{};
  };
  const auto emit_modest = [&] { written.emplace(store_.emit(of("modest")), store_.count_pending()); };
  plan(1s, [&] {
    store_.emit_many(kEvents, of("greedy"));
    emit_modest();
  });
  std::size_t recorded = 0;
  store_.after = [&](const std::string& call) {
    const bool is_under_way = store_.count_pending() < kEvents * kWebhooks - Lanes::kAllQueuedMax;
    if (call == "record" && is_under_way && ++recorded % 4 == 0) emit_modest();
  };
  run_for(30s);
  EXPECT_GE(store_.count_pending(), kEvents * kWebhooks - Lanes::kAllQueuedMax);
  EXPECT_GE(written.size(), 5U);
  EXPECT_EQ(received_by(kWebhooks + 1).size(), written.size());
  EXPECT_LE(most_meanwhile, 5'000U);
}

class WorkerFanOutTest : public WorkerTest, public testing::WithParamInterface<Ordering> {};

// Whether they waited to be written down, crashed meanwhile or not.
TEST_P(WorkerFanOutTest, EventsForManyWebhooksComeOnceAndInOrder) {
  constexpr int kWebhooks = 25;
  constexpr int kEvents = 60;
  process_.settings_in_force.memory_bytes_max = 8 << 20;  // so that some two hundred fit
  const auto emit_some = [this](int count) {
    store_.emit_many(count, [](Event& event) {
      event.key = std::to_string(event.id % 7);
      event.data = "{\"id\":" + std::to_string(event.id) + ",\"text\":\"" + std::string(10'000, 'x') + "\"}";
    });
  };
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [](Webhook& w) { w.limits.ordering = GetParam(); });
  }
  std::map<std::pair<std::string, std::string>, std::int64_t> latest;  // by webhook and key
  http_.answer = [&](const Received& request) {
    const std::string key = GetParam() == Ordering::kEndpoint ? std::string() : std::to_string(request.event_id % 7);
    std::int64_t& last = latest[{request.url, key}];
    EXPECT_GE(request.event_id, last) << "one passes another that is older";
    last = request.event_id;
    return Answer{.delay = 20ms};
  };
  std::size_t most_pending = 0;
  plan(10ms, [&] { emit_some(kEvents); });
  plan(300ms, [&] { emit_some(5); });
  crash_after(400ms);
  plan(1s, [&] { emit_some(5); });
  run_until([&] {
    most_pending = std::max(most_pending, store_.count_pending());
    return store_.required().empty() && store_.count_pending() == 0;
  });
  EXPECT_GT(most_pending, 300U) << "many have waited";
}

INSTANTIATE_TEST_SUITE_P(All, WorkerFanOutTest,
                         testing::Values(Ordering::kRelaxed, Ordering::kKey, Ordering::kEndpoint));

TEST_F(WorkerTest, FiltersOfEventsThatWaitForRoomAreAskedOnce) {
  for (int number = 1; number <= 100; ++number) {
    store_.add_webhook(number, [number](Webhook& w) { w.filter = "$.id > -" + std::to_string(number); });
  }
  store_.emit_many(500);
  run_until([this] { return store_.logs.size() == 50'000; });
  EXPECT_EQ(store_.filters_asked, 50'000U);
}

TEST_F(WorkerTest, WhatOverflowedBeforeARestartIsNotPassedByWhatComesAfterIt) {
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.delay = 10ms}; };
  const Uuid webhook = FakeStore::uuid(1);
  store_.emit_many(3'000);
  const Snapshot now = store_.current_head().snapshot;
  store_.checkpoint = Checkpoint{{now, now}, 0, 0};
  store_.identity = StoredIdentity{.instance = webhook, .database = 1, .system_identifier = 1};
  for (std::int64_t id = 1; id <= 3'000; ++id) {
    store_.add_pending(id, webhook, process_.now());
  }
  plan(1s, [this] { store_.emit_many(100); });
  run_until([this] { return store_.logs.size() == 3'100; }, 5min);
  EXPECT_EQ(received_by(1), ids_from(1, 3'100));
}

struct RestartInOrder {
  Ordering ordering = Ordering::kRelaxed;
  bool is_crash = false;
  bool is_shared_anew = false;  // by more workers than before
};
class WorkerRestartOrderTest : public WorkerTest, public testing::WithParamInterface<RestartInOrder> {};

// The first ones wait in memory, those behind them have rows, and more come before, while and after a worker starts.
TEST_P(WorkerRestartOrderTest, WhatHasARowDoesNotPassWhatHasNone) {
  const RestartInOrder& with = GetParam();
  const Uuid webhook = store_.add_webhook(1, [&](Webhook& w) { w.limits.ordering = with.ordering; });
  http_.answer = [](const Received&) { return Answer{.delay = 20ms}; };
  const auto emit_some = [this](int count) { store_.emit_many(count, [](Event& event) { event.key = "same"; }); };
  plan(100ms, [&] { emit_some(static_cast<int>(Lanes::kQueuedMax) + 500); });
  plan(1300ms, [&] { emit_some(10); });  // reading has waited for the lane by then
  plan(1500ms, [&] {
    EXPECT_GT(store_.count_pending(), 400U);
    EXPECT_EQ(store_.pending({500, webhook}), nullptr) << "it waits in memory";
  });
  if (with.is_crash) {
    crash_after(1600ms);
  } else {
    run_for(1600ms);
  }
  emit_some(10);
  if (with.is_shared_anew) {
    share_ = {.number = 1, .count = 2};
    while (!share_.owns(webhook)) share_.number = share_.number % 2 + 1;
  }
  plan(50ms, [&] { emit_some(10); });
  run_until([&] { return store_.count_pending() == 0 && store_.has_success({1'530, webhook}); }, 5min);
  std::int64_t last = 0;
  for (const std::int64_t id : received_by(1)) {
    EXPECT_GE(id, last - 1) << "what was in flight may come again";
    last = std::max(last, id);
  }
  EXPECT_EQ(last, 1'530);
}

INSTANTIATE_TEST_SUITE_P(All, WorkerRestartOrderTest,
                         testing::Values(RestartInOrder{.ordering = Ordering::kRelaxed},
                                         RestartInOrder{.ordering = Ordering::kKey},
                                         RestartInOrder{.ordering = Ordering::kEndpoint},
                                         RestartInOrder{.ordering = Ordering::kRelaxed, .is_crash = true},
                                         RestartInOrder{.ordering = Ordering::kKey, .is_crash = true},
                                         RestartInOrder{.ordering = Ordering::kEndpoint, .is_crash = true},
                                         RestartInOrder{.ordering = Ordering::kKey, .is_shared_anew = true}));

TEST_F(WorkerTest, HangingEndpointDoesNotStopTheReadingOfALargeBacklog) {
  store_.add_webhook(1, [](Webhook& w) { w.timeout = 60s; });
  store_.add_webhook(2, [](Webhook& w) { w.limits.max_in_flight = 64; });
  http_.answer = [](const Received& request) {
    return request.url == FakeStore::url(1) ? FakeHttp::hangs() : Answer{.delay = 1ms};
  };
  const Time begin = process_.now();
  store_.emit_many(60'000);
  run_until([this] { return http_.received().size() == 60'001; }, 60s);
  EXPECT_LT(http_.received().back().at - begin, 3s);
}

TEST_F(WorkerTest, WhatHangsIsWrittenDownStepByStepAndStaysInMemory) {
  store_.add_webhook(1, [](Webhook& w) { w.timeout = 60s; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(100);
  run_for(10s);
  EXPECT_EQ(store_.count_pending(), 100U);
  EXPECT_LE(store_.pending_at_once, 50U);
  EXPECT_EQ(store_.rows_fetched, 0U);
}

TEST_F(WorkerTest, HangingEndpointDoesNotHoldTheCheckpointForEver) {
  const Uuid hanging = store_.add_webhook(1, [](Webhook& w) { w.timeout = 60s; });
  store_.add_webhook(2);
  http_.answer = [](const Received& request) {
    return request.url == FakeStore::url(1) ? FakeHttp::hangs() : Answer{};
  };
  const std::int64_t id = store_.emit();
  plan(1500ms, [&] {
    EXPECT_TRUE(store_.has_success({id, FakeStore::uuid(2)}));
    EXPECT_FALSE(store_.is_behind_checkpoint(id)) << "one of its deliveries is in flight";
  });
  plan(10s, [&] {
    EXPECT_TRUE(store_.is_behind_checkpoint(id));
    const DeliveryRow* written_down = store_.pending({id, hanging});
    ASSERT_NE(written_down, nullptr);
    EXPECT_EQ(written_down->attempts, 0);
    EXPECT_TRUE(written_down->next_attempt_at);
    EXPECT_EQ(http_.in_flight_to(FakeStore::url(1)), 1U) << "it goes on";
    store_.emit_many(100);
  });
  plan(11s, [&] { EXPECT_EQ(received_by(2).size(), 101U) << "others go on"; });
  run_for(65s);
  ASSERT_NE(store_.pending({id, hanging}), nullptr);
  EXPECT_EQ(store_.pending({id, hanging})->attempts, 1);
  EXPECT_EQ(received_by(1).front(), id);
}

TEST_F(WorkerTest, SecretsAreReadAgainWhenOneExpires) {
  const Time expiry = process_.now() + 10min;
  const Uuid other = store_.add_webhook(2);
  const Uuid webhook = store_.add_webhook(1, [&](Webhook& w) { w.secrets_change_at = expiry; });
  plan(9min, [&] { EXPECT_LT(store_.read_at[webhook], expiry - 8min); });
  run_for(11min);
  EXPECT_GE(store_.read_at[webhook], expiry);
  EXPECT_LT(store_.read_at[webhook], expiry + 1s);
  EXPECT_LT(store_.read_at[other], expiry) << "no other is read for that";
}

TEST_F(WorkerTest, ClockThatIsSetBackHoldsNothingUp) {
  store_.add_webhook(1, [](Webhook& w) { w.active_since -= 2h; });
  store_.add_webhook(2, [](Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received& request) {
    return request.url == FakeStore::url(2) ? FakeHttp::hangs() : Answer{};
  };
  const Time begin = process_.now();
  store_.emit();
  std::int64_t late = 0;
  plan(10s, [&] {
    process_.pass(-1h);
    late = store_.emit();
  });
  run_until([&] { return late > 0 && store_.has_success({late, FakeStore::uuid(1)}); }, 3h);
  EXPECT_LT(process_.now(), begin) << "it was delivered when the clock had caught up";
}

TEST_F(WorkerTest, WhatIsInMemoryIsBoundedWhateverTheBacklog) {
  constexpr int kWebhooks = 10;
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [](Webhook& w) { w.timeout = 1h; });
  }
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(20'000);
  plan(20s, [this] {
    const std::size_t in_memory = 20'000U * kWebhooks - store_.count_pending();
    EXPECT_LE(in_memory, Lanes::kAllQueuedMax);
  });
  run_for(30s);
  EXPECT_EQ(http_.in_flight_at_most(), 10U) << "one to each: none has ever answered";
}

TEST_F(WorkerTest, LoweredCapHoldsForWhatWaitsForAGlobalSlot) {
  process_.settings_in_force.max_in_flight = 4;
  const Uuid webhook = store_.add_webhook(1);
  store_.add_webhook(2, [](Webhook& w) { w.events = {"deal.*"}; });
  http_.answer = [](const Received&) { return Answer{.delay = 1s}; };
  store_.emit_many(20);
  plan(500ms, [&] { store_.change_webhook(webhook, [](Webhook& w) { w.limits.max_in_flight = 2; }); });
  plan(600ms, [&] { store_.emit([](Event& event) { event.name = "other.event"; }); });
  run_until([this] { return store_.logs.size() == 21; }, 1min);
}

}  // namespace
}  // namespace webhook
