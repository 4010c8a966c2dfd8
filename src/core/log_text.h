// Makes untrusted text (names, organizations, messages of an endpoint or of PostgreSQL) safe for the server's log. The
// result can't begin a new line, control the terminal that shows it, reorder the text around it, or be invisible.
//
// pg::Process writes only LogText, so no text reaches the log unescaped.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace webhook {

// Returns well-formed UTF-8. Characters of the Unicode categories Cc, Cf, Zl and Zp, and those that are displayed as
// nothing (the property Default_Ignorable_Code_Point), become \u001B or \U000E0001. Bytes that are not UTF-8 become
// \xFF. The result is at most bytes_max bytes, followed by "..." if it was cut.
std::string printable(std::string_view text, std::size_t bytes_max);

class LogText {
 public:
  static constexpr std::size_t kBytesMax = 2000;

  explicit LogText(std::string_view text) : text_(printable(text, kBytesMax)) {}

  const std::string& text() const { return text_; }
  // The text in ASCII, for a log in another encoding than UTF-8. Every other character becomes \u00E9 as well.
  std::string ascii() const;
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

}  // namespace webhook
