// The SQL functions of capture: the trigger functions, webhook_emit() and webhook_flush().
extern "C" {
#include "postgres.h"

#include "fmgr.h"
}

#include <optional>
#include <string>
#include <string_view>

#include "core/share.h"
#include "pg/capture/capture.h"
#include "pg/capture/event_writer.h"
#include "pg/capture/replication.h"
#include "pg/capture/subscriptions.h"
#include "pg/functions/arguments.h"
#include "pg/guard.h"
#include "pg/store/log_writer.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(webhook_capture);
PG_FUNCTION_INFO_V1(webhook_invalidate_subscriptions);
PG_FUNCTION_INFO_V1(webhook_append);
PG_FUNCTION_INFO_V1(webhook_flush);
PG_FUNCTION_INFO_V1(webhook_receive);
PG_FUNCTION_INFO_V1(webhook_receive_log);
PG_FUNCTION_INFO_V1(webhook_receive_shift);
PG_FUNCTION_INFO_V1(webhook_renew_ids);
PG_FUNCTION_INFO_V1(webhook_applied_subscription);
PG_FUNCTION_INFO_V1(webhook_node_number);
}
#pragma GCC visibility pop

using webhook::pg::entry;
using webhook::pg::text_argument;

Datum webhook_capture(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::capture_row_change(fcinfo);
    return Datum{0};
  });
}

Datum webhook_invalidate_subscriptions(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::announce_subscription_change(fcinfo);
    return Datum{0};
  });
}

// (event text, data json, organization_id text, key text). Null data becomes JSON's null.
Datum webhook_append(PG_FUNCTION_ARGS) {
  return entry([&] {
    const std::optional<std::string_view> event = text_argument(fcinfo, 0);
    if (!event) throw webhook::Error("22004", "the event's name must not be null");
    webhook::pg::capture_event(*event, text_argument(fcinfo, 1).value_or("null"), text_argument(fcinfo, 2),
                               text_argument(fcinfo, 3));
    return Datum{0};
  });
}

// Triggers. No row: it has been taken over.
Datum webhook_receive(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::receive_event(fcinfo);
    return PointerGetDatum(nullptr);
  });
}

Datum webhook_receive_shift(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::receive_shift(fcinfo);
    return PointerGetDatum(nullptr);
  });
}

Datum webhook_renew_ids(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    webhook::pg::renew_ids();
    return Datum{0};
  });
}

Datum webhook_applied_subscription(PG_FUNCTION_ARGS) {
  return entry([&] {
    const std::string& name = webhook::pg::applied_subscription();
    return webhook::pg::text_result(fcinfo, name.empty() ? std::nullopt : std::optional(name));
  });
}

Datum webhook_receive_log(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::receive_log(fcinfo);
    return PointerGetDatum(nullptr);
  });
}

// (webhook uuid, nodes integer): which of the nodes owns the webhook, from 1.
Datum webhook_node_number(PG_FUNCTION_ARGS) {
  return entry([&] {
    const int nodes = PG_GETARG_INT32(1);
    if (nodes < 1) throw webhook::Error("22023", "the number of nodes must be positive");
    return Int32GetDatum(webhook::node_of(webhook::pg::uuid_argument(fcinfo, 0), nodes));
  });
}

Datum webhook_flush(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    webhook::pg::flush_captured_events();
    return Datum{0};
  });
}
