// The whole loop in simulated time, on a simulated database and simulated endpoints. Every test also checks, by FakeStore
// and by watch_sending(), that no checkpoint passes what is unsettled, that no attempt is made twice unless a crash
// explains it, and that no cap on what is in flight is passed.
#include "worker/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

#include "fake_http.h"
#include "fake_process.h"
#include "fake_store.h"
#include "fake_tests.h"

namespace webhook {
namespace {

using namespace std::chrono_literals;
using Answer = FakeHttp::Answer;
using Received = FakeHttp::Received;

std::vector<std::int64_t> ids_from(std::int64_t first, std::size_t count) {
  std::vector<std::int64_t> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

class WorkerTest : public testing::Test {
 protected:
  WorkerTest() {
    http_.on_start = [this](const Received& request) { watch_sending(request); };
  }

  // A worker begins, works for a time and is shut down.
  void run_for(Duration duration) {
    plan(duration, [this] { process_.request_shutdown(); });
    live();
  }

  // Likewise, until a condition holds after some turn. Fails if it doesn't come to hold in time.
  void run_until(const std::function<bool()>& holds, Duration limit = 1h) {
    bool held = false;
    process_.after_turn = [&] {
      if (!held && holds()) {
        held = true;
        process_.request_shutdown();
      }
    };
    run_for(limit);
    process_.after_turn = nullptr;
    EXPECT_TRUE(held) << "waited for " << std::chrono::duration_cast<std::chrono::seconds>(limit).count() << " s";
  }

  // Works until so many log rows are there. Returns how many deliveries webhook_deliveries held at most after a turn.
  std::size_t most_owed_until_logged(std::size_t count) {
    std::size_t most_owed = 0;
    run_until([&] {
      most_owed = std::max(most_owed, store_.count_pending());
      return store_.logs.size() == count;
    });
    return most_owed;
  }

  // A worker begins and dies.
  void crash_after(Duration duration) {
    plan(duration, [] { throw Crash(); });
    live();
  }

  // In this life of a worker only.
  void plan(Duration delay, std::function<void()> action) {
    process_.after(delay, [this, life = life_, action = std::move(action)] {
      if (life == life_) action();
    });
  }

  // Until the worker ends in one way or another.
  void live() {
    bool clean = false;
    try {
      Worker worker(process_, store_, http_, tests_, share_);
      worker.run();
      clean = true;
    } catch (const Crash&) {
    } catch (const pg::Error&) {
    }
    ++life_;
    // What it sent and could not record may be sent again.
    std::erase_if(sent_, [this](const auto& attempt) {
      return !store_.has_attempt({std::get<0>(attempt), std::get<1>(attempt)}, std::get<2>(attempt));
    });
    ended_cleanly_ = clean;
    process_.begin_anew();
    http_.begin_anew();
    tests_.begin_anew();
    process_.pass(100ms);
  }

  std::int64_t turns_in(Duration duration) {
    const std::int64_t before = process_.turns();
    run_for(duration);
    return process_.turns() - before;
  }

  void watch_sending(const Received& request) {
    if (request.is_test) {
      EXPECT_LT(http_.tests_in_flight(), Tester::kInFlightMax);
      return;
    }
    const Uuid webhook = webhook_at(request.url);
    const pg::DeliveryKey key{request.event_id, webhook};
    if (!asked_again_.contains(key)) {
      EXPECT_TRUE(sent_.emplace(request.event_id, webhook, request.attempt).second)
          << "attempt " << request.attempt << " of event " << request.event_id << " is made again";
      EXPECT_FALSE(store_.has_success(key)) << "event " << request.event_id << " is sent again";
    }
    EXPECT_LT(http_.in_flight() - http_.tests_in_flight(),
              static_cast<std::size_t>(process_.settings_in_force.max_in_flight));
    if (store_.has_webhook(webhook)) {
      EXPECT_LT(http_.in_flight_to(request.url), static_cast<std::size_t>(store_.max_in_flight(webhook)));
    }
  }

  static Uuid webhook_at(const std::string& url) { return FakeStore::uuid(std::stoi(url.substr(8))); }

  std::vector<std::int64_t> received_by(int number) const { return http_.ids_received_by(FakeStore::url(number)); }

  FakeProcess process_;
  FakeStore store_{process_};
  FakeHttp http_{process_};
  FakeTests tests_{process_};
  bool ended_cleanly_ = false;
  WorkerShare share_;  // of the next worker that begins
  std::unordered_set<pg::DeliveryKey> asked_again_;

 private:
  int life_ = 0;
  std::set<std::tuple<std::int64_t, Uuid, int>> sent_;
};

// --- Delivery ---------------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, DeliversInIdOrderInEachLane) {
  for (const int number : {1, 2}) store_.add_webhook(number, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  std::vector<FullXid> xids = {store_.begin(), store_.begin(), store_.begin()};
  for (int i = 0; i < 1'200; ++i) store_.append(xids[static_cast<std::size_t>(i) % 3]);
  for (const std::size_t i : {2, 0, 1}) store_.commit(xids[i]);
  run_until([this] { return store_.logs.size() == 2'400; });
  EXPECT_EQ(received_by(1), ids_from(1, 1'200));
  EXPECT_EQ(received_by(2), ids_from(1, 1'200));
}

TEST_F(WorkerTest, SuccessWritesOneLogRowAndNoDeliveryRow) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 204, .delay = 30ms, .body = "done"}; };
  const std::int64_t id = store_.emit();
  run_for(10s);
  ASSERT_EQ(store_.logs.size(), 1U);
  const pg::LogRow& row = store_.logs[0].row;
  EXPECT_TRUE(row.success);
  EXPECT_EQ(row.webhook, webhook);
  EXPECT_EQ(row.event_id, id);
  EXPECT_EQ(row.event, "contact.created");
  EXPECT_EQ(row.attempt, 1);
  EXPECT_EQ(row.response_status, 204);
  EXPECT_EQ(row.response_body, "done");
  EXPECT_EQ(row.error, "");
  EXPECT_EQ(row.elapsed, 30ms);
  EXPECT_EQ(row.remote_ip, "192.0.2.1");
  EXPECT_FALSE(row.next_attempt_at);
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
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
  store_.add_webhook(1, [](pg::Webhook& w) { w.events = {"hangs"}; });
  store_.add_webhook(2, [](pg::Webhook& w) { w.events = {"answers"}; });
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
  store_.add_webhook(1, [](pg::Webhook& w) { w.organization_id = "acme"; });
  store_.add_webhook(2, [](pg::Webhook& w) { w.switches.front() += 5; });
  store_.add_webhook(3, [](pg::Webhook& w) { w.is_active = false; });
  store_.add_webhook(4, [](pg::Webhook& w) { w.events = {"deal.*"}; });
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
  const pg::OwedRow* dead = store_.owed({id, webhook});
  ASSERT_NE(dead, nullptr);
  EXPECT_FALSE(dead->next_attempt_at);
  EXPECT_EQ(dead->last_error, store_.logs[0].row.error);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

// --- Failures and retries ---------------------------------------------------------------------------------------------

TEST_F(WorkerTest, FailureIsOwedWithTheSchedulesDelayThenRetriedAndFinished) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.status = request.attempt == 1 ? 500 : 200}; };
  const std::int64_t id = store_.emit();
  plan(5s, [&] {
    const pg::OwedRow* owed = store_.owed({id, webhook});
    ASSERT_NE(owed, nullptr);
    EXPECT_EQ(owed->attempts, 1);
    EXPECT_EQ(owed->last_error, "HTTP status 500");
    ASSERT_EQ(store_.logs.size(), 1U);
    EXPECT_EQ(owed->next_attempt_at, store_.logs[0].row.next_attempt_at);
  });
  run_for(30s);
  ASSERT_EQ(http_.received().size(), 2U);
  const Duration waited = http_.received()[1].at - http_.received()[0].at;
  EXPECT_GE(waited, 10s);
  EXPECT_LT(waited, 10s + 10ms);
  EXPECT_EQ(http_.received()[1].attempt, 2);
  EXPECT_EQ(http_.received()[1].webhook_id, http_.received()[0].webhook_id);
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
  const pg::OwedRow* dead = store_.owed({id, webhook});
  ASSERT_NE(dead, nullptr);
  EXPECT_FALSE(dead->next_attempt_at);
  EXPECT_EQ(dead->attempts, 3);
  EXPECT_EQ(dead->last_error, "connection refused; the last attempt of its schedule");
  ASSERT_EQ(store_.logs.size(), 3U);
  EXPECT_EQ(store_.logs[2].row.error, dead->last_error);
}

TEST_F(WorkerTest, WebhooksOwnScheduleGoesBeforeTheSetting) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.retry_schedule = {1s}; });
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  const std::int64_t id = store_.emit();
  run_for(5s);
  EXPECT_EQ(http_.received().size(), 2U);
  ASSERT_NE(store_.owed({id, webhook}), nullptr);
  EXPECT_FALSE(store_.owed({id, webhook})->next_attempt_at);
}

TEST_F(WorkerTest, DeliveryThatWouldComeAfterMaxAgeIsDead) {
  process_.settings_in_force.max_age = 60s;
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  const std::int64_t id = store_.emit();
  run_for(1h);
  EXPECT_EQ(http_.received().size(), 2U);
  const pg::OwedRow* dead = store_.owed({id, webhook});
  ASSERT_NE(dead, nullptr);
  EXPECT_FALSE(dead->next_attempt_at);
  EXPECT_EQ(dead->last_error, "HTTP status 500; another attempt would come after webhook.max_age");
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
  ASSERT_NE(store_.owed({id, FakeStore::uuid(1)}), nullptr);
  ASSERT_NE(store_.owed({id, FakeStore::uuid(2)}), nullptr);
  EXPECT_GT(*store_.owed({id, FakeStore::uuid(1)})->next_attempt_at, now + 4s);
  EXPECT_LT(*store_.owed({id, FakeStore::uuid(2)})->next_attempt_at, now + 24h);
  EXPECT_GT(*store_.owed({id, FakeStore::uuid(2)})->next_attempt_at, now + 23h);
}

TEST_F(WorkerTest, OwedDeliveryWhoseEventIsGoneIsDeadAndSaysSo) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  const std::int64_t id = store_.emit();
  plan(5s, [this, id] { store_.forget_event(id); });
  run_for(20s);
  const pg::OwedRow* dead = store_.owed({id, webhook});
  ASSERT_NE(dead, nullptr);
  EXPECT_FALSE(dead->next_attempt_at);
  EXPECT_EQ(dead->attempts, 1);
  ASSERT_EQ(store_.logs.size(), 2U);
  EXPECT_EQ(store_.logs[1].row.attempt, 0);
  EXPECT_EQ(store_.logs[1].row.error, "the event is no longer stored");
}

TEST_F(WorkerTest, ManyOwedDeliveriesWithoutTheirEventsHoldUpNothing) {
  const Uuid webhook = store_.add_webhook(1);
  for (std::int64_t id = -3'000; id < 0; ++id) {
    store_.owe(id, webhook, process_.now());
  }
  const std::int64_t id = store_.emit();
  store_.owe(id, webhook, process_.now() + 1us);
  run_until([this] { return store_.count_pending() == 0; }, 10s);
  EXPECT_EQ(received_by(1), std::vector<std::int64_t>{id});
}

// --- Lanes ------------------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, FullLaneOverflowsAndAllOfItComesBackInOrder) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
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
    store_.add_webhook(number, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
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
  EXPECT_EQ(most_owed_until_logged(5'000), 0U);
}

TEST_F(WorkerTest, LaneThatTakesAMomentToBeginDoesNotOverflow) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 64; });
  const Time begin = process_.now();
  http_.answer = [&](const Received&) {
    return Answer{.delay = std::max<Duration>(begin + 300ms - process_.now(), 1ms)};
  };
  store_.emit_many(20'000);
  EXPECT_EQ(most_owed_until_logged(20'000), 0U);
}

TEST_F(WorkerTest, EventsForManyWebhooksAtOnceMakeNoLaneOverflow) {
  for (int number = 1; number <= 100; ++number) store_.add_webhook(number);
  store_.emit_many(500);
  EXPECT_EQ(most_owed_until_logged(50'000), 0U);
}

// How many webhooks the one has that gets more than its endpoints take, and how many events.
class WorkerFloodTest : public WorkerTest, public testing::WithParamInterface<std::pair<int, int>> {};

TEST_P(WorkerFloodTest, FloodOfOneOrganizationDelaysNoOther) {
  const auto [webhooks, events] = GetParam();
  constexpr int kModest = 200;
  const auto of = [](const char* organization) { return [=](Event& event) { event.organization_id = organization; }; };
  for (int number = 1; number <= webhooks; ++number) {
    store_.add_webhook(number, [](pg::Webhook& w) { w.organization_id = "greedy"; });
  }
  store_.add_webhook(kModest, [](pg::Webhook& w) { w.organization_id = "modest"; });
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

// --- What is asked for again ----------------------------------------------------------------------------------------------

// How the attempt ends that is on its way while somebody asks for the delivery again.
struct AskedAgain {
  int status = 200;
  std::vector<Duration> schedule;
  bool has_row = false;  // it was owed before
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

// --- Keys -------------------------------------------------------------------------------------------------------------------

// More keys have something owed than a lane remembers, and get their changes while the endpoint comes back.
TEST_F(WorkerTest, ChangesOfMoreKeysThanAreRememberedPassNoneThatFailed) {
  static constexpr int kKeys = 12'000;
  process_.settings_in_force.retry_schedule.assign(20, 1s);
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.ordering = Ordering::kKey; });
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

// --- Events for many webhooks -----------------------------------------------------------------------------------------------

// Its deliveries are written down a few at a time, and what was committed after it is read meanwhile.
TEST_F(WorkerTest, OneStatementForManyWebhooksHoldsUpNoOther) {
  constexpr int kWebhooks = 100;
  constexpr int kEvents = 400;
  const auto of = [](const char* organization) { return [=](Event& event) { event.organization_id = organization; }; };
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [](pg::Webhook& w) {
      w.organization_id = "greedy";
      w.timeout = 1h;
    });
  }
  store_.add_webhook(kWebhooks + 1, [](pg::Webhook& w) { w.organization_id = "modest"; });
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
    store_.add_webhook(number, [](pg::Webhook& w) { w.limits.ordering = GetParam(); });
  }
  std::map<std::pair<std::string, std::string>, std::int64_t> latest;  // by webhook and key
  http_.answer = [&](const Received& request) {
    const std::string key = GetParam() == Ordering::kEndpoint ? std::string() : std::to_string(request.event_id % 7);
    std::int64_t& last = latest[{request.url, key}];
    EXPECT_GE(request.event_id, last) << "one passes another that is older";
    last = request.event_id;
    return Answer{.delay = 20ms};
  };
  std::size_t most_owed = 0;
  plan(10ms, [&] { emit_some(kEvents); });
  plan(300ms, [&] { emit_some(5); });
  crash_after(400ms);
  plan(1s, [&] { emit_some(5); });
  run_until([&] {
    most_owed = std::max(most_owed, store_.count_pending());
    return store_.required().empty() && store_.count_pending() == 0;
  });
  EXPECT_GT(most_owed, 300U) << "many have waited";
}

INSTANTIATE_TEST_SUITE_P(All, WorkerFanOutTest,
                         testing::Values(Ordering::kRelaxed, Ordering::kKey, Ordering::kEndpoint));

TEST_F(WorkerTest, FiltersOfEventsThatWaitForRoomAreAskedOnce) {
  for (int number = 1; number <= 100; ++number) {
    store_.add_webhook(number, [number](pg::Webhook& w) { w.filter = "$.id > -" + std::to_string(number); });
  }
  store_.emit_many(500);
  run_until([this] { return store_.logs.size() == 50'000; });
  EXPECT_EQ(store_.filters_asked, 50'000U);
}

TEST_F(WorkerTest, WhatOverflowedBeforeARestartIsNotPassedByWhatComesAfterIt) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.delay = 10ms}; };
  const Uuid webhook = FakeStore::uuid(1);
  store_.emit_many(3'000);
  const Snapshot now = store_.current_head().snapshot;
  store_.checkpoint = Checkpoint{{now, now}, 0, 0};
  store_.identity = StoredIdentity{.instance = webhook, .database = 1, .system_identifier = 1};
  for (std::int64_t id = 1; id <= 3'000; ++id) {
    store_.owe(id, webhook, process_.now());
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
  const Uuid webhook = store_.add_webhook(1, [&](pg::Webhook& w) { w.limits.ordering = with.ordering; });
  http_.answer = [](const Received&) { return Answer{.delay = 20ms}; };
  const auto emit_some = [this](int count) { store_.emit_many(count, [](Event& event) { event.key = "same"; }); };
  plan(100ms, [&] { emit_some(static_cast<int>(Lanes::kQueuedMax) + 500); });
  plan(1300ms, [&] { emit_some(10); });  // reading has waited for the lane by then
  plan(1500ms, [&] {
    EXPECT_GT(store_.count_pending(), 400U);
    EXPECT_EQ(store_.owed({500, webhook}), nullptr) << "it waits in memory";
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
  store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 60s; });
  store_.add_webhook(2, [](pg::Webhook& w) { w.limits.max_in_flight = 64; });
  http_.answer = [](const Received& request) {
    return request.url == FakeStore::url(1) ? FakeHttp::hangs() : Answer{.delay = 1ms};
  };
  const Time begin = process_.now();
  store_.emit_many(60'000);
  run_until([this] { return http_.received().size() == 60'001; }, 60s);
  EXPECT_LT(http_.received().back().at - begin, 3s);
}

TEST_F(WorkerTest, WhatHangsIsWrittenDownStepByStepAndStaysInMemory) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 60s; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(100);
  run_for(10s);
  EXPECT_EQ(store_.count_pending(), 100U);
  EXPECT_LE(store_.owed_at_once, 50U);
  EXPECT_EQ(store_.rows_fetched, 0U);
}

TEST_F(WorkerTest, HangingEndpointDoesNotHoldTheCheckpointForEver) {
  const Uuid hanging = store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 60s; });
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
    const pg::OwedRow* written_down = store_.owed({id, hanging});
    ASSERT_NE(written_down, nullptr);
    EXPECT_EQ(written_down->attempts, 0);
    EXPECT_TRUE(written_down->next_attempt_at);
    EXPECT_EQ(http_.in_flight_to(FakeStore::url(1)), 1U) << "it goes on";
    store_.emit_many(100);
  });
  plan(11s, [&] { EXPECT_EQ(received_by(2).size(), 101U) << "others go on"; });
  run_for(65s);
  ASSERT_NE(store_.owed({id, hanging}), nullptr);
  EXPECT_EQ(store_.owed({id, hanging})->attempts, 1);
  EXPECT_EQ(received_by(1).front(), id);
}

TEST_F(WorkerTest, SecretsAreReadAgainWhenOneExpires) {
  const Time expiry = process_.now() + 10min;
  const Uuid other = store_.add_webhook(2);
  const Uuid webhook = store_.add_webhook(1, [&](pg::Webhook& w) { w.secrets_change_at = expiry; });
  plan(9min, [&] { EXPECT_LT(store_.read_at[webhook], expiry - 8min); });
  run_for(11min);
  EXPECT_GE(store_.read_at[webhook], expiry);
  EXPECT_LT(store_.read_at[webhook], expiry + 1s);
  EXPECT_LT(store_.read_at[other], expiry) << "no other is read for that";
}

TEST_F(WorkerTest, ClockThatIsSetBackHoldsNothingUp) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.active_since -= 2h; });
  store_.add_webhook(2, [](pg::Webhook& w) { w.timeout = 1h; });
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
    store_.add_webhook(number, [](pg::Webhook& w) { w.timeout = 1h; });
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
  store_.add_webhook(2, [](pg::Webhook& w) { w.events = {"deal.*"}; });
  http_.answer = [](const Received&) { return Answer{.delay = 1s}; };
  store_.emit_many(20);
  plan(500ms, [&] { store_.change_webhook(webhook, [](pg::Webhook& w) { w.limits.max_in_flight = 2; }); });
  plan(600ms, [&] { store_.emit([](Event& event) { event.name = "other.event"; }); });
  run_until([this] { return store_.logs.size() == 21; }, 1min);
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
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
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
    store_.change_webhook(webhook, [](pg::Webhook& w) { w.url += "new"; });
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
  store_.add_webhook(2, [](pg::Webhook& w) { w.events = {"webhook.*"}; });
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

// --- Somebody else is writing what is owed to a webhook -------------------------------------------------------------

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
    store_.change_webhook(FakeStore::uuid(1), [](pg::Webhook& w) { w.limits.ordering = Ordering::kEndpoint; });
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

TEST_F(WorkerTest, OrderingThatChangesIsWrittenIntoWhatIsOwedStepByStep) {
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
    store_.change_webhook(webhook, [](pg::Webhook& w) { w.limits.ordering = Ordering::kEndpoint; });
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

TEST_F(WorkerTest, WhatWasOwedWhileAWebhookWasOffComesBeforeWhatFollows) {
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
  store_.add_webhook(1, [](pg::Webhook& w) { w.events = {"webhook.*"}; });
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  store_.emit([](Event& event) { event.name = "webhook.delivery.failed"; });
  run_for(5s);
  EXPECT_EQ(store_.count_pending(), 0U);
  EXPECT_TRUE(store_.events_emitted.empty());
}

TEST_F(WorkerTest, RecoveryFromFailuresOfOperationalEventsIsNoNews) {
  process_.settings_in_force.retry_schedule.assign(20, 1s);
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.events = {"*", "webhook.*"}; });
  std::map<std::string, int> requests;  // by webhook-id
  http_.answer = [&](const Received& request) {
    return Answer{.status = ++requests[request.webhook_id] <= 5 ? 503 : 200};
  };
  store_.emit([](Event& event) { event.name = "webhook.recovered"; });
  plan(6s, [this, webhook] {
    EXPECT_EQ(process_.count_log("has opened"), 1U);
    EXPECT_EQ(process_.count_log("has closed"), 0U);
    store_.change_webhook(webhook, [](pg::Webhook& w) { w.name = "renamed"; });
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
// --- Memory -----------------------------------------------------------------------------------------------------------

namespace {

constexpr std::size_t kMemory = 8 << 20;

void enlarge(Event& event, std::size_t bytes) {
  event.data = "{\"id\":" + std::to_string(event.id) + ",\"text\":\"" + std::string(bytes, 'x') + "\"}";
}

}  // namespace

// A hundred endpoints hang, each with a few large bodies; another's are sent meanwhile.
TEST_F(WorkerTest, HangingEndpointsWithLargeBodiesHoldHalfOfTheMemoryAndNobodyUp) {
  process_.settings_in_force.memory_bytes_max = kMemory;
  for (int number = 1; number <= 100; ++number) {
    store_.add_webhook(number, [&](pg::Webhook& w) { w.organization_id = std::to_string(number); });
  }
  store_.add_webhook(200, [](pg::Webhook& w) { w.organization_id = "well"; });
  std::map<std::int64_t, Time> emitted;
  std::vector<Duration> delays;
  http_.answer = [&](const Received& request) {
    if (request.url != FakeStore::url(200)) return FakeHttp::hangs();
    if (request.attempt == 1 && emitted.contains(request.event_id)) {
      delays.push_back(request.at - emitted[request.event_id]);
    }
    return Answer{.delay = 10ms};
  };
  const auto emit_well = [&] {
    const std::int64_t id = store_.emit([](Event& e) {
      e.organization_id = "well";
      enlarge(e, 90'000);
    });
    emitted[id] = process_.now();
  };
  plan(0s, emit_well);
  plan(1s, [&] {
    for (int number = 1; number <= 100; ++number) {
      for (int i = 0; i < 3; ++i) {
        store_.emit([&](Event& e) {
          e.organization_id = std::to_string(number);
          enlarge(e, 90'000);
        });
      }
    }
  });
  for (int i = 0; i < 100; ++i) plan(2s + i * 200ms, emit_well);
  run_for(30s);
  EXPECT_LE(http_.bytes_in_flight_at_most(), kMemory / 2);
  EXPECT_LE(store_.bytes_fetched_at_most, kMemory / 32 + 100'000);
  ASSERT_EQ(delays.size(), 101U);
  for (const Duration& delay : delays) EXPECT_LT(delay, 100ms);
}

// All of it is sent in the end, though what waits in the database is much more than fits into memory.
TEST_F(WorkerTest, WhatFoundNoBytesIsSentWhenOthersLetGoOfTheirs) {
  process_.settings_in_force.memory_bytes_max = kMemory;
  for (int number = 1; number <= 50; ++number) {
    store_.add_webhook(number, [&](pg::Webhook& w) { w.organization_id = std::to_string(number); });
  }
  http_.answer = [](const Received&) { return Answer{.delay = 2s}; };
  plan(0s, [&] {
    for (int number = 1; number <= 50; ++number) {
      for (int i = 0; i < 4; ++i) {
        store_.emit([&](Event& e) {
          e.organization_id = std::to_string(number);
          enlarge(e, 200'000);
        });
      }
    }
  });
  run_until([this] { return store_.logs.size() == 200 && store_.deliveries.empty(); }, 10min);
  EXPECT_LE(http_.bytes_in_flight_at_most(), kMemory / 2);
}

TEST_F(WorkerTest, ABodyLargerThanTheMemoryIsSent) {
  process_.settings_in_force.memory_bytes_max = kMemory;
  store_.add_webhook(1);
  for (int i = 0; i < 3; ++i) store_.emit([](Event& e) { enlarge(e, 2 * kMemory); });
  store_.emit();
  run_until([this] { return store_.logs.size() == 4 && store_.deliveries.empty(); }, 1min);
  EXPECT_LE(http_.bytes_in_flight_at_most(), 3 * kMemory) << "one at a time";
}

// While the database takes no results, what is sent would pile up.
TEST_F(WorkerTest, ResultsThatWaitForTheDatabaseAreBounded) {
  process_.settings_in_force.memory_bytes_max = kMemory;
  for (int number = 1; number <= 10; ++number) store_.add_webhook(number);
  http_.answer = [](const Received&) { return Answer{.delay = 5ms, .body = std::string(4096, 'x')}; };
  store_.emit_many(900);
  std::size_t sent = 0;
  plan(0s, [&] {
    store_.before = [](const std::string& call) {
      if (call == "record") FakeStore::fail();
    };
  });
  plan(60s, [&] {
    sent = http_.received().size();
    store_.before = nullptr;
  });
  run_until([this] { return store_.logs.size() == 9'000; }, 10min);
  EXPECT_LE(sent, kMemory / 8 / 4096 + 256) << "sent while nothing could be recorded";
  EXPECT_GE(sent, 100U);
}

// A thousand webhooks of one tenant fail, and their names would drive a terminal.
TEST_F(WorkerTest, WhatATenantsWebhooksSayInTheServersLogIsBoundedAndPrintable) {
  for (int number = 1; number <= 1'000; ++number) {
    store_.add_webhook(number, [](pg::Webhook& w) {
      w.name = "\x1b[2J\r\n\u202E" + w.name;
      w.organization_id = "acme";
    });
  }
  store_.add_webhook(2'000, [](pg::Webhook& w) { w.organization_id = "globex"; });
  http_.answer = [](const Received&) { return Answer{.status = 500, .delay = 10ms}; };
  plan(0s, [this] {
    for (int i = 0; i < 5; ++i) store_.emit([](Event& e) { e.organization_id = "acme"; });
  });
  plan(30s, [this] {
    for (int i = 0; i < 5; ++i) store_.emit([](Event& e) { e.organization_id = "globex"; });
  });
  run_for(75s);
  EXPECT_GE(store_.logs.size(), 5'000U);
  EXPECT_LE(process_.count_log("the circuit of"), 2 * LogLimit::kLinesMax + 1);
  EXPECT_EQ(process_.count_log("(" + to_string(FakeStore::uuid(2'000)) + ") has opened"), 1U) << "another is heard";
  EXPECT_EQ(process_.count_log("log lines about webhooks were left out"), 1U);
  for (const FakeProcess::LogLine& line : process_.log_lines) {
    for (const std::string& text : {line.message, line.detail, line.hint}) {
      EXPECT_EQ(text, LogText(text).text());
    }
  }
  EXPECT_GE(process_.count_log(R"(webhook "\u001B[2J\u000D\u000A\u202E)"), 1U);
}

TEST_F(WorkerTest, RecoveryFromFailuresOfEventsIsNews) {
  process_.settings_in_force.retry_schedule.assign(20, 1s);
  store_.add_webhook(1, [](pg::Webhook& w) { w.events = {"*", "webhook.*"}; });
  bool is_dead = true;
  http_.answer = [&is_dead](const Received&) { return Answer{.status = is_dead ? 503 : 200}; };
  store_.emit([](Event& event) { event.name = "webhook.recovered"; });
  plan(500ms, [this] { store_.emit(); });
  plan(1min, [&is_dead] { is_dead = false; });
  run_until([this] { return store_.events_emitted.size() == 1; });
  ASSERT_EQ(store_.events_emitted.size(), 1U);
  EXPECT_EQ(store_.events_emitted[0].name, "webhook.recovered");
}

TEST_F(WorkerTest, OperationalEventsOfAnOrganizationAreLimited) {
  process_.settings_in_force.retry_schedule = {};
  for (int number = 1; number <= 20; ++number) {
    store_.add_webhook(number, [](pg::Webhook& w) { w.organization_id = "large"; });
  }
  store_.add_webhook(21, [](pg::Webhook& w) { w.organization_id = "small"; });
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  const auto fail_many = [this] {
    for (int i = 0; i < 100; ++i) store_.emit([](Event& event) { event.organization_id = "large"; });
  };
  fail_many();
  store_.emit([](Event& event) { event.organization_id = "small"; });
  const auto emitted_to = [this](const std::string& organization) {
    return std::count_if(store_.events_emitted.begin(), store_.events_emitted.end(),
                         [&](const pg::OperationalEvent& event) { return event.organization_id == organization; });
  };
  plan(10s, [&] {
    EXPECT_GE(emitted_to("large"), 60);
    EXPECT_LE(emitted_to("large"), 65);
    fail_many();
  });
  run_for(20s);
  EXPECT_EQ(store_.deliveries.size(), 4'001U) << "dead";
  EXPECT_GE(emitted_to("large"), 69) << "one for each second since";
  EXPECT_LE(emitted_to("large"), 80);
  EXPECT_EQ(emitted_to("small"), 1);
}

TEST_F(WorkerTest, WhatIsOwedGrowsOldWhileTheCircuitIsOpen) {
  process_.settings_in_force.max_age = 1min;
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  store_.emit_many(1'000);
  run_for(3min);
  EXPECT_EQ(store_.count_pending(), 0U);
  EXPECT_EQ(store_.deliveries.size(), 1'000U) << "dead";
  EXPECT_LT(http_.received().size(), 40U);
}

TEST_F(WorkerTest, WhatIsOwedGrowsOldWhileTheWebhookIsInactive) {
  process_.settings_in_force.max_age = 1min;
  const Uuid webhook = store_.add_webhook(1);
  const Uuid other = store_.add_webhook(2);
  store_.set_active(webhook, false);
  for (std::int64_t id = 1; id <= 1'200; ++id) store_.owe(id, webhook, process_.now());
  store_.owe(1, other, process_.now() + 1h);
  run_for(59s);
  EXPECT_EQ(store_.count_pending(), 1'201U);
  run_for(1min);
  EXPECT_EQ(store_.count_pending(), 1U) << "that of an active one";
  EXPECT_EQ(store_.deliveries.size(), 1'201U) << "dead";
  ASSERT_EQ(store_.logs.size(), 1'200U) << "each says why";
  EXPECT_EQ(store_.logs[0].row.error, "older than webhook.max_age");
}

TEST_F(WorkerTest, WhatIsOwedGrowsOldWhileDeliveriesArePaused) {
  process_.settings_in_force.max_age = 1min;
  const Uuid webhook = store_.add_webhook(1);
  for (std::int64_t id = 1; id <= 1'200; ++id) store_.owe(id, webhook, process_.now());
  store_.set_paused(true);
  run_for(59s);
  EXPECT_EQ(store_.count_pending(), 1'200U);
  run_for(1min);
  EXPECT_EQ(store_.count_pending(), 0U);
  EXPECT_EQ(store_.logs.size(), 1'200U);
  EXPECT_TRUE(http_.received().empty());
}

TEST_F(WorkerTest, EventFromBeforeItWasSwitchedOffIsOwedHoweverLateItCommits) {
  const Uuid webhook = store_.add_webhook(1);
  const FullXid xid = store_.begin();
  const std::int64_t before = store_.append(xid);
  plan(1s, [&] {
    store_.set_active(webhook, false);
    store_.append(xid);
    process_.wake();
  });
  plan(2s, [&] { store_.commit(xid); });
  plan(4s, [&] {
    EXPECT_TRUE(received_by(1).empty());
    EXPECT_NE(store_.owed({before, webhook}), nullptr);
    EXPECT_EQ(store_.count_pending(), 1U) << "the other came when it was off";
    store_.set_active(webhook, true);
    process_.wake();
  });
  run_for(10s);
  EXPECT_EQ(received_by(1), std::vector<std::int64_t>{before});
}

// --- Order --------------------------------------------------------------------------------------------------------------

// Keys k0 … k9, whose events may fail: in the order of first successes each key ascends.
class WorkerOrderTest : public WorkerTest, public testing::WithParamInterface<int> {};

TEST_P(WorkerOrderTest, KeysAndEndpointsKeepTheirOrderThroughRetriesAndCrashes) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  process_.settings_in_force.retry_schedule.assign(20, 1s);
  for (const int number : {1, 2}) {
    store_.add_webhook(
        number, [number](pg::Webhook& w) { w.limits.ordering = number == 1 ? Ordering::kKey : Ordering::kEndpoint; });
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

// --- Filters --------------------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, FilterDecidesWhoGetsAnEvent) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.filter = "odd"; });
  store_.add_webhook(2);
  store_.filters = [](const std::string&, const std::string& data) {
    return (data.back() == '}' && (data[data.size() - 2] - '0') % 2 == 1) ? pg::FilterAnswer::kMatch
                                                                          : pg::FilterAnswer::kNoMatch;
  };
  store_.forget_required_of(FakeStore::uuid(1));
  store_.emit_many(9);
  store_.forget_required_of(FakeStore::uuid(1));
  run_for(5s);
  EXPECT_EQ(received_by(1), (std::vector<std::int64_t>{1, 3, 5, 7, 9}));
  EXPECT_EQ(received_by(2).size(), 9U);
}

TEST_F(WorkerTest, FilterThatTakesTooLongIsLeftAloneForLongerAndLonger) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.filter = "slow"; });
  store_.add_webhook(2);
  store_.filters = [](const std::string&, const std::string&) { return pg::FilterAnswer::kOverrun; };
  for (int second = 0; second < 100; ++second) {
    plan(second * 1s, [this] {
      store_.emit();
      store_.forget_required_of(FakeStore::uuid(1));
    });
  }
  run_for(101s);
  EXPECT_EQ(received_by(2).size(), 100U);
  EXPECT_TRUE(received_by(1).empty());
  EXPECT_LT(store_.filters_asked, 10U);
  EXPECT_EQ(process_.count_log("took too long"), 1U);
}

TEST_F(WorkerTest, FiltersOfOneOrganizationMayNotTakeTheTimeOfOthers) {
  constexpr int kSlow = 200;
  for (int i = 1; i <= kSlow; ++i) {
    store_.add_webhook(i, [i](pg::Webhook& w) {
      w.organization_id = "acme";
      w.filter = "slow " + std::to_string(i);
    });
  }
  store_.add_webhook(kSlow + 1, [](pg::Webhook& w) {
    w.organization_id = "globex";
    w.filter = "fine";
  });
  std::size_t overruns = 0;
  store_.overrun_takes = 100ms;
  store_.filters = [&](const std::string& filter, const std::string&) {
    if (filter == "fine") return pg::FilterAnswer::kMatch;
    ++overruns;
    return pg::FilterAnswer::kOverrun;
  };
  for (int second = 0; second < 150; ++second) {
    plan(second * 1s, [this] {
      store_.emit([](Event& e) { e.organization_id = "acme"; });
      store_.emit([](Event& e) { e.organization_id = "globex"; });
      for (int i = 1; i <= kSlow; ++i) store_.forget_required_of(FakeStore::uuid(i));
    });
  }
  run_for(151s);
  EXPECT_EQ(received_by(kSlow + 1).size(), 150U);
  EXPECT_GE(overruns, 20U);
  EXPECT_LE(overruns * 100ms, TimeAllowance::kMost + 151s / TimeAllowance::kShare + 100ms);
  EXPECT_GE(process_.count_log("the filters of organization \"acme\" take too much time"), 1U);
  EXPECT_LE(process_.count_log("take too much time"), 2U) << "once a minute, from when the first has waited for one";
  EXPECT_LE(process_.count_log("took too long"), 30U) << "ten a minute";
}

// Some wait for the filter, as many as may, when it is removed.
class WorkerFilterRemovalTest : public WorkerTest, public testing::WithParamInterface<Ordering> {};

TEST_P(WorkerFilterRemovalTest, NewerEventsDoNotPassThoseThatWaited) {
  store_.add_webhook(1, [](pg::Webhook& w) {
    w.organization_id = "acme";
    w.filter = "costly";
    w.limits.ordering = GetParam();
  });
  const auto emit = [this](std::size_t count) {
    const FullXid xid = store_.begin();
    for (std::size_t i = 0; i < count; ++i) store_.append(xid, [](Event& e) { e.organization_id = "acme"; });
    store_.commit(xid);
    store_.forget_required_of(FakeStore::uuid(1));
  };
  store_.filter_takes = 100ms;
  store_.filters_of_group_at_once = 1;
  constexpr std::size_t kBefore = 12'000;
  plan(0s, [emit] { emit(kBefore); });
  plan(20s, [this] {
    EXPECT_LT(received_by(1).size(), 100U);
    store_.change_webhook(FakeStore::uuid(1), [](pg::Webhook& w) { w.filter.clear(); });
  });
  for (int i = 0; i < 100; ++i) plan(20s + i * 10ms, [emit] { emit(1); });
  run_for(120s);
  const std::vector<std::int64_t> received = received_by(1);
  ASSERT_GE(received.size(), Filters::kEventsMax / 2) << "those beyond had no room";
  EXPECT_TRUE(std::is_sorted(received.begin(), received.end()));
  EXPECT_EQ(std::set<std::int64_t>(received.end() - 100, received.end()).size(), 100U);
  EXPECT_EQ(received.back(), static_cast<std::int64_t>(kBefore + 100));
}

INSTANTIATE_TEST_SUITE_P(All, WorkerFilterRemovalTest,
                         testing::Values(Ordering::kRelaxed, Ordering::kKey, Ordering::kEndpoint));

TEST_F(WorkerTest, FiltersOfNoOrganizationAreNotLimitedTogether) {
  for (int i = 1; i <= 50; ++i) store_.add_webhook(i, [](pg::Webhook& w) { w.filter = "slow"; });
  store_.overrun_takes = 1s;
  store_.filters = [](const std::string&, const std::string&) { return pg::FilterAnswer::kOverrun; };
  plan(1s, [this] {
    store_.emit();
    for (int i = 1; i <= 50; ++i) store_.forget_required_of(FakeStore::uuid(i));
  });
  run_for(60s);
  EXPECT_EQ(store_.filters_asked, 50U);
}

TEST_F(WorkerTest, FiltersOfOneOrganizationHoldUpNoEventOfAnother) {
  constexpr int kFilters = 100;
  for (int i = 1; i <= kFilters; ++i) {
    store_.add_webhook(i, [](pg::Webhook& w) {
      w.organization_id = "acme";
      w.filter = "costly";
    });
  }
  store_.add_webhook(kFilters + 1, [](pg::Webhook& w) { w.organization_id = "acme"; });
  store_.add_webhook(kFilters + 2, [](pg::Webhook& w) { w.organization_id = "globex"; });
  store_.add_webhook(kFilters + 3, [](pg::Webhook& w) {
    w.organization_id = "globex";
    w.filter = "cheap";
  });
  store_.filter_takes = 1ms;
  store_.filters_of_group_at_once = 1;
  const FullXid xid = store_.begin();
  for (int i = 0; i < 50; ++i) store_.append(xid, [](Event& e) { e.organization_id = "acme"; });
  store_.append(xid, [](Event& e) { e.organization_id = "globex"; });
  store_.commit(xid);
  run_until([this] { return received_by(kFilters + 2).size() + received_by(kFilters + 3).size() == 2; });
  EXPECT_LT(store_.filters_asked, 50U) << "of 5,001";
  run_until([this] { return received_by(kFilters + 1).size() == 50; });
  EXPECT_LT(store_.filters_asked, 500U) << "nor do webhooks without a filter wait for those that have one";
  run_until([this] { return store_.required().empty(); });
  EXPECT_EQ(store_.filters_asked, 5'001U);
  for (int i = 1; i <= kFilters; ++i) EXPECT_EQ(received_by(i).size(), 50U);
}

TEST_F(WorkerTest, TheNetworkIsDrivenBetweenFilters) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.filter = "costly"; });
  store_.filter_takes = 1ms;
  store_.filters_of_group_at_once = 1;
  store_.emit_many(500);
  run_until([this] { return received_by(1).size() == 1; });
  EXPECT_LT(store_.filters_asked, 20U);
}

TEST_F(WorkerTest, EventsThatWaitForTheirFiltersSurviveACrash) {
  store_.add_webhook(1, [](pg::Webhook& w) {
    w.organization_id = "acme";
    w.filter = "costly";
  });
  store_.filter_takes = 500ms;
  store_.filters_of_group_at_once = 1;
  store_.emit_many(12, [](Event& e) { e.organization_id = "acme"; });
  store_.add_webhook(2);
  store_.emit_many(20);
  crash_after(4s);
  EXPECT_LT(received_by(1).size(), 12U);
  EXPECT_EQ(received_by(2).size(), 20U);
  run_until([this] { return store_.required().empty() && store_.is_all_behind_checkpoint(); });
  EXPECT_GE(received_by(1).size(), 12U);
}

TEST_F(WorkerTest, EventsThatWaitForTheirFiltersWaitWhileDeliveriesArePaused) {
  store_.add_webhook(1, [](pg::Webhook& w) {
    w.organization_id = "acme";
    w.filter = "costly";
  });
  store_.filter_takes = 500ms;
  store_.filters_of_group_at_once = 1;
  store_.emit_many(12, [](Event& e) { e.organization_id = "acme"; });
  plan(3s, [this] { store_.set_paused(true); });
  plan(1h, [this] { store_.set_paused(false); });
  run_for(1h + 59s);
  EXPECT_EQ(received_by(1).size(), 12U);
  EXPECT_TRUE(store_.required().empty());
}

TEST_F(WorkerTest, FiltersThatWaitDoNotKeepTheWorkerBusy) {
  store_.add_webhook(1, [](pg::Webhook& w) {
    w.organization_id = "acme";
    w.filter = "costly";
  });
  store_.filter_takes = 1s;
  store_.filters_of_group_at_once = 1;
  store_.emit_many(6, [](Event& e) { e.organization_id = "acme"; });
  run_for(3s);
  EXPECT_LT(turns_in(5s), 100);
}

// --- Statistics -----------------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, AttemptsAreCountedByTheMinuteAcrossWorkers) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.status = request.event_id % 4 == 0 ? 404 : 200}; };
  process_.settings_in_force.retry_schedule = {};
  store_.emit_many(100);
  run_for(10s);
  store_.emit_many(100);
  run_for(70s);
  int attempts = 0;
  int successes = 0;
  for (const auto& [key, minute] : store_.minutes) {
    attempts += minute.attempts;
    successes += minute.successes;
  }
  EXPECT_EQ(attempts, 200);
  EXPECT_EQ(successes, 150);
  EXPECT_TRUE(store_.endpoints.at(webhook).last_success_at);
  EXPECT_TRUE(store_.endpoints.at(webhook).last_failure_at);
}

TEST_F(WorkerTest, StatisticsOfBusyWebhooksAreWrittenEveryFewSeconds) {
  for (int number = 1; number <= 60; ++number) store_.add_webhook(number);
  for (int i = 0; i < 800; ++i) plan(i * 10ms, [this] { store_.emit(); });
  run_for(9s);
  EXPECT_EQ(store_.logs.size(), 48'000U);
  EXPECT_LE(store_.minutes_written, 4U * 60U);
}

TEST_F(WorkerTest, AttemptsOfManyWebhooksAreCountedWhenTheWorkerEnds) {
  for (int number = 1; number <= 300; ++number) store_.add_webhook(number);
  store_.emit();
  run_for(2s);
  EXPECT_EQ(store_.minutes.size(), 300U);
}

TEST_F(WorkerTest, AttemptsThatEndWithinARoundOfStatisticsAreCountedWhenTheWorkerEnds) {
  for (int number = 1; number <= 300; ++number) store_.add_webhook(number);
  http_.answer = [](const Received& request) { return Answer{.delay = request.event_id == 1 ? 1ms : 1s}; };
  store_.emit_many(2);
  std::size_t logged = 0;  // when the worker was told to end
  process_.after_turn = [&] {
    if (logged > 0 || store_.minutes_written == 0) return;
    ASSERT_LT(store_.minutes_written, 300U) << "the first round is over already";
    logged = store_.logs.size();
    process_.request_shutdown();
  };
  run_for(10s);
  process_.after_turn = nullptr;
  EXPECT_GT(store_.logs.size(), logged);
  std::size_t attempts = 0;
  for (const auto& [key, minute] : store_.minutes) attempts += static_cast<std::size_t>(minute.attempts);
  EXPECT_EQ(attempts, store_.logs.size());
}

// --- Configuration ----------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, PausedDeliversNothingAndResumedDeliversAllAtOnce) {
  store_.add_webhook(1);
  store_.set_paused(true);
  store_.emit_many(100);
  Time resumed{};
  plan(1min, [&] {
    EXPECT_TRUE(http_.received().empty());
    resumed = process_.now();
    store_.set_paused(false);
  });
  run_for(2min);
  EXPECT_EQ(received_by(1).size(), 100U);
  ASSERT_FALSE(http_.received().empty());
  EXPECT_LT(http_.received().back().at - resumed, 100ms);
  EXPECT_EQ(process_.count_log("deliveries are paused"), 1U);
  EXPECT_EQ(process_.count_log("deliveries are resumed"), 1U);
}

TEST_F(WorkerTest, WhoeverChangesWebhooksInALoopGetsAPartOfTheTime) {
  const Uuid toggled = store_.add_webhook(1);
  store_.add_webhook(2);
  store_.reading_takes = 300ms;
  Time changed_at{};
  for (int tick = 0; tick < 6000; ++tick) {
    plan(tick * 10ms, [this, &changed_at, toggled, tick] {
      changed_at = process_.now();
      store_.change_webhook(toggled, [tick](pg::Webhook& w) { w.timeout = 1s + tick * 1ms; });
      if (tick % 100 == 0) store_.emit();
      process_.wake();
    });
  }
  run_for(70s);
  EXPECT_EQ(received_by(2).size(), 60U);
  EXPECT_GE(store_.changes_read, 10);
  EXPECT_LE(store_.changes_read, 70s / 350ms + 2);
  EXPECT_GE(store_.read_at[toggled], changed_at) << "the last change too is read";
}

TEST_F(WorkerTest, EditsOfOneOfManyWebhooksCostTheOthersNothing) {
  constexpr int kWebhooks = 1'000;
  constexpr int kEdits = 300;
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [&](pg::Webhook& w) { w.organization_id = std::to_string(number); });
  }
  store_.reading_takes = 500us;
  std::map<std::int64_t, Time> emitted;
  for (int tick = 0; tick < kEdits; ++tick) {
    plan(1s + tick * 100ms, [this, tick] {
      store_.change_webhook(FakeStore::uuid(1), [tick](pg::Webhook& w) { w.timeout = 1s + tick * 1ms; });
      process_.wake();
    });
    // Not before, with, and behind the edits alone.
    plan(1s + tick * 97ms, [this, &emitted] {
      emitted.emplace(store_.emit([](Event& event) { event.organization_id = "2"; }), process_.now());
    });
  }
  run_for(1min);
  EXPECT_EQ(received_by(2).size(), emitted.size());
  for (const Received& request : http_.received()) EXPECT_LT(request.at - emitted[request.event_id], 5ms);
  EXPECT_LE(store_.webhooks_read, static_cast<std::size_t>(kWebhooks + kEdits));
  EXPECT_LE(store_.webhooks_read_at_once, ConfigurationReader::kWebhooksPerStep);
}

// However many are changed at once, and whichever of them it is.
TEST_F(WorkerTest, ChangeIsInForceForEventsThatAreCommittedAfterIt) {
  constexpr int kWebhooks = 1'000;
  for (int number = 1; number <= kWebhooks; ++number) {
    store_.add_webhook(number, [&](pg::Webhook& w) { w.organization_id = std::to_string(number % 10); });
  }
  store_.add_webhook(2'000, [](pg::Webhook& w) { w.events = {"nothing"}; });
  Time emitted{};
  plan(1s, [&] {
    store_.change_webhook(FakeStore::uuid(2'000), [](pg::Webhook& w) { w.events = {"*"}; });
    for (int number = 1; number <= kWebhooks; ++number) {
      store_.change_webhook(FakeStore::uuid(number), [](pg::Webhook& w) { w.events = {"nothing"}; });
    }
    store_.add_webhook(2'001);
    emitted = process_.now();
    store_.forget_required_of(FakeStore::uuid(1));
    store_.emit();
    store_.emit([](Event& event) { event.organization_id = "1"; });
  });
  // While that is read, more comes.
  int steps = 0;
  store_.after = [&](const std::string& call) {
    if (call != "changes" || ++steps != 3) return;
    store_.add_webhook(2'002, [](pg::Webhook& w) { w.organization_id = "late"; });
    store_.change_webhook(FakeStore::uuid(500), [](pg::Webhook& w) {
      w.url = FakeStore::url(2'003);
      w.events = {"*"};
    });
    store_.emit([](Event& event) { event.organization_id = "late"; });
    store_.emit([](Event& event) { event.organization_id = "0"; });
  };
  run_for(10s);
  EXPECT_EQ(received_by(2'000), std::vector<std::int64_t>{1});
  EXPECT_EQ(received_by(2'001), std::vector<std::int64_t>{1});
  EXPECT_EQ(received_by(2'002), std::vector<std::int64_t>{3});
  EXPECT_EQ(received_by(2'003), std::vector<std::int64_t>{4});
  EXPECT_EQ(http_.received().size(), 4U) << "nobody else";
  EXPECT_GE(steps, kWebhooks / static_cast<int>(ConfigurationReader::kWebhooksPerStep)) << "in steps";
  EXPECT_LE(store_.webhooks_read_at_once, ConfigurationReader::kWebhooksPerStep);
}

TEST_F(WorkerTest, ChangeThatNothingAnnouncedIsFoundWithOneOfTheTable) {
  for (int number = 1; number <= 500; ++number) store_.add_webhook(number);
  store_.emit();
  plan(1s, [&] {
    store_.change_unseen(FakeStore::uuid(400), [](pg::Webhook& w) { w.url = FakeStore::url(600); });
    process_.wake();
  });
  plan(20s, [&] { store_.emit(); });
  run_for(30s);
  EXPECT_EQ(received_by(400), std::vector<std::int64_t>{1});
  EXPECT_EQ(received_by(600), std::vector<std::int64_t>{2});
}

TEST_F(WorkerTest, WhatASessionOwesToOneWebhookIsSentAndNoOtherIsRead) {
  store_.add_webhook(2);
  const std::int64_t id = store_.emit();
  process_.pass(1ms);
  store_.add_webhook(1);
  plan(5s, [&] {
    EXPECT_TRUE(received_by(1).empty());
    store_.replay(id, FakeStore::uuid(1));
  });
  plan(5s + 100ms, [&] { EXPECT_EQ(received_by(1), std::vector<std::int64_t>{id}); });
  run_for(20s);
  EXPECT_EQ(received_by(1).size(), 1U);
  EXPECT_EQ(received_by(2).size(), 1U);
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_LT(store_.read_at[FakeStore::uuid(2)], process_.now() - 15s);
}

TEST_F(WorkerTest, PauseHoldsBackRetriesAndWhatWaitsInLanes) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received& request) {
    return Answer{.status = request.event_id == 1 && request.attempt == 1 ? 500 : 200, .delay = 1s};
  };
  store_.emit_many(10);
  std::size_t received = 0;
  plan(3500ms, [this] { store_.set_paused(true); });
  plan(4s, [&] { received = http_.received().size(); });
  plan(1min, [&] {
    EXPECT_EQ(http_.received().size(), received);
    EXPECT_TRUE(store_.is_all_behind_checkpoint()) << "what waits has been written down";
    store_.set_paused(false);
  });
  run_for(2min);
  EXPECT_EQ(http_.received().size(), 11U);
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, DisabledByTheSettingDeliversNothing) {
  process_.settings_in_force.enabled = false;
  store_.add_webhook(1);
  store_.emit_many(10);
  Time enabled{};
  plan(1min, [&] {
    EXPECT_TRUE(http_.received().empty());
    enabled = process_.now();
    process_.change_settings([](pg::WorkerSettings& settings) { settings.enabled = true; });
  });
  run_for(2min);
  ASSERT_EQ(received_by(1).size(), 10U);
  EXPECT_LT(http_.received().back().at - enabled, 100ms);
  EXPECT_EQ(http_.configured, 2) << "at the start and on the reload";
}

TEST_F(WorkerTest, WebhookIsKnownBeforeTheEventsThatFollowIt) {
  plan(1s, [this] {
    store_.add_webhook(1);
    store_.emit();
  });
  run_for(2s);
  EXPECT_EQ(received_by(1), std::vector<std::int64_t>{1});
}

TEST_F(WorkerTest, WhatWaitsForAWebhookThatIsSwitchedOffIsOwedAndDeliveredWhenItIsBack) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.delay = 500ms}; };
  store_.emit_many(10);
  plan(1200ms, [&] {
    store_.set_active(webhook, false);
    process_.wake();
  });
  plan(20s, [&] {
    EXPECT_EQ(received_by(1).size(), 3U);
    EXPECT_EQ(store_.count_pending(), 7U);
    store_.set_active(webhook, true);
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(received_by(1), ids_from(1, 10));
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, WhatCannotBeSignedIsOwedWithTheReasonAndDeliveredWhenItCanBe) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.secret_problem = "no key"; });
  store_.add_webhook(2);
  store_.emit_many(10);
  plan(20s, [&] {
    EXPECT_TRUE(received_by(1).empty());
    EXPECT_EQ(received_by(2).size(), 10U) << "others go on";
    EXPECT_EQ(store_.count_pending(), 10U);
    for (const auto& [key, row] : store_.deliveries) {
      EXPECT_EQ(row.last_error, "no key");
      EXPECT_EQ(row.attempts, 0);
    }
    store_.change_webhook(webhook, [](pg::Webhook& w) { w.secret_problem.clear(); });
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(received_by(1), ids_from(1, 10));
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, WhatWaitsForAWebhookWhoseKeyIsLostIsOwedAndDeliveredWhenItIsBack) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.delay = 500ms}; };
  store_.emit_many(10);
  plan(1200ms, [&] {
    store_.change_webhook(webhook, [](pg::Webhook& w) { w.secret_problem = "no key"; });
    process_.wake();
  });
  plan(20s, [&] {
    EXPECT_EQ(received_by(1).size(), 3U);
    EXPECT_EQ(store_.count_pending(), 7U);
    store_.change_webhook(webhook, [](pg::Webhook& w) { w.secret_problem.clear(); });
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(received_by(1), ids_from(1, 10));
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, RetryThatWaitsForAWebhookThatIsSwitchedOffIsMadeWhenItIsBack) {
  process_.settings_in_force.retry_schedule = {1s};
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received& request) {
    return Answer{.status = request.attempt == 1 ? 404 : 200, .delay = request.attempt == 1 ? 1ms : 500ms};
  };
  store_.emit_many(10);
  plan(2s, [&] {
    EXPECT_EQ(received_by(1).size(), 12U) << "all failed, and two retries are made";
    store_.set_active(webhook, false);
    process_.wake();
  });
  plan(20s, [&] {
    store_.set_active(webhook, true);
    process_.wake();
  });
  run_for(1min);
  EXPECT_EQ(received_by(1).size(), 20U);
  EXPECT_TRUE(store_.deliveries.empty());
}

TEST_F(WorkerTest, DeletedWebhookIsForgottenAndDoesNotHoldTheCheckpoint) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.status = 500, .delay = 200ms}; };
  store_.emit_many(100);
  plan(100ms, [&] {
    store_.delete_webhook(webhook);
    process_.wake();
  });
  plan(1500ms, [&] { EXPECT_TRUE(store_.is_all_behind_checkpoint()); });
  run_for(10s);
  EXPECT_EQ(received_by(1).size(), 1U);
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_EQ(store_.logs.size(), 1U) << "what was in flight is logged all the same";
}

TEST_F(WorkerTest, WhatIsLeftOfAWebhookThatWasDeletedWhileNoWorkerRanIsForgotten) {
  const Uuid webhook = store_.add_webhook(9);
  store_.owe(1, webhook, process_.now());
  store_.delete_webhook(webhook);
  run_for(1s);
  EXPECT_TRUE(store_.deliveries.empty());
}

// --- Another webhook of the same id -------------------------------------------------------------------------------------

// Webhook 1 of acme is deleted, and its id is given to one of globex with the URL of 2, while acme's events are on their
// way: whatever state they are in, globex gets none of them.
struct OnItsWay {
  const char* name;
  std::function<void(pg::Webhook&)> webhook = [](pg::Webhook&) {};
  int events = 20;
  Answer answer{.delay = 300ms};
  Duration replaced_after = 1s;
  bool has_crashed = false;  // before it is replaced
};

class AnotherWebhookOfTheIdTest : public WorkerTest,
                                  public testing::WithParamInterface<std::tuple<OnItsWay, Duration>> {
 protected:
  void create_first() {
    store_.add_webhook(1, [&](pg::Webhook& w) {
      w.organization_id = "acme";
      w.created_at = process_.now();
      std::get<0>(GetParam()).webhook(w);
    });
  }
  void create_second() {
    store_.add_webhook(1, [&](pg::Webhook& w) {
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
  const pg::EndpointState& endpoint = store_.endpoints.at(FakeStore::uuid(1));
  EXPECT_FALSE(endpoint.circuit_opened_at || endpoint.failing_since || endpoint.last_failure_at);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

INSTANTIATE_TEST_SUITE_P(
    Deliveries, AnotherWebhookOfTheIdTest,
    testing::Combine(
        testing::Values(
            OnItsWay{.name = "queued", .webhook = [](pg::Webhook& w) { w.limits.max_in_flight = 1; }},
            OnItsWay{.name = "in_flight_that_hangs", .events = 1, .answer = FakeHttp::hangs()},
            OnItsWay{.name = "in_flight_that_fails", .events = 60, .answer = {.status = 500, .delay = 400ms}},
            OnItsWay{.name = "in_flight_that_is_gone", .events = 1, .answer = {.status = 410, .delay = 2s}},
            OnItsWay{.name = "parked", .events = 100, .answer = {.delay = 900ms}},
            OnItsWay{.name = "pending", .answer = {.status = 500}, .replaced_after = 2s},
            OnItsWay{.name = "held_by_a_circuit", .events = 100, .answer = {.status = 500}, .replaced_after = 10s},
            OnItsWay{.name = "overflown", .events = 2'500, .answer = FakeHttp::hangs()},
            OnItsWay{.name = "spilled",
                     .webhook = [](pg::Webhook& w) { w.timeout = 1min; },
                     .answer = FakeHttp::hangs(),
                     .replaced_after = 7s},
            OnItsWay{.name = "ordered",
                     .webhook = [](pg::Webhook& w) { w.limits.ordering = Ordering::kKey; },
                     .answer = {.status = 500},
                     .replaced_after = 3s},
            OnItsWay{.name = "inactive", .webhook = [](pg::Webhook& w) { w.secret_problem = "no key"; }},
            OnItsWay{.name = "recovered", .has_crashed = true},
            OnItsWay{
                .name = "recovered_with_rows", .answer = {.status = 500}, .replaced_after = 5s, .has_crashed = true}),
        testing::Values(Duration::zero(), Duration(100ms), Duration(3s))),
    [](const auto& each) {
      return std::string(std::get<0>(each.param).name) + "_" +
             std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(std::get<1>(each.param)).count());
    });

// --- A failing database -----------------------------------------------------------------------------------------------

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
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 2; });
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
  EXPECT_TRUE(all_done()) << store_.required().size() << " unknown, " << store_.count_pending() << " owed";
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

INSTANTIATE_TEST_SUITE_P(Calls, EveryCallTest,
                         testing::Values("start", "webhooks", "some_webhooks", "changes", "current_head", "read",
                                         "logged_since", "owed_of", "record", "due", "clean_up", "maintain_ring",
                                         "delete_expired", "refill_ids", "apply_deferred"));

TEST_F(WorkerTest, DroppedExtensionEndsTheWorker) {
  store_.add_webhook(1);
  plan(1s, [this] {
    store_.before = [](const std::string&) { throw pg::ExtensionGone(); };
    process_.wake();
  });
  Worker worker(process_, store_, http_, tests_);
  EXPECT_THROW(worker.run(), pg::ExtensionGone);
}

// --- Beginning and end ------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, ShutdownDrainsWhatIsInFlight) {
  store_.add_webhook(1);
  store_.emit_many(20);  // so that its endpoint is trusted with several at once
  plan(500ms, [this] {
    http_.answer = [](const Received&) { return Answer{.delay = 2s}; };
    store_.emit_many(10);
  });
  run_for(1s);
  EXPECT_EQ(store_.logs.size(), 30U);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

TEST_F(WorkerTest, ShutdownWritesTheLastCheckpointBehindWhatItSettles) {
  store_.add_webhook(1);
  store_.emit_many(20);
  plan(500ms, [this] {
    http_.answer = [](const Received& request) {
      if (request.event_id == 30) return Answer{.delay = 1900ms};
      return Answer{.delay = request.event_id == 29 ? 1500ms : 900ms};
    };
    store_.emit_many(10);
  });
  run_for(2200ms);
  EXPECT_EQ(store_.logs.size(), 30U);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

TEST_F(WorkerTest, ShutdownDoesNotWaitForEver) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit();
  const Time begun = process_.now();
  run_for(1s);
  EXPECT_LT(process_.now() - begun, 7s);
  EXPECT_TRUE(ended_cleanly_);
  http_.answer = [](const Received&) { return Answer{}; };
  run_for(10s);
  EXPECT_EQ(received_by(1), (std::vector<std::int64_t>{1, 1}));
}

TEST_F(WorkerTest, ShutdownLeavesWhatWaitsToTheNextWorker) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.delay = 100ms}; };
  store_.emit_many(100);
  run_for(1s);
  EXPECT_LT(received_by(1).size(), 20U);
  run_until([this] { return store_.logs.size() == 100; });
  EXPECT_EQ(received_by(1), ids_from(1, 100));
}

TEST_F(WorkerTest, CopyWarnsAndDeliversNothing) {
  store_.identity = StoredIdentity{.instance = FakeStore::uuid(77), .database = 1, .system_identifier = 1};
  store_.add_webhook(1);
  store_.emit();
  run_for(1min);
  EXPECT_EQ(process_.count_log("is a copy of another, or was restored"), 1U);
  EXPECT_TRUE(http_.received().empty());
  store_.set_paused(false);
  run_for(1min);
  EXPECT_EQ(received_by(1).size(), 1U);
  EXPECT_EQ(process_.count_log("is a copy of another, or was restored"), 1U);
}

// The results are durable, the checkpoint behind them is not.
TEST_F(WorkerTest, RecoveryDoesNotSendAgainWhatWasLoggedOrOwed) {
  process_.settings_in_force.retry_schedule = {1min};
  store_.add_webhook(1);
  http_.answer = [](const Received& request) {
    return Answer{.status = request.event_id % 2 == 0 && request.attempt == 1 ? 500 : 200};
  };
  plan(1100ms, [this] { store_.emit_many(100); });
  crash_after(1400ms);
  ASSERT_EQ(store_.logs.size(), 100U);
  ASSERT_EQ(store_.count_pending(), 50U);
  ASSERT_FALSE(store_.is_all_behind_checkpoint());
  run_for(10s);
  EXPECT_EQ(http_.received().size(), 100U);
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
  run_for(2min);
  EXPECT_EQ(http_.received().size(), 150U);
}

TEST_F(WorkerTest, CrashInTheMiddleOfAWindowRepeatsOnlyWhatWasInFlight) {
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.delay = 100ms}; };
  store_.emit_many(3'000);
  crash_after(5050ms);
  const std::size_t sent = http_.received().size();
  const std::size_t logged = store_.logs.size();
  ASSERT_EQ(sent - logged, 16U) << "in flight";
  run_until([this] { return store_.logs.size() == 3'000; });
  EXPECT_EQ(http_.received().size(), 3'016U);
}

// --- Several workers -------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, EachWorkerDeliversToItsOwnWebhooksAndEachHasItsCheckpoint) {
  for (int number = 1; number <= 20; ++number) store_.add_webhook(number);
  store_.emit_many(10);
  for (const int number : {1, 2, 3}) {
    const std::size_t before = http_.received().size();
    share_ = {number, 3};
    run_for(5s);
    EXPECT_TRUE(store_.is_all_behind_checkpoint());
    for (std::size_t i = before; i < http_.received().size(); ++i) {
      EXPECT_TRUE(share_.owns(webhook_at(http_.received()[i].url))) << http_.received()[i].url;
    }
  }
  for (int w = 1; w <= 20; ++w) EXPECT_EQ(received_by(w), ids_from(1, 10)) << w;
}

TEST_F(WorkerTest, OnlyTheFirstWorkerLooksAfterTheRings) {
  int calls = 0;
  store_.ring = [&calls](pg::Ring) {
    ++calls;
    return pg::RingReport{};
  };
  share_ = {2, 2};
  run_for(1min);
  EXPECT_EQ(calls, 0);
  share_ = {1, 2};
  run_for(1min);
  EXPECT_GT(calls, 0);
  EXPECT_GT(store_.expired_before.size(), 0U);
}

TEST_F(WorkerTest, WhatOthersOweToTheirWebhooksIsNotForgotten) {
  share_ = {1, 2};
  int other = 1;
  while (share_.owns(FakeStore::uuid(other))) ++other;
  const Uuid webhook = store_.add_webhook(other);
  store_.owe(store_.emit(), webhook, process_.now());
  store_.delete_webhook(webhook);
  run_for(10s);
  EXPECT_EQ(store_.count_pending(), 1U);
  share_ = {2, 2};
  run_for(10s);
  EXPECT_EQ(store_.count_pending(), 0U);
}

// The others log an event before this one reads it, and its own deliveries keep its checkpoint at that window: a floor
// from after the window's beginning would hide what the others did.
TEST_F(WorkerTest, WhatAnotherWorkerLoggedIsNotSentAgainByWhoTakesOver) {
  for (int number = 1; number <= 8; ++number) store_.add_webhook(number);
  share_ = {1, 2};
  plan(1500ms, [this] {
    http_.answer = [](const Received&) { return Answer{.delay = 3s}; };
    store_.emit();
    store_.let_others_work();
  });
  crash_after(2900ms);
  ASSERT_GT(store_.logs.size(), 0U);
  ASSERT_FALSE(store_.is_all_behind_checkpoint());
  share_ = {};
  run_until([this] { return store_.required().empty(); });  // watch_sending() sees what is sent again
}

TEST_F(WorkerTest, ShutdownWaitsAsLongAsItIsTold) {
  process_.settings_in_force.shutdown_timeout = 20s;
  store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return Answer{.delay = 15s}; };
  store_.emit();
  run_for(1s);
  EXPECT_EQ(store_.logs.size(), 1U);
}

TEST_F(WorkerTest, ShutdownIsShortWhereSomebodyNeedsTheDatabase) {
  process_.settings_in_force.shutdown_timeout = 10min;
  store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit();
  const Time begun = process_.now();
  plan(10s, [this] {  // while it waits
    process_.database_wanted = true;
    process_.wake();
  });
  run_for(1s);
  EXPECT_LT(process_.now() - begun, 12s);
  EXPECT_TRUE(ended_cleanly_);
}

TEST_F(WorkerTest, FiguresSayWhatTheWorkerDoes) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 4; });
  Time captured{};
  store_.emit_many(4);  // so that its endpoint is trusted with several at once
  plan(500ms, [&] {
    http_.answer = [](const Received& request) {
      return Answer{.status = request.event_id == 5 ? 404 : 200, .delay = 1500ms};
    };
    store_.emit_many(10, [&](Event& event) { captured = captured == Time{} ? event.created_at : captured; });
  });
  plan(1s, [&] {
    EXPECT_EQ(process_.figures.in_flight, 4U);
    EXPECT_EQ(process_.figures.queued, 6U);
    EXPECT_EQ(process_.figures.events_ahead, 10U);
    EXPECT_EQ(process_.figures.oldest_event_at, captured);
    EXPECT_EQ(process_.figures.sent, 8);
  });
  run_for(8s);
  EXPECT_EQ(process_.figures.sent, 14);
  EXPECT_EQ(process_.figures.failed, 1);
  EXPECT_EQ(process_.figures.logged, 14);
  EXPECT_FALSE(process_.figures.oldest_event_at);
}

// --- Rest -------------------------------------------------------------------------------------------------------------

// Turns in a minute: one every five seconds for the rings, one every five for a look at the log.
TEST_F(WorkerTest, RestsWhenThereIsNothingToDo) {
  store_.add_webhook(1);
  store_.emit();
  run_for(5s);
  EXPECT_LE(turns_in(1min), 30);
}

TEST_F(WorkerTest, RestsWhenPaused) {
  store_.add_webhook(1);
  store_.set_paused(true);
  store_.emit_many(10);
  EXPECT_LE(turns_in(1min), 30);
}

TEST_F(WorkerTest, RestsWhenPausedWithWorkInItsLanes) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received&) { return Answer{.status = 500, .delay = 1s}; };
  store_.emit_many(100);
  plan(1500ms, [this] { store_.set_paused(true); });
  EXPECT_LE(turns_in(1min), 120);
}

TEST_F(WorkerTest, RestsWhileRequestsHang) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(10);
  EXPECT_LE(turns_in(1min), 80);
}

TEST_F(WorkerTest, RestsWhileSomethingIsOwedFarInTheFuture) {
  process_.settings_in_force.retry_schedule = {10h};
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  store_.emit();
  run_for(5s);
  EXPECT_LE(turns_in(1min), 30);
}

TEST_F(WorkerTest, RestsWhenALaneIsFull) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(5'000);
  EXPECT_LE(turns_in(1min), 120);
  EXPECT_GE(store_.count_pending(), 3'900U);
}

TEST_F(WorkerTest, RestsWhenManyLanesAreFull) {
  for (int number = 1; number <= 6; ++number) {
    store_.add_webhook(number, [](pg::Webhook& w) { w.timeout = 1h; });
  }
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(3'000);
  EXPECT_LE(turns_in(1min), 200);
}

TEST_F(WorkerTest, RestsWhileALaneIsFullOfBytes) {
  store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(40, [](Event& event) {
    event.data = "{\"id\":" + std::to_string(event.id) + ",\"x\":\"" + std::string(900'000, 'x') + "\"}";
  });
  EXPECT_LE(turns_in(1min), 120);
}

// In order, a look begins at the oldest, where those in memory are: here more of them than it sees.
TEST_F(WorkerTest, RestsWhileMoreIsInMemoryThanALookInOrderSees) {
  process_.settings_in_force.memory_bytes_max = 8 << 20;
  store_.add_webhook(1, [](pg::Webhook& w) {
    w.timeout = 1h;
    w.limits.ordering = Ordering::kKey;
  });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(100, [](Event& event) {
    event.key = std::to_string(event.id);
    event.data = "{\"id\":" + std::to_string(event.id) + ",\"x\":\"" + std::string(10'000, 'x') + "\"}";
  });
  crash_after(10s);  // they have rows by now
  EXPECT_LE(turns_in(1min), 300);
}

TEST_F(WorkerTest, RestsWhileADeletedWebhooksRequestHangs) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 1h; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  store_.emit_many(100);
  plan(1s, [&] {
    store_.delete_webhook(webhook);
    process_.wake();
  });
  EXPECT_LE(turns_in(1min), 80);
}

// --- Rings ------------------------------------------------------------------------------------------------------------

TEST_F(WorkerTest, RingThatCannotTurnIsReportedOnceAMinute) {
  store_.ring = [](pg::Ring ring) {
    return pg::RingReport{.kept_because = ring == pg::Ring::kEvents ? "a transaction holds a lock on it" : ""};
  };
  run_for(150s);
  EXPECT_EQ(process_.count_log("webhook_events is kept beyond"), 3U);
  EXPECT_EQ(process_.count_log("webhook_logs is kept beyond"), 0U);
}

TEST_F(WorkerTest, RingThatHasMoreToDoGoesOnAtOnce) {
  int steps = 20;
  store_.ring = [&steps](pg::Ring ring) { return pg::RingReport{.more = ring == pg::Ring::kEvents && --steps > 0}; };
  run_for(1s);
  EXPECT_LE(steps, 0);
}

TEST_F(WorkerTest, DeadDeliveriesAreDeletedAfterTheirRetention) {
  const Time begun = process_.now();
  run_for(25min);
  ASSERT_GE(store_.expired_before.size(), 3U);
  EXPECT_LE(store_.expired_before.size(), 4U);
  EXPECT_NEAR(static_cast<double>((begun - store_.expired_before[0]).count()),
              static_cast<double>(Duration(process_.settings_in_force.event_retention).count()), 1e6);
}

// --- webhook_test() ---------------------------------------------------------------------------------------------------

class WorkerTesterTest : public WorkerTest {
 protected:
  WorkerTesterTest() {
    process_.draw = [this] { return 1e-9 * ++draws_; };
  }

  // Asks at the worker's second 3, in this life.
  void plan_test(const Uuid& webhook, const std::string& event = "contact.created") {
    plan(3s, [this, webhook, event] { ticket_ = tests_.ask(webhook, event).value(); });
  }

  TestAnswer answer() const { return tests_.answer_to(ticket_).value_or(TestAnswer{}); }

  TestTicket ticket_;
  int draws_ = 0;
};

TEST_F(WorkerTesterTest, SendsTheExampleAtOnceSignedAsADeliveryAndLogsIt) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) {
    w.organization_id = "acme";
    w.secrets = {"a long secret"};
    w.headers = {"X-Key: k"};
  });
  http_.answer = [](const Received&) { return Answer{.status = 202, .delay = 20ms, .body = "thanks"}; };
  plan_test(webhook, "deal.created");
  const Time asked = process_.now() + 3s;
  run_for(4s);
  ASSERT_EQ(http_.received().size(), 1U);
  const Received& request = http_.received()[0];
  EXPECT_LT(request.at - asked, 1ms);
  EXPECT_EQ(request.event, "deal.created");
  // When within the turn it began is the simulated clock's.
  EXPECT_TRUE(request.body.starts_with(R"({"event":"deal.created","timestamp":"2024-01-15T00:00:03.000)"))
      << request.body;
  EXPECT_TRUE(request.body.ends_with(R"(Z","data":{"example":true}})")) << request.body;
  EXPECT_EQ(request.attempt, 1);
  EXPECT_TRUE(request.is_test);
  for (const std::string name : {"X-Webhook-Signature: sha256=", "webhook-signature: v1,", "X-Key: k"}) {
    EXPECT_EQ(std::count_if(request.headers.begin(), request.headers.end(),
                            [&name](const std::string& line) { return line.starts_with(name); }),
              1)
        << name;
  }
  ASSERT_EQ(store_.logs.size(), 1U);
  const pg::LogRow& row = store_.logs[0].row;
  EXPECT_TRUE(row.success);
  EXPECT_EQ(row.webhook, webhook);
  EXPECT_EQ(row.organization_id, "acme");
  EXPECT_EQ(row.event, "deal.created");
  EXPECT_LT(row.event_id, 0);
  EXPECT_EQ(row.attempt, 1);
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_EQ(answer().outcome, TestOutcome::kSent);
  EXPECT_TRUE(answer().success);
  EXPECT_EQ(answer().response_status, 202);
  EXPECT_EQ(answer().response_body.view(), "thanks");
  EXPECT_EQ(answer().error.view(), "");
  EXPECT_EQ(answer().elapsed, 20ms);
  EXPECT_EQ(answer().log_id, store_.logs[0].id);
}

TEST_F(WorkerTesterTest, FailureIsAnsweredAndLoggedAndNotRetried) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 503, .retry_after = "1", .body = "\xff later"}; };
  plan_test(webhook);
  run_for(10min);
  EXPECT_EQ(http_.received().size(), 1U);
  ASSERT_EQ(store_.logs.size(), 1U);
  EXPECT_FALSE(store_.logs[0].row.next_attempt_at);
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_FALSE(answer().success);
  EXPECT_EQ(answer().error.view(), "HTTP status 503");
  EXPECT_EQ(answer().response_body.view(), "\xef\xbf\xbd later");
}

TEST_F(WorkerTesterTest, TimeoutIsThatOfTheWebhook) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 700ms; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  plan_test(webhook);
  run_for(10s);
  EXPECT_EQ(answer().error.view(), "no response in time");
  EXPECT_EQ(answer().elapsed, 700ms);
}

TEST_F(WorkerTesterTest, GoesPastALaneThatIsFullAndPlacesThatAreTaken) {
  process_.settings_in_force.max_in_flight = 2;
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  store_.add_webhook(2, [](pg::Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received& request) { return request.is_test ? Answer{} : FakeHttp::hangs(); };
  store_.emit_many(3'000);
  plan_test(webhook);
  run_for(4s);
  EXPECT_TRUE(answer().success);
}

TEST_F(WorkerTesterTest, GoesToAnInactiveWebhook) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.is_active = false; });
  plan_test(webhook);
  run_for(10s);
  EXPECT_TRUE(answer().success);
}

TEST_F(WorkerTesterTest, WhatCannotBeSentIsAnswered) {
  const Uuid webhook = store_.add_webhook(1);
  plan_test(FakeStore::uuid(2));
  run_for(4s);
  EXPECT_EQ(answer().outcome, TestOutcome::kNoWebhook);
  plan_test(webhook, "unknown");
  run_for(4s);
  EXPECT_EQ(answer().outcome, TestOutcome::kNoEvent);
  store_.set_paused(true);
  plan_test(webhook);
  run_for(4s);
  EXPECT_EQ(answer().outcome, TestOutcome::kPaused);
  EXPECT_EQ(answer().error.view(), "told to");
  store_.set_paused(false);
  process_.settings_in_force.enabled = false;
  plan_test(webhook);
  run_for(4s);
  EXPECT_EQ(answer().outcome, TestOutcome::kDisabled);
  EXPECT_TRUE(http_.received().empty());
  EXPECT_TRUE(store_.logs.empty());
}

TEST_F(WorkerTesterTest, DatabaseThatFailsIsAnsweredAndTheWorkerLivesOn) {
  const Uuid webhook = store_.add_webhook(1);
  int failures = 0;
  store_.before = [&failures](const std::string& call) {
    if (call == "testable" && failures++ == 0) FakeStore::fail();
  };
  plan_test(webhook);
  plan(4s, [this] {
    EXPECT_EQ(answer().outcome, TestOutcome::kFailed);
    EXPECT_EQ(answer().error.view(), "simulated failure");
    tests_.withdraw(ticket_);
  });
  plan(10s, [this, webhook] { ticket_ = tests_.ask(webhook).value(); });
  run_for(20s);
  EXPECT_TRUE(ended_cleanly_);
  EXPECT_TRUE(answer().success);
}

TEST_F(WorkerTesterTest, LogRowThatCannotBeWrittenAtOnceIsWrittenLater) {
  const Uuid webhook = store_.add_webhook(1);
  bool failed = false;
  store_.before = [&failed](const std::string& call) {
    if (call == "record" && !std::exchange(failed, true)) FakeStore::fail();
  };
  plan_test(webhook);
  run_for(20s);
  EXPECT_TRUE(answer().success);
  EXPECT_EQ(answer().log_id, 0);
  ASSERT_EQ(store_.logs.size(), 1U);
  EXPECT_TRUE(store_.logs[0].row.success);
}

TEST_F(WorkerTesterTest, NoMoreThanSoManyAtOnceThoughCallersGiveUp) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  std::vector<TestTicket> given_up;
  plan(1s, [&] {
    while (const std::optional<TestTicket> ticket = tests_.ask(webhook)) given_up.push_back(*ticket);
  });
  plan(2s, [&] {
    for (const TestTicket& ticket : given_up) tests_.withdraw(ticket);
    EXPECT_FALSE(tests_.ask(webhook)) << "they are still being sent";
  });
  plan(10s, [&] { ticket_ = tests_.ask(webhook).value(); });
  const std::int64_t turns = turns_in(20s);
  EXPECT_EQ(http_.tests_in_flight_at_most(), given_up.size());
  EXPECT_LE(given_up.size(), Tester::kInFlightMax);
  EXPECT_EQ(http_.received().size(), given_up.size() + 1);
  EXPECT_EQ(store_.logs.size(), given_up.size() + 1);
  EXPECT_EQ(answer().error.view(), "no response in time");
  EXPECT_LE(turns, 200) << "it does not rest while tests are under way";
}

TEST_F(WorkerTesterTest, TestUnderWayAtTheEndIsAnsweredAndLogged) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.timeout = 1min; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  plan_test(webhook);
  run_for(4s);
  EXPECT_TRUE(ended_cleanly_);
  EXPECT_EQ(answer().outcome, TestOutcome::kWorkerEnded);
  ASSERT_EQ(store_.logs.size(), 1U);
  EXPECT_EQ(store_.logs[0].row.error, "the worker was shut down before a response came");
}

// After an outage, however it looked and in whichever order events go.
TEST_F(WorkerTesterTest, AnsweredTestClosesTheCircuitAndWhatIsPendingGoesAtOnce) {
  int number = 0;
  for (const Ordering ordering : {Ordering::kRelaxed, Ordering::kKey, Ordering::kEndpoint}) {
    for (const int status : {200, 302, 404, 410}) {
      for (const bool hangs : {false, true}) {
        if (hangs && ordering == Ordering::kEndpoint) continue;  // nothing passes what hangs
        SCOPED_TRACE(testing::Message() << "ordering " << static_cast<int>(ordering) << " status " << status
                                        << " hangs " << hangs);
        const Uuid webhook = store_.add_webhook(++number, [&](pg::Webhook& w) {
          w.limits.ordering = ordering;
          w.timeout = 1min;
          // What is the only one to be sent has to fail five times for the circuit to open.
          w.retry_schedule = ordering == Ordering::kEndpoint ? std::vector<Duration>(9, 1s) : std::vector<Duration>{1h};
        });
        http_.answer = [&](const Received& request) {
          if (request.is_test) return Answer{.status = status};
          return hangs ? FakeHttp::hangs() : Answer{.status = 503};
        };
        plan(1s, [this] { store_.emit_many(200); });
        // One at a time hangs for a minute, five of them open it, and the first probe comes after 4 to 6 s.
        const Duration tested = hangs ? Duration(5min + 20s) : Duration(2min);
        plan(tested, [&, webhook] {
          EXPECT_TRUE(store_.endpoints.at(webhook).circuit_opened_at);
          EXPECT_TRUE(store_.endpoints.at(webhook).failing_since);
          http_.answer = [status](const Received& request) { return Answer{.status = request.is_test ? status : 200}; };
          ticket_ = tests_.ask(webhook).value();
        });
        std::size_t pending = 0;
        plan(tested + 3s, [&, webhook] {
          pending = store_.count_pending();
          EXPECT_FALSE(store_.endpoints.at(webhook).circuit_opened_at);
          EXPECT_EQ(store_.endpoints.at(webhook).last_success_at.has_value(), true);
          EXPECT_FALSE(store_.endpoints.at(webhook).failing_since);
        });
        run_for(tested + 4s);
        EXPECT_LE(pending, 6U)
            << "but for those that failed before it opened, whose time is their schedule's, and the probe";
        store_.delete_webhook(webhook);
        tests_.withdraw(ticket_);
      }
    }
  }
}

// Who has got the answer may kill the worker: the next one finds the circuit closed.
TEST_F(WorkerTesterTest, CircuitThatATestClosedIsClosedForTheNextWorker) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) { w.retry_schedule = {1h}; });
  http_.answer = [](const Received& request) { return Answer{.status = request.is_test ? 200 : 503}; };
  store_.emit_many(100);
  plan(1min, [&] {
    EXPECT_TRUE(store_.endpoints.at(webhook).circuit_opened_at);
    ticket_ = tests_.ask(webhook).value();
  });
  process_.after_turn = [this] {
    if (tests_.answer_to(ticket_)) throw Crash();
  };
  run_for(2min);
  process_.after_turn = nullptr;
  EXPECT_FALSE(ended_cleanly_);
  EXPECT_FALSE(store_.endpoints.at(webhook).circuit_opened_at);
  http_.answer = [](const Received&) { return Answer{}; };
  run_for(2s);
  EXPECT_LE(store_.count_pending(), 25U) << "those that failed before the circuit opened";
  EXPECT_EQ(process_.count_log("has closed"), 1U);
}

// It is tested before it is switched on again: there is nothing that is sent then, nor a word of it.
TEST_F(WorkerTesterTest, AnsweredTestOfAnInactiveWebhookIsNoNewsOfItsCircuit) {
  const Uuid webhook = store_.add_webhook(1, [](pg::Webhook& w) {
    w.retry_schedule = {1h};
    w.timeout = 1min;
  });
  http_.answer = [](const Received&) { return Answer{.status = 503}; };
  store_.emit_many(100);
  plan(2s, [&] {
    EXPECT_TRUE(store_.endpoints.at(webhook).circuit_opened_at);
    http_.answer = [](const Received& request) { return request.is_test ? Answer{} : FakeHttp::hangs(); };
  });
  plan(10s, [&] {
    ASSERT_EQ(http_.in_flight(), 1U) << "a probe, for which the lane is kept";
    store_.change_webhook(webhook, [](pg::Webhook& w) { w.is_active = false; });
    process_.wake();
  });
  plan(12s, [&] { ticket_ = tests_.ask(webhook).value(); });
  plan(14s, [&] {
    EXPECT_TRUE(answer().success);
    EXPECT_EQ(process_.count_log("has closed"), 0U);
    EXPECT_TRUE(store_.endpoints.at(webhook).last_success_at);
    EXPECT_FALSE(store_.endpoints.at(webhook).circuit_opened_at);
    http_.answer = [](const Received&) { return Answer{}; };
    store_.change_webhook(webhook, [](pg::Webhook& w) { w.is_active = true; });
    process_.wake();
  });
  run_for(20s);
  EXPECT_LE(store_.count_pending(), 25U) << "those that failed before the circuit opened, and the probe";
}

TEST_F(WorkerTesterTest, TestThatFailsTellsNothingOfTheEndpoint) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) { return Answer{.status = request.is_test ? 503 : 200}; };
  for (int i = 2; i < 20; ++i) {
    plan(i * 1s, [this, webhook] {
      tests_.withdraw(ticket_);
      ticket_ = tests_.ask(webhook).value();
    });
  }
  plan(20s, [this] { store_.emit_many(20); });
  run_for(21s);
  EXPECT_EQ(process_.count_log("the circuit of webhook"), 0U);
  EXPECT_FALSE(store_.endpoints.at(webhook).failing_since);
  EXPECT_EQ(store_.count_pending(), 0U);
}

TEST_F(WorkerTesterTest, AnswerFromAnotherUrlTellsNothingOfThisOne) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) {
    return request.is_test ? Answer{.status = 200, .delay = 3s} : Answer{.status = 503};
  };
  store_.emit_many(100);
  plan_test(webhook);
  plan(3500ms, [&] { store_.change_webhook(webhook, [](pg::Webhook& w) { w.url += "new"; }); });
  plan(3600ms, [this] { process_.wake(); });
  run_for(8s);
  EXPECT_TRUE(answer().success);
  EXPECT_TRUE(store_.endpoints.at(webhook).circuit_opened_at);
  EXPECT_TRUE(store_.endpoints.at(webhook).failing_since);
}

TEST_F(WorkerTesterTest, LogRowOfATestDoesNotKeepAnEventFromBeingDeliveredAfterACrash) {
  const Uuid webhook = store_.add_webhook(1);
  http_.answer = [](const Received& request) { return request.is_test ? Answer{} : FakeHttp::hangs(); };
  plan(500ms, [this] { store_.emit_many(20); });
  plan(600ms, [this, webhook] { ticket_ = tests_.ask(webhook).value(); });
  crash_after(1s);
  EXPECT_TRUE(answer().success);
  http_.answer = [](const Received&) { return Answer{}; };
  run_until([this] { return store_.required().empty(); });
  EXPECT_EQ(store_.logs.size(), 21U);
}

// --- Anything at any time ---------------------------------------------------------------------------------------------

// Commits, late commits and rollbacks; endpoints that answer, fail and hang; a database that fails; crashes between any
// two steps, before and after any transaction; pauses; webhooks made, switched on and off, and deleted. FakeStore and
// watch_sending() check each step.
class ChaosTest : public WorkerTest, public testing::WithParamInterface<unsigned> {
 protected:
  static constexpr int kSteps = 1'000;

  ChaosTest() : random_(GetParam()) {
    process_.draw = [this] { return std::uniform_real_distribution<double>(0, 1)(random_); };
    process_.settings_in_force.retry_schedule = {2s, 5s, 5s};
    process_.settings_in_force.max_in_flight = 20;
    http_.answer = [this](const Received& request) { return answer(request); };
    store_.before = [this](const std::string&) { trouble(crash_before_); };
    store_.after = [this](const std::string&) {
      if (crash_after_ > 0 && --crash_after_ == 0) throw Crash();
    };
    store_.between_snapshot_and_last_log_id = [this] {
      if (below(4) == 0) store_.let_others_work();
    };
    for (int i = 0; i < 4; ++i) add_webhook();
  }

  int below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  Uuid any_webhook() {
    return numbers_.empty()
               ? Uuid{}
               : FakeStore::uuid(numbers_[static_cast<std::size_t>(below(static_cast<int>(numbers_.size())))]);
  }

  void add_webhook() {
    numbers_.push_back(++last_number_);
    store_.add_webhook(last_number_, [this](pg::Webhook& w) {
      w.limits.max_in_flight = 1 + below(8);
      w.timeout = 1s * (1 + below(4));
      if (below(3) == 0) w.retry_schedule = {500ms};
      if (below(3) == 0) w.events = {"deal.*"};
    });
  }

  Answer answer(const Received& /*request*/) {
    if (calm_) return {};
    const int choice = below(20);
    const Duration delay = below(50) * 1ms;
    if (choice < 12) return {.delay = delay};
    if (choice < 16) return {.status = 500, .delay = delay};
    if (choice < 17) return {.status = 429, .delay = delay, .retry_after = "3"};
    if (choice < 18) return {.delay = delay, .outcome = HttpOutcome::kDisconnected, .error = "gone"};
    return FakeHttp::hangs();
  }

  void trouble(int& crash_in) {
    if (crash_in > 0 && --crash_in == 0) throw Crash();
    if (!calm_ && process_.now() < fails_until_ && below(3) != 0) FakeStore::fail();
  }

  void emit(int count) {
    store_.emit_many(count, [this](Event& event) {
      const int kind = below(10);
      if (kind < 3) event.name = "deal.created";
      if (kind != 9) return;
      event.data.clear();
      event.oversized_bytes = 2'000'000;
    });
  }

  void step() {
    const int choice = below(100);
    if (choice < 45) {
      emit(1 + below(20));
    } else if (choice < 47) {
      emit(1'500);
    } else if (choice < 55) {
      open_.push_back(store_.begin());
      for (int i = below(4); i >= 0; --i) store_.append(open_.back());
    } else if (choice < 63 && !open_.empty()) {
      const auto chosen = open_.begin() + below(static_cast<int>(open_.size()));
      below(3) == 0 ? store_.rollback(*chosen) : store_.commit(*chosen);
      open_.erase(chosen);
    } else if (choice < 70) {
      const Uuid webhook = any_webhook();
      store_.set_active(webhook, !store_.is_active(webhook));
    } else if (choice < 71) {
      delete_webhook();
      add_webhook();
    } else if (choice < 76) {
      store_.set_paused(!store_.is_paused());
    } else if (choice < 80) {
      fails_until_ = process_.now() + below(3'000) * 1ms;
    } else if (choice < 83) {
      crash_before_ = 1 + below(10);
    } else if (choice < 86) {
      crash_after_ = 1 + below(10);
    } else if (choice < 87) {
      test();
    } else if (choice < 88) {
      throw Crash();
    } else if (choice < 90) {
      process_.request_shutdown();
    } else if (choice < 95) {
      store_.let_others_work();
    } else {
      process_.wake();
    }
  }

  // Whoever asked before has given up.
  void test() {
    if (asked_) tests_.withdraw(*asked_);
    asked_ = tests_.ask(any_webhook(), below(5) == 0 ? "unknown" : "contact.created");
  }

  void delete_webhook() {
    const auto chosen = numbers_.begin() + below(static_cast<int>(numbers_.size()));
    store_.delete_webhook(FakeStore::uuid(*chosen));
    numbers_.erase(chosen);
  }

  void go_on() {
    if (++steps_ > kSteps) {
      process_.request_shutdown();
      return;
    }
    process_.after(below(400) * 1ms, [this] { go_on(); });
    step();
  }

  std::mt19937 random_;
  std::vector<int> numbers_;
  int last_number_ = 0;
  std::vector<FullXid> open_;
  std::optional<TestTicket> asked_;
  bool calm_ = false;
  Time fails_until_{};
  int crash_before_ = 0;
  int crash_after_ = 0;
  int steps_ = 0;
};

TEST_P(ChaosTest, EveryEventEndsDeliveredOwedOrDeadAndNothingRepeatsWithoutACrash) {
  process_.after(1ms, [this] { go_on(); });
  int lives = 0;
  while (steps_ <= kSteps) {
    const int count = 1 + below(3);
    share_ = {1 + below(count), count};
    live();
    ++lives;
    ASSERT_FALSE(HasFailure()) << "in life " << lives << ", step " << steps_;
  }
  EXPECT_GT(lives, 20);
  EXPECT_GT(store_.logs.size(), 2'000U);

  calm_ = true;
  crash_before_ = crash_after_ = 0;
  share_ = {};
  store_.between_snapshot_and_last_log_id = nullptr;
  for (const FullXid xid : open_) store_.commit(xid);
  store_.set_paused(false);
  for (const int number : numbers_) store_.set_active(FakeStore::uuid(number), true);
  // Counting takes its time: not in every turn.
  run_until([this, turns = 0]() mutable {
    return ++turns % 500 == 0 && store_.required().empty() && store_.count_pending() == 0;
  });
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

INSTANTIATE_TEST_SUITE_P(Seeds, ChaosTest, testing::Range(1U, 5U));

}  // namespace
}  // namespace webhook
