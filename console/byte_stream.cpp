#include "console/byte_stream.h"

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace webhook::console {
namespace {

using Error = boost::system::error_code;

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(StreamSocket socket) : socket_(std::move(socket)) {}

  void handshake(Handler handler) override {
    boost::asio::post(socket_.get_executor(), [handler = std::move(handler)] { handler({}, 0); });
  }
  void read_some(boost::asio::mutable_buffer buffer, Handler handler) override {
    socket_.async_read_some(buffer, std::move(handler));
  }
  void write(boost::asio::const_buffer buffer, Handler handler) override {
    boost::asio::async_write(socket_, buffer, std::move(handler));
  }
  void shut_down() override {
    Error ignored;
    socket_.shutdown(boost::asio::socket_base::shutdown_send, ignored);
  }
  void close() override {
    Error ignored;
    socket_.close(ignored);
  }

 private:
  StreamSocket socket_;
};

class TlsStream final : public ByteStream {
 public:
  TlsStream(StreamSocket socket, boost::asio::ssl::context& context) : stream_(std::move(socket), context) {}

  void handshake(Handler handler) override {
    stream_.async_handshake(boost::asio::ssl::stream_base::server,
                            [handler = std::move(handler)](const Error& error) { handler(error, 0); });
  }
  void read_some(boost::asio::mutable_buffer buffer, Handler handler) override {
    stream_.async_read_some(buffer, std::move(handler));
  }
  void write(boost::asio::const_buffer buffer, Handler handler) override {
    boost::asio::async_write(stream_, buffer, std::move(handler));
  }
  // Without close_notify: each response says its length.
  void shut_down() override {
    Error ignored;
    stream_.next_layer().shutdown(boost::asio::socket_base::shutdown_send, ignored);
  }
  void close() override {
    Error ignored;
    stream_.next_layer().close(ignored);
  }

 private:
  boost::asio::ssl::stream<StreamSocket> stream_;
};

}  // namespace

std::unique_ptr<ByteStream> plain_stream(StreamSocket socket) {
  return std::make_unique<PlainStream>(std::move(socket));
}

std::unique_ptr<ByteStream> tls_stream(StreamSocket socket, boost::asio::ssl::context& context) {
  return std::make_unique<TlsStream>(std::move(socket), context);
}

}  // namespace webhook::console
