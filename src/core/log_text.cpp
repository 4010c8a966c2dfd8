#include "core/log_text.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/utf8.h"

namespace webhook {
namespace {

struct Range {
  char32_t first;
  char32_t last;  // inclusive
};

// Cc, Cf, Zl, Zp and Default_Ignorable_Code_Point of Unicode 15.1, in ascending order.
constexpr std::array kUnprintable = std::to_array<Range>({
    {0x0000, 0x001F},   {0x007F, 0x009F},   {0x00AD, 0x00AD},   {0x034F, 0x034F},   {0x0600, 0x0605},
    {0x061C, 0x061C},   {0x06DD, 0x06DD},   {0x070F, 0x070F},   {0x0890, 0x0891},   {0x08E2, 0x08E2},
    {0x115F, 0x1160},   {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x200B, 0x200F},   {0x2028, 0x202E},
    {0x2060, 0x206F},   {0x3164, 0x3164},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
});

bool is_printable(char32_t character) {
  const auto* const range = std::lower_bound(kUnprintable.begin(), kUnprintable.end(), character,
                                             [](const Range& r, char32_t sought) { return r.last < sought; });
  return range == kUnprintable.end() || character < range->first;
}

std::string escape(char letter, std::uint32_t number, int digits) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text = {'\\', letter};
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) text += kDigits[number >> shift & 0xf];
  return text;
}

// sequence: well-formed UTF-8.
char32_t decode(std::string_view sequence) {
  constexpr std::array<std::uint8_t, 5> kLeadBits = {0, 0x7f, 0x1f, 0x0f, 0x07};
  char32_t character = static_cast<std::uint8_t>(sequence[0]) & kLeadBits[sequence.size()];
  for (const char c : sequence.substr(1)) character = character << 6 | (static_cast<std::uint8_t>(c) & 0x3f);
  return character;
}

std::string escaped(char32_t character) {
  return character > 0xffff ? escape('U', character, 8) : escape('u', character, 4);
}

std::string shown(std::string_view sequence) {
  const char32_t character = decode(sequence);
  return is_printable(character) ? std::string(sequence) : escaped(character);
}

}  // namespace

std::string printable(std::string_view text, std::size_t bytes_max) {
  std::string result;
  while (!text.empty()) {
    const std::size_t size = utf8_sequence_bytes(text);
    const std::string next =
        size == 0 ? escape('x', static_cast<std::uint8_t>(text[0]), 2) : shown(text.substr(0, size));
    if (result.size() + next.size() > bytes_max) return result + "...";
    result += next;
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return result;
}

std::string LogText::ascii() const {
  std::string result;
  for (std::string_view rest = text_; !rest.empty();) {
    const std::string_view sequence = rest.substr(0, utf8_sequence_bytes(rest));
    result += sequence.size() == 1 ? std::string(sequence) : escaped(decode(sequence));
    rest.remove_prefix(sequence.size());
  }
  return result;
}

}  // namespace webhook
