#include "worker/subscribers.h"

#include <algorithm>
#include <utility>

#include "core/event_pattern.h"

namespace webhook {
namespace {

// No organization and the organization '' are two things.
std::string organization_key(const std::optional<std::string>& organization_id) {
  return organization_id ? '=' + *organization_id : std::string();
}

SigningKeys keys_of(const Webhook& webhook) {
  SigningKeys keys;
  keys.reserve(webhook.secrets.size());
  for (const std::string& secret : webhook.secrets) keys.emplace_back(secret);
  return keys;
}

}  // namespace

std::string described(const Webhook& webhook) {
  return "webhook \"" + webhook.name + "\" (" + to_string(webhook.id) + ")";
}

SigningKeys& Subscriber::keys() {
  if (keys_.empty() && !webhook.secrets.empty()) keys_ = keys_of(webhook);
  return keys_;
}

Subscribers::Change Subscribers::put(Webhook webhook, std::uint64_t round) {
  const auto [entry, is_new] = subscribers_.try_emplace(webhook.id);
  Subscriber& subscriber = entry->second;
  Organization& organization = organizations_[organization_key(webhook.organization_id)];
  Change change{.is_new = is_new};
  if (is_new) {
    subscriber.endpoint.webhook = webhook.id;
    subscriber.endpoint.webhook_created_at = webhook.created_at;
    subscriber.place_ = organization.webhooks.size();
    organization.webhooks.push_back(&subscriber);
    forget_routes(organization);
  } else {
    const Webhook& known = subscriber.webhook;
    change.ordering = known.limits.ordering != webhook.limits.ordering;
    change.url = known.url != webhook.url;
    change.became_deliverable = !known.is_deliverable() && webhook.is_deliverable();
    if (change.url) subscriber.endpoint.failing_since.reset();
    if (known.events != webhook.events) forget_routes(organization);
    change.filter = known.filter != webhook.filter;
    if (change.filter) {
      subscriber.filter_rests_until = {};
      subscriber.filter_overruns = 0;
      subscriber.endpoint.filter_failed_at.reset();
      subscriber.endpoint.filter_error.clear();
    }
    if (known.secrets != webhook.secrets) subscriber.keys_.clear();
  }
  // The state from before somebody switched the webhook on again no longer counts.
  std::optional<Time>& failing_since = subscriber.endpoint.failing_since;
  if (webhook.is_active && failing_since && *failing_since < webhook.active_since) failing_since.reset();
  subscriber.round_ = round;
  subscriber.webhook = std::move(webhook);
  return change;
}

// The last of its organization takes its place.
void Subscribers::remove(const Uuid& id) {
  const auto found = subscribers_.find(id);
  if (found == subscribers_.end()) return;
  const auto organization = organizations_.find(organization_key(found->second.webhook.organization_id));
  std::vector<Subscriber*>& webhooks = organization->second.webhooks;
  const std::size_t place = found->second.place_;
  webhooks[place] = webhooks.back();
  webhooks[place]->place_ = place;
  webhooks.pop_back();
  forget_routes(organization->second);
  if (webhooks.empty()) organizations_.erase(organization);
  subscribers_.erase(found);
}

std::vector<Uuid> Subscribers::not_seen_since(std::uint64_t round) const {
  std::vector<Uuid> ids;
  for (const auto& [id, subscriber] : subscribers_) {
    if (subscriber.round_ < round) ids.push_back(id);
  }
  return ids;
}

Subscriber* Subscribers::find(const Uuid& id) {
  const auto found = subscribers_.find(id);
  return found == subscribers_.end() ? nullptr : &found->second;
}

Subscriber* Subscribers::find(const Delivery& delivery) {
  Subscriber* const subscriber = find(delivery.webhook);
  if (subscriber == nullptr || subscriber->webhook.created_at != delivery.webhook_created_at ||
      subscriber->webhook.organization_id != delivery.event->organization_id) {
    return nullptr;
  }
  return subscriber;
}

void Subscribers::forget_routes(Organization& organization) {
  routes_ -= organization.routes.size();
  organization.routes.clear();
}

void Subscribers::forget_all_routes() {
  for (auto& [key, organization] : organizations_) organization.routes.clear();
  routes_ = 0;
}

const std::vector<Subscriber*>& Subscribers::routes(const Event& event) {
  sought_.clear();
  if (event.organization_id) sought_.append(1, '=').append(*event.organization_id);
  const auto found = organizations_.find(sought_);
  if (found == organizations_.end()) return nobody_;
  Organization& organization = found->second;
  if (const auto known = organization.routes.find(event.name); known != organization.routes.end()) return known->second;

  std::vector<Subscriber*> subscribers;
  for (Subscriber* const candidate : organization.webhooks) {
    const std::vector<std::string>& patterns = candidate->webhook.events;
    const bool subscribed = std::any_of(patterns.begin(), patterns.end(), [&event](const std::string& pattern) {
      return event_matches(pattern, event.name);
    });
    if (subscribed) subscribers.push_back(candidate);
  }
  if (routes_ >= kRoutesMax) forget_all_routes();
  ++routes_;
  return organization.routes.emplace(event.name, std::move(subscribers)).first->second;
}

}  // namespace webhook
