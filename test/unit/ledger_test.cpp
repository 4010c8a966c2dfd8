#include "core/ledger.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace webhook {
namespace {

Snapshot at(FullXid xid) { return {.xmin = xid, .xmax = xid, .running = {}}; }
Window window(FullXid from, FullXid to) { return {at(from), at(to)}; }
Checkpoint between_windows(FullXid xid, std::int64_t log_floor) { return {window(xid, xid), 0, log_floor}; }

TEST(LedgerTest, StartsBehindItsCheckpoint) {
  const Checkpoint start{window(10, 20), 7, 99};
  const Ledger ledger(start);
  EXPECT_EQ(ledger.checkpoint(), start);
  EXPECT_EQ(ledger.read_position(), 7);
  EXPECT_FALSE(ledger.window_is_read());
  EXPECT_EQ(ledger.events_ahead(), 0U);
}

TEST(LedgerTest, EmptyWindowAtTheStartNeedsNoReading) {
  const Ledger ledger(between_windows(10, 5));
  EXPECT_TRUE(ledger.window_is_read());
}

TEST(LedgerTest, CheckpointFollowsSettledEvents) {
  Ledger ledger(between_windows(10, 0));
  ledger.open_window(window(10, 20), 30);
  EXPECT_EQ(ledger.checkpoint(), (Checkpoint{window(10, 20), 0, 30}));
  const auto first = ledger.admit(1, 1);
  const auto second = ledger.admit(4, 1);
  ledger.settle(first);
  EXPECT_EQ(ledger.checkpoint(), (Checkpoint{window(10, 20), 1, 30}));
  ledger.settle(second);
  EXPECT_EQ(ledger.checkpoint(), (Checkpoint{window(10, 20), 4, 30}));
  EXPECT_EQ(ledger.events_ahead(), 0U);
}

TEST(LedgerTest, CheckpointWaitsForTheOldestUnsettledEvent) {
  Ledger ledger(between_windows(10, 0));
  ledger.open_window(window(10, 20), 0);
  const auto first = ledger.admit(1, 1);
  const auto second = ledger.admit(2, 1);
  EXPECT_EQ(ledger.oldest(), first);
  ledger.settle(second);
  EXPECT_EQ(ledger.checkpoint().position, 0);
  EXPECT_EQ(ledger.events_ahead(), 2U);
  ledger.settle(first);
  EXPECT_EQ(ledger.checkpoint().position, 2);
}

TEST(LedgerTest, EventIsSettledWithItsLastDelivery) {
  Ledger ledger(between_windows(10, 0));
  ledger.open_window(window(10, 20), 0);
  const auto entry = ledger.admit(1, 3);
  ledger.settle(entry);
  ledger.settle(entry);
  EXPECT_EQ(ledger.checkpoint().position, 0);
  ledger.settle(entry);
  EXPECT_EQ(ledger.checkpoint().position, 1);
}

TEST(LedgerTest, EventThatNobodyAsksForIsSettledAtOnce) {
  Ledger ledger(between_windows(10, 0));
  ledger.open_window(window(10, 20), 0);
  ledger.admit(3, 0);
  EXPECT_EQ(ledger.checkpoint().position, 3);
}

TEST(LedgerTest, FinishedAndSettledWindowLeavesTheCheckpointAtItsEnd) {
  Ledger ledger(between_windows(10, 0));
  ledger.open_window(window(10, 20), 8);
  const auto entry = ledger.admit(1, 1);
  ledger.finish_window();
  EXPECT_EQ(ledger.checkpoint(), (Checkpoint{window(10, 20), 0, 8}));
  ledger.settle(entry);
  EXPECT_EQ(ledger.checkpoint(), between_windows(20, 8));
}

TEST(LedgerTest, WindowsCloseInOrder) {
  Ledger ledger(between_windows(10, 0));
  ledger.open_window(window(10, 20), 1);
  const auto first = ledger.admit(5, 1);
  ledger.finish_window();
  ledger.open_window(window(20, 30), 2);
  EXPECT_EQ(ledger.read_position(), 0);
  const auto second = ledger.admit(3, 1);  // a lower id: it committed later
  ledger.settle(second);
  EXPECT_EQ(ledger.checkpoint(), (Checkpoint{window(10, 20), 0, 1})) << "the older window is not settled";
  ledger.settle(first);
  EXPECT_EQ(ledger.checkpoint(), (Checkpoint{window(20, 30), 3, 2}));
  ledger.finish_window();
  EXPECT_EQ(ledger.checkpoint(), between_windows(30, 2));
}

TEST(LedgerTest, PositionInALaterWindowDoesNotLeakIntoAnEarlierOne) {
  Ledger ledger({window(10, 20), 50, 0});
  const auto entry = ledger.admit(51, 1);
  ledger.finish_window();
  ledger.open_window(window(20, 30), 0);
  ledger.admit(60, 0);
  EXPECT_EQ(ledger.checkpoint(), (Checkpoint{window(10, 20), 50, 0}));
  ledger.settle(entry);
  EXPECT_EQ(ledger.checkpoint(), (Checkpoint{window(20, 30), 60, 0}));
}

// Whatever is settled in whatever order: the checkpoint never passes an unsettled event, and in the end it passes all.
TEST(LedgerTest, CheckpointNeverPassesAnUnsettledEvent) {
  std::mt19937 random(7);
  struct Admitted {
    FullXid window_begin;
    std::int64_t id;
    std::uint32_t left;
  };
  std::map<Ledger::Entry, Admitted> unsettled;
  Ledger ledger(between_windows(1, 0));
  FullXid begin = 1;
  std::int64_t id = 0;
  const auto settle_one = [&] {
    auto chosen = unsettled.begin();
    std::advance(chosen, random() % unsettled.size());
    ledger.settle(chosen->first);
    if (--chosen->second.left == 0) unsettled.erase(chosen);
  };
  for (int step = 0; step < 20'000; ++step) {
    const auto choice = random() % 10;
    if (ledger.window_is_read()) {
      begin = ledger.window().to.xmax;
      ledger.open_window(window(begin, begin + 1 + random() % 3), step);
      id = 0;
    } else if (choice < 4) {
      const std::uint32_t deliveries = random() % 3;
      id += 1 + static_cast<std::int64_t>(random() % 5);
      const auto entry = ledger.admit(id, deliveries);
      if (deliveries > 0) unsettled[entry] = {begin, id, deliveries};
    } else if (choice < 9 && !unsettled.empty()) {
      settle_one();
    } else if (choice == 9) {
      ledger.finish_window();
    }
    if (unsettled.empty()) continue;
    const Admitted& oldest = unsettled.begin()->second;
    const Checkpoint& checkpoint = ledger.checkpoint();
    ASSERT_EQ(checkpoint.window.from.xmax, oldest.window_begin) << "step " << step;
    ASSERT_LT(checkpoint.position, oldest.id) << "step " << step;
    ASSERT_EQ(ledger.oldest(), unsettled.begin()->first) << "step " << step;
  }
  if (!ledger.window_is_read()) ledger.finish_window();
  while (!unsettled.empty()) settle_one();
  EXPECT_TRUE(ledger.checkpoint().window.empty());
  EXPECT_EQ(ledger.checkpoint().window.to, ledger.window().to);
  EXPECT_EQ(ledger.events_ahead(), 0U);
}

TEST(OldestCheckpointTest, IsTheOneWhoseWindowBeginsFirstWithTheLowestFloor) {
  const Checkpoint first{window(10, 20), 5, 40};
  const Checkpoint later{window(20, 30), 7, 30};
  EXPECT_EQ(oldest({later, first}), (Checkpoint{window(10, 20), 5, 30}));
}

TEST(OldestCheckpointTest, StandsBehindTheLeastOfThoseInTheSameWindow) {
  const Checkpoint one{window(10, 20), 5, 1};
  const Checkpoint other{window(10, 20), 3, 1};
  EXPECT_EQ(oldest({one, other}), other);
  EXPECT_EQ(oldest({other, one}), other);
}

// What finished behind 15 and has a low id is settled by the first, but not by the other.
TEST(OldestCheckpointTest, HasNoPositionWhereAnotherIsInTheMiddleOfItsWindow) {
  const Checkpoint first{window(10, 20), 5, 1};
  EXPECT_EQ(oldest({first, {window(15, 30), 2, 1}}), (Checkpoint{window(10, 20), 0, 1}));
  EXPECT_EQ(oldest({first, {window(10, 30), 9, 1}}), (Checkpoint{window(10, 20), 0, 1}));
}

TEST(OldestCheckpointTest, ComparesWhichTransactionsHaveFinishedNotHowItIsWritten) {
  const Checkpoint one{{{10, 10, {}}, {20, 20, {}}}, 5, 1};
  const Checkpoint same{{{10, 11, {10}}, {30, 30, {}}}, 2, 1};
  EXPECT_EQ(oldest({one, same}).position, 0);
  EXPECT_EQ(oldest({same, one}).position, 0);
}

}  // namespace
}  // namespace webhook
