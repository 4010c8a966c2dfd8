#include "worker/attempt_result.h"

#include <algorithm>

#include "core/retry.h"
#include "core/utf8.h"

namespace webhook {
namespace {

constexpr Duration kWaitMax = std::chrono::hours(24);
constexpr int kGone = 410;
constexpr int kTooManyRequests = 429;
constexpr int kUnavailable = 503;

// RFC 9110, section 15.4. A 304 redirects nowhere, nor do 305 and 306 any more.
bool is_redirect(int status) { return (status >= 300 && status <= 303) || status == 307 || status == 308; }

std::string status_text(int status, const std::string& redirect_host) {
  std::string text = "HTTP status " + std::to_string(status);
  if (is_redirect(status)) {
    text += ": redirects are not followed";
    if (!redirect_host.empty()) text += " (it leads to host " + redirect_host + ")";
  }
  if (status == kGone) text += ": the endpoint is gone for good";
  return text;
}

}  // namespace

AttemptResult judge(const HttpResponse& response, Time now) {
  AttemptResult judgement;
  if (response.outcome != HttpOutcome::kResponse) {
    judgement.error = to_valid_utf8(response.error);
    return judgement;
  }
  const int status = response.status;
  if (status >= 200 && status <= 299) {
    judgement.verdict = Lanes::Health::kSuccess;
    return judgement;
  }
  judgement.error = to_valid_utf8(status_text(status, response.redirect_host));
  judgement.is_gone = status == kGone;
  if (status < 500 && status != kTooManyRequests) judgement.verdict = Lanes::Health::kAnswered;
  if (status == kTooManyRequests || status == kUnavailable) {
    const auto asked = parse_retry_after(response.retry_after, now);
    if (asked) judgement.wait = std::min(*asked, kWaitMax);
  }
  return judgement;
}

std::string stored_response(const HttpResponse& response) {
  std::string text = to_valid_utf8(response.body);
  if (!response.encoding.empty()) {
    text.insert(0, "(compressed by " + to_valid_utf8(response.encoding) + ", which was not asked for) ");
  }
  return std::string(utf8_prefix(text, kResponseBytesMax));
}

}  // namespace webhook
