// Builds what goes over the wire. This is on the hot path of every delivery, so each string is allocated once.
#include "core/wire.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <utility>

namespace webhook {
namespace {

constexpr std::size_t kChangeTimeChars = 27;

constexpr Time kTimestampMin = std::chrono::sys_days(std::chrono::year(0) / 1 / 1);
constexpr Time kTimestampMax = Time(std::chrono::sys_days(std::chrono::year(10000) / 1 / 1)) - Duration(1);

void put_digits(char* out, unsigned number, int count) {
  for (int i = count - 1; i >= 0; --i, number /= 10) out[i] = static_cast<char>('0' + number % 10);
}

// An integer as decimal text, without a heap allocation.
class Decimal {
 public:
  explicit Decimal(std::int64_t number) : end_(std::to_chars(std::begin(text_), std::end(text_), number).ptr) {}

  std::string_view view() const { return {text_, static_cast<std::size_t>(end_ - text_)}; }

 private:
  char text_[20];
  char* end_;
};

// digits: how many of the second's fraction to write. The rest is truncated.
void append_timestamp(std::string& out, Time time, std::size_t digits) {
  time = std::clamp(time, kTimestampMin, kTimestampMax);
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::microseconds>(time - day));

  char text[] = "0000-00-00T00:00:00.000000";
  static_assert(sizeof text == kChangeTimeChars);
  put_digits(&text[0], static_cast<unsigned>(static_cast<int>(date.year())), 4);
  put_digits(&text[5], static_cast<unsigned>(date.month()), 2);
  put_digits(&text[8], static_cast<unsigned>(date.day()), 2);
  put_digits(&text[11], static_cast<unsigned>(clock.hours().count()), 2);
  put_digits(&text[14], static_cast<unsigned>(clock.minutes().count()), 2);
  put_digits(&text[17], static_cast<unsigned>(clock.seconds().count()), 2);
  put_digits(&text[20], static_cast<unsigned>(clock.subseconds().count()), 6);
  out.append(text, kChangeTimeChars - 1 - 6 + digits);
  out += 'Z';
}

bool is_escaped(char c) { return static_cast<std::uint8_t>(c) < 0x20 || c == '"' || c == '\\'; }

// Whether one of eight characters is escaped. Each term sets the highest bit of a byte that is below 0x20, or that is
// zero after the exclusive or. The borrow may also set the bit of a byte above such a byte.
bool has_escaped(std::uint64_t characters) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHighest = 0x80 * kOnes;
  const std::uint64_t quotes = characters ^ ('"' * kOnes);
  const std::uint64_t backslashes = characters ^ ('\\' * kOnes);
  return ((((characters - 0x20 * kOnes) & ~characters) | ((quotes - kOnes) & ~quotes) |
           ((backslashes - kOnes) & ~backslashes)) &
          kHighest) != 0;
}

std::size_t find_escaped(std::string_view text, std::size_t from) {
  for (std::uint64_t characters; from + sizeof characters <= text.size(); from += sizeof characters) {
    std::memcpy(&characters, text.data() + from, sizeof characters);
    if (has_escaped(characters)) break;
  }
  while (from < text.size() && !is_escaped(text[from])) ++from;
  return from;
}

void append_github_signature(std::string& out, HmacKey& key, std::string_view body) {
  out += "sha256=";
  append_hex(out, key.sign({body}));
}

void append_standard_signature(std::string& out, HmacKey& key, std::string_view id, std::int64_t timestamp_s,
                               std::string_view body) {
  out += "v1,";
  append_base64(out, key.sign({id, ".", Decimal(timestamp_s).view(), ".", body}));
}

std::int64_t unix_seconds(Time time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

}  // namespace

std::string format_timestamp(Time time) {
  std::string text;
  append_timestamp(text, time, 3);
  return text;
}

