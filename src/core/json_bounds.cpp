#include "core/json_bounds.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace webhook {
namespace {

constexpr std::string_view kNumberCharacters = "+-.0123456789Ee_";
constexpr std::string_view kSpaces = " \t\n\r\v\f";

bool is_one_of(char c, std::string_view characters) { return characters.find(c) != std::string_view::npos; }

// Whether a number, in JSON or in text that PostgreSQL reads as one, has more digits than a filter may compute with.
bool is_long_number(std::string_view number) {
  if (number.size() > kJsonNumberBytesMax) return true;
  const std::size_t e = number.find_first_of("Ee");
  if (e == std::string_view::npos) return false;
  std::string_view exponent = number.substr(e + 1);
  if (!exponent.empty() && is_one_of(exponent.front(), "+-")) exponent.remove_prefix(1);
  int value = 0;
  const auto [end, error] = std::from_chars(exponent.data(), exponent.data() + exponent.size(), value);
  // More digits may follow an underscore: 1_000.
  return error == std::errc::result_out_of_range || value > kJsonExponentMax ||
         (end != exponent.data() + exponent.size() && *end == '_');
}

// Removes one character or escape from a string's content. Returns the character if it can be part of a number, or is a
// space. Otherwise returns '\0'.
char take_number_character(std::string_view* content) {
  char c = content->front();
  std::size_t length = 1;
  if (c == '\\' && content->size() > 1) {
    const char escaped = (*content)[1];
    length = 2;
    c = is_one_of(escaped, "tnrf") ? ' ' : '\0';
    if (escaped == 'u' && content->size() >= 6) {
      unsigned code = 0;
      length = 6;
      std::from_chars(content->data() + 2, content->data() + 6, code, 16);
      c = code < 0x80 ? static_cast<char>(code) : '\0';
    }
  }
  content->remove_prefix(length);
  return is_one_of(c, kNumberCharacters) || is_one_of(c, kSpaces) ? c : '\0';
}

// A method such as .number() converts a string to a number. A text that begins with 0x or the like is in another base.
bool is_long_number_text(std::string_view content) {
  char number[kJsonNumberBytesMax + 1];
  std::size_t length = 0;
  for (std::string_view rest = content; !rest.empty();) {
    const std::string_view before = rest;
    const char c = take_number_character(&rest);
    if (c == '\0') {
      const bool has_base =
          length > 0 && number[length - 1] == '0' && length <= 2 && is_one_of(before.front(), "xXoObB\\");
      return has_base && content.size() > kJsonNumberBytesMax;
    }
    if (is_one_of(c, kSpaces)) continue;
    if (length < sizeof(number)) number[length++] = c;
  }
  return is_long_number({number, length});
}

// The position after the closing quote of the string that starts at begin.
std::size_t end_of_string(std::string_view json, std::size_t begin) {
  for (std::size_t i = begin + 1; i < json.size(); ++i) {
    if (json[i] == '\\') {
      ++i;
    } else if (json[i] == '"') {
      return i + 1;
    }
  }
  return json.size();
}

}  // namespace

JsonBounds json_bounds(std::string_view json) {
  JsonBounds bounds;
  const auto beyond = [&bounds](const char* problem) {
    bounds.problem = problem;
    return bounds;
  };
  if (json.size() > kJsonBytesMax) return beyond("it has more than 256 kB");
  std::vector<std::size_t> members;  // how many, for each enclosing object or array
  std::size_t members_squared = 0;
  std::size_t values = 1;
  for (std::size_t i = 0; i < json.size();) {
    std::size_t end = i + 1;
    switch (json[i]) {
      case '"':
        end = end_of_string(json, i);
        bounds.has_long_number_text |= is_long_number_text(json.substr(i + 1, std::max(end, i + 2) - i - 2));
        break;
      case '{':
      case '[':
        members.push_back(0);
        if (members.size() > kJsonDepthMax) return beyond("it is nested more than 1000 levels deep");
        break;
      case '}':
      case ']':
        if (!members.empty()) members.pop_back();
        break;
      case ':':
        if (!members.empty()) members_squared += 2 * members.back()++ + 1;
        if (members_squared > kJsonMembersSquaredMax) return beyond("its objects have too many keys");
        break;
      case ',':
        if (++values > kJsonValuesMax) return beyond("it has more than 10000 values");
        break;
      default:
        if (!is_one_of(json[i], "+-.0123456789")) break;
        end = std::min(json.find_first_not_of(kNumberCharacters, i), json.size());
        if (is_long_number(json.substr(i, end - i))) {
          return beyond("it has a number of more than 100 digits, or an exponent above 308");
        }
    }
    i = end;
  }
  return bounds;
}

}  // namespace webhook
