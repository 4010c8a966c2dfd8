#include "core/lanes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <random>
#include <string>

namespace webhook {
namespace {

using namespace std::chrono_literals;
using Health = Lanes::Health;
using Ids = std::vector<std::int64_t>;

Uuid webhook_number(int number) {
  Uuid id;
  id.bytes[14] = static_cast<std::uint8_t>(number >> 8);
  id.bytes[15] = static_cast<std::uint8_t>(number);
  return id;
}

const Uuid kFirst = webhook_number(1);
const Uuid kSecond = webhook_number(2);

Delivery delivery(const Uuid& webhook, std::int64_t event_id, const std::string& key = {},
                  std::size_t body_bytes = 10) {
  auto event = std::make_shared<Outgoing>();
  event->event_id = event_id;
  if (!key.empty()) event->key = key;
  event->body = std::string(body_bytes, 'x');
  return {.webhook = webhook, .event = event};
}

class LanesTest : public testing::Test {
 protected:
  LanesTest() { lanes_.set_slots(SlotLimits::of(256)); }

  void set_lane(const Uuid& webhook, LaneLimits limits, const std::optional<std::string>& organization = {}) {
    lanes_.set_lane(webhook, limits, now_, organization);
  }
  // A lane whose endpoint has answered so often that only its own limits hold.
  void set_trusted_lane(const Uuid& webhook, LaneLimits limits, const std::optional<std::string>& organization = {}) {
    set_lane(webhook, {.max_in_flight = limits.max_in_flight}, organization);
    for (int i = 0; i < limits.max_in_flight; ++i) {
      ASSERT_TRUE(lanes_.offer(delivery(webhook, 1'000'000 + i)));
      const auto taken = lanes_.take(now_);
      ASSERT_TRUE(taken);
      finish(*taken);
    }
    set_lane(webhook, limits, organization);
  }

  Circuit::Change finish(const Delivery& taken, Health verdict = Health::kSuccess) {
    return lanes_.finish(taken, verdict, now_, 0.5);
  }

  std::vector<Delivery> take_all() {
    std::vector<Delivery> all;
    while (auto taken = lanes_.take(now_)) all.push_back(std::move(*taken));
    return all;
  }
  static Ids ids(const std::vector<Delivery>& deliveries) {
    Ids ids;
    for (const Delivery& each : deliveries) ids.push_back(each.event->event_id);
    return ids;
  }
  Ids take_ids() { return ids(take_all()); }

  void fill(const Uuid& webhook) {
    for (std::size_t i = 0; i < Lanes::kQueuedMax; ++i) {
      ASSERT_TRUE(lanes_.offer(delivery(webhook, static_cast<std::int64_t>(i))));
    }
  }

  // Lanes of an organization, from that number on.
  void set_lanes(const std::string& organization, int first, int count, bool trusted = false) {
    for (int number = first; number < first + count; ++number) {
      if (trusted) {
        set_trusted_lane(webhook_number(number), {.max_in_flight = 1}, organization);
      } else {
        set_lane(webhook_number(number), {.max_in_flight = 1}, organization);
      }
    }
  }
  void offer_to_each(int first, int count) {
    for (int number = first; number < first + count; ++number) {
      ASSERT_TRUE(lanes_.offer(delivery(webhook_number(number), number)));
    }
  }

  // Lets the endpoint fail until its circuit opens.
  void open_circuit(const Uuid& webhook) {
    for (int i = 0; i < Circuit::kFailuresToOpen; ++i) {
      ASSERT_TRUE(lanes_.offer(delivery(webhook, 2'000'000 + i)));
      const auto taken = lanes_.take(now_);
      ASSERT_TRUE(taken);
      finish(*taken, Health::kFailed);
    }
    ASSERT_TRUE(lanes_.circuit(webhook)->is_open());
  }

