// Which webhooks have secrets that cannot be decrypted, and which of these problems are in the server's log.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>

#include "core/uuid.h"
#include "worker/process.h"
#include "worker/store.h"

namespace webhook {

class SecretProblems {
 public:
  explicit SecretProblems(Process& process) : process_(process) {}

  // What is wrong with webhook.secret_key_file; empty: nothing.
  void set_key_file_problem(std::string problem) { key_file_problem_ = std::move(problem); }
  // Takes over what is wrong with the webhook's secrets, if anything is.
  void set(const Webhook& webhook);
  void forget(const Uuid& webhook);
  // How many webhooks have a secret that cannot be decrypted. Those that lack one do not count: their owner can cause that.
  std::size_t undecryptable() const { return undecryptable_.size(); }

  // Logs the problems if they have changed. The first webhook's problem stands for those of all webhooks.
  void report();

 private:
  Process& process_;
  std::string key_file_problem_;
  std::map<Uuid, std::string> of_webhooks_;
  std::set<Uuid> undecryptable_;
  std::string reported_key_file_problem_;
  bool has_reported_ = false;  // that something is wrong
};

}  // namespace webhook
