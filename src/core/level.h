// How several that share a quota are held to it: those that have the most give up first, down to a common level.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace webhook {

// The highest level at which the holdings, each cut off there, are no more than total_max together. The largest holding,
// or more, if they are within it as they are.
inline std::uint64_t common_level(std::vector<std::uint64_t> holdings, std::uint64_t total_max) {
  std::ranges::sort(holdings);
  std::uint64_t left = total_max;
  for (std::size_t i = 0; i < holdings.size(); ++i) {
    const std::uint64_t share = left / (holdings.size() - i);
    if (holdings[i] > share) return share;
    left -= holdings[i];
  }
  return std::max(total_max, holdings.empty() ? 0 : holdings.back());
}

}  // namespace webhook
