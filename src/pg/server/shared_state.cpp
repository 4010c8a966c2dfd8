#include "pg/server/shared_state.h"

extern "C" {
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
}

#include <algorithm>

#include "core/ring.h"
#include "core/shares.h"
#include "pg/settings.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

constexpr const char* kName = "webhook";

// How many databases can wait to be probed. Beyond that, all databases are probed.
constexpr int kProbesMax = 32;

// Stands for a process without a latch to set.
constexpr std::uint32_t kNoProcess = PG_UINT32_MAX;

// One worker's slot. The fields of the state are written under Shared::lock, the figures only by the worker.
struct SharedSlot {
  pg_atomic_uint32 state;      // SlotState
  pg_atomic_uint32 last_exit;  // WorkerExit
  pg_atomic_uint32 count;      // of the worker's share
  pg_atomic_uint32 pid;

  // Times are in microseconds since 1970, 0 for none.
  pg_atomic_uint64 started_at;
  pg_atomic_uint64 in_flight;
  pg_atomic_uint64 queued;
  pg_atomic_uint64 events_ahead;
  pg_atomic_uint64 sent;
  pg_atomic_uint64 failed;
  pg_atomic_uint64 logged;
  pg_atomic_uint64 oldest_event_at;
  pg_atomic_uint64 last_error_at;
};

// What the processes of one database share.
struct SharedPlace {
  // Written under Shared::lock, and database under pool_lock too. Read without a lock where a stale value does no harm.
  pg_atomic_uint32 database;  // 0: the entry is free
  pg_atomic_uint32 has_extension;
  // The workers' numbers in ProcGlobal. They are adjacent because every commit reads them.
  pg_atomic_uint32 worker_processes[kWorkersMax];
  pg_atomic_uint32 listening[kWorkersMax];  // whether the worker wants to hear of the next commit
  pg_atomic_uint32 called[kWorkersMax];     // whether the worker was called since its last take_call()
  // How many transactions with changes for the workers are committing: visible perhaps, but not announced yet.
  pg_atomic_uint32 committing;

  // Capture's part, under pool_lock.
  slock_t pool_lock;
  Oid sequence;
  IdRange pool;
  int segments[2];   // of the main ring and of the excess ring; −1: unknown
  Shares shares[2];  // by Storage

  SharedSlot slots[kWorkersMax];
};

struct Shared {
  LWLock* lock;
  pg_atomic_uint32 launcher_process;
  pg_atomic_uint32 launcher_called;             // since its last take_launcher_call()
  pg_atomic_uint32 probe_requests[kProbesMax];  // databases to be probed; 0: free
  pg_atomic_uint32 all_probes_requested;        // probe_requests was full
  int place_count;
  int hold_count;
  std::uint64_t
      owner_seed;  // of the hashes that identify organizations in Shares, so that nobody can construct a colliding id
  // Followed in memory by place_count SharedPlaces, then by each backend's held database, by process number.
};

Shared* shared = nullptr;
shmem_request_hook_type previous_shmem_request = nullptr;
shmem_startup_hook_type previous_shmem_startup = nullptr;

SharedPlace* my_place = nullptr;  // of this worker
int my_index = 0;                 // of its slot
WorkerExit my_exit_reason = WorkerExit::kFailed;

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
  // Needs no guard, like all code of this file that runs in the postmaster: there are no C++ frames above it.
  RequestAddinShmemSpace(shared_bytes());
  RequestNamedLWLockTranche(kName, 1);
}

void init_slot(SharedSlot* slot) {
  pg_atomic_init_u32(&slot->state, static_cast<std::uint32_t>(SlotState::kIdle));
  pg_atomic_init_u32(&slot->last_exit, static_cast<std::uint32_t>(WorkerExit::kFailed));
  pg_atomic_init_u32(&slot->count, 0);
  pg_atomic_init_u32(&slot->pid, 0);
  for (pg_atomic_uint64* figure : {&slot->started_at, &slot->in_flight, &slot->queued, &slot->events_ahead, &slot->sent,
                                   &slot->failed, &slot->logged, &slot->oldest_event_at, &slot->last_error_at}) {
    pg_atomic_init_u64(figure, 0);
  }
}

