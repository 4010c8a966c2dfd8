#include "core/uuid.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace webhook {
namespace {

constexpr std::string_view kText = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";  // RFC 9562, section 4

TEST(Uuid, TextIsReadIntoBytesInOrder) {
  const std::optional<Uuid> uuid = parse_uuid(kText);
  ASSERT_TRUE(uuid);
  EXPECT_EQ(uuid->bytes, (std::array<std::uint8_t, 16>{0xf8, 0x1d, 0x4f, 0xae, 0x7d, 0xec, 0x11, 0xd0, 0xa7, 0x65, 0x00,
                                                       0xa0, 0xc9, 0x1e, 0x6b, 0xf6}));
}

TEST(Uuid, TextRoundTrips) { EXPECT_EQ(to_string(parse_uuid(kText).value()), kText); }

TEST(Uuid, UpperCaseIsReadAndWrittenInLowerCase) {
  EXPECT_EQ(to_string(parse_uuid("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6").value()), kText);
}

TEST(Uuid, OtherTextIsRefused) {
  for (const std::string_view text : {
           "",
           "f81d4fae-7dec-11d0-a765-00a0c91e6bf",     // short
           "f81d4fae-7dec-11d0-a765-00a0c91e6bf60",   // long
           "f81d4fae7dec11d0a76500a0c91e6bf6",        // without dashes
           "f81d4fa-e7dec-11d0-a765-00a0c91e6bf6",    // dash at the wrong place
           "f81d4fae-7dec-11d0-a765-00a0c91e6bg6",    // no hexadecimal digit
           "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",  // braces
           "f81d4fae-7dec-11d0-a765-00a0c91e6b 6",    // blank inside
           "f81d4fae-7dec-11d0-a765_00a0c91e6bf6",    // underscore for a dash
           "------------------------------------",
       }) {
    EXPECT_FALSE(parse_uuid(text)) << text;
  }
}

TEST(Uuid, OrderIsThatOfTheBytes) {
  EXPECT_LT(parse_uuid("00000000-0000-0000-0000-0000000000ff").value(),
            parse_uuid("01000000-0000-0000-0000-000000000000").value());
}

TEST(Uuid, HashTellsApartWhatDiffersInOneHalf) {
  std::unordered_set<std::size_t> hashes;
  for (const std::string_view text : {"00000000-0000-0000-0000-000000000000", "00000000-0000-0001-0000-000000000000",
                                      "00000000-0000-0000-0000-000000000001", "00000000-0000-0001-0000-000000000001"}) {
    hashes.insert(std::hash<Uuid>()(parse_uuid(text).value()));
  }
  EXPECT_EQ(hashes.size(), 4u);
}

}  // namespace
}  // namespace webhook
