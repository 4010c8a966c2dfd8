#include "core/identity.h"

namespace webhook {

IdentityVerdict judge_identity(const std::optional<StoredIdentity>& stored, bool has_checkpoint, std::uint32_t database,
                               std::uint64_t system_identifier) {
  if (!stored) return has_checkpoint ? IdentityVerdict::kCopy : IdentityVerdict::kFresh;
  if (!has_checkpoint || stored->database != database) return IdentityVerdict::kCopy;
  if (stored->system_identifier != system_identifier) return IdentityVerdict::kUpgraded;
  return IdentityVerdict::kSame;
}

}  // namespace webhook
