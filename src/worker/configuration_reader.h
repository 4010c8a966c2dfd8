// When webhooks are read, and which ones. The worker reads all webhooks at its start, and again when there may be
// changes that Store::changes() does not find. Otherwise it reads the changes from snapshot to snapshot, and the
// webhooks whose secrets expire. Each step is bounded, so the network gets its turn however many webhooks there are.
//
// An edit costs the worker as much as reading one webhook. Frequent edits get only a part of the worker's time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/snapshot.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/store.h"

namespace webhook {

class ConfigurationReader {
 public:
  static constexpr std::size_t kWebhooksPerStep = 100;

  explicit ConfigurationReader(Store& store) : store_(store) {}

  // Whether all webhooks have been read once. Only then can an event be routed to nobody.
  bool is_loaded() const { return is_loaded_; }
  // All changes that are visible in this snapshot are known.
  const Snapshot& known() const { return known_; }
  // Whether changes were announced that are not known yet.
  bool has_changes() const { return has_changes_; }
  // The number of the last round through all webhooks. A webhook that was not read in it or later no longer exists.
  std::uint64_t round() const { return round_; }

  // Takes over announcements of changes, which any call of the store may receive.
  void take_news();
  // There may be changes that were not announced.
  void look_for_changes() { has_changes_ = true; }
  void read_all_again() { is_round_wanted_ = true; }
  // Whether there is nothing to read now or soon: secrets may expire later.
  bool is_idle() const { return !is_in_round() && !has_changes_; }
  // When the next step is due; nothing: there is nothing to read.
  std::optional<Time> due_at() const;
  Time changes_due_at() const { return next_changes_; }

  struct Step {
    Configuration read;
    bool is_of_round = false;
    bool has_ended_round = false;
  };
  // Takes the step that is due, or one through the changes. If it throws Error, the step is still due.
  Step read_next(Time now);
  Step read_changes();
  // How long the step took, including its consequences.
  void note_cost(const Step& step, Time begun, Time ended);

  // When the next of the webhook's secrets expires; nothing: none does.
  void set_expiry(const Uuid& webhook, std::optional<Time> at);

  void clock_set_back(Time now);

 private:
  static constexpr int kChangesPause = 2;  // reading changes is followed by a pause of so many times what it took,
  static constexpr Duration kChangesPauseMax = std::chrono::milliseconds(50);  // up to this
  static constexpr int kRoundPause = 3;                                        // likewise, but for the first round

  bool is_in_round() const { return is_round_wanted_ || is_round_under_way_; }
  Step read_round();
  Step read_expired(Time now);

  Store& store_;
  bool is_loaded_ = false;
  Snapshot known_;
  bool has_changes_ = false;
  bool is_in_pass_ = false;  // through the changes: there are more steps
  Duration pass_cost_{};
  Time next_changes_{};
  bool is_round_wanted_ = true;
  bool is_round_under_way_ = false;
  std::uint64_t round_ = 0;
  std::optional<Uuid> read_up_to_;  // in the round
  Time next_round_step_{};
  std::set<std::pair<Time, Uuid>> expiries_;
  std::map<Uuid, Time> expiry_of_;
};

}  // namespace webhook
