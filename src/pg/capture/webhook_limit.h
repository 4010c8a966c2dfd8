// How many webhooks an organization has, for webhook.max_webhooks_per_organization.
#pragma once

#include <cstdint>
#include <string_view>

namespace webhook::pg {

// Those that are committed and those of this transaction, as of now and not of its snapshot. Until the transaction ends,
// nobody else counts those of the organization: of two that would pass the limit only together, one sees the other's. By
// a lock that no SQL statement can take. Throws Error.
std::int64_t lock_and_count_webhooks(std::string_view organization_id);

}  // namespace webhook::pg
