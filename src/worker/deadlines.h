// When a room of the worker has something to do next even if nothing happens.
//
// A room names each of its deadlines once, by an enum whose last enumerator is kCount, and keeps their times in a
// Deadlines. Its next_at() says under which conditions they count; the loop takes the earliest of all rooms. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "core/time.h"

namespace webhook {

template <class Name>
class Deadlines {
 public:
  // A deadline that was never set has passed.
  Time operator[](Name name) const { return at_[static_cast<std::size_t>(name)]; }
  bool has_passed(Name name, Time now) const { return now >= (*this)[name]; }

  void set(Name name, Time at) { at_[static_cast<std::size_t>(name)] = at; }
  // An earlier deadline stays.
  void bring_forward(Name name, Time at) { set(name, std::min((*this)[name], at)); }
  // After the clock was set back, deadlines that would be too late are due now. Otherwise nothing would happen until
  // the clock has caught up.
  void clock_set_back(Time now) {
    for (Time& at : at_) at = std::min(at, now);
  }

 private:
  std::array<Time, static_cast<std::size_t>(Name::kCount)> at_{};
};

// The earliest of the times that were added.
class Earliest {
 public:
  void add(Time time) { earliest_ = std::min(earliest_.value_or(Time::max()), time); }
  void add(std::optional<Time> time) {
    if (time) add(*time);
  }
  // Nothing: none was added.
  std::optional<Time> time() const { return earliest_; }

 private:
  std::optional<Time> earliest_;
};

}  // namespace webhook
