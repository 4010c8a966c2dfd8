#include "console/access.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "console/json.h"

namespace webhook::console {
namespace {

std::string lowered(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return result;
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

bool is_json_type(std::string_view type) {
  return lowered(trimmed(type.substr(0, type.find(';')))) == "application/json";
}

ApiError unauthorized(std::string why, std::optional<std::string> hint = {}) {
  return {.status = 401, .code = "28000", .message = std::move(why), .hint = std::move(hint)};
}

ApiError forbidden(std::string why, std::optional<std::string> hint = {}) {
  return {.status = 403, .code = "42501", .message = std::move(why), .hint = std::move(hint)};
}

bool has_bearer(const RequestFacts& facts) {
  return facts.authorization.size() == 1 && lowered(facts.authorization[0].substr(0, 7)) == "bearer ";
}

// Nothing if they are no JSON object.
std::optional<Identity> identity_of_claims(const std::string& text) {
  JsonProblem problem;
  const std::optional<JsonValue> value = parse_json(text, problem);
  if (!value || value->kind != JsonKind::object) return {};
  const auto claims = members(*value);
  if (!claims) return {};
  Identity identity{.claims = text};
  if (const JsonValue* role = find_member(*claims, "role")) {
    if (role->kind != JsonKind::string) return {};
    identity.role = string_of(*role);
  }
  return identity;
}

}  // namespace

Access::Access(const Options& options, unsigned short port, std::unique_ptr<JwtVerifier> jwt, SignIn& sign_in)
    : options_(options), port_(port), jwt_(std::move(jwt)), sign_in_(sign_in), hosts_(options.public_hosts) {
  if (!options.listen_path.empty()) {
    hosts_.insert(hosts_.end(), {"localhost", "127.0.0.1", "[::1]"});
    return;
  }
  const bool is_v6 = options.listen_address.find(':') != std::string::npos;
  const std::string address = is_v6 ? "[" + options.listen_address + "]" : options.listen_address;
  const std::string suffix = ":" + std::to_string(port);
  std::vector<std::string> names{address};
  if (options.listen_address == "::1" || options.listen_address.starts_with("127.")) names.emplace_back("localhost");
  const unsigned short usual = options.tls_key.empty() ? 80 : 443;
  for (const std::string& name : names) {
    hosts_.push_back(name + suffix);
    if (port == usual) hosts_.push_back(name);
  }
}

bool Access::is_our_host(std::string_view host) const {
  std::string name = lowered(host);
  if (std::find(hosts_.begin(), hosts_.end(), name) != hosts_.end()) return true;
  // A tunnel to a Unix socket has a port of its own.
  const std::size_t colon = name.rfind(':');
  return !options_.listen_path.empty() && colon != std::string::npos && !name.ends_with(']') &&
         std::find(hosts_.begin(), hosts_.end(), name.substr(0, colon)) != hosts_.end();
}

std::optional<ApiError> Access::judge_host(const RequestFacts& facts) const {
  if (facts.host.size() == 1 && is_our_host(facts.host[0])) return {};
  return ApiError{.status = 421,
                  .code = "42501",
                  .message = "the request is for a host that this server does not have",
                  .hint = "Start webhook-console with --public-host and the name that browsers reach it by."};
}

std::optional<ApiError> Access::judge_type(const RequestFacts& facts) {
  if (facts.content_type.size() == 1 && is_json_type(facts.content_type[0])) return {};
  return ApiError{.status = 415, .code = "22023", .message = "the Content-Type of a call is application/json"};
}

bool Access::is_our_origin(const RequestFacts& facts, std::string_view origin) const {
  const std::size_t slashes = origin.find("://");
  if (slashes == std::string_view::npos) return false;
  const std::string_view scheme = origin.substr(0, slashes);
  const std::string host = lowered(origin.substr(slashes + 3));
  if (scheme != "https" && (scheme != "http" || !options_.tls_key.empty())) return false;
  // A proxy may have put another Host in.
  const bool is_asked = facts.host.size() == 1 && host == lowered(facts.host[0]);
  return is_asked ||
         std::find(options_.public_hosts.begin(), options_.public_hosts.end(), host) != options_.public_hosts.end();
}

std::optional<ApiError> Access::judge_origin(const RequestFacts& facts) const {
  const bool is_said = !facts.origin.empty() || !facts.fetch_site.empty();
  const bool is_same_origin =
      facts.origin.size() <= 1 && facts.fetch_site.size() <= 1 &&
      std::all_of(facts.origin.begin(), facts.origin.end(), [&](const auto& o) { return is_our_origin(facts, o); }) &&
      std::all_of(facts.fetch_site.begin(), facts.fetch_site.end(),
                  [](const auto& site) { return site == "same-origin"; });
  if (is_same_origin && (is_said || (options_.mode == SignInMode::jwt && has_bearer(facts)))) return {};
  return forbidden("the call does not come from the settings page",
                   "Calls come from the page's own origin. Other programs use a JWT (--jwt-key-file), or send the "
                   "header Origin with the page's origin.");
}

std::variant<Identity, ApiError> Access::identify(const RequestFacts& facts,
                                                  std::chrono::system_clock::time_point now) {
  switch (options_.mode) {
    case SignInMode::jwt:
      return identify_by_token(facts, now);
    case SignInMode::proxy:
      return identify_by_proxy(facts);
    case SignInMode::code:
      break;
  }
  const std::string token = session_token(facts);
  if (token.empty() || !sign_in_.is_signed_in(token)) {
    return unauthorized(token.empty() ? "you are not signed in" : "your session has ended",
                        "Open the link that webhook-console has printed. The enter key, or SIGUSR1, prints a new one.");
  }
  Identity identity{.organization = options_.organization, .name = "operator"};
  if (!options_.roles.empty()) identity.role = options_.roles.front();
  return identity;
}

std::variant<Identity, ApiError> Access::identify_by_token(const RequestFacts& facts,
                                                           std::chrono::system_clock::time_point now) const {
  if (!has_bearer(facts)) return unauthorized("you are not signed in", "Send a JWT: Authorization: Bearer ...");
  const std::string_view token = trimmed(std::string_view(facts.authorization[0]).substr(7));
  auto judged = jwt_->verify(token, now);
  if (auto* refused = std::get_if<JwtVerifier::Refused>(&judged)) return unauthorized(refused->why);
  auto& verified = std::get<JwtVerifier::Verified>(judged);
  Identity identity{.role = std::move(verified.role), .claims = std::move(verified.claims)};
  identity.name = verified.subject.empty() ? identity.claims : verified.subject;
  return with_role(std::move(identity));
}

std::variant<Identity, ApiError> Access::identify_by_proxy(const RequestFacts& facts) const {
  if (std::find(options_.trusted_proxies.begin(), options_.trusted_proxies.end(), facts.peer) ==
      options_.trusted_proxies.end())
    return forbidden("the call does not come through a proxy that is trusted");
  // A second one may be what a client has sent, and the proxy let through.
  if (facts.trusted.size() > 1) return forbidden("the proxy has let a second " + options_.trusted_header + " through");
  const std::string_view value = facts.trusted.empty() ? std::string_view() : trimmed(facts.trusted[0]);
  if (value.empty())
    return unauthorized("you are not signed in", "The proxy names the user in " + options_.trusted_header + ".");
  if (!value.starts_with('{')) {
    Identity identity{.claims = "{\"sub\":" + json_quoted(value) + "}", .name = std::string(value)};
    return with_role(std::move(identity));
  }
  std::optional<Identity> identity = identity_of_claims(std::string(value));
  if (!identity) return unauthorized("the claims in " + options_.trusted_header + " are not a JSON object");
  identity->name = identity->claims;
  return with_role(std::move(*identity));
}

std::variant<Identity, ApiError> Access::with_role(Identity identity) const {
  const auto& roles = options_.roles;
  if (!identity.role) {
    if (roles.size() > 1)
      return forbidden("the claims name no role", "The claim \"role\" is one of those that --role allows.");
    identity.role = roles.front();
  } else if (std::find(roles.begin(), roles.end(), *identity.role) == roles.end()) {
    return forbidden("the role in the claims is not one that --role allows");
  }
  return identity;
}

std::string Access::cookie_name() const {
  // A browser sends the cookies of a host to each of its ports: the port tells two consoles apart.
  const std::string name = "webhook_console_" + std::to_string(port_);
  return options_.tls_key.empty() ? name : "__Host-" + name;
}

std::string Access::session_token(const RequestFacts& facts) const {
  const std::string name = cookie_name();
  for (const std::string& header : facts.cookie) {
    std::string_view rest = header;
    while (!rest.empty()) {
      const std::size_t end = rest.find(';');
      const std::string_view pair = trimmed(rest.substr(0, end));
      const std::size_t equals = pair.find('=');
      if (equals != std::string_view::npos && pair.substr(0, equals) == name)
        return std::string(pair.substr(equals + 1));
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
  }
  return "";
}

std::string Access::session_cookie(std::string_view token) const {
  const bool is_tls = !options_.tls_key.empty();
  std::string cookie = cookie_name() + "=" + std::string(token) + "; Path=";
  cookie += is_tls || options_.base_path.empty() ? "/" : options_.base_path;
  cookie += "; HttpOnly; SameSite=Strict";
  if (is_tls) cookie += "; Secure";
  if (token.empty()) return cookie + "; Max-Age=0";
  return cookie + "; Max-Age=" +
         std::to_string(std::chrono::duration_cast<std::chrono::seconds>(SignIn::kSessionLifetime).count());
}

}  // namespace webhook::console
