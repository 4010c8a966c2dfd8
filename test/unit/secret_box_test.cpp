#include "core/secret_box.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace webhook {
namespace {

constexpr Uuid kWebhook{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
constexpr Uuid kOther{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16}};
constexpr GcmNonce kNonce{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
constexpr const char* kSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
// By Python's cryptography and by Node.js: the vectors of docs/security.md.
constexpr const char* kSealed =
    "v1.AAECAwQFBgcICQoLMGqlfqa6j33GEK75ia4zNPKk00OaLg84AC6p1Ucgb4BNceKd/LZRuISMQk3i4kIc+bQ99SXX";
constexpr const char* kFile = "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
constexpr const char* kOtherKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

SecretKeys keys_of(const std::string& file) {
  std::string problem;
  const auto keys = parse_secret_keys(file, &problem);
  EXPECT_TRUE(keys) << problem;
  return keys.value_or(SecretKeys());
}

std::string problem_of(const std::string& file) {
  std::string problem;
  EXPECT_FALSE(parse_secret_keys(file, &problem)) << file;
  return problem;
}

std::string why_not(const SecretKeys& keys, const Uuid& webhook, const std::string& key_id, const std::string& sealed) {
  std::string problem;
  EXPECT_FALSE(open_secret(keys, webhook, key_id, sealed, &problem)) << sealed;
  return problem;
}

TEST(SecretBox, MatchesItsVectors) {
  const SecretKeys keys = keys_of(kFile);
  EXPECT_EQ(seal_secret(keys[0], kNonce, kWebhook, kSecret), kSealed);
  EXPECT_EQ(seal_secret(keys[0], kNonce, kWebhook, "It's a Secret to Everybody"),
            "v1.AAECAwQFBgcICQoLDnbxaOWE4kjoIuXuxckMAqOT8VGCAj0TXB6pzc/ltBHpGCUuf14HjeWk");
  std::string problem;
  EXPECT_EQ(open_secret(keys, kWebhook, "k1", kSealed, &problem), kSecret) << problem;
}

TEST(SecretBox, OpensWithAKeyThatIsNoLongerTheFirst) {
  const SecretKeys keys = keys_of(std::string("k2 ") + kOtherKey + "\n" + kFile);
  std::string problem;
  EXPECT_EQ(keys.front().id, "k2");
  EXPECT_EQ(open_secret(keys, kWebhook, "k1", kSealed, &problem), kSecret) << problem;
}

TEST(SecretBox, KeyThatIsMissingIsNamed) {
  EXPECT_EQ(why_not(keys_of(kFile), kWebhook, "k2", kSealed), "key \"k2\" is not in webhook.secret_key_file");
  EXPECT_EQ(why_not({}, kWebhook, "k1", kSealed), "key \"k1\" is not in webhook.secret_key_file");
}

TEST(SecretBox, DoesNotOpenForAnotherWebhookOrByAnotherKey) {
  const std::string problem =
      "it was not encrypted for this webhook by the key \"k1\" that is in webhook.secret_key_file";
  EXPECT_EQ(why_not(keys_of(kFile), kOther, "k1", kSealed), problem);
  EXPECT_EQ(why_not(keys_of(std::string("k1 ") + kOtherKey), kWebhook, "k1", kSealed), problem);
}

TEST(SecretBox, DoesNotOpenWithAnyBitChanged) {
  const SecretKeys keys = keys_of(kFile);
  const std::string bytes = from_base64(std::string_view(kSealed).substr(3)).value();
  std::string problem;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(open_secret(keys, kWebhook, "k1", "v1." + to_base64(changed), &problem)) << "bit " << bit;
  }
}

TEST(SecretBox, DoesNotOpenTruncatedOrLonger) {
  const SecretKeys keys = keys_of(kFile);
  const std::string sealed = kSealed;
  std::string problem;
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_FALSE(open_secret(keys, kWebhook, "k1", sealed.substr(0, size), &problem)) << size;
  }
  const std::string bytes = from_base64(sealed.substr(3)).value();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(open_secret(keys, kWebhook, "k1", "v1." + to_base64(bytes.substr(0, size)), &problem)) << size;
  }
  EXPECT_FALSE(open_secret(keys, kWebhook, "k1", sealed + "AAAA", &problem));
  EXPECT_FALSE(open_secret(keys, kWebhook, "k1", "v2" + sealed.substr(2), &problem));
  EXPECT_FALSE(open_secret(keys, kWebhook, "k1", kSecret, &problem));
}

