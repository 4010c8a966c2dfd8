// Reads the event log, window by window (core/snapshot.h), and has its events admitted as there is room for them.
//
// The worker polls the log after each commit that calls it, and every few seconds in any case. It routes the events at
// once and admits them in their order. After a start it reads the log again from the checkpoint (worker/recovery.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/byte_budget.h"
#include "core/ledger.h"
#include "core/share.h"
#include "core/time.h"
#include "worker/admission.h"
#include "worker/backpressure.h"
#include "worker/deadlines.h"
#include "worker/filters.h"
#include "worker/pending.h"
#include "worker/process.h"
#include "worker/read_barrier.h"
#include "worker/recording.h"
#include "worker/recovery.h"
#include "worker/store.h"
#include "worker/subscribers.h"
#include "worker/unadmitted.h"
#include "worker/webhooks.h"

namespace webhook {

class Reader {
 public:
  // All of these outlive it.
  Reader(Process& process, Store& store, const WorkerShare& share, const ByteBudget& budget, Ledger& ledger,
         ReadBarrier& barrier, Subscribers& subscribers, Recording& recording, Recovery& recovery, Pending& pending,
         Filters& filters, Admission& admission, Webhooks& webhooks, Unadmitted& unadmitted);

  // log_floor: of the checkpoint with which the ledger starts.
  void start(std::int64_t log_floor) { log_floor_ = next_log_floor_ = log_floor; }

  // Takes a bounded step: evaluates filters, reads events and admits them. If it throws Error, events that were not
  // admitted wait for the next step.
  void read();

  // The process was woken: something may have been committed.
  void note_call() { is_poll_wanted_ = was_called_ = true; }
  // The log may have events that could not be read before.
  void poll_soon() { is_poll_wanted_ = true; }
  // The database failed. The log is polled as soon as the database is used again. The time until now does not count as
  // waiting for filters.
  void note_failure(Time now);
  // The time was spent on the database and not on sending.
  void leave_out(Duration time) { backpressure_.leave_out(time); }
  // Its part of the figures.
  void report(WorkerFigures* figures) const;
  // A delivery's attempt has ended.
  void note_attempt() { backpressure_.note_attempt(); }

  // Whether everything that was committed before the last poll is read, and nobody has called since.
  bool is_idle() const { return !is_poll_wanted_ && !was_called_ && ledger_.window_is_read() && unadmitted_.empty(); }

  std::optional<Time> next_at(Time now);
  void clock_set_back(Time now);

 private:
  enum class Deadline : std::uint8_t {
    kSafetyPoll,  // though nobody calls
    kPoll,        // no poll before
    kPollPause,   // nor, while requests are in flight, before
    kCount
  };

  bool may_read() const;
  bool may_filter() const;
  Time polls_open_at() const;
  void read_while_off(Time now);
  void filter(const Backpressure::Room& room);
  void poll();
  bool open_next_window();
  void read_chunk();
  std::vector<DeliveryKey> rows_of(const std::vector<Event>& events);
  std::vector<Unadmitted::Subscribers> route(const std::vector<Event>& events);
  void admit_chunk(const Backpressure::Room& room);
  void finish_chunk();

  Process& process_;
  Store& store_;
  const WorkerShare share_;
  const ByteBudget& budget_;
  Ledger& ledger_;
  ReadBarrier& barrier_;
  Subscribers& subscribers_;
  Recording& recording_;
  Recovery& recovery_;
  Pending& pending_;
  Filters& filters_;
  Admission& admission_;
  Webhooks& webhooks_;
  Unadmitted& unadmitted_;
  Backpressure backpressure_;
  Deadlines<Deadline> deadlines_;
  bool is_poll_wanted_ = true;
  bool was_called_ = false;      // since the last poll
  std::optional<Time> read_to_;  // when the newest event that was read was captured
  bool window_is_read_ = false;  // the events that were read last are the last of their window
  // Ids of webhook_logs that are valid floors (see Checkpoint) for windows from the end of the newest window, and from
  // any later snapshot.
  std::int64_t log_floor_ = 0;
  std::int64_t next_log_floor_ = 0;
};

}  // namespace webhook
