#include "core/header_rules.h"

#include <algorithm>
#include <cstddef>

namespace webhook {
namespace {

constexpr std::size_t kNameBytesMax = 100;
constexpr std::size_t kValueBytesMax = 2000;

constexpr std::string_view kOurs = "is set by the delivery itself";
constexpr std::string_view kConnection = "belongs to the connection, not to the request (RFC 9110, section 7.6.1)";
constexpr std::string_view kFraming = "says where the request ends (RFC 9112, section 6)";

struct Reserved {
  std::string_view name;  // in lower case; a name that ends in "-" is a prefix
  std::string_view reason;
};

constexpr Reserved kReserved[] = {
    {"content-type", kOurs},
    {"user-agent", kOurs},
    {"webhook-", kOurs},
    {"x-webhook-", kOurs},
    {"host", "follows from the URL"},
    {"content-length", kFraming},
    {"transfer-encoding", kFraming},
    {"trailer", kFraming},
    {"content-encoding", "would misstate the body, which is sent as it is"},
    {"expect", "would delay the body"},
    {"connection", kConnection},
    {"keep-alive", kConnection},
    {"te", kConnection},
    {"upgrade", kConnection},
    {"http2-settings", kConnection},
    {"proxy-", kConnection},
};

bool is_token_char(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         kMarks.find(c) != std::string_view::npos;
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

bool is_value_char(char c) { return (c > ' ' && c <= '~') || is_blank(c); }

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::optional<std::string> name_problem(std::string_view name) {
  if (name.empty()) return "the header's name is empty";
  if (name.size() > kNameBytesMax) {
    return "the header's name is longer than " + std::to_string(kNameBytesMax) + " bytes";
  }
  if (!std::all_of(name.begin(), name.end(), is_token_char)) {
    return "the header's name has a character other than letters, digits and !#$%&'*+-.^_`|~";
  }
  const std::string lower = to_lower(name);
  for (const Reserved& reserved : kReserved) {
    const bool is_prefix = reserved.name.back() == '-';
    if (is_prefix ? !lower.starts_with(reserved.name) : lower != reserved.name) continue;
    return "the header " + std::string(name) + " " + std::string(reserved.reason);
  }
  return std::nullopt;
}

std::optional<std::string> value_problem(std::string_view name, std::string_view value) {
  const std::string subject = "the value of the header " + std::string(name);
  if (value.empty()) return subject + " is empty";
  if (value.size() > kValueBytesMax) return subject + " is longer than " + std::to_string(kValueBytesMax) + " bytes";
  if (value.find_first_of("\r\n") != std::string_view::npos) return subject + " has a line break";
  if (!std::all_of(value.begin(), value.end(), is_value_char)) {
    return subject + " has a character other than visible ASCII, space and tab";
  }
  if (is_blank(value.front()) || is_blank(value.back())) return subject + " begins or ends with a blank";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> header_problem(std::string_view name, std::string_view value) {
  if (std::optional<std::string> problem = name_problem(name)) return problem;
  return value_problem(name, value);
}

}  // namespace webhook
