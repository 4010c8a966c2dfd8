#include "core/shares.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>

namespace webhook {
namespace {

using namespace std::chrono_literals;

constexpr ShareLimit kLimit{.bytes = 1'000'000, .drains_in = 1000s};
constexpr Time kStart{std::chrono::hours(1'000'000)};

TEST(SharesTest, WhatIsWithinAShareIsTaken) {
  Shares shares{};
  EXPECT_TRUE(shares.take(1, 600'000, kLimit, kStart));
  EXPECT_TRUE(shares.take(1, 400'000, kLimit, kStart));
  EXPECT_NEAR(shares.used(1, kLimit, kStart), 1, 0.01);
}

TEST(SharesTest, WhatIsBeyondItIsNotAndIsNotCounted) {
  Shares shares{};
  EXPECT_TRUE(shares.take(1, 900'000, kLimit, kStart));
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(shares.take(1, 200'000, kLimit, kStart));
  EXPECT_TRUE(shares.take(1, 50'000, kLimit, kStart));
  EXPECT_FALSE(shares.take(2, 1'000'001, kLimit, kStart)) << "at once";
}

TEST(SharesTest, OneDoesNotUseUpAnothersShare) {
  Shares shares{};
  EXPECT_TRUE(shares.take(1, 1'000'000, kLimit, kStart));
  EXPECT_FALSE(shares.take(1, 1'000, kLimit, kStart));
  EXPECT_TRUE(shares.take(2, 1'000'000, kLimit, kStart));
  EXPECT_EQ(shares.used(3, kLimit, kStart), 0);
}

TEST(SharesTest, AShareIsFreeAgainBitByBit) {
  Shares shares{};
  EXPECT_TRUE(shares.take(1, 1'000'000, kLimit, kStart));
  EXPECT_FALSE(shares.take(1, 300'000, kLimit, kStart + 299s));
  EXPECT_TRUE(shares.take(1, 300'000, kLimit, kStart + 301s));
  EXPECT_NEAR(shares.used(1, kLimit, kStart + 1001s), 0.3, 0.01);
  EXPECT_TRUE(shares.take(1, 1'000'000, kLimit, kStart + 2000s));
}

TEST(SharesTest, AClockThatIsSetBackMakesNobodyWaitForLonger) {
  Shares shares{};
  EXPECT_TRUE(shares.take(1, 1'000'000, kLimit, kStart + 1h));
  EXPECT_FALSE(shares.take(1, 1'000, kLimit, kStart));
  EXPECT_TRUE(shares.take(1, 500'000, kLimit, kStart + 501s));
}

TEST(SharesTest, AnotherLimitHoldsAtOnce) {
  Shares shares{};
  EXPECT_TRUE(shares.take(1, 1'000'000, kLimit, kStart));
  const ShareLimit lower{.bytes = 1'000, .drains_in = 10s};
  EXPECT_FALSE(shares.take(1, 500, lower, kStart));
  EXPECT_TRUE(shares.take(1, 500, lower, kStart + 6s));
}

// Of a thousand owners one writes a third of all. It is known, and nobody is taken for more than it has written.
TEST(SharesTest, WhoWritesMuchIsKnownAmongMany) {
  Shares shares{};
  std::mt19937 random(1);
  std::unordered_map<std::uint64_t, std::uint64_t> written;
  std::uint64_t refused = 0;
  for (int i = 0; i < 30'000; ++i) {
    const std::uint64_t owner = i % 3 == 0 ? 1 : 2 + random() % 1'000;
    const bool taken = shares.take(owner, 1'000, kLimit, kStart);
    if (owner == 1 && !taken) refused += 1'000;
    if (owner != 1) {
      EXPECT_TRUE(taken);
    }
    written[owner] += 1'000;
  }
  EXPECT_GT(refused, 8'000'000U) << "of 10 MB, with a share of 1 MB";
  for (const auto& [owner, bytes] : written) {
    EXPECT_LE(shares.used(owner, kLimit, kStart), static_cast<double>(bytes) / 1'000'000 + 0.001);
  }
}

// 65 owners that write in turn push each other out of 64 counters, and none writes more than its share.
TEST(SharesTest, ManyWhoWriteTheSameAreAllWithinTheirShares) {
  Shares shares{};
  for (int round = 0; round < 10; ++round) {
    for (std::uint64_t owner = 1; owner <= Shares::kCounters + 1; ++owner) {
      EXPECT_TRUE(shares.take(owner, 100'000, kLimit, kStart));
    }
  }
}

}  // namespace
}  // namespace webhook