void init_place(SharedPlace* place) {
  pg_atomic_init_u32(&place->database, InvalidOid);
  pg_atomic_init_u32(&place->has_extension, 0);
  pg_atomic_init_u32(&place->committing, 0);
  for (pg_atomic_uint32& process : place->worker_processes) pg_atomic_init_u32(&process, kNoProcess);
  for (pg_atomic_uint32& listens : place->listening) pg_atomic_init_u32(&listens, 0);
  for (pg_atomic_uint32& called : place->called) pg_atomic_init_u32(&called, 0);
  for (SharedSlot& slot : place->slots) init_slot(&slot);
  SpinLockInit(&place->pool_lock);
  place->sequence = InvalidOid;
  place->pool = {};
  for (int& segment : place->segments) segment = -1;
  for (Shares& shares : place->shares) shares = {};
}

void startup() noexcept {
  if (previous_shmem_startup != nullptr) previous_shmem_startup();
  bool found = false;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  shared = static_cast<Shared*>(ShmemInitStruct(kName, shared_bytes(), &found));
  if (!found) {
    shared->lock = &GetNamedLWLockTranche(kName)->lock;
    pg_atomic_init_u32(&shared->launcher_process, kNoProcess);
    pg_atomic_init_u32(&shared->launcher_called, 0);
    for (pg_atomic_uint32& request : shared->probe_requests) pg_atomic_init_u32(&request, InvalidOid);
    pg_atomic_init_u32(&shared->all_probes_requested, 0);
    shared->place_count = max_worker_processes;
    shared->hold_count = MaxBackends;
    if (!pg_strong_random(&shared->owner_seed, sizeof shared->owner_seed)) {
      ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random numbers")));
    }
    for (int i = 0; i < shared->place_count; ++i) init_place(places() + i);
    for (int i = 0; i < shared->hold_count; ++i) pg_atomic_init_u32(holds() + i, InvalidOid);
  }
  LWLockRelease(AddinShmemInitLock);
}

