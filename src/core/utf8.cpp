#include "core/utf8.h"

#include <cstdint>
#include <cstring>

namespace webhook {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

std::uint8_t byte_at(std::string_view bytes, std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); }

bool is_continuation(std::uint8_t byte) { return (byte & 0xc0) == 0x80; }

// Skips ASCII other than NUL from begin on, eight bytes at a time. Up to seven such bytes may follow the result.
std::size_t skip_ascii_words(std::string_view bytes, std::size_t begin) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  std::size_t i = begin;
  while (i + sizeof(std::uint64_t) <= bytes.size()) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    // Subtracting one sets a high bit where a byte is zero.
    if (((word | (word - kOnes)) & kHighBits) != 0) break;
    i += sizeof word;
  }
  return i - begin;
}

struct Sequence {
  std::size_t size;  // of the character, or of the ill-formed maximal subpart; at least 1
  bool is_valid;
};

// The sequence at i, by table 3-7 of the Unicode standard. i < bytes.size().
Sequence sequence_at(std::string_view bytes, std::size_t i) {
  const std::uint8_t lead = byte_at(bytes, i);
  if (lead < 0x80) return {1, lead != 0};
  if (lead < 0xc2 || lead > 0xf4) return {1, false};

  const std::size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and code points above U+10FFFF.
  const std::uint8_t second_min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const std::uint8_t second_max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (i + 1 == bytes.size()) return {1, false};
  const std::uint8_t second = byte_at(bytes, i + 1);
  if (second < second_min || second > second_max) return {1, false};
  for (std::size_t taken = 2; taken < size; ++taken) {
    if (i + taken == bytes.size() || !is_continuation(byte_at(bytes, i + taken))) return {taken, false};
  }
  return {size, true};
}

// The position of the first ill-formed sequence at or after begin, or bytes.size() if there is none.
std::size_t find_ill_formed(std::string_view bytes, std::size_t begin) {
  std::size_t i = begin;
  while (i < bytes.size()) {
    const std::size_t ascii = skip_ascii_words(bytes, i);
    if (ascii != 0) {
      i += ascii;
      continue;
    }
    const Sequence sequence = sequence_at(bytes, i);
    if (!sequence.is_valid) return i;
    i += sequence.size;
  }
  return i;
}

}  // namespace

bool is_valid_utf8(std::string_view bytes) { return find_ill_formed(bytes, 0) == bytes.size(); }

std::string to_valid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t ill_formed = find_ill_formed(bytes, i);
    text += bytes.substr(i, ill_formed - i);
    if (ill_formed == bytes.size()) break;
    text += kReplacement;
    i = ill_formed + sequence_at(bytes, ill_formed).size;
  }
  return text;
}

std::size_t utf8_sequence_bytes(std::string_view text) {
  if (text[0] == '\0') return 1;
  const Sequence sequence = sequence_at(text, 0);
  return sequence.is_valid ? sequence.size : 0;
}

std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max) {
  constexpr std::size_t kContinuationsMax = 3;
  if (text.size() <= bytes_max) return text;
  for (std::size_t back = 0; back <= kContinuationsMax && back <= bytes_max; ++back) {
    if (!is_continuation(byte_at(text, bytes_max - back))) return text.substr(0, bytes_max - back);
  }
  return text.substr(0, bytes_max);
}

}  // namespace webhook
