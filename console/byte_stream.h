// A connection's bytes, whatever carries them: TCP, a Unix socket or TLS. It keeps Asio's templates in one file.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>
#include <functional>
#include <memory>

namespace webhook::console {

// One operation at a time in each direction. Its handler is called once, later, and not from within the call that begins
// it. The handler keeps the stream alive.
class ByteStream {
 public:
  using Handler = std::function<void(boost::system::error_code, std::size_t)>;

  virtual ~ByteStream() = default;
  // Before anything else.
  virtual void handshake(Handler handler) = 0;
  virtual void read_some(boost::asio::mutable_buffer buffer, Handler handler) = 0;
  // All of it.
  virtual void write(boost::asio::const_buffer buffer, Handler handler) = 0;
  // Says that nothing more will be written.
  virtual void shut_down() = 0;
  // Ends the operations that are underway.
  virtual void close() = 0;
};

using StreamSocket = boost::asio::generic::stream_protocol::socket;

std::unique_ptr<ByteStream> plain_stream(StreamSocket socket);
std::unique_ptr<ByteStream> tls_stream(StreamSocket socket, boost::asio::ssl::context& context);

}  // namespace webhook::console
