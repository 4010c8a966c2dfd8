// The path, the method's arguments and the headers of a call to webhook-console.
#include "console/call.h"

#include <string>
#include <vector>

#include "console/access.h"
#include "console/json.h"
#include "console/log.h"
#include "console/route.h"
#include "core/utf8.h"
#include "fuzz.h"

namespace webhook::console {
namespace {

using fuzz::require;

const std::vector<std::string> kDatabases{"", "crm"};

void check_route(std::string_view target) {
  const Route found = route(target, "/hooks", kDatabases);
  if (found.kind == Route::Kind::none) return;
  const std::string_view path = target.substr(0, target.find('?'));
  require(path.starts_with("/hooks"), "what is served is below the base path");
  require(path.find("..") == std::string_view::npos || path.find("/../") == std::string_view::npos,
          "a path does not lead upwards");
  require(path.find_first_of("%\\: ;") == std::string_view::npos, "a path is plain");
  require(found.database < kDatabases.size(), "a database is one of ours");
}

void check_call(const Function& function, std::string_view body) {
  auto made = make_call(function, body);
  if (auto* error = std::get_if<ApiError>(&made)) {
    require(error->status == 400, "a wrong argument is the caller's fault");
    JsonProblem problem;
    require(parse_json(to_json(*error), problem).has_value(), "an error is JSON");
    return;
  }
  const Call& call = std::get<Call>(made);
  require(is_valid_utf8(call.sql) && call.sql.find_first_of("';\\") == std::string::npos,
          "the statement is ours alone");
  require(call.parameters.size() <= function.parameters.size(), "no argument is added");
  for (const auto& parameter : call.parameters)
    require(!parameter || is_valid_utf8(*parameter), "a parameter is text that PostgreSQL can hold");
  // The same arguments, written without white space at the ends, make the same call.
  auto again = make_call(function, " \n" + std::string(body) + "\t");
  if (!body.empty()) {
    require(std::holds_alternative<Call>(again) && std::get<Call>(again).parameters == call.parameters,
            "white space around a body does not matter");
  }
}

void check_json(std::string_view text) {
  JsonProblem problem;
  const auto value = parse_json(text, problem);
  if (!value) {
    require(problem.what[0] != '\0' && problem.offset <= text.size(), "a problem is told, with its place");
    return;
  }
  if (value->kind == JsonKind::string)
    require(is_valid_utf8(string_of(*value)) &&
                string_of(*parse_json(json_quoted(string_of(*value)), problem)) == string_of(*value),
            "a string that is quoted reads the same");
}

void check_headers(std::string_view value) {
  static const auto* const options = new Options(std::get<Options>(
      parse_options({"dbname=app", "--trusted-proxy", "unix", "--trusted-header", "X-User", "--role", "crm"})));
  static auto* const sign_in = new SignIn([] { return SignIn::Clock::time_point(); });
  static auto* const access = new Access(*options, 8088, nullptr, *sign_in);
  const std::string text(value);
  RequestFacts facts{.host = {text}, .origin = {text}, .cookie = {text}, .trusted = {text}, .peer = "unix"};
  if (!access->judge_host(facts)) require(text.size() <= 14, "a host is one of ours");
  access->judge_origin(facts);
  access->session_token(facts);
  auto identified = access->identify(facts, {});
  if (const auto* identity = std::get_if<Identity>(&identified)) {
    JsonProblem problem;
    require(identity->role == "crm", "a role is one that is allowed");
    require(parse_json(identity->claims, problem).has_value(), "claims are JSON");
  }
  const std::string line = log_escaped(value);
  require(std::none_of(line.begin(), line.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }),
          "a log line is one line");
}

}  // namespace
}  // namespace webhook::console

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace webhook::console;
  const std::string_view input = webhook::fuzz::text_of(data, size);
  check_route(input);
  check_json(input);
  check_headers(input);
  if (size == 0) return 0;
  check_call(functions()[data[0] % functions().size()], input.substr(1));
  return 0;
}
