#include "core/ring.h"

#include <gtest/gtest.h>

#include <set>

namespace webhook {
namespace {

using std::chrono::days;

constexpr Time kOpened = std::chrono::sys_days(std::chrono::year(2024) / 1 / 15);
constexpr RingLimits kLimits{.retention = days(7), .bytes_max = 8'000};

TEST(RingTest, SegmentsFollowEachOtherInACircle) {
  std::set<int> seen;
  int segment = 0;
  for (int i = 0; i < kRingSegments; ++i) {
    seen.insert(segment);
    segment = next_segment(segment);
  }
  EXPECT_EQ(segment, 0);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kRingSegments));
}

TEST(RingTest, SegmentsOfTheExcessFollowEachOtherInACircleOfTheirOwn) {
  std::set<int> seen;
  int segment = kRingSegments;
  for (int i = 0; i < kExcessSegments; ++i) {
    EXPECT_TRUE(is_excess_segment(segment));
    seen.insert(segment);
    segment = next_segment(segment);
  }
  EXPECT_EQ(segment, kRingSegments);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kExcessSegments));
  EXPECT_FALSE(is_excess_segment(kRingSegments - 1));
}

TEST(RingTest, BothRingsTogetherTakeTheRoomThatThereIs) {
  for (const std::uint64_t bytes : {0ULL, 1ULL, 7ULL, 1ULL << 20, 10ULL << 30}) {
    EXPECT_EQ(shared_bytes(bytes) + excess_bytes(bytes), bytes);
  }
}

TEST(RingTest, FewerSegmentsAreEachFullLater) {
  const RingLimits limits{.retention = days(6), .bytes_max = 8'000, .segments = 4};
  EXPECT_FALSE(is_segment_full(limits, kOpened, kOpened + days(2) - Duration(1), 1'999, false));
  EXPECT_TRUE(is_segment_full(limits, kOpened, kOpened + days(2), 1, false));
  EXPECT_TRUE(is_segment_full(limits, kOpened, kOpened, 2'000, false));
}

TEST(RingTest, SegmentIsFullInTime) {
  EXPECT_FALSE(is_segment_full(kLimits, kOpened, kOpened + days(1) - Duration(1), 1, false));
  EXPECT_TRUE(is_segment_full(kLimits, kOpened, kOpened + days(1), 1, false));
}

TEST(RingTest, SegmentThatWasOpenedInTheFarFutureIsFull) {
  EXPECT_FALSE(is_segment_full(kLimits, kOpened, kOpened - days(1) + Duration(1), 1, false));
  EXPECT_TRUE(is_segment_full(kLimits, kOpened, kOpened - days(1), 1, false));
}

TEST(RingTest, SegmentIsFullInSize) {
  EXPECT_FALSE(is_segment_full(kLimits, kOpened, kOpened, 999, false));
  EXPECT_TRUE(is_segment_full(kLimits, kOpened, kOpened, 1'000, false));
}

// An index takes pages before the first row comes; and turning an empty segment would age the others for nothing.
TEST(RingTest, EmptySegmentIsNeverFull) {
  EXPECT_FALSE(is_segment_full(kLimits, kOpened, kOpened + days(100), 100'000, true));
}

TEST(RingTest, EightSegmentsKeepNoMoreThanTheRingMayHold) {
  EXPECT_TRUE(is_segment_full(kLimits, kOpened, kOpened, kLimits.bytes_max / kRingSegments, false));
}

// When a segment is emptied, the seven behind it have lasted the retention.
TEST(RingTest, SegmentsBehindTheCurrentOneCoverTheRetention) {
  Time now = kOpened;
  for (int i = 0; i < kRingSegments - 1; ++i) {
    const Time opened = now;
    while (!is_segment_full(kLimits, opened, now, 1, false)) now += std::chrono::hours(1);
  }
  EXPECT_GE(now - kOpened, kLimits.retention);
}

}  // namespace
}  // namespace webhook
