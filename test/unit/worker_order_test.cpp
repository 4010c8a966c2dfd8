// Ordering by key and by endpoint, through retries and crashes.
#include "worker_test.h"

namespace webhook {
namespace {

// Keys k0 … k9, whose events may fail: in the order of first successes each key ascends.
class WorkerOrderTest : public WorkerTest, public testing::WithParamInterface<int> {};

TEST_P(WorkerOrderTest, KeysAndEndpointsKeepTheirOrderThroughRetriesAndCrashes) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  process_.settings_in_force.retry_schedule.assign(20, 1s);
  for (const int number : {1, 2}) {
    store_.add_webhook(
        number, [number](Webhook& w) { w.limits.ordering = number == 1 ? Ordering::kKey : Ordering::kEndpoint; });
  }
  std::size_t in_flight_most = 0;
  http_.answer = [&](const Received& request) {
    in_flight_most = std::max(in_flight_most, http_.in_flight_to(FakeStore::url(1)));
    const bool fails = request.attempt < 4 && random() % 5 == 0;
    return Answer{.status = fails ? 404 : 200, .delay = 1ms * (random() % 30)};
  };
  std::map<std::int64_t, std::string> keys;
  for (int burst = 0; burst < 20; ++burst) {
    plan(burst * 500ms, [&] {
      const std::int64_t first = store_.emit_many(50, [&](Event& event) {
        event.key = "k" + std::to_string(event.id % 10);
        keys[event.id] = *event.key;
      });
      EXPECT_GT(first, 0);
    });
    if (burst % 6 == 5) crash_after(burst * 300ms);
  }
  store_.emit_many(500, [&](Event& event) {
    event.key = "k" + std::to_string(event.id % 10);
    keys[event.id] = *event.key;
  });
  crash_after(700ms);
  run_until([this] { return store_.required().empty() && store_.count_pending() == 0; }, 10h);
  std::map<std::string, std::int64_t> last_of_key;
  std::int64_t last_of_endpoint = 0;
  std::set<std::pair<std::int64_t, int>> seen;
  for (const FakeStore::Log& log : store_.logs) {
    const int number = log.row.webhook.bytes[15];
    if (!log.row.success || !seen.emplace(log.row.event_id, number).second) continue;
    if (number == 2) {
      EXPECT_GT(log.row.event_id, last_of_endpoint);
      last_of_endpoint = log.row.event_id;
    } else {
      std::int64_t& last = last_of_key[keys.at(log.row.event_id)];
      EXPECT_GT(log.row.event_id, last);
      last = log.row.event_id;
    }
  }
  EXPECT_EQ(seen.size(), 2 * keys.size());
  EXPECT_GT(in_flight_most, 2U) << "keys are parallel";
}

INSTANTIATE_TEST_SUITE_P(Seeds, WorkerOrderTest, testing::Range(1, 6));

// From which ordering to which, while some events wait and others come.
class WorkerOrderingChangeTest : public WorkerTest,
                                 public testing::WithParamInterface<std::pair<Ordering, Ordering>> {};

TEST_P(WorkerOrderingChangeTest, NewEventsDoNotPassThoseOfTheirKeyThatWait) {
  const auto [before, after] = GetParam();
  const Uuid webhook = store_.add_webhook(1, [before = before](Webhook& w) {
    w.limits.ordering = before;
    w.limits.max_in_flight = 10;
  });
  http_.answer = [](const Received&) { return Answer{.status = 200, .delay = 20ms}; };
  const auto emit = [this](std::size_t count) {
    store_.emit_many(count, [](Event& event) { event.key = "k" + std::to_string(event.id % 2); });
  };
  plan(0s, [emit] { emit(40); });
  plan(200ms, [this, webhook, after = after] {
    store_.change_webhook(webhook, [after](Webhook& w) { w.limits.ordering = after; });
  });
  for (int i = 0; i < 100; ++i) plan(150ms + i * 5ms, [emit] { emit(1); });
  run_until([this] { return received_by(1).size() == 140; });
  std::map<std::int64_t, std::int64_t> last;  // by key
  for (const std::int64_t id : received_by(1)) {
    EXPECT_GT(id, last[id % 2]);
    last[id % 2] = id;
  }
}

INSTANTIATE_TEST_SUITE_P(All, WorkerOrderingChangeTest,
                         testing::Values(std::pair(Ordering::kRelaxed, Ordering::kKey),
                                         std::pair(Ordering::kRelaxed, Ordering::kEndpoint),
                                         std::pair(Ordering::kKey, Ordering::kRelaxed),
                                         std::pair(Ordering::kKey, Ordering::kEndpoint),
                                         std::pair(Ordering::kEndpoint, Ordering::kRelaxed),
                                         std::pair(Ordering::kEndpoint, Ordering::kKey)));

}  // namespace
}  // namespace webhook
