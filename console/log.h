// Lines on standard error, for the journal.
#pragma once

#include <string>
#include <string_view>

namespace webhook::console {

// Control characters and bytes above ASCII that are no UTF-8 made visible, so that a line stays one, and a terminal does
// what it is told by nobody else. At most bytes_max bytes of the text.
std::string log_escaped(std::string_view text, std::size_t bytes_max = 1024);

// Writes the text as one line, after "webhook-console: ".
void log_line(std::string_view text);

}  // namespace webhook::console
