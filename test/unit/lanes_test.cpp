#include "core/lanes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace webhook {
namespace {

Uuid webhook_number(std::uint8_t number) {
  Uuid id;
  id.bytes[15] = number;
  return id;
}

const Uuid kFirst = webhook_number(1);
const Uuid kSecond = webhook_number(2);

Delivery delivery(const Uuid& webhook, std::int64_t event_id, std::size_t body_bytes = 10) {
  auto event = std::make_shared<Outgoing>();
  event->event_id = event_id;
  event->body = std::string(body_bytes, 'x');
  return {.webhook = webhook, .event = event};
}

// The ids of the next deliveries of all lanes, until there are none.
std::vector<std::int64_t> take_all(Lanes& lanes) {
  std::vector<std::int64_t> ids;
  while (const auto taken = lanes.take()) ids.push_back(taken->event->event_id);
  return ids;
}

void fill(Lanes& lanes, const Uuid& webhook) {
  for (std::size_t i = 0; i < Lanes::kQueuedMax; ++i) {
    ASSERT_TRUE(lanes.offer(delivery(webhook, static_cast<std::int64_t>(i))));
  }
}

TEST(LanesTest, LaneIsFirstInFirstOut) {
  Lanes lanes;
  lanes.set_lane(kFirst, 10);
  for (const std::int64_t id : {3, 1, 2}) EXPECT_TRUE(lanes.offer(delivery(kFirst, id)));
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{3, 1, 2}));
  EXPECT_EQ(lanes.queued(), 0U);
  EXPECT_EQ(lanes.queued_bytes(), 0U);
}

TEST(LanesTest, LanesTakeTurns) {
  Lanes lanes;
  lanes.set_lane(kFirst, 10);
  lanes.set_lane(kSecond, 10);
  for (const std::int64_t id : {1, 2, 3}) lanes.offer(delivery(kFirst, id));
  for (const std::int64_t id : {11, 12}) lanes.offer(delivery(kSecond, id));
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{1, 11, 2, 12, 3}));
}

TEST(LanesTest, NoMoreInFlightThanTheCap) {
  Lanes lanes;
  lanes.set_lane(kFirst, 2);
  for (const std::int64_t id : {1, 2, 3, 4}) lanes.offer(delivery(kFirst, id));
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{1, 2}));
  lanes.finish(kFirst);
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{3}));
}

TEST(LanesTest, RaisedCapFreesWhatWaits) {
  Lanes lanes;
  lanes.set_lane(kFirst, 1);
  for (const std::int64_t id : {1, 2, 3}) lanes.offer(delivery(kFirst, id));
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{1}));
  lanes.set_lane(kFirst, 3);
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{2, 3}));
}

TEST(LanesTest, LoweredCapHoldsAtOnce) {
  Lanes lanes;
  lanes.set_lane(kFirst, 4);
  for (const std::int64_t id : {1, 2, 3, 4}) lanes.offer(delivery(kFirst, id));
  ASSERT_TRUE(lanes.take());
  ASSERT_TRUE(lanes.take());
  lanes.set_lane(kFirst, 2);  // two in flight, two that wait for their turn
  EXPECT_FALSE(lanes.take());
  lanes.finish(kFirst);
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{3}));
}

TEST(LanesTest, FullLaneRefusesAndSoDoesItWhileItOverflows) {
  Lanes lanes;
  lanes.set_lane(kFirst, 10);
  lanes.set_lane(kSecond, 10);
  fill(lanes, kFirst);
  EXPECT_FALSE(lanes.overflows(kFirst));
  EXPECT_EQ(lanes.room(kFirst), 0U);
  EXPECT_FALSE(lanes.offer(delivery(kFirst, 5000)));
  EXPECT_TRUE(lanes.overflows(kFirst));
  EXPECT_TRUE(lanes.offer(delivery(kSecond, 5000))) << "another lane is not concerned";
  ASSERT_TRUE(lanes.take());
  EXPECT_FALSE(lanes.offer(delivery(kFirst, 5001))) << "would pass what overflowed";
  EXPECT_TRUE(lanes.refill(delivery(kFirst, 5000)));
  lanes.end_overflow(kFirst);
  ASSERT_TRUE(lanes.take());  // the second lane's
  ASSERT_TRUE(lanes.take());
  EXPECT_TRUE(lanes.offer(delivery(kFirst, 5001)));
}

