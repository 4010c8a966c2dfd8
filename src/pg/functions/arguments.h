// Arguments and results of the SQL functions in this folder. All throw Error.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/time.h"
#include "core/uuid.h"

extern "C" {
#include "postgres.h"

#include "fmgr.h"
}

namespace webhook::pg {

// An argument, in the current memory context; nothing: null.
std::optional<std::string_view> text_argument(FunctionCallInfo fcinfo, int number);
// The rest are of arguments that are not null. What was signed and sent is UTF-8.
std::string utf8_argument(FunctionCallInfo fcinfo, int number);
Time time_argument(FunctionCallInfo fcinfo, int number);
Uuid uuid_argument(FunctionCallInfo fcinfo, int number);

Datum text_result(std::string_view text);
// Null for nothing.
Datum text_result(FunctionCallInfo fcinfo, const std::optional<std::string>& text);
// A row of the function's OUT columns, as many as there are values.
Datum row_result(FunctionCallInfo fcinfo, Datum* values, bool* nulls);

}  // namespace webhook::pg
