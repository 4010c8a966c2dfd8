// Parses the lists in settings: items separated by commas, with optional blanks around them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace webhook {

// The text without leading and trailing blanks and line ends.
inline std::string_view trim_blanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// Parses each item with parse_item, which returns an optional Item. A blank list has no items. If parse_item rejects an
// item, returns nothing and sets *bad_item to that item, unless bad_item is null.
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
