#include "pg/server/event_ids.h"

extern "C" {
#include "postgres.h"

#include "storage/spin.h"
}

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "core/ring.h"
#include "pg/server/shared_layout.h"

namespace webhook::pg {
namespace {

static_assert(kAnnouncedMax == 64, "announced_used has a bit for each");

// This process's place in SharedEntry::announced, and what it has announced there.
int announced_place = -1;
IdRange announced_ids;

// Under pool_lock.
void note_batch(SharedEntry* entry, const IdRange& batch) {
  IdRange& newest = entry->batches[entry->newest_batch];
  if (newest.limit == batch.first) {
    newest.limit = batch.limit;
    return;
  }
  entry->newest_batch = (entry->newest_batch + 1) % kBatchesMax;
  entry->batches[entry->newest_batch] = batch;
}

}  // namespace

IdRange take_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept {
  IdRange taken;
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return taken;
  if (entry->sequence == sequence_oid) {
    taken.first = entry->pool.first;
    taken.limit = std::min(entry->pool.limit, entry->pool.first + count);
    entry->pool.first = taken.limit;
    if (!taken.empty()) note_batch(entry, taken);
  }
  SpinLockRelease(&entry->pool_lock);
  return taken;
}

std::optional<IdRange> take_announced_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept {
  if (announced_place >= 0) return std::nullopt;
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return std::nullopt;
  const int place = std::countr_one(entry->announced_used);
  if (entry->sequence == sequence_oid && entry->pool.limit - entry->pool.first >= count && place < kAnnouncedMax) {
    announced_place = place;
    announced_ids = {entry->pool.first, entry->pool.first + count};
    entry->pool.first = announced_ids.limit;
    entry->announced_used |= std::uint64_t{1} << place;
    entry->announced[place] = announced_ids;
  }
  SpinLockRelease(&entry->pool_lock);
  if (announced_place < 0) return std::nullopt;
  return announced_ids;
}

void withdraw_ids() noexcept {
  if (announced_place < 0) return;
  const int place = std::exchange(announced_place, -1);
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return;
  // The entry may be another than it was.
  if (entry->announced[place] == announced_ids) entry->announced_used &= ~(std::uint64_t{1} << place);
  SpinLockRelease(&entry->pool_lock);
}

std::optional<UnfinishedIds> unfinished_ids(std::uint32_t sequence_oid) {
  IdRange copy[kAnnouncedMax];
  std::uint64_t used = 0;
  UnfinishedIds ids;
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return std::nullopt;
  const bool is_known = entry->sequence == sequence_oid && entry->pool.limit > 0;
  if (is_known) {
    ids.next = entry->pool.first;
    used = entry->announced_used;
    if (used != 0) std::copy(std::begin(entry->announced), std::end(entry->announced), copy);
  }
  SpinLockRelease(&entry->pool_lock);
  if (!is_known) return std::nullopt;
  for (; used != 0; used &= used - 1) ids.committing.push_back(copy[std::countr_zero(used)]);
  return ids;
}

std::vector<IdRange> recent_batches(std::uint32_t sequence_oid) {
  IdRange copy[kBatchesMax] = {};
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return {};
  if (entry->sequence == sequence_oid) std::copy(std::begin(entry->batches), std::end(entry->batches), copy);
  SpinLockRelease(&entry->pool_lock);
  return merge({std::begin(copy), std::end(copy)});
}

void publish_ids(std::uint32_t sequence_oid, IdRange block) noexcept {
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return;
  if (entry->sequence != sequence_oid) {
    reset_pool(entry, sequence_oid);
    entry->pool = block;
  } else if (block.first >= entry->pool.first) {
    entry->pool = block;
  }
  SpinLockRelease(&entry->pool_lock);
}

std::int64_t ids_left(std::uint32_t sequence_oid) noexcept {
  std::int64_t left = 0;
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return left;
  if (entry->sequence == sequence_oid) left = entry->pool.limit - entry->pool.first;
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
