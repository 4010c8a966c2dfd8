// One connection of a client. It reads one request after the other, within bounds of size and time, and keeps itself
// alive by the operation that is underway.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_static_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "console/byte_stream.h"
#include "console/http_server.h"
#include "console/service.h"

namespace webhook::console {

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  // `peer` is an IP address, or "unix".
  HttpConnection(boost::asio::io_context& io, HttpServer& server, std::unique_ptr<ByteStream> stream, std::string peer);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  void start();
  // Whether nothing has been asked that is not answered.
  bool is_idle() const { return is_idle_; }
  // Whether the client is what it waits for: to send its request, or to take the answer.
  bool awaits_client() const { return !is_calling_; }
  // Of the answer that is underway.
  std::size_t unsent_bytes() const { return written_.size(); }
  void close();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  void limit(std::chrono::milliseconds time);
  void read_request(std::chrono::milliseconds time);
  void read();
  void parse();
  void refuse(boost::system::error_code error);
  void judge();
  bool has_unknown_coding() const;
  std::uint64_t content_length() const;
  void handle();
  void write_and_close(HttpResponse response);
  void write(HttpResponse response);
  void written(bool keeps_alive);
  void linger();
  void log(const HttpResponse& response);

  HttpServer& server_;
  std::unique_ptr<ByteStream> stream_;
  std::string peer_;
  boost::asio::steady_timer deadline_;
  boost::beast::flat_static_buffer<kHeaderBytesMax + 1024> buffer_;
  std::optional<Parser> parser_;
  std::unique_ptr<Service::Admitted> admitted_;
  std::optional<HttpResponse> refusal_;
  std::string written_;
  std::size_t lingered_ = 0;
  bool is_idle_ = true;
  bool is_judged_ = false;
  bool is_calling_ = false;  // the service answers
  bool is_closed_ = false;
};

}  // namespace webhook::console
