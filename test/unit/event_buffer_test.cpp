#include "core/event_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace webhook {
namespace {

constexpr SubtransactionId kTop = 1;

BufferedEvent event(std::string_view name, std::string_view data = "{}") { return {.name = name, .data = data}; }

std::vector<std::string> names_of(const EventBuffer& buffer, SubtransactionId sub) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < buffer.count_of(sub); ++i) names.emplace_back(buffer.event_of(sub, i).name);
  return names;
}

using Names = std::vector<std::string>;

void give_ids(EventBuffer& buffer, std::int64_t& next) {
  while (buffer.count_without_id() > 0) buffer.give_id(next++);
}

std::vector<std::int64_t> ids_of(const EventBuffer& buffer, SubtransactionId sub) {
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < buffer.count_of(sub); ++i) ids.push_back(buffer.id_of(sub, i));
  return ids;
}

using Ids = std::vector<std::int64_t>;

TEST(EventBuffer, GivesBackWhatItWasGiven) {
  EventBuffer buffer;
  const Time time{std::chrono::seconds(42)};
  buffer.append(kTop, {.created_at = time,
                       .name = "contact.created",
                       .organization_id = "acme",
                       .key = "7",
                       .data = R"({"id":7})",
                       .previous = R"({"id":6})",
                       .oversized_bytes = 0,
                       .known_switch = 5,
                       .applied_at = time + std::chrono::seconds(1),
                       .is_backfill = true});
  const BufferedEvent given = buffer.event_of(kTop, 0);
  EXPECT_EQ(given.created_at, time);
  EXPECT_EQ(given.name, "contact.created");
  EXPECT_EQ(given.organization_id, "acme");
  EXPECT_EQ(given.key, "7");
  EXPECT_EQ(given.data, R"({"id":7})");
  EXPECT_EQ(given.previous, R"({"id":6})");
  EXPECT_EQ(given.oversized_bytes, 0);
  EXPECT_EQ(given.known_switch, 5);
  EXPECT_EQ(given.applied_at, time + std::chrono::seconds(1));
  EXPECT_TRUE(given.is_backfill);
}

TEST(EventBuffer, ShiftsTheTimesOfAllLevels) {
  EventBuffer buffer;
  const Time time{std::chrono::seconds(42)};
  for (const SubtransactionId sub : {kTop, kTop + 1}) buffer.append(sub, {.created_at = time, .applied_at = time});
  buffer.shift_times(-std::chrono::seconds(2));
  for (const SubtransactionId sub : {kTop + 1, kTop}) {
    EXPECT_EQ(buffer.event_of(sub, 0).created_at, time - std::chrono::seconds(2));
    EXPECT_EQ(buffer.event_of(sub, 0).applied_at, time);
    buffer.discard(sub);
  }
}

TEST(EventBuffer, TellsNullFromEmpty) {
  EventBuffer buffer;
  buffer.append(kTop, {.name = "a", .organization_id = "", .oversized_bytes = 99});
  const BufferedEvent given = buffer.event_of(kTop, 0);
  EXPECT_EQ(given.organization_id, "");
  EXPECT_EQ(given.key, std::nullopt);
  EXPECT_EQ(given.data, "");
  EXPECT_EQ(given.previous, "");
  EXPECT_EQ(given.oversized_bytes, 99);
}

TEST(EventBuffer, AbortDropsTheSubtransactionAndNothingElse) {
  EventBuffer buffer;
  buffer.append(kTop, event("before"));
  buffer.append(2, event("inside"));
  buffer.abort_sub(2);
  buffer.append(kTop, event("after"));
  EXPECT_EQ(names_of(buffer, kTop), (Names{"before", "after"}));
}

TEST(EventBuffer, CommitHandsTheEventsToTheParent) {
  EventBuffer buffer;
  buffer.append(kTop, event("before"));
  buffer.append(2, event("inside"));
  EXPECT_EQ(names_of(buffer, 2), (Names{"inside"}));
  buffer.commit_sub(2, kTop);
  EXPECT_EQ(names_of(buffer, kTop), (Names{"before", "inside"}));
}

TEST(EventBuffer, WhatAChildCommittedGoesWithTheAbortOfItsParent) {
  EventBuffer buffer;
  buffer.append(kTop, event("top"));
  buffer.append(3, event("grandchild"));  // subtransaction 2 has captured nothing itself
  buffer.commit_sub(3, 2);
  EXPECT_EQ(names_of(buffer, 2), (Names{"grandchild"}));
  buffer.abort_sub(2);
  EXPECT_EQ(names_of(buffer, kTop), (Names{"top"}));
}

TEST(EventBuffer, WhatBelongsToTheParentIsNotTheChilds) {
  EventBuffer buffer;
  buffer.append(kTop, event("parent's"));
  EXPECT_EQ(buffer.count_of(2), 0U);
  buffer.abort_sub(2);
  EXPECT_EQ(buffer.count_of(kTop), 1U);
  buffer.append(2, event("child's"));
  EXPECT_EQ(buffer.count_of(kTop), 0U) << "while a subtransaction is open, its parent writes nothing";
  buffer.discard(2);
  EXPECT_EQ(names_of(buffer, kTop), (Names{"parent's"}));
}

TEST(EventBuffer, EndOfASubtransactionWithoutEventsChangesNothing) {
  EventBuffer buffer;
  buffer.append(kTop, event("top"));
  buffer.commit_sub(2, kTop);
  buffer.abort_sub(3);
  EXPECT_EQ(names_of(buffer, kTop), (Names{"top"}));
}

