#include "http/url.h"

#include <gtest/gtest.h>

#include <string>

namespace webhook {
namespace {

TEST(UrlProblem, AcceptsOrdinaryHttpsUrls) {
  for (const char* url : {"https://example.com", "https://example.com/hooks/1?a=b&c=%20d", "HTTPS://EXAMPLE.com:8443/",
                          "https://[2001:db8::1]:443/x", "https://192.0.2.1/", "https://xn--bcher-kva.example/a@b"}) {
    EXPECT_EQ(url_problem(url, false), std::nullopt) << url;
  }
}

TEST(UrlProblem, AcceptsHttpOnlyWhenAllowed) {
  EXPECT_EQ(url_problem("http://example.com/", true), std::nullopt);
  const auto problem = url_problem("http://example.com/", false);
  ASSERT_TRUE(problem);
  EXPECT_NE(problem->find("must be https"), std::string::npos) << *problem;
  EXPECT_NE(problem->find("webhook.allow_http"), std::string::npos) << *problem;
}

TEST(UrlProblem, RefusesOtherSchemes) {
  for (const char* url : {"ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)",
                          "example.com/hook", "//example.com/", "/hook", "", "https", "https:"}) {
    EXPECT_TRUE(url_problem(url, false)) << url;
    EXPECT_TRUE(url_problem(url, true)) << url;
  }
}

TEST(UrlProblem, RefusesUserAndPasswordAndDoesNotRepeatThem) {
  for (const char* url : {"https://user@example.com/", "https://user:hunter2@example.com/", "https://:hunter2@host/"}) {
    const auto problem = url_problem(url, false);
    ASSERT_TRUE(problem) << url;
    EXPECT_EQ(problem->find("hunter2"), std::string::npos) << *problem;
  }
}

TEST(UrlProblem, RefusesAFragment) {
  EXPECT_TRUE(url_problem("https://example.com/a#b", false));
  EXPECT_TRUE(url_problem("https://example.com/a#", false));
}

TEST(UrlProblem, RefusesControlCharactersSpacesAndRawBytes) {
  using namespace std::string_literals;
  for (const std::string& url : {"https://example.com/a b"s, "https://example.com/\r\nX: y"s, "https://example.com/\0"s,
                                 " https://example.com/"s, "https://example.com/\t"s, "https://example.com/\x7f"s,
                                 "https://b\xc3\xbc"
                                 "cher.example/"s,
                                 "https://example.com/\xff"s}) {
    EXPECT_TRUE(url_problem(url, false)) << url;
  }
}

TEST(UrlProblem, RefusesABackslash) {
  for (const char* url :
       {"https://good.example\\@evil.example/", "https://good.example\\.evil.example/", "https:\\\\evil.example/",
        "https://good.example/\\@evil.example", "https://good.example?\\"}) {
    EXPECT_EQ(url_problem(url, false), "it contains a backslash (write %5C)") << url;
  }
}

TEST(UrlProblem, RefusesAMissingHost) {
  for (const char* url : {"https://", "https:///path", "https://:443/", "https://?a=b", "https:/example.com/",
                          "https:////example.com/"}) {
    EXPECT_TRUE(url_problem(url, false)) << url;
  }
}

TEST(UrlProblem, RefusesAnEncodedHost) {
  for (const char* url : {"https://%65xample.com/", "https://b%C3%BCcher.example/", "https://example%2ecom?a",
                          "https://127%2e0.0.1/", "https://[fe80::1%25eth0]/", "https://user%40example.com/"}) {
    EXPECT_TRUE(url_problem(url, false)) << url;
  }
  EXPECT_EQ(url_problem("https://example.com/%41?b=%42", false), std::nullopt);
}

TEST(UrlProblem, RefusesPortsThatAreNone) {
  for (const char* url : {"https://example.com:0/", "https://example.com:65536/", "https://example.com:abc/",
                          "https://example.com:-1/", "https://example.com:443x/"}) {
    EXPECT_TRUE(url_problem(url, false)) << url;
  }
  EXPECT_EQ(url_problem("https://example.com:65535/", false), std::nullopt);
}

TEST(PortProblem, JudgesTheWrittenPortAndThatOfTheScheme) {
  const PortList ports = {{.first = 443, .last = 443}, {.first = 8000, .last = 8999}};
  for (const char* url :
       {"https://example.com/", "https://example.com:443/", "https://[2001:db8::1]:8443/", "nonsense"}) {
    EXPECT_EQ(port_problem(url, ports), std::nullopt) << url;
  }
  EXPECT_EQ(port_problem("https://example.com:25/", ports),
            "its port 25 is not one that webhooks may be sent to (webhook.allowed_ports)");
  EXPECT_TRUE(port_problem("http://example.com/", ports));
}

TEST(UrlProblem, BoundsTheLength) {
  const std::string base = "https://example.com/";
  EXPECT_EQ(url_problem(base + std::string(kUrlBytesMax - base.size(), 'a'), false), std::nullopt);
  EXPECT_TRUE(url_problem(base + std::string(kUrlBytesMax - base.size() + 1, 'a'), false));
}

TEST(RequestUrl, IsParsedUnlessTheParserRefusesIt) {
  const RequestUrl url("https://example.com/a?b");
  EXPECT_EQ(url.text(), "https://example.com/a?b");
  ASSERT_NE(url.parsed(), nullptr);
  const RequestUrl copy = url;  // NOLINT(performance-unnecessary-copy-initialization): the copy is what is tested
  EXPECT_EQ(copy.parsed(), url.parsed());
  EXPECT_EQ(&copy.text(), &url.text());
  for (const char* refused :
       {"", "nonsense", "https://", "https://user@host/", "https://host:99999/", "https://a b/"}) {
    EXPECT_EQ(RequestUrl(refused).text(), refused);
    EXPECT_EQ(RequestUrl(refused).parsed(), nullptr) << refused;
  }
  EXPECT_EQ(RequestUrl().text(), "");
  EXPECT_EQ(RequestUrl().parsed(), nullptr);
}

TEST(UrlHost, IsTheHostAlone) {
  EXPECT_EQ(url_host("https://example.com:8443/hooks?x"), "example.com");
  EXPECT_EQ(url_host("nonsense"), "");
}

}  // namespace
}  // namespace webhook
