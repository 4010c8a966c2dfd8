// Which URLs a webhook may have. Validation and delivery use the same parser, libcurl's, so that they agree on every
// URL. No function here needs init_http() or opens a socket, so any backend may call them.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/port_list.h"

struct Curl_URL;  // libcurl's CURLU

namespace webhook {

inline constexpr std::size_t kUrlBytesMax = 2048;

// Why a webhook may not have the URL, as a clause that follows "invalid URL: ". Nothing if it may. The clause never
// contains the URL itself.
std::optional<std::string> url_problem(std::string_view url, bool allow_http);

// The same for the URL's port. If the URL has none, the scheme's default port is checked. Nothing for an invalid URL.
std::optional<std::string> port_problem(std::string_view url, const PortList& allowed);

// The host as it is resolved. An IPv6 address keeps its brackets. Empty for an invalid URL.
std::string url_host(std::string_view url);

// The host that a redirect from the URL to the location leads to. Empty unless the location is valid and http or https.
std::string redirect_host(std::string_view url, std::string_view location);

// A URL to send requests to, with what libcurl's parser makes of it. Parsing takes longer than most of what else a request
// needs before it is sent, so whoever sends many keeps one of these. Copies share it.
class RequestUrl {
 public:
  RequestUrl() = default;
  // Throws std::bad_alloc. Not explicit: what sends a single request has a string.
  RequestUrl(std::string text);

  const std::string& text() const;
  // nullptr: the parser refuses it. Whoever sends it by its text learns why.
  Curl_URL* parsed() const;

 private:
  struct Parsed;

  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace webhook
