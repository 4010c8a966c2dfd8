// The names of events and the patterns that webhooks subscribe with.
#include "core/event_pattern.h"

#include <string>

#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

void check_name(std::string_view name) {
  const auto problem = event_name_problem(name);
  if (problem) {
    require(fuzz::is_printable_ascii(*problem), "a problem is told in plain words");
    return;
  }
  require(!name.empty() && name.size() <= 100, "a name is within its bounds");
  require(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-.") == std::string_view::npos,
          "a name has the characters of one");
  require(!event_pattern_problem(name) && event_matches(name, name), "a name is a pattern of itself");
  require(event_matches("*", name) == !name.starts_with("webhook."), "\"*\" matches all but our own");
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return;
  const std::string pattern = std::string(name.substr(0, dot)) + ".*";
  require(!event_pattern_problem(pattern) && event_matches(pattern, name), "what it begins with, and .*, matches it");
  require(!event_matches(pattern, name.substr(0, dot)), "but not what stands before the dot alone");
}

void check_match(std::string_view pattern, std::string_view name) {
  if (event_pattern_problem(pattern) || event_name_problem(name) || !event_matches(pattern, name)) return;
  const bool is_prefix = pattern.ends_with(".*") && name.starts_with(pattern.substr(0, pattern.size() - 1));
  require(pattern == name || pattern == "*" || is_prefix, "a match is the name, its beginning or everything");
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [pattern, name] = webhook::fuzz::two_texts(webhook::fuzz::text_of(data, size));
  webhook::check_name(pattern);
  webhook::check_name(name);
  webhook::check_match(pattern, name);
  return 0;
}