// Holds an LWLock for a scope without C++ objects and without calls that raise errors.
class Locked {
 public:
  explicit Locked(LWLockMode mode) { LWLockAcquire(shared->lock, mode); }
  ~Locked() { LWLockRelease(shared->lock); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
};

// The entry of a database, or nullptr if it has none.
SharedPlace* find_place(Oid database) {
  if (shared == nullptr) return nullptr;
  for (int i = 0; i < shared->place_count; ++i) {
    SharedPlace* place = places() + i;
    if (pg_atomic_read_u32(&place->database) == database) return place;
  }
  return nullptr;
}

// The entry of this process's database, with its pool_lock held; nullptr and no lock if it has none.
SharedPlace* lock_pool() {
  SharedPlace* place = find_place(MyDatabaseId);
  if (place == nullptr) return nullptr;
  SpinLockAcquire(&place->pool_lock);
  // The launcher may have given the entry to another database since, in which a sequence may have the same OID.
  if (pg_atomic_read_u32(&place->database) == MyDatabaseId) return place;
  SpinLockRelease(&place->pool_lock);
  return nullptr;
}

SlotState state_of(SharedSlot* slot) { return static_cast<SlotState>(pg_atomic_read_u32(&slot->state)); }

void set_state(SharedSlot* slot, SlotState state) {
  pg_atomic_write_u32(&slot->state, static_cast<std::uint32_t>(state));
}

void set_exit(SharedSlot* slot, WorkerExit reason) {
  pg_atomic_write_u32(&slot->last_exit, static_cast<std::uint32_t>(reason));
}

SharedSlot* slot_of(int place, int number) { return &places()[place].slots[number - 1]; }

bool all_idle(SharedPlace* place) {
  return std::all_of(std::begin(place->slots), std::end(place->slots),
                     [](SharedSlot& slot) { return state_of(&slot) == SlotState::kIdle; });
}

// The flag says that there is work. The latch only ends a wait, and another wait of the process may have reset it.
void call_launcher() noexcept {
  pg_atomic_exchange_u32(&shared->launcher_called, 1);
  set_latch_of(pg_atomic_read_u32(&shared->launcher_process));
}

void call_worker(SharedPlace* place, int index) noexcept {
  const std::uint32_t process = pg_atomic_read_u32(&place->worker_processes[index]);
  if (process == kNoProcess) return;
  pg_atomic_exchange_u32(&place->called[index], 1);
  set_latch_of(process);
}

void detach_worker(int /*code*/, Datum /*argument*/) noexcept {
  SharedSlot* slot = &my_place->slots[my_index];
  {
    const Locked locked(LW_EXCLUSIVE);
    pg_atomic_write_u32(&my_place->worker_processes[my_index], kNoProcess);
    pg_atomic_write_u32(&my_place->listening[my_index], 0);
    if (my_exit_reason == WorkerExit::kNoExtension) pg_atomic_write_u32(&my_place->has_extension, 0);
    set_exit(slot, my_exit_reason);
    pg_atomic_write_u32(&slot->pid, 0);
    set_state(slot, SlotState::kIdle);
  }
  my_place = nullptr;
  call_launcher();
}

std::uint64_t microseconds(std::optional<Time> time) {
  return time ? static_cast<std::uint64_t>(time->time_since_epoch().count()) : 0;
}

std::optional<Time> time_of(std::uint64_t since_1970_us) {
  if (since_1970_us == 0) return std::nullopt;
  return Time(Duration(static_cast<std::int64_t>(since_1970_us)));
}

void detach_launcher(int /*code*/, Datum /*argument*/) noexcept {
  pg_atomic_write_u32(&shared->launcher_process, kNoProcess);
}

// What the current transaction asked for.
bool wake_wanted = false;
bool probe_wanted = false;
bool launcher_wanted = false;

SharedPlace* committing_at = nullptr;  // where the current transaction is counted

// Runs before the transaction is visible to anybody.
void before_commit(XactEvent event, void* /*argument*/) noexcept {
  if (event == XACT_EVENT_PRE_COMMIT && wake_wanted) begin_commit();
}

// Runs after the invalidations were sent.
void end_commit() {
  if (committing_at == nullptr) return;
  pg_memory_barrier();
  pg_atomic_fetch_sub_u32(&committing_at->committing, 1);
  committing_at = nullptr;
}

// XACT_EVENT_COMMIT would be too early: the transaction's invalidations are not sent yet, and a woken process must find
// them. For PREPARE and COMMIT PREPARED see utility_hook.cpp.
void at_transaction_end(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void* /*argument*/) noexcept {
  if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level) return;
  end_commit();
  if (is_commit && wake_wanted) wake_workers();
  if (is_commit && probe_wanted) request_probe(MyDatabaseId);
  if (is_commit && launcher_wanted) call_launcher();
  forget_wakes();
  release_hold();
}

void expect_transaction_end() {
  static bool registered = false;
  if (registered) return;
  RegisterResourceReleaseCallback(at_transaction_end, nullptr);
  RegisterXactCallback(before_commit, nullptr);
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

// --- Ids and segment -------------------------------------------------------------------------------------------------

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
    for (int& segment : place->segments) segment = -1;
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

std::optional<int> current_event_segment(std::uint32_t sequence_oid, bool excess) noexcept {
  int segment = -1;
  SharedPlace* place = lock_pool();
  if (place == nullptr) return std::nullopt;
  if (place->sequence == sequence_oid) segment = place->segments[excess ? 1 : 0];
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
    for (int& other : place->segments) other = -1;
  }
  place->segments[is_excess_segment(segment) ? 1 : 0] = segment;
  SpinLockRelease(&place->pool_lock);
}

namespace {

std::uint64_t owner_of(std::string_view organization_id) {
  const std::uint64_t hash = hash_bytes_extended(reinterpret_cast<const unsigned char*>(organization_id.data()),
                                                 static_cast<int>(organization_id.size()), shared->owner_seed);
  return hash == 0 ? 1 : hash;
}

std::optional<ShareLimit> limit_of(Storage what) { return what == Storage::kEvents ? event_share() : log_share(); }

}  // namespace

bool take_share(Storage what, std::string_view organization_id, std::uint64_t bytes) noexcept {
  const std::optional<ShareLimit> limit = limit_of(what);
  if (!limit || shared == nullptr) return true;
  const std::uint64_t owner = owner_of(organization_id);
  const Time now = from_timestamptz(GetCurrentTimestamp());
  SharedPlace* place = lock_pool();
  if (place == nullptr) return true;
  const bool taken = place->shares[static_cast<int>(what)].take(owner, bytes, *limit, now);
  SpinLockRelease(&place->pool_lock);
  return taken;
}

