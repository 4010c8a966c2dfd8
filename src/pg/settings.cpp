#include "pg/settings.h"

extern "C" {
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
}

#include <chrono>
#include <climits>
#include <exception>
#include <optional>
#include <string>

#include "core/address_policy.h"
#include "core/byte_budget.h"
#include "core/port_list.h"
#include "core/retry.h"
#include "core/ring.h"
#include "core/version.h"
#include "pg/guard.h"

namespace webhook::pg {
namespace {

constexpr int kSecondsPerDay = 24 * 60 * 60;
constexpr int kMegabytesPerGigabyte = 1024;
constexpr int kWorkerMemoryDefaultMb = static_cast<int>(ByteBudget::kDefault >> 20);
constexpr const char* kRetryScheduleDefault = "5s, 30s, 5min, 30min, 2h, 5h, 10h, 10h";

// The variables that PostgreSQL sets. define_settings() has the defaults.
bool enabled;
int capture = static_cast<int>(CaptureMode::kSubscribed);  // PostgreSQL asserts that an enum has its default here
char* claim;
char* organization;
int organization_webhooks_max;
int organization_deliveries_max;
int organization_saved_max_mb;
int organization_share_percent;
char* key_file;
int in_flight_max;
int worker_memory_mb;
int worker_count;
int shutdown_timeout_ms;
int idle_timeout_ms;
int database_max;
char* retry_schedule;
int age_max_s;
int disable_after_s;
int payload_max_bytes;
int event_retention_s;
int log_retention_s;
int event_size_max_mb;
int log_size_max_mb;
int logged_bodies = static_cast<int>(LoggedBodies::kAll);  // likewise
bool plain_http;
char* allowed_networks;
char* ports;
char* ca_file;
char* proxy;

const config_enum_entry kCaptureModes[] = {
    {"subscribed", static_cast<int>(CaptureMode::kSubscribed), false},
    {"all", static_cast<int>(CaptureMode::kAll), false},
    {"off", static_cast<int>(CaptureMode::kOff), false},
    {nullptr, 0, false},
};

const config_enum_entry kLoggedBodies[] = {
    {"all", static_cast<int>(LoggedBodies::kAll), false},
    {"failures", static_cast<int>(LoggedBodies::kFailures), false},
    {"none", static_cast<int>(LoggedBodies::kNone), false},
    {nullptr, 0, false},
};

// Why a check hook refuses a value. Empty: the value is accepted.
struct Refusal {
  char detail[300] = "";
  const char* hint = nullptr;
};

// Runs a check written in C++. An exception refuses the value.
template <class Check>
bool run_check(Check check) {
  Refusal refusal;
  try {
    check(refusal);
  } catch (const std::exception& error) {
    snprintf(refusal.detail, sizeof refusal.detail, "%s", error.what());
  }
  if (refusal.detail[0] == '\0') return true;
  GUC_check_errdetail("%s", refusal.detail);
  if (refusal.hint != nullptr) GUC_check_errhint("%s", refusal.hint);
  return false;
}

bool check_retry_schedule(char** value, void** /*extra*/, GucSource /*source*/) noexcept {
  return run_check([value](Refusal& refusal) {
    std::string bad_item;
    if (parse_retry_schedule(*value, &bad_item)) return;
    snprintf(refusal.detail, sizeof refusal.detail, "\"%s\" is not a duration.", bad_item.c_str());
    refusal.hint = "Give durations with commas between them, such as \"5s, 30s, 5min, 2h\".";
  });
}

bool check_allowed_networks(char** value, void** /*extra*/, GucSource /*source*/) noexcept {
  return run_check([value](Refusal& refusal) {
    std::string bad_item;
    if (parse_networks(*value, &bad_item)) return;
    snprintf(refusal.detail, sizeof refusal.detail, "\"%s\" is neither a network nor an address.", bad_item.c_str());
    refusal.hint = "Give networks with commas between them, such as \"10.0.0.0/8, fd00::/8\".";
  });
}

bool check_allowed_ports(char** value, void** /*extra*/, GucSource /*source*/) noexcept {
  return run_check([value](Refusal& refusal) {
    std::string bad_item;
    const auto list = parse_ports(*value, &bad_item);
    if (list && !list->empty()) return;
    if (list) {
      snprintf(refusal.detail, sizeof refusal.detail, "The list is empty.");
    } else {
      snprintf(refusal.detail, sizeof refusal.detail, "\"%s\" is neither a port nor a range of ports.",
               bad_item.c_str());
    }
    refusal.hint = "Give ports from 1 to 65535 with commas between them, such as \"443, 8000-8999\".";
  });
}

void define_delivery_settings() {
  DefineCustomBoolVariable("webhook.enabled", "Whether webhooks are delivered.",
                           "While it is off, events are captured and wait.", &enabled, true, PGC_SIGHUP, 0, nullptr,
                           nullptr, nullptr);
  DefineCustomIntVariable(
      "webhook.max_in_flight", "How many requests a worker has open at once.",
      "A quarter of them, at least 16, may be younger than a second: the rest is for slow endpoints.", &in_flight_max,
      256, 1, 1000, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.worker_memory", "How much memory a worker uses for deliveries.",
                          "What does not fit waits in the database. Its code and its connections come on top.",
                          &worker_memory_mb, kWorkerMemoryDefaultMb, 8, 64 * kMegabytesPerGigabyte, PGC_SIGHUP,
                          GUC_UNIT_MB, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.workers", "How many workers deliver for each database.",
                          "Each takes a slot of max_worker_processes and owns a part of the webhooks.", &worker_count,
                          1, 1, kWorkersMax, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.shutdown_timeout", "How long a worker that stops waits for what is in flight.",
                          "What has not come back by then is sent again by the next one.", &shutdown_timeout_ms, 5000,
                          0, 600'000, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.idle_timeout", "How long a worker with nothing to do stays.",
                          "The next commit with events, or the next retry, starts it again. 0: it stays for good. If "
                          "background worker slots are wanted, it leaves sooner.",
                          &idle_timeout_ms, 5 * 60 * 1000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr,
                          nullptr);
  // A session that loads the library could not define it for the postmaster, and does not use it.
  DefineCustomIntVariable("webhook.max_databases", "How many databases with the extension have workers.",
                          "Each takes 9 kB of shared memory.", &database_max, 1000, 1, 100'000,
                          process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP, 0, nullptr,
                          nullptr, nullptr);
  DefineCustomStringVariable("webhook.retry_schedule", "The waits between the attempts of a delivery.",
                             "A list such as \"5s, 30s, 5min\". A webhook may have its own.", &retry_schedule,
                             kRetryScheduleDefault, PGC_SIGHUP, GUC_LIST_INPUT, check_retry_schedule, nullptr, nullptr);
  DefineCustomIntVariable("webhook.max_age", "How long after its event a delivery is retried.", nullptr, &age_max_s,
                          3 * kSecondsPerDay, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
  DefineCustomIntVariable(
      "webhook.disable_after", "How long after its last success a webhook that keeps failing is switched off.", nullptr,
      &disable_after_s, 5 * kSecondsPerDay, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
}

void define_capture_settings() {
  DefineCustomEnumVariable("webhook.capture", "Which events are recorded.",
                           "\"subscribed\": those that a webhook asks for; \"all\"; \"off\": none.", &capture,
                           static_cast<int>(CaptureMode::kSubscribed), kCaptureModes, PGC_SUSET, 0, nullptr, nullptr,
                           nullptr);
  DefineCustomIntVariable("webhook.max_payload",
                          "The size of a row as JSON, with its previous values, above which it is not sent.",
                          "Such a change is recorded without its row, and its delivery fails.", &payload_max_bytes,
                          1024 * 1024, 1024, 64 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_BYTE, nullptr, nullptr, nullptr);
}

void define_tenancy_settings() {
  DefineCustomStringVariable("webhook.organization_claim",
                             "The claim of request.jwt.claims that names the organization.",
                             "A path such as \"app_metadata.organization_id\" is possible.", &claim, "organization_id",
                             PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("webhook.organization_id", "The organization of this session.",
                             "Empty: none. It yields to the claim.", &organization, "", PGC_USERSET, 0, nullptr,
                             nullptr, nullptr);
  DefineCustomIntVariable("webhook.max_webhooks_per_organization", "How many webhooks an organization may have.",
                          "Operators may create more.", &organization_webhooks_max, 1000, 0, INT_MAX, PGC_SIGHUP, 0,
                          nullptr, nullptr, nullptr);
  DefineCustomStringVariable(
      "webhook.secret_key_file", "File of the keys that the secrets of webhooks are encrypted by.",
      "Empty: they are stored in clear text.", &key_file, "", PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
}

void define_retention_settings() {
  DefineCustomIntVariable("webhook.event_retention", "How long events are kept.", nullptr, &event_retention_s,
                          7 * kSecondsPerDay, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.log_retention", "How long the delivery log is kept.", nullptr, &log_retention_s,
                          30 * kSecondsPerDay, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.max_event_size", "The size of webhook_events above which old events go early.",
                          "It holds per database.", &event_size_max_mb, 10 * kMegabytesPerGigabyte, 1, INT_MAX,
                          PGC_SIGHUP, GUC_UNIT_MB, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.max_log_size", "The size of webhook_logs above which old rows go early.",
                          "It holds per database.", &log_size_max_mb, 10 * kMegabytesPerGigabyte, 1, INT_MAX,
                          PGC_SIGHUP, GUC_UNIT_MB, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("webhook.log_response_body", "Which responses have their bodies in webhook_logs.",
                           "\"all\"; \"failures\": those of attempts that failed; \"none\".", &logged_bodies,
                           static_cast<int>(LoggedBodies::kAll), kLoggedBodies, PGC_SIGHUP, 0, nullptr, nullptr,
                           nullptr);
}

void define_share_settings() {
  DefineCustomIntVariable("webhook.max_deliveries_per_organization",
                          "How many pending and dead deliveries an organization may have.",
                          "What is more is given up, of the webhooks that have the most.", &organization_deliveries_max,
                          1'000'000, 1, INT_MAX - 1, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.max_saved_size",
                          "How much an organization's events may take that are kept only because deliveries need them.",
                          "The oldest of them, and the deliveries that need them, are given up beyond it.",
                          &organization_saved_max_mb, kMegabytesPerGigabyte, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB,
                          nullptr, nullptr, nullptr);
  DefineCustomIntVariable("webhook.organization_share",
                          "How much of webhook_events and of webhook_logs an organization may fill, in percent.",
                          "What it writes beyond that is kept apart, for a shorter time. 100: there are no shares.",
                          &organization_share_percent, 25, 1, 100, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
}

void define_network_settings() {
  DefineCustomBoolVariable("webhook.allow_http", "Whether a webhook's URL may be plain http://.", "For development.",
                           &plain_http, false, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("webhook.allowed_networks", "Networks that webhooks may reach though they are not public.",
                             "A list such as \"10.0.0.0/8, fd00::/8\".", &allowed_networks, "", PGC_SIGHUP,
                             GUC_LIST_INPUT, check_allowed_networks, nullptr, nullptr);
  DefineCustomStringVariable("webhook.allowed_ports", "Ports that webhooks may be sent to.",
                             "A list such as \"443, 8000-8999\".", &ports, kAllowedPortsDefault, PGC_SIGHUP,
                             GUC_LIST_INPUT, check_allowed_ports, nullptr, nullptr);
  DefineCustomStringVariable("webhook.ca_file", "File of the certificate authorities that endpoints are verified by.",
                             "Empty: the system's.", &ca_file, "", PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("webhook.proxy", "URL of the proxy that requests go through.", "Empty: none.", &proxy, "",
                             PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
}

std::size_t bytes_of_megabytes(int megabytes) { return static_cast<std::size_t>(megabytes) * 1024 * 1024; }

std::optional<ShareLimit> share_of(int size_max_mb, int retention_s) {
  if (organization_share_percent == 100) return std::nullopt;
  const auto percent = static_cast<std::uint64_t>(organization_share_percent);
  return ShareLimit{.bytes = shared_bytes(bytes_of_megabytes(size_max_mb)) / 100 * percent,
                    .drains_in = std::chrono::seconds(retention_s)};
}

HttpSettings http_settings() {
  HttpSettings http;
  // All lists have passed their check hooks.
  if (auto networks = parse_networks(allowed_networks, nullptr))
    http.address_policy = AddressPolicy(std::move(*networks));
  http.allowed_ports = allowed_ports();
  http.allow_http = plain_http;
  http.ca_file = ca_file;
  http.proxy = proxy;
  http.user_agent = std::string("webhook/") + library_version() + " (PostgreSQL " PG_MAJORVERSION ")";
  return http;
}

}  // namespace

void define_settings() {
  guarded([] {
    define_delivery_settings();
    define_capture_settings();
    define_tenancy_settings();
    define_retention_settings();
    define_share_settings();
    define_network_settings();
    MarkGUCPrefixReserved("webhook");
  });
}

bool delivery_enabled() { return enabled; }
CaptureMode capture_mode() { return static_cast<CaptureMode>(capture); }
std::size_t payload_bytes_max() { return static_cast<std::size_t>(payload_max_bytes); }
std::size_t worker_memory() { return bytes_of_megabytes(worker_memory_mb); }
const char* organization_claim() { return claim; }
const char* organization_id_setting() { return organization; }
bool allow_http() { return plain_http; }
int workers() { return worker_count; }
int databases_max() { return database_max; }
PortList allowed_ports() { return parse_ports(ports, nullptr).value_or(PortList()); }
const char* secret_key_file() { return key_file; }
int webhooks_per_organization_max() { return organization_webhooks_max; }
int deliveries_per_organization_max() { return organization_deliveries_max; }
std::optional<ShareLimit> event_share() { return share_of(event_size_max_mb, event_retention_s); }
std::optional<ShareLimit> log_share() { return share_of(log_size_max_mb, log_retention_s); }

WorkerSettings worker_settings() {
  WorkerSettings settings;
  settings.enabled = enabled;
  settings.max_in_flight = in_flight_max;
  if (auto schedule = parse_retry_schedule(retry_schedule, nullptr)) settings.retry_schedule = std::move(*schedule);
  settings.max_age = std::chrono::seconds(age_max_s);
  settings.disable_after = std::chrono::seconds(disable_after_s);
  settings.shutdown_timeout = std::chrono::milliseconds(shutdown_timeout_ms);
  settings.idle_timeout = std::chrono::milliseconds(idle_timeout_ms);
  settings.event_retention = std::chrono::seconds(event_retention_s);
  settings.log_retention = std::chrono::seconds(log_retention_s);
  settings.logged_bodies = static_cast<LoggedBodies>(logged_bodies);
  settings.memory_bytes_max = worker_memory();
  settings.event_bytes_max = bytes_of_megabytes(event_size_max_mb);
  settings.log_bytes_max = bytes_of_megabytes(log_size_max_mb);
  settings.deliveries_max = static_cast<std::size_t>(organization_deliveries_max);
  settings.saved_bytes_max = bytes_of_megabytes(organization_saved_max_mb);
  settings.http = http_settings();
  return settings;
}

}  // namespace webhook::pg
