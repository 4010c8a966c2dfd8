// How secrets are encrypted in webhook_secrets when webhook.secret_key_file is set, and the format of that file.
//
// A sealed secret is this text:
//
//   v1. base64( nonce of 12 bytes | AES-256-GCM ciphertext | tag of 16 bytes )
//
// The additional data is the 16 bytes of the webhook's id, so a sealed secret that is copied to another webhook does
// not open. webhook_secrets.key_id holds the id of the key. Null means that the secret is not sealed. docs/security.md
// has test vectors.
//
// Each line of the file is a key, "id base64", of 32 bytes. The first key seals, and every key can open. Empty lines
// and lines that begin with # are skipped.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/crypto.h"
#include "core/uuid.h"

namespace webhook {

struct SecretKey {
  std::string id;  // 1 to 64 letters, digits, "_", "-" or "."
  Aes256Key key;
};

// In the order of the file.
using SecretKeys = std::vector<SecretKey>;

inline constexpr std::size_t kSecretKeysMax = 100;

// Parses the file. On failure returns nothing and sets *problem to what is wrong with which line, without quoting it.
std::optional<SecretKeys> parse_secret_keys(std::string_view text, std::string* problem);

std::string seal_secret(const SecretKey& key, const GcmNonce& nonce, const Uuid& webhook, std::string_view secret);

// If the secret does not open, returns nothing and sets *problem, as in "key "k1" is not in webhook.secret_key_file".
std::optional<std::string> open_secret(const SecretKeys& keys, const Uuid& webhook, std::string_view key_id,
                                       std::string_view sealed, std::string* problem);

}  // namespace webhook
