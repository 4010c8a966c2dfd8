// The keys of webhook.secret_key_file in this process. Read anew each time, which takes microseconds and happens only
// where secrets are written, shown or loaded: so whoever replaces the file need tell nobody but the worker.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/secret_box.h"
#include "core/uuid.h"

namespace webhook::pg {

class SecretStore {
 public:
  // Reads the file; that does not fail. The setting unset: there are no keys, and secrets are stored as they are.
  SecretStore();

  // Why the file cannot be used; empty: it can, or the setting is unset.
  const std::string& file_problem() const { return file_problem_; }

  // The id of the key that seals; nothing: the setting is unset. Throws Error if the setting names a file that cannot be
  // used: what is not to be stored in clear text is not stored at all.
  std::optional<std::string_view> current_key_id() const;

  // As webhook_secrets.secret holds it beside current_key_id(); UTF-8 if that is one. Throws as that does.
  std::string seal(const Uuid& webhook, std::string_view secret) const;

  // The secret of a row of webhook_secrets. Nothing if it does not open, and in problem why.
  std::optional<std::string> open(const Uuid& webhook, std::optional<std::string_view> key_id, std::string_view sealed,
                                  std::string* problem) const;

 private:
  const SecretKey* current_key() const;

  bool is_set_ = false;
  SecretKeys keys_;
  std::string file_problem_;  // why keys_ is empty though the setting is set
};

}  // namespace webhook::pg
