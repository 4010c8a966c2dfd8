// Corrects the time of events that are already written, for a transaction whose time is known only at its end.
#pragma once

#include "core/time.h"
#include "pg/capture/event_writer.h"

namespace webhook::pg {

// Adds the duration to created_at of all events that this transaction has written early. Throws Error.
void shift_written_times(const WrittenEvents& written, Duration shift);

}  // namespace webhook::pg
