// When a worker with nothing to do leaves, and for how long, so that another database may have its slot. Pure.
//
// It leaves after webhook.idle_timeout. If slots are wanted, it leaves a second after its last work, or at once if it has
// had none. The launcher starts it again when something is committed, or when the nap is over.
//
// A worker whose turn is over has had a while to deliver. Otherwise one that loads its webhooks for longer than a turn
// would never come to it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "core/time.h"
#include "worker/settings.h"

namespace webhook {

class Departure {
 public:
  static constexpr Duration kLinger = std::chrono::seconds(1);   // after the last work, if slots are wanted
  static constexpr Duration kTurnMin = std::chrono::seconds(1);  // for delivering, with all webhooks loaded
  static constexpr Duration kNapMin = std::chrono::seconds(1);   // less is not worth leaving
  static constexpr Duration kNapMax = std::chrono::hours(1);     // the tables need some upkeep
  static constexpr int kNapsPerAge = 8;  // so much of the time that anything is kept may be slept through at once

  // The worker has something to do. is_delivering: not only to find out what there is.
  void note_work(Time now, bool is_delivering) {
    idle_since_ = now;
    has_worked_ |= is_delivering;
  }
  // All webhooks are known.
  void note_loaded(Time now) {
    if (!loaded_at_) loaded_at_ = now;
  }
  bool has_had_turn(Time now) const { return loaded_at_ && now - *loaded_at_ >= kTurnMin; }
  void clock_set_back(Time now) {
    idle_since_ = std::min(idle_since_, now);
    if (loaded_at_) loaded_at_ = std::min(*loaded_at_, now);
  }

  // When the worker leaves if nothing happens; nullopt: it stays. next_work: when something is due by itself.
  std::optional<Time> leaves_at(Time now, Time next_work, bool is_slot_wanted, const WorkerSettings& settings) const {
    if (next_work - now < kNapMin) return std::nullopt;
    if (is_slot_wanted) return has_worked_ ? idle_since_ + kLinger : now;
    if (settings.idle_timeout == Duration::zero()) return std::nullopt;
    return idle_since_ + settings.idle_timeout;
  }

  // How long the worker may be away.
  static Duration nap(Time now, Time next_work, const WorkerSettings& settings) {
    const Duration age = std::min({settings.max_age, settings.event_retention, settings.log_retention});
    return std::min(next_work - now, std::clamp<Duration>(age / kNapsPerAge, kNapMin, kNapMax));
  }

 private:
  Time idle_since_{};
  std::optional<Time> loaded_at_;
  bool has_worked_ = false;
};

}  // namespace webhook
