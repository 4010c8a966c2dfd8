#include "core/test_slots.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace webhook {
namespace {

constexpr std::uint32_t kDatabase = 5;
constexpr std::uint32_t kCaller = 7;
constexpr std::uint32_t kWorker = 9;
constexpr std::uint32_t kData = 77;
constexpr std::size_t kDataMax = 8'000'000;
constexpr std::uint64_t kNobodys = TestSlots::kNoOrganization;
constexpr std::uint64_t kAcme = 11;
constexpr std::uint64_t kGlobex = 12;

class TestSlotsTest : public testing::Test {
 protected:
  TestTicket put(std::uint32_t database = kDatabase, std::uint32_t caller = kCaller) {
    const std::optional<TestTicket> ticket = put_in(database, caller, kNobodys);
    EXPECT_TRUE(ticket);
    return ticket.value_or(TestTicket{});
  }
  std::optional<TestTicket> put_of(std::uint64_t organization, std::size_t data_bytes = 0) {
    return put_in(kDatabase, kCaller, organization, data_bytes);
  }
  std::optional<TestTicket> put_in(std::uint32_t database, std::uint32_t caller, std::uint64_t organization,
                                   std::size_t data_bytes = 0) {
    const auto ticket =
        slots_.put(database, caller, organization, {webhook_, Time{}, "contact.created", data_bytes}, kDataMax);
    if (ticket) slots_.submit(*ticket, kData);
    return ticket;
  }

