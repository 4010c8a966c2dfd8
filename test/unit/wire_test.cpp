// The vectors that docs/wire-format.md shows.
#include "core/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "header_lines.h"

namespace webhook {
namespace {

using std::chrono::day;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::month;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::year;
using testing::ElementsAre;

Time utc(int y, unsigned m, unsigned d, seconds since_midnight = {}, microseconds fraction = {}) {
  return sys_days(year(y) / month(m) / day(d)) + since_midnight + fraction;
}

const Time kHalfPastTen = utc(2024, 1, 15, seconds(10 * 3600 + 30 * 60));

Event contact_created(std::string data) {
  Event event;
  event.created_at = kHalfPastTen;
  event.name = "contact.created";
  event.data = std::move(data);
  return event;
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(FormatTimestamp, IsIso8601InUtcWithMilliseconds) {
  EXPECT_EQ(format_timestamp(kHalfPastTen), "2024-01-15T10:30:00.000Z");
}

TEST(FormatTimestamp, TruncatesToMilliseconds) {
  EXPECT_EQ(format_timestamp(utc(2024, 12, 31, seconds(86399), microseconds(999999))), "2024-12-31T23:59:59.999Z");
}

TEST(FormatTimestamp, TruncatesTowardsThePastBefore1970Too) {
  EXPECT_EQ(format_timestamp(Time(microseconds(-1))), "1969-12-31T23:59:59.999Z");
}

TEST(FormatTimestamp, KnowsLeapYears) {
  EXPECT_EQ(format_timestamp(utc(2000, 2, 29)), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(format_timestamp(utc(2100, 2, 28) + std::chrono::days(1)), "2100-03-01T00:00:00.000Z");
}

TEST(FormatTimestamp, StaysWithinYearsOfFourDigits) {
  EXPECT_EQ(format_timestamp(Time::min()), "0000-01-01T00:00:00.000Z");
  EXPECT_EQ(format_timestamp(Time::max()), "9999-12-31T23:59:59.999Z");
}

TEST(JsonString, EscapesQuoteBackslashAndControls) {
  EXPECT_EQ(json_string("a\"b\\c\b\f\n\r\t"), R"("a\"b\\c\b\f\n\r\t")");
  EXPECT_EQ(json_string(std::string_view("\0\x01\x1f", 3)), R"("\u0000\u0001\u001f")");
}

TEST(JsonString, LeavesAllElseAsItIs) {
  EXPECT_EQ(json_string(""), R"("")");
  EXPECT_EQ(json_string("/ \x7f ä € 😀"), "\"/ \x7f ä € 😀\"");
}

TEST(JsonString, EscapesWhereverACharacterStands) {
  for (int byte = 0; byte < 256; ++byte) {
    const bool is_escaped = byte < 0x20 || byte == '"' || byte == '\\';
    for (std::size_t at = 0; at < 17; ++at) {
      std::string text(17, 'x');
      text[at] = static_cast<char>(byte);
      const std::string json = json_string(text);
      EXPECT_EQ(json.size() > text.size() + 2, is_escaped) << byte << " at " << at;
      EXPECT_EQ(json[1 + at] == '\\', is_escaped) << byte << " at " << at;
      EXPECT_EQ(json.substr(0, 1 + at), '"' + std::string(at, 'x'));
      EXPECT_EQ(json.substr(json.size() - (17 - at)), std::string(16 - at, 'x') + '"');
    }
  }
}

TEST(JsonString, AppendsToWhatIsThere) {
  std::string out = "x";
  append_json_string(out, "y");
  EXPECT_EQ(out, "x\"y\"");
}

TEST(BuildBody, HasEventTimestampAndDataInThisOrder) {
  EXPECT_EQ(build_body(contact_created(R"({"id":1,"name":"Ada"})")),
            R"({"event":"contact.created","timestamp":"2024-01-15T10:30:00.000000Z","data":{"id":1,"name":"Ada"}})");
}

TEST(BuildBody, TimestampHasMicroseconds) {
  Event event;
  event.name = "a";
  event.data = "1";
  event.created_at = utc(2024, 12, 31, seconds(86399), microseconds(1));
  EXPECT_EQ(build_body(event), R"({"event":"a","timestamp":"2024-12-31T23:59:59.000001Z","data":1})");
  event.created_at = Time(microseconds(-1));
  EXPECT_EQ(build_body(event), R"({"event":"a","timestamp":"1969-12-31T23:59:59.999999Z","data":1})");
}

TEST(BuildBody, TakesTheDataByteForByte) {
  const std::string data = "{ \"b\" : 1.50,\n \"a\":\"\\u00e4 ä\" }";
  EXPECT_TRUE(build_body(contact_created(data)).ends_with("\"data\":" + data + "}"));
}

TEST(BuildBody, HasThePreviousValuesBesideTheData) {
  Event event = contact_created(R"({"id":1,"name":"Ada"})");
  event.previous = R"({"name":"Eve"})";
  EXPECT_EQ(build_body(event), R"({"event":"contact.created","timestamp":"2024-01-15T10:30:00.000000Z",)"
                               R"("data":{"id":1,"name":"Ada"},"previous":{"name":"Eve"}})");
}

TEST(BuildBody, MarksABackfill) {
  Event event = contact_created("{}");
  event.is_backfill = true;
  EXPECT_EQ(build_body(event),
            R"({"event":"contact.created","timestamp":"2024-01-15T10:30:00.000000Z","backfill":true,"data":{}})");
}

TEST(BuildBody, IsAllocatedAtItsSize) {
  Event event = contact_created(std::string(1000, ' '));
  std::string body = build_body(event);
  EXPECT_EQ(body.capacity(), body.size());
  event.previous = std::string(1000, ' ');
  body = build_body(event);
  EXPECT_EQ(body.capacity(), body.size());
}

// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
TEST(GithubSignature, MatchesTheVectorOfGithubsDocumentation) {
  HmacKey key = HmacKey::from_secret("It's a Secret to Everybody");
  EXPECT_EQ(github_signature(key, "Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

// https://github.com/standard-webhooks/standard-webhooks
TEST(StandardSignature, MatchesTheVectorOfStandardWebhooks) {
  HmacKey key = HmacKey::from_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  EXPECT_EQ(standard_signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

// What the receivers of each kind are given is the same text.
TEST(SigningKey, HasTheTextForGithubAndWhatIsEncodedForStandardWebhooks) {
  SigningKey key("whsec_SmVmZQ==");
  EXPECT_EQ(key.github.sign({"a"}), HmacKey("whsec_SmVmZQ==").sign({"a"}));
  EXPECT_EQ(key.standard.sign({"a"}), HmacKey("Jefe").sign({"a"}));
}

TEST(VerifyGithubSignature, TakesTheSignatureItselfOnly) {
  HmacKey key("a secret");
  const std::string signature = github_signature(key, "body");
  EXPECT_TRUE(verify_github_signature(key, "body", signature));
  EXPECT_FALSE(verify_github_signature(key, "Body", signature));
  EXPECT_FALSE(verify_github_signature(key, "body", signature + " "));
  EXPECT_FALSE(verify_github_signature(key, "body", ""));
}

TEST(VerifyStandardSignature, FindsItAmongOthers) {
  HmacKey key("a secret");
  const std::string signature = standard_signature(key, "evt_1", 1, "body");
  for (const std::string& value :
       {signature, "v1,AAAA " + signature, signature + " v1,AAAA", "v2,x  " + signature + " "})
    EXPECT_TRUE(verify_standard_signature(key, "evt_1", 1, "body", value)) << value;
}

TEST(VerifyStandardSignature, TakesNothingElse) {
  HmacKey key("a secret");
  const std::string signature = standard_signature(key, "evt_1", 1, "body");
  EXPECT_FALSE(verify_standard_signature(key, "evt_2", 1, "body", signature));
  EXPECT_FALSE(verify_standard_signature(key, "evt_1", 2, "body", signature));
  EXPECT_FALSE(verify_standard_signature(key, "evt_1", 1, "Body", signature));
  for (const std::string& value : {std::string(), std::string(" "), signature.substr(3), "v1a" + signature.substr(2)})
    EXPECT_FALSE(verify_standard_signature(key, "evt_1", 1, "body", value)) << value;
}

class BuildHeaders : public testing::Test {
 protected:
  static constexpr std::string_view kBody = R"({"test": 2432232314})";

  // The moment and the id of the Standard Webhooks vector.
  Attempt attempt_{.public_event_id = "msg_p5jXN8AQM9LWM0D4loKWxJek",
                   .event_name = "contact.created",
                   .number = 3,
                   .time = Time(seconds(1614265330) + milliseconds(999))};
  SigningKeys keys_;

  std::vector<std::string> build() { return header_lines(build_headers(attempt_, kBody, keys_)); }
};

TEST_F(BuildHeaders, StandInTheDocumentedOrder) {
  keys_.emplace_back("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  EXPECT_THAT(
      build(),
      ElementsAre("Content-Type: application/json", "X-Webhook-Event: contact.created",
                  "X-Webhook-Id: msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
                  "X-Webhook-Attempt: 3", "X-Webhook-Timestamp: 2021-02-25T15:02:10.999Z",
                  "X-Webhook-Signature: " + github_signature(keys_[0].github, kBody), "webhook-timestamp: 1614265330",
                  "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
}

TEST_F(BuildHeaders, CarryNoSignatureWithoutAKey) {
  EXPECT_THAT(build(), ElementsAre("Content-Type: application/json", "X-Webhook-Event: contact.created",
                                   "X-Webhook-Id: msg_p5jXN8AQM9LWM0D4loKWxJek",
                                   "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek", "X-Webhook-Attempt: 3",
                                   "X-Webhook-Timestamp: 2021-02-25T15:02:10.999Z", "webhook-timestamp: 1614265330"));
}

TEST_F(BuildHeaders, CarrySignaturesByAllKeysWhileASecretRotates) {
  keys_.emplace_back("new");
  keys_.emplace_back("old");
  const std::vector<std::string> headers = build();
  ASSERT_EQ(headers.size(), 9u);
  EXPECT_EQ(headers[6], "X-Webhook-Signature: " + github_signature(keys_[0].github, kBody));
  EXPECT_EQ(headers[8],
            "webhook-signature: " + standard_signature(keys_[0].standard, attempt_.public_event_id, 1614265330, kBody) +
                " " + standard_signature(keys_[1].standard, attempt_.public_event_id, 1614265330, kBody));
}

TEST_F(BuildHeaders, SayThatItIsATest) {
  attempt_.is_test = true;
  EXPECT_EQ(build().back(), "X-Webhook-Test: true");
}

TEST_F(BuildHeaders, EventNameBreaksOutOfNoLine) {
  attempt_.event_name = std::string_view("a\r\nX-Evil: 1\0\t", 14);
  EXPECT_EQ(build().at(1), "X-Webhook-Event: a??X-Evil: 1??");
}

}  // namespace
}  // namespace webhook
