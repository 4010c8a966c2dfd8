#include "console/service.h"

#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <utility>

#include "console/content_coding.h"
#include "console/json.h"
#include "console/log.h"

namespace webhook::console {
namespace {

namespace http = boost::beast::http;

// Lit makes its templates of literals alone, and asks for this policy; nothing else may make HTML of text.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri "
    "'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types lit-html; frame-ancestors ";

std::string content_security_policy(const Options& options) {
  std::string policy = kPolicy;
  if (options.frame_ancestors.empty()) return policy + "'none'";
  policy += "'self'";
  for (const std::string& origin : options.frame_ancestors) policy += " " + origin;
  return policy;
}

std::string text_of(boost::beast::string_view text) { return {text.data(), text.size()}; }

std::vector<std::string> values_of(const HttpHeader& header, boost::beast::string_view name) {
  std::vector<std::string> values;
  const auto [begin, end] = header.equal_range(name);
  for (auto field = begin; field != end; ++field) values.push_back(text_of(field->value()));
  return values;
}

std::string joined(const std::vector<std::string>& values) {
  std::string list;
  for (const std::string& value : values) list += (list.empty() ? "" : ", ") + value;
  return list;
}

ApiError not_found(const std::string& what) { return {.status = 404, .code = "42883", .message = what}; }

// Whether If-None-Match names the tag. A weak comparison (RFC 9110, section 13.1.2).
bool has_tag(const HttpHeader& header, const std::string& etag) {
  const auto value = header[http::field::if_none_match];
  return value == "*" || value.find(etag) != boost::beast::string_view::npos;
}

}  // namespace

Service::Service(const Options& options, Access& access, SignIn& sign_in, const PageFiles& files,
                 std::vector<std::unique_ptr<Database>>& databases)
    : options_(options),
      access_(access),
      sign_in_(sign_in),
      files_(files),
      databases_(databases),
      policy_(content_security_policy(options)) {
  for (const NamedDatabase& database : options.databases) names_.push_back(database.name);
}

Service::Judged Service::judge(const HttpHeader& header, const std::string& peer) {
  auto admitted = std::make_unique<Admitted>();
  admitted->target = text_of(header.target());
  admitted->route = route(admitted->target, options_.base_path, names_);
  const Route& route = admitted->route;
  const RequestFacts facts = facts_of(header, peer);
  std::optional<ApiError> error = access_.judge_host(facts);
  if (!error) error = judge_method(header, route);
  const bool is_call = route.kind == Route::Kind::call;
  if (!error && (is_call || route.kind == Route::Kind::session)) {
    error = access_.judge_origin(facts);
    if (!error && header.method() == http::verb::post) error = Access::judge_type(facts);
  }
  if (!error && is_call) {
    auto identified = access_.identify(facts, std::chrono::system_clock::now());
    if (auto* refused = std::get_if<ApiError>(&identified)) {
      error = std::move(*refused);
    } else {
      admitted->identity = std::move(std::get<Identity>(identified));
    }
  }
  if (!error && is_call && find_function(route.rest) == nullptr)
    error = not_found("there is no function webhook_api." + std::string(route.rest.substr(0, 64)));
  if (error) return {nullptr, answer_error(*error)};
  return {std::move(admitted), {}};
}

std::optional<ApiError> Service::judge_method(const HttpHeader& header, const Route& route) const {
  const http::verb method = header.method();
  const bool is_post = method == http::verb::post;
  switch (route.kind) {
    case Route::Kind::none:
      return not_found("there is nothing at this path");
    case Route::Kind::session:
      if (options_.mode != SignInMode::code) return not_found("nobody signs in by a code here");
      if (is_post || method == http::verb::delete_) return {};
      break;
    case Route::Kind::call:
      // What is in a query is in logs.
      if (is_post && header.target().find('?') != boost::beast::string_view::npos)
        return ApiError{
            .status = 400, .code = "22023", .message = "arguments are in the body of a call, not in its query"};
      if (is_post) return {};
      break;
    default:
      if (method == http::verb::get || method == http::verb::head) return {};
  }
  return ApiError{.status = 405, .code = "22023", .message = "this path does not have this method"};
}

void Service::handle(const Admitted& admitted, const HttpHeader& header, const std::string& body, const Reply& reply) {
  switch (admitted.route.kind) {
    case Route::Kind::none:
      reply(answer_error(not_found("there is nothing at this path")));
      return;
    case Route::Kind::redirect:
      reply(answer_redirect(admitted));
      return;
    case Route::Kind::file:
      reply(answer_file(header, admitted.route));
      return;
    case Route::Kind::config:
      reply(answer_config(admitted.route));
      return;
    case Route::Kind::session:
      reply(answer_session(header, body));
      return;
    case Route::Kind::call:
      break;
  }
  auto made = make_call(*find_function(admitted.route.rest), body);
  if (auto* error = std::get_if<ApiError>(&made)) {
    reply(answer_error(*error));
    return;
  }
  databases_[admitted.route.database]->call(std::move(std::get<Call>(made)), admitted.identity,
                                            [this, reply](std::variant<std::string, ApiError> result) {
                                              if (auto* error = std::get_if<ApiError>(&result)) {
                                                reply(answer_error(*error));
                                              } else {
                                                reply(answer_json(200, std::move(std::get<std::string>(result))));
                                              }
                                            });
}

HttpResponse Service::refuse(unsigned status, const std::string& message) const {
  return answer_error({.status = status, .code = status == 400 ? "08P01" : "54000", .message = message});
}

HttpResponse Service::answer_json(unsigned status, std::string body) const {
  HttpResponse response(static_cast<http::status>(status), 11);
  response.set(http::field::content_type, "application/json; charset=utf-8");
  response.set(http::field::cache_control, "no-store");
  response.body() = std::move(body);
  add_security_headers(response);
  return response;
}

HttpResponse Service::answer_error(const ApiError& error) const {
  HttpResponse response = answer_json(error.status, to_json(error));
  if (error.status == 401 && options_.mode == SignInMode::jwt) response.set(http::field::www_authenticate, "Bearer");
  // For the log alone; the connection takes it off.
  response.set("X-Code", error.code);
  return response;
}

HttpResponse Service::answer_file(const HttpHeader& header, const Route& route) const {
  std::optional<PageFile> file = files_.find(route.rest);
  if (!file) return answer_error(not_found("there is no such file"));
  HttpResponse response(http::status::ok, 11);
  response.set(http::field::content_type, boost::beast::string_view(file->type.data(), file->type.size()));
  // Asked for again each time, and not sent again if it is the same: a new version is seen at once.
  response.set(http::field::cache_control, "no-cache");
  std::string etag = file->etag;
  std::string content = std::move(file->content);
  if (!file->gzip.empty()) {
    response.set(http::field::vary, "Accept-Encoding");
    if (accepts_gzip(joined(values_of(header, "Accept-Encoding")))) {
      response.set(http::field::content_encoding, "gzip");
      etag.insert(etag.size() - 1, "-gzip");
      content = std::move(file->gzip);
    }
  }
  response.set(http::field::etag, etag);
  if (has_tag(header, etag)) {
    response.result(http::status::not_modified);
  } else {
    response.body() = std::move(content);
  }
  add_security_headers(response);
  return response;
}

HttpResponse Service::answer_redirect(const Admitted& admitted) const {
  HttpResponse response(http::status::permanent_redirect, 11);
  const std::string path = admitted.target.substr(0, admitted.target.find('?'));
  response.set(http::field::location, path + "/");
  response.set(http::field::cache_control, "no-cache");
  add_security_headers(response);
  return response;
}

HttpResponse Service::answer_config(const Route& route) const {
  const std::string base = options_.base_path + "/";
  std::string databases;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    databases += (i == 0 ? "{\"name\":" : ",{\"name\":") + json_quoted(names_[i]) +
                 ",\"path\":" + json_quoted(i == 0 ? base : base + names_[i] + "/") + "}";
  }
  return answer_json(200, "{\"sign_in\":" + json_quoted(sign_in_name(options_.mode)) + ",\"databases\":[" + databases +
                              "],\"database\":" + json_quoted(names_[route.database]) +
                              ",\"base\":" + json_quoted(base) + ",\"version\":" + json_quoted(WEBHOOK_VERSION) + "}");
}

