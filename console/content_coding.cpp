#include "console/content_coding.h"

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

bool accepts_gzip(std::string_view accept_encoding) {
  bool accepts_any = false;
  for (const auto& [coding, parameters] : beast::http::ext_list({accept_encoding.data(), accept_encoding.size()})) {
    if (beast::iequals(coding, "gzip") || beast::iequals(coding, "x-gzip")) return !is_refused(parameters);
    if (coding == "*") accepts_any = !is_refused(parameters);
  }
  return accepts_any;
}

}  // namespace webhook::console
