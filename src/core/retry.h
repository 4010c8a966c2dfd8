// When a failed delivery is tried again, and how durations are written where an administrator or an endpoint gives
// them. Pure: time and chance are the caller's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace webhook {

// The wait after the first failed attempt, after the second, and so on. After the last one's failure: no more.
using RetrySchedule = std::vector<Duration>;

// No wait is longer than this, whatever a schedule or an endpoint says.
inline constexpr Duration kRetryWaitMax = std::chrono::days(3650);

// When to try again after attempt number `attempt` (from 1) failed: now, plus the schedule's wait, times a factor from
// 0.8 to 1.2 that `random`, from [0,1), picks. Nothing when the schedule is used up. A negative wait counts as none.
std::optional<Time> next_retry_at(Time now, int attempt, const RetrySchedule& schedule, double random);

// "5s", "30 s", "5min", "2h", "1d", "500ms": a whole number and a unit as in postgresql.conf. Nothing for any other
// text, or above kRetryWaitMax.
std::optional<Duration> parse_duration(std::string_view text);

// Durations with commas between them; a list of blanks has no items. On failure returns nothing and names the item in
// bad_item, unless that is null.
std::optional<RetrySchedule> parse_retry_schedule(std::string_view list, std::string* bad_item);

// The wait that a Retry-After header asks for (RFC 9110, section 10.2.3), at most kRetryWaitMax: seconds, or a date in
// the preferred format (IMF-fixdate), of which one that has passed is a wait of zero. Nothing for any other value.
std::optional<Duration> parse_retry_after(std::string_view value, Time now);

}  // namespace webhook
