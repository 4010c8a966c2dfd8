#include "console/json.h"

#include <gtest/gtest.h>

namespace webhook::console {
namespace {

std::string problem_of(std::string_view text) {
  JsonProblem problem;
  return parse_json(text, problem) ? "" : problem.what;
}

JsonValue parsed(std::string_view text) {
  JsonProblem problem;
  const auto value = parse_json(text, problem);
  EXPECT_TRUE(value) << text << ": " << problem.what;
  return value.value_or(JsonValue());
}

TEST(Json, AcceptsWhatRfc8259Accepts) {
  for (const char* text : {"null", " true ", "false", "0", "-0", "-1.5e+10", "1E2", "\"\"", "[]", "[ ]", "{}", "{ }",
                           "[1,[2,{\"a\":[]}]]", "\"\\u00e9\\ud83d\\ude00\\n\\/\"", "{\"a\":1, \"a\":2}", "\t\r\n1"}) {
    EXPECT_EQ(problem_of(text), "") << text;
  }
}

TEST(Json, RefusesWhatIsNoJson) {
  for (const char* text : {"",
                           " ",
                           "nul",
                           "True",
                           "01",
                           "1.",
                           ".5",
                           "-",
                           "+1",
                           "1e",
                           "1e+",
                           "0x1",
                           "NaN",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{a:1}",
                           "{\"a\":1,}",
                           "{\"a\" 1}",
                           "'a'",
                           "\"a",
                           "\"\\",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12g4\"",
                           "\"\n\"",
                           "1 2",
                           "[1]]",
                           "{\"a\":1}x",
                           "/**/1",
                           "[",
                           "{",
                           "{\"",
                           "\"\xff\"",
                           "\xef\xbb\xbf{}"}) {
    EXPECT_NE(problem_of(text), "") << text;
  }
}

TEST(Json, RefusesWhatPostgresqlCannotHold) {
  EXPECT_NE(problem_of("\"\\u0000\""), "");
  EXPECT_NE(problem_of(std::string_view("\"\0\"", 3)), "");
  EXPECT_NE(problem_of("\"\\ud800\""), "");
  EXPECT_NE(problem_of("\"\\udc00\""), "");
  EXPECT_NE(problem_of("\"\\ud800\\u0041\""), "");
  EXPECT_NE(problem_of("\"\\ud800\\ud800\""), "");
}

TEST(Json, BoundsTheDepth) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(problem_of(nested(kJsonDepthMax)), "");
  EXPECT_EQ(problem_of(nested(kJsonDepthMax + 1)), "it is nested too deeply");
  EXPECT_NE(problem_of(std::string(1'000'000, '[')), "");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(problem_of(objects), "it is nested too deeply");
}

TEST(Json, KeepsTheTextOfValues) {
  const auto object = members(parsed(R"({"n" : 12345678901234567890.10 , "o":{"x": [1, 2]}})"));
  ASSERT_TRUE(object);
  EXPECT_EQ(find_member(*object, "n")->text, "12345678901234567890.10");
  EXPECT_EQ(find_member(*object, "o")->text, R"({"x": [1, 2]})");
  EXPECT_EQ(find_member(*object, "x"), nullptr);
}

TEST(Json, ANameThatStandsTwiceIsNoObject) {
  EXPECT_FALSE(members(parsed(R"({"a":1,"b":2,"a":3})")));
  EXPECT_FALSE(members(parsed(R"({"a":1,"\u0061":3})")));
}

TEST(Json, DecodesStrings) {
  EXPECT_EQ(string_of(parsed(R"("a\"\\\/\b\f\n\r\tz")")), "a\"\\/\b\f\n\r\tz");
  EXPECT_EQ(string_of(parsed(R"("\u00e9\u20ac\ud83d\ude00")")), "é€😀");
}

TEST(Json, IntegersFitOrAreNone) {
  EXPECT_EQ(integer_of(parsed("9223372036854775807")), INT64_MAX);
  EXPECT_EQ(integer_of(parsed("-9223372036854775808")), INT64_MIN);
  EXPECT_FALSE(integer_of(parsed("9223372036854775808")));
  EXPECT_FALSE(integer_of(parsed("1.0")));
  EXPECT_FALSE(integer_of(parsed("1e3")));
}

TEST(Json, QuotesWhateverBytesComeIn) {
  EXPECT_EQ(json_quoted("a\"\\\n\x1f"), R"("a\"\\\u000a\u001f")");
  EXPECT_EQ(json_quoted(std::string_view("\xff\0", 2)), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

}  // namespace
}  // namespace webhook::console
