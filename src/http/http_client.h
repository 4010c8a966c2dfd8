// Sends many HTTP requests at once without blocking. The worker uses this interface. curl_client.h implements it with
// libcurl, and the unit tests implement it with a fake.
//
// One thread, one event loop: the owner waits until fd() is readable or timeout() has passed, calls drive(), and takes
// the finished requests with take_finished(). No call blocks or calls PostgreSQL.
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
#include "http/url.h"

namespace webhook {

struct HttpRequest {
  std::uint64_t token = 0;  // chosen by the caller; returned in the response
  RequestUrl url;
  std::string headers;                      // "Name: value" lines separated by CR LF; Content-Type comes first
  std::vector<std::string> custom_headers;  // "Name: value" each, without line ends
  std::shared_ptr<const std::string> body;  // null: empty; shared with the caller, so that there is one copy
  Duration timeout{};                       // from start() to the end of the response
  bool keeps_all_headers = false;           // HttpResponse::headers also of a 2xx response
};

// How a transfer ended. Any outcome but kResponse means that no complete response came.
enum class HttpOutcome : std::uint8_t {
  kResponse,      // a complete response, whatever its status
  kTimeout,       // no complete response within the timeout
  kDns,           // the host name was not resolved
  kConnect,       // nothing accepted the connection
  kTls,           // the handshake or the certificate's verification failed
  kBlocked,       // the policy refused every address of the host, or its port
  kBadUrl,        // the URL may not be called
  kDisconnected,  // the connection broke after it was made
  kOversized,     // headers or body exceeded their bound; status is set if it was received
  kOther,
};

struct HttpResponse {
  std::uint64_t token = 0;
  HttpOutcome outcome = HttpOutcome::kOther;
  int status = 0;    // 0: no response
  std::string body;  // the first HttpSettings::response_body_bytes_max bytes, unchecked: any bytes at all
  // The response's headers, as storable_headers() makes them. Empty for a complete 2xx response, unless
  // HttpRequest::keeps_all_headers.
  std::string headers;
  std::string error;          // a message for an administrator; empty for kResponse
  std::string remote_ip;      // the address connected to; empty: no connection, or through a proxy
  std::string retry_after;    // the header's value; empty: none
  std::string redirect_host;  // the host in a 3xx's Location; empty: none
  std::string encoding;       // the encoding of a body that came compressed, though not requested; empty: none
  Duration elapsed{};         // from start() to the end
};

struct HttpSettings {
  AddressPolicy address_policy;  // checks each address when a socket to it is opened
  PortList allowed_ports = all_ports();
  bool allow_http = false;  // also allow plain http://
  std::string ca_file;      // PEM bundle; empty: libcurl's default
  std::string proxy;        // empty: none, even if the environment names one
  std::string user_agent;
  std::size_t response_body_bytes_max = 4096;
  Duration connect_timeout{std::chrono::seconds(5)};
  // How many connections are kept, including idle ones. Each is a descriptor. Requests to further endpoints open a new
  // one.
  std::size_t connections_max = 256;

  bool operator==(const HttpSettings&) const = default;
};

class HttpClient {
 public:
  virtual ~HttpClient() = default;

  // Applies to the requests started from now on. May be called any number of times.
  virtual void configure(const HttpSettings& settings) = 0;

  // Hands the request over. It makes progress only in drive(). A request that can't begin still finishes with an
  // outcome.
  virtual void start(HttpRequest request) = 0;

  // Readable when drive() has something to do.
  virtual int fd() const = 0;

  // How long the owner may wait before it calls drive() if fd() does not become readable. Nothing: forever.
  virtual std::optional<Duration> timeout() const = 0;

  // Makes progress on every transfer that can.
  virtual void drive() = 0;

  // The requests finished since the last call, in the order in which they finished.
  virtual std::vector<HttpResponse> take_finished() = 0;

  // The number of requests started and not yet taken.
  virtual std::size_t in_flight() const = 0;
};

}  // namespace webhook
