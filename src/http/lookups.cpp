#include "http/lookups.h"

#include <iterator>

namespace webhook {

Lookups::Start Lookups::start(const std::string& host, SteadyTime now) {
  forget_expired(now);
  if (const auto found = abandoned_.find(host);
      found != abandoned_.end() && found->second.size() >= kAbandonedPerHostMax) {
    return Start::kHostIsSilent;
  }
  if (total() >= kTotalMax) return Start::kTooMany;
  ++running_;
  return Start::kStarted;
}

void Lookups::abandon(const std::string& host, SteadyTime now) {
  --running_;
  abandoned_[host].push_back(now + kAbandonedFor);
  ++abandoned_total_;
}

// There are at most kTotalMax entries.
void Lookups::forget_expired(SteadyTime now) {
  for (auto host = abandoned_.begin(); host != abandoned_.end();) {
    abandoned_total_ -= std::erase_if(host->second, [now](SteadyTime until) { return until <= now; });
    host = host->second.empty() ? abandoned_.erase(host) : std::next(host);
  }
}

}  // namespace webhook
