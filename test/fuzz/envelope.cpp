// What is sent: whatever is in the event, the body is JSON with the members that docs/wire-format.md names, and no more.
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "core/utf8.h"
#include "core/wire.h"
#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

// Reads RFC 8259 and nothing else. Each function returns false, or leaves the position behind what it has read.
class Json {
 public:
  explicit Json(std::string_view text) : text_(text) {}

  bool is_value() { return value(0) && position_ == text_.size(); }

  // The names of the object's members, and their values as they stand. Nothing: it is no object.
  std::optional<std::vector<std::pair<std::string, std::string_view>>> members() {
    std::vector<std::pair<std::string, std::string_view>> found;
    if (!take("{")) return std::nullopt;
    do {
      std::string name;
      if (!string(&name) || !take(":")) return std::nullopt;
      const std::size_t begin = position_;
      if (!value(0)) return std::nullopt;
      found.emplace_back(std::move(name), text_.substr(begin, position_ - begin));
    } while (take(","));
    if (!take("}") || position_ != text_.size()) return std::nullopt;
    return found;
  }

  bool string(std::string* decoded) {
    if (!take("\"")) return false;
    while (position_ < text_.size()) {
      const char c = text_[position_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        if (decoded != nullptr) *decoded += c;
      } else if (!escape(decoded)) {
        return false;
      }
    }
    return false;
  }

 private:
  static constexpr int kDepthMax = 200;

  void skip_blanks() {
    while (position_ < text_.size() && std::strchr(" \t\r\n", text_[position_]) != nullptr &&
           text_[position_] != '\0') {
      ++position_;
    }
  }

  bool take(std::string_view token) {
    if (!text_.substr(position_).starts_with(token)) return false;
    position_ += token.size();
    return true;
  }

  bool value(int depth) {
    skip_blanks();
    bool is_one = depth < kDepthMax;
    if (is_one) {
      if (take("{")) {
        is_one = sequence("}", depth, true);
      } else if (take("[")) {
        is_one = sequence("]", depth, false);
      } else if (text_.substr(position_).starts_with('"')) {
        is_one = string(nullptr);
      } else if (!take("true") && !take("false") && !take("null")) {
        is_one = number();
      }
    }
    skip_blanks();
    return is_one;
  }

  bool sequence(std::string_view end, int depth, bool is_object) {
    skip_blanks();
    if (take(end)) return true;
    do {
      skip_blanks();
      if (is_object) {
        if (!string(nullptr)) return false;
        skip_blanks();
        if (!take(":")) return false;
      }
      if (!value(depth + 1)) return false;
    } while (take(","));
    return take(end);
  }

  bool digits() {
    const std::size_t begin = position_;
    while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') ++position_;
    return position_ > begin;
  }

  bool number() {
    take("-");
    if (!take("0") && !digits()) return false;
    if (take(".") && !digits()) return false;
    if (take("e") || take("E")) {
      if (!take("+")) take("-");
      return digits();
    }
    return true;
  }

  bool escape(std::string* decoded) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (position_ == text_.size()) return false;
    const char c = text_[position_++];
    if (c == 'u') {
      const std::string hex(text_.substr(position_, 4));
      if (hex.size() != 4 || hex.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) return false;
      position_ += 4;
      // Ours escapes no more than controls; what a value holds is only checked.
      if (decoded != nullptr) *decoded += static_cast<char>(std::stoi(hex, nullptr, 16));
      return true;
    }
    const std::size_t which = kNames.find(c);
    if (which == std::string_view::npos) return false;
    if (decoded != nullptr) *decoded += kMeanings[which];
    return true;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

void check_string(std::string_view text) {
  std::string literal;
  append_json_string(literal, text);
  std::string decoded;
  Json json(literal);
  require(json.string(&decoded) && decoded == text, "a string can be written and read again");
  require(Json(literal).is_value(), "a string is JSON, and nothing behind it");
  require(text.find('\0') != std::string_view::npos || is_valid_utf8(literal) == is_valid_utf8(text),
          "the escapes break no character in two");
}

void check_body(const Event& event) {
  const std::string body = build_body(event);
  const auto members = Json(body).members();
  require(members.has_value(), "a body is one JSON object");
  require(members->size() == (event.previous.empty() ? 3 : 4), "it has no other members");
  require(members->at(0).first == "event" && members->at(1).first == "timestamp" && members->at(2).first == "data",
          "its members have their names");
  require(members->at(2).second == event.data, "the row goes in as it is");
  require(
      event.previous.empty() || members->at(3) == std::pair(std::string("previous"), std::string_view(event.previous)),
      "so does the earlier one");
  std::string name;
  require(Json(members->at(0).second).string(&name) && name == event.name, "the event's name is told as it is");
  constexpr std::string_view kShape = "\"0000-00-00T00:00:00.000000Z\"";
  const std::string_view timestamp = members->at(1).second;
  require(timestamp.size() == kShape.size(), "a timestamp has its length");
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const bool is_digit = timestamp[i] >= '0' && timestamp[i] <= '9';
    require(kShape[i] == '0' ? is_digit : timestamp[i] == kShape[i], "a timestamp has its shape");
  }
}

void check(std::string_view name, std::string_view data) {
  check_string(name);
  check_string(data);
  Event event;
  event.name = name;
  std::int64_t microseconds = 0;
  if (!name.empty()) std::memcpy(&microseconds, name.data(), std::min(name.size(), sizeof microseconds));
  event.created_at = Time(Duration(microseconds));
  append_json_string(event.data, data);
  check_body(event);
  event.previous = event.data;
  if (Json(data).is_value()) event.data = data;
  check_body(event);
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [name, row] = webhook::fuzz::two_texts(webhook::fuzz::text_of(data, size));
  webhook::check(name, row);
  return 0;
}
