#include "console/embedded_files.h"

#include <cstddef>
#include <cstdint>
#include <vector>

// Made by embed_page.
struct EmbeddedFileEntry {
  const char* path;
  const char* content;
  std::uint64_t size;
  const char* gzip;
  std::uint64_t gzip_size;
};
extern "C" const EmbeddedFileEntry embedded_file_table[];

namespace webhook::console {

std::span<const EmbeddedFile> embedded_files() {
  static const auto* const files = [] {
    auto* list = new std::vector<EmbeddedFile>();
    for (const EmbeddedFileEntry* entry = embedded_file_table; entry->path != nullptr; ++entry)
      list->push_back({entry->path, {entry->content, entry->size}, {entry->gzip, entry->gzip_size}});
    return list;
  }();
  return *files;
}

}  // namespace webhook::console
