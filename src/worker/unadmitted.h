// The events that were read last and are not admitted yet, and their receivers.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "core/byte_budget.h"
#include "core/event.h"
#include "worker/store.h"
#include "worker/targets.h"

namespace webhook {

class Unadmitted {
 public:
  using Receivers = std::vector<Target*>;

  // The budget outlives it.
  explicit Unadmitted(ByteBudget& budget) : budget_(budget) {}

  bool empty() const { return next_ == events_.size(); }
  // Of all that were read.
  const std::vector<Event>& events() const { return events_; }
  bool are_routed() const { return receivers_.size() == events_.size(); }

  // It must be empty.
  void set(std::vector<Event> events) {
    std::size_t bytes = 0;
    for (const Event& event : events) bytes += event.bytes();
    events_ = std::move(events);
    receivers_.clear();
    next_ = 0;
    charge_ = budget_.charge(bytes);
  }
  // By the order of events(), none of which has been taken.
  void route(std::vector<Receivers> receivers) { receivers_ = std::move(receivers); }

  // The receivers of the next event. It must not be empty, and its events must be routed.
  const Receivers& next_receivers() const { return receivers_[next_]; }
  // Takes out the next event. The reference to its receivers stays valid.
  Event take() { return std::move(events_[next_++]); }
  // Frees the memory of events that were taken. It must be empty.
  void clear() {
    events_ = {};
    receivers_ = {};
    next_ = 0;
    charge_.release();
  }

  // The webhook is gone: no event goes to it any more.
  void forget(const Target* target) {
    for (Receivers& receivers : receivers_) std::erase(receivers, target);
  }

 private:
  ByteBudget& budget_;
  std::vector<Event> events_;
  std::vector<Receivers> receivers_;  // or empty: not known yet
  std::size_t next_ = 0;
  ByteBudget::Charge charge_;  // for all that were read
};

}  // namespace webhook
