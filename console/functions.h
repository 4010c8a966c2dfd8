// The functions of schema webhook_api that can be called (docs/api.md). What is not in this table does not exist for the
// console: neither tables nor SQL can be reached.
#pragma once

#include <span>
#include <string_view>

namespace webhook::console {

// What an argument may be in JSON; null is always allowed, and is NULL. PostgreSQL itself converts the text to the type
// of the function's parameter.
enum class ArgumentType {
  text,     // a string
  id,       // a string, or an integer
  number,   // a number
  boolean,  // true or false
  json,     // any value
  texts,    // an array of strings
  ids,      // an array of strings and integers
};

struct Parameter {
  std::string_view name;
  ArgumentType type;
  bool is_required = false;
};

struct Function {
  std::string_view name;
  std::span<const Parameter> parameters;
  bool writes = false;   // it is never called again when the connection was lost
  bool is_slow = false;  // it waits for the network, up to kSlowTimeout
};

std::span<const Function> functions();
// nullptr if there is none of this name.
const Function* find_function(std::string_view name);

}  // namespace webhook::console
