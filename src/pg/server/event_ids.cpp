#include "pg/server/event_ids.h"

extern "C" {
#include "postgres.h"

#include "storage/spin.h"
}

#include <algorithm>

#include "core/ring.h"
#include "pg/server/shared_layout.h"

namespace webhook::pg {

IdRange take_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept {
  IdRange taken;
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return taken;
  if (entry->sequence == sequence_oid) {
    taken.next = entry->pool.next;
    taken.limit = std::min(entry->pool.limit, entry->pool.next + count);
    entry->pool.next = taken.limit;
  }
  SpinLockRelease(&entry->pool_lock);
  return taken;
}

void publish_ids(std::uint32_t sequence_oid, IdRange block) noexcept {
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return;
  if (entry->sequence != sequence_oid) {
    reset_pool(entry, sequence_oid);
    entry->pool = block;
  } else if (block.next >= entry->pool.next) {
    entry->pool = block;
  }
  SpinLockRelease(&entry->pool_lock);
}

std::int64_t ids_left(std::uint32_t sequence_oid) noexcept {
  std::int64_t left = 0;
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return left;
  if (entry->sequence == sequence_oid) left = entry->pool.limit - entry->pool.next;
  SpinLockRelease(&entry->pool_lock);
  return left;
}

std::optional<int> current_event_segment(std::uint32_t sequence_oid, bool excess) noexcept {
  int segment = -1;
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return std::nullopt;
  if (entry->sequence == sequence_oid) segment = entry->segments[excess ? 1 : 0];
  SpinLockRelease(&entry->pool_lock);
  if (segment < 0) return std::nullopt;
  return segment;
}

void publish_event_segment(std::uint32_t sequence_oid, int segment) noexcept {
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return;
  if (entry->sequence != sequence_oid) reset_pool(entry, sequence_oid);
  entry->segments[is_excess_segment(segment) ? 1 : 0] = segment;
  SpinLockRelease(&entry->pool_lock);
}

}  // namespace webhook::pg
