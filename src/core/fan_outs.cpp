#include "core/fan_outs.h"

#include <algorithm>
#include <utility>

namespace webhook {

void FanOuts::add(std::shared_ptr<const Outgoing> event, Ledger::Entry entry, std::vector<Subscriber> subscribers) {
  Organization& organization = organizations_[event->organization_id];
  for (const Subscriber& subscriber : subscribers) ++waiting_[subscriber.webhook];
  std::size_t bytes = sizeof(FanOut) + event->bytes();
  if (organization.lists.size() >= kListsMax) organization.lists.clear();
  Subscribers& known = organization.lists[event->event_name];
  if (known == nullptr || *known != subscribers) {
    bytes += subscribers.size() * sizeof(Subscriber);
    known = std::make_shared<const std::vector<Subscriber>>(std::move(subscribers));
  }
  organization.waiting.push_back({.event = std::move(event), .entry = entry, .subscribers = known, .bytes = bytes});
  count(static_cast<std::ptrdiff_t>(bytes));
  if (!organization.in_queue()) turns_.push_back(&organization);
}

std::optional<FanOuts::Taken> FanOuts::take() {
  if (turns_.empty()) return std::nullopt;
  if (taken_ == kTurn) {
    turns_.push_back(turns_.pop_front());
    taken_ = 0;
  }
  Organization& organization = *turns_.front();
  FanOut& fan_out = organization.waiting.front();
  Taken taken{.event = fan_out.event, .entry = fan_out.entry, .subscriber = (*fan_out.subscribers)[fan_out.next]};
  ++taken_;
  if (const auto waiting = waiting_.find(taken.subscriber.webhook); --waiting->second == 0) waiting_.erase(waiting);
  if (++fan_out.next < fan_out.subscribers->size()) return taken;
  count(-static_cast<std::ptrdiff_t>(fan_out.bytes));
  organization.waiting.pop_front();
  if (!organization.waiting.empty()) return taken;
  turns_.pop_front();
  taken_ = 0;
  organizations_.erase(organizations_.find(taken.event->organization_id));
  return taken;
}

bool FanOuts::has_older_than(Ledger::Entry entry) const {
  return std::any_of(organizations_.begin(), organizations_.end(),
                     [entry](const auto& organization) { return organization.second.waiting.front().entry < entry; });
}

void FanOuts::count(std::ptrdiff_t bytes) {
  bytes_ += static_cast<std::size_t>(bytes);
  charge_ = budget_.charge(bytes_);
}

}  // namespace webhook
