// The memory that the processes of one server share: which worker delivers for which database, and where capture draws
// ids and appends events. It exists only if the library was in shared_preload_libraries when the server started. Without
// it, capture uses the tables alone, and nothing is delivered.
//
//   event_ids             the ids and the segment of the next events
//   organization_shares   what organizations have written recently
//   wakes                 how commits wake the workers
//   database_entries      the databases that have workers
//   worker_slots          their workers
//   launcher_calls        what the launcher is asked to look at
//   database_holds        databases that a statement needs without sessions
#pragma once

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries: asks for the memory and sets the hooks.
void request_shared_state();

// Whether this server has the shared state.
bool has_shared_state() noexcept;

}  // namespace webhook::pg
