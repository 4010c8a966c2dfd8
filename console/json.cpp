#include "console/json.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <set>

#include "core/utf8.h"

namespace webhook::console {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Goes over a text from left to right. Each function that returns a bool says no at what is no JSON, and at() is then
// where it is.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool value(JsonValue& value, int depth_max) {
    skip_space();
    const std::size_t begin = at_;
    if (!any(value.kind, depth_max)) return false;
    value.text = text_.substr(begin, at_ - begin);
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool string() {
    if (!take('"')) return fail("a string is missing");
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (static_cast<unsigned char>(c) < ' ') return fail("a control character stands in a string");
      if (c == '\\') {
        if (!escape()) return false;
      } else {
        ++at_;
      }
    }
    return fail("a string has no end");
  }

  bool is_at_end() const { return at_ == text_.size(); }
  std::size_t at() const { return at_; }
  const char* what() const { return what_; }
  bool fail(const char* what) {
    what_ = what;
    return false;
  }

 private:
  bool any(JsonKind& kind, int depth_max) {
    if (is_at_end()) return fail("a value is missing");
    switch (text_[at_]) {
      case '{':
        kind = JsonKind::object;
        return object(depth_max);
      case '[':
        kind = JsonKind::array;
        return array(depth_max);
      case '"':
        kind = JsonKind::string;
        return string();
      case 't':
        kind = JsonKind::boolean;
        return word("true");
      case 'f':
        kind = JsonKind::boolean;
        return word("false");
      case 'n':
        kind = JsonKind::null;
        return word("null");
      default:
        kind = JsonKind::number;
        return number();
    }
  }

  bool word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return fail("a value is missing");
    at_ += word.size();
    return true;
  }

  bool digits() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    return at_ > begin || fail("a digit is missing");
  }

  bool number() {
    const bool is_negative = take('-');
    if (!is_negative && !is_digit(text_[at_])) return fail("a value is missing");
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }

  bool object(int depth_max) {
    if (depth_max <= 0) return fail("it is nested too deeply");
    ++at_;
    skip_space();
    if (take('}')) return true;
    do {
      skip_space();
      if (!string()) return false;
      skip_space();
      if (!take(':')) return fail("a colon is missing");
      JsonValue ignored;
      if (!value(ignored, depth_max - 1)) return false;
      skip_space();
    } while (take(','));
    return take('}') || fail("a comma or the end of an object is missing");
  }

  bool array(int depth_max) {
    if (depth_max <= 0) return fail("it is nested too deeply");
    ++at_;
    skip_space();
    if (take(']')) return true;
    do {
      JsonValue ignored;
      if (!value(ignored, depth_max - 1)) return false;
      skip_space();
    } while (take(','));
    return take(']') || fail("a comma or the end of an array is missing");
  }

  bool escape() {
    ++at_;
    if (is_at_end()) return fail("a string has no end");
    const char c = text_[at_++];
    if (c != 'u')
      return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos || fail("an escape is unknown");
    unsigned unit = 0;
    if (!hex(unit)) return false;
    if (unit == 0) return fail("\\u0000 cannot be stored");
    if (unit < 0xd800 || unit > 0xdfff) return true;
    unsigned low = 0;
    if (unit > 0xdbff || !take('\\') || !take('u') || !hex(low) || low < 0xdc00 || low > 0xdfff)
      return fail("a surrogate stands alone");
    return true;
  }

  bool hex(unsigned& unit) {
    if (text_.size() - at_ < 4) return fail("an escape is incomplete");
    for (int i = 0; i < 4; ++i) {
      const int digit = hex_digit(text_[at_++]);
      if (digit < 0) return fail("an escape is incomplete");
      unit = unit * 16 + static_cast<unsigned>(digit);
    }
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  const char* what_ = "";
};

