#include "worker/admission.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace webhook {

void Admission::admit(Event event, const Unadmitted::Receivers& all_receivers) {
  Unadmitted::Receivers receivers;
  Unadmitted::Receivers filtered;
  for (Target* const target : all_receivers) (target->webhook.filter.empty() ? receivers : filtered).push_back(target);
  if (!filtered.empty() && !filters_.has_room(event, filtered)) filtered.clear();
  const auto deliveries = static_cast<std::uint32_t>(receivers.size() + filtered.size());
  const Ledger::Entry entry = ledger_.admit(event.id, deliveries, event.created_at);
  recording_.note_ledger_change();
  if (deliveries == 0) return;
  if (event.oversized_bytes > 0) {
    refuse_oversized(event, receivers, entry);
    return;
  }
  std::shared_ptr<const Outgoing> outgoing;
  if (filtered.empty()) {
    outgoing = outgoings_.make(std::move(event));
  } else {
    if (!receivers.empty()) outgoing = outgoings_.make(event);
    filters_.ask(std::move(event), entry, outgoing, filtered);
  }
  pending_.deliver(receivers, outgoing, entry);
}

// No filter is asked about such an event: has_room() has refused them.
void Admission::refuse_oversized(const Event& event, const Unadmitted::Receivers& receivers, Ledger::Entry entry) {
  const std::string error = "the payload of " + std::to_string(event.oversized_bytes) +
                            " bytes was larger than webhook.max_payload and was not kept";
  for (const Target* const target : receivers) {
    pending_.give_up(event, target->webhook, 0, error);
    recorder_.settle(entry);
  }
}

void Admission::ask_filters() { filters_.answer(taker()); }

void Admission::refuse_old_filters() { filters_.refuse_old(ledger_.next_entry(), taker()); }

void Admission::filter_removed(const Target& target) { filters_.filter_removed(target, taker()); }

Filters::Conclude Admission::taker() {
  return [this](Filters::Waiting& waiting, Target* receiver) { take_answer(waiting, receiver); };
}

// receiver: nullptr if the webhook is not to get the event.
void Admission::take_answer(Filters::Waiting& waiting, Target* receiver) {
  if (receiver == nullptr) {
    ledger_.settle(waiting.entry);
    recording_.note_ledger_change();
    return;
  }
  if (waiting.outgoing == nullptr) waiting.outgoing = outgoings_.make(waiting.event);
  pending_.deliver({receiver}, waiting.outgoing, waiting.entry);
}

}  // namespace webhook
