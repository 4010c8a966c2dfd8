#include "core/id_ranges.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include "core/snapshot.h"

namespace webhook {
namespace {

using Ranges = std::vector<IdRange>;

TEST(IdRangesTest, MergeSortsAndJoins) {
  EXPECT_EQ(merge({}), Ranges{});
  EXPECT_EQ(merge({{5, 5}, {9, 3}}), Ranges{});
  EXPECT_EQ(merge({{7, 9}, {1, 3}}), (Ranges{{1, 3}, {7, 9}}));
  EXPECT_EQ(merge({{3, 5}, {1, 3}}), (Ranges{{1, 5}}));
  EXPECT_EQ(merge({{1, 9}, {2, 4}, {8, 12}}), (Ranges{{1, 12}}));
}

TEST(IdRangesTest, SubtractCutsHoles) {
  EXPECT_EQ(subtract({{1, 10}}, {}), (Ranges{{1, 10}}));
  EXPECT_EQ(subtract({{1, 10}}, {{1, 10}}), Ranges{});
  EXPECT_EQ(subtract({{1, 10}}, {{3, 5}, {7, 8}}), (Ranges{{1, 3}, {5, 7}, {8, 10}}));
  EXPECT_EQ(subtract({{1, 10}, {20, 30}}, {{5, 25}}), (Ranges{{1, 5}, {25, 30}}));
  EXPECT_EQ(subtract({{5, 10}}, {{1, 6}, {9, 20}}), (Ranges{{6, 9}}));
}

bool contains(const Ranges& ranges, std::int64_t id) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [id](const IdRange& range) { return id >= range.first && id < range.limit; });
}

TEST(IdRangesTest, MergeAndSubtractAgreeWithSets) {
  std::mt19937 random(7);
  const auto some = [&random] {
    Ranges ranges;
    for (std::size_t i = random() % 6; i > 0; --i) {
      const auto first = static_cast<std::int64_t>(random() % 40);
      ranges.push_back({first, first + static_cast<std::int64_t>(random() % 8)});
    }
    return ranges;
  };
  for (int round = 0; round < 2000; ++round) {
    const Ranges a = some();
    const Ranges b = some();
    const Ranges merged = merge(a);
    const Ranges left = subtract(merged, merge(b));
    for (std::int64_t id = -1; id < 50; ++id) {
      EXPECT_EQ(contains(merged, id), contains(a, id));
      EXPECT_EQ(contains(left, id), contains(a, id) && !contains(b, id));
    }
    for (std::size_t i = 1; i < merged.size(); ++i) EXPECT_LT(merged[i - 1].limit, merged[i].first);
    for (std::size_t i = 1; i < left.size(); ++i) EXPECT_LE(left[i - 1].limit, left[i].first);
  }
}

// A server in which transactions write events as capture does, and a reader that goes from snapshot to snapshot.
class Log {
 public:
  explicit Log(unsigned seed) : random_(seed) {}

  void step() {
    switch (random_() % 6) {
      case 0:
        if (running_.size() < 12) running_[next_xid_++] = {};
        break;
      case 1:
        write_batch();
        break;
      case 2:
        announce();
        break;
      case 3:
      case 4:
        end();
        break;
      default:
        read();
    }
  }

  void finish() {
    while (!running_.empty()) end();
    read();
    for (const auto& [id, event] : events_) {
      EXPECT_EQ(event.times_read, event.is_aborted ? 0 : 1) << "event " << id << " of " << event.xid;
    }
  }

 private:
  struct Event {
    FullXid xid = 0;
    bool is_batch = false;
    bool is_aborted = false;
    int times_read = 0;
  };
  struct Transaction {
    std::vector<IdRange> batches;
    IdRange announced;
  };

  Transaction* any(bool announced) {
    std::vector<Transaction*> found;
    for (auto& [xid, transaction] : running_) {
      if (transaction.announced.empty() != announced) found.push_back(&transaction);
    }
    return found.empty() ? nullptr : found[random_() % found.size()];
  }

  IdRange draw() {
    const IdRange ids{next_id_, next_id_ + 1 + static_cast<std::int64_t>(random_() % 4)};
    next_id_ = ids.limit;
    return ids;
  }

