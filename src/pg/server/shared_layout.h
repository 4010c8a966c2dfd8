// What lies in the shared memory of shared_memory.h, for the files of this folder alone. It is the one header of src/pg
// that shows PostgreSQL's types.
//
// It holds only numbers, never a pointer or a descriptor, because a process may vanish at any time.
#pragma once

extern "C" {
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
}

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "core/id_ranges.h"
#include "core/shares.h"
#include "pg/server/event_ids.h"
#include "pg/server/worker_slots.h"
#include "pg/settings.h"

namespace webhook::pg {

// How many transactions of a database can have announced their ids. Others write their events as batches.
constexpr int kAnnouncedMax = 64;
// How many ranges of batches' ids are remembered.
constexpr int kBatchesMax = 32;

// How many databases can wait to be probed. Beyond that, all databases are probed.
constexpr int kProbesMax = 32;

// What a worker asks of the commits in its database.
enum class Listening : std::uint32_t {
  kNo,
  kCall,        // to be called by the next one with events
  kCallOrStart  // also to be started again if it has ended by then
};
// The numbers of WorkerFigures, in the order in which a worker writes them.
enum class SlotFigure : std::uint8_t {
  kState,
  kReportedAt,
  kInFlight,
  kQueued,
  kEventsAhead,
  kSent,
  kFailed,
  kLogged,
  kGivenUp,
  kOldestEventAt,
  kReadTo,
  kReadPosition,
  kLastErrorAt,
  kFailingSince,
  kOverdueSince,
  kWebhooks,
  kUndecryptable,
  kOpenCircuits,
  kOrganizations,
  kFailingOrganizations,
  kPending,
  kDead,
  kCountedAt,
  kEventBytes,
  kEventsKeptSince,
  kLogBytes,
  kLogsKeptSince,
  kCount
};
constexpr std::size_t kSlotFigures = static_cast<std::size_t>(SlotFigure::kCount);

// One worker's slot. The fields of the state are written under Shared::lock, the figures only by the worker.
struct SharedSlot {
  pg_atomic_uint32 state;      // SlotState
  pg_atomic_uint32 last_exit;  // WorkerExit
  pg_atomic_uint32 count;      // of the worker's share
  pg_atomic_uint32 pid;
  pg_atomic_uint64 nap_us;        // WorkerExit::kIdle: for how long there is nothing to do
  pg_atomic_uint32 is_waiting;    // whether it is to start as soon as there is a background worker slot
  pg_atomic_uint32 is_turn_over;  // whether it is to end for another

  // Times are in microseconds since 1970, 0 for none.
  pg_atomic_uint64 started_at;
  pg_atomic_uint64 figures[kSlotFigures];  // by SlotFigure
};

// What the processes of one database share.
struct SharedEntry {
  // Written under Shared::lock. Read without a lock where a stale value does no harm.
  pg_atomic_uint32 has_extension;
  // The workers' numbers in ProcGlobal. They are adjacent because every commit reads them.
  pg_atomic_uint32 worker_processes[kWorkersMax];
  pg_atomic_uint32 listening[kWorkersMax];  // Listening
  pg_atomic_uint32 called[kWorkersMax];     // whether the worker was called since its last take_call()
  // How many transactions with changes for the workers are committing: visible perhaps, but not announced yet.
  pg_atomic_uint32 committing;

  // Capture's part, under pool_lock.
  slock_t pool_lock;
  Oid sequence;
  IdRange pool;
  std::uint64_t announced_used;      // which of announced are in use, a bit each
  IdRange announced[kAnnouncedMax];  // the ids of transactions that are about to commit
  IdRange batches[kBatchesMax];      // recent ones, a ring
  int newest_batch;                  // its place in batches
  int segments[2];                   // of the main ring and of the excess ring; −1: unknown
  Shares shares[2];                  // by Storage

