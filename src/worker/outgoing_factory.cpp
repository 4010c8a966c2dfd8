#include "worker/outgoing_factory.h"

#include <utility>

#include "core/wire.h"

namespace webhook {

std::shared_ptr<const Outgoing> OutgoingFactory::make(Event event) {
  auto outgoing = std::make_shared<Outgoing>();
  outgoing->event_id = event.id;
  outgoing->segment = event.segment;
  outgoing->created_at = event.created_at;
  outgoing->captured_at = event.captured_at();
  outgoing->public_event_id = event_ids_->encode(event.id, event.created_at);
  outgoing->body = build_body(event);
  outgoing->event_name = std::move(event.name);
  outgoing->organization_id = std::move(event.organization_id);
  outgoing->key = std::move(event.key);
  outgoing->charge = budget_.charge(outgoing->bytes());
  return outgoing;
}

}  // namespace webhook
