// Whether a database is the one where its webhooks were created, or a copy. A copy must not send requests.
//
// pg_dump dumps webhook_instance with the webhooks, but not webhook_checkpoint. webhook_instance holds the database's
// OID and the cluster's system identifier. See docs/architecture.md, "Identity".
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

enum class IdentityChange : std::uint8_t {
  kFresh,     // just installed: generate an instance, continue
  kSame,      // continue
  kUpgraded,  // pg_upgrade: store the new system identifier, continue
  kCopy,      // restored from a dump or copied as a template: generate a new instance, pause
};

// stored: the row of webhook_instance; has_checkpoint: whether webhook_checkpoint has a row.
IdentityChange compare_identity(const std::optional<StoredIdentity>& stored, bool has_checkpoint,
                                std::uint32_t database, std::uint64_t system_identifier);

}  // namespace webhook
