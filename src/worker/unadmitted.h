// The events that were read last and are not admitted yet, and their subscribers.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "core/byte_budget.h"
#include "core/event.h"
#include "worker/store.h"
#include "worker/subscribers.h"

namespace webhook {

class Unadmitted {
 public:
  using Subscribers = std::vector<Subscriber*>;

  // The budget outlives it.
  explicit Unadmitted(ByteBudget& budget) : budget_(budget) {}

  bool empty() const { return next_ == events_.size(); }
  // Of all that were read.
  const std::vector<Event>& events() const { return events_; }
  // When the next event was captured. Nothing: it is empty.
  std::optional<Time> next_created_at() const {
    return empty() ? std::nullopt : std::optional(events_[next_].created_at);
  }
  bool are_routed() const { return subscribers_.size() == events_.size(); }

  // It must be empty.
  void set(std::vector<Event> events) {
    std::size_t bytes = 0;
    for (const Event& event : events) bytes += event.bytes();
    events_ = std::move(events);
    subscribers_.clear();
    next_ = 0;
    charge_ = budget_.charge(bytes);
  }
  // By the order of events(), none of which has been taken.
  void route(std::vector<Subscribers> subscribers) { subscribers_ = std::move(subscribers); }

  // The subscribers of the next event. It must not be empty, and its events must be routed.
  const Subscribers& next_subscribers() const { return subscribers_[next_]; }
  // Takes out the next event. The reference to its subscribers stays valid.
  Event take() { return std::move(events_[next_++]); }
  // Frees the memory of events that were taken. It must be empty.
  void clear() {
    events_ = {};
    subscribers_ = {};
    next_ = 0;
    charge_.release();
  }

  // The webhook is gone: no event goes to it any more.
  void forget(const Subscriber* subscriber) {
    for (Subscribers& subscribers : subscribers_) std::erase(subscribers, subscriber);
  }

 private:
  ByteBudget& budget_;
  std::vector<Event> events_;
  std::vector<Subscribers> subscribers_;  // or empty: not known yet
  std::size_t next_ = 0;
  ByteBudget::Charge charge_;  // for all that were read
};

}  // namespace webhook
