#include "console/log.h"

#include <unistd.h>

#include <cstdio>

#include "core/utf8.h"

namespace webhook::console {

std::string log_escaped(std::string_view text, std::size_t bytes_max) {
  const std::string valid = to_valid_utf8(text.substr(0, bytes_max));
  std::string result;
  for (std::size_t i = 0; i < valid.size(); ++i) {
    const auto byte = static_cast<unsigned char>(valid[i]);
    // U+0080 to U+009F are control characters too, and U+2028, U+2029 and U+202A to U+202E turn lines.
    const bool is_c1 = byte == 0xc2 && static_cast<unsigned char>(valid[i + 1]) < 0xa0;
    const bool is_turn = byte == 0xe2 && (valid.compare(i, 2, "\xe2\x80") == 0) &&
                         static_cast<unsigned char>(valid[i + 2]) >= 0xa8 &&
                         static_cast<unsigned char>(valid[i + 2]) <= 0xae;
    if (byte >= ' ' && byte != 0x7f && !is_c1 && !is_turn) {
      result += valid[i];
      continue;
    }
    const std::size_t bytes = is_c1 ? 2 : is_turn ? 3 : 1;
    for (std::size_t end = i + bytes; i < end; ++i) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(valid[i]));
      result += escaped;
    }
    --i;
  }
  if (text.size() > bytes_max) result += "...";
  return result;
}

void log_line(std::string_view text) {
  const std::string line = "webhook-console: " + log_escaped(text, 8192) + "\n";
  // One write, so that lines do not mix. Nobody can be told if it fails.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace webhook::console
