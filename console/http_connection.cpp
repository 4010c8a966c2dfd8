#include "console/http_connection.h"

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>

#include "console/log.h"

namespace webhook::console {
namespace {

namespace http = boost::beast::http;
using Error = boost::system::error_code;

// A body of a refused request that is as small is read, so that the connection lives on.
constexpr std::size_t kSmallBodyBytes = 16UL << 10;
// A client that still sends is read for so long and so much, so that it sees the answer.
constexpr std::chrono::seconds kLinger{2};
constexpr std::size_t kLingerBytesMax = 8UL << 20;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

void append_line(std::string& text, boost::beast::string_view name, boost::beast::string_view value) {
  text.append(name.data(), name.size()).append(": ").append(value.data(), value.size()).append("\r\n");
}

std::string serialized(const HttpResponse& response, bool with_body) {
  const auto reason = response.reason();
  std::string text = "HTTP/1.1 " + std::to_string(response.result_int()) + " ";
  text.append(reason.data(), reason.size()).append("\r\n");
  for (const auto& field : response) append_line(text, field.name_string(), field.value());
  text += "\r\n";
  if (with_body) text += response.body();
  return text;
}

}  // namespace

HttpConnection::HttpConnection(boost::asio::io_context& io, HttpServer& server, std::unique_ptr<ByteStream> stream,
                               std::string peer)
    : server_(server), stream_(std::move(stream)), peer_(std::move(peer)), deadline_(io) {
  server_.add(*this);
}

HttpConnection::~HttpConnection() { server_.remove(*this); }

void HttpConnection::start() {
  limit(server_.timeouts().header);
  stream_->handshake([self = shared_from_this()](Error error, std::size_t) {
    if (!error) self->read_request(self->server_.timeouts().header);
  });
}

void HttpConnection::close() {
  is_closed_ = true;
  deadline_.cancel();
  stream_->close();
}

// For all that comes until the next call. The timer holds the connection only weakly, and so never keeps it alive.
void HttpConnection::limit(std::chrono::milliseconds time) {
  deadline_.expires_after(time);
  deadline_.async_wait([weak = weak_from_this()](Error error) {
    const auto self = weak.lock();
    if (!error && self) self->close();
  });
}

void HttpConnection::read_request(std::chrono::milliseconds time) {
  parser_.emplace();
  parser_->header_limit(kHeaderBytesMax);
  parser_->body_limit(kBodyBytesMax);
  // First the header alone.
  parser_->eager(false);
  is_idle_ = true;
  is_judged_ = false;
  limit(time);
  if (buffer_.size() > 0) {
    parse();
  } else {
    read();
  }
}

void HttpConnection::read() {
  if (is_closed_) return;
  if (buffer_.size() == buffer_.max_size()) {
    refuse(http::error::header_limit);
    return;
  }
  stream_->read_some(buffer_.prepare(buffer_.max_size() - buffer_.size()),
                     [self = shared_from_this()](Error error, std::size_t bytes) {
                       if (error) return;  // gone, or too slow
                       self->buffer_.commit(bytes);
                       self->parse();
                     });
}

void HttpConnection::parse() {
  while (buffer_.size() > 0 && !parser_->is_done() && (is_judged_ || !parser_->is_header_done())) {
    Error error;
    const std::size_t used = parser_->put(boost::asio::const_buffer(buffer_.data()), error);
    buffer_.consume(used);
    if (error == http::error::need_more) {
      error = {};
      if (used == 0 && !parser_->is_done()) break;
    }
    if (error) {
      refuse(error);
      return;
    }
  }
  if (parser_->is_header_done() && !is_judged_) {
    judge();
  } else if (parser_->is_done()) {
    handle();
  } else {
    read();
  }
}

void HttpConnection::refuse(Error error) {
  if (error == http::error::body_limit) {
    write_and_close(server_.service().refuse(413, "the body of the request is too large"));
  } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    write_and_close(server_.service().refuse(431, "the header of the request is larger than 16 kB"));
  } else {
    write_and_close(server_.service().refuse(400, "the request is not HTTP/1.1"));
  }
}

