#include "core/lanes.h"

#include <cassert>
#include <utility>

namespace webhook {

void Lanes::set_lane(const Uuid& webhook, int max_in_flight) {
  Lane& lane = lanes_[webhook];
  lane.max_in_flight = max_in_flight;
  lane.removed = false;
  if (lane.in_turn && lane.in_flight >= max_in_flight) {
    std::erase(turns_, webhook);
    lane.in_turn = false;
  }
  enter_turns(webhook, lane);
}

std::deque<Delivery> Lanes::remove_lane(const Uuid& webhook) {
  const auto found = lanes_.find(webhook);
  if (found == lanes_.end()) return {};
  Lane& lane = found->second;
  queued_ -= lane.queue.size();
  queued_bytes_ -= lane.bytes;
  lane.bytes = 0;
  std::deque<Delivery> waiting = std::exchange(lane.queue, {});
  if (lane.in_turn) std::erase(turns_, webhook);
  lane.in_turn = false;
  lane.removed = true;
  if (lane.in_flight == 0) lanes_.erase(found);
  return waiting;
}

std::vector<Uuid> Lanes::lanes() const {
  std::vector<Uuid> webhooks;
  webhooks.reserve(lanes_.size());
  for (const auto& [webhook, lane] : lanes_) {
    if (!lane.removed) webhooks.push_back(webhook);
  }
  return webhooks;
}

bool Lanes::offer(const Delivery& delivery) {
  Lane& lane = lanes_.at(delivery.webhook);
  if (lane.overflows || !has_room(lane, delivery.event->body.size())) {
    lane.overflows = true;
    return false;
  }
  enqueue(lane, delivery);
  return true;
}

bool Lanes::refill(const Delivery& delivery) {
  Lane& lane = lanes_.at(delivery.webhook);
  if (!has_room(lane, delivery.event->body.size())) return false;
  enqueue(lane, delivery);
  return true;
}

std::size_t Lanes::room(const Uuid& webhook) const {
  const auto found = lanes_.find(webhook);
  if (found == lanes_.end() || !has_room(found->second, 1)) return 0;
  return kQueuedMax - found->second.queue.size();
}

bool Lanes::overflows(const Uuid& webhook) const {
  const auto found = lanes_.find(webhook);
  return found != lanes_.end() && found->second.overflows;
}

void Lanes::begin_overflow(const Uuid& webhook) { lanes_.at(webhook).overflows = true; }

void Lanes::end_overflow(const Uuid& webhook) { lanes_.at(webhook).overflows = false; }

std::optional<Delivery> Lanes::take() {
  if (turns_.empty()) return std::nullopt;
  const Uuid webhook = turns_.front();
  turns_.pop_front();
  Lane& lane = lanes_.at(webhook);
  assert(lane.in_turn && !lane.queue.empty() && lane.in_flight < lane.max_in_flight);
  lane.in_turn = false;
  Delivery delivery = std::move(lane.queue.front());
  lane.queue.pop_front();
  --queued_;
  queued_bytes_ -= delivery.event->body.size();
  lane.bytes -= delivery.event->body.size();
  ++lane.in_flight;
  enter_turns(webhook, lane);
  return delivery;
}

void Lanes::finish(const Uuid& webhook) {
  const auto found = lanes_.find(webhook);
  assert(found != lanes_.end() && found->second.in_flight > 0);
  Lane& lane = found->second;
  --lane.in_flight;
  if (lane.removed && lane.in_flight == 0) {
    lanes_.erase(found);
    return;
  }
  enter_turns(webhook, lane);
}

bool Lanes::has_room(const Lane& lane, std::size_t bytes) const {
  if (lane.queue.empty()) return true;
  return lane.queue.size() < kQueuedMax && lane.bytes + bytes <= kQueuedBytesMax;
}

void Lanes::enqueue(Lane& lane, const Delivery& delivery) {
  lane.bytes += delivery.event->body.size();
  queued_bytes_ += delivery.event->body.size();
  ++queued_;
  lane.queue.push_back(delivery);
  enter_turns(delivery.webhook, lane);
}

void Lanes::enter_turns(const Uuid& webhook, Lane& lane) {
  if (lane.in_turn || lane.removed || lane.queue.empty() || lane.in_flight >= lane.max_in_flight) return;
  lane.in_turn = true;
  turns_.push_back(webhook);
}

}  // namespace webhook