HttpResponse Service::answer_session(const HttpHeader& header, const std::string& body) {
  if (header.method() == http::verb::delete_) {
    sign_in_.sign_out(access_.session_token(facts_of(header, "")));
    HttpResponse response = answer_json(200, "{\"signed_in\":false}");
    response.set(http::field::set_cookie, access_.session_cookie(""));
    return response;
  }
  JsonProblem problem;
  const std::optional<JsonValue> value = parse_json(body, problem);
  const auto arguments = value && value->kind == JsonKind::object ? members(*value) : std::nullopt;
  const JsonValue* code = arguments ? find_member(*arguments, "code") : nullptr;
  if (code == nullptr || code->kind != JsonKind::string)
    return answer_error(
        {.status = 400, .code = "22023", .message = "the body of the request is not {\"code\": \"...\"}"});
  const std::optional<std::string> token = sign_in_.exchange(string_of(*code));
  if (!token) {
    return answer_error({.status = 401,
                         .code = "28000",
                         .message = "the code is wrong, has been used, or is older than 10 minutes",
                         .hint = "The enter key, or SIGUSR1, makes webhook-console print a new link."});
  }
  HttpResponse response = answer_json(200, "{\"signed_in\":true}");
  response.set(http::field::set_cookie, access_.session_cookie(*token));
  return response;
}

RequestFacts Service::facts_of(const HttpHeader& header, const std::string& peer) const {
  RequestFacts facts{.host = values_of(header, "Host"),
                     .origin = values_of(header, "Origin"),
                     .fetch_site = values_of(header, "Sec-Fetch-Site"),
                     .content_type = values_of(header, "Content-Type"),
                     .authorization = values_of(header, "Authorization"),
                     .cookie = values_of(header, "Cookie"),
                     .peer = peer};
  if (!options_.trusted_header.empty()) facts.trusted = values_of(header, options_.trusted_header);
  return facts;
}

void Service::add_security_headers(HttpResponse& response) const {
  response.set("Content-Security-Policy", policy_);
  response.set("X-Content-Type-Options", "nosniff");
  response.set("Referrer-Policy", "no-referrer");
  response.set("Cross-Origin-Opener-Policy", "same-origin");
  response.set("Cross-Origin-Resource-Policy", "same-origin");
  response.set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
  if (options_.frame_ancestors.empty()) response.set("X-Frame-Options", "DENY");
}

}  // namespace webhook::console
