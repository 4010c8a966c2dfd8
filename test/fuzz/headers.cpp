// Which custom headers a webhook may have: none that breaks out of its line or stands in for one of ours.
#include "core/header_rules.h"

#include <string>

#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return out;
}

bool is_ours_or_the_connections(const std::string& name) {
  for (const std::string_view prefix : {"webhook-", "x-webhook-", "proxy-"}) {
    if (name.starts_with(prefix)) return true;
  }
  for (const std::string_view whole : {"content-type", "content-length", "transfer-encoding", "host", "connection",
                                       "upgrade", "te", "trailer", "expect", "user-agent"}) {
    if (name == whole) return true;
  }
  return false;
}

void check_accepted(std::string_view name, std::string_view value) {
  require(!is_ours_or_the_connections(lower(name)), "an accepted header is none of ours and none of the connection's");
  // Read back as a receiver does.
  const std::string line = std::string(name) + ": " + std::string(value) + "\r\n";
  require(line.find_first_of(std::string_view("\r\n\0", 3)) == line.size() - 2, "an accepted header is one line");
  require(line.substr(0, line.find(':')) == name, "the name ends at the first colon");
  const std::size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
  const std::size_t end = line.find_last_not_of(" \t\r\n");
  require(line.substr(begin, end + 1 - begin) == value, "no blank around the value gets lost");
}

void check(std::string_view name, std::string_view value) {
  const auto problem = header_problem(name, value);
  require(problem.has_value() == header_problem(lower(name), value).has_value(), "the name's case makes no difference");
  if (!problem) {
    check_accepted(name, value);
  } else {
    require(fuzz::is_printable_ascii(*problem), "a problem is told in plain words");
    require(value.size() < 120 || problem->find(value) == std::string::npos, "a problem does not repeat the value");
  }
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [name, value] = webhook::fuzz::two_texts(webhook::fuzz::text_of(data, size));
  webhook::check(name, value);
  return 0;
}
