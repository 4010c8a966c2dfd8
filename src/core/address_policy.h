// Which addresses a webhook may reach: SSRF protection. Judged on the address that a socket is about to be connected
// to, after name resolution, so that there is nothing to rebind.
//
// Refused unless the policy's networks contain it: every address that the IANA special-purpose address registries
// (RFC 6890 and updates) do not call globally reachable, multicast, and addresses that carry an IPv4 address
// inside (mapped, compatible, 6to4, Teredo, NAT64, ISATAP) when that one would be refused.
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

  // "10.0.0.0/8", "fd00::/8", or a lone address. Nothing when malformed or when bits beyond the prefix are set.
  static std::optional<Network> parse(std::string_view text);
  bool contains(const IpAddress& address) const;
  bool operator==(const Network&) const = default;
};

class AddressPolicy {
 public:
  AddressPolicy() = default;
  explicit AddressPolicy(std::vector<Network> allowed) : allowed_(std::move(allowed)) {}

  // Why the address is refused ("private address (RFC 1918)"), in static storage; nothing: it may be reached. An
  // IPv4-mapped address is looked for among the allowed networks in both of its forms; other addresses that carry an
  // IPv4 address inside only as they stand.
  std::optional<std::string_view> refusal(const IpAddress& address) const;

  bool operator==(const AddressPolicy&) const = default;

 private:
  std::vector<Network> allowed_;
};

// The comma-separated list of webhook.allowed_networks; a list of blanks has no items. On failure returns nothing and
// names the item in bad_item, unless that is null.
std::optional<std::vector<Network>> parse_networks(std::string_view list, std::string* bad_item);

}  // namespace webhook
