#include "core/share.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace webhook {
namespace {

constexpr int kWebhooks = 10'000;

std::vector<Uuid> random_uuids() {
  std::mt19937 random(1);
  std::vector<Uuid> uuids(kWebhooks);
  for (Uuid& uuid : uuids) {
    for (std::uint8_t& byte : uuid.bytes) byte = static_cast<std::uint8_t>(random());
  }
  return uuids;
}

// Counted up in the two bytes that end at this one.
std::vector<Uuid> sequential_uuids(std::size_t last_byte) {
  std::vector<Uuid> uuids(kWebhooks);
  for (std::size_t i = 0; i < uuids.size(); ++i) {
    uuids[i].bytes[last_byte - 1] = static_cast<std::uint8_t>(i >> 8);
    uuids[i].bytes[last_byte] = static_cast<std::uint8_t>(i);
  }
  return uuids;
}

// Each uuid has one owner, and no owner much more or less than its part.
void expect_even_shares(const std::vector<Uuid>& uuids) {
  for (const int count : {2, 3, 7, 16}) {
    std::vector<int> owned(static_cast<std::size_t>(count));
    for (const Uuid& uuid : uuids) {
      int owners = 0;
      for (int number = 1; number <= count; ++number) {
        if (!WorkerShare{number, count}.owns(uuid)) continue;
        ++owners;
        ++owned[static_cast<std::size_t>(number - 1)];
      }
      ASSERT_EQ(owners, 1) << to_string(uuid);
    }
    const double part = static_cast<double>(kWebhooks) / count;
    for (const int each : owned) EXPECT_NEAR(each, part, part * 0.15) << "of " << count;
  }
}

TEST(ShareTest, RandomWebhooksSpreadEvenly) { expect_even_shares(random_uuids()); }

TEST(ShareTest, CountedUpWebhooksSpreadEvenlyWhicheverBytesCount) {
  for (const std::size_t last_byte : {1U, 7U, 8U, 15U}) expect_even_shares(sequential_uuids(last_byte));
}

TEST(ShareTest, OneWorkerOwnsAll) {
  for (const Uuid& uuid : random_uuids()) ASSERT_TRUE(WorkerShare().owns(uuid));
}

}  // namespace
}  // namespace webhook
