#include "console/access.h"

#include <gtest/gtest.h>

#include "console/log.h"
#include "console/random.h"

namespace webhook::console {
namespace {

Options parsed(const std::vector<std::string>& arguments) {
  auto result = parse_options(arguments);
  if (const auto* refused = std::get_if<Refused>(&result)) ADD_FAILURE() << refused->why;
  return std::holds_alternative<Options>(result) ? std::get<Options>(result) : Options();
}

std::string why_refused(const std::vector<std::string>& arguments) {
  auto result = parse_options(arguments);
  const auto* refused = std::get_if<Refused>(&result);
  return refused == nullptr ? "" : refused->why;
}

// An Access with a clock that the test moves.
struct World {
  explicit World(const std::vector<std::string>& arguments)
      : options(parsed(arguments)), sign_in([this] { return now; }), access(options, 8088, nullptr, sign_in) {}

  std::variant<Identity, ApiError> identify(const RequestFacts& facts) {
    return access.identify(facts, std::chrono::system_clock::now());
  }
  unsigned status_of(const RequestFacts& facts) {
    auto identified = identify(facts);
    const auto* error = std::get_if<ApiError>(&identified);
    return error == nullptr ? 200 : error->status;
  }

  SignIn::Clock::time_point now{};
  Options options;
  SignIn sign_in;
  Access access;
};

TEST(SignIn, ACodeWorksOnceAndForTenMinutes) {
  World world({"dbname=app"});
  const std::string code = world.sign_in.new_code();
  EXPECT_EQ(code.size(), 43U);
  EXPECT_FALSE(world.sign_in.exchange(""));
  EXPECT_FALSE(world.sign_in.exchange(code + "A"));
  EXPECT_TRUE(world.sign_in.exchange(code));
  EXPECT_FALSE(world.sign_in.exchange(code));
  const std::string late = world.sign_in.new_code();
  world.now += SignIn::kCodeLifetime;
  EXPECT_FALSE(world.sign_in.exchange(late));
}

TEST(SignIn, ASessionEnds) {
  World world({"dbname=app"});
  const std::string first = *world.sign_in.exchange(world.sign_in.new_code());
  const std::string second = *world.sign_in.exchange(world.sign_in.new_code());
  EXPECT_TRUE(world.sign_in.is_signed_in(first));
  world.sign_in.sign_out(first);
  EXPECT_FALSE(world.sign_in.is_signed_in(first));
  EXPECT_TRUE(world.sign_in.is_signed_in(second));
  world.now += SignIn::kSessionLifetime;
  EXPECT_FALSE(world.sign_in.is_signed_in(second));
  EXPECT_FALSE(world.sign_in.is_signed_in(""));
}

TEST(SignIn, HoldsABoundedNumber) {
  World world({"dbname=app"});
  const std::string first = world.sign_in.new_code();
  for (std::size_t i = 0; i < SignIn::kCodesMax; ++i) world.sign_in.new_code();
  EXPECT_FALSE(world.sign_in.exchange(first));
  const std::string session = *world.sign_in.exchange(world.sign_in.new_code());
  for (std::size_t i = 0; i < SignIn::kSessionsMax; ++i) world.sign_in.exchange(world.sign_in.new_code());
  EXPECT_FALSE(world.sign_in.is_signed_in(session));
}

TEST(Access, OnlyOurHostsAreServed) {
  World world({"dbname=app", "--public-host", "hooks.example.com"});
  for (const char* host : {"127.0.0.1:8088", "localhost:8088", "LOCALHOST:8088", "hooks.example.com"}) {
    EXPECT_FALSE(world.access.judge_host({.host = {host}})) << host;
  }
  for (const char* host :
       {"", "127.0.0.1", "localhost", "evil.example:8088", "127.0.0.1:8089", "127.0.0.1:8088.evil.example",
        "hooks.example.com.evil.example", "hooks.example.com:1", "[::1]:8088"}) {
    EXPECT_TRUE(world.access.judge_host({.host = {host}})) << host;
  }
  EXPECT_TRUE(world.access.judge_host({}));
  EXPECT_TRUE(world.access.judge_host({.host = {"localhost:8088", "localhost:8088"}}));
}

TEST(Access, ATunnelToAUnixSocketHasAPortOfItsOwn) {
  World world({"dbname=app", "--listen", "unix:/tmp/s"});
  for (const char* host : {"localhost", "localhost:9999", "127.0.0.1:1", "[::1]:5"}) {
    EXPECT_FALSE(world.access.judge_host({.host = {host}})) << host;
  }
  EXPECT_TRUE(world.access.judge_host({.host = {"evil.example:9999"}}));
  EXPECT_TRUE(world.access.judge_origin({.host = {"localhost:9999"}, .origin = {"http://localhost:3000"}}));
}

TEST(Access, OnlyOurPageCalls) {
  World world({"dbname=app", "--public-host", "hooks.example.com"});
  const std::vector<std::string> host{"127.0.0.1:8088"};
  const auto is_refused = [&](std::vector<std::string> origin, std::vector<std::string> site) {
    return world.access.judge_origin({.host = host, .origin = std::move(origin), .fetch_site = std::move(site)})
        .has_value();
  };
  EXPECT_FALSE(is_refused({"http://127.0.0.1:8088"}, {}));
  EXPECT_FALSE(is_refused({}, {"same-origin"}));
  EXPECT_FALSE(is_refused({"https://hooks.example.com"}, {"same-origin"}));
  EXPECT_TRUE(is_refused({}, {}));
  for (const char* origin :
       {"null", "", "http://evil.example", "http://127.0.0.1:8089", "http://127.0.0.1", "file://",
        "ftp://127.0.0.1:8088", "127.0.0.1:8088", "http://127.0.0.1:8088/", "http://127.0.0.1:8088@evil.example"}) {
    EXPECT_TRUE(is_refused({origin}, {})) << origin;
    EXPECT_TRUE(is_refused({origin}, {"same-origin"})) << origin;
  }
  for (const char* site : {"cross-site", "same-site", "none", ""}) {
    EXPECT_TRUE(is_refused({"http://127.0.0.1:8088"}, {site})) << site;
  }
  EXPECT_TRUE(is_refused({"http://127.0.0.1:8088", "http://127.0.0.1:8088"}, {}));
}

TEST(Access, ABearerIsNothingWhereNoJwtSignsIn) {
  World world({"dbname=app"});
  EXPECT_TRUE(world.access.judge_origin({.host = {"localhost:8088"}, .authorization = {"Bearer abc"}}));
}

TEST(Access, ABodyIsJson) {
  for (const char* type : {"application/json", "Application/JSON; charset=utf-8"}) {
    EXPECT_FALSE(Access::judge_type({.content_type = {type}})) << type;
  }
  for (const char* type : {"", "text/plain", "application/jsonp", "text/plain; application/json"}) {
    EXPECT_TRUE(Access::judge_type({.content_type = {type}})) << type;
  }
  EXPECT_TRUE(Access::judge_type({}));
}

TEST(Access, TheCookieIsTheSessions) {
  World world({"dbname=app", "--role", "crm", "--organization", "acme"});
  const std::string token = *world.sign_in.exchange(world.sign_in.new_code());
  EXPECT_EQ(world.access.session_cookie(token),
            "webhook_console_8088=" + token + "; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
  auto identified = world.identify({.cookie = {"a=b; webhook_console_8088=" + token + ";c"}});
  ASSERT_TRUE(std::holds_alternative<Identity>(identified));
  EXPECT_EQ(std::get<Identity>(identified).role, "crm");
  EXPECT_EQ(std::get<Identity>(identified).organization, "acme");
  for (const std::string& cookie : {std::string(), std::string("webhook_console_8088"), "webhook_console_8089=" + token,
                                    "xwebhook_console_8088=" + token, "webhook_console_8088=" + token + "x",
                                    std::string("webhook_console_8088=")}) {
    EXPECT_EQ(world.status_of({.cookie = {cookie}}), 401U) << cookie;
  }
}

TEST(Access, WithTlsTheCookieIsBoundToTheHost) {
  World world({"dbname=app", "--tls-certificate", "c", "--tls-key", "k", "--base-path", "/x"});
  EXPECT_EQ(world.access.session_cookie("t"),
            "__Host-webhook_console_8088=t; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=43200");
  EXPECT_TRUE(world.access.judge_origin({.host = {"localhost:8088"}, .origin = {"http://localhost:8088"}}));
}

const std::vector<std::string> kProxy{"dbname=app",       "--trusted-proxy", "10.0.0.1", "--trusted-header",
                                      "X-Webhook-Claims", "--role",          "crm",      "--role",
                                      "crm_admin"};

TEST(Access, OnlyAProxyThatIsNamedIsBelieved) {
  World world(kProxy);
  const std::string claims = R"({"role":"crm","organization_id":"acme"})";
  EXPECT_EQ(world.status_of({.trusted = {claims}, .peer = "10.0.0.1"}), 200U);
  for (const char* peer : {"10.0.0.2", "127.0.0.1", "unix", ""}) {
    EXPECT_EQ(world.status_of({.trusted = {claims}, .peer = peer}), 403U) << peer;
  }
  EXPECT_EQ(world.status_of({.trusted = {claims, claims}, .peer = "10.0.0.1"}), 403U);
  EXPECT_EQ(world.status_of({.peer = "10.0.0.1"}), 401U);
  EXPECT_EQ(world.status_of({.trusted = {"  "}, .peer = "10.0.0.1"}), 401U);
  for (const char* wrong : {"{", R"({"role":1})", R"({"role":"crm","role":"crm_admin"})"}) {
    EXPECT_EQ(world.status_of({.trusted = {wrong}, .peer = "10.0.0.1"}), 401U) << wrong;
  }
}

TEST(Access, ARoleIsOneOfThoseThatAreAllowed) {
  World world(kProxy);
  for (const char* claims :
       {R"({"role":"postgres"})", R"({"role":"none"})", R"({"role":""})", R"({"sub":"x"})", "ann"}) {
    EXPECT_EQ(world.status_of({.trusted = {claims}, .peer = "10.0.0.1"}), 403U) << claims;
  }
  World one({"dbname=app", "--trusted-proxy", "unix", "--trusted-header", "X-User", "--role", "crm"});
  auto identified = one.identify({.trusted = {"ann \"x\""}, .peer = "unix"});
  ASSERT_TRUE(std::holds_alternative<Identity>(identified));
  EXPECT_EQ(std::get<Identity>(identified).role, "crm");
  EXPECT_EQ(std::get<Identity>(identified).claims, R"({"sub":"ann \"x\""})");
}

TEST(Options, RefuseWhatWouldLetAnybodyIn) {
  EXPECT_NE(why_refused({"dbname=app", "--listen", "0.0.0.0:80"}), "");
  EXPECT_NE(why_refused({"dbname=app", "--listen", "[::]:80"}), "");
  EXPECT_NE(why_refused({"dbname=app", "--role", "none"}), "");
  EXPECT_NE(why_refused({"dbname=app", "--jwt-key-file", "k"}), "");
  EXPECT_NE(why_refused({"dbname=app", "--jwt-key-file", "k", "--jwt-algorithm", "none", "--jwt-audience", "a"}), "");
  EXPECT_NE(why_refused({"dbname=app", "--jwt-key-file", "k", "--jwt-algorithm", "HS256", "--jwt-audience", "a"}), "");
  EXPECT_NE(why_refused({"dbname=app", "--trusted-proxy", "10.0.0.1", "--role", "a"}), "");
  EXPECT_EQ(why_refused({"dbname=app", "--listen", "[::]:80", "--jwt-key-file", "k", "--jwt-algorithm", "HS256",
                         "--jwt-audience", "a", "--role", "a"}),
            "");
}

TEST(Options, AreStrict) {
  const std::vector<std::vector<std::string>> wrong{{},
                                                    {"--listen"},
                                                    {"dbname=app", "--nonsense", "x"},
                                                    {"dbname=app", "dbname=b"},
                                                    {"dbname=app", "--listen", "8088"},
                                                    {"dbname=app", "--listen", "127.0.0.1:65536"},
                                                    {"dbname=app", "--listen", "localhost:1"},
                                                    {"dbname=app", "--listen", "unix:x"},
                                                    {"dbname=app", "--base-path", "x"},
                                                    {"dbname=app", "--base-path", "/x/"},
                                                    {"dbname=app", "--base-path", "/x;y"},
                                                    {"dbname=app", "--frame-ancestors", "https://a; script-src *"},
                                                    {"dbname=app", "--frame-ancestors", "*"},
                                                    {"dbname=app", "--database", "rpc=dbname=b"},
                                                    {"dbname=app", "--database", "b=1", "--database", "b=2"},
                                                    {"dbname=app", "--tls-key", "k"},
                                                    {"dbname=app", "--connections", "0"}};
  for (const auto& arguments : wrong)
    EXPECT_NE(why_refused(arguments), "") << (arguments.empty() ? "" : arguments.back());
  const Options options = parsed({"dbname=app", "--listen=[::1]:0", "--database=b=dbname=b", "--base-path", "/"});
  EXPECT_EQ(options.listen_address, "::1");
  EXPECT_EQ(options.databases[1].conninfo, "dbname=b");
  EXPECT_EQ(options.base_path, "");
}

TEST(Log, NothingLeavesItsLine) {
  EXPECT_EQ(log_escaped("a\nb\x1b[31m\x7f\xc2\x9b\xe2\x80\xae\t"), R"(a\x0ab\x1b[31m\x7f\xc2\x9b\xe2\x80\xae\x09)");
  EXPECT_EQ(log_escaped("é€"), "é€");
  EXPECT_EQ(log_escaped("abcdef", 3), "abc...");
}

TEST(Random, SecretsDifferAndAreCompared) {
  EXPECT_NE(random_token(), random_token());
  EXPECT_TRUE(is_same_secret("abc", "abc"));
  EXPECT_FALSE(is_same_secret("abc", "abd"));
  EXPECT_FALSE(is_same_secret("abc", "ab"));
}

}  // namespace
}  // namespace webhook::console
