// When a ring of segments moves on to its next segment. webhook_events and webhook_logs have two rings each. Retention
// needs no DELETE: writing moves on to the next segment, and the oldest segment is truncated. All organizations share
// the first ring, of 8 segments. The second ring, of 4, takes what organizations write beyond their shares, so that the
// excess displaces no data of others.
#pragma once

#include <cstdint>

#include "core/time.h"

namespace webhook {

inline constexpr int kRingSegments = 8;    // 0 to 7
inline constexpr int kExcessSegments = 4;  // 8 to 11
inline constexpr int kAllSegments = kRingSegments + kExcessSegments;

constexpr bool is_excess_segment(int segment) { return segment >= kRingSegments; }

constexpr int next_segment(int segment) {
  if (is_excess_segment(segment)) return kRingSegments + (segment - kRingSegments + 1) % kExcessSegments;
  return (segment + 1) % kRingSegments;
}

constexpr int previous_segment(int segment) {
  if (is_excess_segment(segment)) {
    return kRingSegments + (segment - kRingSegments + kExcessSegments - 1) % kExcessSegments;
  }
  return (segment + kRingSegments - 1) % kRingSegments;
}

// A quarter of the space for events, or for logs, is for what exceeds the shares.
constexpr std::uint64_t excess_bytes(std::uint64_t bytes_max) { return bytes_max / 4; }
constexpr std::uint64_t shared_bytes(std::uint64_t bytes_max) { return bytes_max - excess_bytes(bytes_max); }

struct RingLimits {
  Duration retention{};
  std::uint64_t bytes_max = 0;  // of the whole ring
  int segments = kRingSegments;
};

// Whether the current segment is full, in time or in size. The full segments before it cover the retention. If the
// clock was set back and opened_at is in the future, the distance to it counts, so that the ring never waits for it.
constexpr bool is_segment_full(const RingLimits& limits, Time opened_at, Time now, std::uint64_t segment_bytes,
                               bool segment_is_empty) {
  if (segment_is_empty) return false;
  return std::chrono::abs(now - opened_at) >= limits.retention / (limits.segments - 1) ||
         segment_bytes >= limits.bytes_max / static_cast<std::uint64_t>(limits.segments);
}

}  // namespace webhook
