// CurlClient against a real server on loopback. Name resolution is this file's own: see getaddrinfo() below.
#include "http/curl_client.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "address_vectors.h"
#include "core/response_headers.h"
#include "http/lookups.h"
#include "http/poller.h"
#include "loopback_server.h"

namespace {

// What a look-up of silent.test waits for. Its thread may begin when the test that caused it is over: hence shared.
std::mutex silent_resolver_mutex;
std::shared_ptr<webhook::test::Gate> silent_resolver = std::make_shared<webhook::test::Gate>();

std::shared_ptr<webhook::test::Gate> current_silent_resolver() {
  const std::lock_guard lock(silent_resolver_mutex);
  return silent_resolver;
}

std::atomic<int> lookups_running{0};
std::atomic<bool> lookup_had_signals_blocked{false};

bool signals_are_blocked() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGHUP) == 1;
}

}  // namespace

// Stands before the C library's, for libcurl too: a few names have fixed addresses, whatever the machine's resolver.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
  using Function = int(const char*, const char*, const addrinfo*, addrinfo**);
  static auto* const real = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string name = node != nullptr ? node : "";
  if (name == "unknown.test") return EAI_NONAME;
  if (name == "silent.test") {
    ++lookups_running;
    lookup_had_signals_blocked = signals_are_blocked();
    current_silent_resolver()->wait();
    --lookups_running;
    return EAI_AGAIN;
  }
  if (name == "loopback.test") return real("127.0.0.1", service, hints, result);
  if (name == "private.test") return real("10.1.2.3", service, hints, result);
  if (name == "both.test") {
    if (const int code = real("10.1.2.3", service, hints, result); code != 0) return code;
    addrinfo* last = *result;
    while (last->ai_next != nullptr) last = last->ai_next;
    return real("127.0.0.1", service, hints, &last->ai_next);
  }
  return real(node, service, hints, result);
}

namespace webhook {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using std::chrono::steady_clock;
using test::address_vectors;
using test::AddressVector;
using test::CertificateAuthority;
using test::Gate;
using test::http_response;
using test::LoopbackServer;
using test::Peer;
using test::ReceivedRequest;
using test::Then;

constexpr auto kPatience = 20s;
constexpr auto kClockStep = 1ms;  // libcurl counts time in whole milliseconds, and so may be early by one

// Answers every request with the same bytes.
LoopbackServer::Handler always(std::string response, Then then = Then::kKeepAlive) {
  return [response = std::move(response), then](const ReceivedRequest&, Peer& peer) {
    peer.send(response);
    return then;
  };
}

AddressPolicy loopback_policy() { return AddressPolicy({*Network::parse("127.0.0.0/8")}); }

HttpSettings loopback_settings() {
  HttpSettings settings;
  settings.address_policy = loopback_policy();
  settings.allow_http = true;
  settings.user_agent = "webhook/test";
  return settings;
}

HttpRequest request_to(std::string url, Duration timeout = 10s, std::uint64_t token = 1) {
  return {.token = token,
          .url = std::move(url),
          .headers = "Content-Type: application/json",
          .custom_headers = {},
          .body = std::make_shared<const std::string>("{}"),
          .timeout = timeout};
}

bool is_readable(int fd, int wait_ms) {
  pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&waited, 1, wait_ms) == 1;
}

// Waits as the worker does, and drives once.
void wait_and_drive(HttpClient& client) {
  const auto wait = std::min<Duration>(client.timeout().value_or(1s), 1s);
  is_readable(client.fd(), static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count()));
  client.drive();
}

std::vector<HttpResponse> finish(HttpClient& client, std::size_t count) {
  std::vector<HttpResponse> responses;
  const auto deadline = steady_clock::now() + kPatience;
  while (responses.size() < count && steady_clock::now() < deadline) {
    wait_and_drive(client);
    for (HttpResponse& response : client.take_finished()) responses.push_back(std::move(response));
  }
  EXPECT_EQ(responses.size(), count) << "transfers did not finish in time";
  responses.resize(count);
  return responses;
}

HttpResponse send(HttpClient& client, HttpRequest request) {
  client.start(std::move(request));
  return finish(client, 1).front();
}

HttpResponse send(const HttpSettings& settings, HttpRequest request) {
  CurlClient client(settings);
  return send(client, std::move(request));
}

template <typename Condition>
bool eventually(Condition condition) {
  const auto deadline = steady_clock::now() + kPatience;
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

class CurlClientTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::signal(SIGPIPE, SIG_IGN);
    init_http();
  }
};

// --- what is sent ----------------------------------------------------------------------------------------------------

TEST_F(CurlClientTest, PostsTheRequestAsItIs) {
  const LoopbackServer server(always(http_response(200)));
  HttpRequest request = request_to(server.url("/a/b?c=d"), 10s, 42);
  request.headers = "Content-Type: application/json\r\nX-Webhook-Id: evt_1\r\nwebhook-id: evt_1";
  request.custom_headers = {"X-Empty:", "Accept: text/plain"};
  request.body = std::make_shared<const std::string>("{\"a\":1}");
  const HttpResponse response = send(loopback_settings(), std::move(request));

  EXPECT_EQ(response.token, 42U);
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
  EXPECT_EQ(response.error, "");
  EXPECT_EQ(response.remote_ip, "127.0.0.1");
  EXPECT_GT(response.elapsed, Duration::zero());
  ASSERT_EQ(server.requests().size(), 1U);
  ReceivedRequest received = server.requests().front();
  EXPECT_EQ(received.method, "POST");
  EXPECT_EQ(received.target, "/a/b?c=d");
  EXPECT_EQ(received.body, "{\"a\":1}");
  EXPECT_EQ(received.headers["content-type"], "application/json");
  EXPECT_EQ(received.headers["x-webhook-id"], "evt_1");
  EXPECT_EQ(received.headers["webhook-id"], "evt_1");
  EXPECT_EQ(received.headers["user-agent"], "webhook/test");
  EXPECT_EQ(received.headers["accept"], "text/plain");
  EXPECT_TRUE(received.headers.contains("x-empty"));
  EXPECT_FALSE(received.headers.contains("accept-encoding"));
}

// One transfer sends all of them: each needs another URL than the one before, and some URLs are refused.
TEST_F(CurlClientTest, EachRequestGoesToItsOwnUrl) {
  const LoopbackServer one(always(http_response(200)));
  const LoopbackServer two(always(http_response(200)));
  CurlClient client(loopback_settings());
  std::vector<std::string> targets;
  for (const char* path : {"", "/", "/a/../b", "/a/./b", "?c=d", "/%7Euser", "/a//b", "/a?b=/../c"}) {
    for (const LoopbackServer* server : {&one, &two}) {
      EXPECT_EQ(send(client, request_to("http://user:secret@127.0.0.1/")).outcome, HttpOutcome::kBadUrl);
      const RequestUrl url(server->url(path));
      EXPECT_NE(url.parsed(), nullptr) << path;
      HttpRequest request = request_to("");
      request.url = url;
      EXPECT_EQ(send(client, request).outcome, HttpOutcome::kResponse) << path;
      // The URL outlives the request, and serves the next one.
      EXPECT_EQ(send(client, std::move(request)).outcome, HttpOutcome::kResponse) << path;
    }
    ASSERT_EQ(one.requests().size(), two.requests().size()) << path;
    ASSERT_EQ(one.requests().size(), 2 * targets.size() + 2) << path;
    EXPECT_EQ(one.requests().back().target, two.requests().back().target);
    EXPECT_EQ(one.requests().end()[-2].target, one.requests().back().target);
    targets.push_back(one.requests().back().target);
  }
  EXPECT_EQ(targets, (std::vector<std::string>{"/", "/", "/b", "/a/b", "/?c=d", "/%7Euser", "/a//b", "/a?b=/../c"}));
}

