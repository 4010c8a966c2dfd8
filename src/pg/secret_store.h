// The keys of webhook.secret_key_file in this process. The file is read each time, which takes microseconds and happens
// only when secrets are written, shown or loaded. So after replacing the file, only the worker must be told.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/secret_box.h"
#include "core/uuid.h"

namespace webhook::pg {

class SecretStore {
 public:
  // Reads the file. Does not fail. If the setting is unset there are no keys, and secrets are stored as they are.
  SecretStore();

  // Why the file cannot be used. Empty if it can, or if the setting is unset.
  const std::string& file_problem() const { return file_problem_; }

  // The id of the key that seals; nullopt if the setting is unset. Throws Error if the setting names a file that cannot
  // be used, so that no secret is stored in clear text by mistake.
  std::optional<std::string_view> current_key_id() const;

  // The value to store in webhook_secrets.secret, with current_key_id() as key_id. It is UTF-8 if the secret is. Throws
  // like current_key_id().
  std::string seal(const Uuid& webhook, std::string_view secret) const;

  // The secret of a row of webhook_secrets. nullopt if it cannot be opened; problem then says why.
  std::optional<std::string> open(const Uuid& webhook, std::optional<std::string_view> key_id, std::string_view sealed,
                                  std::string* problem) const;

 private:
  const SecretKey* current_key() const;

  bool is_set_ = false;
  SecretKeys keys_;
  std::string file_problem_;  // why keys_ is empty although the setting is set
};

}  // namespace webhook::pg