TEST(LanesTest, RefillStopsWhereTheLaneIsFull) {
  Lanes lanes;
  lanes.set_lane(kFirst, 10);
  fill(lanes, kFirst);
  EXPECT_FALSE(lanes.refill(delivery(kFirst, 5000)));
  EXPECT_EQ(lanes.queued(), Lanes::kQueuedMax);
}

TEST(LanesTest, BodiesAreBoundedButOneAlwaysFits) {
  Lanes lanes;
  lanes.set_lane(kFirst, 10);
  EXPECT_TRUE(lanes.offer(delivery(kFirst, 1, Lanes::kQueuedBytesMax + 1)));
  EXPECT_EQ(lanes.room(kFirst), 0U);
  EXPECT_FALSE(lanes.offer(delivery(kFirst, 2, 1)));
  EXPECT_EQ(lanes.queued_bytes(), Lanes::kQueuedBytesMax + 1);
  ASSERT_TRUE(lanes.take());
  EXPECT_EQ(lanes.queued_bytes(), 0U);
  EXPECT_TRUE(lanes.refill(delivery(kFirst, 2, 1)));
}

TEST(LanesTest, RemovedLaneReturnsWhatWaited) {
  Lanes lanes;
  lanes.set_lane(kFirst, 1);
  for (const std::int64_t id : {1, 2, 3}) lanes.offer(delivery(kFirst, id));
  ASSERT_TRUE(lanes.take());
  std::vector<std::int64_t> ids;
  for (const Delivery& waiting : lanes.remove_lane(kFirst)) ids.push_back(waiting.event->event_id);
  EXPECT_EQ(ids, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(lanes.queued(), 0U);
  EXPECT_EQ(lanes.queued_bytes(), 0U);
  EXPECT_TRUE(lanes.lanes().empty());
  EXPECT_FALSE(lanes.take());
  lanes.finish(kFirst);
}

TEST(LanesTest, LaneThatComesBackStillCountsWhatIsInFlight) {
  Lanes lanes;
  lanes.set_lane(kFirst, 1);
  lanes.offer(delivery(kFirst, 1));
  ASSERT_TRUE(lanes.take());
  lanes.remove_lane(kFirst);
  lanes.set_lane(kFirst, 1);
  EXPECT_TRUE(lanes.offer(delivery(kFirst, 2)));
  EXPECT_FALSE(lanes.take()) << "one is in flight";
  lanes.finish(kFirst);
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{2}));
}

TEST(LanesTest, RemovingALaneInTurnLeavesTheOthersTheirs) {
  Lanes lanes;
  lanes.set_lane(kFirst, 1);
  lanes.set_lane(kSecond, 1);
  lanes.offer(delivery(kFirst, 1));
  lanes.offer(delivery(kSecond, 2));
  lanes.remove_lane(kFirst);
  EXPECT_EQ(take_all(lanes), (std::vector<std::int64_t>{2}));
}

TEST(LanesTest, EveryWaitingDeliveryIsVisited) {
  Lanes lanes;
  lanes.set_lane(kFirst, 1);
  lanes.set_lane(kSecond, 1);
  lanes.offer(delivery(kFirst, 1));
  lanes.offer(delivery(kFirst, 2));
  lanes.offer(delivery(kSecond, 3));
  ASSERT_TRUE(lanes.take());
  std::vector<std::int64_t> ids;
  lanes.for_each_queued([&ids](Delivery& waiting) { ids.push_back(waiting.event->event_id); });
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, (std::vector<std::int64_t>{2, 3}));
}

}  // namespace
}  // namespace webhook