TEST_F(CurlClientTest, BodyWithNulBytesArrivesExactly) {
  const LoopbackServer server(always(http_response(200)));
  HttpRequest request = request_to(server.url());
  const std::string sent = "a\0b\0\xff\r\n\r\n"s;
  request.body = std::make_shared<const std::string>(sent);
  EXPECT_EQ(send(loopback_settings(), std::move(request)).status, 200);
  EXPECT_EQ(server.requests().at(0).body, sent);
}

TEST_F(CurlClientTest, LargeBodyIsSentWithoutWaitingForContinue) {
  const LoopbackServer server(always(http_response(200)));
  HttpRequest request = request_to(server.url());
  request.body = std::make_shared<const std::string>(3'000'000, 'x');
  EXPECT_EQ(send(loopback_settings(), std::move(request)).status, 200);
  EXPECT_EQ(server.requests().at(0).body.size(), 3'000'000U);
  EXPECT_FALSE(server.requests().at(0).headers.contains("expect"));
}

TEST_F(CurlClientTest, EmptyBodyIsSentAsOne) {
  const LoopbackServer server(always(http_response(200)));
  HttpRequest request = request_to(server.url());
  request.body = nullptr;
  EXPECT_EQ(send(loopback_settings(), std::move(request)).status, 200);
  EXPECT_EQ(server.requests().at(0).headers["content-length"], "0");
}

TEST_F(CurlClientTest, HeaderThatWouldBreakOutOfItsLineIsNotSent) {
  const LoopbackServer server(always(http_response(200)));
  CurlClient client(loopback_settings());
  for (const std::string& header : {"X-A: b\r\nX-Evil: 1"s, "X-A: b\nc"s, "X-A: b\0c"s, "no colon"s}) {
    HttpRequest request = request_to(server.url());
    request.custom_headers.push_back(header);
    const HttpResponse response = send(client, std::move(request));
    EXPECT_EQ(response.outcome, HttpOutcome::kOther) << header;
    EXPECT_FALSE(response.error.empty());
  }
  EXPECT_EQ(server.connections_accepted(), 0);
}

// --- responses -------------------------------------------------------------------------------------------------------

TEST_F(CurlClientTest, AnyStatusIsAResponse) {
  for (const int status : {200, 201, 204, 400, 404, 410, 429, 500, 503}) {
    const LoopbackServer server(always(status == 204 ? "HTTP/1.1 204 No Content\r\n\r\n" : http_response(status, "b")));
    const HttpResponse response = send(loopback_settings(), request_to(server.url()));
    EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.body, status == 204 ? "" : "b");
  }
}

TEST_F(CurlClientTest, RedirectIsNotFollowed) {
  const LoopbackServer elsewhere(always(http_response(200)));
  const LoopbackServer server(always(http_response(302, "", "Location: " + elsewhere.url() + "\r\n")));
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse);
  EXPECT_EQ(response.status, 302);
  EXPECT_EQ(elsewhere.connections_accepted(), 0);
}

TEST_F(CurlClientTest, InformationalResponsesAreSkipped) {
  const LoopbackServer server(always("HTTP/1.1 103 Early Hints\r\nRetry-After: 7\r\n\r\n" + http_response(200, "ok")));
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "ok");
  EXPECT_EQ(response.retry_after, "");
}

TEST_F(CurlClientTest, RetryAfterIsHandedOver) {
  const LoopbackServer server(always(http_response(429, "", "rEtRy-aFtEr: \t120 \r\n")));
  CurlClient client(loopback_settings());
  EXPECT_EQ(send(client, request_to(server.url())).retry_after, "120");
  const LoopbackServer without(always(http_response(200)));
  EXPECT_EQ(send(client, request_to(without.url())).retry_after, "");
}

TEST_F(CurlClientTest, ResponseBytesAreKeptRaw) {
  const std::string body = "\0\xff\xfe\x80 text \0"s;
  const LoopbackServer server(always(http_response(200, body)));
  EXPECT_EQ(send(loopback_settings(), request_to(server.url())).body, body);
}

TEST_F(CurlClientTest, HeadersOfAFailureAreHandedOver) {
  const LoopbackServer server(
      always("HTTP/1.1 103 Early Hints\r\nX-Early: e\r\n\r\nHTTP/1.1 500 No\r\nServer: s\r\nSet-Cookie: id=7\r\n"
             "X-Key: k\r\nTransfer-Encoding: chunked\r\nTrailer: X-Last\r\n\r\n0\r\nX-Last: l\r\n\r\n"));
  HttpRequest request = request_to(server.url());
  request.custom_headers = {"X-Key: k"};
  EXPECT_EQ(send(loopback_settings(), std::move(request)).headers,
            "Server: s\nSet-Cookie: ***\nX-Key: ***\nTransfer-Encoding: chunked\nTrailer: X-Last");
}

TEST_F(CurlClientTest, HeadersOfASuccessAreHandedOverIfTheRequestAsksForThem) {
  const LoopbackServer server(always(http_response(200, "", "X-A: b\r\n")));
  CurlClient client(loopback_settings());
  HttpRequest request = request_to(server.url());
  request.keeps_all_headers = true;
  EXPECT_NE(send(client, std::move(request)).headers.find("X-A: b"), std::string::npos);
  EXPECT_EQ(send(client, request_to(server.url())).headers, "");
}

TEST_F(CurlClientTest, HeadersOfAResponseThatBreaksOffAreHandedOver) {
  const LoopbackServer server(always("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 9\r\n\r\nshort", Then::kClose));
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kDisconnected);
  EXPECT_EQ(response.headers, "X-A: b\nContent-Length: 9");
}

TEST_F(CurlClientTest, HeadersAreOfOneRequestAndBounded) {
  std::string fields = "X-Folded: a\r\n b\r\nX-Long: " + std::string(5000, 'x') + "\r\n";
  for (int i = 0; i < 300; ++i) fields += "X-" + std::to_string(i) + ": yes\r\n";
  const LoopbackServer server([&fields](const ReceivedRequest& request, Peer& peer) {
    peer.send(http_response(500, "", request.target == "/many" ? fields : "X-A: b\r\n"));
    return Then::kKeepAlive;
  });
  CurlClient client(loopback_settings());
  const std::string many = send(client, request_to(server.url("/many"))).headers;
  EXPECT_LE(many.size(), kStoredHeaderBytesMax);
  EXPECT_NE(many.find("x...\nX-0: yes\nX-1: yes\n"), std::string::npos) << many;
  const std::string one = send(client, request_to(server.url("/one"))).headers;
  EXPECT_NE(one.find("X-A: b"), std::string::npos);
  EXPECT_EQ(one.find("X-0"), std::string::npos) << one;
}

TEST_F(CurlClientTest, CompressedBodyIsNotDecoded) {
  const LoopbackServer server(always(http_response(200, "not gzip", "Content-Encoding: gzip\r\n")));
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
  EXPECT_EQ(response.body, "not gzip");
}

