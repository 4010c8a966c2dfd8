// The special-purpose address registries of the IANA as two tables, and the search through them.
//
// Surprising: the first block that contains the address decides, so an exception is above the block that it belongs to.
// A network-specific NAT64 prefix (RFC 6052, section 2.2) looks like any other address. If an operator has one,
// webhooks can reach every address that the translator allows.
#include "core/address_policy.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

#include "core/comma_list.h"

namespace webhook {
namespace {

// --- text to address ------------------------------------------------------------------------------------------------

constexpr std::size_t kV4Bytes = 4;
constexpr std::size_t kV6Bytes = 16;

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Parses a decimal number. Nothing for a sign, a value above max, or a leading zero, which some parsers read as octal.
constexpr std::optional<int> parse_decimal(std::string_view text, int max) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  int number = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    number = number * 10 + (c - '0');
  }
  if (number > max) return std::nullopt;
  return number;
}

// Removes the part before the separator, and the separator, from text. Returns that part: all of text if it has no
// separator.
constexpr std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return part;
}

constexpr std::optional<IpAddress> parse_v4(std::string_view text) {
  if (std::count(text.begin(), text.end(), '.') != 3) return std::nullopt;
  IpAddress address;
  for (std::size_t i = 0; i < kV4Bytes; ++i) {
    const std::optional<int> byte = parse_decimal(take_until(text, '.'), 255);
    if (!byte) return std::nullopt;
    address.bytes[i] = static_cast<std::uint8_t>(*byte);
  }
  return address;
}

constexpr std::optional<unsigned> parse_hex_group(std::string_view text) {
  if (text.empty() || text.size() > 4) return std::nullopt;
  unsigned group = 0;
  for (const char c : text) {
    const bool is_lower = c >= 'a' && c <= 'f';
    const bool is_upper = c >= 'A' && c <= 'F';
    if (!is_digit(c) && !is_lower && !is_upper) return std::nullopt;
    group = group * 16 + static_cast<unsigned>(is_digit(c) ? c - '0' : is_lower ? c - 'a' + 10 : c - 'A' + 10);
  }
  return group;
}

// One side of an IPv6 address without "::", in bytes.
struct Groups {
  std::array<std::uint8_t, kV6Bytes> bytes{};
  std::size_t size = 0;
};

// Groups of hexadecimal digits separated by single colons. At the end of the address, the last may be a dotted quad.
constexpr std::optional<Groups> parse_groups(std::string_view text, bool at_end) {
  Groups groups;
  if (text.empty()) return groups;
  if (text.back() == ':') return std::nullopt;
  while (!text.empty()) {
    const std::string_view part = take_until(text, ':');
    if (text.empty() && at_end && part.find('.') != std::string_view::npos) {
      const std::optional<IpAddress> quad = parse_v4(part);
      if (!quad || groups.size + kV4Bytes > kV6Bytes) return std::nullopt;
      for (std::size_t i = 0; i < kV4Bytes; ++i) groups.bytes[groups.size++] = quad->bytes[i];
      return groups;
    }
    const std::optional<unsigned> group = parse_hex_group(part);
    if (!group || groups.size + 2 > kV6Bytes) return std::nullopt;
    groups.bytes[groups.size++] = static_cast<std::uint8_t>(*group >> 8);
    groups.bytes[groups.size++] = static_cast<std::uint8_t>(*group & 0xff);
  }
  return groups;
}

// RFC 4291, section 2.2: eight groups, or fewer with one "::" that stands for one or more groups.
constexpr std::optional<IpAddress> parse_v6(std::string_view text) {
  IpAddress address;
  address.is_v6 = true;
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    const std::optional<Groups> groups = parse_groups(text, true);
    if (!groups || groups->size != kV6Bytes) return std::nullopt;
    address.bytes = groups->bytes;
    return address;
  }
  const std::optional<Groups> head = parse_groups(text.substr(0, gap), false);
  const std::optional<Groups> tail = parse_groups(text.substr(gap + 2), true);
  if (!head || !tail || head->size + tail->size > kV6Bytes - 2) return std::nullopt;
  for (std::size_t i = 0; i < head->size; ++i) address.bytes[i] = head->bytes[i];
  for (std::size_t i = 0; i < tail->size; ++i) address.bytes[kV6Bytes - tail->size + i] = tail->bytes[i];
  return address;
}

constexpr std::optional<IpAddress> parse_address(std::string_view text) {
  return text.find(':') == std::string_view::npos ? parse_v4(text) : parse_v6(text);
}

constexpr int address_bits(bool is_v6) { return 8 * static_cast<int>(is_v6 ? kV6Bytes : kV4Bytes); }

// The bits of byte i that belong to the prefix.
constexpr unsigned mask_at(std::size_t i, int prefix_length) {
  const int bits = std::clamp(prefix_length - 8 * static_cast<int>(i), 0, 8);
  return 0xff00U >> bits & 0xffU;
}

