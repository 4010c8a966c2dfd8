// What is stored of a response, whatever its bytes: text that every PostgreSQL takes.
#include "core/utf8.h"

#include <string>

#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

// The definition itself, character by character: decoded, within the code points, and as short as it can be.
bool is_well_formed(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<std::uint8_t>(bytes[i]);
    const std::size_t size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (size == 0 || i + size > bytes.size()) return false;
    std::uint32_t code = size == 1 ? lead : lead & (0x7fU >> size);
    for (std::size_t j = 1; j < size; ++j) {
      const auto next = static_cast<std::uint8_t>(bytes[i + j]);
      if (next >> 6 != 2) return false;
      code = code << 6 | (next & 0x3fU);
    }
    const std::size_t shortest = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) || size != shortest) return false;
    i += size;
  }
  return true;
}

void check(std::string_view bytes) {
  require(is_valid_utf8(bytes) == is_well_formed(bytes), "valid is what the definition says");
  const std::string text = to_valid_utf8(bytes);
  require(is_well_formed(text), "any bytes become valid text");
  require(text.size() <= 3 * bytes.size(), "of at most three times their length");
  require(is_well_formed(bytes) ? text == bytes : text != bytes, "valid text stays as it is");
  require(to_valid_utf8(text) == text, "once is enough");
  for (std::size_t max = 0; max <= std::min<std::size_t>(text.size() + 1, 64); ++max) {
    const std::string_view prefix = utf8_prefix(text, max);
    require(prefix.size() <= max && text.starts_with(prefix), "a prefix is one, within its bound");
    require(is_well_formed(prefix), "a prefix cuts no character in two");
    require(prefix.size() + 3 >= std::min(max, text.size()), "a prefix is as long as it can be");
    require(utf8_prefix(bytes, max).size() <= max, "a prefix of any bytes is within its bound");
  }
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  webhook::check(webhook::fuzz::text_of(data, size));
  return 0;
}
