// Which addresses a webhook may reach: SSRF protection. The policy checks the address that a socket is about to connect
// to, after name resolution, so DNS rebinding has no effect.
//
// These addresses are refused unless the policy's networks contain them:
// - every address that the IANA special-purpose address registries (RFC 6890 and updates) don't call globally reachable
// - multicast addresses
// - addresses that embed a refused IPv4 address (mapped, compatible, 6to4, Teredo, NAT64, ISATAP)
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace webhook {

// An IPv4 or IPv6 address in network byte order.
struct IpAddress {
  bool is_v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // IPv4 uses the first four

  static IpAddress v4(std::span<const std::uint8_t, 4> bytes);
  static IpAddress v6(std::span<const std::uint8_t, 16> bytes);
  // Dotted quad or RFC 4291 text, nothing else.
  static std::optional<IpAddress> parse(std::string_view text);
  bool operator==(const IpAddress&) const = default;
};

// An address block such as 10.0.0.0/8 or fd00::/8.
struct Network {
  IpAddress base;
  int prefix_length = 0;

  // "10.0.0.0/8", "fd00::/8", or a single address. Nothing if the text is malformed or has bits set beyond the prefix.
  static std::optional<Network> parse(std::string_view text);
  bool contains(const IpAddress& address) const;
  bool operator==(const Network&) const = default;
};

class AddressPolicy {
 public:
  AddressPolicy() = default;
  explicit AddressPolicy(std::vector<Network> allowed) : allowed_(std::move(allowed)) {}

  // Why the address is refused ("private address (RFC 1918)"), in static storage. Nothing if it may be reached.
  // The allowed networks may name an IPv4-mapped address in its IPv4 or its IPv6 form. They must name other addresses
  // that embed an IPv4 address in their IPv6 form.
  std::optional<std::string_view> refusal(const IpAddress& address) const;

  bool operator==(const AddressPolicy&) const = default;

 private:
  std::vector<Network> allowed_;
};

// Parses the comma-separated list of webhook.allowed_networks. A blank list has no items. On failure returns nothing
// and sets *bad_item to the invalid item, unless bad_item is null.
std::optional<std::vector<Network>> parse_networks(std::string_view list, std::string* bad_item);

}  // namespace webhook
