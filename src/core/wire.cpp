// Builds what goes over the wire. On the hot path of every delivery: each string is sized once and filled.
#include "core/wire.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <utility>

namespace webhook {
namespace {

constexpr std::size_t kTimestampChars = 24;

constexpr Time kTimestampMin = std::chrono::sys_days(std::chrono::year(0) / 1 / 1);
constexpr Time kTimestampMax = Time(std::chrono::sys_days(std::chrono::year(10000) / 1 / 1)) - Duration(1);

void put_digits(char* out, unsigned number, int count) {
  for (int i = count - 1; i >= 0; --i, number /= 10) out[i] = static_cast<char>('0' + number % 10);
}

// An integer as decimal text, without a detour through the heap.
class Decimal {
 public:
  explicit Decimal(std::int64_t number) : end_(std::to_chars(std::begin(text_), std::end(text_), number).ptr) {}

  std::string_view view() const { return {text_, static_cast<std::size_t>(end_ - text_)}; }

 private:
  char text_[20];
  char* end_;
};

std::string header(std::string_view name, std::string_view value) {
  std::string line;
  line.reserve(name.size() + 2 + value.size());
  line += name;
  line += ": ";
  line += value;
  return line;
}

std::int64_t unix_seconds(Time time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

}  // namespace

std::string format_timestamp(Time time) {
  time = std::clamp(time, kTimestampMin, kTimestampMax);
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::milliseconds>(time - day));

  std::string text = "0000-00-00T00:00:00.000Z";
  put_digits(&text[0], static_cast<unsigned>(static_cast<int>(date.year())), 4);
  put_digits(&text[5], static_cast<unsigned>(date.month()), 2);
  put_digits(&text[8], static_cast<unsigned>(date.day()), 2);
  put_digits(&text[11], static_cast<unsigned>(clock.hours().count()), 2);
  put_digits(&text[14], static_cast<unsigned>(clock.minutes().count()), 2);
  put_digits(&text[17], static_cast<unsigned>(clock.seconds().count()), 2);
  put_digits(&text[20], static_cast<unsigned>(clock.subseconds().count()), 3);
  return text;
}

std::string build_body(const Event& event) {
  constexpr std::string_view kEvent = R"({"event":)";
  constexpr std::string_view kTimestamp = R"(,"timestamp":")";
  constexpr std::string_view kData = R"(","data":)";
  constexpr std::string_view kPrevious = R"(,"previous":)";

  std::string body;
  body.reserve(kEvent.size() + event.name.size() + 2 + kTimestamp.size() + kTimestampChars + kData.size() +
               event.data.size() + (event.previous.empty() ? 0 : kPrevious.size() + event.previous.size()) + 1);
  body += kEvent;
  append_json_string(body, event.name);
  body += kTimestamp;
  body += format_timestamp(event.created_at);
  body += kData;
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
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<std::uint8_t>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out += text.substr(copied, i - copied);
    copied = i + 1;
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

std::vector<std::string> build_headers(const Attempt& attempt, std::string_view body, std::span<SigningKey> keys,
                                       std::span<const std::string> custom) {
  constexpr std::size_t kOwnHeaders = 9;
  const std::int64_t timestamp_s = unix_seconds(attempt.time);

  std::vector<std::string> headers;
  headers.reserve(kOwnHeaders + custom.size());
  headers.emplace_back("Content-Type: application/json");
  headers.push_back(header("X-Webhook-Event", attempt.event_name));
  headers.push_back(header("X-Webhook-Id", attempt.webhook_id));
  headers.push_back(header("webhook-id", attempt.webhook_id));
  headers.push_back(header("X-Webhook-Attempt", Decimal(attempt.number).view()));
  headers.push_back(header("X-Webhook-Timestamp", format_timestamp(attempt.time)));
  if (!keys.empty()) headers.push_back(header("X-Webhook-Signature", github_signature(keys.front().github, body)));
  headers.push_back(header("webhook-timestamp", Decimal(timestamp_s).view()));
  if (!keys.empty()) {
    std::string line = "webhook-signature:";
    for (SigningKey& key : keys) {
      line += ' ';
      line += standard_signature(key.standard, attempt.webhook_id, timestamp_s, body);
    }
    headers.push_back(std::move(line));
  }
  headers.insert(headers.end(), custom.begin(), custom.end());
  return headers;
}

std::string github_signature(HmacKey& key, std::string_view body) { return "sha256=" + to_hex(key.sign({body})); }

std::string standard_signature(HmacKey& key, std::string_view id, std::int64_t timestamp_s, std::string_view body) {
  return "v1," + to_base64(key.sign({id, ".", Decimal(timestamp_s).view(), ".", body}));
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
    // All of them: which one matched is not to be told from the time.
    found |= equal_in_constant_time(expected, signatures.substr(0, end));
    signatures.remove_prefix(std::min(end + 1, signatures.size()));
  }
  return found;
}

}  // namespace webhook
