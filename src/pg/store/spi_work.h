// What the files of SpiStore share, and what they call in this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/snapshot.h"
#include "pg/spi.h"
#include "pg/store/spi_store.h"
#include "worker/store.h"

namespace webhook::pg {

// A transaction in which the extension stays installed. Between transactions it may be dropped and created again, but
// not during one. DROP and ALTER EXTENSION lock the extension before its tables, as the worker does, so they do not
// deadlock with the worker.
class SpiStore::Work : public Transaction {
 public:
  // Throws ExtensionGone if it is not. Notices another version: see Store::is_updated().
  Work(SpiStore& store, const char* activity, Isolation isolation = Isolation::kReadCommitted);
};

// Below the id of every event.
inline constexpr std::int64_t kFirstEvent = std::numeric_limits<std::int64_t>::min();
inline constexpr DeliveryKey kBeforeAllDeliveries{kFirstEvent, {}};

// Binds $1, $2 and $3.
inline Query& bind(Query& query, const WebhookIdentity& webhook) {
  return query.bind(webhook.id).bind(webhook.created_at).bind_optional(webhook.organization_id);
}

// The snapshot in the first row's column snapshot.
Snapshot snapshot_of(const Query& query);

// The columns of an event that its body is made of. They have the same names in read_events_by_id and in read_due.
class EventTexts {
 public:
  explicit EventTexts(const Query& query) : query_(query) {}

  // What the texts take in memory, computed without expanding them.
  std::size_t expanded_bytes(std::size_t row) const {
    std::size_t bytes = 0;
    for (const Column& column : {event_, organization_id_, key_, data_, previous_}) {
      bytes += query_.expanded_bytes(row, column);
    }
    return bytes;
  }

  void read(std::size_t row, Event* event) const {
    event->name = query_.get_text(row, event_);
    event->organization_id = query_.get_organization(row, organization_id_);
    event->key = query_.get_optional_text(row, key_);
    event->data = query_.get_optional_text(row, data_).value_or(std::string());
    event->previous = query_.get_optional_text(row, previous_).value_or(std::string());
    event->is_backfill = query_.get_boolean(row, backfill_);
  }

 private:
  const Query& query_;
  Column event_ = query_.column("event");
  Column organization_id_ = query_.column("organization_id");
  Column key_ = query_.column("key");
  Column data_ = query_.column("data");
  Column previous_ = query_.column("previous");
  Column backfill_ = query_.column("backfill");
};

// --- The configuration's news (spi_configuration.cpp) ----------------------------------------------------------------

// Takes the tables that find_relations returns, and listens for their changes from now on. Once per process.
void watch_configuration(const Query& relations);

// Needs a snapshot. A webhook must be known before events are routed that are in the same snapshot as its creation.
// After this call has_news() is true if changes that are visible in the snapshot may not be known yet.
void note_changes_in_snapshot();

}  // namespace webhook::pg
