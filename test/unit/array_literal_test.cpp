#include "core/array_literal.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using Elements = std::vector<std::string>;

TEST(ArrayLiteral, ReadsPlainElements) {
  EXPECT_EQ(parse_array_literal("{id}"), Elements{"id"});
  EXPECT_EQ(parse_array_literal("{a,b,c}"), (Elements{"a", "b", "c"}));
}

TEST(ArrayLiteral, EmptyArrayHasNoElements) {
  EXPECT_EQ(parse_array_literal("{}"), Elements{});
  EXPECT_EQ(parse_array_literal(" { } "), Elements{});
}

TEST(ArrayLiteral, ReadsQuotedElements) {
  EXPECT_EQ(parse_array_literal(R"({a,"b c","q\"x"})"), (Elements{"a", "b c", "q\"x"}));
  EXPECT_EQ(parse_array_literal(R"({"","a,b","{x}","\\"," c "})"), (Elements{"", "a,b", "{x}", "\\", " c "}));
  EXPECT_EQ(parse_array_literal(R"({"odd name",b})"), (Elements{"odd name", "b"}));
}

TEST(ArrayLiteral, ReadsEscapesOutsideOfQuotes) {
  EXPECT_EQ(parse_array_literal(R"({a\,b,\"c,\{d\}})"), (Elements{"a,b", "\"c", "{d}"}));
}

TEST(ArrayLiteral, DropsBlanksAroundElementsAndKeepsThoseInside) {
  EXPECT_EQ(parse_array_literal("{ a b ,\t\"c\" ,d\n}"), (Elements{"a b", "c", "d"}));
}

TEST(ArrayLiteral, KeepsAnEscapedBlankAtTheEnd) { EXPECT_EQ(parse_array_literal("{a\\  }"), Elements{"a "}); }

TEST(ArrayLiteral, KeepsBytesThatAreNotAscii) {
  EXPECT_EQ(parse_array_literal("{größe,\"ü b\"}"), (Elements{"größe", "ü b"}));
}

TEST(ArrayLiteral, RefusesNullElements) {
  for (const std::string_view text : {"{NULL}", "{a,null}", "{ Null }"}) {
    EXPECT_EQ(parse_array_literal(text), std::nullopt) << text;
  }
}

TEST(ArrayLiteral, QuotedOrEscapedNullIsText) {
  EXPECT_EQ(parse_array_literal(R"({"NULL",\NULL,nulls,nul})"), (Elements{"NULL", "NULL", "nulls", "nul"}));
}

TEST(ArrayLiteral, RefusesMalformedText) {
  for (const std::string_view text :
       {"",       "a",     "{",        "}",        "{a",           "a}",   "{a}}",   "{a}b",  "{,}",  "{a,}", "{,a}",
        "{a,,b}", "{\"a}", "{\"a\"b}", "{a\"b\"}", "{\"a\"\"b\"}", "{a\\", "{\"a\\", "{a\\}", "x{a}", "[a]"}) {
    EXPECT_EQ(parse_array_literal(text), std::nullopt) << text;
  }
}

TEST(ArrayLiteral, RefusesMoreDimensionsAndExplicitBounds) {
  for (const std::string_view text : {"{{a},{b}}", "{a,{b}}", "[2:3]={a,b}"}) {
    EXPECT_EQ(parse_array_literal(text), std::nullopt) << text;
  }
}

TEST(ArrayLiteral, WritesWhatItReads) {
  for (const Elements& elements : {Elements{}, Elements{"a", "b"}, Elements{"", "null", "NULL"},
                                   Elements{"a b", "a\tb", " a", "q\"x", "\\", "{", "},"}}) {
    EXPECT_EQ(parse_array_literal(format_array_literal(elements)), elements);
  }
}

TEST(ArrayLiteral, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(format_array_literal({}), "{}");
  EXPECT_EQ(format_array_literal({"id", "größe", "Null", "a,b", "q\"\\"}), R"({id,größe,"Null","a,b","q\"\\"})");
}

}  // namespace
}  // namespace webhook
