// Makes of an event what is sent: its body and its webhook-id.
#pragma once

#include <memory>
#include <optional>

#include "core/byte_budget.h"
#include "core/crypto.h"
#include "core/event.h"
#include "core/outgoing.h"
#include "core/uuid.h"

namespace webhook {

class OutgoingFactory {
 public:
  // The budget outlives it.
  explicit OutgoingFactory(ByteBudget& budget) : budget_(budget) {}

  // Which database this is, from which webhook-ids follow. To be called before the first event.
  void set_instance(const Uuid& instance) { event_ids_.emplace(instance); }
  EventIdCipher& event_ids() { return *event_ids_; }

  // It is charged to the budget until the last delivery lets go of it.
  std::shared_ptr<const Outgoing> make(Event event);

 private:
  ByteBudget& budget_;
  std::optional<EventIdCipher> event_ids_;
};

}  // namespace webhook
