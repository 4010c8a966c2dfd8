// Writes buffered events to the current segment of webhook_events, straight into the table and its indexes: without
// SQL, triggers or the caller's privileges.
//
// A row's xmin is the subtransaction that writes it. So only the events of the innermost subtransaction may be written.
#pragma once

#include <bitset>

#include "core/event_buffer.h"
#include "core/ring.h"

namespace webhook::pg {

// By the number of the segment.
using SegmentSet = std::bitset<kAllSegments>;

// Writes the events of sub, the current subtransaction, and removes them from the buffer. Returns the segments that have
// new rows. If the extension was dropped, the events are discarded. Works in a read-only transaction and just before a
// commit. Throws Error; the events are then lost, and so is the subtransaction.
SegmentSet write_events(EventBuffer& buffer, SubtransactionId sub);
}  // namespace webhook::pg
