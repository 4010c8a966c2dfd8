// Writes buffered events to the current segment of webhook_events, straight into the table and its indexes: without
// SQL, triggers or the caller's privileges.
//
// A row's xmin is the subtransaction that writes it. So only the events of the innermost subtransaction may be written.
#pragma once

#include <bitset>
#include <vector>

#include "core/event_buffer.h"
#include "core/id_ranges.h"
#include "core/ring.h"

namespace webhook::pg {

// By the number of the segment.
using SegmentSet = std::bitset<kAllSegments>;

enum class Flush : bool {
  kEarly,    // as a batch
  kAtCommit  // the transaction ends at once: the events need not be a batch if withdraw_ids() is called then
};

// What a transaction has written. Some of it may have been rolled back since.
struct WrittenEvents {
  SegmentSet segments;
  std::vector<IdRange> early;  // the ids of what was written early, and perhaps others
};

// Writes the events of sub, the current subtransaction, removes them from the buffer, and adds them to written. If the
// extension was dropped, the events are discarded. Works in a read-only transaction and just before a commit. Throws
// Error; the events are then lost, and so is the subtransaction.
void write_events(EventBuffer& buffer, SubtransactionId sub, Flush flush, WrittenEvents* written);

// Draws a block of ids for all processes: webhook_events_id_seq has been set to a higher number. Throws Error.
void renew_ids();

}  // namespace webhook::pg
