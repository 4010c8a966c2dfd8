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
  std::uint16_t last = 0;  // inclusive

  // "443" or "1024-65535", from 1 to 65535. Nothing for any other text.
  static std::optional<PortRange> parse(std::string_view text);
  bool contains(int port) const { return port >= first && port <= last; }
  bool operator==(const PortRange&) const = default;
};

using PortList = std::vector<PortRange>;

// Parses comma-separated ports and ranges. A blank list has no items. On failure returns nothing and sets *bad_item to
// the invalid item, unless bad_item is null.
std::optional<PortList> parse_ports(std::string_view list, std::string* bad_item);

PortList all_ports();
bool contains(const PortList& ports, int port);

// The two ports of HTTP, and the ports above those of system services. Webhooks never connect to SSH or SMTP.
inline constexpr const char* kAllowedPortsDefault = "80, 443, 1024-65535";

}  // namespace webhook
