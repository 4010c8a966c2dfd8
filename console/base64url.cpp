#include "console/base64url.h"

#include <cstdint>

namespace webhook::console {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

std::string to_base64url(std::string_view bytes) {
  std::string result;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char byte : bytes) {
    bits = bits << 8 | static_cast<std::uint8_t>(byte);
    for (count += 8; count >= 6; count -= 6) result += kAlphabet[bits >> (count - 6) & 63];
  }
  if (count > 0) result += kAlphabet[bits << (6 - count) & 63];
  return result;
}

std::optional<std::string> from_base64url(std::string_view text) {
  std::string result;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return {};
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      result += static_cast<char>(bits >> count & 255);
    }
  }
  if (text.size() % 4 == 1 || (bits & ((1U << count) - 1)) != 0) return {};
  return result;
}

}  // namespace webhook::console
