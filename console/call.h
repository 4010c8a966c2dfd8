// From the body of a request to a statement with parameters.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "console/api_error.h"
#include "console/functions.h"

namespace webhook::console {

struct Call {
  const Function* function = nullptr;
  // One row of two columns: the result as text, or NULL if it has more than kAnswerBytesMax, and its size in bytes.
  std::string sql;
  std::vector<std::optional<std::string>> parameters;  // in PostgreSQL's text format
};

inline constexpr std::size_t kAnswerBytesMax = 16UL << 20;

// The body is a JSON object of arguments by name, or empty. Names of arguments come from the function's table alone, and
// values go into parameters alone, so no byte of the body becomes SQL.
std::variant<Call, ApiError> make_call(const Function& function, std::string_view body);

}  // namespace webhook::console
