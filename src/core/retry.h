// When a failed delivery is tried again, and how to parse durations from settings and from endpoints. Pure: the caller
// supplies the time and the random numbers.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace webhook {

// The wait after the first failed attempt, after the second, and so on. After the last wait there is one more attempt.
using RetrySchedule = std::vector<Duration>;

// The longest wait, whatever a schedule or an endpoint says.
inline constexpr Duration kRetryWaitMax = std::chrono::days(3650);

// When to try again after attempt number `attempt` (from 1) failed: now plus the schedule's wait times a factor from
// 0.8 to 1.2. `random`, from [0,1), picks the factor. Nothing if the schedule is used up. A negative wait counts as
// zero.
std::optional<Time> next_retry_at(Time now, int attempt, const RetrySchedule& schedule, double random);

// "5s", "30 s", "5min", "2h", "1d", "500ms": a whole number and a unit as in postgresql.conf. Nothing for any other
// text, or for a duration above kRetryWaitMax.
std::optional<Duration> parse_duration(std::string_view text);

// Parses comma-separated durations. A blank list has no items. On failure returns nothing and sets *bad_item to the
// invalid item, unless bad_item is null.
std::optional<RetrySchedule> parse_retry_schedule(std::string_view list, std::string* bad_item);

// The wait that a Retry-After header asks for (RFC 9110, section 10.2.3), at most kRetryWaitMax. The value is a number
// of seconds, or a date in any of the three forms of section 5.6.7. A past date is a wait of zero. Nothing for any
// other value.
std::optional<Duration> parse_retry_after(std::string_view value, Time now);

}  // namespace webhook
