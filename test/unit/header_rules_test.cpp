#include "core/header_rules.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using namespace std::string_view_literals;

std::string problem(std::string_view name, std::string_view value = "v") {
  return header_problem(name, value).value_or("");
}

TEST(HeaderProblem, NothingIsWrongWithOrdinaryHeaders) {
  EXPECT_EQ(problem("Authorization", "Bearer abc.def-ghi=="), "");
  EXPECT_EQ(problem("X-Api-Key", "k"), "");
  EXPECT_EQ(problem("!#$%&'*+-.^_`|~09azAZ", "a \t b"), "");
  EXPECT_EQ(problem("X-All", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"), "");
}

TEST(HeaderProblem, NameIsAToken) {
  for (const std::string_view name :
       {"X Y"sv, "X:"sv, "X\r\nY"sv, "X\0"sv, "(X)"sv, "X/Y"sv, "X@Y"sv, "X\"Y"sv, "Xä"sv, "X\x7f"sv, " X"sv}) {
    EXPECT_EQ(problem(name), "the header's name has a character other than letters, digits and !#$%&'*+-.^_`|~")
        << name;
  }
}

TEST(HeaderProblem, NameIsNeitherEmptyNorLong) {
  EXPECT_EQ(problem(""), "the header's name is empty");
  EXPECT_EQ(problem(std::string(100, 'x')), "");
  EXPECT_EQ(problem(std::string(101, 'x')), "the header's name is longer than 100 bytes");
}

TEST(HeaderProblem, OursCannotBeOverridden) {
  for (const std::string name : {"Content-Type", "content-type", "User-Agent", "USER-AGENT", "webhook-id",
                                 "Webhook-Signature", "webhook-anything", "X-Webhook-Event", "x-webhook-signature"}) {
    EXPECT_EQ(problem(name), "the header " + name + " is set by the delivery itself");
  }
}

TEST(HeaderProblem, FramingAndConnectionBelongToTheTransfer) {
  for (const std::string_view name : {"Host", "host", "Content-Length", "CONTENT-LENGTH", "Transfer-Encoding",
                                      "Connection", "Content-Encoding", "Expect", "TE", "te", "Trailer", "Upgrade",
                                      "Keep-Alive", "HTTP2-Settings", "Proxy-Authorization", "proxy-connection"}) {
    EXPECT_NE(problem(name), "") << name;
  }
}

TEST(HeaderProblem, NamesThatOnlyResembleReservedOnesAreFine) {
  for (const std::string_view name :
       {"X-Host", "Hosts", "Webhook", "X-Webhook", "Proxy", "Tea", "Content-Language", "My-Webhook-Id", "Accept"}) {
    EXPECT_EQ(problem(name), "") << name;
  }
}

TEST(HeaderProblem, ValueHasNoLineBreak) {
  for (const std::string_view value : {"a\r\nX-Injected: 1", "a\nb", "a\rb", "\n", "a\r\n b"}) {
    EXPECT_EQ(problem("X", value), "the value of the header X has a line break");
  }
}

TEST(HeaderProblem, ValueIsVisibleAscii) {
  for (const std::string_view value : {"a\0b"sv, "\x01"sv, "\x7f"sv, "ä"sv, "\xff"sv}) {
    EXPECT_EQ(problem("X", value), "the value of the header X has a character other than visible ASCII, space and tab");
  }
}

TEST(HeaderProblem, ValueIsNeitherEmptyNorLong) {
  EXPECT_EQ(problem("X", ""), "the value of the header X is empty");
  EXPECT_EQ(problem("X", std::string(2000, 'v')), "");
  EXPECT_EQ(problem("X", std::string(2001, 'v')), "the value of the header X is longer than 2000 bytes");
}

TEST(HeaderProblem, ValueHasNoBlankAtItsEnds) {
  for (const std::string_view value : {" a", "a ", "\ta", "a\t", " "}) {
    EXPECT_EQ(problem("X", value), "the value of the header X begins or ends with a blank");
  }
}

TEST(HeaderProblem, TextNeverTellsTheValue) {
  EXPECT_EQ(problem("Authorization", "Bearer s3cret\n").find("s3cret"), std::string::npos);
  EXPECT_EQ(problem("Bearer s3cret", "v").find("s3cret"), std::string::npos);
}

}  // namespace
}  // namespace webhook
