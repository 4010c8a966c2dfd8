// Makes text that can be stored and sent from any bytes. Responses of endpoints, and texts in a database with the
// encoding SQL_ASCII, need not be UTF-8.
//
// Surprising: a NUL byte is valid UTF-8 but counts as ill-formed here, because PostgreSQL's text can't hold it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace webhook {

// Well-formed UTF-8 (Unicode, table 3-7: no overlong form, no surrogate, nothing above U+10FFFF) without NUL bytes.
bool is_valid_utf8(std::string_view bytes);

// Returns valid text unchanged. Otherwise each maximal subpart of an ill-formed sequence (Unicode 3.9, as in the
// WHATWG's decoder) and each NUL byte becomes one U+FFFD. The result is up to three times as long as the input.
std::string to_valid_utf8(std::string_view bytes);

// The length in bytes of the text's first character. 0 if the text does not begin with a well-formed character. The
// text must not be empty. A NUL is a character here.
std::size_t utf8_sequence_bytes(std::string_view text);

// The longest prefix of at most bytes_max bytes that does not split a character. Expects well-formed text. For other
// text it returns some prefix within the bound.
std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max);

}  // namespace webhook
