// The wire format of a delivery: its body, its headers, its id and its signatures. docs/wire-format.md describes the
// same with test vectors.
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
// and ,"previous":{…} behind the data if there is one. The timestamp has microseconds, by which receivers order a row's
// changes. event.data and event.previous go in as they are: they must be valid JSON in UTF-8.
std::string build_body(const Event& event);

// A JSON string literal with its quotes: RFC 8259 escapes for the quote, the backslash and the controls, all else unchanged.
void append_json_string(std::string& out, std::string_view text);

// The keys of one secret. GitHub's receivers take its text for the key, those of Standard Webhooks what is encoded in it.
struct SigningKey {
  explicit SigningKey(std::string_view secret) : github(secret), standard(HmacKey::from_secret(secret)) {}

  HmacKey github;
  HmacKey standard;
};

// What signs a delivery, newest first; more than one while a secret rotates.
using SigningKeys = std::vector<SigningKey>;

// What the headers of one attempt are made of.
struct Attempt {
  std::string_view webhook_id;  // EventIdCipher::encode
  std::string_view event_name;
  int number = 1;  // 1, 2, …
  Time time{};
  bool is_test = false;
};

// "Name: value" lines parted by CR LF, in the order of docs/wire-format.md; no signature without a key. A control character
// in the event's name becomes '?', so that no line breaks.
std::string build_headers(const Attempt& attempt, std::string_view body, std::span<SigningKey> keys);

// "sha256=" and the HMAC in hex: what GitHub's receivers verify.
std::string github_signature(HmacKey& key, std::string_view body);

// "v1," and the HMAC over id.timestamp.body in base64: Standard Webhooks.
std::string standard_signature(HmacKey& key, std::string_view id, std::int64_t timestamp_s, std::string_view body);

// Whether the value of X-Webhook-Signature is the body's. In constant time.
bool verify_github_signature(HmacKey& key, std::string_view body, std::string_view signature);

// Whether one of the space-delimited signatures in the value of webhook-signature is the message's. Those of another
// version than v1 count for nothing. In constant time. How old the timestamp may be is for the caller to judge.
bool verify_standard_signature(HmacKey& key, std::string_view id, std::int64_t timestamp_s, std::string_view body,
                               std::string_view signatures);

}  // namespace webhook
