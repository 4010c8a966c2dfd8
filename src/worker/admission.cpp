#include "worker/admission.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace webhook {

void Admission::admit(Event event, const Unadmitted::Subscribers& all_subscribers) {
  Unadmitted::Subscribers subscribers;
  Unadmitted::Subscribers filtered;
  for (Subscriber* const subscriber : all_subscribers)
    (subscriber->webhook().filter.empty() ? subscribers : filtered).push_back(subscriber);
  if (!filtered.empty() && !filters_.has_room(event, filtered)) filtered.clear();
  const auto deliveries = static_cast<std::uint32_t>(subscribers.size() + filtered.size());
  const Ledger::Entry entry = ledger_.admit(event.id, deliveries, event.created_at);
  recording_.note_ledger_change();
  if (deliveries == 0) return;
  if (event.oversized_bytes > 0) {
    refuse_oversized(event, subscribers, entry);
    return;
  }
  std::shared_ptr<const Outgoing> outgoing;
  if (filtered.empty()) {
    outgoing = outgoings_.make(std::move(event));
  } else {
    if (!subscribers.empty()) outgoing = outgoings_.make(event);
    filters_.ask(std::move(event), entry, outgoing, filtered);
  }
  pending_.deliver(subscribers, outgoing, entry);
}

// No filter is asked about such an event: has_room() has refused them.
void Admission::refuse_oversized(const Event& event, const Unadmitted::Subscribers& subscribers, Ledger::Entry entry) {
  const std::string error = "the payload of " + std::to_string(event.oversized_bytes) +
                            " bytes was larger than webhook.max_payload and was not kept";
  for (const Subscriber* const subscriber : subscribers) {
    pending_.give_up(event, subscriber->webhook(), 0, error);
    recorder_.settle(entry);
  }
}

void Admission::ask_filters() { filters_.answer(taker()); }

void Admission::refuse_old_filters() { filters_.refuse_old(ledger_.next_entry(), taker()); }

void Admission::filter_removed(const Subscriber& subscriber) { filters_.filter_removed(subscriber, taker()); }

Filters::Conclude Admission::taker() {
  return [this](Filters::Waiting& waiting, Subscriber* subscriber) { take_answer(waiting, subscriber); };
}

// subscriber: nullptr if the webhook is not to get the event.
void Admission::take_answer(Filters::Waiting& waiting, Subscriber* subscriber) {
  if (subscriber == nullptr) {
    ledger_.settle(waiting.entry);
    recording_.note_ledger_change();
    return;
  }
  if (waiting.outgoing == nullptr) waiting.outgoing = outgoings_.make(waiting.event);
  pending_.deliver({subscriber}, waiting.outgoing, waiting.entry);
}

}  // namespace webhook
