// HMAC-SHA256, AES-128, AES-256-GCM and random bytes from OpenSSL 3, and the text forms of their results.
//
// Surprising: every failure here clears libcrypto's error queue before it throws. libcurl's TLS shares the queue in the
// same thread, and would take a left-over entry for its own.
#include "core/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <cstddef>
#include <span>
#include <stdexcept>
#include <tuple>

namespace webhook {
namespace {

constexpr std::string_view kSecretPrefix = "whsec_";
constexpr std::size_t kSecretBytes = 24;  // Standard Webhooks recommends 24 to 64

constexpr std::string_view kEventIdPrefix = "evt_";
constexpr std::size_t kBlockBytes = 16;
constexpr std::size_t kBase32Chars = 26;  // ceil(128 / 5)

using Block = std::array<std::uint8_t, kBlockBytes>;

[[noreturn]] void fail(const char* what) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string message = std::string("libcrypto: ") + what + " failed";
  if (reason != nullptr) message += std::string(": ") + reason;
  ERR_clear_error();
  throw std::runtime_error(message);
}

const std::uint8_t* as_bytes(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

// --- alphabets ----------------------------------------------------------------------------------------------------

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase32Digits = "0123456789abcdefghjkmnpqrstvwxyz";  // Crockford: no i, l, o, u
constexpr std::string_view kBase64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::int8_t kNoDigit = -1;
using DigitValues = std::array<std::int8_t, 256>;

constexpr DigitValues values_of(std::string_view digits) {
  DigitValues values{};
  values.fill(kNoDigit);
  for (std::size_t i = 0; i < digits.size(); ++i)
    values[static_cast<std::uint8_t>(digits[i])] = static_cast<std::int8_t>(i);
  return values;
}

constexpr DigitValues kBase32Values = values_of(kBase32Digits);
constexpr DigitValues kBase64Values = values_of(kBase64Digits);

void append_base64_of(std::string& text, std::span<const std::uint8_t> bytes) {
  text.reserve(text.size() + (bytes.size() + 2) / 3 * 4);
  std::size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const std::uint32_t group = std::uint32_t{bytes[i]} << 16 | std::uint32_t{bytes[i + 1]} << 8 | bytes[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6) text += kBase64Digits[group >> shift & 0x3f];
  }
  const std::size_t rest = bytes.size() - i;
  if (rest == 0) return;
  const std::uint32_t group = std::uint32_t{bytes[i]} << 16 | (rest == 2 ? std::uint32_t{bytes[i + 1]} << 8 : 0);
  text += kBase64Digits[group >> 18 & 0x3f];
  text += kBase64Digits[group >> 12 & 0x3f];
  text += rest == 2 ? kBase64Digits[group >> 6 & 0x3f] : '=';
  text += '=';
}

// Appends the block as a big-endian number of 128 bits, most significant digit first. The first digit holds three bits.
void append_base32(std::string& out, const Block& block) {
  std::uint32_t bits = 0;
  int bit_count = 2;  // two zero bits in front fill the first digit
  for (const std::uint8_t byte : block) {
    bits = bits << 8 | byte;
    for (bit_count += 8; bit_count >= 5;) {
      bit_count -= 5;
      out += kBase32Digits[bits >> bit_count & 0x1f];
    }
  }
}

std::optional<Block> block_from_base32(std::string_view text) {
  if (text.size() != kBase32Chars) return std::nullopt;
  Block block;
  std::size_t byte_count = 0;
  std::uint32_t bits = 0;
  int bit_count = -2;
  for (const char c : text) {
    const int digit = kBase32Values[static_cast<std::uint8_t>(c)];
    if (digit == kNoDigit || (bit_count < 0 && digit > 7)) return std::nullopt;
    bits = bits << 5 | static_cast<std::uint32_t>(digit);
    bit_count += 5;
    if (bit_count < 8) continue;
    bit_count -= 8;
    block[byte_count++] = static_cast<std::uint8_t>(bits >> bit_count);
  }
  return block;
}

// --- blocks -------------------------------------------------------------------------------------------------------

void put_big_endian(std::uint8_t* out, std::uint64_t number) {
  for (int i = 0; i < 8; ++i) out[i] = static_cast<std::uint8_t>(number >> (56 - 8 * i));
}

std::uint64_t get_big_endian(const std::uint8_t* in) {
  std::uint64_t number = 0;
  for (int i = 0; i < 8; ++i) number = number << 8 | in[i];
  return number;
}

// Without padding, each block is output at once, and the context is ready for the next one.
Block transform(EVP_CIPHER_CTX* context, const Block& in) {
  Block out;
  int size = 0;
  if (EVP_CipherUpdate(context, out.data(), &size, in.data(), static_cast<int>(in.size())) != 1 ||
      size != static_cast<int>(out.size())) {
    fail("AES-128");
  }
  return out;
}

void init_cipher(EVP_CIPHER_CTX* context, const Uuid& key, bool encrypt) {
  static_assert(sizeof key.bytes == 16);
  if (context == nullptr ||
      EVP_CipherInit_ex(context, EVP_aes_128_ecb(), nullptr, key.bytes.data(), nullptr, encrypt ? 1 : 0) != 1 ||
      EVP_CIPHER_CTX_set_padding(context, 0) != 1) {
    fail("AES-128");
  }
}

}  // namespace

