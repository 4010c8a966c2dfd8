#include "core/retry.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using namespace std::chrono_literals;
using std::chrono::days;
using std::chrono::sys_days;

const Time kNow = sys_days(1994y / 11 / 6) + 8h + 49min + 37s;
const RetrySchedule kSchedule = {5s, 30s, 5min};

constexpr double kMiddle = 0.5;  // neither shortens nor lengthens the wait

TEST(NextRetryAt, WaitsAsTheScheduleSays) {
  EXPECT_EQ(next_retry_at(kNow, 1, kSchedule, kMiddle), kNow + 5s);
  EXPECT_EQ(next_retry_at(kNow, 2, kSchedule, kMiddle), kNow + 30s);
  EXPECT_EQ(next_retry_at(kNow, 3, kSchedule, kMiddle), kNow + 5min);
}

TEST(NextRetryAt, EndsWithTheSchedule) {
  EXPECT_EQ(next_retry_at(kNow, 4, kSchedule, kMiddle), std::nullopt);
  EXPECT_EQ(next_retry_at(kNow, 1, {}, kMiddle), std::nullopt);
}

TEST(NextRetryAt, NeedsAnAttemptThatFailed) {
  EXPECT_EQ(next_retry_at(kNow, 0, kSchedule, kMiddle), std::nullopt);
  EXPECT_EQ(next_retry_at(kNow, -1, kSchedule, kMiddle), std::nullopt);
}

TEST(NextRetryAt, SpreadsWaitsByTwentyPercent) {
  EXPECT_EQ(next_retry_at(kNow, 3, kSchedule, 0.0), kNow + 4min);
  EXPECT_EQ(next_retry_at(kNow, 3, kSchedule, 0.25), kNow + 270s);
  const Time latest = next_retry_at(kNow, 3, kSchedule, 0.999999).value();
  EXPECT_LT(latest, kNow + 6min);
  EXPECT_GT(latest, kNow + 6min - 1ms);
}

TEST(NextRetryAt, BoundsWaitsOfAnyLength) {
  EXPECT_EQ(next_retry_at(kNow, 1, {Duration::max()}, kMiddle), kNow + kRetryWaitMax);
  EXPECT_EQ(next_retry_at(kNow, 1, {Duration::min()}, kMiddle), kNow);
}

TEST(ParseDuration, KnowsTheUnits) {
  EXPECT_EQ(parse_duration("500ms"), 500ms);
  EXPECT_EQ(parse_duration("5s"), 5s);
  EXPECT_EQ(parse_duration("5min"), 5min);
  EXPECT_EQ(parse_duration("2h"), 2h);
  EXPECT_EQ(parse_duration("1d"), days(1));
  EXPECT_EQ(parse_duration("0s"), 0s);
}

TEST(ParseDuration, AllowsSpacesBeforeTheUnit) { EXPECT_EQ(parse_duration("30 s"), 30s); }

