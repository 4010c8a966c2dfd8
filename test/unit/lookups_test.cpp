#include "http/lookups.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using Start = Lookups::Start;
const Lookups::SteadyTime kNow{};

TEST(Lookups, HostWithUnansweredOnesGetsNoOther) {
  Lookups lookups;
  for (std::size_t i = 0; i < Lookups::kAbandonedPerHostMax; ++i) {
    EXPECT_EQ(lookups.start("silent.test", kNow), Start::kStarted);
    lookups.abandon("silent.test", kNow);
  }
  EXPECT_EQ(lookups.start("silent.test", kNow), Start::kHostIsSilent);
  EXPECT_EQ(lookups.start("other.test", kNow), Start::kStarted);
  EXPECT_EQ(lookups.start("silent.test", kNow + Lookups::kAbandonedFor), Start::kStarted) << "their threads are gone";
}

TEST(Lookups, AnsweredOnesDoNotCount) {
  Lookups lookups;
  for (std::size_t i = 0; i < 10 * Lookups::kTotalMax; ++i) {
    ASSERT_EQ(lookups.start("busy.test", kNow), Start::kStarted);
    lookups.end();
  }
  EXPECT_EQ(lookups.total(), 0U);
}

TEST(Lookups, AllTogetherAreBounded) {
  Lookups lookups;
  for (std::size_t i = 0; i < Lookups::kTotalMax; ++i) {
    const std::string host = std::to_string(i) + ".test";
    ASSERT_EQ(lookups.start(host, kNow), Start::kStarted);
    if (i % 2 == 0) lookups.abandon(host, kNow);
  }
  EXPECT_EQ(lookups.start("one.more.test", kNow), Start::kTooMany);
  lookups.end();
  EXPECT_EQ(lookups.start("one.more.test", kNow), Start::kStarted);
}

}  // namespace
}  // namespace webhook
