// What an attempt's end means: for the delivery, and for the endpoint as a whole.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/lanes.h"
#include "core/time.h"
#include "http/http_client.h"
#include "worker/settings.h"

namespace webhook {

struct AttemptResult {
  Lanes::Health verdict = Lanes::Health::kFailed;
  bool is_gone = false;          // the endpoint wants no more (410)
  std::optional<Duration> wait;  // it asked to be left alone for so long, within bounds (429, 503)
  std::string error;             // why the attempt failed, in words; valid UTF-8; empty on success
};

// 2xx is success. A 429, a 5xx, or an end without a response says something about the endpoint. Any other status says
// that the endpoint is alive and refused this delivery.
AttemptResult judge(const HttpResponse& response, Time now);

// What webhook_logs keeps of a response's body: valid UTF-8, at most kResponseBytesMax bytes. If the body was
// compressed, which nobody asked for, the text begins by saying so.
inline constexpr std::size_t kResponseBytesMax = 4096;
std::string stored_response(const HttpResponse& response);
// Whether it keeps the body of such an attempt.
constexpr bool logs_body(LoggedBodies logged, bool is_success) {
  return logged == LoggedBodies::kAll || (logged == LoggedBodies::kFailures && !is_success);
}

}  // namespace webhook
