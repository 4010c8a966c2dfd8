// webhook.allowed_networks, and the judgement over any address.
#include <arpa/inet.h>

#include <cstring>
#include <string>

#include "core/address_policy.h"
#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

std::string written(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(address.is_v6 ? AF_INET6 : AF_INET, address.bytes.data(), text, sizeof text);
}

// The C library reads the same addresses, to the same bytes.
void check_address(std::string_view text) {
  const std::string terminated(text);
  IpAddress expected;
  expected.is_v6 = text.find(':') != std::string_view::npos;
  const bool is_one = terminated.find('\0') == std::string::npos &&
                      inet_pton(expected.is_v6 ? AF_INET6 : AF_INET, terminated.c_str(), expected.bytes.data()) == 1;
  const auto address = IpAddress::parse(text);
  require(address.has_value() == is_one, "an address is what inet_pton() takes for one");
  require(!address || address->bytes == expected.bytes, "an address is read as inet_pton() reads it");
}

void check_network(const Network& network) {
  require(network.contains(network.base), "a network contains its base");
  const std::string text = written(network.base) + "/" + std::to_string(network.prefix_length);
  const auto again = Network::parse(text);
  require(again && again->base.bytes == network.base.bytes && again->prefix_length == network.prefix_length,
          "a network can be written and read again");
  const int bits = network.base.is_v6 ? 128 : 32;
  if (network.prefix_length < bits) {
    // The last bit of the prefix flipped leads out; the first behind it does not.
    const auto flipped = [&](int bit) {
      IpAddress address = network.base;
      address.bytes[static_cast<std::size_t>(bit) / 8] ^= static_cast<std::uint8_t>(0x80 >> (bit % 8));
      return address;
    };
    require(network.contains(flipped(network.prefix_length)), "a network contains what differs behind its prefix");
    require(network.prefix_length == 0 || !network.contains(flipped(network.prefix_length - 1)),
            "a network contains nothing that differs within its prefix");
  }
}

void check_list(std::string_view list) {
  std::string bad_item = "untouched";
  const auto networks = parse_networks(list, &bad_item);
  if (!networks) {
    require(list.find(bad_item) != std::string_view::npos, "the bad item is one of the list");
    require(!Network::parse(bad_item), "the bad item is no network");
    return;
  }
  for (const Network& network : *networks) check_network(network);
  const AddressPolicy policy(*networks);
  for (const Network& network : *networks) require(!policy.refusal(network.base), "what is allowed is not refused");
}

void check_policy(std::string_view bytes) {
  if (bytes.size() < 16) return;
  std::array<std::uint8_t, 16> sixteen;
  std::memcpy(sixteen.data(), bytes.data(), sixteen.size());
  const IpAddress v6 = IpAddress::v6(sixteen);
  const IpAddress v4 = IpAddress::v4(std::span(sixteen).first<4>());
  const AddressPolicy registries;
  const auto refusal = registries.refusal(v4);
  require(refusal == registries.refusal(*IpAddress::parse("::ffff:" + written(v4))),
          "a mapped address is judged as the one inside");
  require(!refusal || registries.refusal(*IpAddress::parse("64:ff9b::" + written(v4))).has_value(),
          "what is refused is refused behind NAT64 too");
  for (const IpAddress& address : {v4, v6}) {
    const Network alone{.base = address, .prefix_length = address.is_v6 ? 128 : 32};
    require(!AddressPolicy({alone}).refusal(address), "an address that is allowed by itself is not refused");
  }
  // 2000::/3 is all that may be global unicast, beside what carries an IPv4 address.
  const bool carries_v4 = written(v6).starts_with("::") || written(v6).starts_with("64:ff9b:");
  require((sixteen[0] & 0xe0) == 0x20 || carries_v4 || registries.refusal(v6).has_value(),
          "what is not global unicast is refused");
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = webhook::fuzz::text_of(data, size);
  webhook::check_address(input);
  webhook::check_list(input);
  webhook::check_policy(input);
  return 0;
}
