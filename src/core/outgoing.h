// The part of an event that is sent. It is built once and shared by all deliveries of the event.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "core/byte_budget.h"
#include "core/time.h"

namespace webhook {

struct Outgoing {
  std::int64_t event_id = 0;
  int segment = 0;  // of webhook_events
  Time created_at{};
  Time captured_at{};
  std::string event_name;
  std::optional<std::string> organization_id;
  std::optional<std::string> key;
  std::string public_event_id;  // EventIdCipher::encode
  std::string body;
  ByteBudget::Charge charge;  // for all of this

  std::size_t bytes() const {
    return sizeof *this + event_name.size() + (organization_id ? organization_id->size() : 0) +
           (key ? key->size() : 0) + public_event_id.size() + body.size();
  }
};

}  // namespace webhook
