// The order in which a webhook gets its events, and the key that represents it in webhook_deliveries. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace webhook {

// webhook_configurations.ordering
enum class Ordering : std::uint8_t {
  kRelaxed,   // the first attempts of a key go one after another; a retry delays nothing
  kKey,       // the deliveries of a key go one after another, including retries; keys are independent
  kEndpoint,  // all deliveries of the webhook go one after another, including retries
};

// The value of webhook_deliveries.ordering_key. Among the pending deliveries of a webhook with the same key, only the
// oldest may be sent. Nothing for kRelaxed. A delivery of an event without a key has a key of its own. The length is
// bounded, because the key is indexed.
std::optional<std::string> ordering_key(Ordering ordering, const std::optional<std::string>& key,
                                        std::int64_t event_id);

}  // namespace webhook
