#include "core/ordering.h"

#include <cstddef>

#include "core/crypto.h"

namespace webhook {
namespace {

constexpr std::size_t kKeyBytesMax = 128;  // of an event's key; the digest of a longer one stands for it

}  // namespace

// "=" and "~" tell a user's key from the two others.
std::optional<std::string> ordering_key(Ordering ordering, const std::optional<std::string>& key,
                                        std::int64_t event_id) {
  switch (ordering) {
    case Ordering::kRelaxed:
      return std::nullopt;
    case Ordering::kKey:
      if (!key) return "#" + std::to_string(event_id);
      return key->size() <= kKeyBytesMax ? "=" + *key : "~" + to_hex(sha256(*key));
    case Ordering::kEndpoint:
      return "*";
  }
  return std::nullopt;
}

}  // namespace webhook
