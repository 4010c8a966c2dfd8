#include "core/version.h"

#include <array>
#include <charconv>
#include <compare>

namespace webhook {
namespace {

using Series = std::array<int, 2>;

Series series_of(std::string_view version) noexcept {
  Series series{};
  for (int& number : series) {
    std::from_chars(version.data(), version.data() + version.size(), number);
    const std::size_t point = version.find('.');
    if (point == std::string_view::npos) break;
    version.remove_prefix(point + 1);
  }
  return series;
}

}  // namespace

const char* library_version() noexcept { return WEBHOOK_VERSION; }

SqlVersion compare_sql_version(std::string_view sql, std::string_view library) noexcept {
  const auto order = series_of(sql) <=> series_of(library);
  if (std::is_eq(order)) return SqlVersion::kSameSeries;
  return std::is_lt(order) ? SqlVersion::kOlder : SqlVersion::kNewer;
}

}  // namespace webhook