TEST_F(CurlClientTest, BodyIsStoredUpToItsBoundAndTheRestDiscarded) {
  HttpSettings settings = loopback_settings();
  settings.response_body_bytes_max = 10;
  const LoopbackServer server(always(http_response(200, std::string(60'000, 'x'))));
  CurlClient client(settings);
  for (int i = 0; i < 2; ++i) {
    const HttpResponse response = send(client, request_to(server.url()));
    EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
    EXPECT_EQ(response.body, std::string(10, 'x'));
  }
  EXPECT_EQ(server.connections_accepted(), 1) << "the connection is kept";
}

TEST_F(CurlClientTest, EndlessBodyEndsAsTheResponseThatItsStatusSays) {
  const LoopbackServer server([](const ReceivedRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\n\r\n");
    while (peer.send(std::string(8192, 'x'))) {
    }
    return Then::kClose;
  });
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, std::string(4096, 'x'));
  EXPECT_LT(response.elapsed, 5s);
}

TEST_F(CurlClientTest, EndlessHeadersAreOversized) {
  const LoopbackServer server([](const ReceivedRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\n");
    while (peer.send("X-More: " + std::string(1000, 'x') + "\r\n")) {
    }
    return Then::kClose;
  });
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kOversized) << response.error;
}

TEST_F(CurlClientTest, EndlessHeaderLineIsOversized) {
  const LoopbackServer server([](const ReceivedRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nX-More: ");
    while (peer.send(std::string(8192, 'x'))) {
    }
    return Then::kClose;
  });
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kOversized) << response.error;
}

TEST_F(CurlClientTest, EndlessInformationalResponsesAreOversized) {
  const LoopbackServer server([](const ReceivedRequest&, Peer& peer) {
    while (peer.send("HTTP/1.1 100 Continue\r\n\r\n")) {
    }
    return Then::kClose;
  });
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kOversized) << response.error;
  EXPECT_EQ(response.status, 0);
}

TEST_F(CurlClientTest, WhatIsNoHttpIsNoResponse) {
  const LoopbackServer server(always("SSH-2.0-OpenSSH_9.2\r\n", Then::kClose));
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kOther);
  EXPECT_NE(response.error.find("not HTTP"), std::string::npos) << response.error;
}

// --- failures --------------------------------------------------------------------------------------------------------

TEST_F(CurlClientTest, NoResponseInTimeIsATimeout) {
  const LoopbackServer server([](const ReceivedRequest&, Peer& peer) {
    peer.wait_until_client_closes();
    return Then::kClose;
  });
  const HttpResponse response = send(loopback_settings(), request_to(server.url(), 500ms));
  EXPECT_EQ(response.outcome, HttpOutcome::kTimeout);
  EXPECT_EQ(response.error, "no response within 500 ms");
  EXPECT_EQ(response.status, 0);
  EXPECT_EQ(response.remote_ip, "127.0.0.1");
  EXPECT_GE(response.elapsed, 500ms - kClockStep);
  EXPECT_LT(response.elapsed, 5s);
}

TEST_F(CurlClientTest, SlowDripEndsAtTheTimeout) {
  const LoopbackServer server([](const ReceivedRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    while (peer.send("x")) std::this_thread::sleep_for(20ms);  // the behaviour under test, not a wait
    return Then::kClose;
  });
  const HttpResponse response = send(loopback_settings(), request_to(server.url(), 500ms));
  EXPECT_EQ(response.outcome, HttpOutcome::kTimeout);
  EXPECT_EQ(response.error, "no complete response within 500 ms");
  EXPECT_EQ(response.status, 200);
  EXPECT_GE(response.elapsed, 500ms - kClockStep);
  EXPECT_LT(response.elapsed, 5s);
}

// What comes is judged alike, and in the same words, by every version of libcurl.
TEST_F(CurlClientTest, WhatIsNoHttpIsToldInWordsOfOurs) {
  struct Case {
    std::string sent;
    HttpOutcome outcome;
    int status;
    std::string error;
  };
  const std::string no_http = "the response is not HTTP: ";
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string cut = "the connection was closed within the response";
  const std::vector<Case> cases = {
      {"SSH-2.0-OpenSSH_9.2\r\n", HttpOutcome::kOther, 0, no_http + "it does not begin with a status line"},
      {"\r\n\r\nhello", HttpOutcome::kOther, 0, no_http + "it does not begin with a status line"},
      {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", HttpOutcome::kOther, 200,
       no_http + "its Content-Length is not a length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", HttpOutcome::kOther, 200,
       no_http + "its Content-Length is not a length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello", HttpOutcome::kOther, 200,
       no_http + "its Content-Length is not a length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nhello", HttpOutcome::kOther, 200,
       no_http + "its Content-Length is not a length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2, 5\r\n\r\nhello", HttpOutcome::kOther, 200,
       no_http + "its Content-Length is not a length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", HttpOutcome::kResponse, 200, ""},
      {"HTTP/1.1 103 Early\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
       HttpOutcome::kResponse, 200, ""},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello", HttpOutcome::kResponse, 200, ""},
      {"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok"s, HttpOutcome::kOther, 200,
       no_http + "a header contains a NUL"},
      {chunked + "zz\r\nhello\r\n", HttpOutcome::kOther, 200, no_http + "its chunks are broken"},
      {chunked + std::string(40, 'f') + "\r\nhello\r\n", HttpOutcome::kOther, 200, no_http + "its chunks are broken"},
      {chunked + "5\r\nhelloworld\r\n", HttpOutcome::kOther, 200, no_http + "its chunks are broken"},
      {chunked + "5\r\nhel", HttpOutcome::kDisconnected, 200, cut},
      {chunked, HttpOutcome::kDisconnected, 200, cut},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", HttpOutcome::kDisconnected, 200, cut},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", HttpOutcome::kResponse,
       200, ""},
      {"HTTP/1.1 503 No\r\nTransfer-Encoding: gzip\r\n\r\nhello", HttpOutcome::kResponse, 503, ""},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello", HttpOutcome::kResponse, 200, ""},
      {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", HttpOutcome::kResponse, 200, ""},
  };
  for (const Case& wanted : cases) {
    const LoopbackServer server(always(wanted.sent, Then::kClose));
    const HttpResponse response = send(loopback_settings(), request_to(server.url()));
    EXPECT_EQ(response.outcome, wanted.outcome) << wanted.sent;
    EXPECT_EQ(response.status, wanted.status) << wanted.sent;
    EXPECT_EQ(response.error, wanted.error) << wanted.sent;
  }
}

TEST_F(CurlClientTest, BodyThatCameCompressedUnaskedIsNoted) {
  const auto encoding_of = [](const std::string& headers, const std::string& body) {
    const LoopbackServer server(always("HTTP/1.1 200 OK\r\n" + headers + "\r\n" + body, Then::kClose));
    return send(loopback_settings(), request_to(server.url()));
  };
  EXPECT_EQ(encoding_of("Content-Encoding: gzip\r\n", "a").encoding, "gzip");
  EXPECT_EQ(encoding_of("content-encoding:  BR \r\n", "a").encoding, "BR");
  EXPECT_EQ(encoding_of("Content-Encoding: gzip\r\n", "a").body, "a");
  EXPECT_EQ(encoding_of("Content-Encoding: identity\r\n", "a").encoding, "");
  EXPECT_EQ(encoding_of("Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n").encoding, "");
  // Of one header line, or of two, in either order.
  for (const std::string headers :
       {"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"}) {
    const HttpResponse response = encoding_of(headers, "1\r\na\r\n0\r\n\r\n");
    EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << headers;
    EXPECT_NE(response.encoding, "") << headers;
    EXPECT_EQ(response.body, "") << headers;
  }
}

