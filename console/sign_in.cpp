#include "console/sign_in.h"

#include "console/random.h"

namespace webhook::console {

std::string SignIn::new_code() {
  forget_old(codes_);
  if (codes_.size() >= kCodesMax) codes_.erase(codes_.begin());
  codes_.push_back({random_token(), now_() + kCodeLifetime});
  return codes_.back().secret;
}

std::optional<std::string> SignIn::exchange(std::string_view code) {
  forget_old(codes_);
  const auto found = find(codes_, code);
  if (found == codes_.end()) return {};
  codes_.erase(found);
  forget_old(sessions_);
  if (sessions_.size() >= kSessionsMax) sessions_.erase(sessions_.begin());
  sessions_.push_back({random_token(), now_() + kSessionLifetime});
  return sessions_.back().secret;
}

bool SignIn::is_signed_in(std::string_view token) {
  forget_old(sessions_);
  return find(sessions_, token) != sessions_.end();
}

void SignIn::sign_out(std::string_view token) {
  const auto found = find(sessions_, token);
  if (found != sessions_.end()) sessions_.erase(found);
}

void SignIn::forget_old(std::vector<Entry>& entries) const {
  const Clock::time_point now = now_();
  std::erase_if(entries, [&](const Entry& entry) { return entry.until <= now; });
}

// Compares with each of them, so that the time says nothing of which came close.
std::vector<SignIn::Entry>::iterator SignIn::find(std::vector<Entry>& entries, std::string_view secret) {
  auto found = entries.end();
  for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
    if (is_same_secret(entry->secret, secret)) found = entry;
  }
  return found;
}

}  // namespace webhook::console
