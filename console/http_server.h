// Accepts connections, reads requests within bounds of size and time, and writes what the service answers.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "console/byte_stream.h"
#include "console/options.h"
#include "console/service.h"

namespace webhook::console {

inline constexpr std::size_t kHttpConnectionsMax = 256;
// Of all answers that clients have not taken yet.
inline constexpr std::size_t kUnsentBytesMax = 128UL << 20;

struct HttpTimeouts {
  std::chrono::milliseconds header{15'000};  // for a whole header, and for a TLS handshake
  std::chrono::milliseconds idle{60'000};    // for the next request, its header included
  std::chrono::milliseconds body{20'000};    // for a whole body
  std::chrono::milliseconds write{30'000};   // for a whole response
};

class HttpConnection;

class HttpServer {
 public:
  // Listens. Throws std::runtime_error, which says what is wrong.
  HttpServer(boost::asio::io_context& io, const Options& options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  unsigned short port() const { return port_; }  // 0 of a Unix socket
  void start(Service& service);
  // Accepts no more, and calls `then` when what has been asked is answered.
  void stop(std::function<void()> then);

  Service& service() { return *service_; }
  const HttpTimeouts& timeouts() const { return timeouts_; }
  // Connections enter themselves and take themselves off.
  void add(HttpConnection& connection);
  void remove(HttpConnection& connection);
  // From now on it waits for its client: for a body, or for an answer to be taken.
  void awaits_client(HttpConnection& connection);
  void answered(HttpConnection& connection);

 private:
  void accept_next();
  void accepted(boost::system::error_code error);
  void serve(StreamSocket socket, std::string peer);
  void listen_on_path(const std::string& path);

  boost::asio::io_context& io_;
  const Options& options_;
  HttpTimeouts timeouts_;
  std::optional<boost::asio::ssl::context> tls_;
  boost::asio::ip::tcp::acceptor tcp_acceptor_;
  boost::asio::ip::tcp::endpoint tcp_peer_;  // of the connection that is being accepted
  boost::asio::local::stream_protocol::acceptor unix_acceptor_;
  boost::asio::steady_timer pause_;
  Service* service_ = nullptr;
  unsigned short port_ = 0;
  bool is_accepting_ = false;
  std::list<HttpConnection*> connections_;  // at the end are those that have waited for their clients least
  std::function<void()> stopped_;
};

}  // namespace webhook::console
