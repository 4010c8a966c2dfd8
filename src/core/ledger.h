// Which events of the log are settled, and so how far the checkpoint may move.
//
// Events are admitted in the order in which they are read, window by window, each with the number of deliveries that it
// asks for. A delivery is settled once the database knows of it: as a row in webhook_logs or in webhook_deliveries.
// The checkpoint stands before the oldest event with a delivery that is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "core/snapshot.h"
#include "core/time.h"

namespace webhook {

// What webhook_checkpoint holds. All windows before this one are settled, and in this one all events up to position.
struct Checkpoint {
  Window window;               // both ends equal: nothing was unsettled
  std::int64_t position = 0;   // an event id; ids are positive
  std::int64_t log_floor = 0;  // what is logged, by any worker, of events that finished after window.from has ids above

  bool operator==(const Checkpoint&) const = default;
};

// From where workers go on that share the webhooks out anew: what it has behind it is behind all of these, which are
// those of all workers before, at least one.
Checkpoint oldest(const std::vector<Checkpoint>& checkpoints);

class Ledger {
 public:
  using Entry = std::uint64_t;

  // Starts behind a checkpoint: its window is open.
  explicit Ledger(const Checkpoint& start);

  // The newest window, the one being read, and the last event of it that was admitted.
  const Window& window() const { return windows_.back().window; }
  std::int64_t read_position() const { return read_position_; }
  bool window_is_read() const { return windows_.back().read; }

  // All events of the newest window have been admitted.
  void finish_window();
  // The newest window must be finished, and window must follow it.
  void open_window(Window window, std::int64_t log_floor);

  // The next event of the newest window: ids ascend within a window. deliveries may be 0.
  Entry admit(std::int64_t event_id, std::uint32_t deliveries, Time created_at = {});
  // One delivery of an admitted event is settled.
  void settle(Entry entry);

  const Checkpoint& checkpoint() const { return checkpoint_; }
  // Admitted events from the oldest unsettled one on: what a crash would read again.
  std::size_t events_ahead() const { return events_.size(); }
  // The oldest unsettled event, if events_ahead() is not 0: every entry below it is settled.
  Entry oldest() const { return first_entry_; }
  // When that event was captured. Nothing: all is settled.
  std::optional<Time> oldest_created_at() const {
    return events_.empty() ? std::nullopt : std::optional(events_.front().created_at);
  }

 private:
  struct OpenWindow {
    Window window;
    std::int64_t log_floor;
    Entry end;  // the first entry behind the window, once it is read
    bool read;
  };
  struct OpenEvent {
    std::int64_t id;
    Time created_at;
    std::uint32_t unsettled;
  };

  void advance();

  std::deque<OpenWindow> windows_;  // never empty
  std::deque<OpenEvent> events_;    // events_[0] is entry first_entry_
  Entry first_entry_ = 0;
  std::int64_t read_position_ = 0;
  Checkpoint checkpoint_;
};

}  // namespace webhook
