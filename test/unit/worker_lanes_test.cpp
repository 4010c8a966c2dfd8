// How webhooks share what a worker may have in flight.
#include "worker_test.h"

namespace webhook {
namespace {

TEST_F(WorkerTest, FullLaneOverflowsAndAllOfItComesBackInOrder) {
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  store_.add_webhook(2);
  http_.answer = [](const Received& request) { return Answer{.delay = request.url == FakeStore::url(1) ? 10ms : 1ms}; };
  store_.emit_many(5'000);
  bool overflowed = false;
  for (int i = 1; i < 40; ++i) {
    plan(i * 1s, [&] {
      overflowed = overflowed || store_.count_pending() > 1'000;
      store_.emit_many(20);
    });
  }
  std::size_t received_by_the_other = 0;
  plan(3s, [&] { received_by_the_other = received_by(2).size(); });
  run_until([this] { return store_.logs.size() == 2 * 5'780; }, 5min);
  EXPECT_TRUE(overflowed);
  EXPECT_GE(received_by_the_other, 5'000U) << "the quick one waits for the slow one";
  EXPECT_EQ(received_by(1), ids_from(1, 5'780));
  EXPECT_EQ(received_by(2).size(), 5'780U);
  EXPECT_TRUE(store_.deliveries.empty());
}

// Lanes of different speed, so that their overflows end in different moments between two recordings.
TEST_F(WorkerTest, SteadyStreamNeverPassesWhatOverflowed) {
  constexpr int kWebhooks = 6;
  constexpr int kBacklog = 1'300;
  constexpr int kStream = 2'500;
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [](Webhook& w) { w.limits.max_in_flight = 1; });
  }
  http_.answer = [](const Received& request) {
    return Answer{.delay = 1700us + 77us * std::stoi(request.url.substr(8))};
  };
  store_.emit_many(kBacklog);
  for (int i = 0; i < kStream; ++i) plan(i * 3ms, [this] { store_.emit(); });
  run_until([this] { return store_.logs.size() == kWebhooks * (kBacklog + kStream); }, 5min);
  for (int number = 1; number <= kWebhooks; ++number) {
    EXPECT_EQ(received_by(number), ids_from(1, kBacklog + kStream)) << "lane " << number;
  }
}

TEST_F(WorkerTest, TimeThatTheDatabaseTakesMakesNoLaneOverflow) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 1ms}; };
  store_.after = [this](const std::string& call) {
    if (call == "record") process_.pass(60ms);
  };
  store_.emit_many(5'000);
  EXPECT_EQ(most_pending_until_logged(5'000), 0U);
}

TEST_F(WorkerTest, LaneThatTakesAMomentToBeginDoesNotOverflow) {
  store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 64; });
  const Time begin = process_.now();
  http_.answer = [&](const Received&) {
    return Answer{.delay = std::max<Duration>(begin + 300ms - process_.now(), 1ms)};
  };
  store_.emit_many(20'000);
  EXPECT_EQ(most_pending_until_logged(20'000), 0U);
}

TEST_F(WorkerTest, EventsForManyWebhooksAtOnceMakeNoLaneOverflow) {
  for (int number = 1; number <= 100; ++number) store_.add_webhook(number);
  store_.emit_many(500);
  EXPECT_EQ(most_pending_until_logged(50'000), 0U);
}

// How many webhooks the one has that gets more than its endpoints take, and how many events.
class WorkerFloodTest : public WorkerTest, public testing::WithParamInterface<std::pair<int, int>> {};

TEST_P(WorkerFloodTest, FloodOfOneOrganizationDelaysNoOther) {
  const auto [webhooks, events] = GetParam();
  constexpr int kModest = 200;
  const auto of = [](const char* organization) { return [=](Event& event) { event.organization_id = organization; }; };
  for (int number = 1; number <= webhooks; ++number) {
    store_.add_webhook(number, [](Webhook& w) { w.organization_id = "greedy"; });
  }
  store_.add_webhook(kModest, [](Webhook& w) { w.organization_id = "modest"; });
  http_.answer = [](const Received& request) {
    return Answer{.delay = request.url == FakeStore::url(kModest) ? 5ms : 900ms};
  };
  std::map<std::int64_t, Time> emitted;
  for (int i = 1; i <= 50; ++i) {
    plan(i * 100ms, [&] { emitted.emplace(store_.emit(of("modest")), process_.now()); });
  }
  plan(2s, [&, flood = events] { store_.emit_many(flood, of("greedy")); });
  Duration longest{};
  run_until([&] { return received_by(kModest).size() == 50; }, 20s);
  for (const Received& request : http_.received()) {
    if (request.url == FakeStore::url(kModest)) longest = std::max(longest, request.at - emitted.at(request.event_id));
  }
  EXPECT_LE(longest, 200ms);
}

INSTANTIATE_TEST_SUITE_P(All, WorkerFloodTest,
                         testing::Values(std::pair(1, 20'000), std::pair(100, 200), std::pair(20, 1'000)));

}  // namespace
}  // namespace webhook
