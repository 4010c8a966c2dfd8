// Sends what webhook_test() asks for: an event with the caller's data, at once, past the webhook's lane and circuit,
// also to inactive webhooks, at most kInFlightMax at a time. A test is no delivery. It is logged, but never retried,
// pending or settled.
//
// Its log row has an event id of its own, a negative random number, so that nobody takes it for an event's id: neither
// recovery, which reads log rows, nor a receiver, because the webhook-id is made from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/crypto.h"
#include "core/lanes.h"
#include "core/share.h"
#include "core/test_slots.h"
#include "http/http_client.h"
#include "worker/process.h"
#include "worker/recorder.h"
#include "worker/store.h"
#include "worker/test_requests.h"

namespace webhook {

class Tester {
 public:
  static constexpr std::size_t kInFlightMax = TestSlots::kSlots;

  // What a test tells of its endpoint.
  struct Outcome {
    Uuid webhook;
    Time webhook_created_at{};
    std::string url;  // which may be another by now
    Lanes::Health verdict = Lanes::Health::kFailed;
  };

  // Sends the tests of the share's webhooks. Their lanes are in this process, so their circuits learn the results.
  Tester(Process& process, Store& store, HttpClient& http, TestRequests& requests, Recorder& recorder,
         const WorkerShare& share)
      : process_(process), store_(store), http_(http), requests_(requests), recorder_(recorder), share_(share) {}

  // Whether a response belongs here: tests have tokens that no delivery has.
  static bool is_test(std::uint64_t token) { return token >= kFirstToken; }
  // Nothing: the test is not under way any more.
  std::optional<Outcome> conclude(const HttpResponse& response);

  // Whether turn() has something to do.
  bool has_work() { return !finished_.empty() || (in_flight_.size() < kInFlightMax && requests_.any(share_)); }
  // Records and answers finished tests, and begins new ones. If it throws Error, the test in question is answered.
  void turn(EventIdCipher& event_ids);

  std::size_t in_flight() const { return in_flight_.size(); }
  // The process ends: answers all remaining tests and hands their log rows to the recorder.
  void end();

 private:
  static constexpr std::uint64_t kFirstToken = 1ULL << 63;

  struct Test {
    TestTicket ticket;
    Time webhook_created_at{};
    std::string url;
    std::string headers;  // as TestAnswer tells them
    LogRow row;
    std::string response_body;  // which the row may lack
    TestOutcome outcome = TestOutcome::kSent;
  };

  void record_finished();
  void begin(TakenTest taken, EventIdCipher& event_ids);
  void send(TakenTest taken, const Testable& testable, EventIdCipher& event_ids);
  void refuse(const TestTicket& ticket, TestOutcome outcome, const std::string& why = {});
  void answer(const Test& test, std::int64_t log_id);

  Process& process_;
  Store& store_;
  HttpClient& http_;
  TestRequests& requests_;
  Recorder& recorder_;
  const WorkerShare share_;
  std::unordered_map<std::uint64_t, Test> in_flight_;  // by token
  std::vector<Test> finished_;                         // not yet recorded
  std::uint64_t next_token_ = kFirstToken;
};

}  // namespace webhook
