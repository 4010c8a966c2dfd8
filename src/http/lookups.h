// Name look-ups that may still be running. libcurl gives each a thread, and a transfer that times out leaves its thread
// behind in getaddrinfo(), for as long as the resolver takes to give a silent name server up. Here they are counted, so
// that a tenant's silent name server cannot fill the process with threads.
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

  // A host with so many look-ups that were given up gets no other.
  static constexpr std::size_t kAbandonedPerHostMax = 2;
  // Running and given up, of all hosts.
  static constexpr std::size_t kTotalMax = 128;
  // How long a look-up that was given up is taken to run on: six tries of five seconds (resolv.conf(5): two attempts at
  // up to three name servers), with and without a search domain.
  static constexpr std::chrono::seconds kAbandonedFor{60};

  enum class Verdict { kStarted, kHostIsSilent, kTooMany };

  // kStarted: it counts as running until end() or abandon().
  Verdict start(const std::string& host, SteadyTime now);
  void end() noexcept { --running_; }
  // Its transfer is over and its thread maybe not.
  void abandon(const std::string& host, SteadyTime now);

  std::size_t total() const noexcept { return running_ + abandoned_total_; }

 private:
  void forget_expired(SteadyTime now);

  std::size_t running_ = 0;
  std::size_t abandoned_total_ = 0;
  std::map<std::string, std::vector<SteadyTime>> abandoned_;  // by host: until when
};

}  // namespace webhook
