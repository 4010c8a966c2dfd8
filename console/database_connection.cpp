#include "console/database_connection.h"

#include <array>
#include <utility>

#include "core/utf8.h"

namespace webhook::console {
namespace {

using Parameters = std::vector<std::optional<std::string>>;

// Beyond statement_timeout, for the way to the server and back.
constexpr std::chrono::seconds kGrace{5};

// set_config(…, true) is SET LOCAL. The role comes last: it may not be allowed to set the others.
constexpr const char* kSetCaller =
    "SELECT pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('request.jwt.claims', $2, "
    "true),"
    " CASE WHEN $3 OPERATOR(pg_catalog.<>) '' THEN pg_catalog.set_config('webhook.organization_id', $3, true) END,"
    " CASE WHEN $4 OPERATOR(pg_catalog.<>) '' THEN pg_catalog.set_config('role', $4, true) END";

std::optional<std::string> field_of(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text == nullptr ? std::nullopt : std::optional(to_valid_utf8(text));
}

std::optional<std::string> hint_of(const std::string& sqlstate) {
  if (sqlstate == "3F000") return "Create the extension in this database: CREATE EXTENSION webhook.";
  if (sqlstate == "42883") return "The extension in this database is another version than webhook-console.";
  if (sqlstate == "25006") return "This server is a standby. Changes are made on the primary.";
  return {};
}

ApiError error_of(const PGresult* result) {
  ApiError error;
  error.code = field_of(result, PG_DIAG_SQLSTATE).value_or("XX000");
  error.status = http_status(error.code);
  error.message = field_of(result, PG_DIAG_MESSAGE_PRIMARY).value_or("the database reports an error without a message");
  error.details = field_of(result, PG_DIAG_MESSAGE_DETAIL);
  error.hint = field_of(result, PG_DIAG_MESSAGE_HINT);
  return error;
}

}  // namespace

DatabaseConnection::DatabaseConnection(boost::asio::io_context& io, Database& database, PGconn* connection)
    : database_(database),
      connection_(connection),
      socket_(io),
      deadline_(io),
      idle_since_(std::chrono::steady_clock::now()) {}

std::shared_ptr<DatabaseConnection> DatabaseConnection::adopt(boost::asio::io_context& io, Database& database,
                                                              PGconn* connection) {
  std::shared_ptr<DatabaseConnection> result(new DatabaseConnection(io, database, connection));
  PQsetNoticeProcessor(
      connection, [](void*, const char*) {}, nullptr);
  boost::system::error_code error;
  if (PQsetnonblocking(connection, 1) != 0 || PQenterPipelineMode(connection) != 1) return nullptr;
  result->socket_.assign(PQsocket(connection), error);
  return error ? nullptr : result;
}

DatabaseConnection::~DatabaseConnection() { close(); }

void DatabaseConnection::start() { wait_to_read(); }

void DatabaseConnection::close() {
  is_closed_ = true;
  deadline_.cancel();
  if (connection_ == nullptr) return;
  // The descriptor is libpq's.
  if (socket_.is_open()) socket_.release();
  PQfinish(std::exchange(connection_, nullptr));
}

void DatabaseConnection::run(std::unique_ptr<Database::Request> request) {
  request_ = std::move(request);
  answer_.reset();
  error_.reset();
  const bool is_slow = request_->call.function->is_slow;
  deadline_.expires_after((is_slow ? kSlowTimeout : kCallTimeout) + kGrace);
  deadline_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error && !self->is_closed_ && self->request_) self->lose();
  });
  if (!send_request()) {
    lose();
    return;
  }
  flush();
}

bool DatabaseConnection::send_request() {
  const Identity& identity = request_->identity;
  const auto timeout = request_->call.function->is_slow ? kSlowTimeout : kCallTimeout;
  const Parameters caller{std::to_string(timeout.count()) + "s", identity.claims, identity.organization,
                          identity.role.value_or("")};
  return send("BEGIN", {}) && send(kSetCaller, caller) && send(request_->call.sql.c_str(), request_->call.parameters) &&
         send("COMMIT", {}) && PQpipelineSync(connection_) == 1;
}

