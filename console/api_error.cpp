#include "console/api_error.h"

#include <algorithm>
#include <array>
#include <utility>

#include "console/json.h"

namespace webhook::console {
namespace {

struct Mapping {
  std::string_view sqlstate;  // or the beginning of several; the first that fits counts
  unsigned status;
};

constexpr std::array kMappings{
    Mapping{"08", 503},     // connection exceptions
    Mapping{"09", 500},     // triggered action exception
    Mapping{"0L", 403},     // invalid grantor
    Mapping{"0P", 403},     // invalid role specification
    Mapping{"21", 500},     // cardinality violation
    Mapping{"23503", 409},  // foreign key violation
    Mapping{"23505", 409},  // unique violation
    Mapping{"25006", 405},  // read-only transaction
    Mapping{"25", 500},     // invalid transaction state
    Mapping{"28", 403},     // invalid authorization
    Mapping{"2D", 500},     // invalid transaction termination
    Mapping{"38", 500},     // external routine
    Mapping{"39", 500},     // external routine invocation
    Mapping{"3B", 500},     // savepoint
    Mapping{"3F000", 503},  // no schema webhook_api: the extension is missing
    Mapping{"40", 500},     // transaction rollback
    Mapping{"42501", 403},  // insufficient privilege
    Mapping{"42883", 404},  // undefined function
    Mapping{"42P01", 404},  // undefined table
    Mapping{"42P17", 500},  // infinite recursion
    Mapping{"53400", 500},  // configuration limit exceeded
    Mapping{"53", 503},     // insufficient resources
    Mapping{"54", 500},     // program limit exceeded
    Mapping{"55", 500},     // object not in prerequisite state
    Mapping{"57P01", 503},  // terminated by the administrator
    Mapping{"57P02", 503},  // crash of another backend
    Mapping{"57P03", 503},  // starting up, or a standby that accepts no connections
    Mapping{"57", 500},     // operator intervention
    Mapping{"58", 500},     // system error
    Mapping{"F0", 500},     // configuration file error
    Mapping{"HV", 500},     // foreign data wrapper
    Mapping{"P0001", 400},  // RAISE
    Mapping{"P0", 500},     // PL/pgSQL
    Mapping{"XX", 500},     // internal error
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

unsigned http_status(std::string_view sqlstate) {
  if (sqlstate.size() == 5 && sqlstate.starts_with("PT")) {
    const std::string_view digits = sqlstate.substr(2);
    if (!std::all_of(digits.begin(), digits.end(), is_digit)) return 500;
    const unsigned status = static_cast<unsigned>((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0'));
    // An error is no success, and has a body.
    return status >= 400 && status <= 599 ? status : 500;
  }
  for (const Mapping& mapping : kMappings) {
    if (sqlstate.starts_with(mapping.sqlstate)) return mapping.status;
  }
  return sqlstate.size() == 5 ? 400 : 500;
}

std::string to_json(const ApiError& error) {
  const auto or_null = [](const std::optional<std::string>& text) { return text ? json_quoted(*text) : "null"; };
  return "{\"code\":" + json_quoted(error.code) + ",\"message\":" + json_quoted(error.message) +
         ",\"details\":" + or_null(error.details) + ",\"hint\":" + or_null(error.hint) + "}";
}

}  // namespace webhook::console
