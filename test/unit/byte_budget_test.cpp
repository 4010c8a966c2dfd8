#include "core/byte_budget.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace webhook {
namespace {

TEST(ByteBudget, CountsWhatIsHeldUntilItIsLetGo) {
  ByteBudget budget;
  {
    const ByteBudget::Charge one = budget.charge(100);
    ByteBudget::Charge other = budget.charge(20);
    EXPECT_EQ(budget.used(), 120U);
    other.release();
    other.release();
    EXPECT_EQ(budget.used(), 100U);
  }
  EXPECT_EQ(budget.used(), 0U);
}

TEST(ByteBudget, AChargeThatMovesIsCountedOnce) {
  ByteBudget budget;
  std::vector<ByteBudget::Charge> charges;
  for (int i = 0; i < 100; ++i) charges.push_back(budget.charge(7));
  EXPECT_EQ(budget.used(), 700U);
  ByteBudget::Charge moved = std::move(charges.back());
  charges.pop_back();
  EXPECT_EQ(budget.used(), 700U);
  moved = budget.charge(1);
  EXPECT_EQ(budget.used(), 694U) << "what it held before is let go";
  charges.clear();
  EXPECT_EQ(budget.used(), 1U);
}

TEST(ByteBudget, ReadsAsLongAsTheNextReadFitsAndOnceInAnyCase) {
  ByteBudget budget;
  budget.set_max(1'000'000);
  EXPECT_TRUE(budget.has_room_to_read());
  std::vector<ByteBudget::Charge> held;
  for (int i = 0; i < 9; ++i) held.push_back(budget.charge(100'000));
  held.push_back(budget.charge(100'000 - budget.read_max()));
  EXPECT_TRUE(budget.has_room_to_read());
  const ByteBudget::Charge more = budget.charge(1);
  EXPECT_FALSE(budget.has_room_to_read());
  budget.set_max(1);
  EXPECT_FALSE(budget.has_room_to_read());
}

TEST(ByteBudget, WhatIsLargeIsNotCounted) {
  ByteBudget budget;
  budget.set_max(1'000'000);
  const ByteBudget::Charge counted = budget.charge(250'000);
  const ByteBudget::Charge large = budget.charge(250'001);
  EXPECT_EQ(budget.used(), 250'000U);
}

TEST(ByteBudget, AChargeMayOutliveIt) {
  ByteBudget::Charge charge;
  {
    ByteBudget budget;
    charge = budget.charge(1);
  }
  charge.release();
}

TEST(ByteBudget, ItsPartsTogetherAreLessThanTheWhole) {
  ByteBudget budget;
  for (const std::size_t megabytes : {8, 16, 64, 1024}) {
    budget.set_max(megabytes << 20);
    EXPECT_LT(budget.deliveries_max() + budget.results_max() + 3 * budget.read_max(), budget.max());
  }
}

}  // namespace
}  // namespace webhook
