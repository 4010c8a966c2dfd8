#include "core/event_pattern.h"

#include <algorithm>
#include <cstddef>

namespace webhook {
namespace {

constexpr std::size_t kNameCharsMax = 100;
constexpr std::string_view kEverything = "*";
constexpr std::string_view kAnyBelow = ".*";
constexpr std::string_view kOperational = "webhook.";

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

std::optional<std::string> size_problem(std::string_view text) {
  if (text.empty()) return "it is empty";
  if (text.size() > kNameCharsMax) return "it is longer than " + std::to_string(kNameCharsMax) + " characters";
  return std::nullopt;
}

std::optional<std::string> parts_problem(std::string_view name) {
  const auto bad = std::find_if_not(name.begin(), name.end(), is_name_char);
  if (bad != name.end()) {
    // All characters before it are ASCII, so its byte position is its character position.
    return "character " + std::to_string(bad - name.begin() + 1) +
           " is none of the lower-case letters a-z, digits, \"_\", \"-\" and \".\"";
  }
  if (name.front() == '.') return "it begins with a dot";
  if (name.back() == '.') return "it ends with a dot";
  if (name.find("..") != std::string_view::npos) return "it has two dots in a row";
  return std::nullopt;
}

}  // namespace

bool event_matches(std::string_view pattern, std::string_view event) {
  if (pattern == kEverything) return !event.starts_with(kOperational);
  if (pattern.ends_with(kAnyBelow)) return event.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == event;
}

std::optional<std::string> event_name_problem(std::string_view name) {
  if (std::optional<std::string> problem = size_problem(name)) return problem;
  return parts_problem(name);
}

std::optional<std::string> event_pattern_problem(std::string_view pattern) {
  if (std::optional<std::string> problem = size_problem(pattern)) return problem;
  if (pattern == kEverything) return std::nullopt;
  const std::string_view name =
      pattern.ends_with(kAnyBelow) ? pattern.substr(0, pattern.size() - kAnyBelow.size()) : pattern;
  if (name.find('*') != std::string_view::npos) return "\"*\" may stand only alone or after the last dot";
  if (name.empty()) return "it begins with a dot";
  return parts_problem(name);
}

}  // namespace webhook
