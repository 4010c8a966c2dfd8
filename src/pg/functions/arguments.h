// Arguments and results of the SQL functions in this folder. All throw Error.
// PostgreSQL's Datum appears here as std::uintptr_t.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/time.h"
#include "core/uuid.h"

struct FunctionCallInfoBaseData;

namespace webhook::pg {

// The argument, in the current memory context; nullopt for null.
std::optional<std::string_view> text_argument(FunctionCallInfoBaseData* fcinfo, int number);
// The following require an argument that is not null. Signed and sent text is UTF-8.
std::string utf8_argument(FunctionCallInfoBaseData* fcinfo, int number);
Time time_argument(FunctionCallInfoBaseData* fcinfo, int number);
Uuid uuid_argument(FunctionCallInfoBaseData* fcinfo, int number);

std::uintptr_t text_result(std::string_view text);
// nullopt becomes null.
std::uintptr_t text_result(FunctionCallInfoBaseData* fcinfo, const std::optional<std::string>& text);
// A row with one value for each of the function's OUT columns.
std::uintptr_t row_result(FunctionCallInfoBaseData* fcinfo, std::uintptr_t* values, bool* nulls);

}  // namespace webhook::pg
