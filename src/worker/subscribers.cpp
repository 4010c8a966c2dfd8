#include "worker/subscribers.h"

#include <utility>

#include "worker/packed_webhook.h"

namespace webhook {
namespace {

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

// --- One webhook ------------------------------------------------------------------------------------------------------------

SigningKeys& Subscriber::keys() {
  Details& known = details();
  if (known.keys.empty() && !known.webhook.secrets.empty()) known.keys = keys_of(known.webhook);
  return known.keys;
}

const RequestUrl& Subscriber::url() {
  Details& known = details();
  if (!known.url) known.url.emplace(known.webhook.url);
  return *known.url;
}

Subscriber::Details& Subscriber::wake() const {
  auto details = std::make_unique<Details>();
  if (!packed_.empty()) unpack(packed_, &details->webhook, &details->endpoint);
  details->webhook.id = details->endpoint.webhook = id_;
  details->webhook.created_at = details->endpoint.webhook_created_at = created_at_;
  details->webhook.organization_id = *organization_id_;
  packed_ = {};
  details_ = std::move(details);
  return *details_;
}

bool Subscriber::may_rest(Time now) const {
  return is_resting() ||
         (!details_->endpoint.failing_since && details_->filter_overruns == 0 && details_->filter_rests_until <= now);
}

void Subscriber::rest() {
  if (is_resting()) return;
  packed_ = pack(details_->webhook, details_->endpoint);
  details_.reset();
  is_used_ = false;
}

bool Subscriber::subscribes_to(std::string_view event) const {
  return is_resting() ? packed_subscribes(packed_, event) : subscribes(details_->webhook, event);
}

// --- All of them ------------------------------------------------------------------------------------------------------------

Subscribers::Change Subscribers::put(Webhook webhook, std::uint64_t round) {
  const auto [entry, is_new] = subscribers_.try_emplace(webhook.id);
  Subscriber& subscriber = entry->second;
  const auto of = organizations_.try_emplace(webhook.organization_id).first;
  Organization& organization = of->second;
  Change change{.is_new = is_new};
  if (is_new) {
    subscriber.id_ = webhook.id;
    subscriber.created_at_ = webhook.created_at;
    subscriber.organization_id_ = &of->first;
    subscriber.place_ = organization.webhooks.size();
    organization.webhooks.push_back(&subscriber);
    forget_routes(organization);
  }
  Subscriber::Details& details = subscriber.is_resting() ? subscriber.wake() : *subscriber.details_;
  if (!is_new) {
    const Webhook& known = details.webhook;
    change.ordering = known.limits.ordering != webhook.limits.ordering;
    change.url = known.url != webhook.url;
    change.became_deliverable = !known.is_deliverable() && webhook.is_deliverable();
    change.switched_on = webhook.is_active && (!known.is_active || known.active_since != webhook.active_since);
    if (change.url) {
      details.endpoint.failing_since.reset();
      details.url.reset();
    }
    if (known.events != webhook.events) forget_routes(organization);
    change.filter = known.filter != webhook.filter;
    if (change.filter) {
      details.filter_rests_until = {};
      details.filter_overruns = 0;
      details.endpoint.filter_failed_at.reset();
      details.endpoint.filter_error.clear();
    }
    if (known.secrets != webhook.secrets) details.keys.clear();
  }
  // The state from before somebody switched the webhook on again no longer counts.
  std::optional<Time>& failing_since = details.endpoint.failing_since;
  if (webhook.is_active && failing_since && *failing_since < webhook.active_since) failing_since.reset();
  count_deliverable(organization, subscriber.is_deliverable_, webhook.is_deliverable());
  subscriber.is_deliverable_ = webhook.is_deliverable();
  subscriber.round_ = round;
  details.webhook = std::move(webhook);
  return change;
}

void Subscribers::count_deliverable(Organization& organization, bool was, bool is) {
  if (was == is) return;
  if (is) {
    if (organization.deliverable++ == 0) ++deliverable_organizations_;
  } else {
    if (--organization.deliverable == 0) --deliverable_organizations_;
  }
}

// The last of its organization takes its place.
void Subscribers::remove(const Uuid& id) {
  const auto found = subscribers_.find(id);
  if (found == subscribers_.end()) return;
  const auto organization = organizations_.find(*found->second.organization_id_);
  count_deliverable(organization->second, found->second.is_deliverable_, false);
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
  if (subscriber == nullptr || subscriber->created_at() != delivery.webhook_created_at ||
      subscriber->organization_id() != delivery.event->organization_id) {
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
  const auto found = organizations_.find(event.organization_id);
  if (found == organizations_.end()) return nobody_;
  Organization& organization = found->second;
  if (const auto known = organization.routes.find(event.name); known != organization.routes.end()) return known->second;

  std::vector<Subscriber*> subscribers;
  for (Subscriber* const candidate : organization.webhooks) {
    if (candidate->subscribes_to(event.name)) subscribers.push_back(candidate);
  }
  if (routes_ >= kRoutesMax) forget_all_routes();
  ++routes_;
  return organization.routes.emplace(event.name, std::move(subscribers)).first->second;
}

}  // namespace webhook
