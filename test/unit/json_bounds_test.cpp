#include "core/json_bounds.h"

#include <gtest/gtest.h>

#include <string>

namespace webhook {
namespace {

std::string repeated(const std::string& text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

// An object with so many keys.
std::string object(std::size_t keys) {
  std::string text = "{";
  for (std::size_t i = 0; i < keys; ++i) text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":1";
  return text + "}";
}

std::string array(const std::string& element, std::size_t count) {
  return "[" + repeated(element + ",", count - 1) + element + "]";
}

bool is_beyond(const std::string& json) { return json_bounds(json).problem != nullptr; }

TEST(JsonBounds, OrdinaryDataIsWithin) {
  for (const std::string& json :
       {std::string(), std::string("{}"), std::string("null"), std::string("-1.5e3"), std::string(R"("a,b:c{[")"),
        object(500), array(object(20), 200), array("1.5", 1'536),
        std::string(R"({"hash":")") + repeated("0f", 64) + "\"}", R"({"text":")" + repeated("x", 200'000) + "\"}"}) {
    EXPECT_FALSE(is_beyond(json)) << json.substr(0, 80);
  }
}

TEST(JsonBounds, SizeIsBounded) {
  EXPECT_FALSE(is_beyond("\"" + repeated("x", kJsonBytesMax - 2) + "\""));
  EXPECT_TRUE(is_beyond("\"" + repeated("x", kJsonBytesMax - 1) + "\""));
}

TEST(JsonBounds, NumberOfValuesIsBounded) {
  EXPECT_FALSE(is_beyond(array("1", kJsonValuesMax)));
  EXPECT_TRUE(is_beyond(array("1", kJsonValuesMax + 1)));
  EXPECT_TRUE(is_beyond(array("[" + array("1", 100) + "]", kJsonValuesMax / 100 + 1)));
}

TEST(JsonBounds, KeysAreBoundedByTheTimeToSortThem) {
  EXPECT_FALSE(is_beyond(object(2'000)));
  EXPECT_TRUE(is_beyond(object(2'001)));
  EXPECT_TRUE(is_beyond(R"({"within":[)" + object(2'001) + "]}"));
  EXPECT_TRUE(is_beyond("[" + object(1'500) + "," + object(1'500) + "]")) << "of all objects together";
  EXPECT_FALSE(is_beyond(array(object(20), 400))) << "many small ones take little";
}

TEST(JsonBounds, KeysOfAnOuterObjectCountThoughInnerOnesStandBetween) {
  std::string text = "{";
  for (int i = 0; i <= 2'000; ++i) text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + R"(":{"a":1})";
  EXPECT_TRUE(is_beyond(text + "}"));
}

TEST(JsonBounds, DepthIsBounded) {
  EXPECT_FALSE(is_beyond(repeated("[", kJsonDepthMax) + repeated("]", kJsonDepthMax)));
  EXPECT_TRUE(is_beyond(repeated("[", kJsonDepthMax + 1) + repeated("]", kJsonDepthMax + 1)));
  EXPECT_TRUE(is_beyond(repeated(R"({"a":)", kJsonDepthMax + 1) + "1" + repeated("}", kJsonDepthMax + 1)));
}

TEST(JsonBounds, NumbersAreBounded) {
  EXPECT_FALSE(is_beyond(repeated("7", kJsonNumberBytesMax)));
  EXPECT_TRUE(is_beyond(repeated("7", kJsonNumberBytesMax + 1)));
  EXPECT_TRUE(is_beyond(R"({"a":-0.)" + repeated("7", kJsonNumberBytesMax) + "}"));
  EXPECT_FALSE(is_beyond("[1e308,1E-308,1e+308]"));
  for (const char* number : {"1e309", "1E309", "1e+00309", "-1e-309", "1e99999999999999999999"}) {
    EXPECT_TRUE(is_beyond(number)) << number;
  }
}

TEST(JsonBounds, QuotesAndStructureWithinStringsDoNotCount) {
  EXPECT_FALSE(is_beyond("\"" + repeated(R"(\",:{[)", 20'000) + "\""));
  EXPECT_TRUE(is_beyond(R"(["\\",)" + array("1", kJsonValuesMax) + "]")) << "the string ends at its quote";
}

TEST(JsonBounds, StringsThatReadAsLongNumbersAreFound) {
  const std::string digits = repeated("7", kJsonNumberBytesMax + 1);
  for (const std::string& text :
       {digits, " -" + digits, std::string("1e309"), std::string(R"(1\u0065309)"),
        std::string(R"(1e\u0033\u0030\u0039)"), repeated(R"(\u0037)", 101), "0x" + repeated("f", 200),
        R"(\t0X)" + repeated("f", 200), "1_000" + digits, std::string("1e30_9")}) {
    EXPECT_TRUE(json_bounds("{\"a\":\"" + text + "\"}").has_long_number_text) << text;
    EXPECT_FALSE(is_beyond("{\"a\":\"" + text + "\"}")) << "only a filter that makes a number of it may not see it";
  }
  for (const std::string& text : {std::string(), std::string("1e308"), std::string("2024-01-01 10:00"), digits + "x",
                                  repeated("0f", 64), std::string("0xff"), repeated(R"(\u4f60)", 200)}) {
    EXPECT_FALSE(json_bounds("{\"a\":\"" + text + "\"}").has_long_number_text) << text;
  }
}

TEST(JsonBounds, WhatIsNoJsonIsReadToItsEnd) {
  for (const char* text : {"\"", "\"\\", "]", "}}}:,", "{\"a\":", "\"\\u12", "-", "\"0\\u", "\"\\u004"})
    json_bounds(text);
}

}  // namespace
}  // namespace webhook
