#include "core/log_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

#include "core/utf8.h"

namespace webhook {
namespace {

using namespace std::string_view_literals;

struct Range {
  char32_t first;
  char32_t last;
};

// The categories Cc, Cf, Zl and Zp of Unicode 14, by Python's unicodedata.
constexpr auto kCategories = std::to_array<Range>({
    {0x0000, 0x001F},   {0x007F, 0x009F},   {0x00AD, 0x00AD},   {0x0600, 0x0605},   {0x061C, 0x061C},
    {0x06DD, 0x06DD},   {0x070F, 0x070F},   {0x0890, 0x0891},   {0x08E2, 0x08E2},   {0x180E, 0x180E},
    {0x200B, 0x200F},   {0x2028, 0x202E},   {0x2060, 0x2064},   {0x2066, 0x206F},   {0xFEFF, 0xFEFF},
    {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x13438}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F},
});
// DerivedCoreProperties.txt of Unicode 15.1, Default_Ignorable_Code_Point; and what Cf has got since.
constexpr auto kUnseen = std::to_array<Range>({
    {0x034F, 0x034F},
    {0x115F, 0x1160},
    {0x17B4, 0x17B5},
    {0x180B, 0x180F},
    {0x2065, 0x2065},
    {0x3164, 0x3164},
    {0xFE00, 0xFE0F},
    {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFF8},
    {0xE0000, 0xE0FFF},
    {0x13439, 0x1343F},
});

bool is_escaped(char32_t character) {
  const auto holds = [character](const Range& range) { return range.first <= character && character <= range.last; };
  return std::any_of(kCategories.begin(), kCategories.end(), holds) ||
         std::any_of(kUnseen.begin(), kUnseen.end(), holds);
}

std::string utf8(char32_t c) {
  const auto byte = [](char32_t value) { return static_cast<char>(static_cast<std::uint8_t>(value)); };
  const auto rest = [&](char32_t value) { return byte(0x80 | (value & 0x3f)); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xc0 | c >> 6), rest(c)};
  if (c < 0x10000) return {byte(0xe0 | c >> 12), rest(c >> 6), rest(c)};
  return {byte(0xf0 | c >> 18), rest(c >> 12), rest(c >> 6), rest(c)};
}

std::string escape_of(char32_t c) {
  char text[16];
  if (c > 0xffff) {
    snprintf(text, sizeof text, "\\U%08X", static_cast<unsigned>(c));
  } else {
    snprintf(text, sizeof text, "\\u%04X", static_cast<unsigned>(c));
  }
  return text;
}

TEST(LogText, EscapesEveryControlFormatAndUnseenCharacterAndNoOther) {
  for (char32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    const std::string character = utf8(c);
    const std::string expected = "a" + (is_escaped(c) ? escape_of(c) : character) + "b";
    ASSERT_EQ(LogText("a" + character + "b").text(), expected) << "U+" << std::hex << static_cast<unsigned>(c);
  }
}

TEST(LogText, EscapesWhatIsNoUtf8ByteByByte) {
  EXPECT_EQ(LogText("\xff\xc0\xaf\xed\xa0\x80 \xe2\x82").text(), R"(\xFF\xC0\xAF\xED\xA0\x80 \xE2\x82)");
}

TEST(LogText, IsBoundedWithoutCuttingACharacterOrAnEscape) {
  EXPECT_EQ(printable("\x1b\x1b", 12), R"(\u001B\u001B)");
  EXPECT_EQ(printable("\x1b\x1b", 11), R"(\u001B...)");
  EXPECT_EQ(printable("a€", 3), "a...");
  EXPECT_LE(LogText(std::string(100'000, '\x1b')).text().size(), LogText::kBytesMax + 3);
}

TEST(LogText, LeavesOrdinaryTextAlone) {
  constexpr auto kText = "webhook \"Kündigung 日本語 😀\" (C:\\x): HTTP status 500"sv;
  EXPECT_EQ(LogText(kText).text(), kText);
}

TEST(LogText, InAsciiEscapesTheRestToo) {
  EXPECT_EQ(LogText("é \xe2\x80\xae 😀").ascii(), R"(\u00E9 \u202E \U0001F600)");
}

}  // namespace
}  // namespace webhook