  Lanes lanes_;
  Time now_ = std::chrono::sys_days(std::chrono::year(2024) / 1 / 15);
};

// --- Turns and caps -----------------------------------------------------------------------------------------------------

TEST(OrderingKey, IsShortWhateverTheKeyAndTellsKeysApart) {
  EXPECT_EQ(ordering_key(Ordering::kKey, "abc", 7), "=abc");
  EXPECT_EQ(ordering_key(Ordering::kKey, std::nullopt, 7), "#7");
  EXPECT_EQ(ordering_key(Ordering::kEndpoint, "abc", 7), "*");
  EXPECT_FALSE(ordering_key(Ordering::kRelaxed, "abc", 7));
  const std::string longest(128, 'k');
  EXPECT_EQ(ordering_key(Ordering::kKey, longest, 7), "=" + longest);
  // printf 'k%.0s' {1..129} | sha256sum
  EXPECT_EQ(ordering_key(Ordering::kKey, std::string(129, 'k'), 7),
            "~9094034fb2d0ce2e407c9b260f2806ab2efb352e200722fd6296d9cf1cf7e6f5");
  EXPECT_EQ(ordering_key(Ordering::kKey, std::string(10'000, 'k'), 7)->size(), 65U);
  EXPECT_NE(ordering_key(Ordering::kKey, std::string(10'000, 'k'), 7),
            ordering_key(Ordering::kKey, std::string(10'001, 'k'), 7));
}

TEST_F(LanesTest, LaneIsFirstInFirstOut) {
  set_trusted_lane(kFirst, {.max_in_flight = 10});
  for (const std::int64_t id : {3, 1, 2}) EXPECT_TRUE(lanes_.offer(delivery(kFirst, id)));
  EXPECT_EQ(take_ids(), (Ids{3, 1, 2}));
  EXPECT_EQ(lanes_.queued(), 0U);
  EXPECT_EQ(lanes_.queued_bytes(), 0U);
}

TEST_F(LanesTest, LanesTakeTurns) {
  set_trusted_lane(kFirst, {.max_in_flight = 10});
  set_trusted_lane(kSecond, {.max_in_flight = 10});
  for (const std::int64_t id : {1, 2, 3}) lanes_.offer(delivery(kFirst, id));
  for (const std::int64_t id : {11, 12}) lanes_.offer(delivery(kSecond, id));
  EXPECT_EQ(take_ids(), (Ids{1, 11, 2, 12, 3}));
}

TEST_F(LanesTest, NoMoreInFlightThanTheCap) {
  set_trusted_lane(kFirst, {.max_in_flight = 2});
  for (const std::int64_t id : {1, 2, 3, 4}) lanes_.offer(delivery(kFirst, id));
  const auto taken = take_all();
  EXPECT_EQ(ids(taken), (Ids{1, 2}));
  finish(taken[0]);
  EXPECT_EQ(take_ids(), (Ids{3}));
}

TEST_F(LanesTest, LoweredCapHoldsAtOnce) {
  set_trusted_lane(kFirst, {.max_in_flight = 4});
  for (const std::int64_t id : {1, 2, 3, 4}) lanes_.offer(delivery(kFirst, id));
  const auto one = lanes_.take(now_);
  ASSERT_TRUE(one && lanes_.take(now_));
  set_lane(kFirst, {.max_in_flight = 2});  // two in flight, two that wait for their turn
  EXPECT_FALSE(lanes_.take(now_));
  finish(*one);
  EXPECT_EQ(take_ids(), (Ids{3}));
}

TEST_F(LanesTest, NewLaneSendsOneRequestAndDoublesWithTheAnswers) {
  set_lane(kFirst, {.max_in_flight = 16});
  for (int id = 1; id <= 100; ++id) lanes_.offer(delivery(kFirst, id));
  std::vector<std::size_t> rounds;
  for (int round = 0; round < 6; ++round) {
    const auto taken = take_all();
    rounds.push_back(taken.size());
    for (const Delivery& each : taken) finish(each);
  }
  EXPECT_EQ(rounds, (std::vector<std::size_t>{1, 2, 4, 8, 16, 16}));
}

TEST_F(LanesTest, FailureBringsALaneBackToOneRequest) {
  set_trusted_lane(kFirst, {.max_in_flight = 8});
  for (int id = 1; id <= 20; ++id) lanes_.offer(delivery(kFirst, id));
  const auto taken = take_all();
  ASSERT_EQ(taken.size(), 8U);
  for (const Delivery& each : taken) finish(each, &each == &taken.back() ? Health::kFailed : Health::kSuccess);
  EXPECT_EQ(take_all().size(), 1U);
}

// --- What is scarce -----------------------------------------------------------------------------------------------------

TEST_F(LanesTest, SlotsAreAQuarterForFastRequests) {
  EXPECT_EQ(SlotLimits::of(256).fast, 64U);
  EXPECT_EQ(SlotLimits::of(40).fast, 16U);
  EXPECT_EQ(SlotLimits::of(4).fast, 4U);
}

TEST_F(LanesTest, LaneLeavesAsManyPlacesAsItTakes) {
  lanes_.set_slots(SlotLimits::of(16));
  set_trusted_lane(kFirst, {.max_in_flight = 100});
  for (int id = 1; id <= 100; ++id) lanes_.offer(delivery(kFirst, id));
  EXPECT_EQ(take_all().size(), 8U);
  set_lane(kSecond, {.max_in_flight = 100});
  lanes_.offer(delivery(kSecond, 1000));
  EXPECT_EQ(take_ids(), (Ids{1000})) << "there was a place for another";
}

TEST_F(LanesTest, EndpointsThatHangDoNotKeepThePlacesOfOthers) {
  lanes_.set_slots(SlotLimits::of(64));  // 16 fast
  set_trusted_lane(kFirst, {.max_in_flight = 16});
  for (int number = 10; number < 30; ++number) {
    set_trusted_lane(webhook_number(number), {.max_in_flight = 16});
    for (int id = 0; id < 50; ++id) lanes_.offer(delivery(webhook_number(number), id));
  }
  const std::size_t hanging = take_all().size();
  EXPECT_EQ(hanging, 16U);
  now_ += Lanes::kPatience;
  for (int id = 0; id < 50; ++id) lanes_.offer(delivery(kFirst, id));
  std::size_t sent_by_first = 0;
  for (int round = 0; round < 50 && sent_by_first < 50; ++round) {
    for (const Delivery& each : take_all()) {
      if (each.webhook != kFirst) continue;
      ++sent_by_first;
      finish(each);
    }
    now_ += 10ms;
  }
  EXPECT_EQ(sent_by_first, 50U) << "hanging requests are slow by now, and the lanes that they are of send no more";
}

TEST_F(LanesTest, LanesWithoutTrustNeverHoldMoreThanHalf) {
  lanes_.set_slots(SlotLimits::of(32));
  for (int number = 10; number < 60; ++number) {
    set_lane(webhook_number(number), {.max_in_flight = 16});
    lanes_.offer(delivery(webhook_number(number), number));
  }
  EXPECT_EQ(take_all().size(), 16U);
  now_ += Lanes::kPatience;
  EXPECT_EQ(take_all().size(), 0U) << "slow ones still count";
  lanes_.set_slots(SlotLimits::of(64));
  EXPECT_EQ(take_all().size(), 16U);
}

TEST_F(LanesTest, WaitingForARequestToBecomeSlowHasAnEnd) {
  lanes_.set_slots(SlotLimits::of(1));
  set_lane(kFirst, {.max_in_flight = 1});
  EXPECT_FALSE(lanes_.next_turn_at());
  lanes_.set_slots({.total = 2, .fast = 1});
  lanes_.offer(delivery(kFirst, 1));
  ASSERT_TRUE(lanes_.take(now_));
  set_lane(kSecond, {.max_in_flight = 1});
  lanes_.offer(delivery(kSecond, 2));
  EXPECT_FALSE(lanes_.take(now_));
  ASSERT_EQ(lanes_.next_turn_at(), now_ + Lanes::kPatience);
}

TEST_F(LanesTest, QueueIsNeverLongerThanWhatIsLeftForOthers) {
  std::size_t taken = 0;
  for (int number = 1; number <= 40; ++number) {
    set_lane(webhook_number(number), {.max_in_flight = 1});
    for (std::size_t i = 0; i < Lanes::kQueuedMax; ++i) {
      taken += lanes_.offer(delivery(webhook_number(number), static_cast<std::int64_t>(i))) ? 1 : 0;
    }
  }
  EXPECT_EQ(lanes_.queued(), taken);
  EXPECT_LE(lanes_.queued(), Lanes::kAllQueuedMax + 40);
  set_lane(webhook_number(100), {.max_in_flight = 1});
  EXPECT_TRUE(lanes_.offer(delivery(webhook_number(100), 1))) << "there is room for one more lane";
}

// --- Organizations --------------------------------------------------------------------------------------------------------

constexpr const char* kAcme = "acme";
constexpr const char* kGlobex = "globex";

TEST_F(LanesTest, OrganizationsTakeTurnsHoweverManyLanesTheyHave) {
  set_trusted_lane(kFirst, {.max_in_flight = 10}, kGlobex);
  for (int number = 10; number < 20; ++number) {
    set_lane(webhook_number(number), {.max_in_flight = 1}, kAcme);
    lanes_.offer(delivery(webhook_number(number), number));
  }
  for (const std::int64_t id : {101, 102, 103}) lanes_.offer(delivery(kFirst, id));
  set_lane(kSecond, {.max_in_flight = 10});  // of no organization
  lanes_.offer(delivery(kSecond, 1001));
  EXPECT_EQ(take_ids(), (Ids{10, 101, 1001, 11, 102, 12, 103, 13, 14, 15, 16, 17, 18, 19}));
}

TEST_F(LanesTest, OrganizationTakesNoMoreThanItLeavesFree) {
  set_lanes(kAcme, 0, 1000, true);
  set_lanes(kGlobex, 1000, 1000, true);
  set_lanes("initech", 2000, 1000, true);
  offer_to_each(0, 1000);
  EXPECT_EQ(take_all().size(), 64U) << "fast ones, a quarter of all, as if it were alone";
  offer_to_each(1000, 1000);
  EXPECT_EQ(take_all().size(), 32U);
  offer_to_each(2000, 1000);
  EXPECT_EQ(take_all().size(), 16U);
  std::size_t slow = 0;
  for (int round = 0; round < 10; ++round) {
    now_ += Lanes::kPatience;
    slow += take_all().size();
  }
  EXPECT_GE(64 + 32 + 16 + slow, 160U);
  EXPECT_LE(64 + 32 + 16 + slow, 180U) << "of 224 each of the three has about a quarter, and as much is free";
}

TEST_F(LanesTest, OrganizationWithoutARequestInFlightFindsAPlaceWhateverTheOthersHold) {
  for (const bool trusted : {true, false}) {
    lanes_ = Lanes();
    lanes_.set_slots(SlotLimits::of(256));
    set_lane(kFirst, {.max_in_flight = 1}, "modest");
    set_lane(kSecond, {.max_in_flight = 1});
    std::size_t held = 0;
    for (int organization = 0; organization < 20; ++organization) {
      const int first = 100 + 100 * organization;
      set_lanes("greedy " + std::to_string(organization), first, 100, trusted);
      offer_to_each(first, 100);
      held += take_all().size();
      now_ += Lanes::kPatience;  // slow, so that they stay and fast places are free
      held += take_all().size();
    }
    EXPECT_LT(held, 256U);
    lanes_.offer(delivery(kFirst, 1));
    lanes_.offer(delivery(kSecond, 2));
    EXPECT_EQ(take_ids(), (Ids{1, 2})) << held << " are held, trusted: " << trusted;
  }
}

TEST_F(LanesTest, PlacesAreForOneOrganizationAsLongAsNoOtherHasALane) {
  set_lanes(kAcme, 10, 1000, true);
  offer_to_each(10, 1000);
  EXPECT_EQ(take_all().size(), 64U);
  now_ += Lanes::kPatience;
  EXPECT_EQ(take_all().size(), 64U);
  now_ += Lanes::kPatience;
  EXPECT_EQ(take_all().size(), 64U);
  now_ += Lanes::kPatience;
  EXPECT_EQ(take_all().size(), 32U) << "an eighth of all is for another that may come";
  set_lane(kFirst, {.max_in_flight = 1}, kGlobex);
  lanes_.offer(delivery(kFirst, 1));
  EXPECT_EQ(take_ids(), (Ids{1}));
}

// Endpoints that answer late are alive, so their lanes go on like that for good.
TEST_F(LanesTest, EndpointThatHasFailedOnceFindsAPlaceBesideThoseThatAreSlow) {
  for (int number = 10; number < 138; ++number) set_lane(webhook_number(number), {.max_in_flight = 1});
  std::vector<Delivery> late;
  for (int round = 0; round < 3; ++round) {
    for (const Delivery& each : late) finish(each);
    late.clear();
    for (int number = 10; number < 138; ++number) lanes_.offer(delivery(webhook_number(number), number));
    for (int i = 0; i < 10; ++i, now_ += Lanes::kPatience) {
      for (Delivery& each : take_all()) late.push_back(std::move(each));
    }
  }
  EXPECT_EQ(late.size(), 96U) << "three quarters of a half";
  set_trusted_lane(kFirst, {.max_in_flight = 16});
  for (const std::int64_t id : {1, 2}) lanes_.offer(delivery(kFirst, id));
  const std::vector<Delivery> taken = take_all();
  ASSERT_EQ(ids(taken), (Ids{1, 2}));
  for (const Delivery& each : taken) finish(each, Health::kFailed);
  lanes_.offer(delivery(kFirst, 3));
  EXPECT_EQ(take_ids(), (Ids{3}));
}

TEST_F(LanesTest, OrganizationLeavesRoomInTheQueuesForOthers) {
  for (const char* const organization : {kAcme, kGlobex}) set_lanes(organization, organization == kAcme ? 0 : 100, 100);
  const auto fill = [this](int first) {
    std::size_t taken = 0;
    for (int number = first; number < first + 100; ++number) {
      for (int i = 0; i < 1000; ++i) taken += lanes_.offer(delivery(webhook_number(number), i)) ? 1 : 0;
    }
    return taken;
  };
  EXPECT_LE(fill(0), Lanes::kAllQueuedMax / 2 + 100);
  EXPECT_GE(fill(100), Lanes::kAllQueuedMax / 5);
  set_lane(webhook_number(300), {.max_in_flight = 1});
  std::size_t taken = 0;
  while (lanes_.offer(delivery(webhook_number(300), 1))) ++taken;
  EXPECT_GE(taken, Lanes::kQueuedMax / 2);
}

TEST_F(LanesTest, OrganizationLeavesBytesInTheQueuesForOthers) {
  constexpr std::size_t kMax = 32'000'000;
  lanes_.set_bytes_max(kMax);
  set_lanes(kAcme, 0, 100);
  set_lanes(kGlobex, 100, 1);
  for (int number = 0; number < 100; ++number) {
    while (lanes_.offer(delivery(webhook_number(number), 1, "", 100'000))) continue;
  }
  EXPECT_LE(lanes_.held_bytes(), kMax / 2 + 100'000);
  std::size_t taken = 0;
  while (lanes_.offer(delivery(webhook_number(100), 1, "", 100'000))) ++taken;
  EXPECT_GE(taken, 10U);
}

TEST_F(LanesTest, LaneTakesWhatItHoldsAlongToAnotherOrganization) {
  set_lanes(kAcme, 0, 20);
  set_lanes(kGlobex, 20, 1);
  offer_to_each(0, 20);
  offer_to_each(0, 20);
  const std::vector<Delivery> taken = take_all();
  EXPECT_EQ(taken.size(), 20U);
  now_ += Lanes::kPatience;
  EXPECT_FALSE(lanes_.take(now_));
  for (int number = 0; number < 20; ++number) set_lane(webhook_number(number), {.max_in_flight = 1}, kGlobex);
  EXPECT_EQ(lanes_.organization_number(webhook_number(0)), lanes_.organization_number(webhook_number(20)));
  for (const Delivery& each : taken) finish(each);
  EXPECT_EQ(take_all().size(), 20U);
  for (int number = 0; number < 21; ++number) lanes_.forget_lane(webhook_number(number));
  for (int number = 0; number < 21; ++number) EXPECT_EQ(lanes_.circuit(webhook_number(number)), nullptr);
}

// Nobody's events are read while reading waits for another's lanes.
TEST_F(LanesTest, NobodyWaitsForAnothersLanes) {
  set_lanes(kAcme, 0, 1);
  set_lanes(kGlobex, 1, 1);
  for (std::size_t i = 0; i < Lanes::kQueuedMax / 2; ++i) lanes_.offer(delivery(webhook_number(0), 1));
  EXPECT_TRUE(lanes_.is_crowded()) << "it alone has something to do";
  lanes_.offer(delivery(webhook_number(1), 1));
  EXPECT_FALSE(lanes_.is_crowded());
  for (int i = 0; i < 10; ++i) lanes_.offer(delivery(webhook_number(0), 1));
  for (const Delivery& each : take_all()) finish(each);
  now_ += Lanes::kSharedTime;
  for (const Delivery& each : take_all()) finish(each);
  EXPECT_TRUE(lanes_.is_crowded()) << "the other has had nothing for long";
  lanes_.offer(delivery(webhook_number(1), 1));
  EXPECT_FALSE(lanes_.is_crowded());
}

// --- Overflow -----------------------------------------------------------------------------------------------------------

TEST_F(LanesTest, FullLaneRefusesAndSoDoesItWhileItOverflows) {
  set_trusted_lane(kFirst, {.max_in_flight = 10});
  set_lane(kSecond, {.max_in_flight = 10});
  fill(kFirst);
  EXPECT_FALSE(lanes_.overflows(kFirst));
  EXPECT_EQ(lanes_.room(kFirst, now_), 0U);
  EXPECT_FALSE(lanes_.offer(delivery(kFirst, 5000)));
  EXPECT_TRUE(lanes_.overflows(kFirst));
  EXPECT_TRUE(lanes_.offer(delivery(kSecond, 5000))) << "another lane is not concerned";
  ASSERT_TRUE(lanes_.take(now_));
  ASSERT_TRUE(lanes_.take(now_));
  EXPECT_FALSE(lanes_.offer(delivery(kFirst, 5001))) << "would pass what overflowed";
  EXPECT_TRUE(lanes_.refill(delivery(kFirst, 5000)));
  lanes_.end_overflow(kFirst);
  ASSERT_TRUE(lanes_.take(now_));
  EXPECT_TRUE(lanes_.offer(delivery(kFirst, 5001)));
}

TEST_F(LanesTest, RefillStopsWhereTheLaneIsFull) {
  set_lane(kFirst, {.max_in_flight = 10});
  fill(kFirst);
  EXPECT_FALSE(lanes_.refill(delivery(kFirst, 5000)));
  EXPECT_EQ(lanes_.queued(), Lanes::kQueuedMax);
}

TEST_F(LanesTest, BodiesAreBoundedButOneAlwaysFits) {
  set_lane(kFirst, {.max_in_flight = 10});
  EXPECT_TRUE(lanes_.offer(delivery(kFirst, 1, "", Lanes::kQueuedBytesMax + 1)));
  EXPECT_EQ(lanes_.room(kFirst, now_), 0U);
  EXPECT_FALSE(lanes_.offer(delivery(kFirst, 2, "", 1)));
  EXPECT_EQ(lanes_.queued_bytes(), Lanes::kQueuedBytesMax + 1);
  ASSERT_TRUE(lanes_.take(now_));
  EXPECT_EQ(lanes_.queued_bytes(), 0U);
  EXPECT_TRUE(lanes_.refill(delivery(kFirst, 2, "", 1)));
}

TEST_F(LanesTest, LanesThatAreNotTrustedHoldHalfOfTheBytesInFlightOrNot) {
  constexpr std::size_t kMax = 1'000'000;
  constexpr std::size_t kBody = 90'000;
  lanes_.set_bytes_max(kMax);
  std::vector<Delivery> taken;
  for (int n = 0; n < 20; ++n) {
    set_lane(webhook_number(n), {.max_in_flight = 10});
    lanes_.offer(delivery(webhook_number(n), n, "", kBody));
    for (Delivery& each : take_all()) taken.push_back(std::move(each));
  }
  EXPECT_EQ(taken.size(), 5U);
  EXPECT_LE(lanes_.held_bytes(), kMax / 2);
  EXPECT_FALSE(lanes_.has_bytes_for(webhook_number(19), kBody));
  EXPECT_TRUE(lanes_.overflows(webhook_number(19)));
  lanes_.end_overflow(webhook_number(19));
  finish(taken.back());
  EXPECT_TRUE(lanes_.has_bytes_for(webhook_number(19), kBody)) << "another has let go of its own";
  EXPECT_TRUE(lanes_.offer(delivery(webhook_number(19), 100, "", kBody)));
  set_trusted_lane(webhook_number(30), {.max_in_flight = 4});
  EXPECT_TRUE(lanes_.offer(delivery(webhook_number(30), 200, "", kBody))) << "the other half is for those that are";
  for (Delivery& each : taken) {
    if (each.event->event_id != taken.back().event->event_id) finish(each, Health::kFailed);
  }
  for (int n = 0; n <= 30; ++n) lanes_.remove_lane(webhook_number(n));
  EXPECT_EQ(lanes_.held_bytes(), 0U);
}

TEST_F(LanesTest, OneLaneHoldsAQuarterOfTheBytes) {
  lanes_.set_bytes_max(1'000'000);
  set_trusted_lane(kFirst, {.max_in_flight = 16});
  std::int64_t id = 0;
  while (lanes_.offer(delivery(kFirst, ++id, "", 50'000))) take_all();
  EXPECT_EQ(id, 5);
  EXPECT_LE(lanes_.held_bytes(), 250'000U);
  set_trusted_lane(kSecond, {.max_in_flight = 16});
  EXPECT_TRUE(lanes_.offer(delivery(kSecond, 1, "", 50'000)));
}

TEST_F(LanesTest, OneLargeDeliveryFitsWhateverElseIsHeld) {
  lanes_.set_bytes_max(1'000'000);
  for (const Uuid& webhook : {kFirst, kSecond}) set_lane(webhook, {.max_in_flight = 10});
  EXPECT_TRUE(lanes_.offer(delivery(kFirst, 1, "", 5'000'000)));
  EXPECT_FALSE(lanes_.offer(delivery(kSecond, 2, "", 5'000'000))) << "one at a time";
  lanes_.end_overflow(kSecond);
  EXPECT_TRUE(lanes_.offer(delivery(kSecond, 3, "", 100'000))) << "it keeps nobody else waiting";
  const auto taken = take_all();
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_FALSE(lanes_.refill(delivery(kSecond, 2, "", 5'000'000)));
  finish(taken[0]);
  EXPECT_TRUE(lanes_.refill(delivery(kSecond, 2, "", 5'000'000)));
}

TEST_F(LanesTest, LanesThatHangAreRelievedOfWhatWaitsBeyondTheirHalf) {
  lanes_.set_bytes_max(1'000'000);
  std::vector<Delivery> taken;
  for (int n = 1; n <= 4; ++n) {
    set_trusted_lane(webhook_number(n), {.max_in_flight = 1});
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(lanes_.offer(delivery(webhook_number(n), n * 10 + i, "", 60'000)));
    taken.push_back(*lanes_.take(now_));
  }
  EXPECT_EQ(lanes_.lane_to_relieve(), std::nullopt) << "they move";
  now_ += Lanes::kPatience;
  EXPECT_FALSE(lanes_.take(now_));
  std::size_t relieved = 0;
  while (const auto lane = lanes_.lane_to_relieve()) {
    EXPECT_EQ(lanes_.evict(*lane).size(), 3U);
    ++relieved;
  }
  EXPECT_EQ(relieved, 3U);
  EXPECT_LE(lanes_.held_bytes(), 500'000U);
}

TEST_F(LanesTest, TheKeysThatAllLanesRememberAreBounded) {
  constexpr int kLanes = 40;
  constexpr std::int64_t kKeys = 5'000;
  std::size_t whole = 0;
  for (int n = 0; n < kLanes; ++n) {
    const Uuid webhook = webhook_number(n);
    set_lane(webhook, {.max_in_flight = 1, .ordering = Ordering::kKey});
    for (std::int64_t id = 0; id < kKeys; ++id) lanes_.note_pending(webhook, "key " + std::to_string(id), id);
    if (!lanes_.overflows(webhook)) ++whole;
    // What is not remembered overflows as a whole.
    EXPECT_FALSE(lanes_.offer(delivery(webhook, kKeys, "key 1")));
  }
  EXPECT_LE(whole, Lanes::kAllBlockedBytesMax / (kKeys * 100));
  EXPECT_GE(whole, 10U);
  const std::unordered_map<std::string, std::int64_t> nothing;
  for (int n = 0; n < kLanes; ++n) lanes_.set_pending(webhook_number(n), nothing);
  set_lane(webhook_number(kLanes), {.max_in_flight = 1, .ordering = Ordering::kKey});
  lanes_.set_pending(webhook_number(kLanes), std::unordered_map<std::string, std::int64_t>{{"=a", 1}});
  EXPECT_FALSE(lanes_.overflows(webhook_number(kLanes))) << "there is room again";
}

TEST_F(LanesTest, CrowdedIsALaneThatMovesAndIsHalfFull) {
  set_lane(kFirst, {.max_in_flight = 1});
  for (std::size_t i = 0; i < Lanes::kQueuedMax / 2; ++i) {
    EXPECT_FALSE(lanes_.is_crowded());
    lanes_.offer(delivery(kFirst, static_cast<std::int64_t>(i)));
  }
  EXPECT_TRUE(lanes_.is_crowded());
  lanes_.begin_overflow(kFirst);
  EXPECT_FALSE(lanes_.is_crowded()) << "nothing is gained by waiting for it";
  lanes_.end_overflow(kFirst);
  EXPECT_TRUE(lanes_.is_crowded());
  lanes_.evict(kFirst);
  EXPECT_FALSE(lanes_.is_crowded());
}

TEST_F(LanesTest, LaneThatHangsIsNotWaitedFor) {
  set_lane(kFirst, {.max_in_flight = 1});
  for (std::size_t i = 0; i < Lanes::kQueuedMax; ++i) lanes_.offer(delivery(kFirst, static_cast<std::int64_t>(i)));
  const auto taken = lanes_.take(now_);
  EXPECT_TRUE(lanes_.is_crowded()) << "nothing is known of it yet";
  now_ += Lanes::kPatience;
  EXPECT_FALSE(lanes_.take(now_));
  EXPECT_FALSE(lanes_.is_crowded());
  finish(*taken);
  EXPECT_TRUE(lanes_.is_crowded()) << "it moves after all";
  const auto next = lanes_.take(now_);
  finish(*next, Health::kFailed);
  EXPECT_FALSE(lanes_.is_crowded());
}

TEST_F(LanesTest, LanesThatMoveAreCrowdedSoonerTheMoreRoomOthersTake) {
  const auto fill = [this](int first_lane, int lanes, int each) {
    for (int n = first_lane; n < first_lane + lanes; ++n) {
      set_lane(webhook_number(n), {.max_in_flight = 1});
      for (int i = 0; i < each; ++i) lanes_.offer(delivery(webhook_number(n), i));
    }
  };
  fill(0, 20, 400);
  EXPECT_FALSE(lanes_.is_crowded());
  for (int n = 0; n < 20; ++n) lanes_.begin_overflow(webhook_number(n));
  fill(20, 15, 399);
  EXPECT_FALSE(lanes_.is_crowded()) << "not yet half of the 12,000 that are left";
  fill(35, 1, 15);
  EXPECT_TRUE(lanes_.is_crowded());
  for (int n = 0; n < 20; ++n) lanes_.evict(webhook_number(n));
  EXPECT_FALSE(lanes_.is_crowded());
}

// --- Lanes come and go ----------------------------------------------------------------------------------------------------

// The id may be another webhook's by the time that what is in flight comes back.
TEST_F(LanesTest, ForgottenLaneHasNoEffectOnTheNextOfItsId) {
  set_trusted_lane(kFirst, {.max_in_flight = 3});
  for (const std::int64_t id : {1, 2, 3, 4}) lanes_.offer(delivery(kFirst, id));
  const std::vector<Delivery> taken = take_all();
  ASSERT_EQ(ids(taken), (Ids{1, 2, 3}));
  now_ += 2s;
  EXPECT_FALSE(lanes_.take(now_)) << "so that some are slow";
  EXPECT_EQ(ids(lanes_.forget_lane(kFirst)), Ids{4});
  EXPECT_EQ(lanes_.circuit(kFirst), nullptr);

  set_lane(kFirst, {.max_in_flight = 1});
  lanes_.offer(delivery(kFirst, 5, "key"));
  const auto next = lanes_.take(now_);
  ASSERT_TRUE(next) << "it has a place of its own";
  EXPECT_EQ(lanes_.in_flight(), 4U);
  for (const Delivery& old : taken) {
    EXPECT_EQ(finish(old, Health::kFailed), Circuit::Change::kNone);
  }
  EXPECT_FALSE(lanes_.circuit(kFirst)->is_open());
  EXPECT_EQ(lanes_.in_flight(), 1U);
  lanes_.offer(delivery(kFirst, 6));
  finish(*next);
  EXPECT_EQ(ids(take_all()), Ids{6});
}

TEST_F(LanesTest, RemovedLaneReturnsWhatWaited) {
  set_lane(kFirst, {.max_in_flight = 1});
  for (const std::int64_t id : {1, 2, 3}) lanes_.offer(delivery(kFirst, id));
  const auto taken = lanes_.take(now_);
  EXPECT_EQ(ids(lanes_.remove_lane(kFirst)), (Ids{2, 3}));
  EXPECT_EQ(lanes_.queued(), 0U);
  EXPECT_EQ(lanes_.queued_bytes(), 0U);
  EXPECT_FALSE(lanes_.take(now_));
  finish(*taken);
  EXPECT_EQ(lanes_.circuit(kFirst), nullptr);
}

TEST_F(LanesTest, LaneThatComesBackStillCountsWhatIsInFlight) {
  set_lane(kFirst, {.max_in_flight = 1});
  lanes_.offer(delivery(kFirst, 1));
  const auto taken = lanes_.take(now_);
  lanes_.remove_lane(kFirst);
  set_lane(kFirst, {.max_in_flight = 1});
  EXPECT_TRUE(lanes_.offer(delivery(kFirst, 2)));
  EXPECT_FALSE(lanes_.take(now_)) << "one is in flight";
  finish(*taken);
  EXPECT_EQ(take_ids(), (Ids{2}));
}

TEST_F(LanesTest, RemovingALaneInTurnLeavesTheOthersTheirs) {
  set_lane(kFirst, {.max_in_flight = 1});
  set_lane(kSecond, {.max_in_flight = 1});
  lanes_.offer(delivery(kFirst, 1));
  lanes_.offer(delivery(kSecond, 2));
  lanes_.remove_lane(kFirst);
  EXPECT_EQ(take_ids(), (Ids{2}));
}

TEST_F(LanesTest, EveryWaitingDeliveryIsVisited) {
  set_trusted_lane(kFirst, {.max_in_flight = 2});
  set_lane(kSecond, {.max_in_flight = 1});
  lanes_.offer(delivery(kFirst, 1, "a"));
  lanes_.offer(delivery(kFirst, 2, "a"));  // is parked behind it
  lanes_.offer(delivery(kSecond, 3));
  ASSERT_TRUE(lanes_.take(now_));
  lanes_.take(now_);
  Ids visited;
  const auto note = [&visited](Delivery& waiting) {
    visited.push_back(waiting.event->event_id);
    return true;
  };
  EXPECT_TRUE(lanes_.for_each_queued(note));
  std::sort(visited.begin(), visited.end());
  EXPECT_EQ(visited, (Ids{2}));
}

TEST_F(LanesTest, AVisitCanBeTheLast) {
  set_lane(kFirst, {.max_in_flight = 1});
  for (int id = 1; id <= 3; ++id) lanes_.offer(delivery(kFirst, id));
  Ids visited;
  const auto stop_at_two = [&visited](Delivery& waiting) {
    visited.push_back(waiting.event->event_id);
    return visited.size() < 2;
  };
  EXPECT_FALSE(lanes_.for_each_queued(stop_at_two));
  EXPECT_EQ(visited, (Ids{1, 2}));
}

// --- Rates ----------------------------------------------------------------------------------------------------------------

TEST_F(LanesTest, RateIsAnAverageWithABurstOfASecond) {
  set_trusted_lane(kFirst, {.max_in_flight = 100, .rate_per_s = 10});
  for (int id = 1; id <= 100; ++id) lanes_.offer(delivery(kFirst, id));
  EXPECT_EQ(take_all().size(), 10U);
  now_ += 500ms;
  EXPECT_EQ(take_all().size(), 5U);
  const auto next = lanes_.next_turn_at();
  ASSERT_TRUE(next);
  EXPECT_NEAR(static_cast<double>((*next - now_).count()), 100'000.0, 10.0);
  now_ = *next;
  EXPECT_EQ(take_all().size(), 1U);
}

TEST_F(LanesTest, SlowRateIsKeptToo) {
  set_trusted_lane(kFirst, {.max_in_flight = 10, .rate_per_s = 0.1});
  lanes_.offer(delivery(kFirst, 1));
  lanes_.offer(delivery(kFirst, 2));
  const auto taken = take_all();
  EXPECT_EQ(ids(taken), (Ids{1}));
  finish(taken[0]);
  now_ += 9s;
  EXPECT_EQ(take_ids(), (Ids{}));
  now_ += 2s;
  EXPECT_EQ(take_ids(), (Ids{2}));
}

TEST_F(LanesTest, RateThatIsLiftedHoldsNoLonger) {
  set_trusted_lane(kFirst, {.max_in_flight = 10, .rate_per_s = 1});
  for (const std::int64_t id : {1, 2, 3}) lanes_.offer(delivery(kFirst, id));
  EXPECT_EQ(take_ids(), (Ids{1}));
  set_lane(kFirst, {.max_in_flight = 10});
  EXPECT_EQ(take_ids(), (Ids{2, 3}));
}

TEST_F(LanesTest, ClockThatIsSetBackHoldsNothingUp) {
  set_trusted_lane(kFirst, {.max_in_flight = 10, .rate_per_s = 1});
  for (const std::int64_t id : {1, 2}) lanes_.offer(delivery(kFirst, id));
  const auto taken = take_all();
  EXPECT_EQ(ids(taken), (Ids{1}));
  finish(taken[0]);
  set_lane(kSecond, {.max_in_flight = 1});
  open_circuit(kSecond);
  lanes_.begin_overflow(kSecond);
  now_ -= 1h;
  lanes_.clock_set_back(now_);
  now_ += 2s;
  EXPECT_EQ(take_ids(), (Ids{2}));
  now_ += Circuit::kStepMin * 2;
  EXPECT_EQ(lanes_.room(kSecond, now_), 1U) << "a probe is due";
}

// --- Order ----------------------------------------------------------------------------------------------------------------

TEST_F(LanesTest, RelaxedSendsFirstAttemptsOfAKeyOneAfterTheOther) {
  set_trusted_lane(kFirst, {.max_in_flight = 10});
  lanes_.offer(delivery(kFirst, 1, "a"));
  lanes_.offer(delivery(kFirst, 2, "a"));
  lanes_.offer(delivery(kFirst, 3, "b"));
  lanes_.offer(delivery(kFirst, 4, "a"));
  lanes_.offer(delivery(kFirst, 5));
  lanes_.offer(delivery(kFirst, 6));
  const auto first = take_all();
  EXPECT_EQ(ids(first), (Ids{1, 3, 5, 6}));
  finish(first[0], Health::kAnswered);
  finish(first[1]);
  const auto second = take_all();
  EXPECT_EQ(ids(second), (Ids{2})) << "a retry of the first holds nothing back";
  finish(second[0]);
  EXPECT_EQ(take_ids(), (Ids{4}));
}

TEST_F(LanesTest, RelaxedRetryWaitsForNobody) {
  set_trusted_lane(kFirst, {.max_in_flight = 10});
  lanes_.offer(delivery(kFirst, 2, "a"));
  Delivery retry = delivery(kFirst, 1, "a");
  retry.attempt = 2;
  lanes_.refill(retry);
  EXPECT_EQ(take_ids(), (Ids{2, 1}));
}

TEST_F(LanesTest, KeysInOrderStayParallel) {
  set_trusted_lane(kFirst, {.max_in_flight = 4, .ordering = Ordering::kKey});
  for (const auto& [id, key] : std::map<int, std::string>{{1, "a"}, {2, "a"}, {3, "b"}, {4, "b"}, {5, ""}, {6, ""}}) {
    lanes_.offer(delivery(kFirst, id, key));
  }
  const auto taken = take_all();
  EXPECT_EQ(ids(taken), (Ids{1, 3, 5, 6})) << "without a key there is nothing to wait for";
  finish(taken[1]);
  EXPECT_EQ(take_ids(), (Ids{4}));
}

TEST_F(LanesTest, WhatFollowsAFailedDeliveryOfItsKeyIsWithdrawn) {
  set_trusted_lane(kFirst, {.max_in_flight = 10, .ordering = Ordering::kKey});
  for (const std::int64_t id : {1, 2, 4}) lanes_.offer(delivery(kFirst, id, "a"));
  lanes_.offer(delivery(kFirst, 3, "b"));
  const auto taken = take_all();
  ASSERT_EQ(ids(taken), (Ids{1, 3}));
  lanes_.offer(delivery(kFirst, 5, "a"));
  lanes_.offer(delivery(kFirst, 6, "b"));
  finish(taken[0], Health::kAnswered);
  EXPECT_EQ(ids(lanes_.withdraw_behind(taken[0])), (Ids{4, 2, 5})) << "whatever order: they are pending";
  finish(taken[1]);
  EXPECT_EQ(take_ids(), (Ids{6}));
  EXPECT_EQ(lanes_.queued(), 0U);
}

TEST_F(LanesTest, KeyThatIsPendingSomethingIsRefusedAndOthersAreNot) {
  set_trusted_lane(kFirst, {.max_in_flight = 10, .ordering = Ordering::kKey});
  lanes_.note_pending(kFirst, "a", 1);
  EXPECT_FALSE(lanes_.offer(delivery(kFirst, 2, "a")));
  lanes_.note_pending(kFirst, "a", 2);
  EXPECT_FALSE(lanes_.overflows(kFirst));
  EXPECT_TRUE(lanes_.offer(delivery(kFirst, 3, "b")));
  lanes_.note_settled(kFirst, "a", 1);
  EXPECT_FALSE(lanes_.offer(delivery(kFirst, 4, "a")));
  lanes_.note_settled(kFirst, "a", 2);
  EXPECT_TRUE(lanes_.offer(delivery(kFirst, 5, "a")));
}

TEST_F(LanesTest, TooManyKeysThatArePendingMakeTheLaneOverflow) {
  set_trusted_lane(kFirst, {.max_in_flight = 10, .ordering = Ordering::kKey});
  for (std::size_t i = 0; i <= Lanes::kBlockedKeysMax; ++i) {
    lanes_.note_pending(kFirst, "key " + std::to_string(i), static_cast<std::int64_t>(i));
  }
  EXPECT_TRUE(lanes_.overflows(kFirst));
  lanes_.end_overflow(kFirst);
  EXPECT_TRUE(lanes_.overflows(kFirst)) << "some keys are not remembered";
  EXPECT_FALSE(lanes_.knows_pending(kFirst));
  lanes_.set_pending(kFirst, std::unordered_map<std::string, std::int64_t>{{"=a", 1}});
  EXPECT_TRUE(lanes_.knows_pending(kFirst));
  lanes_.end_overflow(kFirst);
  EXPECT_FALSE(lanes_.overflows(kFirst));
  EXPECT_FALSE(lanes_.offer(delivery(kFirst, 1, "a"))) << "of which something is pending";
}

// What is in flight holds the keys of the ordering that it was sent with.
TEST_F(LanesTest, AnotherOrderingBeginsWhenNothingOfTheOldOneIsInFlight) {
  const Ordering orderings[] = {Ordering::kRelaxed, Ordering::kKey, Ordering::kEndpoint};
  int number = 100;
  for (const Ordering before : orderings) {
    for (const Ordering after : orderings) {
      if (before == after) continue;
      const Uuid webhook = webhook_number(++number);
      set_trusted_lane(webhook, {.max_in_flight = 10, .ordering = before});
      const int own = before == Ordering::kEndpoint ? 1 : 2;
      for (int i = 0; i < own; ++i)
        lanes_.offer(delivery(webhook, number * 100 + i, std::string(1, static_cast<char>('a' + i))));
      const std::vector<Delivery> old = take_all();
      ASSERT_EQ(old.size(), static_cast<std::size_t>(own));
      set_lane(webhook, {.max_in_flight = 10, .ordering = after});
      lanes_.offer(delivery(webhook, number * 100 + 10, "a"));
      for (const Delivery& each : old) {
        EXPECT_FALSE(lanes_.take(now_)) << "the next of the same key would pass it";
        finish(each);
      }
      const auto next = lanes_.take(now_);
      ASSERT_TRUE(next);
      EXPECT_EQ(next->event->event_id, number * 100 + 10);
      finish(*next);
      lanes_.forget_lane(webhook);
    }
  }
}

TEST_F(LanesTest, EndpointInOrderGetsOneAtATime) {
  set_trusted_lane(kFirst, {.max_in_flight = 10, .ordering = Ordering::kEndpoint});
  for (const std::int64_t id : {1, 2, 3}) lanes_.offer(delivery(kFirst, id, "key " + std::to_string(id)));
  const auto taken = take_all();
  EXPECT_EQ(ids(taken), (Ids{1}));
  finish(taken[0], Health::kFailed);
  EXPECT_EQ(ids(lanes_.withdraw_behind(taken[0])), (Ids{2, 3}));
}

TEST_F(LanesTest, ChangedOrderingStrandsNothing) {
  set_trusted_lane(kFirst, {.max_in_flight = 10});
  lanes_.offer(delivery(kFirst, 1, "a"));
  lanes_.offer(delivery(kFirst, 2, "a"));
  const auto taken = take_all();
  EXPECT_EQ(ids(lanes_.evict(kFirst)), (Ids{2}));
  set_lane(kFirst, {.max_in_flight = 10, .ordering = Ordering::kKey});
  finish(taken[0]);
  set_lane(kFirst, {.max_in_flight = 10});
  lanes_.offer(delivery(kFirst, 3, "a"));
  EXPECT_EQ(take_ids(), (Ids{3}));
}

TEST_F(LanesTest, EvictedKeyIsFreeAgain) {
  set_trusted_lane(kFirst, {.max_in_flight = 1});
  for (const std::int64_t id : {1, 2, 3}) lanes_.offer(delivery(kFirst, id, "a"));
  const auto taken = take_all();
  finish(taken[0]);  // the second is next in turn and holds the key
  EXPECT_EQ(ids(lanes_.evict(kFirst)).size(), 2U);
  lanes_.offer(delivery(kFirst, 4, "a"));
  EXPECT_EQ(take_ids(), (Ids{4}));
}

TEST(OrderingKeyTest, TellsWhatWaitsForWhat) {
  EXPECT_EQ(ordering_key(Ordering::kRelaxed, "a", 1), std::nullopt);
  EXPECT_EQ(ordering_key(Ordering::kKey, "a", 1), "=a");
  EXPECT_EQ(ordering_key(Ordering::kKey, std::nullopt, 1), "#1");
  EXPECT_EQ(ordering_key(Ordering::kKey, "#1", 2), "=#1") << "a user's key is never taken for one of ours";
  EXPECT_EQ(ordering_key(Ordering::kEndpoint, "a", 1), "*");
}

// --- Circuit --------------------------------------------------------------------------------------------------------------

TEST_F(LanesTest, OpenCircuitRefusesAndLetsOneThroughForEachStep) {
  set_trusted_lane(kFirst, {.max_in_flight = 10});
  open_circuit(kFirst);
  EXPECT_FALSE(lanes_.offer(delivery(kFirst, 1)));
  EXPECT_TRUE(lanes_.overflows(kFirst));
  EXPECT_EQ(lanes_.room(kFirst, now_), 0U);
  now_ = lanes_.circuit(kFirst)->next_probe_at();
  EXPECT_EQ(lanes_.room(kFirst, now_), 1U);
  ASSERT_TRUE(lanes_.refill(delivery(kFirst, 2)));
  EXPECT_EQ(lanes_.room(kFirst, now_), 0U);
  lanes_.refill(delivery(kFirst, 3));
  const auto probes = take_all();
  ASSERT_EQ(ids(probes), (Ids{2})) << "one";
  finish(probes[0], Health::kFailed);
  EXPECT_FALSE(lanes_.take(now_));
  now_ = lanes_.circuit(kFirst)->next_probe_at();
  EXPECT_EQ(lanes_.next_turn_at(), now_);
  const auto next = take_all();
  ASSERT_EQ(ids(next), (Ids{3}));
  EXPECT_EQ(finish(next[0], Health::kAnswered), Circuit::Change::kClosed);
  EXPECT_GT(lanes_.room(kFirst, now_), 1U);
}

// An answer from elsewhere closes it, and what hangs since before does not hold up the rest; what begins then and hangs does.
TEST_F(LanesTest, OpenCircuitsAreCountedByOrganization) {
  const Uuid third = webhook_number(3);
  set_lane(kFirst, {}, "acme");
  set_lane(kSecond, {}, "acme");
  set_lane(third, {}, "globex");
  const auto counts = [this] { return std::array{lanes_.open_circuits(), lanes_.failing_organizations()}; };
  EXPECT_EQ(counts(), (std::array<std::size_t, 2>{0, 0}));
  open_circuit(kFirst);
  open_circuit(kSecond);
  EXPECT_EQ(counts(), (std::array<std::size_t, 2>{2, 1}));
  lanes_.reopen_circuit(third, now_, now_);
  EXPECT_EQ(counts(), (std::array<std::size_t, 2>{3, 2}));
  set_lane(kFirst, {}, "initech");  // moves, and takes its circuit along
  EXPECT_EQ(counts(), (std::array<std::size_t, 2>{3, 3}));
  lanes_.close_circuit(kFirst, now_);
  lanes_.close_circuit(kFirst, now_);
  EXPECT_EQ(counts(), (std::array<std::size_t, 2>{2, 2}));
  lanes_.remove_lane(kSecond);
  EXPECT_EQ(counts(), (std::array<std::size_t, 2>{1, 1}));
  lanes_.forget_lane(third);
  EXPECT_EQ(counts(), (std::array<std::size_t, 2>{0, 0}));
}

TEST_F(LanesTest, WhatHungWhenTheCircuitClosedTakesNoPlace) {
  set_trusted_lane(kFirst, {.max_in_flight = 3});
  open_circuit(kFirst);
  now_ = lanes_.circuit(kFirst)->next_probe_at();
  ASSERT_TRUE(lanes_.refill(delivery(kFirst, 1)));
  const auto probe = take_all();
  ASSERT_EQ(ids(probe), (Ids{1}));
  now_ += 2s;
  EXPECT_EQ(lanes_.close_circuit(kFirst, now_), Circuit::Change::kClosed);
  EXPECT_EQ(lanes_.close_circuit(kFirst, now_), Circuit::Change::kNone) << "once";
  for (int id = 2; id < 6; ++id) ASSERT_TRUE(lanes_.refill(delivery(kFirst, id)));
  const auto next = take_all();
  ASSERT_EQ(ids(next), (Ids{2})) << "one, as behind any failure";
  finish(next[0]);
  const auto third = take_all();
  ASSERT_EQ(ids(third), (Ids{3}));
  now_ += 2s;
  EXPECT_EQ(take_ids(), Ids{}) << "that hangs as well";
  finish(probe[0], Health::kFailed);
  EXPECT_EQ(take_ids(), Ids{}) << "its place is gone with it";
  finish(third[0]);
  EXPECT_EQ(take_ids().size(), 2U);
}

TEST_F(LanesTest, WhatHungWhenTheCircuitClosedKeepsToTheOrderAndTheCap) {
  for (const LaneLimits& limits :
       {LaneLimits{.max_in_flight = 1}, LaneLimits{.max_in_flight = 9, .ordering = Ordering::kEndpoint}}) {
    set_trusted_lane(kFirst, limits);
    open_circuit(kFirst);
    now_ = lanes_.circuit(kFirst)->next_probe_at();
    ASSERT_TRUE(lanes_.refill(delivery(kFirst, 1)));
    const auto probe = take_all();
    ASSERT_EQ(probe.size(), 1U);
    lanes_.close_circuit(kFirst, now_);
    ASSERT_TRUE(lanes_.refill(delivery(kFirst, 2)));
    EXPECT_EQ(take_ids(), Ids{});
    finish(probe[0]);
    const auto next = take_all();
    ASSERT_EQ(ids(next), (Ids{2}));
    finish(next[0]);
    lanes_.end_overflow(kFirst);
  }
}

TEST(CircuitTest, OpensAfterFailuresInARowOnly) {
  Circuit circuit;
  const Time now{};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(circuit.failed(now, 0.5), Circuit::Change::kNone);
  EXPECT_EQ(circuit.answered(), Circuit::Change::kNone);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(circuit.failed(now, 0.5), Circuit::Change::kNone);
  EXPECT_EQ(circuit.failed(now, 0.5), Circuit::Change::kOpened);
  EXPECT_EQ(circuit.answered(), Circuit::Change::kClosed);
  EXPECT_FALSE(circuit.is_open());
}

TEST(CircuitTest, StepsDoubleUpToTheirBound) {
  Circuit circuit;
  Time now{};
  for (int i = 0; i < 5; ++i) circuit.failed(now, 0.5);
  std::vector<std::int64_t> steps_s;
  for (int i = 0; i < 8; ++i) {
    steps_s.push_back(std::chrono::duration_cast<std::chrono::seconds>(circuit.next_probe_at() - now).count());
    now = circuit.next_probe_at();
    circuit.failed(now, 0.5);
  }
  EXPECT_EQ(steps_s, (std::vector<std::int64_t>{5, 10, 20, 40, 80, 160, 300, 300}));
}

TEST(CircuitTest, WhatWasUnderWayWhenItOpenedIsNoProbe) {
  Circuit circuit;
  const Time now{};
  for (int i = 0; i < 5; ++i) circuit.failed(now, 0.5);
  const Time probe = circuit.next_probe_at();
  for (int i = 0; i < 10; ++i) circuit.failed(now + 1s, 0.5);
  EXPECT_EQ(circuit.next_probe_at(), probe);
}

TEST(CircuitTest, EndpointMayAskForMoreTime) {
  Circuit circuit;
  const Time now{};
  for (int i = 0; i < 5; ++i) circuit.failed(now, 0.5, now + 1h);
  EXPECT_EQ(circuit.next_probe_at(), now + 1h);
}

TEST(CircuitTest, ProbesOfManyAreSpread) {
  for (const double random : {0.0, 0.999}) {
    Circuit circuit;
    for (int i = 0; i < 5; ++i) circuit.failed(Time{}, random);
    EXPECT_NEAR(std::chrono::duration<double>(circuit.next_probe_at() - Time{}).count(), random < 0.5 ? 4 : 6, 0.01);
  }
}

// --- Organizations: who waits for how long ---------------------------------------------------------------------------------

// What an endpoint does with a request: how long it takes, and what comes of it. The number is that of the request.
struct Behaviour {
  const char* name;
  std::pair<Duration, Health> (*answer)(int number);
};

void PrintTo(const Behaviour& behaviour, std::ostream* out) { *out << behaviour.name; }

constexpr std::pair<Duration, Health> kQuick{100ms, Health::kSuccess};

const Behaviour kBehaviours[] = {
    {"AnswersSoon", [](int) { return kQuick; }},
    {"AnswersAfter900ms", [](int) { return std::pair<Duration, Health>(900ms, Health::kSuccess); }},
    {"AnswersAfter1100ms", [](int) { return std::pair<Duration, Health>(1100ms, Health::kSuccess); }},
    {"AnswersAfter50s", [](int) { return std::pair<Duration, Health>(50s, Health::kSuccess); }},
    {"Hangs", [](int) { return std::pair<Duration, Health>(60s, Health::kFailed); }},
    {"FailsAtOnce", [](int) { return std::pair<Duration, Health>(1ms, Health::kFailed); }},
    {"FailsNowAndThen",
     [](int n) { return std::pair<Duration, Health>(900ms, n % 4 == 0 ? Health::kFailed : Health::kSuccess); }},
    {"IsTrustedAndThenHangs",
     [](int n) { return n % 30 == 29 ? std::pair<Duration, Health>(50s, Health::kSuccess) : kQuick; }},
    {"FailsAndThenHangs",
     [](int n) { return std::pair<Duration, Health>(n % 2 == 0 ? Duration(1ms) : 50s, Health::kFailed); }},
    {"Differs",
     [](int n) {
       constexpr std::array<Duration, 4> kDelays{1ms, 900ms, 1100ms, 50s};
       return std::pair<Duration, Health>(kDelays[static_cast<std::size_t>(n) % 4], Health::kSuccess);
     }},
};

// Organizations whose webhooks always have something to send, and a healthy one that sends now and then.
class LanesSimulation {
 public:
  explicit LanesSimulation(std::size_t total) { lanes_.set_slots(SlotLimits::of(total)); }

  void add_greedy(const std::string& organization, int webhooks, const Behaviour& behaviour) {
    for (int i = 0; i < webhooks; ++i) {
      const Uuid webhook = add(organization, behaviour);
      while (lanes_.queued(webhook) < 5 && lanes_.offer(delivery(webhook, ++last_event_))) continue;
    }
  }
  Uuid add_healthy(const std::string& organization) {
    return add(organization, {"Healthy", [](int n) {
                                return std::pair<Duration, Health>(5ms,
                                                                   n % 20 == 1 ? Health::kFailed : Health::kSuccess);
                              }});
  }

  void run(Duration time) {
    for (const Time end = now_ + time; now_ < end; now_ += kStep) {
      while (!landings_.empty() && landings_.begin()->first <= now_) land();
      take();
    }
  }
  // Sends to it twenty times a second for so long. Returns for how long one of these waited at most.
  Duration longest_wait(const Uuid& healthy, Duration time) {
    longest_wait_ = {};
    healthy_ = healthy;
    for (const Time end = now_ + time; now_ < end;) {
      Delivery sent = delivery(healthy, ++last_event_);
      sent.pending_since = now_;
      if (!lanes_.offer(sent)) return Duration::max();
      run(50ms);
    }
    return lanes_.queued(healthy) == 0 ? longest_wait_ : Duration::max();
  }

 private:
  static constexpr Duration kStep = 10ms;
  struct Endpoint {
    Behaviour behaviour;
    int requests = 0;
  };

  Uuid add(const std::string& organization, const Behaviour& behaviour) {
    const Uuid webhook = webhook_number(static_cast<int>(endpoints_.size()));
    endpoints_.emplace(webhook, Endpoint{behaviour});
    lanes_.set_lane(webhook, {.max_in_flight = 16}, now_, organization);
    return webhook;
  }
  void take() {
    while (std::optional<Delivery> taken = lanes_.take(now_)) {
      if (taken->webhook == healthy_) longest_wait_ = std::max(longest_wait_, now_ - taken->pending_since);
      Endpoint& endpoint = endpoints_.at(taken->webhook);
      const auto [delay, verdict] = endpoint.behaviour.answer(endpoint.requests++);
      landings_.emplace(now_ + delay, std::pair(std::move(*taken), verdict));
    }
  }
  void land() {
    const auto [landed, verdict] = std::move(landings_.extract(landings_.begin()).mapped());
    lanes_.finish(landed, verdict, now_, 0.5);
    if (landed.webhook == healthy_) return;
    lanes_.end_overflow(landed.webhook);
    if (!lanes_.circuit(landed.webhook)->is_open()) lanes_.offer(delivery(landed.webhook, ++last_event_));
  }

  Lanes lanes_;
  Time now_ = std::chrono::sys_days(std::chrono::year(2024) / 1 / 15);
  std::map<Uuid, Endpoint> endpoints_;
  std::multimap<Time, std::pair<Delivery, Health>> landings_;
  std::optional<Uuid> healthy_;
  Duration longest_wait_{};
  std::int64_t last_event_ = 0;
};

class LanesFairnessTest : public testing::TestWithParam<std::tuple<Behaviour, int>> {};

TEST_P(LanesFairnessTest, HealthyOneDoesNotWait) {
  const auto& [behaviour, organizations] = GetParam();
  LanesSimulation simulation(256);
  for (int i = 0; i < organizations; ++i) {
    simulation.add_greedy("greedy " + std::to_string(i), 1000 / organizations, behaviour);
  }
  const Uuid known = simulation.add_healthy("healthy");
  EXPECT_LE(simulation.longest_wait(known, 10s), 500ms) << "while the others take what they can get";
  simulation.run(60s);
  EXPECT_LE(simulation.longest_wait(known, 10s), 500ms) << "when they have it";
  const Uuid another = simulation.add_healthy("new");
  EXPECT_LE(simulation.longest_wait(another, 10s), 500ms) << "who is new";
}

INSTANTIATE_TEST_SUITE_P(All, LanesFairnessTest,
                         testing::Combine(testing::ValuesIn(kBehaviours), testing::Values(1, 20)));

// --- Whatever happens -----------------------------------------------------------------------------------------------------

// Thousands of webhooks, arrivals, results and clock jumps in a random order: no bound is passed, no lane starves, order
// holds, and everything that was taken in comes out once.
class LanesChaosTest : public LanesTest, public testing::WithParamInterface<int> {
 protected:
  int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }
  Uuid any_webhook() { return webhook_number(1 + below(webhooks_)); }

  void set_up_lanes() {
    lanes_.set_slots(slots_);
    for (int number = 1; number <= webhooks_; ++number) {
      const Uuid webhook = webhook_number(number);
      LaneLimits& of = limits_[webhook];
      of = {.max_in_flight = 1 + below(16), .rate_per_s = below(4) == 0 ? 1.0 + below(50) : 0};
      of.ordering = static_cast<Ordering>(below(3));
      organization_of_[webhook] = std::to_string(below(organizations_));
      set_lane(webhook, of, organization_of_[webhook]);
    }
  }

  void arrive() {
    const std::string key = below(3) == 0 ? "" : std::string(1, static_cast<char>('a' + below(3)));
    if (!lanes_.offer(delivery(any_webhook(), next_event_, key, static_cast<std::size_t>(below(2000))))) return;
    taken_in_[next_event_++] = 0;
    ++waiting_;
  }

  void set_clock_back() {
    now_ -= std::chrono::seconds(below(100));
    lanes_.clock_set_back(now_);
  }

  void land() {
    const auto index = static_cast<std::size_t>(below(static_cast<int>(in_flight_.size())));
    const Delivery landed = in_flight_[index];
    in_flight_[index] = in_flight_.back();
    in_flight_.pop_back();
    --in_flight_to_[landed.webhook];
    --held_by_[organization_of_[landed.webhook]];
    if (landed.event->key) --busy_keys_[{landed.webhook, *landed.event->key}];
    const int outcome = below(10);
    finish(landed, outcome < 6 ? Health::kSuccess : outcome < 8 ? Health::kAnswered : Health::kFailed);
    if (outcome >= 6) waiting_ -= lanes_.withdraw_behind(landed).size();
    if (lanes_.circuit(landed.webhook)->is_open()) waiting_ -= lanes_.evict(landed.webhook).size();
    lanes_.end_overflow(landed.webhook);
  }

  void move_to_another_organization() {
    const Uuid webhook = any_webhook();
    const auto moving = static_cast<std::size_t>(in_flight_to_[webhook]);
    held_by_[organization_of_[webhook]] -= moving;
    organization_of_[webhook] = std::to_string(below(organizations_));
    held_by_[organization_of_[webhook]] += moving;
    set_lane(webhook, limits_[webhook], organization_of_[webhook]);
  }

  void take() {
    std::optional<Delivery> taken = lanes_.take(now_);
    if (!taken) return;
    --waiting_;
    ASSERT_EQ(++taken_in_[taken->event->event_id], 1) << "comes out once";
    const LaneLimits& of = limits_[taken->webhook];
    ASSERT_LE(++in_flight_to_[taken->webhook], of.max_in_flight);
    if (of.ordering == Ordering::kEndpoint) {
      ASSERT_EQ(in_flight_to_[taken->webhook], 1);
    }
    if (taken->event->key) {
      const std::pair key(taken->webhook, *taken->event->key);
      ASSERT_EQ(++busy_keys_[key], 1) << "one of a key at a time";
      ASSERT_GT(taken->event->event_id, last_of_key_[key]) << "in order";
      last_of_key_[key] = taken->event->event_id;
    }
    const std::size_t held = held_by_[organization_of_[taken->webhook]]++;
    if (organizations_ > 1 && held > 0) {
      ASSERT_LT(held, slots_.total - slots_.spare - in_flight_.size()) << "it leaves as much free";
    }
    in_flight_.push_back(std::move(*taken));
    ASSERT_LE(in_flight_.size(), slots_.total);
  }

  // Nothing is stranded: with time, and answers, all of it comes out.
  void drain() {
    for (int round = 0; round < 100'000 && waiting_ > 0; ++round) {
      if (const auto taken = lanes_.take(now_)) {
        --waiting_;
        finish(*taken);
      } else if (!in_flight_.empty()) {
        const Delivery landed = in_flight_.back();
        in_flight_.pop_back();
        finish(landed);
      } else {
        const auto next = lanes_.next_turn_at();
        ASSERT_TRUE(next) << waiting_ << " wait for nothing";
        now_ = std::max(now_ + 1us, *next);
      }
    }
    EXPECT_EQ(waiting_, 0U);
  }

  std::mt19937 random_{static_cast<unsigned>(GetParam())};
  const int webhooks_ = GetParam() % 2 == 0 ? 20 : 2000;
  const SlotLimits slots_ = SlotLimits::of(8 + static_cast<std::size_t>(below(300)));
  const int organizations_ = std::array{1, 2, 30}[static_cast<std::size_t>(GetParam()) % 3];
  std::map<Uuid, LaneLimits> limits_;
  std::map<Uuid, std::string> organization_of_;
  std::map<std::string, std::size_t> held_by_;
  std::map<Uuid, int> in_flight_to_;
  std::map<std::pair<Uuid, std::string>, int> busy_keys_;
  std::map<std::pair<Uuid, std::string>, std::int64_t> last_of_key_;
  std::map<std::int64_t, int> taken_in_;  // event → times
  std::vector<Delivery> in_flight_;
  std::size_t waiting_ = 0;
  std::int64_t next_event_ = 1;
};

TEST_P(LanesChaosTest, KeepsItsBoundsAndItsOrder) {
  set_up_lanes();
  for (int step = 0; step < 20'000 && !HasFatalFailure(); ++step) {
    now_ += std::chrono::microseconds(below(2000));
    const int what = below(8);
    if (what <= 2) {
      arrive();
    } else if (what == 3) {
      if (below(500) == 0) set_clock_back();
    } else if (what == 4) {
      if (!in_flight_.empty()) land();
      if (below(20) == 0) move_to_another_organization();
    } else {
      take();
    }
    ASSERT_EQ(lanes_.queued(), waiting_);
    ASSERT_EQ(lanes_.in_flight(), in_flight_.size());
    ASSERT_LE(lanes_.queued(), Lanes::kAllQueuedMax + static_cast<std::size_t>(webhooks_));
  }
  drain();
}

INSTANTIATE_TEST_SUITE_P(Seeds, LanesChaosTest, testing::Range(1, 21));

// --- Lanes that stand idle

TEST_F(LanesTest, IdleLaneGoesAndTheNextOneSends) {
  set_trusted_lane(kFirst, {.max_in_flight = 3});
  EXPECT_TRUE(lanes_.remove_if_idle(kFirst, now_));
  EXPECT_FALSE(lanes_.has_lane(kFirst));
  EXPECT_TRUE(lanes_.remove_if_idle(kFirst, now_)) << "there is none any more";
  set_lane(kFirst, {.max_in_flight = 3});
  lanes_.offer(delivery(kFirst, 1));
  EXPECT_EQ(take_ids(), Ids{1});
}

TEST_F(LanesTest, LaneStaysWhileSomethingWouldBeLost) {
  const auto stays = [this](const char* why, const std::function<void()>& begin, const std::function<void()>& end) {
    set_lane(kFirst, {.max_in_flight = 3, .ordering = Ordering::kKey});
    begin();
    EXPECT_FALSE(lanes_.remove_if_idle(kFirst, now_)) << why;
    EXPECT_TRUE(lanes_.has_lane(kFirst)) << why;
    end();
    EXPECT_TRUE(lanes_.remove_if_idle(kFirst, now_)) << "after: " << why;
  };
  std::vector<Delivery> taken;
  stays(
      "a delivery waits", [this] { lanes_.offer(delivery(kFirst, 1)); },
      [this] {
        lanes_.evict(kFirst);
        EXPECT_TRUE(take_all().empty());
      });
  stays(
      "one is in flight",
      [&] {
        lanes_.offer(delivery(kFirst, 1, "key"));
        taken = take_all();
      },
      [&] { finish(taken.at(0)); });
  stays(
      "a key is pending", [this] { lanes_.note_pending(kFirst, "key", 1); },
      [this] { lanes_.note_settled(kFirst, "key", 1); });
  stays(
      "its keys are not known", [this] { lanes_.set_pending(kFirst, std::nullopt); },
      [this] {
        lanes_.set_pending(kFirst, std::unordered_map<std::string, std::int64_t>());
        lanes_.end_overflow(kFirst);
      });
  stays(
      "it overflows", [this] { lanes_.begin_overflow(kFirst); }, [this] { lanes_.end_overflow(kFirst); });
  stays(
      "its endpoint has failed",
      [&] {
        lanes_.offer(delivery(kFirst, 1));
        finish(take_all().at(0), Health::kFailed);
      },
      [&] {
        lanes_.offer(delivery(kFirst, 2));
        finish(take_all().at(0));
      });
  stays(
      "its circuit is open", [this] { lanes_.reopen_circuit(kFirst, now_, now_); },
      [this] { lanes_.close_circuit(kFirst, now_); });
  stays(
      "it has used up its rate",
      [&] {
        set_lane(kFirst, {.max_in_flight = 3, .rate_per_s = 1});
        lanes_.offer(delivery(kFirst, 1));
        finish(take_all().at(0));
      },
      [this] { now_ += 1s; });
}

// Otherwise the only one with a lane would take all slots before the others come.
TEST_F(LanesTest, OrganizationIsNotAloneIfOthersHaveNoLaneYet) {
  const auto in_flight = [this] {
    set_lanes("acme", 1, 300, true);
    for (int number = 1; number <= 300; ++number) lanes_.offer(delivery(webhook_number(number), number));
    std::size_t count = take_all().size();
    now_ += Lanes::kPatience;
    for (std::size_t more = 1; more > 0; count += more) {
      more = take_all().size();
      now_ += Lanes::kPatience;
    }
    return count;
  };
  lanes_.set_organizations(2);
  EXPECT_LT(in_flight(), 256U);
  set_lane(webhook_number(999), {}, "globex");
  lanes_.offer(delivery(webhook_number(999), 999));
  EXPECT_EQ(take_ids(), Ids{999});
}

}  // namespace
}  // namespace webhook
