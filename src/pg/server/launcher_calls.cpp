#include "pg/server/launcher_calls.h"

extern "C" {
#include "postgres.h"

#include "port/atomics.h"
#include "storage/ipc.h"
}

#include "pg/server/process_latch.h"
#include "pg/server/shared_layout.h"

namespace webhook::pg {
namespace {

void detach_launcher(int /*code*/, Datum /*argument*/) noexcept {
  pg_atomic_write_u32(&shared->launcher_process, kNoProcess);
}

}  // namespace

void attach_launcher() {
  pg_atomic_write_u32(&shared->launcher_process, my_process_number());
  on_shmem_exit(detach_launcher, 0);
}

// The flag says that there is work. The latch only ends a wait, and another wait of the process may have reset it.
void call_launcher() noexcept {
  pg_atomic_exchange_u32(&shared->launcher_called, 1);
  set_latch_of(pg_atomic_read_u32(&shared->launcher_process));
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

}  // namespace webhook::pg