void HttpConnection::judge() {
  is_idle_ = false;
  is_judged_ = true;
  if (has_unknown_coding()) {
    refuse(http::error::bad_transfer_encoding);
    return;
  }
  server_.awaits_client(*this);
  limit(server_.timeouts().body);
  Service::Judged judged = server_.service().judge(parser_->get().base(), peer_);
  admitted_ = std::move(judged.admitted);
  refusal_ = std::move(judged.refusal);
  if (refusal_ && (parser_->chunked() || content_length() > kSmallBodyBytes)) {
    write_and_close(std::move(*refusal_));
    return;
  }
  // Only who may call makes us hold a body.
  if (!refusal_ && admitted_->route.kind != Route::Kind::call &&
      (parser_->chunked() || content_length() > kSmallBodyBytes)) {
    refuse(http::error::body_limit);
    return;
  }
  parser_->eager(true);
  if (!refusal_ && !parser_->is_done() && parser_->get()[http::field::expect] == "100-continue") {
    stream_->write(boost::asio::buffer(kContinue.data(), kContinue.size()),
                   [self = shared_from_this()](Error error, std::size_t) {
                     if (!error) self->parse();
                   });
    return;
  }
  parse();
}

// Whether the body comes in another coding than chunked. The parser would take the request to have none, and the body
// for the next request, which a proxy in between has not judged (RFC 9112, section 6.3).
bool HttpConnection::has_unknown_coding() const {
  const auto& header = parser_->get();
  const auto [first, end] = header.equal_range(http::field::transfer_encoding);
  if (first == end) return false;
  return std::next(first) != end || !boost::beast::iequals(first->value(), "chunked");
}

// What the header says; 0 if it says nothing, or chunks are to come.
std::uint64_t HttpConnection::content_length() const { return parser_->content_length().value_or(0); }

void HttpConnection::handle() {
  if (refusal_) {
    write(std::move(*std::exchange(refusal_, std::nullopt)));
    return;
  }
  // The database's own limits bound the time.
  deadline_.cancel();
  is_calling_ = true;
  auto& request = parser_->get();
  server_.service().handle(*admitted_, request.base(), request.body(),
                           [self = shared_from_this()](HttpResponse response) { self->write(std::move(response)); });
}

void HttpConnection::write_and_close(HttpResponse response) {
  response.set(http::field::connection, "close");
  write(std::move(response));
}

void HttpConnection::write(HttpResponse response) {
  if (is_closed_) return;
  is_idle_ = false;
  is_calling_ = false;
  const auto& request = parser_->get();
  const bool is_head = request.method() == http::verb::head;
  const bool is_cut_off = response.count(http::field::connection) > 0;
  const bool keeps_alive = !is_cut_off && request.keep_alive() && request.version() == 11;
  if (response.result_int() >= 400) log(response);
  response.erase("X-Code");
  if (!keeps_alive) response.set(http::field::connection, "close");
  response.set(http::field::server, "webhook-console");
  if (response.result() != http::status::not_modified)
    response.set(http::field::content_length, std::to_string(response.body().size()));
  written_ = serialized(response, !is_head);
  server_.awaits_client(*this);
  limit(server_.timeouts().write);
  stream_->write(boost::asio::buffer(written_), [self = shared_from_this(), keeps_alive](Error error, std::size_t) {
    if (!error) self->written(keeps_alive);
  });
}

void HttpConnection::written(bool keeps_alive) {
  written_ = {};
  admitted_.reset();
  if (keeps_alive) {
    is_idle_ = true;
    server_.answered(*this);
    if (!is_closed_) read_request(server_.timeouts().idle);
    return;
  }
  limit(kLinger);
  stream_->shut_down();
  linger();
}

void HttpConnection::linger() {
  buffer_.clear();
  stream_->read_some(buffer_.prepare(buffer_.max_size()), [self = shared_from_this()](Error error, std::size_t bytes) {
    self->lingered_ += bytes;
    if (!error && self->lingered_ < kLingerBytesMax) self->linger();
  });
}

void HttpConnection::log(const HttpResponse& response) {
  const auto& request = parser_->get();
  const auto target = request.target();
  const auto method = request.method_string();
  const auto code = response["X-Code"];
  const std::string_view path = std::string_view(target.data(), target.size()).substr(0, target.find('?'));
  log_line(std::string(method.data(), method.size()) + " " + log_escaped(path, 128) + " " +
           std::to_string(response.result_int()) + " " + std::string(code.data(), code.size()));
}

}  // namespace webhook::console
