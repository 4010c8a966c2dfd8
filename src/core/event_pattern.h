// Which names an event may bear, and which patterns a webhook subscribes to them with: an exact name, "prefix.*", or
// "*".
//
// Surprising: "*" leaves out the events that are about webhooks themselves ("webhook.…"); whoever wants those says so.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace webhook {

// "contact.*" matches every name that begins with "contact.", however deep. Both must be well-formed.
bool event_matches(std::string_view pattern, std::string_view event);

// What is wrong with the name; nothing: it may be used. A name is 1 to 100 characters: parts of a-z, 0-9, "_" and "-"
// with dots between them. The text is the end of a message such as "invalid event name "…": it has an empty part".
std::optional<std::string> event_name_problem(std::string_view name);

// The same for a pattern, which is at most 100 characters too.
std::optional<std::string> event_pattern_problem(std::string_view pattern);

}  // namespace webhook
