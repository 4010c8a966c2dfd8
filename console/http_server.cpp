#include "console/http_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <stdexcept>
#include <utility>

#include "console/http_connection.h"
#include "console/log.h"

namespace webhook::console {
namespace {

using Error = boost::system::error_code;
using boost::asio::ip::tcp;
using Local = boost::asio::local::stream_protocol;

std::string text_of(const boost::asio::ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6()).to_string();
  return address.to_string();
}

boost::asio::ssl::context tls_context(const Options& options) {
  boost::asio::ssl::context context(boost::asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  Error error;
  context.use_certificate_chain_file(options.tls_certificate, error);
  if (error)
    throw std::runtime_error("cannot use the certificate in " + options.tls_certificate + ": " + error.message());
  context.use_private_key_file(options.tls_key, boost::asio::ssl::context::pem, error);
  if (error) throw std::runtime_error("cannot use the private key in " + options.tls_key + ": " + error.message());
  return context;
}

}  // namespace

HttpServer::HttpServer(boost::asio::io_context& io, const Options& options)
    : io_(io), options_(options), tcp_acceptor_(io), unix_acceptor_(io), pause_(io) {
  if (!options.tls_key.empty()) tls_ = tls_context(options);
  if (!options.listen_path.empty()) {
    listen_on_path(options.listen_path);
    return;
  }
  try {
    const tcp::endpoint endpoint(boost::asio::ip::make_address(options.listen_address), options.listen_port);
    tcp_acceptor_.open(endpoint.protocol());
    tcp_acceptor_.set_option(tcp::acceptor::reuse_address(true));
    tcp_acceptor_.bind(endpoint);
    tcp_acceptor_.listen();
    port_ = tcp_acceptor_.local_endpoint().port();
  } catch (const boost::system::system_error& error) {
    throw std::runtime_error("cannot listen on " + options.listen_address + " port " +
                             std::to_string(options.listen_port) + ": " + error.code().message());
  }
}

HttpServer::~HttpServer() {
  if (unix_acceptor_.is_open()) ::unlink(options_.listen_path.c_str());
}

void HttpServer::listen_on_path(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) throw std::runtime_error(path + " exists, and is not a socket");
    Local::socket probe(io_);
    Error error;
    probe.connect(Local::endpoint(path), error);
    if (!error) throw std::runtime_error("another program listens on " + path);
    ::unlink(path.c_str());
  }
  const mode_t mask = ::umask(0117);
  Error error;
  unix_acceptor_.open(Local(), error);
  if (!error) unix_acceptor_.bind(Local::endpoint(path), error);
  ::umask(mask);
  if (!error) unix_acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) {
    Error ignored;
    unix_acceptor_.close(ignored);
    throw std::runtime_error("cannot listen on " + path + ": " + error.message());
  }
}

void HttpServer::start(Service& service) {
  service_ = &service;
  accept_next();
}

void HttpServer::accept_next() {
  if (is_accepting_ || stopped_) return;
  if (connections_.size() >= kHttpConnectionsMax) {
    // The one that has waited for its client for longest makes room. So clients that send or read slowly keep nobody out.
    const auto slowest =
        std::find_if(connections_.begin(), connections_.end(), [](auto* c) { return c->awaits_client(); });
    if (slowest != connections_.end()) (*slowest)->close();
    return;
  }
  is_accepting_ = true;
  if (unix_acceptor_.is_open()) {
    unix_acceptor_.async_accept([this](Error error, Local::socket socket) {
      if (!error) serve(StreamSocket(std::move(socket)), "unix");
      accepted(error);
    });
    return;
  }
  tcp_acceptor_.async_accept(tcp_peer_, [this](Error error, tcp::socket socket) {
    if (!error) {
      Error ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      serve(StreamSocket(std::move(socket)), text_of(tcp_peer_.address()));
    }
    accepted(error);
  });
}

void HttpServer::accepted(Error error) {
  is_accepting_ = false;
  if (stopped_ || error == boost::asio::error::operation_aborted) return;
  if (!error) {
    accept_next();
    return;
  }
  // Such as: too many open files.
  log_line("cannot accept a connection: " + error.message());
  pause_.expires_after(std::chrono::milliseconds(200));
  pause_.async_wait([this](Error cancelled) {
    if (!cancelled) accept_next();
  });
}

void HttpServer::serve(StreamSocket socket, std::string peer) {
  auto stream = tls_ ? tls_stream(std::move(socket), *tls_) : plain_stream(std::move(socket));
  std::make_shared<HttpConnection>(io_, *this, std::move(stream), std::move(peer))->start();
}

void HttpServer::add(HttpConnection& connection) { connections_.push_back(&connection); }

void HttpServer::remove(HttpConnection& connection) {
  connections_.remove(&connection);
  if (stopped_) {
    if (connections_.empty()) boost::asio::post(io_, stopped_);
  } else {
    boost::asio::post(io_, [this] { accept_next(); });
  }
}

void HttpServer::awaits_client(HttpConnection& connection) {
  const auto found = std::find(connections_.begin(), connections_.end(), &connection);
  connections_.splice(connections_.end(), connections_, found);
  std::size_t unsent = 0;
  for (auto other = connections_.rbegin(); other != connections_.rend(); ++other) {
    unsent += (*other)->unsent_bytes();
    if (unsent > kUnsentBytesMax && (*other)->unsent_bytes() > 0) (*other)->close();
  }
  // It may be the first that can make room.
  if (!is_accepting_) boost::asio::post(io_, [this] { accept_next(); });
}

void HttpServer::answered(HttpConnection& connection) {
  awaits_client(connection);
  if (stopped_) connection.close();
}

void HttpServer::stop(std::function<void()> then) {
  stopped_ = std::move(then);
  Error ignored;
  tcp_acceptor_.close(ignored);
  if (unix_acceptor_.is_open()) {
    unix_acceptor_.close(ignored);
    ::unlink(options_.listen_path.c_str());
  }
  for (HttpConnection* connection : connections_) {
    if (connection->is_idle()) connection->close();
  }
  if (connections_.empty()) boost::asio::post(io_, stopped_);
}

}  // namespace webhook::console
