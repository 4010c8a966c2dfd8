// One event on its way to one webhook.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/ledger.h"
#include "core/outgoing.h"
#include "core/time.h"
#include "core/uuid.h"

namespace webhook {

struct Delivery {
  Uuid webhook;
  Time webhook_created_at{};  // with the id and the event's organization, identifies the webhook
  std::shared_ptr<const Outgoing> event;
  int attempt = 1;       // the number of the next attempt
  int probes = 0;        // earlier attempts that probed an open circuit; the retry schedule does not count them
  Time pending_since{};  // the start of its age: the time of the event, or of the replay
  std::optional<Ledger::Entry> entry;  // set while only the event log holds the delivery, and no row
  bool has_row = false;                // whether webhook_deliveries holds it
  std::int64_t request = 0;            // webhook_deliveries.request, as read
  std::uint64_t ticket = 0;            // set when it is sent: unique, ascending
  std::optional<std::string> holds;    // the key whose other deliveries in the lane wait for this one
  std::size_t held_bytes = 0;          // the bytes that its lane counts for it; 0 outside of a lane
  bool is_large = false;               // too large to be counted in held_bytes
};

}  // namespace webhook
