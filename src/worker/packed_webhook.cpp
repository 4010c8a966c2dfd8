#include "worker/packed_webhook.h"

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>
#include <vector>

#include "core/event_pattern.h"

namespace webhook {
namespace {

template <class T>
concept Number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// Lengths are numbers of seven bits a byte, so a short text has one byte of overhead.
class Packer {
 public:
  std::string take() {
    packed_.shrink_to_fit();
    return std::move(packed_);
  }

  template <Number T>
  void operator()(const T& number) {
    packed_.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  template <class Rep, class Period>
  void operator()(const std::chrono::duration<Rep, Period>& duration) {
    (*this)(duration.count());
  }
  void operator()(const Time& time) { (*this)(time.time_since_epoch()); }
  void operator()(const std::string& text) {
    length(text.size());
    packed_ += text;
  }
  template <class T>
  void operator()(const std::vector<T>& list) {
    length(list.size());
    for (const T& each : list) (*this)(each);
  }
  template <class T>
  void operator()(const std::optional<T>& value) {
    (*this)(value.has_value());
    if (value) (*this)(*value);
  }

 private:
  void length(std::size_t length) {
    for (; length > 0x7f; length >>= 7) packed_ += static_cast<char>((length & 0x7f) | 0x80);
    packed_ += static_cast<char>(length);
  }

  std::string packed_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view packed) : rest_(packed) {}

  template <Number T>
  void operator()(T& number) {
    std::memcpy(&number, take(sizeof number).data(), sizeof number);
  }
  template <class Rep, class Period>
  void operator()(std::chrono::duration<Rep, Period>& duration) {
    Rep count{};
    (*this)(count);
    duration = std::chrono::duration<Rep, Period>(count);
  }
  void operator()(Time& time) {
    Duration since_epoch{};
    (*this)(since_epoch);
    time = Time(since_epoch);
  }
  void operator()(std::string& text) { text = view(); }
  template <class T>
  void operator()(std::vector<T>& list) {
    list.resize(length());
    for (T& each : list) (*this)(each);
  }
  template <class T>
  void operator()(std::optional<T>& value) {
    bool has_value = false;
    (*this)(has_value);
    if (has_value) {
      (*this)(value.emplace());
    } else {
      value.reset();
    }
  }

  std::size_t length() {
    std::size_t length = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(take(1).front());
      length |= static_cast<std::size_t>(byte & 0x7f) << shift;
      if (byte <= 0x7f) return length;
    }
  }
  std::string_view view() { return take(length()); }

 private:
  std::string_view take(std::size_t bytes) {
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  std::string_view rest_;
};

// The fields in their order: the same for packing and unpacking. A binding names each field, so a new one does not
// compile before it is considered here. The first is the one that packed_subscribes() reads.
template <class Archive, class AnyWebhook, class AnyEndpoint>
void visit(Archive& archive, AnyWebhook& webhook, AnyEndpoint& endpoint) {
  auto& [id, organization_id, name, url, events, filter, headers, secrets, is_active, version, created_at, active_since,
         switches, timeout, retry_schedule, limits, secret_problem, is_undecryptable, secrets_change_at, next_due,
         saved_endpoint, is_pending_changed] = webhook;
  auto& [max_in_flight, rate_per_s, ordering] = limits;
  auto& [of_webhook, of_webhook_created_at, circuit_opened_at, next_probe_at, failing_since, last_success_at,
         last_failure_at, last_error, filter_failed_at, filter_error] = endpoint;
  const auto all = [&archive](auto&... fields) { (archive(fields), ...); };
  all(events, name, url, filter, headers, secrets, is_active, version, active_since, switches, timeout, retry_schedule,
      max_in_flight, rate_per_s, ordering, secret_problem, is_undecryptable, secrets_change_at, failing_since,
      last_success_at, last_failure_at, last_error, filter_failed_at, filter_error);
}

}  // namespace

std::string pack(const Webhook& webhook, const EndpointState& endpoint) {
  Packer packer;
  visit(packer, webhook, endpoint);
  return packer.take();
}

void unpack(std::string_view packed, Webhook* webhook, EndpointState* endpoint) {
  Unpacker unpacker(packed);
  visit(unpacker, *webhook, *endpoint);
}

bool packed_subscribes(std::string_view packed, std::string_view event) {
  Unpacker unpacker(packed);
  for (std::size_t left = unpacker.length(); left > 0; --left) {
    if (event_matches(unpacker.view(), event)) return true;
  }
  return false;
}

bool subscribes(const Webhook& webhook, std::string_view event) {
  return std::ranges::any_of(webhook.events,
                             [event](const std::string& pattern) { return event_matches(pattern, event); });
}

}  // namespace webhook
