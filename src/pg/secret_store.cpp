#include "pg/secret_store.h"

extern "C" {
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"
}

#include <cerrno>
#include <utility>

#include "core/error.h"
#include "pg/guard.h"
#include "pg/settings.h"

namespace webhook::pg {
namespace {

constexpr std::size_t kFileBytesMax = 64 * 1024;

std::string system_error(const char* what) { return std::string(what) + ": " + strerror(errno); }

// The rule of ssl_key_file (src/backend/libpq/be-secure-common.c): only the server's user may read the file, or, if
// root owns it, also its group.
bool is_private(const struct stat& status) {
  if (status.st_uid == geteuid()) return (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
  return status.st_uid == 0 && (status.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0;
}

// Returns what is wrong with the open file. If nothing is, returns an empty text and stores the file's text.
std::string read_private_file(int fd, std::string* text) {
  struct stat status;
  if (fstat(fd, &status) != 0) return system_error("it cannot be read");
  if (!S_ISREG(status.st_mode)) return "it is not a regular file";
  if (!is_private(status)) {
    return "it must be owned by the server's user and have the mode 0600 or less, or be root's and have 0640 or less";
  }
  text->resize(kFileBytesMax + 1);
  std::size_t size = 0;
  while (size < text->size()) {
    const ssize_t got = read(fd, text->data() + size, text->size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("it cannot be read");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kFileBytesMax) return "it is larger than 64 kB";
  text->resize(size);
  return {};
}

std::string read_keys(const char* path, SecretKeys* keys) {
  // With O_NONBLOCK, a FIFO is refused instead of waited for.
  const int fd = guarded([path] { return OpenTransientFile(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); });
  if (fd < 0) return system_error("it cannot be opened");
  std::string text;
  std::string problem = read_private_file(fd, &text);
  guarded([fd] { CloseTransientFile(fd); });
  if (!problem.empty()) return problem;
  if (auto parsed = parse_secret_keys(text, &problem)) *keys = std::move(*parsed);
  return problem;
}

}  // namespace

SecretStore::SecretStore() {
  const char* const path = secret_key_file();
  is_set_ = *path != '\0';
  if (is_set_) file_problem_ = read_keys(path, &keys_);
}

const SecretKey* SecretStore::current_key() const {
  if (!is_set_) return nullptr;
  if (file_problem_.empty()) return &keys_.front();
  throw Error("F0000", "webhook.secret_key_file cannot be used: " + file_problem_,
              std::string("It is set to \"") + secret_key_file() + "\". No secret is stored without it.",
              "Write lines of an id and 32 bytes in base64 to it, as in: "
              "echo \"k1 $(openssl rand -base64 32)\" >FILE; chmod 600 FILE");
}

std::optional<std::string_view> SecretStore::current_key_id() const {
  const SecretKey* const key = current_key();
  if (key == nullptr) return std::nullopt;
  return key->id;
}

std::string SecretStore::seal(const Uuid& webhook, std::string_view secret) const {
  const SecretKey* const key = current_key();
  if (key == nullptr) return std::string(secret);
  return seal_secret(*key, random_gcm_nonce(), webhook, secret);
}

std::optional<std::string> SecretStore::open(const Uuid& webhook, std::optional<std::string_view> key_id,
                                             std::string_view sealed, std::string* problem) const {
  if (!key_id) return std::string(sealed);
  if (!is_set_) {
    *problem = "it is encrypted by the key \"" + std::string(*key_id) + "\", and webhook.secret_key_file is not set";
    return std::nullopt;
  }
  if (!file_problem_.empty()) {
    *problem = "webhook.secret_key_file cannot be used: " + file_problem_;
    return std::nullopt;
  }
  return open_secret(keys_, webhook, *key_id, sealed, problem);
}

}  // namespace webhook::pg
