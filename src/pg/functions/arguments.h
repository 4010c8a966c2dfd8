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

// The argument, in the current memory context; nullopt for null.
std::optional<std::string_view> text_argument(FunctionCallInfo fcinfo, int number);
// The following require an argument that is not null. Signed and sent text is UTF-8.
std::string utf8_argument(FunctionCallInfo fcinfo, int number);
Time time_argument(FunctionCallInfo fcinfo, int number);
Uuid uuid_argument(FunctionCallInfo fcinfo, int number);

Datum text_result(std::string_view text);
// nullopt becomes null.
Datum text_result(FunctionCallInfo fcinfo, const std::optional<std::string>& text);
// A row with one value for each of the function's OUT columns.
Datum row_result(FunctionCallInfo fcinfo, Datum* values, bool* nulls);

}  // namespace webhook::pg
