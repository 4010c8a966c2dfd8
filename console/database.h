// Calls to one database, over a bounded pool of connections.
//
// Each call is one transaction in one round trip (libpq's pipeline mode): BEGIN, the settings of the caller, the call,
// COMMIT. A connection that is lost while it is idle is noticed at once, so a restarted server costs no call. A call
// whose connection is lost on the way is made once more if it only reads; whether a writing one took effect is not known,
// and its caller is told so.
//
// No caller takes it all: one identity, and likewise all slow calls together, get at most half of the connections. Of the
// calls that wait, one identity has few.
//
// Everything runs in the io_context's one thread, except for connecting, which libpq does only half without blocking:
// name servers. That has threads of its own.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "console/access.h"
#include "console/api_error.h"
#include "console/call.h"

namespace webhook::console {

class DatabaseConnection;

inline constexpr std::chrono::seconds kCallTimeout{15};
inline constexpr std::chrono::seconds kSlowTimeout{75};

class Database {
 public:
  // Called once for each call: the result as JSON, or an error.
  using Reply = std::function<void(std::variant<std::string, ApiError>)>;

  static constexpr std::size_t kWaitingMax = 256;
  static constexpr std::size_t kWaitingOfOneMax = 32;
  static constexpr std::chrono::seconds kWaitMax{10};
  static constexpr std::chrono::minutes kIdleMax{5};

  // `label` names it in log lines.
  Database(boost::asio::io_context& io, boost::asio::thread_pool& connectors, std::string label, std::string conninfo,
           unsigned connections_max);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void call(Call call, Identity identity, Reply reply);

 private:
  friend class DatabaseConnection;
  struct Request {
    Call call;
    Identity identity;
    Reply reply;
    std::chrono::steady_clock::time_point until;  // it waits for a connection no longer
    bool is_second_try = false;
  };

  void start_waiting();
  bool may_start(const Request& request) const;
  DatabaseConnection* idle_connection();
  void connect();
  void connected(void* connection, const std::string& why_not);
  // What a connection says when it has done with a request.
  void finished(DatabaseConnection& connection, std::unique_ptr<Request> request,
                std::variant<std::string, ApiError> result);
  void lost(DatabaseConnection& connection, std::unique_ptr<Request> request);
  void forget(DatabaseConnection& connection);
  void fail_waiting(const ApiError& error);
  void tick();

  boost::asio::io_context& io_;
  boost::asio::thread_pool& connectors_;
  boost::asio::steady_timer timer_;
  std::string label_;
  std::string conninfo_;
  std::size_t connections_max_;
  std::size_t connecting_ = 0;
  std::vector<std::shared_ptr<DatabaseConnection>> connections_;
  std::deque<std::unique_ptr<Request>> waiting_;
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
};

}  // namespace webhook::console