bool DatabaseConnection::send(const char* sql, const Parameters& parameters) {
  std::vector<const char*> values;
  values.reserve(parameters.size());
  for (const auto& parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  return PQsendQueryParams(connection_, sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr,
                           0) == 1;
}

void DatabaseConnection::flush() {
  if (is_flushing_) return;
  const int left = PQflush(connection_);
  if (left < 0) {
    // The server's last words may be there to read.
    readable();
    return;
  }
  if (left == 0) return;
  is_flushing_ = true;
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_write,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->is_flushing_ = false;
                       if (!error && !self->is_closed_) self->flush();
                     });
}

void DatabaseConnection::wait_to_read() {
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       if (error || self->is_closed_) return;
                       self->readable();
                       if (!self->is_closed_) self->wait_to_read();
                     });
}

void DatabaseConnection::readable() {
  const bool is_read = PQconsumeInput(connection_) == 1;
  const bool is_good = take_results();
  if (is_closed_) return;
  if (!is_read || !is_good || PQstatus(connection_) != CONNECTION_OK) {
    lose();
    return;
  }
  flush();
}

bool DatabaseConnection::take_results() {
  // Four statements and the synchronization, each with a null at its end; a failed connection would go on for ever.
  constexpr int kResultsMax = 32;
  for (int i = 0; i < kResultsMax && (request_ || is_cleaning_) && PQisBusy(connection_) == 0; ++i) {
    PGresult* result = PQgetResult(connection_);
    if (result == nullptr) continue;
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_PIPELINE_SYNC) take(result);
    PQclear(result);
    if (status == PGRES_PIPELINE_SYNC) synchronized();
    if (is_closed_) return true;
    if (PQstatus(connection_) == CONNECTION_BAD) return false;
  }
  return true;
}

void DatabaseConnection::take(PGresult* result) {
  if (!request_) return;
  switch (PQresultStatus(result)) {
    case PGRES_FATAL_ERROR:
      if (!error_) error_ = error_of(result);
      break;
    case PGRES_TUPLES_OK:
      if (PQnfields(result) == 2) take_answer(result);
      break;
    default:
      break;
  }
}

// The caller's settings come in a row of four columns, the answer in one of two.
void DatabaseConnection::take_answer(PGresult* result) {
  if (PQntuples(result) == 1 && PQgetisnull(result, 0, 0) == 0) {
    answer_ = to_valid_utf8({PQgetvalue(result, 0, 0), static_cast<std::size_t>(PQgetlength(result, 0, 0))});
  } else if (PQntuples(result) == 1 && PQgetisnull(result, 0, 1) != 0) {
    answer_ = "null";
  } else {
    error_ = ApiError{.status = 500,
                      .code = "54000",
                      .message = "the answer is larger than 16 MB",
                      .hint = "Ask for fewer rows: page_size."};
  }
}

void DatabaseConnection::synchronized() {
  deadline_.cancel();
  idle_since_ = std::chrono::steady_clock::now();
  const bool was_cleaning = std::exchange(is_cleaning_, false);
  if (PQtransactionStatus(connection_) != PQTRANS_IDLE) {
    // A rollback that does not work leaves a connection that nobody may have.
    is_cleaning_ = !was_cleaning && send("ROLLBACK", {}) && PQpipelineSync(connection_) == 1;
    if (!is_cleaning_) {
      lose();
      return;
    }
  }
  if (!request_) {
    database_.start_waiting();
    return;
  }
  std::unique_ptr<Database::Request> request = std::move(request_);
  if (!answer_ && !error_) error_ = ApiError{.code = "XX000", .message = "the database has not answered the call"};
  if (error_) {
    if (!error_->hint) error_->hint = hint_of(error_->code);
    database_.finished(*this, std::move(request), std::move(*error_));
  } else {
    database_.finished(*this, std::move(request), std::move(*answer_));
  }
}

void DatabaseConnection::lose() {
  const std::shared_ptr<DatabaseConnection> self = shared_from_this();
  close();
  database_.lost(*this, std::move(request_));
}

}  // namespace webhook::console