// --- HmacKey ------------------------------------------------------------------------------------------------------

void HmacKey::Free::operator()(evp_mac_ctx_st* context) const noexcept { EVP_MAC_CTX_free(context); }

Sha256Mac sha256(std::string_view bytes) {
  Sha256Mac digest;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) fail("SHA-256");
  return digest;
}

HmacKey::HmacKey(std::string_view key) {
  EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr);
  if (hmac == nullptr) fail("HMAC");
  context_.reset(EVP_MAC_CTX_new(hmac));
  EVP_MAC_free(hmac);  // the context holds a reference of its own

  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
  // An empty view may hold a null pointer, which would mean "keep the key".
  const std::uint8_t* bytes = as_bytes(key.empty() ? std::string_view("") : key);
  if (context_ == nullptr || EVP_MAC_init(context_.get(), bytes, key.size(), params) != 1) fail("HMAC-SHA256");
}

HmacKey HmacKey::from_secret(std::string_view secret) {
  if (secret.starts_with(kSecretPrefix)) {
    const std::optional<std::string> key = from_base64(secret.substr(kSecretPrefix.size()));
    if (key && !key->empty()) return HmacKey(*key);
  }
  return HmacKey(secret);
}

Sha256Mac HmacKey::sign(std::initializer_list<std::string_view> parts) {
  Sha256Mac mac;
  std::size_t size = 0;
  bool ok = EVP_MAC_init(context_.get(), nullptr, 0, nullptr) == 1;
  for (const std::string_view part : parts) {
    ok = ok && (part.empty() || EVP_MAC_update(context_.get(), as_bytes(part), part.size()) == 1);
  }
  if (!ok || EVP_MAC_final(context_.get(), mac.data(), &size, mac.size()) != 1 || size != mac.size()) {
    fail("HMAC-SHA256");
  }
  return mac;
}

// --- EventIdCipher ------------------------------------------------------------------------------------------------

void EventIdCipher::Free::operator()(evp_cipher_ctx_st* context) const noexcept { EVP_CIPHER_CTX_free(context); }

EventIdCipher::EventIdCipher(const Uuid& instance) : encrypt_(EVP_CIPHER_CTX_new()), decrypt_(EVP_CIPHER_CTX_new()) {
  init_cipher(encrypt_.get(), instance, true);
  init_cipher(decrypt_.get(), instance, false);
}

std::string EventIdCipher::encode(std::int64_t event_id, Time created_at) {
  Block plain;
  put_big_endian(plain.data(), static_cast<std::uint64_t>(event_id));
  put_big_endian(plain.data() + 8, static_cast<std::uint64_t>(created_at.time_since_epoch().count()));
  std::string text;
  text.reserve(kEventIdPrefix.size() + kBase32Chars);
  text += kEventIdPrefix;
  append_base32(text, transform(encrypt_.get(), plain));
  return text;
}

std::optional<EventIdCipher::Decoded> EventIdCipher::decode(std::string_view text) {
  if (!text.starts_with(kEventIdPrefix)) return std::nullopt;
  const std::optional<Block> block = block_from_base32(text.substr(kEventIdPrefix.size()));
  if (!block) return std::nullopt;
  const Block plain = transform(decrypt_.get(), *block);
  return Decoded{.event_id = static_cast<std::int64_t>(get_big_endian(plain.data())),
                 .created_at = Time(Duration(static_cast<std::int64_t>(get_big_endian(plain.data() + 8))))};
}

// --- text ---------------------------------------------------------------------------------------------------------

std::string to_hex(const Sha256Mac& mac) {
  std::string text;
  append_hex(text, mac);
  return text;
}

