// Checks the condition that webhook_watch() puts into a trigger's WHEN clause, because it becomes part of a statement's
// text.
#pragma once

#include <string_view>

namespace webhook::pg {

// Throws Error (42601) unless PostgreSQL's parser, with the current settings, reads the text as exactly one expression.
// The meaning is not checked. Text that passes can be put between "(" and "\n)" wherever a statement takes an
// expression, without changing the rest of the statement.
void check_condition(std::string_view text);

}  // namespace webhook::pg
