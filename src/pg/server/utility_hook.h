// Handles statements that concern a whole database or the extension itself. Workers step aside for DROP DATABASE and
// similar statements. The launcher probes again after CREATE EXTENSION. COMMIT PREPARED wakes the workers, because
// PostgreSQL calls no transaction callback for it.
#pragma once

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries.
void install_utility_hook() noexcept;

}  // namespace webhook::pg
