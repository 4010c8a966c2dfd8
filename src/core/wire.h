// The wire format of a delivery: its body, its headers, its id and its signatures. docs/wire-format.md describes it,
// with test vectors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/crypto.h"
#include "core/event.h"
#include "core/time.h"
#include "core/uuid.h"

namespace webhook {

// 2024-01-15T10:30:00.000Z: ISO 8601 (RFC 3339), UTC, milliseconds, truncated.
std::string format_timestamp(Time time);

// {"event":"contact.created","timestamp":"2024-01-15T10:30:00.000000Z","data":{…}}
// and ,"previous":{…} after the data if event.previous is not empty, and ,"backfill":true before the data if
// event.is_backfill. The timestamp has microseconds, so that receivers can order a row's changes. event.data and
// event.previous are copied verbatim, so they must be valid JSON in UTF-8.
std::string build_body(const Event& event);

// Appends a JSON string literal with its quotes. The quote, the backslash and control characters are escaped as in
// RFC 8259. All else is unchanged.
void append_json_string(std::string& out, std::string_view text);

// The keys of one secret. For GitHub's signatures the key is the secret's text. For Standard Webhooks the key is what
// the text encodes.
struct SigningKey {
  explicit SigningKey(std::string_view secret) : github(secret), standard(HmacKey::from_secret(secret)) {}

  HmacKey github;
  HmacKey standard;
};

// The keys that sign a delivery, newest first. There is more than one while a secret rotates.
using SigningKeys = std::vector<SigningKey>;

// The input for the headers of one attempt.
struct Attempt {
  std::string_view public_event_id;  // EventIdCipher::encode
  std::string_view event_name;
  int number = 1;  // 1, 2, …
  Time time{};
  bool is_test = false;
};

// "Name: value" lines separated by CR LF, in the order of docs/wire-format.md. Without keys there is no signature. A
// control character in the event's name becomes '?', so that it can't break a line.
std::string build_headers(const Attempt& attempt, std::string_view body, std::span<SigningKey> keys);

// "sha256=" and the HMAC in hex, as GitHub signs.
std::string github_signature(HmacKey& key, std::string_view body);

// "v1," and the HMAC over id.timestamp.body in base64, as in Standard Webhooks.
std::string standard_signature(HmacKey& key, std::string_view id, std::int64_t timestamp_s, std::string_view body);

// Whether the value of X-Webhook-Signature matches the body. Compares in constant time.
bool verify_github_signature(HmacKey& key, std::string_view body, std::string_view signature);

// Whether one of the space-delimited signatures in the value of webhook-signature matches the message. Signatures of
// other versions than v1 are ignored. Compares in constant time. The caller checks the timestamp's age.
bool verify_standard_signature(HmacKey& key, std::string_view id, std::int64_t timestamp_s, std::string_view body,
                               std::string_view signatures);

}  // namespace webhook
