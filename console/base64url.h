// RFC 4648, section 5, without padding: what tokens are written in.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace webhook::console {

std::string to_base64url(std::string_view bytes);

// Strict: no padding, no white space, no other alphabet, no bits set that no byte has. So a text has one spelling.
std::optional<std::string> from_base64url(std::string_view text);

}  // namespace webhook::console
