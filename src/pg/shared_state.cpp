#include "pg/shared_state.h"

extern "C" {
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/resowner.h"
}

#include <algorithm>

namespace webhook::pg {
namespace {

constexpr const char* kName = "webhook";

// A process that has no latch to set.
constexpr std::uint32_t kNoProcess = PG_UINT32_MAX;

// What the processes of one database share.
struct SharedPlace {
  // Written under Shared::lock, database under pool_lock as well; read without it where a stale value does no harm.
  pg_atomic_uint32 database;
  pg_atomic_uint32 state;           // PlaceState
  pg_atomic_uint32 worker_process;  // the worker's number in ProcGlobal
  pg_atomic_uint32 last_exit;       // WorkerExit
  int worker_pid;

  // Capture's side, under pool_lock.
  slock_t pool_lock;
  Oid sequence;
  IdRange pool;
  int segment;  // −1: not known
};

struct Shared {
  LWLock* lock;
  pg_atomic_uint32 launcher_process;
  pg_atomic_uint32 probe_requested;
  int place_count;
  int hold_count;
  // Behind this: place_count SharedPlaces, then the held database of each backend, by its number.
};

Shared* shared = nullptr;
shmem_request_hook_type previous_shmem_request = nullptr;
shmem_startup_hook_type previous_shmem_startup = nullptr;

int my_place = -1;  // of this worker
WorkerExit my_exit_reason = WorkerExit::kFailed;

std::uint32_t my_process_number() {
#if PG_VERSION_NUM >= 170000
  return static_cast<std::uint32_t>(MyProcNumber);
#else
  return static_cast<std::uint32_t>(MyProc->pgprocno);
#endif
}

SharedPlace* places() { return reinterpret_cast<SharedPlace*>(MAXALIGN(reinterpret_cast<uintptr_t>(shared + 1))); }

pg_atomic_uint32* holds() {
  return reinterpret_cast<pg_atomic_uint32*>(MAXALIGN(reinterpret_cast<uintptr_t>(places() + shared->place_count)));
}

Size shared_bytes() {
  Size bytes = MAXALIGN(sizeof(Shared));
  bytes = add_size(bytes, MAXALIGN(mul_size(sizeof(SharedPlace), static_cast<Size>(max_worker_processes))));
  return add_size(bytes, MAXALIGN(mul_size(sizeof(pg_atomic_uint32), static_cast<Size>(MaxBackends))));
}

void request() noexcept {
  if (previous_shmem_request != nullptr) previous_shmem_request();
  // Unguarded, as all of this file that runs in the postmaster: it has no C++ frames above.
  RequestAddinShmemSpace(shared_bytes());
  RequestNamedLWLockTranche(kName, 1);
}

void init_place(SharedPlace* place) {
  pg_atomic_init_u32(&place->database, InvalidOid);
  pg_atomic_init_u32(&place->state, static_cast<std::uint32_t>(PlaceState::kFree));
  pg_atomic_init_u32(&place->worker_process, kNoProcess);
  pg_atomic_init_u32(&place->last_exit, static_cast<std::uint32_t>(WorkerExit::kFailed));
  place->worker_pid = 0;
  SpinLockInit(&place->pool_lock);
  place->sequence = InvalidOid;
  place->pool = {};
  place->segment = -1;
}

void startup() noexcept {
  if (previous_shmem_startup != nullptr) previous_shmem_startup();
  bool found = false;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  shared = static_cast<Shared*>(ShmemInitStruct(kName, shared_bytes(), &found));
  if (!found) {
    shared->lock = &GetNamedLWLockTranche(kName)->lock;
    pg_atomic_init_u32(&shared->launcher_process, kNoProcess);
    pg_atomic_init_u32(&shared->probe_requested, 0);
    shared->place_count = max_worker_processes;
    shared->hold_count = MaxBackends;
    for (int i = 0; i < shared->place_count; ++i) init_place(places() + i);
    for (int i = 0; i < shared->hold_count; ++i) pg_atomic_init_u32(holds() + i, InvalidOid);
  }
  LWLockRelease(AddinShmemInitLock);
}

// An LWLock held in a scope without C++ objects or calls that raise errors.
class Locked {
 public:
  explicit Locked(LWLockMode mode) { LWLockAcquire(shared->lock, mode); }
  ~Locked() { LWLockRelease(shared->lock); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
};

void set_latch_of(std::uint32_t process) {
  // The process may have ended and its number may be another's by now: a latch set once too often harms nobody.
  if (process != kNoProcess) SetLatch(&ProcGlobal->allProcs[process].procLatch);
}

// The place of a database; nullptr: it has none.
SharedPlace* find_place(Oid database) {
  if (shared == nullptr) return nullptr;
  for (int i = 0; i < shared->place_count; ++i) {
    SharedPlace* place = places() + i;
    if (pg_atomic_read_u32(&place->database) == database) return place;
  }
  return nullptr;
}

// The place of this process's database with its pool_lock held; nullptr, and no lock: it has none.
SharedPlace* lock_pool() {
  SharedPlace* place = find_place(MyDatabaseId);
  if (place == nullptr) return nullptr;
  SpinLockAcquire(&place->pool_lock);
  // The launcher may have given the place to another database since, whose sequence may have the same OID.
  if (pg_atomic_read_u32(&place->database) == MyDatabaseId) return place;
  SpinLockRelease(&place->pool_lock);
  return nullptr;
}

PlaceState state_of(SharedPlace* place) { return static_cast<PlaceState>(pg_atomic_read_u32(&place->state)); }

void set_state(SharedPlace* place, PlaceState state) {
  pg_atomic_write_u32(&place->state, static_cast<std::uint32_t>(state));
}

void detach_worker(int /*code*/, Datum /*argument*/) noexcept {
  SharedPlace* place = places() + my_place;
  {
    const Locked locked(LW_EXCLUSIVE);
    pg_atomic_write_u32(&place->worker_process, kNoProcess);
    pg_atomic_write_u32(&place->last_exit, static_cast<std::uint32_t>(my_exit_reason));
    place->worker_pid = 0;
    set_state(place, PlaceState::kIdle);
  }
  my_place = -1;
  set_latch_of(pg_atomic_read_u32(&shared->launcher_process));
}

void detach_launcher(int /*code*/, Datum /*argument*/) noexcept {
  pg_atomic_write_u32(&shared->launcher_process, kNoProcess);
}

// What the current transaction asked for.
bool wake_wanted = false;
bool probe_wanted = false;

// Not at XACT_EVENT_COMMIT, when the invalidations of the transaction are not out yet: who wakes up must find them.
// A PREPARE wakes too, which harms nobody; for COMMIT PREPARED see utility_hook.cpp.
void at_transaction_end(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void* /*argument*/) noexcept {
  if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level) return;
  if (is_commit && wake_wanted) wake_workers();
  if (is_commit && probe_wanted) request_probe();
  wake_wanted = false;
  probe_wanted = false;
  release_hold();
}

void expect_transaction_end() {
  static bool registered = false;
  if (registered) return;
  RegisterResourceReleaseCallback(at_transaction_end, nullptr);
  registered = true;
}

void drop_hold_at_exit(int /*code*/, Datum /*argument*/) noexcept { release_hold(); }

}  // namespace

void request_shared_state() {
  previous_shmem_request = shmem_request_hook;
  shmem_request_hook = request;
  previous_shmem_startup = shmem_startup_hook;
  shmem_startup_hook = startup;
}

bool has_shared_state() noexcept { return shared != nullptr; }

// --- Ids and segment --------------------------------------------------------------------------------------------------

IdRange take_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept {
  IdRange taken;
  SharedPlace* place = lock_pool();
  if (place == nullptr) return taken;
  if (place->sequence == sequence_oid) {
    taken.next = place->pool.next;
    taken.limit = std::min(place->pool.limit, place->pool.next + count);
    place->pool.next = taken.limit;
  }
  SpinLockRelease(&place->pool_lock);
  return taken;
}

void publish_ids(std::uint32_t sequence_oid, IdRange block) noexcept {
  SharedPlace* place = lock_pool();
  if (place == nullptr) return;
  if (place->sequence != sequence_oid) {
    place->sequence = sequence_oid;
    place->pool = block;
    place->segment = -1;
  } else if (block.next >= place->pool.next) {
    place->pool = block;
  }
  SpinLockRelease(&place->pool_lock);
}

std::int64_t ids_left(std::uint32_t sequence_oid) noexcept {
  std::int64_t left = 0;
  SharedPlace* place = lock_pool();
  if (place == nullptr) return left;
  if (place->sequence == sequence_oid) left = place->pool.limit - place->pool.next;
  SpinLockRelease(&place->pool_lock);
  return left;
}

std::optional<int> current_event_segment(std::uint32_t sequence_oid) noexcept {
  int segment = -1;
  SharedPlace* place = lock_pool();
  if (place == nullptr) return std::nullopt;
  if (place->sequence == sequence_oid) segment = place->segment;
  SpinLockRelease(&place->pool_lock);
  if (segment < 0) return std::nullopt;
  return segment;
}

void publish_event_segment(std::uint32_t sequence_oid, int segment) noexcept {
  SharedPlace* place = lock_pool();
  if (place == nullptr) return;
  if (place->sequence != sequence_oid) {
    place->sequence = sequence_oid;
    place->pool = {};
  }
  place->segment = segment;
  SpinLockRelease(&place->pool_lock);
}

void wake_workers() noexcept {
  SharedPlace* place = find_place(MyDatabaseId);
  if (place != nullptr) set_latch_of(pg_atomic_read_u32(&place->worker_process));
}

void wake_at_commit(bool also_launcher) {
  expect_transaction_end();
  wake_wanted = true;
  probe_wanted |= also_launcher;
}

// --- Places -----------------------------------------------------------------------------------------------------------

int place_count() noexcept { return shared->place_count; }

Place place(int index) noexcept {
  SharedPlace* from = places() + index;
  const Locked locked(LW_SHARED);
  return {.state = state_of(from),
          .database = pg_atomic_read_u32(&from->database),
          .worker_pid = from->worker_pid,
          .last_exit = static_cast<WorkerExit>(pg_atomic_read_u32(&from->last_exit))};
}

std::optional<int> claim_place(std::uint32_t database) noexcept {
  const Locked locked(LW_EXCLUSIVE);
  std::optional<int> free;
  for (int i = 0; i < shared->place_count; ++i) {
    SharedPlace* candidate = places() + i;
    if (pg_atomic_read_u32(&candidate->database) == database) return i;
    if (!free && state_of(candidate) == PlaceState::kFree) free = i;
  }
  if (!free) return std::nullopt;
  SharedPlace* taken = places() + *free;
  SpinLockAcquire(&taken->pool_lock);
  taken->sequence = InvalidOid;
  taken->pool = {};
  taken->segment = -1;
  pg_atomic_write_u32(&taken->database, database);
  SpinLockRelease(&taken->pool_lock);
  set_state(taken, PlaceState::kIdle);
  return free;
}

void set_starting(int index) noexcept {
  const Locked locked(LW_EXCLUSIVE);
  set_state(places() + index, PlaceState::kStarting);
}

void set_start_failed(int index) noexcept {
  SharedPlace* failed = places() + index;
  const Locked locked(LW_EXCLUSIVE);
  if (state_of(failed) != PlaceState::kStarting) return;
  pg_atomic_write_u32(&failed->last_exit, static_cast<std::uint32_t>(WorkerExit::kFailed));
  set_state(failed, PlaceState::kIdle);
}

void free_place(int index) noexcept {
  SharedPlace* freed = places() + index;
  const Locked locked(LW_EXCLUSIVE);
  if (state_of(freed) != PlaceState::kIdle) return;
  SpinLockAcquire(&freed->pool_lock);
  pg_atomic_write_u32(&freed->database, InvalidOid);
  SpinLockRelease(&freed->pool_lock);
  set_state(freed, PlaceState::kFree);
}

bool attach_worker(std::uint32_t database) {
  {
    const Locked locked(LW_EXCLUSIVE);
    SharedPlace* place = find_place(database);
    if (place == nullptr || state_of(place) == PlaceState::kRunning) return false;
    if (is_held(database)) {
      pg_atomic_write_u32(&place->last_exit, static_cast<std::uint32_t>(WorkerExit::kSteppedAside));
      set_state(place, PlaceState::kIdle);
      return false;
    }
    my_place = static_cast<int>(place - places());
    place->worker_pid = MyProcPid;
    pg_atomic_write_u32(&place->worker_process, my_process_number());
    set_state(place, PlaceState::kRunning);
  }
  on_shmem_exit(detach_worker, 0);
  return true;
}

void set_exit_reason(WorkerExit reason) noexcept { my_exit_reason = reason; }

void attach_launcher() {
  pg_atomic_write_u32(&shared->launcher_process, my_process_number());
  on_shmem_exit(detach_launcher, 0);
}

void request_probe() noexcept {
  if (shared == nullptr) return;
  pg_atomic_write_u32(&shared->probe_requested, 1);
  set_latch_of(pg_atomic_read_u32(&shared->launcher_process));
}

bool take_probe_request() noexcept { return pg_atomic_exchange_u32(&shared->probe_requested, 0) != 0; }

// --- Holds ------------------------------------------------------------------------------------------------------------

void hold_database(std::uint32_t database) {
  static bool registered = false;
  if (!registered) {
    before_shmem_exit(drop_hold_at_exit, 0);
    registered = true;
  }
  expect_transaction_end();
  const Locked locked(LW_EXCLUSIVE);
  pg_atomic_write_u32(holds() + my_process_number(), database);
  SharedPlace* place = find_place(database);
  if (place != nullptr && place->worker_pid != 0) kill(place->worker_pid, SIGTERM);
}

void release_hold() noexcept {
  if (shared == nullptr) return;
  pg_atomic_uint32* mine = holds() + my_process_number();
  if (pg_atomic_read_u32(mine) == InvalidOid) return;
  pg_atomic_write_u32(mine, InvalidOid);
  set_latch_of(pg_atomic_read_u32(&shared->launcher_process));
}

bool is_held(std::uint32_t database) noexcept {
  for (int i = 0; i < shared->hold_count; ++i) {
    if (pg_atomic_read_u32(holds() + i) == database) return true;
  }
  return false;
}

bool is_vacated(std::uint32_t database) noexcept {
  SharedPlace* place = find_place(database);
  if (place == nullptr) return true;
  const PlaceState state = state_of(place);
  return state != PlaceState::kStarting && state != PlaceState::kRunning;
}

}  // namespace webhook::pg
