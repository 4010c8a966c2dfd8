// Random texts that nobody guesses, and how to compare them.
#pragma once

#include <string>
#include <string_view>

namespace webhook::console {

// 256 bits from OpenSSL, as 43 characters of base64url. Throws std::runtime_error if there is no randomness.
std::string random_token();

// Takes the same time wherever the two differ.
bool is_same_secret(std::string_view left, std::string_view right);

}  // namespace webhook::console
