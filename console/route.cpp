#include "console/route.h"

#include <algorithm>
#include <array>

namespace webhook::console {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

Route below_database(std::string_view rest, std::size_t database) {
  if (rest == "session") return {Route::Kind::session, database, {}};
  if (rest == "config") return {Route::Kind::config, database, {}};
  if (rest.starts_with("rpc/")) {
    rest.remove_prefix(4);
    return {rest.find('/') == std::string_view::npos ? Route::Kind::call : Route::Kind::none, database, rest};
  }
  return {Route::Kind::file, database, rest};
}

}  // namespace

bool is_plain_path(std::string_view path) {
  if (!path.starts_with('/')) return false;
  std::size_t segment = 1;
  for (std::size_t i = 1; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '/') {
      if (!is_name_character(path[i]) && path[i] != '.') return false;
      continue;
    }
    const std::string_view name = path.substr(segment, i - segment);
    if (name == "." || name == ".." || (name.empty() && i < path.size())) return false;
    segment = i + 1;
  }
  return true;
}

Route route(std::string_view target, std::string_view base_path, std::span<const std::string> databases) {
  const std::string_view path = target.substr(0, target.find('?'));
  if (!is_plain_path(path) || !path.starts_with(base_path)) return {};
  std::string_view rest = path.substr(base_path.size());
  if (rest.empty()) return {Route::Kind::redirect, 0, {}};
  if (rest.front() != '/') return {};
  rest.remove_prefix(1);
  const std::string_view first = rest.substr(0, rest.find('/'));
  const auto found = std::find(databases.begin(), databases.end(), first);
  if (first.empty() || found == databases.end()) return below_database(rest, 0);
  const auto database = static_cast<std::size_t>(found - databases.begin());
  if (first.size() == rest.size()) return {Route::Kind::redirect, database, {}};
  return below_database(rest.substr(first.size() + 1), database);
}

bool is_database_name(std::string_view name) {
  constexpr std::array<std::string_view, 5> kTaken{"rpc", "session", "config", "screens", "vendor"};
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), is_name_character) &&
         std::find(kTaken.begin(), kTaken.end(), name) == kTaken.end();
}

}  // namespace webhook::console
