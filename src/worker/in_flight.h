// The requests that are open.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "core/delivery.h"
#include "core/time.h"
#include "worker/store.h"

namespace webhook {

struct OpenRequest {
  Delivery delivery;
  Time started_at{};
  bool is_probe = false;          // of an open circuit
  int configuration_version = 0;  // Webhook::version that it was made from
};

using InFlight = std::unordered_map<std::uint64_t, OpenRequest>;  // by the delivery's ticket

inline DeliveryKey key_of(const Delivery& delivery) { return {delivery.event->event_id, delivery.webhook}; }

}  // namespace webhook