  FullXid xid_of(const Transaction* transaction) const {
    for (const auto& [xid, other] : running_) {
      if (&other == transaction) return xid;
    }
    return 0;
  }

  void write_batch() {
    Transaction* transaction = any(false);
    if (transaction == nullptr) return;
    transaction->batches.push_back(draw());
    write(transaction, transaction->batches.back(), true);
  }

  void announce() {
    Transaction* transaction = any(false);
    if (transaction == nullptr) return;
    transaction->announced = draw();
    write(transaction, transaction->announced, false);
  }

  void write(const Transaction* transaction, const IdRange& ids, bool is_batch) {
    for (std::int64_t id = ids.first; id < ids.limit; ++id) {
      events_[id] = {.xid = xid_of(transaction), .is_batch = is_batch, .is_aborted = false, .times_read = 0};
    }
  }

  // A transaction ends for the snapshots first. Its ids are withdrawn at some time after that.
  void end() {
    if (running_.empty()) return;
    auto ended = running_.begin();
    std::advance(ended, random_() % running_.size());
    const bool aborts = random_() % 4 == 0;
    for (auto& [id, event] : events_) event.is_aborted |= aborts && event.xid == ended->first;
    if (!aborts) batches_[ended->first] = ended->second.batches;
    if (!ended->second.announced.empty()) still_announced_.push_back(ended->second.announced);
    running_.erase(ended);
    if (random_() % 2 == 0) still_announced_.clear();
  }

  void read() {
    Snapshot now = Snapshot::beginning();
    now.ids = {.next = next_id_, .committing = still_announced_};
    for (const auto& [xid, transaction] : running_) {
      if (!transaction.announced.empty()) now.ids.committing.push_back(transaction.announced);
    }
    // Between the ids and the snapshot, anything may happen.
    for (std::size_t i = random_() % 4; i > 0; --i) random_() % 2 == 0 ? announce() : end();
    now.xmin = running_.empty() ? next_xid_ : running_.begin()->first;
    now.xmax = next_xid_;
    now.running.clear();
    for (const auto& [xid, transaction] : running_) now.running.push_back(xid);
    const bool has_crashed = random_() % 8 == 0;
    // A checkpoint keeps only the lowest id.
    if (has_crashed) last_.ids = {.next = last_.ids.lowest(), .committing = {}};
    const Window window{last_, now};
    std::vector<IdRange> ids = window.from.ids.ranges();
    for (const auto& [xid, batches] : batches_) {
      if (window.contains(xid)) ids.insert(ids.end(), batches.begin(), batches.end());
    }
    ids = merge(ids);
    for (auto& [id, event] : events_) {
      const bool is_visible = !event.is_aborted && !running_.contains(event.xid);
      if (is_visible && contains(ids, id) && window.contains(event.xid)) ++event.times_read;
    }
    last_ = now;
  }

  std::mt19937 random_;
  FullXid next_xid_ = 3;
  std::int64_t next_id_ = 1;
  std::map<FullXid, Transaction> running_;
  std::map<FullXid, std::vector<IdRange>> batches_;
  std::vector<IdRange> still_announced_;
  std::map<std::int64_t, Event> events_;
  Snapshot last_ = Snapshot::beginning();
};

TEST(UnfinishedIdsTest, EveryEventIsReadInExactlyOneWindow) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    Log log(seed);
    for (int step = 0; step < 800; ++step) log.step();
    log.finish();
  }
}

TEST(UnfinishedIdsTest, LowestIsThatOfWhateverIsCommitting) {
  EXPECT_EQ((UnfinishedIds{.next = 9, .committing = {}}.lowest()), 9);
  EXPECT_EQ((UnfinishedIds{.next = 9, .committing = {{4, 6}, {2, 3}}}.lowest()), 2);
  EXPECT_EQ((UnfinishedIds{.next = 9, .committing = {{4, 6}, {8, 9}}}.ranges()), (Ranges{{4, 6}, {8, kNoIdLimit}}));
}

}  // namespace
}  // namespace webhook
