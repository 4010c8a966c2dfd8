// Events about webhooks themselves, which the worker emits for the webhooks of the organization. They are delivered
// like any other event, but never cause further ones: a failed delivery of "webhook.…" causes no event, and neither
// does the recovery of an endpoint that failed no other deliveries.
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

// webhook.endpoint.failing: the endpoint has been failing for 50 % or 90 % of the time after which the webhook is switched
// off. {"configuration_id","name","failing_since","percent","switched_off_at","error"}
OperationalEvent endpoint_failing(const Webhook& webhook, Time failing_since, Duration disable_after, int percent,
                                  std::string_view error);
// Which of these shares of the time has passed: 0, 50 or 90.
int failing_percent(Duration failing_for, Duration disable_after);

// webhook.recovered: the circuit has closed. Not only operational events had failed.
// {"configuration_id","name","failing_since"}
OperationalEvent webhook_recovered(const Webhook& webhook, Time failing_since);

}  // namespace webhook
