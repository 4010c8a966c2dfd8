#include "console/page_files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <utility>

#include "console/base64url.h"
#include "console/embedded_files.h"

namespace webhook::console {
namespace {

constexpr std::string_view kIndex = "index.html";
constexpr std::size_t kFileBytesMax = 4UL << 20;

std::string etag_of(std::string_view content) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(content.data(), content.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) return {};
  return '"' + to_base64url({reinterpret_cast<const char*>(digest.data()), 16}) + '"';
}

std::optional<std::string> read_file(int file) {
  struct stat status {};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::size_t>(status.st_size) > kFileBytesMax)
    return {};
  std::string content(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t read = 0;
  while (read < content.size()) {
    const ssize_t bytes = ::read(file, content.data() + read, content.size() - read);
    if (bytes <= 0) return {};
    read += static_cast<std::size_t>(bytes);
  }
  return content;
}

}  // namespace

std::string_view content_type(std::string_view path) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kTypes{{
      {".html", "text/html; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".LICENSE", "text/plain; charset=utf-8"},
  }};
  for (const auto& [ending, type] : kTypes) {
    if (path.ends_with(ending)) return type;
  }
  return {};
}

PageFiles::PageFiles(std::string folder) : folder_(std::move(folder)) {
  if (!folder_.empty()) return;
  for (const EmbeddedFile& file : embedded_files()) {
    const std::string_view gzip = file.gzip.size() < file.content.size() ? file.gzip : std::string_view();
    built_in_.emplace(file.path, PageFile{std::string(file.content), std::string(gzip), content_type(file.path),
                                          etag_of(file.content)});
  }
}

std::optional<PageFile> PageFiles::find(std::string_view path) const {
  if (path.empty()) path = kIndex;
  if (content_type(path).empty()) return {};
  if (!folder_.empty()) return find_in_folder(std::string(path));
  const auto found = built_in_.find(path);
  if (found == built_in_.end()) return {};
  return found->second;
}

// Goes down name by name and follows no symbolic link, so no path leaves the folder.
std::optional<PageFile> PageFiles::find_in_folder(const std::string& path) const {
  int folder = ::open(folder_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  std::size_t begin = 0;
  for (std::size_t slash = path.find('/'); folder >= 0 && slash != std::string::npos; slash = path.find('/', begin)) {
    const std::string name = path.substr(begin, slash - begin);
    const int inner = name == ".." ? -1 : ::openat(folder, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    ::close(folder);
    folder = inner;
    begin = slash + 1;
  }
  if (folder < 0) return {};
  const int file = ::openat(folder, path.c_str() + begin, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  ::close(folder);
  if (file < 0) return {};
  std::optional<std::string> content = read_file(file);
  ::close(file);
  if (!content) return {};
  std::string etag = etag_of(*content);
  return PageFile{std::move(*content), "", content_type(path), std::move(etag)};
}

}  // namespace webhook::console
