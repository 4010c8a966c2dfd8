// The ports that webhooks may be sent to: the setting webhook.allowed_ports.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace webhook {

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;  // included

  // "443" or "1024-65535", from 1 to 65535; nothing for any other text.
  static std::optional<PortRange> parse(std::string_view text);
  bool contains(int port) const { return port >= first && port <= last; }
  bool operator==(const PortRange&) const = default;
};

using PortList = std::vector<PortRange>;

// Ports and ranges with commas between them; a list of blanks has no items. On failure returns nothing and names the item
// in bad_item, unless that is null.
std::optional<PortList> parse_ports(std::string_view list, std::string* bad_item);

PortList all_ports();
bool contains(const PortList& ports, int port);

// HTTP's own two, and what no service of the system listens on: neither SSH nor SMTP is ever connected to.
inline constexpr const char* kAllowedPortsDefault = "80, 443, 1024-65535";

}  // namespace webhook
