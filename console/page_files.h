// The files of the page: built into the program, or, for development, read from a folder at each request.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace webhook::console {

struct PageFile {
  std::string content;
  std::string gzip;       // the content by gzip; "" if it is not there, or no smaller
  std::string_view type;  // for Content-Type
  std::string etag;       // of the content, with its quotes
};

class PageFiles {
 public:
  // The built-in files if the folder is "".
  explicit PageFiles(std::string folder);

  // `path` is relative to the page's base, "" for the page itself. Nothing if there is no such file.
  std::optional<PageFile> find(std::string_view path) const;

 private:
  std::optional<PageFile> find_in_folder(const std::string& path) const;

  std::string folder_;
  std::map<std::string, PageFile, std::less<>> built_in_;
};

// Of a name by its ending; "" of an ending that the page does not have, and that is not served.
std::string_view content_type(std::string_view path);

}  // namespace webhook::console
