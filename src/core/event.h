// An event as the worker reads it from webhook_events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "core/time.h"

namespace webhook {

struct Event {
  std::int64_t id = 0;
  int slot = 0;  // the segment of webhook_events
  // Of webhook_switches_seq, the last that was committed when it was captured.
  std::int32_t known_switch = std::numeric_limits<std::int32_t>::max();
  std::uint64_t xid = 0;  // of the top-level transaction that captured it, with its epoch
  Time created_at{};
  std::string name;  // contact.created
  std::optional<std::string> organization_id;
  std::optional<std::string> key;
  std::string data;                  // the row as JSON, UTF-8
  std::string previous;              // what an UPDATE changed in it, as it was before, likewise; empty: not asked for
  std::int64_t oversized_bytes = 0;  // above zero: the size of a payload over webhook.max_payload; data is empty

  std::size_t bytes() const {
    return sizeof *this + name.size() + (organization_id ? organization_id->size() : 0) + (key ? key->size() : 0) +
           data.size() + previous.size();
  }
};

}  // namespace webhook
