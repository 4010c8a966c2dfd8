#include "core/identity.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

constexpr std::uint32_t kDatabase = 16'384;
constexpr std::uint64_t kSystem = 7'000'000'000'000'000'001;

const StoredIdentity kStored{.instance = {}, .database = kDatabase, .system_identifier = kSystem};

TEST(IdentityTest, NothingStoredIsAFreshInstall) {
  EXPECT_EQ(compare_identity(std::nullopt, false, kDatabase, kSystem), IdentityChange::kFresh);
}

TEST(IdentityTest, EverythingTheSameGoesOn) {
  EXPECT_EQ(compare_identity(kStored, true, kDatabase, kSystem), IdentityChange::kSame);
}

TEST(IdentityTest, OtherSystemAloneIsAnUpgrade) {
  EXPECT_EQ(compare_identity(kStored, true, kDatabase, kSystem + 1), IdentityChange::kUpgraded);
}

// pg_dump carries the identity, but not the checkpoint.
TEST(IdentityTest, IdentityWithoutCheckpointIsARestoredDump) {
  EXPECT_EQ(compare_identity(kStored, false, kDatabase, kSystem), IdentityChange::kCopy);
  EXPECT_EQ(compare_identity(kStored, false, kDatabase + 1, kSystem + 1), IdentityChange::kCopy);
}

TEST(IdentityTest, OtherDatabaseIsACopyMadeAsATemplate) {
  EXPECT_EQ(compare_identity(kStored, true, kDatabase + 1, kSystem), IdentityChange::kCopy);
  EXPECT_EQ(compare_identity(kStored, true, kDatabase + 1, kSystem + 1), IdentityChange::kCopy);
}

// Somebody deleted the identity: nobody knows what this is, so it must not call anyone.
TEST(IdentityTest, CheckpointWithoutIdentityIsNotTrusted) {
  EXPECT_EQ(compare_identity(std::nullopt, true, kDatabase, kSystem), IdentityChange::kCopy);
}

}  // namespace
}  // namespace webhook
