// In which order a webhook gets its events, and the key by which webhook_deliveries knows it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace webhook {

// webhook_configurations.ordering
enum class Ordering : std::uint8_t {
  kRelaxed,   // first attempts of a key one after the other; a retry holds nothing back
  kKey,       // each key's deliveries one after the other, to the last retry; keys in parallel
  kEndpoint,  // all of the webhook's deliveries one after the other
};

// What webhook_deliveries.ordering_key holds: of deliveries of a webhook with the same one, only the oldest may be sent.
// Nothing for kRelaxed. A delivery without a key waits for nobody. It is short whatever the key, since an index holds it.
std::optional<std::string> ordering_key(Ordering ordering, const std::optional<std::string>& key,
                                        std::int64_t event_id);

}  // namespace webhook
