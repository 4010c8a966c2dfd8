// What a call answers when it fails: the four members that PostgREST answers, and the HTTP status that it chooses.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace webhook::console {

struct ApiError {
  unsigned status = 500;
  std::string code;  // an SQLSTATE
  std::string message;
  std::optional<std::string> details = std::nullopt;
  std::optional<std::string> hint = std::nullopt;
};

// {"code", "message", "details", "hint"}
std::string to_json(const ApiError& error);

// As PostgREST maps them (https://docs.postgrest.org/en/v12/references/errors.html), with two exceptions: an error of
// the connection or a server that shuts down, and a database without the extension, are 503.
unsigned http_status(std::string_view sqlstate);

}  // namespace webhook::console
