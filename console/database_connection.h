// One connection to PostgreSQL, which carries out one request at a time without blocking.
#pragma once

#include <libpq-fe.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "console/database.h"

namespace webhook::console {

class DatabaseConnection : public std::enable_shared_from_this<DatabaseConnection> {
 public:
  // Takes over a connection that is established. Returns nullptr, and closes it, if it can't be used.
  static std::shared_ptr<DatabaseConnection> adopt(boost::asio::io_context& io, Database& database, PGconn* connection);
  ~DatabaseConnection();
  DatabaseConnection(const DatabaseConnection&) = delete;
  DatabaseConnection& operator=(const DatabaseConnection&) = delete;

  // Watches the socket: a server that goes away is noticed while nothing is asked of it.
  void start();
  void run(std::unique_ptr<Database::Request> request);
  void close();

  bool is_idle() const { return !request_ && !is_cleaning_ && !is_closed_; }
  const Database::Request* request() const { return request_.get(); }
  std::chrono::steady_clock::time_point idle_since() const { return idle_since_; }

 private:
  DatabaseConnection(boost::asio::io_context& io, Database& database, PGconn* connection);

  bool send_request();
  bool send(const char* sql, const std::vector<std::optional<std::string>>& parameters);
  void flush();
  void wait_to_read();
  void readable();
  // Takes what results there are. False if the connection has failed.
  bool take_results();
  void take(PGresult* result);
  void take_answer(PGresult* result);
  void synchronized();
  void lose();

  Database& database_;
  PGconn* connection_;
  boost::asio::posix::stream_descriptor socket_;
  boost::asio::steady_timer deadline_;
  std::unique_ptr<Database::Request> request_;
  std::optional<std::string> answer_;
  std::optional<ApiError> error_;
  std::chrono::steady_clock::time_point idle_since_;
  bool is_cleaning_ = false;  // a ROLLBACK is underway
  bool is_flushing_ = false;
  bool is_closed_ = false;
};

}  // namespace webhook::console
