// The SQL functions of capture: the trigger functions, webhook_emit() and webhook_flush().
extern "C" {
#include "postgres.h"

#include "fmgr.h"
}

#include <optional>
#include <string_view>

#include "pg/capture/capture.h"
#include "pg/capture/subscriptions.h"
#include "pg/functions/arguments.h"
#include "pg/guard.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(webhook_capture);
PG_FUNCTION_INFO_V1(webhook_invalidate_subscriptions);
PG_FUNCTION_INFO_V1(webhook_append);
PG_FUNCTION_INFO_V1(webhook_flush);
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

Datum webhook_flush(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    webhook::pg::flush_captured_events();
    return Datum{0};
  });
}
