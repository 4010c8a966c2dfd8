// Capture: from a row change to a row in webhook_events, inside the application's transaction.
//
// webhook_capture(), a trigger function, builds the event and buffers it in this process; the buffer is written
// just before the transaction commits or is prepared, or when it passes its bound. See docs/architecture.md.
#pragma once

namespace webhook::pg {

// From _PG_init.
void init_capture() noexcept;

}  // namespace webhook::pg
