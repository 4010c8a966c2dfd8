// What may stand in the WHEN clause of a trigger that webhook_watch() writes: text that becomes part of a statement.
#pragma once

#include <string_view>

namespace webhook::pg {

// An Error (42601) unless PostgreSQL's parser, with the settings of now, takes the text for one expression and nothing
// else. What it means is not looked at. Text that passes can be put between "(" and "\n)" wherever a statement has an
// expression there, and changes nothing else of the statement.
void check_condition(std::string_view text);

}  // namespace webhook::pg
