#include "core/address_policy.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "address_vectors.h"

namespace webhook {
namespace {

using test::address_vectors;
using test::AddressVector;

IpAddress address(std::string_view text) {
  const std::optional<IpAddress> parsed = IpAddress::parse(text);
  EXPECT_TRUE(parsed) << text << " should be an address";
  return parsed.value_or(IpAddress{});
}

std::string_view refusal_of(std::string_view text, const AddressPolicy& policy = AddressPolicy()) {
  return policy.refusal(address(text)).value_or("");
}

AddressPolicy allowing(std::string_view list) {
  std::string bad_item;
  const std::optional<std::vector<Network>> networks = parse_networks(list, &bad_item);
  EXPECT_TRUE(networks) << bad_item;
  return AddressPolicy(networks.value_or(std::vector<Network>()));
}

// --- the published vectors --------------------------------------------------------------------------------------------

TEST(AddressPolicy, JudgesEachVectorAsPublished) {
  for (const AddressVector& vector : address_vectors("address")) {
    for (const std::string& text : vector.addresses) EXPECT_EQ(refusal_of(text), vector.error) << text;
  }
}

TEST(AddressVectors, LieInTheirBlocks) {
  for (const AddressVector& vector : address_vectors("address")) {
    const std::optional<Network> block = Network::parse(vector.block);
    ASSERT_TRUE(block) << vector.block;
    for (const std::string& text : vector.addresses) EXPECT_TRUE(block->contains(address(text))) << text;
  }
}

// An off-by-one in a prefix shows at the ends of its block.
TEST(AddressVectors, HoldTheFirstAndTheLastAddressOfEachBlock) {
  std::set<std::pair<bool, std::array<std::uint8_t, 16>>> judged;
  std::set<std::string> blocks;
  for (const AddressVector& vector : address_vectors("address")) {
    blocks.insert(vector.block);
    for (const std::string& text : vector.addresses) judged.emplace(address(text).is_v6, address(text).bytes);
  }
  for (const std::string& text : blocks) {
    const Network block = Network::parse(text).value();
    const bool is_v6 = block.base.is_v6;
    if (block.prefix_length == 0) continue;
    std::array<std::uint8_t, 16> last = block.base.bytes;
    for (int bit = block.prefix_length; bit < (is_v6 ? 128 : 32); ++bit) {
      std::uint8_t& byte = last.at(static_cast<std::size_t>(bit / 8));
      byte = static_cast<std::uint8_t>(byte | 0x80U >> (bit % 8));
    }
    EXPECT_TRUE(judged.contains({is_v6, block.base.bytes})) << "the first of " << text;
    EXPECT_TRUE(judged.contains({is_v6, last})) << "the last of " << text;
  }
}

// --- allowed networks -------------------------------------------------------------------------------------------------

TEST(AddressPolicy, AllowedNetworksWinOverTheRegistries) {
  const AddressPolicy policy = allowing("127.0.0.0/8, fd00::/8, 10.1.2.3");
  EXPECT_EQ(refusal_of("127.0.0.1", policy), "");
  EXPECT_EQ(refusal_of("fd12::1", policy), "");
  EXPECT_EQ(refusal_of("10.1.2.3", policy), "");
}

TEST(AddressPolicy, WhatIsNotAllowedStaysRefused) {
  const AddressPolicy policy = allowing("127.0.0.0/8, fd00::/8, 10.1.2.3");
  EXPECT_EQ(refusal_of("10.1.2.4", policy), "private address (RFC 1918)");
  EXPECT_EQ(refusal_of("fc00::1", policy), "unique local address (RFC 4193)");
  EXPECT_EQ(refusal_of("::1", policy), "loopback address (RFC 4291)");
}

TEST(AddressPolicy, AllowedIpv4NetworkMatchesItsMappedForm) {
  EXPECT_EQ(refusal_of("::ffff:10.1.2.3", allowing("10.0.0.0/8")), "");
  EXPECT_EQ(refusal_of("::ffff:10.1.2.3", allowing("::ffff:a00:0/104")), "");
}

TEST(AddressPolicy, AllowedIpv4NetworkDoesNotOpenTunnelsToIt) {
  const AddressPolicy policy = allowing("10.0.0.0/8");
  EXPECT_EQ(refusal_of("2002:a01:203::1", policy), "private address (RFC 1918)");
  EXPECT_EQ(refusal_of("64:ff9b::10.1.2.3", policy), "private address (RFC 1918)");
}

TEST(AddressPolicy, AllowedIpv6NetworkOfAllDoesNotOpenIpv4) {
  EXPECT_EQ(refusal_of("127.0.0.1", allowing("::/0")), "loopback address (RFC 1122)");
  EXPECT_EQ(refusal_of("::1", allowing("0.0.0.0/0")), "loopback address (RFC 4291)");
}

// --- text ---------------------------------------------------------------------------------------------------------------

using Bytes = std::array<std::uint8_t, 16>;

TEST(IpAddressParse, ReadsDottedQuads) {
  EXPECT_FALSE(address("192.0.2.1").is_v6);
  EXPECT_EQ(address("192.0.2.1").bytes, (Bytes{192, 0, 2, 1}));
  EXPECT_EQ(address("0.0.0.0").bytes, Bytes{});
}

TEST(IpAddressParse, ReadsTheFormsOfRfc4291) {
  const Bytes abcd = {0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89};
  EXPECT_TRUE(address("ABCD:EF01:2345:6789:abcd:ef01:2345:6789").is_v6);
  EXPECT_EQ(address("ABCD:EF01:2345:6789:abcd:ef01:2345:6789").bytes, abcd);
  EXPECT_EQ(address("2001:DB8::8:800:200C:417A").bytes, address("2001:db8:0:0:8:800:200c:417a").bytes);
  EXPECT_EQ(address("::1").bytes, address("0:0:0:0:0:0:0:1").bytes);
  EXPECT_EQ(address("1::").bytes, address("1:0:0:0:0:0:0:0").bytes);
  EXPECT_EQ(address("::").bytes, Bytes{});
  EXPECT_EQ(address("1:2:3:4:5:6:7::").bytes, address("1:2:3:4:5:6:7:0").bytes);
  EXPECT_EQ(address("::FFFF:129.144.52.38").bytes, address("::ffff:8190:3426").bytes);
  EXPECT_EQ(address("1:2:3:4:5:6:129.144.52.38").bytes, address("1:2:3:4:5:6:8190:3426").bytes);
}

TEST(IpAddressParse, AgreesWithConstructionFromBytes) {
  const std::array<std::uint8_t, 4> quad = {192, 0, 2, 1};
  EXPECT_EQ(IpAddress::v4(quad).bytes, address("192.0.2.1").bytes);
  EXPECT_FALSE(IpAddress::v4(quad).is_v6);
  const Bytes loopback = address("::1").bytes;
  EXPECT_EQ(IpAddress::v6(loopback).bytes, loopback);
  EXPECT_TRUE(IpAddress::v6(loopback).is_v6);
}

TEST(IpAddressParse, RefusesLaxIpv4) {
  for (const std::string_view text :
       {"",          "1",          "1.2.3",    "1.2.3.4.5", "1.2.3.",     ".1.2.3",     "1..2.3",
        "256.1.1.1", "1.1.1.1000", "01.1.1.1", "1.1.1.010", "0x7f.0.0.1", "2130706433", "127.1",
        "1.1.1.1 ",  " 1.1.1.1",   "+1.1.1.1", "-1.1.1.1",  "1.1.1.1/8",  "1.1.1.a",    "localhost"}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
}

TEST(IpAddressParse, RefusesLaxIpv6) {
  for (const std::string_view text : {":",
                                      ":::",
                                      "1",
                                      "1:2:3:4:5:6:7",
                                      "1:2:3:4:5:6:7:8:9",
                                      "1:2:3:4:5:6:7:8::",
                                      "::1:2:3:4:5:6:7:8",
                                      "1:2:3:4::5:6:7:8",
                                      "1::2::3",
                                      ":1::2",
                                      "1::2:",
                                      ":1:2:3:4:5:6:7:8",
                                      "1:2:3:4:5:6:7:8:",
                                      "12345::",
                                      "g::",
                                      "::-1",
                                      "::1%lo",
                                      "fe80::1%eth0",
                                      "[::1]",
                                      "::1 ",
                                      " ::1",
                                      "::1.2.3",
                                      "::1.2.3.4:5",
                                      "1.2.3.4::",
                                      "::256.1.1.1",
                                      "1:2:3:4:5:6:7:1.2.3.4",
                                      "::01.2.3.4",
                                      "::ffff:1.2.3.4.5"}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
}

TEST(NetworkParse, ReadsPrefixesAndLoneAddresses) {
  EXPECT_EQ(Network::parse("10.0.0.0/8").value().prefix_length, 8);
  EXPECT_EQ(Network::parse("10.0.0.1").value().prefix_length, 32);
  EXPECT_EQ(Network::parse("fd00::/8").value().prefix_length, 8);
  EXPECT_EQ(Network::parse("::1").value().prefix_length, 128);
  EXPECT_EQ(Network::parse("0.0.0.0/0").value().prefix_length, 0);
}

TEST(NetworkParse, RefusesMalformedText) {
  for (const std::string_view text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/08", "10.0.0.0/-1",
                                      "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/8 ", "10/8", "10.0.0.0/255.0.0.0"}) {
    EXPECT_FALSE(Network::parse(text)) << text;
  }
}

TEST(NetworkParse, RefusesBitsBeyondThePrefix) {
  for (const std::string_view text : {"10.0.0.1/8", "172.24.0.0/12", "128.0.0.0/0", "fd00::1/64", "fe80::/8"}) {
    EXPECT_FALSE(Network::parse(text)) << text;
  }
}

TEST(NetworkContains, ComparesThePrefixAlone) {
  const Network network = Network::parse("172.16.0.0/12").value();
  EXPECT_TRUE(network.contains(address("172.16.0.0")));
  EXPECT_TRUE(network.contains(address("172.31.255.255")));
  EXPECT_FALSE(network.contains(address("172.32.0.0")));
  EXPECT_TRUE(Network::parse("0.0.0.0/0").value().contains(address("255.255.255.255")));
  EXPECT_FALSE(Network::parse("10.0.0.1").value().contains(address("10.0.0.0")));
}

TEST(NetworkContains, NeverMixesFamilies) {
  EXPECT_FALSE(Network::parse("0.0.0.0/0").value().contains(address("::1")));
  EXPECT_FALSE(Network::parse("::/0").value().contains(address("1.1.1.1")));
}

TEST(ParseNetworks, ReadsAListWithBlanks) {
  const auto networks = parse_networks(" 10.0.0.0/8,fd00::/8 ,\t127.0.0.1 ", nullptr);
  ASSERT_TRUE(networks);
  ASSERT_EQ(networks->size(), 3u);
  EXPECT_EQ(networks->at(0).prefix_length, 8);
  EXPECT_TRUE(networks->at(1).base.is_v6);
  EXPECT_EQ(networks->at(2).prefix_length, 32);
}

TEST(ParseNetworks, EmptyListHasNoNetworks) {
  for (const std::string_view list : {"", "  "}) {
    const auto networks = parse_networks(list, nullptr);
    ASSERT_TRUE(networks);
    EXPECT_TRUE(networks->empty());
  }
}

TEST(ParseNetworks, NamesTheItemThatIsBad) {
  std::string bad_item;
  EXPECT_FALSE(parse_networks("10.0.0.0/8, 10.0.0.1/8, x", &bad_item));
  EXPECT_EQ(bad_item, "10.0.0.1/8");
}

TEST(ParseNetworks, RefusesAnEmptyItem) {
  EXPECT_FALSE(parse_networks("10.0.0.0/8,", nullptr));
  EXPECT_FALSE(parse_networks(",10.0.0.0/8", nullptr));
}

}  // namespace
}  // namespace webhook
