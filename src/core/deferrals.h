// Webhooks with rows that can't be written yet because another session is changing them, and when to try again. Pure.
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

  // Rows of the webhook wait. If none waited before, the first try is due at once. Returns false if some did.
  bool add(const Uuid& webhook, Time now);
  bool contains(const Uuid& webhook) const { return waiting_.contains(webhook); }
  std::size_t size() const { return waiting_.size(); }

  std::optional<Time> next_try_at() const;
  // The webhooks to try now, at most count_max, longest due first. The caller reports the outcome of each with one of
  // the functions below.
  std::vector<Uuid> due(Time now, std::size_t count_max) const;
  // Another session is still changing them. The next try is after kRetry.
  void note_busy(const Uuid& webhook, Time now);
  // The try took time and failed. The wait doubles with each failure, from kRetry up to kRetryMax.
  void note_failed(const Uuid& webhook, Time now);
  // Some rows have been written. The next try is due at once.
  void note_progress(const Uuid& webhook, Time now);
  // No rows of the webhook wait any more.
  void remove(const Uuid& webhook);
  void clock_set_back(Time now);

  // Since when rows of the webhook wait. Nothing if none do.
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
