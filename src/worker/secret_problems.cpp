#include "worker/secret_problems.h"

namespace webhook {

void SecretProblems::set(const Webhook& webhook) {
  if (webhook.is_undecryptable) {
    undecryptable_.insert(webhook.id);
  } else {
    undecryptable_.erase(webhook.id);
  }
  if (webhook.secret_problem.empty()) {
    of_webhooks_.erase(webhook.id);
  } else {
    of_webhooks_.insert_or_assign(webhook.id, "webhook \"" + webhook.name + "\": " + webhook.secret_problem);
  }
}

void SecretProblems::forget(const Uuid& webhook) {
  of_webhooks_.erase(webhook);
  undecryptable_.erase(webhook);
}

void SecretProblems::report() {
  const std::string first = of_webhooks_.empty() ? std::string() : of_webhooks_.begin()->second;
  const std::string& problem = key_file_problem_.empty() ? first : key_file_problem_;
  if (key_file_problem_ == reported_key_file_problem_ && problem.empty() == !has_reported_) return;
  reported_key_file_problem_ = key_file_problem_;
  has_reported_ = !problem.empty();
  if (problem.empty()) {
    process_.log(LogLevel::kLog, "all secrets can be decrypted");
    return;
  }
  process_.log(LogLevel::kWarning, problem,
               "What cannot be signed is not sent: webhook_deliveries keeps it until it can be.",
               "Give webhook.secret_key_file the key again and reload, or give the webhook another secret.");
}

}  // namespace webhook
