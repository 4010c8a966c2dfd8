#include "console/jwt.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "console/base64url.h"
#include "console/json.h"
#include "console/random.h"

namespace webhook::console {
namespace {

using Seconds = double;

constexpr std::size_t kSecretBytesMin = 32;
constexpr int kRsaBitsMin = 2048;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string_view name_of(JwtAlgorithm algorithm) {
  switch (algorithm) {
    case JwtAlgorithm::hs256:
      return "HS256";
    case JwtAlgorithm::rs256:
      return "RS256";
    case JwtAlgorithm::es256:
      return "ES256";
  }
  return "";
}

EVP_PKEY* read_public_key(std::string_view pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                      BIO_free);
  if (!bio) return nullptr;
  if (EVP_PKEY* key = PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr)) return key;
  BIO_reset(bio.get());
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr),
                                                                X509_free);
  return certificate ? X509_get_pubkey(certificate.get()) : nullptr;
}

bool is_p256(const EVP_PKEY* key) {
  std::array<char, 64> group{};
  std::size_t size = 0;
  return EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1 &&
         std::string_view(group.data(), size) == SN_X9_62_prime256v1;
}

// r and s, 32 bytes each (RFC 7518, section 3.4), as the DER that OpenSSL takes.
std::string der_of(std::string_view signature) {
  if (signature.size() != 64) return {};
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(ECDSA_SIG_new(), ECDSA_SIG_free);
  BIGNUM* r = BN_bin2bn(bytes_of(signature), 32, nullptr);
  BIGNUM* s = BN_bin2bn(bytes_of(signature) + 32, 32, nullptr);
  if (!pair || r == nullptr || s == nullptr || ECDSA_SIG_set0(pair.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return {};
  }
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &der);
  if (size <= 0) return {};
  std::string result(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return result;
}

// A NumericDate (RFC 7519, section 2) of at most 15 digits before the point, so that it can be computed with.
std::optional<Seconds> seconds_of(const JsonValue* value) {
  if (value == nullptr || value->kind != JsonKind::number || value->text.size() > 32) return {};
  const Seconds seconds = std::strtod(std::string(value->text).c_str(), nullptr);
  if (!std::isfinite(seconds) || std::fabs(seconds) > 1e15) return {};
  return seconds;
}

bool has_audience(const JsonValue& value, std::string_view audience) {
  if (value.kind == JsonKind::string) return string_of(value) == audience;
  if (value.kind != JsonKind::array) return false;
  for (const JsonValue& element : elements(value)) {
    if (element.kind == JsonKind::string && string_of(element) == audience) return true;
  }
  return false;
}

std::optional<std::vector<JsonMember>> object_of(std::string_view text) {
  JsonProblem problem;
  const std::optional<JsonValue> value = parse_json(text, problem);
  if (!value || value->kind != JsonKind::object) return {};
  return members(*value);
}

}  // namespace

void JwtVerifier::Free::operator()(evp_pkey_st* key) const noexcept { EVP_PKEY_free(key); }

std::optional<JwtAlgorithm> jwt_algorithm(std::string_view name) {
  for (const JwtAlgorithm algorithm : {JwtAlgorithm::hs256, JwtAlgorithm::rs256, JwtAlgorithm::es256}) {
    if (name == name_of(algorithm)) return algorithm;
  }
  return {};
}

JwtVerifier::JwtVerifier(JwtAlgorithm algorithm, std::string_view key, std::string audience)
    : algorithm_(algorithm), audience_(std::move(audience)) {
  if (algorithm == JwtAlgorithm::hs256) {
    if (key.ends_with('\n')) key.remove_suffix(1);
    if (key.starts_with("-----BEGIN")) throw std::runtime_error("the key is a PEM file, and HS256 takes a secret");
    if (key.size() < kSecretBytesMin) throw std::runtime_error("the secret is shorter than 32 bytes");
    secret_ = key;
    return;
  }
  key_.reset(read_public_key(key));
  if (!key_) throw std::runtime_error("the key is neither a public key nor a certificate in PEM");
  if (algorithm == JwtAlgorithm::rs256 &&
      (EVP_PKEY_get_base_id(key_.get()) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key_.get()) < kRsaBitsMin))
    throw std::runtime_error("the key is not an RSA key of at least 2048 bits");
  if (algorithm == JwtAlgorithm::es256 && (EVP_PKEY_get_base_id(key_.get()) != EVP_PKEY_EC || !is_p256(key_.get())))
    throw std::runtime_error("the key is not an EC key on P-256");
}

