#include "pg/server/worker_slots.h"

extern "C" {
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "pg/server/database_entries.h"
#include "pg/server/database_holds.h"
#include "pg/server/launcher_calls.h"
#include "pg/server/process_latch.h"
#include "pg/server/shared_layout.h"
#include "pg/timestamps.h"

namespace webhook::pg {

SharedEntry* my_entry = nullptr;
int my_index = 0;

namespace {

WorkerExit my_exit_reason = WorkerExit::kFailed;

void set_state(SharedSlot* slot, SlotState state) {
  pg_atomic_write_u32(&slot->state, static_cast<std::uint32_t>(state));
}

void set_exit(SharedSlot* slot, WorkerExit reason) {
  pg_atomic_write_u32(&slot->last_exit, static_cast<std::uint32_t>(reason));
}

SharedSlot* slot_of(int entry, int number) { return &entries()[entry].slots[number - 1]; }

void detach_worker(int /*code*/, Datum /*argument*/) noexcept {
  SharedSlot* slot = &my_entry->slots[my_index];
  {
    const Locked locked(LW_EXCLUSIVE);
    pg_atomic_write_u32(&my_entry->worker_processes[my_index], kNoProcess);
    if (my_exit_reason != WorkerExit::kIdle) pg_atomic_write_u32(&my_entry->listening[my_index], 0);
    if (my_exit_reason == WorkerExit::kNoExtension || my_exit_reason == WorkerExit::kOtherVersion) {
      pg_atomic_write_u32(&my_entry->has_extension, 0);
    }
    set_exit(slot, my_exit_reason);
    pg_atomic_write_u32(&slot->pid, 0);
    set_state(slot, SlotState::kIdle);
  }
  my_entry = nullptr;
  call_launcher();
}

// A worker beyond webhook.workers has left for good.
bool is_asleep(SharedEntry* entry, int index) {
  return index < workers() && state_of(&entry->slots[index]) == SlotState::kIdle &&
         pg_atomic_read_u32(&entry->listening[index]) == static_cast<std::uint32_t>(Listening::kCallOrStart);
}

std::uint64_t microseconds(std::optional<Time> time) {
  return time ? static_cast<std::uint64_t>(time->time_since_epoch().count()) : 0;
}

std::optional<Time> time_of(std::uint64_t since_1970_us) {
  if (since_1970_us == 0) return std::nullopt;
  return Time(Duration(static_cast<std::int64_t>(since_1970_us)));
}

std::size_t index_of(SlotFigure figure) { return static_cast<std::size_t>(figure); }

WorkerFigures figures_of(SharedSlot* from) {
  const auto number = [from](SlotFigure figure) { return pg_atomic_read_u64(&from->figures[index_of(figure)]); };
  const auto count = [&number](SlotFigure figure) { return static_cast<std::int64_t>(number(figure)); };
  const auto time = [&number](SlotFigure figure) { return time_of(number(figure)); };
  WorkerFigures figures{
      .state = static_cast<WorkerState>(number(SlotFigure::kState)),
      .reported_at = time(SlotFigure::kReportedAt).value_or(Time{}),
      .in_flight = number(SlotFigure::kInFlight),
      .queued = number(SlotFigure::kQueued),
      .events_ahead = number(SlotFigure::kEventsAhead),
      .sent = count(SlotFigure::kSent),
      .failed = count(SlotFigure::kFailed),
      .logged = count(SlotFigure::kLogged),
      .given_up = count(SlotFigure::kGivenUp),
      .oldest_event_at = time(SlotFigure::kOldestEventAt),
      .read_to = time(SlotFigure::kReadTo),
      .read_position = count(SlotFigure::kReadPosition),
      .last_error_at = time(SlotFigure::kLastErrorAt),
      .failing_since = time(SlotFigure::kFailingSince),
      .overdue_since = time(SlotFigure::kOverdueSince),
      .webhooks = number(SlotFigure::kWebhooks),
      .undecryptable = number(SlotFigure::kUndecryptable),
      .open_circuits = number(SlotFigure::kOpenCircuits),
      .organizations = number(SlotFigure::kOrganizations),
      .failing_organizations = number(SlotFigure::kFailingOrganizations),
      .events = {.bytes = number(SlotFigure::kEventBytes), .kept_since = time(SlotFigure::kEventsKeptSince)},
      .logs = {.bytes = number(SlotFigure::kLogBytes), .kept_since = time(SlotFigure::kLogsKeptSince)}};
  if (const std::optional<Time> counted_at = time(SlotFigure::kCountedAt)) {
    figures.deliveries = {number(SlotFigure::kPending), number(SlotFigure::kDead), *counted_at};
  }
  return figures;
}

}  // namespace

Slot slot(int entry, int number) noexcept {
  SharedSlot* from = slot_of(entry, number);
  const Locked locked(LW_SHARED);
  return {.state = state_of(from),
          .count = static_cast<int>(pg_atomic_read_u32(&from->count)),
          .pid = static_cast<int>(pg_atomic_read_u32(&from->pid)),
          .last_exit = static_cast<WorkerExit>(pg_atomic_read_u32(&from->last_exit)),
          .nap = Duration(static_cast<std::int64_t>(pg_atomic_read_u64(&from->nap_us))),
          .is_asleep = is_asleep(entries() + entry, number - 1)};
}

void set_starting(int entry, const WorkerShare& share) noexcept {
  SharedSlot* starting = slot_of(entry, share.number);
  const Locked locked(LW_EXCLUSIVE);
  pg_atomic_write_u32(&starting->count, static_cast<std::uint32_t>(share.count));
  pg_atomic_write_u32(&starting->is_waiting, 0);
  pg_atomic_write_u32(&starting->is_turn_over, 0);
  pg_atomic_write_u32(&entries()[entry].listening[share.number - 1], 0);
  set_state(starting, SlotState::kStarting);
}

void set_start_failed(int entry, int number) noexcept {
  SharedSlot* failed = slot_of(entry, number);
  const Locked locked(LW_EXCLUSIVE);
  if (state_of(failed) != SlotState::kStarting) return;
  set_exit(failed, WorkerExit::kFailed);
  set_state(failed, SlotState::kIdle);
}

void set_slots_wanted(int count) noexcept {
  const std::uint32_t before = pg_atomic_exchange_u32(&shared->slots_wanted, static_cast<std::uint32_t>(count));
  if (before > 0 || count == 0) return;
  for (int i = 0; i < shared->entry_count; ++i) {
    if (pg_atomic_read_u32(databases() + i) == InvalidOid) continue;
    for (pg_atomic_uint32& process : entries()[i].worker_processes) set_latch_of(pg_atomic_read_u32(&process));
  }
}

void note_waiting(int entry, int number) noexcept { pg_atomic_write_u32(&slot_of(entry, number)->is_waiting, 1); }

void end_turn(int entry, int number) noexcept {
  if (pg_atomic_exchange_u32(&slot_of(entry, number)->is_turn_over, 1) != 0) return;
  set_latch_of(pg_atomic_read_u32(&entries()[entry].worker_processes[number - 1]));
}

bool is_slot_wanted() noexcept { return pg_atomic_read_u32(&shared->slots_wanted) > 0; }

bool is_turn_over() noexcept {
  return is_slot_wanted() && pg_atomic_read_u32(&my_entry->slots[my_index].is_turn_over) != 0;
}

bool stop_others(int entry, int count) noexcept {
  bool found = false;
  const Locked locked(LW_SHARED);
  for (SharedSlot& other : entries()[entry].slots) {
    if (state_of(&other) == SlotState::kIdle) continue;
    if (pg_atomic_read_u32(&other.count) == static_cast<std::uint32_t>(count)) continue;
    found = true;
    const auto pid = static_cast<pid_t>(pg_atomic_read_u32(&other.pid));
    if (pid != 0) kill(pid, SIGTERM);
  }
  return found;
}

bool attach_worker(std::uint32_t database, const WorkerShare& share) {
  {
    const Locked locked(LW_EXCLUSIVE);
    SharedEntry* entry = entry_of(database);
    if (entry == nullptr) return false;
    SharedSlot* mine = &entry->slots[share.number - 1];
    if (state_of(mine) == SlotState::kRunning) return false;
    const bool others_run = std::any_of(std::begin(entry->slots), std::end(entry->slots), [&share](SharedSlot& other) {
      return state_of(&other) == SlotState::kRunning &&
             pg_atomic_read_u32(&other.count) != static_cast<std::uint32_t>(share.count);
    });
    if (others_run || is_held(database)) {
      set_exit(mine, WorkerExit::kSteppedAside);
      set_state(mine, SlotState::kIdle);
      return false;
    }
    my_entry = entry;
    my_index = share.number - 1;
    pg_atomic_write_u32(&mine->count, static_cast<std::uint32_t>(share.count));
    report_figures({});
    pg_atomic_write_u64(&mine->started_at, microseconds(from_timestamptz(MyStartTimestamp)));
    pg_atomic_write_u32(&mine->pid, static_cast<std::uint32_t>(MyProcPid));
    pg_atomic_write_u32(&entry->worker_processes[my_index], my_process_number());
    set_state(mine, SlotState::kRunning);
  }
  on_shmem_exit(detach_worker, 0);
  // The launcher may have decided on another number of workers since it started this one.
  call_launcher();
  return true;
}

void set_exit_reason(WorkerExit reason) noexcept { my_exit_reason = reason; }

void set_nap(Duration nap) noexcept {
  pg_atomic_write_u64(&my_entry->slots[my_index].nap_us, static_cast<std::uint64_t>(nap.count()));
  my_exit_reason = WorkerExit::kIdle;
}

WorkerExit last_exit_of_this_slot() noexcept {
  return static_cast<WorkerExit>(pg_atomic_read_u32(&my_entry->slots[my_index].last_exit));
}

void report_figures(const WorkerFigures& figures) noexcept {
  SharedSlot* mine = &my_entry->slots[my_index];
  const auto write = [mine](SlotFigure figure, auto value) {
    pg_atomic_write_u64(&mine->figures[index_of(figure)], static_cast<std::uint64_t>(value));
  };
  write(SlotFigure::kState, figures.state);
  write(SlotFigure::kReportedAt, microseconds(figures.reported_at));
  write(SlotFigure::kInFlight, figures.in_flight);
  write(SlotFigure::kQueued, figures.queued);
  write(SlotFigure::kEventsAhead, figures.events_ahead);
  write(SlotFigure::kSent, figures.sent);
  write(SlotFigure::kFailed, figures.failed);
  write(SlotFigure::kLogged, figures.logged);
  write(SlotFigure::kGivenUp, figures.given_up);
  write(SlotFigure::kOldestEventAt, microseconds(figures.oldest_event_at));
  write(SlotFigure::kReadTo, microseconds(figures.read_to));
  write(SlotFigure::kReadPosition, figures.read_position);
  write(SlotFigure::kLastErrorAt, microseconds(figures.last_error_at));
  write(SlotFigure::kFailingSince, microseconds(figures.failing_since));
  write(SlotFigure::kOverdueSince, microseconds(figures.overdue_since));
  write(SlotFigure::kWebhooks, figures.webhooks);
  write(SlotFigure::kUndecryptable, figures.undecryptable);
  write(SlotFigure::kOpenCircuits, figures.open_circuits);
  write(SlotFigure::kOrganizations, figures.organizations);
  write(SlotFigure::kFailingOrganizations, figures.failing_organizations);
  const DeliveryTotals deliveries = figures.deliveries.value_or(DeliveryTotals());
  write(SlotFigure::kPending, deliveries.pending);
  write(SlotFigure::kDead, deliveries.dead);
  write(SlotFigure::kCountedAt, microseconds(figures.deliveries ? std::optional(deliveries.counted_at) : std::nullopt));
  write(SlotFigure::kEventBytes, figures.events.bytes);
  write(SlotFigure::kEventsKeptSince, microseconds(figures.events.kept_since));
  write(SlotFigure::kLogBytes, figures.logs.bytes);
  write(SlotFigure::kLogsKeptSince, microseconds(figures.logs.kept_since));
}

std::optional<WorkerReport> worker_report(int entry, int number) noexcept {
  SharedSlot* from = slot_of(entry, number);
  WorkerReport report;
  report.pid = static_cast<int>(pg_atomic_read_u32(&from->pid));
  report.database = entry_database(entry);
  if (report.database == InvalidOid) return std::nullopt;
  if (report.pid == 0 && !is_asleep(entries() + entry, number - 1)) return std::nullopt;
  report.share = {number, static_cast<int>(pg_atomic_read_u32(&from->count))};
  report.started_at = time_of(pg_atomic_read_u64(&from->started_at)).value_or(Time{});
  report.figures = figures_of(from);
  return report;
}

int workers_waiting() noexcept {
  SharedEntry* here = entry_of(MyDatabaseId);
  if (here == nullptr) return 0;
  // One beyond webhook.workers may have waited when the setting was lowered.
  return static_cast<int>(std::count_if(here->slots, here->slots + workers(),
                                        [](SharedSlot& slot) { return pg_atomic_read_u32(&slot.is_waiting) != 0; }));
}

const char* words_of(WorkerState state) noexcept {
  switch (state) {
    case WorkerState::kStarting:
      return "starting";
    case WorkerState::kLoading:
      return "loading webhooks";
    case WorkerState::kCatchingUp:
      return "catching up";
    case WorkerState::kDelivering:
      return "delivering";
    case WorkerState::kPaused:
      return "paused";
    case WorkerState::kSwitchedOff:
      return "switched off";
    case WorkerState::kStopping:
      break;
  }
  return "stopping";
}

void note_lack_of_slots(bool is_lacking) noexcept {
  if (is_lacking == (pg_atomic_read_u64(&shared->without_slots_since) != 0)) return;
  pg_atomic_write_u64(&shared->without_slots_since,
                      is_lacking ? microseconds(from_timestamptz(GetCurrentTimestamp())) : 0);
}

std::optional<Time> without_slots_since() noexcept {
  return shared == nullptr ? std::nullopt : time_of(pg_atomic_read_u64(&shared->without_slots_since));
}

}  // namespace webhook::pg
