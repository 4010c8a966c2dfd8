// Which custom headers a webhook may send. They must follow RFC 9110's syntax, and must not be headers that this
// extension sets or that control the connection.
//
// Surprising: an empty value is refused, because libcurl takes "Name:" as a request to send no such header.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace webhook {

// What is wrong with the header. Nothing if it may be sent. The name is a token (RFC 9110, section 5.6.2) of at most
// 100 bytes. The value is 1 to 2000 bytes of visible ASCII, with spaces and tabs inside. The text contains neither the
// value nor a malformed name, because both may hold a secret.
std::optional<std::string> header_problem(std::string_view name, std::string_view value);

}  // namespace webhook
