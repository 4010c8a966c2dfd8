// Follows PostgreSQL's array_in() (src/backend/utils/adt/arrayfuncs.c). It accepts what array_out() writes for a list
// of names, and also blanks and escapes outside of quotes.
#include "core/array_literal.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace webhook {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool is_null(std::string_view text) {
  constexpr std::string_view kNull = "null";
  if (text.size() != kNull.size()) return false;
  for (std::size_t i = 0; i < kNull.size(); ++i) {
    if ((text[i] | 0x20) != kNull[i]) return false;
  }
  return true;
}

// Reads the text once. Each function moves the position past what it has read, or returns nothing.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::optional<std::vector<std::string>> array() {
    std::vector<std::string> elements;
    if (!take_char('{')) return std::nullopt;
    if (take_char('}')) return at_end() ? std::optional(elements) : std::nullopt;
    do {
      std::optional<std::string> element = take_char('"') ? quoted() : unquoted();
      if (!element) return std::nullopt;
      elements.push_back(std::move(*element));
    } while (take_char(','));
    if (!take_char('}') || !at_end()) return std::nullopt;
    return elements;
  }

 private:
  bool at_end() {
    skip_blanks();
    return position_ == text_.size();
  }

  void skip_blanks() {
    while (position_ < text_.size() && is_blank(text_[position_])) ++position_;
  }

  // Takes c if it is the next character that is not a blank. Skips the blanks before that character in either case.
  bool take_char(char c) {
    if (at_end() || text_[position_] != c) return false;
    ++position_;
    return true;
  }

  // Reads from after the opening quote to after the closing one.
  std::optional<std::string> quoted() {
    std::string element;
    while (position_ < text_.size()) {
      char c = text_[position_++];
      if (c == '"') return element;
      if (c == '\\') {
        if (position_ == text_.size()) break;
        c = text_[position_++];
      }
      element += c;
    }
    return std::nullopt;
  }

  // Reads from the first character, which is not a blank, to the comma or brace that follows. Trailing blanks are not
  // part of the element unless escaped.
  std::optional<std::string> unquoted() {
    std::string element;
    std::size_t kept = 0;
    bool has_escape = false;
    while (position_ < text_.size()) {
      char c = text_[position_];
      if (c == ',' || c == '}') {
        element.resize(kept);
        if (element.empty() || (!has_escape && is_null(element))) return std::nullopt;
        return element;
      }
      if (c == '"' || c == '{') return std::nullopt;
      ++position_;
      const bool is_escape = c == '\\';
      if (is_escape) {
        if (position_ == text_.size()) return std::nullopt;
        c = text_[position_++];
        has_escape = true;
      }
      element += c;
      if (is_escape || !is_blank(c)) kept = element.size();
    }
    return std::nullopt;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

bool needs_quotes(std::string_view element) {
  return element.empty() || is_null(element) || std::ranges::any_of(element, [](char c) {
           return is_blank(c) || std::string_view("{}\",\\").find(c) != std::string_view::npos;
         });
}

void append_quoted(std::string& text, std::string_view element) {
  text += '"';
  for (const char c : element) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  text += '"';
}

}  // namespace

std::optional<std::vector<std::string>> parse_array_literal(std::string_view text) { return Parser(text).array(); }

std::string format_array_literal(const std::vector<std::string>& elements) {
  std::string text = "{";
  for (const std::string& element : elements) {
    if (text.size() > 1) text += ',';
    if (needs_quotes(element)) {
      append_quoted(text, element);
    } else {
      text += element;
    }
  }
  return text += '}';
}

}  // namespace webhook
