#include "core/secret_box.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace webhook {
namespace {

constexpr std::string_view kVersion = "v1.";
constexpr std::size_t kKeyIdCharsMax = 64;
constexpr std::string_view kBlanks = " \t\r";

bool is_key_id(std::string_view id) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  return !id.empty() && id.size() <= kKeyIdCharsMax && std::all_of(id.begin(), id.end(), is_allowed);
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

const SecretKey* find_key(const SecretKeys& keys, std::string_view id) {
  const auto found = std::find_if(keys.begin(), keys.end(), [id](const SecretKey& key) { return key.id == id; });
  return found == keys.end() ? nullptr : &*found;
}

// Adds the key of a line. Returns what is wrong with it, if anything.
const char* add_key(std::string_view line, SecretKeys& keys) {
  const std::size_t id_end = line.find_first_of(kBlanks);
  const std::string_view id = line.substr(0, id_end);
  if (!is_key_id(id)) return "the id of a key is 1 to 64 letters, digits, \"_\", \"-\" or \".\"";
  if (id_end == std::string_view::npos) return "there is no key behind the id";
  if (find_key(keys, id) != nullptr) return "another key has the same id";
  if (keys.size() == kSecretKeysMax) return "there are too many keys";
  const auto bytes = from_base64(trimmed(line.substr(id_end)));
  if (!bytes || bytes->size() != std::tuple_size_v<Aes256Key>) return "the key is not 32 bytes in base64";
  SecretKey& key = keys.emplace_back(SecretKey{std::string(id), {}});
  std::memcpy(key.key.data(), bytes->data(), key.key.size());
  return nullptr;
}

std::string_view bytes_of(const Uuid& id) { return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()}; }

}  // namespace

std::optional<SecretKeys> parse_secret_keys(std::string_view text, std::string* problem) {
  SecretKeys keys;
  std::size_t number = 1;
  for (std::size_t begin = 0; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    if (line.empty() || line.front() == '#') continue;
    if (const char* const wrong = add_key(line, keys)) {
      *problem = "line " + std::to_string(number) + ": " + wrong;
      return std::nullopt;
    }
  }
  if (!keys.empty()) return keys;
  *problem = "there is no key in it";
  return std::nullopt;
}

std::string seal_secret(const SecretKey& key, const GcmNonce& nonce, const Uuid& webhook, std::string_view secret) {
  std::string bytes(reinterpret_cast<const char*>(nonce.data()), nonce.size());
  bytes += encrypt_aes_256_gcm(key.key, nonce, bytes_of(webhook), secret);
  return std::string(kVersion) + to_base64(bytes);
}

std::optional<std::string> open_secret(const SecretKeys& keys, const Uuid& webhook, std::string_view key_id,
                                       std::string_view sealed, std::string* problem) {
  const SecretKey* const key = find_key(keys, key_id);
  if (key == nullptr) {
    *problem = "key \"" + std::string(key_id) + "\" is not in webhook.secret_key_file";
    return std::nullopt;
  }
  std::optional<std::string> secret;
  if (sealed.starts_with(kVersion)) {
    const auto bytes = from_base64(sealed.substr(kVersion.size()));
    GcmNonce nonce;
    if (bytes && bytes->size() >= nonce.size()) {
      std::memcpy(nonce.data(), bytes->data(), nonce.size());
      secret = decrypt_aes_256_gcm(key->key, nonce, bytes_of(webhook), std::string_view(*bytes).substr(nonce.size()));
    }
  }
  if (!secret) {
    *problem = "it was not encrypted for this webhook by the key \"" + std::string(key_id) +
               "\" that is in webhook.secret_key_file";
  }
  return secret;
}

}  // namespace webhook
