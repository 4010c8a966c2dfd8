#include "core/address_policy.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

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

void expect_refused(std::initializer_list<std::string_view> texts, std::string_view reason) {
  for (const std::string_view text : texts) EXPECT_EQ(refusal_of(text), reason) << text;
}

void expect_reachable(std::initializer_list<std::string_view> texts) { expect_refused(texts, ""); }

// --- IPv4 ---------------------------------------------------------------------------------------------------------

TEST(AddressPolicy, PublicIpv4IsReachable) {
  expect_reachable({"1.1.1.1", "8.8.8.8", "93.184.216.34", "223.255.255.255"});
}

TEST(AddressPolicy, PrivateIpv4IsRefusedFromFirstToLast) {
  expect_refused({"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255"},
                 "private address (RFC 1918)");
}

TEST(AddressPolicy, NeighboursOfRefusedIpv4BlocksAreReachable) {
  expect_reachable({"1.0.0.0",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255", "100.128.0.0",
                    "126.255.255.255", "128.0.0.0",       "169.253.255.255", "169.255.0.0",    "172.15.255.255",
                    "172.32.0.0",      "191.255.255.255", "192.0.1.0",       "192.0.3.0",      "192.88.98.255",
                    "192.88.100.0",    "192.167.255.255", "192.169.0.0",     "198.17.255.255", "198.20.0.0",
                    "198.51.99.255",   "198.51.101.0",    "203.0.112.255",   "203.0.114.0"});
}

TEST(AddressPolicy, LoopbackIpv4IsRefused) {
  expect_refused({"127.0.0.0", "127.0.0.1", "127.255.255.255"}, "loopback address (RFC 1122)");
}

TEST(AddressPolicy, LinkLocalIpv4AndSoTheMetadataServiceIsRefused) {
  expect_refused({"169.254.0.0", "169.254.169.254", "169.254.255.255"}, "link-local address (RFC 3927)");
}

TEST(AddressPolicy, MetadataServicesAreRefused) {
  for (const std::string_view text : {"169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200",
                                      "192.0.0.192", "fd00:ec2::254", "fe80::a9fe:a9fe", "::ffff:168.63.129.16"}) {
    EXPECT_NE(refusal_of(text), "") << text;
  }
  expect_reachable({"168.63.129.15", "168.63.129.17"});
}

TEST(AddressPolicy, ThisNetworkIsRefused) {
  expect_refused({"0.0.0.0", "0.255.255.255"}, "address of \"this network\" (RFC 791)");
}

TEST(AddressPolicy, CarrierNatIsRefused) {
  expect_refused({"100.64.0.0", "100.127.255.255"}, "shared address of a carrier's NAT (RFC 6598)");
}

TEST(AddressPolicy, IetfProtocolAssignmentsAreRefusedButForTwoAnycastAddresses) {
  expect_refused({"192.0.0.0", "192.0.0.8", "192.0.0.11", "192.0.0.170", "192.0.0.255"},
                 "address for IETF protocols (RFC 6890)");
  expect_reachable({"192.0.0.9", "192.0.0.10"});
}

TEST(AddressPolicy, DocumentationAndBenchmarkIpv4IsRefused) {
  expect_refused({"192.0.2.0", "192.0.2.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255"},
                 "address for documentation (RFC 5737)");
  expect_refused({"198.18.0.0", "198.19.255.255"}, "address for benchmarks (RFC 2544)");
}

TEST(AddressPolicy, RelayMulticastReservedAndBroadcastIpv4IsRefused) {
  expect_refused({"192.88.99.0", "192.88.99.255"}, "6to4 relay address, deprecated (RFC 7526)");
  expect_refused({"224.0.0.0", "239.255.255.255"}, "multicast address (RFC 5771)");
  expect_refused({"240.0.0.0", "255.255.255.254"}, "reserved address (RFC 1112)");
  expect_refused({"255.255.255.255"}, "broadcast address (RFC 919)");
}

// --- IPv6 ---------------------------------------------------------------------------------------------------------

TEST(AddressPolicy, PublicIpv6IsReachable) {
  expect_reachable({"2000::1", "2606:4700:4700::1111", "2a00:1450:4001:810::200e", "3ffe::1", "3fff:1000::"});
}

TEST(AddressPolicy, UnspecifiedAndLoopbackIpv6IsRefused) {
  expect_refused({"::"}, "unspecified address (RFC 4291)");
  expect_refused({"::1"}, "loopback address (RFC 4291)");
}

