// Which coding of a response's content the client takes.
#pragma once

#include <string_view>

namespace webhook::console {

// `accept_encoding` is the value of the request's Accept-Encoding headers, joined by commas (RFC 9110, 12.5.3).
bool accepts_gzip(std::string_view accept_encoding);

}  // namespace webhook::console
