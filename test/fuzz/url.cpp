// Which URLs a webhook may have.
#include "http/url.h"

#include <string>

#include "core/utf8.h"
#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::is_printable_ascii;
using fuzz::require;

bool has_scheme(std::string_view url, std::string_view scheme) {
  return url.size() > scheme.size() && std::equal(scheme.begin(), scheme.end(), url.begin(),
                                                  [](char expected, char found) { return expected == (found | 0x20); });
}

bool is_one_line(std::string_view text) {
  return is_valid_utf8(text) &&
         std::none_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
}

void check_accepted(std::string_view url, bool allow_http) {
  require(url.size() <= kUrlBytesMax, "an accepted URL is within the bound");
  require(is_printable_ascii(url) && url.find_first_of(" #") == std::string_view::npos,
          "an accepted URL is visible ASCII without a fragment");
  const bool is_https = has_scheme(url, "https") && url.substr(5).starts_with("://");
  const bool is_http = has_scheme(url, "http") && url.substr(4).starts_with("://");
  require(is_https || (allow_http && is_http), "an accepted URL is https, or http where that is allowed");
  const std::string_view rest = url.substr(url.find("://") + 3);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  require(authority.find('@') == std::string_view::npos, "an accepted URL has no user information");
  require(!url_host(url).empty(), "an accepted URL has a host");
}

// Not the URL as it is: the fuzzer finds one that reads like a message.
void check_discretion(std::string_view url) {
  constexpr std::string_view kSecret = "q7Xw-secret-0Zk4";
  const auto problem = url_problem(std::string(url).append(kSecret), true);
  require(!problem || problem->find(kSecret) == std::string::npos, "a problem does not repeat what the URL says");
}

void check(std::string_view url) {
  check_discretion(url);
  for (const bool allow_http : {false, true}) {
    if (const auto problem = url_problem(url, allow_http)) {
      require(!problem->empty() && is_one_line(*problem), "a problem is told in a line of text");
    } else {
      check_accepted(url, allow_http);
    }
  }
  require(url_problem(url, false) || !url_problem(url, true), "allow_http only ever allows more");
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  webhook::check(webhook::fuzz::text_of(data, size));
  return 0;
}
