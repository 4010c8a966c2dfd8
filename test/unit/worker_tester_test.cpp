// webhook_test().
#include "worker_test.h"

namespace webhook {
namespace {

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
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) {
    w.organization_id = "acme";
    w.secrets = {"a long secret"};
    w.headers = {"X-Key: k"};
  });
  http_.answer = [](const Received&) {
    return Answer{.status = 202, .delay = 20ms, .body = "thanks", .headers = "Server: s"};
  };
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
  const LogRow& row = store_.logs[0].row;
  EXPECT_TRUE(row.success);
  EXPECT_EQ(row.webhook, webhook);
  EXPECT_EQ(row.organization_id, "acme");
  EXPECT_EQ(row.event, "deal.created");
  EXPECT_LT(row.event_id, 0);
  EXPECT_EQ(row.attempt, 1);
  EXPECT_EQ(row.configuration_version, 1);
  EXPECT_EQ(row.response_headers, "Server: s") << "of a success, too";
  EXPECT_TRUE(store_.deliveries.empty());
  EXPECT_EQ(answer().outcome, TestOutcome::kSent);
  EXPECT_TRUE(answer().success);
  EXPECT_EQ(answer().response_status, 202);
  EXPECT_EQ(answer().response_body.view(), "thanks");
  EXPECT_EQ(answer().error.view(), "");
  EXPECT_EQ(answer().elapsed, 20ms);
  EXPECT_EQ(answer().log_id, store_.logs[0].id);
}

TEST_F(WorkerTesterTest, DataIsSentAsItIsAndTheAnswerTellsTheRequestWithoutTheValuesOfItsHeaders) {
  const std::string url = "https://example.com/own";
  const Uuid webhook = store_.add_webhook(1, [&url](Webhook& w) {
    w.url = url;
    w.secrets = {"a long secret"};
    w.headers = {"X-Key: k", "Authorization: Bearer a:b"};
  });
  const std::string data = R"({"id":  4711, "big": ")" + std::string(100'000, 'x') + "\"}";
  plan(3s, [&] { ticket_ = tests_.ask(webhook, "contact.created", data).value(); });
  run_for(4s);
  ASSERT_EQ(http_.received().size(), 1U);
  const Received& request = http_.received()[0];
  EXPECT_TRUE(request.body.ends_with("\"data\":" + data + "}"));
  Event event;
  event.name = "contact.created";
  event.data = data;
  event.created_at = answer().sent_at;
  EXPECT_EQ(build_body(event), request.body) << "what the caller is told";
  EXPECT_EQ(answer().url.view(), url);
  std::string expected;
  for (const std::string& line : request.headers) {
    const bool is_own = line.starts_with("X-Key") || line.starts_with("Authorization");
    if (!is_own) expected += line + "\r\n";
  }
  expected += "User-Agent: " + process_.settings_in_force.http.user_agent + "\r\nX-Key: ***\r\nAuthorization: ***";
  EXPECT_EQ(answer().headers.view(), expected);
}

TEST_F(WorkerTesterTest, RequestWhoseCallerIsGoneIsNotSentAndTheNextIs) {
  const Uuid webhook = store_.add_webhook(1);
  plan(3s, [&] {
    tests_.ask(webhook).value();
    tests_.lose_data();
    ticket_ = tests_.ask(webhook).value();
  });
  run_for(4s);
  EXPECT_EQ(http_.received().size(), 1U);
  EXPECT_TRUE(answer().success);
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
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.timeout = 700ms; });
  http_.answer = [](const Received&) { return FakeHttp::hangs(); };
  plan_test(webhook);
  run_for(10s);
  EXPECT_EQ(answer().error.view(), "no response in time");
  EXPECT_EQ(answer().elapsed, 700ms);
}

TEST_F(WorkerTesterTest, GoesPastALaneThatIsFullAndPlacesThatAreTaken) {
  process_.settings_in_force.max_in_flight = 2;
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.limits.max_in_flight = 1; });
  store_.add_webhook(2, [](Webhook& w) { w.limits.max_in_flight = 1; });
  http_.answer = [](const Received& request) { return request.is_test ? Answer{} : FakeHttp::hangs(); };
  store_.emit_many(3'000);
  plan_test(webhook);
  run_for(4s);
  EXPECT_TRUE(answer().success);
}

TEST_F(WorkerTesterTest, GoesToAnInactiveWebhook) {
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.is_active = false; });
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
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.timeout = 1min; });
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
        const Uuid webhook = store_.add_webhook(++number, [&](Webhook& w) {
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
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) { w.retry_schedule = {1h}; });
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
  const Uuid webhook = store_.add_webhook(1, [](Webhook& w) {
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
    store_.change_webhook(webhook, [](Webhook& w) { w.is_active = false; });
    process_.wake();
  });
  plan(12s, [&] { ticket_ = tests_.ask(webhook).value(); });
  plan(14s, [&] {
    EXPECT_TRUE(answer().success);
    EXPECT_EQ(process_.count_log("has closed"), 0U);
    EXPECT_TRUE(store_.endpoints.at(webhook).last_success_at);
    EXPECT_FALSE(store_.endpoints.at(webhook).circuit_opened_at);
    http_.answer = [](const Received&) { return Answer{}; };
    store_.change_webhook(webhook, [](Webhook& w) { w.is_active = true; });
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
  plan(3500ms, [&] { store_.change_webhook(webhook, [](Webhook& w) { w.url += "new"; }); });
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

}  // namespace
}  // namespace webhook
