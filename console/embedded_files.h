// The files of console/page as embed_page builds them into the program.
#pragma once

#include <span>
#include <string_view>

namespace webhook::console {

struct EmbeddedFile {
  std::string_view path;
  std::string_view content;
  std::string_view gzip;  // the content by gzip
};

std::span<const EmbeddedFile> embedded_files();

}  // namespace webhook::console
