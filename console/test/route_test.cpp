#include "console/route.h"

#include <gtest/gtest.h>

#include <vector>

namespace webhook::console {
namespace {

using Kind = Route::Kind;
const std::vector<std::string> kDatabases{"", "crm", "shop"};

TEST(Route, FindsWhatIsServed) {
  EXPECT_EQ(route("/", "", kDatabases).kind, Kind::file);
  EXPECT_EQ(route("/vendor/lit.js?v=1", "", kDatabases).rest, "vendor/lit.js");
  EXPECT_EQ(route("/config", "", kDatabases).kind, Kind::config);
  EXPECT_EQ(route("/session", "", kDatabases).kind, Kind::session);
  const Route call = route("/rpc/save", "", kDatabases);
  EXPECT_EQ(call.kind, Kind::call);
  EXPECT_EQ(call.rest, "save");
  EXPECT_EQ(call.database, 0U);
}

TEST(Route, EachDatabaseHasItsPath) {
  EXPECT_EQ(route("/crm", "", kDatabases).kind, Kind::redirect);
  EXPECT_EQ(route("/shop/", "", kDatabases).kind, Kind::file);
  const Route call = route("/shop/rpc/save", "", kDatabases);
  EXPECT_EQ(call.kind, Kind::call);
  EXPECT_EQ(call.database, 2U);
  EXPECT_EQ(route("/other/rpc/save", "", kDatabases).kind, Kind::file);
}

TEST(Route, TheBasePathStandsBeforeAll) {
  EXPECT_EQ(route("/a/b", "/a/b", kDatabases).kind, Kind::redirect);
  EXPECT_EQ(route("/a/b/", "/a/b", kDatabases).kind, Kind::file);
  EXPECT_EQ(route("/a/b/crm/config", "/a/b", kDatabases).database, 1U);
  for (const char* target : {"/", "/a", "/a/bc/", "/A/b/", "/config"}) {
    EXPECT_EQ(route(target, "/a/b", kDatabases).kind, Kind::none) << target;
  }
}

TEST(Route, WhatLeavesTheFolderOrIsWrittenOtherwiseIsNowhere) {
  for (const char* target : {"",
                             "*",
                             "rpc/save",
                             "http://evil/",
                             "//",
                             "//evil.example/",
                             "/..",
                             "/../etc/passwd",
                             "/vendor/../x",
                             "/./x",
                             "/.",
                             "/%2e%2e/x",
                             "/a%2fb",
                             "/a\\b",
                             "/a b",
                             "/rpc//save",
                             "/caf\xc3\xa9",
                             "/a;b",
                             "/a:b",
                             "/a\nb"}) {
    EXPECT_EQ(route(target, "", kDatabases).kind, Kind::none) << target;
  }
  EXPECT_EQ(route(std::string_view("/a\0b", 4), "", kDatabases).kind, Kind::none);
}

TEST(Route, ACallIsOneName) {
  EXPECT_EQ(route("/rpc/a/b", "", kDatabases).kind, Kind::none);
  EXPECT_EQ(route("/rpc/", "", kDatabases).rest, "");
}

TEST(DatabaseName, IsPlainAndNotThePages) {
  for (const char* name : {"crm", "a-b_C9"}) EXPECT_TRUE(is_database_name(name)) << name;
  for (const char* name : {"", "a/b", "a.b", "..", "rpc", "session", "config", "vendor", "screens", "a b"}) {
    EXPECT_FALSE(is_database_name(name)) << name;
  }
  EXPECT_FALSE(is_database_name(std::string(64, 'a')));
}

}  // namespace
}  // namespace webhook::console
