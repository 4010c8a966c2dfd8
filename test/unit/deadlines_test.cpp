#include "worker/deadlines.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using namespace std::chrono_literals;

enum class Name { kFirst, kSecond, kCount };

constexpr Time kNow{1000s};

TEST(DeadlinesTest, OneThatWasNeverSetHasPassed) {
  const Deadlines<Name> deadlines;
  EXPECT_TRUE(deadlines.has_passed(Name::kFirst, kNow));
}

TEST(DeadlinesTest, OneHasPassedFromItsTimeOn) {
  Deadlines<Name> deadlines;
  deadlines.set(Name::kFirst, kNow);
  EXPECT_FALSE(deadlines.has_passed(Name::kFirst, kNow - 1us));
  EXPECT_TRUE(deadlines.has_passed(Name::kFirst, kNow));
}

TEST(DeadlinesTest, IsBroughtForwardButNotPutOff) {
  Deadlines<Name> deadlines;
  deadlines.set(Name::kFirst, kNow);
  deadlines.bring_forward(Name::kFirst, kNow + 1s);
  EXPECT_EQ(deadlines[Name::kFirst], kNow);
  deadlines.bring_forward(Name::kFirst, kNow - 1s);
  EXPECT_EQ(deadlines[Name::kFirst], kNow - 1s);
}

TEST(DeadlinesTest, WhenTheClockIsSetBackAllThatLieAheadAreDue) {
  Deadlines<Name> deadlines;
  deadlines.set(Name::kFirst, kNow + 1h);
  deadlines.set(Name::kSecond, kNow - 1h);
  deadlines.clock_set_back(kNow);
  EXPECT_EQ(deadlines[Name::kFirst], kNow);
  EXPECT_EQ(deadlines[Name::kSecond], kNow - 1h);
}

TEST(EarliestTest, IsTheEarliestOfThoseThatCount) {
  Earliest earliest;
  EXPECT_EQ(earliest.time(), std::nullopt);
  earliest.add(std::nullopt);
  earliest.add(kNow + 1s);
  earliest.add(std::optional(kNow));
  EXPECT_EQ(earliest.time(), kNow);
}

}  // namespace
}  // namespace webhook
