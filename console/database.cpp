#include "console/database.h"

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <utility>

#include "console/database_connection.h"
#include "console/log.h"

namespace webhook::console {
namespace {

using Clock = std::chrono::steady_clock;

// Blocks; for a connector's thread. What stands before dbname is a default, what stands after it is ours.
PGconn* connect_to(const std::string& conninfo) {
  const std::array<const char*, 6> names{
      "fallback_application_name", "connect_timeout", "tcp_user_timeout", "dbname", "client_encoding", nullptr};
  const std::array<const char*, 6> values{"webhook-console", "10", "20000", conninfo.c_str(), "UTF8", nullptr};
  return PQconnectdbParams(names.data(), values.data(), 1);
}

// libpq writes several lines.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

ApiError unreachable() {
  return {.status = 503,
          .code = "08006",
          .message = "the database cannot be reached",
          .hint = "Try again. The log of webhook-console says why."};
}

ApiError lost_while_calling(bool writes) {
  ApiError error{.status = 503, .code = "08006", .message = "the connection to the database was lost during the call"};
  error.hint = writes ? "It is not known whether the call took effect: look before you try again." : "Try again.";
  return error;
}

ApiError too_busy() {
  return {.status = 503,
          .code = "53300",
          .message = "too many calls are underway",
          .hint = "Try again. --connections says how many run at once."};
}

}  // namespace

Database::Database(boost::asio::io_context& io, boost::asio::thread_pool& connectors, std::string label,
                   std::string conninfo, unsigned connections_max)
    : io_(io),
      connectors_(connectors),
      timer_(io),
      label_(std::move(label)),
      conninfo_(std::move(conninfo)),
      connections_max_(connections_max) {
  tick();
}

Database::~Database() { *is_alive_ = false; }

void Database::call(Call call, Identity identity, Reply reply) {
  const auto of_same = std::count_if(waiting_.begin(), waiting_.end(),
                                     [&](const auto& other) { return other->identity.name == identity.name; });
  if (waiting_.size() >= kWaitingMax || static_cast<std::size_t>(of_same) >= kWaitingOfOneMax) {
    reply(too_busy());
    return;
  }
  waiting_.push_back(std::make_unique<Request>(
      Request{std::move(call), std::move(identity), std::move(reply), Clock::now() + kWaitMax}));
  start_waiting();
}

// The oldest first, except those whose callers or kind have their share already.
void Database::start_waiting() {
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    if (!may_start(**next)) {
      ++next;
      continue;
    }
    DatabaseConnection* connection = idle_connection();
    if (connection == nullptr) {
      connect();
      return;
    }
    std::unique_ptr<Request> request = std::move(*next);
    next = waiting_.erase(next);
    connection->run(std::move(request));
    // The connection may have failed at once, and changed the queue.
    next = waiting_.begin();
  }
}

bool Database::may_start(const Request& request) const {
  const std::size_t share = std::max<std::size_t>(1, connections_max_ / 2);
  std::size_t slow = 0;
  std::size_t same = 0;
  for (const auto& connection : connections_) {
    const Request* other = connection->request();
    if (other == nullptr) continue;
    if (other->call.function->is_slow) ++slow;
    if (other->identity.name == request.identity.name) ++same;
  }
  return same < share && (!request.call.function->is_slow || slow < share);
}

DatabaseConnection* Database::idle_connection() {
  const auto found = std::find_if(connections_.begin(), connections_.end(), [](const auto& c) { return c->is_idle(); });
  return found == connections_.end() ? nullptr : found->get();
}

// One at a time for each request that waits, so a server that is down is not asked by all of them at once.
void Database::connect() {
  if (connecting_ > 0 || connections_.size() >= connections_max_) return;
  ++connecting_;
  boost::asio::post(connectors_, [this, is_alive = is_alive_, &io = io_, conninfo = conninfo_] {
    PGconn* connection = connect_to(conninfo);
    std::string why_not;
    if (PQstatus(connection) != CONNECTION_OK) {
      why_not = one_line(PQerrorMessage(connection));
      PQfinish(std::exchange(connection, nullptr));
    }
    boost::asio::post(io, [this, is_alive, connection, why_not = std::move(why_not)] {
      if (*is_alive) {
        connected(connection, why_not);
      } else if (connection != nullptr) {
        PQfinish(connection);
      }
    });
  });
}

void Database::connected(void* connection, const std::string& why_not) {
  --connecting_;
  if (connection == nullptr) {
    log_line(label_ + ": " + why_not);
    fail_waiting(unreachable());
    return;
  }
  auto adopted = DatabaseConnection::adopt(io_, *this, static_cast<PGconn*>(connection));
  if (!adopted) {
    fail_waiting(unreachable());
    return;
  }
  connections_.push_back(adopted);
  adopted->start();
  start_waiting();
}

void Database::finished(DatabaseConnection& /*connection*/, std::unique_ptr<Request> request,
                        std::variant<std::string, ApiError> result) {
  request->reply(std::move(result));
  start_waiting();
}

void Database::lost(DatabaseConnection& connection, std::unique_ptr<Request> request) {
  forget(connection);
  if (request) {
    const bool writes = request->call.function->writes;
    if (!writes && !request->is_second_try) {
      request->is_second_try = true;
      request->until = Clock::now() + kWaitMax;
      waiting_.push_front(std::move(request));
    } else {
      log_line(label_ + ": the connection was lost during a call of " + std::string(request->call.function->name));
      request->reply(lost_while_calling(writes));
    }
  }
  // Not from here: the caller may be start_waiting().
  boost::asio::post(io_, [this, is_alive = is_alive_] {
    if (*is_alive) start_waiting();
  });
}

void Database::forget(DatabaseConnection& connection) {
  std::erase_if(connections_, [&](const auto& other) { return other.get() == &connection; });
}

void Database::fail_waiting(const ApiError& error) {
  std::deque<std::unique_ptr<Request>> failed;
  // Those that a connection in use may still serve wait for it.
  if (connections_.empty()) failed.swap(waiting_);
  for (const auto& request : failed) request->reply(error);
}

void Database::tick() {
  timer_.expires_after(std::chrono::seconds(1));
  timer_.async_wait([this, is_alive = is_alive_](const boost::system::error_code& error) {
    if (error || !*is_alive) return;
    const Clock::time_point now = Clock::now();
    std::deque<std::unique_ptr<Request>> late;
    for (auto request = waiting_.begin(); request != waiting_.end();) {
      if ((*request)->until > now) {
        ++request;
        continue;
      }
      late.push_back(std::move(*request));
      request = waiting_.erase(request);
    }
    for (const auto& request : late) request->reply(too_busy());
    std::vector<std::shared_ptr<DatabaseConnection>> unused;
    std::copy_if(connections_.begin(), connections_.end(), std::back_inserter(unused),
                 [&](const auto& c) { return c->is_idle() && now - c->idle_since() > kIdleMax; });
    for (const auto& connection : unused) {
      connection->close();
      forget(*connection);
    }
    tick();
  });
}

}  // namespace webhook::console
