// What URL a webhook may have. Validation and delivery use the same parser, libcurl's, so that there is no URL that
// one of them reads differently. Needs no init_http(): any backend may call it, none opens a socket by it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/port_list.h"

namespace webhook {

inline constexpr std::size_t kUrlBytesMax = 2048;

// Why the URL can't be a webhook's, as a clause that follows "invalid URL: "; nothing: it can. The URL itself is never
// part of it.
std::optional<std::string> url_problem(std::string_view url, bool allow_http);

// The same of its port, which follows from the scheme if none is written. Nothing too for what is no URL.
std::optional<std::string> port_problem(std::string_view url, const PortList& allowed);

// The host as it is resolved, an IPv6 address in its brackets; empty for what is no URL.
std::string url_host(std::string_view url);

// The host that a redirect from the URL to the location leads to; empty for what is no location of http or https.
std::string redirect_host(std::string_view url, std::string_view location);

}  // namespace webhook
