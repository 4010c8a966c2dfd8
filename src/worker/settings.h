// The settings of a worker. docs/operations.md describes each.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/byte_budget.h"
#include "core/time.h"
#include "http/http_client.h"

namespace webhook {

// The attempts whose responses have their bodies in webhook_logs.
enum class LoggedBodies : std::uint8_t { kAll, kFailures, kNone };

struct WorkerSettings {
  bool enabled = true;
  int max_in_flight = 256;  // capped by what the process can open
  std::vector<Duration> retry_schedule;
  Duration max_age{};
  Duration disable_after{std::chrono::days(5)};
  Duration shutdown_timeout = std::chrono::seconds(5);
  Duration idle_timeout{};  // zero: a worker with nothing to do stays
  Duration event_retention{};
  Duration log_retention{};
  LoggedBodies logged_bodies = LoggedBodies::kAll;
  std::size_t memory_bytes_max = ByteBudget::kDefault;
  std::size_t event_bytes_max = 0;
  std::size_t log_bytes_max = 0;
  std::size_t deliveries_max = 1'000'000;  // rows in webhook_deliveries, per organization
  std::size_t saved_bytes_max = 1 << 30;   // saved events, per organization
  HttpSettings http;
};

}  // namespace webhook
