#include "core/retry.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/comma_list.h"

namespace webhook {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// One digit or more and nothing else; a number above max becomes max + 1.
std::optional<std::int64_t> parse_digits(std::string_view text, std::int64_t max) {
  if (text.empty()) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    number = std::min(number * 10 + (c - '0'), max + 1);
  }
  return number;
}

std::optional<Duration> unit_named(std::string_view name) {
  using namespace std::chrono_literals;
  if (name == "ms") return 1ms;
  if (name == "s") return 1s;
  if (name == "min") return 1min;
  if (name == "h") return 1h;
  if (name == "d") return std::chrono::days(1);
  return std::nullopt;
}

// A number of two or four digits at a place of the date; nothing for anything but digits.
std::optional<unsigned> digits_at(std::string_view text, std::size_t begin, std::size_t count) {
  const std::optional<std::int64_t> number = parse_digits(text.substr(begin, count), 9999);
  return number ? std::optional(static_cast<unsigned>(*number)) : std::nullopt;
}

template <std::size_t N>
std::optional<unsigned> index_of(const std::array<std::string_view, N>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<unsigned>(found - names.begin());
}

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7). Which weekday it names makes no difference.
std::optional<Time> parse_imf_fixdate(std::string_view text) {
  static constexpr std::array<std::string_view, 7> kWeekdays = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
  static constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  constexpr std::string_view kShape = "www, dd mmm yyyy hh:mm:ss GMT";
  if (text.size() != kShape.size()) return std::nullopt;
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const bool is_field = kShape[i] >= 'a' && kShape[i] <= 'z';
    if (!is_field && text[i] != kShape[i]) return std::nullopt;
  }
  const auto weekday = index_of(kWeekdays, text.substr(0, 3));
  const auto day = digits_at(text, 5, 2);
  const auto month = index_of(kMonths, text.substr(8, 3));
  const auto year = digits_at(text, 12, 4);
  const auto hour = digits_at(text, 17, 2);
  const auto minute = digits_at(text, 20, 2);
  const auto second = digits_at(text, 23, 2);
  if (!weekday || !day || !month || !year || !hour || !minute || !second) return std::nullopt;

  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(*year)), std::chrono::month(*month + 1),
                                         std::chrono::day(*day));
  constexpr unsigned kLeapSecond = 60;
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > kLeapSecond) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
         std::chrono::seconds(*second);
}

}  // namespace

std::optional<Time> next_retry_at(Time now, int attempt, const RetrySchedule& schedule, double random) {
  if (attempt < 1 || static_cast<std::size_t>(attempt) > schedule.size()) return std::nullopt;
  const Duration wait = std::clamp(schedule[static_cast<std::size_t>(attempt) - 1], Duration::zero(), kRetryWaitMax);
  const double factor = 0.8 + 0.4 * random;
  return now + std::chrono::round<Duration>(std::chrono::duration<double, Duration::period>(wait) * factor);
}

std::optional<Duration> parse_duration(std::string_view text) {
  const auto digits_end = std::find_if_not(text.begin(), text.end(), is_digit);
  const auto digit_count = static_cast<std::size_t>(digits_end - text.begin());
  const std::size_t unit_begin = std::min(text.find_first_not_of(' ', digit_count), text.size());
  const std::optional<Duration> unit = unit_named(text.substr(unit_begin));
  if (!unit) return std::nullopt;
  const std::int64_t units_max = kRetryWaitMax / *unit;
  const std::optional<std::int64_t> units = parse_digits(text.substr(0, digit_count), units_max);
  if (!units || *units > units_max) return std::nullopt;
  return *units * *unit;
}

std::optional<RetrySchedule> parse_retry_schedule(std::string_view list, std::string* bad_item) {
  return parse_comma_list<Duration>(list, parse_duration, bad_item);
}

std::optional<Duration> parse_retry_after(std::string_view value, Time now) {
  value = trim_blanks(value);
  constexpr std::int64_t kSecondsMax = std::chrono::duration_cast<std::chrono::seconds>(kRetryWaitMax).count();
  if (const auto seconds = parse_digits(value, kSecondsMax)) {
    return std::chrono::seconds(std::min(*seconds, kSecondsMax));
  }
  const std::optional<Time> date = parse_imf_fixdate(value);
  if (!date) return std::nullopt;
  return std::clamp(*date - now, Duration::zero(), kRetryWaitMax);
}

}  // namespace webhook
