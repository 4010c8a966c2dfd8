// One request on its way through libcurl: an easy handle with its constant options, what the handle points to, the
// callbacks that receive the response within bounds, and what became of it in words. curl_client.cpp keeps these and
// moves them on; it uses one for many requests, since a new easy handle costs about 5 µs. Only as long as they go well: of
// what goes otherwise libcurl keeps state in the handle, such as its count of retries, which even curl_easy_reset() or a
// later success leave there in part.
//
// Surprising: a response can be complete without its end. When the body goes on past what is stored and 64 kB more, the
// transfer is aborted and counts as answered, since the status is what the caller asked for.
#pragma once

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/address_policy.h"
#include "http/http_client.h"
#include "http/lookups.h"
#include "http/poller.h"

namespace webhook {

using SteadyTime = std::chrono::steady_clock::time_point;

class Transfer {
 public:
  static constexpr std::size_t kDiscardedBodyBytesMax = 64 * 1024;
  static constexpr std::size_t kHeaderBytesMax = 64 * 1024;

  // All outlive it. The poller outlives the connections too, which stay in the multi handle's cache. Throws
  // std::bad_alloc, and std::runtime_error if libcurl lacks an option.
  Transfer(const HttpSettings& settings, Poller& poller, Lookups& lookups);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer();

  // Sets the handle up for the request. On any code but CURLE_OK the request can't be sent: finish() with that code.
  CURLcode begin(HttpRequest request, SteadyTime now);

  // The response, after the handle was taken out of the multi handle. Then the transfer is ready for another begin(), if
  // is_reusable().
  HttpResponse finish(CURLcode code, SteadyTime now);

  // Nothing of the request that finished lives on in the handle.
  bool is_reusable() const noexcept { return is_reusable_; }

  CURL* easy() const noexcept { return easy_.get(); }
  static Transfer* of(CURL* easy) noexcept;

  // libcurl waits for bytes on the socket. Only so is it known, before the TLS handshake is over, that TCP connected:
  // what CURLINFO_ tells by then differs from version to version.
  void waits_for_bytes(curl_socket_t socket) noexcept { awaits_peer_ |= socket == socket_; }

  std::size_t position = 0;  // among the active ones; curl_client.cpp's

 private:
  struct FreeEasy {
    void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
  };
  struct Failure {
    HttpOutcome outcome;
    std::string error;
  };

  static int on_attempt(void* transfer, char*, char*, int, int) noexcept;
  static int on_lookup(void* resolver, void* reserved, void* transfer) noexcept;
  static curl_socket_t on_open_socket(void* transfer, curlsocktype purpose, curl_sockaddr* address) noexcept;
  static int on_close_socket(void* poller, curl_socket_t socket) noexcept;
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* transfer) noexcept;
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* transfer) noexcept;

  void set_constant_options();
  void set_trust();
  bool link_headers();
  curl_socket_t open_socket(const curl_sockaddr& address) noexcept;
  bool start_lookup();
  void end_lookup(bool answered);
  void read_header(std::string_view line);
  void read_field(std::string_view line);
  void reset();

  Failure failure(CURLcode code) const;
  Failure connect_failure() const;
  Failure timeout_failure() const;
  std::optional<Failure> tunnel_failure(CURLcode code) const;
  std::string tls_problem(CURLcode code) const;
  std::string format_problem(CURLcode code) const;
  Failure url_failure(CURLcode code) const;
  Failure disconnect_failure() const;
  std::string peer() const;
  std::string host() const;
  std::string curl_message(CURLcode code) const;
  long proxy_refusal() const;
  bool makes_tunnel() const;
  bool awaits_tunnel() const;
  bool awaits_handshake() const;
  bool was_connected() const;
  bool request_was_sent() const;

  const HttpSettings& settings_;
  Poller& poller_;
  Lookups& lookups_;

  // What the easy handle points to.
  std::string user_agent_;  // the header
  HttpRequest request_;
  std::vector<curl_slist> header_list_;
  std::array<char, CURL_ERROR_SIZE> error_buffer_{};

  bool is_reusable_ = true;
  bool begun_ = false;  // else what libcurl knows is of the request before
  SteadyTime started_{};
  long timeout_ms_ = 0;
  long connect_timeout_ms_ = 0;

  // What came.
  HttpResponse response_;
  std::size_t header_bytes_ = 0;
  std::size_t body_bytes_ = 0;
  bool in_headers_ = false;
  bool headers_oversized_ = false;
  bool is_transfer_encoded_ = false;  // by more than chunks, though nobody had asked for that
  bool body_cut_ = false;
  std::string location_;
  std::string length_;          // what Content-Length says
  bool is_length_bad_ = false;  // no number, or another one than before: some versions of libcurl would take it

  // A look-up of the host's name: whether one runs, and why one was not started.
  bool looks_up_ = false;
  Lookups::Verdict lookup_verdict_ = Lookups::Verdict::kStarted;

  // The last address that a socket was opened for, and the last one refused.
  std::string_view refusal_;  // empty: none was refused
  int refused_port_ = 0;      // 0: it was the address
  curl_socket_t socket_ = -1;
  bool awaits_peer_ = false;
  IpAddress address_;
  int port_ = 0;
  int sockets_opened_ = 0;
  int attempts_ = 0;  // at sending the request; libcurl makes another one if a connection that was kept turns out dead
  int socket_errno_ = 0;  // a socket could not be made: our own trouble, not the peer's

  std::unique_ptr<CURL, FreeEasy> easy_;  // the first to go
};

}  // namespace webhook
