#include "core/node_shares.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "core/share.h"

namespace webhook {

std::vector<std::string> NodeShares::gone() const {
  std::vector<std::string> nodes;
  for (const Division& division : divisions_) {
    for (const Gone& gone : division.gone) {
      if (std::ranges::find(nodes, gone.node) == nodes.end()) nodes.push_back(gone.node);
    }
  }
  return nodes;
}

bool NodeShares::owns(const Uuid& webhook, const Event& event) const {
  const auto later = std::ranges::upper_bound(divisions_, event.known_switch, {}, &Division::since);
  if (later == divisions_.begin()) return is_home_;
  const auto last = std::prev(later);
  if (owns(*last, webhook, event)) return true;
  // The session could not find out which division it knew. Some nodes may read the event before they know of the last
  // one. So the owner before it delivers the event, too.
  return event.known_switch == std::numeric_limits<std::int32_t>::max() && last != divisions_.begin() &&
         owns(*std::prev(last), webhook, event);
}

bool NodeShares::owns(const Division& division, const Uuid& webhook, const Event& event) {
  const int owner = node_of(webhook, division.count);
  const auto gone = std::ranges::find(division.gone, owner, &Gone::number);
  return gone == division.gone.end() ? owner == division.number : !gone->queued.has_finished(event.xid);
}

}  // namespace webhook
