// The events that a transaction has captured and not yet written, and the subtransaction of each. Pure accounting.
// src/pg/capture/capture.cpp has the process's only buffer and calls it as subtransactions begin and end.
//
// Surprising: it is a stack. Subtransactions nest and only the innermost captures, so its events are always at the end
// of the buffer. Committing it moves a mark. Aborting it cuts the end off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace webhook {

// PostgreSQL's SubTransactionId: 1 for the transaction itself, higher for each one that begins later.
using SubtransactionId = std::uint32_t;

// Owns no text: EventBuffer::append() reads the caller's, and event_of() returns views of the buffer's.
struct BufferedEvent {
  Time created_at{};
  std::string_view name{};
  std::optional<std::string_view> organization_id{};
  std::optional<std::string_view> key{};
  std::string_view data{};           // the row as JSON
  std::string_view previous{};       // the old values of what an UPDATE changed, as JSON; empty: not requested
  std::int64_t oversized_bytes = 0;  // above 0: the size of a payload that was too large; data and previous are empty
  std::int32_t known_switch = 0;     // the last switch of a webhook that the session knows of
  std::optional<Time> applied_at{};  // nothing: the change was made here
  bool is_backfill = false;          // as in Event
};

class EventBuffer {
 public:
  // A subtransaction writes its own events once it has this many bytes of text or this many events.
  static constexpr std::size_t kBytesMax = 1 << 20;
  static constexpr std::size_t kEventsMax = 1000;
  // Once all subtransactions together have this many times as much, the innermost writes its events, however few.
  static constexpr std::size_t kNestedFactor = 8;

  // Copies the event. sub is the innermost subtransaction: no later one is open. If it throws, the buffer is unchanged.
  void append(SubtransactionId sub, const BufferedEvent& event);

  // Whether sub must write its own events now. To be called after append().
  bool is_full(SubtransactionId sub) const noexcept;
  // Whether sub must write its own events before it commits, instead of handing them to its parent.
  bool is_full_for_commit(SubtransactionId sub) const noexcept;

  // The events of sub: its own and those of its committed children, in order of capture.
  std::size_t count_of(SubtransactionId sub) const noexcept;
  // The texts are valid until the buffer changes. index < count_of(sub).
  BufferedEvent event_of(SubtransactionId sub, std::size_t index) const noexcept;
  // 0 if the event has no id yet. index < count_of(sub).
  std::int64_t id_of(SubtransactionId sub, std::size_t index) const noexcept;

  // Events of all levels get ids in order of capture. If only the innermost level got ids when it is written, earlier
  // events of outer levels would get higher ids later.
  std::size_t count_without_id() const noexcept { return records_.size() - with_id_; }
  void give_id(std::int64_t id) noexcept;  // to the first event without one
  void forget_ids() noexcept;

  // Adds the duration to the created_at of all events.
  void shift_times(Duration shift) noexcept;

  // These neither allocate nor throw, so that transaction callbacks may call them.
  void commit_sub(SubtransactionId sub, SubtransactionId parent) noexcept;  // gives sub's events to parent
  void abort_sub(SubtransactionId sub) noexcept { discard(sub); }
  void discard(SubtransactionId sub) noexcept;  // forgets sub's events
  void clear() noexcept;                        // the transaction has ended

  bool empty() const noexcept { return records_.empty(); }

 private:
  static constexpr std::int32_t kNull = -1;

  struct Record {
    Time created_at;
    std::int64_t id;     // 0: none yet
    std::size_t offset;  // in texts_, where name, organization_id, key, data and previous follow each other
    std::size_t data_bytes;
    std::size_t previous_bytes;
    std::int64_t oversized_bytes;
    std::int32_t name_bytes;
    std::int32_t organization_bytes;  // kNull: null
    std::int32_t key_bytes;           // kNull: null
    std::int32_t known_switch;
    std::optional<Time> applied_at;
    bool is_backfill;
  };
  // Where a subtransaction's events begin. The events of levels_[i] end where those of levels_[i + 1] begin.
  struct Level {
    SubtransactionId sub;
    std::size_t first_record;
    std::size_t first_byte;
  };

  const Level* level_of(SubtransactionId sub) const noexcept;
  void release_excess() noexcept;

  std::vector<Level> levels_;
  std::vector<Record> records_;
  std::size_t with_id_ = 0;  // how many of records_, from the first on, have an id
  std::string texts_;
};

}  // namespace webhook
