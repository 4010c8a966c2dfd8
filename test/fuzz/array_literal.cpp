// The text form of an array, as the worker reads lists of events and headers.
#include "core/array_literal.h"

#include <string>

#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

// As array_out() writes it, with every element in quotes.
std::string written(const std::vector<std::string>& elements) {
  std::string text = "{";
  for (const std::string& element : elements) {
    text += text.size() == 1 ? "\"" : ",\"";
    for (const char c : element) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text + "}";
}

void check_text(std::string_view text) {
  const auto elements = parse_array_literal(text);
  if (!elements) return;
  require(text.find('{') != std::string_view::npos, "an array has braces");
  require(parse_array_literal(written(*elements)) == elements, "an array can be written and read again");
  require(parse_array_literal(" " + std::string(text) + "\n") == elements, "blanks around it mean nothing");
}

// Any list of texts survives.
void check_list(std::string_view input) {
  std::vector<std::string> elements;
  for (std::size_t begin = 0; begin < input.size();) {
    const std::size_t end = std::min(input.find('\n', begin), input.size());
    elements.emplace_back(input.substr(begin, end - begin));
    begin = end + 1;
  }
  require(parse_array_literal(written(elements)) == elements, "any list can be written and read again");
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  webhook::check_text(webhook::fuzz::text_of(data, size));
  webhook::check_list(webhook::fuzz::text_of(data, size));
  return 0;
}
