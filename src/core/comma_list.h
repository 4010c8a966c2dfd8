// Lists as settings hold them: items with commas between them and blanks around them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace webhook {

// The text without the blanks and line ends around it.
inline std::string_view trim_blanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// What parse_item, which returns an optional Item, makes of each item; a list of blanks has none. When it makes nothing
// of one, returns nothing and names that item in bad_item, unless that is null.
template <typename Item, typename ParseItem>
std::optional<std::vector<Item>> parse_comma_list(std::string_view list, ParseItem parse_item, std::string* bad_item) {
  std::vector<Item> items;
  if (trim_blanks(list).empty()) return items;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view text = trim_blanks(list.substr(begin, end - begin));
    const std::optional<Item> item = parse_item(text);
    if (!item) {
      if (bad_item != nullptr) *bad_item = text;
      return std::nullopt;
    }
    items.push_back(*item);
    begin = end + 1;
  }
  return items;
}

}  // namespace webhook
