// Counts an organization's webhooks, for webhook.max_webhooks_per_organization.
#pragma once

#include <cstdint>
#include <string_view>

namespace webhook::pg {

// Counts the organization's committed webhooks and those of this transaction, as of now rather than of its snapshot.
// Until the transaction ends, no other transaction can count this organization's webhooks. So if two transactions would
// exceed the limit only together, one sees the other's webhooks. Uses a lock that no SQL statement can take. Throws
// Error.
std::int64_t lock_and_count_webhooks(std::string_view organization_id);

}  // namespace webhook::pg
