#include "core/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace webhook {
namespace {

using namespace std::string_view_literals;

const std::string kFffd = "\xEF\xBF\xBD";

std::string fffd(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += kFffd;
  return text;
}

TEST(ToValidUtf8, LeavesWellFormedTextAlone) {
  for (const std::string_view text :
       {"", "a", "plain ASCII that is longer than a machine word", "ä€😀",
        "\x7f\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(to_valid_utf8(text), text);
    EXPECT_TRUE(is_valid_utf8(text)) << text;
  }
}

TEST(ToValidUtf8, ReplacesNul) {
  EXPECT_EQ(to_valid_utf8("a\0b"sv), "a" + kFffd + "b");
  EXPECT_EQ(to_valid_utf8("12345678\0abcdefg\0"sv), "12345678" + kFffd + "abcdefg" + kFffd);
}

TEST(ToValidUtf8, ReplacesNulAtEveryPlaceOfAWord) {
  for (std::size_t i = 0; i < 16; ++i) {
    std::string bytes(16, 'x');
    bytes[i] = '\0';
    EXPECT_EQ(to_valid_utf8(bytes), bytes.substr(0, i) + kFffd + bytes.substr(i + 1)) << i;
  }
}

TEST(ToValidUtf8, ReplacesEachByteOfOverlongForms) {
  EXPECT_EQ(to_valid_utf8("\xC0\xAF"), fffd(2));
  EXPECT_EQ(to_valid_utf8("\xE0\x80\xAF"), fffd(3));
  EXPECT_EQ(to_valid_utf8("\xF0\x80\x80\xAF"), fffd(4));
}

TEST(ToValidUtf8, ReplacesEachByteOfSurrogates) {
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), fffd(3));
  EXPECT_EQ(to_valid_utf8("\xED\xBF\xBF"), fffd(3));
}

TEST(ToValidUtf8, ReplacesEachByteAboveTheLastCodePoint) {
  EXPECT_EQ(to_valid_utf8("\xF4\x90\x80\x80"), fffd(4));
  EXPECT_EQ(to_valid_utf8("\xF5\xFE\xFF"), fffd(3));
}

TEST(ToValidUtf8, ReplacesATruncatedCharacterOnce) {
  EXPECT_EQ(to_valid_utf8("a\xE2\x82"), "a" + kFffd);
  EXPECT_EQ(to_valid_utf8("a\xF0\x9F\x98"), "a" + kFffd);
  EXPECT_EQ(to_valid_utf8("a\xF0\x9F\x98z"), "a" + kFffd + "z");
}

TEST(ToValidUtf8, ReplacesALoneContinuationByte) { EXPECT_EQ(to_valid_utf8("a\x80z\xBF"), "a" + kFffd + "z" + kFffd); }

// The Unicode standard, section 3.9, tables 3-8 to 3-11.
TEST(ToValidUtf8, ReplacesMaximalSubpartsAsInTheStandardsTables) {
  EXPECT_EQ(to_valid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), fffd(8) + "A");
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), fffd(8) + "A");
  EXPECT_EQ(to_valid_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), fffd(5) + "A" + fffd(2) + "B");
  EXPECT_EQ(to_valid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), fffd(4) + "A");
}

TEST(ToValidUtf8, MakesValidTextOfEveryPairOfBytes) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string bytes = {static_cast<char>(first), static_cast<char>(second)};
      const std::string text = to_valid_utf8(bytes);
      ASSERT_TRUE(is_valid_utf8(text)) << first << " " << second;
      ASSERT_EQ(is_valid_utf8(bytes), text == bytes) << first << " " << second;
    }
  }
}

TEST(IsValidUtf8, RefusesOneBadByteAnywhereInLongText) {
  for (std::size_t i = 0; i < 24; ++i) {
    std::string bytes(24, 'x');
    bytes[i] = '\xff';
    EXPECT_FALSE(is_valid_utf8(bytes)) << i;
  }
}

TEST(Utf8Prefix, ReturnsAllOfWhatFits) {
  EXPECT_EQ(utf8_prefix("ä€", 5), "ä€");
  EXPECT_EQ(utf8_prefix("ä€", 100), "ä€");
  EXPECT_EQ(utf8_prefix("", 0), "");
}

TEST(Utf8Prefix, CutsBeforeTheCharacterThatDoesNotFit) {
  EXPECT_EQ(utf8_prefix("abc", 2), "ab");
  EXPECT_EQ(utf8_prefix("a€b", 4), "a€");
  EXPECT_EQ(utf8_prefix("a€b", 3), "a");
  EXPECT_EQ(utf8_prefix("a€b", 2), "a");
  EXPECT_EQ(utf8_prefix("a€b", 1), "a");
  EXPECT_EQ(utf8_prefix("a😀b", 4), "a");
  EXPECT_EQ(utf8_prefix("€", 2), "");
  EXPECT_EQ(utf8_prefix("€", 0), "");
}

TEST(Utf8Prefix, StaysWithinTheBoundOnIllFormedText) {
  EXPECT_EQ(utf8_prefix("\x80\x80\x80\x80\x80\x80\x80", 5).size(), 5u);
  EXPECT_EQ(utf8_prefix("\x80\x80", 1).size(), 1u);
}

}  // namespace
}  // namespace webhook
