// A UUID (RFC 9562), the key of a webhook and of an instance.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace webhook {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Uuid&) const = default;
  // Faster than the array's, which is not inlined: each delivery looks its webhook up several times.
  bool operator==(const Uuid& other) const { return std::memcmp(bytes.data(), other.bytes.data(), sizeof bytes) == 0; }
};

// The canonical form, 36 characters in lower case.
std::string to_string(const Uuid& uuid);

// Reads the canonical form, in upper or lower case. Nothing for any other text.
std::optional<Uuid> parse_uuid(std::string_view text);

}  // namespace webhook

template <>
struct std::hash<webhook::Uuid> {
  std::size_t operator()(const webhook::Uuid& uuid) const noexcept {
    std::uint64_t halves[2];
    std::memcpy(halves, uuid.bytes.data(), sizeof halves);
    return halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15ULL);
  }
};
