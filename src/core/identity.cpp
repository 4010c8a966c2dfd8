#include "core/identity.h"

namespace webhook {

IdentityChange compare_identity(const std::optional<StoredIdentity>& stored, bool has_checkpoint,
                                std::uint32_t database, std::uint64_t system_identifier) {
  if (!stored) return has_checkpoint ? IdentityChange::kCopy : IdentityChange::kFresh;
  if (!has_checkpoint || stored->database != database) return IdentityChange::kCopy;
  if (stored->system_identifier != system_identifier) return IdentityChange::kUpgraded;
  return IdentityChange::kSame;
}

}  // namespace webhook
