// Reads and writes the text form of a PostgreSQL array (manual, section 8.15.6), in which the arguments of webhook_capture() give
// lists of columns.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace webhook {

// The elements of a one-dimensional array of text, such as {a,"b c","q\"x"}. Nothing for malformed text, a NULL
// element, more dimensions, or explicit bounds ([2:3]={a,b}).
std::optional<std::vector<std::string>> parse_array_literal(std::string_view text);

// The reverse, as array_out() writes it: an element is in quotes where it needs them.
std::string format_array_literal(const std::vector<std::string>& elements);

}  // namespace webhook
