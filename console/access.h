// Who may call, judged by the headers of a request.
//
// Every request must name a host that is ours, so that a site whose name is made to resolve to our address (DNS rebinding)
// gets nothing. A call must come from our own page: a browser says so in Origin and Sec-Fetch-Site. Only a token in
// Authorization, which no browser adds by itself, stands without them.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "console/api_error.h"
#include "console/jwt.h"
#include "console/options.h"
#include "console/sign_in.h"

namespace webhook::console {

// The headers that decide; each list has the values of all headers of the name, in their order.
struct RequestFacts {
  std::vector<std::string> host;
  std::vector<std::string> origin;
  std::vector<std::string> fetch_site;
  std::vector<std::string> content_type;
  std::vector<std::string> authorization;
  std::vector<std::string> cookie;
  std::vector<std::string> trusted;  // those of the name that --trusted-header gives
  std::string peer;                  // an IP address, or "unix"
};

struct Identity {
  std::optional<std::string> role;  // SET LOCAL ROLE
  std::string claims;               // a JSON object for request.jwt.claims, or ""
  std::string organization;         // for webhook.organization_id, or ""
  std::string name;                 // for fair shares: calls of the same name count together
};

class Access {
 public:
  // `jwt` belongs to SignInMode::jwt. `port` is the one that it listens on. The options must outlive it.
  Access(const Options& options, unsigned short port, std::unique_ptr<JwtVerifier> jwt, SignIn& sign_in);

  // What is wrong with the host, if anything.
  std::optional<ApiError> judge_host(const RequestFacts& facts) const;
  // What is wrong with where a call comes from. To be called before identify().
  std::optional<ApiError> judge_origin(const RequestFacts& facts) const;
  // What is wrong with the type of its body.
  static std::optional<ApiError> judge_type(const RequestFacts& facts);
  std::variant<Identity, ApiError> identify(const RequestFacts& facts, std::chrono::system_clock::time_point now);

  // The token of the operator's session in the cookies, or "".
  std::string session_token(const RequestFacts& facts) const;
  // For Set-Cookie. An empty token makes the browser forget it.
  std::string session_cookie(std::string_view token) const;

 private:
  bool is_our_host(std::string_view host) const;
  bool is_our_origin(const RequestFacts& facts, std::string_view origin) const;
  std::string cookie_name() const;
  std::variant<Identity, ApiError> identify_by_token(const RequestFacts& facts,
                                                     std::chrono::system_clock::time_point now) const;
  std::variant<Identity, ApiError> identify_by_proxy(const RequestFacts& facts) const;
  std::variant<Identity, ApiError> with_role(Identity identity) const;

  const Options& options_;
  unsigned short port_;
  std::unique_ptr<JwtVerifier> jwt_;
  SignIn& sign_in_;
  std::vector<std::string> hosts_;
};

}  // namespace webhook::console
