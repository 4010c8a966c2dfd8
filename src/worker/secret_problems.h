// Which webhooks' secrets cannot be decrypted, and what the server's log was told of it.
#pragma once

#include <map>
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
  void forget(const Uuid& webhook) { of_webhooks_.erase(webhook); }

  // Logs what is wrong, if it has changed. Of the webhooks' problems the first is logged for all.
  void report();

 private:
  Process& process_;
  std::string key_file_problem_;
  std::map<Uuid, std::string> of_webhooks_;
  std::string reported_key_file_problem_;
  bool has_reported_ = false;  // that something is wrong
};

}  // namespace webhook
