// State that the processes of one server share: which worker delivers for which database, and where capture draws ids
// and appends events. It exists only if the library was in shared_preload_libraries when the server started. Without
// it, capture uses the tables alone, and nothing is delivered.
//
// It holds only numbers, never a pointer or a descriptor, because a process may vanish at any time.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/share.h"
#include "core/time.h"
#include "worker/process.h"

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries: asks for the memory and sets the hooks.
void request_shared_state();

// Whether this server has the shared state.
bool has_shared_state() noexcept;

// A range of event ids: next, next + 1, …, below limit.
struct IdRange {
  std::int64_t next = 0;
  std::int64_t limit = 0;
};

// The id pool of this database. Ids come in blocks from the sequence webhook_events_id_seq (INCREMENT 1000000), and the
// worker refills the pool ahead of need. So a flush draws its ids with one addition under a spinlock instead of a
// nextval for each, and the application's lastval() is not disturbed.
//
// Invariant: a process that draws ids after another has published a block gets higher ids. So if one of two changes to
// a row waits for the commit of the other, their ids are in the order of the changes.

// Takes up to count ids for the sequence with this OID. Returns fewer, or none, if the pool runs dry or belongs to
// another sequence because the extension was dropped and created again.
IdRange take_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept;

// Replaces the pool by this block, unless the pool already has higher ids.
void publish_ids(std::uint32_t sequence_oid, IdRange block) noexcept;

// How many ids are left. Tells the worker when to refill.
std::int64_t ids_left(std::uint32_t sequence_oid) noexcept;

// The segment of webhook_events that capture appends to. excess selects the ring for events beyond the shares instead
// of the main ring (src/core/ring.h). nullopt: unknown, read it from webhook_rings.
std::optional<int> current_event_segment(std::uint32_t sequence_oid, bool excess) noexcept;
void publish_event_segment(std::uint32_t sequence_oid, int segment) noexcept;

// What organizations have written recently in this database, since the server started.
enum class Storage : std::uint8_t { kEvents, kLogs };
// An organization is about to write this many bytes. Returns whether that is within its share, and counts the bytes if
// it is. Always true if the database has no entry (see below).
bool take_share(Storage what, std::string_view organization_id, std::uint64_t bytes) noexcept;
// How much of its share an organization has used, from 0 to 1.
double used_share(Storage what, std::string_view organization_id) noexcept;

// The number of this process, which set_latch_of() takes.
std::uint32_t my_process_number() noexcept;
// Sets the latch of a process. If that process has ended, another may have its number; one latch set too often is
// harmless. Neither allocates nor raises an error.
void set_latch_of(std::uint32_t process) noexcept;

// Sets the latches of this database's workers. For commit callbacks: neither allocates nor raises an error.
void wake_workers() noexcept;

// The same, but only for workers that have called listen_for_events() since they were last woken this way. A commit
// does not wake a worker that already knows of work, or that does not want to know.
void wake_listening_workers() noexcept;

// For the worker, before it takes the snapshot up to which it reads.
void listen_for_events() noexcept;

// For the worker: whether it was called since the last take_call(). The functions above set this flag before they set
// the latch. The latch only ends a wait, and a wait for a lock may have reset it.
bool take_call() noexcept;
bool is_called() noexcept;

enum class AtCommit : std::uint8_t {
  kWake,
  kCallLauncher,  // also: there may be a new database
  kProbe,         // also: this database may have got the extension
};

// Calls wake_workers() once the current transaction has committed. May raise an error.
void wake_at_commit(AtCommit what);
// Announces that the current transaction is about to make changes visible that the workers must know of: its own,
// announced by wake_at_commit(), or those of a prepared transaction. is_committing() is true until it ends. May raise
// an error.
void begin_commit();
// For the worker: whether changes that are visible in a snapshot taken before this call may not have been announced
// yet. A committing process may pause for any time between the moment that its commit is visible and that of its
// invalidations.
bool is_committing() noexcept;
// The current transaction is to be prepared: PREPARE wakes nobody, but COMMIT PREPARED does.
void forget_wakes() noexcept;

