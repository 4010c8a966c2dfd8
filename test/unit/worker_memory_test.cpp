// That what a worker holds is bounded.
#include "worker_test.h"

namespace webhook {
namespace {

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
    store_.add_webhook(number, [&](Webhook& w) { w.organization_id = std::to_string(number); });
  }
  store_.add_webhook(200, [](Webhook& w) { w.organization_id = "well"; });
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
    store_.add_webhook(number, [&](Webhook& w) { w.organization_id = std::to_string(number); });
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
    store_.add_webhook(number, [](Webhook& w) {
      w.name = "\x1b[2J\r\n\u202E" + w.name;
      w.organization_id = "acme";
    });
  }
  store_.add_webhook(2'000, [](Webhook& w) { w.organization_id = "globex"; });
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
  store_.add_webhook(1, [](Webhook& w) { w.events = {"*", "webhook.*"}; });
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
    store_.add_webhook(number, [](Webhook& w) { w.organization_id = "large"; });
  }
  store_.add_webhook(21, [](Webhook& w) { w.organization_id = "small"; });
  http_.answer = [](const Received&) { return Answer{.status = 404}; };
  const auto fail_many = [this] {
    for (int i = 0; i < 100; ++i) store_.emit([](Event& event) { event.organization_id = "large"; });
  };
  fail_many();
  store_.emit([](Event& event) { event.organization_id = "small"; });
  const auto emitted_to = [this](const std::string& organization) {
    return std::count_if(store_.events_emitted.begin(), store_.events_emitted.end(),
                         [&](const OperationalEvent& event) { return event.organization_id == organization; });
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

TEST_F(WorkerTest, WhatIsPendingGrowsOldWhileTheCircuitIsOpen) {
  process_.settings_in_force.max_age = 1min;
  store_.add_webhook(1);
  http_.answer = [](const Received&) { return Answer{.status = 500}; };
  store_.emit_many(1'000);
  run_for(3min);
  EXPECT_EQ(store_.count_pending(), 0U);
  EXPECT_EQ(store_.deliveries.size(), 1'000U) << "dead";
  EXPECT_LT(http_.received().size(), 40U);
}

TEST_F(WorkerTest, WhatIsPendingGrowsOldWhileTheWebhookIsInactive) {
  process_.settings_in_force.max_age = 1min;
  const Uuid webhook = store_.add_webhook(1);
  const Uuid other = store_.add_webhook(2);
  store_.set_active(webhook, false);
  for (std::int64_t id = 1; id <= 1'200; ++id) store_.add_pending(id, webhook, process_.now());
  store_.add_pending(1, other, process_.now() + 1h);
  run_for(59s);
  EXPECT_EQ(store_.count_pending(), 1'201U);
  run_for(1min);
  EXPECT_EQ(store_.count_pending(), 1U) << "that of an active one";
  EXPECT_EQ(store_.deliveries.size(), 1'201U) << "dead";
  ASSERT_EQ(store_.logs.size(), 1'200U) << "each says why";
  EXPECT_EQ(store_.logs[0].row.error, "older than webhook.max_age");
}

TEST_F(WorkerTest, WhatIsPendingGrowsOldWhileDeliveriesArePaused) {
  process_.settings_in_force.max_age = 1min;
  const Uuid webhook = store_.add_webhook(1);
  for (std::int64_t id = 1; id <= 1'200; ++id) store_.add_pending(id, webhook, process_.now());
  store_.set_paused(true);
  run_for(59s);
  EXPECT_EQ(store_.count_pending(), 1'200U);
  run_for(1min);
  EXPECT_EQ(store_.count_pending(), 0U);
  EXPECT_EQ(store_.logs.size(), 1'200U);
  EXPECT_TRUE(http_.received().empty());
}

TEST_F(WorkerTest, EventFromBeforeItWasSwitchedOffIsPendingHoweverLateItCommits) {
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
    EXPECT_NE(store_.pending({before, webhook}), nullptr);
    EXPECT_EQ(store_.count_pending(), 1U) << "the other came when it was off";
    store_.set_active(webhook, true);
    process_.wake();
  });
  run_for(10s);
  EXPECT_EQ(received_by(1), std::vector<std::int64_t>{before});
}

}  // namespace
}  // namespace webhook
