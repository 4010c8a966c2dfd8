#include "console/call.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "console/json.h"

namespace webhook::console {
namespace {

using Argument = std::optional<std::string>;

const char* expected(ArgumentType type) {
  switch (type) {
    case ArgumentType::text:
      return "a string";
    case ArgumentType::id:
      return "an id: a string or an integer";
    case ArgumentType::number:
      return "a number";
    case ArgumentType::boolean:
      return "true or false";
    case ArgumentType::json:
      return "a JSON value";
    case ArgumentType::texts:
      return "an array of strings";
    case ArgumentType::ids:
      return "an array of ids: strings or integers";
  }
  return "";
}

// Integers of any length: PostgreSQL says which do not fit.
bool is_integer(const JsonValue& value) {
  return value.kind == JsonKind::number && value.text.find_first_of(".eE") == std::string_view::npos;
}

bool is_id(const JsonValue& value) { return value.kind == JsonKind::string || is_integer(value); }

std::string text_of(const JsonValue& value) {
  return value.kind == JsonKind::string ? string_of(value) : std::string(value.text);
}

// An array literal of PostgreSQL's, each element in quotes.
std::optional<std::string> array_of(const JsonValue& value, bool (*is_element)(const JsonValue&)) {
  if (value.kind != JsonKind::array) return {};
  std::string literal = "{";
  for (const JsonValue& element : elements(value)) {
    if (!is_element(element)) return {};
    literal += literal.size() == 1 ? "\"" : ",\"";
    for (const char c : text_of(element)) {
      if (c == '"' || c == '\\') literal += '\\';
      literal += c;
    }
    literal += '"';
  }
  return literal += '}';
}

// Nothing if the value is not of the type.
std::optional<std::string> converted(const JsonValue& value, ArgumentType type) {
  const auto if_it_is = [&](bool is_right) { return is_right ? std::optional(text_of(value)) : std::nullopt; };
  switch (type) {
    case ArgumentType::text:
      return if_it_is(value.kind == JsonKind::string);
    case ArgumentType::id:
      return if_it_is(is_id(value));
    case ArgumentType::number:
      return if_it_is(value.kind == JsonKind::number);
    case ArgumentType::boolean:
      return if_it_is(value.kind == JsonKind::boolean);
    case ArgumentType::json:
      return std::string(value.text);
    case ArgumentType::texts:
      return array_of(value, [](const JsonValue& element) { return element.kind == JsonKind::string; });
    case ArgumentType::ids:
      return array_of(value, is_id);
  }
  return {};
}

std::string listed(const Function& function) {
  std::string names;
  for (const Parameter& parameter : function.parameters) {
    if (!names.empty()) names += ", ";
    names += parameter.name;
  }
  return names;
}

ApiError invalid(std::string_view field, std::string message, std::optional<std::string> hint = {}) {
  ApiError error{.status = 400, .code = "22023", .message = std::move(message), .hint = std::move(hint)};
  if (!field.empty()) error.details = "{\"field\": " + json_quoted(field) + "}";
  return error;
}

ApiError unknown_argument(const Function& function, std::string_view name) {
  constexpr std::size_t kShownMax = 64;
  const std::string shown(name.substr(0, kShownMax));
  const std::string names = listed(function);
  return invalid("", "function " + std::string(function.name) + " has no argument \"" + shown + "\"",
                 names.empty() ? "It takes no arguments." : "Its arguments are: " + names + ".");
}

std::variant<std::vector<JsonMember>, ApiError> arguments_of(std::string_view body) {
  if (body.empty()) return std::vector<JsonMember>();
  JsonProblem problem;
  const std::optional<JsonValue> value = parse_json(body, problem);
  if (!value) {
    return ApiError{.status = 400,
                    .code = "22P02",
                    .message = "the body of the request is not JSON",
                    .details = std::string(problem.what) + ", at byte " + std::to_string(problem.offset + 1)};
  }
  if (value->kind != JsonKind::object) return invalid("", "the body of the request is not a JSON object of arguments");
  auto arguments = members(*value);
  if (!arguments) return invalid("", "the body of the request names an argument twice");
  return std::move(*arguments);
}

void append_argument(Call& call, const Parameter& parameter, Argument argument) {
  if (!call.parameters.empty()) call.sql += ", ";
  call.parameters.push_back(std::move(argument));
  call.sql += "\"" + std::string(parameter.name) + "\" => $" + std::to_string(call.parameters.size());
}

}  // namespace

std::variant<Call, ApiError> make_call(const Function& function, std::string_view body) {
  auto parsed = arguments_of(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return std::move(*error);
  const auto& arguments = std::get<std::vector<JsonMember>>(parsed);
  for (const JsonMember& argument : arguments) {
    if (std::none_of(function.parameters.begin(), function.parameters.end(),
                     [&](const Parameter& parameter) { return parameter.name == argument.name; })) {
      return unknown_argument(function, argument.name);
    }
  }
  // The size is judged in the server, so that an answer that is too large never fills our memory.
  Call call{.function = &function};
  call.sql = "SELECT CASE WHEN pg_catalog.octet_length(answer) OPERATOR(pg_catalog.<=) " +
             std::to_string(kAnswerBytesMax) +
             " THEN answer END, pg_catalog.octet_length(answer) FROM (SELECT webhook_api.\"" +
             std::string(function.name) + "\"(";
  for (const Parameter& parameter : function.parameters) {
    const JsonValue* value = find_member(arguments, parameter.name);
    if (value == nullptr) {
      if (parameter.is_required)
        return invalid(parameter.name, "argument \"" + std::string(parameter.name) + "\" is missing");
      continue;
    }
    if (value->kind == JsonKind::null) {
      append_argument(call, parameter, {});
      continue;
    }
    Argument argument = converted(*value, parameter.type);
    if (!argument) {
      return invalid(parameter.name,
                     "argument \"" + std::string(parameter.name) + "\" is not " + expected(parameter.type));
    }
    append_argument(call, parameter, std::move(argument));
  }
  call.sql += ")::pg_catalog.text AS answer OFFSET 0) AS called";
  return call;
}

}  // namespace webhook::console