bool JwtVerifier::is_signed(std::string_view content, std::string_view signature) const {
  if (algorithm_ == JwtAlgorithm::hs256) {
    std::array<unsigned char, 32> mac{};
    unsigned size = 0;
    return HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()), bytes_of(content), content.size(),
                mac.data(), &size) != nullptr &&
           is_same_secret({reinterpret_cast<const char*>(mac.data()), size}, signature);
  }
  const std::string der = algorithm_ == JwtAlgorithm::es256 ? der_of(signature) : std::string(signature);
  if (der.empty()) return false;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  return context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes_of(der), der.size(), bytes_of(content), content.size()) == 1;
}

std::variant<JwtVerifier::Verified, JwtVerifier::Refused> JwtVerifier::verify(
    std::string_view token, std::chrono::system_clock::time_point now) const {
  if (token.size() > kJwtBytesMax) return Refused{"the token is longer than 8192 bytes"};
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
    return Refused{"the token is not a JWT of three parts"};
  const std::optional<std::string> header = from_base64url(token.substr(0, first));
  std::optional<std::string> payload = from_base64url(token.substr(first + 1, second - first - 1));
  const std::optional<std::string> signature = from_base64url(token.substr(second + 1));
  if (!header || !payload || !signature) return Refused{"a part of the token is not base64url"};
  const auto fields = object_of(*header);
  if (!fields) return Refused{"the header of the token is not a JSON object"};
  const JsonValue* algorithm = find_member(*fields, "alg");
  if (algorithm == nullptr || algorithm->kind != JsonKind::string || string_of(*algorithm) != name_of(algorithm_))
    return Refused{"the token is not signed with " + std::string(name_of(algorithm_))};
  if (find_member(*fields, "crit") != nullptr) return Refused{"the token has an extension that is not understood"};
  if (!is_signed(token.substr(0, second), *signature)) return Refused{"the signature of the token is wrong"};
  return judge_claims(std::move(*payload), now);
}

std::variant<JwtVerifier::Verified, JwtVerifier::Refused> JwtVerifier::judge_claims(
    std::string payload, std::chrono::system_clock::time_point now) const {
  const auto claims = object_of(payload);
  if (!claims) return Refused{"the claims of the token are not a JSON object, or name a claim twice"};
  const Seconds at = std::chrono::duration<Seconds>(now.time_since_epoch()).count();
  const Seconds leeway = std::chrono::duration<Seconds>(kJwtLeeway).count();
  const std::optional<Seconds> expires = seconds_of(find_member(*claims, "exp"));
  if (!expires) return Refused{"the token has no time at which it expires (exp)"};
  if (at >= *expires + leeway) return Refused{"the token has expired"};
  if (const JsonValue* begins = find_member(*claims, "nbf")) {
    const std::optional<Seconds> from = seconds_of(begins);
    if (!from || at < *from - leeway) return Refused{"the token is not valid yet"};
  }
  const JsonValue* audience = find_member(*claims, "aud");
  if (audience == nullptr || !has_audience(*audience, audience_)) return Refused{"the token is for another audience"};
  Verified verified;
  if (const JsonValue* role = find_member(*claims, "role")) {
    if (role->kind != JsonKind::string) return Refused{"the role in the token is not a string"};
    verified.role = string_of(*role);
  }
  const JsonValue* subject = find_member(*claims, "sub");
  if (subject != nullptr && subject->kind == JsonKind::string) verified.subject = string_of(*subject);
  verified.claims = std::move(payload);
  return verified;
}

}  // namespace webhook::console
