// How tests read what build_headers() wrote: lines with line ends between them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace webhook {

inline std::vector<std::string> header_lines(std::string_view headers) {
  std::vector<std::string> lines;
  for (std::size_t end; (end = headers.find("\r\n")) != std::string_view::npos; headers.remove_prefix(end + 2)) {
    lines.emplace_back(headers.substr(0, end));
  }
  lines.emplace_back(headers);
  return lines;
}

}  // namespace webhook
