// The webhook.* settings, from postgresql.conf and SET. docs/operations.md describes each.
#pragma once

#include <cstddef>
#include <optional>

#include "core/shares.h"
#include "http/http_client.h"
#include "worker/settings.h"

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
std::size_t worker_memory();            // webhook.worker_memory in bytes
const char* organization_claim();       // webhook.organization_claim
const char* organization_id_setting();  // webhook.organization_id; empty if unset
bool allow_http();                      // webhook.allow_http
int workers();                          // webhook.workers, at most kWorkersMax
int databases_max();                    // webhook.max_databases
PortList allowed_ports();               // webhook.allowed_ports; allocates
const char* secret_key_file();          // webhook.secret_key_file; empty if unset
int webhooks_per_organization_max();    // webhook.max_webhooks_per_organization
int deliveries_per_organization_max();  // webhook.max_deliveries_per_organization
// How much an organization may write to webhook_events or webhook_logs within their retention:
// webhook.organization_share. nullopt: unlimited.
std::optional<ShareLimit> event_share();
std::optional<ShareLimit> log_share();

// Those that the worker reads at its start and on SIGHUP.
WorkerSettings worker_settings();

}  // namespace webhook::pg
