// What is stored of a response's headers, whatever a receiver sends: bounded lines of text, without what is masked.
#include "core/response_headers.h"

#include <algorithm>
#include <string>

#include "core/utf8.h"
#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

void check(std::string_view bytes) {
  const std::string text = storable_headers(bytes, {"X-Key: k"});
  require(text.size() <= kStoredHeaderBytesMax && is_valid_utf8(text), "bounded text");
  require(std::ranges::none_of(text, [](char c) { return c >= 0 && c < 0x20 && c != '\n' && c != '\t'; }),
          "no controls");
  require(text.empty() || text.front() != '\n', "no line is empty");
  std::string cookie(bytes);
  std::replace(cookie.begin(), cookie.end(), '\n', ' ');
  require(
      storable_headers("set-cookie: " + cookie + "\nx-key:" + cookie, {"X-Key: k"}) == "set-cookie: ***\nx-key: ***",
      "nothing of a masked value is kept");
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  webhook::check(webhook::fuzz::text_of(data, size));
  return 0;
}
