// What the launcher is asked to look at.
#pragma once

#include <cstdint>

namespace webhook::pg {

// For the launcher, at its start: registers its latch.
void attach_launcher();
// Asks the launcher for another round. Neither allocates nor raises an error.
void call_launcher() noexcept;
// Asks the launcher to probe the database for the extension again. Neither allocates nor raises an error.
void request_probe(std::uint32_t database) noexcept;
// Takes out a database that request_probe() noted; 0 if there is none.
std::uint32_t take_probe_request() noexcept;
// Whether more requests came since the last call than could be noted. If so, all databases are to be probed.
bool take_request_to_probe_all() noexcept;
// For the launcher, like take_call() and is_called() for a worker.
bool take_launcher_call() noexcept;
bool is_launcher_called() noexcept;

}  // namespace webhook::pg
