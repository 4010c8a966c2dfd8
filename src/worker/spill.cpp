#include "worker/spill.h"

#include <algorithm>
#include <chrono>

namespace webhook {
namespace {

constexpr Duration kInterval = std::chrono::seconds(2);
constexpr std::size_t kIntervalEvents =
    Spill::kEventsAheadMax / 3;    // after so many events the boundary is drawn earlier
constexpr std::size_t kStep = 50;  // deliveries that are spilled at once, or as many as results are recorded with them

}  // namespace

void Spill::start() { deadlines_.set(Deadline::kBoundary, process_.now() + kInterval); }

bool Spill::is_due(Time now) const {
  return is_under_way_ || deadlines_.has_passed(Deadline::kBoundary, now) ||
         ledger_.next_entry() - boundary_ >= kIntervalEvents;
}

void Spill::step(InFlight& in_flight) {
  is_under_way_ = !spill_old(in_flight);
  if (is_under_way_) return;
  deadlines_.set(Deadline::kBoundary, process_.now() + kInterval);
  boundary_ = ledger_.next_entry();
}

// Returns whether all that are old have been spilled.
bool Spill::spill_old(InFlight& in_flight) {
  if (ledger_.events_ahead() == 0 || ledger_.oldest() >= boundary_) return true;
  std::size_t room = std::max(kStep, recorder_.count());
  const auto spill_if_old = [this, &room](Delivery& delivery) {
    if (!delivery.entry || *delivery.entry >= boundary_) return true;
    if (room == 0) return false;
    --room;
    pending_.spill(delivery);
    return true;
  };
  for (auto& [ticket, request] : in_flight) {
    if (!spill_if_old(request.delivery)) return false;
  }
  return pending_.for_each_queued(spill_if_old);
}

std::optional<Time> Spill::next_at(Time now) const {
  // Spilled deliveries are recorded together with the results that wait, if there are any.
  if (ledger_.events_ahead() == 0 || !recorder_.empty()) return std::nullopt;
  return is_due(now) ? now : deadlines_[Deadline::kBoundary];
}

}  // namespace webhook
