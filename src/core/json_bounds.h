// Bounds on an event's data. Data beyond them is not shown to a filter.
//
// A filter sees jsonb. The conversion sorts the keys of an object, in quadratic time if their order is chosen to make
// it slow, and computes with numbers of any length. PostgreSQL can interrupt neither. So json_bounds() scans the text
// first, to find data that would take long.
#pragma once

#include <cstddef>
#include <string_view>

namespace webhook {

inline constexpr std::size_t kJsonBytesMax = 256UL << 10;
inline constexpr std::size_t kJsonValuesMax = 10'000;
inline constexpr std::size_t kJsonDepthMax = 1'000;
// Summed over all objects, the square of each object's number of members: one object with 2,000, or 400 with 100 each.
inline constexpr std::size_t kJsonMembersSquaredMax = 4'000'000;
inline constexpr std::size_t kJsonNumberBytesMax = 100;
inline constexpr int kJsonExponentMax = 308;  // a double's

struct JsonBounds {
  // Why no filter may see the data, for a log line: "it has more than 10000 values". nullptr if filters may see it.
  const char* problem = nullptr;
  // A string in the data reads as a number beyond the bounds. A filter must not convert it to a number.
  bool has_long_number_text = false;
};

// Takes bounded time, linear in the size. The text need not be JSON, because text that is not JSON can't be converted.
JsonBounds json_bounds(std::string_view json);

}  // namespace webhook
