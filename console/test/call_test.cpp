#include "console/call.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "console/json.h"

namespace webhook::console {
namespace {

using Parameters = std::vector<std::optional<std::string>>;

std::variant<Call, ApiError> called(std::string_view function, std::string_view body) {
  return make_call(*find_function(function), body);
}

Parameters parameters_of(std::string_view function, std::string_view body) {
  auto made = called(function, body);
  if (auto* error = std::get_if<ApiError>(&made)) {
    ADD_FAILURE() << error->message;
    return {};
  }
  return std::get<Call>(made).parameters;
}

ApiError refusal_of(std::string_view function, std::string_view body) {
  auto made = called(function, body);
  if (auto* error = std::get_if<ApiError>(&made)) return *error;
  ADD_FAILURE() << "accepted: " << body;
  return {};
}

TEST(Call, NamesAreTheTablesAndValuesAreParameters) {
  auto made = called("webhook", R"({"id": "1'); DROP TABLE webhook_logs; --"})");
  const Call& call = std::get<Call>(made);
  EXPECT_NE(call.sql.find("webhook_api.\"webhook\"(\"id\" => $1)"), std::string::npos) << call.sql;
  EXPECT_EQ(call.sql.find("DROP"), std::string::npos);
  EXPECT_EQ(call.parameters, Parameters{"1'); DROP TABLE webhook_logs; --"});
}

TEST(Call, AnArgumentThatIsLeftOutHasItsDefault) {
  EXPECT_EQ(parameters_of("webhooks", ""), Parameters{});
  EXPECT_EQ(parameters_of("webhooks", "{}"), Parameters{});
  EXPECT_EQ(parameters_of("webhooks", R"({"search": null})"), Parameters{std::nullopt});
}

TEST(Call, ARequiredArgumentIsNamedWhenItIsMissing) {
  const ApiError error = refusal_of("webhook", "{}");
  EXPECT_EQ(error.status, 400U);
  EXPECT_EQ(error.details, R"({"field": "id"})");
}

TEST(Call, AnUnknownArgumentIsRefused) {
  const ApiError error = refusal_of("webhook", R"({"id": 1, "role": "postgres"})");
  EXPECT_EQ(error.status, 400U);
  EXPECT_EQ(error.message, "function webhook has no argument \"role\"");
}

TEST(Call, AnArgumentThatIsGivenTwiceIsRefused) {
  EXPECT_EQ(refusal_of("webhook", R"({"id": 1, "id": 2})").status, 400U);
}

TEST(Call, NumbersKeepTheirDigits) {
  EXPECT_EQ(parameters_of("attempt", R"({"id": 9223372036854775807})"), Parameters{"9223372036854775807"});
  EXPECT_EQ(parameters_of("attempt", R"({"id": 123456789012345678901234567890})"),
            Parameters{"123456789012345678901234567890"});
  EXPECT_EQ(parameters_of("save", R"({"webhook": {"rate_limit_per_s": 0.10}})"),
            Parameters{R"({"rate_limit_per_s": 0.10})"});
}

TEST(Call, ListsBecomeArrayLiteralsThatNoElementLeaves) {
  EXPECT_EQ(parameters_of("redeliver", R"({"log_ids": ["1", 2, "}\",{\\"]})"), Parameters{R"({"1","2","}\",{\\"})"});
  EXPECT_EQ(parameters_of("match_count", R"({"events": []})"), Parameters{"{}"});
  EXPECT_EQ(parameters_of("match_count", R"({"events": ["", "NULL"]})"), Parameters{R"({"","NULL"})"});
}

TEST(Call, AValueOfAnotherTypeIsRefusedWithItsField) {
  const std::pair<std::string_view, std::string_view> wrong[] = {
      {"webhooks", R"({"search": 1})"},
      {"webhooks", R"({"page_size": "50"})"},
      {"webhook", R"({"id": 1.5})"},
      {"webhook", R"({"id": 1e3})"},
      {"webhook", R"({"id": true})"},
      {"webhook", R"({"id": [1]})"},
      {"replay", R"({"id": 1, "dry_run": 1})"},
      {"match_count", R"({"events": "a"})"},
      {"match_count", R"({"events": [null]})"},
      {"match_count", R"({"events": [["a"]]})"},
      {"redeliver", R"({"log_ids": [1.5]})"},
      {"redeliver", R"({"log_ids": {"0": 1}})"},
  };
  for (const auto& [function, body] : wrong) {
    const ApiError error = refusal_of(function, body);
    EXPECT_EQ(error.status, 400U) << body;
    EXPECT_EQ(error.code, "22023") << body;
    EXPECT_TRUE(error.details && error.details->starts_with("{\"field\": ")) << body;
  }
}

TEST(Call, ABodyThatIsNoObjectIsRefused) {
  for (const char* body : {"[]", "1", "null", "\"a\"", "{", "{}{}", "\xff", "{\"id\": \"\\u0000\"}"}) {
    EXPECT_EQ(refusal_of("webhook", body).status, 400U) << body;
  }
}

TEST(Functions, HaveParametersOfDistinctNames) {
  for (const Function& function : functions()) {
    for (const Parameter& parameter : function.parameters) {
      EXPECT_EQ(std::count_if(function.parameters.begin(), function.parameters.end(),
                              [&](const Parameter& other) { return other.name == parameter.name; }),
                1)
          << function.name << " " << parameter.name;
    }
  }
}

TEST(Functions, NothingElseIsFound) {
  for (const char* name : {"", "Session", "session ", "webhook_internal", "pg_sleep", "session\"", "save;"}) {
    EXPECT_EQ(find_function(name), nullptr) << name;
  }
}

TEST(HttpStatus, IsPostgrests) {
  const std::pair<std::string_view, unsigned> expected[] = {
      {"08006", 503}, {"09000", 500}, {"0L000", 403}, {"0P000", 403}, {"21000", 500}, {"22023", 400}, {"22P02", 400},
      {"23502", 400}, {"23503", 409}, {"23505", 409}, {"23514", 400}, {"25006", 405}, {"25P02", 500}, {"28000", 403},
      {"28P01", 403}, {"2D000", 500}, {"38000", 500}, {"39000", 500}, {"3B000", 500}, {"3F000", 503}, {"40001", 500},
      {"40P01", 500}, {"42501", 403}, {"42601", 400}, {"42704", 400}, {"42883", 404}, {"42P01", 404}, {"42P17", 500},
      {"53100", 503}, {"53300", 503}, {"53400", 500}, {"54000", 500}, {"55000", 500}, {"55P03", 500}, {"57014", 500},
      {"57P01", 503}, {"57P03", 503}, {"58030", 500}, {"F0000", 500}, {"HV000", 500}, {"P0001", 400}, {"P0002", 500},
      {"XX000", 500}, {"PT404", 404}, {"PT409", 409}, {"PT503", 503}, {"PT418", 418},
  };
  for (const auto& [sqlstate, status] : expected) EXPECT_EQ(http_status(sqlstate), status) << sqlstate;
}

TEST(HttpStatus, NoErrorIsASuccess) {
  for (const char* sqlstate : {"PT200", "PT000", "PT999", "PT304", "PT100", "PTabc", "PT40", "", "1"}) {
    EXPECT_EQ(http_status(sqlstate), 500U) << sqlstate;
  }
}

TEST(ApiError, IsJsonWhateverItSays) {
  const ApiError error{
      .status = 400, .code = "22023", .message = "a \"quoted\"\n\x01 \xff", .details = "{\"field\": \"url\"}"};
  JsonProblem problem;
  const std::string text = to_json(error);
  const auto value = parse_json(text, problem);
  ASSERT_TRUE(value) << text;
  const auto found = members(*value);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 4U);
  EXPECT_EQ(string_of(*find_member(*found, "details")), "{\"field\": \"url\"}");
  EXPECT_EQ(find_member(*found, "hint")->kind, JsonKind::null);
}

}  // namespace
}  // namespace webhook::console
