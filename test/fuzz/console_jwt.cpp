// JSON Web Tokens: as they come, and with a good signature, so that the claims are reached.
#include "console/jwt.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string>

#include "console/base64url.h"
#include "console/json.h"
#include "core/utf8.h"
#include "fuzz.h"

namespace webhook::console {
namespace {

using fuzz::require;

constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
const std::chrono::system_clock::time_point kNow{std::chrono::seconds(1'800'000'000)};

const JwtVerifier& verifier() {
  static const auto* const result = new JwtVerifier(JwtAlgorithm::hs256, kSecret, "webhooks");
  return *result;
}

std::string signed_token(std::string_view claims) {
  const std::string text = to_base64url(R"({"alg":"HS256"})") + "." + to_base64url(claims);
  unsigned char mac[32];
  unsigned size = 0;
  HMAC(EVP_sha256(), kSecret.data(), static_cast<int>(kSecret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &size);
  return text + "." + to_base64url({reinterpret_cast<const char*>(mac), size});
}

void check(std::string_view token) {
  auto result = verifier().verify(token, kNow);
  if (const auto* refused = std::get_if<JwtVerifier::Refused>(&result)) {
    require(!refused->why.empty() && fuzz::is_printable_ascii(refused->why), "a refusal says why, in a line of text");
    return;
  }
  const auto& verified = std::get<JwtVerifier::Verified>(result);
  JsonProblem problem;
  const auto claims = parse_json(verified.claims, problem);
  require(claims && claims->kind == JsonKind::object, "claims are a JSON object");
  const auto found = members(*claims);
  require(found.has_value(), "no claim stands there twice");
  require(find_member(*found, "exp") != nullptr && find_member(*found, "aud") != nullptr, "exp and aud are there");
  require(!verified.role || is_valid_utf8(*verified.role), "a role is text");
}

}  // namespace
}  // namespace webhook::console

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace webhook::console;
  const std::string_view input = webhook::fuzz::text_of(data, size);
  check(input);
  check(signed_token(input));
  const auto decoded = from_base64url(input);
  webhook::fuzz::require(!decoded || to_base64url(*decoded) == input, "a text of base64url has one spelling");
  return 0;
}