TEST(AddressPolicy, UniqueLocalLinkLocalSiteLocalAndMulticastIpv6IsRefused) {
  expect_refused({"fc00::", "fd12:3456::1", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
                 "unique local address (RFC 4193)");
  expect_refused({"fe80::1", "febf:ffff::"}, "link-local address (RFC 4291)");
  expect_refused({"fec0::1", "feff:ffff::"}, "site-local address, deprecated (RFC 3879)");
  expect_refused({"ff00::", "ff02::1", "ff0e::1"}, "multicast address (RFC 4291)");
}

TEST(AddressPolicy, DocumentationIpv6IsRefused) {
  expect_refused({"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"}, "address for documentation (RFC 3849)");
  expect_refused({"3fff::", "3fff:fff:ffff::1"}, "address for documentation (RFC 9637)");
  expect_reachable({"2001:db7::1", "2001:db9::1"});
}

TEST(AddressPolicy, SpecialPurposeIpv6IsRefused) {
  expect_refused({"64:ff9b:1::808:808", "64:ff9b:1:ffff::"}, "local-use NAT64 address (RFC 8215)");
  expect_refused({"100::", "100::ffff:ffff:ffff:ffff"}, "discard-only address (RFC 6666)");
  expect_refused({"100:0:0:1::1"}, "dummy address (RFC 9780)");
  expect_refused({"5f00::1"}, "segment routing identifier (RFC 9602)");
}

TEST(AddressPolicy, IetfProtocolAssignmentsInIpv6AreRefusedButForTheReachableOnes) {
  expect_refused({"2001:1::", "2001:1::4", "2001:4::1", "2001:40::", "2001:1ff:ffff::"},
                 "address for IETF protocols (RFC 2928)");
  expect_refused({"2001:2::1"}, "address for benchmarks (RFC 5180)");
  expect_refused({"2001:10::1", "2001:1f::1"}, "ORCHID address, deprecated (RFC 4843)");
  expect_reachable({"2001:1::1", "2001:1::2", "2001:1::3", "2001:3::1", "2001:4:112::1", "2001:20::1", "2001:2f::1",
                    "2001:30::1", "2001:3f::1", "2001:200::1"});
}

TEST(AddressPolicy, WhatIsNotGlobalUnicastIsRefused) {
  expect_refused({"0:1::", "64:ff9a::1", "64:ff9b:0:1::1", "100:0:0:2::1", "200::1", "400::1", "1fff:ffff::1",
                  "4000::1", "8000::1", "e000::1", "fe00::1", "fe7f::1"},
                 "address outside global unicast (RFC 4291)");
}

// --- IPv4 inside IPv6 -----------------------------------------------------------------------------------------------

TEST(AddressPolicy, MappedCompatibleAndNat64AddressesAreJudgedByTheAddressInside) {
  for (const std::string prefix : {"::ffff:", "::", "64:ff9b::"}) {
    EXPECT_EQ(refusal_of(prefix + "10.1.2.3"), "private address (RFC 1918)") << prefix;
    EXPECT_EQ(refusal_of(prefix + "127.0.0.1"), "loopback address (RFC 1122)") << prefix;
    EXPECT_EQ(refusal_of(prefix + "169.254.169.254"), "link-local address (RFC 3927)") << prefix;
    EXPECT_EQ(refusal_of(prefix + "8.8.8.8"), "") << prefix;
  }
}

TEST(AddressPolicy, SixToFourIsJudgedByTheAddressInside) {
  expect_refused({"2002:a01:203::1", "2002:c0a8:1::"}, "private address (RFC 1918)");
  expect_refused({"2002:7f00:1::1"}, "loopback address (RFC 1122)");
  expect_reachable({"2002:808:808::1"});
}

TEST(AddressPolicy, TeredoIsJudgedByItsServerAndItsClient) {
  expect_refused({"2001:0:a01:203::f7f7:f7f7"}, "private address (RFC 1918)");     // server 10.1.2.3
  expect_refused({"2001:0:808:808::80ff:fffe"}, "loopback address (RFC 1122)");    // client 127.0.0.1
  expect_refused({"2001:0:808:808::5601:5601"}, "link-local address (RFC 3927)");  // client 169.254.169.254
  expect_reachable({"2001:0:808:808::f7f7:f7f7"});                                 // 8.8.8.8 twice
}

TEST(AddressPolicy, IsatapInterfaceIsJudgedByTheAddressInside) {
  expect_refused({"2a00::5efe:10.1.2.3", "2a00::200:5efe:10.1.2.3", "2002:808:808::5efe:10.1.2.3"},
                 "private address (RFC 1918)");
  expect_reachable({"2a00::5efe:8.8.8.8", "2a00::200:5efe:8.8.8.8", "2a00::100:5efe:10.1.2.3", "2a00::5eff:10.1.2.3"});
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
