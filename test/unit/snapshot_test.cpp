#include "core/snapshot.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace webhook {
namespace {

Snapshot snapshot(const char* text) { return parse_snapshot(text).value(); }

TEST(SnapshotTest, TextFormSurvivesARoundTrip) {
  for (const char* text :
       {"3:3:", "10:20:", "10:20:10,14,15", "18446744073709551610:18446744073709551615:18446744073709551612"}) {
    EXPECT_EQ(to_string(snapshot(text)), text);
  }
}

TEST(SnapshotTest, MalformedTextIsRefused) {
  for (const char* text : {"", "10", "10:20", "20:10:", "10:20:9", "10:20:20", "10:20:15,14", "10:20:14,14",
                           "10:20:14,", "10:20:,14", "a:b:", "10:20:14 ", "-1:2:"}) {
    EXPECT_FALSE(parse_snapshot(text)) << text;
  }
}

TEST(SnapshotTest, FinishedIsBelowXmaxAndNotRunning) {
  const Snapshot s = snapshot("10:20:10,14");
  EXPECT_TRUE(s.has_finished(9));
  EXPECT_FALSE(s.has_finished(10));
  EXPECT_TRUE(s.has_finished(11));
  EXPECT_FALSE(s.has_finished(14));
  EXPECT_TRUE(s.has_finished(19));
  EXPECT_FALSE(s.has_finished(20));
}

TEST(WindowTest, LateCommitterIsAStraggler) {
  const Window window{snapshot("10:20:10,14"), snapshot("14:25:14,21")};
  EXPECT_EQ(window.stragglers(), std::vector<FullXid>{10});
  EXPECT_TRUE(window.contains(10));
  EXPECT_FALSE(window.contains(14));
  EXPECT_FALSE(window.contains(15));
  EXPECT_TRUE(window.contains(20));
  EXPECT_FALSE(window.contains(21));
  EXPECT_TRUE(window.contains(24));
  EXPECT_FALSE(window.contains(25));
}

TEST(WindowTest, RangesLeaveOutWhatStillRuns) {
  const Window window{snapshot("10:20:10,14"), snapshot("14:25:14,21,22")};
  const Window::Ranges ranges = window.ranges();
  EXPECT_EQ(ranges.low, (std::vector<FullXid>{10, 20, 23}));
  EXPECT_EQ(ranges.high, (std::vector<FullXid>{11, 21, 25}));
}

TEST(WindowTest, BetweenEqualSnapshotsIsEmpty) {
  const Window window{snapshot("10:20:10,14"), snapshot("10:20:10,14")};
  EXPECT_TRUE(window.empty());
  EXPECT_FALSE((Window{snapshot("10:20:10,14"), snapshot("14:20:14")}.empty()));
}

// Whatever begins and ends between the snapshots, each transaction that finishes falls into exactly one window.
TEST(WindowTest, EveryTransactionFallsIntoExactlyOneWindow) {
  std::mt19937 random(42);
  std::set<FullXid> running;
  std::map<FullXid, int> seen;  // finished → in how many windows
  FullXid next = 3;
  Snapshot last = Snapshot::beginning();
  for (int step = 0; step < 2000; ++step) {
    if (running.size() < 20 && random() % 2 == 0) running.insert(next++);
    if (!running.empty() && random() % 2 == 0) {
      auto ended = running.begin();
      std::advance(ended, random() % running.size());
      seen[*ended] = 0;
      running.erase(ended);
    }
    if (random() % 5 != 0) continue;
    const Snapshot now{running.empty() ? next : *running.begin(), next, {running.begin(), running.end()}};
    const Window window{last, now};
    for (auto& [xid, times] : seen) times += window.contains(xid) ? 1 : 0;
    const Window::Ranges ranges = window.ranges();
    for (const auto& [xid, times] : seen) {
      bool in_range = false;
      for (std::size_t i = 0; i < ranges.low.size(); ++i) in_range |= xid >= ranges.low[i] && xid < ranges.high[i];
      EXPECT_EQ(in_range, window.contains(xid)) << "transaction " << xid;
    }
    last = now;
  }
  for (const auto& [xid, times] : seen) {
    EXPECT_EQ(times, last.has_finished(xid) ? 1 : 0) << "transaction " << xid;
  }
}

}  // namespace
}  // namespace webhook
