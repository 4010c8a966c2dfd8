// Reads and writes the text form of a PostgreSQL array (manual, section 8.15.6). The arguments of webhook_capture()
// give lists of columns in this form.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace webhook {

// The elements of a one-dimensional array of text, such as {a,"b c","q\"x"}. Nothing if the text is malformed, or has a
// NULL element, more dimensions, or explicit bounds ([2:3]={a,b}).
std::optional<std::vector<std::string>> parse_array_literal(std::string_view text);

// Writes the elements as array_out() does, with quotes only where an element needs them.
std::string format_array_literal(const std::vector<std::string>& elements);

}  // namespace webhook
