#include "console/jwt.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <stdexcept>

#include "console/base64url.h"

namespace webhook::console {
namespace {

using Time = std::chrono::system_clock::time_point;
constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
const Time kNow = Time(std::chrono::seconds(1'800'000'000));

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string public_pem(const Key& key) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PUBKEY(bio.get(), key.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::string hmac(std::string_view secret, std::string_view content) {
  unsigned char mac[32];
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(content.data()), content.size(), mac, &size);
  return {reinterpret_cast<const char*>(mac), size};
}

std::string evp_signature(const Key& key, std::string_view content) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::size_t size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(content.data());
  EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get());
  EVP_DigestSign(context.get(), nullptr, &size, bytes, content.size());
  std::string signature(size, '\0');
  EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes, content.size());
  signature.resize(size);
  return signature;
}

// The r and s of a DER signature on P-256.
std::string raw_ecdsa(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())), ECDSA_SIG_free);
  std::string raw(64, '\0');
  BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), reinterpret_cast<unsigned char*>(raw.data()), 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), reinterpret_cast<unsigned char*>(raw.data()) + 32, 32);
  return raw;
}

std::string content(std::string_view header, std::string_view claims) {
  return to_base64url(header) + "." + to_base64url(claims);
}

std::string signed_hs256(std::string_view claims, std::string_view header = R"({"alg":"HS256","typ":"JWT"})",
                         std::string_view secret = kSecret) {
  const std::string text = content(header, claims);
  return text + "." + to_base64url(hmac(secret, text));
}

constexpr std::string_view kClaims =
    R"({"exp":1800000060,"aud":"webhooks","sub":"ann","role":"crm","organization_id":"acme"})";

// What is wrong with the token, or "".
std::string refusal(const JwtVerifier& verifier, std::string_view token, Time now = kNow) {
  auto result = verifier.verify(token, now);
  const auto* refused = std::get_if<JwtVerifier::Refused>(&result);
  return refused == nullptr ? "" : refused->why;
}

JwtVerifier hs256() { return {JwtAlgorithm::hs256, std::string(kSecret) + "\n", "webhooks"}; }

TEST(Jwt, AcceptsATokenAndTellsItsClaims) {
  auto result = hs256().verify(signed_hs256(kClaims), kNow);
  const auto* verified = std::get_if<JwtVerifier::Verified>(&result);
  ASSERT_NE(verified, nullptr);
  EXPECT_EQ(verified->claims, kClaims);
  EXPECT_EQ(verified->role, "crm");
  EXPECT_EQ(verified->subject, "ann");
}

TEST(Jwt, NoTokenChoosesItsAlgorithm) {
  const JwtVerifier verifier = hs256();
  for (const char* algorithm : {"none", "None", "NONE", "", "hs256", "HS512", "RS256", "ES256"}) {
    const std::string header = R"({"alg":")" + std::string(algorithm) + R"("})";
    EXPECT_EQ(refusal(verifier, signed_hs256(kClaims, header)), "the token is not signed with HS256") << algorithm;
    EXPECT_NE(refusal(verifier, content(header, kClaims) + "."), "") << algorithm;
  }
  for (const char* header : {"{}", R"({"alg":null})", R"({"alg":["HS256"]})", R"({"alg":"HS256","alg":"none"})",
                             R"({"alg":"HS256","crit":["exp"]})", "[]", ""}) {
    EXPECT_NE(refusal(verifier, signed_hs256(kClaims, header)), "") << header;
  }
}

TEST(Jwt, APublicKeyIsNoSecret) {
  const Key key(EVP_RSA_gen(2048), EVP_PKEY_free);
  const std::string pem = public_pem(key);
  const JwtVerifier verifier(JwtAlgorithm::rs256, pem, "webhooks");
  const std::string text = content(R"({"alg":"RS256"})", kClaims);
  EXPECT_EQ(refusal(verifier, text + "." + to_base64url(evp_signature(key, text))), "");
  EXPECT_EQ(refusal(verifier, text + "." + to_base64url(hmac(pem, text))), "the signature of the token is wrong");
  EXPECT_EQ(refusal(verifier, signed_hs256(kClaims, R"({"alg":"HS256"})", pem)), "the token is not signed with RS256");
  EXPECT_THROW(JwtVerifier(JwtAlgorithm::hs256, pem, "webhooks"), std::runtime_error);
  EXPECT_THROW(JwtVerifier(JwtAlgorithm::es256, pem, "webhooks"), std::runtime_error);
}

TEST(Jwt, Es256SignaturesAre64Bytes) {
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const JwtVerifier verifier(JwtAlgorithm::es256, public_pem(key), "webhooks");
  const std::string text = content(R"({"alg":"ES256"})", kClaims);
  const std::string der = evp_signature(key, text);
  EXPECT_EQ(refusal(verifier, text + "." + to_base64url(raw_ecdsa(der))), "");
  const std::string wrong = "the signature of the token is wrong";
  EXPECT_EQ(refusal(verifier, text + "." + to_base64url(der)), wrong);
  EXPECT_EQ(refusal(verifier, text + "." + to_base64url(std::string(64, '\0'))), wrong);
  EXPECT_EQ(refusal(verifier, text + "." + to_base64url(std::string(64, '\xff'))), wrong);
  EXPECT_EQ(refusal(verifier, text + "."), wrong);
}

