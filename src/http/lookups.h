// Counts the name look-ups that may still be running. libcurl starts a thread for each. A transfer that times out
// leaves its thread in getaddrinfo() until the resolver gives up on a silent name server. The count keeps a tenant's
// silent name server from filling the process with threads.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace webhook {

class Lookups {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  // A host with this many abandoned look-ups gets no more.
  static constexpr std::size_t kAbandonedPerHostMax = 2;
  // Running and abandoned look-ups of all hosts.
  static constexpr std::size_t kTotalMax = 128;
  // How long an abandoned look-up is assumed to keep running: six tries of five seconds (resolv.conf(5): two attempts
  // at up to three name servers), with and without a search domain.
  static constexpr std::chrono::seconds kAbandonedFor{60};

  enum class Start { kStarted, kHostIsSilent, kTooMany };

  // If it returns kStarted, the look-up counts as running until end() or abandon().
  Start start(const std::string& host, SteadyTime now);
  void end() noexcept { --running_; }
  // The look-up's transfer is over, but its thread may still be running.
  void abandon(const std::string& host, SteadyTime now);

  std::size_t total() const noexcept { return running_ + abandoned_total_; }

 private:
  void forget_expired(SteadyTime now);

  std::size_t running_ = 0;
  std::size_t abandoned_total_ = 0;
  std::map<std::string, std::vector<SteadyTime>> abandoned_;  // by host: until when each one counts
};

}  // namespace webhook