// --- Databases and their workers ------------------------------------------------------------------------------------
//
// The launcher gives a database an entry (a "place") before it starts workers for it. The entry has a slot for each
// worker, numbered from 1 to kWorkersMax. A slot goes
//
//   idle → starting → running → idle …
//
// The worker itself says that it runs, and why it ends. A worker that ends without saying why has failed. The launcher
// frees an entry whose slots are all idle.

enum class WorkerExit : std::uint32_t {
  kFailed,        // an error, or no reason given: start it again, with back-off
  kNoExtension,   // there is nothing to do in this database
  kSteppedAside,  // a statement needs the database without sessions: start it again afterwards
  kShutdown,      // asked to by the administrator, the postmaster, or the launcher
};

enum class SlotState : std::uint32_t { kIdle, kStarting, kRunning };

struct Slot {
  SlotState state = SlotState::kIdle;
  int count = 0;  // how many workers the database has, as this worker was told; unless idle
  int pid = 0;    // 0: not running
  WorkerExit last_exit = WorkerExit::kFailed;
};

// The number of entries, and what one holds. For the launcher.
int place_count() noexcept;
std::uint32_t place_database(int place) noexcept;  // 0: the entry is free
Slot slot(int place, int number) noexcept;
// Whether a worker has found the extension in this database.
bool has_extension(int place) noexcept;
// The same for this process's database.
bool has_extension_here() noexcept;
// Finds the entry of a database; claim_place() takes a free one if it has none. nullopt: no entry, or none free.
std::optional<int> find_place_of(std::uint32_t database) noexcept;
std::optional<int> claim_place(std::uint32_t database) noexcept;
void set_starting(int place, const WorkerShare& share) noexcept;
// The worker did not start, or never reported.
void set_start_failed(int place, int number) noexcept;
// Asks the workers to end that were told another number of workers. Returns whether any of these run or are starting.
bool stop_others(int place, int count) noexcept;
// Does nothing while a worker runs there or is starting.
void free_place(int place) noexcept;

// For the worker, before it connects: takes its slot. False if the slot is taken, if workers with another count run in
// the database, or if the database is held. Afterwards the end of the process frees the slot, with the exit reason that
// was set last.
bool attach_worker(std::uint32_t database, const WorkerShare& share);
void set_exit_reason(WorkerExit reason) noexcept;
// Records that the database has the extension: the launcher then starts the other workers.
void note_extension() noexcept;
// Publishes this worker's figures. Takes no lock.
void report_figures(const WorkerFigures& figures) noexcept;

// What others see of the worker in a slot; nullopt if none runs there. Takes no lock, so the figures may be from two
// moments.
struct WorkerReport {
  std::uint32_t database = 0;
  WorkerShare share;
  int pid = 0;
  Time started_at{};
  WorkerFigures figures;
};
std::optional<WorkerReport> worker_report(int place, int number) noexcept;

// For the launcher, at its start: registers its latch.
void attach_launcher();
// Asks the launcher to probe the database for the extension again. Neither allocates nor raises an error.
void request_probe(std::uint32_t database) noexcept;
// Takes out a database that request_probe() noted; 0 if there is none.
std::uint32_t take_probe_request() noexcept;
// Whether more requests came since the last call than could be noted. If so, all databases are to be probed.
bool take_request_to_probe_all() noexcept;
// For the launcher, like take_call() and is_called() for a worker.
bool take_launcher_call() noexcept;
bool is_launcher_called() noexcept;

// --- Holding a database ---------------------------------------------------------------------------------------------
//
// DROP DATABASE and similar statements need the database without sessions. A process that is about to run one holds the
// database: its workers are told to end, and none starts until the hold is released. The end of the transaction
// releases it, because nobody sees the statement's effect earlier; so does release_hold(). A process has at most one
// hold.

void hold_database(std::uint32_t database);
void release_hold() noexcept;
bool is_held(std::uint32_t database) noexcept;
// Whether no worker of the database runs or is starting.
bool is_vacated(std::uint32_t database) noexcept;

}  // namespace webhook::pg
