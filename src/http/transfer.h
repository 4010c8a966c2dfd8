// One request in libcurl: an easy handle with its constant options, the data that the handle points to, the callbacks
// that receive the response within bounds, and a description of the outcome. curl_client.cpp owns and drives the
// transfers. It reuses a transfer for many requests, because a new easy handle costs about 5 µs. A transfer is reused
// only while its requests succeed. After a failure libcurl keeps state in the handle, such as its count of retries,
// that neither curl_easy_reset() nor a later success clears completely.
//
// Surprising: a response can count as complete before its end. If the body exceeds the stored part by more than 64 kB,
// the transfer is aborted and counts as answered, because the caller needs only the status.
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
  // What is kept of them for HttpResponse::headers. A long field leaves room for the others.
  static constexpr std::size_t kKeptFieldBytesMax = 256;
  static constexpr std::size_t kKeptHeaderBytesMax = 2048;

  // The arguments must outlive the transfer. The poller must also outlive the connections, which stay in the multi
  // handle's cache. Throws std::bad_alloc, and std::runtime_error if libcurl lacks an option.
  Transfer(const HttpSettings& settings, Poller& poller, Lookups& lookups);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer();

  // Sets the handle up for the request. On any code but CURLE_OK the request can't be sent. Call finish() with that
  // code.
  CURLcode begin(HttpRequest request, SteadyTime now);

  // Returns the response. Call it after removing the handle from the multi handle. Afterwards the transfer is ready for
  // another begin() if is_reusable().
  HttpResponse finish(CURLcode code, SteadyTime now);

  // Whether the handle keeps no state of the finished request.
  bool is_reusable() const noexcept { return is_reusable_; }

  CURL* easy() const noexcept { return easy_.get(); }
  static Transfer* of(CURL* easy) noexcept;

  // Notes that libcurl waits for bytes on the socket. Until the TLS handshake is over, this is the only sign that TCP
  // is connected, because what CURLINFO_ values tell by then depends on the version of libcurl.
  void waits_for_bytes(curl_socket_t socket) noexcept { awaits_peer_ |= socket == socket_; }

  std::size_t position = 0;  // in the active transfers of curl_client.cpp, which sets it

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
  void keep_field(std::string_view line);
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

  // The easy handle points to these.
  std::string user_agent_;  // the whole header line
  HttpRequest request_;
  std::vector<curl_slist> header_list_;
  std::array<char, CURL_ERROR_SIZE> error_buffer_{};

  bool is_reusable_ = true;
  bool begun_ = false;  // if not, libcurl's information is about the previous request
  SteadyTime started_{};
  long timeout_ms_ = 0;
  long connect_timeout_ms_ = 0;

  // What was received.
  HttpResponse response_;
  std::size_t header_bytes_ = 0;
  std::string kept_fields_;  // keeps its memory from request to request
  std::size_t body_bytes_ = 0;
  bool in_headers_ = false;
  bool headers_oversized_ = false;
  bool is_transfer_encoded_ = false;  // with another encoding than chunked, though not requested
  bool body_cut_ = false;
  std::string location_;
  std::string length_;          // the value of Content-Length
  bool is_length_bad_ = false;  // not a number, or two different ones; some versions of libcurl accept that

  bool looks_up_ = false;                                   // a look-up of the host's name is running
  Lookups::Start lookup_start_ = Lookups::Start::kStarted;  // why a look-up was not started

  // The last address that a socket was opened for, and the last refusal.
  std::string_view refusal_;  // empty: none was refused
  int refused_port_ = 0;      // 0: it was the address
  curl_socket_t socket_ = -1;
  bool awaits_peer_ = false;
  IpAddress address_;
  int port_ = 0;
  int sockets_opened_ = 0;
  int attempts_ = 0;      // to send the request; libcurl makes another one if a kept connection turns out to be dead
  int socket_errno_ = 0;  // why a socket could not be made: a problem of this machine, not of the peer

  std::unique_ptr<CURL, FreeEasy> easy_;  // last, so that it is destroyed before the data it points to
};

}  // namespace webhook
