#include "pg/server/database_holds.h"

extern "C" {
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/resowner.h"
}

#include "pg/server/launcher_calls.h"
#include "pg/server/process_latch.h"
#include "pg/server/shared_layout.h"

namespace webhook::pg {
namespace {

void release_at_transaction_end(ResourceReleasePhase phase, bool /*is_commit*/, bool is_top_level,
                                void* /*argument*/) noexcept {
  if (phase == RESOURCE_RELEASE_AFTER_LOCKS && is_top_level) release_hold();
}

void drop_hold_at_exit(int /*code*/, Datum /*argument*/) noexcept { release_hold(); }

}  // namespace

void hold_database(std::uint32_t database) {
  static bool registered = false;
  if (!registered) {
    RegisterResourceReleaseCallback(release_at_transaction_end, nullptr);
    before_shmem_exit(drop_hold_at_exit, 0);
    registered = true;
  }
  const Locked locked(LW_EXCLUSIVE);
  pg_atomic_write_u32(holds() + my_process_number(), database);
  SharedEntry* entry = entry_of(database);
  if (entry == nullptr) return;
  for (SharedSlot& slot : entry->slots) {
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
  SharedEntry* entry = entry_of(database);
  return entry == nullptr || all_idle(entry);
}

}  // namespace webhook::pg
