#include "worker/verdict.h"

#include <algorithm>

#include "core/retry.h"
#include "core/utf8.h"

namespace webhook {
namespace {

constexpr Duration kWaitMax = std::chrono::hours(24);
constexpr int kGone = 410;
constexpr int kTooManyRequests = 429;
constexpr int kUnavailable = 503;

std::string status_text(int status) {
  std::string text = "HTTP status " + std::to_string(status);
  if (status >= 300 && status <= 399) text += ": redirects are not followed";
  if (status == kGone) text += ": the endpoint is gone for good";
  return text;
}

}  // namespace

Judgement judge(const HttpResponse& response, Time now) {
  Judgement judgement;
  if (response.outcome != HttpOutcome::kResponse) {
    judgement.error = to_valid_utf8(response.error);
    return judgement;
  }
  const int status = response.status;
  if (status >= 200 && status <= 299) {
    judgement.verdict = Lanes::Verdict::kSuccess;
    return judgement;
  }
  judgement.error = status_text(status);
  judgement.is_gone = status == kGone;
  if (status < 500 && status != kTooManyRequests) judgement.verdict = Lanes::Verdict::kAnswered;
  if (status == kTooManyRequests || status == kUnavailable) {
    const auto asked = parse_retry_after(response.retry_after, now);
    if (asked) judgement.wait = std::min(*asked, kWaitMax);
  }
  return judgement;
}

std::string stored_response(const std::string& body) {
  return std::string(utf8_prefix(to_valid_utf8(body), kResponseBytesMax));
}

}  // namespace webhook