TEST_F(CurlClientTest, EncodingOfAnInterimResponseIsNotThatOfTheLast) {
  const LoopbackServer server(
      always("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: gzip\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
             Then::kClose));
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse);
  EXPECT_EQ(response.encoding, "");
  EXPECT_EQ(response.body, "a");
}

TEST_F(CurlClientTest, HostThatARedirectLeadsToIsTold) {
  struct Case {
    int status;
    std::string location;
    std::string host;
  };
  for (const Case& wanted : std::vector<Case>{{301, "https://www.example.com/a?b#c", "www.example.com"},
                                              {302, "//other.example/", "other.example"},
                                              {308, "/elsewhere", "127.0.0.1"},
                                              {307, "http://[2001:db8::1]:8080/", "[2001:db8::1]"},
                                              {303, "https://user:pass@c.example/", "c.example"},
                                              {302, "mailto:a@b.example", ""},
                                              {302, "https://", ""},
                                              {200, "https://www.example.com/", ""}}) {
    const LoopbackServer server(always(http_response(wanted.status, "", "Location: " + wanted.location + "\r\n")));
    const HttpResponse response = send(loopback_settings(), request_to(server.url()));
    EXPECT_EQ(response.status, wanted.status);
    EXPECT_EQ(response.redirect_host, wanted.host) << wanted.location;
  }
}

TEST_F(CurlClientTest, NobodyListeningIsAConnectFailure) {
  const std::string port = std::to_string(test::unused_port());
  const HttpResponse response = send(loopback_settings(), request_to("http://127.0.0.1:" + port + "/"));
  EXPECT_EQ(response.outcome, HttpOutcome::kConnect);
  EXPECT_EQ(response.error, "connection refused by 127.0.0.1 port " + port);
  EXPECT_EQ(response.remote_ip, "");
  EXPECT_EQ(response.status, 0);
}

TEST_F(CurlClientTest, ConnectionThatIsNotAcceptedEndsAtTheConnectTimeout) {
  // A queue for one connection that nobody accepts: once it is full, the kernel drops what asks to connect.
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ASSERT_EQ(listen(listener, 0), 0);
  std::vector<int> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    connect(fillers.back(), reinterpret_cast<sockaddr*>(&address), length);
  }

  HttpSettings settings = loopback_settings();
  settings.connect_timeout = 100ms;
  const std::string port = std::to_string(ntohs(address.sin_port));
  const HttpResponse response = send(settings, request_to("http://127.0.0.1:" + port + "/"));
  EXPECT_EQ(response.outcome, HttpOutcome::kConnect);
  EXPECT_EQ(response.error, "could not connect to 127.0.0.1 port " + port + " within 100 ms");
  EXPECT_EQ(response.remote_ip, "");

  for (const int filler : fillers) close(filler);
  close(listener);
}

TEST_F(CurlClientTest, LackOfDescriptorsIsNotTheEndpointsFault) {
  const LoopbackServer server(always(http_response(200)));
  CurlClient client(loopback_settings());
  // Made while descriptors are left: UBSan needs some when it sees a class for the first time.
  const std::string expected = "could not open a socket: " + std::generic_category().message(EMFILE);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int first_free = dup(client.fd());
  close(first_free);
  rlimit none_left = before;
  none_left.rlim_cur = static_cast<rlim_t>(first_free);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none_left), 0);
  const HttpResponse response = send(client, request_to(server.url()));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(response.outcome, HttpOutcome::kOther);
  EXPECT_EQ(response.error, expected);
}

TEST_F(CurlClientTest, ClosedBeforeTheResponse) {
  const LoopbackServer server([](const ReceivedRequest&, Peer&) { return Then::kClose; });
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kDisconnected);
  EXPECT_EQ(response.error, "the connection was closed before a response came");
  EXPECT_EQ(response.status, 0);
}

TEST_F(CurlClientTest, ResetBeforeTheResponse) {
  const LoopbackServer server([](const ReceivedRequest&, Peer& peer) {
    peer.reset_on_close();
    return Then::kClose;
  });
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kDisconnected);
  EXPECT_EQ(response.error, "the connection was reset before a response came");
}

TEST_F(CurlClientTest, AnEarlierResetDoesNotShowInALaterClose) {
  const LoopbackServer server([](const ReceivedRequest& request, Peer& peer) {
    if (request.target == "/reset") peer.reset_on_close();
    return Then::kClose;
  });
  CurlClient client(loopback_settings());
  EXPECT_EQ(send(client, request_to(server.url("/reset"))).error, "the connection was reset before a response came");
  EXPECT_EQ(send(client, request_to(server.url("/close"))).error, "the connection was closed before a response came");
}

TEST_F(CurlClientTest, ClosedWithinTheResponse) {
  const LoopbackServer server(always("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", Then::kClose));
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kDisconnected);
  EXPECT_EQ(response.error, "the connection was closed within the response");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "half");
}

TEST_F(CurlClientTest, ClosedWithinTheHeadersIsNoResponseWhateverTheStatus) {
  for (const char* head : {"HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nX: y\r\n"}) {
    const LoopbackServer server(always(head, Then::kClose));
    const HttpResponse response = send(loopback_settings(), request_to(server.url()));
    EXPECT_EQ(response.outcome, HttpOutcome::kDisconnected) << head;
    EXPECT_EQ(response.error, "the connection was closed within the response") << head;
  }
}

TEST_F(CurlClientTest, ClosedBeforeTheStatusOrAfterAnInformationalOneIsBeforeTheResponse) {
  for (const char* head : {"HT", "HTTP/1.1 200", "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"}) {
    const LoopbackServer server(always(head, Then::kClose));
    const HttpResponse response = send(loopback_settings(), request_to(server.url()));
    EXPECT_EQ(response.outcome, HttpOutcome::kDisconnected) << head;
    EXPECT_EQ(response.error, "the connection was closed before a response came") << head;
    EXPECT_EQ(response.status, 0) << head;
  }
}

TEST_F(CurlClientTest, ChunksWithoutANumberAreNoHttp) {
  for (const char* chunk : {"zz\r\nhello\r\n", "ffffffffffffffffffffffffffffffffffffffff\r\nhello\r\n"}) {
    const LoopbackServer server(always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s + chunk));
    const HttpResponse response = send(loopback_settings(), request_to(server.url()));
    EXPECT_EQ(response.outcome, HttpOutcome::kOther) << chunk;
    EXPECT_TRUE(response.error.starts_with("the response is not HTTP: ")) << response.error;
  }
}

TEST_F(CurlClientTest, UnknownHostIsADnsFailure) {
  const HttpResponse response = send(loopback_settings(), request_to("https://unknown.test/?token=s3cret"));
  EXPECT_EQ(response.outcome, HttpOutcome::kDns);
  EXPECT_EQ(response.error, "could not resolve host unknown.test");
  EXPECT_EQ(response.remote_ip, "");
}