double used_share(Storage what, std::string_view organization_id) noexcept {
  const std::optional<ShareLimit> limit = limit_of(what);
  if (!limit || shared == nullptr) return 0;
  const std::uint64_t owner = owner_of(organization_id);
  const Time now = from_timestamptz(GetCurrentTimestamp());
  SharedPlace* place = lock_pool();
  if (place == nullptr) return 0;
  const double used = place->shares[static_cast<int>(what)].used(owner, *limit, now);
  SpinLockRelease(&place->pool_lock);
  return used;
}

std::uint32_t my_process_number() noexcept {
#if PG_VERSION_NUM >= 170000
  return static_cast<std::uint32_t>(MyProcNumber);
#else
  return static_cast<std::uint32_t>(MyProc->pgprocno);
#endif
}

void set_latch_of(std::uint32_t process) noexcept {
  if (process != kNoProcess) SetLatch(&ProcGlobal->allProcs[process].procLatch);
}

void wake_workers() noexcept {
  SharedPlace* place = find_place(MyDatabaseId);
  if (place == nullptr) return;
  for (int i = 0; i < kWorkersMax; ++i) call_worker(place, i);
}

// The barrier is between the commit and the read of listening. listen_for_events() has a barrier between its write and
// the worker's next snapshot. So either this function sees that the worker listens, or the worker's snapshot sees the
// commit.
void wake_listening_workers() noexcept {
  SharedPlace* place = find_place(MyDatabaseId);
  if (place == nullptr) return;
  pg_memory_barrier();
  for (int i = 0; i < kWorkersMax; ++i) {
    if (pg_atomic_read_u32(&place->listening[i]) == 0) continue;
    if (pg_atomic_exchange_u32(&place->listening[i], 0) == 0) continue;
    call_worker(place, i);
  }
}

void listen_for_events() noexcept { pg_atomic_exchange_u32(&my_place->listening[my_index], 1); }

bool take_call() noexcept { return pg_atomic_exchange_u32(&my_place->called[my_index], 0) != 0; }

bool is_called() noexcept { return pg_atomic_read_u32(&my_place->called[my_index]) != 0; }

void wake_at_commit(AtCommit what) {
  expect_transaction_end();
  wake_wanted = true;
  probe_wanted |= what == AtCommit::kProbe;
  launcher_wanted |= what == AtCommit::kCallLauncher;
}

void begin_commit() {
  if (committing_at != nullptr || shared == nullptr) return;
  SharedPlace* place = find_place(MyDatabaseId);
  if (place == nullptr) return;
  expect_transaction_end();
  pg_atomic_fetch_add_u32(&place->committing, 1);
  pg_memory_barrier();
  committing_at = place;
}

bool is_committing() noexcept {
  pg_memory_barrier();
  return pg_atomic_read_u32(&my_place->committing) != 0;
}

void forget_wakes() noexcept {
  wake_wanted = false;
  probe_wanted = false;
  launcher_wanted = false;
}

// --- Entries of databases --------------------------------------------------------------------------------------------

int place_count() noexcept { return shared == nullptr ? 0 : shared->place_count; }

std::uint32_t place_database(int place) noexcept { return pg_atomic_read_u32(&places()[place].database); }

Slot slot(int place, int number) noexcept {
  SharedSlot* from = slot_of(place, number);
  const Locked locked(LW_SHARED);
  return {.state = state_of(from),
          .count = static_cast<int>(pg_atomic_read_u32(&from->count)),
          .pid = static_cast<int>(pg_atomic_read_u32(&from->pid)),
          .last_exit = static_cast<WorkerExit>(pg_atomic_read_u32(&from->last_exit))};
}

bool has_extension(int place) noexcept { return pg_atomic_read_u32(&places()[place].has_extension) != 0; }

bool has_extension_here() noexcept {
  SharedPlace* place = find_place(MyDatabaseId);
  return place != nullptr && pg_atomic_read_u32(&place->has_extension) != 0;
}

std::optional<int> find_place_of(std::uint32_t database) noexcept {
  SharedPlace* place = find_place(database);
  if (place == nullptr) return std::nullopt;
  return static_cast<int>(place - places());
}

