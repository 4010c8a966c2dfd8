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
  const Uuid webhook = store_.add_webhook(1, [first = before](Webhook& w) {
    w.limits.ordering = first;
    w.limits.max_in_flight = 10;
  });
  http_.answer = [](const Received&) { return Answer{.status = 200, .delay = 20ms}; };
  const auto emit = [this](std::size_t count) {
    store_.emit_many(count, [](Event& event) { event.key = "k" + std::to_string(event.id % 2); });
  };
  plan(0s, [emit] { emit(40); });
  plan(200ms, [this, webhook, second = after] {
    store_.change_webhook(webhook, [second](Webhook& w) { w.limits.ordering = second; });
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

// Rows of deliveries that somebody asked for once more: see ReadBarrier and Pending::refill_lane().
class WorkerAskedAgainInOrderTest : public WorkerTest, public testing::WithParamInterface<Ordering> {
 protected:
  Uuid add_webhook() {
    return store_.add_webhook(1, [](Webhook& w) {
      w.limits.ordering = GetParam();
      w.limits.max_in_flight = 10;
    });
  }
  std::int64_t emit() {
    return store_.emit([](Event& event) { event.key = "k"; });
  }
  void ask_again(std::int64_t event_id, const Uuid& webhook) {
    asked_again_.insert({event_id, webhook});
    store_.replay(event_id, webhook);
    store_.deliveries.at({event_id, webhook}).ordering_key = ordering_key(GetParam(), "k", event_id);
  }
};

TEST_P(WorkerAskedAgainInOrderTest, ReplayedEventDoesNotOvertakeOlderOnesThatAreNotReadYet) {
  const Uuid webhook = add_webhook();
  plan(1s, [this] {
    store_.set_paused(true);
    process_.wake();
  });
  plan(2s, [this, webhook] {
    for (int i = 0; i < 5; ++i) emit();
    ask_again(5, webhook);
  });
  plan(3s, [this] {
    store_.set_paused(false);
    process_.wake();
  });
  run_for(20s);
  const std::vector<std::int64_t> received = received_by(1);
  ASSERT_GE(received.size(), 5U);
  EXPECT_EQ(std::vector(received.begin(), received.begin() + 5), ids_from(1, 5));
}

TEST_P(WorkerAskedAgainInOrderTest, EventThatIsAskedForDuringItsAttemptIsSentBeforeNewerOnes) {
  const Uuid webhook = add_webhook();
  process_.settings_in_force.retry_schedule = {1s, 1s};
  http_.answer = [this](const Received& request) {
    if (request.event_id != 1 || received_by(1).size() >= 2) return Answer{.status = 200};
    return request.attempt == 1 ? Answer{.status = 500} : Answer{.status = 200, .delay = 2s};
  };
  plan(1s, [this] { emit(); });  // fails, and is sent again after 1 s
  plan(3s, [this, webhook] { ask_again(1, webhook); });
  plan(3500ms, [this] { emit(); });
  run_for(20s);
  EXPECT_THAT(received_by(1), testing::ElementsAre(1, 1, 1, 2));
}

INSTANTIATE_TEST_SUITE_P(Ordered, WorkerAskedAgainInOrderTest, testing::Values(Ordering::kKey, Ordering::kEndpoint));

TEST_F(WorkerTest, RowsThatAnOrderingPassedOverAreFoundByTheNextOne) {
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.limits.ordering = Ordering::kKey; });
  process_.settings_in_force.retry_schedule = {10s};
  std::set<std::int64_t> failed;
  http_.answer = [&](const Received& request) {
    const bool fails = request.event_id != 3 && failed.insert(request.event_id).second;
    return Answer{.status = fails ? 404 : 200};
  };
  const auto emit = [this](const char* key) { store_.emit([key](Event& event) { event.key = key; }); };
  plan(1s, [emit] { emit("a"); });      // fails, due again at 11 s
  plan(6s, [emit] { emit("b"); });      // fails, due again at 16 s
  plan(6500ms, [emit] { emit("b"); });  // waits for that since 6.5 s
  plan(13s, [this, webhook] {           // the search has gone past 11 s
    store_.change_webhook(webhook, [](Webhook& w) { w.limits.ordering = Ordering::kRelaxed; });
  });
  run_for(30s);
  EXPECT_EQ(store_.count_pending(), 0U);
  EXPECT_THAT(received_by(1), testing::UnorderedElementsAre(1, 2, 1, 3, 2));
}

}  // namespace
}  // namespace webhook
