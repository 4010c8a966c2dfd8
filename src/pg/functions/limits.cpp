// The limits of an organization, and the locks that make counting safe.
extern "C" {
#include "postgres.h"

#include "fmgr.h"
}

#include <cstdint>

#include "pg/capture/webhook_limit.h"
#include "pg/functions/arguments.h"
#include "pg/guard.h"
#include "pg/keyed_lock.h"
#include "pg/server/organization_shares.h"
#include "pg/settings.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(webhook_count_webhooks);
PG_FUNCTION_INFO_V1(webhook_limit);
PG_FUNCTION_INFO_V1(webhook_lock_deliveries);
PG_FUNCTION_INFO_V1(webhook_try_lock_deliveries);
PG_FUNCTION_INFO_V1(webhook_deliveries_limit);
PG_FUNCTION_INFO_V1(webhook_lock_instance);
PG_FUNCTION_INFO_V1(webhook_log_ring);
PG_FUNCTION_INFO_V1(webhook_used_share);
}
#pragma GCC visibility pop

using webhook::pg::entry;
using webhook::pg::text_argument;
using webhook::pg::text_result;
using webhook::pg::uuid_argument;

// (organization_id text). STRICT.
Datum webhook_count_webhooks(PG_FUNCTION_ARGS) {
  return entry(
      [&] { return Int64GetDatum(webhook::pg::lock_and_count_webhooks(text_argument(fcinfo, 0).value_or(""))); });
}

Datum webhook_limit(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Int32GetDatum(webhook::pg::webhooks_per_organization_max());
}

// (webhook uuid).
Datum webhook_lock_deliveries(PG_FUNCTION_ARGS) {
  return entry([&] {
    const webhook::Uuid webhook = uuid_argument(fcinfo, 0);
    webhook::pg::lock_keyed(webhook::pg::KeyedLock::kDeliveries, webhook::pg::name_of(webhook));
    return Datum{0};
  });
}

// (webhook uuid).
Datum webhook_try_lock_deliveries(PG_FUNCTION_ARGS) {
  return entry([&] {
    const webhook::Uuid webhook = uuid_argument(fcinfo, 0);
    return BoolGetDatum(
        webhook::pg::try_lock_keyed(webhook::pg::KeyedLock::kDeliveries, webhook::pg::name_of(webhook)));
  });
}

Datum webhook_deliveries_limit(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Int32GetDatum(webhook::pg::deliveries_per_organization_max());
}

Datum webhook_lock_instance(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    webhook::pg::lock_keyed(webhook::pg::KeyedLock::kInstance, {});
    return Datum{0};
  });
}

// (organization_id text, rows bigint).
Datum webhook_log_ring(PG_FUNCTION_ARGS) {
  constexpr std::uint64_t kRowBytes = 250;  // of a row without an attempt
  return entry([&] {
    const auto organization = text_argument(fcinfo, 0);
    const auto rows = PG_ARGISNULL(1) ? 0 : static_cast<std::uint64_t>(PG_GETARG_INT64(1));
    const bool is_within =
        !organization || webhook::pg::take_share(webhook::pg::Storage::kLogs, *organization, rows * kRowBytes);
    return text_result(is_within ? "logs" : "excess_logs");
  });
}

// (organization_id text, storage text). STRICT.
Datum webhook_used_share(PG_FUNCTION_ARGS) {
  return entry([&] {
    const bool of_events = text_argument(fcinfo, 1) == "events";
    return Float8GetDatum(
        webhook::pg::used_share(of_events ? webhook::pg::Storage::kEvents : webhook::pg::Storage::kLogs,
                                text_argument(fcinfo, 0).value_or("")));
  });
}
