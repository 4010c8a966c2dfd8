// The webhooks of which something waits to be written because somebody else is at it, and when to try again. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/time.h"
#include "core/uuid.h"

namespace webhook {

class Deferrals {
 public:
  static constexpr Duration kRetry = std::chrono::seconds(1);
  static constexpr Duration kRetryMax = std::chrono::minutes(1);

  // Something of the webhook waits; it is tried at once if nothing did before. False: something did.
  bool add(const Uuid& webhook, Time now);
  bool contains(const Uuid& webhook) const { return waiting_.contains(webhook); }
  std::size_t size() const { return waiting_.size(); }

  std::optional<Time> next_try_at() const;
  // Those to be tried now, at most count_max, the longest due first. Each is to be told of below.
  std::vector<Uuid> due(Time now, std::size_t count_max) const;
  // Somebody is still at it: again after kRetry.
  void note_busy(const Uuid& webhook, Time now);
  // It took time and was in vain: again later each time, up to kRetryMax.
  void note_failed(const Uuid& webhook, Time now);
  // Some of it has been written: the rest at once.
  void note_progress(const Uuid& webhook, Time now);
  // Nothing waits any more.
  void remove(const Uuid& webhook);
  void clock_set_back(Time now);

  // Since when something of the webhook waits. Nothing: nothing does.
  std::optional<Time> since(const Uuid& webhook) const;

 private:
  struct Waiting {
    Time since{};
    Time next_try{};
    Duration retry = kRetry;
  };

  void try_at(const Uuid& webhook, Waiting& waiting, Time at);

  std::unordered_map<Uuid, Waiting> waiting_;
  std::set<std::pair<Time, Uuid>> tries_;
};

}  // namespace webhook