std::string build_body(const Event& event) {
  constexpr std::string_view kEvent = R"({"event":)";
  constexpr std::string_view kTimestamp = R"(,"timestamp":")";
  constexpr std::string_view kPrevious = R"(,"previous":)";
  const std::string_view data = event.is_backfill ? R"(","backfill":true,"data":)" : R"(","data":)";

  std::string body;
  body.reserve(kEvent.size() + event.name.size() + 2 + kTimestamp.size() + kChangeTimeChars + data.size() +
               event.data.size() + (event.previous.empty() ? 0 : kPrevious.size() + event.previous.size()) + 1);
  body += kEvent;
  append_json_string(body, event.name);
  body += kTimestamp;
  append_timestamp(body, event.created_at, 6);
  body += data;
  body += event.data;
  if (!event.previous.empty()) {
    body += kPrevious;
    body += event.previous;
  }
  body += '}';
  return body;
}

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  out += '"';
  std::size_t copied = 0;
  for (std::size_t i = 0; (i = find_escaped(text, i)) < text.size(); copied = ++i) {
    const auto c = static_cast<std::uint8_t>(text[i]);
    out += text.substr(copied, i - copied);
    out += '\\';
    switch (c) {
      case '\b':
        out += 'b';
        break;
      case '\f':
        out += 'f';
        break;
      case '\n':
        out += 'n';
        break;
      case '\r':
        out += 'r';
        break;
      case '\t':
        out += 't';
        break;
      case '"':
      case '\\':
        out += static_cast<char>(c);
        break;
      default:
        out += "u00";
        out += kHexDigits[c >> 4];
        out += kHexDigits[c & 0x0f];
    }
  }
  out += text.substr(copied);
  out += '"';
}

std::string build_headers(const Attempt& attempt, std::string_view body, std::span<SigningKey> keys) {
  constexpr std::size_t kNamesAndTimes = 300;
  constexpr std::size_t kSignature = 71;
  const std::int64_t timestamp_s = unix_seconds(attempt.time);

  std::string lines;
  lines.reserve(kNamesAndTimes + attempt.event_name.size() + 2 * attempt.public_event_id.size() +
                kSignature * (1 + keys.size()));
  lines += "Content-Type: application/json\r\nX-Webhook-Event: ";
  std::transform(attempt.event_name.begin(), attempt.event_name.end(), std::back_inserter(lines),
                 [](char c) { return static_cast<unsigned char>(c) < ' ' ? '?' : c; });
  lines.append("\r\nX-Webhook-Id: ").append(attempt.public_event_id);
  lines.append("\r\nwebhook-id: ").append(attempt.public_event_id);
  lines.append("\r\nX-Webhook-Attempt: ").append(Decimal(attempt.number).view());
  append_timestamp(lines.append("\r\nX-Webhook-Timestamp: "), attempt.time, 3);
  if (!keys.empty()) {
    append_github_signature(lines.append("\r\nX-Webhook-Signature: "), keys.front().github, body);
  }
  lines.append("\r\nwebhook-timestamp: ").append(Decimal(timestamp_s).view());
  if (!keys.empty()) lines += "\r\nwebhook-signature:";
  for (SigningKey& key : keys) {
    append_standard_signature(lines.append(" "), key.standard, attempt.public_event_id, timestamp_s, body);
  }
  if (attempt.is_test) lines += "\r\nX-Webhook-Test: true";
  return lines;
}

std::string github_signature(HmacKey& key, std::string_view body) {
  std::string signature;
  append_github_signature(signature, key, body);
  return signature;
}

std::string standard_signature(HmacKey& key, std::string_view id, std::int64_t timestamp_s, std::string_view body) {
  std::string signature;
  append_standard_signature(signature, key, id, timestamp_s, body);
  return signature;
}

bool verify_github_signature(HmacKey& key, std::string_view body, std::string_view signature) {
  return equal_in_constant_time(github_signature(key, body), signature);
}

bool verify_standard_signature(HmacKey& key, std::string_view id, std::int64_t timestamp_s, std::string_view body,
                               std::string_view signatures) {
  const std::string expected = standard_signature(key, id, timestamp_s, body);
  bool found = false;
  while (!signatures.empty()) {
    const std::size_t end = std::min(signatures.find(' '), signatures.size());
    // Compares with all of them, so that the time does not tell which one matched.
    found |= equal_in_constant_time(expected, signatures.substr(0, end));
    signatures.remove_prefix(std::min(end + 1, signatures.size()));
  }
  return found;
}

}  // namespace webhook
