// HttpClient by libcurl's multi interface, with sockets in an epoll fd of its own. transfer.h has what concerns one
// request, poller.h the sockets; here they are moved on together.
//
// Surprising: a configure() that changes anything starts over with a new multi handle, and with it new connections, DNS
// and TLS caches. A connection made under other settings (another CA file, policy or proxy, or the same CA file with other
// contents) is then never used again, whatever libcurl compares; requests under way end on the old handle, which goes with
// its last. One that changes nothing, or only how many connections are kept, changes nothing: descriptors do not grow with
// the server's reloads.
//
// Linux. The process must ignore SIGPIPE, as PostgreSQL's do. A std::bad_alloc from drive() leaves it fit only to be
// destroyed.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "http/http_client.h"

namespace webhook {

class Lookups;
class Poller;

// Makes libcurl ready; once per process that sends, never in the postmaster: what libcurl and its TLS library set up
// must not be shared by a fork. Throws std::runtime_error if libcurl is unfit: too old, no TLS, or resolving in the
// foreground.
void init_http();

class CurlClient final : public HttpClient {
 public:
  // After init_http(). Throws std::system_error, std::runtime_error, std::bad_alloc.
  explicit CurlClient(const HttpSettings& settings);
  // Drops what is in flight.
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

  std::unique_ptr<Poller> poller_;            // outlives the pools: they close their connections through it
  std::unique_ptr<Lookups> lookups_;          // outlives the pools too
  std::vector<std::unique_ptr<Pool>> pools_;  // the last is the current one
  std::vector<HttpResponse> finished_;
};

}  // namespace webhook
