// What webhook_logs says of a response.
#pragma once

#include <string>

#include "core/utf8.h"
#include "http/http_client.h"

namespace webhook {

inline constexpr std::size_t kResponseBytesMax = 4096;  // stored

inline std::string stored_response(const std::string& body) {
  return std::string(utf8_prefix(to_valid_utf8(body), kResponseBytesMax));
}

inline bool is_success(const HttpResponse& response) {
  return response.outcome == HttpOutcome::kResponse && response.status >= 200 && response.status <= 299;
}

inline std::string failure_text(const HttpResponse& response) {
  if (response.outcome != HttpOutcome::kResponse) return to_valid_utf8(response.error);
  return "HTTP status " + std::to_string(response.status);
}

}  // namespace webhook
