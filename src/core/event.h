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
  int segment = 0;  // of webhook_events
  // The newest value of webhook_switches_seq that was committed when the event was captured.
  std::int32_t known_switch = std::numeric_limits<std::int32_t>::max();
  std::uint64_t xid = 0;  // the top-level transaction that captured the event, with the epoch
  Time created_at{};
  // When logical replication applied the change, which had been committed elsewhere at created_at. Time{}: it was made
  // here.
  Time applied_at{};
  std::string name;  // contact.created
  std::optional<std::string> organization_id;
  std::optional<std::string> key;
  std::string data;                  // the row as JSON, UTF-8
  std::string previous;              // the old values of what an UPDATE changed, as JSON; empty: not requested
  std::int64_t oversized_bytes = 0;  // above 0: the size of a payload over webhook.max_payload; data is empty
  bool is_backfill = false;          // the row was there before its table was subscribed

  // Since when the event is in this database's log.
  Time captured_at() const { return applied_at == Time{} ? created_at : applied_at; }

  std::size_t bytes() const {
    return sizeof *this + name.size() + (organization_id ? organization_id->size() : 0) + (key ? key->size() : 0) +
           data.size() + previous.size();
  }
};

}  // namespace webhook
