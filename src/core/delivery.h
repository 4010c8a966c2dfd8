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
  Time webhook_created_at{};  // with its id and the event's organization, which webhook it is
  std::shared_ptr<const Outgoing> event;
  int attempt = 1;    // the number of the attempt to come
  int probes = 0;     // of those before it, the probes of an open circuit, which the schedule leaves out
  Time owed_since{};  // from when on its age counts: the event, or the replay
  std::optional<Ledger::Entry> entry;  // as long as the event log, and no row, stands for it
  bool has_row = false;                // webhook_deliveries holds it
  std::int64_t request = 0;            // what the row says of who asked for it last
  std::uint64_t ticket = 0;            // once it is in flight: unique, ascending
  std::optional<std::string> holds;    // the key that others in its lane wait for, while it does
  std::size_t held_bytes = 0;          // what its lane counts for it: 0 while it is nobody's,
  bool is_large = false;               // and for one that is larger than what is counted
};

}  // namespace webhook
