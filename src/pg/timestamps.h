// PostgreSQL's timestamptz counts microseconds since 2000-01-01 UTC. Time counts them since 1970-01-01 UTC.
#pragma once

#include <chrono>
#include <cstdint>

#include "core/time.h"

namespace webhook::pg {

inline constexpr auto kPostgresEpoch = std::chrono::sys_days(std::chrono::year(2000) / 1 / 1);
inline constexpr Duration kPostgresEpochSince1970 = kPostgresEpoch - Time{};

constexpr std::int64_t to_timestamptz(Time time) { return Duration(time - kPostgresEpoch).count(); }
constexpr Time from_timestamptz(std::int64_t timestamp) { return kPostgresEpoch + Duration(timestamp); }

}  // namespace webhook::pg