TEST(ParseDuration, RefusesOtherText) {
  for (const std::string_view text : {"", "s", "5", "5 ", "-5s", "+5s", "1.5h", "5m", "5S", "5sec", "5 s ", " 5s",
                                      "5s5s", "0x5s", "5\ts", "five s", " s"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(ParseDuration, RefusesWhatIsTooLong) {
  EXPECT_EQ(parse_duration("3650d"), kRetryWaitMax);
  for (const std::string_view text : {"3651d", "87601h", "99999999999999999999s", "18446744073709551617ms"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(ParseRetrySchedule, ReadsTheDefault) {
  EXPECT_EQ(parse_retry_schedule("5s, 30s, 5min, 30min, 2h, 5h, 10h, 10h", nullptr),
            (RetrySchedule{5s, 30s, 5min, 30min, 2h, 5h, 10h, 10h}));
}

TEST(ParseRetrySchedule, EmptyListMeansNoRetry) {
  EXPECT_EQ(parse_retry_schedule("", nullptr), RetrySchedule{});
  EXPECT_EQ(parse_retry_schedule(" ", nullptr), RetrySchedule{});
}

TEST(ParseRetrySchedule, NamesTheItemThatIsBad) {
  std::string bad_item;
  EXPECT_EQ(parse_retry_schedule("5s, 5 minutes ,x", &bad_item), std::nullopt);
  EXPECT_EQ(bad_item, "5 minutes");
}

TEST(ParseRetrySchedule, RefusesAnEmptyItem) {
  EXPECT_EQ(parse_retry_schedule("5s,,30s", nullptr), std::nullopt);
  EXPECT_EQ(parse_retry_schedule("5s,", nullptr), std::nullopt);
}

TEST(ParseRetryAfter, ReadsSeconds) {
  EXPECT_EQ(parse_retry_after("120", kNow), 120s);
  EXPECT_EQ(parse_retry_after("0", kNow), 0s);
  EXPECT_EQ(parse_retry_after(" 007\t", kNow), 7s);
}

TEST(ParseRetryAfter, ReadsTheDateOfRfc9110) {
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kNow), 0s);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kNow - 90s), 90s);
  EXPECT_EQ(parse_retry_after("Thu, 29 Feb 2024 23:59:59 GMT", sys_days(2024y / 3 / 1) - 2s), 1s);
}

TEST(ParseRetryAfter, ReadsTheDateOfRfc850) {
  EXPECT_EQ(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", kNow - 90s), 90s);
  EXPECT_EQ(parse_retry_after("Thursday, 29-Feb-24 23:59:59 GMT", sys_days(2024y / 3 / 1) - 2s), 1s);
}

TEST(ParseRetryAfter, YearOfTwoDigitsIsAtMostFiftyYearsAhead) {
  const Time now = sys_days(2026y / 11 / 28);
  EXPECT_EQ(parse_retry_after("Sunday, 29-Nov-26 00:00:00 GMT", now), 24h);
  EXPECT_EQ(parse_retry_after("Friday, 01-Jan-27 00:00:00 GMT", now), sys_days(2027y / 1 / 1) - now);
  EXPECT_EQ(parse_retry_after("Tuesday, 01-Jan-75 00:00:00 GMT", now), kRetryWaitMax);
  EXPECT_EQ(parse_retry_after("Thursday, 31-Dec-76 00:00:00 GMT", now), 0s);
  EXPECT_EQ(parse_retry_after("Friday, 31-Dec-99 23:59:59 GMT", now), 0s);
  const Time turn = sys_days(2099y / 12 / 31) + 23h;
  EXPECT_EQ(parse_retry_after("Friday, 01-Jan-00 00:00:00 GMT", turn), 1h);
  EXPECT_EQ(parse_retry_after("Thursday, 31-Dec-99 23:30:00 GMT", turn), 30min);
}

TEST(ParseRetryAfter, ReadsTheDateOfAsctime) {
  EXPECT_EQ(parse_retry_after("Sun Nov  6 08:49:37 1994", kNow - 90s), 90s);
  EXPECT_EQ(parse_retry_after("Thu Feb 29 23:59:59 2024", sys_days(2024y / 3 / 1) - 2s), 1s);
}

TEST(ParseRetryAfter, DateThatHasPassedIsNoWait) {
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kNow + 1h), 0s);
  EXPECT_EQ(parse_retry_after("Sat, 01 Jan 0000 00:00:00 GMT", kNow), 0s);
}

TEST(ParseRetryAfter, BoundsAbsurdWaits) {
  EXPECT_EQ(parse_retry_after("99999999999999999999999999", kNow), kRetryWaitMax);
  EXPECT_EQ(parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", kNow), kRetryWaitMax);
}

TEST(ParseRetryAfter, IgnoresMalformedValues) {
  for (const std::string_view text : {
           "",
           " ",
           "-1",
           "+1",
           "1.5",
           "1s",
           "soon",
           "0x10",
           "Sun, 6 Nov 1994 08:49:37 GMT",   // one digit
           "Sun, 06 nov 1994 08:49:37 GMT",  // case
           "Sun, 06 Nov 1994 08:49:37 UTC",  // zone
           "Sun, 06 Nov 1994 08:49:37",      // none
           "Xxx, 06 Nov 1994 08:49:37 GMT",  // no weekday
           "Sun, 31 Nov 1994 08:49:37 GMT",  // no such day
           "Wed, 29 Feb 2023 08:49:37 GMT",  // no leap year
           "Sun, 00 Nov 1994 08:49:37 GMT",  // no such day
           "Sun, 06 Nov 1994 24:00:00 GMT",  // no such hour
           "Sun, 06 Nov 1994 08:60:37 GMT",  // no such minute
           "Sun, 06 Nov 1994 08:49:61 GMT",  // no such second
           "Sun, 06 Nov -994 08:49:37 GMT",  // sign
           "Sun, 06 Nov 1994 08:49:37 GMT, 1",
           "Sun, 06-Nov-94 08:49:37 GMT",       // RFC 850's weekday is long
           "Sunday, 06-Nov-1994 08:49:37 GMT",  // its year is short
           "Sunday, 06 Nov 94 08:49:37 GMT",    // hyphens
           "Sunday, 31-Nov-94 08:49:37 GMT",    // no such day
           "Sunday, 06-Nov-94 08:49:37 UTC",    // zone
           "Sunday, 06-Nov-94 08:49:37",        // none
           "Sunday, 6-Nov-94 08:49:37 GMT",     // one digit
           "Sunday",
           "Sunday,",
           "Sun Nov 6 08:49:37 1994",       // asctime pads
           "Sun Nov 006 08:49:37 1994",     // too many digits
           "Sunday Nov  6 08:49:37 1994",   // its weekday is short
           "Sun Nov  6 08:49:37 1994 GMT",  // it has no zone
           "Sun Nov  0 08:49:37 1994",      // no such day
           "Sun Nov    08:49:37 1994",      // no day
           "Sun Feb 30 08:49:37 1994",      // no such day
       }) {
    EXPECT_EQ(parse_retry_after(text, kNow), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace webhook
