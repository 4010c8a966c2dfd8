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

std::string described(const pg::Webhook& webhook) {
  return "webhook \"" + webhook.name + "\" (" + to_string(webhook.id) + ")";
}

std::vector<Targets::Changed> Targets::replace(std::vector<pg::Webhook> webhooks) {
  std::unordered_map<Uuid, Target> old = std::exchange(targets_, {});
  std::vector<Changed> all_changed;
  by_organization_.clear();
  routes_.clear();
  for (pg::Webhook& webhook : webhooks) {
    const Uuid id = webhook.id;
    Target& target = targets_[id];
    by_organization_[organization_key(webhook.organization_id)].push_back(&target);
    target.endpoint.webhook = id;
    if (const auto before = old.find(id); before != old.end()) {
      const pg::Webhook& known = before->second.webhook;
      const Changed changed{
          .webhook = id, .ordering = known.limits.ordering != webhook.limits.ordering, .url = known.url != webhook.url};
      if (changed.ordering || changed.url) all_changed.push_back(changed);
      target.endpoint = std::move(before->second.endpoint);
      if (changed.url) target.endpoint.failing_since.reset();
      target.has_failed_events = before->second.has_failed_events;
      if (known.filter == webhook.filter) {
        target.filter_rests_until = before->second.filter_rests_until;
        target.filter_overruns = before->second.filter_overruns;
      }
    }
    // What was before somebody switched it on again counts no more.
    std::optional<Time>& failing_since = target.endpoint.failing_since;
    if (webhook.is_active && failing_since && *failing_since < webhook.active_since) failing_since.reset();
    target.keys = keys_of(webhook);
    target.webhook = std::move(webhook);
  }
  return all_changed;
}

Target* Targets::find(const Uuid& id) {
  const auto found = targets_.find(id);
  return found == targets_.end() ? nullptr : &found->second;
}

const std::vector<Target*>& Targets::routes(const Event& event) {
  sought_.assign(event.name).append(1, '\n');
  if (event.organization_id) sought_.append(1, '=').append(*event.organization_id);
  if (const auto known = routes_.find(sought_); known != routes_.end()) return known->second;

  std::vector<Target*> receivers;
  if (const auto candidates = by_organization_.find(organization_key(event.organization_id));
      candidates != by_organization_.end()) {
    for (Target* const candidate : candidates->second) {
      const std::vector<std::string>& patterns = candidate->webhook.events;
      const bool subscribed = std::any_of(patterns.begin(), patterns.end(), [&event](const std::string& pattern) {
        return event_matches(pattern, event.name);
      });
      if (subscribed) receivers.push_back(candidate);
    }
  }
  if (routes_.size() >= kRoutesMax) routes_.clear();
  return routes_.emplace(sought_, std::move(receivers)).first->second;
}

}  // namespace webhook
