// Corrects the time of events that are already written, for a transaction whose time is known only at its end.
#pragma once

#include "core/time.h"
#include "pg/capture/event_writer.h"

namespace webhook::pg {

// Adds the duration to created_at of all events that this transaction has written early. Throws Error.
void shift_written_times(const WrittenEvents& written, Duration shift);

// Tells other nodes with the same webhooks to do so, too: these events are on their way there. Throws Error.
void publish_shift(const WrittenEvents& written, Duration shift);

}  // namespace webhook::pg
