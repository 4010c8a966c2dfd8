// What the launcher and the workers have in common as background processes of PostgreSQL.
#pragma once

#include <cstdint>

namespace webhook::pg {

// What the process waits for, as pg_stat_activity shows it: the launcher, for workers; a worker, for something to do; a
// worker, for responses.
std::uint32_t main_wait_event();
std::uint32_t idle_wait_event();
std::uint32_t network_wait_event();

// Lets SIGHUP and SIGTERM set flags for the process's loop. Unblocks signals.
void set_signal_handlers();

// For a process between transactions: accepts what other processes ask of it, except for cancelling a statement. May
// raise an error of PostgreSQL's, so it is to be called within guarded().
void check_for_interrupts();

}  // namespace webhook::pg
