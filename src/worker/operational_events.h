// Events about webhooks themselves, which the worker emits for the webhooks of the organization. They are delivered like
// any other, but are no cause of the next: that a delivery of "webhook.…" fails, and that an endpoint recovers which failed
// no others, is not told.
#pragma once

#include <string_view>

#include "core/outgoing.h"
#include "core/time.h"
#include "worker/store.h"

namespace webhook {

bool is_operational(std::string_view event_name);

// webhook.disabled: it was switched off. {"configuration_id","name","reason"}
OperationalEvent webhook_disabled(const Webhook& webhook, std::string_view reason);

// webhook.delivery.failed: a delivery was given up after its last attempt.
// {"configuration_id","name","webhook_id","event","attempts","error"}
OperationalEvent delivery_failed(const Webhook& webhook, const Outgoing& event, int attempts, std::string_view error);

// webhook.recovered: the circuit has closed, behind failures of more than operational events.
// {"configuration_id","name","failing_since"}
OperationalEvent webhook_recovered(const Webhook& webhook, Time failing_since);

}  // namespace webhook