TEST_F(CurlClientTest, SilentResolverHoldsUpNeitherTheTransferNorTheOthersNorTheEnd) {
  const auto gate = std::make_shared<Gate>();
  {
    const std::lock_guard lock(silent_resolver_mutex);
    silent_resolver = gate;
  }
  const LoopbackServer server(always(http_response(200)));
  const auto begin = steady_clock::now();
  {
    CurlClient client(loopback_settings());
    client.start(request_to("https://silent.test/", 500ms, 1));
    client.start(request_to(server.url(), 10s, 2));
    const auto responses = finish(client, 2);
    EXPECT_EQ(responses[0].token, 2U);
    EXPECT_EQ(responses[0].status, 200);
    EXPECT_EQ(responses[1].outcome, HttpOutcome::kTimeout);
    EXPECT_EQ(responses[1].error, "could not resolve host silent.test within 500 ms");
    client.start(request_to("https://silent.test/", 10s, 3));
    client.drive();
  }
  EXPECT_LT(steady_clock::now() - begin, 8s);
  EXPECT_GT(lookups_running, 0);
  EXPECT_TRUE(lookup_had_signals_blocked);
  gate->open();
  EXPECT_TRUE(eventually([] { return lookups_running == 0; }));
}

// drive() and start() return at once whatever the look-ups do; a bound far above what a busy machine adds.
TEST_F(CurlClientTest, HostWhoseLookUpsStayUnansweredGetsNoMoreThreads) {
  const auto gate = std::make_shared<Gate>();
  {
    const std::lock_guard lock(silent_resolver_mutex);
    silent_resolver = gate;
  }
  const LoopbackServer server(always(http_response(200)));
  CurlClient client(loopback_settings());
  for (std::size_t i = 0; i < Lookups::kAbandonedPerHostMax; ++i) {
    const HttpResponse response = send(client, request_to("https://silent.test/", 200ms));
    EXPECT_EQ(response.error, "could not resolve host silent.test within 200 ms");
  }
  const int threads = lookups_running;
  steady_clock::duration longest{};
  for (int i = 0; i < 20; ++i) {
    const auto begin = steady_clock::now();
    client.start(request_to("https://silent.test/", 5s));
    client.drive();
    longest = std::max(longest, steady_clock::now() - begin);
    const HttpResponse response = finish(client, 1).front();
    EXPECT_EQ(response.outcome, HttpOutcome::kDns);
    EXPECT_EQ(response.error, "too many look-ups of host silent.test are unanswered");
  }
  EXPECT_EQ(lookups_running, threads);
  EXPECT_LT(longest, 5s) << "it waited for a look-up";
  EXPECT_EQ(send(client, request_to(server.url_of_host("loopback.test"))).status, 200) << "others are looked up";
  gate->open();
  EXPECT_TRUE(eventually([] { return lookups_running == 0; }));
}

TEST_F(CurlClientTest, UrlsThatMayNotBeCalledAreRefusedUnsent) {
  CurlClient client(loopback_settings());
  for (const std::string& url : {"ftp://127.0.0.1/"s, "file:///etc/passwd"s, "https://user:hunter2@127.0.0.1/"s,
                                 "https://127.0.0.1:99999/"s, "nonsense"s, ""s, "https://a b/"s, "https://a\0b/"s}) {
    const HttpResponse response = send(client, request_to(url));
    EXPECT_EQ(response.outcome, HttpOutcome::kBadUrl) << url << ": " << response.error;
    EXPECT_EQ(response.error.find("hunter2"), std::string::npos) << response.error;
    EXPECT_EQ(response.status, 0);
  }
}

TEST_F(CurlClientTest, HttpIsRefusedWhenNotAllowed) {
  const LoopbackServer server(always(http_response(200)));
  HttpSettings settings = loopback_settings();
  settings.allow_http = false;
  const HttpResponse response = send(settings, request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kBadUrl);
  EXPECT_NE(response.error.find("must be https"), std::string::npos) << response.error;
  EXPECT_EQ(server.connections_accepted(), 0);
}

TEST_F(CurlClientTest, NothingOfAnEarlierRequestShowsInALaterFailure) {
  const LoopbackServer server(always(http_response(200, "body", "Retry-After: 5\r\n")));
  CurlClient client(loopback_settings());
  ASSERT_EQ(send(client, request_to(server.url())).status, 200);
  for (const std::string& url : {"https://a\0b/"s, "ftp://127.0.0.1/"s, "https://unknown.test/"s,
                                 "http://127.0.0.1:" + std::to_string(test::unused_port()) + "/"}) {
    const HttpResponse response = send(client, request_to(url));
    EXPECT_NE(response.outcome, HttpOutcome::kResponse) << url;
    EXPECT_EQ(response.status, 0) << url;
    EXPECT_EQ(response.remote_ip, "") << url;
    EXPECT_EQ(response.body, "") << url;
    EXPECT_EQ(response.retry_after, "") << url;
  }
}

// --- policy and proxies ----------------------------------------------------------------------------------------------

TEST_F(CurlClientTest, RefusedAddressIsNeverConnectedTo) {
  const LoopbackServer server(always(http_response(200)));
  HttpSettings settings = loopback_settings();
  settings.address_policy = AddressPolicy();
  for (const std::string& url : {server.url(), server.url_of_host("loopback.test"), server.url_of_host("localhost"),
                                 server.url_of_host("2130706433"), server.url_of_host("[::ffff:127.0.0.1]")}) {
    const HttpResponse response = send(settings, request_to(url));
    EXPECT_EQ(response.outcome, HttpOutcome::kBlocked) << url << ": " << response.error;
    EXPECT_EQ(response.remote_ip, "");
  }
  EXPECT_EQ(server.connections_accepted(), 0);
}

TEST_F(CurlClientTest, RefusalNamesTheReasonAndNotTheAddressThatAnInternalNameHas) {
  const HttpResponse response = send(loopback_settings(), request_to("https://private.test/?token=s3cret"));
  const std::string reason(*AddressPolicy().refusal(*IpAddress::parse("10.1.2.3")));
  EXPECT_EQ(response.outcome, HttpOutcome::kBlocked);
  EXPECT_EQ(response.error, "address refused: " + reason);
  EXPECT_EQ(response.remote_ip, "");
}

TEST_F(CurlClientTest, EveryPublishedFormOfARefusedHostIsRefused) {
  const LoopbackServer server(always(http_response(200)));
  HttpSettings settings = loopback_settings();
  settings.address_policy = AddressPolicy();
  CurlClient client(settings);
  for (const AddressVector& vector : address_vectors("host")) {
    for (const std::string& host : vector.addresses) {
      const HttpResponse response = send(client, request_to(server.url_of_host(host)));
      EXPECT_EQ(response.outcome, HttpOutcome::kBlocked) << host;
      EXPECT_EQ(response.error, "address refused: " + vector.error) << host;
      EXPECT_EQ(response.remote_ip, "") << host;
    }
  }
  EXPECT_EQ(server.connections_accepted(), 0);
}

// That they are refused is no accident: each is the address of its block.
TEST_F(CurlClientTest, EveryPublishedFormOfTheLoopbackAddressLeadsThere) {
  const LoopbackServer server(always(http_response(200)));
  CurlClient client(loopback_settings());
  for (const AddressVector& vector : address_vectors("host")) {
    if (vector.block != "127.0.0.1/32") continue;
    for (const std::string& host : vector.addresses) {
      if (host.starts_with('[')) continue;  // nothing listens there, or nothing routes it
      EXPECT_EQ(send(client, request_to(server.url_of_host(host))).remote_ip, "127.0.0.1") << host;
    }
  }
}

TEST_F(CurlClientTest, PortThatIsNotAllowedIsNeverConnectedTo) {
  const LoopbackServer server(always(http_response(200)));
  HttpSettings settings = loopback_settings();
  settings.allowed_ports = {{.first = 443, .last = 443}};
  const HttpResponse response = send(settings, request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kBlocked);
  EXPECT_EQ(response.error, "port " + std::to_string(server.port()) +
                                " refused: it is not one that webhooks may be sent to (webhook.allowed_ports)");
  settings.proxy = server.url();
  EXPECT_EQ(send(settings, request_to("http://unknown.test:25/")).outcome, HttpOutcome::kBlocked);
  EXPECT_EQ(server.connections_accepted(), 0);
}

