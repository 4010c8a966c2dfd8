#include "core/log_limit.h"

#include <gtest/gtest.h>

#include <string>

namespace webhook {
namespace {

using namespace std::chrono_literals;

constexpr Time kNow = std::chrono::sys_days(std::chrono::year(2024) / 1 / 15);

std::size_t count_admitted(LogLimit* limit, const std::optional<std::string>& organization, std::size_t lines,
                           Time now) {
  std::size_t admitted = 0;
  for (std::size_t i = 0; i < lines; ++i) admitted += limit->admit(organization, now) ? 1 : 0;
  return admitted;
}

TEST(LogLimit, AnOrganizationGetsItsLinesOfAMinute) {
  LogLimit limit;
  EXPECT_EQ(count_admitted(&limit, "acme", 1'000, kNow), LogLimit::kLinesMax);
  EXPECT_EQ(count_admitted(&limit, "globex", 1, kNow), 1U) << "another one still has its own";
  EXPECT_EQ(limit.end(kNow + 59s), std::nullopt);
  const auto left_out = limit.end(kNow + 60s);
  ASSERT_TRUE(left_out);
  EXPECT_EQ(left_out->lines, 1'000 - LogLimit::kLinesMax);
  EXPECT_EQ(left_out->most_of, "acme");
  EXPECT_EQ(left_out->lines_of_most, 1'000 - LogLimit::kLinesMax);
  EXPECT_EQ(count_admitted(&limit, "acme", 1'000, kNow + 60s), LogLimit::kLinesMax) << "the next minute";
}

TEST(LogLimit, AllTogetherAreBoundedToo) {
  LogLimit limit;
  std::size_t admitted = 0;
  for (int i = 0; i < 10'000; ++i) admitted += count_admitted(&limit, std::to_string(i), 2, kNow);
  EXPECT_EQ(admitted, LogLimit::kAllLinesMax);
  const auto left_out = limit.end(kNow + 60s);
  ASSERT_TRUE(left_out);
  EXPECT_EQ(left_out->lines, 20'000 - LogLimit::kAllLinesMax);
}

TEST(LogLimit, NoOrganizationIsAnotherThanTheEmptyOne) {
  LogLimit limit;
  EXPECT_EQ(count_admitted(&limit, std::nullopt, 100, kNow), LogLimit::kLinesMax);
  EXPECT_EQ(count_admitted(&limit, "", 100, kNow), LogLimit::kLinesMax);
}

TEST(LogLimit, SaysNothingOfAMinuteInWhichNothingWasLeftOut) {
  LogLimit limit;
  EXPECT_EQ(count_admitted(&limit, "acme", LogLimit::kLinesMax, kNow), LogLimit::kLinesMax);
  EXPECT_EQ(limit.end(kNow + 1h), std::nullopt);
  EXPECT_EQ(count_admitted(&limit, "acme", LogLimit::kLinesMax, kNow + 1h), LogLimit::kLinesMax);
}

TEST(LogLimit, AClockThatIsSetBackEndsTheMinute) {
  LogLimit limit;
  count_admitted(&limit, "acme", 100, kNow);
  EXPECT_TRUE(limit.end(kNow - 1h));
  EXPECT_EQ(count_admitted(&limit, "acme", 100, kNow - 1h), LogLimit::kLinesMax);
}

}  // namespace
}  // namespace webhook
