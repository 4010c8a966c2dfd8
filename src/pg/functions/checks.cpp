// Checks of user input, for constraints, triggers and forms. A problem is described as text; null means that there is
// none.
extern "C" {
#include "postgres.h"

#include "fmgr.h"
}

#include <optional>
#include <string>

#include "core/event_pattern.h"
#include "core/header_rules.h"
#include "core/json_bounds.h"
#include "http/url.h"
#include "pg/capture/condition.h"
#include "pg/functions/arguments.h"
#include "pg/guard.h"
#include "pg/settings.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(webhook_url_problem);
PG_FUNCTION_INFO_V1(webhook_url_form_problem);
PG_FUNCTION_INFO_V1(webhook_header_problem);
PG_FUNCTION_INFO_V1(webhook_event_pattern_problem);
PG_FUNCTION_INFO_V1(webhook_check_condition);
PG_FUNCTION_INFO_V1(webhook_filter_data_problem);
PG_FUNCTION_INFO_V1(webhook_event_matches);
}
#pragma GCC visibility pop

using webhook::pg::entry;
using webhook::pg::text_argument;
using webhook::pg::text_result;

// (url text): the problem with the URL under the current settings.
Datum webhook_url_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    const auto url = text_argument(fcinfo, 0);
    auto problem = webhook::url_problem(url.value_or(""), webhook::pg::allow_http());
    if (!problem) problem = webhook::port_problem(url.value_or(""), webhook::pg::allowed_ports());
    return text_result(fcinfo, problem);
  });
}

// (url text): the problem with the URL under any settings.
Datum webhook_url_form_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    constexpr bool kAllowHttp = true;
    return text_result(fcinfo, webhook::url_problem(text_argument(fcinfo, 0).value_or(""), kAllowHttp));
  });
}

// (name text, value text)
Datum webhook_header_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    const auto name = text_argument(fcinfo, 0);
    const auto value = text_argument(fcinfo, 1);
    return text_result(fcinfo, webhook::header_problem(name.value_or(""), value.value_or("")));
  });
}

// (pattern text)
Datum webhook_event_pattern_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    const auto pattern = text_argument(fcinfo, 0);
    return text_result(fcinfo, webhook::event_pattern_problem(pattern.value_or("")));
  });
}

// (condition text). STRICT.
Datum webhook_check_condition(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::check_condition(text_argument(fcinfo, 0).value_or(""));
    return Datum{0};
  });
}

// (data text): why no filter may see the data.
Datum webhook_filter_data_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    const char* const problem = webhook::json_bounds(text_argument(fcinfo, 0).value_or("")).problem;
    return text_result(fcinfo, problem == nullptr ? std::nullopt : std::optional<std::string>(problem));
  });
}

// (pattern text, event text)
Datum webhook_event_matches(PG_FUNCTION_ARGS) {
  return entry([&] {
    return BoolGetDatum(
        webhook::event_matches(text_argument(fcinfo, 0).value_or(""), text_argument(fcinfo, 1).value_or("")));
  });
}
