#include "core/port_list.h"

#include <algorithm>
#include <charconv>

#include "core/comma_list.h"

namespace webhook {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc() || stopped != end || text.front() == '0') return std::nullopt;
  return port;
}

}  // namespace

std::optional<PortRange> PortRange::parse(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_port(trim_blanks(text.substr(0, dash)));
  const auto last = dash == std::string_view::npos ? first : parse_port(trim_blanks(text.substr(dash + 1)));
  if (!first || !last || *first > *last) return std::nullopt;
  return PortRange{.first = *first, .last = *last};
}

std::optional<PortList> parse_ports(std::string_view list, std::string* bad_item) {
  return parse_comma_list<PortRange>(list, PortRange::parse, bad_item);
}

PortList all_ports() {
  PortList ports;
  ports.push_back({.first = 1, .last = 65535});
  return ports;
}

bool contains(const PortList& ports, int port) {
  return std::any_of(ports.begin(), ports.end(), [port](const PortRange& range) { return range.contains(port); });
}

}  // namespace webhook
