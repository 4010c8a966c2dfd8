// The events that a transaction has captured and not yet written, and which subtransaction each belongs to. Pure
// accounting; src/pg/capture.cpp has the one buffer of a process and follows the transaction's course with it.
//
// What surprises: it is a stack. Subtransactions nest, and only the innermost captures, so what belongs to it is always
// the end of the buffer: to commit it is to move a mark, to abort it is to cut the end off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace webhook {

// PostgreSQL's SubTransactionId: 1 for the transaction itself, higher for whatever begins later.
using SubtransactionId = std::uint32_t;

// The texts belong to whoever gives the event.
struct BufferedEvent {
  Time created_at{};
  std::string_view name{};
  std::optional<std::string_view> organization_id{};
  std::optional<std::string_view> key{};
  std::string_view data{};           // the row as JSON
  std::string_view previous{};       // the old values of what an UPDATE changed, as JSON; empty: not asked for
  std::int64_t oversized_bytes = 0;  // above zero: the payload was too large; data and previous are empty
  std::int32_t known_switch = 0;     // the last switch of a webhook that the session knows of
};

class EventBuffer {
 public:
  // What a subtransaction may have of its own before it is to write it, in texts and in events.
  static constexpr std::size_t kBytesMax = 1 << 20;
  static constexpr std::size_t kEventsMax = 1000;
  // What all of them together may have before the innermost is to write whatever it has, however little.
  static constexpr std::size_t kNestedFactor = 8;

  // Takes a copy. sub is the innermost subtransaction: no later one is open. If it throws, the buffer is as before.
  void append(SubtransactionId sub, const BufferedEvent& event);

  // Whether sub is to write its own events now; to be asked after append().
  bool is_full(SubtransactionId sub) const noexcept;
  // Whether sub is to write its own events before it commits, instead of handing them to its parent.
  bool is_full_for_commit(SubtransactionId sub) const noexcept;

  // What belongs to sub: its own events and those of its committed children, in the order of their capture.
  std::size_t count_of(SubtransactionId sub) const noexcept;
  // The texts live until the buffer changes. index < count_of(sub).
  BufferedEvent event_of(SubtransactionId sub, std::size_t index) const noexcept;
  // 0: it has none yet. index < count_of(sub).
  std::int64_t id_of(SubtransactionId sub, std::size_t index) const noexcept;

  // Ids are given in the order of capture to the events of all levels. Were only the innermost numbered when it is
  // written, what the outer ones had captured before would get higher ids later.
  std::size_t count_without_id() const noexcept { return records_.size() - with_id_; }
  void give_id(std::int64_t id) noexcept;  // to the first event that has none
  void forget_ids() noexcept;

  // These neither allocate nor throw, so that transaction callbacks may call them.
  void commit_sub(SubtransactionId sub, SubtransactionId parent) noexcept;  // what is sub's becomes parent's
  void abort_sub(SubtransactionId sub) noexcept { discard(sub); }
  void discard(SubtransactionId sub) noexcept;  // forgets what belongs to sub
  void clear() noexcept;                        // the transaction has ended

  bool empty() const noexcept { return records_.empty(); }

 private:
  static constexpr std::int32_t kNull = -1;

  struct Record {
    Time created_at;
    std::int64_t id;     // 0: none yet
    std::size_t offset;  // in texts_, where name, organization_id, key, data and previous stand in a row
    std::size_t data_bytes;
    std::size_t previous_bytes;
    std::int64_t oversized_bytes;
    std::int32_t name_bytes;
    std::int32_t organization_bytes;  // kNull: null
    std::int32_t key_bytes;           // kNull: null
    std::int32_t known_switch;
  };
  // Where the events of a subtransaction begin. Those of levels_[i] end where those of levels_[i + 1] begin.
  struct Level {
    SubtransactionId sub;
    std::size_t first_record;
    std::size_t first_byte;
  };

  const Level* level_of(SubtransactionId sub) const noexcept;
  void release_excess() noexcept;

  std::vector<Level> levels_;
  std::vector<Record> records_;
  std::size_t with_id_ = 0;  // so many of records_, from the first on, have an id
  std::string texts_;
};

}  // namespace webhook
