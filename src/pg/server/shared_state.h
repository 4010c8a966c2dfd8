// What processes of one server share about the extension: who delivers for which database, and where capture draws ids
// and appends. It exists only if the library was in shared_preload_libraries at the server's start; without it
// capture works from the tables alone, and nothing is delivered.
//
// Only numbers live here, never a pointer or a descriptor: a process may vanish at any time.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/share.h"
#include "core/time.h"
#include "pg/process.h"

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries: asks for the memory and sets the hooks.
void request_shared_state();

// Whether this server has it.
bool has_shared_state() noexcept;

// A run of event ids, next, next + 1, … below limit.
struct IdRange {
  std::int64_t next = 0;
  std::int64_t limit = 0;
};

// The id pool of this database. Ids come in blocks from the sequence webhook_events_id_seq (INCREMENT 1000000), so
// that a flush draws its ids by one addition under a spinlock instead of a nextval for each, and so that the
// application's lastval() is not disturbed: the worker refills the pool ahead of need.
//
// Invariant: whoever draws after another has published gets higher ids. So two changes of one row, the later of which
// had to wait for the commit of the earlier, have ids in the order of the changes.

// Takes up to count ids for the sequence with this OID. Fewer, even none, when the pool runs dry or belongs to
// another sequence (the extension was dropped and created again).
IdRange take_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept;

// Makes block the pool, unless the pool already has higher ids.
void publish_ids(std::uint32_t sequence_oid, IdRange block) noexcept;

// The ids left, so that the worker knows when to refill.
std::int64_t ids_left(std::uint32_t sequence_oid) noexcept;

// The segment of webhook_events that capture appends to, kept beside the pool: of the ring for all, or of that for what is
// beyond the shares (src/core/ring.h). Nothing: unknown, read it from webhook_rings.
std::optional<int> current_event_segment(std::uint32_t sequence_oid, bool excess) noexcept;
void publish_event_segment(std::uint32_t sequence_oid, int segment) noexcept;

// What organizations have written lately, in this database, since the server started.
enum class Storage : std::uint8_t { kEvents, kLogs };
// An organization is about to write so many bytes. Returns whether that is within its share; if so, it counts. Without a
// worker's place, everything is.
bool take_share(Storage what, std::string_view organization_id, std::uint64_t bytes) noexcept;
// How much of its share it has used up, from 0 to 1.
double used_share(Storage what, std::string_view organization_id) noexcept;

// Of this process, by which its latch is found.
std::uint32_t my_process_number() noexcept;
// Sets the latch of a process. It may have ended and its number may be another's by now: a latch set once too often harms
// nobody. Neither allocates nor raises an error.
void set_latch_of(std::uint32_t process) noexcept;

// Wakes this database's workers: sets their latches. For commit callbacks: it neither allocates nor raises an error.
void wake_workers() noexcept;

// The same for those that listen_for_events() since they were last woken so: a commit wakes nobody who knows already that
// there is something to do, or does not want to know.
void wake_listening_workers() noexcept;

// For the worker, before it takes the snapshot up to which it reads.
void listen_for_events() noexcept;

// For the worker: whether somebody has called it since the last take_call(). The calls above set this flag before they
// set the latch, which is only there to end a wait: a wait for a lock may have taken it.
bool take_call() noexcept;
bool is_called() noexcept;

enum class AtCommit : std::uint8_t {
  kWake,
  kCallLauncher,  // as well: there may be a new database
  kProbe,         // as well: this database may have got the extension
};

// wake_workers() once the current transaction has committed, if it does. May raise an error.
void wake_at_commit(AtCommit what);
// The current transaction is about to make changes visible that the workers must know of: its own, for which
// wake_at_commit() does it, or a prepared one's. Until its end, is_committing(). May raise an error.
void begin_commit();
// For the worker: whether what a snapshot of before this call shows may not have been announced yet. Between the moment
// that a commit is visible and that of its invalidations, its process may stand still for any time.
bool is_committing() noexcept;
// The current transaction is to be prepared: its end wakes nobody, but COMMIT PREPARED does.
void forget_wakes() noexcept;

