#include "worker/recorder.h"

#include <gtest/gtest.h>

#include "fake_process.h"
#include "fake_store.h"

namespace webhook {
namespace {

using std::chrono::seconds;

class RecorderTest : public testing::Test {
 protected:
  RecorderTest() {
    webhook_ = store_.add_webhook(1);
    store_.after = [this](const std::string& call) { recordings_ += call == "record" ? 1 : 0; };
  }

  DeliveryKey key(std::int64_t event_id) const { return {event_id, webhook_}; }
  LogRow log_row(std::int64_t event_id, int attempt, bool success) const {
    return {.webhook = webhook_, .event_id = event_id, .attempt = attempt, .success = success};
  }
  DeliveryRow delivery_row(std::int64_t event_id, int attempts) const {
    return {.key = key(event_id), .attempts = attempts, .next_attempt_at = kNow + seconds(attempts)};
  }

  static constexpr Time kNow{};
  FakeProcess process_;
  FakeStore store_{process_};
  ByteBudget budget_;
  Recorder recorder_{store_, budget_};
  Uuid webhook_;
  int recordings_ = 0;
};

TEST_F(RecorderTest, WritesAllThatWaitsInOneTransaction) {
  recorder_.log(log_row(1, 1, true), kNow);
  recorder_.log(log_row(2, 1, false), kNow);
  recorder_.store(delivery_row(2, 1), kNow);
  recorder_.settle(7);
  recorder_.release(key(3));
  const Recorder::Result recorded = recorder_.record({});
  EXPECT_EQ(recordings_, 1);
  EXPECT_EQ(store_.logs.size(), 2U);
  EXPECT_NE(store_.pending(key(2)), nullptr);
  EXPECT_EQ(recorded.settled, std::vector<Ledger::Entry>{7});
  EXPECT_EQ(recorded.released, std::vector<DeliveryKey>{key(3)});
  EXPECT_EQ(recorded.logged, 2U);
  EXPECT_TRUE(recorder_.empty());
}

TEST_F(RecorderTest, NothingIsLostOrWrittenTwiceWhenABatchFails) {
  recorder_.log(log_row(1, 1, false), kNow);
  recorder_.store(delivery_row(1, 1), kNow);
  recorder_.settle(7);
  store_.before = [](const std::string&) { FakeStore::fail(); };
  EXPECT_THROW(recorder_.record({}), Error);
  EXPECT_THROW(recorder_.record({}), Error);
  EXPECT_FALSE(recorder_.empty());
  EXPECT_TRUE(store_.logs.empty());

  store_.before = nullptr;
  recorder_.log(log_row(2, 1, true), kNow + seconds(1));
  EXPECT_EQ(recorder_.oldest(), kNow);
  const Recorder::Result recorded = recorder_.record({});
  EXPECT_EQ(store_.logs.size(), 2U);
  EXPECT_NE(store_.pending(key(1)), nullptr);
  EXPECT_EQ(recorded.settled, std::vector<Ledger::Entry>{7});

  recorder_.log(log_row(3, 1, true), kNow);
  EXPECT_TRUE(recorder_.record({}).settled.empty());
  EXPECT_EQ(store_.logs.size(), 3U);
}

TEST_F(RecorderTest, LaterRowOfADeliveryReplacesAnEarlierOne) {
  recorder_.store(delivery_row(1, 0), kNow);
  recorder_.store(delivery_row(1, 1), kNow);
  recorder_.record({});
  EXPECT_EQ(store_.pending(key(1))->attempts, 1);
}

TEST_F(RecorderTest, DeliveryThatIsFinishedIsNoLongerPending) {
  recorder_.store(delivery_row(1, 1), kNow);
  recorder_.record({});
  recorder_.store(delivery_row(1, 2), kNow);
  recorder_.log(log_row(1, 3, true), kNow);
  recorder_.finish({key(1)}, kNow);
  recorder_.record({});
  EXPECT_EQ(store_.pending(key(1)), nullptr);
}

TEST_F(RecorderTest, DeliveryThatIsPendingAgainIsNotFinished) {
  recorder_.log(log_row(1, 1, true), kNow);
  recorder_.finish({key(1)}, kNow);
  recorder_.store(delivery_row(1, 0), kNow);
  recorder_.record({});
  EXPECT_NE(store_.pending(key(1)), nullptr);
}

TEST_F(RecorderTest, RemembersSinceWhenTheOldestWaits) {
  recorder_.log(log_row(1, 1, true), kNow + seconds(3));
  recorder_.log(log_row(2, 1, true), kNow + seconds(4));
  EXPECT_EQ(recorder_.oldest(), kNow + seconds(3));
  EXPECT_EQ(recorder_.count(), 2U);
  recorder_.record({});
  EXPECT_EQ(recorder_.count(), 0U);
  recorder_.log(log_row(3, 1, true), kNow + seconds(9));
  EXPECT_EQ(recorder_.oldest(), kNow + seconds(9));
}

TEST_F(RecorderTest, WritesTheCheckpointAlong) {
  const Checkpoint checkpoint{{Snapshot::beginning(), Snapshot::beginning()}, 0, 42};
  recorder_.record({.endpoints = {}, .minutes = {}, .checkpoint = checkpoint});
  EXPECT_EQ(store_.checkpoint, checkpoint);
}

// A webhook was deleted: its deliveries leave no row, but the checkpoint must be told.
TEST_F(RecorderTest, SettledAloneIsSomethingThatWaits) {
  recorder_.settle(7);
  EXPECT_FALSE(recorder_.empty());
  EXPECT_EQ(recorder_.record({}).settled, std::vector<Ledger::Entry>{7});
  EXPECT_TRUE(recorder_.empty());
  EXPECT_EQ(recordings_, 0) << "there is nothing to write";
}

TEST_F(RecorderTest, SaysOfWhichWebhooksChangesWereDeferredAndSettlesThem) {
  store_.held.insert(webhook_);
  recorder_.log(log_row(1, 1, false), kNow);
  recorder_.store(delivery_row(1, 1), kNow);
  recorder_.settle(7);
  recorder_.release(key(1));
  const Recorder::Result recorded = recorder_.record({});
  EXPECT_EQ(recorded.settled, std::vector<Ledger::Entry>{7});
  EXPECT_EQ(recorded.released, std::vector<DeliveryKey>{key(1)});
  EXPECT_EQ(recorded.stored.deferred, std::vector<Uuid>{webhook_});
  EXPECT_TRUE(recorder_.empty());
}

}  // namespace
}  // namespace webhook
