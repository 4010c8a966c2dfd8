// Whether a webhook subscribes to an event, so that capture writes no row that no webhook could receive. Answers are
// cached in this process until webhook_configurations changes, here or in another session.
//
// The table is read with the latest snapshot and without SQL. So the caller's isolation level, privileges and row-level
// security do not change the answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

struct FunctionCallInfoBaseData;

namespace webhook::pg {

// Learns what other sessions have committed. Call it once per statement, before is_subscribed(): neither a new command
// nor a lock that is already held has this effect. Throws Error.
void accept_subscription_changes();

// Whether a webhook of the organization, active or not, has a pattern that matches the event. Also true if finding out
// would mean waiting for a lock. Throws Error.
bool is_subscribed(std::optional<std::string_view> organization_id, std::string_view event);

// The highest number of webhook_switches_seq on a webhook that is visible to this transaction. It tells which webhooks
// are active for the transaction. Call it after is_subscribed(). If finding out would mean waiting for a lock, returns
// the highest possible number, which leaves the decision to the worker. Throws Error.
std::int32_t known_switch();

// The body of the trigger function webhook_invalidate_subscriptions(). Like announce_change_to_worker(), which tells
// other sessions too. Throws Error.
void announce_subscription_change(FunctionCallInfoBaseData* call);

// Once the current transaction has committed, makes this database's workers read what has changed in the rows and in
// webhook_changes. Throws Error.
void announce_change_to_worker();

// For the relcache callback. relation 0: any.
void invalidate_subscriptions(std::uint32_t relation) noexcept;

}  // namespace webhook::pg