std::optional<int> claim_place(std::uint32_t database) noexcept {
  const Locked locked(LW_EXCLUSIVE);
  if (const std::optional<int> claimed = find_place_of(database)) return claimed;
  const std::optional<int> free = find_place_of(InvalidOid);
  if (!free) return std::nullopt;
  SharedPlace* taken = places() + *free;
  pg_atomic_write_u32(&taken->has_extension, 0);
  SpinLockAcquire(&taken->pool_lock);
  taken->sequence = InvalidOid;
  taken->pool = {};
  for (int& segment : taken->segments) segment = -1;
  for (Shares& shares : taken->shares) shares = {};
  pg_atomic_write_u32(&taken->database, database);
  SpinLockRelease(&taken->pool_lock);
  return free;
}

void set_starting(int place, const WorkerShare& share) noexcept {
  SharedSlot* starting = slot_of(place, share.number);
  const Locked locked(LW_EXCLUSIVE);
  pg_atomic_write_u32(&starting->count, static_cast<std::uint32_t>(share.count));
  set_state(starting, SlotState::kStarting);
}

void set_start_failed(int place, int number) noexcept {
  SharedSlot* failed = slot_of(place, number);
  const Locked locked(LW_EXCLUSIVE);
  if (state_of(failed) != SlotState::kStarting) return;
  set_exit(failed, WorkerExit::kFailed);
  set_state(failed, SlotState::kIdle);
}

bool stop_others(int place, int count) noexcept {
  bool found = false;
  const Locked locked(LW_SHARED);
  for (SharedSlot& other : places()[place].slots) {
    if (state_of(&other) == SlotState::kIdle) continue;
    if (pg_atomic_read_u32(&other.count) == static_cast<std::uint32_t>(count)) continue;
    found = true;
    const auto pid = static_cast<pid_t>(pg_atomic_read_u32(&other.pid));
    if (pid != 0) kill(pid, SIGTERM);
  }
  return found;
}

void free_place(int place) noexcept {
  SharedPlace* freed = places() + place;
  const Locked locked(LW_EXCLUSIVE);
  if (!all_idle(freed)) return;
  SpinLockAcquire(&freed->pool_lock);
  pg_atomic_write_u32(&freed->database, InvalidOid);
  SpinLockRelease(&freed->pool_lock);
}

bool attach_worker(std::uint32_t database, const WorkerShare& share) {
  {
    const Locked locked(LW_EXCLUSIVE);
    SharedPlace* place = find_place(database);
    if (place == nullptr) return false;
    SharedSlot* mine = &place->slots[share.number - 1];
    if (state_of(mine) == SlotState::kRunning) return false;
    const bool others_run = std::any_of(std::begin(place->slots), std::end(place->slots), [&share](SharedSlot& other) {
      return state_of(&other) == SlotState::kRunning &&
             pg_atomic_read_u32(&other.count) != static_cast<std::uint32_t>(share.count);
    });
    if (others_run || is_held(database)) {
      set_exit(mine, WorkerExit::kSteppedAside);
      set_state(mine, SlotState::kIdle);
      return false;
    }
    my_place = place;
    my_index = share.number - 1;
    pg_atomic_write_u32(&mine->count, static_cast<std::uint32_t>(share.count));
    report_figures({});
    pg_atomic_write_u64(&mine->started_at, microseconds(from_timestamptz(MyStartTimestamp)));
    pg_atomic_write_u32(&mine->pid, static_cast<std::uint32_t>(MyProcPid));
    pg_atomic_write_u32(&place->worker_processes[my_index], my_process_number());
    set_state(mine, SlotState::kRunning);
  }
  on_shmem_exit(detach_worker, 0);
  // The launcher may have decided on another number of workers since it started this one.
  call_launcher();
  return true;
}

void note_extension() noexcept {
  if (pg_atomic_exchange_u32(&my_place->has_extension, 1) != 0) return;
  call_launcher();
}

