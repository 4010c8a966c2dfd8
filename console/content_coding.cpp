#include "console/content_coding.h"

#include <cstdint>  // rfc7230.hpp of Boost 1.83 needs it

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/rfc7230.hpp>

namespace webhook::console {
namespace {

namespace beast = boost::beast;

// A weight of 0 refuses.
bool is_refused(const beast::http::param_list& parameters) {
  for (const auto& [name, value] : parameters) {
    if (beast::iequals(name, "q")) return value.find_first_not_of("0.") == beast::string_view::npos;
  }
  return false;
}

}  // namespace

// Each coding is parsed by itself, because the iterator of ext_list gives one without parameters those of the coding before.
bool accepts_gzip(std::string_view accept_encoding) {
  bool accepts_any = false;
  while (!accept_encoding.empty()) {
    const std::string_view item = accept_encoding.substr(0, accept_encoding.find(','));
    accept_encoding.remove_prefix(std::min(item.size() + 1, accept_encoding.size()));
    for (const auto& [coding, parameters] : beast::http::ext_list({item.data(), item.size()})) {
      if (beast::iequals(coding, "gzip") || beast::iequals(coding, "x-gzip")) return !is_refused(parameters);
      if (coding == "*") accepts_any = !is_refused(parameters);
    }
  }
  return accepts_any;
}

}  // namespace webhook::console
