// What processes of one server share about the extension: who delivers for which database, and where capture draws ids
// and appends. It exists only if the library was in shared_preload_libraries at the server's start; without it
// capture works from the tables alone, and nothing is delivered.
//
// Only numbers live here, never a pointer or a descriptor: a process may vanish at any time.
#pragma once

#include <cstdint>
#include <optional>

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

// The segment (0 to 7) of webhook_events that capture appends to, kept beside the pool. Nothing: unknown, read it
// from webhook_rings.
std::optional<int> current_event_segment(std::uint32_t sequence_oid) noexcept;
void publish_event_segment(std::uint32_t sequence_oid, int segment) noexcept;

// Wakes this database's worker: sets its latch. For commit callbacks: it neither allocates nor raises an error.
void wake_workers() noexcept;

// The same once the current transaction has committed, if it does; also_launcher: request_probe() as well. May raise an
// error.
void wake_at_commit(bool also_launcher);

// --- Databases and their workers ------------------------------------------------------------------------------------
//
// The launcher gives a database a place before it starts a worker for it. Each place goes
//
//   free → starting → running → idle → starting …, and back to free by the launcher
//
// The worker itself says that it runs and why it ends; one that ends without a word has failed.

enum class WorkerExit : std::uint32_t {
  kFailed,        // an error, or no word at all: start it again, with back-off
  kNoExtension,   // there is nothing to do in this database
  kSteppedAside,  // somebody needs the database for himself: start it again afterwards
  kShutdown,      // asked to by the administrator or the postmaster
};

enum class PlaceState : std::uint32_t { kFree, kStarting, kRunning, kIdle };

struct Place {
  PlaceState state = PlaceState::kFree;
  std::uint32_t database = 0;
  int worker_pid = 0;
  WorkerExit last_exit = WorkerExit::kFailed;
};

// How many places there are, and what is in one. For the launcher.
int place_count() noexcept;
Place place(int index) noexcept;
// The place of a database, taking a free one if it has none. Nothing: none is free.
std::optional<int> claim_place(std::uint32_t database) noexcept;
void set_starting(int index) noexcept;
// The start did not happen, or the worker never came.
void set_start_failed(int index) noexcept;
void free_place(int index) noexcept;

// For the worker, before it connects: takes the place of its database. False: someone else runs there, or the
// database is held. From then on the process's end frees the place, with the reason last set.
bool attach_worker(std::uint32_t database);
void set_exit_reason(WorkerExit reason) noexcept;

// For the launcher, at its start: announces its latch.
void attach_launcher();
// Asks the launcher to look again at the databases that had no extension. Neither allocates nor raises an error.
void request_probe() noexcept;
// Whether someone did, since the last call.
bool take_probe_request() noexcept;

// --- Holding a database ---------------------------------------------------------------------------------------------
//
// DROP DATABASE and its like need the database without sessions. Whoever is about to run one holds it: its worker is
// told to go, and none is started until the hold is released: with the transaction, before which nobody sees what the
// statement has done, or by release_hold(). One hold a process.

void hold_database(std::uint32_t database);
void release_hold() noexcept;
bool is_held(std::uint32_t database) noexcept;
// Whether no worker of the database runs or is about to.
bool is_vacated(std::uint32_t database) noexcept;

}  // namespace webhook::pg