TEST(Jwt, WeakKeysAreRefused) {
  EXPECT_THROW(JwtVerifier(JwtAlgorithm::hs256, "too short", "a"), std::runtime_error);
  EXPECT_THROW(JwtVerifier(JwtAlgorithm::rs256, "no key", "a"), std::runtime_error);
  EXPECT_THROW(JwtVerifier(JwtAlgorithm::rs256, public_pem(Key(EVP_RSA_gen(1024), EVP_PKEY_free)), "a"),
               std::runtime_error);
  EXPECT_THROW(JwtVerifier(JwtAlgorithm::es256, public_pem(Key(EVP_EC_gen("P-384"), EVP_PKEY_free)), "a"),
               std::runtime_error);
}

TEST(Jwt, ATokenThatWasChangedIsRefused) {
  const JwtVerifier verifier = hs256();
  const std::string token = signed_hs256(kClaims);
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_NE(refusal(verifier, changed), "") << i;
    EXPECT_NE(refusal(verifier, token.substr(0, i)), "") << i;
  }
  for (const char* added : {".", "=", " ", "\n", "A", ".AAAA"})
    EXPECT_NE(refusal(verifier, token + added), "") << added;
  EXPECT_EQ(refusal(verifier, signed_hs256(kClaims, R"({"alg":"HS256"})", "another secret, of 32 bytes or more")),
            "the signature of the token is wrong");
  EXPECT_EQ(refusal(verifier, std::string(kJwtBytesMax + 1, 'a')), "the token is longer than 8192 bytes");
}

TEST(Jwt, ItsTimesAreHonoured) {
  const JwtVerifier verifier = hs256();
  const auto judged = [&](std::string_view claims) { return refusal(verifier, signed_hs256(claims)); };
  EXPECT_EQ(judged(R"({"aud":"webhooks","exp":1800000001})"), "");
  EXPECT_EQ(judged(R"({"aud":"webhooks","exp":1799999971})"), "");
  EXPECT_EQ(judged(R"({"aud":"webhooks","exp":1799999970})"), "the token has expired");
  EXPECT_EQ(judged(R"({"aud":"webhooks","exp":1800000001.5,"nbf":1800000030})"), "");
  EXPECT_EQ(judged(R"({"aud":"webhooks","exp":1800000099,"nbf":1800000031})"), "the token is not valid yet");
  EXPECT_EQ(judged(R"({"aud":"webhooks","exp":1800000099,"nbf":"soon"})"), "the token is not valid yet");
  for (const char* exp : {"null", "\"1900000000\"", "1e400", "1e16", "[1900000000]", "true",
                          "999999999999999999999999999999999999999999999999"}) {
    EXPECT_EQ(judged(R"({"aud":"webhooks","exp":)" + std::string(exp) + "}"),
              "the token has no time at which it expires (exp)")
        << exp;
  }
  EXPECT_EQ(judged(R"({"aud":"webhooks"})"), "the token has no time at which it expires (exp)");
  EXPECT_EQ(judged(R"({"aud":"webhooks","exp":-1})"), "the token has expired");
}

TEST(Jwt, ItsAudienceIsOurs) {
  const JwtVerifier verifier = hs256();
  const auto judged = [&](const std::string& audience) {
    return refusal(verifier, signed_hs256(R"({"exp":1900000000,"aud":)" + audience + "}"));
  };
  EXPECT_EQ(judged(R"("webhooks")"), "");
  EXPECT_EQ(judged(R"(["other","webhooks"])"), "");
  for (const char* audience :
       {R"("other")", R"("Webhooks")", "\"\"", "[]", "null", R"({"webhooks":1})", R"([["webhooks"]])", "1"}) {
    EXPECT_EQ(judged(audience), "the token is for another audience") << audience;
  }
  EXPECT_EQ(refusal(verifier, signed_hs256(R"({"exp":1900000000})")), "the token is for another audience");
}

TEST(Jwt, ClaimsAreOneObjectWithoutDoubles) {
  const JwtVerifier verifier = hs256();
  for (const char* claims :
       {"[]", "null", "", "{", R"({"exp":1900000000,"aud":"webhooks","role":"a","role":"b"})",
        R"({"exp":1,"aud":"webhooks","exp":1900000000})", R"({"exp":1900000000,"aud":"webhooks","role":1})"}) {
    EXPECT_NE(refusal(verifier, signed_hs256(claims)), "") << claims;
  }
}

TEST(Base64url, IsStrict) {
  for (const char* text : {"", "Zg", "Zm8", "Zm9v", "-_-_"}) EXPECT_EQ(to_base64url(*from_base64url(text)), text);
  for (const char* text : {"Z", "Zh", "Zm9", "Zg==", "Zm 9", "+/+/", "Zm9v\n", "Zm9vA"}) {
    EXPECT_FALSE(from_base64url(text)) << text;
  }
}

}  // namespace
}  // namespace webhook::console
