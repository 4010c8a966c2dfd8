// How a secret stands in webhook_secrets while webhook.secret_key_file names keys, and how that file reads.
//
// A sealed secret is a text:
//
//   v1. base64( nonce of 12 bytes | AES-256-GCM ciphertext | tag of 16 bytes )
//
// The additional data is the webhook's id, its 16 bytes: a sealed secret that is copied to another webhook does not
// open. The id of the key stands beside it, in webhook_secrets.key_id; null there means that the secret is not sealed.
// docs/security.md has test vectors.
//
// The file has a key on each line, "id base64", of 32 bytes; the first one seals, all of them open. Empty lines and
// those that begin with # are skipped.
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

// Those of the file, in its order.
using SecretKeys = std::vector<SecretKey>;

inline constexpr std::size_t kSecretKeysMax = 100;

// Nothing if the text is no such file, and in problem why: what is wrong with which line, without repeating it.
std::optional<SecretKeys> parse_secret_keys(std::string_view text, std::string* problem);

std::string seal_secret(const SecretKey& key, const GcmNonce& nonce, const Uuid& webhook, std::string_view secret);

// Nothing if it does not open, and in problem why, as in "key "k1" is not in webhook.secret_key_file".
std::optional<std::string> open_secret(const SecretKeys& keys, const Uuid& webhook, std::string_view key_id,
                                       std::string_view sealed, std::string* problem);

}  // namespace webhook