  Uuid webhook_{{1, 2, 3}};
  TestSlots slots_;
};

TEST_F(TestSlotsTest, RequestGoesToTheWorkerAndItsAnswerBack) {
  const TestTicket ticket = put();
  EXPECT_TRUE(slots_.is_waiting(kDatabase, {}));
  EXPECT_FALSE(slots_.answer_to(ticket));

  const std::optional<TestRequest> request = slots_.take(kDatabase, kWorker, {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->webhook, webhook_);
  EXPECT_EQ(request->event.view(), "contact.created");
  EXPECT_EQ(request->data, kData);
  EXPECT_FALSE(slots_.answer_to(ticket));
  EXPECT_FALSE(slots_.is_waiting(kDatabase, {}));

  TestAnswer answer{.outcome = TestOutcome::kSent, .response_status = 204};
  answer.response_body = FixedText<4096>("done");
  EXPECT_EQ(slots_.answer(request->ticket, answer), kCaller);
  const std::optional<TestAnswer> answered = slots_.answer_to(ticket);
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->outcome, TestOutcome::kSent);
  EXPECT_EQ(answered->response_status, 204);
  EXPECT_EQ(answered->response_body.view(), "done");
}

TEST_F(TestSlotsTest, RequestIsNotTakenBeforeItsDataIsThere) {
  const auto ticket = slots_.put(kDatabase, kCaller, kAcme, {webhook_, Time{}, "contact.created"}, kDataMax);
  ASSERT_TRUE(ticket);
  EXPECT_EQ(slots_.waiting(), 0U);
  EXPECT_FALSE(slots_.is_waiting(kDatabase, {}));
  EXPECT_FALSE(slots_.take(kDatabase, kWorker, {}));
  slots_.submit(*ticket, kData);
  EXPECT_EQ(slots_.waiting(), 1U);
  EXPECT_TRUE(slots_.take(kDatabase, kWorker, {}));
  slots_.submit(*ticket, kData);
  EXPECT_FALSE(slots_.take(kDatabase, kWorker, {})) << "it is not taken again";
}

TEST_F(TestSlotsTest, WithdrawnRequestIsNotSubmitted) {
  const auto old = slots_.put(kDatabase, kCaller, kAcme, {webhook_, Time{}, "contact.created"}, kDataMax);
  slots_.withdraw(*old);
  const auto fresh = slots_.put(kDatabase, kCaller, kAcme, {webhook_, Time{}, "contact.created"}, kDataMax);
  ASSERT_EQ(fresh->slot, old->slot);
  slots_.submit(*old, kData);
  EXPECT_EQ(slots_.waiting(), 0U);
}

TEST_F(TestSlotsTest, OrganizationHasNoMoreDataThanItLeavesFree) {
  EXPECT_EQ(TestSlots::data_of_request_max(kDataMax), 4'000'000U);
  EXPECT_FALSE(put_of(kAcme, 4'000'001));
  const auto first = put_of(kAcme, 3'000'000);
  ASSERT_TRUE(first);
  EXPECT_FALSE(put_of(kAcme, 1'000'001));
  EXPECT_TRUE(put_of(kAcme, 1'000'000)) << "half of all";
  EXPECT_FALSE(put_of(kGlobex, 2'000'001));
  EXPECT_TRUE(put_of(kGlobex, 2'000'000)) << "half of the rest";
  EXPECT_FALSE(put_of(kAcme, TestSlots::kSmallData + 1));
  EXPECT_TRUE(put_of(kAcme, TestSlots::kSmallData)) << "small data always finds room";
  slots_.withdraw(*first);
  EXPECT_TRUE(put_of(kAcme, 1'500'000)) << "what is withdrawn leaves room";
}

TEST_F(TestSlotsTest, RequestIsTakenOnce) {
  put();
  EXPECT_TRUE(slots_.take(kDatabase, kWorker, {}));
  EXPECT_FALSE(slots_.take(kDatabase, kWorker + 1, {}));
}

TEST_F(TestSlotsTest, RequestIsTakenByAWorkerOfItsDatabase) {
  put();
  EXPECT_FALSE(slots_.is_waiting(kDatabase + 1, {}));
  EXPECT_FALSE(slots_.take(kDatabase + 1, kWorker, {}));
  EXPECT_EQ(slots_.waiting(), 1U);
}

TEST_F(TestSlotsTest, RequestIsTakenByTheWorkerThatItsWebhookFallsTo) {
  for (unsigned char number = 0; number < 20; ++number) {
    webhook_.bytes[15] = number;
    const TestTicket ticket = put();
    for (int worker = 1; worker <= 3; ++worker) {
      const WorkerShare share{worker, 3};
      EXPECT_EQ(slots_.is_waiting(kDatabase, share), share.owns(webhook_));
      EXPECT_EQ(slots_.take(kDatabase, kWorker, share).has_value(), share.owns(webhook_));
    }
    slots_.withdraw(ticket);
    slots_.answer(ticket, {});
  }
}

TEST_F(TestSlotsTest, LongestWaitingIsTakenFirst) {
  const TestTicket first = put();
  const TestTicket second = put();
  slots_.withdraw(first);
  const TestTicket third = put();  // in the first's slot
  EXPECT_EQ(third.slot, first.slot);
  EXPECT_EQ(slots_.take(kDatabase, kWorker, {})->ticket.number, second.number);
  EXPECT_EQ(slots_.take(kDatabase, kWorker, {})->ticket.number, third.number);
}

TEST_F(TestSlotsTest, NoMoreThanThereAreSlots) {
  std::vector<TestTicket> tickets;
  for (std::uint64_t i = 1; i <= TestSlots::kSlots; ++i) tickets.push_back(put_of(1000 + i).value_or(TestTicket{}));
  EXPECT_FALSE(put_of(kNobodys));
  EXPECT_FALSE(put_of(kAcme));
  EXPECT_FALSE(slots_.is_used_up_by(kDatabase, kAcme)) << "it is not why";
  EXPECT_EQ(slots_.waiting(), TestSlots::kSlots);
  slots_.withdraw(tickets[3]);
  EXPECT_TRUE(put_of(kNobodys));
}

TEST_F(TestSlotsTest, OrganizationHasAPartOfTheSlotsAndOthersHaveTheRest) {
  std::vector<TestTicket> tickets;
  for (std::size_t i = 0; i < TestSlots::kSlotsOfOrganization; ++i) {
    EXPECT_FALSE(slots_.is_used_up_by(kDatabase, kAcme));
    tickets.push_back(put_of(kAcme).value_or(TestTicket{}));
  }
  EXPECT_TRUE(slots_.is_used_up_by(kDatabase, kAcme));
  EXPECT_FALSE(put_of(kAcme));
  EXPECT_FALSE(slots_.is_used_up_by(kDatabase, kGlobex));
  EXPECT_FALSE(slots_.is_used_up_by(kDatabase + 1, kAcme)) << "of another database";
  for (std::size_t i = 0; i < TestSlots::kSlotsOfOrganization; ++i) EXPECT_TRUE(put_of(kGlobex));
  EXPECT_TRUE(put_of(kNobodys));
  slots_.withdraw(tickets[1]);
  EXPECT_TRUE(put_of(kAcme)) << "one that nobody has taken is free at once";
}

// Whoever hangs: organizations that each want all they can get, what has none, and databases.
TEST_F(TestSlotsTest, FirstTestOfAnOrganizationFindsASlotWhateverTheOthersHave) {
  for (const std::uint64_t greedy : {1, 2, 4, 6}) {
    slots_ = TestSlots();
    std::size_t used = 0;
    for (std::uint64_t i = 0; i < greedy; ++i) {
      while (put_of(1000 + i)) ++used;
      while (put_in(kDatabase + static_cast<std::uint32_t>(i), kCaller, kNobodys)) ++used;
    }
    EXPECT_LT(used, TestSlots::kSlots);
    EXPECT_TRUE(put_of(kAcme)) << greedy << " hold " << used;
  }
}

TEST_F(TestSlotsTest, WhatIsOfNoOrganizationLeavesAsManyFreeAsItHas) {
  std::size_t used = 0;
  while (put_of(kNobodys)) ++used;
  EXPECT_EQ(used, 12U);
  EXPECT_FALSE(slots_.is_used_up_by(kDatabase, kNobodys)) << "there may be more when others have ended";
  for (std::size_t i = 0; i < TestSlots::kSlotsOfOrganization; ++i) EXPECT_TRUE(put_of(kAcme));
}

TEST_F(TestSlotsTest, SlotOfAWithdrawnRequestIsInUseUntilItsWorkerIsDone) {
  for (std::size_t i = 0; i < TestSlots::kSlotsOfOrganization; ++i) {
    const TestTicket ticket = put_of(kAcme).value_or(TestTicket{});
    ASSERT_TRUE(slots_.take(kDatabase, kWorker, {}));
    slots_.withdraw(ticket);
    slots_.withdraw(ticket);
    EXPECT_FALSE(slots_.answer_to(ticket));
  }
  EXPECT_FALSE(put_of(kAcme));
  EXPECT_FALSE(slots_.take(kDatabase, kWorker, {})) << "it is not taken again";
  EXPECT_FALSE(slots_.answer({0, 1}, {})) << "there is nobody to wake";
  EXPECT_TRUE(put_of(kAcme));
  EXPECT_FALSE(put_of(kAcme));
}

TEST_F(TestSlotsTest, WorkerThatEndsFreesTheSlotsOfWithdrawnRequests) {
  for (std::size_t i = 0; i < TestSlots::kSlotsOfOrganization; ++i) {
    const TestTicket ticket = put_of(kAcme).value_or(TestTicket{});
    ASSERT_TRUE(slots_.take(kDatabase, kWorker, {}));
    if (i < 3) slots_.withdraw(ticket);
  }
  EXPECT_EQ(slots_.abandon_one(kWorker), kCaller) << "the one that still waits, behind three that do not";
  EXPECT_EQ(slots_.abandon_one(kWorker), std::nullopt);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(put_of(kAcme));
  EXPECT_FALSE(put_of(kAcme)) << "the fourth answer is still to be read";
}

TEST_F(TestSlotsTest, WithdrawnRequestIsNotTaken) {
  slots_.withdraw(put());
  EXPECT_EQ(slots_.waiting(), 0U);
  EXPECT_FALSE(slots_.take(kDatabase, kWorker, {}));
}

TEST_F(TestSlotsTest, AnswerToAWithdrawnRequestDoesNotReachTheNextInItsSlot) {
  const TestTicket old = put();
  ASSERT_TRUE(slots_.take(kDatabase, kWorker, {}));
  slots_.withdraw(old);
  EXPECT_NE(put().slot, old.slot);
  EXPECT_FALSE(slots_.answer(old, {}));

  ASSERT_TRUE(slots_.take(kDatabase, kWorker, {}));
  const TestTicket fresh = put();
  ASSERT_EQ(fresh.slot, old.slot);
  ASSERT_TRUE(slots_.take(kDatabase, kWorker, {}));
  EXPECT_FALSE(slots_.answer(old, {}));
  EXPECT_FALSE(slots_.answer_to(fresh));
  EXPECT_FALSE(slots_.answer_to(old));
  slots_.withdraw(old);  // nor does its caller free the other's slot
  EXPECT_TRUE(slots_.answer(fresh, {}));
}

TEST_F(TestSlotsTest, RequestIsAnsweredOnce) {
  const TestTicket ticket = put();
  EXPECT_FALSE(slots_.answer(ticket, {})) << "nobody has taken it";
  ASSERT_TRUE(slots_.take(kDatabase, kWorker, {}));
  EXPECT_TRUE(slots_.answer(ticket, {.outcome = TestOutcome::kSent}));
  EXPECT_FALSE(slots_.answer(ticket, {.outcome = TestOutcome::kFailed}));
  EXPECT_EQ(slots_.answer_to(ticket)->outcome, TestOutcome::kSent);
  slots_.withdraw(ticket);
  EXPECT_FALSE(slots_.answer_to(ticket));
}

TEST_F(TestSlotsTest, WorkerThatEndsAnswersWhatItHasTakenAndNothingElse) {
  const TestTicket taken = put(kDatabase, 1);
  const TestTicket of_another = put(kDatabase, 2);
  const TestTicket waiting = put(kDatabase, 3);
  ASSERT_TRUE(slots_.take(kDatabase, kWorker, {}));
  ASSERT_TRUE(slots_.take(kDatabase, kWorker + 1, {}));
  EXPECT_EQ(slots_.abandon_one(kWorker), 1U);
  EXPECT_EQ(slots_.abandon_one(kWorker), std::nullopt);
  EXPECT_EQ(slots_.answer_to(taken)->outcome, TestOutcome::kWorkerEnded);
  EXPECT_FALSE(slots_.answer_to(of_another));
  EXPECT_FALSE(slots_.answer_to(waiting));
  EXPECT_EQ(slots_.waiting(), 1U);
}

TEST(FixedTextTest, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(FixedText<4>("").view(), "");
  EXPECT_EQ(FixedText<4>("four").view(), "four");
  EXPECT_EQ(FixedText<4>("fives").view(), "five");
  EXPECT_EQ(FixedText<4>("gr\xc3\xbc\xc3\x9f").view(), "gr\xc3\xbc");
  EXPECT_EQ(FixedText<3>("gr\xc3\xbc").view(), "gr");
}

}  // namespace
}  // namespace webhook
