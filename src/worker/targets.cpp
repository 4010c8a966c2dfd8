#include "worker/targets.h"

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

SigningKeys& Target::keys() {
  if (keys_.empty() && !webhook.secrets.empty()) keys_ = keys_of(webhook);
  return keys_;
}

Targets::Change Targets::put(Webhook webhook, std::uint64_t round) {
  const auto [entry, is_new] = targets_.try_emplace(webhook.id);
  Target& target = entry->second;
  Organization& organization = organizations_[organization_key(webhook.organization_id)];
  Change change{.is_new = is_new};
  if (is_new) {
    target.endpoint.webhook = webhook.id;
    target.endpoint.webhook_created_at = webhook.created_at;
    target.place_ = organization.webhooks.size();
    organization.webhooks.push_back(&target);
    forget_routes(organization);
  } else {
    const Webhook& known = target.webhook;
    change.ordering = known.limits.ordering != webhook.limits.ordering;
    change.url = known.url != webhook.url;
    change.became_deliverable = !known.is_deliverable() && webhook.is_deliverable();
    if (change.url) target.endpoint.failing_since.reset();
    if (known.events != webhook.events) forget_routes(organization);
    change.filter = known.filter != webhook.filter;
    if (change.filter) {
      target.filter_rests_until = {};
      target.filter_overruns = 0;
      target.endpoint.filter_failed_at.reset();
      target.endpoint.filter_error.clear();
    }
    if (known.secrets != webhook.secrets) target.keys_.clear();
  }
  // The state from before somebody switched the webhook on again no longer counts.
  std::optional<Time>& failing_since = target.endpoint.failing_since;
  if (webhook.is_active && failing_since && *failing_since < webhook.active_since) failing_since.reset();
  target.round_ = round;
  target.webhook = std::move(webhook);
  return change;
}

// The last of its organization takes its place.
void Targets::remove(const Uuid& id) {
  const auto found = targets_.find(id);
  if (found == targets_.end()) return;
  const auto organization = organizations_.find(organization_key(found->second.webhook.organization_id));
  std::vector<Target*>& webhooks = organization->second.webhooks;
  const std::size_t place = found->second.place_;
  webhooks[place] = webhooks.back();
  webhooks[place]->place_ = place;
  webhooks.pop_back();
  forget_routes(organization->second);
  if (webhooks.empty()) organizations_.erase(organization);
  targets_.erase(found);
}

std::vector<Uuid> Targets::not_seen_since(std::uint64_t round) const {
  std::vector<Uuid> ids;
  for (const auto& [id, target] : targets_) {
    if (target.round_ < round) ids.push_back(id);
  }
  return ids;
}

Target* Targets::find(const Uuid& id) {
  const auto found = targets_.find(id);
  return found == targets_.end() ? nullptr : &found->second;
}

Target* Targets::find(const Delivery& delivery) {
  Target* const target = find(delivery.webhook);
  if (target == nullptr || target->webhook.created_at != delivery.webhook_created_at ||
      target->webhook.organization_id != delivery.event->organization_id) {
    return nullptr;
  }
  return target;
}

void Targets::forget_routes(Organization& organization) {
  routes_ -= organization.routes.size();
  organization.routes.clear();
}

void Targets::forget_all_routes() {
  for (auto& [key, organization] : organizations_) organization.routes.clear();
  routes_ = 0;
}

const std::vector<Target*>& Targets::routes(const Event& event) {
  sought_.clear();
  if (event.organization_id) sought_.append(1, '=').append(*event.organization_id);
  const auto found = organizations_.find(sought_);
  if (found == organizations_.end()) return nobody_;
  Organization& organization = found->second;
  if (const auto known = organization.routes.find(event.name); known != organization.routes.end()) return known->second;

  std::vector<Target*> receivers;
  for (Target* const candidate : organization.webhooks) {
    const std::vector<std::string>& patterns = candidate->webhook.events;
    const bool subscribed = std::any_of(patterns.begin(), patterns.end(), [&event](const std::string& pattern) {
      return event_matches(pattern, event.name);
    });
    if (subscribed) receivers.push_back(candidate);
  }
  if (routes_ >= kRoutesMax) forget_all_routes();
  ++routes_;
  return organization.routes.emplace(event.name, std::move(receivers)).first->second;
}

}  // namespace webhook
