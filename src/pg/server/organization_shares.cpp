#include "pg/server/organization_shares.h"

extern "C" {
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/spin.h"
#include "utils/timestamp.h"
}

#include <optional>

#include "core/share.h"
#include "core/shares.h"
#include "core/time.h"
#include "pg/server/shared_layout.h"
#include "pg/settings.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

std::uint64_t owner_of(std::string_view organization_id) {
  const std::uint64_t hash = hash_bytes_extended(reinterpret_cast<const unsigned char*>(organization_id.data()),
                                                 static_cast<int>(organization_id.size()), shared->owner_seed);
  return hash == 0 ? 1 : hash;
}

std::optional<ShareLimit> limit_of(Storage what) { return what == Storage::kEvents ? event_share() : log_share(); }

}  // namespace

bool take_share(Storage what, std::string_view organization_id, std::uint64_t bytes) noexcept {
  const std::optional<ShareLimit> limit = limit_of(what);
  if (!limit || shared == nullptr) return true;
  const std::uint64_t owner = owner_of(organization_id);
  const Time now = from_timestamptz(GetCurrentTimestamp());
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return true;
  const bool taken = entry->shares[static_cast<int>(what)].take(owner, bytes, *limit, now);
  SpinLockRelease(&entry->pool_lock);
  return taken;
}

double used_share(Storage what, std::string_view organization_id) noexcept {
  const std::optional<ShareLimit> limit = limit_of(what);
  if (!limit || shared == nullptr) return 0;
  const std::uint64_t owner = owner_of(organization_id);
  const Time now = from_timestamptz(GetCurrentTimestamp());
  SharedEntry* entry = lock_pool();
  if (entry == nullptr) return 0;
  const double used = entry->shares[static_cast<int>(what)].used(owner, *limit, now);
  SpinLockRelease(&entry->pool_lock);
  return used;
}

}  // namespace webhook::pg
