// The databases that have workers, or had. The launcher gives a database an entry in shared memory before it starts
// workers for it, with a slot for each of them (worker_slots.h). It frees the entry when the database has no extension
// any more. There are webhook.max_databases entries.
#pragma once

#include <cstdint>
#include <optional>

namespace webhook::pg {

// The number of entries, and what one holds. For the launcher.
int entry_count() noexcept;
std::uint32_t entry_database(int entry) noexcept;  // 0: the entry is free
// Finds the entry of a database; claim_entry() takes a free one if it has none. nullopt: no entry, or none free.
std::optional<int> find_entry(std::uint32_t database) noexcept;
std::optional<int> claim_entry(std::uint32_t database) noexcept;
// Does nothing while a worker runs there or is starting, or a transaction there has announced ids.
void free_entry(int entry) noexcept;

// Whether a worker has found the extension in this database.
bool has_extension(int entry) noexcept;
// The same for this process's database.
bool has_extension_here() noexcept;
// For the worker: records that the database has the extension. The launcher then starts the other workers.
void note_extension() noexcept;

}  // namespace webhook::pg
