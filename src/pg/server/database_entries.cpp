#include "pg/server/database_entries.h"

extern "C" {
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
}

#include "core/shares.h"
#include "pg/server/launcher_calls.h"
#include "pg/server/shared_layout.h"

namespace webhook::pg {

int entry_count() noexcept { return shared == nullptr ? 0 : shared->entry_count; }

std::uint32_t entry_database(int entry) noexcept { return pg_atomic_read_u32(databases() + entry); }

std::optional<int> find_entry(std::uint32_t database) noexcept {
  SharedEntry* entry = entry_of(database);
  if (entry == nullptr) return std::nullopt;
  return static_cast<int>(entry - entries());
}

std::optional<int> claim_entry(std::uint32_t database) noexcept {
  const Locked locked(LW_EXCLUSIVE);
  if (const std::optional<int> claimed = find_entry(database)) return claimed;
  const std::optional<int> free = find_entry(InvalidOid);
  if (!free) return std::nullopt;
  SharedEntry* taken = entries() + *free;
  pg_atomic_write_u32(&taken->has_extension, 0);
  forget_naps(taken);
  SpinLockAcquire(&taken->pool_lock);
  reset_pool(taken, InvalidOid);
  for (Shares& shares : taken->shares) shares = {};
  pg_atomic_write_u32(database_of(taken), database);
  SpinLockRelease(&taken->pool_lock);
  return free;
}

void free_entry(int entry) noexcept {
  SharedEntry* freed = entries() + entry;
  const Locked locked(LW_EXCLUSIVE);
  if (!all_idle(freed)) return;
  SpinLockAcquire(&freed->pool_lock);
  if (freed->announced_used == 0) pg_atomic_write_u32(database_of(freed), InvalidOid);
  SpinLockRelease(&freed->pool_lock);
}

bool has_extension(int entry) noexcept { return pg_atomic_read_u32(&entries()[entry].has_extension) != 0; }

bool has_extension_here() noexcept {
  SharedEntry* entry = entry_of(MyDatabaseId);
  return entry != nullptr && pg_atomic_read_u32(&entry->has_extension) != 0;
}

void note_extension() noexcept {
  if (pg_atomic_exchange_u32(&my_entry->has_extension, 1) != 0) return;
  call_launcher();
}

}  // namespace webhook::pg
