#include "core/crypto.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <utility>

namespace webhook {
namespace {

constexpr Uuid kInstance{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

Time at(std::int64_t microseconds) { return Time(Duration(microseconds)); }

std::string hex_of(HmacKey key, std::string_view text) { return to_hex(key.sign({text})); }

// --- HmacKey ------------------------------------------------------------------------------------------------------

TEST(Sha256, IsThatOfFips180) {
  EXPECT_EQ(to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(HmacKey, MatchesRfc4231TestCase2) {
  EXPECT_EQ(hex_of(HmacKey("Jefe"), "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(HmacKey, MatchesRfc4231TestCase6WithAKeyLongerThanABlock) {
  EXPECT_EQ(hex_of(HmacKey(std::string(131, '\xaa')), "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HmacKey, EmptyKeyAndEmptyTextAreSigned) {
  EXPECT_EQ(hex_of(HmacKey(std::string_view()), ""),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(HmacKey, PartsAreSignedAsOneText) {
  HmacKey key("Jefe");
  EXPECT_EQ(key.sign({"what do ya", "", " want", " for nothing?"}), key.sign({"what do ya want for nothing?"}));
}

TEST(HmacKey, EachSignatureStartsAnew) {
  HmacKey key("Jefe");
  const Sha256Mac first = key.sign({"a"});
  key.sign({"b"});
  EXPECT_EQ(key.sign({"a"}), first);
}

TEST(HmacKey, KeepsItsKeyWhenMoved) {
  HmacKey key("Jefe");
  const Sha256Mac before = key.sign({"a"});
  HmacKey moved = std::move(key);
  EXPECT_EQ(moved.sign({"a"}), before);
}

TEST(HmacKey, PrefixedSecretIsDecodedFromBase64) {
  EXPECT_EQ(HmacKey::from_secret("whsec_SmVmZQ==").sign({"a"}), HmacKey("Jefe").sign({"a"}));
}

TEST(HmacKey, OtherSecretsAreTheKeyThemselves) {
  for (const std::string_view secret :
       {"Jefe", "SmVmZQ==", "whsec_", "whsec_not base64", "whsec_SmVmZQ", "WHSEC_SmVmZQ=="}) {
    EXPECT_EQ(HmacKey::from_secret(secret).sign({"a"}), HmacKey(secret).sign({"a"})) << secret;
  }
}

// --- EventIdCipher --------------------------------------------------------------------------------------------------

TEST(EventIdCipher, TextIsStable) {
  // From openssl enc -aes-128-ecb -nopad with the instance as key, and base32 of the result.
  EXPECT_EQ(EventIdCipher(kInstance).encode(1, at(1705314600000000)), "evt_06vnan98ysv5b66gdgyvkpxmbj");
}

TEST(EventIdCipher, TextHas26DigitsOfCrockfordsBase32InLowerCase) {
  EventIdCipher cipher(kInstance);
  for (std::int64_t id = 0; id < 1000; ++id) {
    const std::string text = cipher.encode(id, at(0));
    ASSERT_EQ(text.size(), 30u) << text;
    EXPECT_TRUE(text.starts_with("evt_")) << text;
    EXPECT_EQ(text.find_first_not_of("0123456789abcdefghjkmnpqrstvwxyz", 4), std::string::npos) << text;
    EXPECT_LE(text[4], '7') << text;
  }
}

TEST(EventIdCipher, DecodesWhatItEncoded) {
  EventIdCipher cipher(kInstance);
  constexpr auto kMin = std::numeric_limits<std::int64_t>::min();
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t id : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1000000}, kMin, kMax}) {
    for (const std::int64_t time : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1705314600000000}, kMin, kMax}) {
      const std::optional<EventIdCipher::Decoded> decoded = cipher.decode(cipher.encode(id, at(time)));
      ASSERT_TRUE(decoded) << id << " " << time;
      EXPECT_EQ(decoded->event_id, id);
      EXPECT_EQ(decoded->created_at, at(time));
    }
  }
}

TEST(EventIdCipher, IdTimeAndInstanceAllMatter) {
  Uuid other = kInstance;
  other.bytes[15] ^= 1;
  const std::set<std::string> texts = {
      EventIdCipher(kInstance).encode(1, at(1)), EventIdCipher(kInstance).encode(2, at(1)),
      EventIdCipher(kInstance).encode(1, at(2)), EventIdCipher(kInstance).encode(2, at(2)),
      EventIdCipher(other).encode(1, at(1)),
  };
  EXPECT_EQ(texts.size(), 5u);
}

TEST(EventIdCipher, DecodesEveryWellFormedText) {
  EventIdCipher cipher(kInstance);
  for (const std::string_view text : {"evt_00000000000000000000000000", "evt_7zzzzzzzzzzzzzzzzzzzzzzzzz"}) {
    const std::optional<EventIdCipher::Decoded> decoded = cipher.decode(text);
    ASSERT_TRUE(decoded) << text;
    EXPECT_EQ(cipher.encode(decoded->event_id, decoded->created_at), text);
  }
}

TEST(EventIdCipher, OtherTextIsNotDecoded) {
  EventIdCipher cipher(kInstance);
  for (const std::string_view text : {
           "",
           "evt_",
           "00000000000000000000000000",
           "evt_0000000000000000000000000",    // short
           "evt_000000000000000000000000000",  // long
           "evt_80000000000000000000000000",   // more than 128 bits
           "evt_0000000000000000000000000u",   // no digit of Crockford's
           "evt_0000000000000000000000000A",   // upper case
           "msg_00000000000000000000000000",
       }) {
    EXPECT_FALSE(cipher.decode(text)) << text;
  }
}

// --- text -----------------------------------------------------------------------------------------------------------

struct Base64Vector {
  std::string_view bytes;
  std::string_view text;
};
constexpr Base64Vector kRfc4648[] = {{"", ""},
                                     {"f", "Zg=="},
                                     {"fo", "Zm8="},
                                     {"foo", "Zm9v"},
                                     {"foob", "Zm9vYg=="},
                                     {"fooba", "Zm9vYmE="},
                                     {"foobar", "Zm9vYmFy"}};

TEST(Base64, WritesTheVectorsOfRfc4648) {
  for (const Base64Vector& vector : kRfc4648) EXPECT_EQ(to_base64(vector.bytes), vector.text);
}

TEST(Base64, ReadsTheVectorsOfRfc4648) {
  for (const Base64Vector& vector : kRfc4648) EXPECT_EQ(from_base64(vector.text), vector.bytes) << vector.text;
}

TEST(Base64, EveryByteRoundTrips) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(byte);
  EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
}

TEST(Base64, UsesPlusAndSlash) { EXPECT_EQ(to_base64("\xfb\xef\xff"), "++//"); }

TEST(Base64, LaxTextIsRefused) {
  for (const std::string_view text : {
           "Zg", "Zg=", "Zm8", "Z===", "====", "=", "Zg==Zg==", "Zm9v\n", "Zm 9", "Zm9-",
           "Zm9_",          // blanks; the URL-safe alphabet
           "Zh==", "Zm9=",  // bits set that stand for nothing
       }) {
    EXPECT_FALSE(from_base64(text)) << text;
  }
}

TEST(ConstantTime, ComparesContentAndLength) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_in_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_in_constant_time("abc", "ab"));
  EXPECT_FALSE(equal_in_constant_time("", "a"));
}

TEST(GenerateSecret, Gives24BytesInTheStandardsForm) {
  const std::string secret = generate_secret();
  ASSERT_TRUE(secret.starts_with("whsec_")) << secret;
  const std::optional<std::string> key = from_base64(std::string_view(secret).substr(6));
  ASSERT_TRUE(key) << secret;
  EXPECT_EQ(key->size(), 24u);
}

TEST(GenerateSecret, NeverGivesTheSameTwice) {
  std::set<std::string> secrets;
  for (int i = 0; i < 100; ++i) secrets.insert(generate_secret());
  EXPECT_EQ(secrets.size(), 100u);
}

}  // namespace
}  // namespace webhook