TEST(EventBuffer, IsFullAtItsBoundInEvents) {
  EventBuffer buffer;
  for (std::size_t i = 1; i < EventBuffer::kEventsMax; ++i) buffer.append(kTop, event("a"));
  EXPECT_FALSE(buffer.is_full(kTop));
  buffer.append(kTop, event("a"));
  EXPECT_TRUE(buffer.is_full(kTop));
}

TEST(EventBuffer, IsFullAtItsBoundInBytes) {
  EventBuffer buffer;
  const std::string large(EventBuffer::kBytesMax / 2, 'x');
  buffer.append(kTop, event("a", large));
  EXPECT_FALSE(buffer.is_full(kTop));
  buffer.append(kTop, event("a", large));
  EXPECT_TRUE(buffer.is_full(kTop));
}

TEST(EventBuffer, PreviousValuesCountTowardsItsBoundInBytes) {
  EventBuffer buffer;
  const std::string large(EventBuffer::kBytesMax / 2, 'x');
  buffer.append(kTop, {.name = "a", .data = large, .previous = large});
  EXPECT_TRUE(buffer.is_full(kTop));
}

TEST(EventBuffer, AFullParentDoesNotMakeTheChildWriteRowByRow) {
  EventBuffer buffer;
  for (std::size_t i = 0; i < EventBuffer::kEventsMax; ++i) buffer.append(kTop, event("a"));
  buffer.append(2, event("b"));
  EXPECT_FALSE(buffer.is_full(2));
  EXPECT_TRUE(buffer.is_full_for_commit(2));
}

TEST(EventBuffer, ALoopOfExceptionBlocksStaysBounded) {
  EventBuffer buffer;
  buffer.append(kTop, event("top"));
  std::size_t written = 0;
  std::size_t kept_max = 0;
  for (SubtransactionId sub = 2; sub < 10'002; ++sub) {
    buffer.append(sub, event("a"));
    if (buffer.is_full_for_commit(sub)) {
      written += buffer.count_of(sub);
      buffer.discard(sub);
    }
    buffer.commit_sub(sub, kTop);
    kept_max = std::max(kept_max, buffer.count_of(kTop));
  }
  EXPECT_LE(kept_max, EventBuffer::kEventsMax);
  EXPECT_EQ(written + buffer.count_of(kTop), 10'001U);
}

TEST(EventBuffer, DeepNestingStaysBounded) {
  EventBuffer buffer;
  std::size_t kept = 0;
  for (SubtransactionId sub = kTop; sub < 100; ++sub) {
    for (std::size_t i = 1; i < EventBuffer::kEventsMax; ++i) {
      buffer.append(sub, event("a"));
      ++kept;
      if (buffer.is_full(sub)) {
        kept -= buffer.count_of(sub);
        buffer.discard(sub);
      }
      ASSERT_LE(kept, EventBuffer::kNestedFactor * EventBuffer::kEventsMax);
    }
  }
}

TEST(EventBuffer, OuterEventsGetTheirIdsBeforeTheInnermostThatIsWritten) {
  EventBuffer buffer;
  std::int64_t next = 1;
  buffer.append(kTop, event("early"));
  buffer.append(2, event("middle"));
  buffer.append(3, event("late"));
  EXPECT_EQ(buffer.count_without_id(), 3U);
  give_ids(buffer, next);
  EXPECT_EQ(ids_of(buffer, 3), (Ids{3}));
  buffer.discard(3);
  buffer.append(2, event("later"));
  EXPECT_EQ(ids_of(buffer, 2), (Ids{2, 0}));
  EXPECT_EQ(buffer.count_without_id(), 1U);
  give_ids(buffer, next);
  buffer.commit_sub(2, kTop);
  EXPECT_EQ(ids_of(buffer, kTop), (Ids{1, 2, 4}));
}

TEST(EventBuffer, AnAbortTakesItsIdsAlongAndNoOthers) {
  EventBuffer buffer;
  std::int64_t next = 1;
  buffer.append(kTop, event("before"));
  buffer.append(2, event("inside"));
  give_ids(buffer, next);
  buffer.append(2, event("inside, without id"));
  buffer.abort_sub(2);
  EXPECT_EQ(buffer.count_without_id(), 0U);
  buffer.append(kTop, event("after"));
  EXPECT_EQ(ids_of(buffer, kTop), (Ids{1, 0}));
  give_ids(buffer, next);
  EXPECT_EQ(ids_of(buffer, kTop), (Ids{1, 3}));
}

TEST(EventBuffer, ForgottenIdsAreGivenAnew) {
  EventBuffer buffer;
  std::int64_t next = 1;
  buffer.append(kTop, event("a"));
  buffer.append(kTop, event("b"));
  give_ids(buffer, next);
  buffer.forget_ids();
  EXPECT_EQ(ids_of(buffer, kTop), (Ids{0, 0}));
  give_ids(buffer, next);
  EXPECT_EQ(ids_of(buffer, kTop), (Ids{3, 4}));
}

TEST(EventBuffer, ClearEmptiesIt) {
  EventBuffer buffer;
  buffer.append(kTop, event("a"));
  buffer.append(2, event("b"));
  buffer.give_id(7);
  buffer.clear();
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.count_without_id(), 0U);
  EXPECT_EQ(buffer.count_of(kTop), 0U);
  buffer.append(kTop, event("c"));
  EXPECT_EQ(names_of(buffer, kTop), (Names{"c"}));
  EXPECT_EQ(ids_of(buffer, kTop), (Ids{0}));
}

}  // namespace
}  // namespace webhook
