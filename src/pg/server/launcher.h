// The launcher: one process per server. It starts the workers of each database that has the extension.
//
//   postmaster ── launcher ──starts──▶ worker (database A)
//                                      worker (database B) …
//
// The launcher connects to no database, so it cannot see where the extension is installed. A worker doubles as the
// probe: it looks, and exits if the extension is missing. CREATE EXTENSION tells the launcher to probe again.
#pragma once

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries.
void register_launcher();

// The launcher's main function. Returns when the launcher is to end.
void run_launcher();

}  // namespace webhook::pg