// --- Databases and their workers ------------------------------------------------------------------------------------
//
// The launcher gives a database a place before it starts workers for it. In a place each worker, by its number from 1 to
// kWorkersMax, has a slot, which goes
//
//   idle → starting → running → idle …
//
// The worker itself says that it runs and why it ends; one that ends without a word has failed. The launcher frees a
// place whose slots are all idle.

enum class WorkerExit : std::uint32_t {
  kFailed,        // an error, or no word at all: start it again, with back-off
  kNoExtension,   // there is nothing to do in this database
  kSteppedAside,  // somebody needs the database for himself: start it again afterwards
  kShutdown,      // asked to by the administrator, the postmaster, or the launcher
};

enum class SlotState : std::uint32_t { kIdle, kStarting, kRunning };

struct Slot {
  SlotState state = SlotState::kIdle;
  int count = 0;  // how many workers the database has, as this one was told, if it is not idle
  int pid = 0;    // 0: it does not run
  WorkerExit last_exit = WorkerExit::kFailed;
};

// How many places there are, and what is in one. For the launcher.
int place_count() noexcept;
std::uint32_t place_database(int place) noexcept;  // 0: the place is free
Slot slot(int place, int number) noexcept;
// Whether a worker has found the extension there.
bool has_extension(int place) noexcept;
// The same of this process's database.
bool has_extension_here() noexcept;
// The place of a database; and taking a free one if it has none. Nothing: there is none.
std::optional<int> find_place_of(std::uint32_t database) noexcept;
std::optional<int> claim_place(std::uint32_t database) noexcept;
void set_starting(int place, const WorkerShare& share) noexcept;
// The start did not happen, or the worker never came.
void set_start_failed(int place, int number) noexcept;
// Asks those to end that were told another number of workers. Returns whether there are any, or some are starting.
bool stop_others(int place, int count) noexcept;
// Does nothing as long as a worker runs there or is about to.
void free_place(int place) noexcept;

// For the worker, before it connects: takes its slot. False: another one is in it, workers of another count run in the
// database, or it is held. From then on the process's end frees the slot, with the reason last set.
bool attach_worker(std::uint32_t database, const WorkerShare& share);
void set_exit_reason(WorkerExit reason) noexcept;
// The database has the extension: the launcher starts the other workers.
void note_extension() noexcept;
// What others see of this worker. No lock is taken.
void report_figures(const WorkerFigures& figures) noexcept;

// What is to be seen of the worker in a slot. Nothing: none runs there. No lock is taken, so that the figures may be of
// two moments.
struct WorkerReport {
  std::uint32_t database = 0;
  WorkerShare share;
  int pid = 0;
  Time started_at{};
  WorkerFigures figures;
};
std::optional<WorkerReport> worker_report(int place, int number) noexcept;

// For the launcher, at its start: announces its latch.
void attach_launcher();
// Asks the launcher to look again whether the database has the extension. Neither allocates nor raises an error.
void request_probe(std::uint32_t database) noexcept;
// A database for which somebody did, which is taken out; 0: there is none.
std::uint32_t take_probe_request() noexcept;
// Whether there were more of them than could be noted, since the last call: all are to be looked at.
bool take_request_to_probe_all() noexcept;
// For the launcher, as take_call() and is_called() for a worker.
bool take_launcher_call() noexcept;
bool is_launcher_called() noexcept;

// --- Holding a database ---------------------------------------------------------------------------------------------
//
// DROP DATABASE and its like need the database without sessions. Whoever is about to run one holds it: its workers are
// told to go, and none is started until the hold is released: with the transaction, before which nobody sees what the
// statement has done, or by release_hold(). One hold a process.

void hold_database(std::uint32_t database);
void release_hold() noexcept;
bool is_held(std::uint32_t database) noexcept;
// Whether no worker of the database runs or is about to.
bool is_vacated(std::uint32_t database) noexcept;

}  // namespace webhook::pg
