// A webhook and the state of its endpoint in as few bytes as their texts have. Most webhooks of many stand still, and
// the worker keeps them in this form. Pure.
#pragma once

#include <string>
#include <string_view>

#include "worker/store.h"

namespace webhook {

// Leaves out what the caller knows anyway: the identity of both, the circuit, and what a reading of the webhook says
// only once (next_due, endpoint, is_pending_changed).
std::string pack(const Webhook& webhook, const EndpointState& endpoint);

// packed: what pack() returned in this process. Sets all that pack() has packed.
void unpack(std::string_view packed, Webhook* webhook, EndpointState* endpoint);

// Whether the packed webhook subscribes to events of that name.
bool packed_subscribes(std::string_view packed, std::string_view event);

// Whether a webhook with these names and patterns does.
bool subscribes(const Webhook& webhook, std::string_view event);

}  // namespace webhook
