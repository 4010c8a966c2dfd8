#include "core/log_limit.h"

#include <algorithm>

namespace webhook {
namespace {

// Distinguishes no organization from the organization ''.
std::string key_of(const std::optional<std::string>& organization_id) {
  return organization_id ? '=' + *organization_id : std::string();
}

}  // namespace

bool LogLimit::admit(const std::optional<std::string>& organization_id, Time now) {
  if (!began_at_) began_at_ = now;
  const std::string key = key_of(organization_id);
  const auto found = counts_.find(key);
  if (written_ < kAllLinesMax && (found == counts_.end() || found->second.written < kLinesMax)) {
    ++written_;
    ++counts_[key].written;
    return true;
  }
  ++left_out_;
  if (found != counts_.end()) ++found->second.left_out;
  return false;
}

std::optional<LogLimit::LeftOut> LogLimit::end(Time now) {
  if (!began_at_ || (now >= *began_at_ && now - *began_at_ < kPeriod)) return std::nullopt;
  LeftOut left_out{.lines = left_out_, .most_of = std::nullopt, .lines_of_most = 0};
  for (const auto& [key, count] : counts_) {
    if (key.empty() || count.left_out <= left_out.lines_of_most) continue;
    left_out.most_of = key.substr(1);
    left_out.lines_of_most = count.left_out;
  }
  *this = {};
  if (left_out.lines == 0) return std::nullopt;
  return left_out;
}

}  // namespace webhook
