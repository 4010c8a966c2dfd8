#include "core/response_headers.h"

#include <gtest/gtest.h>

#include <string>

#include "core/utf8.h"

namespace webhook {
namespace {

using namespace std::string_literals;

std::string stored(const std::string& fields) { return storable_headers(fields, {"X-Key: k", "X-Region;"}); }

TEST(ResponseHeadersTest, EachFieldIsALineWithoutBlanksAroundItsValue) {
  EXPECT_EQ(stored("Server:nginx\nX-Request-Id: \t a b \t\n"), "Server: nginx\nX-Request-Id: a b");
  EXPECT_EQ(stored("X-Empty:\n"), "X-Empty: ");
  EXPECT_EQ(stored(""), "");
}

TEST(ResponseHeadersTest, LineWithoutANameIsLeftOut) { EXPECT_EQ(stored("no colon\n: no name\n\nA: b\n"), "A: b"); }

TEST(ResponseHeadersTest, CredentialsAreMaskedWhateverTheCaseOfTheirNames) {
  EXPECT_EQ(stored("sEt-CooKie: id=7; Path=/\n"), "sEt-CooKie: ***");
  for (const std::string name : {"Set-Cookie2", "Authorization", "Proxy-Authorization", "X-Amz-Security-Token",
                                 "X-API-KEY", "Authentication-Info", "Client-Secret", "webhook-signature"}) {
    EXPECT_EQ(stored(name + ": abc\n"), name + ": ***");
  }
}

TEST(ResponseHeadersTest, ChallengeIsShown) {
  EXPECT_EQ(stored("WWW-Authenticate: Bearer realm=\"hooks\"\n"), "WWW-Authenticate: Bearer realm=\"hooks\"");
}

TEST(ResponseHeadersTest, HeadersOfTheRequestThatAReceiverEchoesAreMasked) {
  EXPECT_EQ(stored("x-key: k\nX-REGION : eu\nX-Keys: 2\n"), "x-key: ***\nX-REGION: ***\nX-Keys: 2");
}

TEST(ResponseHeadersTest, QueryOfALocationIsMasked) {
  EXPECT_EQ(stored("Location: https://a.example/b?sig=1&t=2\n"), "Location: https://a.example/b?***");
  EXPECT_EQ(stored("location: /moved/\nContent-Location: /a?b\n"), "location: /moved/\nContent-Location: /a?***");
}

TEST(ResponseHeadersTest, WhatIsNoTextBecomesReplacementCharacters) {
  EXPECT_EQ(stored("A: b\rSet-Cookie: c\n"), "A: b\xef\xbf\xbdSet-Cookie: c");
  EXPECT_EQ(stored("A: \xff\x1b[2J\x7f\tz\0\n"s), "A: \xef\xbf\xbd\xef\xbf\xbd[2J\xef\xbf\xbd\tz\xef\xbf\xbd");
  EXPECT_EQ(stored("\xc3: d\xc3\xa9j\xc3\xa0\n"), "\xef\xbf\xbd: d\xc3\xa9j\xc3\xa0");
}

TEST(ResponseHeadersTest, LengthIsBoundedWithoutSplittingACharacter) {
  std::string many;
  for (int i = 0; i < 500; ++i) many += "X-" + std::to_string(i) + ": \xff\xe2\x82\xac\n";
  const std::string text = stored(many);
  EXPECT_LE(text.size(), kStoredHeaderBytesMax);
  EXPECT_GT(text.size(), kStoredHeaderBytesMax - 4);
  EXPECT_TRUE(is_valid_utf8(text));
  EXPECT_LE(stored("A: " + std::string(100'000, '\x01') + "\n").size(), kStoredHeaderBytesMax);
}

}  // namespace
}  // namespace webhook
