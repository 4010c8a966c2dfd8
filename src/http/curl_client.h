// Implements HttpClient with libcurl's multi interface and its own epoll fd. transfer.h has the parts of one request
// and poller.h the sockets. This class drives them.
//
// Surprising: a configure() that changes anything starts over with a new multi handle, and so with new connections and
// new DNS and TLS caches. A connection made under other settings (another CA file, policy or proxy, or the same CA file
// with other contents) is never reused, whatever libcurl compares. Requests in flight end on the old handle, which is
// destroyed after its last request. A configure() that changes nothing, or only connections_max, keeps the handle, so
// that the number of descriptors does not grow with the server's reloads.
//
// Linux only. The process must ignore SIGPIPE, as PostgreSQL's processes do. After a std::bad_alloc from drive() the
// client can only be destroyed.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "http/http_client.h"

namespace webhook {

class Lookups;
class Poller;

// Initializes libcurl. Call it once in each process that sends, and never in the postmaster, because the state of
// libcurl and of its TLS library must not be shared by a fork. Throws std::runtime_error if libcurl is unsuitable: too
// old, without TLS, or with a resolver that blocks.
void init_http();

class CurlClient final : public HttpClient {
 public:
  // Call after init_http(). Throws std::system_error, std::runtime_error, std::bad_alloc.
  explicit CurlClient(const HttpSettings& settings);
  // Drops the requests in flight.
  ~CurlClient() override;
  CurlClient(const CurlClient&) = delete;
  CurlClient& operator=(const CurlClient&) = delete;

  void configure(const HttpSettings& settings) override;
  void start(HttpRequest request) override;
  int fd() const override;
  std::optional<Duration> timeout() const override;
  void drive() override;
  std::vector<HttpResponse> take_finished() override;
  std::size_t in_flight() const override;

 private:
  struct Pool;

  void open_pool(const HttpSettings& settings);
  void add_waiting(Pool& pool);
  void fire_timer(Pool& pool);
  void collect(Pool& pool);
  void fail_all(Pool& pool);
  void retire_pools();

  std::unique_ptr<Poller> poller_;            // outlives the pools, which close their connections through it
  std::unique_ptr<Lookups> lookups_;          // outlives the pools
  std::vector<std::unique_ptr<Pool>> pools_;  // the last is the current one
  std::vector<HttpResponse> finished_;
};

}  // namespace webhook
