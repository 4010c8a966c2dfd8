// What the fuzz targets share. Each target is one file, test/fuzz/NAME.cpp, that states what must hold for every input;
// its seeds are in test/fuzz/corpus/NAME. `make fuzz` runs them under libFuzzer, ASan and UBSan.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

// libFuzzer calls it with every input; it returns 0, or does not return.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace webhook::fuzz {

// A finding, unless the property holds. libFuzzer keeps the input.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", property);
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Two texts out of one input: its first byte is the length of the first. So both may hold any byte.
inline std::pair<std::string_view, std::string_view> two_texts(std::string_view input) {
  if (input.empty()) return {};
  const std::size_t length = std::min<std::size_t>(static_cast<std::uint8_t>(input.front()), input.size() - 1);
  return {input.substr(1, length), input.substr(1 + length)};
}

inline bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace webhook::fuzz
