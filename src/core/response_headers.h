// What webhook_logs keeps of a response's headers.
//
// Surprising: WWW-Authenticate is kept as it is. It is a challenge, which holds no credential and says what the receiver
// of a 401 expects.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace webhook {

inline constexpr std::size_t kStoredHeaderBytesMax = 1024;

// fields: lines that end in LF, any bytes. own_headers: "Name: value" each, what the request had beside the headers of
// every request.
//
// Returns one "Name: value" line for each field, separated by LF: valid UTF-8 in which U+FFFD stands for ill-formed bytes
// and control characters, at most kStoredHeaderBytesMax bytes. A line without a name is left out. Masked by *** are
//
// - values of Set-Cookie and of fields that are named like credentials or signatures: whoever may read the log could use
//   them;
// - values of fields named as one of own_headers, because a receiver may echo what only the webhook's writers know;
// - what follows the question mark of a Location, which often is a signature or a token.
std::string storable_headers(std::string_view fields, const std::vector<std::string>& own_headers);

}  // namespace webhook
