// The webhook.* settings, from postgresql.conf and SET. docs/operations.md describes each.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "core/byte_budget.h"
#include "core/shares.h"
#include "core/time.h"
#include "http/http_client.h"

namespace webhook::pg {

constexpr int kWorkersMax = 16;

enum class CaptureMode : int { kOff, kSubscribed, kAll };

// Registers the settings. Only for _PG_init. May raise an error.
void define_settings();

// The values in force in this process. These are plain reads: except where noted, they neither allocate nor raise an
// error.
bool delivery_enabled();                // webhook.enabled
CaptureMode capture_mode();             // webhook.capture
std::size_t payload_bytes_max();        // webhook.max_payload
const char* organization_claim();       // webhook.organization_claim
const char* organization_id_setting();  // webhook.organization_id; empty if unset
bool allow_http();                      // webhook.allow_http
int workers();                          // webhook.workers, at most kWorkersMax
PortList allowed_ports();               // webhook.allowed_ports; allocates
const char* secret_key_file();          // webhook.secret_key_file; empty if unset
int webhooks_per_organization_max();    // webhook.max_webhooks_per_organization
int owed_per_organization_max();        // webhook.max_owed_per_organization
// How much an organization may write to webhook_events or webhook_logs within their retention:
// webhook.organization_share. nullopt: unlimited.
std::optional<ShareLimit> event_share();
std::optional<ShareLimit> log_share();

// The settings that the worker reads at its start and on SIGHUP.
struct WorkerSettings {
  bool enabled = true;
  int max_in_flight = 256;  // capped by what the process can open
  std::vector<Duration> retry_schedule;
  Duration max_age{};
  Duration disable_after{std::chrono::days(5)};
  Duration shutdown_timeout = std::chrono::seconds(5);
  Duration event_retention{};
  Duration log_retention{};
  std::size_t memory_bytes_max = ByteBudget::kDefault;
  std::size_t event_bytes_max = 0;
  std::size_t log_bytes_max = 0;
  std::size_t owed_max = 1'000'000;       // rows in webhook_deliveries, per organization
  std::size_t saved_bytes_max = 1 << 30;  // saved events, per organization
  HttpSettings http;
};
WorkerSettings worker_settings();

}  // namespace webhook::pg
