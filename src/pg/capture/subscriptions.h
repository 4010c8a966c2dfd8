// Whether anybody asks for an event: capture writes no row that no webhook could ever receive. Answers are kept in this
// process until webhook_configurations changes, here or in another session.
//
// What surprises: the table is read with the latest snapshot and without SQL, so that neither the caller's isolation
// level nor his rights nor row-level security change the answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

struct FunctionCallInfoBaseData;

namespace webhook::pg {

// Learns what other sessions have committed by now. To be called once per statement, before is_subscribed(): neither a
// new command nor a lock that is held already does it. Throws Error.
void accept_subscription_changes();

// Whether a webhook of the organization, active or not, has a pattern that matches the event. Also true when the answer
// can't be had without waiting for a lock. Throws Error.
bool is_subscribed(std::optional<std::string_view> organization_id, std::string_view event);

// The last number of webhook_switches_seq that this transaction sees on a webhook: it tells which webhooks are active for
// it. To be called after is_subscribed(). The highest number there is, which leaves it to the worker, if that cannot be
// had without waiting for a lock. Throws Error.
std::int32_t known_switch();

// The body of the trigger function webhook_invalidate_subscriptions(): as announce_change_to_worker(), and tells other
// sessions, too. Throws Error.
void announce_subscription_change(FunctionCallInfoBaseData* call);

// Has this database's worker read what has changed, in the rows and in webhook_changes, once the current
// transaction has committed. Throws Error.
void announce_change_to_worker();

// From the relcache callback. relation 0: any.
void invalidate_subscriptions(std::uint32_t relation) noexcept;

}  // namespace webhook::pg
