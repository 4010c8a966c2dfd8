// The background processes: one launcher a server, one worker a database that has the extension.
//
//   postmaster ── launcher ──starts──▶ worker (database A)
//                                      worker (database B) …
//
// The launcher is connected to no database. It cannot see where the extension is installed, so a worker doubles as the
// probe: it looks, and leaves if there is nothing for it. CREATE EXTENSION tells the launcher to look again.
#pragma once

#include <cstdint>
#include <memory>

#include "core/share.h"
#include "pg/process.h"

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries.
void register_launcher();

// The launcher's process. Returns when it is to end.
void run_launcher();

// A worker's process: takes its place, connects. Nothing: there is nothing to do here, now; end quietly.
std::unique_ptr<Process> begin_worker(std::uint32_t database, const WorkerShare& share);
// This worker's share, as the launcher told it.
WorkerShare share_of_this_worker() noexcept;

// Why this worker ends, once it was asked to.
void note_shutdown() noexcept;

}  // namespace webhook::pg
