// Converts text between the database's encoding and UTF-8. All C++ code and everything on the wire uses UTF-8. Neither
// direction fails: a character without a counterpart becomes a replacement character.
#pragma once

#include <string>
#include <string_view>

struct varlena;

namespace webhook::pg {

// The bytes of a varlena value that is neither compressed nor stored out of line. Valid as long as the value lives.
std::string_view view_of(const varlena* value);

// From the database's encoding. What cannot be UTF-8 becomes U+FFFD.
std::string to_utf8(std::string_view text);

// The same for what identifies an organization: different texts stay different, and from_utf8() returns the same bytes. What
// is not UTF-8 ends with a null character, which no text of PostgreSQL has, and its bytes as hexadecimal digits.
std::string identifier_to_utf8(std::string_view text);

// From valid UTF-8 to the database's encoding. A character that this encoding lacks becomes '?'.
std::string from_utf8(std::string_view text);
void append_from_utf8(std::string& out, std::string_view text);

}  // namespace webhook::pg
