// The webhooks that the worker delivers to, and which of them an event goes to.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/event.h"
#include "core/time.h"
#include "core/uuid.h"
#include "core/wire.h"
#include "pg/store.h"

namespace webhook {

struct Target {
  pg::Webhook webhook;
  SigningKeys keys;              // of webhook.secrets, newest first
  std::optional<Time> next_due;  // when webhook_deliveries next has something for it, as far as is known
  std::size_t held = 0;          // rows of webhook_deliveries that the worker has in memory
};

class Targets {
 public:
  // Takes over a new configuration. Those that stay keep their next_due and held.
  void replace(std::vector<pg::Webhook> webhooks);

  // nullptr: there is no such webhook (any more).
  Target* find(const Uuid& id);

  // The active webhooks that subscribe to such an event: same organization, or both without one; a name or a pattern
  // that matches. The reference is good until the next call.
  const std::vector<Uuid>& routes(const Event& event);

  auto begin() { return targets_.begin(); }
  auto end() { return targets_.end(); }

 private:
  static constexpr std::size_t kRoutesMax = 10'000;  // remembered

  std::unordered_map<Uuid, Target> targets_;
  std::unordered_map<std::string, std::vector<Uuid>> by_organization_;
  std::unordered_map<std::string, std::vector<Uuid>> routes_;
};

}  // namespace webhook
