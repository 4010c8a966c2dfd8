#include "core/port_list.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

TEST(PortList, ReadsPortsAndRanges) {
  const auto ports = parse_ports(" 443,8000-8999 , 65535", nullptr);
  ASSERT_TRUE(ports);
  for (const int port : {443, 8000, 8500, 8999, 65535}) EXPECT_TRUE(contains(*ports, port)) << port;
  for (const int port : {0, 80, 442, 444, 7999, 9000, 65534}) EXPECT_FALSE(contains(*ports, port)) << port;
}

TEST(PortList, NamesTheItemThatIsBad) {
  for (const std::string bad : {"0", "65536", "x", "443x", "-1", "1-", "-", "9-8", "0443", "1-2-3", "+1", "1 2"}) {
    std::string bad_item;
    EXPECT_FALSE(parse_ports("443, " + bad, &bad_item)) << bad;
    EXPECT_EQ(bad_item, bad);
  }
}

TEST(PortList, DefaultHasHttpsAndUnprivilegedPortsButNoServiceOfTheSystem) {
  const auto ports = parse_ports(kAllowedPortsDefault, nullptr);
  ASSERT_TRUE(ports);
  for (const int port : {80, 443, 1024, 8443, 65535}) EXPECT_TRUE(contains(*ports, port)) << port;
  for (const int port : {0, 21, 22, 23, 25, 53, 110, 389, 445, 465, 587, 993, 1023})
    EXPECT_FALSE(contains(*ports, port));
}

}  // namespace
}  // namespace webhook
