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

SigningKeys keys_of(const pg::Webhook& webhook) {
  SigningKeys keys;
  keys.reserve(webhook.secrets.size());
  for (const std::string& secret : webhook.secrets) keys.emplace_back(secret);
  return keys;
}

}  // namespace

void Targets::replace(std::vector<pg::Webhook> webhooks) {
  std::unordered_map<Uuid, Target> old = std::exchange(targets_, {});
  by_organization_.clear();
  routes_.clear();
  for (pg::Webhook& webhook : webhooks) {
    const Uuid id = webhook.id;
    if (webhook.is_active) by_organization_[organization_key(webhook.organization_id)].push_back(id);
    Target& target = targets_[id];
    target.keys = keys_of(webhook);
    target.webhook = std::move(webhook);
    if (const auto before = old.find(id); before != old.end()) {
      target.next_due = before->second.next_due;
      target.held = before->second.held;
    }
  }
}

Target* Targets::find(const Uuid& id) {
  const auto found = targets_.find(id);
  return found == targets_.end() ? nullptr : &found->second;
}

const std::vector<Uuid>& Targets::routes(const Event& event) {
  const std::string organization = organization_key(event.organization_id);
  std::string key = event.name + '\n' + organization;
  if (const auto known = routes_.find(key); known != routes_.end()) return known->second;

  std::vector<Uuid> ids;
  if (const auto candidates = by_organization_.find(organization); candidates != by_organization_.end()) {
    for (const Uuid& id : candidates->second) {
      const std::vector<std::string>& patterns = targets_.at(id).webhook.events;
      const bool subscribed = std::any_of(patterns.begin(), patterns.end(), [&event](const std::string& pattern) {
        return event_matches(pattern, event.name);
      });
      if (subscribed) ids.push_back(id);
    }
  }
  if (routes_.size() >= kRoutesMax) routes_.clear();
  return routes_.emplace(std::move(key), std::move(ids)).first->second;
}

}  // namespace webhook
