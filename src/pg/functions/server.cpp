// The server's current state: workers, subscriptions and webhook_test().
extern "C" {
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
}

#include <chrono>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "core/event.h"
#include "core/time.h"
#include "core/version.h"
#include "core/wire.h"
#include "pg/capture/replication.h"
#include "pg/capture/subscriptions.h"
#include "pg/encoding.h"
#include "pg/functions/arguments.h"
#include "pg/guard.h"
#include "pg/server/apply_errors.h"
#include "pg/server/database_entries.h"
#include "pg/server/shared_memory.h"
#include "pg/server/test_requests.h"
#include "pg/server/worker_slots.h"
#include "pg/settings.h"
#include "pg/timestamps.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(webhook_library_version);
PG_FUNCTION_INFO_V1(webhook_is_preloaded);
PG_FUNCTION_INFO_V1(webhook_is_worker);
PG_FUNCTION_INFO_V1(webhook_wake);
PG_FUNCTION_INFO_V1(webhook_worker_slots);
PG_FUNCTION_INFO_V1(webhook_workers_waiting);
PG_FUNCTION_INFO_V1(webhook_without_slots_since);
PG_FUNCTION_INFO_V1(webhook_apply_error);
PG_FUNCTION_INFO_V1(webhook_send_test);
}
#pragma GCC visibility pop

using webhook::pg::entry;
using webhook::pg::guarded;
using webhook::pg::row_result;
using webhook::pg::text_argument;
using webhook::pg::text_result;
using webhook::pg::utf8_argument;
using webhook::pg::uuid_argument;

Datum webhook_library_version(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] { return text_result(webhook::library_version()); });
}

Datum webhook_is_preloaded(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return BoolGetDatum(webhook::pg::has_shared_state());
}

// Other background workers run users' statements: parallel workers, and those of logical replication. But one that applies
// what a node reports does for the node's worker what that would do here.
Datum webhook_is_worker(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    const bool is_own = MyBgworkerEntry != nullptr && std::string_view(MyBgworkerEntry->bgw_library_name) == "webhook";
    return BoolGetDatum(is_own || webhook::pg::applied_subscription().starts_with("webhook_node_"));
  });
}

Datum webhook_wake(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    webhook::pg::announce_change_to_worker();
    return Datum{0};
  });
}

