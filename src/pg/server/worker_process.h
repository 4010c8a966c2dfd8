// A worker as a process of the server: it takes its slot, connects, and waits for what happens to it.
#pragma once

#include <cstdint>
#include <memory>

#include "core/share.h"
#include "worker/process.h"

namespace webhook::pg {

// In a worker's process: takes its slot and connects. Null if there is nothing to do in this database now; the process
// then ends quietly.
std::unique_ptr<Process> begin_worker(std::uint32_t database, const WorkerShare& share);
// This worker's share, as the launcher assigned it.
WorkerShare share_of_this_worker() noexcept;

// Records why this worker ends.
void note_end(const WorkerEnd& end) noexcept;

}  // namespace webhook::pg
