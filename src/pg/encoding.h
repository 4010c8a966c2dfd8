// Text between the database's encoding and UTF-8, in which all of C++ works and all that goes over the wire is. Neither
// direction fails: what has no counterpart becomes a replacement character.
#pragma once

#include <string>
#include <string_view>

struct varlena;

namespace webhook::pg {

// The bytes of a text, or of any value of varying length, that is neither compressed nor stored elsewhere: as long as it
// lives.
std::string_view view_of(const varlena* value);

// From the database's encoding. What cannot be UTF-8 becomes U+FFFD.
std::string to_utf8(std::string_view text);

// To the database's encoding, from valid UTF-8. What it does not have becomes '?'.
std::string from_utf8(std::string_view text);
void append_from_utf8(std::string& out, std::string_view text);

}  // namespace webhook::pg
