// The background processes: one launcher per server, and workers for each database that has the extension.
//
//   postmaster ── launcher ──starts──▶ worker (database A)
//                                      worker (database B) …
//
// The launcher connects to no database, so it cannot see where the extension is installed. A worker doubles as the
// probe: it looks, and exits if the extension is missing. CREATE EXTENSION tells the launcher to probe again.
#pragma once

#include <cstdint>
#include <memory>

#include "core/share.h"
#include "worker/process.h"

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries.
void register_launcher();

// The launcher's main function. Returns when the launcher is to end.
void run_launcher();

// In a worker's process: takes its slot and connects. Null if there is nothing to do in this database now; the process
// then ends quietly.
std::unique_ptr<Process> begin_worker(std::uint32_t database, const WorkerShare& share);
// This worker's share, as the launcher assigned it.
WorkerShare share_of_this_worker() noexcept;

// Records why this worker ends, after it was asked to end.
void note_shutdown() noexcept;

}  // namespace webhook::pg
