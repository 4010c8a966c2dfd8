// Whether a database is the one that its webhooks were declared in, or a copy of it, which must not call anyone.
//
// webhook_instance is dumped with the webhooks, webhook_checkpoint is not; both remember the database's OID and the
// cluster's system identifier. See docs/architecture.md, "Identity".
#pragma once

#include <cstdint>
#include <optional>

#include "core/uuid.h"

namespace webhook {

struct StoredIdentity {
  Uuid instance;
  std::uint32_t database = 0;
  std::uint64_t system_identifier = 0;
};

enum class IdentityVerdict : std::uint8_t {
  kFresh,     // just installed: draw an instance, go on
  kSame,      // go on
  kUpgraded,  // pg_upgrade: remember the new system identifier, go on
  kCopy,      // restored from a dump or copied as a template: draw a new instance, pause
};

// stored: the row of webhook_instance; has_checkpoint: whether webhook_checkpoint has a row.
IdentityVerdict judge_identity(const std::optional<StoredIdentity>& stored, bool has_checkpoint, std::uint32_t database,
                               std::uint64_t system_identifier);

}  // namespace webhook
