#include "core/level.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

std::uint64_t total_at(const std::vector<std::uint64_t>& holdings, std::uint64_t level) {
  std::uint64_t total = 0;
  for (const std::uint64_t holding : holdings) total += std::min(holding, level);
  return total;
}

TEST(LevelTest, NobodyIsCutOffWithinTheQuota) {
  EXPECT_GE(common_level({5, 3, 2}, 10), 5U);
  EXPECT_GE(common_level({}, 10), 0U);
  EXPECT_GE(common_level({0, 0}, 0), 0U);
}

TEST(LevelTest, WhoHasTheMostGivesUpAlone) { EXPECT_EQ(common_level({1'000'000, 3, 2}, 105), 100U); }

TEST(LevelTest, EqualOnesGiveUpTheSame) { EXPECT_EQ(common_level({100, 100, 100, 100}, 40), 10U); }

TEST(LevelTest, TheLevelIsTheHighestThatFits) {
  const std::vector<std::vector<std::uint64_t>> cases = {{7}, {9, 1}, {5, 5, 1}, {1, 2, 3, 4, 5}, {8, 0, 8, 3}};
  for (const auto& holdings : cases) {
    const std::uint64_t all = total_at(holdings, 1'000);
    for (std::uint64_t quota = 0; quota < all; ++quota) {
      const std::uint64_t level = common_level(holdings, quota);
      EXPECT_LE(total_at(holdings, level), quota);
      EXPECT_GT(total_at(holdings, level + 1), quota);
    }
  }
}

}  // namespace
}  // namespace webhook
