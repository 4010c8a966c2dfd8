#include "core/response_headers.h"

#include <algorithm>
#include <array>

#include "core/utf8.h"

namespace webhook {
namespace {

constexpr std::string_view kMask = "***";
constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// Parts of names, in lower case.
constexpr std::array<std::string_view, 8> kCredentials = {
    "cookie", "authorization", "authentication-info", "signature", "token", "secret", "api-key", "apikey"};

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool is_confidential(const std::string& lower_name, const std::vector<std::string>& own_headers) {
  if (std::ranges::any_of(kCredentials,
                          [&](std::string_view part) { return lower_name.find(part) != std::string::npos; }))
    return true;
  return std::ranges::any_of(own_headers, [&](const std::string& header) {
    return to_lower(std::string_view(header).substr(0, header.find_first_of(":;"))) == lower_name;
  });
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

std::string shown_value(std::string_view name, std::string_view value, const std::vector<std::string>& own_headers) {
  const std::string lower_name = to_lower(trimmed(name));
  if (is_confidential(lower_name, own_headers)) return std::string(kMask);
  const std::size_t query = lower_name.ends_with("location") ? value.find('?') : std::string_view::npos;
  if (query == std::string_view::npos) return std::string(value);
  return std::string(value.substr(0, query + 1)).append(kMask);
}

// A carriage return would let a value look like the next field.
std::string without_controls(const std::string& text) {
  std::string clean;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) {
      clean.append(kReplacement);
    } else {
      clean.push_back(c);
    }
  }
  return clean;
}

}  // namespace

std::string storable_headers(std::string_view fields, const std::vector<std::string>& own_headers) {
  std::string lines;
  while (!fields.empty() && lines.size() <= kStoredHeaderBytesMax) {
    const std::string_view field = fields.substr(0, fields.find('\n'));
    fields.remove_prefix(std::min(field.size() + 1, fields.size()));
    const std::size_t colon = field.find(':');
    const std::string_view name = trimmed(field.substr(0, colon));
    if (colon == std::string_view::npos || name.empty()) continue;
    const std::string value = shown_value(name, trimmed(field.substr(colon + 1)), own_headers);
    if (!lines.empty()) lines.push_back('\n');
    lines.append(without_controls(to_valid_utf8(std::string(name) + ": " + value)));
  }
  return std::string(utf8_prefix(lines, kStoredHeaderBytesMax));
}

}  // namespace webhook