constexpr std::optional<Network> parse_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::optional<IpAddress> base = parse_address(text.substr(0, slash));
  if (!base) return std::nullopt;
  const int bits = address_bits(base->is_v6);
  const std::optional<int> length =
      slash == std::string_view::npos ? std::optional(bits) : parse_decimal(text.substr(slash + 1), bits);
  if (!length) return std::nullopt;
  for (std::size_t i = 0; i < kV6Bytes; ++i) {
    if ((base->bytes[i] & ~mask_at(i, *length) & 0xffU) != 0) return std::nullopt;
  }
  return Network{.base = *base, .prefix_length = *length};
}

// --- the registries -------------------------------------------------------------------------------------------------

enum class Rule : std::uint8_t {
  kReachable,
  kRefused,
  kIpv4At2,   // as the IPv4 address in bytes 2 to 5
  kIpv4At12,  // as the IPv4 address in bytes 12 to 15
  kTeredo,    // as both the server in bytes 4 to 7 and the client in bytes 12 to 15, whose bits are inverted
};

struct Block {
  Network network;
  Rule rule;
  std::string_view reason;  // of a refusal

  consteval Block(std::string_view text, Rule v, std::string_view why = {}) : network(), rule(v), reason(why) {
    const std::optional<Network> parsed = parse_network(text);
    if (!parsed) throw std::invalid_argument("not a network");
    network = *parsed;
  }
};

// https://www.iana.org/assignments/iana-ipv4-special-registry and multicast. The rest is globally reachable.
constexpr Block kV4Blocks[] = {
    {"0.0.0.0/8", Rule::kRefused, "address of \"this network\" (RFC 791)"},
    {"10.0.0.0/8", Rule::kRefused, "private address (RFC 1918)"},
    {"100.64.0.0/10", Rule::kRefused, "shared address of a carrier's NAT (RFC 6598)"},
    {"127.0.0.0/8", Rule::kRefused, "loopback address (RFC 1122)"},
    {"169.254.0.0/16", Rule::kRefused, "link-local address (RFC 3927)"},
    {"168.63.129.16/32", Rule::kRefused, "metadata address of Azure"},  // in no registry
    {"172.16.0.0/12", Rule::kRefused, "private address (RFC 1918)"},
    {"192.0.0.9/32", Rule::kReachable},   // Port Control Protocol anycast, RFC 7723
    {"192.0.0.10/32", Rule::kReachable},  // TURN anycast, RFC 8155
    {"192.0.0.0/24", Rule::kRefused, "address for IETF protocols (RFC 6890)"},
    {"192.0.2.0/24", Rule::kRefused, "address for documentation (RFC 5737)"},
    {"192.88.99.0/24", Rule::kRefused, "6to4 relay address, deprecated (RFC 7526)"},
    {"192.168.0.0/16", Rule::kRefused, "private address (RFC 1918)"},
    {"198.18.0.0/15", Rule::kRefused, "address for benchmarks (RFC 2544)"},
    {"198.51.100.0/24", Rule::kRefused, "address for documentation (RFC 5737)"},
    {"203.0.113.0/24", Rule::kRefused, "address for documentation (RFC 5737)"},
    {"224.0.0.0/4", Rule::kRefused, "multicast address (RFC 5771)"},
    {"255.255.255.255/32", Rule::kRefused, "broadcast address (RFC 919)"},
    {"240.0.0.0/4", Rule::kRefused, "reserved address (RFC 1112)"},
    {"0.0.0.0/0", Rule::kReachable},
};

// https://www.iana.org/assignments/iana-ipv6-special-registry and the blocks that embed IPv4 addresses. Of the rest,
// only what the IETF has delegated for global unicast is reachable.
constexpr Block kV6Blocks[] = {
    {"::/128", Rule::kRefused, "unspecified address (RFC 4291)"},
    {"::1/128", Rule::kRefused, "loopback address (RFC 4291)"},
    {"::ffff:0:0/96", Rule::kIpv4At12},  // IPv4-mapped, RFC 4291
    {"::/96", Rule::kIpv4At12},          // IPv4-compatible, RFC 4291
    {"64:ff9b::/96", Rule::kIpv4At12},   // NAT64, RFC 6052
    {"64:ff9b:1::/48", Rule::kRefused, "local-use NAT64 address (RFC 8215)"},
    {"100::/64", Rule::kRefused, "discard-only address (RFC 6666)"},
    {"100:0:0:1::/64", Rule::kRefused, "dummy address (RFC 9780)"},
    {"2001::/32", Rule::kTeredo},         // RFC 4380
    {"2001:1::1/128", Rule::kReachable},  // Port Control Protocol anycast, RFC 7723
    {"2001:1::2/128", Rule::kReachable},  // TURN anycast, RFC 8155
    {"2001:1::3/128", Rule::kReachable},  // DNS-SD registration anycast, RFC 9665
    {"2001:2::/48", Rule::kRefused, "address for benchmarks (RFC 5180)"},
    {"2001:3::/32", Rule::kReachable},      // AMT, RFC 7450
    {"2001:4:112::/48", Rule::kReachable},  // AS112, RFC 7535
    {"2001:10::/28", Rule::kRefused, "ORCHID address, deprecated (RFC 4843)"},
    {"2001:20::/28", Rule::kReachable},  // ORCHIDv2, RFC 7343
    {"2001:30::/28", Rule::kReachable},  // drone remote id, RFC 9374
    {"2001::/23", Rule::kRefused, "address for IETF protocols (RFC 2928)"},
    {"2001:db8::/32", Rule::kRefused, "address for documentation (RFC 3849)"},
    {"2002::/16", Rule::kIpv4At2},  // 6to4, RFC 3056
    {"3fff::/20", Rule::kRefused, "address for documentation (RFC 9637)"},
    {"2000::/3", Rule::kReachable},  // global unicast, RFC 4291
    {"5f00::/16", Rule::kRefused, "segment routing identifier (RFC 9602)"},
    {"fc00::/7", Rule::kRefused, "unique local address (RFC 4193)"},
    {"fe80::/10", Rule::kRefused, "link-local address (RFC 4291)"},
    {"fec0::/10", Rule::kRefused, "site-local address, deprecated (RFC 3879)"},
    {"ff00::/8", Rule::kRefused, "multicast address (RFC 4291)"},
    {"::/0", Rule::kRefused, "address outside global unicast (RFC 4291)"},
};

