#include "core/time_allowance.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kBegin{seconds(1'700'000'000)};

TEST(TimeAllowanceTest, BeginsFullAndFillsByAShareOfTheTime) {
  TimeAllowance allowance(kBegin);
  EXPECT_EQ(allowance.left(kBegin), TimeAllowance::kMost);
  EXPECT_EQ(allowance.left(kBegin + seconds(100)), TimeAllowance::kMost);
  allowance.left(kBegin + seconds(100)) -= TimeAllowance::kMost;
  EXPECT_EQ(allowance.left(kBegin + seconds(100)), Duration::zero());
  EXPECT_EQ(allowance.left(kBegin + seconds(101)), milliseconds(100));
  EXPECT_FALSE(allowance.is_full(kBegin + seconds(119)));
  EXPECT_TRUE(allowance.is_full(kBegin + seconds(120)));
}

TEST(TimeAllowanceTest, WhatIsOverdrawnIsPaidBackFirst) {
  TimeAllowance allowance(kBegin);
  allowance.left(kBegin) -= TimeAllowance::kMost + seconds(1);
  EXPECT_EQ(allowance.left(kBegin + seconds(9)), -milliseconds(100));
  EXPECT_EQ(allowance.left(kBegin + seconds(10)), Duration::zero());
}

TEST(TimeAllowanceTest, ClockThatIsSetBackNeitherGivesNorTakes) {
  TimeAllowance allowance(kBegin);
  allowance.left(kBegin) -= seconds(2);
  EXPECT_EQ(allowance.left(kBegin - seconds(1000)), Duration::zero());
  EXPECT_EQ(allowance.left(kBegin - seconds(990)), seconds(1));
}

}  // namespace
}  // namespace webhook
