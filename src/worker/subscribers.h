// The subscribers, which are the webhooks as their worker knows them, and which of them an event goes to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/delivery.h"
#include "core/event.h"
#include "core/time.h"
#include "core/uuid.h"
#include "core/wire.h"
#include "worker/store.h"

namespace webhook {

// A webhook with what its worker has learned about it.
struct Subscriber {
  Webhook webhook;
  EndpointState endpoint;  // but for the circuit, which its lane knows
  // Since the endpoint began to fail, not only operational events have failed. This is assumed if an earlier worker saw
  // it fail.
  bool has_failed_events = true;
  // What its owner was told last of how long it has been failing: see failing_percent().
  int told_percent = 0;
  // A filter that took too long rests until then, each time for longer.
  Time filter_rests_until{};
  int filter_overruns = 0;                          // in a row
  std::unique_ptr<CompiledFilter> compiled_filter;  // once it was asked

  // Of webhook.secrets, newest first. Made at the first call: most webhooks of many stand idle.
  SigningKeys& keys();

 private:
  friend class Subscribers;
  SigningKeys keys_;
  std::size_t place_ = 0;    // among those of its organization
  std::uint64_t round_ = 0;  // of the reading that saw it last
};

// For the server's log.
std::string described(const Webhook& webhook);

class Subscribers {
 public:
  // What has changed of a webhook.
  struct Change {
    bool is_new = false;  // it was not there before; if not:
    bool ordering = false;
    bool url = false;
    bool became_deliverable = false;
    bool filter = false;
  };

  // Adds the webhook or takes over its changes. The state of its endpoint since it became active is kept. Another
  // webhook with this id must have been removed before. round: the number of the reading that has seen it.
  Change put(Webhook webhook, std::uint64_t round = 0);
  void remove(const Uuid& id);
  // The webhooks that no reading has seen since that round began.
  std::vector<Uuid> not_seen_since(std::uint64_t round) const;

  // nullptr: there is no such webhook (any more).
  Subscriber* find(const Uuid& id);
  // The webhook that the delivery was made for.
  Subscriber* find(const Delivery& delivery);

  // The webhooks, active or not, that subscribe to such an event: they have the same organization, or both have none,
  // and a name or a pattern matches. Filters are not considered. The reference is valid until the next call of routes()
  // or put(), a pointer until its webhook is removed.
  const std::vector<Subscriber*>& routes(const Event& event);

  auto begin() { return subscribers_.begin(); }
  auto end() { return subscribers_.end(); }
  std::size_t size() const { return subscribers_.size(); }

 private:
  static constexpr std::size_t kRoutesMax = 10'000;  // remembered

  struct Organization {
    std::vector<Subscriber*> webhooks;
    std::unordered_map<std::string, std::vector<Subscriber*>>
        routes;  // by the event's name, as far as they were sought
  };

  void forget_routes(Organization& organization);
  void forget_all_routes();

  std::unordered_map<Uuid, Subscriber> subscribers_;
  std::unordered_map<std::string, Organization> organizations_;  // those with webhooks
  std::size_t routes_ = 0;                                       // of all organizations
  std::string sought_;                                           // a key of organizations_; kept for its memory
  std::vector<Subscriber*> nobody_;                              // stays empty
};

}  // namespace webhook