TEST_F(CurlClientTest, AnAllowedAddressBesideARefusedOneIsUsed) {
  const LoopbackServer server(always(http_response(200)));
  const HttpResponse response = send(loopback_settings(), request_to(server.url_of_host("both.test")));
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
  EXPECT_EQ(response.remote_ip, "127.0.0.1");
}

TEST_F(CurlClientTest, ProxiesOfTheEnvironmentAreIgnored) {
  const LoopbackServer server(always(http_response(200)));
  for (const char* name : {"http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"}) {
    setenv(name, "http://127.0.0.1:1", 1);
  }
  const HttpResponse response = send(loopback_settings(), request_to(server.url()));
  for (const char* name : {"http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"}) unsetenv(name);
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
}

TEST_F(CurlClientTest, ProxyOfTheSettingsIsUsedForEveryHost) {
  const LoopbackServer proxy(always(http_response(200)));
  HttpSettings settings = loopback_settings();
  settings.address_policy = AddressPolicy();  // the proxy's address is the administrator's choice
  settings.proxy = proxy.url();
  setenv("no_proxy", "*", 1);
  const HttpResponse response = send(settings, request_to("http://unknown.test/a"));
  unsetenv("no_proxy");
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
  ASSERT_EQ(proxy.requests().size(), 1U);
  EXPECT_EQ(proxy.requests().at(0).target, "http://unknown.test/a");
}

// On a connection to a proxy libcurl writes the host of each request as it wrote that of the first one: [unknown.test].
TEST_F(CurlClientTest, HostsThatShareAProxyAreWrittenAsTheyAre) {
  const LoopbackServer proxy(always(http_response(200)));
  HttpSettings settings = loopback_settings();
  settings.proxy = proxy.url();
  CurlClient client(settings);
  const std::vector<std::string> hosts = {"[2606:4700::1]", "unknown.test", "[2606:4700::1]:8080", "unknown.test:8080",
                                          "192.0.2.1"};
  for (const std::string& host : hosts) {
    EXPECT_EQ(send(client, request_to("http://" + host + "/")).outcome, HttpOutcome::kResponse) << host;
  }
  ASSERT_EQ(proxy.requests().size(), hosts.size());
  for (std::size_t i = 0; i < hosts.size(); ++i) EXPECT_EQ(proxy.requests().at(i).headers.at("host"), hosts[i]);
}

TEST_F(CurlClientTest, ProxyThatRefusesIsAConnectFailure) {
  const LoopbackServer proxy(always(http_response(403)));
  HttpSettings settings = loopback_settings();
  settings.proxy = proxy.url();
  const HttpResponse response = send(settings, request_to("https://unknown.test/a"));
  EXPECT_EQ(response.outcome, HttpOutcome::kConnect);
  EXPECT_EQ(response.error, "the proxy refused to connect to the host: HTTP status 403");
  EXPECT_EQ(response.status, 0);
}

// What a proxy does instead of answering CONNECT is told as the proxy's doing.
TEST_F(CurlClientTest, ProxyThatAnswersNoConnectIsNamed) {
  struct Case {
    LoopbackServer::Handler handler;
    HttpOutcome outcome;
    std::string error;
  };
  const std::string closed =
      "the proxy did not connect to the host: it closed the connection, or did not answer in HTTP";
  const std::string slow = "the proxy has not connected to the host within ";
  const std::vector<Case> cases = {
      {[](const ReceivedRequest&, Peer&) { return Then::kClose; }, HttpOutcome::kConnect, closed},
      {[](const ReceivedRequest&, Peer& peer) {
         peer.reset_on_close();
         return Then::kClose;
       },
       HttpOutcome::kConnect, closed},
      {[](const ReceivedRequest&, Peer& peer) {
         peer.send("HTTP/1.1 200");
         return Then::kClose;
       },
       HttpOutcome::kConnect, closed},
      {[](const ReceivedRequest&, Peer& peer) {
         peer.send("SSH-2.0-OpenSSH_9.2\r\n\r\n");
         peer.wait_until_client_closes();
         return Then::kClose;
       },
       HttpOutcome::kConnect, closed},
      {[](const ReceivedRequest&, Peer& peer) {
         peer.wait_until_client_closes();
         return Then::kClose;
       },
       HttpOutcome::kTimeout, slow + "300 ms"},
  };
  for (const Case& wanted : cases) {
    const LoopbackServer proxy(wanted.handler);
    HttpSettings settings = loopback_settings();
    settings.proxy = proxy.url();
    HttpRequest request = request_to("https://unknown.test/a");
    request.timeout = std::chrono::milliseconds(300);
    const HttpResponse response = send(settings, request);
    EXPECT_EQ(response.outcome, wanted.outcome);
    EXPECT_EQ(response.error, wanted.error);
    EXPECT_EQ(response.status, 0);
  }
}

// What is amiss behind it is not the proxy's doing.
TEST_F(CurlClientTest, ProxyIsNotNamedForWhatTheReceiverDoes) {
  const LoopbackServer proxy([](const ReceivedRequest& request, Peer& peer) {
    if (request.method == "CONNECT") {
      peer.send("HTTP/1.1 200 Connection established\r\n\r\n");
      peer.wait_until_client_closes();
    }
    return Then::kClose;
  });
  HttpSettings settings = loopback_settings();
  settings.proxy = proxy.url();
  settings.connect_timeout = 300ms;
  HttpResponse response = send(settings, request_to("https://unknown.test/a"));
  EXPECT_EQ(response.outcome, HttpOutcome::kTls);
  EXPECT_EQ(response.error, "TLS: no complete handshake with host unknown.test within 300 ms");
  response = send(settings, request_to("http://unknown.test/a"));
  EXPECT_EQ(response.outcome, HttpOutcome::kDisconnected);
  EXPECT_EQ(response.error, "the connection was closed before a response came");
}

// --- TLS -------------------------------------------------------------------------------------------------------------

class CurlClientTlsTest : public CurlClientTest {
 protected:
  HttpSettings trusting_settings() const {
    HttpSettings settings = loopback_settings();
    settings.allow_http = false;
    settings.ca_file = authority_.file();
    return settings;
  }

  CertificateAuthority authority_;
};

TEST_F(CurlClientTlsTest, TrustedCertificateOfTheHostIsAccepted) {
  const LoopbackServer server(always(http_response(200, "hello")), authority_.issue("DNS:loopback.test,IP:127.0.0.1"));
  CurlClient client(trusting_settings());
  for (const std::string& url : {server.url(), server.url_of_host("loopback.test")}) {
    const HttpResponse response = send(client, request_to(url));
    EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
    EXPECT_EQ(response.body, "hello");
    EXPECT_EQ(response.remote_ip, "127.0.0.1");
  }
}

