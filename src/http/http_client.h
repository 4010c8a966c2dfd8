// Sends HTTP requests, many at once, without ever blocking. The worker sees this interface; curl_client.h
// implements it with libcurl, and the unit tests with a fake.
//
// One thread, one event loop: the owner waits until fd() is readable or timeout() has passed, calls drive(), and
// takes what has finished with take_finished(). No call blocks, none calls PostgreSQL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/address_policy.h"
#include "core/port_list.h"
#include "core/time.h"

namespace webhook {

struct HttpRequest {
  std::uint64_t token = 0;  // the caller's; comes back in the response
  std::string url;
  std::string headers;                      // "Name: value" lines parted by CR LF; Content-Type comes first
  std::vector<std::string> custom_headers;  // "Name: value" each, without line ends
  std::shared_ptr<const std::string> body;  // nothing: empty. Shared with the caller, so that there is one copy
  Duration timeout{};                       // from start() to the end of the response
};

// How a transfer ended. Everything but kResponse means that no complete response came.
enum class HttpOutcome : std::uint8_t {
  kResponse,      // a complete response, whatever its status
  kTimeout,       // no complete response within the timeout
  kDns,           // the host name was not resolved
  kConnect,       // nothing accepted the connection
  kTls,           // the handshake or the certificate's verification failed
  kBlocked,       // the policy refused every address of the host, or its port
  kBadUrl,        // the URL is not one that may be called
  kDisconnected,  // the connection broke after it was made
  kOversized,     // headers or body passed their bound; status is set if it had come
  kOther,
};

struct HttpResponse {
  std::uint64_t token = 0;
  HttpOutcome outcome = HttpOutcome::kOther;
  int status = 0;             // 0: none came
  std::string body;           // at most HttpSettings::response_body_bytes_max bytes, as they came: any bytes at all
  std::string error;          // for an administrator to read, in words of ours; empty for kResponse
  std::string remote_ip;      // the address connected to; empty: none was, or a proxy's
  std::string retry_after;    // the header's value, empty: none
  std::string redirect_host;  // that a 3xx's Location names; empty: there is none
  std::string encoding;       // by which the body came compressed, though nobody had asked for that; empty: it did not
  Duration elapsed{};         // from start() to the end
};

struct HttpSettings {
  AddressPolicy address_policy;  // judges each address when a socket to it is opened
  PortList allowed_ports = all_ports();
  bool allow_http = false;  // plain http:// too
  std::string ca_file;      // PEM bundle; empty: libcurl's default
  std::string proxy;        // empty: none, whatever the environment says
  std::string user_agent;
  std::size_t response_body_bytes_max = 4096;
  Duration connect_timeout{std::chrono::seconds(5)};
  // Connections that are kept, idle ones included: each is a descriptor. Endpoints beyond them are connected to anew.
  std::size_t connections_max = 256;

  bool operator==(const HttpSettings&) const = default;
};

class HttpClient {
 public:
  virtual ~HttpClient() = default;

  // Applies to the requests started from now on, and may be called as often as anybody likes.
  virtual void configure(const HttpSettings& settings) = 0;

  // Hands the request over. It makes progress in drive() only. A request that can't even begin finishes, with its
  // outcome, like any other.
  virtual void start(HttpRequest request) = 0;

  // Readable when drive() has something to do.
  virtual int fd() const = 0;

  // How long the owner may wait before it calls drive() though fd() stays silent; nothing: for ever.
  virtual std::optional<Duration> timeout() const = 0;

  // Moves every transfer on that can be moved.
  virtual void drive() = 0;

  // What has finished since the last call, in the order in which it did.
  virtual std::vector<HttpResponse> take_finished() = 0;

  // Started and not yet taken.
  virtual std::size_t in_flight() const = 0;
};

}  // namespace webhook
