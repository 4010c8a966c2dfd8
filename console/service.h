// What the program answers: from a request to a response, without sockets.
#pragma once

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "console/access.h"
#include "console/database.h"
#include "console/options.h"
#include "console/page_files.h"
#include "console/route.h"

namespace webhook::console {

using HttpHeader = boost::beast::http::header<true>;
using HttpResponse = boost::beast::http::response<boost::beast::http::string_body>;

inline constexpr std::size_t kHeaderBytesMax = 16UL << 10;
inline constexpr std::size_t kBodyBytesMax = 1536UL << 10;  // half more than the largest webhook.max_payload

class Service {
 public:
  using Reply = std::function<void(HttpResponse)>;

  // All must outlive it. The databases are in the order of the options.
  Service(const Options& options, Access& access, SignIn& sign_in, const PageFiles& files,
          std::vector<std::unique_ptr<Database>>& databases);

  // A request whose header has been judged. It is for handle() alone.
  struct Admitted {
    Route route;
    Identity identity;
    std::string target;  // the route points into it
  };
  // Judges a request before its body is read, so that nobody who may not call makes us hold a body.
  struct Judged {
    std::unique_ptr<Admitted> admitted;
    std::optional<HttpResponse> refusal;
  };
  Judged judge(const HttpHeader& header, const std::string& peer);
  // Replies once, at once or later.
  void handle(const Admitted& admitted, const HttpHeader& header, const std::string& body, const Reply& reply);

  // Of a request that is no HTTP, or too large.
  HttpResponse refuse(unsigned status, const std::string& message) const;

 private:
  std::optional<ApiError> judge_method(const HttpHeader& header, const Route& route) const;
  HttpResponse answer_json(unsigned status, std::string body) const;
  HttpResponse answer_error(const ApiError& error) const;
  HttpResponse answer_file(const HttpHeader& header, const Route& route) const;
  HttpResponse answer_redirect(const Admitted& admitted) const;
  HttpResponse answer_config(const Route& route) const;
  HttpResponse answer_session(const HttpHeader& header, const std::string& body);
  RequestFacts facts_of(const HttpHeader& header, const std::string& peer) const;
  void add_security_headers(HttpResponse& response) const;

  const Options& options_;
  Access& access_;
  SignIn& sign_in_;
  const PageFiles& files_;
  std::vector<std::unique_ptr<Database>>& databases_;
  std::vector<std::string> names_;
  std::string policy_;
};

}  // namespace webhook::console