TEST_F(CurlClientTlsTest, UnknownAuthorityIsRefused) {
  const CertificateAuthority other;
  const LoopbackServer server(always(http_response(200)), other.issue("IP:127.0.0.1"));
  const HttpResponse response = send(trusting_settings(), request_to(server.url("/?token=s3cret")));
  EXPECT_EQ(response.outcome, HttpOutcome::kTls);
  EXPECT_EQ(response.error, "TLS: unable to get local issuer certificate");
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(CurlClientTlsTest, CertificateOfAnotherHostIsRefused) {
  const LoopbackServer server(always(http_response(200)), authority_.issue("DNS:other.test"));
  const HttpResponse response = send(trusting_settings(), request_to(server.url_of_host("loopback.test")));
  EXPECT_EQ(response.outcome, HttpOutcome::kTls) << response.error;
  EXPECT_EQ(response.error, "TLS: the certificate has another name than loopback.test");
  EXPECT_EQ(send(trusting_settings(), request_to(server.url())).error,
            "TLS: the certificate has another name than 127.0.0.1");
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(CurlClientTlsTest, ExpiredCertificateIsRefused) {
  const LoopbackServer server(always(http_response(200)), authority_.issue("IP:127.0.0.1", -60));
  const HttpResponse response = send(trusting_settings(), request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kTls);
  EXPECT_EQ(response.error, "TLS: certificate has expired");
}

TEST_F(CurlClientTlsTest, MissingCaFileIsATlsFailure) {
  const LoopbackServer server(always(http_response(200)), authority_.issue("IP:127.0.0.1"));
  HttpSettings settings = trusting_settings();
  settings.ca_file = "/nonexistent/ca.pem";
  const HttpResponse response = send(settings, request_to(server.url()));
  EXPECT_EQ(response.outcome, HttpOutcome::kTls);
  EXPECT_EQ(response.error, "TLS: the certificates that are trusted cannot be read: /nonexistent/ca.pem");
}

TEST_F(CurlClientTlsTest, HandshakeThatHangsEndsAtTheConnectTimeout) {
  const LoopbackServer server(always(http_response(200)));  // no TLS: waits for a line that never ends
  HttpSettings settings = trusting_settings();
  settings.connect_timeout = 500ms;
  const std::string authority = "127.0.0.1:" + std::to_string(server.port());
  const HttpResponse response = send(settings, request_to("https://" + authority + "/"));
  EXPECT_EQ(response.outcome, HttpOutcome::kTls);
  EXPECT_TRUE(response.error.starts_with("TLS: no complete handshake")) << response.error;
  EXPECT_TRUE(response.error.ends_with("within 500 ms")) << response.error;
}

TEST_F(CurlClientTlsTest, ConnectionOfAnEarlierCaFileIsNotUsedAgain) {
  const LoopbackServer server(always(http_response(200)), authority_.issue("IP:127.0.0.1"));
  CurlClient client(trusting_settings());
  ASSERT_EQ(send(client, request_to(server.url())).status, 200);
  const CertificateAuthority other;
  HttpSettings settings = trusting_settings();
  settings.ca_file = other.file();
  client.configure(settings);
  EXPECT_EQ(send(client, request_to(server.url())).outcome, HttpOutcome::kTls);
}

// --- connections and the loop ----------------------------------------------------------------------------------------

TEST_F(CurlClientTest, RequestsInARowShareAConnection) {
  const LoopbackServer server(always(http_response(200, "ok")));
  CurlClient client(loopback_settings());
  for (int i = 0; i < 100; ++i) {
    const HttpResponse response = send(client, request_to(server.url()));
    ASSERT_EQ(response.status, 200) << response.error;
    ASSERT_EQ(response.remote_ip, "127.0.0.1");
  }
  EXPECT_EQ(server.connections_accepted(), 1);
}

TEST_F(CurlClientTest, ManyRequestsAtOnceAllFinish) {
  constexpr std::size_t kCount = 200;
  const LoopbackServer server([](const ReceivedRequest& request, Peer& peer) {
    return peer.send(http_response(200, request.body)) ? Then::kKeepAlive : Then::kClose;
  });
  CurlClient client(loopback_settings());
  std::set<std::uint64_t> tokens;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < kCount; ++i) {
      HttpRequest request = request_to(server.url(), 20s, i);
      request.body = std::make_shared<const std::string>(std::to_string(i));
      client.start(std::move(request));
    }
    EXPECT_EQ(client.in_flight(), kCount);
    tokens.clear();
    for (const HttpResponse& response : finish(client, kCount)) {
      EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
      EXPECT_EQ(response.body, std::to_string(response.token));
      tokens.insert(response.token);
    }
    EXPECT_EQ(tokens.size(), kCount);
    EXPECT_EQ(client.in_flight(), 0U);
  }
  EXPECT_LE(server.connections_accepted(), static_cast<int>(kCount));
}

// Answers the first request of each connection, and closes it at the second.
LoopbackServer::Handler once_a_connection() {
  return [](const ReceivedRequest&, Peer& peer) {
    peer.send(http_response(200));
    peer.receive();
    return Then::kClose;
  };
}

TEST_F(CurlClientTest, ConnectionsThatTheServerClosesAtTheSecondRequestCostNoAttempt) {
  const LoopbackServer server(once_a_connection());
  CurlClient client(loopback_settings());
  for (int i = 0; i < 60; ++i) {
    const std::string path = "/" + std::to_string(i);
    client.start(request_to(server.url(path)));
    const HttpResponse response = finish(client, 1).front();
    ASSERT_EQ(response.outcome, HttpOutcome::kResponse) << "request " << i << ": " << response.error;
    ASSERT_EQ(server.requests().back().target, path) << "the repeated request has another URL";
  }
}

TEST_F(CurlClientTest, ManyKeptConnectionsThatAreDeadCostNoAttempt) {
  constexpr std::size_t kConnections = 12;
  const LoopbackServer server(once_a_connection());
  CurlClient client(loopback_settings());
  for (std::size_t i = 0; i < kConnections; ++i) client.start(request_to(server.url()));
  finish(client, kConnections);
  client.start(request_to(server.url()));
  const HttpResponse response = finish(client, 1).front();
  EXPECT_EQ(response.outcome, HttpOutcome::kResponse) << response.error;
}

