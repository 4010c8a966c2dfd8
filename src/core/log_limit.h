// Limits the lines about webhooks in the server's log, per organization and in total. Otherwise one tenant's thousand
// failing webhooks could fill the disk or hide the lines about others. Suppressed lines are counted.
//
// Pure: the caller supplies the time. It remembers no more organizations than it admits lines.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/time.h"

namespace webhook {

class LogLimit {
 public:
  static constexpr std::size_t kLinesMax = 10;     // per minute and organization; webhooks without one share a count
  static constexpr std::size_t kAllLinesMax = 60;  // per minute
  static constexpr Duration kPeriod = std::chrono::minutes(1);

  // The lines suppressed in a minute.
  struct LeftOut {
    std::size_t lines = 0;
    std::optional<std::string> most_of;  // the organization with the most suppressed lines, of those remembered
    std::size_t lines_of_most = 0;
  };

  // Whether a line about the organization's webhooks may be written now. Call end() first.
  bool admit(const std::optional<std::string>& organization_id, Time now);

  // Ends the minute if it is over or the clock was set back. Returns what the minute suppressed, if anything.
  std::optional<LeftOut> end(Time now);

 private:
  struct Count {
    std::size_t written = 0;
    std::size_t left_out = 0;
  };

  std::optional<Time> began_at_;  // the time of the minute's first line
  std::unordered_map<std::string, Count> counts_;
  std::size_t written_ = 0;
  std::size_t left_out_ = 0;
};

}  // namespace webhook