  SharedSlot slots[kWorkersMax];
};
static_assert(sizeof(SharedEntry) <= 8 * 1024, "with the rest, webhook.max_databases and docs/operations.md say 9 kB");

struct Shared {
  LWLock* lock;
  pg_atomic_uint32 launcher_process;
  pg_atomic_uint32 launcher_called;             // since its last take_launcher_call()
  pg_atomic_uint32 probe_requests[kProbesMax];  // databases to be probed; 0: free
  pg_atomic_uint32 all_probes_requested;        // probe_requests was full
  pg_atomic_uint32 slots_wanted;                // how many workers wait for a background worker slot
  pg_atomic_uint64 without_slots_since;         // of max_worker_processes: microseconds since 1970, 0: there are some
  int entry_count;
  int hold_count;
  // Of the hashes that identify organizations in Shares, so that nobody can construct a colliding id.
  std::uint64_t owner_seed;
  // Followed in memory by entry_count SharedEntries, by their databases, and by each backend's held database, by process
  // number.
};

extern Shared* shared;  // nullptr: this server has no shared state

inline SharedEntry* entries() {
  return reinterpret_cast<SharedEntry*>(MAXALIGN(reinterpret_cast<uintptr_t>(shared + 1)));
}

// The databases of the entries; 0: the entry is free. They are adjacent because they are searched. Written under
// Shared::lock and the entry's pool_lock.
inline pg_atomic_uint32* databases() {
  return reinterpret_cast<pg_atomic_uint32*>(MAXALIGN(reinterpret_cast<uintptr_t>(entries() + shared->entry_count)));
}

inline pg_atomic_uint32* holds() {
  return reinterpret_cast<pg_atomic_uint32*>(MAXALIGN(reinterpret_cast<uintptr_t>(databases() + shared->entry_count)));
}

inline pg_atomic_uint32* database_of(SharedEntry* entry) { return databases() + (entry - entries()); }

// Holds an LWLock for a scope without C++ objects and without calls that raise errors.
class Locked {
 public:
  explicit Locked(LWLockMode mode) { LWLockAcquire(shared->lock, mode); }
  ~Locked() { LWLockRelease(shared->lock); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
};

// The entry that this process found last: mostly that of its own database.
extern int entry_found_last;

// The entry of a database, or nullptr if it has none. InvalidOid finds a free entry.
inline SharedEntry* entry_of(Oid database) {
  if (shared == nullptr) return nullptr;
  if (pg_atomic_read_u32(databases() + entry_found_last) == database) return entries() + entry_found_last;
  for (int i = 0; i < shared->entry_count; ++i) {
    if (pg_atomic_read_u32(databases() + i) != database) continue;
    entry_found_last = i;
    return entries() + i;
  }
  return nullptr;
}

// The entry of this process's database, with its pool_lock held; nullptr and no lock if it has none.
inline SharedEntry* lock_pool() {
  SharedEntry* here = entry_of(MyDatabaseId);
  if (here == nullptr) return nullptr;
  SpinLockAcquire(&here->pool_lock);
  // The launcher may have given the entry to another database since, in which a sequence may have the same OID.
  if (pg_atomic_read_u32(database_of(here)) == MyDatabaseId) return here;
  SpinLockRelease(&here->pool_lock);
  return nullptr;
}

// Under pool_lock: forgets what is known of another sequence's ids and segments.
inline void reset_pool(SharedEntry* here, Oid sequence) {
  here->sequence = sequence;
  here->pool = {};
  here->announced_used = 0;
  for (IdRange& batch : here->batches) batch = {};
  here->newest_batch = 0;
  for (int& segment : here->segments) segment = -1;
}

// Forgets which workers had nothing to do in the database of an entry.
inline void forget_naps(SharedEntry* of) {
  for (pg_atomic_uint32& listens : of->listening) pg_atomic_write_u32(&listens, 0);
  for (SharedSlot& slot : of->slots) pg_atomic_write_u32(&slot.is_waiting, 0);
}

inline SlotState state_of(SharedSlot* slot) { return static_cast<SlotState>(pg_atomic_read_u32(&slot->state)); }

inline bool all_idle(SharedEntry* of) {
  return std::all_of(std::begin(of->slots), std::end(of->slots),
                     [](SharedSlot& slot) { return state_of(&slot) == SlotState::kIdle; });
}

// A worker's own entry, and the index of its slot there. attach_worker() sets them, the end of the process clears them.
extern SharedEntry* my_entry;
extern int my_index;

}  // namespace webhook::pg
