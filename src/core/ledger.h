// Which events of the log are settled, and so how far the checkpoint may move.
//
// Events are admitted in the order in which they are read, window by window, each with its number of deliveries.
// A delivery is settled once the database has it, as a row in webhook_logs or in webhook_deliveries.
// The checkpoint is just before the oldest event with an unsettled delivery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "core/snapshot.h"
#include "core/time.h"

namespace webhook {

// A row of webhook_checkpoint. All windows before this one are settled, and all events of this one up to position.
struct Checkpoint {
  Window window;               // both ends equal: nothing was unsettled
  std::int64_t position = 0;   // an event id; ids are positive
  std::int64_t log_floor = 0;  // log rows, of any worker, for events that finished after window.from have higher ids

  bool operator==(const Checkpoint&) const = default;
};

// The checkpoint to resume from after the number of workers changes: no later than any of the old workers' checkpoints.
// There must be at least one.
Checkpoint oldest(const std::vector<Checkpoint>& checkpoints);

class Ledger {
 public:
  using Entry = std::uint64_t;

  // Resumes from a checkpoint. The checkpoint's window is open.
  explicit Ledger(const Checkpoint& start);

  // The newest window, which is being read, and the id of its last admitted event.
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
  // The number of admitted events from the oldest unsettled one on. A restart after a crash reads these again.
  std::size_t events_ahead() const { return events_.size(); }
  // The oldest unsettled event, if events_ahead() is not 0. Every lower entry is settled.
  Entry oldest() const { return first_entry_; }
  // The entry that admit() returns next.
  Entry next_entry() const { return first_entry_ + events_.size(); }
  // When the oldest unsettled event was captured. Nothing if all events are settled.
  std::optional<Time> oldest_created_at() const {
    return events_.empty() ? std::nullopt : std::optional(events_.front().created_at);
  }

 private:
  struct OpenWindow {
    Window window;
    std::int64_t log_floor;
    Entry end;  // the first entry after the window, once the window is read
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