void append_hex(std::string& out, std::span<const std::uint8_t> bytes) {
  out.reserve(out.size() + 2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    out += kHexDigits[byte >> 4];
    out += kHexDigits[byte & 0x0f];
  }
}

std::string to_base64(std::string_view bytes) {
  std::string text;
  append_base64_of(text, {as_bytes(bytes), bytes.size()});
  return text;
}

void append_base64(std::string& out, const Sha256Mac& mac) { append_base64_of(out, mac); }

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  int bit_count = 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const int digit = kBase64Values[static_cast<std::uint8_t>(c)];
    if (digit == kNoDigit) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    bit_count += 6;
    if (bit_count < 8) continue;
    bit_count -= 8;
    bytes += static_cast<char>(bits >> bit_count & 0xff);
  }
  // The unused bits must be zero, so that each key has only one text.
  if ((bits & ((1U << bit_count) - 1)) != 0) return std::nullopt;
  return bytes;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string generate_secret() {
  std::array<std::uint8_t, kSecretBytes> bytes;
  if (RAND_priv_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) fail("the random number generator");
  std::string secret(kSecretPrefix);
  append_base64_of(secret, bytes);
  return secret;
}

// --- AES-256-GCM --------------------------------------------------------------------------------------------------

namespace {

struct FreeCipherContext {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipherContext>;

// Encrypts or decrypts one text without its tag. out becomes as long as in.
CipherContext run_gcm(const Aes256Key& key, const GcmNonce& nonce, std::string_view additional, std::string_view in,
                      std::string& out, bool encrypt) {
  CipherContext context(EVP_CIPHER_CTX_new());
  int size = 0;
  // The cipher's default nonce length is 12.
  static_assert(std::tuple_size_v<GcmNonce> == 12);
  if (context == nullptr ||
      EVP_CipherInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.data(), nonce.data(), encrypt ? 1 : 0) != 1 ||
      EVP_CipherUpdate(context.get(), nullptr, &size, as_bytes(additional), static_cast<int>(additional.size())) != 1) {
    fail("AES-256-GCM");
  }
  out.resize(in.size());
  auto* const out_bytes = reinterpret_cast<std::uint8_t*>(out.data());
  // For an empty text, OpenSSL could take the call as one for additional data.
  if (!in.empty() &&
      (EVP_CipherUpdate(context.get(), out_bytes, &size, as_bytes(in), static_cast<int>(in.size())) != 1 ||
       size != static_cast<int>(in.size()))) {
    fail("AES-256-GCM");
  }
  return context;
}

}  // namespace

GcmNonce random_gcm_nonce() {
  GcmNonce nonce;
  if (RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) != 1) fail("the random number generator");
  return nonce;
}

std::string encrypt_aes_256_gcm(const Aes256Key& key, const GcmNonce& nonce, std::string_view additional,
                                std::string_view plaintext) {
  std::string out;
  const CipherContext context = run_gcm(key, nonce, additional, plaintext, out, true);
  std::array<char, kGcmTagBytes> tag;
  std::array<std::uint8_t, kBlockBytes> rest;
  int rest_size = 0;
  if (EVP_CipherFinal_ex(context.get(), rest.data(), &rest_size) != 1 || rest_size != 0 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag.size()), tag.data()) != 1) {
    fail("AES-256-GCM");
  }
  return out.append(tag.data(), tag.size());
}

std::optional<std::string> decrypt_aes_256_gcm(const Aes256Key& key, const GcmNonce& nonce, std::string_view additional,
                                               std::string_view ciphertext_and_tag) {
  if (ciphertext_and_tag.size() < kGcmTagBytes) return std::nullopt;
  const std::string_view ciphertext = ciphertext_and_tag.substr(0, ciphertext_and_tag.size() - kGcmTagBytes);
  std::string tag(ciphertext_and_tag.substr(ciphertext.size()));
  std::string out;
  const CipherContext context = run_gcm(key, nonce, additional, ciphertext, out, false);
  if (EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()), tag.data()) != 1) {
    fail("AES-256-GCM");
  }
  std::array<std::uint8_t, kBlockBytes> rest;
  int rest_size = 0;
  if (EVP_CipherFinal_ex(context.get(), rest.data(), &rest_size) != 1) {
    ERR_clear_error();
    OPENSSL_cleanse(out.data(), out.size());
    return std::nullopt;
  }
  return out;
}

}  // namespace webhook
