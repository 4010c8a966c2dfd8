#include "core/version.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

TEST(Version, TheThirdNumberDoesNotCount) {
  EXPECT_EQ(compare_sql_version("1.0", "1.0"), SqlVersion::kSameSeries);
  EXPECT_EQ(compare_sql_version("1.0", "1.0.3"), SqlVersion::kSameSeries);
  EXPECT_EQ(compare_sql_version("1.2.9", "1.2"), SqlVersion::kSameSeries);
}

TEST(Version, NumbersAreComparedAsNumbers) {
  EXPECT_EQ(compare_sql_version("1.9", "1.10"), SqlVersion::kOlder);
  EXPECT_EQ(compare_sql_version("1.10", "1.9"), SqlVersion::kNewer);
  EXPECT_EQ(compare_sql_version("2.0", "1.9.9"), SqlVersion::kNewer);
  EXPECT_EQ(compare_sql_version("0.9", "1.0"), SqlVersion::kOlder);
}

TEST(Version, WhatIsNoNumberCountsAsZero) {
  EXPECT_EQ(compare_sql_version("1", "1.0"), SqlVersion::kSameSeries);
  EXPECT_EQ(compare_sql_version("unpackaged", "1.0"), SqlVersion::kOlder);
  EXPECT_EQ(compare_sql_version("", "1.0"), SqlVersion::kOlder);
}

TEST(Version, TheLibrarysOwnIsServed) {
  EXPECT_EQ(compare_sql_version(library_version(), library_version()), SqlVersion::kSameSeries);
}

}  // namespace
}  // namespace webhook
