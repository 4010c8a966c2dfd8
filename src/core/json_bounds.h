// Bounds of an event's data within which a filter may see it.
//
// A filter sees jsonb, and PostgreSQL converts to it in one go: it sorts the keys of an object, in time quadratic in their
// number if they come in an order made for that, and computes with numbers of any length. Neither can be interrupted. So
// what takes long is found beforehand, by a look at the text.
#pragma once

#include <cstddef>
#include <string_view>

namespace webhook {

inline constexpr std::size_t kJsonBytesMax = 256UL << 10;
inline constexpr std::size_t kJsonValuesMax = 10'000;
inline constexpr std::size_t kJsonDepthMax = 1'000;
// Of all objects together, the sum of the squares of the numbers of their members: 2,000 in one object, or 100
// in each of 400.
inline constexpr std::size_t kJsonMembersSquaredMax = 4'000'000;
inline constexpr std::size_t kJsonNumberBytesMax = 100;
inline constexpr int kJsonExponentMax = 308;  // a double's

struct JsonBounds {
  // Why no filter may see the data, for a log line: "it has more than 10000 values". nullptr: one may.
  const char* problem = nullptr;
  // A string of it reads as a number beyond the bounds of numbers. It must not be made one.
  bool has_long_number_text = false;
};

// The time that this takes is linear in the size, and bounded. The text need not be JSON: what is not cannot be converted.
JsonBounds json_bounds(std::string_view json);

}  // namespace webhook
