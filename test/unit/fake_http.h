// Endpoints that answer as the test says, in simulated time. What an endpoint received is kept, also when the worker
// that sent it is long gone.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fake_process.h"
#include "header_lines.h"
#include "http/http_client.h"

namespace webhook {

class FakeHttp : public HttpClient {
 public:
  struct Answer {
    int status = 200;
    Duration delay{std::chrono::milliseconds(1)};
    std::string retry_after;
    std::string body;
    std::string headers;
    HttpOutcome outcome = HttpOutcome::kResponse;
    std::string error;
  };
  static Answer hangs() { return {.delay = std::chrono::hours(24 * 365)}; }

  // What an endpoint saw.
  struct Received {
    Time at{};
    std::string url;
    std::string event;
    std::string public_event_id;
    std::int64_t event_id = 0;  // FakeStore writes it into the data
    int attempt = 0;
    std::string body;
    bool is_test = false;  // of webhook_test()
    std::vector<std::string> headers;
  };

  explicit FakeHttp(FakeProcess& process) : process_(process) {}

  // --- For the test ---

  // What the endpoint says to a request; the URL is in it. A delay beyond the request's timeout is a timeout.
  std::function<Answer(const Received&)> answer = [](const Received&) { return Answer{}; };
  // Before a request leaves.
  std::function<void(const Received&)> on_start;

  const std::vector<Received>& received() const { return received_; }
  std::vector<std::int64_t> ids_received_by(const std::string& url) const {
    std::vector<std::int64_t> ids;
    for (const Received& request : received_) {
      if (request.url == url) ids.push_back(request.event_id);
    }
    return ids;
  }
  std::size_t in_flight_to(const std::string& url) const {
    const auto found = in_flight_by_url_.find(url);
    return found == in_flight_by_url_.end() ? 0 : found->second;
  }
  std::size_t in_flight_at_most() const { return in_flight_at_most_; }
  std::size_t bytes_in_flight_at_most() const { return bytes_in_flight_at_most_; }  // of bodies
  // Of in_flight(), those of webhook_test(), which in_flight_to() leaves out.
  std::size_t tests_in_flight() const { return tests_in_flight_; }
  std::size_t tests_in_flight_at_most() const { return tests_in_flight_at_most_; }

  // The process that had these sockets is gone.
  void begin_anew() {
    flights_.clear();
    finished_.clear();
    in_flight_by_url_.clear();
    bytes_in_flight_ = 0;
    tests_in_flight_ = 0;
  }

  // --- HttpClient ---

  void configure(const HttpSettings& /*settings*/) override { ++configured; }
  int configured = 0;

  void start(HttpRequest request) override {
    Received seen{.at = process_.now(),
                  .url = request.url.text(),
                  .event = header(request, "X-Webhook-Event"),
                  .public_event_id = header(request, "webhook-id"),
                  .event_id = id_in(*request.body),
                  .attempt = std::stoi(header(request, "X-Webhook-Attempt")),
                  .body = *request.body,
                  .is_test = has_header(request, "X-Webhook-Test: true"),
                  .headers = lines_of(request)};
    if (on_start) on_start(seen);
    const Answer said = answer(seen);
    const bool is_test = seen.is_test;
    received_.push_back(std::move(seen));

    const bool in_time = said.delay <= request.timeout;
    const Duration elapsed = std::min(said.delay, request.timeout);
    HttpResponse response{.token = request.token, .elapsed = elapsed};
    if (in_time) {
      response.outcome = said.outcome;
      response.status = said.outcome == HttpOutcome::kResponse ? said.status : 0;
      response.body = said.body;
      const bool is_success = response.status >= 200 && response.status <= 299;
      if (!is_success || request.keeps_all_headers) response.headers = said.headers;
      response.error = said.error;
      response.retry_after = said.retry_after;
      response.remote_ip = "192.0.2.1";
    } else {
      response.outcome = HttpOutcome::kTimeout;
      response.error = "no response in time";
    }
    bytes_in_flight_ += request.body->size();
    bytes_in_flight_at_most_ = std::max(bytes_in_flight_at_most_, bytes_in_flight_);
    flights_.emplace(process_.now() + elapsed, Flight{request.url.text(), std::move(response), request.body, is_test});
    if (is_test) {
      tests_in_flight_at_most_ = std::max(tests_in_flight_at_most_, ++tests_in_flight_);
    } else {
      ++in_flight_by_url_[request.url.text()];
    }
    in_flight_at_most_ = std::max(in_flight_at_most_, in_flight());
    process_.after(elapsed, [this] { process_.make_ready(); });
  }

  int fd() const override { return 0; }
  // The descriptor always tells; libcurl's own timer is another's test.
  std::optional<Duration> timeout() const override { return std::nullopt; }

  void drive() override {
    while (!flights_.empty() && flights_.begin()->first <= process_.now()) {
      finished_.push_back(std::move(flights_.begin()->second));
      flights_.erase(flights_.begin());
    }
  }

  std::vector<HttpResponse> take_finished() override {
    std::vector<HttpResponse> responses;
    for (Flight& flight : finished_) {
      bytes_in_flight_ -= flight.body->size();
      --(flight.is_test ? tests_in_flight_ : in_flight_by_url_[flight.url]);
      responses.push_back(std::move(flight.response));
    }
    finished_.clear();
    return responses;
  }

  std::size_t in_flight() const override { return flights_.size() + finished_.size(); }

 private:
  struct Flight {
    std::string url;
    HttpResponse response;
    std::shared_ptr<const std::string> body;
    bool is_test = false;
  };

  static std::vector<std::string> lines_of(const HttpRequest& request) {
    std::vector<std::string> lines = header_lines(request.headers);
    lines.insert(lines.end(), request.custom_headers.begin(), request.custom_headers.end());
    return lines;
  }

  static bool has_header(const HttpRequest& request, const std::string& line) {
    const std::vector<std::string> lines = lines_of(request);
    return std::find(lines.begin(), lines.end(), line) != lines.end();
  }

  static std::string header(const HttpRequest& request, const std::string& name) {
    for (const std::string& line : lines_of(request)) {
      if (line.starts_with(name + ": ")) return line.substr(name.size() + 2);
    }
    ADD_FAILURE() << "no header " << name;
    return {};
  }

  static std::int64_t id_in(const std::string& body) {
    static constexpr std::string_view kMark = "\"data\":{\"id\":";
    const std::size_t found = body.find(kMark);
    return found == std::string::npos ? 0 : std::stoll(body.substr(found + kMark.size()));
  }

  FakeProcess& process_;
  std::multimap<Time, Flight> flights_;
  std::vector<Flight> finished_;
  std::map<std::string, std::size_t> in_flight_by_url_;
  std::vector<Received> received_;
  std::size_t in_flight_at_most_ = 0;
  std::size_t bytes_in_flight_ = 0;
  std::size_t bytes_in_flight_at_most_ = 0;
  std::size_t tests_in_flight_ = 0;
  std::size_t tests_in_flight_at_most_ = 0;
};

}  // namespace webhook
