// Holds back the pending rows of an ordered webhook after somebody else has changed them, as webhook_replay() does.
// Some of these rows may belong to newer events than the worker has read. They are fetched when the worker has read
// everything that was committed by then, and its filters have been evaluated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/ledger.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/filters.h"
#include "worker/subscribers.h"

namespace webhook {

class ReadBarrier {
 public:
  // Both outlive it.
  ReadBarrier(Subscribers& subscribers, const Filters& filters) : subscribers_(subscribers), filters_(filters) {}

  // The webhook's rows have changed. They are held back from now on.
  void add(const Uuid& webhook);
  bool holds(const Uuid& webhook) const { return held_.contains(webhook); }
  // Whether rows are held back until the reader has read more.
  bool waits_for_reader() const { return read_ < wanted_ && !held_.empty(); }
  void forget(const Uuid& webhook) { held_.erase(webhook); }

  // The reader is about to take the head of the log.
  void note_head() { ++heads_; }
  // The reader has read everything up to the head that it took last. next_entry: of the ledger.
  void note_read(Ledger::Entry next_entry);

  // Takes out some of the webhooks that need not be held back any longer.
  std::vector<Uuid> release();
  // When release() may have some; nothing: not before the reader has come further.
  std::optional<Time> next_at(Time now) const;

 private:
  struct Held {
    std::uint64_t head = 0;              // the number of the head up to which the reader must have read
    std::optional<Ledger::Entry> entry;  // once it has: the filters must have answered for all before this one
  };

  bool may_go(const Uuid& webhook, Held& held) const;

  Subscribers& subscribers_;
  const Filters& filters_;
  std::unordered_map<Uuid, Held> held_;
  std::deque<Uuid> turns_;    // each one held, and some that are not any more
  std::uint64_t heads_ = 0;   // that the reader took
  std::uint64_t read_ = 0;    // the head up to which it has read
  std::uint64_t wanted_ = 0;  // the highest head that one waits for
  Ledger::Entry end_entry_ = 0;
  std::size_t unseen_ = 0;          // how many of the turns release() has not looked at since note_read()
  bool waits_for_filters_ = false;  // some of those that release() looked at last do
};

}  // namespace webhook
