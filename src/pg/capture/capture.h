// Capture: from a row change to a row in webhook_events, inside the application's transaction.
//
// webhook_capture(), a trigger function, builds the event and buffers it in this process; the buffer is written
// just before the transaction commits or is prepared, or when it passes its bound. See docs/architecture.md.
#pragma once

#include <optional>
#include <string_view>

struct FunctionCallInfoBaseData;

namespace webhook::pg {

// From _PG_init, once per process: registers the callbacks. Throws Error.
void init_capture();

// The body of the trigger function webhook_capture(). Throws Error.
void capture_row_change(FunctionCallInfoBaseData* call);

// Captures an event that no row change shows; data is JSON. Like a row's, it is dropped if nobody asks for it, and it
// may be too large. Throws Error.
void capture_event(std::string_view name, std::string_view data, std::optional<std::string_view> organization_id,
                   std::optional<std::string_view> key);

// Writes what the current subtransaction has captured. What belongs to those around it stays in memory: it would roll
// back with this one. Throws Error.
void flush_captured_events();

}  // namespace webhook::pg
