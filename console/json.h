// A strict reader of JSON (RFC 8259) that keeps the text: a value is the bytes that stood there, so that numbers keep all
// their digits on the way to PostgreSQL. Nothing is copied before it is asked for.
//
// Surprising: \u0000 and lone surrogates are refused, because PostgreSQL's text can't hold them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace webhook::console {

inline constexpr int kJsonDepthMax = 64;

enum class JsonKind { null, boolean, number, string, array, object };

// A value within a text that parse_json() has accepted. The text must live as long.
struct JsonValue {
  JsonKind kind = JsonKind::null;
  std::string_view text;
};

struct JsonMember {
  std::string name;
  JsonValue value;
};

struct JsonProblem {
  const char* what = "";
  std::size_t offset = 0;  // in bytes
};

// The one value that the text is, white space around it aside. Or nothing, and what is wrong with the text.
std::optional<JsonValue> parse_json(std::string_view text, JsonProblem& problem);

// The members of an object, in their order. Nothing if a name stands there twice: readers differ in which they take.
std::optional<std::vector<JsonMember>> members(const JsonValue& object);
std::vector<JsonValue> elements(const JsonValue& array);
std::string string_of(const JsonValue& string);
// Nothing if the number has a fraction or an exponent, or does not fit.
std::optional<std::int64_t> integer_of(const JsonValue& number);

const JsonValue* find_member(const std::vector<JsonMember>& members, std::string_view name);

// A text as JSON, with its quotes. What is no UTF-8 becomes U+FFFD.
std::string json_quoted(std::string_view text);

}  // namespace webhook::console
