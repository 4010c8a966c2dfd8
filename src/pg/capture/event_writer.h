// Writes buffered events to the current segment of webhook_events, straight into the table and its indexes: no SQL, no
// trigger, no rights of the caller's.
//
// What surprises: a row bears the xid of the subtransaction that writes it, so only the events of the innermost one
// may ever be written.
#pragma once

#include "core/event_buffer.h"

namespace webhook::pg {

// Writes what belongs to sub, the current subtransaction, and takes it out of the buffer. Returns whether there is
// something new in the table: if the extension has been dropped, the events go with it. Works in a read-only
// transaction and just before a commit. Throws Error; the events are lost then, as is the subtransaction.
bool write_events(EventBuffer& buffer, SubtransactionId sub);

}  // namespace webhook::pg