TEST(SecretBox, SealsTheEmptyText) {
  const SecretKeys keys = keys_of(kFile);
  std::string problem;
  const std::string sealed = seal_secret(keys[0], random_gcm_nonce(), kWebhook, "");
  EXPECT_EQ(open_secret(keys, kWebhook, "k1", sealed, &problem), "") << problem;
}

TEST(SecretBox, EachNonceIsAnother) { EXPECT_NE(random_gcm_nonce(), random_gcm_nonce()); }

TEST(SecretKeys, CommentsAndBlanksAreSkipped) {
  const SecretKeys keys = keys_of(std::string("# of 2024\r\n\n \t\n  k.2_a-B\t ") + kOtherKey + " \r\n" + kFile);
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0].id, "k.2_a-B");
  EXPECT_EQ(keys[0].key, Aes256Key{});
  EXPECT_EQ(keys[1].id, "k1");
  EXPECT_EQ(keys[1].key[31], 31);
}

TEST(SecretKeys, LastLineNeedsNoEnd) { EXPECT_EQ(keys_of(std::string("k1 ") + kOtherKey).size(), 1U); }

TEST(SecretKeys, WhatIsWrongIsSaidWithItsLine) {
  EXPECT_EQ(problem_of(""), "there is no key in it");
  EXPECT_EQ(problem_of("# nothing\n"), "there is no key in it");
  EXPECT_EQ(problem_of(kOtherKey), "line 1: the id of a key is 1 to 64 letters, digits, \"_\", \"-\" or \".\"");
  EXPECT_EQ(problem_of("k1"), "line 1: there is no key behind the id");
  EXPECT_EQ(problem_of(std::string(kFile) + "k2 AAAA\n"), "line 2: the key is not 32 bytes in base64");
  EXPECT_EQ(problem_of(std::string(kFile) + kFile), "line 2: another key has the same id");
  EXPECT_EQ(problem_of("k1 " + std::string(kOtherKey) + " x"), "line 1: the key is not 32 bytes in base64");
  EXPECT_EQ(problem_of(std::string(65, 'k') + " " + kOtherKey),
            "line 1: the id of a key is 1 to 64 letters, digits, \"_\", \"-\" or \".\"");
  std::string many;
  for (std::size_t i = 0; i <= kSecretKeysMax; ++i) many += "k" + std::to_string(i) + " " + kOtherKey + "\n";
  EXPECT_EQ(problem_of(many), "line 101: there are too many keys");
}

TEST(SecretKeys, WhatIsWrongIsNotRepeated) {
  EXPECT_EQ(problem_of("k1 not-a-key-but-secret").find("secret"), std::string::npos);
  EXPECT_EQ(problem_of("a-key/in-the-wrong-place k1").find("wrong-place"), std::string::npos);
}

// --- AES-256-GCM: the test cases 13, 14 and 16 of McGrew and Viega, "The Galois/Counter Mode of Operation" ----------

std::string bytes_of_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

template <class Array>
Array array_of_hex(std::string_view hex) {
  Array array{};
  const std::string bytes = bytes_of_hex(hex);
  std::copy(bytes.begin(), bytes.end(), array.begin());
  return array;
}

TEST(Aes256Gcm, MatchesTestCase13WithoutText) {
  EXPECT_EQ(encrypt_aes_256_gcm(Aes256Key{}, GcmNonce{}, "", ""), bytes_of_hex("530f8afbc74536b9a963b4f1c4cb738b"));
}

TEST(Aes256Gcm, MatchesTestCase14) {
  EXPECT_EQ(encrypt_aes_256_gcm(Aes256Key{}, GcmNonce{}, "", std::string(16, '\0')),
            bytes_of_hex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"));
}

TEST(Aes256Gcm, MatchesTestCase16WithAdditionalData) {
  const auto key = array_of_hex<Aes256Key>("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
  const auto nonce = array_of_hex<GcmNonce>("cafebabefacedbaddecaf888");
  const std::string additional = bytes_of_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const std::string plain = bytes_of_hex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
      "ba637b39");
  const std::string sealed = bytes_of_hex(
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a"
      "bcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
  EXPECT_EQ(encrypt_aes_256_gcm(key, nonce, additional, plain), sealed);
  EXPECT_EQ(decrypt_aes_256_gcm(key, nonce, additional, sealed), plain);
  EXPECT_EQ(decrypt_aes_256_gcm(key, nonce, "", sealed), std::nullopt);
}

}  // namespace
}  // namespace webhook
