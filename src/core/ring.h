// When a ring of segments turns. webhook_events and webhook_logs are rings of 8: retention costs no DELETE, the
// segment that is written to moves on and the oldest is truncated.
#pragma once

#include <cstdint>

#include "core/time.h"

namespace webhook {

inline constexpr int kRingSegments = 8;

constexpr int next_segment(int segment) { return (segment + 1) % kRingSegments; }

struct RingLimits {
  Duration retention{};
  std::uint64_t bytes_max = 0;  // of the whole ring
};

// Whether the current segment is full, in time or in size. Seven full segments behind it cover the retention.
constexpr bool is_segment_full(const RingLimits& limits, Time opened_at, Time now, std::uint64_t segment_bytes,
                               bool segment_is_empty) {
  if (segment_is_empty) return false;
  return now - opened_at >= limits.retention / (kRingSegments - 1) || segment_bytes >= limits.bytes_max / kRingSegments;
}

}  // namespace webhook
