// Which custom headers a webhook may send along: RFC 9110's syntax, and none that are ours or the connection's.
//
// Surprising: an empty value is refused, because libcurl takes "Name:" as the wish to send no such header.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace webhook {

// What is wrong with the header; nothing: it may be sent. The name is a token (RFC 9110, section 5.6.2) of at most 100
// bytes; the value is 1 to 2000 bytes of visible ASCII, with spaces and tabs inside. The text names neither value
// nor an ill-formed name: both may hold a secret.
std::optional<std::string> header_problem(std::string_view name, std::string_view value);

}  // namespace webhook