namespace {

// Adds a worker's row of webhook_internal.worker_slots(). This function may hold no C++ object, because
// tuplestore_putvalues() may raise an error.
void put_worker(ReturnSetInfo* result, const webhook::pg::WorkerReport& worker) {
  const webhook::WorkerFigures& figures = worker.figures;
  const auto time = [](const std::optional<webhook::Time>& at) {
    return TimestampTzGetDatum(at ? webhook::pg::to_timestamptz(*at) : 0);
  };
  const auto count = [](std::uint64_t number) { return Int64GetDatum(static_cast<std::int64_t>(number)); };
  Datum values[] = {ObjectIdGetDatum(worker.database),
                    Int32GetDatum(worker.share.number),
                    Int32GetDatum(worker.share.count),
                    Int32GetDatum(worker.pid),
                    time(worker.started_at),
                    Int64GetDatum(static_cast<std::int64_t>(figures.in_flight)),
                    Int64GetDatum(static_cast<std::int64_t>(figures.queued)),
                    Int64GetDatum(static_cast<std::int64_t>(figures.events_ahead)),
                    Int64GetDatum(figures.sent),
                    Int64GetDatum(figures.failed),
                    Int64GetDatum(figures.logged),
                    time(figures.oldest_event_at),
                    time(figures.last_error_at),
                    CStringGetTextDatum(webhook::pg::words_of(figures.state)),
                    time(figures.reported_at == webhook::Time{} ? worker.started_at : figures.reported_at),
                    Int64GetDatum(figures.given_up),
                    time(figures.read_to),
                    Int64GetDatum(figures.read_position),
                    time(figures.failing_since),
                    time(figures.overdue_since),
                    count(figures.webhooks),
                    count(figures.undecryptable),
                    count(figures.open_circuits),
                    count(figures.organizations),
                    count(figures.failing_organizations),
                    count(figures.deliveries ? figures.deliveries->pending : 0),
                    count(figures.deliveries ? figures.deliveries->dead : 0),
                    time(figures.deliveries ? std::optional(figures.deliveries->counted_at) : std::nullopt),
                    count(figures.events.bytes),
                    time(figures.events.kept_since),
                    count(figures.logs.bytes),
                    time(figures.logs.kept_since)};
  bool nulls[std::size(values)] = {};
  nulls[3] = worker.pid == 0;
  nulls[11] = !figures.oldest_event_at;
  nulls[12] = !figures.last_error_at;
  nulls[16] = !figures.read_to;
  nulls[18] = !figures.failing_since;
  nulls[19] = !figures.overdue_since;
  for (int column : {25, 26, 27}) nulls[column] = !figures.deliveries;
  nulls[29] = !figures.events.kept_since;
  nulls[31] = !figures.logs.kept_since;
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

// (): the columns of the view webhook_workers, one row for each worker that runs, or has left because there is nothing to
// do. No rows without shared memory.
Datum webhook_worker_slots(PG_FUNCTION_ARGS) {
  return entry([&] {
    guarded([fcinfo] { InitMaterializedSRF(fcinfo, 0); });
    auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    for (int index = 0; index < webhook::pg::entry_count(); ++index) {
      if (webhook::pg::entry_database(index) == 0) continue;
      for (int number = 1; number <= webhook::pg::kWorkersMax; ++number) {
        const auto worker = webhook::pg::worker_report(index, number);
        if (worker) guarded([&] { put_worker(result, *worker); });
      }
    }
    return Datum{0};
  });
}

// (): how many workers of this database wait for a background worker slot.
Datum webhook_workers_waiting(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Int32GetDatum(webhook::pg::workers_waiting());
}

// (): since when the launcher has found too few background worker slots. Null: it has not.
Datum webhook_without_slots_since(PG_FUNCTION_ARGS) {
  const std::optional<webhook::Time> since = webhook::pg::without_slots_since();
  if (!since) PG_RETURN_NULL();
  return TimestampTzGetDatum(webhook::pg::to_timestamptz(*since));
}

// (subscription oid, OUT at timestamptz, OUT sqlstate text, OUT message text, OUT detail text). STRICT. Null: there is none.
Datum webhook_apply_error(PG_FUNCTION_ARGS) {
  return entry([&] {
    const std::optional<webhook::pg::ApplyError> error = webhook::pg::last_apply_error(PG_GETARG_OID(0));
    if (!error) {
      fcinfo->isnull = true;
      return Datum{0};
    }
    Datum values[] = {TimestampTzGetDatum(webhook::pg::to_timestamptz(error->at)), text_result(error->sqlstate),
                      text_result(error->message), text_result(error->detail)};
    bool nulls[] = {false, false, false, error->detail[0] == '\0'};
    return row_result(fcinfo, values, nulls);
  });
}

// (webhook uuid, created_at timestamptz, organization text, event text, data json, timeout_ms integer, OUT status text,
// OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id
// bigint, OUT url text, OUT headers text, OUT body text). STRICT. created_at, organization (empty: none) and timeout_ms
// are the webhook's. url, headers (lines separated by CR LF) and body are what was sent.
Datum webhook_send_test(PG_FUNCTION_ARGS) {
  return entry([&] {
    constexpr webhook::Duration kGrace = std::chrono::seconds(10);  // for the worker to start and to record the test
    webhook::Event event;
    event.name = text_argument(fcinfo, 3).value_or("");
    event.data = utf8_argument(fcinfo, 4);
    const webhook::TestAnswer answer =
        webhook::pg::run_test({.webhook = uuid_argument(fcinfo, 0),
                               .webhook_created_at = webhook::pg::from_timestamptz(PG_GETARG_TIMESTAMPTZ(1)),
                               .organization = text_argument(fcinfo, 2).value_or(""),
                               .event = event.name,
                               .data = event.data},
                              std::chrono::milliseconds(PG_GETARG_INT32(5)) + kGrace);
    event.created_at = answer.sent_at;
    const std::string body = webhook::pg::from_utf8(answer.response_body.view());
    const std::string error = webhook::pg::from_utf8(answer.error.view());
    const double duration_ms = std::chrono::duration<double, std::milli>(answer.elapsed).count();
    Datum values[] = {text_result(answer.success ? "success" : "failed"),
                      Int32GetDatum(answer.response_status),
                      text_result(body),
                      text_result(error),
                      Float8GetDatum(duration_ms),
                      Int64GetDatum(answer.log_id),
                      text_result(webhook::pg::from_utf8(answer.url.view())),
                      text_result(webhook::pg::from_utf8(answer.headers.view())),
                      text_result(webhook::pg::from_utf8(webhook::build_body(event)))};
    bool nulls[] = {false, answer.response_status == 0, body.empty(), error.empty(),
                    false, answer.log_id == 0,          false,        false,
                    false};
    return row_result(fcinfo, values, nulls);
  });
}
