// Makes any bytes into text that can be stored and sent: what an endpoint answers, and what a database whose encoding
// is SQL_ASCII holds, need not be UTF-8.
//
// Surprising: a NUL byte counts as ill-formed here although it is UTF-8, because PostgreSQL's text can't hold it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace webhook {

// Well-formed UTF-8 (Unicode, table 3-7: no overlong form, no surrogate, nothing above U+10FFFF) without NUL bytes.
bool is_valid_utf8(std::string_view bytes);

// The same text where is_valid_utf8() holds. Otherwise each maximal subpart of an ill-formed sequence (Unicode 3.9; the
// same as in the WHATWG's decoder), and each NUL byte, becomes one U+FFFD: up to three times as long as the bytes.
std::string to_valid_utf8(std::string_view bytes);

// How many bytes the character takes that the text, which must not be empty, begins with; 0: its first byte belongs to
// none. Here a NUL is a character.
std::size_t utf8_sequence_bytes(std::string_view text);

// The longest beginning of at most bytes_max bytes that does not cut a character in two. Expects well-formed text; of
// any other it returns some beginning within the bound.
std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max);

}  // namespace webhook
