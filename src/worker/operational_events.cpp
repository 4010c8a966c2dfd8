#include "worker/operational_events.h"

#include <string>

#include "core/wire.h"

namespace webhook {
namespace {

// {"configuration_id":"…","name":"…" — the members that all have; the caller adds its own and the closing brace.
std::string begin_data(const Webhook& webhook) {
  std::string data = R"({"configuration_id":)";
  append_json_string(data, to_string(webhook.id));
  data += R"(,"name":)";
  append_json_string(data, webhook.name);
  return data;
}

}  // namespace

bool is_operational(std::string_view event_name) { return event_name.starts_with("webhook."); }

OperationalEvent webhook_disabled(const Webhook& webhook, std::string_view reason) {
  std::string data = begin_data(webhook);
  data += R"(,"reason":)";
  append_json_string(data, reason);
  data += '}';
  return {"webhook.disabled", webhook.organization_id, std::move(data)};
}

OperationalEvent delivery_failed(const Webhook& webhook, const Outgoing& event, int attempts, std::string_view error) {
  std::string data = begin_data(webhook);
  data += R"(,"webhook_id":)";
  append_json_string(data, event.public_event_id);
  data += R"(,"event":)";
  append_json_string(data, event.event_name);
  data += R"(,"attempts":)" + std::to_string(attempts) + R"(,"error":)";
  append_json_string(data, error);
  data += '}';
  return {"webhook.delivery.failed", webhook.organization_id, std::move(data)};
}

OperationalEvent endpoint_failing(const Webhook& webhook, Time failing_since, Duration disable_after, int percent,
                                  std::string_view error) {
  std::string data = begin_data(webhook);
  data += R"(,"failing_since":)";
  append_json_string(data, format_timestamp(failing_since));
  data += R"(,"percent":)" + std::to_string(percent) + R"(,"switched_off_at":)";
  append_json_string(data, format_timestamp(failing_since + disable_after));
  data += R"(,"error":)";
  append_json_string(data, error);
  data += '}';
  return {"webhook.endpoint.failing", webhook.organization_id, std::move(data)};
}

int failing_percent(Duration failing_for, Duration disable_after) {
  for (const int percent : {90, 50}) {
    if (failing_for >= disable_after / 100 * percent) return percent;
  }
  return 0;
}

OperationalEvent webhook_recovered(const Webhook& webhook, Time failing_since) {
  std::string data = begin_data(webhook);
  data += R"(,"failing_since":)";
  append_json_string(data, format_timestamp(failing_since));
  data += '}';
  return {"webhook.recovered", webhook.organization_id, std::move(data)};
}

}  // namespace webhook
