// What a stranger's Retry-After makes of the next attempt, and the durations of webhook.retry_schedule.
#include <string>

#include "core/retry.h"
#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;
using namespace std::chrono_literals;

bool is_within_bounds(Duration wait) { return wait >= Duration::zero() && wait <= kRetryWaitMax; }

void check_retry_after(std::string_view value) {
  const Time then = std::chrono::sys_days(std::chrono::year(1994) / 11 / 6);
  const Time now = std::chrono::sys_days(std::chrono::year(2026) / 1 / 1);
  const auto wait_then = parse_retry_after(value, then);
  const auto wait_now = parse_retry_after(value, now);
  require(wait_then.has_value() == wait_now.has_value(), "whether it can be read does not depend on the time");
  require(wait_now == parse_retry_after(" \t" + std::string(value) + " ", now), "blanks around it mean nothing");
  if (!wait_now) return;
  require(is_within_bounds(*wait_now) && is_within_bounds(*wait_then), "a wait is within its bounds");
  // Of which century a year of two digits is, the time tells (RFC 9110, section 5.6.7): a later one may read a later date.
  const bool has_short_year = value.find('-') != std::string_view::npos;
  require(has_short_year || *wait_now <= *wait_then, "the later it is, the shorter the wait for a date");
}

void check_schedule(std::string_view list) {
  std::string bad_item = "untouched";
  const auto schedule = parse_retry_schedule(list, &bad_item);
  if (!schedule) {
    require(list.find(bad_item) != std::string_view::npos, "the bad item is one of the list");
    require(!parse_duration(bad_item), "the bad item is no duration");
    return;
  }
  std::string written;
  for (const Duration wait : *schedule) {
    require(is_within_bounds(wait), "a wait of the schedule is within its bounds");
    written += (written.empty() ? "" : ",") + std::to_string(wait / 1ms) + "ms";
  }
  require(parse_retry_schedule(written, nullptr) == schedule, "a schedule can be written and read again");
  for (int attempt = -1; attempt < 20; ++attempt) {
    const auto at = next_retry_at(Time(), attempt, *schedule, 0.5);
    require(at.has_value() == (attempt >= 1 && static_cast<std::size_t>(attempt) <= schedule->size()),
            "there are as many retries as waits");
    require(!at || is_within_bounds(*at - Time()), "the next attempt is within the bounds");
  }
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  webhook::check_retry_after(webhook::fuzz::text_of(data, size));
  webhook::check_schedule(webhook::fuzz::text_of(data, size));
  return 0;
}
