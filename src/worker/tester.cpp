#include "worker/tester.h"

#include <memory>
#include <utility>

#include "core/utf8.h"
#include "core/wire.h"
#include "worker/attempt_result.h"

namespace webhook {
namespace {

// The headers as the caller may see them: without the values of the webhook's own, which only its writers know.
std::string shown_headers(const HttpRequest& request, const std::string& user_agent) {
  std::string lines = request.headers + "\r\nUser-Agent: " + user_agent;
  for (const std::string& header : request.custom_headers) {
    lines.append("\r\n").append(header, 0, header.find(':')).append(": ***");
  }
  return lines;
}

}  // namespace

void Tester::turn(EventIdCipher& event_ids) {
  record_finished();
  bool started = false;
  while (in_flight_.size() < kInFlightMax) {
    std::optional<TakenTest> taken = requests_.take(share_);
    if (!taken) break;
    begin(std::move(*taken), event_ids);
    started = true;
  }
  if (started) http_.drive();
}

void Tester::begin(TakenTest taken, EventIdCipher& event_ids) {
  const TestRequest& request = taken.request;
  if (!process_.settings().enabled) {
    refuse(request.ticket, TestOutcome::kDisabled);
    return;
  }
  Testable testable;
  try {
    testable = store_.testable(request.webhook, request.webhook_created_at, std::string(request.event.view()));
  } catch (const Error& error) {
    refuse(request.ticket, TestOutcome::kFailed, error.message());
    throw;
  }
  if (testable.is_paused) {
    refuse(request.ticket, TestOutcome::kPaused, testable.paused_reason);
  } else if (!testable.has_webhook) {
    refuse(request.ticket, TestOutcome::kNoWebhook);
  } else if (!testable.has_event) {
    refuse(request.ticket, TestOutcome::kNoEvent);
  } else if (!testable.secret_problem.empty()) {
    refuse(request.ticket, TestOutcome::kFailed, testable.secret_problem);
  } else {
    send(std::move(taken), testable, event_ids);
  }
}

void Tester::send(TakenTest taken, const Testable& testable, EventIdCipher& event_ids) {
  const TestRequest& request = taken.request;
  constexpr double kIds = 9007199254740992.0;  // 2^53: what a double counts
  const Time now = process_.now();
  Event event;
  event.id = -1 - static_cast<std::int64_t>(process_.random() * kIds);
  event.created_at = now;
  event.name = std::string(request.event.view());
  event.data = std::move(taken.data);
  const auto body = std::make_shared<const std::string>(build_body(event));
  const std::string public_event_id = event_ids.encode(event.id, now);

  SigningKeys keys;
  keys.reserve(testable.secrets.size());
  for (const std::string& secret : testable.secrets) keys.emplace_back(secret);
  HttpRequest out{
      .token = next_token_++,
      .url = testable.url,
      .headers = build_headers(
          {.public_event_id = public_event_id, .event_name = event.name, .number = 1, .time = now, .is_test = true},
          *body, keys),
      .custom_headers = testable.headers,
      .body = body,
      .timeout = testable.timeout,
      .keeps_all_headers = true};
  in_flight_.emplace(out.token, Test{.ticket = request.ticket,
                                     .webhook_created_at = request.webhook_created_at,
                                     .url = testable.url,
                                     .headers = shown_headers(out, process_.settings().http.user_agent),
                                     .row = {.created_at = now,
                                             .webhook = request.webhook,
                                             .organization_id = testable.organization_id,
                                             .event_id = event.id,
                                             .event = event.name,
                                             .attempt = 1,
                                             .configuration_version = testable.version}});
  http_.start(std::move(out));
}

// The database is told in turn().
std::optional<Tester::Outcome> Tester::conclude(const HttpResponse& response) {
  const auto found = in_flight_.find(response.token);
  if (found == in_flight_.end()) return std::nullopt;
  Test& test = found->second;
  const AttemptResult judgement = judge(response, process_.now());
  test.row.success = judgement.verdict == Lanes::Health::kSuccess;
  test.row.response_status = response.status;
  test.response_body = stored_response(response);
  if (logs_body(process_.settings().logged_bodies, test.row.success)) test.row.response_body = test.response_body;
  test.row.response_headers = response.headers;
  test.row.error = judgement.error;
  test.row.elapsed = response.elapsed;
  test.row.remote_ip = response.remote_ip;
  Outcome outcome{.webhook = test.row.webhook,
                  .webhook_created_at = test.webhook_created_at,
                  .url = test.url,
                  .verdict = judgement.verdict};
  finished_.push_back(std::move(test));
  in_flight_.erase(found);
  return outcome;
}

// One by one and not through the recorder, because the caller waits for the id of the log row.
void Tester::record_finished() {
  while (!finished_.empty()) {
    const Test test = std::move(finished_.back());
    finished_.pop_back();
    std::int64_t log_id = 0;
    try {
      log_id = store_.log_test(test.row);
    } catch (const Error&) {
      recorder_.log(test.row, process_.now());  // tries again
      answer(test, 0);
      throw;
    }
    answer(test, log_id);
  }
}

void Tester::end() {
  for (auto& [token, test] : in_flight_) {
    test.row.error = "the worker was shut down before a response came";
    test.row.elapsed = process_.now() - test.row.created_at;
    test.outcome = TestOutcome::kWorkerEnded;
    finished_.push_back(std::move(test));
  }
  in_flight_.clear();
  for (const Test& test : finished_) {
    recorder_.log(test.row, process_.now());
    answer(test, 0);
  }
  finished_.clear();
}

void Tester::refuse(const TestTicket& ticket, TestOutcome outcome, const std::string& why) {
  TestAnswer answer{.outcome = outcome};
  answer.error = FixedText<1000>(why);
  requests_.answer(ticket, answer);
}

void Tester::answer(const Test& test, std::int64_t log_id) {
  TestAnswer answer{.outcome = test.outcome,
                    .success = test.row.success,
                    .response_status = test.row.response_status,
                    .elapsed = test.row.elapsed,
                    .log_id = log_id,
                    .sent_at = test.row.created_at};
  answer.response_body = decltype(answer.response_body)(test.response_body);
  answer.error = decltype(answer.error)(test.row.error);
  answer.url = decltype(answer.url)(test.url);
  answer.headers = decltype(answer.headers)(test.headers);
  requests_.answer(test.ticket, answer);
}

}  // namespace webhook
