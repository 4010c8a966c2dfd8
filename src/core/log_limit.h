// How many lines the server's log takes about webhooks: so many a minute about those of one organization, and so many about
// all, since what one tenant's thousand failing webhooks say is not to fill the disk or to hide what others say. What is
// left out is counted.
//
// Pure: the time is the caller's. It remembers no more organizations than it lets through lines.
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
  static constexpr std::size_t kLinesMax = 10;     // a minute and organization; webhooks without one count as one
  static constexpr std::size_t kAllLinesMax = 60;  // a minute
  static constexpr Duration kPeriod = std::chrono::minutes(1);

  // What was left out in a minute.
  struct LeftOut {
    std::size_t lines = 0;
    std::optional<std::string> most_of;  // the organization that most of them were about, as far as it is known
    std::size_t lines_of_most = 0;
  };

  // Whether a line about the organization's webhooks may be written now. end() is to be called first.
  bool admit(const std::optional<std::string>& organization_id, Time now);

  // Ends the minute if it is over, or the clock was set back. Returns what was left out in it, if anything was.
  std::optional<LeftOut> end(Time now);

 private:
  struct Count {
    std::size_t written = 0;
    std::size_t left_out = 0;
  };

  std::optional<Time> began_at_;  // the minute, with its first line
  std::unordered_map<std::string, Count> counts_;
  std::size_t written_ = 0;
  std::size_t left_out_ = 0;
};

}  // namespace webhook
