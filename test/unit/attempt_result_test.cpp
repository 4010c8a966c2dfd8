#include "worker/attempt_result.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

using namespace std::chrono_literals;
using Verdict = Lanes::Health;

AttemptResult of_status(int status, const std::string& retry_after = {}) {
  return judge({.outcome = HttpOutcome::kResponse, .status = status, .retry_after = retry_after}, Time{});
}

TEST(AttemptResultTest, Only2xxIsSuccess) {
  for (const int status : {200, 201, 204, 299}) {
    EXPECT_EQ(of_status(status).verdict, Verdict::kSuccess) << status;
    EXPECT_EQ(of_status(status).error, "") << status;
  }
  for (const int status : {100, 199, 300, 404, 500}) EXPECT_NE(of_status(status).verdict, Verdict::kSuccess) << status;
}

TEST(AttemptResultTest, ServerErrorsAndTooManyRequestsSpeakOfTheEndpoint) {
  for (const int status : {429, 500, 502, 503, 504, 599})
    EXPECT_EQ(of_status(status).verdict, Verdict::kFailed) << status;
  for (const int status : {301, 400, 401, 404, 410, 422}) {
    EXPECT_EQ(of_status(status).verdict, Verdict::kAnswered) << status;
  }
}

TEST(AttemptResultTest, EveryEndWithoutAResponseSpeaksOfTheEndpoint) {
  for (const HttpOutcome outcome :
       {HttpOutcome::kTimeout, HttpOutcome::kDns, HttpOutcome::kConnect, HttpOutcome::kTls, HttpOutcome::kBlocked,
        HttpOutcome::kBadUrl, HttpOutcome::kDisconnected, HttpOutcome::kOversized, HttpOutcome::kOther}) {
    const AttemptResult judgement = judge({.outcome = outcome, .status = 200, .error = "why"}, Time{});
    EXPECT_EQ(judgement.verdict, Verdict::kFailed);
    EXPECT_EQ(judgement.error, "why");
  }
}

TEST(AttemptResultTest, GoneIsGone) {
  EXPECT_TRUE(of_status(410).is_gone);
  EXPECT_FALSE(of_status(404).is_gone);
  EXPECT_EQ(of_status(410).error, "HTTP status 410: the endpoint is gone for good");
}

TEST(AttemptResultTest, RedirectSaysThatItIsNotFollowed) {
  for (const int status : {300, 301, 302, 303, 307, 308}) {
    EXPECT_EQ(of_status(status).error, "HTTP status " + std::to_string(status) + ": redirects are not followed");
  }
  const HttpResponse response{.outcome = HttpOutcome::kResponse, .status = 301, .redirect_host = "www.example.com"};
  EXPECT_EQ(judge(response, Time{}).error,
            "HTTP status 301: redirects are not followed (it leads to host www.example.com)");
}

TEST(AttemptResultTest, StatusThatRedirectsNowhereIsNoRedirect) {
  for (const int status : {304, 305, 306, 399})
    EXPECT_EQ(of_status(status).error, "HTTP status " + std::to_string(status));
}

TEST(AttemptResultTest, StoredResponseSaysThatItCameCompressed) {
  EXPECT_EQ(stored_response({.body = "a"}), "a");
  EXPECT_EQ(stored_response({.body = "\xff", .encoding = "gzip"}),
            "(compressed by gzip, which was not asked for) \xEF\xBF\xBD");
  EXPECT_EQ(stored_response({.body = std::string(kResponseBytesMax, 'a'), .encoding = "gzip"}).size(),
            kResponseBytesMax);
}

TEST(AttemptResultTest, RetryAfterCountsOn429And503WithinADay) {
  EXPECT_EQ(of_status(429, "120").wait, 120s);
  EXPECT_EQ(of_status(503, "120").wait, 120s);
  EXPECT_EQ(of_status(500, "120").wait, std::nullopt);
  EXPECT_EQ(of_status(429, "soon").wait, std::nullopt);
  EXPECT_EQ(of_status(429, "999999").wait, 24h);
}

TEST(AttemptResultTest, ErrorIsValidText) {
  EXPECT_EQ(judge({.outcome = HttpOutcome::kOther, .error = "\xff"}, Time{}).error, "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace webhook
