// JSON Web Tokens in their compact form (RFC 7515, RFC 7519), signed by an algorithm that the command line fixes. What the
// token says of its algorithm is only compared with that, so a token can choose neither "none" nor a public key as the
// secret of an HMAC.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

struct evp_pkey_st;

namespace webhook::console {

enum class JwtAlgorithm { hs256, rs256, es256 };

inline constexpr std::size_t kJwtBytesMax = 8192;
// How much clocks may differ.
inline constexpr std::chrono::seconds kJwtLeeway{30};

std::optional<JwtAlgorithm> jwt_algorithm(std::string_view name);

// Verifies tokens with one key. Not for two threads at once.
class JwtVerifier {
 public:
  // `key` is the content of a key file: for HS256 the secret (at least 32 bytes, one newline at its end aside), otherwise a
  // public key or a certificate in PEM: RSA of at least 2,048 bits, or P-256. Throws std::runtime_error, which says what
  // is wrong.
  JwtVerifier(JwtAlgorithm algorithm, std::string_view key, std::string audience);

  struct Verified {
    std::string claims;               // the payload, a JSON object
    std::optional<std::string> role;  // the claim "role"
    std::string subject;              // the claim "sub", or ""
  };
  struct Refused {
    std::string why;  // such as "the token has expired"; nothing in it is the token's
  };
  // Required are `exp` and `aud`. `nbf` is honoured.
  std::variant<Verified, Refused> verify(std::string_view token, std::chrono::system_clock::time_point now) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const noexcept;
  };
  bool is_signed(std::string_view content, std::string_view signature) const;
  std::variant<Verified, Refused> judge_claims(std::string payload, std::chrono::system_clock::time_point now) const;

  JwtAlgorithm algorithm_;
  std::string audience_;
  std::string secret_;
  std::unique_ptr<evp_pkey_st, Free> key_;
};

}  // namespace webhook::console
