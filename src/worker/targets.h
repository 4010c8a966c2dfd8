// The webhooks that the worker delivers to, and which of them an event goes to.
#pragma once

#include <cstddef>
#include <memory>
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
  SigningKeys keys;            // of webhook.secrets, newest first
  pg::EndpointState endpoint;  // but for the circuit, which its lane knows
  // Since it began to fail, deliveries of more than operational events have failed. Of an endpoint that an earlier worker
  // saw fail, that is assumed.
  bool has_failed_events = true;
  // A filter that took too long is left alone until then, each time for longer.
  Time filter_rests_until{};
  int filter_overruns = 0;                              // in a row
  std::unique_ptr<pg::CompiledFilter> compiled_filter;  // once it was asked
};

// For the server's log.
std::string described(const pg::Webhook& webhook);

class Targets {
 public:
  // What has changed of a webhook that was there before and still is.
  struct Changed {
    Uuid webhook;
    bool ordering = false;
    bool url = false;
  };

  // Takes over a new configuration. Those that stay keep what was found out about their endpoints, from when they became
  // active on.
  std::vector<Changed> replace(std::vector<pg::Webhook> webhooks);

  // nullptr: there is no such webhook (any more).
  Target* find(const Uuid& id);

  // The webhooks, active or not, that subscribe to such an event: same organization, or both without one; a name or a
  // pattern that matches. Their filters are not asked. The reference is good until the next call,
  // the pointers until the next replace().
  const std::vector<Target*>& routes(const Event& event);

  auto begin() { return targets_.begin(); }
  auto end() { return targets_.end(); }
  std::size_t size() const { return targets_.size(); }

 private:
  static constexpr std::size_t kRoutesMax = 10'000;  // remembered

  std::unordered_map<Uuid, Target> targets_;
  std::unordered_map<std::string, std::vector<Target*>> by_organization_;
  std::unordered_map<std::string, std::vector<Target*>> routes_;
  std::string sought_;  // a key of routes_; kept for its memory
};

}  // namespace webhook
