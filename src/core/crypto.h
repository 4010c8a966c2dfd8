// All of the project's cryptography, on OpenSSL's libcrypto. No other part of core uses libcrypto.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/time.h"
#include "core/uuid.h"

struct evp_cipher_ctx_st;
struct evp_mac_ctx_st;

namespace webhook {

using Sha256Mac = std::array<std::uint8_t, 32>;  // also used for a digest without a key

// An HMAC-SHA256 key with its context. Reusing the context costs a third of making a new one.
// Not for two threads at once. Throws std::runtime_error if libcrypto refuses.
class HmacKey {
 public:
  explicit HmacKey(std::string_view key);

  // A secret as webhook_secrets holds it. "whsec_" followed by base64 is decoded to the key (Standard Webhooks);
  // any other text is the key itself.
  static HmacKey from_secret(std::string_view secret);

  // The MAC of the concatenated parts.
  Sha256Mac sign(std::initializer_list<std::string_view> parts);

 private:
  struct Free {
    void operator()(evp_mac_ctx_st* context) const noexcept;
  };
  std::unique_ptr<evp_mac_ctx_st, Free> context_;
};

// The public id of an event: "evt_" and 26 characters of Crockford's base32 in lower case. They encode one AES-128
// block: (id, created_at) encrypted with the instance's UUID as the key. The cipher is a permutation, so no two events
// of an instance share an id. The id tells a receiver nothing about the number of events. The instance can decode it,
// so an administrator finds the event that a customer quotes. The cipher protects no secret.
class EventIdCipher {
 public:
  explicit EventIdCipher(const Uuid& instance);

  std::string encode(std::int64_t event_id, Time created_at);

  struct Decoded {
    std::int64_t event_id;
    Time created_at;
  };
  // Nothing if the text is malformed. Any well-formed text decodes to something, so look the event up by both fields.
  std::optional<Decoded> decode(std::string_view text);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const noexcept;
  };
  std::unique_ptr<evp_cipher_ctx_st, Free> encrypt_;
  std::unique_ptr<evp_cipher_ctx_st, Free> decrypt_;
};

// The digest, without a key. Throws std::runtime_error if libcrypto refuses.
Sha256Mac sha256(std::string_view bytes);

std::string to_hex(const Sha256Mac& mac);
void append_hex(std::string& out, std::span<const std::uint8_t> bytes);
std::string to_base64(std::string_view bytes);
void append_base64(std::string& out, const Sha256Mac& mac);
// Strict RFC 4648 section 4, with padding. Nothing for any other text.
std::optional<std::string> from_base64(std::string_view text);

// The time that it takes depends on the lengths alone.
bool equal_in_constant_time(std::string_view a, std::string_view b);

// "whsec_" followed by 24 random bytes in base64.
std::string generate_secret();

// AES-256 in Galois/Counter Mode (NIST SP 800-38D).
using Aes256Key = std::array<std::uint8_t, 32>;
using GcmNonce = std::array<std::uint8_t, 12>;
inline constexpr std::size_t kGcmTagBytes = 16;

// A random nonce. SP 800-38D section 8.2.2 allows random nonces for at most 2^32 texts per key.
GcmNonce random_gcm_nonce();

// The ciphertext, as long as the plaintext, followed by the tag. The tag also authenticates the additional data.
std::string encrypt_aes_256_gcm(const Aes256Key& key, const GcmNonce& nonce, std::string_view additional,
                                std::string_view plaintext);

// Nothing unless encrypt_aes_256_gcm() made the input with the same key, nonce and additional data.
std::optional<std::string> decrypt_aes_256_gcm(const Aes256Key& key, const GcmNonce& nonce, std::string_view additional,
                                               std::string_view ciphertext_and_tag);

}  // namespace webhook
