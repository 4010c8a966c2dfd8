// A webhook that is deleted, and another that gets its id.
#include "worker_test.h"

namespace webhook {
namespace {

// Webhook 1 of acme is deleted, and its id is given to one of globex with the URL of 2, while acme's events are on their
// way: whatever state they are in, globex gets none of them.
struct OnItsWay {
  const char* name;
  std::function<void(Webhook&)> webhook = [](Webhook&) {};
  int events = 20;
  Answer answer{.delay = 300ms};
  Duration replaced_after = 1s;
  bool has_crashed = false;  // before it is replaced
};

class AnotherWebhookOfTheIdTest : public WorkerTest,
                                  public testing::WithParamInterface<std::tuple<OnItsWay, Duration>> {
 protected:
  void create_first() {
    store_.add_webhook(1, [&](Webhook& w) {
      w.organization_id = "acme";
      w.created_at = process_.now();
      std::get<0>(GetParam()).webhook(w);
    });
  }
  void create_second() {
    store_.add_webhook(1, [&](Webhook& w) {
      w.organization_id = "globex";
      w.created_at = process_.now();
      w.url = FakeStore::url(2);
    });
    process_.wake();
  }
};

TEST_P(AnotherWebhookOfTheIdTest, GetsNothingThatWasMadeForTheFirst) {
  // Names, not a structured binding, which clang lets no lambda capture.
  const auto& situation = std::get<0>(GetParam());
  const auto& gap = std::get<1>(GetParam());
  http_.answer = [&](const Received& request) {
    return request.url == FakeStore::url(1) ? situation.answer : Answer{};
  };
  // The attempts of both count from 1.
  http_.on_start = [](const Received&) {};
  create_first();
  process_.pass(1ms);
  const auto begin = [&] {
    store_.emit_many(situation.events, [](Event& event) {
      event.organization_id = "acme";
      event.key = event.id % 2 == 0 ? "even" : "odd";
    });
  };
  begin();
  const auto replace = [&] {
    store_.delete_webhook(FakeStore::uuid(1));
    process_.wake();
    if (gap == Duration::zero()) create_second();
  };
  Time emitted{};
  std::int64_t of_globex = 0;
  const auto emit_of_globex = [&] {
    emitted = process_.now();
    of_globex = store_.emit([](Event& event) { event.organization_id = "globex"; });
  };
  Duration passed = situation.replaced_after;
  if (situation.has_crashed) {
    crash_after(passed);
    replace();
    passed = {};
  } else {
    plan(passed, replace);
  }
  if (gap > Duration::zero()) plan(passed + gap, [&] { create_second(); });
  plan(passed + gap + 1s, emit_of_globex);
  run_for(5min);
  EXPECT_EQ(received_by(2), std::vector<std::int64_t>{of_globex}) << "its own, and no other";
  ASSERT_FALSE(http_.received().empty());
  for (const Received& request : http_.received()) {
    if (request.url == FakeStore::url(2)) {
      EXPECT_LT(request.at - emitted, 100ms) << "the other's failures are not its own";
    }
  }
  for (const FakeStore::Log& log : store_.logs) {
    EXPECT_EQ(log.row.organization_id, log.row.event_id == of_globex ? "globex" : "acme");
    EXPECT_TRUE(log.row.event_id != of_globex || log.row.success);
  }
  EXPECT_TRUE(store_.deliveries.empty()) << "nothing is left of the first";
  std::int32_t attempts = 0;
  for (const auto& [key, minute] : store_.minutes) {
    if (key.second >= std::chrono::floor<std::chrono::minutes>(emitted)) attempts += minute.attempts;
  }
  EXPECT_LE(attempts, 1 + situation.events);
  ASSERT_TRUE(store_.endpoints.contains(FakeStore::uuid(1)));
  const EndpointState& endpoint = store_.endpoints.at(FakeStore::uuid(1));
  EXPECT_FALSE(endpoint.circuit_opened_at || endpoint.failing_since || endpoint.last_failure_at);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

INSTANTIATE_TEST_SUITE_P(
    Deliveries, AnotherWebhookOfTheIdTest,
    testing::Combine(
        testing::Values(
            OnItsWay{.name = "queued", .webhook = [](Webhook& w) { w.limits.max_in_flight = 1; }},
            OnItsWay{.name = "in_flight_that_hangs", .events = 1, .answer = FakeHttp::hangs()},
            OnItsWay{.name = "in_flight_that_fails", .events = 60, .answer = {.status = 500, .delay = 400ms}},
            OnItsWay{.name = "in_flight_that_is_gone", .events = 1, .answer = {.status = 410, .delay = 2s}},
            OnItsWay{.name = "parked", .events = 100, .answer = {.delay = 900ms}},
            OnItsWay{.name = "pending", .answer = {.status = 500}, .replaced_after = 2s},
            OnItsWay{.name = "held_by_a_circuit", .events = 100, .answer = {.status = 500}, .replaced_after = 10s},
            OnItsWay{.name = "overflown", .events = 2'500, .answer = FakeHttp::hangs()},
            OnItsWay{.name = "spilled",
                     .webhook = [](Webhook& w) { w.timeout = 1min; },
                     .answer = FakeHttp::hangs(),
                     .replaced_after = 7s},
            OnItsWay{.name = "ordered",
                     .webhook = [](Webhook& w) { w.limits.ordering = Ordering::kKey; },
                     .answer = {.status = 500},
                     .replaced_after = 3s},
            OnItsWay{.name = "inactive", .webhook = [](Webhook& w) { w.secret_problem = "no key"; }},
            OnItsWay{.name = "recovered", .has_crashed = true},
            OnItsWay{
                .name = "recovered_with_rows", .answer = {.status = 500}, .replaced_after = 5s, .has_crashed = true}),
        testing::Values(Duration::zero(), Duration(100ms), Duration(3s))),
    [](const auto& each) {
      return std::string(std::get<0>(each.param).name) + "_" +
             std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(std::get<1>(each.param)).count());
    });

}  // namespace
}  // namespace webhook
