// Statements that concern whole databases or the extension itself: the worker steps aside for DROP DATABASE and its
// like, the launcher looks again after CREATE EXTENSION, and COMMIT PREPARED, for which PostgreSQL calls no
// transaction callback, wakes the worker.
#pragma once

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries.
void install_utility_hook() noexcept;

}  // namespace webhook::pg
