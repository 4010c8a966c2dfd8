#include "pg/server/shared_memory.h"

extern "C" {
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
}

#include "pg/server/process_latch.h"
#include "pg/server/shared_layout.h"
#include "pg/settings.h"

namespace webhook::pg {

Shared* shared = nullptr;
int entry_found_last = 0;

namespace {

constexpr const char* kName = "webhook";

shmem_request_hook_type previous_shmem_request = nullptr;
shmem_startup_hook_type previous_shmem_startup = nullptr;

Size shared_bytes() {
  const auto databases = static_cast<Size>(databases_max());
  Size bytes = MAXALIGN(sizeof(Shared));
  bytes = add_size(bytes, MAXALIGN(mul_size(sizeof(SharedEntry), databases)));
  bytes = add_size(bytes, MAXALIGN(mul_size(sizeof(pg_atomic_uint32), databases)));
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
  pg_atomic_init_u64(&slot->nap_us, 0);
  pg_atomic_init_u32(&slot->is_waiting, 0);
  pg_atomic_init_u32(&slot->is_turn_over, 0);
  pg_atomic_init_u64(&slot->started_at, 0);
  for (pg_atomic_uint64& figure : slot->figures) pg_atomic_init_u64(&figure, 0);
}

void init_entry(SharedEntry* entry) {
  pg_atomic_init_u32(database_of(entry), InvalidOid);
  pg_atomic_init_u32(&entry->has_extension, 0);
  pg_atomic_init_u32(&entry->committing, 0);
  for (pg_atomic_uint32& process : entry->worker_processes) pg_atomic_init_u32(&process, kNoProcess);
  for (pg_atomic_uint32& listens : entry->listening) pg_atomic_init_u32(&listens, 0);
  for (pg_atomic_uint32& called : entry->called) pg_atomic_init_u32(&called, 0);
  for (SharedSlot& slot : entry->slots) init_slot(&slot);
  SpinLockInit(&entry->pool_lock);
  reset_pool(entry, InvalidOid);
  for (Shares& shares : entry->shares) shares = {};
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
    pg_atomic_init_u32(&shared->slots_wanted, 0);
    pg_atomic_init_u64(&shared->without_slots_since, 0);
    shared->entry_count = databases_max();
    shared->hold_count = MaxBackends;
    if (!pg_strong_random(&shared->owner_seed, sizeof shared->owner_seed)) {
      ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random numbers")));
    }
    for (int i = 0; i < shared->entry_count; ++i) init_entry(entries() + i);
    for (int i = 0; i < shared->hold_count; ++i) pg_atomic_init_u32(holds() + i, InvalidOid);
  }
  LWLockRelease(AddinShmemInitLock);
}

}  // namespace

void request_shared_state() {
  previous_shmem_request = shmem_request_hook;
  shmem_request_hook = request;
  previous_shmem_startup = shmem_startup_hook;
  shmem_startup_hook = startup;
}

bool has_shared_state() noexcept { return shared != nullptr; }

}  // namespace webhook::pg
