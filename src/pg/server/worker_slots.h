// The workers of the databases. A database's entry (database_entries.h) has a slot for each worker, numbered from 1 to
// kWorkersMax. A slot goes
//
//   idle → starting → running → idle …
//
// The worker itself says that it runs, and why it ends. A worker that ends without saying why has failed.
#pragma once

#include <cstdint>
#include <optional>

#include "core/share.h"
#include "core/time.h"
#include "worker/process.h"

namespace webhook::pg {

enum class WorkerExit : std::uint32_t {
  kFailed,        // an error, or no reason given: start it again, with back-off
  kNoExtension,   // there is nothing to do in this database
  kSteppedAside,  // a statement needs the database without sessions: start it again afterwards
  kShutdown,      // asked to by the administrator, the postmaster, or the launcher
  kIdle,          // nothing to do: start it again when it is called, or after its nap
  kTurnOver,      // asked to by the launcher, for another worker: start it again when it has its turn
  kOtherVersion,  // the SQL objects are of a version that the library does not serve: look again now and then
};

enum class SlotState : std::uint32_t { kIdle, kStarting, kRunning };

struct Slot {
  SlotState state = SlotState::kIdle;
  int count = 0;  // how many workers the database has, as this worker was told; unless idle
  int pid = 0;    // 0: not running
  WorkerExit last_exit = WorkerExit::kFailed;
  Duration nap{};          // kIdle
  bool is_asleep = false;  // it ended because it had nothing to do, and has not been called since
};

// For the launcher: what it knows of a slot, and what it does with it.
Slot slot(int entry, int number) noexcept;
void set_starting(int entry, const WorkerShare& share) noexcept;
// The worker did not start, or never reported.
void set_start_failed(int entry, int number) noexcept;
// How many workers wait for a background worker slot. If any do, workers with nothing to do leave.
void set_slots_wanted(int count) noexcept;
// The worker of this slot is one of them, until set_starting().
void note_waiting(int entry, int number) noexcept;
// Asks the worker of a slot to end for another.
void end_turn(int entry, int number) noexcept;
// Asks the workers to end that were told another number of workers. Returns whether any of these run or are starting.
bool stop_others(int entry, int count) noexcept;

// Whether background worker slots of the server are missing to start all workers.
void note_lack_of_slots(bool is_lacking) noexcept;

// For the worker, before it connects: takes its slot. False if the slot is taken, if workers with another count run in
// the database, or if the database is held. Afterwards the end of the process frees the slot, with the exit reason that
// was set last.
bool attach_worker(std::uint32_t database, const WorkerShare& share);
void set_exit_reason(WorkerExit reason) noexcept;
// The exit reason kIdle.
void set_nap(Duration nap) noexcept;
// For the worker: whether set_slots_wanted() or end_turn() were called.
bool is_slot_wanted() noexcept;
bool is_turn_over() noexcept;
// Why the worker before this one ended.
WorkerExit last_exit_of_this_slot() noexcept;
// Publishes this worker's figures. Takes no lock.
void report_figures(const WorkerFigures& figures) noexcept;

// As webhook_workers shows it.
const char* words_of(WorkerState state) noexcept;

// What others see of the worker in a slot; nullopt if none runs there. Takes no lock, so the figures may be from two
// moments.
struct WorkerReport {
  std::uint32_t database = 0;
  WorkerShare share;
  int pid = 0;
  Time started_at{};
  WorkerFigures figures;
};
std::optional<WorkerReport> worker_report(int entry, int number) noexcept;
// Since when note_lack_of_slots() says so; nothing: it does not.
std::optional<Time> without_slots_since() noexcept;

// How many workers of this process's database wait for a background worker slot.
int workers_waiting() noexcept;

}  // namespace webhook::pg
