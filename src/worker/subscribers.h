// The subscribers, which are the webhooks as their worker knows them, and which of them an event goes to.
//
// A webhook that stands still rests: it takes a few hundred bytes, which identify it, route events to it, and hold the
// rest of it in packed form (worker/packed_webhook.h). The first use of details() unpacks it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/delivery.h"
#include "core/event.h"
#include "core/node_shares.h"
#include "core/time.h"
#include "core/uuid.h"
#include "core/wire.h"
#include "http/url.h"
#include "worker/store.h"

namespace webhook {

// A webhook with what its worker has learned about it.
class Subscriber {
 public:
  struct Details {
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
    SigningKeys keys;                                 // once something was signed
    std::optional<RequestUrl> url;                    // of the webhook, once something was sent
  };

  const Uuid& id() const { return id_; }
  Time created_at() const { return created_at_; }
  const std::optional<std::string>& organization_id() const { return *organization_id_; }
  WebhookIdentity identity() const { return {id_, created_at_, *organization_id_}; }
  bool is_deliverable() const { return is_deliverable_; }  // see Webhook::is_deliverable()

  // What follows wakes it up. References are valid until it rests or is removed.
  Details& details() const {
    is_used_ = true;
    return details_ != nullptr ? *details_ : wake();
  }
  const Webhook& webhook() const { return details().webhook; }
  EndpointState& endpoint() { return details().endpoint; }
  const EndpointState& endpoint() const { return details().endpoint; }
  // Of webhook.secrets, newest first.
  SigningKeys& keys();
  // Of webhook.url.
  const RequestUrl& url();

  bool is_resting() const { return details_ == nullptr; }
  // Whether nothing would be lost if it rested, as far as it knows itself: its endpoint and its filter do not fail.
  bool may_rest(Time now) const;
  void rest();

 private:
  friend class Subscribers;

  Details& wake() const;
  bool subscribes_to(std::string_view event) const;

  Uuid id_;
  Time created_at_{};
  const std::optional<std::string>* organization_id_ = nullptr;
  bool is_deliverable_ = false;
  mutable bool is_used_ = false;              // since rest_unused() looked at it last
  mutable std::unique_ptr<Details> details_;  // nullptr: it rests
  mutable std::string packed_;                // while it does
  std::size_t place_ = 0;                     // among those of its organization
  std::uint64_t round_ = 0;                   // of the reading that saw it last
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
    bool switched_on = false;  // since it was read last; it may have been off only in between
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

  // How this node shares the webhooks with others. Returns whether that is new.
  bool set_nodes(NodeShares nodes) {
    const bool is_new = nodes != nodes_;
    nodes_ = std::move(nodes);
    return is_new;
  }
  // Whether the event is this node's to deliver to the webhook, which subscribes to it: the webhook was active when the
  // event was captured, and is not another node's.
  bool is_to_deliver(const Event& event, const Subscriber& subscriber) const {
    return nodes_.owns(subscriber.id(), event) && subscriber.webhook().was_active(event.known_switch);
  }

  auto begin() { return subscribers_.begin(); }
  auto end() { return subscribers_.end(); }
  std::size_t size() const { return subscribers_.size(); }
  // How many organizations have a webhook that can be delivered to.
  std::size_t deliverable_organizations() const { return deliverable_organizations_; }

  // Looks at a part of the webhooks: one 60th, or some. Those that were not used since the last look may rest:
  // let_rest(subscriber) decides, and makes them.
  template <class LetRest>
  void rest_unused(LetRest let_rest) {
    const std::size_t buckets = subscribers_.bucket_count();
    for (std::size_t left = buckets / kLooks + 1; left > 0; --left) {
      if (++bucket_ >= buckets) bucket_ = 0;
      for (auto entry = subscribers_.begin(bucket_); entry != subscribers_.end(bucket_); ++entry) {
        Subscriber& subscriber = entry->second;
        if (!std::exchange(subscriber.is_used_, false) && !subscriber.is_resting()) let_rest(subscriber);
      }
    }
  }

 private:
  static constexpr std::size_t kRoutesMax = 10'000;  // remembered
  static constexpr std::size_t kLooks = 60;          // until all webhooks were looked at

  struct Organization {
    std::vector<Subscriber*> webhooks;
    std::size_t deliverable = 0;  // of these
    // By the event's name, as far as they were sought.
    std::unordered_map<std::string, std::vector<Subscriber*>> routes;
  };
  using Organizations = std::unordered_map<std::optional<std::string>, Organization>;

  void count_deliverable(Organization& organization, bool was, bool is);
  void forget_routes(Organization& organization);
  void forget_all_routes();

  NodeShares nodes_;
  std::unordered_map<Uuid, Subscriber> subscribers_;
  Organizations organizations_;  // those with webhooks
  std::size_t deliverable_organizations_ = 0;
  std::size_t routes_ = 0;           // of all organizations
  std::size_t bucket_ = 0;           // that rest_unused() looked at last
  std::vector<Subscriber*> nobody_;  // stays empty
};

}  // namespace webhook
