// Which names an event may have, and which patterns a webhook may subscribe with: an exact name, "prefix.*", or "*".
//
// Surprising: "*" does not match events about webhooks themselves ("webhook.…"). A webhook subscribes to those by name
// or prefix.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace webhook {

// "contact.*" matches every name that begins with "contact.", however deep. Both must be well-formed.
bool event_matches(std::string_view pattern, std::string_view event);

// What is wrong with the name. Nothing if it is valid. A name is 1 to 100 characters: parts of a-z, 0-9, "_" and "-"
// with dots between them. The text completes a message such as "invalid event name "…": it has an empty part".
std::optional<std::string> event_name_problem(std::string_view name);

// The same for a pattern, which also has at most 100 characters.
std::optional<std::string> event_pattern_problem(std::string_view pattern);

}  // namespace webhook
