#include "core/retry.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/comma_list.h"

namespace webhook {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Accepts one or more digits and nothing else. A number above max becomes max + 1.
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

// The number in the count digits at begin. Nothing if they are not all digits.
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

constexpr std::array<std::string_view, 7> kWeekdays = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
constexpr std::array<std::string_view, 7> kLongWeekdays = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                                           "Friday", "Saturday", "Sunday"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Whether the text matches the shape: a lower-case letter matches any character, every other character only itself.
bool has_shape(std::string_view text, std::string_view shape) {
  if (text.size() != shape.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool is_field = shape[i] >= 'a' && shape[i] <= 'z';
    if (!is_field && text[i] != shape[i]) return false;
  }
  return true;
}

struct DateFields {
  std::optional<unsigned> year, month, day;  // month: 0 to 11
  std::optional<unsigned> hour, minute, second;
};

// Reads "hh:mm:ss" at begin.
void read_time_of_day(std::string_view text, std::size_t begin, DateFields* fields) {
  fields->hour = digits_at(text, begin, 2);
  fields->minute = digits_at(text, begin + 3, 2);
  fields->second = digits_at(text, begin + 6, 2);
}

std::optional<Time> time_of(const DateFields& fields) {
  const auto& [year, month, day, hour, minute, second] = fields;
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(*year)), std::chrono::month(*month + 1),
                                         std::chrono::day(*day));
  constexpr unsigned kLeapSecond = 60;
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > kLeapSecond) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
         std::chrono::seconds(*second);
}

// The three forms of RFC 9110, section 5.6.7. The weekday need not match the date.

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<Time> parse_imf_fixdate(std::string_view text) {
  if (!has_shape(text, "www, dd mmm yyyy hh:mm:ss GMT") || !index_of(kWeekdays, text.substr(0, 3))) return std::nullopt;
  DateFields fields{
      .year = digits_at(text, 12, 4), .month = index_of(kMonths, text.substr(8, 3)), .day = digits_at(text, 5, 2)};
  read_time_of_day(text, 17, &fields);
  return time_of(fields);
}

// "Sunday, 06-Nov-94 08:49:37 GMT". A date more than 50 years ahead is taken to be in the previous century.
std::optional<Time> parse_rfc850_date(std::string_view text, Time now) {
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos || !index_of(kLongWeekdays, text.substr(0, comma))) return std::nullopt;
  const std::string_view rest = text.substr(comma);
  if (!has_shape(rest, ", dd-mmm-yy hh:mm:ss GMT")) return std::nullopt;
  DateFields fields{.month = index_of(kMonths, rest.substr(5, 3)), .day = digits_at(rest, 2, 2)};
  read_time_of_day(rest, 12, &fields);
  const auto year_of_century = digits_at(rest, 9, 2);
  if (!year_of_century) return std::nullopt;
  const auto latest_year = static_cast<int>(
      std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(now + std::chrono::years(50))).year());
  const auto latest = static_cast<unsigned>(std::max(latest_year, 100));
  fields.year = latest - latest % 100 + *year_of_century;
  const std::optional<Time> time = time_of(fields);
  if (*fields.year <= latest && (!time || *time <= now + std::chrono::years(50))) return time;
  *fields.year -= 100;
  return time_of(fields);
}

// "Sun Nov  6 08:49:37 1994", as asctime() writes it.
std::optional<Time> parse_asctime_date(std::string_view text) {
  if (!has_shape(text, "www mmm dd hh:mm:ss yyyy") || !index_of(kWeekdays, text.substr(0, 3))) return std::nullopt;
  DateFields fields{.year = digits_at(text, 20, 4),
                    .month = index_of(kMonths, text.substr(4, 3)),
                    .day = text[8] == ' ' ? digits_at(text, 9, 1) : digits_at(text, 8, 2)};
  read_time_of_day(text, 11, &fields);
  return time_of(fields);
}

std::optional<Time> parse_http_date(std::string_view text, Time now) {
  if (const auto time = parse_imf_fixdate(text)) return time;
  if (const auto time = parse_rfc850_date(text, now)) return time;
  return parse_asctime_date(text);
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
  const std::optional<Time> date = parse_http_date(value, now);
  if (!date) return std::nullopt;
  return std::clamp(*date - now, Duration::zero(), kRetryWaitMax);
}

}  // namespace webhook
