// Capture: from a row change to a row in webhook_events, inside the application's transaction.
//
// The trigger function webhook_capture() builds the event and buffers it in this process. The buffer is written just
// before the transaction commits or is prepared, or when it exceeds its limit. See docs/architecture.md.
#pragma once

#include <optional>
#include <string_view>

struct FunctionCallInfoBaseData;

namespace webhook::pg {

// From _PG_init, once per process: registers the callbacks. Throws Error.
void init_capture();

// The body of the trigger function webhook_capture(). Throws Error.
void capture_row_change(FunctionCallInfoBaseData* call);

// Captures an event without a row change. data is JSON. As for a row, the event is dropped if no webhook subscribes to
// it, and loses its data if that is too large. Throws Error.
void capture_event(std::string_view name, std::string_view data, std::optional<std::string_view> organization_id,
                   std::optional<std::string_view> key);

// The body of the trigger function webhook_receive(), BEFORE INSERT on the segments of webhook_events of a node: takes
// over a row of the home's, with its id and its times, as if it were captured here. The caller is to suppress the row
// itself. Throws Error.
void receive_event(FunctionCallInfoBaseData* call);
// The body of the trigger function webhook_receive_shift(), BEFORE INSERT on webhook_internal.shifted_events: corrects
// the times of events that the transaction has received. The caller is to suppress the row. Throws Error.
void receive_shift(FunctionCallInfoBaseData* call);

// Writes the events that the current subtransaction has captured. Events of outer subtransactions stay in memory,
// because they would roll back with this one. Throws Error.
void flush_captured_events();

}  // namespace webhook::pg
