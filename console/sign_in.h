// The operator's sign-in: one-time codes, printed on the terminal, and the sessions that they are exchanged for. Both are
// held in memory alone, so a restart signs everybody out.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace webhook::console {

class SignIn {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::minutes kCodeLifetime{10};
  static constexpr std::chrono::hours kSessionLifetime{12};
  static constexpr std::size_t kCodesMax = 16;
  static constexpr std::size_t kSessionsMax = 64;

  explicit SignIn(std::function<Clock::time_point()> now) : now_(std::move(now)) {}

  // A new code. Beyond kCodesMax the oldest is forgotten.
  std::string new_code();
  // A session's token for a code that is known, unused and young enough. The code is then used up. Beyond kSessionsMax
  // the oldest session ends.
  std::optional<std::string> exchange(std::string_view code);
  bool is_signed_in(std::string_view token);
  void sign_out(std::string_view token);

 private:
  struct Entry {
    std::string secret;
    Clock::time_point until;
  };
  void forget_old(std::vector<Entry>& entries) const;
  static std::vector<Entry>::iterator find(std::vector<Entry>& entries, std::string_view secret);

  std::function<Clock::time_point()> now_;
  std::vector<Entry> codes_;
  std::vector<Entry> sessions_;
};

}  // namespace webhook::console