constexpr Block kMapped("::ffff:0:0/96", Rule::kIpv4At12);

// Always finds a block, because both tables end with one that contains every address.
const Block& block_of(const IpAddress& address) {
  const std::span<const Block> blocks = address.is_v6 ? std::span<const Block>(kV6Blocks) : kV4Blocks;
  return *std::find_if(blocks.begin(), blocks.end(),
                       [&](const Block& block) { return block.network.contains(address); });
}

IpAddress ipv4_inside(const IpAddress& address, std::size_t offset, std::uint8_t inversion = 0) {
  IpAddress inside;
  for (std::size_t i = 0; i < kV4Bytes; ++i) inside.bytes[i] = address.bytes[offset + i] ^ inversion;
  return inside;
}

// After the interface identifier 0000:5efe or 0200:5efe comes the IPv4 address of a tunnel's end (RFC 5214, section
// 6.1).
bool is_isatap(const IpAddress& address) {
  return address.is_v6 && (address.bytes[8] & 0xfdU) == 0 && address.bytes[9] == 0 && address.bytes[10] == 0x5e &&
         address.bytes[11] == 0xfe;
}

using Refusal = std::optional<std::string_view>;

Refusal refusal_of_v4(const IpAddress& address) {
  const Block& block = block_of(address);
  return block.rule == Rule::kRefused ? Refusal(block.reason) : std::nullopt;
}

Refusal refusal_of_v6(const IpAddress& address) {
  const Block& block = block_of(address);
  Refusal refusal;
  switch (block.rule) {
    case Rule::kReachable:
      break;
    case Rule::kRefused:
      refusal = block.reason;
      break;
    case Rule::kIpv4At2:
      refusal = refusal_of_v4(ipv4_inside(address, 2));
      break;
    case Rule::kIpv4At12:
      refusal = refusal_of_v4(ipv4_inside(address, 12));
      break;
    case Rule::kTeredo:
      refusal = refusal_of_v4(ipv4_inside(address, 4));
      if (!refusal) refusal = refusal_of_v4(ipv4_inside(address, 12, 0xff));
      break;
  }
  if (!refusal && is_isatap(address)) refusal = refusal_of_v4(ipv4_inside(address, 12));
  return refusal;
}

}  // namespace

IpAddress IpAddress::v4(std::span<const std::uint8_t, 4> bytes) {
  IpAddress address;
  std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
  return address;
}

IpAddress IpAddress::v6(std::span<const std::uint8_t, 16> bytes) {
  IpAddress address;
  address.is_v6 = true;
  std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) { return parse_address(text); }

std::optional<Network> Network::parse(std::string_view text) { return parse_network(text); }

bool Network::contains(const IpAddress& address) const {
  if (address.is_v6 != base.is_v6) return false;
  for (std::size_t i = 0; 8 * static_cast<int>(i) < prefix_length; ++i) {
    if (((address.bytes[i] ^ base.bytes[i]) & mask_at(i, prefix_length)) != 0) return false;
  }
  return true;
}

std::optional<std::string_view> AddressPolicy::refusal(const IpAddress& address) const {
  const bool is_mapped = kMapped.network.contains(address);
  const IpAddress unmapped = is_mapped ? ipv4_inside(address, 12) : address;
  const bool is_allowed = std::any_of(allowed_.begin(), allowed_.end(), [&](const Network& network) {
    return network.contains(address) || network.contains(unmapped);
  });
  if (is_allowed) return std::nullopt;
  return address.is_v6 ? refusal_of_v6(address) : refusal_of_v4(address);
}

std::optional<std::vector<Network>> parse_networks(std::string_view list, std::string* bad_item) {
  return parse_comma_list<Network>(list, Network::parse, bad_item);
}

}  // namespace webhook