TEST_F(CurlClientTest, IdleConnectionThatThePeerClosesDoesNotSpinTheLoop) {
  Gate answered;
  const LoopbackServer server([&](const ReceivedRequest&, Peer& peer) {
    peer.send(http_response(200));
    answered.wait();
    return Then::kClose;
  });
  CurlClient client(loopback_settings());
  ASSERT_EQ(send(client, request_to(server.url())).status, 200);
  client.drive();
  ASSERT_FALSE(is_readable(client.fd(), 0));
  answered.open();
  ASSERT_TRUE(is_readable(client.fd(), 20'000)) << "the close was not seen: the socket left epoll early";
  client.drive();
  EXPECT_FALSE(is_readable(client.fd(), 0));
  EXPECT_EQ(send(client, request_to(server.url())).status, 200) << "a new connection is made";
  EXPECT_EQ(server.connections_accepted(), 2);
}

TEST_F(CurlClientTest, NothingToDoMeansNothingToWaitFor) {
  const CurlClient client(loopback_settings());
  EXPECT_EQ(client.timeout(), std::nullopt);
  EXPECT_FALSE(is_readable(client.fd(), 0));
  EXPECT_EQ(client.in_flight(), 0U);
}

TEST_F(CurlClientTest, StartedRequestsAskToBeDriven) {
  CurlClient client(loopback_settings());
  client.start(request_to("https://unknown.test/"));
  EXPECT_EQ(client.timeout(), Duration::zero());
  EXPECT_EQ(client.in_flight(), 1U);
  finish(client, 1);
  client.start(request_to("https://a\0b/"s));
  EXPECT_EQ(client.timeout(), Duration::zero()) << "what failed at once is to be taken at once";
  EXPECT_EQ(client.in_flight(), 1U);
  EXPECT_EQ(client.take_finished().size(), 1U);
  EXPECT_EQ(client.in_flight(), 0U);
}

TEST_F(CurlClientTest, NewSettingsApplyToNewRequestsOnly) {
  Gate gate;
  const LoopbackServer server([&](const ReceivedRequest& request, Peer& peer) {
    if (request.target == "/held") gate.wait();
    peer.send(http_response(200, "0123456789"));
    return Then::kKeepAlive;
  });
  CurlClient client(loopback_settings());
  client.start(request_to(server.url("/held"), 20s, 1));
  ASSERT_TRUE(eventually([&] {
    client.drive();
    return server.requests().size() == 1;
  }));
  HttpSettings settings = loopback_settings();
  settings.response_body_bytes_max = 3;
  client.configure(settings);
  EXPECT_EQ(send(client, request_to(server.url("/"), 20s, 2)).body, "012");
  settings.address_policy = AddressPolicy();
  client.configure(settings);
  EXPECT_EQ(send(client, request_to(server.url("/"), 20s, 3)).outcome, HttpOutcome::kBlocked);
  gate.open();
  EXPECT_EQ(finish(client, 1).front().body, "0123456789");
}

// Descriptors of the process, but for the one that counts them.
std::size_t count_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST_F(CurlClientTest, ReconfiguringWithoutAChangeOpensNothingAndKeepsConnections) {
  const LoopbackServer server(always(http_response(200, "ok")));
  CurlClient client(loopback_settings());
  ASSERT_EQ(send(client, request_to(server.url())).status, 200);
  const std::size_t before = count_descriptors();
  for (std::size_t i = 0; i < 1'000; ++i) {
    HttpSettings settings = loopback_settings();
    settings.connections_max = 1 + i % 300;
    client.configure(settings);
    if (i % 100 != 0) continue;
    ASSERT_EQ(send(client, request_to(server.url())).status, 200);
  }
  EXPECT_EQ(server.connections_accepted(), 1);
  EXPECT_EQ(count_descriptors(), before);
}

TEST_F(CurlClientTest, PoolsOfEarlierSettingsCloseTheirDescriptors) {
  Gate gate;
  const LoopbackServer server([&](const ReceivedRequest& request, Peer& peer) {
    if (request.target == "/held") gate.wait();
    peer.send(http_response(200, "0123456789"));
    return Then::kKeepAlive;
  });
  CurlClient client(loopback_settings());
  const std::size_t before = count_descriptors();
  client.start(request_to(server.url("/held"), 60s, 1'000));
  for (std::size_t i = 1; i <= 100; ++i) {
    HttpSettings settings = loopback_settings();
    settings.response_body_bytes_max = i;
    client.configure(settings);
    ASSERT_EQ(send(client, request_to(server.url("/"), 20s, i)).status, 200);
  }
  // The held one's pool, the current one's, and a connection of each, both ends of which are here.
  EXPECT_LE(count_descriptors(), before + 16) << "before: " << before;
  gate.open();
  finish(client, 1);
}

TEST_F(CurlClientTest, TransfersInFlightEndWithTheClient) {
  std::atomic<int> closed_by_client{0};
  const LoopbackServer server([&](const ReceivedRequest&, Peer& peer) {
    peer.wait_until_client_closes();
    ++closed_by_client;
    return Then::kClose;
  });
  {
    CurlClient client(loopback_settings());
    for (std::uint64_t i = 0; i < 20; ++i) client.start(request_to(server.url(), 60s, i));
    ASSERT_TRUE(eventually([&] {
      client.drive();
      return server.requests().size() == 20;
    }));
    client.start(request_to(server.url(), 60s, 20));  // not driven
    EXPECT_EQ(client.in_flight(), 21U);
  }
  EXPECT_TRUE(eventually([&] { return closed_by_client == 20; }));
}

TEST_F(CurlClientTest, DriveLeavesTheSignalMaskAsItWas) {
  CurlClient client(loopback_settings());
  client.drive();
  EXPECT_FALSE(signals_are_blocked());
}

// --- the poller alone ------------------------------------------------------------------------------------------------

class PollerTest : public ::testing::Test {
 protected:
  // A pair whose first end is readable.
  PollerTest() {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_), 0);
    EXPECT_EQ(write(ends_[1], "x", 1), 1);
  }
  ~PollerTest() override {
    close(ends_[0]);
    close(ends_[1]);
  }

  Poller poller_;
  int ends_[2] = {-1, -1};
  int owner_ = 0;
};

TEST_F(PollerTest, HandsOutWhatIsReadyToItsOwner) {
  ASSERT_TRUE(poller_.opened(ends_[0]));
  ASSERT_TRUE(poller_.watch(ends_[0], true, false, &owner_));
  poller_.poll();
  const auto ready = poller_.next();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->socket, ends_[0]);
  EXPECT_EQ(ready->owner, &owner_);
  EXPECT_TRUE(ready->readable);
  EXPECT_FALSE(ready->writable);
  EXPECT_FALSE(poller_.next());
}

TEST_F(PollerTest, FirstEventOnAnUnwatchedSocketTakesItOut) {
  ASSERT_TRUE(poller_.opened(ends_[0]));
  ASSERT_TRUE(poller_.watch(ends_[0], true, false, &owner_));
  poller_.unwatch(ends_[0]);
  EXPECT_TRUE(is_readable(poller_.fd(), 0));
  poller_.poll();
  EXPECT_FALSE(poller_.next());
  EXPECT_FALSE(is_readable(poller_.fd(), 0));
  ASSERT_TRUE(poller_.watch(ends_[0], true, false, &owner_));
  poller_.poll();
  EXPECT_TRUE(poller_.next()) << "watched again, it is back";
}

TEST_F(PollerTest, SocketThatIsNotOursLeavesAtOnce) {
  ASSERT_TRUE(poller_.watch(ends_[0], true, false, &owner_));
  poller_.unwatch(ends_[0]);
  EXPECT_FALSE(is_readable(poller_.fd(), 0));
}

TEST_F(PollerTest, EventOfAClosedSocketIsNotTheNextOnesOfItsNumber) {
  ASSERT_TRUE(poller_.opened(ends_[0]));
  ASSERT_TRUE(poller_.watch(ends_[0], true, false, &owner_));
  poller_.poll();
  poller_.closing(ends_[0]);
  ASSERT_EQ(dup2(ends_[1], ends_[0]), ends_[0]);
  ASSERT_TRUE(poller_.opened(ends_[0]));
  ASSERT_TRUE(poller_.watch(ends_[0], true, false, &owner_));
  EXPECT_FALSE(poller_.next()) << "fetched before the number changed hands";
}

TEST_F(PollerTest, NumberThatWasReusedWithoutAWordIsWatchedAllTheSame) {
  ASSERT_TRUE(poller_.watch(ends_[0], true, true, &owner_));
  int fresh[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fresh), 0);
  ASSERT_EQ(dup2(fresh[0], ends_[0]), ends_[0]);  // closes the watched one: epoll forgets it
  ASSERT_EQ(write(fresh[1], "y", 1), 1);
  ASSERT_TRUE(poller_.watch(ends_[0], true, false, &owner_));
  poller_.poll();
  EXPECT_TRUE(poller_.next());
  close(fresh[0]);
  close(fresh[1]);
}

}  // namespace
}  // namespace webhook