void report_figures(const WorkerFigures& figures) noexcept {
  SharedSlot* mine = &my_place->slots[my_index];
  pg_atomic_write_u64(&mine->in_flight, figures.in_flight);
  pg_atomic_write_u64(&mine->queued, figures.queued);
  pg_atomic_write_u64(&mine->events_ahead, figures.events_ahead);
  pg_atomic_write_u64(&mine->sent, static_cast<std::uint64_t>(figures.sent));
  pg_atomic_write_u64(&mine->failed, static_cast<std::uint64_t>(figures.failed));
  pg_atomic_write_u64(&mine->logged, static_cast<std::uint64_t>(figures.logged));
  pg_atomic_write_u64(&mine->oldest_event_at, microseconds(figures.oldest_event_at));
  pg_atomic_write_u64(&mine->last_error_at, microseconds(figures.last_error_at));
}

std::optional<WorkerReport> worker_report(int place, int number) noexcept {
  SharedSlot* from = slot_of(place, number);
  WorkerReport report;
  report.pid = static_cast<int>(pg_atomic_read_u32(&from->pid));
  report.database = place_database(place);
  if (report.pid == 0 || report.database == InvalidOid) return std::nullopt;
  report.share = {number, static_cast<int>(pg_atomic_read_u32(&from->count))};
  report.started_at = time_of(pg_atomic_read_u64(&from->started_at)).value_or(Time{});
  report.figures = {.in_flight = pg_atomic_read_u64(&from->in_flight),
                    .queued = pg_atomic_read_u64(&from->queued),
                    .events_ahead = pg_atomic_read_u64(&from->events_ahead),
                    .sent = static_cast<std::int64_t>(pg_atomic_read_u64(&from->sent)),
                    .failed = static_cast<std::int64_t>(pg_atomic_read_u64(&from->failed)),
                    .logged = static_cast<std::int64_t>(pg_atomic_read_u64(&from->logged)),
                    .oldest_event_at = time_of(pg_atomic_read_u64(&from->oldest_event_at)),
                    .last_error_at = time_of(pg_atomic_read_u64(&from->last_error_at))};
  return report;
}

void set_exit_reason(WorkerExit reason) noexcept { my_exit_reason = reason; }

void attach_launcher() {
  pg_atomic_write_u32(&shared->launcher_process, my_process_number());
  on_shmem_exit(detach_launcher, 0);
}

void request_probe(std::uint32_t database) noexcept {
  if (shared == nullptr) return;
  bool is_noted = false;
  for (pg_atomic_uint32& request : shared->probe_requests) {
    std::uint32_t expected = InvalidOid;
    is_noted = pg_atomic_compare_exchange_u32(&request, &expected, database) || expected == database;
    if (is_noted) break;
  }
  if (!is_noted) pg_atomic_exchange_u32(&shared->all_probes_requested, 1);
  call_launcher();
}

std::uint32_t take_probe_request() noexcept {
  for (pg_atomic_uint32& request : shared->probe_requests) {
    const std::uint32_t database = pg_atomic_exchange_u32(&request, InvalidOid);
    if (database != InvalidOid) return database;
  }
  return InvalidOid;
}

bool take_request_to_probe_all() noexcept { return pg_atomic_exchange_u32(&shared->all_probes_requested, 0) != 0; }

bool take_launcher_call() noexcept { return pg_atomic_exchange_u32(&shared->launcher_called, 0) != 0; }

bool is_launcher_called() noexcept { return pg_atomic_read_u32(&shared->launcher_called) != 0; }

// --- Holds -----------------------------------------------------------------------------------------------------------

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
  if (place == nullptr) return;
  for (SharedSlot& slot : place->slots) {
    const auto pid = static_cast<pid_t>(pg_atomic_read_u32(&slot.pid));
    if (pid != 0) kill(pid, SIGTERM);
  }
}

void release_hold() noexcept {
  if (shared == nullptr) return;
  pg_atomic_uint32* mine = holds() + my_process_number();
  if (pg_atomic_read_u32(mine) == InvalidOid) return;
  pg_atomic_write_u32(mine, InvalidOid);
  call_launcher();
}

bool is_held(std::uint32_t database) noexcept {
  for (int i = 0; i < shared->hold_count; ++i) {
    if (pg_atomic_read_u32(holds() + i) == database) return true;
  }
  return false;
}

bool is_vacated(std::uint32_t database) noexcept {
  SharedPlace* place = find_place(database);
  return place == nullptr || all_idle(place);
}

}  // namespace webhook::pg
