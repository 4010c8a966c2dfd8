// How owners that share a quota are held to it: those with the largest holdings are cut first, down to a common level.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace webhook {

// The highest level such that the holdings, each capped at it, sum to at most total_max. If the sum is within total_max
// without a cap, the result is at least the largest holding.
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