void append_utf8(std::string& out, unsigned code) {
  const auto add = [&](unsigned byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xc0 | code >> 6);
    add(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    add(0xe0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3f));
    add(0x80 | (code & 0x3f));
  } else {
    add(0xf0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3f));
    add(0x80 | (code >> 6 & 0x3f));
    add(0x80 | (code & 0x3f));
  }
}

// The four hex digits at the beginning of a text that has been checked.
unsigned hex_unit(std::string_view text) {
  unsigned unit = 0;
  for (const char c : text.substr(0, 4)) unit = unit * 16 + static_cast<unsigned>(hex_digit(c));
  return unit;
}

}  // namespace

std::optional<JsonValue> parse_json(std::string_view text, JsonProblem& problem) {
  if (!is_valid_utf8(text)) {
    problem = {"it is not UTF-8", 0};
    return {};
  }
  Scanner scanner(text);
  JsonValue value;
  bool is_json = scanner.value(value, kJsonDepthMax);
  if (is_json) {
    scanner.skip_space();
    is_json = scanner.is_at_end() || scanner.fail("something follows the value");
  }
  if (is_json) return value;
  problem = {scanner.what(), scanner.at()};
  return {};
}

std::optional<std::vector<JsonMember>> members(const JsonValue& object) {
  std::vector<JsonMember> result;
  std::set<std::string_view> names;
  Scanner scanner(object.text);
  scanner.take('{');
  scanner.skip_space();
  if (scanner.take('}')) return result;
  do {
    scanner.skip_space();
    const std::size_t begin = scanner.at();
    scanner.string();
    std::string name = string_of({JsonKind::string, object.text.substr(begin, scanner.at() - begin)});
    scanner.skip_space();
    scanner.take(':');
    JsonValue value;
    scanner.value(value, kJsonDepthMax);
    result.push_back({std::move(name), value});
    scanner.skip_space();
  } while (scanner.take(','));
  for (const JsonMember& member : result) {
    if (!names.insert(member.name).second) return {};
  }
  return result;
}

std::vector<JsonValue> elements(const JsonValue& array) {
  std::vector<JsonValue> result;
  Scanner scanner(array.text);
  scanner.take('[');
  scanner.skip_space();
  if (scanner.take(']')) return result;
  do {
    JsonValue value;
    scanner.value(value, kJsonDepthMax);
    result.push_back(value);
    scanner.skip_space();
  } while (scanner.take(','));
  return result;
}

std::string string_of(const JsonValue& string) {
  std::string result;
  const std::string_view text = string.text.substr(1, string.text.size() - 2);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      result += text[i];
      continue;
    }
    const char c = text[++i];
    if (c != 'u') {
      constexpr std::string_view kNames = "bfnrt";
      constexpr std::string_view kMeanings = "\b\f\n\r\t";
      const std::size_t which = kNames.find(c);
      result += which == std::string_view::npos ? c : kMeanings[which];
      continue;
    }
    unsigned code = hex_unit(text.substr(i + 1));
    i += 4;
    if (code >= 0xd800 && code <= 0xdbff) {
      code = 0x10000 + ((code - 0xd800) << 10) + (hex_unit(text.substr(i + 3)) - 0xdc00);
      i += 6;
    }
    append_utf8(result, code);
  }
  return result;
}

std::optional<std::int64_t> integer_of(const JsonValue& number) {
  std::int64_t result = 0;
  const char* end = number.text.data() + number.text.size();
  const auto [stopped, error] = std::from_chars(number.text.data(), end, result);
  if (error != std::errc() || stopped != end) return {};
  return result;
}

const JsonValue* find_member(const std::vector<JsonMember>& members, std::string_view name) {
  const auto found = std::find_if(members.begin(), members.end(), [&](const JsonMember& m) { return m.name == name; });
  return found == members.end() ? nullptr : &found->value;
}

std::string json_quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : to_valid_utf8(text)) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < ' ') {
      char escaped[7];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      result += escaped;
    } else {
      result += c;
    }
  }
  return result += '"';
}

}  // namespace webhook::console
