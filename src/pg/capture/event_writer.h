// Writes buffered events to the current segment of webhook_events, straight into the table and its indexes: without
// SQL, triggers or the caller's privileges.
//
// A row's xmin is the subtransaction that writes it. So only the events of the innermost subtransaction may be written.
#pragma once

#include "core/event_buffer.h"

namespace webhook::pg {

// Writes the events of sub, the current subtransaction, and removes them from the buffer. Returns whether the table has
// new rows. If the extension was dropped, the events are discarded. Works in a read-only transaction and just before a
// commit. Throws Error; the events are then lost, and so is the subtransaction.
bool write_events(EventBuffer& buffer, SubtransactionId sub);

}  // namespace webhook::pg
