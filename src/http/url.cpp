#include "http/url.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace webhook {
namespace {

struct FreeUrl {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
};
using ParsedUrl = std::unique_ptr<CURLU, FreeUrl>;

// Throws std::bad_alloc. On any other failure the reason is in *code.
ParsedUrl parse(std::string_view url, CURLUcode* code) {
  ParsedUrl parsed(curl_url());
  if (parsed == nullptr) throw std::bad_alloc();
  // The same flags as for delivery (CURLOPT_DISALLOW_USERNAME_IN_URL), but without guessing a missing scheme. A scheme
  // that libcurl doesn't know is accepted here, so that url_problem() can say what is wrong with it.
  constexpr unsigned kFlags = CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME;
  *code = curl_url_set(parsed.get(), CURLUPART_URL, std::string(url).c_str(), kFlags);
  if (*code == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
  return parsed;
}

// Empty if the URL has no such part.
std::string part(CURLU* url, CURLUPart which) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, 0) != CURLUE_OK) return {};
  const std::unique_ptr<char, decltype(&curl_free)> owner(text, &curl_free);
  return text;
}

// The problems that show without parsing the URL.
std::optional<std::string> character_problem(std::string_view url) {
  if (url.empty()) return "it is empty";
  if (url.size() > kUrlBytesMax) return "it is longer than " + std::to_string(kUrlBytesMax) + " bytes";
  for (const char character : url) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == ' ') return "it contains a space (write %20)";
    if (byte < 0x20 || byte == 0x7f) return "it contains a control character";
    // Browsers (WHATWG) read it as "/", others as part of a name. A human and libcurl could read different hosts.
    if (byte == '\\') return "it contains a backslash (write %5C)";
    // A parser would convert a raw byte in a host according to its locale.
    if (byte >= 0x80) return "it contains a character that is not ASCII (write the host as xn--…, the rest as %XX)";
  }
  if (url.find('#') != std::string_view::npos) return "it contains a fragment (#), which is never sent";
  return std::nullopt;
}

std::optional<std::string> scheme_problem(const std::string& scheme, std::string_view url, bool allow_http) {
  if (scheme != "https" && !(allow_http && scheme == "http")) {
    return allow_http ? "its scheme must be https or http"
                      : "its scheme must be https (http is for development: webhook.allow_http)";
  }
  // libcurl accepts one slash and three. A human may read such a URL differently.
  const std::string_view rest = url.substr(std::min(url.size(), scheme.size()));
  if (!rest.starts_with("://") || rest.starts_with(":///")) return "\"" + scheme + "://\" must be followed by a host";
  return std::nullopt;
}

// The part between "://" and the path or the query.
std::string_view authority(std::string_view url) {
  const std::string_view rest = url.substr(std::min(url.find("://"), url.size()));
  return rest.substr(0, rest.find_first_of("/?", 3));
}

}  // namespace

std::optional<std::string> url_problem(std::string_view url, bool allow_http) {
  if (auto problem = character_problem(url)) return problem;
  CURLUcode code = CURLUE_OK;
  const ParsedUrl parsed = parse(url, &code);
  switch (code) {
    case CURLUE_OK:
      break;
    case CURLUE_USER_NOT_ALLOWED:
      return "it contains a user name or a password (send them in a header of the webhook)";
    case CURLUE_BAD_SCHEME:
      return allow_http ? "it must begin with https:// or http://" : "it must begin with https://";
    case CURLUE_NO_HOST:
      return "it has no host";
    case CURLUE_BAD_PORT_NUMBER:
      return "its port must be a number from 1 to 65535";
    default:
      return std::string(curl_url_strerror(code));
  }
  if (auto problem = scheme_problem(part(parsed.get(), CURLUPART_SCHEME), url, allow_http)) return problem;
  if (!part(parsed.get(), CURLUPART_USER).empty() || !part(parsed.get(), CURLUPART_PASSWORD).empty()) {
    return "it contains a user name or a password (send them in a header of the webhook)";
  }
  if (part(parsed.get(), CURLUPART_HOST).empty()) return "it has no host";
  // libcurl would decode an escape to a host that nobody meant, perhaps with a raw byte. The zone of a link-local
  // address is of no use either.
  if (authority(url).find('%') != std::string_view::npos) return "its host contains a \"%\"";
  if (part(parsed.get(), CURLUPART_PORT) == "0") return "its port must be a number from 1 to 65535";
  return std::nullopt;
}

std::optional<std::string> port_problem(std::string_view url, const PortList& allowed) {
  CURLUcode code = CURLUE_OK;
  const ParsedUrl parsed = parse(url, &code);
  if (code != CURLUE_OK) return std::nullopt;
  char* text = nullptr;
  if (curl_url_get(parsed.get(), CURLUPART_PORT, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return std::nullopt;
  const std::unique_ptr<char, decltype(&curl_free)> owner(text, &curl_free);
  if (contains(allowed, std::atoi(text))) return std::nullopt;
  return "its port " + std::string(text) + " is not one that webhooks may be sent to (webhook.allowed_ports)";
}

std::string url_host(std::string_view url) {
  CURLUcode code = CURLUE_OK;
  const ParsedUrl parsed = parse(url, &code);
  return code == CURLUE_OK ? part(parsed.get(), CURLUPART_HOST) : std::string();
}

std::string redirect_host(std::string_view url, std::string_view location) {
  if (location.empty() || location.size() > kUrlBytesMax || location.find('\0') != std::string_view::npos) return {};
  CURLUcode code = CURLUE_OK;
  const ParsedUrl parsed = parse(url, &code);
  if (code != CURLUE_OK) return {};
  // Setting the location on top of the URL resolves a relative one.
  code = curl_url_set(parsed.get(), CURLUPART_URL, std::string(location).c_str(), 0);
  if (code == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
  if (code != CURLUE_OK) return {};
  const std::string scheme = part(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "https" && scheme != "http") return {};
  std::string host = part(parsed.get(), CURLUPART_HOST);
  const auto is_plain = [](char character) { return character > 0x20 && character < 0x7f; };
  return std::all_of(host.begin(), host.end(), is_plain) ? host : std::string();
}

struct RequestUrl::Parsed {
  std::string text;
  ParsedUrl url;
};

RequestUrl::RequestUrl(std::string text) {
  CURLUcode code = CURLUE_OK;
  ParsedUrl url = parse(text, &code);
  if (code != CURLUE_OK) url.reset();
  parsed_ = std::make_shared<const Parsed>(Parsed{std::move(text), std::move(url)});
}

const std::string& RequestUrl::text() const {
  static const std::string& none = *new std::string;  // never destroyed, because FATAL runs exit()
  return parsed_ == nullptr ? none : parsed_->text;
}

CURLU* RequestUrl::parsed() const { return parsed_ == nullptr ? nullptr : parsed_->url.get(); }

}  // namespace webhook
