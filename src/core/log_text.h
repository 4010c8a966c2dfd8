// What others wrote (names, organizations, what an endpoint or PostgreSQL says) on its way into the server's log, made so
// that it can neither begin a line of its own, nor drive the terminal that shows it, nor stand there in another order or
// unseen.
//
// pg::Process writes nothing but LogText, which is made of any text: none gets there as it came.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace webhook {

// Well-formed UTF-8 in which each character of the Unicode categories Cc, Cf, Zl and Zp, and each that is shown as nothing
// (the property Default_Ignorable_Code_Point), stands as \u001B or \U000E0001, and each byte that is no UTF-8 as \xFF. At
// most bytes_max bytes, and behind them "..." where there were more.
std::string printable(std::string_view text, std::size_t bytes_max);

class LogText {
 public:
  static constexpr std::size_t kBytesMax = 2000;

  explicit LogText(std::string_view text) : text_(printable(text, kBytesMax)) {}

  const std::string& text() const { return text_; }
  // The same in ASCII, for a log in another encoding than UTF-8: each other character stands as \u00E9, too.
  std::string ascii() const;
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

}  // namespace webhook
